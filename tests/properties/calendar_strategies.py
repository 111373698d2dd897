"""Calendars by the thousand for the property tests, and a slow, plain reading of the same rules to compare with: one mark per minute."""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta, tzinfo
from typing import Any
from zoneinfo import ZoneInfo

from hypothesis import strategies as st

from tenantwave.core.calendar import Calendar
from tenantwave.core.calendar.zones import accepted_names
from unit.core.calendar.manifests import Block, calendar_of, maintenance

MINUTE = timedelta(minutes=1)
DAYS = ("Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun")
WEEKS = ("First", "Second", "Third", "Fourth", "Fifth", "Last")
ODD_ZONES = (
    "Europe/Berlin", "America/New_York", "Australia/Lord_Howe", "Africa/Cairo", "America/Havana", "America/Santiago", "Africa/Casablanca",
    "Asia/Kathmandu", "Pacific/Kiritimati", "Pacific/Pago_Pago", "Asia/Gaza", "UTC",
)  # fmt: skip
CLOCK_CHANGES = (
    "2026-03-29",
    "2026-10-25",
    "2026-03-08",
    "2026-11-01",
    "2026-04-05",
    "2026-10-04",
    "2026-04-24",
    "2026-02-15",
    "2026-12-31",
)

zones = st.sampled_from(ODD_ZONES) | st.sampled_from(sorted(accepted_names()))
near_clock_changes = st.builds(
    lambda day, minutes: datetime.fromisoformat(day).replace(tzinfo=UTC) + minutes * MINUTE,
    st.sampled_from(CLOCK_CHANGES),
    st.integers(-3 * 1440, 3 * 1440),
)
instants = near_clock_changes | st.builds(
    lambda instant: instant.replace(second=0, microsecond=0),
    st.datetimes(datetime(2020, 1, 1), datetime(2035, 1, 1), timezones=st.just(UTC)),
)
clock_times = st.builds(
    lambda hour, minute: f"{hour:02}:{minute:02}", st.sampled_from((0, 1, 2, 3, 23)) | st.integers(0, 23), st.sampled_from((0, 15, 30, 59))
)
durations = st.builds(lambda minutes: f"{minutes}m", st.integers(1, 300) | st.integers(1, 7 * 1440))
day_sets = st.lists(st.sampled_from(DAYS), min_size=1, max_size=7, unique=True)
dates = st.dates(date(2020, 1, 1), date(2036, 1, 1))
month_days = st.builds(lambda day: f"{day:%m-%d}", st.dates(date(2028, 1, 1), date(2028, 12, 31)))

weekly_windows = st.builds(
    lambda days, start, duration, weeks, anchor: {
        "weekly": {"days": days, "start": start, "duration": duration}
        | ({"everyWeeks": weeks, "anchorDate": anchor.isoformat()} if weeks > 1 else {})
    },
    day_sets,
    clock_times,
    durations,
    st.sampled_from((1, 1, 2, 3, 52)),
    dates,
)
monthly_windows = st.builds(
    lambda week, day, start, duration: {"monthly": {"week": week, "day": day, "start": start, "duration": duration}},
    st.sampled_from(WEEKS),
    st.sampled_from(DAYS),
    clock_times,
    durations,
)


def freezes_near(now: datetime) -> st.SearchStrategy[Block]:
    """Freezes of some days around an instant, or yearly ones."""
    some_dates = st.builds(
        lambda offset, days: {
            "dates": {
                "from": (now.date() + timedelta(days=offset)).isoformat(),
                "to": (now.date() + timedelta(days=offset + days)).isoformat(),
            }
        },
        st.integers(-5, 15),
        st.integers(0, 10),
    )
    return some_dates | st.builds(lambda first, last: {"yearly": {"from": first, "to": last}}, month_days, month_days)


@dataclass(frozen=True)
class Case:
    """One tenant's calendar as manifests, and an instant."""

    now: datetime
    zone: str
    windows: tuple[Block, ...]
    freezes: tuple[Block, ...]
    platform_freezes: tuple[Block, ...]
    staff: Block | None = None
    when_no_window: str = "Open"
    min_remaining: str = "0s"

    def calendar(self, **changes: Any) -> Calendar:
        """The compiled calendar; keywords change one thing."""
        case = Case(**(vars(self) | changes))
        policy = maintenance(
            whenNoWindow=case.when_no_window,
            minRemaining=case.min_remaining,
            freezes=named(case.platform_freezes),
            **({"staffedHours": case.staff} if case.staff else {}),
        )
        return calendar_of(policy, timeZone=case.zone, windows=named(case.windows), freezes=named(case.freezes))


def named(blocks: tuple[Block, ...], prefix: str = "n") -> list[Block]:
    """Give each entry the name that the contract asks for."""
    return [{"name": f"{prefix}-{number}", **block} for number, block in enumerate(blocks)]


