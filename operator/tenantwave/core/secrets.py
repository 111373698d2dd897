"""What preservation knows of a Secret: how it stands against what it was, and whether it may ever be put back.

Nothing here returns a value. What is compared is a keyed digest (`engine.tenant.seals`), which says nothing to whoever lacks the key.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from tenantwave.api.kinds import INTENT_ANNOTATION
from tenantwave.api.run_records import SecretState

KEPT_TYPES = {
    "kubernetes.io/service-account-token": "the token controller",
    "bootstrap.kubernetes.io/token": "the bootstrap of nodes",
    "helm.sh/release.v1": "Helm",
}
"""Types of Secrets that somebody writes again by himself -> who."""

KEPT_OWNERS = frozenset(
    {
        "Certificate",
        "CertificateRequest",
        "Order",
        "ExternalSecret",
        "PushSecret",
        "SealedSecret",
        "VaultStaticSecret",
        "VaultDynamicSecret",
    }
)
"""Kinds of owners that write their Secret again, whether they call themselves its controller or not."""

KEPT_MARKS = {
    "cert-manager.io/certificate-name": "cert-manager",
    "controller.cert-manager.io/fao": "cert-manager",
    "reconcile.external-secrets.io/data-hash": "External Secrets",
    "reconcile.external-secrets.io/created-by": "External Secrets",
    "reconcile.external-secrets.io/managed": "External Secrets",
    "sealedsecrets.bitnami.com/managed": "Sealed Secrets",
    "secrets-store.csi.k8s.io/managed": "the Secrets Store driver",
    "secrets.hashicorp.com/vso-ownerRefUID": "the Vault operator",
    "kubernetes.io/service-account.uid": "the token controller",
    "replicator.v1.mittwald.de/replicated-from-version": "Kubernetes Replicator",
    "reflector.v1.k8s.emberstack.com/reflects": "Reflector",
}
"""Labels and annotations that a writer of Secrets leaves on them -> who."""

_GIVEN_BY_THE_SERVER = frozenset(
    {
        "uid",
        "resourceVersion",
        "generation",
        "creationTimestamp",
        "deletionTimestamp",
        "deletionGracePeriodSeconds",
        "managedFields",
        "selfLink",
    }
)


@dataclass(frozen=True, slots=True)
class SecretContent:
    """Type and values of a Secret, the values as base64. They never show in a text: this may stand in a traceback."""

    type: str
    data: Mapping[str, str] = field(repr=False)

    def document(self) -> dict[str, Any]:
        """Return it for a digest or a blob."""
        return {"type": self.type, "data": dict(self.data)}


def secret_content(raw: Mapping[str, Any]) -> SecretContent:
    """Return the content of a raw Secret. `stringData` never comes back from the API server."""
    return SecretContent(str(raw.get("type") or "Opaque"), {str(key): str(value or "") for key, value in (raw.get("data") or {}).items()})


def kept_by(raw: Mapping[str, Any]) -> str:
    """Return who writes this Secret again by himself, as a phrase for people, or '' if nobody does.

    An old copy of such a Secret is never put back: expired credentials would return.
    """
    metadata = raw.get("metadata") or {}
    for owner in metadata.get("ownerReferences") or ():
        if owner.get("controller") or owner.get("kind") in KEPT_OWNERS:
            return f"{owner.get('kind')} {owner.get('name')}"
    if keeper := KEPT_TYPES.get(str(raw.get("type", ""))):
        return keeper
    marks = {**(metadata.get("labels") or {}), **(metadata.get("annotations") or {})}
    return next((keeper for mark, keeper in KEPT_MARKS.items() if mark in marks), "")


def restored_body(saved: Mapping[str, Any], living_owners: frozenset[str]) -> dict[str, Any]:
    """Return a saved Secret as it can be created again.

    Args: living_owners: UIDs of its owners that are still there. An owner that is gone would take the new Secret along at once, and a
    finalizer would wait for one who has done with it: both are left out. Marks of Helm and Argo CD stay, so that they know it again.
    """
    metadata = {key: value for key, value in saved["metadata"].items() if key not in _GIVEN_BY_THE_SERVER and key != "finalizers"}
    owners = [owner for owner in metadata.pop("ownerReferences", None) or () if owner.get("uid") in living_owners]
    annotations = {key: value for key, value in (metadata.pop("annotations", None) or {}).items() if key != INTENT_ANNOTATION}
    metadata |= {"annotations": annotations} if annotations else {}
    metadata |= {"ownerReferences": owners} if owners else {}
    body = {
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": metadata,
        "type": saved.get("type") or "Opaque",
        "data": saved.get("data") or {},
    }
    return body | ({"immutable": True} if saved.get("immutable") else {})


def state_of(digest: str, key: str, live_digest: str | None, live_key: str, before: SecretState) -> SecretState:
    """Return how a Secret stands against its record.

    Args: live_digest: of the live Secret, None where there is none; live_key: which key made it; before: how it stood at the last look.
    """
    if live_digest is None:
        return SecretState.DELETED
    if key != live_key:
        return SecretState.UNKNOWN
    if live_digest != digest:
        return SecretState.CHANGED
    return SecretState.RESTORED if before is SecretState.RESTORED else SecretState.SAME
