"""Planner and gates together, minute by minute: what no scripted verdict shows. Restarts may cost minutes, and change no end."""

from __future__ import annotations

import random
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest

from builders import MINUTE, NOON
from fleets.fleet import Fleet, a_fleet
from fleets.judging import JudgingGates
from tenantwave.api.tenant_run import TenantState

S = TenantState
NEW = "2.4.0"
WAVES = [
    {"name": "canary", "selector": {"matchLabels": {"tenantwave.io/ring": "canary"}}, "maxParallel": 4, "freeSlotOn": "Converged"},
    {"name": "rest", "maxParallel": "100%", "failureBudget": 1},
]
WAYS = pytest.mark.parametrize("seed", [None, 1], ids=["as it is", "with restarts"])


def judged(seed: int | None, *, canaries: int = 4, others: int = 24, **policy: Any) -> tuple[Fleet, JudgingGates]:
    """Return a fleet under real gates; with a seed the operator forgets at random what is only in memory."""
    fleet, gates = a_fleet(canaries, others, gated=True, waves=WAVES, **policy), JudgingGates()
    fleet.gates = gates
    fleet.restarts, fleet.restart_share = random.Random(seed) if seed is not None else None, 0.03
    return fleet, gates


def soaking(fleet: Fleet, minutes: int = 4) -> Fleet:
    """Carry on until the canaries have soaked for so long."""
    fleet.go(lambda fleet: all(fleet.state(name) is S.SOAKING for name in fleet.members if name.startswith("c")))
    until = fleet.now + minutes * MINUTE
    return fleet.go(lambda fleet: fleet.now >= until)


def ever(fleet: Fleet, *states: str) -> bool:
    """Tell whether any tenant was ever in one of these states."""
    return any(line.split()[1] in states for line in fleet.lines)


@WAYS
def test_a_good_version_goes_through(seed: int | None) -> None:
    """Nobody is taken back, nothing is called an incident; the control is gone at the end."""
    fleet, gates = judged(seed)
    fleet.go("Succeeded")
    assert not ever(fleet, "RollingBack", "event")
    assert seed is not None or fleet.now < NOON + timedelta(hours=1)  # a restart every few minutes costs up to five each
    assert len(gates.controls[0]) == 24


@WAYS
def test_one_ailing_canary_is_taken_back_and_then_is_well(seed: int | None) -> None:
    """Found within minutes; its wave is over budget; afterwards it is as well as before, and its TenantRun says both."""
    fleet, _ = judged(seed)
    fleet.members["c2"].ill.add(NEW)
    fleet.go("RolledBack")
    assert fleet.now <= NOON + 15 * MINUTE
    fleet.go()
    run = fleet.run_of("c2")
    assert run.take_back is not None
    assert (run.take_back.cause, run.verdict.verdict if run.verdict else "") == ("GateFailed", "Failing")
    assert run.after_rollback is not None
    assert run.after_rollback.verdict == "Healthy", run.after_rollback.message
    others = [fleet.run_of(name).after_rollback for name in ("c1", "c3", "c4")]
    assert [shown.verdict for shown in others if shown is not None] == ["Healthy"] * 3
    assert fleet.status is not None
    gate = fleet.status.waves[0].gate
    assert gate is not None
    assert (gate.verdict, gate.failing_tenants) == ("Failing", ("c2",))
    assert ((gate.judged or 0) > 0, gate.coverage) == (True, "100%")
    assert "c1|c3|c4" in (gate.metrics[0].query or ""), "the query is about those whose numbers stand beside it"


@WAYS
def test_an_incident_in_the_middle_of_a_soak_costs_time_alone(seed: int | None) -> None:
    """All are ill, upgraded or not: nobody is taken back, nobody starts; when it is over the soak begins anew, by itself."""
    fleet, gates = judged(seed)
    soaking(fleet)
    gates.incident = True
    fleet.go("FleetIncident")
    begun = fleet.now
    fleet.go(lambda fleet: fleet.now >= begun + 10 * MINUTE)
    gates.incident = False
    over = fleet.now
    fleet.go("Succeeded")
    assert not ever(fleet, "RollingBack")
    assert min(fleet.run_of(name).completion_time or over for name in ("c1", "c2", "c3", "c4")) >= over + 10 * MINUTE
    told = [note.reason for note in fleet.notes if note.reason.startswith("FleetIncident")]
    assert told == ["FleetIncident", "FleetIncidentOver"]


@WAYS
def test_an_outage_of_the_metrics_costs_time_alone(seed: int | None) -> None:
    """Twenty minutes without an answer: GateUnknown, and then it goes on where it was."""
    fleet, gates = judged(seed)
    soaking(fleet)
    gates.blind = True
    fleet.go("GateUnknown")
    begun = fleet.now
    fleet.go(lambda fleet: fleet.now >= begun + 20 * MINUTE)
    gates.blind = False
    fleet.go("Succeeded")
    assert not ever(fleet, "RollingBack", "event")


@WAYS
def test_a_bad_release_is_no_incident(seed: int | None) -> None:
    """The whole wave is ill and its control is well: all of it goes back, though hardly anybody fails by much."""
    fleet, gates = judged(seed)
    gates.ailing = 0.05
    for member in fleet.members.values():
        member.ill.add(NEW)
    fleet.go("RolledBack")
    assert not ever(fleet, "event")
    assert {member.live for member in fleet.members.values()} == {"2.3.1"}


@WAYS
def test_a_tenant_that_stays_ill_after_its_rollback_is_told(seed: int | None) -> None:
    """It was not the release, or the rollback did not mend it: people must know."""
    fleet, _ = judged(seed)
    fleet.members["c2"].ill |= {NEW}
    fleet.go(lambda fleet: fleet.state("c2") is S.ROLLING_BACK)
    fleet.members["c2"].ill |= {NEW, "2.3.1"}
    fleet.go("RolledBack").go()
    shown = fleet.run_of("c2").after_rollback
    assert shown is not None
    assert (shown.verdict, shown.reason) == ("Failing", "WorseThanBefore"), shown.message


@pytest.mark.parametrize("incident", [False, True], ids=["well", "in an incident"])
def test_the_control_never_has_who_was_touched(incident: bool) -> None:
    """At no tick."""
    fleet, gates = judged(None, others=10)
    gates.incident = incident
    seen = len(gates.controls)

    def untouched(fleet: Fleet) -> bool:
        nonlocal seen
        for control in gates.controls[seen:]:
            assert not any(fleet.members[name].touched and fleet.state(name) is not S.ROLLED_BACK for name in control)
        seen = len(gates.controls)
        return fleet.ready == "Succeeded" or fleet.now > NOON + 30 * MINUTE

    watch: Callable[[Fleet], bool] = untouched
    fleet.go(watch)
    assert gates.controls
