"""What befalls a simulated wave and the rest of its fleet: the cells of the benchmark.

The verdict should be Failing where the release makes it worse, and nowhere else, whatever happens to the fleet or to Prometheus.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from math import ceil
from random import Random

from benchmark.gates.traffic import BURST_MEAN, CALM, LEAST_RATE, MOST_RATE, TICK_SECONDS, Population, Stress

SOAK_TICKS = 20
AWAY_TICKS = 10
FIRST_STRESSED_TICK, LAST_STRESSED_TICK = 1, 14
"""What has nothing to do with the release begins at one of these ticks, at random."""


@dataclass(frozen=True, slots=True)
class Story:
    """What happens in one run.

    Stresses by tick, for the tenants of the wave that the release hurts and for everybody else. `hurt_count`: so many of the wave's tenants.
    `away`: ticks at which Prometheus is gone.
    """

    hurt: Sequence[Stress]
    others: Sequence[Stress]
    hurt_count: int = 0
    away: frozenset[int] = frozenset()


@dataclass(frozen=True, slots=True)
class Trouble:
    """Something that has nothing to do with the release, and begins at a random tick: to `stress` in `rise_ticks`, for `ticks` in all."""

    stress: Stress
    ticks: int = 1_000_000
    rise_ticks: int = 1

    def course(self, begin: int, ticks: int) -> list[Stress]:
        """Return what everybody suffers from it at each tick."""
        return [self._at(tick - begin) if begin <= tick < begin + self.ticks else CALM for tick in range(1, ticks + 1)]

    def _at(self, since: int) -> Stress:
        risen = min(1.0, (since + 1) / self.rise_ticks)
        return Stress(1.0 + risen * (self.stress.factor - 1.0), risen * self.stress.share)


@dataclass(frozen=True, slots=True)
class Scenario:
    """A kind of story.

    `release`: what it does to the tenants that it hurts, from the first tick on: those are `hurt_share` of the wave, or `one_hurt`. `trouble`:
    of the whole fleet. `is_away`: Prometheus is gone for five minutes. `restarts`: counters begin anew at random. `extra_ticks`: how much
    longer than a healthy soak the run may take. `size`: of the regression in multiples of what a tenant is allowed, where it is stated so.
    """

    name: str
    release: Stress = CALM
    hurt_share: float = 1.0
    one_hurt: bool = False
    trouble: Trouble = Trouble(CALM)
    is_away: bool = False
    restarts: bool = False
    extra_ticks: int = 0
    size: int | None = None
    burst_mean: float = BURST_MEAN

    @property
    def is_regression(self) -> bool:
        """Tell whether the release makes it worse, so that the wave should fail."""
        return self.release != CALM

    def tell(self, random: Random, wave_size: int, ticks: int) -> Story:
        """Draw a story for a wave of so many tenants and so many ticks."""
        begin = random.randint(FIRST_STRESSED_TICK, LAST_STRESSED_TICK)
        others = self.trouble.course(begin, ticks)
        hurt_count = 1 if self.one_hurt else ceil(self.hurt_share * wave_size) if self.is_regression else 0
        away = frozenset(range(begin, begin + AWAY_TICKS)) if self.is_away else frozenset[int]()
        return Story([self.release.with_(other) for other in others], others, hurt_count, away)


INCIDENT_TROUBLE = Trouble(Stress(30.0), ticks=6)
OUTAGE_TROUBLE = Trouble(Stress(share=0.95), ticks=6)

HEALTHY = Scenario("healthy")
INCIDENT = Scenario("incident", trouble=INCIDENT_TROUBLE)
SLOW = Scenario("slow", trouble=Trouble(Stress(50.0), rise_ticks=10))
OUTAGE = Scenario("outage", trouble=OUTAGE_TROUBLE)
AFTER_INCIDENT = Scenario("incident and after", trouble=INCIDENT_TROUBLE, extra_ticks=24)
AFTER_OUTAGE = Scenario("outage and after", trouble=OUTAGE_TROUBLE, extra_ticks=24)
AWAY = Scenario("prometheus away", is_away=True, extra_ticks=34)  # ten lost ticks are a fifth, all that minCoverage allows, after fifty
RESTARTS = Scenario("counter resets", restarts=True)
X10 = Scenario("wave x10", Stress(10.0))
X50 = Scenario("wave x50", Stress(50.0))
FIFTH = Scenario("20% x100", Stress(100.0), hurt_share=0.2)
X50_INCIDENT = Scenario("x50 in incident", Stress(50.0), trouble=INCIDENT_TROUBLE, extra_ticks=24)

SIZES = (2, 5, 10, 50, 100)
"""Regressions in multiples of what a tenant is allowed."""

WHOLE = tuple(Scenario(f"wave at {size}x limit", Stress(limits=size), size=size) for size in SIZES)
ALONE = tuple(Scenario(f"one at {size}x limit", Stress(limits=size), one_hurt=True, size=size) for size in SIZES)
TRAFFIC = (1, 10, 100, 1_000, 10_000)
"""Requests of a tenant in a tick."""
SHIFT = Scenario("shift x3", Stress(3.0), burst_mean=10.0)
NO_SHIFT = Scenario("shift incident", trouble=INCIDENT_TROUBLE, burst_mean=10.0)


@dataclass(frozen=True, slots=True)
class Cell:
    """One field of the table: runs that differ only in their random numbers.

    `others_count`: tenants of the fleet that are not in the wave, of whom the product chooses its control. `weight`: how many runs this
    cell gets for one of another's.
    """

    scenario: Scenario
    wave_size: int
    budget: int
    others_count: int
    rates: tuple[float, float] = (LEAST_RATE, MOST_RATE)
    traffic: str = ""
    weight: float = 1.0

    @property
    def name(self) -> str:
        """Return what tells this cell from all others."""
        traffic = f", {self.traffic}" if self.traffic else ""
        return f"{self.scenario.name}, wave {self.wave_size} of {self.wave_size + self.others_count}{traffic}"

    @property
    def ticks(self) -> int:
        """Return how many ticks a run may take at most: first look at tick 4, then the soak, and one more for the answers."""
        return 4 + SOAK_TICKS + 1 + self.scenario.extra_ticks

    @property
    def population(self) -> Population:
        """Return what its tenants are drawn from."""
        return Population(self.rates, self.scenario.burst_mean)


QUIET = "0.01 req/s"
WAVES = ((3, 0), (10, 0), (50, 1), (200, 4), (500, 10))
"""Tenants of a wave, and how many of them may fail."""

FLEET = 2000
MAIN = (HEALTHY, INCIDENT, SLOW, OUTAGE, X10, X50, FIFTH, X50_INCIDENT)
SMALL_CONTROLS = (100, 17, 5, 0)
"""17 with a wave of 3 is the smallest fleet, of 20 tenants."""


def cells() -> tuple[Cell, ...]:
    """Return the whole matrix."""
    return (*_main(), *_small_controls(), *_disturbed(), *_sizes(), *_pools(), *_shifts())


def _main() -> Iterator[Cell]:
    for scenario in MAIN:
        for size, budget in WAVES:
            yield Cell(scenario, size, budget, FLEET - size)


def _small_controls() -> Iterator[Cell]:
    for control in SMALL_CONTROLS:
        for scenario in (HEALTHY, INCIDENT, OUTAGE):
            for size, budget in WAVES[:3]:
                yield Cell(scenario, size, budget, control)


def _disturbed() -> Iterator[Cell]:
    for scenario in (AWAY, RESTARTS, AFTER_INCIDENT, AFTER_OUTAGE):
        for size, budget in WAVES[1:4]:
            yield Cell(scenario, size, budget, 100)


def _sizes() -> Iterator[Cell]:
    """Yield regressions by their size: of the whole wave with traffic of all kinds, and of one tenant by its traffic."""
    mixed = (TRAFFIC[0] / TICK_SECONDS, TRAFFIC[-1] / TICK_SECONDS)
    for scenario in (HEALTHY, INCIDENT, OUTAGE, *WHOLE):
        for size in (10, 50, 200):
            yield Cell(scenario, size, 0, 200, mixed, f"{TRAFFIC[0]:,}-{TRAFFIC[-1]:,} requests a tick")
    for scenario in (HEALTHY, INCIDENT, OUTAGE, *ALONE):
        for requests in TRAFFIC:
            yield Cell(scenario, 10, 0, 100, (requests / TICK_SECONDS,) * 2, f"{requests:,} requests a tick")


def _pools() -> Iterator[Cell]:
    quiet = (0.01, 0.01)
    for size in (100, 20):
        for scenario in (HEALTHY, X50):
            yield Cell(scenario, size, size // 50, 200, quiet, QUIET)


def _shifts() -> Iterator[Cell]:
    for scenario in (SHIFT, NO_SHIFT):
        yield Cell(scenario, 200, 4, FLEET, weight=0.5)
