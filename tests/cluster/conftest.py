"""A Ray cluster that the tests of this folder share."""

import pytest
from ray_cluster import LoopbackCluster


@pytest.fixture(scope="session")
def ray_cluster():
    """A head node with one CPU; a test that adds a node takes it away again."""
    cluster = LoopbackCluster()
    yield cluster
    cluster.close()
