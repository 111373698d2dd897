"""One cache per kind: a full list, then a watch, and again. It holds projections, never bodies, and tells whoever listens what changed.

What vanished while nobody looked is found by comparing a new list with the cache, so every deletion is told. A watch that breaks resumes
where it was. A list is needed at the start, when the server has forgotten our resourceVersion (410), and every 10 minutes as a net.
"""

from __future__ import annotations

import asyncio
import logging
import random
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import aclosing
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Generic, Protocol, TypeVar

from tenantwave import faults
from tenantwave.adapters.kube.client import WatchEvent, Written
from tenantwave.adapters.kube.overlay import Address, Overlay
from tenantwave.adapters.kube.selectors import selects
from tenantwave.api.kinds import Kind
from tenantwave.telemetry import WatchTelemetry

log = logging.getLogger(__name__)

View = TypeVar("View")


class Source(Protocol):
    """Where lists and watches come from: the client, or a fake."""

    def pages(self, kind: Kind, namespace: str = "", labels: str = "", fields: str = "") -> Any:
        """Return an async generator of (objects, resourceVersion)."""

    def watch(
        self, kind: Kind, namespace: str = "", labels: str = "", fields: str = "", *, resource_version: str, timeout_seconds: int
    ) -> Any:
        """Return an async generator of WatchEvent."""


class Relist(StrEnum):
    """Why everything is listed again."""

    START = "Start"
    EXPIRED = "Expired"
    PERIODIC = "Periodic"


@dataclass(frozen=True, slots=True)
class Pace:
    """How patient a reflector is, in seconds. Tests are in more of a hurry."""

    watch_seconds: float = 290.0
    relist_seconds: float = 600.0
    first_wait_seconds: float = 0.5
    longest_wait_seconds: float = 30.0


@dataclass(frozen=True, slots=True)
class Cached(Generic[View]):
    """One object of the cache."""

    uid: str
    version: str
    view: View


