"""Preflight: lock, owners, snapshots, all merges, server checks. Whatever ends here has written nothing to the tenant."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from tenantwave.api.conditions import FailReason, RunReason, WaitReason
from tenantwave.api.kinds import Kind
from tenantwave.api.profile import PreservedConfig
from tenantwave.api.tenant_run import (
    MAX_CONFLICTS,
    Conflict,
    IntentState,
    PlannedObject,
    SnapshotRef,
    TenantPlan,
    TenantRunStatus,
    TenantState,
)
from tenantwave.api.upgrade import Component
from tenantwave.core import blobs, preservation, tenant_run
from tenantwave.core.ownership import managers_of, owner_of
from tenantwave.core.preservation import ConflictKind, MergeResult, why_too_large
from tenantwave.engine.tenant.close import let_go
from tenantwave.engine.tenant.configuration import Source, catalogue_of, config_digest, merged, preserved_names
from tenantwave.engine.tenant.documents import ConfigDocument, Values, WorkloadDocument
from tenantwave.engine.tenant.failure import Busy, Failed, lasting
from tenantwave.engine.tenant.work import Work
from tenantwave.faults import AlreadyExists, Fault, NotFound
from tenantwave.ports import Body

MAX_PRESERVED = 32
SHOWN = 256

CREATE, UPDATE, DELETE, KEEP = "Create", "Update", "Delete", "Keep"


@dataclass(frozen=True, slots=True)
class PlannedConfig:
    """One ConfigMap of the plan: the live object, and what the merge makes of it."""

    document: ConfigDocument
    component: str
    source: Source
    raw: dict[str, Any] | None
    result: MergeResult

    @property
    def action(self) -> str:
        """Return what the run does with it."""
        if self.result.is_unchanged or (self.result.content is None and self.raw is None):
            return KEEP
        if self.raw is None:
            return CREATE
        return DELETE if self.result.content is None else UPDATE


@dataclass(frozen=True, slots=True)
class PlannedWorkload:
    """One object of a component: the live object, and the values that it is to have."""

    document: WorkloadDocument
    component: Component
    raw: dict[str, Any]
    before: Values
    after: Values


@dataclass(frozen=True, slots=True)
class Draft:
    """All that a run will do in the tenant, from what is live now."""

    configs: tuple[PlannedConfig, ...]
    workloads: tuple[PlannedWorkload, ...]

    def present(self) -> list[tuple[Kind, str, dict[str, Any], bool]]:
        """Return the objects that are there: kind, name, the object, and whether the run writes it."""
        configs = [(one.document.kind, one.document.name, one.raw, one.action != KEEP) for one in self.configs if one.raw is not None]
        return configs + [(one.document.kind, one.document.name, one.raw, True) for one in self.workloads]


SELF_MENDING = frozenset(
    {
        FailReason.CONFIG_CONFLICT,
        FailReason.UNKNOWN_BASE,
        FailReason.OWNERSHIP_CONFLICT,
        FailReason.NOT_DRIVABLE,
        FailReason.UNVERIFIABLE,
        FailReason.QUOTA_EXCEEDED,
        FailReason.PREFLIGHT_FAILED,
    }
)
"""What a tenant with nothing written is held for and a look at it can find mended. The others wait for a person."""


async def preview(work: Work) -> None:
    """Say what would be done and what stands against it; write nothing but the TenantRun.

    A tenant held with nothing written queues up again when what held it is mended: so it is asked all that a preflight asks.
    """
    if work.status.state is TenantState.HELD and work.status.reason not in SELF_MENDING:
        return
    try:
        draft = await _draft(work)
        _check(work, draft)
        if work.status.state is TenantState.HELD:
            await _ask_the_server(draft, work)
    except Failed as failure:
        if work.status.state is TenantState.HELD:
            await work.handle.save(tenant_run.to(work.status, TenantState.HELD, failure.reason, failure.message, work.now()))
        else:
            work.handle.stage(preview=None)
            await work.handle.save()
        return
    if work.status.state is TenantState.HELD:
        work.handle.stage(conflicts=())
        text = "what held the tenant is mended; it is planned again"
        await work.handle.save(tenant_run.to(work.status, TenantState.QUEUED, RunReason.PLANNED, text, work.now()))
        return
    work.handle.stage(preview=_plan(draft), preserved=_preserved(draft), conflicts=())
    await work.handle.save()


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
    draft = await _draft(work)
    _check(work, draft)
    await _ask_the_server(draft, work)
    snapshots = await _save_objects(work, draft)
    work.handle.stage(
        plan=_plan(draft),
        snapshots=snapshots,
        preserved=_preserved(draft),
        conflicts=(),
        preview=None,
        component=0,
        epoch=work.status.epoch + 1,
        applied_time=None,
        converged_time=None,
    )
    text = f"{sum(one.action != KEEP for one in draft.configs)} ConfigMaps and {len(draft.workloads)} workloads are to be written"
    await work.handle.save(tenant_run.to(work.status, TenantState.APPLYING, RunReason.IN_PROGRESS, text, work.now()))


async def hold_before_writing(work: Work, status: TenantRunStatus) -> None:
    """End a preflight without a write: the lock goes first, so that a crash leaves a preflight that starts over."""
    await work.fence()  # the lock is the run's, whoever took it: another process may be writing under it by now
    await let_go(work)
    await work.handle.save(status)


async def _draft(work: Work) -> Draft:
    """Read everything live and plan all writes. Raises Failed for what can be told without merging."""
    found = [(component, raw) for component in work.spec.components for raw in await _objects(work, component)]
    if not found:
        raise Failed(
            FailReason.PREFLIGHT_FAILED, f"none of the components is in {work.namespace}; deploy the product, or deselect the tenant"
        )
    catalogue = catalogue_of(work)
    refers = {id(raw): work.driver_of(component).references(raw) for component, raw in found}
    live = await preserved_names(work, catalogue, {name for names in refers.values() for name in names})
    configs = []
    for name, raw in live.items():
        first = next((component for component, body in found if name in refers[id(body)]), found[0][0])
        document = work.config(name)
        result = await merged(work, document, catalogue[name], document.read(raw))
        configs.append(PlannedConfig(document, first.name, catalogue[name], raw, result))
    contents = {one.document.name: one.result.content for one in configs}
    workloads = [
        _planned_workload(work, component, raw, {name: contents[name] for name in contents if name in refers[id(raw)]})
        for component, raw in found
    ]
    return Draft(tuple(configs), tuple(workloads))


def _planned_workload(
    work: Work, component: Component, raw: dict[str, Any], contents: dict[str, preservation.ConfigMapContent | None]
) -> PlannedWorkload:
    driver, document = work.driver_of(component), work.workload(component, raw)
    before = document.read(raw) or {}
    after = dict(before) | dict(driver.values(component, work.namespace, work.version, raw))
    if (digest := config_digest(contents)) and (path := driver.config_digest_field(raw)):
        after[path] = digest
    return PlannedWorkload(document, component, raw, before, after)


async def _objects(work: Work, component: Component) -> list[dict[str, Any]]:
    """Return the live objects of one component, checked by its driver. Raises Failed."""
    driver = work.driver_of(component)
    objects = await live_objects(work, component)
    view = driver.view(component, work.namespace, work.version, objects)
    if not view.present:
        if component.optional:
            return []
        raise Failed(FailReason.PREFLIGHT_FAILED, f"{view.message}; deploy it, or mark the component optional")
    if view.refused is not None:
        raise Failed(*view.refused)
    if view.owner:
        text = f"{view.owner} and would write it back: use that tool's driver, delegate the field, or take the tenant out of the selector"
        raise Failed(FailReason.OWNERSHIP_CONFLICT, text)
    return [dict(raw) for raw in driver.targets(component, work.namespace, work.version, objects)]


async def live_objects(work: Work, component: Component) -> list[dict[str, Any]]:
    """Read what the component means from the API server."""
    driver, cluster = work.driver_of(component), work.ports.cluster
    kind = driver.kind(component)
    names = driver.names(component, work.namespace, work.version)
    if not names:
        found, _ = await cluster.list(kind, work.namespace, driver.selector(component))
        return [{"apiVersion": kind.api_version, "kind": kind.name} | raw for raw in found]
    objects = []
    for name in names:
        try:
            objects.append(await cluster.get(kind, work.namespace, name))
        except NotFound:
            continue
    return objects


def _check(work: Work, draft: Draft) -> None:
    """Raise Failed for the first thing that stands against the plan; conflicts are staged for the status, all of them."""
    for one in draft.configs:
        if one.raw is None or one.action == KEEP:
            continue
        fields = one.document.fields(one.document.read(one.raw), one.result.content)
        managers = {manager for field in fields for manager in managers_of(one.raw, field)}
        if owner := owner_of(one.raw, managers):
            text = f"{owner} overwrites ConfigMap {one.document.name}: delegate its keys, or move the edits to that tool's own object"
            raise Failed(FailReason.OWNERSHIP_CONFLICT, text)
    conflicts = [conflict for one in draft.configs for conflict in one.result.conflicts]
    work.handle.stage(conflicts=tuple(shown(conflict) for conflict in conflicts[:MAX_CONFLICTS]))
    if conflicts:
        unknown = all(conflict.kind is ConflictKind.UNKNOWN_BASE for conflict in conflicts)
        more = f" (and {len(conflicts) - 1} more)" if len(conflicts) > 1 else ""
        reason = FailReason.UNKNOWN_BASE if unknown else FailReason.CONFIG_CONFLICT
        raise Failed(reason, f"{conflicts[0].message}{more}; {conflicts[0].mend}")
    for one in draft.configs:
        refuse_immutable(one.document.name, one.raw, one.document.read(one.raw), one.result.content)
        if one.result.content is not None:
            annotations = ((one.raw or {}).get("metadata") or {}).get("annotations")
            if problem := why_too_large(one.document.name, one.result.content, annotations):
                raise Failed(FailReason.PREFLIGHT_FAILED, problem)


def refuse_immutable(
    name: str, raw: Body | None, before: preservation.ConfigMapContent | None, after: preservation.ConfigMapContent | None
) -> None:
    """Raise Failed (ConfigConflict, an ImmutableChange) if the write would change an immutable ConfigMap under its own name.

    It is never deleted and made again: kubelets keep the old one cached.
    """
    if raw is None or before is None or after is None or not raw.get("immutable"):
        return
    if not preservation.same_configuration(before, after) or not after.immutable:
        text = (
            f"{name} is immutable and {'its values change' if after.immutable else 'the release makes it mutable'}; make it mutable by hand"
        )
        raise Failed(FailReason.CONFIG_CONFLICT, f"{text} (delete it and create it again without `immutable`)")


async def _ask_the_server(draft: Draft, work: Work) -> None:
    """Have the API server judge every planned write, and the PUT of what is there: a newer policy might refuse the way back."""
    cluster, namespace = work.ports.cluster, work.namespace
    try:
        for kind, _, raw, is_written in draft.present():
            if is_written:
                await cluster.replace(kind, raw, dry_run=True)
        for one in draft.configs:
            after = one.result.content
            if one.action == CREATE and after is not None:
                await cluster.create(one.document.kind, one.document.body(after, None), dry_run=True)
            elif one.action == UPDATE and one.raw is not None and after is not None and (before := one.document.read(one.raw)) is not None:
                patch, _ = one.document.patch(one.raw, before, after)
                version = one.raw["metadata"]["resourceVersion"]
                await cluster.merge_patch(one.document.kind, namespace, one.document.name, patch, resource_version=version, dry_run=True)
        for planned in draft.workloads:
            patch, strategic = planned.document.patch(planned.raw, planned.before, planned.after)
            if patch:
                send = cluster.strategic_patch if strategic else cluster.merge_patch
                version = planned.raw["metadata"]["resourceVersion"]
                await send(planned.document.kind, namespace, planned.document.name, patch, resource_version=version, dry_run=True)
    except AlreadyExists:
        raise
    except Fault as fault:
        meaning = lasting(fault, namespace)
        if isinstance(meaning, Failed):
            raise Failed(meaning.reason, f"dry-run: {meaning.message}") from fault
        raise meaning from fault


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


def _plan(draft: Draft) -> TenantPlan:
    objects = tuple(_planned_objects(draft))
    return TenantPlan(digest=blobs.digest_of(blobs.canonical([one.document() for one in objects])), objects=objects)


def _planned_objects(draft: Draft) -> Iterable[PlannedObject]:
    for one in draft.configs:
        document, before, after = one.document, one.document.read(one.raw), one.result.content
        yield PlannedObject(
            api_version=document.kind.api_version,
            kind=document.kind.name,
            namespace=document.tenant,
            name=document.name,
            component=one.component,
            action=one.action,
            before=blobs.digest_of(document.pack(before)) if before is not None else "",
            after=blobs.digest_of(document.pack(after)) if after is not None else "",
            summary=f"{len(document.fields(before, after))} changes, {one.result.kept_count} kept, {one.result.merged_count} merged",
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


def _preserved(draft: Draft) -> tuple[PreservedConfig, ...]:
    return tuple(
        PreservedConfig(
            config_map=one.document.name,
            digest=preservation.digest(one.result.content),
            kept=one.result.kept_count,
            merged=one.result.merged_count,
        )
        for one in draft.configs[:MAX_PRESERVED]
        if one.result.content is not None
    )


def shown(conflict: preservation.Conflict) -> Conflict:
    """Return a conflict as the TenantRun shows it."""
    return Conflict(
        config_map=conflict.config_map,
        key=conflict.key or "",
        path=conflict.path[:512],
        kind=conflict.kind.value,
        base=(conflict.base or "")[:SHOWN],
        live=(conflict.live or "")[:SHOWN],
        new=(conflict.new or "")[:SHOWN],
        mend=conflict.mend[:512],
    )
