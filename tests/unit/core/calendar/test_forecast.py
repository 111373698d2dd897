"""The forecast: starts, ends, the bottleneck, and the warning; and dates that move."""

from datetime import datetime, timedelta
from typing import Any

import pytest

from tenantwave.api.conditions import WaitReason
from tenantwave.api.policy import Consent, Stragglers
from tenantwave.core.calendar import Calendar, Guest, Notice, Rescheduled, Rights, Terms, WavePlan, forecast, rescheduled, rule_on
from unit.core.calendar.manifests import calendar_of, dates, utc, weekly

NOW = utc("2026-11-16T00:00Z")  # a Monday
HOUR, DAY = timedelta(hours=1), timedelta(days=1)
OPEN = calendar_of()
TUESDAYS = calendar_of(windows=[weekly("Tue", "02:00", "3h")])
NEVER = Terms(choice=rule_on([], Rights(Consent.OPT_IN)).choice)


def guests(*names: str, calendar: Calendar = OPEN, terms: Terms | None = None) -> tuple[Guest, ...]:
    """Tenants with the same calendar."""
    return tuple(Guest(name, calendar, terms or Terms()) for name in names)


def wave(name: str, *tenants: Guest, **more: Any) -> WavePlan:
    """A wave with slots for all and a soak of an hour."""
    return WavePlan(name, tenants, **{"slots": len(tenants) or 1, "soak": HOUR, **more})


def test_a_wave_begins_when_the_one_before_it_ends() -> None:
    """Two always open tenants one after the other, an hour of soak each."""
    found = forecast([wave("canary", *guests("a")), wave("rest", *guests("b"))], NOW)
    assert found.tenants["a"].start_time == NOW
    assert found.tenants["b"].start_time == found.waves[0].end_time == NOW + HOUR
    assert found.end_time == found.waves[1].end_time == NOW + 2 * HOUR
    assert found.warning == ""


def test_a_tenant_waits_for_its_opening_its_notice_and_its_choice() -> None:
    """Whichever comes last."""
    told = Terms(Notice(NOW, 7 * DAY))
    found = forecast([wave("rest", *guests("window", calendar=TUESDAYS), *guests("told", calendar=TUESDAYS, terms=told))], NOW)
    assert found.tenants["window"].start_time == utc("2026-11-17T02:00Z")
    assert found.tenants["told"].start_time == utc("2026-11-24T02:00Z")
    assert found.waves[0].bottleneck == "told"


def test_a_notice_on_its_way_counts_as_delivered_now() -> None:
    """Before anything starts the plan can still be told."""
    found = forecast([wave("rest", *guests("a", terms=Terms(Notice(None, 7 * DAY))))], NOW)
    assert found.tenants["a"].start_time == NOW + 7 * DAY


def test_slots_make_tenants_wait_for_each_other() -> None:
    """One slot that is kept for two hours, an opening of three: the third tenant starts a week later."""
    found = forecast([wave("rest", *guests("a", "b", "c", calendar=TUESDAYS), slots=1, slot_time=2 * HOUR)], NOW)
    starts = [found.tenants[name].start_time for name in "abc"]
    assert starts == [utc("2026-11-17T02:00Z"), utc("2026-11-17T04:00Z"), utc("2026-11-24T02:00Z")]


def test_slots_that_are_taken_are_waited_for() -> None:
    """A tenant in flight keeps its slot until its time is over."""
    running = Guest("a", OPEN, start_time=NOW - HOUR)
    found = forecast([wave("rest", running, *guests("b"), slots=1, slot_time=2 * HOUR, start_time=NOW - HOUR)], NOW)
    assert found.tenants["b"].start_time == NOW + HOUR


def test_what_has_happened_is_no_forecast() -> None:
    """A wave that has passed and one that runs keep their times."""
    done = Guest("a", OPEN, start_time=NOW - 2 * DAY, end_time=NOW - DAY)
    soaking = Guest("b", OPEN, start_time=NOW - HOUR / 2)
    found = forecast(
        [
            wave("canary", done, start_time=NOW - 2 * DAY, end_time=NOW - DAY),
            wave("rest", soaking, *guests("c", calendar=TUESDAYS), start_time=NOW - DAY),
        ],
        NOW,
    )
    assert found.waves[0].end_time == NOW - DAY
    assert found.tenants["b"].end_time == NOW + HOUR / 2
    assert found.waves[1].end_time == utc("2026-11-17T03:00Z")


