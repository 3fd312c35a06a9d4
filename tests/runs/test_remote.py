"""Runs on a cluster as their folders show them; no Ray is needed here."""

import json
import os
import time

import pytest
from click.testing import CliRunner

from cifar_model.cli.runs import runs as command
from cifar_model.cluster import node
from cifar_model.errors import RunError
from cifar_model.runs import remote, start
from cifar_model.runs.change import delete, rename, request
from cifar_model.runs.hold import hold_all
from cifar_model.runs.read import ahead_of, list_runs, live_here, read_run
from cifar_model.runs.remote import due, sending, sent_mark
from cifar_model.storage import write_json
from cifar_model.training import folder
from cifar_model.training.settings import Settings, default_settings
from tests.runs.test_runs import home, write_run  # noqa: F401

SETTINGS = default_settings("seed-cnn", "quick")


@pytest.fixture
def sent(home, monkeypatch):  # noqa: F811
    """A cluster, and how often somebody would have been started who tells it what waits."""
    calls = []
    monkeypatch.setenv("CIFAR_LAB_RAY", "127.0.0.2:6379")
    monkeypatch.setattr(start, "_send", lambda: calls.append(time.time()))
    monkeypatch.setattr(remote, "_ahead", (-1e9, 0.0))
    home.mkdir()
    return calls


def tell(*names):
    """As whoever hands runs over leaves them."""
    for name in names:
        file = read_run(name).path / "queued.json"
        write_json(file, json.loads(file.read_text()) | {"sent": True})
    sent_mark().touch()


def begun(name, on="far (127.0.0.3)"):
    """Let a node take a run; returns the arguments of `train`."""
    run = read_run(name)
    return node.begin(run.path, run.status["queued"], on)


def silence(path, seconds=60):
    """No sign of life from a run's node for so long."""
    past = time.time() - seconds
    os.utime(path / "launcher.json", (past, past))


def read_status(path):
    return json.loads((path / "status.json").read_text())


def test_a_new_run_waits_for_the_cluster_however_many_train(sent):
    for name in ("a", "b", "c"):
        start.start_run(SETTINGS, name)
    run = read_run("a")
    assert len(sent) == 3 and run.state == "queued" and run.remote and "cluster" in run.message
    assert Settings.from_dict(run.settings) == SETTINGS and live_here() == [] == ahead_of("a")
    assert [one.name for one in due([read_run(name) for name in ("c", "a", "b")])] == ["a", "b", "c"]
    tell("a", "b", "c")
    assert due([read_run("a")]) == [] == start.start_waiting() and len(sent) == 3


def test_a_hundred_may_wait_for_a_cluster(sent, monkeypatch):
    for number in range(30):
        start.start_run(SETTINGS, f"r{number}")
    monkeypatch.setenv("CIFAR_LAB_MAX_QUEUE", "30")
    with pytest.raises(RunError, match="30 runs wait already"):
        start.start_run(SETTINGS, "one-more")


def test_what_nobody_was_told_of_is_sent_by_whoever_looks_and_all_again_after_a_while(sent, monkeypatch):
    start.start_run(SETTINGS, "a")
    tell("a")
    start.start_run(SETTINGS, "b")
    sent.clear()
    with sending():
        start.start_waiting()
        assert not sent  # somebody is at it
    start.start_waiting()
    assert len(sent) == 1 and [run.name for run in due([read_run("a"), read_run("b")])] == ["b"]
    monkeypatch.setattr(remote, "AGAIN_SECONDS", -1.0)
    assert [run.name for run in due([read_run("a"), read_run("b")])] == ["a", "b"]
    hold_all()
    start.start_waiting()
    assert len(sent) == 1
    with pytest.raises(RunError, match="paused"):
        start.start_run(SETTINGS, "c")


