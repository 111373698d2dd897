"""Writing one component: its configuration first, then its version; and proving that the tenant runs it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from tenantwave.api.conditions import FailReason, RunReason
from tenantwave.api.kinds import CONFIG_MAP, POD
from tenantwave.api.tenant_run import PlannedObject, TenantState
from tenantwave.api.upgrade import Component, HookTime
from tenantwave.core import blobs, tenant_run
from tenantwave.core.config_versions import referred_target, version_name
from tenantwave.core.preservation import ConfigMapContent
from tenantwave.core.world import Progress
from tenantwave.engine.tenant.checks import refuse_immutable
from tenantwave.engine.tenant.configuration import Source, catalogue_of, config_digest, merged
from tenantwave.engine.tenant.documents import Values, WorkloadDocument
from tenantwave.engine.tenant.drafting import CREATE, DELETE, live_objects
from tenantwave.engine.tenant.failure import Failed, ImmutableChange
from tenantwave.engine.tenant.hooks import hooks_succeeded, jobs_succeeded, probes_of
from tenantwave.engine.tenant.intents import UNCHANGED, Unchanged
from tenantwave.engine.tenant.listing import show_conflicts, show_write
from tenantwave.engine.tenant.versions import names_standing, reference_names, refuse_another
from tenantwave.engine.tenant.work import Work
from tenantwave.faults import Conflict
from tenantwave.ports import Body

WRITES_AGAINST_AN_OWNER = 2
"""How often one object is written in a run where somebody sets the old value again: then it is his."""


async def apply(work: Work) -> None:
    """Write the current component's configuration and version. What has landed already is not written again."""
    component = work.spec.components[work.status.component]
    driver = work.driver_of(component)
    targets = driver.targets(component, work.namespace, work.version, await live_objects(work, component))
    if not targets and not component.optional:
        raise Failed(FailReason.DELETED, f"{component.name} is gone; create it again, then Retry or Resolve")
    if not await hooks_succeeded(work, HookTime.PRE_APPLY, component, is_there=bool(targets)):
        return
    if not targets:
        if await hooks_succeeded(work, HookTime.POST_APPLY, component, is_there=False):
            await _advance(work)
        return
    referred = frozenset(name for raw in targets for name in driver.references(raw))
    if await _takes_edits_over(work, component, referred):
        return
    names = {_target(one): await _names(work, one, referred) for one in _planned(work)}
    contents = await _write_configuration(work, component, referred, names)
    for raw in targets:
        await _write_version(work, component, raw, contents, names)
    text = f"{component.name} is written; it must become ready"
    await work.handle.save(
        tenant_run.to(work.status, TenantState.CONVERGING, RunReason.IN_PROGRESS, text, work.now(), applied_time=work.now())
    )


async def confirm(work: Work) -> None:
    """Prove on live objects that the component runs the release: converged, and a Ready pod of the new template.

    Then the next component is written, or the tenant soaks. Nothing happens where the proof is not there yet. Where the old version is back it
    is written once more, for its owner may not have known.

    Raises: Failed (ForeignVersionChange, OwnershipConflict) where somebody else changed the version.
    """
    component = work.spec.components[work.status.component]
    driver = work.driver_of(component)
    objects = await live_objects(work, component)
    targets = driver.targets(component, work.namespace, work.version, objects)
    if not targets and not component.optional:
        raise Failed(FailReason.DELETED, f"{component.name} is gone; create it again, then Retry or Resolve")
    for raw in targets:
        values = driver.values(component, work.namespace, work.version, raw)
        document = work.workload(component, raw)
        if path := next((path for path, value in driver.current(raw, values).items() if value != values[path]), ""):
            await _refuse_foreign(work, document, raw, path)
            text = f"{_field(raw, path)} was set back to what it was; it is written once more"
            await work.handle.save(tenant_run.to(work.status, TenantState.APPLYING, RunReason.IN_PROGRESS, text, work.now()))
            return
        progress, missing = driver.progress(raw)
        if progress is Progress.CONVERGED:
            selector = driver.pods_selector(raw)
            pods, _ = await work.ports.cluster.list(POD, work.namespace, selector) if selector else ([], "")
            missing = driver.exercised(raw, pods, values) if selector else ""
        if progress is not Progress.CONVERGED or missing:
            if work.converge_deadline is not None and work.now() >= work.converge_deadline and not work.is_shaken:
                raise Failed(FailReason.NOT_CONVERGED, f"{component.name} did not converge within health.timeout: {missing}")
            return
    if await _takes_edits_over(work, component, frozenset(name for raw in targets for name in driver.references(raw))):
        return
    if await jobs_succeeded(work, probes_of(work, component, targets)) and await hooks_succeeded(
        work, HookTime.POST_APPLY, component, is_there=bool(targets)
    ):
        await _advance(work)


