"""The adapter against a server that answers as told: every row of what a Prometheus, or something in its place, may answer."""

from __future__ import annotations

import asyncio
import json
import logging
import ssl
import subprocess
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from aiohttp import web

from gate_builders import Fleet, a_context, run, tick
from tenantwave.adapters.prometheus import PrometheusMetrics
from tenantwave.core.gates import Answer, Ask, FailureKind, GateBook, QueryFailure, Row, Rows, Source, Verdict
from tenantwave.faults import Unavailable

TIME = datetime(2026, 1, 1, 12, tzinfo=UTC)
TIMEOUT = timedelta(seconds=5)
PASSWORD = "correct-horse-battery"
Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


@dataclass
class Script:
    """What the server answers, and what it was asked."""

    handler: Handler
    forms: list[dict[str, str]] = field(default_factory=list)
    headers: list[Mapping[str, str]] = field(default_factory=list)
    methods: list[str] = field(default_factory=list)
    url: str = ""


@asynccontextmanager
async def serving(handler: Handler, tls: ssl.SSLContext | None = None) -> AsyncIterator[Script]:
    """Run a server on a free port of the loopback interface."""
    script = Script(handler)

    async def answer(request: web.Request) -> web.StreamResponse:
        script.methods.append(request.method)
        script.headers.append(dict(request.headers))
        script.forms.append({name: str(value) for name, value in (await request.post()).items()})
        return await script.handler(request)

    app = web.Application()
    app.router.add_route("*", "/{path:.*}", answer)
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0, ssl_context=tls)
    await site.start()
    port = runner.addresses[0][1]
    script.url = f"{'https' if tls else 'http'}://localhost:{port}" if tls else f"http://127.0.0.1:{port}"
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


async def no_secret(_: str) -> Mapping[str, bytes] | None:
    """Find no Secret."""
    return None


async def ask(
    source: Source, read_secret: Callable[[str], Awaitable[Mapping[str, bytes] | None]] = no_secret, timeout: timedelta = TIMEOUT
) -> Answer:
    """Ask one question with an adapter of its own."""
    metrics = PrometheusMetrics(read_secret)
    try:
        return await metrics.query(source, "up", TIME, timeout)
    finally:
        await metrics.close()


