"""What people may order, when, and why it is refused. Effects over time are told in tests/sequences."""

from __future__ import annotations

import pytest

from builders import MINUTE, NOON, Block, a_journal, a_policy, a_status, a_tenant, a_world, after, an_action
from tenantwave.api.tenant_run import TenantRunStatus, TenantState
from tenantwave.core.journal import EndReason, Pause, TakeBackOrder
from tenantwave.core.plan import Answer, Deed, Plan
from tenantwave.core.planner import decide

S = TenantState


def planned(status: TenantRunStatus, action: Block, **journal: object) -> Plan:
    """Decide about one tenant, acme, in the running wave canary, with one order."""
    policy = a_policy()
    world = a_world(
        [a_tenant("acme", status)], policy=policy, journal=a_journal(policy, {"canary": ["acme"]}, running="canary", **journal),
        actions=[an_action(action.pop("type"), **action)],
    )  # fmt: skip
    return decide(world, NOON + MINUTE)


def answer(status: TenantRunStatus, action: Block, **journal: object) -> Answer:
    """Return the one answer."""
    (only,) = planned(status, action, **journal).answers
    return only


ENDED = TakeBackOrder(reason=EndReason.WAVE_FAILED, message="wave canary failed", time=NOON)


@pytest.mark.parametrize(
    ("order", "state", "reason"),
    [
        pytest.param({"type": "Abort", "run": "shop-2-4-0-x7f2k-0-a1"}, S.SOAKING, "StaleRun", id="an order for another run"),
        pytest.param({"type": "Approve", "wave": "canary"}, S.SOAKING, "NotApplicable", id="approve what does not await it"),
        pytest.param({"type": "Reject", "wave": "canary"}, S.SOAKING, "NotApplicable", id="reject what does not await it"),
        pytest.param({"type": "Approve", "wave": "nosuch"}, S.SOAKING, "UnknownTarget", id="approve no wave of the run"),
        pytest.param({"type": "Resume"}, S.SOAKING, "NotApplicable", id="resume what is not paused"),
        pytest.param({"type": "Retry"}, S.CONVERGING, "NotApplicable", id="retry with somebody in flight"),
        pytest.param({"type": "Retry"}, S.ROLLING_BACK, "NotApplicable", id="retry with somebody going back"),
        pytest.param({"type": "Retry"}, S.SUCCEEDED, "NotApplicable", id="retry with nothing to retry"),
        pytest.param({"type": "Retry", "tenants": ["acme"]}, S.ROLLBACK_FAILED, "NotApplicable", id="retry what needs Resolve"),
        pytest.param({"type": "Retry", "tenants": ["nosuch"]}, S.ROLLED_BACK, "UnknownTarget", id="retry nobody of the run"),
        pytest.param({"type": "SkipTenant", "tenants": ["nosuch"]}, S.QUEUED, "UnknownTarget", id="skip nobody of the run"),
        pytest.param({"type": "SkipTenant", "tenants": ["acme"]}, S.SOAKING, "NotApplicable", id="skip what has been written"),
        pytest.param({"type": "SkipTenant", "tenants": ["acme"]}, S.PREFLIGHT, "NotApplicable", id="skip what is in flight"),
        pytest.param(
            {"type": "Resolve", "tenants": ["acme"], "resolution": "Rollback"}, S.SOAKING, "NotApplicable", id="resolve what is not held"
        ),
        pytest.param(
            {"type": "Resolve", "tenants": ["nosuch"], "resolution": "Rollback"},
            S.HELD,
            "UnknownTarget",
            id="resolve nobody of the upgrade",
        ),
        pytest.param({"type": "OverrideGate", "wave": "canary"}, S.SOAKING, "NotApplicable", id="override where there are no gates"),
        pytest.param({"type": "OverrideGate", "wave": "nosuch"}, S.SOAKING, "UnknownTarget", id="override no wave of the run"),
    ],
)
def test_an_order_that_does_not_fit_is_refused_without_effect(order: Block, state: TenantState, reason: str) -> None:
    """With the reason, a sentence, and nothing else: the plan is the same as without it."""
    status = a_status(state, reason="InProgress", message="why")
    refused = planned(status, dict(order))
    (said,) = refused.answers
    assert (said.accepted, str(said.reason)) == (False, reason)
    assert len(said.message) > 20
    policy = a_policy()
    journal = a_journal(policy, {"canary": ["acme"]}, running="canary")
    without = decide(a_world([a_tenant("acme", status)], policy=policy, journal=journal), NOON + MINUTE)
    assert (refused.journal, refused.moves, refused.steps) == (without.journal, without.moves, without.steps)


