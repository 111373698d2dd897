"""The lock of a tenant and its version record, by themselves."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from fakes import FakeCluster
from tenantwave.api.kinds import CONFIG_MAP, LEASE, TENANT_RUN
from tenantwave.engine.tenant.failure import Busy
from tenantwave.engine.tenant.locks import TenantLock
from tenantwave.engine.tenant.records import Proven, Record, Records, record_name, version_record
from tenantwave.faults import Conflict

OWN = "tenantwave-system"
NOON = datetime(2026, 12, 6, 12, tzinfo=UTC)


def a_lock(cluster: FakeCluster, run: str) -> TenantLock:
    """The lock of namespace `acme` as one TenantRun sees it."""
    return TenantLock(cluster, OWN, "acme", "ns-1", f"{run}.acme", run)


async def unmarked(run_uid: str) -> bool:
    """No object carries a marker."""
    return False


async def marked(run_uid: str) -> bool:
    """Some object carries the holder's marker."""
    return True


async def test_a_lock_is_taken_once_and_given_back_by_its_holder_alone() -> None:
    """The second comer is told who has it; a release by somebody else does nothing."""
    cluster = FakeCluster()
    cluster.put(TENANT_RUN, {"metadata": {"name": "a.acme", "namespace": OWN}, "status": {"state": "Applying"}})
    first = TenantLock(cluster, OWN, "acme", "ns-1", "a.acme", cluster.see(TENANT_RUN, OWN, "a.acme")["metadata"]["uid"])
    await first.take(unmarked)
    await first.take(unmarked)
    with pytest.raises(Busy, match=r"a\.acme has acme"):
        await a_lock(cluster, "b").take(unmarked)
    await a_lock(cluster, "b").release()
    assert await first.is_ours()
    await first.release()
    assert not cluster.has(LEASE, OWN, "tenant-ns-1")


HOLDERS: dict[str, tuple[dict[str, Any] | None, Any, bool]] = {
    "succeeded": ({"state": "Succeeded"}, unmarked, True),
    "rolled back": ({"state": "RolledBack"}, unmarked, True),
    "held with nothing written": ({"state": "Held"}, unmarked, True),
    "waiting with nothing written": ({"state": "Waiting"}, unmarked, True),
    "queued with nothing written": ({"state": "Queued"}, unmarked, True),
    "waiting after a write of an earlier run": ({"state": "Waiting", "written": True}, unmarked, False),
    "queued after a write of an earlier run": ({"state": "Queued", "written": True}, unmarked, False),
    "in preflight": ({"state": "Preflight"}, unmarked, False),
    "held after a write": ({"state": "Held", "written": True}, unmarked, False),
    "soaking": ({"state": "Soaking"}, unmarked, False),
    "rollback failed": ({"state": "RollbackFailed", "written": True}, unmarked, False),
    "its TenantRun is gone": (None, unmarked, True),
    "its TenantRun is gone, its marker stands": (None, marked, False),
}


@pytest.mark.parametrize(("status", "is_marked", "breaks"), HOLDERS.values(), ids=HOLDERS)
async def test_a_lock_is_broken_only_where_its_holder_is_through(status: dict[str, Any] | None, is_marked: Any, breaks: bool) -> None:
    """No lock expires by itself."""
    cluster = FakeCluster()
    uid = "gone"
    if status is not None:
        uid = cluster.put(TENANT_RUN, {"metadata": {"name": "a.acme", "namespace": OWN}, "status": status})["metadata"]["uid"]
    await TenantLock(cluster, OWN, "acme", "ns-1", "a.acme", uid).take(unmarked)
    second = a_lock(cluster, "b")
    if breaks:
        await second.take(is_marked)
        assert await second.is_ours()
    else:
        with pytest.raises(Busy):
            await second.take(is_marked)


