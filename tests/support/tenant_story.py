"""One tenant's turn, played from the first step to the last against the fake API server: what the planner would order, without the planner."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from fakes import CrashNow, FakeClock, FakeCluster, Late, Request
from tenantwave.adapters.drivers.workload import WorkloadDriver
from tenantwave.adapters.snapshots import SecretSnapshots
from tenantwave.api.conditions import FailReason
from tenantwave.api.kinds import CONFIG_MAP, DEPLOYMENT, INTENT_ANNOTATION, JOB, NAMESPACE, TENANT_RUN, UPGRADE_LABEL, WORKLOAD_KINDS
from tenantwave.api.tenant_run import TenantRunStatus, TenantState
from tenantwave.api.upgrade import TenantUpgradeSpec
from tenantwave.core import blobs, tenant_run
from tenantwave.core.gates import GateBook
from tenantwave.core.hooks import view_of
from tenantwave.core.journal import CatalogueRef, Journal, RunRecord
from tenantwave.core.plan import Deed, Step
from tenantwave.core.preservation import content_of
from tenantwave.core.world import Catalogue, StoredRun, Tenant, Upgrade, VersionRecord, World
from tenantwave.engine.tenant import TenantSteps
from tenantwave.engine.tenant.records import record_name, version_record
from tenantwave.faults import Fault

OWN = "tenantwave-system"
ACME = "acme"
S = TenantState
DEED_OF = {
    S.PREFLIGHT: Deed.PREPARE,
    S.APPLYING: Deed.APPLY,
    S.CONVERGING: Deed.CONFIRM,
    S.SOAKING: Deed.FINALISE,
    S.ROLLING_BACK: Deed.TAKE_BACK,
}

OLD = {
    "app-config": {"log.level": "info", "db.pool": "10", "old.flag": "true", "app.yaml": "db:\n  pool: 10\n  host: a\n"},
    "worker-config": {"threads": "2"},
}
NEW = {
    "app-config": {"log.level": "info", "db.pool": "20", "new.flag": "on", "app.yaml": "db:\n  pool: 20\n  host: a\n"},
    "worker-config": {"threads": "4"},
    "extra-config": {"added": "yes"},
}


def a_spec(**changes: Any) -> TenantUpgradeSpec:
    """A TenantUpgrade of two Deployments."""
    document = {
        "policyRef": {"name": "standard"},
        "tenantSelector": {"matchLabels": {"tenantwave.io/product-shop": "true"}},
        "release": {"product": "shop", "version": "2.4.0", "assumedVersion": "2.3.1"},
        "components": [
            {"name": name, "workload": {"kind": "Deployment", "name": name, "containers": [{"name": name, "image": f"shop/{name}:2.4.0"}]}}
            for name in ("api", "worker")
        ],
    }
    return TenantUpgradeSpec.model_validate(document | changes)


def a_deployment(name: str, config_map: str, version: str = "2.3.1", namespace: str = ACME) -> dict[str, Any]:
    """A Deployment that mounts a ConfigMap."""
    return {
        "metadata": {"name": name, "namespace": namespace, "labels": {"app": name}},
        "spec": {
            "replicas": 1,
            "selector": {"matchLabels": {"app": name}},
            "template": {
                "metadata": {"labels": {"app": name}},
                "spec": {
                    "containers": [{"name": name, "image": f"shop/{name}:{version}"}, {"name": "sidecar", "image": "proxy:1"}],
                    "volumes": [{"name": "config", "configMap": {"name": config_map}}],
                },
            },
        },
    }


def make_optional(story: Story, name: str) -> None:
    """Let the pods of a Deployment start without the ConfigMaps that they mount."""
    pod_spec = story.cluster.see(DEPLOYMENT, ACME, name)["spec"]["template"]["spec"]
    volumes = [{**one, "configMap": {**one["configMap"], "optional": True}} for one in pod_spec["volumes"]]
    story.cluster.edit(DEPLOYMENT, ACME, name, {"spec": {"template": {"spec": {"volumes": volumes}}}})


def world_of(
    raw: Mapping[str, Any], name: str, spec: TenantUpgradeSpec, catalogue: tuple[CatalogueRef, ...], record: VersionRecord | None
) -> World:
    """Return what the planner sees of an upgrade with one tenant, given its TenantRun."""
    metadata, status = raw["metadata"], TenantRunStatus.model_validate(raw.get("status", {}))
    stored = StoredRun(metadata["name"], metadata["uid"], metadata["resourceVersion"], "shop", "x", status)
    tenant = Tenant(name=name, uid=status.namespace_uid, labels={}, selected=True, record=record, run=stored)
    epoch = datetime(2026, 1, 1, tzinfo=UTC)
    run = RunRecord(id="shop-x-1-a1", generation=1, attempt=1, spec_digest="sha256:0", start_time=epoch, catalogue=catalogue)
    return World(
        upgrade=Upgrade("shop", "x", 1, epoch, spec),
        journal=Journal(upgrade="shop", upgrade_uid="x", run=run),
        policy=None,
        planned_policy=None,
        planned_spec=spec,
        tenants={name: tenant},
        catalogue=Catalogue(),
        gates=GateBook(),
    )


def _is_workload(plural: str, namespace: str) -> bool:
    return namespace == ACME and plural in {kind.plural for kind in WORKLOAD_KINDS.values()}


LATER = timedelta(seconds=5)
"""When a step that found nothing to do is tried again."""


@dataclass
class Story:
    """A tenant `acme` with two Deployments on 2.3.1, and an upgrade to 2.4.0 that has begun."""

    spec: TenantUpgradeSpec = field(default_factory=a_spec)
    cluster: FakeCluster = field(default_factory=FakeCluster)
    clock: FakeClock = field(default_factory=FakeClock)
    old: Mapping[str, Mapping[str, str]] = field(default_factory=lambda: OLD)
    new: Mapping[str, Mapping[str, str]] = field(default_factory=lambda: NEW)
    live: Mapping[str, Mapping[str, str]] | None = None
    removed: tuple[str, ...] = ()
    broken: Callable[[str], bool] = lambda image: False
    catalogue: tuple[CatalogueRef, ...] = ()
    steps: TenantSteps = field(init=False)

    async def begin(self) -> Story:
        """Put everything into the cluster."""
        self.cluster.put(NAMESPACE, {"metadata": {"name": ACME}})
        for name, data in (self.live if self.live is not None else self.old).items():
            self.cluster.put(CONFIG_MAP, {"metadata": {"name": name, "namespace": ACME}, "data": dict(data)})
        self.cluster.put(DEPLOYMENT, a_deployment("api", "app-config"))
        self.cluster.put(DEPLOYMENT, a_deployment("worker", "worker-config"))
        self.cluster.play()
        self.restart()
        saver = SecretSnapshots(self.cluster, OWN)
        refs = []
        for version, catalogue in (("2.3.1", self.old), ("2.4.0", self.new)):
            for target, data in catalogue.items():
                saved = await saver.save(blobs.content_blob(content_of({"data": dict(data)})))
                refs.append(CatalogueRef(version=version, target=target, digest=saved.digest))
        refs += [CatalogueRef(version="2.4.0", target=target, removed=True) for target in self.removed]
        self.catalogue = tuple(refs)
        status = TenantRunStatus(
            state=S.PREFLIGHT,
            run="shop-x-1-a1",
            wave="canary",
            attempt=1,
            namespace_uid=self.cluster.see(NAMESPACE, "", ACME)["metadata"]["uid"],
            from_version="2.3.1",
            to_version="2.4.0",
            state_since_time=self.clock.now(),
        )
        run = {"metadata": {"name": f"shop.{ACME}", "namespace": OWN}, "status": status.document()}
        self.cluster.put(TENANT_RUN, run)
        self.cluster.writes.clear()
        self.cluster.requests.clear()
        return self

    def restart(self) -> None:
        """Let a new process take over."""
        drivers = {"workload": WorkloadDriver()}
        self.steps = TenantSteps(self.cluster, SecretSnapshots(self.cluster, OWN), drivers, self.clock, OWN)

    async def die_sending(self, is_sent: Callable[[Request], bool]) -> None:
        """Die with the first such request on its way, and let a new process take over. The request arrives when somebody delivers it."""

        def send(number: int, request: Request) -> None:
            if is_sent(request):
                raise Late(CrashNow())

        self.cluster.before = send
        with pytest.raises(CrashNow):
            await self.step()
        self.cluster.before = lambda number, request: None
        self.restart()

    @property
    def status(self) -> TenantRunStatus:
        """Return the TenantRun's status."""
        return TenantRunStatus.model_validate(self.cluster.see(TENANT_RUN, OWN, f"shop.{ACME}").get("status", {}))

    def set_status(self, status: TenantRunStatus) -> None:
        """Move the TenantRun as the planner does."""
        self.cluster.edit(TENANT_RUN, OWN, f"shop.{ACME}", {"status": None})
        self.cluster.edit(TENANT_RUN, OWN, f"shop.{ACME}", {"status": status.document()})

    def world(self) -> World:
        """Return what the planner sees."""
        world = world_of(self.cluster.see(TENANT_RUN, OWN, f"shop.{ACME}"), ACME, self.spec, self.catalogue, self.record())
        jobs = [
            view_of(body)
            for (plural, namespace, _), body in self.cluster.objects.items()
            if (plural, namespace) == (JOB.plural, ACME) and UPGRADE_LABEL in (body["metadata"].get("labels") or {})
        ]
        used = (
            WorkloadDriver().references(body)
            for (plural, namespace, _), body in self.cluster.objects.items()
            if _is_workload(plural, namespace)
        )
        tenant = replace(world.tenants[ACME], hook_jobs={job.name: job for job in jobs}, config_maps=frozenset().union(*used))
        return replace(world, tenants={ACME: tenant})

    def record(self) -> VersionRecord | None:
        """Return the version record."""
        key = (CONFIG_MAP.plural, OWN, record_name("shop", self.status.namespace_uid))
        return version_record(self.cluster.objects[key]) if key in self.cluster.objects else None

    async def step(self, deed: Deed | None = None, **more: Any) -> None:
        """Do what the state asks for, once. Faults mean: look again."""
        state = self.status.state
        assert state is not None
        self.cluster.play(self.broken)
        is_moved = await self.steps.execute(Step(ACME, deed or DEED_OF[state], **more), self.world())
        if not is_moved and state is S.ROLLING_BACK:
            self.clock.forward(LATER)  # nothing to do yet

    async def run(self, until: TenantState, turns: int = 40, **more: Any) -> None:
        """Step on until the state is reached, restarting the process whenever it dies."""
        for _ in range(turns):
            if self.status.state is until or self.status.state not in DEED_OF:
                break
            try:
                await self.step(**more)
            except CrashNow:
                self.restart()
            except Fault:
                continue
        assert self.status.state is until, f"{self.status.state}: {self.status.reason}: {self.status.message}"

    async def run_until_death(self, turns: int = 40) -> None:
        """Step on until the process dies. Raises CrashNow."""
        for _ in range(turns):
            with suppress(Fault):
                await self.step()

    async def run_to_rest(self, turns: int = 40) -> None:
        """Step on, restarting the process whenever it dies, until the tenant soaks or its turn is over."""
        for _ in range(turns):
            if self.status.state not in DEED_OF or self.status.state is S.SOAKING:
                return
            try:
                await self.step()
            except CrashNow:
                self.restart()
            except Fault:
                continue
        raise AssertionError(f"no rest: {self.status.state}: {self.status.reason}: {self.status.message}")

    async def release(
        self,
        version: str,
        data: Mapping[str, Mapping[str, str]],
        *,
        immutable: bool | None = None,
        labels: Mapping[str, str] | None = None,
    ) -> None:
        """Begin the upgrade to another version: its catalogue entries are added, and the tenant is in preflight, in a run of its own."""
        saver, status = SecretSnapshots(self.cluster, OWN), self.status
        kept = [one for one in self.catalogue if one.version != version]
        for target in sorted({one.target for one in kept} | data.keys()):
            if target not in data:
                kept.append(CatalogueRef(version=version, target=target, removed=True))
                continue
            entry = {"data": dict(data[target]), "immutable": immutable, "metadata": {"labels": dict(labels or {})}}
            saved = await saver.save(blobs.content_blob(content_of(entry)))
            kept.append(CatalogueRef(version=version, target=target, digest=saved.digest))
        self.catalogue = tuple(kept)
        record = self.record()
        document = self.spec.document()
        document["release"] = {"product": "shop", "version": version, "assumedVersion": "2.3.1"}
        for component in document["components"]:
            component["workload"]["containers"][0]["image"] = f"shop/{component['name']}:{version}"
        self.spec = TenantUpgradeSpec.model_validate(document)
        fresh = TenantRunStatus(
            state=S.PREFLIGHT,
            run=f"shop-x-{version}",
            wave="canary",
            attempt=1,
            namespace_uid=status.namespace_uid,
            from_version=record.version if record is not None else "2.3.1",
            to_version=version,
            state_since_time=self.clock.now(),
            last_seq=status.last_seq,
            epoch=status.epoch,
        )
        self.set_status(fresh)

    def references(self, name: str) -> frozenset[str]:
        """Return the ConfigMaps that a Deployment's pods use."""
        return WorkloadDriver().references(self.cluster.see(DEPLOYMENT, ACME, name))

    async def preview(self) -> None:
        """Look at a tenant that is held, as the planner orders it."""
        await self.step(Deed.PREVIEW)

    def order_back(self) -> None:
        """Order a rollback, as the planner does."""
        status = self.status
        if status.state is not S.ROLLING_BACK:
            self.set_status(tenant_run.going_back(status, FailReason.GATE_FAILED, "errors: 36 of 903", self.clock.now()))

    # What is there

    def data(self, name: str) -> dict[str, str]:
        """Return a ConfigMap's data."""
        return dict(self.cluster.see(CONFIG_MAP, ACME, name).get("data") or {})

    def image(self, name: str) -> str:
        """Return the image of a Deployment's first container."""
        image: str = self.cluster.see(DEPLOYMENT, ACME, name)["spec"]["template"]["spec"]["containers"][0]["image"]
        return image

    def tenant_objects(self) -> dict[str, Any]:
        """Return what the tenant has, without what differs from run to run."""
        return {
            f"{plural}/{name}": {
                "data": body.get("data"),
                "spec": body.get("spec"),
                "annotations": body["metadata"].get("annotations") or {},
                "labels": body["metadata"].get("labels") or {},
            }
            for (plural, namespace, name), body in sorted(self.cluster.objects.items())
            if namespace == ACME and plural in ("configmaps", "deployments")
        }

    def leftovers(self) -> list[str]:
        """Return markers and locks that are still there."""
        marked = [
            f"marker on {key}"
            for key, body in self.cluster.objects.items()
            if INTENT_ANNOTATION in (body["metadata"].get("annotations") or {})
        ]
        return marked + [f"lock {key}" for key in self.cluster.objects if key[0] == "leases"]
