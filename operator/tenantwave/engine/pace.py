"""How often one outside system is asked: a bound per minute, kept by waiting and never by leaving anything out."""

from __future__ import annotations

import asyncio
from collections import deque

MINUTE_SECONDS = 60.0


class Pace:
    """Lets at most so many things begin within any minute, in the order in which they came."""

    def __init__(self, per_minute: int) -> None:
        self._per_minute = per_minute
        self._begun: deque[float] = deque()
        self._queue = asyncio.Lock()

    async def turn(self) -> None:
        """Return when one more may begin; at once as long as the last minute has room."""
        loop = asyncio.get_running_loop()
        async with self._queue:  # hands over in order
            while self._begun and self._begun[0] <= loop.time() - MINUTE_SECONDS:
                self._begun.popleft()
            if len(self._begun) >= self._per_minute:
                await asyncio.sleep(self._begun[0] + MINUTE_SECONDS - loop.time())
                self._begun.popleft()
            self._begun.append(loop.time())
