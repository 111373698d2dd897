"""The fleet: N tenants of one pod each on a local cluster, upgraded in two waves by the operator; then the floor on as many twins."""

from __future__ import annotations

import asyncio
import json
import os
import re
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Iterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import aiohttp
from localcluster.binaries import resolve
from localcluster.client import KubeClient
from localcluster.cluster import LocalCluster

from benchmark import floor
from benchmark.recording import recorded_writes

ROOT = Path(__file__).resolve().parents[2]
GROUP = "tenantwave.io/v1alpha1"
IMAGE = "registry.example.com/shop/api"
OLD, NEW = "2.3.1", "2.4.0"
SYSTEM = "fleet-system"
IN_FLIGHT = 32
WRITES_PER_SECOND = 100_000.0
"""For both: the token bucket of 100 writes a second would set the pace of either, and hide what this is about."""
CLOCK_TICKS = os.sysconf("SC_CLK_TCK")

Object = dict[str, Any]
Say = Callable[[str], None]


@dataclass(slots=True)
class FleetFigures:
    """What one run showed. Seconds and megabytes (10^6 bytes); `cpu` is user and system time of the process alone."""

    tenant_count: int
    wall_seconds: float = 0.0
    cpu_seconds: float = 0.0
    floor_wall_seconds: float = 0.0
    floor_cpu_seconds: float = 0.0
    floor_writes_seconds: float = 0.0
    """When the floor's last write was answered; `floor_wall_seconds` ends when its last pod is Ready, too."""
    peak_rss_megabytes: float = 0.0
    requests: dict[str, int] = field(default_factory=dict)
    """From the operator's /metrics, by verb, Events included; watches are counted once for each connection."""
    dry_run_count: int = 0
    refused_count: int = 0
    write_count: int = 0
    retry_count: int = 0
    """Keys that failed in the operator and waited for another try: on an overloaded machine the Lease may be lost for a moment."""
    longest_block_seconds: float = 0.0
    longest_blocks: list[tuple[float, float, str]] = field(default_factory=list)
    unlike: dict[str, int] = field(default_factory=dict)
    """Answers to the floor that were not as the operator's: "expected -> got"."""

    @property
    def wall_ratio(self) -> float:
        """Return the operator's wall time over the floor's."""
        return self.wall_seconds / self.floor_wall_seconds

    @property
    def cpu_ratio(self) -> float:
        """Return the operator's CPU time over the floor's."""
        return self.cpu_seconds / self.floor_cpu_seconds

    def per_tenant(self, verb: str) -> float:
        """Return the requests of this verb for each tenant."""
        return self.requests.get(verb, 0) / self.tenant_count

    def document(self) -> dict[str, Any]:
        """Return everything as JSON has it."""
        return asdict(self) | {"wall_ratio": self.wall_ratio, "cpu_ratio": self.cpu_ratio}


# What is applied. Every name begins with "fleet-", its twin's with "floor-".


def pristine(version: str) -> str:
    """Return the configuration of a version, as the catalogue has it."""
    changed = "10" if version == OLD else "20"
    return f"# Settings of the shop\npage.title=Shop\npage.size=20\ndb.pool={changed}\n" + ("cache=on\n" if version == NEW else "")


def tenant_objects(prefix: str, number: int) -> Iterator[Object]:
    """Return one tenant: its namespace (every tenth is a canary), its configuration with an edit of its own, its workload."""
    name = f"{prefix}{number:05d}"
    labels = {"tenantwave.io/product-shop": prefix.strip("-"), "tenantwave.io/ring": "canary" if number % 10 == 0 else "rest"}
    yield {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name, "labels": labels}}
    text = pristine(OLD).replace("page.title=Shop", f"page.title=Shop {number}")
    metadata = {"name": "shop-config", "namespace": name}
    yield {"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata, "data": {"shop.properties": text}}
    pod = {
        "terminationGracePeriodSeconds": 0,
        "containers": [{"name": "api", "image": f"{IMAGE}:{OLD}", "envFrom": [{"configMapRef": {"name": "shop-config"}}]}],
    }
    yield {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": "api", "namespace": name},
        "spec": {
            "replicas": 1,
            "selector": {"matchLabels": {"app": "api"}},
            "template": {"metadata": {"labels": {"app": "api"}}, "spec": pod},
        },
    }


def catalogue_entry(version: str) -> Object:
    """Return the pristine configuration of a version."""
    metadata = {
        "name": f"shop-{version}-config",
        "namespace": SYSTEM,
        "labels": {"tenantwave.io/product": "shop", "tenantwave.io/version": version},
        "annotations": {"tenantwave.io/target": "shop-config"},
    }
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata, "data": {"shop.properties": pristine(version)}}


