"""A version that was rolled back in a tenant is not tried there again without Retry or a new run."""

from __future__ import annotations

from dataclasses import replace

import pytest

from builders import (
    NEW,
    NOON,
    OLD,
    RUN,
    UID,
    UPGRADE,
    a_journal,
    a_policy,
    a_record,
    a_spec,
    a_status,
    a_tenant,
    a_world,
    an_action,
    an_upgrade,
)
from builders import after as later
from tenantwave.api.meta import run_id, tenant_run_name
from tenantwave.api.tenant_run import TenantRunStatus, TenantState
from tenantwave.core.journal import EndReason, Journal, TakeBackOrder
from tenantwave.core.passes.runs import meaning
from tenantwave.core.plan import Plan
from tenantwave.core.planner import decide
from tenantwave.core.world import Claim, StoredRun, Tenant, VersionRecord, World

S = TenantState
GONE_UID = "gone1bb1-0000-4000-8000-000000000000"
GONE = run_id(UPGRADE, GONE_UID, 1, 1)
ELSEWHERE = run_id("desk-fix", GONE_UID, 3, 2)
HELD = (S.HELD, "AlreadyRolledBack")
PLANNED = (S.QUEUED, "WaveQueued")


def rolled_back(version: str = NEW, run: str = GONE) -> VersionRecord:
    """Return the record of a tenant in which a run took a version back."""
    return replace(a_record(OLD), rolled_back={version: run})


def left_by(run: str = GONE, state: TenantState = S.ROLLED_BACK, **fields: object) -> TenantRunStatus:
    """Return where the run of an upgrade that is gone left a tenant."""
    reverted = {"reason": "GateFailed", "rolled_back_version": NEW} if state is S.ROLLED_BACK else {}
    return a_status(state, run=run, **(reverted | fields))  # type: ignore[arg-type]


def gone_journal(spec_version: str = NEW, run: str = GONE) -> Journal:
    """Return the journal that an upgrade of this name left when it was deleted."""
    journal = a_journal(a_policy(), {"canary": ["acme"]}, running="canary", id=run, spec_digest=meaning(a_spec(spec_version)))
    return journal.model_copy(update={"upgrade_uid": GONE_UID})


def a_former_run(status: TenantRunStatus | None) -> StoredRun | None:
    return StoredRun(tenant_run_name(UPGRADE, "acme"), "old", "1", UPGRADE, GONE_UID, status) if status is not None else None


def planned(journal: Journal | None, tenant: Tenant) -> TenantRunStatus:
    """Return the tenant's first status in the run that follows, decision by decision until it has its place."""
    world = a_world([tenant], journal=journal)
    for _ in range(3):
        plan = decide(world, NOON)
        if plan.moves:
            (move,) = plan.moves
            return move.status
        world = replace(world, journal=plan.journal)
    raise AssertionError("the tenant got no place in the plan")


@pytest.mark.parametrize(
    ("journal", "status", "record", "expected"),
    [
        pytest.param(gone_journal(), left_by(), rolled_back(), HELD, id="deleted and made again"),
        pytest.param(gone_journal(), None, rolled_back(), HELD, id="made again, its TenantRun is lost"),
        pytest.param(gone_journal(), left_by(), None, HELD, id="made again, the record is lost"),
        pytest.param(
            gone_journal(), left_by(state=S.HELD, reason="AlreadyRolledBack", rolled_back_version=NEW), rolled_back(run="older"), HELD,
            id="made again twice",
        ),
        pytest.param(gone_journal("2.4.1"), left_by(), rolled_back(), PLANNED, id="made again with another meaning"),
        pytest.param(gone_journal(), left_by(state=S.QUEUED), None, PLANNED, id="made again, never tried here"),
        pytest.param(
            gone_journal(run=run_id(UPGRADE, GONE_UID, 1, 2)),
            left_by(run_id(UPGRADE, GONE_UID, 1, 2), S.QUEUED, retry_of=GONE),
            rolled_back(),
            PLANNED,
            id="made again while a Retry was about to try it",
        ),
        pytest.param(gone_journal(), None, rolled_back(run=ELSEWHERE), PLANNED, id="made again, rolled back here by another upgrade"),
        pytest.param(gone_journal(), left_by(), rolled_back("2.3.9"), HELD, id="made again, the record forgot"),
        pytest.param(None, None, rolled_back(run=ELSEWHERE), PLANNED, id="a second upgrade that is planned afterwards"),
        pytest.param(None, None, rolled_back("2.3.9"), PLANNED, id="another version"),
        pytest.param(None, None, None, PLANNED, id="never rolled back"),
    ],
)  # fmt: skip
def test_what_an_upgrade_that_is_made_does_where_its_version_was_rolled_back(
    journal: Journal | None, status: TenantRunStatus | None, record: VersionRecord | None, expected: tuple[TenantState, str]
) -> None:
    """A file that moves in git is pruned and made again: that is no wish to try again. An edit, or another upgrade, is one."""
    got = planned(journal, a_tenant("acme", record=record, run=a_former_run(status)))
    assert (got.state, got.reason) == expected
    if expected == HELD:
        assert got.rolled_back_version == NEW
        assert f"shop {NEW} was rolled back here by run " in got.message
        assert "create an UpgradeAction Retry" in got.message
    else:
        assert got.retry_of == (record.rolled_back.get(NEW, "") if record is not None else "")


def test_who_shows_the_release_by_now_is_recorded_all_the_same() -> None:
    """Somebody brought it there: there is nothing to try."""
    there = a_tenant("acme").components[0]
    tenant = a_tenant("acme", record=rolled_back(), run=a_former_run(left_by()), components=(replace(there, at_release=True),))
    assert planned(gone_journal(), tenant).state is S.QUEUED


