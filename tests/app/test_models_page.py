"""The Models page's words and failure paths."""

import base64
import io
import json

import numpy as np
import pytest
from app_fakes import FakeWorker, lab, words  # noqa: F401
from helpers import encode, make_pictures, write_model, write_parquet
from PIL import Image

from cifar_model.app.shared import resources
from cifar_model.app.workers.process import BROKEN
from cifar_model.classes import CLASS_NAMES
from cifar_model.data.cache import load_cifar10
from cifar_model.errors import WorkerError
from cifar_model.models.answers import read_answers, write_answers
from cifar_model.models.card import load_card
from cifar_model.models.folder import ModelInfo
from cifar_model.models.layout import ANSWERS_FILE, CARD_FILE
from cifar_model.pictures.fit import load_image
from cifar_model.storage import assets_dir
from cifar_model.trust.calibration import calibrate


class Reader(FakeWorker):
    """Reads the test pictures in this process."""

    def close(self):
        pass


@pytest.fixture
def page(lab, tmp_path, tiny_cifar10, monkeypatch):  # noqa: F811
    """The Models page with two models that were scored on the generated test pictures."""
    monkeypatch.setenv("CIFAR10_DIR", str(tiny_cifar10))
    monkeypatch.setattr(resources, "Worker", Reader)
    _, (images, labels) = load_cifar10()
    lab.folders = {name: tmp_path / name for name in ("first-net", "second-net")}
    for seed, folder in enumerate(lab.folders.values()):
        write_model(folder, np.asarray(labels), seed=seed, images=images)
    infos = [ModelInfo(name, folder, name, {}, "run") for name, folder in lab.folders.items()]
    monkeypatch.setattr(resources, "models", lambda: infos)
    lab.show = lambda **link: lab.open("models", **link)
    return lab


def edit_card(folder, change):
    card = load_card(folder)
    change(card)
    (folder / CARD_FILE).write_text(json.dumps(card))


def tiles(at, key):
    """The items of a gallery that the page shows."""
    shown = at.session_state[f"shown_{key}"][0]
    return shown["items"]


def metrics(at):
    return {metric.label: metric.value for metric in at.metric}


def test_what_matters_is_said_first(page):
    at = page.show()
    assert not at.exception and not at.error and not at.warning
    assert at.title[0].value == "Models"
    answers = read_answers(page.folders["first-net"])
    accuracy = (answers.probabilities.argmax(1) == answers.labels).mean()
    assert metrics(at)["Right answers"] == f"{100 * accuracy:.1f} %"
    assert metrics(at)["Validation"] == "75.0 %" and metrics(at)["False alarms"] == "5.1 %"
    assert "A seed-cnn with 123,210 weights" in words(at)
    headers = [header.value for header in at.header]
    assert headers[:2] == ["Where does it err?", "Its surest mistakes"]
    assert headers[2:4] == [
        "How far can its percentages be trusted?",
        "Does it notice what is none of its ten classes?",
    ]
    assert len(at.get("vega_lite_chart")) == 4  # reliability, score, two learning curves
    assert "Recall" in words(at) and "Precision" in words(at) and "expected calibration error" in words(at)
    assert "a temperature of 1.25" in words(at)
    assert "cost the class 41 points" in words(at)


def test_each_chart_and_table_is_explained(page):
    said = words(page.show())
    for term in (
        "confusion matrix",
        "reliability diagram",
        "conformal prediction",
        "AUROC",
        "out of scope",
        "loss says",
    ):
        assert term in said, term


def test_a_link_names_models_and_a_cell(page):
    at = page.show(model="second-net,first-net", cell="cat-dog")
    assert not at.exception and not at.warning
    assert at.selectbox(key="model").value == "second-net"
    assert at.selectbox(key="second_model").value == "first-net"
    cell = next(sub.value for sub in at.subheader if "taken for" in sub.value or "recognised" in sub.value)
    assert cell == "cat taken for dog"
    assert at.query_params["model"] in ("second-net,first-net", ["second-net,first-net"])


@pytest.mark.parametrize("hostile", ["../../etc/passwd", "<script>", "a,b,c", "first-net," + "x" * 5000])
def test_a_hostile_link_opens_the_usual_page(page, hostile):
    at = page.show(model=hostile, cell=hostile)
    assert not at.exception and not at.error
    assert "names a model that isn't here" in at.warning[0].value
    assert at.selectbox(key="model").value == "first-net"


