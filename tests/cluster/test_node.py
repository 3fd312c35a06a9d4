"""What a node does with the folder of a run, and what a training asks of one; no Ray is needed here."""

import pytest

from cifar_model.cluster import node
from cifar_model.cluster.trainings import check_places
from cifar_model.errors import RunError
from cifar_model.runs import start
from cifar_model.runs.read import read_run
from cifar_model.storage import write_json
from tests.runs.test_remote import SETTINGS, read_status, sent  # noqa: F401
from tests.runs.test_runs import home, write_run  # noqa: F401


def test_arguments_hold_until_the_training_has_taken_them(home, sent):  # noqa: F811
    path = write_run(home, "old", state="finished", epoch=2)
    start.resume_run("old", epochs=9)
    ticket = read_run("old").status["queued"]
    assert node.begin(path, ticket, "n") == node.begin(path, ticket, "n") == ["--resume", "old", "--epochs", "9"]
    write_json(path / "status.json", read_status(path) | {"pid": 7})
    assert node.begin(path, ticket, "n") == ["--resume", "old"]


def test_a_training_that_no_node_bears_ends(sent):  # noqa: F811
    start.start_run(SETTINGS, "a")
    ticket, path = read_run("a").status["queued"], read_run("a").path
    for _ in range(node.MOST_TRIES):
        assert node.begin(path, ticket, "n")
    write_json(path / "status.json", read_status(path) | {"epoch": 1})
    for _ in range(node.MOST_TRIES):  # an epoch was done: it may try as often again
        assert node.begin(path, ticket, "n")
    assert node.begin(path, ticket, "n") is None
    run = read_run("a")
    assert run.state == "failed" and "lost its node" in run.message and run.can_resume


def test_a_place_that_no_node_has():
    nodes = [{"Resources": {"CPU": 2.0, "memory": 4e9}}, {"Resources": {"GPU": 1.0}}]
    check_places(nodes, {"CPU": 2.0, "GPU": 0.0, "memory": 1e9})
    with pytest.raises(
        RunError, match=r"asks for 4 CPUs, 0 GPUs, 1.0 GB.* largest of 2 has 2 CPUs.*CIFAR_LAB_RAY_CPUS"
    ):
        check_places(nodes, {"CPU": 4.0, "GPU": 0.0, "memory": 1e9})
    with pytest.raises(RunError, match="largest of 0 has 0 CPUs"):
        check_places([], {"CPU": 1.0, "GPU": 0.0})


def test_what_a_node_sees_of_a_file(tmp_path):
    file = tmp_path / "file"
    assert node.look_for(str(file), "x") == "No such file or directory"
    file.write_text("x")
    assert node.look_for(str(file), "x") == "" and "another" in node.look_for(str(file), "y")
