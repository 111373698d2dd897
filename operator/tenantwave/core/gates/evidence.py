"""A verdict as it stands in status: with its numbers, its time, and a query that a person can paste to ask again."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta

from tenantwave.api import upgrade_status as shown

from .book import GateBook, MetricVerdict, TenantGate, Verdict, WaveGate
from .promql import every_tenant, evidence_query, part_query, parts_of
from .rules import GateContext, GateRule
from .selector import Matcher
from .sentences import percent

MAX_STATUS_CHARACTERS = 2048
MAX_QUERY_CHARACTERS = 1024
MAX_MESSAGE_CHARACTERS = 512
_BY_SERIOUSNESS = (Verdict.FAILING, Verdict.UNKNOWN, Verdict.INCONCLUSIVE, Verdict.HEALTHY)


@dataclass(frozen=True, slots=True)
class _Shown:
    metric: MetricVerdict
    query: str | None


def gate_status(gate: WaveGate | TenantGate, context: GateContext, book: GateBook | None = None) -> shown.GateStatus:
    """Return the last verdict of a wave or a tenant, at most 2 kB: queries of milder verdicts are left out first.

    The query of a wave names nobody; a tenant's has its own name. Asked at `evaluationTime` it returns the same value.
    """
    rules = {rule.name: rule for rule in context.rules}
    entries = [_Shown(metric, _query(rules[metric.gate], metric, gate)) for metric in gate.metrics if metric.gate in rules]
    status = _status(gate, entries, book)
    for verdict in reversed(_BY_SERIOUSNESS):
        for index in reversed(range(len(entries))):
            if len(status.model_dump_json(by_alias=True, exclude_none=True)) <= MAX_STATUS_CHARACTERS:
                return status
            if entries[index].metric.verdict is verdict:
                entries[index] = _Shown(entries[index].metric, None)
                status = _status(gate, entries, book)
    return status


def _status(gate: WaveGate | TenantGate, entries: list[_Shown], book: GateBook | None) -> shown.GateStatus:
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
        metrics=tuple(_metric(entry) for entry in entries),
    )


def _metric(entry: _Shown) -> shown.MetricStatus:
    metric = entry.metric
    return shown.MetricStatus(
        name=metric.gate,
        verdict=shown.Verdict(metric.verdict.value),
        reason=metric.reason,
        bad=decimal(metric.counts.bad) if metric.counts else None,
        total=decimal(metric.counts.total) if metric.counts else None,
        value=decimal(metric.value) if metric.value is not None else None,
        limit=decimal(float(metric.limit)) if metric.limit is not None else None,
        log_e=f"{metric.log_e:.1f}" if metric.log_e is not None else None,
        window=metric.window,
        mode=None if metric.enforced else "Observe",
        query=entry.query,
    )


def decimal(value: float) -> str:
    """Return a number as a decimal string: whole from 100 on, else with three significant digits; never with an exponent."""
    if abs(value) >= 100 or value == round(value):
        return str(round(value))
    return f"{value:.3g}" if abs(value) >= 0.001 else f"{value:.9f}".rstrip("0").rstrip(".") or "0"


def _query(rule: GateRule, metric: MetricVerdict, gate: WaveGate | TenantGate) -> str | None:
    """Return the query that gives the value; where that is too long the one of the bad events alone; else none."""
    scope = every_tenant(rule.tenant_label) if isinstance(gate, WaveGate) else Matcher(rule.tenant_label, "=", gate.name)
    window = metric.window or timedelta(0)
    if metric.window is None and (rule.is_share or metric.value is None):
        return None
    candidates = (evidence_query(rule, scope, window), part_query(rule, parts_of(rule)[-1], scope, window))
    return next((query for query in candidates if len(query) <= MAX_QUERY_CHARACTERS), None)
