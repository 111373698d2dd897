"""The table of the three-way merge, for anything that has equality: keys, labels, annotations, fields, whole objects, places in a file.

| row | base | live | new | result |                    | row | base | live | new | result |
|---|---|---|---|---|                                    |---|---|---|---|---|
| 1 | b | b | b | live, unchanged |                      | 7 | – | t | r | conflict AddAdd |
| 2 | b | b | r | new; removed if dropped |              | 8 | b | t | – | conflict EditedButDropped |
| 3 | b | t | b | live, the tenant's value |             | 9 | b | – | b | live: stays deleted |
| 4 | b | x | x | live; no longer an edit |              | 10 | b | – | r | conflict DeletedButChanged |
| 5 | – | – | r | new, added |                           | 11 | b | t | r | changed by both: look inside, else conflict Both |
| 6 | – | t | – | live, the tenant's own |               | 12 | ? | t | r | unknown base: not decided here, see `merge` |
"""

from typing import TypeVar

from tenantwave.core.preservation.result import ConflictKind

T = TypeVar("T")

ROWS_OF_LIVE = frozenset({1, 3, 4, 6, 9})
ROWS_OF_NEW = frozenset({2, 5})
ROWS_KEPT = frozenset({3, 6, 9})
ROW_OF_BOTH = 11

CONFLICTS = {
    7: ConflictKind.ADD_ADD,
    8: ConflictKind.EDITED_BUT_DROPPED,
    10: ConflictKind.DELETED_BUT_CHANGED,
    11: ConflictKind.BOTH,
}


def row_of(base: T | None, live: T | None, new: T | None) -> int:
    """Return the row of the table, 1 to 11; None stands for "is not there". What exists nowhere is row 1."""
    if live == new:
        return 1 if live == base else 4
    if base is None:
        return 5 if live is None else 6 if new is None else 7
    if live == base:
        return 2
    if new == base:
        return 9 if live is None else 3
    return 10 if live is None else 8 if new is None else ROW_OF_BOTH
