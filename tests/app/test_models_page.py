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
    """Reads the test images in this process."""

    def close(self):
        pass


@pytest.fixture
def page(lab, tmp_path, tiny_cifar10, monkeypatch):  # noqa: F811
    """The Models page with two models that were scored on the generated test images."""
    monkeypatch.setenv("CIFAR10_DIR", str(tiny_cifar10))
    monkeypatch.setattr(resources, "Worker", Reader)
    _, (images, labels) = load_cifar10()
    lab.folders = {name: tmp_path / name for name in ("first-net", "second-net")}
    for seed, folder in enumerate(lab.folders.values()):
        write_model(folder, np.asarray(labels), seed=seed, images=images)
    infos = [ModelInfo(name, folder, name, {}, "run") for name, folder in lab.folders.items()]
    monkeypatch.setattr(resources, "models", lambda: infos)
    lab.look = lambda **link: lab.open("models", **link)
    return lab


def edit_card(folder, change):
    card = load_card(folder)
    change(card)
    (folder / CARD_FILE).write_text(json.dumps(card))


def tiles(at, key):
    """The items of a gallery that the page shows."""
    shown = at.session_state[f"shown_{key}"][0]
    return shown["items"]


def link_of(at) -> dict:
    return {key: value[0] if isinstance(value, list) else value for key, value in at.query_params.items()}


def metrics(at):
    return {metric.label: metric.value for metric in at.metric}


def test_what_matters_is_said_first(page):
    at = page.look()
    assert not at.exception and not at.error and not at.warning
    assert at.title[0].value == "Models"
    answers = read_answers(page.folders["first-net"])
    accuracy = (answers.probabilities.argmax(1) == answers.labels).mean()
    assert metrics(at)["Test accuracy"] == f"{100 * accuracy:.1f} %"
    assert metrics(at)["Validation accuracy"] == "75.0 %"
    assert [header.value for header in at.header] == ["Which classes does it confuse?"]
    assert "Recall" in words(at) and "Precision" in words(at)


def test_one_question_at_a_time_and_each_chart_and_table_is_explained(page):
    for question, charts, terms in (
        ("confusion", 0, ("confusion matrix", "Recall")),
        ("mistakes", 0, ("most confident first",)),
        ("confidence", 1, ("reliability diagram", "expected calibration error", "a temperature of 1.25")),
        ("confidence", 1, ("cost the class 41 points",)),
        ("sets", 0, ("conformal prediction",)),
        ("scope", 1, ("AUROC", "out of scope")),
        ("blends", 0, ("gives each of the two classes its share",)),
        ("inside", 2, ("The loss is the cross-entropy",)),
        ("card", 0, ("A seed-cnn with 123,210 weights",)),
    ):
        at = page.look(show=question)
        assert not at.exception and not at.error and len(at.header) == 1
        assert len(at.get("vega_lite_chart")) == charts
        assert link_of(at)["show"] == question
        for term in terms:
            assert term in words(at), term


def test_blends_of_two_models_stand_beside_a_perfect_reader(page):
    mixes = {"pairs": 1000, "share_error": 0.11, "parents_mass": 0.9, "top_two": 0.66}
    edit_card(page.folders["second-net"], lambda card: card.update(mixes=mixes, settings={"mixup": 1.0}))
    at = page.look(show="blends", model="first-net,second-net")
    assert not at.exception
    table = at.dataframe[0].value
    assert table["Model"].tolist() == ["first-net", "second-net", "A perfect reader"]
    assert table["Trained on blends"].tolist() == ["no", "yes", ""]
    assert table["Both on top at 50 %"].tolist()[1:] == [pytest.approx(66), 100]


def test_the_worst_class_stands_beside_the_coverage(page):
    covered = {name: 0.9 for name in CLASS_NAMES} | {"cat": 0.763}
    edit_card(page.folders["first-net"], lambda card: card["sets"]["levels"]["90"].update(class_coverage=covered))
    at = page.look(show="sets")
    assert not at.exception
    assert at.dataframe[0].value["Worst class"].iloc[0] == "cat, 76.3 %"
    assert at.dataframe[1].value["90 %"].tolist()[CLASS_NAMES.index("cat")] == pytest.approx(76.3)


