"""The operator, with eyes on it: `python -m benchmark.observed_operator <flags of tenantwave-operator>`.

It is the product's own wiring. What is added: writes are recorded (BENCH_WRITES=FILE), every callback of the event loop is timed, and the
longest ones are written to BENCH_BLOCKS=FILE at the end. BENCH_PROFILE=FILE runs the whole under cProfile (`python -m pstats FILE`),
which makes it two to three times slower: for finding hot spots, never for figures.
"""

from __future__ import annotations

import asyncio
import cProfile
import heapq
import json
import os
import sys
import time
from asyncio.events import Handle
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

from benchmark.recording import RecordingTransport
from tenantwave.shell import logs, process, wiring
from tenantwave.shell.settings import Settings, parse

SHOWN = 20


class BlockClock:
    """Times each callback of the event loop by the CPU that it used, so that other processes on the machine do not count as blocks."""

    def __init__(self) -> None:
        self.longest: list[tuple[float, float, str]] = []
        """(CPU seconds, wall seconds, what ran), a heap of the 20 longest."""

    def install(self) -> None:
        """Stand around every callback from now on. Cost: below a microsecond each."""
        inner = Handle._run

        def timed(self: Handle) -> None:
            cpu, wall = time.thread_time(), time.perf_counter()
            inner(self)
            used = time.thread_time() - cpu
            if len(longest) < SHOWN or used > longest[0][0]:
                note(used, time.perf_counter() - wall, self)

        longest, note = self.longest, self._note
        Handle._run = timed  # type: ignore[method-assign]

    def _note(self, used: float, passed: float, handle: Handle) -> None:
        callback: Any = getattr(handle, "_callback", None)
        owner = getattr(callback, "__self__", None)
        if isinstance(owner, asyncio.Task):
            what = f"{owner.get_name()} {getattr(owner.get_coro(), '__qualname__', '')}"
        else:
            what = getattr(callback, "__qualname__", repr(callback))
        entry = (used, passed, what)
        if len(self.longest) < SHOWN:
            heapq.heappush(self.longest, entry)
        else:
            heapq.heapreplace(self.longest, entry)


def run(settings: Settings, writes: Path) -> int:
    """Run the operator until it is told to stop; return its exit code."""

    async def build(stack: AsyncExitStack) -> process.Process:
        file = stack.enter_context(writes.open("wb"))
        return await wiring.build(settings, wiring.assemble, stack, wrap=lambda inner: RecordingTransport(inner, file))

    return asyncio.run(process.run(build))


def main() -> None:
    """Read the command line and the environment, run, and write down what was seen."""
    settings = parse(sys.argv[1:])
    logs.configure(settings.log_format, settings.log_level)
    clock = BlockClock()
    clock.install()
    profile = cProfile.Profile() if os.environ.get("BENCH_PROFILE") else None
    if profile is not None:
        profile.enable()
    code = run(settings, Path(os.environ["BENCH_WRITES"]))
    if profile is not None:
        profile.disable()
        profile.dump_stats(os.environ["BENCH_PROFILE"])
    Path(os.environ["BENCH_BLOCKS"]).write_text(json.dumps(sorted(clock.longest, reverse=True)))
    sys.exit(code)


if __name__ == "__main__":
    main()
