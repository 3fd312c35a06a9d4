"""Trainings on a cluster of two nodes on this machine: started as the app does, followed through their folders."""

import json
import os
import re
import subprocess
import sys
import time
from collections import Counter

import pytest
from helpers import REPOSITORY, wait_for, wait_for_state
from streamlit.testing.v1 import AppTest

from cifar_model.runs.change import delete, request
from cifar_model.runs.follow import follow
from cifar_model.runs.read import LIVE_STATES, list_runs, read_log, read_run
from cifar_model.runs.start import resume_run, start_run
from cifar_model.training.settings import Settings

pytestmark = [pytest.mark.ray, pytest.mark.training]

MANY = int(os.environ.get("CIFAR_LAB_MANY_RUNS", "6"))  # 30 is a class


@pytest.fixture
def home(tmp_path, monkeypatch, cluster):
    """A folder of runs whose trainings go to the cluster, a processor each; all have ended afterwards."""
    monkeypatch.setenv("CIFAR_LAB_RUNS", str(tmp_path / "runs"))
    monkeypatch.setenv("CIFAR_LAB_RAY", cluster.address)
    monkeypatch.setenv("CIFAR_LAB_RAY_CPUS", "1")
    for name, value in cluster.key.items():
        monkeypatch.setenv(name, value)
    yield tmp_path / "runs"
    for run in list_runs():
        if run.is_live:
            request(run.name, "stop")
    wait_for(lambda: not any(run.is_live for run in list_runs()), "all to end")


def tiny(epochs=1, **changes):
    return Settings(network="seed-cnn", epochs=epochs, fraction=0.1, data="mini", **changes)


