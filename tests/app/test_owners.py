"""Whose runs are whose on the pages, what the teacher may do, and what a stranger is not shown."""

import json
import logging
import threading

import pytest
from streamlit.testing.v1 import AppTest

from cifar_model.app.shared import discreet as discreet_module
from cifar_model.app.shared import owner
from cifar_model.app.shared.discreet import discreet
from cifar_model.runs import start as runs_start
from cifar_model.runs.hold import is_held
from cifar_model.runs.owners import fingerprint, write_owner
from cifar_model.runs.read import read_run
from tests.app.test_train import button, expand, home, labels, open_page, words, write_run  # noqa: F401

KEY = "5a" * 32  # what the browser of the visitor under test keeps


@pytest.fixture
def classroom(home, monkeypatch):  # noqa: F811
    """A teacher's code is set, and whoever opens a page hasn't given it."""
    monkeypatch.setenv(owner.TEACHER_CODE, "chalk")
    return home


def open_as(key, **query):
    at = open_page(**query)
    at.session_state["visitor_key"] = key
    return at.run()


def letters(path):
    inbox = path / "requests"
    return [json.loads(file.read_text())["action"] for file in sorted(inbox.iterdir())] if inbox.exists() else []


def test_alone_on_a_laptop_nothing_is_in_the_way(home):  # noqa: F811
    write_run(home, "from-the-terminal", "running")
    at = open_page()
    assert {"Pause", "Stop"} <= set(labels(at)) and "somebody else" not in words(at).lower()
    assert "Teacher" not in words(at) and not button(at, "Queue this run").disabled
    assert not expand(at, "train_more_settings").text_input(key="train_name_0").disabled


def test_somebody_elses_run_is_watched_and_not_touched(classroom):
    path = write_run(classroom, "theirs", "running")
    write_owner(path, fingerprint("6b" * 32))
    at = open_as(KEY)
    assert "somebody else's" in words(at) and not {"Pause", "Stop"} & set(labels(at))
    assert "62.5 %" in [metric.value for metric in at.metric]  # it can be watched
    write_owner(path, fingerprint(KEY))
    at.run()
    assert {"Pause", "Stop"} <= set(labels(at))
    button(at, "Pause").click().run()
    assert letters(path) == ["pause"]


def test_what_no_button_offers_is_refused_too(classroom):
    """Two tabs: what was one's own when the page was drawn is somebody else's when the click arrives."""
    live = write_run(classroom, "live", "running")
    ended = write_run(classroom, "ended")
    for path in (live, ended):
        write_owner(path, fingerprint(KEY))
    at = open_as(KEY, run="live")
    at.selectbox(key="train_chosen").set_value("ended").run()
    at.button(key="train_delete").click().run()
    write_owner(ended, fingerprint("6b" * 32))
    at.button(key="train_delete_yes").click().run()
    assert ended.is_dir() and "somebody else's run" in words(at)
    write_owner(live, fingerprint("6b" * 32))
    button(at, "Pause").click().run()
    assert letters(live) == [] and not at.exception


def test_a_run_from_the_terminal_is_nobodys_in_the_classroom(classroom):
    write_run(classroom, "by-hand")
    at = open_as(KEY, run="by-hand")
    assert at.button(key="train_delete").disabled and at.button(key="train_rename").disabled
    assert "Close" in labels(at) and "Add epochs" not in labels(at)


def test_who_starts_a_run_owns_it(classroom, monkeypatch):
    given = []
    monkeypatch.setattr(runs_start, "start_run", lambda settings, name, *, queue, owner: given.append(owner) or "x")
    button(open_as(KEY), "Start training").click().run()
    assert given == [fingerprint(KEY)]


@pytest.mark.parametrize(("value", "accepted"), [("7c" * 32, True), ("7C" * 32, False), (5, False), ([], False),
                                                 ("7c" * 31, False), (None, False), ({"kept": 1}, False)])  # fmt: skip
def test_what_a_browser_says_of_its_key(classroom, value, accepted, monkeypatch):
    told = []
    monkeypatch.setattr(owner, "_visitor", lambda **options: told.append(options["on_kept_change"]))
    at = open_as(KEY)
    fake = {"visitor": type("State", (), {"kept": value})(), "visitor_key": KEY}
    monkeypatch.setattr(owner, "st", type("Fake", (), {"session_state": fake}))
    told[-1]()
    assert not at.exception and fake["visitor_key"] == (value if accepted else KEY)


def test_the_teacher_changes_every_run_and_pauses_all(classroom):
    write_owner(path := write_run(classroom, "theirs", "running"), fingerprint("6b" * 32))
    at = open_as(KEY)
    assert "Pause all training" not in labels(at)
    at.text_input(key="owner_code").set_value("chalk").run()
    assert {"Pause", "Stop", "Pause all training", "Stop all runs"} <= set(labels(at))
    at.button(key="teacher_hold").click().run()
    assert is_held() and letters(path) == ["pause"] and "All training is paused" in words(at)
    at.button(key="teacher_release").click().run()
    assert not is_held() and letters(path) == ["pause", "resume"]
    at.button(key="teacher_stop").click().run()
    assert letters(path)[-1] == "stop" and not at.exception


