"""Preflight: lock, owners, snapshots, all merges, server checks. Whatever ends here has written nothing to the tenant."""

from __future__ import annotations

from collections.abc import Iterable

from tenantwave.api.conditions import RunReason, WaitReason
from tenantwave.api.kinds import CONFIG_MAP, JOB
from tenantwave.api.profile import PreservedConfig
from tenantwave.api.tenant_run import Intent, IntentState, PlannedObject, SnapshotRef, TenantPlan, TenantRunStatus, TenantState
from tenantwave.core import blobs, preservation, tenant_run
from tenantwave.core.advice import SELF_MENDING
from tenantwave.core.preservation import MergeResult
from tenantwave.engine.tenant.checks import ask_the_server, check, check_room
from tenantwave.engine.tenant.close import let_go
from tenantwave.engine.tenant.drafting import CREATE, KEEP, UPDATE, Draft, draft_of
from tenantwave.engine.tenant.failure import Busy, Failed, NamespaceGone, lasting
from tenantwave.engine.tenant.hooks import forward_jobs, probes_of
from tenantwave.engine.tenant.listing import show_conflicts, show_failure, show_plan
from tenantwave.engine.tenant.secrets import check_rights, compare, record
from tenantwave.engine.tenant.work import Work
from tenantwave.faults import Forbidden, Invalid, SnapshotCorrupt

MAX_PRESERVED = 32

_SAYS_LITTLE = frozenset({IntentState.SUPERSEDED, IntentState.REVERTED})


async def preview(work: Work) -> None:
    """Say what would be done and what stands against it; write nothing but the TenantRun.

    It asks all that a preflight asks, dry-runs included: a tenant held with nothing written queues up again when what held it is mended, and
    of a suspended upgrade people see before its start what they have to settle.
    """
    if work.status.state is TenantState.HELD and work.status.reason not in SELF_MENDING:
        return
    try:
        draft = await _checked_draft(work)
    except Failed as failure:
        if work.is_shaken and isinstance(failure.__cause__, Forbidden):
            raise  # it may be allowed in a second
        show_failure(work, failure)
        if work.status.state is TenantState.HELD:
            await work.handle.save(tenant_run.to(work.status, TenantState.HELD, failure.reason, failure.message, work.now()))
        else:
            work.handle.stage(preview=None, preview_problem=f"{failure.reason}: {failure.message}"[:1024])
            await work.handle.save()
        return
    if work.status.state is TenantState.HELD:
        show_conflicts(work, ())
        text = "what held the tenant is mended; it is planned again"
        await work.handle.save(tenant_run.to(work.status, TenantState.QUEUED, RunReason.PLANNED, text, work.now()))
        return
    show_plan(work, _listed(draft, ()), draft.notes)
    work.handle.stage(preview=_plan(work, draft), preview_problem="", preserved=_preserved(draft), conflicts=(), conflict_count=0)
    await work.handle.save()


async def _checked_draft(work: Work) -> Draft:
    """Return what would be written. Raises Failed for whatever stands against it, a read that is refused as well."""
    try:
        draft = await draft_of(work)
        check(work, draft)
        await check_rights(work, draft.secrets)
        await compare(work)
        check_room(work, draft, await _intents_needed(work))
        await ask_the_server(draft, work)
    except (Forbidden, Invalid, SnapshotCorrupt) as fault:
        raise lasting(fault, work.namespace) from fault
    return draft


async def prepare(work: Work) -> None:
    """Take the tenant, prove that the run can go forwards and back, save everything, and fix the plan."""
    try:
        await work.lock.take(work.is_marked)
    except Busy as busy:
        waiting = tenant_run.to(work.status, TenantState.WAITING, WaitReason.TENANT_BUSY, busy.message, work.now())
        await work.handle.save(waiting)
        return
    await work.check_namespace()
    for ref in work.ledger.touched():
        await work.settle(await work.written(ref), by_order=False)
    work.handle.stage(intents=await _intents_needed(work))
    draft = await draft_of(work)
    check(work, draft)
    check_room(work, draft, work.status.intents)
    await ask_the_server(draft, work)
    await record(work, draft.secrets)
    snapshots = await _save_objects(work, draft)
    show_plan(work, _listed(draft, snapshots), draft.notes)
    work.handle.stage(
        plan=_plan(work, draft),
        snapshots=snapshots,
        preserved=_preserved(draft),
        conflicts=(),
        conflict_count=0,
        preview=None,
        preview_problem="",
        component=0,
        epoch=work.status.epoch + 1,
        applied_time=None,
        converged_time=None,
    )
    text = f"{sum(one.action != KEEP for one in draft.configs)} ConfigMaps and {len(draft.workloads)} workloads are to be written"
    text += f", {len(work.spec.hooks)} hooks around them" if work.spec.hooks else ""
    await work.handle.save(tenant_run.to(work.status, TenantState.APPLYING, RunReason.IN_PROGRESS, text, work.now()))


