"""A connection to Ray: processes of its own on this machine, or a cluster that runs already."""

import logging
import os
import re
import shutil
import socket
import sys
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager

from cifar_model.errors import LabError, SettingsError
from cifar_model.networks.backend import without_chatter
from cifar_model.storage import assets_dir

EMBEDDED = "local"  # an address: no cluster, whatever RAY_ADDRESS says
SHIPPED = ("cifar_model", "assets")  # what the other machines get of the project

_CONNECT_SECONDS = 5.0  # to reach the port of a head node
_WHERE = "A head node has one where `ray start --head` ran; its port is 6379 unless you chose another"


def address_of(option: str | None) -> str | None:
    """The cluster that is meant: `option`, else RAY_ADDRESS; None: no cluster, Ray runs on this machine alone.

    Raises
    ------
    SettingsError
        Not HOST:PORT, "auto" (a cluster that runs on this machine) or "local" (none).
    """
    address = option or os.environ.get("RAY_ADDRESS") or EMBEDDED
    if address == EMBEDDED:
        return None
    if address != "auto" and not re.fullmatch(r"(\[[0-9A-Fa-f:.]+\]|[^\s/:\[\]]+):[0-9]{1,5}", address):
        source = "" if option else " (from RAY_ADDRESS)"
        raise SettingsError(
            f"{address!r}{source} is no address of a Ray cluster. Allowed: HOST:PORT of its head node, `auto` for one "
            "that runs on this machine, `local` for none. From outside a cluster send the command to it: "
            "`ray job submit`."
        )
    return address


@contextmanager
def connected(address: str | None, *, environment: Mapping[str, str] | None = None, **init_options) -> Iterator[None]:
    """Ray, connected within the block; its workers can import this project.

    Parameters
    ----------
    address : as `address_of` gives it; None starts Ray on this machine and ends it with the block
    environment : variables for the workers, beside those that they have
    init_options : more for `ray.init`; what only a new Ray takes (`num_cpus`, `object_store_memory`, …) needs None

    Raises
    ------
    LabError
        Ray is not installed; there is no cluster; its Ray or Python is of another version; this machine is none of its
        nodes. Also what a task in the block raised as a LabError, and in words what Ray itself did.
    """
    os.environ["RAY_USAGE_STATS_ENABLED"] = "0"
    os.environ.setdefault("RAY_BACKEND_LOG_LEVEL", "fatal")  # of its C++ part, which writes to the terminal
    os.environ.setdefault("RAY_DEDUP_LOGS_SKIP_REGEX", ".")  # no word of a lost node on stdout, among our results
    os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")  # without it, Ray warns of its coming default
    try:
        import ray  # slow to import
    except ImportError as error:
        raise LabError(
            f"Ray is not installed here ({error}). Install it: python -m pip install -r requirements-ray.txt"
        ) from None
    temporary = None
    options = {"log_to_driver": False, "logging_level": logging.ERROR, **init_options}
    if address is None:
        # Sockets lie below it, whose paths may have 107 characters: the system's own folder can be too long.
        temporary = tempfile.mkdtemp(prefix="ray-", dir=None if os.name == "nt" else "/tmp")
        options = {"include_dashboard": False, "_temp_dir": temporary, **options}
        paths = [str(assets_dir().parent), os.environ.get("PYTHONPATH")]
        # What Ray starts inherits it; with an environment made for this job, workers would take seconds longer.
        inherited = {**(environment or {}), "PYTHONPATH": os.pathsep.join(path for path in paths if path)}
    else:
        _check_port(address)
        options["runtime_env"] = {"env_vars": dict(environment or {}), **_shipped()}
        # One try, of 40 s, at a port where something listens that is not Ray: by default there would be twenty.
        setting = "RAY_gcs_server_port_wait_time_s"
        inherited = {setting: os.environ.get(setting, "1")}
    failure = None
    try:
        with without_chatter(), _set(inherited):
            try:
                ray.init(address=address or EMBEDDED, **options)
            except Exception as error:
                failure = error
        if failure:
            raise LabError(_why_not(failure, address)) from failure
        try:
            yield
        except ray.exceptions.RayError as error:
            raise in_words(error) from error
    finally:
        ray.shutdown()
        if temporary:
            shutil.rmtree(temporary, ignore_errors=True)


