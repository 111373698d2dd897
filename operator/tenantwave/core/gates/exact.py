"""Exact tests on small numbers of tenants: is the wave worse than its control, is the control itself ill, has a tenant fallen silent?

`statistics` judges the requests of one tenant, and may be asked at every tick. The tests here compare groups, at the moments when a
verdict is due. The p-values are one-sided: the chance of what is seen, or worse, if nothing is wrong. Sums start at the term
that is seen and go on by the ratio of neighbours, so nothing overflows and the cost is the number of terms that matter.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from math import ceil, erfc, exp, lgamma, log, log1p, sqrt

from .constants import ALPHA_FAILING

ALPHA_COMPARISON = 0.001
"""Chance that a wave no worse than its control is called worse, shared by the enforced gates. Over the 20 ticks of a fleet incident it
fails 0 to 8 waves in a thousand falsely; at 0.01 it would be 8 to 52."""

ALPHA_ILL = 0.001
"""Chance that a healthy control is called ill at one tick. An ill control holds everything, so a false alarm only costs time, but a
missed one rolls back a fleet."""

ILL_CHANCE = ALPHA_FAILING
"""Chance that a healthy tenant shows a sign of failing, hence how many of the control may without it being ill."""

ALPHA_LOST = 0.001
"""Chance that a tenant with half of its usual traffic is said to have lost it. An outage that answers nothing has no errors to count."""

KEPT_SHARE = 0.5
"""A tenant that still gets this share of the traffic it had has not lost it: nights and lunch breaks do as much."""

ALPHA_SHIFT = 0.001
"""Chance that a shift is recorded where there is none, over all looks of a soak."""

SHIFT_LOOKS = (0.5, 0.75, 1.0)
"""Shares of the soak after which the shift is looked for. A rank test has no right to be asked at every tick, so its alpha is divided by
these."""

SHIFT_GROUP = 20
"""Tenants on both sides that the rank test needs: its normal approximation is coarse with fewer."""

_NEGLIGIBLE = 1e-17
"""Terms smaller than this share of their sum no longer change it."""

_ROUNDING = 1e-9
"""1 of 1 has a chance of exactly 0.001; its logarithm comes back a little above. So much is forgiven to a p-value."""

_LEAST_EVENTS = 1e-6
"""Counts are extrapolated differences; what is less than this is a rounding error, not an event."""

_LARGE_MEAN = 10_000.0
"""Above this mean a Poisson tail has too many terms to sum. Wilson and Hilferty's cube root is right to three digits of it, down to 1e-9."""


def is_below(p_value: float, alpha: float) -> bool:
    """Tell whether a p-value is at most alpha, up to rounding."""
    return p_value <= alpha * (1 + _ROUNDING)


def fisher(failing: int, total: int, control_failing: int, control_total: int) -> float:
    """Return the chance that at least `failing` of those who fail are in the wave, if wave and control fail alike (Fisher's exact test).

    Args: 0 <= failing <= total, in the wave and in the control. An empty wave or control gives 1.0: nothing can be compared.
    Cost: one step per term that matters: 3 us for 6 of 500 against 3 of 1,000, 15 us for 200 of 500 against 400; 60 us at 10,000.
    """
    if total <= 0 or control_total <= 0:
        return 1.0
    failed = failing + control_failing
    least, most = max(0, failed - control_total), min(failed, total)

    def log_chance(in_wave: int) -> float:
        in_control = failed - in_wave
        return _log_choose(total, in_wave) + _log_choose(control_total, in_control) - _log_choose(total + control_total, failed)

    def ratio(in_wave: int) -> float:
        """From `in_wave` to one more."""
        return (total - in_wave) * (failed - in_wave) / ((in_wave + 1) * (control_total - failed + in_wave + 1))

    if failing <= least:
        return 1.0
    if ratio(failing - 1) > 1:  # left of the top, where the chances still grow: the other tail is the short one
        return _rest(log_chance(failing - 1), (1 / ratio(x) for x in range(failing - 2, least - 1, -1)))
    return _tail(log_chance(failing), (ratio(x) for x in range(failing, most)))


def is_worse(failing: int, total: int, control_failing: int, control_total: int, metrics_count: int = 1) -> bool:
    """Tell whether more of the wave fail than the control explains; `metrics_count` enforced gates share the risk of a false alarm."""
    return is_below(fisher(failing, total, control_failing, control_total), ALPHA_COMPARISON / max(1, metrics_count))


def binomial_tail(total: int, chance: float, at_least: int) -> float:
    """Return the chance that `at_least` or more of `total` independent events happen, each with `chance`.

    Cost: one step per term that matters; 3 us for the control of 1,000.
    """
    if at_least <= 0:
        return 1.0
    if at_least > total or chance <= 0:
        return 0.0
    if chance >= 1:
        return 1.0
    odds = chance / (1 - chance)

    def log_chance(count: int) -> float:
        return _log_choose(total, count) + count * log(chance) + (total - count) * log1p(-chance)

    if at_least > total * chance:
        return _tail(log_chance(at_least), (odds * (total - x) / (x + 1) for x in range(at_least, total)))
    return _rest(log_chance(at_least - 1), (x / (odds * (total - x + 1)) for x in range(at_least - 1, 0, -1)))


