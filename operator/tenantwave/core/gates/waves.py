"""The verdict of a wave as a whole, and its soak clock.

The rules are asked in a fixed order, see `judge_wave`. Left for later, at their places in that order: the ill reference and the fleet
incident (rules 1 to
3), which need the control, and the shift (rule 8). Until then a wave is judged by itself, so an incident of the whole fleet is not told
from a bad release.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from decimal import Decimal
from hashlib import sha256
from math import log

from .book import EXCUSED_BY_POOL, Counts, MetricVerdict, Reason, TenantGate, Verdict, WaveGate, worst
from .constants import ALPHA_CATASTROPHIC, CATASTROPHIC_RATE, DISPERSION, MIN_EVENTS, RESUME_TICKS
from .rules import GateContext, GateRule, OnNoData, WaveInContext
from .samples import QueryFailure
from .sentences import metric_sentence, percent
from .statistics import log_e_above
from .verdicts import Yardstick, judge_counts

OVER_BUDGET_TICKS = 2
SHOWN_TENANTS = 10


@dataclass(frozen=True, slots=True)
class Tick:
    """When a wave is judged: T, the interval of the tick, and the gates about which nothing can be said at it."""

    time: datetime
    interval: timedelta
    unusable: Mapping[str, QueryFailure]


@dataclass(frozen=True, slots=True)
class _Ruling:
    verdict: Verdict
    reason: str
    message: str


def judge_wave(context: GateContext, wave: WaveInContext, tenants: Mapping[str, TenantGate], before: WaveGate, tick: Tick) -> WaveGate:
    """Return the wave's gate after a tick. `tenants` are the gates of all tenants of the run, after the same tick.

    In this order: failed for other reasons, failed on metrics (at once if latched, else on two ticks), catastrophic, the pool at the
    end of the soak, Unknown,
    Inconclusive, Healthy. Failing stays Failing for the rest of the run: a later tick rewrites no verdict.
    """
    if before.verdict is Verdict.FAILING or (before.evaluation_time is not None and tick.time <= before.evaluation_time):
        return before
    if before.evaluation_time is not None and tick.time - before.evaluation_time > tick.interval:
        before = replace(before, over_budget_ticks=0)
    members = members_of(context, wave, tenants)
    of_wave = [gate for gate in tenants.values() if gate.wave == wave.name]
    failing = sorted(gate.name for gate in of_wave if gate.latched)
    suspects = len([gate for gate in members if gate.is_candidate])
    over_ticks = before.over_budget_ticks + 1 if len(failing) + suspects + wave.failed_otherwise_count > wave.failure_budget else 0
    pools = {rule.name: pool for rule in context.rules if rule.enforced and (pool := judge_pool(context, rule, members))}
    is_usable = not _unknown(context, members, tick)
    after = _clocks(before, members, tick, is_usable=is_usable)
    after = replace(
        after,
        over_budget_ticks=over_ticks if is_usable else before.over_budget_ticks,
        pool=worst(pool.verdict for pool in pools.values()) if pools else None,
        # The last look at those that failed is what a person wants to see, so it stays in the numbers when nobody else is left.
        metrics=tuple(_wave_metric(context, rule, members or tuple(of_wave), pools.get(rule.name), tick) for rule in context.rules),
        judged_count=sum(gate.is_judged for gate in members),
        healthy_count=sum(gate.verdict is Verdict.HEALTHY for gate in members),
        failing_count=len(failing),
        inconclusive_count=sum(gate.verdict is Verdict.INCONCLUSIVE for gate in members),
        no_data_count=sum(gate.reason == Reason.NO_DATA.value for gate in members),
        failing_tenants=tuple(failing[:SHOWN_TENANTS]),
        coverage=min((gate.coverage for gate in members), default=Decimal(0)),
    )
    ruling = (
        _over_budget(wave, failing, after)
        or (_catastrophic(context, members, after) if is_usable else None)
        or (_pool_failing(wave, pools, after) if is_usable else None)
        or _unknown(context, members, tick)
        or _open_question(context, members, pools, after)
        or _healthy(context, after)
    )
    if ruling.verdict is Verdict.FAILING:
        after = replace(after, metrics=tuple(map(_confirmed, after.metrics)))
    return replace(after, verdict=ruling.verdict, reason=ruling.reason, message=ruling.message)


def _confirmed(metric: MetricVerdict) -> MetricVerdict:
    """Return an enforced metric that is beyond its limit as Failing: in a wave that fails it is no longer only a sign."""
    return replace(metric, verdict=Verdict.FAILING) if metric.enforced and metric.is_candidate else metric


def members_of(context: GateContext, wave: WaveInContext, tenants: Mapping[str, TenantGate]) -> tuple[TenantGate, ...]:
    """Return the gates of the tenants that are counted: converged in this run, not taken out by the planner, not failed on their
    metrics."""
    gates = (
        tenants.get(tenant.name) for tenant in context.tenants_of(wave.name) if tenant.is_counted and tenant.window_start_time is not None
    )
    return tuple(gate for gate in gates if gate is not None and not gate.latched)


def judge_pool(context: GateContext, rule: GateRule, members: tuple[TenantGate, ...]) -> MetricVerdict | None:
    """Judge the tenants with too little traffic as one; None if every member has enough. Gates that compare single numbers have no pool
    to judge."""
    thin = [metric for gate in members if gate.is_judged and (metric := _metric(gate, rule.name)) and _is_thin(metric)]
    if not thin:
        return None
    if not rule.is_share:
        return MetricVerdict(rule.name, Verdict.INCONCLUSIVE, Reason.NO_DATA.value, limit=rule.limit)
    earlier = _sum([metric.history[0] for metric in thin if metric.history])
    before = MetricVerdict(rule.name, Verdict.INCONCLUSIVE, "", counts=Counts(0, 0), history=(earlier,))
    pooled = replace(rule, maximum=_mean_limit(rule, thin), minimum=None)
    window = max((metric.window for metric in thin if metric.window), default=timedelta(0))
    return judge_counts(pooled, _sum(_counts(thin)), before, window=window, yardstick=Yardstick(context.enforced_count))


def _over_budget(wave: WaveInContext, failing: list[str], after: WaveGate) -> _Ruling | None:
    confirmed = len(failing) + wave.failed_otherwise_count
    if confirmed <= wave.failure_budget and after.over_budget_ticks < OVER_BUDGET_TICKS:
        return None
    why = [f"{len(failing)} on metrics ({', '.join(failing[:SHOWN_TENANTS])})"] if failing else []
    why += [f"{wave.failed_otherwise_count} for other reasons"] if wave.failed_otherwise_count else []
    why += [] if confirmed > wave.failure_budget else ["more show signs of failing in two ticks in a row"]
    message = f"{confirmed} tenants failed, {wave.failure_budget} are tolerated (failureBudget): {' and '.join(why)}"
    return _Ruling(Verdict.FAILING, Reason.BUDGET_EXCEEDED.value, message)


def _catastrophic(context: GateContext, members: tuple[TenantGate, ...], after: WaveGate) -> _Ruling | None:
    for rule in context.rules:
        if not (rule.enforced and rule.is_share):
            continue
        seen = [
            metric for gate in members if (metric := _metric(gate, rule.name)) and metric.verdict is not Verdict.UNKNOWN and metric.enforced
        ]
        counts = _sum(_counts(seen))
        allowed = max(CATASTROPHIC_RATE, float(_mean_limit(rule, seen)))
        if counts.total < MIN_EVENTS or log_e_above(counts.bad / DISPERSION, counts.total / DISPERSION, allowed) < log(
            1 / ALPHA_CATASTROPHIC
        ):
            continue
        metric = next(metric for metric in after.metrics if metric.gate == rule.name)
        sentence = metric_sentence(rule, metric, after.evaluation_time) if after.evaluation_time else rule.name
        return _Ruling(Verdict.FAILING, Reason.CATASTROPHIC.value, f"the wave as a whole is far beyond {percent(allowed)}: {sentence}")
    return None


def _pool_failing(wave: WaveInContext, pools: Mapping[str, MetricVerdict], after: WaveGate) -> _Ruling | None:
    bad = next((pool for pool in pools.values() if pool.is_candidate), None)
    if bad is None or bad.counts is None or after.clock is None or after.clock < wave.soak:
        return None
    share = f"{bad.counts.bad:.0f} of {bad.counts.total:.0f}"
    message = f"{bad.gate}: the tenants with little traffic, judged together, are beyond the limit ({share} requests)"
    return _Ruling(Verdict.FAILING, Reason.POOL_FAILING.value, message)


def _unknown(context: GateContext, members: tuple[TenantGate, ...], tick: Tick) -> _Ruling | None:
    failure = next((tick.unusable[rule.name] for rule in context.rules if rule.enforced and rule.name in tick.unusable), None)
    if failure is not None:
        return _Ruling(Verdict.UNKNOWN, failure.kind.value, failure.message)
    gate = next((gate for gate in members if gate.verdict is Verdict.UNKNOWN), None)
    return _Ruling(Verdict.UNKNOWN, gate.reason, f"{gate.name}: {gate.message}") if gate is not None else None


def _open_question(
    context: GateContext, members: tuple[TenantGate, ...], pools: Mapping[str, MetricVerdict], after: WaveGate
) -> _Ruling | None:
    if not members or after.judged_count < len(members):
        waiting = len(members) - after.judged_count
        message = (
            f"waiting for the first look at {waiting} of {len(members)} tenants"
            if members
            else "no tenant of the wave is on the new version yet"
        )
        return _Ruling(Verdict.INCONCLUSIVE, Reason.FIRST_LOOK_PENDING.value, message)
    for gate in members:
        if gate.verdict is Verdict.INCONCLUSIVE and not _speaks_for(context, gate, pools):
            return _Ruling(Verdict.INCONCLUSIVE, gate.reason, f"{gate.name}: {gate.message}")
    return None


def _healthy(context: GateContext, after: WaveGate) -> _Ruling:
    pooled = f", {after.judged_count - after.healthy_count} of them together, as a pool" if after.judged_count > after.healthy_count else ""
    message = f"{after.judged_count} tenants are within the limits of {context.enforced_count} gates{pooled}"
    return _Ruling(Verdict.HEALTHY, Reason.WITHIN_LIMIT.value, message)


def _speaks_for(context: GateContext, gate: TenantGate, pools: Mapping[str, MetricVerdict]) -> bool:
    """Tell whether the pools excuse a tenant: each enforced metric is Healthy, or thin in a pool that is."""
    if context.evaluation.on_no_data is not OnNoData.POOL:
        return False
    return all(
        metric.verdict is Verdict.HEALTHY
        or (_is_thin(metric) and (pool := pools.get(metric.gate)) is not None and pool.verdict is Verdict.HEALTHY)
        for metric in gate.metrics
        if metric.enforced
    )


def _clocks(before: WaveGate, members: tuple[TenantGate, ...], tick: Tick, *, is_usable: bool) -> WaveGate:
    """Advance the soak clock and the timers.

    The clock starts when every member is judged and none is a candidate, counts usable live ticks, and goes back to 0 when the members
    change.
    """
    digest = _digest(members)
    after = before if digest == before.members else replace(before, members=digest, clock=None, healthy_since_time=None)
    in_row = before.usable_in_row + 1 if is_usable else 0
    unknown_since = None if in_row >= RESUME_TICKS else before.unknown_since_time or (None if is_usable else tick.time)
    after = replace(after, evaluation_time=tick.time, usable_in_row=in_row, unknown_since_time=unknown_since)
    if not is_usable or not members:
        return after
    if after.clock is not None:
        passed = tick.time - before.evaluation_time if before.evaluation_time is not None else timedelta(0)
        return replace(after, clock=after.clock + max(timedelta(0), min(passed, tick.interval)), usable_ticks=after.usable_ticks + 1)
    if all(gate.is_judged and not gate.is_candidate for gate in members):
        return replace(after, clock=timedelta(0), healthy_since_time=tick.time, usable_ticks=1)
    return after


def _wave_metric(
    context: GateContext, rule: GateRule, members: tuple[TenantGate, ...], pool: MetricVerdict | None, tick: Tick
) -> MetricVerdict:
    """Return one gate's numbers over the whole wave, for people. It decides nothing."""
    seen = [metric for gate in members if (metric := _metric(gate, rule.name)) and metric.reason != Reason.FAILING_BEFORE.value]
    failure = tick.unusable.get(rule.name)
    excused = context.evaluation.on_no_data is OnNoData.POOL and pool is not None and pool.verdict is Verdict.HEALTHY
    verdicts = [Verdict.HEALTHY if excused and _is_thin(metric) else metric.verdict for metric in seen]
    shown = MetricVerdict(
        rule.name,
        Verdict.UNKNOWN if failure else worst(verdicts) if verdicts else Verdict.INCONCLUSIVE,
        failure.kind.value
        if failure
        else next((metric.reason for metric in seen if metric.verdict is worst(verdicts)), Reason.NO_DATA.value),
        rule.enforced,
        limit=_mean_limit(rule, seen) if rule.is_share else rule.limit,
        window=max((metric.window for metric in seen if metric.window), default=None),
        candidate_ticks=max((metric.candidate_ticks for metric in seen), default=0),
        detail=failure.message if failure else "",
    )
    values = [metric.value for metric in seen if metric.value is not None]
    if rule.is_share and seen:
        counts = _sum(_counts(seen))
        log_e = log_e_above(counts.bad / DISPERSION, counts.total / DISPERSION, float(shown.limit or rule.limit))
        return replace(shown, counts=counts, value=counts.bad / counts.total if counts.total else None, log_e=log_e)
    return replace(shown, value=(max(values) if rule.maximum is not None else min(values)) if values else None)


