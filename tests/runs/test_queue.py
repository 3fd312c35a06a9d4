"""Runs that wait without a process, the pause for all, and whose a run is; nothing is trained here."""

import json

import pytest
from click.testing import CliRunner

from cifar_model.cli.runs import runs as command
from cifar_model.errors import RunError, SettingsError
from cifar_model.runs import start
from cifar_model.runs.change import rename, request
from cifar_model.runs.hold import hold_all, is_held
from cifar_model.runs.owners import fingerprint, owner_of
from cifar_model.runs.queue import max_queue
from cifar_model.runs.read import ahead_of, live_runs, read_run
from cifar_model.training import control
from cifar_model.training.folder import RunDirectory
from cifar_model.training.settings import Settings, default_settings
from tests.runs.test_runs import ended_pid, home, write_run  # noqa: F401

SETTINGS = default_settings("seed-cnn", "quick")


@pytest.fixture
def launched(monkeypatch):
    """What would have been started: names and arguments; each then trains, as far as its files tell."""
    calls = []

    def launch(path, arguments):
        calls.append((path.name, arguments))
        set_state(path, "running")

    monkeypatch.setattr(start, "_launch", launch)
    return calls


def set_state(path, state):
    write_run(path.parent, path.name + ".part", state=state)
    for file in ("status.json", "settings.json"):
        made = path.parent / (path.name + ".part") / file
        if file == "status.json" or not (path / file).exists():
            made.replace(path / file)
        else:
            made.unlink()
    (path.parent / (path.name + ".part")).rmdir()


def test_a_run_that_waits_is_a_folder_with_settings_and_no_process(home, launched):  # noqa: F811
    assert start.start_run(SETTINGS, "first", queue=True) == "first"
    assert launched == [("first", [*SETTINGS.to_argv(), "--run", "first"])]
    start.start_run(SETTINGS, "second", queue=True, owner="me")
    run = read_run("second")
    assert run.state == "queued" and run.is_live and "pid" not in run.status
    assert Settings.from_dict(run.settings) == SETTINGS and run.command.endswith("--run second")
    assert [other.name for other in ahead_of("second")] == ["first"] and owner_of(run.path) == "me"
    assert start.start_waiting() == [] and len(launched) == 1
    set_state(home / "first", "finished")
    assert start.start_waiting() == ["second"] and start.start_waiting() == []
    assert launched[1] == ("second", ["--resume", "second", "--queue"])


def test_turns_are_taken_in_the_order_of_queueing_also_by_runs_that_are_old(home, launched):  # noqa: F811
    old = write_run(home, "old", state="stopped")  # made long before the others
    start.start_run(SETTINGS, "first")
    start.start_run(SETTINGS, "second", queue=True)
    start.resume_run("old", epochs=7, queue=True)
    assert [run.name for run in live_runs()] == ["first", "second", "old"]
    set_state(home / "first", "finished")
    start.start_waiting()
    set_state(home / "second", "finished")
    start.start_waiting()
    assert (
        launched[-1] == ("old", ["--resume", "old", "--epochs", "7", "--queue"]) and not (old / "queued.json").exists()
    )


def test_a_place_is_given_to_each_of_several(home, launched, monkeypatch):  # noqa: F811
    start.start_run(SETTINGS, "first")
    for name in ("a", "b", "c"):
        start.start_run(SETTINGS, name, queue=True)
    monkeypatch.setenv("CIFAR_LAB_MAX_RUNS", "3")
    assert start.start_waiting() == ["a", "b"]


def test_one_that_waits_in_a_terminal_starts_by_itself_and_is_not_overtaken(home, launched):  # noqa: F811
    path = write_run(home, "terminal", state="queued")
    (path / "settings.json").write_text(json.dumps({"created": 5.0, "settings": {"epochs": 1}}))
    start.start_run(SETTINGS, "later", queue=True)
    assert read_run("later").state == "queued" and start.start_waiting() == []


def test_so_many_may_wait_and_no_more(home, launched, monkeypatch):  # noqa: F811
    start.start_run(SETTINGS, "first")
    monkeypatch.setenv("CIFAR_LAB_MAX_QUEUE", "2")
    for name in ("a", "b"):
        start.start_run(SETTINGS, name, queue=True)
    with pytest.raises(RunError, match="2 runs wait already"):
        start.start_run(SETTINGS, "c", queue=True)
    assert not (home / "c").exists()
    write_run(home, "old", state="stopped")
    with pytest.raises(RunError, match="CIFAR_LAB_MAX_QUEUE"):
        start.resume_run("old", queue=True)
    monkeypatch.setenv("CIFAR_LAB_MAX_QUEUE", "many")
    with pytest.raises(SettingsError, match="whole number"):
        max_queue()


