"""The algebra: windows, less freezes, met with staffed hours, give openings; less the time needed, they give times to start.

    open = windows - platform freezes - tenant freezes, met with staffed hours

From `forceTime` on, windows and tenant freezes no longer count: `Calendar.later`.

Freezes are few and long, windows many and short. So the search walks the gaps that the freezes leave, and looks for windows only inside a
gap: a freeze of three months costs one step, whatever it covers.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import lru_cache
from heapq import merge
from itertools import chain, takewhile

from tenantwave.core.calendar.compiled import Calendar, FreezeList, WindowList
from tenantwave.core.calendar.intervals import FOREVER, Interval, Part, clipped, complement, intersection, united
from tenantwave.core.calendar.recurrence import frozen_stretches, stretches
from tenantwave.core.calendar.zones import DAY

HORIZON = timedelta(days=400)
"""How far ahead a search goes; it covers `everyWeeks: 52` and yearly freezes."""
MARGIN = timedelta(days=8)
"""Beyond the horizon, so that an opening that begins before it shows its true end. More than the longest window."""
TICK = timedelta(microseconds=1)
"""The smallest step of time there is here; turns "until and including" into "until before"."""


@lru_cache(maxsize=8192)
def frozen(freezes: FreezeList, from_year: int, to_year: int) -> tuple[Interval, ...]:
    """The united stretches of a list of freezes in these years.

    Shared by all tenants of a zone: 10,000 of them expand a policy's freezes once.
    """
    found = (part for freeze in freezes.freezes for part in frozen_stretches(freeze.rule, freeze.name, freezes.zone, from_year, to_year))
    return tuple(united(sorted(found)))


def frozen_around(freezes: FreezeList, after: datetime, before: datetime) -> tuple[Interval, ...]:
    """The united stretches of a list of freezes in all years that touch this time."""
    # A local date may lie in the year before or after that of its instant in UTC.
    return frozen(freezes, (after - DAY).year, (before + DAY).year) if freezes.freezes else ()


def stretches_of(windows: WindowList | None, within: Interval) -> Iterator[Interval]:
    """The united stretches of windows that touch a time, each at its whole length.

    No list at all means all of that time; an empty list means none of it.
    """
    return iter((within,)) if windows is None else united(_parts(windows, within))


def _parts(windows: WindowList, within: Interval) -> Iterator[Part]:
    begin = within.start - windows.longest
    streams = (stretches(window.rule, window.name, windows.zone, begin, within.end) for window in windows.windows)
    return (part for part in merge(*streams) if part.end > within.start)


def open_stretches(calendar: Calendar, after: datetime, before: datetime) -> Iterator[Interval]:
    """The openings that touch the time from `after` and begin before `before`: sorted, disjoint, each as long as can be.

    One that runs already at `after` begins there; one that has no end a week beyond `before` ends FOREVER.
    Cost: one step per window occurrence outside freezes; 16 windows on all days of 400 are under 10,000.
    """
    later = calendar.later
    if later is None or later.from_time >= before + MARGIN:
        return _open_stretches(calendar, after, before)
    if later.from_time <= after:
        return _open_stretches(later.calendar, after, before)
    turn = later.from_time
    first = clipped(_open_stretches(calendar, after, min(turn, before)), Interval(after, turn))
    then = _open_stretches(later.calendar, turn, max(before, turn + TICK))
    return _begun_before(before, _seamless(first, then))


def _seamless(first: Iterator[Interval], then: Iterator[Interval]) -> Iterator[Interval]:
    """One stream after the other; two stretches that touch where they meet are one opening."""
    last: Interval | None = None
    for stretch in chain(first, then):
        if last is not None and last.end == stretch.start:
            last = Interval(last.start, stretch.end, last.parts + stretch.parts)
            continue
        if last is not None:
            yield last
        last = stretch
    if last is not None:
        yield last


def _begun_before(before: datetime, stretches: Iterator[Interval]) -> Iterator[Interval]:
    return takewhile(lambda stretch: stretch.start < before, stretches)


def _open_stretches(calendar: Calendar, after: datetime, before: datetime) -> Iterator[Interval]:
    limit = before + MARGIN
    search = Interval(after, limit)
    free = complement(frozen_around(calendar.platform_freezes, after, limit), search)
    if calendar.tenant_freezes.freezes:
        free = intersection(free, complement(frozen_around(calendar.tenant_freezes, after, limit), search))
    for gap in free:
        found = clipped(stretches_of(calendar.windows, gap), gap)
        if calendar.staff is not None:
            found = intersection(found, stretches_of(calendar.staff, gap))
        for opening in found:
            if opening.start >= before:
                return
            yield opening if opening.end < limit else Interval(opening.start, FOREVER, opening.parts)


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
