"""What comes of each Resolve, from each state that needs one: the whole table, through the planner and every step in the tenant."""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable
from contextlib import suppress
from datetime import timedelta
from typing import Any

import pytest

from support.engine_story import UPGRADE, EngineStory
from support.tenant_story import ACME
from tenantwave.api.kinds import DEPLOYMENT, INTENT_ANNOTATION, ROLLOUT_POLICY, UPGRADE_ACTION
from tenantwave.faults import Fault, Forbidden

OLD, NEW, FOREIGN = "shop/api:2.3.1", "shop/api:2.4.0", "shop/api:9.9.9"

Start = Callable[[], Awaitable[EngineStory]]


def breaks(story: EngineStory, *images: str) -> None:
    """Let no pod of these images become Ready from now on."""
    story.broken = lambda image: image in images


def set_image(story: EngineStory, image: str) -> None:
    """Let somebody else set the version."""
    containers = [{"name": "api", "image": image}]
    story.cluster.edit(DEPLOYMENT, ACME, "api", {"spec": {"template": {"spec": {"containers": containers}}}})


async def looks(story: EngineStory, count: int = 1) -> None:
    """Look some times. A fault means: look again."""
    for _ in range(count):
        with suppress(Fault):
            await story.look()


async def until(story: EngineStory, state: str) -> EngineStory:
    """Look until the tenant is there."""
    for _ in range(60):
        if story.run()["status"]["state"] == state:
            return story
        await looks(story)
        story.clock.forward(timedelta(minutes=1))
    said = story.run()["status"]
    raise AssertionError(f"{said['state']}: {said.get('reason')}: {said.get('message')}, not {state}")


async def started(**failure: str) -> EngineStory:
    """Given an upgrade that has begun."""
    story = EngineStory()
    if failure:
        story.cluster.edit(ROLLOUT_POLICY, "", "standard", {"spec": {"onFailure": failure}})
    await looks(story, 2)
    return story


async def held_before_a_write() -> EngineStory:
    """Somebody has paused the Deployment."""
    story = await started()
    story.cluster.edit(DEPLOYMENT, ACME, "api", {"spec": {"paused": True}})
    return await until(story, "Held")


async def held_after_a_write() -> EngineStory:
    """No pod of the release becomes Ready, and the policy pauses instead of taking back."""
    story = await started(tenant="Pause", wave="Pause")
    breaks(story, NEW)
    return await until(story, "Held")


async def held_with_a_foreign_version() -> EngineStory:
    """Somebody else has set another version while it soaked."""
    story = await until(await started(), "Soaking")
    set_image(story, FOREIGN)
    return await until(story, "Held")


async def stuck_on_the_way_back() -> EngineStory:
    """Nor does any pod of the old version become Ready any more."""
    story = await started()
    breaks(story, NEW, OLD)
    return await until(story, "RollbackFailed")


async def stuck_at_a_foreign_version() -> EngineStory:
    """Somebody else set another version when the rollback was about to begin."""
    story = await until(await held_after_a_write(), "Held")
    set_image(story, FOREIGN)
    order(story, "Rollback")
    return await until(story, "RollbackFailed")


ORDERS = iter(range(10_000))


def order(story: EngineStory, resolution: str) -> str:
    """Create the action that the TenantRun offers for this, as a person would paste it. Returns its name."""
    offered = [one for one in story.run()["status"]["commands"] if resolution in one]
    assert offered or resolution == "ForcePreImage", story.run()["status"]["commands"]
    run, name = story.run()["status"]["run"], f"order-{next(ORDERS)}"
    default: dict[str, Any] = {
        "upgrade": UPGRADE,
        "run": run,
        "type": "Resolve",
        "tenants": [ACME],
        "resolution": resolution,
        "reason": "said so",
    }
    spec = json.loads(offered[0].split("'")[1])["spec"] if offered else default
    story.cluster.put(UPGRADE_ACTION, {"metadata": {"name": name, "creationTimestamp": "2026-12-06T02:00:00Z"}, "spec": spec})
    return name


TABLE: dict[str, tuple[Start, str, str, str]] = {
    "held after a write, Rollback": (held_after_a_write, "Rollback", "RolledBack", OLD),
    "held after a write, AcceptLive": (held_after_a_write, "AcceptLive", "Succeeded", NEW),
    "held after a write, ForcePreImage": (held_after_a_write, "ForcePreImage", "RolledBack", OLD),
    "held with a foreign version, Rollback": (held_with_a_foreign_version, "Rollback", "RollbackFailed", FOREIGN),
    "held with a foreign version, AcceptLive": (held_with_a_foreign_version, "AcceptLive", "Skipped", FOREIGN),
    "held with a foreign version, ForcePreImage": (held_with_a_foreign_version, "ForcePreImage", "RolledBack", OLD),
    "stuck on the way back, Rollback": (stuck_on_the_way_back, "Rollback", "RollbackFailed", OLD),
    "stuck on the way back, AcceptLive": (stuck_on_the_way_back, "AcceptLive", "Skipped", OLD),
    "stuck on the way back, ForcePreImage": (stuck_on_the_way_back, "ForcePreImage", "RollbackFailed", OLD),
    "stuck at a foreign version, Rollback": (stuck_at_a_foreign_version, "Rollback", "RollbackFailed", FOREIGN),
    "stuck at a foreign version, AcceptLive": (stuck_at_a_foreign_version, "AcceptLive", "Skipped", FOREIGN),
    "stuck at a foreign version, ForcePreImage": (stuck_at_a_foreign_version, "ForcePreImage", "RolledBack", OLD),
}