def _metric(gate: TenantGate, name: str) -> MetricVerdict | None:
    return next((metric for metric in gate.metrics if metric.gate == name), None)


def _is_thin(metric: MetricVerdict) -> bool:
    return metric.enforced and metric.verdict is Verdict.INCONCLUSIVE and not metric.is_candidate and metric.reason in EXCUSED_BY_POOL


def _counts(metrics: list[MetricVerdict]) -> list[Counts]:
    return [metric.counts for metric in metrics if metric.counts is not None]


def _sum(counts: list[Counts]) -> Counts:
    return Counts(sum(count.bad for count in counts), sum(count.total for count in counts))


def _mean_limit(rule: GateRule, metrics: list[MetricVerdict]) -> Decimal:
    """Return the effective limit of several tenants together: each tenant's own, weighted by its requests."""
    weighted = [(metric.counts.total, float(metric.limit)) for metric in metrics if metric.counts is not None and metric.limit is not None]
    total = sum(weight for weight, _ in weighted)
    return Decimal(f"{sum(weight * limit for weight, limit in weighted) / total:.9f}").normalize() if total else rule.limit


def _digest(members: tuple[TenantGate, ...]) -> str:
    """Return who is counted, and since when, in 16 characters."""
    lines = sorted(f"{gate.name} {gate.window_start_time.isoformat() if gate.window_start_time else ''}" for gate in members)
    return sha256("\n".join(lines).encode()).hexdigest()[:16] if lines else ""
