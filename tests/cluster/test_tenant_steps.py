"""The steps inside a tenant on a real API server, with real controllers: one tenant or many, forwards and back, also dying at every write."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import pytest
from localcluster.client import KubeClient as AdminClient
from localcluster.cluster import LocalCluster

from fakes import CrashNow, FakeClock
from support.tenant_story import DEED_OF, a_spec, world_of
from support.workloads import config_map, cron_job, is_rolled_out, namespace, workload
from tenantwave.adapters.drivers.workload import WorkloadDriver
from tenantwave.adapters.kube.access import Access
from tenantwave.adapters.kube.client import KubeClient
from tenantwave.adapters.kube.transport import HttpTransport, Reply, Request
from tenantwave.adapters.snapshots import SecretSnapshots
from tenantwave.api.conditions import FailReason
from tenantwave.api.kinds import INTENT_ANNOTATION, TENANT_RUN
from tenantwave.api.tenant_run import TenantRunStatus, TenantState
from tenantwave.core import blobs, tenant_run
from tenantwave.core.journal import CatalogueRef
from tenantwave.core.plan import Deed, Step
from tenantwave.core.preservation import content_of
from tenantwave.core.world import VersionRecord, World
from tenantwave.engine.tenant import TenantSteps
from tenantwave.engine.tenant.records import record_name, version_record
from tenantwave.faults import Fault
from tenantwave.telemetry import Silent

OWN = "tenantwave-system"
S = TenantState
OLD = {"log.level": "info", "db.pool": "10", "app.yaml": "db:\n  pool: 10\n  host: a\n"}
NEW = {"log.level": "info", "db.pool": "20", "app.yaml": "db:\n  pool: 20\n  host: a\n", "new.flag": "on"}
EDITED = OLD | {"mine": "kept", "log.level": "debug"}


class Deadly:
    """A transport that lets the process die before or after one of its writes (dry-runs do not count)."""

    def __init__(self, inner: HttpTransport, fatal: int = 0, place: str = "after") -> None:
        self._inner = inner
        self._fatal = fatal
        self._place = place
        self.count = 0

    async def send(self, request: Request) -> Reply:
        """Pass a request on."""
        is_write = request.method != "GET" and "dryRun" not in request.query
        self.count += is_write
        dies = is_write and self.count == self._fatal
        if dies and self._place == "before":
            raise CrashNow
        reply = await self._inner.send(request)
        if dies:
            raise CrashNow
        return reply

    def stream(self, request: Request) -> Any:
        """Pass a stream on."""
        return self._inner.stream(request)


@dataclass
class House:
    """One tenant on the real cluster, and what the planner would tell about it."""

    admin: AdminClient
    transport: HttpTransport
    tenant: str
    spec: Any
    catalogue: tuple[CatalogueRef, ...] = ()
    deadly: Deadly | None = None

    async def begin(self, *workloads: dict[str, Any], data: dict[str, str]) -> House:
        """Put the tenant, the catalogue and the TenantRun there, and wait until everything is rolled out."""
        await self.admin.create(namespace(self.tenant))
        await self.admin.create(config_map("app-config", self.tenant, data))
        for body in workloads:
            await self.admin.create(body)
        for body in workloads:
            if body["kind"] != "CronJob":
                await self.admin.wait_until(body["kind"], body["metadata"]["name"], self.tenant, is_rolled_out)
        self.restart()
        saver = SecretSnapshots(self.cluster, OWN)
        digests = [(await saver.save(blobs.content_blob(content_of({"data": data})))).digest for data in (OLD, NEW)]
        versions = zip(("2.3.1", "2.4.0"), digests, strict=True)
        self.catalogue = tuple(CatalogueRef(version=version, target="app-config", digest=digest) for version, digest in versions)
        uid = (await self.admin.get("Namespace", self.tenant))["metadata"]["uid"]
        await self.admin.create(
            {
                "apiVersion": TENANT_RUN.api_version,
                "kind": "TenantRun",
                "metadata": {"name": self.run_name, "namespace": OWN},
                "spec": {"upgrade": "shop", "upgradeUID": "x", "tenant": self.tenant, "product": "shop"},
            }
        )
        await self.move(
            TenantRunStatus(
                state=S.PREFLIGHT,
                run="shop-x-1-a1",
                wave="canary",
                attempt=1,
                namespace_uid=uid,
                from_version="2.3.1",
                to_version="2.4.0",
                state_since_time=datetime.now(UTC),
            )
        )
        return self

    @property
    def run_name(self) -> str:
        """Return the TenantRun's name."""
        return f"shop.{self.tenant}"

    def restart(self, fatal: int = 0, place: str = "after") -> None:
        """Let a new process take over; it dies at its write `fatal`."""
        self.deadly = Deadly(self.transport, fatal, place)
        self.cluster = KubeClient(self.deadly, self.deadly, leading=lambda: True, telemetry=Silent(), writes_per_second=1000)
        clock = FakeClock(datetime.now(UTC))
        self.steps = TenantSteps(self.cluster, SecretSnapshots(self.cluster, OWN), {"workload": WorkloadDriver()}, clock, OWN)

    async def raw(self) -> dict[str, Any]:
        """Return the TenantRun."""
        return await self.admin.get("TenantRun", self.run_name, OWN)

    async def status(self) -> TenantRunStatus:
        """Return its status."""
        return TenantRunStatus.model_validate((await self.raw())["status"])

    async def move(self, status: TenantRunStatus) -> None:
        """Write the TenantRun's status as the planner does."""
        await self.admin.replace((await self.raw()) | {"status": status.document()}, subresource="status")

    async def record(self) -> VersionRecord | None:
        """Return the version record."""
        uid = (await self.status()).namespace_uid
        stored = await self.admin.find("ConfigMap", record_name("shop", uid), OWN)
        return None if stored is None else version_record(stored)

    async def world(self) -> World:
        """Return what the planner sees."""
        return world_of(await self.raw(), self.tenant, self.spec, self.catalogue, await self.record())

    async def run(self, until: TenantState, *, seconds: float = 60) -> TenantRunStatus:
        """Step on until the state is reached, as watch events would have it. A process that dies is replaced."""
        async with asyncio.timeout(seconds):
            while True:
                status = await self.status()
                if status.state is until or status.state not in DEED_OF:
                    break
                try:
                    await self.steps.execute(Step(self.tenant, DEED_OF[status.state]), await self.world())
                except CrashNow:
                    self.restart()
                except Fault:
                    await asyncio.sleep(0.1)
                if (await self.status()).state is status.state:
                    await asyncio.sleep(0.1)
        assert status.state is until, f"{status.state}: {status.reason}: {status.message}"
        return status

    async def order_back(self) -> None:
        """Order a rollback."""
        status = await self.status()
        if status.state not in (S.ROLLING_BACK, S.ROLLED_BACK):
            await self.move(tenant_run.going_back(status, FailReason.GATE_FAILED, "errors: 36 of 903", datetime.now(UTC)))

    async def data(self) -> dict[str, str]:
        """Return the data of app-config."""
        data: dict[str, str] = (await self.admin.get("ConfigMap", "app-config", self.tenant))["data"]
        return data

    async def edit(self, data: dict[str, str]) -> None:
        """Edit app-config as the tenant."""
        await self.admin.patch("ConfigMap", "app-config", self.tenant, {"data": data})

    async def leftovers(self) -> list[str]:
        """Return markers and locks that are still there."""
        found = [
            body for kind in ("ConfigMap", "Deployment", "StatefulSet", "CronJob") for body in await self.admin.list(kind, self.tenant)
        ]
        marked = [body["metadata"]["name"] for body in found if INTENT_ANNOTATION in body["metadata"].get("annotations", {})]
        uid = (await self.status()).namespace_uid
        return marked + [f"lock {uid}" for _ in range(await self.admin.find("Lease", f"tenant-{uid}", OWN) is not None)]


