"""When a wave stops waiting for tenants whose window is far away. They start later, in their own next opening, under the same gates."""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from enum import Enum

from tenantwave.api.conditions import WaitReason
from tenantwave.api.policy import Stragglers

W = WaitReason
OUT = frozenset((W.OPTED_OUT, W.AWAITING_CONSENT))
"""Reasons of tenants that do not count in `minCompleted` and need no `maxWait`."""
PATIENT = OUT | {
    W.UNKNOWN_TIME_ZONE, W.INVALID_WINDOWS, W.DEFERRED, W.NOTICE_PERIOD, W.PLATFORM_FREEZE, W.TENANT_FREEZE, W.OUTSIDE_WINDOW, W.NOT_STAFFED,
    W.TOO_LITTLE_TIME_LEFT,
}  # fmt: skip
"""Reasons for which a wave need not wait: the tenant's window, its notice or its decision. Not a slot, another upgrade or our clock."""


class Stage(Enum):
    """How far a tenant is, as its wave sees it."""

    SUCCEEDED = "Succeeded"
    SKIPPED = "Skipped"
    """No tenant of this wave any more; it counts nowhere."""
    FAILED = "Failed"
    """Through, and within the budget or the wave would have failed: taken back, or settled by a person."""
    WAITING = "Waiting"
    """Never begun in this run."""
    BUSY = "Busy"
    """Anything else: in flight, soaking, being taken back, held. Such a tenant is never a straggler."""


@dataclass(frozen=True, slots=True)
class Member:
    """One tenant of a wave. `entered_time`: since when the wave could have started it; `waits_for`: why it waits, if it does."""

    name: str
    stage: Stage
    entered_time: datetime
    waits_for: WaitReason | None = None

    @property
    def is_out(self) -> bool:
        """It opted out for a time, or has not agreed yet."""
        return self.stage is Stage.WAITING and self.waits_for in OUT


@dataclass(frozen=True, slots=True)
class WaveWait:
    """Whether a wave still waits for tenants to come through. The soak of the wave as a whole and its approval come after."""

    is_done: bool
    stragglers: tuple[str, ...] = ()
    """Those that the wave no longer waits for, sorted; empty as long as it is not done."""
    wake_time: datetime | None = None
    """When time alone may end the waiting; None: somebody has to move first."""


def wave_wait(members: Iterable[Member], policy: Stragglers | None, now: datetime) -> WaveWait:
    """Tell whether a wave is done, and with whom left behind. Without a policy it waits for all its tenants. Cost: one pass.

    It is done with stragglers when `minCompleted` of its tenants succeeded (at least one did) and each of the rest has done nothing but
    wait, for `maxWait` or longer.
    """
    listed = tuple(members)
    left = [member for member in listed if member.stage in (Stage.WAITING, Stage.BUSY)]
    if not left:
        return WaveWait(True)
    if policy is None or any(member.stage is Stage.BUSY or member.waits_for not in PATIENT for member in left):
        return WaveWait(False)
    succeeded = sum(member.stage is Stage.SUCCEEDED for member in listed)
    counted = sum(member.stage is not Stage.SKIPPED and not member.is_out for member in listed)
    if succeeded < max(1, min(counted, policy.min_completed.of(counted, up=True))):
        return WaveWait(False)
    patience_ends = max((member.entered_time + policy.max_wait for member in left if not member.is_out), default=None)
    if patience_ends is not None and now < patience_ends:
        return WaveWait(False, wake_time=patience_ends)
    return WaveWait(True, tuple(sorted(member.name for member in left)))
