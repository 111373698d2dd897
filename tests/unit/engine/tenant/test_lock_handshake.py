"""Who breaks a lock and who asks for it again, in every order of their requests: never do two runs write in one tenant.

Each process is a coroutine that stops before each of its requests; all schedules are played, one by one.
"""

from __future__ import annotations

import types
from collections.abc import Awaitable, Callable, Coroutine, Generator, Iterator
from typing import Any

import pytest

from fakes import FakeCluster
from tenantwave.api.kinds import LEASE, TENANT_RUN, Kind
from tenantwave.engine.tenant.failure import Busy
from tenantwave.engine.tenant.locks import TenantLock
from tenantwave.faults import Fault
from tenantwave.ports import Body

OWN = "tenantwave-system"
LOCK = "tenant-ns-1"


@types.coroutine
def turn() -> Generator[None, None, None]:
    """Stop until the schedule says that it is this process's turn."""
    yield


class OneProcess:
    """The API server as one process sees it: each request waits for its turn."""

    def __init__(self, cluster: FakeCluster) -> None:
        self._cluster = cluster

    async def get(self, kind: Kind, namespace: str, name: str) -> dict[str, Any]:
        """Return the object, in its turn."""
        await turn()
        return await self._cluster.get(kind, namespace, name)

    async def create(self, kind: Kind, body: Body, *, dry_run: bool = False) -> dict[str, Any]:
        """Create the object, in its turn."""
        await turn()
        return await self._cluster.create(kind, body)

    async def replace(self, kind: Kind, body: Body, *, subresource: str = "", dry_run: bool = False) -> dict[str, Any]:
        """Replace the object, in its turn."""
        await turn()
        return await self._cluster.replace(kind, body, subresource=subresource)

    async def delete(self, kind: Kind, namespace: str, name: str, *, uid: str = "", resource_version: str = "") -> None:
        """Delete the object, in its turn."""
        await turn()
        await self._cluster.delete(kind, namespace, name, uid=uid, resource_version=resource_version)


class Unannounced(TenantLock):
    """A lock that is broken without a word: what the handshake is there for."""

    async def _announce(self, lease: dict[str, Any]) -> dict[str, Any]:
        return lease


async def unmarked(run_uid: str) -> bool:
    """No object carries a marker."""
    return False


class Scene:
    """An older run `a`, a younger one `b`, and who writes in the tenant."""

    def __init__(self, kind_of_lock: type[TenantLock], state: str, moved: set[str] | None) -> None:
        self.moved = moved
        """Leases that all who work for `a` know, as the turns of one process do; None: each is a process that has made none."""
        self.cluster = FakeCluster()
        self.kind_of_lock = kind_of_lock
        self.uids = {name: self._put(name, was) for name, was in (("a", state), ("b", "Preflight"))}
        self.writers: list[str] = []

    def _put(self, name: str, state: str) -> str:
        body = {"metadata": {"name": f"{name}.acme", "namespace": OWN}, "status": {"state": state, "written": False}}
        uid: str = self.cluster.put(TENANT_RUN, body)["metadata"]["uid"]
        return uid

    def lock_of(self, name: str) -> TenantLock:
        """Return the lock as one process of this run sees it."""
        port: Any = OneProcess(self.cluster)
        return self.kind_of_lock(port, OWN, "acme", "ns-1", f"{name}.acme", self.uids[name], self.moved if name == "a" else None)

    def leak(self) -> None:
        """Let the create of a process of `a` arrive that was given up."""
        lease = {"metadata": {"name": LOCK, "namespace": OWN, "annotations": {"tenantwave.io/holder": "a.acme"}}}
        if not self.cluster.has(LEASE, OWN, LOCK):
            made = self.cluster.put(LEASE, lease | {"spec": {"holderIdentity": self.uids["a"]}})
            if self.moved is not None:
                self.moved.add(made["metadata"]["uid"])

    async def move(self, name: str, known: dict[str, Any], state: str, written: bool = False) -> dict[str, Any]:
        """Move a TenantRun by CAS. Raises Conflict."""
        return await OneProcess(self.cluster).replace(
            TENANT_RUN, known | {"status": {"state": state, "written": written}}, subresource="status"
        )

    async def work(self, name: str, begins: str, goes_on: str) -> None:
        """Begin, ask for the lock, and write: as PREPARE and APPLY do, or a rollback."""
        known = await OneProcess(self.cluster).get(TENANT_RUN, OWN, f"{name}.acme")
        if known["status"]["state"] != begins:
            known = await self.move(name, known, begins)
        await self.lock_of(name).take(unmarked)
        await self.move(name, known, goes_on, written=True)
        self.writers.append(name)


Process = Callable[[Scene], Awaitable[None]]
Known = Callable[[], set[str] | None]


def unknown() -> None:
    """No process knows a Lease."""


class Everything(set[str]):
    """Whoever has this believes that no Lease need be moved."""

    def __contains__(self, _: object) -> bool:
        return True


async def again(scene: Scene) -> None:
    """`a` is started once more: it moves on, and asks for its lock."""
    await scene.work("a", "Preflight", "Applying")


async def back(scene: Scene) -> None:
    """`a` is ordered back."""
    await scene.work("a", "RollingBack", "RollingBack")


