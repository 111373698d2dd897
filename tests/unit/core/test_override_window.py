"""OverrideWindow: named factors of named tenants, or of one wave, of one run, until a time (windows.md section 7, W20)."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

import pytest

from builders import NOON, RUN, Block, a_journal, a_policy, a_spec, a_status, a_tenant, a_world, after, an_action, an_upgrade
from calendar_builders import (
    MAINTENANCE,
    SHUT_UNTIL_TUESDAY,
    a_calendar,
    a_decision,
    a_policy_with,
    an_override,
    frozen_today,
    running,
    starts,
    told,
    why_held,
)
from tenantwave.api.tenant_run import TenantState
from tenantwave.core.calendar import Calendar
from tenantwave.core.journal import EndReason, TakeBackOrder
from tenantwave.core.passes.terms import SKEW
from tenantwave.core.plan import Answer, Deed
from tenantwave.core.planner import decide
from tenantwave.core.world import Action, World

S = TenantState
STAFFED_TUESDAYS: Block = {"timeZone": "UTC", "weekly": [{"days": ["Tue"], "start": "08:00", "duration": "9h"}]}
SPEC = a_spec(notice={"title": "Shop 2.4"})
LIFTS = ("TenantWindows", "TenantFreezes", "PlatformFreezes", "StaffedHours", "Notice")
EXPIRES = after(hours=1)


def shut_by(factor: str) -> Calendar:
    """Return a calendar that this factor alone closes today; `Notice` is none of a calendar's."""
    match factor:
        case "TenantWindows":
            return a_calendar(windows=[SHUT_UNTIL_TUESDAY])
        case "TenantFreezes":
            return a_calendar(freezes=frozen_today())
        case "PlatformFreezes":
            return a_calendar({"freezes": frozen_today()})
        case "StaffedHours":
            return a_calendar({"staffedHours": STAFFED_TUESDAYS})
        case _:
            return a_calendar()


def shut_world(factor: str, *actions: Action, **tenant: Any) -> World:
    """Return a world in which acme waits for this factor alone."""
    spec, notice = (SPEC, {"lead": "7d"}) if factor == "Notice" else (a_spec(), {"lead": "0s"})
    shown = (told(SPEC, NOON),) if factor == "Notice" else ()
    acme = a_tenant("acme", a_status(), **{"calendar": shut_by(factor), "told": shown, **tenant})
    return running(acme, spec=spec, policy=a_policy_with(notice=notice), actions=actions)


REASON = dict(zip(LIFTS, ("OutsideWindow", "TenantFreeze", "PlatformFreeze", "NotStaffed", "NoticePeriod"), strict=True))


@pytest.mark.parametrize("factor", LIFTS)
@pytest.mark.parametrize("lift", LIFTS)
def test_each_lift_lifts_its_own_factor_and_no_other(lift: str, factor: str) -> None:
    """Five factors, five lifts: only the diagonal starts."""
    plan = decide(shut_world(factor, an_override(lift, tenants=["acme"])), NOON)
    assert (starts(plan), why_held(plan)) == ((["acme"], "") if lift == factor else ([], REASON[factor]))


@pytest.mark.parametrize(
    ("calendar", "starts_now"),
    [
        pytest.param(a_calendar({"defaultWindows": [SHUT_UNTIL_TUESDAY]}), True, id="the policy's default windows"),
        pytest.param(a_calendar({"whenNoWindow": "Closed"}), True, id="no windows, Closed"),
        pytest.param(a_calendar(windows=[SHUT_UNTIL_TUESDAY], freezes=frozen_today()), False, id="its own freeze besides"),
    ],
)
def test_tenant_windows_lifts_whichever_list_decides(calendar: Calendar, starts_now: bool) -> None:
    """Own, default, whenNoWindow; and nothing besides."""
    plan = decide(shut_world("TenantWindows", an_override("TenantWindows", tenants=["acme"]), calendar=calendar), NOON)
    assert starts(plan) == (["acme"] if starts_now else [])


