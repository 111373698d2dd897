"""Running hooks: a Job is created once by the write protocol, let run, looked at until it has a result, and let go when the turn is over.

It is created suspended, then written down, then let run. So a Job that is not written down has never run, however the process died: created
again, or arriving late, it does nothing twice. Once written down it is never created again: gone without a result is Unknown.

Every function may be cut off anywhere and begun again: the Job's name is fixed by run and hook, and the journal says what is known of it.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from tenantwave.api.conditions import FailReason
from tenantwave.api.kinds import INTENT_ANNOTATION, JOB, POD
from tenantwave.api.run_records import MAX_HOOK_RECORDS, HookRecord, HookState
from tenantwave.api.tenant_run import Direction, IntentState
from tenantwave.api.upgrade import Component, HookTime
from tenantwave.core import hooks
from tenantwave.core.hooks import HookJob, Place
from tenantwave.engine.tenant.failure import Failed, lasting
from tenantwave.engine.tenant.intents import TRIES, UNCHANGED, Unchanged
from tenantwave.engine.tenant.jobs import AsCreated, JobDocument
from tenantwave.engine.tenant.work import Work
from tenantwave.faults import AlreadyExists, Conflict, Fault, NotFound
from tenantwave.ports import Body


async def hooks_succeeded(work: Work, at: HookTime, component: Component | None = None, *, is_there: bool = True) -> bool:
    """Run the hooks of one place, one after the other. Return whether all have succeeded; if not, one of them runs: look again later.

    Raises: Failed (HookFailed) for a Job that failed, ran into its timeout or vanished, and again at each later call.
    """
    place = place_of(work)
    if at is HookTime.PRE_APPLY:
        await _remove_strays(work)
    due = hooks.hooks_at(work.spec, at, component, is_there=is_there)
    return await jobs_succeeded(work, (hooks.hook_job(hook, work.spec, place) for hook in due))


async def jobs_succeeded(work: Work, wanted: Iterable[HookJob]) -> bool:
    """Run Jobs, one after the other. Return whether all have succeeded. Raises: Failed as `hooks_succeeded`."""
    for hook in wanted:
        record = hooks.record_of(work.status, hook) or await _start(work, hook)
        if record is not None and record.state is HookState.RUNNING:
            record = await _look(work, hook, record)
        if record is None or record.state is HookState.RUNNING:
            return False
        if record.state is not HookState.SUCCEEDED:
            raise Failed(hook.reason, _why(hook, record))
    return True


async def ask_for_hooks(work: Work, probes: Iterable[HookJob] = ()) -> None:
    """Have the API server judge the Jobs of all hooks. Raises: Failed (PreflightFailed, QuotaExceeded) with the hook's name."""
    place = place_of(work)
    for hook in (*(hooks.hook_job(hook, work.spec, place) for hook in work.spec.hooks), *probes):
        try:
            await work.ports.cluster.create(JOB, work.ledger.as_sent(hooks.job_body(hook, place)), dry_run=True)
        except AlreadyExists as fault:
            if hooks.record_of(work.status, hook) is None and not work.ledger.of(_document(work, hook).ref):
                raise Failed(FailReason.PREFLIGHT_FAILED, f"{hook.called}: {_taken(hook)}") from fault
        except Fault as fault:
            meaning = lasting(fault, work.namespace)
            if isinstance(meaning, Failed):
                raise Failed(meaning.reason, f"dry-run of {hook.called}: {meaning.message}") from fault
            raise meaning from fault


async def ready_to_go_back(work: Work) -> bool:
    """End what still runs of the way forward, then run the OnRollback hooks, if anything of ours has reached the tenant at all.

    Return whether the workloads may go back. Raises: Failed (HookFailed).
    """
    for document in job_documents(work):
        await work.settle(document)
        _give_up(work, document)
        if not _is_for_rollback(work, document) and not await _is_over(work, document):
            await work.handle.save()
            return False
    reached = any(
        intent.direction is Direction.FORWARD and intent.state in (IntentState.LANDED, IntentState.REVERTED)
        for intent in work.status.intents
    )
    for document in job_documents(work):
        work.ledger.reverted(document.ref)
    return not reached or await hooks_succeeded(work, HookTime.ON_ROLLBACK)


def forward_jobs(work: Work, probes: Iterable[HookJob]) -> list[HookJob]:
    """Return the Jobs of the way forward: hooks in list order, then probes."""
    place = place_of(work)
    return [hooks.hook_job(hook, work.spec, place) for hook in work.spec.hooks if hook.at is not HookTime.ON_ROLLBACK] + list(probes)


