"""A suspended upgrade of many tenants is looked at in portions, and every tenant has its turn."""

from __future__ import annotations

from datetime import timedelta

from support.engine_story import UPGRADE, EngineStory
from tenantwave.api.kinds import DEPLOYMENT, TENANT_UPGRADE
from tenantwave.core.passes.previews import WHERE_WELL
from tenantwave.engine.reconcile import EFFECTS_PER_ROUND, PACED_AGAIN

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
    """More are due than one round takes; the round after it comes soon, and not when the first are due again."""
    story = EngineStory(tenants=tuple(f"t{number:03}" for number in range(260)))
    assert len(story.tenants) > EFFECTS_PER_ROUND
    story.cluster.edit(TENANT_UPGRADE, "", UPGRADE, {"spec": {"suspend": True}})
    story.reconciler.queue = asked = Asked()  # type: ignore[assignment]
    await story.looks()
    assert all("preview" in story.run(tenant)["status"] for tenant in story.tenants)
    story.cluster.edit(DEPLOYMENT, LAST, "api", {"spec": {"paused": True}})
    waited = timedelta(0)
    while "previewProblem" not in story.run(LAST)["status"]:
        waited += asked.delay
        assert waited <= WHERE_WELL + 2 * PACED_AGAIN
        story.clock.forward(asked.delay)
        await story.look()
    assert waited >= WHERE_WELL
