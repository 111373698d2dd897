"""Journals, planned runs and TenantRuns, in our own namespace: what a restart finds."""

from __future__ import annotations

import json
from typing import Any

from tenantwave.api.kinds import (
    CONFIG_MAP,
    ROLE_LABEL,
    RUN_LABEL,
    TENANT_LABEL,
    TENANT_RUN,
    UPGRADE_LABEL,
    WAVE_LABEL,
)
from tenantwave.api.meta import tenant_run_name
from tenantwave.api.policy import RolloutPolicySpec
from tenantwave.api.tenant_run import TenantRunSpec, TenantRunStatus
from tenantwave.api.upgrade import TenantUpgradeSpec
from tenantwave.core import blobs
from tenantwave.core.journal import Journal
from tenantwave.core.passes.runs import spec_blob
from tenantwave.core.plan import Move
from tenantwave.core.world import StoredRun, World
from tenantwave.engine.store import Planned, Store
from tenantwave.engine.tenant.run_handle import RunHandle
from tenantwave.engine.views import JOURNAL_PREFIX, JournalView
from tenantwave.faults import Conflict, NotFound, SnapshotCorrupt
from tenantwave.ports import Cluster, Snapshots

IGNORED_BY_ARGO = {"argocd.argoproj.io/compare-options": "IgnoreExtraneous"}


def journal_name(upgrade: str) -> str:
    """Return the name of the ConfigMap that holds an upgrade's journal."""
    return f"{JOURNAL_PREFIX}{upgrade}"


