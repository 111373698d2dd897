"""`hack/bench rollback`: how soon, and how fast, a wave of N upgraded tenants is taken back, and whether that is true in each of them."""

from __future__ import annotations

import argparse
import asyncio
import json
import sys
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import asdict, dataclass, field

from localcluster.client import KubeClient

from benchmark.stage import (
    GROUP,
    OLD,
    SYSTEM,
    Object,
    Say,
    all_run,
    fleet_of,
    operator,
    policy,
    pristine,
    quiet,
    ready_says,
    requests,
    upgrade,
)

HELP = """\
rollback: N tenants (a Namespace, a Deployment of one pod, a ConfigMap with an edit of its own) are upgraded in one wave, which then awaits its
approval. A person rejects it: that is the verdict. From there on, in seconds: when the first tenant began to go back, when the last one was
back, and when the status said RolledBack; how many went back at once, and requests with a write verb for each tenant.

Afterwards each tenant is compared with what it was: image, configuration, its own edit, no marker. The exit code is 1 if one differs.
"""
WRITE_VERBS = ("create", "update", "patch", "apply", "delete")


@dataclass(slots=True)
class RollbackFigures:
    """What one run showed. Seconds since the order was created."""

    tenant_count: int
    max_parallel: str
    first_begun_seconds: float = 0.0
    last_back_seconds: float = 0.0
    reported_seconds: float = 0.0
    most_at_once: int = 0
    writes_per_tenant: float = 0.0
    unlike: list[str] = field(default_factory=list)
    """Tenants that are not as they were, and in what."""


def add_to(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add `rollback` to the command line."""
    parser = commands.add_parser(
        "rollback", help="a whole wave is taken back", description=HELP, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--tenants", type=int, default=500, metavar="N", help="how many (default: 500)")
    parser.add_argument(
        "--max-parallel", default="50%", metavar="SHARE", help="rollback.maxParallel of the policy (default: 50%%, as in policies)"
    )


def run_rollback(found: argparse.Namespace) -> int:
    """Measure, print JSON, and tell whether every tenant is as it was."""
    figures = asyncio.run(measure(found.tenants, found.max_parallel, lambda line: print(line, file=sys.stderr, flush=True)))
    print(json.dumps(asdict(figures), indent=1))
    return 1 if figures.unlike else 0


async def measure(tenant_count: int, max_parallel: str, say: Say) -> RollbackFigures:
    """Upgrade a fleet on a fresh cluster, have the wave rejected, and watch it go back."""
    figures = RollbackFigures(tenant_count, max_parallel)
    async with fleet_of(tenant_count, say) as (kube, cluster, folder):
        for body in (_policy(max_parallel), upgrade("fleet-")):
            await kube.apply(body)
        async with operator(cluster.kubeconfig_for(SYSTEM, "tenantwave"), folder) as (_, port):
            say(f"{tenant_count} tenants: the operator upgrades them")
            await ready_says(kube, "fleet-upgrade", "AwaitingApproval", 120 + tenant_count)
            await quiet(port)
            say(f"{tenant_count} tenants: the wave is rejected")
            await _take_back(kube, port, figures)
        figures.unlike = [fault for number in range(tenant_count) for fault in await _faults(kube, number)]
    return figures


async def _take_back(kube: KubeClient, port: int, figures: RollbackFigures) -> None:
    before = await requests(port)
    run = (await kube.get(f"{GROUP}/TenantUpgrade", "fleet-upgrade"))["status"]["run"]["id"]
    begun = time.monotonic()
    async with _counting(kube, begun, figures):
        await kube.create(_rejection(run))
        await ready_says(kube, "fleet-upgrade", "RolledBack", 120 + figures.tenant_count)
        figures.reported_seconds = time.monotonic() - begun
    await all_run(kube, "fleet-", OLD, figures.tenant_count)
    await quiet(port)
    sent = await requests(port) - before
    figures.writes_per_tenant = sum(sent[verb] for verb in WRITE_VERBS) / figures.tenant_count


@asynccontextmanager
async def _counting(kube: KubeClient, begun: float, figures: RollbackFigures) -> AsyncIterator[None]:
    """Watch TenantRuns beside what is done inside: when the first and the last went back, and how many were on the way at once."""
    states: dict[str, str] = {}

    async def watch() -> None:
        path = await kube.path(f"{GROUP}/TenantRun", SYSTEM)
        listed = await kube.request("GET", path, query={"resourceVersion": "0"})
        async for _, body in kube.watch(path, resource_version=listed["metadata"]["resourceVersion"]):
            state = str((body.get("status") or {}).get("state", ""))
            if states.get(body["metadata"]["name"]) == state:
                continue
            states[body["metadata"]["name"]] = state
            now = time.monotonic() - begun
            if state == "RollingBack":
                figures.first_begun_seconds = figures.first_begun_seconds or now
                figures.most_at_once = max(figures.most_at_once, sum(one == "RollingBack" for one in states.values()))
            elif state == "RolledBack":
                figures.last_back_seconds = now

    watching = asyncio.create_task(watch())
    try:
        yield
    finally:
        watching.cancel()


async def _faults(kube: KubeClient, number: int) -> list[str]:
    """Return in what a tenant is not as it was before the upgrade."""
    name = f"fleet-{number:05d}"
    deployment, config = await kube.get("apps/v1/Deployment", "api", name), await kube.get("v1/ConfigMap", "shop-config", name)
    found = []
    if not deployment["spec"]["template"]["spec"]["containers"][0]["image"].endswith(f":{OLD}"):
        found.append("its image")
    if config["data"] != {"shop.properties": pristine(OLD).replace("page.title=Shop", f"page.title=Shop {number}")}:
        found.append("its configuration")
    if any("tenantwave.io/intent" in (body["metadata"].get("annotations") or {}) for body in (deployment, config)):
        found.append("a marker that is left")
    return [f"{name}: {what}" for what in found]


def _policy(max_parallel: str) -> Object:
    """Return a policy of one wave that people have to approve when it has soaked."""
    body = policy("fleet-")
    wave = {"name": "all", "maxParallel": "100%", "soak": "0s", "approval": {"when": "After"}}
    body["spec"] |= {"waves": [wave], "rollback": {"maxParallel": max_parallel}}
    return body


def _rejection(run: str) -> Object:
    spec = {"upgrade": "fleet-upgrade", "run": run, "type": "Reject", "wave": "all", "reason": "measured by hack/bench"}
    return {"apiVersion": GROUP, "kind": "UpgradeAction", "metadata": {"name": "reject"}, "spec": spec}
