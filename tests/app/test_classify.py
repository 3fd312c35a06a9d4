"""The Classify page's words and failure paths."""

import numpy as np
import pytest
from app_fakes import FakeWorker, belief, jpeg, lab, upload, words  # noqa: F401

from cifar_model.app.workers.process import BROKEN
from cifar_model.classes import CLASS_NAMES
from cifar_model.errors import ModelError, WorkerError
from cifar_model.pictures.fit import load_image
from cifar_model.storage import assets_dir


def test_opens_with_an_answer(lab):  # noqa: F811
    at = lab.open()
    assert not at.exception
    assert at.title[0].value == "Classify"
    assert at.subheader[0].value == "cat · 83 %"
    assert "softmax: ten numbers that add up to 100\N{NO-BREAK SPACE}%" in words(at)


def test_link_names_a_sample_and_the_network_sees_its_pixels(lab):  # noqa: F811
    seen = []

    def answer(_, pixels):
        seen.append(pixels)
        return np.tile(belief(ship=0.999), (len(pixels), 1))

    lab.answering = FakeWorker(answer)
    at = lab.open(sample="ship")
    assert at.subheader[0].value == "ship · 99.9 %"
    np.testing.assert_array_equal(seen[-1][0], load_image(assets_dir() / "samples" / "ship.webp"))


@pytest.mark.parametrize("hostile", ["../../etc/passwd", "<script>", "", "x" * 10_000])
def test_hostile_link_opens_the_usual_page(lab, hostile):  # noqa: F811
    at = lab.open(sample=hostile)
    assert not at.exception and not at.error
    assert at.subheader[0].value == "cat · 83 %"


def test_broken_file_says_so_beside_the_others_answers(lab):  # noqa: F811
    at = upload(lab.open(), ("good.jpg", jpeg("red")), ("broken.jpg", b"\xff\xd8\xff!"), ("also.jpg", jpeg("blue")))
    assert not at.exception
    assert "1 of 3 files can't be read" in [expander.label for expander in at.expander]
    assert [e.value for e in at.error if e.value.startswith("broken.jpg: this JPEG file")]
    table = at.dataframe[0].value
    assert table["file"].tolist() == ["also.jpg", "broken.jpg", "good.jpg"]
    assert table["class"].fillna("-").tolist() == ["cat", "-", "cat"]
    assert "can't be decoded" in table["error"][1]


def test_single_broken_file_shows_its_message(lab):  # noqa: F811
    at = upload(lab.open(), ("letter.jpg", b"%PDF-1.7"))
    assert at.error[0].value.startswith("letter.jpg: this is a PDF document")
    assert not at.subheader


def test_hundred_pictures_are_asked_in_small_parts_and_once(lab):  # noqa: F811
    files = [(f"{i:03d}.jpg", jpeg((i, 2 * i, 255 - i))) for i in range(100)]
    at = upload(lab.open(), *files)
    assert len(at.dataframe[0].value) == 100
    counts = [n for _, n in lab.answering.asked]
    assert sum(counts) == 101 and max(counts) <= 16  # with the sample that the page opened on
    at.segmented_control(key="order").set_value("surest first").run()
    assert sum(n for _, n in lab.answering.asked) == 101


def test_each_picture_gets_its_own_answer(lab):  # noqa: F811
    def brightest_channel(_, pixels):
        order = [belief(automobile=0.9), belief(frog=0.9), belief(ship=0.9)]
        return np.stack([order[p.reshape(-1, 3).mean(axis=0).argmax()] for p in pixels])

    lab.answering = FakeWorker(brightest_channel)
    colors = {"red": "automobile", "lime": "frog", "blue": "ship"}
    files = [(f"{i:02d}-{color}.jpg", jpeg(color)) for i in range(9) for color in colors]
    table = upload(lab.open(), *files).dataframe[0].value
    assert len(table) == 27
    assert all(colors[row.file[3:-4]] == row["class"] for _, row in table.iterrows())


def test_two_models_side_by_side(lab):  # noqa: F811
    lab.models("lab-net", "seed-cnn")
    lab.answering = FakeWorker(
        lambda model, pixels: np.tile(belief(cat=0.7) if model == "lab-net" else belief(frog=0.4), (len(pixels), 1))
    )
    at = lab.open()
    at.selectbox(key="second_model").set_value("seed-cnn").run()
    assert [heading.value for heading in at.subheader] == ["cat · 70 %", "frog · 40 %"]


def test_no_model_yet(lab):  # noqa: F811
    lab.models()
    at = lab.open()
    assert not at.exception and not at.error
    assert "There is no model on this machine yet" in at.info[0].value


@pytest.mark.parametrize(
    "error", [WorkerError(BROKEN), ModelError("nowhere/lab-net can't be loaded as a Keras model.")]
)
def test_what_the_worker_says_is_shown(lab, error):  # noqa: F811
    lab.answering = FakeWorker(error=error)
    at = lab.open()
    assert not at.exception
    assert at.error[0].value == str(error)


def test_bug_is_an_apology_not_a_traceback(lab):  # noqa: F811
    lab.answering = FakeWorker(error=ZeroDivisionError("secret detail"))
    at = lab.open()
    assert not at.exception
    assert "Something went wrong here" in at.error[0].value and "secret" not in words(at)


def test_all_ten_samples_can_be_asked(lab):  # noqa: F811
    for name in CLASS_NAMES:
        assert lab.open(sample=name).subheader[0].value == "cat · 83 %"
    assert lab.answering.asked == [("lab-net", 1)] * 10


def test_picture_that_failed_for_a_passing_reason_can_be_tried_again(lab):  # noqa: F811
    at = lab.open()
    lab.drawing.error = WorkerError("The process that answers stopped.")
    at = upload(at, ("a.jpg", jpeg("red")))
    assert [error.value for error in at.error] == ["The process that answers stopped."]
    lab.drawing.error = None
    assert at.run().error  # it is not tried at every click
    at.button(key="read_again").click().run()
    assert not at.error and at.subheader[0].value == "cat · 83 %"


def test_processes_that_cannot_start_can_be_tried_again(lab):  # noqa: F811
    error = WorkerError(BROKEN)
    error.again = lambda: setattr(lab.answering, "error", None)
    lab.answering.error = error
    at = lab.open()
    assert at.error[0].value == BROKEN
    at.button(key="again_part").click().run()
    assert not at.error and at.subheader[0].value == "cat · 83 %"
