"""The next book: what is remembered after a tick.

First everybody is looked at alike, wave and control (`looks`). Then each wave is held against its control (`reference`), and only then latches
close: the same sign of Failing is a tenant's fault, or an incident of the fleet. At last the wave itself is judged (`waves`).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime

from .baselines import baseline_dispersions, control_dispersion, fleet_rates, with_baseline
from .book import Comparison, GateBook, TenantGate, WaveGate
from .constants import DISPERSION
from .findings import can_find, looks_due, shift
from .looks import Scope, Tick, latched, look
from .reading import Reading, baseline_reading, live_reading, next_health
from .reference import Groups, compare, ended
from .rules import GateContext, Role, WaveInContext
from .samples import TickSample
from .ticks import Judged, control_windows, is_replay, judged_tenants
from .traffic import AN_HOUR_LIKE_ANY, Hour, this_hour
from .verdicts import Yardstick, failed_metric
from .waves import judge_wave
from .windows import Epoch, baseline_time, control_epoch, evidence_start

CONTROL = ""
"""The wave of a control tenant: none."""

MOST_LATCHED_CONTROL = 50


@dataclass(frozen=True, slots=True)
class _Fleet:
    """What is the same for all tenants, by gate: usual rates, how busy the hour is, how bursty errors are now and were before."""

    rates: Mapping[str, float]
    hours: Mapping[str, Hour]
    dispersions: Mapping[str, float]
    usual_dispersions: Mapping[str, float]

    def yardsticks(self, context: GateContext, wave: WaveGate | None) -> dict[str, Yardstick]:
        """Return what a wave's tenants are held against, by gate."""
        known = {**(wave.dispersion if wave is not None else {}), **self.dispersions}
        return {
            rule.name: Yardstick(
                context.enforced_count,
                self.rates.get(rule.name, 0.0),
                known.get(rule.name, DISPERSION),
                self.hours.get(rule.name, AN_HOUR_LIKE_ANY),
            )
            for rule in context.rules
        }


def advance(book: GateBook, context: GateContext, sample: TickSample) -> GateBook:
    """Return the book after a tick. An answer to another run, or one not newer than the book, changes nothing.

    A book of another run starts anew, except for baselines: an hour in which the tenant already ran the release is never a baseline.
    Cost: 20 microseconds per tenant and gate, wave and control alike.
    """
    if sample.run_id != context.run_id:
        return book
    book = book.of_run(context.run_id)
    if book.evaluation_time is not None and sample.time <= book.evaluation_time:
        return book
    replayed = is_replay(book, context, sample.time, sample.answered_time)
    tick = Tick(context, live_reading(context, sample), sample.time, sample.interval, replayed)
    epoch = control_epoch(context, book)
    baselines = baseline_reading(sample)
    before = _with_baselines(book, context, epoch, baselines)
    judged = judged_tenants(context, before, sample.time)
    begins = control_windows(context, judged, sample.time)
    fleet = _measure(context, before, baseline_dispersions(context, sample), tick, begins, epoch)
    control = _look_at_control(before, context, fleet, tick, begins, epoch)
    tenants, afterwards = _look_at_tenants(before, context, fleet, tick, judged, epoch)
    after = replace(before, tenants=tenants, control=control, afterwards={**book.afterwards, **afterwards})
    ill: frozenset[str] = frozenset()
    for wave in sorted(context.waves, key=_is_passed):  # passed waves last: the running one knows whether the fleet is ill
        after = _settle_wave(after, context, fleet, tick, wave, ill if wave.has_passed else frozenset())
        known = after.wave(wave.name)
        ill |= frozenset(each.gate for each in known.comparisons if each.is_ill or each.is_incident) if known is not None else frozenset()
    if ill:
        control = {name: _with_spreads(gate, before.control[name], ill) for name, gate in after.control.items()}
        after = replace(after, control=control)
    if epoch is not None:
        after = _with_control(after, epoch)
    return replace(after, source=next_health(book.source, context, sample), evaluation_time=sample.time, is_restored=replayed)


def _is_passed(wave: WaveInContext) -> bool:
    return wave.has_passed


