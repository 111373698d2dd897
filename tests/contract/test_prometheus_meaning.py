"""What our queries mean, on both lines of Prometheus: each golden query has a known answer, and so have series that windows get wrong.

Ranges are closed on the left in 2.x and open in 3.x. Where that shows, a row has two numbers, and they differ by the events of one scrape.
"""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from types import EllipsisType

import pytest
from localcluster.binaries import resolve

from support.golden_queries import GoldenQuery, reviewed
from support.preloaded_prometheus import SCRAPE, START, Series, asking, is_left_open, numbered, preload, running, steady
from tenantwave.core.gates import Rows, Source
from tenantwave.core.gates.promql import bound_matcher, counts, coverage_query, every_tenant, evidence_query, tenant_matcher
from tenantwave.core.gates.rules import GateRule, Ratio
from tenantwave.core.gates.selector import Matcher, Selector

TEN_MINUTES = timedelta(minutes=10)
T = START + 30 * SCRAPE
"""The tick: scrape number 30. Eight minutes before it is number 14, ten minutes number 10."""


async def answered(url: str, promql: str, seconds: float, label: str = "namespace") -> dict[str, float]:
    """Return the value by tenant, "" for a row without one, as the adapter understands the answer."""
    async with asking() as metrics:
        answer = await metrics.query(Source(url), promql, START + timedelta(seconds=seconds), timedelta(seconds=10))
    assert isinstance(answer, Rows), answer
    values = {row.labels.get(label, ""): row.value for row in answer.rows}
    assert len(values) == len(answer.rows), "no two rows of one tenant"
    return values


# ---- series that windows get wrong: 30 s scrape, 10 minutes, seen at scrape 30 ----


@dataclass(frozen=True)
class Case:
    """Counters of one tenant, in promtool's notation, and the events that the window must show."""

    name: str
    series: tuple[str, ...]
    closed: float | None
    open: float | EllipsisType | None = ...
    """What 3.x shows, where it differs. None: no row."""

    def expected(self, *, left_open: bool) -> float | None:
        """Return what a version shows."""
        return self.closed if isinstance(self.open, EllipsisType) or not left_open else self.open


CASES = (
    # The table of the design page.
    Case("born with 37 errors, then flat", ("_x20 37x40",), 37),
    Case("born inside the window, then grows", ("_x20 12+3x10",), 42),
    Case("the new pod died", ("_x14 12 15 18 21 24 stale",), 24),
    Case("the container restarted", ("_x14 12 20 30 42 0 5 6 7x9",), 38.15625),
    Case("a gap in scraping where the window begins", ("1000000+3x8 stale _ 1000033+3x30",), 60),
    # What else happens to counters.
    Case("an old series that grows steadily", ("0+3x60",), 60),
    Case("an old series that stands still", ("5x60",), 0),
    Case("two pods", ("100+3x60", "100+6x60"), 180),
    Case("the old version ends, the new one begins", ("0+3x12 stale", "_x20 7x40"), 14.5),
    Case("born exactly where the window begins, then flat", ("_x10 37x40",), 0),
    Case("born exactly where the window begins, then grows", ("_x10 12+3x30",), 60),
    Case("born one scrape later", ("_x11 37+3x40",), 94),
    Case("the first event comes at the last scrape", ("_x30 1",), 1),
    Case("the first events come late, beside an old series", ("0+3x60", "_x28 2 2 5"), 65),
    Case("vanished before the window", ("0+3x5",), None),
    Case("ends one scrape after the window begins", ("0+3x11",), 1.5 * 3, None),
    Case("ends in the window", ("90+3x20",), 31.5),
    Case("restarted while nobody scraped", ("100+3x12 _x5 6+3x30",), 48, 45 * 600 / 570),
    Case("restarted before the window, and steady since", ("100+3x5 0+3x40",), 60),
    Case("old, and restarted inside", ("100+3x20 0+3x40",), 57, 54 * 600 / 570),
    Case("scraped every minute", (" ".join(f"{100 + 6 * n} _" for n in range(40)),), 60),
)
CASE_SERIES = {
    f'cases_total{{case="{case.name}",namespace="acme",pod="{pod}"}}': numbered(notation)
    for case in CASES
    for pod, notation in enumerate(case.series)
}
ODD_VALUES = ("plain", 'a "quoted" one', r"C:\dir", "two\nlines", 'both \\" and\n', "{}, #|.*+", "ünïcode ☃", "'single'", "\\n", "a\ttab")


def escaped(value: str) -> str:
    """Return a label's value as OpenMetrics writes it."""
    return value.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")


