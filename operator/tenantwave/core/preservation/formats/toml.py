"""TOML 1.0, read with the place of each node. What a token means is asked of the standard library; where it stands is found here.

TOML lets one table be written in several places. Such a file has no place for an edit that is certain, so it is refused: a table, an array
of tables and the dotted keys of one name must each stand in one piece, a table above the tables inside it.
"""

import re
import tomllib
from collections.abc import Iterator
from dataclasses import dataclass, field
from enum import Enum, auto
from typing import TypeAlias

from tenantwave.core.preservation.tree import MAX_DEPTH, Child, Container, Leaf, Node, UnparsableError, mapping, refuse_template_marks

_COMMENT = r"\#[^\x00-\x08\x0a-\x1f\x7f]*"

GAP = re.compile(rf"(?:[ \t\n]|{_COMMENT})*")
"""What may stand between two values of an array."""

_SPACES = re.compile(r"[ \t]*")
_REST = re.compile(rf"[ \t]*(?:{_COMMENT})?(?:\n|\Z)")
_SIMPLE = re.compile(
    rf"""[ \t]*(?:(?P<key>[A-Za-z0-9_-]+)[ \t]*=[ \t]*(?:
          "(?P<basic>[^"\\\x00-\x08\x0a-\x1f\x7f]*)" | '(?P<literal>[^'\x00-\x08\x0a-\x1f\x7f]*)' | (?P<plain>true|false|0|-?[1-9][0-9]*)
        ))?[ \t]*(?:{_COMMENT})?(?:\n|\Z)""",
    re.VERBOSE,
)
"""A whole line as most lines are: nothing, a comment, or a bare key with a simple value. All others are read token by token."""

_BARE = re.compile(r"[A-Za-z0-9_-]+")
_STRING = re.compile(
    r'''"""(?:[^"\\]|\\.|"(?!""))*+"{3,5}  |  \'\'\'(?:[^']|'(?!''))*+'{3,5}  |  "(?:[^"\\\n]|\\[^\n])*+"  |  '[^'\n]*' ''',
    re.VERBOSE | re.DOTALL,
)
_PLAIN = re.compile(r"[-+0-9A-Za-z_.:]+(?:(?<=[0-9]{4}-[0-9]{2}-[0-9]{2})[ ][0-9][-+0-9:.Zz]*)?")


def parse_toml(text: str) -> Node:
    """Return the tree of a TOML text with LF line ends.

    Raises: UnparsableError for what TOML does not allow, for tables and dotted keys that do not stand in one piece, dotted keys within
    braces, and template marks.
    Cost: linear, about 0.3 s for 1 MiB of short lines.
    """
    refuse_template_marks(text)
    return _Reader(text).document()


class _Kind(Enum):
    """How a table came to be, which says who may add to it."""

    HEADER = auto()  # [name], the root, or one item of [[name]]
    IMPLICIT = auto()  # [name.other] without [name]
    DOTTED = auto()  # name.other = 1
    ARRAY = auto()  # all items of [[name]]


@dataclass(slots=True)
class _Table:
    """A table that is still being read; the items of an array are named by their number."""

    kind: _Kind
    start: int
    head_end: int
    entries: "dict[str, Child | _Table]" = field(default_factory=dict)

    def last(self, name: str) -> "_Table | None":
        """Return the table of this name, None if there is none. Raises: UnparsableError if it is a value, or is closed already."""
        below = self.entries.get(name)
        if below is None:
            return None
        if not isinstance(below, _Table) or next(reversed(self.entries)) != name:
            raise UnparsableError(f'"{name}" is there twice, or not in one piece')
        return below


_Key: TypeAlias = tuple[str, ...]


