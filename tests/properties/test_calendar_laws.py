"""Laws that hold whatever the rules are: a deny of all time, windows cut in two, refused kinds, and another release of the zones."""

from dataclasses import replace
from datetime import UTC, date, datetime, timedelta, timezone
from importlib.metadata import version
from importlib.resources import files
from time import process_time
from zoneinfo import ZoneInfo

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from properties.calendar_strategies import DAYS, Case, cases, instants, zones
from tenantwave.api.action import Lift
from tenantwave.api.conditions import WaitReason
from tenantwave.api.profile import TenantProfileSpec
from tenantwave.core.calendar import Calendar, Override, Terms, planned_start
from tenantwave.core.calendar.compiled import window_list
from tenantwave.core.calendar.openings import open_stretches
from tenantwave.core.calendar.zones import Zone, zone_named
from unit.core.calendar.manifests import Block, calendar_of, utc, weekly

ALL_YEAR: Block = {"yearly": {"from": "03-01", "to": "02-29"}}
QUICK_SECONDS = 0.005
DAY = timedelta(days=1)


@settings(deadline=None)
@given(cases(), st.booleans())
def test_a_deny_of_all_time_is_never_with_a_reason(case: Case, by_platform: bool) -> None:
    """In whatever zone, whoever states it; and the one that states it can lift it."""
    whose = "platform_freezes" if by_platform else "freezes"
    start = planned_start(case.calendar(**{whose: (ALL_YEAR,)}), Terms(), case.now)
    assert start.start_time is None
    assert start.hold is not None
    closed_anyway = not case.windows and case.when_no_window == "Closed"
    assert start.hold.reason in (
        WaitReason.INVALID_WINDOWS,
        *((WaitReason.PLATFORM_FREEZE, WaitReason.TENANT_FREEZE, WaitReason.OUTSIDE_WINDOW) if closed_anyway else ()),
    )
    override = Override("o", "run", frozenset(Lift), case.now + DAY)
    assert planned_start(case.calendar(**{whose: (ALL_YEAR,)}), Terms(overrides=(override,)), case.now).hold is None


def starts_and_ends(calendar: Calendar, now: datetime) -> list[tuple[datetime, datetime]]:
    """The openings of a hundred days."""
    return [(one.start, one.end) for one in open_stretches(calendar, now, now + 100 * DAY)]


@settings(deadline=None)
@given(zones, instants, st.sampled_from(DAYS), st.integers(0, 20), st.integers(1, 3 * 60 - 1))
def test_a_window_cut_into_touching_halves_is_the_same(zone: str, now: datetime, day: str, hour: int, cut: int) -> None:
    """As long as no clock changes in it: the second half starts by wall time."""
    second_start = f"{hour + cut // 60:02}:{cut % 60:02}"
    whole = calendar_of(timeZone=zone, windows=[weekly(day, f"{hour:02}:00", "3h")])
    halves = calendar_of(
        timeZone=zone, windows=[weekly(day, f"{hour:02}:00", f"{cut}m", "first"), weekly(day, second_start, f"{180 - cut}m", "second")]
    )
    info = whole.zone.info
    found = starts_and_ends(whole, now)
    offsets = [{instant.astimezone(info).utcoffset() for instant in (start - DAY, end + DAY)} for start, end in found if start > now + DAY]
    assume(all(len(each) == 1 for each in offsets))
    assert starts_and_ends(halves, now) == found


@pytest.mark.parametrize(
    "window",
    [
        {"name": "w", "rrule": "FREQ=SECONDLY;INTERVAL=0"},
        {"name": "w", "cron": "* * * * *"},
        {"name": "w", "weekly": {"days": ["Mon"], "start": "00:00", "duration": "1h", "rrule": "FREQ=DAILY"}},
        {"name": "w", "weekly": {"days": ["Mon"], "start": "00:00", "end": "01:00"}},
        {"name": "w", "daily": {"start": "00:00", "duration": "1h"}},
    ],
    ids=["rrule", "cron", "rrule-within", "end", "unknown-kind"],
)
def test_rules_of_other_kinds_are_refused_at_once(window: Block) -> None:
    """There is nothing to expand, so nothing hangs."""
    with pytest.raises(ValidationError):
        TenantProfileSpec.model_validate({"windows": [weekly("Mon", "00:00", "1h"), window]})
    begun = process_time()
    with pytest.raises(ValidationError):
        TenantProfileSpec.model_validate({"windows": [window]})
    assert process_time() - begun < QUICK_SECONDS


def in_zone(calendar: Calendar, zone: Zone) -> Calendar:
    """The same rules, read with other rules of the clock."""
    assert calendar.windows is not None
    return replace(calendar, zone=zone, windows=window_list(zone, calendar.windows.windows))


def test_another_release_of_the_zones_moves_only_tenants_in_changed_zones() -> None:
    """Casablanca kept UTC+1 in winter up to tzdata 2025b; with 2026f it is UTC. Both at once, in one process."""
    assert tuple(int(part) for part in version("tzdata").split(".")) >= (2026, 6), "rows of these years hold from tzdata 2026f on"
    with files("tzdata").joinpath("zoneinfo", "Africa", "Casablanca").open("rb") as file:
        pinned = Zone("Africa/Casablanca", ZoneInfo.from_file(file))
    nightly = [weekly("Fri", "02:00", "2h")]
    january = utc("2027-01-14T12:00Z")
    casablanca, berlin = (calendar_of(timeZone=name, windows=nightly) for name in ("Africa/Casablanca", "Europe/Berlin"))
    before = in_zone(casablanca, Zone("Africa/Casablanca", timezone(timedelta(hours=1))))
    assert planned_start(before, Terms(), january).start_time == utc("2027-01-15T01:00Z")
    assert planned_start(in_zone(casablanca, pinned), Terms(), january).start_time == utc("2027-01-15T02:00Z")
    assert planned_start(in_zone(berlin, zone_named("Europe/Berlin")), Terms(), january).start_time == utc("2027-01-15T01:00Z")


@pytest.mark.parametrize("zone", ["UTC", "Europe/Berlin", "Pacific/Kiritimati"])
def test_a_deny_of_31_january_and_29_february_opens_on_1_march(zone: str) -> None:
    """The year-end freeze, to the minute."""
    calendar = calendar_of(timeZone=zone, freezes=[{"name": "year-end", "yearly": {"from": "12-01", "to": "02-29"}}])
    info = calendar.zone.info
    for year in (2027, 2028):
        for day, is_open in ((date(year, 1, 31), False), (date(year, 3, 1) - DAY, False), (date(year, 3, 1), True)):
            for hour, minute in ((0, 0), (23, 59)):
                now = datetime(day.year, day.month, day.day, hour, minute, tzinfo=info).astimezone(UTC)
                assert (planned_start(calendar, Terms(), now).hold is None) is is_open
