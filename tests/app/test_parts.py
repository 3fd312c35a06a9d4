"""A link that hides parts of a page for a lesson."""

import re

import pytest
from app_fakes import jpeg, lab, upload, words  # noqa: F401
from helpers import REPOSITORY

from cifar_model.app.shared.parts import PARTS
from tests.app.test_train import home, labels, open_page, write_run  # noqa: F401


def galleries(at):
    return {name for name in ("samples", "own") if f"shown_{name}" in at.session_state}


def test_classify_shows_what_the_link_names_and_the_answer(lab):  # noqa: F811
    at = lab.open(show="own,nonsense", raw="1")
    assert "cat · 83 %" in [heading.value for heading in at.subheader] and at.query_params["show"] in (
        "own,nonsense",
        ["own,nonsense"],
    )
    assert "samples" not in galleries(at) and len(at.file_uploader) == 1
    assert not any(expander.label.startswith("Why") for expander in at.expander) and not at.toggle
    at = upload(at, ("a.jpg", jpeg("red")), ("b.jpg", jpeg("blue")))
    assert not at.exception and "own" in galleries(at) and not at.dataframe
    at = lab.open(show="samples")
    assert "samples" in galleries(at) and not at.file_uploader and not at.exception


@pytest.mark.parametrize("show", ["", "nonsense", "<script>", ",,,", "x" * 3000])
def test_a_link_that_names_no_part_shows_all(lab, show):  # noqa: F811
    at = lab.open(show=show)
    assert not at.exception and "samples" in galleries(at) and at.file_uploader and at.toggle


def test_blend_keeps_the_links_blend(lab):  # noqa: F811
    at = lab.open("blend", show="why", a="deer", b="horse", mode="halves")
    assert not at.exception and not any(box.label == "Way to mix" for box in at.selectbox)
    assert "halves" in at.query_params["mode"] and "why" in at.query_params["show"]
    assert not at.get("download_button")


def test_train_shows_a_run_alone(home):  # noqa: F811
    write_run(home, "busy", "running")
    at = open_page(show="run")
    assert "Pause" in labels(at) and "Start training" not in labels(at) and not at.header
    at = open_page(show="new")
    assert "Pause" not in labels(at) and {"Start training", "Queue this run"} & set(labels(at))


def test_the_documents_name_every_part():
    text = (REPOSITORY / "docs" / "lesson.md").read_text(encoding="utf-8")
    assert set(re.findall(r"^\| `([a-z]+)` \|", text, re.MULTILINE)) == set(PARTS)
