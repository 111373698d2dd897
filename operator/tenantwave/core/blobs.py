"""What is stored of an object, as bytes that are the same for the same content, and back."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from functools import lru_cache
from typing import Any

from tenantwave.core.preservation import ConfigMapContent, body_of, content_of

ABSENT = b"null"
"""The blob of an object that does not exist."""
REMEMBERED_BYTES = 64 * 1024
"""Larger blobs are read anew each time; 64 of this size are remembered, some 10 MB at most."""


def canonical(value: Any) -> bytes:
    """Return JSON with sorted keys and no spaces, in UTF-8."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False).encode()


def digest_of(blob: bytes) -> str:
    """Return `sha256:<hex>`."""
    return "sha256:" + hashlib.sha256(blob).hexdigest()


def secret_name(digest: str, number: int) -> str:
    """Return the name of the Secret that holds one chunk of a blob."""
    return f"snapshot-{digest.removeprefix('sha256:')}-{number}"


def parsed(blob: bytes) -> dict[str, Any]:
    """Return the object that `canonical` wrote."""
    value: dict[str, Any] = json.loads(blob)
    return value


def content_blob(content: ConfigMapContent | None) -> bytes:
    """Return the blob of a ConfigMap's content, without anything that names the object: equal content of many tenants is stored once."""
    return ABSENT if content is None else canonical(body_of(content))


def content_from(blob: bytes) -> ConfigMapContent | None:
    """Return the content that `content_blob` wrote. What the catalogue holds is asked for by every tenant, so small blobs are read once."""
    return _remembered_content(blob) if len(blob) <= REMEMBERED_BYTES else _content(blob)


def _content(blob: bytes) -> ConfigMapContent | None:
    body = json.loads(blob)
    return None if body is None else content_of(body)


_remembered_content = lru_cache(maxsize=64)(_content)


def values_blob(values: Mapping[str, str]) -> bytes:
    """Return the blob of a workload's written fields: path -> value."""
    return canonical({"values": dict(values)})


def values_from(blob: bytes) -> dict[str, str]:
    """Return the values that `values_blob` wrote."""
    return {str(path): str(value) for path, value in json.loads(blob)["values"].items()}
