"""The answer for one instant: may the tenant start, why not, and what comes next."""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from itertools import islice
from typing import NamedTuple

from tenantwave.api.conditions import WaitReason
from tenantwave.core.calendar.answers import Availability, Closed, Opening
from tenantwave.core.calendar.compiled import Calendar, Owner
from tenantwave.core.calendar.intervals import FOREVER, Interval, Part
from tenantwave.core.calendar.limits import settled, settled_until
from tenantwave.core.calendar.never import conflict_in
from tenantwave.core.calendar.openings import (
    HORIZON,
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
    """Tell whether a tenant may start at `now`, why not, and when next; by the calendar alone.

    Args: now: aware UTC. skew: how far our clock may be wrong; it shortens the time to start at both ends of an opening, but no time that
    is shown. Returns: an answer for every calendar. It stays the same until its `valid_until_time`. Raises: ValueError if `now` has no
    zone.  Cost: about 0.1 ms; some milliseconds where nothing opens for a year.
    """
    if now.tzinfo is None:
        raise ValueError("now must be aware, UTC")
    now = now.astimezone(UTC)
    calendar = settled(calendar, now)
    found = list(islice(chances(calendar, now, skew), UPCOMING + 1))
    may_start = bool(found) and found[0].start_within.covers(now)
    coming = found[1:] if may_start else found[:UPCOMING]
    upcoming = tuple(Opening(one.opening.start, end_shown(one.opening), one.opening.names()) for one in coming)
    # With five closing openings in sight the answer does not depend on where the search ended; else it does, and that is a midnight.
    in_sight = len(coming) == UPCOMING and all(one.opening.end < FOREVER for one in found)
    if may_start:
        hold, changes = None, found[0].start_within.end
    else:
        hold, changes = why_closed(calendar, now, skew, found[0] if found else None)
    limits = settled_until(calendar, now) or FOREVER
    return Availability(
        open=may_start,
        hold=hold,
        opening_end_time=end_shown(found[0].opening) if may_start else None,
        upcoming=upcoming,
        next_open_time=upcoming[0].start_time if upcoming else None,
        next_close_time=end_shown(found[0].opening) if found else None,
        valid_until_time=min(changes, limits, FOREVER if in_sight else next_midnight(now)),
    )


def end_shown(opening: Interval) -> datetime | None:
    """Return the end of an opening as people see it: None if it has none in sight."""
    return None if opening.end == FOREVER else opening.end


class Explained(NamedTuple):
    """Why a calendar is closed at an instant, and until when this explanation holds word for word."""

    hold: Closed
    until_time: datetime


def why_closed(calendar: Calendar, now: datetime, skew: timedelta, coming: Chance | None) -> Explained:
    """Say what closes a calendar at `now`. `coming`: the next chance to start, maybe one that only a later calendar gives."""
    return why_unusable(calendar, now, skew, coming) or why_shut(calendar, now, coming)


def why_unusable(calendar: Calendar, now: datetime, skew: timedelta, coming: Chance | None) -> Explained | None:
    """Say what somebody has to correct: a fault, or rules that leave no time to start in 400 days; None if time alone will open it."""
    here = calendar.at(now)
    turn = calendar.later.from_time if calendar.later is not None and calendar.later.from_time > now else FOREVER
    if here.fault is not None:
        return Explained(here.fault, min(turn, next_midnight(now)))
    if here.has_no_windows or (coming is not None and coming.opening.start < turn):
        return None
    conflict = conflict_in(replace(here, later=None), now, skew)
    return Explained(conflict.hold, min(turn, conflict.valid_until_time)) if conflict is not None else None


def why_shut(calendar: Calendar, now: datetime, coming: Chance | None) -> Explained:
    """Say which factor closes a calendar, that is usable, at `now`."""
    around = _around(calendar, now, coming)
    return Explained(_hold(calendar, around), min((edge for edge in around.edges() if edge > now), default=next_midnight(now)))


@dataclass(frozen=True, slots=True)
class _Around:
    """What each factor does at an instant that is closed: the freezes over it, the window and the shift that are on or come next."""

    instant: datetime
    coming: Chance | None
    turn: datetime | None
    freezes: tuple[Interval, ...]
    platform_freeze: Part | None
    tenant_freeze: Part | None
    window: Interval | None
    shift: Interval | None

    def edges(self) -> Iterator[datetime]:
        """All instants at which one of the factors changes, past ones among them."""
        if self.turn is not None:
            yield self.turn
        if self.coming is not None:
            yield self.coming.start_within.start
        parts = (part for freeze in self.freezes for part in freeze.parts)
        for stretch in (self.coming.opening if self.coming else None, self.window, self.shift, *parts):
            if stretch is not None:
                yield stretch.start
                yield stretch.end


def _around(calendar: Calendar, now: datetime, coming: Chance | None) -> _Around:
    # Within the skew after its start an opening is not used yet: what closed the time before it still counts.
    too_early = coming is not None and coming.opening.start <= now < coming.start_within.start
    instant = coming.opening.start - TICK if coming is not None and too_early else now
    here = calendar.at(instant)
    ahead = Interval(instant, horizon(now) + MARGIN)
    by_platform = frozen_around(here.platform_freezes, ahead.start, ahead.end)
    by_tenant = frozen_around(here.tenant_freezes, ahead.start, ahead.end)
    return _Around(
        instant=instant,
        coming=coming,
        turn=calendar.later.from_time if calendar.later is not None else None,
        freezes=by_platform + by_tenant,
        platform_freeze=_last_part_over(by_platform, instant),
        tenant_freeze=_last_part_over(by_tenant, instant),
        window=next(stretches_of(here.windows, ahead), None),
        shift=next(stretches_of(here.staff, ahead), None),
    )


def _last_part_over(freezes: tuple[Interval, ...], instant: datetime) -> Part | None:
    """Of the freezes over an instant the one that ends last; it says most."""
    over = (part for freeze in freezes if freeze.covers(instant) for part in freeze.parts if part.start <= instant < part.end)
    return max(over, key=lambda part: (part.end, part.name), default=None)


def _hold(calendar: Calendar, around: _Around) -> Closed:
    """Say why nothing may start: the first of the factors that count, and when the next opening is."""
    here, zone = calendar.at(around.instant), calendar.zone
    nothing = "no windows, policy says Closed" if here.has_no_windows else f"nothing opens in {HORIZON.days} days"
    opens = f"opens {local_text(around.coming.opening.start, zone)}" if around.coming else nothing
    if freeze := around.platform_freeze:
        return _held(WaitReason.PLATFORM_FREEZE, f'platform freeze "{plain(freeze.name)}" until {local_text(freeze.end, zone)}; {opens}')
    if freeze := around.tenant_freeze:
        return _held(WaitReason.TENANT_FREEZE, f'your freeze "{plain(freeze.name)}" until {local_text(freeze.end, zone)}; {opens}')
    if around.window is None or not around.window.covers(around.instant):
        if around.coming is not None:
            return _held(WaitReason.OUTSIDE_WINDOW, f"{_window_text(calendar, around.coming.opening)} {opens}")
        return _NO_WINDOWS if here.has_no_windows else _held(WaitReason.OUTSIDE_WINDOW, f"no window is open, and {opens}")
    if here.staff is not None and (around.shift is None or not around.shift.covers(around.instant)):
        back = f" until {local_text(around.shift.start, here.staff.zone, weekday=True)}" if around.shift else ""
        return _held(WaitReason.NOT_STAFFED, f"window open, no staff{back}; {opens}")
    too_short = next(open_stretches(calendar, around.instant, around.instant + TICK), None)
    closes = f"closes {local_text(too_short.end, zone)}, " if too_short else ""
    by = _window_text(calendar, too_short or Interval(around.instant, around.instant + TICK))
    return _held(WaitReason.TOO_LITTLE_TIME_LEFT, f"{by} {closes}{length(here.min_remaining)} are needed; {opens}")


def _window_text(calendar: Calendar, opening: Interval) -> str:
    """Name what opens: the window that is on at the start of an opening (and by its name its owner), `forceTime`, or neither."""
    names = Interval(opening.start, opening.start + TICK, opening.parts).names()
    if names:
        return f'{"window" if calendar.windows_owner is Owner.TENANT else "default window"} "{plain(names[0])}"'
    if calendar.later is not None and calendar.later.from_time == opening.start:
        return "forceTime"
    return "the time without a freeze"


def _held(reason: WaitReason, message: str) -> Closed:
    return Closed(reason, sentence(message))