OTHER_SERIES: dict[str, Series] = {
    **{
        f'spelled_bucket{{namespace="{spelling}",le="{spelling}"}}': numbered("_x20 9x40")
        for spelling in ("1", "1.0", "0.5", "0.50", "1e-05", "0.00001", "1e+06", "1000000", "1000000.0", "10")
    },
    **{f'odd_total{{namespace="n-{number}",value="{escaped(value)}"}}': numbered("_x20 9x40") for number, value in enumerate(ODD_VALUES)},
    'gap_total{namespace="acme"}': {**steady(-60, 4, 100, 1), **steady(21, 60, 200, 1)},
}


# ---- the golden queries: acme is upgraded at scrape 13, beta never, and strangers are around them ----

GOLDEN_SERIES: dict[str, Series] = {
    'http_requests_total{namespace="acme",pod="old",code="200"}': steady(-150, 12, 100_000, 57),
    'http_requests_total{namespace="acme",pod="old",code="500"}': steady(-150, 12, 1_000, 3),
    'http_requests_total{namespace="acme",pod="new",code="200"}': steady(13, 60, 5, 60),
    'http_requests_total{namespace="acme",pod="new",code="500"}': steady(20, 60, 7, 3),
    'http_requests_total{namespace="beta",pod="a",code="200"}': steady(-150, 60, 100_000, 30),
    'http_requests_total{namespace="beta",pod="b",code="200"}': steady(-150, 60, 100_000, 30),
    'http_requests_total{namespace="stranger",pod="a",code="200"}': steady(-150, 60, 100_000, 100),
    'http_requests_total{namespace="stranger",pod="a",code="500"}': steady(-150, 60, 100_000, 50),
    'http_requests_total{namespace="vanished",pod="a",code="500"}': steady(-150, -20, 100_000, 10),
    'http_requests_total{namespace="newborn",pod="a",code="200"}': steady(14, 60, 50, 10),
    'http_requests_total{pod="of-nobody",code="500"}': steady(-150, 60, 100_000, 1000),
    'kube_pod_container_status_restarts_total{namespace="acme",pod="old"}': steady(-150, 12, 4),
    'kube_pod_container_status_restarts_total{namespace="acme",pod="new"}': {**steady(13, 15, 0), **steady(16, 21, 1), **steady(22, 60, 2)},
    'kube_pod_container_status_restarts_total{namespace="beta",pod="a"}': steady(-150, 60, 4),
    'queue_lag_seconds{k8s_namespace="acme",pod="a"}': steady(-150, 60, 12),
    'queue_lag_seconds{k8s_namespace="acme",pod="b"}': steady(-150, 60, 10),
    'queue_lag_seconds{k8s_namespace="beta",pod="a"}': steady(-150, 60, 90),
    'queue_lag_seconds{pod="of-nobody"}': steady(-150, 60, 900),
    'jobs_total{namespace="acme",result="failed",path="C:\\\\dir \\"q\\"\\n"}': steady(-150, 60, 100_000, 2),
    'jobs_total{namespace="acme",result="done",path="C:\\\\dir \\"q\\"\\n"}': steady(-150, 60, 100_000, 18),
    'jobs_total{namespace="acme",result="failed",path="C:\\\\dir"}': steady(-150, 60, 100_000, 500),
    'jobs_total{namespace="acme",result="failed",path="C:\\\\dir \\"q\\"n"}': steady(-150, 60, 100_000, 500),
    **{
        f'http_request_duration_seconds_{suffix}{{namespace="{tenant}"{bound}}}': steady(-150, 60, 100_000, step)
        for tenant, spelling, fast in (("acme", "1", 48), ("beta", "1.0", 57))
        for suffix, bound, step in (
            ("count", "", 60),
            ("bucket", ',le="0.5"', 30),
            ("bucket", f',le="{spelling}"', fast),
            ("bucket", ',le="+Inf"', 60),
        )
    },
}

