"""What a process of the operator does: preservation.md, section 10, one atomic step after the other.

A step ends where something is read from or written to the API server; what is only thought in between belongs to the step before.
"""

from __future__ import annotations

from model.world import FENCE, RELEASES, At, Content, Goal, Intent, Journal, Known, Object, Phase, Process, Request, Rules, World


class Stop(Exception):  # noqa: N818 - an ordinary outcome, as `Failed` is in the engine
    """A person has to look. `is_conflict`: the release and the tenant both changed a key, so what was written goes back.

    `journal` is as it had been staged by then.
    """

    def __init__(self, why: str, journal: Journal | None = None, *, is_conflict: bool = False) -> None:
        super().__init__(why)
        self.journal = journal
        self.is_conflict = is_conflict


def step(world: World, process: Process, rules: Rules) -> tuple[World, Process] | None:
    """Return the world and the process after its next step, or None where it has to wait."""
    try:
        return STEPS[process.at](world, process, rules) if process.at in STEPS else None
    except Stop as stop:
        return world, _stopped(process, stop)


def answered(process: Process, is_taken: bool, rules: Rules) -> Process:
    """Return the process after the answer to its request."""
    draft = process.draft
    if draft is None:  # to a fence, or to taking the marker off
        is_fence = process.request is not None and process.request.marker == FENCE
        journal = superseded(process.journal) if is_taken and is_fence else process.journal
        following = (At.SAVE if is_taken else At.LEARN) if is_fence else At.END if is_taken else At.UNMARK
        return process._replace(at=following, journal=journal, request=None)
    if not is_taken:
        return process._replace(at=At.READ, draft=None, request=None, refused=draft.seq)
    return process._replace(at=At.SAVE, journal=land(process.journal, draft, rules), draft=None, request=None)


# The steps


def _start(world: World, process: Process, rules: Rules) -> tuple[World, Process] | None:
    journal = world.journal
    match journal.phase:
        case Phase.APPLY:
            return world, Process(At.READ, journal)
        case Phase.FINISH:
            return world, Process(At.BAR, journal, end=Phase.SUCCEEDED)
        case Phase.BACK if journal.is_open:
            return world, Process(At.LEARN, journal)
        case Phase.BACK:
            return world, Process(At.READ if journal.standing else At.VERIFY, journal)
    return None


def _learn(world: World, process: Process, rules: Rules) -> tuple[World, Process]:
    """Settle. What may still arrive is barred: a moved version breaks its precondition."""
    journal = settle(process.journal, world.object, rules)
    process = process._replace(journal=journal)
    if journal.standing:
        return world, process._replace(at=At.READ)
    if journal.is_open and world.object is not None and rules.has_fence:
        return world, process._replace(at=At.SEND, request=Request(0, world.object.version, (), FENCE))
    return world, process._replace(at=At.SAVE)


def _read(world: World, process: Process, rules: Rules) -> tuple[World, Process]:
    """Read, settle, merge: the next write follows from the object as it is now."""
    live, journal = world.object, settle(process.journal, world.object, rules, process.refused)
    process = process._replace(journal=journal)
    if journal.phase is Phase.BACK:
        wanted = back(journal.standing[-1], live) if journal.standing else live and live.content
        if live is None or wanted is None or wanted == live.content:
            return world, process._replace(at=At.LEARN if journal.is_open else At.SAVE, journal=_reverted(journal))
    else:
        base = RELEASES[journal.standing[-1].release if journal.standing else 0]
        wanted = _merged(base, live, journal)
        if live is None or wanted == live.content:
            return world, process._replace(at=At.SAVE)
    release = 0 if journal.phase is Phase.BACK else journal.release
    draft = Intent(journal.last_seq + 1, release, live.content, wanted, live.content, live.version, live.uid)
    return world, process._replace(at=At.ANNOUNCE, draft=draft)


