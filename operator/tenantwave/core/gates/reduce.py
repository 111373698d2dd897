"""The next book: what is remembered after a tick. The only place where clocks run and latches close."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from .book import Counts, GateBook, MetricVerdict, Reason, TenantGate, Verdict, WaveGate, worst
from .constants import LARGEST_NUMBER
from .reading import Reading, baseline_reading, live_reading, next_health
from .rules import GateContext, GateRule, Latency, RawQuery, TenantInContext
from .samples import Part, TickSample
from .sentences import metric_sentence
from .statistics import pooled_rate
from .ticks import accounted_time, baseline_time, first_look_time, tenant_cohort, window_start
from .verdicts import Yardstick, bound_missing, clamped, decisive, failed_metric, is_beyond, judge_counts, judge_value, left_out, not_usable
from .waves import Tick, judge_wave


@dataclass(frozen=True, slots=True)
class _Look:
    """One tick, as everything below needs it."""

    context: GateContext
    reading: Reading
    baselines: Reading
    fleet: Mapping[str, float]
    time: datetime
    interval: timedelta


def advance(book: GateBook, context: GateContext, sample: TickSample) -> GateBook:
    """Return the book after a tick. An answer to another run, or one not newer than the book, changes nothing.

    A book of another run starts anew, except for baselines: an hour in which the tenant already ran the release is never a baseline.
    """
    if sample.run_id != context.run_id:
        return book
    book = book.of_run(context.run_id)
    if book.evaluation_time is not None and sample.time <= book.evaluation_time:
        return book
    baselines = baseline_reading(sample)
    known = {tenant.name: _with_baseline(book.tenant(tenant.name), tenant, context, baselines) for tenant in context.tenants}
    look = _Look(context, live_reading(context, sample), baselines, _fleet_rates(context, known), sample.time, sample.interval)
    tenants = {**book.tenants, **{tenant.name: _look_at(known[tenant.name], tenant, look) for tenant in context.tenants}}
    tick = Tick(sample.time, sample.interval, look.reading.unusable)
    waves = {wave.name: judge_wave(context, wave, tenants, book.wave(wave.name) or WaveGate(wave.name), tick) for wave in context.waves}
    return GateBook(context.run_id, tenants, {**book.waves, **waves}, source=next_health(book.source, sample), evaluation_time=sample.time)


def _with_baseline(before: TenantGate | None, tenant: TenantInContext, context: GateContext, baselines: Reading) -> TenantGate:
    """Return the tenant's gate with its baseline, once every gate's came. A failed question is asked again at the next tick."""
    gate = before or TenantGate(tenant.name, tenant.wave)
    gate = gate if gate.wave == tenant.wave else replace(gate, wave=tenant.wave)
    time = baseline_time(tenant, context.evaluation.interval)
    if gate.baseline_time is not None or time is None:
        return gate
    if any((rule.name, tenant.name) not in baselines.asked or baselines.failed.get((rule.name, tenant.name)) for rule in context.rules):
        return gate
    counts: dict[str, Counts] = {}
    beyond: dict[str, float] = {}
    for rule in context.rules:
        if rule.name in baselines.unusable:
            continue
        value = baselines.values.get((rule.name, Part.VALUE, tenant.name))
        if rule.is_share:
            found = _counts(rule, baselines, tenant.name)
            if found is not None and abs(found.bad) <= LARGEST_NUMBER and abs(found.total) <= LARGEST_NUMBER:
                counts[rule.name] = clamped(found)
        elif value is not None and abs(value) <= LARGEST_NUMBER and is_beyond(rule, value):
            beyond[rule.name] = value
    return replace(gate, baseline=counts, failing_before=beyond, baseline_time=time)


def _fleet_rates(context: GateContext, gates: Mapping[str, TenantGate]) -> dict[str, float]:
    """Return the pooled baseline rate by gate. Of the tenants that are judged, as long as there is no control to take it from."""
    return {
        rule.name: pooled_rate([gate.baseline[rule.name] for gate in gates.values() if rule.name in gate.baseline])
        for rule in context.rules
    }


def _look_at(gate: TenantGate, tenant: TenantInContext, look: _Look) -> TenantGate:
    """Return one tenant's gate after a tick."""
    if gate.latched or not tenant.is_counted or (gate.evaluation_time is not None and look.time <= gate.evaluation_time):
        return gate  # a tick that was judged before a restart is not a second one
    start = tenant_cohort(tenant, look.context)
    if gate.window_start_time != start:
        gate = _fresh(gate, start)
    if start is None or look.time < first_look_time(start, look.context.evaluation.interval):
        return gate
    if not all((rule.name, tenant.name) in look.reading.asked for rule in look.context.rules):
        return gate  # it joined after the questions were sent
    metrics = tuple(_judge(rule, gate, tenant, look, start) for rule in look.context.rules)
    return _conclude(gate, metrics, look, start)


def _fresh(gate: TenantGate, start: datetime | None) -> TenantGate:
    """Return a gate without evidence: it has not converged yet, or somebody changed its workload and its window starts anew."""
    return TenantGate(
        gate.name, gate.wave, window_start_time=start,
        baseline=gate.baseline, failing_before=gate.failing_before, baseline_time=gate.baseline_time,
    )  # fmt: skip


