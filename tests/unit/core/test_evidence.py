"""Who is measured, as what, and who the waves are compared with."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from builders import MINUTE, NEW, NOON, OLD, a_journal, a_policy, a_record, a_status, a_tenant, a_view, a_world, after
from tenantwave.api.tenant_run import TakeBack, TenantRunStatus, TenantState
from tenantwave.core.gates import GateContext, Role, TenantInContext
from tenantwave.core.planner import decide
from tenantwave.core.world import Claim, ComponentView, Tenant, VersionRecord, World

S = TenantState

CONVERGED: dict[str, Any] = {"written": True, "converged_time": NOON, "start_time": NOON - MINUTE}
TAKEN_BACK: dict[str, Any] = {
    "written": False,
    "rolled_back_version": NEW,
    "completion_time": NOON,
    "start_time": NOON - 5 * MINUTE,
    "take_back": TakeBack(cause="GateFailed", time=NOON - MINUTE),
}
OTHER_HAS_IT = Claim("blog-1", "blog-1-y-1-a1", True, False, True, NOON, "blog", "1.0")
OTHER_WAITS = replace(OTHER_HAS_IT, holds=False, waits=True)


def context(world: World, *, minutes: int = 1) -> GateContext:
    """Return what is to be measured."""
    found = decide(world, NOON + minutes * MINUTE).gate_context
    assert found is not None
    return found


def about(*tenants: Tenant, running: str = "canary", done: str = "") -> World:
    """Return a world whose wave canary runs with these tenants; `done` is a wave that has passed before it."""
    policy = a_policy(gated=True)
    return a_world(
        tenants, policy=policy, journal=a_journal(policy, {"canary": [tenant.name for tenant in tenants], "rest": []}, running=running)
    )


@pytest.mark.parametrize(
    ("status", "role"),
    [
        pytest.param(a_status(S.SOAKING, **CONVERGED), Role.COUNTED, id="soaks"),
        pytest.param(a_status(S.SUCCEEDED, **CONVERGED), Role.COUNTED, id="succeeded"),
        pytest.param(a_status(S.HELD, **CONVERGED, reason="GateFailed"), Role.OUT, id="held as it is"),
        pytest.param(a_status(S.ROLLING_BACK, **CONVERGED), Role.OUT, id="going back"),
        pytest.param(a_status(S.ROLLBACK_FAILED, **CONVERGED, reason="Recreated"), Role.OUT, id="could not be taken back"),
        pytest.param(a_status(S.ROLLED_BACK, **TAKEN_BACK), Role.TAKEN_BACK, id="taken back"),
        pytest.param(a_status(S.ROLLED_BACK, **TAKEN_BACK | {"rolled_back_version": ""}), None, id="taken back before anything landed"),
        pytest.param(a_status(S.SUCCEEDED, written=False, reason="AlreadyAtRelease"), None, id="ran the release before"),
        pytest.param(a_status(S.CONVERGING), None, id="in flight"),
        pytest.param(a_status(S.WAITING), None, id="waits"),
    ],
)
def test_what_a_tenant_is_to_the_gates(status: TenantRunStatus, role: Role | None) -> None:
    """Who runs what this run wrote is counted; who is on the way back, or held, is not asked for; who is back is judged once more."""
    (found,) = context(about(a_tenant("acme", status))).tenants or (None,)
    assert (found.role if found is not None else None) is role


def test_windows_begin_after_the_warm_up() -> None:
    """Of a tenant that was taken back: after the end of its rollback. The baseline is of before the first write of the first attempt."""
    soaks = a_tenant("acme", a_status(S.SOAKING, **CONVERGED))
    back = a_tenant("bolt", a_status(S.ROLLED_BACK, **TAKEN_BACK))
    found = {tenant.name: tenant for tenant in context(about(soaks, back)).tenants}
    assert found["acme"] == TenantInContext("acme", "canary", after(minutes=1), NOON - MINUTE, Role.COUNTED, is_proven=False)
    assert found["bolt"] == TenantInContext("bolt", "canary", after(minutes=1), NOON - 5 * MINUTE, Role.TAKEN_BACK)


@pytest.mark.parametrize(
    ("minutes", "claims", "expected"),
    [
        pytest.param(9, (), True, id="within ten minutes"),
        pytest.param(10, (), False, id="after ten minutes it is let be"),
        pytest.param(5, (OTHER_HAS_IT,), False, id="another upgrade has it: its numbers are that one's"),
    ],
)
def test_who_was_taken_back_is_asked_for_ten_minutes(minutes: int, claims: tuple[Claim, ...], expected: bool) -> None:
    """And in the end what could not be judged is recorded as that."""
    world = about(a_tenant("acme", a_status(S.ROLLED_BACK, **TAKEN_BACK), claims=claims))
    assert bool(context(world, minutes=minutes).tenants) is expected
    recorded = [move.status.after_rollback for move in decide(world, NOON + 10 * MINUTE).moves if move.tenant == "acme"]
    assert [shown.verdict for shown in recorded if shown is not None] == ["Unknown"]


def test_a_long_interval_gives_more_time_afterwards() -> None:
    """Ten minutes would be over before the first look."""
    policy = a_policy(gated=True, evaluation={"interval": "5m", "warmUp": "5m"})
    tenant = a_tenant("acme", a_status(S.ROLLED_BACK, **TAKEN_BACK))
    world = a_world([tenant], policy=policy, journal=a_journal(policy, {"canary": ["acme"], "rest": []}, running="canary"))
    assert context(world, minutes=34).tenants
    assert not context(world, minutes=35).tenants


def control_with(status: TenantRunStatus, **fields: Any) -> tuple[str, ...]:
    """Return the control of a wave where acme soaks and `other` stands as said."""
    return context(about(a_tenant("acme", a_status(S.SOAKING, **CONVERGED)), a_tenant("other", status, **fields))).control


CHANGED = replace(a_record("2.3.2"), since=after(minutes=1))
STAYS_OLD: tuple[ComponentView, ...] = (a_view(), a_view("worker"))


@pytest.mark.parametrize(
    ("status", "fields", "expected"),
    [
        pytest.param(a_status(S.QUEUED, from_version=OLD), {}, True, id="queued"),
        pytest.param(a_status(S.WAITING), {}, True, id="waits"),
        pytest.param(a_status(S.SKIPPED, reason="OptedOut"), {}, True, id="opted out"),
        pytest.param(a_status(S.SKIPPED, reason="IncompatibleVersion", from_version="1.0"), {"record": a_record("1.0")}, True, id="on 1.0"),
        pytest.param(a_status(S.WAITING), {"record": a_record()}, True, id="its version is on record"),
        pytest.param(a_status(S.WAITING), {"record": CHANGED}, False, id="its version has changed since the plan"),
        pytest.param(a_status(S.WAITING, written=True), {}, False, id="an earlier run wrote it"),
        pytest.param(a_status(S.SUCCEEDED, written=False, reason="AlreadyAtRelease"), {}, False, id="ran the release before"),
        pytest.param(a_status(S.WAITING), {"components": (a_view(at_release=True),)}, False, id="shows the release"),
        pytest.param(a_status(S.WAITING), {"components": (a_view(present=False),)}, False, id="nothing of it is seen"),
        pytest.param(a_status(S.WAITING), {"claims": (OTHER_HAS_IT,)}, False, id="another upgrade has it"),
        pytest.param(a_status(S.WAITING), {"claims": (OTHER_WAITS,)}, True, id="another upgrade only waits for it"),
        pytest.param(a_status(S.PREFLIGHT), {}, False, id="its turn has come"),
        pytest.param(a_status(S.ROLLED_BACK, **TAKEN_BACK), {}, False, id="was taken back"),
        pytest.param(a_status(S.HELD, written=False, reason="ConfigConflict"), {}, False, id="held"),
        pytest.param(a_status(S.SKIPPED, reason="Superseded"), {}, False, id="a younger upgrade takes it"),
        pytest.param(a_status(S.SKIPPED, reason="Unselected"), {"selected": False}, False, id="no longer selected"),
        pytest.param(a_status(S.WAITING), {"terminating": True}, False, id="is being deleted"),
    ],
)
def test_who_is_in_the_control(status: TenantRunStatus, fields: dict[str, Any], expected: bool) -> None:
    """Only who still runs its old version, and is in nobody's hands."""
    assert control_with(status, **fields) == (("other",) if expected else ())


