"""From the answers of a tick to numbers by gate and tenant. What cannot be attributed to exactly one tenant that was asked for is never
used."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from math import isfinite

from .book import SourceHealth
from .constants import RESUME_TICKS
from .rules import GateContext, GateRule, RawQuery
from .samples import Answer, Ask, FailureKind, Part, Purpose, QueryFailure, TickSample
from .ticks import max_age

TenantPart = tuple[str, Part, str]  # gate, part, tenant


@dataclass(frozen=True, slots=True)
class Reading:
    """The numbers of one tick.

    `values`: by gate, part and tenant; absent means that the tenant has no row. `asked`: for whom a gate was asked. `unusable`: gates
    about which
    nothing can be said; `failed`: the same for single tenants, where a chunk failed. `recovered`: the share of missed ticks that had
    fresh data.
    """

    values: Mapping[TenantPart, float] = field(default_factory=dict)
    asked: frozenset[tuple[str, str]] = frozenset()
    unusable: Mapping[str, QueryFailure] = field(default_factory=dict)
    failed: Mapping[tuple[str, str], QueryFailure] = field(default_factory=dict)
    recovered: float = 0.0
    dropped_count: int = 0

    def failure(self, gate: str, tenant: str) -> QueryFailure | None:
        """Return why nothing can be said about a gate of a tenant; None if something can."""
        return self.unusable.get(gate) or self.failed.get((gate, tenant))

    def counts(self, gate: str, tenant: str) -> tuple[float | None, float | None, float | None]:
        """Return total, bad and fast events of a tenant, None for those without a row."""
        total, bad, fast = (self.values.get((gate, part, tenant)) for part in (Part.TOTAL, Part.BAD, Part.FAST))
        return total, bad, fast


def live_reading(context: GateContext, sample: TickSample) -> Reading:
    """Read the live answers of a tick: freshness first, since numbers of a fleet that nobody scrapes mean nothing."""
    live = [(ask, answer) for ask, answer in sample.answers if ask.purpose is Purpose.LIVE]
    reading = _read([(ask, answer) for ask, answer in live if ask.part not in (Part.FRESHNESS, Part.COVERAGE)])
    unusable = dict(reading.unusable)
    down = source_failure(sample)
    for rule in context.rules:
        problem = down or _freshness_problem(rule, live, sample.time, max_age(context.evaluation)) or _is_blind(rule, reading)
        if problem is not None:
            unusable[rule.name] = problem
    return Reading(reading.values, reading.asked, unusable, reading.failed, _recovered(live, sample.interval), reading.dropped_count)


def baseline_reading(sample: TickSample) -> Reading:
    """Read the baselines that came with a tick. A failure concerns its own tenants alone, who will be asked for again."""
    return _read([(ask, answer) for ask, answer in sample.answers if ask.purpose is Purpose.BASELINE])


def source_failure(sample: TickSample) -> QueryFailure | None:
    """Return why the source as a whole is unusable: a transport failure of a live question concerns every metric."""
    failures = (
        answer
        for ask, answer in sample.answers
        if isinstance(answer, QueryFailure) and ask.purpose is Purpose.LIVE and ask.part is not Part.COVERAGE
    )
    return next((failure for failure in failures if failure.is_of_the_source), None)


def next_health(before: SourceHealth, sample: TickSample) -> SourceHealth:
    """Return how the source does after this tick. Throttling doubles the interval; three usable ticks in a row end it."""
    failure = source_failure(sample)
    if failure is None:
        in_row = before.usable_in_row + 1
        return SourceHealth(usable_in_row=in_row, interval_factor=1 if in_row >= RESUME_TICKS else before.interval_factor)
    throttled = failure.kind is FailureKind.THROTTLED
    factor = min(64, before.interval_factor * 2) if throttled else before.interval_factor
    quiet_until = sample.answered_time + failure.retry_after if failure.retry_after is not None else None
    return SourceHealth(before.bad_ticks + 1, 0, failure.kind.value, failure.message, factor, quiet_until)


def _read(answers: list[tuple[Ask, Answer]]) -> Reading:
    values: dict[TenantPart, float] = {}
    asked: set[tuple[str, str]] = set()
    unusable: dict[str, QueryFailure] = {}
    failed: dict[tuple[str, str], QueryFailure] = {}
    dropped = 0
    for ask, answer in answers:
        asked.update((ask.gate, tenant) for tenant in ask.tenants)
        if isinstance(answer, QueryFailure):
            failed.update(dict.fromkeys(((ask.gate, tenant) for tenant in ask.tenants), answer))
            continue
        wanted = set(ask.tenants)
        for row in answer.rows:
            tenant = row.labels.get(ask.label)
            if not tenant:
                unusable[ask.gate] = _invalid(
                    f"{ask.gate}: a row of the answer has no label {ask.label}, so it belongs to no tenant; group by that label"
                )
            elif tenant not in wanted:
                dropped += 1
            elif (ask.gate, ask.part, tenant) in values:
                unusable[ask.gate] = _invalid(
                    f"{ask.gate}: two rows of the answer belong to the same tenant; aggregate by {ask.label} alone"
                )
            else:
                values[ask.gate, ask.part, tenant] = row.value
    return Reading(values, frozenset(asked), unusable, failed, dropped_count=dropped)


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


def _is_blind(rule: GateRule, reading: Reading) -> QueryFailure | None:
    """Tell whether a raw query has no row for anybody: then it says nothing, rather than that nobody has data."""
    asked = {tenant for gate, tenant in reading.asked if gate == rule.name}
    answered = asked - {tenant for gate, tenant in reading.failed if gate == rule.name}
    if not isinstance(rule.kind, RawQuery) or not answered or any(gate == rule.name for gate, _, _ in reading.values):
        return None
    return QueryFailure(
        FailureKind.BLIND, f"{rule.name}: the query has no row for any tenant; check it in Prometheus, and the label {rule.tenant_label}"
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
