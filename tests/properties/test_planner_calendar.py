"""Whatever tenants decide, people lift and calendars say: nobody starts through a shut door, and every rollback is reachable.

windows.md section 12, numbers 20, 21 and 24, on a fleet in memory. `fleets.doors` gives a second opinion on each start; `fleets.invariants`
looks at early moves, stragglers, maxOverrun and the plan after every step.
"""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from builders import NOON, Block, a_spec
from fleets.fleet import WAYS, Fleet, a_fleet
from tenantwave.api.conditions import ReadyReason
from tenantwave.api.tenant_run import TenantState
from tenantwave.core import tenant_run
from tenantwave.core.journal import WaveProgress

S = TenantState
R = ReadyReason
TENANTS = ("c1", "t1", "t2", "t3")
LIFTS = ("TenantWindows", "TenantFreezes", "PlatformFreezes", "StaffedHours", "Notice")
DAILY: Block = {"name": "daily", "weekly": {"days": ["Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun"], "start": "03:00", "duration": "2h"}}
"""So that every door opens again, and every run can end."""
WAVES: tuple[list[Block], ...] = (
    [{"name": "all", "maxParallel": 2, "failureBudget": 1}],
    [
        {"name": "canary", "size": 1},
        {"name": "more", "size": 1, "maxParallel": 2},
        {"name": "rest", "maxParallel": 2, "failureBudget": "50%"},
    ],
    [{"name": "canary", "selector": {"matchLabels": {"tenantwave.io/ring": "canary"}}}, {"name": "rest", "maxParallel": 3}],
)
RESTS = frozenset(
    {
        R.SUCCEEDED, R.SUCCEEDED_WITH_SKIPS, R.ROLLED_BACK, R.ABORTED, R.HELD, R.PAUSED, R.SUSPENDED, R.NOTICE_PERIOD, R.AWAITING_CONSENT,
        R.WAITING_FOR_WINDOW, R.INVALID_SPEC, R.EMPTY_FIRST_WAVE,
    }
)  # fmt: skip
"""Where an upgrade may stand after three weeks: done, ended, or saying for whom or what it waits."""


def hours(most: int = 60) -> st.SearchStrategy[datetime]:
    """Draw an instant within some hours after noon."""
    return st.integers(0, most * 12).map(lambda fives: NOON + timedelta(minutes=5 * fives))


def freezes() -> st.SearchStrategy[list[Block]]:
    """Draw freezes of a day or two."""
    day = st.integers(0, 2).map(lambda days: NOON + timedelta(days=days))
    freeze = st.tuples(day, st.integers(0, 1)).map(
        lambda drawn: {"name": "sale", "dates": {"from": f"{drawn[0]:%Y-%m-%d}", "to": f"{drawn[0] + timedelta(days=drawn[1]):%Y-%m-%d}"}}
    )
    return st.lists(freeze, max_size=1)


@st.composite
def profiles(draw: st.DrawFn) -> Block:
    """Draw the windows and freezes of a tenant, or none: then it follows the policy's defaults."""
    if draw(st.booleans()):
        return {"freezes": draw(freezes())}
    once = [
        {"name": f"once-{place}", "once": {"start": f"{start:%Y-%m-%dT%H:%M:%SZ}", "duration": f"{minutes}m"}}
        for place, (start, minutes) in enumerate(draw(st.lists(st.tuples(hours(), st.integers(5, 90)), max_size=3)))
    ]
    return {"windows": [DAILY, *once], "freezes": draw(freezes())}


