"""Waves that fail, and who is taken back."""

from __future__ import annotations

from typing import Any

import pytest

from builders import MINUTE, NOON, a_journal, a_policy, a_status, a_tenant, a_world
from tenantwave.api.conditions import FailReason
from tenantwave.api.tenant_run import TakeBack, TenantRunStatus, TenantState
from tenantwave.core.journal import EndReason, TakeBackOrder
from tenantwave.core.passes.failures import counts_as_failed
from tenantwave.core.plan import Deed, Plan
from tenantwave.core.planner import decide

S = TenantState


def failed(cause: FailReason = FailReason.NOT_CONVERGED, **fields: Any) -> TenantRunStatus:
    """Return a tenant that failed and was taken back."""
    return a_status(S.ROLLED_BACK, reason=str(cause), take_back=TakeBack(cause=cause, time=NOON), **fields)


def held() -> TenantRunStatus:
    """Return a tenant held with nothing written."""
    return a_status(S.HELD, reason="ConfigConflict", message="app-config/log.level: changed by both")


def planned(statuses: dict[str, TenantRunStatus], *, budget: int | str = 0, wave: str = "RollbackUnproven", done: str = "") -> Plan:
    """Decide about a running wave, rest, after the wave canary has passed with the tenant `done`."""
    policy = a_policy(
        [{"name": "canary", "size": 1}, {"name": "rest", "failureBudget": budget, "maxParallel": 9}],
        onFailure={"wave": wave}, rollback={"maxParallel": 9},
    )  # fmt: skip
    placed = {name: status.model_copy(update={"wave": "canary" if name == done else "rest"}) for name, status in statuses.items()}
    tenants = [a_tenant(name, status) for name, status in placed.items()]
    members = {"canary": [done] if done else [], "rest": [name for name in statuses if name != done]}
    return decide(a_world(tenants, policy=policy, journal=a_journal(policy, members, running="rest")), NOON + MINUTE)


def going_back(plan: Plan) -> list[str]:
    """Return who is ordered back."""
    order = plan.journal.run.order if plan.journal is not None else None
    return sorted(order.tenants) if order is not None else []


SOAKING, THROUGH = a_status(S.SOAKING), a_status(S.SUCCEEDED)


@pytest.mark.parametrize(
    ("wave", "expected"),
    [
        ("Pause", []),
        ("RollbackUnproven", ["soaks"]),
        ("RollbackWave", ["soaks", "through"]),
        ("RollbackUpgrade", ["first", "soaks", "through"]),
    ],
)
def test_over_budget_the_policy_says_who_goes_back(wave: str, expected: list[str]) -> None:
    """Over budget: the unproven; RollbackWave always all of it; RollbackUpgrade all waves."""
    statuses = {"first": THROUGH, "bad": failed(), "soaks": SOAKING, "through": THROUGH}
    plan = planned(statuses, wave=wave, done="first")
    assert going_back(plan) == expected
    assert plan.journal is not None
    assert (plan.journal.pause is not None) is (wave == "Pause")


@pytest.mark.parametrize(
    ("statuses", "budget", "fails"),
    [
        pytest.param({"a": failed(), "b": SOAKING}, 0, True, id="one failed, none tolerated"),
        pytest.param({"a": failed(), "b": SOAKING}, 1, False, id="one failed, one tolerated"),
        pytest.param({"a": failed(), "b": SOAKING}, "50%", False, id="half of two is one"),
        pytest.param({"a": failed(), "b": SOAKING, "c": SOAKING}, "33%", True, id="a third of three rounds down to none"),
        pytest.param({"a": held(), "b": SOAKING}, 0, False, id="held with nothing written takes nobody back"),
        pytest.param({"a": held(), "b": failed(), "c": SOAKING}, 1, True, id="but counts beside one that failed"),
        pytest.param({"a": failed(attempt=0), "b": SOAKING}, 0, False, id="a failure of an earlier attempt"),
        pytest.param({"a": failed(FailReason.WAVE_FAILED), "b": SOAKING}, 0, False, id="taken back for the sake of others"),
        pytest.param({"a": a_status(S.SKIPPED, reason="OptedOut"), "b": SOAKING}, 0, False, id="skipped is not failed"),
    ],
)
def test_what_counts_in_the_budget(statuses: dict[str, TenantRunStatus], budget: int | str, fails: bool) -> None:
    """Failed and held tenants of this attempt; a share rounds down."""
    assert bool(going_back(planned(statuses, budget=budget))) is fails


