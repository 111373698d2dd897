"""What a tenant decides, what it is answered, and what that does to its start (windows.md, section 7)."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

import pytest

from builders import NOON, Block, a_journal, a_spec, a_status, a_tenant, a_world, after, an_upgrade
from calendar_builders import (
    SHUT_UNTIL_TUESDAY,
    a_calendar,
    a_decision,
    a_policy_with,
    an_answer,
    ended,
    running,
    starts,
    stored,
    told,
    why_held,
)
from tenantwave.api.decision import TenantDecisionSpec
from tenantwave.api.tenant_run import TenantRunStatus, TenantState
from tenantwave.core.calendar import Answer
from tenantwave.core.journal import EndReason, TakeBackOrder, VersionSeen
from tenantwave.core.plan import Deed, Plan
from tenantwave.core.planner import decide
from tenantwave.core.world import Policy, SeenDecision, World

S = TenantState
LATER, TOMORROW, NEXT_WEEK = after(hours=1), after(days=1), after(days=7)
EARLIER = after(minutes=-30)


def asked(
    *decisions: SeenDecision,
    status: TenantRunStatus | None = None,
    consent: str = "OptOut",
    spec: Block | None = None,
    policy: Block | None = None,
    **world: Any,
) -> World:
    """Return a world in which acme, with an open door, has decided."""
    tenant = a_tenant("acme", status or a_status(), calendar=a_calendar(), decisions=decisions)
    rules = a_policy_with(consent=consent, **(policy or {}))
    return running(tenant, policy=rules, spec=a_spec(**(spec or {})), **world)


def answers(plan: Plan) -> dict[str, str]:
    """Return decision -> reason of its answer."""
    return {one.answer.decision: str(one.answer.reason) for one in plan.decision_answers}


def answer(plan: Plan) -> Answer:
    """Return the one answer."""
    (only,) = plan.decision_answers
    return only.answer


ROWS = [
    # type, consent, spec, until -> (answer, accepted, why it waits, state)
    pytest.param("Defer", "OptOut", {}, TOMORROW, ("Accepted", "Deferred", S.WAITING), id="defer"),
    pytest.param("Defer", "OptIn", {}, TOMORROW, ("Accepted", "Deferred", S.WAITING), id="defer where consent is asked for"),
    pytest.param("Defer", "Mandatory", {}, TOMORROW, ("Accepted", "Deferred", S.WAITING), id="defer is never refused"),
    pytest.param("Defer", "OptOut", {}, EARLIER, ("NotAllowed", "", S.PREFLIGHT), id="defer into the past"),
    pytest.param("Defer", "OptOut", {}, None, ("NotAllowed", "", S.PREFLIGHT), id="defer without untilTime"),
    pytest.param("Defer", "OptOut", {"deadlineTime": LATER}, TOMORROW, ("Shortened", "Deferred", S.WAITING), id="cut by the deadline"),
    pytest.param("Defer", "OptOut", {"forceTime": LATER}, TOMORROW, ("Shortened", "Deferred", S.WAITING), id="cut by forceTime"),
    pytest.param("OptOut", "OptOut", {}, TOMORROW, ("Accepted", "OptedOut", S.WAITING), id="opt out until"),
    pytest.param("OptOut", "OptIn", {}, TOMORROW, ("Accepted", "OptedOut", S.WAITING), id="opt out where consent is asked for"),
    pytest.param("OptOut", "OptOut", {}, None, ("Accepted", "", S.SKIPPED), id="opt out for good"),
    pytest.param("OptOut", "OptOut", {"deadlineTime": LATER}, None, ("Shortened", "OptedOut", S.WAITING), id="opt out, with a deadline"),
    pytest.param("OptOut", "OptOut", {"forceTime": LATER}, None, ("Shortened", "OptedOut", S.WAITING), id="opt out, with forceTime"),
    pytest.param("OptOut", "Mandatory", {}, TOMORROW, ("NotAllowed", "", S.PREFLIGHT), id="opt out of a duty"),
    pytest.param("OptOut", "Mandatory", {}, None, ("NotAllowed", "", S.PREFLIGHT), id="opt out of a duty for good"),
    pytest.param("OptIn", "OptOut", {}, None, ("Accepted", "", S.PREFLIGHT), id="opt in"),
    pytest.param("OptIn", "OptIn", {}, None, ("Accepted", "", S.PREFLIGHT), id="opt in where consent is asked for"),
    pytest.param("OptIn", "Mandatory", {}, None, ("Accepted", "", S.PREFLIGHT), id="opt in to a duty"),
    pytest.param("OptInEarly", "OptOut", {}, None, ("NotAllowed", "", S.PREFLIGHT), id="early, and no wave is left"),
    pytest.param("OptInEarly", "OptIn", {}, None, ("NotAllowed", "AwaitingConsent", S.WAITING), id="refused consent is no consent"),
]


@pytest.mark.parametrize(("kind", "consent", "spec", "until", "expected"), ROWS)
def test_each_decision_is_answered_and_does_what_it_says(
    kind: str, consent: str, spec: Block, until: datetime | None, expected: tuple[str, str, TenantState]
) -> None:
    """One row of section 7 each: its answer, why the tenant waits, where it stands then."""
    world = asked(a_decision(kind, until=until), consent=consent, spec=spec)
    plan = decide(world, NOON)
    said = answer(plan)
    assert (str(said.reason), why_held(plan), ended(plan, world).state) == expected
    assert said.accepted is (expected[0] in ("Accepted", "Shortened"))
    assert len(said.message) > 10


@pytest.mark.parametrize(
    ("consent", "reason"),
    [
        pytest.param("OptOut", "", id="goes"),
        pytest.param("Mandatory", "", id="must go"),
        pytest.param("OptIn", "AwaitingConsent", id="waits"),
    ],
)
def test_an_undecided_tenant(consent: str, reason: str) -> None:
    """tenants.md section 3: only `consent: OptIn` lets it wait."""
    plan = decide(asked(consent=consent), NOON)
    assert (why_held(plan), starts(plan)) == (reason, [] if reason else ["acme"])


def test_missing_consent_lapses_at_the_deadline() -> None:
    """Not a second before it."""
    world = asked(consent="OptIn", spec={"deadlineTime": LATER})
    world = stored(world, decide(world, NOON))  # stores when the deadline was first seen
    assert why_held(decide(world, LATER - timedelta(seconds=1))) == "AwaitingConsent"
    assert starts(decide(world, LATER)) == ["acme"]
    assert decide(world, NOON).wake_time == LATER


@pytest.mark.parametrize("kind", ["Defer", "OptOut"])
def test_a_decision_ends_when_it_says(kind: str) -> None:
    """And the planner asks to be woken then."""
    world = asked(a_decision(kind, until=LATER))
    first = decide(world, NOON)
    assert (why_held(first) != "", first.wake_time) == (True, LATER)
    assert why_held(decide(world, LATER - timedelta(seconds=1))) != ""
    assert starts(decide(world, LATER)) == ["acme"]


NEWEST = [
    pytest.param([("OptOut", 0, None), ("OptIn", 1, None)], ("acme", {"optin": "Accepted", "optout": "Superseded"}), id="in after out"),
    pytest.param([("OptIn", 0, None), ("OptOut", 1, None)], ("", {"optin": "Superseded", "optout": "Accepted"}), id="out after in"),
    pytest.param([("OptIn", 0, None), ("OptOut", 0, None)], ("", {"optin": "Superseded", "optout": "Accepted"}), id="same second: out first"),
    pytest.param([("OptIn", 0, None), ("Defer", 0, TOMORROW)], ("", {"optin": "Superseded", "defer": "Accepted"}), id="same second: defer"),
    pytest.param([("OptOut", 0, TOMORROW), ("Defer", 1, EARLIER)], ("", {"optout": "Accepted", "defer": "NotAllowed"}), id="a refused one"),
]  # fmt: skip


@pytest.mark.parametrize(("made", "expected"), NEWEST)
def test_only_the_newest_counts(made: list[tuple[str, int, datetime | None]], expected: tuple[str, dict[str, str]]) -> None:
    """Of the same second OptOut, then Defer, then the rest; a refused one has no effect at all."""
    plan = decide(asked(*(a_decision(kind, time=after(seconds=when), until=until) for kind, when, until in made)), after(seconds=5))
    assert ("".join(starts(plan)), answers(plan)) == expected


def test_a_deleted_decision_no_longer_counts() -> None:
    """The tenant goes at once."""
    held = asked(a_decision("OptOut", until=TOMORROW))
    assert why_held(decide(held, NOON)) == "OptedOut"
    assert starts(decide(asked(), NOON)) == ["acme"]


def test_an_answer_is_given_once() -> None:
    """What is answered already, with the same words, is not answered again."""
    world = asked(a_decision("Defer", until=TOMORROW))
    plan = decide(world, NOON)
    assert decide(stored(world, plan), after(minutes=3)).decision_answers == ()


def test_an_answer_follows_what_counts() -> None:
    """A newer decision changes the answer of the older one."""
    first = asked(a_decision("OptOut", until=TOMORROW))
    known = stored(first, decide(first, NOON)).tenants["acme"]
    newer = a_decision("OptIn", time=LATER)
    world = asked(*known.decisions, newer)
    assert answers(decide(world, LATER)) == {"optout": "Superseded", "optin": "Accepted"}


# Skipped, and coming back.


def opted_out(*decisions: SeenDecision, running_wave: str = "canary", policy: Policy | None = None, **journal: object) -> World:
    """Return a world in which acme, of wave canary, has been passed by; beta, of wave rest, waits for its window."""
    policy = policy or a_policy_with([{"name": "canary"}, {"name": "rest"}])
    out = a_status(S.SKIPPED, reason="OptedOut", message="opted out by optout", completion_time=NOON)
    beta = a_tenant("beta", a_status(wave="rest"), labels={}, calendar=a_calendar(windows=[SHUT_UNTIL_TUESDAY]))
    waves = {"canary": ["acme"], "rest": ["beta"]}
    acme = a_tenant("acme", out, calendar=a_calendar(), decisions=decisions)
    return a_world([acme, beta], policy=policy, journal=a_journal(policy, waves, running=running_wave, **journal))


OUT = a_decision("OptOut", time=EARLIER)


@pytest.mark.parametrize("wave", ["canary", "rest"])
@pytest.mark.parametrize(
    "decisions",
    [
        pytest.param((OUT, a_decision("OptIn", time=NOON)), id="by OptIn"),
        pytest.param((), id="by deleting its OptOut"),
        pytest.param((OUT, a_decision("OptOut", name="shorter", time=NOON, until=after(seconds=1))), id="by an OptOut with an end"),
    ],
)
def test_who_was_passed_by_comes_back(decisions: tuple[SeenDecision, ...], wave: str) -> None:
    """Also after its wave has passed: the run lives until the last wave has. First it is queued, and then it starts."""
    world = opted_out(*decisions, running_wave=wave)
    plan = decide(world, after(seconds=1))
    assert (starts(plan), ended(plan, world).state) == ([], S.QUEUED)
    assert starts(decide(stored(world, plan), after(seconds=1))) == ["acme"]


def test_who_opted_out_stays_out() -> None:
    """Nothing moves it, and nothing is said twice."""
    plan = decide(opted_out(replace(OUT, answer=an_answer("optout", "counts without end: the tenant is skipped"))), NOON)
    assert ("acme" in {move.tenant for move in plan.moves}, plan.decision_answers) == (False, ())


def test_a_deadline_that_is_added_ends_an_opt_out() -> None:
    """The mixed fleet has an end: skipped becomes waiting until then."""
    world = opted_out(OUT)
    spec = a_spec(deadlineTime=TOMORROW)
    edited = replace(world, upgrade=an_upgrade(spec), planned_spec=spec)
    edited = stored(edited, decide(edited, NOON))
    plan = decide(edited, NOON)
    assert (ended(plan, edited).state, why_held(plan)) == (S.WAITING, "OptedOut")


def test_who_another_order_has_skipped_does_not_come_back() -> None:
    """OptIn ends an OptOut, not a SkipTenant."""
    skipped = a_status(S.SKIPPED, reason="SkippedByAction", message="by ann", completion_time=NOON)
    plan = decide(asked(a_decision("OptIn"), status=skipped), NOON)
    assert plan.moves == ()


ORDERED_BACK = TakeBackOrder(reason=EndReason.WAVE_FAILED, message="wave canary failed", time=NOON)


@pytest.mark.parametrize(
    "journal",
    [pytest.param({"completion_time": NOON}, id="the run is over"), pytest.param({"order": ORDERED_BACK}, id="the run is taken back")],
)
def test_a_decision_about_a_run_that_ends_comes_too_late(journal: Block) -> None:
    """It says so, and brings nobody back."""
    plan = decide(opted_out(a_decision("OptIn"), **journal), after(minutes=1))
    assert answers(plan) == {"optin": "TooLate"}
    assert "acme" not in {move.tenant for move in plan.moves if move.status.state is not S.SKIPPED}


def test_answers_of_a_run_that_is_over_stay() -> None:
    """What was taken then was taken."""
    known = a_decision("OptIn", answer=an_answer("optin", "the tenant starts in its next opening"))
    assert decide(opted_out(known, completion_time=NOON), after(minutes=1)).decision_answers == ()


@pytest.mark.parametrize("kind", ["Defer", "OptOut", "OptIn", "OptInEarly"])
@pytest.mark.parametrize(
    "status",
    [
        pytest.param(a_status(S.PREFLIGHT, start_time=NOON), id="in preflight"),
        pytest.param(a_status(S.CONVERGING, start_time=NOON, applied_time=NOON), id="in flight"),
        pytest.param(a_status(S.SOAKING, start_time=NOON), id="soaking"),
        pytest.param(a_status(S.SUCCEEDED, start_time=NOON, completion_time=NOON), id="done"),
        pytest.param(a_status(S.ROLLED_BACK, start_time=NOON, completion_time=NOON, attempt=0), id="taken back"),
        pytest.param(a_status(S.HELD, start_time=NOON, written=True, reason="WindowClosed", message="why"), id="held after a write"),
        pytest.param(a_status(S.WAITING, start_time=NOON, written=True, reason="OutsideWindow", message="why"), id="waits to go on"),
    ],
)
def test_a_decision_after_the_start_comes_too_late(kind: str, status: TenantRunStatus) -> None:
    """It has no effect on this run and says so."""
    plain = asked(status=status)
    world = asked(a_decision(kind, time=LATER, until=NEXT_WEEK if kind == "Defer" else None), status=status)
    now = LATER + timedelta(minutes=1)
    plan = decide(world, now)
    assert answers(plan) == {a_decision(kind).decision.name: "TooLate"}
    assert replace(plan, decision_answers=()) == decide(plain, now)


def test_a_decision_before_the_start_was_no_lie() -> None:
    """Its answer stays when the tenant starts: the OptIn was heeded."""
    known = a_decision("OptIn", time=EARLIER, answer=an_answer("optin", "the tenant starts in its next opening"))
    world = asked(known, status=a_status(S.SOAKING, start_time=NOON), consent="OptIn", journal={"version": None})
    assert decide(world, after(minutes=1)).decision_answers == ()


@pytest.mark.parametrize(
    "status",
    [
        pytest.param(a_status(S.WAITING, start_time=EARLIER, reason="OutsideWindow", message="why"), id="its window had closed"),
        pytest.param(a_status(S.QUEUED, start_time=EARLIER, reason="Planned", message="why"), id="a conflict was mended"),
    ],
)
def test_a_start_that_changed_nothing_is_none(status: TenantRunStatus) -> None:
    """A decision made between two tries counts, and is still answered so when the second one has begun."""
    world = asked(a_decision("OptIn", time=NOON), status=status, consent="OptIn")
    plan = decide(world, LATER)
    assert (starts(plan), answers(plan)) == (["acme"], {"optin": "Accepted"})
    assert decide(stored(world, plan), LATER).decision_answers == ()


@pytest.mark.parametrize("seconds", [0, 5], ids=["in the same second", "and its clock is ahead of ours"])
def test_the_consent_by_which_a_tenant_started_does_not_come_too_late(seconds: int) -> None:
    """The API server's clock says when a decision was made, and ours when the tenant started: what was heard first stays answered so."""
    out, consent = a_decision("OptOut", time=EARLIER), a_decision("OptIn", time=after(seconds=seconds))
    world = asked(out, consent, consent="OptIn")
    plan = decide(world, NOON)
    assert (starts(plan), answers(plan)) == (["acme"], {"optin": "Accepted", "optout": "Superseded"})
    assert decide(stored(world, plan), after(minutes=1)).decision_answers == ()


