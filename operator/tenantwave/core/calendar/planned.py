"""When a tenant starts, and why not now: its calendar, its notice, its choice, and what the platform lifts.

    plannedStart = first startable instant >= max(now, noticeEnd, holdEnd)

The reasons are a table, in the order in which they are reported; the first that fits is the one that people see.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from tenantwave.api.action import Lift
from tenantwave.api.conditions import WaitReason
from tenantwave.core.calendar.answers import Closed
from tenantwave.core.calendar.compiled import Calendar
from tenantwave.core.calendar.decisions import FREE, Choice
from tenantwave.core.calendar.intervals import BEGINNING, FOREVER
from tenantwave.core.calendar.lifts import Epoch, Override, epochs, forced_from
from tenantwave.core.calendar.limits import settled, settled_until
from tenantwave.core.calendar.lookup import NO_SKEW, Explained, end_shown, why_shut, why_unusable
from tenantwave.core.calendar.notice import Notice
from tenantwave.core.calendar.openings import Chance, chances, next_midnight
from tenantwave.core.calendar.sentences import plain, sentence
from tenantwave.core.calendar.zones import utc_text

CLOCK_SKEW = Closed(
    WaitReason.CLOCK_SKEW, "the operator's clock and the API server's are over 60 s apart; the platform team sets the node's clock right"
)


@dataclass(frozen=True, slots=True)
class Terms:
    """All that counts for the start of one tenant in one upgrade, besides its calendar.

    notice: None where nothing has to be told first. overrides: those that `overrides_for` finds. clock_is_right: our clock agrees with
    the API server's.
    """

    notice: Notice | None = None
    choice: Choice = FREE
    force_time: datetime | None = None
    overrides: tuple[Override, ...] = ()
    clock_is_right: bool = True


NO_TERMS = Terms()
"""Nothing but the calendar counts."""


@dataclass(frozen=True, slots=True)
class PlannedStart:
    """When a tenant starts, as far as it can be told now. Times are aware UTC and without skew.

    The answer holds until before `wake_time`, word for word but for a `start_time` that is now.
    """

    start_time: datetime | None
    """When: now, if it may. None: nothing opens within 400 days, or nobody knows when what holds it will end."""
    opening_end_time: datetime | None
    """The end of the opening in which it starts, to be stored before the first change; None: it has no end, or there is no start."""
    hold: Closed | None
    """Why not now; None exactly if it may start now."""
    skip: bool
    """It opted out, and nothing will end that: it is Skipped, whatever else holds it."""
    wake_time: datetime
    """When to ask again."""


def planned_start(calendar: Calendar, terms: Terms, now: datetime, skew: timedelta = NO_SKEW) -> PlannedStart:
    """Tell when a tenant starts and, if that is not now, the first reason why.

    Args: calendar: as compiled, nothing lifted. now: aware UTC. skew: how far our clock may be wrong; it shortens the time to start.
    Raises: ValueError if `now` has no zone.  Cost: about 0.1 ms; some milliseconds where nothing opens for a year.
    """
    if now.tzinfo is None:
        raise ValueError("now must be aware, UTC")
    view = _view(calendar, terms, now.astimezone(UTC), skew)
    hold = next((hold for check in REASONS if (hold := check(view)) is not None), None)
    start = view.start if hold is None or not view.may_start else None  # if it may and yet is held, it is for our clock
    return PlannedStart(
        start_time=start.shown_time if start is not None else None,
        opening_end_time=end_shown(start.chance.opening) if start is not None else None,
        hold=hold,
        skip=terms.choice.skip,
        wake_time=min((time for time in view.changes() if time > view.now), default=next_midnight(view.now)),
    )


@dataclass(frozen=True, slots=True)
class Start:
    """A start to come. `time`: when, with skew; `shown_time`: without it, as people see it; `chance`: the opening in which it lies."""

    time: datetime
    shown_time: datetime
    chance: Chance


def first_start(calendar: Calendar, terms: Terms, now: datetime, skew: timedelta = NO_SKEW) -> Start | None:
    """Return the first start at `now` or later; None: none in sight. Without the reasons, so cheaper than `planned_start`."""
    return _first_start(_spans(calendar, terms, now, skew), terms, now, skew)


# The search.


def _spans(calendar: Calendar, terms: Terms, now: datetime, skew: timedelta) -> tuple[Epoch, ...]:
    return epochs(forced_from(settled(calendar, now), terms.force_time), terms.overrides, now, skew)


def _first_start(spans: tuple[Epoch, ...], terms: Terms, now: datetime, skew: timedelta) -> Start | None:
    """Search one span after the other; the first start in any of them is the answer."""
    begin = now
    for span in spans:
        free = _free_from(terms, span.lifts)
        if free is not None and (earliest := max(begin, free)) < span.until_time:
            chance = next(chances(span.calendar, earliest, skew), None)
            if chance is not None and (time := max(earliest, chance.start_within.start)) < span.until_time:
                return Start(time, time if time == earliest else max(free, chance.opening.start), chance)
        begin = span.until_time
    return None


def _free_from(terms: Terms, lifts: frozenset[Lift]) -> datetime | None:
    """Return from when on the tenant's notice and choice let it start; None: nobody knows."""
    if terms.choice.hold is not None and terms.choice.until_time is None:
        return None
    noticed = _noticed_time(terms.notice, lifts) if terms.notice is not None else BEGINNING
    return max(terms.choice.until_time or BEGINNING, noticed) if noticed is not None else None


