"""The end of an opening, for a tenant in flight: onWindowClose, maxOverrun, and where nothing has been changed (windows.md section 5)."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

import pytest

from builders import NOON, Block, a_journal, a_spec, a_status, a_tenant, a_view, after, an_action
from calendar_builders import a_calendar, a_policy_with, an_opening, ended, running, starts, why_held
from tenantwave.api.meta import ObjectRef
from tenantwave.api.tenant_run import Direction, Intent, TakeBack, TenantRunStatus, TenantState
from tenantwave.core.journal import Pause
from tenantwave.core.passes.runs import meaning
from tenantwave.core.plan import Deed, Plan
from tenantwave.core.planner import decide
from tenantwave.core.world import Progress, World

S = TenantState
CLOSE = after(hours=1)
JUST_BEFORE, OVERRAN = CLOSE - timedelta(seconds=1), CLOSE + timedelta(minutes=30)
NEXT = after(days=1)
CALENDAR = a_calendar(windows=[an_opening(after(hours=-1), 120), an_opening(NEXT, 120, "next")])
"""Open from an hour before noon to an hour after it, and again a day later."""
IMAGE = "registry.test/shop/api:2.4.0"
TWO: list[Block] = [
    {"name": name, "workload": {"kind": "Deployment", "name": name, "containers": [{"name": name, "image": IMAGE}]}}
    for name in ("api", "web")
]


def an_intent(component: str, seq: int = 1, direction: Direction = Direction.FORWARD) -> Intent:
    """Return a write of a component that is on record."""
    target = ObjectRef(api_version="apps/v1", kind="Deployment", namespace="acme", name=component)
    return Intent(seq=seq, target=target, component=component, direction=direction)


def closing(
    status: TenantRunStatus, choice: str = "Finish", *, converged: bool = False, policy: Block | None = None, **world: Any
) -> World:
    """Return a world in which acme is in an opening that ends an hour after noon; two components, maxOverrun 30m."""
    views = [a_view(name, at_release=True, progress=Progress.CONVERGED if converged else Progress.PROGRESSING) for name in ("api", "web")]
    acme = a_tenant("acme", status, calendar=CALENDAR, components=tuple(views))
    rules = a_policy_with(maintenance={"onWindowClose": choice, "maxOverrun": "30m"}, **(policy or {}))
    return running(acme, policy=rules, spec=a_spec(components=TWO, health={"timeout": "3h"}), **world)


def flying(state: TenantState, component: int = 0, *begun: str, **fields: Any) -> TenantRunStatus:
    """Return the status of a tenant in flight whose `begun` components have writes on record."""
    intents = tuple(an_intent(name, seq) for seq, name in enumerate(begun, 1))
    defaults = {"start_time": NOON, "applied_time": NOON, "opening_end_time": CLOSE, "reason": "InProgress", "message": "why"}
    return a_status(state, component=component, intents=intents, **{"written": bool(begun), **defaults, **fields})


def outcome(plan: Plan, world: World) -> tuple[str, str]:
    """Return what becomes of acme: its next deed, or where it goes and why."""
    steps = [step for step in plan.steps if step.tenant == "acme"]
    if steps and steps[0].outcome is not None:
        return str(steps[0].outcome.state), steps[0].outcome.reason
    if steps:
        return steps[0].deed.value, ""
    status = ended(plan, world)
    return str(status.state), status.reason


STATES = {
    "preflight": flying(S.PREFLIGHT),
    "preflight of a retry": flying(S.PREFLIGHT, 0, "api"),
    "applying, untouched": flying(S.APPLYING),
    "applying, first begun": flying(S.APPLYING, 0, "api"),
    "applying, first issued": flying(S.APPLYING, 0, "api", written=False),
    "applying, second not begun": flying(S.APPLYING, 1, "api"),
    "applying, second begun": flying(S.APPLYING, 1, "api", "web"),
    "applying, second begun by an earlier attempt": flying(S.APPLYING, 1, "api", "web", first_seq=3),
    "converging, first": flying(S.CONVERGING, 0, "api"),
    "converging, last": flying(S.CONVERGING, 1, "api", "web"),
}
WAITS, BACK, HELD = ("Waiting", "OutsideWindow"), ("RollingBack", "WindowClosed"), ("Held", "WindowClosed")
APPLIES, WATCHES, PREPARES = ("Apply", ""), ("Converging", "InProgress"), ("Prepare", "")

BEFORE = {
    "preflight": PREPARES, "preflight of a retry": PREPARES,
    "applying, untouched": APPLIES, "applying, first begun": APPLIES, "applying, first issued": APPLIES,
    "applying, second not begun": APPLIES, "applying, second begun": APPLIES, "applying, second begun by an earlier attempt": APPLIES,
    "converging, first": WATCHES, "converging, last": WATCHES,
}  # fmt: skip
SENT_BACK = {"preflight": WAITS, "preflight of a retry": WAITS}
AT_CLOSE = {
    "Finish": BEFORE | SENT_BACK,
    "Pause": BEFORE
    | SENT_BACK
    | {"applying, untouched": WAITS, "applying, second not begun": HELD}
    | {"applying, second begun by an earlier attempt": HELD},
    "Rollback": dict.fromkeys(BEFORE, BACK) | SENT_BACK | {"applying, untouched": WAITS},
}
PAST_OVERRUN = dict.fromkeys(BEFORE, BACK) | SENT_BACK | {"applying, untouched": WAITS}
"""Whatever was chosen; who has changed nothing has nothing to take back."""


@pytest.mark.parametrize("choice", ["Finish", "Pause", "Rollback"])
@pytest.mark.parametrize("name", STATES)
@pytest.mark.parametrize("when", ["before", "at the close", "just before the overrun ends", "overran"])
def test_the_close(choice: str, name: str, when: str) -> None:
    """onWindowClose x state x written x component, before, at and after the close."""
    now, table = {
        "before": (JUST_BEFORE, BEFORE),
        "at the close": (CLOSE, AT_CLOSE[choice]),
        "just before the overrun ends": (OVERRAN - timedelta(seconds=1), AT_CLOSE[choice]),
        "overran": (OVERRAN, PAST_OVERRUN),
    }[when]
    world = closing(STATES[name], choice)
    assert outcome(decide(world, now), world) == table[name]


@pytest.mark.parametrize("choice", ["Finish", "Pause", "Rollback"])
@pytest.mark.parametrize("state", [S.SOAKING, S.ROLLING_BACK, S.ROLLBACK_FAILED, S.SUCCEEDED, S.ROLLED_BACK])
def test_nobody_else_is_gated(choice: str, state: TenantState) -> None:
    """Soak, rollback and what is done go on outside windows: the same plan with and without an end."""
    fields: Block = {"start_time": NOON, "reason": "InProgress", "message": "why", "attempt": 0 if state is S.ROLLED_BACK else 1}
    held: Block = {"policy": {"rollback": {"deadline": "9h"}}, "converged": True}
    with_end = decide(closing(a_status(state, opening_end_time=CLOSE, **fields), choice, **held), OVERRAN)
    without = decide(closing(a_status(state, **fields), choice, **held), OVERRAN)
    assert [(step.tenant, step.deed) for step in with_end.steps] == [(step.tenant, step.deed) for step in without.steps]
    assert [move.status.state for move in with_end.moves] == [move.status.state for move in without.moves]


@pytest.mark.parametrize("choice", ["Finish", "Pause", "Rollback"])
def test_the_last_component_may_converge_into_the_soak(choice: str) -> None:
    """It has finished, and only the proof is missing: whatever was chosen, nothing is left to cut off."""
    world = closing(STATES["converging, last"], choice, converged=True)
    assert outcome(decide(world, CLOSE), world) == ("Confirm", "")
    assert outcome(decide(world, OVERRAN), world) == ("Confirm", "")


@pytest.mark.parametrize("choice", ["Finish", "Rollback"])
def test_an_outage_over_the_close_is_no_overrun(choice: str) -> None:
    """Invariant 5: time in which nobody looked causes delay, never a rollback."""
    back = CLOSE + timedelta(hours=3)
    away = closing(STATES["converging, last"], choice, seen_since=back, shaken_until=back + timedelta(minutes=1))
    assert outcome(decide(away, back), away) == WATCHES
    begun = closing(STATES["applying, second begun"], choice, seen_since=back, shaken_until=back + timedelta(minutes=1))
    expected = ("Applying", "InProgress") if choice == "Rollback" else APPLIES
    assert outcome(decide(begun, back), begun) == expected, "under Rollback nothing more is written before it is known"
    over = back + timedelta(minutes=30)
    assert outcome(decide(away, over), away) == BACK


def test_a_window_that_closes_too_early_is_no_evidence_against_the_release() -> None:
    """The canary that was cut off goes back alone; the other one soaks on, and the wave ends when it is through, with nobody else taken back."""
    rules = a_policy_with([{"name": "canary", "maxParallel": 5, "soak": "10m"}], maintenance={"onWindowClose": "Rollback"})
    cut = a_status(S.ROLLED_BACK, reason="WindowClosed", take_back=TakeBack(cause="WindowClosed", message="closed", time=NOON))
    soaks = a_status(S.SOAKING, converged_time=NOON, start_time=NOON)
    well = a_tenant("beta", soaks, calendar=CALENDAR)
    plan = decide(running(a_tenant("acme", cut, calendar=CALENDAR), well, policy=rules), after(minutes=5))
    assert (plan.journal, [move.tenant for move in plan.moves]) == (None, [])
    through = a_tenant("beta", a_status(S.SUCCEEDED, start_time=NOON, converged_time=NOON, completion_time=NOON), calendar=CALENDAR)
    ended_world = running(a_tenant("acme", cut, calendar=CALENDAR), through, policy=rules)
    plan = decide(ended_world, after(minutes=15))
    assert plan.journal is not None
    assert plan.journal.run.order is not None
    assert (plan.journal.run.order.tenants, "WindowClosed" in plan.journal.run.order.message) == ((), True)
    assert plan.moves == ()


@pytest.mark.parametrize("choice", ["Finish", "Pause", "Rollback"])
def test_who_falls_back_from_the_soak_is_not_late(choice: str) -> None:
    """It had finished within its opening. A pod that restarts days later is no overrun: it converges anew, within health.timeout."""
    soaks = flying(S.SOAKING, 1, "api", "web", converged_time=after(minutes=5))
    world = closing(soaks, choice, converged=False)
    plan = decide(world, OVERRAN)
    fallen = ended(plan, world)
    assert fallen.state is S.CONVERGING
    again = replace(world, tenants={"acme": a_tenant("acme", fallen, calendar=CALENDAR, components=world.tenants["acme"].components)})
    assert outcome(decide(again, OVERRAN + timedelta(minutes=1)), again) == WATCHES


def test_an_opening_without_an_end_stops_nobody() -> None:
    """Always open, or all factors lifted."""
    for name, status in STATES.items():
        world = closing(status.model_copy(update={"opening_end_time": None}), "Rollback")
        expected = WAITS if name == "preflight" else BEFORE[name]  # a preflight looks at the calendar of now
        assert outcome(decide(world, OVERRAN), world) == expected, name


@pytest.mark.parametrize(
    ("status", "now", "wake"),
    [
        pytest.param(STATES["converging, first"], NOON, CLOSE, id="at the close"),
        pytest.param(STATES["converging, first"], CLOSE, OVERRAN, id="at the end of the overrun"),
        pytest.param(STATES["applying, first begun"], CLOSE, OVERRAN, id="also while it applies"),
    ],
)
def test_the_planner_wakes(status: TenantRunStatus, now: datetime, wake: datetime) -> None:
    """So that maxOverrun is kept, though nothing changes in the cluster."""
    assert decide(closing(status), now).wake_time == wake


def test_the_end_is_stored_before_the_first_change() -> None:
    """Later edits of the windows do not move it: it is the TenantRun's."""
    world = running(a_tenant("acme", a_status(), calendar=CALENDAR), policy=a_policy_with())
    (move,) = decide(world, NOON).moves
    assert (move.status.state, move.status.opening_end_time) == (S.PREFLIGHT, CLOSE)
    shorter = a_calendar(windows=[an_opening(after(hours=-1), 61)])
    flies = closing(STATES["converging, first"], "Rollback")
    edited = replace(flies, tenants={"acme": replace(flies.tenants["acme"], calendar=shorter)})
    assert outcome(decide(edited, after(minutes=5)), edited) == WATCHES


