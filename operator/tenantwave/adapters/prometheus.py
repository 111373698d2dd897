"""Asks a Prometheus, or something that speaks its query API. Whatever it answers becomes `Rows` or a `QueryFailure`; nothing is ever
raised.

Only a complete and well-formed answer becomes `Rows`. Credentials leave in one header and nowhere else: no message, log or URL carries
them, no redirect is followed with them, and TLS is always verified.
"""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime
from typing import Final
from urllib.parse import urlsplit

import aiohttp

from tenantwave.adapters.prometheus_answers import Reply, clean, not_prometheus, read_reply
from tenantwave.adapters.prometheus_credentials import NO_CREDENTIALS, Credentials, SecretError, credentials_of, tls_context
from tenantwave.core.gates.samples import Answer, FailureKind, QueryFailure, Source
from tenantwave.faults import Fault

MAX_BODY_BYTES: Final = 32 * 1024 * 1024
PARSE_IN_THREAD_BYTES: Final = 256 * 1024
MAX_CONNECTIONS: Final = 4
SECRET_SECONDS: Final = 60.0
MAX_RETRY_AFTER: Final = timedelta(hours=1)

SecretReader = Callable[[str], Awaitable[Mapping[str, bytes] | None]]
"""Reads the data of a Secret in the operator's namespace, decoded; None if there is none. May raise a Fault."""


@dataclass(slots=True)
class _Line:
    """The connections to one source with one set of certificates, and how many questions use them now."""

    session: aiohttp.ClientSession
    identity: str
    users: int = 0
    is_retired: bool = False


