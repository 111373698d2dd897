"""What is remembered from tick to tick: verdicts, latches, clocks, coverage. Every test lets a fleet answer and looks at the book."""

from dataclasses import replace
from datetime import timedelta
from decimal import Decimal

import pytest

from gate_builders import ERRORS, NOON, TICK, UNREACHABLE, Fleet, Traffic, a_context, run, tick, with_tenants
from tenantwave.core.gates import (
    Answer,
    Ask,
    Evaluation,
    FailureKind,
    GateBook,
    GateRule,
    Increase,
    OnNoData,
    Part,
    Purpose,
    QueryFailure,
    RawQuery,
    Role,
    Rows,
    SourceState,
    TenantGate,
    Verdict,
    WaveGate,
    WaveInContext,
    dump_tenant,
    dump_wave,
    needed_ticks,
    restore,
    tenant_is_through,
    wave_is_through,
    worth_storing,
)

SOAK = timedelta(minutes=10)


def gates_of(book: GateBook, tenant: str = "acme") -> tuple[TenantGate, WaveGate]:
    """Return the gates of a tenant and of the wave."""
    gate, wave = book.tenant(tenant), book.wave("canary")
    assert gate is not None
    assert wave is not None
    return gate, wave


def is_through(book: GateBook, soak: timedelta = SOAK, evaluation: Evaluation | None = None) -> bool:
    """Tell whether acme and the wave have passed."""
    gate, wave = gates_of(book)
    evaluation = evaluation or Evaluation()
    return tenant_is_through(gate, wave, soak, evaluation) and wave_is_through(wave, soak, evaluation)


def test_a_healthy_tenant_passes_after_its_first_look_and_its_soak() -> None:
    """First look 2 minutes after the start, then 10 minutes: not one tick earlier, and not later."""
    context, fleet, book = a_context(), Fleet(), GateBook()
    passed = []
    for number in range(30):
        book = tick(book, context, fleet, NOON + number * TICK)
        if book.tenant("acme") and is_through(book):
            passed.append(number)
    assert passed[0] == 4 + 20
    assert gates_of(book)[1].verdict is Verdict.HEALTHY


def test_before_the_first_look_nothing_is_known_and_nothing_passes() -> None:
    """Three ticks are too short a window."""
    gate, wave = gates_of(run(a_context(), Fleet(), 4))
    assert (gate.verdict, gate.reason, gate.is_judged, wave.clock) == (Verdict.INCONCLUSIVE, "FirstLookPending", False, None)


def test_the_first_look_frees_the_slot() -> None:
    """At the fifth tick (2 minutes) the tenant is judged, and neither Unknown nor a candidate."""
    assert gates_of(run(a_context(), Fleet(), 5))[0].has_first_verdict


def test_errors_are_confirmed_by_a_second_tick_and_then_latched() -> None:
    """One look shows a sign, the next one fails the tenant and, with a budget of 0, the wave."""
    fleet = Fleet({"acme": Traffic(bad=0.1)})
    first, wave = gates_of(run(a_context(), fleet, 5))
    assert (first.verdict, first.reason, first.latched, first.has_first_verdict) == (Verdict.INCONCLUSIVE, "AboveLimit", None, False)
    assert first.message.endswith("to be confirmed by the next tick")
    second, wave = gates_of(run(a_context(), fleet, 6))
    assert (second.verdict, second.latched) == (Verdict.FAILING, "errors")
    assert (wave.verdict, wave.reason, wave.failing_tenants) == (Verdict.FAILING, "BudgetExceeded", ("acme",))
    assert second.message.startswith("errors: 150 of 1500 requests (10%) failed, allowed 1%; certainty 1 in 1e")
    assert second.message.endswith("; since 12:00:00Z (2m30s)")


def test_a_latch_survives_better_days() -> None:
    """What failed stays failed for the attempt, although later ticks are clean."""
    context, fleet = a_context(), Fleet({"acme": Traffic(bad=0.1)})
    book = run(context, fleet, 6)
    fleet.traffic["acme"] = Traffic()
    gate, wave = gates_of(run(context, fleet, 40, book=book, start=NOON + 6 * TICK))
    assert (gate.verdict, wave.verdict) == (Verdict.FAILING, Verdict.FAILING)


def test_a_failing_tenant_within_the_budget_does_not_fail_the_wave() -> None:
    """One of three, one tolerated: the wave goes on with the other two."""
    context = a_context("acme", "beta", "gamma", wave=WaveInContext("canary", SOAK, failure_budget=1))
    book = run(context, Fleet({"acme": Traffic(bad=0.05)}), 30)
    gate, wave = gates_of(book)
    assert (gate.verdict, wave.verdict, wave.healthy_count) == (Verdict.FAILING, Verdict.HEALTHY, 2)
    assert wave_is_through(wave, SOAK, Evaluation())


