"""Tenants that have begun: what each of them needs next, and whether it has failed."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime, timedelta

from tenantwave.api.action import Resolution
from tenantwave.api.conditions import FailReason, RunReason, SkipReason, WaitReason
from tenantwave.api.run_records import HookState
from tenantwave.api.tenant_run import Direction, IntentState, TakeBack, TenantRunStatus, TenantState
from tenantwave.api.upgrade import HookTime
from tenantwave.core import hooks, tenant_run
from tenantwave.core.calendar import AtClose, Closed, Terms, close_wake_time, overrides_for, planned_start, what_at_close
from tenantwave.core.passes.draft import Draft, is_at_release
from tenantwave.core.passes.previews import preview_held
from tenantwave.core.passes.terms import SKEW, ruling_of
from tenantwave.core.plan import Deed
from tenantwave.core.world import Progress, Tenant

S = TenantState

TRY_AGAIN_EVERY = timedelta(minutes=5)
"""How often a rollback past its deadline is tried again."""


def watch_tenants(draft: Draft) -> None:
    """Look at every tenant that is not only waiting, of the current run and of earlier ones."""
    for name, status in list(draft.statuses().items()):
        watch = WATCHES.get(status.state) if status.state is not None and name not in draft.steps else None
        if watch is not None:
            watch(draft, draft.world.tenants[name], status)


def mourn_tenants(draft: Draft) -> None:
    """Let go of tenants whose namespace is gone, going, or another one of the same name."""
    for name, status in list(draft.statuses().items()):
        tenant = draft.world.tenants[name]
        replaced = bool(status.namespace_uid) and tenant.exists and tenant.uid != status.namespace_uid
        if tenant.exists and not tenant.terminating and not replaced:
            continue
        if status.state in tenant_run.ENDED:
            continue
        what = "was deleted and made again" if replaced else "is gone" if not tenant.exists else "is being deleted"
        if tenant_run.has_tenant(status):
            outcome = tenant_run.to(
                status, S.ORPHANED, FailReason.RECREATED if replaced else FailReason.DELETED, f"namespace {name} {what}", draft.now
            )
            draft.do(name, Deed.LET_GO, outcome)
        else:
            draft.move(name, S.SKIPPED, SkipReason.UNSELECTED, f"namespace {name} {what}", completion_time=draft.now)


def _preflight(draft: Draft, tenant: Tenant, status: TenantRunStatus) -> None:
    """Nothing has been written yet: whatever ends the run or stops starts also ends the preflight."""
    if draft.run.order is not None:
        return  # `failures` lets it go, or takes it back
    if _at_close(draft, status) is AtClose.BACK_TO_WAITING:
        _wait_again(draft, tenant, status)
        return
    closed = _shut_since(draft, tenant, status)
    if closed is not None:
        outcome = tenant_run.to(status, S.WAITING, closed.reason, closed.message, draft.now, opening_end_time=None)
        draft.do(tenant.name, Deed.LET_GO, outcome)
        return
    draft.do(tenant.name, Deed.PREPARE)


def _wait_again(draft: Draft, tenant: Tenant, status: TenantRunStatus) -> None:
    """Have a tenant wait for its next opening in which nothing has been changed by this run."""
    message = "its window closed before anything was changed; it waits for the next one"
    outcome = tenant_run.to(status, S.WAITING, WaitReason.OUTSIDE_WINDOW, message, draft.now, opening_end_time=None)
    if status.written:  # an earlier run's writes stand: the tenant stays ours
        draft.set_status(tenant.name, outcome)
    else:
        draft.do(tenant.name, Deed.LET_GO, outcome)


def _shut_since(draft: Draft, tenant: Tenant, status: TenantRunStatus) -> Closed | None:
    """Return what shut the tenant's door while it prepared: a freeze or other windows that were stated meanwhile, or the end of an override.

    It is asked as for a start now. An override closes nothing that is begun; but who still prepares at its end, perhaps after hours in which
    nobody looked, has not begun.
    """
    if tenant.calendar is None or status.written or draft.ground is None:
        return None
    terms = Terms(
        choice=ruling_of(draft, tenant, status).choice,  # a decision may have been made before the start, and seen after it
        force_time=draft.ground.terms.force_time,
        overrides=overrides_for(draft.ground.overrides, draft.run.id, tenant.name, status.wave, draft.now),
    )
    hold = planned_start(tenant.calendar, terms, draft.now, SKEW).hold
    return hold if hold is not None and hold.reason is not WaitReason.TOO_LITTLE_TIME_LEFT else None  # it had enough when it started


def _at_close(draft: Draft, status: TenantRunStatus) -> AtClose:
    """Return what the policy says about a tenant whose opening has ended; its end was stored when the tenant started."""
    if draft.policy is None or status.state is None:
        return AtClose.CONTINUE
    rules = draft.policy.maintenance
    closes = status.opening_end_time
    if closes is not None and draft.now >= closes and status.state is not S.PREFLIGHT:
        closes = _seen(draft, closes)  # what it did while nobody looked is no overrun
    again = close_wake_time(closes, rules.max_overrun, draft.now)
    if again is not None:
        draft.wake(again)
    return what_at_close(rules.on_window_close, closes, rules.max_overrun, draft.now, status.state)


def _is_stopped_by_its_window(draft: Draft, tenant: Tenant, status: TenantRunStatus) -> bool:
    """Do what the policy says at the end of the opening. Returns: whether nothing else is to be done in the tenant."""
    closing = _at_close(draft, status)
    if closing is AtClose.CONTINUE or status.opening_end_time is None:
        return False
    closed = f"its window closed at {status.opening_end_time:%Y-%m-%dT%H:%M:%SZ}"
    is_untouched = not status.written and not status.intents
    component = draft.spec.components[min(status.component, len(draft.spec.components) - 1)].name
    has_begun = any(
        intent.component == component
        and intent.direction is Direction.FORWARD
        and intent.seq >= status.first_seq
        and intent.state is not IntentState.SUPERSEDED
        for intent in status.intents
    )
    if status.state is S.APPLYING and is_untouched:
        _wait_again(draft, tenant, status)
    elif closing is AtClose.TAKE_BACK and _has_finished(draft, tenant, status):
        return False  # it was in time
    elif closing is AtClose.TAKE_BACK and _is_shaken(draft):
        return status.state is S.APPLYING  # nobody can tell yet: nothing is taken back, and nothing more is written
    elif closing is AtClose.TAKE_BACK:
        message = f"{closed}, and it had not finished; Retry tries it again in its next one"
        draft.set_status(tenant.name, tenant_run.going_back(status, FailReason.WINDOW_CLOSED, message, draft.now))
    elif status.state is S.APPLYING and not has_begun:
        message = f"{closed} before {component} was written; Retry goes on in its next one, Resolve settles it as it is or takes it back"
        draft.set_status(tenant.name, tenant_run.to(status, S.HELD, FailReason.WINDOW_CLOSED, message, draft.now))
    else:
        return False  # what is begun may converge
    return True


def _has_finished(draft: Draft, tenant: Tenant, status: TenantRunStatus) -> bool:
    """Tell whether its last component is seen to run the release: only the proof is missing."""
    last = draft.spec.components[-1].name
    view = next((view for view in tenant.components if view.name == last), None)
    is_last = status.state is S.CONVERGING and status.component >= len(draft.spec.components) - 1
    return is_last and view is not None and view.at_release and view.progress is Progress.CONVERGED


def _is_shaken(draft: Draft) -> bool:
    """Tell whether what Kubernetes says of workloads may still be late, after an outage of the API server."""
    until = draft.world.shaken_until
    if until is None or draft.now >= until:
        return False
    draft.wake(until)
    return True


def _applying(draft: Draft, tenant: Tenant, status: TenantRunStatus) -> None:
    if draft.run.order is None and not _is_stopped_by_its_window(draft, tenant, status):
        _do_unless_a_hook_runs(draft, tenant, status, Deed.APPLY, HookTime.PRE_APPLY)


def _do_unless_a_hook_runs(
    draft: Draft, tenant: Tenant, status: TenantRunStatus, deed: Deed, at: HookTime, *, overwrite: bool = False
) -> None:
    """Want a step, unless it would only find that a hook's Job still runs: then the Job's end wakes us, or its being overdue.

    A Job that the cache does not have is looked at live: it may be gone.
    """
    record = hooks.running(status, at)
    seen = tenant.hook_jobs.get(record.job) if record is not None else None
    if record is not None and seen is not None and seen.state is HookState.RUNNING and seen.is_let_run:
        due = hooks.due_time(draft.spec, record, seen, draft.world.seen_since, draft.now)
        if due is not None and draft.now < due:
            draft.wake(due)
            return
    draft.do(tenant.name, deed, overwrite=overwrite)


def _converging(draft: Draft, tenant: Tenant, status: TenantRunStatus) -> None:
    """Converged and at the release: have it proven. Failed, or too long: it fails. Time in which we did not see the cluster does not count."""
    if draft.run.order is not None or _is_stopped_by_its_window(draft, tenant, status):
        return
    component = draft.spec.components[min(status.component, len(draft.spec.components) - 1)]
    view = next((view for view in tenant.components if view.name == component.name), None)
    deadline = _seen(draft, hooks.converging_since(status) or status.state_since_time or draft.now) + draft.spec.health.timeout
    is_there = view is not None and view.present
    if view is not None and is_there and (view.progress is Progress.CONVERGED or not view.at_release):
        # Never failed by what a cache shows: past the deadline, or where another version seems to stand, it is the live look of CONFIRM that
        # says so.
        _do_unless_a_hook_runs(draft, tenant, status, Deed.CONFIRM, HookTime.POST_APPLY)
        draft.wake(deadline)
        return
    if _is_shaken(draft):
        return
    if view is not None and view.progress is Progress.FAILED and view.at_release:
        draft.fail(tenant.name, FailReason.NOT_CONVERGED, f"{component.name}: {view.message}")
        return
    if draft.now >= deadline:
        said = view.message if view is not None and view.message else "it is not there"
        draft.fail(tenant.name, FailReason.NOT_CONVERGED, f"{component.name} did not converge within {_text(draft)}: {said}")
    else:
        draft.wake(deadline)


def _soaking(draft: Draft, tenant: Tenant, status: TenantRunStatus) -> None:
    """Converged must hold through the soak: what falls back converges anew, with its timer, and then soaks anew."""
    if draft.run.order is not None or draft.superseded or status.run != draft.run.id:
        return
    for index, component in enumerate(draft.spec.components):
        view = next((view for view in tenant.components if view.name == component.name), None)
        if view is None or (not view.present and component.optional):
            continue
        if not view.present:
            draft.fail(
                tenant.name, FailReason.DELETED, f"{component.name} was deleted while it soaked; check the object, then Retry or Resolve"
            )
            return
        if view.progress is not Progress.CONVERGED or not view.at_release:
            what = "is no longer ready" if view.at_release else f"no longer shows {draft.spec.release.version}"
            draft.move(
                tenant.name,
                S.CONVERGING,
                RunReason.IN_PROGRESS,
                f"{component.name} {what}: {view.message}",
                component=index,
                applied_time=draft.now,
                converged_time=None,
                opening_end_time=None,  # it had finished within its opening: this is no overrun
            )
            return


def _held(draft: Draft, tenant: Tenant, status: TenantRunStatus) -> None:
    if _settle(draft, tenant, status):
        return
    ended = draft.run.order is not None or draft.run.completion_time is not None
    if not status.written and status.run == draft.run.id and draft.planned and not draft.deleted and not ended:
        preview_held(draft, tenant, status)


def _rollback_failed(draft: Draft, tenant: Tenant, status: TenantRunStatus) -> None:
    """Wait for a person. What was only late, or lacked room, is tried again now and then: it may go well after all, and then it is rolled back."""
    if _settle(draft, tenant, status) or status.take_back is None:
        return
    if status.reason in (status.take_back.cause, FailReason.QUOTA_EXCEEDED):
        draft.do(tenant.name, Deed.TAKE_BACK, at_most_every=TRY_AGAIN_EVERY)


def _settle(draft: Draft, tenant: Tenant, status: TenantRunStatus) -> bool:
    """Do what a Resolve ordered. The order is in the TenantRun, so no crash loses it."""
    match status.resolution:
        case None:
            return False
        case Resolution.ACCEPT_LIVE:
            if is_at_release(draft, tenant):
                outcome = tenant_run.succeeded(status, RunReason.RESOLVED, status.message, draft.now)
                # So that the gates have a window for it, like for every tenant that this run upgraded.
                outcome = outcome.model_copy(update={"converged_time": status.converged_time or draft.now})
            else:
                outcome = tenant_run.to(status, S.SKIPPED, SkipReason.RESOLVED, status.message, draft.now, completion_time=draft.now)
            draft.do(tenant.name, Deed.LET_GO, outcome.model_copy(update={"resolution": None}))
        case Resolution.ROLLBACK | Resolution.FORCE_PRE_IMAGE:
            known = FailReason(status.reason) if status.reason in set(FailReason) else FailReason.ABORTED
            cause = status.take_back.cause if status.take_back is not None else known
            order = TakeBack(cause=cause, message=status.message, time=draft.now)
            draft.move(tenant.name, S.ROLLING_BACK, cause, status.message, take_back=order)
    return True


def _rolling_back(draft: Draft, tenant: Tenant, status: TenantRunStatus) -> None:
    """Windows and freezes never hold this. Past `rollback.deadline` it is RollbackFailed: a person is called, and it is tried now and then."""
    if draft.policy is None or status.take_back is None:
        draft.do(tenant.name, Deed.TAKE_BACK, overwrite=status.resolution is Resolution.FORCE_PRE_IMAGE)
        return
    deadline = _seen(draft, status.state_since_time or status.take_back.time) + draft.policy.rollback.deadline
    if draft.now >= deadline:
        draft.fail(
            tenant.name,
            status.take_back.cause,
            f"not taken back within rollback.deadline ({_last_words(tenant)}); look at the tenant, then create an UpgradeAction Resolve",
        )
        return
    draft.wake(deadline)
    overwrite = status.resolution is Resolution.FORCE_PRE_IMAGE
    _do_unless_a_hook_runs(draft, tenant, status, Deed.TAKE_BACK, HookTime.ON_ROLLBACK, overwrite=overwrite)


def _seen(draft: Draft, time: datetime) -> datetime:
    """Return when a clock that began at `time` really began: outages, ours and the API server's, cause delay and never a failure."""
    return max(time, draft.world.seen_since or time)


def _text(draft: Draft) -> str:
    return f"health.timeout ({int(draft.spec.health.timeout.total_seconds())} s)"


def _last_words(tenant: Tenant) -> str:
    return "; ".join(view.message for view in tenant.components if view.message) or "its components did not converge"


WATCHES: dict[TenantState, Callable[[Draft, Tenant, TenantRunStatus], None]] = {
    S.PREFLIGHT: _preflight,
    S.APPLYING: _applying,
    S.CONVERGING: _converging,
    S.SOAKING: _soaking,
    S.HELD: _held,
    S.ROLLING_BACK: _rolling_back,
    S.ROLLBACK_FAILED: _rollback_failed,
}
