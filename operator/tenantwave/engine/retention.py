"""Deletes what nothing needs any more in our own namespace: ended TenantRuns, journals and version records of what is gone, unneeded snapshots,
and locks whose create reached the API server when their run was over.

What may go says `core.retention`; here is the reading and writing. All is read from the API server, for a cache may be late, and before
anything is judged, so that what refers to a blob is known when the blob is. Each write names the resourceVersion that it was decided on.

Cost of a sweep: one paged list each of our locks, TenantRuns and ConfigMaps (without the catalogue), metadata alone of snapshots, TenantUpgrades
and Namespaces, once an hour; and a write for each object that is marked or deleted, ten in a second. Nothing is watched, and nothing is kept.
10,000 TenantRuns of 8 KB and 100,000 snapshots take some 3 s of CPU.
"""

from __future__ import annotations

import asyncio
import json
import logging
import random
from collections import Counter
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from contextlib import aclosing
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import Any

from pydantic import ValidationError

from tenantwave.api.kinds import (
    CONFIG_MAP,
    LEASE,
    NAMESPACE,
    PRODUCT_LABEL,
    ROLE_LABEL,
    SECRET,
    SNAPSHOT_ROLE,
    TENANT_RUN,
    TENANT_UPGRADE,
    UPGRADE_LABEL,
    Kind,
)
from tenantwave.api.tenant_run import TenantRunStatus
from tenantwave.core import tenant_run
from tenantwave.core.retention import (
    BYTES_ANNOTATION,
    MARK_ANNOTATION,
    Keeping,
    KeptRun,
    Verdict,
    digests_in,
    marked_time,
    runs_to_delete,
    verdict,
)
from tenantwave.engine.tenant.locks import BREAKER_ANNOTATION, LOCK_ROLE, SWEEP, breaker_of, holder_of, is_through
from tenantwave.engine.tenant.records import RECORD_ROLE, read_record
from tenantwave.engine.views import JOURNAL_PREFIX
from tenantwave.faults import Conflict, Fault, NotFound
from tenantwave.ports import Body, Clock, Cluster, Pages
from tenantwave.telemetry import Telemetry

log = logging.getLogger(__name__)

WRITES_PER_SWEEP = 2000
JUMP = timedelta(minutes=1)
"""What the wall clock has gained on the monotonic one between two sweeps is no drift any more: somebody has set it, or the machine slept."""
SLICE = 500
"""So many objects are judged in a row: nothing may hold up the event loop."""
ASSUMED_BYTES = 4096
"""How much a snapshot takes that does not say so."""


@dataclass(frozen=True, slots=True)
class Rules:
    """How often is swept, and how much is kept."""

    keeping: Keeping = field(default_factory=Keeping)
    every: timedelta = timedelta(hours=1)
    grace: timedelta = timedelta(hours=24)
    """How long a mark stands before its object is deleted."""
    pause: timedelta = timedelta(milliseconds=100)
    """Between two writes: what tenants wait for goes first."""


@dataclass(frozen=True, slots=True)
class _Object:
    """One object of ours, of which no more than this is kept during a sweep."""

    kind: Kind
    name: str
    uid: str
    resource_version: str
    marked: datetime | None = None
    bytes: int = 0


@dataclass(slots=True)
class _Seen:
    """What one sweep has read."""

    snapshots: list[_Object] = field(default_factory=list)
    locks: dict[str, tuple[_Object, str]] = field(default_factory=dict)
    """By UID of the namespace: the lock, and the UID of the TenantRun that has it."""
    runs: dict[str, _Object] = field(default_factory=dict)
    """By UID."""
    kept_runs: list[KeptRun] = field(default_factory=list)
    through: set[str] = field(default_factory=set)
    """UIDs of the TenantRuns that have nothing more to write."""
    journals: dict[str, _Object] = field(default_factory=dict)
    """By upgrade."""
    records: dict[str, list[_Object]] = field(default_factory=dict)
    """By UID of the namespace."""
    digests: set[str] = field(default_factory=set)
    writers: set[str] = field(default_factory=set)
    upgrades: dict[str, str] = field(default_factory=dict)
    """Name -> UID."""
    namespaces: set[str] = field(default_factory=set)
    is_whole: bool = True
    """Every journal and record could be read. Else what it needs is not known, and no snapshot goes."""