def test_failures_for_other_reasons_alone_exceed_the_budget_even_in_an_outage() -> None:
    """No metric is needed to know it."""
    context = a_context(wave=WaveInContext("canary", SOAK, failed_otherwise_count=1))
    wave = gates_of(run(context, Fleet(outage=UNREACHABLE), 1))[1]
    assert (wave.verdict, wave.reason) == (Verdict.FAILING, "BudgetExceeded")


def test_a_wave_that_mostly_fails_is_catastrophic_at_the_first_look() -> None:
    """Half of all requests: no second tick is waited for."""
    wave = gates_of(run(a_context("acme", "beta"), Fleet({"acme": Traffic(bad=0.9), "beta": Traffic(bad=0.9)}), 5))[1]
    assert (wave.verdict, wave.reason) == (Verdict.FAILING, "Catastrophic")


def test_an_outage_stops_the_clock_and_neither_passes_nor_fails() -> None:
    """25 minutes without Prometheus cost exactly 25 minutes, and no evidence."""
    context, fleet = a_context(), Fleet()
    book = run(context, fleet, 10)
    before, _ = gates_of(book)
    fleet.outage = UNREACHABLE
    book = run(context, fleet, 50, book=book, start=NOON + 10 * TICK)
    gate, wave = gates_of(book)
    assert (gate.verdict, wave.verdict, wave.reason, gate.clock) == (Verdict.UNKNOWN, Verdict.UNKNOWN, "Unreachable", before.clock)
    assert wave.unknown_since_time == NOON + 10 * TICK
    assert book.source.state is SourceState.DOWN
    fleet.outage = None
    book = run(context, fleet, 3, book=book, start=NOON + 60 * TICK)
    gate, wave = gates_of(book)
    assert wave.unknown_since_time is None
    assert gate.coverage == 1, "the missed ticks were asked for once, and had data"
    assert gate.clock == 8 * TICK, "5 before the outage, 3 after it"


def test_a_gap_in_scraping_costs_coverage() -> None:
    """What was never scraped cannot be asked for later: with half of the ticks missing nothing passes."""
    context, fleet = a_context(), Fleet(missed=0.0)
    book = run(context, fleet, 8)
    fleet.stale = NOON + 7 * TICK
    book = run(context, fleet, 40, book=book, start=NOON + 8 * TICK)
    wave = gates_of(book)[1]
    assert (wave.verdict, wave.reason) == (Verdict.UNKNOWN, "Stale")
    fleet.stale = None
    book = run(context, fleet, 20, book=book, start=NOON + 48 * TICK)
    gate, wave = gates_of(book)
    assert wave.verdict is Verdict.HEALTHY
    assert gate.coverage < Decimal("0.8")
    assert not is_through(book)


def test_a_restart_resumes_and_is_never_ahead() -> None:
    """What was stored is where it goes on; the time that nobody looked does not count."""
    context, fleet = a_context(), Fleet()
    book = run(context, fleet, 15)
    gate, wave = gates_of(book)
    stored = restore(context.run_id, [dump_tenant(gate, context.run_id)], [dump_wave(wave, context.run_id)])
    assert gates_of(stored) == (gate, wave)
    resumed = stored
    for _ in range(3):  # the two ticks before are asked again, and bring no soak
        assert gates_of(resumed)[0].clock == gate.clock
        resumed = tick(resumed, context, fleet, NOON + 60 * TICK)
    assert gate.clock is not None
    assert gates_of(resumed)[0].clock == gate.clock + TICK
    assert gates_of(resumed)[0].coverage == 1
    assert not is_through(resumed)


def test_another_attempt_keeps_the_baseline_and_nothing_else() -> None:
    """A retry must not pass, or fail, on old evidence."""
    context = a_context(first_write=NOON - 10 * TICK)
    gate, wave = gates_of(run(context, Fleet({"acme": Traffic(bad=0.1)}, before=Traffic(bad=0.002)), 6))
    again = restore("shop-x7f2k-1-a2", [dump_tenant(gate, context.run_id)], [dump_wave(wave, context.run_id)])
    kept = again.tenant("acme")
    assert kept == gate.without_evidence()
    assert kept.baseline == gate.baseline
    assert again.wave("canary") is None
    fleet = Fleet()
    book = run(replace(context, run_id="shop-x7f2k-1-a2"), fleet, 6, book=run(context, Fleet({"acme": Traffic(bad=0.1)}), 6))
    assert gates_of(book)[0].latched is None
    assert not any(ask.purpose is Purpose.BASELINE for ask in fleet.asked)


