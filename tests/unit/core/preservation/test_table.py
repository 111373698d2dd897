"""The merge table, row by row: for keys, labels, annotations, `immutable` and whole ConfigMaps."""

from dataclasses import replace

import pytest

from tenantwave.core.preservation import ConfigMapContent, ConflictKind, MergeResult, OnConflict, OnUnknownBase, Rules, Subject, merge
from tenantwave.core.preservation.table import row_of

SUBJECT = Subject("app-config", "2.4.0", "shop 2.3.1")

Side = str | None

ROWS = {
    "1 nobody changed it": (1, "b", "b", "b", "b", None),
    "1 it is nowhere": (1, None, None, None, None, None),
    "2 the release changed it": (2, "b", "b", "r", "r", None),
    "2 the release dropped it": (2, "b", "b", None, None, None),
    "3 the tenant changed it": (3, "b", "t", "b", "t", None),
    "4 both changed it alike": (4, "b", "x", "x", "x", None),
    "4 both dropped it": (4, "b", None, None, None, None),
    "4 both added it alike": (4, None, "x", "x", "x", None),
    "5 the release added it": (5, None, None, "r", "r", None),
    "6 it is the tenant's own": (6, None, "t", None, "t", None),
    "7 both added it": (7, None, "t", "r", "t", ConflictKind.ADD_ADD),
    "8 edited, but dropped": (8, "b", "t", None, "t", ConflictKind.EDITED_BUT_DROPPED),
    "9 the tenant deleted it": (9, "b", None, "b", None, None),
    "10 deleted, but changed": (10, "b", None, "r", None, ConflictKind.DELETED_BUT_CHANGED),
    "11 both changed it": (11, "b", "t", "r", "t", ConflictKind.BOTH),
}
rows = pytest.mark.parametrize(("row", "base", "live", "new", "out", "kind"), ROWS.values(), ids=ROWS)


def _section(name: str, value: Side) -> ConfigMapContent:
    values = {} if value is None else {"x": value}
    match name:
        case "labels":
            return ConfigMapContent(labels=values)
        case "annotations":
            return ConfigMapContent(annotations=values)
        case _:
            return ConfigMapContent(data=values)


def _merge(name: str, base: Side, live: Side, new: Side, on_conflict: OnConflict = OnConflict.HALT) -> MergeResult:
    return merge(_section(name, base), _section(name, live), _section(name, new), Rules(on_conflict), SUBJECT)


@rows
def test_the_table(row: int, base: Side, live: Side, new: Side, out: Side, kind: ConflictKind | None) -> None:
    """Every combination of three sides has one row."""
    assert row_of(base, live, new) == row


@pytest.mark.parametrize("name", ["data", "labels", "annotations"])
@rows
def test_the_table_holds_in_every_section(
    name: str, row: int, base: Side, live: Side, new: Side, out: Side, kind: ConflictKind | None
) -> None:
    """Keys, labels and annotations follow it; a conflict leaves the tenant's value and halts."""
    result = _merge(name, base, live, new)
    assert result.content == _section(name, out)
    assert [conflict.kind for conflict in result.conflicts] == ([kind] if kind else [])
    assert result.is_unchanged == (live == out)
    assert result.kept_count == (name == "data" and row in (3, 6, 9)), "labels and annotations are no edits of the configuration"


@rows
def test_a_rule_settles_every_conflict(row: int, base: Side, live: Side, new: Side, out: Side, kind: ConflictKind | None) -> None:
    """TenantWins keeps the tenant's side, ReleaseWins takes the release's; both list what they settled."""
    for on_conflict, winner in ((OnConflict.TENANT_WINS, live), (OnConflict.RELEASE_WINS, new)):
        result = _merge("data", base, live, new, on_conflict)
        assert result.conflicts == ()
        assert [(conflict.kind, conflict.settled_by) for conflict in result.settled] == ([(kind, on_conflict)] if kind else [])
        assert result.content == _section("data", winner if kind else out)


@pytest.mark.parametrize(
    ("base", "live", "new", "out"),
    [(None, None, True, True), (True, True, None, None), (None, True, None, True), (False, True, False, True), (True, None, True, None)],
)
def test_the_field_immutable_follows_the_table(base: bool | None, live: bool | None, new: bool | None, out: bool | None) -> None:
    """It is one more place; unset counts as not there."""
    sides = [ConfigMapContent({"a": "1"}, immutable=value) for value in (base, live, new)]
    result = merge(sides[0], sides[1], sides[2], Rules(), SUBJECT)
    assert result.content is not None
    assert result.content.immutable is out


