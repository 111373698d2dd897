"""The release, or the whole fleet? A wave beside its control, tick by tick."""

from collections.abc import Mapping
from dataclasses import replace
from datetime import timedelta

import pytest

from gate_builders import NOON, TICK, UNREACHABLE, Fleet, Traffic, run, tick, with_tenants
from gate_fleets import FIRST_WRITE, ILL, SOAK, a_fleet_context, errors, latched, names, restarted, traffic, wave_of
from tenantwave.core.gates import (
    Part,
    Purpose,
    Role,
    TenantInContext,
    Verdict,
    WaveInContext,
    tenant_is_through,
    wave_is_through,
)


def with_some(base: Mapping[str, Traffic], share: float, how: Traffic) -> dict[str, Traffic]:
    """Return the traffic with the first tenants of each side changed."""
    sides = {prefix: sorted(name for name in base if name.startswith(prefix)) for prefix in ("wave", "old")}
    chosen = {name for members in sides.values() for name in members[: round(share * len(members))]}
    return {name: how if name in chosen else each for name, each in base.items()}


def test_errors_on_both_sides_are_an_incident_and_nobodys_fault() -> None:
    """Nobody is latched, nobody is through, the message says why; when it is over the soak begins anew, and then the wave passes."""
    context = a_fleet_context(10, 100)
    fleet = Fleet(traffic(context))
    book = run(context, fleet, 10)
    fleet.traffic = traffic(context, wave=replace(ILL, bad_since=NOON + 10 * TICK), control=replace(ILL, bad_since=NOON + 10 * TICK))
    book = run(context, fleet, 6, book=book, start=NOON + 10 * TICK)
    assert (wave_of(book).verdict, wave_of(book).reason, latched(book)) == (Verdict.INCONCLUSIVE, "FleetIncident", set())
    assert "100 of 100 tenants on the old version fail, too" in wave_of(book).message
    assert not any(
        tenant_is_through(book.tenant(tenant.name), wave_of(book), timedelta(0), context.evaluation) for tenant in context.tenants
    )
    fleet.traffic = traffic(context)
    healed, over = NOON + 16 * TICK, None
    for number in range(60):
        book = tick(book, context, fleet, healed + number * TICK)
        over = over or (wave_of(book).fresh_since_time if not wave_of(book).has_incident else None)
        assert latched(book) == set()
        if wave_is_through(wave_of(book), SOAK, context.evaluation):
            break
    assert over is not None
    gate = book.tenant("wave-0000")
    assert gate is not None
    assert (gate.window_start_time, gate.clock) == (over, SOAK)
    assert wave_of(book).evaluation_time == over + 4 * TICK + SOAK  # a first look, and the whole soak again


@pytest.mark.parametrize(
    ("control", "expected"),
    [
        pytest.param(Traffic(), (Verdict.FAILING, "BudgetExceeded"), id="healthy control: taken back"),
        pytest.param(ILL, (Verdict.INCONCLUSIVE, "FleetIncident"), id="ill control: held"),
    ],
)
def test_one_bad_tenant_of_three(control: Traffic, expected: tuple[Verdict, str]) -> None:
    """With a budget of 0 it fails the wave, unless the fleet is ill."""
    context = a_fleet_context(3, 100)
    book = run(context, Fleet({**traffic(context, control=control), "wave-0000": ILL}), 6)
    assert (wave_of(book).verdict, wave_of(book).reason) == expected
    assert latched(book) == ({"wave-0000"} if expected[0] is Verdict.FAILING else set())


def test_a_bad_release_in_an_incident_is_found_all_the_same() -> None:
    """One in twenty of the control is ill, and all of the wave: beyond doubt, so it fails at the first look that shows it."""
    context = a_fleet_context(10, 200)
    base = with_some(traffic(context), 0.05, ILL)
    book = run(context, Fleet({**base, **dict.fromkeys(names("wave", 10), ILL)}), 5)
    assert (errors(book).is_ill, errors(book).is_significant, errors(book).is_incident) == (True, True, False)
    assert (wave_of(book).verdict, wave_of(book).reason) == (Verdict.FAILING, "BudgetExceeded")
    assert "of 200 tenants on the old version 10 fail, too" in wave_of(book).message


@pytest.mark.parametrize("control", [0, 1, 19])
def test_small_controls(control: int) -> None:
    """A bad tenant is found whether or not there is somebody to compare with."""
    context = a_fleet_context(3, control)
    book = run(context, Fleet({**traffic(context), "wave-0000": ILL}), 6)
    assert (latched(book), errors(book).control_count) == ({"wave-0000"}, control)
    assert (errors(book).p_value is None) == (control == 0)


