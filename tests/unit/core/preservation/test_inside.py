"""What becomes of one file that both sides changed: the text that comes out, or why nothing does."""

import pytest

from tenantwave.core.preservation import ConfigMapContent, MergeResult, OnConflict, Rules, Subject, merge
from tenantwave.core.preservation.diff3 import diff3, is_safe_as_text
from tenantwave.core.preservation.framing import framed

SUBJECT = Subject("app-config", "2.4.0", "shop 2.3.1")


def _merge(key: str, base: str, live: str, new: str, on_conflict: OnConflict = OnConflict.HALT) -> MergeResult:
    return merge(ConfigMapContent({key: base}), ConfigMapContent({key: live}), ConfigMapContent({key: new}), Rules(on_conflict), SUBJECT)


def _text(result: MergeResult, key: str) -> str:
    assert result.content is not None
    return result.content.data[key]


# fmt: off
# ruff: noqa: E501  (one case, one line: base, live, new and the outcome side by side)
MERGED = {
    "yaml: neighbours on adjacent lines": ("a.yaml", "a: 1\nb: 1\n", "a: 2\nb: 1\n", "a: 1\nb: 2\n", "a: 2\nb: 2\n"),
    "yaml: both add at one place": ("a.yaml", "a: 1\n", "a: 1\nmine: 1\n", "a: 1\nnew: 0x1F # hex\n", "a: 1\nnew: 0x1F # hex\nmine: 1\n"),
    "yaml: reindented by the tenant": (
        "a.yaml",
        "db:\n  pool: 1\n  host: a\n",
        "db:\n    pool: 1 # ours\n    host: a\n",
        "db:\n  pool: 2\n  host: a\n  tls:\n    on: true\n",
        "db:\n    pool: 2 # ours\n    host: a\n    tls:\n      on: true\n",
    ),
    "yaml: a scalar becomes a mapping": ("a.yaml", "a: 1\nb: 1\n", "a: 1 # c\nb: 2\n", "a:\n  x: 1\nb: 1\n", "a: # c\n  x: 1\nb: 2\n"),
    "yaml: a mapping becomes a scalar": ("a.yaml", "a:\n  x: 1\nb: 1\n", "a:\n  x: 1\nb: 2\n", "a: none\nb: 1\n", "a: none\nb: 2\n"),
    "yaml: a block scalar changes": ("a.yaml", "a: |\n  x\nb: 1\n", "a: |\n  x\nb: 2\n", "a: |\n  x\n  y\nb: 1\n", "a: |\n  x\n  y\nb: 2\n"),
    "yaml: an empty value is filled": ("a.yaml", "a:\nb: 1\n", "a:\nb: 2\n", "a: 5\nb: 1\n", "a: 5\nb: 2\n"),
    "yaml: the first key of an item is dropped": (
        "a.yaml",
        "a: {l: [1], m: 2}\n",
        "a: {l: [1], m: 2, mine: 3}\n",
        "a: {m: 2}\n",
        "a: {m: 2, mine: 3}\n",
    ),
    "yaml: the last entry in brackets is dropped": ("a.yaml", "a: {l: 1, m: 2}\n", "a: {l: 3, m: 2}\n", "a: {l: 1}\n", "a: {l: 3}\n"),
    "yaml: the tenant took a mapping out of its brackets": ("a.yaml", "m: {a: 1, b: 1}\n", "m:\n  a: 2\n  b: 1\n", "m: {a: 1, c: 3, b: 1}\n", "m:\n  a: 2\n  c: 3\n  b: 1\n"),
    "yaml: the tenant took a list out of its brackets": ("a.yaml", "l: [1]\n", "l:\n- 1 # one\n", "l: [1, 2]\n", "l:\n- 1 # one\n- 2\n"),
    "yaml: the tenant put a list into brackets": ("a.yaml", "l:\n- 1\n", "l: [1] # one\n", "l:\n- 1\n- 2\n", "l: [1, 2] # one\n"),
    "yaml: the tenant put a mapping into brackets": ("a.yaml", "m:\n  a: 1\n", "m: {a: 1} # one\n", "m:\n  a: 1\n  b: 2\n", "m: {a: 1, b: 2} # one\n"),
    "yaml: an item loses its first key": ("a.yaml", "l:\n- a: 1\n  b: 2\nz: 1\n", "l:\n- a: 1\n  b: 2\nz: 2\n", "l:\n- b: 2\nz: 1\n", "l:\n- b: 2\nz: 2\n"),
    "yaml: an item gets a first key": ("a.yaml", "l:\n- b: 2\nz: 1\n", "l:\n- b: 2\nz: 2\n", "l:\n- a: 1\n  b: 2\nz: 1\n", "l:\n- a: 1\n  b: 2\nz: 2\n"),
    "yaml: a list gets an item": ("a.yaml", "l:\n- 1\nz: 1\n", "l:\n- 1 # one\nz: 2\n", "l:\n- 1\n- 2\nz: 1\n", "l:\n- 1 # one\n- 2\nz: 2\n"),
    "yaml: a list in a list": ("a.yaml", "l:\n- - 1\n  - 2\nz: 1\n", "l:\n- - 1\n  - 2\nz: 2\n", "l:\n- - 2\n  - 3\nz: 1\n", "l:\n- - 2\n  - 3\nz: 2\n"),
    "yaml: an indented list": ("a.yaml", "l:\n  - a: 1\nz: 1\n", "l:\n  - a: 1\nz: 2\n", "l:\n  - a: 1\n  - b:\n      c: 1\nz: 1\n", "l:\n  - a: 1\n  - b:\n      c: 1\nz: 2\n"),
    "yaml: several last entries in brackets go": ("a.yaml", "a: [1, 2, 3]\nb: 1\n", "a: [1, 2, 3]\nb: 2\n", "a: [1]\nb: 1\n", "a: [1]\nb: 2\n"),
    "yaml: several first entries in brackets go": ("a.yaml", "a: [1, 2, 3]\nb: 1\n", "a: [1, 2, 3]\nb: 2\n", "a: [3]\nb: 1\n", "a: [3]\nb: 2\n"),
    "yaml: all entries go": ("a.yaml", "a:\n  x: 1\nb: 1\n", "a:\n  x: 1\nb: 2\n", "a: {}\nb: 1\n", "a: {}\nb: 2\n"),
    "yaml: quotes of the tenant stay": ("a.yaml", "a: x\nb: 1\n", "a: 'x'\nb: 1\n", "a: x\nb: 2\n", "a: 'x'\nb: 2\n"),
    "yaml: the tenant moved keys": ("a.yaml", "a: 1\nb: 1\nc: 1\n", "c: 1\na: 1\nb: 1\n", "a: 1\nb: 1\nc: 2\n", "c: 2\na: 1\nb: 1\n"),
    "yaml: a dropped key, its neighbour edited": ("a.yaml", "a: 1\nb: 1\n", "a: 1\nb: 2\n", "b: 1\n", "b: 2\n"),
    "json: one line": ("a.json", '{"a":1,"b":1}', '{"a":2,"b":1}', '{"a":1,"b":1,"c":[1]}', '{"a":2,"b":1, "c":[1]}'),
    "json: comma after the last": (
        "a.json",
        '{\n  "a": 1\n}\n',
        '{\n  "a": 2 // mine\n}\n',
        '{\n  "a": 1,\n  "b": 1\n}\n',
        '{\n  "a": 2, // mine\n  "b": 1\n}\n',
    ),
    "json: the last is dropped": (
        "a.json",
        '{\n  "a": 1,\n  "b": 1\n}\n',
        '{\n  "a": 2,\n  "b": 1\n}\n',
        '{\n  "a": 1\n}\n',
        '{\n  "a": 2\n}\n',
    ),
    "json: trailing comma": (
        "a.json",
        '{\n  "a": 1,\n}\n',
        '{\n  "a": 2,\n}\n',
        '{\n  "a": 1,\n  "b": 1,\n}\n',
        '{\n  "a": 2,\n  "b": 1,\n}\n',
    ),
    "json: tabs": ("a.json", '{\n\t"a": 1\n}', '{\n\t"a": 2\n}', '{\n\t"a": 1,\n\t"b": 1\n}', '{\n\t"a": 2,\n\t"b": 1\n}'),
    "json: into an empty object": ("a.json", '{"a": {}, "b": 1}', '{"a": {}, "b": 2}', '{"a": {"x": 1}, "b": 1}', '{"a": {"x": 1}, "b": 2}'),
    "properties: neighbours": ("a.properties", "a=1\nb=1\n", "a = 2\nb=1\n", "a=1\nb=2\nc=3\n", "a = 2\nb=2\nc=3\n"),
    "properties: a continued value": ("a.properties", "a=1\nb=1\n", "a=1\nb=2\n", "a=1,\\\n  2\nb=1\n", "a=1,\\\n  2\nb=2\n"),
    "toml: neighbours": ("a.toml", "a = 1\nb = 1\n", "a = 2\nb = 1\n", "a = 1\nb = 0x2\nc = 3\n", "a = 2\nb = 0x2\nc = 3\n"),
    "toml: a key for a table with tables": ("a.toml", "[t.u]\na = 1\n", "[t.u]\na = 2\n", "[t.u]\na = 1\nb = 1\n", "[t.u]\na = 2\nb = 1\n"),
    "toml: a table beside an edited one": ("a.toml", "[t]\na = 1\n", "[t]\na = 2\n", "[t]\na = 1\n\n[u]\nb = 1\n", "[t]\na = 2\n\n[u]\nb = 1\n"),
    "toml: a table goes": ("a.toml", "[t]\na = 1\n\n[u]\nb = 1\n\n[v]\nc = 1\n", "[t]\na = 2\n\n[u]\nb = 1\n\n[v]\nc = 2\n", "[t]\na = 1\n\n[v]\nc = 1\n", "[t]\na = 2\n\n[v]\nc = 2\n"),
    "toml: a key becomes a table": ("a.toml", "x = 1\na = 1\n", "x = 2\na = 1\n", "x = 1\n\n[a]\nb = 1\n", "x = 2\n\n[a]\nb = 1\n"),
    "toml: into an empty table": ("a.toml", "[t]\n[u]\na = 1\n", "[t]\n# mine\n[u]\na = 2\n", "[t]\nb = 1\n[u]\na = 1\n", "[t]\nb = 1\n# mine\n[u]\na = 2\n"),
    "ini: neighbours in a section": ("a.ini", "[s]\na=1\nb=1\n", "[s]\na = 2\nb=1\n", "[s]\na=1\nb=2\n", "[s]\na = 2\nb=2\n"),
    "ini: a section behind comments": ("a.ini", "[s]\na=1\n;b=2\n", "[s]\na=2\n;b=3\n", "[s]\na=1\n;b=2\n[t]\nc=1\n", "[s]\na=2\n;b=3\n\n[t]\nc=1\n"),
    "ini: a flag": ("a.ini", "[s]\na\nb=1\n", "[s]\na\nb=2\n", "[s]\na=on\nb=1\n", "[s]\na=on\nb=2\n"),
    "properties: into a file of comments": ("a.properties", "# c\n", "# mine\n", "a=1\n", "# mine\na=1\n"),
    "text: far apart": ("a.txt", "1\n2\n3\n4\n5\n", "x\n2\n3\n4\n5\n", "1\n2\n3\n4\ny\n", "x\n2\n3\n4\ny\n"),
    "yaml as text: several documents": ("a.yaml", "a: 1\n---\nb\nc\nd\ne: 1\n", "a: 2\n---\nb\nc\nd\ne: 1\n", "a: 1\n---\nb\nc\nd\ne: 2\n", "a: 2\n---\nb\nc\nd\ne: 2\n"),
    "crlf and bom of the tenant": ("a.yaml", "a: 1\nb: 1\n", "\ufeffa: 2\r\nb: 1\r\n", "a: 1\nb: 1\nc: 1\n", "\ufeffa: 2\r\nb: 1\r\nc: 1\r\n"),
    "line ends changed by the tenant alone": ("a.yaml", "a: 1\nb: 1\n", "a: 1\r\nb: 1\r\n", "a: 1\nb: 2\n", "a: 1\r\nb: 2\r\n"),
    "no last newline": ("a.properties", "a=1\nb=1\n", "a=2\nb=1", "a=1\nb=1\nc=1\n", "a=2\nb=1\nc=1"),
}
# fmt: on


