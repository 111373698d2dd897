"""The adapter against a server that answers as told: every row of what a Prometheus, or something in its place, may answer."""

from __future__ import annotations

import asyncio
import re
import threading
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime

import pytest
from aiohttp import web

from gate_builders import Fleet, a_context, run, tick
from support.scripted_prometheus import SUCCESS, TIME, Handler, a_result, ask, holding, replying, row, serving, vector
from tenantwave.adapters import prometheus_answers
from tenantwave.adapters.prometheus import PrometheusMetrics
from tenantwave.core.gates import Answer, Ask, FailureKind, GateBook, QueryFailure, Row, Rows, Source, Verdict, due
from tenantwave.engine.prober import Prober

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
    pytest.param(replying(405), FailureKind.NOT_PROMETHEUS, "path prefix", id="405, no POST here"),
    pytest.param(replying(204), FailureKind.NOT_PROMETHEUS, "path prefix", id="204"),
    pytest.param(replying(422, {"status": "error", "error": "unknown function"}), FailureKind.QUERY_INVALID, "metric names", id="422"),
    pytest.param(replying(422, "<html>"), FailureKind.NOT_PROMETHEUS, "path prefix", id="422, but HTML"),
    pytest.param(replying(503, {"status": "error", "errorType": "timeout"}), FailureKind.THROTTLED, "less often", id="503, the query took too long"),
    pytest.param(replying(302), FailureKind.REDIRECTED, "another place", id="302 to nowhere"),
    pytest.param(replying(200, vector(row("acme", "1"), isPartial="yes")), FailureKind.PARTIAL, "in part", id="partial in other words"),
    pytest.param(replying(200, vector(row("acme", "1"), warnings="odd")), FailureKind.PARTIAL, "odd", id="a warning that is no list"),
    pytest.param(replying(200, vector(row("acme", "1"), infos=["lost"])), FailureKind.PARTIAL, "lost", id="an info that is none of PromQL"),
    pytest.param(replying(200, vector(row("acme", "1"), warnings=["PromQL info: x", "gone"])), FailureKind.PARTIAL, "gone", id="one of two is grave"),
    pytest.param(replying(200, a_result("string", [1, "x"])), FailureKind.QUERY_INVALID, "string", id="string"),
    pytest.param(replying(200, a_result("vector", {})), FailureKind.QUERY_INVALID, "instant vector", id="a vector that is no list"),
    pytest.param(replying(200, vector({**row("acme", "1"), "histogram": [1, {}]})), FailureKind.QUERY_INVALID, "histogram", id="both"),
    pytest.param(replying(200, vector(row("acme", "1"), {"metric": {}})), FailureKind.NOT_PROMETHEUS, "cannot be read", id="a row without value"),
    pytest.param(replying(200, vector(row("acme", "1_000"))), FailureKind.NOT_PROMETHEUS, "cannot be read", id="a number of another language"),
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


@pytest.mark.parametrize("status", [429, 503])
@pytest.mark.parametrize(("text", "seconds"), [("70", 70), ("9999999", 3600), ("soon", None), ("-5", None), ("", None), ("9" * 40, None)])
async def test_retry_after_is_kept_within_bounds(status: int, text: str, seconds: int | None) -> None:
    """At most an hour; nonsense is no wish at all."""
    async with serving(replying(status, headers={"Retry-After": text})) as script:
        answer = await ask(Source(script.url))
    assert isinstance(answer, QueryFailure)
    assert answer.retry_after == (None if seconds is None else timedelta(seconds=seconds))


@pytest.mark.parametrize(("ahead", "least", "most"), [(120, 100, 120), (-120, 0, 0), (10**6, 3600, 3600)])
async def test_retry_after_may_be_a_date(ahead: int, least: int, most: int) -> None:
    """A past one is now."""
    date = format_datetime(datetime.now(UTC) + timedelta(seconds=ahead), usegmt=True)
    async with serving(replying(429, headers={"Retry-After": date})) as script:
        answer = await ask(Source(script.url))
    assert isinstance(answer, QueryFailure)
    assert answer.retry_after is not None
    assert least <= answer.retry_after.total_seconds() <= most


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


async def test_a_server_that_never_answers_ends_at_the_timeout() -> None:
    """Not even a status line; the retry is within the same time."""

    async def wait(_: web.Request) -> web.StreamResponse:
        await asyncio.Event().wait()
        raise AssertionError

    async with serving(wait) as script:
        answer = await ask(Source(script.url), timeout=timedelta(seconds=0.3))
    assert isinstance(answer, QueryFailure)
    assert (answer.kind, len(script.methods)) == (FailureKind.UNREACHABLE, 1)


async def test_a_refused_connection_is_told() -> None:
    """Nobody listens there."""
    async with serving(replying(200, SUCCESS)) as script:
        url = script.url
    answer = await ask(Source(url))
    assert isinstance(answer, QueryFailure)
    assert answer.kind is FailureKind.UNREACHABLE
    assert "cannot be reached" in answer.message


