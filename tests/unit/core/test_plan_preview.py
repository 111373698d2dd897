"""A suspended upgrade has every tenant looked at, again and again, and says how many would be held."""

from __future__ import annotations

from datetime import timedelta

import pytest

from builders import MINUTE, NOON, a_journal, a_policy, a_spec, a_status, a_tenant, a_world, an_upgrade
from tenantwave.api.tenant_run import TenantPlan, TenantRunStatus, TenantState
from tenantwave.core.passes.previews import FOR_EACH, SELDOM, WHERE_HELD, WHERE_WELL
from tenantwave.core.plan import Deed, Plan
from tenantwave.core.planner import decide
from tenantwave.core.world import Upgrade

PLAN = TenantPlan(digest="sha256:" + "0" * 64)
PAUSED = "NotDrivable: Deployment api is paused"


def suspended(**statuses: TenantRunStatus) -> Plan:
    """Decide about a suspended upgrade with these tenants."""
    policy = a_policy()
    upgrade: Upgrade = an_upgrade(a_spec(suspend=True))
    tenants = [a_tenant(name, status) for name, status in statuses.items()]
    return decide(a_world(tenants, upgrade=upgrade, policy=policy, journal=a_journal(policy, {"canary": tuple(statuses)})), NOON + MINUTE)


@pytest.mark.parametrize(
    ("status", "every"),
    [
        pytest.param(a_status(), WHERE_HELD, id="never looked at"),
        pytest.param(a_status(preview_problem=PAUSED), WHERE_HELD, id="something stands against it"),
        pytest.param(a_status(preview=PLAN), WHERE_WELL, id="a good plan: now and then"),
    ],
)
def test_every_tenant_that_waits_is_looked_at(status: TenantRunStatus, every: timedelta) -> None:
    """The tenant may edit while the upgrade is suspended."""
    steps = suspended(acme=status).steps
    assert [(step.deed, step.at_most_every) for step in steps] == [(Deed.PREVIEW, every)]


def test_a_large_fleet_is_looked_at_no_faster_than_the_api_server_can_bear() -> None:
    """Ten tenants a second, whatever stands against them."""
    fleet = suspended(**{f"t{number:04}": a_status(preview_problem=PAUSED) for number in range(1_000)})
    assert {step.at_most_every for step in fleet.steps} == {1_000 * FOR_EACH}
    assert 1_000 * FOR_EACH > WHERE_HELD


@pytest.mark.parametrize(
    ("count", "every"),
    [(0, WHERE_HELD), (1, WHERE_HELD), (2, 2 * WHERE_HELD), (5, 16 * WHERE_HELD), (10_000, SELDOM)],
    ids=["of old", "once", "twice", "five times", "on and on"],
)
def test_who_is_held_again_and_again_is_tried_more_and_more_seldom(count: int, every: timedelta) -> None:
    """What is refused only when it is written looks well before."""
    policy = a_policy()
    held = a_status(TenantState.HELD, reason="PreflightFailed", message="why", held_count=count, preview=PLAN)
    world = a_world([a_tenant("acme", held)], policy=policy, journal=a_journal(policy, {"canary": ("acme",)}, running="canary"))
    assert [(step.deed, step.at_most_every) for step in decide(world, NOON).steps] == [(Deed.PREVIEW, every)]


def test_who_is_written_is_not_previewed() -> None:
    """Tenants in flight finish."""
    assert not any(step.deed is Deed.PREVIEW for step in suspended(acme=a_status(TenantState.SOAKING)).steps)


def test_the_upgrade_says_how_many_would_be_held() -> None:
    """The first of them with its reason, and the command that lists them all."""
    message = suspended(
        acme=a_status(preview=PLAN), beta=a_status(preview_problem=PAUSED), cello=a_status(preview_problem="x")
    ).summary.message
    assert "3 tenants in 1 waves; nothing starts until spec.suspend is removed" in message
    assert f"; 2 of them would be held (beta: {PAUSED}); list them all with: kubectl get tenantruns -A -o wide -l " in message
    assert message.endswith("tenantwave.io/upgrade=shop-2-4-0")
    assert "would be held" not in suspended(acme=a_status(preview=PLAN)).summary.message