@pytest.mark.parametrize(("key", "base", "live", "new", "out"), MERGED.values(), ids=MERGED)
def test_both_changes_arrive(key: str, base: str, live: str, new: str, out: str) -> None:
    """The outcome is exact, byte for byte."""
    result = _merge(key, base, live, new)
    assert result.conflicts == ()
    assert _text(result, key) == out
    assert result.merged_count == 1


KEPT = {
    "a change of blank lines is none": ("a.yaml", "a: 1\nb: 1\n", "a: 2\nb: 1\n", "a: 1\n\nb: 1\n\n"),
    "a trailing newline is no change": ("a.txt", "a\nb\n", "a\nc\n", "a\nb\n\n"),
    "a last newline is no change": ("a.txt", "a\nb\n", "a\nc\n", "a\nb"),
}


@pytest.mark.parametrize(("key", "base", "live", "new"), KEPT.values(), ids=KEPT)
def test_what_renderers_do_is_no_change_of_the_release(key: str, base: str, live: str, new: str) -> None:
    """No write, no restart, no conflict."""
    result = _merge(key, base, live, new)
    assert result.may_write
    assert result.is_unchanged


HALTED = {
    "yaml: a last line without its end is another value": ("a.yaml", "a: 1\n", "b: |\n  x", "a: 1\nc: 1\n", [""]),
    "yaml: the same path": ("a.yaml", "a:\n  b: 1\n", "a:\n  b: 2\n", "a:\n  b: 3\n", ["/a/b"]),
    "yaml: edited below what is dropped": ("a.yaml", "k: 1\na:\n  b: 1\n  c: 1\n", "k: 1\na:\n  b: 2\n  c: 1\n", "k: 1\n", ["/a"]),
    "yaml: a path with a slash": ("a.yaml", "a/b: 1\n", "a/b: 2\n", "a/b: 3\n", ["/a~1b"]),
    "json: both add": ("a.json", "{}", '{"a": 1}', '{"a": 2}', ["/a"]),
    "json: several at once": ("a.json", '{"a": 1, "b": 1}', '{"a": 2, "b": 2}', '{"a": 3, "b": 3}', ["/a", "/b"]),
    "properties": ("a.properties", "a.b=1\n", "a.b=2\n", "a.b=3\n", ["/a.b"]),
    "a plain value": ("db.pool", "1", "2", "3", [""]),
    "text: two lines apart": ("a.txt", "1\n2\n3\n4\n", "x\n2\n3\n4\n", "1\n2\n3\ny\n", [""]),
    "text: one setting twice": ("a.conf", "1\n2\n3\n4\n5\n", "k=1\n2\n3\n4\n5\n", "1\n2\n3\n4\nk = 2\n", [""]),
    "mixed line ends": ("a.txt", "1\n2\n3\n4\n5\n", "x\r\n2\n3\n4\n5\n", "1\n2\n3\n4\ny\n", [""]),
}


