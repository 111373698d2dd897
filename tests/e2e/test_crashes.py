"""S8: whenever the operator dies, whatever becomes of its writes, the next one brings every tenant to the same end, and no edit is lost."""

from __future__ import annotations

import asyncio
import random
from collections import Counter
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from localcluster.client import KubeClient
from localcluster.cluster import LocalCluster

from support.chart import operator_kubeconfig
from support.checker import faults, look
from support.clusters import OPERATOR_NAMESPACE
from support.crash import COUNT_FILE_VARIABLE, STORM_VARIABLE, VARIABLE
from support.crashing import SAMPLE_COUNT, Trials, chosen_seed, crash_points
from support.fleet import Fleet, Killer, tracebacks
from support.nursery import nursery
from support.story import UPGRADE, Object, Story

pytestmark = [pytest.mark.slow, pytest.mark.timeout(1800)]


@pytest.fixture
async def trials(story: Story, local_cluster: LocalCluster, tmp_path: Path) -> AsyncIterator[Trials]:
    """Trials with a nursery of operators that have the chart's rights."""
    async with nursery(operator_kubeconfig(local_cluster, OPERATOR_NAMESPACE), tmp_path) as operators:
        yield Trials(story, operators, local_cluster)


@pytest.fixture
async def as_operator(local_cluster: LocalCluster) -> AsyncIterator[KubeClient]:
    """A client that logs in as the operator, to send what one of its processes has left behind."""
    async with KubeClient.from_kubeconfig(operator_kubeconfig(local_cluster, OPERATOR_NAMESPACE), field_manager="tenantwave") as client:
        yield client


async def test_dying_at_any_write_of_an_upgrade(trials: Trials, tmp_path: Path) -> None:
    """Before and after each write of one tenant's upgrade: same end, each object written once."""
    await trials.prepare(soak="0s")
    [first] = await trials.tenants(1)
    trial = await trials.begin(first)
    points = crash_points(await trials.count_writes(tmp_path, trial, "Succeeded", trial.upgraded()))
    for point, tenant in zip(points, await trials.tenants(len(points)), strict=True):
        trial = await trials.begin(tenant)
        mark = trials.cluster.audit_mark()
        print(point, tenant, "died" if await trials.die(point, trial, "Succeeded") else "came to the end")
        await trials.resume(trial, "Succeeded", trial.upgraded())
        await trials.assert_written_once(mark, [tenant])


async def test_dying_at_any_write_of_a_rollback(trials: Trials, tmp_path: Path) -> None:
    """Before and after each write of a tenant's way back, after it has edited its ConfigMap in the soak: same end, its edits are there."""
    await trials.prepare(soak="1h")
    first, *others = await trials.soaking(1 + SAMPLE_COUNT)
    await trials.story.act(first.upgrade, "Abort", reason="the trial's way back")
    points = crash_points(await trials.count_writes(tmp_path, first, "Aborted", first.taken_back()))
    if len(points) > len(others):
        others += await trials.soaking(len(points) - len(others))
    for point, trial in zip(points, others, strict=False):
        await trials.story.act(trial.upgrade, "Abort", reason="the trial's way back")
        mark = trials.cluster.audit_mark()
        print(point, trial.tenant, "died" if await trials.die(point, trial, "Aborted") else "came to the end")
        await trials.resume(trial, "Aborted", trial.taken_back())
        await trials.assert_written_once(mark, [trial.tenant])


async def test_dying_at_any_write_of_an_upgrade_that_is_then_aborted(trials: Trials, tmp_path: Path) -> None:
    """What the dead one has written, and nobody has recorded yet, is found and taken back."""
    await trials.prepare(soak="1h")
    [first] = await trials.tenants(1)
    trial = await trials.begin(first)
    write_count = await trials.count_writes(tmp_path, trial, "Soaking")
    points = crash_points(write_count, sample_count=12)
    edits = {"own": "changed", "late": "edit"}
    for point, tenant in zip(points, await trials.tenants(len(points)), strict=True):
        trial = await trials.begin(tenant)
        mark = trials.cluster.audit_mark()
        print(point, tenant, "died" if await trials.die(point, trial, "Soaking") else "came to the end")
        for key, value in edits.items():
            await trials.story.edit(tenant, key, value)
        successor = await trials.nursery.operator()
        await trials.kube.wait_until(UPGRADE, trial.upgrade, None, has_run, saying="has a run")
        await trials.story.act(trial.upgrade, "Abort", reason="the trial's way back")
        await trials.ends(trial, "Aborted", trial.aborted(edits))
        await trials.assert_journal_knows(trials.landed(mark, [tenant]))
        await successor.kill()


