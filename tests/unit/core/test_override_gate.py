"""OverrideGate and stragglers: whom a person's word frees, and whom the gates go on judging (windows.md section 6, gates.md)."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from builders import NOON, RUN, Block, a_journal, a_policy, a_status, a_tenant, a_world, after, an_action
from calendar_builders import stored
from tenantwave.api.tenant_run import TenantRunStatus, TenantState
from tenantwave.core.gates import GateBook, TenantGate, Verdict, WaveGate
from tenantwave.core.journal import Override, WaveProgress, WaveRecord
from tenantwave.core.plan import Deed, Plan
from tenantwave.core.planner import decide
from tenantwave.core.world import World

S = TenantState
SOAK = timedelta(minutes=10)
PASSED = after(hours=2)
"""When wave canary passed, without its straggler."""
LATE = after(days=7)
"""When the straggler converged."""
DURING = Override(person="ann", action="let-it-go", reason="metric was renamed", time=after(hours=1), verdict="Inconclusive")
FOR_LATE = DURING.model_copy(update={"time": LATE + timedelta(minutes=1), "for_stragglers": True})
THIN = TenantGate("late", "canary", Verdict.INCONCLUSIVE, "LowTraffic", "3 requests", (), LATE, clock=timedelta(0), is_judged=True)
LATCHED = replace(THIN, verdict=Verdict.FAILING, reason="AboveLimit", message="errors: 36 of 903", latched="errors", clock=None)
WELL = WaveGate("canary", Verdict.HEALTHY, "WithinLimit", clock=timedelta(0))
ILL = WaveGate("canary", Verdict.INCONCLUSIVE, "FleetIncident", "the fleet is ill")


def world_of(
    *stragglers: TenantRunStatus,
    override: Override | None = None,
    gate: TenantGate | None = THIN,
    wave: WaveGate = WELL,
    actions: tuple[Any, ...] = (),
    **canary: Any,
) -> World:
    """Return a world in which all waves have passed; acme has succeeded, and the stragglers of wave canary are late, late1 ..."""
    policy = a_policy(({"name": "canary", "selector": {"matchLabels": {"tenantwave.io/ring": "canary"}}, **canary},), gated=True)
    names = ["late", *(f"late{place}" for place in range(1, len(stragglers)))]
    journal = a_journal(policy, {"canary": ["acme", *names]})
    passed = {"progress": WaveProgress.PASSED, "start_time": NOON, "completion_time": PASSED}
    record = journal.run.waves[0].model_copy(update={**passed, "override": override})
    journal = journal.model_copy(update={"run": journal.run.model_copy(update={"waves": (record,)})})
    done = a_tenant("acme", a_status(S.SUCCEEDED, converged_time=NOON, completion_time=PASSED, start_time=NOON))
    tenants = [done, *(a_tenant(name, status) for name, status in zip(names, stragglers, strict=True))]
    book = GateBook(RUN, {name: replace(gate, name=name) for name in names} if gate is not None else {}, {"canary": wave})
    return a_world(tenants, policy=policy, journal=journal, gates=book, actions=actions)


def soaking(since: Any = LATE) -> TenantRunStatus:
    """Return the status of a tenant that soaks since then."""
    return a_status(S.SOAKING, start_time=since, converged_time=since, state_since_time=since)


def fate(world: World, now: Any, tenant: str = "late") -> str:
    """Return what becomes of a tenant: what the gates say is stored first, and acted on then."""
    plan = decide(world, now)
    for _ in range(2):
        plan = decide(world, now)
        world = stored(world, plan)
    known = world.tenants[tenant].run
    assert known is not None
    succeeds = any(step.deed is Deed.FINALISE and step.tenant == tenant for step in plan.steps)
    return "succeeds" if succeeds else "goes back" if known.status.state is S.ROLLING_BACK else "waits"


def canary(world: World) -> WaveRecord:
    """Return the record of the wave."""
    assert world.journal is not None
    return world.journal.run.waves[0]


@pytest.mark.parametrize(
    ("override", "gate", "wave", "expected"),
    [
        pytest.param(None, THIN, WELL, "waits", id="its own gate knows nothing"),
        pytest.param(DURING, THIN, WELL, "waits", id="the wave was overridden while it ran: that was about others"),
        pytest.param(DURING, LATCHED, WELL, "goes back", id="the wave was overridden while it ran, and it latches"),
        pytest.param(DURING, LATCHED, ILL, "waits", id="the wave was overridden while it ran, and now the fleet is ill"),
        pytest.param(FOR_LATE, THIN, WELL, "succeeds", id="overridden for it"),
        pytest.param(FOR_LATE, THIN, ILL, "succeeds", id="overridden for it in an incident"),
        pytest.param(FOR_LATE, LATCHED, WELL, "goes back", id="an override frees nobody who latched"),
        pytest.param(FOR_LATE.model_copy(update={"time": after(days=6)}), THIN, WELL, "waits", id="overridden for one before it"),
    ],
)
def test_what_becomes_of_a_straggler(override: Override | None, gate: TenantGate, wave: WaveGate, expected: str) -> None:
    """By its own gate, whatever a person said of those before it."""
    assert fate(world_of(soaking(), override=override, gate=gate, wave=wave), LATE + SOAK + timedelta(minutes=1)) == expected


def test_nobody_is_freed_by_a_word_of_a_week_ago() -> None:
    """Without any evidence about it at all."""
    assert fate(world_of(soaking(), override=DURING, gate=None), LATE + timedelta(days=1)) == "waits"


# The order.


def ordered(world: World, minutes: int = 30, name: str = "for-late") -> tuple[World, Plan]:
    """Return the world after an OverrideGate for the wave, this long after the straggler converged, and the plan."""
    now = LATE + timedelta(minutes=minutes)
    action = an_action("OverrideGate", name=name, time=now, wave="canary", reason="too little traffic there")
    plan = decide(replace(world, actions=(action,)), now)
    (answer,) = plan.answers
    world = replace(world, actions=(replace(action, accepted=answer.accepted, completed=answer.completed),))
    return stored(world, plan), plan


@pytest.mark.parametrize("before", [None, DURING], ids=["never overridden", "overridden while it ran"])
def test_the_soak_of_a_straggler_can_be_ended(before: Override | None) -> None:
    """A person's word for who soaks now; what its own gate said stays recorded, and the order is complete when it has come through."""
    world, plan = ordered(world_of(soaking(), override=before))
    assert (plan.answers[0].accepted, plan.answers[0].completed) == (True, False)
    assert plan.answers[0].message == "late of wave canary pass on their soak alone; the gate said Inconclusive"
    override = canary(world).override
    assert override is not None
    assert (override.action, override.said, override.for_stragglers) == ("for-late", "late: LowTraffic: 3 requests", True)
    assert canary(world).progress is WaveProgress.PASSED
    assert [step.deed for step in decide(world, LATE + timedelta(minutes=31)).steps] == [Deed.FINALISE]
    late = world.tenants["late"]
    assert late.run is not None
    done = late.run.status.model_copy(update={"state": S.SUCCEEDED, "completion_time": LATE + timedelta(minutes=31)})
    world = replace(world, tenants={**world.tenants, "late": replace(late, run=replace(late.run, status=done))})
    (answer,) = decide(world, LATE + timedelta(minutes=32)).answers
    assert (answer.completed, answer.message) == (True, "the stragglers of wave canary for which it was given soak no longer")


