"""Who has to be told, when its clock begins, and what starts it anew (windows.md section 7, tenants.md section 2)."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

import pytest

from builders import NOON, RUN, UID, Block, a_journal, a_spec, a_status, a_tenant, a_view, a_world, after, an_action, an_upgrade
from calendar_builders import WORDS, a_calendar, a_policy_with, digest_of, ended, running, starts, stored, told, why_held
from tenantwave.api.meta import run_id
from tenantwave.api.tenant_run import TenantRunStatus, TenantState
from tenantwave.core.calendar import NoticeRecord
from tenantwave.core.journal import EndReason, Pause, TakeBackOrder, VersionSeen
from tenantwave.core.passes.runs import meaning
from tenantwave.core.planner import decide
from tenantwave.core.world import World

S = TenantState
WEEK: Block = {"notice": {"lead": "7d"}}
SPEC = a_spec(notice=WORDS)
GIVEN = after(minutes=-10)
DUE = GIVEN + timedelta(days=7)


def wanting(
    status: TenantRunStatus | None = None,
    *shown: NoticeRecord,
    notice: Block | None = None,
    spec: Block | None = None,
    tenant: Block | None = None,
    **world: Any,
) -> World:
    """Return a world in which acme is to have notice of a week; `shown` is what its profile says that it was told."""
    asked = a_spec(**{"notice": WORDS, **(spec or {})})
    acme = a_tenant("acme", status or a_status(), calendar=a_calendar(), told=shown, **(tenant or {}))
    return running(acme, policy=a_policy_with(notice=notice or {"lead": "7d"}), spec=asked, **world)


def noticed(given: datetime | None = GIVEN, state: TenantState = S.WAITING, **fields: Any) -> TenantRunStatus:
    """Return the status of a tenant that is to be told of `SPEC`, or was."""
    shown = {"reason": "NoticePeriod", "message": "why", **fields}
    return a_status(state, notice_digest=digest_of(SPEC), notice_time=given, **shown)


def test_a_notice_is_wanted_told_and_waited_for() -> None:
    """The TenantRun asks for it, the profile proves it, its lead runs from then, and then the tenant goes."""
    world = wanting()
    plan = decide(world, NOON)
    wanted = ended(plan, world)
    assert (wanted.notice_digest, wanted.notice_time, why_held(plan)) == (digest_of(SPEC), None, "NoticePeriod")
    assert "not delivered yet" in plan.holds["acme"].message
    world = stored(world, plan)
    assert decide(world, after(hours=5)).moves == (), "it does not ask twice"

    world = replace(world, tenants={"acme": replace(world.tenants["acme"], told=(told(SPEC, GIVEN),))})
    plan = decide(world, NOON)
    assert (ended(plan, world).notice_time, why_held(plan), plan.holds["acme"].until) == (GIVEN, "NoticePeriod", DUE)
    assert [note.message for note in plan.notes if note.reason == "NoticeGiven"] == [
        "told of shop 2.4.0 at 2026-01-05T11:50:00Z; nothing starts before 2026-01-12T11:50:00Z"
    ]
    world = stored(world, plan)
    assert starts(decide(world, DUE - timedelta(seconds=1))) == []
    assert starts(decide(world, DUE)) == ["acme"]


LEADS = [
    pytest.param({}, {"notice": None}, None, id="no words, no lead: nobody is told"),
    pytest.param({}, {}, timedelta(0), id="words alone: the message is awaited, and nothing more"),
    pytest.param({"lead": "7d"}, {"notice": None}, timedelta(days=7), id="a lead alone: product and version are told"),
    pytest.param({"lead": "7d"}, {"urgency": "Security"}, timedelta(hours=1), id="security: the shorter of the two leads"),
    pytest.param({"lead": "7d", "emergencyLead": "4h"}, {"urgency": "Security"}, timedelta(hours=4), id="security, as the policy says"),
    pytest.param({"lead": "30m"}, {"urgency": "Security"}, timedelta(minutes=30), id="security: the emergency lead is the longer one"),
]


@pytest.mark.parametrize(("notice", "spec", "lead"), LEADS)
def test_how_long_the_notice_runs(notice: Block, spec: Block, lead: timedelta | None) -> None:
    """Lead and urgency; `lead` None: the tenant goes at once."""
    asked = {key: value for key, value in {"notice": WORDS, **spec}.items() if value is not None}
    acme = a_tenant("acme", a_status(), calendar=a_calendar())
    world = running(acme, policy=a_policy_with(notice=notice), spec=a_spec(**asked))
    plan = decide(world, NOON)
    assert (starts(plan), why_held(plan)) == ((["acme"], "") if lead is None else ([], "NoticePeriod"))
    if lead is None:
        return
    world = stored(world, plan)
    record = NoticeRecord("2.4.0", ended(plan, world).notice_digest, NOON)
    world = replace(world, tenants={"acme": replace(world.tenants["acme"], told=(record,))})
    if not lead:
        assert starts(decide(world, NOON)) == ["acme"]
        return
    world = stored(world, decide(world, NOON))
    assert starts(decide(world, NOON + lead - timedelta(seconds=1))) == []
    assert starts(decide(world, NOON + lead)) == ["acme"]


def test_a_lead_of_nothing_still_waits_for_the_message() -> None:
    """An override, or no lead, lifts the waiting, never the message."""
    world = wanting(notice={"lead": "0s"})
    assert (starts(decide(world, after(days=30))), why_held(decide(world, after(days=30)))) == ([], "NoticePeriod")


OTHER = {**WORDS, "risks": "your own themes may break"}


def test_another_text_restarts_the_clock() -> None:
    """The old notice no longer counts; the new one is asked for."""
    world = wanting(noticed(), told(SPEC, GIVEN), spec={"notice": OTHER})
    plan = decide(world, DUE)
    assert (starts(plan), why_held(plan)) == ([], "NoticePeriod")
    status = ended(plan, world)
    assert (status.notice_digest, status.notice_time) == (digest_of(a_spec(notice=OTHER)), None)


@pytest.mark.parametrize(
    "record",
    [
        pytest.param(told(a_spec(notice=OTHER), GIVEN), id="about other words"),
        pytest.param(NoticeRecord("2.3.9", digest_of(SPEC), GIVEN), id="about another version"),
    ],
)
def test_another_notice_is_no_proof(record: NoticeRecord) -> None:
    """Neither words nor version may differ."""
    assert starts(decide(wanting(noticed(None), record), after(days=30))) == []


@pytest.mark.parametrize(
    "edit",
    [
        pytest.param({"deadlineTime": after(days=60)}, id="a deadline"),
        pytest.param({"forceTime": after(days=60)}, id="forceTime"),
        pytest.param({"urgency": "Security"}, id="urgency"),
    ],
)
def test_other_edits_do_not_restart_it(edit: Block) -> None:
    """A moved date, a window edit: the tenant was told."""
    world = wanting(noticed(), told(SPEC, GIVEN), spec=edit)
    assert starts(decide(world, DUE)) == ["acme"]


def test_a_window_edit_does_not_restart_it() -> None:
    """The tenant moves its own window; the notice stands."""
    open_later = a_calendar(windows=[{"name": "own", "weekly": {"days": ["Mon"], "start": "12:00", "duration": "2h"}}])
    world = wanting(noticed(), told(SPEC, GIVEN))
    moved = replace(world, tenants={"acme": replace(world.tenants["acme"], calendar=open_later)})
    assert (starts(decide(moved, DUE)), starts(decide(moved, after(days=7, minutes=1)))) == ([], ["acme"])


def test_a_retry_does_not_restart_it() -> None:
    """The next attempt begins with what was told."""
    back = noticed(state=S.ROLLED_BACK, completion_time=NOON, start_time=NOON)
    order = TakeBackOrder(reason=EndReason.WAVE_FAILED, message="wave canary failed", time=NOON)
    world = wanting(back, told(SPEC, GIVEN), journal={"order": order, "completion_time": NOON}, actions=[an_action("Retry")])
    plan = decide(world, DUE)
    assert plan.journal is not None
    assert plan.journal.run.attempt == 2
    again = run_id("shop-2-4-0", UID, 1, 2)
    journal = a_journal(a_policy_with(**WEEK), {"canary": ["acme"]}, running="canary", id=again, attempt=2, previous_run=RUN)
    waits = decide(replace(world, journal=journal, actions=()), DUE)
    known = ended(waits, world)
    assert (known.run, known.notice_time, known.notice_digest) == (again, GIVEN, digest_of(SPEC))


def test_another_version_needs_another_notice() -> None:
    """A tenant planned anew for another version has been told nothing."""
    spec = a_spec("2.4.1", notice=WORDS)
    earlier = noticed(run="shop-2-4-0-x7f2k-0-a1")
    policy = a_policy_with(**WEEK)
    acme = a_tenant("acme", earlier, calendar=a_calendar(), told=(told(SPEC, GIVEN),))
    seen = VersionSeen(version="2.4.1", since=NOON)
    journal = a_journal(policy, {"canary": ["acme"]}, running="canary", version=seen)
    journal = journal.model_copy(update={"run": journal.run.model_copy(update={"spec_digest": meaning(spec)})})
    world = a_world([acme], upgrade=an_upgrade(spec), policy=policy, journal=journal)
    plan = decide(world, DUE)
    status = ended(plan, world)
    assert (status.to_version, status.notice_time, status.notice_digest) == ("2.4.1", None, digest_of(spec))


NOT_TOLD = [
    pytest.param({"spec": {"suspend": True}}, id="suspended"),
    pytest.param({"tenant": {"components": (a_view(at_release=True),)}}, id="already at the release"),
    pytest.param({"spec": {"deadlineTime": after(days=-1)}}, id="the spec is invalid"),
    pytest.param({"journal": {"completion_time": NOON}}, id="the run is over"),
    pytest.param(
        {"journal": {"order": TakeBackOrder(reason=EndReason.WAVE_FAILED, message="failed", time=NOON)}}, id="the run is taken back"
    ),
]


@pytest.mark.parametrize("world", NOT_TOLD)
def test_who_is_not_told(world: Block) -> None:
    """No TenantRun asks for a notice."""
    plan = decide(wanting(**world), NOON)
    assert [move.tenant for move in plan.moves if move.status.notice_digest] == []


@pytest.mark.parametrize(
    "status",
    [
        pytest.param(a_status(S.CONVERGING, applied_time=NOON, start_time=NOON), id="in flight"),
        pytest.param(a_status(S.SOAKING, start_time=NOON), id="soaking"),
        pytest.param(a_status(S.SUCCEEDED, start_time=NOON, completion_time=NOON), id="done"),
        pytest.param(a_status(S.SKIPPED, reason="SkippedByAction", message="why", completion_time=NOON), id="skipped"),
    ],
)
def test_who_has_begun_or_is_out_is_not_told(status: TenantRunStatus) -> None:
    """A notice that comes after the start would be no notice; an edit of the words reaches only who is still to start."""
    plan = decide(wanting(status), NOON)
    assert [move.tenant for move in plan.moves if move.status.notice_digest] == []


def test_all_tenants_of_the_plan_are_told_at_once() -> None:
    """So that leads run while earlier waves work, and while people pause."""
    policy = a_policy_with([{"name": "canary"}, {"name": "rest"}], **WEEK)
    tenants = [
        a_tenant("acme", a_status(), calendar=a_calendar()),
        a_tenant("beta", a_status(wave="rest"), labels={}, calendar=a_calendar()),
    ]
    journal = a_journal(policy, {"canary": ["acme"], "rest": ["beta"]}, running="canary", pause=Pause(time=NOON, message="paused by ann"))
    plan = decide(a_world(tenants, upgrade=an_upgrade(SPEC), policy=policy, journal=journal), NOON)
    assert {move.tenant: move.status.notice_digest for move in plan.moves} == {"acme": digest_of(SPEC), "beta": digest_of(SPEC)}


def test_nobody_is_told_before_the_plan_is_stored() -> None:
    """A notice of a plan that a crash forgets would be a lie."""
    world = a_world([a_tenant("acme", calendar=a_calendar())], upgrade=an_upgrade(SPEC), policy=a_policy_with(**WEEK))
    plan = decide(world, NOON)
    assert plan.save_policy
    assert [move for move in plan.moves if move.status.notice_digest] == []


@pytest.mark.parametrize("state", [S.WAITING, S.HELD])
def test_a_tenant_of_another_wave_or_held_with_nothing_written_is_told(state: TenantState) -> None:
    """It may still start."""
    world = wanting(a_status(state, reason="ConfigConflict" if state is S.HELD else "OutsideWindow", message="why"))
    assert ended(decide(world, NOON), world).notice_digest == digest_of(SPEC)


MISSING = [
    pytest.param({}, "changes, benefits, risks", id="nothing at all"),
    pytest.param({"title": "Shop", "changes": "a basket", "benefits": "faster"}, "risks", id="no risks"),
    pytest.param(WORDS, "", id="all of it"),
]


@pytest.mark.parametrize(("words", "missing"), MISSING)
def test_a_notice_that_lacks_what_the_policy_requires_stalls(words: Block, missing: str) -> None:
    """InvalidSpec names what is missing; nobody is told half of it, and nobody starts."""
    world = wanting(notice={"lead": "7d", "required": True}, spec={"notice": words} if words else {"notice": {"title": "Shop"}})
    plan = decide(world, NOON)
    assert (str(plan.summary.reason) == "InvalidSpec", starts(plan)) == (bool(missing), [])
    assert missing in plan.summary.message
    assert any(move.status.notice_digest for move in plan.moves) is not bool(missing)
