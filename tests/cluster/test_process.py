"""The process on a real API server: Kopf rings, SIGTERM ends it in order, and of two replicas one writes at any time."""

from __future__ import annotations

import asyncio
import signal
import time
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack
from pathlib import Path

import pytest
from localcluster.access import Cluster
from localcluster.client import KubeClient
from localcluster.cluster import LocalCluster

from support.crash import CRASH_CODE
from support.operators import OperatorProcess, an_operator, eventually

SHORT_LEASE = {"TENANTWAVE_LEASE_DURATION": "5", "TENANTWAVE_LEASE_DEADLINE": "3", "TENANTWAVE_LEASE_RETRY": "0.5"}


@pytest.fixture
async def namespace(kube: KubeClient, unique: Callable[[str], str]) -> str:
    """A namespace for operators of this test alone."""
    name = unique("process")
    await kube.create({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}})
    return name


@pytest.fixture
async def two(cluster: Cluster, namespace: str, tmp_path: Path) -> AsyncIterator[tuple[OperatorProcess, OperatorProcess]]:
    """A leader and a standby, both warm."""
    async with AsyncExitStack() as stack:
        leader = await stack.enter_async_context(an_operator(cluster.kubeconfig, namespace, tmp_path, **SHORT_LEASE))
        await leader.says("leading as")
        standby = await stack.enter_async_context(an_operator(cluster.kubeconfig, namespace, tmp_path, **SHORT_LEASE))
        await standby.says("all caches are warm")
        await until_beating(leader, tmp_path)
        yield leader, standby


def beats(folder: Path) -> list[tuple[int, float]]:
    """Return who wrote when, in order."""
    file = folder / "beats"
    lines = file.read_text().splitlines() if file.exists() else []
    return [(int(line.split()[0]), float(line.split()[1])) for line in lines if len(line.split()) == 2]


async def until_beating(operator: OperatorProcess, folder: Path, seconds: float = 30.0) -> None:
    """Wait until this process writes."""
    begun = time.monotonic()
    await eventually(lambda: any(pid == operator.process.pid and at > begun for pid, at in beats(folder)), seconds, lambda: operator.log)


def assert_one_after_the_other(folder: Path, first: OperatorProcess, second: OperatorProcess) -> None:
    """Nobody wrote any more when the other had begun."""
    last = max(at for pid, at in beats(folder) if pid == first.process.pid)
    begin = min(at for pid, at in beats(folder) if pid == second.process.pid)
    assert last < begin


async def test_kopf_rings_for_each_upgrade_that_is_there_or_comes(
    cluster: Cluster, namespace: str, kube: KubeClient, tmp_path: Path, unique: Callable[[str], str]
) -> None:
    await kube.create(an_upgrade(unique("there")))
    async with an_operator(cluster.kubeconfig, namespace, tmp_path) as operator:
        await operator.says("leading as")
        await kube.create(an_upgrade(unique("comes")))
        for name in (unique("there"), unique("comes")):
            await kube.wait_until("ConfigMap", f"seen-{name}", namespace, lambda body: True)
        assert (await operator.ask("/healthz"))[0] == 200
        assert (await operator.ask("/readyz"))[0] == 200
        text = (await operator.ask("/metrics"))[1]
        assert "tenantwave_leader 1.0" in text
        assert 'tenantwave_api_requests_total{code="201",kind="ConfigMap",verb="create"}' in text
        operator.signal(signal.SIGTERM)
        assert await operator.ends() == 0
        assert "Traceback" not in operator.log
    for name in (unique("there"), unique("comes")):
        await kube.delete("TenantUpgrade", name)


def an_upgrade(name: str) -> dict[str, object]:
    """Return the smallest TenantUpgrade that the API server takes."""
    return {
        "apiVersion": "tenantwave.io/v1alpha1",
        "kind": "TenantUpgrade",
        "metadata": {"name": name},
        "spec": {
            "suspend": True,
            "policyRef": {"name": "nobody"},
            "tenantSelector": {"matchLabels": {"nobody": "selects-this"}},
            "release": {"product": "nothing", "version": "1.0.0"},
            "components": [
                {
                    "name": "web",
                    "workload": {"kind": "Deployment", "name": "web", "containers": [{"name": "web", "image": "example.org/web:1.0.0"}]},
                }
            ],
        },
    }


async def test_sigterm_drains_releases_and_exits_0_and_the_standby_goes_on_at_once(
    two: tuple[OperatorProcess, OperatorProcess], tmp_path: Path
) -> None:
    leader, standby = two
    leader.signal(signal.SIGTERM)
    begun = time.monotonic()
    await standby.says("leading as")
    assert time.monotonic() - begun < 5
    assert await leader.ends(20) == 0
    await until_beating(standby, tmp_path)
    assert_one_after_the_other(tmp_path, leader, standby)