def test_a_hostile_question_opens_the_first(page):
    at = page.look(show="<script>")
    assert not at.exception and link_of(at)["show"] == "confusion"


def test_the_question_survives_a_look_at_another_page(page):
    at = page.look(show="sets", model="second-net")
    at.switch_page("pages/classify.py").run()
    assert at.selectbox(key="model").value == "second-net"
    at.switch_page("pages/models.py").run()
    assert link_of(at) == {"model": "second-net", "show": "sets"}


def test_a_link_names_models_and_a_cell(page):
    at = page.look(model="second-net,first-net", cell="cat-dog")
    assert not at.exception and not at.warning
    assert at.selectbox(key="model").value == "second-net"
    assert at.selectbox(key="second_model").value == "first-net"
    cell = next(sub.value for sub in at.subheader if "taken for" in sub.value or "recognised" in sub.value)
    assert cell == "cat taken for dog"
    assert at.query_params["model"] in ("second-net,first-net", ["second-net,first-net"])


@pytest.mark.parametrize("hostile", ["../../etc/passwd", "<script>", "a,b,c", "first-net," + "x" * 5000])
def test_a_hostile_link_opens_the_usual_page(page, hostile):
    at = page.look(model=hostile, cell=hostile)
    assert not at.exception and not at.error
    assert "names a model that isn't here" in at.warning[0].value
    assert at.selectbox(key="model").value == "first-net"


def test_a_cell_shows_its_pictures_the_surest_first(page):
    answers = read_answers(page.folders["first-net"])
    said = answers.probabilities.argmax(1)
    wrong = np.flatnonzero(said != answers.labels)[0]
    truth, answer = answers.labels[wrong], said[wrong]
    at = page.look(cell=f"{CLASS_NAMES[truth]}-{CLASS_NAMES[answer]}")
    shown = tiles(at, f"models_cell_{truth}_{answer}")
    expected = np.flatnonzero((answers.labels == truth) & (said == answer))
    assert {item["id"] for item in shown} == {str(i) for i in expected}
    assert all(item["exact"] and item["src"].endswith(".png") for item in shown)
    matrix = at.session_state["shown_models_confusion"][0]
    assert matrix["selected"] == [truth, answer] and np.sum(matrix["counts"]) == 100


def test_mistakes_are_sorted_and_open_large(page):
    at = page.look(show="mistakes")
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
    at = page.look(model="first-net,second-net")
    assert not at.exception
    a, b = (read_answers(folder) for folder in page.folders.values())
    said_a, said_b = a.probabilities.argmax(1), b.probabilities.argmax(1)
    assert f"the same answer to **{(said_a == said_b).sum():,} of 100**" in words(at)
    assert [metric.label for metric in at.metric].count("Test accuracy") == 2
    only_first = np.flatnonzero((said_a == a.labels) & (said_b != a.labels))
    assert {int(item["id"]) for item in tiles(at, "models_disagree_first")} <= set(only_first)
    at.segmented_control(key="models_disagree").set_value("second").run()
    only_second = np.flatnonzero((said_b == a.labels) & (said_a != a.labels))
    assert {int(item["id"]) for item in tiles(at, "models_disagree_second")} <= set(only_second)


def test_without_data_the_page_says_how_to_get_it(page, monkeypatch):
    monkeypatch.setenv("CIFAR10_DIR", "/nowhere/at/all")
    at = page.look()
    assert not at.exception and not at.error
    assert metrics(at)["Test accuracy"] != "–"
    assert "/nowhere/at/all does not exist" in words(at)
    assert "How to get CIFAR-10" in [expander.label for expander in at.expander]
    assert any("python -m cifar_model data --download" in code.value for code in at.code)
    at = page.look(show="mistakes")
    table = next(t.value for t in at.dataframe if "Predicted" in t.value)  # the mistakes, told without pictures
    answers = read_answers(page.folders["first-net"])
    assert len(table) == (answers.probabilities.argmax(1) != answers.labels).sum()


def test_broken_data_is_an_explanation(page, monkeypatch, tmp_path):
    (tmp_path / "data").mkdir()
    for split in ("train", "test"):
        (tmp_path / "data" / f"{split}-00000-of-00001.parquet").write_bytes(b"PAR1 broken")
    monkeypatch.setenv("CIFAR10_DIR", str(tmp_path / "data"))
    at = page.look()
    assert not at.exception and not at.error
    assert "The images of this cell can't be shown" in words(at)


