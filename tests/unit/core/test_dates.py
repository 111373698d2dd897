"""What people are told of when: the forecast in the plan, each tenant's planned start, and dates that move."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime, timedelta

from builders import NOON, RUN, UPGRADE, Block, a_journal, a_policy, a_spec, a_status, a_tenant, a_view, a_world, after, an_upgrade
from tenantwave.api.policy import Maintenance
from tenantwave.api.profile import TenantProfileSpec
from tenantwave.api.tenant_run import TenantRunStatus, TenantState
from tenantwave.core.calendar import Calendar, compile_calendar
from tenantwave.core.passes.forecasts import forecast_of
from tenantwave.core.plan import Plan
from tenantwave.core.planner import decide
from tenantwave.core.status import upgrade_status
from tenantwave.core.world import Foreseen, Progress, World

S = TenantState
WAVES = ({"name": "first", "size": 1, "soak": "1h"}, {"name": "rest", "soak": "2h"})


def opens(day: str, start: str = "12:00", duration: str = "2h", *more: Block) -> Calendar:
    """Return a calendar with one weekly window."""
    windows = [{"name": "own", "weekly": {"days": [day], "start": start, "duration": duration}}, *more]
    return compile_calendar(Maintenance.model_validate({"whenNoWindow": "Open"}), TenantProfileSpec.model_validate({"windows": windows}))


ALWAYS = compile_calendar(Maintenance.model_validate({"whenNoWindow": "Open"}), None)


def two_waves(late: Calendar = ALWAYS, status: TenantRunStatus | None = None, **spec: object) -> World:
    """Return a run whose first wave has begun with nobody started, and whose second wave waits."""
    policy = a_policy(WAVES)
    upgrade = an_upgrade(a_spec(**spec))  # type: ignore[arg-type]
    tenants = [
        a_tenant("early", a_status(wave="first"), calendar=ALWAYS),
        a_tenant("late", status or a_status(wave="rest"), calendar=late),
    ]
    journal = a_journal(policy, {"first": ["early"], "rest": ["late"]}, running="first")
    return a_world(tenants, upgrade=upgrade, policy=policy, journal=journal)


def seen(world: World, now: datetime = NOON) -> World:
    """Return the world with its forecast, as the engine adds it."""
    found = forecast_of(world, now)
    assert found is not None
    return replace(world, foreseen=Foreseen(RUN, now, found))


def planned(plan: Plan, tenant: str = "late") -> TenantRunStatus | None:
    """Return what the plan makes of a tenant."""
    return next((move.status for move in plan.moves if move.tenant == tenant), None)


def events(plan: Plan, reason: str) -> list[tuple[str, str]]:
    """Return (tenant, message) of the plan's notes of a reason."""
    return [(note.tenant, note.message) for note in plan.notes if note.reason == reason]


def test_a_tenant_of_a_later_wave_is_told_its_own_next_opening() -> None:
    """The wave before ends at 13:00 on Monday at the earliest; its window opens on Tuesday at noon."""
    status = planned(decide(seen(two_waves(opens("Tue"))), NOON))
    assert status is not None
    assert (status.state, status.planned_start_time) == (S.QUEUED, after(days=1))


def test_a_tenant_without_windows_is_told_when_the_wave_before_ends() -> None:
    """Roughly: it is told anew only when it is off by more than an hour, for each date is a write."""
    status = planned(decide(seen(two_waves()), NOON))
    assert status is not None
    assert status.planned_start_time == after(hours=1)
    known = a_status(wave="rest", planned_start_time=after(hours=1))
    now = after(minutes=40)
    assert planned(decide(seen(two_waves(status=known), now), now)) is None
    now = after(hours=1, minutes=30)
    moved = planned(decide(seen(two_waves(status=known), now), now))
    assert moved is not None
    assert moved.planned_start_time == after(hours=2, minutes=30)
    assert moved.rescheduled is None, "an estimate that moves is no date that was broken"


def test_a_date_that_slips_is_told_with_old_date_new_date_and_reason() -> None:
    """The tenant had been told Tuesday; now its window is on Wednesday."""
    known = a_status(wave="rest", planned_start_time=after(days=1), message="wave rest has not begun")
    plan = decide(seen(two_waves(opens("Wed"), known)), NOON)
    status = planned(plan)
    assert status is not None
    assert status.rescheduled is not None
    assert (status.rescheduled.from_, status.rescheduled.to) == (after(days=1), after(days=2))
    assert status.planned_start_time == after(days=2)
    [(tenant, message)] = events(plan, "Rescheduled")
    assert tenant == "late"
    assert message.startswith("the start moved from 2026-01-06T12:00:00Z to 2026-01-07T12:00:00Z: ")


