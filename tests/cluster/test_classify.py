"""`classify --ray` against the plain command: the same digits, whatever is stopped, killed or lost on the way."""

import csv
import os
import re
import shutil
import signal
import subprocess
import sys
import time

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from click.testing import CliRunner
from helpers import REPOSITORY
from PIL import Image

from cifar_model.__main__ import main
from cifar_model.answering.classifier import Classifier
from cifar_model.answering.rows import Extras
from cifar_model.cluster.classify import Worker, _packed, _unpacked, model_digest
from cifar_model.cluster.shards import MANIFEST, Job
from cifar_model.models.folder import find_model
from cifar_model.storage import assets_dir

SAMPLES = assets_dir() / "samples"
MODEL = "seed-cnn"
pytestmark = pytest.mark.ray


def call(*arguments) -> tuple[int, str, str]:
    result = CliRunner().invoke(main, ["classify", *map(str, arguments), "--model", MODEL])
    assert result.exception is None or isinstance(result.exception, SystemExit), result.exception
    return result.exit_code, result.stdout, result.stderr


@pytest.fixture(scope="module")
def album(tmp_path_factory):
    """The samples, and two files that can't be read."""
    folder = tmp_path_factory.mktemp("album")
    shutil.copytree(SAMPLES, folder / "samples", ignore=shutil.ignore_patterns("*.md"))
    (folder / "empty.jpg").write_bytes(b"")
    (folder / "broken.png").write_bytes(b"\x89PNG\r\n\x1a\n cut short")
    return folder


@pytest.fixture(scope="module")
def plain(album, tmp_path_factory):
    """What the plain command writes, by file, and what it says of those that it can't read."""
    file = tmp_path_factory.mktemp("plain") / "answers.csv"
    code, _, err = call(album, "--csv", file, "--sets", "--scope")
    assert code == 1
    with open(file, encoding="utf-8-sig", newline="") as opened:
        return {row["file"]: row for row in csv.DictReader(opened)}, err


def test_on_this_machine_with_the_digits_of_the_plain_command(album, plain, tmp_path):
    out = tmp_path / "out"
    options = (album, "--ray", "local", "--out", out, "--format", "csv", "--shard", 5, "--sets", "--scope")
    code, stdout, err = call(*options)
    assert code == 1 and stdout == f"Answered: 10. The answers are in {out}.\n"
    rows = []
    for file in sorted(out.glob("part-*.csv")):
        with open(file, encoding="utf-8-sig", newline="") as opened:
            rows += csv.DictReader(opened)
    errors = {row["file"]: error for row in rows if (error := row.pop("error"))}
    assert {row["file"]: row for row in rows if row["file"] not in errors} == plain[0]
    assert len(errors) == 2 and all(error in plain[1] and error in err for error in errors.values())
    assert "Can't be read: 2\n" in err

    before = {path.name: path.stat().st_mtime_ns for path in out.iterdir()}
    again = call(*options)
    assert again[:2] == (1, stdout) and "3 are there already" in again[2]
    assert {path.name: path.stat().st_mtime_ns for path in out.iterdir()} == before
    assert call(*options, "--raw")[0] == 2


@pytest.fixture(scope="module")
def slow_pictures(tmp_path_factory):
    """Sixteen names of one picture that takes a while to decode."""
    folder = tmp_path_factory.mktemp("slow")
    ramp = np.linspace(0, 255, 6000).astype(np.uint8)
    pixels = np.stack(np.broadcast_arrays(ramp[:, None], ramp[None], np.uint8(90)), axis=2)
    Image.fromarray(pixels).save(folder / "00.png", compress_level=1)
    for number in range(1, 16):
        os.link(folder / "00.png", folder / f"{number:02}.png")
    return folder


def start(*arguments) -> subprocess.Popen:
    command = [sys.executable, "-m", "cifar_model", "classify", *map(str, arguments), "--model", MODEL]
    environment = os.environ | {"PYTHONPATH": str(REPOSITORY)}
    return subprocess.Popen(command, env=environment, stderr=subprocess.PIPE, stdout=subprocess.PIPE, text=True)


def wait_for(what, process: subprocess.Popen | None = None) -> None:
    """Until `what()` is true, while the process lives."""
    deadline = time.monotonic() + 240
    while not what():
        assert process is None or process.poll() is None, process.communicate()
        assert time.monotonic() < deadline
        time.sleep(0.05)


def written(out) -> dict:
    return {path.name: path.stat().st_mtime_ns for path in out.glob("part-*")}