def test_who_goes_back_to_waiting_starts_in_its_next_opening() -> None:
    """With that opening's end, and nothing of the first try but its record."""
    world = closing(STATES["applying, untouched"], "Pause")
    (step,) = decide(world, CLOSE).steps
    assert (step.deed, step.outcome is not None) == (Deed.LET_GO, True)
    waits = replace(world, tenants={"acme": a_tenant("acme", step.outcome, calendar=CALENDAR)})
    assert (starts(decide(waits, CLOSE)), why_held(decide(waits, CLOSE))) == ([], "OutsideWindow")
    plan = decide(waits, NEXT + timedelta(minutes=1))
    assert starts(plan) == ["acme"]
    assert ended(plan, waits).opening_end_time == NEXT + timedelta(hours=2)


@pytest.mark.parametrize("choice", ["Finish", "Pause", "Rollback"])
def test_the_close_says_what_to_do(choice: str) -> None:
    """The message names the close, and Retry or Resolve."""
    world = closing(STATES["applying, second not begun"], choice)
    status = ended(decide(world, CLOSE if choice != "Finish" else OVERRAN), world)
    assert "2026-01-05T13:00:00Z" in status.message
    assert "Retry" in status.message
    assert ("Resolve" in status.message) is (choice == "Pause")


def test_a_tenant_held_by_its_window_alone_stops_its_wave_and_takes_nobody_back() -> None:
    """That its window was short says nothing about the release."""
    held = flying(S.HELD, 1, "api", reason="WindowClosed", message="its window closed")
    soaks = a_tenant("beta", a_status(S.SOAKING, start_time=NOON), calendar=a_calendar(), components=(a_view(at_release=True),))
    waits = a_tenant("bono", a_status(), calendar=a_calendar())
    acme = a_tenant("acme", held, calendar=CALENDAR)
    plan = decide(running(acme, soaks, waits, spec=a_spec(components=TWO)), after(minutes=1))
    assert plan.journal is None or plan.journal.run.order is None
    assert (starts(plan), why_held(plan, "bono")) == ([], "UpgradeOnHold")


