"""The lock of one tenant: a Lease in our namespace, named by the namespace's UID, held by a TenantRun, without expiry.

An expiring lock would admit a second upgrade onto a half-upgraded tenant. It is broken only where its holder has nothing more to write, by
a handshake of two: who breaks it announces that on the Lease, and only then looks at the holder's TenantRun; the holder moves its TenantRun,
and only then looks at the Lease. The API server puts these four in one order, so at least one of the two sees the other:

- the breaker's look at the TenantRun comes after the holder's move: it finds the holder at work, and waits (`Busy`);
- else the holder's look at the Lease comes after the announcement: it takes the announcement off, which moves the Lease's resourceVersion, so
  that the delete of the breaker fails (`Conflict`), or it finds the Lease gone, and asks for it anew.

A release may come late, too, when another process has taken the run over and works under the lock. So whoever takes over a lock that another
process made moves the Lease; and who is to release looks at the Lease first, and only then moves the TenantRun (`Work.fence`), which fails where
it was taken over before. Was it taken over since, then the delete was sent for an older Lease, and fails.

The sweep of our namespace breaks what nobody asks for by the same handshake, with a day between announcement and look.

So no run writes under a lock that was broken, and `apply` need not look at the Lease before each write: what it writes is announced by a CAS
on the TenantRun (`Ledger`), and a TenantRun with an announced write is `written`, which no breaker passes.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from contextlib import suppress
from typing import Any

from tenantwave.api.kinds import INTENT_ANNOTATION, LEASE, ROLE_LABEL, TENANT_LABEL, TENANT_RUN
from tenantwave.api.tenant_run import TenantState
from tenantwave.core.retention import MARK_ANNOTATION
from tenantwave.engine.tenant.failure import Busy
from tenantwave.faults import AlreadyExists, Fault, NotFound
from tenantwave.ports import Cluster

HOLDER_ANNOTATION = "tenantwave.io/holder"
"""The name of the TenantRun that `holderIdentity` names by UID."""

BREAKER_ANNOTATION = "tenantwave.io/breaker"
"""UID of the TenantRun that is about to break the lock; `SWEEP` where the sweep of our namespace is (`Retention`)."""

LOCK_ROLE = "lock"
SWEEP = "retention"

_THROUGH = frozenset({TenantState.SUCCEEDED, TenantState.ROLLED_BACK, TenantState.SKIPPED, TenantState.ORPHANED})
_IDLE = frozenset({TenantState.QUEUED, TenantState.WAITING, TenantState.HELD})
"""Through as long as nothing is written: what goes on from here moves the TenantRun first, and then asks for the lock."""


class TenantLock:
    """The lock of one namespace UID, as one TenantRun sees it."""

    def __init__(
        self, cluster: Cluster, namespace: str, tenant: str, tenant_uid: str, run: str, run_uid: str, moved: set[str] | None = None
    ) -> None:
        """Make it. Args: moved: UIDs of the Leases that this process has made or taken over, and has not sent a delete for; shared by its turns."""
        self._cluster = cluster
        self._namespace = namespace
        self._tenant = tenant
        self._run = run
        self._run_uid = run_uid
        self._moved = moved if moved is not None else set()
        self.name = f"tenant-{tenant_uid}"
        self._ours: dict[str, Any] | None = None
        self._has_looked = False
        self._wanted = False

    async def is_ours(self) -> bool:
        """Tell whether we have the lock, and keep it: a breaker that has announced itself meanwhile fails, and so does a late release.

        Raises: Conflict or NotFound where the other was faster: look again.
        """
        self._ours = await self._our_lease()
        if self._ours is not None and (breaker_of(self._ours) or _uid(self._ours) not in self._moved):
            self._keep(await self._cluster.replace(LEASE, _taken_over(self._ours)))
        return self._ours is not None

    async def take(self, is_marked: Callable[[str], Awaitable[bool]]) -> None:
        """Take the lock, or find that we have it.

        Args: is_marked: tells whether any object of the tenant carries the marker of the TenantRun with this UID.
        Raises: Busy, naming the run that has the tenant; Conflict if somebody was faster.
        """
        self._wanted = True
        try:
            self._keep(await self._cluster.create(LEASE, self._lease()))
        except AlreadyExists:
            if await self.is_ours():
                return
            lease = await self._stored_lease()
            if lease is not None:
                await self._break(lease, is_marked)
            self._keep(await self._cluster.create(LEASE, self._lease()))

    async def look(self) -> None:
        """See whether there is a lock of ours to release; to be done before the TenantRun is moved for it."""
        if not self._has_looked:
            self._ours = await self._our_lease()

    async def release(self) -> None:
        """Give the lock back, if we had it when we looked. Raises Conflict where another process of the run works under it since."""
        await self.look()
        if self._ours is not None:
            await self._delete(self._ours)
            self._ours = None

    async def abandon(self) -> None:
        """Give back a lock that we took too late: the run is through with the tenant already, for another process was faster.

        It is broken like anybody else's, for a later turn of the run may be asking for it. What fails here is let be: the lock of a run that is
        through goes to whoever asks for the tenant next.
        """
        if not self._wanted:
            return
        with suppress(Fault):
            lease = await self._our_lease()
            if lease is None or not await self._are_we_through():
                return
            lease = await self._announce(lease)
            if await self._are_we_through():
                await self._delete(lease)
                self._ours = None

    async def _are_we_through(self) -> bool:
        run = await self._stored_run(self._run)
        return run is not None and run["metadata"]["uid"] == self._run_uid and is_through(run)

    def _keep(self, lease: dict[str, Any]) -> None:
        self._ours, self._has_looked = lease, True
        self._moved.add(_uid(lease))

    async def _our_lease(self) -> dict[str, Any] | None:
        lease = await self._stored_lease()
        self._has_looked = True
        return lease if lease is not None and holder_of(lease) == self._run_uid else None

    async def _stored_lease(self) -> dict[str, Any] | None:
        try:
            return await self._cluster.get(LEASE, self._namespace, self.name)
        except NotFound:
            return None

    async def _break(self, lease: dict[str, Any], is_marked: Callable[[str], Awaitable[bool]]) -> None:
        """Take the lock away from a run that is through with the tenant. Raises Busy; Conflict where the holder asks for it meanwhile."""
        await self._refuse_busy(lease, is_marked)  # most often it is; then nothing is announced
        lease = await self._announce(lease)
        await self._refuse_busy(lease, is_marked)
        await self._delete(lease)

    async def _announce(self, lease: dict[str, Any]) -> dict[str, Any]:
        """Say on the Lease that we are about to break it. One that we announced before says so still, unless its holder came in between."""
        return lease if breaker_of(lease) == self._run_uid else await self._cluster.replace(LEASE, _announced(lease, self._run_uid))

    async def _refuse_busy(self, lease: Mapping[str, Any], is_marked: Callable[[str], Awaitable[bool]]) -> None:
        """Raise Busy unless the holder is through, or its TenantRun is gone and has left no marker in the tenant."""
        holder = holder_of(lease)
        name = str((lease["metadata"].get("annotations") or {}).get(HOLDER_ANNOTATION, ""))
        run = await self._stored_run(name)
        if run is not None and run["metadata"]["uid"] == holder:
            if not is_through(run):
                raise Busy(f"{name} has {self._tenant}; wait for it, or settle it")
        elif await is_marked(holder):
            text = f"{name or holder} has {self._tenant}, and is gone: objects there carry its marker {INTENT_ANNOTATION}"
            raise Busy(f"{text}; check what it left, and take the annotation off")

    async def _stored_run(self, name: str) -> dict[str, Any] | None:
        try:
            return await self._cluster.get(TENANT_RUN, self._namespace, name) if name else None
        except NotFound:
            return None

    async def _delete(self, lease: dict[str, Any]) -> None:
        metadata = lease["metadata"]
        self._moved.discard(_uid(lease))  # should the answer be lost, the delete may still be on its way
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
                "labels": {ROLE_LABEL: LOCK_ROLE, TENANT_LABEL: self._tenant},
                "annotations": {HOLDER_ANNOTATION: self._run},
            },
            "spec": {"holderIdentity": self._run_uid},
        }


def holder_of(lease: Mapping[str, Any]) -> str:
    """Return the UID of the TenantRun that has the lock."""
    return str((lease.get("spec") or {}).get("holderIdentity", ""))


def breaker_of(lease: Mapping[str, Any]) -> str:
    """Return who has announced that it will break the lock, '' for nobody."""
    return str((lease["metadata"].get("annotations") or {}).get(BREAKER_ANNOTATION, ""))


def _uid(lease: Mapping[str, Any]) -> str:
    return str(lease["metadata"]["uid"])


def _taken_over(lease: Mapping[str, Any]) -> dict[str, Any]:
    """Return the Lease as whoever goes on under it writes it: moved, and with nobody about to break it."""
    spec = dict(lease.get("spec") or {})
    return _announced(lease, "") | {"spec": spec | {"leaseTransitions": int(spec.get("leaseTransitions") or 0) + 1}}


def _announced(lease: Mapping[str, Any], breaker: str) -> dict[str, Any]:
    """Return the Lease with this breaker announced on it, '' for none. The mark of a sweep goes with its announcement."""
    old = lease["metadata"].get("annotations") or {}
    annotations = {key: value for key, value in old.items() if key not in (BREAKER_ANNOTATION, MARK_ANNOTATION)}
    announced = annotations | ({BREAKER_ANNOTATION: breaker} if breaker else {})
    return dict(lease) | {"metadata": dict(lease["metadata"]) | {"annotations": announced}}


def is_through(run: Mapping[str, Any]) -> bool:
    """Tell whether a TenantRun has nothing more to write in its tenant: its lock may go."""
    status: Mapping[str, Any] = run.get("status") or {}
    return status.get("state") in _THROUGH or (status.get("state") in _IDLE and not status.get("written"))
