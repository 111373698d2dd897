"""A verdict as it stands in status: with its numbers, its time, and a query that a person can paste to ask again."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import timedelta

from tenantwave.api import upgrade_status as shown

from .book import Comparison, GateBook, MetricVerdict, TenantGate, Verdict, WaveGate
from .promql import every_tenant, evidence_query, pooled_query, tenant_matcher
from .rules import GateContext, GateRule
from .selector import Matcher
from .sentences import metric_sentence, percent
from .waves import members_digest, members_of

MAX_STATUS_CHARACTERS = 4096
"""Of the status of one gate. Room for the query and the sentence of what fails, and for those of a few milder metrics."""

MAX_QUERY_CHARACTERS = 2048
"""The share of a counter with two labels in a Namespace of 20 characters takes some 1,200."""

MAX_MESSAGE_CHARACTERS = 512
MAX_METRIC_CHARACTERS = 256
MAX_NAMES = 20
_BY_SERIOUSNESS = (Verdict.FAILING, Verdict.UNKNOWN, Verdict.INCONCLUSIVE, Verdict.HEALTHY)


def gate_status(gate: WaveGate | TenantGate, context: GateContext, book: GateBook | None = None) -> shown.GateStatus:
    """Return the last verdict of a wave or a tenant, at most 4 kB: of the mildest verdicts the longest texts are left out first.

    Asked at `evaluationTime` a tenant's query returns the value beside it. So does a wave's where its names fit in; else it names nobody and
    returns each tenant's value. Cost: 50 microseconds a gate.
    """
    rules = {rule.name: rule for rule in context.rules}
    known = [metric for metric in gate.metrics if metric.gate in rules]
    names = _names(gate, context, book)
    comparisons = gate.comparisons if isinstance(gate, WaveGate) else ()
    dispersion = gate.dispersion if isinstance(gate, WaveGate) else {}
    entries = [_metric(rules[metric.gate], metric, gate, names, comparisons, dispersion) for metric in known]
    status = _status(gate, entries, book)
    for verdict in reversed(_BY_SERIOUSNESS):
        for field in ("query", "message"):
            mild = [index for index, entry in enumerate(entries) if entry.verdict == shown.Verdict(verdict.value) and getattr(entry, field)]
            for index in sorted(mild, key=lambda index: len(getattr(entries[index], field)), reverse=True):
                if len(status.model_dump_json(by_alias=True, exclude_none=True)) <= MAX_STATUS_CHARACTERS:
                    return status
                entries[index] = entries[index].model_copy(update={field: None})
                status = _status(gate, entries, book)
    return status


def _names(gate: WaveGate | TenantGate, context: GateContext, book: GateBook | None) -> tuple[str, ...]:
    """Return whose numbers these are: in a wave those of its members, or when all have failed of those.

    None where nobody can tell any more, because the members changed after the wave was judged; or where their windows differ, since one query
    has one window: then the query names nobody and returns each tenant's value.
    """
    if isinstance(gate, TenantGate):
        return (gate.name,)
    wave = context.wave(gate.name)
    if book is None or wave is None:
        return ()
    members = members_of(context, wave, book.tenants)
    if members_digest(members) != gate.members:
        return ()
    asked = members or tuple(each for each in book.tenants.values() if each.wave == gate.name)
    return tuple(sorted(each.name for each in asked)) if len({each.window_start_time for each in asked}) == 1 else ()


def _status(gate: WaveGate | TenantGate, entries: list[shown.MetricStatus], book: GateBook | None) -> shown.GateStatus:
    wave = gate if isinstance(gate, WaveGate) else None
    return shown.GateStatus(
        verdict=shown.Verdict(gate.verdict.value),
        reason=gate.reason,
        message=gate.message[:MAX_MESSAGE_CHARACTERS],
        evaluation_time=gate.evaluation_time,
        source=book.source.state.value if book else None,
        coverage=percent(round(float(gate.coverage), 2)) if gate.evaluation_time else None,
        judged=wave.judged_count if wave else None,
        healthy=wave.healthy_count if wave else None,
        failing=wave.failing_count if wave else None,
        inconclusive=wave.inconclusive_count if wave else None,
        without_data=wave.no_data_count if wave else None,
        failing_tenants=wave.failing_tenants if wave else (),
        control=_control(wave) if wave and wave.comparisons else None,
        can_find=wave.can_find[:MAX_MESSAGE_CHARACTERS] or None if wave else None,
        shift=wave.shift[:MAX_MESSAGE_CHARACTERS] or None if wave else None,
        metrics=tuple(entries),
    )


def _control(wave: WaveGate) -> shown.ControlStatus:
    """Return the control as the gate sees it that has most to say of it."""
    return shown.ControlStatus(
        tenants=max(each.control_count for each in wave.comparisons),
        failing=max(each.control_failing_count for each in wave.comparisons),
        ill=any(each.is_ill for each in wave.comparisons),
    )


def _metric(
    rule: GateRule,
    metric: MetricVerdict,
    gate: WaveGate | TenantGate,
    names: tuple[str, ...],
    comparisons: tuple[Comparison, ...],
    dispersion: Mapping[str, float],
) -> shown.MetricStatus:
    p_value = next((each.p_value for each in comparisons if each.gate == metric.gate), None)
    baseline = gate.baseline.get(metric.gate) if isinstance(gate, TenantGate) else None
    return shown.MetricStatus(
        name=metric.gate,
        verdict=shown.Verdict(metric.verdict.value),
        reason=metric.reason,
        bad=decimal(metric.counts.bad) if metric.counts else None,
        total=decimal(metric.counts.total) if metric.counts else None,
        value=decimal(metric.value) if metric.value is not None else None,
        limit=decimal(float(metric.limit)) if metric.limit is not None else None,
        log_e=f"{metric.log_e:.1f}" if metric.log_e is not None else None,
        p=decimal(p_value) if p_value is not None else None,
        dispersion=decimal(dispersion[metric.gate]) if metric.gate in dispersion and rule.is_share else None,
        window=metric.window,
        mode=None if metric.enforced else "Observe",
        query=_query(rule, metric, names),
        message=metric_sentence(rule, metric, gate.evaluation_time, baseline)[:MAX_METRIC_CHARACTERS] if gate.evaluation_time else None,
    )


def decimal(value: float) -> str:
    """Return a number as a decimal string: whole from 100 on, else with three significant digits; never with an exponent."""
    if abs(value) >= 100 or value == round(value):
        return str(round(value))
    return f"{value:.3g}" if abs(value) >= 0.001 else f"{value:.9f}".rstrip("0").rstrip(".") or "0"


def _query(rule: GateRule, metric: MetricVerdict, names: tuple[str, ...]) -> str | None:
    """Return the query that gives the value; where that is too long one that gives the value of each tenant; else none: never another number."""
    window = metric.window or timedelta(0)
    if metric.window is None and (rule.is_share or metric.value is None):
        return None
    everybody = every_tenant(rule.tenant_label)
    if len(names) == 1:
        own = Matcher(rule.tenant_label, "=", names[0])
        candidates = [evidence_query(rule, own, window)]
    else:
        together = [pooled_query(rule, tenant_matcher(rule.tenant_label, names), window)] if 0 < len(names) <= MAX_NAMES else []
        candidates = [*together, evidence_query(rule, everybody, window)]
    return next((query for query in candidates if len(query) <= MAX_QUERY_CHARACTERS), None)
