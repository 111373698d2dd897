"""The recurrence kinds: against dateutil's reading of RFC 5545 on local dates, and on every kind of clock-change day."""

from datetime import UTC, date, datetime, time, timedelta

import pytest
from dateutil.rrule import MO, MONTHLY, WEEKLY, rrule
from dateutil.rrule import weekday as rrule_weekday
from hypothesis import given, settings
from hypothesis import strategies as st

from properties.calendar_strategies import MINUTE, first_reading, instants, zones
from tenantwave.core.calendar.openings import open_stretches
from tenantwave.core.calendar.recurrence import LAST, MonthlyRule, WeeklyRule
from tenantwave.core.calendar.zones import instant_of, zone_named
from unit.core.calendar.manifests import calendar_of, weekly

ANY_DAY = st.dates(date(2020, 1, 1), date(2035, 1, 1))
HOUR = timedelta(hours=1)


def midnight(day: date) -> datetime:
    """A naive midnight, as dateutil wants it."""
    return datetime.combine(day, time())


@settings(deadline=None)
@given(st.sets(st.integers(0, 6), min_size=1), st.integers(1, 52), ANY_DAY, ANY_DAY, st.integers(0, 500))
def test_weekly_days_agree_with_dateutil(weekdays: set[int], every_weeks: int, anchor: date, first: date, days: int) -> None:
    """Phase by the week of the anchor, weeks from Monday to Sunday, also before the anchor."""
    rule = WeeklyRule(tuple(sorted(weekdays)), time(2), HOUR, every_weeks, anchor)
    last = first + timedelta(days=days)
    monday = anchor - timedelta(days=anchor.weekday())
    long_ago = monday - timedelta(weeks=every_weeks * (16 * 53 // every_weeks + 1))
    expected = rrule(WEEKLY, dtstart=midnight(long_ago), interval=every_weeks, wkst=MO, byweekday=sorted(weekdays))
    assert list(rule.days(first, last)) == [found.date() for found in expected.between(midnight(first), midnight(last), inc=True)]


@settings(deadline=None)
@given(st.sampled_from((1, 2, 3, 4, 5, LAST)), st.integers(0, 6), ANY_DAY, st.integers(0, 500))
def test_monthly_days_agree_with_dateutil(week: int, weekday: int, first: date, days: int) -> None:
    """First to fifth and last; a month without a fifth one has none."""
    last = first + timedelta(days=days)
    expected = rrule(MONTHLY, dtstart=midnight(first.replace(day=1)), byweekday=rrule_weekday(weekday)(week))
    found = list(MonthlyRule(week, weekday, time(2), HOUR).days(first, last))
    assert found == [one.date() for one in expected.between(midnight(first), midnight(last), inc=True)]


def test_last_and_fifth_in_all_shapes_of_a_month() -> None:
    """Four lengths times seven first days: 28 shapes, all within 28 years."""
    shapes = set()
    for number in range(12 * 28):
        month = date(2020 + number // 12, number % 12 + 1, 1)
        next_month = (month + timedelta(days=31)).replace(day=1)
        shapes.add(((next_month - month).days, month.weekday()))
        days = [month + timedelta(days=offset) for offset in range((next_month - month).days)]
        for weekday in range(7):
            matching = [day for day in days if day.weekday() == weekday]
            span = (days[0], days[-1])
            assert list(MonthlyRule(LAST, weekday, time(), HOUR).days(*span)) == matching[-1:]
            assert list(MonthlyRule(5, weekday, time(), HOUR).days(*span)) == matching[4:]
    assert len(shapes) == 28


@settings(deadline=None)
@given(st.sets(st.integers(0, 6), min_size=1), st.integers(2, 52), ANY_DAY, st.integers(-30, 30), ANY_DAY)
def test_any_date_in_any_week_that_counts_is_as_good_an_anchor(
    weekdays: set[int], every: int, anchor: date, periods: int, first: date
) -> None:
    """The anchor fixes the phase and nothing else."""
    other = anchor - timedelta(days=anchor.weekday()) + timedelta(weeks=every * periods, days=3)
    span = (first, first + timedelta(days=800))
    days, same = (list(WeeklyRule(tuple(sorted(weekdays)), time(), HOUR, every, date_).days(*span)) for date_ in (anchor, other))
    assert days == same


@settings(deadline=None)
@given(zones, ANY_DAY, st.times().map(lambda value: value.replace(second=0, microsecond=0)))
def test_the_local_start_is_the_asked_one_unless_it_lies_in_a_gap(name: str, day: date, start: time) -> None:
    """And in a gap it is later by the length of the gap."""
    zone = zone_named(name)
    found = instant_of(day, start, zone)
    local = found.astimezone(zone.info).replace(tzinfo=None)
    asked = datetime.combine(day, start)
    assert local >= asked
    if local != asked:
        assert asked + HOUR / 6 <= local <= asked + timedelta(hours=24)
        nearby = (found + minute * MINUTE for minute in range(-26 * 60, 26 * 60))
        assert all(instant.astimezone(zone.info).replace(tzinfo=None) != asked for instant in nearby)


@pytest.mark.parametrize(
    ("zone", "start"),
    [
        ("Europe/Berlin", "02:30"),
        ("America/New_York", "02:30"),
        ("America/New_York", "01:30"),
        ("Australia/Lord_Howe", "02:15"),
        ("Australia/Lord_Howe", "01:45"),
        ("Africa/Cairo", "00:00"),
        ("Africa/Cairo", "23:30"),
        ("America/Havana", "00:30"),
        ("America/Santiago", "00:00"),
        ("America/Santiago", "23:30"),
        ("Pacific/Pago_Pago", "23:30"),
        ("Pacific/Kiritimati", "00:00"),
    ],
)
def test_a_daily_window_opens_once_a_day_whatever_the_clock_does(zone: str, start: str) -> None:
    """Two years of days: as many openings as days, each at the first reading."""
    calendar = calendar_of(timeZone=zone, windows=[weekly("daily", start, "10m")])
    after, before = datetime(2026, 1, 10, 12, tzinfo=UTC), datetime(2028, 1, 10, 12, tzinfo=UTC)
    found = [opening.start for opening in open_stretches(calendar, after, before)]
    assert len(found) == (before - after).days
    first = found[0].astimezone(calendar.zone.info).date()
    days = [first + timedelta(days=number) for number in range(len(found))]
    assert found == [first_reading(datetime.combine(day, time.fromisoformat(start)), calendar.zone.info) for day in days]


@settings(deadline=None)
@given(zones, instants, st.integers(1, 7 * 1440))
def test_an_undisturbed_opening_lasts_its_duration(zone: str, now: datetime, minutes: int) -> None:
    """Elapsed time, also over a clock change."""
    calendar = calendar_of(timeZone=zone, windows=[weekly("Sat", "23:00", f"{minutes}m", everyWeeks=2, anchorDate="2026-01-03")])
    for opening in open_stretches(calendar, now, now + timedelta(days=100)):
        if opening.start > now:
            assert opening.end - opening.start == minutes * MINUTE
