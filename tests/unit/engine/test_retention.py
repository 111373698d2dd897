"""The sweep over our own namespace, against an API server in memory: what is read, marked and deleted, and what is told of it."""

from __future__ import annotations

import json
from collections import Counter
from datetime import timedelta
from typing import Any

import pytest

from fakes import FakeClock, FakeCluster, Request
from support.tenant_story import OWN, Story
from tenantwave.adapters.drivers.workload import WorkloadDriver
from tenantwave.adapters.snapshots import SecretSnapshots
from tenantwave.api.kinds import CONFIG_MAP, LEASE, NAMESPACE, PRODUCT_LABEL, ROLE_LABEL, SECRET, TENANT_RUN, TENANT_UPGRADE, UPGRADE_LABEL
from tenantwave.api.tenant_run import TenantState
from tenantwave.core.blobs import secret_name
from tenantwave.core.plan import Deed
from tenantwave.core.retention import MARK_ANNOTATION, Keeping
from tenantwave.engine import retention as module
from tenantwave.engine.retention import Retention, Rules
from tenantwave.engine.tenant import TenantSteps
from tenantwave.engine.tenant.locks import BREAKER_ANNOTATION, TenantLock
from tenantwave.engine.tenant.records import record_name
from tenantwave.faults import Conflict, Unavailable
from tenantwave.shell.metrics import PrometheusTelemetry

S = TenantState
DAY = timedelta(days=1)
LABELLED = {ROLE_LABEL: "journal", UPGRADE_LABEL: "shop"}


class Attic:
    """The operator's namespace, and whoever sweeps it."""

    def __init__(self) -> None:
        self.cluster, self.clock = FakeCluster(), FakeClock()
        self.telemetry = PrometheusTelemetry("0")
        self.snapshots = SecretSnapshots(self.cluster, OWN)
        self.cluster.put(NAMESPACE, {"metadata": {"name": "acme"}})

    async def sweep(self, **rules: Any) -> Counter[str]:
        """Sweep once."""
        told = Rules(keeping=Keeping(), pause=timedelta(0), **rules)
        return await Retention(self.cluster, self.cluster, OWN, self.clock, self.telemetry, self.snapshots.counted, told).sweep()

    async def sweep_twice(self, later: timedelta = DAY) -> Counter[str]:
        """Sweep, and once more when the time has passed."""
        await self.sweep()
        self.clock.forward(later)
        return await self.sweep()

    async def blob(self, text: str) -> str:
        """Save a blob, and return its digest."""
        return (await self.snapshots.save(text.encode())).digest

    def holds(self, digest: str) -> bool:
        """Tell whether the blob is there."""
        return self.cluster.has(SECRET, OWN, secret_name(digest, 0))

    def upgrade(self, name: str = "shop") -> str:
        """Put a TenantUpgrade there, and return its UID."""
        return str(self.cluster.put(TENANT_UPGRADE, {"metadata": {"name": name}})["metadata"]["uid"])

    def run(self, name: str, state: TenantState = S.SUCCEEDED, upgrade_uid: str = "gone", days_old: float = 100, **status: Any) -> str:
        """Put a TenantRun there, and return its UID."""
        ended = (self.clock.now() - timedelta(days=days_old)).isoformat()
        upgrade, _, tenant = name.rpartition(".")
        spec = {"upgrade": upgrade, "upgradeUID": upgrade_uid, "tenant": tenant, "product": "shop"}
        told = {"state": state.value, "completionTime": ended, **status}
        return str(
            self.cluster.put(TENANT_RUN, {"metadata": {"name": name, "namespace": OWN}, "spec": spec, "status": told})["metadata"]["uid"]
        )

    def config_map(self, name: str, labels: dict[str, str], **data: str) -> None:
        """Put a ConfigMap of ours there."""
        self.cluster.put(CONFIG_MAP, {"metadata": {"name": name, "namespace": OWN, "labels": labels}, "data": data})

    def record(self, namespace_uid: str, writer: str, base: str = "") -> str:
        """Put a version record there, and return its name."""
        proven = {"version": "2.4.0", "lastStableVersion": "2.4.0", "since": None, "base": {"app-config": base} if base else {}}
        text = json.dumps({"now": proven, "previous": proven, "writer": writer, "rolledBack": {}})
        name = record_name("shop", namespace_uid)
        self.config_map(name, {ROLE_LABEL: "record"}, product="shop", record=text)
        return name

    async def lock(self, run: str, run_uid: str, namespace_uid: str = "") -> TenantLock:
        """Let a run take the lock of acme, or of a namespace that is not there."""
        uid = namespace_uid or self.cluster.see(NAMESPACE, "", "acme")["metadata"]["uid"]
        lock = TenantLock(self.cluster, OWN, "acme", uid, run, run_uid)
        await lock.take(nothing_is_marked)
        return lock

    def locks(self) -> int:
        """Return how many locks there are."""
        return sum(plural == LEASE.plural for plural, _, _ in self.cluster.objects)

    def runs(self) -> set[str]:
        """Return the names of the TenantRuns."""
        return {name for plural, _, name in self.cluster.objects if plural == TENANT_RUN.plural}


