"""The client: raw dicts in and out, each write with its precondition, retries here and nowhere else.

What an answer means stands in `answers.py`. Reads are retried. A write is repeated only where that is harmless: it surely changed nothing,
or it carries a precondition, or it is the same server-side apply. Before each try of a write `leading` is asked, so that nothing leaves us
after the Lease is lost.
"""

from __future__ import annotations

import asyncio
import logging
import random
import time
from collections.abc import AsyncGenerator, Callable, Mapping, Sequence
from contextlib import aclosing
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime
from typing import Any
from urllib.parse import quote

import orjson

from tenantwave import faults
from tenantwave.adapters.kube.answers import fault_of, landed_nowhere
from tenantwave.adapters.kube.throttle import TokenBucket
from tenantwave.adapters.kube.transport import SILENCE_SECONDS, Broken, Lost, NotSent, Reply, Request, Transport
from tenantwave.api.kinds import FIELD_MANAGER, SELF_SUBJECT_ACCESS_REVIEW, Kind
from tenantwave.ports import Body
from tenantwave.telemetry import ApiTelemetry

log = logging.getLogger(__name__)

PAGE_SIZE = 500
TRIES = 5
FIRST_WAIT_SECONDS = 0.25
CLOCK_CHECK_SECONDS = 60.0

JSON = "application/json"
MERGE = "application/merge-patch+json"
STRATEGIC = "application/strategic-merge-patch+json"
JSON_PATCH = "application/json-patch+json"
APPLY = "application/apply-patch+yaml"
METADATA_LIST = "application/json;as=PartialObjectMetadataList;g=meta.k8s.io;v=v1"


@dataclass(frozen=True, slots=True)
class Written:
    """A write of ours that landed. `body` is the server's reply, None if the object `uid` is gone; `base_version` was its precondition."""

    kind: Kind
    namespace: str
    name: str
    body: Mapping[str, Any] | None
    base_version: str = ""
    uid: str = ""


@dataclass(frozen=True, slots=True)
class WatchEvent:
    """One line of a watch: ADDED, MODIFIED, DELETED or BOOKMARK, and the object."""

    type: str
    body: Mapping[str, Any]