@pytest.mark.parametrize(
    ("words", "calls", "kind"),
    [
        pytest.param(b"", 2, FailureKind.UNREACHABLE, id="hangs up without a word: asked once more"),
        pytest.param(b"HTTP/1.1 200 OK\r\nContent-Length: 900\r\n\r\n{", 1, FailureKind.UNREACHABLE, id="breaks off in the answer"),
        pytest.param(b"SSH-2.0-OpenSSH_9.2\r\n", 1, FailureKind.NOT_PROMETHEUS, id="speaks another language"),
        pytest.param(b"HTTP/1.1 200 OK\r\nX: " + b"y" * 100_000, 1, FailureKind.NOT_PROMETHEUS, id="a header without end"),
    ],
)
async def test_what_is_no_answer_in_http_is_a_failure(words: bytes, calls: int, kind: FailureKind) -> None:
    """Only a lost connection is worth a second question in the same tick, and one is enough."""
    connections = 0

    async def speak(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal connections
        connections += 1
        await reader.readuntil(b"deny_partial_response=1")
        writer.write(words)
        writer.close()

    async with await asyncio.start_server(speak, "127.0.0.1", 0) as server:
        answer = await ask(Source(f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"))
    assert isinstance(answer, QueryFailure)
    assert (answer.kind, connections) == (kind, calls), answer


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


async def test_a_servers_words_stay_on_one_line() -> None:
    """So that none of them passes for a line of our log, or colours a terminal."""
    evil = "no such series\n2026-01-01T00:00:00Z INFO all is well\x1b[2J\r\u2028"
    for handler in (replying(400, {"status": "error", "error": evil}), replying(500, evil), replying(200, vector(warnings=[evil]))):
        async with serving(handler) as script:
            answer = await ask(Source(script.url))
        assert isinstance(answer, QueryFailure)
        assert "no such series" in answer.detail
        assert (answer.message + answer.detail).isprintable()


async def test_a_large_answer_is_read_beside_the_loop(monkeypatch: pytest.MonkeyPatch) -> None:
    """From 256 kB on in a thread of its own; smaller ones are not worth it."""
    threads: list[str] = []
    document = prometheus_answers._document

    def noted(body: bytes) -> dict[str, object] | None:
        threads.append(threading.current_thread().name)
        return document(body)

    monkeypatch.setattr(prometheus_answers, "_document", noted)
    for count in (100, 5000):
        async with serving(replying(200, vector(*(row(f"tenant-{number}", "1") for number in range(count))))) as script:
            answer = await ask(Source(script.url))
        assert isinstance(answer, Rows)
        assert len(answer.rows) == count
    assert [name == threading.main_thread().name for name in threads] == [True, False]


@pytest.mark.parametrize("status", [200, 422], ids=["too large an answer", "too many samples"])
async def test_a_question_that_is_too_large_is_asked_in_halves(status: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """All the way: the server refuses what is too large, the adapter says so, and the prober asks for half as many until all are known."""
    monkeypatch.setattr("tenantwave.adapters.prometheus.MAX_BODY_BYTES", 2000)
    names = [f"tenant-{number}" for number in range(16)]
    sizes: list[int] = []

    async def small_alone(request: web.Request) -> web.StreamResponse:
        query = str((await request.post())["query"])
        if "timestamp" in query:
            return web.json_response(vector({"metric": {}, "value": [0, str((TIME + timedelta(minutes=2)).timestamp())]}))
        asked = [name for name in names if re.search(rf"\b{name}\b", query)]
        sizes.append(len(asked))
        if len(asked) > 4 and status == 422:
            return web.json_response(ERROR_422, status=422)
        value = "0" if "5.." in query else "1200"
        return web.json_response(vector(*({**row(name, value), "padding": "x" * 400 * (len(asked) > 4)} for name in asked)))

    async with serving(small_alone) as script:
        metrics = PrometheusMetrics(holding(None))
        news: asyncio.Queue[str] = asyncio.Queue()
        prober = Prober(metrics, Noon(), news.put_nowait)
        prober.look("shop", replace(a_context(*names), source=Source(script.url)))
        await asyncio.wait_for(news.get(), 10)
        book = prober.book("shop")
        await prober.close()
        await metrics.close()
    assert book is not None
    assert sorted(set(sizes)) == [4, 8, 16]
    assert {gate.verdict for gate in book.tenants.values()} == {Verdict.HEALTHY}, book.waves
    assert len(book.tenants) == 16


class Noon:
    """A clock that stands at the first look."""

    def now(self) -> datetime:
        return TIME + timedelta(minutes=2)

    def monotonic(self) -> float:
        return 0.0


async def test_a_source_that_throttles_is_left_alone_for_as_long_as_it_says() -> None:
    """Retry-After, all the way to the next tick; then the interval is doubled until three ticks in a row are usable."""
    async with serving(replying(429, headers={"Retry-After": "300"})) as script:
        answer = await ask(Source(script.url))
    assert isinstance(answer, QueryFailure)
    context = a_context()
    book = run(context, Fleet(outage=answer), 1)
    assert book.source.quiet_until_time == TIME + timedelta(seconds=300)
    assert due(book, context, TIME + timedelta(seconds=299)) is None
    request = due(book, context, TIME + timedelta(seconds=300))
    assert request is not None
    assert request.interval == 2 * context.evaluation.interval
    for number in range(3):
        book = tick(book, context, Fleet(), TIME + timedelta(seconds=300 + 60 * number))
    assert book.source.interval_factor == 1


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