FIRST_WRITE, SEEN = 0.0, (T - START).total_seconds()
TRUTH: Mapping[str, Mapping[str, float]] = {
    "errors: total, two tenants, 8 minutes": {"acme": 997, "beta": 960},
    "errors: total, everybody, 8 minutes": {"acme": 997, "beta": 960, "stranger": 2400, "newborn": 160},
    "errors: total, two tenants, baseline": {"acme": 7200, "beta": 7200},
    "errors: total, two tenants, a twelfth of the baseline": {"acme": 600, "beta": 600},
    "errors: bad, two tenants, 8 minutes": {"acme": 37},
    "errors: bad, everybody, 8 minutes": {"acme": 37, "stranger": 800},
    "errors: bad, two tenants, baseline": {"acme": 360},
    "errors: bad, two tenants, a twelfth of the baseline": {"acme": 30},
    "errors: when the newest sample was taken": {"": T.timestamp()},
    "errors: how many of the 16 ticks in 8 minutes had fresh data": {"": 16},
    "errors: to paste, for a tenant": {"acme": 37 / 997},
    "errors: to paste, for each tenant": {"acme": 37 / 997, "beta": 0, "stranger": 1 / 3, "newborn": 0},
    "errors: to paste, for a wave of two": {"": 37 / 1957},
    "slow: total, two tenants, 8 minutes": {"acme": 960, "beta": 960},
    "slow: total, everybody, 8 minutes": {"acme": 960, "beta": 960},
    "slow: total, two tenants, baseline": {"acme": 7200, "beta": 7200},
    "slow: total, two tenants, a twelfth of the baseline": {"acme": 600, "beta": 600},
    "slow: fast, two tenants, 8 minutes": {"acme": 768, "beta": 912},
    "slow: fast, everybody, 8 minutes": {"acme": 768, "beta": 912},
    "slow: fast, two tenants, baseline": {"acme": 5760, "beta": 6840},
    "slow: fast, two tenants, a twelfth of the baseline": {"acme": 480, "beta": 570},
    "slow: when the newest sample was taken": {"": T.timestamp()},
    "slow: how many of the 16 ticks in 8 minutes had fresh data": {"": 16},
    "slow: to paste, for a tenant": {"acme": 0.2},
    "slow: to paste, for each tenant": {"acme": 0.2, "beta": 0.05},
    "slow: to paste, for a wave of two": {"": 0.125},
    "restarts: value, two tenants, 8 minutes": {"acme": 2, "beta": 0},
    "restarts: value, everybody, 8 minutes": {"acme": 2, "beta": 0},
    "restarts: value, two tenants, baseline": {"acme": 0, "beta": 0},
    "restarts: when the newest sample was taken": {"": T.timestamp()},
    "restarts: how many of the 16 ticks in 8 minutes had fresh data": {"": 16},
    "restarts: to paste, for a tenant": {"acme": 2},
    "restarts: to paste, for each tenant": {"acme": 2, "beta": 0},
    "restarts: to paste, for a wave of two": {"": 2},
    "lag: value, two tenants, 8 minutes": {"acme": 12, "beta": 90},
    "lag: value, everybody, 8 minutes": {"acme": 12, "beta": 90},
    "lag: to paste, for a tenant": {"acme": 12},
    "lag: to paste, for each tenant": {"acme": 12, "beta": 90},
    "lag: to paste, for a wave of two": {"": 90},
    "jobs: total, two tenants, 8 minutes": {"acme": 320},
    "jobs: total, everybody, 8 minutes": {"acme": 320},
    "jobs: total, two tenants, baseline": {"acme": 2400},
    "jobs: total, two tenants, a twelfth of the baseline": {"acme": 200},
    "jobs: bad, two tenants, 8 minutes": {"acme": 32},
    "jobs: bad, everybody, 8 minutes": {"acme": 32},
    "jobs: bad, two tenants, baseline": {"acme": 240},
    "jobs: bad, two tenants, a twelfth of the baseline": {"acme": 20},
    "jobs: when the newest sample was taken": {"": T.timestamp()},
    "jobs: how many of the 16 ticks in 8 minutes had fresh data": {"": 16},
    "jobs: to paste, for a tenant": {"acme": 0.1},
    "jobs: to paste, for each tenant": {"acme": 0.1},
    "jobs: to paste, for a wave of two": {"": 0.1},
}


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with all series of this file."""
    folder = tmp_path_factory.mktemp("series")
    preload(folder, {**CASE_SERIES, **OTHER_SERIES, **GOLDEN_SERIES})
    return folder


@pytest.fixture(scope="module")
def prometheus(prometheus_binary: Path, data: Path) -> Iterator[str]:
    """The URL of a Prometheus of either line over them."""
    with running(prometheus_binary, data) as url:
        yield url


def test_every_golden_query_has_a_known_answer() -> None:
    """And every answer a query."""
    assert [query.heading for query in reviewed()] == list(TRUTH)


@pytest.mark.parametrize("query", reviewed(), ids=lambda query: query.heading)
async def test_a_golden_query_gives_the_known_answer(query: GoldenQuery, prometheus: str) -> None:
    """As it stands in the file that people have read."""
    seconds = FIRST_WRITE if query.heading.endswith("baseline") else SEEN
    label = "k8s_namespace" if query.heading.startswith("lag") else "namespace"
    assert await answered(prometheus, query.promql, seconds, label) == pytest.approx(TRUTH[query.heading], rel=1e-9)


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
async def test_a_window_shows_the_events_that_happened_in_it(case: Case, prometheus: str, prometheus_binary: Path) -> None:
    """To the last digit."""
    selector = Selector("cases_total", (Matcher("case", "=", case.name),))
    found = await answered(prometheus, counts(selector, tenant_matcher("namespace", ["acme"]), TEN_MINUTES), SEEN)
    expected = case.expected(left_open=is_left_open(prometheus_binary))
    assert found == pytest.approx({} if expected is None else {"acme": expected}, rel=1e-12)


def test_marks_of_staleness_change_no_count(tmp_path: Path) -> None:
    """What is loaded into a server has none, so promtool evaluates the same series with them."""
    promtool = resolve("promtool")
    left_open = is_left_open(promtool)
    scope = tenant_matcher("namespace", ["acme"])
    tests = [
        {
            "interval": "30s",
            "input_series": [
                {"series": f'cases_total{{namespace="acme",pod="{pod}"}}', "values": values} for pod, values in enumerate(case.series)
            ],
            "promql_expr_test": [
                {
                    "expr": counts(Selector("cases_total"), scope, TEN_MINUTES),
                    "eval_time": "15m",
                    "exp_samples": [{"labels": '{namespace="acme"}', "value": value}] if value is not None else [],
                }
            ],
        }
        for case in CASES
        for value in [case.expected(left_open=left_open)]
    ]
    file = tmp_path / "test.yaml"
    file.write_text(json.dumps({"rule_files": [], "evaluation_interval": "30s", "tests": tests}))
    done = subprocess.run([promtool, "test", "rules", str(file)], capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize(
    ("above", "spellings"),
    [
        ("1", {"1", "1.0"}),
        ("1.0", {"1", "1.0"}),
        ("0.5", {"0.5"}),
        ("0.50", {"0.5", "0.50"}),
        ("0.00001", {"1e-05", "0.00001"}),
        ("1000000", {"1e+06", "1000000", "1000000.0"}),
        ("7", set()),
    ],
)
async def test_a_bound_is_found_in_all_its_spellings_and_no_other(above: str, spellings: set[str], prometheus: str) -> None:
    """`10` is not `1` followed by something, and `1.0` is no pattern."""
    promql = counts(Selector("spelled_bucket").where(bound_matcher(above)), every_tenant("namespace"), TEN_MINUTES)
    assert set(await answered(prometheus, promql, SEEN)) == spellings


@pytest.mark.parametrize("number", range(len(ODD_VALUES)), ids=map(repr, ODD_VALUES))
async def test_a_value_of_any_kind_matches_itself_alone(number: int, prometheus: str) -> None:
    """Quotes, backslashes, line breaks: what we print is what the server reads."""
    selector = Selector("odd_total", (Matcher("value", "=", ODD_VALUES[number]),))
    assert await answered(prometheus, counts(selector, every_tenant("namespace"), TEN_MINUTES), SEEN) == {f"n-{number}": 9}


@pytest.mark.parametrize(
    ("delay", "scrapes", "fresh"),
    [
        pytest.param(0, 16, 10, id="six ticks of eight minutes were too old, at 12:15"),
        pytest.param(15, 16, 10, id="the same between two ticks"),
        pytest.param(1, 16, 10, id="and a second after one"),
        pytest.param(0, 10, 10, id="the last five minutes, all fresh"),
        pytest.param(0, 26, 14, id="thirteen minutes, of which the first four ticks were fresh"),
    ],
)
async def test_missed_ticks_are_counted_each_once(delay: int, scrapes: int, fresh: int, prometheus: str) -> None:
    """Scrapes 5 to 20 are missing, and a sample is young for two minutes, so ticks 9 to 20 have no fresh data. The tick before is not counted."""
    promql = coverage_query(Selector("gap_total"), "namespace", scrapes * SCRAPE, SCRAPE, timedelta(minutes=2))
    assert await answered(prometheus, promql, SEEN + delay) == {"": fresh}


async def test_the_tick_before_those_that_were_missed_does_not_count(prometheus: str) -> None:
    """At tick 21 the data is back; of the thirteen ticks before it, 8 to 20, one was fresh. Tick 7 is accounted for, and was fresh, too."""
    promql = coverage_query(Selector("gap_total"), "namespace", 13 * SCRAPE, SCRAPE, timedelta(minutes=2))
    assert await answered(prometheus, promql, 20 * SCRAPE.total_seconds()) == {"": 1}


async def test_a_paste_of_the_whole_fleet_names_nobody_and_shows_everybody(prometheus: str) -> None:
    """A tenant without bad events has the value 0, one without requests no row."""
    rule = GateRule("errors", Ratio('http_requests_total{code="500"}', "http_requests_total"), "namespace")
    promql = evidence_query(rule, every_tenant("namespace"), TEN_MINUTES)
    assert "acme" not in promql
    found = await answered(prometheus, promql, SEEN)
    assert (found["beta"], "vanished" in found, "" in found) == (0, False, False)
