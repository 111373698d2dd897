"""Why a calendar does not open within 400 days: which two things never meet, and who can change that."""

from dataclasses import replace
from datetime import datetime, timedelta

from tenantwave.api.conditions import WaitReason
from tenantwave.core.calendar.answers import Closed
from tenantwave.core.calendar.compiled import Calendar, Owner
from tenantwave.core.calendar.openings import HORIZON, chances
from tenantwave.core.calendar.sentences import length, plain, sentence

DAYS = HORIZON.days


def opens(calendar: Calendar, now: datetime, skew: timedelta = timedelta()) -> bool:
    """Tell whether a tenant could start at all, now or in the next 400 days."""
    return next(chances(calendar, now, skew), None) is not None


def why_it_never_opens(calendar: Calendar, now: datetime, skew: timedelta = timedelta()) -> Closed:
    """Say why a calendar without any chance to start has none.

    The factors come back one by one, the tenant's own first; the first that leaves nothing is named together with what it does not meet.
    """
    if calendar.windows == ():
        message = "no windows, policy says Closed; add spec.windows to the TenantProfile, or ask the platform team"
        return Closed(WaitReason.OUTSIDE_WINDOW, message)
    windows = _windows_text(calendar)
    bare = replace(calendar, platform_freezes=(), tenant_freezes=(), staff=None)
    if not opens(bare, now, skew):
        needed = length(calendar.min_remaining)
        return _invalid(f"{windows} never opens for the {needed} needed in {DAYS} days", _mend(calendar))
    with_own = replace(bare, tenant_freezes=calendar.tenant_freezes)
    if not opens(with_own, now, skew):
        return _invalid(f"{windows} and your freezes leave no time to start in {DAYS} days", "shorten the freezes or add a window")
    with_platform = replace(with_own, platform_freezes=calendar.platform_freezes)
    if not opens(with_platform, now, skew):
        return _invalid(f"{windows} and the platform's freezes leave no time to start in {DAYS} days", _mend(calendar))
    return _invalid(f"{windows} and the platform's staffedHours never meet in {DAYS} days", _mend(calendar))


def _invalid(what: str, mend: str) -> Closed:
    return Closed(WaitReason.INVALID_WINDOWS, sentence(f"closed: {what}; {mend}"))


def _mend(calendar: Calendar) -> str:
    if calendar.windows and calendar.windows_owner is Owner.TENANT:
        return "change the window or ask the platform team"
    return "ask the platform team, or state windows of your own"


def _windows_text(calendar: Calendar) -> str:
    windows = calendar.windows
    if windows is None:
        return "the policy's open time"
    kind = "window" if calendar.windows_owner is Owner.TENANT else "default window"
    first = f'{kind} "{plain(windows[0].name)}"' if windows else kind
    return first if len(windows) < 2 else f"{first} and {len(windows) - 1} more"
