"""`tenantLimits`: how much of its time a tenant may close, so that neither side locks the other out.

Both limits are about whole years, so they are looked at once for each list of entries and year, and shared by all tenants with the same
entries. They read local dates and wall clocks as people write them: an hour more or less on a clock-change day breaks no limit.
The platform's freezes never count against a tenant, and `maxDeferral` is a matter of decisions.py.
"""

from collections.abc import Callable, Iterable, Iterator
from datetime import UTC, date, datetime, timedelta
from functools import lru_cache
from math import lcm

from tenantwave.api.conditions import WaitReason
from tenantwave.core.calendar.answers import Closed
from tenantwave.core.calendar.compiled import Calendar, FreezeList, NamedWindow, Owner, WindowList, closed_calendar
from tenantwave.core.calendar.lifts import TENANT_FACTORS, lifted
from tenantwave.core.calendar.recurrence import LONGEST_WINDOW, OnceRule, WeeklyRule, YearlyRule
from tenantwave.core.calendar.sentences import length, sentence
from tenantwave.core.calendar.zones import DAY, Zone

SECOND = timedelta(seconds=1)
DAY_SECONDS = 86_400
PERIOD_SECONDS = 32 * DAY_SECONDS
SCANNED_DAYS = 400
"""How far `minOpenPer32Days` is looked at where the rhythm does not repeat sooner; monthly windows do not."""


def settled(calendar: Calendar, now: datetime) -> Calendar:
    """Return the calendar, or in its place one that is closed because the tenant closes more than the policy lets it.

    Cost: nothing without limits; else a look into a table, and once for each list and year up to some milliseconds.
    """
    if calendar.limits is None or calendar.fault is not None:
        return calendar
    hold = _freezes_too_much(calendar, now.year) or _opens_too_little(calendar, now)
    return calendar if hold is None else _shut(calendar, hold)


def settled_until(calendar: Calendar, now: datetime) -> datetime | None:
    """Return when another year, or with single openings another day, may be judged otherwise; None: it never is."""
    if calendar.limits is None:
        return None
    if calendar.windows is not None and _has_single_openings(calendar.windows):
        return now.replace(hour=0, minute=0, second=0, microsecond=0) + DAY
    return datetime(now.year + 1, 1, 1, tzinfo=UTC)


@lru_cache(maxsize=16384)
def _shut(calendar: Calendar, hold: Closed) -> Calendar:
    return closed_calendar(hold, lifted(calendar, TENANT_FACTORS), calendar.later)


# maxFreezeDaysPerYear


def _freezes_too_much(calendar: Calendar, year: int) -> Closed | None:
    """Over the limit in this year or the next?"""
    allowed = calendar.limits.max_freeze_days_per_year if calendar.limits else None
    if allowed is None or not calendar.tenant_freezes.freezes:
        return None
    for each in (year, year + 1):
        count = freeze_day_count(calendar.tenant_freezes, each)
        if count > allowed:
            return _breach(f"your freezes cover {count} days of {each}, and {allowed} are allowed; shorten them or ask the platform team")
    return None


@lru_cache(maxsize=16384)
def freeze_day_count(freezes: FreezeList, year: int) -> int:
    """Count the distinct local dates of a calendar year that a list of freezes covers."""
    first_day, last_day = date(year, 1, 1), date(year, 12, 31)
    covered: set[int] = set()
    for freeze in freezes.freezes:
        rule = freeze.rule
        ranges = rule.ranges(year - 1, year) if isinstance(rule, YearlyRule) else iter(((rule.first, rule.last),))
        for first, last in ranges:
            covered.update(range(max(first, first_day).toordinal(), min(last, last_day).toordinal() + 1))
    return len(covered)


# minOpenPer32Days


def _opens_too_little(calendar: Calendar, now: datetime) -> Closed | None:
    needed = calendar.limits.min_open_per_32_days if calendar.limits else None
    if needed is None or calendar.windows is None or calendar.windows_owner is not Owner.TENANT:
        return None
    windows = calendar.windows
    recurring = tuple(window for window in windows.windows if not isinstance(window.rule, OnceRule))
    least, from_day = least_open(recurring, None, date(now.year, 1, 1), calendar.min_remaining)
    if least < needed and _has_single_openings(windows):
        # Single openings can only add to it, so they are looked at only if they may be needed.
        least, from_day = least_open(windows.windows, windows.zone, now.date(), calendar.min_remaining)
    if least >= needed:
        return None
    short = f"your windows are open for {length(least)} in the 32 days from {from_day}, and {length(needed)} are needed"
    return _breach(f"{short}; add or lengthen a window, or ask the platform team")


