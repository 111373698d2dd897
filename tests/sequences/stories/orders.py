"""What people order: Pause, Abort, Retry, SkipTenant, Resolve."""

from __future__ import annotations

from dataclasses import replace

from builders import a_policy
from fleets.fleet import Fleet, a_fleet
from sequences.stories.telling import CANARIES, Ready, S, held_after_a_write, refused, state_is, story, taken


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


@story
def resolve_accepts_what_is_live(ready: Ready) -> Fleet:
    """Resolve AcceptLive: all components show the release, so it has succeeded."""
    fleet = held_after_a_write(ready)
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
    fleet = held_after_a_write(ready)
    fleet.members["c1"].live = "2.4.0-hotfix"
    fleet.order("Resolve", tenants=["c1"], resolution="AcceptLive")
    fleet.go(state_is("c1", S.SKIPPED))
    assert fleet.run_of("c1").reason == "Resolved"
    fleet.order("Resume")
    return fleet.go("SucceededWithSkips")
