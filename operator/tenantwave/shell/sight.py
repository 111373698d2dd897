"""Since when we see the cluster: what we and Kubernetes missed in an outage must not count against a tenant."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime, timedelta

from tenantwave.telemetry import ApiTelemetry

LEAST_OUTAGE = timedelta(seconds=3)
"""A connection that breaks and is there again at once is none."""
AFTERMATH = timedelta(seconds=60)
"""How long after an outage what Kubernetes says of workloads may be late: controllers and kubelets missed the same time, and a Deployment is
past its progress deadline before its pods, long Ready, are counted."""


class Sight:
    """Hears of each exchange with the API server, and passes it on to be counted."""

    def __init__(self, telemetry: ApiTelemetry, now: Callable[[], datetime]) -> None:
        self._telemetry = telemetry
        self._now = now
        self._lost: datetime | None = None
        self.since = now()
        """Since when we see without a break: our start, or the end of the last outage."""
        self.shaken_until: datetime | None = None
        """After an outage: until when its aftermath lasts."""
        self.on_return: Callable[[], None] = lambda: None
        """Called at the end of an outage: what backed off meanwhile need not wait any longer."""

    def api_request(self, verb: str, kind: str, code: int, seconds: float) -> None:
        """Take note of one request; `code` 0 means that no answer came."""
        self._telemetry.api_request(verb, kind, code, seconds)
        if code == 0 or code >= 500:
            self._lost = self._lost or self._now()
        elif self._lost is not None:
            now = self._now()
            if now - self._lost >= LEAST_OUTAGE:
                self.since, self.shaken_until = now, now + AFTERMATH
                self.on_return()
            self._lost = None

    def clock_skew(self, seconds: float) -> None:
        """Pass the skew on."""
        self._telemetry.clock_skew(seconds)
