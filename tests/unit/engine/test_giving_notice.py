"""Giving notice: what a live upgrade wants told lands in the tenant's profile once, and its worker hears of it."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

import pytest

from fakes import Request
from support.engine_story import UPGRADE
from support.tenant_story import ACME
from support.tenants_story import RUN, TenantsStory
from tenantwave.api.kinds import ROLLOUT_POLICY, TENANT_PROFILE, TENANT_UPGRADE
from tenantwave.api.meta import PROFILE_NAME
from tenantwave.api.tenant_run import TenantRunStatus, TenantState
from tenantwave.api.upgrade import Notice
from tenantwave.core.calendar import NoticeRecord
from tenantwave.core.journal import TakeBackOrder
from tenantwave.core.notices import notice_digest
from tenantwave.faults import Conflict, OutcomeUnknown

WORDS = {"title": "Shop 2.4", "changes": "A new basket page.", "risks": "Old bookmarks are redirected."}
DIGEST = notice_digest(Notice.model_validate(WORDS), "shop", "2.4.0")
HOUR = timedelta(hours=1)


def wanting(**changes: Any) -> TenantRunStatus:
    """Return a TenantRun that waits, and wants its tenant told."""
    fields: dict[str, Any] = {"state": TenantState.WAITING, "run": RUN, "to_version": "2.4.0", "notice_digest": DIGEST}
    return TenantRunStatus(**(fields | changes))


async def told() -> TenantsStory:
    """Return a tenant that was told."""
    story = TenantsStory()
    story.edit_upgrade({"notice": WORDS})
    story.begin()
    story.plan(wanting())
    await story.settle()
    assert story.notices() == [("Shop 2.4", story.clock.now())]
    return story


async def test_it_lands_in_the_profile_and_wakes_the_upgrade() -> None:
    story = TenantsStory()
    await story.settle()
    story.edit_upgrade({"notice": WORDS})
    story.begin()
    story.plan(wanting())
    story.watch()
    story.awake["upgrade"].clear()
    await story.settle()
    (given,) = story.given()
    assert given.model_dump(include={*WORDS}) == WORDS
    assert (given.upgrade, given.version, given.digest, given.time) == (UPGRADE, "2.4.0", DIGEST, story.clock.now())
    assert story.awake["upgrade"] == {UPGRADE}, "what the profile shows is the proof, and starts the clock"
    assert story.world().tenants[ACME].told == (NoticeRecord("2.4.0", DIGEST, given.time),)


async def test_it_is_given_once() -> None:
    story = await told()
    first = story.given()
    for _ in range(3):
        story.clock.forward(HOUR)
        story.restart()
        await story.settle()
    assert story.given() == first


async def test_the_answer_to_the_write_is_lost() -> None:
    """The write arrived, nobody knows; or it did not. Either way it is given once."""
    for arrives in (True, False):
        story = TenantsStory()
        await story.settle()
        story.edit_upgrade({"notice": WORDS})
        story.begin()
        story.plan(wanting())
        begun = story.clock.now()
        lost: list[Request] = []

        def lose(_: int, request: Request, lost: list[Request] = lost) -> None:
            if request.kind == "TenantProfile" and not lost:
                lost.append(request)
                raise OutcomeUnknown("the connection broke")

        setattr(story.cluster, "after" if arrives else "before", lose)
        with pytest.raises(OutcomeUnknown):
            await story.settle()
        story.clock.forward(HOUR)
        story.restart()
        await story.settle()
        assert story.notices() == [("Shop 2.4", begun if arrives else begun + HOUR)]


async def test_somebody_else_wrote_the_status_meanwhile() -> None:
    """A process that was the leader before gives the same notice an instant earlier: its time stands."""
    story = await told()
    first = story.given()
    story.cluster.edit(TENANT_PROFILE, ACME, PROFILE_NAME, {"status": {"notices": None}})
    story.watch()
    story.clock.forward(HOUR)
    document = [notice.document() for notice in first]

    def be_faster(_: int, request: Request) -> None:
        if request.kind == "TenantProfile":
            story.cluster.before = lambda number, other: None
            story.cluster.edit(TENANT_PROFILE, ACME, PROFILE_NAME, {"status": {"notices": document}})

    story.cluster.before = be_faster
    with pytest.raises(Conflict):
        await story.profiles.reconcile(ACME)
    await story.settle()
    assert story.given() == first


async def test_a_profile_that_lost_its_status_shows_the_time_on_record() -> None:
    story = await told()
    given = story.given()
    story.plan(wanting(notice_time=given[0].time))
    story.clock.forward(24 * HOUR)
    story.cluster.remove(TENANT_PROFILE, ACME, PROFILE_NAME)
    await story.settle()
    assert story.given() == given
    story.cluster.edit(TENANT_PROFILE, ACME, PROFILE_NAME, {"status": {"notices": None}})
    await story.settle()
    assert story.given() == given


async def test_other_words_are_another_notice_and_the_first_stays_on_record() -> None:
    story = await told()
    first = story.given()
    story.clock.forward(HOUR)
    words = WORDS | {"risks": "None."}
    story.edit_upgrade({"notice": words})
    await story.settle()
    assert story.given() == first, "the upgrade's worker has not asked for it yet"
    story.plan(wanting(notice_digest=notice_digest(Notice.model_validate(words), "shop", "2.4.0")))
    await story.settle()
    assert [(notice.risks, notice.time) for notice in story.given()] == [
        ("None.", story.clock.now()),
        ("Old bookmarks are redirected.", first[0].time),
    ]
    assert len(story.world().tenants[ACME].told) == 2


async def test_words_that_were_edited_since_are_not_given_under_the_old_digest() -> None:
    story = TenantsStory()
    story.edit_upgrade({"notice": WORDS | {"risks": "None."}})
    story.begin()
    story.plan(wanting())
    await story.settle()
    assert story.notices() == []
    story.edit_upgrade({"notice": WORDS})
    await story.settle()
    assert story.notices() == [("Shop 2.4", story.clock.now())], "the edit alone wakes the tenant's profile"


@pytest.mark.parametrize("what", ["suspended", "ended", "going back", "being deleted", "of another upgrade of that name", "unreadable"])
async def test_nobody_is_told_of_an_upgrade_that_is_not_live(what: str) -> None:
    story = TenantsStory()
    await story.settle()
    story.edit_upgrade({"notice": WORDS})
    now = story.clock.now()
    match what:
        case "ended":
            story.begin(completion_time=now)
        case "going back":
            story.begin(order=TakeBackOrder(reason="Aborted", message="aborted by ann", time=now))
        case _:
            story.begin()
    story.plan(wanting())
    match what:
        case "suspended":
            story.edit_upgrade({"suspend": True})
        case "being deleted":
            story.cluster.edit(TENANT_UPGRADE, "", UPGRADE, {"metadata": {"deletionTimestamp": "2026-12-06T02:00:00Z"}})
        case "of another upgrade of that name":
            spec = story.cluster.see(TENANT_UPGRADE, "", UPGRADE)["spec"]
            story.cluster.remove(TENANT_UPGRADE, "", UPGRADE)
            story.cluster.put(TENANT_UPGRADE, {"metadata": {"name": UPGRADE}, "spec": spec})
        case "unreadable":
            story.edit_upgrade({"release": {"version": ["2.4.0"]}})
    await story.settle()
    assert story.notices() == []


async def test_what_makes_it_live_again_is_enough_to_tell() -> None:
    """Level-triggered: the end of a suspension, and a new attempt in the journal, wake the tenant's profile by themselves."""
    story = TenantsStory()
    story.edit_upgrade({"notice": WORDS, "suspend": True})
    story.begin()
    story.plan(wanting())
    await story.settle()
    story.edit_upgrade({"suspend": None})
    await story.settle()
    assert len(story.notices()) == 1

    story = TenantsStory()
    story.edit_upgrade({"notice": WORDS})
    story.begin(completion_time=story.clock.now())
    story.plan(wanting())
    await story.settle()
    assert story.notices() == []
    story.begin()
    await story.settle()
    assert len(story.notices()) == 1


