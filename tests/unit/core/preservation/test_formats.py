"""What each parser reads, and what it refuses to read, so that the file is merged as text instead."""

import configparser

import pytest

from tenantwave.core.preservation.formats.ini import parse_ini
from tenantwave.core.preservation.formats.json import parse_json
from tenantwave.core.preservation.formats.properties import parse_properties
from tenantwave.core.preservation.formats.toml import parse_toml
from tenantwave.core.preservation.formats.yaml import parse_yaml
from tenantwave.core.preservation.tree import Node, UnparsableError


@pytest.mark.parametrize(
    ("text", "why"),
    [
        pytest.param("a: 1\na: 2\n", 'the key "a" is there twice', id="duplicate key"),
        pytest.param("1: a\n'1': b\n", 'the key "1" is there twice', id="keys that differ by type alone"),
        pytest.param("a: &x 1\nb: 2\n", "anchors or aliases", id="anchor"),
        pytest.param("a: &x {}\nb: *x\n", "anchors or aliases", id="alias"),
        pytest.param("<<: {a: 1}\n", "merge key", id="merge key"),
        pytest.param("a: !vault x\n", "the tag !vault", id="tag"),
        pytest.param("a: !!int 1\n", "the tag", id="standard tag"),
        pytest.param("a: 1\n---\nb: 2\n", "several documents", id="several documents"),
        pytest.param("%YAML 1.2\n---\na: 1\n", "directives", id="directive"),
        pytest.param("a:\n\tb: 1\n", "", id="tab indent"),
        pytest.param("a: {{ x }}\n", "template mark {{", id="Helm template"),
        pytest.param("a: ${x}\n", "template mark ${", id="shell template"),
        pytest.param("# only a comment\n", "no document", id="nothing in it"),
        pytest.param("? a\n: 1\n", "unusual way", id="key with a question mark"),
        pytest.param("{a: 1, b}\n", "unusual way", id="key without a colon"),
        pytest.param("[a, b]: 1\n", "a key is a list or a mapping", id="key that is a list"),
        pytest.param("-\n  a: 1\n", "line of its dash", id="item below its dash"),
        pytest.param("a: [1\n", "", id="syntax"),
        pytest.param("a: \x01\n", "", id="control character"),
        pytest.param("[" * 200 + "]" * 200 + "\n", "nested deeper than 100", id="depth"),
    ],
)
def test_yaml_that_leaves_a_doubt_is_refused(text: str, why: str) -> None:
    """An edit of such a file could change more than its line says."""
    with pytest.raises(UnparsableError) as error:
        parse_yaml(text)
    assert why in str(error.value)


@pytest.mark.parametrize(
    ("one", "other", "is_equal"),
    [
        pytest.param("a: x\n", 'a: "x"  # c\n', True, id="quotes and comments are style"),
        pytest.param("a: |\n  x\n", 'a: "x\\n"\n', True, id="block scalars are strings"),
        pytest.param("a: {b: 1, c: 2}\n", "a:\n  c: 2\n  b: 1\n", True, id="brackets and order of keys are style"),
        pytest.param("a: 1\n", "a: '1'\n", False, id="a number is no string"),
        pytest.param("a: 0123\n", "a: 123\n", False, id="a leading zero stays"),
        pytest.param("a: 1\n", "a: 1.0\n", False, id="an integer is no float"),
        pytest.param("a: 1\n", "a: true\n", False, id="one is not true"),
        pytest.param("a: yes\n", "a: 'yes'\n", False, id="yes may be a boolean"),
        pytest.param("a:\n", "a: ''\n", False, id="nothing is no empty string"),
        pytest.param("a: [1, 2]\n", "a: [2, 1]\n", False, id="order of lists"),
        pytest.param("a: 2001-01-01\n", "a: '2001-01-01'\n", False, id="a date"),
    ],
)
def test_yaml_equality(one: str, other: str, is_equal: bool) -> None:
    """Types are strict, scalars count by their source token."""
    assert (parse_yaml(one).shape == parse_yaml(other).shape) is is_equal


@pytest.mark.parametrize(
    ("text", "why"),
    [
        pytest.param('{"a": 1, "a": 2}', 'the key "a" is there twice', id="duplicate key"),
        pytest.param('{"a": 1, "\\u0061": 2}', 'the key "a" is there twice', id="duplicate behind an escape"),
        pytest.param("{'a': 1}", "no complete string", id="single quotes"),
        pytest.param("{a: 1}", "no complete string", id="bare key"),
        pytest.param('{"a": NaN}', "no value at character 6", id="NaN"),
        pytest.param('{"a": 01}', "no comma", id="leading zero"),
        pytest.param('{"a": 1 "b": 2}', "no comma", id="missing comma"),
        pytest.param('{"a" 1}', "no colon", id="missing colon"),
        pytest.param('{"a": "x', "no complete string", id="open string"),
        pytest.param('{"a": [1}', "no comma and no ]", id="wrong bracket"),
        pytest.param("{} {}", "more text after the value", id="two values"),
        pytest.param("", "no value", id="nothing"),
        pytest.param('{"a": "${x}"}', "template mark", id="template"),
        pytest.param("[" * 200 + "]" * 200, "nested deeper than 100", id="depth"),
    ],
)
def test_json_that_leaves_a_doubt_is_refused(text: str, why: str) -> None:
    """Comments and trailing commas apart the parser is strict."""
    with pytest.raises(UnparsableError) as error:
        parse_json(text)
    assert why in str(error.value)


