"""A date that was told and no longer holds: told again, with the old one and the reason."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from tenantwave.api.tenant_run import MovedStart, TenantRunStatus
from tenantwave.core.calendar import rescheduled
from tenantwave.core.passes.draft import Draft


def moved_to(draft: Draft, tenant: str, status: TenantRunStatus, new_time: datetime | None, why: str) -> dict[str, Any]:
    """Return what to change in a TenantRun whose told date has moved, and want it told; {} where it has hardly moved."""
    moved = rescheduled(tenant, status.planned_start_time, new_time, status.reason, why)
    if moved is None:
        return {}
    to = f"{moved.new_time:%Y-%m-%dT%H:%M:%SZ}" if moved.new_time is not None else "a time that is not in sight yet"
    draft.note("Rescheduled", f"the start moved from {moved.old_time:%Y-%m-%dT%H:%M:%SZ} to {to}: {moved.why}", tenant=tenant)
    return {"rescheduled": MovedStart(time=draft.now, from_=moved.old_time, to=moved.new_time, why=moved.why)}
