"""Events: the same news once, at most ten a second, and never in anybody's way."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

from support.virtual_time import run_virtually
from tenantwave import faults
from tenantwave.adapters.kube.events import WAITING_COUNT, EventRecorder, News, Regarding
from tenantwave.api.kinds import TENANT_PROFILE, TENANT_UPGRADE, Kind

UPGRADE = Regarding(TENANT_UPGRADE, "", "shop", "uid-1")
STARTED = News(UPGRADE, "WaveStarted", "wave canary starts with 1 tenant", "StartWave", key="canary")


class Told:
    """A cluster that remembers, a clock, and telemetry."""

    def __init__(self) -> None:
        self.created: list[Mapping[str, Any]] = []
        self.patched: list[Mapping[str, Any]] = []
        self.counts: Counter[tuple[str, str]] = Counter()
        self.broken = False

    def now(self) -> datetime:
        return datetime(2026, 2, 3, tzinfo=UTC) + timedelta(seconds=self.monotonic())

    def monotonic(self) -> float:
        return asyncio.get_running_loop().time()

    async def create(self, kind: Kind, body: Mapping[str, Any], *, dry_run: bool = False) -> dict[str, Any]:
        if self.broken:
            raise faults.Forbidden("no right to create events")
        self.created.append(body)
        return dict(body)

    async def merge_patch(self, kind: Kind, namespace: str, name: str, patch: Mapping[str, Any], **_: Any) -> dict[str, Any]:
        self.patched.append(patch)
        return {}

    def event(self, kind: str, reason: str) -> None:
        self.counts[kind, reason] += 1


def told(moves: Any) -> Told:
    """Play `moves(told, recorder)` and return what was told within an hour."""

    async def story() -> Told:
        world = Told()
        recorder = EventRecorder(world, world, "operator-0", telemetry=world)  # type: ignore[arg-type]  # two methods of the port are enough
        writing = asyncio.create_task(recorder.run())
        await moves(world, recorder)
        await asyncio.sleep(3600)
        assert not writing.done()
        writing.cancel()
        return world

    return run_virtually(story())


def test_an_event_says_what_about_what_and_by_whom() -> None:
    async def moves(world: Told, recorder: EventRecorder) -> None:
        recorder.record(STARTED)
        recorder.record(News(Regarding(TENANT_PROFILE, "acme", "tenant", "uid-2"), "TenantUpgradeHeld", "x" * 2000, "Hold", warning=True))

    first, second = told(moves).created
    assert first["metadata"]["namespace"] == "default", "cluster-scoped objects have their events there"
    assert first["regarding"] == {"apiVersion": "tenantwave.io/v1alpha1", "kind": "TenantUpgrade", "name": "shop", "uid": "uid-1"}
    assert (first["type"], first["reason"], first["action"], first["note"]) == ("Normal", "WaveStarted", "StartWave", STARTED.note)
    assert first["eventTime"] == "2026-02-03T00:00:00.000000Z"
    assert (second["metadata"]["namespace"], second["type"], len(second["note"])) == ("acme", "Warning", 1024)


def test_the_same_news_within_ten_minutes_becomes_a_series() -> None:
    async def moves(world: Told, recorder: EventRecorder) -> None:
        for _ in range(3):
            recorder.record(STARTED)
            await asyncio.sleep(60)
        await asyncio.sleep(600)
        recorder.record(STARTED)

    world = told(moves)
    assert len(world.created) == 2
    assert [patch["series"]["count"] for patch in world.patched] == [2, 3]


def test_at_most_ten_a_second_after_a_burst_of_as_many() -> None:
    async def moves(world: Told, recorder: EventRecorder) -> None:
        for number in range(100):
            recorder.record(News(UPGRADE, "WaveStarted", "", "StartWave", key=str(number)))
        await asyncio.sleep(4.95)
        assert 55 <= len(world.created) <= 60

    assert len(told(moves).created) == 100


def test_what_finds_no_room_is_counted_and_what_fails_is_forgotten() -> None:
    async def moves(world: Told, recorder: EventRecorder) -> None:
        world.broken = True
        for number in range(WAITING_COUNT + 5):
            recorder.record(News(UPGRADE, "WaveStarted", "", "StartWave", key=str(number)))

    world = told(moves)
    assert world.created == []
    assert world.counts == {("Normal", "_dropped"): 5}
