"""Half-open stretches of time `[start, end)` in UTC, and the three things that are done with them: unite, take away, meet.

All three take and give streams that are sorted by start; they read no further ahead than they must. So "the next five openings" costs
five openings, not a year of them. Touching stretches are one: at 20:00-22:00 and 22:00-01:00 nothing closes at 22:00.
"""

import heapq
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from operator import attrgetter

BEGINNING = datetime.min.replace(tzinfo=UTC)
FOREVER = datetime.max.replace(tzinfo=UTC)


@dataclass(frozen=True, slots=True)
class Interval:
    """All instants t with `start <= t < end`, both aware UTC."""

    start: datetime
    end: datetime

    def __contains__(self, instant: datetime) -> bool:
        return self.start <= instant < self.end


def merged(stretches: Iterable[Interval]) -> Iterator[Interval]:
    """Join what overlaps or touches in one stream sorted by start; empty stretches vanish."""
    start = end = None
    for stretch in stretches:
        if stretch.end <= stretch.start:
            continue
        if start is None or end is None:
            start, end = stretch.start, stretch.end
        elif stretch.start <= end:
            end = max(end, stretch.end)
        else:
            yield Interval(start, end)
            start, end = stretch.start, stretch.end
    if start is not None and end is not None:
        yield Interval(start, end)


def union(*streams: Iterable[Interval]) -> Iterator[Interval]:
    """Everything that is in at least one stream; disjoint, sorted, nothing touching."""
    return merged(streams[0] if len(streams) == 1 else heapq.merge(*streams, key=attrgetter("start")))


def complement(stretches: Iterable[Interval], within: Interval) -> Iterator[Interval]:
    """The gaps that a disjoint, sorted stream leaves open within a stretch."""
    free_from = within.start
    for taken in stretches:
        if taken.start >= within.end:
            break
        if taken.start > free_from:
            yield Interval(free_from, taken.start)
        free_from = max(free_from, taken.end)
    if free_from < within.end:
        yield Interval(free_from, within.end)


def intersection(left: Iterable[Interval], right: Iterable[Interval]) -> Iterator[Interval]:
    """Everything that is in both of two disjoint, sorted streams."""
    lefts, rights = iter(left), iter(right)
    a, b = next(lefts, None), next(rights, None)
    while a is not None and b is not None:
        start, end = max(a.start, b.start), min(a.end, b.end)
        if start < end:
            yield Interval(start, end)
        if a.end <= b.end:
            a = next(lefts, None)
        else:
            b = next(rights, None)
