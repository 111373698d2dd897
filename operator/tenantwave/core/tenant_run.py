"""One tenant's state machine: which states there are, which moves are allowed, and what a failure leads to."""

from __future__ import annotations

from datetime import datetime

from tenantwave.api.conditions import FailReason, RunReason
from tenantwave.api.tenant_run import TakeBack, TenantRunStatus, TenantState

S = TenantState

IN_FLIGHT = frozenset({S.PREFLIGHT, S.APPLYING, S.CONVERGING})
"""Tenants that take a slot of `maxParallel`; under `freeSlotOn: FirstVerdict` also those whose first verdict is due."""

UNPROVEN = frozenset({S.APPLYING, S.CONVERGING, S.SOAKING})
NOT_STARTED = frozenset({S.QUEUED, S.WAITING})
GOING_BACK = frozenset({S.ROLLING_BACK, S.ROLLBACK_FAILED})
ENDED = frozenset({S.SUCCEEDED, S.ROLLED_BACK, S.SKIPPED, S.ORPHANED})
FAILED = frozenset({S.ROLLING_BACK, S.ROLLED_BACK, S.ROLLBACK_FAILED, S.HELD})
"""Tenants that count as failed in a wave's budget (orders of a person to take them back apart)."""

MOVES: dict[TenantState, frozenset[TenantState]] = {
    S.QUEUED: frozenset({S.WAITING, S.PREFLIGHT, S.SKIPPED, S.SUCCEEDED, S.ORPHANED, S.HELD, S.SOAKING, S.ROLLING_BACK}),
    S.WAITING: frozenset({S.QUEUED, S.PREFLIGHT, S.SKIPPED, S.SUCCEEDED, S.ORPHANED, S.HELD, S.SOAKING, S.ROLLING_BACK}),
    S.PREFLIGHT: frozenset({S.WAITING, S.APPLYING, S.HELD, S.ORPHANED, S.SKIPPED, S.QUEUED, S.ROLLING_BACK}),
    S.APPLYING: frozenset({S.WAITING, S.CONVERGING, S.SOAKING, S.HELD, S.ROLLING_BACK, S.ORPHANED, S.SKIPPED, S.QUEUED}),
    S.CONVERGING: frozenset({S.APPLYING, S.SOAKING, S.HELD, S.ROLLING_BACK, S.ORPHANED, S.SKIPPED, S.QUEUED}),
    S.SOAKING: frozenset({S.CONVERGING, S.SUCCEEDED, S.HELD, S.ROLLING_BACK, S.ORPHANED, S.QUEUED, S.SKIPPED}),
    S.SUCCEEDED: frozenset({S.ROLLING_BACK, S.QUEUED, S.ORPHANED, S.HELD}),
    S.ROLLING_BACK: frozenset({S.ROLLED_BACK, S.ROLLBACK_FAILED, S.ORPHANED}),
    S.ROLLBACK_FAILED: frozenset({S.ROLLING_BACK, S.ROLLED_BACK, S.SUCCEEDED, S.SKIPPED, S.ORPHANED, S.QUEUED}),
    S.ROLLED_BACK: frozenset({S.QUEUED}),
    S.HELD: frozenset({S.WAITING, S.QUEUED, S.SKIPPED, S.ROLLING_BACK, S.SUCCEEDED, S.ORPHANED, S.HELD}),
    S.SKIPPED: frozenset({S.QUEUED}),
    S.ORPHANED: frozenset({S.QUEUED}),
}
"""The declared moves. Staying is always allowed; what leaves an ended state is a new run or attempt, or a rollback of the whole wave.

A tenant that an earlier run wrote and nobody proved goes on from Queued in the next run; so Queued, Waiting and Preflight may go back, too.
Whatever may go back may be Held instead: past the point of no return (ForwardOnly). With nothing written it is Skipped, or Queued again.
"""

