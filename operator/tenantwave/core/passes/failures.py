"""A wave that failed, and taking tenants back: who, and how many at once. Windows never hold this."""

from __future__ import annotations

from tenantwave.api.conditions import FailReason, RunReason
from tenantwave.api.policy import WaveFailure
from tenantwave.api.tenant_run import TenantRunStatus, TenantState
from tenantwave.core import tenant_run
from tenantwave.core.gates import Reason as GateReason
from tenantwave.core.gates import Verdict
from tenantwave.core.journal import EndReason, Pause, TakeBackOrder, WaveProgress, WaveRecord
from tenantwave.core.passes.draft import Draft
from tenantwave.core.passes.verdicts import enforces

S = TenantState

UNPROVEN = tenant_run.IN_FLIGHT | {S.SOAKING}


def pause_for_failures(draft: Draft) -> None:
    """Under `onFailure.tenant: Pause` a tenant held after a write pauses the upgrade, once: Resume goes on without it."""
    if draft.takes_back or not draft.planned:
        return
    fresh = [
        (tenant.name, status)
        for tenant, status in draft.current()
        if status.state is S.HELD and status.written and tenant.name not in draft.run.paused_for
    ]
    if fresh:
        name, status = fresh[0]
        _pause(
            draft,
            tuple(name for name, _ in fresh),
            f"{name} failed ({status.reason}) and is held as it is; Resume goes on without it, Resolve settles it",
        )


def fail_waves(draft: Draft) -> None:
    """A wave over its failureBudget, or with its own gate Failing, has failed. The policy says who is taken back."""
    if not draft.planned or draft.run.order is not None or draft.superseded or draft.policy is None:
        return
    for wave in draft.run.waves:
        if wave.progress is not WaveProgress.RUNNING or wave.name in draft.run.paused_for:
            continue
        why = _gate_failed(draft, wave) or _over_budget(draft, wave)
        if why is None:
            continue
        message, all_of_wave = why
        match draft.policy.on_failure.wave:
            case WaveFailure.PAUSE:
                _pause(draft, (wave.name,), f"wave {wave.name} failed: {message}; nobody is taken back by policy, Resume goes on")
            case WaveFailure.ROLLBACK_UNPROVEN:
                _order(draft, wave, message, [wave] if all_of_wave else [], UNPROVEN)
            case WaveFailure.ROLLBACK_WAVE:
                _order(draft, wave, message, [wave], UNPROVEN)
            case WaveFailure.ROLLBACK_UPGRADE:
                _order(draft, wave, message, list(draft.run.waves), UNPROVEN)
        return


def _gate_failed(draft: Draft, wave: WaveRecord) -> tuple[str, bool] | None:
    """The verdict on the wave as a whole. Over budget: the unproven. The wave's own gate: all of it, for the evidence is about them all."""
    if enforces(draft) is None or draft.world.gates.run_id != draft.run.id:
        return None
    gate = draft.world.gates.wave(wave.name)
    if gate is None or gate.verdict is not Verdict.FAILING:
        return None
    return gate.message or gate.reason, gate.reason != GateReason.BUDGET_EXCEEDED.value


def _over_budget(draft: Draft, wave: WaveRecord) -> tuple[str, bool] | None:
    budget = draft.effective_waves[wave.name].tolerated_failures(len(wave.tenants))
    failed = [(tenant.name, status) for tenant, status in draft.in_wave(wave) if counts_as_failed(status)]
    if len(failed) <= budget or not any(status.written or status.take_back is not None for _, status in failed):
        return None
    name, status = failed[0]
    cause = status.take_back.cause if status.take_back is not None else status.reason
    said = status.take_back.message if status.take_back is not None else status.message
    return f"{len(failed)} of {len(wave.tenants)} tenants failed, {budget} tolerated; {name}: {cause}: {said}", False


def counts_as_failed(status: TenantRunStatus) -> bool:
    """Tell whether the tenant counts in the failure budget. Those that were taken back for the sake of others do not."""
    if status.state not in tenant_run.FAILED:
        return False
    return status.take_back is None or status.take_back.cause not in (FailReason.WAVE_FAILED, FailReason.ABORTED)


def may_start_more(draft: Draft, wave: WaveRecord) -> bool:
    """Tell whether the wave is within its budget: tenants held with nothing written alone only stop it, they take nobody back."""
    if wave.name in draft.run.paused_for:
        return True
    budget = draft.effective_waves[wave.name].tolerated_failures(len(wave.tenants))
    return sum(counts_as_failed(status) for _, status in draft.in_wave(wave)) <= budget


def _order(draft: Draft, failed: WaveRecord, message: str, whole: list[WaveRecord], unproven: frozenset[TenantState]) -> None:
    in_scope = {name for wave in whole for name in wave.tenants}
    tenants = [
        tenant.name
        for wave in draft.run.waves
        for tenant, status in draft.in_wave(wave)
        if (status.state in unproven and status.state is not S.PREFLIGHT)
        or (tenant.name in in_scope and status.written and status.state in (S.SOAKING, S.SUCCEEDED))
    ]
    text = f"wave {failed.name} failed: {message}"
    draft.set_run(
        order=TakeBackOrder(reason=EndReason.WAVE_FAILED, wave=failed.name, message=text[:1024], time=draft.now, tenants=tuple(tenants))
    )
    draft.set_wave(failed.name, progress=WaveProgress.FAILED)
    draft.note("WaveFailed", text, warning=True)
    if tenants:
        draft.note("RollbackStarted", f"{len(tenants)} tenants are taken back", warning=True)


def _pause(draft: Draft, names: tuple[str, ...], message: str) -> None:
    draft.set_run(paused_for=(*draft.run.paused_for, *names))
    draft.set_journal(pause=Pause(time=draft.now, message=message))
    draft.note("UpgradePaused", message, warning=True)


def take_back(draft: Draft) -> None:
    """Start rollbacks that are ordered, newest wave first, at most `rollback.maxParallel` at once."""
    order = draft.run.order
    if order is None or draft.policy is None:
        return
    active = sum(status.state is S.ROLLING_BACK for status in draft.statuses().values())
    limit = draft.policy.rollback.max_parallel.of(len(order.tenants), floor=1)
    cause = FailReason.ABORTED if order.reason is EndReason.ABORT else FailReason.WAVE_FAILED
    for name in pending(draft):
        if active >= limit:
            break
        draft.set_status(name, tenant_run.going_back(draft.statuses()[name], cause, order.message, draft.now))
        active += 1


def pending(draft: Draft) -> list[str]:
    """Return the tenants that are ordered back and have not begun to go, newest wave first."""
    order = draft.run.order
    if order is None:
        return []
    named = frozenset(order.tenants)
    states = UNPROVEN | {S.SUCCEEDED}
    return [
        tenant.name
        for wave in reversed(draft.run.waves)
        for tenant, status in draft.in_wave(wave)
        if tenant.name in named and status.state in states and status.state is not S.PREFLIGHT
    ]


def return_unstarted(draft: Draft) -> None:
    """Once a run is being ended, tenants that never started are Queued again, with the reason that the run ended."""
    order = draft.run.order
    if order is None:
        return
    for tenant, status in list(draft.current()):
        if status.state in tenant_run.NOT_STARTED and not status.written and status.reason != RunReason.RUN_ENDED:
            draft.move(tenant.name, S.QUEUED, RunReason.RUN_ENDED, order.message)
