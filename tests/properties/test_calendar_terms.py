"""Planned starts whatever the terms: deadlines, `forceTime`, overrides, limits, stragglers, and answers that are kept."""

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from properties.calendar_strategies import MINUTE, Case, cases
from tenantwave.api.action import Lift
from tenantwave.api.conditions import WaitReason
from tenantwave.api.decision import DecisionType
from tenantwave.api.policy import Consent, OnWindowClose, Stragglers
from tenantwave.api.tenant_run import TenantState
from tenantwave.core.calendar import (
    AtClose,
    Decision,
    KeptStarts,
    Member,
    Notice,
    Override,
    Rights,
    Stage,
    Terms,
    first_start,
    overrides_for,
    planned_start,
    rule_on,
    wave_wait,
    what_at_close,
)
from tenantwave.core.calendar.openings import TICK

HOUR, DAY = timedelta(hours=1), timedelta(days=1)
PLATFORM = {WaitReason.PLATFORM_FREEZE, WaitReason.NOT_STAFFED, WaitReason.INVALID_WINDOWS, WaitReason.TOO_LITTLE_TIME_LEFT}
"""What may hold a tenant past `forceTime`; too little time is left before the platform's freeze or the end of its staff's hours."""
minutes = st.integers(-3000, 20_000)
lift_sets = st.frozensets(st.sampled_from(Lift), min_size=1)


@st.composite
def terms_near(draw: st.DrawFn, now: datetime) -> Terms:
    """Any terms with times around an instant."""

    def time() -> datetime | None:
        offset = draw(st.none() | minutes)
        return now + offset * MINUTE if offset is not None else None

    given_time, until, force, deadline = time(), time(), time(), time()
    kind = draw(st.none() | st.sampled_from(DecisionType))
    asked = [Decision("choice", kind, now - 4000 * MINUTE, until)] if kind else []
    notice = draw(st.none() | st.builds(Notice, st.just(given_time), st.sampled_from((timedelta(), HOUR, 7 * DAY))))
    rights = Rights(
        draw(st.sampled_from(Consent)),
        draw(st.none() | st.just(2 * DAY)),
        notice.end_time if notice else None,
        deadline if force is None or deadline is None else min(deadline, force),
        force,
    )
    overrides = draw(
        st.lists(
            st.builds(lambda lifts, ends: Override("o", "run", lifts, now + ends * MINUTE), lift_sets, st.integers(1, 4000)), max_size=2
        )
    )
    return Terms(notice, rule_on(asked, rights).choice, force, tuple(overrides))


@settings(deadline=None)
@given(cases(), st.data(), st.floats(0, 1), st.sampled_from((0, 30)))
def test_a_plan_holds_until_it_says(case: Case, data: st.DataObject, share: float, skew_seconds: int) -> None:
    """Word for word, up to the last microsecond; one that may start says "now" instead."""
    calendar, skew = case.calendar(), timedelta(seconds=skew_seconds)
    terms = data.draw(terms_near(case.now))
    plan = planned_start(calendar, terms, case.now, skew)
    assert plan.wake_time > case.now
    span = plan.wake_time - TICK - case.now
    for later in (case.now + span * share, case.now + span):
        again = planned_start(calendar, terms, later, skew)
        if plan.hold is None:
            assert (again.hold, again.start_time, again.opening_end_time) == (None, later, plan.opening_end_time)
        else:
            assert again == plan


