"""Fakes of the outside, in this process: an API server that behaves as the real one where it matters to the steps in a tenant, and a clock.

It has resourceVersions, UIDs, generations, preconditions, JSON and strategic merge patches, dry-run, immutable objects and deletion. Tests
cut, delay or precede any write, and `play` acts the controllers: it lets workloads converge.
"""

from __future__ import annotations

import copy
import itertools
import json
from collections.abc import AsyncGenerator, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

from tenantwave.api.kinds import Kind
from tenantwave.faults import AlreadyExists, Conflict, Invalid, NotFound, OutcomeUnknown
from tenantwave.ports import Body

Key = tuple[str, str, str]

STRATEGIC_LISTS = {"containers": "name", "initContainers": "name", "volumes": "name", "env": "name"}


class CrashNow(BaseException):
    """The process dies here."""


@dataclass(frozen=True, slots=True)
class Request:
    """One write, as a test sees it before it is done."""

    verb: str
    kind: str
    namespace: str
    name: str
    body: Any


class FakeClock:
    """A clock that moves when a test says so."""

    def __init__(self, now: datetime = datetime(2026, 12, 6, 2, tzinfo=UTC)) -> None:
        self._now = now
        self._wrong_by = timedelta()

    def now(self) -> datetime:
        """Return the instant."""
        return self._now + self._wrong_by

    def monotonic(self) -> float:
        """Return seconds since 1970."""
        return self._now.timestamp()

    def forward(self, by: timedelta) -> None:
        """Let time pass."""
        self._now += by

    def jump(self, by: timedelta) -> None:
        """Set the wall clock to another time, without any time passing."""
        self._wrong_by += by


