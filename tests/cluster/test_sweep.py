"""Sweeps by Ray: a trial, room for it, early stopping, lost processes, Ctrl-C and what comes after."""

import json
import os
import shutil
import signal
import subprocess
import sys
import threading
from contextlib import contextmanager
from types import SimpleNamespace

import psutil
import pytest
from click.testing import CliRunner
from helpers import REPOSITORY

from cifar_model.__main__ import main
from cifar_model.cluster import sweep
from cifar_model.errors import RunError
from cifar_model.runs import sweeps
from cifar_model.runs.change import leave_letter
from cifar_model.runs.queue import enqueue
from cifar_model.runs.read import list_runs, live_here, live_runs, read_run
from cifar_model.runs.remote import LAUNCHER
from cifar_model.runs.start import start_run, start_waiting
from cifar_model.runs.trials import expand
from cifar_model.storage import write_json
from cifar_model.training.folder import this_host
from tests.runs.test_queue import SETTINGS, launched, set_state  # noqa: F401
from tests.runs.test_runs import home, wait_for  # noqa: F401
from tests.runs.test_sweeps import learn, trials


def make(name, settings, varied=("seed",)):
    return sweeps.make_runs(name, settings, varied, queue=False)


# Runs that wait for this process


def test_runs_wait_while_the_process_lives_and_hold_nobody_up(home, launched):  # noqa: F811
    assert make("s", trials(2)) == ["s-01", "s-02"] and launched == []
    assert [run.state for run in live_runs()] == ["queued", "queued"] and start_waiting() == [] == live_here()
    assert "waits for a place in its sweep" in read_run("s-01").message
    start_run(SETTINGS, "single")
    assert [name for name, _ in launched] == ["single"]
    status = json.loads((home / "s-01" / "status.json").read_text())
    write_json(home / "s-01" / "status.json", status | {"pid_started": 1.0})
    assert read_run("s-01").state == "interrupted" and sweeps.resume_sweep("s", queue=False) == ["s-01"]
    assert read_run("s-01").state == "queued" and sweeps.resume_sweep("s") == []
    write_json(home / "s-01" / "status.json", status | {"pid_started": 1.0})
    set_state(home / "single", "finished")
    assert sweeps.resume_sweep("s") == ["s-01"] and launched[-1] == ("s-01", ["--resume", "s-01", "--queue"])


# A trial


@pytest.fixture
def trained(monkeypatch):
    """What `train` is called with, and what it does: nothing, unless the test says so."""
    calls = SimpleNamespace(made=[], does=lambda report: None)
    for variable in ("TF_NUM_INTRAOP_THREADS", "TF_NUM_INTEROP_THREADS"):  # not for the tests to come
        monkeypatch.setenv(variable, "7")

    def train(settings, path, *, report, **options):
        calls.made.append((settings, path.name, options))
        calls.does(report)

    monkeypatch.setattr(sweep, "train", train)
    return calls


def all_of(trial):
    rows = [trial.next_epoch()]
    while not rows[-1].get("done"):
        rows.append(trial.next_epoch())
    return rows


def test_a_trial_tells_its_epochs_one_by_one(home, trained):  # noqa: F811
    make("s", trials(2))

    def two_epochs(report):
        report("note", {"message": "Learning."})
        for epoch in (1, 2):
            report("epoch", {"epoch": epoch, "val_accuracy": epoch / 4, "loss": 1.0})

    trained.does = two_epochs
    assert all_of(sweep.Trial("s-02", 5.0, 1, {}, False)) == [
        {"epoch": 1, "val_accuracy": 0.25},
        {"epoch": 2, "val_accuracy": 0.5},
        {"epoch": 2, "val_accuracy": 0.5, "done": True},
    ]
    [(settings, name, options)] = trained.made
    assert (settings, name) == (trials(2)[1], "s-02") and options["resume"] and options["begun"] == 5.0


@pytest.mark.parametrize("error", [RunError("The loss became nan"), ValueError("a bug")])
def test_a_trial_that_fails_ends(home, trained, error):  # noqa: F811
    make("s", trials(2))

    def fail(report):
        raise error

    trained.does = fail
    assert all_of(sweep.Trial("s-01", 5.0, 1, {}, False)) == [{"epoch": 0, "val_accuracy": 0.0, "done": True}]


