"""Which minutes are looked at: all of the soak, then block by block, and what a block counted is not lost."""

from dataclasses import replace
from datetime import datetime, timedelta

import pytest

from gate_builders import ERRORS, NOON, TICK, UNREACHABLE, Fleet, Traffic, a_context, run
from tenantwave.core.gates import Ask, GateBook, GateRule, Increase, Part, RawQuery, TenantInContext, Verdict, WaveInContext
from tenantwave.core.gates.windows import block_length, cohort_start, window_start

SOAK = timedelta(minutes=10)
MINUTE = timedelta(minutes=1)


@pytest.mark.parametrize(
    ("age", "begin"),
    [
        pytest.param(2, 0, id="first look"),
        pytest.param(10, 0, id="a soak"),
        pytest.param(12, 0, id="a soak after the first look"),
        pytest.param(14, 0, id="and until a sign at its end is confirmed"),
        pytest.param(14.5, 10, id="then block by block"),
        pytest.param(21.5, 10, id="it stays until the one after it is"),
        pytest.param(22, 20, id="and so on"),
    ],
)
def test_a_window_holds_the_soak_and_then_one_block(age: float, begin: int) -> None:
    """Beginning at noon, soak 10 minutes, a tick each half minute."""
    now = NOON + age * MINUTE
    assert window_start(ERRORS, SOAK, NOON, now - TICK, now, TICK) == NOON + begin * MINUTE


def test_after_an_outage_the_window_reaches_back_to_where_it_began() -> None:
    """So no evidence is lost with the answers."""
    now = NOON + 75 * MINUTE
    assert window_start(ERRORS, SOAK, NOON, NOON + 34 * MINUTE, now, TICK) == NOON + 30 * MINUTE


@pytest.mark.parametrize(
    ("rule", "age", "length"),
    [
        pytest.param(ERRORS, timedelta(hours=30), timedelta(hours=6, minutes=2), id="never longer than six hours and a first look"),
        pytest.param(replace(ERRORS, kind=Increase("restarts_total")), timedelta(hours=30), timedelta(hours=6), id="an increase slides"),
        pytest.param(replace(ERRORS, kind=RawQuery("lag")), timedelta(hours=30), timedelta(0), id="a raw query has none"),
    ],
)
def test_long_soaks(rule: GateRule, age: timedelta, length: timedelta) -> None:
    """A soak of a day is judged in blocks of six hours."""
    now = NOON + age
    assert window_start(rule, timedelta(days=1), NOON, now - timedelta(days=2), now, TICK) == now - length or (
        now - window_start(rule, timedelta(days=1), NOON, now - TICK, now, TICK) <= length
    )


@pytest.mark.parametrize("soak", [timedelta(seconds=4), timedelta(minutes=1), SOAK, timedelta(hours=2), timedelta(days=3)])
def test_there_are_few_cohorts(soak: timedelta) -> None:
    """However many tenants converge at whatever second: ten windows inside a soak, and a few for the first look."""
    block = block_length(soak, TICK)
    starts = {cohort_start(NOON + number * block / 1000, soak, TICK) for number in range(1000)}
    assert len(starts) <= 11
    now = NOON + 3 * block
    begins = {window_start(ERRORS, soak, start, now - TICK, now, TICK) for start in starts}
    assert len(begins) == 1


def live(fleet: Fleet) -> list[Ask]:
    """Return what was asked for all events."""
    return [ask for ask in fleet.asked if ask.part is Part.TOTAL]


def test_a_quiet_tenant_gathers_evidence_over_many_blocks() -> None:
    """At 0.05 requests a second a block of ten minutes holds 30 of the 216 that Healthy needs before bursts are measured: it comes in the eighth."""
    context, fleet = a_context(), Fleet({"acme": Traffic(rate=0.05)})
    healthy: list[datetime] = []

    def watch(book: GateBook) -> bool:
        gate = book.tenant("acme")
        if gate is not None and gate.verdict is Verdict.HEALTHY and gate.evaluation_time is not None:
            healthy.append(gate.evaluation_time)
        return bool(healthy)

    run(context, fleet, 400, until=watch)
    assert timedelta(minutes=72) - TICK <= healthy[0] - NOON <= timedelta(minutes=74)
    assert max(ask.time - ask.start_time for ask in live(fleet) if ask.start_time) <= SOAK + 4 * MINUTE


def test_good_days_do_not_outweigh_a_bad_hour() -> None:
    """A tenant that waits for the others of its wave has been well for two days; then one request in ten fails: found in minutes."""
    context, fleet = a_context(), Fleet({"acme": Traffic(rate=1)})
    days = 2 * 24 * 120
    book = run(context, fleet, days)
    sick = NOON + days * TICK
    fleet.traffic["acme"] = Traffic(rate=1, bad=0.1, bad_since=sick)
    book = run(context, fleet, 40, book=book, start=sick, until=lambda book: bool(book.tenants["acme"].latched))
    gate = book.tenants["acme"]
    assert gate.latched_time is not None
    assert gate.latched_time - sick <= timedelta(minutes=8)


def test_a_wave_that_has_passed_is_watched_by_its_last_blocks() -> None:
    """A fault that shows hours later is latched, too: the planner pauses the upgrade."""
    context = a_context(wave=WaveInContext("canary", SOAK, has_passed=True))
    fleet = Fleet()
    book = run(context, fleet, 400)
    metric = book.tenants["acme"].metrics[0]
    assert metric.banked is not None
    assert metric.banked.total == pytest.approx(6000)  # the last block alone
    fleet.traffic["acme"] = Traffic(bad=0.05, bad_since=NOON + 400 * TICK)
    book = run(context, fleet, 20, book=book, start=NOON + 400 * TICK)
    assert book.tenants["acme"].latched == "errors"


def test_an_outage_in_the_middle_of_a_block_loses_no_bad_request() -> None:
    """What fails while Prometheus is away is judged when it is back."""
    context, fleet = a_context(), Fleet({"acme": Traffic(rate=1)})
    book = run(context, fleet, 80)
    away, back = NOON + 80 * TICK, NOON + 140 * TICK
    fleet.traffic["acme"] = Traffic(rate=1, bad=0.2, bad_since=away)
    fleet.outage = UNREACHABLE
    book = run(context, fleet, 60, book=book, start=away)
    assert not book.tenants["acme"].latched
    fleet.outage = None
    first = run(context, fleet, 1, book=book, start=back)
    assert first.tenants["acme"].metrics[0].counts is not None
    assert first.tenants["acme"].metrics[0].counts.bad == pytest.approx(0.2 * 1800)
    assert run(context, fleet, 2, book=book, start=back).tenants["acme"].latched == "errors"


def test_cohorts_share_a_question() -> None:
    """Thirty tenants that converge within a minute are asked for together; those of the next minute with the next cohort."""
    context = a_context()
    tenants = tuple(TenantInContext(f"tenant-{number}", "canary", NOON + number * timedelta(seconds=2)) for number in range(60))
    fleet = Fleet()
    run(replace(context, tenants=tenants), fleet, 12)
    at_end = [ask for ask in live(fleet) if ask.time == NOON + 11 * TICK]
    assert sorted(len(ask.tenants) for ask in at_end) == [1, 29, 30]