@dataclass
class FakeCluster:
    """The port `Cluster`, in memory.

    before, after: called around each write that is no dry-run, with its number from 1. They may raise CrashNow, raise a fault of the API, edit
    objects (`edit`), or raise `Late` to let the write arrive only at `deliver`.
    mutate: an admission webhook; it may change the object that is about to be stored.
    """

    before: Callable[[int, Request], None] = lambda number, request: None
    after: Callable[[int, Request], None] = lambda number, request: None
    mutate: Callable[[dict[str, Any]], None] = lambda body: None
    objects: dict[Key, dict[str, Any]] = field(default_factory=dict)
    writes: list[Request] = field(default_factory=list)
    requests: list[str] = field(default_factory=list)
    _late: list[Callable[[], Any]] = field(default_factory=list)
    _versions: itertools.count[int] = field(default_factory=lambda: itertools.count(1))
    _uids: itertools.count[int] = field(default_factory=lambda: itertools.count(1))

    # The port

    async def get(self, kind: Kind, namespace: str, name: str) -> dict[str, Any]:
        """Return the object."""
        self.requests.append(f"get {kind.name}")
        return copy.deepcopy(self._found((kind.plural, namespace, name)))

    async def list(self, kind: Kind, namespace: str = "", labels: str = "") -> tuple[list[dict[str, Any]], str]:
        """Return the objects with these labels (equality, and `!label` for those without)."""
        self.requests.append(f"list {kind.name}")
        parts = [part for part in labels.split(",") if part]
        wanted, without = dict(part.split("=") for part in parts if "=" in part), {part[1:] for part in parts if part.startswith("!")}
        found = [
            copy.deepcopy(body)
            for (plural, where, _), body in sorted(self.objects.items())
            if plural == kind.plural and namespace in ("", where) and wanted.items() <= (body["metadata"].get("labels") or {}).items()
            if not without & (body["metadata"].get("labels") or {}).keys()
        ]
        return found, "0"

    async def pages(
        self, kind: Kind, namespace: str = "", labels: str = "", *, metadata_only: bool = False
    ) -> AsyncGenerator[tuple[Sequence[dict[str, Any]], str]]:
        """Yield the objects one by one: a page each."""
        found, version = await self.list(kind, namespace, labels)
        for body in found:
            yield [{"metadata": body["metadata"]} if metadata_only else body], version

    async def create(self, kind: Kind, body: Body, *, dry_run: bool = False) -> dict[str, Any]:
        """Create the object."""
        metadata = body["metadata"]
        namespace, name = metadata.get("namespace", ""), metadata["name"]
        created: dict[str, Any] = self._do(
            "create", kind, namespace, name, body, dry_run, lambda commit: self._create(kind, namespace, name, body, commit)
        )
        return created

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
        """Apply a JSON merge patch."""
        return self._patch("merge", kind, namespace, name, patch, resource_version, dry_run, merge_patched)

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
        """Apply a strategic merge patch: containers, volumes and env merge by name."""
        return self._patch("strategic", kind, namespace, name, patch, resource_version, dry_run, strategically_patched)

    async def replace(self, kind: Kind, body: Body, *, subresource: str = "", dry_run: bool = False) -> dict[str, Any]:
        """Replace the object, or its status."""
        metadata = body["metadata"]
        key = (kind.plural, metadata.get("namespace", ""), metadata["name"])

        def replaced(commit: bool) -> dict[str, Any]:
            found = self._expected(key, metadata.get("resourceVersion", ""))
            fresh = found | {"status": body.get("status", {})} if subresource == "status" else dict(body)
            return self._store(key, json.loads(json.dumps(fresh)), commit)

        reply: dict[str, Any] = self._do("replace" + subresource, kind, key[1], key[2], body, dry_run, replaced)
        return reply

    async def delete(self, kind: Kind, namespace: str, name: str, *, uid: str = "", resource_version: str = "") -> None:
        """Delete the object if it still is the one meant."""
        key = (kind.plural, namespace, name)

        def deleted(commit: bool) -> dict[str, Any]:
            found = self._expected(key, resource_version)
            if uid and found["metadata"]["uid"] != uid:
                raise Conflict(f"delete {key}: another uid")
            return self.objects.pop(key)

        self._do("delete", kind, namespace, name, None, False, deleted)

    # What a test does

    def put(self, kind: Kind, body: Mapping[str, Any]) -> dict[str, Any]:
        """Store an object as somebody else, unobserved."""
        metadata = body["metadata"]
        return self._create(kind, metadata.get("namespace", ""), metadata["name"], body, True)

    def see(self, kind: Kind, namespace: str, name: str) -> dict[str, Any]:
        """Return the object itself."""
        return self.objects[(kind.plural, namespace, name)]

    def has(self, kind: Kind, namespace: str, name: str) -> bool:
        """Tell whether the object is there."""
        return (kind.plural, namespace, name) in self.objects

    def edit(self, kind: Kind, namespace: str, name: str, patch: Mapping[str, Any]) -> None:
        """Change an object as somebody else."""
        key = (kind.plural, namespace, name)
        patched = strategically_patched if kind.group == "apps" else merge_patched
        self._store(key, patched(self.objects[key], patch), True)

    def remove(self, kind: Kind, namespace: str, name: str) -> None:
        """Delete an object as somebody else."""
        del self.objects[(kind.plural, namespace, name)]

    def deliver(self) -> None:
        """Let the writes arrive that were on their way; the server judges them by what is there now."""
        for late in self._late:
            try:
                late()
            except (Conflict, NotFound, AlreadyExists):
                continue
        self._late.clear()

    def play(self, broken: Callable[[str], bool] = lambda image: False) -> None:
        """Act the controllers: each workload converges, with one Ready pod, unless one of its images is `broken`.

        A Job ends at once: as Failed where an image is broken; one with an image of the tag `slow` runs on.
        """
        for (plural, namespace, name), body in list(self.objects.items()):
            if plural == "deployments":
                self._play_deployment(namespace, name, body, broken)
            if plural == "jobs" and "status" not in body:
                self._play_job(namespace, name, body, broken)

    # Inside

    def _play_deployment(self, namespace: str, name: str, body: dict[str, Any], broken: Callable[[str], bool]) -> None:
        template, generation = body["spec"]["template"], body["metadata"]["generation"]
        is_broken = any(broken(one["image"]) for one in template["spec"]["containers"])
        available = 0 if is_broken else 1
        reason = "ReplicaSetUpdated" if is_broken else "NewReplicaSetAvailable"
        status = {
            "observedGeneration": generation,
            **dict.fromkeys(("replicas", "updatedReplicas"), 1),
            **dict.fromkeys(("readyReplicas", "availableReplicas"), available),
            "conditions": [{"type": "Progressing", "status": "True", "reason": reason}],
        }
        if body.get("status") != status:
            self._store(("deployments", namespace, name), body | {"status": status}, True)
        pod = {
            "metadata": {
                "name": f"{name}-pod",
                "namespace": namespace,
                "labels": template["metadata"]["labels"],
                "annotations": template["metadata"].get("annotations") or {},
                "uid": "pod",
                "resourceVersion": "1",
            },
            "spec": template["spec"],
            "status": {"conditions": [{"type": "Ready", "status": "False" if is_broken else "True"}]},
        }
        self.objects[("pods", namespace, f"{name}-pod")] = copy.deepcopy(pod)

    def _play_job(self, namespace: str, name: str, body: dict[str, Any], broken: Callable[[str], bool]) -> None:
        images = [one["image"] for one in body["spec"]["template"]["spec"]["containers"]]
        if body["spec"].get("suspend") or any(image.endswith(":slow") for image in images):
            return
        said = {"type": "Complete"}
        if any(broken(image) for image in images):
            said = {"type": "Failed", "reason": "BackoffLimitExceeded", "message": "Job has reached the specified backoff limit"}
        self._store(("jobs", namespace, name), body | {"status": {"conditions": [said | {"status": "True"}]}}, True)

    def _do(self, verb: str, kind: Kind, namespace: str, name: str, body: Any, dry_run: bool, work: Callable[[bool], Any]) -> Any:
        self.requests.append(f"{verb} {kind.name}" + (" (dry-run)" if dry_run else ""))
        if dry_run:
            return work(False)
        request = Request(verb, kind.name, namespace, name, copy.deepcopy(body))
        self.writes.append(request)
        number = len(self.writes)
        try:
            self.before(number, request)
        except Late as late:
            self._late.append(lambda: work(True))
            raise late.then from late
        reply = work(True)
        self.after(number, request)
        return copy.deepcopy(reply)

    def _found(self, key: Key) -> dict[str, Any]:
        if key not in self.objects:
            raise NotFound(f"{key} is not there")
        return self.objects[key]

    def _expected(self, key: Key, version: str) -> dict[str, Any]:
        found = self._found(key)
        if version and found["metadata"]["resourceVersion"] != version:
            raise Conflict(f"{key}: resourceVersion {version} is old")
        return found

    def _create(self, kind: Kind, namespace: str, name: str, body: Body, commit: bool) -> dict[str, Any]:
        key = (kind.plural, namespace, name)
        if key in self.objects:
            raise AlreadyExists(f"{key} exists")
        fresh = {"apiVersion": kind.api_version, "kind": kind.name} | json.loads(json.dumps(body))
        number = next(self._uids) if commit else 0
        created = datetime(2026, 12, 6, 2, tzinfo=UTC) + timedelta(seconds=number)
        fresh["metadata"] = {"creationTimestamp": f"{created:%Y-%m-%dT%H:%M:%SZ}"} | fresh["metadata"]
        fresh["metadata"] |= {"uid": f"uid-{number or 'dry'}", "generation": 1}
        return self._store(key, fresh, commit)

    def _patch(
        self,
        verb: str,
        kind: Kind,
        namespace: str,
        name: str,
        patch: Body,
        version: str,
        dry_run: bool,
        patched: Callable[[Mapping[str, Any], Mapping[str, Any]], dict[str, Any]],
    ) -> dict[str, Any]:
        key = (kind.plural, namespace, name)
        reply: dict[str, Any] = self._do(
            verb,
            kind,
            namespace,
            name,
            patch,
            dry_run,
            lambda commit: self._store(key, patched(self._expected(key, version), patch), commit),
        )
        return reply

    def _store(self, key: Key, body: dict[str, Any], commit: bool) -> dict[str, Any]:
        old = self.objects.get(key)
        self.mutate(body)
        if (
            old is not None
            and old.get("immutable")
            and any(old.get(part) != body.get(part) for part in ("data", "binaryData", "immutable"))
        ):
            raise Invalid(f"{key} is immutable")
        metadata = dict(body["metadata"])
        if old is not None:
            metadata["uid"] = old["metadata"]["uid"]
            is_new = old.get("spec") != body.get("spec")
            if body.get("kind") == "Deployment":  # of this kind annotations count, too
                is_new |= (old["metadata"].get("annotations") or {}) != (metadata.get("annotations") or {})
            metadata["generation"] = old["metadata"].get("generation", 1) + is_new
        unchanged = old is not None and {**old, "metadata": _unversioned(old)} == {**body, "metadata": _unversioned({"metadata": metadata})}
        metadata["resourceVersion"] = old["metadata"]["resourceVersion"] if old is not None and unchanged else str(next(self._versions))
        stored = _without_empty_maps(body | {"metadata": metadata})
        if commit:
            self.objects[key] = stored
        return stored


