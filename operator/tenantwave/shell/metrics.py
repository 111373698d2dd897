"""The Prometheus metrics of the operator. The only module that imports prometheus_client; everybody else calls `tenantwave.telemetry`.

No label is a tenant or a namespace. At most 50 upgrades (live first, ended ones for 24 h, or as long as their version skew lasts) and 50 product
versions are exported, the rest is summed as `_other`: below 5,000 series per process whatever the size of the fleet.
"""

from __future__ import annotations

from collections import Counter as Tally
from collections.abc import Callable, Iterable, Iterator, Mapping
from datetime import UTC, datetime, timedelta

from prometheus_client import (
    CONTENT_TYPE_LATEST,
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    PlatformCollector,
    ProcessCollector,
    generate_latest,
)
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector

from tenantwave.telemetry import UpgradeFigures

PREFIX = "tenantwave_"
LARGEST_COUNT = 50
KEPT_AFTER_END = timedelta(hours=24)
LASTING_CONDITION = "VersionSkewExceeded"
"""While it is True an upgrade is exported however long ago it ended: tenants that stay behind are what its alert is about."""
OTHER = "_other"

FAST = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0)
LAG = (0.005, 0.01, 0.025, 0.05, 0.1, 0.2, 0.5, 1.0, 5.0)
SLOW = (1.0, 5.0, 15.0, 60.0, 300.0, 900.0, 3600.0, 14400.0, 86400.0)

Reading = Callable[[], Mapping[tuple[str, ...], float]]
"""Read when Prometheus asks: label values -> value."""


