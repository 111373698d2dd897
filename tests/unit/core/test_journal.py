"""A journal fits into one ConfigMap, however large the fleet and whatever is said of its tenants; and it is read as it was written."""

from __future__ import annotations

from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from builders import NOON, a_journal, a_policy, after
from tenantwave.core.journal import MOST_NAMED, EndReason, Journal, TakeBackOrder, WaveProgress
from tenantwave.core.places import named_by, places_of

CONFIG_MAP_BYTES = 1024 * 1024
FLEET = 10_000
LONGEST_NAME = 63
WAVES = ({"name": "canary", "selector": {"matchLabels": {"x": "y"}}}, {"name": "rest"})
NAMES = st.lists(st.sampled_from(["acme", "7", "0", "a-1", *(f"t{place}" for place in range(30))]), unique=True, max_size=30)


def a_fleet(count: int, length: int = 5) -> list[str]:
    """Return so many tenants with names of that length."""
    return [f"t{place:0{length - 1}}" for place in range(count)]


def a_journal_of(planned: list[str], ordered: list[str]) -> Journal:
    """Return the journal of a run in which everybody went early, was left behind, and these are ordered back."""
    journal = a_journal(a_policy(WAVES), {"canary": planned, "rest": []})
    canary, rest = journal.run.waves
    passed = {"progress": WaveProgress.PASSED, "start_time": NOON, "completion_time": after(hours=2), "early_count": len(planned)}
    order = TakeBackOrder(reason=EndReason.WAVE_FAILED, wave="rest", message="wave rest failed", time=NOON, tenants=tuple(ordered))
    run = journal.run.model_copy(update={"waves": (canary.model_copy(update=passed), rest), "order": order if ordered else None})
    return journal.model_copy(update={"run": run})


def written(journal: Journal) -> str:
    """Return a journal as it is stored."""
    return journal.model_dump_json(exclude_defaults=True)


def shuffled(names: list[str], request: pytest.FixtureRequest) -> list[str]:
    """Return the names in an order that has nothing to do with the plan; the seed is the test's name."""
    names = list(names)
    Random(request.node.name).shuffle(names)
    return names


@pytest.mark.parametrize("is_mixed", [False, True], ids=["in the plan's order", "in any order"])
def test_the_largest_fleet_fits(request: pytest.FixtureRequest, is_mixed: bool) -> None:
    """Ten thousand tenants with the longest names that there are, all of them early, and all of them ordered back: a quarter is left."""
    planned = a_fleet(FLEET, LONGEST_NAME)
    journal = a_journal_of(planned, shuffled(planned, request) if is_mixed else planned)
    assert len(written(journal)) < CONFIG_MAP_BYTES * 3 / 4
    assert Journal.model_validate_json(written(journal)) == journal


@pytest.mark.parametrize("count", [0, 1, MOST_NAMED, MOST_NAMED + 1, 500])
def test_it_is_read_as_it_was_written(request: pytest.FixtureRequest, count: int) -> None:
    """Small orders name their tenants, for people; large ones say their places."""
    planned = a_fleet(500)
    journal = a_journal_of(planned, shuffled(planned, request)[:count])
    assert Journal.model_validate_json(written(journal)) == journal
    assert ('"places"' in written(journal)) is (count > MOST_NAMED)


def test_whom_the_plan_does_not_have_is_named() -> None:
    """An earlier run may have left somebody unproven."""
    planned = a_fleet(200)
    journal = a_journal_of(planned, ["7", *planned, "zulu"])
    assert '"places":"=7,0-199,=zulu"' in written(journal)
    assert Journal.model_validate_json(written(journal)) == journal


@pytest.mark.parametrize("places", ["0-200", "200", "5-3", "x", "-1"])
def test_places_that_are_none_are_not_guessed(places: str) -> None:
    """Such a journal is damaged: nothing is done by it."""
    planned = a_fleet(200)
    text = written(a_journal_of(planned, planned)).replace('"places":"0-199"', f'"places":"{places}"')
    with pytest.raises(ValidationError):
        Journal.model_validate_json(text)


@given(NAMES, NAMES)
def test_places_and_names_say_the_same(planned: list[str], names: list[str]) -> None:
    """Whoever is in the plan, and in whatever order."""
    assert named_by(places_of(names, planned), planned) == tuple(names)
