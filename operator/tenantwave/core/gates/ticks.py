"""When to look next, and what to ask then. Questions are grouped: tenants whose windows start together share a query, in chunks of 500."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from .book import GateBook, TenantGate, Verdict
from .constants import BASELINE_WINDOW, COVERAGE_STEPS, FRESHNESS_INTERVALS, MAX_INTERVAL, MAX_WINDOW, MIN_FRESHNESS
from .promql import chunks, coverage_query, fresh_series, freshness_query, part_query, parts_of, tenant_matcher
from .rules import Evaluation, GateContext, GateRule, Increase, RawQuery, Role, TenantInContext, WaveInContext
from .samples import Ask, Part, Purpose, Source, TickRequest
from .windows import (
    accounted_time,
    baseline_time,
    control_epoch,
    evidence_start,
    first_look_time,
    is_current,
    is_open,
    rounded_down,
    window_start,
)

SPREAD_WINDOWS = 12
SPREAD_WINDOW = BASELINE_WINDOW / SPREAD_WINDOWS
SPREAD_NAMES = 500
"""One chunk of names says enough about bursts, and keeps the twelve windows at twelve queries a number."""


@dataclass(frozen=True, slots=True)
class Judged:
    """A tenant that is asked for at a tick: where its evidence begins, and the last time that it was seen."""

    name: str
    wave: WaveInContext
    start: datetime
    seen: datetime

    def window_start(self, rule: GateRule, time: datetime, interval: timedelta) -> datetime:
        """Return where the window of a rule begins."""
        return window_start(rule, self.wave.soak, self.start, self.seen, time, interval)


def is_due(book: GateBook, context: GateContext, now: datetime) -> bool:
    """Tell whether there is something to ask: somebody to ask for, a tick that has not been asked, and a source that does not want quiet."""
    source = context.source
    if source is None or not context.rules or not has_somebody(book, context):
        return False
    if book.run_id != context.run_id:
        return True
    time = tick_time(now, effective_interval(book, context.evaluation), source)
    quiet_until = book.source.quiet_until_time
    return (book.evaluation_time is None or time > book.evaluation_time) and (quiet_until is None or now >= quiet_until)


def due(book: GateBook, context: GateContext, now: datetime) -> TickRequest | None:
    """Return what to ask now; None if nothing is due.

    Every query of a tick carries the same time T, which is a multiple of the interval, less the query delay. After a restart the ticks just
    before are asked again, one by one, so that what must be seen twice in a row is. Cost: a few steps per tenant and gate.
    """
    book = book.of_run(context.run_id)
    if context.source is None or not is_due(book, context, now):
        return None
    interval = effective_interval(book, context.evaluation)
    time = _resumed(book, context, tick_time(now, interval, context.source), interval)
    judged = judged_tenants(context, book, time)
    asks = (
        *_freshness(context, time),
        *_coverage(book, context, judged, time, interval),
        *_baselines(book, context),
        *_spreads(book, context),
        *_live(context, judged, time),
    )
    return TickRequest(context.run_id, context.source, time, interval, asks)


def next_tick_time(book: GateBook, context: GateContext, now: datetime) -> datetime | None:
    """Return when the next tick comes, for the planner's wake time: always after `now`; None if there is nobody to ask for.

    A tick that is due already is not counted: looking at the upgrade starts it, and its answers wake the upgrade by themselves.
    """
    source = context.source
    book = book.of_run(context.run_id)
    if source is None or not context.rules or not has_somebody(book, context):
        return None
    interval = effective_interval(book, context.evaluation)
    upcoming = tick_time(now, interval, source) + interval + source.query_delay
    return max(upcoming, book.source.quiet_until_time or upcoming)


def tick_time(now: datetime, interval: timedelta, source: Source) -> datetime:
    """Return T, the time that all queries of the present tick carry."""
    return rounded_down(now, interval) - source.query_delay


def effective_interval(book: GateBook, evaluation: Evaluation) -> timedelta:
    """Return the interval, stretched while the source throttles us or a tick takes too long."""
    return max(evaluation.interval, min(MAX_INTERVAL, evaluation.interval * book.source.interval_factor))


def is_replay(book: GateBook, context: GateContext, time: datetime, answered: datetime) -> bool:
    """Tell whether a tick is one of those that are asked again after a restart: evidence, but no soak."""
    interval = effective_interval(book, context.evaluation)
    return book.is_restored and context.source is not None and time < tick_time(answered, interval, context.source)


def _resumed(book: GateBook, context: GateContext, latest: datetime, interval: timedelta) -> datetime:
    """Return the tick to ask: the latest, or after a restart the first of those before it that verdicts look back at."""
    if not book.is_restored:
        return latest
    again = max([2, *(rule.kind.consecutive - 1 for rule in context.rules if isinstance(rule.kind, RawQuery))])
    first = latest - again * interval
    return first if book.evaluation_time is None else min(latest, max(first, book.evaluation_time + interval))


def max_age(evaluation: Evaluation) -> timedelta:
    """Return how old the fleet's newest sample may be."""
    return max(MIN_FRESHNESS, FRESHNESS_INTERVALS * evaluation.interval)


