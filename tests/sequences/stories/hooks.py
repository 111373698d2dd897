"""Hooks, and the point of no return."""

from __future__ import annotations

from datetime import timedelta

from builders import Block
from fleets.fleet import Fleet, a_fleet
from sequences.stories.telling import CANARIES, Ready, S, state_is, story, taken

TWO_WAVES: list[Block] = [{"name": "canary", "selector": CANARIES}, {"name": "rest", "maxParallel": 3}]


def migrated(fleet: Fleet, *tenants: str) -> Fleet:
    """Have an irreversible migration of a minute run in these tenants first (none named: in all)."""
    for name in tenants or fleet.members:
        fleet.members[name].hook_takes = timedelta(minutes=1)
        fleet.members[name].hook_is_irreversible = True
    return fleet


@story
def a_hook_runs_before_the_component(ready: Ready) -> Fleet:
    """The tenant stays in Applying while its Job runs; its end wakes the upgrade."""
    fleet = ready(migrated(a_fleet(others=1)))
    fleet.go("Succeeded")
    return fleet


@story
def a_reversible_hook_that_fails_is_taken_back(ready: Ready) -> Fleet:
    """Nothing but a Job has reached the tenant, and it goes back all the same."""
    fleet = ready(a_fleet(others=1))
    fleet.members["c1"].hook_takes, fleet.members["c1"].hook_fails = timedelta(seconds=30), True
    fleet.go("RolledBack").go()
    assert fleet.states() == {"c1": "RolledBack", "t1": "Queued"}
    return fleet


@story
def an_irreversible_hook_that_fails_holds_and_retry_goes_on(ready: Ready) -> Fleet:
    """Held (ForwardOnly): the wave has failed, nobody is taken back; mended, a Retry goes forward."""
    fleet = ready(migrated(a_fleet(others=1)))
    fleet.members["c1"].hook_fails = True
    fleet.go("Held").go()
    assert fleet.run_of("c1").reason == "ForwardOnly"
    assert fleet.is_guarded()
    fleet.members["c1"].hook_fails = False
    taken(fleet, fleet.order("Retry"))
    fleet.go("Succeeded")
    return fleet


@story
def what_fails_past_return_goes_back_by_resolve_alone(ready: Ready) -> Fleet:
    """It never converges: Held, and Resolve takes it back."""
    fleet = ready(migrated(a_fleet(others=1)))
    fleet.members["c1"].bad.add("2.4.0")
    fleet.go("Held").go()
    assert fleet.members["c1"].live == "2.4.0"
    taken(fleet, fleet.order("Resolve", tenants=["c1"], resolution="Rollback"))
    fleet.go("RolledBack").go()
    assert not fleet.is_guarded()
    return fleet


@story
def a_repaired_release_takes_on_who_is_past_return(ready: Ready) -> Fleet:
    """The way on is forward: the next release plans the tenant that is held, with what is written in it."""
    fleet = ready(migrated(a_fleet(others=1)))
    fleet.members["c1"].bad.add("2.4.0")
    fleet.go("Held").go()
    fleet.edit("2.4.1")
    fleet.go("Succeeded")
    assert fleet.run_of("c1").from_version == "2.3.1"
    return fleet


@story
def an_edit_back_takes_nobody_back_past_return(ready: Ready) -> Fleet:
    """The version before is asked for again: who is past return stays, and waits for a person."""
    fleet = ready(migrated(a_fleet(others=1)))
    fleet.members["c1"].bad.add("2.4.0")
    fleet.go("Held").go()
    fleet.edit("2.3.1")
    fleet.go().go()
    assert (fleet.state("c1"), fleet.members["c1"].live) == (S.HELD, "2.4.0")
    return fleet


@story
def an_abort_while_the_hook_runs_holds(ready: Ready) -> Fleet:
    """The Job of an irreversible hook exists: Abort ends the run, and names who stays."""
    fleet = ready(migrated(a_fleet(others=1)))
    fleet.go(lambda fleet: fleet.state("c1") is S.APPLYING and bool(fleet.run_of("c1").hooks))
    action = fleet.order("Abort", reason="the release is wrong")
    fleet.go("Aborted").go()
    assert fleet.run_of("c1").reason == "ForwardOnly"
    assert fleet.states()["t1"] == "Skipped"
    assert fleet.actions[action].completed
    assert fleet.is_guarded()
    return fleet


@story
def a_failed_wave_takes_back_whom_it_can(ready: Ready) -> Fleet:
    """RollbackUpgrade: who succeeded past return is Held, the others go back, and the run ends all the same."""
    fleet = ready(migrated(a_fleet(others=2, waves=TWO_WAVES, onFailure={"wave": "RollbackUpgrade"}, rollback={"maxParallel": 1}), "c1"))
    fleet.members["t1"].bad.add("2.4.0")
    fleet.go("Held").go()
    assert fleet.states() == {"c1": "Held", "t1": "RolledBack", "t2": "RolledBack"}
    assert fleet.members["c1"].live == "2.4.0"
    taken(fleet, fleet.order("Resolve", tenants=["c1"], resolution="AcceptLive"))
    fleet.go(state_is("c1", S.SUCCEEDED)).go()
    assert not fleet.is_guarded()
    return fleet


@story
def a_gate_that_fails_past_return_holds(ready: Ready) -> Fleet:
    """Healthy pods, failing requests, and no way back but by a person."""
    fleet = ready(migrated(a_fleet(others=1, gated=True)))
    fleet.members["c1"].ill.add("2.4.0")
    fleet.go("Held").go()
    assert fleet.run_of("c1").reason == "ForwardOnly"
    return fleet


@story
def a_pausing_policy_pauses_past_return_too(ready: Ready) -> Fleet:
    """onFailure.tenant Pause: Held as it is, with the reason that says that there is no way back."""
    fleet = ready(migrated(a_fleet(others=1, onFailure={"tenant": "Pause"})))
    fleet.members["c1"].hook_fails = True
    fleet.go("Paused")
    assert fleet.run_of("c1").reason == "ForwardOnly"
    taken(fleet, fleet.order("Resume"))
    fleet.go("SucceededWithSkips")
    return fleet
