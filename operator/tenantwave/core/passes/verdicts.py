"""What the gates say, and what follows for tenants. For waves it follows in `failures` and `endings`."""

from __future__ import annotations

from datetime import timedelta

from tenantwave.api.conditions import FailReason
from tenantwave.api.tenant_run import TenantRunStatus, TenantState
from tenantwave.core.gates import GateContext, TenantGate, tenant_is_through
from tenantwave.core.journal import Pause, WaveProgress, WaveRecord
from tenantwave.core.passes.draft import Draft
from tenantwave.core.passes.evidence import asks_anybody, enforces, fleet_incident, judged_stragglers, judging, was_upgraded
from tenantwave.core.plan import Deed

S = TenantState


def judge_tenants(draft: Draft) -> None:
    """Take a tenant back when a gate latched on it; let it succeed when it has soaked under a Healthy verdict (or for `soak`, without gates).

    While the whole fleet is ill neither happens on metrics. OverrideGate lets tenants pass on their soak alone, but frees none that latched.
    """
    if not draft.planned or draft.superseded or draft.run.order is not None or draft.run.completion_time is not None:
        return
    has_gates = enforces(draft) is not None
    for wave in draft.run.waves:
        effective = draft.effective_waves.get(wave.name)
        if wave.start_time is None or effective is None:
            continue
        is_ill = fleet_incident(draft, wave) is not None
        for tenant, status in list(draft.in_wave(wave)):
            gate = draft.book.tenant(tenant.name) if has_gates else None
            fails = gate is not None and gate.latched is not None and _may_fail(draft, wave, status)
            if not fails and status.state is not S.SOAKING:
                continue
            context = judging(draft, wave, status)
            if is_ill and context is not None:
                continue
            if gate is not None and fails:
                draft.fail(tenant.name, FailReason.GATE_FAILED, gate.message)
            else:
                _let_soak(draft, context, tenant.name, status, gate, effective.soak)


def _may_fail(draft: Draft, wave: WaveRecord, status: TenantRunStatus) -> bool:
    """Tell whether a tenant that latched is taken back: as long as it soaks, and until its wave has passed."""
    return was_upgraded(status) and (status.state is S.SOAKING or (draft.takes_back and wave.progress is WaveProgress.RUNNING))


def _let_soak(
    draft: Draft, context: GateContext | None, tenant: str, status: TenantRunStatus, gate: TenantGate | None, soak: timedelta
) -> None:
    """Let a tenant succeed once it is through: under the gates of `context`, or where that is None when its soak alone is over."""
    if context is not None:
        since = status.converged_time + context.evaluation.warm_up if status.converged_time is not None else None
        if tenant_is_through(gate, draft.book.wave(status.wave), soak, context.evaluation, since=since):
            draft.do(tenant, Deed.FINALISE)
        return
    since = status.converged_time or draft.now
    if draft.now >= since + soak:
        draft.do(tenant, Deed.FINALISE)
    else:
        draft.expect(since + soak, f"the soak of {tenant} ends")


def pause_when_blind(draft: Draft) -> None:
    """Metrics that cannot be used for `evaluation.onUnknown.after`: pause, once for each such time. A person looks, then resumes."""
    context = enforces(draft)
    if context is None or draft.policy is None or draft.journal.pause is not None or draft.run.completion_time is not None:
        return
    overridden = {wave.name for wave in draft.run.waves if wave.override is not None and not judged_stragglers(draft, wave)}
    blind = [
        gate.unknown_since_time for name, gate in draft.book.waves.items() if gate.unknown_since_time is not None and name not in overridden
    ]
    if not asks_anybody(context) or not blind:
        return
    since = min(blind)
    limit = since + draft.policy.evaluation.on_unknown.after
    if draft.run.blind_since == since:
        return
    if draft.now < limit:
        draft.wake(limit)
        return
    why = draft.book.source.kind or "see the gate"
    message = f"MetricsUnavailable: no usable metrics since {since:%Y-%m-%dT%H:%M:%SZ} ({why}); mend them, then Resume"
    draft.set_journal(pause=Pause(time=draft.now, message=message))
    draft.set_run(blind_since=since)
    draft.note("GateBlind", message, warning=True)
