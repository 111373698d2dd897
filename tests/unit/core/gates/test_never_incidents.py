"""What must never happen around an incident of the fleet: each a fault that was there once, with the least that shows it."""

from dataclasses import replace
from datetime import timedelta
from decimal import Decimal

import pytest

from gate_builders import ERRORS, NOON, TICK, Fleet, Traffic, run, tick, with_tenants
from gate_fleets import (
    FIRST_WRITE,
    ILL,
    SOAK,
    WELL,
    ScriptedFleet,
    a_fleet_context,
    errors,
    latched,
    names,
    restarted,
    tenant_of,
    traffic,
    wave_of,
)
from tenantwave.core.gates import (
    Ask,
    GateContext,
    GateRule,
    Increase,
    Part,
    Purpose,
    Role,
    TenantInContext,
    Verdict,
    WaveInContext,
    tenant_is_through,
    wave_is_through,
)

RESTARTS = GateRule("restarts", Increase("kube_pod_container_status_restarts_total"), "namespace", maximum=Decimal(2))
AN_HOUR_AGO = NOON - timedelta(hours=1)


def after_a_passed_wave(passed: int, control: int, *, running: int | None = None, budget: int = 0) -> GateContext:
    """Return a wave that has passed, and one that is to come (`running` 0) or has begun at noon; None: there is no other."""
    context = a_fleet_context(passed, control)
    before = tuple(replace(tenant, window_start_time=AN_HOUR_AGO, first_write_time=AN_HOUR_AGO) for tenant in context.tenants)
    now = tuple(TenantInContext(name, "rest", NOON, FIRST_WRITE) for name in names("next", running or 0))
    waves = (WaveInContext("canary", SOAK, 5, has_passed=True), *((WaveInContext("rest", SOAK, budget),) if running is not None else ()))
    return replace(context, waves=waves, tenants=(*before, *now))


def everybody_ill(context: GateContext, since: int) -> dict[str, Traffic]:
    """Return the traffic of an incident that begins with that tick."""
    ill = replace(ILL, bad_since=NOON + since * TICK)
    return traffic(context, wave=ill, control=ill)


@pytest.mark.parametrize("lag", [0, 1, 2, 3])
def test_what_was_seen_in_an_incident_fails_nobody_after_it(lag: int) -> None:
    """One tenant heals up to three ticks later than all others: its errors are of the incident, as theirs are."""
    context, begun, healed = a_fleet_context(5, 20), NOON + 10 * TICK, NOON + 16 * TICK

    def say(name: str, ask: Ask, usual: float | None) -> float | None:
        if ask.part is not Part.BAD or ask.purpose is not Purpose.LIVE or ask.start_time is None:
            return usual
        end = healed + lag * TICK if name == "wave-0000" else healed
        return 3 * max(0.0, (min(ask.time, end) - max(ask.start_time, begun)).total_seconds())

    fleet = ScriptedFleet(say=say)
    book, ill = run(context, fleet, 10), 0
    for number in range(10, 60):
        book = tick(book, context, fleet, NOON + number * TICK)
        assert latched(book) == set()
        ill += wave_of(book).has_incident
    assert ill > 0
    assert wave_is_through(wave_of(book), SOAK, context.evaluation)


@pytest.mark.parametrize("running", [None, 0], ids=["the next wave waits for approval", "the next wave waits for its window"])
def test_an_incident_between_two_waves_fails_nobody_that_has_passed(running: int | None) -> None:
    """Nobody is upgraded at present, but the control is still asked, and is as ill as the tenants that have passed."""
    context, fleet = after_a_passed_wave(3, 20, running=running), Fleet()
    book = run(context, fleet, 6)
    fleet.traffic = everybody_ill(context, 6)
    book = run(context, fleet, 8, book=book, start=NOON + 6 * TICK)
    assert (latched(book), wave_of(book).verdict, wave_of(book).reason) == (set(), Verdict.INCONCLUSIVE, "FleetIncident")
    fleet.traffic = {}
    book = run(context, fleet, 16, book=book, start=NOON + 14 * TICK)
    assert (latched(book), wave_of(book).verdict) == (set(), Verdict.HEALTHY)


