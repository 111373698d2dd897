"""What a calendar answers: the vocabulary that planner, status and command line share."""

from dataclasses import dataclass
from datetime import datetime

from tenantwave.api.conditions import WaitReason


@dataclass(frozen=True, slots=True)
class Closed:
    """Why no tenant may start now: a reason of the waiting table and one sentence of at most 256 characters with owner, entry and mend."""

    reason: WaitReason
    message: str


@dataclass(frozen=True, slots=True)
class Opening:
    """One stretch `[start_time, end_time)` in which a tenant may be worked on. `end_time` None: no end within the 400 days that are
    searched.

    `windows` names the windows that make it, in their order in the spec; none if the policy has no windows and says Open.
    """

    start_time: datetime
    end_time: datetime | None
    windows: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Availability:
    """A calendar's answer for one instant. It holds, word for word, for every instant from then until before `valid_until_time`."""

    open: bool
    """A tenant may start now: enough of the opening is left, and it stays so if the clock is wrong by the skew."""
    hold: Closed | None
    """Why not; None exactly if `open`."""
    opening_end_time: datetime | None
    """While open: the end of this opening, without skew; to be stored before the first change. None: closed, or no end in sight."""
    upcoming: tuple[Opening, ...]
    """The openings after this one that are long enough to start in, soonest first, at most 5."""
    next_open_time: datetime | None
    """The start of the next opening to start in; while open, of the one after this. None: nothing opens within 400 days."""
    next_close_time: datetime | None
    """The end of the opening that is open now, else of the one at `next_open_time`. None: it has no end in sight, or there is none."""
    valid_until_time: datetime
    """When to ask again: the next moment at which any part of this answer can change, at the latest, in case fewer than five openings
    are in sight, midnight.
    """
