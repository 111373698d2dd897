"""Fixtures for everybody: one cluster and one Prometheus per session, started when a test first asks; a client and new names per test."""

from __future__ import annotations

import os
import secrets
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path

import pytest
from localcluster.access import Cluster
from localcluster.client import KubeClient
from localcluster.cluster import LocalCluster
from localcluster.monitoring import Monitoring

from support import profiles
from support.clusters import PlayedCluster, cluster_for_tests, monitoring_for_tests, named_kubeconfig

profiles.load(os.environ)
os.environ.setdefault("TENANTWAVE_QUERIES_PER_MINUTE", "6000")  # for operators that look every second, not every half minute


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--kubeconfig", help="test on this existing cluster, not on a local control plane (or TENANTWAVE_TEST_KUBECONFIG)")
    parser.addoption(
        "--play-pods", action="store_true", help="with --kubeconfig: add played nodes to that cluster, for images that do not exist"
    )


@pytest.fixture(scope="session")
def run_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where the session's cluster keeps logs and data."""
    return tmp_path_factory.mktemp("cluster")


@pytest.fixture(scope="session")
def cluster(pytestconfig: pytest.Config, run_dir: Path) -> Iterator[Cluster]:
    """The session's cluster, with crds/ applied and the operator's namespace; skips (or, with CI=true, fails) if there can be none."""
    with cluster_for_tests(named_kubeconfig(pytestconfig), run_dir, play_pods=pytestconfig.getoption("--play-pods")) as found:
        yield found


@pytest.fixture
def local_cluster(cluster: Cluster) -> LocalCluster:
    """The session's cluster where it is ours to break: outages, audit log, played pods."""
    if not isinstance(cluster, LocalCluster):
        pytest.skip("needs a control plane of its own: it takes the API server away, or reads its audit log")
    return cluster


@pytest.fixture
def played_cluster(cluster: Cluster) -> Cluster:
    """The session's cluster where pods are played: made-up images run, and a tag tells what becomes of them (localcluster/pods.py)."""
    if not isinstance(cluster, LocalCluster | PlayedCluster):
        pytest.skip("needs played pods, because its images do not exist; add --play-pods")
    return cluster


@pytest.fixture(scope="session")
def monitoring(cluster: Cluster, run_dir: Path) -> Iterator[Monitoring]:
    """Prometheus and the tenants' traffic, for the session. A test that takes something away brings it back."""
    with monitoring_for_tests(cluster, run_dir) as started:
        yield started


@pytest.fixture
async def kube(cluster: Cluster) -> AsyncIterator[KubeClient]:
    """An administrator's client."""
    async with KubeClient.from_kubeconfig(cluster.kubeconfig, field_manager="test-admin") as client:
        yield client


@pytest.fixture
def unique() -> Callable[[str], str]:
    """Turn a name into one that no other test uses; within a test the same name gives the same one: `unique("acme")`."""
    suffix = secrets.token_hex(3)
    return lambda name: f"{name}-{suffix}"
