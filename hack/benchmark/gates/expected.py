"""What the benchmark must show: the table of the design page, and how far a run may be from it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from benchmark.gates.figures import MILDLY_TUNED, RATIO, TUNED, WAVE_RATIO, CellFigures, Detection
from benchmark.gates.scenarios import FLEET, QUIET

DETECTION = {
    "wave x10": {3: 0.07, 10: 0.31, 50: 0.58, 200: 0.88, 500: 0.98},
    "wave x50": {3: 0.61, 10: 0.98, 50: 1.0, 200: 1.0, 500: 1.0},
    "20% x100": {3: 0.37, 10: 0.63, 50: 0.94, 200: 1.0, 500: 1.0},
    "x50 in incident": {3: 0.60, 10: 0.99, 50: 1.0, 200: 1.0, 500: 1.0},
}
"""Share of waves that became Failing within 20 ticks, by scenario and size of the wave; control of 1,000."""

POOLS = {100: 1.0, 20: 0.73}
"""Share of waves of quiet tenants, all x50, that became Failing by the end of the soak: together, as a pool."""

FALSE_ALARMS = {
    "healthy": {3: 0.0, 10: 0.0, 50: 0.0, 200: 0.0, 500: 0.0},
    "incident": {3: 0.005, 10: 0.005, 50: 0.0, 200: 0.0, 500: 0.0},
    "slow": {3: 0.0, 10: 0.02, 50: 0.0, 200: 0.0, 500: 0.0},
    "outage": {3: 0.005, 10: 0.0, 50: 0.0, 200: 0.0, 500: 0.0},
}

SMALL_CONTROL = {
    ("incident", 100): {3: 0.02, 10: 0.07, 50: 0.07},
    ("incident", 17): {3: 0.07, 10: 0.21, 50: 0.30},  # the page has 20
    ("incident", 5): {3: 0.15, 10: 0.38, 50: 0.59},
    ("incident", 0): {3: 0.26, 10: 0.48, 50: 0.73},
    ("outage", 100): {3: 0.0, 10: 0.0, 50: 0.0},
    ("outage", 17): {3: 0.0, 10: 0.0, 50: 0.0},
    ("outage", 5): {3: 0.03, 10: 0.05, 50: 0.04},
    ("outage", 0): {3: 0.97, 10: 1.0, 50: 1.0},
}

MOST_FALSE, MOST_TAKEN_BACK, LEAST_BELOW = 0.03, 0.003, 0.08
LARGE_REGRESSION = 5
FAIR_RATE = 1.0
"""Requests a second from which on a tenant has so many in a soak that five times the limit must not be missed. Of 20 requests, one fails."""


def page_share(one: CellFigures) -> float | None:
    """Return the page's share of Failing waves for a cell; None where it has none."""
    cell, scenario = one.cell, one.cell.scenario.name
    if cell.traffic == QUIET:
        return POOLS.get(cell.wave_size) if cell.scenario.is_regression else 0.0
    if cell.traffic:
        return None
    if cell.wave_size + cell.others_count == FLEET:
        return {**DETECTION, **FALSE_ALARMS}.get(scenario, {}).get(cell.wave_size)
    if scenario == "healthy":
        return 0.0
    return SMALL_CONTROL.get((scenario, cell.others_count), {}).get(cell.wave_size)


def complaints(found: Sequence[CellFigures]) -> list[str]:
    """Return what is outside the tolerances, a sentence each; nothing if all is well."""
    return [f"{one.cell.name}: {complaint}" for one in found for complaint in (*_false_alarms(one), *_detection(one))]


def remarks(found: Sequence[CellFigures]) -> list[str]:
    """Return what falls short of the aims without being outside the tolerances."""
    return [f"{one.cell.name}: {remark}" for one in found for remark in _aims(one)]


def _false_alarms(one: CellFigures) -> Iterator[str]:
    if one.cell.scenario.is_regression:
        return
    name, failed = one.cell.scenario.name, one.ours.failed_count
    if name in ("healthy", "counter resets", "prometheus away") and failed:
        yield f"{failed} of {one.ours.run_count} waves were failed, and nothing was wrong with them"
    if one.cell.others_count < 1000:
        return
    if one.ours.share > MOST_FALSE:
        yield f"{one.ours.share:.3f} of the waves were failed for what ailed the whole fleet; {MOST_FALSE} are tolerated"
    if one.taken_back_share > MOST_TAKEN_BACK:
        yield f"{one.taken_back_share:.2%} of the tenants were taken back for nothing; {MOST_TAKEN_BACK:.1%} are tolerated"


def _detection(one: CellFigures) -> Iterator[str]:
    page = page_share(one) if one.cell.scenario.is_regression else None
    # The pool speaks at the end of the soak, and evidence begins anew after an incident.
    is_late = one.cell.traffic == QUIET or one.cell.scenario.extra_ticks > 0
    share, when = (one.ours.share, "the soak") if is_late else (one.ours_early.share, "20 ticks")
    if page is not None and share < page - LEAST_BELOW:
        yield f"{share:.2f} of the regressions were found within {when}; the page has {page:.2f}"
    size = one.cell.scenario.size
    if size is not None and size >= LARGE_REGRESSION and one.passed_share > 0 and one.cell.rates[0] >= FAIR_RATE:
        yield f"{one.passed_share:.3f} of the waves were promoted with errors of {size} times the limit"


def _aims(one: CellFigures) -> Iterator[str]:
    """Never later than the naive ratio at as many false alarms."""
    for name in (RATIO, WAVE_RATIO):
        naive = one.naive.get(name + TUNED)
        if one.cell.scenario.is_regression and naive is not None and not _is_in_time(one, naive):
            ours = "not found" if one.ours.all_seconds is None else f"{one.ours.all_seconds:.0f} s"
            yield f"median {ours}; the {name}{TUNED}: {naive.all_seconds:.0f} s"


def mildly_later(found: Sequence[CellFigures]) -> tuple[int, int]:
    """Return in how many cells we are later than a naive ratio of the wave that never had to stand an outage, and of how many."""
    pairs = [
        (one, one.naive[WAVE_RATIO + MILDLY_TUNED])
        for one in found
        if one.cell.scenario.is_regression and WAVE_RATIO + MILDLY_TUNED in one.naive
    ]
    return sum(not _is_in_time(one, naive) for one, naive in pairs), len(pairs)


def _is_in_time(one: CellFigures, naive: Detection) -> bool:
    """Tell whether we are no later in the median; where the other does not find half of the runs, we are."""
    return naive.all_seconds is None or (one.ours.all_seconds is not None and one.ours.all_seconds <= naive.all_seconds)