@pytest.mark.parametrize(
    ("at_release", "expected"), [(True, ["AlreadyAtRelease"]), (False, [])], ids=["it shows the release", "it does not"]
)
def test_who_is_held_is_recorded_when_it_shows_the_release(at_release: bool, expected: list[str]) -> None:
    """Somebody brought it there; else it waits for a person."""
    held = a_status(S.HELD, reason="AlreadyRolledBack", rolled_back_version=NEW)
    world = world_of(held, rolled_back())
    view = replace(world.tenants["acme"].components[0], at_release=at_release)
    world = replace(world, tenants={"acme": replace(world.tenants["acme"], components=(view,))})
    assert [step.outcome.reason for step in decide(world, NOON).steps if step.outcome is not None] == expected


def world_of(status: TenantRunStatus, record: VersionRecord | None = None, **fields: object) -> World:
    """Return a run whose canary wave has begun."""
    policy = a_policy()
    claims = fields.pop("claims", ())
    tenant = a_tenant("acme", status, record=record, claims=claims)
    journal = a_journal(policy, {"canary": ["acme"]}, running="canary")
    return a_world([tenant], policy=policy, journal=journal, **fields)  # type: ignore[arg-type]


def a_claim(*, holds: bool) -> Claim:
    return Claim("desk-fix", ELSEWHERE, holds, waits=False, running=True, creation_time=NOON, product="shop", version=NEW)


@pytest.mark.parametrize("state", [S.QUEUED, S.WAITING])
@pytest.mark.parametrize(
    ("record", "retry_of", "holds", "expected"),
    [
        pytest.param(rolled_back(run=ELSEWHERE), "", False, S.HELD, id="rolled back since it was planned"),
        pytest.param(rolled_back(run=ELSEWHERE), "", True, S.WAITING, id="the rollback goes on"),
        pytest.param(rolled_back(run=ELSEWHERE), ELSEWHERE, False, S.PREFLIGHT, id="known when it was planned: a new run"),
        pytest.param(rolled_back(run=ELSEWHERE), GONE, False, S.HELD, id="rolled back once more"),
        pytest.param(rolled_back("2.3.9", ELSEWHERE), "", False, S.PREFLIGHT, id="another version"),
        pytest.param(a_record(), "", False, S.PREFLIGHT, id="not rolled back"),
    ],
)
def test_two_upgrades_to_one_version_do_not_try_it_in_turn(
    state: TenantState, record: VersionRecord, retry_of: str, holds: bool, expected: TenantState
) -> None:
    """The one that waited learns from the other's failure."""
    plan = decide(world_of(a_status(state, retry_of=retry_of), record, claims=(a_claim(holds=holds),)), NOON)
    assert [move.status.state for move in plan.moves] == [expected]


def test_a_wave_of_tenants_that_are_held_so_stops_and_takes_nobody_back() -> None:
    """Nothing was written: Held, with what to do. The next wave does not start, however large the budget of it."""
    held = a_status(S.HELD, reason="AlreadyRolledBack", message="rolled back here", rolled_back_version=NEW)
    policy = a_policy()
    tenants = [a_tenant("acme", held, record=rolled_back()), a_tenant("beta", a_status(wave="rest"), labels={})]
    world = a_world(tenants, policy=policy, journal=a_journal(policy, {"canary": ["acme"], "rest": ["beta"]}, running="canary"))
    plan = decide(world, NOON)
    assert str(plan.summary.reason) == "Held"
    assert plan.moves == ()
    assert plan.journal is None or plan.journal.run.order is None


def ended(status: TenantRunStatus) -> World:
    """Return the world of a run that has ended by taking back its canary."""
    policy = a_policy()
    order = TakeBackOrder(reason=EndReason.WAVE_FAILED, wave="canary", message="wave canary failed", time=NOON)
    journal = a_journal(policy, {"canary": ["acme"]}, running="canary", order=order, completion_time=NOON)
    return a_world([a_tenant("acme", status, record=rolled_back(run=RUN))], policy=policy, journal=journal)


TAKEN_BACK = a_status(S.ROLLED_BACK, reason="GateFailed", rolled_back_version=NEW, completion_time=NOON)


def settled(world: World) -> Plan:
    """Return the decision once what is merely noted (the journal) is stored."""
    plan = decide(world, NOON)
    return decide(replace(world, journal=plan.journal), NOON) if plan.journal is not None else plan


def test_what_git_applies_again_changes_nothing() -> None:
    """The same generation of the same object is the same run."""
    plan = settled(ended(TAKEN_BACK))
    assert (plan.moves, plan.steps) == ((), ())
    assert str(plan.summary.reason) == "RolledBack"


def test_retry_tries_again_and_says_of_what() -> None:
    """`retryOf` names the run that rolled the version back."""
    world = replace(ended(TAKEN_BACK), actions=(an_action("Retry"),))
    first = decide(world, NOON)
    plan = decide(replace(world, journal=first.journal, planned_policy=None, planned_spec=None, actions=()), later(seconds=1))
    (move,) = plan.moves
    assert (move.status.state, move.status.attempt, move.status.retry_of) == (S.QUEUED, 2, RUN)


def test_an_edit_is_a_new_run_and_tries_again() -> None:
    """Even with the same version: its components, its policy or its tenants are others."""
    edited = a_spec(policyRef={"name": "careful"})
    world = replace(ended(TAKEN_BACK), upgrade=an_upgrade(edited, generation=2))
    first = decide(world, NOON)
    plan = decide(replace(world, journal=first.journal, planned_policy=None, planned_spec=None), later(seconds=1))
    (move,) = plan.moves
    assert (move.status.state, move.status.run, move.status.retry_of) == (S.QUEUED, run_id(UPGRADE, UID, 2, 1), RUN)