def test_a_tenant_is_not_blamed_for_what_it_had_before() -> None:
    """3% before and after: twice its own rate is allowed, not only the limit of 1%."""
    context = a_context(first_write=NOON - 10 * TICK)
    gate, wave = gates_of(run(context, Fleet({"acme": Traffic(bad=0.03)}, before=Traffic(bad=0.03)), 30))
    assert wave.verdict is Verdict.HEALTHY
    assert gate.metrics[0].limit is not None
    assert gate.metrics[0].limit > Decimal("0.05")
    assert "own baseline 3%" in gate.message
    assert gates_of(run(a_context(), Fleet({"acme": Traffic(bad=0.03)}), 30))[1].verdict is Verdict.FAILING


def test_the_baseline_is_asked_once_and_ends_at_the_first_write() -> None:
    """One hour, two questions, never again."""
    fleet = Fleet()
    run(a_context(first_write=NOON - 10 * TICK), fleet, 10)
    baselines = [ask for ask in fleet.asked if ask.purpose is Purpose.BASELINE]
    assert [ask.part for ask in baselines] == [Part.TOTAL, Part.BAD]
    assert {(ask.time - (ask.start_time or ask.time), ask.time) for ask in baselines} == {(timedelta(hours=1), NOON - 10 * TICK)}


def test_little_traffic_is_judged_together_at_the_end() -> None:
    """Twenty tenants with 30 requests each: none can pass alone, all of them can."""
    names = [f"tenant-{number}" for number in range(20)]
    fleet = Fleet(dict.fromkeys(names, Traffic(rate=0.05)))
    context = a_context(*names)
    book = run(context, fleet, 26)
    gate, wave = gates_of(book, names[0])
    assert (gate.verdict, gate.reason, wave.pool, wave.verdict) == (Verdict.INCONCLUSIVE, "LowTraffic", Verdict.HEALTHY, Verdict.HEALTHY)
    assert tenant_is_through(gate, wave, SOAK, context.evaluation)
    holding = replace(context, evaluation=Evaluation(warm_up=timedelta(0), on_no_data=OnNoData.HOLD))
    gate, wave = gates_of(run(holding, fleet, 26), names[0])
    assert (wave.verdict, wave.reason) == (Verdict.INCONCLUSIVE, "LowTraffic")
    assert not tenant_is_through(gate, wave, SOAK, holding.evaluation)


def test_a_bad_pool_fails_the_wave_at_the_end_of_the_soak() -> None:
    """Each has too little to be blamed; together they are beyond the limit."""
    names = [f"tenant-{number}" for number in range(60)]
    context = a_context(*names)
    fleet = Fleet(dict.fromkeys(names, Traffic(rate=0.007, bad=0.12)))
    assert gates_of(run(context, fleet, 20), names[0])[1].verdict is Verdict.INCONCLUSIVE
    wave = gates_of(run(context, fleet, 30), names[0])[1]
    assert (wave.verdict, wave.reason) == (Verdict.FAILING, "PoolFailing")


@pytest.mark.parametrize(
    ("traffic", "verdict", "reason"),
    [
        pytest.param(Traffic(has_series=False), Verdict.INCONCLUSIVE, "NoData", id="no series at all"),
        pytest.param(Traffic(rate=0.0), Verdict.INCONCLUSIVE, "LowTraffic", id="series, but no request"),
        pytest.param(Traffic(rate=3 / 3600), Verdict.INCONCLUSIVE, "LowTraffic", id="three requests an hour"),
        pytest.param(Traffic(rate=3 / 3600, bad=1.0), Verdict.INCONCLUSIVE, "LowTraffic", id="three requests an hour, all bad"),
        pytest.param(Traffic(rate=float("nan")), Verdict.INCONCLUSIVE, "NoData", id="NaN"),
        pytest.param(Traffic(rate=float("inf")), Verdict.INCONCLUSIVE, "NotFinite", id="infinite"),
    ],
)
def test_too_little_to_tell_holds(traffic: Traffic, verdict: Verdict, reason: str) -> None:
    """Neither a pass nor a failure, however long it goes on."""
    book = run(a_context(), Fleet({"acme": traffic}), 40)
    gate, wave = gates_of(book)
    assert (gate.verdict, gate.reason, wave.verdict) == (verdict, reason, Verdict.INCONCLUSIVE)
    assert not is_through(book)