@pytest.mark.parametrize(("step", "is_done"), [("2", True), ("3600", False)], ids=["ends in time", "hangs"])
async def test_a_step_that_runs_when_sigterm_comes_may_end_but_not_hold_up_the_exit(
    cluster: Cluster, namespace: str, kube: KubeClient, tmp_path: Path, unique: Callable[[str], str], step: str, is_done: bool
) -> None:
    name = unique("runs")
    async with an_operator(
        cluster.kubeconfig, namespace, tmp_path, "--log-level", "debug", TENANTWAVE_TEST_STEP=step, TENANTWAVE_DRAIN="4"
    ) as operator:
        await operator.says("leading as")
        await kube.create(an_upgrade(name))
        await operator.says(f"step of {name}")
        operator.signal(signal.SIGTERM)
        assert await operator.ends(20) == 0
    assert (await kube.find("ConfigMap", f"seen-{name}", namespace) is not None) == is_done
    await kube.delete("TenantUpgrade", name)


async def test_a_killed_leader_is_followed_when_its_lease_has_run_out(two: tuple[OperatorProcess, OperatorProcess], tmp_path: Path) -> None:
    leader, standby = two
    leader.signal(signal.SIGKILL)
    await until_beating(standby, tmp_path)
    assert_one_after_the_other(tmp_path, leader, standby)


async def test_a_leader_that_was_stopped_writes_nothing_when_it_wakes_and_exits_1(
    two: tuple[OperatorProcess, OperatorProcess], tmp_path: Path
) -> None:
    leader, standby = two
    leader.signal(signal.SIGSTOP)
    await until_beating(standby, tmp_path)
    leader.signal(signal.SIGCONT)
    assert await leader.ends() == 1
    assert "is lost" in leader.log
    assert_one_after_the_other(tmp_path, leader, standby)


async def test_a_leader_whose_lease_was_taken_stops_at_once_and_exits_1(
    two: tuple[OperatorProcess, OperatorProcess], namespace: str, kube: KubeClient
) -> None:
    leader, _ = two
    patch = {"spec": {"holderIdentity": "somebody-else"}}
    await kube.patch("Lease", "tenantwave", namespace, patch)
    begun = time.monotonic()
    assert await leader.ends() == 1
    assert time.monotonic() - begun < 10


async def test_an_outage_of_the_api_server_ends_the_leadership_and_is_survived(
    local_cluster: LocalCluster, two: tuple[OperatorProcess, OperatorProcess], tmp_path: Path
) -> None:
    """The leader must stop, because it cannot renew; the standby lives on, and leads once the server is back."""
    leader, standby = two
    await asyncio.to_thread(local_cluster.stop_api_server)
    try:
        assert await leader.ends() == 1
        assert (await standby.ask("/healthz"))[0] == 200
    finally:
        await asyncio.to_thread(local_cluster.start_api_server)
    await until_beating(standby, tmp_path, 60)
    assert_one_after_the_other(tmp_path, leader, standby)


@pytest.mark.parametrize("moment", ["before", "after"])
async def test_a_crash_point_ends_the_process_at_that_write(
    cluster: Cluster, namespace: str, tmp_path: Path, moment: str, kube: KubeClient
) -> None:
    """The means of the crash tests is itself tested: the first write is the ConfigMap `beat`."""
    async with an_operator(cluster.kubeconfig, namespace, tmp_path, TENANTWAVE_TEST_CRASH=f"{moment}:1") as operator:
        assert await operator.ends(30) == CRASH_CODE
    assert (await kube.find("ConfigMap", "beat", namespace) is not None) == (moment == "after")


async def test_the_whole_operator_gets_ready_leads_and_ends_in_order(cluster: Cluster, namespace: str, tmp_path: Path) -> None:
    """With its real engine: every cache warms up, Kopf starts, nothing dies."""
    async with an_operator(cluster.kubeconfig, namespace, tmp_path, "--log-format", "json", program="tenantwave.shell.main") as operator:
        await operator.says("leading as")
        assert (await operator.ask("/readyz"))[0] == 200
        assert (await operator.ask("/healthz"))[0] == 200
        assert 'tenantwave_queue_depth{queue="upgrade"}' in (await operator.ask("/metrics"))[1]
        operator.signal(signal.SIGTERM)
        assert await operator.ends(20) == 0
        assert "Traceback" not in operator.log
