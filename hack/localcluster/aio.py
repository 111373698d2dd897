"""Running one coroutine as a whole process."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Coroutine
from typing import Any


def run_until_signal(work: Coroutine[Any, Any, None]) -> None:
    """Run `work` until it ends or SIGTERM or SIGINT arrives, which cancels it. Whatever else it raises is raised."""

    async def supervise() -> None:
        task = asyncio.ensure_future(work)
        for signum in (signal.SIGTERM, signal.SIGINT):
            asyncio.get_running_loop().add_signal_handler(signum, task.cancel)
        try:
            await task
        except asyncio.CancelledError:
            return

    asyncio.run(supervise())