# Consent and versions.


@pytest.mark.parametrize(
    ("given", "since", "expected"),
    [
        pytest.param(NOON, EARLIER, ("Accepted", ["acme"]), id="given to this version"),
        pytest.param(EARLIER, NOON, ("Superseded", []), id="given to the version before"),
        pytest.param(NOON, NOON, ("Accepted", ["acme"]), id="given in the second of the edit"),
    ],
)
@pytest.mark.parametrize("kind", ["OptIn", "OptInEarly"])
def test_consent_ends_when_the_version_changes(kind: str, given: datetime, since: datetime, expected: tuple[str, list[str]]) -> None:
    """Consent is to a version; the tenant is asked again."""
    decision = a_decision(kind, name="consent", time=given, answer=an_answer("consent", "once counted"))
    world = asked(decision, consent="OptIn", journal={"version": VersionSeen(version="2.4.0", since=since)})
    plan = decide(world, after(minutes=1))
    assert (answers(plan)["consent"], starts(plan)) == expected


@pytest.mark.parametrize(
    ("given", "consents"),
    [
        pytest.param(after(hours=-1, minutes=-5), True, id="a few minutes before the upgrade: git applies in any order"),
        pytest.param(after(hours=-2), False, id="long before the upgrade was made"),
    ],
)
def test_consent_may_come_with_the_upgrade(given: datetime, consents: bool) -> None:
    """The upgrade was made an hour before noon; its journal does not know its version yet."""
    world = asked(a_decision("OptIn", time=given), consent="OptIn", journal={"version": None})
    assert starts(decide(world, NOON)) == (["acme"] if consents else [])


