"""The algebra: windows, less freezes, met with staffed hours, give openings; less the time needed, they give times to start.

    open = windows - platform freezes - tenant freezes, met with staffed hours

Freezes are few and long, windows many and short. So the search walks the gaps that the freezes leave, and looks for windows only inside a
gap: a freeze of three months costs one step, whatever it covers.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import lru_cache

from tenantwave.core.calendar.compiled import Calendar, NamedFreeze
from tenantwave.core.calendar.intervals import FOREVER, Interval, complement, intersection, union
from tenantwave.core.calendar.recurrence import frozen_stretches, stretches
from tenantwave.core.calendar.zones import DAY, Zone

HORIZON = timedelta(days=400)
"""How far ahead a search goes; it covers `everyWeeks: 52` and yearly freezes."""
MARGIN = timedelta(days=8)
"""Beyond the horizon, so that an opening that begins before it shows its true end. More than the longest window."""
TICK = timedelta(microseconds=1)
"""The smallest step of time there is here; turns "until and including" into "until before"."""


@dataclass(frozen=True, slots=True)
class Frozen:
    """One stretch of a freeze."""

    interval: Interval
    name: str


@lru_cache(maxsize=4096)
def frozen(freezes: tuple[NamedFreeze, ...], zone: Zone, from_year: int, to_year: int) -> tuple[Frozen, ...]:
    """The stretches of a list of freezes in these years, sorted. Shared by all tenants of a zone: 10,000 of them expand a policy's
    freezes once.
    """
    found = (Frozen(stretch, freeze.name) for freeze in freezes for stretch in frozen_stretches(freeze.rule, zone, from_year, to_year))
    return tuple(sorted(found, key=lambda one: (one.interval.start, one.interval.end, one.name)))


def platform_frozen(calendar: Calendar, after: datetime, before: datetime) -> tuple[Frozen, ...]:
    """The stretches of the platform's freezes in all years that touch this time."""
    return frozen(calendar.platform_freezes, calendar.zone, after.year - 1, before.year + 1)


def tenant_frozen(calendar: Calendar, after: datetime, before: datetime) -> tuple[Frozen, ...]:
    """The stretches of the tenant's own freezes in all years that touch this time."""
    return frozen(calendar.tenant_freezes, calendar.zone, after.year - 1, before.year + 1)


def window_stretches(calendar: Calendar, within: Interval) -> Iterator[Interval]:
    """The united stretches of the windows that touch a time, each at its whole length; all of that time if there are no windows and
    that means Open.
    """
    if calendar.windows is None:
        return iter((within,))
    return union(*(stretches(window.rule, calendar.zone, within.start, within.end) for window in calendar.windows))


def staffed_stretches(calendar: Calendar, within: Interval) -> Iterator[Interval]:
    """The united staffed hours that touch a time; all of it if the policy states none."""
    staff = calendar.staff
    if staff is None:
        return iter((within,))
    return union(*(stretches(rule, staff.zone, within.start, within.end) for rule in staff.rules))


def open_stretches(calendar: Calendar, after: datetime, before: datetime) -> Iterator[Interval]:
    """The openings that touch the time from `after` and begin before `before`: sorted, disjoint, each as long as can be.

    One that runs already at `after` begins there; one that has no end a week beyond `before` ends FOREVER.
    Cost: one step per window occurrence outside freezes; 16 windows on all days of 400 are under 10,000.
    """
    limit = before + MARGIN
    freezes = union(
        *((one.interval for one in several) for several in (platform_frozen(calendar, after, limit), tenant_frozen(calendar, after, limit)))
    )
    for gap in complement(freezes, Interval(after, limit)):
        found = intersection(window_stretches(calendar, gap), iter((gap,)))
        if calendar.staff is not None:
            found = intersection(found, staffed_stretches(calendar, gap))
        for opening in found:
            if opening.start >= before:
                return
            yield opening if opening.end < limit else Interval(opening.start, FOREVER)


def time_to_start(opening: Interval, min_remaining: timedelta, skew: timedelta) -> Interval | None:
    """The part of an opening in which a tenant may start: enough of it is left, even if our clock is wrong by `skew`. None: it is too
    short for that.
    """
    first = opening.start + skew
    if opening.end == FOREVER:
        return Interval(first, FOREVER)
    last = opening.end - skew - (max(min_remaining, TICK) - TICK)
    return Interval(first, last) if first < last else None


@dataclass(frozen=True, slots=True)
class Chance:
    """An opening that is long enough to start in, and the part of it in which to start."""

    opening: Interval
    start_within: Interval


def chances(calendar: Calendar, now: datetime, skew: timedelta) -> Iterator[Chance]:
    """The chances to start that have not passed, soonest first, out of the next 400 days.

    The horizon is a midnight, so that answers of one day do not differ by when they were asked.
    """
    for opening in open_stretches(calendar, now - skew - TICK, horizon(now)):
        within = time_to_start(opening, calendar.min_remaining, skew)
        if within is not None and within.end > now:
            yield Chance(opening, within)


def horizon(now: datetime) -> datetime:
    """The end of a search: midnight, UTC, 400 days after the end of today."""
    return next_midnight(now) + HORIZON


def next_midnight(now: datetime) -> datetime:
    """The end of today, UTC."""
    return now.replace(hour=0, minute=0, second=0, microsecond=0) + DAY
