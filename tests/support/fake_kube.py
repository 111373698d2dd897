"""A small API server in memory, over real HTTP, with knobs for everything that goes wrong.

It knows what our adapters need: objects by path, resourceVersions, preconditions, merge patches, lists in pages, watches with bookmarks. It
judges no schema and no rights. Use it as an async context manager; `url` and `kubeconfig(folder)` say how to reach it.
"""

from __future__ import annotations

import asyncio
import json
import uuid
from collections import Counter
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from aiohttp import web

Object = dict[str, Any]
Collection = str
"""A path without namespace: `/api/v1/configmaps`."""


@dataclass
class Knobs:
    """What shall go wrong. A counter goes down with each use."""

    answers: list[tuple[int, dict[str, str], Object]] = field(default_factory=list)
    """Answer the next requests that are no watch with these codes, headers and bodies, and do nothing."""
    lost_replies: int = 0
    """Carry out so many requests, and cut the connection instead of answering."""
    delay: Callable[[web.Request], float] = lambda request: 0.0
    """Seconds to wait before a request is looked at."""
    watch_answers: list[int] = field(default_factory=list)
    """Answer the next watches with these codes."""
    watch_errors: list[int] = field(default_factory=list)
    """Begin the next watches with an ERROR event of this code."""
    cut_watch_after: int | None = None
    """Cut each watch after so many events."""
    silent_watches: bool = False
    """Accept watches and say nothing."""
    bookmark_seconds: float = 0.2
    valid_tokens: set[str] | None = None
    """Answer 401 to any other token."""


