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
from selectors import EpollSelector, SelectorKey
from typing import Any

from benchmark.recording import RecordingTransport
from tenantwave.shell import logs, process, wiring
from tenantwave.shell.main import spare_the_collector
from tenantwave.shell.settings import Settings, parse

SHOWN = 20
LONG_SECONDS = 0.003


class BlockClock:
    """Finds the callbacks that held the event loop longest, by the CPU that they used: waiting for a core is not the operator's doing."""

    def __init__(self) -> None:
        self.longest: list[tuple[float, float, str]] = []
        """(CPU seconds, wall seconds, what ran), a heap of the 20 longest."""
        self._used = 0.0
        """The thread's CPU time when the loop last came back from waiting, or last had a long callback: never later than the next one began."""

    def install(self) -> None:
        """Stand around every callback from now on. Cost: two readings of the wall clock each; the CPU clock, a system call, only for long ones."""
        run_callback, select, clock = Handle._run, EpollSelector.select, time.perf_counter

        def timed(self: Handle) -> None:
            begun = clock()
            run_callback(self)
            if (passed := clock() - begun) > LONG_SECONDS:
                note(self, passed)

        def waited(self: EpollSelector, timeout: float | None = None) -> list[tuple[SelectorKey, int]]:
            ready = select(self, timeout)
            restart()
            return ready

        note, restart = self._note, self._restart
        Handle._run = timed  # type: ignore[method-assign]
        EpollSelector.select = waited  # type: ignore[method-assign, assignment]

    def _restart(self) -> None:
        self._used = time.thread_time()

    def _note(self, handle: Handle, passed: float) -> None:
        before = self._used
        self._restart()
        entry = (min(self._used - before, passed), passed, _name_of(handle))
        if len(self.longest) < SHOWN:
            heapq.heappush(self.longest, entry)
        else:
            heapq.heappushpop(self.longest, entry)


def _name_of(handle: Handle) -> str:
    callback: Any = getattr(handle, "_callback", None)
    owner = getattr(callback, "__self__", None)
    if isinstance(owner, asyncio.Task):
        return f"{owner.get_name()} {getattr(owner.get_coro(), '__qualname__', '')}"
    return str(getattr(callback, "__qualname__", type(callback).__name__))  # no repr: that of a half-made response breaks it


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
    spare_the_collector()
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
