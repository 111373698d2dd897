"""Why a calendar does not open within 400 days: which two things never meet, and who can change that."""

from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from tenantwave.api.conditions import WaitReason
from tenantwave.core.calendar.answers import Closed
from tenantwave.core.calendar.compiled import Calendar, Owner, freeze_list
from tenantwave.core.calendar.openings import HORIZON, chances
from tenantwave.core.calendar.sentences import length, plain, sentence

DAYS = HORIZON.days


def opens(calendar: Calendar, now: datetime, skew: timedelta = timedelta()) -> bool:
    """Tell whether a tenant could start at all, now or in the next 400 days."""
    return next(chances(calendar, now, skew), None) is not None


@dataclass(frozen=True, slots=True)
class Conflict:
    """Two things that leave no time to start: what they are, and what the tenant can do."""

    what: str
    mend: str


def why_it_never_opens(calendar: Calendar, now: datetime, skew: timedelta) -> Closed:
    """Say why a calendar without any chance to start has none."""
    if calendar.windows is not None and not calendar.windows.windows:
        mend = "add spec.windows to the TenantProfile, or ask the platform team"
        return Closed(WaitReason.OUTSIDE_WINDOW, f"no windows, policy says Closed; {mend}")
    conflict = conflict_in(calendar, now, skew)
    return Closed(WaitReason.INVALID_WINDOWS, sentence(f"closed: {conflict.what}; {conflict.mend}"))


def conflict_in(calendar: Calendar, now: datetime, skew: timedelta = timedelta()) -> Conflict:
    """Find what closes a calendar that never opens: the factors come back one by one, the tenant's own first, until nothing is left."""
    windows = _windows_text(calendar)
    nothing = freeze_list(calendar.zone, ())
    bare = replace(calendar, platform_freezes=nothing, tenant_freezes=nothing, staff=None)
    if not opens(replace(bare, min_remaining=timedelta()), now, skew):
        return Conflict(f"{windows} never opens in {DAYS} days", "correct it")
    if not opens(bare, now, skew):
        return Conflict(f"{windows} never stays open for the {length(calendar.min_remaining)} that a start needs", "make it longer")
    with_own = replace(bare, tenant_freezes=calendar.tenant_freezes)
    if not opens(with_own, now, skew):
        return Conflict(f"{windows} and your freezes leave no time to start in {DAYS} days", "shorten the freezes or add a window")
    with_platform = replace(with_own, platform_freezes=calendar.platform_freezes)
    mend = "change the window or ask the platform team" if calendar.windows_owner is Owner.TENANT else "ask the platform team"
    if not opens(with_platform, now, skew):
        return Conflict(f"{windows} and the platform's freezes leave no time to start in {DAYS} days", mend)
    return Conflict(f"{windows} and the platform's staffedHours never meet in {DAYS} days", mend)


def _windows_text(calendar: Calendar) -> str:
    if calendar.windows is None:
        return "the policy's open time"
    windows = calendar.windows.windows
    kind = "window" if calendar.windows_owner is Owner.TENANT else "default window"
    first = f'{kind} "{plain(windows[0].name)}"' if windows else kind
    return first if len(windows) < 2 else f"{first} and {len(windows) - 1} more"
