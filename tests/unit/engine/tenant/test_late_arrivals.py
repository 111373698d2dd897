"""A write of ours that was given up arrives while the tenant is taken back: at any moment, and the end is still true.

Found by the model (tests/model): between the last look at an object and the moment at which its marker comes off nobody would have seen it.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress

import pytest

from fakes import CrashNow, Late, Request
from support.tenant_story import ACME, S, Story, a_spec
from tenantwave.api.conditions import FailReason
from tenantwave.api.kinds import CONFIG_MAP, DEPLOYMENT
from tenantwave.api.tenant_run import IntentState
from tenantwave.faults import Fault

FIRST_WRITES = {"ConfigMap": "app-config", "Deployment": "api"}


async def a_tenant_with_a_write_on_its_way(is_held: Callable[[Request], bool]) -> Story:
    """Return a tenant that is ordered back while the first such write has neither arrived nor been refused."""
    story = await Story().begin()

    def hold(number: int, request: Request) -> None:
        if is_held(request):
            raise Late(CrashNow())

    story.cluster.before = hold
    with suppress(CrashNow):
        await story.run_until_death()
    story.cluster.before = lambda number, request: None
    story.restart()
    story.order_back()
    return story


def first_to(kind: str) -> Callable[[Request], bool]:
    """The write to the object of this kind that is written first."""
    return lambda request: (request.kind, request.name) == (kind, FIRST_WRITES[kind])


def once_at(moment: int, begin: int, act: Callable[[], None]) -> Callable[[int, Request], None]:
    """Act just before the write with this number, counted from `begin`."""

    def before(number: int, request: Request) -> None:
        if number - begin == moment:
            act()

    return before


@pytest.mark.parametrize("kind", FIRST_WRITES)
async def test_it_is_taken_back_whenever_it_arrives(kind: str) -> None:
    """The server takes it before any of the writes of the way back, if it still may: then it goes back, too."""
    untouched = (await Story().begin()).tenant_objects()
    for moment in range(1, 12):
        story = await a_tenant_with_a_write_on_its_way(first_to(kind))
        story.cluster.before = once_at(moment, len(story.cluster.writes), story.cluster.deliver)
        await story.run(S.ROLLED_BACK)
        story.cluster.deliver()
        assert (story.tenant_objects(), story.leftovers()) == (untouched, []), f"arrived before write {moment} of the way back"
        open_writes = [one.seq for one in story.status.intents if one.state is IntentState.ISSUED]
        assert open_writes == [], "what is over has no open question"


@pytest.mark.parametrize("kind", FIRST_WRITES)
async def test_stripped_at_once_it_is_still_never_called_rolled_back(kind: str) -> None:
    """It arrives, and an owner that applies its manifest again takes the marker off, all between two of our writes."""
    untouched = (await Story().begin()).tenant_objects()
    ends = set()
    for moment in range(1, 12):
        story = await a_tenant_with_a_write_on_its_way(first_to(kind))

        def arrive_and_strip(story: Story = story) -> None:
            story.cluster.deliver()
            for plural, name in ((CONFIG_MAP, "app-config"), (DEPLOYMENT, "api")):
                story.cluster.edit(plural, ACME, name, {"metadata": {"annotations": None}})

        story.cluster.before = once_at(moment, len(story.cluster.writes), arrive_and_strip)
        await story.run_to_rest()
        ends.add((story.status.state, story.status.reason))
        if story.status.state is S.ROLLED_BACK:
            assert story.tenant_objects() == untouched, f"arrived and stripped before write {moment} of the way back"
        else:
            assert (story.status.state, story.status.reason) == (S.ROLLBACK_FAILED, FailReason.AMBIGUOUS)
    assert len(ends) == 2, "early enough nobody can tell; too late it cannot arrive"


async def test_a_create_that_arrives_late_is_waited_for() -> None:
    """Nothing that is there can be moved to keep it from arriving, so the tenant is not called rolled back before the API server gave it up."""
    untouched = (await Story().begin()).tenant_objects()
    story = await a_tenant_with_a_write_on_its_way(
        lambda request: (request.verb, request.kind, request.namespace) == ("create", "ConfigMap", ACME)
    )
    for _ in range(5):
        with suppress(Fault):
            await story.step()
    assert story.status.state is S.ROLLING_BACK
    story.cluster.deliver()
    await story.run(S.ROLLED_BACK)
    assert (story.tenant_objects(), story.leftovers()) == (untouched, [])


async def test_of_two_creates_of_a_job_the_one_that_landed_is_known_as_such() -> None:
    """The first arrives just before the second, which is refused for it: the journal calls nothing landed that is not what stands there."""
    template = {"spec": {"template": {"spec": {"containers": [{"name": "run", "image": "shop/tools:2.4.0"}]}}}}
    story = await Story(spec=a_spec(hooks=[{"name": "migrate", "at": "PreApply", "jobTemplate": template}])).begin()
    creates: list[int] = []

    def before(number: int, request: Request) -> None:
        if (request.verb, request.kind) == ("create", "Job"):
            creates.append(number)
            if len(creates) == 1:
                raise Late(CrashNow())
            story.cluster.deliver()

    story.cluster.before = before
    with suppress(CrashNow):
        await story.run_until_death()
    story.restart()
    await story.run(S.SOAKING)
    assert len(creates) == 2
    said = [intent.state for intent in story.status.intents if intent.target.kind == "Job"]
    assert said == [IntentState.LANDED, IntentState.SUPERSEDED]