async def nothing_is_marked(_: str) -> bool:
    return False


@pytest.mark.parametrize("where", ["a TenantRun", "its Secrets", "a journal", "a journal without its label", "a version record"])
async def test_a_blob_stays_while_anything_refers_to_it(where: str) -> None:
    attic = Attic()
    digest, other = await attic.blob("needed"), await attic.blob("not needed")
    match where:
        case "a TenantRun":
            attic.run("shop.acme", intents=[{"seq": 1, "target": {"apiVersion": "v1", "kind": "ConfigMap", "name": "x"}, "goal": digest}])
        case "its Secrets":
            attic.run("shop.acme", secrets=[{"name": "db", "digest": "hmac-sha256:0", "snapshot": digest}])
        case "a journal":
            attic.upgrade()
            attic.config_map("journal-shop", LABELLED, journal=json.dumps({"run": {"spec": digest}}))
        case "a journal without its label":
            attic.upgrade()
            attic.config_map("journal-shop", {}, journal=json.dumps({"run": {"catalogue": [{"digest": digest}]}}))
        case _:
            attic.record(attic.cluster.see(NAMESPACE, "", "acme")["metadata"]["uid"], "x", base=digest)
    assert await attic.sweep_twice() == Counter({"Secret deleted": 1})
    assert (attic.holds(digest), attic.holds(other)) == (True, False)
    assert await attic.sweep_twice() == Counter()


async def test_an_unneeded_blob_goes_a_grace_after_it_was_seen_and_not_before() -> None:
    attic = Attic()
    digest = await attic.blob("x")
    assert await attic.sweep() == Counter({"Secret marked": 1})
    attic.clock.forward(DAY - timedelta(seconds=1))
    assert await attic.sweep() == Counter()
    attic.clock.forward(timedelta(seconds=1))
    assert await attic.sweep() == Counter({"Secret deleted": 1})
    assert not attic.holds(digest)


async def test_a_blob_that_is_needed_again_loses_its_mark() -> None:
    attic = Attic()
    digest = await attic.blob("x")
    await attic.sweep()
    attic.run("shop.acme", snapshots=[{"digest": digest}])
    attic.clock.forward(30 * DAY)
    assert await attic.sweep() == Counter({"Secret unmarked": 1})
    assert MARK_ANNOTATION not in attic.cluster.see(SECRET, OWN, secret_name(digest, 0))["metadata"]["annotations"]


async def test_a_damaged_journal_keeps_every_blob() -> None:
    """What it refers to is not known."""
    attic = Attic()
    attic.upgrade()
    digest = await attic.blob("x")
    await attic.sweep()
    attic.config_map("journal-shop", LABELLED, journal='{"run": {"spe')
    attic.clock.forward(DAY)
    assert await attic.sweep() == Counter()
    assert attic.holds(digest)


