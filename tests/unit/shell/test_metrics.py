"""The metrics have the names of the contract, and a bounded number of series."""

from __future__ import annotations

import re
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from tenantwave.shell.metrics import PrometheusTelemetry
from tenantwave.telemetry import Telemetry, UpgradeFigures

NOON = datetime(2026, 2, 3, 12, tzinfo=UTC)

NAMES = [
    "upgrade_status",
    "upgrade_condition",
    "upgrade_tenants",
    "upgrade_waiting_tenants",
    "upgrade_start_timestamp_seconds",
    "upgrade_last_progress_timestamp_seconds",
    "upgrade_next_timestamp_seconds",
    "wave_state",
    "gate_verdict",
    "rollback_oldest_age_seconds",
    "overrides_active",
    "product_tenants",
    "tenant_runs_total",
    "tenant_run_seconds",
    "tenants_past_deadline",
    "notify_latency_seconds",
    "rollbacks_total",
    "config_keys_total",
    "gate_evaluations_total",
    "prometheus_queries_total",
    "prometheus_query_seconds",
    "leader",
    "leader_transitions_total",
    "lease_age_seconds",
    "reconcile_seconds",
    "reconcile_errors_total",
    "queue_depth",
    "queue_oldest_age_seconds",
    "queue_retries_total",
    "watch_age_seconds",
    "cache_objects",
    "watch_relists_total",
    "api_requests_total",
    "api_request_seconds",
    "snapshots",
    "snapshot_bytes",
    "snapshot_limit_bytes",
    "retention_deletions_total",
    "status_writes_total",
    "events_total",
    "event_loop_lag_seconds",
    "clock_skew_seconds",
    "build_info",
]


def an_upgrade(name: str, *, ended: datetime | None = None) -> UpgradeFigures:
    return UpgradeFigures(
        upgrade=name,
        product="shop",
        reason="WaveRunning",
        conditions={"Ready": False},
        tenants={"Soaking": 2},
        waiting={"OutsideWindow": 1},
        waves={"canary": "Running"},
        gates={"errors": "Healthy"},
        start_time=NOON,
        last_progress_time=NOON,
        next_time=NOON,
        completion_time=ended,
        oldest_rollback=timedelta(minutes=2),
    )


def count_all(telemetry: Telemetry) -> None:
    """Call every method of the port once."""
    telemetry.upgrade(an_upgrade("shop-2-4-0"))
    telemetry.fleet({("shop", "2.3.1"): 8}, 1, {"OverrideWindow": 1})
    telemetry.tenant_run("shop", "Succeeded")
    telemetry.tenant_run_step("Soaking", 60)
    telemetry.notify_latency(3)
    telemetry.rollback("shop", "Wave", "GateFailed")
    telemetry.config_keys(["kept", "merged", "kept"])
    telemetry.gate_evaluation("Healthy", "Hold")
    telemetry.prometheus_query("ok", 0.1)
    telemetry.status_write("TenantUpgrade")
    telemetry.snapshots("Needed", 12, 4096)
    telemetry.retention("Secret")
    telemetry.api_request("get", "ConfigMap", 200, 0.01)
    telemetry.clock_skew(0.5)
    telemetry.watch_relist("Namespace", "Start")
    telemetry.cache_objects("Namespace", 8)
    telemetry.queue_retry("upgrade")
    telemetry.reconcile("upgrade", 0.02, "Conflict")
    telemetry.event("Normal", "WaveStarted")


def rendered(telemetry: PrometheusTelemetry) -> str:
    return telemetry.render()[0].decode()


def test_every_metric_of_the_contract_is_there_under_its_name() -> None:
    telemetry = PrometheusTelemetry("0.1.0", now=lambda: NOON)
    count_all(telemetry)
    telemetry.leader_transition()
    telemetry.loop_lag(0.01)
    for name in ("leader", "lease_age_seconds", "queue_depth", "queue_oldest_age_seconds", "watch_age_seconds", "snapshot_limit_bytes"):
        telemetry.read(name, "Read when asked.", (), lambda: {(): 1.0})
    families = set(re.findall(r"^# TYPE (?:tenantwave_)(\w+) ", rendered(telemetry), re.MULTILINE))
    assert {name for name in families if not name.endswith("_created")} == set(NAMES)


def test_a_forgotten_upgrade_is_not_exported() -> None:
    telemetry = PrometheusTelemetry("0.1.0", now=lambda: NOON)
    telemetry.upgrade(an_upgrade("shop-2-4-0"))
    assert 'tenantwave_upgrade_tenants{state="Soaking",upgrade="shop-2-4-0"} 2.0' in rendered(telemetry)
    telemetry.forget_upgrade("shop-2-4-0")
    assert "shop-2-4-0" not in rendered(telemetry)


def test_fifty_upgrades_have_names_the_live_ones_first_and_the_rest_is_summed() -> None:
    telemetry = PrometheusTelemetry("0.1.0", now=lambda: NOON)
    for number in range(60):
        telemetry.upgrade(an_upgrade(f"live-{number}" if number < 45 else f"ended-{number}", ended=None if number < 45 else NOON))
    telemetry.upgrade(an_upgrade("long-ago", ended=NOON - timedelta(hours=25)))
    text = rendered(telemetry)
    names = set(re.findall(r'tenantwave_upgrade_status\{.*?upgrade="([\w-]+)"', text))
    assert len(names) == 50
    assert {f"live-{number}" for number in range(45)} < names
    assert 'tenantwave_upgrade_tenants{state="Soaking",upgrade="_other"} 20.0' in text
    assert "long-ago" not in text


@pytest.mark.parametrize(("skewed", "shown"), [(True, True), (False, False)], ids=["too many versions", "few versions"])
def test_an_ended_upgrade_is_exported_as_long_as_too_many_versions_run(skewed: bool, shown: bool) -> None:
    """Else its alert would end by itself after a day, with the tenants still left behind."""
    telemetry = PrometheusTelemetry("0.1.0", now=lambda: NOON)
    telemetry.upgrade(replace(an_upgrade("long-ago", ended=NOON - timedelta(days=30)), conditions={"VersionSkewExceeded": skewed}))
    assert ('tenantwave_upgrade_condition{type="VersionSkewExceeded",upgrade="long-ago"} 1.0' in rendered(telemetry)) is shown


def test_versions_beyond_the_fifty_largest_are_summed() -> None:
    telemetry = PrometheusTelemetry("0.1.0")
    telemetry.fleet({("shop", f"1.{number}"): 100 - number for number in range(60)}, 0, {})
    assert 'tenantwave_product_tenants{product="_other",version="_other"} 455.0' in rendered(telemetry)
