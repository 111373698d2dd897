"""What an answer of Prometheus means. Pure: a status, headers and a body in; rows, or a failure with its mend, out."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta
from typing import Any
from urllib.parse import urlsplit

import orjson

from tenantwave.core.gates.samples import Answer, FailureKind, QueryFailure, Row, Rows, Source

DETAIL_CHARACTERS = 2000
SHOWN_CHARACTERS = 200
READ_CHARACTERS = 20_000
_ADVISORY = ("PromQL warning:", "PromQL info:")
_PATH_HINT = "check prometheus.url and its path prefix (/prometheus for Mimir, /select/0/prometheus for VictoriaMetrics)"


@dataclass(frozen=True, slots=True)
class Reply:
    """An HTTP answer. `location` is where a redirect wants to go, as it stands in the header."""

    status: int
    body: bytes
    retry_after: timedelta | None = None
    location: str = ""


Hide = Callable[[str], str]
"""Blots out our credentials: servers and proxies repeat in their errors what they were sent."""


def read_reply(source: Source, reply: Reply, hide: Hide = str) -> Answer:
    """Return the rows of a complete answer, or why there are none. The first rule that matches wins."""
    host = f"Prometheus at {urlsplit(source.url).hostname}"
    status = reply.status
    if 300 <= status < 400:
        target = _host_of(reply.location, hide) or "another place"
        return QueryFailure(
            FailureKind.REDIRECTED, f"{host} redirects to {target}, which is never followed; put the final address into prometheus.url"
        )
    if status in (401, 403):
        mend = f"check the Secret {source.secret_name}" if source.secret_name else "name a Secret with credentials in prometheus.secretRef"
        return QueryFailure(FailureKind.AUTH_FAILED, f"{host} refused our credentials (HTTP {status}); {mend}")
    if status in (429, 503):
        return QueryFailure(
            FailureKind.THROTTLED, f"{host} is overloaded or out of quota (HTTP {status}); it is asked less often", reply.retry_after
        )
    if status in (413, 414, 431):
        return QueryFailure(
            FailureKind.TOO_LARGE, f"{host} refused the query for its size (HTTP {status}); raise the proxy's limit", can_split=True
        )
    if status >= 500:
        return QueryFailure(
            FailureKind.UNREACHABLE, f"{host} has an error of its own (HTTP {status}); see its log", detail=_cut(reply.body, hide)
        )
    document = _document(reply.body)
    if status in (400, 422) and document is not None and document.get("status") == "error":
        return _refused(host, document, status, hide)
    if status != 200 or document is None or document.get("status") != "success":
        return not_prometheus(source, f"as Prometheus does (HTTP {status})", _cut(reply.body, hide))
    return _success(host, document, hide)


def not_prometheus(source: Source, how: str, detail: str) -> QueryFailure:
    """Return that something else answers at this URL: `how` completes "did not answer ..."."""
    message = f"Prometheus at {urlsplit(source.url).hostname} did not answer {how}; {_PATH_HINT}"
    return QueryFailure(FailureKind.NOT_PROMETHEUS, message, detail=detail)


def _refused(host: str, document: dict[str, Any], status: int, hide: Hide) -> QueryFailure:
    error = clean(str(document.get("error", "")), hide)
    too_many = status == 422 and "too many samples" in error
    shown = error[:SHOWN_CHARACTERS]
    mend = "it is asked in smaller parts" if too_many else "correct the gate's metric names and matchers"
    return QueryFailure(
        FailureKind.QUERY_INVALID, f"{host} refused the query: {shown}; {mend}", can_split=too_many, detail=error[:DETAIL_CHARACTERS]
    )


def _success(host: str, document: dict[str, Any], hide: Hide) -> Answer:
    warnings = tuple(clean(text, hide) for name in ("warnings", "infos") for text in _strings(document.get(name)))
    grave = next((warning for warning in warnings if not warning.startswith(_ADVISORY)), None)
    if document.get("isPartial", False) is not False or grave is not None:
        told = f": {grave[:SHOWN_CHARACTERS]}" if grave else ""
        return QueryFailure(
            FailureKind.PARTIAL, f"{host} answered only in part{told}; check its stores", detail="; ".join(warnings)[:DETAIL_CHARACTERS]
        )
    data = document.get("data")
    if not isinstance(data, dict) or data.get("resultType") != "vector" or not isinstance(data.get("result"), list):
        found = data.get("resultType") if isinstance(data, dict) else "nothing"
        return _invalid(
            f"{host} answered a {str(found)[:20]} where one number per tenant is needed; write a query that gives an instant vector"
        )
    rows: list[Row] = []
    for element in data["result"]:
        row = _row(element)
        if row is None:
            if isinstance(element, dict) and "histogram" in element:
                return _invalid(
                    f"{host} answered a native histogram, which cannot be compared with a limit; use a classic histogram or a float metric"
                )
            return QueryFailure(
                FailureKind.NOT_PROMETHEUS,
                f"{host} answered a row that cannot be read; {_PATH_HINT}",
                detail=clean(str(element), hide),
            )
        rows.append(row)
    return Rows(tuple(rows), tuple(warning[:SHOWN_CHARACTERS] for warning in warnings[:10]))


def _row(element: Any) -> Row | None:
    match element:
        case {"metric": dict(labels), "value": [_, str(text)], **more} if "_" not in text and "histogram" not in more:
            try:
                return Row({str(name): str(value) for name, value in labels.items()}, float(text))
            except ValueError:
                return None
    return None


def _document(body: bytes) -> dict[str, Any] | None:
    try:
        document = orjson.loads(body)
    except orjson.JSONDecodeError:
        return None
    return document if isinstance(document, dict) else None


def _strings(value: Any) -> tuple[str, ...]:
    """Return a list of texts; anything else that stands there counts as one grave text, because we do not understand it."""
    if value is None:
        return ()
    return tuple(map(str, value)) if isinstance(value, list) else (str(value),)


def _invalid(message: str) -> QueryFailure:
    return QueryFailure(FailureKind.QUERY_INVALID, message)


def clean(text: str, hide: Hide, length: int = DETAIL_CHARACTERS) -> str:
    """Return a server's words without our credentials, on one line, so that they cannot pass for lines of our log; cut last."""
    return "".join(character if character.isprintable() else " " for character in hide(text[:READ_CHARACTERS])[:length])


def _cut(body: bytes, hide: Hide) -> str:
    return clean(body[:READ_CHARACTERS].decode(errors="replace"), hide)


def _host_of(location: str, hide: Hide) -> str:
    """Return the host that a redirect names, and nothing else: the rest may carry a credential."""
    try:
        return clean(urlsplit(location).hostname or "", hide, SHOWN_CHARACTERS)
    except ValueError:
        return ""
