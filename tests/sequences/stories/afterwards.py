"""Tenants that were taken back are judged once more, for the record. It holds and delays nothing."""

from __future__ import annotations

from builders import MINUTE, NOON
from fleets.fleet import Fleet, a_fleet
from sequences.stories.gates import told
from sequences.stories.telling import Ready, S, story


def _taken_back(ready: Ready) -> Fleet:
    fleet = ready(a_fleet(canaries=2, others=1, gated=True))
    fleet.members["c1"].ill.add("2.4.0")
    return fleet.go("RolledBack")


@story
def a_tenant_that_was_taken_back_is_judged_once(ready: Ready) -> Fleet:
    """Healthy again: recorded a few ticks after the end, and then nobody is asked any more."""
    fleet = _taken_back(ready)
    ended = fleet.now
    assert fleet.run_of("c1").after_rollback is None, "it delays nothing"
    fleet.go()
    shown = fleet.run_of("c1").after_rollback
    assert shown is not None
    assert shown.verdict == "Healthy"
    assert fleet.now <= ended + 10 * MINUTE
    assert fleet.plan is not None
    assert fleet.plan.gate_context is not None
    assert not fleet.plan.gate_context.tenants
    run = fleet.run_of("c1")
    assert run.take_back is not None
    assert run.take_back.cause == "GateFailed"
    assert run.verdict is not None
    assert (run.verdict.verdict, run.verdict.message) == ("Failing", "errors: 36 of 903 requests failed in c1")
    return fleet


@story
def a_tenant_that_is_worse_than_before_is_told(ready: Ready) -> Fleet:
    """Worse after its rollback than before the upgrade: an Event, and its place among the exceptions says so."""
    fleet = ready(a_fleet(canaries=2, others=1, gated=True))
    fleet.members["c1"].ill.add("2.4.0")
    fleet.gates.worse_after.add("c1")
    fleet.go("RolledBack").go()
    shown = fleet.run_of("c1").after_rollback
    assert shown is not None
    assert (shown.verdict, shown.reason) == ("Failing", "WorseThanBefore")
    assert fleet.status is not None
    messages = {one.tenant: one.message for one in fleet.status.exceptions}
    assert messages["c1"].startswith("worse than before the upgrade, after it was taken back: errors: 30 of 900 requests failed in c1")
    assert told(fleet, "WorseThanBefore") == 2
    return fleet


@story
def metrics_that_are_away_after_a_rollback_hold_nothing(ready: Ready) -> Fleet:
    """RolledBack all the same; what could not be judged is noted as that."""
    fleet = ready(a_fleet(canaries=1, others=1, gated=True))
    fleet.members["c1"].ill.add("2.4.0")
    fleet.go(lambda fleet: fleet.state("c1") in (S.ROLLING_BACK, S.ROLLED_BACK))
    fleet.gates.blind = True
    fleet.go("RolledBack")
    ended = fleet.now
    assert ended < NOON + 10 * MINUTE
    fleet.go()
    assert fleet.now <= ended + 5 * MINUTE
    shown = fleet.run_of("c1").after_rollback
    assert shown is not None
    assert (shown.verdict, shown.reason) == ("Unknown", "Unreachable")
    return fleet
