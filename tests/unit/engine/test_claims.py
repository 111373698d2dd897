"""Two upgrades that select the same tenant: of two that could start it the older goes first (api.md)."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

import pytest

from builders import NEW, NOON, a_spec, a_status, a_tenant, after
from calendar_builders import SHUT_UNTIL_TUESDAY, a_calendar, a_decision, a_policy_with, running, starts, stored, why_held
from tenantwave.api.tenant_run import TenantState
from tenantwave.core.calendar import Calendar
from tenantwave.core.plan import Plan
from tenantwave.core.planner import decide
from tenantwave.core.world import Claim, World
from tenantwave.engine.claims import claim_of
from tenantwave.engine.views import RunView, UpgradeView

S = TenantState
OPEN = a_calendar()
SHUT = a_calendar(windows=[SHUT_UNTIL_TUESDAY])
OPENS = after(days=1, seconds=2)
LONG_AGO = NOON - timedelta(days=60)
SHOP, BLOG = {"product": "shop"}, {"product": "blog"}


def an_upgrade_of(
    calendar: Calendar, *, version: str = NEW, product: dict[str, str] = SHOP, is_older: bool = False, **policy: Any
) -> World:
    """Return an upgrade that runs, of tenant acme alone, made an hour or two months before noon."""
    world = running(a_tenant("acme", a_status(), calendar=calendar), spec=a_spec(version, release=product), policy=a_policy_with(**policy))
    return replace(world, upgrade=replace(world.upgrade, creation_time=LONG_AGO)) if is_older else world


def claim_by(other: World, asking: World) -> Claim:
    """Return what the other upgrade wants of acme, as its TenantRun says."""
    run = other.tenants["acme"].run
    assert run is not None
    view = RunView(run, "acme", "", {})
    claim = claim_of(view, UpgradeView(other.upgrade, "1", None, ()), other.journal, asking.upgrade.creation_time)
    assert claim is not None
    return claim


def look(world: World, other: World, now: datetime) -> tuple[World, Plan]:
    """Let one of the two decide, seeing what the other one has stored."""
    acme = replace(world.tenants["acme"], claims=(claim_by(other, world),))
    world = replace(world, tenants={**world.tenants, "acme": acme})
    plan = decide(world, now)
    return stored(world, plan), plan


def state_of(world: World) -> str:
    """Return where acme stands in the upgrade, and why."""
    run = world.tenants["acme"].run
    assert run is not None
    return f"{run.status.state} {run.status.reason}"


PATIENT = [
    pytest.param({"calendar": SHUT}, "OutsideWindow", id="until its window opens"),
    pytest.param({"calendar": OPEN, "consent": "OptIn"}, "AwaitingConsent", id="for consent, for ever"),
]


@pytest.mark.parametrize(("older", "reason"), PATIENT)
def test_who_only_waits_for_its_own_door_lets_a_younger_one_go(older: dict[str, Any], reason: str) -> None:
    """The younger one's policy opens today; a quarter, or for ever, is too long to wait for the other."""
    first, second = an_upgrade_of(**older, is_older=True, product=BLOG), an_upgrade_of(OPEN)
    _, before = look(second, first, NOON)
    assert why_held(before) == "TenantBusy", "as long as nobody knows why the older one waits"
    first, _ = look(first, second, NOON)
    assert state_of(first) == f"Waiting {reason}"
    second, plan = look(second, first, NOON)
    assert starts(plan) == ["acme"]
    _, plan = look(first, second, OPENS)
    assert (starts(plan), why_held(plan)) == ([], "TenantBusy" if reason == "OutsideWindow" else reason), (
        "now the tenant is the other one's"
    )


@pytest.mark.parametrize(
    ("product", "version"),
    [
        pytest.param(SHOP, NEW, id="to the same version"),
        pytest.param(SHOP, "2.3.5", id="to a lower version"),
        pytest.param(BLOG, NEW, id="of another product"),
    ],
)
@pytest.mark.parametrize("who_looks_first", ["the older", "the younger"])
def test_of_two_that_wait_for_the_same_opening_the_older_goes_first(product: dict[str, str], version: str, who_looks_first: str) -> None:
    """Both may start at the same moment, and the younger one may be the first to look: what it sees of the older is of before."""
    first, second = an_upgrade_of(SHUT, is_older=True), an_upgrade_of(SHUT, product=product, version=version)
    for now in (NOON, NOON):
        first, _ = look(first, second, now)
        second, plan = look(second, first, now)
    assert (state_of(first), why_held(plan)) == ("Waiting OutsideWindow", "OutsideWindow")
    if who_looks_first == "the older":
        first, _ = look(first, second, OPENS)
    second, plan = look(second, first, OPENS)
    assert (starts(plan), why_held(plan)) == ([], "TenantBusy")
    if who_looks_first == "the younger":
        first, _ = look(first, second, OPENS)
    assert state_of(first) == "Preflight InProgress"


def test_when_the_older_one_has_been_agreed_to_it_goes_first_again() -> None:
    """From the moment its TenantRun says that it waits for something else."""
    first, second = an_upgrade_of(OPEN, is_older=True, consent="OptIn"), an_upgrade_of(SHUT)
    first, _ = look(first, second, NOON)
    assert not claim_by(first, second).goes_first(OPENS)
    acme = replace(first.tenants["acme"], decisions=(a_decision("OptIn"),))
    first, _ = look(replace(first, tenants={**first.tenants, "acme": acme}), second, OPENS)
    assert (claim_by(first, second).holds, claim_by(first, second).waits) == (True, False)


def test_an_older_one_that_waits_for_a_place_goes_first() -> None:
    """Patience is for its own door only."""
    held = a_status(S.WAITING, reason="MaxParallel", message="all places are taken")
    first = running(a_tenant("acme", held, calendar=OPEN), spec=a_spec(), policy=a_policy_with())
    assert claim_by(first, first).goes_first(NOON)


def test_a_younger_one_to_a_higher_version_is_yielded_to_although_it_waits_for_the_same_opening() -> None:
    """Its patience is none towards the older one: that is Superseded, as before."""
    first, second = an_upgrade_of(SHUT, version=NEW, is_older=True), an_upgrade_of(SHUT, version="2.5.0")
    second, _ = look(second, first, NOON)
    assert state_of(second) == "Waiting OutsideWindow"
    first, _ = look(first, second, NOON)
    assert state_of(first) == "Skipped Superseded"
