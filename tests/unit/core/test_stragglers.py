"""When a wave goes on without those whose door is shut, and what becomes of them (windows.md section 6)."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

import pytest

from builders import NOON, Block, a_journal, a_status, a_tenant, a_view, a_world, after
from calendar_builders import a_calendar, a_decision, a_policy_with, ended, starts, why_held
from tenantwave.api.conditions import FailReason, ReadyReason, WaitReason
from tenantwave.api.tenant_run import TakeBack, TenantRunStatus, TenantState
from tenantwave.core import tenant_run
from tenantwave.core.calendar import Calendar
from tenantwave.core.journal import Pause, WaveProgress, WaveRecord
from tenantwave.core.plan import Deed, Plan, Summary
from tenantwave.core.planner import decide
from tenantwave.core.status import upgrade_status
from tenantwave.core.world import Tenant, World

S = TenantState
STRAGGLERS: Block = {"minCompleted": "50%", "maxWait": "24h"}
PATIENT_NO_MORE = after(hours=24)
"""The wave began at noon."""
SHUT = a_calendar(windows=[{"name": "own", "weekly": {"days": ["Thu"], "start": "12:00", "duration": "2h"}}])
"""Opens three days after noon."""
OPENS = after(days=3, seconds=2)
DONE = a_status(S.SUCCEEDED, completion_time=NOON, reason="Upgraded", message="runs 2.4.0")


def waiting(reason: str = "OutsideWindow", **fields: Any) -> TenantRunStatus:
    """Return the status of a tenant that waits for this."""
    return a_status(S.WAITING, reason=reason, message="why", **fields)


def in_state(state: TenantState, **fields: Any) -> TenantRunStatus:
    """Return the status of a tenant that began at noon."""
    return a_status(state, start_time=NOON, applied_time=NOON, reason="InProgress", message="why", **fields)


def wave_of(*statuses: TenantRunStatus, stragglers: Block | None = None, wave: Block | None = None, **journal: Any) -> World:
    """Return a world with tenants t0, t1 ... in the running wave canary, and last in wave rest; who waits is shut till Thursday."""
    rules = {"stragglers": STRAGGLERS if stragglers is None else stragglers}
    first = {"name": "canary", "maxParallel": 2, "failureBudget": 1, **(wave or {})}
    policy = a_policy_with([first, {"name": "rest"}], maintenance=rules if rules["stragglers"] else {})
    tenants = [a_tenant(f"t{place}", status, calendar=_calendar_for(status)) for place, status in enumerate(statuses)]
    last = a_tenant("last", a_status(wave="rest"), labels={}, calendar=a_calendar())
    record = a_journal(policy, {"canary": [one.name for one in tenants], "rest": ["last"]}, running="canary", **journal)
    return a_world([*tenants, last], policy=policy, journal=record)


def _calendar_for(status: TenantRunStatus) -> Calendar:
    return SHUT if status.state is S.WAITING else a_calendar()


def canary(plan: Plan, world: World) -> WaveRecord:
    """Return the first wave after the plan."""
    journal = plan.journal or world.journal
    assert journal is not None
    return journal.run.waves[0]


def left_behind(world: World, now: datetime = PATIENT_NO_MORE) -> tuple[str, ...] | None:
    """Return whom the wave leaves behind; None: it does not pass."""
    plan = decide(world, now)
    wave = canary(plan, world)
    left = tuple(name for name in wave.tenants if ended(plan, world, name).state in tenant_run.NOT_STARTED)
    return left if wave.progress is WaveProgress.PASSED else None


THERE = a_status(S.SUCCEEDED, written=False, completion_time=NOON, reason="AlreadyAtRelease", message="already runs 2.4.0")
OVER = TakeBack(cause=FailReason.NOT_CONVERGED, message="late", time=NOON)
MEMBERS = [
    pytest.param((DONE, waiting()), ("t1",), id="half of them done, the other waits"),
    pytest.param((THERE, waiting()), None, id="one ran the release before: nobody has shown that it works"),
    pytest.param((THERE, waiting("AwaitingConsent")), None, id="nor where the other has not agreed"),
    pytest.param((DONE, DONE, waiting(), waiting()), ("t2", "t3"), id="two of four"),
    pytest.param((DONE, waiting(), waiting()), None, id="one of three is under a half"),
    pytest.param((DONE, DONE), (), id="all done"),
    pytest.param((waiting(), waiting()), None, id="nobody done"),
    pytest.param((DONE, in_state(S.SOAKING), waiting()), None, id="one soaks"),
    pytest.param((DONE, in_state(S.CONVERGING), waiting()), None, id="one is in flight"),
    pytest.param((DONE, in_state(S.PREFLIGHT), waiting()), None, id="one prepares"),
    pytest.param((DONE, in_state(S.ROLLING_BACK, take_back=OVER), waiting()), None, id="one goes back"),
    pytest.param((DONE, in_state(S.ROLLED_BACK, take_back=OVER), waiting()), None, id="a failed one counts, and is none of those done"),
    pytest.param((DONE, DONE, in_state(S.ROLLED_BACK, take_back=OVER), waiting()), ("t3",), id="a failed one is never a straggler"),
    pytest.param((DONE, DONE, in_state(S.HELD), waiting()), ("t3",), id="nor is a held one"),
    pytest.param((DONE, DONE, in_state(S.HELD, written=True), waiting()), ("t3",), id="nor one held after a write"),
    pytest.param((DONE, a_status(S.QUEUED)), None, id="one that is only queued"),
    pytest.param((DONE, waiting(written=True, start_time=NOON)), None, id="one that an earlier attempt has written"),
    pytest.param((DONE, a_status(S.SKIPPED, reason="SkippedByAction", message="ann"), waiting()), ("t2",), id="skipped ones count nowhere"),
    pytest.param((DONE, waiting("OptedOut"), waiting("OptedOut"), waiting("OptedOut")), ("t1", "t2", "t3"), id="opted out: not counted"),
    pytest.param((DONE, waiting("AwaitingConsent"), waiting("AwaitingConsent")), ("t1", "t2"), id="undecided: not counted"),
    pytest.param((waiting("OptedOut"), waiting("OptedOut")), None, id="but somebody must have succeeded"),
    pytest.param((DONE, waiting("OptedOut"), waiting(), waiting()), None, id="of three that count one is done"),
]


@pytest.mark.parametrize(("statuses", "expected"), MEMBERS)
def test_whom_a_wave_leaves_behind(statuses: tuple[TenantRunStatus, ...], expected: tuple[str, ...] | None) -> None:
    """minCompleted 50%, maxWait 24h, a day after its start; within a budget of one."""
    assert left_behind(wave_of(*statuses)) == expected


IMPATIENT = {"TenantBusy", "MaxParallel", "UpgradeOnHold", "ClockSkew", "WaveQueued"}


@pytest.mark.parametrize("reason", WaitReason)
def test_for_what_a_straggler_may_wait(reason: WaitReason) -> None:
    """Its window, its notice, its decision: not a slot, another upgrade, our clock or a pause."""
    assert left_behind(wave_of(DONE, DONE, waiting(str(reason)))) == (None if reason in IMPATIENT else ("t2",))


@pytest.mark.parametrize("reason", ["OutsideWindow", "NoticePeriod", "Deferred"])
def test_max_wait(reason: str) -> None:
    """Counted from the wave's start; the planner wakes then."""
    world = wave_of(DONE, waiting(reason))
    assert left_behind(world, PATIENT_NO_MORE - timedelta(seconds=1)) is None
    assert decide(world, NOON).wake_time == PATIENT_NO_MORE
    assert left_behind(world) == ("t1",)


