"""A client of ours, on whatever API server."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

from tenantwave.adapters.kube.access import Access
from tenantwave.adapters.kube.client import KubeClient
from tenantwave.adapters.kube.transport import HttpTransport
from tenantwave.telemetry import Silent


@asynccontextmanager
async def a_client(kubeconfig: Path, leading: Callable[[], bool] = lambda: True) -> AsyncIterator[KubeClient]:
    """Give a client with connections of its own."""
    access = await Access.load(str(kubeconfig))
    async with HttpTransport(access, limit=40) as calls, HttpTransport(access, limit=10) as watches:
        yield KubeClient(calls, watches, leading=leading, telemetry=Silent(), writes_per_second=1000)


@dataclass(frozen=True)
class Place:
    """A server, ours to use, and a namespace on it that is ours alone."""

    client: KubeClient
    kubeconfig: Path
    namespace: str