def test_a_source_without_any_series_is_unknown_not_healthy() -> None:
    """A metric that exists nowhere never passes."""

    class Blind(Fleet):
        def answer(self, ask: Ask) -> Answer:
            return Rows(())

    wave = gates_of(run(a_context(), Blind(), 40))[1]
    assert (wave.verdict, wave.reason) == (Verdict.UNKNOWN, "Blind")


def test_what_has_healed_is_not_rolled_back() -> None:
    """100 errors in the first minute, none after it: the sum is above the limit, but the second look finds nothing new."""

    class Healed(Fleet):
        def _value(self, name: str, ask: Ask) -> float | None:
            return 100.0 if ask.part is Part.BAD else super()._value(name, ask)

    context, fleet = a_context(), Healed()
    assert gates_of(run(context, fleet, 5))[0].is_candidate
    gate, _ = gates_of(run(context, fleet, 10))
    assert not gate.is_candidate
    assert gate.latched is None


def test_a_hole_between_two_signs_of_failing_fails_nobody() -> None:
    """Twice in a row means with nothing in between that could not be seen."""
    context, fleet = a_context(), Fleet({"acme": Traffic(bad=0.05)})
    book = run(context, fleet, 5)
    for number in range(5, 25, 2):
        fleet.outage = UNREACHABLE
        book = run(context, fleet, 1, book=book, start=NOON + number * TICK)
        fleet.outage = None
        book = run(context, fleet, 1, book=book, start=NOON + (number + 1) * TICK)
    assert gates_of(book)[0].latched is None


def test_a_tenant_that_joins_starts_the_clock_of_the_wave_again() -> None:
    """The soak of the wave is about all of its tenants; the first tenant's own clock goes on."""
    context, fleet = a_context("acme", "beta"), Fleet()
    alone = with_tenants(context, beta={"window_start_time": None})
    book = run(alone, fleet, 16)
    joined = with_tenants(context, beta={"window_start_time": NOON + 16 * TICK})
    book = run(joined, fleet, 6, book=book, start=NOON + 16 * TICK)
    gate, wave = gates_of(book)
    assert gate.clock == 17 * TICK
    assert (wave.clock, wave.healthy_since_time) == (TICK, NOON + 20 * TICK)


def test_somebody_who_changes_the_workload_starts_its_evidence_again() -> None:
    """A later window start throws the old evidence away."""
    context, fleet = a_context(), Fleet()
    book = run(context, fleet, 15)
    later = with_tenants(context, acme={"window_start_time": NOON + 15 * TICK})
    gate, wave = gates_of(run(later, fleet, 1, book=book, start=NOON + 15 * TICK))
    assert (gate.clock, gate.is_judged, wave.clock) == (None, False, None)


def test_a_tenant_that_is_not_counted_is_not_asked_for() -> None:
    """Held and rolled back tenants are nobody's evidence."""
    fleet = Fleet()
    run(with_tenants(a_context("acme", "beta"), beta={"role": Role.OUT}), fleet, 8)
    assert all("beta" not in ask.tenants for ask in fleet.asked)


def test_throttling_stretches_the_interval_until_three_usable_ticks() -> None:
    """`Retry-After` is kept, and the pace halves."""
    context, fleet = a_context(), Fleet(outage=QueryFailure(FailureKind.THROTTLED, "overloaded", retry_after=timedelta(seconds=70)))
    book = tick(GateBook(), context, fleet, NOON)
    assert book.source.interval_factor == 2
    assert tick(book, context, fleet, NOON + 2 * TICK) is book
    fleet.outage = None
    book = run(context, fleet, 12, book=book, start=NOON + 3 * TICK)
    assert book.source.interval_factor == 1


LAG = GateRule("lag", RawQuery("max by ({{ label }}) (lag{ {{ tenants }} })", consecutive=3), "namespace", maximum=Decimal(60))
RESTARTS = GateRule("restarts", Increase("kube_pod_container_status_restarts_total"), "namespace", maximum=Decimal(2))