@pytest.mark.parametrize("state", ["Queued", "Waiting", "Held", "Skipped", "Succeeded"])
async def test_a_lock_that_came_too_late_is_given_back(state: str) -> None:
    """The run let go of the tenant while our create was under way."""
    cluster = FakeCluster()
    uid = cluster.put(TENANT_RUN, {"metadata": {"name": "a.acme", "namespace": OWN}, "status": {"state": state}})["metadata"]["uid"]
    lock = TenantLock(cluster, OWN, "acme", "ns-1", "a.acme", uid)
    await lock.take(unmarked)
    await lock.abandon()
    assert not cluster.has(LEASE, OWN, "tenant-ns-1")


async def test_a_release_of_another_process_fails_once_the_lock_was_taken_over() -> None:
    """Its delete was on its way when it died; taken over by a turn of the same process the Lease need not move."""
    cluster = FakeCluster()
    uid = cluster.put(TENANT_RUN, {"metadata": {"name": "a.acme", "namespace": OWN}, "status": {"state": "Soaking"}})["metadata"]["uid"]
    ours: set[str] = set()
    first, again, successor = (TenantLock(cluster, OWN, "acme", "ns-1", "a.acme", uid, known) for known in (ours, ours, None))
    await first.take(unmarked)
    count = len(cluster.writes)
    assert (await again.is_ours(), len(cluster.writes)) == (True, count)
    assert (await successor.is_ours(), len(cluster.writes)) == (True, count + 1)
    with pytest.raises(Conflict):
        await first.release()
    assert cluster.has(LEASE, OWN, "tenant-ns-1")
    await successor.release()
    assert not cluster.has(LEASE, OWN, "tenant-ns-1")


OLD = Proven("2.3.1", "2.3.1", NOON, {"app-config": "sha256:old"})
NEW_BASE = {"app-config": "sha256:new"}


def test_a_record_moves_forward_and_back() -> None:
    """Back to what stood before; written again by the same run it stays as it is."""
    record = Record(now=OLD, writer="earlier", rolled_back={"2.4.0": "old-run"})
    moved = record.moved("2.4.0", NEW_BASE, "us", NOON, is_stable=True)
    assert (moved.now.version, moved.now.base, moved.rolled_back) == ("2.4.0", NEW_BASE, {})
    assert moved.moved("2.4.0", NEW_BASE, "us", NOON + timedelta(hours=1), is_stable=True) == moved
    back = moved.moved_back("2.4.0", "2.3.1", "run-1", "us", NOON)
    assert (back.now, back.rolled_back) == (OLD, {"2.4.0": "run-1"})
    assert back.moved_back("2.4.0", "2.3.1", "run-1", "us", NOON + timedelta(hours=1)) == back


@pytest.mark.parametrize(
    ("record", "is_stable", "expected"),
    [
        pytest.param(Record(now=OLD), True, "2.4.0", id="gates and soak have passed"),
        pytest.param(Record(now=OLD), False, "2.3.1", id="found there, or accepted by a person"),
        pytest.param(Record(), False, "", id="adopted: nothing is proven yet"),
    ],
)
def test_the_last_stable_version_moves_only_when_proven(record: Record, is_stable: bool, expected: str) -> None:
    """What a tenant runs is one thing, what is known to be good for it another."""
    moved = record.moved("2.4.0", NEW_BASE, "us", NOON, is_stable=is_stable)
    assert (moved.now.version, moved.now.last_stable_version) == ("2.4.0", expected)
    back = moved.moved_back("2.4.0", "2.3.1", "run-1", "us", NOON)
    assert back.now.last_stable_version == record.now.last_stable_version


