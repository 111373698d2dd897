"""Keeps every tenant's TenantProfile.status true, gives notices in it, makes missing profiles, and judges RolloutPolicies on their own."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import timedelta

from tenantwave.api.bounds import bounded_document
from tenantwave.api.conditions import ConditionType, DetailReason
from tenantwave.api.kinds import ROLLOUT_POLICY, TENANT_PROFILE
from tenantwave.api.meta import PROFILE_NAME
from tenantwave.core import tenant_run
from tenantwave.core.changes import changes_known, changes_to_tell
from tenantwave.core.journal import Journal
from tenantwave.core.notices import DueNotice, due_notice
from tenantwave.core.profile_status import TenantFacts, TenantInUpgrade, profile_status
from tenantwave.core.status import Said, settle
from tenantwave.engine.calendars import Hours
from tenantwave.engine.news import ChangeNews
from tenantwave.engine.queue import WorkQueue
from tenantwave.engine.store import Store
from tenantwave.engine.views import RunView, UpgradeView
from tenantwave.faults import AlreadyExists, Forbidden, NotFound
from tenantwave.ports import Clock, Cluster
from tenantwave.telemetry import Telemetry

CLOCK_AGAIN = timedelta(seconds=30)
"""How soon to look again whether our clock agrees with the API server's."""


@dataclass(slots=True)
class Profiles:
    """One worker's body for TenantProfiles, by namespace."""

    store: Store
    cluster: Cluster
    telemetry: Telemetry
    clock: Clock
    queue: WorkQueue[str]
    news: ChangeNews

    async def reconcile(self, tenant: str) -> None:
        """Write the status of one tenant's profile where it differs. Cost: O(upgrades of the tenant)."""
        namespace = self.store.namespaces.get(tenant)
        if namespace is None or namespace.terminating or not self.store.may_be_tenant(tenant):
            return
        selecting = [view for view in self.store.upgrades.values() if view.selects(namespace.labels)]
        runs = list(self.store.runs_in(tenant))
        profile = self.store.profiles.get(tenant)
        if profile is None:
            if selecting:
                await self._create(tenant)
            return
        if (
            not selecting
            and not runs
            and not self.store.products_of(tenant)
            and profile.status is not None
            and profile.status.upgrade is None
        ):
            return
        upgrades = tuple(self._in_upgrade(view) for view in runs if view.run.status.state is not None)
        shown = profile.status.recent_changes if profile.status is not None else ()
        orders, choices = self.store.orders_for(tenant), self.store.choices_of(tenant)
        changes = changes_known(tenant, upgrades, self.store.products_of(tenant), orders, shown, choices)
        facts = TenantFacts(
            generation=profile.generation,
            records=self.store.products_of(tenant),
            upgrades=upgrades,
            calendar=self.store.calendar_of(tenant, self._hours(selecting, runs)),
            notices=tuple(self._notices(tenant, runs)),
            changes=changes,
        )
        now = self.clock.now()
        status, again = profile_status(profile.status, facts, now)
        if status != profile.status:
            body = {
                "apiVersion": TENANT_PROFILE.api_version,
                "kind": TENANT_PROFILE.name,
                "metadata": {"name": PROFILE_NAME, "namespace": tenant, "resourceVersion": profile.resource_version},
                "status": bounded_document(status),
            }
            await self.cluster.replace(TENANT_PROFILE, body, subresource="status")
            self.telemetry.status_write(TENANT_PROFILE.name)
            self.news.tell(tenant, changes_to_tell(shown, changes, now))
            self.news.tell_of_windows(tenant, profile.status, status)
        if again is not None:
            self.queue.add_after(tenant, again - self.clock.now() + timedelta(milliseconds=20))

    def _in_upgrade(self, view: RunView) -> TenantInUpgrade:
        upgrade = self.store.upgrades.get(view.run.upgrade)
        return TenantInUpgrade(
            upgrade=view.run.upgrade,
            product=view.product,
            position=_position(self.store.journal_of(view.run.upgrade), view.run.status.wave),
            live=self._is_live(view.run.upgrade),
            creation_time=upgrade.upgrade.creation_time if upgrade is not None else self.clock.now(),
            status=view.run.status,
        )

    async def _create(self, tenant: str) -> None:
        metadata = {"name": PROFILE_NAME, "namespace": tenant}
        body = {"apiVersion": TENANT_PROFILE.api_version, "kind": TENANT_PROFILE.name, "metadata": metadata, "spec": {}}
        try:
            await self.cluster.create(TENANT_PROFILE, body)
        except AlreadyExists:
            return
        except (NotFound, Forbidden) as fault:
            if isinstance(fault, Forbidden) and not fault.terminating:
                raise

    def _is_live(self, upgrade: str) -> bool:
        journal = self.store.journal_of(upgrade)
        return journal is not None and journal.run.completion_time is None and upgrade in self.store.upgrades

    def _notices(self, tenant: str, runs: Sequence[RunView]) -> Iterator[DueNotice]:
        """Yield what the tenant is to be told, or was: the older upgrade first, for a profile has room for so many.

        By a wrong clock nobody is told anything: the time stands for ever, and the lead counts from it.
        """
        telling = [(self.store.upgrades[view.run.upgrade].upgrade, view.run.status) for view in runs if self.store.may_start(view)]
        for upgrade, status in sorted(telling, key=lambda pair: (pair[0].creation_time, pair[0].name)):
            notice = due_notice(upgrade.name, upgrade.spec, status) if upgrade.spec is not None else None
            if notice is None:
                continue
            if notice.recorded_time is None and not self.store.clock_is_right():
                self.queue.add_after(tenant, CLOCK_AGAIN)
                continue
            yield notice

    def _hours(self, selecting: Sequence[UpgradeView], runs: Sequence[RunView]) -> Hours | None:
        """Return the hours of the live upgrade, else those of the last one that had the tenant, else of any that wants it."""
        here = {view.run.upgrade: view for view in runs}
        known = {name: view for name in here if (view := self.store.upgrades.get(name)) is not None}
        candidates = known | {view.upgrade.name: view for view in selecting}
        order = sorted(candidates, key=lambda name: (*self._nearness(candidates[name], here.get(name)), name), reverse=True)
        return next((hours for name in order if (hours := self.store.hours_of(candidates[name])) is not None), None)

    def _nearness(self, view: UpgradeView, run: RunView | None) -> tuple[int, float]:
        """Return how near an upgrade is to the tenant; more is nearer. Of live ones the older goes first, of others the one used last."""
        creation = view.upgrade.creation_time.timestamp()
        journal = self.store.journal_of(view.upgrade.name)
        if journal is None or journal.upgrade_uid != view.upgrade.uid:
            return 0, creation
        if run is not None and tenant_run.has_tenant(run.run.status):
            return 4, -creation
        if journal.run.completion_time is not None:
            return 1, journal.run.completion_time.timestamp()
        return (3 if run is not None and run.run.status.state in tenant_run.NOT_STARTED else 2), -creation


