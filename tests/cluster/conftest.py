"""Ray clusters that the tests of this folder share."""

import os
import secrets
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from contextlib import suppress
from pathlib import Path

import psutil
import pytest
from ray_cluster import LoopbackCluster

PATIENCE = 180  # seconds, for a machine that does other things too
OBJECT_STORE = 80_000_000  # bytes of shared memory a node

# The loss of a node is noticed within seconds instead of half a minute.
QUICKLY = {
    "RAY_health_check_initial_delay_ms": "0",
    "RAY_health_check_period_ms": "500",
    "RAY_health_check_timeout_ms": "5000",
    "RAY_health_check_failure_threshold": "3",
}


class Cluster:
    """A head node without processors and nodes that work, each started as on a machine of its own.

    address : HOST:PORT of the head
    key : variables with which others may connect

    The addresses are 127.0.0.2 and up: Ray takes 127.0.0.1 for another name of the machine's outer address.
    """

    def __init__(self, folder: Path):
        self._folder, self._processes, self._next = folder, {}, 2
        self.key = {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": secrets.token_hex(32)}
        with socket.socket() as free:
            free.bind(("127.0.0.2", 0))
            self.address = f"127.0.0.2:{free.getsockname()[1]}"
        port = self.address.partition(":")[2]
        self._start("--head", f"--port={port}", "--include-dashboard=false", f"--temp-dir={folder}", cpus=0)

    def add(self, cpus: int = 2) -> str:
        """One more node; returns its address."""
        return self._start(f"--address={self.address}", cpus=cpus)

    def _start(self, *options: str, cpus: int) -> str:
        host, self._next = f"127.0.0.{self._next}", self._next + 1
        log = self._folder / f"{host}.log"
        # What a test sets is no business of the nodes, which are other machines.
        environment = {
            name: value for name, value in os.environ.items() if not name.startswith(("CIFAR", "PYTHONPATH"))
        }
        environment |= {"RAY_USAGE_STATS_ENABLED": "0", "PYTHONUNBUFFERED": "1", **QUICKLY, **self.key}
        with open(log, "wb") as output:
            process = subprocess.Popen(
                [
                    sys.executable, "-c", "from ray.scripts.scripts import main; main()", "start", "--block", *options,
                    f"--node-ip-address={host}", f"--num-cpus={cpus}", f"--object-store-memory={OBJECT_STORE}",
                    "--min-worker-port=0", "--max-worker-port=0", "--disable-usage-stats",
                ],
                cwd=self._folder, env=environment, stdin=subprocess.DEVNULL, stdout=output, stderr=output,
            )  # fmt: skip
        self._processes[host] = process
        deadline = time.monotonic() + PATIENCE
        while "Ray runtime started" not in log.read_text(errors="replace"):
            assert process.poll() is None and time.monotonic() < deadline, log.read_text(errors="replace")
            time.sleep(0.1)
        return host

    def lose(self, host: str) -> None:
        """End a node's processes, trainings included, at once and without a word, as when its power fails."""
        process = self._processes.pop(host)
        with suppress(psutil.NoSuchProcess):
            own = psutil.Process(process.pid)
            for one in [*own.children(recursive=True), own]:
                one.kill()
        process.wait()

    def close(self) -> None:
        for host in reversed(list(self._processes)):
            self.lose(host)


@pytest.fixture(scope="module")
def cluster():
    """Two nodes, each with two processors to give; a test that loses one adds another."""
    if sys.platform != "linux":
        pytest.skip("needs a machine with 127.0.0.2 and 127.0.0.3")
    # Sockets lie below it, and the path of one may have 107 characters.
    folder = Path(tempfile.mkdtemp(prefix="ray-test-", dir="/tmp"))
    cluster = Cluster(folder)
    try:
        cluster.add()
        cluster.add()
        yield cluster
    finally:
        cluster.close()
        shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture(scope="module")
def ray_cluster():
    """A head node with one CPU; a test that adds a node takes it away again."""
    cluster = LoopbackCluster()
    yield cluster
    cluster.close()
