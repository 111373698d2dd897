"""What is asked of a metrics source, and what comes back: the values that both the rules and the adapter speak.

A question is always one instant query for many tenants at a stated time. An answer is either `Rows` (the source answered fully, and the
numbers
may be judged) or a `QueryFailure` (it did not, so nothing follows from it: neither health nor failure).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from enum import Enum


@dataclass(frozen=True, slots=True)
class Source:
    """One Prometheus as a policy names it. Policies with equal sources share their answers. Never holds a credential, only the Secret's
    name."""

    url: str
    secret_name: str | None = None
    headers: tuple[tuple[str, str], ...] = ()
    tenant_label: str = "namespace"
    query_delay: timedelta = timedelta(0)
    timeout: timedelta = timedelta(seconds=20)


@dataclass(frozen=True, slots=True)
class Row:
    """One element of an instant vector. `value` may be NaN or infinite: the verdict decides what that means, never the transport."""

    labels: Mapping[str, str]
    value: float


@dataclass(frozen=True, slots=True)
class Rows:
    """A complete answer. `warnings` are advisory only (those that make an answer partial arrive as a `QueryFailure`)."""

    rows: tuple[Row, ...]
    warnings: tuple[str, ...] = ()


class FailureKind(Enum):
    """Why an answer cannot be used. All of them lead to Unknown, so the kind serves the message and the pace of asking, never the
    verdict."""

    UNREACHABLE = "Unreachable"  # no connection, too slow, or a server error
    AUTH_FAILED = "AuthFailed"  # 401, 403
    NOT_PROMETHEUS = "NotPrometheus"  # something else answers at this URL
    REDIRECTED = "Redirected"  # 3xx, never followed
    TLS_FAILED = "TLSFailed"  # certificate not trusted, or none offered
    QUERY_INVALID = "QueryInvalid"  # refused, or an answer of a shape that cannot be judged
    THROTTLED = "Throttled"  # 429, 503
    TOO_LARGE = "TooLarge"  # the body is over the limit
    PARTIAL = "Partial"  # some stores did not answer
    BLIND = "Blind"  # answered, but no series of any tenant
    STALE = "Stale"  # answered, but the newest sample is too old


OF_THE_QUERY = frozenset(
    {FailureKind.QUERY_INVALID, FailureKind.TOO_LARGE, FailureKind.PARTIAL, FailureKind.BLIND, FailureKind.STALE}
)  # such a failure concerns its own metric; any other makes every metric of the source Unknown


@dataclass(frozen=True, slots=True)
class QueryFailure:
    """An answer that must not be judged.

    `message` says what, why and how to mend; it never contains a credential. `detail` is the server's own text, for the log alone.
    `retry_after`: how long the server asked to be left alone. `can_split`: half as many tenants may work.
    """

    kind: FailureKind
    message: str
    retry_after: timedelta | None = None
    can_split: bool = False
    detail: str = ""

    @property
    def is_of_the_source(self) -> bool:
        """Tell whether the whole source is unusable, and not only this query."""
        return self.kind not in OF_THE_QUERY


Answer = Rows | QueryFailure


class Part(Enum):
    """What a query of a gate brings."""

    BAD = "bad"  # bad events by tenant, in the window
    TOTAL = "total"  # all events by tenant, in the window
    FAST = "fast"  # latency: events within the bound, by tenant, in the window
    VALUE = "value"  # increase and query: the number to compare, by tenant
    FRESHNESS = "freshness"  # one row: when the newest sample of the fleet was taken, in seconds since 1970
    COVERAGE = "coverage"  # one row: how many of the missed ticks had fresh data


class Purpose(Enum):
    """What a question is asked for."""

    LIVE = "live"  # what happens now
    BASELINE = "baseline"  # what was usual: the hour before the first write
    SPREAD = "spread"  # how unevenly errors came in that hour: one of twelve windows of five minutes


@dataclass(frozen=True, slots=True)
class Ask:
    """One query of a tick, for tenants that share a window. Its number does not grow with the tenants, but for chunks of 500.

    `start_time` is where the window begins (None: no window). `time` is where it ends: T for what happens now, earlier for what was before.
    """

    gate: str
    part: Part
    promql: str
    time: datetime
    label: str
    tenants: tuple[str, ...] = ()
    start_time: datetime | None = None
    purpose: Purpose = Purpose.LIVE


@dataclass(frozen=True, slots=True)
class TickRequest:
    """All queries of one tick of one upgrade. `time` is T: every number of the tick belongs to it."""

    run_id: str
    source: Source
    time: datetime
    interval: timedelta
    asks: tuple[Ask, ...]


@dataclass(frozen=True, slots=True)
class TickSample:
    """The answers of a tick, in any order. Tenants whose question has no answer here are left as they were.

    `is_slow`: the tick took longer than its interval, or its questions would exceed what a source is asked in a minute.
    """

    run_id: str
    time: datetime
    interval: timedelta
    answered_time: datetime
    answers: tuple[tuple[Ask, Answer], ...] = field(default=())
    is_slow: bool = False
