"""Hand runs that wait to a Ray cluster: `python -m cifar_model.cluster.trainings`, which `runs.start` starts.

Each run becomes a detached actor of its own (`node.Training`) with the processors, memory and GPUs that it asks for.
Ray decides where and when it begins, and begins it again where a node is lost; who sent it may be gone by then.
"""

from __future__ import annotations

import math
import os
import time
import traceback
from typing import Any

from cifar_model.cluster.connect import EMBEDDED, address_of, connected, data_places
from cifar_model.cluster.node import Training
from cifar_model.cluster.nodes import amounts_in_words, check_storage, fits, live_nodes
from cifar_model.errors import LabError, RunError, SettingsError
from cifar_model.runs.hold import is_held
from cifar_model.runs.memory import estimate_memory
from cifar_model.runs.queue import withdraw
from cifar_model.runs.read import TICKET, RunInfo, list_runs, runs_lock
from cifar_model.runs.records import read_object
from cifar_model.runs.remote import ADDRESS, cluster_address, due, sending, sent_mark
from cifar_model.storage import runs_dir, write_json
from cifar_model.training.settings import Settings

CPUS, GPUS = "CIFAR_LAB_RAY_CPUS", "CIFAR_LAB_RAY_GPUS"
NAMESPACE = "cifar-lab"


def main() -> None:
    """Hand over all that waits, and what comes meanwhile."""
    with sending():
        while cluster_address() and not is_held() and (waiting := due(list_runs())):
            try:
                with connected(_address(), namespace=NAMESPACE, environment=_environment()):
                    _hand_over_all(waiting)
            except Exception as error:
                traceback.print_exc()
                _refuse(waiting, str(error) if isinstance(error, LabError) else f"{type(error).__name__}: {error}")
            sent_mark().touch()


def _address() -> str:
    text = cluster_address()
    if text == EMBEDDED or not (address := address_of(text)):
        raise SettingsError(f"{ADDRESS} is {text!r}: give HOST:PORT of the cluster's head node, or nothing for none.")
    return address


def _environment() -> dict[str, str]:
    """Variables for all trainings."""
    threads = str(max(1, math.ceil(_needs()["CPU"])))
    return {**data_places(), "CIFAR_LAB_RUNS": str(runs_dir().absolute()), "TF_NUM_INTRAOP_THREADS": threads}


def _hand_over_all(waiting: list[RunInfo]) -> None:
    nodes = live_nodes()
    check_places(nodes, _needs())
    check_storage([node for node in nodes if fits(node, _needs())])
    while waiting:
        for run in waiting:
            try:
                needs = _needs() | {"memory": estimate_memory(Settings.from_dict(run.settings))}
                check_places(nodes, needs)
                _hand_over(run, needs)
            except LabError as error:
                _refuse([run], str(error))
        sent_mark().touch()
        time.sleep(1)  # a class presses Start at the same moment
        waiting = [] if is_held() else due(list_runs())


def _hand_over(run: RunInfo, needs: dict[str, float]) -> None:
    import ray  # slow to import

    time_of_ticket = run.status["queued"]
    with runs_lock():
        ticket = read_object(run.path / TICKET)
        if ticket.get("time") == time_of_ticket:
            write_json(run.path / TICKET, ticket | {"sent": True})  # before it can be taken
    path = str(run.path.absolute())
    ray.remote(Training).options(
        name=f"{path} {time_of_ticket!r}",
        get_if_exists=True,  # Ray knows it already, and it waits or is on its way to another node
        lifetime="detached",
        max_restarts=-1,
        num_cpus=needs["CPU"],
        num_gpus=needs["GPU"],
        memory=needs["memory"],
    ).remote(path, time_of_ticket)


def _refuse(runs: list[RunInfo], message: str) -> None:
    """Say of those that the cluster has not been told of yet why that failed; they can be resumed."""
    for run in runs:
        with runs_lock():
            if read_object(run.path / TICKET).get("sent") is False:
                withdraw(run, "failed", message)


def _needs() -> dict[str, float]:
    return {"CPU": _number(CPUS, 2.0), "GPU": _number(GPUS, 0.0)}


def _number(variable: str, default: float) -> float:
    text = os.environ.get(variable) or default
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not 0 <= value < math.inf:
        raise SettingsError(f"{variable} is {text!r}: set it to a number from 0 up, as 2 or 0.5.")
    return value


def check_places(nodes: list[dict[str, Any]], needs: dict[str, float]) -> None:
    """RunError where no node is large enough for a training, however long it waits; `nodes` as `ray.nodes()`."""
    if any(fits(node, needs) for node in nodes):
        return
    largest = max((node["Resources"] for node in nodes), key=lambda found: found.get("CPU", 0), default={})
    there = amounts_in_words({name: largest.get(name, 0) for name in needs})
    raise RunError(
        f"A training asks for {amounts_in_words(needs)}, and no node of the cluster has that: the largest of "
        f"{len(nodes)} has {there}. Add a larger node, or ask for less: {CPUS}, {GPUS}"
        + (", a smaller batch size." if "memory" in needs else ".")
    )


if __name__ == "__main__":
    main()