def has_run(upgrade: Object) -> bool:
    """Tell whether an upgrade shows its run."""
    return bool(upgrade.get("status", {}).get("run", {}).get("id"))


FAULTS = ("lost", "dropped", "409", "429", "500", "502", "503")


@pytest.mark.parametrize("way", ["upgrade", "rollback"])
async def test_lost_answers_and_refusals_at_chosen_writes(trials: Trials, tmp_path: Path, way: str) -> None:
    """One fault per tenant: at its ConfigMap, its Deployment, or a write of its TenantRun; all tenants come to the same end."""
    rng = random.Random(chosen_seed())
    await trials.prepare(soak="0s" if way == "upgrade" else "1h")
    runs = rng.sample([(fault, turn) for fault in FAULTS for turn in range(1, 8 if way == "upgrade" else 6)], 12)
    count = 2 * len(FAULTS) + len(runs)
    if way == "upgrade":
        tenants = await trials.tenants(count)
        under_test = [await trials.begin(tenant) for tenant in tenants]
    else:
        under_test = await trials.soaking(count)
        tenants = [trial.tenant for trial in under_test]
        for trial in under_test:
            await trials.story.act(trial.upgrade, "Abort", reason="the trial's way back")
    points = [
        *(f"{fault}:PATCH /api/v1/namespaces/{tenant}/configmaps" for fault, tenant in zip(FAULTS, tenants, strict=False)),
        *(f"{fault}:PATCH /apis/apps/v1/namespaces/{tenant}/dep" for fault, tenant in zip(FAULTS, tenants[len(FAULTS) :], strict=False)),
        *(
            f"{fault}:tenantruns/{trial.upgrade}.{trial.tenant}/status#{turn}"
            for (fault, turn), trial in zip(runs, under_test[2 * len(FAULTS) :], strict=True)
        ),
    ]
    print(*points, sep="\n")
    mark = trials.cluster.audit_mark()
    await trials.nursery.operator(**{VARIABLE: ",".join(points), COUNT_FILE_VARIABLE: str(tmp_path / "writes")})
    for trial in under_test:
        if way == "upgrade":
            await trials.ends(trial, "Succeeded", trial.upgraded())
        else:
            await trials.ends(trial, "Aborted", trial.taken_back())
    await trials.assert_written_once(mark, tenants)
    happened = Counter(line.split()[3] for line in (tmp_path / "writes").read_text().splitlines() if len(line.split()) > 3)
    assert happened == Counter(point.partition(":")[0] for point in points), "each fault happened"


@pytest.mark.parametrize("way", ["upgrade", "rollback"])
async def test_a_storm_of_faults(trials: Trials, way: str) -> None:
    """A third of all writes are lost, dropped or refused: it takes longer, and the end is the same."""
    seed = chosen_seed()
    await trials.prepare(soak="0s" if way == "upgrade" else "1h")
    count = 6
    mark = trials.cluster.audit_mark()
    if way == "upgrade":
        under_test = [await trials.begin(tenant) for tenant in await trials.tenants(count)]
    else:
        under_test = await trials.soaking(count)
        mark = trials.cluster.audit_mark()
        for trial in under_test:
            await trials.story.act(trial.upgrade, "Abort", reason="the trial's way back")
    await trials.nursery.operator(**{STORM_VARIABLE: f"{seed}:33"})
    for trial in under_test:
        if way == "upgrade":
            await trials.ends(trial, "Succeeded", trial.upgraded(), timeout=150)
        else:
            await trials.ends(trial, "Aborted", trial.taken_back(), timeout=150)
    await trials.assert_written_once(mark, [trial.tenant for trial in under_test])


