"""What people order by UpgradeActions: each is one command, answered once, and without any effect where it does not fit."""

from __future__ import annotations

import dataclasses
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import pytest
from localcluster import kubeconfig
from localcluster.client import ApiError, KubeClient, eventually

from support.clusters import OPERATOR_NAMESPACE
from support.kstatus import conditions_of
from support.story import ACTION, IMAGE, Story, condition

CANARY = {"tenantwave.io/ring": "canary"}
BECAUSE = "CHG-4411, agreed with the customer"


def waves(canary: dict[str, Any] | None = None, rest: dict[str, Any] | None = None) -> list[dict[str, Any]]:
    """Return two waves, with what is special about each."""
    return [
        {"name": "canary", "selector": {"matchLabels": CANARY}, "soak": "1s"} | (canary or {}),
        {"name": "rest", "maxParallel": 1, "soak": "1s"} | (rest or {}),
    ]


async def completed(story: Story, action: str) -> None:
    """Wait until an action has had its whole effect."""
    await story.kube.wait_until(ACTION, action, None, lambda body: condition(body, "Completed").get("status") == "True", saying="Completed")


@asynccontextmanager
async def people(story: Story, unique: Callable[[str], str], *names: str) -> AsyncIterator[list[tuple[str, KubeClient]]]:
    """Give people who may operate upgrades: their user names, each with a client of their own."""
    access, found = kubeconfig.read(story.cluster.kubeconfig), []
    users = [f"{unique(name)}@example.com" for name in names]
    await story.apply(
        {
            "apiVersion": "rbac.authorization.k8s.io/v1",
            "kind": "ClusterRoleBinding",
            "metadata": {"name": unique("people")},
            "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": f"{OPERATOR_NAMESPACE}-platform-operator"},
            "subjects": [{"kind": "User", "name": user, "apiGroup": "rbac.authorization.k8s.io"} for user in users],
        }
    )
    for user in users:
        client = KubeClient(dataclasses.replace(access, headers={**access.headers, "Impersonate-User": user}), field_manager="kubectl")
        found.append((user, await client.__aenter__()))
    try:
        yield found
    finally:
        for _, client in found:
            await client.__aexit__(None, None, None)


async def test_two_people_approve_before_a_wave_starts(story: Story, unique: Callable[[str], str]) -> None:
    """S10: one person counts once; nobody speaks for another; with the second person the wave starts."""
    await story.tenant("canary", labels=CANARY, config={})
    later = await story.tenant("later", config={})
    await story.ready()
    await story.policy(waves=waves(rest={"approval": {"when": "Before", "minimum": 2}}))
    await story.operator()
    upgrade = await story.upgrade()
    asked = await story.until(upgrade, "AwaitingApproval")
    assert "wave rest needs 2 of 2 approvals" in condition(asked, "Ready")["message"]
    assert asked["status"]["waves"][1]["state"] == "AwaitingApproval"
    async with people(story, unique, "ann", "bob") as ((ann, as_ann), (bob, as_bob)):

        async def refusal() -> str:  # an admission policy takes a moment to become active
            try:
                await story.act(upgrade, "Approve", wave="rest", client=as_ann, requestedBy=bob)
            except ApiError as error:
                return error.message if "requestedBy" in error.message else ""  # her rights take a moment, too
            return ""

        said = await eventually(refusal, saying="nobody speaks for another")
        assert "must have `requestedBy` equal to the user who creates it" in said
        for _ in range(2):
            assert await story.answer(await story.act(upgrade, "Approve", wave="rest", client=as_ann, requestedBy=ann)) == (
                True,
                "Accepted",
            )
        asked = await story.until_so(upgrade, lambda body: "1 of 2" in conditions_of(body)["Ready"]["message"], "one more is needed")
        assert await story.image(later) == f"{IMAGE}:2.3.1"
        await story.act(upgrade, "Approve", wave="rest", client=as_bob, requestedBy=bob)
    await story.until(upgrade, "Succeeded")
    late = await story.act(upgrade, "Approve", wave="rest")
    assert await story.answer(late) == (False, "NotApplicable")


async def test_rejected_after_its_soak_a_wave_goes_back(story: Story) -> None:
    """S10: Reject after the soak is like a Failing gate of the wave: all of it is taken back, the next wave is never touched."""
    canary = await story.tenant("canary", labels=CANARY, config={})
    later = await story.tenant("later", config={})
    await story.ready()
    await story.policy(waves=waves(canary={"approval": {"when": "After"}}))
    await story.operator()
    upgrade = await story.upgrade()
    await story.until(upgrade, "AwaitingApproval")
    assert await story.states(upgrade) == {canary: "Succeeded", later: "Queued"}
    reject = await story.act(upgrade, "Reject", wave="canary")
    await story.until(upgrade, "RolledBack")
    await completed(story, reject)
    assert set((await story.images()).values()) == {f"{IMAGE}:2.3.1"}
    assert (await story.run(upgrade, later))["reason"] == "RunEnded"


