"""What runs while we lead: caches, queues and the bodies that work them off, put together from what the outside offers."""

from __future__ import annotations

import asyncio
import base64
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from time import perf_counter
from typing import Any

from tenantwave.adapters.drivers.workload import WorkloadDriver
from tenantwave.adapters.kube.client import KubeClient
from tenantwave.adapters.kube.events import EventRecorder, News
from tenantwave.adapters.kube.events import Regarding as RegardingNews
from tenantwave.adapters.kube.reflector import Reflector
from tenantwave.adapters.prometheus import PrometheusMetrics
from tenantwave.adapters.snapshots import SecretSnapshots
from tenantwave.api.kinds import (
    CONFIG_MAP,
    JOB,
    NAMESPACE,
    ROLLOUT_POLICY,
    SECRET,
    TENANT_DECISION,
    TENANT_PROFILE,
    TENANT_RUN,
    TENANT_UPGRADE,
    UPGRADE_ACTION,
    UPGRADE_LABEL,
    Kind,
)
from tenantwave.core.gates import QueryFailure, Rows, Source
from tenantwave.core.hooks import view_of
from tenantwave.core.retention import Keeping
from tenantwave.engine import tenant_views, views
from tenantwave.engine.decisions import Answers, Decisions
from tenantwave.engine.figures import fleet_figures
from tenantwave.engine.forecasts import Forecasts
from tenantwave.engine.journals import Journals
from tenantwave.engine.news import ChangeNews, Reporter
from tenantwave.engine.prober import Prober
from tenantwave.engine.profiles import Policies, Profiles
from tenantwave.engine.queue import WorkQueue
from tenantwave.engine.reconcile import Reconciler
from tenantwave.engine.retention import Retention, Rules
from tenantwave.engine.store import WORKLOADS, Store, Wake
from tenantwave.engine.tenant import TenantSteps
from tenantwave.faults import NotFound
from tenantwave.ports import Clock, Regarding
from tenantwave.shell.kopf_app import Doorbell
from tenantwave.shell.metrics import PrometheusTelemetry
from tenantwave.shell.process import Engine
from tenantwave.shell.settings import Settings
from tenantwave.shell.sight import Sight

LARGEST_SKEW_SECONDS = 60.0
"""Over this much between our clock and the API server's nobody starts: windows would open at the wrong time."""

COALESCE = timedelta(milliseconds=50)
"""Events of many tenants that come together give one decision."""
FLEET_EVERY = timedelta(seconds=5)
"""How old the numbers of the fleet may be. Counting 10,000 tenants takes some milliseconds."""
PROFILE_COALESCE = timedelta(seconds=1)
"""A TenantProfile shows where a tenant stands, not every step on the way."""


@dataclass(frozen=True, slots=True)
class Parts:
    """What the outside offers to the engine."""

    settings: Settings
    cluster: KubeClient
    recorder: EventRecorder
    telemetry: PrometheusTelemetry
    clock: Clock
    sight: Sight


class Bulletin:
    """The engine's Notifier, over the event recorder."""

    def __init__(self, recorder: EventRecorder) -> None:
        self._recorder = recorder

    def tell(self, regarding: Regarding, reason: str, note: str, *, warning: bool = False, key: str = "") -> None:
        """Record an Event; it is sent when there is room."""
        about = RegardingNews(regarding.kind, regarding.namespace, regarding.name, regarding.uid)
        self._recorder.record(News(about, reason, note, action=reason, warning=warning, key=key))


class CountedMetrics:
    """A Metrics port that counts and times what is asked of it."""

    def __init__(self, inner: PrometheusMetrics, telemetry: PrometheusTelemetry) -> None:
        self._inner = inner
        self._telemetry = telemetry

    async def query(self, source: Source, promql: str, time: datetime, timeout: timedelta) -> Rows | QueryFailure:
        """Ask, and count the outcome: `ok`, or the kind of failure."""
        begun = perf_counter()
        answer = await self._inner.query(source, promql, time, timeout)
        result = answer.kind.value if isinstance(answer, QueryFailure) else "ok"
        self._telemetry.prometheus_query(result, perf_counter() - begun)
        return answer


