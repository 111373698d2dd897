"""What of it all is shown in one word and one sentence: the reason of Ready."""

from __future__ import annotations

from dataclasses import replace

from tenantwave.api.conditions import ReadyReason, RunReason, SkipReason, WaitReason
from tenantwave.api.kinds import UPGRADE_LABEL
from tenantwave.api.policy import ApprovalTime
from tenantwave.api.tenant_run import TenantState
from tenantwave.core import tenant_run
from tenantwave.core.gates import Verdict
from tenantwave.core.journal import EndReason, WaveRecord
from tenantwave.core.passes import failures, starts
from tenantwave.core.passes.draft import Draft
from tenantwave.core.passes.endings import SETTLED, is_through
from tenantwave.core.passes.evidence import deciding, stored_gate, stored_message
from tenantwave.core.passes.problems import SHOWN, named
from tenantwave.core.plan import Summary

S = TenantState


# One state, one row: of several that hold, the first in api.md's order.


def summarise(draft: Draft) -> Summary:
    """Return the reason of Ready and its sentence. While an edit waits for tenants in flight it says so: the run shown is still the one before."""
    summary = next((said for tell in SUMMARIES if (said := tell(draft)) is not None), None)
    if summary is None:
        summary = Summary(ReadyReason.PLANNING, "the plan is being computed")
    return replace(summary, message=f"{summary.message}; {draft.on_hold}") if draft.superseded else summary


def _done(draft: Draft) -> Summary | None:
    run = draft.run
    if run.completion_time is None or run.order is not None or draft.superseded:
        return None
    current = [status for _, status in draft.current()]
    passed_over = sorted(tenant.name for tenant, status in draft.current() if status.state is not S.SUCCEEDED)
    release = draft.spec.release
    done = sum(status.state is S.SUCCEEDED for status in current)
    if any(status.state is S.ROLLBACK_FAILED for status in current):
        return None
    if passed_over:
        return Summary(
            ReadyReason.SUCCEEDED_WITH_SKIPS,
            f"{done} of {len(current)} tenants run {release.product} {release.version}; skipped, or failed within the budget: {named(passed_over)}",
        )
    return Summary(ReadyReason.SUCCEEDED, f"all {done} tenants run {release.product} {release.version}")


def _rollback_failed(draft: Draft) -> Summary | None:
    failed = sorted(name for name, status in draft.statuses().items() if status.state is S.ROLLBACK_FAILED)
    if not failed:
        return None
    return Summary(
        ReadyReason.ROLLBACK_FAILED,
        f"{named(failed)} could not be taken back ({draft.statuses()[failed[0]].message}); look at the TenantRun, then create an "
        f"UpgradeAction Resolve{_so_far(draft)}{_list_them(draft) if len(failed) > SHOWN else ''}",
    )


def _list_them(draft: Draft) -> str:
    return (
        f"; list them all with: kubectl get tenantruns -A -o wide -l {UPGRADE_LABEL}={draft.world.upgrade.name} | grep {S.ROLLBACK_FAILED}"
    )


def _so_far(draft: Draft) -> str:
    """Return how many of those that were ordered back are back, once there are some and more to come."""
    order, statuses = draft.run.order, draft.statuses()
    ordered = order.tenants if order is not None else ()
    done = sum(statuses[name].state is S.ROLLED_BACK for name in ordered if name in statuses)
    return f"; taken back so far: {done} of {len(ordered)}" if 0 < done < len(ordered) else ""


