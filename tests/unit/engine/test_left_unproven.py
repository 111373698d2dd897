"""A canary that is let go, or forgotten, while it soaks is not taken for proven: by the whole loop, in memory."""

from __future__ import annotations

from support.engine_story import CREATED, UPGRADE, EngineStory
from support.tenant_story import ACME
from tenantwave.api.kinds import INTENT_ANNOTATION, TENANT_RUN, TENANT_UPGRADE


async def soaking() -> EngineStory:
    """Return an upgrade whose tenant soaks."""
    story = EngineStory()
    await story.looks()
    assert (story.image(), story.run()["status"]["state"]) == ("shop/api:2.4.0", "Soaking")
    return story


async def test_a_tenant_whose_upgrade_is_deleted_and_made_again_soaks_again() -> None:
    """Nothing is written once more, and nothing is recorded as proven."""
    story = await soaking()
    body = story.cluster.see(TENANT_UPGRADE, "", UPGRADE)
    story.cluster.edit(TENANT_UPGRADE, "", UPGRADE, {"metadata": {"deletionTimestamp": CREATED}})
    await story.looks()
    assert story.run()["status"]["state"] == "Orphaned"
    if story.cluster.has(TENANT_UPGRADE, "", UPGRADE):  # else it went with its finalizer
        story.cluster.remove(TENANT_UPGRADE, "", UPGRADE)
    await story.looks()
    story.cluster.put(TENANT_UPGRADE, {"metadata": {"name": UPGRADE, "creationTimestamp": CREATED}, "spec": body["spec"]})
    await story.looks()
    status = story.run()["status"]
    assert (status["state"], status["message"]) == ("Soaking", "runs 2.4.0 since an earlier run; it must stay healthy")


async def test_a_tenant_whose_tenant_run_is_deleted_is_busy_and_not_done() -> None:
    """Its objects carry the marker of the run that is gone: a person is to look at what it left."""
    story = await soaking()
    story.cluster.remove(TENANT_RUN, story.run()["metadata"]["namespace"], story.run()["metadata"]["name"])
    await story.looks()
    status = story.run()["status"]
    assert (status["state"], status["reason"]) == ("Waiting", "TenantBusy")
    assert f"has {ACME}, and is gone: objects there carry its marker {INTENT_ANNOTATION}" in status["message"]
