"""What a tick costs: the operator's own prober and adapter, against a real Prometheus with a large fleet."""

from __future__ import annotations

import asyncio
import os
import resource
import tempfile
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from datetime import datetime, timedelta
from decimal import Decimal
from pathlib import Path
from statistics import median
from typing import Any

from localcluster.binaries import resolve
from localcluster.finding import version_of
from localcluster.preloaded import prometheus_on
from localcluster.tools import TOOLS

from benchmark.gates.history import BLOCK, preload, tenant_names
from tenantwave.adapters.prometheus import PrometheusMetrics
from tenantwave.core.gates import (
    Answer,
    Evaluation,
    GateBook,
    GateContext,
    GateRule,
    Latency,
    QueryFailure,
    Ratio,
    Source,
    TenantInContext,
    TickSample,
    WaveInContext,
    advance,
    due,
)
from tenantwave.engine.prober import Prober

START = BLOCK + timedelta(minutes=100)
FIRST_WRITE = START - timedelta(minutes=3)
INTERVAL = timedelta(seconds=30)
FIRST_LOOK, LAST_LOOK = 4, 12
HEARTBEAT_SECONDS = 0.005
TICK_SECONDS = 300.0
CLOCK_TICKS = os.sysconf("SC_CLK_TCK")
MOST_TICK, MOST_STALL = 5.0, 0.05
RUN = "scale-x7f2k-1-a1"
RULES = (
    GateRule("errors", Ratio('http_requests_total{code=~"5.."}', "http_requests_total"), "namespace", maximum=Decimal("0.01")),
    GateRule("jobs", Ratio("jobs_failed_total", "jobs_total"), "namespace", maximum=Decimal("0.01")),
    GateRule("slow", Latency("request_seconds", "0.5"), "namespace", maximum=Decimal("0.05")),
)

Say = Callable[[str], None]


@dataclass(slots=True)
class ScaleFigures:
    """What ticks over one fleet took, in seconds. `first_tick`: the one that asks for the baselines, too; `tick`: the median of the others.

    `stall`: the longest time in which the event loop did not come back while this process computed something; `stall_wall`: the same whoever
    computed, other processes on this machine included. `judging`: `advance` alone; `asking`: `due` alone; both run beside the loop.
    `slowest_query`: as the adapter waits for it, reading included. `cpu`, `prometheus_cpu`: what a tick costs this process and the server, the
    median. `judging` and `asking` are CPU time, too. `megabytes`: peak RSS of the process so far.
    """

    prometheus: str
    tenant_count: int
    control_count: int
    first_tick: float = 0.0
    tick: float = 0.0
    ticks: list[float] = field(default_factory=list)
    cpu: float = 0.0
    prometheus_cpu: float = 0.0
    stall: float = 0.0
    stall_wall: float = 0.0
    first_stall: float = 0.0
    queries: int = 0
    first_queries: int = 0
    queries_by_gate: dict[str, int] = field(default_factory=dict)
    slowest_query: float = 0.0
    judging: float = 0.0
    asking: float = 0.0
    failures: list[str] = field(default_factory=list)
    verdict: str = ""
    megabytes: float = 0.0

    def document(self) -> dict[str, Any]:
        """Return everything as JSON has it."""
        return asdict(self)


@dataclass
class TestClock:
    """Stands at a tick; only durations are real."""

    time: datetime = START

    def now(self) -> datetime:
        """Return the tick's time."""
        return self.time

    def monotonic(self) -> float:
        """Return real seconds."""
        return time.monotonic()


@dataclass
class RecordingMetrics:
    """Passes questions on, and remembers what came back and how long it took."""

    metrics: PrometheusMetrics
    answers: dict[tuple[str, datetime], Answer] = field(default_factory=dict)
    seconds: list[float] = field(default_factory=list)

    async def query(self, source: Source, promql: str, time_: datetime, timeout: timedelta) -> Answer:
        """Ask."""
        begun = time.monotonic()
        answer = await self.metrics.query(source, promql, time_, timeout)
        self.seconds.append(time.monotonic() - begun)
        self.answers[promql, time_] = answer
        return answer


