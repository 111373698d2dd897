"""Who leads: one Lease, renewed every 2 s. It holds for us until 10 s after a renewal began, for others until 15 s after it last changed.

`leading` is asked before every write. It is no fence at the server: that is the resourceVersion on every write. No wall clock of another
machine is compared: a foreign Lease is expired when it has not changed for its duration on our own monotonic clock.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Protocol

import orjson

from tenantwave.adapters.kube.transport import Broken, Reply, Request, Transport
from tenantwave.api.kinds import FIELD_MANAGER, LEASE

log = logging.getLogger(__name__)


class Leadership(Protocol):
    """The right to write, which may end at any moment."""

    @property
    def leading(self) -> bool:
        """Tell whether we may write now."""

    async def acquire(self) -> None:
        """Return once we lead."""

    async def hold(self) -> None:
        """Renew; return only when the leadership is lost."""

    async def release(self) -> None:
        """Give it up, so that the next one need not wait."""


@dataclass(frozen=True, slots=True)
class Terms:
    """Durations of a Lease in seconds. `deadline` must be shorter than `duration`, `retry` much shorter than `deadline`."""

    duration: float = 15.0
    deadline: float = 10.0
    retry: float = 2.0


class Elector:
    """Competes for the Lease `name` as `identity`, which must be new for each process. Uses a transport of its own."""

    def __init__(
        self,
        transport: Transport,
        namespace: str,
        name: str,
        identity: str,
        *,
        terms: Terms | None = None,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._transport = transport
        self._path = f"/apis/{LEASE.api_version}/namespaces/{namespace}/{LEASE.plural}"
        self._namespace = namespace
        self._name = name
        self._identity = identity
        self._terms = terms or Terms()
        self._monotonic = monotonic
        self._valid_until = float("-inf")
        self._renewed = float("-inf")
        self._seen_version = ""
        self._seen_since = float("-inf")
        self._was_told: str | None = None

    @property
    def leading(self) -> bool:
        """Tell whether our last renewal still holds. A process that was stopped for longer than that finds False when it wakes."""
        return self._monotonic() < self._valid_until

    @property
    def lease_age_seconds(self) -> float:
        """Return the time since the last renewal that succeeded."""
        return self._monotonic() - self._renewed

    async def acquire(self) -> None:
        """Return once we lead; try every 2 s until then."""
        while True:
            if await self._attempt():
                break
            await asyncio.sleep(self._terms.retry)
        log.info("leading as %s", self._identity)

    async def hold(self) -> None:
        """Renew every 2 s; return when somebody else has the Lease or no renewal came through for 10 s."""
        while self.leading:
            await asyncio.sleep(max(0.0, min(self._terms.retry, self._valid_until - self._monotonic())))
            await self._attempt()
        log.error("the Lease %s/%s is lost; this process writes nothing more", self._namespace, self._name)

    async def release(self) -> None:
        """Stop leading, and empty the Lease if it is still ours. Best effort: if it fails, the others wait until it expires."""
        self._valid_until = float("-inf")
        reply = await self._send("GET", f"/{self._name}")
        lease = _lease(reply)
        if lease is None or _holder(lease) != self._identity:
            return
        spec = dict(lease["spec"]) | {"holderIdentity": "", "leaseDurationSeconds": 1, "renewTime": _stamp()}
        await self._send("PUT", f"/{self._name}", dict(lease) | {"spec": spec})
        log.info("the Lease %s/%s is released", self._namespace, self._name)

    async def _attempt(self) -> bool:
        """Take or renew the Lease once. The time that it is worth counts from before the request."""
        begun = self._monotonic()
        reply = await self._send("GET", f"/{self._name}")
        if reply is not None and reply.code == 404:
            reply = await self._send("POST", "", self._new())
        elif (lease := _lease(reply)) is not None:
            if self._is_taken(lease, begun):
                self._valid_until = float("-inf")
                return False
            reply = await self._send("PUT", f"/{self._name}", self._mine(lease))
        won = reply is not None and reply.code in (200, 201)
        if won:
            self._valid_until = begun + self._terms.deadline
            self._renewed = begun
        elif reply is not None and reply.code not in (404, 409):
            log.warning("the Lease %s/%s cannot be taken: the API server answered %d", self._namespace, self._name, reply.code)
        return won

    def _is_taken(self, lease: Mapping[str, Any], now: float) -> bool:
        holder = _holder(lease)
        if holder in ("", self._identity):
            return False
        version = lease["metadata"]["resourceVersion"]
        if version != self._seen_version:
            self._seen_version, self._seen_since = version, now
        if holder != self._was_told:
            self._was_told = holder
            log.info("%s leads", holder)
        duration = float((lease.get("spec") or {}).get("leaseDurationSeconds") or self._terms.duration)
        return now - self._seen_since < duration

    def _new(self) -> dict[str, Any]:
        metadata = {"name": self._name, "namespace": self._namespace}
        return {"apiVersion": LEASE.api_version, "kind": LEASE.name, "metadata": metadata, "spec": self._spec(transitions=0)}

    def _mine(self, lease: Mapping[str, Any]) -> dict[str, Any]:
        """Return the lease with us as its holder; its resourceVersion stays in it, so a race is lost with 409."""
        old = lease.get("spec") or {}
        transitions = int(old.get("leaseTransitions") or 0)
        if _holder(lease) == self._identity:
            return dict(lease) | {"spec": dict(old) | {"renewTime": _stamp()}}
        return dict(lease) | {"spec": self._spec(transitions + 1)}

    def _spec(self, transitions: int) -> dict[str, Any]:
        now = _stamp()
        return {
            "holderIdentity": self._identity,
            "leaseDurationSeconds": max(1, round(self._terms.duration)),
            "acquireTime": now,
            "renewTime": now,
            "leaseTransitions": transitions,
        }

    async def _send(self, method: str, path: str, body: Mapping[str, Any] | None = None) -> Reply | None:
        """Return the reply; None if none came within the retry period."""
        request = Request(
            method,
            self._path + path,
            {"fieldManager": FIELD_MANAGER} if body is not None else {},
            orjson.dumps(body) if body is not None else None,
            "application/json" if body is not None else "",
            timeout_seconds=self._terms.retry,
        )
        try:
            async with asyncio.timeout(self._terms.retry):
                return await self._transport.send(request)
        except (Broken, TimeoutError) as error:
            log.warning("the Lease %s/%s: %s", self._namespace, self._name, str(error) or "no answer in time")
            return None


class Alone:
    """Leadership without an election, for one operator run by hand (`--no-leader-election`)."""

    leading = True
    lease_age_seconds = 0.0

    async def acquire(self) -> None:
        """Return at once."""

    async def hold(self) -> None:
        """Never return."""
        await asyncio.Event().wait()

    async def release(self) -> None:
        """Do nothing."""


def _lease(reply: Reply | None) -> dict[str, Any] | None:
    if reply is None or reply.code != 200:
        return None
    value = orjson.loads(reply.body)
    return value if isinstance(value, dict) else None


def _holder(lease: Mapping[str, Any]) -> str:
    return str((lease.get("spec") or {}).get("holderIdentity") or "")


def _stamp() -> str:
    """Return now as a MicroTime. For people only: no decision compares it."""
    return datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")
