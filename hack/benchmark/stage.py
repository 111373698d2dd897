"""The stage of a benchmark: a local cluster with the chart, tenants of one pod each, and the operator as a process of its own."""

from __future__ import annotations

import asyncio
import os
import re
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import aiohttp
from localcluster.binaries import resolve
from localcluster.client import KubeClient
from localcluster.cluster import LocalCluster

ROOT = Path(__file__).resolve().parents[2]
GROUP = "tenantwave.io/v1alpha1"
IMAGE = "registry.example.com/shop/api"
OLD, NEW = "2.3.1", "2.4.0"
SYSTEM = "fleet-system"
IN_FLIGHT = 32
WRITES_PER_SECOND = 100_000.0
"""For both: the token bucket of 100 writes a second would set the pace of either, and hide what this is about."""
Object = dict[str, Any]
Say = Callable[[str], None]


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


@asynccontextmanager
async def fleet_of(tenant_count: int, say: Say) -> AsyncIterator[tuple[KubeClient, LocalCluster, Path]]:
    """Set up a fresh cluster with the chart, the tenants and both catalogue entries; give an administrator's client, the cluster and its folder.

    Without audit log, priority and fairness, which would be the bottleneck of whoever is measured.
    """
    folder = Path(tempfile.mkdtemp(prefix="tenantwave-bench-"))
    say(f"{tenant_count} tenants: a fresh cluster in {folder}")
    with LocalCluster(folder, has_audit=False, is_unlimited=True, say=say) as cluster:
        install_chart(cluster, folder)
        async with KubeClient.from_kubeconfig(cluster.kubeconfig, field_manager="bench") as kube:
            say(f"{tenant_count} tenants: created, until every pod is Ready")
            await create_tenants(kube, "fleet-", tenant_count)
            for version in (OLD, NEW):
                await kube.apply(catalogue_entry(version))
            yield kube, cluster, folder


def install_chart(cluster: LocalCluster, folder: Path) -> None:
    helm = [str(resolve("helm")), "install", "tenantwave", str(ROOT / "charts/tenantwave"), "--namespace", SYSTEM, "--create-namespace"]
    environment = os.environ | {"KUBECONFIG": str(cluster.kubeconfig), "HELM_CACHE_HOME": str(folder), "HELM_CONFIG_HOME": str(folder)}
    subprocess.run([*helm, "--set", "replicas=0", "--wait"], check=True, env=environment, stdout=subprocess.DEVNULL)


async def create_tenants(kube: KubeClient, prefix: str, count: int) -> None:
    """Create them, and return when every Deployment is available."""

    async def one(number: int) -> None:
        for body in tenant_objects(prefix, number):
            await kube.create(body)

    await side_by_side((one(number) for number in range(count)), 16)
    await all_run(kube, prefix, OLD, count)


async def side_by_side(deeds: Iterable[Awaitable[None]], width: int) -> None:
    room = asyncio.Semaphore(width)

    async def one(deed: Awaitable[None]) -> None:
        async with room:
            await deed

    await asyncio.gather(*(one(deed) for deed in deeds))


async def all_run(kube: KubeClient, prefix: str, version: str, count: int) -> float:
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


@asynccontextmanager
async def operator(kubeconfig: Path, folder: Path) -> AsyncIterator[tuple[asyncio.subprocess.Process, int]]:
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


async def ready_says(kube: KubeClient, name: str, reason: str, seconds: float) -> None:
    """Return when Ready says this reason. A watch of one object costs neither side anything to speak of."""
    path = await kube.path(f"{GROUP}/TenantUpgrade")
    async with asyncio.timeout(seconds):
        while True:
            body = await kube.get(f"{GROUP}/TenantUpgrade", name)
            query = {"fieldSelector": f"metadata.name={name}"}
            if _reason(body) == reason:
                return
            async for _, seen in kube.watch(path, resource_version=body["metadata"]["resourceVersion"], query=query):
                if _reason(seen) == reason:
                    return


def _reason(body: Object) -> str:
    conditions = (body.get("status") or {}).get("conditions", [])
    return next((str(one["reason"]) for one in conditions if one["type"] == "Ready"), "")


async def quiet(port: int, seconds: float = 2.0) -> None:
    """Return when the operator has sent no request but lease renewals for two seconds."""
    before, since = await requests(port), time.monotonic()
    async with asyncio.timeout(120):
        while time.monotonic() - since < seconds:
            await asyncio.sleep(0.5)
            if (now := await requests(port)) != before:
                before, since = now, time.monotonic()


async def requests(port: int) -> Counter[str]:
    """Return the requests so far by verb."""
    return await counted(port, "api_requests", "verb")


async def counted(port: int, metric: str, label: str) -> Counter[str]:
    """Return a counter of /metrics, summed by one of its labels."""
    async with aiohttp.ClientSession() as session, session.get(f"http://127.0.0.1:{port}/metrics") as response:
        text = await response.text()
    counts = Counter[str]()
    for value, number in re.findall(rf'^tenantwave_{metric}_total\{{[^}}]*{label}="(\w+)"[^}}]*\}} (\S+)$', text, re.MULTILINE):
        counts[value] += int(float(number))
    return counts
