"""The whole product on a real control plane: one chart for the session, one operator for each story."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest
from localcluster.access import Cluster
from localcluster.binaries import resolve
from localcluster.client import KubeClient

from support.chart import apply_chart
from support.clusters import OPERATOR_NAMESPACE
from support.story import Story


@pytest.fixture
async def story(
    kube: KubeClient, cluster: Cluster, unique: Callable[[str], str], tmp_path: Path, request: pytest.FixtureRequest
) -> AsyncIterator[Story]:
    """A story with the chart installed: rights, ServiceAccount and admission policies are those of a user's cluster."""
    await apply_chart(kube, resolve("helm"), OPERATOR_NAMESPACE)
    told = Story(kube, cluster, unique, tmp_path)
    await told.recorder.start()
    yield told
    await told.clean_up()
    assert told.recorder.faults == []
