"""The caches, indexed, so that what one upgrade needs is found without looking at all others (`worlds`).

Reflectors call `changed` for each change of an object. The store keeps its indices by it and says which upgrades, policies and profiles are to be
looked at again; it never asks what changed beyond that.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any

from tenantwave.api.kinds import WORKLOAD_KINDS
from tenantwave.api.policy import RolloutPolicySpec
from tenantwave.api.upgrade import TenantUpgradeSpec
from tenantwave.core.calendar import Calendar
from tenantwave.core.changes import Taken
from tenantwave.core.journal import Journal
from tenantwave.core.world import Action, ComponentView, Foreseen, HookJobView, VersionRecord
from tenantwave.engine.calendars import Calendars, Hours
from tenantwave.engine.claims import may_start
from tenantwave.engine.decision_index import DecisionIndex
from tenantwave.engine.judging import PolicyJudge
from tenantwave.engine.tenant_views import DecisionView, ProfileView
from tenantwave.engine.views import (
    ActionView,
    CatalogueView,
    DamagedJournal,
    JournalView,
    NamespaceView,
    OwnConfigMap,
    PolicyView,
    RecordView,
    RunView,
    UpgradeView,
)
from tenantwave.ports import Body, Driver

NO_JOBS: Mapping[str, HookJobView] = {}
NEVER_TENANTS = ("kube-", "default")


@dataclass(frozen=True, slots=True)
class Planned:
    """What a run works by, as it was saved when the run was planned."""

    upgrade: str
    spec: TenantUpgradeSpec
    policy: RolloutPolicySpec


@dataclass(slots=True)
class Wake:
    """Who is to be looked at again. The engine gives the queues; before it runs, and in tests, nobody listens."""

    upgrade: Callable[[str], None] = lambda _: None
    policy: Callable[[str], None] = lambda _: None
    profile: Callable[[str], None] = lambda _: None
    decision: Callable[[tuple[str, str]], None] = lambda _: None


@dataclass(slots=True)
class Store:
    """Everything that was last seen. `namespace` is our own: it is never a tenant."""

    namespace: str
    driver: Driver
    wake: Wake = field(default_factory=Wake)
    upgrades: dict[str, UpgradeView] = field(default_factory=dict)
    policies: dict[str, PolicyView] = field(default_factory=dict)
    namespaces: dict[str, NamespaceView] = field(default_factory=dict)
    profiles: dict[str, ProfileView] = field(default_factory=dict)
    decisions: DecisionIndex = field(default_factory=DecisionIndex)
    journals: dict[str, JournalView] = field(default_factory=dict)
    damaged_journals: dict[str, DamagedJournal] = field(default_factory=dict)
    """Upgrade -> the journal that cannot be read: while it is there nothing is decided."""
    records: dict[tuple[str, str], VersionRecord] = field(default_factory=dict)
    """(UID of the namespace, product) -> what it runs: a namespace that is made again under its old name inherits nothing."""
    planned: dict[str, Planned] = field(default_factory=dict)
    """run id -> saved spec and policy; the engine loads them."""
    clock_is_right: Callable[[], bool] = lambda: True
    sight: Callable[[], tuple[datetime | None, datetime | None]] = lambda: (None, None)
    """Since when the cluster is seen without a break, and until when an outage has its aftermath."""
    judge: PolicyJudge = field(default_factory=PolicyJudge)
    _actions: dict[str, dict[str, ActionView]] = field(default_factory=lambda: defaultdict(dict))
    _runs: dict[str, dict[str, RunView]] = field(default_factory=lambda: defaultdict(dict))
    """upgrade -> tenant -> run."""
    _upgrades_of: dict[str, set[str]] = field(default_factory=lambda: defaultdict(set))
    """tenant -> upgrades with a TenantRun there."""
    _products_of: dict[str, set[str]] = field(default_factory=lambda: defaultdict(set))
    """UID of the namespace -> products with a version record."""
    _recorded: dict[str, Counter[str]] = field(default_factory=lambda: defaultdict(Counter))
    """product -> version -> how many records say it."""
    _catalogue: dict[str, dict[str, CatalogueView]] = field(default_factory=lambda: defaultdict(dict))
    _workloads: dict[str, dict[tuple[str, str], Body]] = field(default_factory=lambda: defaultdict(dict))
    _hook_jobs: dict[str, dict[str, HookJobView]] = field(default_factory=lambda: defaultdict(dict))
    """tenant -> Job of a hook -> what became of it."""
    _views: dict[tuple[str, str], tuple[TenantUpgradeSpec, tuple[ComponentView, ...]]] = field(default_factory=dict)
    """(upgrade, tenant) -> (the spec that was asked about, component views); dropped when a workload of the tenant changes."""
    _references: dict[str, frozenset[str]] = field(default_factory=dict)
    """tenant -> ConfigMaps that its workloads refer to; dropped when one of them changes."""
    foreseen: dict[str, Foreseen] = field(default_factory=dict)
    """Upgrade -> what will happen when, as last computed."""
    calendar_changes: int = 0
    """How often anything has changed that moves a tenant's planned start: windows, freezes, decisions."""
    _calendars: Calendars = field(default_factory=Calendars)

    # What the reflectors tell.

    def upgrade_changed(self, old: UpgradeView | None, new: UpgradeView | None) -> None:
        """Take over a TenantUpgrade; others of the same tenants may wait for it."""
        name = _name(old, new, lambda view: view.upgrade.name)
        _put(self.upgrades, name, new)
        self.wake.upgrade(name)
        if old is None or new is None or old.upgrade.generation != new.upgrade.generation:
            self._forget_views(name)  # not at each status that we wrote ourselves: views of 1,000 tenants take 50 ms
            self._wake_neighbours(name)
            self._wake_profiles(name)  # the words of its notice may be others
            self._wake_decisions(self.decisions.about(name))

    def policy_changed(self, old: PolicyView | None, new: PolicyView | None) -> None:
        """Take over a RolloutPolicy."""
        name = _name(old, new, lambda view: view.name)
        known = self.policies.get(name)
        if known is not None and new is not None and known.digest == new.digest:
            new = replace(new, spec=known.spec)  # the very same object: calendars are kept for as long as it is
        _put(self.policies, name, new)
        if old is None or new is None or old.generation != new.generation:
            self._calendars.forget_policy(name)
            self.calendar_changes += 1
            self.wake.policy(name)
            for upgrade in self.upgrades.values():
                if upgrade.policy == name:
                    self.wake.upgrade(upgrade.upgrade.name)
                    self._wake_profiles(upgrade.upgrade.name)  # their windows may open at other times now

    def action_changed(self, old: ActionView | None, new: ActionView | None) -> None:
        """Take over an UpgradeAction. One that is deleted no longer counts: an OverrideWindow, for one, has moved dates."""
        if old is not None:
            self._actions[old.upgrade].pop(old.name, None)
            self.wake.upgrade(old.upgrade)
        if new is not None:
            self._actions[new.upgrade][new.name] = new
            self.wake.upgrade(new.upgrade)
            for tenant in new.action.spec.tenants if new.action is not None and new.action.accepted else ():
                self.wake.profile(tenant)  # what was ordered for it stands in its change record

    def namespace_changed(self, old: NamespaceView | None, new: NamespaceView | None) -> None:
        """Take over a Namespace: it may have become a tenant, or no longer be one."""
        name = _name(old, new, lambda view: view.name)
        _put(self.namespaces, name, new)
        for upgrade in self.upgrades.values():
            known = name in self._runs.get(upgrade.upgrade.name, ())
            if known or any(view is not None and upgrade.selects(view.labels) for view in (old, new)):
                self.wake.upgrade(upgrade.upgrade.name)
            self._wake_decisions(self.decisions.of(upgrade.upgrade.name, name))
        for view in (old, new) if old is None or new is None or old.uid != new.uid else ():
            for product in self._products_of.get(view.uid, ()) if view is not None else ():
                self._wake_product(product)
        self.wake.profile(name)

    def profile_changed(self, old: ProfileView | None, new: ProfileView | None) -> None:
        """Take over a TenantProfile: its windows count at once for a tenant that has not started, and what it shows of notices is proof."""
        tenant = _name(old, new, lambda view: view.namespace)
        _put(self.profiles, tenant, new)
        is_same = old is not None and new is not None and (old.uid, old.generation) == (new.uid, new.generation)
        if not is_same:
            self._calendars.forget_tenant(tenant)
            self.calendar_changes += 1
        if old is None or new is None or not is_same or old.told != new.told:
            self._wake_tenant(tenant)
            self.wake.profile(tenant)

    def decision_changed(self, old: DecisionView | None, new: DecisionView | None) -> None:
        """Take over a TenantDecision: its upgrade answers it, or, where that does not know the tenant, nobody's worker."""
        self.calendar_changes += 1
        self.decisions.put(old, new)
        if old is None or new is None or (old.upgrade, old.seen) != (new.upgrade, new.seen):
            for upgrade in {view.upgrade for view in (old, new) if view is not None and view.upgrade}:
                self.wake.upgrade(upgrade)
        self._wake_decisions([new] if new is not None else [])
        if new is not None and new.taken is not None and (old is None or old.taken is None):
            self.wake.profile(new.namespace)  # what the tenant decided stands in its change record

    def run_changed(self, old: RunView | None, new: RunView | None) -> None:
        """Take over a TenantRun: its upgrade, and every other upgrade that waits for this tenant, looks again."""
        if old is not None:
            self._runs[old.run.upgrade].pop(old.tenant, None)
            self._upgrades_of[old.tenant].discard(old.run.upgrade)
        if new is not None:
            self._runs[new.run.upgrade][new.tenant] = new
            self._upgrades_of[new.tenant].add(new.run.upgrade)
        changed = new or old
        if changed is not None:
            self.wake.upgrade(changed.run.upgrade)
            for upgrade in self._upgrades_of[changed.tenant]:
                if upgrade != changed.run.upgrade:
                    self.wake.upgrade(upgrade)
            self.wake.profile(changed.tenant)
        if changed is not None and (old is None or new is None):
            self._wake_decisions(self.decisions.of(changed.run.upgrade, changed.tenant))

    def hook_job_changed(self, old: HookJobView | None, new: HookJobView | None) -> None:
        """Take over a Job of a hook: its upgrade may wait for its end."""
        if old is not None:
            self._hook_jobs[old.tenant].pop(old.name, None)
        if new is not None:
            self._hook_jobs[new.tenant][new.name] = new
        changed = new or old
        if changed is not None and old != new:
            self.wake.upgrade(changed.upgrade)

    def config_map_changed(self, old: OwnConfigMap | None, new: OwnConfigMap | None) -> None:
        """Take over a ConfigMap of our own namespace: a journal, a version record or a catalogue entry."""
        if old is not None:
            self._drop_config_map(old)
        match new:
            case JournalView():
                self.journals[new.journal.upgrade] = new
                self.wake.upgrade(new.journal.upgrade)
                if not (isinstance(old, JournalView) and _phase(old.journal) == _phase(new.journal)):
                    self._wake_profiles(new.journal.upgrade)
            case DamagedJournal():
                self.damaged_journals[new.upgrade] = new
                self.wake.upgrade(new.upgrade)
            case RecordView():
                self.records[new.namespace_uid, new.product] = new.record
                self._products_of[new.namespace_uid].add(new.product)
                self._count_version(new, 1)
                self._wake_tenant(new.tenant)
                self.wake.profile(new.tenant)
            case CatalogueView():
                self._catalogue[new.product][new.name] = new
        for view in (old, new):
            if isinstance(view, CatalogueView):
                self._wake_product(view.product)

    def _drop_config_map(self, old: OwnConfigMap) -> None:
        match old:
            case JournalView():
                self.journals.pop(old.journal.upgrade, None)
                self.wake.upgrade(old.journal.upgrade)
            case DamagedJournal():
                self.damaged_journals.pop(old.upgrade, None)
                self.wake.upgrade(old.upgrade)
            case RecordView():
                self.records.pop((old.namespace_uid, old.product), None)
                self._products_of[old.namespace_uid].discard(old.product)
                self._count_version(old, -1)
            case CatalogueView():
                self._catalogue[old.product].pop(old.name, None)

    def _count_version(self, view: RecordView, change: int) -> None:
        """Count a record that came or went; a version that is the first or the last of its kind matters to all upgrades of the product."""
        versions = self._recorded[view.product]
        before, versions[view.record.version] = versions[view.record.version], versions[view.record.version] + change
        if not (before and versions[view.record.version]):
            self._wake_product(view.product)

    def _wake_product(self, product: str) -> None:
        for upgrade in self.upgrades.values():
            if upgrade.product == product:
                self.wake.upgrade(upgrade.upgrade.name)

    def workload_changed(self, old: Body | None, new: Body | None) -> None:
        """Take over the projection of a workload: only upgrades that have begun with its namespace care."""
        body = new if new is not None else old
        if body is None:
            return
        tenant, key = body["metadata"]["namespace"], (str(body["kind"]), str(body["metadata"]["name"]))
        _put(self._workloads[tenant], key, new)
        self._references.pop(tenant, None)
        namespace = self.namespaces.get(tenant)
        for upgrade in self.upgrades.values():
            name = upgrade.upgrade.name
            if tenant in self._runs.get(name, ()) or (namespace is not None and upgrade.selects(namespace.labels)):
                self._views.pop((name, tenant), None)
                self.wake.upgrade(name)

    def relisted(self) -> None:
        """Look at everything again."""
        for name in {*self.upgrades, *self.journals}:
            self.wake.upgrade(name)

    def _wake_tenant(self, tenant: str) -> None:
        namespace = self.namespaces.get(tenant)
        for upgrade in self.upgrades.values():
            name = upgrade.upgrade.name
            if tenant in self._runs.get(name, ()) or (namespace is not None and upgrade.selects(namespace.labels)):
                self.wake.upgrade(name)

    def _wake_profiles(self, upgrade: str) -> None:
        for tenant in self._runs.get(upgrade, ()):
            self.wake.profile(tenant)

    def _wake_decisions(self, views: Iterable[DecisionView]) -> None:
        for view in views:
            self.wake.decision(view.key)

    def _wake_neighbours(self, name: str) -> None:
        for tenant in self._runs.get(name, ()):
            for other in self._upgrades_of[tenant]:
                if other != name:
                    self.wake.upgrade(other)

    def _forget_views(self, upgrade: str) -> None:
        for key in [key for key in self._views if key[0] == upgrade]:
            del self._views[key]

    # What is asked of it.

    def actions_of(self, upgrade: str) -> Sequence[ActionView]:
        """Return the UpgradeActions that name this upgrade."""
        return tuple(self._actions.get(upgrade, {}).values())

    def orders_for(self, tenant: str) -> Iterator[Action]:
        """Yield the UpgradeActions, of the upgrades with a TenantRun there, that name this tenant."""
        for upgrade in sorted(self._upgrades_of.get(tenant, ())):
            for view in self._actions.get(upgrade, {}).values():
                if view.action is not None and tenant in view.action.spec.tenants:
                    yield view.action

    def choices_of(self, tenant: str) -> Iterator[Taken]:
        """Yield what the tenant decided, and was granted, about the upgrades with a TenantRun there."""
        for upgrade in sorted(self._upgrades_of.get(tenant, ())):
            yield from (view.taken for view in self.decisions.current(upgrade, tenant) if view.taken is not None)

    def runs_of(self, upgrade: str) -> Mapping[str, RunView]:
        """Return tenant -> TenantRun of this upgrade."""
        return self._runs.get(upgrade, {})

    def runs_in(self, tenant: str) -> Iterator[RunView]:
        """Yield the TenantRuns of all upgrades in this tenant."""
        return (self._runs[upgrade][tenant] for upgrade in sorted(self._upgrades_of.get(tenant, ())))

    def hook_jobs_in(self, tenant: str) -> Mapping[str, HookJobView]:
        """Return name -> what became of each Job of a hook in this tenant."""
        return self._hook_jobs.get(tenant, NO_JOBS)

    def products_of(self, tenant: str) -> Mapping[str, VersionRecord]:
        """Return product -> what the tenant runs."""
        namespace = self.namespaces.get(tenant)
        uid = namespace.uid if namespace is not None else ""
        return {product: self.records[uid, product] for product in sorted(self._products_of.get(uid, ()))}

    def fleet(self) -> Mapping[tuple[str, str], int]:
        """Return (product, version) -> how many tenants run it. Cost: O(records)."""
        return Counter((product, record.version) for (_, product), record in self.records.items() if record.version)

    def catalogue_views(self, product: str) -> Sequence[CatalogueView]:
        """Return the catalogue entries of a product."""
        return tuple(self._catalogue.get(product, {}).values())

    def may_start(self, run: RunView) -> bool:
        """Tell whether the upgrade of this TenantRun is live: neither ended, suspended nor deleted, nor another one of that name."""
        view, journal = self.upgrades.get(run.run.upgrade), self.journal_of(run.run.upgrade)
        return view is not None and journal is not None and view.upgrade.uid == run.run.upgrade_uid and may_start(view, journal)

    def is_tenant(self, upgrade: UpgradeView, namespace: str) -> bool | None:
        """Tell whether a namespace is a tenant of this upgrade, now or by its TenantRun. None: the spec cannot be read, so nobody knows."""
        if namespace in self.runs_of(upgrade.upgrade.name):
            return True
        if upgrade.upgrade.spec is None:
            return None
        view = self.namespaces.get(namespace)
        return view is not None and self.may_be_tenant(namespace) and upgrade.selects(view.labels)

    def selected_by(self, upgrade: UpgradeView) -> Iterator[NamespaceView]:
        """Yield the namespaces that are tenants of this upgrade now."""
        for namespace in self.namespaces.values():
            if upgrade.selects(namespace.labels) and self.may_be_tenant(namespace.name):
                yield namespace

    def may_be_tenant(self, namespace: str) -> bool:
        """Tell whether a namespace may ever be a tenant: `kube-*`, `default` and our own never are."""
        return namespace != self.namespace and namespace != "default" and not namespace.startswith("kube-")

    def journal_of(self, upgrade: str) -> Journal | None:
        """Return the stored journal."""
        view = self.journals.get(upgrade)
        return view.journal if view is not None else None

    def hours_of(self, upgrade: UpgradeView) -> Hours | None:
        """Return the hours of an upgrade: its policy's, with what its run has saved of the rules that are not read live.

        Where the policy is gone or cannot be read, all of it is as the run has it.
        """
        live, planned = self.policies.get(upgrade.policy), self.planned_of(upgrade)
        if live is not None and live.spec is not None:
            if planned is None or (journal := self.journal_of(upgrade.upgrade.name)) is None:
                return Hours(upgrade.policy, live.spec.maintenance)
            return self._calendars.hours(upgrade.policy, journal.run.id, live.spec.maintenance, planned.policy.maintenance)
        return Hours(upgrade.policy, planned.policy.maintenance) if planned is not None else None

    def planned_of(self, upgrade: UpgradeView) -> Planned | None:
        """Return what the upgrade's run works by; None where none was planned, or what was saved is not loaded yet."""
        journal = self.journal_of(upgrade.upgrade.name)
        return self.planned.get(journal.run.id) if journal is not None and journal.upgrade_uid == upgrade.upgrade.uid else None

    def calendar_of(self, tenant: str, hours: Hours | None) -> Calendar | None:
        """Return when the tenant may be started; None without a policy."""
        return self._calendars.of(tenant, self.profiles.get(tenant), hours) if hours is not None else None

    def components_of(self, upgrade: str, tenant: str, spec: TenantUpgradeSpec | None) -> tuple[ComponentView, ...]:
        """Return what the workloads of a spec are like in a tenant; looked at anew when one of them has changed."""
        if spec is None:
            return ()
        kept = self._views.get((upgrade, tenant))
        if kept is not None and kept[0] is spec:
            return kept[1]
        cached = tuple(self._workloads.get(tenant, {}).values())
        views = tuple(
            self.driver.view(component, tenant, spec.release.version, cached)
            for component in spec.components
            if component.workload is not None
        )
        self._views[upgrade, tenant] = (spec, views)
        return views

    def references_in(self, tenant: str) -> frozenset[str]:
        """Return the ConfigMaps that the tenant's workloads refer to."""
        known = self._references.get(tenant)
        if known is None:
            known = frozenset().union(*(self.driver.references(body) for body in self._workloads.get(tenant, {}).values()))
            self._references[tenant] = known
        return known


def _phase(journal: Journal) -> tuple[str, bool, bool]:
    """Return what decides whether a run may still start tenants."""
    return journal.run.id, journal.run.completion_time is None, journal.run.order is None


def _put(cache: dict[Any, Any], key: Any, value: Any) -> None:
    if value is None:
        cache.pop(key, None)
    else:
        cache[key] = value


def _name(old: Any, new: Any, name: Callable[[Any], Any]) -> Any:
    return name(new if new is not None else old)


WORKLOADS = tuple(WORKLOAD_KINDS.values())
"""The kinds that are watched in all tenants."""
