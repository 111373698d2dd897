"""What people ordered by UpgradeActions: each is answered once, and refused without any effect where it does not fit."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from tenantwave.api.action import ActionType
from tenantwave.api.conditions import ActionReason, FailReason, SkipReason
from tenantwave.api.defaults import gate_mode
from tenantwave.api.gating import GateMode
from tenantwave.api.policy import ApprovalTime
from tenantwave.api.tenant_run import TenantState
from tenantwave.core import tenant_run, waves
from tenantwave.core.calendar import why_no_override
from tenantwave.core.gates import TenantGate, Verdict, WaveGate
from tenantwave.core.journal import Approval, EndReason, Override, Pause, TakeBackOrder, WaveProgress, WaveRecord
from tenantwave.core.passes import failures
from tenantwave.core.passes.draft import Draft
from tenantwave.core.passes.evidence import is_freed, judged_stragglers, stored_gate
from tenantwave.core.passes.problems import named
from tenantwave.core.passes.runs import is_of_run, next_attempt
from tenantwave.core.passes.starts import awaits_approval
from tenantwave.core.plan import Answer
from tenantwave.core.world import Action

S = TenantState


@dataclass(frozen=True, slots=True)
class Refusal:
    """Why an order has no effect."""

    reason: ActionReason
    message: str


@dataclass(frozen=True, slots=True)
class Taken:
    """The order is taken. `completed`: it has had its whole effect already."""

    message: str
    completed: bool = True


Outcome = Refusal | Taken


def obey(draft: Draft) -> None:
    """Answer the orders that are not answered yet, oldest first, and complete those whose effect has come."""
    for action in sorted(draft.world.actions, key=lambda action: (action.creation_time, action.name)):
        if action.accepted is None:
            _answer(draft, action)
        elif action.accepted and not action.completed and (message := _completed(draft, action)):
            draft.answers.append(Answer(action.name, True, ActionReason.COMPLETED, message, completed=True))


def _answer(draft: Draft, action: Action) -> None:
    if action.uid in draft.journal.answered:
        again = REPEATS.get(action.spec.type)
        if again is not None and _refuse_stale(draft, action) is None:
            again(draft, action)
        draft.answers.append(Answer(action.name, True, ActionReason.ACCEPTED, "taken", completed=bool(_completed(draft, action))))
        return
    outcome = _refuse_stale(draft, action) or _refuse_unreadable(draft, action) or RULES[action.spec.type](draft, action)
    if isinstance(outcome, Refusal):
        draft.answers.append(Answer(action.name, False, outcome.reason, outcome.message))
        return
    draft.set_journal(answered=(*draft.journal.answered, action.uid)[-200:])
    draft.answers.append(Answer(action.name, True, ActionReason.ACCEPTED, outcome.message, completed=outcome.completed))


def _refuse_stale(draft: Draft, action: Action) -> Refusal | None:
    if action.spec.type in (ActionType.PAUSE, ActionType.RESUME) or action.spec.run == draft.run.id:
        return None
    if action.spec.type is ActionType.RESOLVE and _all_left_by(draft, action):
        return None
    return Refusal(
        ActionReason.STALE_RUN,
        f"this order is for run {action.spec.run or '(none)'}, the current one is {draft.run.id}; create a new action for it if it still applies",
    )


def _all_left_by(draft: Draft, action: Action) -> bool:
    """Tell whether the tenants named are still those that an earlier run left behind: it is that run which is settled in them."""
    statuses = [draft.status(name) for name in action.spec.tenants]
    return bool(statuses) and all(status is not None and status.run == action.spec.run for status in statuses)


def _refuse_unreadable(draft: Draft, action: Action) -> Refusal | None:
    """Nobody can order anything about a tenant of which is not known where it stands: first its TenantRun is mended, or deleted."""
    problem = next((problem for name in action.spec.tenants if (problem := draft.problem_of(name))), "")
    return Refusal(ActionReason.NOT_APPLICABLE, problem) if problem else None


def _person(action: Action) -> str:
    return action.spec.requested_by or "(unnamed)"


def _wave(draft: Draft, action: Action) -> WaveRecord | None:
    return next((wave for wave in draft.run.waves if wave.name == action.spec.wave), None)


def _approve(draft: Draft, action: Action) -> Outcome:
    wave = _wave(draft, action)
    if wave is None:
        return Refusal(ActionReason.UNKNOWN_TARGET, f"the run has no wave {action.spec.wave}")
    when = awaits_approval(draft, wave)
    if when is None:
        return Refusal(ActionReason.NOT_APPLICABLE, f"wave {wave.name} does not await approval")
    field = "approvals_before" if when is ApprovalTime.BEFORE else "approvals_after"
    given: tuple[Approval, ...] = getattr(wave, field)
    if all(approval.person != _person(action) for approval in given):
        given = (*given, Approval(person=_person(action), action=action.name, time=draft.now))
        draft.set_wave(wave.name, **{field: given})
    needed = draft.effective_waves[wave.name].approval_minimum
    draft.note("ApprovalGiven", f"wave {wave.name}: {len(given)} of {needed} approvals, the last by {_person(action)}")
    return Taken(f"{len(given)} of {needed} approvals of wave {wave.name}")


def _reject(draft: Draft, action: Action) -> Outcome:
    wave = _wave(draft, action)
    if wave is None:
        return Refusal(ActionReason.UNKNOWN_TARGET, f"the run has no wave {action.spec.wave}")
    when = awaits_approval(draft, wave)
    if when is None:
        return Refusal(ActionReason.NOT_APPLICABLE, f"wave {wave.name} does not await approval")
    message = f"wave {wave.name} was rejected by {_person(action)} ({action.name})"
    if when is ApprovalTime.BEFORE:
        return _end_run(draft, action, message)
    failures.fail_wave(draft, wave, message, all_of_wave=True, action=action.name)
    order = draft.run.order
    if order is None:
        return Taken("nobody is taken back by policy (onFailure.wave: Pause); the upgrade is paused")
    return Taken(f"{len(order.tenants)} tenants are taken back", completed=not order.tenants)


def _pause(draft: Draft, action: Action) -> Outcome:
    draft.set_journal(pause=Pause(time=draft.now, message=f"paused by {_person(action)} ({action.name})", action=action.name))
    draft.note("UpgradePaused", f"by {action.name}")
    return Taken("no more tenants start until Resume; those in flight finish")


def _resume(draft: Draft, action: Action) -> Outcome:
    if draft.journal.pause is None:
        return Refusal(ActionReason.NOT_APPLICABLE, "the upgrade is not paused")
    draft.set_journal(pause=None)
    draft.note("UpgradeResumed", f"by {action.name}")
    return Taken("tenants start again")


def _abort(draft: Draft, action: Action) -> Outcome:
    if draft.run.completion_time is not None or draft.run.order is not None:
        return Refusal(ActionReason.NOT_APPLICABLE, "the run has ended, or is being taken back already")
    return _end_run(draft, action, f"aborted by {_person(action)} ({action.name}): {action.spec.reason}")


def _end_run(draft: Draft, action: Action, message: str) -> Outcome:
    """Take back who is unproven, skip who was never written (both follow from the order, in `failures`); who succeeded stays.

    Whom an earlier run left unproven goes back at once: a run that could not be planned has none of them in its waves.
    """
    left = [name for name, status in draft.statuses().items() if status.run != draft.run.id and tenant_run.is_unproven(status)]
    for name in left:
        draft.set_status(name, tenant_run.going_back(draft.statuses()[name], FailReason.ABORTED, message[:1024], draft.now))
    unproven = tuple(tenant.name for tenant, status in draft.current() if tenant_run.is_unproven(status))
    order = TakeBackOrder(reason=EndReason.ABORT, message=message[:1024], time=draft.now, tenants=unproven, action=action.name)
    if draft.planned:
        draft.set_run(order=order)
    else:
        settled = waves.plan_digest(draft.run.id, ((wave.name, wave.tenants) for wave in draft.run.waves))  # what had passed before a Retry
        draft.set_run(order=order, planned_time=draft.now, plan_digest=settled if draft.run.waves else "")
    draft.note("UpgradeAborted", message, warning=True)
    return Taken(f"{len(unproven) + len(left)} unproven tenants are taken back", completed=not unproven and not left)


def _retry(draft: Draft, action: Action) -> Outcome:
    if draft.world.upgrade.spec is None:
        return Refusal(ActionReason.NOT_APPLICABLE, "the spec cannot be read; correct it first")
    if draft.superseded or draft.any_in(tenant_run.IN_FLIGHT | {S.ROLLING_BACK}) or failures.pending(draft):
        return Refusal(ActionReason.NOT_APPLICABLE, "tenants are in flight or being taken back; retry when they are through")
    statuses = {name: status for name, status in draft.statuses().items() if is_of_run(draft, status)}
    if unknown := [name for name in action.spec.tenants if name not in statuses]:
        return Refusal(ActionReason.UNKNOWN_TARGET, f"{unknown[0]} is no tenant of this run")
    if failed := [name for name in action.spec.tenants if statuses[name].state is S.ROLLBACK_FAILED]:
        return Refusal(ActionReason.NOT_APPLICABLE, f"{failed[0]} is RollbackFailed; create an UpgradeAction Resolve for it first")
    again = [name for name in action.spec.tenants or statuses if statuses[name].state not in (S.SUCCEEDED, S.ROLLBACK_FAILED)]
    if not again and (draft.planned or not draft.problem):
        return Refusal(ActionReason.NOT_APPLICABLE, "there is nothing to retry: every tenant has succeeded, or needs Resolve")
    next_attempt(draft, action.spec.tenants)
    return Taken(f"attempt {draft.run.attempt} begins: {len(again)} tenants begin again")


def _skip(draft: Draft, action: Action) -> Outcome:
    statuses = {tenant.name: status for tenant, status in draft.current()}
    for name in action.spec.tenants:
        if name not in statuses:
            return Refusal(ActionReason.UNKNOWN_TARGET, f"{name} is no tenant of this run")
        status = statuses[name]
        if status.written or status.state not in (S.QUEUED, S.WAITING, S.HELD):
            return Refusal(
                ActionReason.NOT_APPLICABLE,
                f"{name} is {status.state}; only tenants Queued, Waiting, or Held with nothing written can be skipped",
            )
    _skip_again(draft, action)
    return Taken(f"{len(action.spec.tenants)} tenants are skipped")


def _skip_again(draft: Draft, action: Action) -> None:
    message = f"skipped by {_person(action)} ({action.name}): {action.spec.reason}"
    for name in action.spec.tenants:
        status = draft.status(name)
        if status is not None and not status.written and status.state in (S.QUEUED, S.WAITING, S.HELD):
            draft.move(name, S.SKIPPED, SkipReason.SKIPPED_BY_ACTION, message, completion_time=draft.now)


def _resolve(draft: Draft, action: Action) -> Outcome:
    statuses = draft.statuses()
    for name in action.spec.tenants:
        if name not in statuses:
            return Refusal(ActionReason.UNKNOWN_TARGET, f"{name} is no tenant of this upgrade")
        if statuses[name].state not in (S.HELD, S.ROLLBACK_FAILED):
            return Refusal(
                ActionReason.NOT_APPLICABLE, f"{name} is {statuses[name].state}; only tenants Held or RollbackFailed need Resolve"
            )
    _resolve_again(draft, action)
    return Taken(f"{action.spec.resolution} for {len(action.spec.tenants)} tenants", completed=False)


def _resolve_again(draft: Draft, action: Action) -> None:
    """Order it for all who have not taken up this very order: one whose rollback failed once more waits for another order."""
    message = f"resolved by {_person(action)} ({action.name}): {action.spec.reason}"
    for name in action.spec.tenants:
        status = draft.status(name)
        if status is not None and status.state in (S.HELD, S.ROLLBACK_FAILED) and status.resolved_by != action.uid:
            ordered = {"resolution": action.spec.resolution, "resolved_by": action.uid, "message": message[:1024]}
            draft.set_status(name, status.model_copy(update=ordered))


def _override_gate(draft: Draft, action: Action) -> Outcome:
    wave = _wave(draft, action)
    if wave is None:
        return Refusal(ActionReason.UNKNOWN_TARGET, f"the run has no wave {action.spec.wave}")
    if (why := _why_no_override(draft, wave)) is not None:
        return Refusal(ActionReason.NOT_APPLICABLE, why)
    late = judged_stragglers(draft, wave)
    verdict, said = _said_of(draft, late[0]) if late else _said_by(draft, wave)
    override = Override(
        person=_person(action), action=action.name, reason=action.spec.reason, time=draft.now, verdict=verdict.value, said=said[:512],
        for_stragglers=bool(late),
    )  # fmt: skip
    draft.set_wave(wave.name, override=override)
    draft.note(
        "GateOverridden", f"wave {wave.name} {override.sentence()}; its gate said {override.verdict} ({override.said})", warning=True
    )
    if late:
        return Taken(f"{named(late)} of wave {wave.name} pass on their soak alone; the gate said {override.verdict}", completed=False)
    return Taken(f"wave {wave.name} passes on its soak alone; its gate said {override.verdict}, which stays recorded", completed=False)


def _said_by(draft: Draft, wave: WaveRecord) -> tuple[Verdict, str]:
    gate = draft.book.wave(wave.name) or stored_gate(draft, wave) or WaveGate(wave.name)
    return gate.verdict, f"{gate.reason}: {gate.message}"


def _said_of(draft: Draft, tenant: str) -> tuple[Verdict, str]:
    gate = draft.book.tenant(tenant) or TenantGate(tenant, "")
    return gate.verdict, f"{tenant}: {gate.reason}: {gate.message}"


def _why_no_override(draft: Draft, wave: WaveRecord) -> str | None:
    """Return why the gate of this wave cannot be overridden now; None if it can.

    Once the wave has passed, an override is for its stragglers: those that soak now, for the gates judge each of them by itself.
    """
    gate = draft.book.wave(wave.name) or stored_gate(draft, wave)
    if draft.run.order is not None or draft.run.completion_time is not None or wave.progress is WaveProgress.FAILED:
        return f"the run has ended, or ends by a rollback ({draft.run.order.message})" if draft.run.order is not None else "the run is over"
    if draft.policy is None or all(gate_mode(each) is not GateMode.ENFORCE for each in draft.policy.gates):
        return "the policy has no gates that decide; the wave passes on its soak alone anyway"
    if wave.progress is WaveProgress.PASSED:
        late = judged_stragglers(draft, wave)
        if not late:
            return f"wave {wave.name} has passed, and none of its stragglers soaks under the gates; an override is for those that do"
        healthy = all((own := draft.book.tenant(name)) is not None and own.verdict is Verdict.HEALTHY for name in late)
        return f"the gates of {named(late)} are Healthy; the soak ends by itself" if healthy else None
    if wave.progress is not WaveProgress.RUNNING:
        return f"wave {wave.name} is {wave.progress}; only the gate of the running wave can be overridden"
    if wave.override is not None:
        return f"the gate of wave {wave.name} is overridden already, by {wave.override.action}"
    if gate is not None and gate.verdict is Verdict.HEALTHY:
        return f"the gate of wave {wave.name} is Healthy; the wave passes by itself when its soak is over"
    if gate is not None and gate.verdict is Verdict.FAILING and not failures.is_forgiven(draft, wave):
        return f"the gate of wave {wave.name} is Failing, and what onFailure.wave says is being done; an override ends no rollback"
    return None


def _override_window(draft: Draft, action: Action) -> Outcome:
    """Lift named factors of named tenants, or of one wave, for a time. `ground` reads the order itself, so deleting it ends it."""
    spec = action.spec
    if spec.expire_time is None:
        return Refusal(ActionReason.NOT_APPLICABLE, "expireTime is missing; create a new action with one, at most 72h ahead")
    if spec.expire_time <= draft.now:
        return Refusal(ActionReason.EXPIRED, "expireTime has passed; create a new action with a later time")
    if problem := why_no_override(action.creation_time, spec.expire_time):
        return Refusal(ActionReason.NOT_APPLICABLE, problem)
    if draft.run.order is not None or draft.run.completion_time is not None:
        return Refusal(ActionReason.NOT_APPLICABLE, "the run has ended; nobody is left to start")
    if spec.wave and _wave(draft, action) is None:
        return Refusal(ActionReason.UNKNOWN_TARGET, f"the run has no wave {spec.wave}")
    known = {tenant.name for tenant, _ in draft.current()}
    if unknown := [name for name in spec.tenants if name not in known]:
        return Refusal(ActionReason.UNKNOWN_TARGET, f"{unknown[0]} is no tenant of this run")
    lifts = ", ".join(sorted(str(one) for one in spec.lifts))
    whom = f"wave {spec.wave}" if spec.wave else named(list(spec.tenants))
    until = f"{spec.expire_time:%Y-%m-%dT%H:%M:%SZ}"
    draft.note("WindowOverridden", f"{lifts} of {whom} until {until}, by {_person(action)} ({action.name}): {spec.reason}", warning=True)
    return Taken(f"{lifts} of {whom} hold no start before {until}; delete this action to end it sooner", completed=False)


def _completed(draft: Draft, action: Action) -> str:
    """Return what to say of an order that has had its whole effect, or ''."""
    statuses = draft.statuses()
    match action.spec.type:
        case ActionType.ABORT | ActionType.REJECT:
            order = draft.run.order
            if order is None or order.action != action.name:
                return "done"
            return "" if draft.run.completion_time is None else f"{len(order.tenants)} tenants were taken back or named for Resolve"
        case ActionType.OVERRIDE_GATE:
            wave = next((wave for wave in draft.run.waves if wave.override is not None and wave.override.action == action.name), None)
            if wave is None or draft.run.order is not None:
                return "the run ended before the wave passed"
            if wave.progress is not WaveProgress.PASSED:
                return ""
            if wave.override is None or not wave.override.for_stragglers:
                return f"wave {wave.name} has passed"
            soaking = any(status.state is S.SOAKING and is_freed(wave, status) for _, status in draft.in_wave(wave))
            return "" if soaking else f"the stragglers of wave {wave.name} for which it was given soak no longer"
        case ActionType.OVERRIDE_WINDOW:
            expires = action.spec.expire_time
            run_ends = draft.run.completion_time is not None or draft.run.order is not None
            if expires is None or draft.now >= expires or run_ends or action.spec.run != draft.run.id:
                return "it lifts nothing any more"
            draft.wake(expires)
            return ""
        case ActionType.RESOLVE:
            left = [
                name
                for name in action.spec.tenants
                if name in statuses and statuses[name].state in (S.HELD, S.ROLLING_BACK, S.ROLLBACK_FAILED)
            ]
            return "" if left else "all tenants named are settled"
        case _:
            return "done"


RULES: dict[ActionType, Callable[[Draft, Action], Outcome]] = {
    ActionType.APPROVE: _approve,
    ActionType.REJECT: _reject,
    ActionType.PAUSE: _pause,
    ActionType.RESUME: _resume,
    ActionType.ABORT: _abort,
    ActionType.RETRY: _retry,
    ActionType.SKIP_TENANT: _skip,
    ActionType.RESOLVE: _resolve,
    ActionType.OVERRIDE_GATE: _override_gate,
    ActionType.OVERRIDE_WINDOW: _override_window,
}

REPEATS: dict[ActionType, Callable[[Draft, Action], None]] = {ActionType.SKIP_TENANT: _skip_again, ActionType.RESOLVE: _resolve_again}
"""Orders whose effect is in TenantRuns: as long as their answer is not written, a crash may have come before the effect, so it is repeated."""
