"""Our gates on a real Prometheus of either line: the whole way from the adapter to a verdict, and back from its evidence."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from datetime import timedelta
from decimal import Decimal
from pathlib import Path

import pytest

from gate_builders import ERRORS, a_context
from support.preloaded_prometheus import START, Series, asking, preload, running
from support.raw_queries import GOOD
from tenantwave.adapters.prometheus import PrometheusMetrics
from tenantwave.core.gates import (
    Evaluation,
    GateBook,
    GateContext,
    GateRule,
    Increase,
    Latency,
    RawQuery,
    Rows,
    Source,
    TenantGate,
    TickSample,
    Verdict,
    WaveGate,
    WaveInContext,
    advance,
    due,
    gate_status,
)
from tenantwave.core.gates.evidence import decimal
from tenantwave.core.gates.promql import counts, every_tenant, fill_in, tenant_matcher
from tenantwave.core.gates.selector import Selector

SECOND = timedelta(seconds=1)
MINUTES = 20


def of_the_fleet() -> dict[str, Series]:
    """Return 21 minutes of samples, one a second: acme is well, beta fails every tenth request from minute 10 on.

    10 requests a second each; a third of acme's are slower than 0.5 s; gamma restarts three times within half a minute after it.
    """
    seconds = range(-60, MINUTES * 60)
    requests = {second: 10.0 * (second + 60) for second in seconds}
    failed = {second: float(max(0, second - 600)) for second in seconds}
    series: dict[str, Series] = {
        'http_requests_total{namespace="acme",code="200"}': requests,
        'http_requests_total{namespace="beta",code="200"}': {second: requests[second] - failed[second] for second in seconds},
        'http_requests_total{namespace="beta",code="500"}': failed,
        'restarts_total{namespace="gamma"}': {second: float(min(3, max(0, second - 600) // 10)) for second in seconds},
        'restarts_total{namespace="acme"}': dict.fromkeys(seconds, 4.0),
        'lag{namespace="acme"}': dict.fromkeys(seconds, 12.0),
        'lag{namespace="beta"}': dict.fromkeys(seconds, 90.0),
    }
    for tenant in ("acme", "beta"):
        series[f'latency_bucket{{namespace="{tenant}",le="0.5"}}'] = {second: float(requests[second] * 2 // 3) for second in seconds}
        series[f'latency_bucket{{namespace="{tenant}",le="+Inf"}}'] = requests
        series[f'latency_count{{namespace="{tenant}"}}'] = requests
    return series


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with all series of this file."""
    folder = tmp_path_factory.mktemp("series")
    preload(folder, of_the_fleet(), SECOND)
    return folder


@pytest.fixture(scope="module")
def prometheus(prometheus_binary: Path, data: Path) -> Iterator[str]:
    """The URL of a Prometheus of either line over them."""
    with running(prometheus_binary, data) as url:
        yield url


async def judged(url: str, *names: str, rules: tuple[GateRule, ...], ticks: int = 10) -> GateBook:
    """Judge tenants that converged at minute 10, tick by tick of 10 s, as the prober would."""
    converged = START + 10 * 60 * SECOND
    evaluation = Evaluation(interval=10 * SECOND, warm_up=timedelta(0))
    context = replace(
        a_context(*names, rules=rules, evaluation=evaluation, start=converged, wave=WaveInContext("canary", 60 * SECOND)),
        source=Source(url),
    )
    book = GateBook()
    async with asking() as metrics:
        for number in range(ticks):
            request = due(book, context, converged + number * evaluation.interval)
            assert request is not None
            answers = [(ask, await metrics.query(request.source, ask.promql, ask.time, request.source.timeout)) for ask in request.asks]
            book = advance(book, context, TickSample(request.run_id, request.time, request.interval, request.time, tuple(answers)))
        await evidence_can_be_asked_again(metrics, url, book, context)
    return book


async def evidence_can_be_asked_again(metrics: PrometheusMetrics, url: str, book: GateBook, context: GateContext) -> None:
    """Paste the query of each tenant and wave, at its time: it returns the very value that the status shows."""
    gates: list[WaveGate | TenantGate] = [*book.tenants.values(), *book.waves.values()]
    for gate in gates:
        status = gate_status(gate, context, book)
        assert status.evaluation_time is not None
        for metric in status.metrics:
            assert metric.query is not None or metric.value is None, metric
            if metric.query is None:
                continue
            answer = await metrics.query(Source(url), metric.query, status.evaluation_time, 20 * SECOND)
            assert isinstance(answer, Rows), answer
            assert [decimal(row.value) for row in answer.rows] == ([] if metric.value is None else [metric.value]), metric


