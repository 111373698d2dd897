"""Ends the operator's process before or after one of its writes, to see that the next one goes on where it left off."""

from __future__ import annotations

import os
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from typing import Any

from tenantwave.adapters.kube.transport import Reply, Request, Transport

CRASH_CODE = 77
VARIABLE = "TENANTWAVE_TEST_CRASH"
NOT_COUNTED = ("/selfsubjectaccessreviews", "/events")
"""Questions, and best-effort news whose number differs from run to run."""


@dataclass(frozen=True)
class CrashPoint:
    """`before:17`: the 17th write is not sent. `after:17`: it is sent, and nobody learns its answer."""

    moment: str
    number: int

    @classmethod
    def parse(cls, text: str) -> CrashPoint:
        moment, _, number = text.partition(":")
        if moment not in ("before", "after") or not number.isdecimal():
            raise SystemExit(f'{VARIABLE}={text!r}: write "before:17" or "after:17"')
        return cls(moment, int(number))


class CrashingTransport:
    """A Transport that counts writes from 1, and exits with code 77 at the chosen one. Its count goes to `count_file`, one byte per write."""

    def __init__(self, inner: Transport, point: CrashPoint | None, count_file: str = "") -> None:
        self._inner = inner
        self._point = point
        self._count_file = count_file
        self._count = 0

    async def send(self, request: Request) -> Reply:
        if request.method == "GET" or "dryRun" in request.query or request.path.endswith(NOT_COUNTED):
            return await self._inner.send(request)
        self._count += 1
        if self._count_file:
            with open(self._count_file, "ab", buffering=0) as file:  # noqa: ASYNC230 - one byte
                file.write(b".")
        self._exit_at("before")
        reply = await self._inner.send(request)
        self._exit_at("after")
        return reply

    def stream(self, request: Request) -> AbstractAsyncContextManager[Any]:
        return self._inner.stream(request)

    def _exit_at(self, moment: str) -> None:
        if self._point == CrashPoint(moment, self._count):
            os._exit(CRASH_CODE)


def from_environment(inner: Transport) -> Transport:
    """Wrap as the environment says: TENANTWAVE_TEST_CRASH=before:17, TENANTWAVE_TEST_WRITES=FILE."""
    text = os.environ.get(VARIABLE, "")
    return CrashingTransport(inner, CrashPoint.parse(text) if text else None, os.environ.get("TENANTWAVE_TEST_WRITES", ""))
