"""What the gates say, and what follows for tenants. For waves it follows in `failures` and `progress`."""

from __future__ import annotations

from tenantwave.api.conditions import FailReason
from tenantwave.api.tenant_run import TenantRunStatus, TenantState
from tenantwave.core import tenant_run
from tenantwave.core.gates import GateContext, TenantInContext, WaveInContext, tenant_is_through
from tenantwave.core.gates.evidence import gate_status
from tenantwave.core.gates.journal import dump_tenant, dump_wave, load_tenant, load_wave, worth_storing
from tenantwave.core.gates.policy import evaluation_of, rules_of, source_of
from tenantwave.core.journal import Pause, WaveProgress, WaveRecord
from tenantwave.core.passes.draft import Draft
from tenantwave.core.plan import Deed
from tenantwave.core.world import Tenant

S = TenantState


def describe_evidence(draft: Draft) -> None:
    """Say what the prober is to measure: the tenants that this run wrote, in waves that have begun."""
    if draft.policy is None or not draft.policy.gates or not draft.planned:
        return
    waves: list[WaveInContext] = []
    tenants: list[TenantInContext] = []
    for wave in draft.run.waves:
        if wave.start_time is None:
            continue
        effective = draft.effective_waves[wave.name]
        waves.append(
            WaveInContext(
                name=wave.name,
                soak=effective.soak,
                # Under `onFailure.tenant: Pause` a person decides about each tenant that fails, so their number alone fails no wave.
                failure_budget=effective.tolerated_failures(len(wave.tenants)) if draft.takes_back else len(wave.tenants),
                failed_otherwise_count=sum(_failed_otherwise(draft, status) for _, status in draft.in_wave(wave)),
                has_passed=wave.progress is WaveProgress.PASSED,
            )
        )
        tenants.extend(_evidence_of(draft, wave, tenant, status) for tenant, status in draft.in_wave(wave) if _was_upgraded(status))
    draft.gate_context = GateContext(
        run_id=draft.run.id,
        source=source_of(draft.policy.prometheus),
        rules=rules_of(draft.policy.prometheus, draft.policy.gates),
        evaluation=evaluation_of(draft.policy.evaluation),
        waves=tuple(waves),
        tenants=tuple(tenants),
    )


def _was_upgraded(status: TenantRunStatus) -> bool:
    return status.written and status.converged_time is not None and status.state in (S.SOAKING, S.SUCCEEDED)


def _failed_otherwise(draft: Draft, status: TenantRunStatus) -> bool:
    cause = status.take_back.cause if status.take_back is not None else status.reason
    if status.state not in tenant_run.FAILED or status.attempt != draft.run.attempt:
        return False
    return cause not in (FailReason.GATE_FAILED, FailReason.WAVE_FAILED, FailReason.ABORTED) and (
        status.written or status.state is not S.HELD
    )


def _evidence_of(draft: Draft, wave: WaveRecord, tenant: Tenant, status: TenantRunStatus) -> TenantInContext:
    evaluation = draft.policy.evaluation if draft.policy is not None else None
    window = status.converged_time + evaluation.warm_up if status.converged_time is not None and evaluation is not None else None
    return TenantInContext(name=tenant.name, wave=wave.name, window_start_time=window, first_write_time=status.start_time)


def remember_evidence(draft: Draft) -> None:
    """Keep what the gates know where a restart finds it: in the TenantRun, and for the wave in the journal. Only when it says something new."""
    context, book = draft.gate_context, draft.world.gates
    if context is None or book.run_id != draft.run.id:
        return
    for name, gate in book.tenants.items():
        status = draft.status(name)
        if status is None or status.run != draft.run.id or status.state not in (S.SOAKING, S.SUCCEEDED, S.ROLLING_BACK):
            continue
        if worth_storing(load_tenant(status.gate, draft.run.id), gate):
            shown = gate_status(gate, context, book)
            draft.set_status(name, status.model_copy(update={"gate": dump_tenant(gate, draft.run.id), "verdict": shown}))
    for wave in draft.run.waves:
        known = book.wave(wave.name)
        if known is not None and wave.progress is WaveProgress.RUNNING and worth_storing(load_wave(wave.gate, draft.run.id), known):
            draft.set_wave(wave.name, gate=dump_wave(known, draft.run.id))


def stored_message(draft: Draft, wave: WaveRecord) -> str:
    """Return what the gate of the wave says, with the numbers as they were when it last said something new: a message must not tick."""
    gate = load_wave(wave.gate, draft.run.id) if wave.gate else None
    return gate.message if gate is not None else ""


def enforces(draft: Draft) -> GateContext | None:
    """Return the gates if any has an effect; else the soak is time alone."""
    context = draft.gate_context
    return context if context is not None and context.enforces else None


def asks_anybody(context: GateContext) -> bool:
    """Tell whether there is a tenant to ask metrics for. Without one no tick comes, and what the last one said means nothing any more."""
    return any(tenant.is_counted for tenant in context.tenants)


def judge_tenants(draft: Draft) -> None:
    """Take a tenant back when a gate latched on it; let it succeed when it has soaked under a Healthy verdict (or for `soak`, without gates)."""
    if not draft.planned or draft.superseded or draft.run.order is not None or draft.run.completion_time is not None:
        return
    context = enforces(draft)
    for wave in draft.run.waves:
        effective = draft.effective_waves.get(wave.name)
        if wave.start_time is None or effective is None:
            continue
        for tenant, status in list(draft.in_wave(wave)):
            gate = draft.world.gates.tenant(tenant.name) if draft.world.gates.run_id == draft.run.id else None
            latched = context is not None and gate is not None and gate.latched is not None and _was_upgraded(status)
            if latched and gate is not None and (status.state is S.SOAKING or (draft.takes_back and wave.progress is WaveProgress.RUNNING)):
                draft.fail(tenant.name, FailReason.GATE_FAILED, gate.message)
                continue
            if status.state is not S.SOAKING:
                continue
            if context is None:
                since = status.converged_time or draft.now
                if draft.now >= since + effective.soak:
                    draft.do(tenant.name, Deed.FINALISE)
                else:
                    draft.expect(since + effective.soak, f"the soak of {tenant.name} ends")
            elif tenant_is_through(gate, draft.world.gates.wave(wave.name), effective.soak, context.evaluation):
                draft.do(tenant.name, Deed.FINALISE)


def pause_when_blind(draft: Draft) -> None:
    """Metrics that cannot be used for `evaluation.onUnknown.after`: pause, once for each such time. A person looks, then resumes."""
    context = enforces(draft)
    if context is None or draft.policy is None or draft.journal.pause is not None or draft.run.completion_time is not None:
        return
    blind = [gate.unknown_since_time for gate in draft.world.gates.waves.values() if gate.unknown_since_time is not None]
    if not asks_anybody(context) or not blind or draft.world.gates.run_id != draft.run.id:
        return
    since = min(blind)
    limit = since + draft.policy.evaluation.on_unknown.after
    if draft.run.blind_since == since:
        return
    if draft.now < limit:
        draft.wake(limit)
        return
    why = draft.world.gates.source.kind or "see the gate"
    message = f"MetricsUnavailable: no usable metrics since {since:%Y-%m-%dT%H:%M:%SZ} ({why}); mend them, then Resume"
    draft.set_journal(pause=Pause(time=draft.now, message=message))
    draft.set_run(blind_since=since)
    draft.note("GateBlind", message, warning=True)