def policy(prefix: str) -> Object:
    """Return how to roll out: two waves, as wide as the machine allows, without gates; the last wave soaks for a second."""
    canary = {"name": "canary", "selector": {"matchLabels": {"tenantwave.io/ring": "canary"}}, "maxParallel": "100%", "soak": "0s"}
    spec = {
        "waves": [canary, {"name": "rest", "maxParallel": "100%", "soak": "1s"}],
        "allowNoGates": True,
        "maintenance": {"whenNoWindow": "Open"},
    }
    return {"apiVersion": GROUP, "kind": "RolloutPolicy", "metadata": {"name": f"{prefix}policy"}, "spec": spec}


def upgrade(prefix: str) -> Object:
    """Return what to roll out."""
    workload = {"kind": "Deployment", "name": "api", "containers": [{"name": "api", "image": f"{IMAGE}:{NEW}"}]}
    return {
        "apiVersion": GROUP,
        "kind": "TenantUpgrade",
        "metadata": {"name": f"{prefix}upgrade"},
        "spec": {
            "policyRef": {"name": f"{prefix}policy"},
            "tenantSelector": {"matchLabels": {"tenantwave.io/product-shop": prefix.strip("-")}},
            "release": {"product": "shop", "version": NEW, "assumedVersion": OLD},
            "components": [{"name": "api", "workload": workload}],
        },
    }


# The run.


async def measure(tenant_count: int, say: Say) -> FleetFigures:
    """Measure one fleet on a fresh cluster: without audit log, priority and fairness, which would be the bottleneck of both sides."""
    figures = FleetFigures(tenant_count)
    folder = Path(tempfile.mkdtemp(prefix="tenantwave-bench-"))
    say(f"{tenant_count} tenants: a fresh cluster in {folder}")
    with LocalCluster(folder, has_audit=False, is_unlimited=True, say=say) as cluster:
        _install_chart(cluster, folder)
        async with KubeClient.from_kubeconfig(cluster.kubeconfig, field_manager="bench") as kube:
            say(f"{tenant_count} tenants: created, until every pod is Ready")
            await _create_tenants(kube, "fleet-", tenant_count)
            for version in (OLD, NEW):
                await kube.apply(catalogue_entry(version))
            await kube.apply(policy("fleet-"))
            say(f"{tenant_count} tenants: the operator upgrades them")
            begun = await _upgrade(kube, cluster, folder, figures)
            say(f"{tenant_count} twins: created, until every pod is Ready")
            writes = [write for write in recorded_writes(folder / "writes") if write.begun >= begun]
            figures.write_count = len(writes)
            figures.dry_run_count = sum(write.is_dry_run for write in writes)
            figures.refused_count = sum(write.code >= 400 for write in writes)
            await _create_tenants(kube, "floor-", tenant_count)
            say(f"{tenant_count} twins: {len(writes)} writes from a bare client")
            await _floor(kube, cluster, floor.copies(writes), figures)
    return figures


def _install_chart(cluster: LocalCluster, folder: Path) -> None:
    helm = [str(resolve("helm")), "install", "tenantwave", str(ROOT / "charts/tenantwave"), "--namespace", SYSTEM, "--create-namespace"]
    environment = os.environ | {"KUBECONFIG": str(cluster.kubeconfig), "HELM_CACHE_HOME": str(folder), "HELM_CONFIG_HOME": str(folder)}
    subprocess.run([*helm, "--set", "replicas=0", "--wait"], check=True, env=environment, stdout=subprocess.DEVNULL)


async def _create_tenants(kube: KubeClient, prefix: str, count: int) -> None:
    """Create them, and return when every Deployment is available."""

    async def one(number: int) -> None:
        for body in tenant_objects(prefix, number):
            await kube.create(body)

    await _side_by_side((one(number) for number in range(count)), 16)
    await _all_run(kube, prefix, OLD, count)


