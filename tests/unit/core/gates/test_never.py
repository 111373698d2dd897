"""What must never happen to one tenant or one wave: each a fault that was there once, with the least that shows it."""

from dataclasses import replace
from datetime import datetime, timedelta
from decimal import Decimal
from math import inf, isfinite

import pytest

from gate_builders import ERRORS, NOON, TICK, UNREACHABLE, Fleet, Traffic, a_context, run, tick, with_tenants
from gate_fleets import FIRST_WRITE, ILL, SOAK, ScriptedFleet, a_fleet_context, errors, latched, names, restarted, tenant_of, wave_of
from tenantwave.core.gates import (
    Answer,
    Ask,
    Evaluation,
    FailureKind,
    GateBook,
    GateRule,
    Increase,
    Latency,
    OnNoData,
    Part,
    Purpose,
    QueryFailure,
    Ratio,
    Role,
    Rows,
    TenantInContext,
    TickSample,
    Verdict,
    WaveInContext,
    advance,
    due,
    dump_tenant,
    dump_wave,
    load_tenant,
    load_wave,
    tenant_is_through,
    wave_is_through,
    worth_storing,
)
from tenantwave.core.gates.journal import MAX_BYTES
from tenantwave.core.gates.reduce import MOST_LATCHED_CONTROL
from tenantwave.core.gates.ticks import effective_interval

WATCHED = GateRule("watched", Ratio("slow_total", "all_total"), "namespace", maximum=Decimal("0.01"), enforced=False)
RESTARTS = GateRule("restarts", Increase("kube_pod_container_status_restarts_total"), "namespace", maximum=Decimal(2))
AS_BEFORE = Traffic(bad=0.03)
"""Three times the limit, and no worse than it was."""


def test_nobody_is_blamed_while_its_baseline_is_not_known() -> None:
    """The hour before is never answered, the minutes after are: neither failed nor Healthy, and the wave says what it waits for."""
    context = a_fleet_context(3, 20)
    fleet = ScriptedFleet({"wave-0000": AS_BEFORE}, before=AS_BEFORE, refuses=lambda ask: ask.purpose is not Purpose.LIVE)
    book = run(context, fleet, 25)
    assert (latched(book), wave_of(book).verdict, wave_of(book).reason) == (set(), Verdict.INCONCLUSIVE, "BaselinePending")
    assert "how it was before its upgrade is not known yet, so it is not blamed" in wave_of(book).message
    fleet.refuses = lambda ask: False
    book = run(context, fleet, 25, book=book, start=NOON + 25 * TICK)
    assert (latched(book), wave_of(book).verdict) == (set(), Verdict.HEALTHY)


@pytest.mark.parametrize("outage", [UNREACHABLE, QueryFailure(FailureKind.QUERY_INVALID, "refused")], ids=["source", "query"])
def test_an_unanswered_baseline_is_asked_again(outage: QueryFailure) -> None:
    """One tick without an answer costs nobody its baseline; once it has come it is not asked again."""
    context = a_fleet_context(1, 20)
    fleet = Fleet({"wave-0000": AS_BEFORE}, before=AS_BEFORE, outage=outage)
    book = run(context, fleet, 1)
    fleet.outage = None
    asked = []
    for number in range(1, 30):
        fleet.asked.clear()
        book = tick(book, context, fleet, NOON + number * TICK)
        asked.append(sum(ask.purpose is Purpose.BASELINE for ask in fleet.asked))
    assert (asked[0], set(asked[1:])) == (2, {0})
    assert (latched(book), wave_of(book).verdict) == (set(), Verdict.HEALTHY)


