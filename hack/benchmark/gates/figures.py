"""What the runs of a cell show together, for the product and for the naive gates on the same numbers."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from statistics import median_low
from typing import Any

from benchmark.gates.naive import first_above, threshold_for
from benchmark.gates.running import Outcome
from benchmark.gates.scenarios import FLEET, SOAK_TICKS, Cell
from benchmark.gates.traffic import LIMIT, TICK_SECONDS

RATIO, WAVE_RATIO, CHECKS, READINESS = "ratio", "ratio of the wave", "checks", "readiness"
TUNED = ", tuned"
MILDLY_TUNED = ", tuned on healthy fleets and incidents"
TUNED_ON = {TUNED: ("healthy", "incident", "slow", "outage"), MILDLY_TUNED: ("healthy", "incident")}
NEEDED = {TUNED: {"healthy", "incident", "outage"}, MILDLY_TUNED: {"healthy", "incident"}}
"""Scenarios in which nothing is wrong with the release, and which of them a cell needs beside it.

A tuned gate has the threshold at which it fails as many of these waves as we do."""


@dataclass(frozen=True, slots=True)
class Detection:
    """How often a gate failed the wave, and when. `seconds`: the median over those that it failed; None if it failed none."""

    failed_count: int
    run_count: int
    seconds: float | None
    all_seconds: float | None
    """The median over all runs, where one that was never failed counts as endless; None if that is the median."""

    @property
    def share(self) -> float:
        """Return the share of runs that it failed."""
        return self.failed_count / self.run_count if self.run_count else 0.0


@dataclass(frozen=True, slots=True)
class CellFigures:
    """All runs of one cell.

    `ours`: within the whole soak; `ours_early`: within the first 20 ticks, as the design page counts. `naive`: by gate. `thresholds`: those
    at which the tuned gates have our false alarms.
    """

    cell: Cell
    outcomes: Sequence[Outcome]
    ours: Detection
    ours_early: Detection
    naive: Mapping[str, Detection]
    thresholds: Mapping[str, float]

    @property
    def passed_share(self) -> float:
        """Return the share of waves that were promoted: good for a healthy one, a missed regression for another."""
        return _share(self.outcomes, lambda one: one.passed_tick is not None)

    @property
    def held_share(self) -> float:
        """Return the share of waves that were neither failed nor promoted when the time was over: they wait for more evidence."""
        return _share(self.outcomes, lambda one: one.passed_tick is None and one.failed_tick is None)

    @property
    def incident_share(self) -> float:
        """Return the share of runs in which a fleet incident was declared."""
        return _share(self.outcomes, lambda one: one.incident_tick is not None)

    @property
    def shift_share(self) -> float:
        """Return the share of runs in which a shift was recorded."""
        return _share(self.outcomes, lambda one: one.has_shift)

    @property
    def taken_back_share(self) -> float:
        """Return the share of the wave's tenants that were failed one by one."""
        return sum(one.taken_back_count for one in self.outcomes) / (len(self.outcomes) * self.cell.wave_size)

    @property
    def spared_taken_back_count(self) -> int:
        """Return how many tenants were failed one by one that the release had not hurt."""
        return sum(one.spared_taken_back_count for one in self.outcomes)

    def document(self) -> dict[str, Any]:
        """Return what JSON has of it."""
        return {
            "name": self.cell.name,
            "scenario": self.cell.scenario.name,
            "is_regression": self.cell.scenario.is_regression,
            "wave_size": self.cell.wave_size,
            "failure_budget": self.cell.budget,
            "others_count": self.cell.others_count,
            "waves": len(self.outcomes),
            "failed": self.ours.share,
            "failed_within_20_ticks": self.ours_early.share,
            "median_seconds": self.ours.seconds,
            "passed": self.passed_share,
            "held": self.held_share,
            "incidents": self.incident_share,
            "shifts": self.shift_share,
            "tenants_taken_back": self.taken_back_share,
            "spared_tenants_taken_back": self.spared_taken_back_count,
            "naive": {name: {"failed": one.share, "median_seconds": one.seconds} for name, one in self.naive.items()},
            "naive_thresholds": dict(self.thresholds),
        }


def figures(runs: Mapping[Cell, Sequence[Outcome]]) -> list[CellFigures]:
    """Return the figures of all cells. The naive ratios are tuned for each size of wave and kind of traffic on its own."""
    return [_figures(cell, outcomes, _thresholds(cell, runs)) for cell, outcomes in runs.items()]


def _figures(cell: Cell, outcomes: Sequence[Outcome], thresholds: Mapping[str, float]) -> CellFigures:
    naive = {
        RATIO: _detection(first_above(one.naive.tenant_scores, LIMIT) for one in outcomes),
        WAVE_RATIO: _detection(first_above(one.naive.wave_scores, LIMIT) for one in outcomes),
        CHECKS: _detection(one.naive.checks_tick for one in outcomes),
        READINESS: _detection(None for _ in outcomes),
    }
    for name, threshold in thresholds.items():
        scores = (one.naive.wave_scores if name.startswith(WAVE_RATIO) else one.naive.tenant_scores for one in outcomes)
        naive[name] = _detection(first_above(each, threshold) for each in scores)
    early = (one.failed_tick if one.failed_tick is not None and one.failed_tick <= SOAK_TICKS else None for one in outcomes)
    return CellFigures(cell, outcomes, _detection(one.failed_tick for one in outcomes), _detection(early), naive, thresholds)


def _thresholds(cell: Cell, runs: Mapping[Cell, Sequence[Outcome]]) -> dict[str, float]:
    """Return the ratios at which the naive gates have as many false alarms as we have, by the gate's name."""
    found = {}
    for kind, scenarios in TUNED_ON.items():
        alike = [
            outcome
            for other, outcomes in runs.items()
            if other.scenario.name in scenarios and _group(other) == _group(cell)
            for outcome in outcomes
        ]
        known = {other.scenario.name for other in runs if _group(other) == _group(cell)}
        if known >= NEEDED[kind]:
            ours = sum(one.failed_tick is not None for one in alike)
            found[RATIO + kind] = threshold_for([one.naive.tenant_scores for one in alike], ours)
            found[WAVE_RATIO + kind] = threshold_for([one.naive.wave_scores for one in alike], ours)
    return found


def _group(cell: Cell) -> tuple[int, int, int, str]:
    others = FLEET if cell.others_count >= FLEET - cell.wave_size else cell.others_count
    return cell.wave_size, cell.budget, others, cell.traffic


def _detection(ticks: Iterable[int | None]) -> Detection:
    found = list(ticks)
    failed = [tick for tick in found if tick is not None]
    everybody = median_low([float("inf") if tick is None else tick for tick in found]) if found else float("inf")
    return Detection(
        failed_count=len(failed),
        run_count=len(found),
        seconds=TICK_SECONDS * median_low(failed) if failed else None,
        all_seconds=TICK_SECONDS * everybody if everybody < float("inf") else None,
    )


def _share(outcomes: Sequence[Outcome], holds: Callable[[Outcome], bool]) -> float:
    return sum(map(holds, outcomes)) / len(outcomes) if outcomes else 0.0
