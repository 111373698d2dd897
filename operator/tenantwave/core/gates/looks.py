"""One tenant at one tick: what its metrics say, and what follows for its verdict, its clock and its coverage. Latches are closed elsewhere
(`reduce`), because whether a sign of Failing is the release's fault is a question about the whole fleet."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from tenantwave.api.conditions import GateReason

from .book import MetricVerdict, TenantGate, Verdict, worst
from .constants import BASELINE_WINDOW
from .counts import NOTHING, Counts, is_number
from .dispersion import Spread, newly
from .reading import Reading
from .rules import GateContext, GateRule, RawQuery
from .sentences import metric_sentence
from .verdicts import Memory, Yardstick, bound_missing, decisive, judge_counts, judge_value, left_out, not_usable
from .windows import accounted_time, block_length, first_look_time, rounded_down

NOTHING_TO_JUDGE = "every enforced gate is left out for this tenant, so nothing shows that it is healthy"


@dataclass(frozen=True, slots=True)
class Tick:
    """One tick, as all tenants see it.

    `interval` is that of the tick, longer than the policy's while we look less often. `is_replay`: it is asked again after a restart, so it
    brings evidence, but no soak.
    """

    context: GateContext
    reading: Reading
    time: datetime
    interval: timedelta
    is_replay: bool = False

    @property
    def base_interval(self) -> timedelta:
        """Return the interval of the policy."""
        return self.context.evaluation.interval


@dataclass(frozen=True, slots=True)
class Scope:
    """What tenants with the same window have in common: the yardstick and the window's start by gate, and the soak of their wave.

    `is_banked`: earlier blocks add up (a running wave); else only the last one counts (a passed wave, which is watched for what is new).
    `is_control`: how evenly bad events come is measured besides. `has_baselines`: they were asked for. `epoch_time`: which hour's traffic the
    control was measured against; a tenant with the baseline of another hour cannot be said to have lost traffic. None: nobody can (a passed wave).
    """

    yardsticks: Mapping[str, Yardstick]
    begins: Mapping[str, datetime]
    soak: timedelta
    is_banked: bool = True
    is_control: bool = False
    has_baselines: bool = False
    epoch_time: datetime | None = None


def look(gate: TenantGate, start: datetime, scope: Scope, tick: Tick) -> TenantGate:
    """Return one tenant's gate after a tick. Cost: 20 microseconds a gate."""
    metrics = tuple([judge(rule, gate, scope, tick) for rule in tick.context.rules])
    return _conclude(gate, metrics, tick, start)


def judge(rule: GateRule, gate: TenantGate, scope: Scope, tick: Tick) -> MetricVerdict:
    """Return what one gate says of a tenant."""
    if rule.name in gate.failing_before:
        return left_out(rule, gate.failing_before[rule.name])
    before = next((metric for metric in gate.metrics if metric.gate == rule.name), None)
    if before is not None and gate.evaluation_time is not None and tick.time - gate.evaluation_time > tick.interval:
        before = replace(before, candidate_ticks=0, beyond_ticks=0, within_ticks=0)  # ticks were missed: nothing is "in a row" over a gap
    failure = tick.reading.failure(rule.name, gate.name)
    if failure is not None:
        return not_usable(rule, failure, before)
    if not rule.is_share:
        begin = scope.begins.get(rule.name)
        window = None if isinstance(rule.kind, RawQuery) or begin is None else tick.time - begin
        value = tick.reading.value(rule.name, gate.name)
        return judge_value(rule, value, before, window=window, is_pending=_is_pending(rule, gate, scope))
    return _judged_share(rule, gate, before, scope, tick)


def _judged_share(rule: GateRule, gate: TenantGate, before: MetricVerdict | None, scope: Scope, tick: Tick) -> MetricVerdict:
    window = tick.time - scope.begins[rule.name]
    counts = tick.reading.counts(rule, gate.name)
    if tick.reading.has_requests_without_bound(rule, gate.name):
        return bound_missing(rule, counts or NOTHING, window)
    memory = _remembered(rule, gate, before, counts, scope, tick)
    return judge_counts(
        rule, counts, memory, window=window, baseline=gate.baseline.get(rule.name), yardstick=scope.yardsticks[rule.name],
        is_pending=_is_pending(rule, gate, scope), knows_traffic=_knows_traffic(gate, scope),
    )  # fmt: skip


def _is_pending(rule: GateRule, gate: TenantGate, scope: Scope) -> bool:
    """Tell whether the tenant's baseline was asked for and has not come."""
    return scope.has_baselines and rule.name not in gate.baseline_gates


def _knows_traffic(gate: TenantGate, scope: Scope) -> bool:
    """Tell whether the tenant's usual traffic is that of the hour which the control's is held against: at noon nobody has what is usual at night."""
    return scope.epoch_time is not None and gate.baseline_time is not None and abs(gate.baseline_time - scope.epoch_time) <= BASELINE_WINDOW


def _remembered(rule: GateRule, gate: TenantGate, before: MetricVerdict | None, counts: Counts | None, scope: Scope, tick: Tick) -> Memory:
    """Return what earlier looks leave to this one. When the window leaves a block behind, its counts go to the bank; a row of signs goes on."""
    begin = scope.begins[rule.name]
    if before is None:
        return Memory(begin, spread=_spread(Spread(), None, counts) if scope.is_control else None)
    if before.since_time is not None and before.since_time != begin:
        return Memory(begin, candidate_ticks=before.candidate_ticks, banked=_banked(gate, before, begin, scope), spread=before.spread)
    spread = _spread(before.spread or Spread(), before.counts, counts) if scope.is_control else None
    closing, closing_time = _closing(gate, before, counts, begin, scope.soak, tick)
    return Memory(begin, before.counts, before.history, before.candidate_ticks, before.banked, closing, closing_time, spread)


