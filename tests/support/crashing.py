"""Upgrades and rollbacks of single tenants whose operator dies, or is lied to, at a chosen write; and what must be true in the end."""

from __future__ import annotations

import asyncio
import json
import os
import secrets
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from localcluster.client import ApiError, KubeClient, eventually
from localcluster.cluster import LocalCluster

from support import audit
from support.checker import Expected, faults, look
from support.clusters import OPERATOR_NAMESPACE
from support.crash import CRASH_CODE, HELD_FILE_VARIABLE, VARIABLE
from support.nursery import Nursery
from support.story import IMAGE, LONG, PROFILE, RUN, UPGRADE, Story, condition

Object = dict[str, Any]

OLD = {"pool": "10", "mode": "fast", "gone": "soon"}
NEW = {"pool": "20", "mode": "fast", "cache": "on"}
LATER = {"own": "changed", "late": "edit", "cache": "off"}
"""What it edits while it soaks; one of them a key that the release has brought."""

SEED_VARIABLE = "TENANTWAVE_TEST_SEED"


def chosen_seed() -> int:
    """Return the seed of this run and print it, so that what it has found can be found again."""
    seed = int(os.environ.get(SEED_VARIABLE) or secrets.randbelow(10**6))
    print(f"{SEED_VARIABLE}={seed}")
    return seed


def own_edits(tenant: str) -> dict[str, str]:
    """Return what a tenant has edited before the upgrade: a key of the release, and one of its own."""
    return {"mode": f"as {tenant} likes it", "own": tenant}


@dataclass(frozen=True, slots=True)
class Trial:
    """One tenant with an upgrade of its own."""

    tenant: str
    upgrade: str

    def upgraded(self) -> Expected:
        """Return what it is like after an upgrade."""
        return _expected("2.4.0", NEW | self.own, "2.4.0", {self.upgrade: "Succeeded"})

    def taken_back(self) -> Expected:
        """Return what it is like after a rollback, with what it has edited meanwhile."""
        return _expected("2.3.1", OLD | self.own | LATER, "2.3.1", {self.upgrade: "RolledBack"})

    def aborted(self) -> Expected:
        """Return what it is like if its upgrade was aborted early, when perhaps nothing of it had landed."""
        return _expected("2.3.1", OLD | self.own, None, {self.upgrade: "RolledBack|Skipped"})

    @property
    def own(self) -> dict[str, str]:
        """Return what it had edited before the upgrade. It differs from tenant to tenant, and so do the objects that are saved."""
        return own_edits(self.tenant)


def _expected(version: str, data: Mapping[str, str], recorded: str | None, states: Mapping[str, str]) -> Expected:
    return Expected({"Deployment/api": f"{IMAGE}:{version}"}, {"app-config": data}, recorded, states)