def test_its_node_is_heard_or_it_waits_for_another(sent):
    start.start_run(SETTINGS, "a")
    assert begun("a") == ["--resume", "a"]
    run = read_run("a")
    assert (run.state, run.remote, run.message) == ("starting", True, "") and not (run.path / "queued.json").exists()
    write_json(run.path / "status.json", {"state": "running", "pid": 1, "pid_started": 0.0, "updated": 1.0, "epoch": 2})
    assert read_run("a").state == "running"  # whatever has that number on this machine
    silence(run.path)
    lost = read_run("a")
    assert lost.state == "queued" and lost.is_live and "goes on from its last finished epoch" in lost.message
    assert "127.0.0.3" in lost.message.partition("\n")[2]
    for ask in (lambda: rename("a", "z"), lambda: delete("a")):
        with pytest.raises(RunError, match="stop it first"):
            ask()
    assert "waiting for" not in CliRunner().invoke(command, ["show", "a"]).output
    assert begun("a", "other (127.0.0.4)") == ["--resume", "a"] and read_run("a").state == "starting"
    assert json.loads((run.path / "launcher.json").read_text())["node"] == "other (127.0.0.4)"


def test_the_storages_clock_counts(sent, monkeypatch):
    start.start_run(SETTINGS, "a")
    begun("a")
    real = time.time
    monkeypatch.setattr(time, "time", lambda: real() + 3600)  # this machine's is an hour ahead
    monkeypatch.setattr(remote, "_ahead", (-1e9, 0.0))
    assert read_run("a").state == "starting"


def test_one_that_is_stopped_while_it_waits_is_not_begun(sent):
    start.start_run(SETTINGS, "a")
    tell("a")
    waited = read_run("a")
    assert request("a", "stop") and read_run("a").state == "stopped"
    assert node.begin(waited.path, waited.status["queued"], "n") is None and read_run("a").can_resume
    start.resume_run("a", learning_rate=0.001)
    assert node.begin(waited.path, waited.status["queued"], "n") is None  # of the ticket before
    assert begun("a") == ["--resume", "a", "--learning-rate", "0.001"]
    assert node.begin(waited.path.with_name("deleted"), 1.0, "n") is None


def test_one_that_is_stopped_while_its_node_is_lost_stays_so(sent):
    start.start_run(SETTINGS, "a")
    ticket, path = read_run("a").status["queued"], read_run("a").path
    begun("a")
    silence(path)
    assert request("a", "set-lr", 0.01) is False  # the letter is for the node that goes on with it
    assert request("a", "stop") and read_run("a").state == "stopped"
    assert node.begin(path, ticket, "n") is None
    assert [file.name.partition("-")[2] for file in sorted((path / "requests").iterdir())] == [
        "set-lr.json", "stop.json",
    ]  # fmt: skip


def test_runs_of_a_cluster_take_no_place_of_this_machine(sent, monkeypatch):
    start.start_run(SETTINGS, "a")
    begun("a")
    start.start_run(SETTINGS, "b")
    monkeypatch.delenv("CIFAR_LAB_RAY")
    launched = []
    monkeypatch.setattr(start, "_launch", lambda path, arguments: launched.append(path.name))
    assert start.start_waiting() == []  # what waits for the cluster is nobody's here
    start.start_run(SETTINGS, "here")
    assert launched == ["here"]


def test_a_process_of_another_host_is_judged_by_its_signs_of_life(home):  # noqa: F811
    """As of a replica of the app in another container: its numbers of processes mean nothing here."""
    path = write_run(home, "theirs", state="running", pid=1, pid_started=1.0, host="another container")
    assert read_run("theirs").state == "interrupted"
    (path / ".alive").touch()
    assert read_run("theirs").state == "running" and [run.name for run in live_here()] == ["theirs"]
    os.utime(path / ".alive", (1e9, 1e9))
    for file in (path, path / "status.json"):
        os.utime(file, (1e9, 1e9))
    assert [run.state for run in list_runs()] == ["interrupted"]
    (path / ".alive").touch()
    assert [run.state for run in list_runs()] == ["running"]  # it was not listened to for a while


def test_whoever_holds_a_run_gives_signs_of_life(home, monkeypatch):  # noqa: F811
    monkeypatch.setattr(folder, "BEAT_SECONDS", 0.05)
    directory = folder.RunDirectory(home / "held")
    with directory.hold():
        directory.set_status("running")
        assert read_status(directory.path)["host"] == folder.this_host()
        os.utime(directory.path / ".alive", (1e9, 1e9))
        deadline = time.monotonic() + 60
        while (directory.path / ".alive").stat().st_mtime < 1.5e9:
            assert time.monotonic() < deadline
            time.sleep(0.01)
    assert not (directory.path / ".alive").exists()
