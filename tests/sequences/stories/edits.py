"""Edits, deletion and suspension; policies and catalogue entries that come later."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

from builders import MINUTE, NOON, a_policy, a_policy_spec
from fleets.fleet import Fleet, a_fleet
from sequences.stories.telling import CANARIES, Ready, S, held_after_a_write, state_is, story
from tenantwave.api.policy import Maintenance
from tenantwave.api.profile import TenantProfileSpec
from tenantwave.core.calendar import compile_calendar
from tenantwave.core.world import CatalogueEntry


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
def an_upgrade_that_is_made_again_judges_what_was_left_soaking(ready: Ready) -> Fleet:
    """A file that moves is pruned and made again: what its canary was left with is unproven, so it soaks, and the others wait for its verdict."""
    fleet = ready(a_fleet(gated=True))
    fleet.go(state_is("c1", S.SOAKING))
    fleet.delete()
    fleet.go(lambda fleet: fleet.state("c1") is S.ORPHANED and not fleet.is_guarded())
    fleet.now += MINUTE
    fleet.make_again()
    again = fleet.now
    fleet.go(state_is("c1", S.SOAKING))
    assert fleet.run_of("c1").last_seq == 0, "nothing is written again"
    assert all(fleet.members[name].live == "2.3.1" for name in ("t1", "t2", "t3"))
    fleet.go("Succeeded")
    proven = fleet.run_of("c1").completion_time
    assert proven is not None
    assert proven - again >= timedelta(minutes=10), "it has soaked"
    assert fleet.run_of("c1").reason == "Upgraded"
    return fleet


@story
def what_was_left_soaking_is_not_taken_back_by_an_upgrade_that_did_not_write_it(ready: Ready) -> Fleet:
    """What stood before is on record with the run that is gone: it is Held, the others keep their version, and a person decides."""
    fleet = ready(a_fleet())
    fleet.go(state_is("c1", S.SOAKING))
    fleet.delete()
    fleet.go(lambda fleet: fleet.state("c1") is S.ORPHANED and not fleet.is_guarded())
    fleet.make_again()
    fleet.go(state_is("c1", S.SOAKING))
    fleet.order("Abort")
    fleet.go("Aborted")
    assert fleet.states() == {"c1": "Held", "t1": "Skipped", "t2": "Skipped", "t3": "Skipped"}
    assert fleet.run_of("c1").reason == "ForwardOnly"
    assert fleet.members["c1"].live == "2.4.0"
    fleet.order("Resolve", tenants=["c1"], resolution="AcceptLive")
    fleet.go(state_is("c1", S.SUCCEEDED))
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
    fleet = held_after_a_write(ready)
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
def a_missing_catalogue_entry_stalls_after_five_seconds(ready: Ready) -> Fleet:
    """CatalogueIncomplete: git applies in any order, so 5 s are forgiven; `removed` says that the release drops it."""
    fleet = ready(a_fleet())
    fleet.catalogue["app-config", "2.3.1"] = CatalogueEntry("2.3.1", "app-config", "sha256:" + "1" * 64)
    fleet.go("CatalogueIncomplete")
    assert fleet.now == NOON + timedelta(seconds=5)
    fleet.catalogue["app-config", "2.4.0"] = CatalogueEntry("2.4.0", "app-config", "", removed=True)
    return fleet.go("Succeeded")


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