async def younger(scene: Scene) -> None:
    """`b` asks for the tenant."""
    await scene.work("b", "Preflight", "Applying")


async def gives_back(scene: Scene) -> None:
    """`a` has proven itself: it looks for its lock, moves on, gives the lock back and says so, as FINALISE does."""
    known = await OneProcess(scene.cluster).get(TENANT_RUN, OWN, "a.acme")
    lock = scene.lock_of("a")
    if known["status"]["state"] == "Soaking" and await lock.is_ours():
        known = await scene.move("a", known, "Soaking", written=True)
        await lock.release()
        await scene.move("a", known, "Succeeded", written=True)


async def late(scene: Scene) -> None:
    """A process of `a` that is too late gives back what it finds."""
    lock = scene.lock_of("a")
    lock._wanted = True
    await lock.abandon()


async def arrives(scene: Scene) -> None:
    """The create of a process that died arrives at some time."""
    await turn()
    scene.leak()


async def guarded(scene: Scene, process: Process) -> None:
    """Take a fault as the steps do: the next look begins anew."""
    try:
        await process(scene)
    except (Fault, Busy):
        return


def play(scene: Scene, processes: list[Process], schedule: list[int]) -> list[int]:
    """Play one schedule, the first process that is left wherever it says nothing. Return how many were left at each point."""
    alive: list[Coroutine[Any, Any, None]] = [guarded(scene, process) for process in processes]
    for one in alive:
        one.send(None)  # up to its first request
    choices = []
    while alive:
        choices.append(len(alive))
        index = schedule[len(choices) - 1] if len(choices) <= len(schedule) else 0
        try:
            alive[index].send(None)
        except StopIteration:
            del alive[index]
    return choices


def schedules(make: Callable[[], Scene], processes: list[Process]) -> Iterator[tuple[list[int], Scene]]:
    """Yield every schedule with what it led to."""
    schedule: list[int] = []
    while True:
        scene = make()
        choices = play(scene, processes, schedule)
        schedule += [0] * (len(choices) - len(schedule))
        yield list(schedule), scene
        while schedule and schedule[-1] + 1 >= choices[len(schedule) - 1]:
            schedule.pop()
        if not schedule:
            return
        schedule[-1] += 1


def two_writers(
    state: str, is_leaked: bool, processes: list[Process], kind_of_lock: type[TenantLock] = TenantLock, *, known: Known = set
) -> tuple[int, int, int]:
    """Return how many schedules there are, in how many somebody wrote, and in how many two runs did, or one that had lost its lock."""

    def make() -> Scene:
        scene = Scene(kind_of_lock, state, known())
        if is_leaked:
            scene.leak()
        return scene

    outcomes = [(len(set(scene.writers)), _is_locked_by_writer(scene)) for _, scene in schedules(make, processes)]
    return len(outcomes), sum(count > 0 for count, _ in outcomes), sum(count > 1 or not locked for count, locked in outcomes)


def _is_locked_by_writer(scene: Scene) -> bool:
    if not scene.writers:
        return True
    lease = scene.cluster.objects.get((LEASE.plural, OWN, LOCK))
    return lease is not None and lease["spec"]["holderIdentity"] == scene.uids[scene.writers[-1]]


STORIES: dict[str, tuple[str, bool, list[Process]]] = {
    "a lock left behind, its holder waits and starts again": ("Waiting", True, [again, younger]),
    "a lock left behind, its holder is queued and starts again": ("Queued", True, [again, younger]),
    "a lock left behind, its holder has succeeded and goes back": ("Succeeded", True, [back, younger]),
    "a lock left behind, a late process of its holder gives it back": ("Waiting", True, [again, late]),
    "a lock that arrives late": ("Waiting", False, [again, arrives, younger]),
}


@pytest.mark.parametrize("known", [set, unknown], ids=["turns of one process", "processes"])
@pytest.mark.parametrize(("state", "is_leaked", "processes"), STORIES.values(), ids=STORIES)
def test_whatever_the_order_one_run_alone_writes_and_it_has_the_lock(
    state: str, is_leaked: bool, processes: list[Process], known: Known
) -> None:
    """All orders of all requests, and in most of them somebody gets on."""
    count, wrote, both = two_writers(state, is_leaked, processes, known=known)
    assert both == 0
    assert count > 20
    assert wrote > count / 2


@pytest.mark.parametrize("name", [name for name in STORIES if "left behind" in name])
def test_without_the_announcement_two_would_write(name: str) -> None:
    """The search finds what the handshake is there for, where nobody moves the Lease besides."""
    state, is_leaked, processes = STORIES[name]
    assert two_writers(state, is_leaked, processes, Unannounced, known=Everything)[2] > 0


@pytest.mark.parametrize(
    ("known", "loses"), [(unknown, False), (set, False), (Everything, True)], ids=["processes", "turns", "never moved"]
)
def test_who_takes_a_lock_over_keeps_it_from_a_release_that_comes_late(known: Known, loses: bool) -> None:
    """One turn ends the run, and another one is ordered to take it back: only because the Lease is moved does the late delete fail."""
    count, wrote, lost = two_writers("Soaking", True, [gives_back, back], known=known)
    assert (lost > 0) == loses
    assert count > 50
    assert wrote > count / 2
