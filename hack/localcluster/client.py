"""A small asynchronous Kubernetes client on aiohttp: raw dicts in, raw dicts out.

It serves the pod player, the traffic exporter and the tests. The operator has its own (adapters/kube); keeping them apart lets tests look
at the cluster with eyes other than the operator's.
"""

from __future__ import annotations

import asyncio
import logging
import socket
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Self, TypeVar
from weakref import WeakSet

import aiohttp
import orjson

from localcluster import kubeconfig

log = logging.getLogger("client")

Object = dict[str, Any]
T = TypeVar("T")

MERGE_PATCH = "application/merge-patch+json"
JSON_PATCH = "application/json-patch+json"
STRATEGIC_PATCH = "application/strategic-merge-patch+json"
APPLY_PATCH = "application/apply-patch+yaml"  # JSON is YAML

API_VERSIONS = {
    **dict.fromkeys(
        ("Namespace", "Pod", "ConfigMap", "Secret", "Service", "ServiceAccount", "Event", "Node", "ResourceQuota", "LimitRange"), "v1"
    ),
    **dict.fromkeys(("Deployment", "ReplicaSet", "StatefulSet", "DaemonSet", "ControllerRevision"), "apps/v1"),
    **dict.fromkeys(("Job", "CronJob"), "batch/v1"),
    **dict.fromkeys(("Role", "RoleBinding", "ClusterRole", "ClusterRoleBinding"), "rbac.authorization.k8s.io/v1"),
    "Lease": "coordination.k8s.io/v1",
    "PodDisruptionBudget": "policy/v1",
    "CustomResourceDefinition": "apiextensions.k8s.io/v1",
    "ValidatingAdmissionPolicy": "admissionregistration.k8s.io/v1",
    "ValidatingAdmissionPolicyBinding": "admissionregistration.k8s.io/v1",
    **dict.fromkeys(
        ("RolloutPolicy", "TenantUpgrade", "TenantProfile", "TenantDecision", "UpgradeAction", "TenantRun"), "tenantwave.io/v1alpha1"
    ),
}
"""What a bare kind means. Any other kind is written with its group and version: `example.com/v1/Widget`."""


class ApiError(Exception):
    """The API server refused a request: `status` is the HTTP code, `body` its Status object, the text its message."""

    def __init__(self, status: int, body: Object, request: str) -> None:
        super().__init__(f"{request}: {status} {body.get('message', '')}")
        self.status = status
        self.body = body

    @property
    def reason(self) -> str:
        return str(self.body.get("reason", ""))

    @property
    def message(self) -> str:
        return str(self.body.get("message", ""))


@dataclass(frozen=True, slots=True)
class Listed:
    """All objects there are: whatever is not among them is gone."""

    bodies: list[Object]


@dataclass(frozen=True, slots=True)
class Changed:
    """An object was added or changed."""

    body: Object


@dataclass(frozen=True, slots=True)
class Deleted:
    """An object is gone; the body is its last state."""

    body: Object


Change = Listed | Changed | Deleted

TROUBLE = (aiohttp.ClientError, TimeoutError, OSError)
"""What a request raises when nobody answers, as against ApiError, which is an answer."""