@pytest.mark.parametrize(("state", "is_failed"), [(S.ROLLBACK_FAILED, True), (S.ROLLED_BACK, False), (S.ROLLING_BACK, False)])
def test_who_could_not_be_taken_back_for_the_sake_of_others_has_failed(state: TenantState, is_failed: bool) -> None:
    """It is neither on the old version nor on the new one for certain, whatever began it."""
    order = TakeBack(cause=FailReason.WAVE_FAILED, message="why", time=NOON)
    assert counts_as_failed(a_status(state, take_back=order), 1) is is_failed


def test_held_tenants_over_the_budget_stop_the_wave() -> None:
    """Nobody starts any more, nobody is taken back."""
    plan = planned({"a": held(), "b": a_status()})
    assert going_back(plan) == []
    assert str(plan.holds["b"].reason) == "UpgradeOnHold"
    assert str(plan.summary.reason) == "Held"


def test_a_preflight_that_goes_on_meanwhile_is_taken_back_too() -> None:
    """The order names it not, for nothing was written; but it is unproven when it is seen next."""
    plan = planned({"a": failed(), "b": a_status(S.PREFLIGHT)})
    assert [(step.tenant, step.deed.value) for step in plan.steps] == [("b", "LetGo")]
    assert plan.journal is not None
    policy = a_policy([{"name": "canary", "size": 1}, {"name": "rest", "failureBudget": 0}])
    journal = a_journal(policy, {"canary": [], "rest": ["a", "b"]}, running="rest", order=plan.journal.run.order)
    world = a_world([a_tenant("a", failed(wave="rest")), a_tenant("b", a_status(S.APPLYING, wave="rest"))], policy=policy, journal=journal)
    assert [(move.tenant, move.status.state) for move in decide(world, NOON + MINUTE).moves] == [("b", S.ROLLING_BACK)]


@pytest.mark.parametrize("state", [S.PREFLIGHT, S.APPLYING, S.CONVERGING, S.SOAKING], ids=str)
@pytest.mark.parametrize(
    ("reason", "expected"),
    [(EndReason.ABORT, (S.SKIPPED, "Aborted")), (EndReason.WAVE_FAILED, (S.QUEUED, "RunEnded"))],
    ids=["aborted", "the wave failed"],
)
def test_where_nothing_was_written_nothing_is_taken_back(reason: EndReason, expected: tuple[TenantState, str], state: TenantState) -> None:
    """Its preflight had just ended, or it had nothing to write. To say RolledBack of it would count a rollback that was none."""
    policy = a_policy(rollback={"maxParallel": 1})
    unwritten = a_status(S.APPLYING, written=False).model_copy(update={"state": state})
    tenants = [a_tenant("a", a_status(S.APPLYING)), a_tenant("b", a_status(S.APPLYING)), a_tenant("c", unwritten)]
    order = TakeBackOrder(reason=reason, wave="canary", message="enough", time=NOON, tenants=("a", "b", "c"))
    journal = a_journal(policy, {"canary": ["a", "b", "c"]}, running="canary", order=order)
    plan = decide(a_world(tenants, policy=policy, journal=journal), NOON + MINUTE)
    assert [(move.tenant, move.status.state) for move in plan.moves] == [("a", S.ROLLING_BACK)], "one at a time"
    (step,) = [step for step in plan.steps if step.tenant == "c"]
    assert step.outcome is not None
    assert (step.deed, step.outcome.state, step.outcome.reason) == (Deed.LET_GO, *expected)
    assert plan.journal is None, "the run has not ended before that"
