"""Configuration files for property tests: a small model, how each format writes it, and how somebody else reads it.

A document is rendered to text, and its leaves are known without reading that text; what a merge makes of it is read by parsers that the
product does not use.
"""

import configparser
import json
import tomllib
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from functools import cache
from io import StringIO
from typing import TypeAlias

import javaproperties
from ruamel.yaml import YAML


@dataclass(frozen=True)
class Entry:
    """One entry: a scalar token, entries below, or a list of items with entries. With a comment line above and a comment behind.

    `form`: in which of its spellings a mapping is written, where the format has several.
    """

    name: str
    value: "str | Document | Items"
    above: str = ""
    behind: str = ""
    form: int = 0


@dataclass(frozen=True)
class Items:
    """A list of mappings."""

    documents: "tuple[Document, ...]"


Document: TypeAlias = tuple[Entry, ...]
Paths: TypeAlias = dict[str, str]
Line: TypeAlias = tuple[str, str]
"""The path of the entry that a line belongs to, and the line."""


@dataclass(frozen=True)
class Style:
    """One format: its key's name, its scalar tokens, how deep it nests, how it is written, and how an independent parser reads it."""

    key: str
    tokens: tuple[str, ...]
    depth: int
    has_lists: bool
    has_behind: bool
    write: Callable[[Document], list[Line]]
    read: Callable[[str], object]

    def render(self, document: Document) -> str:
        """Return the document as text, without a last newline."""
        return "\n".join(line for _, line in self.write(document))

    def paths(self, text: str) -> Paths:
        """Return every leaf by its path, as the independent parser sees it; a list is a leaf, an empty mapping is nothing.

        A file is read as if it had a last newline: without it a YAML block scalar at the end has none, which counts as no change.
        """
        bare = text.removeprefix("\ufeff").replace("\r\n", "\n")
        return _read_paths(self.key, bare if bare.endswith("\n") else bare + "\n")

    def leaves(self, document: Document) -> Paths:
        """Return every leaf of a document by its path: what `paths` says of its text."""
        return dict(_flat(self.value(document), ""))

    def value(self, document: Document) -> dict[str, object]:
        """Return what a document stands for."""
        return {entry.name: self._value_of(entry.value) for entry in document}

    def _value_of(self, value: "str | Document | Items") -> object:
        if isinstance(value, Items):
            return [self.value(document) for document in value.documents]
        return _scalar(self.key, value) if isinstance(value, str) else self.value(value)


@cache
def _read_paths(key: str, text: str) -> Paths:
    return dict(_flat(STYLE_OF[key].read(text), ""))


@cache
def _scalar(key: str, token: str) -> object:
    style = STYLE_OF[key]
    read = style.read(style.render((Entry("a", token),)) + "\n")
    assert isinstance(read, dict)
    return read["a"]


def _flat(value: object, path: str) -> Iterator[tuple[str, str]]:
    if isinstance(value, Mapping):
        for name, below in value.items():
            yield from _flat(below, f"{path}/{name}")
    else:
        yield path, repr(_sorted(value))


def _sorted(value: object) -> object:
    if isinstance(value, Mapping):
        return sorted((name, _sorted(below)) for name, below in value.items())
    return [_sorted(item) for item in value] if isinstance(value, list) else value


# How each format is written. A line's owner is the entry that it is about.


def _behind(entry: Entry) -> str:
    return f"  {entry.behind}" if entry.behind else ""


def _yaml(document: Document, path: str = "", pad: str = "") -> list[Line]:
    lines: list[Line] = []
    for entry in document:
        own = f"{path}/{entry.name}"
        lines += [(own, f"{pad}{entry.above}")] if entry.above else []
        match entry.value:
            case str() as token:
                first, *others = token.split("\n")
                lines.append((own, f"{pad}{entry.name}: {first}" + ("" if others else _behind(entry))))
                lines += [(own, pad + line) for line in others]
            case Items(documents):
                lines.append((own, f"{pad}{entry.name}:{_behind(entry)}" if documents else f"{pad}{entry.name}: []"))
                for item in documents:
                    below = _yaml(_bare(item), own, pad + "  ")
                    lines += [(own, line if n else f"{pad}- {line[len(pad) + 2 :]}") for n, (_, line) in enumerate(below)]
            case _ if not entry.value:
                lines.append((own, f"{pad}{entry.name}: {{}}{_behind(entry)}"))
            case _:
                lines.append((own, f"{pad}{entry.name}:{_behind(entry)}"))
                lines += _yaml(entry.value, own, pad + "  ")
    return lines or [(path, f"{pad}{{}}")]


def _json(document: Document, path: str = "", pad: str = "") -> list[Line]:
    if not document:
        return [(path, "{}")]
    lines: list[Line] = [(path, "{")]
    for position, entry in enumerate(document):
        own, indent = f"{path}/{entry.name}", pad + "  "
        lines += [(own, f"{indent}//{entry.above[1:]}")] if entry.above else []
        match entry.value:
            case str() as token:
                below = [(own, token)]
            case Items(documents):
                items = ("{" + ", ".join(f"{json.dumps(e.name)}: {e.value}" for e in item) + "}" for item in documents)
                below = [(own, f"[{', '.join(items)}]")]
            case _:
                below = _json(entry.value, own, indent)
        comma = "," if position < len(document) - 1 else ""
        below = [(below[0][0], f"{indent}{json.dumps(entry.name)}: {below[0][1]}"), *below[1:]]
        below[-1] = (below[-1][0], below[-1][1] + comma + (f" //{entry.behind[1:]}" if entry.behind else ""))
        lines += below
    return [*lines, (path, pad + "}")]


