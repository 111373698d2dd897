"""The alerts of the chart, judged by Prometheus itself: when each fires, and when it does not."""

from __future__ import annotations

import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import yaml
from localcluster.binaries import resolve

from support.chart import CHART

ALERTS: list[dict[str, Any]] = yaml.safe_load((CHART / "alerts.yaml").read_text())["alerts"]
SKEW = 'tenantwave_upgrade_condition{type="VersionSkewExceeded",upgrade="shop-2-4-0"}'
LATE = "tenantwave_tenants_past_deadline"
OVERRIDE = 'tenantwave_overrides_active{type="OverrideWindow"}'
LABELS = {
    "TenantwaveVersionSkewExceeded": {"severity": "warning", "type": "VersionSkewExceeded", "upgrade": "shop-2-4-0"},
    "TenantwaveTenantsPastDeadline": {"severity": "warning"},
    "TenantwaveOverrideActive": {"severity": "info", "type": "OverrideWindow"},
    "TenantwaveSnapshotsNearLimit": {"severity": "warning"},
}


def rules_file(folder: Path) -> Path:
    """Write the alerts as the chart's PrometheusRule has them."""
    rules = [
        {"alert": alert["alert"], "expr": alert["expr"], "for": alert["for"], "labels": {"severity": alert["severity"]}} for alert in ALERTS
    ]
    file = folder / "rules.yaml"
    file.write_text(yaml.safe_dump({"groups": [{"name": "tenantwave", "rules": rules}]}))
    return file


@pytest.mark.parametrize(
    ("alert", "series", "values", "minute", "fires"),
    [
        pytest.param("TenantwaveVersionSkewExceeded", SKEW, "1x60", 14, False, id="too many versions, not for long"),
        pytest.param("TenantwaveVersionSkewExceeded", SKEW, "1x60", 16, True, id="too many versions"),
        pytest.param("TenantwaveVersionSkewExceeded", SKEW, "1x10 0x50", 30, False, id="few versions again"),
        pytest.param("TenantwaveTenantsPastDeadline", LATE, "0x10 2x100", 65, False, id="late, not for long"),
        pytest.param("TenantwaveTenantsPastDeadline", LATE, "0x10 2x100", 75, True, id="late"),
        pytest.param("TenantwaveOverrideActive", OVERRIDE, "0x5 1x60", 4, False, id="no override yet"),
        pytest.param("TenantwaveOverrideActive", OVERRIDE, "0x5 1x60", 7, True, id="an override"),
        pytest.param(
            "TenantwaveVersionSkewExceeded", SKEW.replace("VersionSkewExceeded", "Ready"), "1x60", 30, False, id="another condition"
        ),
    ],
)
def test_an_alert_fires_when_it_should(alert: str, series: str, values: str, minute: int, fires: bool, tmp_path: Path) -> None:
    """By `promtool test rules`."""
    judge(alert, {series: values}, minute, fires, tmp_path)


@pytest.mark.parametrize(
    ("needed", "unneeded", "minute", "fires"),
    [
        pytest.param("700x90", "90x90", 80, False, id="below four fifths"),
        pytest.param("700x90", "110x90", 50, False, id="above, not for long"),
        pytest.param("700x90", "110x90", 70, True, id="above, needed or not"),
        pytest.param("810x30 0x60", "0x90", 80, False, id="room again"),
    ],
)
def test_snapshots_near_their_limit_are_told_before_preflights_are_refused(
    needed: str, unneeded: str, minute: int, fires: bool, tmp_path: Path
) -> None:
    """Whatever a standby exports besides, nothing is counted twice."""
    series = {
        f'tenantwave_snapshot_bytes{{pod="{pod}",state="{state}"}}': values
        for pod in ("a", "b")
        for state, values in (("Needed", needed), ("Unneeded", unneeded))
    }
    judge("TenantwaveSnapshotsNearLimit", series | {'tenantwave_snapshot_limit_bytes{pod="a"}': "1000x90"}, minute, fires, tmp_path)


def judge(alert: str, series: Mapping[str, str], minute: int, fires: bool, tmp_path: Path) -> None:
    """Assert by Prometheus itself whether an alert fires in that minute."""
    expected = [{"exp_labels": LABELS[alert]}] if fires else []
    case = {
        "interval": "1m",
        "input_series": [{"series": name, "values": values} for name, values in series.items()],
        "alert_rule_test": [{"eval_time": f"{minute}m", "alertname": alert, "exp_alerts": expected}],
    }
    file = tmp_path / "test.yaml"
    file.write_text(yaml.safe_dump({"rule_files": [str(rules_file(tmp_path))], "evaluation_interval": "1m", "tests": [case]}))
    done = subprocess.run([resolve("promtool"), "test", "rules", str(file)], capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
