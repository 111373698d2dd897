"""The laws of the merge of one key, P1 to P12 of the design, over generated files of every format; and of plain text.

All laws are asked about one generated case, since making a case costs more than asking.
"""

import string
from collections import Counter
from collections.abc import Callable, Iterator
from functools import cached_property

import pytest
from hypothesis import given

from support.document_cases import CHOICES, Case, Choices, cases
from support.documents import STYLES, Line, Style
from support.profiles import thorough
from tenantwave.core.preservation import ConfigMapContent, Format, MergeResult, OnConflict, Rule, Rules, Subject, merge, merge_back
from tenantwave.core.preservation.diff3 import hunks
from tenantwave.core.preservation.formats import SYNTAXES, format_of

SUBJECT = Subject("app-config", "2.4.0", "shop 2.3.1")
CASES = thorough(2000)
of_every_format = pytest.mark.parametrize("style", STYLES, ids=lambda style: style.key)


def _merge(
    key: str, base: str, live: str, new: str, on_conflict: OnConflict = OnConflict.HALT, rules: tuple[Rule, ...] = ()
) -> MergeResult:
    sides = [ConfigMapContent({key: text}) for text in (base, live, new)]
    return merge(sides[0], sides[1], sides[2], Rules(on_conflict, rules=rules), SUBJECT)


def _text(result: MergeResult, key: str) -> str:
    assert result.content is not None
    return result.content.data[key]


def _touch(path: str, other: str) -> bool:
    """Tell whether one path is at, above or below the other."""
    return f"{path}/".startswith(f"{other}/") or f"{other}/".startswith(f"{path}/")


class Merged:
    """One case, merged in all three ways; what several laws ask is worked out once."""

    def __init__(self, case: Case) -> None:
        self.case, self.style = case, case.style
        self.base, self.live, self.new = (case.style.leaves(document) for document in case.documents)
        self.halting = self.merge(case.base, case.live, case.new)
        self.settled = {
            answer: self.merge(case.base, case.live, case.new, answer) if self.halting.conflicts else self.halting
            for answer in (OnConflict.TENANT_WINS, OnConflict.RELEASE_WINS)
        }

    def merge(self, base: str, live: str, new: str, on_conflict: OnConflict = OnConflict.HALT) -> MergeResult:
        return _merge(self.style.key, base, live, new, on_conflict)

    def text(self, result: MergeResult) -> str:
        return _text(result, self.style.key)

    @cached_property
    def kept(self) -> str:
        """The text that comes out where the tenant wins."""
        return self.text(self.settled[OnConflict.TENANT_WINS])


def our_parsers_read_what_independent_parsers_read(m: Merged) -> None:
    """The model's leaves, our tree's and an independent parser's are the same, at the same paths."""
    body = m.case.new.removeprefix("\ufeff").replace("\r\n", "\n")
    tree = SYNTAXES[format_of(m.style.key, Format.AUTO)].parse(body)
    assert m.style.paths(m.case.new) == m.new
    assert sorted(_paths(tree.shape, "")) == sorted(m.new)


def one_sided_changes_are_taken_as_they_are(m: Merged) -> None:
    """P1 to P4, byte for byte."""
    base, live, new = m.case.base, m.case.live, m.case.new
    assert m.text(m.merge(base, base, base)) == base
    assert m.text(m.merge(base, base, new)) == new
    assert m.text(m.merge(base, live, base)) == live
    assert m.text(m.merge(base, live, live)) == live
    assert m.text(m.merge(new, live, new)) == live


def a_halted_merge_changes_nothing(m: Merged) -> None:
    """Without a rule a conflict is listed, and the tenant's text stands."""
    if m.halting.conflicts:
        assert m.halting.is_unchanged
        assert not m.halting.may_write


def no_edit_is_lost(m: Merged) -> None:
    """P5, P6, P7, P12: every path that a side changed is that side's, or a listed conflict; every leaf comes from one of the two."""
    for answer, result in m.settled.items():
        assert result.may_write
        out = m.style.paths(m.text(result))
        listed = [conflict.path for conflict in result.settled]
        for path in m.base.keys() | m.live.keys() | m.new.keys() | out.keys():
            b, t, r, o = (side.get(path) for side in (m.base, m.live, m.new, out))
            is_listed = any(_touch(path, other) for other in listed)
            assert o in (t, r), path
            if t != b:
                assert o == t or (is_listed and answer is OnConflict.RELEASE_WINS), path
            if r != b:
                assert o == r or is_listed, path
            if t == b == r:
                assert o == b, path


def merging_again_changes_nothing(m: Merged) -> None:
    """P8 and P9 for the outcome, whoever wins conflicts."""
    for answer, result in m.settled.items():
        out = m.text(result)
        assert m.text(m.merge(m.case.base, out, m.case.new, answer)) == out
        assert m.text(m.merge(m.case.new, out, m.case.new, answer)) == out


def the_two_sides_are_treated_alike(m: Merged) -> None:
    """P10: the release wins one way round as the tenant wins the other way round."""
    one = m.settled[OnConflict.RELEASE_WINS]
    other = m.merge(m.case.base, m.case.new, m.case.live, OnConflict.TENANT_WINS)
    if not any(conflict.path == "" for conflict in (*one.settled, *other.settled)):
        assert m.style.paths(m.text(one)) == m.style.paths(m.text(other))


def lines_of_the_tenant_stay(m: Merged) -> None:
    """P11: a line is as the tenant wrote it unless the release changed what it says, or took that very line away."""
    if m.case.live in (m.case.base, m.case.new):
        return
    out = m.style.paths(m.kept)
    changed = [path for path in m.live.keys() | out.keys() if m.live.get(path) != out.get(path)]
    shipped = list(_lines(m.case.base))
    gone = Counter(line for hunk in hunks(shipped, list(_lines(m.case.new))) for line in shipped[hunk.start : hunk.end])
    owed = Counter(_line(line) for line in _unchanged(m.style.write(m.case.documents[1]), changed))
    assert not owed - gone - Counter(_lines(m.kept))