def probes_of(work: Work, component: Component, targets: Iterable[Body]) -> list[HookJob]:
    """Return the Jobs that prove a component's objects beyond their status: one for each CronJob with `probe`."""
    driver, place, timeout = work.driver_of(component), place_of(work), work.spec.health.timeout
    found = [(str(raw["metadata"]["name"]), driver.probe(component, raw)) for raw in targets]
    return [hooks.probe_job(component, name, template, timeout, place) for name, template in found if template is not None]


def job_documents(work: Work) -> list[JobDocument]:
    """Return the Jobs that this run has created, or may have."""
    return [JobDocument(work.namespace, ref.name) for ref in work.ledger.touched() if ref.kind == JOB.name]


async def let_job_go(work: Work, document: JobDocument) -> None:
    """Take our marker off a Job, and let it clean itself up a day after its end: until then its logs can be read."""
    for _ in range(TRIES):
        raw = await work.ledger.get(document)
        if raw is None or not work.ledger.is_marked(raw):
            _give_up(work, document)
            return
        if not hooks.view_of(raw).is_let_run:  # it arrived late, or was never needed: it would wait for ever
            await _delete(work, raw)
            return
        change: dict[str, Any] = {"metadata": {"annotations": {INTENT_ANNOTATION: None}}} | hooks.parting()
        try:
            await work.ports.cluster.merge_patch(
                JOB, work.namespace, document.name, change, resource_version=raw["metadata"]["resourceVersion"]
            )
        except Conflict:
            continue
        except NotFound:
            return
        return
    raise Conflict(f"Job {document.name} is being changed all the time; its marker comes off at the next look")


def place_of(work: Work) -> Place:
    """Return whose Jobs they are."""
    return hooks.place_of(work.upgrade, work.namespace, work.version, work.status)


# Start and end


async def _start(work: Work, hook: HookJob) -> HookRecord | None:
    """Create the Job and write it down. Return None where one of an earlier attempt still runs: two of them would work on the same data.

    An irreversible one is past return from here on, before it is let run.
    """
    if len(work.status.hooks) >= MAX_HOOK_RECORDS and all(one.name != hook.name for one in work.status.hooks):
        raise Failed(hook.reason, f"{hook.called}: more than {MAX_HOOK_RECORDS} Jobs in one tenant; use fewer hooks and probes")
    if await _another_runs(work, hook):
        return None
    document, place = _document(work, hook), place_of(work)

    async def wanted(raw: dict[str, Any] | None, live: AsCreated | None) -> AsCreated | Unchanged | None:
        if raw is None:
            return hooks.job_body(hook, place)
        if work.ledger.is_marked(raw) or (_is_ours(work, raw) and work.ledger.of(document.ref)):
            return UNCHANGED
        raise Failed(hook.reason, f"{hook.called}: {_taken(hook)}")

    direction = Direction.ROLLBACK if hook.at is HookTime.ON_ROLLBACK else Direction.FORWARD
    await work.ledger.write(document, wanted, direction=direction, component=hook.component)
    if hook.is_irreversible and not work.status.forward_only:
        work.handle.stage(forward_only=f"the irreversible hook {hook.name} was started at {work.now():%Y-%m-%dT%H:%M:%SZ} (Job {hook.job})")
    work.ledger.adopt(document.ref)
    record = hooks.started(hook, work.now())
    await _record(work, record)
    return record


async def _look(work: Work, hook: HookJob, record: HookRecord) -> HookRecord:
    """Find out what became of a Job that was started, and write it down."""
    document, now = _document(work, hook), work.now()
    raw = await work.ledger.get(document)
    if raw is None or not _is_ours(work, raw):
        await work.check_namespace()
        record = hooks.ended(record, HookState.UNKNOWN, "its Job vanished before it had a result; what it did is not known", now)
    else:
        seen = hooks.view_of(raw)
        due = hooks.due_time(work.spec, record, seen, work.seen_since, now)
        if seen.state is not HookState.RUNNING:
            record = hooks.ended(record, seen.state, seen.message, now)
        elif not seen.is_let_run:
            await _let_run(work, document, raw)
            return record
        elif due is not None and now >= due and not work.is_shaken:
            await _delete(work, raw, if_unchanged=True)  # it may have its result since we looked: Conflict
            record = hooks.ended(record, HookState.FAILED, hooks.overdue_message(raw), now)
        else:
            return record
    await _record(work, record)
    return record


async def _let_run(work: Work, document: JobDocument, raw: Body) -> None:
    """Let a Job run that the journal knows of. Its controller writes to it, too, so a few tries may be needed."""
    for _ in range(TRIES):
        version = raw["metadata"]["resourceVersion"]
        try:
            change = hooks.let_run(work.now())
            await work.ports.cluster.merge_patch(JOB, work.namespace, document.name, change, resource_version=version)
        except Conflict:
            again = await work.ledger.get(document)
            if again is None or hooks.view_of(again).is_let_run:
                return
            raw = again
            continue
        except NotFound:
            return
        return
    raise Conflict(f"Job {document.name} is being changed all the time; it is let run at the next look")