async def test_a_healthy_and_a_failing_tenant_are_told_apart(prometheus: str) -> None:
    """acme is Healthy after a minute; beta, with 10% errors, is latched."""
    book = await judged(prometheus, "acme", "beta", rules=(ERRORS,))
    acme, beta = book.tenants["acme"], book.tenants["beta"]
    assert (acme.verdict, acme.metrics[0].counts is not None) == (Verdict.HEALTHY, True)
    assert (beta.verdict, beta.latched) == (Verdict.FAILING, "errors")
    assert beta.message.startswith("errors: ")
    assert book.waves["canary"].reason == "BudgetExceeded"


async def test_every_kind_of_gate_is_evaluated(prometheus: str) -> None:
    """Latency, increase and a raw query, on the real thing."""
    rules = (
        GateRule("slow", Latency("latency", "0.5"), "namespace", maximum=Decimal("0.05")),
        GateRule("restarts", Increase("restarts_total"), "namespace", maximum=Decimal(2)),
        GateRule("lag", RawQuery("max by ({{ label }}) (lag{ {{ tenants }} })", 3), "namespace", maximum=Decimal(60)),
    )
    for rule, failing, healthy in zip(rules, ("acme", "gamma", "beta"), (None, "acme", "acme"), strict=True):
        names = [name for name in (failing, healthy) if name]
        book = await judged(prometheus, *names, rules=(rule,), ticks=12)
        assert book.tenants[failing].latched == rule.name, book.tenants[failing]
        assert healthy is None or book.tenants[healthy].verdict is Verdict.HEALTHY


async def test_a_bound_that_the_histogram_does_not_have_is_unknown(prometheus: str) -> None:
    """Not 0 slow requests."""
    book = await judged(prometheus, "acme", rules=(GateRule("slow", Latency("latency", "0.7"), "namespace", maximum=Decimal("0.05")),))
    assert (book.tenants["acme"].verdict, book.tenants["acme"].reason) == (Verdict.UNKNOWN, "BoundMissing")


async def test_a_metric_that_exists_nowhere_is_unknown(prometheus: str) -> None:
    """It neither passes nor fails."""
    rule = replace(ERRORS, tenant_label="no_such_label")
    book = await judged(prometheus, "acme", rules=(rule,))
    assert (book.waves["canary"].verdict, book.waves["canary"].reason) == (Verdict.UNKNOWN, "Blind")


async def test_a_query_that_prometheus_refuses_is_invalid(prometheus: str) -> None:
    """With its own words in the message."""
    async with asking() as metrics:
        answer = await metrics.query(Source(prometheus), "sum(", START, 5 * SECOND)
    assert not isinstance(answer, Rows)
    assert answer.kind.value == "QueryInvalid"
    assert "parse error" in answer.message


async def test_all_tenants_at_once_and_one_by_one_are_the_same(prometheus: str) -> None:
    """`.+` and names in an alternation count the same events."""
    time = START + 12 * 60 * SECOND
    async with asking() as metrics:
        every, named = [
            await metrics.query(Source(prometheus), counts(Selector("http_requests_total"), scope, 60 * SECOND), time, 5 * SECOND)
            for scope in (every_tenant("namespace"), tenant_matcher("namespace", ["acme", "beta"]))
        ]
    assert isinstance(every, Rows)
    assert isinstance(named, Rows)
    assert sorted((row.labels["namespace"], row.value) for row in every.rows) == sorted(
        (row.labels["namespace"], row.value) for row in named.rows
    )


@pytest.mark.parametrize("query", GOOD)
async def test_what_our_verification_accepts_the_server_understands(query: str, prometheus: str) -> None:
    """Its parser is another one than ours."""
    promql = fill_in(query, tenant_matcher("namespace", ["acme", "beta"]))
    async with asking() as metrics:
        answer = await metrics.query(Source(prometheus), promql, START + 12 * 60 * SECOND, 5 * SECOND)
    assert isinstance(answer, Rows), answer
