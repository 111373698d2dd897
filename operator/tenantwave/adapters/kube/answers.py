"""The answer table: what a reply of the API server means for us. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import timedelta
from typing import Any

import orjson

from tenantwave import faults
from tenantwave.adapters.kube.transport import Reply

LONGEST_WAIT_SECONDS = 60.0


def fault_of(reply: Reply, doing: str) -> faults.Fault:
    """Return the fault that this reply is; `doing` names verb and object ("patch Deployment acme/web"). For codes from 400 up."""
    status = _status(reply.body)
    message = f"{doing}: {status.get('message') or f'the API server answered {reply.code}'}"
    wait = retry_after(reply)
    match reply.code:
        case 422 if any(cause.get("field") == "metadata.uid" for cause in _causes(status)):
            return faults.Conflict(message)  # a patch met another object of that name: the API server calls its uid immutable
        case 400 | 405 | 406 | 413 | 415 | 422:
            return faults.Invalid(message)
        case 401:
            return faults.Forbidden(f"{message} (our credentials were refused, also after they were read again)")
        case 403:
            return faults.Forbidden(message, quota="exceeded quota" in message, terminating=_terminating(status))
        case 404:
            return faults.NotFound(message)
        case 409 if status.get("reason") == "AlreadyExists":
            return faults.AlreadyExists(message)
        case 409 if owners := _owners(status):
            return faults.ApplyConflict(message, owners=owners)
        case 409:
            return faults.Conflict(message)
        case 410:
            return faults.Expired(message)
        case _:
            return faults.Unavailable(message, retry_after=wait)


def retry_after(reply: Reply) -> timedelta | None:
    """Return the wait that the server asks for, at most 60 s. A date instead of seconds is not used by API servers and gives None."""
    text = reply.headers.get("Retry-After", "")
    return timedelta(seconds=min(float(text), LONGEST_WAIT_SECONDS)) if text.isdecimal() else None


def landed_nowhere(reply: Reply) -> bool:
    """Tell whether a write that got this reply surely changed nothing, so that it may be sent again.

    429: refused before it ran. 500 of a webhook that could not be called: admission comes before storage.
    """
    return reply.code == 429 or (reply.code == 500 and "failed calling webhook" in str(_status(reply.body).get("message", "")))


def _status(body: bytes) -> Mapping[str, Any]:
    """Return the Status object of an error, or an empty one: proxies answer in HTML."""
    try:
        value = orjson.loads(body)
    except orjson.JSONDecodeError:
        return {}
    return value if isinstance(value, dict) else {}


def _causes(status: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    return (status.get("details") or {}).get("causes") or []


def _terminating(status: Mapping[str, Any]) -> bool:
    return any(cause.get("reason") == "NamespaceTerminating" for cause in _causes(status)) or "because it is being terminated" in str(
        status.get("message", "")
    )


def _owners(status: Mapping[str, Any]) -> tuple[tuple[str, str], ...]:
    """Return (field, manager) of each apply conflict. The manager stands in quotes: `conflict with "helm" using apps/v1`."""
    return tuple(
        (str(cause.get("field", "")), _quoted(str(cause.get("message", ""))))
        for cause in _causes(status)
        if cause.get("reason") == "FieldManagerConflict"
    )


def _quoted(text: str) -> str:
    parts = text.split('"')
    return parts[1] if len(parts) > 2 else text
