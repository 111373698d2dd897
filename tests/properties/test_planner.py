"""Whatever the fleet, the policy, the troubles and the orders: the invariants hold after every step, and every run ends or says who must act."""

from __future__ import annotations

from datetime import timedelta

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from builders import Block
from fleets.fleet import WAYS, Fleet, a_fleet
from tenantwave.api.conditions import FailReason, ReadyReason
from tenantwave.api.tenant_run import TenantState
from tenantwave.core import tenant_run

S = TenantState
R = ReadyReason

ENDS = frozenset(
    {
        R.SUCCEEDED, R.SUCCEEDED_WITH_SKIPS, R.ROLLED_BACK, R.ABORTED, R.ROLLBACK_FAILED, R.HELD, R.PAUSED, R.AWAITING_APPROVAL, R.SUSPENDED,
        R.DEADLINE_EXCEEDED, R.OWNERSHIP_CONFLICT, R.NO_TENANTS, R.EMPTY_FIRST_WAVE, R.UNMATCHED_TENANTS, R.TENANT_BUSY, R.GATE_UNKNOWN,
        R.GATE_INCONCLUSIVE, R.FLEET_INCIDENT,
    }
)  # fmt: skip
"""Where an upgrade may come to rest: done, ended, or naming who must act."""

WAVE_LISTS: tuple[list[Block], ...] = (
    [{"name": "all", "maxParallel": 2}],
    [{"name": "canary", "selector": {"matchLabels": {"tenantwave.io/ring": "canary"}}}, {"name": "rest", "maxParallel": "50%"}],
    [{"name": "sample", "size": "30%", "failureBudget": 1}, {"name": "more", "size": 1}, {"name": "rest", "maxParallel": 3}],
    [
        {"name": "canary", "size": 1, "approval": {"when": "After"}},
        {"name": "rest", "failureBudget": "50%", "approval": {"when": "Before"}},
    ],
    [{"name": "canary", "size": 2, "freeSlotOn": "Converged", "maxParallel": 2}, {"name": "rest", "freeSlotOn": "FirstVerdict"}],
)
TROUBLES = (
    "none",
    "none",
    "none",
    "bad",
    "ill",
    "conflict",
    "owner",
    "stuck",
    "fails back",
    "gone",
    "unselected",
    "there",
    "hook",
    "hook fails",
    "no return",
    "no return",
)
DECISIONS = ("OptOut", "OptIn", "OptInEarly")
ORDERS = ("Approve", "Reject", "Pause", "Resume", "Abort", "Retry", "SkipTenant", "Resolve", "OverrideGate")
EVENTS = (
    *ORDERS,
    *ORDERS,
    *DECISIONS,
    "edit",
    "edit back",
    "edit selector",
    "suspend",
    "resume",
    "delete",
    "mend",
    "blind",
    "see",
    "incident",
    "thin",
    "wait",
)


@st.composite
def fleets(draw: st.DrawFn) -> Fleet:
    """Draw a small fleet under a policy, with troubles."""
    fleet = a_fleet(
        canaries=draw(st.integers(1, 2)),
        others=draw(st.integers(0, 4)),
        gated=draw(st.booleans()),
        waves=draw(st.sampled_from(WAVE_LISTS)),
        onFailure={
            "tenant": draw(st.sampled_from(("Rollback", "Rollback", "Pause"))),
            "wave": draw(st.sampled_from(("Pause", "RollbackUnproven", "RollbackWave", "RollbackUpgrade"))),
        },
        rollback={"maxParallel": draw(st.sampled_from((1, "50%")))},
    )
    for name, member in fleet.members.items():
        if draw(st.integers(0, 3)) == 0:
            fleet.decide_as(name, draw(st.sampled_from(DECISIONS)))
        match draw(st.sampled_from(TROUBLES)):
            case "bad":
                member.bad.add("2.4.0")
            case "ill":
                member.ill.add("2.4.0")
            case "conflict":
                member.conflict = "log.level"
            case "owner":
                member.owner = "Application argocd/shop owns api"
            case "stuck":
                member.bad.add("2.4.0")
                member.stuck = True
            case "fails back":
                member.bad.add("2.4.0")
                member.fails_back = FailReason.RECREATED
            case "hook":
                member.hook_takes = timedelta(minutes=draw(st.sampled_from((0, 2))))
            case "hook fails":
                member.hook_takes, member.hook_fails = timedelta(seconds=30), True
            case "no return":
                member.hook_takes, member.hook_is_irreversible = timedelta(minutes=1), True
                match draw(st.sampled_from(("well", "hook fails", "bad", "ill"))):
                    case "hook fails":
                        member.hook_fails = True
                    case "bad":
                        member.bad.add("2.4.0")
                    case "ill":
                        member.ill.add("2.4.0")
            case "there":
                member.live = "2.4.0"
            case "gone" if len(fleet.members) > 2:
                member.exists = False
            case "unselected" if len(fleet.members) > 2:
                member.selected = False
    return fleet


