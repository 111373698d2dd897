"""One round takes so many tenants and no more; every tenant has its turn."""

from __future__ import annotations

from contextlib import suppress
from datetime import timedelta
from itertools import pairwise
from typing import Any

import pytest

from support.engine_story import UPGRADE, EngineStory
from support.tenant_story import ACME, OLD, OWN
from tenantwave.api.kinds import CONFIG_MAP, DEPLOYMENT, INTENT_ANNOTATION, ROLLOUT_POLICY, TENANT_UPGRADE, UPGRADE_ACTION
from tenantwave.core.passes.previews import FOR_EACH, WHERE_WELL
from tenantwave.core.plan import Step
from tenantwave.core.world import World
from tenantwave.engine import reconcile
from tenantwave.engine.reconcile import PACED_AGAIN, PACED_PER_ROUND
from tenantwave.faults import Fault, Forbidden

LAST = "t259"


class Asked:
    """A queue that remembers how soon the upgrade wants to be looked at."""

    def __init__(self) -> None:
        self.delay = timedelta(0)

    def add(self, key: str) -> None:
        """At once."""
        self.delay = timedelta(0)

    def add_after(self, key: str, delay: timedelta) -> None:
        """After a while."""
        self.delay = delay


async def test_the_last_of_many_tenants_is_looked_at_again_as_soon_as_the_others() -> None:
    """More are due than one round takes, so that nothing else waits for long; the next comes soon, and not when the first are due again."""
    story = EngineStory(tenants=tuple(f"t{number:03}" for number in range(260)))
    assert len(story.tenants) > PACED_PER_ROUND
    story.cluster.edit(TENANT_UPGRADE, "", UPGRADE, {"spec": {"suspend": True}})
    story.reconciler.queue = asked = Asked()  # type: ignore[assignment]
    looked_at = [0]
    while not looked_at[-1] or looked_at[-1] != looked_at[-2]:
        await story.look()
        looked_at.append(sum("preview" in story.run(tenant)["status"] for tenant in story.tenants if story.has_run(tenant)))
    assert max(after - before for before, after in pairwise(looked_at)) == PACED_PER_ROUND
    assert all("preview" in story.run(tenant)["status"] for tenant in story.tenants)
    story.cluster.edit(DEPLOYMENT, LAST, "api", {"spec": {"paused": True}})
    waited = timedelta(0)
    while "previewProblem" not in story.run(LAST)["status"]:
        waited += asked.delay
        assert waited <= WHERE_WELL + len(story.tenants) * FOR_EACH + 2 * PACED_AGAIN
        story.clock.forward(asked.delay)
        await story.look()
    assert waited >= WHERE_WELL


async def test_tenants_that_cannot_go_back_leave_room_to_those_behind_them(monkeypatch: pytest.MonkeyPatch) -> None:
    """The pods of the first do not come up with the old image; the last are taken back all the same."""
    monkeypatch.setattr(reconcile, "EFFECTS_PER_ROUND", 2)
    story = EngineStory(tenants=("t0", "t1", "t2", "t3", "t4"))
    story.cluster.edit(ROLLOUT_POLICY, "", "standard", {"spec": {"rollback": {"maxParallel": "100%"}}})
    for tenant in ("t0", "t1"):
        containers = [{"name": "api", "image": "old.example.com/api:2.3.1"}]
        story.cluster.edit(DEPLOYMENT, tenant, "api", {"spec": {"template": {"spec": {"containers": containers}}}})
    await story.looks()
    story.broken = lambda image: image.startswith("old.")
    run = story.status().run
    assert run is not None
    spec = {"upgrade": UPGRADE, "run": run.id, "type": "Abort", "reason": "a bad release"}
    metadata = {"name": "abort", "creationTimestamp": f"{story.clock.now():%Y-%m-%dT%H:%M:%SZ}", "generation": 1}
    story.cluster.put(UPGRADE_ACTION, {"metadata": metadata, "spec": spec})
    for _ in range(60):
        await story.look()
        story.clock.forward(timedelta(seconds=1))
    assert {tenant: story.run(tenant)["status"]["state"] for tenant in story.tenants} == {
        "t0": "RollingBack", "t1": "RollingBack", "t2": "RolledBack", "t3": "RolledBack", "t4": "RolledBack",
    }  # fmt: skip


async def test_a_pace_is_kept_across_other_steps() -> None:
    """What is refused only when it is written is looked at, tried and held again; the clock stands still, so no second look is due."""
    story = EngineStory()
    same = OLD["app-config"]
    for version, target, data in (("2.3.1", "app-config", same), ("2.4.0", "app-config", same), ("2.4.0", "extra", {"a": "b"})):
        labels = {"tenantwave.io/product": "shop", "tenantwave.io/version": version}
        metadata = {"name": f"{target}-{version}", "namespace": OWN, "labels": labels, "annotations": {"tenantwave.io/target": target}}
        story.cluster.put(CONFIG_MAP, {"metadata": metadata, "data": dict(data)})

    def refuse(body: dict[str, Any]) -> None:
        metadata = body["metadata"]
        marker = metadata.get("annotations", {}).get(INTENT_ANNOTATION, "")
        if metadata.get("namespace") == ACME and metadata["name"] == "extra" and not marker.endswith("/0"):  # a dry-run has no number
            raise Forbidden("create ConfigMap acme/extra: a policy denied the request")

    story.cluster.mutate = refuse
    for _ in range(200):
        with suppress(Fault):
            await story.look()
    assert [reason for reason, _ in story.heard.notes].count("TenantUpgradeHeld") <= 2


async def test_what_nobody_expected_in_one_tenant_stops_no_other(monkeypatch: pytest.MonkeyPatch) -> None:
    """It is told as trouble of that tenant; the others are upgraded, and orders are answered."""
    story = EngineStory(tenants=("ill", "well"))
    inner = story.reconciler.steps.execute

    async def execute(step: Step, world: World) -> bool:
        if step.tenant == "ill":
            raise ValueError("nobody thought of this")
        return await inner(step, world)

    monkeypatch.setattr(story.reconciler.steps, "execute", execute)
    for _ in range(40):
        await story.look()
        story.clock.forward(timedelta(seconds=5))
    assert story.image("well") == "shop/api:2.4.0"
    assert ("TenantWorkFailing", "ill: unexpected ValueError") in {(reason, note[:26]) for reason, note in story.heard.notes}
    metadata = {"name": "wait", "creationTimestamp": f"{story.clock.now():%Y-%m-%dT%H:%M:%SZ}", "generation": 1}
    story.cluster.put(UPGRADE_ACTION, {"metadata": metadata, "spec": {"upgrade": UPGRADE, "type": "Pause", "reason": "a look"}})
    await story.look()
    assert story.cluster.see(UPGRADE_ACTION, "", "wait")["status"]["conditions"]
