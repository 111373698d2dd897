"""From what people wrote (policy and profile) to a `Calendar`: checked once, then cheap to ask.

Nothing here raises. A name or an entry that cannot be read makes a calendar that is closed and says why: skipping one bad freeze would
open the door.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime, timedelta
from enum import Enum
from functools import lru_cache
from typing import TypeVar

from tenantwave.api.conditions import WaitReason
from tenantwave.api.policy import Maintenance, TenantLimits, WhenNoWindow
from tenantwave.api.profile import TenantProfileSpec
from tenantwave.api.windows import DateRange, Day, Freeze, Hours, Monthly, Once, StaffedHours, Weekly, WeekOfMonth, Window, Yearly
from tenantwave.core.calendar.answers import Closed
from tenantwave.core.calendar.recurrence import (
    LAST,
    LONGEST_WINDOW,
    DatesRule,
    FreezeRule,
    MonthlyRule,
    OnceRule,
    WeeklyRule,
    WindowRule,
    YearlyRule,
)
from tenantwave.core.calendar.sentences import plain, sentence, unknown_zone
from tenantwave.core.calendar.zones import UnknownZoneError, Zone, accepted_names, zone_named

DEFAULT_ZONE = "UTC"
ANY_MONDAY = date(2026, 1, 5)
LEAP_YEAR = 2028
_WEEKS = {
    WeekOfMonth.FIRST: 1,
    WeekOfMonth.SECOND: 2,
    WeekOfMonth.THIRD: 3,
    WeekOfMonth.FOURTH: 4,
    WeekOfMonth.FIFTH: 5,
    WeekOfMonth.LAST: LAST,
}


Entry = TypeVar("Entry")
Rule = TypeVar("Rule")


class Owner(Enum):
    """Who wrote an entry, and so who can change it."""

    PLATFORM = "platform"
    TENANT = "tenant"


@dataclass(frozen=True, slots=True)
class NamedWindow:
    """A rule for allowed time."""

    name: str
    rule: WindowRule


@dataclass(frozen=True, slots=True)
class NamedFreeze:
    """A rule for forbidden time."""

    name: str
    rule: FreezeRule


@dataclass(frozen=True, slots=True, eq=False)
class WindowList:
    """Windows as read in one zone. There is one object for each zone and list, so that what is expanded from it is shared."""

    zone: Zone
    windows: tuple[NamedWindow, ...]
    longest: timedelta
    """The duration of the longest of them: what began longer ago than that has ended."""


@dataclass(frozen=True, slots=True, eq=False)
class FreezeList:
    """Freezes as read in one zone; one object for each zone and list, too."""

    zone: Zone
    freezes: tuple[NamedFreeze, ...]


@lru_cache(maxsize=16384)
def window_list(zone: Zone, windows: tuple[NamedWindow, ...]) -> WindowList:
    """Return the one object for these windows in this zone."""
    return WindowList(zone, windows, max((window.rule.duration for window in windows), default=timedelta()))


@lru_cache(maxsize=16384)
def freeze_list(zone: Zone, freezes: tuple[NamedFreeze, ...]) -> FreezeList:
    """Return the one object for these freezes in this zone."""
    return FreezeList(zone, freezes)


@dataclass(frozen=True, slots=True)
class Limits:
    """How much of its time a tenant may close; None: as much as it likes. Whether they are kept depends on the year: `limits.settled`."""

    max_freeze_days_per_year: int | None
    min_open_per_32_days: timedelta | None


@dataclass(frozen=True, slots=True)
class Later:
    """The calendar that counts from an instant on."""

    from_time: datetime
    calendar: "Calendar"


@dataclass(frozen=True, slots=True)
class Calendar:
    """When one tenant may be started: immutable, made by `compile_calendar`, asked with `availability` and `planned_start`.

    `windows` None: nothing but freezes and staff closes; that is so if there are none anywhere and the policy says Open, or if they are
    lifted. Empty: there are none and the policy says Closed. All dates and times are read in `zone`, also the policy's own: a year-end
    freeze is each tenant's own year end. With a `fault` nothing else counts; `beneath` is then what the platform alone says, if that can
    be used. `later` is the calendar after `forceTime`.
    """

    zone: Zone
    windows: WindowList | None
    windows_owner: Owner
    platform_freezes: FreezeList
    tenant_freezes: FreezeList
    staff: WindowList | None
    min_remaining: timedelta
    fault: Closed | None = None
    limits: Limits | None = None
    beneath: "Calendar | None" = None
    later: Later | None = None

    @property
    def has_no_windows(self) -> bool:
        """Nobody states windows, and the policy says Closed."""
        return self.windows is not None and not self.windows.windows

    def at(self, instant: datetime) -> "Calendar":
        """Return the calendar that counts at an instant: before `forceTime` this one, from then on the later one."""
        return self.later.calendar if self.later is not None and instant >= self.later.from_time else self


def compile_calendar(maintenance: Maintenance, profile: TenantProfileSpec | None) -> Calendar:
    """Return the calendar of a tenant under a policy. Never raises; compile once per generation of the two, about 20 microseconds.

    A tenant's own windows replace the policy's default windows; they are never merged. `profile` None: the tenant says nothing.
    """
    try:
        return _compile(maintenance, profile)
    except _UnusableError as unusable:
        return closed_calendar(unusable.hold, _platform_alone(maintenance, profile.time_zone if profile else None))


def unreadable_profile(problem: str, maintenance: Maintenance) -> Calendar:
    """Return the calendar of a tenant whose TenantProfile cannot even be parsed: closed, until the tenant corrects it.

    By the policy's `maintenance` it opens again where both of the tenant's factors are lifted, as by `forceTime`.
    """
    hold = Closed(WaitReason.INVALID_WINDOWS, f"closed: the TenantProfile cannot be read; correct its spec: {plain(problem, 160)}")
    return closed_calendar(hold, _platform_alone(maintenance, None))


def closed_calendar(hold: Closed, beneath: Calendar | None = None, later: Later | None = None) -> Calendar:
    """Return a calendar that never opens, for that reason, unless both of the tenant's factors are lifted or a later one opens."""
    zone = beneath.zone if beneath is not None else Zone(DEFAULT_ZONE, UTC)
    nothing = freeze_list(zone, ())
    return Calendar(
        zone, window_list(zone, ()), Owner.TENANT, nothing, nothing, None, timedelta(), fault=hold, beneath=beneath, later=later
    )