def test_goes_on_after_ctrl_c_and_after_a_kill(slow_pictures, open_cluster, tmp_path):
    out = tmp_path / "out"
    options = (slow_pictures, "--ray", open_cluster.address, "--out", out, "--shard", 1)
    stopped = start(*options)
    wait_for(lambda: written(out), stopped)
    stopped.send_signal(signal.SIGINT)
    _, err = stopped.communicate(timeout=120)
    first = written(out)
    assert stopped.returncode == 1 and 0 < len(first) < 16
    said = re.search(
        r"^Error: Stopped. (\d+) of 16 files are in (.+). The same command goes on from there.$", err, re.M
    )
    assert said[2] == str(out) and 0 < int(said[1]) <= len(first)  # one may have been at its end

    killed = start(*options)
    wait_for(lambda: len(written(out)) > len(first), killed)
    killed.kill()
    killed.communicate(timeout=60)
    # Ray ends the workers of a driver that is gone.
    wait_for(lambda: not open_cluster.at_work(open_cluster.head, "MapWorker"))
    second = written(out)
    assert len(second) < 16 and first.items() < second.items()

    code, stdout, err = call(*options)
    assert (code, stdout) == (0, f"Answered: 16. The answers are in {out}.\n")
    assert f"{len(second)} are there already" in err
    assert len(written(out)) == 16 and second.items() < written(out).items()
    table = pq.read_table(out)
    assert sorted(table["file"].to_pylist()) == sorted(map(str, slow_pictures.iterdir()))
    assert len(set(table["probability"].to_pylist())) == 1


def test_a_node_that_is_lost_costs_no_answer(slow_pictures, open_cluster, tmp_path):
    out = tmp_path / "out"
    node = open_cluster.add(cpus=1)
    job = start(slow_pictures, "--ray", open_cluster.address, "--out", out, "--shard", 1, "--format", "csv")
    try:
        wait_for(lambda: written(out) and open_cluster.at_work(node, "MapWorker"), job)
    finally:
        open_cluster.lose(node)
    assert job.poll() is None and len(written(out)) < 16
    stdout, err = job.communicate(timeout=240)
    assert (job.returncode, stdout) == (0, f"Answered: 16. The answers are in {out}.\n"), err
    assert len(written(out)) == 16


def job_of(tmp_path, pictures: int = 1) -> Job:
    network = model_digest(find_model(MODEL))
    return Job(str(tmp_path / "out"), "csv", 1, pictures, "0", MODEL, network, False, Extras(None, False))


def test_a_machine_that_does_not_see_the_pictures_says_so(tmp_path):
    shard = pa.table({"shard": [0], "names": [[b"a.png"]]})
    for seen, what in ((["/gone/a.png"], "/gone/a.png"), ([], tmp_path / "out")):
        answer = Worker(job_of(tmp_path), MODEL, None, str(tmp_path), seen)(shard)
        assert f"does not see {what}. Put the pictures and --out on storage" in answer["error"][0].as_py()


def test_what_a_worker_raises_is_one_message(open_cluster, album, tmp_path, monkeypatch):
    from cifar_model.cluster import inputs

    find = inputs.find_inputs

    def with_a_file_of_this_machine_alone(paths):
        found = find(paths)
        found.seen.append("/gone/a.png")
        return found

    monkeypatch.setattr("cifar_model.cli.classify.find_inputs", with_a_file_of_this_machine_alone)
    code, _, err = call(album, "--ray", open_cluster.address, "--out", tmp_path / "out")
    assert code == 1
    assert err.splitlines()[-1].startswith("Error: The cluster's machine ") and "does not see /gone/a.png" in err
    assert "Traceback" not in err and [path.name for path in (tmp_path / "out").iterdir()] == [MANIFEST]


def test_a_cluster_without_a_cpu_is_told(open_cluster, album, tmp_path, monkeypatch):
    monkeypatch.setattr("ray.cluster_resources", dict)
    code, _, err = call(album, "--ray", open_cluster.address, "--out", tmp_path / "out")
    assert code == 1 and "has no CPU, and a worker takes one" in err and not (tmp_path / "out").exists()


def test_a_model_is_sent_whole(random_model, tmp_path, monkeypatch):
    monkeypatch.setenv("CIFAR_LAB_CACHE", str(tmp_path))
    unpacked = _unpacked(_packed(random_model))
    assert _unpacked(_packed(random_model)) == unpacked and unpacked.parent.name == "sent"
    assert Classifier(unpacked).engine == "litert"
    pixels = np.zeros((1, 32, 32, 3), np.uint8)
    assert (Classifier(unpacked).predict(pixels) == Classifier(random_model, engine="litert").predict(pixels)).all()