class KubeClient:
    """The port `Cluster`, and what the reflectors need. `calls` and `watches` are separate pools."""

    def __init__(
        self,
        calls: Transport,
        watches: Transport,
        *,
        leading: Callable[[], bool],
        telemetry: ApiTelemetry,
        writes_per_second: float = 100.0,
        writes_in_flight: int = 32,
    ) -> None:
        self._calls = calls
        self._watches = watches
        self._leading = leading
        self._telemetry = telemetry
        self._bucket = TokenBucket(writes_per_second, now=time.monotonic)
        self._in_flight = asyncio.Semaphore(writes_in_flight)
        self._listeners: list[Callable[[Written], None]] = []
        self._clock_checked = float("-inf")

    def on_written(self, listener: Callable[[Written], None]) -> None:
        """Call `listener` with each write of ours that landed, before the caller gets its reply."""
        self._listeners.append(listener)

    # Reads

    async def get(self, kind: Kind, namespace: str, name: str) -> dict[str, Any]:
        """Return the object. Raises NotFound, Forbidden, Unavailable."""
        return _object(await self._read("get", kind, Request("GET", _path(kind, namespace, name)), _doing("get", kind, namespace, name)))

    async def list(self, kind: Kind, namespace: str = "", labels: str = "", fields: str = "") -> tuple[list[dict[str, Any]], str]:
        """Return all objects and the list's resourceVersion. If the server forgets the list on the way, it starts over, twice at most."""
        for last in (False, False, True):
            items: list[dict[str, Any]] = []
            version = ""
            try:
                async with aclosing(self.pages(kind, namespace, labels, fields)) as pages:
                    async for page, version in pages:  # noqa: B007 - the last version counts
                        items.extend(page)
            except faults.Expired:
                if last:
                    raise
            else:
                return items, version
        raise AssertionError("the loop returns or raises")

    async def pages(
        self, kind: Kind, namespace: str = "", labels: str = "", fields: str = "", *, metadata_only: bool = False
    ) -> AsyncGenerator[tuple[Sequence[dict[str, Any]], str]]:
        """Yield the objects in pages of 500, with the list's resourceVersion; `metadata_only`: nothing of them but their metadata.

        Raises Expired in the middle of a list that took too long.
        """
        accept = METADATA_LIST if metadata_only else JSON
        doing = _doing("list", kind, namespace)
        query = {"limit": str(PAGE_SIZE)} | _selectors(labels, fields)
        while True:
            page = _object(await self._read("list", kind, Request("GET", _path(kind, namespace), query, accept=accept), doing))
            metadata = page.get("metadata") or {}
            yield page.get("items") or [], str(metadata.get("resourceVersion", ""))
            if not (token := metadata.get("continue")):
                return
            query = query | {"continue": token}

    async def watch(
        self, kind: Kind, namespace: str = "", labels: str = "", fields: str = "", *, resource_version: str, timeout_seconds: int
    ) -> AsyncGenerator[WatchEvent]:
        """Yield what changes after `resource_version`, with bookmarks, until the server ends it after `timeout_seconds`.

        Close it with `aclosing`. Raises Expired (410, status or event), NotFound, Forbidden, Unavailable (also a cut, or 75 s of silence).
        """
        doing = _doing("watch", kind, namespace)
        query = {
            "watch": "true",
            "allowWatchBookmarks": "true",
            "resourceVersion": resource_version,
            "timeoutSeconds": str(timeout_seconds),
        } | _selectors(labels, fields)
        request = Request("GET", _path(kind, namespace), query, timeout_seconds=SILENCE_SECONDS)
        begun = time.monotonic()
        try:
            async with self._watches.stream(request) as (code, lines):
                self._telemetry.api_request("watch", kind.name, code, time.monotonic() - begun)
                if code != 200:
                    raise fault_of(Reply(code, b"\n".join([line async for line in lines]), {}), doing)
                async for line in lines:
                    yield _event(line, doing)
        except Broken as error:
            raise faults.Unavailable(f"{doing}: {error}") from error

    async def served(self, group: str, version: str) -> frozenset[str]:
        """Return the plurals of the kinds that the server serves in this group; none if it does not know the group. Raises Unavailable."""
        doing = f"ask what is served in {group}/{version}"
        kind = Kind(group, version, "", "APIResourceList", namespaced=False)
        try:
            answer = _object(await self._read("discover", kind, Request("GET", f"/apis/{group}/{version}"), doing))
        except faults.NotFound:
            return frozenset()
        return frozenset(resource["name"] for resource in answer.get("resources") or [])

    async def may(self, verb: str, kind: Kind, namespace: str = "", *, subresource: str = "", name: str = "") -> bool:
        """Tell whether we have this right (a SelfSubjectAccessReview). Raises Unavailable."""
        attributes = {"verb": verb, "group": kind.group, "resource": kind.plural}
        attributes |= {"namespace": namespace, "subresource": subresource, "name": name}
        body = {
            "apiVersion": SELF_SUBJECT_ACCESS_REVIEW.api_version,
            "kind": SELF_SUBJECT_ACCESS_REVIEW.name,
            "spec": {"resourceAttributes": {key: value for key, value in attributes.items() if value}},
        }
        request = Request("POST", _path(SELF_SUBJECT_ACCESS_REVIEW, ""), {}, orjson.dumps(body), JSON)
        answer = _object(await self._read("review", SELF_SUBJECT_ACCESS_REVIEW, request, f"ask whether we may {verb} {kind.plural}"))
        return bool((answer.get("status") or {}).get("allowed"))

    # Writes

    async def create(self, kind: Kind, body: Body, *, dry_run: bool = False) -> dict[str, Any]:
        """Create the object named in `body.metadata`. Raises AlreadyExists."""
        metadata = body["metadata"]
        namespace, name = metadata.get("namespace", ""), metadata.get("name", "")
        full = {"apiVersion": kind.api_version, "kind": kind.name} | dict(body)
        request = Request("POST", _path(kind, namespace), _manager(dry_run), orjson.dumps(full), JSON)
        return await self._write("create", kind, namespace, name, request, repeatable=dry_run)

    async def merge_patch(
        self,
        kind: Kind,
        namespace: str,
        name: str,
        patch: Body,
        *,
        resource_version: str = "",
        uid: str = "",
        subresource: str = "",
        dry_run: bool = False,
    ) -> dict[str, Any]:
        """Send a JSON merge patch: None removes a field, lists are replaced. Raises Conflict if `resource_version` or `uid` do not hold."""
        sent = _guarded(patch, resource_version, uid)
        return await self._patch(MERGE, kind, namespace, name, sent, subresource, resource_version, uid, dry_run)

    async def strategic_patch(
        self,
        kind: Kind,
        namespace: str,
        name: str,
        patch: Body,
        *,
        resource_version: str = "",
        uid: str = "",
        subresource: str = "",
        dry_run: bool = False,
    ) -> dict[str, Any]:
        """Send a strategic merge patch (built-in kinds only): containers merge by name. Raises Conflict as `merge_patch` does."""
        sent = _guarded(patch, resource_version, uid)
        return await self._patch(STRATEGIC, kind, namespace, name, sent, subresource, resource_version, uid, dry_run)

    async def json_patch(
        self, kind: Kind, namespace: str, name: str, operations: Sequence[Body], *, subresource: str = "", dry_run: bool = False
    ) -> dict[str, Any]:
        """Send a JSON patch; its `test` operations are the precondition. Raises Invalid if one fails (422)."""
        tested = str(any(operation.get("op") == "test" for operation in operations) or "")
        return await self._patch(JSON_PATCH, kind, namespace, name, list(operations), subresource, "", tested, dry_run)

    async def apply(self, kind: Kind, body: Body, *, force: bool = False, subresource: str = "", dry_run: bool = False) -> dict[str, Any]:
        """Server-side apply as `tenantwave`. Raises ApplyConflict without `force` where somebody else owns a field."""
        metadata = body["metadata"]
        namespace, name = metadata.get("namespace", ""), metadata["name"]
        full = {"apiVersion": kind.api_version, "kind": kind.name} | dict(body)
        query = _manager(dry_run) | ({"force": "true"} if force else {})
        request = Request("PATCH", _path(kind, namespace, name, subresource), query, orjson.dumps(full), APPLY)
        return await self._write("apply", kind, namespace, name, request, repeatable=True)

    async def replace(self, kind: Kind, body: Body, *, subresource: str = "", dry_run: bool = False) -> dict[str, Any]:
        """PUT the object; `body.metadata.resourceVersion` is the precondition. Raises Conflict."""
        metadata = body["metadata"]
        namespace, name, version = metadata.get("namespace", ""), metadata["name"], metadata.get("resourceVersion", "")
        full = {"apiVersion": kind.api_version, "kind": kind.name} | dict(body)
        request = Request("PUT", _path(kind, namespace, name, subresource), _manager(dry_run), orjson.dumps(full), JSON)
        return await self._write("update", kind, namespace, name, request, repeatable=bool(version) or dry_run, base_version=version)

    async def delete(self, kind: Kind, namespace: str, name: str, *, uid: str = "", resource_version: str = "") -> None:
        """Delete the object if it still is the one meant. Raises NotFound, Conflict."""
        conditions = {key: value for key, value in (("uid", uid), ("resourceVersion", resource_version)) if value}
        options: dict[str, Any] = {"apiVersion": "v1", "kind": "DeleteOptions", "propagationPolicy": "Background"}
        if conditions:
            options["preconditions"] = conditions
        request = Request("DELETE", _path(kind, namespace, name), {}, orjson.dumps(options), JSON)
        await self._write("delete", kind, namespace, name, request, repeatable=bool(conditions), base_version=resource_version)

    async def _patch(
        self, content: str, kind: Kind, namespace: str, name: str, patch: Any, subresource: str, version: str, guard: str, dry_run: bool
    ) -> dict[str, Any]:
        request = Request("PATCH", _path(kind, namespace, name, subresource), _manager(dry_run), orjson.dumps(patch), content)
        repeatable = bool(version or guard) or dry_run
        return await self._write("patch", kind, namespace, name, request, repeatable=repeatable, base_version=version)

    # One exchange and its retries

    async def _read(self, verb: str, kind: Kind, request: Request, doing: str) -> Reply:
        fault: faults.Fault = faults.Unavailable(doing)
        for number in range(TRIES):
            if number:
                await asyncio.sleep(_wait(number, fault.retry_after))
            try:
                reply = await self._exchange(self._calls, verb, kind, request)
            except Broken as error:
                fault = faults.Unavailable(f"{doing}: {error}")
                fault.__cause__ = error
                continue
            if reply.code < 400:
                return reply
            fault = fault_of(reply, doing)
            if not isinstance(fault, faults.Unavailable):
                raise fault
        raise fault

    async def _write(
        self, verb: str, kind: Kind, namespace: str, name: str, request: Request, *, repeatable: bool, base_version: str = ""
    ) -> dict[str, Any]:
        doing = _doing(verb, kind, namespace, name)
        fault: faults.Fault = faults.Unavailable(doing)
        for number in range(TRIES):
            if number:
                await asyncio.sleep(_wait(number, fault.retry_after))
            try:
                reply = await self._send_write(verb, kind, request, doing)
            except NotSent as error:
                fault = faults.Unavailable(f"{doing}: {error}")
                fault.__cause__ = error
                continue
            except Lost as error:
                raise faults.OutcomeUnknown(f"{doing}: the answer was lost ({error}); it may have landed") from error
            if reply.code < 400:
                return self._landed(kind, namespace, name, request, reply, base_version)
            fault = fault_of(reply, doing)
            if not isinstance(fault, faults.Unavailable):
                raise fault
            may_repeat = landed_nowhere(reply) or (reply.code == 503 and repeatable and number < TRIES - 1)
            if not may_repeat:
                raise faults.OutcomeUnknown(f"{fault.message}; it may have landed", retry_after=fault.retry_after)
        raise fault

    async def _send_write(self, verb: str, kind: Kind, request: Request, doing: str) -> Reply:
        async with self._in_flight:
            await self._bucket.take()
            if not self._leading():
                raise faults.NotLeading(f"{doing}: not sent, because this replica does not lead")
            return await self._exchange(self._calls, verb, kind, request)

    async def _exchange(self, transport: Transport, verb: str, kind: Kind, request: Request) -> Reply:
        begun = time.monotonic()
        code = 0
        try:
            reply = await transport.send(request)
            code = reply.code
        finally:
            self._telemetry.api_request(verb, kind.name, code, time.monotonic() - begun)
        self._check_clock(reply)
        return reply

    def _landed(self, kind: Kind, namespace: str, name: str, request: Request, reply: Reply, base_version: str) -> dict[str, Any]:
        body = _object(reply)
        if "dryRun" not in request.query:
            gone = request.method == "DELETE" and body.get("kind") == "Status"
            name = name or str((body.get("metadata") or {}).get("name", ""))
            uid = ((body.get("details") if gone else body.get("metadata")) or {}).get("uid", "")
            written = Written(kind, namespace, name, None if gone else body, base_version, uid)
            for listener in self._listeners:
                listener(written)
        return body

    def _check_clock(self, reply: Reply) -> None:
        now = time.monotonic()
        if now - self._clock_checked < CLOCK_CHECK_SECONDS or "Date" not in reply.headers:
            return
        self._clock_checked = now
        skew = datetime.now(UTC) - parsedate_to_datetime(reply.headers["Date"])
        self._telemetry.clock_skew(skew.total_seconds())