def assemble(parts: Parts) -> Engine:
    """Put the engine together."""
    telemetry, namespace, workers = parts.telemetry, parts.settings.namespace, parts.settings.tuning.worker_count
    driver = WorkloadDriver()
    store = Store(namespace, driver, clock_is_right=lambda: abs(telemetry.skew_seconds) <= LARGEST_SKEW_SECONDS)
    store.sight = lambda: (parts.sight.since, parts.sight.shaken_until)
    upgrades: WorkQueue[str] = WorkQueue("upgrade", telemetry=telemetry)
    profiles: WorkQueue[str] = WorkQueue("profile", telemetry=telemetry)
    policies: WorkQueue[str] = WorkQueue("policy", telemetry=telemetry)
    decisions: WorkQueue[tuple[str, str]] = WorkQueue("decision", telemetry=telemetry)
    for name, queue in (("upgrade", upgrades), ("profile", profiles), ("policy", policies), ("decision", decisions)):
        _export(queue, name, telemetry)
    store.wake = Wake(
        upgrade=lambda name: upgrades.add_after(name, COALESCE),
        policy=policies.add,
        profile=lambda tenant: profiles.add_after(tenant, PROFILE_COALESCE),
        decision=decisions.add,
    )
    tuning = parts.settings.tuning
    snapshots = SecretSnapshots(parts.cluster, namespace, grace=tuning.snapshot_grace, limit_bytes=tuning.snapshot_limit_bytes)
    kept = Rules(Keeping(tuning.retention_count, tuning.retention_age), tuning.sweep_every, tuning.snapshot_grace)
    telemetry.read("snapshot_limit_bytes", "How many bytes snapshots may take.", (), lambda: {(): float(tuning.snapshot_limit_bytes)})
    retention = Retention(parts.cluster, parts.cluster, namespace, parts.clock, telemetry, snapshots.counted, kept)
    metrics = PrometheusMetrics(_secret_reader(parts.cluster, namespace))
    per_minute = parts.settings.tuning.queries_per_minute
    prober = Prober(CountedMetrics(metrics, telemetry), parts.clock, upgrades.add, queries_per_minute=per_minute)
    reconciler = Reconciler(
        store=store,
        cluster=parts.cluster,
        journals=Journals(parts.cluster, snapshots, store),
        steps=TenantSteps(parts.cluster, snapshots, {"workload": driver}, parts.clock, namespace),
        prober=prober,
        forecasts=Forecasts(store, parts.clock, upgrades),
        reporter=Reporter(Bulletin(parts.recorder), telemetry),
        telemetry=telemetry,
        clock=parts.clock,
        queue=upgrades,
    )
    tenant_profiles = Profiles(store, parts.cluster, telemetry, parts.clock, profiles, ChangeNews(Bulletin(parts.recorder)))
    rollout_policies = Policies(store, parts.cluster, telemetry, parts.clock)
    tenant_decisions = Decisions(store, Answers(parts.cluster, telemetry, parts.clock), parts.clock, decisions)

    async def run() -> None:
        async with asyncio.TaskGroup() as queues:
            queues.create_task(upgrades.run(reconciler.reconcile, worker_count=workers))
            queues.create_task(profiles.run(tenant_profiles.reconcile, worker_count=4))
            queues.create_task(policies.run(rollout_policies.reconcile, worker_count=1))
            queues.create_task(decisions.run(tenant_decisions.reconcile, worker_count=2))
        await prober.close()
        await metrics.close()

    def close() -> None:
        for queue in (upgrades, profiles, policies, decisions):
            queue.close()

    def resync() -> None:
        store.relisted()
        for tenant in store.namespaces:
            profiles.add(tenant)
        for policy in store.policies:
            policies.add(policy)
        for decision in store.decisions:
            decisions.add(decision)

    async def count_fleet() -> None:
        while True:
            await asyncio.sleep(FLEET_EVERY.total_seconds())
            late = fleet_figures(store, parts.clock.now())
            telemetry.fleet(store.fleet(), late.past_deadline_count, late.overrides)

    parts.sight.on_return = resync
    reflectors = _reflectors(parts, store, driver)
    return Engine(
        reflectors=reflectors,
        watched=[(reflector.kind, namespace if reflector.kind in (TENANT_RUN, CONFIG_MAP) else "") for reflector in reflectors],
        doorbell=Doorbell(upgrade=upgrades.add, policy=policies.add, action=upgrades.add),
        run=run,
        close=close,
        resync=resync,
        tasks={"figures of the fleet": count_fleet, "retention": retention.run},
        standby_tasks={"event recorder": parts.recorder.run},
    )


def _reflectors(parts: Parts, store: Store, driver: WorkloadDriver) -> Sequence[Reflector[Any]]:
    def watch(
        kind: Kind, project: Callable[[Mapping[str, Any]], Any], tell: Callable[[Any, Any], None], namespace: str = "", labels: str = ""
    ) -> Reflector[Any]:
        return Reflector(parts.cluster, kind, project, on_change=tell, telemetry=parts.telemetry, namespace=namespace, labels=labels)

    def projected(kind: Kind) -> Callable[[Mapping[str, Any]], Mapping[str, Any]]:
        return lambda raw: driver.project(kind, raw)

    own = parts.settings.namespace
    # Namespaces and what hangs on them first: an upgrade that is seen before its tenants would only be looked at twice.
    return (
        watch(NAMESPACE, views.namespace_view, store.namespace_changed),
        *(watch(kind, projected(kind), store.workload_changed) for kind in WORKLOADS),
        watch(JOB, view_of, store.hook_job_changed, labels=UPGRADE_LABEL),  # those of hooks alone
        watch(CONFIG_MAP, views.own_config_map_view, store.config_map_changed, own),
        watch(TENANT_RUN, views.run_view, store.run_changed, own),
        watch(TENANT_PROFILE, tenant_views.profile_view, store.profile_changed),
        watch(TENANT_DECISION, tenant_views.decision_view, store.decision_changed),
        watch(ROLLOUT_POLICY, views.policy_view, store.policy_changed),
        watch(UPGRADE_ACTION, views.action_view, store.action_changed),
        watch(TENANT_UPGRADE, views.upgrade_view, store.upgrade_changed),
    )


def _secret_reader(cluster: KubeClient, namespace: str) -> Callable[[str], Awaitable[Mapping[str, bytes] | None]]:
    async def read(name: str) -> Mapping[str, bytes] | None:
        try:
            secret = await cluster.get(SECRET, namespace, name)
        except NotFound:
            return None
        return {key: base64.b64decode(value) for key, value in (secret.get("data") or {}).items()}

    return read


def _export(queue: WorkQueue[Any], name: str, telemetry: PrometheusTelemetry) -> None:
    """Let Prometheus see how long the queue is, and how old."""
    telemetry.read("queue_depth", "Keys that wait for a worker.", ("queue",), lambda: {(name,): float(queue.depth)})
    age = "Age of the oldest key that waits for a worker."
    telemetry.read("queue_oldest_age_seconds", age, ("queue",), lambda: {(name,): queue.oldest_age.total_seconds()})