def test_a_cell_shows_its_pictures_the_surest_first(page):
    answers = read_answers(page.folders["first-net"])
    said = answers.probabilities.argmax(1)
    wrong = np.flatnonzero(said != answers.labels)[0]
    truth, answer = answers.labels[wrong], said[wrong]
    at = page.show(cell=f"{CLASS_NAMES[truth]}-{CLASS_NAMES[answer]}")
    shown = tiles(at, f"models_cell_{truth}_{answer}")
    expected = np.flatnonzero((answers.labels == truth) & (said == answer))
    assert {item["id"] for item in shown} == {str(i) for i in expected}
    assert all(item["exact"] and item["src"].startswith("data:image/png") for item in shown)
    matrix = at.session_state["shown_models_confusion"][0]
    assert matrix["selected"] == [truth, answer] and np.sum(matrix["counts"]) == 100


def test_mistakes_are_sorted_and_open_large(page):
    at = page.show()
    shown = tiles(at, "models_mistakes")
    answers = read_answers(page.folders["first-net"])
    wrong = np.flatnonzero(answers.probabilities.argmax(1) != answers.labels)
    assert {int(item["id"]) for item in shown} <= set(wrong) and len(shown) == min(18, len(wrong))
    calibrated = calibrate(answers.probabilities, {"temperature": 1.25})
    sure = [calibrated[int(item["id"])].max() for item in shown]
    assert sure == sorted(sure, reverse=True)
    at.session_state["models_opened"] = ("models_mistakes", int(shown[0]["id"]))
    at.run()
    assert not at.exception
    assert f"Labelled **{CLASS_NAMES[answers.labels[int(shown[0]['id'])]]}**" in words(at)


def test_two_models_side_by_side_with_the_pictures_on_which_they_disagree(page):
    at = page.show(model="first-net,second-net")
    assert not at.exception
    a, b = (read_answers(folder) for folder in page.folders.values())
    said_a, said_b = a.probabilities.argmax(1), b.probabilities.argmax(1)
    assert "alike. On the others" in words(at) and f"**{(said_a == said_b).sum():,} of 100**" in words(at)
    assert [metric.label for metric in at.metric].count("Right answers") == 2
    only_first = np.flatnonzero((said_a == a.labels) & (said_b != a.labels))
    assert {int(item["id"]) for item in tiles(at, "models_disagree_first")} <= set(only_first)
    at.segmented_control(key="models_disagree").set_value("second").run()
    only_second = np.flatnonzero((said_b == a.labels) & (said_a != a.labels))
    assert {int(item["id"]) for item in tiles(at, "models_disagree_second")} <= set(only_second)


def test_without_data_the_page_says_how_to_get_it(page, monkeypatch):
    monkeypatch.setenv("CIFAR10_DIR", "/nowhere/at/all")
    at = page.show()
    assert not at.exception and not at.error
    assert metrics(at)["Right answers"] != "–"
    assert "/nowhere/at/all does not exist" in words(at)
    assert "How to get the pictures of CIFAR-10" in [expander.label for expander in at.expander]
    assert any("python -m cifar_model data --download" in code.value for code in at.code)
    table = next(t.value for t in at.dataframe if "It said" in t.value)  # the mistakes, told without pictures
    assert len(table) > 0


def test_broken_data_is_an_explanation(page, monkeypatch, tmp_path):
    (tmp_path / "data").mkdir()
    for split in ("train", "test"):
        (tmp_path / "data" / f"{split}-00000-of-00001.parquet").write_bytes(b"PAR1 broken")
    monkeypatch.setenv("CIFAR10_DIR", str(tmp_path / "data"))
    at = page.show()
    assert not at.exception and not at.error
    assert "The pictures of this cell can't be shown" in words(at)


def test_while_the_data_is_read_everything_else_is_there(page, monkeypatch):
    monkeypatch.setattr(resources, "test_split", lambda: None)
    at = page.show()
    assert not at.exception
    assert "are being read for the first time" in words(at) and metrics(at)["Right answers"] != "–"


def test_other_test_pictures_are_never_shown_beside_its_answers(page, tmp_path):
    images, labels = make_pictures(20, seed=99)
    write_model(tmp_path / "stranger", labels, images=images)
    info = ModelInfo("stranger", tmp_path / "stranger", "stranger", {}, "run")
    page.monkeypatch.setattr(resources, "models", lambda: [info])
    at = page.show()
    assert not at.exception
    assert "None of the 200 test pictures that this model was scored on is in the copy of CIFAR-10 here" in words(at)
    assert "shown_models_mistakes" not in at.session_state


