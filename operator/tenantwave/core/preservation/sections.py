"""The merge of one section of a ConfigMap: its values, labels, annotations or `immutable`, name by name along the table."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Generic, TypeVar

from tenantwave.core.preservation.mending import mend_for, rule_for
from tenantwave.core.preservation.result import Conflict, ConflictKind, excerpts
from tenantwave.core.preservation.rules import OnConflict
from tenantwave.core.preservation.table import CONFLICTS, ROW_OF_BOTH, ROWS_KEPT, ROWS_OF_LIVE, ROWS_OF_NEW, row_of

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Subject:
    """What a merge is about, for rules and for messages.

    `version` names what arrives ("2.4.0"; in a rollback "the state before the upgrade"), `base` what should have been there ("shop 2.3.1").
    """

    config_map: str
    version: str
    base: str

    def message(self, kind: ConflictKind, place: str) -> str:
        """Return what happened at `place`, in a sentence that does not depend on values."""
        match kind:
            case ConflictKind.ADD_ADD:
                return f"{place}: added by tenant and by {self.version}"
            case ConflictKind.EDITED_BUT_DROPPED:
                return f"{place}: edited by tenant, dropped in {self.version}"
            case ConflictKind.DELETED_BUT_CHANGED:
                return f"{place}: deleted by tenant, changed in {self.version}"
            case ConflictKind.BOTH:
                return f"{place}: changed by both tenant and {self.version}"
            case ConflictKind.UNKNOWN_BASE:
                return f"no catalogue entry of {self.base} for {place}"


@dataclass(frozen=True, slots=True)
class Clash:
    """A conflict inside one name of a section; `path` is "" for the whole value. Values are not cut yet."""

    kind: ConflictKind
    path: str
    base: str | None
    live: str | None
    new: str | None
    settled_by: OnConflict

    def conflict(self, subject: Subject, place: str, key: str | None) -> Conflict:
        """Return the conflict as the merge reports it; one that is settled needs no rule any more."""
        is_open = self.settled_by is OnConflict.HALT
        base, live, new = excerpts(self.base, self.live, self.new)
        rule = rule_for(self.kind, subject.config_map, key, self.path) if is_open else ""
        return Conflict(
            kind=self.kind,
            config_map=subject.config_map,
            key=key,
            path=self.path,
            place=place,
            base=base,
            live=live,
            new=new,
            message=subject.message(self.kind, place),
            mend=mend_for(self.kind, subject.version, rule),
            rule=rule,
            settled_by=self.settled_by,
        )


@dataclass(frozen=True, slots=True)
class Inside(Generic[T]):
    """The outcome of row 11 for one name: the value to have, with what clashed inside it. `is_merged`: it has changes of both sides."""

    value: T
    clashes: tuple[Clash, ...] = ()
    is_merged: bool = False
    notes: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Part(Generic[T]):
    """The merge of one section: its values and what there is to say about them."""

    values: dict[str, T]
    conflicts: tuple[Conflict, ...]
    kept_count: int
    merged_count: int
    orphaned: tuple[str, ...]
    notes: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Section(Generic[T]):
    """How one section speaks and decides.

    `place` names an entry for people (name, path inside it), `decide` says who wins a conflict of the whole entry, `look_inside` merges
    an entry that both sides changed (name, base, live, new), `show` writes a value for people, `is_keyed`: names are keys of the ConfigMap.
    """

    subject: Subject
    place: Callable[[str, str], str]
    decide: Callable[[str], OnConflict]
    show: Callable[[T], str]
    look_inside: Callable[[str, T, T, T], Inside[T]] | None = None
    is_keyed: bool = False

    def merge(self, base: Mapping[str, T], live: Mapping[str, T], new: Mapping[str, T]) -> Part[T]:
        """Merge name by name, in sorted order. Cost: linear in the names, plus `look_inside` for those that both sides changed."""
        values: dict[str, T] = {}
        entries = {name: self._merge_entry(name, base.get(name), live.get(name), new.get(name)) for name in sorted({*base, *live, *new})}
        for name in (*live, *(name for name in new if name not in live)):  # the tenant's order first, then what is new
            value = entries[name].value
            if value is not None:
                values[name] = value
        return Part(
            values=values,
            conflicts=tuple(conflict for entry in entries.values() for conflict in entry.conflicts),
            kept_count=sum(entry.row in ROWS_KEPT for entry in entries.values()),
            merged_count=sum(entry.is_merged for entry in entries.values()),
            orphaned=tuple(self.place(name, "") for name, entry in entries.items() if entry.is_orphaned),
            notes=tuple(note for entry in entries.values() for note in entry.notes),
        )

    def _merge_entry(self, name: str, base: T | None, live: T | None, new: T | None) -> "_Entry[T]":
        row = row_of(base, live, new)
        if row in ROWS_OF_LIVE:
            return _Entry(row, live)
        if row in ROWS_OF_NEW:
            return _Entry(row, new)
        if row == ROW_OF_BOTH and self.look_inside is not None and base is not None and live is not None and new is not None:
            inside = self.look_inside(name, base, live, new)
            conflicts = tuple(self._conflict(name, clash) for clash in inside.clashes)
            notes = tuple(f"{self.place(name, '')}: {note}" for note in inside.notes)
            return _Entry(row, inside.value, conflicts, is_merged=inside.is_merged, notes=notes)
        decision = self.decide(name)
        conflict = self._conflict(name, Clash(CONFLICTS[row], "", self._shown(base), self._shown(live), self._shown(new), decision))
        is_orphaned = decision is OnConflict.TENANT_WINS and new is None
        return _Entry(row, new if decision is OnConflict.RELEASE_WINS else live, (conflict,), is_orphaned=is_orphaned)

    def _conflict(self, name: str, clash: Clash) -> Conflict:
        return clash.conflict(self.subject, self.place(name, clash.path), name if self.is_keyed else None)

    def _shown(self, value: T | None) -> str | None:
        return None if value is None else self.show(value)


@dataclass(frozen=True, slots=True)
class _Entry(Generic[T]):
    """One name of a section, merged: its row of the table, the value to have (None: not there), and what to say about it."""

    row: int
    value: T | None
    conflicts: tuple[Conflict, ...] = ()
    is_merged: bool = False
    is_orphaned: bool = False
    notes: tuple[str, ...] = ()