def the_form_of_the_tenants_file_stays(m: Merged) -> None:
    """Line ends, byte order mark and last newline are the tenant's as soon as the tenant touched the file."""
    live, out = m.case.live, m.kept
    if live != m.case.base:
        assert out.startswith("\ufeff") == live.startswith("\ufeff")
        assert out.endswith("\n") == live.endswith("\n")
        if "\n" in live:
            assert out.count("\r\n") == (out.count("\n") if "\r\n" in live else 0)


def a_rollback_gives_the_file_back(m: Merged) -> None:
    """P15: without later edits to the byte, whatever the upgrade did."""
    key = m.style.key
    for result in m.settled.values():
        after, before = result.content, ConfigMapContent({key: m.case.live})
        back = merge_back(after, after, before, Rules(), SUBJECT)
        assert back.content == before
        assert not back.settled


def a_rollback_keeps_later_edits(m: Merged) -> None:
    """P16: going back from the release's file with edits made on it keeps each of them or lists it; all else goes back."""
    after, later, goal = (ConfigMapContent({m.style.key: text}) for text in (m.case.base, m.case.live, m.case.new))
    back = merge_back(after, later, goal, Rules(), SUBJECT)
    assert back.may_write
    assert m.text(back) == m.kept


LAWS: tuple[Callable[[Merged], None], ...] = (
    our_parsers_read_what_independent_parsers_read,
    one_sided_changes_are_taken_as_they_are,
    a_halted_merge_changes_nothing,
    no_edit_is_lost,
    merging_again_changes_nothing,
    the_two_sides_are_treated_alike,
    lines_of_the_tenant_stay,
    the_form_of_the_tenants_file_stays,
    a_rollback_gives_the_file_back,
    a_rollback_keeps_later_edits,
)


def _line(line: str) -> str:
    """A comma behind an entry belongs to its neighbour."""
    return line.replace(",", "").rstrip()


def _lines(text: str) -> Iterator[str]:
    return (_line(line) for line in text.removeprefix("\ufeff").replace("\r\n", "\n").split("\n"))


def _unchanged(lines: list[Line], changed: list[str]) -> Iterator[str]:
    """Return the lines of entries that did not change. Within braces an empty mapping may have come or gone, which is no path."""
    return (line for owner, line in lines if "{" not in line and not any(_touch(owner, path) for path in changed))


@of_every_format
def test_the_laws_of_the_merge(style: Style) -> None:
    """Each of LAWS, for 2,000 cases of each format."""

    @CASES
    @given(cases(style))
    def holds(case: Case) -> None:
        merged = Merged(case)
        for law in LAWS:
            law(merged)

    holds()


def _paths(shape: object, path: str) -> Iterator[str]:
    if isinstance(shape, dict):
        for name, below in shape.items():
            yield from _paths(below, f"{path}/{name}")
    else:
        yield path


LINES = (*string.ascii_lowercase[:12], "k=1", "k=2", "", "}")


def _a_text(choices: Choices) -> list[str]:
    return [choices.of(LINES) for _ in range(choices.below(15))]


def _with_stretches_replaced(choices: Choices, base: list[str]) -> list[str]:
    lines = list(base)
    for _ in range(choices.below(3)):
        start = choices.below(len(lines) + 1)
        lines[start : start + choices.below(3)] = [choices.of("PQR") for _ in range(choices.below(3))]
    return lines


def _texts(choices: Choices) -> tuple[str, str, str]:
    """A text, and two texts that somebody made of it by replacing stretches of lines."""
    base = _a_text(choices)
    live, new = (_with_stretches_replaced(choices, base) for _ in range(2))
    return "\n".join(base), "\n".join(live), "\n".join(new)


@CASES
@given(CHOICES.map(_texts))
def test_text_merges_only_what_is_certain(texts: tuple[str, str, str]) -> None:
    """Lines that a side added are in the outcome, and nothing is made up; merging again changes nothing; P1 to P4, P15."""
    base, live, new = texts
    assert _text(_merge("notes.txt", base, live, live), "notes.txt") == live
    assert _text(_merge("notes.txt", base, base, new), "notes.txt") == new
    assert _text(_merge("notes.txt", base, live, base), "notes.txt") == live
    result = _merge("notes.txt", base, live, new)
    if result.conflicts:
        assert result.is_unchanged
        return
    out = _text(result, "notes.txt")
    lines = [text.split("\n") for text in (base, live, new, out)]
    for line in set(lines[1]) - set(lines[0]) | set(lines[2]) - set(lines[0]):
        if line:
            assert line in lines[3]
    assert set(lines[3]) <= set(lines[1]) | set(lines[2])
    assert _text(_merge("notes.txt", base, out, new), "notes.txt") == out
    after, before = (ConfigMapContent({"notes.txt": text}) for text in (out, live))
    assert merge_back(after, after, before, Rules(), SUBJECT).content == before


@CASES
@given(CHOICES.map(_texts))
def test_an_opaque_key_is_one_value(texts: tuple[str, str, str]) -> None:
    """Changed by both means conflict; else one of the two whole texts."""
    base, live, new = texts
    rules = (Rule(config_map="app-config", key="notes.txt", format=Format.OPAQUE),)
    result = _merge("notes.txt", base, live, new, rules=rules)
    assert bool(result.conflicts) == (len({base, live, new}) == 3)
    assert _text(result, "notes.txt") in (live, new)
