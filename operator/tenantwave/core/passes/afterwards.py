"""Tenants that were taken back are judged once more, for the record: are they as well as before the upgrade?

It holds nothing and delays nothing: the tenant is RolledBack, and the run over, whatever comes of it.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta

from tenantwave.api.conditions import GateReason
from tenantwave.api.tenant_run import TenantRunStatus, TenantState
from tenantwave.api.upgrade_status import GateStatus
from tenantwave.api.upgrade_status import Verdict as ShownVerdict
from tenantwave.core.gates import Role, TenantInContext, Verdict
from tenantwave.core.gates.evidence import gate_status
from tenantwave.core.passes.draft import Draft
from tenantwave.core.world import Tenant

PATIENCE = timedelta(minutes=10)
"""How long after its rollback a tenant is asked for; longer only where warm-up and first look alone take longer."""
LOOKS = 6
"""How many intervals a first look and two more take; what is still unclear then is noted as that."""


def tenants_to_judge(draft: Draft) -> Iterator[TenantInContext]:
    """Yield the tenants whose metrics are still to be compared with the hour before the first write."""
    if draft.policy is None or not draft.any_in((TenantState.ROLLED_BACK,)):
        return
    warm_up = draft.policy.evaluation.warm_up
    for tenant, status in draft.current():
        if _is_open(status) and status.completion_time is not None and draft.now < status.completion_time + _patience(draft):
            if any(claim.holds for claim in tenant.claims):
                continue  # what is measured now is another upgrade's
            yield TenantInContext(
                name=tenant.name,
                wave=status.wave,
                window_start_time=status.completion_time + warm_up,
                first_write_time=status.start_time,
                role=Role.TAKEN_BACK,
            )


def remember_afterwards(draft: Draft) -> None:
    """Record what came of it: as soon as it is clear, else after some looks; and where nobody could look, when the time is up."""
    context = draft.gate_context
    if context is None or not context.enforces or not draft.any_in((TenantState.ROLLED_BACK,)):
        return
    for tenant, status in list(draft.current()):
        if not _is_open(status) or status.completion_time is None:
            continue
        gate = draft.book.afterwards.get(tenant.name)
        has_look = gate is not None and gate.evaluation_time is not None
        is_clear = has_look and gate is not None and gate.verdict in (Verdict.HEALTHY, Verdict.FAILING)
        end = status.completion_time + (_looks(draft) if has_look else _patience(draft))
        if not is_clear and draft.now < end:
            draft.wake(end)
        elif gate is not None and has_look:
            _record(draft, tenant, status, _named(gate_status(gate, context, draft.book)))
        else:
            _record(draft, tenant, status, _not_judged(draft, tenant))


def is_worse(status: TenantRunStatus) -> bool:
    """Tell whether the tenant was found worse after its rollback than before the upgrade."""
    return status.after_rollback is not None and status.after_rollback.verdict is ShownVerdict.FAILING


def _is_open(status: TenantRunStatus) -> bool:
    """Tell whether the tenant was taken back from what a run had written, and nobody has looked at it since."""
    return status.state is TenantState.ROLLED_BACK and bool(status.rolled_back_version) and status.after_rollback is None


def _looks(draft: Draft) -> timedelta:
    """Return how long warm-up, the first look and a few more take."""
    return draft.policy.evaluation.warm_up + LOOKS * draft.policy.evaluation.interval if draft.policy is not None else timedelta(0)


def _patience(draft: Draft) -> timedelta:
    return max(PATIENCE, _looks(draft))


def _record(draft: Draft, tenant: Tenant, status: TenantRunStatus, shown: GateStatus) -> None:
    after = status.model_copy(update={"after_rollback": shown})
    draft.set_status(tenant.name, after)
    if is_worse(after):
        message = f"{shown.message}; look at the tenant, for it runs its old version again"
        draft.note(GateReason.WORSE_THAN_BEFORE, message, tenant.name, warning=True)
        draft.note(GateReason.WORSE_THAN_BEFORE, f"{tenant.name}: {message}", warning=True)


def _named(shown: GateStatus) -> GateStatus:
    """Return the verdict with the one word for it: what fails now does so against what was usual before the upgrade."""
    return shown.model_copy(update={"reason": str(GateReason.WORSE_THAN_BEFORE)}) if shown.verdict is ShownVerdict.FAILING else shown


def _not_judged(draft: Draft, tenant: Tenant) -> GateStatus:
    busy = next((claim.upgrade for claim in tenant.claims if claim.holds), "")
    source = draft.book.source
    why = f"{busy} has the tenant" if busy else source.message or "its metrics did not come in time"
    return GateStatus(
        verdict=ShownVerdict.UNKNOWN,
        reason=source.kind or str(GateReason.NOT_JUDGED),
        message=f"not judged after its rollback: {why}"[:512],
    )