def _with_spreads(gate: TenantGate, before: TenantGate, ill: frozenset[str]) -> TenantGate:
    """Return a control tenant as if this tick had said nothing of bursts: what befalls all at once is none."""
    spreads = {metric.gate: metric.spread for metric in before.metrics}
    metrics = tuple(
        replace(metric, spread=spreads.get(metric.gate)) if metric.gate in ill and metric.spread is not None else metric
        for metric in gate.metrics
    )
    return replace(gate, metrics=metrics)


def _with_baselines(book: GateBook, context: GateContext, epoch: Epoch | None, baselines: Reading) -> GateBook:
    """Return the book with everybody in it who is judged, and the baselines that came."""
    interval = context.evaluation.interval
    tenants = dict(book.tenants)
    for tenant in context.tenants:
        gate = tenants.get(tenant.name) or TenantGate(tenant.name, tenant.wave)
        gate = gate if gate.wave == tenant.wave else replace(gate, wave=tenant.wave)
        tenants[tenant.name] = with_baseline(gate, baseline_time(tenant, interval), context, baselines)
    control: dict[str, TenantGate] = {}
    for name in context.control if epoch is not None else ():
        known = book.control.get(name)
        if known is None or (epoch is not None and known.baseline_time not in (None, epoch.time)):
            known = TenantGate(name, CONTROL)  # another wave: another placebo
        control[name] = with_baseline(known, epoch.time if epoch is not None else None, context, baselines)
    return replace(book, tenants=tenants, control=control)


def _measure(
    context: GateContext, book: GateBook, before: Mapping[str, float], tick: Tick, begins: Mapping[str, datetime], epoch: Epoch | None
) -> _Fleet:
    """Return the fleet's usual rates, today's traffic and burstiness. Without a control the tenants judged stand in for the rates."""
    rates = fleet_rates(context.rules, (book.control or book.tenants).values())
    shares = [rule for rule in context.rules if rule.is_share]
    hours = {rule.name: this_hour(rule, book.control, tick.reading, tick.time - begins[rule.name]) for rule in shares if begins}
    known = book.wave(epoch.wave.name) if epoch is not None else None
    usual = {**(known.usual_dispersion if known is not None else {}), **before}
    dispersions: dict[str, float] = {}
    for rule in shares:
        # A window of minutes misses large bursts, and an hour ago nobody knew of today's: the larger of both.
        last = known.dispersion.get(rule.name) if known is not None else None
        reading = None if known is not None and known.comparison(rule.name).is_incident else tick.reading
        now = control_dispersion(rule, book.control.values(), reading, begins.get(rule.name)) or last
        found = [each for each in (now, usual.get(rule.name)) if each is not None]
        if found:
            dispersions[rule.name] = max(found)
    return _Fleet(rates, hours, dispersions, usual)


def _look_at_control(
    book: GateBook, context: GateContext, fleet: _Fleet, tick: Tick, begins: Mapping[str, datetime], epoch: Epoch | None
) -> dict[str, TenantGate]:
    """Judge the control like the wave, over the window of the wave's oldest open cohort."""
    if epoch is None or not begins:
        return dict(book.control)
    yardsticks = fleet.yardsticks(context, book.wave(epoch.wave.name))
    scope = Scope(yardsticks, begins, epoch.wave.soak, is_control=True, has_baselines=True, epoch_time=epoch.time)
    known = book.wave(epoch.wave.name)
    era = known.fresh_since_time if known is not None else None
    looked: dict[str, TenantGate] = {}
    for name, gate in book.control.items():
        if gate.window_start_time != era:
            # An incident is over: wave and control begin anew. Who had failed before it, has.
            gate = replace(gate.without_evidence(era), latched=gate.latched, latched_time=gate.latched_time)
        if all(tick.reading.is_asked(rule.name, name) for rule in context.rules):
            gate = look(gate, min(begins.values()), scope, tick)
        looked[name] = gate
    return looked


