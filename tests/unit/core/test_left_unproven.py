"""A tenant that a deleted upgrade left on its version before it was proven is judged by whichever upgrade asks for that version next."""

from __future__ import annotations

from dataclasses import replace

import pytest

from builders import (
    CANARY,
    NEW,
    NOON,
    OLD,
    RUN,
    UPGRADE,
    a_journal,
    a_policy,
    a_record,
    a_status,
    a_tenant,
    a_view,
    a_world,
    an_action,
    an_upgrade,
)
from tenantwave.api.meta import run_id, tenant_run_name
from tenantwave.api.tenant_run import TenantRunStatus, TenantState
from tenantwave.core.journal import WaveProgress
from tenantwave.core.plan import Deed, Plan
from tenantwave.core.planner import decide
from tenantwave.core.world import Claim, StoredRun, Tenant, VersionRecord, World

S = TenantState
GONE_UID = "gone1bb1-0000-4000-8000-000000000000"
GONE = run_id("another-name", GONE_UID, 1, 1)
LEFT = replace(a_record(OLD), unproven={NEW: GONE})
REST = {"product": "shop"}


def shown(name: str, status: TenantRunStatus | None, record: VersionRecord | None, **fields: object) -> Tenant:
    return a_tenant(name, status, record=record, components=(a_view(at_release=True),), **fields)  # type: ignore[arg-type]


def world_of(canary: Tenant, *, running: str = "canary", **fields: object) -> World:
    policy = a_policy()
    other = a_tenant("other", a_status(S.QUEUED, wave="rest"), labels=REST)
    journal = a_journal(policy, {"canary": [canary.name], "rest": ["other"]}, running=running)
    return a_world([canary, other], policy=policy, journal=journal, **fields)  # type: ignore[arg-type]


def moved(plan: Plan, tenant: str = "acme") -> TenantRunStatus | None:
    return next((move.status for move in plan.moves if move.tenant == tenant), None)


@pytest.mark.parametrize("state", [S.QUEUED, S.WAITING])
@pytest.mark.parametrize(
    ("record", "is_recorded"),
    [
        pytest.param(LEFT, False, id="left unproven by a run of ours"),
        pytest.param(replace(LEFT, unproven={"2.3.9": GONE}), True, id="another version was left unproven"),
        pytest.param(a_record(OLD), True, id="somebody else brought it there"),
        pytest.param(None, True, id="no record"),
    ],
)
def test_what_nobody_has_proven_is_not_already_at_the_release(state: TenantState, record: VersionRecord | None, is_recorded: bool) -> None:
    """It soaks without a write; only then, and not at once, the next wave begins."""
    plan = decide(world_of(shown("acme", a_status(state), record)), NOON)
    assert [step.deed for step in plan.steps if step.tenant == "acme"] == ([Deed.LET_GO] if is_recorded else [])
    status = moved(plan)
    if is_recorded:
        assert status is None
        return
    assert status is not None
    assert (status.state, status.converged_time, status.written) == (S.SOAKING, NOON, True)
    assert status.message == f"runs {NEW} since an earlier run; it must stay healthy"
    waves = (plan.journal or world_of(shown("acme", None, None)).journal).run.waves  # type: ignore[union-attr]
    assert [wave.progress for wave in waves] == [WaveProgress.RUNNING, WaveProgress.QUEUED]


def test_what_no_longer_shows_the_release_is_upgraded_like_any_other() -> None:
    """There is nothing to judge."""
    status = moved(decide(world_of(a_tenant("acme", a_status(), record=LEFT)), NOON))
    assert status is not None
    assert (status.state, status.written) == (S.PREFLIGHT, False)


@pytest.mark.parametrize("holds", [True, False], ids=["another upgrade has it", "another upgrade was first to ask"])
def test_two_upgrades_do_not_judge_it_at_once(holds: bool) -> None:
    """It is taken up like at any start."""
    claim = Claim(
        "older", "older-1", holds, waits=not holds, running=True, creation_time=NOON.replace(year=2025), product="shop", version=NEW
    )
    status = moved(decide(world_of(shown("acme", a_status(), LEFT, claims=(claim,))), NOON))
    assert status is not None
    assert (status.state, status.reason, status.written) == (S.WAITING, "TenantBusy", False)


def test_a_suspended_upgrade_leaves_it_as_it_is() -> None:
    """It only plans."""
    base = an_upgrade()
    assert base.spec is not None
    suspended = replace(base, spec=base.spec.model_copy(update={"suspend": True}))
    plan = decide(world_of(shown("acme", a_status(), LEFT), upgrade=suspended), NOON)
    assert [step for step in plan.steps if step.deed is Deed.LET_GO] == []
    status = moved(plan)
    assert status is None or status.state is S.WAITING


def test_an_upgrade_that_is_made_again_plans_it_as_unproven_too() -> None:
    """Its TenantRun of before is there still, and tells nothing that the record does not."""
    former = StoredRun(
        tenant_run_name(UPGRADE, "acme"),
        "old",
        "1",
        UPGRADE,
        GONE_UID,
        a_status(S.ORPHANED, run=run_id(UPGRADE, GONE_UID, 1, 1), written=True),
    )
    world = world_of(replace(shown("acme", None, LEFT, labels=CANARY), run=former))
    status = moved(decide(world, NOON))
    assert status is not None
    assert (status.state, status.run) == (S.QUEUED, RUN)
    stored = replace(world.tenants["acme"], run=replace(former, upgrade_uid=world.upgrade.uid, status=status))
    after = moved(decide(replace(world, tenants={**world.tenants, "acme": stored}), NOON))
    assert after is not None
    assert after.state is S.SOAKING


def test_an_abort_leaves_it_to_a_person() -> None:
    """What stood before is on record with the run that is gone: to say `RolledBack` would be a lie."""
    soaking = moved(decide(world_of(shown("acme", a_status(), LEFT)), NOON))
    assert soaking is not None
    world = world_of(shown("acme", soaking, LEFT), actions=[an_action("Abort")])
    plan = decide(world, NOON)
    for _ in range(2):
        status = moved(plan)
        if status is not None:
            break
        plan = decide(replace(world, journal=plan.journal), NOON)
    assert status is not None
    assert (status.state, status.reason) == (S.HELD, "ForwardOnly")
    assert f"run {GONE}, whose upgrade is gone, wrote {NEW} and not this one" in status.message


@pytest.mark.parametrize(
    ("marked_by", "deeds"),
    [("", [Deed.LET_GO]), ("run-acme", [Deed.LET_GO]), ("gone", [])],
    ids=["no marker", "our own marker", "of a TenantRun that is gone"],
)
def test_what_carries_the_marker_of_another_run_is_not_already_at_the_release(marked_by: str, deeds: list[Deed]) -> None:
    """Somebody deleted its TenantRun in mid-run: the preflight finds who has the tenant (TenantBusy), and nothing is recorded as proven."""
    tenant = a_tenant("acme", a_status(), components=(a_view(at_release=True, marked_by=marked_by),))
    plan = decide(world_of(tenant), NOON)
    assert [step.deed for step in plan.steps if step.tenant == "acme"] == deeds
    status = moved(plan)
    assert (status.state if status is not None else None) == (None if deeds else S.PREFLIGHT)
