"""What one piece of work in one tenant has at hand."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any

from tenantwave.api.conditions import FailReason
from tenantwave.api.kinds import CONFIG_MAP, JOB, NAMESPACE, SECRET, Kind
from tenantwave.api.meta import ObjectRef
from tenantwave.api.policy import TenantFailure
from tenantwave.api.tenant_run import TenantRunStatus
from tenantwave.api.upgrade import Component, SecretHandling, TenantUpgradeSpec
from tenantwave.core.config_versions import referred_target, target_of
from tenantwave.core.hooks import converging_since
from tenantwave.core.journal import RunRecord
from tenantwave.core.plan import Step
from tenantwave.core.preservation import Rules, Subject
from tenantwave.core.world import Tenant, World
from tenantwave.engine.tenant.documents import AnyDocument, ConfigDocument, Values, WorkloadDocument
from tenantwave.engine.tenant.failure import NamespaceGone
from tenantwave.engine.tenant.intents import Ledger, marker_of
from tenantwave.engine.tenant.jobs import JobDocument
from tenantwave.engine.tenant.locks import TenantLock
from tenantwave.engine.tenant.records import Records
from tenantwave.engine.tenant.run_handle import RunHandle
from tenantwave.engine.tenant.seals import Seals
from tenantwave.engine.tenant.secret_document import SecretDocument
from tenantwave.faults import NotFound
from tenantwave.ports import Clock, Cluster, Driver, Snapshots

WORKLOAD = "workload"
"""The name of the driver for the kinds that Kubernetes brings, as `components[].workload` has it."""


@dataclass(frozen=True, slots=True)
class Ports:
    """The outside, as the work in a tenant needs it, one for each process. `namespace` is the operator's own."""

    cluster: Cluster
    snapshots: Snapshots
    drivers: Mapping[str, Driver]
    clock: Clock
    seals: Seals
    namespace: str
    moved_locks: set[str] = field(default_factory=set)
    """See `TenantLock`."""


