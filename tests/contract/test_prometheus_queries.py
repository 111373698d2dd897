"""Our queries on a real Prometheus: the counts of a window to the last digit, and the whole way from the adapter to a verdict."""

from __future__ import annotations

import asyncio
import json
import socket
import subprocess
import urllib.request
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path

import pytest
from localcluster.binaries import resolve

from gate_builders import ERRORS, a_context
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
    TickSample,
    Verdict,
    WaveInContext,
    advance,
    due,
    gate_status,
)
from tenantwave.core.gates.promql import bound_matcher, counts, every_tenant, tenant_matcher
from tenantwave.core.gates.selector import Selector

PROMETHEUS = Path(resolve("prometheus"))
PROMTOOL = Path(resolve("promtool"))
TEN_MINUTES = timedelta(minutes=10)
EVENTS = Selector("events_total")


def evaluated(folder: Path, promql: str, series: dict[str, str], samples: dict[str, float], at: str = "15m", interval: str = "30s") -> None:
    """Let promtool evaluate a query over given series, and compare the samples exactly."""
    expected = [{"labels": labels, "value": value} for labels, value in samples.items()]
    test = {
        "rule_files": [],
        "evaluation_interval": interval,
        "tests": [
            {
                "interval": interval,
                "input_series": [{"series": name, "values": values} for name, values in series.items()],
                "promql_expr_test": [{"expr": promql, "eval_time": at, "exp_samples": expected}],
            }
        ],
    }
    file = folder / "test.yaml"
    file.write_text(json.dumps(test))
    done = subprocess.run([PROMTOOL, "test", "rules", str(file)], capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        pytest.param("_x20 37x40", 37, id="born with 37 errors, then flat"),
        pytest.param("_x20 12+3x10", 42, id="born inside the window, then grows"),
        pytest.param("_x14 12 15 18 21 24 stale", 24, id="the new pod died"),
        pytest.param("_x14 12 20 30 42 0 5 6 7x9", 38.15625, id="the container restarted"),
        pytest.param("0+3x60", 60, id="an old series that grows steadily"),
        pytest.param("5x60", 0, id="an old series that stands still"),
    ],
)
def test_a_window_counts_series_that_are_born_die_and_restart(values: str, expected: float, tmp_path: Path) -> None:
    """The table of the design page, 30 s scrape, 10 minutes, seen at minute 15."""
    promql = counts(EVENTS, tenant_matcher("namespace", ["acme"]), TEN_MINUTES)
    evaluated(tmp_path, promql, {'events_total{namespace="acme",pod="a"}': values}, {'{namespace="acme"}': expected})


def test_a_scrape_gap_at_the_start_of_the_window_makes_no_series_new(tmp_path: Path) -> None:
    """1,000,000 old events stay outside of the window although its first sample is missing."""
    promql = counts(EVENTS, tenant_matcher("namespace", ["acme"]), TEN_MINUTES)
    series = {'events_total{namespace="acme",pod="a"}': "1000000+3x8 stale _ 1000033+3x30"}
    evaluated(tmp_path, promql, series, {'{namespace="acme"}': 60})


def test_old_and_new_version_in_one_window_are_added(tmp_path: Path) -> None:
    """The old pod's last 6 events (7.5, extrapolated) and the new pod's first 7 both happened to the tenant; a stranger's are not in it."""
    promql = counts(EVENTS, tenant_matcher("namespace", ["acme", "beta"]), TEN_MINUTES)
    series = {
        'events_total{namespace="acme",pod="old"}': "0+3x12 stale",
        'events_total{namespace="acme",pod="new"}': "_x20 7x40",
        'events_total{namespace="beta",pod="new"}': "_x20 2x40",
        'events_total{namespace="stranger",pod="new"}': "_x20 900x40",
    }
    evaluated(tmp_path, promql, series, {'{namespace="acme"}': 7 + 7.5, '{namespace="beta"}': 2})


@pytest.mark.parametrize("spelling", ["1", "1.0"])
def test_a_bound_is_found_in_both_spellings(spelling: str, tmp_path: Path) -> None:
    """Prometheus 3 writes `1.0`, others `1`."""
    selector = Selector("seconds_bucket").where(bound_matcher("1"))
    series = {
        f'seconds_bucket{{namespace="acme",le="{spelling}"}}': "_x20 9x40",
        'seconds_bucket{namespace="acme",le="10"}': "_x20 11x40",
        'seconds_bucket{namespace="acme",le="+Inf"}': "_x20 12x40",
    }
    evaluated(tmp_path, counts(selector, tenant_matcher("namespace", ["acme"]), TEN_MINUTES), series, {'{namespace="acme"}': 9})


# ---- a server, with series that were written into it beforehand ----

START = datetime(2026, 1, 1, 12, tzinfo=UTC)
SECOND = timedelta(seconds=1)
MINUTES = 20