def test_a_refused_baseline_of_a_gate_in_observe_is_no_loss_to_the_others() -> None:
    """The watched gate has none, the enforced one has, and so the tenant is as well as it was."""
    context = a_fleet_context(3, 20, rules=(ERRORS, WATCHED))
    refusal = QueryFailure(FailureKind.QUERY_INVALID, "too many samples")
    fleet = ScriptedFleet(
        {"wave-0000": AS_BEFORE}, before=AS_BEFORE, refusal=refusal,
        refuses=lambda ask: ask.gate == "watched" and ask.purpose is not Purpose.LIVE,
    )  # fmt: skip
    book = run(context, fleet, 25)
    assert set(tenant_of(book).baseline) == {"errors"}
    assert (latched(book), wave_of(book).verdict) == (set(), Verdict.HEALTHY)


def by_the_hour(change: datetime, before: float, after: float) -> ScriptedFleet:
    """Return a fleet without an error, in which everybody has so many requests a second before and after an instant."""

    def say(name: str, ask: Ask, usual: float | None) -> float | None:
        if ask.part is not Part.TOTAL or ask.start_time is None:
            return 0.0 if ask.part is Part.BAD else usual
        early = max(0.0, (min(ask.time, change) - ask.start_time).total_seconds())
        return early * before + max(0.0, (ask.time - max(ask.start_time, change)).total_seconds()) * after

    return ScriptedFleet(say=say)


def test_a_tenant_that_starts_hours_after_its_wave_has_not_lost_its_traffic() -> None:
    """The wave began in the night, this one at noon: the control's growth since the night is not the tenant's since eleven."""
    night = NOON - timedelta(hours=9)
    early = TenantInContext("wave-0000", "canary", night, night - timedelta(minutes=3))
    late = TenantInContext("wave-0001", "canary", NOON, FIRST_WRITE)
    context = replace(a_fleet_context(1, 20), tenants=(early, late))
    book = run(context, by_the_hour(NOON - timedelta(hours=2), 1, 4), 8)
    assert (latched(book), wave_of(book).verdict, tenant_of(book, "wave-0001").reason) == (set(), Verdict.HEALTHY, "WithinLimit")


def test_a_passed_wave_has_not_lost_its_traffic_at_night() -> None:
    """It began at noon with four times the traffic; the control of the next wave has its baseline at night."""
    night = NOON + timedelta(hours=11)
    waves = (WaveInContext("canary", SOAK, has_passed=True), WaveInContext("rest", SOAK))
    following = TenantInContext("next-0000", "rest", night, night - timedelta(minutes=3))
    context = a_fleet_context(3, 20)
    context = replace(context, waves=waves, tenants=(*context.tenants, following))
    book = run(context, by_the_hour(NOON + timedelta(hours=8), 4, 1), 10, start=night)
    assert (latched(book), wave_of(book).verdict, wave_of(book, "rest").verdict) == (set(), Verdict.HEALTHY, Verdict.HEALTHY)


@pytest.mark.parametrize(
    ("run_id", "later", "is_kept"),
    [
        pytest.param("shop-x7f2k-2-a1", timedelta(days=30), False, id="the next release takes its own"),
        pytest.param("shop-x7f2k-1-a2", timedelta(days=30), True, id="a retry never takes an hour that may hold the release"),
        pytest.param("shop-x7f2k-2-a1", timedelta(hours=2), True, id="neither does a run that judges anew what still soaks"),
    ],
)
def test_how_long_a_baseline_lives(run_id: str, later: timedelta, is_kept: bool) -> None:
    """Last month the tenant had four times the requests that it has today; today that is no loss."""
    context = a_fleet_context(1, 20)
    book = run(context, Fleet(before=Traffic(rate=40)), 8)
    again = with_tenants(context, wave_0000={"window_start_time": NOON + later, "first_write_time": FIRST_WRITE + later})
    again = replace(again, run_id=run_id)
    known = restarted(book, context.run_id, as_run=run_id)
    book = run(again, Fleet(before=Traffic(rate=10)), 8, book=known, start=NOON + later)
    gate = tenant_of(book)
    kept, fresh = (FIRST_WRITE, 40 * 3600.0), (FIRST_WRITE + later, 10 * 3600.0)
    assert (gate.baseline_time, gate.baseline["errors"].total) == (kept if is_kept else fresh)
    assert (latched(book), gate.verdict) == (set(), Verdict.HEALTHY)


