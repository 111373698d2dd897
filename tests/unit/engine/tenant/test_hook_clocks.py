"""How long a hook's Job may run: from when it is let run, not while nobody looks; and Jobs whose create arrives when their run is over."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from fakes import CrashNow, Request
from support.tenant_story import ACME, NEW, OWN, S, Story, a_spec
from tenantwave.api.kinds import INTENT_ANNOTATION, JOB, TENANT_RUN
from tenantwave.api.run_records import HookState
from tenantwave.core.plan import Deed, Step
from tenantwave.core.world import World
from tenantwave.faults import Conflict

TIMEOUT = timedelta(seconds=90)
ENDED_BY_US = TIMEOUT + timedelta(minutes=1)
MOMENT = timedelta(seconds=1)
MIGRATE = "shop-x-1-a1-migrate"


async def begun(image: str = "shop/tools:slow") -> Story:
    """A story with one irreversible migration, which runs until it is told to end."""
    pods = {"spec": {"containers": [{"name": "migrate", "image": image}]}}
    template = {"spec": {"template": pods}}
    migrate = {"name": "migrate", "at": "PreApply", "irreversible": True, "timeout": "90s", "jobTemplate": template}
    return await Story(spec=a_spec(hooks=[migrate])).begin()


async def running(**more: Any) -> Story:
    """The migration has just been let run."""
    story = await begun(**more)
    for _ in range(2):
        await story.step()
    assert story.cluster.see(JOB, ACME, MIGRATE)["spec"]["suspend"] is False
    return story


def state(story: Story) -> HookState:
    """Return what the journal says of the migration."""
    [record] = story.status.hooks
    return record.state


def finish(story: Story) -> None:
    """Let the migration end well."""
    story.cluster.edit(JOB, ACME, MIGRATE, {"status": {"conditions": [{"type": "Complete", "status": "True"}]}})


async def look(story: Story, world: Callable[[World], World] = lambda world: world) -> None:
    """Look at the Job once."""
    await story.steps.execute(Step(ACME, Deed.APPLY), world(story.world()))


@pytest.mark.parametrize("away", [TIMEOUT, ENDED_BY_US + MOMENT, timedelta(hours=12)], ids=str)
async def test_the_clock_begins_when_a_job_is_let_run(away: timedelta) -> None:
    """The operator dies when the Job is written down and does not run yet, and is away for long: it has its whole timeout all the same."""
    story = await begun()

    def die(number: int, request: Request) -> None:
        if (request.verb, request.kind) == ("merge", "Job"):
            raise CrashNow

    story.cluster.before = die
    with pytest.raises(CrashNow):
        await story.run_until_death()
    story.cluster.before = lambda number, request: None
    assert (state(story), story.cluster.see(JOB, ACME, MIGRATE)["spec"]["suspend"]) == (HookState.RUNNING, True)
    story.restart()
    story.clock.forward(away)
    for passed in (timedelta(0), MOMENT, ENDED_BY_US - 2 * MOMENT):
        story.clock.forward(passed)
        await story.step()
        assert (state(story), story.status.state) == (HookState.RUNNING, S.APPLYING)
        assert story.cluster.see(JOB, ACME, MIGRATE)["spec"]["suspend"] is False
    story.clock.forward(MOMENT)
    await story.step()
    assert (state(story), story.status.state) == (HookState.FAILED, S.HELD)


async def test_no_clock_runs_while_nobody_looks() -> None:
    """Its result may be late: the Job's own deadline holds meanwhile, and ours begins when we see again."""
    story = await running()
    story.clock.forward(timedelta(hours=1))
    back = story.clock.now() - MOMENT
    await look(story, lambda world: replace(world, seen_since=back))
    assert state(story) is HookState.RUNNING
    story.clock.forward(ENDED_BY_US - MOMENT)
    await look(story, lambda world: replace(world, seen_since=back))
    assert state(story) is HookState.FAILED


