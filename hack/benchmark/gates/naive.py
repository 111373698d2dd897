"""Three simple gates on the same numbers, and the first of them once more over the whole wave.

They are what people write first, with the product's own limit and failure budget. None of them has a control, a baseline, or a notion of
too little evidence.

- `ratio`: a tenant fails when more than the limit of its requests of the last five minutes failed. Before the fifth minute that window still
  holds requests to the old version.
- `ratio of the wave`: the same, over all requests of the wave together.
- `checks`: a tenant fails after three failed checks in a row; a check is the ratio over the last minute, and no answer is a failed check.
- `readiness`: only pods that do not become ready fail. Errors leave them ready, so it never fires.

A gate that has no answer otherwise looks again at the next tick.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from benchmark.gates.traffic import LIMIT, Tenant

WINDOW_TICKS = 10
CHECK_TICKS = 2
CHECKS_IN_ROW = 3


@dataclass(frozen=True, slots=True)
class NaiveRun:
    """What the naive gates would have seen of one run.

    `tenant_scores` and `wave_scores`: for each tick the ratio beyond which the wave would not fail, so that any threshold can be tried
    afterwards. `checks_tick`: when the checks failed the wave, if they did.
    """

    tenant_scores: tuple[float, ...]
    wave_scores: tuple[float, ...]
    checks_tick: int | None


def watch(tenants: Sequence[Tenant], budget: int, last_tick: int, away: frozenset[int]) -> NaiveRun:
    """Return what the naive gates make of the wave's tenants in the ticks 1 to `last_tick`."""
    tenant_scores, wave_scores = [], []
    failed_checks = [0] * len(tenants)
    failed: set[int] = set()
    checks_tick = None
    for tick in range(1, last_tick + 1):
        counts = [_counts(tenant, tick - WINDOW_TICKS, tick) for tenant in tenants]
        if tick in away:
            tenant_scores.append(0.0)
            wave_scores.append(0.0)
        else:
            ratios = sorted((_ratio([one]) for one in counts), reverse=True)
            tenant_scores.append(ratios[budget])
            wave_scores.append(_ratio(counts))
        for number, tenant in enumerate(tenants):
            is_bad = tick in away or _ratio([_counts(tenant, tick - CHECK_TICKS, tick)]) > LIMIT
            failed_checks[number] = failed_checks[number] + 1 if is_bad else 0
            if failed_checks[number] >= CHECKS_IN_ROW:
                failed.add(number)
        if checks_tick is None and len(failed) > budget:
            checks_tick = tick
    return NaiveRun(tuple(tenant_scores), tuple(wave_scores), checks_tick)


def first_above(scores: Sequence[float], threshold: float) -> int | None:
    """Return the tick at which a gate with this threshold would have failed the wave."""
    return next((tick for tick, score in enumerate(scores, start=1) if score > threshold), None)


def threshold_for(runs: Iterable[Sequence[float]], false_alarms: int) -> float:
    """Return the lowest threshold at which at most so many of these runs, in which nothing is wrong with the release, would have failed."""
    highest = sorted((max(scores) for scores in runs), reverse=True)
    return highest[false_alarms] if false_alarms < len(highest) else 0.0


def _counts(tenant: Tenant, start: int, end: int) -> tuple[float, float]:
    series = tenant.series
    return series.between(series.bads, start, end), series.between(series.totals, start, end)


def _ratio(counts: Iterable[tuple[float, float]]) -> float:
    bad = total = 0.0
    for one_bad, one_total in counts:
        bad += one_bad
        total += one_total
    return bad / total if total else 0.0