@pytest.mark.parametrize(("key", "base", "live", "new", "paths"), HALTED.values(), ids=HALTED)
def test_what_is_not_certain_halts(key: str, base: str, live: str, new: str, paths: list[str]) -> None:
    """All conflicts are named at once, and the text stays."""
    result = _merge(key, base, live, new)
    assert [conflict.path for conflict in result.conflicts] == paths
    assert _text(result, key) == live


def test_a_file_that_cannot_be_parsed_says_so() -> None:
    """People want to know why their YAML is merged by lines."""
    result = _merge("a.yaml", "a: {{ x }}\nb: 1\n", "a: {{ x }}\nb: 2\n", "a: {{ y }}\nb: 1\n")
    assert result.notes == ("app-config/a.yaml: merged as plain text: as Yaml, it holds the template mark {{",)


# fmt: off
LONG = {  # base, live, new
    "a.yaml a list that both change": ("l:\n- a\n- b\n- c\n- d\n- e\n", "l:\n- a\n- mine\n- b\n- c\n- d\n- e\n", "l:\n- a\n- b\n- c\n- d\n- f\n"),
    "a.yaml a renamed parent": ("s:\n  a: 1\n  b: 1\n  c: 1\n  d: 1\n", "s:\n  a: 1\n  b: 1\n  c: 1\n  d: 2\n", "t:\n  a: 1\n  b: 1\n  c: 1\n  d: 1\n"),
    "a.json a renamed parent": (
        '{\n "s": {\n "a": 1,\n "b": 1,\n "c": 1,\n "d": 1\n}}\n',
        '{\n "s": {\n "a": 1,\n "b": 1,\n "c": 1,\n "d": 2\n}}\n',
        '{\n "t": {\n "a": 1,\n "b": 1,\n "c": 1,\n "d": 1\n}}\n',
    ),
    "a.toml a renamed table": ("[s]\na = 1\nb = 1\nc = 1\nd = 1\n", "[s]\na = 1\nb = 1\nc = 1\nd = 2\n", "[t]\na = 1\nb = 1\nc = 1\nd = 1\n"),
    "a.toml a new header above": ("[s]\na = 1\nb = 1\nc = 1\nd = 1\n", "[s]\na = 1\nb = 1\nc = 1\nd = 1\nmine = 1\n", "[s]\na = 1\n[t]\nb = 1\nc = 1\nd = 1\n"),
    "a.ini a new header above": ("[s]\na = 1\nb = 1\nc = 1\nd = 1\n", "[s]\na = 1\nb = 1\nc = 1\nd = 1\nmine = 1\n", "[s]\na = 1\n[t]\nb = 1\nc = 1\nd = 1\n"),
    "a.ini a renamed section": ("[s]\na = 1\nb = 1\nc = 1\nd = 1\n", "[s]\na = 1\nb = 1\nc = 1\nd = 2\n", "[t]\na = 1\nb = 1\nc = 1\nd = 1\n"),
    "a.properties one key in two spellings": ("a=1\nb=1\nc=1\nd=1\n", "aa=2\na=1\nb=1\nc=1\nd=1\n", "a=1\nb=1\nc=1\nd=1\n\\u0061a=3\n"),
    "a.yaml neighbours": ("a: 1\nb: 1\n", "a: 2\nb: 1\n", "a: 1\nb: 2\n"),
}
# fmt: on