def _position(journal: Journal | None, wave: str) -> str:
    names = [record.name for record in journal.run.waves] if journal is not None else []
    return f"wave {names.index(wave) + 1} of {len(names)}" if wave in names else ""


@dataclass(slots=True)
class Policies:
    """One worker's body for RolloutPolicies: a bad one shows before an upgrade uses it."""

    store: Store
    cluster: Cluster
    telemetry: Telemetry
    clock: Clock

    async def reconcile(self, name: str) -> None:
        """Write Ready, and Stalled where the policy cannot be used."""
        view = self.store.policies.get(name)
        if view is None:
            return
        now = self.clock.now()
        problems = [view.problem] if view.spec is None else [*self.store.judge.problems(view.digest, view.spec, now)]
        if problems:
            message = "; ".join(problems)
            said = [Said(ConditionType.STALLED, True, "InvalidSpec", message), Said(ConditionType.READY, False, "InvalidSpec", message)]
        else:
            said = [Said(ConditionType.READY, True, DetailReason.VALID, "the policy can be used")]
        conditions = settle(view.conditions, said, view.generation, now)
        if conditions == view.conditions and view.observed_generation == view.generation:
            return
        status = {"observedGeneration": view.generation, "conditions": [condition.document() for condition in conditions]}
        await self.cluster.merge_patch(
            ROLLOUT_POLICY, "", name, {"status": status}, resource_version=view.resource_version, subresource="status"
        )
        self.telemetry.status_write(ROLLOUT_POLICY.name)