def test_a_waiting_tenant_whose_windows_move_is_told_so() -> None:
    """In the running wave the calendar itself says when, to the minute."""
    policy = a_policy([{"name": "only"}])
    known = a_status(S.WAITING, wave="only", reason="OutsideWindow", message="before", planned_start_time=after(days=1))
    journal = a_journal(policy, {"only": ["late"]}, running="only")
    plan = decide(a_world([a_tenant("late", known, calendar=opens("Thu"))], policy=policy, journal=journal), NOON)
    status = planned(plan)
    assert status is not None
    assert status.planned_start_time == after(days=3)
    assert status.rescheduled is not None
    assert [tenant for tenant, _ in events(plan, "Rescheduled")] == ["late"]


def test_the_plan_warns_of_a_deadline_that_cannot_be_met_once() -> None:
    """With the tenant for whom it is waited longest, in an Event, and with the plan in status."""
    world = seen(two_waves(opens("Sun"), deadlineTime="2026-01-08T00:00:00Z"))
    plan = decide(world, NOON)
    assert plan.journal is not None
    assert plan.journal.run.late_for == "late"
    [(_, message)] = events(plan, "DeadlineAtRisk")
    assert "waits longest for late" in message
    accepted = next(one for one in upgrade_status(None, world, plan, NOON).conditions if one.type == "Accepted")
    assert f"warning: {message}" in accepted.message
    again = decide(replace(world, journal=plan.journal), NOON)
    assert events(again, "DeadlineAtRisk") == []


def test_waves_show_their_earliest_start_and_end() -> None:
    """And what happens next where nothing is known for certain."""
    world = seen(two_waves(opens("Tue")))
    first, rest = upgrade_status(None, world, decide(world, NOON), NOON).waves
    assert (first.planned_start_time, first.planned_end_time) == (None, after(hours=1))
    assert (rest.planned_start_time, rest.planned_end_time) == (after(hours=1), after(days=1, hours=2))


def test_a_forecast_of_another_run_counts_for_nothing() -> None:
    world = two_waves(opens("Tue"))
    found = forecast_of(world, NOON)
    assert found is not None
    assert planned(decide(replace(world, foreseen=Foreseen(f"{UPGRADE}-other", NOON, found)), NOON)) is None


def test_nothing_is_foreseen_of_a_run_that_is_over() -> None:
    world = two_waves()
    assert world.journal is not None
    run = world.journal.run.model_copy(update={"completion_time": NOON + timedelta(minutes=1)})
    assert forecast_of(replace(world, journal=world.journal.model_copy(update={"run": run})), after(hours=1)) is None


def test_while_people_are_waited_for_no_estimate_slides() -> None:
    """A suspended upgrade tells once when everybody would start if it went on now; what calendars say is kept up to date."""
    first = planned(decide(seen(two_waves(suspend=True)), NOON))
    assert first is not None
    assert first.planned_start_time == after(hours=1)
    known = a_status(wave="rest", planned_start_time=after(hours=1))
    for now in (after(minutes=30), after(days=3)):
        assert planned(decide(seen(two_waves(status=known, suspend=True), now), now)) is None
    fixed = planned(decide(seen(two_waves(opens("Tue"), known, suspend=True)), NOON))
    assert fixed is not None
    assert fixed.planned_start_time == after(days=1)


def test_a_notice_on_its_way_fixes_no_date() -> None:
    """Else each look would move the date by the time since the last one."""
    policy = a_policy([{"name": "only"}], notice={"lead": "7d"})
    journal = a_journal(policy, {"only": ["late"]}, running="only")
    world = a_world([a_tenant("late", a_status(wave="only"), calendar=ALWAYS)], policy=policy, journal=journal)
    found = forecast_of(world, NOON)
    assert found is not None
    assert (found.tenants["late"].start_time, found.tenants["late"].is_fixed) == (after(days=7), False)


def test_who_goes_back_is_written_first() -> None:
    """Before dates, of which there may be thousands."""
    policy = a_policy([{"name": "only", "failureBudget": 1}])
    failed = a_status(S.CONVERGING, wave="only", start_time=NOON, applied_time=NOON)
    tenants = [
        a_tenant("aaa", a_status(S.WAITING, wave="only", reason="OutsideWindow", message="before"), calendar=opens("Thu")),
        a_tenant("zzz", failed, calendar=ALWAYS, components=(a_view(at_release=True, progress=Progress.FAILED),)),
    ]
    journal = a_journal(policy, {"only": ["aaa", "zzz"]}, running="only")
    plan = decide(a_world(tenants, policy=policy, journal=journal), NOON)
    assert [(move.tenant, move.status.state) for move in plan.moves] == [("zzz", S.ROLLING_BACK), ("aaa", S.WAITING)]