def test_with_both_tenant_factors_lifted_an_invalid_profile_holds_nobody() -> None:
    """One alone does not open it."""
    broken = a_calendar(timeZone="Europa/Berlin")
    one = shut_world("TenantWindows", an_override("TenantWindows", tenants=["acme"]), calendar=broken)
    both = shut_world("TenantWindows", an_override("TenantWindows", "TenantFreezes", tenants=["acme"]), calendar=broken)
    assert (starts(decide(one, NOON)), starts(decide(both, NOON))) == ([], ["acme"])


def test_two_overrides_add_up() -> None:
    """Each lifts its factor, as long as it lasts."""
    shut = a_calendar({"freezes": frozen_today()}, windows=[SHUT_UNTIL_TUESDAY])
    first, second = an_override("TenantWindows", name="one", tenants=["acme"]), an_override("PlatformFreezes", name="two", wave="canary")
    world = shut_world("TenantWindows", first, second, calendar=shut)
    assert starts(decide(world, NOON)) == ["acme"]
    assert starts(decide(replace(world, actions=(second,)), NOON)) == []


def test_the_message_is_never_lifted() -> None:
    """`Notice` lifts the waiting: who was not told waits."""
    world = shut_world("Notice", an_override("Notice", tenants=["acme"]), told=())
    assert why_held(decide(world, NOON)) == "NoticePeriod"


@pytest.mark.parametrize(
    ("consent", "decisions", "reason"),
    [
        pytest.param("OptOut", (a_decision("Defer", until=after(days=1)),), "Deferred", id="a defer"),
        pytest.param("OptOut", (a_decision("OptOut", until=after(days=1)),), "OptedOut", id="an opt out"),
        pytest.param("OptIn", (), "AwaitingConsent", id="missing consent"),
    ],
)
def test_decisions_stay_on(consent: str, decisions: Any, reason: str) -> None:
    """All five lifts together do not overrule the tenant's choice."""
    acme = a_tenant("acme", a_status(), calendar=a_calendar(), decisions=decisions)
    plan = decide(running(acme, policy=a_policy_with(consent=consent), actions=[an_override(*LIFTS, tenants=["acme"])]), NOON)
    assert (starts(plan), why_held(plan)) == ([], reason)


def test_waves_pauses_and_slots_stay_on() -> None:
    """It opens doors, and starts nobody out of turn."""
    policy = a_policy([{"name": "canary", "maxParallel": 1}, {"name": "rest"}], maintenance=MAINTENANCE)
    tenants = [
        a_tenant(name, a_status(wave=wave), labels={}, calendar=shut_by("TenantWindows"))
        for name, wave in (("acme", "canary"), ("alba", "canary"), ("beta", "rest"))
    ]
    journal = a_journal(policy, {"canary": ["acme", "alba"], "rest": ["beta"]}, running="canary")
    plan = decide(a_world(tenants, policy=policy, journal=journal, actions=[an_override(*LIFTS, tenants=["acme", "alba", "beta"])]), NOON)
    assert (starts(plan), why_held(plan, "alba")) == (["acme"], "MaxParallel")


NO_EFFECT = [
    pytest.param(an_override("TenantWindows", tenants=["beta"]), id="another tenant"),
    pytest.param(an_override("TenantWindows", wave="rest"), id="another wave"),
    pytest.param(an_override("TenantWindows", tenants=["acme"], run="shop-2-4-0-x7f2k-1-a2"), id="another run"),
    pytest.param(an_override("TenantWindows", tenants=["acme"], expire_time=NOON), id="expired"),
    pytest.param(an_override("TenantWindows", tenants=["acme"], expire_time=NOON + SKEW), id="about to expire, as our clock may be behind"),
    pytest.param(an_override("TenantWindows", tenants=["acme"], accepted=False), id="refused"),
    pytest.param(an_override("TenantWindows", tenants=["acme"], accepted=None), id="not accepted yet"),
    pytest.param(replace(an_action("Pause"), accepted=True, completed=True), id="another order"),
]


