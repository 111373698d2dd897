"""What the stories about gates share: a fleet with traffic and history, a policy that judges it each second, and questions to its status."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from typing import Any

from localcluster.client import eventually
from localcluster.monitoring import Monitoring

from support.story import LONG, Story

Object = dict[str, Any]

ERRORS: Object = {"name": "errors", "ratio": {"bad": 'http_requests_total{code=~"5.."}', "total": "http_requests_total"}, "max": "1%"}
SLOW: Object = {"name": "slow", "latency": {"histogram": "http_request_duration_seconds", "above": "0.5"}, "max": "5%"}
RESTARTS: Object = {"name": "restarts", "increase": "kube_pod_container_status_restarts_total", "max": 2}
LAG: Object = {"name": "lag", "query": "max by ({{ label }}) (queue_lag_seconds{ {{ tenants }} })", "max": 60, "consecutive": 2}
EVERY_KIND = (ERRORS, SLOW, RESTARTS, LAG)

CANARY = {"tenantwave.io/ring": "canary"}
NEW = ":2.4.0"
SETTLED: Object = {"queryDelay": "1s"}
"""For questions that are asked again: a scrape that was under way at the instant has arrived when the first one is asked."""
RATE = 100.0
"""Requests a second of a tenant with plenty of them: three seconds are enough to call it Healthy."""
HOUR = 3600


def wave(name: str, soak: str, *, selector: Mapping[str, str] | None = None, **fields: Any) -> Object:
    """Return a wave; without a selector it takes all who are left. All of its tenants go at once."""
    chosen = {"selector": {"matchLabels": dict(selector)}} if selector else {}
    return {"name": name, "soak": soak, "maxParallel": "100%", "freeSlotOn": "Converged"} | chosen | fields


class Gated:
    """A story whose tenants have traffic, and whose upgrades are judged by gates."""

    def __init__(self, story: Story, monitoring: Monitoring) -> None:
        self.story = story
        self.monitoring = monitoring
        self._controls: dict[str, Object] = {}

    # Given.

    async def tenants(
        self,
        prefix: str,
        count: int = 1,
        *,
        rate: float = RATE,
        serves: bool = True,
        labels: Mapping[str, str] | None = None,
        annotations: Mapping[str, str] | None = None,
    ) -> list[str]:
        """Make tenants that served at this rate for an hour; with `serves` False none of their series ever existed."""
        names = [f"{prefix}{number:02d}" for number in range(count)]
        found = await asyncio.gather(*(self.story.tenant(name, labels=labels, annotations=annotations) for name in names))
        for tenant in found:
            self.traffic(tenant, rate=rate, gauges={"queue_lag_seconds": 5}, silent=not serves)
            if serves:
                self.monitoring.add_requests(tenant, {"200": rate * HOUR})
        return found

    async def ready(self) -> None:
        """Wait until all tenants run, and Prometheus has seen those that serve."""
        await self.story.ready()
        serving = {tenant for tenant, control in self._controls.items() if not control["silent"]}

        async def are_scraped() -> bool:
            return serving <= {row["metric"]["namespace"] for row in self.monitoring.query("sum by (namespace) (http_requests_total)")}

        await eventually(are_scraped, saying="Prometheus has series of every tenant")

    async def policy(self, *waves: Object, gates: Sequence[Object] = (ERRORS,), url: str = "", name: str = "policy", **spec: Any) -> str:
        """Apply a policy that asks each second; `evaluation` and `prometheus` add to that."""
        evaluation = {"interval": "1s", "warmUp": "1s"} | spec.pop("evaluation", {})
        prometheus = {"url": url or self.monitoring.url} | spec.pop("prometheus", {})
        return await self.story.policy(name, waves=list(waves), prometheus=prometheus, gates=list(gates), evaluation=evaluation, **spec)

    def traffic(self, tenant: str, **control: Any) -> None:
        """Change a tenant's traffic; what is not named stays."""
        self._controls[tenant] = self._controls.get(tenant, {}) | control
        self.monitoring.set_traffic(tenant, **self._controls[tenant])

    # Then.

    async def until_gate(self, upgrade: str, wave: str, is_so: Callable[[Object], bool], saying: str, timeout: float = LONG) -> Object:
        """Wait until the status says this of a wave's gate, and return the upgrade."""
        return await self.story.until_so(upgrade, lambda body: is_so(gate_of(body, wave)), f"wave {wave}: {saying}", timeout)

    def ask_again(self, gate: Object, metric: Object) -> dict[str, float]:
        """Paste a metric's query at the gate's evaluation time, as a person would. Returns tenant (or "") -> number."""
        time = datetime.fromisoformat(gate["evaluationTime"]).timestamp()
        return {row["metric"].get("namespace", ""): float(row["value"][1]) for row in self.monitoring.query(metric["query"], time=time)}

    # The end.

    def clean_up(self) -> None:
        """Take all overrides back."""
        for tenant in self._controls:
            self.monitoring.clear_traffic(tenant)


def gate_of(upgrade: Object, wave: str) -> Object:
    """Return what an upgrade's status says of a wave's gate, {} where it says nothing."""
    waves = upgrade.get("status", {}).get("waves", ())
    return next((dict(one.get("gate") or {}) for one in waves if one["name"] == wave), {})


def metric_of(gate: Object, name: str = "errors") -> Object:
    """Return one metric of a gate, {} where it has none of the name."""
    return next((dict(one) for one in gate.get("metrics", ()) if one["name"] == name), {})
