"""An order is answered once its effect has come to every tenant that it names: what failed there, or had to wait, is done again."""

from __future__ import annotations

from datetime import timedelta

import pytest

from fakes import Request
from support.engine_story import UPGRADE, EngineStory
from support.tenant_story import ACME
from tenantwave.api.kinds import DEPLOYMENT, UPGRADE_ACTION
from tenantwave.api.meta import tenant_run_name
from tenantwave.faults import Conflict, Fault, Unavailable


async def a_held_tenant() -> EngineStory:
    """Given a tenant that is held before anything was written: somebody has paused its Deployment."""
    story = EngineStory()
    story.cluster.edit(DEPLOYMENT, ACME, "api", {"spec": {"paused": True}})
    await story.looks()
    assert story.run()["status"]["state"] == "Held"
    return story


def order(story: EngineStory, kind: str, **spec: object) -> None:
    """When a person orders something about it."""
    run = story.run()["status"]["run"]
    body = {"upgrade": UPGRADE, "run": run, "type": kind, "tenants": [ACME], "reason": "said so", **spec}
    story.cluster.put(UPGRADE_ACTION, {"metadata": {"name": "order", "creationTimestamp": "2026-12-06T02:00:00Z"}, "spec": body})


@pytest.mark.parametrize("fault", [Conflict("somebody was faster"), Unavailable("webhook down")], ids=["conflict", "outage"])
async def test_a_skip_whose_write_failed_is_done_again(fault: Fault) -> None:
    """Answered at once it would be said to be done, and never be done."""
    story = await a_held_tenant()
    order(story, "SkipTenant")
    failed: list[Request] = []

    def fail_once(number: int, request: Request) -> None:
        if request.kind == "TenantRun" and not failed:
            failed.append(request)
            raise fault

    story.cluster.before = fail_once
    await story.looks()
    story.clock.forward(timedelta(minutes=1))
    await story.looks()
    assert len(failed) == 1
    assert story.run()["status"]["state"] == "Skipped"
    conditions = {one["type"]: one["status"] for one in story.cluster.see(UPGRADE_ACTION, "", "order")["status"]["conditions"]}
    assert conditions == {"Accepted": "True", "Completed": "True"}


async def test_a_resolve_is_carried_out_once_where_another_tenant_is_behind() -> None:
    """It stays unanswered until it has come to both. Meanwhile the first, which fails once more, waits for another order."""
    story = EngineStory(tenants=(ACME, "beta"))
    for _ in range(6):
        await story.looks()
        story.clock.forward(timedelta(seconds=30))
    for tenant in story.tenants:
        containers = [dict(one) for one in story.cluster.see(DEPLOYMENT, tenant, "api")["spec"]["template"]["spec"]["containers"]]
        containers[0]["image"] = "shop/api:2.3.9"
        story.cluster.edit(DEPLOYMENT, tenant, "api", {"spec": {"template": {"spec": {"containers": containers}}}})
    order(story, "Abort", tenants=[])
    for _ in range(4):
        await story.looks()
        story.clock.forward(timedelta(seconds=30))
    assert story.run()["status"]["state"] == "RollbackFailed"
    turns: list[str] = []

    def beta_cannot_be_written(number: int, request: Request) -> None:
        if request.kind == "TenantRun" and request.name == tenant_run_name(UPGRADE, "beta"):
            raise Unavailable("webhook down")
        if request.kind == "TenantRun" and request.name == tenant_run_name(UPGRADE, ACME):
            turns.append(((request.body or {}).get("status") or {}).get("state", ""))

    story.cluster.before = beta_cannot_be_written
    story.cluster.remove(UPGRADE_ACTION, "", "order")
    order(story, "Resolve", resolution="Rollback", tenants=[ACME, "beta"])
    for _ in range(6):
        await story.looks()
        story.clock.forward(timedelta(seconds=10))
    assert turns == ["RollingBack", "RollbackFailed"]
