"""The tenant's ConfigMaps in a run: which of them, from which base, to which new content."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any

from tenantwave.api.conditions import FailReason
from tenantwave.api.kinds import CONFIG_MAP
from tenantwave.core import blobs
from tenantwave.core.preservation import ConfigMapContent, MergeResult, merge, values_digest
from tenantwave.engine.tenant.documents import ConfigDocument
from tenantwave.engine.tenant.failure import Failed
from tenantwave.engine.tenant.merging import aside
from tenantwave.engine.tenant.versions import in_force
from tenantwave.engine.tenant.work import Work
from tenantwave.ports import Body

UNTOUCHABLE = frozenset({"kube-root-ca.crt", "openshift-service-ca.crt"})
"""ConfigMaps that Kubernetes itself keeps in every namespace."""


@dataclass(frozen=True, slots=True)
class Source:
    """What the catalogue says of one target: digests of its pristine content, '' where there is none."""

    base: str
    new: str
    removed: bool = False


def catalogue_of(work: Work) -> Mapping[str, Source]:
    """Return what the run's catalogue says of each target: as the tenant's version has it, and as the release has it.

    The content that our last Succeeded run left counts before the catalogue entry of that version: the entry may have been edited since.
    """
    running, release = work.status.from_version, work.version
    bases = {one.target: one.digest for one in work.run.catalogue if one.version == running and not one.removed}
    record = work.tenant.record
    if record is not None and record.version == running:
        bases |= record.base
    news = {one.target: one for one in work.run.catalogue if one.version == release}
    if missing := sorted(bases.keys() - news.keys()):
        text = f"the catalogue of {release} has no entry for {missing[0]}, which {running} has; add it, or one marked removed"
        raise Failed(FailReason.PREFLIGHT_FAILED, text)
    return {
        target: Source(bases.get(target, ""), "" if entry.removed else entry.digest, entry.removed)
        for target, entry in sorted(news.items())
        if target not in UNTOUCHABLE and (target in bases or not entry.removed)
    }


def pristine_of_release(work: Work) -> dict[str, str]:
    """Return target -> digest of the release's own content: the base pointer of a tenant that is proven to run it."""
    return {one.target: one.digest for one in work.run.catalogue if one.version == work.version and not one.removed}


async def preserved_objects(
    work: Work, catalogue: Mapping[str, Source], referred: Iterable[str]
) -> dict[str, tuple[str, dict[str, Any] | None]]:
    """Return the targets that the run may touch, each with the name that is in force and the live object of it (None: not there).

    Those that the selector of `preservation.configMaps` takes, else those that the components refer to; and targets that only the new
    version knows and that the tenant does not have: the release brings them. All others are the tenant's own.
    """
    selector = work.spec.preservation.config_maps
    found, _ = await work.ports.cluster.list(CONFIG_MAP, work.namespace)
    live = {str(raw["metadata"]["name"]): {"apiVersion": "v1", "kind": "ConfigMap"} | raw for raw in found}
    names = {target: in_force(work, target, catalogue, live, referred) for target in catalogue}
    if selector is None:
        chosen = {target for target, name in names.items() if name in referred}
    else:
        labels = {target: live[name]["metadata"].get("labels") or {} for target, name in names.items() if name in live}
        chosen = {target for target, name in names.items() if (selector.matches(labels[target]) if target in labels else name in referred)}
    brought = {target for target, source in catalogue.items() if not source.base and names[target] not in live}
    wanted = {target: (names[target], live.get(names[target])) for target in catalogue if target in chosen or target in brought}
    return {target: (name, raw) for target, (name, raw) in wanted.items() if not _is_kept_by_a_controller(raw)}


async def merged(work: Work, document: ConfigDocument, source: Source, live: ConfigMapContent | None) -> MergeResult:
    """Merge the release into one live ConfigMap. In an open run the base is what our last landed write brought."""
    standing = work.ledger.standing(document.ref)
    base = standing[-1].pristine if standing else source.base
    three = (await _content(work, base), live, await _content(work, source.new))
    return await aside(partial(merge, rules=document.rules, subject=document.subject), *three)


def config_digest(contents: Mapping[str, ConfigMapContent | None]) -> str:
    """Return one digest over the values of some ConfigMaps (by target), as the pods that refer to them see them."""
    seen = {name: values_digest(content) for name, content in contents.items() if content is not None}
    return blobs.digest_of(blobs.canonical(seen)) if seen else ""


async def _content(work: Work, digest: str) -> ConfigMapContent | None:
    return blobs.content_from(await work.ports.snapshots.load(digest)) if digest else None


def _is_kept_by_a_controller(raw: Body | None) -> bool:
    """Tell whether a controller writes this ConfigMap, or a leader election keeps its lock in it."""
    metadata = (raw or {}).get("metadata") or {}
    owners = metadata.get("ownerReferences") or ()
    return any(owner.get("controller") for owner in owners) or "control-plane.alpha.kubernetes.io/leader" in (
        metadata.get("annotations") or {}
    )
