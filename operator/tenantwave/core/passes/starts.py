"""Who starts now: opening the next wave, and the chain of questions that each tenant must pass. The first "no" is the reason shown."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta

from tenantwave.api.conditions import RunReason, SkipReason, WaitReason
from tenantwave.api.policy import ApprovalTime, FreeSlotOn
from tenantwave.api.tenant_run import TenantRunStatus, TenantState
from tenantwave.core import tenant_run, versions
from tenantwave.core.calendar import CLOCK_SKEW
from tenantwave.core.gates import SourceState, Verdict
from tenantwave.core.journal import WaveProgress, WaveRecord
from tenantwave.core.passes.draft import Draft, is_at_release
from tenantwave.core.passes.evidence import asks_anybody, deciding, enforces, incident_in, judging, stored_message
from tenantwave.core.passes.failures import may_start_more
from tenantwave.core.passes.rescheduling import moved_to
from tenantwave.core.passes.terms import start_of
from tenantwave.core.plan import Deed, Hold
from tenantwave.core.world import Claim, Tenant

S = TenantState

ASK_FOR_THE_LOCK_EVERY = timedelta(seconds=30)
"""How often a preflight asks for a lock that another run has, although no run in sight wants the tenant."""


# Waves.


def running_wave(draft: Draft) -> WaveRecord | None:
    """Return the wave that has begun and has not ended."""
    return next((wave for wave in draft.run.waves if wave.progress is WaveProgress.RUNNING), None)


def next_wave(draft: Draft) -> WaveRecord | None:
    """Return the first wave that has not begun, if every wave before it has passed."""
    for wave in draft.run.waves:
        if wave.progress is WaveProgress.QUEUED:
            return wave
        if wave.progress is not WaveProgress.PASSED:
            return None
    return None


def awaits_approval(draft: Draft, wave: WaveRecord) -> ApprovalTime | None:
    """Tell whether the wave waits for people now, and for which of the two approvals."""
    effective = draft.effective_waves.get(wave.name)
    if effective is None or draft.run.order is not None or draft.run.completion_time is not None:
        return None
    needed = effective.approval_minimum
    if effective.approval is ApprovalTime.BEFORE and next_wave(draft) == wave and len(wave.approvals_before) < needed:
        return ApprovalTime.BEFORE
    if (
        effective.approval is ApprovalTime.AFTER
        and wave.progress is WaveProgress.RUNNING
        and wave.soaked_since_time is not None
        and len(wave.approvals_after) < needed
    ):
        return ApprovalTime.AFTER
    return None


def open_next_wave(draft: Draft) -> None:
    """Begin the next wave when its predecessor has passed and, where asked for, people have approved."""
    if not may_open_waves(draft) or draft.on_hold or gates_are_blind(draft) is not None:
        return  # asked once more: a wave that has just passed by OverrideGate was held by no gate, its successor is
    wave = next_wave(draft)
    if wave is None or awaits_approval(draft, wave) is not None:
        return
    draft.set_wave(wave.name, progress=WaveProgress.RUNNING, start_time=draft.now)
    draft.note("WaveStarted", f"wave {wave.name}: {len(wave.tenants)} tenants")


def may_open_waves(draft: Draft) -> bool:
    """Tell whether the run goes on. Its plan is stored before anything starts by it."""
    ended = draft.run.order is not None or draft.run.completion_time is not None
    return draft.planned and not draft.save_plan and not ended and draft.problem is None and not draft.superseded and not draft.deleted


# What holds the whole upgrade.


def hold_starts(draft: Draft) -> None:
    """Say why nobody starts although the run is planned: deletion, suspension, pause, an ending run, gates that cannot see."""
    if draft.on_hold or not draft.planned:
        return
    if draft.deleted:
        draft.on_hold = "the upgrade is being deleted"
    elif draft.problem is not None:
        draft.on_hold = f"{draft.problem.reason}: {draft.problem.message}"
    elif draft.run.order is not None:
        draft.on_hold = draft.run.order.message
    elif draft.suspended:
        draft.on_hold = "spec.suspend is true; remove it to start"
    elif draft.journal.pause is not None:
        draft.on_hold = draft.journal.pause.message
    elif (why := gates_are_blind(draft) or fleet_is_ill(draft)) is not None:
        draft.on_hold = why


def gates_are_blind(draft: Draft) -> str | None:
    """Return why the metrics cannot be used now, or None."""
    wave = running_wave(draft)
    context = deciding(draft, wave) if wave is not None else enforces(draft)
    if context is None or not asks_anybody(context):
        return None
    gate = draft.book.wave(wave.name) if wave is not None else None
    if wave is not None and gate is not None and gate.verdict is Verdict.UNKNOWN:
        return stored_message(draft, wave) or "the metrics cannot be used"
    if draft.book.source.state is SourceState.DOWN:
        return draft.book.source.message
    return None


def fleet_is_ill(draft: Draft) -> str | None:
    """Return that the whole fleet is ill, as waiting tenants show it, or None. Without numbers: they would be a write for each tenant and tick."""
    wave = running_wave(draft)
    if wave is None or incident_in(draft, wave) is None:
        return None
    return f"FleetIncident: tenants on their old version are ill, too; wave {wave.name} goes on by itself when that is over"


# The chain.


def in_flight_count(draft: Draft, wave: WaveRecord) -> int:
    """Return how many slots of the wave are taken: in flight, and soaking before the first verdict where that frees the slot."""
    until_verdict = draft.effective_waves[wave.name].free_slot_on is FreeSlotOn.FIRST_VERDICT
    return sum(
        status.state in tenant_run.IN_FLIGHT
        or (
            until_verdict
            and status.state is S.SOAKING
            and not _has_first_verdict(draft, tenant.name)
            and judging(draft, wave, status) is not None
        )
        for tenant, status in draft.in_wave(wave)
    )


def _has_first_verdict(draft: Draft, tenant: str) -> bool:
    gate = draft.book.tenant(tenant)
    return gate is not None and gate.has_first_verdict


Check = Callable[[Draft, Tenant, TenantRunStatus], Hold | None]


def _calendar_lets_it(draft: Draft, tenant: Tenant, status: TenantRunStatus) -> Hold | None:
    """Windows, freezes, staff, notice, the tenant's choice and our clock."""
    start = start_of(draft, tenant, status)
    if start is None:
        return None if draft.world.clock_is_right else Hold(CLOCK_SKEW.reason, CLOCK_SKEW.message)
    draft.wake(start.wake_time)
    return Hold(start.hold.reason, start.hold.message, start.start_time) if start.hold is not None else None


