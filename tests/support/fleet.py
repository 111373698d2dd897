"""A fleet whose tenants edit their configuration all the time, while upgrades come and go; and the model of what must be there in the end."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

from localcluster.client import eventually

from support.checker import Expected
from support.crashing import Trials
from support.nursery import Operator
from support.story import IMAGE, Story

Object = dict[str, Any]

FIRST = "2.1.0"
EDIT_PAUSE_SECONDS = 0.06
ABORT_REASON = "this round goes back"


def release(version: str) -> dict[str, str]:
    """Return a version's pristine configuration: a key that changes, one that never does, and one that only this version has."""
    return {"pool": version, "mode": "fast", "greeting": "hello", f"only-in-{version}": "yes"}


@dataclass(slots=True)
class Member:
    """One tenant, and what it must be like: the release that it runs, its edits, and how each upgrade ended in it."""

    name: str
    ring: str
    version: str = FIRST
    recorded: str = ""
    edits: dict[str, str] = field(default_factory=dict)
    states: dict[str, str] = field(default_factory=dict)

    def expected(self) -> Expected:
        """Return what the checker is told."""
        return Expected(f"{IMAGE}:{self.version}", release(self.version) | self.edits, self.recorded, dict(self.states))


class Fleet:
    """Tenants in two waves. What is random comes from one seed."""

    def __init__(self, trials: Trials, seed: int) -> None:
        self.trials = trials
        self.members: list[Member] = []
        self.upgrade_names: list[str] = []
        self._random = random.Random(seed)
        self._edit_count = 0

    @property
    def story(self) -> Story:
        return self.trials.story

    @property
    def names(self) -> list[str]:
        return [member.name for member in self.members]

    async def prepare(self, canaries: int, others: int) -> None:
        """Make the tenants and two policies: `quick` lets all through, `slow` keeps the second wave soaking."""
        await self.story.pristine(FIRST, release(FIRST))
        for number in range(canaries + others):
            ring = "canary" if number < canaries else "rest"
            name = await self.story.tenant(f"f{number}", labels={"tenantwave.io/ring": ring}, config=release(FIRST))
            self.members.append(Member(name, ring))
        await self.story.ready()
        canary = {"name": "canary", "selector": {"matchLabels": {"tenantwave.io/ring": "canary"}}, "maxParallel": 2, "soak": "0s"}
        await self.story.policy("quick", waves=[canary, {"name": "rest", "maxParallel": 4, "soak": "1s"}])
        await self.story.policy("slow", waves=[canary, {"name": "rest", "maxParallel": 4, "soak": "1h"}])

    def expected(self) -> dict[str, Expected]:
        """Return the model of all tenants."""
        return {member.name: member.expected() for member in self.members}

    # What the tenants do.

    @asynccontextmanager
    async def editing(self) -> AsyncIterator[None]:
        """Let random tenants set and delete keys at random moments; the model learns of each edit once the API server has taken it."""
        is_over = asyncio.Event()
        editor = asyncio.create_task(self._edit(is_over))
        try:
            yield
        finally:
            is_over.set()
            await editor  # to its end: an edit that is under way belongs to the model
        print(f"{self._edit_count} edits")

    async def _edit(self, is_over: asyncio.Event) -> None:
        while not is_over.is_set():
            await asyncio.sleep(self._random.uniform(0, 2 * EDIT_PAUSE_SECONDS))
            await self._edit_once(self._random.choice(self.members))

    async def _edit_once(self, member: Member) -> None:
        own = [key for key in member.edits if key.startswith("own-")]
        self._edit_count += 1
        if own and self._random.random() < 0.2:
            key, value = self._random.choice(own), None
        else:
            key, value = self._random.choice(["greeting", *(f"own-{number}" for number in range(6))]), f"edit {self._edit_count}"
        await self.story.kube.patch("ConfigMap", "app-config", member.name, {"data": {key: value}})
        if value is None:
            del member.edits[key]
        else:
            member.edits[key] = value

    # What the platform does.

    async def round(self, number: int) -> None:
        """Play one upgrade to its end: every second one is aborted when the first wave has it and the second is under way."""
        version = f"2.{number}.0"
        await self.story.pristine(version, release(version))
        goes_back = number % 2 == 1
        upgrade = await self.story.upgrade(
            f"up-{number}", version, policy="slow" if goes_back else "quick", release={"assumedVersion": FIRST}
        )
        self.upgrade_names.append(upgrade)
        if goes_back:
            await self._under_way(upgrade)
            await self.story.act(upgrade, "Abort", reason=ABORT_REASON)
        await self.story.until(upgrade, "Aborted" if goes_back else "Succeeded", timeout=240)
        for member in self.members:
            if goes_back and member.ring == "rest":
                member.states[upgrade] = "RolledBack|Skipped"
            else:
                member.states[upgrade] = "Succeeded"
                member.version = member.recorded = version

    async def _under_way(self, upgrade: str) -> None:
        """Wait until the first wave is through, and some tenants of the second have been written to."""
        wanted_count = self._random.randint(1, 4)

        async def look() -> bool:
            states = await self.story.states(upgrade)
            canaries = [states.get(member.name) for member in self.members if member.ring == "canary"]
            begun = [state for name, state in states.items() if state in ("Applying", "Converging", "Soaking") and name in self._rest]
            return set(canaries) == {"Succeeded"} and len(begun) >= wanted_count

        await eventually(look, timeout=240, saying=f"{upgrade} is under way in {wanted_count} tenants of the second wave")

    @property
    def _rest(self) -> set[str]:
        return {member.name for member in self.members if member.ring == "rest"}


@dataclass(slots=True)
class Killer:
    """Ends operators at random moments, and starts the next one at once."""

    trials: Trials
    seed: int
    kill_count: int = 0

    async def run(self, kill_count: int, longest_life_seconds: float) -> None:
        """Kill so often; the last successor lives."""
        rng = random.Random(self.seed)
        while self.kill_count < kill_count:
            operator = await self.trials.nursery.operator()
            await operator.says("all caches are warm")
            assert operator.is_running, operator.log()[-3000:]
            await asyncio.sleep(rng.uniform(0, longest_life_seconds))
            assert operator.is_running, operator.log()[-3000:]
            await operator.kill()
            self.kill_count += 1
        await self.trials.nursery.operator()


def tracebacks(operators: Sequence[Operator]) -> list[str]:
    """Return the ends of logs in which an error was nobody's."""
    return [operator.log()[-3000:] for operator in operators if "Traceback" in operator.log()]
