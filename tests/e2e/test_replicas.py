"""Two replicas and outages: whoever leads goes on from what is stored, and nothing is done twice."""

from __future__ import annotations

import asyncio
import re
from datetime import UTC, datetime

import pytest
from localcluster.client import eventually
from localcluster.cluster import LocalCluster

from support.audit import in_tenants, template_writes, twice, writes
from support.clusters import OPERATOR_NAMESPACE
from support.story import IMAGE, OperatorProcess, Story

CANARY = {"tenantwave.io/ring": "canary"}
SLOW = {"localcluster/ready-after": "3"}
OLD, NEW = {"pool": "10"}, {"pool": "20"}
SHORT_LEASE = {"TENANTWAVE_LEASE_DURATION": "8", "TENANTWAVE_LEASE_DEADLINE": "6", "TENANTWAVE_LEASE_RETRY": "1"}
LEASE = "coordination.k8s.io/v1/Lease"


async def fleet(story: Story) -> tuple[str, list[str]]:
    """Given five tenants whose pods need a moment, in two waves. Returns the canary and the others."""
    await story.pristine("2.3.1", OLD)
    await story.pristine("2.4.0", NEW)
    canary = await story.tenant("canary", labels=CANARY, config=OLD, annotations=SLOW)
    others = [await story.tenant(f"other-{number}", config={**OLD, "own": "mine"}, annotations=SLOW) for number in range(4)]
    await story.ready()
    await story.policy()
    return canary, others


async def two_replicas(story: Story) -> tuple[OperatorProcess, OperatorProcess]:
    """Given two operators of which the first leads."""
    leader = await story.operator(elect=True, environment=SHORT_LEASE)

    async def leads() -> bool:
        return "leading as" in leader.log()  # the Lease may name who was killed in an earlier test

    await eventually(leads, saying="the first one leads")
    return leader, await story.operator(elect=True, environment=SHORT_LEASE)


async def holder(story: Story) -> str:
    """Return who holds the leader's Lease."""
    lease = await story.kube.find(LEASE, "tenantwave", OPERATOR_NAMESPACE)
    return str(((lease or {}).get("spec") or {}).get("holderIdentity") or "")


async def all_is_well(story: Story, upgrade: str, local_cluster: LocalCluster, mark: int) -> None:
    """Then everybody runs the new version with the right configuration, and each object was written as if nothing had happened."""
    await story.until(upgrade, "Succeeded")
    assert set((await story.images()).values()) == {f"{IMAGE}:2.4.0"}
    for tenant in story.tenants:
        assert await story.config(tenant) == (NEW if tenant.startswith("canary") else {**NEW, "own": "mine"})
    done = in_tenants(writes(local_cluster, mark), story.tenants)
    assert len(template_writes(done)) == len(story.tenants)
    assert twice(done) == []
    assert await story.leftovers() == []


async def test_standby_goes_on_when_the_leader_is_killed(story: Story, local_cluster: LocalCluster) -> None:
    """S9: the leader dies with a tenant in flight; the standby takes the Lease when it has run out, and ends the upgrade."""
    canary, _ = await fleet(story)
    mark = local_cluster.audit_mark()
    leader, _standby = await two_replicas(story)
    first = await holder(story)
    upgrade = await story.upgrade()
    await story.until_run(upgrade, canary, lambda run: run.get("state") == "Converging", "is in flight")
    await leader.kill()
    await all_is_well(story, upgrade, local_cluster, mark)
    assert await holder(story) not in ("", first)


async def test_leader_whose_lease_is_taken_stops_at_once(story: Story, local_cluster: LocalCluster) -> None:
    """S9: a stranger takes the Lease in mid-wave and never renews it. The old leader ends; the other replica waits, then goes on."""
    canary, _ = await fleet(story)
    mark = local_cluster.audit_mark()
    leader, standby = await two_replicas(story)
    upgrade = await story.upgrade()
    await story.until_run(upgrade, canary, lambda run: run.get("state") == "Converging", "is in flight")
    now = f"{datetime.now(UTC):%Y-%m-%dT%H:%M:%S.%fZ}"
    await story.kube.patch(
        LEASE, "tenantwave", OPERATOR_NAMESPACE, {"spec": {"holderIdentity": "a-stranger", "acquireTime": now, "renewTime": now}}
    )
    assert await leader.wait(30) == 1
    await all_is_well(story, upgrade, local_cluster, mark)
    assert standby.is_running


async def test_leader_that_slept_over_its_lease_does_no_harm(story: Story, local_cluster: LocalCluster) -> None:
    """S9: the leader is stopped in the midst of its work, the standby takes over and writes; then the old one wakes up and believes it leads."""
    canary, others = await fleet(story)
    mark = local_cluster.audit_mark()
    leader, standby = await two_replicas(story)
    first = await holder(story)
    upgrade = await story.upgrade()
    await story.until_run(upgrade, canary, lambda run: run.get("state") == "Converging", "is in flight")
    leader.pause()
    await eventually(lambda: is_held_by_another(story, first), saying="the standby leads")
    await story.until_run(upgrade, canary, lambda run: run.get("state") == "Succeeded", "was brought on by the standby")
    await story.edit(others[0], "own", "edited while it slept")
    leader.go_on()
    assert await leader.wait(30) == 1
    await story.edit(others[0], "own", "mine")
    await all_is_well(story, upgrade, local_cluster, mark)
    assert standby.is_running


async def is_held_by_another(story: Story, first: str) -> bool:
    """Tell whether somebody else holds the leader's Lease."""
    return await holder(story) not in ("", first)


async def test_outage_of_the_api_server_only_delays(story: Story, local_cluster: LocalCluster) -> None:
    """Half a minute without an API server in mid-wave: no harm, the same process goes on, nobody is taken back."""
    await fleet(story)
    mark = local_cluster.audit_mark()
    operator = await story.operator()
    upgrade = await story.upgrade()
    await eventually(lambda: is_any_in(story, upgrade, "other", "Converging"), saying="the second wave is in flight")
    local_cluster.stop_api_server()
    try:
        with pytest.raises(TimeoutError):  # it lives through the outage
            await operator.wait(30)
    finally:
        await asyncio.to_thread(local_cluster.start_api_server)
    await all_is_well(story, upgrade, local_cluster, mark)
    assert {"RollingBack", "Paused"}.isdisjoint(story.recorder.reasons[upgrade])


async def is_any_in(story: Story, upgrade: str, name: str, state: str) -> bool:
    """Tell whether a tenant whose name begins so is in a state."""
    return any(tenant.startswith(name) and now == state for tenant, now in (await story.states(upgrade)).items())


async def test_log_tells_the_story_once_and_without_traces(story: Story) -> None:
    """At INFO the log of a run is the story of the run: who started and how it ended, each once; no stack trace, nothing to worry about."""
    await fleet(story)
    operator = await story.operator()
    upgrade = await story.upgrade()
    await story.until(upgrade, "Succeeded")
    await operator.stop()
    log = operator.log()
    assert "Traceback" not in log
    assert [line for line in log.splitlines() if re.match(r"\S+ (WARNING|ERROR)", line)] == []
    for tenant in story.tenants:
        for event in ("TenantUpgradeStarted", "TenantUpgradeSucceeded"):
            assert log.count(f"{upgrade}, {tenant}: {event}") == 1, log
    for event in ("UpgradePlanned", "WaveStarted: wave canary", "WavePassed: wave canary", "WavePassed: wave rest", "UpgradeSucceeded"):
        assert log.count(f"{upgrade}: {event}") == 1, log