@pytest.mark.parametrize("reason", ["OptedOut", "AwaitingConsent"])
def test_who_is_out_needs_no_max_wait(reason: str) -> None:
    """It passes at once; it would wait for the other, though."""
    assert left_behind(wave_of(DONE, waiting(reason)), NOON) == ("t1",)
    assert left_behind(wave_of(DONE, waiting(reason), waiting()), NOON) is None


def test_without_a_policy_for_them_a_wave_waits_for_all() -> None:
    """However long, and whatever they wait for."""
    assert left_behind(wave_of(DONE, waiting(), stragglers={}), after(days=2)) is None
    assert left_behind(wave_of(DONE, waiting("OptedOut"), stragglers={}), after(days=2)) is None


@pytest.mark.parametrize(("share", "passes"), [("67%", False), ("66%", True), (2, True), (3, False)])
def test_min_completed_rounds_up(share: str | int, passes: bool) -> None:
    """Of three, 67 % are more than two."""
    world = wave_of(DONE, DONE, waiting(), stragglers={"minCompleted": share, "maxWait": "24h"})
    assert (left_behind(world) is not None) is passes


def test_over_the_budget_it_does_not_pass() -> None:
    """Those that failed decide before those that wait."""
    world = wave_of(DONE, DONE, in_state(S.HELD), waiting(), wave={"failureBudget": 0})
    assert left_behind(world) is None


def test_the_next_wave_begins_and_says_who_is_missing() -> None:
    """The event names them."""
    world = wave_of(DONE, waiting())
    plan = decide(world, PATIENT_NO_MORE)
    (passed,) = (note for note in plan.notes if note.reason == "WavePassed")
    assert passed.message == "wave canary: 1 of 2 tenants upgraded; not waited for any longer: t1"
    assert plan.journal is not None
    assert [wave.progress for wave in plan.journal.run.waves] == [WaveProgress.PASSED, WaveProgress.RUNNING]