def test_while_the_data_is_read_everything_else_is_there(page, monkeypatch):
    monkeypatch.setattr(resources, "test_split", lambda: None)
    at = page.look()
    assert not at.exception
    assert "are being read for the first time" in words(at) and metrics(at)["Test accuracy"] != "–"


def test_other_test_pictures_are_never_shown_beside_its_answers(page, tmp_path):
    images, labels = make_pictures(20, seed=99)
    write_model(tmp_path / "stranger", labels, images=images)
    info = ModelInfo("stranger", tmp_path / "stranger", "stranger", {}, "run")
    page.monkeypatch.setattr(resources, "models", lambda: [info])
    at = page.look(show="mistakes")
    assert not at.exception
    assert "None of the 200 test images that this model was scored on is in the copy of CIFAR-10 here" in words(at)
    assert "shown_models_mistakes" not in at.session_state


def test_answers_of_an_older_version_show_no_pictures_and_say_why(page):
    folder = page.folders["first-net"]
    answers = read_answers(folder)
    write_answers(folder, probabilities=answers.probabilities, labels=answers.labels)
    at = page.look(show="mistakes")
    assert not at.exception and not at.error
    assert "older version stored its answers without noting which images they belong to" in words(at)
    assert "python -m cifar_model assess first-net" in words(at)
    assert "shown_models_mistakes" not in at.session_state
    assert any("Predicted" in table.value for table in at.dataframe)  # told without pictures


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
    # Without a server there is no address from which to fetch a picture.
    whole = lambda picture, place: f"data:image/png;base64,{base64.b64encode(picture).decode()}"  # noqa: E731
    monkeypatch.setattr("cifar_model.app.shared.gallery.address", whole)
    at = page.look(model="first-net,second-net")
    shown = tiles(at, "models_disagree_first")
    assert shown
    for item in shown:
        np.testing.assert_array_equal(decoded(item), images[int(item["id"])])
    at = page.look(model="first-net", show="mistakes")
    for item in tiles(at, "models_mistakes"):
        np.testing.assert_array_equal(decoded(item), images[int(item["id"])])
    wrong = np.flatnonzero(read_answers(page.folders["first-net"]).probabilities.argmax(1) != labels)
    absent = np.isin(wrong, order[:7]).sum()
    assert absent and f"{absent} of these {len(wrong)} are not in the copy of CIFAR-10 here" in words(at)


def test_models_that_answered_in_different_orders_are_compared_by_content(page):
    (first, second), order = page.folders.values(), np.random.default_rng(5).permutation(100)
    before = read_answers(second)
    write_answers(second, **vars(before.taken(order)))
    at = page.look(model="first-net,second-net")
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
    for question, what in (
        ("confusion", "Which classes it confuses"),
        ("mistakes", "Which images it gets wrong"),
        ("confidence", "How well its percentages hold"),
        ("sets", "How large its answer sets are"),
        ("scope", "Whether it recognises images of other things"),
        ("blends", "How well it reads blends"),
    ):
        at = page.look(show=question)
        assert not at.exception and not at.error
        assert metrics(at)["Test accuracy"] == "80.0 %"
        said = [info.value for info in at.info]
        assert any(info.startswith(f"{what} isn't known.") and "assess first-net" in info for info in said), what


def test_a_model_of_distilled_pictures_says_so(page):
    folder = page.folders["first-net"]
    (folder / ANSWERS_FILE).unlink()
    card = {
        "network": "seed-cnn",
        "data": {"source": "distilled images (shipped)", "train": 500, "test": 0},
        "epochs": 9,
    }
    (folder / CARD_FILE).write_text(json.dumps(card))
    at = page.look()
    assert not at.exception
    assert "trained on the distilled images that ship with this project" in words(at)
    assert "500 distilled" in words(page.look(show="card"))


@pytest.mark.parametrize("text", ["{broken", "[]", '"text"', "\x00\xff"])
def test_a_broken_card_is_named_and_the_answers_still_count(page, text):
    (page.folders["first-net"] / CARD_FILE).write_text(text, "latin-1")
    at = page.look()
    assert not at.exception
    assert CARD_FILE in at.error[0].value
    assert metrics(at)["Test accuracy"] != "–"
    assert "Which classes it confuses" not in words(at)  # the confusion matrix comes from the answers


