"""Which minutes a number covers: never one before the upgrade, and as few different windows as possible, because tenants with one window share
a query.

A tenant's evidence begins when it had converged and warmed up. Inside its first soak the window holds all of it. After that it moves on block by
block (a block is as long as the soak, at most six hours, and begins at a multiple of itself since 1970), so all older tenants share one window.
What a block has counted is not lost: see `book.MetricVerdict.banked`.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from .book import GateBook, TenantGate
from .constants import COHORT_STEPS, FIRST_LOOK_INTERVALS, MAX_WINDOW
from .rules import GateContext, GateRule, Increase, RawQuery, Role, TenantInContext, WaveInContext

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def rounded_down(time: datetime, step: timedelta) -> datetime:
    """Return the last multiple of `step` since 1970 that is not after `time`."""
    return time - (time - _EPOCH) % step


def rounded_up(time: datetime, step: timedelta) -> datetime:
    """Return the first multiple of `step` since 1970 that is not before `time`."""
    return time + (_EPOCH - time) % step


def cohort_start(window_start: datetime, soak: timedelta, interval: timedelta) -> datetime:
    """Return where a tenant's evidence starts: rounded up to a tenth of the soak, at least one tick, so that tenants share queries."""
    return rounded_up(window_start, _cohort_step(soak, interval))


def _cohort_step(soak: timedelta, interval: timedelta) -> timedelta:
    return max(1, (soak / COHORT_STEPS) // interval) * interval


def block_length(soak: timedelta, interval: timedelta) -> timedelta:
    """Return how long a block is: ten cohort steps, which is about the soak, but at most six hours."""
    return min(MAX_WINDOW, _cohort_step(soak, interval) * COHORT_STEPS)


def first_look_time(start: datetime, interval: timedelta) -> datetime:
    """Return the first tick at which a window is long enough to be judged."""
    return start + FIRST_LOOK_INTERVALS * interval


def evidence_start(tenant: TenantInContext, context: GateContext, book: GateBook) -> datetime | None:
    """Return where the evidence of a tenant begins; None as long as it has not converged. Not before the last fleet incident has ended."""
    wave = context.wave(tenant.wave)
    if wave is None or tenant.window_start_time is None:
        return None
    start = cohort_start(tenant.window_start_time, wave.soak, context.evaluation.interval)
    known = book.wave(wave.name) if tenant.role is Role.COUNTED else None
    return max(start, known.fresh_since_time) if known is not None and known.fresh_since_time is not None else start


def is_open(soak: timedelta, start: datetime, time: datetime, interval: timedelta) -> bool:
    """Tell whether evidence that begins at `start` is young enough for its window to hold all of it.

    A soak runs from the first look, and a sign of Failing at its end wants to be confirmed: so a block and two first looks.
    """
    return time - start <= block_length(soak, interval) + 2 * FIRST_LOOK_INTERVALS * interval


def window_start(rule: GateRule, soak: timedelta, start: datetime, seen: datetime, time: datetime, interval: timedelta) -> datetime:
    """Return where the window of a rule begins at `time`, for evidence that begins at `start` and was last seen at `seen`.

    A block is looked at until the next one is long enough to be judged, and after an outage from the block on in which the outage began. No
    window is longer than six hours. An `increase` counts one soak and slides.
    """
    if isinstance(rule.kind, RawQuery):
        return time
    first_look = FIRST_LOOK_INTERVALS * interval
    if isinstance(rule.kind, Increase):
        return max(start, time - max(first_look, min(MAX_WINDOW, soak)))
    if not is_open(soak, start, time, interval):
        start = max(start, rounded_down(min(time - first_look, seen), block_length(soak, interval)))
    return max(start, time - MAX_WINDOW - first_look)


def accounted_time(gate: TenantGate | None, start: datetime, interval: timedelta) -> datetime:
    """Return the last tick whose evidence is accounted for: the last usable one, or the one before the first look."""
    if gate is not None and gate.usable_time is not None and gate.window_start_time == start:
        return gate.usable_time
    return first_look_time(start, interval) - interval


KEPT_OVER_RUNS = timedelta(days=1)
"""A run that judges anew what still soaks comes soon after the one before it, and keeps its baseline. The next release comes later, and takes
its own."""


def baseline_time(tenant: TenantInContext, interval: timedelta) -> datetime | None:
    """Return the end of a tenant's baseline: its first write, rounded down, so that tenants which start together share the query."""
    return None if tenant.first_write_time is None else rounded_down(tenant.first_write_time, interval)


def base_run(run_id: str) -> str:
    """Return a run's id without its attempt: attempts share their baselines."""
    return run_id.rsplit("-a", 1)[0]


def is_current(gate: TenantGate, time: datetime, context: GateContext) -> bool:
    """Tell whether the baseline that is known is the one to judge by: of an earlier attempt, or of a run shortly before; not of last month."""
    if gate.baseline_time is None or gate.baseline_time == time or gate.baseline_run == base_run(context.run_id):
        return True
    return timedelta(0) <= time - gate.baseline_time <= KEPT_OVER_RUNS


@dataclass(frozen=True, slots=True)
class Epoch:
    """The wave that the control is held against at present, and that wave's first write: there the control's baseline ends."""

    wave: WaveInContext
    time: datetime


def control_epoch(context: GateContext, book: GateBook) -> Epoch | None:
    """Return the wave that the control is held against and when it began to write: the running one, before its first write the one before it.

    None before the first write of all. What was found once stands, whoever leaves the wave.
    """
    for wave in reversed(context.waves):
        known = book.wave(wave.name)
        if known is not None and known.control_since_time is not None:
            return Epoch(wave, known.control_since_time)
        writes = [tenant.first_write_time for tenant in context.tenants if tenant.wave == wave.name and tenant.first_write_time]
        if writes:
            return Epoch(wave, rounded_down(min(writes), context.evaluation.interval))
    return None
