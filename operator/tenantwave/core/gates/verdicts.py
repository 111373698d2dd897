"""What the numbers of one tick say about one metric of one tenant, and what its metrics say about the tenant.

The first rule that matches wins. A sign of Failing is a *candidate*: it counts as Inconclusive until it was seen in two ticks in a row outside a
fleet incident, when the tenant is latched (in `reduce`).

Failing is judged on what the window holds, so that good days do not outweigh a bad hour. Healthy is judged on the window together with what
earlier blocks counted, so that a quiet tenant gathers evidence for as long as it needs.
"""

from __future__ import annotations

from collections.abc import Container, Iterable
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from decimal import Decimal
from math import floor, isnan, log

from tenantwave.api.conditions import GateReason

from .book import MetricVerdict, Verdict
from .constants import ALPHA_FAILING, ALPHA_HEALTHY, BASELINE_WINDOW, DISPERSION, LARGEST_NUMBER, LATCH_TICKS, MIN_EVENTS
from .counts import NOTHING, Counts
from .dispersion import Spread
from .exact import has_lost_traffic
from .rules import GateRule, RawQuery
from .samples import QueryFailure
from .statistics import allowed_rate, log_e_above, log_e_below, unacceptable_rate
from .traffic import AN_HOUR_LIKE_ANY, Hour

_NOT_FINITE = "Prometheus answered an infinite number"


@dataclass(frozen=True, slots=True)
class Yardstick:
    """What a tenant's counts are held against.

    `metrics_count` enforced gates share the risk; `fleet_rate` fills up short baselines; `dispersion`: how many bad events come at once;
    `hour`: how busy it is.
    """

    metrics_count: int = 1
    fleet_rate: float = 0.0
    dispersion: float = DISPERSION
    hour: Hour = AN_HOUR_LIKE_ANY


@dataclass(frozen=True, slots=True)
class Memory:
    """What a tenant's earlier looks at one gate leave to the next.

    `since_time`: where the window begins. `counts`, `history`: of the last looks in the same window. `candidate_ticks`: in a row until now.
    `banked`, `closing`, `spread`: see `book.MetricVerdict`.
    """

    since_time: datetime | None = None
    counts: Counts | None = None
    history: tuple[Counts, ...] = ()
    candidate_ticks: int = 0
    banked: Counts | None = None
    closing: Counts | None = None
    closing_time: datetime | None = None
    spread: Spread | None = None

    @property
    def last_looks(self) -> tuple[Counts, ...]:
        """Return the counts of the last two looks in this window, the earlier one first."""
        return (*self.history, self.counts)[-2:] if self.counts is not None else ()


NO_MEMORY = Memory()


