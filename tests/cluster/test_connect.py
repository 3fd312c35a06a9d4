"""Which cluster is meant, and what a person hears where it can't be had."""

import os
import re
import socket
import sys
from types import SimpleNamespace

import pytest

from cifar_model.cluster.connect import address_of, connected, in_words
from cifar_model.errors import LabError, ModelError, SettingsError


def closed_port() -> int:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return free.getsockname()[1]


@pytest.mark.parametrize(
    "option, variable, expected",
    [
        (None, None, None),
        ("", None, None),
        (None, "head:6379", "head:6379"),
        ("other:1234", "head:6379", "other:1234"),
        ("local", "head:6379", None),
        ("auto", None, "auto"),
        ("[::1]:6379", None, "[::1]:6379"),
    ],
)
def test_the_option_goes_before_the_variable(option, variable, expected, monkeypatch):
    monkeypatch.delenv("RAY_ADDRESS", raising=False)
    if variable:
        monkeypatch.setenv("RAY_ADDRESS", variable)
    assert address_of(option) == expected


@pytest.mark.parametrize("wrong", ["head", "http://head:8265", "ray://head:10001", "a b:1", "head:", ":6379", "h:port"])
def test_what_is_no_address_is_refused(wrong, monkeypatch):
    with pytest.raises(SettingsError, match="no address of a Ray cluster.*HOST:PORT") as caught:
        address_of(wrong)
    assert "RAY_ADDRESS" not in str(caught.value) and caught.value.exit_code == 2
    monkeypatch.setenv("RAY_ADDRESS", wrong)
    with pytest.raises(SettingsError, match="from RAY_ADDRESS"):
        address_of(None)


def test_without_ray_the_message_says_how_to_install_it(monkeypatch):
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(LabError, match="not installed.*pip install -r requirements-ray.txt"), connected(None):
        pass


@pytest.fixture
def no_ray(monkeypatch):
    """A Ray that starts nothing: `init` raises what the test puts into `fails`, and is noted in `calls`."""
    stub = SimpleNamespace(fails=None, calls=[], down=0)

    def init(**options):
        stub.calls.append(options | {"environment": dict(os.environ)})
        if stub.fails:
            raise stub.fails

    def shutdown():
        stub.down += 1

    stub.module = SimpleNamespace(
        init=init, shutdown=shutdown, exceptions=SimpleNamespace(RayError=type("RayError", (Exception,), {}))
    )
    monkeypatch.setitem(sys.modules, "ray", stub.module)
    return stub


@pytest.fixture
def listening():
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield f"127.0.0.1:{server.getsockname()[1]}"


def test_nobody_at_the_address(no_ray):
    address = f"127.0.0.1:{closed_port()}"
    with pytest.raises(LabError, match=f"No Ray cluster at {address}: Connection refused.*6379"), connected(address):
        pass
    with pytest.raises(LabError, match="No Ray cluster at nowhere.invalid:6379"), connected("nowhere.invalid:6379"):
        pass
    assert not no_ray.calls  # it would try for minutes


def caused(outer: Exception, inner: Exception) -> Exception:
    outer.__cause__ = inner
    return outer


VERSIONS = """Version mismatch: The cluster was started with:
    Ray: 2.58.0
    Python: 3.12.4
This process on node 10.0.0.7 was started with:
    Ray: 2.60.0
    Python: 3.11.9
"""
NO_NODE = "No node info found matching attributes: 'x' when trying to resolve node to connect to."