@pytest.mark.parametrize(("name", "texts"), LONG.items(), ids=LONG)
def test_a_long_file_merges_as_a_short_one(name: str, texts: tuple[str, str, str]) -> None:
    """Lines that nobody has parsed may put an edit elsewhere: the length of a file never decides how it is merged."""
    key = name.partition(" ")[0]
    mark = "//" if key == "a.json" else "#"
    comments = "".join(f"{mark} a comment {n}\n" for n in range(20_000))
    base, live, new = texts
    short, long = _merge(key, base, live, new), _merge(key, comments + base, comments + live, comments + new)
    assert [(clash.kind, clash.path) for clash in long.conflicts] == [(clash.kind, clash.path) for clash in short.conflicts]
    assert _text(long, key).removeprefix(comments) == _text(short, key)
    assert long.notes == short.notes


def test_comments_of_the_release_arrive_by_lines_or_are_reported() -> None:
    """Far from the tenant's edits they come along; beside them they do not, and a note says so."""
    base = "a: 1\nb: 1\nc: 1\nd: 1\n"
    assert (
        _text(_merge("a.yaml", base, base.replace("a: 1", "a: 2"), base + "# why\ne: 1\n"), "a.yaml")
        == "a: 2\nb: 1\nc: 1\nd: 1\n# why\ne: 1\n"
    )
    beside = _merge("a.yaml", base, base.replace("d: 1", "d: 2"), base + "# why\ne: 1\n")
    assert _text(beside, "a.yaml") == "a: 1\nb: 1\nc: 1\nd: 2\ne: 1\n"
    assert beside.notes == ("app-config/a.yaml: comments that are new in the release were not taken over",)


