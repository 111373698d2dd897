"""The work queue: names of things to look at. Names are de-duplicated, one worker at most has a name, failures wait longer each time.

A name that is added while it is being worked on is worked on once more. Of several timers for one name the earliest counts, and a name that
is taken up loses its timer: whoever looks at the whole world at that moment says anew when to look again.
"""

from __future__ import annotations

import asyncio
import logging
import random
from collections.abc import Awaitable, Callable, Hashable
from datetime import timedelta
from typing import Generic, TypeVar

from tenantwave.faults import Fault
from tenantwave.telemetry import QueueTelemetry

log = logging.getLogger(__name__)

Key = TypeVar("Key", bound=Hashable)

FIRST_BACKOFF = timedelta(seconds=0.5)
LONGEST_BACKOFF = timedelta(seconds=300)
WORKER_COUNT = 16


def backoff(failure_count: int, chance: float) -> timedelta:
    """Return the wait after so many failures in a row: 0.5 s doubled each time, 300 s at most, spread by +-20 % (`chance` in [0, 1))."""
    plain = min(FIRST_BACKOFF * 2.0 ** min(failure_count - 1, 32), LONGEST_BACKOFF)
    return plain * (0.8 + 0.4 * chance)


class _Closed:
    """Stands at the end of the line once the queue is closed."""


class WorkQueue(Generic[Key]):
    """Keys that wait for a worker, in the order in which they came. Belongs to one event loop."""

    def __init__(self, name: str, *, telemetry: QueueTelemetry, chance: Callable[[], float] = random.random) -> None:
        self._name = name
        self._telemetry = telemetry
        self._chance = chance
        self._waiting: dict[Key, float] = {}
        """Key -> when it came, oldest first."""
        self._timers: dict[Key, asyncio.TimerHandle] = {}
        self._running: set[Key] = set()
        self._again: set[Key] = set()
        self._failure_counts: dict[Key, int] = {}
        self._line: asyncio.Queue[Key | _Closed] = asyncio.Queue()
        self._closed = False

    def add(self, key: Key) -> None:
        """Have `key` looked at as soon as a worker is free. After `close` nothing is taken any more."""
        if self._closed or key in self._waiting:
            return
        if key in self._running:
            self._again.add(key)
            return
        self._waiting[key] = _now()
        self._line.put_nowait(key)

    def add_after(self, key: Key, delay: timedelta) -> None:
        """Have `key` looked at after `delay`, unless it is due earlier already."""
        if self._closed or key in self._waiting:
            return
        loop = asyncio.get_running_loop()
        due = loop.time() + max(delay.total_seconds(), 0.0)
        present = self._timers.get(key)
        if present is not None:
            if present.when() <= due:
                return
            present.cancel()
        self._timers[key] = loop.call_at(due, self._ring, key)

    def forget(self, key: Key) -> None:
        """Drop what waits for `key`: it does not exist any more."""
        self._waiting.pop(key, None)
        self._again.discard(key)
        self._failure_counts.pop(key, None)
        self._cancel_timer(key)

    async def run(self, handle: Callable[[Key], Awaitable[None]], *, worker_count: int = WORKER_COUNT) -> None:
        """Give keys to `handle`, `worker_count` at a time, until `close` is called and what runs has ended.

        An exception of `handle` is logged and backs off; a cancellation ends the queue.
        """
        async with asyncio.TaskGroup() as workers:
            for number in range(worker_count):
                workers.create_task(self._work(handle), name=f"{self._name} worker {number}")

    def close(self) -> None:
        """Take no more keys and drop those that wait; `run` returns when the running ones have ended."""
        self._closed = True
        self._waiting.clear()
        self._again.clear()
        for key in list(self._timers):
            self._cancel_timer(key)
        self._line.put_nowait(_Closed())

    @property
    def depth(self) -> int:
        """Return how many keys wait for a worker now; timers do not count."""
        return len(self._waiting)

    @property
    def oldest_age(self) -> timedelta:
        """Return how long the oldest of the waiting keys has waited."""
        return timedelta(seconds=_now() - next(iter(self._waiting.values()))) if self._waiting else timedelta(0)

    def delay_of(self, key: Key) -> timedelta | None:
        """Return how long until the timer of `key` rings, None if it has none."""
        timer = self._timers.get(key)
        return timedelta(seconds=timer.when() - _now()) if timer is not None else None

    async def _work(self, handle: Callable[[Key], Awaitable[None]]) -> None:
        while not isinstance(key := await self._take(), _Closed):
            begun = _now()
            error = ""
            try:
                await handle(key)
            except Exception as problem:  # noqa: BLE001 - one bad key must not end the queue
                error = type(problem).__name__
                self._back_off(key, problem)
            else:
                self._failure_counts.pop(key, None)
            finally:
                self._running.discard(key)
            self._telemetry.reconcile(self._name, _now() - begun, error)
            if key in self._again:
                self._again.discard(key)
                # A key that fails waits for its timer: events must not make it fail faster.
                if not error:
                    self.add(key)

    async def _take(self) -> Key | _Closed:
        while True:
            key = await self._line.get()
            if isinstance(key, _Closed):
                self._line.put_nowait(key)  # for the next worker
                return key
            if key in self._waiting:  # else it was forgotten meanwhile
                del self._waiting[key]
                self._cancel_timer(key)
                self._running.add(key)
                return key

    def _back_off(self, key: Key, problem: Exception) -> None:
        count = self._failure_counts[key] = self._failure_counts.get(key, 0) + 1
        delay = backoff(count, self._chance())
        if isinstance(problem, Fault) and problem.retry_after is not None:
            delay = max(delay, problem.retry_after)
        self._cancel_timer(key)
        self._telemetry.queue_retry(self._name)
        # A fault is the world's doing and says all in its message; anything else is ours, and its place is wanted.
        trace = None if isinstance(problem, Fault) else problem
        log.warning("%s %s failed, next try in %.1f s: %s", self._name, key, delay.total_seconds(), problem, exc_info=trace)
        self.add_after(key, delay)

    def _ring(self, key: Key) -> None:
        self._timers.pop(key, None)
        self.add(key)

    def _cancel_timer(self, key: Key) -> None:
        if (timer := self._timers.pop(key, None)) is not None:
            timer.cancel()


def _now() -> float:
    return asyncio.get_running_loop().time()
