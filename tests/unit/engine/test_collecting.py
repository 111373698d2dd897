"""A blob is saved, referred to and collected at the same time, by one process and another: what anything refers to is never lost.

The API server's requests are the steps. Each schedule of them is tried from the start, all of them where they are few, and many at random where
time passes in between as well. What is planted must be found, or the tests would prove nothing.
"""

from __future__ import annotations

import random
from collections.abc import AsyncGenerator, Awaitable, Callable, Coroutine, Generator, Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any

import pytest

from fakes import FakeClock, FakeCluster
from tenantwave.adapters.snapshots import SecretSnapshots
from tenantwave.api.kinds import SECRET, TENANT_RUN, Kind
from tenantwave.core.blobs import secret_name
from tenantwave.core.retention import MARK_ANNOTATION
from tenantwave.engine.retention import Retention, Rules
from tenantwave.faults import SnapshotCorrupt
from tenantwave.telemetry import Silent

OWN = "tenantwave-system"
GRACE = timedelta(hours=8)
HOUR = timedelta(hours=1)
BLOB = b"what stood there before"


class Turn:
    """What a task waits for before each request that matters: to be chosen, once `until` holds."""

    def __init__(self, until: Callable[[], bool] = lambda: True) -> None:
        self.until = until

    def __await__(self) -> Generator[Turn]:
        yield self


class Stepped:
    """The API server; a request on snapshots or TenantRuns waits for its turn, all others pass."""

    def __init__(self, inner: FakeCluster) -> None:
        self._inner = inner

    def __getattr__(self, name: str) -> Callable[..., Awaitable[Any]]:
        async def asked(kind: Kind, *arguments: Any, **more: Any) -> Any:
            if kind in (SECRET, TENANT_RUN):
                await Turn()
            return await getattr(self._inner, name)(kind, *arguments, **more)

        return asked

    async def pages(self, kind: Kind, *arguments: Any, **more: Any) -> AsyncGenerator[tuple[Sequence[dict[str, Any]], str]]:
        if kind in (SECRET, TENANT_RUN):
            await Turn()
        async for page in self._inner.pages(kind, *arguments, **more):
            yield page


@dataclass
class Scene:
    """One blob, one or two operators that save it and refer to it, and one that sweeps."""

    trusted: timedelta = GRACE
    cluster: FakeCluster = field(default_factory=FakeCluster)
    clock: FakeClock = field(default_factory=FakeClock)
    digest: str = ""
    saving: int = 0
    """How many are between the begin of a save and the reference."""
    references: int = 0

    def snapshots(self) -> SecretSnapshots:
        return SecretSnapshots(Stepped(self.cluster), OWN, grace=self.trusted, monotonic=self.clock.monotonic)  # type: ignore[arg-type]

    async def save(self, snapshots: SecretSnapshots, name: str) -> None:
        """Save the blob, and write down that a TenantRun needs it."""
        self.saving += 1
        saved = await snapshots.save(BLOB)
        run = {"metadata": {"name": name, "namespace": OWN}, "spec": {}, "status": {"snapshots": [{"digest": saved.digest}]}}
        await Turn()
        self.cluster.put(TENANT_RUN, run)
        self.references += 1
        self.saving -= 1

    async def sweep(self) -> None:
        rules = Rules(grace=GRACE, pause=timedelta(0))
        stepped: Any = Stepped(self.cluster)
        await Retention(stepped, stepped, OWN, self.clock, Silent(), lambda _: None, rules).sweep()

    async def sweeps(self, count: int) -> None:
        """Sweep, with the grace passing in between: never while somebody saves, or it would have taken that long."""
        for number in range(count):
            if number:
                await Turn(lambda: not self.saving)
                self.clock.forward(GRACE)
            await self.sweep()

    def is_lost(self) -> bool:
        """Tell whether anything refers to the blob, and it is gone or about to go."""
        if not self.references:
            return False
        at_once(self.sweep())
        self.clock.forward(GRACE)
        at_once(self.sweep())
        try:
            at_once(SecretSnapshots(self.cluster, OWN).load(self.digest))
        except SnapshotCorrupt:
            return True
        return MARK_ANNOTATION in (self.cluster.see(SECRET, OWN, secret_name(self.digest, 0))["metadata"].get("annotations") or {})


Task = Coroutine[Any, Any, Any]


def at_once(task: Task) -> Any:
    """Carry a task out without anybody in between."""
    while True:
        try:
            task.send(None)
        except StopIteration as end:
            return end.value


def advance(task: Task) -> Turn | None:
    """Carry a task out to its next turn; None where it has ended."""
    while True:
        try:
            waits_for = task.send(None)
        except StopIteration:
            return None
        if isinstance(waits_for, Turn):
            return waits_for


def play(tasks: dict[str, Task], choose: Callable[[list[str]], str]) -> None:
    """Let the tasks take turns as `choose` says, until all have ended."""
    waiting = {name: turn for name, task in tasks.items() if (turn := advance(task)) is not None}
    while waiting:
        name = choose(sorted(name for name, turn in waiting.items() if turn.until()))
        turn = advance(tasks[name])
        if turn is None:
            del waiting[name]
        else:
            waiting[name] = turn


