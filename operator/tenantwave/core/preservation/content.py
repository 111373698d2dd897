"""What preservation sees of a ConfigMap: its values, labels, annotations and `immutable`; never who manages it.

`data` and `binaryData` are one name space here (`ConfigMapContent.values`), compared by bytes: a move between them is no edit.
"""

import base64
import binascii
import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field

from tenantwave.api.kinds import GROUP, INTENT_ANNOTATION

MAX_DATA_BYTES = 1_048_576
"""The API server's limit for the decoded values of `data` and `binaryData` together."""

MAX_ANNOTATION_BYTES = 262_144
"""The API server's limit for all annotations of one object, names and values together."""

MARKER_BYTES = len(INTENT_ANNOTATION) + 64
"""Room that the marker needs among the annotations: its name, a UID, a slash and a sequence number."""

_NEVER_MERGED_NAMES = frozenset({"kubectl.kubernetes.io/last-applied-configuration", "app.kubernetes.io/managed-by"})
_NEVER_MERGED_DOMAINS = ("argocd.argoproj.io", "meta.helm.sh", "toolkit.fluxcd.io", GROUP)

_CLUSTER_CONFIG_MAPS = frozenset({"kube-root-ca.crt", "openshift-service-ca.crt"})
_INJECTED_CA = "service.beta.openshift.io/inject-cabundle"
_LEADER = "control-plane.alpha.kubernetes.io/leader"


@dataclass(frozen=True, slots=True)
class Value:
    """One value of a ConfigMap: its bytes, and whether it lives in `binaryData`. Two values are equal when their bytes are."""

    content: bytes
    is_binary: bool = field(default=False, compare=False)

    def text(self) -> str | None:
        """Return the value as text; None for a value of `binaryData`, which merges as a whole."""
        return None if self.is_binary else self.content.decode()

    def shown(self) -> str:
        """Return the value for people: the text itself; of bytes their number, and enough of their SHA-256 to tell them apart."""
        if not self.is_binary:
            return self.content.decode()
        return f"<binary, {len(self.content)} bytes, sha256:{hashlib.sha256(self.content).hexdigest()[:12]}>"


@dataclass(frozen=True, slots=True)
class ConfigMapContent:
    """One ConfigMap as a frozen value, without what is never merged (see `content_of`). Treat the mappings as read-only."""

    data: Mapping[str, str] = field(default_factory=dict)
    binary_data: Mapping[str, bytes] = field(default_factory=dict)
    labels: Mapping[str, str] = field(default_factory=dict)
    annotations: Mapping[str, str] = field(default_factory=dict)
    immutable: bool | None = None

    @property
    def values(self) -> dict[str, Value]:
        """Return `data` and `binaryData` as one name space, by key."""
        return {key: Value(text.encode()) for key, text in self.data.items()} | {
            key: Value(content, is_binary=True) for key, content in self.binary_data.items()
        }


def is_never_merged(name: str) -> bool:
    """Tell whether a label or annotation belongs to a tool (kubectl, Helm, Flux, Argo CD, ourselves) and not to the configuration."""
    domain = name.partition("/")[0] if "/" in name else ""
    return name in _NEVER_MERGED_NAMES or any(domain == own or domain.endswith("." + own) for own in _NEVER_MERGED_DOMAINS)


def content_of(raw: Mapping[str, object]) -> ConfigMapContent:
    """Return the content of a raw ConfigMap, as the API server gives it, without labels and annotations that are never merged.

    Raises: ValueError, naming the key, if a value of `binaryData` is no base64 (the API server would not have stored it).
    Cost: linear in the size of the object.
    """
    metadata = _mapping(raw.get("metadata"))
    immutable = raw.get("immutable")
    return ConfigMapContent(
        data={key: str(value) for key, value in _mapping(raw.get("data")).items()},
        binary_data={key: _decoded(key, value) for key, value in _mapping(raw.get("binaryData")).items()},
        labels=_merged_names(metadata.get("labels")),
        annotations=_merged_names(metadata.get("annotations")),
        immutable=immutable if isinstance(immutable, bool) else None,
    )


