"""What lifts a factor: `forceTime` for good, an OverrideWindow for a time. What is lifted is simply no longer in the calendar."""

from collections.abc import Iterable
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from functools import lru_cache

from tenantwave.api.action import Lift
from tenantwave.core.calendar.compiled import Calendar, Later, freeze_list
from tenantwave.core.calendar.intervals import FOREVER

TENANT_FACTORS = frozenset((Lift.TENANT_WINDOWS, Lift.TENANT_FREEZES))
"""What `forceTime` lifts. With both of them gone an invalid profile holds nobody."""
LONGEST_OVERRIDE = timedelta(hours=72)
"""How far ahead of its creation an override may end."""
NOTHING: frozenset[Lift] = frozenset()


@lru_cache(maxsize=32768)
def lifted(calendar: Calendar, lifts: frozenset[Lift]) -> Calendar:
    """Return the calendar without the factors that are lifted. `Notice` is none of the calendar's factors and changes nothing here."""
    if lifts >= TENANT_FACTORS:
        calendar = replace(calendar.beneath or calendar, limits=None, later=calendar.later)
    if not lifts or calendar.fault is not None:
        return calendar
    nothing = freeze_list(calendar.zone, ())
    later = calendar.later
    return replace(
        calendar,
        windows=None if Lift.TENANT_WINDOWS in lifts else calendar.windows,
        tenant_freezes=nothing if Lift.TENANT_FREEZES in lifts else calendar.tenant_freezes,
        platform_freezes=nothing if Lift.PLATFORM_FREEZES in lifts else calendar.platform_freezes,
        staff=None if Lift.STAFFED_HOURS in lifts else calendar.staff,
        later=Later(later.from_time, lifted(later.calendar, lifts)) if later is not None else None,
    )


def forced_from(calendar: Calendar, force_time: datetime | None) -> Calendar:
    """Return the calendar of a tenant of an upgrade with that `forceTime`: from then on its windows and its own freezes do not count.

    One calendar serves before and after, so that an opening that begins before `forceTime` simply goes on.
    """
    return calendar if force_time is None else _forced_from(calendar, force_time)


@lru_cache(maxsize=32768)
def _forced_from(calendar: Calendar, force_time: datetime) -> Calendar:
    return replace(calendar, later=Later(force_time, lifted(replace(calendar, later=None), TENANT_FACTORS)))


@dataclass(frozen=True, slots=True)
class Override:
    """An accepted UpgradeAction OverrideWindow: for exactly one of `tenants` and `wave` of one run, until before `expire_time` (UTC)."""

    name: str
    run: str
    lifts: frozenset[Lift]
    expire_time: datetime
    tenants: frozenset[str] = frozenset()
    wave: str | None = None

    def is_for(self, run: str, tenant: str, wave: str) -> bool:
        """Tell whether it is about this tenant of this wave in this run."""
        return self.run == run and (tenant in self.tenants or self.wave == wave)


def overrides_for(overrides: Iterable[Override], run: str, tenant: str, wave: str, now: datetime) -> tuple[Override, ...]:
    """Return the overrides that have an effect on a tenant, the one that ends first before the others."""
    live = (one for one in overrides if one.expire_time > now and one.is_for(run, tenant, wave))
    return tuple(sorted(live, key=lambda one: (one.expire_time, one.name)))


def why_no_override(creation_time: datetime, expire_time: datetime) -> str:
    """Return why an override cannot be accepted, as a sentence with the mend; empty if it can."""
    if expire_time <= creation_time:
        return "expireTime has passed; create a new action with a later time"
    if expire_time - creation_time > LONGEST_OVERRIDE:
        return "expireTime is over 72h ahead; create a new action that ends sooner"
    return ""


@dataclass(frozen=True, slots=True)
class Epoch:
    """A stretch of time for whose starts one calendar counts: up to, not including, `until_time`. It bounds starts and closes nothing."""

    calendar: Calendar
    until_time: datetime
    lifts: frozenset[Lift] = NOTHING


def epochs(calendar: Calendar, overrides: tuple[Override, ...], now: datetime, skew: timedelta) -> tuple[Epoch, ...]:
    """Return which calendar counts from `now` on, and after the end of each override; the last one for ever.

    Args: overrides: those of `overrides_for`. skew: an override ends that much early, in case our clock is behind.
    """
    ends = sorted({one.expire_time - skew for one in overrides if one.expire_time - skew > now})
    found = []
    for end in ends:
        lifts = frozenset[Lift]().union(*(one.lifts for one in overrides if one.expire_time - skew >= end))
        found.append(Epoch(lifted(calendar, lifts), end, lifts))
    return (*found, Epoch(calendar, FOREVER))
