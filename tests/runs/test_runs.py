"""Runs as processes: the real trainer on generated pictures, and directories written by hand where that will do."""

import json
import os
import signal
import subprocess
import sys
import threading
import time
from dataclasses import replace

import psutil
import pytest
from click.testing import CliRunner
from helpers import PATIENCE, wait_for, wait_for_state

from cifar_model.cli.runs import runs as command
from cifar_model.errors import LabError, ModelError, RunError, SettingsError
from cifar_model.models.folder import find_model
from cifar_model.models.history import HISTORY_COLUMNS, read_history
from cifar_model.runs import start
from cifar_model.runs.change import delete, rename, request
from cifar_model.runs.curve import MAX_POINTS, Curve
from cifar_model.runs.estimate import estimate_time
from cifar_model.runs.follow import follow
from cifar_model.runs.names import check_name
from cifar_model.runs.read import (
    ahead_of,
    list_runs,
    live_runs,
    max_runs,
    read_guesses,
    read_progress,
    read_run,
)
from cifar_model.storage import write_json
from cifar_model.training.settings import Settings


@pytest.fixture
def home(tmp_path, monkeypatch):
    monkeypatch.setenv("CIFAR_LAB_RUNS", str(tmp_path / "runs"))
    # Beside other tests a training of the idle class would wait for ever.
    monkeypatch.delattr(os, "SCHED_IDLE", raising=False)
    yield tmp_path / "runs"
    for run in list_runs():
        if run.is_live and run.status.get("pid") not in (None, os.getpid()):
            psutil.Process(run.status["pid"]).kill()


@pytest.fixture
def settings(tiny_cifar10):
    """A run that lasts until it is stopped: the learning rate is constant."""
    return Settings(network="seed-cnn", recipe="seed", epochs=200, batch_size=16, data=str(tiny_cifar10))


def write_run(home, name="by-hand", **status):
    path = home / name
    path.mkdir(parents=True)
    me = psutil.Process()
    status = {"pid": me.pid, "pid_started": me.create_time(), "updated": time.time(), "epoch": 0} | status
    (path / "status.json").write_text(json.dumps(status))
    record = {"name": name, "created": 5.0, "command": "python -m cifar_model train", "settings": {"epochs": 3}}
    (path / "settings.json").write_text(json.dumps(record))
    return path


def write_history(path, epochs):
    rows = [f"{n},2.0,0.3,2.1,0.25,0.001,500,10" for n in range(1, epochs + 1)]
    (path / "history.csv").write_text("\n".join([",".join(HISTORY_COLUMNS), *rows, ""]))


def ended_pid():
    process = subprocess.Popen([sys.executable, "-c", ""])
    process.wait()
    return process.pid


# Names


@pytest.mark.parametrize("name", ["a", "lab-net-quick-1", "My_run.2", "x" * 60])
def test_good_names(name):
    assert check_name(name) == name


@pytest.mark.parametrize(
    "name",
    ["", " ", "../up", "a/b", "a\\b", "/etc", ".", "..", ".hidden", "-flag", "a b", "run@3", "ends.", "CON", "nul.txt",
     "com1", "é", "a\nb", "a\x00b", "x" * 61, "lab-net", "Seed-CNN", "C:evil", "a*", None],
)  # fmt: skip
def test_hostile_names(name, home):
    with pytest.raises(SettingsError) as caught:
        check_name(name)
    assert len(str(caught.value)) < 300
    with pytest.raises(RunError, match="There is no run named"):
        read_run("../" + str(name))


# Reading


def test_no_runs(home):
    assert list_runs() == [] == live_runs()
    with pytest.raises(RunError, match="There are none yet"):
        read_run("nobody")


def test_progress_is_read_by_whole_lines(tmp_path):
    file = tmp_path / "progress.jsonl"
    assert read_progress(tmp_path) == ([], 0)
    file.write_bytes(b'{"step": 1}\n{"step": 2}\n{"st')
    records, offset = read_progress(tmp_path)
    assert records == [{"step": 1}, {"step": 2}] and offset == 24
    assert read_progress(tmp_path, offset) == ([], 24)
    with open(file, "ab") as more:
        more.write(b'ep": 3}\nbroken}{\n{"step": 4}\n')
    records, offset = read_progress(tmp_path, offset)
    assert records == [{"step": 3}, {"step": 4}]
    file.write_bytes(b'{"step": 1}\n')
    assert read_progress(tmp_path, offset) == ([{"step": 1}], 12)