OBJECTS = {"config": "PATCH /api/v1/namespaces/{tenant}/configmaps", "version": "PATCH /apis/apps/v1/namespaces/{tenant}/deployments"}


@pytest.mark.parametrize("moment", ["at once", "in between", "after the end"])
@pytest.mark.parametrize("target", OBJECTS)
@pytest.mark.parametrize("way", ["upgrade", "rollback", "upgrade that is aborted"])
async def test_a_write_that_arrives_after_its_sender_died(
    trials: Trials, as_operator: KubeClient, tmp_path: Path, way: str, target: str, moment: str
) -> None:
    """It lands and is found, or comes too late and is refused; it is never a second write, and never undoes what came after it."""
    await trials.prepare(soak="1h" if way == "rollback" else "0s")
    if way == "rollback":
        [trial] = await trials.soaking(1)
        await trials.story.act(trial.upgrade, "Abort", reason="the trial's way back")
    else:
        trial = await trials.begin((await trials.tenants(1))[0])
    reason, expected = ("Succeeded", trial.upgraded()) if way == "upgrade" else ("Aborted", trial.taken_back())
    held = tmp_path / "held"
    mark = trials.cluster.audit_mark()
    assert await trials.die("held:" + OBJECTS[target].format(tenant=trial.tenant), trial, reason, held)
    if way == "upgrade that is aborted":
        await trials.story.act(trial.upgrade, "Abort", reason="the trial's way back")
        expected = trial.aborted()
    if moment == "at once":
        assert await trials.deliver(held, as_operator) == 200
    successor = await trials.nursery.operator()
    if moment == "in between":
        await successor.says("all caches are warm")
        await asyncio.sleep(random.Random(chosen_seed()).uniform(0, 0.5))
        assert await trials.deliver(held, as_operator) in (200, 409)
    await trials.ends(trial, reason, expected)
    if moment == "after the end":
        assert await trials.deliver(held, as_operator) == 409
        await trials.is_well({trial.tenant: expected})
    if way != "upgrade that is aborted":
        await trials.assert_written_once(mark, [trial.tenant])


KILL_COUNT = 32


async def test_killed_at_random_moments(trials: Trials) -> None:
    """Dozens of SIGKILLs while a fleet is upgraded and taken back, and its tenants go on editing: an independent checker finds nothing amiss."""
    seed = chosen_seed()
    fleet = Fleet(trials, seed)
    await fleet.prepare(canaries=2, others=6)
    killer = Killer(trials, seed)
    mark = trials.cluster.audit_mark()
    async with fleet.editing():
        killing = asyncio.create_task(killer.run(KILL_COUNT, longest_life_seconds=1.6))
        number = 2
        while killer.kill_count < KILL_COUNT or number % 2 == 1:
            await fleet.round(number)
            print(f"round {number} is over after {killer.kill_count} kills")
            number += 1
        await killing
    await trials.is_well(fleet.expected(), timeout=30)
    assert await trials.story.leftovers() == []
    assert tracebacks(trials.nursery.operators) == []
    await assert_no_write_was_repeated(trials, mark, fleet)


async def test_two_operators_that_both_lead(trials: Trials) -> None:
    """Without an election two operators work on the same fleet at once: no edit is lost, and nothing lands twice."""
    fleet = Fleet(trials, chosen_seed())
    await fleet.prepare(canaries=1, others=4)
    mark = trials.cluster.audit_mark()
    both = [await trials.nursery.operator(), await trials.nursery.operator()]
    async with fleet.editing():
        for number in (2, 3, 4):
            await fleet.round(number)
    await trials.is_well(fleet.expected(), timeout=30)
    assert await trials.story.leftovers() == []
    assert [operator.is_running for operator in both] == [True, True]
    assert tracebacks(both) == []
    await assert_no_write_was_repeated(trials, mark, fleet)


