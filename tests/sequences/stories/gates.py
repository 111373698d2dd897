"""What the gates say, and what follows from it."""

from __future__ import annotations

from datetime import timedelta
from itertools import pairwise

from builders import MINUTE, NOON, Block
from fleets.fleet import Fleet, a_fleet
from sequences.stories.telling import CANARIES, Ready, S, state_is, story, taken
from tenantwave.api.conditions import condition_of
from tenantwave.core.gates import Verdict
from tenantwave.core.world import Claim


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
    fleet.gates.wave_verdict["rest"] = (Verdict.FAILING, "Catastrophic")
    fleet.go("RolledBack")
    assert sorted(fleet.states().values()) == ["RolledBack"] * 4 + ["Succeeded"]
    return fleet


@story
def metrics_that_cannot_be_used_hold_and_then_it_goes_on(ready: Ready) -> Fleet:
    """S4: GateUnknown: nothing promoted, nothing taken back."""
    fleet = ready(a_fleet(gated=True))
    fleet.go(state_is("c1", S.SOAKING))
    fleet.gates.blind = True
    fleet.go("GateUnknown")
    until = fleet.now + 20 * MINUTE
    fleet.go(lambda fleet: fleet.now >= until)
    assert fleet.states() == {"c1": "Soaking", "t1": "Queued", "t2": "Queued", "t3": "Queued"}
    fleet.gates.blind = False
    return fleet.go("Succeeded")


@story
def metrics_that_stay_away_pause_once(ready: Ready) -> Fleet:
    """evaluation.onUnknown: after half an hour a person must resume."""
    fleet = ready(a_fleet(gated=True))
    fleet.go(state_is("c1", S.SOAKING))
    fleet.gates.blind = True
    fleet.go("Paused")
    fleet.gates.blind = False
    later = fleet.now + 60 * MINUTE
    fleet.go(lambda fleet: fleet.now >= later or fleet.state("c1") is S.SUCCEEDED)
    assert fleet.state("t1") in (S.QUEUED, S.WAITING)
    fleet.order("Resume")
    return fleet.go("Succeeded")


def told(fleet: Fleet, reason: str) -> int:
    """Count the Events of a reason."""
    return sum(note.reason == reason for note in fleet.notes)


def condition(fleet: Fleet, kind: str) -> tuple[str, str, str]:
    """Return a condition's status, reason and message."""
    assert fleet.status is not None
    found = condition_of(fleet.status.conditions, kind)
    assert found is not None
    return str(found.status), found.reason, found.message


def while_time_passes(fleet: Fleet, length: timedelta) -> Fleet:
    """Carry on for so long."""
    until = fleet.now + length
    return fleet.go(lambda fleet: fleet.now >= until)


@story
def an_incident_of_the_whole_fleet_holds_and_then_it_goes_on(ready: Ready) -> Fleet:
    """FleetIncident: nobody starts, passes or is taken back on metrics; told once; then the soak begins anew, by itself."""
    waves: list[Block] = [{"name": "canary", "selector": CANARIES, "maxParallel": 2, "freeSlotOn": "FirstVerdict"}, {"name": "rest"}]
    fleet = ready(a_fleet(canaries=4, others=3, gated=True, waves=waves))
    fleet.go(lambda fleet: sorted(fleet.states().values()).count("Soaking") == 2)
    fleet.gates.incident = True
    for member in fleet.members.values():
        member.ill = {"2.3.1", "2.4.0"}
    fleet.go("FleetIncident")
    at_its_start = fleet.states()
    while_time_passes(fleet, 60 * MINUTE)
    assert fleet.ready == "FleetIncident"
    moved = {name for name, state in fleet.states().items() if at_its_start[name] not in (state, "Queued", "Applying", "Converging")}
    assert not moved, f"{moved} moved in an incident"
    assert condition(fleet, "GatesPassed")[:2] == ("Unknown", "FleetIncident")
    waiting = [run for run in map(fleet.run_of, fleet.members) if run.state is S.WAITING]
    assert len(waiting) == 2
    assert all(run.reason == "UpgradeOnHold" and run.message.startswith("FleetIncident: ") for run in waiting)
    fleet.gates.incident = False
    for member in fleet.members.values():
        member.ill.clear()
    over = fleet.now
    fleet.go("Succeeded")
    assert min(fleet.run_of(name).completion_time or over for name in ("c1", "c2", "c3", "c4")) >= over + 10 * MINUTE
    assert (told(fleet, "FleetIncident"), told(fleet, "FleetIncidentOver")) == (1, 1)
    return fleet


@story
def a_failure_in_an_incident_is_still_a_failure(ready: Ready) -> Fleet:
    """An incident excuses metrics alone: who does not converge in it goes back, and counts in the budget."""
    waves: list[Block] = [{"name": "canary", "selector": CANARIES, "maxParallel": 2, "freeSlotOn": "Converged"}, {"name": "rest"}]
    fleet = ready(a_fleet(canaries=2, others=2, gated=True, waves=waves))
    fleet.members["c2"].bad.add("2.4.0")
    fleet.go(state_is("c1", S.SOAKING))
    fleet.gates.incident = True
    fleet.go("FleetIncident")
    fleet.go("RolledBack")
    assert fleet.states() == {"c1": "RolledBack", "c2": "RolledBack", "t1": "Queued", "t2": "Queued"}
    return fleet


@story
def the_control_shrinks_as_waves_go_on(ready: Ready) -> Fleet:
    """The control is whoever still runs the old version and is in nobody's hands: never who was upgraded, or ran the release before."""
    waves: list[Block] = [{"name": "canary", "selector": CANARIES}, {"name": "some", "size": 2, "maxParallel": 1}, {"name": "rest"}]
    fleet = ready(a_fleet(canaries=1, others=7, gated=True, waves=waves))
    fleet.members["t1"].live = "2.4.0"
    fleet.members["t2"].claims = (Claim("blog-1", "blog-1-y-1-a1", True, False, True, NOON, "blog", "1.0"),)
    fleet.go(state_is("c1", S.SOAKING))
    while_time_passes(fleet, 2 * MINUTE)
    assert set(fleet.gates.controls[-1]) == {"t3", "t4", "t5", "t6", "t7"}
    fleet.order("SkipTenant", tenants=["t3"])
    fleet.members["t2"].claims = ()
    seen = len(fleet.gates.controls)
    fleet.go("SucceededWithSkips")
    assert all(set(after) <= set(before) for before, after in pairwise(fleet.gates.controls[seen + 1 :]))
    assert fleet.gates.controls[-1] == ("t3",), "who is skipped still runs the old version"
    return fleet


@story
def a_drift_is_told_once_and_shown_to_who_approves(ready: Ready) -> Fleet:
    """Shift: within the limits, so it neither fails nor holds; people see it before they approve."""
    waves: list[Block] = [{"name": "canary", "selector": CANARIES, "approval": {"when": "After"}}, {"name": "rest"}]
    fleet = ready(a_fleet(gated=True, waves=waves))
    fleet.go(state_is("c1", S.SOAKING))
    while_time_passes(fleet, 3 * MINUTE)
    fleet.gates.shift = "errors: the wave has 3 times its control's"
    fleet.go("AwaitingApproval")
    assert "errors: the wave has 3 times its control's" in condition(fleet, "Ready")[2]
    taken(fleet, fleet.order("Approve", wave="canary"))
    fleet.gates.shift = ""
    fleet.go("Succeeded")
    assert told(fleet, "WaveShifted") == 1
    return fleet
