"""What becomes of the steps of a plan in a fleet in memory: the work that the engine does in a tenant, without a cluster."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import TYPE_CHECKING

from builders import OLD
from fleets.member import Member, hook_end_time
from tenantwave.api.conditions import FailReason, RunReason
from tenantwave.api.run_records import Conflict, HookRecord, HookState
from tenantwave.api.tenant_run import TenantPlan, TenantRunStatus, TenantState
from tenantwave.api.upgrade import HookTime
from tenantwave.core import tenant_run
from tenantwave.core.plan import Deed, Step
from tenantwave.core.world import VersionRecord

if TYPE_CHECKING:
    from fleets.fleet import Fleet

S = TenantState


class Fails(Exception):  # noqa: N818 - an outcome
    """The step fails its tenant."""

    def __init__(self, reason: FailReason, message: str) -> None:
        super().__init__(message)
        self.reason = reason


def _preview(fleet: Fleet, member: Member, status: TenantRunStatus, step: Step) -> None:
    if member.conflict:
        shown = (Conflict(config_map="app-config", key=member.conflict, mend="make both equal"),)
        fleet.store(member.name, status.model_copy(update={"conflicts": shown}))
    elif member.owner and status.state is S.HELD:
        return  # as in the preflight: the owner is still there
    elif status.state is S.HELD:
        fleet.store(
            member.name, tenant_run.to(status, S.QUEUED, RunReason.PLANNED, "what held the tenant is mended", fleet.now, conflicts=())
        )
    else:
        fleet.store(member.name, status.model_copy(update={"preview": TenantPlan(digest="sha256:" + "0" * 64), "conflicts": ()}))


def _prepare(fleet: Fleet, member: Member, status: TenantRunStatus, step: Step) -> None:
    if member.conflict:
        shown = (Conflict(config_map="app-config", key=member.conflict, mend="make both equal"),)
        fleet.store(member.name, status.model_copy(update={"conflicts": shown}))
        raise Fails(FailReason.CONFIG_CONFLICT, f"app-config/{member.conflict}: changed by both; make both equal")
    if member.owner:
        raise Fails(FailReason.OWNERSHIP_CONFLICT, f"{member.owner}; use that tool's driver")
    fleet.store(
        member.name,
        tenant_run.to(
            status, S.APPLYING, RunReason.IN_PROGRESS, "one workload is to be written", fleet.now,
            component=0, epoch=status.epoch + 1, applied_time=None, converged_time=None,
        ),
    )  # fmt: skip


def _hook_succeeded(fleet: Fleet, member: Member, status: TenantRunStatus) -> bool:
    """Start the member's hook, look at its Job, and take down its result. Returns whether the component may be written."""
    if member.hook_takes is None:
        return True
    if not status.hooks:
        job = f"{status.run}-migrate"
        irreversible = member.hook_is_irreversible
        record = HookRecord(name="migrate", at=HookTime.PRE_APPLY, job=job, irreversible=irreversible, start_time=fleet.now)
        past = {"forward_only": f"the irreversible hook migrate was started (Job {job})"} if irreversible else {}
        fleet.store(member.name, status.model_copy(update={"hooks": (record,), "written": True, "last_seq": status.last_seq + 1} | past))
        return False
    record, end = status.hooks[0], hook_end_time(member)
    if record.state is HookState.RUNNING and (end is None or fleet.now < end):
        return False
    state = HookState.FAILED if member.hook_fails else HookState.SUCCEEDED
    fleet.store(member.name, status.model_copy(update={"hooks": (record.model_copy(update={"state": state}),)}))
    if member.hook_fails:
        raise Fails(FailReason.HOOK_FAILED, "hook migrate: its Job failed")
    return True


def _apply(fleet: Fleet, member: Member, status: TenantRunStatus, step: Step) -> None:
    if not _hook_succeeded(fleet, member, status):
        return
    status = fleet.run_of(member.name)
    member.live, member.touched = fleet.planned_spec().release.version, True
    changes = {"applied_time": fleet.now, "written": True, "last_seq": status.last_seq + 1}
    fleet.store(member.name, tenant_run.to(status, S.CONVERGING, RunReason.IN_PROGRESS, "api is written", fleet.now, **changes))


def _confirm(fleet: Fleet, member: Member, status: TenantRunStatus, step: Step) -> None:
    if member.live != fleet.planned_spec().release.version:
        raise Fails(FailReason.FOREIGN_VERSION_CHANGE, f"the image was set to {member.live} by somebody else")
    following = status.component + 1
    if following < len(fleet.planned_spec().components):
        text = "the next component is written"
        fleet.store(member.name, tenant_run.to(status, S.APPLYING, RunReason.IN_PROGRESS, text, fleet.now, component=following))
    else:
        text = f"runs {fleet.planned_spec().release.version}; it must stay healthy"
        fleet.store(member.name, tenant_run.to(status, S.SOAKING, RunReason.IN_PROGRESS, text, fleet.now, converged_time=fleet.now))


def _finalise(fleet: Fleet, member: Member, status: TenantRunStatus, step: Step) -> None:
    version = fleet.planned_spec().release.version
    member.record = VersionRecord(version, version, fleet.now)
    fleet.store(member.name, tenant_run.succeeded(status, RunReason.UPGRADED, f"runs {version}", fleet.now))


def _take_back(fleet: Fleet, member: Member, status: TenantRunStatus, step: Step) -> None:
    if member.stuck:
        return
    if member.fails_back is not None:
        raise Fails(member.fails_back, "the object is another one")
    landed = status.written
    if landed:
        member.live = status.from_version or OLD
        member.record = VersionRecord(member.live, member.live, fleet.now)
    cause = status.take_back.cause if status.take_back is not None else status.reason
    after = tenant_run.to(status, S.ROLLED_BACK, cause, f"taken back to {member.live}", fleet.now, completion_time=fleet.now)
    fleet.store(
        member.name,
        after.model_copy(update={"written": False, "forward_only": "", "rolled_back_version": status.to_version if landed else ""}),
    )


def _let_go(fleet: Fleet, member: Member, status: TenantRunStatus, step: Step) -> None:
    assert step.outcome is not None
    if step.outcome.state is S.SUCCEEDED:
        version = fleet.planned_spec().release.version
        member.record = VersionRecord(version, version, fleet.now)
    elif step.outcome.reason == RunReason.ORPHANED and status.written:
        known = member.record or VersionRecord("", "", fleet.now)
        member.record = replace(known, unproven={status.to_version: status.run})
    fleet.store(member.name, step.outcome)


DEEDS: dict[Deed, Callable[[Fleet, Member, TenantRunStatus, Step], None]] = {
    Deed.PREVIEW: _preview,
    Deed.PREPARE: _prepare,
    Deed.APPLY: _apply,
    Deed.CONFIRM: _confirm,
    Deed.FINALISE: _finalise,
    Deed.TAKE_BACK: _take_back,
    Deed.LET_GO: _let_go,
}
