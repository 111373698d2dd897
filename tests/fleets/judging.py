"""The real gates in a fleet in memory: `due` asks, the members' traffic answers, `advance` judges. Only Prometheus is left out."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from fleets.gates import ScriptedGates
from fleets.member import Member
from tenantwave.core.gates import Answer, Ask, FailureKind, GateContext, Part, QueryFailure, Row, Rows, TickSample, advance, due

UNREACHABLE = QueryFailure(FailureKind.UNREACHABLE, "Prometheus at prometheus.test cannot be reached")


@dataclass
class JudgingGates(ScriptedGates):
    """Gates that judge what members do: so many requests a second, and errors where they run a version that ails them, or all are ill."""

    rate: float = 10.0
    usual: float = 0.001
    """The share of errors of who is well."""
    ailing: float = 0.2
    """The share of errors of who is not."""
    _shares: dict[str, list[tuple[datetime, float]]] = field(default_factory=dict)
    """Tenant -> since when it had which share of errors, oldest first."""

    def tick(self, context: GateContext, members: Mapping[str, Member], now: datetime) -> None:
        """Note what everybody does now; ask what is due, and judge the answers."""
        for name, member in members.items():
            share = self.ailing if self.incident or member.live in member.ill else self.usual
            history = self._shares.setdefault(name, [(now - timedelta(days=1), self.usual)])
            if history[-1][1] != share:
                history.append((now, share))
        request = due(self.book, context, now)
        if request is None:
            return
        self.controls.append(context.control)
        answers = tuple((ask, self._answer(ask)) for ask in request.asks)
        self.book = advance(self.book, context, TickSample(request.run_id, request.time, request.interval, now, answers))

    def _answer(self, ask: Ask) -> Answer:
        if self.blind:
            return UNREACHABLE
        if ask.part is Part.FRESHNESS:
            return Rows((Row({}, ask.time.timestamp()),))
        start = ask.start_time or ask.time
        if ask.part is Part.COVERAGE:
            return Rows((Row({}, (ask.time - start) / timedelta(seconds=30)),))
        names = ask.tenants or tuple(self._shares)  # a question without names is about everybody
        return Rows(tuple(Row({ask.label: name}, self._count(name, ask.part, start, ask.time)) for name in names))

    def _count(self, name: str, part: Part, start: datetime, end: datetime) -> float:
        """Return the requests, or the bad ones, of a tenant between two instants."""
        if part is Part.TOTAL:
            return self.rate * (end - start).total_seconds()
        history = self._shares.get(name, [])
        ends = [*(since for since, _ in history[1:]), max(end, start)]
        spans = ((max(since, start), min(until, end), share) for (since, share), until in zip(history, ends, strict=False))
        return sum(self.rate * share * max(0.0, (until - since).total_seconds()) for since, until, share in spans)
