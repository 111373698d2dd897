"""Dying before and after every write, other writers at every point, and writes that arrive late: the same end, and no edit lost."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from typing import Any

import pytest

from fakes import CrashNow, FakeCluster, Late, Request
from support.tenant_story import ACME, OLD, S, Story
from tenantwave.api.conditions import FailReason
from tenantwave.api.kinds import CONFIG_MAP, DEPLOYMENT
from tenantwave.faults import Fault

EDITED = {"app-config": OLD["app-config"] | {"mine": "kept", "log.level": "debug"}, "worker-config": OLD["worker-config"]}
WAYS = ("upgrade", "rollback")

Hook = Callable[[int, Request], None]


async def undisturbed(way: str) -> tuple[int, dict[str, Any]]:
    """Return how many writes one way takes, and what the tenant looks like at its end."""
    story = await Story(live=EDITED).begin()
    await go(story, way)
    return len(story.cluster.writes), story.tenant_objects()


async def go(story: Story, way: str) -> None:
    """Play an upgrade to Succeeded, or to Soaking and then back."""
    if way == "upgrade":
        await story.run(S.SUCCEEDED)
    else:
        if story.status.state not in (S.ROLLING_BACK, S.ROLLED_BACK):
            await story.run(S.SOAKING)
            story.order_back()
        await story.run(S.ROLLED_BACK)


@pytest.mark.parametrize("place", ["before", "after"])
@pytest.mark.parametrize("way", WAYS)
async def test_dying_at_any_write_changes_nothing_about_the_end(way: str, place: str) -> None:
    """A new process goes on from what was stored, wherever the old one died; then neither marker nor lock is left."""
    count, end = await undisturbed(way)
    for fatal in range(1, count + 1):
        story = await Story(live=EDITED).begin()
        setattr(story.cluster, place, dies_at(fatal))
        await go(story, way)
        assert story.tenant_objects() == end, f"died {place} write {fatal}"
        assert story.leftovers() == [], f"died {place} write {fatal}"


@pytest.mark.slow
@pytest.mark.parametrize("way", WAYS)
async def test_dying_twice_changes_nothing_about_the_end(way: str) -> None:
    """Also a process that dies again while it mends what the first one left."""
    count, end = await undisturbed(way)
    for first in range(1, count + 1, 2):
        for gap in (1, 2, 3, 5):
            story = await Story(live=EDITED).begin()
            story.cluster.after, story.cluster.before = dies_at(first), dies_at(first + gap)
            await go(story, way)
            assert (story.tenant_objects(), story.leftovers()) == (end, []), f"died after write {first}, before write {first + gap}"


@pytest.mark.parametrize("way", WAYS)
async def test_an_edit_before_any_write_is_kept(way: str) -> None:
    """A tenant that edits its ConfigMap between any two of our writes finds its edit at the end, and nothing else is different."""
    count, end = await undisturbed(way)
    for number in range(1, count + 1):
        story = await Story(live=EDITED).begin()
        story.cluster.before = edits_at(story.cluster, number)
        await go(story, way)
        assert story.data("app-config").pop("late.edit") == "stays", f"edited before write {number}"
        expected = end["configmaps/app-config"]["data"] | {"late.edit": "stays"}
        assert story.data("app-config") == expected, f"edited before write {number}"
        assert story.leftovers() == [], f"edited before write {number}"


@pytest.mark.parametrize("way", WAYS)
async def test_an_edit_just_before_dying_is_kept(way: str) -> None:
    """The edit falls between our write and our death: the marker tells that we landed, whatever was edited on top."""
    count, end = await undisturbed(way)
    for number in range(1, count + 1):
        story = await Story(live=EDITED).begin()
        story.cluster.after = both(edits_at(story.cluster, number), dies_at(number))
        await go(story, way)
        assert story.data("app-config") == end["configmaps/app-config"]["data"] | {"late.edit": "stays"}, f"at write {number}"
        assert story.leftovers() == [], f"at write {number}"


@pytest.mark.slow
@pytest.mark.parametrize("then", ["lost answer", "death"])
@pytest.mark.parametrize("way", WAYS)
async def test_a_write_that_arrives_late_changes_nothing_about_the_end(way: str, then: str) -> None:
    """The request of write n arrives only when the run has ended; the server refuses it, for the object has moved on.

    A create has no precondition that a later deletion would break: one that outlives a whole rollback is left out here.
    """
    count, end = await undisturbed(way)
    for number in range(1, count + 1):
        if way == "rollback" and await is_create_in_tenant(way, number):
            continue
        story = await Story(live=EDITED).begin()
        story.cluster.before = late_at(number, CrashNow() if then == "death" else None)
        await go(story, way)
        state = story.status.state
        story.cluster.deliver()
        assert story.tenant_objects() == end, f"write {number}"
        assert story.status.state is state


@pytest.mark.slow
@pytest.mark.parametrize("way", WAYS)
async def test_a_write_that_arrives_in_the_middle_is_taken_for_ours(way: str) -> None:
    """The request of write n arrives just before write n+1 .. n+3 of the process that took over."""
    count, end = await undisturbed(way)
    for number in range(1, count + 1):
        for delay in (1, 2, 3):
            story = await Story(live=EDITED).begin()
            story.cluster.before = both(late_at(number, CrashNow()), delivers_at(story.cluster, number + delay))
            await go(story, way)
            story.cluster.deliver()
            assert (story.tenant_objects(), story.leftovers()) == (end, []), f"write {number}, delivered {delay} later"


async def test_a_rollback_ordered_after_any_write_finds_the_way_back() -> None:
    """The upgrade dies at any write and is then taken back: the tenant is as it was, with its edits."""
    story = await Story(live=EDITED).begin()
    before = story.tenant_objects()
    await story.run(S.SOAKING)
    for fatal in range(1, len(story.cluster.writes) + 1):
        story = await Story(live=EDITED).begin()
        story.cluster.after = dies_at(fatal)
        while len(story.cluster.writes) < fatal:
            try:
                await story.step()
            except CrashNow:
                story.restart()
        if story.status.state is S.PREFLIGHT:
            continue
        story.order_back()
        await story.run(S.ROLLED_BACK)
        assert (story.tenant_objects(), story.leftovers()) == (before, []), f"died after write {fatal}"
        assert not story.status.written


async def test_an_unsent_write_that_arrives_after_the_rollback_is_fenced_off() -> None:
    """Taken back with nothing landed: the object's version has been moved, so the request that was on its way is refused."""
    story = await Story(live=EDITED).begin()
    before = story.tenant_objects()
    await story.step()
    await story.die_sending(lambda request: request.kind in ("ConfigMap", "Deployment") and request.namespace == ACME)
    story.order_back()
    await story.run(S.ROLLED_BACK)
    story.cluster.deliver()
    assert (story.tenant_objects(), story.leftovers()) == (before, [])


