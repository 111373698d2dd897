"""Given, when, then on a real control plane: tenants, a policy, an upgrade, and the operator as a process of its own.

The operator runs with the token of the chart's ServiceAccount, never as an administrator. One operator at a time: upgrades are cluster-scoped, so two
of them would both act. A story removes what it made.
"""

from __future__ import annotations

import asyncio
import os
import re
import signal
import sys
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import aiohttp
from localcluster.access import Cluster
from localcluster.client import ApiError, KubeClient, eventually

from support.chart import operator_kubeconfig
from support.clusters import OPERATOR_NAMESPACE, ROOT
from support.kstatus import Recorder
from support.workloads import config_map, is_rolled_out, namespace, workload

Object = dict[str, Any]
GROUP_VERSION = "tenantwave.io/v1alpha1"
UPGRADE, POLICY, ACTION, PROFILE, RUN = (
    f"{GROUP_VERSION}/{kind}" for kind in ("TenantUpgrade", "RolloutPolicy", "UpgradeAction", "TenantProfile", "TenantRun")
)
IMAGE = "registry.example.com/shop/api"
MARKER = "tenantwave.io/intent"

LONG = 180.0
"""Seconds for what must come but may take its time where the machine is busy. What is promised to come soon has a limit of its own."""


class OperatorProcess:
    """One `tenantwave-operator`, started as a user would start it."""

    def __init__(
        self,
        kubeconfig: Path,
        log_path: Path,
        arguments: Sequence[str],
        environment: Mapping[str, str],
        program: str = "tenantwave.shell.main",
    ) -> None:
        self._kubeconfig = kubeconfig
        self._program = program
        self._arguments = arguments
        self._environment = environment
        self.log_path = log_path
        self._process: asyncio.subprocess.Process | None = None

    async def start(self) -> None:
        """Start it; it need not be ready when this returns."""
        command = [sys.executable, "-m", self._program, "--namespace", OPERATOR_NAMESPACE, "--kubeconfig", str(self._kubeconfig)]
        with self.log_path.open("ab") as log:
            self._process = await asyncio.create_subprocess_exec(
                *command,
                "--listen",
                "127.0.0.1:0",
                *self._arguments,
                stdout=log,
                stderr=log,
                env=os.environ
                | {"PYTHONPATH": os.pathsep.join(str(ROOT / part) for part in ("operator", "tests"))}
                | dict(self._environment),
            )

    async def ready(self) -> None:
        """Wait until it has seen everything and works."""

        async def is_warm() -> bool:
            assert self.is_running, self.log()
            return "all caches are warm" in self.log()

        await eventually(is_warm, timeout=LONG, saying="the operator is ready")

    @property
    def pid(self) -> int:
        """Return its process id."""
        assert self._process is not None
        return self._process.pid

    @property
    def is_running(self) -> bool:
        """Tell whether it lives."""
        return self._process is not None and self._process.returncode is None

    async def kill(self) -> None:
        """End it as a power cut would."""
        await self._end(signal.SIGKILL, 10)

    def pause(self) -> None:
        """Stop its clock: it believes what it believed, and knows nothing of the time that passes."""
        os.kill(self.pid, signal.SIGSTOP)

    def go_on(self) -> None:
        """Let it go on after a pause."""
        os.kill(self.pid, signal.SIGCONT)

    async def stop(self) -> int:
        """End it as Kubernetes would, and return its exit code."""
        return await self._end(signal.SIGTERM, 20)

    async def wait(self, timeout: float) -> int:
        """Wait until it ends by itself, and return its exit code."""
        assert self._process is not None
        async with asyncio.timeout(timeout):
            return await self._process.wait()

    async def _end(self, number: signal.Signals, timeout: float) -> int:
        if self._process is None:
            return 0
        with suppress(ProcessLookupError):
            self._process.send_signal(number)
        async with asyncio.timeout(timeout):
            return await self._process.wait()

    async def metrics(self) -> str:
        """Return what it tells Prometheus."""
        found = re.search(r"listening on port (\d+)", self.log())
        assert found is not None, self.log()
        async with aiohttp.ClientSession() as http, http.get(f"http://127.0.0.1:{found[1]}/metrics") as answer:
            return await answer.text()

    def log(self) -> str:
        """Return everything that it has said."""
        return self.log_path.read_text(errors="replace") if self.log_path.exists() else ""


