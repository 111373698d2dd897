"""The comparisons of groups: the numbers they must give, scipy as an oracle, and what must hold at any size."""

from collections.abc import Sequence
from math import isclose
from random import Random

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from scipy import stats

from tenantwave.core.gates.exact import (
    ALPHA_COMPARISON,
    binomial_tail,
    fisher,
    has_lost_traffic,
    is_below,
    is_ill,
    is_worse,
    poisson_tail_below,
    rank_test,
    score,
)

SEED = 20260101


@pytest.mark.parametrize(
    ("failing", "total", "control_failing", "control_total", "expected"),
    [
        pytest.param(1, 1, 0, 1000, 0.000999, id="the only tenant fails, of a thousand none"),
        pytest.param(1, 3, 0, 1000, 0.00299, id="one of three is not enough"),
        pytest.param(2, 10, 1, 1000, 0.000264, id="two of ten are"),
        pytest.param(2, 50, 0, 1000, 0.00222, id="two of fifty are not"),
        pytest.param(5, 5, 0, 10, 0.000333, id="all of five against none of ten"),
    ],
)
def test_a_wave_against_its_control(failing: int, total: int, control_failing: int, control_total: int, expected: float) -> None:
    """Three significant digits."""
    assert fisher(failing, total, control_failing, control_total) == pytest.approx(expected, rel=5e-3 if expected > 0.001 else 2e-3)


def test_what_is_worse_than_the_control() -> None:
    """The gates share the risk of a false alarm; a chance of exactly one in a thousand still counts."""
    assert is_worse(2, 10, 1, 1000)
    assert is_worse(2, 10, 1, 1000, metrics_count=3)
    assert not is_worse(2, 10, 1, 1000, metrics_count=4)
    assert is_worse(1, 1, 0, 999)
    assert not is_worse(1, 1, 0, 998)


@pytest.mark.parametrize("groups", [(0, 0, 3, 10), (3, 10, 0, 0), (0, 10, 0, 10), (0, 5, 9, 10), (5, 5, 7, 7)])
def test_where_nothing_can_be_compared_nothing_is_worse(groups: tuple[int, int, int, int]) -> None:
    """An empty group, nobody failing in the wave, everybody failing everywhere."""
    assert fisher(*groups) == 1.0


@pytest.mark.parametrize(
    ("least", "first", "last"),
    [(1, 1, 1), (2, 2, 45), (3, 46, 191), (4, 192, 429), (5, 430, 741), (6, 742, 1109)],
    ids=lambda value: str(value),
)
def test_so_many_failing_make_a_control_ill(least: int, first: int, last: int) -> None:
    """At both ends of each range that many are, one fewer are not; beyond the range it takes one more."""
    assert is_ill(least, first)
    assert is_ill(least, last)
    assert not is_ill(least - 1, first)
    assert not is_ill(least - 1, last)
    assert not is_ill(least, last + 1)


def test_a_control_that_was_over_the_limit_before_is_not_ill_for_it() -> None:
    """A raw query that 5% of the tenants break on any day: 50 of 1,000 are normal, 75 are not. Nobody failing is never ill."""
    assert not is_ill(50, 1000, chance=0.05)
    assert is_ill(75, 1000, chance=0.05)
    assert not is_ill(1000, 1000, chance=1.0)
    assert not is_ill(0, 1000, chance=0.0)
    assert is_ill(1, 1000, chance=0.0)
    assert not is_ill(0, 0)


@pytest.mark.parametrize(("seen", "least"), [(0, 14), (1, 19), (5, 33)])
def test_so_many_requests_must_be_missing(seen: int, least: int) -> None:
    """The least whole number of expected requests at which so few seen ones mean that the traffic is lost."""
    assert next(expected for expected in range(1000) if has_lost_traffic(expected, seen)) == least


