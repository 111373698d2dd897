"""A reverse proxy on loopback that passes everything on and, when told to, keeps the client waiting for the body of the answer."""

from __future__ import annotations

import asyncio
from types import TracebackType
from typing import Self

import aiohttp
from aiohttp import web


class SlowProxy:
    """Stands before a Prometheus. `delay` (seconds) may change at any time; headers leave at once, the body after it."""

    def __init__(self, target: str) -> None:
        self._target = target
        self._runner: web.AppRunner | None = None
        self._http: aiohttp.ClientSession | None = None
        self.url = ""
        self.delay = 0.0
        self.delayed_count = 0

    async def __aenter__(self) -> Self:
        application = web.Application()
        application.router.add_route("*", "/{path:.*}", self._pass_on)
        self._http = aiohttp.ClientSession()
        self._runner = web.AppRunner(application, access_log=None, shutdown_timeout=0.1)
        await self._runner.setup()
        site = web.TCPSite(self._runner, "127.0.0.1", 0)
        await site.start()
        host, port = self._runner.addresses[0][:2]
        self.url = f"http://{host}:{port}"
        return self

    async def __aexit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        if self._runner is not None:
            await self._runner.cleanup()
        if self._http is not None:
            await self._http.close()

    async def _pass_on(self, request: web.Request) -> web.StreamResponse:
        assert self._http is not None
        body, kind = await request.read(), {"Content-Type": request.headers.get("Content-Type", "application/octet-stream")}
        async with self._http.request(request.method, self._target + request.path_qs, data=body, headers=kind) as reply:
            content = await reply.read()
            answer = web.StreamResponse(status=reply.status, headers={"Content-Type": reply.headers.get("Content-Type", "text/plain")})
        answer.content_length = len(content)
        await answer.prepare(request)
        if self.delay:
            self.delayed_count += 1
            await asyncio.sleep(self.delay)
        await answer.write(content)
        await answer.write_eof()
        return answer
