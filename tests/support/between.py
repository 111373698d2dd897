"""Stands between operators and the API server, on the wire: sees every request, and a script says what becomes of it.

A request that has left the operator lives on here when the operator dies, as it does in a network: so a write can land after the restart of
its sender. Operators log in as ever (their headers pass through); only the address in their kubeconfig is ours.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Protocol, Self

import aiohttp
from aiohttp import web
from localcluster import kubeconfig

KEPT = ("Authorization", "Content-Type", "Accept", "Accept-Encoding", "User-Agent")
RETURNED = ("Content-Type", "Content-Encoding", "Retry-After", "Warning")
UNCOUNTED = ("/selfsubjectaccessreviews", "/events")
"""Questions, and best-effort news whose number differs from run to run."""


class Cut(Exception):  # noqa: N818 - what happens to a connection, not an error of the program
    """The connection closes without an answer."""


@dataclass(frozen=True, slots=True)
class Call:
    """One request of an operator. `number` counts all that passed here, from 1."""

    number: int
    method: str
    path: str
    query: Mapping[str, str]
    body: bytes

    @property
    def is_watch(self) -> bool:
        """Tell whether the answer is a stream."""
        return self.query.get("watch", "") in ("1", "true")

    @property
    def is_write(self) -> bool:
        """Tell whether it changes something that counts."""
        return self.method not in ("GET", "HEAD") and "dryRun" not in self.query and not self.path.endswith(UNCOUNTED)

    def __str__(self) -> str:
        return f"{self.method} {self.path}"


@dataclass(frozen=True, slots=True)
class Answer:
    """An answer of the API server, or one that looks like it."""

    code: int
    body: bytes
    headers: Mapping[str, str]


Forward = Callable[[], Awaitable[Answer]]
"""Sends the request on; may be called at any time, at most once."""


class Script(Protocol):
    """Says what becomes of requests."""

    async def answer(self, call: Call, forward: Forward) -> Answer:
        """Return what the operator is told. Raises Cut where it is told nothing."""

    async def opened(self, call: Call) -> Answer | None:
        """Return what a watch is told instead of being opened, or None. Raises Cut."""

    async def until_broken(self, call: Call) -> bytes:
        """Return when this watch breaks off, with the last words that are put into it."""


class Faithful:
    """Everything passes. Other scripts begin here."""

    async def answer(self, call: Call, forward: Forward) -> Answer:
        return await forward()

    async def opened(self, call: Call) -> Answer | None:
        return None

    async def until_broken(self, call: Call) -> bytes:
        await asyncio.Event().wait()
        raise AssertionError("nobody sets this event")


class Between:
    """The proxy. `script` may change at any time; `kubeconfig` is how an operator gets here. Use it as an async context manager."""

    def __init__(self, operator_kubeconfig: Path, folder: Path, name: str = "between") -> None:
        self._original = operator_kubeconfig
        self._access = kubeconfig.read(operator_kubeconfig)
        self._runner: web.AppRunner | None = None
        self._http: aiohttp.ClientSession | None = None
        self._count = 0
        self._under_way: set[asyncio.Task[Answer]] = set()
        self.script: Script = Faithful()
        self.kubeconfig = folder / f"{name}.kubeconfig"

    async def __aenter__(self) -> Self:
        application = web.Application(client_max_size=16 * 2**20)
        application.router.add_route("*", "/{path:.*}", self._handle)
        connector = aiohttp.TCPConnector(limit=0, ssl=self._access.tls or True)
        self._http = aiohttp.ClientSession(connector=connector, auto_decompress=False, timeout=aiohttp.ClientTimeout(total=None))
        self._runner = web.AppRunner(application, access_log=None, shutdown_timeout=0.1, handler_cancellation=True)
        await self._runner.setup()
        await web.TCPSite(self._runner, "127.0.0.1", 0).start()
        host, port = self._runner.addresses[0][:2]
        config = json.loads(self._original.read_text())
        config["clusters"][0]["cluster"] = {"server": f"http://{host}:{port}"}
        kubeconfig.write(self.kubeconfig, config)
        return self

    async def __aexit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        for task in self._under_way:
            task.cancel()
        if self._runner is not None:
            await self._runner.cleanup()
        if self._http is not None:
            await self._http.close()

    async def _handle(self, request: web.Request) -> web.StreamResponse:
        self._count += 1
        call = Call(self._count, request.method, request.path, request.query, await request.read())
        try:
            if call.is_watch:
                return await self._stream(call, request)
            task = asyncio.create_task(self._answer(call, request))
            self._under_way.add(task)
            task.add_done_callback(self._forget)
            answer = await asyncio.shield(task)  # on the wire: it lives on without its sender
        except Cut:
            if request.transport is not None:
                request.transport.abort()
            raise asyncio.CancelledError from None
        return web.Response(status=answer.code, body=answer.body, headers=dict(answer.headers))

    def _forget(self, task: asyncio.Task[Answer]) -> None:
        self._under_way.discard(task)
        if not task.cancelled():
            task.exception()  # nobody may be waiting for it any more

    async def _answer(self, call: Call, request: web.Request) -> Answer:
        async def forward() -> Answer:
            assert self._http is not None
            headers = {name: request.headers[name] for name in KEPT if name in request.headers}
            async with self._http.request(
                call.method, self._access.url + request.path_qs, data=call.body or None, headers=headers
            ) as reply:
                kept = {name: reply.headers[name] for name in RETURNED if name in reply.headers}
                return Answer(reply.status, await reply.read(), kept)

        try:
            return await self.script.answer(call, forward)
        except (aiohttp.ClientError, OSError) as error:
            raise Cut from error

    async def _stream(self, call: Call, request: web.Request) -> web.StreamResponse:
        assert self._http is not None
        if (refused := await self.script.opened(call)) is not None:
            return web.Response(status=refused.code, body=refused.body, headers=dict(refused.headers))
        headers = {name: request.headers[name] for name in KEPT if name in request.headers and name != "Accept-Encoding"}
        try:
            async with self._http.get(self._access.url + request.path_qs, headers=headers) as reply:
                stream = web.StreamResponse(status=reply.status, headers={"Content-Type": reply.headers.get("Content-Type", "")})
                await stream.prepare(request)
                breaking = asyncio.create_task(self.script.until_broken(call))
                passing = asyncio.create_task(_pass_on(reply.content.iter_any(), stream))
                try:
                    await asyncio.wait([breaking, passing], return_when=asyncio.FIRST_COMPLETED)
                    if breaking.done() and not passing.done():
                        passing.cancel()
                        await stream.write(breaking.result())
                finally:
                    breaking.cancel()
                    passing.cancel()
                return stream
        except (aiohttp.ClientError, OSError) as error:
            raise Cut from error


async def _pass_on(chunks: AsyncIterator[bytes], stream: web.StreamResponse) -> None:
    """Pass a stream on, line by line, until either side ends it."""
    rest = b""
    try:
        async for chunk in chunks:
            lines, end, rest = (rest + chunk).rpartition(b"\n")
            await stream.write(lines + end)
    except (aiohttp.ClientError, OSError):
        return


REFUSALS: Mapping[int, tuple[str, str]] = {
    409: ("Conflict", "the object has been modified; please apply your changes to the latest version and try again"),
    410: ("Expired", "The resourceVersion for the provided watch is too old."),
    429: ("TooManyRequests", "the server has received too many requests and has asked us to try again later"),
    500: ("InternalError", 'Internal error occurred: failed calling webhook "test.example.com": connection refused'),
    502: ("BadGateway", "an error on the server has prevented the request from succeeding"),
    503: ("ServiceUnavailable", "the server is currently unable to handle the request"),
}
"""Code -> reason and message, as the API server words them."""


def refusal(code: int) -> Answer:
    """Return a refusal as the API server words it; 429 and 503 ask for a second's patience."""
    headers = {"Content-Type": "application/json"} | ({"Retry-After": "1"} if code in (429, 503) else {})
    return Answer(code, json.dumps(_status(code)).encode(), headers)


def error_event(code: int) -> bytes:
    """Return a line of a watch that says that it is over."""
    return json.dumps({"type": "ERROR", "object": _status(code)}).encode() + b"\n"


def _status(code: int) -> dict[str, object]:
    reason, message = REFUSALS[code]
    return {"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Failure", "reason": reason, "message": message, "code": code}