# Afterwards.


def late(*statuses: TenantRunStatus, last: TenantRunStatus | None = None, **fields: Any) -> World:
    """Return a world whose wave canary has passed without t1; wave rest runs, or with `last` is through."""
    world = wave_of(*statuses, **fields)
    journal = world.journal
    assert journal is not None
    first, rest = journal.run.waves
    first = first.model_copy(update={"progress": WaveProgress.PASSED, "completion_time": NOON})
    rest = rest.model_copy(update={"progress": WaveProgress.PASSED if last else WaveProgress.RUNNING, "start_time": NOON})
    known = {**world.tenants, "last": a_tenant("last", last or waiting(wave="rest"), labels={}, calendar=SHUT)}
    return replace(
        world, tenants=known, journal=journal.model_copy(update={"run": journal.run.model_copy(update={"waves": (first, rest)})})
    )


def test_a_straggler_starts_in_its_own_next_opening() -> None:
    """Not before it, as everybody."""
    world = late(DONE, waiting())
    assert (starts(decide(world, NOON)), why_held(decide(world, NOON), "t1")) == ([], "OutsideWindow")
    assert "t1" in starts(decide(world, OPENS))
    assert ended(decide(world, OPENS), world, "t1").opening_end_time == after(days=3, hours=2)


@pytest.mark.parametrize(("in_flight", "expected"), [(0, ["t2", "t3"]), (1, ["t2"]), (2, [])])
def test_within_max_parallel_of_its_wave(in_flight: int, expected: list[str]) -> None:
    """Two places."""
    flying = [in_state(S.CONVERGING), in_state(S.CONVERGING)][:in_flight]
    statuses = (*flying, *[DONE] * (2 - in_flight), waiting(), waiting())
    world = late(*statuses)
    assert [name for name in starts(decide(world, OPENS)) if name != "last"] == expected


def test_the_waves_deadline_has_ended_with_the_wave() -> None:
    """It does not keep a straggler from starting."""
    world = late(DONE, waiting(), wave={"deadline": "1h"})
    assert "t1" in starts(decide(world, OPENS))


def test_a_pause_holds_stragglers() -> None:
    """As everybody who has not started; and it says so, not when its window opened while nobody could start."""
    world = late(DONE, waiting(), pause=Pause(time=NOON, message="paused by ann"))
    plan = decide(world, OPENS)
    assert (starts(plan), why_held(plan, "t1"), ended(plan, world, "t1").message) == ([], "UpgradeOnHold", "paused by ann")


def soaking(since: datetime) -> Tenant:
    """Return straggler t1, soaking since then."""
    return a_tenant("t1", in_state(S.SOAKING, converged_time=since), calendar=SHUT, components=(a_view(at_release=True),))


def test_its_soak_is_that_of_its_wave() -> None:
    """Ten minutes by default, from when it converged."""
    world = late(DONE, waiting())
    world = replace(world, tenants={**world.tenants, "t1": soaking(OPENS)})
    for minutes, deeds in ((9, []), (10, [Deed.FINALISE])):
        assert [step.deed for step in decide(world, OPENS + timedelta(minutes=minutes)).steps if step.tenant == "t1"] == deeds


LAST_DONE = a_status(S.SUCCEEDED, wave="rest", completion_time=NOON, reason="Upgraded", message="runs 2.4.0")


@pytest.mark.parametrize(
    ("status", "ends"),
    [
        pytest.param(waiting(), False, id="it waits"),
        pytest.param(in_state(S.CONVERGING), False, id="it is in flight"),
        pytest.param(in_state(S.SOAKING, converged_time=OPENS), False, id="it soaks"),
        pytest.param(in_state(S.ROLLING_BACK, take_back=OVER), False, id="it goes back"),
        pytest.param(DONE, True, id="it is done"),
        pytest.param(a_status(S.SKIPPED, reason="SkippedByAction", message="by ann"), True, id="it is skipped"),
    ],
)
def test_the_upgrade_ends_only_after_its_stragglers(status: TenantRunStatus, ends: bool) -> None:
    """All waves have passed."""
    world = late(DONE, status, last=LAST_DONE)
    if status.state in (S.SOAKING, S.CONVERGING):
        t1 = a_tenant("t1", status, calendar=SHUT, components=(a_view(at_release=True),))
        world = replace(world, tenants={**world.tenants, "t1": t1})
    plan = decide(world, OPENS)
    journal = plan.journal or world.journal
    assert journal is not None
    assert (journal.run.completion_time is not None) is ends


