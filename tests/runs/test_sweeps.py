"""Sweeps: what makes runs one, their order, their turns; the real trainings last."""

import json
import os
import signal

import pytest
from click.testing import CliRunner

from cifar_model.__main__ import main
from cifar_model.cli import sweep as command
from cifar_model.errors import RunError, SettingsError
from cifar_model.models.history import HISTORY_COLUMNS
from cifar_model.runs import start, sweeps
from cifar_model.runs.change import delete, leave_letter, rename
from cifar_model.runs.read import ahead_of, list_runs, live_runs, read_run
from cifar_model.runs.trials import MAX_TRIALS, expand
from cifar_model.storage import write_json
from cifar_model.training.settings import Settings, default_settings
from tests.runs.test_queue import launched, set_state  # noqa: F401
from tests.runs.test_runs import home, wait_for, wait_for_state, write_run  # noqa: F401

SINGLE = default_settings("seed-cnn", "quick")


def trials(count=3):
    return expand({"network": "seed-cnn", "data": "mini"}, {"seed": range(count)})


def learn(path, *accuracies):
    """History with these validation accuracies, one an epoch."""
    rows = [f"{n},2.0,0.3,2.1,{accuracy},0.001,500,10" for n, accuracy in enumerate(accuracies, start=1)]
    (path / "history.csv").write_text("\n".join([",".join(HISTORY_COLUMNS), *rows, ""]))


def test_a_sweep_is_its_runs(home, launched):  # noqa: F811
    sweeps.start_sweep("rates", trials(), ["seed"])
    assert launched == [("rates-01", ["--resume", "rates-01", "--queue"])]
    found = sweeps.read_sweep("rates")
    assert [run.name for run in found.runs] == ["rates-01", "rates-02", "rates-03"] and found.varied == ("seed",)
    assert [Settings.from_dict(run.settings) for run in found.runs] == trials() and found.is_live
    assert found.runs[1].state == "queued" and found.runs[1].command.endswith("--seed 1 --run rates-02")
    for name in ("rates-01", "rates-02"):
        set_state(home / name, "finished")
        start.start_waiting()
    assert [name for name, _ in launched] == ["rates-01", "rates-02", "rates-03"]
    set_state(home / "rates-03", "finished")
    assert not sweeps.read_sweep("rates").is_live
    rename("rates-02", "the-second")
    delete("rates-01")
    assert [run.name for run in sweeps.read_sweep("rates").runs] == ["the-second", "rates-03"]
    for name in ("the-second", "rates-03"):
        delete(name)
    assert sweeps.list_sweeps() == []
    with pytest.raises(RunError, match="no sweep named 'rates'. There are none yet"):
        sweeps.read_sweep("rates")


def test_the_best_is_first_and_what_learned_nothing_last(home, launched):  # noqa: F811
    sweeps.start_sweep("s", trials(4), ["seed"])
    assert sweeps.read_sweep("s").best is None
    learn(home / "s-01", 0.5, 0.4)
    learn(home / "s-03", 0.3, 0.7, float("nan"))
    learn(home / "s-04", 0.5)
    found = sweeps.read_sweep("s")
    assert [run.name for run in found.ranked] == ["s-03", "s-01", "s-04", "s-02"] and found.best.name == "s-03"


def test_names(home, launched):  # noqa: F811
    assert sweeps.run_names("a", 2) == ["a-01", "a-02"] and sweeps.run_names("a", 200)[0] == "a-001"
    with pytest.raises(SettingsError, match="too long"):
        sweeps.run_names("x" * 58, 10)
    with pytest.raises(SettingsError, match="letters, digits"):
        sweeps.run_names("../x", 2)
    assert sweeps.new_name() == "sweep-1"
    write_run(home, "sweep-1-02", state="finished")  # of somebody who calls a run so
    assert sweeps.new_name() == "sweep-2"
    sweeps.start_sweep("mine", trials(), ["seed"])
    with pytest.raises(RunError, match="sweep named 'mine' exists already"):
        sweeps.start_sweep("mine", trials(), ["seed"])
    write_run(home, "other-03", state="finished")
    with pytest.raises(RunError, match="run named 'other-03' exists already"):
        sweeps.start_sweep("other", trials(), ["seed"])
    assert not (home / "other-01").exists()


def test_all_of_its_folders_are_made_or_none(home, launched, monkeypatch):  # noqa: F811
    written = []

    def write(path, *arguments):
        if len(written) == 2:
            raise OSError("disk full")
        written.append(path)

    monkeypatch.setattr(sweeps, "write_settings", write)
    with pytest.raises(RunError, match="disk full"):
        sweeps.start_sweep("half", trials(), ["seed"])
    assert len(written) == 2 and list_runs() == [] and launched == []