class Reflector(Generic[View]):
    """A cache of `kind`, kept current by `run`. `project` turns a body into the view that is kept, and lets the body go.

    `on_change(old, new)` is called for each change, without await, after the cache has it: None for what was not, or is no more.
    `on_relist` is called after each full list. What `project` raises for one body drops that object with an error in the log, and
    touches no other.
    """

    def __init__(
        self,
        source: Source,
        kind: Kind,
        project: Callable[[Mapping[str, Any]], View],
        *,
        on_change: Callable[[View | None, View | None], None],
        on_relist: Callable[[], None] = lambda: None,
        telemetry: WatchTelemetry,
        namespace: str = "",
        labels: str = "",
        fields: str = "",
        pace: Pace | None = None,
    ) -> None:
        self.kind = kind
        self._source = source
        self._project = project
        self._on_change = on_change
        self._on_relist = on_relist
        self._telemetry = telemetry
        self._scope = (namespace, labels, fields)
        selects(labels, fields, {})  # says now, not at our first write, if it cannot judge these
        self._pace = pace or Pace()
        self._cache: dict[Address, Cached[View]] = {}
        self._overlay = Overlay()
        self._withheld: dict[Address, Cached[View] | None] = {}
        """What the server said last about an object with an unechoed write; it comes in if the echo never does."""
        self._version = ""
        self._synced = asyncio.Event()
        self._heard = time.monotonic()
        self._listed = float("-inf")

    def __len__(self) -> int:
        return len(self._cache)

    def get(self, namespace: str, name: str) -> View | None:
        """Return the view of one object, None if there is none."""
        cached = self._cache.get((namespace, name))
        return cached.view if cached is not None else None

    def views(self) -> Iterator[View]:
        """Yield all views, in no order that means anything."""
        return (cached.view for cached in self._cache.values())

    def is_unechoed(self, namespace: str, name: str) -> bool:
        """Tell whether the watch has yet to show a write of ours to this object. Nothing more is planned for it until then."""
        self._give_up_waiting(time.monotonic())
        return (namespace, name) in self._overlay

    @property
    def is_synced(self) -> bool:
        """Tell whether the cache was complete once."""
        return self._synced.is_set()

    async def synced(self) -> None:
        """Return once the cache was complete."""
        await self._synced.wait()

    @property
    def age_seconds(self) -> float:
        """Return the time since the server said anything: a list, an event or a bookmark."""
        return time.monotonic() - self._heard

    def wrote(self, written: Written) -> None:
        """Take over a write of ours at once, as `KubeClient.on_written` tells it; writes of other kinds and scopes are none of ours."""
        namespace, labels, fields = self._scope
        if written.kind != self.kind or (namespace and written.namespace != namespace):
            return
        address = (written.namespace, written.name)
        present = self._cache.get(address)
        if written.body is None:
            if written.uid and self._note(address, written.uid, "", written.base_version):
                self._put(address, None)
            return
        is_selected = selects(labels, fields, written.body)
        if (is_selected or present is not None) and self._note(address, *_identity(written.body), written.base_version):
            self._put(address, self._projected(written.body) if is_selected else None)

    async def run(self) -> None:
        """Keep the cache current, for ever. Nothing that the server does ends this; only a cancellation does."""
        reason: Relist | None = Relist.START
        failure_count = 0
        while True:
            begun, heard = time.monotonic(), self._heard
            try:
                if reason is not None:
                    await self._list(reason)
                    reason = None
                await self._watch()
            except faults.Expired as fault:
                log.info("%s", fault)
                reason = Relist.EXPIRED
            except faults.Fault as fault:
                log.warning("%s; trying again", fault)
            else:
                if self._heard != heard or time.monotonic() - begun > self._pace.first_wait_seconds:
                    failure_count = 0
                    if time.monotonic() - self._listed > self._pace.relist_seconds:
                        reason = Relist.PERIODIC
                    continue
            failure_count = 1 if self._heard != heard else failure_count + 1
            await asyncio.sleep(self._wait(failure_count))

    def _wait(self, failure_count: int) -> float:
        """Return 0.5 s to 30 s, doubled each time; jitter takes up to half away, so that many replicas do not come back at once."""
        seconds = min(self._pace.first_wait_seconds * 2.0 ** min(failure_count - 1, 16), self._pace.longest_wait_seconds)
        return seconds * random.uniform(0.5, 1.0)  # noqa: S311 - spreads retries, no secret

    async def _list(self, reason: Relist) -> None:
        """Build a new cache beside the old one, swap, and tell the differences. Pages of 500 leave the loop free in between."""
        begun = time.monotonic()
        fresh: dict[Address, Cached[View]] = {}
        version = ""
        async with aclosing(self._source.pages(self.kind, *self._scope)) as pages:
            async for bodies, version in pages:  # noqa: B007 - the last version counts
                self._heard = time.monotonic()
                for body in bodies:
                    if (cached := self._projected(body)) is not None:
                        metadata = body["metadata"]
                        fresh[metadata.get("namespace", ""), metadata["name"]] = cached
        self._overlay.settle(begun, {address: cached.version for address, cached in fresh.items()})
        self._withheld = {}
        for address in self._overlay.addresses():  # written while the list was under way: our reply is newer, or as new
            self._withheld[address] = fresh.pop(address, None)
            if address in self._cache:
                fresh[address] = self._cache[address]
        old, self._cache, self._version = self._cache, fresh, version
        self._heard = self._listed = time.monotonic()
        self._telemetry.watch_relist(self.kind.name, reason)
        self._telemetry.cache_objects(self.kind.name, len(fresh))
        for address in old.keys() - fresh.keys():
            self._tell(old[address], None)
        for address, after in fresh.items():
            self._tell(old.get(address), after)
        self._synced.set()
        self._on_relist()

    async def _watch(self) -> None:
        """Follow one watch to its end, which comes before the next periodic list; jittered, so that not all watches end together."""
        left = self._pace.relist_seconds - (time.monotonic() - self._listed)
        seconds = max(1, int(min(self._pace.watch_seconds, max(left, 0.0)) * random.uniform(0.8, 1.0)))  # noqa: S311 - spreads watches
        events = self._source.watch(self.kind, *self._scope, resource_version=self._version, timeout_seconds=seconds)
        async with aclosing(events) as stream:
            async for event in stream:
                self._take(event)

    def _take(self, event: WatchEvent) -> None:
        self._heard = time.monotonic()
        metadata = event.body["metadata"]
        self._version = metadata["resourceVersion"]
        self._give_up_waiting(self._heard)
        if event.type == "BOOKMARK":
            return
        deleted = event.type == "DELETED"
        address = (metadata.get("namespace", ""), metadata["name"])
        uid, version = _identity(event.body)
        said = None if deleted else self._known(address, uid, version) or self._projected(event.body)
        if self._overlay.accepts(address, uid, version, deleted=deleted):
            self._withheld.pop(address, None)
            self._put(address, said)
        else:
            self._withheld[address] = said

    def _known(self, address: Address, uid: str, version: str) -> Cached[View] | None:
        """Return what the cache has, if it is this very version: the echo of our own write, whose reply was projected already.

        Most events are echoes; projecting a TenantRun takes some 100 microseconds.
        """
        present = self._cache.get(address)
        return present if present is not None and (present.uid, present.version) == (uid, version) else None

    def _give_up_waiting(self, now: float) -> None:
        for address in self._overlay.expire(now):
            if address in self._withheld:
                self._put(address, self._withheld.pop(address))

    def _note(self, address: Address, uid: str, version: str, base_version: str) -> bool:
        present = self._cache.get(address)
        cached_version = present.version if present is not None else ""
        now = time.monotonic()
        return self._overlay.wrote(address, uid, version, base_version=base_version, cached_version=cached_version, now=now)

    def _put(self, address: Address, after: Cached[View] | None) -> None:
        """Let `after` (None: deleted) stand at `address`, and tell it if it is news."""
        before = self._cache.pop(address, None)
        if after is not None:
            self._cache[address] = after
        if (before is None) != (after is None):
            self._telemetry.cache_objects(self.kind.name, len(self._cache))
        self._tell(before, after)

    def _tell(self, before: Cached[View] | None, after: Cached[View] | None) -> None:
        if (before and (before.uid, before.version)) != (after and (after.uid, after.version)):
            self._on_change(before.view if before is not None else None, after.view if after is not None else None)

    def _projected(self, body: Mapping[str, Any]) -> Cached[View] | None:
        metadata = body["metadata"]
        try:
            return Cached(*_identity(body), self._project(body))
        except Exception:
            name = "/".join(filter(None, (metadata.get("namespace"), metadata["name"])))
            log.exception("%s %s cannot be read and is treated as absent", self.kind.name, name)
            return None


def _identity(body: Mapping[str, Any]) -> tuple[str, str]:
    metadata = body["metadata"]
    return metadata.get("uid", ""), metadata["resourceVersion"]
