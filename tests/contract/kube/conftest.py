"""The same tests on the fake API server and on a real one."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest

from support.fake_kube import FakeKube
from support.kube_places import Place, a_client
from tenantwave.api.kinds import NAMESPACE


@pytest.fixture
async def fake() -> AsyncIterator[FakeKube]:
    """The fake API server, with all its knobs."""
    async with FakeKube() as server:
        yield server


@pytest.fixture
async def fake_place(fake: FakeKube, tmp_path: Path) -> AsyncIterator[Place]:
    """A place on the fake server."""
    kubeconfig = fake.kubeconfig(tmp_path)
    async with a_client(kubeconfig) as client:
        yield Place(client, kubeconfig, "acme")


@pytest.fixture
async def real_place(request: pytest.FixtureRequest, unique: Callable[[str], str]) -> AsyncIterator[Place]:
    """A place on the real server."""
    cluster = request.getfixturevalue("cluster")
    async with a_client(cluster.kubeconfig) as client:
        namespace = unique("contract")
        await client.create(NAMESPACE, {"metadata": {"name": namespace}})
        yield Place(client, cluster.kubeconfig, namespace)


@pytest.fixture(params=["fake", "real"])
def place(request: pytest.FixtureRequest) -> Place:
    """Each server in turn."""
    found: Place = request.getfixturevalue(f"{request.param}_place")
    return found