class PrometheusMetrics:
    """The `Metrics` port. Call `close` at the end."""

    def __init__(self, read_secret: SecretReader) -> None:
        self._read_secret = read_secret
        self._credentials: dict[str, tuple[float, Credentials]] = {}
        self._lines: dict[tuple[str, str | None], _Line] = {}

    async def query(self, source: Source, promql: str, time: datetime, timeout: timedelta) -> Answer:
        """Ask one instant query at `time`, by POST. `timeout` is sent along and bounds everything, slow bodies and the retry included."""
        try:
            async with asyncio.timeout(timeout.total_seconds()):
                return await self._authorized(source, promql, time, timeout)
        except TimeoutError:
            return _failure(
                FailureKind.UNREACHABLE, source, f"did not answer within {timeout.total_seconds():g} s; check its load, or raise timeout"
            )
        except SecretError as problem:
            return QueryFailure(FailureKind.AUTH_FAILED, str(problem))

    async def close(self) -> None:
        """Close all connections."""
        lines, self._lines = list(self._lines.values()), {}
        for line in lines:
            await line.session.close()

    async def _authorized(self, source: Source, promql: str, time: datetime, timeout: timedelta) -> Answer:
        """Ask; where the credentials are refused read the Secret again and ask once more, for it may have been renewed."""
        credentials = await self._credentials_of(source)
        reply = await self._connected(source, credentials, promql, time, timeout)
        if isinstance(reply, Reply) and reply.status in (401, 403) and source.secret_name is not None:
            self._credentials.pop(source.secret_name, None)
            credentials = await self._credentials_of(source)
            reply = await self._connected(source, credentials, promql, time, timeout)
        if isinstance(reply, QueryFailure):
            return reply
        if len(reply.body) > PARSE_IN_THREAD_BYTES:
            return await asyncio.to_thread(read_reply, source, reply, credentials.hide)
        return read_reply(source, reply, credentials.hide)

    async def _connected(
        self, source: Source, credentials: Credentials, promql: str, time: datetime, timeout: timedelta
    ) -> Reply | QueryFailure:
        """Ask; where the connection fails ask once more, for it may have been an old one that the server had closed."""
        reply = await self._post(source, credentials, promql, time, timeout)
        if isinstance(reply, _Disconnected):
            reply = await self._post(source, credentials, promql, time, timeout)
        return reply.failure if isinstance(reply, _Disconnected) else reply

    async def _post(
        self, source: Source, credentials: Credentials, promql: str, time: datetime, timeout: timedelta
    ) -> Reply | QueryFailure | _Disconnected:
        form = {
            "query": promql,
            "time": f"{time.timestamp():.3f}",
            "timeout": f"{max(1, int(timeout.total_seconds()))}s",
            "partial_response": "false",  # Thanos would answer partially by default; Prometheus ignores these three
            "dedup": "true",
            "deny_partial_response": "1",  # VictoriaMetrics
        }
        headers = {**dict(source.headers), "Accept": "application/json", "Accept-Encoding": "identity"}
        if credentials.authorization is not None:
            headers["Authorization"] = credentials.authorization
        try:
            async with (
                self._line(source, credentials) as session,
                session.post(f"{source.url.rstrip('/')}/api/v1/query", data=form, headers=headers, allow_redirects=False) as response,
            ):
                body = await _bounded_body(response)
                if body is None:
                    return _too_large(source)
                location = response.headers.get("Location", "")
                return Reply(response.status, body, _retry_after(response.headers.get("Retry-After", "")), location)
        except (aiohttp.ClientSSLError, ssl.SSLError) as error:
            return _tls_failure(source, error.__cause__ or error)
        except (aiohttp.ClientConnectionError, ConnectionError) as error:
            if isinstance(error.__cause__, ssl.SSLError):  # a server that wants our certificate says so after the handshake
                return _tls_failure(source, error.__cause__)
            what = "cannot be reached; check the address, its Pods and network policies"
            if source.url.startswith("https:") and not credentials.certificate and _has_hung_up(error):
                what += f"; if it wants a client certificate, {_wants_ours(source)}"  # some servers hang up without a word
            return _Disconnected(_failure(FailureKind.UNREACHABLE, source, what, type(error).__name__))
        except aiohttp.ClientResponseError as error:
            return not_prometheus(source, "in HTTP", clean(error.message, credentials.hide))
        except (aiohttp.ClientError, ValueError, OSError) as error:
            return _failure(
                FailureKind.UNREACHABLE,
                source,
                "broke off in the middle of an answer; it is asked again at the next tick",
                type(error).__name__,
            )

    @asynccontextmanager
    async def _line(self, source: Source, credentials: Credentials) -> AsyncIterator[aiohttp.ClientSession]:
        """Lend the connections to a source. Those with a certificate that was renewed since are closed when the last question is through."""
        line = self._current(source, credentials)
        if line is None:
            is_encrypted = source.url.startswith("https:")
            # In a thread, because it reads all roots of the system: 40 ms.
            tls = await asyncio.to_thread(tls_context, source.secret_name, credentials) if is_encrypted else True
            line = self._current(source, credentials) or await self._replaced(source, credentials, tls)
        line.users += 1
        try:
            yield line.session
        finally:
            line.users -= 1
            await _closed_if_unused(line)

    def _current(self, source: Source, credentials: Credentials) -> _Line | None:
        line = self._lines.get((source.url, source.secret_name))
        return line if line is not None and line.identity == credentials.identity else None

    async def _replaced(self, source: Source, credentials: Credentials, tls: ssl.SSLContext | bool) -> _Line:
        key = (source.url, source.secret_name)
        old = self._lines.get(key)
        line = self._lines[key] = _Line(_session(tls), credentials.identity)
        if old is not None:
            old.is_retired = True
            await _closed_if_unused(old)
        return line

    async def _credentials_of(self, source: Source) -> Credentials:
        """Return what the Secret says, read again once a minute, so that a renewed one is used without a restart."""
        name = source.secret_name
        if name is None:
            return NO_CREDENTIALS
        now = asyncio.get_running_loop().time()
        known = self._credentials.get(name)
        if known is not None and now - known[0] < SECRET_SECONDS:
            return known[1]
        try:
            data = await self._read_secret(name)
        except Fault as fault:
            if known is not None:
                return known[1]
            raise SecretError(f"the Secret {name} with the credentials for Prometheus cannot be read: {fault.message}") from fault
        if data is None:
            raise SecretError(f"the Secret {name} (prometheus.secretRef) is not in the operator's namespace; create it there")
        credentials = credentials_of(name, data)
        self._credentials[name] = (now, credentials)
        return credentials


