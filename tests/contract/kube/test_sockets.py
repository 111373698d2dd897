"""A pool of connections that is closed leaves no socket open, however rude the server is: over TLS, where a goodbye waits for its answer."""

from __future__ import annotations

import asyncio
import gc
import socket
import ssl
import threading
import warnings
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from localcluster import kubeconfig
from localcluster.certificates import Certificates, make_certificates

from tenantwave.adapters.kube.access import Access
from tenantwave.adapters.kube.transport import HttpTransport, Request

HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n"
LINE = b"2000\r\n" + b"x" * 0x1FFF + b"\n\r\n"
LONGEST = 10.0


@dataclass
class Rude:
    """A server in a thread of its own, whose sockets are none of asyncio's. `script` says what becomes of a connection."""

    context: ssl.SSLContext
    script: Callable[[Rude, socket.socket], None]
    reached: threading.Event = field(default_factory=threading.Event)
    """It is at the place where it stops to behave."""
    over: threading.Event = field(default_factory=threading.Event)

    def __post_init__(self) -> None:
        self._listening = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listening.getsockname()[1]
        self._thread = threading.Thread(target=self._serve, daemon=True)
        self._thread.start()

    def end(self) -> None:
        self.over.set()
        self._thread.join(LONGEST)
        self._listening.close()

    def _serve(self) -> None:
        self._listening.settimeout(LONGEST)
        connection, _ = self._listening.accept()
        connection.settimeout(LONGEST)
        with connection, suppress(OSError):
            self.script(self, connection)

    def shake_hands(self, connection: socket.socket) -> ssl.SSLSocket:
        """Return the connection as TLS, once a request has come."""
        tls = self.context.wrap_socket(connection, server_side=True)
        tls.recv(65536)
        return tls

    def hang(self) -> None:
        """Say nothing more, and do not even listen."""
        self.reached.set()
        self.over.wait(LONGEST)


def silent_from_the_start(server: Rude, connection: socket.socket) -> None:
    server.hang()


def silent_after_the_request(server: Rude, connection: socket.socket) -> None:
    with server.shake_hands(connection):
        server.hang()


def silent_in_the_answer(server: Rude, connection: socket.socket) -> None:
    with server.shake_hands(connection) as tls:
        tls.sendall(HEAD + LINE)
        server.hang()


def never_ends_its_answer(server: Rude, connection: socket.socket) -> None:
    with server.shake_hands(connection) as tls:
        tls.sendall(HEAD + LINE)
        server.reached.set()
        while not server.over.is_set():
            tls.sendall(LINE)


async def cancel_a_call(transport: HttpTransport, server: Rude) -> None:
    call = asyncio.create_task(transport.send(Request("GET", "/api/v1/namespaces")))
    assert await asyncio.to_thread(server.reached.wait, LONGEST)
    call.cancel()
    with suppress(asyncio.CancelledError):
        await call


async def leave_a_watch(transport: HttpTransport, server: Rude) -> None:
    async with transport.stream(Request("GET", "/api/v1/namespaces")) as (code, lines):
        assert code == 200
        assert len(await anext(lines)) == 0x1FFF
        assert await asyncio.to_thread(server.reached.wait, LONGEST)


CASES = {
    "cancelled in the handshake": (silent_from_the_start, cancel_a_call),
    "cancelled before the answer": (silent_after_the_request, cancel_a_call),
    "cancelled in the answer": (silent_in_the_answer, cancel_a_call),
    "a watch is left": (silent_in_the_answer, leave_a_watch),
    "a watch is left in a flood": (never_ends_its_answer, leave_a_watch),
}


@pytest.fixture(scope="module")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Certificates:
    return make_certificates(tmp_path_factory.mktemp("certificates"))


@pytest.fixture
def rude(certificates: Certificates) -> Iterator[Callable[[Callable[[Rude, socket.socket], None]], Rude]]:
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(certificates.certificate("apiserver"), certificates.key("apiserver"))
    started: list[Rude] = []

    def start(script: Callable[[Rude, socket.socket], None]) -> Rude:
        started.append(Rude(context, script))
        return started[-1]

    yield start
    for server in started:
        server.end()


@pytest.mark.parametrize(("script", "use"), CASES.values(), ids=CASES)
def test_no_socket_outlives_its_pool(
    script: Callable[[Rude, socket.socket], None],
    use: Callable[[HttpTransport, Rude], object],
    rude: Callable[[Callable[[Rude, socket.socket], None]], Rude],
    certificates: Certificates,
    tmp_path: Path,
) -> None:
    """The loop ends right after the pool, so whatever is open then is found by the garbage collector."""
    server = rude(script)
    config = tmp_path / "kubeconfig"
    kubeconfig.write(config, kubeconfig.with_certificate(f"https://127.0.0.1:{server.port}", certificates, "admin"))

    async def live() -> None:
        async with HttpTransport(await Access.load(str(config)), limit=2) as transport:
            await use(transport, server)  # type: ignore[misc]

    gc.collect()
    with warnings.catch_warnings(record=True) as found:
        warnings.simplefilter("always")
        asyncio.run(live())
        gc.collect()
    assert [str(one.message) for one in found if issubclass(one.category, ResourceWarning)] == []