def _look_at_tenants(
    book: GateBook, context: GateContext, fleet: _Fleet, tick: Tick, judged: Sequence[Judged], epoch: Epoch | None
) -> tuple[dict[str, TenantGate], dict[str, TenantGate]]:
    """Return the gates of all tenants after the tick, and the last look at those that were taken back."""
    by_name = {each.name: each for each in judged}
    yardsticks = {wave.name: fleet.yardsticks(context, book.wave(wave.name)) for wave in context.waves}
    scopes: dict[tuple[str, datetime, datetime, bool], Scope] = {}
    tenants, afterwards = dict(book.tenants), dict[str, TenantGate]()
    for tenant in context.tenants:
        gate, each = tenants[tenant.name], by_name.get(tenant.name)
        if tenant.role is Role.COUNTED and not gate.latched:
            start = each.start if each is not None else evidence_start(tenant, context, book)
            tenants[tenant.name] = gate = gate if gate.window_start_time == start else gate.without_evidence(start)
        if each is None or not all(tick.reading.is_asked(rule.name, tenant.name) for rule in context.rules):
            continue  # not long enough on the new version, or it joined after the questions were sent
        key = (tenant.wave, each.start, each.seen, tenant.first_write_time is not None)
        if key not in scopes:
            begins = {rule.name: each.window_start(rule, tick.time, tick.base_interval) for rule in context.rules}
            passed = each.wave.has_passed
            scopes[key] = Scope(
                yardsticks[tenant.wave], begins, each.wave.soak, is_banked=not passed, has_baselines=tenant.first_write_time is not None,
                epoch_time=epoch.time if epoch is not None and not passed else None,
            )  # fmt: skip
        if tenant.role is Role.TAKEN_BACK:
            afterwards[tenant.name] = _afterwards(book, gate, each, scopes[key], tick)
        elif gate.evaluation_time is None or tick.time > gate.evaluation_time:  # one that was judged before a restart is no second one
            tenants[tenant.name] = look(gate, each.start, scopes[key], tick)
    here = {tenant.name for tenant in context.tenants}
    for name, gate in book.tenants.items() if any(tenant.is_counted for tenant in context.tenants) else ():
        if name not in here and not gate.latched and gate.window_start_time is not None:
            tenants[name] = gate.without_evidence()  # it is being changed again: what was seen of it before no longer counts
    return tenants, afterwards


def _afterwards(book: GateBook, gate: TenantGate, each: Judged, scope: Scope, tick: Tick) -> TenantGate:
    """Judge a tenant that is on its old version again. A sign of Failing against the old baseline: it is worse than before."""
    known = book.afterwards.get(gate.name)
    before = known if known is not None and known.window_start_time == each.start else gate.without_evidence(each.start)
    after = look(before, each.start, scope, tick)
    worse = next((metric for metric in after.metrics if metric.enforced and metric.is_candidate), None)
    return replace(latched(after, worse.gate, tick), latched=None, latched_time=None) if worse is not None else after


def _settle_wave(book: GateBook, context: GateContext, fleet: _Fleet, tick: Tick, wave: WaveInContext, ill: frozenset[str]) -> GateBook:
    """Compare one wave with its control, close the latches, and judge it. `ill`: gates by which the fleet is ill as another wave sees it."""
    before = book.wave(wave.name) or WaveGate(wave.name)
    if before.evaluation_time is not None and tick.time <= before.evaluation_time:
        return book
    yardsticks = fleet.yardsticks(context, before)
    counted = {tenant.name for tenant in context.tenants_of(wave.name) if tenant.is_counted and tenant.window_start_time is not None}
    names = {name for name, gate in book.tenants.items() if gate.wave == wave.name and (name in counted or gate.latched)}
    of_wave = [gate for name, gate in book.tenants.items() if name in names]
    groups = Groups(of_wave, tuple(book.control.values()), _settled(book, context, wave))
    comparisons = _compared(context, groups, yardsticks, before, tick)
    is_over = ended(before.comparisons, comparisons)
    # What was seen in an incident fails nobody, at its end either. Nor does anything at a tick at which there was a control to ask and it was not.
    is_unwitnessed = bool(context.control) and not any(gate.evaluation_time == tick.time for gate in book.control.values())
    excused = frozenset(each.gate for each in comparisons if each.is_incident or is_over or is_unwitnessed) | ill
    tenants = {name: _closed(gate, excused, tick) if name in names else gate for name, gate in book.tenants.items()}
    control = book.control if wave.has_passed else {name: _closed(gate, excused, tick) for name, gate in book.control.items()}
    judged = replace(before, comparisons=comparisons)
    if not wave.has_passed:
        judged = replace(judged, dispersion=_dispersions(before, comparisons, fleet), usual_dispersion=fleet.usual_dispersions)
    if is_over:  # wave and control begin anew; what was measured of bursts in an incident is no measure of quiet times
        judged = replace(judged, fresh_since_time=tick.time, clock=None, healthy_since_time=None, dispersion=judged.usual_dispersion)
        fresh = {
            name: gate.without_evidence(gate.window_start_time) for name, gate in tenants.items() if name in names and not gate.latched
        }
        tenants = {**tenants, **fresh}
    after = judge_wave(context, wave, tenants, judged, tick, yardsticks)
    after = _with_findings(after, context, wave, replace(book, tenants=tenants, control=control), yardsticks)
    return replace(book, tenants=tenants, control=control, waves={**book.waves, wave.name: after})


