"""Who goes in which wave."""

from __future__ import annotations

from collections import Counter
from itertools import pairwise

import pytest

from builders import CANARY, Block
from tenantwave.api.policy import Wave
from tenantwave.core.waves import Candidate, divide, explain, natural, plan_digest

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
    return {name: list(taken) for name, taken in division.waves} | {"-": list(division.unmatched)}


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
            (
                {"name": "first", "selector": {"matchLabels": {"tier": "2"}}},
                {"name": "mix", "coverage": {"labelPrefix": "feature.test/"}, "orderBy": ["Name"]},
            ),
            {"first": ["beta"], "mix": ["dent"], "-": ["acme", "coda", "echo"]},
            id="coverage leaves out what an earlier wave has",
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


@pytest.mark.parametrize(
    ("block", "expected"),
    [
        pytest.param({"name": "one", "size": 1, "orderBy": ["Name"]}, ["beta"], id="drawn last"),
        pytest.param({"name": "mix", "coverage": {"labelPrefix": "feature.test/"}, "orderBy": ["Name"]}, ["beta"], id="covers nothing"),
        pytest.param({"name": "all", "orderBy": ["Name"]}, ["beta", "coda", "acme", "dent"], id="last in the wave that takes it"),
    ],
)
def test_who_is_not_upgraded_is_no_canary(block: Block, expected: list[str]) -> None:
    """A tenant that the run will skip proves nothing to the others."""
    on = {"feature.test/sso": "on"}
    fleet = [Candidate("acme", on, False), Candidate("beta", on), Candidate("coda", {}), Candidate("dent", {}, False)]
    assert list(divide(waves(block), fleet, "s").waves[0][1]) == expected


def test_a_combination_is_not_covered_by_who_is_not_upgraded() -> None:
    """In an earlier wave neither."""
    on = {"feature.test/sso": "on"}
    fleet = [Candidate("acme", on | CANARY, False), Candidate("beta", on)]
    division = divide(waves(RING, {"name": "mix", "coverage": {"labelPrefix": "feature.test/"}}), fleet, "s")
    assert division.waves == (("canary", ("acme",)), ("mix", ("beta",)))


def test_hash_order_is_stable_within_a_release_and_differs_between_releases() -> None:
    """The same tenants are not the canaries for ever."""
    orders = {version: tuple(who({"name": "all"}, salt=f"shop/{version}")["all"]) for version in ("2.4.0", "2.4.1", "2.5.0")}
    assert len(set(orders.values())) > 1
    assert tuple(who({"name": "all"}, salt="shop/2.4.0")["all"]) == orders["2.4.0"]


def test_canaries_rotate_between_releases() -> None:
    """Of 100 tenants 10 go first; over 200 releases each is among them about 20 times, and two releases share about one of them.

    With 20 expected and a deviation of 4.2 each tenant stays within 4 to 40 (3.8 and 4.8 deviations); the names and versions are fixed.
    """
    candidates = [Candidate(f"tenant-{number:03}", {}) for number in range(100)]
    sampled = waves({"name": "sample", "size": "10%"}, {"name": "rest"})
    firsts = [set(divide(sampled, candidates, f"shop/2.{minor}.0").waves[0][1]) for minor in range(200)]
    times = Counter(name for first in firsts for name in first)
    assert {len(first) for first in firsts} == {10}
    assert len(times) == 100
    assert min(times.values()) >= 4
    assert max(times.values()) <= 40
    shared = [len(one & other) for one, other in pairwise(firsts)]
    assert 0.7 < sum(shared) / len(shared) < 1.3


def test_the_hash_of_another_product_is_another() -> None:
    """Else the same tenants would be the canaries of every product of that version."""
    candidates = [Candidate(f"tenant-{number:03}", {}) for number in range(100)]
    first = {
        product: divide(waves({"name": "some", "size": 10}), candidates, f"{product}/2.4.0").waves[0][1] for product in ("shop", "desk")
    }
    assert set(first["shop"]) != set(first["desk"])


