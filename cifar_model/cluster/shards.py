"""Answers in files of so many pictures each, written whole: what is there is not asked again."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from cifar_model.answering.files import FileAnswer
from cifar_model.answering.rows import Extras, row_columns, row_of
from cifar_model.cluster.places import place_of
from cifar_model.errors import LabError, SettingsError
from cifar_model.storage import csv_bytes

FORMATS = ("parquet", "csv")
MANIFEST = "_job.json"  # readers of a folder of Parquet files pass over what begins so
VERSION = 1

# What differs between two jobs, in words.
_WORDS = {
    "version": "the version of this program",
    "pictures": "how many pictures",
    "inputs": "the pictures, or their order",
    "shard": "--shard",
    "format": "--format",
    "model": "--model",
    "network": "the model's files",
    "raw": "--raw",
    "sets": "--sets",
    "scope": "--scope",
}


@dataclass(frozen=True)
class Job:
    """What is asked of which pictures, and into which folder the answers go.

    out : path or address of the folder; format : one of FORMATS; shard : pictures a file; pictures : how many in all
    inputs, network : digests of the pictures' names and of the model's files; model : its name; raw, extras : what is
        asked for
    """

    out: str
    format: str
    shard: int
    pictures: int
    inputs: str
    model: str
    network: str
    raw: bool
    extras: Extras

    @property
    def count(self) -> int:
        """How many shards there are."""
        return -(-self.pictures // self.shard)

    def part(self, number: int) -> str:
        """The name of a shard's file; shard `number` holds the answers to inputs `number · shard` and following."""
        return f"part-{number:05d}-of-{self.count:05d}.{self.format}"

    def manifest(self) -> dict[str, Any]:
        """What makes it this job, for JSON."""
        return {
            "version": VERSION,
            "pictures": self.pictures,
            "inputs": self.inputs,
            "shard": self.shard,
            "format": self.format,
            "model": self.model,
            "network": self.network,
            "raw": self.raw,
            "sets": self.extras.level,
            "scope": self.extras.scope,
        }


def digest(parts: Sequence[bytes]) -> str:
    """SHA-256 of these parts, one after the other, in hexadecimal digits."""
    found = hashlib.sha256()
    for part in parts:
        found.update(part + b"\0")
    return found.hexdigest()


def missing_shards(job: Job) -> list[int]:
    """The shards that are not in the job's folder yet, which may itself be missing.

    Raises
    ------
    SettingsError
        The folder holds answers of another job, or anything else.
    LabError
        It can't be read.
    """
    from pyarrow.fs import FileSelector  # slow to import

    place = place_of(job.out)
    try:
        names = {info.base_name for info in place.files.get_file_info(FileSelector(place.path, allow_not_found=True))}
        if MANIFEST not in names:
            if others := sorted(name for name in names if not name.startswith(".")):
                raise SettingsError(
                    f"{job.out} holds other files ({others[0]}, …). Answers go into a folder of their own: name a new "
                    "one with --out."
                )
            return list(range(job.count))
        with place.files.open_input_stream(place.child(MANIFEST)) as stream:
            stored = json.loads(stream.read())
    except (OSError, ValueError) as error:
        raise LabError(f"{job.out} can't be read: {str(error).splitlines()[0]}") from None
    if stored != job.manifest():
        differs = [words for key, words in _WORDS.items() if dict(stored).get(key) != job.manifest()[key]]
        raise SettingsError(
            f"{job.out} holds the answers of another job. Different: {', '.join(differs) or 'its settings'}. Give the "
            "same pictures and options to go on with that one, or name a new folder with --out."
        )
    return [number for number in range(job.count) if job.part(number) not in names]


def begin(job: Job) -> None:
    """Make the job's folder and say in it whose it is; LabError where it can't be written."""
    place = place_of(job.out)
    try:
        place.files.create_dir(place.path, recursive=True)
        place.write(MANIFEST, (json.dumps(job.manifest(), indent=2) + "\n").encode())
    except OSError as error:
        raise LabError(f"Can't write into {job.out}: {error}") from None


def has_begun(job: Job) -> bool:
    """Whether this machine sees the job's folder, once the job has begun."""
    from pyarrow.fs import FileType  # slow to import

    place = place_of(job.out)
    try:
        return place.files.get_file_info(place.child(MANIFEST)).type == FileType.File
    except OSError:
        return False


def write_shard(job: Job, number: int, answers: Sequence[FileAnswer]) -> None:
    """Write a shard, whole or not at all: `rows.row_of` each, and the error of a picture that can't be read."""
    columns = (*row_columns(job.extras), "error")
    rows = [(*row_of(one, job.extras), one.error) for one in answers]
    content = csv_bytes(columns, rows) if job.format == "csv" else _parquet_bytes(columns, rows)
    place = place_of(job.out)
    try:
        place.write(job.part(number), content)
    except OSError as error:
        raise LabError(f"Can't write {place.child(job.part(number))}: {error}") from None


def unreadable(job: Job) -> Iterator[str]:
    """The errors in all shards, in their order, read a block at a time."""
    from pyarrow import dataset, string  # slow to import

    place = place_of(job.out)
    parts = [place.child(job.part(number)) for number in range(job.count)]
    kind: Any = "parquet"
    if job.format == "csv":
        from pyarrow import csv

        kind = dataset.CsvFileFormat(convert_options=csv.ConvertOptions(column_types={"error": string()}))
    try:
        for batch in dataset.dataset(parts, filesystem=place.files, format=kind).to_batches(columns=["error"]):
            yield from (error for error in batch.column(0).to_pylist() if error)
    except (OSError, ValueError) as error:
        raise LabError(f"The answers in {job.out} can't be read: {error}") from None


def _parquet_bytes(columns: Sequence[str], rows: Sequence[tuple]) -> bytes:
    import pyarrow as pa  # slow to import
    from pyarrow import parquet

    kinds = {"file": pa.string(), "class": pa.string(), "error": pa.string(), "in_scope": pa.bool_()}
    schema = pa.schema([(c, kinds.get(c, pa.string() if c.startswith("set_") else pa.float32())) for c in columns])
    table = pa.table(dict(zip(columns, zip(*rows, strict=True), strict=True)), schema=schema)
    sink = pa.BufferOutputStream()
    parquet.write_table(table, sink)
    return sink.getvalue().to_pybytes()