@pytest.mark.parametrize("text", ['{"a": [1, 2,], /* c */ "b": {}, // d\n}', '\n{"a":[1,2],"b":{}}\n', '{"b": {\n}, "a": [1,\n2]}'])
def test_json_with_comments_and_trailing_commas_is_read(text: str) -> None:
    """All three say the same."""
    assert parse_json(text).shape == {"a": [("plain", "1"), ("plain", "2")], "b": {}}


PROPERTIES = r"""
# comment
! comment, too \
plain=1
  indented : two
colon\:key = a\=b
spaces only
long = one \
       two
empty
tab\tend	x
uni\u00e9 = \u00e9\n
==
"""


def test_properties_are_read_as_java_reads_them() -> None:
    """Separators, continuations and escapes of java.util.Properties."""
    text = PROPERTIES.replace("==\n", "")
    assert parse_properties(text).shape == {
        name: ("string", value)
        for name, value in {
            "plain": "1",
            "indented": "two",
            "colon:key": "a=b",
            "spaces": "only",
            "long": "one two",
            "empty": "",
            "tab\tend": "x",
            "unié": "é\n",
        }.items()
    }


@pytest.mark.parametrize(
    ("text", "why"),
    [
        pytest.param("a=1\na:2\n", 'the key "a" is there twice', id="duplicate key"),
        pytest.param("a=${x}\n", "template mark", id="template"),
        pytest.param("a=\\u12\n", "four hexadecimal digits", id="short escape"),
        pytest.param("=1\n", "no key at character 0", id="no key"),
    ],
)
def test_properties_that_leave_a_doubt_are_refused(text: str, why: str) -> None:
    """Java would take the last of two keys; the next reader may not."""
    with pytest.raises(UnparsableError, match=why.replace("{", r"\{")):
        parse_properties(text)


@pytest.mark.parametrize(
    ("text", "why"),
    [
        pytest.param("a = 1\na = 2\n", '"a" is there twice', id="duplicate key"),
        pytest.param("a = 1\n'a' = 2\n", '"a" is there twice', id="duplicate behind quotes"),
        pytest.param("[a]\n[b]\n[a]\n", "not in one piece", id="table twice"),
        pytest.param("[a.x]\n[b]\n[a.y]\n", "not in one piece", id="tables of one name apart"),
        pytest.param("[a.b]\n[a]\n", "below a table inside it", id="table below its own table"),
        pytest.param("[[a]]\n[b]\n[[a]]\n", "not in one piece", id="array of tables in two pieces"),
        pytest.param("[[a]]\n[a]\n", "there twice", id="array and table"),
        pytest.param("[a]\n[[a]]\n", "a table and an array", id="table and array"),
        pytest.param("a.x = 1\nb = 1\na.y = 1\n", "not in one piece", id="dotted keys apart"),
        pytest.param("a.x = 1\n[a.y]\n", "adds to the dotted key", id="header below a dotted key"),
        pytest.param("[a]\nb.c = 1\n[a.b]\n", "there twice", id="header of a dotted key"),
        pytest.param("a = {b = 1}\n[a.c]\n", "not in one piece", id="header below braces"),
        pytest.param("a = {b.c = 1}\n", "dotted key within braces", id="dotted key within braces"),
        pytest.param("a = {b = 1,}\n", "no key", id="comma at the end of braces"),
        pytest.param("a = {b = 1\n}\n", "no }", id="braces over lines"),
        pytest.param("a = 01\n", "is no value", id="leading zero"),
        pytest.param("a = yes\n", "is no value", id="bare word"),
        pytest.param("a = 2001-02-30\n", "is no value", id="no such day"),
        pytest.param('a = "x\\q"\n', "is no value", id="unknown escape"),
        pytest.param('a = "x\n', "no value", id="open string"),
        pytest.param("a = 1 b = 2\n", "more text on a line", id="two on a line"),
        pytest.param("a = [1 2]\n", "no comma", id="missing comma"),
        pytest.param('"""a""" = 1\n', "no key", id="long string as a key"),
        pytest.param('a = "${HOME}"\n', "template mark", id="template"),
        pytest.param("a = " + "[" * 200 + "]" * 200 + "\n", "nested deeper than 100", id="depth"),
    ],
)
def test_toml_that_leaves_a_doubt_is_refused(text: str, why: str) -> None:
    """What TOML forbids, and what it allows in places that no edit could be sure of."""
    with pytest.raises(UnparsableError) as error:
        parse_toml(text)
    assert why in str(error.value)


