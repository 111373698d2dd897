"""The fleet: N tenants of one pod each on a local cluster, upgraded in two waves by the operator; then the floor on as many twins."""

from __future__ import annotations

import json
import os
import re
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from localcluster.client import KubeClient
from localcluster.cluster import LocalCluster

from benchmark import floor
from benchmark.recording import recorded_writes
from benchmark.stage import (
    GROUP,
    IN_FLIGHT,
    NEW,
    SYSTEM,
    WRITES_PER_SECOND,
    Object,
    Say,
    all_run,
    counted,
    create_tenants,
    fleet_of,
    operator,
    policy,
    quiet,
    ready_says,
    requests,
    upgrade,
)

CLOCK_TICKS = os.sysconf("SC_CLK_TCK")


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


# The run.


async def measure(tenant_count: int, say: Say) -> FleetFigures:
    """Measure one fleet on a fresh cluster."""
    figures = FleetFigures(tenant_count)
    async with fleet_of(tenant_count, say) as (kube, cluster, folder):
        await kube.apply(policy("fleet-"))
        say(f"{tenant_count} tenants: the operator upgrades them")
        begun = await _upgrade(kube, cluster, folder, figures)
        say(f"{tenant_count} twins: created, until every pod is Ready")
        writes = [write for write in recorded_writes(folder / "writes") if write.begun >= begun]
        figures.write_count = len(writes)
        figures.dry_run_count = sum(write.is_dry_run for write in writes)
        figures.refused_count = sum(write.code >= 400 for write in writes)
        await create_tenants(kube, "floor-", tenant_count)
        say(f"{tenant_count} twins: {len(writes)} writes from a bare client")
        await _floor(kube, cluster, floor.copies(writes), figures)
    return figures


async def _upgrade(kube: KubeClient, cluster: LocalCluster, folder: Path, figures: FleetFigures) -> float:
    """Let the operator upgrade the fleet. Return the instant (monotonic) at which it was told to."""
    async with operator(cluster.kubeconfig_for(SYSTEM, "tenantwave"), folder) as (process, port):
        await quiet(port)
        before, used = await requests(port), _cpu_seconds(process.pid)
        begun = time.monotonic()
        await kube.apply(upgrade("fleet-"))
        await ready_says(kube, "fleet-upgrade", "Succeeded", seconds=120 + figures.tenant_count)
        figures.wall_seconds = time.monotonic() - begun
        await quiet(port)  # profiles are written a second later, Events when there is room: their CPU counts
        after = await requests(port)
        figures.cpu_seconds = _cpu_seconds(process.pid) - used
        figures.peak_rss_megabytes = _peak_rss_bytes(process.pid) / 1e6
        figures.retry_count = sum((await counted(port, "queue_retries", "queue")).values())
        figures.requests = {verb: count for verb, count in sorted((after - before).items()) if count}
    blocks = _read_json(folder / "blocks")
    figures.longest_blocks = blocks
    figures.longest_block_seconds = blocks[0][0] if blocks else 0.0
    return begun


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
    ended = await all_run(kube, "floor-", NEW, figures.tenant_count)
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
