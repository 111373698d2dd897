"""Who starts now, and why the others do not."""

from __future__ import annotations

from dataclasses import replace

import pytest

from builders import MINUTE, NEW, NOON, OLD, Block, a_journal, a_policy, a_status, a_tenant, a_world, after
from tenantwave.api.policy import Maintenance
from tenantwave.api.profile import TenantProfileSpec
from tenantwave.api.tenant_run import TenantState
from tenantwave.core.calendar import Calendar, compile_calendar
from tenantwave.core.plan import Plan
from tenantwave.core.planner import decide
from tenantwave.core.world import Claim, Tenant, World

S = TenantState
EARLIER, LATER = after(hours=-9), after(hours=9)


def closed() -> Calendar:
    """A calendar that opens tomorrow."""
    window = {"name": "own", "weekly": {"days": ["Tue"], "start": "12:00", "duration": "2h"}}
    return compile_calendar(Maintenance.model_validate({"whenNoWindow": "Open"}), TenantProfileSpec.model_validate({"windows": [window]}))


def in_one_wave(*tenants: Tenant, wave: Block | None = None, **world: object) -> World:
    """Return a world with one running wave."""
    policy = a_policy([{"name": "canary", "maxParallel": 1, **(wave or {})}])
    return a_world(tenants, policy=policy, journal=a_journal(policy, {"canary": [one.name for one in tenants]}, running="canary"), **world)  # type: ignore[arg-type]


def started(plan: Plan) -> list[str]:
    """Return who starts."""
    return [move.tenant for move in plan.moves if move.status.state is S.PREFLIGHT]


def waits(plan: Plan) -> dict[str, str]:
    """Return tenant -> reason."""
    return {name: str(hold.reason) for name, hold in plan.holds.items()}


def a_claim(
    *, holds: bool = False, version: str = NEW, creation_time: object = EARLIER, running: bool = True, product: str = "shop"
) -> Claim:
    """Return another upgrade's interest in the tenant."""
    return Claim("other", "other-1", holds, True, running, creation_time, product, version)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("tenant", "reason"),
    [
        pytest.param(a_tenant("acme", a_status(), calendar=closed()), "OutsideWindow", id="its window is closed"),
        pytest.param(a_tenant("acme", a_status(), claims=(a_claim(holds=True),)), "TenantBusy", id="another upgrade has it"),
        pytest.param(a_tenant("acme", a_status(), claims=(a_claim(),)), "TenantBusy", id="an older upgrade goes first"),
        pytest.param(a_tenant("acme", a_status(), claims=(a_claim(creation_time=LATER),)), None, id="a younger one waits"),
        pytest.param(a_tenant("acme", a_status(), problem="the profile cannot be read"), "InvalidWindows", id="a problem of its own"),
        pytest.param(a_tenant("acme", a_status()), None, id="nothing stands against it"),
    ],
)
def test_the_first_no_is_the_reason_shown(tenant: Tenant, reason: str | None) -> None:
    """One reason, one sentence; None means go."""
    plan = decide(in_one_wave(tenant), NOON)
    assert waits(plan) == ({"acme": reason} if reason else {})
    assert started(plan) == ([] if reason else ["acme"])


@pytest.mark.parametrize(
    ("states", "limit", "expected"),
    [
        pytest.param((S.QUEUED, S.QUEUED, S.QUEUED), 1, ["t0"], id="one slot"),
        pytest.param((S.QUEUED, S.QUEUED, S.QUEUED), 2, ["t0", "t1"], id="in wave order"),
        pytest.param((S.CONVERGING, S.QUEUED, S.QUEUED), 1, [], id="taken by one in flight"),
        pytest.param((S.SOAKING, S.QUEUED, S.QUEUED), 1, ["t1"], id="a soaking tenant takes none"),
        pytest.param((S.SUCCEEDED, S.SKIPPED, S.QUEUED), 1, ["t2"], id="nor do those that are through"),
        pytest.param((S.QUEUED, S.QUEUED, S.QUEUED), "67%", ["t0", "t1"], id="a share rounds down"),
        pytest.param((S.QUEUED, S.QUEUED, S.QUEUED), "1%", ["t0"], id="but is at least one"),
    ],
)
def test_slots(states: tuple[TenantState, ...], limit: int | str, expected: list[str]) -> None:
    """maxParallel counts Preflight, Applying and Converging."""
    tenants = [a_tenant(f"t{place}", a_status(state, applied_time=NOON)) for place, state in enumerate(states)]
    assert started(decide(in_one_wave(*tenants, wave={"maxParallel": limit}), NOON)) == expected