def _wait(number: int, asked: timedelta | None) -> float:
    """Return the seconds before try `number` (from 1): what the server asked for, else 0.25 s doubled, either with up to 20 % on top."""
    seconds = asked.total_seconds() if asked is not None else FIRST_WAIT_SECONDS * 2.0 ** (number - 1)
    return seconds * random.uniform(1.0, 1.2)  # noqa: S311 - spreads retries, no secret


def _path(kind: Kind, namespace: str, name: str = "", subresource: str = "") -> str:
    root = f"/apis/{kind.group}/{kind.version}" if kind.group else f"/api/{kind.version}"
    parts = ["namespaces", namespace] if kind.namespaced and namespace else []
    parts += [part for part in (kind.plural, name, subresource) if part]
    return "/".join((root, *(quote(part, safe=":") for part in parts)))


def _doing(verb: str, kind: Kind, namespace: str, name: str = "") -> str:
    return f"{verb} {kind.name} {'/'.join(part for part in (namespace, name) if part) or 'of all namespaces'}"


def _selectors(labels: str, fields: str) -> dict[str, str]:
    return {key: value for key, value in (("labelSelector", labels), ("fieldSelector", fields)) if value}


def _manager(dry_run: bool) -> dict[str, str]:
    return {"fieldManager": FIELD_MANAGER} | ({"dryRun": "All"} if dry_run else {})


