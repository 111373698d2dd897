"""A workload whose old pods do not come up: what was written before it goes back all the same, once there is nothing more to wait for."""

from __future__ import annotations

import pytest

from support.tenant_story import OLD, S, Story
from tenantwave.api.action import Resolution
from tenantwave.api.conditions import FailReason
from tenantwave.core import tenant_run
from tenantwave.core.plan import Deed


async def story_with_a_dead_worker() -> Story:
    """The worker, which was written last, is taken back first, and its old pods do not start."""
    story = await Story().begin()
    await story.run(S.SOAKING)
    story.broken = lambda image: image == "shop/worker:2.3.1"
    story.order_back()
    for _ in range(5):
        await story.step()
    return story


def shown(story: Story) -> tuple[str, str, bool]:
    """Return both images, and whether the configuration of the first component is as it was."""
    return story.image("api"), story.image("worker"), story.data("app-config") == OLD["app-config"]


async def test_before_the_deadline_each_waits_for_the_one_before() -> None:
    """The worker is back, and the api waits for it."""
    story = await story_with_a_dead_worker()
    assert (story.status.state, *shown(story)) == (S.ROLLING_BACK, "shop/api:2.4.0", "shop/worker:2.3.1", False)


async def test_past_the_deadline_the_others_go_back() -> None:
    """RollbackFailed stays, for the worker does not run; but nothing of the release stands any more. Once it runs, all ends well."""
    story = await story_with_a_dead_worker()
    late = "not taken back within rollback.deadline"
    story.set_status(tenant_run.failed(story.status, FailReason.GATE_FAILED, late, story.clock.now(), take_back=True))
    await story.step(Deed.TAKE_BACK)
    assert (story.status.state, *shown(story)) == (S.ROLLBACK_FAILED, "shop/api:2.3.1", "shop/worker:2.3.1", True)
    story.broken = lambda image: False
    for _ in range(3):
        await story.step(Deed.TAKE_BACK)
    assert (story.status.state, story.leftovers()) == (S.ROLLED_BACK, [])


@pytest.mark.parametrize("order", [Resolution.ROLLBACK, Resolution.FORCE_PRE_IMAGE])
async def test_an_order_takes_the_others_back(order: Resolution) -> None:
    """Who says Resolve has seen that the worker does not start."""
    story = await story_with_a_dead_worker()
    story.set_status(story.status.model_copy(update={"resolution": order}))
    await story.step(overwrite_later_edits=order is Resolution.FORCE_PRE_IMAGE)
    assert (story.status.state, *shown(story)) == (S.ROLLING_BACK, "shop/api:2.3.1", "shop/worker:2.3.1", True)