def every_schedule(scene: Callable[[], tuple[Scene, dict[str, Task]]]) -> tuple[int, int]:
    """Play every schedule. Return how many there are, and in how many something was lost."""
    prefix: list[int] = []
    played = losses = 0
    while True:
        taken: list[tuple[int, int]] = []

        def choose(names: list[str], taken: list[tuple[int, int]] = taken, prefix: list[int] = prefix) -> str:
            index = prefix[len(taken)] if len(taken) < len(prefix) else 0
            taken.append((index, len(names)))
            return names[index]

        told, tasks = scene()
        play(tasks, choose)
        played += 1
        losses += told.is_lost()
        while taken and taken[-1][0] + 1 == taken[-1][1]:
            taken.pop()
        if not taken:
            return played, losses
        prefix = [index for index, _ in taken[:-1]] + [taken[-1][0] + 1]


BEFORE = ("absent", "stored", "marked", "marked long ago")
CACHES = ("cold", "warm")


def begun(before: str, cache: str, trusted: timedelta = GRACE) -> tuple[Scene, SecretSnapshots]:
    """The blob as it stood before, and the memory of the process that saves it."""
    scene = Scene(trusted)
    snapshots = scene.snapshots()
    first = scene.snapshots() if cache == "cold" else snapshots
    scene.digest = at_once(first.save(BLOB)).digest
    if before == "absent":
        scene.cluster.remove(SECRET, OWN, secret_name(scene.digest, 0))
        snapshots = scene.snapshots()
    if before.startswith("marked"):
        at_once(scene.sweep())
    if before == "marked long ago":
        scene.clock.forward(GRACE)
    return scene, snapshots


@pytest.mark.parametrize("cache", CACHES)
@pytest.mark.parametrize("before", BEFORE)
def test_one_saves_while_another_sweeps(before: str, cache: str) -> None:
    """Every interleaving of save, reference, and three sweeps with the grace in between."""

    def scene() -> tuple[Scene, dict[str, Task]]:
        told, snapshots = begun(before, cache)
        return told, {"save": told.save(snapshots, "u.acme"), "sweep": told.sweeps(3)}

    played, losses = every_schedule(scene)
    assert losses == 0, f"{losses} of {played}"
    assert played >= 3


@pytest.mark.parametrize("before", ["marked", "marked long ago"])
def test_two_save_while_one_of_them_sweeps(before: str) -> None:
    """A second operator process, with a memory of its own. There are more schedules than can be played: seeds 0 to 499."""
    lost = []
    for seed in range(500):
        chance = random.Random(seed)
        told, snapshots = begun(before, "warm")
        tasks = {"first": told.save(snapshots, "u.acme"), "second": told.save(told.snapshots(), "v.acme"), "sweep": told.sweep()}
        play(tasks, chance.choice)
        lost += [seed] if told.is_lost() else []
    assert lost == []


def at_random(seed: int, trusted: timedelta = GRACE) -> bool:
    """Play one schedule in which hours pass between requests. Return whether something was lost.

    A reference is written half a grace after its save began at the latest, and a sweep writes a quarter of a grace after it began to read.
    """
    chance = random.Random(seed)
    told, snapshots = begun(chance.choice(BEFORE), "warm", trusted)
    passed = {"save": 0, "sweep": 0}
    at_work = {"save": False, "sweep": False}

    async def saves() -> None:
        for number in range(2):
            await Turn()
            at_work["save"], passed["save"] = True, 0
            await told.save(snapshots, f"u{number}.acme")
            at_work["save"] = False

    async def sweeps() -> None:
        for _ in range(3):
            await Turn()
            at_work["sweep"], passed["sweep"] = True, 0
            await told.sweep()
            at_work["sweep"] = False

    async def hours() -> None:
        for _ in range(24):
            await Turn(lambda: not ((at_work["save"] and passed["save"] >= 4) or (at_work["sweep"] and passed["sweep"] >= 1)))
            passed.update({name: hours + 1 for name, hours in passed.items()})
            told.clock.forward(HOUR)

    weights = {"save": chance.random(), "sweep": chance.random(), "time": 3 * chance.random()}
    play(
        {"save": saves(), "sweep": sweeps(), "time": hours()},
        lambda names: chance.choices(names, [weights[name] + 0.01 for name in names])[0],
    )
    return told.is_lost()


def test_hours_pass_between_requests() -> None:
    """Seeds 0 to 499."""
    assert [seed for seed in range(500) if at_random(seed)] == []


def test_a_memory_that_outlives_a_deletion_is_found() -> None:
    """Planted: the process trusts what it stored for ever."""
    assert any(at_random(seed, trusted=GRACE * 1000) for seed in range(500))


def test_a_save_that_leaves_the_mark_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    """Planted: what is stored already is not looked at."""

    async def careless(self: SecretSnapshots, digest: str, number: int, count: int, part: bytes, **_: Any) -> bytes:
        return part

    scene_before, _ = begun("marked", "cold")
    snapshot = scene_before.cluster.see(SECRET, OWN, secret_name(scene_before.digest, 0))
    monkeypatch.setattr(SecretSnapshots, "_store", careless)

    def scene() -> tuple[Scene, dict[str, Task]]:
        told = Scene()
        told.cluster.put(SECRET, snapshot)
        told.clock.forward(2 * GRACE)
        told.digest = scene_before.digest
        return told, {"save": told.save(told.snapshots(), "u.acme"), "sweep": told.sweep()}

    assert every_schedule(scene)[1] > 0