class PrometheusTelemetry:
    """Counts everything of the port `Telemetry` in a registry of its own; `render` is what `/metrics` answers."""

    def __init__(self, version: str, revision: str = "", *, now: Callable[[], datetime] = lambda: datetime.now(UTC)) -> None:
        registry = self._registry = CollectorRegistry()
        self._upgrades = _Upgrades(now)
        self._readings = _Readings()
        registry.register(self._upgrades)
        registry.register(self._readings)
        ProcessCollector(registry=registry)
        PlatformCollector(registry=registry)

        def counter(name: str, text: str, *labels: str) -> Counter:
            return Counter(PREFIX + name, text, labels, registry=registry)

        def gauge(name: str, text: str, *labels: str) -> Gauge:
            return Gauge(PREFIX + name, text, labels, registry=registry)

        def histogram(name: str, text: str, buckets: tuple[float, ...], *labels: str) -> Histogram:
            return Histogram(PREFIX + name, text, labels, buckets=buckets, registry=registry)

        self._product_tenants = gauge("product_tenants", "Tenants by product and version.", "product", "version")
        self._past_deadline = gauge("tenants_past_deadline", "Tenants that are not through although their deadline has passed.")
        self._overrides = gauge("overrides_active", "Overrides in force, by type.", "type")
        self._tenant_runs = counter("tenant_runs", "Tenants' runs that ended, by outcome.", "product", "outcome")
        self._tenant_run_seconds = histogram("tenant_run_seconds", "Duration of a step of a tenant's run.", SLOW, "step")
        self._notify_latency = histogram("notify_latency_seconds", "Time from a notice being due to its delivery.", SLOW)
        self._rollbacks = counter("rollbacks", "Rollbacks that began, by scope and reason.", "product", "scope", "reason")
        self._config_keys = counter("config_keys", "Configuration keys that were merged, by outcome.", "outcome")
        self._gate_evaluations = counter("gate_evaluations", "Verdicts of gates.", "verdict", "mode")
        self._prometheus_queries = counter("prometheus_queries", "Queries to Prometheus, by result.", "result")
        self._prometheus_query_seconds = histogram("prometheus_query_seconds", "Duration of a query to Prometheus.", FAST)
        self._leader_transitions = counter("leader_transitions", "Times that this process began or ceased to lead.")
        self._reconcile_seconds = histogram("reconcile_seconds", "Duration of a step of a controller.", FAST, "controller")
        self._reconcile_errors = counter("reconcile_errors", "Steps that failed, by the name of the fault.", "controller", "reason")
        self._queue_retries = counter("queue_retries", "Keys that failed and wait for another try.", "queue")
        self._cache_objects = gauge("cache_objects", "Objects in the cache of a kind.", "kind")
        self._relists = counter("watch_relists", "Full lists, by reason.", "kind", "reason")
        self._api_requests = counter("api_requests", "Requests to the API server; code 0 means no answer.", "verb", "kind", "code")
        self._api_request_seconds = histogram("api_request_seconds", "Duration of a request to the API server.", FAST, "verb")
        self._counted: dict[tuple[str, str, int], tuple[Counter, Histogram]] = {}
        self._snapshots = gauge("snapshots", "Secrets that hold snapshots, by whether anything refers to them.", "state")
        self._snapshot_bytes = gauge("snapshot_bytes", "Bytes of snapshots, by whether anything refers to them.", "state")
        self._retention_deletions = counter("retention_deletions", "Objects of ours that were deleted as no longer needed.", "kind")
        self._status_writes = counter("status_writes", "Writes of a status.", "kind")
        self._events = counter("events", "Kubernetes Events; reason _dropped: no room.", "type", "reason")
        self._loop_lag = histogram("event_loop_lag_seconds", "How late the event loop wakes whoever sleeps.", LAG)
        self.skew_seconds = 0.0
        self._clock_skew = gauge("clock_skew_seconds", "How far our clock is ahead of the API server's.")
        gauge("build_info", "1, with the version of the operator.", "version", "revision").labels(version, revision).set(1)

    def render(self) -> tuple[bytes, str]:
        """Return the text of `/metrics` and its content type."""
        return generate_latest(self._registry), CONTENT_TYPE_LATEST

    def read(self, name: str, text: str, labels: tuple[str, ...], reading: Reading) -> None:
        """Export a gauge that is read when Prometheus asks: `leader`, `queue_depth`, `watch_age_seconds` and the like."""
        self._readings.add(PREFIX + name, text, labels, reading)

    def leader_transition(self) -> None:
        """Count that this process began or ceased to lead."""
        self._leader_transitions.inc()

    def loop_lag(self, seconds: float) -> None:
        """Observe how late the event loop was."""
        self._loop_lag.observe(seconds)

    # The port `Telemetry`; each method is described there.

    def api_request(self, verb: str, kind: str, code: int, seconds: float) -> None:
        """Count one request."""
        counted = self._counted.get((verb, kind, code))
        if counted is None:  # `labels` checks and locks each time: more than the counting itself
            counted = self._counted[verb, kind, code] = (
                self._api_requests.labels(verb, kind, str(code)),
                self._api_request_seconds.labels(verb),
            )
        counted[0].inc()
        counted[1].observe(seconds)

    def clock_skew(self, seconds: float) -> None:
        """Export the skew."""
        self.skew_seconds = seconds
        self._clock_skew.set(seconds)

    def watch_relist(self, kind: str, reason: str) -> None:
        """Count a full list."""
        self._relists.labels(kind, reason).inc()

    def cache_objects(self, kind: str, count: int) -> None:
        """Export the size of a cache."""
        self._cache_objects.labels(kind).set(count)

    def queue_retry(self, queue: str) -> None:
        """Count a retry."""
        self._queue_retries.labels(queue).inc()

    def reconcile(self, controller: str, seconds: float, error: str = "") -> None:
        """Count a step."""
        self._reconcile_seconds.labels(controller).observe(seconds)
        if error:
            self._reconcile_errors.labels(controller, error).inc()

    def event(self, kind: str, reason: str) -> None:
        """Count an Event."""
        self._events.labels(kind, reason).inc()

    def upgrade(self, figures: UpgradeFigures) -> None:
        """Replace the figures of an upgrade."""
        self._upgrades.figures[figures.upgrade] = figures

    def forget_upgrade(self, upgrade: str) -> None:
        """Drop the figures of an upgrade."""
        self._upgrades.figures.pop(upgrade, None)

    def fleet(self, tenants: Mapping[tuple[str, str], int], past_deadline_count: int, overrides: Mapping[str, int]) -> None:
        """Replace the figures of the fleet; versions beyond the 50 with most tenants are summed."""
        self._product_tenants.clear()
        for number, ((product, version), count) in enumerate(sorted(tenants.items(), key=lambda item: (-item[1], item[0]))):
            if number < LARGEST_COUNT:
                self._product_tenants.labels(product, version).set(count)
            else:
                self._product_tenants.labels(OTHER, OTHER).inc(count)
        self._past_deadline.set(past_deadline_count)
        self._overrides.clear()
        for kind, count in overrides.items():
            self._overrides.labels(kind).set(count)

    def tenant_run(self, product: str, outcome: str) -> None:
        """Count a run that ended."""
        self._tenant_runs.labels(product, outcome).inc()

    def tenant_run_step(self, step: str, seconds: float) -> None:
        """Observe a step."""
        self._tenant_run_seconds.labels(step).observe(seconds)

    def notify_latency(self, seconds: float) -> None:
        """Observe a notice."""
        self._notify_latency.observe(seconds)

    def rollback(self, product: str, scope: str, reason: str) -> None:
        """Count a rollback."""
        self._rollbacks.labels(product, scope, reason).inc()

    def config_keys(self, outcomes: Iterable[str]) -> None:
        """Count merged keys."""
        for outcome, count in Tally(outcomes).items():
            self._config_keys.labels(outcome).inc(count)

    def gate_evaluation(self, verdict: str, mode: str) -> None:
        """Count a verdict."""
        self._gate_evaluations.labels(verdict, mode).inc()

    def prometheus_query(self, result: str, seconds: float) -> None:
        """Count a query."""
        self._prometheus_queries.labels(result).inc()
        self._prometheus_query_seconds.observe(seconds)

    def snapshots(self, state: str, count: int, size: int) -> None:
        """Replace the figures of snapshots."""
        self._snapshots.labels(state).set(count)
        self._snapshot_bytes.labels(state).set(size)

    def retention(self, kind: str) -> None:
        """Count a deletion."""
        self._retention_deletions.labels(kind).inc()

    def status_write(self, kind: str) -> None:
        """Count a status."""
        self._status_writes.labels(kind).inc()