def _judge(rule: GateRule, gate: TenantGate, tenant: TenantInContext, look: _Look, start: datetime) -> MetricVerdict:
    before = next((metric for metric in gate.metrics if metric.gate == rule.name), None)
    if before is not None and gate.evaluation_time is not None and look.time - gate.evaluation_time > look.interval:
        before = replace(before, candidate_ticks=0, beyond_ticks=0, within_ticks=0)  # ticks were missed: nothing is "in a row" over a gap
    if rule.name in gate.failing_before:
        return left_out(rule, gate.failing_before[rule.name])
    failure = look.reading.failure(rule.name, tenant.name)
    if failure is not None:
        return not_usable(rule, failure, before)
    wave = look.context.wave(tenant.wave)
    if isinstance(rule.kind, RawQuery) or wave is None:
        return judge_value(rule, look.reading.values.get((rule.name, Part.VALUE, tenant.name)), before)
    window = look.time - window_start(rule, wave, start, look.time, look.context.evaluation.interval)
    if not rule.is_share:
        return judge_value(rule, look.reading.values.get((rule.name, Part.VALUE, tenant.name)), before, window=window)
    counts = _counts(rule, look.reading, tenant.name)
    if (
        isinstance(rule.kind, Latency)
        and counts is not None
        and counts.total > 0
        and look.reading.counts(rule.name, tenant.name)[2] is None
    ):
        return bound_missing(rule, counts, window)
    yardstick = Yardstick(look.context.enforced_count, look.fleet.get(rule.name, 0.0))
    return judge_counts(rule, counts, before, window=window, baseline=gate.baseline.get(rule.name), yardstick=yardstick)


def _counts(rule: GateRule, reading: Reading, tenant: str) -> Counts | None:
    """Return a tenant's counts; None without a row of all events. Bad events without a row are none; a missing bucket is NaN unless
    nothing happened."""
    total, bad, fast = reading.counts(rule.name, tenant)
    if total is None:
        return None
    if not isinstance(rule.kind, Latency):
        return Counts(bad or 0.0, total)
    if fast is None:
        return Counts(float("nan") if total > 0 else 0.0, total)
    return Counts(total - fast, total)


def _conclude(gate: TenantGate, metrics: tuple[MetricVerdict, ...], look: _Look, start: datetime) -> TenantGate:
    """Put the metrics together: the verdict, the latch, the clock and the coverage."""
    base = look.context.evaluation.interval
    total_ticks = (look.time - first_look_time(start, base)) // base + 1
    verdict = worst(metric.verdict for metric in metrics if metric.enforced)
    chosen = decisive(metrics)
    after = replace(gate, metrics=metrics, evaluation_time=look.time, total_ticks=total_ticks, verdict=verdict)
    if chosen is None:
        reason = Reason.NOTHING_TO_JUDGE.value
        return replace(after, reason=reason, message="every enforced gate is left out for this tenant, so nothing shows that it is healthy")
    after = replace(after, reason=chosen.reason, message=_message(chosen, gate, look))
    if verdict is Verdict.UNKNOWN:
        return after
    after = replace(after, usable_time=look.time, usable_ticks=min(total_ticks, gate.usable_ticks + _usable_since(gate, start, look)))
    failed = failed_metric(metrics)
    if failed is not None:
        metrics = tuple(replace(metric, verdict=Verdict.FAILING) if metric.gate == failed else metric for metric in metrics)
        return replace(after, metrics=metrics, verdict=Verdict.FAILING, latched=failed, latched_time=look.time, is_judged=True, clock=None)
    return replace(
        after,
        is_judged=True,
        has_first_verdict=gate.has_first_verdict or not after.is_candidate,
        clock=_clock(gate, look, starts=not after.is_candidate),
    )


def _message(chosen: MetricVerdict, gate: TenantGate, look: _Look) -> str:
    rule = next(rule for rule in look.context.rules if rule.name == chosen.gate)
    sentence = metric_sentence(rule, chosen, look.time, gate.baseline.get(rule.name))
    return f"{sentence}; to be confirmed by the next tick" if chosen.candidate_ticks == 1 else sentence


def _clock(gate: TenantGate, look: _Look, *, starts: bool) -> timedelta | None:
    """Return the soak so far: live usable ticks since the first one without a sign of Failing. A hole adds nothing, whoever made it."""
    if gate.clock is None:
        return timedelta(0) if starts else None
    passed = look.time - gate.evaluation_time if gate.evaluation_time is not None else timedelta(0)
    return gate.clock + max(timedelta(0), min(passed, look.interval))


def _usable_since(gate: TenantGate, start: datetime, look: _Look) -> int:
    """Return how many ticks since the last usable one had fresh data: this one, and the missed ones that were recovered."""
    base = look.context.evaluation.interval
    ticks = (look.time - accounted_time(gate, start, base)) // base
    live = min(ticks, max(1, look.interval // base))
    return live + int((ticks - live) * look.reading.recovered)
