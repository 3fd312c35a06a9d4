"""File names on the screen: short, and letter by letter."""


def short_name(name: str, longest: int = 24) -> str:
    """The beginning and the end of a long name."""
    half = longest // 2 - 1
    return name if len(name) <= longest else name[:half] + "…" + name[-half - 1 :]


def plain_name(name: str) -> str:
    """A name as Markdown shows it: letter by letter."""
    return "".join(f"\\{c}" if c in r"\`*_{}[]()#+-.!|~$:<>&" else c for c in name)
