"""Which orders of a person would settle a tenant, each ready to be pasted into a shell."""

from __future__ import annotations

import json

from tenantwave.api.action import ActionType, Resolution
from tenantwave.api.conditions import FailReason
from tenantwave.api.kinds import UPGRADE_ACTION
from tenantwave.api.tenant_run import TenantRunStatus, TenantState

SELF_MENDING = frozenset(
    {
        FailReason.CONFIG_CONFLICT,
        FailReason.UNKNOWN_BASE,
        FailReason.OWNERSHIP_CONFLICT,
        FailReason.NOT_DRIVABLE,
        FailReason.UNVERIFIABLE,
        FailReason.QUOTA_EXCEEDED,
        FailReason.PREFLIGHT_FAILED,
    }
)
"""What a tenant with nothing written is held for and a look at it can find mended. The others wait for a person."""

WHY = "say why in 8 characters or more"
"""Stands for the reason in a command; it is one itself, so that the command works as it is."""

Order = tuple[ActionType, Resolution | None]

RETRY: Order = (ActionType.RETRY, None)
SKIP: Order = (ActionType.SKIP_TENANT, None)
BACK: Order = (ActionType.RESOLVE, Resolution.ROLLBACK)
ACCEPT: Order = (ActionType.RESOLVE, Resolution.ACCEPT_LIVE)
FORCE: Order = (ActionType.RESOLVE, Resolution.FORCE_PRE_IMAGE)


def orders_for(status: TenantRunStatus) -> tuple[Order, ...]:
    """Return which orders fit, the mildest first."""
    match status.state:
        case TenantState.ROLLBACK_FAILED:
            return (BACK, FORCE, ACCEPT)
        case TenantState.HELD if status.written:
            return (RETRY, BACK, ACCEPT, FORCE)
        case TenantState.HELD:
            return (SKIP,) if status.reason in SELF_MENDING else (RETRY, SKIP)
        case _:
            return ()


def advised(status: TenantRunStatus, upgrade: str, tenant: str) -> TenantRunStatus:
    """Return the status with the commands that fit it, and nothing of a rollback that is over."""
    commands = tuple(_command(order, upgrade, status.run, tenant) for order in orders_for(status))
    is_stuck = status.state in (TenantState.ROLLBACK_FAILED, TenantState.ROLLING_BACK)
    return status.model_copy(update={"commands": commands, "differences": status.differences if is_stuck else ()})


def _command(order: Order, upgrade: str, run: str, tenant: str) -> str:
    kind, resolution = order
    name = (resolution or kind).value.lower()
    spec = {"upgrade": upgrade, "run": run, "type": kind.value, "tenants": [tenant]}
    if resolution is not None:
        spec["resolution"] = resolution.value
    if kind is not ActionType.RETRY:
        spec["reason"] = WHY
    body = {
        "apiVersion": UPGRADE_ACTION.api_version,
        "kind": UPGRADE_ACTION.name,
        "metadata": {"generateName": f"{name}-{tenant}-"},
        "spec": spec,
    }
    return f"echo '{json.dumps(body, separators=(',', ':'))}' | kubectl create -f -"
