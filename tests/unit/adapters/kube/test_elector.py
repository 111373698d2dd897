"""Who leads: never two at a time, whatever the network does. All times are those of a clock that jumps."""

from __future__ import annotations

import asyncio
from typing import Any

import orjson
import pytest

from support.virtual_time import run_virtually
from tenantwave.adapters.kube.elector import Alone, Elector, Terms
from tenantwave.adapters.kube.transport import NotSent, Reply, Request


class LeaseServer:
    """One Lease in memory."""

    def __init__(self) -> None:
        self.lease: dict[str, Any] | None = None
        self.version = 0

    def line(self) -> Line:
        return Line(self)

    def answer(self, request: Request) -> Reply:
        body: dict[str, Any] = orjson.loads(request.body) if request.body else {}
        if request.method == "GET":
            return self.reply(200, self.lease) if self.lease else self.reply(404, {})
        if request.method == "POST" and self.lease:
            return self.reply(409, {"reason": "AlreadyExists"})
        if request.method == "PUT" and (not self.lease or body["metadata"]["resourceVersion"] != self.lease["metadata"]["resourceVersion"]):
            return self.reply(409, {"reason": "Conflict"})
        self.version += 1
        self.lease = body | {"metadata": body["metadata"] | {"resourceVersion": str(self.version)}}
        return self.reply(201 if request.method == "POST" else 200, self.lease)

    @staticmethod
    def reply(code: int, body: Any) -> Reply:
        return Reply(code, orjson.dumps(body), {})


class Line:
    """One process's connection to it; its weather may be fair, or the line hangs, is refused or forbidden."""

    def __init__(self, server: LeaseServer) -> None:
        self.server = server
        self.weather = "fair"

    async def send(self, request: Request) -> Reply:
        if self.weather == "hangs":
            await asyncio.sleep(3600)
        if self.weather == "refused":
            raise NotSent("connection refused")
        if self.weather == "forbidden":
            return LeaseServer.reply(403, {})
        await asyncio.sleep(0.01)
        return self.server.answer(request)

    def stream(self, request: Request) -> Any:
        raise AssertionError("an elector watches nothing")


def now() -> float:
    return asyncio.get_running_loop().time()


def an_elector(line: Line, name: str) -> Elector:
    return Elector(line, "tenantwave-system", "tenantwave", name, terms=Terms(15, 10, 2), monotonic=now)


async def leads_at(elector: Elector) -> float:
    await elector.acquire()
    return now()


def test_the_first_one_leads_at_once_and_the_second_waits() -> None:
    async def story() -> tuple[bool, bool]:
        server = LeaseServer()
        first, second = an_elector(server.line(), "a"), an_elector(server.line(), "b")
        await first.acquire()
        holding = asyncio.create_task(first.hold())
        waiting = asyncio.create_task(second.acquire())
        await asyncio.sleep(600)
        answer = first.leading, second.leading
        holding.cancel()
        waiting.cancel()
        return answer

    assert run_virtually(story()) == (True, False)


@pytest.mark.parametrize("weather", ["hangs", "refused", "forbidden"])
def test_a_leader_that_cannot_renew_stops_before_the_next_one_begins(weather: str) -> None:
    async def story() -> tuple[float, float]:
        server = LeaseServer()
        line = server.line()
        first, second = an_elector(line, "a"), an_elector(server.line(), "b")
        await first.acquire()
        holding = asyncio.create_task(first.hold())
        waiting = asyncio.create_task(leads_at(second))
        await asyncio.sleep(30)
        line.weather, cut = weather, now()
        await asyncio.sleep(10.01)
        assert not first.leading
        await holding
        lost = now()
        taken = await waiting
        return lost - cut, taken - lost

    lost_after, gap = run_virtually(story())
    assert lost_after <= 12.1, "`hold` returns when its last try is over"
    assert gap > 1


def test_a_leader_that_dies_is_followed_within_twenty_seconds() -> None:
    async def story() -> float:
        server = LeaseServer()
        first, second = an_elector(server.line(), "a"), an_elector(server.line(), "b")
        await first.acquire()
        return await leads_at(second)

    assert 15 <= run_virtually(story()) <= 20


def test_a_process_that_was_stopped_does_not_lead_when_it_wakes() -> None:
    """SIGSTOP: no code of ours runs meanwhile, only the clock goes on."""

    async def story() -> tuple[bool, bool]:
        clock = [0.0]
        elector = Elector(LeaseServer().line(), "ns", "tenantwave", "a", monotonic=lambda: clock[0])
        await elector.acquire()
        before = elector.leading
        clock[0] = 10.0
        return before, elector.leading

    assert run_virtually(story()) == (True, False)


def test_a_released_lease_is_taken_at_the_next_try() -> None:
    async def story() -> float:
        server = LeaseServer()
        first, second = an_elector(server.line(), "a"), an_elector(server.line(), "b")
        await first.acquire()
        waiting = asyncio.create_task(leads_at(second))
        await asyncio.sleep(30)
        released = now()
        await first.release()
        assert not first.leading
        return await waiting - released

    assert run_virtually(story()) <= 2.1


def test_a_lease_that_somebody_took_ends_the_leadership_at_the_next_renewal() -> None:
    async def story() -> float:
        server = LeaseServer()
        first = an_elector(server.line(), "a")
        await first.acquire()
        holding = asyncio.create_task(first.hold())
        await asyncio.sleep(5)
        assert server.lease is not None
        server.version += 1
        server.lease = {
            "metadata": server.lease["metadata"] | {"resourceVersion": str(server.version)},
            "spec": server.lease["spec"] | {"holderIdentity": "b"},
        }
        taken = now()
        await holding
        return now() - taken

    assert run_virtually(story()) <= 2.1


def test_of_many_that_try_at_once_one_wins() -> None:
    async def story() -> int:
        server = LeaseServer()
        electors = [an_elector(server.line(), str(number)) for number in range(10)]
        tasks = [asyncio.create_task(elector.acquire()) for elector in electors]
        await asyncio.sleep(1)
        count = sum(elector.leading for elector in electors)
        for task in tasks:
            task.cancel()
        return count

    assert run_virtually(story()) == 1


def test_a_release_of_what_is_not_ours_changes_nothing() -> None:
    async def story() -> Any:
        server = LeaseServer()
        first, second = an_elector(server.line(), "a"), an_elector(server.line(), "b")
        await first.acquire()
        await second.release()
        assert server.lease is not None
        return server.lease["spec"]["holderIdentity"]

    assert run_virtually(story()) == "a"


def test_alone_one_always_leads() -> None:
    async def story() -> bool:
        alone = Alone()
        await alone.acquire()
        await alone.release()
        return alone.leading

    assert run_virtually(story())
