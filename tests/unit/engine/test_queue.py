"""The work queue: no name twice at a time, none lost, patience with those that fail."""

from __future__ import annotations

import asyncio
import logging
from collections import Counter
from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from support.virtual_time import run_virtually
from tenantwave.engine.queue import LONGEST_BACKOFF, WorkQueue, backoff
from tenantwave.faults import Unavailable


class Counting:
    """Telemetry that remembers retries."""

    def __init__(self) -> None:
        self.retries: Counter[str] = Counter()
        self.errors: list[str] = []

    def queue_retry(self, queue: str) -> None:
        self.retries[queue] += 1

    def reconcile(self, controller: str, seconds: float, error: str = "") -> None:
        self.errors.append(error)


def a_queue() -> WorkQueue[str]:
    """A queue without jitter. Must be made inside the loop."""
    return WorkQueue("upgrade", telemetry=Counting(), chance=lambda: 0.5)


def seconds(number: float) -> timedelta:
    return timedelta(seconds=number)


def now() -> float:
    return asyncio.get_running_loop().time()


def test_a_name_is_worked_on_once_however_often_it_was_added() -> None:
    async def story() -> list[str]:
        queue, seen = a_queue(), list[str]()

        async def handle(key: str) -> None:
            seen.append(key)

        for key in ("a", "b", "a", "a", "c", "b"):
            queue.add(key)
        async with asyncio.timeout(10), asyncio.TaskGroup() as tasks:
            tasks.create_task(queue.run(handle))
            await asyncio.sleep(1)
            queue.close()
        return seen

    assert run_virtually(story()) == ["a", "b", "c"]


def test_a_name_added_while_it_runs_runs_once_more_and_never_beside_itself() -> None:
    async def story() -> tuple[int, int]:
        queue, at_once, most, count = a_queue(), 0, 0, 0

        async def handle(key: str) -> None:
            nonlocal at_once, most, count
            at_once, count = at_once + 1, count + 1
            most = max(most, at_once)
            await asyncio.sleep(5)
            at_once -= 1

        queue.add("a")
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(queue.run(handle))
            for _ in range(10):
                await asyncio.sleep(0.1)
                queue.add("a")
            await asyncio.sleep(60)
            queue.close()
        return most, count

    assert run_virtually(story()) == (1, 2)


def test_sixteen_names_run_side_by_side_and_the_seventeenth_waits() -> None:
    async def story() -> int:
        queue, running, most = a_queue(), 0, 0

        async def handle(key: str) -> None:
            nonlocal running, most
            running += 1
            most = max(most, running)
            await asyncio.sleep(1)
            running -= 1

        for number in range(40):
            queue.add(str(number))
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(queue.run(handle))
            await asyncio.sleep(10)
            queue.close()
        return most

    assert run_virtually(story()) == 16


def test_the_earliest_timer_counts() -> None:
    async def story() -> list[float]:
        queue, times = a_queue(), list[float]()

        async def handle(key: str) -> None:
            times.append(now())

        queue.add_after("a", seconds(600))
        queue.add_after("a", seconds(0.2))
        queue.add_after("a", seconds(30))
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(queue.run(handle))
            await asyncio.sleep(1000)
            queue.close()
        return times

    assert run_virtually(story()) == [pytest.approx(0.2)]


def test_ten_thousand_children_give_a_plan_every_two_tenths_of_a_second() -> None:
    async def story() -> int:
        queue, plans = a_queue(), 0

        async def handle(key: str) -> None:
            nonlocal plans
            plans += 1

        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(queue.run(handle))
            for _ in range(10_000):
                queue.add_after("a", seconds(0.2))
                await asyncio.sleep(0.0002)
            await asyncio.sleep(1)
            queue.close()
        return plans

    assert run_virtually(story()) in (10, 11)


def test_failures_back_off_and_a_success_resets(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.CRITICAL)

    async def story() -> list[float]:
        queue, times = a_queue(), list[float]()

        async def handle(key: str) -> None:
            times.append(now())
            if len(times) not in (4, 6):
                raise Unavailable("the API server is away")
            if len(times) == 4:
                queue.add_after(key, seconds(100))

        queue.add("a")
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(queue.run(handle))
            await asyncio.sleep(1000)
            queue.close()
        return times

    times = run_virtually(story())
    assert times == pytest.approx([0, 0.5, 1.5, 3.5, 103.5, 104.0], abs=0.01)


