"""A sweep on the Train page, shown as one thing; no training runs here."""

import json
import types

import pytest
from app_fakes import FakeWorker

from cifar_model.app.shared import resources
from cifar_model.app.train import sweeps as section
from cifar_model.app.train.form import _sweep_command
from cifar_model.runs.read import live_runs
from cifar_model.runs.start import start_run
from cifar_model.training.settings import default_settings
from tests.app.test_train import expand, home, labels, open_page, words, write_run  # noqa: F401


def write_trial(home, sweep, number, epochs=2, state="finished", **settings):  # noqa: F811
    """The run of a trial, as `write_run`."""
    path = write_run(home, f"{sweep}-{number:02d}", state, epochs)
    record = json.loads((path / "settings.json").read_text())
    record["settings"] |= settings
    record["sweep"] = {"name": sweep, "trial": number, "of": 3, "varied": list(settings)}
    (path / "settings.json").write_text(json.dumps(record))
    return path


@pytest.fixture
def drawn(monkeypatch):
    """The charts that were asked for: kind, data, setting."""
    calls = []

    def chart(kind, frame, setting):
        calls.append((kind, frame, setting))
        return FakeWorker().call("chart", kind, frame, setting)

    monkeypatch.setattr(resources, "chart", chart)
    return calls


def test_without_a_sweep_there_is_nothing_of_it(home, drawn):  # noqa: F811
    write_run(home, "single")
    at = open_page()
    assert "Sweeps" not in words(at) and "Use the best on Classify" not in labels(at) and drawn == []


def test_the_trials_stand_by_accuracy_beside_what_differs(home, drawn):  # noqa: F811
    write_trial(home, "s", 1, epochs=1, learning_rate=0.001, seed=0)
    write_trial(home, "s", 2, epochs=3, learning_rate=0.01, seed=1)
    write_trial(home, "s", 3, epochs=0, state="queued", learning_rate=0.1, seed=2)
    at = open_page()
    text = words(at)
    assert "Sweeps" in text and "**2 of 3** trainings are over · 1 waiting · best so far: **s-02**, 55.0 %" in text
    assert "(learning rate 0.01, seed 1)" in text
    table = next(frame.value for frame in at.dataframe if "Learning rate" in frame.value)
    assert table["Run"].tolist() == ["s-02", "s-01", "s-03"]
    assert table["Learning rate"].tolist() == ["0.01", "0.001", "0.1"] and table["Seed"].tolist() == ["1", "0", "2"]
    assert table["Validation"].tolist()[:2] == [pytest.approx(0.55), pytest.approx(0.35)]
    kind, frame, setting = drawn[-1]
    assert (kind, setting) == ("setting", "learning_rate") and frame["run"].tolist() == ["s-02", "s-01"]
    at.segmented_control(key="train_sweep_setting_s").set_value("seed").run()
    assert drawn[-1][2] == "seed" and not at.exception
    assert at.button(key="train_sweep_use").disabled  # no model yet


def test_the_newest_sweep_is_shown_and_another_can_be_chosen(home, drawn):  # noqa: F811
    write_trial(home, "old", 1, seed=1)
    write_trial(home, "new", 1, seed=2)
    at = open_page()
    box = at.selectbox(key="train_sweep")
    assert box.options == ["new", "old"] and "**new-01**" in words(at)
    box.set_value("old").run()
    assert "**old-01**" in words(at) and not at.exception


def test_a_sweep_that_has_learned_nothing_yet(home, drawn):  # noqa: F811
    write_trial(home, "s", 1, epochs=0, state="starting", seed=1)
    at = open_page()
    assert "**0 of 1** trainings are over · 1 under way" in words(at) and drawn == [] and not at.exception


def test_the_best_answers_on_classify(home, drawn, monkeypatch):  # noqa: F811
    used = []
    monkeypatch.setattr(section, "use_model", used.append)
    monkeypatch.setattr(section.st, "switch_page", used.append)
    for number in (1, 2):
        path = write_trial(home, "s", number, epochs=number, seed=number)
        (path / "model.keras").touch()
        (path / "card.json").write_text("{}")
    open_page().button(key="train_sweep_use").click().run()
    assert used == ["s-02", "pages/classify.py"]


def test_a_selected_row_opens_its_run(home, monkeypatch):  # noqa: F811
    shown, state = [], {section._LISTED: ["s-02", "s-01"]}
    monkeypatch.setattr(section, "show", shown.append)
    monkeypatch.setattr(section.st, "session_state", state)
    for rows in ([1], [], [7]):
        state["train_sweep_table"] = types.SimpleNamespace(selection=types.SimpleNamespace(rows=rows))
        section._open()
    assert shown == ["s-01"] and state[section._OPENED] is True


def test_a_new_run_waits_for_no_trial_that_waits(home, monkeypatch):  # noqa: F811
    write_run(home, "busy", "running")
    for number in range(1, 4):
        write_trial(home, "s", number, epochs=0, state="queued", seed=number)
    start_run(default_settings("seed-cnn", "quick"), "mine", queue=True)
    assert [run.name for run in live_runs()][:2] == ["busy", "mine"]
    text = words(open_page())
    assert "**busy** (training), **mine** (queued) are ahead" in text


def test_the_form_names_the_command_of_a_sweep(home):  # noqa: F811
    assert _sweep_command(default_settings("seed-cnn", "quick")) == (
        "python -m cifar_model sweep --network seed-cnn --recipe quick --learning-rate 0.01,0.03,0.09 --seed 0..2"
    )
    assert "python -m cifar_model sweep --network lab-net" in words(expand(open_page()))