async def test_approved_after_its_soak_a_wave_passes(story: Story) -> None:
    """S10: the wave waits after its soak; an approval lets it pass."""
    await story.tenant("canary", labels=CANARY, config={})
    await story.tenant("later", config={})
    await story.ready()
    await story.policy(waves=waves(canary={"approval": {"when": "After"}}))
    await story.operator()
    upgrade = await story.upgrade()
    await story.until(upgrade, "AwaitingApproval")
    await story.act(upgrade, "Approve", wave="canary")
    done = await story.until(upgrade, "Succeeded")
    assert [wave["state"] for wave in done["status"]["waves"]] == ["Passed", "Passed"]


async def test_paused_upgrade_starts_nobody_until_resume(story: Story) -> None:
    """S10: Pause holds across an edit of the spec, too; who is in flight finishes; Resume goes on. A stale run's order is refused."""
    canary = await story.tenant("canary", labels=CANARY, config={})
    later = await story.tenant("later", config={})
    await story.ready()
    await story.policy(waves=waves(canary={"soak": "8s"}))
    await story.operator()
    upgrade = await story.upgrade()
    await story.until_run(upgrade, canary, lambda run: run.get("state") == "Soaking", "soaks")
    assert await story.answer(await story.act(upgrade, "Resume")) == (False, "NotApplicable")
    assert await story.answer(await story.act(upgrade, "Pause")) == (True, "Accepted")
    paused = await story.until(upgrade, "Paused")
    await story.until_run(upgrade, canary, lambda run: run.get("state") == "Succeeded", "finishes its soak")
    await story.until_run(upgrade, later, lambda run: run.get("state") == "Queued", "is not started")
    assert await story.answer(await story.act(upgrade, "Abort", run=f"{upgrade}-00000-1-a1", reason=BECAUSE)) == (False, "StaleRun")
    assert await story.answer(await story.act(upgrade, "Approve", wave="nobody")) == (False, "UnknownTarget")
    assert await story.answer(await story.act(upgrade, "Pause", run=paused["status"]["run"]["id"])) == (True, "Accepted")
    assert await story.answer(await story.act(upgrade, "Resume")) == (True, "Accepted")
    await story.until(upgrade, "Succeeded")


async def test_abort_takes_back_the_unproven_and_retry_goes_on(story: Story) -> None:
    """S10: who soaks goes back, who succeeded stays, who never started is skipped; Retry begins the next attempt with the others."""
    canary = await story.tenant("canary", labels=CANARY, config={"own": "mine"})
    first = await story.tenant("first", config={})
    last = await story.tenant("last", config={})
    await story.ready()
    await story.policy(waves=waves(rest={"soak": "5m", "maxParallel": 1, "orderBy": ["Name"]}))
    await story.operator()
    upgrade = await story.upgrade()
    await story.until_run(upgrade, first, lambda run: run.get("state") == "Soaking", "soaks")
    await story.until_run(upgrade, last, lambda run: run.get("state") == "Soaking", "soaks, too")
    third = await story.tenant("third", config={})  # joins with the next run only
    abort = await story.act(upgrade, "Abort", reason=BECAUSE)
    aborted = await story.until(upgrade, "Aborted")
    await completed(story, abort)
    assert BECAUSE in condition(aborted, "Ready")["message"]
    assert await story.states(upgrade) == {canary: "Succeeded", first: "RolledBack", last: "RolledBack"}
    assert await story.image(canary) == f"{IMAGE}:2.4.0"
    assert {await story.image(tenant) for tenant in (first, last, third)} == {f"{IMAGE}:2.3.1"}
    assert await story.answer(await story.act(upgrade, "Abort", reason=BECAUSE)) == (False, "NotApplicable")

    await story.policy(waves=waves())  # a repaired policy is taken by the next attempt
    await story.policy_seen()
    stale = aborted["status"]["run"]["id"]
    assert await story.answer(await story.act(upgrade, "Retry")) == (True, "Accepted")
    done = await story.until(upgrade, "Succeeded")
    assert (done["status"]["run"]["attempt"], done["status"]["run"]["id"]) == (2, stale.removesuffix("1") + "2")
    assert set((await story.images()).values()) == {f"{IMAGE}:2.4.0"}
    assert await story.answer(await story.act(upgrade, "Abort", run=stale, reason=BECAUSE)) == (False, "StaleRun")


