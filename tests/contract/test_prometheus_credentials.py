"""Credentials on their way to a Prometheus: they arrive where they belong, are renewed in time, and are seen nowhere else."""

from __future__ import annotations

import asyncio
import json
import logging
import socket
import ssl
import threading
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import pytest
from aiohttp import web
from localcluster.certificates import Certificates, make_certificates

from gate_builders import Fleet, a_context, run
from support.scripted_prometheus import SECRET, SUCCESS, TIME, TIMEOUT, Handler, ask, holding, replying, row, serving, vector
from tenantwave.adapters import prometheus
from tenantwave.adapters.prometheus import PrometheusMetrics
from tenantwave.adapters.prometheus_credentials import Credentials, credentials_of, tls_context
from tenantwave.core.gates import FailureKind, QueryFailure, Rows, Source, TenantGate, WaveGate, gate_status
from tenantwave.faults import Unavailable

TOKEN = "q7-correct-horse-battery-staple"
PASSWORD = 'correct "horse" battery'
BASIC = "YW5uOmNvcnJlY3QgImhvcnNlIiBiYXR0ZXJ5"
SECRETS = [
    pytest.param({"token": TOKEN.encode()}, id="token"),
    pytest.param({"username": b"ann", "password": PASSWORD.encode()}, id="password"),
]


@pytest.mark.parametrize(
    ("secret", "header"),
    [
        pytest.param({"token": b"abc\n"}, "Bearer abc", id="token"),
        pytest.param({"username": b"ann", "password": PASSWORD.encode()}, f"Basic {BASIC}", id="username and password"),
    ],
)
async def test_credentials_go_into_one_header(secret: Mapping[str, bytes], header: str) -> None:
    """And not into the URL or the form."""
    async with serving(replying(200, SUCCESS)) as script:
        await ask(Source(script.url, secret_name=SECRET), holding(secret))
    assert [name for name, value in script.headers[0].items() if value == header] == ["Authorization"]
    assert header.split()[1] not in json.dumps(script.forms)


@pytest.mark.parametrize("status", [300, 301, 302, 303, 307, 308])
@pytest.mark.parametrize("secret", SECRETS)
async def test_a_redirect_is_never_followed(status: int, secret: Mapping[str, bytes]) -> None:
    """The place that it names receives nothing: neither a question nor a credential nor the tenancy header."""
    async with serving(replying(200, SUCCESS)) as target, serving(replying(status, headers={"Location": f"{target.url}/x"})) as script:
        source = Source(script.url, secret_name=SECRET, headers=(("X-Scope-OrgID", "platform"),))
        answer = await ask(source, holding(secret))
    assert isinstance(answer, QueryFailure)
    assert (answer.kind, len(script.methods)) == (FailureKind.REDIRECTED, 1)
    assert (target.methods, target.headers, target.forms) == ([], [], [])


@pytest.mark.parametrize("location", ["http://ann:s3cr3t@login.example.com/x?token=s3cr3t", "http://[not-an-address", ""])
async def test_a_redirect_is_told_by_its_host_alone(location: str) -> None:
    """Whatever else the address carries stays out of the message."""
    async with serving(replying(302, headers={"Location": location})) as script:
        answer = await ask(Source(script.url))
    assert isinstance(answer, QueryFailure)
    assert answer.kind is FailureKind.REDIRECTED
    assert ("login.example.com" if "login" in location else "another place") in answer.message
    assert "s3cr3t" not in repr(answer)


@pytest.mark.parametrize("status", [401, 403])
async def test_refused_credentials_are_read_again_once(status: int) -> None:
    """A token that was renewed in the meantime works at the second try."""

    async def only_new(request: web.Request) -> web.StreamResponse:
        return web.json_response(SUCCESS) if request.headers["Authorization"] == "Bearer new" else web.Response(status=status)

    async with serving(only_new) as script:
        answer = await ask(Source(script.url, secret_name=SECRET), holding({"token": b"old"}, {"token": b"new"}))
    assert isinstance(answer, Rows)
    assert len(script.methods) == 2


