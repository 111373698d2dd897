"""The store's indices: what an event costs does not grow with the fleet, and nothing is made twice."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

from support.tenant_story import a_deployment
from tenantwave.adapters.drivers.workload import WorkloadDriver
from tenantwave.api.kinds import DEPLOYMENT
from tenantwave.api.policy import RolloutPolicySpec
from tenantwave.api.run_records import HookState
from tenantwave.api.upgrade import Component
from tenantwave.core.gates import GateBook
from tenantwave.core.journal import Journal, RunRecord
from tenantwave.core.world import ComponentView, HookJobView, VersionRecord
from tenantwave.engine.store import Planned, Store, Wake
from tenantwave.engine.views import JournalView, NamespaceView, RecordView, UpgradeView, action_view, policy_view, upgrade_view
from tenantwave.engine.worlds import observe
from tenantwave.ports import Body

NOW = datetime(2026, 3, 1, tzinfo=UTC)


class CountingDriver(WorkloadDriver):
    """Counts how often it is asked for a view."""

    def __init__(self) -> None:
        super().__init__()
        self.asked_count = 0

    def view(self, component: Component, tenant: str, version: str, cached: Sequence[Body]) -> ComponentView:
        self.asked_count += 1
        return super().view(component, tenant, version, cached)


def an_upgrade(generation: int, resource_version: str) -> UpgradeView:
    container = {"name": "api", "image": "registry.example.com/shop/api:2.0.0"}
    spec: dict[str, Any] = {
        "policyRef": {"name": "standard"},
        "tenantSelector": {"matchLabels": {"product": "shop"}},
        "release": {"product": "shop", "version": "2.0.0"},
        "components": [{"name": "api", "workload": {"kind": "Deployment", "name": "api", "containers": [container]}}],
    }
    metadata = {"name": "shop-2", "uid": "u", "generation": generation, "resourceVersion": resource_version}
    return upgrade_view({"metadata": metadata, "spec": spec})


def a_record(tenant: str, product: str, version: str) -> RecordView:
    return RecordView(f"record-{tenant}-{product}", tenant, f"uid-{tenant}", product, VersionRecord(version, version, NOW, {}, {}))


def test_a_status_of_ours_does_not_make_the_views_of_all_tenants_again() -> None:
    driver = CountingDriver()
    store = Store("tenantwave-system", driver)
    first, written, edited = an_upgrade(1, "10"), an_upgrade(1, "11"), an_upgrade(2, "12")
    assert first.upgrade.spec is not None
    run = RunRecord(id="1.1", generation=1, attempt=1, spec_digest="", start_time=NOW)
    policy = RolloutPolicySpec.model_validate({"waves": [{"name": "all"}], "allowNoGates": True})
    store.planned["1.1"] = Planned("shop-2", first.upgrade.spec, policy)
    store.config_map_changed(None, JournalView("journal-shop-2", Journal(upgrade="shop-2", upgrade_uid="u", run=run), "1"))
    for name in ("acme", "beta"):
        store.namespace_changed(None, NamespaceView(name, f"uid-{name}", {"product": "shop"}, terminating=False))

    asked = []
    for old, new in ((None, first), (first, written), (written, edited)):
        store.upgrade_changed(old, new)
        observe(store, "shop-2", GateBook(), NOW)
        asked.append(driver.asked_count)
    assert asked == [2, 2, 4], "made for two tenants, kept over a status, made anew for an edit"


def test_a_tenant_shows_what_all_its_workloads_refer_to() -> None:
    """Those that are no components, too; asked of each workload again only when one of the tenant's changes."""
    driver = CountingDriver()
    store = Store("tenantwave-system", driver)
    store.namespace_changed(None, NamespaceView("acme", "uid-acme", {"product": "shop"}, terminating=False))
    store.upgrade_changed(None, an_upgrade(1, "10"))
    seen = []
    api, worker = (driver.project(DEPLOYMENT, a_deployment(name, f"{name}-config")) for name in ("api", "worker"))
    for old, new in ((None, api), (None, worker), (api, None)):
        store.workload_changed(old, new)
        world = observe(store, "shop-2", GateBook(), NOW)
        assert world is not None
        seen.append(world.tenants["acme"].config_maps)
    assert seen == [{"api-config"}, {"api-config", "worker-config"}, {"worker-config"}]


def test_products_of_one_tenant() -> None:
    store = Store("tenantwave-system", WorkloadDriver())
    shop, mail, other = a_record("acme", "shop", "1"), a_record("acme", "mail", "7"), a_record("beta", "shop", "1")
    for name in ("acme", "beta"):
        store.namespace_changed(None, NamespaceView(name, f"uid-{name}", {}, terminating=False))
    for record in (shop, mail, other):
        store.config_map_changed(None, record)
    moved = a_record("acme", "shop", "2")
    store.config_map_changed(shop, moved)
    assert store.products_of("acme") == {"mail": mail.record, "shop": moved.record}
    store.config_map_changed(mail, None)
    assert store.products_of("acme") == {"shop": moved.record}
    assert store.products_of("nobody") == {}
    store.namespace_changed(None, NamespaceView("acme", "another-uid", {}, terminating=False))
    assert store.products_of("acme") == {}, "a namespace that is made again inherits nothing"