async def _side_by_side(deeds: Iterable[Awaitable[None]], width: int) -> None:
    room = asyncio.Semaphore(width)

    async def one(deed: Awaitable[None]) -> None:
        async with room:
            await deed

    await asyncio.gather(*(one(deed) for deed in deeds))


async def _all_run(kube: KubeClient, prefix: str, version: str, count: int) -> float:
    """Return the instant (monotonic) at which every Deployment of these tenants was seen to run this version, by a watch, and nothing else."""
    missing = {f"{prefix}{number:05d}" for number in range(count)}
    async with asyncio.timeout(60 + count):
        listed = await kube.request("GET", "/apis/apps/v1/deployments", query={"resourceVersion": "0"})
        missing -= {body["metadata"]["namespace"] for body in listed["items"] if _runs(body, version)}
        while missing:
            watch = kube.watch("/apis/apps/v1/deployments", resource_version=listed["metadata"]["resourceVersion"])
            async for kind, body in watch:
                if kind != "BOOKMARK" and _runs(body, version):
                    missing.discard(body["metadata"]["namespace"])
                if not missing:
                    break
    return time.monotonic()


def _runs(body: Object, version: str) -> bool:
    status, spec = body.get("status") or {}, body["spec"]
    return bool(
        spec["template"]["spec"]["containers"][0]["image"] == f"{IMAGE}:{version}"
        and status.get("observedGeneration") == body["metadata"]["generation"]
        and status.get("updatedReplicas") == status.get("availableReplicas") == status.get("replicas") == spec["replicas"]
    )


async def _upgrade(kube: KubeClient, cluster: LocalCluster, folder: Path, figures: FleetFigures) -> float:
    """Let the operator upgrade the fleet. Return the instant (monotonic) at which it was told to."""
    async with _operator(cluster.kubeconfig_for(SYSTEM, "tenantwave"), folder) as (process, port):
        await _quiet(port)
        before, used = await _requests(port), _cpu_seconds(process.pid)
        begun = time.monotonic()
        await kube.apply(upgrade("fleet-"))
        await _succeeded(kube, "fleet-upgrade", seconds=120 + figures.tenant_count)
        figures.wall_seconds = time.monotonic() - begun
        await _quiet(port)  # profiles are written a second later, Events when there is room: their CPU counts
        after = await _requests(port)
        figures.cpu_seconds = _cpu_seconds(process.pid) - used
        figures.peak_rss_megabytes = _peak_rss_bytes(process.pid) / 1e6
        figures.retry_count = sum((await _counted(port, "queue_retries", "queue")).values())
        figures.requests = {verb: count for verb, count in sorted((after - before).items()) if count}
    blocks = _read_json(folder / "blocks")
    figures.longest_blocks = blocks
    figures.longest_block_seconds = blocks[0][0] if blocks else 0.0
    return begun


@asynccontextmanager
async def _operator(kubeconfig: Path, folder: Path) -> AsyncIterator[tuple[asyncio.subprocess.Process, int]]:
    """Run the operator as a process of its own, with the token of the chart's ServiceAccount, until its caches are warm; then end it in order."""
    environment = os.environ | {
        "BENCH_WRITES": str(folder / "writes"),
        "BENCH_BLOCKS": str(folder / "blocks"),
        "TENANTWAVE_WRITES_PER_SECOND": str(WRITES_PER_SECOND),
        "TENANTWAVE_WRITES_IN_FLIGHT": str(IN_FLIGHT),
    }
    arguments = ["--namespace", SYSTEM, "--kubeconfig", str(kubeconfig), "--listen", "127.0.0.1:0"]
    log = folder / "operator.log"
    with log.open("wb") as out:
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-m", "benchmark.observed_operator", *arguments, stdout=out, stderr=out, env=environment
        )
    try:
        port = int(await _said(process, log, r"listening on port (\d+)"))
        await _said(process, log, r"(all caches are warm)")
        yield process, port
    finally:
        if process.returncode is None:
            process.send_signal(signal.SIGTERM)
            await asyncio.wait_for(process.wait(), timeout=40)


async def _said(process: asyncio.subprocess.Process, log: Path, pattern: str) -> str:
    async with asyncio.timeout(60):
        while (found := re.search(pattern, log.read_text())) is None:  # noqa: ASYNC240 - a few lines on a local disk
            if process.returncode is not None:
                raise RuntimeError(f"the operator ended with code {process.returncode}; see {log}")
            await asyncio.sleep(0.05)
    return found[1]


