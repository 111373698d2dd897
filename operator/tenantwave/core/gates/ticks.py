"""When to look next, and what to ask then. Questions are grouped: tenants whose windows start together share a query, in chunks of 500."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta

from .book import GateBook, TenantGate
from .constants import (
    BASELINE_WINDOW,
    COHORT_STEPS,
    COVERAGE_STEPS,
    FIRST_LOOK_INTERVALS,
    FRESHNESS_INTERVALS,
    MAX_INTERVAL,
    MAX_WINDOW,
    MIN_FRESHNESS,
)
from .promql import chunks, coverage_query, fresh_series, freshness_query, part_query, parts_of, tenant_matcher
from .rules import Evaluation, GateContext, GateRule, Increase, RawQuery, TenantInContext, WaveInContext
from .samples import Ask, Part, Purpose, Source, TickRequest

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
OLD_SOAKS = 3


@dataclass(frozen=True, slots=True)
class _Judged:
    """A tenant that is asked for at a tick, and where its evidence begins."""

    name: str
    wave: WaveInContext
    start: datetime


def is_due(book: GateBook, context: GateContext, now: datetime) -> bool:
    """Tell whether there is something to ask: somebody to ask for, a tick that has not been asked, and a source that does not want quiet."""
    source = context.source
    if source is None or not context.rules or not _has_somebody(context):
        return False
    if book.run_id != context.run_id:
        return True
    time = tick_time(now, effective_interval(book, context.evaluation), source)
    quiet_until = book.source.quiet_until_time
    return (book.evaluation_time is None or time > book.evaluation_time) and (quiet_until is None or now >= quiet_until)


def due(book: GateBook, context: GateContext, now: datetime) -> TickRequest | None:
    """Return what to ask now; None if nothing is due.

    Every query of a tick carries the same time T, which is a multiple of the interval, less the query delay. Cost: a few steps per tenant and gate.
    """
    book = book.of_run(context.run_id)
    if context.source is None or not is_due(book, context, now):
        return None
    interval = effective_interval(book, context.evaluation)
    time = tick_time(now, interval, context.source)
    judged = tuple(_judged(context, book, time))
    asks = (
        *_freshness(context, time),
        *_coverage(book, context, judged, time, interval),
        *_baselines(book, context),
        *_live(context, judged, time),
    )
    return TickRequest(context.run_id, context.source, time, interval, asks)


def next_tick_time(book: GateBook, context: GateContext, now: datetime) -> datetime | None:
    """Return when the next tick comes, for the planner's wake time: always after `now`; None if there is nobody to ask for.

    A tick that is due already is not counted: looking at the upgrade starts it, and its answers wake the upgrade by themselves.
    """
    source = context.source
    if source is None or not context.rules or not _has_somebody(context):
        return None
    book = book.of_run(context.run_id)
    interval = effective_interval(book, context.evaluation)
    upcoming = tick_time(now, interval, source) + interval + source.query_delay
    return max(upcoming, book.source.quiet_until_time or upcoming)


def tick_time(now: datetime, interval: timedelta, source: Source) -> datetime:
    """Return T, the time that all queries of the present tick carry."""
    return rounded_down(now, interval) - source.query_delay


def effective_interval(book: GateBook, evaluation: Evaluation) -> timedelta:
    """Return the interval, stretched while the source throttles us."""
    return max(evaluation.interval, min(MAX_INTERVAL, evaluation.interval * book.source.interval_factor))


def rounded_down(time: datetime, step: timedelta) -> datetime:
    """Return the last multiple of `step` since 1970 that is not after `time`."""
    return time - (time - _EPOCH) % step


def rounded_up(time: datetime, step: timedelta) -> datetime:
    """Return the first multiple of `step` since 1970 that is not before `time`."""
    return time + (_EPOCH - time) % step


def cohort_start(window_start: datetime, soak: timedelta, interval: timedelta) -> datetime:
    """Return where a tenant's window starts: rounded up to a tenth of the soak, at least one tick, so that tenants share queries."""
    return rounded_up(window_start, _cohort_step(soak, interval))