async def _refuse_foreign(work: Work, document: WorkloadDocument, raw: Body, path: str) -> None:
    """Raise Failed for a field that somebody else has set, unless it may be written once more: it shows what it was before our first write.

    Only writes over that value are counted: those of a later release, or to another version of a ConfigMap, were against nobody.
    """
    value = (document.read(raw) or {})[path]
    parts = [await work.ledger.part(document, one.before) or {} for one in work.ledger.standing(document.ref)]
    found = [part[path] for part in parts if path in part]
    if not found or value != found[0]:
        raise Failed(FailReason.FOREIGN_VERSION_CHANGE, foreign(raw, path, value))
    if found.count(value) >= WRITES_AGAINST_AN_OWNER:
        managers = ", ".join(document.driver.managers(raw, [path])) or "somebody"
        text = f"{managers} sets {_field(raw, path)} back to {value}, and did so again after we wrote it once more"
        raise Failed(FailReason.OWNERSHIP_CONFLICT, f"{text}; use that tool's driver, or have it leave the field alone, then Retry")


def foreign(raw: Body, path: str, value: str) -> str:
    """Say that somebody else has set a version field."""
    mend = "agree on the version" if not referred_target(path) else "have it refer to one that the release or the tenant before it had"
    return f"{_field(raw, path)} was set to {value or 'nothing'} by somebody else; {mend}, then Retry or Resolve"


def _field(raw: Body, path: str) -> str:
    """Return a version field in words."""
    target = referred_target(path)
    return f"{f'the reference to {target}' if target else path.split('/')[-2]} of {raw.get('kind', 'object')} {raw['metadata']['name']}"


async def _advance(work: Work) -> None:
    """Go to the next component, or soak after the last one."""
    following = work.status.component + 1
    now = work.now()
    if following < len(work.spec.components):
        name = work.spec.components[following].name
        status = tenant_run.to(work.status, TenantState.APPLYING, RunReason.IN_PROGRESS, f"{name} is next", now, component=following)
    else:
        text = f"runs {work.version}; it must stay healthy"
        status = tenant_run.to(work.status, TenantState.SOAKING, RunReason.IN_PROGRESS, text, now, converged_time=now)
    await work.handle.save(status)


async def _write_configuration(
    work: Work, component: Component, referred: frozenset[str], names: Mapping[str, frozenset[str]]
) -> dict[str, ConfigMapContent | None]:
    """Write the component's ConfigMaps as planned. Return target -> content of all planned ConfigMaps that its pods see."""
    planned = [one for one in _planned(work) if one.component == component.name or referred & names[_target(one)]]
    catalogue: Mapping[str, Source] = catalogue_of(work) if planned else {}
    contents: dict[str, ConfigMapContent | None] = {}
    for one in planned:
        document, source = work.config(one.name), catalogue[_target(one)]
        if one.origin:
            raw = await _make_version(work, one, source)
        elif one.component != component.name or one.action == DELETE:
            raw = await work.ledger.get(document)
        else:
            raw = await _write_config(work, one, source)
        contents[_target(one)] = document.read(raw)
    return contents