@pytest.mark.parametrize("key", [{}, {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": "0" * 64}])
def test_who_has_no_token_is_told_so(cluster, tmp_path, key):
    environment = {name: value for name, value in os.environ.items() if not name.startswith("RAY_AUTH")}
    environment |= {"HOME": str(tmp_path)} | key
    options = ["--data", "mini", "--seed", "0..1", "--ray", cluster.address]
    command = [sys.executable, "-m", "cifar_model", "sweep", *options]
    told = subprocess.run(command, env=environment, cwd=REPOSITORY, capture_output=True, text=True)
    assert told.returncode == 1 and told.stderr.startswith("Error: The Ray cluster at"), told.stderr
    assert "wants its token" in told.stderr and len(told.stderr.splitlines()) == 1


def host_of(name):
    """The address of the node that trains a run."""
    launcher = json.loads((read_run(name).path / "launcher.json").read_text())
    return launcher["node"].partition("(")[2].rstrip(")")


def epochs_of(name):
    return [row["epoch"] for row in read_run(name).history]


def test_a_training_on_the_cluster_is_followed_and_controlled_through_its_folder(home, cluster):
    assert start_run(tiny(200), "far", owner="me") == "far"
    wait_for_state("far", "running")
    assert read_run("far").remote and host_of("far").startswith(cluster.address.rpartition(".")[0])
    assert request("far", "pause", wait=60) and read_run("far").state == "paused"
    assert request("far", "set-lr", 0.0005) is False
    assert request("far", "resume", wait=60)
    wait_for(lambda: read_run("far").progress.get("learning_rate", 1) <= 0.0005, "the new rate")
    assert request("far", "stop", wait=60)
    stopped = wait_for_state("far", "stopped")
    assert stopped.has_model and "epoch" in read_log(stopped.path, 40)
    done = stopped.status["epoch"]
    resume_run("far", epochs=done + 2)
    kinds = [(kind, item.get("state")) for kind, item in follow("far")]
    assert kinds[-1] == ("state", "finished") and ("epoch", None) in kinds
    assert epochs_of("far") == list(range(1, done + 3))


def test_a_lost_node_is_a_resumed_run(home, cluster):
    start_run(tiny(10), "lost")
    wait_for(lambda: len(read_run("lost").history) >= 2, "two epochs")
    host, done = host_of("lost"), read_run("lost").status["epoch"]
    cluster.lose(host)
    try:
        states = set()

        def goes_on():
            run = read_run("lost")
            states.add(run.state)
            return host_of("lost") != host and run.state == "running" and len(run.history) > done

        wait_for(goes_on, "another node to go on with it")
        assert states <= set(LIVE_STATES)
        wait_for_state("lost", "finished")
        assert epochs_of("lost") == list(range(1, 11))
        assert "Continuing after epoch" in (home / "lost" / "log.txt").read_text()
    finally:
        cluster.add()


@pytest.mark.timeout(120 + 40 * MANY)
def test_as_many_as_a_class_wants(home):
    for number in range(MANY):
        start_run(tiny(seed=number), f"student-{number:02}")
    assert Counter(run.state for run in list_runs())["queued"] >= MANY - 4
    start_run(tiny(), "stopped")  # the last: it waits longest
    assert request("stopped", "stop") and read_run("stopped").message == "Stopped before its turn came."
    start_run(tiny(), "deleted")
    request("deleted", "stop")
    delete("deleted")
    at_once, hosts = 0, set()

    def all_done():
        nonlocal at_once
        found = [run for run in list_runs() if run.name.startswith("student")]
        training = [run.name for run in found if run.state in ("starting", "running")]
        at_once = max(at_once, len(training))
        hosts.update(map(host_of, training))
        return all(run.state == "finished" for run in found)

    deadline = time.monotonic() + 60 + 40 * MANY
    while not all_done():
        assert time.monotonic() < deadline, [(run.name, run.state, run.message) for run in list_runs()]
        time.sleep(0.2)
    assert 2 <= at_once <= 4 and len(hosts) == 2
    assert read_run("stopped").state == "stopped" and not (home / "deleted").exists()


@pytest.mark.parametrize(
    "variable, value, message",
    [
        ("CIFAR_LAB_RAY", "127.0.0.2:1", "No Ray cluster at 127.0.0.2:1"),
        ("CIFAR_LAB_RAY", "local", "give HOST:PORT"),
        ("CIFAR_LAB_RAY_CPUS", "64", r"asks for 64 CPUs, .*the largest of 3 has 2 CPUs"),
        ("CIFAR_LAB_RAY_GPUS", "some", "set it to a number"),
    ],
)
def test_what_can_not_be_is_said_once(variable, value, message, home, monkeypatch):
    monkeypatch.setenv(variable, value)
    start_run(tiny(), "no")
    run = wait_for_state("no", "failed")
    assert re.search(message, run.message) and "Traceback" not in run.message and run.can_resume
    assert not (run.path / "queued.json").exists()


def test_what_failed_for_want_of_a_cluster_goes_on_when_there_is_one(home, monkeypatch):
    with monkeypatch.context() as patch:
        patch.setenv("CIFAR_LAB_RAY", "127.0.0.2:1")
        start_run(tiny(), "later")
        wait_for_state("later", "failed")
    resume_run("later")
    wait_for_state("later", "finished")


def test_the_page_starts_it_and_says_where_it_waits(home, cluster, monkeypatch):
    monkeypatch.delenv("CIFAR10_DIR", raising=False)
    at = AppTest.from_file("../../streamlit_app.py", default_timeout=60)
    at.switch_page("pages/train.py").run()
    at.session_state["train_more_settings"] = True
    at.run()
    at.number_input(key="train_epochs_seed-cnn_quick_mini").set_value(1).run()
    next(button for button in at.button if button.label == "Start training").click().run()
    assert not at.exception
    (run,) = list_runs()
    assert run.remote and Settings.from_dict(run.settings).epochs == 1
    if run.state == "queued":
        assert any("place in the cluster" in bar.proto.text for bar in at.get("progress"))
    wait_for_state(run.name, "finished")
    at.run()
    assert run.name in [one.value for one in at.subheader] and "finished" in at.get("progress")[0].proto.text.lower()


def test_storage_that_the_nodes_do_not_share_is_named_with_them(home, cluster, monkeypatch, tmp_path):
    (tmp_path / "mine").mkdir()
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("CIFAR_LAB_RUNS", "/proc/self/cwd/mine")  # another folder for each process
    start_run(tiny(), "alone")
    run = wait_for_state("alone", "failed")
    first, _, nodes = run.message.partition("\n")
    assert "2 of the cluster's 2 nodes can't use the folder of runs" in first and "No such file" in nodes
    assert f"({cluster.address.rpartition('.')[0]}." in nodes
