"""A short run of `hack/bench gates`: healthy waves are never failed, gross regressions are found, and the same seed tells the same story."""

from __future__ import annotations

from collections import Counter
from random import Random
from statistics import fmean, pvariance

import pytest
from benchmark.gates.figures import CellFigures, figures
from benchmark.gates.matrix import run_counts, simulate
from benchmark.gates.naive import first_above, threshold_for
from benchmark.gates.running import run
from benchmark.gates.scenarios import AWAY, HEALTHY, OUTAGE, RESTARTS, WHOLE, X50, Cell, cells
from benchmark.gates.traffic import CALM, FIRST_TICK, Population, Stress, Tenant, bursts, poisson

SEED = "short"
CONTROL = 100
WELL = (
    *(Cell(scenario, size, budget, CONTROL) for scenario in (HEALTHY, RESTARTS, OUTAGE) for size, budget in ((3, 0), (10, 0), (40, 1))),
    Cell(AWAY, 10, 0, CONTROL),
)
ILL = tuple(Cell(X50, size, budget, CONTROL) for size, budget in ((10, 0), (40, 1)))
GROSS = tuple(Cell(scenario, 20, 0, CONTROL) for scenario in WHOLE if scenario.size is not None and scenario.size >= 10)


@pytest.fixture(scope="module")
def found() -> dict[Cell, CellFigures]:
    """Return the figures of some 60 waves."""
    print(f"seed {SEED}")
    return {one.cell: one for one in figures(simulate((*WELL, *ILL, *GROSS), 60, SEED))}


@pytest.mark.parametrize("cell", WELL, ids=lambda cell: cell.name)
def test_a_wave_is_not_failed_for_what_is_not_its_fault(found: dict[Cell, CellFigures], cell: Cell) -> None:
    """Quiet tenants, bursts of errors, an outage of everything, no Prometheus, counters that begin anew: delay at most."""
    assert [one.reason for one in found[cell].outcomes if one.failed_tick is not None] == []


@pytest.mark.parametrize("cell", [*ILL, *GROSS], ids=lambda cell: cell.name)
def test_a_gross_regression_is_never_promoted(found: dict[Cell, CellFigures], cell: Cell) -> None:
    """Fifty times the usual errors, or ten times the limit."""
    assert found[cell].passed_share == 0


@pytest.mark.parametrize("cell", [ILL[-1], *GROSS], ids=lambda cell: cell.name)
def test_a_gross_regression_is_found_within_minutes(found: dict[Cell, CellFigures], cell: Cell) -> None:
    """The median, over all runs."""
    seconds = found[cell].ours.all_seconds
    assert seconds is not None
    assert seconds <= 240


def test_healthy_waves_are_promoted(found: dict[Cell, CellFigures]) -> None:
    """A gate that lets nobody pass would find everything."""
    assert found[WELL[2]].passed_share > 0.5


def test_a_naive_gate_fails_healthy_waves(found: dict[Cell, CellFigures]) -> None:
    """The numbers are hard enough to tell a good gate from a simple one."""
    assert sum(found[cell].naive["ratio"].failed_count for cell in WELL[:3]) > 0


def test_the_same_seed_tells_the_same_story() -> None:
    """On however many processes, and in whatever order."""
    cell = Cell(X50, 3, 0, 5)
    assert simulate([cell], 2, "a", jobs=2)[cell] == [run(cell, f"a/{cell.name}/0"), run(cell, f"a/{cell.name}/1")]
    assert run(cell, "a") != run(cell, "b")


def test_the_whole_matrix_covers_what_it_promises() -> None:
    """At least 840 waves over fleets of 20 to 2,000 tenants, and every run of a cell once, at least."""
    matrix = cells()
    assert Counter(cell.name for cell in matrix).most_common(1)[0][1] == 1
    assert min(cell.wave_size + cell.others_count for cell in matrix if cell.others_count) <= 20
    assert max(cell.wave_size + cell.others_count for cell in matrix) >= 2000
    assert sum(run_counts(matrix, 840).values()) >= 840
    assert min(run_counts(matrix, 1).values()) == 1


@pytest.mark.parametrize("mean", [0.2, 5.0, 49.0, 60.0])
def test_numbers_of_requests_are_poisson(mean: float) -> None:
    """Mean and variance are the same, also where a normal number stands in."""
    random = Random(1)
    numbers = [poisson(random, mean) for _ in range(5000)]
    assert fmean(numbers) == pytest.approx(mean, rel=0.05)
    assert pvariance(numbers) == pytest.approx(mean, rel=0.1)


@pytest.mark.parametrize("mean", [2.0, 300.0])
def test_errors_come_in_bursts(mean: float) -> None:
    """Of geometric size with mean 3: five times as uneven as chance."""
    random = Random(1)
    numbers = [bursts(random, mean, 3.0) for _ in range(20000)]
    assert fmean(numbers) == pytest.approx(mean, rel=0.05)
    assert pvariance(numbers) / mean == pytest.approx(5.0, rel=0.1)


def test_a_tenant_is_the_same_whoever_looks_first() -> None:
    """Its counters never fall, and depend on its name and the seed alone."""
    tenants = [Tenant(name, "a", Population(), [CALM, Stress(share=0.5), CALM]) for name in ("x", "y")]
    for tenant in (*tenants, *reversed(tenants)):
        series = tenant.series
        assert series == Tenant(tenant.name, "a", Population(), [CALM, Stress(share=0.5), CALM]).series
        assert series.between(series.totals, FIRST_TICK, 3) == series.totals[-1]
        assert list(series.bads) == sorted(series.bads)


def test_thresholds_are_tuned_to_a_number_of_false_alarms() -> None:
    """The lowest one with so many runs above it."""
    runs = [(0.1, 0.5), (0.2, 0.3), (0.4, 0.1)]
    assert [sum(first_above(scores, threshold_for(runs, allowed)) is not None for scores in runs) for allowed in range(4)] == [0, 1, 2, 3]
