"""Saved objects: content-addressed, gzipped, immutable Secrets in the operator's own namespace, owned by nothing.

Each chunk says how many there are. A name is the digest of what is stored, so saving twice is saving once, and a blob that reads back
with its digest is whole.
"""

from __future__ import annotations

import base64
import binascii
import gzip
import hashlib
import zlib
from collections import OrderedDict
from collections.abc import Mapping, Sequence
from typing import Any

from tenantwave.api.kinds import ROLE_LABEL, SECRET, SNAPSHOT_TYPE
from tenantwave.faults import AlreadyExists, NotFound, SnapshotCorrupt
from tenantwave.ports import Cluster, SavedBlob

CHUNK_BYTES = 700 * 1024
"""A Secret holds 1 MiB, decoded; base64 and metadata need the rest."""

REMEMBERED_BYTES = 16 * 1024 * 1024
"""Blobs that were proven to be stored and are kept in memory: tenants of one release share most of them."""


class SecretSnapshots:
    """The port `Snapshots` on Secrets of the operator's namespace."""

    def __init__(self, cluster: Cluster, namespace: str) -> None:
        self._cluster = cluster
        self._namespace = namespace
        self._known: OrderedDict[str, tuple[bytes, int]] = OrderedDict()
        self._known_bytes = 0

    async def save(self, blob: bytes) -> SavedBlob:
        """Store `blob` (nothing happens where it is stored already) and check what the server answers that it holds.

        Raises: SnapshotCorrupt if that has another digest, and the faults of the API.
        """
        digest = "sha256:" + hashlib.sha256(blob).hexdigest()
        if (known := self._known.get(digest)) is not None:
            self._known.move_to_end(digest)
            return SavedBlob(digest, known[1])
        packed = gzip.compress(blob, mtime=0)
        parts = [packed[start : start + CHUNK_BYTES] for start in range(0, len(packed), CHUNK_BYTES)]
        stored = [await self._store(digest, number, len(parts), part) for number, part in enumerate(parts)]
        # What came back as it was sent has the digest; anything else is unpacked and proven.
        self._remember(digest, blob if stored == parts else _unpacked(digest, stored), len(parts))
        return SavedBlob(digest, len(parts))

    async def load(self, digest: str) -> bytes:
        """Return the blob. Raises SnapshotCorrupt where a chunk is missing or its digest differs."""
        if (known := self._known.get(digest)) is not None:
            self._known.move_to_end(digest)
            return known[0]
        blob, count = await self._read(digest)
        self._remember(digest, blob, count)
        return blob

    async def _store(self, digest: str, number: int, count: int, part: bytes) -> bytes:
        """Store one chunk and return it as the server has it."""
        try:
            stored = await self._cluster.create(SECRET, self._secret(digest, number, count, part))
        except AlreadyExists:
            return (await self._chunk(digest, number))[0]
        return _payload(digest, number, stored)[0]

    async def _read(self, digest: str) -> tuple[bytes, int]:
        first, count = await self._chunk(digest, 0)
        parts = [first] + [(await self._chunk(digest, number))[0] for number in range(1, count)]
        return _unpacked(digest, parts), count

    async def _chunk(self, digest: str, number: int) -> tuple[bytes, int]:
        name = secret_name(digest, number)
        try:
            secret = await self._cluster.get(SECRET, self._namespace, name)
        except NotFound as error:
            raise SnapshotCorrupt(f"chunk {number} of {digest} is missing: {_mend(name)}") from error
        return _payload(digest, number, secret)

    def _secret(self, digest: str, number: int, count: int, part: bytes) -> dict[str, Any]:
        return {
            "apiVersion": "v1",
            "kind": "Secret",
            "metadata": {"name": secret_name(digest, number), "namespace": self._namespace, "labels": {ROLE_LABEL: "snapshot"}},
            "type": SNAPSHOT_TYPE,
            "immutable": True,
            "data": {"chunk": base64.b64encode(part).decode(), "count": base64.b64encode(str(count).encode()).decode()},
        }

    def _remember(self, digest: str, blob: bytes, count: int) -> None:
        if len(blob) > REMEMBERED_BYTES // 16 or digest in self._known:
            return
        self._known[digest] = (blob, count)
        self._known_bytes += len(blob)
        while self._known_bytes > REMEMBERED_BYTES:
            _, (forgotten, _count) = self._known.popitem(last=False)
            self._known_bytes -= len(forgotten)


def secret_name(digest: str, number: int) -> str:
    """Return the name of the Secret that holds one chunk of a blob."""
    return f"snapshot-{digest.removeprefix('sha256:')}-{number}"


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
