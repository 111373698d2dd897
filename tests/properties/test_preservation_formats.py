"""What our parsers of TOML and INI accept, the standard library's accept, and both read the same: also in files that somebody broke."""

import configparser
import tomllib
from collections.abc import Mapping

from hypothesis import given

from support.document_cases import CHOICES, Choices, a_document
from support.documents import ENV_STYLE, INI_STYLE, TOML_STYLE, Style
from support.profiles import thorough
from tenantwave.core.preservation.formats.ini import parse_ini
from tenantwave.core.preservation.formats.toml import parse_toml
from tenantwave.core.preservation.tree import Node, Shape, UnparsableError

SYNTAX = (
    "=",
    ":",
    "[",
    "]",
    "{",
    "}",
    ",",
    ".",
    '"',
    "'",
    "#",
    ";",
    "\\",
    "\n",
    " ",
    "\t",
    "a",
    "b",
    "0",
    "1",
    "_",
    "-",
    '"""',
    "[[a]]\n",
    "[a]\n",
    "a.b = 1\n",
    "\n  [a]\n",
    "\n  # c\n",
)

cases = thorough(2000)


def a_broken_text(choices: Choices, style: Style) -> str:
    """A file in which a few characters came, went, or changed places."""
    text = style.render(a_document(choices, style, style.depth)) + "\n"
    for _ in range(choices.below(4)):
        at = choices.below(256) % (len(text) + 1)
        text = text[:at] + (choices.of(SYNTAX) if choices.one_in(2) else "") + text[at + choices.below(3) :]
    return text


def _values(shape: Shape) -> object:
    """Return what a shape of TOML stands for."""
    if isinstance(shape, dict):
        return {name: _values(below) for name, below in shape.items()}
    if isinstance(shape, list):
        return [_values(item) for item in shape]
    kind, token = shape
    return token if kind == "string" else tomllib.loads(f"x = {token}")["x"]


def _texts(shape: Shape) -> object:
    """Return what a shape of INI stands for: a key alone has no value."""
    if isinstance(shape, dict):
        return {name: _texts(below) for name, below in shape.items()}
    assert isinstance(shape, tuple)
    return shape[1] if shape[0] == "string" else None


def _tree(text: str, parse: object) -> Node | None:
    assert callable(parse)
    try:
        node: Node = parse(text)
    except UnparsableError:
        return None
    return node


@cases
@given(CHOICES.map(lambda choices: a_broken_text(choices, TOML_STYLE)))
def test_toml_is_read_as_the_standard_library_reads_it(text: str) -> None:
    """Or not at all."""
    tree = _tree(text, parse_toml)
    if tree is not None:
        assert repr(_values(tree.shape)) == repr(tomllib.loads(text)) or _values(tree.shape) == tomllib.loads(text)


@cases
@given(CHOICES.map(lambda choices: a_broken_text(choices, choices.of((INI_STYLE, ENV_STYLE)))))
def test_ini_is_read_as_the_standard_library_reads_it(text: str) -> None:
    """Or not at all; keys before the first section, which that parser does not know, get one."""
    tree = _tree(text, parse_ini)
    if tree is None:
        return
    parser = configparser.RawConfigParser(default_section="\0", allow_no_value=True)
    parser.optionxform = str  # type: ignore[assignment, method-assign]  # names keep their case
    parser.read_string("[\1]\n" + text)
    sections: Mapping[str, object] = {name: dict(section) for name, section in parser.items() if name not in ("\0", "\1")}
    assert _texts(tree.shape) == {**parser["\1"], **sections}
