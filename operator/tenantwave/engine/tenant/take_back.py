"""The way back: components in reverse, each with its configuration first, by a merge that keeps every later edit; then verified."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta
from itertools import pairwise
from typing import Any, TypeVar

from tenantwave.api.action import Resolution
from tenantwave.api.conditions import FailReason
from tenantwave.api.kinds import CONFIG_MAP, JOB, POD
from tenantwave.api.meta import ObjectRef
from tenantwave.api.tenant_run import Direction, Intent, IntentState, TenantState
from tenantwave.core import blobs, tenant_run
from tenantwave.core.preservation import Conflict as MergeConflict
from tenantwave.core.preservation import same_configuration
from tenantwave.core.world import Progress
from tenantwave.engine.tenant.close import let_go
from tenantwave.engine.tenant.documents import AnyDocument, ConfigDocument, Document, WorkloadDocument
from tenantwave.engine.tenant.failure import Busy, Failed
from tenantwave.engine.tenant.hooks import ready_to_go_back
from tenantwave.engine.tenant.intents import UNCHANGED, Unchanged, marker_of
from tenantwave.engine.tenant.listing import drop_taken_back, overwritten, show_way_back
from tenantwave.engine.tenant.merging import aside
from tenantwave.engine.tenant.remaining import remaining
from tenantwave.engine.tenant.secrets import compare, put_back
from tenantwave.engine.tenant.versions import user_elsewhere
from tenantwave.engine.tenant.work import Work
from tenantwave.faults import Conflict, NotFound
from tenantwave.ports import Body

T = TypeVar("T")

ON_ITS_WAY = timedelta(seconds=75)
"""So long a request may be on its way. An API server gives it up after 60 s, unless it is told another `--request-timeout`."""


async def take_back(work: Work) -> None:
    """Take back what this run wrote, as far as it is still as we wrote it; where that cannot be finished, tell what is left."""
    try:
        await _go_back(work)
    except Failed:
        work.handle.stage(differences=await remaining(work))
        raise
    if work.status.state is TenantState.ROLLBACK_FAILED:
        work.handle.stage(differences=await remaining(work))
        await work.handle.save()


async def _go_back(work: Work) -> None:
    """Take everything back, and verify it. Returns before the end where pods must come up first."""
    await work.check_namespace()
    documents = {_name(ref): await work.written(ref) for ref in work.ledger.touched() if ref.kind != JOB.name}
    await _have_lock(work, documents)
    for document in documents.values():
        if any(intent.state is IntentState.ISSUED for intent in work.ledger.of(document.ref)):
            await work.settle(document, by_order=True if _is_ordered(work) else None)
    if not await ready_to_go_back(work):
        return
    if any(work.ledger.standing(ref) for ref in work.ledger.touched()):
        await put_back(work, is_forced=_is_forced(work), is_last=False)  # before the workloads: their pods do not start without
    if not await _go_back_in_order(work, documents):
        return
    for name in _created(work):
        await _delete_created(work, documents[name])
    await work.handle.save()
    await put_back(work, is_forced=_is_forced(work), is_last=True)
    if _may_still_be_created(work):
        return
    for document in documents.values():
        await _verify(work, document)
    drop_taken_back(work)
    await compare(work)
    await work.fence()  # the next attempt has the same lock: it may have begun since this was decided
    landed = any(intent.state is IntentState.REVERTED for intent in work.status.intents)
    if landed:
        await _move_record_back(work)
    await let_go(work)
    now = work.now()
    if work.step.outcome is not None:
        await work.end(work.step.outcome)
        return
    cause = work.status.take_back.cause if work.status.take_back is not None else work.status.reason
    text = (
        f"taken back to {work.status.from_version or 'what ran before'}; {work.status.message}"
        if landed
        else f"nothing had been written; {work.status.message}"
    )
    if left := [document.ref.name for name, document in documents.items() if name in _created(work) and await _is_needed(work, document)]:
        text = f"{text}; {', '.join(left)} stays, for a workload of the tenant has begun to use it"
    status = tenant_run.to(work.status, TenantState.ROLLED_BACK, cause, text, now, completion_time=now)
    ended = {"rolled_back_version": _version(work) if landed else status.rolled_back_version, "forward_only": ""}
    await work.handle.save(status.model_copy(update=ended))


async def _go_back_in_order(work: Work, documents: dict[tuple[str, str], AnyDocument]) -> bool:
    """Take the components back, last written first, and tell whether all run again.

    Each waits for the one before it; but not for one that does not come up, once the deadline has passed or a person has said that the
    tenant goes back: of what does not start, at least nothing else is to stay on the release.
    """
    in_turn = work.status.state is not TenantState.ROLLBACK_FAILED and not _is_ordered(work)
    all_run = True
    for group in _groups(work):
        for document in [documents[name] for name in group]:
            if work.ledger.standing(document.ref):
                await _write_back(work, document)
        await work.handle.save()
        for document in [documents[name] for name in group]:
            if isinstance(document, WorkloadDocument) and not await _runs_again(work, document):
                all_run = False
        if in_turn and not all_run:
            return False
    return all_run


def _may_still_be_created(work: Work) -> bool:
    """Tell whether an object may still come to be by a create of ours whose answer was lost.

    There is no object whose version could be moved, so nothing keeps it from arriving: the proof waits until the API server has given it up.
    A hook's Job arrives suspended, and never runs.
    """
    order = work.status.take_back
    is_open = any(one.state is IntentState.ISSUED and not one.uid and one.target.kind != JOB.name for one in work.status.intents)
    return is_open and order is not None and work.now() < order.time + ON_ITS_WAY


def _is_ordered(work: Work) -> bool:
    """Tell whether a person has looked and said by Resolve that the tenant goes back: then what cannot be told counts as written by us."""
    return work.step.overwrite_later_edits or work.status.resolution in (Resolution.ROLLBACK, Resolution.FORCE_PRE_IMAGE)


def _is_forced(work: Work) -> bool:
    """Tell whether a person has ordered that what was saved goes over later edits, too."""
    return work.step.overwrite_later_edits or work.status.resolution is Resolution.FORCE_PRE_IMAGE


def _groups(work: Work) -> list[list[tuple[str, str]]]:
    """Return the objects to take back, component by component, last written first; in each its configuration first, then its version.

    ConfigMaps that we created are not among them: they go last of all, when no pod template needs them.
    """
    order: dict[str, list[Intent]] = {}
    created = _created(work)
    for intent in work.status.intents:
        if intent.direction is Direction.FORWARD and intent.target.kind != JOB.name and _name(intent.target) not in created:
            order.setdefault(intent.component, []).append(intent)
    groups = []
    for intents in reversed(list(order.values())):
        names = list(dict.fromkeys(_name(intent.target) for intent in intents))
        groups.append(sorted(names, key=lambda name: name[0] != "ConfigMap"))
    return groups


def _created(work: Work) -> list[tuple[str, str]]:
    """Return the ConfigMaps that were not there before our first write to them."""
    first = {_name(intent.target): intent for intent in reversed(work.status.intents) if intent.state is not IntentState.SUPERSEDED}
    return [name for name, intent in first.items() if intent.target.kind == CONFIG_MAP.name and not intent.before]


async def _delete_created(work: Work, document: AnyDocument) -> None:
    """Delete a ConfigMap that we created, as far as it is still as we made it. A version that a pod template refers to stays."""
    if not work.ledger.standing(document.ref):
        return
    if await _is_needed(work, document):
        work.ledger.reverted(document.ref)
    else:
        await _write_back(work, document)


async def _is_needed(work: Work, document: Document[Any]) -> bool:
    return isinstance(document, ConfigDocument) and bool(document.target) and bool(await user_elsewhere(work, document.name, ()))


async def _have_lock(work: Work, documents: dict[tuple[str, str], AnyDocument]) -> None:
    """Have the lock, also where the run had ended and released it. Raises Failed if another run has landed since."""
    if await work.lock.is_ours():
        return
    try:
        await work.lock.take(work.is_marked)
    except Busy as busy:
        raise Failed(FailReason.FOREIGN_VERSION_CHANGE, f"it cannot be taken back: {busy.message}") from busy
    for document in documents.values():
        if marker_of(await _get(work, document)).startswith(f"{work.handle.uid}/"):
            return
    record, stored = await work.records.read(work.product, work.namespace_uid)
    if stored is not None and record.writer != work.handle.uid and any(one.state is IntentState.LANDED for one in work.status.intents):
        await work.lock.release()
        text = f"another run has moved {work.product} to {record.now.version} since; take that one back first, or Resolve"
        raise Failed(FailReason.FOREIGN_VERSION_CHANGE, text)


async def _get(work: Work, document: AnyDocument) -> dict[str, Any] | None:
    try:
        return await work.ports.cluster.get(document.kind, work.namespace, document.ref.name)
    except NotFound:
        return None


async def _write_back(work: Work, document: Document[T]) -> None:
    """Send one object back to its goal, later edits kept, unless it is there already."""

    async def wanted(raw: dict[str, Any] | None, live: T | None) -> T | Unchanged | None:
        standing = work.ledger.standing(document.ref)
        if not standing:
            return UNCHANGED
        _refuse_recreated(work, document, standing[-1], raw)
        goal: T | None = await work.ledger.goal(document, standing[-1])
        after: T | None = await work.ledger.part(document, standing[-1].after)
        aim: T | None = await _aim_of(work, document, standing, after, live, goal)
        if (aim is None) == (live is None) and not document.fields(live, aim):
            work.ledger.reverted(document.ref)
            return UNCHANGED
        _refuse_immutable(document, live, aim)
        return aim

    async def saved() -> Body | None:
        return await _saved(work, document.ref)

    component = work.ledger.of(document.ref)[0].component
    result = await work.ledger.write(document, wanted, direction=Direction.ROLLBACK, component=component, saved=saved)
    if result is None and work.ledger.standing(document.ref):
        work.ledger.reverted(document.ref)


async def _aim_of(work: Work, document: AnyDocument, standing: Sequence[Intent], after: Any, live: Any, goal: Any) -> Any:
    """Return what is left of an object by a rollback; what a ConfigMap keeps of later edits, or loses by order, is listed."""
    is_forced = work.step.overwrite_later_edits
    if not isinstance(document, ConfigDocument):
        return goal if is_forced else await aside(document.back, after, live, goal)
    settled: list[tuple[MergeConflict, str]] = []
    notes: tuple[str, ...] = ()
    for earlier, later in pairwise(standing):  # what was edited between two writes has become part of the goal
        three = await work.ledger.part(document, earlier.after), await work.ledger.part(document, later.before)
        between = await aside(document.merged_back, *three, await work.ledger.goal(document, earlier))
        settled += [(one, earlier.goal or earlier.before) for one in between.settled]
    result = await aside(document.merged_back, after, live, goal)
    forced: list[tuple[MergeConflict, str]] = []
    if is_forced:
        saved = blobs.digest_of(document.pack(live)) if live is not None else ""
        forced = [(one, saved) for one in overwritten(document.subject.config_map, after, live, result.content, goal)]
    else:
        settled += [(one, standing[-1].goal or standing[-1].before) for one in result.settled]
        notes = result.notes
    show_way_back(work, document.subject.config_map, settled, forced, notes)
    return goal if is_forced else result.content


def _refuse_immutable(document: AnyDocument, live: Any, aim: Any) -> None:
    """Raise Failed where the tenant has made a ConfigMap immutable since we wrote it: no write puts its content back under its name."""
    if not isinstance(document, ConfigDocument) or live is None or aim is None or not live.immutable:
        return
    if not same_configuration(live, aim) or not aim.immutable:
        text = f"ConfigMap {document.name} was made immutable since, so it cannot go back"
        mend = "delete it and create it again without `immutable`, with the content that it has, then Resolve with Rollback"
        raise Failed(FailReason.CONFIG_CONFLICT, f"{text}; {mend}")


def _refuse_recreated(work: Work, document: Document[T], intent: Intent, raw: Body | None) -> None:
    if document.kind == CONFIG_MAP or raw is None or _is_ordered(work):
        return
    if raw["metadata"].get("uid") != intent.uid:
        text = f"{document.kind.name} {document.ref.name} has another uid than when we wrote it; check it, then Resolve"
        raise Failed(FailReason.RECREATED, text)


async def _saved(work: Work, ref: ObjectRef) -> Body | None:
    """Return an object as the snapshot has it: what it carried besides its content."""
    snapshot = next((one for one in work.status.snapshots if (one.kind, one.name) == (ref.kind, ref.name)), None)
    return None if snapshot is None else blobs.parsed(await work.ports.snapshots.load(snapshot.digest))


async def _runs_again(work: Work, document: WorkloadDocument) -> bool:
    """Tell whether a workload that was taken back has converged, with a Ready pod of what it runs now.

    Raises: Failed where the object is gone.
    """
    if not any(intent.state is IntentState.REVERTED for intent in work.ledger.of(document.ref)):
        return True
    raw = await _get(work, document)
    if raw is None:
        raise Failed(FailReason.DELETED, f"{document.kind.name} {document.name} is gone; create it again, then Resolve")
    driver, selector = document.driver, document.driver.pods_selector(raw)
    progress, _ = driver.progress(raw)
    if progress is Progress.CONVERGED and (driver.is_idle(raw) or not selector):
        return True
    pods, _version = await work.ports.cluster.list(POD, work.namespace, selector) if selector else ([], "")
    if progress is not Progress.CONVERGED:
        for name in driver.stuck_pods(raw, pods):
            pod = next(pod for pod in pods if pod["metadata"]["name"] == name)
            try:
                await work.ports.cluster.delete(POD, work.namespace, name, uid=pod["metadata"]["uid"])
            except NotFound:
                continue
        return False
    return not driver.exercised(raw, pods, document.paths)


async def _verify(work: Work, document: Document[T]) -> None:
    """Prove that every path of ours is at its goal or is a later edit. Raises Conflict where a write of ours has arrived late."""
    raw = await work.ledger.bar(document, by_order=True if _is_ordered(work) else None)
    if work.ledger.standing(document.ref):
        await work.handle.save()
        raise Conflict(f"a write to {document.kind.name} {document.ref.name} arrived late; it is taken back at the next look")
    forward = [one for one in work.ledger.of(document.ref) if one.direction is Direction.FORWARD and one.state is IntentState.REVERTED]
    if not forward:
        return
    live = document.read(raw)
    goal: T | None = await work.ledger.goal(document, forward[-1])
    after: T | None = await work.ledger.part(document, forward[-1].after)
    if goal is None and live is not None and await _is_needed(work, document):
        return  # a version that somebody has begun to use stays; once nobody does, the end of a later upgrade deletes it
    aim = await aside(document.back, after, live, goal)
    if left := document.fields(live, aim):
        text = f"{document.kind.name} {document.ref.name}{left[0]} shows the release's value again; find who writes it, then Resolve"
        raise Failed(FailReason.AMBIGUOUS, text)


async def _move_record_back(work: Work) -> None:
    record, stored = await work.records.read(work.product, work.namespace_uid)
    moved = record.moved_back(_version(work), work.status.from_version, work.status.run, work.handle.uid, work.now())
    await work.records.write(work.product, work.namespace, work.namespace_uid, moved, stored)


def _version(work: Work) -> str:
    """Return which version is taken back: what this run brought, whatever the spec asks for by now."""
    return work.status.to_version or work.version


def _name(ref: ObjectRef) -> tuple[str, str]:
    return ref.kind, ref.name