def test_half_of_the_traffic_is_not_lost_however_busy_the_tenant() -> None:
    """Extrapolated counts are rounded up: 0.2 requests are one. What falls well below a half is lost at any size."""
    assert has_lost_traffic(18, 0.0000001)
    assert not has_lost_traffic(18, 0.2)
    for expected in (1e2, 1e4, 1e6, 1e9):
        assert not has_lost_traffic(expected, 0.5 * expected)
        assert has_lost_traffic(expected, 0.5 * expected - 4 * (0.5 * expected) ** 0.5)
        assert not has_lost_traffic(expected, 0.5 * expected - 2.9 * (0.5 * expected) ** 0.5)
    assert not has_lost_traffic(0, 0)


@pytest.mark.parametrize(
    ("after", "before", "expected"),
    [
        pytest.param((12, 1000), (10, 6000), 4.412, id="worse"),
        pytest.param((0, 1000), (10, 6000), -1.756, id="better"),
        pytest.param((10, 1000), (60, 6000), 0.0, id="the same"),
        pytest.param((0, 1000), (0, 6000), 0.0, id="no errors"),
        pytest.param((0, 0), (10, 6000), 0.0, id="no traffic after"),
        pytest.param((7, 10), (0, 0), 0.0, id="no traffic before"),
    ],
)
def test_how_far_a_rate_moved(after: tuple[int, int], before: tuple[int, int], expected: float) -> None:
    """In standard deviations, to the third digit."""
    assert score(*after, *before) == pytest.approx(expected, abs=5e-4)


@pytest.mark.parametrize(
    ("chance", "expected"),
    [pytest.param(0.01, 0.38, id="tenant alpha 0.01"), pytest.param(0.001, 1.4e-5, id="tenant alpha 0.001")],
)
def test_a_wave_of_500_is_halted_falsely_so_often(chance: float, expected: float) -> None:
    """More than 1% of 500 healthy tenants called Failing, by the count rule alone: why the tenants' alpha is 0.001."""
    assert binomial_tail(500, chance, 6) == pytest.approx(expected, rel=0.02)


def test_without_a_budget_every_tenant_adds_its_own_risk() -> None:
    """At most n * 0.001: 2% for the 20 tenants above which `plan` warns."""
    for total in (1, 20, 100, 1000):
        assert binomial_tail(total, 0.001, 1) <= total * 0.001 * (1 + 1e-12)
    assert binomial_tail(20, 0.001, 1) == pytest.approx(0.0198, rel=1e-3)


# scipy computes the same numbers in other ways.


def a_table(random: Random) -> tuple[int, int, int, int]:
    """Return groups of any size up to 10,000, with few failing as often as with any number."""
    total, control_total = random.randint(1, 10 ** random.randint(1, 4)), random.randint(1, 10 ** random.randint(1, 4))
    few = random.random() < 0.5
    failing = min(total, int(random.expovariate(0.2))) if few else random.randint(0, total)
    control_failing = min(control_total, int(random.expovariate(0.2))) if few else random.randint(0, control_total)
    return failing, total, control_failing, control_total


def agree(ours: float, theirs: float, within: float = 1e-9) -> bool:
    """Tell whether two p-values are the same; what is below 1e-250 is 0 for either."""
    return isclose(ours, theirs, rel_tol=within, abs_tol=1e-250)


def test_fisher_agrees_with_scipy() -> None:
    """On 2,000 tables by the hypergeometric tail, on 100 by scipy's own Fisher test."""
    random = Random(SEED)
    for number in range(2000):
        failing, total, control_failing, control_total = table = a_table(random)
        theirs = stats.hypergeom.sf(failing - 1, total + control_total, failing + control_failing, total)
        assert agree(fisher(*table), theirs), f"seed {SEED}, table {number}: {table}"
        if number % 20 == 0:
            square = [[failing, total - failing], [control_failing, control_total - control_failing]]
            theirs = stats.fisher_exact(square, alternative="greater").pvalue
            assert agree(fisher(*table), theirs, 1e-7), f"seed {SEED}, table {number}: {table}"