@pytest.mark.parametrize("seq", range(1, 40))
async def test_a_foreign_image_is_never_overwritten_by_a_rollback(seq: int) -> None:
    """Somebody sets another version at any point of a rollback: it stays, or was already taken back; never a silent overwrite."""
    story = await Story().begin()
    await story.run(S.SOAKING)
    story.order_back()
    done = len(story.cluster.writes)
    edited: list[str] = []

    def edit(number: int, request: Request) -> None:
        if number == done + seq:
            edited.append(story.image("api"))
            container = {"spec": {"template": {"spec": {"containers": [{"name": "api", "image": "shop/api:hotfix"}]}}}}
            story.cluster.edit(DEPLOYMENT, ACME, "api", container)

    story.cluster.before = edit
    for _ in range(20):
        if story.status.state is not S.ROLLING_BACK:
            break
        with suppress(Fault):
            await story.step()
    if edited:
        assert story.image("api") == "shop/api:hotfix"
        if edited == ["shop/api:2.4.0"]:
            assert (story.status.state, story.status.reason) == (S.ROLLBACK_FAILED, FailReason.FOREIGN_VERSION_CHANGE)


async def is_create_in_tenant(way: str, number: int) -> bool:
    """Tell whether write n creates an object of the tenant."""
    story = await Story(live=EDITED).begin()
    await go(story, way)
    request = story.cluster.writes[number - 1]
    return request.verb == "create" and request.namespace == ACME


def dies_at(number: int) -> Hook:
    """Die at this write."""

    def hook(now: int, request: Request) -> None:
        if now == number:
            raise CrashNow

    return hook


def late_at(number: int, then: BaseException | None) -> Hook:
    """Let this write be on its way."""

    def hook(now: int, request: Request) -> None:
        if now == number:
            raise Late(then)

    return hook


def delivers_at(cluster: FakeCluster, number: int) -> Hook:
    """Let the late write arrive before this one."""

    def hook(now: int, request: Request) -> None:
        if now == number:
            cluster.deliver()

    return hook


def edits_at(cluster: FakeCluster, number: int) -> Hook:
    """Let the tenant edit its ConfigMap at this write."""

    def hook(now: int, request: Request) -> None:
        if now == number:
            cluster.edit(CONFIG_MAP, ACME, "app-config", {"data": {"late.edit": "stays"}})

    return hook


def both(first: Hook, second: Hook) -> Hook:
    """Do one after the other."""

    def hook(now: int, request: Request) -> None:
        first(now, request)
        second(now, request)

    return hook