@pytest.mark.parametrize("status", [401, 403])
async def test_credentials_that_stay_refused_end_in_a_sentence_that_names_the_secret(status: int) -> None:
    """After two questions, not more."""
    async with serving(replying(status)) as script:
        answer = await ask(Source(script.url, secret_name=SECRET), holding({"token": TOKEN.encode()}))
    assert isinstance(answer, QueryFailure)
    assert (answer.kind, len(script.methods)) == (FailureKind.AUTH_FAILED, 2)
    assert f"check the Secret {SECRET}" in answer.message


async def test_a_token_that_rotates_while_the_operator_runs_is_used_within_a_minute(monkeypatch: pytest.MonkeyPatch) -> None:
    """Also where the server still takes the old one: the Secret is read again once it is a minute old, and not before."""
    metrics = PrometheusMetrics(holding({"token": b"first"}, {"token": b"second"}))
    async with serving(replying(200, SUCCESS)) as script:
        source = Source(script.url, secret_name=SECRET)
        for seconds in (60.0, 60.0, 0.0):
            monkeypatch.setattr(prometheus, "SECRET_SECONDS", seconds)
            await metrics.query(source, "up", TIME, TIMEOUT)
        await metrics.close()
    assert [headers["Authorization"] for headers in script.headers] == ["Bearer first", "Bearer first", "Bearer second"]


async def test_a_secret_that_cannot_be_read_again_now_keeps_its_last_content(monkeypatch: pytest.MonkeyPatch) -> None:
    """An API server that is away for a moment blinds no gate."""
    monkeypatch.setattr(prometheus, "SECRET_SECONDS", 0.0)
    reads = 0

    async def read(_: str) -> Mapping[str, bytes]:
        nonlocal reads
        reads += 1
        if reads > 1:
            raise Unavailable("get secrets prometheus-auth: no answer")
        return {"token": b"first"}

    metrics = PrometheusMetrics(read)
    async with serving(replying(200, SUCCESS)) as script:
        answers = [await metrics.query(Source(script.url, secret_name=SECRET), "up", TIME, TIMEOUT) for _ in range(2)]
        await metrics.close()
    assert all(isinstance(answer, Rows) for answer in answers)
    assert reads == 2


@pytest.mark.parametrize(
    ("secret", "words"),
    [
        pytest.param(None, "not in the operator's namespace", id="no Secret"),
        pytest.param({"token": b"x", "username": b"y", "password": b"z"}, "both token and username", id="both"),
        pytest.param({"username": b"y"}, "only one of username and password", id="half"),
        pytest.param({"token": b"a\nb"}, "line breaks", id="line break in a token"),
        pytest.param({"token": b"\xff"}, "not text", id="no text"),
        pytest.param({"tls.crt": b"x"}, "only one of tls.crt and tls.key", id="half a certificate"),
        pytest.param({"ca.crt": b"x"}, "no valid PEM", id="a root that is none"),
        pytest.param({"tls.crt": b"x", "tls.key": b"y"}, "no valid PEM", id="a certificate that is none"),
    ],
)
async def test_a_secret_that_cannot_be_used_is_named(secret: Mapping[str, bytes] | None, words: str) -> None:
    """Nothing is sent, and none of its content is shown."""
    async with serving(replying(200, SUCCESS)) as script:
        answer = await ask(Source(script.url.replace("http:", "https:"), secret_name=SECRET), holding(secret))
    assert isinstance(answer, QueryFailure)
    assert answer.kind is FailureKind.AUTH_FAILED
    assert SECRET in answer.message
    assert words in answer.message
    assert script.methods == []