@st.composite
def fleets(draw: st.DrawFn) -> Fleet:
    """Draw a fleet whose tenants have doors, under a policy with all that shuts or opens them."""
    maintenance: dict[str, Any] = {
        "whenNoWindow": "Open",
        "minRemaining": draw(st.sampled_from(("0s", "5m", "30m"))),
        "onWindowClose": draw(st.sampled_from(("Finish", "Pause", "Rollback"))),
        "maxOverrun": draw(st.sampled_from(("0s", "4m", "1h"))),
        "freezes": draw(freezes()),
    }
    if draw(st.booleans()):
        maintenance["defaultWindows"] = [
            DAILY,
            {"name": "today", "once": {"start": f"{draw(hours(5)):%Y-%m-%dT%H:%M:%SZ}", "duration": "1h"}},
        ]
    if draw(st.booleans()):
        maintenance["staffedHours"] = {
            "timeZone": "UTC",
            "weekly": [{"days": ["Mon", "Tue", "Thu", "Sun"], "start": "01:00", "duration": "20h"}],
        }
    if draw(st.booleans()):
        maintenance["stragglers"] = {"minCompleted": draw(st.sampled_from((1, "50%"))), "maxWait": draw(st.sampled_from(("1h", "20h")))}
    if draw(st.booleans()):
        maintenance["tenantLimits"] = {"maxDeferral": draw(st.sampled_from(("6h", "2d")))}
    fleet = a_fleet(
        canaries=1,
        others=3,
        waves=draw(st.sampled_from(WAVES)),
        maintenance=maintenance,
        consent=draw(st.sampled_from(("OptOut", "OptOut", "OptIn", "Mandatory"))),
        notice={"lead": draw(st.sampled_from(("0s", "0s", "3h", "2d"))), "emergencyLead": "1h"},
        onFailure={"tenant": draw(st.sampled_from(("Rollback", "Pause"))), "wave": draw(st.sampled_from(("Pause", "RollbackUnproven")))},
    )
    fields: dict[str, Any] = {}
    if draw(st.booleans()):
        fields["notice"] = {"title": "Shop 2.4"}
    if draw(st.booleans()):
        fields["deadlineTime"] = NOON + timedelta(hours=draw(st.integers(1, 100)))
    if draw(st.booleans()):
        fields["forceTime"] = NOON + timedelta(hours=draw(st.integers(101, 200)))
    component = a_spec().components[0].model_dump(mode="json", by_alias=True, exclude_none=True)
    fields["components"] = [component, {**component, "name": "web"}]
    fields["health"] = {"timeout": draw(st.sampled_from(("10m", "5h")))}  # the longer one outlasts an opening
    fleet.spec = a_spec(**fields, urgency=draw(st.sampled_from(("Routine", "Security"))))
    fleet.looks_at_doors = True
    for name, member in fleet.members.items():
        fleet.set_door(name, **draw(profiles()))
        if draw(st.integers(0, 4)) == 0:
            member.bad.add("2.4.0")
        if draw(st.booleans()):
            kind = draw(st.sampled_from(("Defer", "OptOut", "OptIn", "OptInEarly", "OptInEarly")))
            fleet.decide_as(name, kind, draw(hours(30)) + timedelta(minutes=5) if kind in ("Defer", "OptOut") else None)
    return fleet


DECISIONS = ("Defer", "OptOut", "OptOut until", "OptIn", "OptInEarly")
ORDERS = ("Retry", "Resume", "Abort", "Pause", "Resolve")
EVENTS = (
    *DECISIONS, *DECISIONS, "undecide", "lift for a tenant", "lift for a wave", "lift for another run", "lift no more",
    "edit windows", "edit freezes", "be silent", "tell", "other words", "new version", "mend", "wait", "flap", *ORDERS,
)  # fmt: skip


def happen(fleet: Fleet, event: str, tenant: str, pick: int) -> None:
    """Let one thing happen: to a tenant, or to all."""
    soon = fleet.now.replace(microsecond=0) + timedelta(hours=1 + 7 * pick)
    member = fleet.members[tenant]
    match event:
        case "Defer" | "OptOut until":
            fleet.decide_as(tenant, event.split()[0], soon)
        case "OptOut" | "OptIn" | "OptInEarly":
            fleet.decide_as(tenant, event)
        case "undecide":
            member.decisions = dict(list(member.decisions.items())[:-1])
        case "lift for a tenant" | "lift for a wave" | "lift for another run":
            wave = fleet.journal.run.waves[-1].name if fleet.journal is not None and fleet.journal.run.waves else "all"
            whom: Block = {"wave": wave} if event == "lift for a wave" else {"tenants": [tenant]}
            run = {"run": "shop-2-4-0-x7f2k-1-a7"} if event == "lift for another run" else {}
            lifts = LIFTS if pick == 5 else (LIFTS[pick],)
            fleet.order("OverrideWindow", lifts=list(lifts), expireTime=f"{soon:%Y-%m-%dT%H:%M:%SZ}", **whom, **run)
        case "lift no more":
            fleet.actions = {name: action for name, action in fleet.actions.items() if not action.spec.lifts}
        case "edit windows":
            start = fleet.now + timedelta(minutes=10 * pick)
            window = {"name": "edited", "once": {"start": f"{start:%Y-%m-%dT%H:%M:%SZ}", "duration": "20m"}}
            fleet.set_door(tenant, windows=[DAILY, window])
        case "edit freezes":
            frozen = {"name": "edited", "dates": {"from": f"{fleet.now:%Y-%m-%d}", "to": f"{fleet.now:%Y-%m-%d}"}}
            windows = member.profile.model_dump(mode="json", by_alias=True, exclude_none=True).get("windows", [])
            fleet.set_door(tenant, windows=windows, freezes=[frozen])
        case "be silent" | "tell":
            fleet.tells = event == "tell"
        case "other words":
            words = {"title": f"Shop 2.4, edition {pick}"}
            fleet.spec = a_spec(fleet.spec.release.version).model_validate({**fleet.spec.document(), "notice": words})
            fleet.generation += 1
        case "new version":
            fleet.spec = fleet.spec.model_copy(update={"release": fleet.spec.release.model_copy(update={"version": f"2.4.{1 + pick}"})})
            fleet.generation += 1
        case "flap":
            member.bad = set() if member.bad else {member.live}
        case "mend":
            mend(fleet)
        case "wait":
            fleet.now += timedelta(hours=3 * pick)
        case "Retry" | "Resume" | "Abort" | "Pause":
            fleet.order(event)
        case "Resolve":
            fleet.order(event, tenants=[tenant], resolution=("Rollback", "AcceptLive")[pick % 2])


