"""Who goes in which wave."""

from __future__ import annotations

import pytest

from builders import CANARY, Block
from tenantwave.api.policy import Wave
from tenantwave.core.waves import Candidate, divide, plan_digest

CANDIDATES = (
    Candidate("acme", CANARY),
    Candidate("beta", {"tier": "2", "feature.test/sso": "on"}),
    Candidate("coda", {"tier": "1", "feature.test/sso": "on"}),
    Candidate("dent", {"tier": "1", "feature.test/sso": "off"}),
    Candidate("echo", {}),
)
RING: Block = {"name": "canary", "selector": {"matchLabels": CANARY}}
REST: Block = {"name": "rest", "orderBy": ["Name"]}


def waves(*blocks: Block) -> list[Wave]:
    return [Wave.model_validate(block) for block in blocks]


def who(*blocks: Block, salt: str = "shop/2.4.0") -> dict[str, list[str]]:
    """Return wave -> tenants, and `-` -> whom no wave takes."""
    division = divide(waves(*blocks), CANDIDATES, salt)
    return {name: [one.tenant for one in taken] for name, taken in division.waves} | {"-": list(division.unmatched)}


@pytest.mark.parametrize(
    ("blocks", "expected"),
    [
        pytest.param(
            (RING, REST), {"canary": ["acme"], "rest": ["beta", "coda", "dent", "echo"], "-": []}, id="selector, then everyone left"
        ),
        pytest.param(
            ({"name": "two", "size": 2, "orderBy": ["Name"]}, REST),
            {"two": ["acme", "beta"], "rest": ["coda", "dent", "echo"], "-": []},
            id="a number takes so many",
        ),
        pytest.param(
            (RING, {"name": "share", "size": "30%", "orderBy": ["Name"]}, REST),
            {"canary": ["acme"], "share": ["beta", "coda"], "rest": ["dent", "echo"], "-": []},
            id="a share is of those left, rounded up",
        ),
        pytest.param(
            ({"name": "mix", "coverage": {"labelPrefix": "feature.test/"}, "orderBy": ["Name"]}, RING),
            {"mix": ["beta", "dent"], "canary": ["acme"], "-": ["coda", "echo"]},
            id="coverage takes one of each combination",
        ),
        pytest.param(
            ({"name": "all", "orderBy": ["label:tier", "Name"]},),
            {"all": ["coda", "dent", "beta", "acme", "echo"], "-": []},
            id="by label, those without it last",
        ),
        pytest.param(
            ({"name": "many", "size": 99, "orderBy": ["Name"]},), {"many": ["acme", "beta", "coda", "dent", "echo"], "-": []}, id="too few"
        ),
    ],
)
def test_each_tenant_is_taken_once(blocks: tuple[Block, ...], expected: dict[str, list[str]]) -> None:
    """Waves take in their order; the first that wants a tenant has it."""
    assert who(*blocks) == expected


def test_hash_order_is_stable_within_a_release_and_differs_between_releases() -> None:
    """The same tenants are not the canaries for ever."""
    orders = {version: tuple(who({"name": "all"}, salt=f"shop/{version}")["all"]) for version in ("2.4.0", "2.4.1", "2.5.0")}
    assert len(set(orders.values())) > 1
    assert tuple(who({"name": "all"}, salt="shop/2.4.0")["all"]) == orders["2.4.0"]


def test_the_order_of_the_candidates_does_not_matter() -> None:
    """Caches give them in any order."""
    blocks = waves({"name": "one", "size": 2}, {"name": "rest"})
    assert divide(blocks, CANDIDATES, "s") == divide(blocks, reversed(CANDIDATES), "s")


def test_every_placement_says_why() -> None:
    """A clause for the TenantRun."""
    division = divide(waves(RING, {"name": "some", "size": 1}, {"name": "rest"}), CANDIDATES, "s")
    assert all(placement.why for _, taken in division.waves for placement in taken)


def test_equal_plans_have_equal_digests() -> None:
    """Another run, wave or order is another plan."""
    plan = [("canary", ["acme"]), ("rest", ["beta", "coda"])]
    digests = {
        plan_digest("run-1", plan),
        plan_digest("run-2", plan),
        plan_digest("run-1", [("canary", ["acme"]), ("rest", ["coda", "beta"])]),
        plan_digest("run-1", [("canary", ["acme", "beta"]), ("rest", ["coda"])]),
    }
    assert len(digests) == 4
    assert plan_digest("run-1", plan) == plan_digest("run-1", tuple(plan))