def _compared(
    context: GateContext, groups: Groups, yardsticks: Mapping[str, Yardstick], before: WaveGate, tick: Tick
) -> tuple[Comparison, ...]:
    """Return how the wave compares by each gate; by one that cannot be used, as before. What is only observed makes no incident."""
    return tuple(
        before.comparison(rule.name)
        if rule.name in tick.reading.unusable or not rule.enforced
        else compare(rule, groups, yardsticks[rule.name], before.comparison(rule.name), tick.time)
        for rule in context.rules
    )


def _dispersions(before: WaveGate, comparisons: Sequence[Comparison], fleet: _Fleet) -> dict[str, float]:
    """Return the dispersions in use; while the reference is ill those from before, for that is not what bursts look like."""
    ill = {each.gate for each in comparisons if each.is_ill or each.is_incident}
    return {**fleet.dispersions, **{gate: value for gate, value in before.dispersion.items() if gate in ill}}


def _settled(book: GateBook, context: GateContext, wave: WaveInContext) -> list[TenantGate]:
    passed = {each.name for each in context.waves if each.has_passed and each.name != wave.name}
    names = (
        [tenant.name for tenant in context.tenants if tenant.wave in passed and tenant.is_counted and tenant.is_proven] if passed else []
    )
    return [gate for name in names if (gate := book.tenant(name)) is not None and not gate.latched]


def _closed(gate: TenantGate, excused: frozenset[str], tick: Tick) -> TenantGate:
    """Close the latch of a tenant whose sign of Failing was confirmed at this tick."""
    if gate.latched or gate.evaluation_time != tick.time:
        return gate
    failed = failed_metric(gate.metrics, excused)
    return latched(gate, failed, tick) if failed is not None else gate


def _with_findings(
    after: WaveGate, context: GateContext, wave: WaveInContext, book: GateBook, yardsticks: Mapping[str, Yardstick]
) -> WaveGate:
    members = [gate for gate in book.tenants.values() if gate.wave == wave.name]
    if not after.can_find and not wave.has_passed:
        after = replace(after, can_find=can_find(context, wave.soak, members, yardsticks, len(book.control)))
    if not wave.has_passed and looks_due(after.shift_looks, after.clock, wave.soak):
        found = after.shift or shift(context, [gate for gate in members if not gate.latched], tuple(book.control.values()))
        after = replace(after, shift_looks=after.shift_looks + 1, shift=found)
    return after


def _with_control(book: GateBook, epoch: Epoch) -> GateBook:
    """Keep with the wave what a restart must find again of its control."""
    wave = book.wave(epoch.wave.name)
    if wave is None:
        return book
    failed = {name: gate.latched for name, gate in sorted(book.control.items()) if gate.latched}
    kept = dict(list(failed.items())[:MOST_LATCHED_CONTROL])
    return replace(book, waves={**book.waves, wave.name: replace(wave, control_since_time=epoch.time, control_latched=kept)})