def test_a_fault_of_a_passed_wave_alone_is_still_found() -> None:
    """So that the test above does not pass because nobody looks."""
    context, fleet = after_a_passed_wave(3, 20, running=0), Fleet()
    fleet.traffic = traffic(context, wave=ILL)
    assert latched(run(context, fleet, 8)) == set(names("wave", 3))


def test_an_incident_whose_wave_is_left_by_all_does_not_hold_for_ever() -> None:
    """What the control showed at a tick long ago is no witness of today."""
    context, fleet = after_a_passed_wave(3, 20, running=2, budget=2), Fleet()
    book = run(context, fleet, 8)
    fleet.traffic = everybody_ill(context, 8)
    book = run(context, fleet, 6, book=book, start=NOON + 8 * TICK)
    assert wave_of(book, "rest").reason == "FleetIncident"
    left = with_tenants(context, next_0000={"role": Role.OUT}, next_0001={"role": Role.OUT})
    fleet.traffic = {}
    book = run(left, fleet, 16, book=book, start=NOON + 14 * TICK)
    assert (wave_of(book, "rest").has_incident, wave_of(book).has_incident) == (False, False)
    assert (latched(book), wave_of(book).verdict) == (set(), Verdict.HEALTHY)


def test_an_ill_straggler_is_no_incident_of_the_running_wave() -> None:
    """It soaks in a wave that has passed, on trial by the same release: it is failed, and the running wave goes on."""
    context = after_a_passed_wave(2, 3, running=2)
    straggler = TenantInContext("late-0000", "canary", NOON, FIRST_WRITE, is_proven=False)
    context = replace(context, tenants=(*context.tenants, straggler))
    book = run(context, Fleet({"late-0000": ILL}), 26)
    assert latched(book) == {"late-0000"}
    assert wave_is_through(wave_of(book, "rest"), SOAK, context.evaluation)


def test_who_failed_in_a_passed_wave_bears_no_witness_for_ever() -> None:
    """Two of twenty failed, within the budget of their wave, and have long been well: the last wave, without a control, passes."""
    context = after_a_passed_wave(20, 0)
    fleet = Fleet({"wave-0000": ILL, "wave-0001": ILL})
    book = run(context, fleet, 10)
    assert (latched(book), wave_of(book).verdict) == ({"wave-0000", "wave-0001"}, Verdict.HEALTHY)
    fleet.traffic, now = {}, NOON + 20 * TICK
    last = tuple(TenantInContext(name, "last", now, now - timedelta(minutes=3)) for name in names("next", 5))
    context = replace(context, waves=(*context.waves, WaveInContext("last", SOAK)), tenants=(*context.tenants, *last))
    book = run(context, fleet, 26, book=book, start=now)
    assert (errors(book, "last").is_ill, wave_is_through(wave_of(book, "last"), SOAK, context.evaluation)) == (False, True)


def test_a_tenant_that_is_away_when_an_incident_ends_does_not_pass_on_what_was_before() -> None:
    """It had soaked for its ten minutes, then it was changed again: its clock starts anew, as that of all others does."""
    context, fleet = a_fleet_context(3, 20), Fleet()
    book = run(context, fleet, 10)
    fleet.traffic = traffic(context, control=ILL)
    book = run(context, fleet, 20, book=book, start=NOON + 10 * TICK)
    clock = tenant_of(book).clock
    assert wave_of(book).has_incident
    assert clock is not None
    assert clock >= SOAK
    fleet.traffic, number = {}, 30
    away = replace(context, tenants=context.tenants[1:])
    while wave_of(book).has_incident:
        book = tick(book, away, fleet, NOON + number * TICK)
        number += 1
        assert number < 60
    assert not tenant_is_through(tenant_of(book), wave_of(book), SOAK, context.evaluation)
    back = with_tenants(context, wave_0000={"window_start_time": NOON + number * TICK})
    book = run(back, fleet, 8, book=book, start=NOON + number * TICK)
    assert tenant_of(book).window_start_time == NOON + number * TICK + (number % 2) * TICK
    assert not tenant_is_through(tenant_of(book), wave_of(book), SOAK, context.evaluation)


