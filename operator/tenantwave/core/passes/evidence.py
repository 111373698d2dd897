"""What the prober is to measure for an upgrade, and what of its answers is kept where a restart finds it."""

from __future__ import annotations

from functools import lru_cache

from tenantwave.api.conditions import FailReason, GateReason, SkipReason
from tenantwave.api.tenant_run import TenantRunStatus, TenantState
from tenantwave.core import tenant_run
from tenantwave.core.gates import GateContext, Role, TenantGate, TenantInContext, WaveGate, WaveInContext, sample_control
from tenantwave.core.gates.evidence import gate_status
from tenantwave.core.gates.journal import dump_tenant, dump_wave, load_tenant, load_wave, worth_storing
from tenantwave.core.gates.policy import evaluation_of, rules_of, source_of
from tenantwave.core.journal import WaveProgress, WaveRecord
from tenantwave.core.passes import afterwards
from tenantwave.core.passes.draft import Draft
from tenantwave.core.world import Tenant

S = TenantState

ROLES: dict[TenantState, Role] = {
    S.SOAKING: Role.COUNTED,
    S.SUCCEEDED: Role.COUNTED,
    S.HELD: Role.OUT,
    S.ROLLING_BACK: Role.OUT,
    S.ROLLBACK_FAILED: Role.OUT,
}
"""What a tenant that this run has upgraded is to the gates, by its state. Who is in flight is not judged yet."""

UNTOUCHED = frozenset({S.QUEUED, S.WAITING, S.SKIPPED})
LEFT = frozenset({SkipReason.UNSELECTED, SkipReason.SUPERSEDED, SkipReason.RESOLVED})
"""Skipped tenants that are no longer this upgrade's, or no longer run what they ran when it was planned."""


def describe_evidence(draft: Draft) -> None:
    """Say what the prober is to measure: the tenants that this run wrote, in waves that have begun, and those they are compared with.

    Once the run has ended only those are left that were taken back and are judged once more.
    """
    if draft.policy is None or not draft.policy.gates or not draft.planned:
        return
    begun = [wave for wave in draft.run.waves if wave.start_time is not None]
    is_over = draft.run.completion_time is not None
    tenants = [] if is_over else [one for wave in begun for one in _evidence_of(draft, wave)]
    rules = rules_of(draft.policy.prometheus, draft.policy.gates)
    if any(rule.enforced for rule in rules):
        tenants += afterwards.tenants_to_judge(draft)
    draft.gate_context = GateContext(
        run_id=draft.run.id,
        source=source_of(draft.policy.prometheus),
        rules=rules,
        evaluation=evaluation_of(draft.policy.evaluation),
        waves=tuple(_wave(draft, wave) for wave in begun),
        tenants=tuple(tenants),
        control=() if is_over or draft.run.order is not None or not begun else control_of(draft),
    )


def _wave(draft: Draft, wave: WaveRecord) -> WaveInContext:
    effective = draft.effective_waves[wave.name]
    return WaveInContext(
        name=wave.name,
        soak=effective.soak,
        # Under `onFailure.tenant: Pause` a person decides about each tenant that fails, so their number alone fails no wave.
        failure_budget=effective.tolerated_failures(len(wave.tenants)) if draft.takes_back else len(wave.tenants),
        failed_otherwise_count=sum(_failed_otherwise(draft, tenant.name, status) for tenant, status in draft.in_wave(wave)),
        has_passed=wave.progress is WaveProgress.PASSED,
    )


def _failed_otherwise(draft: Draft, tenant: str, status: TenantRunStatus) -> bool:
    """Tell whether the tenant failed for another reason than its metrics; one that a gate has failed is counted by the gates."""
    gate = draft.book.tenant(tenant)
    if status.state not in tenant_run.FAILED or status.attempt != draft.run.attempt or (gate is not None and gate.latched):
        return False
    cause = status.take_back.cause if status.take_back is not None else status.reason
    return cause not in (FailReason.GATE_FAILED, FailReason.WAVE_FAILED, FailReason.ABORTED) and (
        status.written or status.state is not S.HELD
    )


def _evidence_of(draft: Draft, wave: WaveRecord) -> list[TenantInContext]:
    warm_up = draft.policy.evaluation.warm_up if draft.policy is not None else None
    return [
        TenantInContext(
            name=tenant.name,
            wave=wave.name,
            window_start_time=status.converged_time + warm_up,
            first_write_time=status.start_time,
            role=ROLES[status.state],
            is_proven=status.state is S.SUCCEEDED,
        )
        for tenant, status in draft.in_wave(wave)
        if status.state in ROLES and status.written and status.converged_time is not None and warm_up is not None
    ]


def was_upgraded(status: TenantRunStatus) -> bool:
    """Tell whether the tenant runs what this run wrote, so that its wave's verdict depends on it."""
    return status.written and status.converged_time is not None and ROLES.get(status.state or S.QUEUED) is Role.COUNTED


# The control.


def control_of(draft: Draft) -> tuple[str, ...]:
    """Return the tenants that waves are compared with: still on their old version, and in nobody's hands. At most 1,000, a stable sample."""
    return _sampled(draft.run.id, tuple(tenant.name for tenant, status in draft.current() if _is_untouched(draft, tenant, status)))


@lru_cache(maxsize=64)
def _sampled(run: str, names: tuple[str, ...]) -> tuple[str, ...]:
    """Return the sample of an upgrade. From one look to the next it is nearly always of the same tenants."""
    return sample_control(run, names)


