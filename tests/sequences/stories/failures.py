"""What does not converge, and what cannot be taken back."""

from __future__ import annotations

from datetime import timedelta

from builders import MINUTE, NOON, Block
from fleets.fleet import Fleet, a_fleet
from sequences.stories.telling import CANARIES, Ready, S, held_after_a_write, refused, state_is, story, taken
from tenantwave.api.conditions import FailReason


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
def a_failed_tenant_pauses_and_resume_goes_on_without_it(ready: Ready) -> Fleet:
    """onFailure.tenant Pause: Held as it is; Resume goes on, Resolve settles it."""
    fleet = held_after_a_write(ready)
    taken(fleet, fleet.order("Resume"))
    fleet.go("SucceededWithSkips")
    assert fleet.is_guarded()
    taken(fleet, fleet.order("Resolve", tenants=["c1"], resolution="Rollback"))
    fleet.go(state_is("c1", S.ROLLED_BACK)).go()
    assert not fleet.is_guarded()
    return fleet


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