def a_deployment(tenant: str) -> dict[str, Any]:
    """A Deployment that mounts app-config."""
    volumes = [{"name": "config", "configMap": {"name": "app-config"}}]
    body = workload("Deployment", "api", tenant, image="shop/api:2.3.1")
    body["spec"]["template"]["spec"]["volumes"] = volumes
    return body


def of(kind: str, name: str, version: str = "2.4.0") -> dict[str, Any]:
    """A component of one workload."""
    return {"name": name, "workload": {"kind": kind, "name": name, "containers": [{"name": name, "image": f"shop/{name}:{version}"}]}}


@pytest.fixture
async def house(local_cluster: LocalCluster, kube: AdminClient, unique: Callable[[str], str]) -> AsyncIterator[Callable[..., House]]:
    """Make tenants whose steps go through the operator's own client."""
    async with HttpTransport(await Access.load(str(local_cluster.kubeconfig)), limit=32) as transport:

        def make(name: str, *components: dict[str, Any]) -> House:
            return House(kube, transport, unique(name), a_spec(components=list(components) or [of("Deployment", "api")]))

        yield make


async def test_an_upgrade_writes_each_workload_once_and_keeps_the_edits(house: Callable[..., House]) -> None:
    """Deployment, StatefulSet and CronJob; the server's schema takes every status on the way."""
    home = house("acme", of("Deployment", "api"), of("StatefulSet", "db"), of("CronJob", "nightly"))
    nightly = cron_job("nightly", home.tenant, image="shop/nightly:2.3.1")
    await home.begin(a_deployment(home.tenant), workload("StatefulSet", "db", home.tenant, image="shop/db:2.3.1"), nightly, data=EDITED)
    await home.run(S.SUCCEEDED)
    after = await home.admin.get("Deployment", "api", home.tenant)
    assert after["metadata"]["annotations"]["deployment.kubernetes.io/revision"] == "2"
    assert len(await home.admin.list("ReplicaSet", home.tenant)) == 2
    assert after["spec"]["template"]["spec"]["containers"][0]["image"] == "shop/api:2.4.0"
    job = (await home.admin.get("CronJob", "nightly", home.tenant))["spec"]["jobTemplate"]["spec"]["template"]["spec"]["containers"][0]
    assert job["image"] == "shop/nightly:2.4.0"
    assert await home.data() == NEW | {"mine": "kept", "log.level": "debug"}
    assert await home.leftovers() == []
    record = await home.record()
    assert record is not None
    assert record.version == "2.4.0"