async def _takes_edits_over(work: Work, component: Component, referred: frozenset[str]) -> bool:
    """Give other names to versions whose origin the tenant has edited since they were planned: a mutable ConfigMap may be at any time.

    That counts as long as a component is pointed at the version, whichever component it was planned for; then all are written once more from
    the first on, so that all are pointed at the new one. What needs no write passes by.
    Returns: whether there was one.
    """
    plan, changed = work.status.plan, {}
    for one in _planned(work):
        if one.origin and (one.component == component.name or referred & await _names(work, one, referred)):
            merged_now = await _merged_origin(work, one)
            if merged_now is not None and (name := version_name(one.target, merged_now)) != one.name:
                after = blobs.digest_of(work.config(name).pack(merged_now))
                changed[one.name] = one.model_copy(update={"name": name, "action": CREATE, "after": after})
    if plan is None or not changed:
        return False
    objects = tuple(changed.get(one.name, one) if one.kind == CONFIG_MAP.name else one for one in plan.objects)
    work.handle.stage(plan=plan.model_copy(update={"objects": objects}))
    text = f"the tenant has edited {next(iter(changed.values())).origin}, which a new version was made from; its edit is taken over"
    await work.handle.save(tenant_run.to(work.status, TenantState.APPLYING, RunReason.IN_PROGRESS, text, work.now(), component=0))
    return True


async def _merged_origin(work: Work, planned: PlannedObject) -> ConfigMapContent | None:
    """Return what the object that a version is made from merges to now; None where it was deleted: what was planned from it stands.

    Raises: Failed (ConfigConflict) where it does not merge any more.
    """
    origin = work.config(planned.origin)
    raw = await work.ledger.get(origin)
    if raw is None and planned.before:
        return None
    source = catalogue_of(work)[planned.target]
    result = await merged(work, origin, source, origin.read(raw))
    if result.conflicts:
        show_conflicts(work, result.conflicts)
        raise Failed(FailReason.CONFIG_CONFLICT, f"{result.conflicts[0].message}; {result.conflicts[0].mend}")
    digest = next((one.digest for one in work.status.snapshots if (one.kind, one.name) == (CONFIG_MAP.name, planned.origin)), "")
    show_write(work, planned.target, result, saved=digest, new=source.new)
    return result.content


async def _make_version(work: Work, planned: PlannedObject, source: Source) -> dict[str, Any] | None:
    """Create the object that takes the place of an immutable ConfigMap, before the first component that refers to it. The one before stays.

    Raises: Failed (Deleted) where neither of the two is there.
    """
    document = work.config(planned.name)

    async def wanted(raw: dict[str, Any] | None, live: ConfigMapContent | None) -> ConfigMapContent | Unchanged | None:
        after = await _merged_origin(work, planned)
        if after is None and raw is None:
            raise Failed(FailReason.DELETED, f"ConfigMap {planned.origin} is gone; create it again, then Retry or Resolve")
        if after is None:
            return UNCHANGED
        _refuse_edited(planned, after)
        refuse_another(document, raw, after)
        return after if raw is None else UNCHANGED

    return await work.ledger.write(document, wanted, component=planned.component, pristine=source.new)


def _refuse_edited(planned: PlannedObject, merged_now: ConfigMapContent) -> None:
    """Raise Conflict, so that the next look plans it anew, if a version would not hold what its origin merges to now."""
    if version_name(planned.target, merged_now) != planned.name:
        raise Conflict(f"what {planned.name} is made from has changed since it was planned; it is planned anew at the next look")


