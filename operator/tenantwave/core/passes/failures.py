"""A wave that failed, and taking tenants back: who, and how many at once. Windows never hold this."""

from __future__ import annotations

from datetime import datetime

from tenantwave.api.conditions import FailReason, GateReason, RunReason, SkipReason
from tenantwave.api.policy import WaveFailure
from tenantwave.api.tenant_run import TenantRunStatus, TenantState
from tenantwave.core import tenant_run
from tenantwave.core.gates import Verdict
from tenantwave.core.journal import EndReason, Pause, TakeBackOrder, WaveProgress, WaveRecord
from tenantwave.core.passes.draft import Draft
from tenantwave.core.passes.evidence import deciding
from tenantwave.core.plan import Deed

S = TenantState


def pause_for_failures(draft: Draft) -> None:
    """Under `onFailure.tenant: Pause` a tenant held after a write pauses the upgrade, once: Resume goes on without it.

    So it does not count in the wave's budget: a person decides about each of them.
    """
    if draft.takes_back or not draft.planned:
        return
    fresh = [
        (tenant.name, status)
        for tenant, status in draft.current()
        if status.state is S.HELD and status.written and tenant.name not in draft.run.paused_for and not draft.problem_of(tenant.name)
    ]
    if fresh:
        name, status = fresh[0]
        pause_for(
            draft,
            tuple(name for name, _ in fresh),
            f"{name} failed ({status.reason}) and is held as it is; Resume goes on without it, Resolve settles it",
        )


def fail_waves(draft: Draft) -> None:
    """A wave over its failureBudget, or with its own gate Failing, has failed. The policy says who is taken back."""
    run = draft.run
    if not draft.planned or run.order is not None or run.completion_time is not None or draft.superseded or draft.deleted:
        return
    for wave in run.waves:
        if is_forgiven(draft, wave):
            continue
        if wave.progress is WaveProgress.PASSED and (why_late := _failed_after_passing(draft, wave)):
            pause_for(draft, (_mark(wave),), f"{why_late}; look at it, then Resume or Abort")
        if wave.progress is not WaveProgress.RUNNING:
            continue
        why = _gate_failed(draft, wave) or _over_budget(draft, wave)
        if why is not None:
            fail_wave(draft, wave, f"wave {wave.name} failed: {why[0]}", all_of_wave=why[1])
            return
        if (windows := _stopped_by_windows(draft, wave)) is not None:
            _stop_for_windows(draft, wave, f"wave {wave.name} failed: {windows}")
            return


def fail_wave(draft: Draft, wave: WaveRecord, message: str, *, all_of_wave: bool, action: str = "") -> None:
    """Do what `onFailure.wave` says. `all_of_wave`: the evidence is about all of the wave; `action`: by whose order."""
    match draft.policy.on_failure.wave if draft.policy is not None else WaveFailure.ROLLBACK_UNPROVEN:
        case WaveFailure.PAUSE:
            pause_for(draft, (_mark(wave),), f"{message}; nobody is taken back by policy, Resume goes on")
        case WaveFailure.ROLLBACK_UNPROVEN:
            _order(draft, wave, message, [wave] if all_of_wave else [], action)
        case WaveFailure.ROLLBACK_WAVE:
            _order(draft, wave, message, [wave], action)
        case WaveFailure.ROLLBACK_UPGRADE:
            _order(draft, wave, message, list(draft.run.waves), action)


def is_forgiven(draft: Draft, wave: WaveRecord) -> bool:
    """Tell whether the wave's failure has paused the upgrade: Resume then goes on as if it had not failed."""
    return _mark(wave) in draft.run.paused_for


def has_paused(draft: Draft, wave: WaveRecord) -> bool:
    """Tell whether the wave, or a tenant of it that is held still, is what the upgrade was paused for."""
    held = (tenant.name for tenant, status in draft.in_wave(wave) if status.state is S.HELD)
    return is_forgiven(draft, wave) or any(name in draft.run.paused_for for name in held)


def _mark(wave: WaveRecord) -> str:
    """Return what stands for the wave in `paused_for`; no tenant's name has a slash."""
    return f"wave/{wave.name}"