@settings(deadline=None)
@given(cases(), st.data())
def test_the_planned_start_is_the_first_instant_without_a_hold(case: Case, data: st.DataObject) -> None:
    """At it one may start, and at no minute before."""
    calendar, terms = case.calendar(), data.draw(terms_near(case.now))
    plan = planned_start(calendar, terms, case.now)
    assert (plan.hold is None) is (plan.start_time == case.now)
    if plan.hold is not None:
        assert len(plan.hold.message) <= 256
    if plan.start_time is None:
        return
    assert planned_start(calendar, terms, plan.start_time).hold is None
    found = first_start(calendar, terms, case.now)
    assert found is not None
    assert found.shown_time == plan.start_time
    for minute in range(0, min(20_000, (plan.start_time - case.now) // MINUTE), 397):
        assert planned_start(calendar, terms, case.now + minute * MINUTE).start_time == plan.start_time


@settings(deadline=None)
@given(cases(), st.data(), st.sampled_from(DecisionType), st.sampled_from(Consent), minutes, minutes)
def test_decisions_and_missing_consent_end_with_the_deadline(
    case: Case, data: st.DataObject, kind: DecisionType, consent: Consent, until: int, deadline: int
) -> None:
    """No later than the first opening after the deadline and the notice, whatever was decided."""
    calendar = case.calendar()
    notice = Notice(case.now + data.draw(minutes) * MINUTE, DAY)
    deadline_time = case.now + deadline * MINUTE
    asked = [Decision("choice", kind, case.now - 4000 * MINUTE, case.now + until * MINUTE)]
    choice = rule_on(asked, Rights(consent, None, notice.end_time, deadline_time)).choice
    plan = planned_start(calendar, Terms(notice, choice), case.now)
    latest = planned_start(calendar, Terms(notice), max(case.now, deadline_time))
    if latest.start_time is not None:
        assert plan.start_time is not None
        assert plan.start_time <= latest.start_time


@settings(deadline=None)
@given(cases(), st.data(), minutes)
def test_past_force_time_only_the_platform_holds(case: Case, data: st.DataObject, force: int) -> None:
    """Windows and freezes of the tenant do not; decisions have lapsed; notice and skew aside."""
    force_time = case.now + force * MINUTE
    calendar = case.calendar()
    choice = rule_on([Decision("choice", DecisionType.OPT_OUT, case.now - 4000 * MINUTE)], Rights(force_time=force_time)).choice
    terms = Terms(None, choice, force_time)
    at = max(force_time, case.now) + data.draw(st.integers(0, 5000)) * MINUTE
    hold = planned_start(calendar, terms, at).hold
    assert hold is None or hold.reason in PLATFORM
    free = case.calendar(platform_freezes=(), staff=None)
    start = planned_start(free, terms, case.now).start_time
    assert start is not None
    assert start <= max(force_time, case.now)


@settings(deadline=None)
@given(cases(), st.data(), lift_sets, st.sampled_from(("expired", "tenant", "wave", "run")))
def test_an_override_for_something_else_changes_nothing(case: Case, data: st.DataObject, lifts: frozenset[Lift], why: str) -> None:
    """Expired, for other tenants, another wave or another run."""
    calendar, terms = case.calendar(), data.draw(terms_near(case.now))
    override = Override(
        name="rush",
        run="other" if why == "run" else "run",
        lifts=lifts,
        expire_time=case.now if why == "expired" else case.now + DAY,
        tenants=frozenset() if why == "wave" else frozenset({"other" if why == "tenant" else "acme"}),
        wave="other" if why == "wave" else None,
    )
    counting = overrides_for([override], "run", "acme", "canary", case.now)
    plain = Terms(terms.notice, terms.choice, terms.force_time)
    assert planned_start(calendar, Terms(plain.notice, plain.choice, plain.force_time, counting), case.now) == planned_start(
        calendar, plain, case.now
    )
    # An expired one that is still listed has no effect either.
    gone = Override("rush", "run", lifts, case.now, frozenset({"acme"}))
    assert planned_start(calendar, Terms(plain.notice, plain.choice, plain.force_time, (gone,)), case.now) == planned_start(
        calendar, plain, case.now
    )


@settings(deadline=None)
@given(cases(), lift_sets, lift_sets, st.integers(0, 3000))
def test_lifting_more_never_closes(case: Case, some: frozenset[Lift], more: frozenset[Lift], minute: int) -> None:
    """Monotone: what is open under some lifts is open under more of them."""
    now = case.now + minute * MINUTE

    def is_open(lifts: frozenset[Lift]) -> bool:
        override = Override("rush", "run", lifts, now + HOUR)
        return planned_start(case.calendar(), Terms(overrides=(override,)), now).hold is None

    assert is_open(frozenset(Lift))
    assert is_open(some | more) or not is_open(some)


@settings(deadline=None)
@given(cases(), st.data(), st.lists(st.integers(0, 4000), min_size=2, max_size=6))
def test_a_kept_answer_is_the_answer(case: Case, data: st.DataObject, steps: list[int]) -> None:
    """At any later instant the table gives what asking anew gives, and until the wake it is the same object."""
    calendar, terms, kept = case.calendar(), data.draw(terms_near(case.now)), KeptStarts(timedelta())
    now = case.now
    for step in steps:
        now += step * MINUTE
        found = kept.of("shop", "acme", calendar, terms, now)
        fresh = planned_start(calendar, terms, now)
        assert found.hold == fresh.hold
        assert found.hold is None or found == fresh
        assert kept.of("shop", "acme", calendar, terms, found.wake_time - TICK if found.wake_time - TICK > now else now) is found
    fresh = planned_start(calendar, terms, now)
    kept.forget("shop")
    for tenant in ("acme", "twin"):
        found = kept.of("shop", tenant, case.calendar(), terms, now)
        assert found.hold == fresh.hold
        assert found.hold is None or found == fresh


members = st.lists(
    st.builds(
        Member,
        st.uuids().map(str),
        st.sampled_from(Stage),
        st.integers(0, 200).map(lambda hours: datetime(2026, 11, 16, tzinfo=UTC) - hours * HOUR),
        st.none() | st.sampled_from(WaitReason),
    ),
    max_size=8,
)


@settings(deadline=None)
@given(members, st.sampled_from(("0%", "50%", "100%", 1, 3)), st.integers(1, 200))
def test_no_tenant_that_did_anything_but_wait_is_a_straggler(wave: list[Member], least: object, hours: int) -> None:
    """Nor is a wave done in which nobody succeeded and somebody is left; patience makes it no less done."""
    now = datetime(2026, 11, 16, tzinfo=UTC)
    policy = Stragglers.model_validate({"minCompleted": least, "maxWait": f"{hours}h"})
    found = wave_wait(wave, policy, now)
    stages = {member.name: member.stage for member in wave}
    assert all(stages[name] is Stage.WAITING for name in found.stragglers)
    if found.is_done:
        assert Stage.BUSY not in stages.values()
        assert not found.stragglers or Stage.SUCCEEDED in stages.values()
        assert wave_wait(wave, policy, now + 30 * DAY).is_done
    if found.wake_time is not None:
        assert wave_wait(wave, policy, found.wake_time).is_done


@pytest.mark.parametrize("choice", OnWindowClose)
@pytest.mark.parametrize("state", TenantState)
def test_what_happens_at_a_close_only_gets_harder(choice: OnWindowClose, state: TenantState) -> None:
    """Minute by minute over the close and the overrun: never softer than before, and nothing before the close."""
    closes = datetime(2026, 11, 29, 10, tzinfo=UTC)
    order = (AtClose.CONTINUE, AtClose.PAUSE_BEFORE_NEXT, AtClose.BACK_TO_WAITING, AtClose.TAKE_BACK)
    seen = [what_at_close(choice, closes, HOUR, closes + minute * MINUTE, state) for minute in range(-5, 70)]
    ranks = [order.index(each) for each in seen]
    assert ranks == sorted(ranks)
    assert set(seen[:5]) == {AtClose.CONTINUE}
