"""What the gates say, and what follows from it."""

from __future__ import annotations

from builders import MINUTE, Block
from fleets.fleet import Fleet, a_fleet
from sequences.stories.telling import Ready, S, state_is, story
from tenantwave.core.gates import Verdict


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
