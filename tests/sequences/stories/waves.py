"""Waves, windows, approvals, and tenants that are passed over."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

from builders import NOON, Block
from fleets.fleet import Fleet, a_fleet
from fleets.member import Member
from sequences.stories.telling import CANARIES, Ready, S, refused, state_is, story, taken
from tenantwave.api.policy import Maintenance
from tenantwave.api.profile import TenantProfileSpec
from tenantwave.core.calendar import compile_calendar
from tenantwave.core.world import Claim, VersionRecord


@story
def a_good_version_goes_through_two_waves(ready: Ready) -> Fleet:
    """S1: order and budgets hold, everybody ends on the release."""
    fleet = ready(a_fleet(canaries=2, others=6, gated=True)).go("Succeeded")
    assert set(fleet.states().values()) == {"Succeeded"}
    assert not fleet.is_guarded()
    return fleet


@story
def one_window_opens_soon_and_another_in_three_days(ready: Ready) -> Fleet:
    """S5: each waits for its own; the next opening is shown."""
    fleet = ready(a_fleet(canaries=2, others=0, waves=[{"name": "all", "maxParallel": 2}]))
    for name, day, start in (("c1", "Mon", "12:01"), ("c2", "Thu", "12:00")):
        window = {"name": "own", "weekly": {"days": [day], "start": start, "duration": "2h"}}
        profile = TenantProfileSpec.model_validate({"timeZone": "UTC", "windows": [window]})
        fleet.members[name].calendar = compile_calendar(Maintenance.model_validate({"whenNoWindow": "Open"}), profile)
    fleet.go("WaitingForWindow", limit=timedelta(seconds=0))
    assert fleet.run_of("c2").reason == "OutsideWindow"
    assert fleet.run_of("c2").next_open_time == NOON + timedelta(days=3)
    fleet.go(lambda fleet: fleet.state("c1") is S.SUCCEEDED and fleet.ready == "WaitingForWindow")
    assert fleet.now < NOON + timedelta(hours=1)
    return fleet.go("Succeeded", limit=timedelta(days=5))


@story
def a_conflict_holds_the_tenant_and_settles_by_itself(ready: Ready) -> Fleet:
    """S7: nothing written; the wave is stopped, nobody is taken back; mended, it goes on."""
    fleet = ready(a_fleet(canaries=2, gated=True))
    fleet.members["c1"].conflict = "log.level"
    fleet.go("Held")
    assert not fleet.members["c1"].touched
    assert fleet.state("c2") is S.SUCCEEDED or fleet.state("c2") is S.WAITING
    fleet.members["c1"].conflict = ""
    return fleet.go("Succeeded")


@story
def within_the_budget_a_held_tenant_stops_nobody(ready: Ready) -> Fleet:
    """Held tenants count in the budget; within it the wave passes."""
    fleet = ready(a_fleet(canaries=2, waves=[{"name": "all", "failureBudget": 1, "maxParallel": 2}], others=2))
    fleet.members["c1"].conflict = "log.level"
    fleet.go("SucceededWithSkips")
    assert fleet.states() == {"c1": "Held", "c2": "Succeeded", "t1": "Succeeded", "t2": "Succeeded"}
    return fleet


@story
def people_approve_before_and_after(ready: Ready) -> Fleet:
    """S10: distinct people count, others do not; a wave that does not await approval cannot be approved."""
    waves: list[Block] = [
        {"name": "canary", "size": 1, "approval": {"when": "After", "minimum": 2}},
        {"name": "rest", "approval": {"when": "Before"}},
    ]
    fleet = ready(a_fleet(waves=waves))
    fleet.go(lambda fleet: "Soaking" in fleet.states().values())
    assert refused(fleet, fleet.order("Approve", wave="canary")) == "NotApplicable"
    assert refused(fleet, fleet.order("Approve", wave="nosuch")) == "UnknownTarget"
    fleet.go("AwaitingApproval")
    taken(fleet, fleet.order("Approve", wave="canary", requestedBy="ann"))
    taken(fleet, fleet.order("Approve", wave="canary", requestedBy="ann"))
    fleet.go("AwaitingApproval")
    assert sum(state == "Succeeded" for state in fleet.states().values()) == 1
    taken(fleet, fleet.order("Approve", wave="canary", requestedBy="bob"))
    fleet.go("AwaitingApproval")
    assert sum(state == "Succeeded" for state in fleet.states().values()) == 1
    taken(fleet, fleet.order("Approve", wave="rest", requestedBy="bob"))
    return fleet.go("Succeeded")


@story
def a_rejection_after_is_like_a_failing_gate(ready: Ready) -> Fleet:
    """Reject After: the wave is taken back, as onFailure.wave says."""
    fleet = ready(a_fleet(waves=[{"name": "canary", "size": 2, "approval": {"when": "After"}}, {"name": "rest"}]))
    fleet.go("AwaitingApproval")
    name = fleet.order("Reject", wave="canary")
    fleet.go("RolledBack").go()
    assert sorted(fleet.states().values()) == ["Queued", "Queued", "RolledBack", "RolledBack"]
    assert fleet.actions[name].completed
    return fleet


@story
def a_rejection_before_is_like_abort(ready: Ready) -> Fleet:
    """Reject Before: those that succeeded stay, the others are skipped."""
    fleet = ready(a_fleet(waves=[{"name": "canary", "size": 1}, {"name": "rest", "approval": {"when": "Before"}}]))
    fleet.go("AwaitingApproval")
    fleet.order("Reject", wave="rest")
    fleet.go("Aborted")
    assert sorted(fleet.states().values()) == ["Skipped", "Skipped", "Skipped", "Succeeded"]
    return fleet


@story
def a_wave_past_its_deadline_stalls(ready: Ready) -> Fleet:
    """DeadlineExceeded names the tenants; a person skips them."""
    fleet = ready(a_fleet(canaries=2, waves=[{"name": "canary", "selector": CANARIES, "deadline": "1h"}, {"name": "rest"}]))
    closed = TenantProfileSpec.model_validate({"windows": [{"name": "far", "once": {"start": "2026-02-01T00:00:00Z", "duration": "2h"}}]})
    fleet.members["c2"].calendar = compile_calendar(Maintenance.model_validate({"whenNoWindow": "Open"}), closed)
    fleet.go("DeadlineExceeded")
    assert fleet.plan is not None
    assert "c2" in fleet.plan.summary.message
    fleet.order("SkipTenant", tenants=["c2"])
    return fleet.go("SucceededWithSkips")


@story
def an_owner_in_the_first_wave_stalls(ready: Ready) -> Fleet:
    """OwnershipConflict in the first wave: before anything starts; elsewhere that tenant alone is held."""
    fleet = ready(a_fleet())
    fleet.members["c1"].owner = "Application argocd/shop-c1 owns api"
    fleet.members["t2"].owner = "Application argocd/shop-t2 owns api"
    fleet.go("OwnershipConflict")
    assert not any(member.touched for member in fleet.members.values())
    fleet.members["c1"].owner = ""
    fleet.go("Held")
    assert fleet.run_of("t2").reason == "OwnershipConflict"
    fleet.order("SkipTenant", tenants=["t2"])
    return fleet.go("SucceededWithSkips")


@story
def tenants_on_other_versions_are_passed_over(ready: Ready) -> Fleet:
    """IncompatibleVersion: by fromVersions; and a namespace that no longer matches is Unselected."""
    fleet = ready(a_fleet(others=4))
    fleet.edit(release={"fromVersions": ">=2.3,<2.4"})
    fleet.members["t1"].record = VersionRecord("2.2.0", "2.2.0", NOON)
    fleet.go(state_is("c1", S.SOAKING))
    fleet.members["t2"].selected = False
    fleet.members["t3"].exists = False
    fleet.members["new"] = Member("new", {"product": "shop"})
    fleet.go("SucceededWithSkips")
    reasons = {name: fleet.run_of(name).reason for name in ("t1", "t2", "t3")}
    assert reasons == {"t1": "IncompatibleVersion", "t2": "Unselected", "t3": "Unselected"}
    assert fleet.state("new") is None
    return fleet


@story
def a_namespace_goes_while_its_tenant_is_in_flight(ready: Ready) -> Fleet:
    """Orphaned: nothing more is written; the wave goes on without it."""
    fleet = ready(a_fleet(canaries=2, waves=[{"name": "canary", "selector": CANARIES, "maxParallel": 2}, {"name": "rest"}]))
    fleet.go(state_is("c1", S.CONVERGING))
    fleet.members["c1"].exists = False
    fleet.go("SucceededWithSkips")
    assert fleet.state("c1") is S.ORPHANED
    return fleet


@story
def the_only_canary_goes_while_it_soaks(ready: Ready) -> Fleet:
    """Nobody has shown that the release is healthy: the others wait until another tenant is the canary. Then it is upgraded first."""
    fleet = ready(a_fleet())
    fleet.go(state_is("c1", S.SOAKING))
    fleet.members["c1"].exists = False
    fleet.go("EmptyFirstWave")
    assert fleet.state("c1") is S.ORPHANED
    assert {fleet.members[name].live for name in ("t1", "t2", "t3")} == {"2.3.1"}
    fleet.members["t1"].labels |= {"tenantwave.io/ring": "canary"}
    fleet.order("Retry")
    fleet.go(state_is("t1", S.SOAKING))
    assert {fleet.members[name].live for name in ("t2", "t3")} == {"2.3.1"}
    fleet.go("Succeeded")
    return fleet


@story
def the_only_canary_runs_a_version_that_the_release_does_not_come_from(ready: Ready) -> Fleet:
    """Nobody in the first wave can be upgraded: the others wait. With other fromVersions the canaries go first, as ever."""
    fleet = ready(a_fleet(canaries=2))
    fleet.edit(release={"fromVersions": ">=2.3,<2.4"})
    fleet.members["c1"].record = fleet.members["c2"].record = VersionRecord("2.2.0", "2.2.0", NOON)
    fleet.go("EmptyFirstWave")
    assert {member.live for member in fleet.members.values()} == {"2.3.1"}
    fleet.edit(release={"fromVersions": ">=2.2,<2.4"})
    fleet.go("Succeeded")
    return fleet


@story
def a_younger_upgrade_to_a_higher_version_takes_the_tenant(ready: Ready) -> Fleet:
    """Two upgrades in one tenant: TenantBusy while the other has it, Superseded when it goes higher."""
    fleet = ready(a_fleet(others=2))
    claim = Claim("shop-2-5-0", "shop-2-5-0-y-1-a1", True, False, True, NOON, "shop", "2.4.0")
    fleet.members["c1"].claims = (claim,)
    fleet.go("TenantBusy")
    fleet.members["c1"].claims = (replace(claim, version="2.5.0"),)
    fleet.go("SucceededWithSkips")
    assert fleet.run_of("c1").reason == "Superseded"
    return fleet