async def hold_before_writing(work: Work, status: TenantRunStatus) -> None:
    """End a preflight without a write: the lock goes first, so that a crash leaves a preflight that starts over.

    What refuses our writes may refuse to take our markers off, too. Then they stay, and the tenant is held all the same, for nothing else
    would ever say so.
    """
    await work.lock.look()
    await work.fence()  # the lock is the run's, whoever took it: another process may be writing under it by now
    try:
        await let_go(work)
    except (Forbidden, Invalid) as fault:
        if isinstance(meaning := lasting(fault, work.namespace), NamespaceGone):
            raise meaning from fault
        await work.lock.release()
    await work.end(status)


async def _intents_needed(work: Work) -> tuple[Intent, ...]:
    """Return what of the journal the attempt that begins still needs: all else would take the places of its writes. Jobs are let go at the end."""
    dropped: set[int] = set()
    for ref in work.ledger.touched():
        known = work.ledger.of(ref)
        may_go = any(one.state in _SAYS_LITTLE for one in known) or len(work.ledger.standing(ref)) > 2
        if may_go and ref.kind != JOB.name:
            needed = await work.ledger.needed_later(await work.written(ref))
            dropped |= {one.seq for one in known} - {one.seq for one in needed}
    return tuple(one for one in work.status.intents if one.seq not in dropped)


async def _save_objects(work: Work, draft: Draft) -> tuple[SnapshotRef, ...]:
    """Save every object that will be written and every preserved ConfigMap; the index is written by the caller, last.

    What an earlier attempt saved of objects that it has written stays: it is from before that write.
    """
    kept = {
        (one.kind, one.name): one
        for one in work.status.snapshots
        if any(
            intent.state is IntentState.LANDED and (intent.target.kind, intent.target.name) == (one.kind, one.name)
            for intent in work.status.intents
        )
    }
    for kind, name, raw, _ in draft.present():
        if (kind.name, name) in kept:
            continue
        saved = await work.ports.snapshots.save(blobs.canonical(raw))
        kept[(kind.name, name)] = SnapshotRef(
            api_version=kind.api_version,
            kind=kind.name,
            namespace=work.namespace,
            name=name,
            uid=raw["metadata"].get("uid", ""),
            resource_version=raw["metadata"].get("resourceVersion", ""),
            digest=saved.digest,
            chunks=saved.chunks,
        )
    return tuple(kept[key] for key in sorted(kept))


def _plan(work: Work, draft: Draft) -> TenantPlan:
    objects = (*_planned_objects(draft), *_planned_jobs(work, draft))
    return TenantPlan(digest=blobs.digest_of(blobs.canonical([one.document() for one in objects])), objects=objects)


def _planned_objects(draft: Draft) -> Iterable[PlannedObject]:
    for one in draft.configs:
        document, before, after = one.written, one.document.read(one.raw), one.result.content
        yield PlannedObject(
            api_version=document.kind.api_version,
            kind=document.kind.name,
            namespace=document.tenant,
            name=document.name,
            component=one.component,
            action=one.action,
            target=document.target,
            origin=one.document.name if one.version is not None else "",
            before=blobs.digest_of(document.pack(before)) if before is not None else "",
            after=blobs.digest_of(document.pack(after)) if after is not None else "",
            summary=f"dropped, but stays as long as {one.user} needs it"
            if one.user
            else f"{len(document.fields(before, after))} changes, {one.result.kept_count} kept, {one.result.merged_count} merged",
        )
    for planned in draft.workloads:
        document_, before_, after_ = planned.document, planned.before, planned.after
        images = [path for path in document_.fields(before_, after_) if path.endswith("/image")]
        yield PlannedObject(
            api_version=document_.kind.api_version,
            kind=document_.kind.name,
            namespace=document_.tenant,
            name=document_.name,
            component=planned.component.name,
            action=UPDATE if document_.fields(before_, after_) else KEEP,
            before=blobs.digest_of(document_.pack(before_)),
            after=blobs.digest_of(document_.pack(after_)),
            summary="; ".join(f"{path.split('/')[-2]}: {before_[path]} -> {after_[path]}" for path in images)[:512],
        )


def _planned_jobs(work: Work, draft: Draft) -> Iterable[PlannedObject]:
    """Yield the Jobs that will run if all goes well."""
    for hook in forward_jobs(work, [probe for one in draft.workloads for probe in probes_of(work, one.component, [one.raw])]):
        last = ", past which it is not taken back" if hook.is_irreversible else ""
        yield PlannedObject(
            api_version=JOB.api_version,
            kind=JOB.name,
            namespace=work.namespace,
            name=hook.job,
            component=hook.component,
            action=CREATE,
            summary=f"{hook.called} ({hook.at}){last}",
        )


def _listed(draft: Draft, snapshots: Iterable[SnapshotRef]) -> list[tuple[MergeResult, str, str]]:
    """Return of each ConfigMap what its merge says, and the digests of what holds the tenant's and the release's content whole."""
    saved = {one.name: one.digest for one in snapshots if one.kind == CONFIG_MAP.name}
    return [(one.result, saved.get(one.document.name, ""), one.source.new) for one in draft.configs]


def _preserved(draft: Draft) -> tuple[PreservedConfig, ...]:
    return tuple(
        PreservedConfig(
            config_map=one.target,
            digest=preservation.digest(one.result.content),
            kept=one.result.kept_count,
            merged=one.result.merged_count,
        )
        for one in draft.configs[:MAX_PRESERVED]
        if one.result.content is not None
    )
