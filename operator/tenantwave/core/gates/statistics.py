"""Sequential tests of an error rate: how sure are we, having looked as often as we liked?

An e-value is a bet against the hypothesis that starts with 1 and is fair while the hypothesis holds. So the chance that it ever reaches
1/a is at most
a, at whatever moments one looks (Ville's inequality). The bets here are mixtures of likelihood ratios over a grid of rates.
Left for later, beside these: the comparison of a wave with its control (Fisher), the dispersion from the control, and the rank test of
a shift.
"""

from __future__ import annotations

from functools import lru_cache
from math import exp, log, log1p

from .constants import BASELINE_PRIOR, BASELINE_TOLERANCE, GRID, INDIFFERENCE
from .counts import Counts

HIGHEST_BET = 0.95
HIGHEST_ALLOWED = 0.5
HIGHEST_UNACCEPTABLE = 0.9
LOWEST_RATE = 1e-9  # a limit of 0 is judged as one in a thousand million: its logarithm must exist


def log_e_above(bad: float, total: float, allowed: float) -> float:
    """Return the logarithm of the evidence that the rate is above `allowed`. At `allowed` it reaches log(1/a) with a chance of at most
    a, ever.

    Args: counts with 0 <= bad <= total, divided by the dispersion; `allowed` in (0, 0.95).
    """
    return _mixture(bad, total, _odds_above(max(allowed, LOWEST_RATE)))


def log_e_below(bad: float, total: float, unacceptable: float) -> float:
    """Return the logarithm of the evidence that the rate is below `unacceptable`; the mirror image of `log_e_above`."""
    return _mixture(bad, total, _odds_below(unacceptable))


_Odds = tuple[tuple[float, float], ...]
"""For each bet what a bad and what a good event win: the logarithms of the likelihood ratios."""


@lru_cache(maxsize=4096)
def _odds_above(allowed: float) -> _Odds:
    bets = {min(HIGHEST_BET, allowed * factor) for factor in GRID}
    return _odds(allowed, sorted(bet for bet in bets if bet > allowed))


@lru_cache(maxsize=4096)
def _odds_below(unacceptable: float) -> _Odds:
    return _odds(unacceptable, sorted(unacceptable / factor for factor in GRID))


def _odds(hypothesis: float, bets: list[float]) -> _Odds:
    return tuple((log(bet / hypothesis), log1p(-bet) - log1p(-hypothesis)) for bet in bets)


def _mixture(bad: float, total: float, odds: _Odds) -> float:
    if not odds:
        return 0.0  # nothing to bet on (a limit of 95% and more): no evidence, ever
    good = total - bad
    gains = [bad * win_bad + good * win_good for win_bad, win_good in odds]
    top = max(gains)
    return top + log(sum([exp(gain - top) for gain in gains]) / len(gains))


def allowed_rate(baseline: Counts | None, fleet_rate: float, limit: float) -> float:
    """Return the rate up to which a tenant is not blamed: the limit, or twice what it had before the upgrade, whichever is more.

    `fleet_rate` stands in for what a short baseline cannot say. Without a baseline the limit alone counts.
    """
    if baseline is None:
        return limit
    own = (baseline.bad + BASELINE_PRIOR * fleet_rate) / (baseline.total + BASELINE_PRIOR)
    return max(limit, min(HIGHEST_ALLOWED, BASELINE_TOLERANCE * own))


def unacceptable_rate(allowed: float) -> float:
    """Return the rate that a Healthy tenant is shown to be below."""
    return min(HIGHEST_UNACCEPTABLE, INDIFFERENCE * max(allowed, LOWEST_RATE))


def pooled_rate(baselines: list[Counts]) -> float:
    """Return the rate of all baselines together, shrunk a little towards 0, so that few requests say little."""
    return sum(counts.bad for counts in baselines) / (sum(counts.total for counts in baselines) + BASELINE_PRIOR)
