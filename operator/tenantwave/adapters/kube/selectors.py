"""The few selectors that our reflectors use, judged on our side for our own writes. Everything else is selected by the server."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any


def selects(labels: str, fields: str, body: Mapping[str, Any]) -> bool:
    """Tell whether an object is in a reflector's scope: `key=value`, `key` and `!key` of labels, `metadata.name=` of fields.

    Raises ValueError for any other form, because a wrong guess would leave a stale object in the cache.
    """
    metadata = body.get("metadata") or {}
    own = metadata.get("labels") or {}
    return all(_label_fits(term.strip(), own) for term in labels.split(",") if term) and all(
        _field_fits(term.strip(), metadata) for term in fields.split(",") if term
    )


def _label_fits(term: str, labels: Mapping[str, str]) -> bool:
    if any(sign in term for sign in ("!=", " in ", " notin ", "(", ")")):
        raise ValueError(f"label selector {term!r}: only key=value, key and !key can be judged here")
    if term.startswith("!"):
        return term[1:] not in labels
    key, has_value, value = term.replace("==", "=").partition("=")
    return labels.get(key) == value if has_value else key in labels


def _field_fits(term: str, metadata: Mapping[str, Any]) -> bool:
    key, _, value = term.partition("=")
    if key not in ("metadata.name", "metadata.namespace"):
        raise ValueError(f"field selector {term!r}: only metadata.name and metadata.namespace can be judged here")
    return bool(metadata.get(key.removeprefix("metadata.")) == value)