FAILED = in_state(S.ROLLED_BACK, take_back=OVER, completion_time=OPENS)


@pytest.mark.parametrize(
    ("statuses", "budget", "pauses"),
    [
        pytest.param((DONE, FAILED), 1, False, id="within the budget"),
        pytest.param((DONE, FAILED), 0, True, id="over it"),
        pytest.param((DONE, FAILED, FAILED), 1, True, id="the second one is too many"),
        pytest.param((DONE, in_state(S.ROLLED_BACK, take_back=OVER, attempt=0), FAILED), 1, False, id="of an earlier attempt: not counted"),
    ],
)
def test_its_failure_counts_in_its_waves_budget(statuses: tuple[TenantRunStatus, ...], budget: int, pauses: bool) -> None:
    """The wave has passed: what is over it pauses the upgrade, so that a person looks, once."""
    world = late(*statuses, wave={"failureBudget": budget})
    plan = decide(world, OPENS)
    assert plan.journal is None or plan.journal.run.order is None
    assert (plan.journal is not None and plan.journal.pause is not None) is pauses
    if pauses:
        assert plan.journal is not None
        resumed = plan.journal.model_copy(update={"pause": None})
        again = decide(replace(world, journal=resumed), OPENS)
        assert again.journal is None or again.journal.pause is None


@pytest.mark.parametrize("action", ["", "by-ann"], ids=["the operator paused", "a person paused"])
def test_the_upgrade_is_not_done_before_people_have_looked(action: str) -> None:
    """The last of all fails over the budget: its pause holds the end. A person's pause, for whatever, does not."""
    paused: Block = {"pause": Pause(time=OPENS, message="a straggler failed", action=action), "paused_for": ("wave/canary",)}
    plan = decide(late(DONE, FAILED, last=LAST_DONE, wave={"failureBudget": 0}, **paused), OPENS)
    assert (plan.journal is not None and plan.journal.run.completion_time is not None) is bool(action)


@pytest.mark.parametrize(
    ("status", "count"),
    [
        pytest.param(waiting(), 1, id="it waits"),
        pytest.param(a_status(S.QUEUED), 1, id="it has come back"),
        pytest.param(in_state(S.PREFLIGHT), 1, id="it prepares"),
        pytest.param(in_state(S.CONVERGING), 1, id="it is in flight"),
        pytest.param(in_state(S.SOAKING, converged_time=OPENS), 1, id="it soaks"),
        pytest.param(in_state(S.ROLLING_BACK, take_back=OVER), 0, id="it goes back"),
        pytest.param(FAILED, 0, id="it went back"),
        pytest.param(in_state(S.HELD, written=True), 0, id="a person has to settle it"),
        pytest.param(a_status(S.SKIPPED, reason="SkippedByAction", message="by ann"), 0, id="it is skipped"),
        pytest.param(DONE, 0, id="it is done"),
    ],
)
@pytest.mark.parametrize("passed", [True, False], ids=["passed", "running"])
def test_status_counts_who_still_comes_after_its_wave(status: TenantRunStatus, count: int, passed: bool) -> None:
    """As long as the wave runs it waits for them, so they are none."""
    world = late(DONE, status) if passed else wave_of(DONE, status)
    shown = upgrade_status(None, world, Plan(world.journal, Summary(ReadyReason.WAVE_RUNNING, "why")), OPENS)
    assert shown.waves[0].stragglers == (count if passed else 0)


def test_who_came_back_late_counts_like_a_straggler() -> None:
    """It had opted out when its wave passed; its failure is one of that wave all the same."""
    plan = decide(late(DONE, FAILED, wave={"failureBudget": 0}), OPENS)
    assert plan.journal is not None
    assert plan.journal.pause is not None
    assert "t1" in plan.journal.pause.message


def test_who_opted_out_for_a_time_comes_when_it_ends() -> None:
    """A straggler without maxWait; its own decision is heard to the end."""
    world = late(DONE, waiting("OptedOut"))
    decided = a_tenant("t1", waiting("OptedOut"), calendar=a_calendar(), decisions=(a_decision("OptOut", until=after(days=2)),))
    world = replace(world, tenants={**world.tenants, "t1": decided})
    assert (starts(decide(world, after(days=2, seconds=-1))), starts(decide(world, after(days=2)))) == ([], ["t1"])


def test_labels_do_not_matter() -> None:
    """A straggler stays in its wave, whatever its labels say now."""
    world = late(DONE, waiting())
    moved = replace(world.tenants["t1"], labels={"product": "shop"})
    assert "t1" in starts(decide(replace(world, tenants={**world.tenants, "t1": moved}), OPENS))
