"""Immutable ConfigMaps in a run: which object is in force, which one takes its place, and which old ones go.

An immutable ConfigMap is never changed, nor deleted and made again under its name, for kubelets keep what they have seen. A new content gets
a new object, and the pod templates are pointed at it by the patch that sets the image; the one before it stays for the way back.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from tenantwave.api.kinds import CONFIG_MAP, JOB, POD, REPLICA_SET, Kind
from tenantwave.api.upgrade import Component
from tenantwave.core import preservation
from tenantwave.core.config_versions import is_version, stands_for, version_name
from tenantwave.core.preservation import ConfigMapContent
from tenantwave.engine.tenant.documents import ConfigDocument
from tenantwave.engine.tenant.failure import ImmutableChange
from tenantwave.engine.tenant.work import WORKLOAD, Work
from tenantwave.faults import Conflict, Fault, NotFound
from tenantwave.ports import Body, Driver

log = logging.getLogger(__name__)

VERSIONS_KEPT = 2
"""How many versions of a target stay although nothing refers to them: the one in force, and the one before it."""


@dataclass(frozen=True, slots=True)
class PlannedVersion:
    """The object that takes the place of an immutable one. `raw`: it is there already, from an attempt before."""

    document: ConfigDocument
    raw: Body | None


def in_force(work: Work, target: str, targets: Iterable[str], live: Mapping[str, Body], referred: Iterable[str]) -> str:
    """Return by which name a target is in force: the version that the pod templates refer to, else its own. A name alone makes no version.

    Where this run has pointed some components at a version of its own, what the others refer to still counts: the tenant may have edited it.
    Raises: Failed (ConfigConflict) where they refer to several that are not this run's.
    """
    names = {name for name in referred if name == target or (name in live and name not in targets and is_version(live[name], target))}
    ours = [ref.name for ref in work.ledger.touched() if ref.name in names and ref.kind == CONFIG_MAP.name and work.ledger.standing(ref)]
    theirs = names.difference(ours)
    if len(theirs) > 1:
        text = f"the components refer to {target} by several names, {' and '.join(sorted(names))}; have them all refer to one"
        raise ImmutableChange(target, text)
    return next(iter(theirs), ours[-1] if ours else target)


def needs_version(before: ConfigMapContent | None, after: ConfigMapContent | None) -> bool:
    """Tell whether a write would change an immutable ConfigMap, or make one immutable: neither could be taken back under its name."""
    if after is None:
        return False
    if before is None or not before.immutable:
        return bool(after.immutable)
    return not after.immutable or not preservation.same_configuration(before, after)


async def planned_version(work: Work, target: str, after: ConfigMapContent) -> PlannedVersion:
    """Return the object that is to hold `after`. Raises Failed (ConfigConflict) where another one has its name."""
    document = work.config(version_name(target, after))
    raw = await work.ledger.get(document)
    refuse_another(document, raw, after)
    return PlannedVersion(document, raw)


def refuse_another(document: ConfigDocument, raw: Body | None, after: ConfigMapContent) -> None:
    """Raise Failed (ConfigConflict) if the object of a version's name is none of ours, or holds something else."""
    is_ours = raw is None or (is_version(raw, document.target) and preservation.same_configuration(document.read(raw), after))
    if not is_ours:
        text = f"{document.name} is there already, and is no version of {document.target} that we made; rename or delete it"
        raise ImmutableChange(document.target, text)


async def user_elsewhere(work: Work, name: str, components: Iterable[Body]) -> str:
    """Return who besides these components needs a ConfigMap under this name, as `Job/report`; '' for nobody."""
    own = {raw["metadata"].get("uid") for raw in components}
    return next((one.called for one in await _workloads(work) if one.uid not in own and name in one.references), "")


async def who_needs(work: Work, name: str) -> str:
    """Return whose pods would not start without a ConfigMap, as `Deployment/worker`; '' for nobody's."""
    return next((one.called for one in await _workloads(work) if name in one.needs), "")


def why_it_must_stay(name: str, user: str) -> str:
    """Return the message of an ImmutableChange, with the mend."""
    needs = f"{user} needs its name" if user else "no component refers to it, so nothing could be pointed at a new one"
    mend = "move that user to a ConfigMap of its own" if user else "refer to it in a component"
    return (
        f"{name} is immutable, its content changes, and {needs}; {mend}, or make it mutable (delete it and create it without `immutable`)"
    )


async def remove_old_versions(work: Work) -> None:
    """Delete versions of the run's ConfigMaps to which nothing refers any more, but for the newest ones.

    Each delete names uid and resourceVersion, and what it deletes nobody uses and nobody can have edited: so it needs no intent, and whoever
    comes here again does the rest. It is for tidiness alone: what fails is logged, and tried again at the end of the next upgrade.
    """
    try:
        old = await _unused_versions(work)
    except Fault as fault:
        log.warning("%s: old versions of ConfigMaps stay, for it cannot be told who uses them: %s", work.namespace, fault.message)
        return
    for raw in old:
        metadata = raw["metadata"]
        uid, version = metadata["uid"], metadata["resourceVersion"]
        try:
            await work.ports.cluster.delete(CONFIG_MAP, work.namespace, metadata["name"], uid=uid, resource_version=version)
        except (NotFound, Conflict):
            continue
        except Fault as fault:
            log.warning("%s: %s stays, an old version that nobody uses: %s", work.namespace, metadata["name"], fault.message)


