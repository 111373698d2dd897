"""A wave of 500 fails as a whole: all of it goes back at once, as fast as the policy lets it, and whoever cannot go back is named."""

from __future__ import annotations

from datetime import datetime

import pytest

from builders import CANARY, Block
from fleets.fleet import Fleet, a_fleet
from fleets.gates import TICK
from tenantwave.api.conditions import FailReason, condition_of
from tenantwave.api.tenant_run import TenantState
from tenantwave.core.gates import Verdict
from tenantwave.core.status import MAX_EXCEPTIONS

S = TenantState
COUNT = 500
ALWAYS: Block = {"name": "always", "dates": {"from": "2026-01-01", "to": "2026-12-31"}}
"""Nobody starts in this year."""


def a_wave_that_soaks(max_parallel: int | str) -> Fleet:
    """Return a fleet whose second wave, of 500, soaks."""
    waves: list[Block] = [
        {"name": "canary", "selector": {"matchLabels": CANARY}},
        {"name": "rest", "maxParallel": COUNT, "freeSlotOn": "Converged"},
    ]
    fleet = a_fleet(canaries=1, others=COUNT, gated=True, waves=waves, rollback={"maxParallel": max_parallel})
    return fleet.go(lambda fleet: list(fleet.states().values()).count("Soaking") == COUNT)


def in_state(fleet: Fleet, state: TenantState) -> int:
    """Return how many of the wave are in a state."""
    return sum(fleet.state(name) is state for name in fleet.members if name.startswith("t"))


def go_to_the_verdict(fleet: Fleet) -> datetime:
    """Let the wave fail its gate; return when that was seen. All that follows at that instant is done."""
    fleet.gates.wave_verdict["rest"] = (Verdict.FAILING, "Catastrophic")
    while fleet.ready != "RollingBack":
        assert fleet.step() or fleet.advance(TICK), "the next look at the gates"
    seen = fleet.now
    while fleet.step():
        continue
    return seen


@pytest.mark.parametrize(("max_parallel", "at_once"), [("50%", 250), (10, 10), ("5%", 25)])
def test_the_orders_go_out_with_the_verdict(max_parallel: int | str, at_once: int) -> None:
    """At the very instant that the verdict is seen, through closed doors, and never more at once than `rollback.maxParallel`."""
    fleet = a_wave_that_soaks(max_parallel)
    for name, member in fleet.members.items():
        member.stuck = True
        fleet.set_door(name, freezes=[ALWAYS])
    verdict_time = go_to_the_verdict(fleet)
    assert (in_state(fleet, S.ROLLING_BACK), fleet.now) == (at_once, verdict_time)


def test_all_of_them_come_back() -> None:
    """RolledBack is the end, and each runs what it ran before; at no time go more back than `rollback.maxParallel`."""
    fleet = a_wave_that_soaks("50%")
    go_to_the_verdict(fleet)
    most = 0

    def is_over(fleet: Fleet) -> bool:
        nonlocal most
        most = max(most, in_state(fleet, S.ROLLING_BACK))
        return fleet.ready == "RolledBack"

    fleet.go(is_over)
    assert (most <= COUNT // 2, in_state(fleet, S.ROLLED_BACK)) == (True, COUNT)
    assert {member.live for name, member in fleet.members.items() if name.startswith("t")} == {"2.3.1"}


def test_whoever_cannot_go_back_is_named_and_stops_nobody() -> None:
    """30 of 500 fail on the way back: the others are back, the worst 20 are listed, and a command lists all; the progress is told."""
    fleet = a_wave_that_soaks("10%")
    failing = [f"t{number}" for number in range(1, 31)]
    for name in failing:
        fleet.members[name].fails_back = FailReason.AMBIGUOUS
    fleet.gates.wave_verdict["rest"] = (Verdict.FAILING, "Catastrophic")
    told: list[str] = []

    def listen(fleet: Fleet) -> bool:
        ready = condition_of(fleet.status.conditions, "Ready") if fleet.status is not None else None
        if ready is not None:
            told.append(ready.message)
        return in_state(fleet, S.ROLLED_BACK) == COUNT - len(failing) and fleet.ready == "RollbackFailed"

    fleet.go(listen)
    while fleet.step():
        listen(fleet)
    listen(fleet)
    assert {name for name in fleet.members if fleet.state(name) is S.ROLLBACK_FAILED} == set(failing)
    status = fleet.status
    assert status is not None
    assert status.counts is not None
    assert (status.counts.rolled_back, status.counts.rollback_failed) == (COUNT - len(failing), len(failing))
    assert len(status.exceptions) == MAX_EXCEPTIONS
    assert status.exceptions_truncated
    assert {one.state for one in status.exceptions} == {"RollbackFailed"}
    assert "and 27 more could not be taken back" in told[-1]
    assert "kubectl get tenantruns -A -o wide -l tenantwave.io/upgrade=shop-2-4-0 | grep RollbackFailed" in told[-1]
    progress = [int(message.split("taken back so far: ")[1].split(" of 500")[0]) for message in told if "taken back so far: " in message]
    assert progress == sorted(progress)
    assert len(set(progress)) >= 5, "progress is told as it comes"
