"""AcceptLive writes nothing, and needs nothing that was saved: it is the way out where that is lost."""

from __future__ import annotations

import pytest

from support.tenant_story import ACME, S, Story
from tenantwave.api.action import Resolution
from tenantwave.api.conditions import FailReason, RunReason, SkipReason
from tenantwave.api.kinds import CONFIG_MAP, DEPLOYMENT, SECRET
from tenantwave.api.tenant_run import TenantRunStatus, TenantState
from tenantwave.core import tenant_run
from tenantwave.core.plan import Deed

OUTCOMES = {TenantState.SUCCEEDED: RunReason.RESOLVED, TenantState.SKIPPED: SkipReason.RESOLVED}


async def stuck_without_snapshots() -> Story:
    """A rollback cannot be finished, for all that was saved is gone."""
    story = await Story().begin()
    await story.run(S.SOAKING)
    for key in [key for key in story.cluster.objects if key[0] == SECRET.plural]:
        story.cluster.objects.pop(key)
    story.restart()
    story.order_back()
    await story.run(S.ROLLBACK_FAILED)
    assert story.status.reason == FailReason.SNAPSHOT_CORRUPT
    return story


def accepted(story: Story, state: TenantState) -> TenantRunStatus:
    """Return the end as the planner makes it."""
    ordered = story.status.model_copy(update={"resolution": Resolution.ACCEPT_LIVE})
    story.set_status(ordered)
    now = story.clock.now()
    return tenant_run.to(ordered, state, OUTCOMES[state], "by ops", now, completion_time=now).model_copy(update={"resolution": None})


@pytest.mark.parametrize("state", OUTCOMES, ids=str)
async def test_it_needs_no_snapshot(state: TenantState) -> None:
    """Markers and lock go, and nothing else in the tenant changes."""
    story = await stuck_without_snapshots()
    images, data = (story.image("api"), story.image("worker")), story.data("app-config")
    await story.step(Deed.LET_GO, outcome=accepted(story, state))
    assert (story.status.state, story.status.reason, story.status.resolution) == (state, OUTCOMES[state], None)
    assert story.leftovers() == []
    assert ((story.image("api"), story.image("worker")), story.data("app-config")) == (images, data)


async def test_it_needs_no_objects_either() -> None:
    """What the tenant has deleted meanwhile has no marker to take off."""
    story = await stuck_without_snapshots()
    story.cluster.objects.pop((CONFIG_MAP.plural, ACME, "app-config"))
    story.cluster.objects.pop((DEPLOYMENT.plural, ACME, "worker"))
    await story.step(Deed.LET_GO, outcome=accepted(story, S.SKIPPED))
    assert (story.status.state, story.leftovers()) == (S.SKIPPED, [])