class KubeClient:
    """One pool of connections to one API server. Use it as an async context manager, inside one event loop."""

    def __init__(self, access: kubeconfig.Access, *, connection_count: int = 32, field_manager: str = "localcluster") -> None:
        self._access = access
        self._connection_count = connection_count
        self._field_manager = field_manager
        self._http: aiohttp.ClientSession | None = None
        self._sockets: WeakSet[socket.socket] = WeakSet()
        self._kinds: dict[str, tuple[str, bool]] = {}

    @classmethod
    def from_kubeconfig(cls, path: Path, *, connection_count: int = 32, field_manager: str = "localcluster") -> Self:
        return cls(kubeconfig.read(path), connection_count=connection_count, field_manager=field_manager)

    async def __aenter__(self) -> Self:
        self._http = aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(limit=self._connection_count, ssl=self._access.tls or True, socket_factory=self._new_socket),
            headers={"Accept": "application/json", "User-Agent": self._field_manager, **self._access.headers},
            timeout=aiohttp.ClientTimeout(total=60),
        )
        return self

    async def __aexit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        if self._http is not None:
            await self._http.close()
            await self._end_sockets()

    def _new_socket(self, address: aiohttp.AddrInfoType) -> socket.socket:
        made = socket.socket(*address[:3])
        self._sockets.add(made)
        return made

    async def _end_sockets(self) -> None:
        """End connections that the pool has given up but not closed: under TLS they wait for the server's goodbye."""

        async def are_closed() -> bool:
            return all(each.fileno() < 0 for each in self._sockets)

        for each in self._sockets:
            with suppress(OSError):
                each.shutdown(socket.SHUT_RDWR)
        with suppress(TimeoutError):
            await eventually(are_closed, timeout=1, pause=0.001)

    async def request(
        self, method: str, path: str, body: Any = None, *, query: Mapping[str, str] | None = None, content_type: str = "application/json"
    ) -> Any:
        """Send one request to a path such as `/api/v1/namespaces`. `body`: an object, or bytes as they are. Raises ApiError."""
        assert self._http is not None, "use the client as `async with`"
        data = body if body is None or isinstance(body, bytes) else orjson.dumps(body)
        async with self._http.request(
            method, self._access.url + path, data=data, params=query, headers={"Content-Type": content_type} if data is not None else {}
        ) as answer:
            text = await answer.read()
            if answer.status >= 400:
                raise ApiError(answer.status, _status_of(text), f"{method} {path}")
            return orjson.loads(text) if answer.content_type == "application/json" else text.decode()

    async def get(self, kind: str, name: str, namespace: str | None = None) -> Object:
        return _object(await self.request("GET", await self.path(kind, namespace, name)))

    async def find(self, kind: str, name: str, namespace: str | None = None) -> Object | None:
        """Return the object, or None if there is none."""
        try:
            return await self.get(kind, name, namespace)
        except ApiError as error:
            if error.status == 404:
                return None
            raise

    async def list(self, kind: str, namespace: str | None = None, *, labels: str | None = None, fields: str | None = None) -> list[Object]:
        """Return all objects of a kind, of one namespace or of all. Items have neither apiVersion nor kind, as the server sends them."""
        query = {name: value for name, value in (("labelSelector", labels), ("fieldSelector", fields)) if value}
        return list((await self.request("GET", await self.path(kind, namespace), query=query))["items"])

    async def create(self, body: Object, *, dry_run: bool = False) -> Object:
        query = {"fieldManager": self._field_manager, "fieldValidation": "Strict", **({"dryRun": "All"} if dry_run else {})}
        return _object(await self.request("POST", await self.path_of(body, named=False), body, query=query))

    async def replace(self, body: Object, *, subresource: str = "") -> Object:
        query = {"fieldManager": self._field_manager}
        return _object(await self.request("PUT", await self.path_of(body, subresource=subresource), body, query=query))

    async def apply(
        self, body: Object, *, manager: str | None = None, force: bool = True, dry_run: bool = False, subresource: str = ""
    ) -> Object:
        """Server-side apply."""
        query = {"fieldManager": manager or self._field_manager, "force": "true" if force else "false", "fieldValidation": "Strict"}
        if dry_run:
            query["dryRun"] = "All"
        path = await self.path_of(body, subresource=subresource)
        return _object(await self.request("PATCH", path, body, query=query, content_type=APPLY_PATCH))

    async def patch(
        self, kind: str, name: str, namespace: str | None, patch: Any, *, content_type: str = MERGE_PATCH, subresource: str = ""
    ) -> Object:
        path = await self.path(kind, namespace, name, subresource)
        return _object(await self.request("PATCH", path, patch, query={"fieldManager": self._field_manager}, content_type=content_type))

    async def delete(
        self, kind: str, name: str, namespace: str | None = None, *, propagation: str = "Background", missing_ok: bool = True
    ) -> None:
        body = {"apiVersion": "v1", "kind": "DeleteOptions", "propagationPolicy": propagation}
        try:
            await self.request("DELETE", await self.path(kind, namespace, name), body)
        except ApiError as error:
            if error.status != 404 or not missing_ok:
                raise

    async def wait_until(
        self,
        kind: str,
        name: str,
        namespace: str | None,
        condition: Callable[[Object], bool],
        *,
        timeout: float = 90,
        saying: str = "the condition",
    ) -> Object:
        """Look at an object until it exists and meets the condition. Raises TimeoutError that shows the object as last seen."""
        seen: Object | None = None

        async def look() -> Object | None:
            nonlocal seen
            seen = await self.find(kind, name, namespace)
            return seen if seen is not None and condition(seen) else None

        try:
            found = await eventually(look, timeout=timeout)
            assert found is not None
            return found
        except TimeoutError:
            shown = orjson.dumps(_without_managed_fields(seen), option=orjson.OPT_INDENT_2).decode() if seen else "it does not exist"
            raise TimeoutError(f"{kind} {namespace or ''}/{name}: {saying} did not hold within {timeout} s; last seen: {shown}") from None

    async def wait_gone(self, kind: str, name: str, namespace: str | None = None, *, timeout: float = 90) -> None:
        async def look() -> bool:
            return await self.find(kind, name, namespace) is None

        await eventually(look, timeout=timeout, saying=f"{kind} {namespace or ''}/{name} is gone")

    async def watch(self, path: str, *, resource_version: str, query: Mapping[str, str] | None = None) -> AsyncIterator[tuple[str, Object]]:
        """Yield (type, object) from one watch until the server ends it. Bookmarks are passed on; an ERROR event is raised as ApiError."""
        assert self._http is not None, "use the client as `async with`"
        parameters = {"watch": "true", "allowWatchBookmarks": "true", "resourceVersion": resource_version, **(query or {})}
        timeout = aiohttp.ClientTimeout(total=None, sock_connect=10, sock_read=600)
        async with self._http.get(self._access.url + path, params=parameters, timeout=timeout, read_bufsize=2**22) as answer:
            if answer.status >= 400:
                raise ApiError(answer.status, _status_of(await answer.read()), f"WATCH {path}")
            pending = b""
            async for chunk in answer.content.iter_any():
                *lines, pending = (pending + chunk).split(b"\n")
                for line in lines:
                    event = orjson.loads(line)
                    if event["type"] == "ERROR":
                        raise ApiError(event["object"].get("code", 500), event["object"], f"WATCH {path}")
                    yield event["type"], event["object"]

    async def follow(self, path: str, query: Mapping[str, str] | None = None) -> AsyncIterator[Change]:
        """Yield `Listed` with all objects, then each change. After any trouble it starts over with `Listed`; it never ends."""
        while True:
            try:
                listed = await self.request("GET", path, query={**(query or {}), "resourceVersion": "0"})
                yield Listed(listed["items"])
                async for kind, body in self.watch(path, resource_version=listed["metadata"]["resourceVersion"], query=query):
                    if kind == "DELETED":
                        yield Deleted(body)
                    elif kind != "BOOKMARK":
                        yield Changed(body)
            except (ApiError, *TROUBLE) as error:
                log.info("watching %s starts over: %s", path, error)
                await asyncio.sleep(0.5)

    async def path(self, kind: str, namespace: str | None = None, name: str = "", subresource: str = "") -> str:
        """Return the URL path of a kind's collection, of one object in it, or of a subresource."""
        api_version, bare_kind = kind.rsplit("/", 1) if "/" in kind else (API_VERSIONS[kind], kind)
        plural, namespaced = await self._resource(api_version, bare_kind)
        base = f"/api/{api_version}" if "/" not in api_version else f"/apis/{api_version}"
        scope = f"/namespaces/{namespace}" if namespaced and namespace else ""
        return "/".join(filter(None, (f"{base}{scope}/{plural}", name, subresource)))

    async def path_of(self, body: Object, *, named: bool = True, subresource: str = "") -> str:
        """Return the URL path of an object given as a manifest."""
        metadata = body["metadata"]
        kind = f"{body['apiVersion']}/{body['kind']}"
        return await self.path(kind, metadata.get("namespace", "default"), metadata["name"] if named else "", subresource)

    async def _resource(self, api_version: str, kind: str) -> tuple[str, bool]:
        key = f"{api_version}/{kind}"
        if key not in self._kinds:
            found = await self.request("GET", f"/api/{api_version}" if "/" not in api_version else f"/apis/{api_version}")
            for resource in found["resources"]:
                if "/" not in resource["name"]:
                    self._kinds[f"{api_version}/{resource['kind']}"] = (resource["name"], resource["namespaced"])
        if key not in self._kinds:
            raise KeyError(f"the API server knows no kind {key}; is its CustomResourceDefinition applied?")
        return self._kinds[key]


async def eventually(look: Callable[[], Awaitable[T]], *, timeout: float = 90, saying: str = "the condition", pause: float = 0.1) -> T:
    """Look again and again until the answer is truthy, and return it. Raises TimeoutError when the time (seconds) is over."""
    deadline = asyncio.get_running_loop().time() + timeout
    while not (answer := await look()):
        if asyncio.get_running_loop().time() > deadline:
            raise TimeoutError(f"{saying} did not hold within {timeout} s; last answer: {answer!r}")
        await asyncio.sleep(pause)
    return answer


def _object(answer: Any) -> Object:
    assert isinstance(answer, dict)
    return answer


def _status_of(text: bytes) -> Object:
    try:
        return _object(orjson.loads(text))
    except (orjson.JSONDecodeError, AssertionError):
        return {"message": text.decode(errors="replace")}


def _without_managed_fields(body: Object) -> Object:
    return {**body, "metadata": {name: value for name, value in body["metadata"].items() if name != "managedFields"}}
