"""The endpoints `/healthz`, `/readyz` and `/metrics`, and what they look at.

Healthy means that this process does its work as far as it can. An API server or a Prometheus that cannot be reached never makes it
unhealthy, because a restart would not bring them back. Ready means that the caches are warm and no right is missing.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

from aiohttp import web

LAG_PERIOD_SECONDS = 0.5
LONGEST_LAG_SECONDS = 30.0
LONGEST_ROUND_SECONDS = 1800.0
LONGEST_LEASE_AGE_SECONDS = 60.0

Check = Callable[[], str]
"""Returns what is wrong, in a sentence; empty if nothing is."""


@dataclass(slots=True)
class Health:
    """What makes this process healthy and ready. Each check is named, and all are looked at on each request."""

    alive: dict[str, Check] = field(default_factory=dict)
    ready: dict[str, Check] = field(default_factory=dict)


class LoopLag:
    """How late the event loop wakes whoever sleeps. `observe` gets each measurement in seconds."""

    def __init__(self, observe: Callable[[float], None]) -> None:
        self._observe = observe
        self.last_seconds = 0.0

    async def run(self) -> None:
        """Measure twice a second, for ever."""
        loop = asyncio.get_running_loop()
        while True:
            due = loop.time() + LAG_PERIOD_SECONDS
            await asyncio.sleep(LAG_PERIOD_SECONDS)
            self.last_seconds = max(0.0, loop.time() - due)
            self._observe(self.last_seconds)

    def check(self) -> str:
        """Return what is wrong with the loop."""
        return f"the event loop was blocked for {self.last_seconds:.0f} s" if self.last_seconds > LONGEST_LAG_SECONDS else ""


def limit(what: str, age_seconds: Callable[[], float], longest_seconds: float) -> Check:
    """Return a check that an age stays below a limit."""

    def check() -> str:
        age = age_seconds()
        return f"{what} {age:.0f} s ago, longer than {longest_seconds:.0f} s" if age > longest_seconds else ""

    return check


class HealthServer:
    """Serves the endpoints on one address, until `close`."""

    def __init__(self, health: Health, render_metrics: Callable[[], tuple[bytes, str]]) -> None:
        self._health = health
        self._render_metrics = render_metrics
        self._runner: web.AppRunner | None = None
        self.port = 0

    async def start(self, host: str, port: int) -> None:
        """Listen. `port` 0 takes a free one; `self.port` tells which. Raises OSError if the address is in use."""
        app = web.Application()
        app.router.add_get("/healthz", self._alive)
        app.router.add_get("/readyz", self._ready)
        app.router.add_get("/metrics", self._metrics)
        self._runner = web.AppRunner(app, access_log=None, handle_signals=False, shutdown_timeout=1.0)
        await self._runner.setup()
        await web.TCPSite(self._runner, host or None, port, reuse_address=True).start()
        self.port = self._runner.addresses[0][1]

    async def close(self) -> None:
        """Stop listening."""
        if self._runner is not None:
            await self._runner.cleanup()

    async def _alive(self, _: web.Request) -> web.Response:
        return _answer(self._health.alive.items())

    async def _ready(self, _: web.Request) -> web.Response:
        return _answer(self._health.ready.items())

    async def _metrics(self, _: web.Request) -> web.Response:
        body, content_type = self._render_metrics()
        return web.Response(body=body, headers={"Content-Type": content_type})


def _answer(checks: Iterable[tuple[str, Check]]) -> web.Response:
    """Return 200 or 503, with a line for each check."""
    found = [(name, check()) for name, check in checks]
    lines = [f"{name}: {problem or 'ok'}" for name, problem in found]
    return web.Response(text="\n".join([*lines, ""]), status=503 if any(problem for _, problem in found) else 200)
