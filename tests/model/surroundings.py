"""All that happens around a process of the operator: the API server, the network, deaths, the planner, and somebody else who writes."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TypeVar

from model.operator_steps import answered, early_note, step
from model.world import ENDS, SOMEBODY_ELSE, At, Move, Object, Phase, Process, Request, Rules, World

T = TypeVar("T")


def moves(world: World, rules: Rules) -> Iterator[Move]:
    """Give everything that can happen next."""
    if (done := step(world, world.process, rules)) is not None:
        yield Move("process", world.process.at.value, done[0]._replace(process=done[1]))
    if (noted := early_note(world, world.process, rules)) is not None:
        yield Move("process", "write what it has learnt", noted[0]._replace(process=noted[1]))
    if world.zombie is not None and (done := step(world, world.zombie, rules)) is not None:
        yield Move("zombie", world.zombie.at.value, done[0]._replace(zombie=_alive(done[1])))
    for request in dict.fromkeys(world.net):
        yield Move("server", "take a request", _arrived(world, request, rules))
    yield from _faults(world)
    yield from _orders(world)
    yield from _foreign_writes(world)


def _alive(zombie: Process) -> Process | None:
    """Return what is left of a zombie: when its turn is over it looks at the world, and finds that it is not needed."""
    return None if zombie.at is At.START else zombie


def _arrived(world: World, request: Request, rules: Rules) -> World:
    """The server takes a request or refuses it, and whoever waits for the answer gets it."""
    rest = list(world.net)
    rest.remove(request)
    found = world.object
    is_taken = found is not None and (found.version == request.version or not rules.has_precondition)
    world = world._replace(net=tuple(rest))
    if found is not None and is_taken:
        content, writers, edits = found.content, world.truth.writers, world.truth.edits
        for key, value in request.changes:
            content, writers = _with(content, key, value), _with(writers, key, request.seq)
        stored = Object(content, request.marker, world.clock + 1, found.uid)
        landed = world.truth.landed | {request.seq} if request.seq else world.truth.landed
        truth = world.truth._replace(writers=writers, edits=edits, landed=landed)
        world = world._replace(object=stored, truth=truth, clock=world.clock + 1)
    if world.process.request == request and world.process.at is At.AWAIT:
        return world._replace(process=answered(world.process, is_taken, rules))
    if world.zombie is not None and world.zombie.request == request and world.zombie.at is At.AWAIT:
        return world._replace(zombie=_alive(answered(world.zombie, is_taken, rules)))
    return world


def _faults(world: World) -> Iterator[Move]:
    """An answer is lost; a process dies; a process is taken for dead, and is not."""
    budget, process = world.budget, world.process
    if process.at is At.START:
        return
    if process.at is At.AWAIT and budget.lost_count:
        yield Move("network", "lose the answer", _anew(world)._replace(budget=budget._replace(lost_count=budget.lost_count - 1)))
    if budget.crash_count:
        yield Move("process", "die", _anew(world)._replace(budget=budget._replace(crash_count=budget.crash_count - 1)))
    if budget.zombie_count and world.zombie is None:
        left = budget._replace(zombie_count=budget.zombie_count - 1)
        yield Move("process", "be taken for dead", _anew(world)._replace(zombie=process, budget=left))


def _anew(world: World) -> World:
    return world._replace(process=Process())


def _orders(world: World) -> Iterator[Move]:
    """The planner moves the TenantRun too, by the same compare-and-swap."""
    journal = world.journal

    def moved(phase: Phase, release: int = journal.release) -> World:
        return world._replace(journal=journal._replace(version=journal.version + 1, phase=phase, release=release))

    if journal.phase in (Phase.APPLY, Phase.SOAK, Phase.FINISH):
        yield Move("planner", "order it back", moved(Phase.BACK))
    if journal.phase is Phase.SOAK:
        yield Move("planner", "let it finish", moved(Phase.FINISH))
        if journal.release < world.budget.release_count:
            yield Move("planner", "ask for the next release", moved(Phase.APPLY, journal.release + 1))


def _foreign_writes(world: World) -> Iterator[Move]:
    """Somebody else edits a key, applies an old manifest over our marker, strips it, deletes the object, or makes it again."""
    found, truth = world.object, world.truth
    if not world.budget.foreign_count or world.journal.phase in ENDS:
        return
    fresh = f"t{truth.foreign_count + 1}"
    if found is None:
        again = Object((fresh, fresh), 0, world.clock + 1, world.clock + 1)
        yield _foreign(world, "make it again", again, (0, 1))
        return
    yield _foreign(world, "edit the release's key", found._replace(content=(fresh, found.content[1])), (0,))
    yield _foreign(world, "edit its own key", found._replace(content=(found.content[0], fresh)), (1,))
    if not truth.landed and found.content[0] != "a1":
        yield _foreign(world, "set what the release will set", found._replace(content=("a1", found.content[1])), (0,))
    if found.marker:
        yield _foreign(world, "strip the marker", found._replace(marker=0), ())
        yield _foreign(world, "apply a manifest of its own", Object((fresh, found.content[1]), 0, found.version, found.uid), (0,))
    yield _foreign(world, "delete it", None, ())


def _foreign(world: World, what: str, after: Object | None, keys: tuple[int, ...]) -> Move:
    truth, budget = world.truth, world.budget
    edits, writers = truth.edits, truth.writers
    for key in keys if after is not None else ():
        edits = _with(edits, key, after.content[key] if after is not None else "")
        writers = _with(writers, key, SOMEBODY_ELSE)
    if after is None:
        edits = ("",) * len(edits)
    truth = truth._replace(edits=edits, writers=writers, is_deleted=after is None, foreign_count=truth.foreign_count + 1)
    stored = None if after is None else after._replace(version=world.clock + 1)
    left = budget._replace(foreign_count=budget.foreign_count - 1)
    return Move("somebody else", what, world._replace(object=stored, truth=truth, budget=left, clock=world.clock + 1))


def _with(row: tuple[T, ...], place: int, value: T) -> tuple[T, ...]:
    return (*row[:place], value, *row[place + 1 :])
