"""The tenants' traffic: one exporter that plays the HTTP servers of all tenants for Prometheus.

For every namespace with pods of a workload it counts requests at a steady rate, spread evenly over the Ready pods, by the images that they
run *now*: a tag ending in `-err` answers a share of the requests with 500, one ending in `-slow` takes 2 s for most of them. When a tenant
that was Ready has pods but none of them is Ready, its requests are answered with 503, as an ingress would. No randomness: the same story
gives the same counters.

Series: `http_requests_total{namespace,code}`, histogram `http_request_duration_seconds{namespace}`,
`kube_pod_container_status_restarts_total{namespace,pod,container}`, and gauges of any name that a control asks for.

`PUT /control/<namespace>` with a JSON object such as `{"rate": 5, "images": {":2.4.0": {"error_share": 0.2}}}` overrides a tenant (`*`: all that
have no own), `DELETE` takes it back; the fields are those of `Control`. `POST /requests/<namespace>` with `{"200": 72000}` counts requests
all at once: a tenant that was just made gets the traffic of the hour before it, since a series that is new counts in full.
"""

from __future__ import annotations

import argparse
import itertools
import logging
import math
import time
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, fields, replace
from pathlib import Path
from typing import Any

import orjson
from aiohttp import web

from localcluster.aio import run_until_signal
from localcluster.client import Changed, Deleted, KubeClient, Listed, Object

DEFAULT_RATE = 20.0
DEFAULT_ERROR_SHARE = 0.3
SLOW_SHARE = 0.8
FAST_SECONDS, SLOW_SECONDS = 0.04, 2.0
BUCKETS = (0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0)
NOT_TENANTS = ("kube-", "tenantwave-system", "default")


@dataclass(frozen=True, slots=True)
class Pod:
    """What counts of a pod: does it serve, with which images, and how often its containers restarted."""

    namespace: str
    name: str
    images: tuple[str, ...]
    is_ready: bool
    restarts: tuple[tuple[str, int], ...]


def read_pod(body: Object) -> Pod | None:
    """Project a pod's body; None for pods that serve nobody: those of Jobs, and all in namespaces that are no tenants."""
    metadata, status = body["metadata"], body.get("status", {})
    is_job = any(owner["kind"] == "Job" for owner in metadata.get("ownerReferences", ()))
    if is_job or metadata["namespace"].startswith(NOT_TENANTS):
        return None
    return Pod(
        namespace=metadata["namespace"],
        name=metadata["name"],
        images=tuple(container["image"] for container in body["spec"]["containers"]),
        is_ready=any(one["type"] == "Ready" and one["status"] == "True" for one in status.get("conditions", ())),
        restarts=tuple((one["name"], one["restartCount"]) for one in status.get("containerStatuses", ())),
    )


@dataclass(frozen=True, slots=True)
class Control:
    """What overrides a tenant's own behaviour; None leaves it as its images have it."""

    rate: float | None = None
    """Requests per second."""
    error_share: float | None = None
    """Of all requests, also of those that no Ready pod could answer."""
    slow_share: float | None = None
    silent: bool = False
    """Drops all of the tenant's series."""
    gauges: Mapping[str, float | str] = field(default_factory=dict)
    """Series by name, exported with the label `namespace`; a text such as "NaN" stands for what JSON has no number for."""
    restarts: int = 0
    """Added to the restarts of each container."""
    images: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    """Fields that replace these while a Ready pod's image ends in the key: so a new version is ill, and the old one is not."""

    def __post_init__(self) -> None:
        """Refuse unknown fields at once, not at the next scrape."""
        for fields_of_image in self.images.values():
            replace(self, images={}, **fields_of_image)

    def on(self, ready: list[Pod]) -> Control:
        """Return what holds while these pods serve."""
        for suffix, fields_of_image in self.images.items():
            if any(_ends_in(pod, suffix) for pod in ready):
                return replace(self, images={}, **fields_of_image)
        return self

    def gauge_lines(self, namespace: str) -> Iterator[tuple[str, str]]:
        """Yield (name, line) of each gauge."""
        for name, value in self.gauges.items():
            yield name, f'{name}{{namespace="{namespace}"}} {float(value)}'


