"""An HTTP server in the place of a Prometheus that answers as told, and remembers what it was asked."""

from __future__ import annotations

import json
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

from aiohttp import web

from tenantwave.adapters.prometheus import PrometheusMetrics, SecretReader
from tenantwave.core.gates import Answer, Source

TIME = datetime(2026, 1, 1, 12, tzinfo=UTC)
TIMEOUT = timedelta(seconds=5)
SECRET = "prometheus-auth"
Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


@dataclass
class Script:
    """What the server answers, and what it was asked."""

    handler: Handler
    forms: list[dict[str, str]] = field(default_factory=list)
    headers: list[Mapping[str, str]] = field(default_factory=list)
    methods: list[str] = field(default_factory=list)
    clients: list[str] = field(default_factory=list)
    """The names in the certificates of those who asked; empty without TLS."""
    url: str = ""


@asynccontextmanager
async def serving(handler: Handler, tls: ssl.SSLContext | None = None) -> AsyncIterator[Script]:
    """Run a server on a free port of the loopback interface."""
    script = Script(handler)

    async def answer(request: web.Request) -> web.StreamResponse:
        script.methods.append(request.method)
        script.headers.append(dict(request.headers))
        script.forms.append({name: str(value) for name, value in (await request.post()).items()})
        certificate = request.get_extra_info("peercert") or {}
        script.clients += [value for part in certificate.get("subject", ()) for key, value in part if key == "commonName"]
        return await script.handler(request)

    app = web.Application()
    app.router.add_route("*", "/{path:.*}", answer)
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0, ssl_context=tls)
    await site.start()
    port = runner.addresses[0][1]
    script.url = f"https://localhost:{port}" if tls else f"http://127.0.0.1:{port}"
    try:
        yield script
    finally:
        await runner.cleanup()


def replying(status: int, body: object = "", headers: Mapping[str, str] | None = None) -> Handler:
    """Return a handler with one answer."""

    async def handler(_: web.Request) -> web.StreamResponse:
        text = body if isinstance(body, str) else json.dumps(body)
        return web.Response(status=status, text=text, headers=dict(headers or {}))

    return handler


def vector(*rows: object, **more: object) -> dict[str, object]:
    """Return a successful answer."""
    return {"status": "success", "data": {"resultType": "vector", "result": list(rows)}, **more}


def a_result(kind: str, result: object) -> dict[str, object]:
    """Return a successful answer of another kind."""
    return {"status": "success", "data": {"resultType": kind, "result": result}}


def row(tenant: str, value: str) -> dict[str, object]:
    """Return one element of a vector."""
    return {"metric": {"namespace": tenant}, "value": [1767268800, value]}


SUCCESS = vector(row("acme", "1"))


def holding(*versions: Mapping[str, bytes] | None) -> SecretReader:
    """Return a reader of a Secret that has these contents one after the other; the last one stays."""
    left = list(versions)

    async def read(name: str) -> Mapping[str, bytes] | None:
        assert name == SECRET
        return left.pop(0) if len(left) > 1 else left[0]

    return read


async def ask(source: Source, read_secret: SecretReader | None = None, timeout: timedelta = TIMEOUT) -> Answer:
    """Ask one question with an adapter of its own."""
    metrics = PrometheusMetrics(read_secret or holding(None))
    try:
        return await metrics.query(source, "up", TIME, timeout)
    finally:
        await metrics.close()
