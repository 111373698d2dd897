"""Tenants in which nothing is written yet are looked at again and again: what would be done in each, and what stands against it."""

from __future__ import annotations

from datetime import timedelta

from tenantwave.api.tenant_run import TenantRunStatus, TenantState
from tenantwave.core import tenant_run
from tenantwave.core.passes.draft import Draft
from tenantwave.core.plan import Deed
from tenantwave.core.world import Tenant

WHERE_HELD = timedelta(seconds=10)
"""What holds a tenant is its own object, which no watch shows; its owner waits to see that the mend was right."""
WHERE_WELL = timedelta(minutes=5)
"""A good plan is looked at now and then, for the tenant may edit."""
SELDOM = timedelta(hours=1)
FOR_EACH = timedelta(milliseconds=100)
"""A look reads every object of the tenant and asks the API server for dry-runs: ten a second for the whole upgrade, however many tenants it has."""


def preview_suspended(draft: Draft) -> None:
    """Have told what would be done in each tenant while the upgrade is suspended."""
    if not draft.suspended or not draft.planned or draft.superseded or draft.deleted or draft.run.order is not None:
        return
    waiting = [(tenant, status) for tenant, status in draft.current() if status.state in tenant_run.NOT_STARTED and not status.written]
    for tenant, status in waiting:
        pace = WHERE_HELD if status.preview is None else WHERE_WELL
        draft.do(tenant.name, Deed.PREVIEW, at_most_every=max(pace, len(waiting) * FOR_EACH))


def preview_held(draft: Draft, tenant: Tenant, status: TenantRunStatus) -> None:
    """Look whether what holds this tenant still does; each time that it was held again, half as often.

    What is refused only when it is written looks well from here, so the tenant would be tried and held without an end.
    """
    again = WHERE_HELD * 2 ** min(max(status.held_count - 1, 0), 16)
    draft.do(tenant.name, Deed.PREVIEW, at_most_every=max(min(again, SELDOM), draft.count(TenantState.HELD) * FOR_EACH))
