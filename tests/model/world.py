"""What a model of the write protocol is made of: one object of one tenant, its journal, requests on their way, and who writes.

All of it is immutable and small, so that every state can be visited. `Rules` switches single steps of the protocol off: a model that cannot
tell such a variant from the real one would prove nothing.
"""

from __future__ import annotations

from enum import Enum
from typing import NamedTuple

Content = tuple[str, ...]
"""The values of the object's keys: the release writes the first, the second is the tenant's."""

BEFORE: Content = ("a0", "mine")
"""What the tenant has at the start: the old release's value, and an edit of its own."""
RELEASES: tuple[Content, ...] = (("a0", "b0"), ("a1", "b0"), ("a2", "b0"))
"""The pristine content of each release; the tenant runs the first one."""

FENCE = -1
"""The marker that only moves the object's version."""
NOBODY, SOMEBODY_ELSE = 0, -2
"""In `Truth.writers`, besides the numbers of our writes."""


class Phase(Enum):
    """Where the tenant's turn is; the last four end it."""

    APPLY = "Applying"
    SOAK = "Soaking"
    BACK = "RollingBack"
    FINISH = "Finishing"
    SUCCEEDED = "Succeeded"
    ROLLED_BACK = "RolledBack"
    HELD = "Held"
    ROLLBACK_FAILED = "RollbackFailed"


HOLDS = frozenset({Phase.HELD, Phase.ROLLBACK_FAILED})
ENDS = HOLDS | {Phase.SUCCEEDED, Phase.ROLLED_BACK}


class Known(Enum):
    """What the journal says of a write."""

    ISSUED = "Issued"
    LANDED = "Landed"
    SUPERSEDED = "Superseded"
    REVERTED = "Reverted"


class Goal(Enum):
    """What a rollback of several writes aims at."""

    REBASED = "the first pre-image, with what was edited between the writes"
    FIRST = "the first pre-image"
    LAST = "the last pre-image"


class Rules(NamedTuple):
    """The steps of the protocol that a variant may lack."""

    has_marker: bool = True
    has_precondition: bool = True
    has_journal_cas: bool = True
    has_fence: bool = True
    waits_for_late: bool = True
    admits_ignorance: bool = True
    goal: Goal = Goal.REBASED


class Object(NamedTuple):
    """The object at the API server. Versions are never used twice, as in etcd."""

    content: Content
    marker: int
    version: int
    uid: int


class Intent(NamedTuple):
    """The record of one write. A forward one names its release, one back names 0."""

    seq: int
    release: int
    before: Content
    after: Content
    goal: Content
    version: int
    uid: int
    known: Known = Known.ISSUED

    @property
    def is_back(self) -> bool:
        return self.release == 0

    @property
    def changes(self) -> tuple[tuple[int, str], ...]:
        """Return the keys that it sets, with their values."""
        return tuple((key, new) for key, (old, new) in enumerate(zip(self.before, self.after, strict=True)) if old != new)


class Journal(NamedTuple):
    """The TenantRun."""

    version: int = 1
    phase: Phase = Phase.APPLY
    release: int = 1
    last_seq: int = 0
    intents: tuple[Intent, ...] = ()

    def with_intent(self, intent: Intent) -> Journal:
        """Return the journal with an intent in its place, or appended."""
        others = [one for one in self.intents if one.seq != intent.seq]
        intents = tuple(sorted((*others, intent), key=lambda one: one.seq))
        return self._replace(intents=intents, last_seq=max(self.last_seq, intent.seq))

    def intent(self, seq: int) -> Intent:
        """Return an intent by its number."""
        return next(one for one in self.intents if one.seq == seq)

    @property
    def standing(self) -> tuple[Intent, ...]:
        """Return the forward writes that landed and were not taken back."""
        return tuple(one for one in self.intents if one.known is Known.LANDED and not one.is_back)

    @property
    def is_open(self) -> bool:
        """Tell whether there is a write of which nobody knows whether it landed."""
        return any(one.known is Known.ISSUED for one in self.intents)

    @property
    def is_written(self) -> bool:
        """Tell whether anything of ours stands, or may stand."""
        return any(one.known in (Known.ISSUED, Known.LANDED) for one in self.intents)


class Request(NamedTuple):
    """A request on its way: the keys that it sets, the marker that it leaves, and the version of the object that it needs."""

    seq: int
    version: int
    changes: tuple[tuple[int, str], ...]
    marker: int


class At(Enum):
    """What a process does next."""

    START = "read the journal"
    READ = "read the object, to write it"
    LEARN = "read the object, to learn what became of a write"
    ANNOUNCE = "write the intent"
    SEND = "send the request"
    AWAIT = "wait for the answer"
    SAVE = "write what became of it"
    VERIFY = "read the object, to prove the way back"
    BAR = "move the journal before what no intent announces"
    UNMARK = "read the object, to take the marker off"
    END = "write how it ended"


class Process(NamedTuple):
    """One process of the operator, in one turn. `journal` is as staged: its version is the one that was read."""

    at: At = At.START
    journal: Journal = Journal()
    draft: Intent | None = None
    request: Request | None = None
    refused: int = 0
    end: Phase | None = None


class Truth(NamedTuple):
    """What nobody inside can see. Per key: the tenant's last edit ('' for none) and whose value stands."""

    edits: Content = ("", "mine")
    writers: tuple[int, ...] = (NOBODY, NOBODY)
    landed: frozenset[int] = frozenset()
    is_deleted: bool = False
    foreign_count: int = 0


class Budget(NamedTuple):
    """How much may still happen."""

    crash_count: int = 0
    zombie_count: int = 0
    lost_count: int = 0
    foreign_count: int = 0
    release_count: int = 1


class World(NamedTuple):
    """Everything there is. `clock` is the last version that the API server gave out."""

    object: Object | None
    journal: Journal
    net: tuple[Request, ...]
    process: Process
    zombie: Process | None
    budget: Budget
    truth: Truth
    clock: int


class Move(NamedTuple):
    """One thing that happens: who does it, what, and the world after it."""

    who: str
    what: str
    world: World


def begin(budget: Budget) -> World:
    """Return a tenant whose turn has come."""
    return World(Object(BEFORE, 0, 1, 1), Journal(), (), Process(), None, budget, Truth(), 1)