def judge_counts(
    rule: GateRule,
    counts: Counts | None,
    memory: Memory = NO_MEMORY,
    *,
    window: timedelta,
    baseline: Counts | None = None,
    yardstick: Yardstick = Yardstick(),
    is_pending: bool = False,
    knows_traffic: bool = True,
) -> MetricVerdict:
    """Judge a ratio or a latency. `counts` None: the tenant has no series. `is_pending`: its baseline was asked for and has not come, so
    it may be shown to be well, but is not blamed: perhaps it was no better before. `knows_traffic`: the yardstick's hour is that of the
    baseline, so that silence can be told from a quiet time.

    Cost: 12 microseconds.
    """
    allowed = allowed_rate(baseline, yardstick.fleet_rate, float(rule.limit))
    limit = rule.limit if allowed == float(rule.limit) else Decimal(f"{allowed:.9f}").normalize()

    def verdict(
        verdict: Verdict, reason: GateReason, seen: Counts | None = None, *, log_e: float | None = None, is_candidate: bool = False,
        expected: float | None = None, detail: str = "",
    ) -> MetricVerdict:  # fmt: skip
        return MetricVerdict(
            rule.name, verdict, reason.value, rule.enforced,
            counts=seen, value=seen.bad / seen.total if seen is not None and seen.total and log_e is not None else None,
            limit=limit, log_e=log_e, window=window, since_time=memory.since_time, history=memory.last_looks,
            candidate_ticks=memory.candidate_ticks + 1 if is_candidate else 0, detail=detail, expected=expected,
            banked=memory.banked, closing=memory.closing, closing_time=memory.closing_time, spread=memory.spread,
        )  # fmt: skip

    if counts is not None and (_is_infinite(counts.bad) or _is_infinite(counts.total)):
        return verdict(Verdict.INCONCLUSIVE, GateReason.NOT_FINITE, detail=_NOT_FINITE)
    is_blank = counts is None or isnan(counts.bad) or isnan(counts.total)
    seen = NOTHING if counts is None or is_blank else counts.clamped()
    expected = _expected(baseline, window, yardstick.hour.drift) if knows_traffic else 0.0
    if has_lost_traffic(expected, seen.total, yardstick.hour.dispersion):
        return verdict(Verdict.INCONCLUSIVE, GateReason.TRAFFIC_LOST, seen, is_candidate=True, expected=expected)
    if is_blank:
        return verdict(Verdict.INCONCLUSIVE, GateReason.NO_DATA)
    log_e = log_e_above(seen.bad / yardstick.dispersion, seen.total / yardstick.dispersion, allowed)
    is_sure = log_e >= log(max(1, yardstick.metrics_count) / ALPHA_FAILING) and seen.total >= MIN_EVENTS
    if is_sure and not _is_clean(seen, memory.last_looks, allowed):
        if is_pending:
            return verdict(Verdict.INCONCLUSIVE, GateReason.BASELINE_PENDING, seen, log_e=log_e)
        return verdict(Verdict.INCONCLUSIVE, GateReason.ABOVE_LIMIT, seen, log_e=log_e, is_candidate=True)
    if _is_shown_below(seen.plus(memory.banked), yardstick.dispersion, allowed):
        return verdict(Verdict.HEALTHY, GateReason.WITHIN_LIMIT, seen, log_e=log_e)
    return verdict(Verdict.INCONCLUSIVE, GateReason.LOW_TRAFFIC, seen, log_e=log_e)


def _expected(baseline: Counts | None, window: timedelta, drift: float) -> float:
    """Return how many requests would be usual in the window."""
    return baseline.total * (window / BASELINE_WINDOW) * drift if baseline is not None else 0.0


def _is_shown_below(counts: Counts, dispersion: float, allowed: float) -> bool:
    return log_e_below(counts.bad / dispersion, counts.total / dispersion, unacceptable_rate(allowed)) >= log(1 / ALPHA_HEALTHY)


def judge_value(
    rule: GateRule, value: float | None, before: MetricVerdict | None, *, window: timedelta | None = None, is_pending: bool = False
) -> MetricVerdict:
    """Judge an increase or a raw query. `value` None: the tenant has no row, which is no data and never 0. `is_pending`: see `judge_counts`."""
    blank = MetricVerdict(rule.name, Verdict.INCONCLUSIVE, GateReason.NO_DATA.value, rule.enforced, limit=rule.limit, window=window)
    if value is None or isnan(value):
        return blank
    if _is_infinite(value):
        return replace(blank, reason=GateReason.NOT_FINITE.value, detail=_NOT_FINITE)
    seen = replace(blank, value=value)
    needed = rule.kind.consecutive if isinstance(rule.kind, RawQuery) else 1
    if is_beyond(rule, value):
        ticks = (before.beyond_ticks if before else 0) + 1
        reason = GateReason.ABOVE_LIMIT if rule.maximum is not None else GateReason.BELOW_LIMIT
        if ticks >= needed and is_pending:
            return replace(seen, reason=GateReason.BASELINE_PENDING.value, beyond_ticks=ticks)
        if ticks >= needed:
            return replace(seen, reason=reason.value, beyond_ticks=ticks, candidate_ticks=_in_a_row(before))
        return replace(seen, reason=reason.value, beyond_ticks=ticks, detail=f"{ticks} of {needed} ticks in a row")
    ticks = (before.within_ticks if before else 0) + 1
    if ticks >= needed:
        return replace(seen, verdict=Verdict.HEALTHY, reason=GateReason.WITHIN_LIMIT.value, within_ticks=ticks)
    return replace(seen, reason=GateReason.FIRST_LOOK_PENDING.value, within_ticks=ticks, detail=f"{ticks} of {needed} ticks in a row")


