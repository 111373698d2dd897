"""What of a verdict stands in status, and what is wrong with gates before anything is asked."""

from dataclasses import replace
from datetime import timedelta

import pytest

from gate_builders import ERRORS, NOON, UNREACHABLE, Fleet, Traffic, a_context, run
from tenantwave.api.conditions import GateReason
from tenantwave.api.gating import Evaluation, Gate, Prometheus
from tenantwave.core.gates import OnNoData, Ratio, RawQuery, evaluation_of, gate_problems, gate_status, rules_of, source_of
from tenantwave.core.gates.book import MetricVerdict, Verdict
from tenantwave.core.gates.counts import Counts
from tenantwave.core.gates.evidence import decimal
from tenantwave.core.gates.sentences import metric_sentence


def test_a_failing_tenant_shows_its_numbers_and_a_query_to_paste() -> None:
    """Counts, share, limit, evidence, window: all that a person needs to ask again."""
    context = a_context()
    book = run(context, Fleet({"acme": Traffic(bad=0.1)}), 6)
    status = gate_status(book.tenants["acme"], context, book)
    assert (status.verdict.value, status.reason, status.source, status.coverage) == ("Failing", "AboveLimit", "Ok", "100%")
    assert status.evaluation_time == NOON + timedelta(minutes=2, seconds=30)
    metric = status.metrics[0]
    assert (metric.bad, metric.total, metric.value, metric.limit) == ("150", "1500", "0.1", "0.01")
    assert metric.window == timedelta(minutes=2, seconds=30)
    assert metric.query is not None
    assert 'namespace="acme"' in metric.query


def test_a_wave_names_nobody_but_those_who_fail() -> None:
    """Its query asks for every tenant."""
    context = a_context("acme", "beta")
    book = run(context, Fleet({"acme": Traffic(bad=0.05)}), 6)
    status = gate_status(book.waves["canary"], context, book)
    assert (status.judged, status.failing, status.failing_tenants) == (1, 1, ("acme",))
    assert all("acme" not in (metric.query or "") for metric in status.metrics)


@pytest.mark.parametrize("names", [1, 3, 16])
def test_status_stays_small(names: int) -> None:
    """At most 4 kB with its queries, or without those of the mildest verdicts."""
    rules = tuple(replace(ERRORS, name=f"gate-{number}") for number in range(names))
    context = a_context(rules=rules)
    book = run(context, Fleet(), 8)
    for gate in (book.waves["canary"], book.tenants["acme"]):
        status = gate_status(gate, context, book)
        size = len(status.model_dump_json(by_alias=True, exclude_none=True))
        assert size <= 4096
        assert len(status.metrics) == names


def test_an_outage_is_shown_with_its_mend() -> None:
    """The message is the adapter's sentence."""
    context = a_context()
    book = run(context, Fleet(outage=UNREACHABLE), 8)
    status = gate_status(book.waves["canary"], context, book)
    assert (status.verdict.value, status.reason, status.message, status.source) == ("Unknown", "Unreachable", UNREACHABLE.message, "Down")


@pytest.mark.parametrize(
    ("value", "text"), [(36, "36"), (903.4, "903"), (0.039867, "0.0399"), (0.0000005, "0.0000005"), (0, "0"), (1e20, "1" + "0" * 20)]
)
def test_numbers_are_decimal_strings(value: float, text: str) -> None:
    """Never an exponent."""
    assert decimal(value) == text


PROMETHEUS = Prometheus(url="https://prometheus.monitoring:9090/")
RATIO = {"ratio": {"bad": 'http_requests_total{code=~"5.."}', "total": "http_requests_total"}, "max": "1%"}


def a_gate(**fields: object) -> Gate:
    """Return a gate named `g`."""
    return Gate.model_validate({"name": "g", **fields})