@dataclass(slots=True)
class Retention:
    """Sweeps from time to time, while we lead. `counted` is told how much all snapshots take."""

    cluster: Cluster
    pages: Pages
    namespace: str
    clock: Clock
    telemetry: Telemetry
    counted: Callable[[int], None]
    rules: Rules = field(default_factory=Rules)
    _clocks: tuple[datetime, float] | None = None
    """The wall clock and the monotonic one at the last sweep."""
    _doubtful_until: float = float("-inf")
    """Until then, on the monotonic clock, a mark may be younger than it looks."""

    async def run(self) -> None:
        """Sweep for ever: first within a minute, for a preflight asks how much room there is, then at each interval, jittered."""
        every = self.rules.every.total_seconds()
        await asyncio.sleep(random.uniform(0.2, 1.0) * min(every, 60.0))  # noqa: S311 - spreads load, no secret
        while True:
            try:
                await self.sweep()
            except Fault as fault:
                log.info("retention: %s; tried again in about %.0f s", fault.message, every)
            await asyncio.sleep(every * random.uniform(0.9, 1.1))  # noqa: S311 - spreads load, no secret

    async def sweep(self) -> Counter[str]:
        """Mark, unmark and delete what is due; return how many of each. Raises faults of the API: the next sweep goes on."""
        begun = self.clock.monotonic()
        seen = await self._look()
        # Whoever refers to a blob now may not have done so when we read: for a quarter of the grace that does no harm (see `SecretSnapshots`).
        deadline = begun + self.rules.grace.total_seconds() / 4
        is_doubtful = self._has_jumped(begun)
        await self._measure(seen)
        done: Counter[str] = Counter()
        async for one, what, time in self._due(seen, self.clock.now()):
            if what is Verdict.DELETE and is_doubtful:
                continue
            if done.total() >= WRITES_PER_SWEEP or self.clock.monotonic() >= deadline:
                break
            if await (self._deleted(one) if what is Verdict.DELETE else self._marked(one, time)):
                done[f"{one.kind.name} {what.value}"] += 1
            await asyncio.sleep(self.rules.pause.total_seconds())
        self._tell(seen, done)
        return done

    def _has_jumped(self, begun: float) -> bool:
        """Tell whether the wall clock was set in the last quarter of a grace. So long `SecretSnapshots` may believe in what would be deleted."""
        now, before = self.clock.now(), self._clocks
        self._clocks = now, begun
        if before is not None and now - before[0] > timedelta(seconds=begun - before[1]) + JUMP:
            log.warning("retention: the clock went ahead by more time than has passed; nothing is deleted for a while")
            self._doubtful_until = begun + self.rules.grace.total_seconds() / 4
        return begun < self._doubtful_until

    # Reading

    async def _look(self) -> _Seen:
        seen = _Seen()
        # The snapshots first: what is stored after this is not judged, and what refers to the others is read later.
        async for raw in self._each(SECRET, f"{ROLE_LABEL}={SNAPSHOT_ROLE}", metadata_only=True):
            seen.snapshots.append(_object(SECRET, raw))
        # The locks before the runs: who has announced that it breaks a lock looks at the holder afterwards (see `locks`).
        async for raw in self._each(LEASE, f"{ROLE_LABEL}={LOCK_ROLE}"):
            seen.locks[str(raw["metadata"]["name"]).removeprefix("tenant-")] = _lock(raw), holder_of(raw)
        async for raw in self._each(TENANT_RUN):
            uid = str(raw["metadata"]["uid"])
            seen.digests |= digests_in(json.dumps(raw))
            seen.runs[uid] = _object(TENANT_RUN, raw)
            seen.through |= {uid} if is_through(raw) else set()
            seen.kept_runs.append(_kept_run(raw, self.clock.now()))
        async for raw in self._each(CONFIG_MAP, f"!{PRODUCT_LABEL}"):
            _look_at_config_map(raw, seen)
        async for raw in self._each(TENANT_UPGRADE, metadata_only=True, namespace=""):
            seen.upgrades[str(raw["metadata"]["name"])] = str(raw["metadata"]["uid"])
        async for raw in self._each(NAMESPACE, metadata_only=True, namespace=""):
            seen.namespaces.add(str(raw["metadata"]["uid"]))
        self.counted(sum(one.bytes for one in seen.snapshots))
        return seen

    async def _each(
        self, kind: Kind, labels: str = "", *, metadata_only: bool = False, namespace: str | None = None
    ) -> AsyncIterator[dict[str, Any]]:
        where = self.namespace if namespace is None else namespace
        async with aclosing(self.pages.pages(kind, where, labels, metadata_only=metadata_only)) as pages:
            async for page, _ in pages:
                for number, raw in enumerate(page):
                    yield raw
                    if number % 20 == 19:
                        await asyncio.sleep(0)

    # Writing

    async def _due(self, seen: _Seen, now: datetime) -> AsyncIterator[tuple[_Object, Verdict, datetime | None]]:
        """Yield what is to be done, and the mark that is to be set."""
        for run in self._runs_due(seen, now):
            yield run, Verdict.DELETE, None
        for number, (one, is_needed, grace) in enumerate(self._in_two_steps(seen)):
            if number % SLICE == SLICE - 1:
                await asyncio.sleep(0)
            what = verdict(is_needed=is_needed, marked_time=one.marked, grace=grace, now=now)
            if what is not Verdict.LEAVE:
                yield one, what, now if what is Verdict.MARK else None

    def _runs_due(self, seen: _Seen, now: datetime) -> list[_Object]:
        due = runs_to_delete(seen.kept_runs, set(seen.upgrades.values()), seen.writers, self.rules.keeping, now)
        holders = {holder for _, holder in seen.locks.values()}  # who has a lock tells that it may go
        return [seen.runs[uid] for uid in sorted(due - holders)]

    def _in_two_steps(self, seen: _Seen) -> Iterator[tuple[_Object, bool, timedelta]]:
        """Yield what is marked before it is deleted: the object, whether anything needs it, and how long the mark must stand.

        A journal is needed by its upgrade and by TenantRuns of that name; a record as long as its namespace is there; a lock by a TenantRun that
        may still write. A lock whose TenantRun is gone says that somebody should look at the tenant, as long as there is one.
        """
        with_runs = {str(one.name).rpartition(".")[0] for one in seen.runs.values()}
        for upgrade, journal in seen.journals.items():
            yield journal, upgrade in seen.upgrades or upgrade in with_runs, self.rules.grace
        for namespace_uid, records in seen.records.items():
            for record in records:
                yield record, namespace_uid in seen.namespaces, self.rules.keeping.age
        for namespace_uid, (lock, holder) in seen.locks.items():
            is_needed = holder not in seen.through if holder in seen.runs else namespace_uid in seen.namespaces
            yield lock, is_needed, self.rules.grace
        for snapshot in seen.snapshots:
            is_needed = not seen.is_whole or _digest_of(snapshot.name) in seen.digests
            if seen.is_whole or snapshot.marked is None:
                yield snapshot, is_needed, self.rules.grace

    async def _deleted(self, one: _Object) -> bool:
        """Delete it if it still is as it was read; return whether it went. Somebody being faster is ordinary: the next sweep looks again."""
        try:
            await self.cluster.delete(one.kind, self.namespace, one.name, uid=one.uid, resource_version=one.resource_version)
        except (NotFound, Conflict):
            return False
        self.telemetry.retention(one.kind.name)
        return True

    async def _marked(self, one: _Object, time: datetime | None) -> bool:
        marks = {MARK_ANNOTATION: time.isoformat() if time is not None else None}
        if one.kind == LEASE:
            marks[BREAKER_ANNOTATION] = SWEEP if time is not None else None
        patch = {"metadata": {"annotations": marks}}
        try:
            await self.cluster.merge_patch(one.kind, self.namespace, one.name, patch, resource_version=one.resource_version)
        except (NotFound, Conflict):
            return False
        return True

    async def _measure(self, seen: _Seen) -> None:
        """Export how much all snapshots take: before the writes, for these may take minutes."""
        counts, sizes = Counter[str](), Counter[str]()
        for number, one in enumerate(seen.snapshots):
            if number % SLICE == SLICE - 1:
                await asyncio.sleep(0)
            state = "Needed" if _digest_of(one.name) in seen.digests else "Unneeded"
            counts[state] += 1
            sizes[state] += one.bytes
        for state in ("Needed", "Unneeded"):
            self.telemetry.snapshots(state, counts[state], sizes[state])
        log.info("retention: %d snapshots (%d bytes), %d not needed", counts.total(), sizes.total(), counts["Unneeded"])

    def _tell(self, seen: _Seen, done: Counter[str]) -> None:
        said = ", ".join(f"{what}: {count}" for what, count in sorted(done.items())) or "nothing was due"
        log.info("retention: %s", said)
        if not seen.is_whole:
            log.warning("retention: a journal or a version record cannot be read, so no snapshot is deleted; mend it, or delete it")