def _cohort_step(soak: timedelta, interval: timedelta) -> timedelta:
    return max(1, (soak / COHORT_STEPS) // interval) * interval


def first_look_time(start: datetime, interval: timedelta) -> datetime:
    """Return the first tick at which a window is long enough to be judged."""
    return start + FIRST_LOOK_INTERVALS * interval


def window_start(rule: GateRule, wave: WaveInContext, start: datetime, time: datetime, interval: timedelta) -> datetime:
    """Return where the window of a rule begins at `time`, for a tenant whose evidence begins at `start`.

    Once it is older than the soak its start is rounded up to a multiple of the soak: so old tenants share queries, too. A passed wave
    is watched by its
    last soak. No window is longer than six hours. An `increase` never counts more than one soak.
    """
    first_look = FIRST_LOOK_INTERVALS * interval
    longest = max(first_look, min(MAX_WINDOW, wave.soak) if isinstance(rule.kind, Increase) or wave.has_passed else MAX_WINDOW)
    block = _cohort_step(wave.soak, interval) * COHORT_STEPS
    if time - start > OLD_SOAKS * block:
        start = rounded_up(start, block)
    return max(start, time - longest)


def max_age(evaluation: Evaluation) -> timedelta:
    """Return how old the fleet's newest sample may be."""
    return max(MIN_FRESHNESS, FRESHNESS_INTERVALS * evaluation.interval)


def baseline_time(tenant: TenantInContext, interval: timedelta) -> datetime | None:
    """Return the end of a tenant's baseline: its first write, rounded down, so that tenants which start together share the query."""
    return None if tenant.first_write_time is None else rounded_down(tenant.first_write_time, interval)


def tenant_cohort(tenant: TenantInContext, context: GateContext) -> datetime | None:
    """Return where the evidence of a tenant begins; None as long as it has not converged."""
    wave = context.wave(tenant.wave)
    if wave is None or tenant.window_start_time is None:
        return None
    return cohort_start(tenant.window_start_time, wave.soak, context.evaluation.interval)


def accounted_time(gate: TenantGate | None, start: datetime, interval: timedelta) -> datetime:
    """Return the last tick whose evidence is accounted for: the last usable one, or the one before the first look."""
    if gate is not None and gate.usable_time is not None and gate.window_start_time == start:
        return gate.usable_time
    return first_look_time(start, interval) - interval


def halved(ask: Ask, context: GateContext) -> tuple[Ask, ...]:
    """Return the question in two halves, for a source to which it was too large; nothing if it cannot be divided."""
    rule = next((rule for rule in context.rules if rule.name == ask.gate), None)
    if rule is None or len(ask.tenants) < 2:
        return ()
    middle = len(ask.tenants) // 2
    return tuple(_rewritten(rule, ask, tenants) for tenants in (ask.tenants[:middle], ask.tenants[middle:]))


def _rewritten(rule: GateRule, ask: Ask, tenants: tuple[str, ...]) -> Ask:
    window = ask.time - ask.start_time if ask.start_time else timedelta(0)
    return replace(ask, tenants=tenants, promql=part_query(rule, ask.part, tenant_matcher(rule.tenant_label, tenants), window))


def _has_somebody(context: GateContext) -> bool:
    return any(tenant.is_counted for tenant in context.tenants)


def _freshness(context: GateContext, time: datetime) -> Iterator[Ask]:
    for rule in context.rules:
        series = fresh_series(rule)
        if series is not None:
            yield Ask(rule.name, Part.FRESHNESS, freshness_query(series, rule.tenant_label), time, rule.tenant_label)


def _coverage(book: GateBook, context: GateContext, judged: tuple[_Judged, ...], time: datetime, interval: timedelta) -> Iterator[Ask]:
    """Ask once, after a hole, at how many of the missed ticks the fleet had fresh data."""
    accounted = [accounted_time(book.tenant(each.name), each.start, context.evaluation.interval) for each in judged]
    if not accounted or time - min(accounted) < 2 * interval:
        return
    span = min(time - interval - min(accounted), COVERAGE_STEPS * interval)
    for rule in context.rules:
        series = fresh_series(rule)
        if series is not None and rule.enforced:
            promql = coverage_query(series, rule.tenant_label, span, interval, max_age(context.evaluation))
            yield Ask(rule.name, Part.COVERAGE, promql, time - interval, rule.tenant_label, start_time=time - interval - span)


def _baselines(book: GateBook, context: GateContext) -> Iterator[Ask]:
    groups: dict[tuple[datetime, str], list[str]] = {}
    for tenant in context.tenants:
        gate = book.tenant(tenant.name)
        time = baseline_time(tenant, context.evaluation.interval)
        if time is not None and tenant.is_counted and (gate is None or gate.baseline_time is None):
            groups.setdefault((time, tenant.wave), []).append(tenant.name)
    for (time, wave_name), names in groups.items():
        wave = context.wave(wave_name)
        for rule in context.rules:
            window = min(BASELINE_WINDOW, wave.soak) if isinstance(rule.kind, Increase) and wave else BASELINE_WINDOW
            yield from (replace(ask, purpose=Purpose.BASELINE) for ask in _asks(rule, sorted(names), time - window, time))


def _live(context: GateContext, judged: tuple[_Judged, ...], time: datetime) -> Iterator[Ask]:
    interval = context.evaluation.interval
    for rule in context.rules:
        groups: dict[datetime, list[str]] = {}
        for (wave, start), names in _cohorts(judged).items():
            begin = time if isinstance(rule.kind, RawQuery) else window_start(rule, wave, start, time, interval)
            groups.setdefault(begin, []).extend(names)
        for begin, names in sorted(groups.items()):
            yield from _asks(rule, sorted(names), begin, time)


def _cohorts(judged: tuple[_Judged, ...]) -> dict[tuple[WaveInContext, datetime], list[str]]:
    """Return the tenants whose evidence begins together, by wave and start."""
    cohorts: dict[tuple[WaveInContext, datetime], list[str]] = {}
    for each in judged:
        cohorts.setdefault((each.wave, each.start), []).append(each.name)
    return cohorts


def _asks(rule: GateRule, names: Iterable[str], start: datetime, time: datetime) -> Iterator[Ask]:
    for part in parts_of(rule):
        for group in chunks(rule, part, tuple(names), time - start):
            promql = part_query(rule, part, tenant_matcher(rule.tenant_label, group), time - start)
            yield Ask(rule.name, part, promql, time, rule.tenant_label, group, None if isinstance(rule.kind, RawQuery) else start)


def _judged(context: GateContext, book: GateBook, time: datetime) -> Iterator[_Judged]:
    """Yield the tenants that are asked for: counted, with a window that is long enough, and not failed already."""
    for tenant in context.tenants:
        wave, start, gate = context.wave(tenant.wave), tenant_cohort(tenant, context), book.tenant(tenant.name)
        if wave is None or start is None or not tenant.is_counted or (gate is not None and gate.latched):
            continue
        if time >= first_look_time(start, context.evaluation.interval):
            yield _Judged(tenant.name, wave, start)
