"""The answer for one instant: may the tenant start, why not, and what comes next."""

from collections.abc import Iterable, Iterator
from datetime import datetime, timedelta
from itertools import islice

from tenantwave.api.conditions import WaitReason
from tenantwave.core.calendar.answers import Availability, Closed, Opening
from tenantwave.core.calendar.compiled import Calendar, Owner
from tenantwave.core.calendar.intervals import FOREVER, Interval
from tenantwave.core.calendar.never import why_it_never_opens
from tenantwave.core.calendar.openings import (
    MARGIN,
    TICK,
    Chance,
    Frozen,
    chances,
    horizon,
    next_midnight,
    open_stretches,
    platform_frozen,
    staffed_stretches,
    tenant_frozen,
    window_stretches,
)
from tenantwave.core.calendar.recurrence import stretches
from tenantwave.core.calendar.sentences import length, plain, sentence
from tenantwave.core.calendar.zones import local_text

UPCOMING = 5
"""How many openings to come are shown."""
NO_SKEW = timedelta()


def availability(calendar: Calendar, now: datetime, skew: timedelta = NO_SKEW) -> Availability:
    """Tell whether a tenant may start at `now`, why not, and when next.

    Args: now: aware UTC. skew: how far our clock may be wrong; it shortens the time to start at both ends of an opening, but no time that
    is shown. Returns: an answer for every calendar. It stays the same until its `valid_until_time`. Raises: ValueError if `now` has no
    zone.  Cost: about 0.1 ms; some milliseconds where nothing opens for a year.
    """
    if now.tzinfo is None:
        raise ValueError("now must be aware, UTC")
    if calendar.fault is not None:
        return _shut(calendar.fault, next_midnight(now))
    found = list(islice(chances(calendar, now, skew), UPCOMING + 1))
    if not found:
        return _shut(why_it_never_opens(calendar, now, skew), _next_change(calendar, now, None, all_seen=False))
    current = found[0] if found[0].start_within.start <= now else None
    coming = found[1:] if current else found[:UPCOMING]
    upcoming = tuple(_opening(calendar, chance.opening) for chance in coming)
    closes = _end((current or found[0]).opening)
    all_seen = len(coming) == UPCOMING and all(chance.opening.end < FOREVER for chance in found)
    return Availability(
        open=current is not None,
        hold=None if current else _hold(calendar, now, found[0]),
        opening_end_time=closes if current else None,
        upcoming=upcoming,
        next_open_time=upcoming[0].start_time if upcoming else None,
        next_close_time=closes,
        valid_until_time=_next_change(calendar, now, found[0], all_seen=all_seen),
    )


def _shut(hold: Closed, valid_until_time: datetime) -> Availability:
    return Availability(False, hold, None, (), None, None, valid_until_time)


def _end(opening: Interval) -> datetime | None:
    return None if opening.end == FOREVER else opening.end


def _opening(calendar: Calendar, opening: Interval) -> Opening:
    return Opening(opening.start, _end(opening), _windows_of(calendar, opening))


def _windows_of(calendar: Calendar, opening: Interval) -> tuple[str, ...]:
    """The names of the windows that make an opening."""
    windows = calendar.windows or ()
    if len(windows) == 1:
        return (windows[0].name,)
    return tuple(
        window.name for window in windows if next(stretches(window.rule, calendar.zone, opening.start, opening.end), None) is not None
    )


def _next_change(calendar: Calendar, now: datetime, chance: Chance | None, *, all_seen: bool) -> datetime:
    """The next instant at which the answer can change: an edge of a freeze, a window or a shift, of the time to start, or of what the
    search sees.
    """
    edges = [] if all_seen else [next_midnight(now)]
    if chance is not None:
        edges += [chance.start_within.start, chance.start_within.end, chance.opening.end]
    if chance is None or now not in chance.start_within:
        ahead = Interval(now, horizon(now) + MARGIN)
        edges += _edges(one.interval for one in (*platform_frozen(calendar, now, ahead.end), *tenant_frozen(calendar, now, ahead.end)))
        edges += _edges(islice(window_stretches(calendar, ahead), 1))
        edges += _edges(islice(staffed_stretches(calendar, ahead), 1))
    return min(edge for edge in edges if edge > now)


def _edges(intervals: Iterable[Interval]) -> Iterator[datetime]:
    for interval in intervals:
        yield interval.start
        yield interval.end


def _hold(calendar: Calendar, now: datetime, coming: Chance) -> Closed:
    """Say why nothing may start now, the first of the factors that count, and when the next opening is."""
    # Within the skew after its start an opening is not used yet: what closed the time before it still counts.
    instant = coming.opening.start - TICK if coming.opening.start <= now < coming.start_within.start else now
    opens = f"; opens {local_text(coming.opening.start, calendar.zone)}"
    until = horizon(now) + MARGIN
    if freeze := _last_freeze_over(platform_frozen(calendar, now, until), instant):
        return _held(
            WaitReason.PLATFORM_FREEZE,
            f'platform freeze "{plain(freeze.name)}" until {local_text(freeze.interval.end, calendar.zone)}{opens}',
        )
    if freeze := _last_freeze_over(tenant_frozen(calendar, now, until), instant):
        return _held(
            WaitReason.TENANT_FREEZE, f'your freeze "{plain(freeze.name)}" until {local_text(freeze.interval.end, calendar.zone)}{opens}'
        )
    moment = Interval(instant, instant + TICK)
    if next(window_stretches(calendar, moment), None) is None:
        return _held(
            WaitReason.OUTSIDE_WINDOW, f"{_window_text(calendar, coming.opening)} opens {local_text(coming.opening.start, calendar.zone)}"
        )
    if calendar.staff is not None and next(staffed_stretches(calendar, moment), None) is None:
        shift = next(staffed_stretches(calendar, Interval(instant, horizon(now))), None)
        back = f" until {local_text(shift.start, calendar.staff.zone, weekday=True)}" if shift else ""
        return _held(WaitReason.NOT_STAFFED, f"window open, no staff{back}{opens}")
    return _held(WaitReason.TOO_LITTLE_TIME_LEFT, _too_little(calendar, now, instant) + opens)


def _too_little(calendar: Calendar, now: datetime, instant: datetime) -> str:
    opening = next(open_stretches(calendar, instant, horizon(now)))
    closes = local_text(opening.end, calendar.zone)
    return f"{_window_text(calendar, opening)} closes {closes}, {length(calendar.min_remaining)} are needed"


def _last_freeze_over(freezes: Iterable[Frozen], instant: datetime) -> Frozen | None:
    """Of the freezes over an instant the one that ends last; it says most."""
    return max((one for one in freezes if instant in one.interval), key=lambda one: one.interval.end, default=None)


def _window_text(calendar: Calendar, opening: Interval) -> str:
    """Name the window that is open at the start of an opening, and by its name its owner."""
    names = _windows_of(calendar, Interval(opening.start, opening.start + TICK))
    if not names:
        return "the time without a freeze"
    return f'{"window" if calendar.windows_owner is Owner.TENANT else "default window"} "{plain(names[0])}"'


def _held(reason: WaitReason, message: str) -> Closed:
    return Closed(reason, sentence(message))
