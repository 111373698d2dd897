"""Asks a Prometheus, or something that speaks its query API. Whatever it answers becomes `Rows` or a `QueryFailure`; nothing is ever
raised.

Only a complete and well-formed answer becomes `Rows`. Credentials leave in one header and nowhere else: no message, log or URL carries
them, no redirect
is followed with them, and TLS is always verified.
"""

from __future__ import annotations

import asyncio
import base64
import hashlib
import os
import ssl
import tempfile
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime
from typing import Final
from urllib.parse import urlsplit

import aiohttp

from tenantwave.adapters.prometheus_answers import Reply, read_reply
from tenantwave.core.gates.samples import Answer, FailureKind, QueryFailure, Source
from tenantwave.faults import Fault

MAX_BODY_BYTES: Final = 32 * 1024 * 1024
PARSE_IN_THREAD_BYTES: Final = 256 * 1024
MAX_CONNECTIONS: Final = 4
SECRET_SECONDS: Final = 60.0
MAX_RETRY_AFTER: Final = timedelta(hours=1)

SecretReader = Callable[[str], Awaitable[Mapping[str, bytes] | None]]
"""Reads the data of a Secret in the operator's namespace, decoded; None if there is none. May raise a Fault."""


@dataclass(frozen=True, slots=True)
class _Credentials:
    """What a Secret says. `authorization` is never shown."""

    authorization: str | None = field(default=None, repr=False)
    root: bytes = field(default=b"", repr=False)
    certificate: bytes = field(default=b"", repr=False)
    key: bytes = field(default=b"", repr=False)

    @property
    def identity(self) -> str:
        """Return what tells apart TLS settings, so that a renewed certificate gets connections of its own."""
        parts = (self.root, self.certificate, self.key)
        return hashlib.sha256(b"\0".join(hashlib.sha256(part).digest() for part in parts)).hexdigest()


class _SecretError(Exception):
    """The Secret cannot be used. The message names it and the mend, and nothing of its content."""


