"""Edits and deletion in the middle of a run: what supersedes it, what does not, and who is left as what."""

from __future__ import annotations

from typing import Any

from localcluster.client import eventually

from support.kstatus import conditions_of
from support.story import IMAGE, PROFILE, UPGRADE, Story, condition

CANARY = {"tenantwave.io/ring": "canary"}
OLD = {"pool": "10"}
SOAKS_LONG: list[dict[str, Any]] = [{"name": "canary", "selector": {"matchLabels": CANARY}, "soak": "5m"}, {"name": "rest", "soak": "1s"}]
SLOW = {"localcluster/ready-after": "4"}


async def soaking(story: Story) -> tuple[str, str, str]:
    """Given a canary that soaks for long, and another tenant that waits. Returns upgrade, canary, other."""
    for version, pool in (("2.3.1", "10"), ("2.4.0", "20"), ("2.5.0", "30")):
        await story.pristine(version, {"pool": pool})
    canary = await story.tenant("canary", labels=CANARY, config={**OLD, "own": "mine"})
    other = await story.tenant("other", config=OLD)
    await story.ready()
    await story.policy(waves=SOAKS_LONG)
    await story.operator()
    upgrade = await story.upgrade()
    await story.until_run(upgrade, canary, lambda run: run.get("state") == "Soaking", "soaks")
    return upgrade, canary, other


async def test_new_version_in_git_supersedes_the_run(story: Story) -> None:
    """S11: what soaks is judged anew under the next run, everybody ends at the version asked for last, and own edits are kept."""
    upgrade, canary, other = await soaking(story)
    first = (await story.kube.get(UPGRADE, upgrade))["status"]["run"]["id"]
    await story.policy(waves=[{"name": "all", "maxParallel": 2, "soak": "1s"}])
    await story.policy_seen()
    await story.upgrade(version="2.5.0")
    done = await story.until(upgrade, "Succeeded")
    run = done["status"]["run"]["id"]
    assert (run != first, run.endswith("-2-a1")) == (True, True)
    assert await story.images() == {canary: f"{IMAGE}:2.5.0", other: f"{IMAGE}:2.5.0"}
    assert (await story.config(canary), await story.config(other)) == ({"pool": "30", "own": "mine"}, {"pool": "30"})
    assert await story.leftovers() == []


async def test_release_edited_back_takes_back_what_came_from_it(story: Story) -> None:
    """S11: asked for the old version again, what soaks goes back to it as a rollback, without its window; nobody else is touched."""
    upgrade, canary, other = await soaking(story)
    await story.edit(canary, "mode", "careful")
    await story.upgrade(version="2.3.1")
    done = await story.until(upgrade, "Succeeded", "SucceededWithSkips", "RolledBack")
    assert set((await story.images()).values()) == {f"{IMAGE}:2.3.1"}
    assert await story.config(canary) == {**OLD, "own": "mine", "mode": "careful"}
    assert {await state for state in (_state(story, upgrade, canary), _state(story, upgrade, other))} <= {"Succeeded", "RolledBack"}
    assert condition(done, "Ready")["status"] == "True"
    assert await story.leftovers() == []


async def _state(story: Story, upgrade: str, tenant: str) -> str:
    return str((await story.run(upgrade, tenant))["state"])


async def test_edit_of_any_other_field_begins_no_run(story: Story) -> None:
    """S11: the generation is acknowledged on everything, the run goes on; `suspend` in mid-run is like Pause."""
    upgrade, canary, other = await soaking(story)
    first = (await story.kube.get(UPGRADE, upgrade))["status"]["run"]["id"]
    await story.upgrade(health={"timeout": "3m"}, suspend=True)
    shown = await story.until(upgrade, "Suspended")
    assert (shown["status"]["run"]["id"], shown["status"]["observedGeneration"]) == (first, 2)
    assert await story.states(upgrade) == {canary: "Soaking", other: "Queued"}
    await story.policy(waves=[{"name": "canary", "selector": {"matchLabels": CANARY}, "soak": "1s"}, {"name": "rest", "soak": "1s"}])
    await story.upgrade(health={"timeout": "3m"})
    shown = await story.until(upgrade, "Soaking")  # the policy of a run is the one that it was planned with
    assert shown["status"]["run"]["id"] == first
    assert shown["status"]["run"]["policy"]["generation"] == 1


