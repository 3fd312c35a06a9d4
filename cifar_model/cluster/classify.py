"""Any number of pictures classified by Ray Data: a shard of them at a time, on all CPUs that there are."""

from __future__ import annotations

import logging
import os
import sys
from collections.abc import Callable, Iterable, Sequence
from contextlib import redirect_stdout, suppress
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING

from cifar_model.answering.classifier import Classifier
from cifar_model.answering.files import classify_each
from cifar_model.cluster.connect import connected
from cifar_model.cluster.inputs import Inputs, load_input
from cifar_model.cluster.shards import Job, begin, digest, has_begun, unreadable, write_shard
from cifar_model.errors import LabError, ModelError
from cifar_model.models.compiled import compile_model, read_compiled
from cifar_model.models.layout import CARD_FILE, COMPILED_FILE, MODEL_FILE
from cifar_model.storage import caches_dir, replacing

if TYPE_CHECKING:
    import pyarrow
    import ray
    from ray.data import DataContext

SENT = "sent"  # in the caches' folder: models that came from another machine


def model_digest(model: Path) -> str:
    """SHA-256 of what decides a model's answers: its network and its card."""
    return digest(list(_files(model).values()))


def answer_shards(
    job: Job,
    inputs: Inputs,
    model: Path,
    numbers: Sequence[int],
    *,
    address: str | None,
    workers: int | None = None,
    on_shard: Callable[[int], None] | None = None,
) -> None:
    """Ask a model about the shards of these numbers, and write each as it is done.

    Each worker is a process with one CPU and one interpreter of the model. A worker or a machine that is lost costs the
    shards on which it was at work: others take them over.

    Parameters
    ----------
    job, inputs : as `shards.Job` and `inputs.find_inputs` describe them
    model : the model's directory, or the file of an epoch; it travels to the machines of a cluster
    address : of a cluster, as `connect.address_of` gives it
    workers : at most so many, which on this machine alone may be more than CPUs; None: one for each CPU
    on_shard : hears the number of each shard that has been written

    Raises
    ------
    LabError
        As `connect.connected`; a machine doesn't see the pictures or the folder for the answers; a disk is full.
    ModelError
        The model can't be asked.
    """
    fixed = {} if address or not workers else {"num_cpus": workers}
    with connected(address, **fixed):
        import ray  # slow to import
        from ray.data import ActorPoolStrategy, DataContext, from_items

        sent = [ray.put(_packed(model))] if address else None
        if (cpus := int(ray.cluster_resources().get("CPU", 0))) < 1:
            raise LabError(f"The Ray cluster at {address} has no CPU, and a worker takes one: add a machine to it.")
        begin(job)
        pool = min(workers or cpus, cpus, len(numbers))
        _quieten(DataContext.get_current())
        shards = from_items(
            [{"shard": n, "names": inputs.names[n * job.shard : (n + 1) * job.shard]} for n in numbers],
            override_num_blocks=len(numbers),
        )
        written = shards.map_batches(
            Worker,
            fn_constructor_args=(job, str(model), sent, os.getcwd(), inputs.seen),
            batch_size=1,
            batch_format="pyarrow",
            compute=ActorPoolStrategy(min_size=1, max_size=pool, initial_size=pool),
            num_cpus=1,
        )
        with redirect_stdout(sys.stderr):  # where Ray tells of machines that it has lost
            for row in written.iter_rows():
                if row["error"]:
                    raise LabError(row["error"])
                if on_shard:
                    on_shard(row["shard"])


class Worker:
    """Answers shards, one at a time, in a process of its own."""

    def __init__(self, job: Job, model: str, sent: list[ray.ObjectRef] | None, folder: str, seen: Sequence[str]):
        self._job, self._model, self._sent, self._folder, self._seen = job, model, sent, folder, seen
        self._classifier: Classifier | None = None

    def __call__(self, shard: pyarrow.Table) -> pyarrow.Table:
        try:
            self._answer(shard["shard"][0].as_py(), map(os.fsdecode, shard["names"][0].as_py()))
            error = ""
        except LabError as refused:  # raised, it would lose its type on the way, and be printed with a traceback
            error = str(refused)
        return shard.select(["shard"]).append_column("error", [[error]])

    def _answer(self, number: int, names: Iterable[str]) -> None:
        if self._classifier is None:
            self._classifier = self._ready()
        answers = classify_each(self._classifier, names, lambda name: load_input(name, self._folder))
        write_shard(self._job, number, list(answers))

    def _ready(self) -> Classifier:
        import ray  # slow to import

        unseen = [file for file in self._seen if not os.path.exists(file)]
        if unseen or not has_begun(self._job):
            what = unseen[0] if unseen else self._job.out
            raise LabError(
                f"The cluster's machine {ray.util.get_node_ip_address()} does not see {what}. Put the pictures and "
                "--out on storage that all machines have at the same place, or name them by an address such as s3://."
            )
        model = self._model if self._sent is None else _unpacked(ray.get(self._sent[0]))
        return Classifier(model, calibrated=not self._job.raw, interpreters=1)


def unreadable_pictures(job: Job, named: int) -> tuple[int, list[str]]:
    """How many pictures of a finished job can't be read, and the errors of the first so many."""
    errors = unreadable(job)
    first = list(islice(errors, named))
    return len(first) + sum(1 for _ in errors), first


def _files(model: Path) -> dict[str, bytes]:
    """What a model directory needs to answer elsewhere, by name; an epoch's file makes one without a card."""
    files = {MODEL_FILE: model / MODEL_FILE if model.is_dir() else model}
    if model.is_dir() and (model / CARD_FILE).is_file():
        files[CARD_FILE] = model / CARD_FILE
    try:
        return {name: file.read_bytes() for name, file in files.items()}
    except OSError as error:
        raise ModelError(f"{model} can't be read: {error.strerror or error}.") from None


def _packed(model: Path) -> dict[str, bytes]:
    """The same with the compiled form, where the model has one or can have one."""
    files = _files(model)
    with suppress(LabError):
        beside = model / COMPILED_FILE
        file = beside if beside.is_file() and read_compiled(model) else compile_model(model)
        files[COMPILED_FILE] = file.read_bytes()
    return files


def _unpacked(files: dict[str, bytes]) -> Path:
    """A model directory in this machine's cache; several workers may do the same at once."""
    name = digest([part for name in sorted(files) for part in (name.encode(), files[name])])
    folder = caches_dir() / SENT / name[:32]
    folder.mkdir(parents=True, exist_ok=True)
    for name, content in files.items():
        if not (folder / name).is_file():
            with replacing(folder / name) as temporary:
                temporary.write_bytes(content)
    return folder


def _quieten(context: DataContext) -> None:
    """Ray Data's bars on a terminal, and nothing else: what it raises is told once, in words."""
    context.enable_progress_bars = sys.stderr.isatty()
    context.print_on_execution_start = False
    for handler in logging.getLogger("ray.data").handlers:
        if isinstance(handler, logging.StreamHandler):
            handler.setLevel(logging.CRITICAL)
