"""Why a calendar does not open within 400 days: which two things never meet, and who can change that."""

from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from tenantwave.api.conditions import WaitReason
from tenantwave.core.calendar.answers import Closed
from tenantwave.core.calendar.compiled import Calendar, Owner, freeze_list
from tenantwave.core.calendar.intervals import FOREVER
from tenantwave.core.calendar.openings import HORIZON, Chance, chances, next_midnight
from tenantwave.core.calendar.sentences import length, plain, sentence

DAYS = HORIZON.days


@dataclass(frozen=True, slots=True)
class Conflict:
    """Things that leave no time to start: what they are, what the tenant can do, and until when this is the best explanation."""

    what: str
    mend: str
    valid_until_time: datetime

    @property
    def hold(self) -> Closed:
        """The conflict as a reason to wait."""
        return Closed(WaitReason.INVALID_WINDOWS, sentence(f"closed: {self.what}; {self.mend}"))


def conflict_in(calendar: Calendar, now: datetime, skew: timedelta = timedelta()) -> Conflict | None:
    """Find what closes a calendar for the next 400 days; None if it opens.

    All but the windows is taken away and comes back one by one, the tenant's own freezes first; what then leaves nothing is named.
    """
    chance: Chance | None = None
    for stage, what, mend in _stages(calendar):
        last_chance, chance = chance, next(chances(stage, now, skew), None)
        if chance is None:
            # The stage before did open. Once its chance has passed it may be that one that never opens.
            until = min(next_midnight(now), last_chance.start_within.end if last_chance else FOREVER)
            return Conflict(f"{_windows_text(calendar)} {what}", mend, until)
    return None


def _stages(calendar: Calendar) -> tuple[tuple[Calendar, str, str], ...]:
    """The calendar with more and more of its factors; beside each, what is wrong if that is the first that never opens, and the mend."""
    nothing = freeze_list(calendar.zone, ())
    long_enough = replace(calendar, platform_freezes=nothing, tenant_freezes=nothing, staff=None)
    any_length = replace(long_enough, min_remaining=timedelta())
    with_own_freezes = replace(long_enough, tenant_freezes=calendar.tenant_freezes)
    with_all_freezes = replace(with_own_freezes, platform_freezes=calendar.platform_freezes)
    needed = length(calendar.min_remaining)
    ask = "change the window or ask the platform team" if calendar.windows_owner is Owner.TENANT else "ask the platform team"
    return (
        (any_length, f"never opens in {DAYS} days", "correct it"),
        (long_enough, f"never stays open for the {needed} that a start needs", "make it longer"),
        (with_own_freezes, f"and your freezes leave no time to start in {DAYS} days", "shorten the freezes or add a window"),
        (with_all_freezes, f"and the platform's freezes leave no time to start in {DAYS} days", ask),
        (calendar, f"and the platform's staffedHours never meet in {DAYS} days", ask),
    )


def _windows_text(calendar: Calendar) -> str:
    if calendar.windows is None:
        return "the policy's open time"
    windows = calendar.windows.windows
    kind = "window" if calendar.windows_owner is Owner.TENANT else "default window"
    first = f'{kind} "{plain(windows[0].name)}"' if windows else kind
    return first if len(windows) < 2 else f"{first} and {len(windows) - 1} more"
