"""A version that was rolled back in a tenant is not tried there again without Retry or a new run.

What is a new run: the next attempt that a Retry begins, an edit that means something else, or another upgrade that is planned after the rollback
was recorded. What is none: an upgrade that is deleted and created again with the same meaning (a file that moves in git is pruned and made again),
and a run that was planned already when somebody else's run rolled the version back.
"""

from __future__ import annotations

from tenantwave.api.conditions import RunReason
from tenantwave.api.tenant_run import TenantRunStatus, TenantState
from tenantwave.core import tenant_run
from tenantwave.core.passes.draft import Draft, is_at_release
from tenantwave.core.world import Tenant


def remember_predecessor(draft: Draft) -> None:
    """Note in the journal of an upgrade that is made again which run it repeats, as long as the journal of the one before is there to tell."""
    stored = draft.world.journal
    made_again = stored is not None and stored.upgrade_uid != draft.journal.upgrade_uid
    if stored is None or not made_again or draft.deleted or draft.run.previous_run or not draft.run.spec_digest:
        return
    if stored.run.spec_digest == draft.run.spec_digest:
        draft.set_run(previous_run=stored.run.id, previous_content=stored.run.content)


def rolled_back_by(draft: Draft, tenant: Tenant) -> str:
    """Return the run that last rolled the release's version back in the tenant, '' if none has (or it has succeeded there since)."""
    return tenant.record.rolled_back.get(draft.spec.release.version, "") if tenant.record is not None else ""


def placed(draft: Draft, tenant: Tenant, status: TenantRunStatus) -> TenantRunStatus:
    """Return a tenant's first status in a run: held where the run only repeats one that was rolled back here, else with the run it tries again."""
    by = rolled_back_by(draft, tenant)
    repeated = _repeated(draft, tenant, by)
    if repeated and not status.written and not is_at_release(draft, tenant):
        return _held(draft, status, repeated)
    return status.model_copy(update={"retry_of": by})


def hold_if_rolled_back_since(draft: Draft, tenant: Tenant, status: TenantRunStatus) -> None:
    """Hold a tenant in which another run has rolled the version back since this one was planned."""
    by = rolled_back_by(draft, tenant)
    if (
        by not in ("", status.retry_of)
        and status.state in tenant_run.NOT_STARTED
        and not status.written
        and not is_at_release(draft, tenant)
        and not any(claim.holds for claim in tenant.claims)  # until the rollback has ended
    ):
        draft.set_status(tenant.name, _held(draft, status, by))


def is_held_for_it(status: TenantRunStatus) -> bool:
    """Tell whether the tenant is held because the version was rolled back in it."""
    return status.state is TenantState.HELD and status.reason == RunReason.ALREADY_ROLLED_BACK


def _repeated(draft: Draft, tenant: Tenant, by: str) -> str:
    """Return the run that rolled the version back and that this run only repeats, '' if it does not.

    The tenant's TenantRun of the earlier upgrade tells best, for a Retry may have been under way; without it the version record does.
    """
    name, before = draft.world.upgrade.name, draft.run.previous_run
    if not _is_made_again(draft):
        return ""
    stored = tenant.run
    if stored is None or stored.upgrade_uid == draft.world.upgrade.uid or stored.problem:
        return by if _upgrade_of(by).rpartition("-")[0] == name else ""
    last = stored.status
    taken_back = last.rolled_back_version == draft.spec.release.version and (
        last.state is TenantState.ROLLED_BACK or last.reason == RunReason.ALREADY_ROLLED_BACK
    )
    return (by or last.run) if taken_back and _upgrade_of(last.run) == _upgrade_of(before) else ""


def _is_made_again(draft: Draft) -> bool:
    """Tell whether the run before this one is that of an upgrade of this name which is gone.

    Of the same upgrade it would be an earlier attempt, or have begun with a lower generation; so no two UIDs that begin alike are mixed up.
    """
    run = draft.run
    if not run.previous_run or run.attempt > 1:
        return False
    began = run.previous_run.rpartition("-a")[0].rpartition("-")[2]
    return _upgrade_of(run.previous_run) != _upgrade_of(run.id) or (began.isdecimal() and int(began) >= run.generation)


def _upgrade_of(run: str) -> str:
    """Return `<upgrade>-<first characters of its UID>` of a run's id."""
    return run.rpartition("-a")[0].rpartition("-")[0]


def _held(draft: Draft, status: TenantRunStatus, by: str) -> TenantRunStatus:
    release = draft.spec.release
    message = (
        f"{release.product} {release.version} was rolled back here by run {by}; create an UpgradeAction Retry to try it again, or push another "
        "version"
    )
    return tenant_run.to(
        status,
        TenantState.HELD,
        RunReason.ALREADY_ROLLED_BACK,
        message,
        draft.now,
        rolled_back_version=release.version,
        completion_time=None,
    )
