"""The prober beside the loop: never waits, asks each question once, rings the bell, and bounds what it sends."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime, timedelta

import pytest

from gate_builders import NOON, TICK, Fleet, a_context
from tenantwave.core.gates import Answer, Ask, FailureKind, GateBook, Part, QueryFailure, Row, Rows, Source
from tenantwave.engine.prober import Prober


@dataclass
class StoppedClock:
    """Shows the time that it is told."""

    time: datetime = NOON

    def now(self) -> datetime:
        """Return the time."""
        return self.time

    def monotonic(self) -> float:
        """Return seconds."""
        return self.time.timestamp()


@dataclass
class ScriptedMetrics:
    """Answers when it is let; counts what it was asked, and how much of it at once."""

    answer: Callable[[str], Answer] = lambda _: Rows(())
    go: asyncio.Event = field(default_factory=asyncio.Event)
    asked: list[str] = field(default_factory=list)
    busy: int = 0
    most_busy: int = 0

    async def query(self, source: Source, promql: str, time: datetime, timeout: timedelta) -> Answer:
        """Return the scripted answer."""
        self.asked.append(promql)
        self.busy += 1
        self.most_busy = max(self.most_busy, self.busy)
        await self.go.wait()
        self.busy -= 1
        return self.answer(promql)


def a_prober(metrics: ScriptedMetrics, clock: StoppedClock) -> tuple[Prober, asyncio.Queue[str]]:
    """Return a prober and the bell that it rings."""
    news: asyncio.Queue[str] = asyncio.Queue()
    return Prober(metrics, clock, news.put_nowait), news


async def test_a_look_returns_at_once_and_the_bell_rings_later() -> None:
    """What is known now is returned; the tick comes in beside."""
    metrics, clock = ScriptedMetrics(), StoppedClock()
    prober, news = a_prober(metrics, clock)
    assert prober.look("shop", a_context()) == GateBook()
    assert news.empty()
    metrics.go.set()
    assert await asyncio.wait_for(news.get(), 5) == "shop"
    book = prober.look("shop", a_context())
    assert (book.evaluation_time, book.waves["canary"].reason) == (NOON, "Blind")
    await prober.close()


async def test_one_tick_at_a_time_and_none_twice() -> None:
    """Many reconciles in one interval send one freshness query; the next interval sends the next."""
    metrics, clock = ScriptedMetrics(), StoppedClock()
    metrics.go.set()
    prober, news = a_prober(metrics, clock)
    for _ in range(5):
        prober.look("shop", a_context())
    await asyncio.wait_for(news.get(), 5)
    prober.look("shop", a_context())
    assert len(metrics.asked) == 1
    clock.time += TICK
    prober.look("shop", a_context())
    await asyncio.wait_for(news.get(), 5)
    assert len(metrics.asked) == 2
    await prober.close()


async def test_upgrades_with_one_source_share_their_answers() -> None:
    """The same question at the same time is sent once."""
    metrics, clock = ScriptedMetrics(), StoppedClock()
    prober, news = a_prober(metrics, clock)
    prober.look("shop", a_context())
    prober.look("crm", a_context(run_id="crm-1"))
    await asyncio.sleep(0)
    metrics.go.set()
    assert {await asyncio.wait_for(news.get(), 5), await asyncio.wait_for(news.get(), 5)} == {"shop", "crm"}
    assert len(metrics.asked) == 1
    await prober.close()


async def test_a_source_gets_four_questions_at_once() -> None:
    """Of the twenty that its server answers at once."""
    metrics, clock = ScriptedMetrics(), StoppedClock()
    prober, news = a_prober(metrics, clock)
    rules = tuple(
        type(rule)(f"g{number}", rule.kind, f"label_{number}", maximum=rule.maximum) for number in range(10) for rule in a_context().rules
    )
    prober.look("shop", a_context(rules=rules))
    for _ in range(20):
        await asyncio.sleep(0)
    assert metrics.most_busy == 4
    metrics.go.set()
    await asyncio.wait_for(news.get(), 5)
    assert len(metrics.asked) == 10
    await prober.close()


async def test_a_question_that_is_too_large_is_asked_in_halves() -> None:
    """Until it is small enough; every tenant gets its answer."""
    names = [f"tenant-{number}" for number in range(8)]
    clock, fleet = StoppedClock(NOON + 4 * TICK), Fleet()
    context = a_context(*names)

    def answer(promql: str) -> Answer:
        asked = [name for name in names if f'"{name}"' in promql or f"{name}|" in promql or f"|{name}" in promql]
        if len(asked) > 2:
            return QueryFailure(FailureKind.TOO_LARGE, "too large", can_split=True)
        if not asked:
            return Rows((Row({}, clock.time.timestamp()),))
        part = Part.BAD if "5.." in promql else Part.TOTAL
        return fleet.answer(Ask("errors", part, promql, clock.time, "namespace", tuple(asked), NOON))

    metrics = ScriptedMetrics(answer)
    metrics.go.set()
    prober, news = a_prober(metrics, clock)
    prober.look("shop", context)
    await asyncio.wait_for(news.get(), 5)
    book = prober.look("shop", context)
    assert all(book.tenants[name].is_judged for name in names)
    await prober.close()


async def test_a_question_that_cannot_be_halved_stays_a_failure() -> None:
    """One tenant is the least."""
    clock = StoppedClock(NOON + 4 * TICK)
    metrics = ScriptedMetrics(lambda _: QueryFailure(FailureKind.TOO_LARGE, "too large", can_split=True))
    metrics.go.set()
    prober, news = a_prober(metrics, clock)
    prober.look("shop", a_context())
    await asyncio.wait_for(news.get(), 5)
    assert prober.look("shop", a_context()).waves["canary"].reason == "TooLarge"
    await prober.close()


async def test_what_is_stored_is_used_after_a_restart() -> None:
    """Only where the process knows nothing itself."""
    metrics, clock = ScriptedMetrics(), StoppedClock()
    prober, _ = a_prober(metrics, clock)
    stored = GateBook("shop-x7f2k-1-a1")
    assert prober.book("shop") is None
    assert prober.look("shop", a_context(), stored) is stored
    assert prober.look("shop", a_context(), GateBook("other")) is stored
    await prober.close()


async def test_forgetting_calls_off_what_runs() -> None:
    """No late answer brings an upgrade back, and closing leaves nothing behind."""
    metrics, clock = ScriptedMetrics(), StoppedClock()
    prober, news = a_prober(metrics, clock)
    prober.look("shop", a_context())
    await asyncio.sleep(0)
    prober.forget("shop")
    metrics.go.set()
    await prober.close()
    assert prober.book("shop") is None
    assert news.empty()


async def test_a_fault_in_the_adapter_does_not_end_the_looking(caplog: pytest.LogCaptureFixture) -> None:
    """It is logged and rings no bell, which would only repeat it; the next tick is asked again."""

    def answer(_: str) -> Answer:
        raise RuntimeError("a fault")

    metrics, clock = ScriptedMetrics(answer), StoppedClock()
    metrics.go.set()
    prober, news = a_prober(metrics, clock)
    prober.look("shop", a_context())
    for _ in range(20):
        await asyncio.sleep(0)
    assert "could not be evaluated" in caplog.text
    assert news.empty()
    metrics.answer = lambda _: Rows(())
    clock.time += TICK
    prober.look("shop", a_context())
    await asyncio.wait_for(news.get(), 5)
    book = prober.book("shop")
    assert book is not None
    assert book.evaluation_time == clock.time
    await prober.close()


async def test_a_large_fleet_is_computed_beside_the_loop() -> None:
    """Thousands of tenants are judged while the loop goes on turning."""
    names = [f"tenant-{number}" for number in range(2000)]
    clock, fleet = StoppedClock(NOON + 4 * TICK), Fleet()
    context = a_context(*names)

    def answer(promql: str) -> Answer:
        if "max(timestamp" in promql:
            return Rows((Row({}, clock.time.timestamp()),))
        part = Part.BAD if "5.." in promql else Part.TOTAL
        return fleet.answer(Ask("errors", part, promql, clock.time, "namespace", tuple(names), NOON))

    metrics = ScriptedMetrics(answer)
    metrics.go.set()
    prober, news = a_prober(metrics, clock)
    prober.look("shop", context)
    turns = 0
    async with asyncio.timeout(20):
        while news.empty():
            turns += 1
            await asyncio.sleep(0.001)
    assert turns > 5
    assert prober.look("shop", context).waves["canary"].healthy_count == 2000
    await prober.close()