def test_a_sweep_counts_as_one_in_the_queue_and_lets_single_runs_pass(home, launched, monkeypatch):  # noqa: F811
    monkeypatch.setenv("CIFAR_LAB_MAX_QUEUE", "2")
    sweeps.start_sweep("many", trials(MAX_TRIALS), ["seed"])
    start.start_run(SINGLE, "single", queue=True)
    assert [run.name for run in live_runs()][:4] == ["many-001", "single", "many-002", "many-003"]
    assert [run.name for run in ahead_of("single")] == ["many-001"]
    with pytest.raises(RunError, match="2 runs wait already"):
        start.start_run(SINGLE, "third", queue=True)
    with pytest.raises(RunError, match="2 runs wait already"):
        sweeps.start_sweep("another", trials(), ["seed"])
    assert not (home / "another-01").exists()
    set_state(home / "many-001", "finished")
    assert start.start_waiting() == ["single"]


def test_with_a_cluster_a_sweep_waits_there(home, launched, monkeypatch):  # noqa: F811
    sent = []
    monkeypatch.setenv("CIFAR_LAB_RAY", "head:6379")
    monkeypatch.setattr(start, "_send", lambda: sent.append(1))
    monkeypatch.setattr(sweeps, "check_memory", None)  # this machine's says nothing of the cluster's
    sweeps.start_sweep("s", trials(3), ["seed"])
    assert sent == [1] and launched == []
    assert [(run.state, run.remote) for run in sweeps.read_sweep("s").runs] == [("queued", True)] * 3


def test_runs_that_wait_are_read_once(home, launched):  # noqa: F811
    sweeps.start_sweep("s", trials(), ["seed"])
    for run in list_runs():
        for file in (run.path, run.path / "status.json"):
            if file.exists():
                os.utime(file, (1.0, 1.0))
    first, second = list_runs(), list_runs()
    assert [a is b for a, b in zip(first, second, strict=True)] == [run.state == "queued" for run in first]
    set_state(home / "s-01", "finished")
    start.start_waiting()
    assert {run.name: run.state for run in list_runs()} == {"s-01": "finished", "s-02": "running", "s-03": "queued"}


def test_stop_and_resume(home, launched):  # noqa: F811
    sweeps.start_sweep("s", trials(5), ["seed"])
    set_state(home / "s-01", "finished")
    start.start_waiting()
    assert sweeps.stop_sweep("s") == ["s-02", "s-03", "s-04", "s-05"]
    letters = [json.loads(file.read_text()) for file in (home / "s-02" / "requests").iterdir()]
    assert letters == [{"action": "stop"}] and len(launched) == 2  # no other has taken its place
    set_state(home / "s-02", "stopped")
    set_state(home / "s-03", "failed")
    status = json.loads((home / "s-04" / "status.json").read_text()) | {"why": "It fell behind."}
    write_json(home / "s-04" / "status.json", status)
    assert sweeps.resume_sweep("s") == ["s-02", "s-03", "s-05"]
    assert [run.name for run in live_runs()] == ["s-02", "s-03", "s-05"]
    assert launched[-1] == ("s-02", ["--resume", "s-02", "--queue"])
    assert sweeps.resume_sweep("s") == []


def test_notes_that_are_none_make_no_sweep(home, launched):  # noqa: F811
    for number, note in enumerate(([], "x", {"name": 3, "trial": 1}, {"name": "x"}, {"name": "x", "trial": "1"})):
        path = write_run(home, f"run-{number}", state="finished")
        write_json(path / "settings.json", {"settings": {}, "sweep": note})
    assert sweeps.list_sweeps() == []
    write_json(
        path / "settings.json", {"settings": {"seed": 1}, "sweep": {"name": "x", "trial": 1, "varied": [[], "y"]}}
    )
    assert [sweep.varied for sweep in sweeps.list_sweeps()] == [()]


def test_why_a_run_was_stopped_is_part_of_the_letter(home, launched):  # noqa: F811
    path = write_run(home, "busy", state="running")
    leave_letter(path, "stop", why="It fell behind.")
    letters = [json.loads(file.read_text()) for file in (path / "requests").iterdir()]
    assert letters == [{"action": "stop", "why": "It fell behind."}]


# The command line