OBJECT_ROWS = {
    "2 the release dropped it, nobody had edited it": ("b", "b", None, None, None),
    "4 gone on both sides": ("b", None, None, None, None),
    "5 the release added it": (None, None, "r", "r", None),
    "6 the tenant's own, in no entry": (None, "t", None, "t", None),
    "8 edited, but dropped": ("b", "t", None, "t", ConflictKind.EDITED_BUT_DROPPED),
    "9 deleted by the tenant": ("b", None, "b", None, None),
    "10 deleted, but changed": ("b", None, "r", None, ConflictKind.DELETED_BUT_CHANGED),
}


def _object(value: Side) -> ConfigMapContent | None:
    return None if value is None else ConfigMapContent({"x": value})


@pytest.mark.parametrize(("base", "live", "new", "out", "kind"), OBJECT_ROWS.values(), ids=OBJECT_ROWS)
def test_whole_config_maps_follow_the_table(base: Side, live: Side, new: Side, out: Side, kind: ConflictKind | None) -> None:
    """Where the object is missing on a side it is decided as a whole; no content means that it should not exist."""
    result = merge(_object(base), _object(live), _object(new), Rules(), SUBJECT)
    assert result.content == _object(out)
    assert [conflict.kind for conflict in result.conflicts] == ([kind] if kind else [])
    assert result.is_unchanged == (live == out)


def test_a_dropped_config_map_that_the_tenant_edited_is_kept_and_named_orphaned() -> None:
    """TenantWins on row 8 of a whole object."""
    result = merge(_object("b"), _object("t"), None, Rules(OnConflict.TENANT_WINS), SUBJECT)
    assert (result.content, result.orphaned) == (_object("t"), ("app-config",))
    assert merge(_object("b"), _object("t"), None, Rules(OnConflict.RELEASE_WINS), SUBJECT).content is None


def test_a_dropped_key_that_the_tenant_edited_is_named_orphaned() -> None:
    """TenantWins on row 8 of a key."""
    assert _merge("data", "b", "t", None, OnConflict.TENANT_WINS).orphaned == ("app-config/x",)


LIVE = ConfigMapContent({"a": "live", "own": "1", "same": "s"}, labels={"team": "blue"})
NEW = ConfigMapContent({"a": "new", "same": "s", "added": "1"})


def test_row_12_an_unknown_base_halts_with_one_conflict() -> None:
    """Nobody knows which of the differences are edits, so nothing is guessed."""
    result = merge(None, LIVE, NEW, Rules(), SUBJECT)
    assert [(c.kind, c.message) for c in result.conflicts] == [
        (ConflictKind.UNKNOWN_BASE, "no catalogue entry of shop 2.3.1 for app-config")
    ]
    assert result.content == LIVE


def test_row_12_equal_content_needs_no_base() -> None:
    """What the tenant has besides is the tenant's own."""
    result = merge(None, ConfigMapContent({"a": "1", "own": "2"}), ConfigMapContent({"a": "1"}), Rules(), SUBJECT)
    assert result.may_write
    assert result.is_unchanged


def test_an_unknown_base_can_be_taken_from_live() -> None:
    """AssumeLiveIsBase takes the release's values; keys that the release does not know stay."""
    result = merge(None, LIVE, NEW, Rules(on_unknown_base=OnUnknownBase.ASSUME_LIVE_IS_BASE), SUBJECT)
    assert result.content == ConfigMapContent({"a": "new", "own": "1", "same": "s", "added": "1"}, labels={"team": "blue"})
    assert result.notes == ("app-config: no catalogue entry of shop 2.3.1; the tenant's values were taken for the release's own",)


def test_an_unknown_base_can_leave_the_tenant_its_values() -> None:
    """TenantWins adds what is new and changes nothing else, and lists what it did not take."""
    result = merge(None, LIVE, NEW, Rules(on_unknown_base=OnUnknownBase.TENANT_WINS), SUBJECT)
    assert result.content == replace(LIVE, data={**LIVE.data, "added": "1"})
    assert [conflict.place for conflict in result.settled] == ["app-config/a"]


def test_a_move_between_the_two_rooms_is_no_edit() -> None:
    """`data` and `binaryData` are one name space, compared by bytes."""
    moved = ConfigMapContent(binary_data={"x": b"b"})
    assert merge(_object("b"), moved, _object("r"), Rules(), SUBJECT).content == _object("r")
    assert merge(_object("b"), moved, _object("b"), Rules(), SUBJECT).is_unchanged
    assert merge(_object("b"), _object("t"), moved, Rules(), SUBJECT).content == _object("t")


def test_values_of_binary_data_merge_as_a_whole() -> None:
    """Both changed them: conflict, whatever the bytes; no value is shown."""
    base, live, new = (ConfigMapContent(binary_data={"a.yaml": text}) for text in (b"a: 1\nb: 1\n", b"a: 2\nb: 1\n", b"a: 1\n\nb: 2\n"))
    (conflict,) = merge(base, live, new, Rules(), SUBJECT).conflicts
    assert (conflict.kind, conflict.live) == (ConflictKind.BOTH, "<binary, 10 bytes, sha256:48ddb3cd1823>")