def not_usable(rule: GateRule, failure: QueryFailure, before: MetricVerdict | None) -> MetricVerdict:
    """Record that nothing can be said at this tick. It ends a row of candidates: evidence must be seen twice in a row, not around a
    hole."""
    kept = before or MetricVerdict(rule.name, Verdict.UNKNOWN, failure.kind.value, rule.enforced, limit=rule.limit)
    return replace(
        kept,
        verdict=Verdict.UNKNOWN,
        reason=failure.kind.value,
        detail=failure.message,
        enforced=rule.enforced,
        candidate_ticks=0,
        beyond_ticks=0,
        within_ticks=0,
    )


def bound_missing(rule: GateRule, counts: Counts, window: timedelta) -> MetricVerdict:
    """Record that the histogram has requests, but no bucket of the stated bound. Never taken for 0 slow ones."""
    return MetricVerdict(
        rule.name, Verdict.UNKNOWN, GateReason.BOUND_MISSING.value, rule.enforced, limit=rule.limit, window=window,
        detail=f"{counts.total:.0f} requests, but no bucket of the bound in `above`; use a bound that the histogram has",
    )  # fmt: skip


def left_out(rule: GateRule, value: float) -> MetricVerdict:
    """Record that the tenant was beyond the limit already before its upgrade, which this version is not blamed for."""
    return MetricVerdict(
        rule.name, Verdict.INCONCLUSIVE, GateReason.FAILING_BEFORE.value, enforced=False, value=value, limit=rule.limit,
        detail="beyond the limit already before the upgrade, so left out",
    )  # fmt: skip


def failed_metric(metrics: Iterable[MetricVerdict], excused: Container[str] = ()) -> str | None:
    """Return the enforced gate whose sign of Failing has been seen often enough to fail the tenant. `excused`: gates in a fleet incident."""
    return next(
        (metric.gate for metric in metrics if metric.enforced and metric.candidate_ticks >= LATCH_TICKS and metric.gate not in excused),
        None,
    )


def decisive(metrics: Iterable[MetricVerdict]) -> MetricVerdict | None:
    """Return the enforced metric that decides a tenant's verdict: of equally serious ones a candidate, else the first."""
    order = list(Verdict)
    enforced = [metric for metric in metrics if metric.enforced]
    return max(enforced, key=lambda metric: (order.index(metric.verdict), metric.is_candidate), default=None)


def is_beyond(rule: GateRule, value: float) -> bool:
    """Tell whether a value breaks the limit.

    `increase` extrapolates: 2 restarts may read as 2.67 in a short window. A counter of whole things is compared by its whole part
    where the limit is whole.
    """
    if not isinstance(rule.kind, RawQuery) and rule.limit == rule.limit.to_integral_value():
        value = floor(value + 1e-6)
    if rule.maximum is not None:
        return value > float(rule.maximum)
    return value < float(rule.limit)


def _is_infinite(value: float) -> bool:
    return abs(value) > LARGEST_NUMBER


def _is_clean(counts: Counts, history: tuple[Counts, ...], allowed: float) -> bool:
    """Tell whether the last two ticks (the last one, at the second look) had requests and were within the limit: what has healed is not
    rolled back."""
    earlier = history[0] if history else Counts(0, 0)
    new_bad, new_total = counts.bad - earlier.bad, counts.total - earlier.total
    return new_total > 0 and new_bad <= allowed * new_total


def _in_a_row(before: MetricVerdict | None) -> int:
    return (before.candidate_ticks if before else 0) + 1