def open_metrics() -> str:
    """Return 20 minutes of samples, one a second, as OpenMetrics: acme is well, beta fails every tenth request from minute 10 on.

    10 requests a second each; a third of acme's are slower than 0.5 s; gamma restarts three times within half a minute after it.
    """
    lines = ["# TYPE http_requests counter", "# TYPE latency histogram", "# TYPE restarts counter", "# TYPE lag gauge"]
    samples: dict[str, list[str]] = {}
    for second in range(-60, MINUTES * 60):
        stamp = int(START.timestamp()) + second
        requests = 10 * (second + 60)
        failed = max(0, second - 600)
        for tenant in ("acme", "beta"):
            bad = failed if tenant == "beta" else 0
            samples.setdefault("http_requests", []).append(
                f'http_requests_total{{namespace="{tenant}",code="200"}} {requests - bad} {stamp}'
            )
            if bad or tenant == "beta":
                samples["http_requests"].append(f'http_requests_total{{namespace="{tenant}",code="500"}} {bad} {stamp}')
            for bound, share in (("0.5", 2 / 3), ("+Inf", 1)):
                samples.setdefault("latency", []).append(
                    f'latency_bucket{{namespace="{tenant}",le="{bound}"}} {int(requests * share)} {stamp}'
                )
            samples["latency"].append(f'latency_count{{namespace="{tenant}"}} {requests} {stamp}')
            samples["latency"].append(f'latency_sum{{namespace="{tenant}"}} {requests} {stamp}')
        restarts = min(3, max(0, second - 600) // 10)
        samples.setdefault("restarts", []).append(f'restarts_total{{namespace="gamma"}} {restarts} {stamp}')
        samples["restarts"].append(f'restarts_total{{namespace="acme"}} 4 {stamp}')
        samples.setdefault("lag", []).append(f'lag{{namespace="acme"}} 12 {stamp}')
        samples["lag"].append(f'lag{{namespace="beta"}} 90 {stamp}')
    out: list[str] = []
    for line in lines:
        out += [line, *sorted(samples[line.split()[2]], key=series_and_time)]
    return "\n".join([*out, "# EOF\n"])


def series_and_time(line: str) -> tuple[str, float]:
    """Return the order that OpenMetrics wants: all samples of a series together, by time."""
    series, _, stamp = line.rsplit(" ", 2)
    return series, float(stamp)


@contextmanager
def running(folder: Path) -> Iterator[str]:
    """Run a Prometheus over the blocks in `folder`, on a free port of the loopback interface; yield its URL."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    config = folder / "prometheus.yml"
    config.write_text("{}")
    process = subprocess.Popen(
        [PROMETHEUS, f"--config.file={config}", f"--storage.tsdb.path={folder / 'data'}", f"--web.listen-address=127.0.0.1:{port}",
         "--storage.tsdb.retention.time=100y", "--log.level=error"],
        stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
    )  # fmt: skip
    try:
        yield f"http://127.0.0.1:{port}"
    finally:
        process.terminate()
        process.wait(20)


async def ready(url: str) -> None:
    """Wait until Prometheus answers, at most 30 seconds."""
    for _ in range(300):
        try:
            return await asyncio.to_thread(lambda: urllib.request.urlopen(f"{url}/-/ready", timeout=2).close())
        except OSError:
            await asyncio.sleep(0.1)
    raise AssertionError("Prometheus did not become ready within 30 s")


@pytest.fixture(scope="module")
def prometheus(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Yield the URL of a Prometheus that holds `open_metrics`."""
    folder = tmp_path_factory.mktemp("prometheus")
    (folder / "samples.txt").write_text(open_metrics())
    command = [str(PROMTOOL), "tsdb", "create-blocks-from", "openmetrics", str(folder / "samples.txt"), str(folder / "data")]
    subprocess.run(command, check=True, capture_output=True, timeout=120)
    with running(folder) as url:
        asyncio.run(ready(url))
        yield url


@asynccontextmanager
async def asking() -> AsyncIterator[PrometheusMetrics]:
    """Yield an adapter without a Secret."""

    async def none(_: str) -> None:
        return None

    metrics = PrometheusMetrics(none)
    try:
        yield metrics
    finally:
        await metrics.close()


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
    """Paste each tenant's query, at its time: it returns the value that the status shows."""
    for gate in book.tenants.values():
        status = gate_status(gate, context)
        for metric in status.metrics:
            if metric.query is None or metric.value is None or status.evaluation_time is None:
                continue
            answer = await metrics.query(Source(url), metric.query, status.evaluation_time, 20 * SECOND)
            assert isinstance(answer, Rows), answer
            assert len(answer.rows) == 1
            assert answer.rows[0].value == pytest.approx(float(metric.value), rel=0.01), metric.query


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