class Story:
    """What a test says: given these tenants, when this upgrade is applied, then this is so. Names are made unique."""

    def __init__(self, kube: KubeClient, cluster: Cluster, unique: Callable[[str], str], folder: Path) -> None:
        self.kube = kube
        self.cluster = cluster
        self.unique = unique
        self.folder = folder
        self.product = unique("shop")
        self.tenants: list[str] = []
        self._made: list[tuple[str, str, str | None]] = []
        self._operators: list[OperatorProcess] = []
        self.recorder = Recorder(kube, UPGRADE)

    # Given.

    async def operator(
        self,
        *arguments: str,
        environment: Mapping[str, str] | None = None,
        elect: bool = False,
        program: str = "tenantwave.shell.main",
    ) -> OperatorProcess:
        """Start an operator, or a program that wraps one."""
        given = [*arguments] if elect else ["--no-leader-election", *arguments]
        process = OperatorProcess(
            operator_kubeconfig(self.cluster, OPERATOR_NAMESPACE),
            self.folder / f"operator-{len(self._operators)}.log",
            given,
            {"TENANTWAVE_WRITES_PER_SECOND": "1000"} | dict(environment or {}),
            program,
        )
        self._operators.append(process)
        await process.start()
        return process

    async def apply(self, body: Object) -> Object:
        """Apply an object, and remember it for the clean-up."""
        metadata = body["metadata"]
        kind = f"{body['apiVersion']}/{body['kind']}" if "/" in body["apiVersion"] else body["kind"]
        applied = await self.kube.apply(body)
        self._made.append((kind, metadata["name"], metadata.get("namespace")))
        return applied

    async def tenant(
        self,
        name: str,
        *,
        labels: Mapping[str, str] | None = None,
        image: str = f"{IMAGE}:2.3.1",
        config: Mapping[str, str] | None = None,
        annotations: Mapping[str, str] | None = None,
        deadline: int = 60,
    ) -> str:
        """Make a tenant with a Deployment `api` that refers to the ConfigMap `app-config`. Returns its namespace.

        Args:
            annotations: of its pods, such as `localcluster/ready-after`.
            deadline: after so many seconds without progress its rollout has failed; short where an image is to be bad.
        """
        tenant = self.unique(name)
        await self.apply(namespace(tenant, {f"tenantwave.io/product-{self.product}": "true", **(labels or {})}))
        if config is not None:
            await self.kube.apply(config_map("app-config", tenant, dict(config)))
        pod_spec: Object = {
            "containers": [{"name": "api", "image": image, "envFrom": [{"configMapRef": {"name": "app-config", "optional": True}}]}]
        }
        spec = {"progressDeadlineSeconds": deadline}
        pod_annotations = dict(annotations or {})
        await self.kube.apply(workload("Deployment", "api", tenant, image=image, pod_spec=pod_spec, annotations=pod_annotations, spec=spec))
        self.tenants.append(tenant)
        return tenant

    async def ready(self) -> None:
        """Wait until all tenants run."""
        for tenant in self.tenants:
            await self.kube.wait_until("apps/v1/Deployment", "api", tenant, is_rolled_out, saying="rolled out", timeout=LONG)

    async def profile(self, tenant: str, **spec: Any) -> None:
        """Write a tenant's profile as the tenant would."""
        await self.kube.apply(
            {"apiVersion": GROUP_VERSION, "kind": "TenantProfile", "metadata": {"name": "tenant", "namespace": tenant}, "spec": spec}
        )

    async def pristine(self, version: str, data: Mapping[str, str], target: str = "app-config", *, removed: bool = False) -> None:
        """Put an entry into the catalogue."""
        body = config_map(self.unique(f"{target}-{version.replace('.', '-')}"), OPERATOR_NAMESPACE, dict(data))
        body["metadata"]["labels"] = {"tenantwave.io/product": self.product, "tenantwave.io/version": version}
        body["metadata"]["annotations"] = {"tenantwave.io/target": target} | ({"tenantwave.io/removed": "true"} if removed else {})
        await self.apply(body)

    async def policy(self, name: str = "policy", **spec: Any) -> str:
        """Apply a policy: two waves (label ring=canary, then the rest), no gates, no soak worth mentioning, unless said otherwise."""
        default: Object = {
            "waves": [
                {"name": "canary", "selector": {"matchLabels": {"tenantwave.io/ring": "canary"}}, "maxParallel": 1, "soak": "1s"},
                {"name": "rest", "maxParallel": 2, "soak": "1s"},
            ],
            "maintenance": {"whenNoWindow": "Open"},
        }
        if "gates" not in spec:
            default["allowNoGates"] = True
        body = {"apiVersion": GROUP_VERSION, "kind": "RolloutPolicy", "metadata": {"name": self.unique(name)}, "spec": default | spec}
        await self.apply(body)
        return self.unique(name)

    async def policy_seen(self, name: str = "policy") -> None:
        """Wait until the operator has the policy as it is now: an edit and an order reach it by two watches, in either order."""

        def is_seen(body: Object) -> bool:
            return bool((body.get("status") or {}).get("observedGeneration") == body["metadata"]["generation"])

        await self.kube.wait_until(POLICY, self.unique(name), None, is_seen, saying="the operator has seen it", timeout=LONG)

    # When.

    async def upgrade(
        self, name: str = "up", version: str = "2.4.0", *, image: str | None = None, policy: str = "policy", **spec: Any
    ) -> str:
        """Apply an upgrade of the Deployment `api` to an image of that version."""
        release = {"product": self.product, "version": version, "assumedVersion": "2.3.1"} | spec.pop("release", {})
        containers = [{"name": "api", "image": image or f"{IMAGE}:{version}"}]
        body = {
            "apiVersion": GROUP_VERSION,
            "kind": "TenantUpgrade",
            "metadata": {"name": self.unique(name)},
            "spec": {
                "policyRef": {"name": self.unique(policy)},
                "tenantSelector": {"matchLabels": {f"tenantwave.io/product-{self.product}": "true"}},
                "release": release,
                "components": [{"name": "api", "workload": {"kind": "Deployment", "name": "api", "containers": containers}}],
            }
            | spec,
        }
        await self.apply(body)
        return self.unique(name)

    async def act(
        self, upgrade: str, type_: str, *, run: str | None = None, name: str | None = None, client: KubeClient | None = None, **spec: Any
    ) -> str:
        """Create an UpgradeAction for the current run, if wanted as somebody else. Returns its name."""
        if run is None:
            run = (await self.kube.get(UPGRADE, upgrade))["status"]["run"]["id"]
        chosen = name or f"{type_.lower()}-{os.urandom(3).hex()}"
        body = {
            "apiVersion": GROUP_VERSION,
            "kind": "UpgradeAction",
            "metadata": {"name": chosen},
            "spec": {"upgrade": upgrade, "run": run, "type": type_} | spec,
        }
        await (client or self.kube).create(body)
        self._made.append((ACTION, chosen, None))
        return chosen

    # Then.

    async def answer(self, action: str, timeout: float = 60) -> tuple[bool, str]:
        """Return whether an action was accepted, and the reason."""
        body = await self.kube.wait_until(
            ACTION, action, None, lambda body: bool(condition(body, "Accepted")), saying="answered", timeout=timeout
        )
        said = condition(body, "Accepted")
        return said["status"] == "True", said["reason"]

    async def until(self, upgrade: str, *reasons: str, timeout: float = LONG) -> Object:
        """Wait until Ready has one of these reasons, and return the upgrade."""

        def is_there(body: Object) -> bool:
            said = condition(body, "Ready")
            return said.get("reason") in reasons and said.get("observedGeneration") == body["metadata"]["generation"]

        return await self.kube.wait_until(UPGRADE, upgrade, None, is_there, saying=f"Ready is one of {reasons}", timeout=timeout)

    async def until_so(self, upgrade: str, is_so: Callable[[Object], bool], saying: str, timeout: float = LONG) -> Object:
        """Wait until the upgrade is so, and return it."""
        return await self.kube.wait_until(UPGRADE, upgrade, None, is_so, saying=saying, timeout=timeout)

    async def run(self, upgrade: str, tenant: str) -> Object:
        """Return the status of a TenantRun."""
        return dict((await self.kube.get(RUN, f"{upgrade}.{tenant}", OPERATOR_NAMESPACE)).get("status", {}))

    async def until_run(self, upgrade: str, tenant: str, is_so: Callable[[Object], bool], saying: str, timeout: float = LONG) -> Object:
        """Wait until a TenantRun's status is so."""

        async def look() -> Object:
            body = await self.kube.find(RUN, f"{upgrade}.{tenant}", OPERATOR_NAMESPACE)
            status = (body or {}).get("status", {})
            return status if is_so(status) else {}

        return await eventually(look, timeout=timeout, saying=f"{tenant}: {saying}")

    async def states(self, upgrade: str) -> dict[str, str]:
        """Return tenant -> state."""
        runs = await self.kube.list(RUN, OPERATOR_NAMESPACE, labels=f"tenantwave.io/upgrade={upgrade}")
        return {run["spec"]["tenant"]: run.get("status", {}).get("state", "") for run in runs}

    async def images(self) -> dict[str, str]:
        """Return tenant -> image of its Deployment."""
        return {tenant: await self.image(tenant) for tenant in self.tenants}

    async def image(self, tenant: str) -> str:
        """Return the image of a tenant's Deployment."""
        deployment = await self.kube.get("apps/v1/Deployment", "api", tenant)
        return str(deployment["spec"]["template"]["spec"]["containers"][0]["image"])

    async def config(self, tenant: str, name: str = "app-config") -> dict[str, str]:
        """Return the data of a tenant's ConfigMap."""
        return dict((await self.kube.get("ConfigMap", name, tenant)).get("data", {}))

    async def edit(self, tenant: str, key: str, value: str, name: str = "app-config") -> None:
        """Edit a tenant's ConfigMap as the tenant would."""
        await self.kube.patch("ConfigMap", name, tenant, {"data": {key: value}})

    async def leftovers(self) -> list[str]:
        """Return markers and locks that are still there. After an ended run there are none."""
        found = [
            f"{tenant}/{kind}/{body['metadata']['name']}"
            for tenant in self.tenants
            for kind in ("ConfigMap", "apps/v1/Deployment", "batch/v1/Job")
            for body in await self.kube.list(kind, tenant)
            if MARKER in (body["metadata"].get("annotations") or {})
        ]
        uids = {(await self.kube.get("Namespace", tenant))["metadata"]["uid"] for tenant in self.tenants}
        leases = await self.kube.list("coordination.k8s.io/v1/Lease", OPERATOR_NAMESPACE)
        held = [lease["metadata"]["name"] for lease in leases if (lease.get("spec") or {}).get("holderIdentity")]
        found += [name for name in held if name.removeprefix("tenant-") in uids]
        return found

    # The end.

    async def clean_up(self) -> None:
        """Remove what the story made: first the upgrades, with an operator that lets go of tenants or, failing that, by force."""
        await self.recorder.stop()
        for process in self._operators:
            if process.is_running:
                await process.kill()
            print(f"--- the end of {process.log_path.name}", *process.log().splitlines()[-40:], sep="\n")
        for upgrade in [name for kind, name, _ in self._made if kind == UPGRADE]:
            with suppress(ApiError):
                await self.kube.patch(UPGRADE, upgrade, None, {"metadata": {"finalizers": None}})
            for run in await self.kube.list(RUN, OPERATOR_NAMESPACE, labels=f"tenantwave.io/upgrade={upgrade}"):
                with suppress(ApiError):
                    await self.kube.delete(RUN, run["metadata"]["name"], OPERATOR_NAMESPACE)
            with suppress(ApiError):
                await self.kube.delete("ConfigMap", f"journal-{upgrade}", OPERATOR_NAMESPACE)
        for kind, name, place in reversed(self._made):
            with suppress(ApiError):
                await self.kube.delete(kind, name, place)


def condition(body: Object, kind: str) -> Object:
    """Return a condition of an object, {} where it has none."""
    conditions = (body.get("status") or {}).get("conditions") or []
    return next((dict(one) for one in conditions if one["type"] == kind), {})
