"""The prober beside the loop: never waits, asks each question once, rings the bell, and bounds what it sends."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import Any

import pytest

from gate_builders import NOON, SOURCE, TICK, Fleet, a_context
from support.virtual_time import run_virtually
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


async def test_policies_that_differ_in_label_or_patience_load_the_same_server() -> None:
    """Four at once are for all of them together; another tenant of the server, by its header, has four of its own."""
    metrics, clock = ScriptedMetrics(), StoppedClock()
    prober, news = a_prober(metrics, clock)
    (rule,) = a_context().rules
    rules = tuple(replace(rule, name=f"g{number}", tenant_label=f"label_{number}") for number in range(5))
    sources = {
        "shop": SOURCE,
        "crm": replace(SOURCE, timeout=timedelta(seconds=7), tenant_label="tenant", query_delay=timedelta(seconds=30)),
        "erp": replace(SOURCE, headers=(("X-Scope-OrgID", "erp"),)),
    }
    for name, source in sources.items():
        prober.look(name, replace(a_context(rules=rules, run_id=name), source=source))
    for _ in range(20):
        await asyncio.sleep(0)
    assert metrics.most_busy == 8
    metrics.go.set()
    assert {await asyncio.wait_for(news.get(), 5) for _ in sources} == set(sources)
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


class LoopClock:
    """Shows the time of the running loop, which begins at noon."""

    def now(self) -> datetime:
        """Return the time."""
        return NOON + timedelta(seconds=self.monotonic())

    def monotonic(self) -> float:
        """Return seconds."""
        return asyncio.get_running_loop().time()


@dataclass
class SlowMetrics:
    """Answers each question after so many seconds; notes when each was sent."""

    seconds: float = 0.0
    sent: list[tuple[float, str]] = field(default_factory=list)

    async def query(self, source: Source, promql: str, time: datetime, timeout: timedelta) -> Answer:
        """Return that the fleet is scraped."""
        self.sent.append((asyncio.get_running_loop().time(), promql))
        await asyncio.sleep(self.seconds)
        return Rows((Row({}, time.timestamp()),))


def gates(count: int) -> tuple[Any, ...]:
    """Return so many gates that share no question."""
    (rule,) = a_context().rules
    return tuple(type(rule)(f"g{number}", rule.kind, f"label_{number}", maximum=rule.maximum) for number in range(count))


async def ticked(metrics: SlowMetrics, rules: tuple[Any, ...], ticks: int, per_minute: int = 300) -> list[GateBook]:
    """Look on every second until so many ticks are through; return the books after them."""
    news: asyncio.Queue[str] = asyncio.Queue()
    prober = Prober(metrics, LoopClock(), news.put_nowait, queries_per_minute=per_minute)
    context = a_context(rules=rules, start=NOON + timedelta(days=1))  # so long ahead that only the newest sample is asked for
    books: list[GateBook] = []
    while len(books) < ticks:
        prober.look("shop", context)
        await asyncio.sleep(1)
        if not news.empty():
            news.get_nowait()
            book = prober.book("shop")
            assert book is not None
            books.append(book)
    await prober.close()
    return books


@pytest.mark.parametrize(
    ("seconds", "factors"), [pytest.param(29, [1, 1, 1], id="in time"), pytest.param(31, [2, 2, 2], id="longer than the interval")]
)
def test_a_tick_that_takes_longer_than_its_interval_stretches_it(seconds: float, factors: list[int]) -> None:
    """30 s become 60 s, in which it is in time, and it stays so for a while."""
    metrics = SlowMetrics(seconds)
    books = run_virtually(ticked(metrics, gates(1), 3))
    assert [book.source.interval_factor for book in books] == factors
    assert {book.source.slow_since_time for book in books} == ({None} if factors == [1, 1, 1] else {NOON})
    pauses = {(later - earlier).total_seconds() for earlier, later in zip(ticks_of(books), ticks_of(books)[1:], strict=False)}
    assert pauses == {30.0 * factors[-1]}


def ticks_of(books: list[GateBook]) -> list[datetime]:
    """Return the times of the ticks."""
    return [book.evaluation_time for book in books if book.evaluation_time is not None]


def test_a_source_is_asked_at_most_so_often_a_minute_and_no_metric_is_dropped() -> None:
    """Eight questions a tick where ten a minute are allowed: the interval of 30 s becomes 60 s, and each tick still asks all eight."""
    metrics, rules = SlowMetrics(), gates(8)
    books = run_virtually(ticked(metrics, rules, 8, per_minute=10))
    assert [book.source.interval_factor for book in books] == [1, 1, 2, 2, 2, 2, 2, 2]
    times = [time for time, _ in metrics.sent]
    assert all(later - earlier > 60 - 1e-6 for earlier, later in zip(times, times[10:], strict=False))
    asked = [promql for _, promql in metrics.sent]
    assert [len(set(asked[start : start + 8])) for start in range(0, 64, 8)] == [8] * 8
    assert len(asked) == 64


def test_what_is_within_its_share_is_never_slowed() -> None:
    """Ten a minute are allowed, and ten are asked."""
    books = run_virtually(ticked(SlowMetrics(), gates(5), 6, per_minute=10))
    assert {book.source.interval_factor for book in books} == {1}


async def test_each_tick_is_one_line_with_its_figures(caplog: pytest.LogCaptureFixture) -> None:
    """For machines each; for people those that say something new. Failures stand in it, with the server's own words."""
    failure = QueryFailure(FailureKind.QUERY_INVALID, "refused: no such function", detail="line 1, column 7")
    metrics, clock = ScriptedMetrics(lambda _: failure), StoppedClock()
    metrics.go.set()
    prober, news = a_prober(metrics, clock)
    with caplog.at_level(logging.DEBUG, logger="tenantwave.engine.prober"):
        for _ in range(2):
            prober.look("shop", a_context())
            await asyncio.wait_for(news.get(), 5)
            clock.time += TICK
    await prober.close()
    first, second = caplog.records
    assert [vars(record)["is_news"] for record in (first, second)] == [True, False]
    assert [record.levelname for record in (first, second)] == ["WARNING", "INFO"]
    tick = vars(second)["fields"]["tick"]
    assert tick.pop("durationSeconds") >= 0
    words = "errors (freshness): QueryInvalid: refused: no such function line 1, column 7"
    assert tick == {
        "upgrade": "shop",
        "time": (NOON + TICK).isoformat(),
        "verdicts": {"canary": "Unknown"},
        "questions": 1,
        "failures": 1,
        "isSlow": False,
        "problems": [words],
    }
    assert first.getMessage() == f"gates of shop at {NOON.isoformat()}: canary Unknown; 1 questions, 1 without an answer; gate {words}"