def data_places() -> dict[str, str]:
    """Where this machine has its data, for nodes that have no such setting of their own: {variable: value}."""
    return {name: os.environ[name] for name in ("CIFAR10_DIR", "CIFAR100_DIR") if name in os.environ}


def in_words(error: Exception) -> LabError:
    """What went wrong in a task: the LabError that it raised, or else what Ray says, in one line."""
    cause: BaseException | None = error
    while cause is not None:
        # Ray raises an error of its own type and keeps the task's beside it.
        for one in (getattr(cause, "cause", None), cause):
            if isinstance(one, LabError):
                return one
        cause = cause.__cause__
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    # The first in a chain of tracebacks ends with the error that began it.
    raised = next((line for line in lines if re.match(r"[A-Za-z_][\w.]*(Error|Exception): ", line)), None)
    if raised and (missing := re.search(r"No module named '([\w.]+)'", raised)):
        return LabError(
            f"A machine of the cluster lacks the package {missing[1]!r}. Install there what is installed here: "
            "requirements.txt and requirements-ray.txt."
        )
    return LabError(f"Ray gave up: {raised or (lines or [type(error).__name__])[-1]}")


def _check_port(address: str) -> None:
    """LabError at once where nobody listens: Ray would try for minutes."""
    if address == "auto":
        return
    host, _, port = address.rpartition(":")
    try:
        socket.create_connection((host.strip("[]"), int(port)), timeout=_CONNECT_SECONDS).close()
    except (OSError, OverflowError) as error:
        raise LabError(f"No Ray cluster at {address}: {getattr(error, 'strerror', None) or error}. {_WHERE}.") from None


@contextmanager
def _set(variables: Mapping[str, str]) -> Iterator[None]:
    """Environment variables, within the block."""
    before = {name: os.environ.get(name) for name in variables}
    os.environ.update(variables)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value


def _shipped() -> dict:
    """The part of a runtime environment that brings this project to the other machines, once for each content.

    Not eagerly: Ray would install it on a machine that joins for each earlier job again, in one folder, and delete what
    the job before has just put there, where workers start by then (Ray 2.60, `download_and_unpack_package`).
    """
    root = assets_dir().parent
    others = [f"/{entry.name}" for entry in os.scandir(root) if entry.name not in SHIPPED]
    return {"working_dir": str(root), "excludes": [*others, "__pycache__"], "config": {"eager_install": False}}


def _why_not(error: Exception, address: str | None) -> str:
    """Why `ray.init` failed."""
    texts = [str(one) for one in (error, error.__cause__, error.__context__) if one is not None]
    text = "\n".join(texts)
    if address is None:
        return f"Ray can't start on this machine: {texts[-1].splitlines()[-1]}"
    if "uthentication" in text or "InvalidAuthToken" in text:
        return (
            f"The Ray cluster at {address} wants its token, and this command has none or another. Set "
            "RAY_AUTH_MODE=token, and RAY_AUTH_TOKEN as on its head node, or copy its file ~/.ray/auth_token."
        )
    if "Version mismatch" in text:
        pairs = [f"Ray {ray}, Python {python}" for ray, python in re.findall(r"Ray: (\S+)\s+Python: (\S+)", text)]
        there, here = pairs[:2] if len(pairs) > 1 else ("another version", f"Python {sys.version.split()[0]}")
        return (
            f"The Ray cluster at {address} runs on {there}, and here is {here}. Both must be the same: start "
            "this command with the cluster's Python, or install the same versions there."
        )
    if "Could not find any running Ray instance" in text:
        return f"No Ray cluster runs on this machine. {_WHERE}."
    if "node" in text and "GCS" not in text:
        return (
            f"The Ray cluster at {address} has no node on this machine. Join it: `ray start --address={address}`, or "
            "send the command to it: `ray job submit`."
        )
    return f"What listens at {address} does not answer as a Ray cluster does: {texts[-1].splitlines()[-1]} {_WHERE}."
