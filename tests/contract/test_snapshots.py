"""Saved objects: content-addressed, in chunks, immutable; what is not whole is never given back."""

from __future__ import annotations

import base64
import hashlib
from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fakes import CrashNow, FakeClock, FakeCluster, Request
from tenantwave.adapters.snapshots import CHUNK_BYTES, SecretSnapshots
from tenantwave.api.kinds import SECRET, SNAPSHOT_TYPE
from tenantwave.core.blobs import secret_name
from tenantwave.core.retention import MARK_ANNOTATION
from tenantwave.faults import SnapshotCorrupt

OWN = "tenantwave-system"


def noise(size: int) -> bytes:
    """Bytes that no compression makes smaller."""
    return b"".join(hashlib.sha256(str(number).encode()).digest() for number in range(size // 32))


@given(st.binary(max_size=4096))
async def test_what_is_saved_comes_back(blob: bytes) -> None:
    """decode(encode(x)) = x, read by another process."""
    cluster = FakeCluster()
    saved = await SecretSnapshots(cluster, OWN).save(blob)
    assert await SecretSnapshots(cluster, OWN).load(saved.digest) == blob


async def test_large_content_is_stored_in_chunks() -> None:
    """Each Secret stays below 1 MiB, is immutable, of our type, and owned by nothing."""
    cluster = FakeCluster()
    blob = noise(CHUNK_BYTES * 2 + 3200)
    saved = await SecretSnapshots(cluster, OWN).save(blob)
    assert saved.chunks == 3
    secrets = [body for key, body in cluster.objects.items() if key[0] == SECRET.plural]
    assert all(len(base64.b64decode(secret["data"]["chunk"])) <= CHUNK_BYTES for secret in secrets)
    assert {(secret["immutable"], secret["type"], "ownerReferences" in secret["metadata"]) for secret in secrets} == {
        (True, SNAPSHOT_TYPE, False)
    }
    assert await SecretSnapshots(cluster, OWN).load(saved.digest) == blob


async def test_equal_content_is_stored_once() -> None:
    """By one process without a request, by another with one that finds it."""
    cluster = FakeCluster()
    snapshots = SecretSnapshots(cluster, OWN)
    first = await snapshots.save(b"same")
    requests = len(cluster.requests)
    assert await snapshots.save(b"same") == first
    assert len(cluster.requests) == requests
    assert await SecretSnapshots(cluster, OWN).save(b"same") == first
    assert len([key for key in cluster.objects if key[0] == SECRET.plural]) == 1


async def test_a_process_that_dies_between_chunks_is_continued() -> None:
    """The next one stores what is missing."""
    cluster = FakeCluster()
    blob = noise(CHUNK_BYTES * 2)

    def die(number: int, request: Request) -> None:
        if number == 2:
            raise CrashNow

    cluster.before = die
    with pytest.raises(CrashNow):
        await SecretSnapshots(cluster, OWN).save(blob)
    cluster.before = lambda number, request: None
    saved = await SecretSnapshots(cluster, OWN).save(blob)
    assert await SecretSnapshots(cluster, OWN).load(saved.digest) == blob


async def test_a_missing_chunk_is_named() -> None:
    """With the Secret to restore."""
    cluster = FakeCluster()
    saved = await SecretSnapshots(cluster, OWN).save(noise(CHUNK_BYTES * 2))
    cluster.remove(SECRET, OWN, secret_name(saved.digest, 1))
    with pytest.raises(SnapshotCorrupt, match=r"chunk 1 .* is missing: restore Secret snapshot-"):
        await SecretSnapshots(cluster, OWN).load(saved.digest)


@pytest.mark.parametrize(
    "chunk",
    [b"not gzip", base64.b64decode("H4sIAAAAAAAC/0vLz1dIzs8tKEotLk5NUUjKLMovyUzPBwD8N6ckFQAAAA=="), b""],
    ids=["no gzip", "another content", "empty"],
)
async def test_a_corrupt_chunk_is_never_given_back(chunk: bytes) -> None:
    """Whatever stands there: without its digest it is SnapshotCorrupt, also when it is to be saved again."""
    cluster = FakeCluster()
    saved = await SecretSnapshots(cluster, OWN).save(b"content")
    cluster.see(SECRET, OWN, secret_name(saved.digest, 0))["data"]["chunk"] = base64.b64encode(chunk).decode()
    with pytest.raises(SnapshotCorrupt):
        await SecretSnapshots(cluster, OWN).load(saved.digest)
    with pytest.raises(SnapshotCorrupt):
        await SecretSnapshots(cluster, OWN).save(b"content")


def is_marked(cluster: FakeCluster, digest: str) -> bool:
    return MARK_ANNOTATION in cluster.see(SECRET, OWN, secret_name(digest, 0))["metadata"]["annotations"]


def mark(cluster: FakeCluster, digest: str) -> None:
    cluster.edit(SECRET, OWN, secret_name(digest, 0), {"metadata": {"annotations": {MARK_ANNOTATION: "2026-12-06T02:00:00+00:00"}}})


@pytest.mark.parametrize("how", ["another process", "loaded before", "stored a while ago"])
async def test_what_is_about_to_be_collected_stays_for_whoever_saves_it(how: str) -> None:
    """The mark comes off, whatever the process remembers."""
    cluster, clock = FakeCluster(), FakeClock()
    snapshots = SecretSnapshots(cluster, OWN, monotonic=clock.monotonic)
    digest = (await snapshots.save(b"content")).digest
    mark(cluster, digest)
    if how != "stored a while ago":
        snapshots = SecretSnapshots(cluster, OWN, monotonic=clock.monotonic)
    if how == "loaded before":
        assert await snapshots.load(digest) == b"content"
    clock.forward(timedelta(hours=6))
    await snapshots.save(b"content")
    assert not is_marked(cluster, digest)


async def test_what_was_collected_is_stored_again_when_the_memory_has_expired() -> None:
    """A quarter of the grace after it was stored for certain; until then nobody collects it."""
    cluster, clock = FakeCluster(), FakeClock()
    snapshots = SecretSnapshots(cluster, OWN, grace=timedelta(hours=4), monotonic=clock.monotonic)
    digest = (await snapshots.save(b"content")).digest
    cluster.remove(SECRET, OWN, secret_name(digest, 0))
    clock.forward(timedelta(minutes=59))
    await snapshots.save(b"content")
    assert not cluster.has(SECRET, OWN, secret_name(digest, 0)), "within that time it asks nobody"
    clock.forward(timedelta(minutes=1))
    await snapshots.save(b"content")
    assert await SecretSnapshots(cluster, OWN).load(digest) == b"content"


async def test_room_is_told_with_the_mend() -> None:
    """What this process stored counts before the next count does."""
    cluster = FakeCluster()
    snapshots = SecretSnapshots(cluster, OWN, limit_bytes=3 * CHUNK_BYTES)
    assert snapshots.why_no_room(CHUNK_BYTES) == ""
    await snapshots.save(noise(CHUNK_BYTES * 2))
    assert "retention.maxSnapshotMiB" in snapshots.why_no_room(CHUNK_BYTES)
    snapshots.counted(0)
    assert snapshots.why_no_room(CHUNK_BYTES) == ""