def why_never_touched(raw: Mapping[str, object]) -> str | None:
    """Return why a ConfigMap belongs to the cluster or to a controller and is left alone whatever a catalogue says; None if it does not."""
    metadata = _mapping(raw.get("metadata"))
    name, annotations, owners = str(metadata.get("name")), _mapping(metadata.get("annotations")), metadata.get("ownerReferences")
    if name in _CLUSTER_CONFIG_MAPS or _INJECTED_CA in annotations:
        return f"{name} holds certificates that the cluster writes"
    if _LEADER in annotations:
        return f"{name} is the lock of a leader election"
    for owner in owners if isinstance(owners, list) else []:
        if isinstance(owner, Mapping) and owner.get("controller") is True:
            return f"{name} is written by its controller, {owner.get('kind')} {owner.get('name')}"
    return None


def body_of(content: ConfigMapContent) -> dict[str, object]:
    """Return the fields of a raw ConfigMap that hold `content`; the caller adds kind, name, namespace and the marker.

    Empty mappings and an unset `immutable` are left out, so `content_of(body_of(content)) == content`.
    """
    metadata = {name: dict(part) for name, part in (("labels", content.labels), ("annotations", content.annotations)) if part}
    body: dict[str, object] = {"metadata": metadata}
    if content.data:
        body["data"] = dict(content.data)
    if content.binary_data:
        body["binaryData"] = {key: encoded(value) for key, value in content.binary_data.items()}
    if content.immutable is not None:
        body["immutable"] = content.immutable
    return body


def digest(content: ConfigMapContent) -> str:
    """Return `sha256:<hex>` over everything that preservation sees, in canonical JSON: independent of the order of keys."""
    return _digest({**body_of(content), "metadata": {"labels": dict(content.labels), "annotations": dict(content.annotations)}})


def values_digest(content: ConfigMapContent) -> str:
    """Return `sha256:<hex>` over the values alone, as pods see them: what the annotation `tenantwave.io/config-digest` is made of."""
    return _digest({key: hashlib.sha256(value.content).hexdigest() for key, value in content.values.items()})


def same_configuration(a: ConfigMapContent | None, b: ConfigMapContent | None) -> bool:
    """Tell whether pods would see the same files and variables: equal keys with equal bytes, in whichever of the two rooms.

    Labels, annotations and `immutable` do not count. None (no such ConfigMap) equals only None.
    """
    if a is None or b is None:
        return a is b
    return a.values == b.values


def why_too_large(name: str, content: ConfigMapContent, live_annotations: Mapping[str, str] | None = None) -> str | None:
    """Return why the API server would refuse `content` for its size, with the mend; None if it fits.

    Args: live_annotations: all annotations of the live object; those that are never merged stay there and need room, too.
    """
    data_bytes = sum(len(value.content) for value in content.values.values())
    if data_bytes > MAX_DATA_BYTES:
        return (
            f"{name} would hold {data_bytes} bytes in data and binaryData, the API server takes {MAX_DATA_BYTES}: "
            "make the release's or the tenant's values smaller, or split them over two ConfigMaps"
        )
    staying = {key: value for key, value in (live_annotations or {}).items() if is_never_merged(key) and key != INTENT_ANNOTATION}
    annotations = staying | dict(content.annotations)
    annotation_bytes = MARKER_BYTES + sum(len(key.encode()) + len(value.encode()) for key, value in annotations.items())
    if annotation_bytes > MAX_ANNOTATION_BYTES:
        return (
            f"{name} would hold {annotation_bytes} bytes of annotations with our marker, the API server takes {MAX_ANNOTATION_BYTES}: "
            "remove or shorten annotations of the tenant's ConfigMap or of the release's entry"
        )
    return None


def encoded(value: bytes) -> str:
    """Return bytes as `binaryData` writes them."""
    return base64.b64encode(value).decode("ascii")


def _decoded(key: str, value: object) -> bytes:
    try:
        return base64.b64decode(str(value), validate=True)
    except binascii.Error as error:
        raise ValueError(f'binaryData key "{key}" is no base64 ({error}); write it as base64, or move the text to data') from error


def _digest(value: object) -> str:
    canonical = json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=True)
    return "sha256:" + hashlib.sha256(canonical.encode()).hexdigest()


def _mapping(value: object) -> Mapping[str, object]:
    return value if isinstance(value, Mapping) else {}


def _merged_names(value: object) -> dict[str, str]:
    return {name: str(text) for name, text in _mapping(value).items() if not is_never_merged(name)}
