"""The numbers that a verdict rests on, each computed independently before the code was written."""

from math import log

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tenantwave.core.gates.counts import Counts
from tenantwave.core.gates.statistics import allowed_rate, log_e_above, log_e_below, pooled_rate, unacceptable_rate


def least_that_fires(total: int, allowed: float, alpha: float, metrics: int = 1) -> int | None:
    """Return the least number of bad events of `total` that is evidence at `alpha`."""
    return next((bad for bad in range(total + 1) if log_e_above(bad, total, allowed) >= log(metrics / alpha)), None)


@pytest.mark.parametrize(
    ("allowed", "alpha", "metrics", "rows"),
    [
        pytest.param(
            0.01, 0.001, 1,
            {2: 2, 5: 3, 10: 4, 20: 5, 50: 6, 100: 8, 200: 11, 300: 13, 500: 17, 1000: 26, 3000: 56, 10000: 145},
            id="limit 1%",
        ),
        pytest.param(0.001, 0.001, 1, {50: 3, 100: 4, 500: 6, 1000: 8, 10000: 26}, id="limit 0.1%"),
        pytest.param(0.05, 0.001, 1, {10: 6, 20: 7, 100: 17, 1000: 82}, id="limit 5%"),
        pytest.param(0.01, 0.001, 3, {5: 4, 10: 4, 20: 5, 50: 7, 100: 8, 300: 14, 1000: 27}, id="limit 1%, three metrics share the risk"),
        pytest.param(0.3, 0.0001, 1, {9: 9, 10: 10, 15: 13, 30: 22, 100: 53}, id="catastrophic"),
    ],
)  # fmt: skip
def test_so_many_bad_events_are_needed_to_fail(allowed: float, alpha: float, metrics: int, rows: dict[int, int]) -> None:
    """The least number of bad events that fires is the one in the table, at every total."""
    assert {total: least_that_fires(total, allowed, alpha, metrics) for total in rows} == rows


@pytest.mark.parametrize(
    ("bad", "unacceptable", "alpha", "needed"),
    [
        (0, 0.05, 0.05, 72), (0, 0.02, 0.05, 182), (0, 0.10, 0.05, 35),
        (1, 0.05, 0.05, 128), (2, 0.05, 0.05, 172), (5, 0.05, 0.05, 281),
        (0, 0.05, 0.01, 107), (0, 0.02, 0.01, 271), (0, 0.10, 0.01, 52),
    ],
)  # fmt: skip
def test_so_many_requests_are_needed_to_be_healthy(bad: int, unacceptable: float, alpha: float, needed: int) -> None:
    """One request fewer is not enough."""
    fires = [total for total in range(bad, needed + 1) if log_e_below(bad, total, unacceptable) >= log(1 / alpha)]
    assert fires == [needed]


@pytest.mark.parametrize(
    ("bad", "total", "fleet", "expected"),
    [(0, 0, 0.001, 0.01), (0, 1000, 0.001, 0.01), (30, 1000, 0.001, 0.0407), (400, 1000, 0.001, 0.5), (0, 50, 0.02, 0.0364)],
)
def test_a_tenant_is_not_blamed_for_what_it_had_before(bad: int, total: int, fleet: float, expected: float) -> None:
    """Twice its own rate is allowed, mixed with the fleet's, up to one half."""
    assert allowed_rate(Counts(bad, total), fleet, 0.01) == pytest.approx(expected, abs=5e-5)


def test_without_a_baseline_the_limit_counts() -> None:
    """No guess is made."""
    assert allowed_rate(None, 0.3, 0.01) == 0.01


@pytest.mark.parametrize(("bad", "total", "allowed", "expected"), [(36, 903, 0.01, 20.781), (3, 5, 0.01, 7.775), (7, 100, 0.01, 6.211)])
def test_the_evidence_has_these_values(bad: int, total: int, allowed: float, expected: float) -> None:
    """Three values to the third digit."""
    assert log_e_above(bad, total, allowed) == pytest.approx(expected, abs=5e-4)


@pytest.mark.parametrize("limit", [0.0, 1e-9, 0.5, 0.94, 0.95, 1.0])
def test_extreme_limits_give_numbers_not_exceptions(limit: float) -> None:
    """A limit of 0 fails on few bad events; one of 100% never fails."""
    assert log_e_above(5, 10, limit) >= log(1000) if limit < 1e-6 else log_e_above(5, 10, limit) < log(1000)
    assert log_e_below(0, 10, unacceptable_rate(limit)) > 0


@pytest.mark.parametrize(("allowed", "expected"), [(0.01, 0.05), (0.0407, 0.2035), (0.18, 0.9), (0.5, 0.9), (0.0, 5e-9)])
def test_five_times_the_limit_is_unacceptable(allowed: float, expected: float) -> None:
    """Up to 90%."""
    assert unacceptable_rate(allowed) == pytest.approx(expected, rel=1e-9)


@given(st.floats(1e-6, 0.9), st.floats(0, 1e6), st.floats(0, 1e6), st.floats(0, 1e4))
def test_one_more_bad_event_is_evidence_and_one_more_good_one_against(allowed: float, first: float, second: float, more: float) -> None:
    """Above the limit and below it alike, whatever the counts."""
    bad, total = sorted((first, second))
    assert log_e_above(bad + more, total + more, allowed) >= log_e_above(bad, total, allowed) - 1e-6
    assert log_e_above(bad, total + more, allowed) <= log_e_above(bad, total, allowed) + 1e-6
    assert log_e_below(bad + more, total + more, allowed) <= log_e_below(bad, total, allowed) + 1e-6
    assert log_e_below(bad, total + more, allowed) >= log_e_below(bad, total, allowed) - 1e-6


@given(st.floats(1e-6, 0.9), st.floats(0, 1e6), st.floats(0, 1))
def test_within_the_limit_there_is_no_evidence_against_a_tenant(allowed: float, total: float, share: float) -> None:
    """No bet wins on it, so it is never worth computing."""
    assert log_e_above(allowed * share * total, total, allowed) <= 1e-6


def test_few_baselines_say_little() -> None:
    """One error in two requests is no error rate of 50%."""
    assert pooled_rate([Counts(1, 2)]) < 0.002
    assert pooled_rate([]) == 0