async def _succeeded(kube: KubeClient, name: str, seconds: float) -> None:
    """Return when Ready says Succeeded. A watch of one object costs neither side anything to speak of."""
    path = await kube.path(f"{GROUP}/TenantUpgrade")
    async with asyncio.timeout(seconds):
        while True:
            body = await kube.get(f"{GROUP}/TenantUpgrade", name)
            query = {"fieldSelector": f"metadata.name={name}"}
            if _reason(body) == "Succeeded":
                return
            async for _, seen in kube.watch(path, resource_version=body["metadata"]["resourceVersion"], query=query):
                if _reason(seen) == "Succeeded":
                    return


def _reason(body: Object) -> str:
    conditions = (body.get("status") or {}).get("conditions", [])
    return next((str(one["reason"]) for one in conditions if one["type"] == "Ready"), "")


async def _quiet(port: int, seconds: float = 2.0) -> None:
    """Return when the operator has sent no request but lease renewals for two seconds."""
    before, since = await _requests(port), time.monotonic()
    async with asyncio.timeout(120):
        while time.monotonic() - since < seconds:
            await asyncio.sleep(0.5)
            if (now := await _requests(port)) != before:
                before, since = now, time.monotonic()


async def _requests(port: int) -> Counter[str]:
    """Return the requests so far by verb."""
    return await _counted(port, "api_requests", "verb")


async def _counted(port: int, metric: str, label: str) -> Counter[str]:
    """Return a counter of /metrics, summed by one of its labels."""
    async with aiohttp.ClientSession() as session, session.get(f"http://127.0.0.1:{port}/metrics") as response:
        text = await response.text()
    counts = Counter[str]()
    for value, number in re.findall(rf'^tenantwave_{metric}_total\{{[^}}]*{label}="(\w+)"[^}}]*\}} (\S+)$', text, re.MULTILINE):
        counts[value] += int(float(number))
    return counts


async def _floor(kube: KubeClient, cluster: LocalCluster, writes: Sequence[floor.Copy], figures: FleetFigures) -> None:
    known = {}
    for kind, name in (("RolloutPolicy", "floor-policy"), ("TenantUpgrade", "floor-upgrade")):
        made = await kube.create(policy("floor-") if kind == "RolloutPolicy" else upgrade("floor-"))
        path = await kube.path(f"{GROUP}/{kind}", None, name)
        known[path] = floor.Identity(made["metadata"]["uid"].encode(), made["metadata"]["resourceVersion"].encode())
    for body in _all_rights():
        await kube.create(body)
    kubeconfig = cluster.kubeconfig_for("floor-system", "bench")
    begun = time.monotonic()
    taken = await floor.send_all(kubeconfig, writes, known, in_flight=IN_FLIGHT, writes_per_second=WRITES_PER_SECOND)
    ended = await _all_run(kube, "floor-", NEW, figures.tenant_count)
    figures.floor_wall_seconds = ended - begun
    figures.floor_writes_seconds = taken.wall_seconds
    figures.floor_cpu_seconds = taken.cpu_seconds
    figures.unlike = {f"{expected} -> {got}": count for (expected, got), count in taken.unlike.items()}


def _all_rights() -> list[Object]:
    """Return the ServiceAccount of the bare client."""
    rbac, metadata = "rbac.authorization.k8s.io", {"name": "bench", "namespace": "floor-system"}
    return [
        {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "floor-system"}},
        {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": metadata},
        {
            "apiVersion": f"{rbac}/v1",
            "kind": "ClusterRoleBinding",
            "metadata": {"name": "bench"},
            "roleRef": {"apiGroup": rbac, "kind": "ClusterRole", "name": "cluster-admin"},
            "subjects": [{"kind": "ServiceAccount", **metadata}],
        },
    ]


def _cpu_seconds(pid: int) -> float:
    """Return user and system time of a process and all its threads."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / CLOCK_TICKS


def _peak_rss_bytes(pid: int) -> int:
    found = re.search(r"^VmHWM:\s+(\d+) kB$", Path(f"/proc/{pid}/status").read_text(), re.MULTILINE)
    return int(found[1]) * 1024 if found else 0


def _read_json(path: Path) -> list[tuple[float, float, str]]:
    return [(used, passed, what) for used, passed, what in json.loads(path.read_text())]
