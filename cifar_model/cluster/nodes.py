"""The nodes of a cluster: what they have room for, and whether they see the folder of runs."""

from __future__ import annotations

import os
import uuid
from pathlib import Path
from typing import Any

from cifar_model.errors import RunError
from cifar_model.storage import runs_dir

LOOK_SECONDS = 120.0  # for a node to start a process that looks at the storage


def live_nodes() -> list[dict[str, Any]]:
    """The nodes at work, as `ray.nodes()` describes them; within `connect.connected`."""
    import ray  # slow to import

    return [node for node in ray.nodes() if node["Alive"]]


def fits(node: dict[str, Any], needs: dict[str, float]) -> bool:
    """Whether a node has these resources at all, free or not."""
    return all(node["Resources"].get(name, 0) >= amount for name, amount in needs.items())


def amounts_in_words(amounts: dict[str, float]) -> str:
    """Resources for a person: "2 CPUs, 1 GPU, 1.5 GB of memory"."""
    words = [f"{amounts.get(kind, 0):g} {kind}{'s' * (amounts.get(kind, 0) != 1)}" for kind in ("CPU", "GPU")]
    return ", ".join(words + ([f"{amounts['memory'] / 1e9:.1f} GB of memory"] if "memory" in amounts else []))


def check_storage(nodes: list[dict[str, Any]]) -> None:
    """RunError that names those of these nodes which don't see the folder of runs."""
    import ray  # slow to import
    from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

    token, file = uuid.uuid4().hex, runs_dir().absolute() / f".seen-{uuid.uuid4().hex}"
    file.write_text(token)
    try:
        look = ray.remote(look_for)
        asked = {
            look.options(
                num_cpus=0, scheduling_strategy=NodeAffinitySchedulingStrategy(node["NodeID"], soft=False)
            ).remote(str(file), token): f"{node['NodeManagerHostname']} ({node['NodeManagerAddress']})"
            for node in nodes
        }
        try:
            answers = ray.get(list(asked), timeout=LOOK_SECONDS)
        except ray.exceptions.GetTimeoutError:
            raise RunError(f"The nodes of the cluster did not answer within {LOOK_SECONDS:.0f} s.") from None
    finally:
        file.unlink(missing_ok=True)
    if blind := [f"{node}: {answer}" for node, answer in zip(asked.values(), answers, strict=True) if answer]:
        raise RunError(
            f"{len(blind)} of the cluster's {len(asked)} nodes can't use the folder of runs {runs_dir()}: put "
            "CIFAR_LAB_RUNS on storage that all of them see at the same path.\n" + "\n".join(blind[:10])
        )


def look_for(file: str, content: str) -> str:
    """What a node sees of a file: "" where that is its content and the folder can be written to, else what is wrong."""
    path = Path(file)
    try:
        if path.read_text() != content:
            return "another file of this name is there"
    except OSError as error:
        return error.strerror or str(error)
    return "" if os.access(path.parent, os.W_OK) else "its user may not write there"
