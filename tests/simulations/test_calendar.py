"""Thousands of random tenants, zones, years and terms: the product's answers against a scan of every minute with dateutil."""

import os
from collections import Counter
from datetime import timedelta
from random import Random, SystemRandom

from properties.calendar_oracle import MINUTE, SPAN, Plan, Scan, any_plan, reads_like, scan
from tenantwave.api.action import Lift
from tenantwave.api.conditions import WaitReason
from tenantwave.core.calendar import Calendar, Choice, Closed, Notice, Override, Terms, planned_start
from tenantwave.core.calendar.openings import open_stretches

CASES = 2000
REASONS = {
    Lift.PLATFORM_FREEZES: WaitReason.PLATFORM_FREEZE,
    Lift.TENANT_FREEZES: WaitReason.TENANT_FREEZE,
    Lift.TENANT_WINDOWS: WaitReason.OUTSIDE_WINDOW,
    Lift.STAFFED_HOURS: WaitReason.NOT_STAFFED,
}
WEEK = timedelta(days=7)


def terms_of(plan: Plan) -> Terms:
    """What counts besides the calendar."""
    return Terms(
        notice=Notice(plan.notice_end - WEEK, WEEK) if plan.notice_end else None,
        choice=Choice(Closed(WaitReason.DEFERRED, "deferred"), plan.hold_end) if plan.hold_end else Choice(),
        force_time=plan.force_time,
        overrides=tuple(Override(f"o{number}", "run", lifts, expires) for number, (expires, lifts) in enumerate(plan.overrides)),
    )


def check_openings(plan: Plan, calendar: Calendar, seen: Scan) -> None:
    """The openings of the calendar alone are the open minutes, no more and no less."""
    marks = bytearray(SPAN)
    for one in open_stretches(calendar, plan.now, plan.now + SPAN * MINUTE):
        low, high = (one.start - plan.now) // MINUTE, min(SPAN, (one.end - plan.now) // MINUTE)
        marks[low:high] = b"\x01" * (high - low)
    without_force = Scan(Plan(**(vars(plan) | {"force_time": None})), seen.opened)
    assert marks == without_force.open_minutes(frozenset())


def check_start(plan: Plan, calendar: Calendar, seen: Scan, startable: bytearray, minute: int) -> str:
    """At one minute: the planned start is the first minute in which one may start, and the reason is the first that closes."""
    now = plan.now + minute * MINUTE
    start = planned_start(calendar, terms_of(plan), now)
    expected = startable.find(1, minute)
    beyond = SPAN - max(1, plan.min_remaining)
    if expected < 0:
        # What would begin too near the end of the scan cannot be judged by it.
        assert start.start_time is None or start.start_time > plan.now + beyond * MINUTE
    else:
        assert start.start_time == plan.now + expected * MINUTE
    assert (start.hold is None) is (expected == minute)
    if start.hold is None:
        return "open"
    assert start.wake_time > now
    reason = start.hold.reason
    if reason is WaitReason.INVALID_WINDOWS:
        assert not any(startable[minute : min(SPAN, max(0, force_minute(plan)))]) or plan.overrides
    elif plan.hold_end is not None and now < plan.hold_end:
        assert reason is WaitReason.DEFERRED
    elif plan.notice_end is not None and now < plan.notice_end and Lift.NOTICE not in seen.lifts_at(minute):
        assert reason is WaitReason.NOTICE_PERIOD
    else:
        closing = seen.first_closed(minute)
        assert reason is (REASONS[closing] if closing is not None else WaitReason.TOO_LITTLE_TIME_LEFT)
    return str(reason)


def force_minute(plan: Plan) -> int:
    """The minute of `forceTime`, the end of the scan if there is none."""
    return (plan.force_time - plan.now) // MINUTE if plan.force_time else SPAN


def test_the_calendar_against_a_scan_of_every_minute() -> None:
    """At least 2,000 tenants; set CALENDAR_SEED, or TENANTWAVE_TEST_SEED, to see the same ones again."""
    seed = os.environ.get("CALENDAR_SEED") or os.environ.get("TENANTWAVE_TEST_SEED") or str(SystemRandom().randrange(2**32))
    print(f"CALENDAR_SEED={seed}")
    random = Random(seed)
    met: Counter[str] = Counter()
    done = 0
    while done < CASES:
        plan = any_plan(random)
        if not all(reads_like(zone, plan.now) for zone in {plan.zone, *([plan.staff["timeZone"]] if plan.staff else [])}):
            met["not readable by dateutil"] += 1
            continue
        done += 1
        try:
            calendar, seen = plan.calendar(), scan(plan)
            check_openings(plan, calendar, seen)
            startable = seen.startable()
            for minute in (0, *(random.randrange(SPAN // 2) for _ in range(3))):
                met[check_start(plan, calendar, seen, startable, minute)] += 1
        except AssertionError as error:
            raise AssertionError(f"CALENDAR_SEED={seed}, case {done}: {plan}") from error
    print(met)
    assert met["not readable by dateutil"] < CASES / 10
    assert {str(reason) for reason in REASONS.values()} | {"open", "Deferred", "NoticePeriod", "TooLittleTimeLeft"} <= set(met)
