"""Makes the `World` of one upgrade from the store: in one pass, without await, so that a decision sees one moment."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Set
from datetime import datetime

from tenantwave.api.policy import RolloutPolicySpec
from tenantwave.api.upgrade import TenantUpgradeSpec
from tenantwave.core.gates import GateBook
from tenantwave.core.world import Claim, Policy, Tenant, World
from tenantwave.engine.calendars import Hours
from tenantwave.engine.catalogues import catalogue_of
from tenantwave.engine.claims import claim_of
from tenantwave.engine.store import Store
from tenantwave.engine.views import PolicyView, RunView, UpgradeView


def observe(store: Store, name: str, gates: GateBook, now: datetime) -> World | None:
    """Make the world of one upgrade; None where there is no such TenantUpgrade. Cost: O(its tenants), some 10 microseconds each."""
    view = store.upgrades.get(name)
    if view is None:
        return None
    journal = store.journal_of(name)
    planned = store.planned_of(view)
    spec = planned.spec if planned is not None else view.upgrade.spec
    hours = store.hours_of(view)
    runs = store.runs_of(name)
    # A spec that cannot be read deselects nobody: the tenants of the run stay as they are.
    selected = {namespace.name for namespace in store.selected_by(view)} if view.upgrade.spec is not None else set(runs)
    tenants = {
        tenant: _tenant(store, view, tenant, tenant in selected, spec, hours, runs.get(tenant)) for tenant in sorted(selected | runs.keys())
    }
    product = spec.release.product if spec is not None else ""
    ref = journal.run.policy if journal is not None else None
    seen_since, shaken_until = store.sight()
    return World(
        upgrade=view.upgrade,
        journal=journal,
        policy=_live_policy(store, store.policies.get(view.policy), now),
        planned_policy=Policy(ref.name, ref.generation, ref.digest, planned.policy) if planned is not None and ref is not None else None,
        planned_spec=planned.spec if planned is not None else None,
        tenants=tenants,
        catalogue=catalogue_of(store.catalogue_views(product)),
        gates=gates,
        actions=tuple(action.action for action in store.actions_of(name) if action.action is not None),
        clock_is_right=store.clock_is_right(),
        foreseen=store.foreseen.get(name),
        versions_elsewhere=_versions_elsewhere(store, product, selected, planned.policy if planned is not None else None, view),
        seen_since=seen_since,
        shaken_until=shaken_until,
    )


def _versions_elsewhere(
    store: Store, product: str, selected: Set[str], planned: RolloutPolicySpec | None, upgrade: UpgradeView
) -> Mapping[str, int]:
    """Return which versions tenants run that the upgrade does not select, where its policy asks for it. Cost: O(namespaces)."""
    live = store.policies.get(upgrade.policy)
    policy = planned or (live.spec if live is not None else None)
    if policy is None or policy.alert_above_versions is None:
        return {}
    others = (namespace.uid for name, namespace in store.namespaces.items() if name not in selected)
    records = (store.records.get((uid, product)) for uid in others)
    return Counter(record.version for record in records if record is not None and record.version)


def _live_policy(store: Store, view: PolicyView | None, now: datetime) -> Policy | None:
    if view is None:
        return None
    problems = (view.problem,) if view.spec is None else store.judge.problems(view.digest, view.spec, now)
    return Policy(view.name, view.generation, view.digest, view.spec, problems)


def _tenant(
    store: Store,
    upgrade: UpgradeView,
    name: str,
    selected: bool,
    spec: TenantUpgradeSpec | None,
    hours: Hours | None,
    run: RunView | None,
) -> Tenant:
    namespace, profile = store.namespaces.get(name), store.profiles.get(name)
    product = spec.release.product if spec is not None else ""
    return Tenant(
        name=name,
        uid=namespace.uid if namespace is not None else "",
        labels=namespace.labels if namespace is not None else {},
        selected=selected,
        exists=namespace is not None,
        terminating=namespace is not None and namespace.terminating,
        record=store.records.get((namespace.uid, product)) if namespace is not None else None,
        run=run.run if run is not None else None,
        calendar=store.calendar_of(name, hours),
        components=store.components_of(upgrade.upgrade.name, name, spec),
        config_maps=store.references_in(name),
        hook_jobs=store.hook_jobs_in(name),
        claims=tuple(_claims(store, upgrade, name)),
        decisions=store.decisions.seen(upgrade.upgrade.name, name),
        told=profile.told.get(upgrade.upgrade.name, ()) if profile is not None else (),
    )


def _claims(store: Store, upgrade: UpgradeView, tenant: str) -> Iterator[Claim]:
    """Yield what other upgrades want of the tenant."""
    for other in store.runs_in(tenant):
        name = other.run.upgrade
        if name != upgrade.upgrade.name:
            claim = claim_of(other, store.upgrades.get(name), store.journal_of(name), upgrade.upgrade.creation_time)
            if claim is not None:
                yield claim
