"""The verdict of a wave as a whole, and its soak clock. The rules are asked in a fixed order, see `judge_wave`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import timedelta
from decimal import Decimal
from hashlib import sha256
from math import log

from tenantwave.api.conditions import GateReason

from .book import EXCUSED_BY_POOL, MetricVerdict, TenantGate, Verdict, WaveGate, worst
from .constants import ALPHA_CATASTROPHIC, CATASTROPHIC_RATE, MIN_EVENTS, RESUME_TICKS
from .counts import Counts, total_of
from .looks import Tick
from .reference import mean_limit, pooled
from .rules import GateContext, GateRule, OnNoData, WaveInContext
from .sentences import metric_sentence, percent
from .statistics import log_e_above
from .verdicts import Yardstick

OVER_BUDGET_TICKS = 2
LEFT_OUT = GateReason.NOTHING_TO_JUDGE.value
"""A tenant with nothing to judge holds its wave, but that is no blindness that a Prometheus could mend."""

SHOWN_TENANTS = 10
GOING_ON = (
    "clock", "healthy_since_time", "unknown_since_time", "usable_in_row", "usable_ticks", "over_budget_ticks", "pool", "members",
    "comparisons", "dispersion", "usual_dispersion", "fresh_since_time", "shift_looks", "shift",
)  # fmt: skip
"""What of a failed wave goes on."""


@dataclass(frozen=True, slots=True)
class _Ruling:
    verdict: Verdict
    reason: str
    message: str


@dataclass(frozen=True, slots=True)
class _Bench:
    """All that the rules below look at."""

    context: GateContext
    wave: WaveInContext
    tick: Tick
    members: tuple[TenantGate, ...]
    of_wave: tuple[TenantGate, ...]
    failing: tuple[str, ...]
    suspects: tuple[str, ...]
    yardsticks: Mapping[str, Yardstick]
    pools: Mapping[str, MetricVerdict]
    after: WaveGate
    is_usable: bool


def judge_wave(
    context: GateContext,
    wave: WaveInContext,
    tenants: Mapping[str, TenantGate],
    before: WaveGate,
    tick: Tick,
    yardsticks: Mapping[str, Yardstick],
) -> WaveGate:
    """Return the wave's gate after a tick. `tenants` are the gates of all tenants of the run, `before` has the comparisons of this tick.

    In this order: failed for other reasons, failed on metrics outside an incident (at once if latched or beyond doubt, else on two ticks),
    catastrophic, the pool at the end of the soak, Unknown, a fleet incident, Inconclusive, Healthy. No later tick rewrites Failing, nor the numbers
    that led to it; only clocks and comparisons go on, for a person may let the wave go on.
    """
    if before.evaluation_time is not None and tick.time - before.evaluation_time > tick.interval:
        before = replace(before, over_budget_ticks=0)
    members = members_of(context, wave, tenants)
    of_wave = tuple(gate for gate in tenants.values() if gate.wave == wave.name)
    failing = tuple(sorted(gate.name for gate in of_wave if gate.latched))
    suspects = tuple(gate.name for gate in members if _is_suspect(gate, before))
    is_over = len(failing) + len(suspects) + wave.failed_otherwise_count > wave.failure_budget
    pools = {rule.name: pool for rule in context.rules if rule.enforced and (pool := judge_pool(rule, members, yardsticks[rule.name]))}
    is_usable = not _unknown(context, members, tick)
    after = _clocks(before, members, tick, is_usable=is_usable)
    after = replace(
        after,
        over_budget_ticks=before.over_budget_ticks + 1 if is_over and is_usable else 0,  # an unusable tick ends a row
        pool=worst(pool.verdict for pool in pools.values()) if pools else None,
        # The last look at those that failed is what a person wants to see, so it stays in the numbers when nobody else is left.
        metrics=tuple(
            _wave_metric(context, rule, members or of_wave, pools.get(rule.name), tick, yardsticks[rule.name]) for rule in context.rules
        ),
        judged_count=sum(gate.is_judged for gate in members or of_wave),
        healthy_count=sum(gate.verdict is Verdict.HEALTHY for gate in members),
        failing_count=len(failing),
        inconclusive_count=sum(gate.verdict is Verdict.INCONCLUSIVE for gate in members),
        no_data_count=sum(gate.reason == GateReason.NO_DATA.value for gate in members),
        failing_tenants=failing[:SHOWN_TENANTS],
        coverage=min((gate.coverage for gate in members or of_wave), default=Decimal(0)),
    )
    bench = _Bench(context, wave, tick, members, of_wave, failing, suspects, yardsticks, pools, after, is_usable)
    ruling = (
        _over_budget(bench)
        or (_catastrophic(bench) if is_usable else None)
        or (_pool_failing(bench) if is_usable else None)
        or _unknown(context, members, tick)
        or _incident(bench)
        or _open_question(bench)
        or _healthy(bench)
    )
    if ruling.verdict is Verdict.FAILING:
        after = replace(after, metrics=tuple(map(_confirmed, after.metrics)))
    if before.verdict is Verdict.FAILING:
        return replace(before, **{name: getattr(after, name) for name in GOING_ON})
    return replace(after, verdict=ruling.verdict, reason=ruling.reason, message=ruling.message)


def _confirmed(metric: MetricVerdict) -> MetricVerdict:
    """Return an enforced metric that is beyond its limit as Failing: in a wave that fails it is no longer only a sign."""
    return replace(metric, verdict=Verdict.FAILING) if metric.enforced and metric.is_candidate else metric


def _is_suspect(gate: TenantGate, wave: WaveGate) -> bool:
    """Tell whether a tenant shows a sign of Failing by a gate that is not in a fleet incident."""
    return any(metric.enforced and metric.is_candidate and not wave.comparison(metric.gate).is_incident for metric in gate.metrics)


def members_of(context: GateContext, wave: WaveInContext, tenants: Mapping[str, TenantGate]) -> tuple[TenantGate, ...]:
    """Return the gates of the tenants that are counted: converged in this run, not taken out by the planner, not failed on their
    metrics."""
    gates = (
        tenants.get(tenant.name) for tenant in context.tenants_of(wave.name) if tenant.is_counted and tenant.window_start_time is not None
    )
    return tuple(gate for gate in gates if gate is not None and not gate.latched)


def judge_pool(rule: GateRule, members: tuple[TenantGate, ...], yardstick: Yardstick) -> MetricVerdict | None:
    """Judge the tenants with too little traffic as one; None if every member has enough. Gates that compare single numbers have no pool
    to judge."""
    thin = [metric for gate in members if gate.is_judged and (metric := _metric(gate, rule.name)) and _is_thin(metric)]
    if not thin:
        return None
    together = pooled(rule, [_with_bank(metric) for metric in thin], yardstick) if rule.is_share else None
    return together or MetricVerdict(rule.name, Verdict.INCONCLUSIVE, GateReason.NO_DATA.value, limit=rule.limit)


def _with_bank(metric: MetricVerdict) -> MetricVerdict:
    """Return all that a quiet tenant has counted since its evidence began: it needs every request, for either answer."""
    if metric.banked is None or metric.counts is None:
        return metric
    history = tuple(counts.plus(metric.banked) for counts in metric.history) or (metric.banked,)
    return replace(metric, counts=metric.counts.plus(metric.banked), history=history, banked=None)


def _over_budget(bench: _Bench) -> _Ruling | None:
    failing, suspects, wave = bench.failing, bench.suspects, bench.wave
    confirmed = len(failing) + wave.failed_otherwise_count
    is_beyond_doubt = bench.is_usable and any(each.is_significant and not each.is_incident for each in bench.after.comparisons)
    all_told = confirmed + len(suspects) if is_beyond_doubt or bench.after.over_budget_ticks >= OVER_BUDGET_TICKS else confirmed
    if all_told <= wave.failure_budget:
        return None
    named = (*failing, *suspects)[:SHOWN_TENANTS] if all_told > confirmed else failing[:SHOWN_TENANTS]
    on_metrics = all_told - wave.failed_otherwise_count
    why = [f"{on_metrics} on metrics ({', '.join(named)})"] if on_metrics else []
    why += [f"{wave.failed_otherwise_count} for other reasons"] if wave.failed_otherwise_count else []
    verb = "tenant" if all_told == 1 else "tenants"
    head = f"{all_told} {verb} failed, {wave.failure_budget} are tolerated (failureBudget): {' and '.join(why)}"
    message = f"{head}{_first(bench, named)}{_compared(bench)}"
    return _Ruling(Verdict.FAILING, GateReason.BUDGET_EXCEEDED.value, message)


def _first(bench: _Bench, named: tuple[str, ...]) -> str:
    """Return the sentence of the first tenant that failed on its metrics: the number, the limit and since when."""
    gate = next((gate for gate in bench.of_wave if named and gate.name == named[0]), None)
    return f"; {gate.name}: {gate.message}" if gate is not None else ""


def _compared(bench: _Bench) -> str:
    """Say what the control shows, where it shows the most."""
    seen = [each for each in bench.after.comparisons if each.p_value is not None]
    telling = min(seen, key=lambda each: each.p_value if each.p_value is not None else 1.0, default=None)
    if telling is None:
        return ""
    return f"; {telling.gate}: of {telling.control_count} tenants on the old version {telling.control_failing_count} fail, too"


def _catastrophic(bench: _Bench) -> _Ruling | None:
    for rule in bench.context.rules:
        comparison = bench.after.comparison(rule.name)
        if not (rule.enforced and rule.is_share) or comparison.is_ill or comparison.is_incident:
            continue
        seen = [
            metric
            for gate in bench.members
            if (metric := _metric(gate, rule.name)) and metric.verdict is not Verdict.UNKNOWN and metric.enforced
        ]
        counts = total_of(_counts(seen))
        allowed = max(CATASTROPHIC_RATE, float(mean_limit(rule, seen)))
        dispersion = bench.yardsticks[rule.name].dispersion
        if counts.total < MIN_EVENTS or log_e_above(counts.bad / dispersion, counts.total / dispersion, allowed) < log(
            1 / ALPHA_CATASTROPHIC
        ):
            continue
        metric = next(metric for metric in bench.after.metrics if metric.gate == rule.name)
        message = f"the wave as a whole is far beyond {percent(allowed)}: {metric_sentence(rule, metric, bench.tick.time)}"
        return _Ruling(Verdict.FAILING, GateReason.CATASTROPHIC.value, message)
    return None


def _pool_failing(bench: _Bench) -> _Ruling | None:
    if bench.after.clock is None or bench.after.clock < bench.wave.soak:
        return None
    for pool in bench.pools.values():
        comparison = bench.after.comparison(pool.gate)
        if pool.is_candidate and pool.counts is not None and not comparison.is_ill and not comparison.is_incident:
            rule = next(rule for rule in bench.context.rules if rule.name == pool.gate)
            sentence = metric_sentence(rule, pool, bench.tick.time)
            return _Ruling(
                Verdict.FAILING,
                GateReason.POOL_FAILING.value,
                f"the tenants with little traffic, judged together, are beyond the limit; {sentence}",
            )
    return None


def _unknown(context: GateContext, members: tuple[TenantGate, ...], tick: Tick) -> _Ruling | None:
    unusable = tick.reading.unusable
    failure = next((unusable[rule.name] for rule in context.rules if rule.enforced and rule.name in unusable), None)
    if failure is not None:
        return _Ruling(Verdict.UNKNOWN, failure.kind.value, failure.message)
    gate = next((gate for gate in members if gate.verdict is Verdict.UNKNOWN), None)
    return _Ruling(Verdict.UNKNOWN, gate.reason, f"{gate.name}: {gate.message}") if gate is not None else None


def _incident(bench: _Bench) -> _Ruling | None:
    ill = next((each for each in bench.after.comparisons if each.is_incident), None)
    if ill is None:
        return None
    shown = next((metric for metric in bench.after.metrics if metric.gate == ill.gate), None)
    rule = next(rule for rule in bench.context.rules if rule.name == ill.gate)
    witnesses = (
        f"{ill.control_failing_count} of {ill.control_count} tenants on the old version fail, too"
        if ill.control_failing_count
        else "the tenants outside this wave, taken together, are beyond the limit, too"
    )
    message = (
        f"the fleet is ill whoever runs the release: {witnesses}, so nobody is failed, promoted or started until it is over; "
        f"then the soak begins anew"
    )
    return _Ruling(
        Verdict.INCONCLUSIVE,
        GateReason.FLEET_INCIDENT.value,
        f"{message}; in the wave {metric_sentence(rule, shown, bench.tick.time)}" if shown is not None else message,
    )


def _open_question(bench: _Bench) -> _Ruling | None:
    members, judged = bench.members, sum(gate.is_judged for gate in bench.members)
    if not members or judged < len(members):
        message = (
            f"waiting for the first look at {len(members) - judged} of {len(members)} tenants"
            if members
            else "no tenant of the wave is on the new version yet"
        )
        return _Ruling(Verdict.INCONCLUSIVE, GateReason.FIRST_LOOK_PENDING.value, message)
    for gate in members:
        if gate.verdict is Verdict.INCONCLUSIVE and not _speaks_for(bench.context, gate, bench.pools):
            return _Ruling(Verdict.INCONCLUSIVE, gate.reason, f"{gate.name}: {gate.message}")
    return None


def _healthy(bench: _Bench) -> _Ruling:
    together = len(bench.members) - bench.after.healthy_count
    tenants = "1 tenant is" if len(bench.members) == 1 else f"{len(bench.members)} tenants are"
    gates = "the limit of its gate" if bench.context.enforced_count == 1 else f"the limits of {bench.context.enforced_count} gates"
    alone = f", {together} of them together, as a pool" if together > 0 else ""
    return _Ruling(Verdict.HEALTHY, GateReason.WITHIN_LIMIT.value, f"{tenants} within {gates}{alone}")


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
    digest = members_digest(members)
    after = before if digest == before.members else replace(before, members=digest, clock=None, healthy_since_time=None)
    in_row = before.usable_in_row + 1 if is_usable else 0
    is_blind = not is_usable and (
        tick.reading.unusable or any(gate.verdict is Verdict.UNKNOWN and gate.reason != LEFT_OUT for gate in members)
    )
    unknown_since = None if in_row >= RESUME_TICKS else before.unknown_since_time or (tick.time if is_blind else None)
    after = replace(after, evaluation_time=tick.time, usable_in_row=in_row, unknown_since_time=unknown_since)
    if not is_usable or not members:
        return after
    if after.clock is not None and not tick.is_replay and not after.has_incident:
        passed = tick.time - before.evaluation_time if before.evaluation_time is not None else timedelta(0)
        return replace(after, clock=after.clock + max(timedelta(0), min(passed, tick.interval)), usable_ticks=after.usable_ticks + 1)
    if after.clock is None and all(gate.is_judged and not gate.is_candidate for gate in members):
        return replace(after, clock=timedelta(0), healthy_since_time=tick.time, usable_ticks=1)
    return after


def _wave_metric(
    context: GateContext, rule: GateRule, members: tuple[TenantGate, ...], pool: MetricVerdict | None, tick: Tick, yardstick: Yardstick
) -> MetricVerdict:
    """Return one gate's numbers over the whole wave, for people. It decides nothing."""
    seen = [metric for gate in members if (metric := _metric(gate, rule.name)) and metric.reason != GateReason.FAILING_BEFORE.value]
    failure = tick.reading.unusable.get(rule.name)
    excused = context.evaluation.on_no_data is OnNoData.POOL and pool is not None and pool.verdict is Verdict.HEALTHY
    verdicts = [Verdict.HEALTHY if excused and _is_thin(metric) else metric.verdict for metric in seen]
    most = worst(verdicts) if verdicts else Verdict.INCONCLUSIVE
    default = GateReason.WITHIN_LIMIT if most is Verdict.HEALTHY else GateReason.NO_DATA
    shown = MetricVerdict(
        rule.name,
        Verdict.UNKNOWN if failure else most,
        failure.kind.value if failure else next((metric.reason for metric in seen if metric.verdict is most), default.value),
        rule.enforced,
        limit=mean_limit(rule, seen) if rule.is_share else rule.limit,
        window=max((metric.window for metric in seen if metric.window), default=None),
        candidate_ticks=max((metric.candidate_ticks for metric in seen), default=0),
        detail=failure.message if failure else "",
    )
    values = [metric.value for metric in seen if metric.value is not None]
    if rule.is_share and seen:
        counts = total_of(_counts(seen))
        log_e = log_e_above(counts.bad / yardstick.dispersion, counts.total / yardstick.dispersion, float(shown.limit or rule.limit))
        return replace(shown, counts=counts, value=counts.bad / counts.total if counts.total else None, log_e=log_e)
    return replace(shown, value=(max(values) if rule.maximum is not None else min(values)) if values else None)


def _metric(gate: TenantGate, name: str) -> MetricVerdict | None:
    return next((metric for metric in gate.metrics if metric.gate == name), None)


def _is_thin(metric: MetricVerdict) -> bool:
    return metric.enforced and metric.verdict is Verdict.INCONCLUSIVE and not metric.is_candidate and metric.reason in EXCUSED_BY_POOL


def _counts(metrics: list[MetricVerdict]) -> list[Counts]:
    return [metric.counts for metric in metrics if metric.counts is not None]


def members_digest(members: tuple[TenantGate, ...]) -> str:
    """Return who is counted, and since when, in 16 characters."""
    lines = sorted(f"{gate.name} {gate.window_start_time.isoformat() if gate.window_start_time else ''}" for gate in members)
    return sha256("\n".join(lines).encode()).hexdigest()[:16] if lines else ""
