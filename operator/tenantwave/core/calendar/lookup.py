"""The answer for one instant: may the tenant start, why not, and what comes next."""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from itertools import islice

from tenantwave.api.conditions import WaitReason
from tenantwave.core.calendar.answers import Availability, Closed, Opening
from tenantwave.core.calendar.compiled import Calendar, Owner
from tenantwave.core.calendar.intervals import FOREVER, Interval, Part
from tenantwave.core.calendar.never import conflict_in
from tenantwave.core.calendar.openings import (
    MARGIN,
    TICK,
    Chance,
    chances,
    frozen_around,
    horizon,
    next_midnight,
    open_stretches,
    stretches_of,
)
from tenantwave.core.calendar.sentences import length, plain, sentence
from tenantwave.core.calendar.zones import local_text

UPCOMING = 5
"""How many openings to come are shown."""
NO_SKEW = timedelta()
_NO_WINDOWS = Closed(
    WaitReason.OUTSIDE_WINDOW, "no windows, policy says Closed; add spec.windows to the TenantProfile, or ask the platform team"
)


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
    if calendar.has_no_windows:
        return _shut(_NO_WINDOWS, next_midnight(now))
    found = list(islice(chances(calendar, now, skew), UPCOMING + 1))
    if not found and (conflict := conflict_in(calendar, now, skew)):
        return _shut(conflict.hold, conflict.valid_until_time)
    coming = found[1:] if found[0].start_within.covers(now) else found[:UPCOMING]
    upcoming = tuple(Opening(one.opening.start, _end(one.opening), one.opening.names()) for one in coming)
    next_open_time = upcoming[0].start_time if upcoming else None
    # With five closing openings in sight the answer does not depend on where the search ended; else it does, and that is a midnight.
    in_sight = len(coming) == UPCOMING and all(one.opening.end < FOREVER for one in found)
    look_again = FOREVER if in_sight else next_midnight(now)
    closes = _end(found[0].opening)
    if found[0].start_within.covers(now):
        changes = min(look_again, found[0].start_within.end)
        return Availability(True, None, closes, upcoming, next_open_time, closes, changes)
    around = _around(calendar, now, found[0])
    changes = min(look_again, *(edge for edge in around.edges() if edge > now))
    return Availability(False, _hold(calendar, around), None, upcoming, next_open_time, closes, changes)


def _shut(hold: Closed, valid_until_time: datetime) -> Availability:
    return Availability(False, hold, None, (), None, None, valid_until_time)


def _end(opening: Interval) -> datetime | None:
    return None if opening.end == FOREVER else opening.end


@dataclass(frozen=True, slots=True)
class _Around:
    """What each factor does at an instant that is closed: the freezes over it, the window and the shift that are on or come next."""

    instant: datetime
    coming: Chance
    freezes: tuple[Interval, ...]
    platform_freeze: Part | None
    tenant_freeze: Part | None
    window: Interval | None
    shift: Interval | None

    def edges(self) -> Iterator[datetime]:
        """All instants at which one of the factors changes, past ones among them."""
        yield self.coming.start_within.start
        parts = (part for freeze in self.freezes for part in freeze.parts)
        for stretch in (self.coming.opening, self.window, self.shift, *parts):
            if stretch is not None:
                yield stretch.start
                yield stretch.end


def _around(calendar: Calendar, now: datetime, coming: Chance) -> _Around:
    # Within the skew after its start an opening is not used yet: what closed the time before it still counts.
    instant = coming.opening.start - TICK if coming.opening.start <= now < coming.start_within.start else now
    ahead = Interval(instant, horizon(now) + MARGIN)
    by_platform = frozen_around(calendar.platform_freezes, ahead.start, ahead.end)
    by_tenant = frozen_around(calendar.tenant_freezes, ahead.start, ahead.end)
    return _Around(
        instant=instant,
        coming=coming,
        freezes=by_platform + by_tenant,
        platform_freeze=_last_part_over(by_platform, instant),
        tenant_freeze=_last_part_over(by_tenant, instant),
        window=next(stretches_of(calendar.windows, ahead), None),
        shift=next(stretches_of(calendar.staff, ahead), None),
    )


def _last_part_over(freezes: tuple[Interval, ...], instant: datetime) -> Part | None:
    """Of the freezes over an instant the one that ends last; it says most."""
    over = (part for freeze in freezes if freeze.covers(instant) for part in freeze.parts if part.start <= instant < part.end)
    return max(over, key=lambda part: (part.end, part.name), default=None)


def _hold(calendar: Calendar, around: _Around) -> Closed:
    """Say why nothing may start: the first of the factors that count, and when the next opening is."""
    zone, opening = calendar.zone, around.coming.opening
    opens = f"opens {local_text(opening.start, zone)}"
    if freeze := around.platform_freeze:
        return _held(WaitReason.PLATFORM_FREEZE, f'platform freeze "{plain(freeze.name)}" until {local_text(freeze.end, zone)}; {opens}')
    if freeze := around.tenant_freeze:
        return _held(WaitReason.TENANT_FREEZE, f'your freeze "{plain(freeze.name)}" until {local_text(freeze.end, zone)}; {opens}')
    if around.window is None or not around.window.covers(around.instant):
        return _held(WaitReason.OUTSIDE_WINDOW, f"{_window_text(calendar, opening)} {opens}")
    if calendar.staff is not None and (around.shift is None or not around.shift.covers(around.instant)):
        back = f" until {local_text(around.shift.start, calendar.staff.zone, weekday=True)}" if around.shift else ""
        return _held(WaitReason.NOT_STAFFED, f"window open, no staff{back}; {opens}")
    too_short = next(open_stretches(calendar, around.instant, opening.start + TICK))
    closes = f"closes {local_text(too_short.end, zone)}, {length(calendar.min_remaining)} are needed"
    return _held(WaitReason.TOO_LITTLE_TIME_LEFT, f"{_window_text(calendar, too_short)} {closes}; {opens}")


def _window_text(calendar: Calendar, opening: Interval) -> str:
    """Name the window that is open at the start of an opening, and by its name its owner."""
    names = Interval(opening.start, opening.start + TICK, opening.parts).names()
    if not names:
        return "the time without a freeze"
    return f'{"window" if calendar.windows_owner is Owner.TENANT else "default window"} "{plain(names[0])}"'


def _held(reason: WaitReason, message: str) -> Closed:
    return Closed(reason, sentence(message))
