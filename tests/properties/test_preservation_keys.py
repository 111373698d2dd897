"""Properties P1 to P13 of the merge of one key, over generated YAML, JSON, properties and plain text."""

import string

from hypothesis import assume, example, given, settings
from hypothesis import strategies as st

from support.documents import PROPERTIES_STYLE, STYLES, Style, Triple, documents, triples
from tenantwave.core.preservation import ConfigMapContent, Format, MergeResult, OnConflict, Rule, Rules, Subject, merge
from tenantwave.core.preservation.formats import SYNTAXES, format_of

SUBJECT = Subject("app-config", "2.4.0", "shop 2.3.1")


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


@st.composite
def _files(draw: st.DrawFn) -> tuple[Style, str]:
    style = draw(st.sampled_from(STYLES))
    return style, style.render(draw(documents(style))) + "\n"


@settings(deadline=None)
@given(_files())
def test_our_parsers_read_what_independent_parsers_read(drawn: tuple[Style, str]) -> None:
    """Same leaves at the same paths, whatever the style of the scalars."""
    style, text = drawn
    tree = SYNTAXES[format_of(style.key, Format.AUTO)].parse(text)
    found: list[str] = []

    def walk(shape: object, path: str) -> None:
        if isinstance(shape, dict):
            for name, below in shape.items():
                walk(below, f"{path}/{name}")
        else:
            found.append(path)

    walk(tree.shape, "")
    assert sorted(found) == sorted(style.paths(text))


@settings(deadline=None)
@given(triples())
def test_one_sided_changes_are_taken_as_they_are(drawn: Triple) -> None:
    """P1 to P4 and P9, byte for byte."""
    key, base, live, new = drawn.style.key, drawn.base, drawn.live, drawn.new
    assert _text(_merge(key, base, base, base), key) == base
    assert _text(_merge(key, base, base, new), key) == new
    assert _text(_merge(key, base, live, base), key) == live
    assert _text(_merge(key, base, live, live), key) == live
    assert _text(_merge(key, new, live, new), key) == live


@settings(deadline=None)
@given(triples())
def test_a_halted_merge_changes_nothing(drawn: Triple) -> None:
    """Without a rule a conflict is listed, and the tenant's text stands."""
    result = _merge(drawn.style.key, drawn.base, drawn.live, drawn.new)
    if result.conflicts:
        assert result.is_unchanged
        assert not result.may_write


@settings(deadline=None)
@given(triples())
def test_no_edit_is_lost(drawn: Triple) -> None:
    """P5, P6, P7: every path that a side changed is that side's, or a listed conflict; every leaf comes from one of the two."""
    style = drawn.style
    base, live, new = style.paths(drawn.base), style.paths(drawn.live), style.paths(drawn.new)
    for on_conflict in OnConflict:
        result = _merge(style.key, drawn.base, drawn.live, drawn.new, on_conflict)
        if result.conflicts:
            continue
        out = style.paths(_text(result, style.key))
        listed = [conflict.path for conflict in result.settled]
        for path in base.keys() | live.keys() | new.keys() | out.keys():
            is_listed = any(_touch(path, other) for other in listed)
            if live.get(path) != base.get(path):
                assert out.get(path) == live.get(path) or is_listed, path
                assert out.get(path) == live.get(path) or on_conflict is OnConflict.RELEASE_WINS
            if new.get(path) != base.get(path):
                assert out.get(path) == new.get(path) or is_listed, path
            assert out.get(path) in (live.get(path), new.get(path))


@settings(deadline=None)
@given(triples())
def test_merging_again_changes_nothing(drawn: Triple) -> None:
    """P8 and P9 for the outcome, whoever wins conflicts."""
    key = drawn.style.key
    for on_conflict in OnConflict:
        result = _merge(key, drawn.base, drawn.live, drawn.new, on_conflict)
        if result.conflicts:
            continue
        out = _text(result, key)
        assert _text(_merge(key, drawn.base, out, drawn.new, on_conflict), key) == out
        assert _text(_merge(key, drawn.new, out, drawn.new, on_conflict), key) == out