def _bare(document: Document) -> Document:
    return tuple(replace(entry, above="", behind="") for entry in document)


def _flat_lines(document: Document, path: str = "") -> list[Line]:
    """Properties and `.env`: the token begins with what stands between name and value."""
    lines: list[Line] = []
    for entry in document:
        own = f"{path}/{entry.name}"
        lines += [(own, entry.above)] if entry.above else []
        lines += [(own, line) for line in f"{entry.name}{entry.value}".split("\n")]
    return lines


def _ini(document: Document) -> list[Line]:
    """Keys first, then sections."""
    lines: list[Line] = []
    for entry in sorted(document, key=lambda entry: not isinstance(entry.value, str)):
        own = f"/{entry.name}"
        if isinstance(entry.value, str):
            lines += _flat_lines((entry,))
        elif not isinstance(entry.value, Items):
            lines += [*([(own, "")] if lines else []), *([(own, entry.above)] if entry.above else []), (own, f"[{entry.name}]")]
            lines += _flat_lines(entry.value, own)
    return lines


def _toml_key(name: str) -> str:
    return name if name.isalnum() else f'"{name}"'


def _toml(document: Document, path: str = "", parents: tuple[str, ...] = ()) -> list[Line]:
    """Values, inline tables and dotted keys first, then tables and arrays of tables."""
    lines: list[Line] = []
    for entry in sorted(document, key=_is_toml_table):
        own, key = f"{path}/{entry.name}", _toml_key(entry.name)
        above = [(own, entry.above)] if entry.above else []
        if isinstance(entry.value, str):
            first, *others = entry.value.split("\n")
            lines += [*above, (own, f"{key} = {first}" + ("" if others else _behind(entry))), *((own, line) for line in others)]
        elif not _is_toml_table(entry):
            assert not isinstance(entry.value, Items)
            if entry.form == 2 and entry.value:
                lines += [*above, *((f"{own}/{e.name}", f"{key}.{_toml_key(e.name)} = {e.value}{_behind(e)}") for e in entry.value)]
            else:
                inner = ", ".join(f"{_toml_key(e.name)} = {e.value}" for e in entry.value)
                lines += [*above, (own, f"{key} = {{{inner}}}{_behind(entry)}")]
        else:
            blank: list[Line] = [(own, "")] if lines else []
            header = ".".join((*parents, key))
            if isinstance(entry.value, Items):
                for item in entry.value.documents:
                    lines += [*above, (own, f"[[{header}]]"), *((own, line) for _, line in _toml(item, own, (*parents, key)))]
            else:
                lines += [*blank, *above, (own, f"[{header}]{_behind(entry)}"), *_toml(entry.value, own, (*parents, key))]
    return lines


def _is_toml_table(entry: Entry) -> bool:
    if isinstance(entry.value, str):
        return False
    if isinstance(entry.value, Items):
        return True
    return entry.form == 0 or any(not isinstance(e.value, str) or "\n" in e.value for e in entry.value)


# How each format is read by somebody else.


def _read_json(text: str) -> object:
    """Read JSON with comments: no string of these documents holds a slash."""
    return json.loads("\n".join(line.partition("//")[0] for line in text.split("\n")))


def _read_ini(text: str) -> object:
    parser = configparser.ConfigParser(interpolation=None, default_section="\0", allow_no_value=True, empty_lines_in_values=False)
    parser.optionxform = str  # type: ignore[assignment, method-assign]  # names keep their case
    parser.read_string("[\1]\n" + text)
    sections: dict[str, object] = {name: dict(section) for name, section in parser.items() if name not in ("\0", "\1")}
    return {**parser["\1"], **sections}


YAML_STYLE = Style(
    "application.yaml",
    (
        "1",
        "2",
        "0123",
        "1.0",
        "true",
        "yes",
        "~",
        "plain",
        "two words",
        '"quoted: x"',
        "'it''s'",
        "[1, two]",
        "|\n  line\n  next",
        ">-\n  folded",
    ),
    2,
    True,
    True,
    _yaml,
    lambda text: YAML(typ="base", pure=True).load(StringIO(text)),
)
JSON_STYLE = Style(
    "settings.json", ("1", "2", "1.0", "true", "null", '"x"', '"\\u00e9"', '"é"', "[1, 2]", "[]"), 2, True, True, _json, _read_json
)
TOML_STYLE = Style(
    "telegraf.toml",
    (
        "1",
        "2",
        "0x1F",
        "1.0",
        "true",
        '"x"',
        "'x'",
        '"\\u00e9"',
        "1979-05-27",
        "07:32:00",
        "[1, 2]",
        "[\n  1,  # one\n  2,\n]",
        '"""\ntwo\nlines"""',
    ),
    2,
    True,
    True,
    _toml,
    tomllib.loads,
)
INI_STYLE = Style(
    "grafana.ini", ("=1", " = 2", ": 3", " = two words", "=", "", ' = "quoted"', " = a ; b", "=é"), 1, False, False, _ini, _read_ini
)
ENV_STYLE = Style("worker.env", ("=1", "=2", "=", '="x y"', "='x'", "=a=b", "=é"), 0, False, False, _ini, _read_ini)
PROPERTIES_STYLE = Style(
    "app.properties",
    ("=1", "=2", ":1", " 1", " = spaced out", "=", "=a\\\n  continued", "=\\u00e9", "=é"),
    0,
    False,
    False,
    _flat_lines,
    javaproperties.loads,
)
STYLES = (YAML_STYLE, JSON_STYLE, TOML_STYLE, INI_STYLE, ENV_STYLE, PROPERTIES_STYLE)
STYLE_OF: Mapping[str, Style] = {style.key: style for style in STYLES}
