"""An upgrade that was rolled back, deleted and made again, as it happens when its file moves in git: by the whole loop, in memory."""

from __future__ import annotations

from typing import Any

import pytest

from support.engine_story import CREATED, UPGRADE, EngineStory
from support.tenant_story import ACME
from tenantwave.api.kinds import TENANT_UPGRADE, UPGRADE_ACTION


def order(story: EngineStory, kind: str) -> None:
    """Let a person create an UpgradeAction for the present run."""
    spec = {"upgrade": UPGRADE, "run": story.status().run.id, "type": kind, "reason": "CHG-4411 agreed"}  # type: ignore[union-attr]
    metadata = {"name": f"order-{kind.lower()}-{len(story.cluster.writes)}", "creationTimestamp": CREATED}
    story.cluster.put(UPGRADE_ACTION, {"metadata": metadata, "spec": spec})


async def rolled_back() -> EngineStory:
    """Return an upgrade that soaked, and was aborted."""
    story = EngineStory()
    await story.looks()
    assert story.image() == "shop/api:2.4.0"
    order(story, "Abort")
    await story.looks()
    assert (story.image(), story.run()["status"]["state"]) == ("shop/api:2.3.1", "RolledBack")
    return story


async def made_again(story: EngineStory, **edits: Any) -> None:
    """Delete the upgrade, and create it once more; then let the operator look."""
    body = story.cluster.see(TENANT_UPGRADE, "", UPGRADE)
    assert not body["metadata"].get("finalizers"), "nothing in any tenant is to be settled"
    story.cluster.remove(TENANT_UPGRADE, "", UPGRADE)
    await story.looks()
    story.cluster.put(TENANT_UPGRADE, {"metadata": {"name": UPGRADE, "creationTimestamp": CREATED}, "spec": body["spec"] | edits})
    await story.looks()


@pytest.mark.parametrize("times", [1, 2])
async def test_it_is_not_tried_again_until_a_person_says_so(times: int) -> None:
    """Held, with what to do; Retry tries it, and says of which run."""
    story = await rolled_back()
    first = story.run()["status"]["run"]
    for _ in range(times):
        await made_again(story)
    status = story.run()["status"]
    assert (status["state"], status["reason"], status["rolledBackVersion"]) == ("Held", "AlreadyRolledBack", "2.4.0")
    assert f"was rolled back here by run {first}" in status["message"]
    assert story.image() == "shop/api:2.3.1"
    ready = story.condition("Ready")
    assert ready is not None
    assert ready.reason == "Held"
    assert f"{ACME} held: AlreadyRolledBack" in ready.message
    order(story, "Retry")
    await story.looks()
    assert story.image() == "shop/api:2.4.0"
    assert (story.run()["status"]["state"], story.run()["status"]["retryOf"]) == ("Soaking", first)


async def test_with_another_meaning_it_is_a_new_run() -> None:
    """An edit is a wish to try."""
    story = await rolled_back()
    await made_again(story, preservation={"onUnknownBase": "TenantWins"})
    assert story.image() == "shop/api:2.4.0"
    assert story.run()["status"]["state"] == "Soaking"


async def test_a_restart_in_between_changes_nothing() -> None:
    """The journal of the upgrade that is gone tells what it asked for."""
    story = await rolled_back()
    body = story.cluster.see(TENANT_UPGRADE, "", UPGRADE)
    story.cluster.remove(TENANT_UPGRADE, "", UPGRADE)
    story.restart()
    story.cluster.put(TENANT_UPGRADE, {"metadata": {"name": UPGRADE, "creationTimestamp": CREATED}, "spec": body["spec"]})
    story.restart()
    await story.looks()
    assert (story.run()["status"]["state"], story.image()) == ("Held", "shop/api:2.3.1")
