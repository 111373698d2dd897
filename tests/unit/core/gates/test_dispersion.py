"""How bursty errors are: the four sums against the textbook's table, what raises the dispersion and what must not."""

from collections.abc import Iterable, Sequence
from random import Random

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from scipy import stats

from gate_traffic import SEED, a_fleet, bursty_traffic
from tenantwave.core.gates import Counts
from tenantwave.core.gates.dispersion import LARGEST, Spread, dispersion_of, newly, traffic_dispersion_of

Ticks = Sequence[tuple[float, float]]
"""Bad and all events of each tick."""


def spread_of(ticks: Ticks) -> Spread:
    """Return the sums of a tenant's ticks."""
    spread = Spread()
    for bad, total in ticks:
        spread = spread.plus(Counts(bad, total))
    return spread


def dispersion(fleet: Iterable[Ticks]) -> float | None:
    """Return the dispersion of many tenants."""
    return dispersion_of(map(spread_of, fleet))


def pearson(ticks: Ticks) -> float:
    """Return the X2 of a tenant's table of bad and good events by tick, as a statistician's library computes it."""
    table = [[bad for bad, total in ticks if total], [total - bad for bad, total in ticks if total]]
    return float(stats.chi2_contingency(table, correction=False).statistic)


@given(st.lists(st.tuples(st.integers(0, 50), st.integers(0, 5000)).map(lambda pair: (min(pair), max(pair))), min_size=2, max_size=40))
def test_four_sums_say_what_the_table_says(ticks: list[tuple[int, int]]) -> None:
    """No tick need be kept to compute Pearson's X2."""
    spread = spread_of(ticks)
    assume(spread.is_telling)
    assert spread.unevenness == pytest.approx(pearson(ticks), rel=1e-6, abs=1e-6)


def test_the_degrees_of_freedom_are_ticks_less_tenants() -> None:
    """Two tenants of different rates and 20 ticks each: the X2 of both tables over 38."""
    random = Random(SEED)
    fleet = [[(random.randint(0, most), 100) for _ in range(20)] for most in (10, 40)]
    assert dispersion(fleet) == pytest.approx((pearson(fleet[0]) + pearson(fleet[1])) / 38, rel=1e-9), f"seed {SEED}"


@pytest.mark.parametrize(
    ("tenants", "ticks", "expected"),
    [
        pytest.param(1, 30, None, id="29 degrees of freedom are too few"),
        pytest.param(1, 31, 1.0, id="30 are enough"),
        pytest.param(10, 3, None, id="ten tenants of three ticks are too few"),
        pytest.param(10, 4, 1.0, id="ten of four are enough"),
        pytest.param(1000, 1, None, id="one tick has nothing to compare with"),
        pytest.param(0, 0, None, id="nobody"),
    ],
)
def test_too_few_ticks_say_nothing(tenants: int, ticks: int, expected: float | None) -> None:
    """None, rather than a number that is off by a quarter. Errors more even than chance count as even."""
    assert dispersion([[(5, 100)] * ticks] * tenants) == expected


@pytest.mark.parametrize(
    "silent",
    [
        pytest.param([(0, 100)] * 40, id="no errors"),
        pytest.param([(1, 100)] * 4 + [(0, 100)] * 36, id="four errors"),
        pytest.param([(100, 100)] * 40, id="nothing but errors"),
        pytest.param([(0, 0)] * 40, id="no traffic"),
        pytest.param([(-3.0, -5.0)] * 40, id="a container that restarts all the time"),
    ],
)
def test_such_a_tenant_says_nothing(silent: Ticks) -> None:
    """Alone it gives no dispersion, and beside others it does not change theirs."""
    assert dispersion([silent]) is None
    uneven = [(9, 100), (0, 100)] * 20
    assert dispersion([silent, uneven]) == dispersion([uneven])


def test_ticks_without_traffic_are_no_cells() -> None:
    """A tenant that is used every other minute is not uneven for it."""
    busy = [(9, 100), (0, 100)] * 20
    assert dispersion([[tick for pair in busy for tick in (pair, (0, 0))]]) == dispersion([busy])


@pytest.mark.parametrize(
    ("burst", "least", "most"),
    [
        pytest.param(1, 1.0, 1.05, id="independent"),
        pytest.param(3, 4.5, 5.5, id="bursts of 3: 5"),
        pytest.param(10, 17, 21, id="bursts of 10: 19"),
        pytest.param(30, LARGEST, LARGEST, id="bursts of 30: 59, cut to 50"),
    ],
)
def test_bursts_are_measured(burst: int, least: float, most: float) -> None:
    """Geometric bursts of mean m have a dispersion of 2 m - 1, which an hour of 300 tenants at 10 requests a second shows in 12 windows."""
    measured = dispersion(bursty_traffic(300, requests=3000, share=0.01, burst=burst, ticks=12))
    assert measured is not None
    assert least <= measured <= most, f"seed {SEED}"


