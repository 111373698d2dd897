"""The write protocol keeps its promises in every state that its model can reach, and each of its steps is needed for that."""

from __future__ import annotations

from collections import defaultdict
from functools import cache

import pytest

from model.exploring import Explored, explore
from model.operator_steps import Stop, has_landed
from model.promises import GOES_BACK, KEPT, NO_GUESS, QUIET, open_questions, shows
from model.world import Budget, Goal, Phase, Rules

EVERYDAY = {
    "a death and a lost answer, two releases": Budget(crash_count=1, lost_count=1, release_count=2),
    "somebody else writes, too": Budget(crash_count=1, lost_count=1, foreign_count=1),
    "somebody else writes between two releases": Budget(crash_count=1, foreign_count=1, release_count=2),
    "an answer is lost between two releases": Budget(lost_count=1, foreign_count=1, release_count=2),
    "somebody else writes twice": Budget(crash_count=1, foreign_count=2),
    "a process lives on that was taken for dead": Budget(zombie_count=1, lost_count=1),
    "and somebody else writes": Budget(zombie_count=1, foreign_count=1),
}
LEAST_STATE_COUNT = 40_000


@cache
def everyday(name: str) -> Explored:
    """Explore one of the budgets, once."""
    return explore(EVERYDAY[name])


def told(found: Explored) -> str:
    """Return each broken promise with the shortest way to break it."""
    return "\n".join(f"{promise}:\n  " + "\n  ".join(found.way_to(world)) for promise, world in found.broken.items())


@pytest.mark.parametrize("name", EVERYDAY)
def test_every_promise_holds_in_every_state(name: str) -> None:
    """All interleavings: the shortest way to a broken promise is told, if there is one. And every run comes to an end."""
    found = everyday(name)
    print(f"{len(found.states)} states, {sum(map(len, found.followers))} moves, ends: { {end.value: n for end, n in found.ends.items()} }")
    assert found.broken == {}, told(found)
    assert found.way_count(), "no state is reached from itself: every run ends"
    assert {Phase.SUCCEEDED, Phase.ROLLED_BACK} <= found.ends.keys()
    if EVERYDAY[name].foreign_count:
        assert {Phase.HELD, Phase.ROLLBACK_FAILED} <= found.ends.keys()


def test_it_is_many_states_and_far_more_runs() -> None:
    """A model that stops early would keep every promise."""
    found = everyday("somebody else writes, too")
    ways = found.way_count()
    assert ways is not None
    assert (len(found.states) > LEAST_STATE_COUNT, ways > 100 * LEAST_STATE_COUNT) == (True, True)


def test_a_person_is_asked_only_where_two_truths_look_alike() -> None:
    """For every look that ends Ambiguous there are two worlds that look the same: in one our write stands, in the other it does not."""
    truths = defaultdict(set)
    for name in ("somebody else writes, too", "somebody else writes twice"):
        for world in everyday(name).states:
            for process, intent in open_questions(world):
                try:
                    has_landed(intent, world.object, process.refused, Rules())
                except Stop as stop:
                    if str(stop) == "Ambiguous" and world.object is not None:
                        truths[(world.object.content[0], intent.changes)].add(shows(world, intent))
    assert truths
    assert all(truth == {True, False} for look, truth in truths.items() if look[1] == ((0, "a1"),)), dict(truths)


ONE_RELEASE, TWO_RELEASES = EVERYDAY["somebody else writes, too"], EVERYDAY["somebody else writes between two releases"]
VARIANTS = {
    "no marker on the object": (Rules(has_marker=False), ONE_RELEASE, NO_GUESS),
    "no precondition in the request": (Rules(has_precondition=False), ONE_RELEASE, KEPT),
    "no compare-and-swap on the journal": (Rules(has_journal_cas=False), Budget(zombie_count=1, lost_count=1, foreign_count=1), QUIET),
    "the goal is the first pre-image": (Rules(goal=Goal.FIRST), TWO_RELEASES, KEPT),
    "the goal is the last pre-image": (Rules(goal=Goal.LAST), TWO_RELEASES, GOES_BACK),
    "what may still arrive is not barred": (Rules(has_fence=False), ONE_RELEASE, GOES_BACK),
    "what may still arrive is given up": (Rules(waits_for_late=False), ONE_RELEASE, QUIET),
    "a guess where nobody can tell": (Rules(admits_ignorance=False), ONE_RELEASE, NO_GUESS),
}


@pytest.mark.parametrize(("rules", "budget", "promise"), VARIANTS.values(), ids=VARIANTS)
def test_without_any_one_step_a_promise_breaks(rules: Rules, budget: Budget, promise: str) -> None:
    """Mutation checks: what the model does not miss it would not have proven."""
    found = explore(budget, rules, stops_at_first=True)
    assert promise in found.broken, told(found) or f"{len(found.states)} states, and nothing broke"