@pytest.mark.parametrize("kind", ["Defer", "OptOut"])
def test_what_holds_back_outlives_a_new_version(kind: str) -> None:
    """A decision is bound to the upgrade's name: only consent is to a version."""
    seen = VersionSeen(version="2.4.0", since=NOON)
    assert starts(decide(asked(a_decision(kind, time=EARLIER, until=TOMORROW), journal={"version": seen}), after(minutes=1))) == []


# maxDeferral.


LIMITED: Block = {"maintenance": {"tenantLimits": {"maxDeferral": "2d"}}}


def deferred(until: datetime, *, lead: str = "", given: datetime | None = None, **fields: Any) -> World:
    """Return a world in which acme defers, under a policy with maxDeferral 2d; `lead` asks for a notice."""
    spec = a_spec(notice={"title": "Shop 2.4"}) if lead else a_spec()
    policy = a_policy_with(**LIMITED, notice={"lead": lead or "0s"})
    shown = (told(spec, given),) if given is not None else ()
    tenant = a_tenant("acme", a_status(), calendar=a_calendar(), decisions=(a_decision("Defer", until=until),), told=shown)
    return running(tenant, policy=policy, spec=spec, **fields)


@pytest.mark.parametrize(
    ("world", "ends"),
    [
        pytest.param(deferred(after(days=1)), after(days=1), id="within the limit"),
        pytest.param(deferred(after(days=9)), after(days=2), id="no notice: two days from when it was asked for"),
        pytest.param(deferred(after(days=9), lead="3d", given=NOON), after(days=5), id="two days from the end of the notice"),
        pytest.param(deferred(after(days=9), lead="3d", given=EARLIER), after(days=5, minutes=-30), id="whose clock began earlier"),
    ],
)
def test_a_defer_is_cut_by_max_deferral(world: World, ends: datetime) -> None:
    """It counts from the end of the notice lead, and says so."""
    first = decide(world, NOON)  # stores when the notice was given
    plan = decide(world := stored(world, first), NOON)
    said = (*first.decision_answers, *plan.decision_answers)[-1].answer
    asked_until = world.tenants["acme"].decisions[0].decision.until_time
    assert str(said.reason) == ("Accepted" if ends == asked_until else "Shortened")
    assert (f"{ends:%Y-%m-%dT%H:%M:%SZ}" in said.message, "maxDeferral" in said.message) == (True, ends != asked_until)
    assert starts(decide(world, ends - timedelta(seconds=1))) == []
    assert starts(decide(world, ends)) == ["acme"]


