"""Stands between the operator and the API server: ends the process at one of its writes, loses or delays an answer, or refuses a request.

The environment of the process says what happens; the product knows nothing of it. A fault is `<what>:<which>`; which write is meant is
its number (from 1, Events and questions are not counted), or words of its "METHOD path", with `#3` for the third such write (`#1` if left out).
Several faults are separated by commas; each happens once.
"""

from __future__ import annotations

import asyncio
import json
import os
import random
from contextlib import AbstractAsyncContextManager
from typing import Any, Protocol

from tenantwave.adapters.kube.transport import Lost, Reply, Request, Transport

CRASH_CODE = 77
VARIABLE = "TENANTWAVE_TEST_CRASH"
STORM_VARIABLE = "TENANTWAVE_TEST_STORM"
COUNT_FILE_VARIABLE = "TENANTWAVE_TEST_WRITES"
HELD_FILE_VARIABLE = "TENANTWAVE_TEST_HELD"
NOT_COUNTED = ("/selfsubjectaccessreviews", "/events")
"""Questions, and best-effort news whose number differs from run to run."""

EXPLAINED = {
    "before": "the process ends, the write is not sent",
    "after": "the write is sent, and the process ends without learning its answer",
    "held": "the process ends; the request is put into a file, for a test that delivers it late",
    "lost": "the write lands, its answer is lost",
    "dropped": "the write does not land, and looks like one whose answer is lost",
    "409": "refused: somebody was faster",
    "429": "refused for a second: too many requests",
    "500": "refused: a webhook cannot be reached",
    "502": "a proxy's answer: nobody knows whether it landed",
    "503": "refused for a second: overloaded",
}


class CrashPoint:
    """`before:17`: the 17th write is not sent. `lost:PATCH /apis/apps#2`: the second patch of a workload lands, and nobody learns of it."""

    def __init__(self, text: str) -> None:
        self.what, _, self._which = text.partition(":")
        if self.what not in EXPLAINED or not self._which:
            raise SystemExit(f'{VARIABLE}={text!r}: write "before:17" or "after:PATCH /apis/apps#2"; one of {", ".join(EXPLAINED)}')
        self._words, _, turn = self._which.partition("#")
        self._turn = int(turn or 1)
        self._met_count = 0

    def is_at(self, number: int, request: Request) -> bool:
        """Tell whether this write is the one."""
        if self._which.isdecimal():
            return number == int(self._which)
        self._met_count += self._words in f"{request.method} {request.path}"
        return self._met_count == self._turn and self._words in f"{request.method} {request.path}"


class Script(Protocol):
    """Says what becomes of each write."""

    def fault(self, number: int, request: Request) -> str:
        """Return what happens at this write, '' for nothing."""


class Points:
    """Chosen faults at chosen writes."""

    def __init__(self, text: str) -> None:
        self._points = [CrashPoint(one) for one in text.split(",")]

    def fault(self, number: int, request: Request) -> str:
        met = [point.what for point in self._points if point.is_at(number, request)]
        return met[0] if met else ""


class Storm:
    """Any fault that does not end the process, at a share of the writes; the same ones for the same seed and the same writes."""

    FAULTS = ("lost", "dropped", "409", "429", "500", "502", "503")

    def __init__(self, seed: int, percent: int) -> None:
        self._random = random.Random(seed)
        self._percent = percent

    def fault(self, number: int, request: Request) -> str:
        return self._random.choice(self.FAULTS) if self._random.uniform(0, 100) < self._percent else ""


class Calm:
    """Nothing happens."""

    def fault(self, number: int, request: Request) -> str:
        return ""


class CrashingTransport:
    """A Transport that counts writes from 1 and lets the script's faults happen. Each write adds a line to `count_file`."""

    def __init__(self, inner: Transport, script: Script, *, count_file: str = "", held_file: str = "") -> None:
        self._inner = inner
        self._script = script
        self._count_file = count_file
        self._held_file = held_file
        self._count = 0

    async def send(self, request: Request) -> Reply:
        if request.method == "GET" or "dryRun" in request.query or request.path.endswith(NOT_COUNTED):
            return await self._inner.send(request)
        self._count += 1
        fault = self._script.fault(self._count, request)
        self._note(request, fault)
        match fault:
            case "":
                return await self._inner.send(request)
            case "before":
                os._exit(CRASH_CODE)
            case "after":
                await self._inner.send(request)
                os._exit(CRASH_CODE)
            case "held":
                self._hold(request)
                os._exit(CRASH_CODE)
            case "lost":
                await self._inner.send(request)
                raise Lost("the test lost the answer")
            case "dropped":
                await asyncio.sleep(0)
                raise Lost("the test dropped the request")
            case _:
                return _refusal(request, int(fault))

    def stream(self, request: Request) -> AbstractAsyncContextManager[Any]:
        return self._inner.stream(request)

    def _note(self, request: Request, fault: str) -> None:
        if self._count_file:
            with open(self._count_file, "a", encoding="utf-8") as file:
                file.write(f"{self._count} {request.method} {request.path} {fault}\n")

    def _hold(self, request: Request) -> None:
        body = (request.body or b"").decode()
        held = {"method": request.method, "path": request.path, "query": dict(request.query), "body": body, "type": request.content_type}
        with open(self._held_file, "w", encoding="utf-8") as file:
            json.dump(held, file)


def _refusal(request: Request, code: int) -> Reply:
    """Return an answer as the API server words it."""
    reason, message = {
        409: ("Conflict", "the object has been modified; please apply your changes to the latest version and try again"),
        429: ("TooManyRequests", "the server has received too many requests and has asked us to try again later"),
        500: ("InternalError", 'Internal error occurred: failed calling webhook "test.example.com": connection refused'),
        502: ("BadGateway", "an error on the server has prevented the request from succeeding"),
        503: ("ServiceUnavailable", "the server is currently unable to handle the request"),
    }[code]
    if code == 409 and request.method == "POST":
        return Reply(429, _status(429, "TooManyRequests", "try again"), {"Retry-After": "1"})  # a create has no precondition
    headers = {"Retry-After": "1"} if code in (429, 503) else {}
    return Reply(code, _status(code, reason, message), headers)


def _status(code: int, reason: str, message: str) -> bytes:
    return json.dumps(
        {"kind": "Status", "apiVersion": "v1", "status": "Failure", "reason": reason, "message": message, "code": code}
    ).encode()


def from_environment(inner: Transport) -> Transport:
    """Wrap as the environment says: TENANTWAVE_TEST_CRASH=before:17 or TENANTWAVE_TEST_STORM=<seed>:<percent>, and where files go."""
    script: Script = Calm()
    if text := os.environ.get(VARIABLE, ""):
        script = Points(text)
    elif text := os.environ.get(STORM_VARIABLE, ""):
        seed, _, percent = text.partition(":")
        script = Storm(int(seed), int(percent))
    files = os.environ.get(COUNT_FILE_VARIABLE, ""), os.environ.get(HELD_FILE_VARIABLE, "")
    return CrashingTransport(inner, script, count_file=files[0], held_file=files[1])