def _ended(draft: Draft) -> Summary | None:
    run = draft.run
    if run.completion_time is None or run.order is None or draft.superseded:
        return None
    version = draft.spec.release.version
    mend = f"Push a version other than {version}, or create an UpgradeAction Retry."
    if run.order.reason is EndReason.ABORT:
        held = sorted(name for name, status in draft.statuses().items() if tenant_run.is_past_return(status))
        left = f"{named(held)} held past the point of no return: Retry goes on there, Resolve takes back or accepts. " if held else ""
        return Summary(ReadyReason.ABORTED, f"{run.order.message}. {left}{mend}")
    if any((status.state is S.HELD and status.written) or status.state is S.ROLLING_BACK for status in draft.statuses().values()):
        return None
    if any(status.state is S.ROLLED_BACK for _, status in draft.current()):
        return Summary(ReadyReason.ROLLED_BACK, f"{run.order.message}. {mend}")
    return Summary(ReadyReason.ABORTED, f"{run.order.message}; nobody was taken back{_accepted(draft)}. {mend}")


def _accepted(draft: Draft) -> str:
    """Return who stays as it is because a person said so, instead of going back."""
    accepted = sorted(tenant.name for tenant, status in draft.current() if status.reason in (SkipReason.RESOLVED, RunReason.RESOLVED))
    return f", for {named(accepted)} was accepted as it is (Resolve)" if accepted else ""


def _cannot_start(draft: Draft) -> Summary | None:
    return draft.problem if draft.problem is not None and draft.problem.reason is not ReadyReason.PLANNING else None


def _rolling_back(draft: Draft) -> Summary | None:
    back = sum(status.state is S.ROLLING_BACK for status in draft.statuses().values()) + len(failures.pending(draft))
    if not back and (draft.run.order is None or draft.run.completion_time is not None):
        return None
    message = draft.run.order.message if draft.run.order is not None else _first_reason(draft)
    return Summary(ReadyReason.ROLLING_BACK, f"{_being_taken_back(back)}: {message}{_so_far(draft)}")


def _first_reason(draft: Draft) -> str:
    """Return why the first of those is taken back that failed alone."""
    going = ((name, status.take_back) for name, status in draft.statuses().items() if status.state is S.ROLLING_BACK)
    name, order = next(((name, order) for name, order in going if order is not None), ("", None))
    return f"{name}: {order.cause}: {order.message}" if order is not None else "tenants that failed"


def _being_taken_back(count: int) -> str:
    match count:
        case 0:
            return "nobody is left to take back"
        case 1:
            return "1 tenant is being taken back"
        case _:
            return f"{count} tenants are being taken back"


def _planning(draft: Draft) -> Summary | None:
    if draft.problem is not None:
        return draft.problem
    return None if draft.planned else Summary(ReadyReason.PLANNING, "the plan is being computed")


def _suspended(draft: Draft) -> Summary | None:
    if not draft.suspended:
        return None
    total = sum(len(wave.tenants) for wave in draft.run.waves)
    planned = f"planned: {total} tenants in {len(draft.run.waves)} waves; nothing starts until spec.suspend is removed"
    return Summary(ReadyReason.SUSPENDED, f"{planned}{_foreseen_holds(draft)}")


def _foreseen_holds(draft: Draft) -> str:
    """Return how many tenants would be held if the upgrade went on now, with the first of them, and how to list them all."""
    held = sorted((tenant.name, status.preview_problem) for tenant, status in draft.current() if status.preview_problem)
    if not held:
        return ""
    (name, problem), listing = held[0], f"kubectl get tenantruns -A -o wide -l {UPGRADE_LABEL}={draft.world.upgrade.name}"
    return f"; {len(held)} of them would be held ({name}: {problem}); list them all with: {listing}"


def _paused(draft: Draft) -> Summary | None:
    pause = draft.journal.pause
    return Summary(ReadyReason.PAUSED, f"{pause.message}; create an UpgradeAction Resume to go on") if pause is not None else None


def _late(draft: Draft) -> Summary | None:
    wave = starts.running_wave(draft)
    if wave is None or not starts.is_late(draft, wave):
        return None
    left = [tenant.name for tenant, status in draft.in_wave(wave) if status.state not in SETTLED]
    what = f"not through: {named(left)}" if left else "its tenants are through, its gate or its approval is missing"
    return Summary(ReadyReason.DEADLINE_EXCEEDED, f"wave {wave.name} is past its deadline and starts no more; {what}")


