"""Is it the release, or is the whole fleet ill? A wave is held against its control in the same minutes.

The control are tenants of this upgrade that still run the old version, judged as if they had been upgraded to it: a placebo. What ails them, too,
is no fault of the release. So a sign of Failing latches only where the reference is well, or where the wave is worse beyond doubt.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from decimal import Decimal

from tenantwave.api.conditions import GateReason

from .book import Comparison, MetricVerdict, TenantGate, Verdict
from .counts import NOTHING, total_of
from .exact import ALPHA_COMPARISON, fisher, is_below, is_ill
from .rules import GateRule
from .traffic import MIN_CONTROL
from .verdicts import Memory, Yardstick, judge_counts

SURE_TICKS = 2
WELL_TICKS = 2
"""An incident is over when the reference was well at so many ticks in a row."""


@dataclass(frozen=True, slots=True)
class Groups:
    """Who is compared: the wave's tenants (counted, and those that a gate has failed), the control, and tenants of passed waves."""

    wave: Sequence[TenantGate]
    control: Sequence[TenantGate]
    settled: Sequence[TenantGate] = ()


def compare(rule: GateRule, groups: Groups, yardstick: Yardstick, before: Comparison, time: datetime) -> Comparison:
    """Return how one gate of a wave compares with its reference at this tick. Cost: 1 microsecond a tenant."""
    wave = _judged(rule, groups.wave, time)
    control = _judged(rule, groups.control, time)
    failing = sum(gate.latched == rule.name or metric.is_candidate for gate, metric in wave)
    control_failing = sum(gate.latched == rule.name or metric.is_candidate for gate, metric in control)
    p_value = fisher(failing, len(wave), control_failing, len(control)) if wave and control else None
    is_significant = p_value is not None and is_below(p_value, ALPHA_COMPARISON / max(1, yardstick.metrics_count))
    # Few untouched tenants are a weak witness: tenants that have passed join them, for this question alone.
    reference = control if len(control) >= MIN_CONTROL else [*control, *_judged(rule, groups.settled, time)]
    ill = _is_reference_ill(rule, [metric for gate, metric in reference if gate.evaluation_time == time], yardstick)
    well_ticks = 0 if ill else before.well_ticks + 1
    holds_on = before.is_incident and well_ticks < WELL_TICKS
    # While an incident stands one looks at every tick at tenants that come and go: what is beyond doubt once is not, twice in a row it is.
    significant_ticks = before.significant_ticks + 1 if is_significant else 0
    is_worse = significant_ticks >= (SURE_TICKS if before.is_incident else 1)
    return Comparison(
        rule.name, len(control), control_failing, p_value, ill,
        is_incident=(ill or holds_on) and not is_worse, is_significant=is_significant, well_ticks=well_ticks,
        significant_ticks=significant_ticks,
    )  # fmt: skip


def ended(before: Collection[Comparison], after: Collection[Comparison]) -> bool:
    """Tell whether an incident has ended at this tick because the reference is well again."""
    had = {each.gate for each in before if each.is_incident}
    return any(each.gate in had and not each.is_incident and each.well_ticks >= WELL_TICKS for each in after)


_Judged = tuple[TenantGate, MetricVerdict]


def _judged(rule: GateRule, gates: Sequence[TenantGate], time: datetime) -> list[_Judged]:
    """Return the tenants about which the gate says something at this tick, and those that it has failed. One without data neither fails nor bears
    witness that nothing is wrong, and what was seen at another tick is no witness at all."""
    found = ((gate, next((metric for metric in gate.metrics if metric.gate == rule.name), None)) for gate in gates)
    return [
        (gate, metric)
        for gate, metric in found
        if metric is not None and (gate.latched == rule.name or (gate.evaluation_time == time and _says_something(metric)))
    ]


def _says_something(metric: MetricVerdict) -> bool:
    is_left_out = metric.reason == GateReason.FAILING_BEFORE.value or metric.verdict is Verdict.UNKNOWN
    return not is_left_out and (metric.counts is not None or metric.value is not None)


def _is_reference_ill(rule: GateRule, reference: list[MetricVerdict], yardstick: Yardstick) -> bool:
    """Tell whether the reference fails now. Tenants that were over a limit already before the wave are left out, so a healthy one rarely does."""
    failing_now = sum(metric.is_candidate for metric in reference)
    return (failing_now > 0 and is_ill(failing_now, len(reference))) or (rule.is_share and _fails_as_one(rule, reference, yardstick))


def _fails_as_one(rule: GateRule, metrics: list[MetricVerdict], yardstick: Yardstick) -> bool:
    """Tell whether all requests of the reference together are beyond the limit: an incident that no single tenant shows."""
    together = pooled(rule, metrics, yardstick)
    return together is not None and together.is_candidate


def pooled(rule: GateRule, metrics: Sequence[MetricVerdict], yardstick: Yardstick) -> MetricVerdict | None:
    """Judge several tenants as one: their events together against their mean limit. None where there is nothing to count."""
    counted = [metric for metric in metrics if metric.counts is not None]
    if not counted:
        return None
    banked = total_of(metric.banked for metric in counted if metric.banked is not None)
    earlier = total_of(metric.history[0] if metric.history else NOTHING for metric in counted)
    memory = Memory(history=(earlier,), counts=NOTHING, banked=banked)
    window = max((metric.window for metric in counted if metric.window), default=timedelta(0))
    share = GateRule(rule.name, rule.kind, rule.tenant_label, maximum=mean_limit(rule, counted), enforced=rule.enforced)
    alone = Yardstick(yardstick.metrics_count, dispersion=yardstick.dispersion)
    return judge_counts(share, total_of(metric.counts for metric in counted if metric.counts), memory, window=window, yardstick=alone)


def mean_limit(rule: GateRule, metrics: Sequence[MetricVerdict]) -> Decimal:
    """Return the effective limit of several tenants together: each tenant's own, weighted by its requests."""
    weighted = [(metric.counts.total, float(metric.limit)) for metric in metrics if metric.counts is not None and metric.limit is not None]
    total = sum(weight for weight, _ in weighted)
    return Decimal(f"{sum(weight * limit for weight, limit in weighted) / total:.9f}").normalize() if total else rule.limit
