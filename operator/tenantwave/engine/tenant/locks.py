"""The lock of one tenant: a Lease in our namespace, named by the namespace's UID, held by a TenantRun, without expiry.

An expiring lock would admit a second upgrade onto a half-upgraded tenant. It is broken only where its holder has nothing more to write.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from typing import Any

from tenantwave.api.kinds import LEASE, ROLE_LABEL, TENANT_LABEL, TENANT_RUN
from tenantwave.api.tenant_run import TenantState
from tenantwave.engine.tenant.failure import Busy
from tenantwave.faults import AlreadyExists, NotFound
from tenantwave.ports import Cluster

HOLDER_ANNOTATION = "tenantwave.io/holder"
"""The name of the TenantRun that `holderIdentity` names by UID."""

_THROUGH = frozenset({TenantState.SUCCEEDED, TenantState.ROLLED_BACK, TenantState.SKIPPED, TenantState.ORPHANED})


class TenantLock:
    """The lock of one namespace UID, as one TenantRun sees it."""

    def __init__(self, cluster: Cluster, namespace: str, tenant: str, tenant_uid: str, run: str, run_uid: str) -> None:
        self._cluster = cluster
        self._namespace = namespace
        self._tenant = tenant
        self._run = run
        self._run_uid = run_uid
        self.name = f"tenant-{tenant_uid}"
        self._ours: dict[str, Any] | None = None
        self._wanted = False

    async def is_ours(self) -> bool:
        """Tell whether we have the lock."""
        lease = await self._look()
        self._ours = lease if lease is not None and _holder(lease) == self._run_uid else None
        return self._ours is not None

    async def take(self, is_marked: Callable[[str], Awaitable[bool]]) -> None:
        """Take the lock, or find that we have it.

        Args: is_marked: tells whether any object of the tenant carries the marker of the TenantRun with this UID.
        Raises: Busy, naming the run that has the tenant; Conflict if somebody was faster.
        """
        self._wanted = True
        try:
            self._ours = await self._cluster.create(LEASE, self._lease())
        except AlreadyExists:
            if await self.is_ours():
                return
            lease = await self._look()
            if lease is not None:
                await self._break(lease, is_marked)
            self._ours = await self._cluster.create(LEASE, self._lease())

    async def release(self) -> None:
        """Give the lock back, if we have it."""
        if self._ours is None and not await self.is_ours():
            return
        if self._ours is not None:
            await self._delete(self._ours)
            self._ours = None

    async def abandon(self) -> None:
        """Give back a lock that we took too late: the run is through with the tenant already, for another process was faster.

        The Lease is looked at before the TenantRun: one that belongs to a later turn of the run is younger than what we see, and stays.
        """
        if not self._wanted or not await self.is_ours():
            return
        lease, run = self._ours, await self._stored_run(self._run)
        if lease is not None and run is not None and run["metadata"]["uid"] == self._run_uid and _is_through(run):
            await self._delete(lease)
            self._ours = None

    async def _look(self) -> dict[str, Any] | None:
        try:
            return await self._cluster.get(LEASE, self._namespace, self.name)
        except NotFound:
            return None

    async def _break(self, lease: dict[str, Any], is_marked: Callable[[str], Awaitable[bool]]) -> None:
        """Take the lock away from a run that is through with the tenant. Raises Busy."""
        name = str((lease["metadata"].get("annotations") or {}).get(HOLDER_ANNOTATION, ""))
        if not await self._may_break(_holder(lease), name, is_marked):
            raise Busy(f"{name or _holder(lease)} has {self._tenant}; wait for it, or settle it")
        await self._delete(lease)

    async def _may_break(self, holder: str, name: str, is_marked: Callable[[str], Awaitable[bool]]) -> bool:
        run = await self._stored_run(name)
        if run is None or run["metadata"]["uid"] != holder:
            return not await is_marked(holder)
        return _is_through(run)

    async def _stored_run(self, name: str) -> dict[str, Any] | None:
        try:
            return await self._cluster.get(TENANT_RUN, self._namespace, name) if name else None
        except NotFound:
            return None

    async def _delete(self, lease: dict[str, Any]) -> None:
        metadata = lease["metadata"]
        try:
            await self._cluster.delete(LEASE, self._namespace, self.name, uid=metadata["uid"], resource_version=metadata["resourceVersion"])
        except NotFound:
            return

    def _lease(self) -> dict[str, Any]:
        return {
            "apiVersion": LEASE.api_version,
            "kind": LEASE.name,
            "metadata": {
                "name": self.name,
                "namespace": self._namespace,
                "labels": {ROLE_LABEL: "lock", TENANT_LABEL: self._tenant},
                "annotations": {HOLDER_ANNOTATION: self._run},
            },
            "spec": {"holderIdentity": self._run_uid},
        }


def _holder(lease: Mapping[str, Any]) -> str:
    return str((lease.get("spec") or {}).get("holderIdentity", ""))


def _is_through(run: Mapping[str, Any]) -> bool:
    """Tell whether a TenantRun has nothing more to write in its tenant."""
    status: Mapping[str, Any] = run.get("status") or {}
    return status.get("state") in _THROUGH or (status.get("state") == TenantState.HELD and not status.get("written"))
