"""Who would write a field back: the GitOps tools that own an object, read from its marks and from `managedFields`."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from typing import Any

GITOPS_MANAGERS = {
    "argocd-controller": "Argo CD",
    "argocd-application-controller": "Argo CD",
    "argocd-applicationset-controller": "Argo CD ApplicationSet",
    "kustomize-controller": "Flux Kustomization",
    "helm-controller": "Flux HelmRelease",
    "helm": "Helm",
}
"""Field managers that write a field again by themselves. Others (kubectl, CI) are taken over, on record."""

_ARGO_TRACKING = "argocd.argoproj.io/tracking-id"
_ARGO_INSTANCE = "argocd.argoproj.io/instance"
_INSTANCE = "app.kubernetes.io/instance"
"""Argo CD's label of old. Helm charts set it, too: it counts where a manager of Argo CD has written the object."""
_KUSTOMIZATION = "kustomize.toolkit.fluxcd.io/"
_FLUX_HELM = "helm.toolkit.fluxcd.io/"
_HELM_RELEASE = "meta.helm.sh/release-name"
_MANAGED_BY = "app.kubernetes.io/managed-by"
_MERGED_BY_NAME = frozenset({"containers", "initContainers", "volumes", "env"})

MARKS = frozenset(
    {
        _ARGO_TRACKING,
        _ARGO_INSTANCE,
        *(f"{_KUSTOMIZATION}{key}" for key in ("name", "namespace", "ssa", "reconcile")),
        *(f"{_FLUX_HELM}{key}" for key in ("name", "namespace")),
        _HELM_RELEASE,
        _MANAGED_BY,
    }
)
"""Labels and annotations that say who manages an object: a projection keeps them."""


def owner_of(body: Mapping[str, Any], managers: Iterable[str]) -> str:
    """Return who would write the object's fields back, as a phrase for people, or '' if nobody would.

    Args: managers: the field managers of the fields in question (see `managers_of`).
    An object under Flux with `ssa: IfNotPresent` is delegated: Flux creates it and leaves it alone from then on. With `ssa: Ignore` or
    `reconcile: disabled` it does not even do that.
    """
    metadata = body.get("metadata") or {}
    annotations, labels = metadata.get("annotations") or {}, metadata.get("labels") or {}
    known = sorted(manager for manager in managers if manager in GITOPS_MANAGERS)
    if controller := next((owner for owner in metadata.get("ownerReferences") or () if owner.get("controller")), None):
        return f"{controller.get('kind')} {controller.get('name')}, its controller,"
    if _is_delegated(annotations, labels):
        return ""
    if tracking := annotations.get(_ARGO_TRACKING):
        return f"Argo CD Application {tracking.partition(':')[0]}"
    if instance := labels.get(_ARGO_INSTANCE, annotations.get(_ARGO_INSTANCE)):
        return f"Argo CD Application {instance}"
    if name := labels.get(f"{_KUSTOMIZATION}name"):
        return f"Flux Kustomization {labels.get(f'{_KUSTOMIZATION}namespace', '')}/{name}"
    if name := labels.get(f"{_FLUX_HELM}name"):
        return f"Flux HelmRelease {labels.get(f'{_FLUX_HELM}namespace', '')}/{name}"
    if labels.get(_MANAGED_BY) == "Helm" and (release := annotations.get(_HELM_RELEASE)):
        return f"Helm release {release}, which has no driver: let Flux manage it as a HelmRelease"
    if known and known[0].startswith("argocd-") and (instance := labels.get(_INSTANCE)):
        return f"Argo CD Application {instance} (field manager {known[0]})"
    return f"{GITOPS_MANAGERS[known[0]]} (field manager {known[0]})" if known else ""


def _is_delegated(annotations: Mapping[str, str], labels: Mapping[str, str]) -> bool:
    """Tell whether Flux has been told to leave the object alone."""
    said = {key: annotations.get(f"{_KUSTOMIZATION}{key}", labels.get(f"{_KUSTOMIZATION}{key}")) for key in ("ssa", "reconcile")}
    return said["ssa"] in ("IfNotPresent", "Ignore") or said["reconcile"] == "disabled"


def managers_of(body: Mapping[str, Any], pointer: str) -> tuple[str, ...]:
    """Return the field managers of one field, sorted.

    Args: pointer: a JSON Pointer in which items of lists that merge by name stand by that name
        (`/spec/template/spec/containers/api/image`, `/data/db.pool`).
    """
    entries = (body.get("metadata") or {}).get("managedFields") or ()
    steps = _steps(pointer)
    return tuple(sorted({str(entry.get("manager", "")) for entry in entries if _holds(entry.get("fieldsV1") or {}, steps)}))


def unescaped(segment: str) -> str:
    """Return a segment of a JSON Pointer as the name that it stands for."""
    return segment.replace("~1", "/").replace("~0", "~")


def escaped(name: str) -> str:
    """Return a name as a segment of a JSON Pointer."""
    return name.replace("~", "~0").replace("/", "~1")


def _steps(pointer: str) -> list[str]:
    names = [unescaped(segment) for segment in pointer.split("/")[1:]]
    return [
        f"k:{json.dumps({'name': name}, separators=(',', ':'))}" if position and names[position - 1] in _MERGED_BY_NAME else f"f:{name}"
        for position, name in enumerate(names)
    ]


def _holds(fields: Mapping[str, Any], steps: list[str]) -> bool:
    node: Any = fields
    for step in steps:
        if not isinstance(node, Mapping) or step not in node:
            return False
        node = node[step]
    return True
