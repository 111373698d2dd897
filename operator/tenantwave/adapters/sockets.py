"""The sockets of a pool of connections: none outlives it."""

from __future__ import annotations

import asyncio
import socket
from contextlib import suppress
from weakref import WeakSet

import aiohttp

END_SECONDS = 1.0
"""Ending a socket takes a turn or two of the loop; this is the most that a pool's end waits for one."""


class Sockets:
    """Makes the sockets of one pool, as its `socket_factory`, and ends those that are still open after it.

    aiohttp lets go of a connection that it cannot use again (its request was cancelled, its answer was not read to the end) by closing it
    in order. Under TLS that waits for the server's goodbye, up to 30 s, and the pool's own `close` no longer knows of it: sockets stayed
    open behind our back, and a loop that ended meanwhile left them to the garbage collector.
    """

    def __init__(self) -> None:
        self._made: WeakSet[socket.socket] = WeakSet()

    def make(self, address: aiohttp.AddrInfoType) -> socket.socket:
        """Return a new socket for this address."""
        family, kind, protocol, _, _ = address
        made = socket.socket(family, kind, protocol)
        self._made.add(made)
        return made

    async def end(self) -> None:
        """End what is open, without a goodbye. Call it after the pool's `close`."""
        for each in self._open():
            with suppress(OSError):  # not connected yet, or not any more
                each.shutdown(socket.SHUT_RDWR)
        with suppress(TimeoutError):
            async with asyncio.timeout(END_SECONDS):
                while self._open():  # noqa: ASYNC110 - the loop closes them, and tells nobody
                    await asyncio.sleep(0.001)

    def _open(self) -> list[socket.socket]:
        return [each for each in self._made if each.fileno() >= 0]
