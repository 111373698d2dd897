"""The table of the simulation, and its JSON."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from benchmark.gates.expected import complaints, mildly_later, page_share, remarks
from benchmark.gates.figures import CHECKS, MILDLY_TUNED, RATIO, TUNED, WAVE_RATIO, CellFigures, Detection
from benchmark.gates.traffic import TICK_SECONDS

HEADS = (
    "runs", "Failing", "page", "median", "passed", "held", "incident", "tenants back",
    "| ratio", "wave ratio", "3 checks", "| tuned: ratio", "wave ratio", "mildly: wave ratio",
)  # fmt: skip
NAIVE = (RATIO, WAVE_RATIO, CHECKS, RATIO + TUNED, WAVE_RATIO + TUNED, WAVE_RATIO + MILDLY_TUNED)


def table(found: Sequence[CellFigures]) -> str:
    """Return the figures for people, a line for each cell: shares, with the median time of those that became Failing in brackets."""
    rows = [("", *HEADS), *((one.cell.name, *_row(one)) for one in found)]
    return "\n".join([*_aligned(rows), "", *by_size(found), "", *summary(found)])


def by_size(found: Sequence[CellFigures]) -> list[str]:
    """Return one tenant's regression by its size and traffic: found, in brackets the median time, and promoted in spite of it."""
    alone = [one for one in found if one.cell.scenario.one_hurt]
    columns = sorted({one.cell.rates[0] for one in alone})
    if not alone:
        return []
    rows = [("one tenant of 10, times its limit", *(f"{rate * TICK_SECONDS:,.0f} requests a tick" for rate in columns))]
    for size in sorted({one.cell.scenario.size or 0 for one in alone}):
        cells = {one.cell.rates[0]: one for one in alone if one.cell.scenario.size == size}
        rows.append((f"x{size}", *(_found(cells[rate]) if rate in cells else "" for rate in columns)))
    return _aligned(rows)


def _found(one: CellFigures) -> str:
    return f"{one.ours.share:.2f} {_seconds(one.ours)} promoted {one.passed_share:.2f}"


def _aligned(rows: Sequence[tuple[str, ...]]) -> list[str]:
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    lines = [
        "  ".join(
            text.ljust(width) if column == 0 else text.rjust(width) for column, (text, width) in enumerate(zip(row, widths, strict=True))
        )
        for row in rows
    ]
    lines.insert(1, "-" * len(lines[0]))
    return lines


def summary(found: Sequence[CellFigures]) -> list[str]:
    """Return what all cells show together, and what falls short."""
    well = [one for one in found if not one.cell.scenario.is_regression]
    healthy = [one for one in well if one.cell.scenario.name in ("healthy", "counter resets", "prometheus away")]
    large = [one for one in found if one.cell.scenario.size is not None and one.cell.scenario.size >= 5]
    return [
        f"waves: {sum(one.ours.run_count for one in found)}",
        f"false rollbacks of waves with which nothing was wrong: {_sum(healthy)}, in incidents of the whole fleet too: {_sum(well)}",
        f"regressions of 5 times the limit and more that were promoted: {sum(_passed(one) for one in large)} of {_runs(large)}",
        "cells in which the median is later than a ratio of the wave that never had to stand an outage: {} of {}".format(
            *mildly_later(found)
        ),
        *(f"OUTSIDE THE TOLERANCE: {line}" for line in complaints(found)),
        *(f"short of the aim: {line}" for line in remarks(found)),
    ]


def document(found: Sequence[CellFigures], seed: str) -> dict[str, Any]:
    """Return everything as JSON has it."""
    return {
        "seed": seed,
        "waves": _runs(found),
        "complaints": complaints(found),
        "remarks": remarks(found),
        "cells": [one.document() | {"page": page_share(one)} for one in found],
    }


def _row(one: CellFigures) -> tuple[str, ...]:
    page = page_share(one)
    return (
        str(one.ours.run_count),
        f"{one.ours.share:.3f}",
        "" if page is None else f"{page:g}",
        _seconds(one.ours),
        f"{one.passed_share:.2f}",
        f"{one.held_share:.2f}",
        f"{one.incident_share:.2f}",
        f"{one.taken_back_share:.2%}",
        *(_naive(one.naive.get(name)) for name in NAIVE),
    )


def _naive(detection: Detection | None) -> str:
    return "" if detection is None else f"{detection.share:.2f} {_seconds(detection):>5}"


def _seconds(detection: Detection) -> str:
    return "" if detection.seconds is None else f"({detection.seconds:.0f})"


def _runs(found: Sequence[CellFigures]) -> int:
    return sum(one.ours.run_count for one in found)


def _sum(found: Sequence[CellFigures]) -> str:
    return f"{sum(one.ours.failed_count for one in found)} of {_runs(found)}"


def _passed(one: CellFigures) -> int:
    return sum(outcome.passed_tick is not None for outcome in one.outcomes)
