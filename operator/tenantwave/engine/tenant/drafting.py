"""What a run will do in one tenant, from what is live now: every object read, every merge made. Nothing is written."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from tenantwave.api.conditions import FailReason
from tenantwave.api.kinds import Kind
from tenantwave.api.upgrade import Component
from tenantwave.core.intents import Name, name_of
from tenantwave.core.preservation import MergeResult
from tenantwave.engine.tenant.configuration import Source, catalogue_of, config_digest, looked_at, merged
from tenantwave.engine.tenant.documents import ConfigDocument, Values, WorkloadDocument
from tenantwave.engine.tenant.failure import Failed
from tenantwave.engine.tenant.versions import (
    PlannedVersion,
    needs_version,
    planned_version,
    reference_names,
    user_elsewhere,
    who_needs,
    why_it_must_stay,
)
from tenantwave.engine.tenant.work import Work
from tenantwave.faults import NotFound

CREATE, UPDATE, DELETE, KEEP = "Create", "Update", "Delete", "Keep"


@dataclass(frozen=True, slots=True)
class PlannedConfig:
    """One ConfigMap of the plan: the live object, and what the merge makes of it.

    `version`: the new object that takes its place, where it is immutable; `problem`: why there cannot be one; `user`: who needs what the release
    drops, so that it stays.
    """

    document: ConfigDocument
    component: str
    source: Source
    raw: dict[str, Any] | None
    result: MergeResult
    version: PlannedVersion | None = None
    problem: str = ""
    user: str = ""

    @property
    def target(self) -> str:
        """Return what the catalogue calls it."""
        return self.document.target or self.document.name

    @property
    def written(self) -> ConfigDocument:
        """Return the object that is to hold the merged content."""
        return self.document if self.version is None else self.version.document

    @property
    def action(self) -> str:
        """Return what the run does with it."""
        if self.version is not None:
            return KEEP if self.version.raw is not None else CREATE
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
    secrets: frozenset[str] = frozenset()
    """The Secrets that the workloads refer to, as they are now and as they will be: a release changes no reference."""
    notes: tuple[str, ...] = ()
    """What there is to say of the plan besides its merges, each sentence about one ConfigMap."""

    def present(self) -> list[tuple[Kind, str, dict[str, Any], bool]]:
        """Return the objects that are there: kind, name, the object, and whether the run writes it."""
        configs = [
            (one.document.kind, one.document.name, one.raw, one.version is None and one.action != KEEP)
            for one in self.configs
            if one.raw is not None
        ]
        return configs + [(one.document.kind, one.document.name, one.raw, True) for one in self.workloads]

    def to_write(self) -> frozenset[Name]:
        """Return the objects that the run writes, Jobs apart."""
        configs = {name_of(one.written.ref) for one in self.configs if one.action != KEEP}
        return frozenset(configs | {name_of(one.document.ref) for one in self.workloads if one.document.fields(one.before, one.after)})


async def draft_of(work: Work) -> Draft:
    """Read everything live and plan all writes. Raises Failed for what can be told without merging."""
    found = [(component, raw) for component in work.spec.components for raw in await _objects(work, component)]
    if not found:
        raise Failed(
            FailReason.PREFLIGHT_FAILED, f"none of the components is in {work.namespace}; deploy the product, or deselect the tenant"
        )
    _refuse_shared(work, found)
    catalogue = catalogue_of(work)
    refers = {id(raw): work.driver_of(component).references(raw) for component, raw in found}
    referred = frozenset(name for names in refers.values() for name in names)
    configs = []
    seen = await looked_at(work, catalogue, referred)
    for target, (name, raw) in seen.targets.items():
        first = next((component for component, body in found if name in refers[id(body)]), found[0][0])
        document = work.config(name)
        result = await merged(work, document, catalogue[target], document.read(raw))
        planned = PlannedConfig(document, first.name, catalogue[target], raw, result)
        user = await who_needs(work, name) if planned.action == DELETE else ""
        planned = replace(planned, user=user)
        configs.append(await _versioned(work, planned, [body for _, body in found], is_referred=name in referred))
    workloads = [_planned_workload(work, component, raw, refers[id(raw)], configs) for component, raw in found]
    secrets = frozenset().union(*(work.driver_of(component).secret_references(raw) for component, raw in found))
    return Draft(tuple(configs), tuple(workloads), secrets, seen.passed_over)


def _refuse_shared(work: Work, found: Sequence[tuple[Component, dict[str, Any]]]) -> None:
    """Raise Failed (NotDrivable) where two components mean one object: each is written, proven and taken back for itself."""
    owners: dict[str, Component] = {}
    for component, raw in found:
        first = owners.setdefault(str(raw["metadata"]["uid"]), component)
        if first is not component:
            what = f"components {first.name} and {component.name} both mean {work.driver_of(component).kind(component).name}"
            mend = "put their containers into one component, or narrow the selector"
            raise Failed(FailReason.NOT_DRIVABLE, f"{what} {raw['metadata']['name']}: {mend}")


async def _versioned(work: Work, planned: PlannedConfig, components: list[dict[str, Any]], *, is_referred: bool) -> PlannedConfig:
    """Give what cannot be written under its name a new object, or say why that cannot be."""
    after, name = planned.result.content, planned.document.name
    if planned.result.conflicts or planned.result.is_unchanged or after is None:
        return planned
    if not needs_version(planned.document.read(planned.raw), after) or (planned.raw is None and not is_referred):
        return planned
    user = await user_elsewhere(work, name, components)
    if user or not is_referred:
        return replace(planned, problem=why_it_must_stay(name, user))
    return replace(planned, version=await planned_version(work, planned.target, after))


def _planned_workload(
    work: Work, component: Component, raw: dict[str, Any], referred: frozenset[str], configs: Sequence[PlannedConfig]
) -> PlannedWorkload:
    driver = work.driver_of(component)
    seen = {one.target: one for one in configs if one.document.name in referred}
    made = {target: one for target, one in seen.items() if one.version is not None}
    references, names = reference_names(
        work,
        component,
        raw,
        {target: frozenset({one.document.name}) for target, one in made.items()},
        {target: one.written.name for target, one in made.items()},
    )
    document = work.workload(component, raw, names)
    before = document.read(raw) or {}
    after = dict(before) | dict(driver.values(component, work.namespace, work.version, raw)) | references
    digest = config_digest({target: one.result.content for target, one in seen.items()})
    if digest and (path := driver.config_digest_field(raw)):
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
