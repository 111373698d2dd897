"""What simulated tenants do: how many requests they serve, and how many of them fail, tick by tick.

Requests are Poisson; failures come in bursts of three on average (one user who retries, one bad batch), which makes them far less even
than chance and is what naive thresholds stumble over. Every tenant has random numbers of its own, so what it does depends on the seed and
on its name, and neither on who asks first nor on what the gates ask for.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import cached_property
from math import exp, log, sqrt
from random import Random

TICK = timedelta(seconds=30)
TICK_SECONDS = TICK.total_seconds()
START = datetime(2026, 1, 1, 12, tzinfo=UTC)
"""When the evidence of the wave begins: tick 0."""

FIRST_WRITE_TICK = -6
HISTORY_STEPS, HISTORY_STEP_TICKS = 12, 10
"""An hour before the first write, kept in twelve steps of five minutes."""

FIRST_TICK = FIRST_WRITE_TICK - HISTORY_STEPS * HISTORY_STEP_TICKS

LEAST_RATE, MOST_RATE = 0.01, 10.0  # requests per second
ERRORS_MEDIAN, ERRORS_SIGMA, ERRORS_MOST = 0.001, 1.0, 0.2
BURST_MEAN = 3.0
LIMIT = 0.01
MOST_FAILING = 0.95  # of a share that something multiplies
LARGE_MEAN = 50.0  # from here on a Poisson number is as good as normal


@dataclass(frozen=True, slots=True)
class Stress:
    """What befalls a tenant during one tick.

    Its usual share of errors times `factor`, at least `share` of all requests, and at least `limits` times what it is allowed.
    """

    factor: float = 1.0
    share: float = 0.0
    limits: float = 0.0

    def failing(self, usual: float) -> float:
        """Return the share of requests that fail."""
        multiplied = usual if self.factor == 1.0 else min(MOST_FAILING, usual * self.factor)
        return max(multiplied, self.share, min(1.0, self.limits * allowed(usual)))

    def with_(self, other: Stress) -> Stress:
        """Return both together: two independent causes, so what they add to the usual share adds up."""
        return Stress(self.factor + other.factor - 1.0, max(self.share, other.share), max(self.limits, other.limits))


CALM = Stress()


def allowed(usual: float) -> float:
    """Return the share of errors that a tenant is allowed: the limit, or twice its usual share if that is more."""
    return max(LIMIT, 2.0 * usual)


@dataclass(frozen=True, slots=True)
class Population:
    """What tenants are drawn from. `rates`: requests per second, log-uniform between the two."""

    rates: tuple[float, float] = (LEAST_RATE, MOST_RATE)
    burst_mean: float = BURST_MEAN


@dataclass(frozen=True)
class Series:
    """The counters of one tenant, cumulative: at the borders of the history's steps, and then at every tick."""

    totals: Sequence[float]
    bads: Sequence[float]

    def between(self, values: Sequence[float], start_tick: float, end_tick: float) -> float:
        """Return how much one of the two grew."""
        return self._at(values, end_tick) - self._at(values, start_tick)

    def _at(self, values: Sequence[float], tick: float) -> float:
        """Return a counter's value; between two kept values it grows evenly."""
        place = tick - FIRST_WRITE_TICK + HISTORY_STEPS if tick >= FIRST_WRITE_TICK else (tick - FIRST_TICK) / HISTORY_STEP_TICKS
        whole = int(place)
        if whole == place:
            return values[whole]
        return values[whole] + (place - whole) * (values[whole + 1] - values[whole])


@dataclass(frozen=True)
class Tenant:
    """One tenant of a simulated fleet. `stresses`: for each tick after tick 0, in order."""

    name: str
    seed: str
    population: Population
    stresses: Sequence[Stress]

    @cached_property
    def series(self) -> Series:
        """Return what it does. Cost: 0.1 ms, once."""
        random = Random(f"{self.seed}/{self.name}")
        low, high = self.population.rates
        rate = exp(random.uniform(log(low), log(high)))
        usual = min(ERRORS_MOST, ERRORS_MEDIAN * exp(random.gauss(0.0, ERRORS_SIGMA)))
        totals, bads = [0.0], [0.0]

        def pass_time(tick_count: int, failing: float) -> None:
            events = rate * TICK_SECONDS * tick_count
            bad = bursts(random, events * failing, self.population.burst_mean)
            totals.append(totals[-1] + poisson(random, events * (1.0 - failing)) + bad)
            bads.append(bads[-1] + bad)

        for _ in range(HISTORY_STEPS):
            pass_time(HISTORY_STEP_TICKS, usual)
        for _ in range(-FIRST_WRITE_TICK):
            pass_time(1, usual)
        for stress in self.stresses:
            pass_time(1, stress.failing(usual))
        return Series(totals, bads)


def poisson(random: Random, mean: float) -> int:
    """Return a Poisson number, by inversion; from a mean of 50 on a rounded normal one."""
    if mean > LARGE_MEAN:
        return max(0, round(random.gauss(mean, sqrt(mean))))
    left, count, chance = random.random(), 0, exp(-mean)
    while left > chance and count < 4 * LARGE_MEAN:
        left -= chance
        count += 1
        chance *= mean / count
    return count


def bursts(random: Random, mean: float, burst_mean: float) -> int:
    """Return how many events come in bursts of geometric size, `mean` in all on average."""
    count = poisson(random, mean / burst_mean)
    if burst_mean <= 1.0:
        return count
    if count > LARGE_MEAN:
        return max(count, round(random.gauss(count * burst_mean, sqrt(count * burst_mean * (burst_mean - 1.0)))))
    ends = log(1.0 - 1.0 / burst_mean)
    return sum(1 + int(log(1.0 - random.random()) / ends) for _ in range(count))