def test_binomial_tails_agree_with_scipy() -> None:
    """Up to 10,000 events, chances from 1e-5 to almost 1, on both sides of the mean."""
    random = Random(SEED)
    for number in range(2000):
        total, chance = random.randint(1, 10_000), random.choice([10 ** random.uniform(-5, -0.01), 1 - 10 ** random.uniform(-5, -1)])
        at_least = min(total, int(total * chance * random.uniform(0.5, 2))) if number % 3 else random.randint(0, total)
        case = f"seed {SEED}, case {number}: {at_least} of {total} at {chance}"
        assert agree(binomial_tail(total, chance, at_least), stats.binom.sf(at_least - 1, total, chance)), case


@pytest.mark.parametrize(
    ("least", "most", "within"), [pytest.param(-3, 4, 1e-9, id="summed"), pytest.param(4, 9, 2e-3, id="above 10,000 by the cube root")]
)
def test_poisson_tails_agree_with_scipy(least: float, most: float, within: float) -> None:
    """Within six standard deviations of the mean, where p goes down to 1e-9."""
    random = Random(SEED)
    for number in range(2000):
        mean = 10 ** random.uniform(least, most)
        at_most = max(0, int(mean + random.uniform(-6, 6) * mean**0.5))
        ours, theirs = poisson_tail_below(mean, at_most), stats.poisson.cdf(at_most, mean)
        assert agree(ours, theirs, within), f"seed {SEED}, case {number}: {at_most} of {mean}"


@pytest.mark.parametrize("digits", [0, 1, 12], ids=["mostly ties", "some ties", "no ties"])
@pytest.mark.parametrize(("wave", "control", "shift"), [(20, 20, 0.5), (20, 1000, 0.0), (500, 1000, 0.2), (30, 25, -1.0)])
def test_rank_tests_agree_with_scipy(wave: int, control: int, shift: float, digits: int) -> None:
    """Normal approximation, ties and continuity included."""
    random = Random(SEED)
    scores = [round(random.gauss(shift, 1), digits) for _ in range(wave)]
    others = [round(random.gauss(0, 1), digits) for _ in range(control)]
    theirs = stats.mannwhitneyu(scores, others, alternative="greater", method="asymptotic").pvalue
    assert rank_test(scores, others) == pytest.approx(theirs, rel=1e-9), f"seed {SEED}"


@pytest.mark.parametrize(("scores", "others"), [([], [1.0]), ([1.0], []), ([], []), ([0.0] * 20, [0.0] * 30)])
def test_ranks_that_say_nothing(scores: list[float], others: list[float]) -> None:
    """Nobody to compare, or everybody alike."""
    assert rank_test(scores, others) == 1.0


# Whatever the numbers are.


@st.composite
def tables(draw: st.DrawFn) -> tuple[int, int, int, int]:
    """Return two groups of up to 10,000."""
    total, control_total = draw(st.integers(1, 10_000)), draw(st.integers(1, 10_000))
    return draw(st.integers(0, total)), total, draw(st.integers(0, control_total)), control_total


@given(tables())
@example((5000, 10_000, 5000, 10_000))
@example((10_000, 10_000, 0, 10_000))
@example((0, 10_000, 10_000, 10_000))
def test_more_failing_in_the_wave_is_more_telling(table: tuple[int, int, int, int]) -> None:
    """One more of the wave never raises p, one more of the control never lowers it, and p stays a chance."""
    failing, total, control_failing, control_total = table
    p_value = fisher(*table)
    assert 0 <= p_value <= 1
    if failing < total:
        assert fisher(failing + 1, total, control_failing, control_total) <= p_value * (1 + 1e-9)
    if control_failing < control_total:
        assert fisher(failing, total, control_failing + 1, control_total) >= p_value * (1 - 1e-9)


