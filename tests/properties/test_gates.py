"""What must hold for gates whatever Prometheus answers: queries stay scoped, failures decide nothing, latches never open, clocks never run ahead."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from decimal import Decimal

import promql_parser
from hypothesis import example, given
from hypothesis import strategies as st

from gate_builders import ERRORS, NOON, TICK, Fleet, Traffic, a_context, tick
from tenantwave.core.gates import (
    Answer,
    Ask,
    FailureKind,
    GateBook,
    Part,
    QueryFailure,
    Ratio,
    Row,
    Rows,
    Verdict,
    dump_tenant,
    dump_wave,
    gate_status,
    restore,
)
from tenantwave.core.gates.promql import evidence_query, part_query, parts_of, tenant_matcher
from tenantwave.core.gates.selector import WORDS, Matcher, Selector, SelectorError, parse_selector
from tenantwave.core.gates.statistics import log_e_above, log_e_below
from tenantwave.core.gates.ticks import effective_interval

NAMESPACES = st.from_regex(r"[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?", fullmatch=True)
LABELS = st.from_regex(r"[a-z_][a-z0-9_]{0,10}", fullmatch=True).filter(lambda name: name not in ("namespace", "__name__"))
VALUES = st.text(st.characters(exclude_categories=("Cs", "Cc")) | st.sampled_from('\\"\n\t{}()|.*'), max_size=20)
MATCHERS = st.builds(Matcher, LABELS, st.sampled_from(["=", "!=", "=~", "!~"]), VALUES)
NAMES = st.from_regex(r"[a-z_:][a-z0-9_:]{0,20}", fullmatch=True).filter(lambda name: name not in WORDS)
SELECTORS = st.builds(Selector, NAMES, st.lists(MATCHERS, max_size=4).map(tuple))


def selectors_of(promql: str) -> list[promql_parser.VectorSelector]:
    """Return every selector of a query, as another parser than ours sees it."""
    found: list[promql_parser.VectorSelector] = []

    def visit(node: object) -> bool:
        if isinstance(node, promql_parser.VectorSelector):
            found.append(node)
        return True

    promql_parser.walk(promql_parser.parse(promql), visit)
    return found


@given(SELECTORS)
def test_a_printed_selector_reads_back_the_same(selector: Selector) -> None:
    """Whatever stands in a value."""
    assert parse_selector(str(selector), reserved="namespace") == selector


@given(st.text(max_size=60))
def test_any_text_is_read_or_refused(text: str) -> None:
    """Never another exception, and never a selector that says something about the tenant."""
    try:
        selector = parse_selector(text, reserved="namespace")
    except SelectorError:
        return
    assert all(matcher.label != "namespace" for matcher in selector.matchers)


@given(bad=SELECTORS, total=SELECTORS, names=st.lists(NAMESPACES, min_size=1, max_size=5, unique=True))
def test_every_selector_of_every_query_is_scoped(bad: Selector, total: Selector, names: list[str]) -> None:
    """Exactly one matcher on the tenant label, ours, with these names and no others."""
    bad, total = (replace(each, matchers=tuple(m for m in each.matchers if m.operator in ("=", "!="))) for each in (bad, total))
    rule = replace(ERRORS, kind=Ratio(str(bad), str(total)))
    scope = tenant_matcher("namespace", names)
    for query in (
        *(part_query(rule, part, scope, timedelta(minutes=8)) for part in parts_of(rule)),
        evidence_query(rule, scope, timedelta(minutes=8)),
    ):
        found = selectors_of(query)
        assert found
        for selector in found:
            ours = [matcher for matcher in selector.matchers.matchers if matcher.name == "namespace"]
            assert [(str(matcher.op), matcher.value) for matcher in ours] == [(str(promql_parser.MatchOp.Re), "|".join(names))]


@given(st.floats(0, 1e6), st.floats(0, 1e6), st.floats(1e-6, 0.9))
def test_evidence_is_always_a_number(first: float, second: float, allowed: float) -> None:
    """And never both ways at once at the same rate."""
    bad, total = sorted((first, second))
    above, below = log_e_above(bad, total, allowed), log_e_below(bad, total, allowed)
    assert above == above
    assert below == below
    assert not (above >= 7 and below >= 7)


FAILURES = st.builds(QueryFailure, st.sampled_from(FailureKind), st.just("it did not work"))
ODD_ROWS = st.lists(
    st.builds(
        Row,
        st.dictionaries(st.just("namespace"), st.sampled_from(["acme", "stranger", ""])),
        st.floats(allow_nan=True, allow_infinity=True),
    ),
    max_size=3,
).map(lambda rows: Rows(tuple(rows)))
TRAFFIC = st.builds(
    Traffic, rate=st.sampled_from([0.0, 0.01, 1.0, 20.0]), bad=st.sampled_from([0.0, 0.005, 0.1, 1.0]), has_series=st.booleans()
)
STEPS = st.lists(st.one_of(st.none(), FAILURES, TRAFFIC, ODD_ROWS), min_size=1, max_size=24)


class Oracle(Fleet):
    """Answers as its present step says: as a fleet, with one failure, or with odd rows."""

    odd: Rows | None = None

    def answer(self, ask: Ask) -> Answer:
        """Return odd rows to questions about tenants, as long as there are any."""
        if self.odd is not None and ask.part not in (Part.FRESHNESS, Part.COVERAGE):
            return self.odd
        return super().answer(ask)

    def become(self, step: object) -> None:
        """Take on the next step."""
        self.outage = step if isinstance(step, QueryFailure) else None
        self.odd = step if isinstance(step, Rows) else None
        if isinstance(step, Traffic):
            self.traffic = {"acme": step}


@given(STEPS, st.integers(0, 24))
@example([None, None, None, None, Rows((Row({"namespace": "acme"}, 1.18e308),))], 0)  # such numbers once ended in NaN
def test_whatever_comes_latches_hold_clocks_do_not_run_ahead_and_failures_decide_nothing(steps: list[object], restart_at: int) -> None:
    """Over any sequence of answers, with a restart of the operator in the middle."""
    context, fleet, book = a_context(), Oracle(), GateBook()
    latched, usable = None, timedelta(0)
    for number, step in enumerate(steps):
        fleet.become(step)
        if number == restart_at:
            tenants = [dump_tenant(gate, context.run_id) for gate in book.tenants.values()]
            waves = [dump_wave(wave, context.run_id) for wave in book.waves.values()]
            book = replace(restore(context.run_id, tenants, waves), evaluation_time=book.evaluation_time)
        before = book
        book = tick(book, context, fleet, NOON + number * TICK)
        gate, wave, old = book.tenants["acme"], book.waves["canary"], before.tenant("acme")
        if book is before:
            continue  # the source throttled us, so this tick is not asked
        usable += effective_interval(before, context.evaluation) if not isinstance(step, QueryFailure) else timedelta(0)
        if isinstance(step, QueryFailure):
            judged_now = gate.evaluation_time == NOON + number * TICK
            assert not judged_now or gate.verdict is Verdict.UNKNOWN
            assert wave.verdict in (Verdict.UNKNOWN, Verdict.FAILING)
            assert wave.verdict is not Verdict.FAILING or (before.waves["canary"].verdict is Verdict.FAILING)
            assert old is None or gate.clock == old.clock
            assert gate.latched == (old.latched if old else None)
        assert latched is None or gate.latched == latched
        latched = gate.latched
        assert gate.verdict is not Verdict.FAILING or gate.latched
        for clock in (gate.clock, wave.clock):
            assert clock is None or clock < max(TICK, usable)
        assert 0 <= gate.coverage <= 1
        assert set(book.tenants) == {"acme"}
        for shown in (gate_status(gate, context, book), gate_status(wave, context, book)):
            assert len(shown.model_dump_json(by_alias=True, exclude_none=True)) <= 2048


@given(TRAFFIC, st.integers(5, 20))
def test_what_is_stored_is_what_was_known(traffic: Traffic, ticks: int) -> None:
    """Nothing is lost between a dump and a load, and it stays small."""
    context, fleet, book = a_context(first_write=NOON - 10 * TICK), Fleet({"acme": traffic}), GateBook()
    for number in range(ticks):
        book = tick(book, context, fleet, NOON + number * TICK)
    tenants = {name: dump_tenant(gate, context.run_id) for name, gate in book.tenants.items()}
    waves = {name: dump_wave(wave, context.run_id) for name, wave in book.waves.items()}
    stored = restore(context.run_id, tenants.values(), waves.values())
    assert (stored.tenants, stored.waves) == (book.tenants, book.waves)
    assert all(len(text) < 4096 for text in (*tenants.values(), *waves.values()))
    assert ERRORS.limit == Decimal("0.01")