async def assert_no_write_was_repeated(trials: Trials, mark: int, fleet: Fleet) -> None:
    """Require, of each object, one landed write per upgrade, and one more per way back; the journals know of them all."""
    landed = trials.landed(mark, fleet.names)
    await trials.assert_journal_knows(landed)
    counts = Counter(place for place, _ in landed)
    for member in fleet.members:
        ends = list(member.states.values())
        least, most = ends.count("Succeeded"), len(ends) + sum(state != "Succeeded" for state in ends)
        for place in ("configmaps/app-config", "deployments/api"):
            assert least <= counts[f"{member.name}/{place}"] <= most, f"{member.name}/{place}: {ends}"


async def test_checker_finds_what_is_planted(trials: Trials, kube: KubeClient) -> None:
    """Each kind of loss is put there once, on purpose, and is found; taken away again, nothing is found."""
    await trials.prepare(soak="0s")
    trial = await trials.begin((await trials.tenants(1))[0])
    operator = await trials.nursery.operator()
    await trials.ends(trial, "Succeeded", trial.upgraded())
    await operator.kill()
    uid = (await kube.get("Namespace", trial.tenant))["metadata"]["uid"]
    run = await kube.get("TenantRun", f"{trial.upgrade}.{trial.tenant}", OPERATOR_NAMESPACE)
    saved = f"snapshot-{run['status']['snapshots'][0]['digest'].removeprefix('sha256:')}-0"

    async def found() -> list[str]:
        return faults(await look(kube, OPERATOR_NAMESPACE, [trial.tenant]), {trial.tenant: trial.upgraded()})

    async def finds(words: str) -> None:
        assert [fault for fault in await found() if words in fault], f"{words!r} is not in {await found()}"

    async def config(change: Object) -> None:
        await kube.patch("ConfigMap", "app-config", trial.tenant, change)

    async def journal(change: Object) -> None:
        await kube.patch("TenantRun", run["metadata"]["name"], OPERATOR_NAMESPACE, {"status": change}, subresource="status")

    assert await found() == []
    await config({"data": {"own": None, "pool": "10"}})
    await finds("app-config/own is None")
    await finds("app-config/pool is '10'")
    await config({"data": trial.upgraded().data})
    await config({"metadata": {"annotations": {"tenantwave.io/intent": "somebody/1"}}})
    await finds("the marker somebody/1 is left on its ConfigMap")
    await config({"metadata": {"annotations": {"tenantwave.io/intent": None}}})
    lock = {"apiVersion": "coordination.k8s.io/v1", "kind": "Lease", "metadata": {"name": f"tenant-{uid}", "namespace": OPERATOR_NAMESPACE}}
    await kube.create(lock | {"spec": {"holderIdentity": "somebody"}})
    await finds("the lock is left, held by somebody")
    await kube.delete("Lease", f"tenant-{uid}", OPERATOR_NAMESPACE)
    assert await found() == []
    intents = run["status"]["intents"]
    await journal({"intents": [intents[0] | {"state": "Issued"}, *intents[1:]]})
    await finds("nobody knows what became of intent 1")
    await journal({"intents": intents, "state": "Soaking"})
    await finds(f"is Soaking in {trial.upgrade}, not Succeeded")
    await journal({"state": "RolledBack"})
    await finds("intent 2 is not taken back")
    await journal({"state": "Succeeded"})
    assert await found() == []
    [record] = [one for one in await kube.list("ConfigMap", OPERATOR_NAMESPACE) if one["metadata"]["name"].endswith(uid)]
    other = record["data"]["record"].replace("2.4.0", "2.3.1")
    await kube.patch("ConfigMap", record["metadata"]["name"], OPERATOR_NAMESPACE, {"data": {"record": other}})
    await finds("is recorded to run 2.3.1, not 2.4.0")
    await kube.delete("Secret", saved, OPERATOR_NAMESPACE)
    await finds("is lost or damaged")
    containers = [{"name": "api", "image": "registry.example.com/shop/api:2.3.1"}]
    await kube.patch("Deployment", "api", trial.tenant, {"spec": {"template": {"spec": {"containers": containers}}}})
    await finds("runs registry.example.com/shop/api:2.3.1, not registry.example.com/shop/api:2.4.0")
