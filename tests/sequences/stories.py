"""Stories of upgrades: each is told to a fleet, ends where it should, and leaves a transcript that people can read.

A story gives the fleet that it is about, then what people do. It runs in four ways: as it is (golden), with the tenants in any order, with
a restart between any two steps, and with crashes in the middle of plans.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta

from builders import MINUTE, NOON, Block, a_policy, a_policy_spec
from fleet import Fleet, Member, a_fleet
from tenantwave.api.conditions import FailReason
from tenantwave.api.policy import Maintenance
from tenantwave.api.profile import TenantProfileSpec
from tenantwave.api.tenant_run import TenantState
from tenantwave.core.calendar import compile_calendar
from tenantwave.core.gates import Verdict
from tenantwave.core.world import CatalogueEntry, Claim, VersionRecord

S = TenantState
Ready = Callable[[Fleet], Fleet]
Story = Callable[[Ready], Fleet]
STORIES: dict[str, Story] = {}


def story(tell: Story) -> Story:
    """Put a story into the collection."""
    STORIES[tell.__name__] = tell
    return tell


def state_is(tenant: str, state: TenantState) -> Callable[[Fleet], bool]:
    """Ask whether a tenant stands there."""
    return lambda fleet: fleet.state(tenant) is state


def answered(action: str) -> Callable[[Fleet], bool]:
    """Ask whether an action has its answer."""
    return lambda fleet: action in fleet.answers


def refused(fleet: Fleet, action: str) -> str:
    """Carry on until an action is answered, and return why it was refused."""
    fleet.go(answered(action))
    assert fleet.actions[action].accepted is False, fleet.answers[action]
    return str(fleet.answers[action].reason)


def taken(fleet: Fleet, action: str) -> None:
    """Carry on until an action is answered, and see that it was taken."""
    fleet.go(answered(action))
    assert fleet.actions[action].accepted is True, fleet.answers[action]


@story
def a_good_version_goes_through_two_waves(ready: Ready) -> Fleet:
    """S1: order and budgets hold, everybody ends on the release."""
    fleet = ready(a_fleet(canaries=2, others=6, gated=True)).go("Succeeded")
    assert set(fleet.states().values()) == {"Succeeded"}
    assert not fleet.is_guarded()
    return fleet


@story
def a_canary_that_never_converges_goes_back_alone(ready: Ready) -> Fleet:
    """S2: rolled back, nobody else touched, not tried again by itself."""
    fleet = ready(a_fleet())
    fleet.members["c1"].bad.add("2.4.0")
    fleet.go("RolledBack").go()
    assert fleet.ready == "RolledBack"
    assert fleet.states() == {"c1": "RolledBack", "t1": "Queued", "t2": "Queued", "t3": "Queued"}
    assert not any(fleet.members[name].touched for name in ("t1", "t2", "t3"))
    assert fleet.run_of("t1").reason == "RunEnded"
    return fleet


@story
def a_gate_latches_and_takes_the_canary_back(ready: Ready) -> Fleet:
    """S3: ready, but answering errors: the tenant fails its gate, the wave is over its budget."""
    fleet = ready(a_fleet(canaries=2, gated=True))
    fleet.members["c1"].ill.add("2.4.0")
    fleet.go("RolledBack")
    assert fleet.states()["c1"] == "RolledBack"
    assert all(fleet.members[name].live == "2.3.1" for name in fleet.members)
    return fleet


@story
def a_wave_fails_its_own_gate_and_all_of_it_goes_back(ready: Ready) -> Fleet:
    """RollbackUnproven, gate of the wave Failing: also those that succeeded, for the evidence is about them all."""
    waves: list[Block] = [{"name": "canary", "size": 1}, {"name": "rest", "maxParallel": 2, "freeSlotOn": "FirstVerdict"}]
    fleet = ready(a_fleet(canaries=1, others=4, gated=True, waves=waves))
    fleet.go(lambda fleet: sorted(fleet.states().values()) == ["Soaking", "Soaking", "Succeeded", "Succeeded", "Succeeded"])
    fleet.wave_verdict["rest"] = (Verdict.FAILING, "Catastrophic")
    fleet.go("RolledBack")
    assert sorted(fleet.states().values()) == ["RolledBack"] * 4 + ["Succeeded"]
    return fleet


@story
def metrics_that_cannot_be_used_hold_and_then_it_goes_on(ready: Ready) -> Fleet:
    """S4: GateUnknown: nothing promoted, nothing taken back."""
    fleet = ready(a_fleet(gated=True))
    fleet.go(state_is("c1", S.SOAKING))
    fleet.blind = True
    fleet.go("GateUnknown")
    until = fleet.now + 20 * MINUTE
    fleet.go(lambda fleet: fleet.now >= until)
    assert fleet.states() == {"c1": "Soaking", "t1": "Queued", "t2": "Queued", "t3": "Queued"}
    fleet.blind = False
    return fleet.go("Succeeded")


@story
def metrics_that_stay_away_pause_once(ready: Ready) -> Fleet:
    """evaluation.onUnknown: after half an hour a person must resume."""
    fleet = ready(a_fleet(gated=True))
    fleet.go(state_is("c1", S.SOAKING))
    fleet.blind = True
    fleet.go("Paused")
    fleet.blind = False
    later = fleet.now + 60 * MINUTE
    fleet.go(lambda fleet: fleet.now >= later or fleet.state("c1") is S.SUCCEEDED)
    assert fleet.state("t1") in (S.QUEUED, S.WAITING)
    fleet.order("Resume")
    return fleet.go("Succeeded")


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
def a_pause_outlives_a_new_attempt(ready: Ready) -> Fleet:
    """Pause holds starts across attempts, and lets those in flight finish."""
    fleet = ready(a_fleet())
    fleet.members["c1"].bad.add("2.4.0")
    fleet.go("RolledBack")
    stale = fleet.journal.run.id if fleet.journal else ""
    fleet.members["c1"].bad.clear()
    fleet.order("Retry")
    fleet.go(lambda fleet: fleet.journal is not None and fleet.journal.run.attempt == 2)
    taken(fleet, fleet.order("Pause"))
    fleet.go("Paused").go()
    assert refused(fleet, fleet.order("Abort", run=stale)) == "StaleRun"
    taken(fleet, fleet.order("Resume"))
    assert refused(fleet, fleet.order("Resume")) == "NotApplicable"
    return fleet.go("Succeeded")


@story
def an_abort_takes_back_what_is_unproven(ready: Ready) -> Fleet:
    """Abort: in flight and soaking go back, those that succeeded stay, never written ones are skipped."""
    fleet = ready(a_fleet(canaries=1, others=4, waves=[{"name": "canary", "size": 1}, {"name": "rest", "maxParallel": 1}]))
    fleet.go(lambda fleet: sorted(fleet.states().values()).count("Soaking") == 2)
    name = fleet.order("Abort", reason="the release is withdrawn")
    fleet.go("Aborted").go()
    states = sorted(fleet.states().values())
    assert states.count("Succeeded") == 1
    assert set(states) == {"Succeeded", "RolledBack", "Skipped"}
    assert fleet.actions[name].completed
    assert refused(fleet, fleet.order("Abort", reason="and once again")) == "NotApplicable"
    assert not fleet.is_guarded()
    return fleet


@story
def a_retry_with_tenants_leaves_the_others(ready: Ready) -> Fleet:
    """Retry names one of two failed canaries: the other stays rolled back, and its old failure no longer counts."""
    fleet = ready(a_fleet(canaries=2, others=1, waves=[{"name": "canary", "selector": CANARIES, "maxParallel": 2}, {"name": "rest"}]))
    for name in ("c1", "c2"):
        fleet.members[name].bad.add("2.4.0")
    fleet.go("RolledBack")
    fleet.members["c1"].bad.clear()
    assert refused(fleet, fleet.order("Retry", tenants=["nosuch"])) == "UnknownTarget"
    taken(fleet, fleet.order("Retry", tenants=["c1"]))
    fleet.go("SucceededWithSkips")
    assert fleet.states() == {"c1": "Succeeded", "c2": "RolledBack", "t1": "Succeeded"}
    return fleet


CANARIES = {"matchLabels": {"tenantwave.io/ring": "canary"}}


@story
def a_retry_keeps_waves_that_have_passed(ready: Ready) -> Fleet:
    """Retry: passed waves stay passed, what succeeded stays, a repaired policy is taken."""
    fleet = ready(a_fleet(gated=True, waves=[{"name": "canary", "selector": CANARIES}, {"name": "rest", "maxParallel": 1}]))
    fleet.members["t2"].bad.add("2.4.0")
    fleet.go("RolledBack")
    assert fleet.state("c1") is S.SUCCEEDED
    fleet.members["t2"].bad.clear()
    fleet.policy = replace(
        a_policy([{"name": "canary", "selector": CANARIES}, {"name": "rest", "maxParallel": 3}], gated=True), generation=2
    )
    taken(fleet, fleet.order("Retry"))
    fleet.go("Succeeded")
    assert fleet.journal is not None
    assert fleet.journal.run.policy is not None
    assert fleet.journal.run.policy.generation == 2
    return fleet


@story
def a_retry_in_flight_is_refused(ready: Ready) -> Fleet:
    """Retry: nobody in flight; and nothing to retry when all have succeeded."""
    fleet = ready(a_fleet())
    fleet.members["c1"].bad.add("2.4.0")
    fleet.go(state_is("c1", S.CONVERGING))
    assert refused(fleet, fleet.order("Retry")) == "NotApplicable"
    fleet.members["c1"].bad.clear()
    fleet.go("Succeeded")
    assert refused(fleet, fleet.order("Retry")) == "NotApplicable"
    return fleet


@story
def a_tenant_is_skipped_by_hand(ready: Ready) -> Fleet:
    """SkipTenant: only before anything is written."""
    fleet = ready(a_fleet())
    fleet.go(state_is("c1", S.SOAKING))
    assert refused(fleet, fleet.order("SkipTenant", tenants=["t1", "c1"])) == "NotApplicable"
    assert fleet.state("t1") is S.QUEUED
    taken(fleet, fleet.order("SkipTenant", tenants=["t1"]))
    fleet.go("SucceededWithSkips")
    assert fleet.run_of("t1").reason == "SkippedByAction"
    return fleet


def _held_after_a_write(ready: Ready) -> Fleet:
    fleet = ready(a_fleet(canaries=1, onFailure={"tenant": "Pause"}))
    fleet.members["c1"].bad.add("2.4.0")
    fleet.go("Paused")
    assert fleet.state("c1") is S.HELD
    assert fleet.members["c1"].live == "2.4.0"
    return fleet


@story
def a_failed_tenant_pauses_and_resume_goes_on_without_it(ready: Ready) -> Fleet:
    """onFailure.tenant Pause: Held as it is; Resume goes on, Resolve settles it."""
    fleet = _held_after_a_write(ready)
    taken(fleet, fleet.order("Resume"))
    fleet.go("SucceededWithSkips")
    assert fleet.is_guarded()
    taken(fleet, fleet.order("Resolve", tenants=["c1"], resolution="Rollback"))
    fleet.go(state_is("c1", S.ROLLED_BACK)).go()
    assert not fleet.is_guarded()
    return fleet


@story
def resolve_accepts_what_is_live(ready: Ready) -> Fleet:
    """Resolve AcceptLive: all components show the release, so it has succeeded."""
    fleet = _held_after_a_write(ready)
    fleet.members["c1"].bad.clear()
    assert refused(fleet, fleet.order("Resolve", tenants=["t1"], resolution="AcceptLive")) == "NotApplicable"
    name = fleet.order("Resolve", tenants=["c1"], resolution="AcceptLive")
    fleet.go(state_is("c1", S.SUCCEEDED))
    fleet.order("Resume")
    fleet.go("Succeeded").go()
    assert fleet.actions[name].completed
    return fleet


@story
def resolve_skips_what_shows_something_else(ready: Ready) -> Fleet:
    """Resolve AcceptLive: not at the release, so it is skipped with Resolved."""
    fleet = _held_after_a_write(ready)
    fleet.members["c1"].live = "2.4.0-hotfix"
    fleet.order("Resolve", tenants=["c1"], resolution="AcceptLive")
    fleet.go(state_is("c1", S.SKIPPED))
    assert fleet.run_of("c1").reason == "Resolved"
    fleet.order("Resume")
    return fleet.go("SucceededWithSkips")


@story
def a_rollback_that_fails_waits_for_resolve(ready: Ready) -> Fleet:
    """RollbackFailed: no third direction, nothing by itself; ForcePreImage settles it."""
    fleet = ready(a_fleet())
    fleet.members["c1"].bad.add("2.4.0")
    fleet.members["c1"].fails_back = FailReason.RECREATED
    fleet.go("RollbackFailed").go()
    assert fleet.is_guarded()
    assert refused(fleet, fleet.order("Retry", tenants=["c1"])) == "NotApplicable"
    fleet.members["c1"].fails_back = None
    name = fleet.order("Resolve", tenants=["c1"], resolution="ForcePreImage")
    fleet.go("RolledBack").go()
    assert fleet.actions[name].completed
    return fleet


@story
def a_rollback_past_its_deadline_is_tried_on(ready: Ready) -> Fleet:
    """rollback.deadline: RollbackFailed, and when the pods come up after all it is RolledBack."""
    fleet = ready(a_fleet())
    fleet.members["c1"].bad.add("2.4.0")
    fleet.members["c1"].stuck = True
    fleet.go("RollbackFailed")
    assert fleet.now >= NOON + 40 * MINUTE
    fleet.members["c1"].stuck = False
    return fleet.go("RolledBack")


@story
def an_edit_supersedes_the_run(ready: Ready) -> Fleet:
    """S11: those in flight finish by the old spec, then the new run judges them anew and takes them on; their stable version stays."""
    fleet = ready(a_fleet(canaries=2, waves=[{"name": "canary", "selector": CANARIES, "maxParallel": 2}, {"name": "rest"}]))
    fleet.go(state_is("c1", S.CONVERGING))
    fleet.edit("2.4.1")
    fleet.go(lambda fleet: fleet.journal is not None and fleet.journal.run.generation == 2 and fleet.journal.run.planned_time is not None)
    assert fleet.members["c1"].live == "2.4.0"
    fleet.go(lambda fleet: fleet.state("c1") is S.SOAKING and fleet.run_of("c1").to_version == "2.4.1")
    assert fleet.run_of("c1").from_version == "2.3.1"
    assert fleet.run_of("c1").last_seq >= 2
    fleet.go("Succeeded")
    assert {member.live for member in fleet.members.values()} == {"2.4.1"}
    assert all(fleet.run_of(name).reason == "Upgraded" for name in fleet.members)
    return fleet


@story
def an_edit_back_takes_soaking_tenants_back(ready: Ready) -> Fleet:
    """What came from the version now asked for is taken back, without a window; then it is at the release."""
    fleet = ready(a_fleet())
    fleet.go(state_is("c1", S.SOAKING))
    fleet.edit("2.3.1")
    fleet.go("Succeeded")
    assert fleet.run_of("c1").reason == "AlreadyAtRelease"
    assert {member.live for member in fleet.members.values()} == {"2.3.1"}
    return fleet


@story
def an_edit_of_the_rollout_alone_judges_soaking_tenants_anew(ready: Ready) -> Fleet:
    """The same content by another selector: nothing is written again, no window is needed, the clock begins again."""
    fleet = ready(a_fleet())
    fleet.go(state_is("c1", S.SOAKING))
    fleet.now += 5 * MINUTE
    seen = fleet.run_of("c1").last_seq
    closed = TenantProfileSpec.model_validate({"windows": [{"name": "far", "once": {"start": "2027-01-01T00:00:00Z", "duration": "2h"}}]})
    fleet.members["c1"].calendar = compile_calendar(Maintenance.model_validate({"whenNoWindow": "Open"}), closed)
    fleet.edit(tenantSelector={"matchExpressions": [{"key": "product", "operator": "Exists"}]})
    fleet.go("Succeeded")
    assert fleet.run_of("c1").last_seq == seen
    assert fleet.run_of("c1").reason == "Upgraded"
    completed = fleet.run_of("c1").completion_time
    assert completed is not None
    assert completed >= NOON + 15 * MINUTE
    return fleet


@story
def an_edit_of_another_field_begins_no_run(ready: Ready) -> Fleet:
    """Every other field is read live."""
    fleet = ready(a_fleet())
    fleet.go(state_is("c1", S.SOAKING))
    fleet.edit(health={"timeout": "20m"})
    fleet.go("Succeeded")
    assert fleet.journal is not None
    assert fleet.journal.run.generation == 1
    return fleet


@story
def a_deletion_lets_those_in_flight_finish(ready: Ready) -> Fleet:
    """S11: in flight finish, soaking ones stay and are Orphaned, then the finalizer goes."""
    fleet = ready(a_fleet(canaries=2, waves=[{"name": "canary", "selector": CANARIES, "maxParallel": 2}, {"name": "rest"}]))
    fleet.go(lambda fleet: S.CONVERGING in (fleet.state("c1"), fleet.state("c2")))
    fleet.delete()
    fleet.go()
    assert fleet.states() == {"c1": "Orphaned", "c2": "Orphaned", "t1": "Queued", "t2": "Queued", "t3": "Queued"}
    assert not fleet.is_guarded()
    return fleet


@story
def a_deletion_waits_for_what_is_held(ready: Ready) -> Fleet:
    """Held after a write keeps the finalizer until Resolve."""
    fleet = _held_after_a_write(ready)
    fleet.delete()
    fleet.go()
    assert fleet.is_guarded()
    fleet.order("Resolve", tenants=["c1"], resolution="Rollback")
    fleet.go()
    assert not fleet.is_guarded()
    return fleet


@story
def a_fleet_is_adopted_while_suspended(ready: Ready) -> Fleet:
    """suspend: plan only; tenants that run the release already are recorded, and when all do the upgrade has succeeded."""
    fleet = ready(a_fleet(gated=True, waves=[{"name": "canary", "size": 1, "approval": {"when": "Before"}}, {"name": "rest"}]))
    for member in fleet.members.values():
        member.live = "2.4.0"
    fleet.suspend(True)
    fleet.go("Succeeded")
    assert all(fleet.run_of(name).reason == "AlreadyAtRelease" for name in fleet.members)
    assert not any(member.touched for member in fleet.members.values())
    return fleet


@story
def a_suspended_upgrade_shows_its_plan(ready: Ready) -> Fleet:
    """suspend: waves and conflicts are shown, nothing starts; removed, it goes."""
    fleet = ready(a_fleet(canaries=2))
    fleet.members["c2"].conflict = "log.level"
    fleet.suspend(True)
    fleet.go("Suspended", limit=timedelta(seconds=0))
    fleet.go(lambda fleet: bool(fleet.run_of("c2").conflicts) and fleet.run_of("c1").preview is not None)
    assert set(fleet.states().values()) <= {"Queued", "Waiting"}
    fleet.members["c2"].conflict = ""
    fleet.suspend(False)
    return fleet.go("Succeeded")


@story
def a_failed_wave_only_pauses(ready: Ready) -> Fleet:
    """onFailure.wave Pause: nobody else is taken back, Resume goes on."""
    fleet = ready(a_fleet(canaries=2, gated=True, onFailure={"wave": "Pause"}))
    fleet.members["c1"].bad.add("2.4.0")
    fleet.go("Paused").go(limit=timedelta(minutes=20))
    assert fleet.state("c1") is S.ROLLED_BACK
    fleet.order("Resume")
    fleet.go("SucceededWithSkips")
    assert fleet.state("c2") is S.SUCCEEDED
    return fleet


@story
def a_failed_wave_takes_the_whole_upgrade_back(ready: Ready) -> Fleet:
    """onFailure.wave RollbackUpgrade: newest wave first, rollback.maxParallel at once."""
    waves: list[Block] = [{"name": "canary", "selector": CANARIES, "maxParallel": 3}, {"name": "rest", "maxParallel": 1}]
    fleet = ready(a_fleet(canaries=3, others=3, waves=waves, onFailure={"wave": "RollbackUpgrade"}, rollback={"maxParallel": 1}))
    fleet.members["t3"].bad.add("2.4.0")
    fleet.go("RolledBack")
    assert {member.live for member in fleet.members.values()} == {"2.3.1"}
    back = [line.split()[2] for line in fleet.lines if " RollingBack " in line and not line.split()[2].startswith("Rolling")]
    assert all(name.startswith("t") for name in back[: len(back) - 3])
    return fleet


@story
def a_failed_wave_takes_its_own_back(ready: Ready) -> Fleet:
    """onFailure.wave RollbackWave: all of the wave, other waves stay."""
    waves: list[Block] = [{"name": "canary", "selector": CANARIES}, {"name": "rest", "maxParallel": 1, "freeSlotOn": "Converged"}]
    fleet = ready(a_fleet(canaries=1, others=3, waves=waves, onFailure={"wave": "RollbackWave"}))
    fleet.members["t3"].bad.add("2.4.0")
    fleet.go("RolledBack")
    assert fleet.state("c1") is S.SUCCEEDED
    assert all(fleet.members[name].live == "2.3.1" for name in ("t1", "t2", "t3"))
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
def a_missing_catalogue_entry_stalls_after_five_seconds(ready: Ready) -> Fleet:
    """CatalogueIncomplete: git applies in any order, so 5 s are forgiven; `removed` says that the release drops it."""
    fleet = ready(a_fleet())
    fleet.catalogue["app-config", "2.3.1"] = CatalogueEntry("2.3.1", "app-config", "sha256:" + "1" * 64)
    fleet.go("CatalogueIncomplete")
    assert fleet.now == NOON + timedelta(seconds=5)
    fleet.catalogue["app-config", "2.4.0"] = CatalogueEntry("2.4.0", "app-config", "", removed=True)
    return fleet.go("Succeeded")


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
def a_policy_that_is_missing_comes_later(ready: Ready) -> Fleet:
    """PolicyNotFound after 5 s; then it goes on by itself. A run works by the policy as planned."""
    fleet = ready(a_fleet())
    policy, fleet.policy = fleet.policy, None
    fleet.go("PolicyNotFound")
    fleet.policy = policy
    fleet.go(state_is("c1", S.SOAKING))
    fleet.policy = replace(a_policy(), spec=a_policy_spec([{"name": "other"}]), generation=2)
    return fleet.go("Succeeded")