def test_a_tenant_that_waits_takes_no_slot() -> None:
    """The next one goes."""
    plan = decide(in_one_wave(a_tenant("acme", a_status(), calendar=closed()), a_tenant("beta", a_status())), NOON)
    assert started(plan) == ["beta"]


def test_messages_of_waiting_tenants_do_not_tick() -> None:
    """The same wait later says the same words: no write for time passing."""
    world = in_one_wave(a_tenant("acme", a_status(), calendar=closed()))
    first = decide(world, NOON).moves[0].status
    tenant = world.tenants["acme"]
    assert tenant.run is not None
    stored = replace(world, tenants={"acme": replace(tenant, run=replace(tenant.run, status=first))})
    assert decide(stored, NOON + 17 * MINUTE).moves == ()


@pytest.mark.parametrize(
    ("claim", "skipped"),
    [
        pytest.param(a_claim(creation_time=LATER, version="2.5.0"), True, id="younger, running, higher"),
        pytest.param(a_claim(creation_time=LATER, version="2.5.0", running=False), False, id="not running yet"),
        pytest.param(a_claim(creation_time=LATER, version=OLD), False, id="lower"),
        pytest.param(a_claim(creation_time=LATER, version="2.5.0", product="mail"), False, id="another product"),
        pytest.param(a_claim(creation_time=EARLIER, version="2.5.0"), False, id="older"),
    ],
)
def test_the_older_yields_to_a_younger_that_goes_higher(claim: Claim, skipped: bool) -> None:
    """Recorded as Skipped (Superseded)."""
    plan = decide(in_one_wave(a_tenant("acme", a_status(), claims=(claim,))), NOON)
    assert ([move.status.reason for move in plan.moves] == ["Superseded"]) is skipped


def test_nothing_starts_by_a_clock_that_is_wrong() -> None:
    """ClockSkew."""
    assert waits(decide(in_one_wave(a_tenant("acme", a_status()), clock_is_right=False), NOON)) == {"acme": "ClockSkew"}


BUSY_AT: dict[str, tuple[TenantState, str, object, list[str]]] = {
    "a moment ago": (S.WAITING, "TenantBusy", after(seconds=-29), []),
    "a while ago": (S.WAITING, "TenantBusy", after(seconds=-30), ["acme"]),
    "never: it waited for a claim that is gone": (S.WAITING, "TenantBusy", None, ["acme"]),
    "it waited for its window": (S.WAITING, "OutsideWindow", after(seconds=-1), ["acme"]),
    "it is planned again": (S.QUEUED, "TenantBusy", after(seconds=-1), ["acme"]),
}


@pytest.mark.parametrize(("state", "reason", "preflight_time", "expected"), BUSY_AT.values(), ids=BUSY_AT)
def test_a_lock_that_somebody_had_is_asked_for_now_and_then(
    state: TenantState, reason: str, preflight_time: object, expected: list[str]
) -> None:
    """No claim shows whom: without a pause the tenant would go to and fro between Preflight and Waiting."""
    status = a_status(state, reason=reason, message="old.acme has acme", preflight_time=preflight_time)
    plan = decide(in_one_wave(a_tenant("acme", status)), NOON)
    assert started(plan) == expected
    if not expected:
        assert (plan.holds["acme"].message, plan.wake_time, plan.moves) == ("old.acme has acme", after(seconds=1), ())
