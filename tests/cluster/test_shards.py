"""Answers in shards: the rows of the plain command, whole files, and only the job's own folder."""

import csv
import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest

from cifar_model.answering.answer import Answer
from cifar_model.answering.files import FileAnswer
from cifar_model.answering.rows import Extras, row_columns, row_of
from cifar_model.cluster.shards import (
    MANIFEST,
    Job,
    begin,
    digest,
    has_begun,
    missing_shards,
    unreadable,
    write_shard,
)
from cifar_model.errors import LabError, SettingsError


@pytest.fixture(params=["parquet", "csv"])
def job(request, tmp_path):
    return Job(
        out=str(tmp_path / "deep" / "out"),
        format=request.param,
        shard=2,
        pictures=5,
        inputs=digest([b"a", b"b"]),
        model="seed-cnn",
        network="1" * 64,
        raw=False,
        extras=Extras(95, True),
    )


def answers() -> list[FileAnswer]:
    p = np.float32([0.1, 0.02, 0.7, 0, 0, 0, 0, 0, 0, 0.18])
    sets = np.zeros((3, 10), bool)
    sets[1, [2, 9]] = True
    answer = Answer(p, p, sets, np.float32(0.3), np.bool_(False))
    return [FileAnswer("=a.png", answer=answer), FileAnswer("b.png", error="b.png: of no use, ä")]


def test_shards_are_counted_and_named(job):
    assert job.count == 3 and job.part(2) == f"part-00002-of-00003.{job.format}"
    assert replace(job, pictures=4).count == 2 and replace(job, pictures=1).count == 1


def test_a_row_has_the_digits_of_the_plain_command_and_an_error(job):
    begin(job)
    write_shard(job, 0, answers())
    file = Path(job.out) / job.part(0)
    expected = dict(zip(row_columns(job.extras), row_of(answers()[0], job.extras), strict=True))
    if job.format == "csv":
        with open(file, encoding="utf-8-sig", newline="") as opened:
            good, broken = csv.DictReader(opened)
        assert good == {key: str(value) for key, value in expected.items()} | {"file": "'=a.png", "error": ""}
        assert broken == dict.fromkeys(good, "") | {"file": "b.png", "error": "b.png: of no use, ä"}
    else:
        good, broken = pq.read_table(job.out).to_pylist()  # the manifest is not in the way
        assert good == expected | {"error": None}
        assert broken == dict.fromkeys(good) | {"file": "b.png", "error": "b.png: of no use, ä"}
    assert {path.name for path in file.parent.iterdir()} == {MANIFEST, file.name}


def test_what_is_there_is_not_missing(job):
    assert missing_shards(job) == [0, 1, 2] and not has_begun(job) and not Path(job.out).exists()
    begin(job)
    assert missing_shards(job) == [0, 1, 2] and has_begun(job)
    write_shard(job, 1, answers())
    Path(job.out, ".torn").write_bytes(b"of a worker that was killed")
    assert missing_shards(job) == [0, 2]
    address = replace(job, out=Path(job.out).as_uri())
    assert missing_shards(address) == [0, 2] and has_begun(address)


@pytest.mark.parametrize(
    "changed, words",
    [
        ({"shard": 3}, "--shard"),
        ({"inputs": "0" * 64, "pictures": 6}, "how many pictures, the pictures, or their order"),
        ({"network": "0" * 64}, "the model's files"),
        ({"extras": Extras(90, False)}, "--sets, --scope"),
    ],
)
def test_another_job_is_refused(job, changed, words):
    begin(job)
    write_shard(job, 0, answers())
    with pytest.raises(SettingsError, match=f"holds the answers of another job. Different: {words}. Give the same"):
        missing_shards(replace(job, **changed))


def test_folders_of_others_are_refused(job):
    Path(job.out).mkdir(parents=True)
    Path(job.out, "thesis.txt").write_text("mine")
    with pytest.raises(SettingsError, match=r"holds other files \(thesis.txt, …\)"):
        missing_shards(job)
    Path(job.out, MANIFEST).write_text("{torn")
    with pytest.raises(LabError, match="can't be read"):
        missing_shards(job)
    with pytest.raises(LabError, match="can't be read"):
        missing_shards(replace(job, out=str(Path(job.out, "thesis.txt"))))


def test_a_folder_that_can_t_be_written(job):
    Path(job.out).parent.mkdir()
    Path(job.out).write_text("a file")
    with pytest.raises(LabError, match="Can't write into"):
        begin(job)
    with pytest.raises(LabError, match="Can't write .*part-00000"):
        write_shard(job, 0, answers())


def test_errors_come_from_the_files(job):
    begin(job)
    for number in range(job.count):
        write_shard(job, number, answers() if number < 2 else answers()[:1])
    assert list(unreadable(job)) == ["b.png: of no use, ä"] * 2
    Path(job.out, job.part(1)).write_bytes(b"torn")
    with pytest.raises(LabError, match="can't be read"):
        list(unreadable(job))


def test_the_manifest_is_json_for_people(job):
    begin(job)
    stored = json.loads(Path(job.out, MANIFEST).read_text())
    assert stored["model"] == "seed-cnn" and stored["pictures"] == 5 and stored["sets"] == 95
