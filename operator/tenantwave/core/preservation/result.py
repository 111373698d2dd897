"""What a merge says: the content to write, the conflicts, and what was kept, merged, decided by a rule, or left orphaned."""

from dataclasses import dataclass
from enum import StrEnum

from tenantwave.core.preservation.content import ConfigMapContent
from tenantwave.core.preservation.rules import OnConflict

MAX_SHOWN = 200
"""Characters of a value that a conflict shows; the whole value is in the snapshot."""


class ConflictKind(StrEnum):
    """In which way two changes meet."""

    ADD_ADD = "AddAdd"
    EDITED_BUT_DROPPED = "EditedButDropped"
    DELETED_BUT_CHANGED = "DeletedButChanged"
    BOTH = "Both"
    UNKNOWN_BASE = "UnknownBase"


@dataclass(frozen=True, slots=True)
class Conflict:
    """One place that tenant and release both changed, or whose past nobody knows.

    `place` names it for people: `app-config/application.yaml:/db/pool`, `app-config label tier`, `app-config`. `base`, `live` and `new` are
    the three values, None where there is none; of long ones MAX_SHOWN characters from where they differ, of bytes only size and digest.
    `rule` is the narrowest item of `spec.preservation.rules` that settles it for the tenant, in one line of YAML; '' where no rule does.
    `settled_by` is Halt where nobody decides (it is in `MergeResult.conflicts`), else the rule's answer (it is in `MergeResult.settled`).
    """

    kind: ConflictKind
    config_map: str
    key: str | None
    path: str
    place: str
    base: str | None
    live: str | None
    new: str | None
    message: str
    mend: str
    rule: str = ""
    settled_by: OnConflict = OnConflict.HALT


@dataclass(frozen=True, slots=True)
class MergeResult:
    """The outcome of one merge.

    Attributes:
        content: what the object should hold; None: it should not exist. With conflicts it is not to be written: nothing in this tenant is.
        is_unchanged: the live object already is as it should be; no write is needed.
        conflicts: what halts the tenant, in the order of the object (values by key, labels, annotations, `immutable`).
        settled: conflicts that a rule decided, to be listed: what lost is in the snapshot only.
        kept_count: keys, and `immutable`, where the tenant's own value stays (rows 3, 6 and 9 of the merge table).
        merged_count: keys that hold changes of both sides now (row 11).
        orphaned: keys that the release dropped and the tenant keeps, by name.
        notes: sentences for people, such as comments of the release that could not be taken over.
    """

    content: ConfigMapContent | None
    is_unchanged: bool
    conflicts: tuple[Conflict, ...] = ()
    settled: tuple[Conflict, ...] = ()
    kept_count: int = 0
    merged_count: int = 0
    orphaned: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()

    @property
    def may_write(self) -> bool:
        """Tell whether the content may be written: there is no conflict that nobody decides."""
        return not self.conflicts


def excerpts(*values: str | None) -> tuple[str | None, ...]:
    """Return the values as a person is shown them: whole, or where one is too long from the line on in which they begin to differ."""
    present = [value for value in values if value is not None]
    start = 0
    if any(len(value) > MAX_SHOWN for value in present):
        differs = _common_length(min(present), max(present))
        start = max(present[0].rfind("\n", 0, differs) + 1, differs - MAX_SHOWN // 2) if differs < max(map(len, present)) else 0
    head = f"…line {present[0].count(chr(10), 0, start) + 1}: " if start else ""
    return tuple(None if value is None else _bounded(head + value[start:]) for value in values)


def _common_length(one: str, other: str) -> int:
    """Return how many characters two texts begin with alike. Cost: a few comparisons of memory, also for a megabyte."""
    least, most = 0, min(len(one), len(other))
    while least < most:
        middle = (least + most + 1) // 2
        if one[least:middle] == other[least:middle]:
            least = middle
        else:
            most = middle - 1
    return least


def _bounded(value: str) -> str:
    return value if len(value) <= MAX_SHOWN else value[: MAX_SHOWN - 1] + "…"
