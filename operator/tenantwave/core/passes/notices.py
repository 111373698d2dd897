"""Who has to be told, and who has been: the record in a tenant's profile, as the API server confirms it, starts the clock of its notice."""

from __future__ import annotations

from tenantwave.api.tenant_run import TenantRunStatus, TenantState
from tenantwave.core import tenant_run
from tenantwave.core.passes.draft import Draft
from tenantwave.core.plan import Deed
from tenantwave.core.world import Tenant


def give_notice(draft: Draft) -> None:
    """Want every tenant of the plan told, as soon as the plan is accepted, so that leads run while earlier waves work.

    The TenantRun says what is to be told; the profile's worker tells it; what the profile then shows is the proof. While the upgrade is
    suspended nobody is told, nor are tenants that already run the release.
    """
    ground = draft.ground
    if ground is None or not ground.digest or draft.save_plan or not draft.planned or draft.suspended or draft.problem is not None:
        return
    if draft.superseded or draft.deleted or draft.run.order is not None or draft.run.completion_time is not None:
        return
    for tenant, status in list(draft.current()):
        if _is_to_start(status) and not _is_being_settled(draft, tenant):
            _give(draft, tenant, status, ground.digest)


def _is_to_start(status: TenantRunStatus) -> bool:
    return status.state in tenant_run.NOT_STARTED or (status.state is TenantState.HELD and not status.written)


def _is_being_settled(draft: Draft, tenant: Tenant) -> bool:
    step = draft.steps.get(tenant.name)
    return step is not None and step.deed is Deed.LET_GO


def _give(draft: Draft, tenant: Tenant, status: TenantRunStatus, digest: str) -> None:
    if status.notice_digest == digest and status.notice_time is not None:
        return
    told = next((record for record in tenant.told if (record.version, record.digest) == (status.to_version, digest)), None)
    given = told.given_time if told is not None else None
    if (status.notice_digest, status.notice_time) == (digest, given):
        return
    draft.set_status(tenant.name, status.model_copy(update={"notice_digest": digest, "notice_time": given}))
    if given is not None:
        lead = draft.ground.lead if draft.ground is not None else None
        ends = f"; nothing starts before {given + lead:%Y-%m-%dT%H:%M:%SZ}" if lead else ""
        release = draft.spec.release
        draft.note("NoticeGiven", f"told of {release.product} {release.version} at {given:%Y-%m-%dT%H:%M:%SZ}{ends}", tenant=tenant.name)