async def _write_config(work: Work, planned: PlannedObject, source: Source) -> dict[str, Any] | None:
    document = work.config(planned.name)

    async def wanted(raw: dict[str, Any] | None, live: ConfigMapContent | None) -> ConfigMapContent | Unchanged | None:
        result = await merged(work, document, source, live)
        if result.conflicts:
            show_conflicts(work, result.conflicts)
            first = result.conflicts[0]
            raise Failed(FailReason.CONFIG_CONFLICT, f"{first.message}; {first.mend}")
        if not result.is_unchanged and result.content is not None:
            refuse_immutable(planned.name, raw, live, result.content)
        show_write(work, _target(planned), result, saved=blobs.digest_of(document.pack(live)) if live is not None else "", new=source.new)
        return UNCHANGED if result.is_unchanged or result.content is None else result.content

    return await work.ledger.write(document, wanted, component=planned.component, pristine=source.new)


async def _write_version(
    work: Work,
    component: Component,
    target: Body,
    contents: Mapping[str, ConfigMapContent | None],
    names: Mapping[str, frozenset[str]],
) -> None:
    driver = work.driver_of(component)
    referred = driver.references(target)
    digest = config_digest({name: content for name, content in contents.items() if referred & names[name]})
    wanted_names = {one.target: one.name for one in _planned(work) if one.target}
    referred_targets = {target for target, known in names.items() if referred & known}
    references, stand_for = reference_names(work, component, target, names, wanted_names)
    document = await _with_what_is_written(work, work.workload(component, target, stand_for))

    async def wanted(raw: dict[str, Any] | None, live: Values | None) -> Values | Unchanged | None:
        if raw is None or live is None:
            raise Failed(FailReason.DELETED, f"{document.kind.name} {document.name} is gone; create it again, then Retry or Resolve")
        view = driver.view(component, work.namespace, work.version, [raw])
        if view.refused is not None:
            raise Failed(*view.refused)
        values = {**driver.values(component, work.namespace, work.version, raw), **references}
        if standing := work.ledger.standing(document.ref):
            if all(live[path] == value for path, value in values.items()):
                return UNCHANGED
            left: Values = await work.ledger.part(document, standing[-1].after) or {}
            for path in values.keys() & left.keys():  # of what that write did not know, nobody can tell whose it is
                if live[path] not in (values[path], left[path]):
                    await _refuse_foreign(work, document, raw, path)
        if several := next((path for path in references if "," in live[path]), ""):
            text = f"{document.kind.name} {document.name} refers to {live[several]}; have it refer to one of them"
            raise ImmutableChange(referred_target(several), text)
        for one in _planned(work):
            if one.origin and one.target in referred_targets:
                now = await _merged_origin(work, one)
                if now is not None:
                    _refuse_edited(one, now)
        after = dict(live) | dict(values)
        if digest and (path := driver.config_digest_field(raw)):
            after[path] = digest
        return after if document.fields(live, after) else UNCHANGED

    await work.ledger.write(document, wanted, component=component.name, known=dict(target))


async def _with_what_is_written(work: Work, document: WorkloadDocument) -> WorkloadDocument:
    """Return the document with all fields that the run has written of its object, for an earlier release or another component, too.

    The last write to an object stands for all of them: of a field that it did not know a rollback would not know, either, where it goes back to.
    """
    if not work.ledger.standing(document.ref):
        return document
    written = await work.written(document.ref)
    if not isinstance(written, WorkloadDocument):
        raise TypeError(f"{document.name} is a workload")
    old, new = written.names, document.names
    names = {path: old.get(path, frozenset()) | new.get(path, frozenset()) for path in {*old, *new}}
    return replace(document, paths=tuple(sorted({*document.paths, *written.paths})), names=names)


def _target(planned: PlannedObject) -> str:
    """Return what the catalogue calls a planned ConfigMap."""
    return planned.target or planned.name


async def _names(work: Work, planned: PlannedObject, referred: frozenset[str]) -> frozenset[str]:
    """Return by which names pod templates may refer to a planned ConfigMap."""
    own = frozenset({planned.name})
    return own | await names_standing(work, planned.target, referred) if planned.target else own


def _planned(work: Work) -> list[PlannedObject]:
    return [one for one in (work.status.plan.objects if work.status.plan is not None else ()) if one.kind == CONFIG_MAP.name]