def _tenant_is_free(draft: Draft, tenant: Tenant, status: TenantRunStatus) -> Hold | None:
    """A tenant belongs to one upgrade at a time; of two that could start it the older goes first, unless the younger is a higher version."""
    for claim in tenant.claims:
        if claim.holds:
            return Hold(WaitReason.TENANT_BUSY, f"held by run {claim.run}; wait for it, or abort {claim.upgrade}")
    for claim in tenant.claims:
        if claim.goes_first(draft.now) and _is_older(draft, claim):
            return Hold(
                WaitReason.TENANT_BUSY, f"run {claim.run} of {claim.upgrade} comes first; wait for it, or suspend or abort {claim.upgrade}"
            )
    return _lock_may_be_free(draft, status)


def _lock_may_be_free(draft: Draft, status: TenantRunStatus) -> Hold | None:
    """Leave alone for a while a tenant whose lock somebody had a moment ago. No claim shows whom: only another preflight can tell."""
    if status.state is not S.WAITING or status.reason != WaitReason.TENANT_BUSY or status.preflight_time is None:
        return None
    again = status.preflight_time + ASK_FOR_THE_LOCK_EVERY
    if draft.now >= again:
        return None
    draft.wake(again)
    return Hold(WaitReason.TENANT_BUSY, status.message)


def _is_older(draft: Draft, other: Claim) -> bool:
    upgrade = draft.world.upgrade
    return (other.creation_time, other.upgrade) < (upgrade.creation_time, upgrade.name)


def _upgrade_goes_on(draft: Draft, tenant: Tenant, status: TenantRunStatus) -> Hold | None:
    return Hold(WaitReason.UPGRADE_ON_HOLD, draft.on_hold) if draft.on_hold else None