class Heartbeat:
    """Measures the longest time in which the event loop could not come back to it.

    `wall`: whatever the reason. `own`: at most the CPU time that this process used meanwhile, so that others on the machine do not count.
    """

    def __init__(self) -> None:
        self.wall = self.own = 0.0
        self._task = asyncio.create_task(self._beat())

    async def _beat(self) -> None:
        last, last_cpu = time.monotonic(), time.process_time()
        while True:
            await asyncio.sleep(HEARTBEAT_SECONDS)
            now, cpu = time.monotonic(), time.process_time()
            late = now - last - HEARTBEAT_SECONDS
            self.wall, self.own = max(self.wall, late), max(self.own, min(late, cpu - last_cpu))
            last, last_cpu = now, cpu

    async def stop(self) -> None:
        """End it."""
        self._task.cancel()
        with suppress(asyncio.CancelledError):
            await self._task


def measure_all(binaries: Sequence[Path], sizes: Sequence[tuple[int, int]], tenant_count: int, say: Say) -> list[ScaleFigures]:
    """Measure ticks over waves of these sizes (tenants, control) on each Prometheus. Cost: a minute to prepare 10,000 tenants, then a minute each."""
    with tempfile.TemporaryDirectory(prefix="tenantwave-scale-") as name:
        folder = Path(name)
        begun = time.monotonic()
        count = preload(resolve("promtool"), folder / "data", tenant_count)
        say(f"{count:,} samples of {tenant_count:,} tenants were made in {time.monotonic() - begun:.0f} s")
        found = []
        for binary in binaries:
            with prometheus_on(binary, folder / "data", folder) as server:
                for size, control in sizes:
                    one = asyncio.run(measure(server.url, server.pid, size, control))
                    one.prometheus = version_text(binary)
                    say(f"Prometheus {one.prometheus}: ticks over {size:,} tenants and a control of {control:,} took {one.tick:.1f} s")
                    found.append(one)
        return found


async def measure(url: str, prometheus_pid: int, tenant_count: int, control_count: int) -> ScaleFigures:
    """Run ticks over a wave of so many tenants, and return what they took."""
    names = tenant_names(tenant_count + control_count)
    context = a_context(url, names[:tenant_count], names[tenant_count:])
    figures = ScaleFigures("", tenant_count, control_count)
    metrics, clock, news = RecordingMetrics(PrometheusMetrics(_no_secret)), TestClock(), asyncio.Event()
    prober = Prober(metrics, clock, lambda _: news.set())
    before, cpu = GateBook(), list[tuple[float, float]]()
    try:
        for number in (0, *range(FIRST_LOOK, LAST_LOOK + 1)):
            clock.time = START + number * INTERVAL
            before = prober.book("scale") or before
            metrics.answers.clear()
            metrics.seconds.clear()
            news.clear()
            used = time.process_time(), cpu_seconds(prometheus_pid)
            heartbeat, begun = Heartbeat(), time.monotonic()
            prober.look("scale", context)
            await asyncio.wait_for(news.wait(), TICK_SECONDS)
            seconds = time.monotonic() - begun
            await heartbeat.stop()
            figures.failures += [answer.message for answer in metrics.answers.values() if isinstance(answer, QueryFailure)]
            figures.slowest_query = max(figures.slowest_query, *metrics.seconds)
            if number == 0:
                figures.first_tick, figures.first_stall, figures.first_queries = seconds, heartbeat.own, len(metrics.seconds)
            else:
                figures.ticks.append(seconds)
                cpu.append((time.process_time() - used[0], cpu_seconds(prometheus_pid) - used[1]))
                figures.stall, figures.stall_wall = max(figures.stall, heartbeat.own), max(figures.stall_wall, heartbeat.wall)
        figures.tick, figures.queries = median(figures.ticks), len(metrics.seconds)
        figures.cpu, figures.prometheus_cpu = median(own for own, _ in cpu), median(server for _, server in cpu)
        _judge_again(figures, before, context, metrics, clock.time)
        book = prober.book("scale")
        gate = book.wave("wave") if book is not None else None
        figures.verdict = f"{gate.verdict.value}: {gate.message}" if gate is not None else ""
    finally:
        await prober.close()
        await metrics.metrics.close()
    figures.megabytes = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / 1e6
    return figures