@settings(deadline=None)
@given(triples())
def test_the_two_sides_are_treated_alike(drawn: Triple) -> None:
    """P10: the release wins one way round as the tenant wins the other way round."""
    key, style = drawn.style.key, drawn.style
    one = _merge(key, drawn.base, drawn.live, drawn.new, OnConflict.RELEASE_WINS)
    other = _merge(key, drawn.base, drawn.new, drawn.live, OnConflict.TENANT_WINS)
    assume(not any(conflict.path == "" for conflict in (*one.settled, *other.settled)))
    assert style.paths(_text(one, key)) == style.paths(_text(other, key))


@settings(deadline=None)
@given(triples())
@example(Triple(PROPERTIES_STYLE, "\ufeff# kept\nc=1", "# kept\nc=1", "\ufeffc=1"))
def test_comments_of_the_tenant_stay(drawn: Triple) -> None:
    """P11: where the release drops nothing, each comment line that the tenant added is still there."""
    style = drawn.style
    assume(style.paths(drawn.base).keys() <= style.paths(drawn.new).keys())
    result = _merge(style.key, drawn.base, drawn.live, drawn.new, OnConflict.TENANT_WINS)
    # A byte order mark is no part of the first line: a comment behind one is not another comment.
    texts = (text.removeprefix("\ufeff") for text in (drawn.base, drawn.live, _text(result, style.key)))
    lines = [{line.strip() for line in text.splitlines()} for text in texts]
    added = {line for line in lines[1] - lines[0] if line.startswith(("#", "//"))}
    assert added <= lines[2]


@settings(deadline=None)
@given(triples())
def test_the_form_of_the_tenants_file_stays(drawn: Triple) -> None:
    """Line ends, byte order mark and last newline are the tenant's as soon as the tenant touched the file."""
    assume(drawn.live != drawn.base)
    result = _merge(drawn.style.key, drawn.base, drawn.live, drawn.new, OnConflict.TENANT_WINS)
    out = _text(result, drawn.style.key)
    assert out.startswith("\ufeff") == drawn.live.startswith("\ufeff")
    assert out.endswith("\n") == drawn.live.endswith("\n")
    if "\n" in drawn.live:
        assert out.count("\r\n") == (out.count("\n") if "\r\n" in drawn.live else 0)


LINES = st.lists(st.sampled_from([*string.ascii_lowercase, "k=1", "k=2", "", "}"]), max_size=14)


@st.composite
def _texts(draw: st.DrawFn) -> tuple[str, str, str]:
    """A text, and two texts that somebody made of it by replacing stretches of lines."""
    base = draw(LINES)

    def changed() -> list[str]:
        lines = list(base)
        for _ in range(draw(st.integers(0, 2))):
            start = draw(st.integers(0, len(lines)))
            lines[start : start + draw(st.integers(0, 2))] = draw(st.lists(st.sampled_from("PQR"), max_size=2))
        return lines

    texts = ["\n".join(lines) for lines in (base, changed(), changed())]
    return texts[0], texts[1], texts[2]


@settings(deadline=None)
@given(_texts())
def test_text_merges_only_what_is_certain(texts: tuple[str, str, str]) -> None:
    """Lines that a side added are in the outcome, and nothing is made up; merging again changes nothing."""
    base, live, new = texts
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


@settings(deadline=None)
@given(_texts())
def test_an_opaque_key_is_one_value(texts: tuple[str, str, str]) -> None:
    """Changed by both means conflict; else one of the two whole texts."""
    base, live, new = texts
    rules = (Rule(config_map="app-config", key="notes.txt", format=Format.OPAQUE),)
    result = _merge("notes.txt", base, live, new, rules=rules)
    assert bool(result.conflicts) == (len({base, live, new}) == 3)
    assert _text(result, "notes.txt") in (live, new)