def test_the_control_is_a_stable_sample() -> None:
    """At most 1,000; one that leaves makes room for one other."""
    waiting = [a_tenant(f"t{number:04}", a_status(S.WAITING, wave="rest")) for number in range(1500)]
    policy = a_policy(gated=True)
    soaks = a_tenant("acme", a_status(S.SOAKING, **CONVERGED))
    journal = a_journal(policy, {"canary": ["acme"], "rest": [tenant.name for tenant in waiting]}, running="canary")
    before = context(a_world([soaks, *waiting], policy=policy, journal=journal)).control
    gone = replace(waiting[int(before[0][1:])], claims=(OTHER_HAS_IT,))
    after_it = context(
        a_world([soaks, *(gone if tenant.name == gone.name else tenant for tenant in waiting)], policy=policy, journal=journal)
    )
    assert len(before) == len(after_it.control) == 1000
    assert len(set(before) - set(after_it.control)) == 1


def test_nobody_is_compared_once_the_run_ends() -> None:
    """Nor asked: an upgrade that is over costs no query."""
    policy = a_policy(gated=True)
    journal = a_journal(policy, {"canary": ["acme"], "rest": ["other"]}, running="canary", completion_time=NOON)
    tenants = [a_tenant("acme", a_status(S.SUCCEEDED, **CONVERGED)), a_tenant("other", a_status(S.SKIPPED, wave="rest"))]
    found = context(a_world(tenants, policy=policy, journal=journal))
    assert (found.tenants, found.control) == ((), ())


def test_a_record_without_a_version_says_nothing() -> None:
    """Then the components alone tell what the tenant runs."""
    record = VersionRecord("", "", NOON - timedelta(days=1))
    assert control_with(a_status(S.WAITING, from_version=""), record=record) == ("other",)