class _Readings(Collector):
    """Gauges that are read when Prometheus asks."""

    def __init__(self) -> None:
        self._all: list[tuple[str, str, tuple[str, ...], Reading]] = []

    def add(self, name: str, text: str, labels: tuple[str, ...], reading: Reading) -> None:
        self._all.append((name, text, labels, reading))

    def collect(self) -> Iterator[Metric]:
        for name, text, labels, reading in self._all:
            family = GaugeMetricFamily(name, text, labels=labels)
            for values, number in reading().items():
                family.add_metric(values, number)
            yield family


class _Upgrades(Collector):
    """All gauges of upgrades, from their last figures."""

    def __init__(self, now: Callable[[], datetime]) -> None:
        self.figures: dict[str, UpgradeFigures] = {}
        self._now = now

    def collect(self) -> Iterator[Metric]:
        named, rest = self._chosen()

        def family(name: str, text: str, *labels: str) -> GaugeMetricFamily:
            return GaugeMetricFamily(PREFIX + name, text, labels=labels)

        status = family("upgrade_status", "1, with the reason of the condition Ready.", "upgrade", "product", "reason")
        condition = family("upgrade_condition", "1 if the condition is True.", "upgrade", "type")
        tenants = family("upgrade_tenants", "Tenants by state.", "upgrade", "state")
        waiting = family("upgrade_waiting_tenants", "Tenants that may not start yet, by reason.", "upgrade", "reason")
        start = family("upgrade_start_timestamp_seconds", "When the run began.", "upgrade")
        progress = family("upgrade_last_progress_timestamp_seconds", "When a tenant last made a step.", "upgrade")
        following = family("upgrade_next_timestamp_seconds", "When the next thing is due.", "upgrade")
        wave = family("wave_state", "1, with the state of the wave.", "upgrade", "wave", "state")
        gate = family("gate_verdict", "1, with the last verdict of the gate in the current wave.", "upgrade", "gate", "verdict")
        rollback = family("rollback_oldest_age_seconds", "Age of the oldest rollback that has not ended.", "upgrade")
        for one in named:
            status.add_metric((one.upgrade, one.product, one.reason), 1)
            for kind, holds in one.conditions.items():
                condition.add_metric((one.upgrade, kind), float(holds))
            for instants, when in ((start, one.start_time), (progress, one.last_progress_time), (following, one.next_time)):
                if when is not None:
                    instants.add_metric((one.upgrade,), when.timestamp())
            for name, state in one.waves.items():
                wave.add_metric((one.upgrade, name, state), 1)
            for name, verdict in one.gates.items():
                gate.add_metric((one.upgrade, name, verdict), 1)
            if one.oldest_rollback is not None:
                rollback.add_metric((one.upgrade,), one.oldest_rollback.total_seconds())
        for counts, select in ((tenants, _tenants), (waiting, _waiting)):
            for one in named:
                for label, count in select(one).items():
                    counts.add_metric((one.upgrade, label), count)
            for label, count in sum((Tally(select(one)) for one in rest), Tally()).items():
                counts.add_metric((OTHER, label), count)
        yield from (status, condition, tenants, waiting, start, progress, following, wave, gate, rollback)

    def _chosen(self) -> tuple[list[UpgradeFigures], list[UpgradeFigures]]:
        """Return the upgrades that are exported by name (live ones first, then those that ended last), and the others."""
        newest = datetime.max.replace(tzinfo=UTC)
        oldest = self._now() - KEPT_AFTER_END
        shown = [
            one
            for one in self.figures.values()
            if one.completion_time is None or one.completion_time >= oldest or one.conditions.get(LASTING_CONDITION)
        ]
        shown.sort(key=lambda one: (one.completion_time or newest, one.upgrade), reverse=True)
        return shown[:LARGEST_COUNT], shown[LARGEST_COUNT:]


def _tenants(figures: UpgradeFigures) -> Mapping[str, int]:
    return figures.tenants


def _waiting(figures: UpgradeFigures) -> Mapping[str, int]:
    return figures.waiting