def test_several_defers_share_one_limit() -> None:
    """The second does not begin the two days again."""
    second = a_decision("Defer", name="again", time=after(days=1), until=after(days=9))
    world = deferred(after(days=2))
    both = replace(world.tenants["acme"], decisions=(*world.tenants["acme"].decisions, second))
    assert starts(decide(replace(world, tenants={"acme": both}), after(days=2))) == ["acme"]


def test_a_defer_of_a_tenant_that_was_not_told_yet_is_cut_when_it_is() -> None:
    """Until then nobody knows from where the limit counts; it waits for its notice anyway."""
    world = deferred(after(days=9), lead="3d")
    plan = decide(world, NOON)
    assert (answers(plan), starts(plan)) == ({"defer": "Accepted"}, [])
    told_now = stored(world, plan)
    acme = replace(told_now.tenants["acme"], told=(told(a_spec(notice={"title": "Shop 2.4"}), LATER),))
    given = stored(told_now := replace(told_now, tenants={"acme": acme}), decide(told_now, LATER))
    assert answers(decide(given, LATER)) == {"defer": "Shortened"}


def test_without_a_limit_a_defer_counts_in_full() -> None:
    """`maxDeferral` absent is none."""
    assert starts(decide(asked(a_decision("Defer", until=after(days=300))), after(days=299))) == []


