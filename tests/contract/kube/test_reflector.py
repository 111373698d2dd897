"""A reflector's cache equals what is stored, whatever happened on the way; and it knows our own writes before the watch does."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from typing import Any

import pytest

from support.fake_kube import FakeKube
from support.kube_places import Place
from tenantwave.adapters.kube import client as client_module
from tenantwave.adapters.kube.reflector import Pace, Reflector
from tenantwave.api.kinds import CONFIG_MAP

MAPS = "/api/v1/configmaps"
HURRY = Pace(watch_seconds=20, relist_seconds=600, first_wait_seconds=0.01, longest_wait_seconds=0.1)

View = tuple[str, str]
Change = tuple[View | None, View | None]


class Listening:
    """A reflector of ConfigMaps, what it told, and how often it listed."""

    def __init__(self, place: Place, pace: Pace = HURRY, labels: str = "test=yes") -> None:
        self.changes: list[Change] = []
        self.relists: Counter[str] = Counter()
        self.relisted = 0
        self.reflector: Reflector[View] = Reflector(
            place.client,
            CONFIG_MAP,
            name_and_color,
            on_change=lambda old, new: self.changes.append((old, new)),
            on_relist=self._count,
            telemetry=self,
            namespace=place.namespace,
            labels=labels,
            pace=pace,
        )
        place.client.on_written(self.reflector.wrote)

    def _count(self) -> None:
        self.relisted += 1

    def watch_relist(self, kind: str, reason: str) -> None:
        self.relists[reason] += 1

    def cache_objects(self, kind: str, count: int) -> None:
        pass

    @property
    def views(self) -> set[View]:
        return set(self.reflector.views())


def name_and_color(body: Mapping[str, Any]) -> View:
    return body["metadata"]["name"], (body.get("data") or {})["color"]


@asynccontextmanager
async def running(listening: Listening) -> AsyncIterator[Listening]:
    task = asyncio.create_task(listening.reflector.run())
    try:
        yield listening
    finally:
        task.cancel()
        await asyncio.wait([task])
        assert task.cancelled(), "nothing but a cancellation ends a reflector"


async def until(condition: Callable[[], bool], seconds: float = 20.0) -> None:
    async with asyncio.timeout(seconds):
        while not condition():  # noqa: ASYNC110 - the condition is the server's doing
            await asyncio.sleep(0.01)


def a_map(name: str, color: str, namespace: str = "acme") -> dict[str, Any]:
    return {"metadata": {"name": name, "namespace": namespace, "labels": {"test": "yes"}}, "data": {"color": color}}


async def set_color(place: Place, name: str, color: str, version: str = "") -> dict[str, Any]:
    return await place.client.merge_patch(CONFIG_MAP, place.namespace, name, {"data": {"color": color}}, resource_version=version)


async def test_it_follows_what_happens(place: Place) -> None:
    await place.client.create(CONFIG_MAP, a_map("a", "red", place.namespace))
    async with running(Listening(place)) as listening:
        await listening.reflector.synced()
        assert listening.views == {("a", "red")}
        await place.client.create(CONFIG_MAP, a_map("b", "blue", place.namespace))
        await set_color(place, "a", "green")
        await place.client.delete(CONFIG_MAP, place.namespace, "b")
        await until(lambda: listening.views == {("a", "green")})
        await until(lambda: not listening.reflector.is_unechoed(place.namespace, "a"))
    assert listening.changes == [
        (None, ("a", "red")),
        (None, ("b", "blue")),
        (("a", "red"), ("a", "green")),
        (("b", "blue"), None),
    ]


async def test_a_write_of_ours_is_in_the_cache_when_its_caller_goes_on(place: Place) -> None:
    async with running(Listening(place)) as listening:
        await listening.reflector.synced()
        made = await place.client.create(CONFIG_MAP, a_map("a", "red", place.namespace))
        assert listening.views == {("a", "red")}
        for color in ("green", "blue", "white", "black"):
            made = await set_color(place, "a", color, made["metadata"]["resourceVersion"])
            assert listening.views == {("a", color)}
        await until(lambda: not listening.reflector.is_unechoed(place.namespace, "a"))
        assert listening.views == {("a", "black")}
        await place.client.delete(CONFIG_MAP, place.namespace, "a")
        assert listening.views == set()
        await until(lambda: not listening.reflector.is_unechoed(place.namespace, "a"))
    colors = [new[1] if new else None for _, new in listening.changes]
    assert colors == ["red", "green", "blue", "white", "black", None], "no older event took a newer write back"


async def test_an_object_that_leaves_the_selection_leaves_the_cache(place: Place) -> None:
    async with running(Listening(place)) as listening:
        await place.client.create(CONFIG_MAP, a_map("a", "red", place.namespace))
        await listening.reflector.synced()
        await until(lambda: listening.views == {("a", "red")})
        await place.client.merge_patch(CONFIG_MAP, place.namespace, "a", {"metadata": {"labels": {"test": "no"}}})
        await until(lambda: listening.views == set())


async def test_a_cut_watch_resumes_without_a_list(fake: FakeKube, fake_place: Place) -> None:
    fake.knobs.cut_watch_after = 2
    async with running(Listening(fake_place)) as listening:
        await listening.reflector.synced()
        for number in range(7):
            await fake.put(MAPS, f"map-{number}", a_map(f"map-{number}", "red"), namespace="acme")
        await until(lambda: len(listening.views) == 7)
    assert listening.relists == {"Start": 1}
    assert fake.requests["WATCH"] >= 4
    assert len(listening.changes) == 7, "nothing was told twice"


@pytest.mark.parametrize("how", ["status", "event"])
async def test_a_410_leads_to_a_list_that_finds_what_was_deleted_meanwhile(fake: FakeKube, fake_place: Place, how: str) -> None:
    for number in range(20):
        await fake.put(MAPS, f"map-{number}", a_map(f"map-{number}", "red"), namespace="acme")
    fake.knobs.silent_watches = True
    async with running(Listening(fake_place)) as listening:
        await listening.reflector.synced()
        for number in range(5):
            await fake.remove(MAPS, f"map-{number}", namespace="acme", silently=True)
        (fake.knobs.watch_answers if how == "status" else fake.knobs.watch_errors).append(410)
        fake.knobs.silent_watches = False
        await cut_all_watches(fake)
        await until(lambda: len(listening.views) == 15)
    assert listening.relists == {"Start": 1, "Expired": 1}
    assert listening.relisted == 2
    assert [(old, new) for old, new in listening.changes if new is None] != []
    assert len([new for _, new in listening.changes if new is None]) == 5


async def cut_all_watches(fake: FakeKube) -> None:
    """Restart the server at the same port: all connections break."""
    await fake.__aexit__(None, None, None)
    await fake.__aenter__()


@pytest.mark.parametrize("code", [500, 503, 429])
async def test_another_error_of_the_watch_backs_off_and_resumes(fake: FakeKube, fake_place: Place, code: int) -> None:
    fake.knobs.watch_errors = [code, code]
    async with running(Listening(fake_place)) as listening:
        await listening.reflector.synced()
        await fake.put(MAPS, "a", a_map("a", "red"), namespace="acme")
        await until(lambda: listening.views == {("a", "red")})
    assert listening.relists == {"Start": 1}


async def test_silence_ends_a_watch(fake: FakeKube, fake_place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(client_module, "SILENCE_SECONDS", 0.2)
    fake.knobs.silent_watches = True
    async with running(Listening(fake_place)) as listening:
        await listening.reflector.synced()
        await fake.put(MAPS, "a", a_map("a", "red"), namespace="acme")
        await until(lambda: fake.requests["WATCH"] >= 2)
        fake.knobs.silent_watches = False
        await until(lambda: listening.views == {("a", "red")})
    assert listening.relists == {"Start": 1}


async def test_bookmarks_keep_it_young_and_its_version_fresh(fake: FakeKube, fake_place: Place) -> None:
    """After a compaction a resumed watch needs no list, because a bookmark moved the version on."""
    fake.knobs.bookmark_seconds = 0.05
    async with running(Listening(fake_place)) as listening:
        await listening.reflector.synced()
        for number in range(5):
            await fake.put("/api/v1/secrets", f"other-{number}", namespace="acme")
        await until(lambda: int(listening.reflector._version) >= fake.version)
        fake.forget_history()
        await until(lambda: int(listening.reflector._version) >= fake.version)
        assert listening.reflector.age_seconds < 1
        await cut_all_watches(fake)
        await fake.put(MAPS, "a", a_map("a", "red"), namespace="acme")
        await until(lambda: listening.views == {("a", "red")})
    assert listening.relists == {"Start": 1}


async def test_it_lists_now_and_then_as_a_net(fake: FakeKube, fake_place: Place) -> None:
    await fake.put(MAPS, "a", a_map("a", "red"), namespace="acme")
    async with running(Listening(fake_place, pace=Pace(1, 0.3, 0.01, 0.1))) as listening:
        await listening.reflector.synced()
        await fake.remove(MAPS, "a", namespace="acme", silently=True)
        await until(lambda: listening.views == set())
    assert listening.relists["Periodic"] >= 1


async def test_a_server_that_is_away_at_the_start_is_waited_for(fake: FakeKube, fake_place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(client_module, "FIRST_WAIT_SECONDS", 0.001)
    await fake.__aexit__(None, None, None)
    async with running(Listening(fake_place)) as listening:
        await asyncio.sleep(0.2)
        assert not listening.reflector.is_synced
        await fake.__aenter__()
        await fake.put(MAPS, "a", a_map("a", "red"), namespace="acme")
        await until(lambda: listening.views == {("a", "red")})


async def test_one_object_that_cannot_be_read_touches_no_other(fake: FakeKube, fake_place: Place) -> None:
    await fake.put(MAPS, "bad", {"metadata": {"labels": {"test": "yes"}}}, namespace="acme")
    await fake.put(MAPS, "a", a_map("a", "red"), namespace="acme")
    async with running(Listening(fake_place)) as listening:
        await listening.reflector.synced()
        assert listening.views == {("a", "red")}
        await fake.put(MAPS, "a", {"metadata": {"labels": {"test": "yes"}}}, namespace="acme")
        await until(lambda: listening.views == set())
        await fake.put(MAPS, "bad", a_map("bad", "blue"), namespace="acme")
        await until(lambda: listening.views == {("bad", "blue")})


async def test_a_large_fleet_comes_in_pages_of_500(fake: FakeKube, fake_place: Place) -> None:
    for number in range(2_000):
        await fake.put(MAPS, f"map-{number}", a_map(f"map-{number}", "red"), namespace="acme")
    async with running(Listening(fake_place)) as listening:
        await listening.reflector.synced()
        assert len(listening.reflector) == 2_000
    assert fake.requests["GET"] == 4


async def test_the_echo_of_our_own_write_is_not_projected_again(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    projected: list[str] = []

    def noted(body: Mapping[str, Any]) -> View:
        projected.append(body["metadata"]["resourceVersion"])
        return name_and_color(body)

    listening = Listening(place)
    monkeypatch.setattr(listening.reflector, "_project", noted)
    async with running(listening):
        await listening.reflector.synced()
        made = [await place.client.create(CONFIG_MAP, a_map(name, "red", place.namespace)) for name in ("a", "b")]
        await until(lambda: not any(listening.reflector.is_unechoed(place.namespace, name) for name in ("a", "b")))
    assert projected == [body["metadata"]["resourceVersion"] for body in made], "once for each write, from its reply or from the watch"