async def _unused_versions(work: Work) -> list[Body]:
    """Return the versions of the run's ConfigMaps that may go."""
    targets = {one.target for one in work.status.plan.objects if one.target} if work.status.plan is not None else set()
    if not targets:
        return []
    found, _ = await work.ports.cluster.list(CONFIG_MAP, work.namespace)
    old = [raw for target in targets for raw in _versions(found, target)[VERSIONS_KEPT:] if _is_untouched(work, raw, target)]
    used = await _names_in_use(work) if old else set()
    return [raw for raw in old if raw["metadata"]["name"] not in used]


def _versions(found: Iterable[Body], target: str) -> list[Body]:
    """Return the versions of a target, the newest first."""
    versions = [raw for raw in found if is_version(raw, target)]
    return sorted(versions, key=lambda raw: (raw["metadata"].get("creationTimestamp", ""), raw["metadata"]["name"]), reverse=True)


def _is_untouched(work: Work, raw: Body, target: str) -> bool:
    """Tell whether a version holds what its name says, and is no business of this run: neither made by it nor what it goes back to."""
    content, name = preservation.content_of(raw), str(raw["metadata"]["name"])
    is_ours = bool(work.ledger.of(work.config(name).ref)) or any(one.name == name for one in work.status.snapshots)
    return bool(content.immutable) and not is_ours and version_name(target, content) == name


async def _names_in_use(work: Work) -> set[str]:
    """Return what pod templates and pods name, and what a Deployment could be rolled back to by hand."""
    reads = work.ports.drivers[WORKLOAD].references
    used = {name for one in await _workloads(work) for name in one.references}
    pods, _ = await work.ports.cluster.list(POD, work.namespace)
    sets, _ = await work.ports.cluster.list(REPLICA_SET, work.namespace)
    used |= {name for one in sets for name in reads({**one, "kind": REPLICA_SET.name})}
    return used | {name for pod in pods for name in reads({"kind": POD.name, "spec": {"template": {"spec": pod.get("spec")}}})}


@dataclass(frozen=True, slots=True)
class _User:
    """An object of the tenant with a pod template, and the ConfigMaps that it names."""

    called: str
    uid: str
    references: frozenset[str]
    needs: frozenset[str]


async def _workloads(work: Work) -> list[_User]:
    """Return the tenant's objects with pod templates. Jobs count that may still start pods, and are nobody's."""
    users = []
    for driver in work.ports.drivers.values():
        for kind in driver.kinds():
            found, _ = await work.ports.cluster.list(kind, work.namespace)
            users += [_user(driver, kind, raw) for raw in found]
    jobs, _ = await work.ports.cluster.list(JOB, work.namespace)
    return users + [_user(work.ports.drivers[WORKLOAD], JOB, raw) for raw in jobs if not _is_over(raw) and not _is_controlled(raw)]


def _user(driver: Driver, kind: Kind, raw: Body) -> _User:
    metadata, typed = raw["metadata"], {**raw, "kind": kind.name}
    called, uid = f"{kind.name}/{metadata['name']}", str(metadata.get("uid", ""))
    return _User(called, uid, driver.references(typed), driver.needed_references(typed))


def _is_over(job: Body) -> bool:
    conditions = (job.get("status") or {}).get("conditions") or ()
    return any(one["type"] in ("Complete", "Failed") and one["status"] == "True" for one in conditions)


def _is_controlled(raw: Body) -> bool:
    return any(owner.get("controller") for owner in raw["metadata"].get("ownerReferences") or ())


async def names_standing(work: Work, target: str, referred: Iterable[str]) -> frozenset[str]:
    """Return which of the names in a pod template stand for a target: its own, and versions that we made, as they are live."""
    looked_at = {name: work.config(name) for name in referred if name != target and stands_for(name, target)}
    live = {name: await work.ledger.get(document) for name, document in looked_at.items()}
    return frozenset({name for name, raw in live.items() if raw is not None and is_version(raw, target)} | ({target} & set(referred)))


def reference_names(
    work: Work, component: Component, raw: Body, names: Mapping[str, frozenset[str]], wanted: Mapping[str, str]
) -> tuple[dict[str, str], dict[str, frozenset[str]]]:
    """Return what a workload's references are to be, by path, and which names each of them may have now.

    Args: names: target -> names that stand for it in pod templates; wanted: target -> the name that is to be in force.
    """
    driver = work.driver_of(component)
    referred = driver.references(raw)
    paths = {target: driver.reference_field(raw, target) for target in wanted if referred & (names[target] | {wanted[target]})}
    values = {path: wanted[target] for target, path in paths.items() if path}
    return values, {path: names[target] | {wanted[target]} for target, path in paths.items() if path}