def _announce(world: World, process: Process, rules: Rules) -> tuple[World, Process]:
    draft = process.draft
    assert draft is not None
    kept = tuple(one for one in process.journal.intents if one.known is not Known.SUPERSEDED or one.version == draft.version)
    journal = process.journal._replace(intents=kept).with_intent(draft)
    return _saved(world, process, journal, At.SEND, rules)


def _send(world: World, process: Process, rules: Rules) -> tuple[World, Process]:
    request, draft = process.request, process.draft
    if draft is not None:
        request = Request(draft.seq, draft.version, draft.changes, draft.seq if rules.has_marker else 0)
    assert request is not None
    net = tuple(sorted((*world.net, request)))
    return world._replace(net=net), process._replace(at=At.AWAIT, request=request)


def _save(world: World, process: Process, rules: Rules) -> tuple[World, Process]:
    if process.journal.phase is Phase.APPLY:
        return _saved(world, process, process.journal._replace(phase=Phase.SOAK), At.START, rules)
    if process.journal == world.journal:
        return world, process._replace(at=At.VERIFY)
    return _saved(world, process, process.journal, At.START if process.journal.standing else At.VERIFY, rules)


def _verify(world: World, process: Process, rules: Rules) -> tuple[World, Process]:
    """Prove the way back; what has arrived late goes back, too."""
    journal = settle(process.journal, world.object, rules)
    if journal.standing:
        return world, process._replace(at=At.SAVE, journal=journal)
    written = [one for one in journal.intents if one.known is Known.REVERTED and not one.is_back]
    if written and world.object is not None and back(written[-1], world.object) != world.object.content:
        raise Stop("shows the release's value again", journal)
    return world, process._replace(at=At.BAR, journal=journal, end=Phase.ROLLED_BACK)


def _bar(world: World, process: Process, rules: Rules) -> tuple[World, Process]:
    return _saved(world, process, process.journal, At.UNMARK, rules)


def _unmark(world: World, process: Process, rules: Rules) -> tuple[World, Process]:
    live = world.object
    if live is not None and live.marker > process.journal.last_seq:
        return world, Process()  # of a write that this process does not know: another one has gone on
    if live is not None and live.marker:
        return world, process._replace(at=At.SEND, request=Request(0, live.version, (), 0))
    return world, process._replace(at=At.END)


def _end(world: World, process: Process, rules: Rules) -> tuple[World, Process]:
    assert process.end is not None
    return _saved(world, process, process.journal._replace(phase=process.end), At.START, rules)


STEPS = {
    At.START: _start,
    At.READ: _read,
    At.LEARN: _learn,
    At.ANNOUNCE: _announce,
    At.SEND: _send,
    At.SAVE: _save,
    At.VERIFY: _verify,
    At.BAR: _bar,
    At.UNMARK: _unmark,
    At.END: _end,
}


def early_note(world: World, process: Process, rules: Rules) -> tuple[World, Process] | None:
    """Write on the way back what is known by now, which no step of the protocol needs, and any may do: None where there is nothing new."""
    is_new = process.journal.intents != world.journal.intents and process.journal.version == world.journal.version
    if process.at is not At.READ or process.journal.phase is not Phase.BACK or not is_new:
        return None
    return _saved(world, process, process.journal, At.READ, rules)


def _saved(world: World, process: Process, journal: Journal, following: At, rules: Rules) -> tuple[World, Process]:
    """Write the journal, if nobody else has moved it since it was read; else begin anew."""
    if journal.version != world.journal.version and rules.has_journal_cas:
        return world, Process()
    stored = journal._replace(version=world.journal.version + 1)
    then = Process() if following is At.START else process._replace(at=following, journal=stored)
    return world._replace(journal=stored), then


def _stopped(process: Process, stop: Stop) -> Process:
    """Return the process on its way to a hold: with nothing written it lets go of the tenant first."""
    journal = stop.journal or process.journal
    process = process._replace(journal=journal)
    if journal.phase is Phase.BACK:
        return process._replace(at=At.END, end=Phase.ROLLBACK_FAILED)
    if stop.is_conflict and journal.is_written:
        return process._replace(at=At.END, end=Phase.BACK)
    return process._replace(at=At.END if journal.is_written else At.BAR, end=Phase.HELD)