def _judge_again(figures: ScaleFigures, before: GateBook, context: GateContext, metrics: RecordingMetrics, now: datetime) -> None:
    """Repeat the last tick without anything else, to tell the time of the rules from that of everything around them."""
    begun = time.process_time()
    request = due(before, context, now)
    figures.asking = time.process_time() - begun
    if request is None:
        raise ValueError("nothing was due at the last tick")
    for ask in request.asks:
        figures.queries_by_gate[ask.gate] = figures.queries_by_gate.get(ask.gate, 0) + 1
    answers = tuple((ask, metrics.answers[ask.promql, ask.time]) for ask in request.asks)
    begun = time.process_time()
    advance(before, context, TickSample(request.run_id, request.time, request.interval, now, answers))
    figures.judging = time.process_time() - begun


def a_context(url: str, wave: Sequence[str], control: Sequence[str]) -> GateContext:
    """Return a wave of one cohort with three gates."""
    return GateContext(
        run_id=RUN,
        source=Source(url, timeout=timedelta(seconds=60)),
        rules=RULES,
        evaluation=Evaluation(interval=INTERVAL, warm_up=timedelta(0)),
        waves=(WaveInContext("wave", timedelta(minutes=10)),),
        tenants=tuple(TenantInContext(name, "wave", START, FIRST_WRITE) for name in wave),
        control=tuple(control),
    )


def cpu_seconds(pid: int) -> float:
    """Return user and system time of a process so far."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / CLOCK_TICKS


def version_text(binary: Path) -> str:
    """Return the version that a Prometheus says it is."""
    return ".".join(map(str, version_of(binary, TOOLS["prometheus"]) or ("unknown",)))


def complaints(found: Sequence[ScaleFigures]) -> list[str]:
    """Return what is beyond the budget, a sentence each."""
    lines = []
    for one in found:
        name = f"Prometheus {one.prometheus}, {one.tenant_count:,} tenants"
        if one.tick > MOST_TICK:
            lines.append(f"{name}: a tick took {one.tick:.1f} s; {MOST_TICK:g} s are the aim")
        if one.stall > MOST_STALL:
            lines.append(f"{name}: the event loop stalled for {1000 * one.stall:.0f} ms; {1000 * MOST_STALL:.0f} ms are the aim")
        if one.failures:
            lines.append(f"{name}: {len(one.failures)} questions had no answer, the first: {one.failures[0]}")
    return lines


def table(found: Sequence[ScaleFigures]) -> str:
    """Return the figures as a Markdown table, a column for each fleet."""
    rows = [
        ("3 gates, one cohort", [f"{one.tenant_count:,} + control {one.control_count:,}, Prometheus {one.prometheus}" for one in found]),
        ("tick, median (slowest)", [f"{one.tick:.1f} s ({max(one.ticks):.1f} s)" for one in found]),
        ("first tick, with the baselines", [f"{one.first_tick:.1f} s" for one in found]),
        ("queries of a tick (of the first)", [f"{one.queries} ({one.first_queries})" for one in found]),
        ("slowest query", [f"{one.slowest_query:.1f} s" for one in found]),
        ("CPU time of a tick, operator + Prometheus", [f"{one.cpu:.1f} s + {one.prometheus_cpu:.1f} s" for one in found]),
        ("CPU time of the verdicts, of the questions", [f"{one.judging:.2f} s, {one.asking:.2f} s" for one in found]),
        ("longest stall of the event loop", [f"{1000 * one.stall:.0f} ms" for one in found]),
        ("... with other processes", [f"{1000 * one.stall_wall:.0f} ms" for one in found]),
        ("RSS, peak so far", [f"{one.megabytes:.0f} MB" for one in found]),
        ("verdict", [one.verdict.split(":")[0] for one in found]),
    ]
    lines = [f"| {name} | {' | '.join(cells)} |" for name, cells in rows]
    lines.insert(1, "|---|" + "---|" * len(found))
    return "\n".join([*lines, "", *complaints(found)])


async def _no_secret(name: str) -> None:
    raise ValueError(f"no source of this benchmark has a Secret, yet {name} was asked for")
