"""Hypothesis strategies for configuration files: a base, and what a tenant and a release make of it, with comments, frames and styles.

A document is a small model that is rendered to text and read back by parsers that the product does not use, so that its own parsers are
checked, too.
"""

import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from io import StringIO

import javaproperties
from hypothesis import strategies as st
from ruamel.yaml import YAML

NAMES = ("a", "b", "c", "db", "pool", "x.y", "k1")
COMMENTS = ("", "", "", "# kept", "# why: because", "#")


@dataclass(frozen=True)
class Entry:
    """One entry: a scalar token or entries below, with a comment line above and a comment behind."""

    name: str
    value: "str | Document"
    above: str = ""
    behind: str = ""


Document = tuple[Entry, ...]
Paths = dict[str, str]


@dataclass(frozen=True)
class Style:
    """One format: its key's name, its scalar tokens, how it is written, and how an independent parser reads it."""

    key: str
    tokens: tuple[str, ...]
    is_nested: bool
    render: Callable[[Document], str]
    read: Callable[[str], object]

    def paths(self, text: str) -> Paths:
        """Return every leaf by its path, as the independent parser sees it; a list is a leaf, an empty mapping is nothing.

        A file is read as if it had a last newline: without it a YAML block scalar at the end has none, which counts as no change.
        """
        bare = text.removeprefix("\ufeff").replace("\r\n", "\n")
        return dict(_leaves(self.read(bare if bare.endswith("\n") else bare + "\n"), ""))


def _leaves(value: object, path: str) -> Iterator[tuple[str, str]]:
    if isinstance(value, Mapping):
        for name, below in value.items():
            yield from _leaves(below, f"{path}/{name}")
    else:
        yield path, repr(value)


def _yaml(document: Document, indent: int = 0) -> str:
    pad = "  " * indent
    lines = []
    for entry in document:
        lines += [f"{pad}{entry.above}"] if entry.above else []
        behind = f"  {entry.behind}" if entry.behind else ""
        if isinstance(entry.value, str):
            value = entry.value.replace("\n", f"\n{pad}")
            lines.append(f"{pad}{entry.name}: {value}" + ("" if "\n" in value else behind))
        elif entry.value:
            lines.append(f"{pad}{entry.name}:{behind}\n{_yaml(entry.value, indent + 1)}")
        else:
            lines.append(f"{pad}{entry.name}: {{}}{behind}")
    return "\n".join(lines) if lines else f"{pad}{{}}"


def _read_yaml(text: str) -> object:
    return YAML(typ="base", pure=True).load(StringIO(text))


def _json(document: Document, indent: int = 1) -> str:
    if not document:
        return "{}"
    pad = "  " * indent
    lines = []
    for position, entry in enumerate(document):
        lines += [f"{pad}//{entry.above[1:]}"] if entry.above else []
        value = entry.value if isinstance(entry.value, str) else _json(entry.value, indent + 1)
        comma = "," if position < len(document) - 1 else ""
        lines.append(f"{pad}{json.dumps(entry.name)}: {value}{comma}" + (f" //{entry.behind[1:]}" if entry.behind else ""))
    return "{\n" + "\n".join(lines) + "\n" + "  " * (indent - 1) + "}"


def _read_json(text: str) -> object:
    """Read JSON with comments: no string of these documents holds a slash."""
    return json.loads("\n".join(line.partition("//")[0] for line in text.split("\n")))


def _properties(document: Document) -> str:
    lines = []
    for entry in document:
        lines += [entry.above] if entry.above else []
        lines.append(f"{entry.name}{entry.value}")
    return "\n".join(lines)


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
    True,
    _yaml,
    _read_yaml,
)
JSON_STYLE = Style("settings.json", ("1", "2", "1.0", "true", "null", '"x"', '"\\u00e9"', '"é"', "[1, 2]", "[]"), True, _json, _read_json)
PROPERTIES_STYLE = Style(
    "app.properties",
    ("=1", "=2", ":1", " 1", " = spaced out", "=", "=a\\\n  continued", "=\\u00e9", "=é"),
    False,
    _properties,
    lambda text: javaproperties.loads(text),
)
STYLES = (YAML_STYLE, JSON_STYLE, PROPERTIES_STYLE)


@st.composite
def documents(draw: st.DrawFn, style: Style, depth: int = 2, min_size: int = 1) -> Document:
    """A document with unique names on each level."""
    names = draw(st.lists(st.sampled_from(NAMES), unique=True, min_size=min_size, max_size=5))
    return tuple([draw(_entries(style, name, depth)) for name in names])


@st.composite
def _entries(draw: st.DrawFn, style: Style, name: str, depth: int) -> Entry:
    is_scalar = not (style.is_nested and depth and draw(st.integers(0, 2)) == 0)
    value = draw(st.sampled_from(style.tokens)) if is_scalar else draw(documents(style, depth - 1))
    behind = draw(st.sampled_from(COMMENTS)) if style.is_nested else ""
    return Entry(name, value, draw(st.sampled_from(COMMENTS)), behind)


@st.composite
def edited(draw: st.DrawFn, style: Style, document: Document, depth: int = 2) -> Document:
    """The document after somebody's edits: values, entries, comments; most of it stays."""
    entries: list[Entry] = []
    for entry in document:
        match draw(st.integers(0, 9)):
            case 0:
                continue
            case 1 | 2:
                entries.append(replace(entry, value=draw(st.sampled_from(style.tokens))))
            case 3:
                entries.append(replace(entry, above=draw(st.sampled_from(COMMENTS))))
            case _:
                below = entry.value if isinstance(entry.value, str) else draw(edited(style, entry.value, depth - 1))
                entries.append(replace(entry, value=below))
    if draw(st.integers(0, 2)) == 0 or not entries:
        free = [name for name in NAMES if name not in {entry.name for entry in entries}]
        position = draw(st.integers(0, len(entries)))
        entries.insert(position, draw(_entries(style, draw(st.sampled_from(free)), depth)))
    return tuple(entries)


@st.composite
def frames(draw: st.DrawFn) -> Callable[[str], str]:
    """What is around a text: line ends, a byte order mark, a last newline or none."""
    is_crlf, has_bom, has_end = draw(st.tuples(st.booleans(), st.booleans(), st.booleans()))

    def wrap(text: str) -> str:
        whole = text + ("\n" if has_end else "")
        return ("\ufeff" if has_bom else "") + (whole.replace("\n", "\r\n") if is_crlf else whole)

    return wrap


@dataclass(frozen=True)
class Triple:
    """Three texts of one key: what the release shipped, what the tenant made of it, what the release ships now."""

    style: Style
    base: str
    live: str
    new: str


@st.composite
def triples(draw: st.DrawFn, styles: tuple[Style, ...] = STYLES) -> Triple:
    """A base and two edits of it; the tenant's file may have a frame of its own."""
    style = draw(st.sampled_from(styles))
    base = draw(documents(style))
    live, new = draw(edited(style, base)), draw(edited(style, base))
    shipped = draw(frames())
    own = shipped if draw(st.booleans()) else draw(frames())
    return Triple(style, shipped(style.render(base)), own(style.render(live)), shipped(style.render(new)))