@dataclass(slots=True)
class Tenant:
    """One tenant's pods and counters. Counters hold fractions, so that low rates lose nothing; what is exported is whole."""

    now: float
    """Until when it has served."""
    pods: dict[str, Pod] = field(default_factory=dict)
    control: Control | None = None
    has_served: bool = False
    requests: dict[str, float] = field(default_factory=dict)
    fast: float = 0.0
    slow: float = 0.0

    @property
    def ready(self) -> list[Pod]:
        """Return the pods that serve."""
        return [pod for pod in self.pods.values() if pod.is_ready]

    def advance(self, now: float, control: Control, rate: float, error_share: float) -> None:
        """Let the tenant serve until `now`."""
        seconds, self.now = max(0.0, now - self.now), now
        ready, control = self.ready, control.on(self.ready)
        self.has_served = self.has_served or bool(ready)
        if not self.has_served or not self.pods:
            return
        count = seconds * (rate if control.rate is None else control.rate)
        if not ready and control.error_share is None:
            self._answer("503", count)
            return
        errors, slow = _share_of(ready, "-err") * error_share, _share_of(ready, "-slow") * SLOW_SHARE
        errors = errors if control.error_share is None else control.error_share
        slow = slow if control.slow_share is None else control.slow_share
        self._answer("200", count * (1 - errors))
        self._answer("500", count * errors)
        self.slow += count * slow
        self.fast += count * (1 - slow)

    def count(self, requests: Mapping[str, float]) -> None:
        """Count requests by code, all at once and none of them slow."""
        for code, count in requests.items():
            self._answer(code, count)
            self.fast += count

    def _answer(self, code: str, count: float) -> None:
        self.requests[code] = self.requests.get(code, 0.0) + count


def _share_of(pods: list[Pod], suffix: str) -> float:
    return sum(_ends_in(pod, suffix) for pod in pods) / max(1, len(pods))


def _ends_in(pod: Pod, suffix: str) -> bool:
    return any(image.partition("@")[0].endswith(suffix) for image in pod.images)


class Fleet:
    """All tenants. Whoever changes one (or all) first calls `advance` for it, so that it serves until now the way it was."""

    def __init__(self, now: float, rate: float = DEFAULT_RATE, error_share: float = DEFAULT_ERROR_SHARE) -> None:
        self._now = now
        self._rate = rate
        self._error_share = error_share
        self._tenants: dict[str, Tenant] = {}
        self._control = Control()

    def advance(self, now: float, namespace: str | None = None) -> None:
        """Let one tenant, or all, serve until `now` (seconds of a monotonic clock)."""
        self._now = now
        for tenant in self._tenants.values() if namespace is None else [self._tenant(namespace)]:
            tenant.advance(now, tenant.control or self._control, self._rate, self._error_share)

    def put(self, pod: Pod) -> None:
        self._tenant(pod.namespace).pods[pod.name] = pod

    def remove(self, namespace: str, name: str) -> None:
        self._tenant(namespace).pods.pop(name, None)

    def replace_all(self, pods: list[Pod]) -> None:
        for tenant in self._tenants.values():
            tenant.pods.clear()
        for pod in pods:
            self.put(pod)

    def set_control(self, namespace: str, control: Control | None) -> None:
        """Override one tenant, or with `*` all that have no own; None takes it back."""
        if namespace == "*":
            self._control = control or Control()
        else:
            self._tenant(namespace).control = control

    def count(self, namespace: str, requests: Mapping[str, float]) -> None:
        """Count requests of one tenant, or with `*` of all that there are, all at once."""
        for tenant in self._tenants.values() if namespace == "*" else [self._tenant(namespace)]:
            tenant.count(requests)

    def exposition(self) -> Iterator[str]:
        """Yield the lines of the Prometheus text format."""
        controls = {name: (tenant.control or self._control).on(tenant.ready) for name, tenant in self._tenants.items()}
        audible = [(name, tenant) for name, tenant in self._tenants.items() if not controls[name].silent]
        serving = [(name, tenant) for name, tenant in audible if tenant.has_served]
        yield "# TYPE http_requests_total counter"
        for name, tenant in serving:
            for code, count in tenant.requests.items():
                yield f'http_requests_total{{namespace="{name}",code="{code}"}} {_whole(count)}'
        yield "# TYPE http_request_duration_seconds histogram"
        for name, tenant in serving:
            yield from _histogram(name, _whole(tenant.fast), _whole(tenant.slow))
        yield "# TYPE kube_pod_container_status_restarts_total counter"
        for name, tenant in audible:
            for pod in tenant.pods.values():
                for container, count in pod.restarts:
                    labels = f'namespace="{name}",pod="{pod.name}",container="{container}"'
                    yield f"kube_pod_container_status_restarts_total{{{labels}}} {count + controls[name].restarts}"
        for gauge, lines in _by_name(line for name, _ in serving for line in controls[name].gauge_lines(name)).items():
            yield f"# TYPE {gauge} gauge"
            yield from lines

    def _tenant(self, namespace: str) -> Tenant:
        return self._tenants.setdefault(namespace, Tenant(self._now))


def _by_name(lines: Iterable[tuple[str, str]]) -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    for name, line in lines:
        found.setdefault(name, []).append(line)
    return found


