"""OverrideGate: a person lets a wave pass on its soak alone. Nothing is rewritten by it, and nobody who latched is freed."""

from __future__ import annotations

from builders import MINUTE, Block
from fleets.fleet import Fleet, a_fleet
from sequences.stories.gates import condition, told, while_time_passes
from sequences.stories.telling import CANARIES, Ready, S, refused, state_is, story, taken
from tenantwave.core.gates import Verdict

WHY = "metric was renamed"


def _override(fleet: Fleet, wave: str = "canary") -> str:
    return fleet.order("OverrideGate", wave=wave, reason=WHY)


@story
def an_override_lets_a_wave_pass_on_its_soak_alone(ready: Ready) -> Fleet:
    """The evidence stays too thin: the wave passes when its tenants have soaked; the verdict and the person's word stay recorded."""
    fleet = ready(a_fleet(canaries=2, gated=True))
    fleet.gates.thin = True
    fleet.go("GateInconclusive")
    name = _override(fleet)
    taken(fleet, name)
    assert condition(fleet, "GatesPassed")[:2] == ("Unknown", "Overridden")
    fleet.go(state_is("t1", S.SOAKING))
    assert fleet.actions[name].completed
    fleet.gates.thin = False
    fleet.go("Succeeded")
    assert fleet.journal is not None
    record = fleet.journal.run.waves[0].override
    assert record is not None
    assert (record.action, record.person, record.reason, record.verdict) == (name, "ann", WHY, "Inconclusive")
    assert fleet.status is not None
    gate = fleet.status.waves[0].gate
    assert gate is not None
    assert (gate.verdict, gate.override) == ("Inconclusive", name)
    assert gate.message.startswith(f"passed by OverrideGate {name} of ann: {WHY}")
    assert condition(fleet, "GatesPassed")[:2] == ("Unknown", "Overridden")
    assert told(fleet, "GateOverridden") == 1
    return fleet


@story
def an_override_starts_those_that_blindness_held(ready: Ready) -> Fleet:
    """Metrics are away for good: by OverrideGate the wave starts its others and soaks as if there were no gates."""
    waves: list[Block] = [{"name": "canary", "selector": CANARIES, "maxParallel": 1}, {"name": "rest"}]
    fleet = ready(a_fleet(canaries=2, others=1, gated=True, waves=waves))
    fleet.go(lambda fleet: "Soaking" in fleet.states().values())
    fleet.gates.blind = True
    fleet.go("GateUnknown")
    taken(fleet, _override(fleet))
    fleet.go(lambda fleet: fleet.state("c1") is S.SUCCEEDED and fleet.state("c2") is S.SUCCEEDED)
    fleet.go("GateUnknown", limit=20 * MINUTE)
    assert fleet.state("t1") in (S.QUEUED, S.WAITING), "the next wave's gates are not overridden"
    fleet.gates.blind = False
    return fleet.go("Succeeded")


@story
def an_override_that_does_not_fit_is_refused(ready: Ready) -> Fleet:
    """Healthy, another wave than the running one, no such wave, overridden already, or failing: NotApplicable, with no effect."""
    fleet = ready(a_fleet(canaries=1, others=2, gated=True))
    fleet.go(state_is("c1", S.SOAKING))
    assert refused(fleet, _override(fleet, "rest")) == "NotApplicable"
    assert refused(fleet, _override(fleet, "nosuch")) == "UnknownTarget"
    while_time_passes(fleet, 4 * MINUTE)
    assert refused(fleet, _override(fleet)) == "NotApplicable"
    fleet.go(lambda fleet: "Soaking" in (fleet.states()["t1"], fleet.states()["t2"]))
    fleet.gates.thin = True
    taken(fleet, _override(fleet, "rest"))
    assert refused(fleet, _override(fleet, "rest")) == "NotApplicable"
    fleet.gates.thin = False
    fleet.go("Succeeded")
    assert refused(fleet, _override(fleet, "rest")) == "NotApplicable"
    return fleet


@story
def an_override_frees_nobody_who_latches(ready: Ready) -> Fleet:
    """Overridden, and then a tenant latches: it goes back, the wave is over its budget, and a second override ends no rollback."""
    waves: list[Block] = [{"name": "canary", "selector": CANARIES, "maxParallel": 2}, {"name": "rest"}]
    fleet = ready(a_fleet(canaries=2, others=1, gated=True, waves=waves))
    fleet.gates.thin = True
    fleet.go(lambda fleet: fleet.state("c1") is S.SOAKING and fleet.state("c2") is S.SOAKING)
    while_time_passes(fleet, 3 * MINUTE)
    taken(fleet, _override(fleet))
    fleet.members["c1"].ill.add("2.4.0")
    fleet.go("RolledBack")
    assert fleet.states() == {"c1": "RolledBack", "c2": "RolledBack", "t1": "Queued"}
    assert fleet.run_of("c1").reason == "GateFailed"
    assert refused(fleet, _override(fleet)) == "NotApplicable"
    return fleet


@story
def a_wave_that_failed_and_only_paused_is_overridden(ready: Ready) -> Fleet:
    """onFailure.wave Pause: a Failing gate holds the wave; with OverrideGate and Resume it passes, and its verdict stays Failing."""
    fleet = ready(a_fleet(canaries=2, others=1, gated=True, onFailure={"wave": "Pause"}))
    fleet.gates.wave_verdict["canary"] = (Verdict.FAILING, "Catastrophic")
    fleet.go("Paused")
    taken(fleet, _override(fleet))
    while_time_passes(fleet, 2 * MINUTE)
    assert fleet.ready == "Paused"
    taken(fleet, fleet.order("Resume"))
    fleet.go("Succeeded")
    assert fleet.status is not None
    gate = fleet.status.waves[0].gate
    assert gate is not None
    assert gate.verdict == "Failing"
    return fleet


@story
def metrics_that_stay_away_are_overridden_and_resumed(ready: Ready) -> Fleet:
    """Paused for half an hour without metrics: OverrideGate alone starts nobody; with Resume the wave passes, and is not paused again."""
    fleet = ready(a_fleet(canaries=1, others=1, gated=True))
    fleet.go(state_is("c1", S.SOAKING))
    fleet.gates.blind = True
    fleet.go("Paused")
    taken(fleet, _override(fleet))
    while_time_passes(fleet, 2 * MINUTE)
    assert fleet.ready == "Paused"
    assert fleet.state("t1") in (S.QUEUED, S.WAITING)
    taken(fleet, fleet.order("Resume"))
    fleet.go("GateUnknown")
    while_time_passes(fleet, 60 * MINUTE)
    assert (fleet.ready, fleet.state("c1"), fleet.state("t1")) == ("GateUnknown", S.SUCCEEDED, S.QUEUED)
    fleet.gates.blind = False
    return fleet.go("Succeeded")