def _guarded(patch: Body, resource_version: str, uid: str) -> dict[str, Any]:
    """Put the preconditions where the API server looks for them: into the patch's metadata."""
    guards = {key: value for key, value in (("resourceVersion", resource_version), ("uid", uid)) if value}
    return dict(patch) | {"metadata": dict(patch.get("metadata") or {}) | guards} if guards else dict(patch)


def _object(reply: Reply) -> dict[str, Any]:
    try:
        value = orjson.loads(reply.body)
    except orjson.JSONDecodeError as error:
        raise faults.Unavailable(f"the answer {reply.code} is no JSON; is this address an API server, and no proxy's page?") from error
    if not isinstance(value, dict):
        raise faults.Unavailable(f"the answer {reply.code} is no JSON object; is this address an API server?")
    return value


def _event(line: bytes, doing: str) -> WatchEvent:
    """Read one line of a watch. Raises Expired or Unavailable for an ERROR event."""
    try:
        event = orjson.loads(line)
    except orjson.JSONDecodeError as error:
        raise faults.Unavailable(f"{doing}: the stream broke inside an event") from error
    body = event["object"]
    if event["type"] == "ERROR":
        raise fault_of(Reply(int(body.get("code") or 500), orjson.dumps(body), {}), doing)
    return WatchEvent(event["type"], body)
