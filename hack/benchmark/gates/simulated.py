"""A Prometheus that answers the product's own questions out of simulated counters.

It goes by the fields of a question alone (for whom, which number, from when to when), so it needs no PromQL; that the queries mean what the
fields say is proven elsewhere, on real servers.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from random import Random

from benchmark.gates.traffic import START, TICK, Tenant
from tenantwave.core.gates import Answer, Ask, FailureKind, Part, QueryFailure, Row, Rows

AWAY = QueryFailure(FailureKind.UNREACHABLE, "Prometheus at prometheus.test cannot be reached")


@dataclass
class SimulatedPrometheus:
    """Answers questions about tenants.

    `away`: ticks at which it neither answers nor scrapes. `restarts`: the ticks during which a tenant's counters began anew.
    """

    tenants: Mapping[str, Tenant]
    away: frozenset[int] = frozenset()
    restarts: Mapping[str, Restart] = field(default_factory=dict)

    def answer(self, ask: Ask, now_tick: int) -> Answer:
        """Return what a Prometheus would answer at this tick."""
        if now_tick in self.away:
            return AWAY
        if ask.part is Part.FRESHNESS:
            return Rows((Row({}, ask.time.timestamp()),))
        if ask.start_time is None:
            raise ValueError(f"the question {ask.part.value} of gate {ask.gate} has no start: the simulation knows windows only")
        start, end = tick_of(ask.start_time), tick_of(ask.time)
        if ask.part is Part.COVERAGE:
            return Rows((Row({}, float(sum(tick not in self.away for tick in range(round(start) + 1, round(end) + 1)))),))
        return Rows(tuple([Row({ask.label: name}, self._count(name, ask.part, start, end)) for name in ask.tenants]))

    def _count(self, name: str, part: Part, start: float, end: float) -> float:
        series = self.tenants[name].series
        values = series.totals if part is Part.TOTAL else series.bads
        count = series.between(values, start, end)
        restart = self.restarts.get(name)
        if restart is None or not start < restart.tick <= end:
            return count
        # What came between the last scrape of the old process and its end is lost; the rest is stretched to the edges of the window.
        lost = series.between(values, restart.tick - 1, restart.tick) * restart.lost[part]
        return max(0.0, count - lost) * (1.0 + restart.stretch / (end - start))


@dataclass(frozen=True, slots=True)
class Restart:
    """A tenant's process began anew. `lost`: the shares of that tick's events that nobody scraped. `stretch`: in ticks."""

    tick: int
    lost: Mapping[Part, float]
    stretch: float

    @staticmethod
    def draw(random: Random, last_tick: int) -> Restart:
        """Return one at any tick. Each counter loses a share of its own, so that more may have failed than there were."""
        return Restart(random.randint(1, last_tick), {Part.TOTAL: random.random(), Part.BAD: random.random()}, random.random())


def tick_of(time: datetime) -> float:
    """Return the tick that an instant belongs to."""
    return (time - START) / TICK


def time_of(tick: int) -> datetime:
    """Return the instant of a tick."""
    return START + tick * TICK