def _gates_unknown(draft: Draft) -> Summary | None:
    blind, wave = starts.gates_are_blind(draft), starts.running_wave(draft)
    if blind is None:
        return None
    gate = stored_gate(draft, wave) if wave is not None else None
    since = f" since {gate.unknown_since_time:%Y-%m-%dT%H:%M:%SZ}" if gate is not None and gate.unknown_since_time is not None else ""
    return Summary(ReadyReason.GATE_UNKNOWN, f"nothing passes and nothing is taken back{since}: {blind}")


def _fleet_incident(draft: Draft) -> Summary | None:
    wave = starts.running_wave(draft)
    if wave is None or starts.fleet_is_ill(draft) is None:
        return None
    return Summary(ReadyReason.FLEET_INCIDENT, f"wave {wave.name}: {stored_message(draft, wave)}")


def _awaiting_approval(draft: Draft) -> Summary | None:
    for wave in draft.run.waves:
        when = starts.awaits_approval(draft, wave)
        if when is not None:
            given = wave.approvals_before if when is ApprovalTime.BEFORE else wave.approvals_after
            needed = draft.effective_waves[wave.name].approval_minimum
            return Summary(
                ReadyReason.AWAITING_APPROVAL,
                f"wave {wave.name} needs {needed - len(given)} of {needed} approvals to {'start' if when is ApprovalTime.BEFORE else 'pass'}; "
                f"create an UpgradeAction Approve or Reject{_worth_knowing(draft, wave)}",
            )
    return None


def _worth_knowing(draft: Draft, wave: WaveRecord) -> str:
    """Return what people should know before they approve: a drift within the limits decides nothing by itself."""
    gate = stored_gate(draft, wave)
    return f". Before you do: {gate.shift}" if gate is not None and gate.shift else ""


def _wave_running(draft: Draft) -> Summary | None:
    wave = starts.running_wave(draft)
    if not draft.any_in(tenant_run.IN_FLIGHT):
        return None
    if wave is None:
        return Summary(ReadyReason.WAVE_RUNNING, "tenants of waves that have passed are upgraded")
    late = sum(status.state in tenant_run.IN_FLIGHT for tenant, status in draft.current() if tenant.name not in wave.tenants)
    also = f"; {late} of waves that have passed in flight" if late else ""
    return Summary(ReadyReason.WAVE_RUNNING, f"wave {wave.name}: {_progress(draft, wave)}{also}")


def _soaking(draft: Draft) -> Summary | None:
    wave = starts.running_wave(draft)
    return (_wave_soaks(draft, wave) if wave is not None else None) or _late_ones_soak(draft, wave)


def _late_ones_soak(draft: Draft, wave: WaveRecord | None) -> Summary | None:
    of_wave = frozenset(wave.tenants) if wave is not None else frozenset()
    late = sorted(tenant.name for tenant, status in draft.current() if status.state is S.SOAKING and tenant.name not in of_wave)
    return Summary(ReadyReason.SOAKING, f"{named(late)} of waves that have passed must stay healthy") if late else None


def _wave_soaks(draft: Draft, wave: WaveRecord) -> Summary | None:
    soaking = [tenant.name for tenant, status in draft.in_wave(wave) if status.state is S.SOAKING]
    gate = draft.book.wave(wave.name) if deciding(draft, wave) is not None else None
    effective = draft.effective_waves[wave.name]
    still = bool(soaking) or (_members_through(draft, wave) and not is_through(draft, wave))
    if not still or _waits_for_evidence(draft, wave):
        return None
    said = f"; {stored_message(draft, wave)}" if gate is not None and gate.verdict is not Verdict.HEALTHY else ""
    said = f"; {wave.override.sentence()}" if wave.override is not None else said
    return Summary(ReadyReason.SOAKING, f"wave {wave.name}: {_progress(draft, wave)}, soaks {int(effective.soak.total_seconds())} s{said}")


