"""What an upgrade sees of a tenant's decisions: all that may matter, and no more, however many there are."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta

from tenantwave.api.conditions import DecisionReason
from tenantwave.api.decision import DecisionType
from tenantwave.core.calendar import Answer, Decision, Rights, rule_on
from tenantwave.core.world import SeenDecision
from tenantwave.engine.decision_index import NEWEST_COUNT, DecisionIndex
from tenantwave.engine.tenant_views import DecisionView

MADE = datetime(2026, 3, 1, tzinfo=UTC)
LATER = MADE + timedelta(days=60)
MANY = 3 * NEWEST_COUNT


def a_view(number: int, kind: DecisionType = DecisionType.DEFER, answer: Answer | None = None) -> DecisionView:
    """Return the decision that a tenant made as its `number`th, by names that are not in the order of time."""
    name, made = f"d-{(number * 7) % 1000:03}", MADE + timedelta(seconds=number)
    until = LATER if kind is DecisionType.DEFER else None
    seen = SeenDecision(Decision(name, kind, made, until), answer)
    return DecisionView("acme", name, "shop", seen, "", made, 1, "1", (), answer)


def name_of(number: int) -> str:
    return a_view(number).name


def superseded(number: int) -> Answer:
    return Answer(name_of(number), False, DecisionReason.SUPERSEDED, "a newer decision counts instead")


def filled(*views: DecisionView) -> DecisionIndex:
    index = DecisionIndex()
    for view in views:
        index.put(None, view)
    return index


def refused(number: int) -> DecisionView:
    return a_view(number, answer=superseded(number))


def names(index: DecisionIndex) -> set[str]:
    seen = [one.decision.name for one in index.seen("shop", "acme")]
    assert seen == sorted(seen)
    return set(seen)


def test_only_the_newest_are_looked_at() -> None:
    index = filled(*(refused(number) for number in range(MANY)))
    assert names(index) == {name_of(number) for number in range(MANY - NEWEST_COUNT, MANY)}
    assert len(index.of("shop", "acme")) == MANY, "all of them are known"


def test_an_older_one_that_counts_is_not_forgotten() -> None:
    """A tenant that opted out stays out, however often it then asks for what it is refused."""
    counts = Answer(name_of(3), True, DecisionReason.ACCEPTED, "counts without end: the tenant is skipped")
    index = filled(*(refused(number) for number in range(MANY)))
    index.put(refused(3), a_view(3, DecisionType.OPT_OUT, counts))
    assert name_of(3) in names(index)
    assert len(names(index)) == NEWEST_COUNT + 1


def test_older_ones_are_answered_once() -> None:
    """Those that nobody has answered come in, the newest first, and leave when they are."""
    views = {view.name: view for view in (a_view(number) for number in range(MANY))}
    index = filled(*views.values())
    looks = 0
    while any(one.answer is None for one in index.seen("shop", "acme")):
        looks += 1
        assert looks < 10, "at rest before long"
        seen = index.seen("shop", "acme")
        assert len(seen) <= 2 * NEWEST_COUNT
        for answer in rule_on((one.decision for one in seen), Rights()).answers:
            old = views[answer.decision]
            assert old.seen is not None
            views[answer.decision] = replace(old, answer=answer, seen=replace(old.seen, answer=answer))
            index.put(old, views[answer.decision])
    assert len(index.seen("shop", "acme")) == NEWEST_COUNT
    assert [view.name for view in views.values() if view.answer is None] == []
    assert [view.name for view in views.values() if view.answer is not None and view.answer.accepted] == [name_of(MANY - 1)]


def test_one_more_decision_writes_two_answers() -> None:
    """Its own, and that of the one that counted before."""
    counts = Answer(name_of(MANY - 1), True, DecisionReason.ACCEPTED, "counts until 2026-04-30T00:00:00Z")
    index = filled(*(refused(number) for number in range(MANY - 1)), a_view(MANY - 1, answer=counts))
    before = {one.decision.name: one.answer for one in index.seen("shop", "acme")}
    assert [a for a in rule_on((one.decision for one in index.seen("shop", "acme")), Rights()).answers if a != before[a.decision]] == []
    index.put(None, a_view(MANY))
    seen = index.seen("shop", "acme")
    fresh = {one.decision.name: one.answer for one in seen}
    changed = [answer.decision for answer in rule_on((one.decision for one in seen), Rights()).answers if answer != fresh[answer.decision]]
    assert changed == [name_of(MANY), name_of(MANY - 1)]


def test_deleted_ones_make_room_for_older_ones() -> None:
    index = filled(*(refused(number) for number in range(MANY)))
    for number in range(MANY - NEWEST_COUNT, MANY):
        index.put(refused(number), None)
    assert names(index) == {name_of(number) for number in range(MANY - 2 * NEWEST_COUNT, MANY - NEWEST_COUNT)}
    assert index.seen("shop", "beta") == ()
    assert index.seen("mail", "acme") == ()


def test_what_is_seen_is_made_once() -> None:
    """An upgrade looks all the time, a tenant decides now and then."""
    index = filled(*(refused(number) for number in range(MANY)))
    assert index.current("shop", "acme") is index.current("shop", "acme")
