"""The whole operator with a clock that a test moves (`support.told_time`). The product knows nothing of it.

Where it meets time it is wrapped: its Clock; what the API server says of when objects of our kinds were made; when Prometheus is asked. After
each move every upgrade and profile is looked at again, as after an outage, for timers were set by the time before.
"""

from __future__ import annotations

import asyncio
import os
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from functools import partial
from pathlib import Path
from typing import Any
from unittest.mock import patch

from support.told_time import SKEW_VARIABLE, VARIABLE, TimeFile, Timeline, ToldClock
from tenantwave.adapters.kube.access import Access
from tenantwave.adapters.kube.transport import HttpTransport, Reply, Request
from tenantwave.adapters.prometheus import PrometheusMetrics
from tenantwave.core.gates import QueryFailure, Rows, Source
from tenantwave.shell import assembly, logs, process, wiring
from tenantwave.shell.clock import SystemClock
from tenantwave.shell.metrics import PrometheusTelemetry
from tenantwave.shell.process import Engine
from tenantwave.shell.settings import parse

OUR_KINDS = "/apis/tenantwave.io/"
LOOK_SECONDS = 0.02
LONGEST_LOOK_SECONDS = 3.0
"""Where there is no upgrade nobody looks at one."""

TellTime = Callable[[], Timeline]


class ToldTransport(HttpTransport):
    """Carries requests; the answers about our kinds are in told time."""

    def __init__(self, access: Access, *, limit: int, timeline: TellTime) -> None:
        super().__init__(access, limit=limit)
        self._timeline = timeline

    async def send(self, request: Request) -> Reply:
        reply = self._skewed(await super().send(request))
        if not request.path.startswith(OUR_KINDS):
            return reply
        return replace(reply, body=self._timeline().retold(reply.body))

    def _skewed(self, reply: Reply) -> Reply:
        """Return the reply of a server whose clock is ahead, if the test wants that."""
        if not (seconds := os.environ.get(SKEW_VARIABLE, "")):
            return reply
        date = datetime.now(UTC) + timedelta(seconds=float(seconds))
        return replace(reply, headers={**reply.headers, "Date": format_datetime(date, usegmt=True)})

    @asynccontextmanager
    async def stream(self, request: Request) -> AsyncIterator[tuple[int, AsyncIterator[bytes]]]:
        async with super().stream(request) as (code, lines):
            is_ours = request.path.startswith(OUR_KINDS)
            yield code, ((self._timeline().retold(line) async for line in lines) if is_ours else lines)


class ToldMetrics(PrometheusMetrics):
    """Asks Prometheus, which lives in real time; ages of samples come back in told time."""

    def __init__(self, *given: Any, timeline: TellTime) -> None:
        super().__init__(*given)
        self._timeline = timeline

    async def query(self, source: Source, promql: str, time: datetime, timeout: timedelta) -> Rows | QueryFailure:
        timeline = self._timeline()
        answer = await super().query(source, promql, timeline.real(time), timeout)
        if isinstance(answer, QueryFailure) or not promql.startswith("max(timestamp("):
            return answer
        return replace(answer, rows=tuple(replace(row, value=_told_stamp(timeline, row.value)) for row in answer.rows))


def _told_stamp(timeline: Timeline, stamp: float) -> float:
    return timeline.told(datetime.fromtimestamp(stamp, UTC)).timestamp()


class ToldTelemetry(PrometheusTelemetry):
    """Tells when an upgrade has been looked at."""

    def __init__(self, *given: Any, **named: Any) -> None:
        super().__init__(*given, **named)
        self.has_looked = asyncio.Event()

    def reconcile(self, controller: str, seconds: float, error: str = "") -> None:
        super().reconcile(controller, seconds, error)
        if controller == "upgrade":
            self.has_looked.set()


def assemble(parts: wiring.Parts, file: TimeFile) -> Engine:
    """Put the engine together, with a task that hears of moves."""
    engine = wiring.assemble(parts)
    assert isinstance(parts.telemetry, ToldTelemetry)
    return replace(engine, tasks=engine.tasks | {"moves of the clock": partial(follow, engine, parts.telemetry, file)})


async def follow(engine: Engine, telemetry: ToldTelemetry, file: TimeFile) -> None:
    """Have everything looked at after each move. Twice, for the first look may have begun before it."""
    file.acted()
    while True:
        if file.has_moved():
            for _ in range(2):
                telemetry.has_looked.clear()
                engine.resync()
                with suppress(TimeoutError):
                    async with asyncio.timeout(LONGEST_LOOK_SECONDS):
                        await telemetry.has_looked.wait()
            file.acted()
        await asyncio.sleep(LOOK_SECONDS)


def main() -> None:
    """Run the operator, as its own `main` does."""
    settings = parse(sys.argv[1:])
    logs.configure(settings.log_format, settings.log_level)
    file = TimeFile(Path(os.environ[VARIABLE]))
    file.has_moved()

    def timeline() -> Timeline:
        return file.timeline

    system = SystemClock()
    with (
        patch.object(wiring, "SystemClock", partial(ToldClock, timeline, system.now, system.monotonic)),
        patch.object(wiring, "HttpTransport", partial(ToldTransport, timeline=timeline)),
        patch.object(wiring, "PrometheusTelemetry", ToldTelemetry),
        patch.object(assembly, "PrometheusMetrics", partial(ToldMetrics, timeline=timeline)),
    ):
        sys.exit(asyncio.run(process.run(lambda stack: wiring.build(settings, partial(assemble, file=file), stack))))


if __name__ == "__main__":
    main()
