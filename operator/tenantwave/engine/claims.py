"""What an upgrade wants of a tenant that another one wants, too."""

from __future__ import annotations

from datetime import datetime

from tenantwave.api.tenant_run import TenantState
from tenantwave.core import tenant_run
from tenantwave.core.calendar.stragglers import PATIENT
from tenantwave.core.journal import Journal
from tenantwave.core.world import Claim
from tenantwave.engine.views import RunView, UpgradeView


def may_start(view: UpgradeView, journal: Journal) -> bool:
    """Tell whether the upgrade is live, so that it may start tenants: neither ended, going back, suspended nor being deleted."""
    return (
        journal.run.completion_time is None
        and journal.run.order is None
        and view.upgrade.deletion_time is None
        and not (view.upgrade.spec is not None and view.upgrade.spec.suspend)
    )


def claim_of(other: RunView, view: UpgradeView | None, journal: Journal | None, asking_creation_time: datetime) -> Claim | None:
    """Return what the upgrade of this TenantRun wants of the tenant; None: nothing.

    Its upgrade may be gone by force: the lock then stays until a person settles the tenant, as if it were as old as the upgrade that asks.
    """
    run = other.run
    if view is None or journal is None or run.upgrade_uid != view.upgrade.uid:
        return (
            Claim(run.upgrade, run.status.run, True, False, False, asking_creation_time, "", "")
            if tenant_run.has_tenant(run.status)
            else None
        )
    live = may_start(view, journal)
    release = view.upgrade.spec.release if view.upgrade.spec is not None else None
    return Claim(
        upgrade=run.upgrade,
        run=run.status.run,
        holds=tenant_run.has_tenant(run.status),
        waits=live and run.status.run == journal.run.id and run.status.state in tenant_run.NOT_STARTED,
        running=live and journal.run.planned_time is not None,
        creation_time=view.upgrade.creation_time,
        product=release.product if release is not None else "",
        version=release.version if release is not None else "",
        is_patient=run.status.state is TenantState.WAITING and run.status.reason in PATIENT,
        next_open_time=run.status.next_open_time,
    )
