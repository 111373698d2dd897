"""Every story four ways: as the golden transcript has it, in any order of tenants, with restarts, and with crashes in the middle of plans."""

from __future__ import annotations

import os
import random
from pathlib import Path

import pytest

from fleets.fleet import Fleet
from sequences.stories import afterwards, calendar, edits, failures, gates, hooks, orders, overrides, waves
from sequences.stories.telling import STORIES

TOLD_IN = (waves, calendar, gates, overrides, afterwards, orders, failures, edits, hooks)
"""Importing them fills the collection."""
GOLDEN = Path(__file__).parent / "golden"
UPDATE = "TENANTWAVE_UPDATE_GOLDEN"
"""Set it to 1 to write the transcripts anew; then read them as prose."""


def as_it_is(fleet: Fleet) -> Fleet:
    """Change nothing."""
    return fleet


@pytest.mark.parametrize("name", STORIES)
def test_the_transcript_is_the_golden_one(name: str) -> None:
    """What happens, line by line, is what people have read and found right."""
    told = (STORIES[name].__doc__ or "") + "\n\n" + STORIES[name](as_it_is).transcript()
    path = GOLDEN / f"{name}.txt"
    if os.environ.get(UPDATE):
        path.write_text(told)
    assert path.exists(), f"run once with {UPDATE}=1, and read {path.name}"
    assert told == path.read_text()


@pytest.mark.parametrize("seed", range(1))
@pytest.mark.parametrize("name", STORIES)
def test_the_order_of_tenants_changes_nothing(name: str, seed: int) -> None:
    """Caches give tenants in any order: the transcript is the same but for the order of lines of one instant."""

    def shuffled(fleet: Fleet) -> Fleet:
        fleet.shuffle = random.Random(seed)
        return fleet

    assert sorted(STORIES[name](shuffled).lines) == sorted(STORIES[name](as_it_is).lines)


@pytest.mark.parametrize("seed", range(1))
@pytest.mark.parametrize("name", STORIES)
def test_a_restart_between_any_two_steps_changes_no_end(name: str, seed: int) -> None:
    """All that counts is stored; minutes of soak may be lost, and never gained."""

    def forgetful(fleet: Fleet) -> Fleet:
        fleet.restarts = random.Random(seed)
        return fleet

    ends = STORIES[name](forgetful)
    assert (ends.states(), ends.ready) == ((known := STORIES[name](as_it_is)).states(), known.ready)


@pytest.mark.parametrize("seed", range(2))
@pytest.mark.parametrize("name", STORIES)
def test_a_crash_in_the_middle_of_a_plan_changes_no_end(name: str, seed: int) -> None:
    """Whatever was done of a plan before the crash: the next decision goes on from what is stored."""

    def crashing(fleet: Fleet) -> Fleet:
        fleet.cuts = random.Random(seed)
        return fleet

    ends = STORIES[name](crashing)
    assert (ends.states(), ends.ready) == ((known := STORIES[name](as_it_is)).states(), known.ready)
