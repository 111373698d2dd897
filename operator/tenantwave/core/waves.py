"""Tenants -> ordered waves. Pure, and independent of the order in which the tenants are given.

A wave takes by label selector, by size, by coverage of label combinations, or (the last one) everybody who is left. Each tenant is taken once.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass

from tenantwave.api.policy import Wave


@dataclass(frozen=True, slots=True)
class Candidate:
    """A tenant that may be put into a wave."""

    name: str
    labels: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Placement:
    """Where a tenant goes, and why: a clause for the TenantRun (`explain`)."""

    tenant: str
    why: str


@dataclass(frozen=True, slots=True)
class Division:
    """All waves in order, each with its tenants in starting order, and those whom no wave takes (sorted by name)."""

    waves: tuple[tuple[str, tuple[Placement, ...]], ...]
    unmatched: tuple[str, ...]


def divide(waves: Sequence[Wave], candidates: Iterable[Candidate], salt: str) -> Division:
    """Divide the tenants. `salt` makes the hash order of one release different from the next: use product and version.

    Cost: O(waves x tenants) for selectors, O(tenants log tenants) for ordering.
    """
    left = {candidate.name: candidate for candidate in sorted(candidates, key=lambda candidate: candidate.name)}
    divided: list[tuple[str, tuple[Placement, ...]]] = []
    for wave in waves:
        order = _ordering(wave, salt)
        taken, why = _take(wave, sorted(left.values(), key=order), len(left))
        for candidate in taken:
            del left[candidate.name]
        divided.append((wave.name, tuple(Placement(candidate.name, why(candidate)) for candidate in taken)))
    return Division(tuple(divided), tuple(sorted(left)))


Why = Callable[[Candidate], str]


def _take(wave: Wave, ordered: list[Candidate], left_count: int) -> tuple[list[Candidate], Why]:
    if wave.selector is not None:
        selector = wave.selector
        return [candidate for candidate in ordered if selector.matches(candidate.labels)], lambda _: f"its labels match wave {wave.name}"
    if wave.size is not None:
        count = wave.size.of(left_count, up=True)
        return ordered[:count], lambda _: f"one of the {min(count, left_count)} tenants that wave {wave.name} takes of {left_count}"
    if wave.coverage is not None:
        return _cover(wave.name, wave.coverage.label_prefix, ordered)
    return ordered, lambda _: f"wave {wave.name} takes everybody who is left"


def _cover(wave: str, prefix: str, ordered: list[Candidate]) -> tuple[list[Candidate], Why]:
    """Take the first tenant, in order, of every combination of the labels under `prefix`; tenants without such a label are not taken."""
    first: dict[tuple[tuple[str, str], ...], Candidate] = {}
    for candidate in ordered:
        combination = tuple(sorted((key, value) for key, value in candidate.labels.items() if key.startswith(prefix)))
        if combination:
            first.setdefault(combination, candidate)
    said = {
        candidate.name: ", ".join(f"{key.removeprefix(prefix)}={value}" for key, value in combination)
        for combination, candidate in first.items()
    }
    taken = {candidate.name for candidate in first.values()}
    return [
        candidate for candidate in ordered if candidate.name in taken
    ], lambda candidate: f"wave {wave} covers the combination {said[candidate.name]} with it"


def _ordering(wave: Wave, salt: str) -> Callable[[Candidate], tuple[str, ...]]:
    keys = [str(key) for key in wave.order_by] or ["Hash"]

    def order(candidate: Candidate) -> tuple[str, ...]:
        return (*(_sort_value(key, candidate, salt) for key in keys), _hash(salt, candidate.name), candidate.name)

    return order


def _sort_value(key: str, candidate: Candidate, salt: str) -> str:
    match key:
        case "Hash":
            return _hash(salt, candidate.name)
        case "Name":
            return candidate.name
        case _:
            return candidate.labels.get(key.removeprefix("label:"), "\uffff")  # tenants without the label come last


def _hash(salt: str, name: str) -> str:
    return hashlib.sha256(f"{salt}/{name}".encode()).hexdigest()


def plan_digest(run: str, waves: Iterable[tuple[str, Sequence[str]]]) -> str:
    """Return a digest of who is in which wave: equal plans of one run have equal digests."""
    text = json.dumps([run, [[name, list(tenants)] for name, tenants in waves]], separators=(",", ":"))
    return "sha256:" + hashlib.sha256(text.encode()).hexdigest()