async def test_a_job_that_its_controller_starts_late_has_its_own_timeout() -> None:
    """A queue of Jobs held it, or nobody ran the Job controller: Kubernetes counts from its start, and so do we."""
    story = await running()
    story.clock.forward(TIMEOUT)
    story.cluster.edit(JOB, ACME, MIGRATE, {"status": {"startTime": f"{story.clock.now():%Y-%m-%dT%H:%M:%SZ}", "active": 1}})
    story.clock.forward(ENDED_BY_US - MOMENT)
    await look(story)
    assert state(story) is HookState.RUNNING
    story.clock.forward(MOMENT)
    await look(story)
    assert state(story) is HookState.FAILED


async def test_a_job_that_ends_at_the_last_moment_is_not_deleted() -> None:
    """Between our look and the delete it succeeds: what it did counts."""
    story = await running()
    story.clock.forward(ENDED_BY_US)

    def before(number: int, request: Request) -> None:
        if (request.verb, request.kind) == ("delete", "Job"):
            finish(story)

    story.cluster.before = before
    with pytest.raises(Conflict):
        await story.step()
    await story.step()
    assert state(story) is HookState.SUCCEEDED
    await story.run(S.SUCCEEDED)


@pytest.mark.parametrize(
    ("stands", "said"),
    [
        pytest.param({"status": {"active": 1}}, "without a result, and was deleted", id="it runs"),
        pytest.param({"spec": {"suspend": True}}, "while somebody else had it suspended", id="suspended"),
        pytest.param({}, f"without ever having a pod, and was deleted; `kubectl get events -n {ACME}", id="its pods are refused"),
    ],
)
async def test_the_message_says_what_it_did_instead_of_ending(stands: dict[str, Any], said: str) -> None:
    """Whoever reads it knows where to look: the Job is gone by then."""
    story = await running()
    story.cluster.edit(JOB, ACME, MIGRATE, stands)
    story.clock.forward(ENDED_BY_US)
    await story.step()
    [record] = story.status.hooks
    assert f"it ran into its timeout {said}" in record.message


# Jobs that come when their run is over


async def with_a_stray() -> Story:
    """A tenant that was rolled back, and in which the Job of that run then arrived; its next release is about to be prepared."""
    story = await begun("shop/tools:1")
    await story.step()
    await story.die_sending(lambda request: request.kind == "Job")
    story.order_back()
    await story.run(S.ROLLED_BACK)
    story.cluster.deliver()
    assert INTENT_ANNOTATION in story.cluster.see(JOB, ACME, MIGRATE)["metadata"]["annotations"]
    await story.release("2.4.1", NEW)
    return story


async def test_the_next_upgrade_removes_a_job_that_came_too_late() -> None:
    """It never ran, nobody knows of it, and it would stand there suspended for ever."""
    story = await with_a_stray()
    await story.run(S.SUCCEEDED)
    assert not story.cluster.has(JOB, ACME, MIGRATE)
    assert story.leftovers() == []


@pytest.mark.parametrize(
    "change",
    [
        pytest.param({"spec": {"suspend": False}}, id="somebody lets it run"),
        pytest.param({"metadata": {"annotations": {INTENT_ANNOTATION: None}}}, id="without our marker"),
        pytest.param({"metadata": {"annotations": {"tenantwave.io/let-run": "true"}}}, id="we had let it run"),
        pytest.param({"metadata": {"labels": {"tenantwave.io/run": "shop-x-2.4.1"}}}, id="of this run"),
        pytest.param({"metadata": {"labels": {"tenantwave.io/tenant": "other"}}}, id="copied from another tenant"),
    ],
)
async def test_no_other_job_is_removed(change: dict[str, Any]) -> None:
    """Only what is surely nobody's is deleted."""
    story = await with_a_stray()
    story.cluster.edit(JOB, ACME, MIGRATE, change)
    await story.run(S.SUCCEEDED)
    assert story.cluster.has(JOB, ACME, MIGRATE)


async def test_whoever_is_no_longer_in_charge_removes_nothing() -> None:
    """Another process has moved the TenantRun since: the Job may be of a run that has begun meanwhile."""
    story = await with_a_stray()
    await story.step()
    world = story.world()
    story.cluster.edit(TENANT_RUN, OWN, f"shop.{ACME}", {"status": {"epoch": story.status.epoch + 1}})
    with pytest.raises(Conflict):
        await look(story, lambda _: world)
    assert story.cluster.has(JOB, ACME, MIGRATE)
