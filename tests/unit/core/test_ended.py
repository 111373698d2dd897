"""What is said of a run that has ended because a wave failed."""

from __future__ import annotations

import pytest

from builders import NOON, a_journal, a_policy, a_status, a_tenant, a_world
from tenantwave.api.conditions import FailReason
from tenantwave.api.tenant_run import TakeBack, TenantRunStatus, TenantState
from tenantwave.core.journal import EndReason, TakeBackOrder, WaveProgress
from tenantwave.core.plan import Summary
from tenantwave.core.planner import decide

S = TenantState
BACK = a_status(S.ROLLED_BACK, reason="NotConverged")
GOING = a_status(S.ROLLING_BACK, reason="NotConverged")
ACCEPTED = a_status(S.SKIPPED, reason="Resolved")
ACCEPTED_AT_RELEASE = a_status(S.SUCCEEDED, reason="Resolved", take_back=TakeBack(cause=FailReason.WAVE_FAILED, time=NOON))
GONE = a_status(S.ORPHANED, reason="Deleted")


def said_of(*statuses: TenantRunStatus) -> Summary:
    """Return what Ready says once the wave of these tenants has failed and the run is over."""
    policy = a_policy()
    names = [f"t{number}" for number in range(1, len(statuses) + 1)]
    order = TakeBackOrder(
        reason=EndReason.WAVE_FAILED, wave="canary", message="wave canary failed: too many", time=NOON, tenants=tuple(names)
    )
    journal = a_journal(policy, {"canary": names}, running="canary", order=order, completion_time=NOON)
    tenants = [a_tenant(name, status) for name, status in zip(names, statuses, strict=True)]
    return decide(a_world(tenants, policy=policy, journal=journal), NOON).summary


@pytest.mark.parametrize(
    ("statuses", "reason", "text"),
    [
        pytest.param((BACK,), "RolledBack", "wave canary failed: too many. Push a version", id="taken back"),
        pytest.param((BACK, ACCEPTED), "RolledBack", "wave canary failed: too many. Push a version", id="one of two taken back"),
        pytest.param((BACK, GOING), "RollingBack", "1 tenant is being taken back", id="one is going back still, by Resolve"),
        pytest.param((ACCEPTED,), "Aborted", "nobody was taken back, for t1 was accepted as it is (Resolve). Push", id="accepted"),
        pytest.param((ACCEPTED_AT_RELEASE,), "Aborted", "for t1 was accepted as it is (Resolve). Push", id="accepted, at the release"),
        pytest.param((GONE,), "Aborted", "wave canary failed: too many; nobody was taken back. Push", id="gone"),
    ],
)
def test_rolled_back_is_said_only_where_somebody_was_taken_back(statuses: tuple[TenantRunStatus, ...], reason: str, text: str) -> None:
    """A person may have settled all who failed by Resolve AcceptLive: then they run the release, or what stands there."""
    summary = said_of(*statuses)
    assert str(summary.reason) == reason
    assert text in summary.message


@pytest.mark.parametrize(("budget", "reason"), [(0, "Held"), (1, "SucceededWithSkips")], ids=["none is tolerated", "within the budget"])
def test_a_run_is_not_done_while_a_passed_wave_holds_more_than_it_tolerates(budget: int, reason: str) -> None:
    """The wave had passed; a Retry began with the tenant again, and its configuration is in conflict with the release."""
    policy = a_policy([{"name": "all", "selector": {"matchLabels": {"product": "shop"}}, "failureBudget": budget}])
    held = a_status(S.HELD, wave="all", reason="ConfigConflict", message="app-config/db.pool: changed by both", attempt=2)
    journal = a_journal(policy, {"all": ["acme", "done"]}, attempt=2)
    passed = journal.run.waves[0].model_copy(update={"progress": WaveProgress.PASSED, "start_time": NOON, "completion_time": NOON})
    journal = journal.model_copy(update={"run": journal.run.model_copy(update={"waves": (passed,)})})
    world = a_world([a_tenant("acme", held), a_tenant("done", a_status(S.SUCCEEDED, wave="all"))], policy=policy, journal=journal)
    plan = decide(world, NOON)
    assert str(plan.summary.reason) == reason