@given(tables())
def test_fisher_is_the_same_from_every_side(table: tuple[int, int, int, int]) -> None:
    """Counting the well ones of the other group says the same; both tails make 1."""
    failing, total, control_failing, control_total = table
    p_value = fisher(*table)
    assert agree(p_value, fisher(control_total - control_failing, control_total, total - failing, total))
    if failing > 0 and control_failing < control_total:
        assert p_value + fisher(control_failing + 1, control_total, failing - 1, total) == pytest.approx(1, abs=1e-9)


@given(st.integers(0, 10_000), st.floats(0, 1), st.integers(-1, 10_001))
def test_binomial_tails_fall(total: int, chance: float, at_least: int) -> None:
    """With each event more, and never leave 0 to 1; the tails of events and of their absence make 1."""
    p_value = binomial_tail(total, chance, at_least)
    assert 0 <= p_value <= 1
    assert binomial_tail(total, chance, at_least + 1) <= p_value * (1 + 1e-9)
    if 1 - (1 - chance) == chance:
        assert p_value + binomial_tail(total, 1 - chance, total - at_least + 1) == pytest.approx(1, abs=1e-9)


@given(st.floats(0, 1e12), st.integers(-1, 10**12), st.floats(1, 2))
def test_poisson_tails_rise(mean: float, at_most: int, factor: float) -> None:
    """With each event more; they fall with the mean. The two ways of computing them meet within a thousandth."""
    p_value = poisson_tail_below(mean, at_most)
    assert 0 <= p_value <= 1
    assert poisson_tail_below(mean, at_most + 1) >= p_value * (1 - 2e-3)
    assert poisson_tail_below(mean * factor, at_most) <= p_value * (1 + 2e-3)


@given(st.floats(0, 1e6), st.floats(0, 1e6))
def test_fewer_requests_are_never_less_lost(expected: float, seen: float) -> None:
    """What is lost stays lost with fewer seen, or with more expected (1% apart, beyond the seam of the two ways of computing)."""
    if has_lost_traffic(expected, seen):
        assert has_lost_traffic(expected, seen / 2)
        assert has_lost_traffic(expected * 1.01, seen)


COUNTS = st.tuples(st.floats(0, 1e6), st.floats(0, 1e6)).map(lambda pair: (min(pair), max(pair)))


@given(COUNTS, COUNTS)
def test_scores_are_odd(after: tuple[float, float], before: tuple[float, float]) -> None:
    """Before and after exchanged give the opposite; the sign tells the direction; a fourfold of evidence is twice as far."""
    value = score(*after, *before)
    assert value == pytest.approx(-score(*before, *after), abs=1e-4)
    worsening = after[0] * before[1] - before[0] * after[1]
    assert value * worsening >= 0 or abs(value) < 1e-4
    assert score(*(4 * count for count in after), *(4 * count for count in before)) == pytest.approx(2 * value, abs=1e-4)


SCORES = st.lists(st.integers(-5, 5), min_size=1, max_size=40)


@given(SCORES, SCORES)
def test_ranks_look_at_the_order_alone(scores: Sequence[int], others: Sequence[int]) -> None:
    """Stretching changes nothing; a wave that moves up is more telling; the two directions overlap by the step of U."""
    p_value = rank_test(scores, others)
    assert 0 <= p_value <= 1
    assert rank_test([value**3 for value in scores], [value**3 for value in others]) == p_value
    assert p_value + rank_test(others, scores) >= 1 - 1e-12
    assert rank_test([value + 20 for value in scores], others) <= p_value + 1e-12


def test_rounding_is_forgiven() -> None:
    """A chance of exactly alpha counts, although its logarithm comes back a little above."""
    assert binomial_tail(1, 0.001, 1) != 0.001
    assert is_below(binomial_tail(1, 0.001, 1), 0.001)
    assert not is_below(0.001001, ALPHA_COMPARISON)
