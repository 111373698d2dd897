"""HTTP to the API server: one request, one reply, and streams of lines for watches. It knows no retries and no kinds, only bytes.

Plain aiohttp, because the generated client costs twice the CPU per call. Each user has a pool of its own (`calls`, `watches`, `lease`), so
that a flood of writes starves neither the watches nor the renewal of the Lease.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass, field
from types import TracebackType
from typing import Protocol, Self

import aiohttp

from tenantwave.adapters.kube.access import Access
from tenantwave.adapters.sockets import Sockets

CALL_SECONDS = 30.0
CONNECT_SECONDS = 10.0
SILENCE_SECONDS = 75.0
"""A watch with bookmarks says something every minute; one that is silent for longer is dead."""


class Broken(Exception):  # noqa: N818 - the base of two outcomes
    """HTTP gave no answer."""


class NotSent(Broken):
    """No connection could be made, so the server never saw the request."""


class Lost(Broken):
    """The request went out, and no complete answer came back."""


@dataclass(frozen=True, slots=True)
class Request:
    """One HTTP request. `path` begins with a slash; `content_type` is empty where there is no body."""

    method: str
    path: str
    query: Mapping[str, str] = field(default_factory=dict)
    body: bytes | None = None
    content_type: str = ""
    timeout_seconds: float = CALL_SECONDS
    accept: str = "application/json"


@dataclass(frozen=True, slots=True)
class Reply:
    """One HTTP answer, whatever its code."""

    code: int
    body: bytes
    headers: Mapping[str, str]


class Transport(Protocol):
    """Carries requests. Tests wrap it to lose replies or to end the process between two of them."""

    async def send(self, request: Request) -> Reply:
        """Return the answer. Raises NotSent, Lost."""

    def stream(self, request: Request) -> AbstractAsyncContextManager[tuple[int, AsyncIterator[bytes]]]:
        """Open a response: its code, and its lines as they come. Raises NotSent, Lost."""


class HttpTransport:
    """A Transport over one aiohttp pool. Use it as an async context manager, or call `close`."""

    def __init__(self, access: Access, *, limit: int) -> None:
        self._access = access
        self._limit = limit
        self._session: aiohttp.ClientSession | None = None
        self._sockets = Sockets()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        await self.close()

    async def close(self) -> None:
        """Close all connections."""
        if self._session is not None:
            await self._session.close()
            self._session = None
            await self._sockets.end()

    async def send(self, request: Request) -> Reply:
        """Return the answer; a 401 leads to one more try with fresh credentials. Raises NotSent, Lost."""
        generation = self._access.generation
        reply = await self._send(request)
        if reply.code == 401:
            await self._access.refresh(after_generation=generation)
            reply = await self._send(request)
        return reply

    async def _send(self, request: Request) -> Reply:
        timeout = aiohttp.ClientTimeout(total=request.timeout_seconds, sock_connect=min(CONNECT_SECONDS, request.timeout_seconds))
        async with self._open(request, timeout) as response:
            try:
                body = await response.read()
            except (aiohttp.ClientError, TimeoutError, OSError) as error:
                raise Lost(_words(error)) from error
            return Reply(response.status, body, response.headers)

    @asynccontextmanager
    async def stream(self, request: Request) -> AsyncIterator[tuple[int, AsyncIterator[bytes]]]:
        """Open a response that never ends by itself; 75 s of silence end it. A 401 makes fresh credentials for the next try."""
        timeout = aiohttp.ClientTimeout(total=None, sock_connect=CONNECT_SECONDS, sock_read=request.timeout_seconds)
        generation = self._access.generation
        async with self._open(request, timeout) as response:
            if response.status == 401:
                await self._access.refresh(after_generation=generation)
            yield response.status, _lines(response)

    @asynccontextmanager
    async def _open(self, request: Request, timeout: aiohttp.ClientTimeout) -> AsyncIterator[aiohttp.ClientResponse]:
        headers = dict(self._access.headers)
        if request.content_type:
            headers["Content-Type"] = request.content_type
        headers["Accept"] = request.accept
        try:
            response = await self._pool().request(
                request.method,
                self._access.server + request.path,
                params=dict(request.query),
                data=request.body,
                headers=headers,
                timeout=timeout,
                ssl=self._access.ssl if self._access.ssl is not None else True,
                server_hostname=self._access.server_hostname,
                proxy=self._access.proxy,
                allow_redirects=False,
            )
        except (aiohttp.ClientConnectorError, aiohttp.ConnectionTimeoutError, aiohttp.InvalidURL) as error:
            raise NotSent(_words(error)) from error
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            raise Lost(_words(error)) from error
        try:
            yield response
        finally:
            # A response that was not read to its end takes its connection with it.
            if response.content.at_eof():
                response.release()
            else:
                response.close()

    def _pool(self) -> aiohttp.ClientSession:
        if self._session is None:
            self._session = aiohttp.ClientSession(
                connector=aiohttp.TCPConnector(limit=self._limit, keepalive_timeout=60, socket_factory=self._sockets.make),
                trust_env=False,
                auto_decompress=True,
                cookie_jar=aiohttp.DummyCookieJar(),
            )
        return self._session


async def _lines(response: aiohttp.ClientResponse) -> AsyncIterator[bytes]:
    """Split the stream into lines ourselves: one event may have 1.5 MB, more than a stream reader's line buffer."""
    rest = bytearray()
    try:
        async for chunk in response.content.iter_any():
            rest += chunk
            if b"\n" in chunk:
                *lines, tail = bytes(rest).split(b"\n")
                rest = bytearray(tail)
                for line in lines:
                    if line:
                        yield line
    except TimeoutError:
        return  # a kind in which nothing happens is silent, too: the watch resumes where it was, and nobody is alarmed
    except (aiohttp.ClientError, OSError) as error:
        raise Lost(_words(error)) from error


def _words(error: BaseException) -> str:
    if isinstance(error, (TimeoutError, asyncio.TimeoutError)):
        return "no answer in time"
    return f"{type(error).__name__}: {error}"