def test_who_was_over_the_limit_before_does_not_hide_an_incident() -> None:
    """A third of the control restarts all the time and is left out on both counts: among the others one in five is ill, as in the wave."""
    chronic = frozenset(names("old", 30))

    def say(name: str, ask: Ask, usual: float | None) -> float | None:
        return 9.0 if name in chronic or (ask.purpose is Purpose.LIVE and int(name[-4:]) % 5 == 0) else 0.0

    context = a_fleet_context(10, 100, rules=(RESTARTS,))
    book = run(context, ScriptedFleet(say=say), 7)
    comparison = wave_of(book).comparison("restarts")
    assert (latched(book), wave_of(book).reason) == (set(), "FleetIncident")
    assert (comparison.control_count, comparison.control_failing_count) == (70, 14)


def test_a_failed_wave_leaves_the_incident_of_another_gate() -> None:
    """It failed by one gate while the fleet was ill by another: a person lets it go on, the incident ends, and the healthy pass."""
    by_day = replace(ERRORS, name="other")
    calm = False

    def say(name: str, ask: Ask, usual: float | None) -> float | None:
        if ask.part is not Part.BAD or ask.purpose is not Purpose.LIVE or ask.start_time is None:
            return usual
        is_bad = name.startswith("old") if ask.gate == "other" else name == "wave-0000"
        return 3 * (ask.time - ask.start_time).total_seconds() if is_bad and not calm else 0.0

    context, fleet = a_fleet_context(3, 20, rules=(ERRORS, by_day)), ScriptedFleet(say=say)
    book = run(context, fleet, 9)
    failed = wave_of(book)
    assert (failed.verdict, failed.has_incident, latched(book)) == (Verdict.FAILING, True, {"wave-0000"})
    calm = True
    resumed = with_tenants(context, wave_0000={"role": Role.OUT})
    book = run(resumed, fleet, 40, book=book, start=NOON + 9 * TICK)
    wave = wave_of(book)
    assert (wave.has_incident, wave.verdict, wave.reason, wave.message) == (False, Verdict.FAILING, failed.reason, failed.message)
    assert tenant_is_through(tenant_of(book, "wave-0001"), wave, SOAK, context.evaluation)


def test_who_failed_in_the_control_before_an_incident_has_failed_after_it() -> None:
    """Like those of the wave: else the wave would look worse than it is."""
    context = a_fleet_context(5, 40, budget=3)
    before = {"wave-0000": ILL, "old-0000": ILL}
    fleet = Fleet(before)
    book = run(context, fleet, 10)
    known = {"old-0000": "errors"}
    assert (latched(book), wave_of(book).control_latched) == ({"wave-0000"}, known)
    fleet.traffic = {**before, **dict.fromkeys(names("old", 10), replace(ILL, bad_since=NOON + 10 * TICK))}
    book = run(context, fleet, 8, book=book, start=NOON + 10 * TICK)
    assert wave_of(book).has_incident
    fleet.traffic = dict.fromkeys(before, WELL)
    book = run(context, fleet, 30, book=book, start=NOON + 18 * TICK)
    assert (wave_of(book).has_incident, latched(book), wave_of(book).control_latched) == (False, {"wave-0000"}, known)
    assert errors(book).control_failing_count == 1


@pytest.mark.parametrize("is_restarted", [False, True], ids=["running on", "restarted"])
def test_a_control_is_another_one_for_each_wave(is_restarted: bool) -> None:
    """Who failed beside the first wave has not failed beside the second, whatever a restart finds stored."""
    context = a_fleet_context(3, 40)
    fleet = Fleet({"old-0000": ILL})
    book = run(context, fleet, 25)
    assert set(wave_of(book).control_latched) == {"old-0000"}
    now, passed = NOON + 60 * TICK, replace(context.waves[0], has_passed=True)
    following = tuple(TenantInContext(name, "rest", now, now - timedelta(minutes=3)) for name in names("next", 3))
    context = replace(context, waves=(passed, WaveInContext("rest", SOAK)), tenants=(*context.tenants, *following))
    fleet.traffic = {}
    book = run(context, fleet, 12, book=restarted(book, context.run_id) if is_restarted else book, start=now)
    assert (errors(book, "rest").control_failing_count, wave_of(book, "rest").control_latched) == (0, {})