def _is_untouched(draft: Draft, tenant: Tenant, status: TenantRunStatus) -> bool:
    """Tell whether the tenant runs what it ran when the run was planned. What it runs is seen in its components, never inferred."""
    return (
        status.state in UNTOUCHED
        and not status.written
        and status.reason not in LEFT
        and tenant.exists
        and not tenant.terminating
        and (tenant.record is None or not tenant.record.version or tenant.record.since <= (draft.run.planned_time or draft.now))
        and not any(claim.holds for claim in tenant.claims)
        and any(view.present and not view.at_release for view in tenant.components)
    )


# What is kept.


def remember_evidence(draft: Draft) -> None:
    """Keep what the gates know where a restart finds it: in the TenantRun, and for the wave in the journal. Only when it says something new."""
    context, book = draft.gate_context, draft.book
    if context is None:
        return
    for name, gate in book.tenants.items():
        status = draft.status(name)
        if status is None or status.run != draft.run.id or status.state not in (S.SOAKING, S.SUCCEEDED, S.ROLLING_BACK):
            continue
        if worth_storing(_stored(status.gate, draft.run.id), gate):
            shown = gate_status(gate, context, book)
            draft.set_status(name, status.model_copy(update={"gate": dump_tenant(gate, draft.run.id), "verdict": shown}))
    for wave in draft.run.waves:
        known, before = book.wave(wave.name), stored_gate(draft, wave)
        if known is not None and wave.progress is WaveProgress.RUNNING and worth_storing(before, known):
            shown = gate_status(known, context, book)
            draft.set_wave(wave.name, gate=dump_wave(known, draft.run.id), shown=shown.model_dump_json(by_alias=True, exclude_none=True))
            _tell(draft, wave, before, known)


@lru_cache(maxsize=16384)
def _stored(text: str, run: str) -> TenantGate | None:
    """Return a tenant's gate as it was stored. The text changes far less often than it is looked at, and reading it costs 30 microseconds."""
    return load_tenant(text, run)


def _tell(draft: Draft, wave: WaveRecord, before: WaveGate | None, after: WaveGate) -> None:
    """Want the Events of what has begun or ended in a wave's gate since it was stored."""
    was = before is not None and before.reason == GateReason.FLEET_INCIDENT.value
    now = after.reason == GateReason.FLEET_INCIDENT.value
    if now and not was:
        draft.note("FleetIncident", f"wave {wave.name}: {after.message}", warning=True)
    elif was and not now:
        draft.note("FleetIncidentOver", f"wave {wave.name} goes on; its soak begins anew")
    if after.shift and (before is None or not before.shift):
        draft.note("WaveShifted", f"wave {wave.name}, within its limits: {after.shift}", warning=True)


def stored_gate(draft: Draft, wave: WaveRecord) -> WaveGate | None:
    """Return what is stored of the wave's gate in this run."""
    return load_wave(wave.gate, draft.run.id) if wave.gate else None


def stored_message(draft: Draft, wave: WaveRecord) -> str:
    """Return what the gate of the wave says, with the numbers as they were when it last said something new: a message must not tick."""
    gate = stored_gate(draft, wave)
    return gate.message if gate is not None else ""


# What they decide.


def enforces(draft: Draft) -> GateContext | None:
    """Return the gates if any has an effect; else the soak is time alone."""
    context = draft.gate_context
    return context if context is not None and context.enforces else None


def deciding(draft: Draft, wave: WaveRecord) -> GateContext | None:
    """Return the gates if they decide about the wave; None where it passes on its soak alone: without gates, or by OverrideGate."""
    return enforces(draft) if wave.override is None else None


def judging(draft: Draft, wave: WaveRecord, status: TenantRunStatus) -> GateContext | None:
    """Return the gates if they decide about this tenant of the wave; None where it passes on its soak alone."""
    return None if is_freed(wave, status) else enforces(draft)


def is_freed(wave: WaveRecord, status: TenantRunStatus) -> bool:
    """Tell whether an OverrideGate lets the tenant pass on its soak alone.

    What a person has looked at is not what comes later: an override is for who had converged before the wave passed, and one for stragglers
    for who had converged when it was given. Stragglers that start afterwards are judged by the gates, as everybody.
    """
    override = wave.override
    if override is None:
        return False
    until = override.time if override.for_stragglers else wave.completion_time
    return until is None or (status.converged_time is not None and status.converged_time <= until)


def judged_stragglers(draft: Draft, wave: WaveRecord) -> list[str]:
    """Return who of a wave that has passed still soaks, and is freed by nobody: where there are gates, they judge these."""
    if wave.progress is not WaveProgress.PASSED:
        return []
    return [tenant.name for tenant, status in draft.in_wave(wave) if status.state is S.SOAKING and not is_freed(wave, status)]


def asks_anybody(context: GateContext) -> bool:
    """Tell whether there is a tenant to ask metrics for. Without one no tick comes, and what the last one said means nothing any more."""
    return any(tenant.is_counted for tenant in context.tenants)


def incident_in(draft: Draft, wave: WaveRecord) -> WaveGate | None:
    """Return the gate of the wave if it says that the whole fleet is ill: then nobody starts, passes or is taken back on metrics."""
    return fleet_incident(draft, wave) if deciding(draft, wave) is not None else None


def fleet_incident(draft: Draft, wave: WaveRecord) -> WaveGate | None:
    """Return the gate of the wave if it says that the whole fleet is ill, whether it decides about the wave or not."""
    context, gate = enforces(draft), draft.book.wave(wave.name)
    if context is None or gate is None or gate.reason != GateReason.FLEET_INCIDENT.value or not asks_anybody(context):
        return None
    return gate