def test_toml_is_read_with_all_its_spellings() -> None:
    """Tables, arrays of tables, dotted keys, braces and strings over lines; numbers and dates by their source."""
    text = """
'a' = 0x1F
day = 2001-02-03 04:05:06Z
b.c = "\\u00e9"
b.d = {e = [1, # one
2]}
[t.u] # behind
long = \"\"\"
two
lines\"\"\"
[[list]]
x = 'y'
[list.below]
z = true
[[list]]
""".replace("\\\\", "\\")
    assert parse_toml(text).shape == {
        "a": ("plain", "0x1F"),
        "day": ("plain", "2001-02-03 04:05:06Z"),
        "b": {"c": ("string", "é"), "d": {"e": [("plain", "1"), ("plain", "2")]}},
        "t": {"u": {"long": ("string", "two\nlines")}},
        "list": [{"x": ("string", "y"), "below": {"z": ("plain", "true")}}, {}],
    }


@pytest.mark.parametrize(
    ("text", "why"),
    [
        pytest.param("[s]\na=1\na=2\n", '"a" is there twice', id="repeated key"),
        pytest.param("[s]\na=1\nA=2\n", '"A" is there twice', id="keys that differ by case"),
        pytest.param("[s]\n[t]\n[S]\n", '"S" is there twice', id="repeated section"),
        pytest.param("[s]\na=1\n  b=2\n", "is indented", id="deeper indentation"),
        pytest.param("[s]\na=1\n  b\n", "is indented", id="deeper key alone"),
        pytest.param("[s]\na=1\n\n  # c\n  b=2\n", "is indented", id="deeper indentation behind a blank line and a comment"),
        pytest.param("[s]\na=1\n  [t]\nb=2\n", '"t" is indented', id="deeper header"),
        pytest.param("a=1\n\t[t]\n", '"t" is indented', id="deeper header below a key without section"),
        pytest.param("[s] ; c ]\na=1\n", "no key and no section", id="header that may end in two places"),
        pytest.param("[s]\na=1 \\\nb=2\n", "may go on", id="backslash"),
        pytest.param('a="one\nb=2\n', "may go on", id="open quote"),
        pytest.param("export A=1\n", "line for a shell", id="export"),
        pytest.param("maxconn 2000\n", "neither = nor :", id="two words"),
        pytest.param("[s\n", "no key and no section", id="open bracket"),
        pytest.param("=1\n", "no key and no section", id="no name"),
        pytest.param("a=${B}\n", "template mark", id="template"),
    ],
)
def test_ini_that_readers_understand_differently_is_refused(text: str, why: str) -> None:
    """One reader's value is another one's comment, or next line."""
    with pytest.raises(UnparsableError) as error:
        parse_ini(text)
    assert why in str(error.value)


def test_ini_is_read_with_all_its_spellings() -> None:
    """Keys before the first section, flags, both separators, indented sections; a comment behind a value belongs to it."""
    text = "# c\nroot=1\n\n[s.t] ; c\n  a : x = y\n  flag\n  b =\n  ; c\n  d = 1 ; why\n[u]\n"
    assert parse_ini(text).shape == {
        "root": ("string", "1"),
        "s.t": {"a": ("string", "x = y"), "flag": ("plain", ""), "b": ("string", ""), "d": ("string", "1 ; why")},
        "u": {},
    }


@pytest.mark.parametrize(
    "text",
    [
        pytest.param("[s]\na = 1\n  # c\n  ; d\nb = 2\n", id="comment below a key"),
        pytest.param("[s]\n  # c\n    a = 1\n  b = 2\n", id="first key deeper than the next"),
        pytest.param("  [s]\n    a = 1\n  [t]\n      b = 2\n", id="headers with their keys deeper"),
        pytest.param("[s]\n  a = 1\n  [t]\nb = 2\n", id="header as deep as the key above"),
    ],
)
def test_ini_is_indented_as_the_standard_library_reads_it(text: str) -> None:
    """What is deeper than the key above it goes on with its value there; what is not, and comments, do not."""
    parser = configparser.RawConfigParser()
    parser.read_string(text)
    assert parse_ini(text).shape == {name: {key: ("string", value) for key, value in parser[name].items()} for name in parser.sections()}


def test_nodes_know_their_place() -> None:
    """`text[start:end]` is the token, for every format."""

    def tokens(text: str, node: Node) -> list[str]:
        from tenantwave.core.preservation.tree import Leaf

        if isinstance(node, Leaf):
            return [text[node.start : node.end]]
        return [token for child in node.children for token in tokens(text, child.node)]

    yaml_text = 'é: "x" # c\nb:\n- 1\n- {c: d e}\n'
    json_text = '{"é": "\\u00e9", "b": [1, {"c": true}]}'
    properties_text = "a = x \\\n  y\nb:z\n"
    assert tokens(yaml_text, parse_yaml(yaml_text)) == ['"x"', "1", "d e"]
    assert tokens(json_text, parse_json(json_text)) == ['"\\u00e9"', "1", "true"]
    assert tokens(properties_text, parse_properties(properties_text)) == ["x \\\n  y", "z"]