@pytest.mark.parametrize("state", [S.PREFLIGHT, S.APPLYING, S.SOAKING, S.ROLLING_BACK, S.ROLLBACK_FAILED])
async def test_a_run_that_has_the_tenant_stays(state: TenantState) -> None:
    attic = Attic()
    for number in range(5):
        attic.run(f"u{number}.acme", state, days_old=300)
    await attic.sweep()
    assert len(attic.runs()) == 5


@pytest.mark.parametrize(("written", "left"), [(True, 5), (False, 3)])
async def test_a_held_run_stays_if_it_has_written(written: bool, left: int) -> None:
    attic = Attic()
    for number in range(5):
        attic.run(f"u{number}.acme", S.HELD, days_old=300 + number, written=written)
    await attic.sweep()
    assert len(attic.runs()) == left


async def test_ended_runs_of_gone_upgrades_go_but_the_last_ones_and_the_last_good_one() -> None:
    attic = Attic()
    uids = [attic.run(f"u{number}.acme", days_old=100 + number) for number in range(6)]
    attic.record(attic.cluster.see(NAMESPACE, "", "acme")["metadata"]["uid"], uids[5])
    attic.run("shop.acme", upgrade_uid=attic.upgrade(), days_old=900)
    assert await attic.sweep() == Counter({"TenantRun deleted": 2})
    assert attic.runs() == {"u0.acme", "u1.acme", "u2.acme", "u5.acme", "shop.acme"}
    assert await attic.sweep() == Counter()


async def test_a_run_that_cannot_be_read_stays() -> None:
    attic = Attic()
    for number in range(5):
        attic.run(f"u{number}.acme", days_old=300, intents="damaged")
    await attic.sweep()
    assert len(attic.runs()) == 5


async def test_a_journal_goes_with_the_last_run_of_its_upgrade() -> None:
    attic = Attic()
    attic.config_map("journal-shop", LABELLED, journal="{}")
    attic.run("shop.acme", days_old=100)
    for number in (1, 2):
        attic.run(f"u{number}.acme", days_old=1)
    assert await attic.sweep_twice() == Counter()
    attic.run("u3.acme", days_old=1)
    assert await attic.sweep_twice() == Counter({"ConfigMap marked": 1})
    assert "shop.acme" not in attic.runs()
    attic.clock.forward(DAY)
    assert await attic.sweep() == Counter({"ConfigMap deleted": 1})


async def test_a_version_record_outlives_its_namespace_by_the_same_days() -> None:
    attic = Attic()
    acme = attic.cluster.see(NAMESPACE, "", "acme")["metadata"]["uid"]
    lives, dead = attic.record(acme, "x"), attic.record("uid-of-another", "y")
    assert await attic.sweep_twice(29 * DAY) == Counter()
    attic.clock.forward(DAY)
    assert await attic.sweep() == Counter({"ConfigMap deleted": 1})
    assert attic.cluster.has(CONFIG_MAP, OWN, lives)
    assert not attic.cluster.has(CONFIG_MAP, OWN, dead)


@pytest.mark.parametrize(
    ("state", "written", "goes"),
    [(S.SUCCEEDED, True, True), (S.ROLLED_BACK, True, True), (S.HELD, False, True), (S.HELD, True, False), (S.SOAKING, True, False)],
)
async def test_a_lock_goes_when_its_run_has_nothing_more_to_write(state: TenantState, written: bool, goes: bool) -> None:
    """Such as one whose create arrived when the run was over, after the operator that had sent it died."""
    attic = Attic()
    await attic.lock("shop.acme", attic.run("shop.acme", state, attic.upgrade(), days_old=0, written=written))
    assert await attic.sweep() == (Counter({"Lease marked": 1}) if goes else Counter())
    attic.clock.forward(DAY - timedelta(seconds=1))
    assert (await attic.sweep(), attic.locks()) == (Counter(), 1)
    attic.clock.forward(timedelta(seconds=1))
    assert (await attic.sweep(), attic.locks()) == ((Counter({"Lease deleted": 1}), 0) if goes else (Counter(), 1))


