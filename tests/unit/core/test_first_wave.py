"""The first wave is there to meet the release first: without anybody who has, no other tenant is started."""

from __future__ import annotations

from dataclasses import replace

import pytest

from builders import NOON, a_journal, a_policy, a_status, a_tenant, a_world, an_upgrade
from tenantwave.api.tenant_run import TenantRunStatus, TenantState
from tenantwave.core.journal import Override, WaveProgress
from tenantwave.core.plan import Plan
from tenantwave.core.planner import decide
from tenantwave.core.world import World

S = TenantState
GONE = a_status(S.ORPHANED, reason="Deleted", message="namespace c1 is gone", written=True)
OTHER_VERSION = a_status(S.SKIPPED, reason="IncompatibleVersion", message="runs shop 1.0.0")
UNSELECTED = a_status(S.SKIPPED, reason="Unselected", message="namespace c1 is gone")
THERE = a_status(S.SUCCEEDED, reason="AlreadyAtRelease", written=False)
PROVEN = a_status(S.SUCCEEDED, reason="Upgraded")
SKIPPED = a_status(S.SKIPPED, reason="SkippedByAction", message="skipped by ann")
ACCEPTED = a_status(S.SKIPPED, reason="Resolved", message="resolved by ann")
REST = {"product": "shop"}


def world_of(*canaries: TenantRunStatus, running: str = "canary", others: TenantState = S.QUEUED) -> World:
    """Return a run with these canaries; one other tenant is in the wave after theirs."""
    policy = a_policy(
        ({"name": "canary", "selector": {"matchLabels": {"tenantwave.io/ring": "canary"}}, "failureBudget": 1}, {"name": "rest"})
    )
    names = [f"c{number}" for number in range(1, len(canaries) + 1)]
    tenants = [a_tenant(name, status) for name, status in zip(names, canaries, strict=True)]
    tenants.append(a_tenant("other", a_status(others, wave="rest"), labels=REST))
    return a_world(tenants, policy=policy, journal=a_journal(policy, {"canary": names, "rest": ["other"]}, running=running))


def first_passes(plan: Plan, world: World) -> bool:
    journal = plan.journal or world.journal
    assert journal is not None
    return journal.run.waves[0].progress is WaveProgress.PASSED


@pytest.mark.parametrize("running", ["canary", ""], ids=["it runs", "it has not begun"])
@pytest.mark.parametrize(
    ("canaries", "said"),
    [
        pytest.param((GONE,), "c1: Deleted: namespace c1 is gone", id="gone"),
        pytest.param((UNSELECTED,), "c1: Unselected: namespace c1 is gone", id="gone before it began"),
        pytest.param((OTHER_VERSION,), "c1: IncompatibleVersion: runs shop 1.0.0", id="on another version"),
        pytest.param((GONE, OTHER_VERSION), "c1: Deleted: namespace c1 is gone", id="gone, and on another version"),
    ],
)
def test_without_anybody_who_met_the_release_the_others_wait(running: str, canaries: tuple[TenantRunStatus, ...], said: str) -> None:
    """The upgrade stalls, and says what mends it."""
    world = world_of(*canaries, running=running)
    plan = decide(world, NOON)
    assert str(plan.summary.reason) == "EmptyFirstWave"
    assert said in plan.summary.message
    assert "create an UpgradeAction Retry" in plan.summary.message
    assert not first_passes(plan, world)


@pytest.mark.parametrize(
    "canaries",
    [
        pytest.param((THERE,), id="runs the release already"),
        pytest.param((GONE, PROVEN), id="one of two has been upgraded"),
        pytest.param((OTHER_VERSION, THERE), id="one of two runs it already"),
        pytest.param((GONE, SKIPPED), id="a person skipped one"),
        pytest.param((ACCEPTED,), id="a person accepted one as it is"),
    ],
)
def test_one_that_runs_it_or_a_persons_word_lets_the_wave_pass(canaries: tuple[TenantRunStatus, ...]) -> None:
    """Also while others wait."""
    world = world_of(*canaries)
    plan = decide(world, NOON)
    assert str(plan.summary.reason) != "EmptyFirstWave"


def test_an_override_of_the_gate_lets_it_pass() -> None:
    """A person has said so."""
    world = world_of(GONE)
    assert world.journal is not None
    wave = world.journal.run.waves[0].model_copy(
        update={"override": Override(person="ann", action="go", reason="CHG-4411", time=NOON, verdict="Unknown", said="nothing")}
    )
    run = world.journal.run.model_copy(update={"waves": (wave, *world.journal.run.waves[1:])})
    plan = decide(replace(world, journal=world.journal.model_copy(update={"run": run})), NOON)
    assert str(plan.summary.reason) != "EmptyFirstWave"


def test_without_others_who_wait_there_is_nobody_to_protect() -> None:
    """The run ends."""
    assert str(decide(world_of(GONE, others=S.SKIPPED), NOON).summary.reason) != "EmptyFirstWave"


@pytest.mark.parametrize("status", [a_status(S.QUEUED), a_status(S.WAITING, reason="OutsideWindow")], ids=["queued", "waiting"])
def test_a_wave_does_not_pass_in_the_look_in_which_its_last_tenant_goes(status: TenantRunStatus) -> None:
    """What is decided of the tenant and of the wave at one instant does not slip through between two rules."""
    world = world_of(status)
    gone = replace(world.tenants["c1"], exists=False, selected=False)
    world = replace(world, tenants={**world.tenants, "c1": gone})
    plan = decide(world, NOON)
    assert [(move.tenant, move.status.state) for move in plan.moves if move.tenant == "c1"] == [("c1", S.SKIPPED)]
    assert not first_passes(plan, world)


def test_a_deleted_upgrade_says_nothing_of_it() -> None:
    """It starts nobody any more."""
    world = replace(world_of(GONE), upgrade=replace(an_upgrade(), deletion_time=NOON, has_finalizer=True))
    assert str(decide(world, NOON).summary.reason) != "EmptyFirstWave"
