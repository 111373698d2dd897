"""Whether a tenant has converged is told by a live look, also past `health.timeout`: never by what a cache shows, and never by the clock alone."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta

import pytest

from support.tenant_story import ACME, DEED_OF, S, Story
from tenantwave.api.conditions import FailReason
from tenantwave.api.tenant_run import TenantState
from tenantwave.core.plan import Step
from tenantwave.core.world import World

TIMEOUT = timedelta(minutes=10)
"""`health.timeout` of the story's upgrade: the default."""

MOMENT = timedelta(seconds=1)


async def converging() -> Story:
    """Return a tenant whose first component is written."""
    story = await Story().begin()
    await story.run(S.CONVERGING)
    return story


def never_ready(story: Story) -> None:
    """The Deployment's own status says so: no replica is available."""
    story.broken = lambda image: image == "shop/api:2.4.0"


def without_pod(story: Story) -> None:
    """The Deployment's status looks well, and no pod shows the new template."""
    story.cluster.play()
    story.cluster.objects.pop(("pods", ACME, "api-pod"))
    story.cluster.play = lambda broken=lambda image: False: None  # type: ignore[method-assign]


ILL: dict[str, tuple[Callable[[Story], None], str]] = {
    "no replica is available": (never_ready, "api did not converge within health.timeout: "),
    "no pod of the new template": (without_pod, "api did not converge within health.timeout: "),
}


@pytest.mark.parametrize(("make_ill", "words"), ILL.values(), ids=ILL)
async def test_past_the_timeout_a_live_look_fails_the_tenant(make_ill: Callable[[Story], None], words: str) -> None:
    """Until then it waits. It is taken back for what was seen, in words."""
    story = await converging()
    make_ill(story)
    story.clock.forward(TIMEOUT - MOMENT)
    await story.step()
    assert story.status.state is S.CONVERGING
    story.clock.forward(MOMENT)
    await story.step()
    assert (story.status.state, story.status.reason) == (S.ROLLING_BACK, FailReason.NOT_CONVERGED)
    assert story.status.message.startswith(words)
    assert story.status.message != words, "it says what is missing"


async def test_a_tenant_that_converged_late_is_not_failed_for_the_look_that_came_late() -> None:
    """We looked only an hour after the timeout, and it runs: that is what counts."""
    story = await converging()
    story.clock.forward(timedelta(hours=1))
    await story.step()
    assert (story.status.state, story.status.component) == (S.APPLYING, 1)


def blind_until_now(world: World, story: Story) -> World:
    """We did not see the cluster until a moment ago."""
    return replace(world, seen_since=story.clock.now() - MOMENT)


def shaken(world: World, story: Story) -> World:
    """The API server came back a moment ago: what it says of workloads may be late."""
    return replace(world, shaken_until=story.clock.now() + MOMENT)


OUTAGES: dict[str, Callable[[World, Story], World]] = {"we were blind": blind_until_now, "the server was away": shaken}


@pytest.mark.parametrize("outage", OUTAGES.values(), ids=OUTAGES)
async def test_time_of_an_outage_fails_nobody(outage: Callable[[World, Story], World]) -> None:
    """Outages cause delay, never a rollback."""
    story = await converging()
    never_ready(story)
    story.clock.forward(TIMEOUT)
    story.cluster.play(story.broken)
    await story.steps.execute(Step(ACME, DEED_OF[TenantState.CONVERGING]), outage(story.world(), story))
    assert story.status.state is S.CONVERGING