@pytest.mark.parametrize("action", NO_EFFECT)
def test_what_has_no_effect(action: Action) -> None:
    """The plan is as without it, its own answer apart."""
    plan, without = decide(shut_world("TenantWindows", action), NOON), decide(shut_world("TenantWindows"), NOON)
    assert (plan.moves, plan.steps, plan.holds) == (without.moves, without.steps, without.holds)


@pytest.mark.parametrize("whom", [{"tenants": ["acme"]}, {"wave": "canary"}], ids=["for tenants", "for a wave"])
def test_it_ends_by_itself_or_when_it_is_deleted(whom: Block) -> None:
    """`expireTime` bounds starts."""
    world = shut_world("TenantWindows", an_override("TenantWindows", **whom))
    assert starts(decide(world, EXPIRES - SKEW - timedelta(seconds=1))) == ["acme"]
    assert starts(decide(world, EXPIRES - SKEW)) == []
    assert starts(decide(replace(world, actions=()), NOON)) == []


BEGUN: dict[str, tuple[TenantState, bool, datetime, Deed]] = {
    "preflight, while it lasts": (S.PREFLIGHT, False, NOON, Deed.PREPARE),
    "applying, while it lasts": (S.APPLYING, False, NOON, Deed.APPLY),
    "preflight, hours after it expired": (S.PREFLIGHT, False, after(hours=3), Deed.LET_GO),
    "applying, hours after it expired": (S.APPLYING, False, after(hours=3), Deed.APPLY),
    "preflight of a retry after a write, hours after it expired": (S.PREFLIGHT, True, after(hours=3), Deed.PREPARE),
}


@pytest.mark.parametrize(("state", "written", "now", "deed"), BEGUN.values(), ids=BEGUN)
def test_it_is_no_window_end(state: TenantState, written: bool, now: datetime, deed: Deed) -> None:
    """Who started by it goes on without a close; but who still prepares at its end, perhaps for an outage, waits for the next start."""
    override = an_override("TenantWindows", tenants=["acme"])
    begun = decide(shut_world("TenantWindows", override), NOON)
    (status,) = (move.status for move in begun.moves)
    assert status.opening_end_time is None
    flies = a_tenant("acme", status.model_copy(update={"state": state, "written": written}), calendar=shut_by("TenantWindows"))
    assert [step.deed for step in decide(running(flies, actions=[override]), now).steps] == [deed]


def test_deleting_it_stops_who_has_changed_nothing() -> None:
    """In preflight the door is shut again; later the tenant goes on."""
    for state, deed in ((S.PREFLIGHT, Deed.LET_GO), (S.APPLYING, Deed.APPLY)):
        flies = a_tenant("acme", a_status(state, written=False, start_time=NOON), calendar=shut_by("TenantWindows"))
        assert [step.deed for step in decide(running(flies), NOON).steps] == [deed]


def test_an_opening_without_it_keeps_its_end() -> None:
    """What lifts a freeze does not lengthen the window."""
    window = {"name": "own", "weekly": {"days": ["Mon"], "start": "11:00", "duration": "3h"}}
    shut = a_calendar({"freezes": frozen_today()}, windows=[window])
    plan = decide(shut_world("PlatformFreezes", an_override("PlatformFreezes", tenants=["acme"]), calendar=shut), NOON)
    assert [move.status.opening_end_time for move in plan.moves] == [after(hours=2)]


# Answers.


def ordered(now: datetime = NOON, *, journal: Block | None = None, **fields: Any) -> Answer:
    """Return the answer to an OverrideWindow made at noon."""
    action = an_override("TenantWindows", accepted=None, **({"tenants": ["acme"]} if "wave" not in fields else {}) | fields)
    acme = a_tenant("acme", a_status(), calendar=shut_by("TenantWindows"))
    (said,) = decide(running(acme, actions=[action], journal=journal), now).answers
    return said


