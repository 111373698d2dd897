"""`deadlineTime` and `forceTime`: what they end, and what they are where they had passed when first seen (windows.md section 7)."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

import pytest

from builders import NOON, a_spec, a_status, a_tenant, after, an_upgrade
from calendar_builders import (
    SHUT_UNTIL_TUESDAY,
    a_calendar,
    a_decision,
    a_policy_with,
    ended,
    frozen_today,
    running,
    starts,
    stored,
    why_held,
)
from tenantwave.api.tenant_run import TenantRunStatus, TenantState
from tenantwave.api.upgrade import TenantUpgradeSpec
from tenantwave.core.journal import Journal
from tenantwave.core.passes.terms import SKEW
from tenantwave.core.plan import Deed
from tenantwave.core.planner import decide
from tenantwave.core.world import Tenant, World

S = TenantState
PAST, SOON, LATER = after(hours=-2), after(hours=1), after(hours=2)
SECOND = timedelta(seconds=1)


def acme(status: TenantRunStatus | None = None, **fields: Any) -> Tenant:
    """Return tenant acme with an open door."""
    return a_tenant("acme", status or a_status(), **{"calendar": a_calendar(), **fields})


def spec_with(**fields: Any) -> TenantUpgradeSpec:
    """Return a spec with these fields."""
    return a_spec(**fields)


def seen(journal: Journal | None) -> dict[str, tuple[datetime, datetime]]:
    """Return field -> its value and when that was first seen."""
    assert journal is not None
    return {one.field: (one.value, one.first_seen) for one in journal.times}


@pytest.mark.parametrize("field", ["deadlineTime", "forceTime"])
def test_a_time_that_had_passed_when_first_seen_is_a_mistake(field: str) -> None:
    """InvalidSpec with the mend, and nobody starts; also when it is looked at again."""
    world = running(acme(), spec=spec_with(**{field: PAST}))
    for _ in range(3):
        plan = decide(world, NOON)
        assert (str(plan.summary.reason), starts(plan)) == ("InvalidSpec", [])
        assert (f"spec.{field} 2026-01-05T10:00:00Z has passed" in plan.summary.message, "OverrideWindow" in plan.summary.message) == (
            True,
            True,
        )
        world = stored(world, plan)
    assert ended(plan, world).reason != "InProgress"


@pytest.mark.parametrize("field", ["deadlineTime", "forceTime"])
def test_a_time_that_passes_later_is_none(field: str) -> None:
    """It was ahead when first seen; a restart, or downtime over it, changes nothing."""
    world = running(acme(), spec=spec_with(**{field: SOON}))
    plan = decide(world, NOON)
    assert seen(plan.journal) == {field: (SOON, NOON)}
    world = stored(running(acme(), spec=spec_with(**{field: SOON})), plan)
    late = decide(replace(world, tenants={"acme": acme()}), after(days=30))
    assert (starts(late), late.journal) == (["acme"], None)


def test_an_edit_is_seen_anew() -> None:
    """Another value has its own first sight; the other time keeps its own."""
    world = running(acme(), spec=a_spec(deadlineTime=SOON, forceTime=LATER))
    world = stored(world, decide(world, NOON))
    edited = a_spec(deadlineTime=after(minutes=90), forceTime=LATER)
    plan = decide(replace(world, upgrade=an_upgrade(edited)), after(minutes=30))
    assert seen(plan.journal) == {"deadlineTime": (after(minutes=90), after(minutes=30)), "forceTime": (LATER, NOON)}


def test_an_edit_into_the_past_stops_starts() -> None:
    """And an edit to a later one mends it."""
    world = running(acme(), spec=a_spec(deadlineTime=LATER))
    world = stored(world, decide(world, NOON))
    world = replace(world, tenants={"acme": acme()})
    wrong = replace(world, upgrade=an_upgrade(a_spec(deadlineTime=PAST)))
    plan = decide(wrong, SOON)
    assert (str(plan.summary.reason), starts(plan)) == ("InvalidSpec", [])
    mended = replace(wrong, journal=plan.journal, upgrade=an_upgrade(a_spec(deadlineTime=after(days=1))))
    assert starts(decide(mended, SOON)) == ["acme"]
    removed = replace(wrong, journal=plan.journal, upgrade=an_upgrade(a_spec()))
    assert (starts(decide(removed, SOON)), seen(decide(removed, SOON).journal)) == (["acme"], {})


GOES_ON = [
    pytest.param(a_status(S.PREFLIGHT, start_time=NOON), Deed.PREPARE, id="in preflight"),
    pytest.param(a_status(S.APPLYING, start_time=NOON, written=False), Deed.APPLY, id="applying"),
    pytest.param(a_status(S.ROLLING_BACK, start_time=NOON), Deed.TAKE_BACK, id="going back"),
]


@pytest.mark.parametrize(("status", "deed"), GOES_ON)
def test_tenants_that_have_begun_go_on(status: TenantRunStatus, deed: Deed) -> None:
    """A mistake in the spec stops starts, and nothing else."""
    beta = a_tenant("beta", a_status(), calendar=a_calendar())
    tolerant = a_policy_with([{"name": "canary", "maxParallel": 5, "failureBudget": 1}])
    plan = decide(running(acme(status), beta, spec=a_spec(forceTime=PAST), policy=tolerant), NOON)
    assert ([step.deed for step in plan.steps if step.tenant == "acme"], starts(plan)) == ([deed], [])
    assert why_held(plan, "beta") == "UpgradeOnHold"


@pytest.mark.parametrize(
    "statuses",
    [
        pytest.param(
            (a_status(S.SOAKING, start_time=NOON), a_status(S.CONVERGING, start_time=NOON, applied_time=NOON)), id="all have begun"
        ),
        pytest.param((a_status(S.SUCCEEDED), a_status(S.SKIPPED, reason="OptedOut", message="out")), id="all are through"),
    ],
)
def test_it_is_no_mistake_once_all_have_started(statuses: tuple[TenantRunStatus, TenantRunStatus]) -> None:
    """It would change nothing any more."""
    tenants = [acme(statuses[0]), a_tenant("beta", statuses[1], calendar=a_calendar())]
    plan = decide(running(*tenants, spec=a_spec(deadlineTime=PAST)), NOON)
    assert str(plan.summary.reason) != "InvalidSpec"


# What they end.


LAPSES = [
    pytest.param("OptOut", a_decision("Defer", until=after(days=9)), id="a defer"),
    pytest.param("OptOut", a_decision("OptOut"), id="an opt out for good"),
    pytest.param("OptOut", a_decision("OptOut", until=after(days=9)), id="an opt out until"),
    pytest.param("OptIn", None, id="missing consent"),
]


@pytest.mark.parametrize("field", ["deadlineTime", "forceTime"])
@pytest.mark.parametrize(("consent", "decision"), LAPSES)
def test_decisions_and_missing_consent_lapse(field: str, consent: str, decision: object) -> None:
    """At deadlineTime, without it at forceTime; not a second before."""
    decisions = (decision,) if decision is not None else ()
    world = running(acme(decisions=decisions), spec=spec_with(**{field: SOON}), policy=a_policy_with(consent=consent))
    world = stored(world, decide(world, NOON))
    assert (starts(decide(world, SOON - SECOND)), starts(decide(world, SOON))) == ([], ["acme"])


def test_the_deadline_comes_before_force_time() -> None:
    """Decisions lapse at the earlier of the two, which is the deadline."""
    world = running(acme(decisions=(a_decision("OptOut"),)), spec=a_spec(deadlineTime=SOON, forceTime=LATER))
    world = stored(world, decide(world, NOON))
    assert (starts(decide(world, SOON - SECOND)), starts(decide(world, SOON))) == ([], ["acme"])


@pytest.mark.parametrize("kind", ["Defer", "OptOut"])
def test_a_decision_after_the_lapse_comes_too_late(kind: str) -> None:
    """It holds nobody."""
    world = running(acme(), spec=a_spec(deadlineTime=SOON))
    world = stored(world, decide(world, NOON))
    late = acme(decisions=(a_decision(kind, time=LATER, until=after(days=1)),))
    plan = decide(replace(world, tenants={"acme": late}), LATER)
    assert (starts(plan), [str(one.answer.reason) for one in plan.decision_answers]) == (["acme"], ["TooLate"])


FACTORS = [
    # what closes the door, whether the deadline opens it, whether forceTime does
    pytest.param(a_calendar(windows=[SHUT_UNTIL_TUESDAY]), (False, True), id="own windows"),
    pytest.param(a_calendar({"defaultWindows": [SHUT_UNTIL_TUESDAY]}), (False, True), id="default windows"),
    pytest.param(a_calendar({"whenNoWindow": "Closed"}), (False, True), id="no windows, Closed"),
    pytest.param(a_calendar(freezes=frozen_today()), (False, True), id="its own freeze"),
    pytest.param(a_calendar(timeZone="Europa/Berlin"), (False, True), id="an invalid profile"),
    pytest.param(a_calendar({"freezes": frozen_today()}), (False, False), id="the platform's freeze"),
    pytest.param(
        a_calendar({"staffedHours": {"timeZone": "UTC", "weekly": [{"days": ["Tue"], "start": "08:00", "duration": "9h"}]}}),
        (False, False),
        id="staffed hours",
    ),
]


@pytest.mark.parametrize(("calendar", "opens"), FACTORS)
def test_what_force_time_lifts(calendar: Any, opens: tuple[bool, bool]) -> None:
    """The tenant's windows and freezes, own or default, even invalid ones; never the platform's factors. The deadline lifts none."""
    for field, expected in zip(("deadlineTime", "forceTime"), opens, strict=True):
        world = running(acme(calendar=calendar), spec=spec_with(**{field: SOON}))
        world = stored(world, decide(world, NOON))
        assert starts(decide(world, SOON - SECOND)) == []
        assert starts(decide(world, SOON + SKEW)) == (["acme"] if expected else []), field


def test_force_time_does_not_lift_the_notice() -> None:
    """The tenant is told first, and its lead holds."""
    world = running(acme(), spec=a_spec(forceTime=SOON, notice={"title": "Shop"}), policy=a_policy_with(notice={"lead": "1d"}))
    world = stored(world, decide(world, NOON))
    assert why_held(decide(world, LATER)) == "NoticePeriod"


def test_the_planner_wakes_at_each_of_them() -> None:
    """For a tenant whose door they open."""
    world = running(acme(calendar=a_calendar({"whenNoWindow": "Closed"})), spec=a_spec(forceTime=SOON))
    assert decide(world, NOON).wake_time == SOON


def test_preflight_is_not_sent_back_after_force_time() -> None:
    """A window that is stated meanwhile closes a door that forceTime has opened for nobody."""
    world: World = running(acme(calendar=a_calendar(windows=[SHUT_UNTIL_TUESDAY])), spec=a_spec(forceTime=SOON))
    world = stored(world, decide(world, NOON))
    begun = decide(world, SOON + SKEW)
    assert starts(begun) == ["acme"]
    plan = decide(stored(world, begun), SOON + SKEW)
    assert [step.deed for step in plan.steps] == [Deed.PREPARE]


def test_preflight_is_sent_back_before_force_time() -> None:
    """A freeze that is stated while it prepares counts, as for a tenant without forceTime: nothing is changed yet."""
    frozen = acme(a_status(S.PREFLIGHT, start_time=NOON), calendar=a_calendar(freezes=frozen_today()))
    for spec in (a_spec(), a_spec(forceTime=after(days=9))):
        plan = decide(running(frozen, spec=spec), NOON)
        assert [(step.deed, step.outcome.state if step.outcome else None) for step in plan.steps] == [(Deed.LET_GO, S.WAITING)]


def test_an_upgrade_that_is_pruned_and_made_again_as_it_was_keeps_its_word() -> None:
    """Git moves a file: consent given to this version still stands, and a deadline that was ahead when first seen was no mistake."""
    policy = a_policy_with(consent="OptIn")
    consent = a_decision("OptIn", time=after(hours=-3))
    first = running(acme(decisions=(consent,)), spec=spec_with(deadlineTime=SOON), policy=policy)
    assert first.journal is not None
    version = first.journal.version.model_copy(update={"since": after(hours=-4)}) if first.journal.version is not None else None
    known = decide(replace(first, journal=first.journal.model_copy(update={"version": version})), NOON).journal
    assert known is not None
    again = replace(first.upgrade, uid="another", creation_time=LATER)
    fresh = replace(
        first, upgrade=again, journal=known, planned_policy=None, planned_spec=None, tenants={"acme": acme(decisions=(consent,), run=None)}
    )
    plan = decide(fresh, after(hours=3))
    assert plan.journal is not None
    assert (plan.journal.version, [one.first_seen for one in plan.journal.times]) == (version, [NOON])
    assert str(plan.summary.reason) != "InvalidSpec"


def test_a_date_that_cannot_be_computed_closes_its_tenant_and_stops_nobody() -> None:
    """However it got past the API: the other tenant starts."""
    broken = a_decision("Defer", until=datetime(9999, 12, 30, tzinfo=NOON.tzinfo))
    shut = acme(decisions=(broken,), calendar=a_calendar(windows=[SHUT_UNTIL_TUESDAY]))
    world = running(shut, a_tenant("beta", a_status(), calendar=a_calendar()))
    plan = decide(world, NOON)
    assert (starts(plan), why_held(plan)) == (["beta"], "InvalidWindows")