def _members_through(draft: Draft, wave: WaveRecord) -> bool:
    members = [status for _, status in draft.in_wave(wave)]  # one that waits for Resolve in an earlier run is not among them
    through = len(members) == len(wave.tenants) and all(status.state in SETTLED for status in members)
    return through and failures.may_start_more(draft, wave)


def _waits_for_evidence(draft: Draft, wave: WaveRecord) -> bool:
    """Tell whether the soak is over and only evidence is missing."""
    gate = draft.book.wave(wave.name) if deciding(draft, wave) is not None else None
    soak = draft.effective_waves[wave.name].soak
    return gate is not None and gate.verdict is Verdict.INCONCLUSIVE and gate.clock is not None and gate.clock >= soak


def _inconclusive(draft: Draft) -> Summary | None:
    wave = starts.running_wave(draft)
    if wave is None or not _waits_for_evidence(draft, wave):
        return None
    return Summary(
        ReadyReason.GATE_INCONCLUSIVE, f"wave {wave.name} has soaked, but the evidence is too thin: {stored_message(draft, wave)}"
    )


WAITS: dict[str, ReadyReason] = {
    WaitReason.NOTICE_PERIOD: ReadyReason.NOTICE_PERIOD,
    WaitReason.AWAITING_CONSENT: ReadyReason.AWAITING_CONSENT,
    WaitReason.TENANT_BUSY: ReadyReason.TENANT_BUSY,
}


def _waiting(draft: Draft) -> Summary | None:
    """Only waits are left: show the one that ends first; what has no end comes last. In a wave that starts no more no wait counts."""
    wave = starts.running_wave(draft)
    stopped = frozenset(wave.tenants) if wave is not None and not failures.may_start_more(draft, wave) else frozenset()
    holds = sorted(
        (
            (hold.until is None, hold.until or draft.now, name, hold)
            for name, hold in draft.holds.items()
            if hold.reason is not WaitReason.UPGRADE_ON_HOLD and name not in stopped
        ),
        key=lambda row: row[:3],
    )
    if not holds:
        return None
    _, _, name, hold = holds[0]
    more = f" ({len(holds) - 1} more wait)" if len(holds) > 1 else ""
    return Summary(WAITS.get(hold.reason, ReadyReason.WAITING_FOR_WINDOW), f"{name} waits: {hold.message}{more}")


def _held(draft: Draft) -> Summary | None:
    held = sorted(name for name, status in draft.statuses().items() if status.state is S.HELD)
    if not held:
        return None
    status = draft.statuses()[held[0]]
    return Summary(ReadyReason.HELD, f"{named(held)} held: {status.reason}: {status.message}")


def _progress(draft: Draft, wave: WaveRecord | None) -> str:
    if wave is None:
        return "tenants are in flight"
    states = [status.state for _, status in draft.in_wave(wave)]
    done = sum(state is S.SUCCEEDED for state in states)
    flying = sum(state in tenant_run.IN_FLIGHT for state in states)
    soaking = sum(state is S.SOAKING for state in states)
    return f"{done} of {len(wave.tenants)} tenants done, {flying} in flight, {soaking} soaking"


def _going_on(draft: Draft) -> Summary | None:
    wave = starts.running_wave(draft)
    if wave is None and draft.run.completion_time is None and draft.planned:
        upcoming = starts.next_wave(draft)
        return Summary(ReadyReason.WAVE_RUNNING, f"wave {upcoming.name} begins" if upcoming is not None else "the last wave ends")
    return Summary(ReadyReason.WAVE_RUNNING, f"wave {wave.name}: {_progress(draft, wave)}") if wave is not None else None


SUMMARIES = (
    _done,
    _rollback_failed,
    _ended,
    _cannot_start,
    _rolling_back,
    _planning,
    _suspended,
    _paused,
    _late,
    _gates_unknown,
    _fleet_incident,
    _awaiting_approval,
    _wave_running,
    _soaking,
    _inconclusive,
    _waiting,
    _held,
    _going_on,
)