def _banked(gate: TenantGate, before: MetricVerdict, begin: datetime, scope: Scope) -> Counts | None:
    """Return the bank when the window moves on to `begin`: what it had counted up to there at the most, so that nothing counts twice."""
    kept = before.banked if scope.is_banked else None
    if before.closing is not None and before.closing_time is not None and before.closing_time <= begin:
        return before.closing.plus(kept)
    if before.closing is None and before.counts is not None and gate.usable_time is not None and gate.usable_time <= begin:
        return before.counts.plus(kept)
    return before.banked


def _closing(
    gate: TenantGate, before: MetricVerdict, counts: Counts | None, begin: datetime, soak: timedelta, tick: Tick
) -> tuple[Counts | None, datetime | None]:
    """Return what the window had counted at the end of its last block, which may lie between the last look and this one, and that end."""
    end = rounded_down(tick.time, block_length(soak, tick.base_interval))
    if gate.usable_time is None or end <= begin or gate.usable_time >= end:
        return before.closing, before.closing_time
    return (counts.clamped() if end == tick.time and counts is not None and is_number(counts.total) else before.counts), end


def _spread(spread: Spread, before: Counts | None, counts: Counts | None) -> Spread:
    """Return the spread of a control tenant with what this tick adds to it."""
    if counts is None or not (is_number(counts.bad) and is_number(counts.total)):
        return spread
    return spread.plus(newly(before, counts.clamped()))


def _conclude(gate: TenantGate, metrics: tuple[MetricVerdict, ...], tick: Tick, start: datetime) -> TenantGate:
    """Put the metrics together: the verdict, the clock and the coverage."""
    total_ticks = (tick.time - first_look_time(start, tick.base_interval)) // tick.base_interval + 1
    verdict, chosen = worst(metric.verdict for metric in metrics if metric.enforced), decisive(metrics)
    is_usable = chosen is not None and verdict is not Verdict.UNKNOWN
    is_candidate = any(metric.is_candidate for metric in metrics if metric.enforced)
    usable_ticks = min(total_ticks, gate.usable_ticks + _usable_since(gate, start, tick)) if is_usable else gate.usable_ticks
    return TenantGate(
        gate.name, gate.wave, verdict,
        chosen.reason if chosen is not None else GateReason.NOTHING_TO_JUDGE.value,
        _message(chosen, gate, tick) if chosen is not None else NOTHING_TO_JUDGE,
        metrics,
        window_start_time=gate.window_start_time,
        evaluation_time=tick.time,
        usable_time=tick.time if is_usable else gate.usable_time,
        latched=gate.latched,
        latched_time=gate.latched_time,
        clock=_clock(gate, tick, starts=not is_candidate) if is_usable else gate.clock,
        is_judged=gate.is_judged or is_usable,
        has_first_verdict=gate.has_first_verdict or (is_usable and not is_candidate),
        usable_ticks=usable_ticks,
        total_ticks=total_ticks,
        baseline=gate.baseline,
        failing_before=gate.failing_before,
        baseline_time=gate.baseline_time,
        baseline_run=gate.baseline_run,
        baseline_gates=gate.baseline_gates,
    )  # fmt: skip


def latched(gate: TenantGate, failed: str, tick: Tick) -> TenantGate:
    """Return the gate of a tenant that a gate has failed: it stays Failing for the rest of the attempt, and says by which gate and why."""
    metrics = tuple(replace(metric, verdict=Verdict.FAILING) if metric.gate == failed else metric for metric in gate.metrics)
    why = next(metric for metric in metrics if metric.gate == failed)
    return replace(
        gate, metrics=metrics, verdict=Verdict.FAILING, reason=why.reason, message=_message(why, gate, tick),
        latched=failed, latched_time=tick.time, clock=None,
    )  # fmt: skip


def _message(chosen: MetricVerdict, gate: TenantGate, tick: Tick) -> str:
    rule = next(rule for rule in tick.context.rules if rule.name == chosen.gate)
    sentence = metric_sentence(rule, chosen, tick.time, gate.baseline.get(rule.name))
    is_sign = chosen.candidate_ticks == 1 and chosen.verdict is not Verdict.FAILING
    return f"{sentence}; to be confirmed by the next tick" if is_sign else sentence


def _clock(gate: TenantGate, tick: Tick, *, starts: bool) -> timedelta | None:
    """Return the soak so far: live usable ticks since the first one without a sign of Failing. A hole adds nothing, whoever made it."""
    if gate.clock is None:
        return timedelta(0) if starts else None
    if tick.is_replay:
        return gate.clock
    passed = tick.time - gate.evaluation_time if gate.evaluation_time is not None else timedelta(0)
    return gate.clock + max(timedelta(0), min(passed, tick.interval))


def _usable_since(gate: TenantGate, start: datetime, tick: Tick) -> int:
    """Return how many ticks since the last usable one had fresh data: this one, and the missed ones that were recovered."""
    base = tick.base_interval
    ticks = (tick.time - accounted_time(gate, start, base)) // base
    live = min(ticks, max(1, tick.interval // base))
    return live + int((ticks - live) * tick.reading.recovered)
