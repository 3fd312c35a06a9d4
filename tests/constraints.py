"""Write the exact versions that the tests ran with: ``make constraints``, or ``python -m tests.constraints FILE``.

Only what requirements.txt and requirements-dev.txt ask for, and what those packages ask for in turn.
"""

import sys
from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).resolve().parents[1]


def wanted(name: str) -> list[Requirement]:
    """What a requirements file asks for on this machine, with the files that it includes."""
    found = []
    for line in (ROOT / name).read_text(encoding="utf-8").splitlines():
        line = line.split("#")[0].strip()
        if line.startswith("-r "):
            found += wanted(line.removeprefix("-r ").strip())
        elif line:
            found.append(Requirement(line))
    return [item for item in found if not item.marker or item.marker.evaluate()]


def exact(waiting: list[Requirement]) -> dict[str, str]:
    """The installed versions of `waiting` and of all that they need: {canonical name: version}."""
    versions: dict[str, str] = {}
    seen: set[tuple[str, str]] = set()
    while waiting:
        item = waiting.pop()
        for extra in ("", *item.extras):
            name = canonicalize_name(item.name)
            if (name, extra) in seen:
                continue
            seen.add((name, extra))
            try:
                installed = distribution(name)
            except PackageNotFoundError:
                sys.exit(f"{name} is not installed here. Run `make constraints` where the tests ran.")
            if not item.specifier.contains(installed.version, prereleases=True):
                sys.exit(f"{name} {installed.version} is outside the range {item.specifier}.")
            versions[name] = installed.version
            for text in installed.requires or ():
                below = Requirement(text)
                if not below.marker or below.marker.evaluate({"extra": extra}):
                    waiting.append(below)
    return dict(sorted(versions.items()))


def main() -> None:
    lines = [f"{name}=={version}" for name, version in exact(wanted("requirements-dev.txt")).items()]
    python = ".".join(map(str, sys.version_info[:2]))
    head = f"# The exact versions that were tested, on Python {python} and {sys.platform}. Made by `make constraints`."
    Path(sys.argv[1]).write_text("\n".join([head, *lines, ""]), encoding="utf-8")


if __name__ == "__main__":
    main()