def test_answers_of_an_older_version_show_no_pictures_and_say_why(page):
    folder = page.folders["first-net"]
    answers = read_answers(folder)
    write_answers(folder, probabilities=answers.probabilities, labels=answers.labels)
    at = page.show()
    assert not at.exception and not at.error
    assert "kept by an older version, which didn't note which pictures they are of" in words(at)
    assert "python -m cifar_model assess first-net" in words(at)
    assert "shown_models_mistakes" not in at.session_state
    assert any("It said" in table.value for table in at.dataframe)  # told without pictures


def decoded(item) -> np.ndarray:
    return np.asarray(Image.open(io.BytesIO(base64.b64decode(item["src"].partition(",")[2]))))


def test_each_tile_shows_its_own_picture_though_this_copy_has_another_order(page, tiny_cifar10, tmp_path, monkeypatch):
    train, (images, labels) = load_cifar10(tiny_cifar10)
    order = np.random.default_rng(8).permutation(len(labels))
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    write_parquet(elsewhere / "train-00000-of-00001.parquet", *train)
    write_parquet(elsewhere / "test-00000-of-00001.parquet", images[order[7:]], labels[order[7:]])  # seven are lacking
    monkeypatch.setenv("CIFAR10_DIR", str(elsewhere))
    at = page.show(model="first-net,second-net")
    shown = tiles(at, "models_disagree_first")
    assert shown
    for item in shown:
        np.testing.assert_array_equal(decoded(item), images[int(item["id"])])
    at = page.show(model="first-net")
    for item in tiles(at, "models_mistakes"):
        np.testing.assert_array_equal(decoded(item), images[int(item["id"])])
    wrong = np.flatnonzero(read_answers(page.folders["first-net"]).probabilities.argmax(1) != labels)
    absent = np.isin(wrong, order[:7]).sum()
    assert absent and f"{absent} of these {len(wrong)} are not in the copy of CIFAR-10 here" in words(at)


def test_models_that_answered_in_different_orders_are_compared_by_content(page):
    (first, second), order = page.folders.values(), np.random.default_rng(5).permutation(100)
    before = read_answers(second)
    write_answers(second, **vars(before.taken(order)))
    at = page.show(model="first-net,second-net")
    a, b = read_answers(first), before
    alike = (a.probabilities.argmax(1) == b.probabilities.argmax(1)).sum()
    assert f"**{alike:,} of 100**" in words(at)
    for item in tiles(at, "models_disagree_first"):
        number = int(item["id"])
        said = [CLASS_NAMES[x.probabilities[number].argmax()] for x in (a, b)]
        assert item["title"] == " / ".join(said)


def test_an_old_card_says_what_is_missing_and_how_to_get_it(page):
    folder = page.folders["first-net"]
    (folder / ANSWERS_FILE).unlink()
    old = {"network": "seed-cnn", "scores": {"test_accuracy": 0.8}, "command": "python -m cifar_model train --seed 3"}
    (folder / CARD_FILE).write_text(json.dumps(old))
    at = page.show()
    assert not at.exception and not at.error
    assert metrics(at)["Right answers"] == "80.0 %"
    said = [info.value for info in at.info]
    for what in (
        "Which class it takes for which", "Which pictures it gets wrong", "How well its percentages hold",
        "How large its answer sets are", "Whether it notices pictures of other things",
    ):  # fmt: skip
        assert any(info.startswith(f"{what} isn't known.") and "assess first-net" in info for info in said), what


def test_a_model_of_distilled_pictures_says_so(page):
    folder = page.folders["first-net"]
    (folder / ANSWERS_FILE).unlink()
    card = {
        "network": "seed-cnn",
        "data": {"source": "distilled pictures (shipped)", "train": 500, "test": 0},
        "epochs": 9,
    }
    (folder / CARD_FILE).write_text(json.dumps(card))
    at = page.show()
    assert not at.exception
    assert "learned from the distilled pictures that ship with this project" in words(at)
    assert "It learned from 500 distilled pictures" in words(at)


@pytest.mark.parametrize("text", ["{broken", "[]", '"text"', "\x00\xff"])
def test_a_broken_card_is_named_and_the_answers_still_count(page, text):
    (page.folders["first-net"] / CARD_FILE).write_text(text, "latin-1")
    at = page.show()
    assert not at.exception
    assert CARD_FILE in at.error[0].value
    assert metrics(at)["Right answers"] != "–"
    assert "Which class" not in words(at)  # the confusion matrix comes from the answers