def test_an_action_that_comes_and_goes_wakes_its_upgrade() -> None:
    """What a deleted OverrideWindow had lifted holds again: status and dates say so at once."""
    woken: list[str] = []
    store = Store("tenantwave-system", WorkloadDriver(), wake=Wake(upgrade=woken.append))
    metadata = {"name": "override", "uid": "o", "resourceVersion": "1", "creationTimestamp": "2026-03-01T00:00:00Z"}
    spec = {"upgrade": "shop-2", "run": "shop-2-a1", "type": "OverrideWindow", "lifts": ["TenantWindows"], "tenants": ["acme"]}
    override = action_view({"metadata": metadata, "spec": spec | {"expireTime": "2026-03-02T00:00:00Z", "reason": "CHG-1"}})
    assert override.action is not None
    store.action_changed(None, override)
    assert woken == ["shop-2"]
    woken.clear()
    store.action_changed(override, None)
    assert woken == ["shop-2"]
    assert not store.actions_of("shop-2")


def test_the_end_of_a_hook_wakes_its_upgrade_and_shows_in_its_tenant() -> None:
    """Once for each change; a Job that is gone is known no longer, so that it is looked for."""
    store = Store("tenantwave-system", CountingDriver())
    woken: list[str] = []
    store.wake = Wake(upgrade=woken.append)
    store.upgrade_changed(None, an_upgrade(1, "10"))
    store.namespace_changed(None, NamespaceView("acme", "uid-acme", {"product": "shop"}, terminating=False))
    woken.clear()
    running = HookJobView("acme", "shop-2-u-1-a1-migrate", "shop-2", HookState.RUNNING)
    ended = replace(running, state=HookState.SUCCEEDED)
    for old, new in ((None, running), (running, running), (running, ended), (ended, None)):
        store.hook_job_changed(old, new)
        world = observe(store, "shop-2", GateBook(), NOW)
        assert world is not None
        assert list(world.tenants["acme"].hook_jobs.values()) == ([new] if new is not None else [])
    assert woken == ["shop-2"] * 3


def test_versions_elsewhere_in_the_fleet_are_counted_where_the_policy_asks() -> None:
    """Of tenants that other upgrades select, or nobody; a first or last one of its kind wakes all upgrades of the product, others do not."""
    woken: list[str] = []
    store = Store("tenantwave-system", WorkloadDriver())
    store.upgrade_changed(None, an_upgrade(1, "1"))
    metadata = {"name": "standard", "generation": 1, "resourceVersion": "1"}
    rules = {"waves": [{"name": "all"}], "allowNoGates": True, "alertAboveVersions": 2}
    store.policy_changed(None, policy_view({"metadata": metadata, "spec": rules}))
    beta = NamespaceView("beta", "uid-beta", {"partner": "b"}, terminating=False)
    for namespace in (NamespaceView("acme", "uid-acme", {"product": "shop"}, terminating=False), beta):
        store.namespace_changed(None, namespace)
    store.namespace_changed(None, NamespaceView("gamma", "uid-gamma", {"partner": "b"}, terminating=False))
    store.wake = Wake(upgrade=woken.append)

    def elsewhere() -> dict[str, int]:
        world = observe(store, "shop-2", GateBook(), NOW)
        assert world is not None
        return dict(world.versions_elsewhere)

    records = [a_record("acme", "shop", "2.0.0"), a_record("beta", "shop", "1.0.0"), a_record("beta", "mail", "7.0.0")]
    for record in records:
        store.config_map_changed(None, record)
    assert elsewhere() == {"1.0.0": 1}, "not its own tenant, not another product, not a tenant without a record"
    woken.clear()
    store.config_map_changed(None, a_record("gamma", "shop", "1.0.0"))
    assert (woken, elsewhere()) == ([], {"1.0.0": 2})
    store.config_map_changed(a_record("gamma", "shop", "1.0.0"), a_record("gamma", "shop", "1.1.0"))
    assert (set(woken), elsewhere()) == ({"shop-2"}, {"1.0.0": 1, "1.1.0": 1})
    woken.clear()
    store.namespace_changed(beta, None)
    assert (set(woken), elsewhere()) == ({"shop-2"}, {"1.1.0": 1}), "a tenant that is gone runs nothing"
    store.policy_changed(None, policy_view({"metadata": metadata | {"generation": 2}, "spec": rules | {"alertAboveVersions": None}}))
    assert elsewhere() == {}, "nobody asks"