def judged_tenants(context: GateContext, book: GateBook, time: datetime) -> tuple[Judged, ...]:
    """Return the tenants that are asked for: their window is long enough, and their verdict is still open."""
    return tuple(_judged(context, book, time))


def _judged(context: GateContext, book: GateBook, time: datetime) -> Iterator[Judged]:
    interval = context.evaluation.interval
    waves = {wave.name: wave for wave in context.waves}
    for tenant in context.tenants:
        wave, start = waves.get(tenant.wave), evidence_start(tenant, context, book)
        if wave is None or start is None or time < first_look_time(start, interval):
            continue
        if tenant.role is Role.COUNTED:
            gate = book.tenant(tenant.name)
            if gate is None or not gate.latched:
                yield Judged(tenant.name, wave, start, accounted_time(gate, start, interval))
        elif is_open_afterwards(tenant, book):
            yield Judged(tenant.name, wave, start, start)


def control_windows(context: GateContext, judged: Iterable[Judged], time: datetime) -> dict[str, datetime]:
    """Return by gate where the control's window begins: with the oldest cohort that is still inside its soak, else with the block of the
    others, at last with that of passed waves.

    So the control is looked at over the same minutes as the wave, and shares its queries.
    """
    counted = {tenant.name for tenant in context.tenants if tenant.is_counted}
    interval = context.evaluation.interval
    groups = {(each.wave, each.start, each.seen): each for each in judged if each.name in counted}.values()
    running = [each for each in groups if not each.wave.has_passed]
    cohorts = [each for each in running if is_open(each.wave.soak, each.start, time, interval)] or running or list(groups)
    return {rule.name: min(each.window_start(rule, time, interval) for each in cohorts) for rule in context.rules} if cohorts else {}


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


def has_somebody(book: GateBook, context: GateContext) -> bool:
    """Tell whether there is anybody to ask for."""
    return any(
        tenant.is_counted
        or (tenant.role is Role.TAKEN_BACK and tenant.window_start_time is not None and tenant.name not in book.afterwards)
        for tenant in context.tenants
    )


def is_open_afterwards(tenant: TenantInContext, book: GateBook) -> bool:
    """Tell whether a tenant that was taken back is still to be looked at: until it is clear whether it is well. The planner ends it at last."""
    known = book.afterwards.get(tenant.name)
    is_clear = known is not None and known.verdict in (Verdict.HEALTHY, Verdict.FAILING)
    return tenant.role is Role.TAKEN_BACK and tenant.window_start_time is not None and not is_clear


def _freshness(context: GateContext, time: datetime) -> Iterator[Ask]:
    for rule in context.rules:
        series = fresh_series(rule)
        if series is not None:
            yield Ask(rule.name, Part.FRESHNESS, freshness_query(series, rule.tenant_label), time, rule.tenant_label)


def _coverage(book: GateBook, context: GateContext, judged: tuple[Judged, ...], time: datetime, interval: timedelta) -> Iterator[Ask]:
    """Ask once, after a hole, at how many of the missed ticks the fleet had fresh data."""
    back = {tenant.name for tenant in context.tenants if tenant.role is Role.TAKEN_BACK}
    seen = [each.seen for each in judged if each.name not in back]
    if not seen or time - min(seen) < 2 * interval:
        return
    span = min(time - interval - min(seen), COVERAGE_STEPS * interval)
    for rule in context.rules:
        series = fresh_series(rule)
        if series is not None and rule.enforced:
            promql = coverage_query(series, rule.tenant_label, span, interval, max_age(context.evaluation))
            yield Ask(rule.name, Part.COVERAGE, promql, time - interval, rule.tenant_label, start_time=time - interval - span)


