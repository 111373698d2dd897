"""What the write protocol promises, as questions to one state, or to one thing that happens in it."""

from __future__ import annotations

from collections.abc import Iterator

from model.operator_steps import Stop, has_landed
from model.world import BEFORE, ENDS, HOLDS, RELEASES, At, Intent, Known, Move, Phase, Process, Rules, World

KEPT = "an edit of the tenant stands until the tenant changes it"
STAYS_DELETED = "what the tenant deleted stays deleted"
GOES_BACK = "RolledBack is true: every key that nobody edited is as it was"
ARRIVES = "Succeeded is true: the release's key is as the release has it"
CLEAN = "no marker stays behind"
HONEST = "the journal calls landed only what landed"
NO_GUESS = "where two truths look alike nobody guesses"
ONCE = "nothing is applied twice"
QUIET = "nothing arrives after the end"
NO_FALSE_ALARM = "without somebody else no person is called"
GOES_ON = "something can always happen until the end"


def broken_in(world: World, rules: Rules, goes_on: bool) -> Iterator[str]:
    """Give the promises that a state breaks. `goes_on`: something may happen that is not a mishap."""
    journal, truth, found = world.journal, world.truth, world.object
    if found is not None:
        if any(edit and edit != value for edit, value in zip(truth.edits, found.content, strict=True)):
            yield KEPT
        if truth.is_deleted:
            yield STAYS_DELETED
        untouched = [key for key, edit in enumerate(truth.edits) if not edit]
        if journal.phase is Phase.ROLLED_BACK and any(found.content[key] != BEFORE[key] for key in untouched):
            yield GOES_BACK
        if journal.phase is Phase.SUCCEEDED and 0 in untouched and found.content[0] != RELEASES[journal.release][0]:
            yield ARRIVES
        if journal.phase in (Phase.SUCCEEDED, Phase.ROLLED_BACK) and found.marker:
            yield CLEAN
    if any(one.known in (Known.LANDED, Known.REVERTED) and not one.is_back and one.seq not in truth.landed for one in journal.intents):
        yield HONEST
    if any(_guesses(world, process, intent, rules) for process, intent in open_questions(world)):
        yield NO_GUESS
    if journal.phase in HOLDS and not truth.foreign_count:
        yield NO_FALSE_ALARM
    if not goes_on and journal.phase not in ENDS:
        yield GOES_ON


def broken_by(world: World, move: Move) -> Iterator[str]:
    """Give the promises that a write breaks by being taken."""
    landed = move.world.truth.landed - world.truth.landed
    if not landed or world.object is None or move.world.object is None:
        return
    before, after = world.object.content[0], move.world.object.content[0]
    if before == after and world.truth.writers[0] > 0:
        yield ONCE
    if world.journal.phase in ENDS and not world.journal.is_written:
        yield QUIET


def open_questions(world: World) -> Iterator[tuple[Process, Intent]]:
    """Give the writes whose fate a process is about to read off the object."""
    for process in (world.process, world.zombie):
        if process is not None and process.at in (At.READ, At.LEARN, At.VERIFY):
            yield from ((process, one) for one in process.journal.intents if one.known is Known.ISSUED)


def shows(world: World, intent: Intent) -> bool:
    """Tell what is true: whether anything in the object was written by this intent."""
    return world.object is not None and any(world.truth.writers[key] == intent.seq for key, _ in intent.changes)


def _guesses(world: World, process: Process, intent: Intent, rules: Rules) -> bool:
    try:
        says = has_landed(intent, world.object, process.refused, rules)
    except Stop:
        return False
    return intent.seq not in world.truth.landed if says else shows(world, intent)