@dataclass(frozen=True, slots=True)
class Work:
    """One step in one tenant: what is asked for, what the run was planned with, and the journal that guards every write."""

    ports: Ports
    step: Step
    tenant: Tenant
    spec: TenantUpgradeSpec
    run: RunRecord
    takes_back: bool
    is_shaken: bool
    """The API server came back a moment ago: what it refuses now it may allow in a second."""
    seen_since: datetime | None
    """Since when we see the cluster without a break: no clock runs while nobody looks."""
    converge_deadline: datetime | None
    handle: RunHandle
    ledger: Ledger
    lock: TenantLock
    records: Records

    @classmethod
    def begin(cls, ports: Ports, step: Step, world: World) -> Work | None:
        """Return the work, or None where the world lacks what it needs: then a later look will have it."""
        tenant = world.tenants.get(step.tenant)
        spec = world.planned_spec or world.upgrade.spec
        if tenant is None or tenant.run is None or spec is None or world.journal is None:
            return None
        handle = RunHandle(ports.cluster, ports.namespace, tenant.run)
        uid = tenant.run.status.namespace_uid or tenant.uid
        return cls(
            ports=ports,
            step=step,
            tenant=tenant,
            spec=spec,
            run=world.journal.run,
            takes_back=_takes_back(world),
            is_shaken=world.shaken_until is not None and ports.clock.now() < world.shaken_until,
            seen_since=world.seen_since,
            converge_deadline=_converge_deadline(world, tenant.run.status),
            handle=handle,
            ledger=Ledger(ports.cluster, ports.snapshots, handle, lambda: check_namespace(ports.cluster, tenant.name, uid)),
            lock=TenantLock(ports.cluster, ports.namespace, tenant.name, uid, handle.name, handle.uid, ports.moved_locks),
            records=Records(ports.cluster, ports.namespace),
        )

    @property
    def status(self) -> TenantRunStatus:
        """Return the TenantRun's status as it is staged."""
        return self.handle.status

    @property
    def namespace(self) -> str:
        """Return the tenant's namespace."""
        return self.tenant.name

    @property
    def namespace_uid(self) -> str:
        """Return the UID of the namespace that this run is about."""
        return self.status.namespace_uid or self.tenant.uid

    @property
    def upgrade(self) -> str:
        """Return the TenantUpgrade's name."""
        return self.tenant.run.upgrade if self.tenant.run is not None else ""

    @property
    def product(self) -> str:
        """Return the product."""
        return self.spec.release.product

    @property
    def version(self) -> str:
        """Return the version that the release asks for."""
        return self.spec.release.version

    @property
    def seals(self) -> Seals:
        """Return where the key of keyed digests comes from."""
        return self.ports.seals

    def now(self) -> datetime:
        """Return the present instant."""
        return self.ports.clock.now()

    async def fence(self) -> None:
        """Move the TenantRun before the first effect that no intent announces: whoever decided on an older one fails here. Raises Conflict."""
        self.handle.stage(epoch=self.status.epoch + 1)
        await self.handle.save()

    def driver_of(self, component: Component) -> Driver:
        """Return the driver of a component. The planner has refused the components that no driver of this build knows."""
        kind = next(name for name in self.ports.drivers if getattr(component, _attribute(name), None) is not None)
        return self.ports.drivers[kind]

    def config(self, name: str) -> ConfigDocument:
        """Return one of the tenant's ConfigMaps as a document."""
        release = self.spec.release
        base = f"{release.product} {self.status.from_version or '(unknown version)'}"
        target = target_of(name, {one.target for one in self.run.catalogue}) or name
        subject = Subject(target, release.version, base)
        return ConfigDocument(self.namespace, name, Rules.of(self.spec.preservation), subject, target if target != name else "")

    def workload(
        self, component: Component, live: Mapping[str, Any], names: Mapping[str, frozenset[str]] | None = None
    ) -> WorkloadDocument:
        """Return one object of a component as a document of the fields that a release sets. Args: names: see `WorkloadDocument`."""
        driver = self.driver_of(component)
        paths = {*driver.values(component, self.namespace, self.version, live), driver.config_digest_field(live)} - {""}
        name, kind = live["metadata"]["name"], driver.kind(component)
        return WorkloadDocument(self.namespace, name, kind, driver, tuple(sorted(paths)), names or {})

    async def named(self, ref: ObjectRef) -> AnyDocument:
        """Return an object of the journal by its name alone: enough for its marker. Nothing that was saved is read."""
        if ref.kind == CONFIG_MAP.name:
            return self.config(ref.name)
        if ref.kind == SECRET.name:
            return SecretDocument(self.namespace, ref.name, await self.seals.seal())
        if ref.kind == JOB.name:
            return JobDocument(self.namespace, ref.name)
        driver, kind = self._driver_for(ref)
        return WorkloadDocument(self.namespace, ref.name, kind, driver, ())

    async def written(self, ref: ObjectRef) -> AnyDocument:
        """Return an object of the journal as a document, whatever the spec says by now: its paths are those that the journal names.

        Raises: SnapshotCorrupt where what was saved is gone.
        """
        document = await self.named(ref)
        if not isinstance(document, WorkloadDocument):
            return document
        stood: dict[str, set[str]] = {}
        for intent in self.ledger.of(ref):
            for digest in (intent.before, intent.after):
                part: Values | None = await self.ledger.part(document, digest)
                for path, value in (part or {}).items():
                    stood.setdefault(path, set()).add(value)
        names = {path: frozenset(values - {""}) for path, values in stood.items() if referred_target(path)}
        return replace(document, paths=tuple(sorted(stood)), names=names)

    async def settle(self, document: AnyDocument, by_order: bool | None = None) -> None:
        """Find out what became of open writes to one object (see `Ledger.settle`)."""
        await self.ledger.settle(document, await self.ledger.get(document), by_order=by_order)

    async def end(self, status: TenantRunStatus) -> None:
        """Write the status that a turn ends with. The writes of this step are in our hands alone: an `outcome` was made before them."""
        ours = self.status
        kept: dict[str, object] = {"epoch": ours.epoch, "secrets": ours.secrets}
        kept |= {"intents": ours.intents, "last_seq": ours.last_seq, "written": ours.written}
        kept |= {"settled": ours.settled, "settled_count": ours.settled_count, "notes": ours.notes}
        await self.handle.save(status.model_copy(update=kept))

    async def check_namespace(self) -> None:
        """Raise NamespaceGone unless the tenant's namespace is the one that the run is about, and stays."""
        await check_namespace(self.ports.cluster, self.namespace, self.namespace_uid)

    async def is_marked(self, run_uid: str) -> bool:
        """Tell whether any object of the tenant carries the marker of a TenantRun."""
        kinds = {CONFIG_MAP, JOB, *(kind for driver in self.ports.drivers.values() for kind in driver.kinds())}
        if self.spec.preservation.secrets is SecretHandling.SNAPSHOT:
            kinds.add(SECRET)
        for kind in sorted(kinds, key=lambda kind: kind.name):
            found, _ = await self.ports.cluster.list(kind, self.namespace)
            if any(marker_of(raw).startswith(f"{run_uid}/") for raw in found):
                return True
        return False

    def _driver_for(self, ref: ObjectRef) -> tuple[Driver, Kind]:
        for driver in self.ports.drivers.values():
            for kind in driver.kinds():
                if (kind.api_version, kind.name) == (ref.api_version, ref.kind):
                    return driver, kind
        raise ValueError(f"no driver of this build writes {ref.kind} {ref.name}")


async def check_namespace(cluster: Cluster, name: str, uid: str) -> None:
    """Raise NamespaceGone unless the namespace of this name is the one with this UID, and stays."""
    try:
        namespace = await cluster.get(NAMESPACE, "", name)
    except NotFound as error:
        raise NamespaceGone(FailReason.DELETED, f"namespace {name} is gone") from error
    if namespace["metadata"].get("uid") != uid:
        raise NamespaceGone(FailReason.RECREATED, f"namespace {name} was deleted and made again")
    if namespace["metadata"].get("deletionTimestamp"):
        raise NamespaceGone(FailReason.DELETED, f"namespace {name} is being deleted")


def _converge_deadline(world: World, status: TenantRunStatus) -> datetime | None:
    """Return until when the component may converge. Time in which we did not see the cluster does not count."""
    spec = world.upgrade.spec or world.planned_spec
    begun = converging_since(status)
    if begun is None or spec is None:
        return None
    since = max(begun, world.seen_since) if world.seen_since is not None else begun
    return since + spec.health.timeout


def _takes_back(world: World) -> bool:
    policy = world.planned_policy or world.policy
    return policy is None or policy.spec is None or policy.spec.on_failure.tenant is TenantFailure.ROLLBACK


def _attribute(driver: str) -> str:
    """Return a driver's block in a component as Python has it: `helmRelease` is `helm_release`."""
    return "".join(f"_{letter.lower()}" if letter.isupper() else letter for letter in driver)