def test_ten_minutes_show_large_bursts_as_smaller() -> None:
    """With two bursts a tenant, X2 is 34 rather than 59: each is held against a rate that it made itself. So a latch takes two ticks."""
    measured = dispersion(bursty_traffic(1000, requests=300, share=0.01, burst=30, ticks=20))
    assert measured is not None
    assert 30 <= measured <= 38, f"seed {SEED}"


def test_tenants_may_differ() -> None:
    """Traffic from 0.01 to 10 requests a second, error rates from 0.01% to 20%: without bursts the dispersion is 1."""
    assert dispersion(a_fleet(1000, burst=1, ticks=20)) == pytest.approx(1, abs=0.15), f"seed {SEED}"


def test_one_wild_tenant_does_not_blind_the_gate() -> None:
    """Bursts of 100 in one tenant of 300 are no reason to disbelieve the errors of all others."""
    fleet = bursty_traffic(299, requests=300, share=0.01, burst=1, ticks=20) + bursty_traffic(
        1, requests=300, share=0.01, burst=100, ticks=20
    )
    measured = dispersion(fleet)
    assert measured is not None
    assert measured < 1.5, f"seed {SEED}"


def test_extrapolation_is_no_burst() -> None:
    """The edges of the window move by up to 1% of all that was seen. What is new in a tick may then be negative, but bad and total go together."""
    random = Random(SEED)
    shaken = []
    for ticks in bursty_traffic(300, requests=300, share=0.01, burst=1, ticks=20):
        bad = total = 0.0
        before: Counts | None = None
        moved = []
        for new_bad, new_total in ticks:
            bad, total = bad + new_bad, total + new_total
            factor = random.uniform(0.99, 1.01)
            now = Counts(bad * factor, total * factor)
            new = newly(before, now)
            assert 0 <= new.bad <= new.total
            moved.append((new.bad, new.total))
            before = now
        shaken.append(moved)
    measured = dispersion(shaken)
    assert measured is not None
    assert measured < 1.15, f"seed {SEED}"


@pytest.mark.parametrize(
    ("before", "now", "new"),
    [
        pytest.param(None, Counts(3, 50), Counts(3, 50), id="the first tick"),
        pytest.param(Counts(3, 50), Counts(5, 80), Counts(2, 30), id="a usual tick"),
        pytest.param(Counts(3, 50), Counts(2.9, 80), Counts(0, 30), id="bad events that were extrapolated away"),
        pytest.param(Counts(3, 50), Counts(9, 53), Counts(3, 3), id="more bad events than events"),
        pytest.param(Counts(3, 50), Counts(1, 20), Counts(0, 0), id="a container restarted, and `increase` takes over"),
    ],
)
def test_what_is_new_in_a_tick(before: Counts | None, now: Counts, new: Counts) -> None:
    """Counts of one window, so their differences; never below 0, never more bad events than events."""
    assert newly(before, now) == new


@given(st.lists(st.lists(st.tuples(st.floats(-1e6, 1e6), st.floats(-1e6, 1e6)), max_size=20), max_size=8))
def test_the_dispersion_stays_in_its_range(fleet: list[list[tuple[float, float]]]) -> None:
    """Whatever the counts are."""
    measured = dispersion(fleet)
    assert measured is None or 1 <= measured <= LARGEST


@pytest.mark.parametrize(
    ("tenants", "expected"),
    [
        pytest.param([(100, 100)] * 20, 1.0, id="exactly as usual: 1, never less"),
        pytest.param([(100, 80)] * 20, 4 / 0.455, id="each a fifth less than usual"),
        pytest.param([(100, 80)] * 11 + [(100, 100_000)] * 9, 4 / 0.455, id="wild tenants count for no more than others"),
        pytest.param([(100, 80)] * 19, None, id="19 tenants are too few"),
        pytest.param([(100, 80)] * 19 + [(13, 0), (141, 0)], None, id="so are tenants with too little traffic, or too much"),
    ],
)
def test_how_uneven_traffic_is(tenants: list[tuple[float, float]], expected: float | None) -> None:
    """By the tenants whose traffic is just enough to be missed."""
    assert traffic_dispersion_of(tenants) == (None if expected is None else pytest.approx(expected))
