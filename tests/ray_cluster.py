"""A Ray cluster of several nodes on this machine, for tests."""

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
from helpers import PATIENCE

OBJECT_STORE = 80_000_000  # bytes of shared memory a node

# The loss of a node is noticed within seconds instead of half a minute.
QUICKLY = {
    "RAY_health_check_initial_delay_ms": "0",
    "RAY_health_check_period_ms": "500",
    "RAY_health_check_timeout_ms": "5000",
    "RAY_health_check_failure_threshold": "3",
}


def new_key() -> dict[str, str]:
    """Variables with a token that nobody else has."""
    return {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": secrets.token_hex(32)}


class Cluster:
    """A head node and nodes that are added, each started as on a machine of its own; close it at the end.

    address : HOST:PORT of the head
    key : variables with which others may connect

    The addresses lie in 127.0.0.0/8, in a network of this cluster alone: the port of a node that was lost may soon be
    another's. Ray takes 127.0.0.1 for another name of the machine's outer address.
    """

    def __init__(self, *, cpus: int = 0, key: dict[str, str] | None = None):
        # Sockets lie below it, and the path of one may have 107 characters. Each node has its own: in a common one, as
        # Ray would choose, a node unpacks our code anew while another's workers start in it.
        self._folder = Path(tempfile.mkdtemp(prefix="ray-test-", dir="/tmp"))
        self._processes: dict[str, subprocess.Popen] = {}
        self._network = f"127.{1 + secrets.randbelow(254)}.{secrets.randbelow(256)}"
        self._next = 2
        self.key = key or new_key()
        with socket.socket() as free:
            free.bind((f"{self._network}.2", 0))
            self.address = f"{self._network}.2:{free.getsockname()[1]}"
        port = self.address.partition(":")[2]
        options = ("--head", f"--port={port}", "--include-dashboard=false")
        try:
            self.head = self._start(*options, cpus=cpus)
        except BaseException:
            self.close()
            raise

    def add(self, cpus: int = 2) -> str:
        """One more node; returns its address."""
        return self._start(f"--address={self.address}", cpus=cpus)

    def _start(self, *options: str, cpus: int) -> str:
        host, self._next = f"{self._network}.{self._next}", self._next + 1
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
                    f"--node-ip-address={host}", f"--temp-dir={self._folder / host}", f"--num-cpus={cpus}",
                    f"--object-store-memory={OBJECT_STORE}", "--min-worker-port=0", "--max-worker-port=0",
                    "--disable-usage-stats",
                ],
                cwd=self._folder, env=environment, stdin=subprocess.DEVNULL, stdout=output, stderr=output,
            )  # fmt: skip
        self._processes[host] = process
        deadline = time.monotonic() + PATIENCE
        while "Ray runtime started" not in log.read_text(errors="replace"):
            assert process.poll() is None and time.monotonic() < deadline, log.read_text(errors="replace")
            time.sleep(0.1)
        return host

    def processes(self, host: str) -> list[psutil.Process]:
        """A node's processes, but for the first of them."""
        return psutil.Process(self._processes[host].pid).children(recursive=True)

    def at_work(self, host: str, name: str) -> bool:
        """Whether one of a node's processes is an actor or runs a task of this name: "ray::NAME…"."""
        for process in self.processes(host):
            with suppress(psutil.Error):  # gone meanwhile
                if " ".join(process.cmdline()).startswith(f"ray::{name}"):
                    return True
        return False

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
        shutil.rmtree(self._folder, ignore_errors=True)