def invoke(*arguments):
    return CliRunner().invoke(main, ["sweep", *arguments])


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--seed", "0"], "Nothing varies"),
        (["--seed", "0,1", "--samples", "3"], "belong to --search random"),
        (["--learning-rate", "1e-3,9"], "learning_rate is 9.0"),
        (["--network", "seed-cnn", "--dropout", "0.1,0.2"], "--dropout is for --network custom only"),
        (["--resume", "x", "--seed", "0..2"], "give no settings beside"),
        (["--resume", "x", "--stop", "x"], "give no settings beside"),
        (["--resume", "x"], "There is no sweep named 'x'"),
        (["--seed", "0,1", "--start-from", "nobody"], "nobody"),
        (["--seed", "0,1", "--data", "/not/there"], "/not/there does not exist"),
        (["--seed", "0,1", "--batch-size", "2048", "--name", "a b"], "letters, digits"),
    ],
)
def test_what_is_refused_before_anything_starts(home, launched, arguments, said):  # noqa: F811
    data = [] if "--data" in arguments or "x" in arguments else ["--data", "mini"]
    result = invoke(*arguments, *data)
    assert result.exit_code in (1, 2) and said in result.output
    assert launched == [] and list_runs() == []


def test_the_command_counts_follows_and_lists(home, monkeypatch):  # noqa: F811
    def train(path, arguments):
        set_state(path, "failed" if path.name == "s-02" else "finished")
        learn(path, 0.1 * int(path.name[-2:]))

    monkeypatch.setattr(start, "_launch", train)
    monkeypatch.setattr(command, "LOOK_SECONDS", 0.01)
    result = invoke("--network", "seed-cnn", "--data", "mini", "--learning-rate", "1e-3,3e-3,0.01", "--name", "s")
    assert result.exit_code == 1  # one failed
    assert result.stderr.startswith("3 trainings, about ") and "s-02 failed" in result.stderr
    lines = result.stdout.splitlines()
    assert lines[0].split() == ["RUN", "STATE", "LEARNING", "RATE", "EPOCH", "VALIDATION", "TEST"]
    assert [line.split()[:3] for line in lines[1:4]] == [
        ["s-03", "finished", "0.01"], ["s-02", "failed", "0.003"], ["s-01", "finished", "0.001"],
    ]  # fmt: skip
    assert "SWEEP" in CliRunner().invoke(main, ["runs"]).output
    assert "trial 3 of 3" in CliRunner().invoke(main, ["runs", "show", "s-03"]).output
    monkeypatch.setattr(start, "_launch", lambda path, arguments: set_state(path, "finished"))
    result = invoke("--resume", "s", "--json")
    assert result.exit_code == 0 and "Goes on with s-02" in result.stderr
    told = json.loads(result.stdout)
    assert told["sweep"] == "s" and told["varied"] == ["learning_rate"]
    assert [(trial["run"], trial["validation_accuracy"]) for trial in told["trials"]] == [
        ("s-03", pytest.approx(0.3)), ("s-02", pytest.approx(0.2)), ("s-01", pytest.approx(0.1)),
    ]  # fmt: skip


def test_ctrl_c_leaves_the_sweep_to_the_queue(home, launched, monkeypatch):  # noqa: F811
    def interrupt(seconds):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(command.time, "sleep", interrupt)
        result = invoke("--seed", "0..1", "--data", "mini", "--name", "s")
    assert result.exit_code == 0 and "sweep --stop s" in result.stderr and "sweep --resume s" in result.stderr
    assert [run.state for run in sweeps.read_sweep("s").runs] == ["running", "queued"]
    assert "Stopped: s-01, s-02." in invoke("--stop", "s").stdout


@pytest.mark.training
def test_a_real_sweep_is_killed_and_resumed(home, monkeypatch):  # noqa: F811
    monkeypatch.setenv("CIFAR_LAB_MAX_RUNS", "2")
    settings = expand(
        {"network": "seed-cnn", "recipe": "seed", "data": "mini", "fraction": 0.5},
        {"learning_rate": [1e-3, 3e-3], "batch_size": [125], "epochs": [2]},
    )
    sweeps.start_sweep("real", settings, ["learning_rate"])
    run = wait_for_state("real-02", "running")
    os.kill(run.status["pid"], signal.SIGTERM if os.name == "nt" else signal.SIGKILL)
    wait_for(lambda: read_run("real-02").state == "interrupted", "its end")
    result = invoke("--resume", "real", "--json")
    assert result.exit_code == 0, result.output
    told = json.loads(result.stdout)
    assert [trial["state"] for trial in told["trials"]] == ["finished"] * 2
    assert all(trial["epochs"] == 2 and trial["validation_accuracy"] > 0.3 for trial in told["trials"])
    assert read_run("real-02").sweep["trial"] == 2
