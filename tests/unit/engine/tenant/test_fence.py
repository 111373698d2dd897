"""The end of a tenant's turn has effects that no intent announces: markers go, the record moves, the lock is given back. They are fenced."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest

from fakes import CrashNow, Request
from support.tenant_story import ACME, OWN, S, Story
from tenantwave.adapters.snapshots import SecretSnapshots
from tenantwave.api.conditions import FailReason, RunReason
from tenantwave.api.kinds import DEPLOYMENT, INTENT_ANNOTATION
from tenantwave.api.tenant_run import TenantRunStatus
from tenantwave.core import tenant_run
from tenantwave.core.plan import Deed, Step
from tenantwave.core.preservation import Rules, Subject
from tenantwave.engine.tenant.documents import ConfigDocument
from tenantwave.engine.tenant.intents import Ledger
from tenantwave.engine.tenant.run_handle import RunHandle
from tenantwave.faults import Conflict

Outcome = Callable[[Story], TenantRunStatus | None]


def orphaned(story: Story) -> TenantRunStatus:
    """What a deleted upgrade leaves of a tenant that soaks."""
    return tenant_run.to(story.status, S.ORPHANED, FailReason.DELETED, "the upgrade was deleted", story.clock.now())


def succeeded(story: Story) -> TenantRunStatus:
    """What a proven tenant ends with."""
    return tenant_run.succeeded(story.status, RunReason.UPGRADED, "proven", story.clock.now())


ENDS: dict[str, tuple[Deed, Outcome]] = {
    "finalise": (Deed.FINALISE, lambda story: None),
    "let go, orphaned": (Deed.LET_GO, orphaned),
    "let go, succeeded": (Deed.LET_GO, succeeded),
}


@pytest.mark.parametrize(("deed", "outcome"), ENDS.values(), ids=ENDS)
async def test_whoever_ends_a_turn_on_an_older_picture_changes_nothing_at_all(deed: Deed, outcome: Outcome) -> None:
    """The tenant soaked when it was decided to end its turn; meanwhile another process has ordered it back. Nothing is written, anywhere."""
    story = await Story().begin()
    await story.run(S.SOAKING)
    decided_on = story.world()
    step = Step(ACME, deed, outcome(story))
    story.order_back()
    before = everything(story)
    with pytest.raises(Conflict):
        await story.steps.execute(step, decided_on)
    assert everything(story) == before


@pytest.mark.parametrize(("deed", "outcome"), ENDS.values(), ids=ENDS)
async def test_what_is_taken_back_at_the_same_moment_is_taken_back_whole(deed: Deed, outcome: Outcome) -> None:
    """The rollback that was ordered still finds its markers and its lock, and ends as if nobody had come in between."""
    story = await Story().begin()
    undisturbed = story.tenant_objects()
    await story.run(S.SOAKING)
    decided_on, step = story.world(), Step(ACME, deed, outcome(story))
    story.order_back()
    with pytest.raises(Conflict):
        await story.steps.execute(step, decided_on)
    assert markers(story), "our writes are still marked: a rollback that dies half-way knows them by that"
    await story.run(S.ROLLED_BACK)
    assert (story.tenant_objects(), story.leftovers()) == (undisturbed, [])
    record = story.record()
    assert record is None or (record.version, record.rolled_back) == ("2.3.1", {"2.4.0": "shop-x-1-a1"})


async def test_the_lock_of_the_next_attempt_is_not_given_back_by_a_late_rollback() -> None:
    """Another process has ended the rollback, and a Retry has begun: the lock that stands now is the attempt's, and has the same holder."""
    story = await Story().begin()
    await story.run(S.SOAKING)
    story.order_back()
    story.broken = lambda image: image == "shop/api:2.3.1"
    for _ in range(3):
        await story.step()
    decided_on = story.world()  # all is written back, and the last component has yet to run
    story.broken = lambda image: False
    await story.run(S.ROLLED_BACK)
    again = story.status.model_copy(update={"state": S.PREFLIGHT, "attempt": 2, "intents": (), "take_back": None, "written": False})
    story.set_status(again)
    await story.run(S.APPLYING)
    before = everything(story)
    with pytest.raises(Conflict):
        await story.steps.execute(Step(ACME, Deed.TAKE_BACK), decided_on)
    assert everything(story) == before
    await story.run(S.SUCCEEDED)


async def test_the_lock_is_not_given_back_by_a_late_preflight_that_fails() -> None:
    """Another process has found the tenant well and writes in it; ours finds it paused, and would hold it with nothing written."""
    story = await Story().begin()
    decided_on = story.world()
    await story.run(S.CONVERGING)
    story.cluster.edit(DEPLOYMENT, ACME, "worker", {"spec": {"paused": True}})
    before = everything(story)
    with pytest.raises(Conflict):
        await story.steps.execute(Step(ACME, Deed.PREPARE), decided_on)
    assert everything(story) == before


def everything(story: Story) -> str:
    """Return all that is stored, resourceVersions included."""
    return json.dumps({str(key): body for key, body in sorted(story.cluster.objects.items())}, sort_keys=True)


def markers(story: Story) -> list[Any]:
    """Return the objects of the tenant that carry our marker."""
    return [
        key
        for key, body in story.cluster.objects.items()
        if key[1] == ACME and INTENT_ANNOTATION in (body["metadata"].get("annotations") or {})
    ]


async def test_a_late_end_leaves_the_marker_of_a_write_that_it_does_not_know() -> None:
    """A process has fenced its end and falls asleep; meanwhile the tenant is ordered back, and whoever takes it back dies after a write.

    Without its marker nobody could tell that it landed, and a person would be called (found by the model, tests/model).
    """
    story = await Story().begin()
    await story.run(S.SOAKING)
    stored = story.world().tenants[ACME].run
    assert stored is not None
    sleeper = Ledger(story.cluster, SecretSnapshots(story.cluster, OWN), RunHandle(story.cluster, OWN, stored))
    document = ConfigDocument(ACME, "worker-config", Rules.of(story.spec.preservation), Subject("worker-config", "2.4.0", "shop 2.3.1"))
    story.order_back()

    def die(number: int, request: Request) -> None:
        if (request.kind, request.name) == ("ConfigMap", "worker-config"):
            raise CrashNow

    story.cluster.after = die
    with pytest.raises(CrashNow):
        await story.run_until_death()
    marked = markers(story)
    with pytest.raises(Conflict):
        await sleeper.unmark(document)
    assert markers(story) == marked
    story.cluster.after = lambda number, request: None
    story.restart()
    await story.run(S.ROLLED_BACK)