MAY_START: tuple[Check, ...] = (_calendar_lets_it, _tenant_is_free, _upgrade_goes_on)


def why_not_yet(draft: Draft, tenant: Tenant, status: TenantRunStatus) -> Hold | None:
    """Return the first reason why this tenant may not start, the free slot apart; None means go."""
    if tenant.problem:
        return Hold(WaitReason.INVALID_WINDOWS, tenant.problem)
    return next((hold for check in MAY_START if (hold := check(draft, tenant, status)) is not None), None)


def yield_to_younger(draft: Draft) -> None:
    """Skip tenants that a younger upgrade, which is running, takes to a higher version of the same product."""
    if not draft.planned or draft.deleted or draft.run.order is not None:
        return
    release = draft.spec.release
    upgrade = draft.world.upgrade
    for tenant, status in list(draft.current()):
        if status.state not in tenant_run.NOT_STARTED or status.written:
            continue
        for claim in tenant.claims:
            younger = (claim.creation_time, claim.upgrade) > (upgrade.creation_time, upgrade.name)
            if (
                younger
                and (claim.waits or claim.holds)
                and claim.running
                and claim.product == release.product
                and versions.is_higher(claim.version, release.version)
            ):
                message = f"{claim.upgrade} takes this tenant to {claim.version}; Retry this upgrade if that one is gone"
                draft.move(tenant.name, S.SKIPPED, SkipReason.SUPERSEDED, message, completion_time=draft.now)
                break


def start_tenants(draft: Draft) -> None:
    """Start the tenants of the running wave that may, in wave order, as far as slots are free; say of the others why they wait."""
    if not draft.planned or draft.save_plan or draft.run.completion_time is not None or draft.run.order is not None:
        return
    wave = running_wave(draft)
    for record in draft.run.waves:
        if wave is not None and record.name == wave.name:
            _start_in(draft, record)
        elif record.progress is WaveProgress.QUEUED:
            _queue(draft, record)
        elif record.progress is WaveProgress.PASSED:
            _start_in(draft, record)  # stragglers, and who planned again after being held or came back: within the same slots


def left_unproven(draft: Draft, tenant: Tenant) -> str:
    """Return the run that brought the tenant to the release and let go of it before it was proven; '' if there is none.

    Its upgrade was deleted while the tenant soaked. Whichever upgrade asks for the version next judges it.
    """
    if tenant.record is None or not is_at_release(draft, tenant):
        return ""
    return tenant.record.unproven.get(draft.spec.release.version, "")


def _has_nothing_to_write(draft: Draft, tenant: Tenant, status: TenantRunStatus) -> bool:
    """Tell whether the tenant only has to be judged: an earlier run wrote what this one would write, and nobody has proven it."""
    if status.written and status.converged_time is not None:
        return is_at_release(draft, tenant)
    same = not status.written or draft.run.content == draft.run.previous_content
    return same and bool(left_unproven(draft, tenant))


def _start_in(draft: Draft, wave: WaveRecord) -> None:
    effective = draft.effective_waves[wave.name]
    free = effective.slots(len(wave.tenants)) - in_flight_count(draft, wave)
    stopped = not may_start_more(draft, wave) or _is_late(draft, wave)
    for tenant, status in list(draft.in_wave(wave)):
        if status.state not in tenant_run.NOT_STARTED or _is_being_recorded(draft, tenant) or not draft.is_stored(tenant.name):
            continue
        has_soaked = _has_nothing_to_write(draft, tenant, status)
        hold = _may_soak_again(draft, tenant, status) if has_soaked else why_not_yet(draft, tenant, status)
        if hold is None and stopped:
            hold = Hold(WaitReason.UPGRADE_ON_HOLD, f"wave {wave.name} starts no more tenants; see the upgrade's condition Ready")
        if hold is None and free <= 0:
            hold = Hold(WaitReason.MAX_PARALLEL, _no_slot(wave, effective.slots(len(wave.tenants))))
        if hold is not None:
            draft.hold(tenant.name, hold)
            _show(draft, tenant.name, status, hold)
            continue
        free -= 1
        if has_soaked:
            _soak_again(draft, tenant, status)
        else:
            _start(draft, tenant, status)


