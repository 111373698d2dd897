"""From the answers of a tick to numbers by gate and tenant. What cannot be attributed to exactly one tenant that was asked for is never
used."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from math import ceil, isfinite

from .book import SourceHealth
from .constants import MAX_INTERVAL, RESUME_TICKS
from .counts import Counts
from .rules import GateContext, GateRule, Latency, RawQuery
from .samples import Answer, Ask, FailureKind, Part, Purpose, QueryFailure, TickSample
from .ticks import max_age

Numbers = Mapping[str, float]
"""Tenant -> number."""

_NONE: Numbers = {}
FAST_TICKS = 20
"""Ticks in a row without trouble before a slow source is asked more often again."""


@dataclass(frozen=True, slots=True)
class Reading:
    """The numbers of one tick, by gate.

    `values`: by gate and part, for tenants that have a row. `asked`: for whom a gate was asked. `unusable`: gates about which nothing can be
    said; `failed`: the same for single tenants, where a chunk failed. `recovered`: the share of missed ticks that had fresh data.
    """

    values: Mapping[tuple[str, Part], Numbers] = field(default_factory=dict)
    asked: Mapping[str, frozenset[str]] = field(default_factory=dict)
    unusable: Mapping[str, QueryFailure] = field(default_factory=dict)
    failed: Mapping[str, Mapping[str, QueryFailure]] = field(default_factory=dict)
    recovered: float = 0.0
    dropped_count: int = 0

    def is_asked(self, gate: str, tenant: str) -> bool:
        """Tell whether a gate was asked for a tenant."""
        return tenant in self.asked.get(gate, ())

    def failure(self, gate: str, tenant: str) -> QueryFailure | None:
        """Return why nothing can be said about a gate of a tenant; None if something can."""
        failed = self.failed.get(gate)
        return self.unusable.get(gate) or (failed.get(tenant) if failed else None)

    def value(self, gate: str, tenant: str) -> float | None:
        """Return the number that is compared, of an increase or a raw query; None without a row."""
        return self.values.get((gate, Part.VALUE), _NONE).get(tenant)

    def has_requests_without_bound(self, rule: GateRule, tenant: str) -> bool:
        """Tell whether a histogram has requests of the tenant, but no bucket of the bound in question."""
        if not isinstance(rule.kind, Latency) or tenant in self.values.get((rule.name, Part.FAST), _NONE):
            return False
        return self.values.get((rule.name, Part.TOTAL), _NONE).get(tenant, 0.0) > 0

    def counts(self, rule: GateRule, tenant: str) -> Counts | None:
        """Return a tenant's counts as they came; None without a row of all events.

        Bad events without a row are none; a missing bucket is NaN unless nothing happened.
        """
        total = self.values.get((rule.name, Part.TOTAL), _NONE).get(tenant)
        if total is None:
            return None
        if not isinstance(rule.kind, Latency):
            return Counts(self.values.get((rule.name, Part.BAD), _NONE).get(tenant, 0.0), total)
        fast = self.values.get((rule.name, Part.FAST), _NONE).get(tenant)
        if fast is None:
            return Counts(float("nan") if total > 0 else 0.0, total)
        return Counts(total - fast, total)


def live_reading(context: GateContext, sample: TickSample) -> Reading:
    """Read the live answers of a tick: freshness first, since numbers of a fleet that nobody scrapes mean nothing."""
    live = [(ask, answer) for ask, answer in sample.answers if ask.purpose is Purpose.LIVE]
    reading = read([(ask, answer) for ask, answer in live if ask.part not in (Part.FRESHNESS, Part.COVERAGE)])
    unusable = dict(reading.unusable)
    down = source_failure(context, sample)
    for rule in context.rules:
        problem = down or _freshness_problem(rule, live, sample.time, max_age(context.evaluation)) or _blindness(rule, context, reading)
        if problem is not None:
            unusable[rule.name] = problem
    return Reading(reading.values, reading.asked, unusable, reading.failed, _recovered(live, sample.interval), reading.dropped_count)


def baseline_reading(sample: TickSample) -> Reading:
    """Read the baselines that came with a tick. A failure concerns its own tenants alone, who will be asked for again."""
    return read([(ask, answer) for ask, answer in sample.answers if ask.purpose is Purpose.BASELINE])


def source_failure(context: GateContext, sample: TickSample) -> QueryFailure | None:
    """Return why the source as a whole is unusable: a transport failure of a live question concerns every metric. One of a gate that is only
    observed concerns that gate alone."""
    enforced = {rule.name for rule in context.rules if rule.enforced} or {rule.name for rule in context.rules}
    failures = (
        answer
        for ask, answer in sample.answers
        if isinstance(answer, QueryFailure) and ask.purpose is Purpose.LIVE and ask.part is not Part.COVERAGE and ask.gate in enforced
    )
    return next((failure for failure in failures if failure.is_of_the_source), None)


def next_health(before: SourceHealth, context: GateContext, sample: TickSample) -> SourceHealth:
    """Return how the source does after this tick.

    Throttling and slowness double the interval, up to five minutes. Three usable ticks in a row end the first. Where we were too slow, we dare to
    halve it after twenty, so that a server at its limit is not pushed over it again and again.
    """
    failure = source_failure(context, sample)
    throttled = failure is not None and failure.kind is FailureKind.THROTTLED
    slow_since = before.slow_since_time or (sample.time if sample.is_slow else None)
    most = max(1, ceil(MAX_INTERVAL / context.evaluation.interval))
    factor = min(most, before.interval_factor * 2) if sample.is_slow or throttled else before.interval_factor
    if failure is not None:
        quiet_until = sample.answered_time + failure.retry_after if failure.retry_after is not None else None
        return SourceHealth(before.bad_ticks + 1, 0, failure.kind.value, failure.message, factor, quiet_until, slow_since)
    in_row = 0 if sample.is_slow else before.usable_in_row + 1
    if in_row >= RESUME_TICKS and slow_since is None:
        factor = 1
    elif in_row >= FAST_TICKS:
        in_row, factor = 0, factor // 2
    return SourceHealth(
        usable_in_row=in_row, interval_factor=max(1, factor), slow_since_time=slow_since if factor > 1 or sample.is_slow else None
    )


def read(answers: Iterable[tuple[Ask, Answer]]) -> Reading:
    """Read answers of one purpose and one time per gate. Cost: 0.3 microseconds a row."""
    values: dict[tuple[str, Part], dict[str, float]] = {}
    asked: dict[str, set[str]] = {}
    unusable: dict[str, QueryFailure] = {}
    failed: dict[str, dict[str, QueryFailure]] = {}
    dropped = 0
    for ask, answer in answers:
        asked.setdefault(ask.gate, set()).update(ask.tenants)
        if isinstance(answer, QueryFailure):
            failed.setdefault(ask.gate, {}).update(dict.fromkeys(ask.tenants, answer))
            continue
        wanted, found = frozenset(ask.tenants), values.setdefault((ask.gate, ask.part), {})
        for row in answer.rows:
            tenant = row.labels.get(ask.label)
            if not tenant:
                unusable[ask.gate] = _invalid(
                    f"{ask.gate}: a row of the answer has no label {ask.label}, so it belongs to no tenant; group by that label"
                )
            elif tenant not in wanted:
                dropped += 1
            elif tenant in found:
                unusable[ask.gate] = _invalid(
                    f"{ask.gate}: two rows of the answer belong to the same tenant; aggregate by {ask.label} alone"
                )
            else:
                found[tenant] = row.value
    return Reading(values, {gate: frozenset(names) for gate, names in asked.items()}, unusable, failed, dropped_count=dropped)


def _freshness_problem(rule: GateRule, live: list[tuple[Ask, Answer]], time: datetime, oldest: timedelta) -> QueryFailure | None:
    if isinstance(rule.kind, RawQuery):
        return None
    answer = next((answer for ask, answer in live if ask.gate == rule.name and ask.part is Part.FRESHNESS), None)
    if answer is None:
        return QueryFailure(
            FailureKind.UNREACHABLE, f"{rule.name}: it was not asked how old the newest sample is, so nothing follows from this tick"
        )
    if isinstance(answer, QueryFailure):
        return answer
    if len(answer.rows) > 1:
        return _invalid(f"{rule.name}: the age of the newest sample came as {len(answer.rows)} rows instead of one")
    if not answer.rows or not isfinite(answer.rows[0].value):
        return QueryFailure(
            FailureKind.BLIND,
            f"{rule.name}: Prometheus has no series of any tenant for it; check the metric's name, its matchers and that the label "
            f"{rule.tenant_label} names the tenant (tenantLabel)",
        )
    newest = answer.rows[0].value
    if newest < (time - oldest).timestamp():
        shown = datetime.fromtimestamp(max(0.0, newest), UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
        return QueryFailure(
            FailureKind.STALE, f"{rule.name}: the newest sample of the whole fleet is from {shown}; check that its targets are scraped"
        )
    return None


def _blindness(rule: GateRule, context: GateContext, reading: Reading) -> QueryFailure | None:
    """Tell whether there is no row for anybody who was asked for: then the answer says nothing, rather than that nobody has data.

    Where there is no control, a wave without any traffic is no reason to doubt the answer of the queries that we wrote: freshness has shown
    series of tenants.
    """
    answered = reading.asked.get(rule.name, frozenset()) - frozenset(reading.failed.get(rule.name, ()))
    if not answered or not (isinstance(rule.kind, RawQuery) or answered.intersection(context.control)):
        return None
    if any(numbers for (gate, _), numbers in reading.values.items() if gate == rule.name):
        return None
    return QueryFailure(
        FailureKind.BLIND,
        f"{rule.name}: the answer has no row for any of {len(answered)} tenants; check the query in Prometheus, and that the label "
        f"{rule.tenant_label} names the tenant",
    )


def _recovered(live: list[tuple[Ask, Answer]], interval: timedelta) -> float:
    """Return the least share, over the gates, of missed ticks that had fresh data after all."""
    asks = [(ask, answer) for ask, answer in live if ask.part is Part.COVERAGE]
    return min((_recovered_share(ask, answer, interval) for ask, answer in asks), default=0.0)


def _recovered_share(ask: Ask, answer: Answer, interval: timedelta) -> float:
    if isinstance(answer, QueryFailure) or len(answer.rows) != 1 or ask.start_time is None or not isfinite(answer.rows[0].value):
        return 0.0
    steps = max(1, (ask.time - ask.start_time) // interval)
    return min(1.0, max(0.0, answer.rows[0].value / steps))


def _invalid(message: str) -> QueryFailure:
    return QueryFailure(FailureKind.QUERY_INVALID, message)