def test_states(home):
    write_run(home, "alive", state="running")
    write_run(home, "dead", state="running", pid=ended_pid())
    write_run(home, "taken-over", state="paused", pid_started=1.0)
    write_run(home, "done", state="finished", pid=ended_pid(), message="Test accuracy 50 %")
    write_run(home, "bad", state="failed", pid=ended_pid(), message="No data")
    states = {run.name: run.state for run in list_runs()}
    assert states == {
        "alive": "running", "dead": "interrupted", "taken-over": "interrupted", "done": "finished", "bad": "failed",
    }  # fmt: skip
    assert [run.name for run in live_runs()] == ["alive"]
    assert {run.name for run in list_runs() if run.can_resume} == {"dead", "taken-over", "bad"}
    assert read_run("done").message == "Test accuracy 50 %"


def test_a_process_that_dies_at_once_leaves_its_last_words(home):
    path = home / "stillborn"
    path.mkdir(parents=True)
    (path / "launcher.json").write_text(json.dumps({"time": time.time(), "pid": ended_pid(), "pid_started": 1.0}))
    (path / "log.txt").write_text("loading\r 10 %\r 100 %\nModuleNotFoundError: No module named 'click'\n")
    run = read_run("stillborn")
    assert run.state == "failed" and "No module named 'click'" in run.message and " 100 %" in run.message
    assert "loading" not in run.message  # overwritten by the carriage returns


def test_a_fresh_process_is_starting_until_it_writes(home):
    path = write_run(home, state="stopped", updated=time.time() - 60)
    me = psutil.Process()
    ticket = {"time": time.time(), "pid": me.pid, "pid_started": me.create_time()}
    (path / "launcher.json").write_text(json.dumps(ticket))
    assert read_run("by-hand").state == "starting"


def test_broken_files_are_survived(home):
    path = write_run(home, state="running")
    (path / "status.json").write_text("{")
    (path / "settings.json").write_text("[]")
    (path / "progress.jsonl").write_bytes(b"\xff\xfe\n{}\n")
    (path / "guesses.npz").write_bytes(b"PK")
    run = list_runs()[0]
    assert run.settings == {} and run.progress == {} and len(run.history) == 0
    assert read_guesses(path) is None


def test_queue_order(home):
    for name, state, created in (("late", "queued", 9.0), ("early", "queued", 7.0), ("first", "running", 8.0)):
        path = write_run(home, name, state=state)
        (path / "settings.json").write_text(json.dumps({"created": created, "settings": {"epochs": 1}}))
    assert [run.name for run in live_runs()] == ["first", "early", "late"]
    assert [run.name for run in ahead_of("late")] == ["first", "early"]
    assert ahead_of("first") == []


def test_what_is_over_is_read_again_when_its_files_change(home):
    path = write_run(home, "kept", state="stopped")
    os.utime(path, (1.0, 1.0))
    os.utime(path / "status.json", (1.0, 1.0))
    first = list_runs()[0]
    assert list_runs()[0] is first
    status = json.loads((path / "status.json").read_text()) | {"state": "finished"}
    write_json(path / "status.json", status)
    assert list_runs()[0].state == "finished"
    write_history(path, 2)
    assert [row["epoch"] for row in list_runs()[0].history] == [1, 2]
    write_history(path, 3)
    assert len(list_runs()[0].history) == 3