class Trials:
    """Makes trials and puts them through."""

    def __init__(self, story: Story, nursery: Nursery, cluster: LocalCluster) -> None:
        self.story = story
        self.nursery = nursery
        self.cluster = cluster
        self._used_count = 0

    @property
    def kube(self) -> KubeClient:
        return self.story.kube

    async def prepare(self, soak: str) -> None:
        """Put the catalogue and a policy of one wave there."""
        await self.story.pristine("2.3.1", OLD)
        await self.story.pristine("2.4.0", NEW)
        await self.story.policy(waves=[{"name": "all", "maxParallel": "100%", "soak": soak}])

    async def tenants(self, count: int) -> list[str]:
        """Make tenants that run 2.3.1, with edits of their own."""
        made = []
        for _ in range(count):
            name = f"t{self._used_count}"
            self._used_count += 1
            tenant = self.story.unique(name)
            made.append(await self.story.tenant(name, labels={"example.com/trial": tenant}, config=OLD | own_edits(tenant)))
        await self.story.ready()
        return made

    async def begin(self, tenant: str, **spec: Any) -> Trial:
        """Apply an upgrade of this tenant alone."""
        selector = {"matchLabels": {f"tenantwave.io/product-{self.story.product}": "true", "example.com/trial": tenant}}
        upgrade = await self.story.upgrade(f"up-{tenant.partition('-')[0]}", tenantSelector=selector, **spec)
        return Trial(tenant, upgrade)

    async def soaking(self, count: int) -> list[Trial]:
        """Upgrade tenants until all soak, edit them, and end the operator."""
        trials = [await self.begin(tenant) for tenant in await self.tenants(count)]
        operator = await self.nursery.operator()
        for trial in trials:
            await self.story.until_run(trial.upgrade, trial.tenant, lambda run: run.get("state") == "Soaking", "Soaking")
        await self.settled(trials)
        await operator.kill()
        for trial in trials:
            for key, value in LATER.items():
                await self.story.edit(trial.tenant, key, value)
        return trials

    async def settled(self, trials: Sequence[Trial]) -> None:
        """Wait until status and profiles show that everybody soaks: then nothing is written any more."""
        for trial in trials:
            await self.story.until(trial.upgrade, "Soaking")
            await self.kube.wait_until(PROFILE, "tenant", trial.tenant, _shows_soaking, saying="shows that it soaks")

    # Judgement.

    async def ends(self, trial: Trial, reason: str, expected: Expected, timeout: float = 400) -> None:
        """Wait until the upgrade has ended so, and then until the checker finds no fault in the tenant."""
        await self.story.until(trial.upgrade, reason, timeout=timeout)
        await self.is_well({trial.tenant: expected})

    async def is_well(self, expected: Mapping[str, Expected], timeout: float = 60) -> None:
        """Wait until the checker finds no fault. Raises AssertionError with those that it still finds when the time is over."""
        found: list[str] = []

        async def look_again() -> bool:
            nonlocal found
            found = faults(await look(self.kube, OPERATOR_NAMESPACE, list(expected)), expected)
            return not found

        try:
            await eventually(look_again, timeout=timeout)
        except TimeoutError:
            raise AssertionError("\n".join(found)) from None

    def landed(self, mark: int, tenants: Sequence[str]) -> list[tuple[str, str]]:
        """Return the operator's writes of content to objects of tenants since a mark of the audit log: the object, and the marker."""
        return audit.landed(self.cluster, mark, tenants)

    async def assert_written_once(self, mark: int, tenants: Sequence[str]) -> None:
        """Require one landed write of content to each ConfigMap and each Deployment since a mark, and that the journal knows of it."""
        landed = self.landed(mark, tenants)
        places = [f"{tenant}/{place}" for tenant in tenants for place in ("configmaps/app-config", "deployments/api")]
        assert sorted(place for place, _ in landed) == sorted(places)
        await self.assert_journal_knows(landed)

    async def assert_journal_knows(self, landed: Sequence[tuple[str, str]]) -> None:
        """Require that the TenantRuns call each of these writes landed, though perhaps taken back."""
        known = {
            f"{run['metadata']['uid']}/{intent['seq']}": intent.get("state", "Issued")
            for run in await self.kube.list(RUN, OPERATOR_NAMESPACE)
            for intent in (run.get("status") or {}).get("intents") or []
        }
        denied = {marker: known.get(marker) for _, marker in landed if known.get(marker) not in ("Landed", "Reverted")}
        assert denied == {}, "these writes landed, and their intents say otherwise"

    # Disturbance.

    async def die(self, fault: str, trial: Trial, reason: str, held_file: Path | None = None) -> bool:
        """Start an operator that dies at a write. Returns False if it came to the end without that write."""
        environment = {VARIABLE: fault} | ({HELD_FILE_VARIABLE: str(held_file)} if held_file else {})
        operator = await self.nursery.operator(**environment)

        async def is_over() -> bool:
            return not operator.is_running or condition(await self.kube.get(UPGRADE, trial.upgrade), "Ready").get("reason") == reason

        await eventually(is_over, timeout=LONG, saying=f"{trial.tenant} died at {fault}", pause=0.05)
        if operator.is_running:
            await operator.kill()
            return False
        assert await operator.ends(1) == CRASH_CODE, operator.log()[-3000:]
        return True

    async def deliver(self, held_file: Path, as_operator: KubeClient) -> int:
        """Send a request that was held back, and return the answer's code."""
        held = json.loads(await asyncio.to_thread(held_file.read_text))
        try:
            await as_operator.request(held["method"], held["path"], held["body"].encode(), query=held["query"], content_type=held["type"])
        except ApiError as error:
            return error.status
        return 200


def _shows_soaking(profile: Object) -> bool:
    return bool(profile.get("status", {}).get("upgrade", {}).get("state") == "Soaking")