class PrometheusMetrics:
    """The `Metrics` port. Call `close` at the end."""

    def __init__(self, read_secret: SecretReader) -> None:
        self._read_secret = read_secret
        self._credentials: dict[str, tuple[float, _Credentials]] = {}
        self._sessions: dict[tuple[str, str], aiohttp.ClientSession] = {}

    async def query(self, source: Source, promql: str, time: datetime, timeout: timedelta) -> Answer:
        """Ask one instant query at `time`, by POST. `timeout` is sent along and bounds everything, slow bodies and the retry included."""
        try:
            async with asyncio.timeout(timeout.total_seconds()):
                return await self._authorized(source, promql, time, timeout)
        except TimeoutError:
            return _failure(
                FailureKind.UNREACHABLE, source, f"did not answer within {timeout.total_seconds():g} s; check its load, or raise timeout"
            )
        except _SecretError as problem:
            return QueryFailure(FailureKind.AUTH_FAILED, str(problem))

    async def close(self) -> None:
        """Close all connections."""
        sessions, self._sessions = list(self._sessions.values()), {}
        for session in sessions:
            await session.close()

    async def _authorized(self, source: Source, promql: str, time: datetime, timeout: timedelta) -> Answer:
        """Ask; where the credentials are refused read the Secret again and ask once more, for it may have been renewed."""
        reply = await self._connected(source, await self._credentials_of(source), promql, time, timeout)
        if isinstance(reply, QueryFailure):
            return reply
        if reply.status in (401, 403) and source.secret_name is not None:
            self._credentials.pop(source.secret_name, None)
            reply = await self._connected(source, await self._credentials_of(source), promql, time, timeout)
            if isinstance(reply, QueryFailure):
                return reply
        if len(reply.body) > PARSE_IN_THREAD_BYTES:
            return await asyncio.to_thread(read_reply, source, reply)
        return read_reply(source, reply)

    async def _connected(
        self, source: Source, credentials: _Credentials, promql: str, time: datetime, timeout: timedelta
    ) -> Reply | QueryFailure:
        """Ask; where the connection fails ask once more, for it may have been an old one that the server had closed."""
        reply = await self._post(source, credentials, promql, time, timeout)
        if isinstance(reply, _Disconnected):
            reply = await self._post(source, credentials, promql, time, timeout)
        return reply.failure if isinstance(reply, _Disconnected) else reply

    async def _post(
        self, source: Source, credentials: _Credentials, promql: str, time: datetime, timeout: timedelta
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
            session = self._session(source, credentials)
            async with session.post(
                f"{source.url.rstrip('/')}/api/v1/query", data=form, headers=headers, allow_redirects=False
            ) as response:
                body = await _bounded_body(response)
                if body is None:
                    return _too_large(source)
                location = urlsplit(response.headers.get("Location", "")).hostname or ""
                return Reply(response.status, body, _retry_after(response.headers.get("Retry-After", "")), location)
        except (aiohttp.ClientSSLError, ssl.SSLError) as error:
            return _tls_failure(source, error)
        except (aiohttp.ClientConnectionError, ConnectionError) as error:
            cause = type(error).__name__
            return _Disconnected(
                _failure(FailureKind.UNREACHABLE, source, "cannot be reached; check the address, its Pods and network policies", cause)
            )
        except (aiohttp.ClientError, ValueError, OSError) as error:
            return _failure(
                FailureKind.UNREACHABLE,
                source,
                "broke off in the middle of an answer; it is asked again at the next tick",
                type(error).__name__,
            )

    def _session(self, source: Source, credentials: _Credentials) -> aiohttp.ClientSession:
        key = (source.url, credentials.identity)
        session = self._sessions.get(key)
        if session is None or session.closed:
            connector = aiohttp.TCPConnector(
                limit=MAX_CONNECTIONS, ssl=_tls(source, credentials) if source.url.startswith("https:") else True
            )
            session = aiohttp.ClientSession(
                connector=connector,
                cookie_jar=aiohttp.DummyCookieJar(),
                timeout=aiohttp.ClientTimeout(total=None),  # `query` bounds the whole
                auto_decompress=False,
            )
            self._sessions[key] = session
        return session

    async def _credentials_of(self, source: Source) -> _Credentials:
        """Return what the Secret says, read again once a minute, so that a renewed one is used without a restart."""
        name = source.secret_name
        if name is None:
            return _Credentials()
        now = asyncio.get_running_loop().time()
        known = self._credentials.get(name)
        if known is not None and now - known[0] < SECRET_SECONDS:
            return known[1]
        try:
            data = await self._read_secret(name)
        except Fault as fault:
            if known is not None:
                return known[1]
            raise _SecretError(f"the Secret {name} with the credentials for Prometheus cannot be read: {fault.message}") from fault
        if data is None:
            raise _SecretError(f"the Secret {name} (prometheus.secretRef) is not in the operator's namespace; create it there")
        credentials = _credentials(name, data)
        self._credentials[name] = (now, credentials)
        return credentials


@dataclass(frozen=True, slots=True)
class _Disconnected:
    """The connection failed before an answer came, so asking once more is worth it."""

    failure: QueryFailure


def _credentials(name: str, data: Mapping[str, bytes]) -> _Credentials:
    token, username, password = (_text(name, data, key) for key in ("token", "username", "password"))
    certificate, key = data.get("tls.crt", b""), data.get("tls.key", b"")
    if token and (username or password):
        raise _SecretError(f"the Secret {name} has both token and username with password; remove one of the two")
    if bool(username) != bool(password):
        raise _SecretError(f"the Secret {name} has only one of username and password; add the other one")
    if bool(certificate) != bool(key):
        raise _SecretError(f"the Secret {name} has only one of tls.crt and tls.key; add the other one")
    authorization = f"Bearer {token}" if token else None
    if username:
        authorization = f"Basic {base64.b64encode(f'{username}:{password}'.encode()).decode()}"
    return _Credentials(authorization, data.get("ca.crt", b""), certificate, key)


def _text(name: str, data: Mapping[str, bytes], key: str) -> str:
    try:
        text = data.get(key, b"").decode().strip()
    except UnicodeDecodeError:
        raise _SecretError(f"{key} of the Secret {name} is not text; store it as UTF-8") from None
    if not text.isprintable() or (key == "token" and not text.isascii()):
        raise _SecretError(f"{key} of the Secret {name} contains line breaks or characters that no header may carry; store it without them")
    return text


def _tls(source: Source, credentials: _Credentials) -> ssl.SSLContext:
    """Return TLS settings: the system's roots and that of `ca.crt`, always verified; our certificate, if there is one."""
    context = ssl.create_default_context()
    try:
        if credentials.root:
            context.load_verify_locations(cadata=credentials.root.decode())
        if credentials.certificate:
            with tempfile.TemporaryDirectory(prefix="tenantwave-") as folder:  # the ssl module reads client certificates from files alone
                chain = os.path.join(folder, "chain.pem")
                with open(os.open(chain, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
                    file.write(credentials.certificate + b"\n" + credentials.key)
                context.load_cert_chain(chain)
    except (ssl.SSLError, ValueError):
        raise _SecretError(f"ca.crt, tls.crt or tls.key of the Secret {source.secret_name} is no valid PEM; store it again") from None
    return context


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


def _tls_failure(source: Source, error: Exception) -> QueryFailure:
    hint = (
        f"put its root into ca.crt of the Secret {source.secret_name}"
        if source.secret_name
        else "name a Secret with its root as ca.crt in secretRef"
    )
    reason = (
        getattr(error, "reason", None) or getattr(getattr(error, "certificate_error", None), "verify_message", None) or type(error).__name__
    )
    return _failure(
        FailureKind.TLS_FAILED, source, f"could not be trusted; {hint}, or use a name that its certificate has", str(reason)[:200]
    )


def _failure(kind: FailureKind, source: Source, what: str, detail: str = "") -> QueryFailure:
    return QueryFailure(kind, f"{_host(source)} {what}", detail=detail)


def _host(source: Source) -> str:
    """Return host and port alone: whatever else a URL may carry stays out of messages."""
    url = urlsplit(source.url)
    return f"Prometheus at {url.hostname}{f':{url.port}' if url.port else ''}"