async def test_a_secret_that_cannot_be_read_now_is_told() -> None:
    """The API server's own sentence says why."""

    async def read(_: str) -> Mapping[str, bytes]:
        raise Unavailable("get secrets prometheus-auth: no answer")

    answer = await ask(Source("http://127.0.0.1:1", secret_name=SECRET), read)
    assert isinstance(answer, QueryFailure)
    assert (answer.kind, "no answer" in answer.message) == (FailureKind.AUTH_FAILED, True)


def echoing(status: int, shape: str) -> Handler:
    """Return a handler that repeats the credential that it was sent, as debugging proxies do."""

    async def handler(request: web.Request) -> web.StreamResponse:
        heard = " ".join([request.headers["Authorization"], TOKEN, PASSWORD])
        around = ("x" * 190 + heard).ljust(1980, "x") + heard  # a text that is cut before it is cleaned would end in half a credential
        bodies: Mapping[str, object] = {
            "error": {"status": "error", "error": around},
            "success": vector(row("acme", "1"), warnings=[f"store says {around}"]),
            "advice": vector(row("acme", "1"), warnings=[f"PromQL info: {around}"]),
            "large error": {"status": "error", "error": around + " " * 300_000},
            "odd row": vector({"metric": {"sent": around}}),
        }
        body = bodies.get(shape)
        return web.json_response(body, status=status) if body is not None else web.Response(status=status, text=f"<p>{around}</p>")

    return handler


LEAKS = [
    (400, "error"), (400, "large error"), (422, "error"), (401, "error"), (403, "page"), (404, "page"), (413, "page"), (429, "page"),
    (500, "page"), (503, "error"), (200, "page"), (200, "error"), (200, "success"), (200, "advice"), (200, "odd row"),
]  # fmt: skip


@pytest.mark.parametrize(("status", "shape"), LEAKS)
@pytest.mark.parametrize("secret", SECRETS)
async def test_a_server_that_repeats_our_credentials_cannot_make_us_show_them(
    status: int, shape: str, secret: Mapping[str, bytes], caplog: pytest.LogCaptureFixture
) -> None:
    """Not in the message (which status and Events show), the detail (which the log shows), the warnings or the adapter itself."""
    with caplog.at_level(logging.DEBUG):
        async with serving(echoing(status, shape)) as script:
            metrics = PrometheusMetrics(holding(secret))
            answer = await metrics.query(Source(script.url, secret_name=SECRET), "up", TIME, TIMEOUT)
            shown = f"{vars(metrics)!r}"
            await metrics.close()
    assert script.headers[0]["Authorization"].endswith((TOKEN, BASIC)), "the server was sent the credential that it repeats"
    used = (TOKEN,) if "token" in secret else (PASSWORD, BASIC)
    texts = [repr(answer), shown, caplog.text]
    if isinstance(answer, QueryFailure):
        context = replace(a_context(), source=Source(script.url, secret_name=SECRET))
        book = run(context, Fleet(outage=answer), 10)
        gates: list[WaveGate | TenantGate] = [*book.waves.values(), *book.tenants.values()]
        texts += [gate_status(gate, context, book).model_dump_json() for gate in gates]
    for text in texts:
        for credential in used:
            assert credential[:12] not in text


@pytest.fixture(scope="module")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Certificates:
    """An authority, a server's certificate for localhost and 127.0.0.1, and two of clients."""
    return make_certificates(tmp_path_factory.mktemp("tls") / "made")


def server_tls(certificates: Certificates, *, wants_ours: bool = False) -> ssl.SSLContext:
    """Return the settings of a server that may want our certificate, too."""
    tls = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    tls.load_cert_chain(certificates.certificate("apiserver"), certificates.key("apiserver"))
    if wants_ours:
        tls.verify_mode = ssl.CERT_REQUIRED
        tls.load_verify_locations(certificates.certificate("ca"))
    return tls