def test_a_retry_goes_on_in_the_next_opening() -> None:
    """What is written stays on record and stays ours; the door is asked again."""
    held = flying(S.HELD, 1, "api", reason="WindowClosed", message="its window closed")
    world = closing(held, "Pause", actions=[an_action("Retry", tenants=["acme"])], journal={"pause": Pause(time=NOON, message="held")})
    plan = decide(world, OVERRAN)
    assert plan.journal is not None
    assert plan.journal.run.attempt == 2
    again = a_journal(
        a_policy_with(),
        {"canary": ["acme"]},
        running="canary",
        id=plan.journal.run.id,
        attempt=2,
        retried=("acme",),
        spec_digest=meaning(a_spec(components=TWO)),
    )
    after_retry = replace(world, journal=again, actions=())
    planned = ended(decide(after_retry, OVERRAN), after_retry)
    assert (planned.state, planned.written, len(planned.intents)) == (S.QUEUED, True, 1)
    waits = replace(after_retry, tenants={"acme": a_tenant("acme", planned, calendar=CALENDAR, components=(a_view(), a_view("web")))})
    assert why_held(decide(waits, OVERRAN)) == "OutsideWindow"
    assert starts(decide(waits, NEXT + timedelta(minutes=1))) == ["acme"]


@pytest.mark.parametrize("action", ["Abort"])
def test_abort_never_waits_for_a_window(action: str) -> None:
    """Rollback is always reachable."""
    world = closing(STATES["converging, first"], actions=[an_action(action)])
    assert outcome(decide(world, OVERRAN - timedelta(minutes=1)), world)[0] == "RollingBack"


def test_windows_that_close_too_early_pause_where_every_failure_does() -> None:
    """onFailure.wave: Pause."""
    rules = a_policy_with(maintenance={"onWindowClose": "Rollback"}, onFailure={"wave": "Pause"})
    cut = a_status(S.ROLLED_BACK, reason="WindowClosed", take_back=TakeBack(cause="WindowClosed", message="closed", time=NOON))
    plan = decide(running(a_tenant("acme", cut, calendar=CALENDAR), policy=rules), NOON)
    assert plan.journal is not None
    assert (plan.journal.run.order, plan.journal.pause is not None, str(plan.summary.reason)) == (None, True, "Paused")
