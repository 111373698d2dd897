"""What is exported of one upgrade as metrics: numbers by state and reason, never by tenant."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime

from tenantwave.api.action import ActionType
from tenantwave.api.conditions import ConditionStatus
from tenantwave.api.tenant_run import TenantState
from tenantwave.api.upgrade_status import TenantUpgradeStatus
from tenantwave.core import tenant_run
from tenantwave.core.plan import Plan
from tenantwave.core.world import World
from tenantwave.engine.store import Store
from tenantwave.telemetry import UpgradeFigures

OVERRIDES = (ActionType.OVERRIDE_GATE, ActionType.OVERRIDE_WINDOW)


@dataclass(frozen=True, slots=True)
class FleetFigures:
    """past_deadline_count: tenants that have not started although their deadlineTime or forceTime has passed. overrides: in force, by type."""

    past_deadline_count: int
    overrides: Mapping[str, int]


def fleet_figures(store: Store, now: datetime) -> FleetFigures:
    """Return what is late or overridden, over all upgrades. Cost: O(TenantRuns of upgrades that are late, and orders)."""
    late, overrides = 0, Counter[str]()
    for name, view in store.upgrades.items():
        spec, journal = view.upgrade.spec, store.journal_of(name)
        if spec is None or journal is None or journal.run.completion_time is not None:
            continue
        deadline = spec.deadline_time or spec.force_time
        if deadline is not None and deadline <= now:
            late += sum(run.run.status.state in tenant_run.NOT_STARTED for run in store.runs_of(name).values())
        for action in (one.action for one in store.actions_of(name)):
            if action is not None and action.accepted and not action.completed and action.spec.type in OVERRIDES:
                overrides[str(action.spec.type)] += 1
    return FleetFigures(late, overrides)


def figures_of(world: World, plan: Plan, status: TenantUpgradeStatus, now: datetime) -> UpgradeFigures:
    """Return the figures of an upgrade as its status tells them."""
    journal = plan.journal or world.journal
    release = world.upgrade.spec.release if world.upgrade.spec is not None else None
    counts = status.counts.model_dump(exclude={"total", "opted_out", "failed"}) if status.counts is not None else {}
    going_back = [
        tenant.run.status.state_since_time
        for tenant in world.tenants.values()
        if tenant.run is not None and tenant.run.status.state is TenantState.ROLLING_BACK and tenant.run.status.state_since_time is not None
    ]
    changed = [
        tenant.run.status.state_since_time
        for tenant in world.tenants.values()
        if tenant.run is not None and tenant.run.status.state_since_time is not None
    ]
    current = next((wave for wave in status.waves if status.run is not None and wave.name == status.run.current_wave), None)
    return UpgradeFigures(
        upgrade=world.upgrade.name,
        product=release.product if release is not None else "",
        reason=str(plan.summary.reason),
        conditions={condition.type: condition.status is ConditionStatus.TRUE for condition in status.conditions},
        tenants={"".join(part.title() for part in state.split("_")): count for state, count in counts.items()},
        waiting=Counter(str(hold.reason) for hold in plan.holds.values()),
        waves={wave.name: str(wave.state) for wave in status.waves},
        gates={metric.name: str(metric.verdict) for metric in current.gate.metrics}
        if current is not None and current.gate is not None
        else {},
        start_time=journal.run.start_time if journal is not None else None,
        last_progress_time=max(changed, default=None),
        next_time=plan.next.time if plan.next is not None else None,
        completion_time=journal.run.completion_time if journal is not None else None,
        oldest_rollback=now - min(going_back) if going_back else None,
    )