@pytest.mark.parametrize(
    ("base", "live", "new", "out"),
    [
        pytest.param("a\nb\nc\n", "a\nx\nb\nc\n", "a\nb\nc\ny\n", "a\nx\nb\nc\ny\n", id="two insertions"),
        pytest.param("a\nb\nc\n", "a\nc\n", "a\nb\nc\nd\n", "a\nc\nd\n", id="a removal and an addition"),
        pytest.param("a\nb\n", "x\nb\n", "x\nb\n", "x\nb\n", id="both alike"),
        pytest.param("a\nb\n", "x\nb\n", "a\ny\n", None, id="neighbours touch"),
        pytest.param("a\n", "a\nx\n", "a\ny\n", None, id="insertions at one place"),
        pytest.param("", "x\n", "", "x\n", id="from nothing"),
        pytest.param("}\n" * 50, "x\n" + "}\n" * 50, "}\n" * 50 + "y\n", "x\n" + "}\n" * 50 + "y\n", id="repeated lines"),
    ],
)
def test_diff3(base: str, live: str, new: str, out: str | None) -> None:
    """Changes that neither overlap nor touch, or say the same."""
    merged = diff3(base, live, new)
    assert (merged.text if merged else None) == out


def test_a_change_on_both_sides_needs_no_distance() -> None:
    """Only changes that differ can be in each other's way."""
    merged = diff3("a\nb\nc\n", "x\nb\nc\n", "x\nb\nc\n")
    assert merged is not None
    assert is_safe_as_text(merged)


@pytest.mark.parametrize("text", ["", "a", "a\n", "\n", "a\r\nb\r\n", "a\r\nb", "\ufeffa\n", "\ufeff"])
def test_a_frame_goes_off_and_on_without_a_trace(text: str) -> None:
    """Byte order mark, line ends, last newline."""
    frame = framed(text)
    assert frame is not None
    assert frame.wrap(frame.body) == text


@pytest.mark.parametrize("text", ["a\r\nb\n", "a\rb\n", "a\r\r\n"])
def test_mixed_line_ends_have_no_frame(text: str) -> None:
    """Nobody could put them back."""
    assert framed(text) is None
