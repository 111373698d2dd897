"""Everything at once: a fleet that is upgraded and taken back while its operators are killed, paused and lied to, and its tenants edit."""

from __future__ import annotations

import asyncio
import random
import time
from collections import Counter
from collections.abc import Callable, Coroutine, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

from localcluster.client import eventually
from localcluster.cluster import LocalCluster

from support import audit
from support.between import Between, Faithful
from support.checker import faults, look, orphans
from support.clusters import OPERATOR_NAMESPACE
from support.fleet import CONFIG, KINDS, Fleet
from support.nursery import Nursery, Operator, tracebacks
from support.story import Story
from support.weather import Weather

LONGEST_LIFE_SECONDS = 1.4
PAUSE_SHARE = 0.15
"""How many operators are paused, not killed: they wake up when a successor is at work, and both work until the old one is killed."""

SETTLE_SECONDS = 90.0


@dataclass(slots=True)
class Outcome:
    """What happened, and what was lost: nothing, if all is well."""

    seed: int
    kill_count: int = 0
    pause_count: int = 0
    edit_count: int = 0
    conflict_count: int = 0
    meddle_count: int = 0
    upgrade_count: int = 0
    rollback_count: int = 0
    spare_count: int = 0
    """Saved objects that nothing names any more: a death between saving and naming leaves them until they are collected."""
    happened: Counter[str] = field(default_factory=Counter)
    losses: list[str] = field(default_factory=list)
    seconds: float = 0.0

    def line(self) -> str:
        """Return all of it in a line."""
        return (
            f"kills {self.kill_count}, pauses {self.pause_count}, edits {self.edit_count} ({self.meddle_count} between a read and its write, "
            f"{self.conflict_count} named in a conflict), faults {sum(self.happened.values())}, upgrades {self.upgrade_count}, "
            f"rollbacks {self.rollback_count}, losses {len(self.losses)}, seed {self.seed}, {self.seconds:.0f} s"
        )


class Reaper:
    """Ends operators at random moments and starts the next one at once."""

    def __init__(self, nursery: Nursery, between: Between, outcome: Outcome) -> None:
        self._nursery = nursery
        self._between = between
        self._outcome = outcome
        self._random = random.Random(outcome.seed)
        self._paused: Operator | None = None

    async def run(self, kill_count: int) -> None:
        """Kill so often; the last successor lives."""
        while self._outcome.kill_count < kill_count:
            begun = time.monotonic()
            operator = await self._start()
            await operator.says("all caches are warm", timeout=120)
            assert operator.is_running, operator.log()[-3000:]
            longest = max(LONGEST_LIFE_SECONDS, 2 * (time.monotonic() - begun))  # where starting is slow, so is everything else
            await self._bury_the_paused()
            await asyncio.sleep(self._random.uniform(0, longest))
            assert operator.is_running, operator.log()[-3000:]
            if self._random.random() < PAUSE_SHARE:
                operator.pause()
                self._outcome.pause_count += 1
                self._paused = operator
            else:
                await operator.kill()
                self._outcome.kill_count += 1
        operator = await self._start()
        await operator.says("all caches are warm", timeout=120)
        await self._bury_the_paused()

    async def _start(self) -> Operator:
        return await self._nursery.operator_at(self._between.kubeconfig, "--no-leader-election")

    async def _bury_the_paused(self) -> None:
        """Wake up the one that was paused, let it meet its successor, and kill it."""
        if self._paused is None:
            return
        self._paused.go_on()
        await asyncio.sleep(self._random.uniform(0, LONGEST_LIFE_SECONDS))
        await self._paused.kill()
        self._outcome.kill_count += 1
        self._paused = None


async def play(
    story: Story,
    nursery: Nursery,
    between: Between,
    cluster: LocalCluster,
    *,
    kill_count: int,
    seed: int,
    percent: float = 8,
    canaries: int = 2,
    others: int = 6,
    say: Callable[[str], None] = print,
) -> Outcome:
    """Play rounds until so many operators were killed, and judge. Args: percent: share of requests that meet a fault."""
    begun = time.monotonic()
    outcome, fleet = Outcome(seed), Fleet(story, seed)
    await fleet.prepare(canaries, others)
    mark = cluster.audit_mark()
    weather = between.script = Weather(seed, percent, fleet.meddle)
    reaper = Reaper(nursery, between, outcome)
    async with fleet.editing():
        reaping = asyncio.create_task(reaper.run(kill_count))
        number = 2
        while not reaping.done():
            await _unless_failed(reaping, fleet.round(number))
            say(f"round {number} is over after {outcome.kill_count} kills, {fleet.edit_count} edits")
            number += 1
        await reaping
    between.script = Faithful()
    outcome.happened = weather.happened
    outcome.losses = await losses(story, cluster, fleet, mark, nursery.operators)
    outcome.spare_count = len(orphans(await look(story.kube, OPERATOR_NAMESPACE, fleet.names)))
    outcome.edit_count, outcome.conflict_count, outcome.meddle_count = fleet.edit_count, fleet.conflict_count, fleet.meddle_count
    ends = Counter(fleet.upgrade_ends.values())
    outcome.upgrade_count, outcome.rollback_count = sum(ends.values()) - ends["Aborted"], ends["Aborted"]
    outcome.seconds = time.monotonic() - begun
    return outcome


async def _unless_failed(reaping: asyncio.Task[None], work: Coroutine[Any, Any, None]) -> None:
    """Do the work to its end, unless the reaper has failed: then nobody would do it."""
    working = asyncio.create_task(work)
    await asyncio.wait([working, reaping], return_when=asyncio.FIRST_COMPLETED)
    if reaping.done() and reaping.exception() is not None:
        working.cancel()
        await reaping
    await working


async def losses(story: Story, cluster: LocalCluster, fleet: Fleet, mark: int, operators: Sequence[Operator]) -> list[str]:
    """Return what is still amiss when there was time to settle: what the checker finds, work that was done again, and crashes of our own."""
    found: list[str] = []

    async def is_well() -> bool:
        nonlocal found
        landed = audit.landed(cluster, mark, fleet.names)
        seen = await look(story.kube, OPERATOR_NAMESPACE, fleet.names, frozenset(marker for _, marker in landed))
        found = [*faults(seen, fleet.expected()), *_repeated(fleet, landed)]
        return not found

    with suppress(TimeoutError):
        await eventually(is_well, timeout=SETTLE_SECONDS, pause=1)
    return found + tracebacks(operators)


def _repeated(fleet: Fleet, landed: Sequence[tuple[str, str]]) -> list[str]:
    """An object is written once for each upgrade that went through, and at most once more for each way back."""
    counts = Counter(place for place, _ in landed)
    return [
        f"{place} was written {counts[place]} times, not {least} to {most} times"
        for member in fleet.members
        for least, most in [_bounds([state for state in member.states.values() if state != "Skipped"])]
        for place in (f"{member.name}/configmaps/{CONFIG}", f"{member.name}/{KINDS[member.component].lower()}s/{member.component}")
        if not least <= counts[place] <= most
    ]


def _bounds(ends: Sequence[str]) -> tuple[int, int]:
    return ends.count("Succeeded"), len(ends) + sum(state != "Succeeded" for state in ends)
