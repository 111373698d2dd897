"""Half-open stretches of time `[start, end)` in UTC, and the three things that are done with them: unite, take away, meet.

All three take and give streams that are sorted by start; they read no further ahead than they must. So "the next five openings" costs
five openings, not a year of them. Touching stretches are one: at 20:00-22:00 and 22:00-01:00 nothing closes at 22:00.
"""

from collections.abc import Iterable, Iterator
from datetime import UTC, datetime
from typing import NamedTuple

BEGINNING = datetime.min.replace(tzinfo=UTC)
FOREVER = datetime.max.replace(tzinfo=UTC)


class Part(NamedTuple):
    """One stretch of one entry, before it was united with others."""

    start: datetime
    end: datetime
    name: str


class Interval(NamedTuple):
    """All instants t with `start <= t < end`, both aware UTC. `parts`: the named stretches that it was united from, if any."""

    start: datetime
    end: datetime
    parts: tuple[Part, ...] = ()

    def covers(self, instant: datetime) -> bool:
        """Tell whether an instant is in it."""
        return self.start <= instant < self.end

    def names(self) -> tuple[str, ...]:
        """The names of the parts that reach into it, sorted."""
        return tuple(sorted({part.name for part in self.parts if part.start < self.end and part.end > self.start}))


def united(parts: Iterable[Part]) -> Iterator[Interval]:
    """Join what overlaps or touches in one stream sorted by start."""
    joined: list[Part] = []
    end = BEGINNING
    for part in parts:
        if joined and part.start > end:
            yield Interval(joined[0].start, end, tuple(joined))
            joined.clear()
        joined.append(part)
        end = max(end, part.end)
    if joined:
        yield Interval(joined[0].start, end, tuple(joined))


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


def clipped(stretches: Iterable[Interval], within: Interval) -> Iterator[Interval]:
    """What a disjoint, sorted stream leaves of itself within a stretch."""
    for start, end, parts in stretches:
        if start >= within.end:
            return
        if end > within.start:
            yield Interval(max(start, within.start), min(end, within.end), parts)


def intersection(left: Iterable[Interval], right: Iterable[Interval]) -> Iterator[Interval]:
    """Everything that is in both of two disjoint, sorted streams; the parts are those of the left one."""
    lefts, rights = iter(left), iter(right)
    a, b = next(lefts, None), next(rights, None)
    while a is not None and b is not None:
        start, end = max(a.start, b.start), min(a.end, b.end)
        if start < end:
            yield Interval(start, end, a.parts)
        if a.end <= b.end:
            a = next(lefts, None)
        else:
            b = next(rights, None)
