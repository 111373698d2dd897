"""What is told by comparing: that the gates cannot be looked at as often as the policy says, once each time."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

from builders import NOON, RUN, a_journal, a_policy, a_status, a_tenant, a_world
from support.engine_story import Heard
from tenantwave.api.run_records import HookRecord, HookState
from tenantwave.api.tenant_run import TenantState
from tenantwave.api.upgrade import HookTime
from tenantwave.core.gates import GateBook, SourceHealth
from tenantwave.core.planner import decide
from tenantwave.core.status import upgrade_status
from tenantwave.engine.news import Reporter, of_hooks
from tenantwave.telemetry import Silent


def test_slow_evaluation_is_told_once_each_time_it_begins() -> None:
    """With what to do about it; not again while it lasts, and again when it comes back."""
    policy = a_policy(gated=True)
    journal = a_journal(policy, {"canary": ["acme"], "rest": []}, running="canary")
    tenant = a_tenant("acme", a_status(TenantState.SOAKING, converged_time=NOON, start_time=NOON))
    world = a_world([tenant], policy=policy, journal=journal)
    plan, heard = decide(world, NOON), Heard()
    status, reporter = upgrade_status(None, world, plan, NOON), Reporter(heard, Silent())
    later = NOON + timedelta(hours=1)
    for since in (None, NOON, NOON, None, later, later):
        slow = replace(world, gates=GateBook(RUN, source=SourceHealth(slow_since_time=since)))
        reporter.tell(slow, replace(plan, notes=()), status, status)
    assert [reason for reason, _ in heard.notes] == ["EvaluationSlow", "EvaluationSlow"]
    assert "set a longer interval, use fewer gates, or have Prometheus record the ratios" in heard.notes[0][1]


def test_a_hook_is_told_when_it_starts_and_when_it_ends() -> None:
    """Each once, with its Job; one that failed, or vanished, as a warning."""
    stood = a_status(TenantState.APPLYING)
    record = HookRecord(name="migrate", at=HookTime.PRE_APPLY, job="shop-x-1-a1-migrate")
    told = []
    for state, message in (
        (HookState.RUNNING, ""),
        (HookState.RUNNING, ""),
        (HookState.FAILED, "BackoffLimitExceeded: 3 pods"),
        (HookState.FAILED, "BackoffLimitExceeded: 3 pods"),
    ):
        after = stood.model_copy(update={"hooks": (record.model_copy(update={"state": state, "message": message}),)})
        told += [(note.reason, note.message, note.tenant, note.warning) for note in of_hooks("acme", stood, after)]
        stood = after
    assert told == [
        ("HookStarted", "migrate (PreApply), Job shop-x-1-a1-migrate", "acme", False),
        ("HookFailed", "migrate (PreApply), Job shop-x-1-a1-migrate: BackoffLimitExceeded: 3 pods", "acme", True),
    ]