class FakeKube:
    """The server. `objects`, `requests` and `knobs` are open to tests; `put` and `remove` are other people's writes."""

    def __init__(self) -> None:
        self.objects: dict[tuple[Collection, str, str], Object] = {}
        self.knobs = Knobs()
        self.requests: Counter[str] = Counter()
        self.queries: list[tuple[str, str, dict[str, str]]] = []
        self.groups: dict[str, list[str]] = {}
        """`/apis/<group>/<version>` -> plurals, for discovery."""
        self.denied: set[tuple[str, str]] = set()
        """(verb, plural) that access reviews refuse."""
        self.oldest_version = 0
        """Watches from an older version get 410."""
        self._log: list[tuple[int, str, tuple[Collection, str, str], Object | None, Object]] = []
        self._version = 100
        self._news = asyncio.Condition()
        self._pages: dict[str, tuple[list[Object], int]] = {}
        self._runner: web.AppRunner | None = None
        self.port = 0

    async def __aenter__(self) -> Self:
        app = web.Application(client_max_size=4_000_000)
        app.router.add_route("*", "/{tail:.*}", self._handle)
        self._runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1)
        await self._runner.setup()
        await web.TCPSite(self._runner, "127.0.0.1", self.port).start()
        self.port = self._runner.addresses[0][1]
        return self

    async def __aexit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        assert self._runner is not None
        await self._runner.cleanup()
        await asyncio.sleep(0)  # connections that a knob has cut close their sockets in the loop's next turn

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def kubeconfig(self, folder: Path, token: str = "") -> Path:
        """Write a kubeconfig and return where."""
        path = folder / "kubeconfig"
        user = {"token": token} if token else {}
        path.write_text(
            json.dumps(
                {
                    "apiVersion": "v1",
                    "kind": "Config",
                    "current-context": "fake",
                    "contexts": [{"name": "fake", "context": {"cluster": "fake", "user": "fake"}}],
                    "clusters": [{"name": "fake", "cluster": {"server": self.url}}],
                    "users": [{"name": "fake", "user": user}],
                }
            )
        )
        return path

    @property
    def version(self) -> int:
        """Return the present resourceVersion of everything."""
        return self._version

    # Other people's writes

    async def put(self, collection: Collection, name: str, body: Object | None = None, *, namespace: str = "") -> Object:
        """Create or change an object as somebody else, and return it as stored."""
        metadata = {"name": name} | ({"namespace": namespace} if namespace else {}) | ((body or {}).get("metadata") or {})
        return await self._store((collection, namespace, name), (body or {}) | {"metadata": metadata})

    async def remove(self, collection: Collection, name: str, *, namespace: str = "", silently: bool = False) -> None:
        """Delete an object as somebody else. `silently`: no watch ever hears of it, as in a gap."""
        await self._remove((collection, namespace, name), silently=silently)

    def forget_history(self) -> None:
        """Compact: no watch may begin at a version before now."""
        self._version += 1
        self.oldest_version = self._version

    # Storage

    async def _store(self, key: tuple[Collection, str, str], body: Object) -> Object:
        old = self.objects.get(key)
        self._version += 1
        metadata = dict(body["metadata"]) | {
            "resourceVersion": str(self._version),
            "uid": old["metadata"]["uid"] if old else str(uuid.uuid4()),
        }
        stored = dict(body) | {"metadata": metadata}
        self.objects[key] = stored
        await self._tell("MODIFIED" if old else "ADDED", key, old, stored)
        return stored

    async def _remove(self, key: tuple[Collection, str, str], *, silently: bool = False) -> None:
        gone = self.objects.pop(key)
        self._version += 1
        gone = dict(gone) | {"metadata": dict(gone["metadata"]) | {"resourceVersion": str(self._version)}}
        if not silently:
            await self._tell("DELETED", key, None, gone)

    async def _tell(self, event: str, key: tuple[Collection, str, str], before: Object | None, body: Object) -> None:
        self._log.append((self._version, event, key, before, body))
        async with self._news:
            self._news.notify_all()

    # HTTP

    async def _handle(self, request: web.Request) -> web.StreamResponse:
        is_watch = request.query.get("watch") == "true"
        self.requests["WATCH" if is_watch else request.method] += 1
        self.queries.append((request.method, request.path, dict(request.query)))
        await asyncio.sleep(self.knobs.delay(request))
        if self.knobs.valid_tokens is not None:
            token = request.headers.get("Authorization", "").removeprefix("Bearer ")
            if token not in self.knobs.valid_tokens:
                return _status(401, "Unauthorized", "Unauthorized")
        if not is_watch and self.knobs.answers:
            code, headers, body = self.knobs.answers.pop(0)
            return web.json_response(body, status=code, headers=headers)
        if is_watch:
            return await self._watch(request)
        response = await self._answer(request)
        if self.knobs.lost_replies > 0 and request.transport is not None:
            self.knobs.lost_replies -= 1
            request.transport.abort()
        return response

    async def _answer(self, request: web.Request) -> web.Response:
        if request.path in self.groups:
            return web.json_response({"kind": "APIResourceList", "resources": [{"name": name} for name in self.groups[request.path]]})
        if request.path.count("/") == 3 and request.path.startswith("/apis/"):
            return _status(404, "NotFound", "the server could not find the requested resource")
        collection, namespace, name = _split(request.path)
        body = json.loads(await request.read() or b"null")
        if collection.endswith("/selfsubjectaccessreviews"):
            asked = body["spec"]["resourceAttributes"]
            return web.json_response({"status": {"allowed": (asked["verb"], asked["resource"]) not in self.denied}})
        match request.method:
            case "GET" if not name:
                return self._list(request, collection, namespace)
            case "POST":
                name = body["metadata"]["name"]
        key = (collection, namespace, name)
        present = self.objects.get(key)
        if request.method == "POST":
            if present is not None:
                return _status(409, "AlreadyExists", f'{name} "already exists"')
            return web.json_response(await self._store(key, body), status=201)
        if present is None:
            return _status(404, "NotFound", f'{collection} "{name}" not found')
        if request.method == "GET":
            return web.json_response(present)
        if request.method == "PATCH" and (body.get("metadata") or {}).get("uid", present["metadata"]["uid"]) != present["metadata"]["uid"]:
            return _status(422, "Invalid", "metadata.uid: field is immutable", causes=[{"field": "metadata.uid"}])
        if broken := _broken_precondition(present, _precondition(request.method, body)):
            return _status(409, "Conflict", broken)
        if request.query.get("dryRun") == "All":
            return web.json_response(present)
        if request.method == "DELETE":
            await self._remove(key)
            return _status(200, "", "", status="Success", uid=present["metadata"]["uid"])
        after = body if request.method == "PUT" else _merged(present, body)
        after["metadata"].pop("resourceVersion", None)
        if request.method == "PATCH" and _plain(after) == _plain(present):
            return web.json_response(present)
        return web.json_response(await self._store(key, after))

    def _list(self, request: web.Request, collection: Collection, namespace: str) -> web.Response:
        token = request.query.get("continue", "")
        if token:
            if token not in self._pages:
                return _status(410, "Expired", "the continue token is too old")
            items, version = self._pages.pop(token)
        else:
            items = [body for key, body in sorted(self.objects.items()) if _in_scope(key, body, collection, namespace, request)]
            version = self._version
        limit = int(request.query.get("limit", "0")) or len(items) or 1
        metadata: Object = {"resourceVersion": str(version)}
        if len(items) > limit:
            metadata["continue"] = uuid.uuid4().hex
            self._pages[metadata["continue"]] = (items[limit:], version)
        page = items[:limit]
        if "as=PartialObjectMetadataList" in request.headers.get("Accept", ""):
            page = [{"metadata": body["metadata"]} for body in page]
        return web.json_response({"kind": "List", "metadata": metadata, "items": page})

    def expire_pages(self) -> None:
        """Forget all lists that are under way."""
        self._pages.clear()

    async def _watch(self, request: web.Request) -> web.StreamResponse:
        if self.knobs.watch_answers:
            return _status(self.knobs.watch_answers.pop(0), "Expired", "the resourceVersion is too old")
        response = web.StreamResponse(headers={"Content-Type": "application/json"})
        await response.prepare(request)
        if self.knobs.watch_errors:
            code = self.knobs.watch_errors.pop(0)
            await _send(response, "ERROR", {"kind": "Status", "code": code, "message": "told by a knob"})
            return response
        version = int(request.query["resourceVersion"])
        if version < self.oldest_version:
            await _send(response, "ERROR", {"kind": "Status", "code": 410, "message": f"too old resource version: {version}"})
            return response
        if self.knobs.silent_watches:
            await asyncio.sleep(3600)
        with suppress(TimeoutError, ConnectionError):
            await asyncio.wait_for(self._follow(request, response, version), float(request.query["timeoutSeconds"]))
        return response

    async def _follow(self, request: web.Request, response: web.StreamResponse, version: int) -> None:
        collection, namespace, _ = _split(request.path)
        sent = 0
        while True:
            for number, event, key, before, body in self._log:
                if number <= version:
                    continue
                was, is_now = (one is not None and _in_scope(key, one, collection, namespace, request) for one in (before, body))
                if was or is_now:
                    if event == "MODIFIED" and was != is_now:
                        event = "ADDED" if is_now else "DELETED"  # it came into the selection, or left it
                    if sent == self.knobs.cut_watch_after and request.transport is not None:
                        request.transport.close()  # in the middle of the stream, but what was sent arrives
                        return
                    await _send(response, event, body)
                    sent += 1
            version = max(version, self._version)
            try:
                async with self._news:
                    await asyncio.wait_for(self._news.wait(), self.knobs.bookmark_seconds)
            except TimeoutError:
                await _send(response, "BOOKMARK", {"metadata": {"resourceVersion": str(version)}})