async def test_an_edit_during_the_soak_survives_the_rollback(house: Callable[..., House]) -> None:
    """The release's own changes are gone, the pods run the old image again, and the pod template is as it was, byte for byte."""
    home = house("acme")
    await home.begin(a_deployment(home.tenant), data=EDITED)
    template = (await home.admin.get("Deployment", "api", home.tenant))["spec"]["template"]
    await home.run(S.SOAKING)
    await home.edit({"during.soak": "stays", "db.pool": "99"})
    await home.order_back()
    await home.run(S.ROLLED_BACK)
    assert await home.data() == EDITED | {"during.soak": "stays", "db.pool": "99"}
    restored = await home.admin.get("Deployment", "api", home.tenant)
    assert restored["spec"]["template"] == template
    assert is_rolled_out(restored)
    assert await home.leftovers() == []


async def test_a_stateful_set_that_hangs_on_a_bad_image_comes_back(house: Callable[..., House]) -> None:
    """The controller waits for the broken pod for ever; the rollback deletes it."""
    home = house("acme", of("StatefulSet", "db", "2.4.0-bad"))
    body = workload("StatefulSet", "db", home.tenant, image="shop/db:2.3.1", replicas=2, spec={"podManagementPolicy": "OrderedReady"})
    await home.begin(body, data=EDITED)
    await home.steps.execute(Step(home.tenant, Deed.PREPARE), await home.world())
    await home.steps.execute(Step(home.tenant, Deed.APPLY), await home.world())
    await home.admin.wait_until("Pod", "db-1", home.tenant, runs_bad_image)
    await home.order_back()
    await home.run(S.ROLLED_BACK)
    assert is_rolled_out(await home.admin.get("StatefulSet", "db", home.tenant))


