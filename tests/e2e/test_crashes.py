"""S8: whenever the operator dies, whatever becomes of its writes, the next one brings every tenant to the same end, and no edit is lost."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from localcluster.client import KubeClient
from localcluster.cluster import LocalCluster

from support.chart import operator_kubeconfig
from support.clusters import OPERATOR_NAMESPACE
from support.crash import COUNT_FILE_VARIABLE, STORM_VARIABLE, VARIABLE
from support.crashing import Trials, chosen_seed
from support.nursery import nursery
from support.story import Story

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
            await trials.ends(trial, "Succeeded", trial.upgraded())
        else:
            await trials.ends(trial, "Aborted", trial.taken_back())
    await trials.assert_written_once(mark, [trial.tenant for trial in under_test])


OBJECTS = {"config": "PATCH /api/v1/namespaces/{tenant}/configmaps", "version": "PATCH /apis/apps/v1/namespaces/{tenant}/deployments"}


@pytest.mark.parametrize("moment", ["at once", "after the end"])
@pytest.mark.parametrize("target", OBJECTS)
@pytest.mark.parametrize("way", ["upgrade", "rollback", "upgrade that is aborted"])
async def test_a_write_that_arrives_after_its_sender_died(
    trials: Trials, as_operator: KubeClient, tmp_path: Path, way: str, target: str, moment: str
) -> None:
    """It is found, or comes too late and is refused; never a second write, never undone what came after. (In between: test_every_write.)"""
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
    await trials.nursery.operator()
    await trials.ends(trial, reason, expected)
    if moment == "after the end":
        assert await trials.deliver(held, as_operator) == 409
        await trials.is_well({trial.tenant: expected})
    if way != "upgrade that is aborted":
        await trials.assert_written_once(mark, [trial.tenant])
