"""What the engine needs from outside: small Protocols. Adapters translate their systems' errors into `tenantwave.faults` at the door."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Protocol

from tenantwave.api.kinds import Kind
from tenantwave.api.upgrade import Component
from tenantwave.core.gates.samples import QueryFailure, Rows, Source
from tenantwave.core.world import ComponentView, Progress

Body = Mapping[str, Any]
"""A Kubernetes object as JSON. It is never modified in place."""


@dataclass(frozen=True, slots=True)
class Regarding:
    """The object that an Event is about."""

    kind: Kind
    namespace: str
    name: str
    uid: str = ""


class Notifier(Protocol):
    """Tells people what happened. Best effort: it never waits, never fails, and drops what is too much."""

    def tell(self, regarding: Regarding, reason: str, note: str, *, warning: bool = False, key: str = "") -> None:
        """Tell it once: the same news (object, reason, key) within ten minutes is counted, not repeated."""


class Clock(Protocol):
    """Where every instant comes from."""

    def now(self) -> datetime:
        """Return the present instant, aware, in UTC."""

    def monotonic(self) -> float:
        """Return seconds since some fixed point, for durations inside this process."""


class Reader(Protocol):
    """Reads from the API server, past all caches."""

    async def get(self, kind: Kind, namespace: str, name: str) -> dict[str, Any]:
        """Return the object. Raises NotFound, Forbidden, Unavailable."""

    async def list(self, kind: Kind, namespace: str = "", labels: str = "") -> tuple[list[dict[str, Any]], str]:
        """Return all objects (label selector as text) and the list's resourceVersion, fetched in pages of 500."""


class Cluster(Reader, Protocol):
    """Writes to the API server, as field manager `tenantwave`, each with its precondition.

    Raises: Conflict (somebody else wrote), AlreadyExists, NotFound, Invalid, Forbidden, Unavailable (it did not land; try again),
    OutcomeUnknown (it may have landed; observe first).
    """

    async def create(self, kind: Kind, body: Body, *, dry_run: bool = False) -> dict[str, Any]:
        """Create the object named in `body.metadata`."""

    async def merge_patch(
        self,
        kind: Kind,
        namespace: str,
        name: str,
        patch: Body,
        *,
        resource_version: str = "",
        subresource: str = "",
        dry_run: bool = False,
    ) -> dict[str, Any]:
        """Send a JSON merge patch. `resource_version` is put into the patch's metadata."""

    async def strategic_patch(
        self, kind: Kind, namespace: str, name: str, patch: Body, *, resource_version: str = "", dry_run: bool = False
    ) -> dict[str, Any]:
        """Send a strategic merge patch: lists of containers merge by name."""

    async def replace(self, kind: Kind, body: Body, *, subresource: str = "", dry_run: bool = False) -> dict[str, Any]:
        """PUT the object; `body.metadata.resourceVersion` is the precondition."""

    async def delete(self, kind: Kind, namespace: str, name: str, *, uid: str = "", resource_version: str = "") -> None:
        """Delete the object if it still is the one meant. NotFound is the caller's to judge."""


class Metrics(Protocol):
    """A Prometheus."""

    async def query(self, source: Source, promql: str, time: datetime, timeout: timedelta) -> Rows | QueryFailure:
        """Ask one instant query at `time`. What goes wrong is a value, never an exception."""


class Pages(Protocol):
    """Reads long lists without holding them whole."""

    def pages(
        self, kind: Kind, namespace: str = "", labels: str = "", *, metadata_only: bool = False
    ) -> AsyncGenerator[tuple[Sequence[dict[str, Any]], str]]:
        """Yield the objects in pages of 500, and the list's resourceVersion; `metadata_only`: nothing of them but their metadata.

        Raises: Expired where the list took too long, Forbidden, Unavailable.
        """


@dataclass(frozen=True, slots=True)
class SavedBlob:
    """A blob that is stored: sha256 of its content as `sha256:<hex>`, and in how many chunks."""

    digest: str
    chunks: int