@pytest.mark.parametrize("scores", [[], "text", {"test_accuracy": "high"}, {"test_accuracy": 7}])
def test_a_card_with_nonsense_opens(page, scores):
    edit_card(page.folders["first-net"], lambda card: card.update(scores=scores, calibration=scores, sets=scores))
    at = page.look()
    assert not at.exception and at.error
    assert all(CARD_FILE in error.value and "It is left out" in error.value for error in at.error)


def test_broken_answers_are_named_and_the_card_still_counts(page):
    (page.folders["first-net"] / ANSWERS_FILE).write_bytes(b"PK\x03\x04")
    at = page.look()
    assert not at.exception
    assert "answers.npz can't be read" in at.error[0].value
    assert metrics(at)["Test accuracy"] != "–"
    assert "Which images it gets wrong isn't known" in words(page.look(show="mistakes"))


def test_the_card_can_be_downloaded(page):
    at = page.look(show="card")
    assert [button.label for button in at.get("download_button")] == ["Card of first-net (JSON)"]
    assert any(code.value == "python -m cifar_model train --network seed-cnn" for code in at.code)


def test_layers_come_with_shapes_and_weights(page):
    at = page.look(show="inside")
    at.segmented_control(key="models_view").set_value("Layers").run()
    table = next(t.value for t in at.dataframe if "Layer" in t.value)
    assert table["Weights"].sum() == 123_210 and "30 × 30 × 32" in table["Output"].tolist()
    edit_card(page.folders["first-net"], lambda card: card.update(network="something else"))
    at.run()
    assert not at.exception and "names no network of this lab" in words(at)


def test_filters_and_a_pictures_way(page, random_model):
    info = ModelInfo("random", random_model, "random", {}, "run")
    page.monkeypatch.setattr(resources, "models", lambda: [info])
    at = page.look(show="inside")
    at.segmented_control(key="models_view").set_value("First filters").run()
    assert not at.exception and "32 patterns of 3 × 3" in words(at)
    at.segmented_control(key="models_view").set_value("An image's way").run()
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
    at.session_state["remembered"]["models_question"] = "inside"
    at.switch_page("pages/models.py").run()
    at.segmented_control(key="models_view").set_value("An image's way").run()
    assert not at.exception
    assert "Your pictures from Classify" in words(at)
    assert [item["title"] for item in tiles(at, "models_own")] == ["mine.png"]


@pytest.mark.parametrize("view", ["First filters", "An image's way"])
def test_without_a_worker_the_rest_stands(page, view):
    page.answering = FakeWorker(error=WorkerError(BROKEN))
    at = page.look(show="inside")
    assert not at.error
    at.segmented_control(key="models_view").set_value(view).run()
    assert not at.exception and at.error[0].value == BROKEN
    assert metrics(at)["Test accuracy"] != "–"


def test_a_model_that_is_no_network_says_so(page):
    at = page.look(show="inside")
    at.segmented_control(key="models_view").set_value("First filters").run()
    assert not at.exception and "can't be loaded as a Keras model" in at.error[0].value


def test_one_epoch_does_not_borrow_its_runs_scores(page):
    folder = page.folders["first-net"]
    (folder / "epochs").mkdir()
    (folder / "epochs" / "epoch-002.keras").write_bytes(b"no network")
    info = ModelInfo("first-net@2", folder / "epochs" / "epoch-002.keras", "first-net, epoch 2", {}, "epoch")
    page.monkeypatch.setattr(resources, "models", lambda: [info])
    at = page.look()
    assert not at.exception and not at.error
    assert metrics(at)["Test accuracy"] == "–"
    assert "It is measured for a run's best epoch alone: choose “Best epoch” of **first-net** above." in words(at)


def test_no_model_yet(lab):  # noqa: F811
    lab.models()
    at = lab.open("models")
    assert not at.exception and not at.error
    assert "There is no model on this machine yet" in at.info[0].value


def test_a_deleted_model_is_an_error_in_words(lab):  # noqa: F811
    at = lab.open("models")  # a model of the list whose folder is gone
    assert not at.exception
    assert "No model" in at.error[0].value