def test_a_trial_that_was_stopped_before_its_turn_does_not_begin(home, trained):  # noqa: F811
    make("s", trials(2))
    leave_letter(home / "s-01", "stop")
    assert all_of(sweep.Trial("s-01", 5.0, 1, {}, False))[0]["done"]
    assert trained.made == [] and read_run("s-01").state == "stopped"
    leave_letter(home / "s-02", "stop")
    all_of(sweep.Trial("s-02", 1e12, 1, {}, False))  # asked of another process, long ago
    assert len(trained.made) == 1


def test_a_trial_that_outlives_ctrl_c_is_ended(home, monkeypatch):  # noqa: F811
    make("s", trials(2))
    monkeypatch.setattr(sweep, "END_SECONDS", 0.0)
    with subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"]) as process:
        ticket = {"pid": process.pid, "pid_started": psutil.Process(process.pid).create_time(), "host": this_host()}
        for name in ("s-01", "s-02"):
            write_json(home / name / "status.json", {"state": "running", "updated": 1.0, **ticket})
            write_json(home / name / LAUNCHER, {"time": 0.0, **ticket})
        sweep._await_end(["s-01", "s-02"])  # continued by somebody else: no business of the sweep
        for name in ("s-01", "s-02"):
            write_json(home / name / LAUNCHER, {"time": 0.0, "on_cluster": False, **ticket})
        assert len(live_runs()) == 2
        sweep._await_end(["s-01", "gone", "s-02"])
        assert process.wait() != 0
    assert [run.state for run in list_runs()] == ["interrupted", "interrupted"]


def test_the_end_of_a_sweep_withdraws_what_waits_for_it_alone(home):  # noqa: F811
    make("s", trials(3))
    with subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"]) as other:  # it resumed the sweep
        status = json.loads((home / "s-02" / "status.json").read_text())
        status |= {"pid": other.pid, "pid_started": psutil.Process(other.pid).create_time()}
        write_json(home / "s-02" / "status.json", status)
        enqueue(home / "s-03", ["--resume", "s-03"])  # in the app
        sweep._withdraw_all(["s-01", "gone", "s-02", "s-03"])
        states = {run.name: run.state for run in list_runs()}
        other.kill()
    assert states == {"s-01": "stopped", "s-02": "queued", "s-03": "queued"}


def test_a_trial_on_a_cluster_takes_no_place_here(home, trained):  # noqa: F811
    make("s", trials(2))
    for name, on_cluster in (("s-01", True), ("s-02", False)):
        all_of(sweep.Trial(name, 5.0, 1, {}, on_cluster))
        assert read_run(name).state == "starting" and read_run(name).remote is on_cluster
    assert [run.name for run in live_here()] == ["s-02"]


def test_a_trial_takes_settings_of_the_first_machine_where_it_has_none(home, trained, monkeypatch):  # noqa: F811
    make("s", trials(2))
    monkeypatch.setenv("CIFAR10_DIR", "/mine")
    monkeypatch.delenv("CIFAR100_DIR", raising=False)
    all_of(sweep.Trial("s-01", 5.0, 2, {"CIFAR10_DIR": "/yours", "CIFAR100_DIR": "/yours"}, False))
    assert os.environ["CIFAR10_DIR"] == "/mine" and os.environ.pop("CIFAR100_DIR") == "/yours"


# Room for it


@pytest.fixture
def nodes(monkeypatch):
    """Machines of a cluster, as Ray would name them."""
    found = []

    @contextmanager
    def connected(address, **options):
        yield

    monkeypatch.setattr(sweep, "connected", connected)
    monkeypatch.setattr(sweep, "check_storage", lambda nodes: None)
    monkeypatch.setitem(sys.modules, "ray", SimpleNamespace(nodes=lambda: found))
    return found


def node(cpus, gpus=0, memory=8e9, alive=True):
    return {"Alive": alive, "Resources": {"CPU": cpus, "GPU": gpus, "memory": memory}}


