"""Saved objects: content-addressed, gzipped, immutable Secrets in the operator's own namespace, owned by nothing.

Each chunk says how many there are. A name is the digest of what is stored, so saving twice is saving once, and a blob that reads back
with its digest is whole.
"""

from __future__ import annotations

import base64
import binascii
import gzip
import hashlib
import time
import zlib
from collections import OrderedDict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from tenantwave.api.kinds import ROLE_LABEL, SECRET, SNAPSHOT_ROLE, SNAPSHOT_TYPE
from tenantwave.core.blobs import secret_name
from tenantwave.core.retention import BYTES_ANNOTATION, MARK_ANNOTATION
from tenantwave.faults import AlreadyExists, Conflict, NotFound, SnapshotCorrupt
from tenantwave.ports import Cluster, SavedBlob

CHUNK_BYTES = 700 * 1024
"""A Secret holds 1 MiB, decoded; base64 and metadata need the rest."""

SECRET_BYTES = 512
"""What a Secret takes besides its chunk: names, labels, managedFields."""

REMEMBERED_BYTES = 16 * 1024 * 1024
"""Blobs that were proven to be stored and are kept in memory: tenants of one release share most of them."""


MARKED_TRIES = 8
"""How often a Secret that is marked, unmarked or deleted at the same time is looked at again."""

LIMIT_BYTES = 1024 * 1024 * 1024
"""How much all snapshots may take, where nobody says otherwise. etcd's usual quota is 2 GiB for everything."""


@dataclass(frozen=True, slots=True)
class _Known:
    """A blob that was proven to be stored. `trusted_until`, on the monotonic clock, it is still there for certain."""

    blob: bytes
    chunks: int
    trusted_until: float