class Journals:
    """Writes each record over the very version that the decision was made from: whoever decided on an older one fails, and looks again."""

    def __init__(self, cluster: Cluster, snapshots: Snapshots, store: Store) -> None:
        self._cluster = cluster
        self._snapshots = snapshots
        self._store = store

    async def save(self, journal: Journal, over: JournalView | None) -> None:
        """Store the journal over the one that was decided on. Raises Conflict or AlreadyExists where somebody else has decided meanwhile."""
        metadata: dict[str, Any] = {
            "name": journal_name(journal.upgrade),
            "namespace": self._store.namespace,
            "labels": {ROLE_LABEL: "journal", UPGRADE_LABEL: journal.upgrade},
            "annotations": IGNORED_BY_ARGO,
        }
        text = journal.model_dump_json(exclude_defaults=True)
        body = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata, "data": {"journal": text}}
        if over is None:
            await self._cluster.create(CONFIG_MAP, body)
        else:
            metadata["resourceVersion"] = over.resource_version
            await self._cluster.replace(CONFIG_MAP, body)

    async def save_planned(self, journal: Journal, spec: TenantUpgradeSpec) -> None:
        """Save what the run works by: spec, policy and catalogue, under their digests. An edit or deletion afterwards does not change the run."""
        run = journal.run
        policy = self._store.policies.get(run.policy.name) if run.policy is not None else None
        found = {view.digest: view.blob for view in self._store.catalogue_views(spec.release.product)}
        found |= {blobs.digest_of(spec_blob(spec)): spec_blob(spec)} | ({policy.digest: policy.document} if policy is not None else {})
        wanted = {run.spec, *(ref.digest for ref in run.catalogue if ref.digest)} | (
            {run.policy.digest} if run.policy is not None else set()
        )
        # All are in hand before the first await: what is edited meanwhile is another plan's.
        if missing := wanted - found.keys():
            raise Conflict(f"policy or catalogue of {journal.upgrade} changed while it was planned ({min(missing)}); planned again")
        for digest in sorted(wanted):
            await self._snapshots.save(found[digest])

    async def load_planned(self, upgrade: str) -> None:
        """Load what the current run works by, once for each run and start. Raises SnapshotCorrupt."""
        journal = self._store.journal_of(upgrade)
        if journal is None or journal.run.planned_time is None or journal.run.policy is None or journal.run.id in self._store.planned:
            return
        spec = TenantUpgradeSpec.model_validate(json.loads(await self._saved(journal.run.spec, upgrade)))
        policy = RolloutPolicySpec.model_validate(json.loads(await self._saved(journal.run.policy.digest, upgrade)))
        for run in [run for run, planned in self._store.planned.items() if planned.upgrade == upgrade]:
            del self._store.planned[run]
        self._store.planned[journal.run.id] = Planned(upgrade, spec, policy)

    async def _saved(self, digest: str, upgrade: str) -> bytes:
        """Return a saved copy; where it is damaged, the live object if it is the very same. Raises SnapshotCorrupt if neither is there."""
        try:
            return await self._snapshots.load(digest)
        except SnapshotCorrupt as corrupt:
            view = self._store.upgrades.get(upgrade)
            live = [policy.document for policy in self._store.policies.values()]
            if view is not None and view.upgrade.spec is not None:
                live.append(spec_blob(view.upgrade.spec))
            for blob in live:
                if blobs.digest_of(blob) == digest:
                    await self._snapshots.save(blob)
                    return blob
            raise SnapshotCorrupt(
                f"what run of {upgrade} was planned with is lost ({corrupt.message}); apply the policy and the upgrade as they were"
            ) from corrupt

    async def move(self, world: World, move: Move) -> None:
        """Write a TenantRun's status; create the TenantRun where it is missing, and keep its labels true."""
        tenant = world.tenants[move.tenant]
        stored = tenant.run
        if stored is not None and stored.upgrade_uid != world.upgrade.uid:
            await self._delete(stored)
            stored = None
        if stored is None:
            stored = await self._create(world, move)
        elif (stored.status.run, stored.status.wave) != (move.status.run, move.status.wave):
            patch = {"metadata": {"labels": labels_of(world.upgrade.name, move.tenant, move.status)}}
            reply = await self._cluster.merge_patch(
                TENANT_RUN, self._store.namespace, stored.name, patch, resource_version=stored.resource_version
            )
            stored = StoredRun(
                stored.name, stored.uid, str(reply["metadata"]["resourceVersion"]), stored.upgrade, stored.upgrade_uid, stored.status
            )
        await RunHandle(self._cluster, self._store.namespace, stored).save(move.status)

    async def _delete(self, stored: StoredRun) -> None:
        """Remove the TenantRun of an earlier upgrade of the same name; the planner only asks for it when that run has let the tenant go."""
        try:
            await self._cluster.delete(
                TENANT_RUN, self._store.namespace, stored.name, uid=stored.uid, resource_version=stored.resource_version
            )
        except NotFound:
            return

    async def _create(self, world: World, move: Move) -> StoredRun:
        name = tenant_run_name(world.upgrade.name, move.tenant)
        product = (world.planned_spec or world.upgrade.spec).release.product  # type: ignore[union-attr]
        spec = TenantRunSpec(upgrade=world.upgrade.name, upgrade_uid=world.upgrade.uid, tenant=move.tenant, product=product)
        metadata = {
            "name": name,
            "namespace": self._store.namespace,
            "labels": labels_of(world.upgrade.name, move.tenant, move.status),
            "annotations": IGNORED_BY_ARGO,
        }
        body = {"apiVersion": TENANT_RUN.api_version, "kind": TENANT_RUN.name, "metadata": metadata, "spec": spec.document()}
        reply = await self._cluster.create(TENANT_RUN, body)
        made = reply["metadata"]
        return StoredRun(name, made["uid"], made["resourceVersion"], world.upgrade.name, world.upgrade.uid, TenantRunStatus())


def labels_of(upgrade: str, tenant: str, status: TenantRunStatus) -> dict[str, str]:
    """Return the labels of a TenantRun."""
    return {UPGRADE_LABEL: upgrade, TENANT_LABEL: tenant, RUN_LABEL: status.run, WAVE_LABEL: status.wave}