def _no_slot(wave: WaveRecord, limit: int) -> str:
    return f"all {limit} places of wave {wave.name} are taken" if limit > 1 else f"the one place of wave {wave.name} is taken"


def _is_being_recorded(draft: Draft, tenant: Tenant) -> bool:
    step = draft.steps.get(tenant.name)
    return step is not None and step.deed is not Deed.PREVIEW


def _may_soak_again(draft: Draft, tenant: Tenant, status: TenantRunStatus) -> Hold | None:
    """Return why a tenant is not judged yet in which nothing is written. One that was let go may have been taken by another upgrade since."""
    busy = None if status.written else _tenant_is_free(draft, tenant, status)
    return busy or _upgrade_goes_on(draft, tenant, status)


def _soak_again(draft: Draft, tenant: Tenant, status: TenantRunStatus) -> None:
    """Judge anew a tenant that soaked in an earlier run: nothing is written, so no window is needed; its clock begins again.

    What the run of a deleted upgrade wrote counts as written, but cannot be taken back: what stood before is not on record here.
    """
    by = left_unproven(draft, tenant)
    left: dict[str, object] = {}
    if by and not status.written:
        why = f"run {by}, whose upgrade is gone, wrote {draft.spec.release.version} and not this one"
        left = {"written": True, "forward_only": why, "from_version": draft.spec.release.version}
    draft.move(
        tenant.name,
        S.SOAKING,
        RunReason.IN_PROGRESS,
        f"runs {draft.spec.release.version} since an earlier run; it must stay healthy",
        start_time=status.start_time or draft.now,
        converged_time=draft.now,
        **left,
    )


def _is_late(draft: Draft, wave: WaveRecord) -> bool:
    """Tell whether the wave is past its deadline. It counts from the first start of a tenant: a notice of a week, or a freeze, makes no wave late
    whose deadline is a day.
    """
    deadline = draft.effective_waves[wave.name].deadline
    if deadline is None or wave.progress is WaveProgress.PASSED:
        return False
    begun = min((status.start_time for _, status in draft.in_wave(wave) if status.start_time is not None), default=None)
    if begun is None:
        return False
    draft.wake(begun + deadline)
    return draft.now >= begun + deadline


def is_late(draft: Draft, wave: WaveRecord) -> bool:
    """Tell whether the wave is past its deadline without having passed."""
    return wave.progress is WaveProgress.RUNNING and _is_late(draft, wave)


def _start(draft: Draft, tenant: Tenant, status: TenantRunStatus) -> None:
    start = start_of(draft, tenant, status)
    draft.move(
        tenant.name,
        S.PREFLIGHT,
        RunReason.IN_PROGRESS,
        f"preparing {draft.spec.release.product} {draft.spec.release.version}",
        start_time=(status.start_time if status.written else None) or draft.now,  # one that changed nothing was none
        preflight_time=draft.now,
        opening_end_time=start.opening_end_time if start is not None else None,
        next_open_time=None,
        planned_start_time=None,
        namespace_uid=tenant.uid,
        first_seq=status.last_seq + 1,
        component=0,
        conflicts=(),
        resolution=None,
        take_back=None,
    )


def _queue(draft: Draft, wave: WaveRecord) -> None:
    """Tenants of later waves are Queued; while the whole upgrade is held that is what they show."""
    for tenant, status in list(draft.in_wave(wave)):
        if status.state in tenant_run.NOT_STARTED and tenant.name not in draft.steps and status.state is not S.QUEUED:
            draft.move(tenant.name, S.QUEUED, WaitReason.WAVE_QUEUED, f"wave {wave.name} has not begun")


def _show(draft: Draft, tenant: str, status: TenantRunStatus, hold: Hold) -> None:
    shown = (S.WAITING, str(hold.reason), hold.message)
    if (status.state, status.reason, status.message) == shown and hold.until in (None, status.planned_start_time):
        return
    moved = moved_to(draft, tenant, status, hold.until, hold.message) if hold.until is not None else {}
    draft.move(tenant, S.WAITING, hold.reason, hold.message, next_open_time=hold.until, planned_start_time=hold.until, **moved)