def test_in_a_pause_for_all_a_visitor_waits(classroom):
    write_owner(write_run(classroom, "mine", "paused"), fingerprint(KEY))
    (classroom / ".held.json").write_text('{"paused": []}')
    at = open_as(KEY)
    assert button(at, "Resume").disabled and "Queue this run" in labels(at)


@pytest.mark.parametrize(
    ("who", "said", "teacher_may"), [("teacher", "Only the teacher", True), ("off", "switched", False)]
)
def test_who_may_train(classroom, monkeypatch, who, said, teacher_may):
    monkeypatch.setenv(owner.TRAINING, who)
    at = open_as(KEY)
    assert said in words(at) and "Start training" not in labels(at) and "Download CIFAR-10" not in labels(at)
    at.text_input(key="owner_code").set_value("chalk").run()
    assert ("Start training" in labels(at)) is teacher_may
    monkeypatch.setenv(owner.TRAINING, "everybody")
    assert "CIFAR_LAB_TRAINING is 'everybody': set it to all, teacher or off." in words(at.run())


def test_a_stranger_sees_no_path_and_no_log(classroom, tmp_path, monkeypatch, caplog):
    path = write_run(classroom, "broken", "failed", message=f"Can't write {classroom}/broken/card.json: disk full.")
    (path / "log.txt").write_text("Traceback (most recent call last):\nsecret line\n")
    settings = json.loads((path / "settings.json").read_text())
    (path / "settings.json").write_text(json.dumps(settings | {"command": f"python -m x --data {tmp_path}/d"}))
    with caplog.at_level(logging.WARNING):
        at = open_as(KEY, run="broken")
        at.run()
    text = words(at)
    assert str(tmp_path) not in text and "secret" not in text and "tensorboard" not in text
    number = text.partition("(Number ")[2][:6]
    assert [str(tmp_path) in record.message for record in caplog.records if f"[{number}]" in record.message] == [True]
    at.text_input(key="owner_code").set_value("chalk").run()
    assert str(tmp_path) in words(at) and "secret line" in words(at)
    assert read_run("broken").message in words(at)


@pytest.mark.parametrize(
    ("message", "shown"),
    [
        ("Can't write /home/ann/runs/a/card.json: full.", "Can't write …/card.json: full."),
        (r"C:\Users\Ann\x.txt is missing", "…/x.txt is missing"),
        ("It ended before it began.\nTraceback …", "It ended before it began."),
        ("See https://www.cs.toronto.edu/~kriz/cifar.html", None),
        ("and/or 1/2, at 10 images/s", None),
    ],
)
def test_paths_are_cut(monkeypatch, message, shown):
    monkeypatch.setattr(discreet_module, "is_owner", lambda: False)
    said = discreet(message)
    assert said == message if shown is None else said.startswith(f"{shown} (Number ")
    monkeypatch.setattr(discreet_module, "is_owner", lambda: True)
    assert discreet(message) == message


def test_paths_are_cut_wherever_they_stand_in_a_card(monkeypatch):
    monkeypatch.setattr(discreet_module, "is_owner", lambda: False)
    card = {"data": {"source": "/mnt/all my data/x.tgz"}, "argv": ["--data", "/home/ann/c10"], "n": 3, "none": None}
    shown = discreet_module.hide_paths(card)
    assert shown == {"data": {"source": "…/all my data/x.tgz"}, "argv": ["--data", "…/c10"], "n": 3, "none": None}
    monkeypatch.setenv("CIFAR10_DIR", "/mnt/all my data")  # of a folder that is known nothing is left
    assert discreet_module.hide_paths(card)["data"]["source"] == "…/x.tgz"


@pytest.mark.parametrize(
    ("address", "environment", "warned"),
    [(None, {}, True), ("0.0.0.0", {}, True), ("127.0.0.1", {}, False), ("localhost", {}, False),
     ("0.0.0.0", {owner.TEACHER_CODE: "x"}, False), (None, {owner.TRAINING: "off"}, False)],
)  # fmt: skip
def test_an_open_door_is_told_in_the_log(monkeypatch, caplog, address, environment, warned):
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr(owner.st, "get_option", lambda name: address)
    owner.warn_of_strangers.clear()
    with caplog.at_level(logging.WARNING):
        owner.warn_of_strangers()
        owner.warn_of_strangers()
    assert len([r for r in caplog.records if "Others can reach this app" in r.message]) == warned
    owner.warn_of_strangers.clear()


def test_a_page_under_test_starts_nothing_by_itself():
    at = AppTest.from_string("from cifar_model.app.shared import keeper\nkeeper.keep_house()").run(timeout=60)
    assert not at.exception and not any(thread.name == "keeper" for thread in threading.enumerate())