@pytest.mark.parametrize(
    ("rule", "value", "ticks", "verdict", "reason"),
    [
        pytest.param(LAG, 61.0, 7, Verdict.INCONCLUSIVE, "AboveLimit", id="query: three ticks beyond are the first sign"),
        pytest.param(LAG, 61.0, 8, Verdict.FAILING, "AboveLimit", id="query: the fourth one fails it"),
        pytest.param(LAG, 60.0, 6, Verdict.INCONCLUSIVE, "FirstLookPending", id="query: two ticks within are too few"),
        pytest.param(LAG, 60.0, 7, Verdict.HEALTHY, "WithinLimit", id="query: three ticks within"),
        pytest.param(RESTARTS, 2.67, 5, Verdict.HEALTHY, "WithinLimit", id="increase: two restarts, extrapolated"),
        pytest.param(RESTARTS, 3.0, 6, Verdict.FAILING, "AboveLimit", id="increase: three restarts"),
        pytest.param(RESTARTS, None, 20, Verdict.INCONCLUSIVE, "NoData", id="increase: no row is no data, not 0"),
        pytest.param(RESTARTS, float("inf"), 20, Verdict.INCONCLUSIVE, "NotFinite", id="increase: infinite"),
    ],
)
def test_numbers_are_compared_with_their_limit(rule: GateRule, value: float | None, ticks: int, verdict: Verdict, reason: str) -> None:
    """The kinds without statistics."""
    gate, _ = gates_of(
        run(a_context("acme", "beta", rules=(rule,)), Fleet({"acme": Traffic(value=value), "beta": Traffic(value=1.0)}), ticks)
    )
    assert (gate.verdict, gate.reason) == (verdict, reason)


def test_what_was_beyond_the_limit_before_is_left_out() -> None:
    """Restarts that the old version had, too, are nobody's fault; the other gate decides."""
    context = a_context(rules=(RESTARTS, ERRORS), first_write=NOON - 10 * TICK)
    book = run(context, Fleet({"acme": Traffic(value=9.0)}, before=Traffic(value=7.0)), 30)
    gate, wave = gates_of(book)
    assert (gate.verdict, wave.verdict) == (Verdict.HEALTHY, Verdict.HEALTHY)
    assert gate.metrics[0].reason == "FailingBefore"


def test_a_gate_in_observe_changes_only_its_record() -> None:
    """It fails, is shown, and nothing follows."""
    watched = replace(ERRORS, name="watched", enforced=False)
    context = a_context(rules=(replace(LAG, kind=RawQuery("lag", 1)), watched))
    book = run(context, Fleet({"acme": Traffic(bad=0.5, value=1.0)}), 30)
    gate, wave = gates_of(book)
    assert (gate.verdict, wave.verdict, gate.latched) == (Verdict.HEALTHY, Verdict.HEALTHY, None)
    assert gate.metrics[1].is_candidate


def test_a_very_short_soak_still_needs_its_looks() -> None:
    """Interval 1 s, soak 10 s: the first look is 4 s after the start, the end 10 s later."""
    second = timedelta(seconds=1)
    evaluation = Evaluation(interval=second, warm_up=timedelta(0))
    context = a_context(evaluation=evaluation, wave=WaveInContext("canary", 10 * second))
    fleet, book = Fleet({"acme": Traffic(rate=50)}), GateBook()
    passed = []
    for number in range(30):
        book = tick(book, context, fleet, NOON + number * second)
        if book.tenant("acme") and is_through(book, 10 * second, evaluation):
            passed.append(number)
    assert passed[0] == 14


@pytest.mark.parametrize(("soak", "interval", "needed"), [(600, 30, 5), (10, 1, 5), (10, 2, 5), (3, 1, 3), (1, 1, 1), (0, 30, 1)])
def test_so_many_usable_ticks_are_needed(soak: int, interval: int, needed: int) -> None:
    """Five, or as many as the soak has room for."""
    assert needed_ticks(timedelta(seconds=soak), Evaluation(interval=timedelta(seconds=interval))) == needed


def test_a_gate_is_stored_on_news_and_every_five_minutes() -> None:
    """A steady value is no reason to write at every tick."""
    context, fleet = a_context(), Fleet()
    old, _ = gates_of(run(context, fleet, 10))
    new, _ = gates_of(run(context, fleet, 11))
    late, _ = gates_of(run(context, fleet, 20))
    assert worth_storing(None, old)
    assert not worth_storing(old, new)
    assert worth_storing(old, late)
    assert worth_storing(old, gates_of(run(context, Fleet(outage=UNREACHABLE), 10))[0])


@pytest.mark.parametrize(
    "text", ["", "null", "[]", "{", '{"run": "r"}', '{"run":"r","name":"a","wave":"w","baseline":{},"before":{},"baselineAt":"x"}']
)
def test_a_journal_that_cannot_be_read_counts_as_none(text: str) -> None:
    """Then the soak starts again."""
    assert restore("r", [text], [text]) == GateBook("r")
