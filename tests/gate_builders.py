"""Builders for gates: a context with one ratio gate, and a fleet that answers every question out of what its tenants do. No clock, no
network."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal

from tenantwave.core.gates import (
    Answer,
    Ask,
    Evaluation,
    FailureKind,
    GateBook,
    GateContext,
    GateRule,
    Part,
    Purpose,
    QueryFailure,
    Ratio,
    Row,
    Rows,
    Source,
    TenantInContext,
    TickSample,
    WaveInContext,
    advance,
    due,
)

NOON = datetime(2026, 1, 1, 12, tzinfo=UTC)
TICK = timedelta(seconds=30)
SOURCE = Source("http://prometheus.test:9090")
ERRORS = GateRule("errors", Ratio('http_requests_total{code=~"5.."}', "http_requests_total"), "namespace", maximum=Decimal("0.01"))
UNREACHABLE = QueryFailure(FailureKind.UNREACHABLE, "Prometheus at prometheus.test cannot be reached")


def a_context(
    *names: str,
    rules: tuple[GateRule, ...] = (ERRORS,),
    wave: WaveInContext | None = None,
    run_id: str = "shop-x7f2k-1-a1",
    evaluation: Evaluation | None = None,
    start: datetime = NOON,
    first_write: datetime | None = None,
) -> GateContext:
    """Return a context of one wave whose tenants converged at `start`."""
    wave = wave or WaveInContext("canary", timedelta(minutes=10))
    tenants = tuple(TenantInContext(name, wave.name, start, first_write) for name in names or ("acme",))
    return GateContext(run_id, SOURCE, rules, evaluation or Evaluation(warm_up=timedelta(0)), (wave,), tenants)


@dataclass(frozen=True)
class Traffic:
    """What one tenant does: requests per second, the share that is bad, and whether it has series at all."""

    rate: float = 10.0
    bad: float = 0.0
    has_series: bool = True
    value: float | None = None
    bad_since: datetime | None = None


@dataclass
class Fleet:
    """Answers questions. `outage` makes every answer that failure; `stale` stops the scraping at that instant."""

    traffic: dict[str, Traffic] = field(default_factory=dict)
    outage: QueryFailure | None = None
    stale: datetime | None = None
    before: Traffic = field(default_factory=Traffic)
    asked: list[Ask] = field(default_factory=list)
    missed: float = 1.0

    def answer(self, ask: Ask) -> Answer:
        """Return what a Prometheus would say."""
        self.asked.append(ask)
        if self.outage is not None:
            return self.outage
        if ask.part is Part.FRESHNESS:
            return Rows((Row({}, (self.stale or ask.time).timestamp()),))
        if ask.part is Part.COVERAGE:
            assert ask.start_time is not None
            return Rows((Row({}, self.missed * ((ask.time - ask.start_time) // TICK)),))
        rows = [Row({ask.label: name}, value) for name in ask.tenants if (value := self._value(name, ask)) is not None]
        return Rows(tuple(rows))

    def _value(self, name: str, ask: Ask) -> float | None:
        traffic = self.before if ask.purpose is not Purpose.LIVE else self.traffic.get(name, Traffic())
        if not traffic.has_series:
            return None
        if ask.part is Part.VALUE:
            return traffic.value
        assert ask.start_time is not None
        total = traffic.rate * (ask.time - ask.start_time).total_seconds()
        if ask.part is Part.TOTAL:
            return total
        bad_start = max(ask.start_time, traffic.bad_since or ask.start_time)
        bad = traffic.rate * traffic.bad * max(0.0, (ask.time - bad_start).total_seconds())
        return bad if ask.part is Part.BAD else total - bad


def tick(book: GateBook, context: GateContext, fleet: Fleet, now: datetime) -> GateBook:
    """Ask what is due and take in the answers; the same book if nothing is due."""
    request = due(book, context, now)
    if request is None:
        return book
    answers = tuple((ask, fleet.answer(ask)) for ask in request.asks)
    return advance(book, context, TickSample(request.run_id, request.time, request.interval, now, answers))


def run(
    context: GateContext,
    fleet: Fleet,
    ticks: int,
    *,
    book: GateBook | None = None,
    start: datetime = NOON,
    until: Callable[[GateBook], bool] = lambda _: False,
) -> GateBook:
    """Let `ticks` intervals pass, beginning with `start`."""
    book = book or GateBook()
    for number in range(ticks):
        book = tick(book, context, fleet, start + number * context.evaluation.interval)
        if until(book):
            break
    return book


def with_tenants(context: GateContext, **changes: Mapping[str, object]) -> GateContext:
    """Return the context with fields of some tenants changed (names with underscores)."""
    return replace(
        context,
        tenants=tuple(replace(tenant, **changes.get(tenant.name.replace("-", "_"), {})) for tenant in context.tenants),  # type: ignore[arg-type]
    )