def mend(fleet: Fleet) -> None:
    """Take every trouble away."""
    fleet.tells = True
    for member in fleet.members.values():
        member.bad = set()


happenings = st.lists(
    st.tuples(st.integers(0, 12), st.sampled_from(EVENTS), st.sampled_from(TENANTS), st.integers(0, 5)), min_size=1, max_size=8
)


def carry(fleet: Fleet, events: list[tuple[int, str, str, int]]) -> None:
    """Let things happen, some steps or hours apart."""
    for steps, event, tenant, pick in events:
        for _ in range(steps):
            if not fleet.step():
                fleet.advance(timedelta(hours=9))
        happen(fleet, event, tenant, pick)


@settings(max_examples=80, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(fleets(), happenings, st.integers(0, 2**16), st.sampled_from(WAYS))
def test_no_door_is_forced(fleet: Fleet, events: list[tuple[int, str, str, int]], seed: int, way: str) -> None:
    """The fleet looks at every start; at the end everybody is where it may rest, and who waits has a reason."""
    fleet.disturb(way, seed)
    carry(fleet, events)
    fleet.go(limit=timedelta(days=21))
    told = "\n".join(fleet.lines[-40:])
    assert fleet.plan is not None
    assert fleet.plan.summary.reason in RESTS, f"rests at {fleet.ready}: {fleet.states()}\n{told}"
    for name, member in fleet.members.items():
        state = fleet.state(name)
        assert state not in tenant_run.IN_FLIGHT | {S.ROLLING_BACK}, f"{name} rests {state}\n{told}"
        is_ours = state in (S.SUCCEEDED, S.SOAKING) or (member.run is not None and member.run.status.written)
        assert is_ours or member.live != fleet.spec.release.version, f"{name} is {state}, and runs the release\n{told}"


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(fleets(), happenings, st.integers(0, 12))
def test_a_rollback_is_always_reachable(fleet: Fleet, events: list[tuple[int, str, str, int]], steps: int) -> None:
    """Whatever the doors: Abort takes back all that is unproven at once, in the same minute."""
    carry(fleet, events)
    for _ in range(steps + 1):
        if not fleet.step():
            fleet.advance(timedelta(hours=9))
    fleet.order("Abort")
    for name in fleet.members:
        fleet.set_door(name, freezes=[{"name": "shut", "dates": {"from": f"{NOON:%Y-%m-%d}", "to": "2027-01-01"}}])
    fleet.go(limit=timedelta(0))
    unproven = [name for name, member in fleet.members.items() if member.run is not None and tenant_run.is_unproven(member.run.status)]
    assert unproven == [], f"{fleet.states()}\n" + "\n".join(fleet.lines[-30:])


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(fleets(), st.sampled_from(LIFTS), st.integers(0, 40))
def test_an_override_for_others_changes_nothing(fleet: Fleet, lift: str, steps: int) -> None:
    """For another run, for a wave that is not the tenant's, expired, deleted: the same plan, orders and their answers apart."""
    for _ in range(steps + 1):
        if not fleet.step():
            fleet.advance(timedelta(hours=9))
    assert fleet.journal is not None
    without = fleet.plan_now()
    past, ahead = fleet.now - timedelta(minutes=1), fleet.now + timedelta(hours=9)
    queued = [wave.name for wave in fleet.journal.run.waves if wave.progress is WaveProgress.QUEUED][1:]  # the first may open right now
    others: list[Block] = [
        {"tenants": list(TENANTS), "run": "shop-2-4-0-x7f2k-1-a7", "expireTime": f"{ahead:%Y-%m-%dT%H:%M:%SZ}"},
        {"tenants": list(TENANTS), "expireTime": f"{past:%Y-%m-%dT%H:%M:%SZ}"},
        *({"wave": wave, "expireTime": f"{ahead:%Y-%m-%dT%H:%M:%SZ}"} for wave in queued),
    ]
    for other in others:
        name = fleet.order("OverrideWindow", lifts=[lift], **other)
        fleet.actions[name] = replace(fleet.actions[name], accepted=True)
        plan = fleet.plan_now()
        assert (plan.journal, plan.moves, plan.steps) == (without.journal, without.moves, without.steps), other
        del fleet.actions[name]
