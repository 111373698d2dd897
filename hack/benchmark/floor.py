"""The floor: the operator's own writes once more, from a client that neither looks nor thinks.

Every request with a write verb that the operator sent is sent again, in the same order, to twins of its tenants: the same verb, the same
kind, the same body but for the names (of the same length), uids and resourceVersions. Dry-runs are sent as dry-runs. Reads and watches are
not repeated: that they are needed at all is the operator's cost, and so is every write that could have been spared, though it raises the
floor, too; therefore the requests for each tenant are printed beside the ratios.

Connection settings are the operator's: its transport, a ServiceAccount's token, as many writes in flight, the same token bucket. A write
waits for nothing but the answer of the one before it to the same object (whose resourceVersion it needs) and a free place.
"""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import orjson

from benchmark.recording import RecordedWrite
from tenantwave.adapters.kube.access import Access
from tenantwave.adapters.kube.throttle import TokenBucket
from tenantwave.adapters.kube.transport import HttpTransport, Request

OURS, TWINS = b"fleet-", b"floor-"
"""Every name that the benchmark gives begins with the first; its twin begins with the second, and is as long."""

UID, VERSION = b"__________uid of the twin___________", b"__version__"
LOOSE = ("/api/v1/", "/apis/apps/")
"""Kinds that are written without a precondition here: controllers move their resourceVersions at any time, and a 409 would be no floor."""


@dataclass(frozen=True, slots=True)
class Identity:
    """What the API server gave an object."""

    uid: bytes
    version: bytes


@dataclass(frozen=True, slots=True)
class Copy:
    """One write, ready to be sent but for uid and resourceVersion. `address` names the object without its subresource."""

    address: str
    request: Request
    expected_code: int


@dataclass(slots=True)
class FloorFigures:
    """What the floor took. `unlike` counts answers that were not as the operator's: (expected, got) -> number."""

    count: int = 0
    wall_seconds: float = 0.0
    cpu_seconds: float = 0.0
    unlike: Counter[tuple[int, int]] = field(default_factory=Counter)


def copies(writes: Iterable[RecordedWrite]) -> list[Copy]:
    """Return the writes for the twins, in the order in which the operator began them. Not part of what is measured."""
    return [_copy(write) for write in sorted(writes, key=lambda write: write.begun) if write.code < 400 or write.code == 409]


async def send_all(
    kubeconfig: Path, writes: Sequence[Copy], known: Mapping[str, Identity], *, in_flight: int, writes_per_second: float
) -> FloorFigures:
    """Send all and return what it took. `known`: address -> identity of the objects that are there already."""
    figures = FloorFigures(count=len(writes))
    identities, last = dict(known), dict[str, asyncio.Event]()
    bucket, line = TokenBucket(writes_per_second, now=time.monotonic), iter(writes)

    async def work(transport: HttpTransport) -> None:
        for write in line:  # one iterator for all workers: each takes the next
            before, done = last.get(write.address), asyncio.Event()
            last[write.address] = done
            if before is not None:
                await before.wait()
            await bucket.take()
            reply = await transport.send(_addressed(write, identities.get(write.address)))
            if reply.code != write.expected_code:
                figures.unlike[write.expected_code, reply.code] += 1
            if reply.code < 400:
                body = orjson.loads(reply.body)
                if "dryRun" not in write.request.query and (metadata := body.get("metadata") or {}).get("uid"):
                    identities[write.address] = Identity(metadata["uid"].encode(), metadata["resourceVersion"].encode())
            done.set()

    async with AsyncExitStack() as stack:
        access = await Access.load(str(kubeconfig))
        transport = await stack.enter_async_context(HttpTransport(access, limit=in_flight + 32))
        begun, used = time.monotonic(), time.process_time()
        async with asyncio.TaskGroup() as workers:
            for _ in range(in_flight):
                workers.create_task(work(transport))
        figures.wall_seconds, figures.cpu_seconds = time.monotonic() - begun, time.process_time() - used
    return figures


def _copy(write: RecordedWrite) -> Copy:
    request = write.request
    path = request.path.replace(OURS.decode(), TWINS.decode())
    body = orjson.loads(request.body) if request.body else None
    is_loose = path.startswith(LOOSE)
    name = ""
    if isinstance(body, dict):
        named: dict[str, Any] = body.get("preconditions" if request.method == "DELETE" else "metadata") or {}
        name = str(named.get("name", ""))
        for key, place in (("uid", UID), ("resourceVersion", VERSION)):
            if key in named and is_loose:
                del named[key]
            elif key in named:
                named[key] = place.decode()
    address = f"{path}/{name.replace(OURS.decode(), TWINS.decode())}" if request.method == "POST" else path.removesuffix("/status")
    text = orjson.dumps(body).replace(OURS, TWINS) if body is not None else request.body
    return Copy(address, replace(request, path=path, body=text), write.code)


def _addressed(write: Copy, identity: Identity | None) -> Request:
    if identity is None or write.request.body is None:
        return write.request
    return replace(write.request, body=write.request.body.replace(UID, identity.uid).replace(VERSION, identity.version))
