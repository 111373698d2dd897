"""What a plan warns of: a switch of all at once, labels that nobody has, gates that would often be wrong or that see little."""

from __future__ import annotations

from typing import Any

import pytest

from builders import NOON, Block, a_policy, a_tenant, a_view, a_world
from tenantwave.api.conditions import condition_of
from tenantwave.core.planner import decide
from tenantwave.core.status import upgrade_status

STRICT = "failureBudget is 0"
LONELY = "cannot be told from a bad release"
AT_ONCE = "put a wave of a few tenants before it"
ALL: list[Block] = [{"name": "all", "failureBudget": 0}]


def halves(budget: int) -> list[Block]:
    """Return two waves of the same size."""
    return [{"name": "one", "size": "50%", "failureBudget": budget}, {"name": "two", "failureBudget": budget}]


@pytest.mark.parametrize(
    ("count", "waves", "policy", "expected"),
    [
        pytest.param(40, halves(0), {}, [], id="20 tenants, 20 others"),
        pytest.param(42, halves(0), {}, [STRICT, STRICT], id="21 tenants on a budget of 0"),
        pytest.param(42, halves(1), {}, [], id="one may fail"),
        pytest.param(38, halves(1), {}, [LONELY], id="19 others"),
        pytest.param(20, ALL, {}, [AT_ONCE, LONELY], id="a single wave has nobody to compare with"),
        pytest.param(100, ALL, {}, [AT_ONCE, STRICT, LONELY], id="all three"),
        pytest.param(100, ALL, {"gated": False}, [AT_ONCE], id="no gates"),
        pytest.param(1, ALL, {"gated": False}, [], id="one tenant is not many at once"),
    ],
)
def test_the_plan_warns(count: int, waves: list[Block], policy: Block, expected: list[str]) -> None:
    """Once, as Events, and beside the plan as long as it holds; nothing is held by it."""
    known = a_policy(waves, **{"gated": True, **policy})
    world = a_world([a_tenant(f"t{number}") for number in range(count)], policy=known)
    plan = decide(world, NOON)
    told = [note.message for note in plan.notes if note.reason == "PlanWarning"]
    assert [next(word for word in (AT_ONCE, STRICT, LONELY) if word in message) for message in told] == expected
    assert plan.journal is not None
    assert plan.journal.run.warnings == tuple(told)
    accepted = condition_of(upgrade_status(None, world, plan, NOON).conditions, "Accepted")
    assert accepted is not None
    assert accepted.status == "True"
    assert accepted.message.count("warning: ") == len(expected)


def test_who_runs_the_release_already_is_not_counted() -> None:
    """It is neither judged nor compared with."""
    there: dict[str, Any] = {"components": (a_view(at_release=True),)}
    tenants = [a_tenant(f"t{number}", **(there if number < 22 else {})) for number in range(42)]
    plan = decide(a_world(tenants, policy=a_policy(ALL, gated=True)), NOON)
    assert [STRICT in note.message for note in plan.notes if note.reason == "PlanWarning"] == [False]


def test_a_gate_that_only_observes_warns_of_nothing() -> None:
    """It fails nobody; that all begin at once is not about gates."""
    ratio = {"bad": 'http_requests_total{code=~"5.."}', "total": "http_requests_total"}
    gates = [{"name": "errors", "ratio": ratio, "max": "1%", "mode": "Observe"}]
    policy = a_policy(ALL, gated=True, gates=gates)
    plan = decide(a_world([a_tenant(f"t{number}") for number in range(30)], policy=policy), NOON)
    assert [AT_ONCE in note.message for note in plan.notes if note.reason == "PlanWarning"] == [True]


def told_of(*waves: Block, labels: Block, count: int = 2, **fields: Any) -> list[str]:
    """Return what the plan of some tenants with these labels warns of."""
    tenants = [a_tenant(f"t{number}", labels=labels, **fields) for number in range(count)]
    plan = decide(a_world(tenants, policy=a_policy(waves)), NOON)
    return [note.message for note in plan.notes if note.reason == "PlanWarning"]


ONE, REST = {"name": "one", "size": 1}, {"name": "rest"}
NO_LABEL = "wave one: orderBy names label tier, which no tenant has; label the namespaces, or correct the key"
NO_FEATURE = "wave mix covers labels under feature.test/, and no tenant has one, so it takes nobody; label the namespaces"


@pytest.mark.parametrize(
    ("waves", "labels", "expected"),
    [
        pytest.param(
            ({**ONE, "orderBy": ["label:tier", "Hash"]}, REST), {"teir": "1"}, [NO_LABEL], id="ordered by a label that nobody has"
        ),
        pytest.param(({**ONE, "orderBy": ["label:tier"]}, REST), {"tier": "1"}, [], id="ordered by a label that somebody has"),
        pytest.param(({**ONE, "orderBy": ["Name", "Hash"]}, REST), {}, [], id="ordered by no label"),
        pytest.param(
            (ONE, {"name": "mix", "coverage": {"labelPrefix": "feature.test/"}}, REST), {"a": "1"}, [NO_FEATURE], id="nothing to cover"
        ),
        pytest.param(
            (ONE, {"name": "mix", "coverage": {"labelPrefix": "feature.test/"}}, REST), {"feature.test/sso": "on"}, [], id="a feature"
        ),
    ],
)
def test_labels_that_nobody_has_are_told(waves: tuple[Block, ...], labels: Block, expected: list[str]) -> None:
    """Else a wave silently takes nobody, or whomever."""
    assert told_of(*waves, labels=labels) == expected


def test_all_at_once_is_no_surprise_where_somebody_runs_the_release() -> None:
    """Those have tried it."""
    there: dict[str, Any] = {"components": (a_view(at_release=True),)}
    tenants = [a_tenant("acme", **there), a_tenant("beta"), a_tenant("coda")]
    plan = decide(a_world(tenants, policy=a_policy([REST])), NOON)
    assert [note for note in plan.notes if note.reason == "PlanWarning"] == []
