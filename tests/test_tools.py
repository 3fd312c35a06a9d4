"""The tools around the code agree with each other: versions, make targets, hooks; and the style sheets can be read."""

import re
import shutil
import sys

import pytest
from click.testing import CliRunner
from helpers import REPOSITORY
from packaging.utils import canonicalize_name

from tests import keras_versions
from tests.constraints import wanted

tinycss2 = pytest.importorskip("tinycss2")
STYLES = sorted((REPOSITORY / "cifar_model" / "app" / "browser").rglob("*.css"))


def text_of(name: str) -> str:
    return (REPOSITORY / name).read_text(encoding="utf-8")


def targets() -> set[str]:
    return set(re.findall(r"^([a-z][a-z-]*):", text_of("Makefile"), re.MULTILINE))


def test_constraints_lie_within_the_ranges():
    exact = dict(line.split("==") for line in text_of("constraints.txt").splitlines() if not line.startswith("#"))
    for item in wanted("requirements-dev.txt"):
        assert item.specifier.contains(exact[canonicalize_name(item.name)]), f"{item}: run `make constraints`"


def test_every_package_has_a_lower_and_an_upper_bound():
    for item in wanted("requirements.txt"):
        assert {">=", "<"} <= {part.operator for part in item.specifier}, item


def errors(nodes):
    """The parse errors among tinycss2's nodes and all that they hold."""
    for node in nodes or ():
        if node.type == "error":
            yield f"line {node.source_line}: {node.message}"
        yield from errors(getattr(node, "content", None))
        yield from errors(getattr(node, "arguments", None))
        if node.type == "qualified-rule":
            yield from errors(tinycss2.parse_blocks_contents(node.content))
        if node.type == "declaration":
            yield from errors(node.value)


@pytest.mark.parametrize("path", STYLES, ids=lambda path: path.name)
def test_a_style_sheet_has_no_syntax_errors(path):
    rules = tinycss2.parse_stylesheet(path.read_text(encoding="utf-8"), skip_comments=True, skip_whitespace=True)
    assert rules and not list(errors(rules))


@pytest.mark.parametrize(
    "broken", ["a { color red }", "a { color: red; } }", "a { width: calc(1px; }", "a { color: 'x\n }"]
)
def test_a_broken_style_sheet_has(broken):
    assert list(errors(tinycss2.parse_stylesheet(broken)))


def test_the_hooks_are_what_make_lint_runs():
    lint = re.search(r"^lint:.*\n((?:\t.*\n)+)", text_of("Makefile"), re.MULTILINE)[1]
    hooks = re.findall(r"entry: \.venv/bin/(.+)", text_of(".pre-commit-config.yaml"))
    assert len(hooks) == len(lint.splitlines())
    for hook in hooks:
        tool, *words = hook.replace(" --force-exclude", "").split()
        line = next(line for line in lint.splitlines() if " ".join([f"$(BIN)/{tool}", *words]) in line)
        assert line.startswith("\t")


@pytest.mark.parametrize("file", [".github/workflows/ci.yml", ".ci/run", "CONTRIBUTING.md", "README.md"])
def test_the_make_targets_that_are_named_exist(file):
    named = set(re.findall(r"\bmake ([a-z][a-z-]+)\b", text_of(file))) - {"sure"}
    assert named and named <= targets()


def test_the_files_that_contributing_names_exist():
    links = re.findall(r"\]\(([^)#]+)\)", text_of("CONTRIBUTING.md"))
    assert links and not [link for link in links if not (REPOSITORY / link).exists()]


@pytest.mark.training  # not quite, but it starts TensorFlow twice
def test_this_version_of_keras_answers_as_itself():
    result = CliRunner().invoke(keras_versions.main, [sys.executable])
    assert result.exit_code == 0, result.output
    assert result.output.count("answers differ by at most 0.0e+00") == len(keras_versions.FILES) > 0


@pytest.mark.training
@pytest.mark.skipif(not shutil.which("false"), reason="no command that always fails")
def test_a_version_that_gives_no_answer_fails():
    result = CliRunner().invoke(keras_versions.main, [shutil.which("false")])
    assert result.exit_code == 1 and "Other answers, or none" in result.output