async def _send(response: web.StreamResponse, event: str, body: Object) -> None:
    await response.write(json.dumps({"type": event, "object": body}).encode() + b"\n")


def _status(code: int, reason: str, message: str, *, status: str = "Failure", causes: Sequence[Object] = (), uid: str = "") -> web.Response:
    body = {
        "kind": "Status",
        "status": status,
        "reason": reason,
        "message": message,
        "code": code,
        "details": {"causes": list(causes), "uid": uid},
    }
    return web.json_response(body, status=code)


def _split(path: str) -> tuple[Collection, str, str]:
    """Return collection, namespace and name; what follows a name (a subresource) is not told apart."""
    parts = path.strip("/").split("/")
    head = 2 if parts[0] == "api" else 3
    rest = parts[head:]
    namespace = ""
    if rest[:1] == ["namespaces"] and len(rest) > 2:
        namespace, rest = rest[1], rest[2:]
    return "/" + "/".join([*parts[:head], rest[0]]), namespace, rest[1] if len(rest) > 1 else ""


def _in_scope(key: tuple[Collection, str, str], body: Object, collection: Collection, namespace: str, request: web.Request) -> bool:
    labels = body["metadata"].get("labels") or {}
    wanted = [term.split("=", 1) for term in request.query.get("labelSelector", "").split(",") if term]
    return key[0] == collection and namespace in ("", key[1]) and all(labels.get(label) == value for label, value in wanted)


def _precondition(method: str, body: Any) -> Object:
    if not isinstance(body, dict):
        return {}
    return (body.get("preconditions") if method == "DELETE" else body.get("metadata")) or {}


def _broken_precondition(present: Object, wanted: Object) -> str:
    for name in ("resourceVersion", "uid"):
        if wanted.get(name) and wanted[name] != present["metadata"][name]:
            return "the object has been modified; please apply your changes to the latest version and try again"
    return ""


def _merged(target: Any, patch: Any) -> Any:
    """Apply a JSON merge patch (RFC 7386)."""
    if not isinstance(patch, dict):
        return patch
    result = dict(target) if isinstance(target, dict) else {}
    for key, value in patch.items():
        if value is None:
            result.pop(key, None)
        else:
            result[key] = _merged(result.get(key), value)
    return result


def _plain(body: Object) -> Object:
    return body | {"metadata": {key: value for key, value in body["metadata"].items() if key != "resourceVersion"}}