def _object(kind: Kind, raw: Body) -> _Object:
    metadata = raw["metadata"]
    annotations: Mapping[str, str] = metadata.get("annotations") or {}
    size = annotations.get(BYTES_ANNOTATION, "")
    return _Object(
        kind,
        str(metadata["name"]),
        str(metadata["uid"]),
        str(metadata["resourceVersion"]),
        marked_time(dict(annotations)),
        int(size) if size.isdecimal() else ASSUMED_BYTES,
    )


def _lock(raw: Body) -> _Object:
    """Return a lock. One on which our announcement does not stand any more is not marked: its holder, or another breaker, came in between."""
    found = _object(LEASE, raw)
    return found if breaker_of(raw) == SWEEP else replace(found, marked=None)


def _kept_run(raw: Body, now: datetime) -> KeptRun:
    """Return a TenantRun for the rule. One that cannot be read is open, and its age is not known."""
    metadata, spec = raw["metadata"], raw.get("spec") or {}
    is_open, time = True, now
    try:
        status = TenantRunStatus.model_validate(raw.get("status") or {})
    except ValidationError:
        status = None
    if status is not None:
        is_open = tenant_run.has_tenant(status)
        created = metadata.get("creationTimestamp")
        ended = status.completion_time or status.state_since_time
        time = ended or (datetime.fromisoformat(created) if created else now)
    return KeptRun(
        name=str(metadata["name"]),
        uid=str(metadata["uid"]),
        upgrade_uid=str(spec.get("upgradeUID", "")),
        tenant=str(spec.get("tenant", "")),
        product=str(spec.get("product", "")),
        is_open=is_open,
        time=time,
    )