def test_tenants_of_passed_waves_bear_witness_where_few_are_left() -> None:
    """The last wave has no control; the fifty that passed before it are ill, too, so it is no fault of this wave."""
    context = a_fleet_context(3, 0)
    passed = WaveInContext("first", SOAK, has_passed=True)
    before = tuple(TenantInContext(name, "first", NOON - timedelta(hours=1), FIRST_WRITE) for name in names("passed", 50))
    context = replace(context, waves=(passed, *context.waves), tenants=(*before, *context.tenants))
    ill = traffic(context, wave=ILL)
    book = run(context, Fleet(ill), 6)
    assert (wave_of(book).reason, latched(book) & set(names("wave", 3))) == ("FleetIncident", set())
    alone = run(replace(context, waves=context.waves[1:], tenants=context.tenants[50:]), Fleet(ill), 6)
    assert latched(alone) == set(names("wave", 3))


def test_a_tenant_that_falls_silent_has_lost_its_traffic() -> None:
    """At 1 request a second before: a sign at the first look, failed at the second, with the numbers."""
    context = a_fleet_context(1, 100)
    fleet = Fleet({**traffic(context, control=Traffic(rate=1)), "wave-0000": Traffic(has_series=False)}, before=Traffic(rate=1))
    first, second = run(context, fleet, 5), run(context, fleet, 6)
    gates = [book.tenant("wave-0000") for book in (first, second)]
    assert [(gate.reason, gate.latched) for gate in gates if gate] == [("TrafficLost", None), ("TrafficLost", "errors")]
    assert gates[1] is not None
    assert gates[1].message.startswith(
        "errors: 0 requests where about 150 are usual, by the hour before its upgrade and what others have now, so it lost"
    )


@pytest.mark.parametrize(
    ("before", "judged"),
    [
        pytest.param(Traffic(rate=3 / 3600), "NoData", id="three requests an hour are no reason to expect one now"),
        pytest.param(Traffic(rate=0.1), "NoData", id="0.1 a second is too little for a window of two minutes"),
    ],
)
def test_silence_is_judged_against_what_is_usual(before: Traffic, judged: str) -> None:
    """Inconclusive, never Failing."""
    context = a_fleet_context(1, 0)
    gate = run(context, Fleet({"wave-0000": Traffic(has_series=False)}, before=before), 5).tenant("wave-0000")
    assert gate is not None
    assert (gate.verdict, gate.reason, gate.latched) == (Verdict.INCONCLUSIVE, judged, None)


def test_a_quiet_hour_is_no_loss() -> None:
    """At night everybody has a quarter of the traffic of the hour before: the control says so."""
    context = a_fleet_context(10, 50)
    quiet = Traffic(rate=2.5)
    assert latched(run(context, Fleet(traffic(context, wave=quiet, control=quiet)), 12)) == set()
    assert latched(run(context, Fleet(traffic(context, wave=quiet)), 12)) == set(names("wave", 10))


def test_the_control_is_asked_with_the_oldest_cohort_and_has_its_baseline_once() -> None:
    """Two questions a ratio and tick for one cohort with its control; the hour before and its twelve windows once a wave."""
    context = a_fleet_context(10, 100)
    fleet = Fleet(traffic(context))
    run(context, fleet, 10)
    live = [ask for ask in fleet.asked if ask.purpose is Purpose.LIVE and ask.part is not Part.FRESHNESS]
    assert len(live) == 6 * 2
    assert all(len(ask.tenants) == 110 and ask.start_time == NOON for ask in live)
    assert len([ask for ask in fleet.asked if ask.purpose is Purpose.BASELINE]) == 2  # the wave and its control share them
    assert len([ask for ask in fleet.asked if ask.purpose is Purpose.SPREAD]) == 12 * 2