SUCCESS = vector(row("acme", "1"))
ERROR_422 = {"status": "error", "errorType": "execution", "error": "query processing would load too many samples into memory"}
ERROR_400 = {"status": "error", "errorType": "bad_data", "error": "parse error: unexpected end"}
SEEN = [
    pytest.param(replying(500), FailureKind.UNREACHABLE, "HTTP 500", id="server error"),
    pytest.param(replying(502, "<html>"), FailureKind.UNREACHABLE, "HTTP 502", id="bad gateway"),
    pytest.param(replying(401), FailureKind.AUTH_FAILED, "secretRef", id="401 without a Secret"),
    pytest.param(replying(403), FailureKind.AUTH_FAILED, "secretRef", id="403 without a Secret"),
    pytest.param(replying(404), FailureKind.NOT_PROMETHEUS, "/prometheus for Mimir", id="404"),
    pytest.param(replying(200, "<html>hello</html>"), FailureKind.NOT_PROMETHEUS, "path prefix", id="HTML"),
    pytest.param(replying(200, "not json"), FailureKind.NOT_PROMETHEUS, "path prefix", id="not JSON"),
    pytest.param(replying(200, ""), FailureKind.NOT_PROMETHEUS, "path prefix", id="an empty body"),
    pytest.param(replying(200, "[" * 100_000), FailureKind.NOT_PROMETHEUS, "path prefix", id="deeply nested"),
    pytest.param(replying(200, {"status": "error"}), FailureKind.NOT_PROMETHEUS, "path prefix", id="200, but an error"),
    pytest.param(replying(400, "Client sent an HTTP request to an HTTPS server."), FailureKind.NOT_PROMETHEUS, "url", id="400 of a TLS port"),
    pytest.param(replying(302, headers={"Location": "https://login.example.com/x?token=s3"}), FailureKind.REDIRECTED, "login.example.com", id="302"),
    pytest.param(replying(307, headers={"Location": "https://other.example.com/"}), FailureKind.REDIRECTED, "other.example.com", id="307"),
    pytest.param(replying(400, ERROR_400), FailureKind.QUERY_INVALID, "parse error", id="400"),
    pytest.param(replying(422, ERROR_422), FailureKind.QUERY_INVALID, "smaller parts", id="422 too many samples"),
    pytest.param(replying(429), FailureKind.THROTTLED, "less often", id="429"),
    pytest.param(replying(503), FailureKind.THROTTLED, "less often", id="503"),
    pytest.param(replying(413), FailureKind.TOO_LARGE, "size", id="413"),
    pytest.param(replying(200, vector(row("acme", "1"), isPartial=True)), FailureKind.PARTIAL, "in part", id="VictoriaMetrics, partial"),
    pytest.param(replying(200, vector(row("acme", "1"), warnings=["receive: no store"])), FailureKind.PARTIAL, "no store", id="Thanos, a warning"),
    pytest.param(replying(200, a_result("matrix", [])), FailureKind.QUERY_INVALID, "matrix", id="matrix"),
    pytest.param(replying(200, a_result("scalar", [1, "1"])), FailureKind.QUERY_INVALID, "scalar", id="scalar"),
    pytest.param(replying(200, {"status": "success", "data": None}), FailureKind.QUERY_INVALID, "nothing", id="no data"),
    pytest.param(replying(200, vector({"metric": {}, "histogram": [1, {}]})), FailureKind.QUERY_INVALID, "histogram", id="native histogram"),
    pytest.param(replying(200, vector({"metric": {}, "value": [1, "x"]})), FailureKind.NOT_PROMETHEUS, "cannot be read", id="no number"),
    pytest.param(replying(200, vector({"metric": {}, "value": [1, 1.5]})), FailureKind.NOT_PROMETHEUS, "cannot be read", id="a bare number"),
    pytest.param(replying(200, vector(7)), FailureKind.NOT_PROMETHEUS, "cannot be read", id="no row"),
]  # fmt: skip


@pytest.mark.parametrize(("handler", "kind", "words"), SEEN)
async def test_what_is_no_complete_answer_is_a_failure(handler: Handler, kind: FailureKind, words: str) -> None:
    """Each becomes its kind, with a sentence that names the mend."""
    async with serving(handler) as script:
        answer = await ask(Source(script.url))
    assert isinstance(answer, QueryFailure)
    assert answer.kind is kind
    assert words in answer.message


@pytest.mark.parametrize(("handler", "kind", "words"), SEEN)
async def test_no_failure_ever_gives_healthy_or_failing(handler: Handler, kind: FailureKind, words: str) -> None:
    """Judged as every answer of ten ticks, the wave is Unknown."""
    async with serving(handler) as script:
        answer = await ask(Source(script.url))
    assert isinstance(answer, QueryFailure)
    book = run(a_context(), Fleet(outage=answer), 10)
    wave = book.wave("canary")
    assert wave is not None
    assert wave.verdict is Verdict.UNKNOWN, (kind, words)


async def test_rows_arrive_with_their_labels_and_odd_numbers() -> None:
    """NaN and infinities are numbers of the answer; what they mean is decided elsewhere."""
    async with serving(replying(200, vector(row("acme", "36.5"), row("beta", "NaN"), row("gamma", "+Inf")))) as script:
        answer = await ask(Source(script.url))
    assert isinstance(answer, Rows)
    assert answer.rows[0] == Row({"namespace": "acme"}, 36.5)
    assert [str(each.value) for each in answer.rows] == ["36.5", "nan", "inf"]