@dataclass(frozen=True, slots=True)
class _Disconnected:
    """The connection failed before an answer came, so asking once more is worth it."""

    failure: QueryFailure


def _session(tls: ssl.SSLContext | bool) -> aiohttp.ClientSession:
    return aiohttp.ClientSession(
        connector=aiohttp.TCPConnector(limit=MAX_CONNECTIONS, ssl=tls),
        cookie_jar=aiohttp.DummyCookieJar(),
        timeout=aiohttp.ClientTimeout(total=None),  # `query` bounds the whole
        auto_decompress=False,
    )


async def _closed_if_unused(line: _Line) -> None:
    if line.is_retired and line.users == 0:
        await line.session.close()


async def _bounded_body(response: aiohttp.ClientResponse) -> bytes | None:
    """Return the body, or None as soon as it is over the limit: it is never held in memory beyond that."""
    chunks: list[bytes] = []
    size = 0
    async for chunk in response.content.iter_chunked(64 * 1024):
        size += len(chunk)
        if size > MAX_BODY_BYTES:
            response.close()
            return None
        chunks.append(chunk)
    return b"".join(chunks)


def _retry_after(text: str) -> timedelta | None:
    """Return how long the server asks to be left alone: seconds or a date; at most one hour."""
    if text.strip().isdigit() and len(text) < 10:
        return min(MAX_RETRY_AFTER, timedelta(seconds=int(text)))
    try:
        date = parsedate_to_datetime(text)
    except (ValueError, TypeError, IndexError):
        return None
    date = date if date.tzinfo else date.replace(tzinfo=UTC)
    return min(MAX_RETRY_AFTER, max(timedelta(0), date - datetime.now(UTC)))


def _too_large(source: Source) -> QueryFailure:
    message = f"{_host(source)} answered more than {MAX_BODY_BYTES // 1024 // 1024} MiB to one query; group the query by tenant alone"
    return QueryFailure(FailureKind.TOO_LARGE, message, can_split=True)


def _tls_failure(source: Source, error: BaseException) -> QueryFailure:
    """Return who of both does not trust the other, as far as TLS tells: an alert is the server's word, all else is ours."""
    reason = str(getattr(error, "verify_message", None) or getattr(error, "reason", None) or type(error).__name__)
    if "ALERT" in reason.upper():
        what = f"refused our TLS handshake; if it wants a client certificate, {_wants_ours(source)}"
    else:
        secret = f"put its root into ca.crt of the Secret {source.secret_name}"
        hint = secret if source.secret_name else "name a Secret with its root as ca.crt in secretRef"
        what = f"could not be trusted; {hint}, or use a name that its certificate has"
    return _failure(FailureKind.TLS_FAILED, source, what, reason[:200])


def _has_hung_up(error: BaseException) -> bool:
    """Tell whether somebody was there and closed the connection, while nobody is there at a refused one."""
    return isinstance(error, aiohttp.ServerDisconnectedError | ConnectionResetError) or isinstance(error.__cause__, ConnectionResetError)


def _wants_ours(source: Source) -> str:
    return (
        f"put it into tls.crt and tls.key of {f'the Secret {source.secret_name}' if source.secret_name else 'a Secret named in secretRef'}"
    )


def _failure(kind: FailureKind, source: Source, what: str, detail: str = "") -> QueryFailure:
    return QueryFailure(kind, f"{_host(source)} {what}", detail=detail)


def _host(source: Source) -> str:
    """Return host and port alone: whatever else a URL may carry stays out of messages."""
    url = urlsplit(source.url)
    return f"Prometheus at {url.hostname}{f':{url.port}' if url.port else ''}"