def happen(fleet: Fleet, event: str, tenant: str, pick: int) -> None:
    """Let one thing happen to the fleet."""
    waves = [wave.name for wave in fleet.journal.run.waves] if fleet.journal is not None else []
    wave = waves[pick % len(waves)] if waves else "all"
    match event:
        case "Approve" | "Reject":
            fleet.order(event, wave=wave, requestedBy=f"person{pick}")
        case "OverrideGate":
            fleet.order(event, wave=wave)
        case "Retry":
            fleet.order(event, tenants=[tenant] if pick % 2 else [])
        case "SkipTenant":
            fleet.order(event, tenants=[tenant])
        case "Resolve":
            fleet.order(event, tenants=[tenant], resolution=("Rollback", "AcceptLive", "ForcePreImage")[pick % 3])
        case "Pause" | "Resume" | "Abort":
            fleet.order(event)
        case "OptOut" | "OptIn" | "OptInEarly":
            if tenant in fleet.members:
                fleet.decide_as(tenant, event)
        case "edit":
            fleet.edit(("2.4.1", "2.4.2")[pick % 2])
        case "edit back":
            fleet.edit("2.3.1")
        case "edit selector":
            fleet.edit(tenantSelector={"matchExpressions": [{"key": "product", "operator": "Exists"}]})
        case "suspend" | "resume":
            fleet.suspend(event == "suspend")
        case "delete":
            fleet.delete()
        case "blind" | "see":
            fleet.gates.blind = event == "blind"
        case "incident":
            fleet.gates.incident = True
        case "thin":
            fleet.gates.thin = True
        case "wait":
            fleet.now += timedelta(minutes=pick)
        case "mend":
            mend(fleet)


def mend(fleet: Fleet) -> None:
    """Take every trouble away."""
    fleet.gates.blind = fleet.gates.incident = fleet.gates.thin = False
    for member in fleet.members.values():
        member.bad.clear()
        member.ill.clear()
        member.conflict, member.owner, member.stuck, member.fails_back, member.hook_fails = "", "", False, None, False


happenings = st.lists(
    st.tuples(st.integers(0, 25), st.sampled_from(EVENTS), st.sampled_from(("c1", "c2", "t1", "t2")), st.integers(0, 5)), max_size=6
)


@settings(max_examples=30, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(fleets(), happenings, st.integers(0, 2**16), st.sampled_from(WAYS))
def test_every_run_ends_or_says_who_must_act(fleet: Fleet, events: list[tuple[int, str, str, int]], seed: int, way: str) -> None:
    """The fleet checks the invariants after each step; here is asked where it comes to rest."""
    fleet.disturb(way, seed)
    for steps, event, tenant, pick in events:
        for _ in range(steps):
            if not fleet.step():
                fleet.advance(timedelta(hours=1))
        if fleet.deletion_time is None or event not in ("edit", "edit back", "edit selector", "delete"):
            happen(fleet, event, tenant, pick)
    fleet.go(limit=timedelta(hours=3))
    told = "\n".join(fleet.lines[-40:])
    if fleet.deletion_time is None:
        assert fleet.plan is not None
        assert fleet.plan.summary.reason in ENDS, f"rests at {fleet.ready}: {fleet.states()}\n{told}"
    for name, member in fleet.members.items():
        state = fleet.state(name)
        assert state not in tenant_run.IN_FLIGHT | {S.ROLLING_BACK} or fleet.gates.blind, f"{name} rests {state}\n{told}"
        if state is S.SUCCEEDED and not member.claims:
            assert member.record is not None, f"{name} succeeded without a record"
            assert member.record.version == member.live, told
        if state is S.ROLLED_BACK:
            assert member.live == fleet.run_of(name).from_version, told
    if fleet.deletion_time is not None:
        waits = any(member.run is not None and tenant_run.must_be_settled(member.run.status) for member in fleet.members.values())
        assert fleet.is_guarded() == waits, f"the finalizer is wrong: {fleet.states()}\n{told}"
