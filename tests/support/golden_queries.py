"""One of each query that leaves the operator, under a heading. As text they are a golden file; on a real Prometheus each has a known answer."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import timedelta
from decimal import Decimal
from pathlib import Path

from tenantwave.core.gates import GateRule, Increase, Latency, Ratio, RawQuery
from tenantwave.core.gates.promql import (
    coverage_query,
    every_tenant,
    evidence_query,
    fresh_series,
    freshness_query,
    part_query,
    parts_of,
    pooled_query,
    tenant_matcher,
)
from tenantwave.core.gates.selector import Matcher

GOLDEN = Path(__file__).parents[1] / "unit" / "core" / "gates" / "golden" / "queries.promql"
WINDOW = timedelta(minutes=8)
ODD = r'path="C:\\dir \"q\"\n"'
RULES = (
    GateRule("errors", Ratio('http_requests_total{code=~"5.."}', "http_requests_total"), "namespace", maximum=Decimal("0.01")),
    GateRule("slow", Latency("http_request_duration_seconds", "1"), "namespace", maximum=Decimal("0.05")),
    GateRule("restarts", Increase("kube_pod_container_status_restarts_total"), "namespace", maximum=Decimal(2)),
    GateRule("lag", RawQuery("max by ({{ label }}) (queue_lag_seconds{ {{ tenants }} })"), "k8s_namespace", maximum=Decimal(60)),
    GateRule("jobs", Ratio(f'jobs_total{{result="failed",{ODD}}}', f"jobs_total{{{ODD}}}"), "namespace", maximum=Decimal("0.01")),
)


@dataclass(frozen=True)
class GoldenQuery:
    """A query as it leaves, and what it is for."""

    heading: str
    promql: str


def golden_queries() -> tuple[GoldenQuery, ...]:
    """Return what the code writes today, in the order of the file."""
    return tuple(GoldenQuery(f"{rule.name}: {what}", promql) for rule in RULES for what, promql in _of(rule))


def _of(rule: GateRule) -> Iterator[tuple[str, str]]:
    label = rule.tenant_label
    two = tenant_matcher(label, ["acme", "beta"])
    for part in parts_of(rule):
        yield f"{part.value}, two tenants, 8 minutes", part_query(rule, part, two, WINDOW)
        yield f"{part.value}, everybody, 8 minutes", part_query(rule, part, every_tenant(label), WINDOW)
        if not isinstance(rule.kind, RawQuery):
            yield f"{part.value}, two tenants, baseline", part_query(rule, part, two, timedelta(hours=1))
        if rule.is_share:
            yield f"{part.value}, two tenants, a twelfth of the baseline", part_query(rule, part, two, timedelta(minutes=5))
    series = fresh_series(rule)
    if series is not None:
        yield "when the newest sample was taken", freshness_query(series, label)
        yield (
            "how many of the 16 ticks in 8 minutes had fresh data",
            coverage_query(series, label, WINDOW, timedelta(seconds=30), timedelta(minutes=2)),
        )
    yield "to paste, for a tenant", evidence_query(rule, Matcher(label, "=", "acme"), WINDOW)
    yield "to paste, for each tenant", evidence_query(rule, every_tenant(label), WINDOW)
    yield "to paste, for a wave of two", pooled_query(rule, two, WINDOW)


def as_text(queries: tuple[GoldenQuery, ...]) -> str:
    """Return the file's content: headings as comments, a query a line."""
    return "\n".join(f"# {query.heading}\n{query.promql}\n" for query in queries)


def reviewed() -> tuple[GoldenQuery, ...]:
    """Return the queries of the file, which somebody has read."""
    blocks = [block.split("\n", 1) for block in GOLDEN.read_text().strip().split("\n\n")]
    return tuple(GoldenQuery(heading.removeprefix("# "), promql) for heading, promql in blocks)
