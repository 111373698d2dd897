"""Whatever tenants are called and matchers say, each selector of each query is scoped to the tenants, and no row reaches a stranger."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from decimal import Decimal
from typing import Any

import promql_parser
from hypothesis import given
from hypothesis import strategies as st

from gate_builders import Fleet, Traffic, a_context, run
from tenantwave.core.gates import Answer, Ask, GateRule, Increase, Latency, Ratio, RawQuery, Row, Rows
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
from tenantwave.core.gates.raw_query import why_not_accepted
from tenantwave.core.gates.selector import Matcher, Selector, parse_selector

LABEL = "namespace"
WINDOW = timedelta(minutes=8)
NAMES = st.lists(st.from_regex(r"[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?", fullmatch=True), min_size=1, max_size=5, unique=True)
ODD = st.sampled_from("\\\"'\n\t\r{}|#`.*")
VALUES = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="".join(map(chr, range(32)))) | ODD)
_WORDS = """
and or unless atan2 by without on ignoring group_left group_right offset bool start end nan inf
sum min max avg group stddev stdvar count count_values bottomk topk quantile limitk limit_ratio
"""
WORDS_OF_THE_LANGUAGE = frozenset(_WORDS.split())


def is_a_name(text: str) -> bool:
    """Tell whether a text names a metric; a word of the language would be read as such."""
    return text.lower() not in WORDS_OF_THE_LANGUAGE


def a_selector(name: str, conditions: list[tuple[str, str]]) -> Selector:
    """Return a selector with these operators and values, on labels of its own."""
    return Selector(name, tuple(Matcher(f"label_{number}", operator, value) for number, (operator, value) in enumerate(conditions)))


METRICS = st.from_regex(r"[a-zA-Z_:][a-zA-Z0-9_:]{0,20}", fullmatch=True).filter(is_a_name)
SELECTORS = st.builds(a_selector, METRICS, st.lists(st.tuples(st.sampled_from(["=", "!="]), VALUES), max_size=4))
KINDS = st.one_of(
    st.builds(lambda bad, total: Ratio(str(bad), str(total)), SELECTORS, SELECTORS),
    st.builds(lambda histogram: Latency(str(histogram), "1"), SELECTORS),
    st.builds(lambda selector: Increase(str(selector)), SELECTORS),
)


def selectors_of(node: Any) -> Iterator[Any]:  # Any: the parser has no types
    """Yield all selectors below a node, by its own names of what is below."""
    if isinstance(node, promql_parser.VectorSelector):
        yield node
    for name in ("lhs", "rhs", "expr", "vector_selector", "args"):
        below = getattr(node, name, None)
        for child in below if isinstance(below, list) else [] if below is None else [below]:
            yield from selectors_of(child)


def scopes_of(promql: str) -> list[list[tuple[str, str]]]:
    """Return what each selector of a query says about the tenant label, as another parser than ours reads it."""
    selectors = list(selectors_of(promql_parser.parse(promql)))
    assert selectors
    assert all(selector.name and not selector.matchers.or_matchers for selector in selectors)
    return [[(str(each.op), each.value) for each in selector.matchers.matchers if each.name == LABEL] for selector in selectors]


@given(KINDS, NAMES)
def test_every_selector_of_every_query_is_scoped_to_the_tenants(kind: Ratio | Latency | Increase, names: list[str]) -> None:
    """To exactly those that are asked for, or to whoever names a tenant; never to series of nobody."""
    rule = GateRule("g", kind, LABEL, maximum=Decimal("0.01"))
    for scope in (tenant_matcher(LABEL, names), every_tenant(LABEL)):
        queries = [part_query(rule, part, scope, WINDOW) for part in parts_of(rule)]
        for query in (*queries, evidence_query(rule, scope, WINDOW), pooled_query(rule, scope, WINDOW)):
            assert {tuple(said) for said in scopes_of(query)} == {((OPERATOR, scope.value),)}
    series = fresh_series(rule)
    assert series is not None
    for query in (freshness_query(series, LABEL), coverage_query(series, LABEL, WINDOW, timedelta(seconds=30), timedelta(minutes=2))):
        assert {tuple(said) for said in scopes_of(query)} == {((OPERATOR, ".+"),)}


OPERATOR = str(promql_parser.MatchOp.Re)


@given(SELECTORS)
def test_what_we_print_reads_back_the_same_for_us_and_for_others(selector: Selector) -> None:
    """Name and values, with every quote, backslash and line break."""
    assert parse_selector(str(selector), reserved=LABEL) == selector
    (read,) = selectors_of(promql_parser.parse(str(selector)))
    assert read.name == selector.name
    assert sorted((each.name, each.value) for each in read.matchers.matchers) == sorted(
        (each.label, each.value) for each in selector.matchers
    )


@given(SELECTORS, NAMES)
def test_a_raw_query_that_is_accepted_stays_scoped_for_any_tenants(selector: Selector, names: list[str]) -> None:
    """What was verified with two names holds for all."""
    matchers = "".join(f", {matcher}" for matcher in selector.matchers)
    query = f"max by ({{{{ label }}}}) ({selector.name}{{ {{{{ tenants }}}}{matchers} }})"
    assert why_not_accepted(query, LABEL) is None
    rule = GateRule("g", RawQuery(query), LABEL, maximum=Decimal(1))
    scope = tenant_matcher(LABEL, names)
    assert scopes_of(part_query(rule, parts_of(rule)[0], scope, WINDOW)) == [[(OPERATOR, scope.value)]]


@given(
    st.dictionaries(NAMES.map(lambda names: f"stranger-{names[0]}"), st.floats(), max_size=5),
    st.dictionaries(st.text(), st.text(), max_size=3),
)
def test_rows_of_strangers_change_nobodys_verdict(values: dict[str, float], labels: dict[str, str]) -> None:
    """Whoever pushes series of another tenant's name into an answer reaches nobody who was not asked for, and nobody who was."""
    labels.pop(LABEL, None)
    strangers = tuple(Row({**labels, LABEL: name}, value) for name, value in values.items())

    class Chatty(Fleet):
        def answer(self, ask: Ask) -> Answer:
            answer = super().answer(ask)
            return Rows((*strangers, *answer.rows)) if isinstance(answer, Rows) and ask.tenants else answer

    context = a_context("acme", "beta")
    traffic = {"acme": Traffic(bad=0.1)}
    quiet, loud = run(context, Fleet(traffic), 8), run(context, Chatty(traffic), 8)
    assert loud.tenants == quiet.tenants
    assert loud.waves == quiet.waves