def a_secret(certificates: Certificates, client: str = "") -> Mapping[str, bytes]:
    """Return the root, and a client's certificate if one is named."""
    secret = {"ca.crt": certificates.certificate("ca").read_bytes()}
    if client:
        secret |= {"tls.crt": certificates.certificate(client).read_bytes(), "tls.key": certificates.key(client).read_bytes()}
    return secret


async def test_an_untrusted_certificate_is_refused_and_its_root_adds_trust(certificates: Certificates) -> None:
    """Verification cannot be switched off; `ca.crt` is the way. Nothing is sent to whom we do not trust."""
    async with serving(replying(200, SUCCESS), server_tls(certificates)) as script:
        refused = [await ask(Source(script.url)), await ask(Source(script.url, secret_name=SECRET), holding({"token": TOKEN.encode()}))]
        assert script.headers == []
        trusted = await ask(Source(script.url, secret_name=SECRET), holding(a_secret(certificates)))
    for answer, mend in zip(refused, ("name a Secret with its root as ca.crt", f"ca.crt of the Secret {SECRET}"), strict=True):
        assert isinstance(answer, QueryFailure)
        assert answer.kind is FailureKind.TLS_FAILED
        assert mend in answer.message
    assert isinstance(trusted, Rows)


async def test_a_certificate_for_another_name_is_refused(certificates: Certificates) -> None:
    """A trusted root is not enough."""
    context = server_tls(certificates)
    context.load_cert_chain(certificates.certificate("admin"), certificates.key("admin"))  # a client's, without a server's name
    async with serving(replying(200, SUCCESS), context) as script:
        answer = await ask(Source(script.url, secret_name=SECRET), holding(a_secret(certificates)))
    assert isinstance(answer, QueryFailure)
    assert (answer.kind, script.methods) == (FailureKind.TLS_FAILED, [])


async def test_https_to_a_port_without_tls_is_a_failure_of_tls() -> None:
    """And is told as such, not as an outage."""
    async with serving(replying(200, SUCCESS)) as script:
        answer = await ask(Source(script.url.replace("http:", "https:")))
    assert isinstance(answer, QueryFailure)
    assert answer.kind is FailureKind.TLS_FAILED


VERSIONS = [pytest.param(ssl.TLSVersion.TLSv1_2, id="TLS 1.2"), pytest.param(ssl.TLSVersion.TLSv1_3, id="TLS 1.3")]


@pytest.mark.parametrize("newest", VERSIONS)
async def test_a_server_that_wants_our_certificate_gets_it(newest: ssl.TLSVersion, certificates: Certificates) -> None:
    """Without it some servers hang up without a word; even so the message names the two keys to add."""
    tls = server_tls(certificates, wants_ours=True)
    tls.maximum_version = newest
    async with serving(replying(200, SUCCESS), tls) as script:
        without = await ask(Source(script.url, secret_name=SECRET), holding(a_secret(certificates)))
        with_it = await ask(Source(script.url, secret_name=SECRET), holding(a_secret(certificates, "admin")))
    assert isinstance(without, QueryFailure)
    assert f"if it wants a client certificate, put it into tls.crt and tls.key of the Secret {SECRET}" in without.message
    assert isinstance(with_it, Rows)
    assert script.clients == ["localcluster-admin"]


@pytest.mark.parametrize("newest", VERSIONS)
async def test_a_server_that_says_what_it_misses_is_a_failure_of_tls(newest: ssl.TLSVersion, certificates: Certificates) -> None:
    """With TLS 1.3 it says so only after the handshake, in the place of its answer."""
    tls = server_tls(certificates, wants_ours=True)
    tls.maximum_version = newest
    with socket.create_server(("127.0.0.1", 0)) as listener:
        server = threading.Thread(target=_refuse, args=(listener, tls))
        server.start()
        url = f"https://localhost:{listener.getsockname()[1]}"
        answer = await ask(Source(url, secret_name=SECRET), holding(a_secret(certificates)))
        await asyncio.to_thread(server.join, 10)
    assert isinstance(answer, QueryFailure)
    assert answer.kind is FailureKind.TLS_FAILED, answer
    assert f"put it into tls.crt and tls.key of the Secret {SECRET}" in answer.message


