"""`hack/bench chaos`: whether anything of a tenant's is ever lost, whatever dies, races or lies."""

from __future__ import annotations

import argparse
import asyncio
import secrets
import sys
import tempfile
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from localcluster.access import Cluster
from localcluster.binaries import resolve
from localcluster.client import KubeClient
from localcluster.cluster import LocalCluster

from support.between import Between
from support.cases import Case
from support.chaos import Outcome, play
from support.chart import all_served, apply_chart, operator_kubeconfig
from support.clusters import OPERATOR_NAMESPACE, prepare
from support.dying import Dying, all_moments
from support.every_write import EveryWrite
from support.nursery import Nursery, nursery
from support.story import ACTION, POLICY, PROFILE, RUN, UPGRADE, Story

HELP = """\
chaos: a fleet is upgraded and taken back, again and again, by operators that come through a proxy with the chart's ServiceAccount. They are killed
(SIGKILL) or paused over their successor's start at random moments; requests are lost, arrive late, are refused with 409, 429, 500, 502 or 503;
watches break, or are too old (410). All the while the tenants edit keys, lines of a file, and annotations, now and then between an operator's read
and its write; and one tenant in each round has edited what the release changes, so that it must be held and both values named.

In the end a checker that shares no code with the operator compares tenants, locks, markers, version records, journals, saved objects and the API
server's audit log with a model that knows every edit. What differs is a loss. It prints: kills, edits, losses, seed, seconds.

--every-write instead: a tenant with a Deployment, a StatefulSet, a DaemonSet, a CronJob, two ConfigMaps and a Secret is upgraded, and taken back
out of its soak; its operator dies before, after, and in the midst of (the request arrives after the restart) every single write that there is.

The exit code is 1 if anything was lost.
"""


def add_to(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the command to the parser."""
    found = commands.add_parser(
        "chaos", help="kills, faults and edits, and what they cost", description=HELP, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    found.add_argument("--kills", type=int, default=1000, metavar="N", help="kill so often (default: 1000, about 25 minutes on two cores)")
    found.add_argument("--every-write", action="store_true", help="die at every write of one tenant instead (about 10 minutes)")
    found.add_argument("--tenants", type=int, default=8, metavar="N", help="size of the fleet, at least 4 (default: 8)")
    found.add_argument("--faults", type=float, default=8, metavar="PERCENT", help="share of requests that meet a fault (default: 8)")
    found.add_argument("--seed", type=int, help="repeat the choices of another run (moments still differ)")


def run_chaos(found: argparse.Namespace) -> int:
    """Play, print the line, and return the exit code."""
    seed = found.seed if found.seed is not None else secrets.randbelow(10**6)
    _say(f"seed {seed}")
    try:
        outcome = asyncio.run(_every_write(seed) if found.every_write else _kills(found, seed))
    except (AssertionError, TimeoutError) as error:
        print(f"it did not come to an end, seed {seed}: {error}")
        return 1
    print(*(f"LOSS {loss}" for loss in outcome.losses), outcome.line(), sep="\n")
    return 1 if outcome.losses else 0


async def _kills(found: argparse.Namespace, seed: int) -> Outcome:
    async with _place() as (story, cluster, between, operators):
        canaries = max(1, found.tenants // 4)
        return await play(
            story,
            operators,
            between,
            cluster,
            kill_count=found.kills,
            seed=seed,
            percent=found.faults,
            canaries=canaries,
            others=found.tenants - canaries,
            say=_say,
        )


async def _every_write(seed: int) -> Outcome:
    begun = time.monotonic()
    async with _place() as (story, cluster, between, operators):
        every = EveryWrite(story, operators, between, cluster)
        dying = Dying(all_moments, every.uids, seed)
        done = await every.there_and_back(
            dying, through=[Case(every.name()) for _ in range(8)], back=[Case(every.name(), soak="1h") for _ in range(8)], sweeps=True
        )
        _say(f"points: {len(dying.covered)}; late writes were answered {dict(dying.late_codes)}")
        return Outcome(seed, every.kill_count, edit_count=done, upgrade_count=16, rollback_count=8, seconds=time.monotonic() - begun)


@asynccontextmanager
async def _place() -> AsyncIterator[tuple[Story, LocalCluster, Between, Nursery]]:
    """Give a control plane of our own with the chart on it, and operators that come through a proxy."""
    folder = Path(tempfile.mkdtemp(prefix="tenantwave-chaos-"))
    _say(f"logs are in {folder}")
    with LocalCluster(folder) as cluster:
        await asyncio.to_thread(prepare, cluster)
        async with KubeClient.from_kubeconfig(cluster.kubeconfig, field_manager="bench") as kube:
            await apply_chart(kube, resolve("helm"), OPERATOR_NAMESPACE, {"rbac": {"tenantSecrets": "ReadWrite"}})
            await all_served(kube, (UPGRADE, POLICY, ACTION, PROFILE, RUN))
            login = await asyncio.to_thread(_login, cluster)
            async with Between(login, folder) as between, nursery(between.kubeconfig, folder) as operators:
                yield Story(kube, cluster, lambda name: f"{name}-c4a05e", folder), cluster, between, operators


def _login(cluster: Cluster) -> Path:
    return operator_kubeconfig(cluster, OPERATOR_NAMESPACE)


def _say(line: str) -> None:
    print(line, file=sys.stderr, flush=True)
