"""Answer sets, scope, explanations, predict first and ambiguous pairs: the pages' words and failure paths."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from app_fakes import FakeWorker, belief, jpeg, lab, upload, words  # noqa: F401

from cifar_model.answering.answer import Answer
from cifar_model.app.shared import resources
from cifar_model.app.shared.guessing import Game
from cifar_model.app.shared.reading import OUTSIDE
from cifar_model.app.workers.jobs import JOBS
from cifar_model.classes import CLASS_NAMES
from cifar_model.errors import DatasetError, WorkerError
from cifar_model.models.folder import ModelInfo
from cifar_model.pictures.ambiguous import mid_blends
from cifar_model.pictures.encode import encode_png
from cifar_model.trust.answer_sets import LEVELS

CARD = {"sets": {"levels": {}}, "calibration": {"temperature": 0.6}}
SIZES = {90: ("cat",), 95: ("cat", "dog"), 99: ("cat", "deer", "dog")}


def trusting(n: int, *, inside: bool = True, **probabilities: float) -> Answer:
    """n times the same answer of a model that has sets and a scope."""
    sets = np.array([[name in SIZES[level] for name in CLASS_NAMES] for level in LEVELS])
    calibrated = np.tile(belief(**(probabilities or {"cat": 0.83})), (n, 1))
    raw = np.tile(belief(cat=0.61), (n, 1))
    scope = np.full(n, 1.5 if inside else -2.5, np.float32)
    return Answer(calibrated, raw, np.tile(sets, (n, 1, 1)), scope, np.full(n, inside))


@pytest.fixture
def trust(lab):  # noqa: F811
    """The app with a model whose card has sets and calibration."""
    info = ModelInfo("lab-net", Path("nowhere/lab-net"), "lab-net", CARD, "bundled")
    lab.monkeypatch.setattr(resources, "models", lambda: [info])
    lab.answering = FakeWorker(lambda _, pixels: trusting(len(pixels)))
    lab.monkeypatch.setattr(resources, "neighbours_ready", lambda _: False)
    modes = {"modes": ("average", "halves"), "ratios": (0.5,)}  # of 15 a pair, for these tests
    lab.monkeypatch.setattr(resources, "mid_blends", lambda pairs: mid_blends(pairs, **modes))
    return lab


def expand(at, key):
    at.session_state[key] = True
    return at.run()


def button(at, label):
    return next(button for button in at.button if button.label == label)


# ------------------------------------------------------------------------------------------- sets and scope


def test_answer_set_at_each_level(trust):
    at = trust.open()
    assert not at.exception and not at.error
    assert at.subheader[0].value == "cat · 83 %"
    assert "Set: **cat or dog (95 %)**" in words(at)
    assert "it contains the true class 95 of 100 times" in words(at)
    at.segmented_control(key="level").set_value(90).run()
    assert "Set: **cat (90 %)**" in words(at)
    at.segmented_control(key="level").set_value(99).run()
    assert "Set: **cat, deer or dog (99 %)**" in words(at)


def test_raw_softmax_is_one_switch_away(trust):
    at = trust.open()
    at.segmented_control(key="raw").set_value(True).run()
    assert at.subheader[0].value == "cat · 61 %"
    assert "Set: **cat or dog (95 %)**" in words(at)


def test_out_of_scope_is_said_plainly_and_the_numbers_stay(trust):
    trust.answering = FakeWorker(lambda _, pixels: trusting(len(pixels), inside=False))
    at = trust.open()
    assert at.subheader[0].value == OUTSIDE == "This does not look like any of the ten classes"
    assert "the network says: cat · 83 %" in words(at)


def test_models_without_sets_or_scope_show_nothing_extra(lab):  # noqa: F811
    at = lab.open()
    assert not at.exception
    assert [control.key for control in at.segmented_control] == ["way"]
    assert "Set:" not in words(at) and OUTSIDE not in words(at)
    assert not at.session_state["answers"].beliefs[next(iter(at.session_state["answers"].beliefs))].sets
    at.switch_page("pages/blend.py").run()
    assert not at.exception and not at.error
    assert "answer set" not in words(at)


def test_epoch_of_a_run_is_offered_no_switches(trust):
    info = ModelInfo("run@3", Path("nowhere/epoch-003.keras"), "run, epoch 3", CARD, "epoch")
    trust.monkeypatch.setattr(resources, "models", lambda: [info])
    trust.answering = FakeWorker(lambda _, pixels: np.tile(belief(cat=0.5), (len(pixels), 1)))
    at = trust.open()
    assert [control.key for control in at.segmented_control] == ["way"]


def test_table_carries_set_and_scope(trust):
    at = upload(trust.open(), ("a.jpg", jpeg("red")), ("b.jpg", jpeg("blue")), ("x.jpg", b"\xff\xd8\xff!"))
    table = at.dataframe[0].value
    assert table["set"].fillna("-").tolist() == ["cat dog", "cat dog", "-"]
    assert table["scope"].tolist()[:2] == [1.5, 1.5] and table["in_scope"].tolist()[:2] == [True, True]
    assert list(table.columns[-4:]) == ["set", "scope", "in_scope", "error"]


def test_table_of_a_model_without_them_has_no_such_columns(lab):  # noqa: F811
    at = upload(lab.open(), ("a.jpg", jpeg("red")), ("b.jpg", jpeg("blue")))
    assert not {"set", "scope", "in_scope"} & set(at.dataframe[0].value.columns)


def test_sweep_explains_its_sets(trust):
    at = trust.open("blend")
    assert not at.exception and not at.error
    assert "The strip below the curve shows it at every ratio." in words(at)


# ---------------------------------------------------------------------------------------------- explanation


def test_evidence_for_the_class_that_is_chosen(trust):
    asked = []

    def explain(model, pixels, index):
        asked.append(CLASS_NAMES[index])
        return None if index == 9 else encode_png(pixels)

    trust.monkeypatch.setitem(JOBS, "explain", explain)
    at = trust.open()
    assert not asked  # on demand only
    expand(at, "why")
    assert not at.exception and not at.error
    assert asked == ["cat"]
    pills = next(group for group in at.button_group if group.label == "Evidence for")
    pills.set_value("frog").run()
    assert asked == ["cat", "frog"]
    next(group for group in at.button_group if group.label == "Evidence for").set_value("truck").run()
    assert not at.exception and not at.error


def test_explanation_that_fails_says_so(trust):
    def explain(*_):
        raise WorkerError("The process that answers stopped.")

    trust.monkeypatch.setitem(JOBS, "explain", explain)
    at = expand(trust.open(), "why")
    assert not at.exception
    assert at.error[0].value == "The process that answers stopped."
    assert at.subheader[0].value == "cat · 83 %"


def test_nearest_pictures_need_the_data(trust):
    def missing():
        raise DatasetError("CIFAR-10 was not found.")

    trust.monkeypatch.setattr(resources, "test_split", missing)
    trust.monkeypatch.setitem(JOBS, "explain", lambda *_: None)
    at = expand(trust.open(), "why")
    assert not at.exception and not at.error
    assert "CIFAR-10 is not on this machine, so there are no training images to show." in words(at)


def test_nearest_pictures_once_they_are_prepared(trust):
    steps = iter([(1, 2), (2, 2)])
    pictures = np.zeros((8, 32, 32, 3), np.uint8)
    trust.monkeypatch.setattr(resources, "test_split", lambda: (pictures, np.zeros(8, int)))
    trust.monkeypatch.setitem(JOBS, "explain", lambda *_: None)
    trust.monkeypatch.setitem(JOBS, "prepare_neighbours", lambda model: next(steps))
    trust.monkeypatch.setitem(
        JOBS, "nearest", lambda model, pixels, k: (pictures[:k], np.arange(k), np.linspace(1, 0.5, k))
    )
    at = expand(trust.open(), "why")
    button(at, "Search all training images").click().run()
    assert resources.neighbours(Path("nowhere/lab-net")).wait(10)
    at.run()
    assert not at.exception and not at.error
    assert "cosine similarity of the network's features" in words(at)


def test_search_for_neighbours_that_failed_can_be_tried_again(trust):
    def fail(_):
        raise WorkerError("The process that answers stopped.")

    pictures = np.zeros((8, 32, 32, 3), np.uint8)
    trust.monkeypatch.setattr(resources, "test_split", lambda: (pictures, np.zeros(8, int)))
    trust.monkeypatch.setitem(JOBS, "explain", lambda *_: None)
    trust.monkeypatch.setitem(JOBS, "prepare_neighbours", fail)
    found = pictures[:8], np.arange(8), np.linspace(1, 0.5, 8)
    trust.monkeypatch.setitem(JOBS, "nearest", lambda model, pixels, k: found)
    at = expand(trust.open(), "why")
    button(at, "Search all training images").click().run()
    assert resources.neighbours(Path("nowhere/lab-net")).wait(10)
    assert "The process that answers stopped." in [error.value for error in at.run().error]
    trust.monkeypatch.setitem(JOBS, "prepare_neighbours", lambda model: (2, 2))
    button(at, "Try again").click().run()
    assert resources.neighbours(Path("nowhere/lab-net")).wait(10)
    at.run()
    assert not at.error and "cosine similarity of the network's features" in words(at)


def test_reading_the_data_that_failed_can_be_tried_again(trust):
    tried = []

    def missing():
        error = DatasetError("test_batch is truncated.")
        error.again = lambda: tried.append(True)
        raise error

    trust.monkeypatch.setattr(resources, "test_split", missing)
    trust.monkeypatch.setitem(JOBS, "explain", lambda *_: None)
    at = expand(trust.open(), "why")
    button(at, "Try again").click().run()
    assert tried


def test_mix_is_explained_for_both_pictures(trust):
    asked = []
    trust.monkeypatch.setitem(JOBS, "explain", lambda model, pixels, index: asked.append(CLASS_NAMES[index]))
    at = expand(trust.open("blend", a="ship", b="dog"), "why_mix")
    assert not at.exception and not at.error
    assert asked == ["ship", "dog", "cat"]  # both pictures, and the third class that wins


# -------------------------------------------------------------------------------------------- predict first


def test_answer_is_hidden_until_the_guess(trust):
    at = trust.open(sample="ship")
    at.toggle(key="predict").set_value(True).run()
    assert not at.exception
    assert "cat · 83 %" not in words(at) and "Set:" not in words(at) and not at.expander
    assert at.subheader[0].value == "What do you say?"
    next(group for group in at.button_group if group.label.startswith("Your guess")).set_value("ship").run()
    assert "You said **ship**, lab-net says **cat**. It is: **ship**." in words(at)
    assert "Right: **you 1 of 1, lab-net 0 of 1**. You and lab-net said the same in 0 of 1." in words(at)
    assert "cat · 83 %" in [heading.value for heading in at.subheader]
    button(at, "Start again").click().run()
    assert at.subheader[0].value == "What do you say?" and "No guess yet." in words(at)


def test_own_picture_counts_once_its_truth_is_said(trust):
    at = upload(trust.open(), ("mine.jpg", jpeg("red")))
    at.toggle(key="predict").set_value(True).run()
    next(group for group in at.button_group if group.label.startswith("Your guess")).set_value("cat").run()
    assert "Right:" not in words(at) and "said the same in 1 of 1" in words(at)
    next(group for group in at.button_group if group.label.startswith("What is it")).set_value("dog").run()
    assert "Right: **you 0 of 1, lab-net 0 of 1**." in words(at)


def test_nothing_of_many_pictures_tells_before_the_guesses(trust):
    at = upload(trust.open(), ("a.jpg", jpeg("red")), ("b.jpg", jpeg("blue")))
    assert len(at.dataframe) == 1
    at.toggle(key="predict").set_value(True).run()
    assert not at.exception and not at.dataframe
    assert "appears once all pictures are guessed" in words(at)
    assert at.segmented_control(key="order").disabled


def test_score_of_a_game():
    game = Game()
    game.commit("one", "cat")
    game.commit("one", "dog")  # what was said is said
    game.commit("two", "frog")
    game.commit("three", "no class")
    assert game.rounds["one"].guess == "cat" and set(game.rounds) == {"one", "two"}
    game.rounds["one"].answers["lab-net"], game.rounds["one"].truth = "dog", "cat"
    game.rounds["two"].answers["lab-net"] = "frog"
    assert game.score("lab-net") == (1, 0, 1, 1, 2)
    assert game.score("another") == (0, 0, 0, 0, 0)


def test_blend_keeps_its_answers_back(trust):
    at = trust.open("blend")
    at.toggle(key="predict").set_value(True).run()
    assert not at.exception
    assert "No guess yet" in words(at)
    shown = at.session_state["shown_live_blend"][0]
    assert shown["question"] and shown["models"] == [{"title": "lab-net"}]
    assert not [download for download in at.get("download_button") if "Sweep" in str(download.proto.label)]


# ------------------------------------------------------------------------------------------ ambiguous pairs


def surprised(_, pixels):
    """Frog for whatever is greenish in the middle, which no pair of samples but those with a frog shall be."""
    beliefs = trusting(len(pixels))
    return replace(beliefs, probabilities=np.tile(belief(frog=0.4), (len(pixels), 1)))


def test_ambiguous_pairs_are_asked_in_the_background_in_small_parts(trust):
    trust.answering = FakeWorker(surprised)
    at = trust.open("blend")
    before = sum(n for _, n in trust.answering.asked)
    expand(at, "ambiguous")
    task = resources.mid_blends_of(Path("nowhere/lab-net"), "samples")
    assert task.wait(60) and task.error is None
    at.run()
    assert not at.exception and not at.error
    assert sum(n for _, n in trust.answering.asked) - before == 45 * 2
    assert max(n for _, n in trust.answering.asked) <= 16
    tiles = at.session_state["shown_ambiguous_gallery"][0]["items"]
    assert len(tiles) == 12 and all(tile["title"] == "frog 40 %" for tile in tiles)
    assert not [tile for tile in tiles if "frog" in tile["note"]]  # there it is no third class
    at.segmented_control(key="ambiguous_order").set_value("many").run()
    assert at.session_state["shown_ambiguous_gallery"][0]["items"][0]["title"] == "2 classes"
    assert sum(n for _, n in trust.answering.asked) - before == 45 * 2  # asked once


def test_ambiguous_pairs_of_test_pictures_need_the_data(trust):
    def missing():
        raise DatasetError("CIFAR-10 was not found.")

    trust.monkeypatch.setattr(resources, "test_split", missing)
    at = trust.open("blend")
    at.session_state["ambiguous_source"] = "test"
    expand(at, "ambiguous")
    assert not at.exception and not at.error
    assert "CIFAR-10 is not on this machine, so there are no test images to mix." in words(at)


def test_ambiguous_pairs_of_test_pictures(trust):
    rng = np.random.default_rng(0)
    data = rng.integers(0, 256, (60, 32, 32, 3), dtype=np.uint8), np.repeat(np.arange(10), 6)
    trust.monkeypatch.setattr(resources, "test_split", lambda: data)
    at = trust.open("blend")
    at.session_state["ambiguous_source"] = "test"
    expand(at, "ambiguous")
    task = resources.mid_blends_of(Path("nowhere/lab-net"), "test")
    assert task.wait(60) and task.error is None
    at.run()
    assert not at.exception and not at.error
    assert all(data[1][int(name.split()[-1])] == CLASS_NAMES.index(name.split(",")[0]) for name in task.result.names)
    assert at.session_state["shown_ambiguous_gallery"][0]["items"]


def test_background_that_fails_can_be_tried_again(trust):
    def fail(model, pixels):
        if len(trust.answering.asked) > 16:  # after the sweep
            raise WorkerError("The process that answers stopped.")
        return trusting(len(pixels))

    trust.answering = FakeWorker(fail)
    at = trust.open("blend")
    expand(at, "ambiguous")
    assert resources.mid_blends_of(Path("nowhere/lab-net"), "samples").wait(60)
    at.run()
    assert [error.value for error in at.error] == ["The process that answers stopped."]
    trust.answering = FakeWorker(surprised)
    button(at, "Try again").click().run()
    assert resources.mid_blends_of(Path("nowhere/lab-net"), "samples").wait(60)
    assert not at.run().error
