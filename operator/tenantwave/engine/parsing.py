"""How objects of the API server are read: what cannot be read says so, and stops nothing else."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any, TypeVar

from pydantic import ValidationError

from tenantwave.api.conditions import Condition
from tenantwave.api.model import ApiModel

Raw = Mapping[str, Any]
Model = TypeVar("Model", bound=ApiModel)


def instant(text: str | None) -> datetime | None:
    """Read a time of the API server."""
    return datetime.fromisoformat(text) if text else None


def first_problem(error: ValidationError, part: str) -> str:
    """Return the first thing that is wrong in this part of an object, with its place."""
    found = error.errors(include_url=False, include_input=False)[0]
    place = ".".join([part, *(str(step) for step in found["loc"])])
    more = f" (and {error.error_count() - 1} more)" if error.error_count() > 1 else ""
    return f"{place}: {found['msg']}{more}"


def spec_of(model: type[Model], raw: Raw) -> tuple[Model | None, str]:
    """Return the spec; None where it cannot be read, and then the sentence that says why."""
    try:
        return model.model_validate(raw.get("spec") or {}), ""
    except ValidationError as error:
        return None, f"{first_problem(error, 'spec')}; correct the field"


def status_of(model: type[Model], raw: Raw) -> Model | None:
    """Return the status; None where it cannot be read."""
    try:
        return model.model_validate(raw.get("status") or {})
    except ValidationError:
        return None  # written by another version of the operator: it is replaced as a whole


def creation_time_of(metadata: Raw) -> datetime:
    """Return when the object was made."""
    return instant(metadata.get("creationTimestamp")) or datetime.min.replace(tzinfo=UTC)


def conditions_of(status: Raw) -> tuple[Condition, ...]:
    """Return the conditions, none where they cannot be read."""
    try:
        return tuple(Condition.model_validate(condition) for condition in status.get("conditions") or ())
    except ValidationError:
        return ()
