"""What intents still say, and how much room they leave: tables of the rules."""

from __future__ import annotations

import pytest

from tenantwave.api.meta import ObjectRef
from tenantwave.api.tenant_run import MAX_INTENTS, MAX_OBJECTS, Direction, Intent, IntentState
from tenantwave.core.intents import (
    CREATES_OPEN,
    FIELDS_LENGTH,
    SPARE,
    has_room,
    needed_later,
    places_taken,
    shown_fields,
    why_no_room,
    why_too_many,
    with_room_for,
)

ISSUED, LANDED, SUPERSEDED, REVERTED = IntentState.ISSUED, IntentState.LANDED, IntentState.SUPERSEDED, IntentState.REVERTED
BACK = Direction.ROLLBACK


def ref(name: str = "app-config", kind: str = "ConfigMap") -> ObjectRef:
    """An object of the tenant."""
    return ObjectRef(api_version="v1", kind=kind, namespace="acme", name=name)


def intent(
    seq: int,
    state: IntentState,
    direction: Direction = Direction.FORWARD,
    *,
    on: ObjectRef | None = None,
    version: str = "7",
    goal: str = "",
) -> Intent:
    """A write, made for version 7 of its object unless another is named."""
    return Intent(seq=seq, state=state, direction=direction, target=on or ref(), resource_version=version, goal=goal)


@pytest.mark.parametrize(
    ("intents", "taken"),
    [
        pytest.param([], 2, id="a write, and its way back"),
        pytest.param([intent(1, LANDED, on=ref("other"))], 4, id="what stands keeps a place"),
        pytest.param([intent(1, LANDED)], 3, id="two writes of one object go back in one"),
        pytest.param([intent(1, ISSUED, on=ref("other"))], 4, id="what may have landed keeps a place"),
        pytest.param([intent(1, SUPERSEDED, on=ref("other"))], 4, id="what may still arrive keeps a place"),
        pytest.param([intent(1, REVERTED, on=ref("other")), intent(2, REVERTED, BACK, on=ref("other"))], 4, id="what is back keeps none"),
        pytest.param([intent(1, LANDED, on=ref("migrate", "Job"))], 3, id="a Job is not taken back"),
    ],
)
def test_each_write_that_stands_keeps_a_place_for_its_way_back(intents: list[Intent], taken: int) -> None:
    """Counted for one more write of `app-config`."""
    assert places_taken(intents, {("ConfigMap", "app-config")}, 0, 0) == taken + SPARE


def test_forwards_ends_where_the_way_back_begins() -> None:
    """However many objects there are: when no forward write fits any more, all that stands can be taken back, and some places are spare."""
    intents: list[Intent] = []
    while has_room(intents, here := ref(f"config-{len(intents)}"), Direction.FORWARD, 0):
        intents.append(intent(len(intents) + 1, LANDED, on=here))
    standing = len(intents)
    assert standing == (MAX_INTENTS - SPARE) // 2
    while has_room(intents, ref(f"config-{len(intents) - standing}"), BACK, 0):
        intents.append(intent(len(intents) + 1, REVERTED, BACK, on=ref(f"config-{len(intents) - standing}")))
    assert len(intents) == MAX_INTENTS >= 2 * standing + SPARE


def test_what_stands_against_too_many_objects_is_told_with_its_mend() -> None:
    """By the numbers, and other words where earlier attempts have taken places."""
    many = frozenset(("ConfigMap", f"config-{number}") for number in range(MAX_OBJECTS - 10))
    assert why_no_room([], many, 0, 0) == ""
    assert why_no_room([], many, 0, 1).startswith(
        "190 objects and 0 Jobs are to be written; with the way back they take 401 of the 400 places"
    )
    assert "Resolve with Rollback" not in why_no_room([], many, 1, 0)
    assert "and what earlier attempts wrote has 1: take that back first (UpgradeAction Resolve with Rollback), then Retry, or" in (
        why_no_room([intent(1, LANDED)], many, 0, 0)
    )
    assert why_too_many(MAX_OBJECTS) == ""
    assert why_too_many(MAX_OBJECTS + 1).startswith("201 objects are to be looked after, and a TenantRun names 200 at most: upgrade fewer")


@pytest.mark.parametrize(
    ("of_object", "live_version", "marked", "kept"),
    [
        pytest.param([intent(1, REVERTED), intent(2, REVERTED, BACK)], "9", 0, [], id="a pair whose object is back"),
        pytest.param([intent(1, REVERTED), intent(2, REVERTED, BACK)], "9", 2, [2], id="a pair whose marker is still on"),
        pytest.param([intent(1, SUPERSEDED)], "9", 0, [], id="made for a version that is gone"),
        pytest.param([intent(1, SUPERSEDED)], "", 0, [], id="its object is gone"),
        pytest.param([intent(1, SUPERSEDED)], "7", 0, [1], id="its precondition still holds"),
        pytest.param([intent(1, SUPERSEDED)], "9", 1, [1], id="it has arrived late"),
        pytest.param([intent(1, SUPERSEDED)], "9", -1, [1], id="a fence of ours is still on"),
        pytest.param([intent(1, SUPERSEDED, version="")], "9", 0, [1], id="a create has no precondition"),
        pytest.param([intent(1, ISSUED)], "9", 0, [1], id="nobody knows"),
        pytest.param([intent(1, REVERTED), intent(2, REVERTED, BACK), intent(3, LANDED)], "9", 3, [3], id="back, and written again"),
        pytest.param([intent(1, LANDED), intent(2, LANDED, goal="g"), intent(3, LANDED, goal="g")], "9", 3, [1, 3], id="first and last"),
        pytest.param([intent(1, LANDED), intent(2, LANDED), intent(3, LANDED)], "9", 3, [1, 2, 3], id="a chain whose goal is not known"),
    ],
)
def test_a_new_attempt_keeps_what_is_needed_later(of_object: list[Intent], live_version: str, marked: int, kept: list[int]) -> None:
    """All else would take the places of its writes."""
    assert [one.seq for one in needed_later(of_object, live_version, marked)] == kept


def test_a_write_makes_room_by_what_can_never_land() -> None:
    """Of its own object alone; and creates that nobody has heard of for long."""
    others = intent(99, SUPERSEDED, on=ref("other"))
    assert with_room_for([others, intent(2, SUPERSEDED), intent(3, LANDED)], ref(), "9") == (others, intent(3, LANDED))
    creates = [intent(seq, ISSUED, version="") for seq in range(1, CREATES_OPEN + 5)]
    assert [one.seq for one in with_room_for([*creates, others], ref(), "")] == [*range(6, CREATES_OPEN + 5), 99], "and one more follows"


def test_so_many_paths_are_shown_as_fit() -> None:
    """In order; one that is too long ends the list."""
    short, long = "/data/" + "k" * 94, "/data/" + "k" * FIELDS_LENGTH
    assert shown_fields((short,) * 3) == (short,) * 3
    assert len(shown_fields((short,) * 50)) == FIELDS_LENGTH // 100
    assert shown_fields((short, long, short)) == (short,)