def test_a_curve_is_thinned_alike_however_it_was_read(tmp_path):
    lines = [
        json.dumps({"epoch": n // 100 + 1, "step": n % 100 + 1, "steps": 100, "accuracy": n / 3000, "loss": 2.0}) + "\n"
        for n in range(3000)
    ]
    lines += lines[2900:]  # a resumed run repeats an epoch
    lines.append(lines[-1].replace("2.0", "NaN").replace('"epoch": 30', '"epoch": 31'))
    at_once, bit_by_bit = Curve(tmp_path), Curve(tmp_path)
    for first in range(0, len(lines), 170):
        with open(tmp_path / "progress.jsonl", "a") as file:
            file.writelines(lines[first : first + 170])
        bit_by_bit.points()
    points = json.loads(at_once.points())
    assert points == json.loads(bit_by_bit.points())
    times = [row[0] for row in points["within"]]
    assert MAX_POINTS / 2 <= len(times) <= MAX_POINTS and times == sorted(set(times)) and times[-1] == 31.0
    assert points["within"][-1][2] is None and points["epochs"] == []
    write_history(tmp_path, 1)
    assert json.loads(bit_by_bit.points())["epochs"] == [[1, 0.3, 2.0, 0.25, 2.1]]


# Requests


def test_requests_are_letters(home):
    path = write_run(home, state="running")
    assert request("by-hand", "pause") is False
    assert request("by-hand", "set-lr", 0.25) is False
    letters = sorted((path / "requests").iterdir())
    assert [json.loads(letter.read_text()) for letter in letters] == [
        {"action": "pause"}, {"action": "set-lr", "value": 0.25},
    ]  # fmt: skip
    assert all(letter.suffix == ".json" for letter in letters)


@pytest.mark.parametrize("rate", [0, -1, float("nan"), float("inf"), 1e9, None, "fast"])
def test_learning_rates_that_are_none(home, rate):
    write_run(home, state="running")
    with pytest.raises(SettingsError, match="learning rate is"):
        request("by-hand", "set-lr", rate)


def test_requests_to_the_wrong_run(home):
    write_run(home, "done", state="stopped")
    with pytest.raises(RunError, match="is stopped"):
        request("done", "pause")
    with pytest.raises(SettingsError, match="Unknown action"):
        request("done", "explode")
    write_run(home, "waits", state="queued")
    with pytest.raises(RunError, match="waits for its turn, so there is nothing to pause"):
        request("waits", "pause")


def test_live_runs_are_not_touched(home):
    path = write_run(home, state="paused")
    for attempt in (lambda: rename("by-hand", "new"), lambda: delete("by-hand")):
        with pytest.raises(RunError, match="stop it first"):
            attempt()
    assert path.is_dir()


def test_rename_and_delete(home):
    write_run(home, "one", state="finished")
    write_run(home, "two", state="stopped")
    with pytest.raises(RunError, match="exists already"):
        rename("one", "two")
    with pytest.raises(SettingsError):
        rename("one", "../three")
    rename("one", "three")
    assert json.loads((home / "three" / "settings.json").read_text())["name"] == "three"
    delete("two")
    assert [run.name for run in list_runs()] == ["three"]
    assert not [entry for entry in home.iterdir() if entry.is_dir() and entry.name != "three"]


def test_names_that_no_file_can_have(home):
    for name in ("x" * 300, "x" * 61, "ä" * 200):
        with pytest.raises(RunError, match="There is no run named"):
            read_run(name)
        with pytest.raises(ModelError, match="No model"):
            find_model(name)


def test_a_folder_that_cannot_be_used(tmp_path, monkeypatch):
    (tmp_path / "file").touch()
    monkeypatch.setenv("CIFAR_LAB_RUNS", str(tmp_path / "file"))
    for attempt in (list_runs, lambda: start.start_run(Settings())):
        with pytest.raises(RunError, match="can't be used: .*Set CIFAR_LAB_RUNS to one that can be written to"):
            attempt()


# The real trainer


@pytest.mark.training
def test_one_of_many_starts_wins(home, settings):
    outcomes = []

    def attempt():
        try:
            outcomes.append(start.start_run(settings))
        except RunError as error:
            outcomes.append(error)

    threads = [threading.Thread(target=attempt) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    started = [outcome for outcome in outcomes if isinstance(outcome, str)]
    assert started == ["seed-cnn-seed-1"] and len(outcomes) == 6
    assert all("seed-cnn-seed-1" in str(error) for error in outcomes if error not in started)
    run = wait_for_state(started[0], "running")
    assert psutil.Process(run.status["pid"]).nice() >= 10 or os.name == "nt"

    with pytest.raises(RunError, match="exists already"):
        start.start_run(settings, started[0], queue=True)
    start.start_run(settings, "second", queue=True)
    wait_for_state("second", "queued")
    assert [other.name for other in ahead_of("second")] == started

    assert request(started[0], "pause", wait=PATIENCE)
    wait_for_state(started[0], "paused")
    before, offset = read_progress(run.path)
    time.sleep(0.7)
    assert read_progress(run.path, offset) == ([], offset)
    assert request(started[0], "set-lr", 0.00025, wait=PATIENCE)
    assert request(started[0], "resume", wait=PATIENCE)
    wait_for(lambda: read_run(started[0]).progress["learning_rate"] == 0.00025, "the learning rate")

    assert request(started[0], "stop", wait=PATIENCE)
    run = wait_for_state(started[0], "stopped")
    assert run.has_model and run.can_resume and "Test accuracy" in run.message
    guesses = read_guesses(run.path)
    assert guesses.images.shape == (8, 32, 32, 3) and guesses.probabilities.shape == (8, 10)

    # The one in the queue starts by itself; then it is killed, and goes on.
    run = wait_for_state("second", "running")
    wait_for(lambda: read_run("second").status.get("epoch", 0) >= 1, "an epoch")
    os.kill(run.status["pid"], signal.SIGTERM if os.name == "nt" else signal.SIGKILL)
    run = wait_for_state("second", "interrupted")
    epochs = len(read_history(run.path))
    start.resume_run("second")
    assert read_run("second").is_live
    wait_for(lambda: len(read_history(run.path)) > epochs and read_run("second").state == "running", "more")
    assert read_history(run.path)["epoch"].tolist() == list(range(1, len(read_history(run.path)) + 1))
    request("second", "stop", wait=PATIENCE)
    wait_for_state("second", "stopped")


def test_follow_and_the_command_line(home, tiny_cifar10):
    settings = Settings(network="seed-cnn", recipe="quick", epochs=2, batch_size=64, data=str(tiny_cifar10))
    name = start.start_run(settings, "short")
    seen = list(follow(name))
    assert [item["epoch"] for kind, item in seen if kind == "epoch"] == [1, 2]
    assert seen[-1][0] == "state" and seen[-1][1]["state"] == "finished"
    steps = [(item["epoch"], item["step"]) for kind, item in seen if kind == "progress"]
    assert steps == sorted(set(steps)) and steps[-1] == (2, 5)
    estimate = estimate_time(settings)
    speed = read_history(home / "short")["images_per_second"].median()
    two_more = estimate_time(replace(settings, epochs=4)).seconds - estimate.seconds
    assert estimate.measured and two_more == pytest.approx(2 * 50_000 / speed, rel=0.1)

    invoke = CliRunner().invoke
    assert "short" in invoke(command, []).output and "finished" in invoke(command, []).output
    listed = json.loads(invoke(command, ["--json"]).output)
    assert listed[0]["name"] == "short" and len(listed[0]["history"]) == 2
    shown = invoke(command, ["show", "short"]).output
    assert "--run short" in shown and "epoch 2 done" in shown
    followed = [json.loads(line) for line in invoke(command, ["follow", "short", "--json"]).output.splitlines()]
    assert followed[-1]["state"] == "finished"
    with pytest.raises(RunError, match="is finished"):
        invoke(command, ["stop", "short"], catch_exceptions=False)
    assert "is now tall" in invoke(command, ["rename", "short", "tall"]).output
    assert invoke(command, ["delete", "tall"], input="n\n").exit_code == 1
    assert "deleted" in invoke(command, ["delete", "tall", "--yes"]).output
    assert "No runs yet" in invoke(command, []).output


def test_a_run_without_data_says_so(home, tmp_path):
    start.start_run(Settings(data=str(tmp_path / "nowhere")), "lost")
    run = wait_for_state("lost", "failed")
    assert "nowhere" in run.message and "does not exist" in run.message


@pytest.mark.skipif(not hasattr(os, "SCHED_IDLE"), reason="Linux alone has this class")
def test_a_training_takes_only_the_time_that_nobody_else_wants(tmp_path, monkeypatch):
    monkeypatch.setenv("CIFAR_LAB_RUNS", str(tmp_path / "runs"))
    start.start_run(Settings(data=str(tmp_path / "nowhere")), "idle")
    pid = json.loads((tmp_path / "runs" / "idle" / "launcher.json").read_text())["pid"]
    assert os.sched_getscheduler(pid) == os.SCHED_IDLE
    psutil.Process(pid).kill()


def test_estimate_without_earlier_runs(home):
    small, large = (estimate_time(Settings(network=network)) for network in ("seed-cnn", "lab-net"))
    assert not small.measured and 0 < small.seconds / 6 < large.seconds / 3


def test_max_runs(monkeypatch):
    for text, expected in (("3", 3), ("0", 1)):
        monkeypatch.setenv("CIFAR_LAB_MAX_RUNS", text)
        assert max_runs() == expected
    monkeypatch.setenv("CIFAR_LAB_MAX_RUNS", "many")
    with pytest.raises(LabError, match="CIFAR_LAB_MAX_RUNS is 'many'"):
        max_runs()


def test_neither_tensorflow_nor_streamlit_is_loaded():
    code = "import sys, cifar_model.runs.start; print(sorted({'tensorflow', 'keras', 'streamlit'} & set(sys.modules)))"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True).stdout.strip() == "[]"