async def test_advisory_warnings_are_kept_and_change_nothing() -> None:
    """`PromQL info:` and `PromQL warning:` talk about the query, not about missing data."""
    warnings = ["PromQL info: metric might not be a counter", "PromQL warning: bucket label"]
    async with serving(replying(200, vector(row("acme", "1"), warnings=warnings))) as script:
        answer = await ask(Source(script.url))
    assert answer == Rows((Row({"namespace": "acme"}, 1.0),), tuple(warnings))


async def test_a_question_is_a_post_with_its_time_and_what_makes_answers_complete() -> None:
    """POST, because queries are long; and never a partial answer, where a server would give one."""
    async with serving(replying(200, SUCCESS)) as script:
        await ask(Source(script.url + "/prometheus/", headers=(("X-Scope-OrgID", "platform"),)))
    assert script.methods == ["POST"]
    assert script.forms == [
        {
            "query": "up",
            "time": "1767268800.000",
            "timeout": "5s",
            "partial_response": "false",
            "dedup": "true",
            "deny_partial_response": "1",
        }
    ]
    assert script.headers[0]["X-Scope-OrgID"] == "platform"


@pytest.mark.parametrize(("text", "seconds"), [("70", 70), ("9999999", 3600), ("soon", None), ("-5", None), ("", None)])
async def test_retry_after_is_kept_within_bounds(text: str, seconds: int | None) -> None:
    """At most an hour; nonsense is no wish at all."""
    async with serving(replying(429, headers={"Retry-After": text})) as script:
        answer = await ask(Source(script.url))
    assert isinstance(answer, QueryFailure)
    assert answer.retry_after == (None if seconds is None else timedelta(seconds=seconds))


async def test_too_many_samples_may_be_split_and_other_refusals_not() -> None:
    """Only what is too large is worth asking in halves."""
    async with serving(replying(422, ERROR_422)) as script:
        split = await ask(Source(script.url))
    async with serving(replying(400, ERROR_400)) as script:
        refused = await ask(Source(script.url))
    assert isinstance(split, QueryFailure)
    assert isinstance(refused, QueryFailure)
    assert (split.can_split, refused.can_split) == (True, False)