# What is thought


def settle(journal: Journal, live: Object | None, rules: Rules, refused: int = 0) -> Journal:
    """Return the journal with all that the object tells about open writes. Raises Stop where nobody can tell.

    A write whose precondition still holds has not landed, and still may: it stays open.
    """
    for seq in [one.seq for one in journal.intents]:
        intent = journal.intent(seq)
        if intent.known is not Known.ISSUED:
            continue
        try:
            landed = has_landed(intent, live, refused, rules)
        except Stop as stop:
            raise Stop(str(stop), journal) from stop
        if landed:
            journal = land(journal, intent, rules)
        elif not (rules.waits_for_late and may_arrive(intent, live) and seq != refused):
            journal = journal.with_intent(intent._replace(known=Known.SUPERSEDED))
    return journal


def may_arrive(intent: Intent, live: Object | None) -> bool:
    """Tell whether the server would take the request if it came now."""
    return live is not None and live.version == intent.version


def has_landed(intent: Intent, live: Object | None, refused: int, rules: Rules) -> bool:
    """Answer by the table of restarts."""
    if live is None:
        raise Stop("Deleted")
    if live.marker == intent.seq:
        return True
    if live.uid != intent.uid:
        raise Stop("Recreated")
    if live.marker or intent.seq == refused:
        return False
    if any(live.content[key] == value for key, value in intent.changes):
        if rules.admits_ignorance and rules.has_marker:
            raise Stop("Ambiguous")
        return True  # a guess
    return False


def land(journal: Journal, intent: Intent, rules: Rules) -> Journal:
    """Return the journal with a write that landed: forwards with the goal of going back, backwards with all that it takes back."""
    journal = superseded(journal, besides=intent.seq)  # the version has moved: nothing else that was open can land
    if intent.is_back:
        return _reverted(journal.with_intent(intent._replace(known=Known.REVERTED)))
    earlier = [one for one in journal.standing if one.seq < intent.seq]
    goal = intent.before
    if earlier and rules.goal is Goal.REBASED:
        goal = _taken_back(earlier[-1].after, intent.before, earlier[-1].goal)
    elif earlier and rules.goal is Goal.FIRST:
        goal = earlier[-1].goal
    return journal.with_intent(intent._replace(known=Known.LANDED, goal=goal))


def superseded(journal: Journal, besides: int = 0) -> Journal:
    """Return the journal with all open writes given up for good."""
    for intent in journal.intents:
        if intent.known is Known.ISSUED and intent.seq != besides:
            journal = journal.with_intent(intent._replace(known=Known.SUPERSEDED))
    return journal


def back(intent: Intent, live: Object | None) -> Content | None:
    """Return what a rollback leaves: what is still as we wrote it goes back, every later edit stays."""
    return None if live is None else _taken_back(intent.after, live.content, intent.goal)


def _taken_back(after: Content, live: Content, goal: Content) -> Content:
    return tuple(aim if found == ours else found for ours, found, aim in zip(after, live, goal, strict=True))


def _reverted(journal: Journal) -> Journal:
    for intent in journal.standing:
        journal = journal.with_intent(intent._replace(known=Known.REVERTED))
    return journal


def _merged(base: Content, live: Object | None, journal: Journal) -> Content:
    """Merge the release into the live content, key by key. Raises Stop for a conflict."""
    if live is None:
        raise Stop("ConfigConflict: deleted, and changed by the release", journal, is_conflict=True)
    merged = []
    for old, found, wanted in zip(base, live.content, RELEASES[journal.release], strict=True):
        if found not in (old, wanted) and wanted != old:
            raise Stop("ConfigConflict: changed by both", journal, is_conflict=True)
        merged.append(wanted if found == old else found)
    return tuple(merged)
