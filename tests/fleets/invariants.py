"""What must hold after every step of a fleet, whatever the story: the invariants of the planner and of status."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import TYPE_CHECKING

from fleets.doors import why_shut
from fleets.member import Broken
from tenantwave.api.defaults import effective_waves
from tenantwave.api.tenant_run import TenantState
from tenantwave.api.upgrade_status import TenantUpgradeStatus
from tenantwave.core import tenant_run
from tenantwave.core.journal import RunRecord, WaveProgress
from tenantwave.core.passes.endings import SETTLED
from tenantwave.core.plan import Deed, Plan
from tenantwave.core.status import upgrade_status
from tenantwave.core.waves import plan_digest
from tenantwave.core.world import World

if TYPE_CHECKING:
    from fleets.fleet import Fleet

S = TenantState


def check(fleet: Fleet, plan: Plan, before: Mapping[str, TenantState | None]) -> None:
    """Check what must hold after every step; `before` is where each tenant stood."""
    _check_steps(fleet, plan)
    _check_waves(fleet, before)
    _check_holds(fleet, plan)
    journal = fleet.journal
    if journal is not None and journal.run.planned_time is not None:
        _check_plan(fleet, journal.run)
        _check_left_behind(fleet, journal.run, plan)
    if fleet.looks_at_doors:
        _check_doors(fleet, before)
    if journal is not None and journal.run.completion_time is not None and journal.run.completion_time < fleet.now:
        started = [name for name, member in fleet.members.items() if fleet.state(name) is S.PREFLIGHT and before[name] is not S.PREFLIGHT]
        if started:
            raise Broken(f"{started} started after the run had ended")


def check_rest(fleet: Fleet) -> None:
    """Check what must hold whenever nothing more is to be done now: everything that the journal says has been carried out."""
    if fleet.journal is None or fleet.policy is None or fleet.policy.spec is None:
        return
    run, longest = fleet.journal.run, fleet.policy.spec.maintenance.max_overrun
    for name, member in fleet.members.items():
        status = member.run.status if member.run is not None else None
        if status is None:
            continue
        ends = status.opening_end_time
        if status.state in (S.APPLYING, S.CONVERGING) and ends is not None and fleet.now >= ends + longest and run.order is None:
            raise Broken(f"{name} is still {status.state} at {fleet.now}, over maxOverrun after {ends}")
        if name in run.moved_early and status.run == run.id and all(status.wave != wave.name for wave in run.waves if name in wave.tenants):
            raise Broken(f"{name} has lost its early move: its TenantRun says {status.wave}")


def _check_plan(fleet: Fleet, run: RunRecord) -> None:
    """The plan of a run is fixed, OptInEarly apart; its digest is always that of the plan, and a Retry that is not planned yet has none."""
    if run.planned_time is None:
        if run.plan_digest:
            raise Broken("planDigest of a run without a plan")
        return
    first = fleet.plans.setdefault(run.id, tuple(wave.tenants for wave in run.waves))
    stayed = tuple(tuple(name for name in wave.tenants if name not in run.moved_early) for wave in run.waves)
    if stayed != tuple(tuple(name for name in tenants if name not in run.moved_early) for tenants in first):
        raise Broken("the plan of a run changed")
    if run.waves and run.plan_digest != plan_digest(run.id, ((wave.name, wave.tenants) for wave in run.waves)):
        raise Broken("planDigest is not that of the plan")


def _check_left_behind(fleet: Fleet, run: RunRecord, plan: Plan) -> None:
    """Whom a wave left behind had only been waiting."""
    moved = {move.tenant: move.status for move in plan.moves}
    for wave in run.waves:
        if wave.completion_time is None or (wave.name, wave.completion_time) in fleet.passed:
            continue
        fleet.passed.add((wave.name, wave.completion_time))
        for name in wave.tenants:
            status = moved.get(name) or fleet.run_of(name)
            if status.state not in SETTLED and (status.state not in (S.WAITING, S.PREFLIGHT) or status.written):
                raise Broken(f"{name} is a straggler and {status.state} ({status.reason})")


def _check_doors(fleet: Fleet, before: Mapping[str, TenantState | None]) -> None:
    """Nobody starts while anything keeps it from starting, as a second opinion has it."""
    for name in fleet.members:
        if fleet.state(name) is S.PREFLIGHT and before.get(name) is not S.PREFLIGHT:
            if why := why_shut(fleet, name):
                raise Broken(f"{name} started although {why} keeps it from starting")
            ends = fleet.run_of(name).opening_end_time
            if ends is not None and ends <= fleet.now:
                raise Broken(f"{name} started in an opening that had ended")


def _check_steps(fleet: Fleet, plan: Plan) -> None:
    needs = {
        Deed.PREPARE: {S.PREFLIGHT}, Deed.APPLY: {S.APPLYING}, Deed.CONFIRM: {S.CONVERGING}, Deed.FINALISE: {S.SOAKING},
        Deed.TAKE_BACK: {S.ROLLING_BACK, S.ROLLBACK_FAILED},
    }  # fmt: skip
    moved = {move.tenant for move in plan.moves}
    for step in plan.steps:
        if step.tenant in moved:
            raise Broken(f"{step.tenant} is moved and worked on in one plan")
    for step in plan.steps:
        if step.deed in needs and plan.journal is None and fleet.cuts is None and step.deed is Deed.TAKE_BACK:
            assert fleet.run_of(step.tenant).state in needs[step.deed] | {S.ROLLED_BACK, S.ROLLBACK_FAILED}


def _check_waves(fleet: Fleet, before: Mapping[str, TenantState | None]) -> None:
    if fleet.journal is None or fleet.policy is None or fleet.policy.spec is None or fleet.journal.run.id not in fleet.planned:
        return
    policy = fleet.planned[fleet.journal.run.id][1].spec
    assert policy is not None
    limits = {wave.name: wave for wave in effective_waves(policy.waves, bool(policy.gates))}
    earlier_passed = True
    for wave in fleet.journal.run.waves:
        started = [name for name in wave.tenants if fleet.state(name) is S.PREFLIGHT and before.get(name) is not S.PREFLIGHT]
        flying = [name for name in wave.tenants if fleet.state(name) in tenant_run.IN_FLIGHT]
        if started and not earlier_passed:
            raise Broken(f"{started} of wave {wave.name} started before the wave before it had passed")
        if started and len(flying) > limits[wave.name].slots(len(wave.tenants)):
            raise Broken(f"{flying} are in flight in wave {wave.name}")
        for name in started:
            if any(claim.holds for claim in fleet.members[name].claims):
                raise Broken(f"{name} started while another upgrade has it")
            if not fleet.has_finalizer:
                raise Broken(f"{name} started without the finalizer")
        earlier_passed = earlier_passed and wave.progress is WaveProgress.PASSED


def _check_holds(fleet: Fleet, plan: Plan) -> None:
    for tenant, hold in plan.holds.items():
        if not hold.message or not str(hold.reason)[:1].isupper():
            raise Broken(f"{tenant} waits without a reason or a sentence")
    for name, member in fleet.members.items():
        if member.run is None or member.run.status.state in (S.QUEUED,):
            continue
        if not member.run.status.reason or not member.run.status.message:
            raise Broken(f"{name} is {member.run.status.state} without a reason or a sentence")


def check_status(status: TenantUpgradeStatus, world: World, plan: Plan, now: datetime) -> None:
    """Check that conditions agree, that the counts sum up, and that nothing ticks."""
    types = {condition.type: condition for condition in status.conditions}
    if "Reconciling" in types and "Stalled" in types:
        raise Broken("Reconciling and Stalled at once")
    if types["Ready"].status == "True" and ("Reconciling" in types or "Stalled" in types):
        raise Broken("Ready and not done")
    for condition in status.conditions:
        if condition.observed_generation != world.upgrade.generation or not condition.reason:
            raise Broken(f"{condition.type} does not acknowledge the generation, or gives no reason")
    counts = status.counts
    assert counts is not None
    summed = (
        counts.queued + counts.waiting + counts.in_flight + counts.soaking + counts.succeeded + counts.rolling_back + counts.rolled_back
        + counts.held + counts.rollback_failed + counts.skipped + counts.orphaned
    )  # fmt: skip
    if summed != counts.total:
        raise Broken(f"the counts do not sum up: {counts}")
    if upgrade_status(status, world, plan, now + timedelta(seconds=1)) != status:
        raise Broken("status changes although nothing happened")