def _whole(count: float) -> int:
    return math.floor(count + 1e-6)  # 19.999999999999996 requests are 20


def _histogram(namespace: str, fast: int, slow: int) -> Iterator[str]:
    for bound in BUCKETS:
        count = (fast if bound >= FAST_SECONDS else 0) + (slow if bound >= SLOW_SECONDS else 0)
        yield f'http_request_duration_seconds_bucket{{namespace="{namespace}",le="{bound}"}} {count}'
    yield f'http_request_duration_seconds_bucket{{namespace="{namespace}",le="+Inf"}} {fast + slow}'
    yield f'http_request_duration_seconds_sum{{namespace="{namespace}"}} {fast * FAST_SECONDS + slow * SLOW_SECONDS:.3f}'
    yield f'http_request_duration_seconds_count{{namespace="{namespace}"}} {fast + slow}'


class Exporter:
    """The HTTP face of a fleet: /metrics for Prometheus, /control for whoever writes the story."""

    def __init__(self, fleet: Fleet) -> None:
        self._fleet = fleet

    def application(self) -> web.Application:
        application = web.Application()
        application.add_routes(
            [
                web.get("/metrics", self._metrics),
                web.put("/control/{namespace}", self._set_control),
                web.delete("/control/{namespace}", self._clear_control),
                web.post("/requests/{namespace}", self._count),
            ]
        )
        return application

    async def follow(self, api: KubeClient) -> None:
        """Keep the fleet's pods as the cluster has them, until cancelled."""
        async for change in api.follow("/api/v1/pods"):
            now = time.monotonic()
            match change:
                case Listed(bodies):
                    self._fleet.advance(now)
                    self._fleet.replace_all([pod for pod in map(read_pod, bodies) if pod is not None])
                case Changed(body):
                    if (pod := read_pod(body)) is not None:
                        self._fleet.advance(now, pod.namespace)
                        self._fleet.put(pod)
                case Deleted(body):
                    self._fleet.advance(now, body["metadata"]["namespace"])
                    self._fleet.remove(body["metadata"]["namespace"], body["metadata"]["name"])

    async def _metrics(self, _: web.Request) -> web.Response:
        self._fleet.advance(time.monotonic())
        text = "\n".join(itertools.chain(self._fleet.exposition(), ("",)))
        return web.Response(body=text.encode(), headers={"Content-Type": "text/plain; version=0.0.4; charset=utf-8"})

    async def _set_control(self, request: web.Request) -> web.Response:
        try:
            control = Control(**orjson.loads(await request.read()))
        except (orjson.JSONDecodeError, TypeError) as error:
            allowed = ", ".join(one.name for one in fields(Control))
            return web.Response(status=400, text=f"not a control: {error}; allowed are {allowed}\n")
        self._fleet.advance(time.monotonic())
        self._fleet.set_control(request.match_info["namespace"], control)
        return web.Response(text="ok\n")

    async def _clear_control(self, request: web.Request) -> web.Response:
        self._fleet.advance(time.monotonic())
        self._fleet.set_control(request.match_info["namespace"], None)
        return web.Response(text="ok\n")

    async def _count(self, request: web.Request) -> web.Response:
        try:
            requests = {code: float(count) for code, count in orjson.loads(await request.read()).items()}
        except (orjson.JSONDecodeError, AttributeError, TypeError, ValueError) as error:
            return web.Response(status=400, text=f'not requests by code: {error}; write for example {{"200": 72000}}\n')
        self._fleet.advance(time.monotonic())
        self._fleet.count(request.match_info["namespace"], requests)
        return web.Response(text="ok\n")


async def serve(access_path: Path, port: int, rate: float, error_share: float) -> None:
    """Export on 127.0.0.1 until cancelled."""
    exporter = Exporter(Fleet(time.monotonic(), rate, error_share))
    runner = web.AppRunner(exporter.application(), access_log=None)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", port).start()
    try:
        async with KubeClient.from_kubeconfig(access_path, connection_count=2, field_manager="traffic") as api:
            await exporter.follow(api)
    finally:
        await runner.cleanup()


def main() -> None:
    parser = argparse.ArgumentParser(prog="localcluster.traffic", description="Plays the tenants' traffic for Prometheus.")
    parser.add_argument("--kubeconfig", type=Path, required=True)
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--rate", type=float, default=DEFAULT_RATE, help="requests per second and tenant (default %(default)s)")
    parser.add_argument(
        "--error-share", type=float, default=DEFAULT_ERROR_SHARE, help="failing share for -err images (default %(default)s)"
    )
    arguments = parser.parse_args()
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(name)s %(levelname)s %(message)s")
    run_until_signal(serve(arguments.kubeconfig, arguments.port, arguments.rate, arguments.error_share))


if __name__ == "__main__":
    main()