class Snapshots(Protocol):
    """Saved objects: content-addressed, immutable."""

    async def save(self, blob: bytes) -> SavedBlob:
        """Store `blob` (nothing happens where it is stored already), read it back and compare."""

    async def load(self, digest: str) -> bytes:
        """Return the blob. Raises SnapshotCorrupt where a chunk is missing or its digest differs."""

    def why_no_room(self, more_bytes: int) -> str:
        """Return '' if so much more may be stored, else a sentence: how much there is, and how to get room."""


@dataclass(frozen=True, slots=True)
class Change:
    """One planned write to a workload-like object, as its driver wants it sent."""

    patch: Body
    strategic: bool
    fields: tuple[str, ...]
    """Paths that we write, for the journal and for comparing later."""


class Driver(Protocol):
    """Knows how one kind of component changes its version, and when it has converged. Pure: the engine does the I/O.

    Every function reads live objects and the projections that the caches keep of them alike.
    """

    def kinds(self) -> tuple[Kind, ...]:
        """Return the kinds of objects that it writes."""

    def kind(self, component: Component) -> Kind:
        """Return which kind of object the component is."""

    def names(self, component: Component, tenant: str, version: str) -> tuple[str, ...]:
        """Return the fixed names of its objects; none where `selector` finds them."""

    def selector(self, component: Component) -> str:
        """Return the label selector that finds its objects, as text, or '' where they have a fixed name."""

    def targets(self, component: Component, tenant: str, version: str, cached: Sequence[Body]) -> tuple[Body, ...]:
        """Return which of the tenant's objects the component means, ordered by name."""

    def view(self, component: Component, tenant: str, version: str, cached: Sequence[Body]) -> ComponentView:
        """Say how the component stands in this tenant. Cost: a few microseconds per object."""

    def values(self, component: Component, tenant: str, version: str, live: Body) -> Mapping[str, str]:
        """Return field path -> value that the release asks for in this object."""

    def current(self, live: Body, fields: Iterable[str]) -> Mapping[str, str]:
        """Return field path -> value that stands there now, for these paths ('' where there is none)."""

    def config_digest_field(self, live: Body) -> str:
        """Return the path that makes its pods restart when their configuration changes; '' where it has none."""

    def references(self, live: Body) -> frozenset[str]:
        """Return the names of the ConfigMaps that its pods mount or read."""

    def needed_references(self, live: Body) -> frozenset[str]:
        """Return those without which its pods do not start: all but the optional ones. Of a live object, not of a projection."""

    def reference_field(self, live: Body, target: str) -> str:
        """Return the path that stands for its references to an immutable ConfigMap; '' where we cannot repoint them."""

    def reference_places(self, live: Body, names: Collection[str]) -> tuple[str, ...]:
        """Return the fields of its pod template that have one of these names of ConfigMaps."""

    def managers(self, live: Body, fields: Iterable[str]) -> tuple[str, ...]:
        """Return the field managers of these fields, sorted."""

    def secret_references(self, live: Body) -> frozenset[str]:
        """Return the names of the Secrets that its pods mount, read, or pull their images with."""

    def change(self, live: Body, values: Mapping[str, str], names: Mapping[str, str] | None = None) -> Change:
        """Return the write that sets these paths to these values ('' removes one) and these names of ConfigMaps (old -> new), no more."""

    def pods_selector(self, live: Body) -> str:
        """Return the label selector of its pods; empty where it has none to look at."""

    def progress(self, live: Body) -> tuple[Progress, str]:
        """Return how far the rollout of what stands there now is, whatever version that is, and a sentence."""

    def is_idle(self, live: Body) -> bool:
        """Tell whether what has converged is meant to have no pods at all, so that none can show what it runs."""

    def exercised(self, live: Body, pods: Sequence[Body], fields: Iterable[str]) -> str:
        """Return '' if a Ready pod of the present template runs what these fields say, else a sentence why not."""

    def stuck_pods(self, live: Body, pods: Sequence[Body]) -> tuple[str, ...]:
        """Return the pods that a rollback must delete, because the controller waits for them for ever."""

    def probe(self, component: Component, live: Body) -> Body | None:
        """Return the template of a Job that proves this live object once it is written; None where nothing needs one."""

    def project(self, kind: Kind, raw: Body) -> dict[str, Any]:
        """Return what a cache keeps of an object: all that this driver reads."""
