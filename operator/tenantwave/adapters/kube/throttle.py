"""Limits how fast and how many writes leave us."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable


class TokenBucket:
    """Lets `rate` calls per second pass, after a burst of as many. Callers are served in the order in which they came."""

    def __init__(self, rate: float, *, now: Callable[[], float], sleep: Callable[[float], Awaitable[None]] = asyncio.sleep) -> None:
        self._interval = 1.0 / rate
        self._burst_seconds = 1.0
        self._now = now
        self._sleep = sleep
        self._next = float("-inf")

    async def take(self) -> None:
        """Return when it is this caller's turn. One number is the whole state: when the bucket would be empty of calls again."""
        now = self._now()
        self._next = max(self._next, now - self._burst_seconds) + self._interval
        if self._next > now:
            await self._sleep(self._next - now)
