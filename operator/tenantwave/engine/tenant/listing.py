"""What merges say, as the TenantRun lists it: conflicts that nobody decides, what gave way on purpose, and what else there is to know.

Values are those of ConfigMaps, cut to what a person needs to recognise them; Secrets are never merged.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence

from tenantwave.api.run_records import MAX_CONFLICTS, MAX_NOTES, MAX_SETTLED, Conflict, Settled, SettledBy
from tenantwave.core import blobs, preservation
from tenantwave.core.preservation import ConfigMapContent, ConflictKind, MergeResult, OnConflict
from tenantwave.engine.tenant.failure import Failed, ImmutableChange
from tenantwave.engine.tenant.work import Work

NAMED = 3
SHOWN = 256
"""Characters of a value that an item shows."""
NOTE = 512
PLACE = 400
"""Characters of a sentence about a place, so that the way back after it is never cut."""

LOST_BY_TENANT = frozenset({SettledBy.RELEASE_WINS, SettledBy.FORCE_PRE_IMAGE})
FORWARD = frozenset({SettledBy.RELEASE_WINS, SettledBy.TENANT_WINS})


def show_conflicts(work: Work, conflicts: Sequence[preservation.Conflict], problems: Iterable[ImmutableChange] = ()) -> None:
    """Stage the conflicts for the TenantRun: the first ones in full, and how many there are."""
    items = [*(_open(conflict) for conflict in conflicts), *(_immutable(problem) for problem in problems)]
    work.handle.stage(conflicts=tuple(items[:MAX_CONFLICTS]), conflict_count=len(items))


def show_failure(work: Work, failure: Failed) -> None:
    """Stage the conflict that a failure is, where no merge has named it: a ConfigMap that may not change under its name."""
    if isinstance(failure, ImmutableChange):
        show_conflicts(work, (), (failure,))


def show_plan(work: Work, planned: Iterable[tuple[MergeResult, str, str]], notes: Iterable[str] = ()) -> None:
    """Stage what gives way by the plan, and the notes of its merges and of itself.

    Of a ConfigMap with a write of an earlier run that nobody has taken back, what gave way to that write stays listed.
    Args: planned: of each ConfigMap the merge, and the digests of what holds the tenant's and the release's content whole ('': not saved).
    """
    merges, standing = list(planned), _standing(work)
    carried = [one for one in work.status.settled if one.config_map in standing]
    settled = [
        _forward(work, conflict, "" if conflict.config_map in standing else saved, new)
        for result, saved, new in merges
        for conflict in result.settled
    ]
    _stage(work, _together(carried, settled))
    _stage_notes(work, [*notes, *(note for result, _, _ in merges for note in _notes_of(work, result))])


def show_write(work: Work, config_map: str, result: MergeResult, *, saved: str, new: str) -> None:
    """Stage what gives way in a ConfigMap by the write that is about to be made, in place of what the plan said of it.

    Where a write of ours stands already, what gave way to that one stays listed: its release is the base by now, and no merge tells of it.
    """
    settled = [_forward(work, conflict, saved, new) for conflict in result.settled]
    notes, known, known_notes = _notes_of(work, result), _of(work, config_map), _notes_about(work, config_map)
    if not (settled or notes or known or known_notes):
        return
    if config_map in _standing(work):
        _replace(work, config_map, _together(known, settled), notes or known_notes)
    else:
        _replace(work, config_map, settled, notes)


def show_stayed(work: Work, config_map: str, why: str) -> None:
    """Stage that a ConfigMap stays although the release drops it, and why: nothing gives way."""
    note = f"{config_map}: dropped in {work.version}, but {why}, so it stays; delete it once nothing reads it"
    _replace(work, config_map, (), (note,))


def show_set_back(work: Work, config_map: str, fields: Sequence[str]) -> None:
    """Stage that somebody has set values of the release back to what stood there before, by the fields' JSON Pointers.

    Nobody fights over them, for a tenant may want it so; but a sync of old manifests is not to pass for the release's configuration.
    """
    names = [_name_in(field) for field in fields]
    shown = ", ".join(names[:NAMED]) + (f" and {len(names) - NAMED} more" if len(names) > NAMED else "")
    what = f"a value that {work.version} brought was" if len(names) == 1 else f"{len(names)} values that {work.version} brought were"
    note = f"{config_map}: {what} set back since to what stood there before ({shown}); unless the tenant wants it so, apply the release's again"
    _stage_notes(work, [*work.status.notes, note])


def show_way_back(
    work: Work,
    config_map: str,
    settled: Iterable[tuple[preservation.Conflict, str]],
    forced: Iterable[tuple[preservation.Conflict, str]],
    notes: Iterable[str],
) -> None:
    """Stage what a rollback of a ConfigMap leaves as it is, or puts back by order, in place of what the way forward said of it.

    Args: settled: later edits that stay; forced: later edits that go; each with the digest of what holds the side that lost whole.
    """
    items = [_back(work, conflict, SettledBy.LATER_EDIT, lost) for conflict, lost in settled]
    items += [_back(work, conflict, SettledBy.FORCE_PRE_IMAGE, lost) for conflict, lost in forced]
    _replace(work, config_map, _together((), items), notes)


def drop_taken_back(work: Work) -> None:
    """Stage that nothing gives way to the release any more: all of it is taken back. What the rollback settled stays listed."""
    kept = [one for one in work.status.settled if one.settled_by not in FORWARD]
    _stage(work, kept, _unlisted(work) if len(kept) == len(work.status.settled) else 0)


def overwritten(
    config_map: str,
    after: ConfigMapContent | None,
    live: ConfigMapContent | None,
    left: ConfigMapContent | None,
    goal: ConfigMapContent | None,
) -> list[preservation.Conflict]:
    """Return the later edits that ForcePreImage overwrites. Args: left: what a rollback that keeps them would leave."""
    ours, edited, aims = (preservation.field_values(content) for content in (after, live, goal))
    fields = [field for field in preservation.touched_fields(left, goal) if ours.get(field) != edited.get(field)]
    return [_overwritten(config_map, field, *(values.get(field) for values in (ours, edited, aims))) for field in fields]


def _overwritten(config_map: str, field: str, *values: str | bool | None) -> preservation.Conflict:
    parent, name = field.rpartition("/")[0], _name_in(field)
    base, live, new = (_text(value, is_binary=parent == "/binaryData") for value in values)
    is_key = parent in ("/data", "/binaryData")
    place = f"{config_map}/{name}" if is_key else f"{config_map} {parent.removeprefix('/metadata/').removesuffix('s') or 'field'} {name}"
    kind = ConflictKind.DELETED_BUT_CHANGED if live is None else ConflictKind.EDITED_BUT_DROPPED if new is None else ConflictKind.BOTH
    return preservation.Conflict(kind, config_map, name if is_key else None, "", place, base, live, new, place, "")


def _name_in(field: str) -> str:
    """Return the last part of a JSON Pointer."""
    return field.rpartition("/")[2].replace("~1", "/").replace("~0", "~")


def _text(value: str | bool | None, *, is_binary: bool) -> str | None:
    if value is None or not is_binary:
        return value if isinstance(value, str | None) else str(value).lower()
    return "<binary>"


def _open(conflict: preservation.Conflict) -> Conflict:
    """Return a conflict as the TenantRun shows it."""
    return Conflict(**_place_and_values(conflict), mend=conflict.mend[:1024], rule=conflict.rule)


def _immutable(problem: ImmutableChange) -> Conflict:
    return Conflict(config_map=problem.config_map, kind="ImmutableChange", mend=problem.message[:1024])


def _place_and_values(conflict: preservation.Conflict) -> dict[str, str]:
    return {
        "config_map": conflict.config_map,
        "key": conflict.key or "",
        "path": conflict.path[:512],
        "kind": conflict.kind.value,
        "base": (conflict.base or "")[:SHOWN],
        "live": (conflict.live or "")[:SHOWN],
        "new": (conflict.new or "")[:SHOWN],
    }


def _forward(work: Work, conflict: preservation.Conflict, saved: str, new: str) -> Settled:
    """Return what gave way on the way forward."""
    said, version = conflict.message[:PLACE], work.version
    if conflict.settled_by is OnConflict.RELEASE_WINS:
        again = "delete it again" if conflict.kind is ConflictKind.DELETED_BUT_CHANGED else "set it again (live)"
        mend = f"{said}, and {version} wins; to have the tenant's side back, {again} once the tenant has succeeded, and add the rule for next time"
        rule = preservation.rule_for(conflict.kind, conflict.config_map, conflict.key, conflict.path)
        return _settled(work, conflict, SettledBy.RELEASE_WINS, mend, saved, rule)
    take = {
        ConflictKind.EDITED_BUT_DROPPED: "delete it in the tenant",
        ConflictKind.DELETED_BUT_CHANGED: "put it back in the tenant with its value (new)",
    }.get(conflict.kind, "set its value in the tenant (new)")
    lost = "" if conflict.kind is ConflictKind.EDITED_BUT_DROPPED else new
    return _settled(work, conflict, SettledBy.TENANT_WINS, f"{said}, and the tenant wins; to take the side of {version}, {take}", lost)


def _back(work: Work, conflict: preservation.Conflict, by: SettledBy, lost: str) -> Settled:
    """Return what gave way on the way back: base is what our write left, new what stood there before it."""
    place = conflict.place[:PLACE]
    if by is SettledBy.FORCE_PRE_IMAGE:
        again = "delete it again" if conflict.kind is ConflictKind.DELETED_BUT_CHANGED else "set it again (live)"
        mend = f"{place}: edited after the upgrade wrote it, and put back by ForcePreImage; to have the edit back, {again}"
    else:
        back = "delete it" if conflict.kind is ConflictKind.EDITED_BUT_DROPPED else "set it to that (new)"
        mend = f"{place}: edited after the upgrade wrote it, so the edit stays; to have back what stood there before the upgrade, {back}"
        lost = "" if conflict.kind is ConflictKind.EDITED_BUT_DROPPED else lost
    return _settled(work, conflict, by, mend, lost)


def _settled(work: Work, conflict: preservation.Conflict, by: SettledBy, mend: str, snapshot: str, rule: str = "") -> Settled:
    read = (
        f"kubectl get secret -n {work.ports.namespace} {blobs.secret_name(snapshot, 0)} -o jsonpath='{{.data.chunk}}' | base64 -d | gunzip"
    )
    whole = f"; whole: {read}" if snapshot else ""
    return Settled(**_place_and_values(conflict), mend=f"{mend}{whole}"[:1024], rule=rule, settled_by=by, snapshot=snapshot)


def _notes_of(work: Work, result: MergeResult) -> list[str]:
    orphaned = [
        f"{place}: dropped in {work.version}, kept for the tenant (orphaned); delete it once nothing reads it" for place in result.orphaned
    ]
    return [*orphaned, *result.notes]


def _standing(work: Work) -> set[str]:
    """Return the ConfigMaps, as the catalogue calls them, in which a write of ours stands."""
    refs = [ref for ref in work.ledger.touched() if ref.kind == "ConfigMap" and work.ledger.standing(ref)]
    return {work.config(ref.name).subject.config_map for ref in refs}


def _of(work: Work, config_map: str) -> list[Settled]:
    return [one for one in work.status.settled if one.config_map == config_map]


def _notes_about(work: Work, config_map: str) -> list[str]:
    return [note for note in work.status.notes if _config_map_of(note) == config_map]


def _together(known: Iterable[Settled], new: Iterable[Settled]) -> list[Settled]:
    """Return both; of two about one value at one place the newer, which knows where it is saved."""
    return list({(one.config_map, one.key, one.path, one.live): one for one in (*known, *new)}.values())


def _replace(work: Work, config_map: str, settled: Iterable[Settled], notes: Iterable[str]) -> None:
    others = [one for one in work.status.settled if one.config_map != config_map]
    _stage(work, [*others, *settled], _unlisted(work))
    _stage_notes(work, [*(note for note in work.status.notes if _config_map_of(note) != config_map), *notes])


def _unlisted(work: Work) -> int:
    """Return how many there are in all where not all are listed, else 0."""
    return work.status.settled_count if work.status.settled_count > len(work.status.settled) else 0


def _stage(work: Work, settled: Sequence[Settled], known_count: int = 0) -> None:
    """Stage what gave way, the tenant's losses first. Args: known_count: how many there are at least, where not all were listed before."""
    first = sorted(settled, key=lambda one: (one.settled_by not in LOST_BY_TENANT, one.config_map))
    work.handle.stage(settled=tuple(first[:MAX_SETTLED]), settled_count=max(len(first), known_count))


def _stage_notes(work: Work, notes: Iterable[str]) -> None:
    cut = dict.fromkeys(note[:NOTE] for note in notes)
    work.handle.stage(notes=tuple(sorted(cut, key=_config_map_of))[:MAX_NOTES])


def _config_map_of(note: str) -> str:
    """Return the ConfigMap that a note begins with: no name of one holds a slash, a colon or a space."""
    return re.split("[/: ]", note, maxsplit=1)[0]
