"""The whole product on a real control plane: one chart for the session, one operator for each story."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path

import pytest
from localcluster.access import Cluster
from localcluster.binaries import resolve
from localcluster.client import KubeClient
from localcluster.monitoring import Monitoring

from support.chart import all_served, apply_chart
from support.clusters import OPERATOR_NAMESPACE
from support.days import DECISION, Days
from support.gated import Gated
from support.story import ACTION, POLICY, PROFILE, RUN, UPGRADE, Story


@pytest.fixture
async def story(kube: KubeClient, cluster: Cluster, unique: Callable[[str], str], tmp_path: Path) -> AsyncIterator[Story]:
    """A story with the chart installed: rights, ServiceAccount and admission policies are those of a user's cluster."""
    await apply_chart(kube, resolve("helm"), OPERATOR_NAMESPACE)
    await all_served(kube, (UPGRADE, POLICY, ACTION, DECISION, PROFILE, RUN))
    told = Story(kube, cluster, unique, tmp_path)
    await told.recorder.start()
    yield told
    await told.clean_up()
    assert told.recorder.faults == []


@pytest.fixture
def gated(story: Story, monitoring: Monitoring) -> Iterator[Gated]:
    """A story whose tenants have traffic that the test chooses."""
    told = Gated(story, monitoring)
    yield told
    told.clean_up()


@pytest.fixture
def days(story: Story, tmp_path: Path) -> Days:
    """A story in which days pass in seconds."""
    return Days(story, tmp_path)
