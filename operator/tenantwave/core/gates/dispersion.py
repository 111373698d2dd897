"""Errors come in bursts: how many times more uneven than independent events are they?

Counts are divided by this dispersion before a test sees them, as if each burst were one event. It is measured over many tenants and ticks
that no upgrade touches (the control, or the hour before), each tenant against its own rate, so that tenants may differ from each other.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from statistics import median

from .counts import Counts

LEAST = 1.0
"""More even than chance is a coincidence, or a periodic probe: no reason to count an event more than once."""

LARGEST = 50.0
"""A dispersion beyond this would leave no evidence of anything: a handful of wild tenants must not blind the gate for all."""

MIN_BAD_EVENTS = 5
"""A tenant with fewer bad events says nothing about their bursts."""

MIN_FREEDOM = 30
"""With fewer degrees of freedom the estimate itself is off by a quarter and more."""


TRAFFIC_DISPERSION = 8.0
"""How many requests come at once, until the control shows it: people open pages, and a page is about ten requests. Without this, 10 of 100
healthy tenants with little traffic are said to have lost it, with it none; a tenant of 1 request a second that falls silent is still
found at the first look (110 expected requests)."""

FEWEST_EXPECTED, MOST_EXPECTED = 14.0, 140.0
"""Usual requests in the window of those who show how uneven traffic is. With fewer there is nothing to lose; with more it is the hour of
the day that differs, not chance."""

MIN_TENANTS = 20
"""Fewer tenants show no dispersion of traffic."""

_MEDIAN_OF_CHI2 = 0.455
"""The median of X2 with one degree of freedom."""


@dataclass(frozen=True, slots=True)
class Spread:
    """What one tenant's ticks say about bursts, in four sums, so that no tick need be kept.

    Of the ticks with traffic: how many (`cells`), their bad events and all events, and the sum of `bad * bad / total` of each.
    """

    cells: int = 0
    bad: float = 0.0
    total: float = 0.0
    squares: float = 0.0

    def plus(self, new: Counts) -> Spread:
        """Return the spread with one more tick: the events that are new in it, see `newly`. A tick without traffic says nothing."""
        total = new.total
        if total <= 0:
            return self
        bad = min(max(0.0, new.bad), total)
        return Spread(self.cells + 1, self.bad + bad, self.total + total, self.squares + bad * bad / total)

    @property
    def unevenness(self) -> float:
        """Return Pearson's X2 of the ticks against the tenant's own rate. Independent events give about `cells - 1`.

        For the rate r = bad / total, the sum of (k - n r)^2 / (n r (1 - r)) over ticks is (squares - bad * r) / (r (1 - r)).
        """
        rate = self.bad / self.total
        return max(0.0, self.squares - self.bad * rate) / (rate * (1 - rate))

    @property
    def is_telling(self) -> bool:
        """Tell whether there is something to compare: two ticks, enough bad events, and good ones, too."""
        return self.cells >= 2 and MIN_BAD_EVENTS <= self.bad < self.total * (1 - 1e-9)


def newly(before: Counts | None, now: Counts) -> Counts:
    """Return what happened between two ticks of one window, as counts with 0 <= bad <= total.

    Both are extrapolated to the edges of the window, a little differently at each tick. That scales bad and total alike, which leaves
    the distance from the tenant's own rate as it is; where it makes a difference negative, nothing happened.
    """
    if before is None:
        return now
    total = max(0.0, now.total - before.total)
    return Counts(min(max(0.0, now.bad - before.bad), total), total)


def dispersion_of(spreads: Iterable[Spread]) -> float | None:
    """Return the dispersion that tenants have in common, 1 to 50. None if they are too few to tell: then `constants.DISPERSION` holds.

    X2 / df over the tenants with 5 or more bad events, where df is the number of their ticks less the number of tenants. Tenants who saw
    less than about five bursts are held against a rate that those bursts made, so it then comes out too small: 34 rather than 59 for two
    bursts of 30 each. Of such tenants at their limit 6 in 1,000 are latched, rather than 1 or 2; an hour of baseline shows the 50 that it
    is cut to. Estimates that are right there (weighted by requests) let one wild tenant of much traffic decide for all.
    Cost: 1 us a tenant.
    """
    telling = [spread for spread in spreads if spread.is_telling]
    freedom = sum(spread.cells - 1 for spread in telling)
    if freedom < MIN_FREEDOM:
        return None
    return max(LEAST, min(LARGEST, sum(spread.unevenness for spread in telling) / freedom))


def traffic_dispersion_of(tenants: Iterable[tuple[float, float]]) -> float | None:
    """Return how bursty requests are, 1 or more, by tenants that no upgrade touches: (expected, seen) requests of each in this window.

    The expected ones include the drift. The median of (seen - expected)^2 / expected, so that tenants who are idle or wild at this hour do
    not count for more than others; it also holds what the baseline of an hour is off by. None if fewer than 20 tenants have the traffic
    to tell: then `TRAFFIC_DISPERSION` holds. Cost: 0.3 us a tenant.
    """
    distances = [(seen - expected) ** 2 / expected for expected, seen in tenants if FEWEST_EXPECTED <= expected <= MOST_EXPECTED]
    return max(LEAST, median(distances) / _MEDIAN_OF_CHI2) if len(distances) >= MIN_TENANTS else None