def test_a_source_that_flaps_fails_neither_tenant_nor_wave() -> None:
    """Sign, hole, sign, hole: nothing was ever seen twice in a row."""
    context, fleet = a_context(), Fleet({"acme": Traffic(bad=0.05)})
    book = run(context, fleet, 5)
    assert tenant_of(book, "acme").is_candidate
    for number in range(5, 35):
        fleet.outage = UNREACHABLE if number % 2 else None
        book = tick(book, context, fleet, NOON + number * TICK)
        assert (latched(book), wave_of(book).verdict is Verdict.FAILING) == (set(), False)
    fleet.outage = None
    assert wave_of(run(context, fleet, 2, book=book, start=NOON + 35 * TICK)).verdict is Verdict.FAILING


def test_a_tenant_does_not_pass_on_evidence_from_before_it_converged() -> None:
    """It left to be changed again, and came back: what was seen before it left is about something else."""
    context, fleet = a_fleet_context(2, 20), Fleet()
    book = run(context, fleet, 25)
    policy = (wave_of(book), SOAK, context.evaluation)
    assert tenant_is_through(tenant_of(book), *policy, since=NOON)
    assert not tenant_is_through(tenant_of(book), *policy, since=NOON + TICK)
    book = run(replace(context, tenants=context.tenants[1:]), fleet, 4, book=book, start=NOON + 25 * TICK)
    back = NOON + 29 * TICK
    context = with_tenants(context, wave_0000={"window_start_time": back})
    through = []
    for number in range(29, 60):
        gate, wave = book.tenant("wave-0000"), wave_of(book)
        if tenant_is_through(gate, wave, SOAK, context.evaluation):
            through.append(NOON + (number - 1) * TICK)
        book = tick(book, context, fleet, NOON + number * TICK)
    assert through[0] == back + TICK + SOAK + 4 * TICK  # rounded up to a minute, a first look, and the whole soak again


@pytest.mark.parametrize("last", [47, 60, 66])
def test_an_outage_counts_no_request_twice(last: int) -> None:
    """It begins in one block and ends in the middle of another, at its end, or just after it: never more than there were."""
    context, fleet, book = a_context(), Fleet(), GateBook()
    for number in range(100):
        fleet.outage = UNREACHABLE if 36 < number < last else None
        book = tick(book, context, fleet, NOON + number * TICK)
        metrics = gate.metrics if (gate := book.tenant("acme")) else ()
        if metrics and metrics[0].counts is not None:
            assert metrics[0].counts.plus(metrics[0].banked).total <= 300 * number
    assert gate is not None
    assert gate.metrics[0].banked is not None


@pytest.mark.parametrize("last", [None, 40, 41])
def test_a_quiet_tenant_is_not_well_sooner_for_an_outage(last: int | None) -> None:
    """It needs 216 requests, and not the same ones twice."""
    context = a_context(evaluation=Evaluation(warm_up=timedelta(0), on_no_data=OnNoData.HOLD))
    fleet, book, number = Fleet({"acme": Traffic(rate=0.1)}), GateBook(), -1
    while (gate := book.tenant("acme")) is None or gate.verdict is not Verdict.HEALTHY:
        number += 1
        fleet.outage = UNREACHABLE if last is not None and 10 < number < last else None
        book = tick(book, context, fleet, NOON + number * TICK)
        assert number < 200
    assert gate.metrics[0].counts is not None
    assert gate.metrics[0].counts.plus(gate.metrics[0].banked).total == pytest.approx(216)
    assert number == 72 or (last is not None and number > 72)


