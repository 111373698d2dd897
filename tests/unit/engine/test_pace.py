"""A bound per minute is kept whatever comes when, in order, and with nothing lost."""

from __future__ import annotations

import asyncio

from hypothesis import given
from hypothesis import strategies as st

from support.virtual_time import run_virtually
from tenantwave.engine.pace import Pace


async def begun_at(per_minute: int, arrivals: list[float]) -> list[tuple[int, float]]:
    """Return who began when, in the order of beginning, where each arrives so many seconds after the one before."""
    pace, loop = Pace(per_minute), asyncio.get_running_loop()
    begun: list[tuple[int, float]] = []

    async def come(number: int) -> None:
        await pace.turn()
        begun.append((number, loop.time()))

    async with asyncio.TaskGroup() as group:
        for number, pause in enumerate(arrivals):
            await asyncio.sleep(pause)
            group.create_task(come(number))
    return begun


@given(st.integers(1, 5), st.lists(st.sampled_from([0.0, 0.0, 1.0, 20.0, 59.0, 60.0, 61.0]), max_size=30))
def test_no_minute_has_more_than_its_share_and_nobody_is_left_out(per_minute: int, arrivals: list[float]) -> None:
    """In the order of arrival; at once wherever the last minute has room."""
    begun = run_virtually(begun_at(per_minute, arrivals))
    assert [number for number, _ in begun] == list(range(len(arrivals)))
    times = [time for _, time in begun]
    assert all(later - earlier > 60 - 1e-6 for earlier, later in zip(times, times[per_minute:], strict=False))
    arrived = [sum(arrivals[: number + 1]) for number in range(len(arrivals))]
    for number, (came, time) in enumerate(zip(arrived, times, strict=True)):
        earliest = max(came, times[number - per_minute] + 60 if number >= per_minute else came)
        assert abs(time - earliest) < 1e-6
