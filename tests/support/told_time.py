"""A clock that a test moves: the operator under test is told that it is another day, so that weeks pass in seconds.

Told time is real time until the first move; from each move on it runs, or stands still, from the instant that the test chose. Everything that
one operator compares must live in told time: its Clock, the stamps that the API server gives to objects of our kinds, and the times at which it
asks Prometheus. `support.told_operator` sees to that; a Timeline translates both ways.
"""

from __future__ import annotations

import json
import re
from bisect import bisect_right
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from pathlib import Path

VARIABLE = "TENANTWAVE_TEST_TIME"
"""The file with the moves, one JSON array a line. Beside it, with `.seen` appended, stands how many of them the operator has acted upon."""
SKEW_VARIABLE = "TENANTWAVE_TEST_SKEW"
"""Seconds by which the API server's clock seems to be ahead of ours."""

_STAMP = re.compile(rb'("(?:creation|deletion)Timestamp":")([^"]+)(")')


@dataclass(frozen=True, slots=True)
class Move:
    """From `real_time` on it is `told_time`; the clock `runs` on from there, or stands still."""

    real_time: datetime
    told_time: datetime
    runs: bool

    def line(self) -> str:
        """Return the move as it stands in the file."""
        return json.dumps([self.real_time.isoformat(), self.told_time.isoformat(), self.runs]) + "\n"


@dataclass(frozen=True, slots=True)
class Timeline:
    """All moves so far, in order. Told time never goes back."""

    moves: tuple[Move, ...] = ()

    def told(self, real: datetime) -> datetime:
        """Return what the operator is told at a real instant."""
        found = bisect_right(self.moves, real, key=lambda move: move.real_time)
        if not found:
            return real
        move = self.moves[found - 1]
        return move.told_time + (real - move.real_time if move.runs else timedelta(0))

    def skipped(self, real: datetime) -> timedelta:
        """Return how much time has been left out up to a real instant, since the first move, which says when the story begins."""
        pairs = pairwise(self.moves)
        jumps = (after.told_time - Timeline((before,)).told(after.real_time) for before, after in pairs if after.real_time <= real)
        return sum(jumps, timedelta(0))

    def real(self, told: datetime) -> datetime:
        """Return when it was that the operator was told this; of a time that was left out, when it was."""
        found = bisect_right(self.moves, told, key=lambda move: move.told_time)
        end = self.moves[found].real_time if found < len(self.moves) else None
        if not found:
            return told if end is None else min(told, end)
        move = self.moves[found - 1]
        real = move.real_time + (told - move.told_time)
        return real if end is None else min(real, end)

    def retold(self, document: bytes) -> bytes:
        """Return JSON of the API server with its stamps in told time. They have whole seconds, and so have moves: none is ambiguous."""
        if not self.moves:
            return document
        return _STAMP.sub(
            lambda found: found[1] + _text(self.told(datetime.fromisoformat(found[2].decode()))).encode() + found[3], document
        )


class TimeFile:
    """The moves as the operator's process reads them."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._size = -1
        self.timeline = Timeline()

    def has_moved(self) -> bool:
        """Read moves that are new, and tell whether there were any."""
        size = self._path.stat().st_size if self._path.exists() else 0
        if size == self._size or not size:
            return False
        self._size = size
        moves = (json.loads(line) for line in self._path.read_text().splitlines())
        self.timeline = Timeline(
            tuple(Move(datetime.fromisoformat(real), datetime.fromisoformat(told), runs) for real, told, runs in moves)
        )
        return True

    def acted(self) -> None:
        """Tell the test that all moves read so far have been acted upon."""
        Path(f"{self._path}.seen").write_text(str(len(self.timeline.moves)))


class ToldClock:
    """The port `Clock`, in told time. Of durations inside the process what was left out has passed, too."""

    def __init__(self, timeline: Callable[[], Timeline], real: Callable[[], datetime], monotonic: Callable[[], float]) -> None:
        self._timeline = timeline
        self._real = real
        self._monotonic = monotonic

    def now(self) -> datetime:
        """Return the instant that we are told."""
        return self._timeline().told(self._real())

    def monotonic(self) -> float:
        """Return seconds that never go back."""
        return self._monotonic() + self._timeline().skipped(self._real()).total_seconds()


def _text(time: datetime) -> str:
    return time.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
