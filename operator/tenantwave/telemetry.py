"""What the operator counts about itself. A port: adapters and engine call it, `shell/metrics.py` exports it to Prometheus.

Names and labels are those of the metrics (`tenantwave_` + name). Calls are cheap, never fail and never wait; all durations are seconds. No
label may be a tenant, a namespace or a query: that is what keeps the number of series bounded.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Protocol


@dataclass(frozen=True, slots=True)
class UpgradeFigures:
    """What is exported of one TenantUpgrade. `state` names are those of the API; counts without an entry are zero."""

    upgrade: str
    product: str
    reason: str
    conditions: Mapping[str, bool] = field(default_factory=dict)
    tenants: Mapping[str, int] = field(default_factory=dict)
    waiting: Mapping[str, int] = field(default_factory=dict)
    waves: Mapping[str, str] = field(default_factory=dict)
    gates: Mapping[str, str] = field(default_factory=dict)
    start_time: datetime | None = None
    last_progress_time: datetime | None = None
    next_time: datetime | None = None
    completion_time: datetime | None = None
    oldest_rollback: timedelta | None = None


class ApiTelemetry(Protocol):
    """What the client tells of each exchange with the API server."""

    def api_request(self, verb: str, kind: str, code: int, seconds: float) -> None:
        """Count one request; `code` 0 means that no answer came."""
        ...

    def clock_skew(self, seconds: float) -> None:
        """Tell how far our clock is ahead of the API server's (its Date header, so +-1 s)."""
        ...


class WatchTelemetry(Protocol):
    """What a reflector tells of its cache."""

    def watch_relist(self, kind: str, reason: str) -> None:
        """Count a full list: `Start`, `Expired`, `Periodic`."""
        ...

    def cache_objects(self, kind: str, count: int) -> None:
        """Tell how many objects the cache holds."""
        ...


class QueueTelemetry(Protocol):
    """What a work queue tells."""

    def queue_retry(self, queue: str) -> None:
        """Count a key that failed and will be tried again."""
        ...

    def reconcile(self, controller: str, seconds: float, error: str = "") -> None:
        """Count one step of a worker; `error` is the name of the fault, empty if it went well."""
        ...


class EventTelemetry(Protocol):
    """What the event recorder tells."""

    def event(self, kind: str, reason: str) -> None:
        """Count an Event of type Normal or Warning, and the reason `_dropped` for those that found no room."""
        ...


class Telemetry(ApiTelemetry, WatchTelemetry, QueueTelemetry, EventTelemetry, Protocol):
    """Everything that is counted; the engine calls the rest."""

    def upgrade(self, figures: UpgradeFigures) -> None:
        """Replace what is exported of one upgrade."""
        ...

    def forget_upgrade(self, upgrade: str) -> None:
        """Export nothing more of a deleted upgrade."""
        ...

    def fleet(self, tenants: Mapping[tuple[str, str], int], past_deadline_count: int, overrides: Mapping[str, int]) -> None:
        """Replace the tenants by (product, version), those past their deadline, and the active overrides by type."""
        ...

    def tenant_run(self, product: str, outcome: str) -> None:
        """Count a tenant's run that ended: Succeeded, RolledBack, RollbackFailed, Skipped, Aborted."""
        ...

    def tenant_run_step(self, step: str, seconds: float) -> None:
        """Observe how long a step of a tenant's run took: Preflight, Applying, Converging, Soaking, RollingBack."""
        ...

    def notify_latency(self, seconds: float) -> None:
        """Observe the time between a notice being due and its delivery."""
        ...

    def rollback(self, product: str, scope: str, reason: str) -> None:
        """Count a rollback that begins; `scope` is Tenant, Wave or All."""
        ...

    def config_keys(self, outcomes: Iterable[str]) -> None:
        """Count merged keys of tenants' configuration: kept, merged, replaced, conflict."""
        ...

    def gate_evaluation(self, verdict: str, mode: str) -> None:
        """Count one verdict of a gate."""
        ...

    def prometheus_query(self, result: str, seconds: float) -> None:
        """Count one query; `result` is ok, or the class of its failure."""
        ...

    def snapshots(self, state: str, count: int, size: int) -> None:
        """Replace how many snapshots there are, and their bytes; `state` is Needed or Unneeded."""
        ...

    def retention(self, kind: str) -> None:
        """Count an object of ours that was deleted because nothing needs it any more."""
        ...

    def status_write(self, kind: str) -> None:
        """Count one write of a status."""
        ...


class Silent:
    """Counts nothing, for tests and commands."""

    def __getattr__(self, name: str) -> Callable[..., None]:
        """Accept every call of the Protocols above."""
        return _nothing


def _nothing(*_: object, **__: object) -> None:
    return None
