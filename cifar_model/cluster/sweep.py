"""A sweep by Ray Tune: several trials at a time, here or on a cluster; those that fall behind can be stopped early."""

from __future__ import annotations

import logging
import os
import queue
import shutil
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from types import SimpleNamespace
from typing import Any

import psutil

from cifar_model.cluster.connect import connected, data_places, in_words
from cifar_model.cluster.nodes import amounts_in_words, check_storage, fits, live_nodes
from cifar_model.errors import LabError, RunError
from cifar_model.models.history import history_rows
from cifar_model.runs.change import leave_letter
from cifar_model.runs.hold import is_held
from cifar_model.runs.memory import estimate_memory
from cifar_model.runs.queue import withdraw
from cifar_model.runs.read import RunInfo, process_of, read_run, runs_lock
from cifar_model.runs.records import read_object
from cifar_model.runs.remote import LAUNCHER, SILENT_SECONDS
from cifar_model.runs.sweeps import read_sweep
from cifar_model.storage import read_json, runs_dir, write_json
from cifar_model.text import share
from cifar_model.training.folder import ALIVE_FILE, RunDirectory, this_host
from cifar_model.training.settings import Settings
from cifar_model.training.train import train

KEPT = 3  # of ASHA: at each rung one trial in so many goes on
LOOK_SECONDS = 1.0  # between two looks at the runs
END_SECONDS = 5.0  # for Ray to end a trial's process after Ctrl-C
LOST_NODES = 3  # so often a trial whose process or node was lost goes on elsewhere

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Places:
    """Room for trials: `resources` of one, how many fit at a time, and how much sooner that is than one by one here."""

    resources: dict[str, float]
    at_a_time: int
    speedup: float
    on_cluster: bool


@contextmanager
def places_for(trials: Sequence[Settings], address: str | None, *, cpus: int, gpus: float) -> Iterator[Places]:
    """Ray, connected within the block, with room for trainings of these settings.

    Parameters
    ----------
    address : as `connect.address_of` gives it
    cpus, gpus : of a trial; a share of a GPU lets several trials use one

    Raises
    ------
    LabError
        As `connect.connected`; no machine has the resources of a trial, or a machine doesn't see the folder of runs.
    """
    runs_dir().mkdir(parents=True, exist_ok=True)
    options = {} if address else {"object_store_memory": 100_000_000}  # trainings put nothing into it
    with connected(address, environment={"CIFAR_LAB_RUNS": str(runs_dir().resolve())}, **options):
        memory = max(estimate_memory(settings) for settings in trials)
        wanted = {"CPU": float(cpus), "GPU": float(gpus), "memory": float(memory)}
        nodes = live_nodes()
        at_a_time = sum(_fitting(wanted, node["Resources"]) for node in nodes)
        if not at_a_time:
            there = "; ".join(sorted({amounts_in_words(node["Resources"]) for node in nodes}))
            where = f"no machine of the cluster at {address} has" if address else "this machine does not have"
            raise RunError(
                f"A trial is to get {amounts_in_words(wanted)}, and {where} so much ({there}): lower --cpus, --gpus "
                "or the batch size."
            )
        if address:
            check_storage([node for node in nodes if fits(node, wanted)])
        shared = 1.0 if gpus else min(1.0, cpus / (os.cpu_count() or 1))
        resources = {"cpu": float(cpus), "gpu": float(gpus), "memory": float(memory)}
        yield Places(resources, at_a_time, max(1.0, at_a_time * shared), on_cluster=address is not None)


