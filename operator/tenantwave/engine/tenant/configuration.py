"""The tenant's ConfigMaps in a run: which of them, from which base, to which new content."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

from tenantwave.api.conditions import FailReason
from tenantwave.api.kinds import CONFIG_MAP
from tenantwave.api.meta import LabelSelector
from tenantwave.core import blobs
from tenantwave.core.config_versions import is_brought
from tenantwave.core.preservation import ConfigMapContent, MergeResult, merge, values_digest, why_never_touched
from tenantwave.engine.tenant.documents import ConfigDocument
from tenantwave.engine.tenant.failure import Failed
from tenantwave.engine.tenant.merging import aside
from tenantwave.engine.tenant.versions import in_force
from tenantwave.engine.tenant.work import Work
from tenantwave.ports import Body


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
    bases = _shipped(work, running)
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
        if bases.get(target) or not entry.removed
    }


def pristine_of_release(work: Work) -> dict[str, str]:
    """Return target -> digest of the release's own content: the base pointer of a tenant that was found to run it."""
    return _shipped(work, work.version)


def base_after(work: Work, version: str, base: Mapping[str, str]) -> dict[str, str]:
    """Return the base pointer of a tenant that this run has brought to the release: target -> digest, '' for "nobody knows".

    It moves for the targets that the plan has: what the run did not look at may still be of the release before.
    Args: version, base: what the record has now.
    """
    planned = work.status.plan.objects if work.status.plan is not None else ()
    looked_at = {one.target or one.name for one in planned if one.kind == CONFIG_MAP.name}
    kept = _shipped(work, work.status.from_version)
    if version in (work.status.from_version, work.version):  # the latter: written by this very run, before a crash
        kept |= base
    return {target: digest if target in looked_at else kept.get(target, "") for target, digest in pristine_of_release(work).items()}


def _shipped(work: Work, version: str) -> dict[str, str]:
    """Return target -> digest of what a version ships."""
    return {one.target: one.digest for one in work.run.catalogue if one.version == version and not one.removed}


@dataclass(frozen=True, slots=True)
class LookedAt:
    """The targets that a run may touch, each with the name that is in force and the live object of it (None: not there).

    passed_over: a sentence for each that the tenant has and the release changes, and that is left as it is.
    """

    targets: Mapping[str, tuple[str, dict[str, Any] | None]]
    passed_over: tuple[str, ...]


async def looked_at(work: Work, catalogue: Mapping[str, Source], referred: Collection[str]) -> LookedAt:
    """Tell which ConfigMaps of the tenant are the run's business. Args: referred: those that the components refer to, as they are live."""
    found, _ = await work.ports.cluster.list(CONFIG_MAP, work.namespace)
    live = {str(raw["metadata"]["name"]): {"apiVersion": "v1", "kind": "ConfigMap"} | raw for raw in found}
    names = {target: in_force(work, target, catalogue, live, referred) for target in catalogue}
    in_use, selector = work.tenant.config_maps.union(referred), work.spec.preservation.config_maps
    why = {target: _why_not(selector, catalogue[target], name, live.get(name), in_use) for target, name in names.items()}
    return LookedAt(
        targets={target: (name, live.get(name)) for target, name in names.items() if not why[target]},
        passed_over=tuple(
            f"{target}: changed in {work.version}, but {why[target]}, so it stays as it is"
            for target, name in names.items()
            if why[target] and name in live and catalogue[target].base != catalogue[target].new
        ),
    )


def _why_not(selector: LabelSelector | None, source: Source, name: str, raw: Body | None, in_use: Collection[str]) -> str:
    """Return why a target is none of the run's business; '' where it is.

    One that only the new version knows is, where the tenant has none or no selector says otherwise; so is one that an earlier run brought.
    Of all others those that `preservation.configMaps` selects, else those that workloads refer to.
    """
    if reason := why_never_touched(raw or {"metadata": {"name": name}}):
        return reason
    if raw is not None and is_brought(raw):
        return ""
    if raw is not None and selector is not None:
        return "" if selector.matches(raw["metadata"].get("labels") or {}) else "preservation.configMaps does not select it"
    return "" if not source.base or name in in_use else "no workload refers to it"


async def merged(work: Work, document: ConfigDocument, source: Source, live: ConfigMapContent | None) -> MergeResult:
    """Merge the release into one live ConfigMap. In an open run the base is what our last landed write brought.

    Labels of the release are for an object that is new; from then on they are the tenant's.
    """
    standing = work.ledger.standing(document.ref)
    base = standing[-1].pristine if standing else source.base
    new = await _content(work, source.new)
    three = (_unlabelled(await _content(work, base)), live, _unlabelled(new))
    result = await aside(partial(merge, rules=document.rules, subject=document.subject), *three)
    if live is None and result.content is not None and new is not None:
        return replace(result, content=replace(result.content, labels=new.labels))
    return result


def config_digest(contents: Mapping[str, ConfigMapContent | None]) -> str:
    """Return one digest over the values of some ConfigMaps (by target), as the pods that refer to them see them."""
    seen = {name: values_digest(content) for name, content in contents.items() if content is not None}
    return blobs.digest_of(blobs.canonical(seen)) if seen else ""


async def _content(work: Work, digest: str) -> ConfigMapContent | None:
    return blobs.content_from(await work.ports.snapshots.load(digest)) if digest else None


def _unlabelled(content: ConfigMapContent | None) -> ConfigMapContent | None:
    return content if content is None else replace(content, labels={})
