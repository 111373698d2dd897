"""What a run will do in one tenant, from what is live now: every object read, every merge made. Nothing is written."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from tenantwave.api.conditions import FailReason
from tenantwave.api.kinds import Kind
from tenantwave.api.upgrade import Component
from tenantwave.core import preservation
from tenantwave.core.preservation import MergeResult
from tenantwave.engine.tenant.configuration import Source, catalogue_of, config_digest, merged, preserved_names
from tenantwave.engine.tenant.documents import ConfigDocument, Values, WorkloadDocument
from tenantwave.engine.tenant.failure import Failed
from tenantwave.engine.tenant.work import Work
from tenantwave.faults import NotFound

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
    secrets: frozenset[str] = frozenset()
    """The Secrets that the workloads refer to, as they are now and as they will be: a release changes no reference."""

    def present(self) -> list[tuple[Kind, str, dict[str, Any], bool]]:
        """Return the objects that are there: kind, name, the object, and whether the run writes it."""
        configs = [(one.document.kind, one.document.name, one.raw, one.action != KEEP) for one in self.configs if one.raw is not None]
        return configs + [(one.document.kind, one.document.name, one.raw, True) for one in self.workloads]


async def draft_of(work: Work) -> Draft:
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
    secrets = frozenset().union(*(work.driver_of(component).secret_references(raw) for component, raw in found))
    return Draft(tuple(configs), tuple(workloads), secrets)


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