async def test_a_conflict_is_shown_and_nothing_is_written(house: Callable[..., House]) -> None:
    """The objects keep their resourceVersions."""
    home = house("acme")
    await home.begin(a_deployment(home.tenant), data=OLD | {"db.pool": "12"})
    before = (await home.admin.get("ConfigMap", "app-config", home.tenant))["metadata"]["resourceVersion"]
    status = await home.run(S.HELD)
    assert (status.reason, [one.key for one in status.conflicts]) == (FailReason.CONFIG_CONFLICT, ["db.pool"])
    assert (await home.admin.get("ConfigMap", "app-config", home.tenant))["metadata"]["resourceVersion"] == before
    assert await home.leftovers() == []


async def test_what_argo_cd_applied_is_not_fought_over(house: Callable[..., House]) -> None:
    """managedFields as the server writes them for a server-side apply name the owner of the image."""
    home = house("acme")
    await home.begin(a_deployment(home.tenant), data=OLD)
    template = {"metadata": {"labels": {"app": "api"}}, "spec": {"containers": [{"name": "api", "image": "shop/api:2.3.1"}]}}
    spec = {"selector": {"matchLabels": {"app": "api"}}, "template": template}
    applied = {"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "api", "namespace": home.tenant}, "spec": spec}
    await home.admin.apply(applied, manager="argocd-controller")
    status = await home.run(S.HELD)
    assert (status.reason, "argocd-controller" in status.message) == (FailReason.OWNERSHIP_CONFLICT, True)


@pytest.mark.slow
@pytest.mark.parametrize("place", ["before", "after"])
async def test_dying_at_every_write_of_an_upgrade_and_its_rollback(house: Callable[..., House], place: str) -> None:
    """One tenant for each write, all at once: every one ends as it began, with its edits, without marker and lock."""
    count = await writes_of_a_rollback(house("count"))

    async def one(fatal: int) -> tuple[int, dict[str, str], str, list[str]]:
        home = house(f"dies-{place}-{fatal}")
        await home.begin(a_deployment(home.tenant), data=EDITED)
        home.restart(fatal, place)
        await there_and_back(home)
        image = (await home.admin.get("Deployment", "api", home.tenant))["spec"]["template"]["spec"]["containers"][0]["image"]
        return fatal, await home.data(), image, await home.leftovers()

    assert count >= 15
    ends = await asyncio.gather(*(one(fatal) for fatal in range(1, count + 1)))
    assert [end for end in ends if end[1:] != (EDITED, "shop/api:2.3.1", [])] == []


def runs_bad_image(pod: dict[str, Any]) -> bool:
    """Tell whether a pod was made from the broken template."""
    return bool(pod["spec"]["containers"][0]["image"] == "shop/db:2.4.0-bad") and pod["status"].get("phase") == "Running"


async def writes_of_a_rollback(home: House) -> int:
    """Return how many writes an undisturbed upgrade and its rollback take."""
    await home.begin(a_deployment(home.tenant), data=EDITED)
    home.restart()
    await there_and_back(home)
    assert home.deadly is not None
    return home.deadly.count


async def there_and_back(home: House) -> None:
    """Upgrade, soak, and be taken back."""
    await home.run(S.SOAKING, seconds=300)
    await home.order_back()
    await home.run(S.ROLLED_BACK, seconds=300)