def test_the_deadline_that_cannot_be_met_names_the_bottleneck() -> None:
    """The tenant that costs most time, and what it waits for."""
    frozen = calendar_of(windows=[weekly("Tue", "02:00", "3h")], freezes=[dates("2026-11-01", "2027-01-31", "sale")])
    waves = [wave("canary", *guests("a"), soak=7 * DAY), wave("rest", *guests("b"), *guests("acme", calendar=frozen))]
    found = forecast(waves, NOW, deadline_time=utc("2026-12-20T00:00Z"))
    assert found.bottleneck == "acme"
    assert found.warning == (
        "deadlineTime 2026-12-20T00:00:00Z cannot be met: the earliest end is 2027-02-02T03:00:00Z; wave rest waits longest for acme, "
        "which starts 2027-02-02T02:00:00Z (TenantFreeze); move the deadline, or ask the tenant for time"
    )
    assert forecast(waves, NOW, deadline_time=utc("2027-02-02T03:00Z")).warning == ""
    assert forecast(waves, NOW).warning == ""


def test_a_tenant_without_a_start_in_sight_stops_the_waves_after_it() -> None:
    """Nobody knows when it agrees, so nobody knows when the next wave begins."""
    waves = [wave("canary", *guests("acme", terms=NEVER)), wave("rest", *guests("b"))]
    found = forecast(waves, NOW, deadline_time=NOW + DAY)
    assert found.tenants["acme"].start_time is None
    assert found.tenants["b"].start_time is None
    assert [one.end_time for one in found.waves] == [None, None]
    assert found.end_time is None
    assert "no end is in sight; wave canary waits longest for acme, which has no start in sight (AwaitingConsent)" in found.warning
    assert len(found.warning) <= 256


def test_with_stragglers_the_next_wave_begins_without_them() -> None:
    """After `maxWait`; the end of the upgrade still waits for them."""
    policy = Stragglers.model_validate({"minCompleted": "80%", "maxWait": "72h"})
    far = calendar_of(windows=[weekly("Sun", "02:00", "3h")])
    waves = [wave("canary", *guests("a", "b", "c", "d"), *guests("far", calendar=far)), wave("rest", *guests("z"))]
    found = forecast(waves, NOW, stragglers=policy)
    assert found.waves[0].end_time == found.tenants["z"].start_time == NOW + timedelta(hours=72)
    assert found.end_time == found.tenants["far"].end_time == utc("2026-11-22T03:00Z")
    assert forecast(waves, NOW).tenants["z"].start_time == utc("2026-11-22T03:00Z")


def test_who_opted_out_for_good_is_no_part_of_it() -> None:
    """It is skipped."""
    out = rule_on([], Rights()).choice
    skipped = Terms(choice=type(out)(hold=NEVER.choice.hold, skip=True))
    found = forecast([wave("rest", *guests("a"), *guests("out", terms=skipped))], NOW)
    assert set(found.tenants) == {"a"}
    assert found.end_time == NOW + HOUR


def test_an_empty_wave_passes_at_once() -> None:
    """It has nobody to wait for."""
    found = forecast([wave("canary", *guests("a")), wave("friendly"), wave("rest", *guests("b"))], NOW)
    assert found.waves[1].end_time == NOW + HOUR
    assert found.tenants["b"].start_time == NOW + HOUR


@pytest.mark.parametrize(
    ("told", "planned", "moved"),
    [
        pytest.param(None, NOW, False, id="never-told"),
        pytest.param(NOW, NOW, False, id="the-same"),
        pytest.param(NOW, NOW + timedelta(minutes=5), False, id="five-minutes-are-the-same-date"),
        pytest.param(NOW, NOW + timedelta(minutes=5, seconds=1), True, id="later"),
        pytest.param(NOW, NOW - HOUR, True, id="sooner"),
        pytest.param(NOW, None, True, id="out-of-sight"),
    ],
)
def test_a_date_that_was_told_and_moved(told: datetime | None, planned: datetime | None, moved: bool) -> None:
    """Old date, new date, why."""
    found = rescheduled("acme", told, planned, WaitReason.TENANT_FREEZE, 'your freeze "sale"')
    assert found == (Rescheduled("acme", NOW, planned, "TenantFreeze", 'your freeze "sale"') if moved else None)