def test_a_first_wave_that_all_opted_out_of_stops_the_upgrade() -> None:
    """Else the second wave, which may be large, would be the first to meet the release."""
    answered = replace(OUT, answer=an_answer("optout", "counts without end: the tenant is skipped"))
    plan = decide(opted_out(answered), NOON)
    assert (str(plan.summary.reason), plan.journal) == ("EmptyFirstWave", None)
    assert "canary, opted out" in plan.summary.message
    back = decide(opted_out(OUT, a_decision("OptIn", time=NOON)), NOON)
    assert (str(back.summary.reason), starts(back)) != ("EmptyFirstWave", [])


@pytest.mark.parametrize("kind", ["Defer", "OptOut"])
def test_a_tenant_that_says_never_stops_nobody_else(kind: str) -> None:
    """People write 9999-12-31; the other tenant starts, and everything goes on."""
    until = TenantDecisionSpec.model_validate({"upgrade": "shop", "type": kind, "untilTime": "9999-12-31T23:59:59Z"}).until_time
    world = asked(a_decision(kind, until=until))
    plan = decide(world, NOON)
    assert (starts(plan), why_held(plan)) == ([], "Deferred" if kind == "Defer" else "OptedOut")


# Seen late.


def in_preflight(*decisions: SeenDecision) -> World:
    """Return a world in which acme prepares: nothing of it has been written."""
    status = a_status(S.PREFLIGHT, start_time=NOON, preflight_time=NOON, reason="InProgress", message="why")
    return running(a_tenant("acme", status, calendar=a_calendar(), decisions=decisions))


def test_a_defer_that_was_made_before_the_start_and_seen_after_it_is_heeded() -> None:
    """As long as nothing is written, it goes back to waiting."""
    plan = decide(in_preflight(a_decision("Defer", time=EARLIER, until=TOMORROW)), after(seconds=1))
    [step] = plan.steps
    assert (step.deed, step.outcome is not None and step.outcome.reason) == (Deed.LET_GO, "Deferred")
    assert answers(plan) == {"defer": "Accepted"}


def test_a_defer_that_is_seen_once_something_is_written_is_too_late() -> None:
    """It is not told that it counts; one that had been answered before keeps its answer."""
    status = a_status(S.APPLYING, start_time=NOON, reason="InProgress", message="why")
    unseen = running(a_tenant("acme", status, calendar=a_calendar(), decisions=(a_decision("Defer", time=EARLIER, until=TOMORROW),)))
    assert answers(decide(unseen, after(seconds=5))) == {"defer": "TooLate"}
