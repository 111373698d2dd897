"""When each tenant starts: its calendar, asked with its notice, its choice and what people lifted for it."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime, timedelta

from tenantwave.api.conditions import DecisionReason, WaitReason
from tenantwave.api.decision import DecisionType
from tenantwave.api.policy import Consent
from tenantwave.api.tenant_run import TenantRunStatus, TenantState
from tenantwave.core import tenant_run
from tenantwave.core.calendar import Answer, Choice, Closed, KeptStarts, Notice, PlannedStart, Ruling, Terms, overrides_for, rule_on
from tenantwave.core.journal import WaveProgress, WaveRecord
from tenantwave.core.passes.draft import Draft
from tenantwave.core.world import Tenant

SKEW = timedelta(seconds=2)
"""Openings are shrunk by this much for the start decision, so that a clock that is slightly wrong starts nobody outside one."""

_starts = KeptStarts(SKEW)
"""Answers hold until they run out, whoever asks; keeping them changes no decision, only its cost."""

AGAIN = timedelta(hours=1)
"""How soon what could not be computed is tried again, though nobody has changed it."""
FREE = Ruling(Choice())
"""Of a tenant that has decided nothing, and need not."""

TO_START = tenant_run.NOT_STARTED | {TenantState.HELD, TenantState.SKIPPED}
"""States from which a tenant may still be started, where nothing of ours is written in it."""


def start_of(draft: Draft, tenant: Tenant, status: TenantRunStatus) -> PlannedStart | None:
    """Return when the tenant starts and why not now; None without a policy. Cost: a look into a table, else 0.1 ms."""
    if tenant.calendar is None:
        return None
    try:
        return _starts.of(draft.world.upgrade.uid, tenant.name, tenant.calendar, terms_of(draft, tenant, status), draft.now)
    except ArithmeticError as error:  # a date that leads out of the calendar closes that tenant, and stops nobody else
        said = f"closed: its windows or decisions cannot be computed ({error}); state times between 1970 and 2999"
        return PlannedStart(None, None, Closed(WaitReason.INVALID_WINDOWS, said), False, draft.now + AGAIN)


def terms_of(draft: Draft, tenant: Tenant, status: TenantRunStatus) -> Terms:
    """Return what counts for the tenant's start besides its calendar."""
    ground = draft.ground
    if ground is None:
        return Terms()
    notice, choice = notice_of(draft, status), ruling_of(draft, tenant, status).choice
    overrides = overrides_for(ground.overrides, draft.run.id, tenant.name, status.wave, draft.now) if ground.overrides else ()
    if notice is None and choice is FREE.choice and not overrides:
        return ground.terms
    return replace(ground.terms, notice=notice, choice=choice, overrides=overrides)


def notice_of(draft: Draft, status: TenantRunStatus) -> Notice | None:
    """Return the tenant's notice; None where it has to be told nothing."""
    ground = draft.ground
    if ground is None or not ground.digest:
        return None
    return Notice(status.notice_time if status.notice_digest == ground.digest else None, ground.lead)


def ruling_of(draft: Draft, tenant: Tenant, status: TenantRunStatus | None) -> Ruling:
    """Return what the tenant's decisions, or the lack of one, mean. Cost: one sort of its decisions, once for each decision of ours."""
    ground = draft.ground
    if ground is None or (not tenant.decisions and ground.rights.consent is not Consent.OPT_IN):
        return FREE
    known = draft.rulings.get(tenant.name)
    if known is None:
        notice = notice_of(draft, status) if status is not None else None
        rights = replace(
            ground.rights,
            notice_end_time=notice.end_time if notice is not None else ground.noticed_time,
            start_time=started_time(status) if status is not None else None,
            heard=frozenset(seen.decision.name for seen in tenant.decisions if seen.answer is not None and seen.answer.accepted),
            early_wave=tenant.name in ground.early
            or _was_early(tenant)
            or (status is not None and earlier_wave(draft, status) is not None),
        )
        known = rule_on((seen.decision for seen in tenant.decisions), rights)
        if status is not None and rights.start_time is not None and status.state is not TenantState.PREFLIGHT:
            known = replace(known, answers=tuple(_seen_too_late(answer, tenant, rights.start_time) for answer in known.answers))
        draft.rulings[tenant.name] = known
    return known


def _seen_too_late(answer: Answer, tenant: Tenant, start_time: datetime) -> Answer:
    """Return what a Defer or OptOut is answered that was made before the start, but seen only after something had been written."""
    seen = next(seen for seen in tenant.decisions if seen.decision.name == answer.decision)
    if not answer.accepted or seen.answer is not None or seen.decision.type not in (DecisionType.DEFER, DecisionType.OPT_OUT):
        return answer
    message = (
        f"the tenant was being changed since {start_time:%Y-%m-%dT%H:%M:%SZ} when this was seen; the decision has no effect on this run"
    )
    return Answer(answer.decision, False, DecisionReason.TOO_LATE, message)


def started_time(status: TenantRunStatus) -> datetime | None:
    """Return since when a decision comes too late; None for who has not begun, or has begun and changed nothing."""
    if status.state in TO_START and not status.written:
        return None
    return status.start_time or status.completion_time or status.state_since_time


def _was_early(tenant: Tenant) -> bool:
    """Tell whether an OptInEarly of the tenant has been accepted. It stays consent where a Retry leaves no wave to go to."""
    return any(
        seen.decision.type is DecisionType.OPT_IN_EARLY and seen.answer is not None and seen.answer.accepted for seen in tenant.decisions
    )


def earlier_wave(draft: Draft, status: TenantRunStatus) -> WaveRecord | None:
    """Return the next wave that has not started, if the tenant is in a later one."""
    for wave in draft.run.waves:
        if wave.name == status.wave or not status.wave:
            return None
        if wave.progress is WaveProgress.QUEUED:
            return wave
    return None