@pytest.mark.parametrize("scores", [[], "text", {"test_accuracy": "high"}, {"test_accuracy": 7}])
def test_a_card_with_nonsense_opens(page, scores):
    edit_card(page.folders["first-net"], lambda card: card.update(scores=scores, calibration=scores, sets=scores))
    at = page.show()
    assert not at.exception and not at.error


def test_broken_answers_are_named_and_the_card_still_counts(page):
    (page.folders["first-net"] / ANSWERS_FILE).write_bytes(b"PK\x03\x04")
    at = page.show()
    assert not at.exception
    assert "answers.npz can't be read" in at.error[0].value
    assert metrics(at)["Right answers"] != "–" and "Which pictures it gets wrong isn't known" in words(at)


def test_the_card_can_be_downloaded(page):
    at = page.show()
    assert [button.label for button in at.get("download_button")] == ["Card of first-net (JSON)"]
    assert any(code.value == "python -m cifar_model train --network seed-cnn" for code in at.code)


def test_layers_come_with_shapes_and_weights(page):
    at = page.show()
    at.segmented_control(key="models_view").set_value("Layers").run()
    table = next(t.value for t in at.dataframe if "Layer" in t.value)
    assert table["Weights"].sum() == 123_210 and "30 × 30 × 32" in table["Output"].tolist()
    edit_card(page.folders["first-net"], lambda card: card.update(network="something else"))
    at.run()
    assert not at.exception and "names no network of this lab" in words(at)


def test_filters_and_a_pictures_way(page, random_model):
    info = ModelInfo("random", random_model, "random", {}, "run")
    page.monkeypatch.setattr(resources, "models", lambda: [info])
    at = page.show()
    at.segmented_control(key="models_view").set_value("First filters").run()
    assert not at.exception and "32 patterns of 3 × 3" in words(at)
    at.segmented_control(key="models_view").set_value("A picture's way").run()
    assert not at.exception and not at.error
    assert "**dog**" in words(at) and "**conv3**" in words(at)
    pixels = load_image(assets_dir() / "samples" / "ship.webp")
    at.session_state["models_followed"] = ("ship", pixels)
    at.run()
    assert "**ship**" in words(at)


def test_pictures_dropped_on_classify_come_along(page):
    at = page.open()
    picture = encode(np.full((40, 60, 3), 200, np.uint8))
    at.file_uploader[0].set_value([("mine.png", picture, "image/png")]).run()
    at.switch_page("pages/models.py").run()
    at.segmented_control(key="models_view").set_value("A picture's way").run()
    assert not at.exception
    assert "Your pictures from Classify" in words(at)
    assert [item["title"] for item in tiles(at, "models_own")] == ["mine.png"]


@pytest.mark.parametrize("view", ["First filters", "A picture's way"])
def test_without_a_worker_the_rest_stands(page, view):
    page.answering = FakeWorker(error=WorkerError(BROKEN))
    at = page.show()
    assert not at.error
    at.segmented_control(key="models_view").set_value(view).run()
    assert not at.exception and at.error[0].value == BROKEN
    assert metrics(at)["Right answers"] != "–"


def test_a_model_that_is_no_network_says_so(page):
    at = page.show()
    at.segmented_control(key="models_view").set_value("First filters").run()
    assert not at.exception and "can't be loaded as a Keras model" in at.error[0].value


def test_one_epoch_does_not_borrow_its_runs_scores(page):
    folder = page.folders["first-net"]
    (folder / "epochs").mkdir()
    (folder / "epochs" / "epoch-002.keras").write_bytes(b"no network")
    info = ModelInfo("first-net@2", folder / "epochs" / "epoch-002.keras", "first-net, epoch 2", {}, "epoch")
    page.monkeypatch.setattr(resources, "models", lambda: [info])
    at = page.show()
    assert not at.exception and not at.error
    assert metrics(at)["Right answers"] == "–"
    assert "It is measured for a run's best epoch alone: choose **first-net** above." in words(at)


def test_no_model_yet(lab):  # noqa: F811
    lab.models()
    at = lab.open("models")
    assert not at.exception and not at.error
    assert "There is no model on this machine yet" in at.info[0].value


def test_a_deleted_model_is_an_error_in_words(lab):  # noqa: F811
    at = lab.open("models")  # a model of the list whose folder is gone
    assert not at.exception
    assert "No model" in at.error[0].value
