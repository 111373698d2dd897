"""One tenant's state machine."""

from __future__ import annotations

from itertools import product

import pytest

from builders import NOON, a_status, after
from tenantwave.api.action import Resolution
from tenantwave.api.conditions import FailReason, RunReason
from tenantwave.api.tenant_run import TakeBack, TenantState
from tenantwave.core import tenant_run

S = TenantState
EVERY = tuple(TenantState)


def test_every_state_has_its_moves() -> None:
    """The table is closed: nobody can be stuck in a state without a row."""
    assert set(tenant_run.MOVES) == set(EVERY)


@pytest.mark.parametrize(("before", "next_state"), list(product(EVERY, EVERY)))
def test_a_run_moves_only_along_the_table(before: TenantState, next_state: TenantState) -> None:
    """A declared move, or staying; all else is refused."""
    status = a_status(before)
    if next_state is before or next_state in tenant_run.MOVES[before]:
        assert tenant_run.to(status, next_state, RunReason.IN_PROGRESS, "why", NOON).state is next_state
    else:
        with pytest.raises(ValueError, match="no declared move"):
            tenant_run.to(status, next_state, RunReason.IN_PROGRESS, "why", NOON)


def test_the_state_has_a_time_of_its_own() -> None:
    """`stateSinceTime` moves with the state, not with its reason."""
    status = a_status(S.WAITING)
    assert tenant_run.to(status, S.WAITING, "OutsideWindow", "later", after(hours=1)).state_since_time == NOON
    assert tenant_run.to(status, S.PREFLIGHT, "InProgress", "now", after(hours=1)).state_since_time == after(hours=1)


@pytest.mark.parametrize(
    ("state", "written", "reason", "take_back", "expected"),
    [
        pytest.param(S.PREFLIGHT, False, FailReason.CONFIG_CONFLICT, True, S.HELD, id="nothing written: held"),
        pytest.param(S.PREFLIGHT, True, FailReason.CONFIG_CONFLICT, True, S.ROLLING_BACK, id="an earlier run wrote: taken back"),
        pytest.param(S.CONVERGING, True, FailReason.NOT_CONVERGED, True, S.ROLLING_BACK, id="after a write: taken back"),
        pytest.param(S.CONVERGING, True, FailReason.NOT_CONVERGED, False, S.HELD, id="onFailure Pause: held as it is"),
        pytest.param(S.APPLYING, True, FailReason.AMBIGUOUS, True, S.HELD, id="not known whose state: held"),
        pytest.param(S.SOAKING, True, FailReason.GATE_FAILED, True, S.ROLLING_BACK, id="a gate failed: taken back"),
        pytest.param(S.ROLLING_BACK, True, FailReason.MUTATED, True, S.ROLLBACK_FAILED, id="on the way back: no third direction"),
        pytest.param(S.ROLLBACK_FAILED, True, FailReason.MUTATED, True, S.ROLLBACK_FAILED, id="again: stays"),
    ],
)
def test_what_a_failure_leads_to(state: TenantState, written: bool, reason: FailReason, take_back: bool, expected: TenantState) -> None:
    """Nothing written: Held. After a write: back, or Held. Going back: RollbackFailed."""
    assert tenant_run.failed(a_status(state, written=written), reason, "why", NOON, take_back).state is expected


def test_the_first_cause_stays_on_record() -> None:
    """A tenant that failed its gate is not counted as taken back for the wave's sake."""
    cause = TakeBack(cause=FailReason.GATE_FAILED, time=NOON)
    status = tenant_run.going_back(a_status(S.SOAKING, take_back=cause), FailReason.WAVE_FAILED, "the wave failed", NOON)
    assert status.take_back == cause


def test_a_failed_rollback_forgets_how_it_was_ordered() -> None:
    """Else it would be ordered again and again."""
    status = a_status(S.ROLLING_BACK, resolution=Resolution.FORCE_PRE_IMAGE)
    assert tenant_run.failed(status, FailReason.RECREATED, "why", NOON, True).resolution is None


@pytest.mark.parametrize(
    ("state", "written", "expected"),
    [
        (S.QUEUED, False, False), (S.QUEUED, True, True), (S.WAITING, True, True), (S.PREFLIGHT, False, True), (S.APPLYING, True, True),
        (S.CONVERGING, True, True), (S.SOAKING, True, True), (S.SUCCEEDED, True, False), (S.ROLLING_BACK, True, True),
        (S.ROLLED_BACK, False, False), (S.HELD, False, False), (S.HELD, True, True), (S.ROLLBACK_FAILED, True, True), (S.SKIPPED, False, False),
        (S.ORPHANED, True, False),
    ],
)  # fmt: skip
def test_who_has_the_tenant(state: TenantState, written: bool, expected: bool) -> None:
    """Preflight to Soaking, going back, and Held after a write: every other upgrade waits."""
    assert tenant_run.has_tenant(a_status(state, written=written)) is expected


def test_each_hold_of_an_attempt_is_counted_once() -> None:
    """A tenant that is held already, for another reason now, was not tried in between."""
    once = tenant_run.failed(a_status(S.PREFLIGHT), FailReason.PREFLIGHT_FAILED, "why", NOON, True)
    still = tenant_run.failed(once, FailReason.CONFIG_CONFLICT, "why", NOON, True)
    twice = tenant_run.failed(still.model_copy(update={"state": S.APPLYING}), FailReason.PREFLIGHT_FAILED, "why", NOON, True)
    assert [status.held_count for status in (once, still, twice)] == [1, 1, 2]