@pytest.mark.parametrize(
    ("gate", "words"),
    [
        (a_gate(**RATIO), None),
        (a_gate(latency={"histogram": "seconds", "above": "0.5"}, max="5%"), None),
        (a_gate(increase="restarts_total", max=2), None),
        (a_gate(query="max by ({{ label }}) (lag{ {{ tenants }} })", max=60), None),
        (a_gate(query="max by ({{ label }}) (lag{ {{ tenants }} })", min=60), None),
        (a_gate(ratio={"bad": "rate(x[5m])", "total": "x"}, max="1%"), "gate g: ratio.bad: at character 5: a plain selector ends here"),
        (a_gate(ratio={"bad": "x", "total": 'x{namespace="a"}'}, max="1%"), "gate g: ratio.total: it matches on namespace"),
        (a_gate(ratio=RATIO["ratio"], max=0), "gate g: max: 0 is no share"),
        (a_gate(ratio=RATIO["ratio"], max=5), "write one above 0% and at most 90%"),
        (a_gate(latency={"histogram": "seconds_bucket", "above": "0.5"}, max="5%"), "write its name without _bucket"),
        (a_gate(latency={"histogram": 'seconds{le="1"}', "above": "0.5"}, max="5%"), "remove that matcher"),
        (a_gate(latency={"histogram": "seconds", "above": "0"}, max="5%"), "latency.above: it must be above 0"),
        (a_gate(increase="x[5m]", max=2), "gate g: increase: at character 2"),
        (a_gate(query='lag{namespace="acme"}', max=60), "gate g: query: the selector of lag matches on namespace"),
        (a_gate(query="lag{ {{ tenants }} }", max=60, tenantLabel="tenant"), None),
        (a_gate(**RATIO, query="lag"), "exactly one of"),
        (a_gate(max=1), "exactly one of"),
        (a_gate(ratio=RATIO["ratio"]), "it must have max"),
        (a_gate(query="lag{ {{ tenants }} }", max=1, min=2), "either max or min"),
    ],
)
def test_what_is_wrong_with_a_gate_is_said_before_it_is_asked(gate: Gate, words: str | None) -> None:
    """With the gate, the field, and the mend."""
    problems = gate_problems(PROMETHEUS, [gate], Evaluation())
    assert (not problems) if words is None else (len(problems) >= 1 and words in problems[0])


@pytest.mark.parametrize(
    ("prometheus", "words"),
    [
        (Prometheus.model_construct(**{**PROMETHEUS.__dict__, "url": "ftp://x"}), "must begin with http"),
        (Prometheus.model_construct(**{**PROMETHEUS.__dict__, "url": "http://ann:secret@x"}), "contains credentials"),
        (Prometheus.model_construct(**{**PROMETHEUS.__dict__, "url": "http://x?y=1"}), "query or fragment"),
        (Prometheus.model_construct(**{**PROMETHEUS.__dict__, "url": "http://x:nine"}), "cannot be read as a URL"),
        (Prometheus.model_construct(**{**PROMETHEUS.__dict__, "headers": {"authorization": "x"}}), "belong into the Secret"),
        (Prometheus.model_construct(**{**PROMETHEUS.__dict__, "headers": {"X-Scope": "a\r\nb"}}), "without line breaks"),
    ],
)
def test_what_is_wrong_with_a_source_is_said(prometheus: Prometheus, words: str) -> None:
    """And a credential in it is not repeated."""
    problems = gate_problems(prometheus, [a_gate(**RATIO)], Evaluation())
    assert any(words in problem for problem in problems)
    assert "secret@" not in "".join(problems)


def test_gates_need_a_source_and_their_absence_a_word() -> None:
    """Silence is not protection."""
    assert "prometheus: it is missing" in gate_problems(None, [a_gate(**RATIO)], Evaluation())[0]
    assert "allowNoGates" in gate_problems(None, [], Evaluation())[0]
    assert gate_problems(None, [], Evaluation(), allow_no_gates=True) == ()


def test_gates_become_rules_with_their_defaults() -> None:
    """The tenant label of the gate, else of the source; Enforce; three ticks."""
    gates = [a_gate(**RATIO), a_gate(query="lag{ {{ tenants }} }", max=1, tenantLabel="tenant", mode="Observe")]
    first, second = rules_of(PROMETHEUS, gates)
    assert isinstance(first.kind, Ratio)
    assert second.kind == RawQuery("lag{ {{ tenants }} }", 3)
    assert (first.tenant_label, first.enforced, second.tenant_label, second.enforced) == ("namespace", True, "tenant", False)
    source = source_of(PROMETHEUS)
    assert source is not None
    assert source.url == "https://prometheus.monitoring:9090"
    assert evaluation_of(Evaluation()).on_no_data is OnNoData.POOL


def test_a_wave_that_lost_traffic_names_no_number_that_nobody_knows() -> None:
    """What is usual is known of each tenant; the sum over the wave has none."""
    metric = MetricVerdict("errors", Verdict.INCONCLUSIVE, GateReason.TRAFFIC_LOST, counts=Counts(3.0, 724.0))
    assert (
        metric_sentence(ERRORS, metric, NOON) == "errors: 724 requests over the whole wave, and some of its tenants have lost their traffic"
    )
    assert "about 900 are usual" in metric_sentence(ERRORS, replace(metric, expected=900.0), NOON)
