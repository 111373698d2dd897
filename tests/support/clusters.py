"""Which cluster the tests run on: an existing one if it is named, else a local control plane, else none."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import NoReturn

import pytest
from localcluster.access import Cluster
from localcluster.binaries import BinaryMissingError
from localcluster.cluster import LocalCluster
from localcluster.monitoring import Monitoring
from localcluster.processes import Guardian, Process, StartError, end_all, python_module

ROOT = Path(__file__).resolve().parents[2]
OPERATOR_NAMESPACE = "tenantwave-system"


def named_kubeconfig(config: pytest.Config) -> Path | None:
    """Return the kubeconfig that the caller named. KUBECONFIG and ~/.kube/config never count: nobody's cluster is used by accident."""
    named = config.getoption("--kubeconfig") or os.environ.get("TENANTWAVE_TEST_KUBECONFIG")
    return Path(named).expanduser() if named else None


@contextmanager
def cluster_for_tests(named: Path | None, run_dir: Path, *, play_pods: bool) -> Iterator[Cluster]:
    """Give the cluster, with the operator's namespace and the definitions of crds/ in it. Skips or fails if there can be none."""
    if named is not None:
        with existing_cluster(named, run_dir, play_pods=play_pods) as cluster:
            yield cluster
        return
    local = LocalCluster(run_dir, say=_say)
    try:
        local.start()
    except (BinaryMissingError, StartError) as error:
        no_cluster(str(error))
    try:
        prepare(local)
        yield local
    finally:
        local.stop()


class PlayedCluster(Cluster):
    """An existing cluster to which we added played nodes: the tests' pods run there, whatever their images."""


@contextmanager
def existing_cluster(kubeconfig: Path, run_dir: Path, *, play_pods: bool) -> Iterator[Cluster]:
    """Give a cluster that is there, if wanted with played nodes for as long as the tests run."""
    if not play_pods:
        prepare(cluster := Cluster(kubeconfig, run_dir))
        yield cluster
        return
    prepare(played := PlayedCluster(kubeconfig, run_dir))
    guardian = Guardian()
    player = Process(
        "pod-player", python_module("localcluster.pods", "--kubeconfig", str(kubeconfig)), run_dir / "pod-player.log", guardian
    )
    try:
        yield played
    finally:
        end_all([player])
        guardian.close()
        for node in played.request("GET", "/api/v1/nodes")["items"]:
            if node["metadata"]["name"].startswith("played-"):
                played.request("DELETE", f"/api/v1/nodes/{node['metadata']['name']}")


@contextmanager
def monitoring_for_tests(cluster: Cluster, run_dir: Path) -> Iterator[Monitoring]:
    """Give Prometheus and the tenants' traffic for the cluster. Skips or fails if there can be none."""
    access = run_dir / "traffic.kubeconfig" if isinstance(cluster, LocalCluster) else cluster.kubeconfig
    monitoring = Monitoring(run_dir, access)
    try:
        monitoring.start()
    except (BinaryMissingError, StartError) as error:
        no_cluster(str(error))
    try:
        yield monitoring
    finally:
        monitoring.stop()


def prepare(cluster: Cluster) -> None:
    """Give the cluster what every test expects in it."""
    cluster.apply_namespace(OPERATOR_NAMESPACE)
    for definition in cluster.apply_definitions(ROOT / "crds"):
        wait_for(partial(cluster.is_established, definition), f"{definition} is established")


def no_cluster(why: str) -> NoReturn:
    """Skip the test with the reason, or fail it where a missing cluster means a broken set-up (CI=true)."""
    if os.environ.get("CI", "").lower() == "true":
        pytest.fail(f"CI=true, and there is no cluster to test on: {why}", pytrace=False)
    pytest.skip(f"there is no cluster to test on: {why}")


def wait_for(is_so: Callable[[], bool], what: str, seconds: float = 30) -> None:
    """Look again until it is so; for what has no event to wait on."""
    deadline = time.monotonic() + seconds
    while not is_so():
        if time.monotonic() > deadline:
            raise TimeoutError(f"{what}: not within {seconds} s")
        time.sleep(0.05)


def _say(line: str) -> None:
    print(line, file=sys.__stderr__, flush=True)
