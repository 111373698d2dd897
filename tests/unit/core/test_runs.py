"""What begins a run, and what becomes of the tenants of the one before."""

from __future__ import annotations

from typing import Any

import pytest

from builders import NOON, OLD, Block, a_journal, a_policy, a_spec, a_status, a_tenant, a_world, an_upgrade
from tenantwave.api.tenant_run import TenantState
from tenantwave.core.passes.runs import meaning
from tenantwave.core.planner import decide

S = TenantState
IMAGE = "registry.test/shop/api:2.4.0-hotfix"
HOTFIX: Block = {"name": "api", "workload": {"kind": "Deployment", "name": "api", "containers": [{"name": "api", "image": IMAGE}]}}


@pytest.mark.parametrize(
    ("fields", "begins"),
    [
        pytest.param({"version": "2.4.1"}, True, id="release.version"),
        pytest.param({"release": {"assumedVersion": "2.2.0"}}, True, id="release.assumedVersion"),
        pytest.param({"policyRef": {"name": "other"}}, True, id="policyRef"),
        pytest.param({"tenantSelector": {"matchLabels": {"product": "mail"}}}, True, id="tenantSelector"),
        pytest.param({"components": [HOTFIX]}, True, id="components"),
        pytest.param({"preservation": {"onConflict": "TenantWins"}}, True, id="preservation"),
        pytest.param({"release": {"evidence": [{"type": "Test", "url": "https://ci.test/1"}]}}, False, id="release.evidence"),
        pytest.param({"health": {"timeout": "20m"}}, False, id="health"),
        pytest.param({"suspend": True}, False, id="suspend"),
        pytest.param({"notice": {"title": "Shop"}}, False, id="notice"),
    ],
)
def test_which_fields_begin_a_run(fields: dict[str, Any], begins: bool) -> None:
    """All others are read live."""
    assert (meaning(a_spec(**fields)) != meaning(a_spec())) is begins


@pytest.mark.parametrize(
    ("state", "begins"),
    [
        (S.SOAKING, True),
        (S.SUCCEEDED, True),
        (S.WAITING, True),
        (S.PREFLIGHT, False),
        (S.APPLYING, False),
        (S.CONVERGING, False),
        (S.ROLLING_BACK, False),
    ],
)
def test_a_run_is_superseded_when_nobody_is_in_flight(state: TenantState, begins: bool) -> None:
    """Those in flight finish or go back by the old spec."""
    policy = a_policy()
    journal = a_journal(policy, {"canary": ["acme"]}, running="canary")
    world = a_world([a_tenant("acme", a_status(state))], policy=policy, journal=journal, upgrade=an_upgrade(a_spec("2.4.1"), generation=2))
    plan = decide(world, NOON)
    run = plan.journal.run if plan.journal is not None else journal.run
    assert (run.generation == 2) is begins
    assert not any(move.status.state is S.PREFLIGHT for move in plan.moves)
    waits = "the spec was edited (generation 2); tenants in flight finish, then the next run begins"
    assert plan.summary.message.endswith(f"; {waits}") is not begins, "who reads run.id beside the new generation must see whose run it is"


@pytest.mark.parametrize(
    ("version", "expected"),
    [
        pytest.param(OLD, [S.ROLLING_BACK], id="what it came from: back"),
        pytest.param("2.4.1", [], id="something else: planned anew, later"),
    ],
)
def test_what_soaks_when_the_next_run_begins(version: str, expected: list[TenantState]) -> None:
    """Judged anew by the next run; taken back where the spec asks for the old version again."""
    policy = a_policy()
    journal = a_journal(policy, {"canary": ["acme"]}, running="canary")
    world = a_world(
        [a_tenant("acme", a_status(S.SOAKING))], policy=policy, journal=journal, upgrade=an_upgrade(a_spec(version), generation=2)
    )
    assert [move.status.state for move in decide(world, NOON).moves] == expected


def test_numbers_of_intents_never_begin_again() -> None:
    """A marker of an earlier run must not be taken for one of this run."""
    policy = a_policy()
    stored = a_status(S.ROLLED_BACK, run="shop-2-4-0-x7f2k-0-a1", last_seq=7, epoch=3, reason="NotConverged")
    world = a_world([a_tenant("acme", stored)], policy=policy, journal=a_journal(policy, {"canary": ["acme"]}, running="canary"))
    (move,) = decide(world, NOON).moves
    assert (move.status.state, move.status.last_seq, move.status.epoch, move.status.written) == (S.QUEUED, 7, 3, False)