BACK = TakeBackOrder(reason=EndReason.WAVE_FAILED, message="wave canary failed", time=NOON)
REFUSED = [
    pytest.param({"run": "shop-2-4-0-x7f2k-0-a1"}, "StaleRun", id="for another run"),
    pytest.param({"expire_time": after(hours=72, seconds=1)}, "NotApplicable", id="over 72 hours"),
    pytest.param({"expire_time": NOON}, "Expired", id="expired"),
    pytest.param({"tenants": ["nosuch"]}, "UnknownTarget", id="no such tenant"),
    pytest.param({"wave": "nosuch"}, "UnknownTarget", id="no such wave"),
    pytest.param({"journal": {"completion_time": NOON}}, "NotApplicable", id="the run is over"),
    pytest.param({"journal": {"order": BACK}}, "NotApplicable", id="the run is being taken back"),
]


@pytest.mark.parametrize(("fields", "reason"), REFUSED)
def test_what_is_refused(fields: Block, reason: str) -> None:
    """With a sentence that says the mend."""
    said = ordered(**fields)
    assert (said.accepted, str(said.reason), len(said.message) > 20) == (False, reason, True)


@pytest.mark.parametrize("whom", [{}, {"wave": "canary"}], ids=["tenants", "a wave"])
def test_what_is_taken_says_what_it_lifts(whom: Block) -> None:
    """Accepted, not completed: it has effect until it expires."""
    said = ordered(expire_time=after(hours=72), **whom)
    assert (said.accepted, said.completed) == (True, False)
    assert f"TenantWindows of {'wave canary' if whom else 'acme'} hold no start before 2026-01-08T12:00:00Z" in said.message


def test_the_event_names_who_lifts_what_and_why() -> None:
    """It is a warning, for the record."""
    action = an_override("TenantWindows", "StaffedHours", accepted=None, tenants=["acme"])
    plan = decide(running(a_tenant("acme", a_status(), calendar=shut_by("TenantWindows")), actions=[action]), NOON)
    (note,) = (note for note in plan.notes if note.reason == "WindowOverridden")
    assert note.warning
    assert note.message == "StaffedHours, TenantWindows of acme until 2026-01-05T13:00:00Z, by ann (lift): CHG-4411 ok"


def test_it_has_no_effect_in_the_breath_of_its_acceptance() -> None:
    """First it is on record that it was accepted."""
    action = an_override("TenantWindows", accepted=None, tenants=["acme"])
    assert starts(decide(shut_world("TenantWindows", action), NOON)) == []


COMPLETED = [
    pytest.param({}, EXPIRES, True, id="expired"),
    pytest.param({"completion_time": NOON}, after(minutes=1), True, id="the run is over"),
    pytest.param({"order": BACK}, after(minutes=1), True, id="the run is taken back"),
    pytest.param({"id": "shop-2-4-0-x7f2k-1-a2", "attempt": 2}, after(minutes=1), True, id="another run has begun"),
    pytest.param({}, after(minutes=59), False, id="it lasts"),
]


@pytest.mark.parametrize(("journal", "now", "completed"), COMPLETED)
def test_it_is_completed_when_it_lifts_nothing_any_more(journal: Block, now: datetime, completed: bool) -> None:
    """So that the alert OverrideActive ends with it."""
    again = str(journal.get("id", RUN))
    acme = a_tenant("acme", a_status(run=again), calendar=shut_by("TenantWindows"))
    world = running(acme, actions=[an_override("TenantWindows", tenants=["acme"])], journal=journal)
    answers = decide(world, now).answers
    assert [said.completed for said in answers] == ([True] if completed else [])


def test_the_planner_wakes_when_it_expires() -> None:
    """Whether or not anybody waits."""
    world = running(a_tenant("acme", a_status(S.SOAKING)), actions=[an_override("Notice", tenants=["acme"], expire_time=after(minutes=4))])
    assert decide(world, NOON).wake_time == after(minutes=4)


def test_an_edited_spec_is_another_run() -> None:
    """Its override names the run before."""
    edited = a_spec("2.4.1")
    world = shut_world("TenantWindows", an_override("TenantWindows", tenants=["acme"]))
    plan = decide(replace(world, upgrade=an_upgrade(edited, generation=2)), NOON)
    assert starts(plan) == []
    assert [said.completed for said in plan.answers] == [True]