def test_events_do_not_make_a_failing_name_fail_faster(caplog: pytest.LogCaptureFixture) -> None:
    """What is added while it runs waits for the back-off of that run, if the run fails."""
    caplog.set_level(logging.CRITICAL)

    async def story() -> list[float]:
        queue, times = a_queue(), list[float]()

        async def handle(key: str) -> None:
            times.append(now())
            queue.add(key)
            raise Unavailable("away")

        queue.add("a")
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(queue.run(handle))
            await asyncio.sleep(4)
            queue.close()
        return times

    assert run_virtually(story()) == pytest.approx([0, 0.5, 1.5, 3.5], abs=0.01)


def test_a_server_that_names_a_time_is_obeyed(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.CRITICAL)

    async def story() -> timedelta | None:
        queue = a_queue()

        async def handle(key: str) -> None:
            raise Unavailable("busy", retry_after=seconds(42))

        queue.add("a")
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(queue.run(handle))
            await asyncio.sleep(0)
            await asyncio.sleep(0.001)
            delay = queue.delay_of("a")
            queue.close()
        return delay

    delay = run_virtually(story())
    assert delay is not None
    assert delay.total_seconds() == pytest.approx(42, abs=0.01)


def test_closing_waits_for_what_runs_and_drops_what_waits() -> None:
    async def story() -> tuple[list[str], float]:
        queue, done = a_queue(), list[str]()

        async def handle(key: str) -> None:
            await asyncio.sleep(3)
            done.append(key)

        async def close() -> None:
            await asyncio.sleep(1)
            queue.close()
            queue.add("late")

        queue.add("a")
        queue.add("b")
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(queue.run(handle, worker_count=1))
            tasks.create_task(close())
        return done, now()

    done, ended = run_virtually(story())
    assert done == ["a"]
    assert ended == pytest.approx(3)


def test_a_forgotten_name_is_not_worked_on() -> None:
    async def story() -> list[str]:
        queue, seen = a_queue(), list[str]()

        async def handle(key: str) -> None:
            seen.append(key)

        queue.add("gone")
        queue.add("a")
        queue.add_after("gone too", seconds(1))
        queue.forget("gone")
        queue.forget("gone too")
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(queue.run(handle))
            await asyncio.sleep(10)
            queue.close()
        return seen

    assert run_virtually(story()) == ["a"]


def test_depth_and_age_are_those_of_what_waits() -> None:
    async def story() -> tuple[int, float]:
        queue = a_queue()
        queue.add("a")
        await asyncio.sleep(7)
        queue.add("b")
        return queue.depth, queue.oldest_age.total_seconds()

    assert run_virtually(story()) == (2, 7)


@given(st.integers(min_value=1, max_value=10_000), st.floats(min_value=0, max_value=1, exclude_max=True))
def test_the_back_off_stays_within_its_bounds(count: int, chance: float) -> None:
    wait = backoff(count, chance)
    assert timedelta(seconds=0.4) <= wait <= LONGEST_BACKOFF * 1.2
    assert backoff(count + 1, chance) >= wait


@given(st.lists(st.tuples(st.sampled_from("abcd"), st.sampled_from(("add", "later", "wait"))), max_size=40))
def test_no_wish_to_look_again_is_ever_lost(moves: list[tuple[str, str]]) -> None:
    """After the last `add` of a key there is always a run of it that began later, whatever happens in between."""

    async def story() -> None:
        queue, begun, wished = a_queue(), dict[str, float](), dict[str, float]()

        async def handle(key: str) -> None:
            begun[key] = now()
            await asyncio.sleep(0.3)

        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(queue.run(handle, worker_count=2))
            for key, move in moves:
                if move == "add":
                    wished[key] = now()
                    queue.add(key)
                elif move == "later":
                    wished[key] = now()
                    queue.add_after(key, seconds(1))
                else:
                    await asyncio.sleep(0.2)
            await asyncio.sleep(60)
            queue.close()
        assert all(begun[key] >= when for key, when in wished.items())

    run_virtually(story())