def test_a_restart_in_an_incident_remembers_it() -> None:
    """The operator is killed while the fleet is ill: nobody is failed by the next one, and the control's own failures are known still."""
    context = a_fleet_context(3, 30)
    base = traffic(context)
    fleet = Fleet({**base, "old-0000": ILL})
    book = run(context, fleet, 8)
    assert wave_of(book).control_latched == {"old-0000": "errors"}
    fleet.traffic = traffic(context, wave=ILL, control=ILL)
    book = run(context, fleet, 2, book=book, start=NOON + 8 * TICK)
    assert wave_of(book).has_incident
    stored = restarted(book, context.run_id)
    assert wave_of(stored) == wave_of(book)
    for number in range(8):
        stored = tick(stored, context, fleet, NOON + (14 + number // 3) * TICK)
        assert (latched(stored), wave_of(stored).has_incident) == (set(), True)
    known = stored.control["old-0000"]
    assert known.latched == "errors"


@pytest.mark.parametrize(
    ("now", "verdict", "words"),
    [
        pytest.param(Traffic(), Verdict.HEALTHY, "errors: 0 of", id="well again"),
        pytest.param(ILL, Verdict.FAILING, "errors: 360 of 1200 requests (30%) failed, allowed 1%", id="worse than before"),
        pytest.param(Traffic(rate=0.001), Verdict.FAILING, "lost its traffic", id="silent since"),
    ],
)
def test_a_tenant_that_was_taken_back_is_judged_once_more(now: Traffic, verdict: Verdict, words: str) -> None:
    """Against the hour before the first write; the verdict that failed it stays."""
    fleet = Fleet()
    context = a_fleet_context(1, 40)
    fleet.traffic = {**traffic(context), "wave-0000": ILL}
    book = run(context, fleet, 8)
    fleet.traffic["wave-0000"] = now
    back = with_tenants(context, wave_0000={"role": Role.TAKEN_BACK, "window_start_time": NOON + 8 * TICK})
    for number in range(12):
        book = tick(book, back, fleet, NOON + (8 + number) * TICK)
    gate, kept = book.afterwards["wave-0000"], book.tenant("wave-0000")
    assert kept is not None
    assert (gate.verdict, words in gate.message, kept.latched) == (verdict, True, "errors")
    assert gate.evaluation_time == NOON + 12 * TICK  # the first look; it is not asked again
    assert tick(book, back, fleet, NOON + 30 * TICK) is book


def test_metrics_that_are_away_after_a_rollback_are_noted() -> None:
    """Unknown, once; nothing waits for it."""
    context = a_fleet_context(1, 40)
    fleet = Fleet({**traffic(context), "wave-0000": ILL})
    book = run(context, fleet, 8)
    fleet.outage = UNREACHABLE
    back = with_tenants(context, wave_0000={"role": Role.TAKEN_BACK, "window_start_time": NOON + 8 * TICK})
    book = run(back, fleet, 12, book=book, start=NOON + 8 * TICK)
    assert (book.afterwards["wave-0000"].verdict, book.afterwards["wave-0000"].reason) == (Verdict.UNKNOWN, "Unreachable")
    assert book.tenants["wave-0000"].verdict is Verdict.FAILING


def test_what_a_wave_can_find_is_said() -> None:
    """From the traffic before the wave: fewer requests find grosser faults only; a missing control is named."""
    said = [
        wave_of(run(a_fleet_context(5, control), Fleet(before=Traffic(rate=rate, bad=0.001)), 2)).can_find
        for rate, control in ((10.0, 100), (0.05, 100), (0.001, 100), (10.0, 3))
    ]
    assert said[0].startswith("errors: finds 2 times the allowed 1% in a tenant with the wave's median traffic (6000 requests in a soak)")
    assert "finds 50 times the allowed 1%" in said[1]
    assert "too quiet to fail alone" in said[2]
    assert said[3].endswith("with only 3 tenants left to compare with, an incident of the fleet is hardly told from a bad release")


def test_a_shift_within_the_limits_is_recorded_and_decides_nothing() -> None:
    """From 0.1% to 0.5% everywhere in the wave: each tenant is within 1%, the wave passes, and the approver can read it."""
    context = a_fleet_context(40, 100)
    fleet = Fleet(traffic(context, wave=Traffic(bad=0.005), control=Traffic(bad=0.001)), before=Traffic(bad=0.001))
    book = run(context, fleet, 25)
    assert wave_is_through(wave_of(book), SOAK, context.evaluation)
    assert wave_of(book).shift.startswith(
        "errors: 40 of 40 tenants have more bad events than before, more than the 100 tenants of the control"
    )
    same = Fleet(traffic(context, wave=Traffic(bad=0.001), control=Traffic(bad=0.001)), before=Traffic(bad=0.001))
    assert wave_of(run(context, same, 25)).shift == ""


def test_a_new_attempt_does_not_ask_again_how_bursty_a_passed_wave_was() -> None:
    """Its wave has passed, the next one has not written yet: nobody is judged by that."""
    context = a_fleet_context(3, 30)
    book = run(context, Fleet(traffic(context)), 8)
    later = replace(context, run_id="shop-x7f2k-1-a2", waves=tuple(replace(wave, has_passed=True) for wave in context.waves))
    fleet = Fleet(traffic(context))
    run(later, fleet, 6, book=book.of_run(later.run_id), start=NOON + 8 * TICK)
    assert fleet.asked
    assert not [ask for ask in fleet.asked if ask.purpose is Purpose.SPREAD]
