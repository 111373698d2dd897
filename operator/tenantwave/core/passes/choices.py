"""What the tenants decided: each decision is answered, who opted out is passed by, who opted in early goes earlier."""

from __future__ import annotations

from collections.abc import Sequence

from tenantwave.api.conditions import DecisionReason, SkipReason, WaitReason
from tenantwave.api.tenant_run import TenantRunStatus, TenantState
from tenantwave.core import waves
from tenantwave.core.calendar import Answer
from tenantwave.core.journal import WaveProgress, WaveRecord
from tenantwave.core.passes.draft import Draft
from tenantwave.core.passes.terms import earlier_wave, ruling_of
from tenantwave.core.plan import DecisionAnswer
from tenantwave.core.world import Tenant

S = TenantState

THE_END = "the run has ended; the decision counts for no other"


def hear_tenants(draft: Draft) -> None:
    """Answer the decisions, and do what those that count ask for. Cost: one look at each tenant that decided, or was passed by."""
    if draft.ground is None or not draft.planned or draft.deleted or draft.superseded:
        return
    is_over = draft.run.completion_time is not None or draft.run.order is not None
    _follow_plan(draft)
    early = []
    concerned = (tenant for tenant in draft.world.tenants.values() if _is_concerned(draft, tenant))
    for tenant in sorted(concerned, key=lambda tenant: tenant.name):  # caches give them in any order, and who goes early joins a queue
        status = draft.status(tenant.name)
        if status is not None and status.run == draft.run.id and not is_over:
            if _goes_early(draft, tenant, status):
                early.append(tenant.name)
            _obey(draft, tenant, status)
        if tenant.decisions:
            _answer(draft, tenant, status, is_over)
    if early:
        _move_early(draft, early)
        _follow_plan(draft)


def _is_concerned(draft: Draft, tenant: Tenant) -> bool:
    """Tell whether the tenant has decided something, or had: then it may have to come back."""
    status = draft.status(tenant.name)
    return bool(tenant.decisions) or (status is not None and status.reason == SkipReason.OPTED_OUT)


def _answer(draft: Draft, tenant: Tenant, status: TenantRunStatus | None, is_over: bool) -> None:
    before = {seen.decision.name: seen.answer for seen in tenant.decisions}
    if is_over:
        answers = tuple(Answer(name, False, DecisionReason.TOO_LATE, THE_END) for name, answer in before.items() if answer is None)
    else:
        answers = ruling_of(draft, tenant, status).answers
    draft.decision_answers += [DecisionAnswer(tenant.name, answer) for answer in answers if answer != before[answer.decision]]


def _obey(draft: Draft, tenant: Tenant, status: TenantRunStatus) -> None:
    name = tenant.name
    choice = ruling_of(draft, tenant, status).choice
    if choice.skip and choice.hold is not None and _may_leave(status):
        draft.move(name, S.SKIPPED, SkipReason.OPTED_OUT, choice.hold.message, completion_time=draft.now)
    elif status.state is S.SKIPPED and status.reason == SkipReason.OPTED_OUT and not choice.skip:
        message = "its OptOut no longer counts"
        draft.move(name, S.QUEUED, WaitReason.WAVE_QUEUED, message, completion_time=None)


def _may_leave(status: TenantRunStatus) -> bool:
    """Tell whether the tenant has not begun, so that it may still go by its own choice."""
    return not status.written and status.state in (S.QUEUED, S.WAITING, S.HELD)


def _goes_early(draft: Draft, tenant: Tenant, status: TenantRunStatus) -> bool:
    """Tell whether the tenant is to go to the next wave not started. It goes there once; a Retry that plans it back moves it once more."""
    if draft.ground is None or tenant.name in draft.ground.early or not _may_leave(status):
        return False
    return ruling_of(draft, tenant, status).choice.early and earlier_wave(draft, status) is not None


def _move_early(draft: Draft, names: Sequence[str]) -> None:
    """Let tenants join the next wave not started, behind those that are in it. The journal says so first. Cost: one look at the plan."""
    gone = frozenset(names)
    target = next(wave for wave in draft.run.waves if wave.progress is WaveProgress.QUEUED)
    moved = tuple(_joined(wave, names) if wave is target else _without(wave, gone) for wave in draft.run.waves)
    draft.set_run(waves=moved, plan_digest=waves.plan_digest(draft.run.id, ((wave.name, wave.tenants) for wave in moved)))


def _joined(wave: WaveRecord, names: Sequence[str]) -> WaveRecord:
    return wave.model_copy(update={"tenants": (*wave.tenants, *names), "early_count": wave.early_count + len(names)})


def _without(wave: WaveRecord, gone: frozenset[str]) -> WaveRecord:
    if gone.isdisjoint(wave.tenants):
        return wave
    return wave.model_copy(update={"tenants": tuple(name for name in wave.tenants if name not in gone)})


def _follow_plan(draft: Draft) -> None:
    """Have TenantRuns say in which wave the journal has put their tenant: after its own move, also after a crash, whatever it has decided
    since; and after a Retry that planned anew around tenants which it did not name.
    """
    for wave in draft.run.waves:
        early = frozenset(wave.tenants[-wave.early_count :]) if wave.early_count else frozenset()
        for name in wave.tenants:
            status = draft.status(name)
            if status is None or status.wave == wave.name or status.run != draft.run.id:
                continue
            why = f"moved from wave {status.wave} to {wave.name}"
            if name in early:
                draft.note("TenantGoesEarly", f"moved from wave {status.wave} to wave {wave.name} by its own OptInEarly", tenant=name)
                why = f"asked to go early: {why}"
            draft.set_status(name, status.model_copy(update={"wave": wave.name, "explain": why}))