def _fitting(wanted: dict[str, float], node: dict[str, float]) -> int:
    return int(min(node.get(kind, 0.0) // amount for kind, amount in wanted.items() if amount))


def train_trials(name: str, runs: Sequence[str], places: Places, *, stop_early: bool, look: Callable[[], None]) -> None:
    """Train runs of a sweep that wait for this process (`sweeps.make_runs`, `resume_sweep`); within `places_for`.

    One that fails doesn't end the others. Ctrl-C ends all, within seconds; each can be resumed from its last epoch.

    Parameters
    ----------
    name : of the sweep
    stop_early : stop those that fall behind others at the same epoch, by ASHA (Li et al. 2020, arXiv:1810.05934)
    look : called about once a second
    """
    os.environ |= {"TUNE_DISABLE_AUTO_CALLBACK_LOGGERS": "1", "RAY_AIR_NEW_OUTPUT": "0"}  # its own words beside ours
    from ray import tune  # slow to import

    logging.getLogger("ray.tune").setLevel(logging.CRITICAL)

    class OneTrial(tune.Trainable):
        """A trial as Tune sees it: a step is an epoch."""

        def setup(self, config: dict[str, Any]) -> None:
            self.trial = Trial(**config["trial"])

        def step(self) -> dict[str, Any]:
            return self.trial.next_epoch()

    class Look(tune.Callback):
        last = 0.0

        def on_step_end(self, iteration, trials, **info):
            if time.monotonic() - self.last < LOOK_SECONDS:
                return
            self.last = time.monotonic()
            with suppress(LabError, OSError):  # the disk is busy, a run was deleted: no reason to end the others
                _say_that_they_wait(runs)
                look()

        def __reduce__(self):  # Tune keeps a copy of all that it is given; of what draws on a terminal there is none
            return tune.Callback, ()

    folder = runs_dir().resolve() / f".tune-{name}"  # where all nodes see it, as Tune wants
    shutil.rmtree(folder, ignore_errors=True)
    shared = {"begun": time.time(), "cpus": places.resources["cpu"], "data": data_places()}
    configs = [{"run": run, "on_cluster": places.on_cluster, **shared} for run in runs]
    try:
        tuner = tune.Tuner(
            tune.with_resources(OneTrial, places.resources),
            param_space={"trial": tune.grid_search(configs)},
            tune_config=tune.TuneConfig(scheduler=_asha(name) if stop_early else None),
            run_config=tune.RunConfig(
                name="tune",
                storage_path=str(folder),
                verbose=0,
                failure_config=tune.FailureConfig(max_failures=LOST_NODES),
                checkpoint_config=tune.CheckpointConfig(checkpoint_at_end=False),  # runs keep their own
                callbacks=[Look()],
            ),
        )
        for run, result in zip(runs, tuner.fit(), strict=True):  # whose own config is None if it never began
            if result.error:
                _note_failure(run, result.error)
    finally:
        shutil.rmtree(folder, ignore_errors=True)
        _withdraw_all(runs)
        _await_end(runs)


def _withdraw_all(runs: Sequence[str]) -> None:
    """Take out those that wait for this process, not those that somebody has put into the app's queue meanwhile."""
    me = {"by_another": True, "pid": os.getpid(), "host": this_host()}
    with runs_lock():
        for run in _remaining(runs):
            if run.state == "queued" and me.items() <= run.status.items():
                withdraw(run)


def _await_end(runs: Sequence[str]) -> None:
    """Wait until the trials' processes are gone, which Ray ends in its own time; those of this machine are made to."""
    begun = time.monotonic()
    while (waited := time.monotonic() - begun) < SILENT_SECONDS + 10:
        launchers = [read_object(run.path / LAUNCHER) for run in _remaining(runs) if run.is_live]
        ours = [launcher for launcher in launchers if "on_cluster" in launcher]  # not those that others have continued
        if not ours:
            return
        if waited > END_SECONDS:
            for launcher in ours:
                with suppress(psutil.Error):
                    if launcher.get("host") == this_host():
                        process_of(launcher).kill()
        time.sleep(0.1)


def _remaining(runs: Sequence[str]) -> Iterator[RunInfo]:
    """These runs as they stand now, without those that were deleted."""
    for name in runs:
        with suppress(LabError):
            yield read_run(name)


def _say_that_they_wait(runs: Sequence[str]) -> None:
    """Give a sign of life for those that wait for this process: other hosts can't see whether it lives."""
    for run in _remaining(runs):
        if run.state == "queued" and run.status.get("by_another"):
            (run.path / ALIVE_FILE).touch()


def _note_failure(name: str, error: Exception) -> None:
    """Say in a run's folder why its training never began; one that had begun says so itself."""
    with suppress(LabError):
        run = read_run(name)
        if run.state == "queued":
            directory = RunDirectory(run.path)
            with directory.hold():
                directory.set_status("failed", str(in_words(error)))


def _asha(name: str) -> Any:
    """Tune's scheduler for early stopping, which knows what the sweep's runs have reached before.

    It lets a trial that falls behind stop by itself, as a person would: Tune would end its process within seconds,
    before its best network is scored.
    """
    from ray.tune.schedulers import ASHAScheduler, TrialScheduler

    most = max(int(run.settings["epochs"]) for run in read_sweep(name).runs)
    grace = max(1, most // KEPT**2)

    class Scheduler(ASHAScheduler):
        def on_trial_add(self, tune_controller, trial):
            super().on_trial_add(tune_controller, trial)
            for row in history_rows(runs_dir() / trial.config["trial"]["run"]):  # of a run that goes on
                super().on_trial_result(tune_controller, trial, row)

        def on_trial_result(self, tune_controller, trial, result):
            decision = super().on_trial_result(tune_controller, trial, result)
            run = read_run(trial.config["trial"]["run"])
            if decision == TrialScheduler.STOP and result["epoch"] < run.settings["epochs"] and run.name not in told:
                told.add(run.name)
                leave_letter(run.path, "stop", why=fell_behind(result["epoch"], result["val_accuracy"]))
            return TrialScheduler.CONTINUE

    told: set[str] = set()
    scheduler = Scheduler(
        time_attr="epoch", metric="val_accuracy", mode="max", max_t=most + 1, grace_period=grace, reduction_factor=KEPT
    )
    for run in read_sweep(name).runs:
        if run.state == "finished" or run.status.get("why"):
            known = SimpleNamespace(trial_id=run.name)
            ASHAScheduler.on_trial_add(scheduler, None, known)
            for row in run.history:
                ASHAScheduler.on_trial_result(scheduler, None, known, row)
    return scheduler


def fell_behind(epoch: int, accuracy: float) -> str:
    """Why a trial was stopped early."""
    reached = f"{share(accuracy)} of the validation images after epoch {epoch}"
    return f"Stopped early: with {reached} it was not among the best third of its sweep."


class Trial:
    """A run that is trained in a thread of this process, and asked for one epoch after the other.

    run : its name; it waits for a process that is to have it started
    begun : when it began to wait (Unix time): what is asked since then holds
    cpus : how many threads an operation of TensorFlow may use
    data : settings of the machine that began the sweep, by variable, which this one takes where it has none of its own
    on_cluster : it takes no place of the machine that began the sweep
    """

    def __init__(self, run: str, begun: float, cpus: float, data: dict[str, str], on_cluster: bool):
        self.path, self.begun, self.on_cluster = runs_dir() / run, begun, on_cluster
        self.last = {"epoch": 0, "val_accuracy": 0.0}
        if not (self.path / "settings.json").is_file():
            raise RunError(f"The run {run!r} is not in {runs_dir()}: was it deleted?")
        for variable, value in data.items():
            os.environ.setdefault(variable, value)
        for variable in ("TF_NUM_INTRAOP_THREADS", "TF_NUM_INTEROP_THREADS"):
            os.environ.setdefault(variable, str(max(1, round(cpus))))
        self._epochs: queue.Queue[dict[str, Any] | None] = queue.Queue()
        threading.Thread(target=self._train, daemon=True).start()

    def next_epoch(self) -> dict[str, Any]:
        """Wait for the next epoch: its number and validation accuracy (0–1), or {"done": True} with the last ones."""
        row = self._epochs.get()
        if row is None:
            return {**self.last, "done": True}
        self.last = {"epoch": int(row["epoch"]), "val_accuracy": float(row["val_accuracy"])}
        return dict(self.last)

    def _train(self) -> None:
        try:
            RunDirectory(self.path).forget_requests(self.begun)
            if any((self.path / "requests").glob("[0-9]*-stop.json")):
                with runs_lock():
                    withdraw(read_run(self.path.name))
                return
            me = psutil.Process()
            ticket = {"time": time.time(), "pid": me.pid, "pid_started": me.create_time(), "host": this_host()}
            write_json(self.path / LAUNCHER, ticket | {"on_cluster": self.on_cluster})
            train(
                Settings.from_dict(read_json(self.path / "settings.json").get("settings", {})),
                self.path,
                resume=True,
                report=lambda kind, record: self._epochs.put(record) if kind == "epoch" else None,
                ahead=lambda: ["the end of the pause for all"] if is_held() else [],
                begun=self.begun,
            )
        except LabError:
            pass  # its status says why
        except Exception:
            log.exception("the run %s failed", self.path.name)
        finally:
            self._epochs.put(None)
