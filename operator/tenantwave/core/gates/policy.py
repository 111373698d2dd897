"""From the gates as people write them to the rules that are judged. Defaults are applied here; nothing is written back."""

from __future__ import annotations

from collections.abc import Sequence
from decimal import Decimal

from tenantwave.api import gating as written

from .rules import Evaluation, GateKind, GateRule, Increase, Latency, OnNoData, Ratio, RawQuery
from .samples import Source

DEFAULT_CONSECUTIVE = 3


def source_of(prometheus: written.Prometheus | None) -> Source | None:
    """Return where a policy's numbers come from; None without gates. Headers are sorted, so that equal policies share one source."""
    if prometheus is None:
        return None
    return Source(
        url=prometheus.url.rstrip("/"),
        secret_name=prometheus.secret_ref.name if prometheus.secret_ref else None,
        headers=tuple(sorted(prometheus.headers.items())),
        tenant_label=prometheus.tenant_label,
        query_delay=prometheus.query_delay,
        timeout=prometheus.timeout,
    )


def rules_of(prometheus: written.Prometheus | None, gates: Sequence[written.Gate]) -> tuple[GateRule, ...]:
    """Return the gates of a policy, in its order. Call it only for a policy without `gate_problems`."""
    default = prometheus.tenant_label if prometheus else "namespace"
    return tuple(_rule(gate, gate.tenant_label or default) for gate in gates)


def evaluation_of(evaluation: written.Evaluation) -> Evaluation:
    """Return how the gates are evaluated."""
    return Evaluation(
        interval=evaluation.interval,
        warm_up=evaluation.warm_up,
        min_coverage=Decimal(evaluation.min_coverage.number) / 100,
        on_no_data=OnNoData(evaluation.on_no_data.value),
        unknown_after=evaluation.on_unknown.after,
    )


def _rule(gate: written.Gate, label: str) -> GateRule:
    return GateRule(
        gate.name, _kind(gate), label, maximum=gate.max, minimum=gate.min, enforced=gate.mode is not written.GateMode.OBSERVE
    )  # fmt: skip


def _kind(gate: written.Gate) -> GateKind:
    if gate.ratio is not None:
        return Ratio(gate.ratio.bad, gate.ratio.total)
    if gate.latency is not None:
        return Latency(gate.latency.histogram, gate.latency.above)
    if gate.increase is not None:
        return Increase(gate.increase)
    if gate.query is not None:
        return RawQuery(gate.query, gate.consecutive or DEFAULT_CONSECUTIVE)
    raise ValueError(f"gate {gate.name} has none of ratio, latency, increase and query")