@pytest.mark.parametrize(("tenant_is_there", "left"), [(True, 1), (False, 0)])
async def test_a_lock_whose_run_is_gone_stays_as_long_as_the_tenant(tenant_is_there: bool, left: int) -> None:
    """Its objects may carry the run's markers: whoever wants the tenant next looks for these, and breaks it or says so."""
    attic = Attic()
    await attic.lock("shop.acme", "uid-of-a-run-that-is-gone", "" if tenant_is_there else "uid-of-a-namespace-that-is-gone")
    await attic.sweep_twice()
    assert attic.locks() == left


async def test_a_holder_that_comes_back_keeps_its_lock_and_the_next_mark_counts_anew() -> None:
    attic = Attic()
    run_uid = attic.run("shop.acme", S.HELD, attic.upgrade(), days_old=0)
    lock = await attic.lock("shop.acme", run_uid)
    assert await attic.sweep() == Counter({"Lease marked": 1})
    attic.clock.forward(DAY)

    def comes_back(number: int, request: Request) -> None:
        attic.cluster.before = lambda number, request: None
        attic.cluster.edit(TENANT_RUN, OWN, "shop.acme", {"status": {"state": "Preflight"}})
        with pytest.raises(StopIteration, match="True"):  # it has ended: in memory nothing waits
            lock.is_ours().send(None)

    attic.cluster.before = comes_back
    assert (await attic.sweep(), attic.locks()) == (Counter(), 1)
    attic.cluster.edit(TENANT_RUN, OWN, "shop.acme", {"status": {"state": "Held"}})
    assert await attic.sweep() == Counter({"Lease marked": 1})
    assert (await attic.sweep(), attic.locks()) == (Counter(), 1)


async def test_a_lock_is_marked_as_it_was_read_and_before_its_holder_is_looked_at() -> None:
    """Else the announcement would stand on the lock of somebody who has come since."""
    attic = Attic()
    lock = await attic.lock("shop.acme", attic.run("shop.acme", upgrade_uid=attic.upgrade(), days_old=0))

    def comes_back(number: int, request: Request) -> None:
        attic.cluster.before = lambda number, request: None
        attic.cluster.edit(LEASE, OWN, lock.name, {"metadata": {"labels": {"by": "somebody"}}})

    attic.cluster.before = comes_back
    assert await attic.sweep() == Counter()
    assert MARK_ANNOTATION not in attic.cluster.see(LEASE, OWN, lock.name)["metadata"]["annotations"]
    lists = [one for one in attic.cluster.requests if one in ("list Lease", "list TenantRun")]
    assert lists == ["list Lease", "list TenantRun"]


async def test_a_mark_without_our_announcement_does_not_count() -> None:
    """The holder was back, with a build that knows of no sweep; and Leases that are no locks are nobody's business."""
    attic = Attic()
    lock = await attic.lock("shop.acme", attic.run("shop.acme", upgrade_uid=attic.upgrade(), days_old=0))
    attic.cluster.put(LEASE, {"metadata": {"name": "tenantwave", "namespace": OWN}, "spec": {"holderIdentity": "who leads"}})
    await attic.sweep()
    attic.cluster.edit(LEASE, OWN, lock.name, {"metadata": {"annotations": {BREAKER_ANNOTATION: None}}})
    attic.clock.forward(DAY)
    assert await attic.sweep() == Counter({"Lease marked": 1})
    attic.clock.forward(DAY)
    assert await attic.sweep() == Counter({"Lease deleted": 1})
    assert attic.cluster.has(LEASE, OWN, "tenantwave")


async def test_a_release_that_meets_a_mark_looks_again() -> None:
    """What the run remembered of its Lease is older than the mark."""
    attic = Attic()
    lock = await attic.lock("shop.acme", attic.run("shop.acme", upgrade_uid=attic.upgrade(), days_old=0))
    await attic.sweep()
    with pytest.raises(Conflict):
        await lock.release()
    await TenantLock(attic.cluster, OWN, "acme", lock.name.removeprefix("tenant-"), "shop.acme", lock._run_uid).release()
    assert attic.locks() == 0