@st.composite
def cases(draw: st.DrawFn) -> Case:
    """Any calendar, often near a clock change."""
    now = draw(instants)
    once = st.builds(
        lambda offset, duration: {"once": {"start": (now + offset * MINUTE).isoformat(), "duration": duration}},
        st.integers(-3000, 10_000),
        durations,
    )
    hours = st.builds(lambda days, start, duration: {"days": days, "start": start, "duration": duration}, day_sets, clock_times, durations)
    staff = st.none() | st.builds(lambda zone, weekly: {"timeZone": zone, "weekly": weekly}, zones, st.lists(hours, min_size=1, max_size=2))
    return Case(
        now=now,
        zone=draw(zones),
        windows=tuple(draw(st.lists(weekly_windows | monthly_windows | once, max_size=3))),
        freezes=tuple(draw(st.lists(freezes_near(now), max_size=2))),
        platform_freezes=tuple(draw(st.lists(freezes_near(now), max_size=2))),
        staff=draw(staff),
        when_no_window=draw(st.sampled_from(("Open", "Open", "Closed"))),
        min_remaining=draw(st.sampled_from(("0s", "1m", "15m", "2h"))),
    )


def minutes_open(case: Case, after: datetime, minutes: int) -> bytearray:
    """Mark, for each minute after an instant, whether it is open. Everything is looked at day by day; nothing is clever."""
    marks = bytearray(minutes)
    before = after + minutes * MINUTE
    zone = ZoneInfo(case.zone)
    days = [after.date() + timedelta(days=offset) for offset in range(-9, minutes // 1440 + 3)]
    if not case.windows and case.when_no_window == "Open":
        marks[:] = b"\x01" * minutes
    for window in case.windows:
        for start, end in occurrences(window, days, zone):
            mark(marks, after, before, start, end, 1)
    for freeze in (*case.freezes, *case.platform_freezes):
        for day in days:
            if in_freeze(day, freeze):
                mark(marks, after, before, min(midnights(day, zone)), max(midnights(day + timedelta(days=1), zone)), 0)
    if case.staff:
        staffed = bytearray(minutes)
        for hours in case.staff["weekly"]:
            for start, end in occurrences({"weekly": hours}, days, ZoneInfo(case.staff["timeZone"])):
                mark(staffed, after, before, start, end, 1)
        marks = bytearray(a & b for a, b in zip(marks, staffed, strict=True))
    return marks


def mark(marks: bytearray, after: datetime, before: datetime, start: datetime, end: datetime, value: int) -> None:
    """Set the minutes of one stretch."""
    first, last = max(start, after), min(end, before)
    if first < last:
        low, high = (first - after) // MINUTE, (last - after) // MINUTE
        marks[low:high] = bytes([value]) * (high - low)


def occurrences(window: Block, days: list[date], zone: ZoneInfo) -> Iterator[tuple[datetime, datetime]]:
    """The stretches of a window on these local days."""
    if once := window.get("once"):
        start = datetime.fromisoformat(once["start"])
        yield start, start + minutes_of(once["duration"])
        return
    rule = window.get("weekly") or window["monthly"]
    for day in days:
        if opens_on(day, window):
            start = first_reading(datetime.combine(day, time.fromisoformat(rule["start"])), zone)
            yield start, start + minutes_of(rule["duration"])


def opens_on(day: date, window: Block) -> bool:
    """Tell whether a window begins on a local day."""
    if weekly := window.get("weekly"):
        anchor = date.fromisoformat(weekly.get("anchorDate", "2026-01-05"))
        weeks = (day.toordinal() - 1) // 7 - (anchor.toordinal() - 1) // 7
        return bool(DAYS[day.weekday()] in weekly["days"] and weeks % weekly.get("everyWeeks", 1) == 0)
    monthly = window["monthly"]
    if DAYS[day.weekday()] != monthly["day"]:
        return False
    if monthly["week"] == "Last":
        return (day + timedelta(days=7)).month != day.month
    return bool(WEEKS[(day.day - 1) // 7] == monthly["week"])


def in_freeze(day: date, freeze: Block) -> bool:
    """Tell whether a local day is frozen."""
    if found := freeze.get("dates"):
        return bool(found["from"] <= day.isoformat() <= found["to"])
    asked = (freeze["yearly"]["from"], freeze["yearly"]["to"])
    last_of_february = f"{date(day.year, 3, 1) - timedelta(days=1):%m-%d}"
    first, last = (min(end, last_of_february) if end == "02-29" else end for end in asked)
    today = f"{day:%m-%d}"
    return bool(first <= today <= last if asked[0] <= asked[1] else today >= first or today <= last)


def midnights(day: date, zone: ZoneInfo) -> list[datetime]:
    """Both readings of midnight."""
    return [datetime.combine(day, time(), tzinfo=zone).replace(fold=fold).astimezone(UTC) for fold in (0, 1)]


def first_reading(asked: datetime, zone: tzinfo) -> datetime:
    """Try the offsets of the day before and after; in a gap none of them gives the asked time back, then the one before counts."""
    offsets = [zone.utcoffset((asked + timedelta(hours=hours)).replace(tzinfo=zone)) for hours in (-26, 26)]
    tries = [(asked - offset).replace(tzinfo=UTC) for offset in offsets if offset is not None]
    right = [instant for instant in tries if instant.astimezone(zone).replace(tzinfo=None) == asked]
    return min(right) if right else tries[0]


def minutes_of(text: str) -> timedelta:
    """Read `90m`."""
    return timedelta(minutes=int(text.removesuffix("m")))
