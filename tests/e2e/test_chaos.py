"""S8: whenever the operator dies, whatever becomes of its requests, whoever else is at work, no edit of a tenant is lost."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from localcluster.cluster import LocalCluster

from support.between import Between
from support.chaos import losses, play
from support.chart import operator_kubeconfig
from support.clusters import OPERATOR_NAMESPACE
from support.crashing import chosen_seed
from support.fleet import Fleet
from support.nursery import Nursery, nursery
from support.story import Story

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]

KILL_COUNT = 60


@pytest.fixture
async def between(local_cluster: LocalCluster, story: Story, tmp_path: Path) -> AsyncIterator[Between]:
    """A proxy for operators that have the chart's rights."""
    async with Between(operator_kubeconfig(local_cluster, OPERATOR_NAMESPACE), tmp_path) as found:
        yield found


@pytest.fixture
async def operators(between: Between, tmp_path: Path) -> AsyncIterator[Nursery]:
    """Operators that start in milliseconds, and come through the proxy."""
    async with nursery(between.kubeconfig, tmp_path) as found:
        yield found


async def test_chaos(story: Story, operators: Nursery, between: Between, local_cluster: LocalCluster) -> None:
    """Kills, pauses, lost and late requests, refusals and broken watches, while upgrades come and go and tenants edit all the time."""
    outcome = await play(story, operators, between, local_cluster, kill_count=KILL_COUNT, seed=chosen_seed())
    print(outcome.line(), outcome.happened, *outcome.losses, sep="\n")
    assert outcome.losses == []
    assert await story.leftovers() == []
    assert outcome.kill_count >= KILL_COUNT
    assert outcome.edit_count > KILL_COUNT


async def test_two_operators_that_both_lead(story: Story, operators: Nursery, between: Between, local_cluster: LocalCluster) -> None:
    """Without an election two operators work on the same fleet at once: no edit is lost, and nothing lands twice."""
    fleet = Fleet(story, chosen_seed())
    await fleet.prepare(canaries=1, others=4)
    mark = local_cluster.audit_mark()
    both = [await operators.operator(), await operators.operator()]
    async with fleet.editing():
        for number in (2, 3):
            await fleet.round(number)
    assert await losses(story, local_cluster, fleet, mark, both) == []
    assert await story.leftovers() == []
    assert [operator.is_running for operator in both] == [True, True]
