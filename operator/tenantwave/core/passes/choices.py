"""What the tenants decided: each decision is answered, who opted out is passed by, who opted in early goes earlier."""

from __future__ import annotations

from tenantwave.api.conditions import DecisionReason, SkipReason, WaitReason
from tenantwave.api.tenant_run import TenantRunStatus, TenantState
from tenantwave.core import waves
from tenantwave.core.calendar import Answer
from tenantwave.core.journal import WaveRecord
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
    concerned = (tenant for tenant in draft.world.tenants.values() if _is_concerned(draft, tenant))
    for tenant in sorted(concerned, key=lambda tenant: tenant.name):  # caches give them in any order, and who goes early joins a queue
        status = draft.status(tenant.name)
        if status is not None and status.run == draft.run.id and not is_over:
            _obey(draft, tenant, status)
        if tenant.decisions:
            _answer(draft, tenant, status, is_over)
    _follow_moves(draft)


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
    may_leave = not status.written and status.state in (S.QUEUED, S.WAITING, S.HELD)
    if choice.early and may_leave:
        _go_early(draft, name, status)
    if choice.skip and choice.hold is not None and may_leave:
        draft.move(name, S.SKIPPED, SkipReason.OPTED_OUT, choice.hold.message, completion_time=draft.now)
    elif status.state is S.SKIPPED and status.reason == SkipReason.OPTED_OUT and not choice.skip:
        message = "its OptOut no longer counts"
        draft.move(name, S.QUEUED, WaitReason.WAVE_QUEUED, message, completion_time=None)


def _go_early(draft: Draft, name: str, status: TenantRunStatus) -> None:
    """Move the tenant to the next wave not started, once. The journal says so first."""
    target = earlier_wave(draft, status) if name not in draft.run.moved_early else None
    if target is None:
        return
    draft.set_run(
        waves=tuple(_with(_without(wave, name), name) if wave.name == target.name else _without(wave, name) for wave in draft.run.waves),
        moved_early=(*draft.run.moved_early, name),
    )
    draft.set_run(plan_digest=waves.plan_digest(draft.run.id, ((wave.name, wave.tenants) for wave in draft.run.waves)))


def _follow_moves(draft: Draft) -> None:
    """Have TenantRuns say in which wave the journal has put their tenant; also after a crash, whatever it has decided since."""
    moved = frozenset(draft.run.moved_early)
    for wave in draft.run.waves if moved else ():
        for name in sorted(moved.intersection(wave.tenants)):
            status = draft.status(name)
            if status is None or status.run != draft.run.id or status.wave == wave.name:
                continue
            why = f"asked to go early: moved from wave {status.wave} to {wave.name}"
            draft.set_status(name, status.model_copy(update={"wave": wave.name, "explain": why}))
            draft.note("TenantGoesEarly", f"moved from wave {status.wave} to wave {wave.name} by its own OptInEarly", tenant=name)


def _without(wave: WaveRecord, tenant: str) -> WaveRecord:
    if tenant not in wave.tenants:
        return wave
    return wave.model_copy(update={"tenants": tuple(name for name in wave.tenants if name != tenant)})


def _with(wave: WaveRecord, tenant: str) -> WaveRecord:
    return wave.model_copy(update={"tenants": (*wave.tenants, tenant)})
