"""The clock that a test moves: what is told, what it was in truth, and the stamps of the API server."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from support.told_time import Move, Timeline

BEGUN = datetime(2026, 6, 1, 12, tzinfo=UTC)
MINUTE, WEEK = timedelta(minutes=1), timedelta(days=7)
STANDS = Move(BEGUN, BEGUN + WEEK, runs=False)
RUNS = Move(BEGUN + MINUTE, BEGUN + 2 * WEEK, runs=True)
TIMELINE = Timeline((STANDS, RUNS))


@pytest.mark.parametrize(
    ("real", "told"),
    [
        pytest.param(BEGUN - MINUTE, BEGUN - MINUTE, id="before any move it is real time"),
        pytest.param(BEGUN, BEGUN + WEEK, id="moved"),
        pytest.param(BEGUN + MINUTE / 2, BEGUN + WEEK, id="stands still"),
        pytest.param(BEGUN + MINUTE, BEGUN + 2 * WEEK, id="moved again"),
        pytest.param(BEGUN + 3 * MINUTE, BEGUN + 2 * WEEK + 2 * MINUTE, id="runs on"),
    ],
)
def test_time_is_told(real: datetime, told: datetime) -> None:
    """From each move on, and never before it."""
    assert TIMELINE.told(real) == told


@pytest.mark.parametrize("real", [BEGUN - MINUTE, BEGUN, BEGUN + MINUTE, BEGUN + 90 * MINUTE])
def test_told_time_is_translated_back(real: datetime) -> None:
    """What Prometheus is asked about is the instant that was meant."""
    assert TIMELINE.real(TIMELINE.told(real)) == real


def test_time_that_was_left_out_is_the_move() -> None:
    """Nobody lived through the days that were skipped: a question about them is one about the end of what was before."""
    assert TIMELINE.real(BEGUN + 10 * MINUTE) == BEGUN
    assert TIMELINE.real(BEGUN + WEEK + 3 * MINUTE) == RUNS.real_time


def test_what_was_left_out_has_passed() -> None:
    """Once it was left out. The first move says when the story begins, which may be long ago."""
    assert TIMELINE.skipped(BEGUN - MINUTE) == TIMELINE.skipped(BEGUN + MINUTE / 2) == timedelta(0)
    assert TIMELINE.skipped(BEGUN + MINUTE) == WEEK


def test_stamps_of_the_api_server_are_retold() -> None:
    """Those of objects alone; all else stays as it is."""
    document = b'{"metadata":{"name":"a","creationTimestamp":"2026-06-01T12:02:00Z"},"spec":{"untilTime":"2026-06-01T12:02:00Z"}}'
    retold = b'{"metadata":{"name":"a","creationTimestamp":"2026-06-15T12:01:00Z"},"spec":{"untilTime":"2026-06-01T12:02:00Z"}}'
    assert TIMELINE.retold(document) == retold
    assert Timeline().retold(document) == document
