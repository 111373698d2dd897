"""What becomes of the tenant in flight when its opening ends. Rollback, soak and observation are never gated."""

from datetime import datetime, timedelta
from enum import Enum

from tenantwave.api.policy import OnWindowClose
from tenantwave.api.tenant_run import TenantState

S = TenantState


class AtClose(Enum):
    """What to do with a tenant once its opening has ended."""

    CONTINUE = "Continue"
    BACK_TO_WAITING = "BackToWaiting"
    """Nothing has changed in it: it waits for its next opening."""
    PAUSE_BEFORE_NEXT = "PauseBeforeNext"
    """What is written may converge; the next component is not begun, and the tenant becomes Held, reason `WindowClosed`."""
    TAKE_BACK = "TakeBack"


_AT_ONCE = {
    OnWindowClose.FINISH: AtClose.CONTINUE,
    OnWindowClose.PAUSE: AtClose.PAUSE_BEFORE_NEXT,
    OnWindowClose.ROLLBACK: AtClose.TAKE_BACK,
}


def what_at_close(
    choice: OnWindowClose, closes_time: datetime | None, max_overrun: timedelta, now: datetime, state: TenantState
) -> AtClose:
    """Return what to do now with a tenant in this state.

    `closes_time` is the end of the opening that was stored before the first change, so later edits of windows do not move it; None: it
    has no end. Not finished `max_overrun` after it, a tenant is taken back, whatever was chosen.
    """
    if closes_time is None or now < closes_time:
        return AtClose.CONTINUE
    if state is S.PREFLIGHT:
        return AtClose.BACK_TO_WAITING
    if state not in (S.APPLYING, S.CONVERGING):
        return AtClose.CONTINUE
    return AtClose.TAKE_BACK if now - closes_time >= max_overrun else _AT_ONCE[choice]


def close_wake_time(closes_time: datetime | None, max_overrun: timedelta, now: datetime) -> datetime | None:
    """Return when to ask `what_at_close` again: at the close, then at the end of the overrun; None: it will not change by itself."""
    if closes_time is None:
        return None
    if now < closes_time:
        return closes_time
    return closes_time + max_overrun if now - closes_time < max_overrun else None