@pytest.mark.parametrize("first", [3, 8], ids=["before the first look", "after it"])
def test_an_infinite_row_of_the_control_breaks_nothing(first: int) -> None:
    """One row of one tenant, for two ticks: everybody else is judged as before, at every tick."""
    context, since = a_fleet_context(3, 20), NOON + first * TICK

    def say(name: str, ask: Ask, usual: float | None) -> float | None:
        is_odd = name == "old-0000" and ask.purpose is Purpose.LIVE and since <= ask.time < since + 3 * TICK
        return usual if not is_odd else inf if ask.part is Part.TOTAL else 50.0

    book = GateBook()
    fleet = ScriptedFleet({name: Traffic(bad=0.005) for name in context.control}, before=Traffic(bad=0.005), say=say)
    for number in range(16):
        book = tick(book, context, fleet, NOON + number * TICK)
        assert (book.evaluation_time, latched(book)) == (NOON + number * TICK, set())
        if number > 4:
            assert wave_of(book).verdict is Verdict.HEALTHY
    spread = book.control["old-0000"].metrics[0].spread
    assert spread is not None
    assert all(map(isfinite, wave_of(book).dispersion.values()))
    assert book.control["old-0000"].metrics[0].reason == "WithinLimit"


def test_restarts_before_and_after_are_counted_over_equal_times() -> None:
    """Two an hour, as ever: in a soak of two hours that is four, and four was usual in two hours, too."""
    per_hour = ScriptedFleet(
        say=lambda name, ask, usual: 2 * (ask.time - ask.start_time) / timedelta(hours=1) if name == "wave-0000" and ask.start_time else 0.0
    )
    pace = Evaluation(interval=timedelta(minutes=2), warm_up=timedelta(0))
    rule = replace(RESTARTS, maximum=Decimal(3))
    context = replace(a_fleet_context(2, 20, soak=timedelta(hours=2), rules=(rule,)), evaluation=pace)
    book = run(context, per_hour, 75)
    assert (latched(book), tenant_of(book).metrics[0].reason, tenant_of(book, "wave-0001").verdict) == (
        set(),
        "FailingBefore",
        Verdict.HEALTHY,
    )


def test_nothing_to_judge_is_no_blindness() -> None:
    """The only gate is left out for a tenant: the wave holds, but no Prometheus could mend that, so no timer starts."""
    context = a_fleet_context(3, 20, rules=(RESTARTS,))
    chronic = ScriptedFleet(say=lambda name, ask, usual: 9.0 if name == "wave-0000" else 0.0)
    wave = wave_of(run(context, chronic, 20))
    assert (wave.verdict, wave.reason, wave.unknown_since_time, wave.clock) == (Verdict.UNKNOWN, "NothingToJudge", None, None)


def test_a_failed_wave_goes_on_when_a_person_lets_it() -> None:
    """After Pause and Resume its quiet tenants can pass; the verdict, the sentence and the numbers that failed it stand."""
    context, quiet = a_fleet_context(20, 20), Traffic(rate=0.01)
    fleet = Fleet(dict.fromkeys((*names("wave", 20), *names("old", 20)), quiet), before=quiet)
    fleet.traffic["wave-0000"] = ILL
    book = run(context, fleet, 6)
    failed = wave_of(book)
    assert (failed.verdict, failed.reason, latched(book)) == (Verdict.FAILING, "BudgetExceeded", {"wave-0000"})
    fleet.traffic["wave-0000"] = quiet
    resumed = with_tenants(context, wave_0000={"role": Role.OUT})
    book = run(resumed, fleet, 40, book=book, start=NOON + 6 * TICK)
    wave = wave_of(book)
    assert (wave.verdict, wave.reason, wave.message, wave.metrics) == (failed.verdict, failed.reason, failed.message, failed.metrics)
    assert wave.pool is Verdict.HEALTHY
    assert all(tenant_is_through(tenant_of(book, name), wave, SOAK, context.evaluation) for name in names("wave", 20)[1:])


