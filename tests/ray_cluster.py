"""A head and further nodes as processes on this machine, as `ray start` makes them, with a folder of their own."""

import os
import shutil
import tempfile
from contextlib import suppress

import psutil


class LoopbackCluster:
    """`address` for `--ray`; each node has one CPU. Close it at the end."""

    def __init__(self):
        os.environ["RAY_USAGE_STATS_ENABLED"] = "0"
        from ray.cluster_utils import Cluster

        # Sockets lie in it, whose paths may have 107 characters.
        self._folder = tempfile.mkdtemp(prefix="ray-test-", dir=None if os.name == "nt" else "/tmp")
        head = {"num_cpus": 1, "include_dashboard": False, "temp_dir": self._folder, "object_store_memory": 100 << 20}
        self._cluster = Cluster(initialize_head=True, head_node_args=head)
        self.address, self.head = self._cluster.address, self._cluster.head_node

    def add_node(self):
        return self._cluster.add_node(num_cpus=1, object_store_memory=100 << 20)

    def at_work(self, node, name: str) -> bool:
        """Whether one of a node's processes is an actor or runs a task of this name: "ray::NAME…"."""
        for process in psutil.Process(node.all_processes["raylet"][0].process.pid).children(recursive=True):
            with suppress(psutil.Error):  # gone meanwhile
                if " ".join(process.cmdline()).startswith(f"ray::{name}"):
                    return True
        return False

    def kill(self, node) -> None:
        """End a node's processes without a word to them."""
        self._cluster.remove_node(node, allow_graceful=False)

    def close(self) -> None:
        self._cluster.shutdown()
        shutil.rmtree(self._folder, ignore_errors=True)