def _refuse(listener: socket.socket, tls: ssl.SSLContext) -> None:
    """Send the alert of a failed handshake, and hang up only when it was read: what is left unread would take the alert along."""
    connection, _ = listener.accept()
    with connection, tls.wrap_socket(connection.dup(), server_side=True, do_handshake_on_connect=False) as encrypted:
        with pytest.raises(ssl.SSLError):
            encrypted.do_handshake()
        connection.settimeout(10)
        while connection.recv(65536):
            pass


async def test_a_renewed_certificate_gets_new_connections_and_the_old_ones_are_closed(
    certificates: Certificates, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A question that is under way keeps its connection; nothing piles up, however often a certificate is renewed."""
    monkeypatch.setattr(prometheus, "SECRET_SECONDS", 0.0)
    slow, may_end = asyncio.Event(), asyncio.Event()

    async def first_is_slow(_: web.Request) -> web.StreamResponse:
        if not slow.is_set():
            slow.set()
            await may_end.wait()
        return web.json_response(SUCCESS)

    metrics = PrometheusMetrics(holding(*(a_secret(certificates, client) for client in ("admin", "traffic"))))
    async with serving(first_is_slow, server_tls(certificates, wants_ours=True)) as script:
        source = Source(script.url, secret_name=SECRET)
        under_way = asyncio.create_task(metrics.query(source, "up", TIME, TIMEOUT))
        await asyncio.wait_for(slow.wait(), 5)
        (old,) = metrics._lines.values()
        assert isinstance(await metrics.query(source, "up", TIME, TIMEOUT), Rows)
        closed = [old.session.closed]
        may_end.set()
        assert isinstance(await under_way, Rows)
        assert [*closed, old.session.closed] == [False, True]
        assert len(metrics._lines) == 1
        await metrics.close()
    assert script.clients == ["localcluster-admin", "localcluster-traffic"]


def test_our_key_lies_on_no_disk_afterwards(certificates: Certificates, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Python reads client certificates from files alone, so there is one for a moment, for nobody else to read."""
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    seen: list[int] = []
    load = ssl.SSLContext.load_cert_chain

    def noted(context: ssl.SSLContext, path: str) -> None:
        seen.append(Path(path).stat().st_mode & 0o777)
        load(context, path)

    monkeypatch.setattr(ssl.SSLContext, "load_cert_chain", noted)
    tls_context(SECRET, credentials_of(SECRET, a_secret(certificates, "admin")))
    assert seen == [0o600]
    assert list(tmp_path.iterdir()) == []


async def test_settings_of_tls_are_read_beside_the_loop(certificates: Certificates, monkeypatch: pytest.MonkeyPatch) -> None:
    """Reading all roots of the system takes 40 ms; questions that come together share the connections."""
    threads: list[str] = []

    def noted(name: str | None, credentials: Credentials) -> ssl.SSLContext:
        threads.append(threading.current_thread().name)
        return tls_context(name, credentials)

    monkeypatch.setattr(prometheus, "tls_context", noted)
    metrics = PrometheusMetrics(holding(a_secret(certificates)))
    async with serving(replying(200, SUCCESS), server_tls(certificates)) as script:
        source = Source(script.url, secret_name=SECRET)
        answers = await asyncio.gather(*(metrics.query(source, "up", TIME, TIMEOUT) for _ in range(4)))
        lines = list(metrics._lines.values())
        await metrics.query(source, "up", TIME, TIMEOUT)
        await metrics.close()
    assert all(isinstance(answer, Rows) for answer in answers)
    assert threads
    assert threading.main_thread().name not in threads
    assert [line.users for line in lines] == [0]