def test_a_gate_in_observe_that_times_out_leaves_the_verdict() -> None:
    """Every question of it is lost, at every tick: the wave passes on the others, and nobody waits for the source."""
    context = a_fleet_context(3, 20, rules=(ERRORS, WATCHED))
    book = run(context, ScriptedFleet(refuses=lambda ask: ask.gate == "watched"), 25)
    wave = wave_of(book)
    assert (wave.verdict, wave.unknown_since_time, wave_is_through(wave, SOAK, context.evaluation)) == (Verdict.HEALTHY, None, True)


def test_a_failed_tenant_says_by_which_gate() -> None:
    """`errors` failed it; that the other gate has no bucket of its bound is a worse verdict of a tenant that has not failed, and no reason."""

    class Fast(Fleet):
        def answer(self, ask: Ask) -> Answer:
            answer = super().answer(ask)
            if ask.part is not Part.FAST or not isinstance(answer, Rows):
                return answer
            return Rows(tuple(row for row in answer.rows if row.labels["namespace"] != "wave-0000"))

    latency = GateRule("slow", Latency("duration_seconds", "0.5"), "namespace", maximum=Decimal("0.05"))
    context = a_fleet_context(2, 20, rules=(latency, ERRORS))
    book = run(context, Fast({"wave-0000": ILL}), 8)
    gate = tenant_of(book)
    assert (gate.latched, gate.verdict, gate.reason) == ("errors", Verdict.FAILING, "AboveLimit")
    assert gate.message.startswith("errors: 450 of 1500 requests (30%) failed")
    assert errors(book).is_ill is False


def test_slow_ticks_slow_us_down_and_not_for_ever() -> None:
    """Up to five minutes, and back to the policy's interval, with nothing left over."""
    context, fleet, book, now = a_context(), Fleet(), GateBook(), NOON
    intervals = []
    for number in range(8 + 80):
        request = due(book, context, now)
        assert request is not None
        answers = tuple((ask, fleet.answer(ask)) for ask in request.asks)
        book = advance(book, context, TickSample(request.run_id, request.time, request.interval, now, answers, is_slow=number < 8))
        intervals.append(effective_interval(book, context.evaluation))
        now += intervals[-1]
    assert max(intervals) == intervals[7] == timedelta(minutes=5)
    assert intervals[8:] == sorted(intervals[8:], reverse=True)
    assert (intervals[-1], book.source.slow_since_time) == (TICK, None)


def test_sixteen_gates_and_fifty_long_names_are_stored_whole() -> None:
    """Nothing is dropped, and what was read back is not worth another write."""
    rules = tuple(replace(ERRORS, name=f"a-gate-with-a-long-name-number-{number:02}") for number in range(16))
    wave = WaveInContext("canary", SOAK, 29)
    long = [name.ljust(63, "x") for name in names("old", 120)]
    context = a_context("wave".ljust(63, "x"), wave=wave, first_write=FIRST_WRITE, rules=rules)
    context = replace(context, control=tuple(long[:2]))
    some = {tenant.name: Traffic(bad=0.0123457, rate=7.123457) for tenant in context.tenants}
    book = run(context, Fleet(some, before=Traffic(rate=7.7654321, bad=0.0012345)), 32)
    gate = replace(wave_of(book), control_latched=dict.fromkeys(long[:MOST_LATCHED_CONTROL], rules[0].name))
    text = dump_wave(gate, context.run_id)
    assert len(text) <= MAX_BYTES
    assert (again := load_wave(text, context.run_id)) is not None
    assert (len(again.metrics), again.control_latched, worth_storing(again, gate)) == (16, gate.control_latched, False)
    tenant = next(iter(book.tenants.values()))
    assert all(metric.banked is not None for metric in tenant.metrics)
    text = dump_tenant(tenant, context.run_id)
    assert len(text) <= MAX_BYTES
    assert (known := load_tenant(text, context.run_id)) is not None
    assert (known, worth_storing(known, tenant)) == (tenant, False)