@pytest.mark.parametrize(("start", "resolution", "state", "image"), TABLE.values(), ids=TABLE)
async def test_what_comes_of_it(start: Start, resolution: str, state: str, image: str) -> None:
    """State, image, marker, lock, and the order's own answer. What could not be taken back still offers what to do."""
    story = await start()
    name = order(story, resolution)
    if state == "RollbackFailed":
        await until(story, "RollingBack")
    await until(story, state)
    await looks(story, 3)
    status = story.run()["status"]
    assert (status["state"], story.image()) == (state, image)
    conditions = {one["type"]: one["status"] for one in story.cluster.see(UPGRADE_ACTION, "", name)["status"]["conditions"]}
    is_settled = state != "RollbackFailed"
    assert conditions == {"Accepted": "True", "Completed": "True" if is_settled else "False"}
    assert bool(status.get("commands")) is not is_settled
    marked = INTENT_ANNOTATION in (story.cluster.see(DEPLOYMENT, ACME, "api")["metadata"].get("annotations") or {})
    locked = any(key[0] == "leases" for key in story.cluster.objects)
    assert (marked, locked) == (not is_settled, not is_settled)


@pytest.mark.parametrize(("resolution", "state"), [("Rollback", "RolledBack"), ("ForcePreImage", "RolledBack"), ("AcceptLive", "Skipped")])
async def test_held_before_a_write_nothing_is_written(resolution: str, state: str) -> None:
    """Whatever is ordered, the tenant is as it was; SkipTenant is what is offered."""
    story = await held_before_a_write()
    before = story.cluster.see(DEPLOYMENT, ACME, "api")["spec"]
    (offered,) = story.run()["status"]["commands"]
    assert "SkipTenant" in offered
    body = {"upgrade": UPGRADE, "run": story.run()["status"]["run"], "type": "Resolve", "tenants": [ACME], "reason": "said so"}
    metadata = {"name": "order", "creationTimestamp": "2026-12-06T02:00:00Z"}
    story.cluster.put(UPGRADE_ACTION, {"metadata": metadata, "spec": body | {"resolution": resolution}})
    await until(story, state)
    assert story.cluster.see(DEPLOYMENT, ACME, "api")["spec"] == before
    assert not any(key[0] == "leases" for key in story.cluster.objects)


async def test_what_is_left_is_told_by_path_and_digest() -> None:
    """The field, what stands there and what is to stand there; no values."""
    story = await stuck_at_a_foreign_version()
    await looks(story, 2)
    (left,) = [one for one in story.run()["status"]["differences"] if one["path"].endswith("/image")]
    assert (left["kind"], left["name"]) == ("Deployment", "api")
    assert left["live"] != left["goal"]
    assert {len(left["live"]), len(left["goal"])} == {71}
    assert FOREIGN not in json.dumps(story.run()["status"]["differences"])
    exceptions = story.status().exceptions
    assert "kubectl create" in exceptions[0].message


async def test_a_rollback_that_was_only_late_ends_by_itself() -> None:
    """It is tried again every five minutes, no oftener, and nobody is needed once the pods come up."""
    story = await stuck_on_the_way_back()
    await looks(story, 3)
    count = len(story.cluster.writes)
    await looks(story, 10)
    assert len(story.cluster.writes) == count
    breaks(story)
    story.clock.forward(timedelta(minutes=5))
    await until(story, "RolledBack")
    assert not any(key[0] == "leases" for key in story.cluster.objects)


async def test_a_rollback_without_room_ends_by_itself_when_there_is_room() -> None:
    """403 for a quota is no refusal for good."""
    story = await until(await started(), "Soaking")
    real, is_full = story.cluster.strategic_patch, [True]

    async def patch(*args: Any, **more: Any) -> Any:
        if is_full[0]:
            raise Forbidden("exceeded quota: few", quota=True)
        return await real(*args, **more)

    story.cluster.strategic_patch = patch  # type: ignore[method-assign]
    run = story.run()["status"]["run"]
    body = {"upgrade": UPGRADE, "run": run, "type": "Abort", "reason": "said so"}
    story.cluster.put(UPGRADE_ACTION, {"metadata": {"name": "abort", "creationTimestamp": "2026-12-06T02:00:00Z"}, "spec": body})
    await until(story, "RollbackFailed")
    assert story.run()["status"]["reason"] == "QuotaExceeded"
    is_full[0] = False
    story.clock.forward(timedelta(minutes=5))
    await until(story, "RolledBack")