@pytest.mark.parametrize(
    ("order", "state"),
    [
        pytest.param({"type": "Pause"}, S.SOAKING, id="pause at any time"),
        pytest.param({"type": "Pause", "run": None}, S.SOAKING, id="pause names no run"),
        pytest.param({"type": "Abort"}, S.SOAKING, id="abort at any time"),
        pytest.param({"type": "Retry"}, S.SOAKING, id="retry what soaks"),
        pytest.param({"type": "Retry", "tenants": ["acme"]}, S.ROLLED_BACK, id="retry what was taken back"),
        pytest.param({"type": "SkipTenant", "tenants": ["acme"]}, S.WAITING, id="skip what waits"),
        pytest.param({"type": "SkipTenant", "tenants": ["acme"]}, S.HELD, id="skip what is held with nothing written"),
        pytest.param({"type": "Resolve", "tenants": ["acme"], "resolution": "AcceptLive"}, S.HELD, id="resolve what is held"),
        pytest.param(
            {"type": "Resolve", "tenants": ["acme"], "resolution": "Rollback"}, S.ROLLBACK_FAILED, id="resolve what could not be taken back"
        ),
    ],
)
def test_an_order_that_fits_is_taken(order: Block, state: TenantState) -> None:
    """And it is remembered in the journal, so a crash before the answer does not repeat it."""
    plan = planned(a_status(state, reason="InProgress", message="why"), dict(order))
    (said,) = plan.answers
    assert said.accepted, said.message
    assert plan.journal is not None
    assert plan.journal.answered == ("uid-order",)


def test_a_pause_is_taken_between_two_runs() -> None:
    """Bound to the upgrade: the next run, or attempt, starts nobody until Resume."""
    plan = planned(a_status(S.ROLLED_BACK), {"type": "Pause"}, order=ENDED, completion_time=NOON)
    assert plan.answers[0].accepted
    assert plan.journal is not None
    assert plan.journal.pause is not None


def test_an_order_on_record_is_answered_again_without_effect() -> None:
    """The crash came between the journal and the answer: the pause does not begin again after a Resume."""
    said = planned(a_status(S.SOAKING), {"type": "Pause"}, answered=("uid-order",))
    assert said.answers[0].accepted
    assert said.journal is None, said.journal


def test_a_skip_on_record_is_repeated_until_it_is_answered() -> None:
    """Its effect is in a TenantRun: the crash may have come before that."""
    plan = planned(a_status(S.WAITING), {"type": "SkipTenant", "tenants": ["acme"]}, answered=("uid-order",))
    assert [move.status.state for move in plan.moves] == [S.SKIPPED]


@pytest.mark.parametrize(
    ("person", "expected"), [pytest.param("bob", 2, id="another person counts"), pytest.param("ann", 1, id="the same person does not")]
)
def test_distinct_people_count(person: str, expected: int) -> None:
    """`minimum: 2` before the first wave; without requestedBy all count as one."""
    policy = a_policy([{"name": "canary", "approval": {"when": "Before", "minimum": 2}}])
    world = a_world(
        [a_tenant("acme", a_status())],
        policy=policy,
        journal=a_journal(policy, {"canary": ["acme"]}),
        actions=[
            an_action("Approve", name="one", wave="canary", requestedBy="ann"),
            an_action("Approve", name="two", wave="canary", requestedBy=person, time=after(seconds=1)),
        ],
    )
    plan = decide(world, NOON + MINUTE)
    assert plan.journal is not None
    assert len(plan.journal.run.waves[0].approvals_before) == expected
    assert (plan.journal.run.waves[0].start_time is not None) is (expected == 2)