@pytest.mark.parametrize(("cpus", "gpus", "at_a_time"), [(1, 0, 6), (2, 0, 3), (3, 0, 1), (1, 0.5, 2), (1, 1, 1)])
def test_as_many_trials_at_a_time_as_machines_have_room_for(home, nodes, cpus, gpus, at_a_time):  # noqa: F811
    nodes += [node(4, gpus=1), node(2), node(64, alive=False)]
    with sweep.places_for(trials(9), "head:6379", cpus=cpus, gpus=gpus) as places:
        assert (
            places.on_cluster
            and places.at_a_time == at_a_time
            and places.resources["cpu"] == cpus
            and places.speedup >= 1
        )
        assert 1e8 < places.resources["memory"] < 8e9


@pytest.mark.parametrize(
    ("cpus", "gpus", "address", "said"),
    [
        (8, 0, "head:6379", "8 CPUs, .* and no machine of the cluster at head:6379 has so much .2 CPUs,"),
        (1, 2, None, "1 CPU, 2 GPUs, .* and this machine does not have so much"),
        (1, 0, None, "lower --cpus, --gpus or the batch size"),
    ],
)
def test_no_room_is_said_before_anything_starts(home, nodes, cpus, gpus, address, said):  # noqa: F811
    nodes += [node(2, memory=1e6 if cpus + gpus == 1 else 8e9)]
    with pytest.raises(RunError, match=said):
        with sweep.places_for(trials(9), address, cpus=cpus, gpus=gpus):
            pass


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--stop-early"], "--stop-early, --cpus and --gpus need Ray"),
        (["--cpus", "2"], "pip install -r requirements-ray.txt"),
        (["--ray", "nonsense"], "no address of a Ray cluster"),
        (["--ray", "local", "--cpus", "99999"], "A trial is to get 99999 CPUs"),
    ],
)
def test_what_the_command_refuses_leaves_nothing_behind(home, nodes, arguments, said):  # noqa: F811
    nodes += [node(2)]
    result = CliRunner().invoke(main, ["sweep", "--seed", "0..1", "--data", "mini", *arguments])
    assert result.exit_code in (1, 2) and said in result.output and list_runs() == []


def test_without_ray_nothing_imports_it():
    code = "import sys, cifar_model.cli.sweep, cifar_model.cluster.sweep; sys.exit('ray' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], cwd=REPOSITORY).returncode == 0


# By Ray


@pytest.mark.ray
def test_early_stopping_remembers_what_was_reached_before(home):  # noqa: F811
    names = make("s", trials(5))
    best, middle, again, worst, last = (home / name for name in names)
    learn(best, 0.9, 0.95)
    learn(middle, 0.5, 0.6)
    learn(again, 0.8)
    for path in (best, middle):
        write_json(path / "status.json", {"state": "finished"})
    scheduler = sweep._asha("s")

    def tell(path, epoch, accuracy):
        trial = SimpleNamespace(trial_id=f"id-{path.name}", config={"trial": {"run": path.name}})
        if trial.trial_id not in added:
            added.add(trial.trial_id)
            scheduler.on_trial_add(None, trial)
        assert scheduler.on_trial_result(None, trial, {"epoch": epoch, "val_accuracy": accuracy}) == "CONTINUE"
        return [json.loads(file.read_text()) for file in path.glob("requests/*-stop.json")]

    added = set()
    assert sweep.KEPT == 3 and read_run("s-01").settings["epochs"] == 20  # so that epoch 2 is the first rung
    assert tell(worst, 1, 0.1) == []  # too early to tell
    [letter] = tell(worst, 2, 0.2)
    assert letter["why"] == sweep.fell_behind(2, 0.2) and "20.0 % of the validation images" in letter["why"]
    assert tell(worst, 3, 0.2) == [letter]  # once
    assert tell(last, 2, 0.99) == [] and tell(again, 2, 0.99) == []
    assert tell(last, 20, 0.1) == []  # it has ended by itself


