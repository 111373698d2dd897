"""Where everything is put together: settings in, a process out. The only place that knows adapters and engine at once."""

from __future__ import annotations

import logging
import os
import uuid
from collections.abc import Callable
from contextlib import AsyncExitStack
from importlib.metadata import PackageNotFoundError, version

from tenantwave.adapters.kube.access import Access
from tenantwave.adapters.kube.client import KubeClient
from tenantwave.adapters.kube.elector import Alone, Elector, Terms
from tenantwave.adapters.kube.events import EventRecorder
from tenantwave.adapters.kube.transport import HttpTransport, Transport
from tenantwave.shell.assembly import Parts, assemble
from tenantwave.shell.clock import SystemClock
from tenantwave.shell.metrics import PrometheusTelemetry
from tenantwave.shell.process import Engine, Process
from tenantwave.shell.settings import Settings
from tenantwave.shell.sight import Sight

log = logging.getLogger(__name__)

LEASE_NAME = "tenantwave"
LARGEST_WATCH_COUNT = 32


Assemble = Callable[[Parts], Engine]

__all__ = ["Parts", "assemble", "build"]


async def build(
    settings: Settings, assemble: Assemble, stack: AsyncExitStack, *, wrap: Callable[[Transport], Transport] = lambda transport: transport
) -> Process:
    """Put a process together. Connections close with `stack`. `wrap` lets a test stand between us and the API server's calls.

    Raises AccessError if no API server is named.
    """
    telemetry = PrometheusTelemetry(_version(), os.environ.get("TENANTWAVE_REVISION", ""))
    clock = SystemClock()
    sight = Sight(telemetry, clock.now)
    identity = f"{os.environ.get('HOSTNAME', 'operator')}_{uuid.uuid4().hex[:8]}"
    access = await Access.load(settings.kubeconfig)
    calls = await stack.enter_async_context(HttpTransport(access, limit=settings.tuning.writes_in_flight + LARGEST_WATCH_COUNT))
    watches = await stack.enter_async_context(HttpTransport(access, limit=LARGEST_WATCH_COUNT))
    lease = await stack.enter_async_context(HttpTransport(access, limit=2))
    elector = _elector(settings, lease, identity)
    cluster = KubeClient(
        wrap(calls),
        watches,
        leading=lambda: elector.leading,
        telemetry=sight,
        writes_per_second=settings.tuning.writes_per_second,
        writes_in_flight=settings.tuning.writes_in_flight,
    )
    recorder = EventRecorder(cluster, clock, identity, telemetry=telemetry)
    engine = assemble(Parts(settings, cluster, recorder, telemetry, clock, sight))
    for reflector in engine.reflectors:
        cluster.on_written(reflector.wrote)
    return Process(settings, access, elector, cluster, engine, telemetry)


def _elector(settings: Settings, transport: Transport, identity: str) -> Elector | Alone:
    if not settings.leader_election:
        return Alone()
    tuning = settings.tuning
    terms = Terms(tuning.lease_duration.total_seconds(), tuning.lease_deadline.total_seconds(), tuning.lease_retry.total_seconds())
    return Elector(transport, settings.namespace, LEASE_NAME, identity, terms=terms)


def _version() -> str:
    try:
        return version("tenantwave")
    except PackageNotFoundError:  # run from a checkout
        return "unknown"