def test_orders_are_obeyed_oldest_first() -> None:
    """Pause, then Resume: it goes on; their names do not matter."""
    policy = a_policy()
    world = a_world(
        [a_tenant("acme", a_status(S.SOAKING))],
        policy=policy,
        journal=a_journal(policy, {"canary": ["acme"]}, running="canary"),
        actions=[an_action("Resume", name="a-resume", time=after(seconds=2)), an_action("Pause", name="b-pause")],
    )
    plan = decide(world, NOON + MINUTE)
    assert [said.action for said in plan.answers] == ["b-pause", "a-resume"]
    assert plan.journal is not None
    assert plan.journal.pause is None


def test_a_pause_holds_and_says_so() -> None:
    """A waiting tenant shows why."""
    plan = planned(a_status(), {"type": "Resume"}, pause=Pause(time=NOON, message="paused by ann"))
    assert plan.moves[0].status.state is S.PREFLIGHT
    policy = a_policy()
    journal = a_journal(policy, {"canary": ["acme"]}, running="canary", pause=Pause(time=NOON, message="paused by ann"))
    held = decide(a_world([a_tenant("acme", a_status())], policy=policy, journal=journal), NOON)
    assert (held.holds["acme"].reason, held.holds["acme"].message) == ("UpgradeOnHold", "paused by ann")


def test_abort_is_refused_once_the_run_has_ended() -> None:
    """There is nothing left to abort."""
    assert str(answer(a_status(S.ROLLED_BACK), {"type": "Abort"}, order=ENDED, completion_time=NOON).reason) == "NotApplicable"


@pytest.mark.parametrize(("kind", "accepted"), [("Resolve", True), ("SkipTenant", False)])
def test_a_tenant_that_an_earlier_run_left_behind_is_settled_by_that_run(kind: str, accepted: bool) -> None:
    """The order that its TenantRun offers names the run that it is stuck in, whatever run the upgrade is in by now."""
    status = a_status(S.ROLLBACK_FAILED, written=True, run="shop-earlier-1-a1")
    more = {"resolution": "Rollback"} if kind == "Resolve" else {}
    said = answer(status, {"type": kind, "tenants": ["acme"], "run": "shop-earlier-1-a1", **more})
    assert said.accepted is accepted
    assert str(said.reason) == ("Accepted" if accepted else "StaleRun")


@pytest.mark.parametrize("has_policy", [True, False], ids=["no catalogue entry", "no policy"])
def test_an_abort_takes_back_whom_an_earlier_run_left_unproven(has_policy: bool) -> None:
    """The upgrade was edited to what cannot be planned: no wave has the tenant, and still it is on the version that nobody wants."""
    policy = a_policy() if has_policy else None
    soaking = a_status(S.SOAKING, run="shop-2-4-0-x7f2k-0-a1", written=True, reason="InProgress", message="why")
    journal = a_journal(a_policy(), {}, planned_time=None)
    world = a_world([a_tenant("acme", soaking)], policy=policy, journal=journal, actions=[an_action("Abort")])
    plan = decide(world, NOON + MINUTE)
    assert (plan.answers[0].accepted, plan.answers[0].message) == (True, "1 unproven tenants are taken back")
    (moved,) = [move.status for move in plan.moves if move.tenant == "acme"]
    assert (moved.state, moved.reason) == (S.ROLLING_BACK, "Aborted")
    assert plan.journal is not None
    assert plan.journal.run.completion_time is None, "the run is over when the tenant is back"
    then = a_world([a_tenant("acme", moved)], policy=policy, journal=plan.journal)
    assert [(step.tenant, step.deed) for step in decide(then, NOON + 2 * MINUTE).steps] == [("acme", Deed.TAKE_BACK)]
