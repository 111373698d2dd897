"""What the numbers of one tick say about one metric of one tenant, and what its metrics say about the tenant.

The first rule that matches wins. A sign of Failing is a *candidate*: it counts as Inconclusive until it was seen in two ticks in a row outside a
fleet incident, when the tenant is latched (in `reduce`).

Failing is judged on what the window holds, so that good days do not outweigh a bad hour. Healthy is judged on the window together with what
earlier blocks counted, so that a quiet tenant gathers evidence for as long as it needs.
"""

from __future__ import annotations

from collections.abc import Container, Iterable
from dataclasses import dataclass, replace
from datetime import timedelta
from decimal import Decimal
from math import floor, isnan, log

from .book import MetricVerdict, Reason, Verdict
from .constants import ALPHA_FAILING, ALPHA_HEALTHY, BASELINE_WINDOW, DISPERSION, LARGEST_NUMBER, LATCH_TICKS, MIN_EVENTS
from .counts import NOTHING, Counts
from .exact import has_lost_traffic
from .rules import GateRule, RawQuery
from .samples import QueryFailure
from .statistics import allowed_rate, log_e_above, log_e_below, unacceptable_rate

_NOT_FINITE = "Prometheus answered an infinite number"


@dataclass(frozen=True, slots=True)
class Yardstick:
    """What a tenant's counts are held against.

    `metrics_count` enforced gates share the risk; `fleet_rate` fills up short baselines; `dispersion`: how many bad events come at once;
    `drift`: how much of its usual traffic the control has at this hour.
    """

    metrics_count: int = 1
    fleet_rate: float = 0.0
    dispersion: float = DISPERSION
    drift: float = 1.0


def judge_counts(
    rule: GateRule,
    counts: Counts | None,
    before: MetricVerdict | None,
    *,
    window: timedelta,
    baseline: Counts | None = None,
    yardstick: Yardstick = Yardstick(),
) -> MetricVerdict:
    """Judge a ratio or a latency. `counts` None: the tenant has no series. `before` is its verdict at the last usable tick of this window.

    Cost: 15 microseconds.
    """
    allowed = allowed_rate(baseline, yardstick.fleet_rate, float(rule.limit))
    limit = rule.limit if allowed == float(rule.limit) else Decimal(f"{allowed:.9f}").normalize()
    if counts is not None and (_is_infinite(counts.bad) or _is_infinite(counts.total)):
        return MetricVerdict(
            rule.name, Verdict.INCONCLUSIVE, Reason.NOT_FINITE.value, rule.enforced, limit=limit, window=window, detail=_NOT_FINITE
        )
    is_blank = counts is None or isnan(counts.bad) or isnan(counts.total)
    seen = NOTHING if counts is None or is_blank else counts.clamped()
    expected = _expected(baseline, window, yardstick.drift)
    if counts is None or is_blank or has_lost_traffic(expected, seen.total):
        lost = has_lost_traffic(expected, seen.total)
        return MetricVerdict(
            rule.name, Verdict.INCONCLUSIVE, (Reason.TRAFFIC_LOST if lost else Reason.NO_DATA).value, rule.enforced,
            counts=seen if lost else None, limit=limit, window=window, candidate_ticks=_in_a_row(before) if lost else 0,
            expected=expected if lost else None, banked=before.banked if before else None,
        )  # fmt: skip
    banked = before.banked if before else None
    history = (*before.history, before.counts)[-2:] if before and before.counts else ()
    bad, total = seen.bad / yardstick.dispersion, seen.total / yardstick.dispersion
    log_e = log_e_above(bad, total, allowed)
    is_sure = log_e >= log(max(1, yardstick.metrics_count) / ALPHA_FAILING) and seen.total >= MIN_EVENTS
    verdict, reason, candidate_ticks = Verdict.INCONCLUSIVE, Reason.LOW_TRAFFIC, 0
    if is_sure and not _is_clean(seen, history, allowed):
        reason, candidate_ticks = Reason.ABOVE_LIMIT, _in_a_row(before)
    elif _is_shown_below(seen.plus(banked), yardstick.dispersion, allowed):
        verdict, reason = Verdict.HEALTHY, Reason.WITHIN_LIMIT
    return MetricVerdict(
        rule.name, verdict, reason.value, rule.enforced,
        counts=seen, value=seen.bad / seen.total if seen.total else None, limit=limit, log_e=log_e, window=window,
        history=history, candidate_ticks=candidate_ticks, banked=banked,
    )  # fmt: skip


def _expected(baseline: Counts | None, window: timedelta, drift: float) -> float:
    """Return how many requests would be usual in the window."""
    return baseline.total * (window / BASELINE_WINDOW) * drift if baseline is not None else 0.0


def _is_shown_below(counts: Counts, dispersion: float, allowed: float) -> bool:
    return log_e_below(counts.bad / dispersion, counts.total / dispersion, unacceptable_rate(allowed)) >= log(1 / ALPHA_HEALTHY)


def judge_value(rule: GateRule, value: float | None, before: MetricVerdict | None, *, window: timedelta | None = None) -> MetricVerdict:
    """Judge an increase or a raw query. `value` None: the tenant has no row, which is no data and never 0."""
    blank = MetricVerdict(rule.name, Verdict.INCONCLUSIVE, Reason.NO_DATA.value, rule.enforced, limit=rule.limit, window=window)
    if value is None or isnan(value):
        return blank
    if _is_infinite(value):
        return replace(blank, reason=Reason.NOT_FINITE.value, detail=_NOT_FINITE)
    seen = replace(blank, value=value)
    needed = rule.kind.consecutive if isinstance(rule.kind, RawQuery) else 1
    if is_beyond(rule, value):
        ticks = (before.beyond_ticks if before else 0) + 1
        reason = Reason.ABOVE_LIMIT if rule.maximum is not None else Reason.BELOW_LIMIT
        if ticks >= needed:
            return replace(seen, reason=reason.value, beyond_ticks=ticks, candidate_ticks=_in_a_row(before))
        return replace(seen, reason=reason.value, beyond_ticks=ticks, detail=f"{ticks} of {needed} ticks in a row")
    ticks = (before.within_ticks if before else 0) + 1
    if ticks >= needed:
        return replace(seen, verdict=Verdict.HEALTHY, reason=Reason.WITHIN_LIMIT.value, within_ticks=ticks)
    return replace(seen, reason=Reason.FIRST_LOOK_PENDING.value, within_ticks=ticks, detail=f"{ticks} of {needed} ticks in a row")


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
        rule.name, Verdict.UNKNOWN, Reason.BOUND_MISSING.value, rule.enforced, limit=rule.limit, window=window,
        detail=f"{counts.total:.0f} requests, but no bucket of the bound in `above`; use a bound that the histogram has",
    )  # fmt: skip


def left_out(rule: GateRule, value: float) -> MetricVerdict:
    """Record that the tenant was beyond the limit already before its upgrade, which this version is not blamed for."""
    return MetricVerdict(
        rule.name, Verdict.INCONCLUSIVE, Reason.FAILING_BEFORE.value, enforced=False, value=value, limit=rule.limit,
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