async def test_by_a_wrong_clock_nobody_is_told() -> None:
    """The time would stand for ever. What was told before is given back all the same."""
    story = TenantsStory()
    story.store.clock_is_right = lambda: False
    story.edit_upgrade({"notice": WORDS})
    story.begin()
    story.plan(wanting())
    await story.settle()
    assert story.notices() == []
    delay = story.profile_queue.delay_of(ACME)
    assert delay is not None
    assert delay <= timedelta(seconds=30), "it looks again soon"

    story.store.clock_is_right = lambda: True
    story.awake["profile"].add(ACME)
    await story.settle()
    assert story.notices() == [("Shop 2.4", story.clock.now())]

    story.store.clock_is_right = lambda: False
    story.plan(wanting(notice_time=story.given()[0].time))
    story.cluster.remove(TENANT_PROFILE, ACME, PROFILE_NAME)
    story.clock.forward(HOUR)
    await story.settle()
    assert story.notices() == [("Shop 2.4", story.clock.now() - HOUR)]


async def test_only_tenants_with_a_notice_to_be_given_are_written_to() -> None:
    """Who is no tenant of the upgrade, or is passed by, hears nothing of it."""
    story = TenantsStory(tenants=(ACME, "beta", "gamma"))
    story.edit_upgrade({"notice": WORDS})
    story.begin()
    story.plan(wanting())
    story.plan(wanting(state=TenantState.SKIPPED), tenant="beta")
    await story.settle()
    assert [len(story.given(tenant)) for tenant in (ACME, "beta", "gamma")] == [1, 0, 0]


async def test_the_whole_way_from_the_spec_to_the_start() -> None:
    """The planner wants it told, the profile shows it, the clock runs, the tenant starts when the lead is over and not before."""
    story = TenantsStory()
    story.edit_upgrade({"notice": WORDS})
    story.cluster.edit(ROLLOUT_POLICY, "", "standard", {"spec": {"notice": {"lead": "2h"}}})
    starts: list[datetime] = []
    await story.settle(upgrade=True)
    assert story.notices() == [("Shop 2.4", story.clock.now())]
    given = story.clock.now()
    for _ in range(40):
        await story.settle(upgrade=True)
        if story.image() == "shop/api:2.4.0":
            starts.append(story.clock.now())
            break
        story.clock.forward(timedelta(minutes=5))
        story.awake["upgrade"].add(UPGRADE)
    assert len(starts) == 1
    assert given + 2 * HOUR <= starts[0] < given + 2 * HOUR + timedelta(seconds=1), "timers of a moment may ring on the way"
