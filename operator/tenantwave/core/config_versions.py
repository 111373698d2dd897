"""Immutable ConfigMaps: each content has an object of its own, and pod templates say which of them they use.

The catalogue knows such a ConfigMap by its *target*: `app-config`. The tenant may have it under that name, and as versions of it,
`app-config-0a1b2c3d4e`, that we made. Which one is in force is what the pod templates refer to. A reference is one field of a workload, with
a path of its own below the pod template's spec (`/spec/template/spec/configMaps/app-config`), in however many places of it the name stands.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Any

from tenantwave.api.kinds import TARGET_ANNOTATION
from tenantwave.core.ownership import escaped, unescaped
from tenantwave.core.preservation import ConfigMapContent, values_digest

DIGEST_LENGTH = 10
_MAX_NAME = 253
_REFERENCES = "configMaps"
"""No field of a pod's spec has this name, and no list item can: names are in lower case."""


def version_name(target: str, content: ConfigMapContent) -> str:
    """Return the name of the object that holds this content: equal values have one name."""
    return f"{_stem(target)}-{values_digest(content).removeprefix('sha256:')[:DIGEST_LENGTH]}"


def stands_for(name: str, target: str) -> bool:
    """Tell whether a ConfigMap of this name is the target, or looks like a version of it."""
    return name == target or re.fullmatch(re.escape(_stem(target)) + f"-[0-9a-f]{{{DIGEST_LENGTH}}}", name) is not None


def target_of(name: str, targets: Iterable[str]) -> str:
    """Return which target a referred name stands for, '' for none. A target that looks like a version of another one is itself."""
    fitting = [target for target in targets if stands_for(name, target)]
    return name if name in fitting else max(fitting, key=len, default="")


def is_version(raw: Mapping[str, Any], target: str) -> bool:
    """Tell whether a live ConfigMap is a version of the target that we made: by its annotation and its name."""
    metadata = raw["metadata"]
    said = (metadata.get("annotations") or {}).get(TARGET_ANNOTATION)
    return said == target and metadata["name"] != target and stands_for(str(metadata["name"]), target)


def is_brought(raw: Mapping[str, Any]) -> bool:
    """Tell whether a live ConfigMap is one that we created under the catalogue's name: by its annotation. Then it is the release's."""
    metadata = raw["metadata"]
    said = (metadata.get("annotations") or {}).get(TARGET_ANNOTATION, "")
    return str(said) == str(metadata["name"])


def reference_path(pod_spec: Iterable[str], target: str) -> str:
    """Return the path of a workload's references to one target. Args: pod_spec: where its pod template's spec is."""
    return "/" + "/".join((*pod_spec, _REFERENCES, escaped(target)))


def referred_target(path: str) -> str:
    """Return which target's references a field path means; '' where it means another field."""
    before, _, last = path.rpartition("/")
    return unescaped(last) if before.endswith(f"/{_REFERENCES}") else ""


def _stem(target: str) -> str:
    return target[: _MAX_NAME - DIGEST_LENGTH - 1].rstrip("-.")