def _has_single_openings(windows: WindowList) -> bool:
    return any(isinstance(window.rule, OnceRule) for window in windows.windows)


@lru_cache(maxsize=16384)
def least_open(windows: tuple[NamedWindow, ...], zone: Zone | None, first_day: date, min_remaining: timedelta) -> tuple[timedelta, date]:
    """Return the least time that windows are open in any 32 days, in openings of at least `min_remaining`, and the date from which.

    `zone` is needed only to place windows of the kind `once`. Cost: 50 days of occurrences for plain weekly windows, at most 440 days
    of at most 16 windows; 0.1 to 10 ms.
    """
    first = first_day.toordinal() * DAY_SECONDS
    last = first + _days_to_scan(windows) * DAY_SECONDS
    needed = min_remaining // SECOND
    openings = [one for one in _united(_stretches(windows, zone, first, last + PERIOD_SECONDS)) if one[1] - one[0] >= needed]
    # The sum over a sliding period is least where the period begins at the end of an opening, or ends at the start of one.
    begins = {first, last, *(end for _, end in openings), *(start - PERIOD_SECONDS for start, _ in openings)}
    candidates = sorted(begin for begin in begins if first <= begin <= last)
    closed_before, opened_before = _open_before(openings), _open_before(openings)
    least, begin = min((opened_before(begin + PERIOD_SECONDS) - closed_before(begin), begin) for begin in candidates)
    return timedelta(seconds=least), date.fromordinal(begin // DAY_SECONDS)


def _open_before(openings: list[tuple[int, int]]) -> Callable[[int], int]:
    """Return a function that says how much time was open before an instant; to be asked with ascending instants."""
    passed, total = 0, 0

    def open_before(instant: int) -> int:
        nonlocal passed, total
        while passed < len(openings) and openings[passed][1] <= instant:
            total += openings[passed][1] - openings[passed][0]
            passed += 1
        return total + (max(0, instant - openings[passed][0]) if passed < len(openings) else 0)

    return open_before


def _days_to_scan(windows: tuple[NamedWindow, ...]) -> int:
    """Weekly rhythms repeat after the least common multiple of their weeks; anything else is looked at for 400 days."""
    if not all(isinstance(window.rule, WeeklyRule) for window in windows):
        return SCANNED_DAYS
    weeks = lcm(*(window.rule.every_weeks for window in windows if isinstance(window.rule, WeeklyRule)))
    return min(SCANNED_DAYS, 7 * weeks)


def _stretches(windows: tuple[NamedWindow, ...], zone: Zone | None, first: int, last: int) -> Iterator[tuple[int, int]]:
    """All stretches around a time, on a clock that never jumps: seconds since the day before year 1, by the local calendar."""
    first_day, last_day = (date.fromordinal(instant // DAY_SECONDS) for instant in (first, last))
    for window in windows:
        rule = window.rule
        duration = rule.duration // SECOND
        if isinstance(rule, OnceRule):
            local = rule.start_time.astimezone(zone.info if zone is not None else UTC)
            start = local.toordinal() * DAY_SECONDS + local.hour * 3600 + local.minute * 60 + local.second
            yield start, start + duration
            continue
        clock = rule.start.hour * 3600 + rule.start.minute * 60
        for day in rule.days(first_day - LONGEST_WINDOW, last_day):
            start = day.toordinal() * DAY_SECONDS + clock
            yield start, start + duration


def _united(stretches: Iterable[tuple[int, int]]) -> Iterator[tuple[int, int]]:
    """Join what overlaps or touches."""
    ordered = sorted(stretches)
    if not ordered:
        return
    begin, end = ordered[0]
    for start, stop in ordered:
        if start > end:
            yield begin, end
            begin = start
        end = max(end, stop)
    yield begin, end


def _breach(text: str) -> Closed:
    return Closed(WaitReason.INVALID_WINDOWS, sentence(f"closed: {text}"))