def _look_at_config_map(raw: Body, seen: _Seen) -> None:
    """Note a journal or a version record, and what it refers to. One that is damaged makes the picture incomplete."""
    metadata = raw["metadata"]
    name, labels, data = str(metadata["name"]), metadata.get("labels") or {}, raw.get("data") or {}
    role = labels.get(ROLE_LABEL) or ("journal" if name.startswith(JOURNAL_PREFIX) and "journal" in data else "")
    if role == "journal":
        seen.journals[labels.get(UPGRADE_LABEL) or name.removeprefix(JOURNAL_PREFIX)] = _object(CONFIG_MAP, raw)
        seen.digests |= digests_in(str(data.get("journal", "")))
        seen.is_whole &= _is_json(str(data.get("journal", "")))
    elif role == RECORD_ROLE:
        seen.records.setdefault(name.split("-", 2)[-1], []).append(_object(CONFIG_MAP, raw))
        seen.digests |= digests_in(str(data.get("record", "")))
        try:
            seen.writers.add(read_record(raw).writer)
        except (ValueError, KeyError, TypeError):
            seen.is_whole = False


def _is_json(text: str) -> bool:
    try:
        json.loads(text)
    except ValueError:
        return False
    return True


def _digest_of(secret: str) -> str:
    """Return which blob a Secret holds a chunk of: `snapshot-<hex>-<number>`."""
    return "sha256:" + secret.removeprefix("snapshot-").rpartition("-")[0]