def test_a_run_that_waits_can_be_stopped_and_later_continued_but_not_paused(home, launched):  # noqa: F811
    start.start_run(SETTINGS, "first")
    start.start_run(SETTINGS, "second", queue=True)
    for action, value in (("pause", None), ("resume", None), ("set-lr", 0.1)):
        with pytest.raises(RunError, match="waits for its turn"):
            request("second", action, value)
    with pytest.raises(RunError, match="stop it first"):
        rename("second", "third")
    assert request("second", "stop") is True
    run = read_run("second")
    assert run.state == "stopped" and run.can_resume and "before its turn" in run.message
    set_state(home / "first", "finished")
    assert start.start_waiting() == []
    start.resume_run("second", queue=True)
    assert launched[-1] == ("second", ["--resume", "second"])


def test_a_killed_run_gives_its_place_to_the_next(home, launched):  # noqa: F811
    start.start_run(SETTINGS, "first")
    start.start_run(SETTINGS, "second", queue=True)
    status = json.loads((home / "first" / "status.json").read_text())
    (home / "first" / "status.json").write_text(json.dumps(status | {"pid": ended_pid(), "pid_started": 1.0}))
    assert read_run("first").state == "interrupted"
    assert "second" in CliRunner().invoke(command, []).output and len(launched) == 2  # any look at the runs will do


def test_a_pause_for_all(home, launched):  # noqa: F811
    start.start_run(SETTINGS, "first")
    write_run(home, "by-its-owner", state="paused")
    assert hold_all() == ["first"] and is_held()
    letters = [json.loads(file.read_text()) for file in (home / "first" / "requests").iterdir()]
    assert letters == [{"action": "pause"}] and not (home / "by-its-owner" / "requests").exists()
    with pytest.raises(RunError, match="paused"):
        start.start_run(SETTINGS, "second")
    start.start_run(SETTINGS, "second", queue=True)
    for name in ("first", "by-its-owner"):
        set_state(home / name, "finished")
    assert start.start_waiting() == []
    set_state(home / "first", "paused")
    result = CliRunner().invoke(command, ["release", "--json"])
    assert json.loads(result.output) == {"action": "release", "runs": ["first"]} and not is_held()
    assert sorted(file.name.partition("-")[2] for file in (home / "first" / "requests").iterdir()) == [
        "pause.json", "resume.json",
    ]  # fmt: skip
    set_state(home / "first", "finished")
    assert start.start_waiting() == ["second"] and start.release_all() == []


def test_a_key_is_known_by_its_hash_alone(home):  # noqa: F811
    path = write_run(home, "mine")
    assert owner_of(path) is None
    (path / "owner.json").write_text('{"visitor": ["x"]}')
    assert owner_of(path) is None
    assert fingerprint("ab" * 32) != "ab" * 32 and len(fingerprint("x")) == 64


def test_a_run_that_gave_up_its_place_in_a_pause_for_all_goes_on_in_its_turn(home, launched):  # noqa: F811
    start.start_run(SETTINGS, "first")
    hold_all()
    set_state(home / "first", "stopped")
    write_run(home, "quick", state="running")
    assert start.release_all() == ["first"] and read_run("first").state == "queued"


def test_a_pause_ends_when_it_has_lasted_too_long(home, monkeypatch):  # noqa: F811
    monkeypatch.setattr(control, "PAUSE_SECONDS", 0.3)
    directory = RunDirectory(write_run(home, "long", state="running"))
    (directory.path / "requests").mkdir()
    (directory.path / "requests" / "1-pause.json").write_text('{"action": "pause"}')
    listener = control.Control(directory)
    listener.poll()
    assert listener.stopping and listener.gave_way and 0.3 <= listener.paused_seconds < 60


def test_a_request_leaves_the_inbox_once_it_is_carried_out(home, monkeypatch):  # noqa: F811
    directory = RunDirectory(write_run(home, "asked", state="running"))
    inbox = directory.path / "requests"
    inbox.mkdir()
    for number, action in enumerate(("pause", "resume"), start=1):
        (inbox / f"{number}-{action}.json").write_text(json.dumps({"action": action}))
    seen, plain = [], directory.set_status

    def set_status(state):
        seen.append((state, sorted(file.name for file in inbox.iterdir())))
        plain(state)

    monkeypatch.setattr(directory, "set_status", set_status)
    control.Control(directory).poll()
    assert seen == [("paused", ["1-pause.json", "2-resume.json"]), ("running", ["2-resume.json"])]
    assert not list(inbox.iterdir()) and directory.status["state"] == "running"