def _gate_failed(draft: Draft, wave: WaveRecord) -> tuple[str, bool] | None:
    """The verdict on the wave as a whole. Over budget: the unproven. The wave's own gate: all of it, for the evidence is about them all."""
    gate = draft.book.wave(wave.name) if deciding(draft, wave) is not None else None
    if gate is None or gate.verdict is not Verdict.FAILING:
        return None
    if wave.progress is WaveProgress.PASSED and gate.reason == GateReason.BUDGET_EXCEEDED.value and not gate.failing_tenants:
        return None
    return gate.message or gate.reason, gate.reason != GateReason.BUDGET_EXCEEDED.value


def _failed_after_passing(draft: Draft, wave: WaveRecord) -> str:
    """Return what has gone wrong in a wave since it passed, '' if nothing has: its gates, or too many who came later."""
    if (gate := _gate_failed(draft, wave)) is not None:
        return f"wave {wave.name} fails its gates after it has passed: {gate[0]}"
    if _failed_late(draft, wave) and (late := _over_budget(draft, wave)) is not None:
        return f"a straggler failed after wave {wave.name} had passed: {late[0]}"
    return ""


def _failed_late(draft: Draft, wave: WaveRecord) -> bool:
    """Tell whether a tenant has failed that started after its wave had passed: it was left behind, or came back."""
    passed = wave.completion_time
    return draft.any_in(tenant_run.FAILED) and any(
        status.state in tenant_run.FAILED and passed is not None and status.start_time is not None and status.start_time >= passed
        for _, status in draft.in_wave(wave)
    )


def _over_budget(draft: Draft, wave: WaveRecord) -> tuple[str, bool] | None:
    if not draft.any_in(tenant_run.FAILED):
        return None
    budget, failed = _failed(draft, wave)
    if len(failed) <= budget or not any(_is_evidence(status) for _, status in failed):
        return None
    return _too_many(wave, budget, failed), False


def _stopped_by_windows(draft: Draft, wave: WaveRecord) -> str | None:
    """Return why the run is over where too many windows closed too early: then everybody else has come to an end, and stays as it is."""
    budget, failed = _failed(draft, wave)
    if len(failed) <= budget or draft.any_in(tenant_run.IN_FLIGHT | {S.SOAKING, S.ROLLING_BACK}):
        return None
    if any(tenant_run.is_unproven(status) for _, status in draft.current()):
        return None
    if any(status.state is not S.ROLLED_BACK or _is_evidence(status) for _, status in failed):
        return None
    return _too_many(wave, budget, failed)


def _stop_for_windows(draft: Draft, wave: WaveRecord, message: str) -> None:
    """End the run with nobody taken back, for there is no evidence against the release; or pause, where the policy pauses for any failure."""
    if draft.policy is not None and draft.policy.on_failure.wave is WaveFailure.PAUSE:
        fail_wave(draft, wave, message, all_of_wave=False)
    else:
        _order(draft, wave, message, [], "")


def _failed(draft: Draft, wave: WaveRecord) -> tuple[int, list[tuple[str, TenantRunStatus]]]:
    """Return how many failures the wave tolerates, and who failed. One that cannot be read stops the wave; nobody is taken back for it."""
    budget = draft.effective_waves[wave.name].tolerated_failures(len(wave.tenants))
    return budget, [
        (tenant.name, status)
        for tenant, status in draft.in_wave(wave)
        if counts(draft, tenant.name, status) and not draft.problem_of(tenant.name)
    ]


def _too_many(wave: WaveRecord, budget: int, failed: list[tuple[str, TenantRunStatus]]) -> str:
    name, status = failed[0]
    cause = status.take_back.cause if status.take_back is not None else status.reason
    said = status.take_back.message if status.take_back is not None else status.message
    return f"{len(failed)} of {len(wave.tenants)} tenants failed, {budget} tolerated; {name}: {cause}: {said}"


def _is_evidence(status: TenantRunStatus) -> bool:
    """Tell whether the failure says something about the release: it came after a write, and not of a window that closed too early.

    Without evidence the wave only stops, and nobody is taken back for it.
    """
    cause = status.take_back.cause if status.take_back is not None else status.reason
    return (status.written or status.take_back is not None) and cause != FailReason.WINDOW_CLOSED


def counts_as_failed(status: TenantRunStatus, attempt: int) -> bool:
    """Tell whether the tenant failed in this attempt. Those that were taken back for the sake of others did not, unless that failed."""
    if status.state not in tenant_run.FAILED or status.attempt != attempt:
        return False
    if status.state is S.ROLLBACK_FAILED:
        return True
    return status.take_back is None or status.take_back.cause not in (FailReason.WAVE_FAILED, FailReason.ABORTED)


