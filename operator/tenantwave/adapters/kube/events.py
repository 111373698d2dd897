"""Events for people: best effort, never in the path of a write. At most 10/s; the same news within 10 minutes is counted in its series."""

from __future__ import annotations

import asyncio
import hashlib
import logging
from collections import OrderedDict
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from tenantwave import faults
from tenantwave.adapters.kube.throttle import TokenBucket
from tenantwave.api.kinds import EVENT, GROUP, Kind
from tenantwave.ports import Clock, Cluster
from tenantwave.telemetry import EventTelemetry

log = logging.getLogger(__name__)

EVENTS_PER_SECOND = 10.0
SAME_NEWS_SECONDS = 600.0
WAITING_COUNT = 1000
REMEMBERED_COUNT = 4096
LONGEST_NOTE = 1024
CONTROLLER = f"{GROUP}/operator"


@dataclass(frozen=True, slots=True)
class Regarding:
    """The object that an Event is about."""

    kind: Kind
    namespace: str
    name: str
    uid: str = ""


@dataclass(frozen=True, slots=True)
class News:
    """What happened: `reason` is CamelCase and specific, `action` what the operator did, `key` tells apart what is not the same news."""

    regarding: Regarding
    reason: str
    note: str
    action: str
    warning: bool = False
    key: str = ""
    annotations: Mapping[str, str] = field(default_factory=dict)

    @property
    def type(self) -> str:
        """Return what stands in the Event's `type`."""
        return "Warning" if self.warning else "Normal"


@dataclass(slots=True)
class _Told:
    """An Event that was written, and how often its news came."""

    namespace: str
    name: str
    until: float
    count: int = 1


class EventRecorder:
    """Writes Events (events.k8s.io/v1) one after the other, from a queue that `record` fills."""

    def __init__(self, cluster: Cluster, clock: Clock, instance: str, *, telemetry: EventTelemetry) -> None:
        self._cluster = cluster
        self._clock = clock
        self._instance = instance
        self._telemetry = telemetry
        self._waiting: asyncio.Queue[tuple[News, datetime]] = asyncio.Queue(WAITING_COUNT)
        self._told: OrderedDict[tuple[str, str, str, str, str], _Told] = OrderedDict()
        self._bucket = TokenBucket(EVENTS_PER_SECOND, now=clock.monotonic)

    def record(self, news: News) -> None:
        """Have it written some time soon. Without room for it, it is counted and dropped."""
        try:
            self._waiting.put_nowait((news, self._clock.now()))
        except asyncio.QueueFull:
            self._telemetry.event(news.type, "_dropped")

    async def run(self) -> None:
        """Write what waits, for ever. What cannot be written is logged and forgotten."""
        while True:
            news, when = await self._waiting.get()
            await self._bucket.take()
            try:
                await self._tell(news, when)
            except faults.Fault as fault:
                log.info("an Event is lost: %s", fault)

    async def _tell(self, news: News, when: datetime) -> None:
        about = news.regarding
        same = (about.kind.name, about.namespace, about.name, news.reason, news.key)
        told = self._told.get(same)
        if told is not None and self._clock.monotonic() < told.until:
            told.count += 1
            series = {"series": {"count": told.count, "lastObservedTime": _micro_time(when)}}
            await self._cluster.merge_patch(EVENT, told.namespace, told.name, series)
            return
        body = self._body(news, when)
        metadata = body["metadata"]
        await self._cluster.create(EVENT, body)
        self._telemetry.event(news.type, news.reason)
        self._told[same] = _Told(metadata["namespace"], metadata["name"], self._clock.monotonic() + SAME_NEWS_SECONDS)
        self._told.move_to_end(same)
        if len(self._told) > REMEMBERED_COUNT:
            self._told.popitem(last=False)

    def _body(self, news: News, when: datetime) -> dict[str, Any]:
        about = news.regarding
        stamp = _micro_time(when)
        identity = "/".join((about.kind.name, about.namespace, about.name, about.uid, news.reason, news.key, stamp, self._instance))
        suffix = hashlib.sha256(identity.encode()).hexdigest()[:16]
        regarding = {
            "apiVersion": about.kind.api_version,
            "kind": about.kind.name,
            "name": about.name,
            "namespace": about.namespace,
            "uid": about.uid,
        }
        return {
            # The API server wants Events about cluster-scoped objects in `default`.
            "metadata": {
                "name": f"{about.name[:200]}.{suffix}",
                "namespace": about.namespace or "default",
                "annotations": dict(news.annotations),
            },
            "eventTime": stamp,
            "reportingController": CONTROLLER,
            "reportingInstance": self._instance[:128],
            "type": news.type,
            "reason": news.reason,
            "action": news.action,
            "note": news.note if len(news.note) <= LONGEST_NOTE else news.note[: LONGEST_NOTE - 3] + "...",
            "regarding": {key: value for key, value in regarding.items() if value},
        }


def _micro_time(when: datetime) -> str:
    return when.strftime("%Y-%m-%dT%H:%M:%S.%fZ")