def _platform_alone(maintenance: Maintenance, own_zone: str | None) -> Calendar | None:
    """Return what is left of a calendar when nothing that the tenant wrote counts, its zone apart; None if that cannot be used either."""
    usable = own_zone if own_zone in accepted_names() else None
    try:
        calendar = _compile(maintenance, TenantProfileSpec(time_zone=usable))
    except _UnusableError:
        return None
    return replace(calendar, windows=None)


class _UnusableError(Exception):
    """What is written cannot be used; `hold` says so to people."""

    def __init__(self, hold: Closed) -> None:
        super().__init__(hold.message)
        self.hold = hold


def _compile(maintenance: Maintenance, profile: TenantProfileSpec | None) -> Calendar:
    own_zone = profile.time_zone if profile else None
    if own_zone:
        zone = _zone(own_zone, "correct spec.timeZone")
    else:
        zone = _zone(maintenance.default_time_zone, "the platform team corrects maintenance.defaultTimeZone")
    own_windows = _windows(profile.windows if profile else (), "window")
    default_windows = _windows(maintenance.default_windows, "the platform's default window")
    windows = own_windows or default_windows
    always_open = not windows and maintenance.when_no_window is WhenNoWindow.OPEN
    return Calendar(
        zone=zone,
        windows=None if always_open else window_list(zone, windows),
        windows_owner=Owner.TENANT if own_windows else Owner.PLATFORM,
        platform_freezes=freeze_list(zone, _freezes(maintenance.freezes, "platform freeze")),
        tenant_freezes=freeze_list(zone, _freezes(profile.freezes if profile else (), "freeze")),
        staff=_staff(maintenance.staffed_hours) if maintenance.staffed_hours else None,
        min_remaining=maintenance.min_remaining,
        limits=_limits(maintenance.tenant_limits),
    )


def _limits(asked: TenantLimits | None) -> Limits | None:
    """Read what bounds a tenant's calendar; `maxDeferral` bounds its decisions (decisions.py)."""
    if asked is None or (asked.max_freeze_days_per_year is None and asked.min_open_per32_days is None):
        return None
    return Limits(asked.max_freeze_days_per_year, asked.min_open_per32_days)