async def _record(work: Work, record: HookRecord) -> None:
    work.handle.stage(hooks=hooks.with_record(work.status.hooks, record))
    await work.handle.save()


async def _another_runs(work: Work, hook: HookJob) -> bool:
    """Tell whether a Job of an earlier attempt still runs in the tenant, and show that. One that has outlived its deadline is ended."""
    for document in job_documents(work):
        raw = await work.ledger.get(document) if document.name != hook.job else None
        if raw is None or not _runs(work, raw):
            continue
        if hooks.is_overdue(raw, work.seen_since, work.now()) or not hooks.view_of(raw).is_let_run:
            await _delete(work, raw)
        work.handle.stage(message=f"{hook.called} waits for Job {document.name} of an earlier attempt to end")
        await work.handle.save()
        return True
    return False


async def _remove_strays(work: Work) -> None:
    """Delete Jobs of runs that are over whose create arrived only then: suspended, with a marker, and in nobody's journal.

    Costs nothing where the cache shows none. Before anything is deleted the TenantRun is moved: so the lock is still ours, and no other run
    has begun since the Job was read.
    """
    known = {document.name for document in job_documents(work)}
    for seen in tuple(work.tenant.hook_jobs.values()):
        raw = await work.ledger.get(JobDocument(work.namespace, seen.name)) if not seen.is_let_run and seen.name not in known else None
        if raw is not None and hooks.is_stray(raw, place_of(work)):
            await work.fence()
            await _delete(work, raw, if_unchanged=True)


async def _is_over(work: Work, document: JobDocument) -> bool:
    """End a Job of the way forward that still runs. Return whether it is over, and its pods with it."""
    raw = await work.ledger.get(document)
    if raw is not None and _is_ours(work, raw):
        work.ledger.adopt(document.ref)
    if raw is not None and _runs(work, raw):
        await _delete(work, raw)
        return False
    record = next((one for one in work.status.hooks if one.job == document.name), None)
    if record is None or record.state is not HookState.RUNNING:
        return True
    pods, _ = await work.ports.cluster.list(POD, work.namespace, f"job-name={document.name}")
    if any((pod.get("status") or {}).get("phase") not in ("Succeeded", "Failed") for pod in pods):
        return False
    seen = hooks.view_of(raw) if raw is not None else None
    state = seen.state if seen is not None else HookState.FAILED
    await _record(work, hooks.ended(record, state, seen.message if seen is not None else "stopped, for the tenant goes back", work.now()))
    return True


def _runs(work: Work, raw: Body) -> bool:
    """Tell whether a Job is ours and has no result yet."""
    return _is_ours(work, raw) and hooks.view_of(raw).state is HookState.RUNNING


def _is_ours(work: Work, raw: Body) -> bool:
    """Tell whether a Job is of this TenantRun: by its marker, or by its labels where somebody has taken that off."""
    return work.ledger.is_marked(raw) or hooks.is_of(raw, place_of(work))


async def _delete(work: Work, raw: Body, *, if_unchanged: bool = False) -> None:
    """Delete a Job. Raises: Conflict where it has changed since it was read, and that matters: look again."""
    metadata = raw["metadata"]
    version = metadata["resourceVersion"] if if_unchanged else ""
    try:
        await work.ports.cluster.delete(JOB, work.namespace, metadata["name"], uid=metadata["uid"], resource_version=version)
    except NotFound:
        return


def _give_up(work: Work, document: JobDocument) -> None:
    """Stage that what has not arrived by now is not waited for any longer: the tenant's turn ends, or goes another way."""
    for intent in work.ledger.of(document.ref):
        if intent.state is IntentState.ISSUED:
            work.handle.stage_intent(intent.model_copy(update={"state": IntentState.SUPERSEDED}))


def _is_for_rollback(work: Work, document: JobDocument) -> bool:
    return all(intent.direction is Direction.ROLLBACK for intent in work.ledger.of(document.ref))


def _document(work: Work, hook: HookJob) -> JobDocument:
    return JobDocument(work.namespace, hook.job)


def _taken(hook: HookJob) -> str:
    return f"there is a Job {hook.job} that this run has not made; delete it, then Retry"


def _why(hook: HookJob, record: HookRecord) -> str:
    return f"{hook.called} ({hook.at}): Job {record.job}: {record.message}; look at its log and mend it, then Retry"
