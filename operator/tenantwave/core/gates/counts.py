"""Bad events of all events: what most of the gates count."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from .constants import LARGEST_NUMBER


@dataclass(frozen=True, slots=True)
class Counts:
    """Bad events of all events in a window, clamped to 0 <= bad <= total. Extrapolated, so not whole."""

    bad: float
    total: float

    def plus(self, other: Counts | None) -> Counts:
        """Return both together."""
        return self if other is None else Counts(self.bad + other.bad, self.total + other.total)

    def clamped(self) -> Counts:
        """Return counts with 0 <= bad <= total: the two were extrapolated apart from each other."""
        total = max(0.0, self.total)
        return Counts(min(max(0.0, self.bad), total), total)


def is_number(value: float) -> bool:
    """Tell whether a value can be counted with: not NaN, and no larger than a counter gets."""
    return abs(value) <= LARGEST_NUMBER  # a comparison with NaN is false


NOTHING = Counts(0.0, 0.0)


def total_of(counts: Iterable[Counts]) -> Counts:
    """Return all of them together."""
    bad = total = 0.0
    for each in counts:
        bad += each.bad
        total += each.total
    return Counts(bad, total)