def _baselines(book: GateBook, context: GateContext) -> Iterator[Ask]:
    """Ask for what was usual in the hour before the first write, each gate for itself, until it is answered."""
    groups: dict[tuple[datetime, timedelta, str], list[str]] = {}
    soaks = {wave.name: wave.soak for wave in context.waves}
    for tenant in context.tenants:
        time = baseline_time(tenant, context.evaluation.interval)
        if time is not None and tenant.is_counted and tenant.wave in soaks:
            for missing in _without_baseline(book.tenant(tenant.name), time, context):
                groups.setdefault((time, soaks[tenant.wave], missing), []).append(tenant.name)
    epoch = control_epoch(context, book)
    for name in context.control if epoch is not None else ():
        if epoch is not None:
            known = book.control.get(name)
            for missing in _without_baseline(known if known and known.baseline_time == epoch.time else None, epoch.time, context):
                groups.setdefault((epoch.time, epoch.wave.soak, missing), []).append(name)
    by_name = {rule.name: rule for rule in context.rules}
    for (time, soak, gate), names in groups.items():
        rule = by_name[gate]
        window = min(MAX_WINDOW, soak) if isinstance(rule.kind, Increase) else BASELINE_WINDOW
        yield from _asks(rule, sorted(names), time - window, time, Purpose.BASELINE)


def _without_baseline(gate: TenantGate | None, time: datetime, context: GateContext) -> Iterator[str]:
    known = gate.baseline_gates if gate is not None and is_current(gate, time, context) else frozenset()
    return (rule.name for rule in context.rules if rule.name not in known)


def _spreads(book: GateBook, context: GateContext) -> Iterator[Ask]:
    """Ask once a wave how unevenly bad events came in the hour before it, in twelve windows of five minutes."""
    epoch = control_epoch(context, book)
    known = book.wave(epoch.wave.name) if epoch is not None else None
    rules = [rule for rule in context.rules if rule.is_share and not (known and rule.name in known.usual_dispersion)]
    if epoch is None or epoch.wave.has_passed or not rules:
        return
    starting = [tenant.name for tenant in context.tenants if baseline_time(tenant, context.evaluation.interval) == epoch.time]
    names = sorted({*context.control[:SPREAD_NAMES], *starting[: max(0, SPREAD_NAMES - len(context.control))]})
    for rule in rules:
        for number in range(SPREAD_WINDOWS):
            end = epoch.time - number * SPREAD_WINDOW
            yield from _asks(rule, names, end - SPREAD_WINDOW, end, Purpose.SPREAD)


def _live(context: GateContext, judged: tuple[Judged, ...], time: datetime) -> Iterator[Ask]:
    interval = context.evaluation.interval
    control = control_windows(context, judged, time)
    cohorts: dict[tuple[WaveInContext, datetime, datetime], list[Judged]] = {}
    for each in judged:
        cohorts.setdefault((each.wave, each.start, each.seen), []).append(each)
    for rule in context.rules:
        groups: dict[datetime, list[str]] = {}
        for members in cohorts.values():
            begin = time if isinstance(rule.kind, RawQuery) else members[0].window_start(rule, time, interval)
            groups.setdefault(begin, []).extend(each.name for each in members)
        if rule.name in control and context.control:
            groups.setdefault(control[rule.name], []).extend(context.control)
        for begin, names in sorted(groups.items()):
            yield from _asks(rule, sorted(names), begin, time)


def _asks(rule: GateRule, names: Iterable[str], start: datetime, time: datetime, purpose: Purpose = Purpose.LIVE) -> Iterator[Ask]:
    for part in parts_of(rule):
        for group in chunks(rule, part, tuple(names), time - start):
            promql = part_query(rule, part, tenant_matcher(rule.tenant_label, group), time - start)
            begin = None if isinstance(rule.kind, RawQuery) else start
            yield Ask(rule.name, part, promql, time, rule.tenant_label, group, begin, purpose)