@pytest.mark.parametrize(
    "ordered",
    [
        pytest.param(["2", "10", "gold", "silver"], id="numbers by value, before words"),
        pytest.param(["v1.9", "v1.10"], id="the numbers of a version"),
        pytest.param(["tier-2", "tier-10", "tier-x"], id="a number behind a word"),
        pytest.param(["", "0", "00a", "1"], id="an empty value, and leading zeros"),
    ],
)
def test_labels_sort_as_people_expect(ordered: list[str]) -> None:
    """Tier 2 comes before tier 10."""
    assert sorted(set(ordered), key=natural) == ordered


def test_the_order_of_the_candidates_does_not_matter() -> None:
    """Caches give them in any order."""
    blocks = waves({"name": "one", "size": 2}, {"name": "rest"})
    assert divide(blocks, CANDIDATES, "s") == divide(blocks, reversed(CANDIDATES), "s")


PAID = {"tier": "2", "feature.test/sso": "on", "feature.test/audit": "off"}


@pytest.mark.parametrize(
    ("block", "labels", "place", "expected"),
    [
        pytest.param(RING, CANARY, 1, "wave canary selects label tenantwave.io/ring=canary; place 1 of 12 by Hash", id="selector"),
        pytest.param(
            {
                "name": "canary",
                "selector": {
                    "matchExpressions": [
                        {"key": "tier", "operator": "In", "values": ["1", "2"]},
                        {"key": "vip", "operator": "DoesNotExist"},
                    ]
                },
            },
            PAID,
            2,
            "wave canary selects label tier=2, no label vip; place 2 of 12 by Hash",
            id="expressions, one over a label that it lacks",
        ),
        pytest.param({"name": "all", "selector": {}}, {}, 1, "wave all selects everybody; place 1 of 12 by Hash", id="an empty selector"),
        pytest.param(
            {"name": "sample", "size": "10%", "orderBy": ["label:tier", "Hash"]},
            PAID,
            3,
            "wave sample takes 10% of the tenants left; place 3 of 12 by label tier=2, then Hash",
            id="size, by label",
        ),
        pytest.param(
            {"name": "sample", "size": 12, "orderBy": ["label:tier", "Name"]},
            {},
            12,
            "wave sample takes 12 of the tenants left; place 12 of 12 by label tier (it has none), then Name",
            id="size, without the label",
        ),
        pytest.param(
            {"name": "mix", "coverage": {"labelPrefix": "feature.test/"}},
            PAID,
            1,
            "wave mix covers the combination audit=off, sso=on with it; place 1 of 12 by Hash",
            id="coverage",
        ),
        pytest.param(REST, {}, 7, "wave rest takes everybody who is left; place 7 of 12 by Name", id="the rest"),
    ],
)
def test_every_place_is_explained(block: Block, labels: dict[str, str], place: int, expected: str) -> None:
    """By what the wave takes the tenant, and at which place of its order."""
    (wave,) = waves(block)
    assert explain(wave, labels, place, 12, is_last=False) == expected


@pytest.mark.parametrize(
    ("block", "place"),
    [
        pytest.param(RING, 12, id="a selector that does not match"),
        pytest.param({"name": "mix", "coverage": {"labelPrefix": "feature.test/"}}, 12, id="no label that counts"),
        pytest.param({"name": "sample", "size": "50%"}, 7, id="behind the share"),
        pytest.param({"name": "sample", "size": 6}, 7, id="behind the number"),
    ],
)
def test_who_joins_the_last_wave_is_told_so(block: Block, place: int) -> None:
    """`unmatched: LastWave`, or a wave of its own that has passed."""
    (wave,) = waves(block)
    said = explain(wave, {}, place, 12, is_last=True)
    assert said == f"no wave takes it by itself, or its own has passed: it joins wave {wave.name} as the last one"


def test_an_explanation_fits_into_the_status() -> None:
    """However long the labels are."""
    labels = {f"{'a' * 250}/{'b' * 60}{number}": "c" * 63 for number in range(4)}
    wave = Wave.model_validate({"name": "all", "orderBy": [f"label:{key}" for key in labels]})
    assert len(explain(wave, labels, 1, 1, is_last=True)) == 512


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