def test_who_comes_after_it_is_judged() -> None:
    """The word was about those that soaked when it was given; for a later one a person is asked again, and answers again."""
    world, _ = ordered(world_of(soaking(), soaking(LATE + timedelta(hours=1))))
    at = LATE + timedelta(hours=5)
    assert (fate(world, at, "late"), fate(world, at, "late1")) == ("succeeds", "waits")
    world, plan = ordered(world, minutes=300, name="for-late1")
    assert plan.answers[0].accepted
    assert fate(world, at, "late1") == "succeeds"


HEALTHY = replace(THIN, verdict=Verdict.HEALTHY, reason="WithinLimit")


@pytest.mark.parametrize(
    ("world", "says"),
    [
        pytest.param({"override": FOR_LATE}, "none of its stragglers soaks under the gates", id="it was given already"),
        pytest.param({"gate": HEALTHY}, "the gates of late are Healthy", id="its gate is well"),
        pytest.param({"status": a_status(S.WAITING, reason="OutsideWindow", message="why")}, "none of its stragglers", id="nobody soaks"),
    ],
)
def test_it_is_refused_where_it_would_change_nothing(world: Block, says: str) -> None:
    """With a sentence that says what it is for."""
    status = world.pop("status", soaking())
    _, plan = ordered(world_of(status, **world))
    assert (plan.answers[0].accepted, str(plan.answers[0].reason)) == (False, "NotApplicable")
    assert says in plan.answers[0].message


def test_a_straggler_keeps_its_place_until_its_first_verdict() -> None:
    """Also where the wave was overridden while it ran: the gates judge the straggler."""
    waits = a_status(S.WAITING, reason="OutsideWindow", message="why")
    for override, expected in ((DURING, ""), (FOR_LATE, "late1")):
        world = world_of(soaking(), waits, override=override, maxParallel=1, freeSlotOn="FirstVerdict")
        plan = decide(world, LATE + timedelta(minutes=2))
        assert "".join(move.tenant for move in plan.moves if move.status.state is S.PREFLIGHT) == expected