@pytest.mark.ray
@pytest.mark.training
def test_trials_fall_behind_and_fail(home):  # noqa: F811
    settings = expand(
        {"network": "seed-cnn", "data": "mini", "fraction": 0.3},
        {"learning_rate": [3e-3, 1e-6, 2e-3, 1e-3], "epochs": [2]},
    )
    looks, lock = [], threading.RLock()

    def look():
        with lock:  # nobody can copy what draws on a terminal
            looks.append(1)

    with sweep.places_for(settings, None, cpus=os.cpu_count(), gpus=0) as places:  # one after another
        assert places.at_a_time == 1
        names = make("s", settings, ["learning_rate"])
        record = json.loads((home / "s-03" / "settings.json").read_text())
        record["settings"]["data"] = "/not/there"
        write_json(home / "s-03" / "settings.json", record)
        shutil.rmtree(home / "s-04")
        sweep.train_trials("s", names, places, stop_early=True, look=look)
        good, bad, broken = (read_run(name) for name in names[:3])
        assert good.state == "finished" and len(good.history) == 2
        assert bad.state == "stopped" and bad.message.startswith("Stopped early") and len(bad.history) == 1
        assert broken.state == "failed" and "/not/there does not exist" in broken.message
        assert len(looks) > 10 and [run.name for run in sweeps.unfinished(sweeps.read_sweep("s"))] == ["s-03"]
    assert {path.name for path in home.iterdir()} == {".lock", *names[:3]}


@pytest.mark.ray
@pytest.mark.training
def test_a_trial_whose_node_is_lost_goes_on_from_its_last_epoch(home, open_cluster):  # noqa: F811
    node, killed = open_cluster.add(cpus=1), []
    settings = expand({"network": "seed-cnn", "data": "mini", "fraction": 0.2}, {"seed": [0, 1], "epochs": [4]})

    def on_the_node():
        pids = {process.pid for process in open_cluster.processes(node)}
        return [run for run in list_runs() if run.history and run.status.get("pid") in pids]

    def lose():
        try:
            wait_for(on_the_node, "the first epoch there")
            killed.extend(on_the_node())
            assert live_here() == []
        finally:
            open_cluster.lose(node)

    with sweep.places_for(settings, open_cluster.address, cpus=1, gpus=0) as places:
        assert places.at_a_time == 2
        names = make("s", settings)
        thread = threading.Thread(target=lose)
        thread.start()
        sweep.train_trials("s", names, places, stop_early=False, look=lambda: None)
        thread.join()
    [lost] = killed
    assert lost.is_live and read_run(lost.name).status["pid"] != lost.status["pid"]
    runs = [read_run(name) for name in names]
    assert [run.state for run in runs] == ["finished", "finished"]
    assert [[row["epoch"] for row in run.history] for run in runs] == [[1, 2, 3, 4]] * 2


@pytest.mark.ray
@pytest.mark.training
@pytest.mark.skipif(os.name == "nt", reason="needs SIGINT for one process")
def test_ctrl_c_and_what_is_resumed(home):  # noqa: F811
    options = ["--network", "seed-cnn", "--data", "mini", "--fraction", "0.3", "--epochs", "3"]
    options += ["--seed", "0..1", "--name", "s", "--ray", "--cpus", str(os.cpu_count())]
    command = [sys.executable, "-m", "cifar_model", "sweep", *options]
    with subprocess.Popen(
        command, cwd=REPOSITORY, stdout=subprocess.PIPE, text=True, start_new_session=True
    ) as process:
        wait_for(lambda: (home / "s-01").is_dir() and read_run("s-01").history, "the first epoch")
        process.send_signal(signal.SIGINT)
        output = process.communicate()[0]
    assert process.returncode == 1 and "s-01" in output
    assert [run.is_live for run in list_runs()] == [False, False] and not (home / ".tune-s").exists()
    result = CliRunner().invoke(main, ["sweep", "--resume", "s", "--ray", "--json"])
    assert result.exit_code == 0, result.output
    told = json.loads(result.stdout)
    assert {trial["run"]: (trial["state"], trial["epochs"]) for trial in told["trials"]} == {
        "s-01": ("finished", 3), "s-02": ("finished", 3),
    }  # fmt: skip
    assert CliRunner().invoke(main, ["sweep", "--resume", "s", "--ray"]).exit_code == 0  # nothing is left to do