class SecretSnapshots:
    """The port `Snapshots` on Secrets of the operator's namespace.

    What nothing refers to is collected (`engine.retention`): marked first, and deleted when the mark has stood for `grace`. So a blob that was
    stored without a mark a moment ago stays for a grace at least, whoever collects. That is what the memory relies on: it answers for a quarter
    of the grace, and after that the API server is asked again. `save` takes the mark off what it meets, and a Secret that is deleted meanwhile
    is stored anew. Its caller has the rest of the grace to write down that it needs the blob.
    """

    def __init__(
        self,
        cluster: Cluster,
        namespace: str,
        *,
        grace: timedelta = timedelta(hours=24),
        limit_bytes: int = LIMIT_BYTES,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._cluster = cluster
        self._namespace = namespace
        self._trusted_seconds = grace.total_seconds() / 4
        self._limit_bytes = limit_bytes
        self._monotonic = monotonic
        self._known: OrderedDict[str, _Known] = OrderedDict()
        self._known_bytes = 0
        self._stored_bytes = 0

    async def save(self, blob: bytes) -> SavedBlob:
        """Store `blob` (nothing happens where it is stored already) and check what the server answers that it holds.

        Raises: SnapshotCorrupt if that has another digest, and the faults of the API.
        """
        digest = "sha256:" + hashlib.sha256(blob).hexdigest()
        begun = self._monotonic()
        if (known := self._known.get(digest)) is not None and begun < known.trusted_until:
            self._known.move_to_end(digest)
            return SavedBlob(digest, known.chunks)
        packed = gzip.compress(blob, mtime=0)
        parts = [packed[start : start + CHUNK_BYTES] for start in range(0, len(packed), CHUNK_BYTES)]
        is_there = known is not None
        stored = [await self._store(digest, number, len(parts), part, is_there=is_there) for number, part in enumerate(parts)]
        # What came back as it was sent has the digest; anything else is unpacked and proven.
        self._remember(digest, _Known(blob if stored == parts else _unpacked(digest, stored), len(parts), begun + self._trusted_seconds))
        return SavedBlob(digest, len(parts))

    async def load(self, digest: str) -> bytes:
        """Return the blob. Raises SnapshotCorrupt where a chunk is missing or its digest differs."""
        if (known := self._known.get(digest)) is not None:
            self._known.move_to_end(digest)
            return known.blob
        begun = self._monotonic()
        blob, count, is_marked = await self._read(digest)
        # What is marked was only read: whoever saves the same content takes the mark off at the API server.
        self._remember(digest, _Known(blob, count, float("-inf") if is_marked else begun + self._trusted_seconds))
        return blob

    def counted(self, stored_bytes: int) -> None:
        """Take over how much all snapshots take, as they were just counted."""
        self._stored_bytes = stored_bytes

    def why_no_room(self, more_bytes: int) -> str:
        """Return '' if so much more may be stored, else a sentence. Before the first count of a process only its own blobs are known."""
        if self._stored_bytes + more_bytes <= self._limit_bytes:
            return ""
        taken = f"snapshots take {_mebibytes(self._stored_bytes)} MiB, and this tenant needs up to {_mebibytes(more_bytes)} MiB more"
        mend = "delete TenantUpgrades that have ended, set retention.runs or retention.days of the chart lower, or retention.maxSnapshotMiB higher"
        return f"{taken}, where {_mebibytes(self._limit_bytes)} MiB are allowed; {mend}, then Retry"

    async def _store(self, digest: str, number: int, count: int, part: bytes, *, is_there: bool) -> bytes:
        """Store one chunk, unmarked, and return it as the server has it. Args: is_there: it was stored a while ago: look first."""
        name = secret_name(digest, number)
        for attempt in range(MARKED_TRIES):
            if attempt or not is_there:
                try:
                    stored = await self._cluster.create(SECRET, self._secret(digest, number, count, part))
                except AlreadyExists:
                    pass
                else:
                    self._stored_bytes += _size(part)
                    return _payload(digest, number, stored)[0]
            try:
                found = await self._cluster.get(SECRET, self._namespace, name)
                if _is_marked(found):
                    clean = {"metadata": {"annotations": {MARK_ANNOTATION: None}}}
                    version = found["metadata"]["resourceVersion"]
                    found = await self._cluster.merge_patch(SECRET, self._namespace, name, clean, resource_version=version)
            except (NotFound, Conflict):
                continue  # it is being collected at this very moment
            return _payload(digest, number, found)[0]
        raise Conflict(f"Secret {name} is being marked and deleted all the time; stored at the next look")

    async def _read(self, digest: str) -> tuple[bytes, int, bool]:
        """Return the blob, how many chunks it has, and whether any of them is marked."""
        chunks = [await self._chunk(digest, 0)]
        part, count = _payload(digest, 0, chunks[0])
        chunks += [await self._chunk(digest, number) for number in range(1, count)]
        parts = [part] + [_payload(digest, number, chunk)[0] for number, chunk in enumerate(chunks[1:], start=1)]
        return _unpacked(digest, parts), count, any(_is_marked(chunk) for chunk in chunks)

    async def _chunk(self, digest: str, number: int) -> dict[str, Any]:
        name = secret_name(digest, number)
        try:
            return await self._cluster.get(SECRET, self._namespace, name)
        except NotFound as error:
            raise SnapshotCorrupt(f"chunk {number} of {digest} is missing: {_mend(name)}") from error

    def _secret(self, digest: str, number: int, count: int, part: bytes) -> dict[str, Any]:
        return {
            "apiVersion": "v1",
            "kind": "Secret",
            "metadata": {
                "name": secret_name(digest, number),
                "namespace": self._namespace,
                "labels": {ROLE_LABEL: SNAPSHOT_ROLE},
                "annotations": {BYTES_ANNOTATION: str(_size(part))},
            },
            "type": SNAPSHOT_TYPE,
            "immutable": True,
            "data": {"chunk": base64.b64encode(part).decode(), "count": base64.b64encode(str(count).encode()).decode()},
        }

    def _remember(self, digest: str, known: _Known) -> None:
        if len(known.blob) > REMEMBERED_BYTES // 16:
            return
        before = self._known.pop(digest, None)
        self._known_bytes -= len(before.blob) if before is not None else 0
        self._known[digest] = known
        self._known_bytes += len(known.blob)
        while self._known_bytes > REMEMBERED_BYTES:
            _, forgotten = self._known.popitem(last=False)
            self._known_bytes -= len(forgotten.blob)


def _is_marked(secret: Mapping[str, Any]) -> bool:
    return MARK_ANNOTATION in (secret["metadata"].get("annotations") or {})


def _size(part: bytes) -> int:
    """Return how much of etcd a chunk takes, about: it is stored as base64."""
    return len(part) * 4 // 3 + SECRET_BYTES


def _mebibytes(count: int) -> str:
    return f"{count / (1024 * 1024):.1f}"


def _payload(digest: str, number: int, secret: Mapping[str, Any]) -> tuple[bytes, int]:
    data = secret.get("data") or {}
    try:
        return base64.b64decode(data["chunk"], validate=True), int(base64.b64decode(data["count"], validate=True))
    except (KeyError, ValueError, binascii.Error) as error:
        raise SnapshotCorrupt(f"chunk {number} of {digest} is damaged: {_mend(secret_name(digest, number))}") from error


def _unpacked(digest: str, parts: Sequence[bytes]) -> bytes:
    try:
        blob = gzip.decompress(b"".join(parts))
    except (OSError, EOFError, zlib.error) as error:
        raise SnapshotCorrupt(f"{digest} cannot be unpacked ({error}): {_mend(secret_name(digest, 0))}") from error
    if "sha256:" + hashlib.sha256(blob).hexdigest() != digest:
        raise SnapshotCorrupt(f"what is stored as {digest} has another digest: {_mend(secret_name(digest, 0))}")
    return blob


def _mend(name: str) -> str:
    return f"restore Secret {name} from a backup, or delete it and Retry if nothing was written yet"