def _noticed_time(notice: Notice, lifts: frozenset[Lift]) -> datetime | None:
    """Return when the notice has run out. An override lifts the waiting, never the message."""
    return notice.given_time if Lift.NOTICE in lifts else notice.end_time


# The reasons.


@dataclass(frozen=True, slots=True)
class _View:
    """What the reasons look at. `spans`: which calendar counts from now on, and after each override."""

    terms: Terms
    now: datetime
    settled_until: datetime | None
    spans: tuple[Epoch, ...]
    start: Start | None
    unusable: Explained | None
    shut: Explained | None
    usable_until: datetime | None

    @property
    def may_start(self) -> bool:
        """Tell whether nothing but our clock can hold it now."""
        return self.start is not None and self.start.time <= self.now

    def changes(self) -> Iterator[datetime]:
        """All instants at which the answer may change, past ones among them."""
        notice, choice = self.terms.notice, self.terms.choice
        yield from (one.until_time for one in self.spans if one.until_time < FOREVER)
        told = (notice.given_time, notice.end_time) if notice is not None else ()
        for known in (self.settled_until, self.usable_until, self.terms.force_time, choice.until_time, *told):
            if known is not None:
                yield known
        for explained in (self.unusable, self.shut):
            if explained is not None:
                yield explained.until_time
        if self.start is None or self.start.chance.opening.end == FOREVER:
            yield next_midnight(self.now)  # the search ends there; a day later it sees more
        if self.may_start and self.start is not None:
            yield self.start.chance.start_within.end


def _view(calendar: Calendar, terms: Terms, now: datetime, skew: timedelta) -> _View:
    spans = _spans(calendar, terms, now, skew)
    start = _first_start(spans, terms, now, skew)
    here, coming = spans[0].calendar, start.chance if start is not None else None
    may_start = start is not None and start.time <= now
    is_held = terms.choice.holds(now) or _waits_for_notice(terms, spans[0].lifts, now)
    unusable = None if may_start else why_unusable(here, now, skew, coming)
    shut = None if may_start or is_held or unusable is not None else why_shut(here, now, coming)
    usable_until = _usable_until(here, now, skew) if is_held and unusable is None else None
    return _View(terms, now, settled_until(calendar, now), spans, start, unusable, shut, usable_until)


def _usable_until(calendar: Calendar, now: datetime, skew: timedelta) -> datetime | None:
    """Return when the next chance of a calendar passes, that the tenant cannot take. It may be the last one, and then it never opens."""
    chance = next(chances(calendar, now, skew), None)
    return chance.start_within.end if chance is not None else None


def _waits_for_notice(terms: Terms, lifts: frozenset[Lift], now: datetime) -> bool:
    if terms.notice is None:
        return False
    noticed = _noticed_time(terms.notice, lifts)
    return noticed is None or noticed > now


def _cannot_be_used(view: _View) -> Closed | None:
    """UnknownTimeZone, InvalidWindows."""
    return view.unusable.hold if view.unusable is not None else None


def _the_tenant_chose(view: _View) -> Closed | None:
    """OptedOut, AwaitingConsent, Deferred: of the three at most one is there, for only the newest decision counts."""
    return view.terms.choice.hold if view.terms.choice.holds(view.now) else None


def _notice_runs(view: _View) -> Closed | None:
    """NoticePeriod."""
    notice = view.terms.notice
    if notice is None or not _waits_for_notice(view.terms, view.spans[0].lifts, view.now):
        return None
    if notice.given_time is None or notice.end_time is None:
        route = f" (route {plain(notice.route)})" if notice.route else ""
        return Closed(WaitReason.NOTICE_PERIOD, sentence(f"notice not delivered yet{route}"))
    text = f"notice given {utc_text(notice.given_time)}; nothing starts before {utc_text(notice.end_time)}"
    return Closed(WaitReason.NOTICE_PERIOD, text)


def _calendar_is_shut(view: _View) -> Closed | None:
    """PlatformFreeze, TenantFreeze, OutsideWindow, NotStaffed, TooLittleTimeLeft: lookup.py has their order."""
    return view.shut.hold if view.shut is not None else None


def _clock_is_wrong(view: _View) -> Closed | None:
    """ClockSkew."""
    return None if view.terms.clock_is_right else CLOCK_SKEW


REASONS: tuple[Callable[[_View], Closed | None], ...] = (
    _cannot_be_used,
    _the_tenant_chose,
    _notice_runs,
    _calendar_is_shut,
    _clock_is_wrong,
)
"""In the order in which they are reported. TenantBusy, UpgradeOnHold and MaxParallel come after them; the planner knows those."""