async def test_a_slow_answer_ends_at_the_timeout() -> None:
    """Headers at once, then one byte at a time: the timeout bounds the body, too."""

    async def drip(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse()
        await response.prepare(request)
        for _ in range(200):
            try:
                await response.write(b" ")
            except ConnectionError:
                break
            await asyncio.sleep(0.05)
        return response

    async with serving(drip) as script:
        started = asyncio.get_running_loop().time()
        answer = await ask(Source(script.url), timeout=timedelta(seconds=0.5))
        assert asyncio.get_running_loop().time() - started < 3
    assert isinstance(answer, QueryFailure)
    assert (answer.kind, "within 0.5 s" in answer.message) == (FailureKind.UNREACHABLE, True)


async def test_a_body_of_a_hundred_megabytes_is_cut_off() -> None:
    """It is TooLarge after 32 MiB, and may be asked in halves."""
    sent = 0

    async def flood(request: web.Request) -> web.StreamResponse:
        nonlocal sent
        response = web.StreamResponse()
        await response.prepare(request)
        try:
            for _ in range(100):
                await response.write(b"x" * 1024 * 1024)
                sent += 1
        except ConnectionError:
            pass
        return response

    async with serving(flood) as script:
        answer = await ask(Source(script.url), timeout=timedelta(seconds=20))
    assert isinstance(answer, QueryFailure)
    assert (answer.kind, answer.can_split) == (FailureKind.TOO_LARGE, True)
    assert sent < 100


async def test_a_refused_connection_is_tried_twice_and_told() -> None:
    """Nobody listens there."""
    async with serving(replying(200, SUCCESS)) as script:
        url = script.url
    answer = await ask(Source(url))
    assert isinstance(answer, QueryFailure)
    assert answer.kind is FailureKind.UNREACHABLE
    assert "cannot be reached" in answer.message


async def test_a_dropped_connection_is_asked_once_more() -> None:
    """A kept connection that the server had closed is no outage."""
    calls = 0

    async def drop_first(request: web.Request) -> web.StreamResponse:
        nonlocal calls
        calls += 1
        if calls == 1:
            assert request.transport is not None
            request.transport.abort()
        return web.json_response(SUCCESS)

    async with serving(drop_first) as script:
        assert isinstance(await ask(Source(script.url)), Rows)
    assert calls == 2


async def test_an_error_of_the_server_is_not_retried() -> None:
    """The next tick asks again; a struggling server gets no second load."""
    async with serving(replying(500)) as script:
        await ask(Source(script.url))
    assert len(script.methods) == 1


async def test_a_redirect_is_never_followed() -> None:
    """Credentials would travel along."""
    async with serving(replying(200, SUCCESS)) as target, serving(replying(307, headers={"Location": target.url})) as script:
        await ask(Source(script.url))
    assert target.methods == []


@pytest.mark.parametrize(
    ("secret", "header"),
    [
        pytest.param({"token": b"abc\n"}, "Bearer abc", id="token"),
        pytest.param(
            {"username": b"ann", "password": PASSWORD.encode()}, "Basic YW5uOmNvcnJlY3QtaG9yc2UtYmF0dGVyeQ==", id="username and password"
        ),
    ],
)
async def test_credentials_go_into_one_header(secret: Mapping[str, bytes], header: str) -> None:
    """And not into the URL or the form."""

    async def read(_: str) -> Mapping[str, bytes]:
        return secret

    async with serving(replying(200, SUCCESS)) as script:
        await ask(Source(script.url, secret_name="prometheus-auth"), read)
    assert script.headers[0]["Authorization"] == header


async def test_refused_credentials_are_read_again_once() -> None:
    """A token that was renewed in the meantime works at the second try."""
    tokens = iter([b"old", b"new", b"newer"])

    async def read(_: str) -> Mapping[str, bytes]:
        return {"token": next(tokens)}

    async def only_new(request: web.Request) -> web.StreamResponse:
        return web.json_response(SUCCESS) if request.headers["Authorization"] == "Bearer new" else web.Response(status=401)

    async with serving(only_new) as script:
        assert isinstance(await ask(Source(script.url, secret_name="prometheus-auth"), read), Rows)
    assert len(script.methods) == 2


@pytest.mark.parametrize(
    ("secret", "words"),
    [
        pytest.param(None, "not in the operator's namespace", id="no Secret"),
        pytest.param({"token": b"x", "username": b"y", "password": b"z"}, "both token and username", id="both"),
        pytest.param({"username": b"y"}, "only one of username and password", id="half"),
        pytest.param({"token": b"a\nb"}, "line breaks", id="line break in a token"),
        pytest.param({"token": b"\xff"}, "not text", id="no text"),
        pytest.param({"tls.crt": b"x"}, "only one of tls.crt and tls.key", id="half a certificate"),
    ],
)
async def test_a_secret_that_cannot_be_used_is_named(secret: Mapping[str, bytes] | None, words: str) -> None:
    """Nothing is sent, and none of its content is shown."""

    async def read(_: str) -> Mapping[str, bytes] | None:
        return secret

    async with serving(replying(200, SUCCESS)) as script:
        answer = await ask(Source(script.url, secret_name="prometheus-auth"), read)
    assert isinstance(answer, QueryFailure)
    assert answer.kind is FailureKind.AUTH_FAILED
    assert "prometheus-auth" in answer.message
    assert words in answer.message
    assert script.methods == []


async def test_a_secret_that_cannot_be_read_now_is_told() -> None:
    """The API server's own sentence says why."""

    async def read(_: str) -> Mapping[str, bytes] | None:
        raise Unavailable("get secrets prometheus-auth: no answer")

    answer = await ask(Source("http://127.0.0.1:1", secret_name="prometheus-auth"), read)
    assert isinstance(answer, QueryFailure)
    assert answer.kind is FailureKind.AUTH_FAILED


@pytest.mark.parametrize(
    "handler", [replying(401), replying(403), replying(500, PASSWORD), replying(200, "x"), replying(302), replying(429)]
)
async def test_no_message_or_log_shows_a_credential(handler: Handler, caplog: pytest.LogCaptureFixture) -> None:
    """Whatever goes wrong."""

    async def read(_: str) -> Mapping[str, bytes]:
        return {"username": b"ann", "password": PASSWORD.encode()}

    with caplog.at_level(logging.DEBUG):
        async with serving(handler) as script:
            metrics = PrometheusMetrics(read)
            answer = await metrics.query(Source(script.url, secret_name="prometheus-auth"), "up", TIME, TIMEOUT)
            shown = f"{vars(metrics)!r}"
            await metrics.close()
    assert isinstance(answer, QueryFailure)
    for text in (answer.message, caplog.text, shown):
        assert PASSWORD not in text
        assert "YW5uOm" not in text


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder with a self-signed certificate for localhost."""
    folder = tmp_path_factory.mktemp("tls")
    subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "2",
         "-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost",
         "-keyout", str(folder / "tls.key"), "-out", str(folder / "tls.crt")],
        check=True, capture_output=True,
    )  # fmt: skip
    return folder


async def test_an_untrusted_certificate_is_refused_and_its_root_adds_trust(certificate: Path) -> None:
    """Verification cannot be switched off; `ca.crt` is the way."""

    async def read(_: str) -> Mapping[str, bytes]:
        return {"ca.crt": (certificate / "tls.crt").read_bytes()}

    tls = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    tls.load_cert_chain(certificate / "tls.crt", certificate / "tls.key")
    async with serving(replying(200, SUCCESS), tls) as script:
        refused = await ask(Source(script.url))
        trusted = await ask(Source(script.url, secret_name="prometheus-auth"), read)
    assert isinstance(refused, QueryFailure)
    assert refused.kind is FailureKind.TLS_FAILED
    assert "ca.crt" in refused.message
    assert isinstance(trusted, Rows)


@pytest.mark.parametrize(
    "rows",
    [
        pytest.param([Row({"namespace": "acme"}, 1.0), Row({"namespace": "acme"}, 2.0)], id="two rows for a tenant"),
        pytest.param([Row({}, 1.0)], id="a row without the label"),
        pytest.param([Row({"namespace": ""}, 1.0)], id="an empty label"),
    ],
)
def test_rows_that_belong_to_nobody_in_particular_make_the_metric_unknown(rows: list[Row]) -> None:
    """Never does the last one win."""

    class Odd(Fleet):
        def answer(self, question: Ask) -> Answer:
            return Rows(tuple(rows)) if question.tenants else super().answer(question)

    wave = run(a_context(), Odd(), 6).wave("canary")
    assert wave is not None
    assert (wave.verdict, wave.reason) == (Verdict.UNKNOWN, "QueryInvalid")


def test_a_row_of_a_tenant_that_was_not_asked_for_is_dropped() -> None:
    """It reaches nobody's verdict."""

    class Chatty(Fleet):
        def answer(self, question: Ask) -> Answer:
            answer = super().answer(question)
            assert isinstance(answer, Rows)
            return Rows((*answer.rows, Row({"namespace": "stranger"}, 1e9))) if question.tenants else answer

    book = GateBook()
    context = a_context()
    for number in range(8):
        book = tick(book, context, Chatty(), TIME + number * timedelta(seconds=30))
    assert set(book.tenants) == {"acme"}
    wave = book.wave("canary")
    assert wave is not None
    assert wave.verdict is Verdict.HEALTHY
