"""The orders that a person is offered: what fits the state, as commands that the API server takes as they are."""

from __future__ import annotations

import json

import pytest

from builders import a_status
from tenantwave.api.action import UpgradeActionSpec
from tenantwave.api.run_records import Difference
from tenantwave.api.tenant_run import TenantState
from tenantwave.core.advice import WHY, advised

S = TenantState

TABLE: dict[str, tuple[TenantState, bool, str, list[str]]] = {
    "held before a write, mends itself": (S.HELD, False, "ConfigConflict", ["SkipTenant"]),
    "held before a write, waits for a person": (S.HELD, False, "SnapshotCorrupt", ["Retry", "SkipTenant"]),
    "held after a write": (S.HELD, True, "Mutated", ["Retry", "Rollback", "AcceptLive", "ForcePreImage"]),
    "rollback failed": (S.ROLLBACK_FAILED, True, "Ambiguous", ["Rollback", "ForcePreImage", "AcceptLive"]),
    "going back": (S.ROLLING_BACK, True, "GateFailed", []),
    "soaking": (S.SOAKING, True, "InProgress", []),
    "waiting": (S.WAITING, False, "OutsideWindow", []),
}


@pytest.mark.parametrize(("state", "written", "reason", "expected"), TABLE.values(), ids=TABLE)
def test_the_orders_fit_the_state(state: TenantState, written: bool, reason: str, expected: list[str]) -> None:
    """Each is an UpgradeAction that the models take, for this run and this tenant."""
    status = advised(a_status(state, written=written, reason=reason), "shop", "acme")
    offered = []
    for command in status.commands:
        assert command.startswith("echo '")
        assert command.endswith("' | kubectl create -f -")
        body = json.loads(command.removeprefix("echo '").removesuffix("' | kubectl create -f -"))
        spec = UpgradeActionSpec.model_validate(body["spec"])
        assert (spec.upgrade, spec.run, spec.tenants) == ("shop", status.run, ("acme",))
        assert spec.reason in ("", WHY)
        offered.append(str(spec.resolution or spec.type))
    assert offered == expected


def test_a_command_is_bounded() -> None:
    """The longest names there can be."""
    longest = advised(a_status(S.ROLLBACK_FAILED, written=True, run="r" * 63), "u" * 40, "t" * 63)
    assert all(len(command) <= 1024 for command in longest.commands)


@pytest.mark.parametrize(("state", "count"), [(S.ROLLBACK_FAILED, 1), (S.ROLLING_BACK, 1), (S.ROLLED_BACK, 0), (S.SUCCEEDED, 0)])
def test_what_is_left_to_take_back_goes_with_the_rollback(state: TenantState, count: int) -> None:
    """Once it is settled nothing is left."""
    status = a_status(state, differences=(Difference(kind="ConfigMap", name="app-config"),))
    assert len(advised(status, "shop", "acme").differences) == count
