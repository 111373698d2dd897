"""Visits every state that the model can reach, and remembers which break a promise."""

from __future__ import annotations

from collections import Counter, deque
from dataclasses import dataclass, field

from model.promises import broken_by, broken_in
from model.surroundings import moves
from model.world import ENDS, Budget, Move, Phase, Rules, World, begin


@dataclass
class Explored:
    """All states in the order in which they were found, what follows each, and what broke."""

    states: dict[World, int]
    followers: list[list[int]] = field(default_factory=list)
    first_ways: list[tuple[World, Move] | None] = field(default_factory=list)
    broken: dict[str, World] = field(default_factory=dict)
    """Promise -> the nearest state that breaks it."""
    ends: Counter[Phase] = field(default_factory=Counter)

    def way_to(self, world: World) -> list[str]:
        """Return what happened on the shortest way to a state."""
        way: list[str] = []
        while (came := self.first_ways[self.states[world]]) is not None:
            world, move = came
            way.append(f"{move.who}: {move.what}")
        return way[::-1]

    def way_count(self) -> int | None:
        """Return how many different runs there are, or None if one of them never ends (some state can be reached from itself)."""
        open_count = [0] * len(self.followers)
        for following in self.followers:
            for state in following:
                open_count[state] += 1
        ways = [1] + [0] * (len(self.followers) - 1)
        ready, seen, total = deque([0]), 0, 0
        while ready:
            state = ready.popleft()
            seen += 1
            if not self.followers[state]:
                total += ways[state]
            for following_state in self.followers[state]:
                ways[following_state] += ways[state]
                open_count[following_state] -= 1
                if open_count[following_state] == 0:
                    ready.append(following_state)
        return total if seen == len(self.followers) else None


def explore(budget: Budget, rules: Rules | None = None, stops_at_first: bool = False) -> Explored:
    """Visit every state, breadth-first, and ask each for every promise."""
    rules = rules or Rules()
    first = begin(budget)
    found = Explored({first: 0}, first_ways=[None])
    queue = deque([first])
    while queue and not (stops_at_first and found.broken):
        world = queue.popleft()
        following, goes_on = [], False
        for move in moves(world, rules):
            goes_on = goes_on or move.who not in ("somebody else", "network")
            state = found.states.setdefault(move.world, len(found.states))
            if state == len(found.first_ways):
                found.first_ways.append((world, move))
                queue.append(move.world)
            following.append(state)
            for promise in broken_by(world, move):
                found.broken.setdefault(promise, world)
        found.followers.append(following)
        if world.journal.phase in ENDS:
            found.ends[world.journal.phase] += 1
        for promise in broken_in(world, rules, goes_on):
            found.broken.setdefault(promise, world)
    return found