def poisson_tail_below(mean: float, at_most: int) -> float:
    """Return the chance of `at_most` or fewer events where `mean` are expected.

    Cost: one step per term that matters, at most about 800 (60 us); 1 us for a tenant whose traffic is as expected.
    """
    if at_most < 0:
        return 0.0
    if mean <= 0:
        return 1.0
    if mean > _LARGE_MEAN:
        return _wilson_hilferty(mean, at_most)

    def log_chance(count: int) -> float:
        return count * log(mean) - mean - lgamma(count + 1)

    if at_most < mean:
        return _tail(log_chance(at_most), (x / mean for x in range(at_most, 0, -1)))
    return _rest(log_chance(at_most + 1), (mean / x for x in range(at_most + 2, at_most + 2 + int(_LARGE_MEAN))))


def is_ill(control_failing_now: int, control_total: int, chance: float = ILL_CHANCE) -> bool:
    """Tell whether more of the control fail at this tick than healthy tenants do: 1 of 1, 2 of 2 to 45, 3 of 46 to 191.

    Args: chance: that a tenant of the control fails without a reason. For `increase` and `query` the share that was over the limit just
    before the wave, if that is larger.
    """
    return is_below(binomial_tail(control_total, chance, control_failing_now), ALPHA_ILL)


def has_lost_traffic(expected: float, seen: float, dispersion: float = 1.0) -> bool:
    """Tell whether a tenant lost most of its traffic: so few requests are too unlikely even at half of what it had.

    Needs 14 expected requests to say so of none at all, 19 of one, 33 of five; `dispersion` times as many if requests come in bursts (one
    page view is ten of them), see `dispersion.traffic_dispersion_of`.
    Args: expected: the baseline rate times the window, times the drift of the control. seen: extrapolated, so what is left of it is rounded
    up: a part of a request is a request.
    """
    if seen >= KEPT_SHARE * expected:
        return False  # the usual case, without a sum
    return is_below(poisson_tail_below(KEPT_SHARE * expected / dispersion, ceil(seen / dispersion - _LEAST_EVENTS)), ALPHA_LOST)


def score(bad_after: float, total_after: float, bad_before: float, total_before: float) -> float:
    """Return how far a tenant's rate of bad events moved, in standard deviations: above 0 it got worse. 0 where one side has no traffic.

    The signed root of the likelihood ratio that the bad events split between the two windows as the traffic does.
    """
    bad, total = bad_after + bad_before, total_after + total_before
    if min(bad, total_after, total_before) < _LEAST_EVENTS:
        return 0.0
    expected_after, expected_before = bad * total_after / total, bad * total_before / total
    deviance = 2 * (_surprise(bad_after, expected_after) + _surprise(bad_before, expected_before))
    return sqrt(max(0.0, deviance)) * (1 if bad_after > expected_after else -1)


def rank_test(wave_scores: Sequence[float], control_scores: Sequence[float]) -> float:
    """Return the chance that the wave's scores rank so high, or higher, if both groups are alike (Mann and Whitney's U).

    By the normal approximation, corrected for ties and for the step of U: for 20 and more on both sides. 1.0 if a group is empty or all
    scores are the same. Cost: one sort; 0.8 ms for 2,000 scores in all.
    """
    wave_count, control_count = len(wave_scores), len(control_scores)
    count = wave_count + control_count
    ties = Counter(wave_scores)
    ties.update(control_scores)
    if not wave_count or not control_count or len(ties) == 1:
        return 1.0
    rank_of, below = dict[float, float](), 0
    for value in sorted(ties):
        rank_of[value] = below + (ties[value] + 1) / 2  # equal scores share the middle of their ranks
        below += ties[value]
    u = sum(rank_of[value] for value in wave_scores) - wave_count * (wave_count + 1) / 2
    spread = count + 1 - sum(tied**3 - tied for tied in ties.values()) / (count * (count - 1))
    sigma = sqrt(wave_count * control_count / 12 * spread)
    return _normal_above((u - wave_count * control_count / 2 - 0.5) / sigma)


def _log_choose(total: int, count: int) -> float:
    return lgamma(total + 1) - lgamma(count + 1) - lgamma(total - count + 1)


def _tail(log_first: float, ratios: Iterable[float]) -> float:
    """Sum terms that fall: the first, and each next one by its ratio to the one before."""
    term = total = 1.0
    for ratio in ratios:
        term *= ratio
        total += term
        if term < total * _NEGLIGIBLE:
            break
    return min(1.0, exp(log_first) * total)


def _rest(log_first: float, ratios: Iterable[float]) -> float:
    """Return what the other tail leaves; used where it leaves much, so that nothing cancels."""
    return max(0.0, 1.0 - _tail(log_first, ratios))


def _surprise(seen: float, expected: float) -> float:
    return seen * log(seen / expected) if seen >= _LEAST_EVENTS else 0.0


def _normal_above(z: float) -> float:
    return 0.5 * erfc(z / sqrt(2))


def _wilson_hilferty(mean: float, at_most: int) -> float:
    """Fewer than `shape` events come before `mean` if the sum of that many exponential waits is longer than it; its cube root is normal."""
    shape = at_most + 1
    return _normal_above(3 * sqrt(shape) * ((mean / shape) ** (1 / 3) - 1 + 1 / (9 * shape)))
