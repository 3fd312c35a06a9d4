"""Ray clusters that the tests of this folder share."""

import os
import sys
from contextlib import closing

import pytest
from ray_cluster import Cluster, new_key

# Ray looks once in a process whether there is a token; without one it makes one, in the user's home folder.
KEY = new_key()
os.environ |= KEY


@pytest.fixture(scope="module")
def cluster():
    """A head node without processors and two nodes with two each; a test that loses one adds another."""
    _needs_loopback()
    with closing(Cluster()) as cluster:
        cluster.add()
        cluster.add()
        yield cluster


@pytest.fixture(scope="module")
def open_cluster():
    """A head node with one processor, to which this process can connect; a test that adds a node takes it away."""
    _needs_loopback()
    with closing(Cluster(cpus=1, key=KEY)) as cluster:
        yield cluster


def _needs_loopback() -> None:
    if sys.platform != "linux":
        pytest.skip("needs a machine with all of 127.0.0.0/8")