@pytest.mark.parametrize(
    "failure, words",
    [
        (RuntimeError(VERSIONS), "runs on Ray 2.58.0, Python 3.12.4, and here is Ray 2.60.0, Python 3.11.9. Both must"),
        (caused(ConnectionError("Failed to connect"), RuntimeError(NO_NODE)), "no node on this machine. Join it"),
        (
            caused(ConnectionError("Failed"), RuntimeError("Failed to connect to GCS.\nTimed out.")),
            "not answer as a Ray",
        ),
    ],
)
def test_a_connection_that_fails_is_told_in_words(no_ray, listening, failure, words):
    no_ray.fails = failure
    with pytest.raises(LabError, match=words) as caught, connected(listening):
        pass
    assert listening in str(caught.value) and "\n" not in str(caught.value)
    assert no_ray.down and "RAY_gcs_server_port_wait_time_s" not in os.environ


def test_no_cluster_on_this_machine(no_ray):
    no_ray.fails = ConnectionError("Could not find any running Ray instance. Please specify …")
    with pytest.raises(LabError, match="No Ray cluster runs on this machine"), connected("auto"):
        pass


def test_what_ray_is_started_with(no_ray, listening, monkeypatch):
    monkeypatch.setenv("PYTHONPATH", "before")
    with connected(None, environment={"A": "b"}, num_cpus=2):
        temporary = no_ray.calls[0]["_temp_dir"]
        assert os.path.isdir(temporary)
    embedded = no_ray.calls.pop()
    assert embedded["address"] == "local" and embedded["num_cpus"] == 2 and not embedded["include_dashboard"]
    assert embedded["environment"]["A"] == "b" and "A" not in os.environ and not os.path.exists(temporary)
    assert "before" in embedded["environment"]["PYTHONPATH"] and os.environ["PYTHONPATH"] == "before"
    assert os.environ["RAY_USAGE_STATS_ENABLED"] == "0"
    with connected(listening):
        pass
    shipped = no_ray.calls.pop()["runtime_env"]
    assert os.path.isfile(os.path.join(shipped["working_dir"], "cifar_model", "cluster", "connect.py"))
    assert {"/tests", "/docs"} <= set(shipped["excludes"])
    assert not {"/assets", "/cifar_model"} & set(shipped["excludes"])


CHAIN = """ray::Task() (pid=1, ip=10.0.0.2)
  File "task.py", line 1, in task
{error}

The above exception was the direct cause of the following exception:

ray::Task() (pid=1, ip=10.0.0.2)
ray.exceptions.UserCodeException: it failed
To change retry attempts, …
"""


@pytest.mark.parametrize(
    "error, words",
    [
        ("ValueError: of no use", "Ray gave up: ValueError: of no use"),
        ("ModuleNotFoundError: No module named 'PIL'", "A machine of the cluster lacks the package 'PIL'. Install"),
        ("", "Ray gave up: ray.exceptions.UserCodeException: it failed"),
    ],
)
def test_what_a_task_raised_is_told_in_one_line(no_ray, error, words):
    with pytest.raises(LabError, match=f"^{re.escape(words)}") as caught, connected(None):
        raise no_ray.module.exceptions.RayError(CHAIN.format(error=error))
    assert "\n" not in str(caught.value) and no_ray.down == 1
    assert str(in_words(RuntimeError())) == "Ray gave up: RuntimeError"


def test_a_message_for_people_comes_out_as_it_was(no_ray):
    task = no_ray.module.exceptions.RayError("ray::task() …")
    task.cause = ModelError("No model 'x'.")
    for error in (task, caused(no_ray.module.exceptions.RayError("…"), task)):
        with pytest.raises(ModelError, match="^No model 'x'.$"), connected(None):
            raise error


@pytest.mark.ray
def test_a_ray_of_its_own_knows_this_project_and_leaves_nothing():
    import ray

    @ray.remote
    def seen():
        import cifar_model.classes

        return os.environ["LAB_TEST"], len(cifar_model.classes.CLASS_NAMES)

    with connected(None, environment={"LAB_TEST": "there"}, num_cpus=1):
        folder = ray._private.worker.global_worker.node.get_temp_dir_path()
        assert ray.get(seen.remote()) == ("there", 10)
    assert not ray.is_initialized() and not os.path.exists(folder)