async def test_what_is_not_ours_is_left_alone() -> None:
    """The catalogue, and Secrets and ConfigMaps of people in our namespace."""
    attic = Attic()
    attic.cluster.put(SECRET, {"metadata": {"name": "prometheus-auth", "namespace": OWN}, "data": {}})
    attic.config_map("shop-2-3-1", {PRODUCT_LABEL: "shop"}, key="x")
    attic.config_map("people", {}, key="x")
    assert await attic.sweep_twice(90 * DAY) == Counter()
    assert attic.cluster.writes == []


async def test_somebody_who_is_faster_wins() -> None:
    """The very write that we are about to make is not made over his."""
    attic = Attic()
    digest = await attic.blob("x")
    await attic.sweep()
    attic.clock.forward(DAY)

    def faster(number: int, request: Request) -> None:
        attic.cluster.before = lambda number, request: None
        attic.cluster.edit(SECRET, OWN, request.name, {"metadata": {"annotations": {MARK_ANNOTATION: None}}})

    attic.cluster.before = faster
    assert await attic.sweep() == Counter()
    assert attic.holds(digest)


async def test_a_sweep_stops_at_its_bound_and_the_next_goes_on(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "WRITES_PER_SWEEP", 2)
    attic = Attic()
    for number in range(5):
        await attic.blob(str(number))
    assert [(await attic.sweep()).total() for _ in range(4)] == [2, 2, 1, 0]


async def test_what_is_stored_is_counted_and_shown() -> None:
    attic = Attic()
    needed = await attic.blob("needed")
    await attic.blob("not needed")
    attic.run("shop.acme", snapshots=[{"digest": needed}])
    await attic.sweep_twice()
    shown = attic.telemetry.render()[0].decode()
    assert 'tenantwave_snapshots{state="Needed"} 1.0' in shown
    assert 'tenantwave_snapshots{state="Unneeded"} 1.0' in shown
    assert 'tenantwave_retention_deletions_total{kind="Secret"} 1.0' in shown


async def test_the_figures_of_snapshots_do_not_wait_for_the_writes(monkeypatch: pytest.MonkeyPatch) -> None:
    """Writes are paced, and may take minutes or break off; the alert on too many snapshots reads what was counted before."""
    attic = Attic()
    await attic.blob("not needed")

    async def breaks_off(*_: object, **__: object) -> None:
        raise Unavailable("the API server is gone")

    monkeypatch.setattr(attic.cluster, "merge_patch", breaks_off)
    with pytest.raises(Unavailable):
        await attic.sweep()
    assert 'tenantwave_snapshots{state="Unneeded"} 1.0' in attic.telemetry.render()[0].decode()


async def test_a_preflight_that_would_exceed_the_room_is_refused_with_the_mend() -> None:
    """And goes on by itself when there is room."""
    story = await Story().begin()
    limited = SecretSnapshots(story.cluster, OWN, limit_bytes=10_000)
    limited.counted(9_900)
    story.steps = TenantSteps(story.cluster, limited, {"workload": WorkloadDriver()}, story.clock, OWN)
    await story.run(S.HELD)
    assert story.status.reason == "PreflightFailed"
    assert "retention.maxSnapshotMiB" in story.status.message
    assert story.status.intents == ()
    limited.counted(0)
    await story.step(Deed.PREVIEW)
    assert story.status.state is S.QUEUED


async def test_a_clock_that_jumps_makes_no_mark_old() -> None:
    """The process that saved a blob an hour ago believes that it is there still, and a day that did not pass proves nothing else."""
    attic = Attic()
    retention = Retention(
        attic.cluster, attic.cluster, OWN, attic.clock, attic.telemetry, attic.snapshots.counted, Rules(pause=timedelta(0))
    )
    digest = await attic.blob("deployment of acme as it was")
    await retention.sweep()
    attic.clock.forward(timedelta(hours=1))
    attic.clock.jump(DAY)
    await retention.sweep()
    assert attic.holds(digest)
    attic.clock.forward(DAY / 4)
    await retention.sweep()
    assert not attic.holds(digest)