def counts(draft: Draft, tenant: str, status: TenantRunStatus) -> bool:
    """Tell whether the tenant counts in the failure budget: it failed, and no pause has left it to a person."""
    return counts_as_failed(status, draft.run.attempt) and not (status.state is S.HELD and tenant in draft.run.paused_for)


def may_start_more(draft: Draft, wave: WaveRecord) -> bool:
    """Tell whether the wave is within its budget: tenants held with nothing written alone only stop it, they take nobody back."""
    if is_forgiven(draft, wave) or not draft.any_in(tenant_run.FAILED):
        return True
    budget = draft.effective_waves[wave.name].tolerated_failures(len(wave.tenants))
    return sum(counts(draft, tenant.name, status) for tenant, status in draft.in_wave(wave)) <= budget


def _order(draft: Draft, failed: WaveRecord, message: str, whole: list[WaveRecord], action: str) -> None:
    """Order back all that is unproven, in every wave, and of the waves in `whole` what succeeded, too."""
    in_scope = {name for wave in whole for name in wave.tenants}
    tenants = tuple(
        tenant.name
        for wave in draft.run.waves
        for tenant, status in draft.in_wave(wave)
        if tenant_run.is_unproven(status) or (tenant.name in in_scope and status.written and status.state is S.SUCCEEDED)
    )
    draft.set_run(
        order=TakeBackOrder(
            reason=EndReason.WAVE_FAILED, wave=failed.name, message=message[:1024], time=draft.now, tenants=tenants, action=action
        )
    )
    draft.set_wave(failed.name, progress=WaveProgress.FAILED)
    draft.note("WaveFailed", message, warning=True)
    if tenants:
        draft.note("RollbackStarted", f"{len(tenants)} tenants are taken back", warning=True)


def pause_for(draft: Draft, names: tuple[str, ...], message: str) -> None:
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
        status = draft.statuses()[name]
        if status.state is not S.SUCCEEDED and not status.written:
            # Its preflight had just ended. Whoever begins to write meanwhile fails this: letting go moves the TenantRun first.
            draft.do(name, Deed.LET_GO, _unstarted(status, order, draft.now))
            continue
        if active >= limit:
            continue
        after = tenant_run.going_back(status, cause, order.message, draft.now)
        draft.set_status(name, after)
        active += after.state is S.ROLLING_BACK


def pending(draft: Draft) -> list[str]:
    """Return the tenants that are ordered back and have not begun to go, newest wave first.

    Those that the order names, and whatever else is unproven: a preflight that had just ended when the order was given went on to write.
    """
    order = draft.run.order
    if order is None:
        return []
    named = frozenset(order.tenants)
    return [
        tenant.name
        for wave in reversed(draft.run.waves)
        for tenant, status in draft.in_wave(wave)
        if tenant_run.is_unproven(status)
        or (status.state is S.PREFLIGHT and status.written)
        or (status.state is S.SUCCEEDED and tenant.name in named and not _was_settled_since(status, order))
    ]


def _was_settled_since(status: TenantRunStatus, order: TakeBackOrder) -> bool:
    """Tell whether the order has reached the tenant already, and a person has then accepted it as it is."""
    return status.take_back is not None and status.take_back.time >= order.time


def return_unstarted(draft: Draft) -> None:
    """Once a run is being ended, tenants that were never written are Queued again (RunEnded), or Skipped where a person aborted it."""
    order = draft.run.order
    if order is None:
        return
    for tenant, status in list(draft.current()):
        if status.written or status.state not in tenant_run.NOT_STARTED | {S.HELD, S.PREFLIGHT}:
            continue
        if status.state is S.PREFLIGHT:
            draft.do(tenant.name, Deed.LET_GO, _unstarted(status, order, draft.now))  # its lock goes with it
        elif order.reason is EndReason.ABORT or (status.state in tenant_run.NOT_STARTED and status.reason != RunReason.RUN_ENDED):
            draft.set_status(tenant.name, _unstarted(status, order, draft.now))


def _unstarted(status: TenantRunStatus, order: TakeBackOrder, now: datetime) -> TenantRunStatus:
    if order.reason is EndReason.ABORT:
        return tenant_run.to(status, S.SKIPPED, SkipReason.ABORTED, order.message, now, completion_time=now)
    return tenant_run.to(status, S.QUEUED, RunReason.RUN_ENDED, order.message, now)