HOLDS_ALWAYS = frozenset(
    {
        FailReason.MUTATED,
        FailReason.RECREATED,
        FailReason.DELETED,
        FailReason.AMBIGUOUS,
        FailReason.FOREIGN_VERSION_CHANGE,
        FailReason.SNAPSHOT_CORRUPT,
        FailReason.FORWARD_ONLY,
    }
)
"""Failures that are never answered by a write: it is not known whose state a rollback would overwrite."""


def has_tenant(status: TenantRunStatus) -> bool:
    """Tell whether this run has the tenant, so that every other upgrade waits for it (`TenantBusy`)."""
    state = status.state
    return (
        state in IN_FLIGHT
        or state in (S.SOAKING, S.ROLLING_BACK, S.ROLLBACK_FAILED)
        or (status.written and state in (S.HELD, S.QUEUED, S.WAITING))
    )


def is_unproven(status: TenantRunStatus) -> bool:
    """Tell whether something of a run stands in the tenant, or is about to, that nobody has proven healthy: Abort takes it back."""
    return status.state in UNPROVEN or (status.written and status.state in NOT_STARTED)


def must_be_settled(status: TenantRunStatus) -> bool:
    """Tell whether the tenant is going back, or waits for a person: no run starts it before that has ended."""
    return status.state in GOING_BACK or (status.state is S.HELD and status.written)


def to(status: TenantRunStatus, state: TenantState, reason: str, message: str, now: datetime, **changes: object) -> TenantRunStatus:
    """Return the status moved to `state`; `state_since_time` moves only with the state. Raises ValueError for a move that is not declared."""
    if state is not status.state and state not in MOVES[status.state or S.QUEUED]:
        raise ValueError(f"{status.state} -> {state} is no declared move of a TenantRun")
    since = status.state_since_time if state is status.state else now
    return status.model_copy(
        update={"state": state, "reason": str(reason), "message": message[:1024], "state_since_time": since, **changes}
    )


def going_back(status: TenantRunStatus, reason: FailReason, message: str, now: datetime) -> TenantRunStatus:
    """Return the status with a rollback ordered; the first cause stays on record, but for who has been settled since.

    Past the point of no return the order waits for a person: Held (ForwardOnly), and only Resolve takes the tenant back.
    """
    known = status.take_back if status.state is not S.SUCCEEDED else None
    order = known or TakeBack(cause=reason, message=message[:1024], time=now)
    if status.forward_only:
        why = f"{order.cause}: {order.message[:512]}; not taken back, for {status.forward_only}"
        text = f"{why}: create an UpgradeAction Retry or edit the release to go on, Resolve to go back or to stay"
        return to(status, S.HELD, FailReason.FORWARD_ONLY, text, now, take_back=order, completion_time=None)
    return to(status, S.ROLLING_BACK, reason, message, now, take_back=order, completion_time=None)


def is_past_return(status: TenantRunStatus) -> bool:
    """Tell whether the tenant is held past the point of no return: it goes on by Retry or another release, and back only by Resolve."""
    return status.state is S.HELD and status.reason == FailReason.FORWARD_ONLY


def failed(status: TenantRunStatus, reason: FailReason, message: str, now: datetime, take_back: bool) -> TenantRunStatus:
    """Return what a failure leads to.

    Nothing written: Held, and planned again when what held it changes. After a write: taken back, or Held as it is where the policy
    (`take_back` False) or the reason says so, or ForwardOnly past the point of no return. In a rollback there is no third direction:
    RollbackFailed.
    """
    if status.state in GOING_BACK:
        return to(status, S.ROLLBACK_FAILED, reason, message, now, resolution=None)
    if status.written and (take_back or status.forward_only) and reason not in HOLDS_ALWAYS:
        return going_back(status, reason, message, now)
    again = 0 if status.state is S.HELD else 1
    return to(status, S.HELD, reason, message, now, held_count=status.held_count + again)


def succeeded(status: TenantRunStatus, reason: RunReason, message: str, now: datetime) -> TenantRunStatus:
    """Return the status of a tenant that runs the release, proven."""
    return to(status, S.SUCCEEDED, reason, message, now, completion_time=now)