async def test_edit_while_in_flight_lets_those_finish_first(story: Story) -> None:
    """S11: no more tenants start by the old spec; the one in flight finishes by it, and only then the new run begins."""
    canary = await story.tenant("canary", labels=CANARY, config={}, annotations=SLOW)
    other = await story.tenant("other", config={})
    await story.ready()
    await story.policy()
    await story.operator()
    upgrade = await story.upgrade()
    await story.until_run(upgrade, canary, lambda run: run.get("state") == "Converging", "is in flight")
    first = (await story.kube.get(UPGRADE, upgrade))["status"]["run"]["id"]
    await story.upgrade(version="2.5.0")
    seen = await story.until_so(upgrade, lambda body: body["status"]["observedGeneration"] == 2, "generation 2 is acknowledged")
    assert (seen["status"]["run"]["id"], conditions_of(seen)["Ready"]["status"]) == (first, "False")
    done = await story.until(upgrade, "Succeeded")
    assert done["status"]["run"]["id"] != first
    assert await story.images() == {canary: f"{IMAGE}:2.5.0", other: f"{IMAGE}:2.5.0"}


async def test_deletion_lets_those_in_flight_finish_and_go(story: Story) -> None:
    """S11: deletion is not Abort. In flight finishes, soaking stays and is named in an Event, nobody else is touched, the finalizer goes."""
    canary = await story.tenant("canary", labels=CANARY, config={}, annotations=SLOW)
    other = await story.tenant("other", config={})
    await story.ready()
    await story.policy(waves=SOAKS_LONG)
    await story.operator()
    upgrade = await story.upgrade()
    await story.until_run(upgrade, canary, lambda run: run.get("state") == "Converging", "is in flight")
    body = await story.kube.get(UPGRADE, upgrade)
    assert "tenantwave.io/cleanup" in body["metadata"]["finalizers"]
    await story.kube.delete(UPGRADE, upgrade)
    await story.kube.wait_gone(UPGRADE, upgrade)
    assert await story.images() == {canary: f"{IMAGE}:2.4.0", other: f"{IMAGE}:2.3.1"}
    assert (await story.run(upgrade, canary))["state"] == "Orphaned"
    assert await story.leftovers() == []
    event = await eventually(lambda: an_event(story, upgrade, "TenantsLeftSoaking"), saying="an Event names who was left")
    assert event is not None
    assert canary in event["note"]


async def test_deletion_takes_a_failing_tenant_back_first(story: Story) -> None:
    """S11: one in flight that fails after the deletion is rolled back before the upgrade is gone."""
    canary = await story.tenant("canary", labels=CANARY, config={}, deadline=5)
    await story.ready()
    await story.policy()
    await story.operator()
    upgrade = await story.upgrade(image=f"{IMAGE}:2.4.0-bad")
    await story.until_run(upgrade, canary, lambda run: run.get("state") == "Converging", "is in flight")
    await story.kube.delete(UPGRADE, upgrade)
    await story.kube.wait_gone(UPGRADE, upgrade)
    assert await story.image(canary) == f"{IMAGE}:2.3.1"
    assert (await story.run(upgrade, canary))["state"] == "RolledBack"
    assert await story.leftovers() == []


async def an_event(story: Story, name: str, reason: str, namespace: str = "default") -> dict[str, Any] | None:
    """Return an Event about an object of this name, None while there is none."""
    found = await story.kube.list("events.k8s.io/v1/Event", namespace)
    return next((event for event in found if event["reason"] == reason and event["regarding"]["name"] == name), None)


async def test_running_version_is_adopted_without_a_write(story: Story) -> None:
    """`suspend: true` at the version that the fleet runs: Succeeded, recorded in the profiles, and nothing written in any tenant."""
    await story.pristine("2.3.1", OLD)
    canary = await story.tenant("canary", labels=CANARY, config=OLD)
    edited = await story.tenant("edited", config={"pool": "15"})
    await story.ready()
    before = {tenant: await _content(story, tenant) for tenant in (canary, edited)}
    await story.policy()
    await story.operator()
    upgrade = await story.upgrade(version="2.3.1", suspend=True)
    done = await story.until(upgrade, "Succeeded")
    assert done["status"]["versions"] == [{"version": "2.3.1", "tenants": 2}]
    for tenant in (canary, edited):
        profile = await story.kube.wait_until(
            PROFILE, "tenant", tenant, lambda body: bool(body.get("status", {}).get("products")), saying="shows the version"
        )
        assert [(one["name"], one["version"]) for one in profile["status"]["products"]] == [(story.product, "2.3.1")]
        assert (await story.run(upgrade, tenant))["reason"] == "AlreadyAtRelease"
        assert await _content(story, tenant) == before[tenant]


async def _content(story: Story, tenant: str) -> list[str]:
    """Return the versions of a tenant's own objects: any write would move them. (A Deployment's moves with its pods, its generation does not.)"""
    deployment = await story.kube.get("apps/v1/Deployment", "api", tenant)
    config = await story.kube.get("ConfigMap", "app-config", tenant)
    return [
        str(deployment["metadata"]["generation"]),
        str(deployment["metadata"].get("annotations")),
        config["metadata"]["resourceVersion"],
    ]