async def test_skipped_tenant_is_never_touched(story: Story) -> None:
    """S10: SkipTenant takes a waiting tenant out; the rest succeeds with skips. A tenant that has started cannot be skipped."""
    canary = await story.tenant("canary", labels=CANARY, config={})
    later = await story.tenant("later", config={})
    await story.ready()
    await story.policy(waves=waves(canary={"soak": "5s"}))
    await story.operator()
    upgrade = await story.upgrade()
    await story.until_run(upgrade, canary, lambda run: run.get("state") == "Soaking", "soaks")
    assert await story.answer(await story.act(upgrade, "SkipTenant", tenants=[later], reason=BECAUSE)) == (True, "Accepted")
    assert await story.answer(await story.act(upgrade, "SkipTenant", tenants=[canary], reason=BECAUSE)) == (False, "NotApplicable")
    assert await story.answer(await story.act(upgrade, "SkipTenant", tenants=["nobody"], reason=BECAUSE)) == (False, "UnknownTarget")
    done = await story.until(upgrade, "SucceededWithSkips")
    assert (done["status"]["counts"]["succeeded"], done["status"]["counts"]["skipped"]) == (1, 1)
    run = await story.run(upgrade, later)
    assert (run["state"], run["reason"]) == ("Skipped", "SkippedByAction")
    assert await story.image(later) == f"{IMAGE}:2.3.1"


@pytest.mark.parametrize(
    ("resolution", "image", "state"),
    [("Rollback", "2.3.1", "RolledBack"), ("AcceptLive", "2.4.0", "Succeeded"), ("ForcePreImage", "2.3.1", "RolledBack")],
)
async def test_held_tenant_is_settled_by_a_person(story: Story, resolution: str, image: str, state: str) -> None:
    """S10: under `onFailure.tenant: Pause` a failed tenant stays as it is, Held, and the upgrade is Paused until somebody settles it."""
    await story.pristine("2.3.1", {"pool": "10"})
    await story.pristine("2.4.0", {"pool": "20"})
    canary = await story.tenant("canary", labels=CANARY, config={"pool": "10"}, deadline=5)
    await story.ready()
    await story.policy(waves=waves(), onFailure={"tenant": "Pause", "wave": "Pause"})
    await story.operator()
    upgrade = await story.upgrade(image=f"{IMAGE}:2.4.0-bad")
    await story.until(upgrade, "Paused")
    held = await story.run(upgrade, canary)
    assert (held["state"], held["reason"], await story.image(canary)) == ("Held", "NotConverged", f"{IMAGE}:2.4.0-bad")
    await story.edit(canary, "pool", "30")
    action = await story.act(upgrade, "Resolve", tenants=[canary], reason=BECAUSE, resolution=resolution)
    assert await story.answer(action) == (True, "Accepted")
    await story.until_run(upgrade, canary, lambda run: run.get("state") == state, f"is {state}")
    await completed(story, action)
    assert (await story.image(canary)).startswith(f"{IMAGE}:{image}")
    assert await story.config(canary) == {"pool": "10" if resolution == "ForcePreImage" else "30"}
    assert await story.leftovers() == []


async def test_orders_that_do_not_fit_say_so(story: Story) -> None:
    """An override of years, or of the past; without gates there is none to override; an upgrade that is not there is an unknown target."""
    await story.tenant("canary", labels=CANARY, config={})
    await story.ready()
    await story.policy(waves=waves(canary={"approval": {"when": "Before"}}))
    await story.operator()
    upgrade = await story.upgrade()
    await story.until(upgrade, "AwaitingApproval")
    lift: dict[str, Any] = {"wave": "canary", "lifts": ["TenantWindows"], "expireTime": "2030-01-01T00:00:00Z", "reason": BECAUSE}
    assert await story.answer(await story.act(upgrade, "OverrideWindow", **lift)) == (False, "NotApplicable")
    past = lift | {"expireTime": "2020-01-01T00:00:00Z"}
    assert await story.answer(await story.act(upgrade, "OverrideWindow", **past)) == (False, "Expired")
    assert await story.answer(await story.act(upgrade, "OverrideGate", wave="canary", reason=BECAUSE)) == (False, "NotApplicable")
    assert await story.answer(await story.act("nobody", "Pause", run="nobody-00000-1-a1")) == (False, "UnknownTarget")
    assert await story.answer(await story.act(upgrade, "Reject", wave="canary")) == (True, "Accepted")
    await story.until(upgrade, "Aborted")