class Late(Exception):  # noqa: N818 - an order of a test
    """Raised by `before`: the write is on its way and arrives at `deliver`; the caller sees `then`."""

    def __init__(self, then: BaseException | None = None) -> None:
        super().__init__("late")
        self.then = then or OutcomeUnknown("the answer was lost")


def merge_patched(body: Mapping[str, Any], patch: Mapping[str, Any]) -> dict[str, Any]:
    """Apply a JSON merge patch (RFC 7396)."""
    result = dict(body)
    for key, value in patch.items():
        if value is None:
            result.pop(key, None)
        elif isinstance(value, Mapping):
            inner = result.get(key)
            result[key] = merge_patched(inner if isinstance(inner, Mapping) else {}, value)
        else:
            result[key] = value
    return result


def strategically_patched(body: Mapping[str, Any], patch: Mapping[str, Any]) -> dict[str, Any]:
    """Apply a strategic merge patch, as far as workloads need it."""
    result = dict(body)
    for key, value in patch.items():
        if value is None:
            result.pop(key, None)
        elif isinstance(value, Mapping):
            inner = result.get(key)
            result[key] = strategically_patched(inner if isinstance(inner, Mapping) else {}, value)
        elif key in STRATEGIC_LISTS:
            result[key] = _merged_by_name(result.get(key) or [], value, STRATEGIC_LISTS[key])
        else:
            result[key] = value
    return result


def _merged_by_name(old: list[dict[str, Any]], new: list[dict[str, Any]], name: str) -> list[dict[str, Any]]:
    patches = {one[name]: one for one in new}
    merged = [strategically_patched(one, patches.pop(one[name], {})) for one in old]
    return merged + list(patches.values())


def _unversioned(body: Mapping[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in body["metadata"].items() if key != "resourceVersion"}


def _without_empty_maps(body: dict[str, Any]) -> dict[str, Any]:
    """Drop empty labels and annotations, as the API server does when it stores an object."""
    result = {}
    for key, value in body.items():
        if key in ("labels", "annotations", "data", "binaryData") and value == {}:
            continue
        result[key] = _without_empty_maps(value) if isinstance(value, dict) else value
    return result