def _zone(name: str, mend: str) -> Zone:
    try:
        return zone_named(name)
    except UnknownZoneError:
        raise _UnusableError(Closed(WaitReason.UNKNOWN_TIME_ZONE, unknown_zone(name, mend))) from None


def _windows(entries: Iterable[Window], kind: str) -> tuple[NamedWindow, ...]:
    found = {NamedWindow(entry.name, _read(_window_rule, entry, f'{kind} "{plain(entry.name)}"')) for entry in entries}
    return tuple(sorted(found, key=lambda window: window.name))


def _freezes(entries: Iterable[Freeze], kind: str) -> tuple[NamedFreeze, ...]:
    found = {NamedFreeze(entry.name, _read(_freeze_rule, entry, f'{kind} "{plain(entry.name)}"')) for entry in entries}
    return tuple(sorted(found, key=lambda freeze: freeze.name))


def _staff(hours: StaffedHours) -> WindowList:
    zone = _zone(hours.time_zone, "the platform team corrects maintenance.staffedHours.timeZone")
    shifts = {NamedWindow("staffedHours", _read(_hours_rule, entry, "the platform's staffedHours")) for entry in hours.weekly}
    return window_list(zone, tuple(sorted(shifts, key=repr)))


def _read(read: Callable[[Entry], Rule], entry: Entry, what: str) -> Rule:
    """Read one entry. What the API server would have refused may still be stored; it closes the tenant and names the entry."""
    try:
        return read(entry)
    except (ValueError, LookupError, OverflowError, TypeError) as error:
        hold = Closed(WaitReason.INVALID_WINDOWS, sentence(f"closed: {what} cannot be used: {plain(str(error))}; correct it"))
        raise _UnusableError(hold) from None


def _window_rule(window: Window) -> WindowRule:
    match (window.weekly, window.monthly, window.once):
        case (Weekly() as weekly, None, None):
            return _weekly_rule(weekly)
        case (None, Monthly() as monthly, None):
            return MonthlyRule(_WEEKS[monthly.week], monthly.day.weekday, monthly.start, _length(monthly.duration))
        case (None, None, Once() as once):
            return OnceRule(once.start, once.start + _length(once.duration))
        case _:
            raise ValueError("exactly one of weekly, monthly and once must be set")


def _weekly_rule(weekly: Weekly) -> WeeklyRule:
    every_weeks = weekly.every_weeks or 1
    if every_weeks > 1 and weekly.anchor_date is None:
        raise ValueError("everyWeeks above 1 needs an anchorDate")
    return WeeklyRule(
        weekdays=_weekdays(weekly.days),
        start=weekly.start,
        duration=_length(weekly.duration),
        every_weeks=every_weeks,
        anchor_date=weekly.anchor_date if every_weeks > 1 and weekly.anchor_date else ANY_MONDAY,
    )


def _freeze_rule(freeze: Freeze) -> FreezeRule:
    match (freeze.yearly, freeze.dates):
        case (Yearly() as yearly, None):
            return YearlyRule(_month_and_day(yearly.from_), _month_and_day(yearly.to))
        case (None, DateRange() as dates) if dates.from_ <= dates.to:
            return DatesRule(dates.from_, dates.to)
        case (None, DateRange() as dates):
            raise ValueError(f"it ends on {dates.to}, before it begins on {dates.from_}")
        case _:
            raise ValueError("exactly one of yearly and dates must be set")


def _hours_rule(hours: Hours) -> WeeklyRule:
    return WeeklyRule(_weekdays(hours.days), hours.start, _length(hours.duration))


def _weekdays(days: Iterable[Day]) -> tuple[int, ...]:
    return tuple(sorted({day.weekday for day in days}))


def _length(duration: timedelta) -> timedelta:
    if not timedelta() < duration <= LONGEST_WINDOW:
        raise ValueError(f"its duration {duration} is not above 0s and at most 7d")
    return duration


def _month_and_day(text: str) -> tuple[int, int]:
    day = date.fromisoformat(f"{LEAP_YEAR}-{text}")
    return day.month, day.day
