"""The engine's loop against the fake API server: what is stored is seen, decided on, acted on and reported, without a process around it."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from fakes import FakeClock, FakeCluster
from support.tenant_story import ACME, OLD, OWN, a_deployment
from tenantwave.adapters.drivers.workload import WorkloadDriver
from tenantwave.adapters.snapshots import SecretSnapshots
from tenantwave.api.conditions import Condition, condition_of
from tenantwave.api.kinds import (
    CONFIG_MAP,
    DEPLOYMENT,
    NAMESPACE,
    ROLLOUT_POLICY,
    TENANT_RUN,
    TENANT_UPGRADE,
    UPGRADE_ACTION,
    Kind,
)
from tenantwave.api.meta import tenant_run_name
from tenantwave.api.upgrade_status import TenantUpgradeStatus
from tenantwave.core.gates import QueryFailure, Rows
from tenantwave.engine import views
from tenantwave.engine.forecasts import Forecasts
from tenantwave.engine.journals import Journals, journal_name
from tenantwave.engine.news import Reporter
from tenantwave.engine.prober import Prober
from tenantwave.engine.queue import WorkQueue
from tenantwave.engine.reconcile import Reconciler
from tenantwave.engine.store import Store
from tenantwave.engine.tenant import TenantSteps
from tenantwave.faults import Fault
from tenantwave.ports import Regarding
from tenantwave.telemetry import Silent

UPGRADE = "shop"
CREATED = "2026-12-06T01:00:00Z"
Row = tuple[Kind, Callable[[Mapping[str, Any]], Any], Callable[[Any, Any], None]]


class NoMetrics:
    """A Prometheus that nobody asks: the policy has no gates."""

    async def query(self, *_: object) -> Rows | QueryFailure:
        raise AssertionError("nothing is measured here")


@dataclass
class Heard:
    """A Notifier that keeps what it is told."""

    notes: list[tuple[str, str]] = field(default_factory=list)

    def tell(self, regarding: Regarding, reason: str, note: str, *, warning: bool = False, key: str = "") -> None:
        """Keep reason and sentence."""
        self.notes.append((reason, note))


@dataclass
class EngineStory:
    """An upgrade `shop` of some tenants to 2.4.0, by a policy without gates, and one process that looks after it."""

    tenants: tuple[str, ...] = (ACME,)
    soak: str = "1h"
    cluster: FakeCluster = field(default_factory=FakeCluster)
    clock: FakeClock = field(default_factory=FakeClock)
    heard: Heard = field(default_factory=Heard)
    broken: Callable[[str], bool] = lambda image: False
    """Whose pods do not become Ready."""

    def __post_init__(self) -> None:
        for tenant in self.tenants:
            self.cluster.put(NAMESPACE, {"metadata": {"name": tenant, "labels": {"tenantwave.io/product-shop": "true"}}})
            for name, config in (("app-config", OLD["app-config"]), ("worker-config", OLD["worker-config"])):
                self.cluster.put(CONFIG_MAP, {"metadata": {"name": name, "namespace": tenant}, "data": dict(config)})
            self.cluster.put(DEPLOYMENT, a_deployment("api", "app-config", namespace=tenant))
        waves = [{"name": "all", "maxParallel": "100%", "soak": self.soak}]
        policy = {"waves": waves, "allowNoGates": True, "maintenance": {"whenNoWindow": "Open"}}
        self.cluster.put(ROLLOUT_POLICY, {"metadata": {"name": "standard"}, "spec": policy})
        containers = [{"name": "api", "image": "shop/api:2.4.0"}]
        spec = {
            "policyRef": {"name": "standard"},
            "tenantSelector": {"matchLabels": {"tenantwave.io/product-shop": "true"}},
            "release": {"product": "shop", "version": "2.4.0", "assumedVersion": "2.3.1"},
            "components": [{"name": "api", "workload": {"kind": "Deployment", "name": "api", "containers": containers}}],
        }
        self.cluster.put(TENANT_UPGRADE, {"metadata": {"name": UPGRADE, "creationTimestamp": CREATED}, "spec": spec})
        self.restart()

    def restart(self) -> None:
        """Let a new process take over, which knows nothing but what is stored."""
        driver, telemetry = WorkloadDriver(), Silent()
        self.store = store = Store(OWN, driver)
        self._seen: dict[tuple[str, str, str], tuple[str, Any]] = {}
        snapshots = SecretSnapshots(self.cluster, OWN)
        queue: WorkQueue[str] = WorkQueue("upgrade", telemetry=telemetry)
        self.reconciler = Reconciler(
            store=store,
            cluster=self.cluster,
            journals=Journals(self.cluster, snapshots, store),
            steps=TenantSteps(self.cluster, snapshots, {"workload": driver}, self.clock, OWN),
            prober=Prober(NoMetrics(), self.clock, queue.add),
            forecasts=Forecasts(store, self.clock, queue),
            reporter=Reporter(self.heard, telemetry),
            telemetry=telemetry,
            clock=self.clock,
            queue=queue,
        )
        self._rows: tuple[Row, ...] = (
            (NAMESPACE, views.namespace_view, store.namespace_changed),
            (DEPLOYMENT, lambda raw: driver.project(DEPLOYMENT, raw), store.workload_changed),
            (CONFIG_MAP, views.own_config_map_view, store.config_map_changed),
            (TENANT_RUN, views.run_view, store.run_changed),
            (ROLLOUT_POLICY, views.policy_view, store.policy_changed),
            (UPGRADE_ACTION, views.action_view, store.action_changed),
            (TENANT_UPGRADE, views.upgrade_view, store.upgrade_changed),
        )

    # What happens

    def watch(self) -> None:
        """Let the caches hear of everything that has changed, as the reflectors tell it."""
        for kind, project, tell in self._rows:
            present = {
                key: body
                for key, body in self.cluster.objects.items()
                if key[0] == kind.plural and (kind not in (CONFIG_MAP, TENANT_RUN) or key[1] == OWN)
            }
            for key in [key for key in self._seen if key[0] == kind.plural and key not in present]:
                tell(self._seen.pop(key)[1], None)
            for key, body in present.items():
                version = body["metadata"]["resourceVersion"]
                known = self._seen.get(key, ("", None))
                if known[0] != version:
                    self._seen[key] = (version, project(body))
                    tell(known[1], self._seen[key][1])

    async def look(self) -> None:
        """Let the controllers and the watches catch up, and take the upgrade one step further."""
        self.cluster.play(self.broken)
        self.watch()
        await self.reconcile()

    async def reconcile(self) -> None:
        """Take the upgrade one step further. What that has computed beside it, in a thread, is there before the next: each run is the same."""
        try:
            await self.reconciler.reconcile(UPGRADE)
        finally:
            for task in asyncio.all_tasks():
                if task.get_name() == f"forecast of {UPGRADE}":
                    await task

    async def looks(self, most: int = 40) -> None:
        """Look until nothing is written any more; what a look could not do is tried at the next one."""
        for _ in range(most):
            count = len(self.cluster.writes)
            try:
                await self.look()
            except Fault:
                continue
            if len(self.cluster.writes) == count:
                return
        raise AssertionError(f"still writing after {most} looks: {self.cluster.writes[-3:]}")

    # What is there

    def status(self) -> TenantUpgradeStatus:
        """Return the upgrade's status."""
        return TenantUpgradeStatus.model_validate(self.cluster.see(TENANT_UPGRADE, "", UPGRADE)["status"])

    def condition(self, name: str) -> Condition | None:
        """Return one condition of the upgrade."""
        return condition_of(self.status().conditions, name)

    def run(self, tenant: str = ACME) -> dict[str, Any]:
        """Return a tenant's TenantRun as it is stored."""
        return self.cluster.see(TENANT_RUN, OWN, tenant_run_name(UPGRADE, tenant))

    def has_run(self, tenant: str = ACME) -> bool:
        """Tell whether the tenant has a TenantRun."""
        return self.cluster.has(TENANT_RUN, OWN, tenant_run_name(UPGRADE, tenant))

    def journal_text(self) -> str:
        """Return the journal as it is stored."""
        text: str = self.cluster.see(CONFIG_MAP, OWN, journal_name(UPGRADE))["data"]["journal"]
        return text

    def image(self, tenant: str = ACME) -> str:
        """Return what a tenant runs."""
        image: str = self.cluster.see(DEPLOYMENT, tenant, "api")["spec"]["template"]["spec"]["containers"][0]["image"]
        return image