class _Reader:
    """Reads line by line; values by recursive descent."""

    def __init__(self, text: str) -> None:
        self._text = text
        self._root = _Table(_Kind.HEADER, 0, 0)
        self._current = self._root

    def document(self) -> Node:
        text, at = self._text, 0
        while at < len(text):
            line = _SIMPLE.match(text, at)
            if line is None:
                at = self._line(at)
                continue
            if line["key"] is not None:
                group = line.lastgroup or ""
                is_string = group != "plain"
                start, end = line.span(group)
                value = Leaf(start - is_string, end + is_string, "string" if is_string else "plain", line[group])
                self._add((line["key"],), line.start("key"), line.end("key"), value)
            at = line.end()
        return _frozen("", self._root).node

    def _line(self, at: int) -> int:
        """Read a header, or a key with its value; return where the next line begins."""
        start = self._skip(at)
        if self._text[start : start + 1] == "[":
            is_array = self._text[start + 1 : start + 2] == "["
            key, end = self._key(self._skip(start + 1 + is_array))
            closing = "]]" if is_array else "]"
            end = self._expect(closing, self._skip(end))
            self._open(key, start, end, is_array)
        else:
            key, key_end = self._key(start)
            value = self.value(self._skip(self._expect("=", self._skip(key_end))), depth=len(key))
            self._add(key, start, key_end, value)
            end = value.end
        rest = _REST.match(self._text, end)
        if not rest:
            raise UnparsableError(f"there is more text on a line, at character {end}")
        return rest.end()

    def _open(self, key: _Key, start: int, end: int, is_array: bool) -> None:
        """Begin the table that a header names."""
        table = self._root
        for name in key[:-1]:
            below = table.last(name)
            if below is None:
                below = table.entries[name] = _Table(_Kind.IMPLICIT, start, start)
            if below.kind is _Kind.ARRAY:
                (*_, below) = _tables(below)
            if below.kind is _Kind.DOTTED:
                raise UnparsableError(f'a header adds to the dotted key "{name}"')
            table = below
        self._current = _Table(_Kind.HEADER, start, end)
        name = key[-1]
        there = table.last(name)
        if not is_array:
            if there is not None:
                raise UnparsableError(f'the table "{name}" is there twice, or below a table inside it')
            table.entries[name] = self._current
            return
        if there is None:
            there = table.entries[name] = _Table(_Kind.ARRAY, start, start)
        elif there.kind is not _Kind.ARRAY:
            raise UnparsableError(f'"{name}" is a table and an array of tables')
        there.entries[str(len(there.entries))] = self._current

    def _add(self, key: _Key, start: int, key_end: int, value: Node) -> None:
        """Add a key to the table that is being read."""
        table = self._current
        for name in key[:-1]:
            below = table.last(name)
            if below is None:
                below = table.entries[name] = _Table(_Kind.DOTTED, start, start)
            if below.kind is not _Kind.DOTTED:
                raise UnparsableError(f'a dotted key adds to the table "{name}"')
            table = below
        if key[-1] in table.entries:
            raise UnparsableError(f'the key "{key[-1]}" is there twice')
        table.entries[key[-1]] = Child(key[-1], start, key_end, value)

    def _key(self, at: int) -> tuple[_Key, int]:
        """Read a key, dotted or not; return its parts and its end."""
        parts: list[str] = []
        while True:
            if bare := _BARE.match(self._text, at):
                parts.append(bare.group())
                end = bare.end()
            else:
                name = self._string(at)
                if name is None or self._text.startswith(('"""', "'''"), at):
                    raise UnparsableError(f"there is no key at character {at}")
                parts.append(name.token)
                end = name.end
            dot = self._skip(end)
            if self._text[dot : dot + 1] != ".":
                if len(parts) > MAX_DEPTH:
                    raise UnparsableError(f"it is nested deeper than {MAX_DEPTH} levels")
                return tuple(parts), end
            at = self._skip(dot + 1)

    def value(self, at: int, depth: int) -> Node:
        """Read one value."""
        if depth > MAX_DEPTH:
            raise UnparsableError(f"it is nested deeper than {MAX_DEPTH} levels")
        match self._text[at : at + 1]:
            case "[":
                return self._array(at, depth)
            case "{":
                return self._inline_table(at, depth)
        if string := self._string(at):
            return string
        plain = _PLAIN.match(self._text, at)
        if not plain:
            raise UnparsableError(f"there is no value at character {at}")
        _meaning(plain.group())
        return Leaf(at, plain.end(), "plain", plain.group())

    def _string(self, at: int) -> Leaf | None:
        found = _STRING.match(self._text, at)
        return Leaf(at, found.end(), "string", str(_meaning(found.group()))) if found else None

    def _array(self, start: int, depth: int) -> Container:
        children: list[Child] = []
        at = self._gap(start + 1)
        while self._text[at : at + 1] != "]":
            children.append(Child("", at, at, self.value(at, depth + 1)))
            at = self._gap(children[-1].node.end)
            if self._text[at : at + 1] == ",":
                at = self._gap(at + 1)
            elif self._text[at : at + 1] != "]":
                raise UnparsableError(f"there is no comma and no ] at character {at}")
        return Container(start, at + 1, is_mapping=False, is_flow=True, children=tuple(children))

    def _inline_table(self, start: int, depth: int) -> Container:
        """Read a table in braces: on one line, without a comma after the last entry."""
        children: list[Child] = []
        at = self._skip(start + 1)
        while children or self._text[at : at + 1] != "}":
            key, key_end = self._key(at)
            if len(key) > 1:
                raise UnparsableError("it uses a dotted key within braces")
            value = self.value(self._skip(self._expect("=", self._skip(key_end))), depth + 1)
            children.append(Child(key[0], at, key_end, value))
            at = self._skip(value.end)
            if self._text[at : at + 1] != ",":
                break
            at = self._skip(at + 1)
        return mapping(start, self._expect("}", at), True, children)

    def _expect(self, token: str, at: int) -> int:
        if not self._text.startswith(token, at):
            raise UnparsableError(f"there is no {token} at character {at}")
        return at + len(token)

    def _skip(self, at: int) -> int:
        found = _SPACES.match(self._text, at)
        return found.end() if found else at

    def _gap(self, at: int) -> int:
        found = GAP.match(self._text, at)
        return found.end() if found else at


def _meaning(token: str) -> object:
    """Return what a scalar stands for. Raises: UnparsableError if it is none."""
    try:
        return tomllib.loads(f"x = {token}")["x"]
    except tomllib.TOMLDecodeError as error:
        raise UnparsableError(f"{token[:40]} is no value ({error})") from error


def _tables(array: _Table) -> Iterator[_Table]:
    return (item for item in array.entries.values() if isinstance(item, _Table))


def _frozen(name: str, table: _Table) -> Child:
    """Return a table that has been read, with all that is in it."""
    children = tuple(entry if isinstance(entry, Child) else _frozen(key, entry) for key, entry in table.entries.items())
    end = children[-1].node.end if children else table.head_end
    is_header = table.kind is _Kind.HEADER
    start = table.head_end if is_header else table.start
    is_list, is_section = table.kind is _Kind.ARRAY, table.kind is not _Kind.DOTTED
    if is_list:
        children = tuple(Child("", child.start, child.head_end, child.node) for child in children)
    node = Container(start, end, is_mapping=not is_list, is_flow=False, children=children, is_section=is_section)
    return Child(name, table.start, table.head_end, node)