@pytest.mark.parametrize("is_proven", [False, True], ids=["while it soaked", "once it had succeeded"])
def test_an_upgrade_that_is_edited_goes_back_by_one_version(is_proven: bool) -> None:
    """One TenantRun has brought 2.4.0 and then 2.5.0: taken back from there the tenant has 2.4.0, with the base that it had."""
    record = Record(now=OLD, writer="earlier").moved("2.4.0", NEW_BASE, "us", NOON, is_stable=True)
    stood = record.now
    if is_proven:
        record = record.moved("2.5.0", {"app-config": "sha256:newer"}, "us", NOON, is_stable=True)
    back = record.moved_back("2.5.0", "2.4.0", "run-2", "us", NOON)
    assert (back.now, back.rolled_back) == (stood, {"2.5.0": "run-2"})
    assert back.moved_back("2.5.0", "2.4.0", "run-2", "us", NOON + timedelta(hours=1)) == back


def test_a_rollback_before_the_record_moved_keeps_it() -> None:
    """It only notes the version that was taken back."""
    back = Record(now=OLD, writer="earlier").moved_back("2.4.0", "2.3.1", "run-1", "us", NOON)
    assert (back.now, back.rolled_back) == (OLD, {"2.4.0": "run-1"})


def test_what_was_left_unproven_stays_so_until_that_very_version_is_proven_or_taken_back() -> None:
    """What the tenant ran before stays what is proven; another version that is proven says nothing about this one."""
    left = Record(now=OLD, writer="us").left_unproven("2.4.0", "run-1")
    assert (left.now, left.unproven) == (OLD, {"2.4.0": "run-1"})
    assert left.moved("2.5.0", NEW_BASE, "us", NOON, is_stable=True).unproven == {"2.4.0": "run-1"}
    assert left.moved("2.4.0", NEW_BASE, "us", NOON, is_stable=True).unproven == {}
    assert left.moved_back("2.4.0", "2.3.1", "run-2", "us", NOON).unproven == {}
    assert left.moved_back("2.5.0", "2.4.0", "run-2", "us", NOON).unproven == {"2.4.0": "run-1"}
    proven_once = Record(now=OLD, writer="us").left_unproven("2.3.1", "run-1").moved("2.3.1", OLD.base, "us", NOON, is_stable=True)
    assert proven_once.unproven == {}, "the same run may have proven it, begun anew, and left it"


async def test_what_was_left_unproven_is_stored_and_shown_to_the_planner() -> None:
    """A record of before that knows nothing of it is read all the same."""
    cluster = FakeCluster()
    records = Records(cluster, OWN)
    await records.write("shop", "acme", "ns-1", Record(now=OLD), None)
    read, stored = await records.read("shop", "ns-1")
    assert (read.unproven, stored is not None and version_record(stored).unproven) == ({}, {})
    await records.write("shop", "acme", "ns-1", read.left_unproven("2.4.0", "run-1"), stored)
    read, stored = await records.read("shop", "ns-1")
    assert stored is not None
    assert read.unproven == version_record(stored).unproven == {"2.4.0": "run-1"}


async def test_a_record_is_stored_and_read_back() -> None:
    """Over the one that was read, and only if it differs."""
    cluster = FakeCluster()
    records = Records(cluster, OWN)
    empty, stored = await records.read("Shop_1", "ns-1")
    assert (empty, stored) == (Record(), None)
    moved = empty.moved("2.4.0", NEW_BASE, "us", NOON, is_stable=True)
    await records.write("Shop_1", "acme", "ns-1", moved, stored)
    read, stored = await records.read("Shop_1", "ns-1")
    assert read == moved
    await records.write("Shop_1", "acme", "ns-1", read, stored)
    assert len(cluster.writes) == 1
    shown = version_record(cluster.see(CONFIG_MAP, OWN, record_name("Shop_1", "ns-1")))
    assert (shown.version, shown.last_stable_version, shown.since, shown.base) == ("2.4.0", "2.4.0", NOON, NEW_BASE)


def test_a_damaged_record_is_no_version() -> None:
    """The reader is told, and nothing is guessed."""
    with pytest.raises(ValueError, match=r"."):
        version_record({"data": {"record": "{"}})
