"""The one door to the work inside a tenant: a step goes in, and the TenantRun says how far it came."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping

from tenantwave.api.tenant_run import TenantState
from tenantwave.core import tenant_run
from tenantwave.core.plan import Deed, Step
from tenantwave.core.tenant_run import GOING_BACK, MOVES
from tenantwave.core.world import World
from tenantwave.engine.tenant.apply import apply, confirm
from tenantwave.engine.tenant.close import end_with_outcome, finalise
from tenantwave.engine.tenant.failure import Busy, Failed, NamespaceGone, in_a_rollback, lasting
from tenantwave.engine.tenant.listing import show_failure
from tenantwave.engine.tenant.prepare import hold_before_writing, prepare, preview
from tenantwave.engine.tenant.seals import Seals
from tenantwave.engine.tenant.take_back import take_back
from tenantwave.engine.tenant.work import Ports, Work
from tenantwave.faults import AlreadyExists, Conflict, Fault, Forbidden, Invalid, NotFound, SnapshotCorrupt, Unavailable
from tenantwave.ports import Clock, Cluster, Driver, Snapshots

DEEDS: Mapping[Deed, Callable[[Work], Awaitable[None]]] = {
    Deed.PREVIEW: preview,
    Deed.PREPARE: prepare,
    Deed.APPLY: apply,
    Deed.CONFIRM: confirm,
    Deed.FINALISE: finalise,
    Deed.TAKE_BACK: take_back,
    Deed.LET_GO: end_with_outcome,
}


class TenantSteps:
    """Carries out steps. At most one per tenant at a time, many tenants at once."""

    def __init__(self, cluster: Cluster, snapshots: Snapshots, drivers: Mapping[str, Driver], clock: Clock, namespace: str) -> None:
        self._ports = Ports(cluster, snapshots, drivers, clock, Seals(cluster, namespace), namespace)

    async def execute(self, step: Step, world: World) -> bool:
        """Do one step, from wherever an earlier one was cut off. What came of it is in the TenantRun.

        Returns: whether the TenantRun was moved. If not, there is nothing to do yet: look again at the next event, or after a second or two.
        Raises: faults after which another look helps (Conflict, Unavailable, OutcomeUnknown, NotLeading). What lasts is no fault: the
        tenant is then Held, going back, RollbackFailed or Orphaned, and the TenantRun says why.
        """
        work = Work.begin(self._ports, step, world)
        if work is None:
            return False
        try:
            await _do(work)
        except Fault:
            await work.lock.abandon()
            raise
        return work.handle.is_moved


async def _do(work: Work) -> None:
    try:
        await _do_or_fail(work)
    except NamespaceGone as gone:
        await _orphan(work, gone)
    except (AlreadyExists, NotFound, Busy) as fault:
        raise Conflict(f"{work.step.deed.value} of {work.namespace}: {fault.message}") from fault


async def _do_or_fail(work: Work) -> None:
    try:
        try:
            await DEEDS[work.step.deed](work)
        except Failed:
            await work.check_namespace()  # whatever it says of objects, those of another namespace are none of ours
            raise
        except (Forbidden, Invalid, SnapshotCorrupt) as fault:
            raise lasting(fault, work.namespace) from fault
    except Failed as failure:
        if work.is_shaken and isinstance(failure.__cause__, Forbidden):
            # After its start the API server refuses what it has not yet read the rights for.
            raise Unavailable(f"{work.step.deed.value} of {work.namespace}: {failure.message}") from failure
        await _fail(work, failure)


async def _fail(work: Work, failure: Failed) -> None:
    """Let the tenant fail. With nothing written it lets go of the tenant, so that others may have it."""
    takes_back = work.takes_back and work.step.deed is not Deed.FINALISE  # what is proven is not taken back for its paperwork
    state = work.status.state or TenantState.QUEUED
    # A tenant whose turn has not come is not held for what a look at it finds: it may be mended by then.
    if state not in GOING_BACK and (state is TenantState.QUEUED or TenantState.HELD not in MOVES[state]):
        raise Unavailable(f"{work.step.deed.value} of {work.namespace}: {failure.message}")
    show_failure(work, failure)
    if state in GOING_BACK:
        failure = in_a_rollback(failure)
    status = tenant_run.failed(work.status, failure.reason, failure.message, work.now(), takes_back)
    if status.state is TenantState.HELD and not status.written and state is not TenantState.HELD:
        await hold_before_writing(work, status)
    else:
        await work.handle.save(status)


async def _orphan(work: Work, gone: NamespaceGone) -> None:
    await work.lock.release()
    if TenantState.ORPHANED not in MOVES[work.status.state or TenantState.QUEUED]:
        return
    now = work.now()
    await work.handle.save(tenant_run.to(work.status, TenantState.ORPHANED, gone.reason, gone.message, now, completion_time=now))
