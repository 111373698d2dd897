"""(previous status, world, plan, now) -> status of a TenantUpgrade. The only place that writes its conditions.

Conditions are the truth; counts, waves and exceptions are the same truth in numbers. The previous status gives nothing but transition times.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from tenantwave.api.conditions import Condition, ConditionStatus, ConditionType, DetailReason, ReadyReason, SkipReason
from tenantwave.api.defaults import EffectiveWave, effective_waves
from tenantwave.api.policy import ApprovalTime, RolloutPolicySpec
from tenantwave.api.tenant_run import TenantRunStatus, TenantState
from tenantwave.api.upgrade_status import (
    Counts,
    PolicySeen,
    RunStatus,
    TenantException,
    TenantUpgradeStatus,
    VersionCount,
    WaveState,
    WaveStatus,
)
from tenantwave.api.upgrade_status import Next as NextStatus
from tenantwave.core import tenant_run, versions
from tenantwave.core.calendar import WaveForecast
from tenantwave.core.drift import drifted
from tenantwave.core.gate_report import gates_passed, stored, unknown_since, wave_gate_status, what_waves_can_find
from tenantwave.core.gates import Verdict
from tenantwave.core.journal import EndReason, Journal, WaveProgress, WaveRecord
from tenantwave.core.kept import config_preserved, listed
from tenantwave.core.passes.afterwards import is_worse
from tenantwave.core.passes.failures import counts_as_failed
from tenantwave.core.plan import Plan
from tenantwave.core.world import World

S = TenantState
R = ReadyReason

LEFT_BEHIND = tenant_run.NOT_STARTED | tenant_run.IN_FLIGHT | {S.SOAKING}
"""States in which a tenant of a wave that has passed is a straggler; who went back, or is held, will not come by itself."""

RECONCILING = frozenset(
    {
        R.PLANNING, R.WAVE_RUNNING, R.SOAKING, R.ROLLING_BACK, R.WAITING_FOR_WINDOW, R.NOTICE_PERIOD, R.AWAITING_CONSENT, R.TENANT_BUSY,
        R.AWAITING_APPROVAL, R.PAUSED, R.GATE_UNKNOWN, R.GATE_INCONCLUSIVE, R.FLEET_INCIDENT,
    }
)  # fmt: skip
STALLED = frozenset(
    {
        R.ROLLED_BACK, R.ABORTED, R.ROLLBACK_FAILED, R.HELD, R.INVALID_SPEC, R.POLICY_NOT_FOUND, R.NO_TENANTS, R.UNMATCHED_TENANTS,
        R.EMPTY_FIRST_WAVE, R.CATALOGUE_INCOMPLETE, R.OWNERSHIP_CONFLICT, R.DEADLINE_EXCEEDED,
    }
)  # fmt: skip
DONE = frozenset({R.SUCCEEDED, R.SUCCEEDED_WITH_SKIPS})

EXCEPTION_ORDER = (S.ROLLBACK_FAILED, S.HELD, S.ROLLING_BACK, S.ROLLED_BACK, S.ORPHANED, S.SKIPPED)
"""Worst first. Tenants in other states are no exceptions."""
MAX_EXCEPTIONS = 20
MAX_VERSIONS = 50
MAX_VERSIONS_TOLD = 5
MAX_MESSAGE = 1024

COUNTED_AS: dict[TenantState, str] = {
    S.QUEUED: "queued",
    S.WAITING: "waiting",
    S.PREFLIGHT: "in_flight",
    S.APPLYING: "in_flight",
    S.CONVERGING: "in_flight",
    S.SOAKING: "soaking",
    S.SUCCEEDED: "succeeded",
    S.ROLLING_BACK: "rolling_back",
    S.ROLLED_BACK: "rolled_back",
    S.HELD: "held",
    S.ROLLBACK_FAILED: "rollback_failed",
    S.SKIPPED: "skipped",
    S.ORPHANED: "orphaned",
}


@dataclass(frozen=True, slots=True)
class Said:
    """A condition without its times."""

    type: ConditionType
    holds: bool | None
    reason: str
    message: str


def settle(previous: Sequence[Condition], said: Iterable[Said], generation: int, now: datetime) -> tuple[Condition, ...]:
    """Return the conditions. `lastTransitionTime` moves only with the status; every condition acknowledges the generation."""
    before = {condition.type: condition for condition in previous}
    settled = []
    for condition in said:
        status = ConditionStatus.UNKNOWN if condition.holds is None else ConditionStatus.TRUE if condition.holds else ConditionStatus.FALSE
        old = before.get(condition.type)
        since = old.last_transition_time if old is not None and old.status == status else now.replace(microsecond=0)
        settled.append(
            Condition(
                type=str(condition.type),
                status=status,
                observed_generation=generation,
                last_transition_time=since,
                reason=condition.reason,
                message=condition.message[:2048],
            )
        )
    return tuple(settled)


def upgrade_status(previous: TenantUpgradeStatus | None, world: World, plan: Plan, now: datetime) -> TenantUpgradeStatus:
    """Return the status to show. Equal worlds and plans give equal statuses, so an unchanged one is never written.

    Cost: O(tenants of the upgrade), some 4 microseconds each.
    """
    journal = plan.journal or world.journal
    moved = {move.tenant: move.status for move in plan.moves}
    statuses = {
        name: moved.get(name) or tenant.run.status  # type: ignore[union-attr]
        for name, tenant in world.tenants.items()
        if name in moved or (tenant.run is not None and tenant.run.upgrade_uid == world.upgrade.uid)
    }
    policy = world.planned_policy or world.policy
    current = {
        name: status
        for name, status in statuses.items()
        if journal is not None and (status.run == journal.run.id or tenant_run.has_tenant(status))
    }  # whom an earlier run still has counts, too: nobody is forgotten
    return TenantUpgradeStatus(
        observed_generation=world.upgrade.generation,
        conditions=settle(
            previous.conditions if previous is not None else (),
            (*_conditions(world, plan, journal, statuses), *_drifted(world, previous)),
            world.upgrade.generation,
            now,
        ),
        run=_run(journal, world, current) if journal is not None else None,
        counts=counts_of(current.values(), journal.run.attempt if journal is not None else 1),
        waves=_waves(world, plan, journal, policy.spec if policy is not None else None, current) if journal is not None else (),
        exceptions=_exceptions(current),
        exceptions_truncated=sum(status.state in EXCEPTION_ORDER for status in current.values()) > MAX_EXCEPTIONS or None,
        versions=_versions(world),
        next=NextStatus(time=plan.next.time, what=plan.next.what) if plan.next is not None else None,
    )


# Conditions.


def _conditions(world: World, plan: Plan, journal: Journal | None, statuses: Mapping[str, TenantRunStatus]) -> Iterable[Said]:
    reason, message = plan.summary.reason, plan.summary.message
    working = any(status.state in tenant_run.IN_FLIGHT | {S.ROLLING_BACK} for status in statuses.values())
    # kstatus takes the first that holds in list order, so the decisive ones come first.
    if reason in RECONCILING or (reason is R.SUSPENDED and working):
        yield Said(ConditionType.RECONCILING, True, reason, message)
    if reason in STALLED:
        yield Said(ConditionType.STALLED, True, reason, message)
    yield Said(ConditionType.READY, reason in DONE, reason, message)
    yield from _accepted(world, plan, journal)
    yield from _gates_passed(world, journal)
    if (said := config_preserved(statuses)) is not None:
        yield Said(ConditionType.CONFIG_PRESERVED, *said)
    yield from _version_skew(world)


def _accepted(world: World, plan: Plan, journal: Journal | None) -> Iterable[Said]:
    if journal is None or journal.run.planned_time is None:
        if plan.summary.reason in STALLED:
            yield Said(ConditionType.ACCEPTED, False, plan.summary.reason, plan.summary.message)
        return
    placed = {name for wave in journal.run.waves for name in wave.tenants}
    joining = sum(tenant.selected and name not in placed and tenant.run is None for name, tenant in world.tenants.items())
    later = f"; {joining} namespaces match since then and join with the next run" if joining else ""
    plan_said = f"{len(placed)} tenants in {len(journal.run.waves)} waves{later}"
    seen = world.foreseen
    late = (seen.forecast.warning,) if seen is not None and seen.run == journal.run.id and seen.forecast.warning else ()
    told = "; ".join((plan_said, *(f"warning: {warning}" for warning in (*late, *journal.run.warnings)), *what_waves_can_find(journal.run)))
    yield Said(ConditionType.ACCEPTED, True, DetailReason.PLANNED, told)


def _gates_passed(world: World, journal: Journal | None) -> Iterable[Said]:
    said = gates_passed(world, journal.run) if journal is not None else None
    if said is not None:
        yield Said(ConditionType.GATES_PASSED, *said)


def _drifted(world: World, previous: TenantUpgradeStatus | None) -> Iterable[Said]:
    """Tell which finished tenants no longer show the release; once that has been told, also that none is left."""
    found = drifted(world)
    version = world.upgrade.spec.release.version if world.upgrade.spec is not None else ""
    if found:
        name, what = next(iter(found.items()))
        mend = "nothing is done about it: find who wrote there, or roll out what is wanted as a release"
        told = f"{len(found)} of the upgraded tenants no longer show {version}: {listed(list(found))}; {name}: {what}; {mend}"
        yield Said(ConditionType.DRIFTED, True, DetailReason.CHANGED_SINCE, told)
    elif previous is not None and any(condition.type == ConditionType.DRIFTED for condition in previous.conditions):
        yield Said(ConditionType.DRIFTED, False, DetailReason.AS_RELEASED, f"every upgraded tenant shows {version}")


# Numbers.


def counts_of(statuses: Iterable[TenantRunStatus], attempt: int) -> Counts:
    """Return how many tenants are in which state; failed are those of this attempt."""
    tally: Counter[str] = Counter()
    for status in statuses:
        tally["total"] += 1
        if status.state is not None:
            tally[COUNTED_AS[status.state]] += 1
        tally["opted_out"] += status.reason == SkipReason.OPTED_OUT
        tally["failed"] += counts_as_failed(status, attempt)
    return Counts(**tally)


def _run(journal: Journal, world: World, current: Mapping[str, TenantRunStatus]) -> RunStatus:
    run = journal.run
    active = next((wave.name for wave in run.waves if wave.progress in (WaveProgress.RUNNING, WaveProgress.FAILED)), None)
    total = len(current)
    done = sum(status.state is S.SUCCEEDED for status in current.values())
    return RunStatus(
        id=run.id,
        attempt=run.attempt,
        begun_generation=run.generation,
        spec_digest=run.spec_digest or None,
        start_time=run.start_time,
        completion_time=run.completion_time,
        current_wave=active,
        progress=f"{done}/{total}" if run.planned_time is not None else None,
        plan_digest=run.plan_digest or None,
        policy=PolicySeen(name=run.policy.name, generation=run.policy.generation, digest=run.policy.digest)
        if run.policy is not None
        else None,
        paused_since_time=journal.pause.time if journal.pause is not None else None,
        pause_reason=journal.pause.message if journal.pause is not None else None,
        aborted_time=run.order.time if run.order is not None and run.order.reason is EndReason.ABORT else None,
        unknown_since_time=unknown_since(run),
    )


def _waves(
    world: World, plan: Plan, journal: Journal, policy: RolloutPolicySpec | None, current: Mapping[str, TenantRunStatus]
) -> tuple[WaveStatus, ...]:
    effective = {wave.name: wave for wave in effective_waves(policy.waves, bool(policy.gates))} if policy is not None else {}
    return tuple(_wave(world, plan, journal, wave, effective.get(wave.name), current) for wave in journal.run.waves)


def _wave(
    world: World, plan: Plan, journal: Journal, wave: WaveRecord, effective: EffectiveWave | None, current: Mapping[str, TenantRunStatus]
) -> WaveStatus:
    members = [current[name] for name in wave.tenants if name in current]
    states = Counter(status.state for status in members)
    gate = stored(wave, journal.run.id)
    planned = _planned(world, journal, wave)
    count = len(wave.tenants)
    return WaveStatus(
        name=wave.name,
        state=_wave_state(journal, wave, members, effective),
        total=count,
        succeeded=states[S.SUCCEEDED],
        failed=sum(counts_as_failed(status, journal.run.attempt) for status in members),
        rolled_back=states[S.ROLLED_BACK],
        skipped=states[S.SKIPPED],
        stragglers=sum(states[state] for state in LEFT_BEHIND) if wave.progress is WaveProgress.PASSED and journal.run.order is None else 0,
        max_parallel=effective.slots(count) if effective is not None else None,
        failure_budget=effective.tolerated_failures(count) if effective is not None else None,
        soak=effective.soak if effective is not None else None,
        free_slot_on=effective.free_slot_on if effective is not None else None,
        approvals=len(wave.approvals_before) + len(wave.approvals_after)
        if effective is not None and effective.approval is not ApprovalTime.NONE
        else None,
        start_time=wave.start_time,
        planned_start_time=planned.start_time if planned is not None and wave.progress is WaveProgress.QUEUED else None,
        planned_end_time=planned.end_time if planned is not None and wave.completion_time is None else None,
        healthy_since=gate.healthy_since_time if gate is not None and gate.verdict is not Verdict.FAILING else None,
        completion_time=wave.completion_time,
        gate=wave_gate_status(wave, journal.run.id, plan.gate_context, world.gates),
    )


def _planned(world: World, journal: Journal, wave: WaveRecord) -> WaveForecast | None:
    seen = world.foreseen
    if seen is None or seen.run != journal.run.id or journal.run.completion_time is not None or journal.run.order is not None:
        return None
    return next((one for one in seen.forecast.waves if one.name == wave.name), None)


def _wave_state(journal: Journal, wave: WaveRecord, members: Sequence[TenantRunStatus], effective: EffectiveWave | None) -> WaveState:
    states = {status.state for status in members}
    if wave.progress is WaveProgress.PASSED and not (journal.run.order is not None and states & {S.ROLLING_BACK, S.ROLLED_BACK}):
        return WaveState.PASSED
    if S.ROLLING_BACK in states and journal.run.order is not None:
        return WaveState.ROLLING_BACK
    if wave.progress is WaveProgress.FAILED or (journal.run.order is not None and S.ROLLED_BACK in states):
        taken_back = all(status.state not in (S.SUCCEEDED, S.SOAKING, S.HELD, S.ROLLBACK_FAILED) for status in members)
        return WaveState.ROLLED_BACK if taken_back and S.ROLLED_BACK in states else WaveState.FAILED
    if wave.progress is WaveProgress.QUEUED:
        asked = (
            effective is not None and effective.approval is ApprovalTime.BEFORE and _is_next(journal, wave) and journal.run.order is None
        )
        return WaveState.AWAITING_APPROVAL if asked else WaveState.QUEUED
    if states & tenant_run.IN_FLIGHT:
        return WaveState.RUNNING
    if wave.soaked_since_time is not None and effective is not None and effective.approval is ApprovalTime.AFTER:
        return WaveState.AWAITING_APPROVAL
    if S.SOAKING in states or (states and states <= {S.SUCCEEDED, S.SKIPPED}):
        return WaveState.SOAKING
    return WaveState.WAITING if S.WAITING in states else WaveState.RUNNING


def _is_next(journal: Journal, wave: WaveRecord) -> bool:
    for record in journal.run.waves:
        if record.name == wave.name:
            return True
        if record.progress is not WaveProgress.PASSED:
            return False
    return False


def _exceptions(current: Mapping[str, TenantRunStatus]) -> tuple[TenantException, ...]:
    rank = {state: place for place, state in enumerate(EXCEPTION_ORDER)}
    worst = sorted((rank[status.state], name) for name, status in current.items() if status.state in rank)
    return tuple(
        TenantException(tenant=name, state=str(current[name].state), reason=current[name].reason, message=_why(current[name]))
        for _, name in worst[:MAX_EXCEPTIONS]
    )


def _why(status: TenantRunStatus) -> str:
    """Return why the tenant is where it is, and the first order that would settle it.

    First of all, whether it is worse after its rollback than it was before the upgrade.
    """
    message = status.message
    if is_worse(status) and status.after_rollback is not None:
        message = f"{status.after_rollback.message}; {message}"
    order = f"; or: {status.commands[0]}" if status.commands else ""
    return message[: MAX_MESSAGE - len(order)] + order


def _versions(world: World) -> tuple[VersionCount, ...]:
    """Count the versions that the tenants run, lowest first; of more than fit, those of most tenants."""
    shown = _most_used(_versions_run(world))[:MAX_VERSIONS]
    return tuple(VersionCount(version=version, tenants=count) for version, count in sorted(shown, key=lambda item: versions.order(item[0])))


def _versions_run(world: World) -> Counter[str]:
    """Return version -> tenants that are taken to run it: by their record, else by `release.assumedVersion`, else unknown ('')."""
    assumed = (world.upgrade.spec.release.assumed_version or "") if world.upgrade.spec is not None else ""
    return Counter(
        (tenant.record.version if tenant.record is not None else "") or assumed for tenant in world.tenants.values() if tenant.selected
    )


def _most_used(run: Mapping[str, int]) -> list[tuple[str, int]]:
    """Return versions and their tenants, most tenants first, of equal ones the lower version."""
    return sorted(run.items(), key=lambda item: (-item[1], versions.order(item[0])))


def _version_skew(world: World) -> Iterable[Said]:
    """Tell whether more versions run in the fleet than the policy wants, where it says how many. An unknown version counts as none."""
    policy = world.planned_policy or world.policy
    limit = policy.spec.alert_above_versions if policy is not None and policy.spec is not None else None
    if limit is None or world.upgrade.spec is None:
        return
    product = world.upgrade.spec.release.product
    run = [(version, count) for version, count in _most_used(_versions_run(world) + Counter(world.versions_elsewhere)) if version]
    told = ", ".join(f"{version} ({count})" for version, count in run[:MAX_VERSIONS_TOLD])
    more = f" and {len(run) - MAX_VERSIONS_TOLD} more" if len(run) > MAX_VERSIONS_TOLD else ""
    said = f"{len(run)} {'version' if len(run) == 1 else 'versions'} of {product} in use, alertAboveVersions is {limit}: {told}{more}"
    if len(run) > limit:
        mend = "upgrade the tenants of the oldest, or raise the limit"
        yield Said(ConditionType.VERSION_SKEW_EXCEEDED, True, DetailReason.TOO_MANY_VERSIONS, f"{said}; {mend}")
    else:
        yield Said(ConditionType.VERSION_SKEW_EXCEEDED, False, DetailReason.FEW_VERSIONS, said if run else "no version is known")
