"""What a tenant and a release make of a configuration file: cases of a base and two edits, with comments and frames.

One string of bytes decides a whole case, so 2,000 cases of a format cost seconds, and a failing case shrinks: zero is always the simplest
choice.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import TypeVar

from hypothesis import strategies as st

from support.documents import Document, Entry, Items, Style

T = TypeVar("T")

NAMES = ("a", "b", "c", "db", "pool", "x.y", "k1")
COMMENTS = ("", "", "", "# kept", "# why: because", "#")


class Choices:
    """Choices out of a string of bytes; when it is used up, the first of everything."""

    def __init__(self, source: bytes) -> None:
        self._source = iter(source)

    def below(self, bound: int) -> int:
        """Return a number from 0 to `bound` - 1."""
        return next(self._source, 0) % bound

    def one_in(self, count: int) -> bool:
        """Return whether something that is seldom happens."""
        return self.below(count) == count - 1

    def of(self, options: Sequence[T]) -> T:
        """Return one of some options."""
        return options[self.below(len(options))]


CHOICES = st.binary(min_size=160, max_size=160).map(Choices)


def a_document(choices: Choices, style: Style, depth: int, min_size: int = 1) -> Document:
    """A document with unique names on each level."""
    count = min_size + choices.below(5)
    names = dict.fromkeys(choices.of(NAMES) for _ in range(count))
    return tuple(_entry(choices, style, name, depth) for name in names)


def _entry(choices: Choices, style: Style, name: str, depth: int) -> Entry:
    behind = choices.of(COMMENTS) if style.has_behind else ""
    return Entry(name, _value(choices, style, depth), choices.of(COMMENTS), behind, choices.below(3))


def _value(choices: Choices, style: Style, depth: int) -> "str | Document | Items":
    kind = choices.below(6)
    if kind == 4 and style.has_lists and depth == style.depth:
        return Items(tuple(a_document(choices, style, 0) for _ in range(1 + choices.below(2))))
    if kind >= 4 and depth:
        return a_document(choices, style, depth - 1, min_size=0)
    return choices.of(style.tokens)


def edited(choices: Choices, style: Style, document: Document, depth: int) -> Document:
    """The document after somebody's edits: values, entries, comments, seldom their order; most of it stays."""
    entries: list[Entry] = []
    for entry in document:
        match choices.below(10):
            case 9:
                continue
            case 8 | 7:
                entries.append(replace(entry, value=_value(choices, style, depth)))
            case 6:
                entries.append(replace(entry, above=choices.of(COMMENTS)))
            case _ if isinstance(entry.value, str | Items):
                entries.append(entry)
            case _:
                entries.append(replace(entry, value=edited(choices, style, entry.value, depth - 1)))
    free = [name for name in NAMES if name not in {entry.name for entry in entries}]
    if choices.one_in(3) or not entries:
        entries.insert(choices.below(len(entries) + 1), _entry(choices, style, choices.of(free), depth))
    if choices.one_in(8):
        entries.append(entries.pop(0))
    return tuple(entries)


def a_frame(choices: Choices) -> Callable[[str], str]:
    """What is around a text: line ends, a byte order mark, a last newline or none."""
    is_crlf, has_bom, is_open_ended = choices.one_in(3), choices.one_in(4), choices.one_in(3)

    def wrap(text: str) -> str:
        whole = text + ("" if is_open_ended else "\n")
        return ("\ufeff" if has_bom else "") + (whole.replace("\n", "\r\n") if is_crlf else whole)

    return wrap


@dataclass(frozen=True)
class Case:
    """Three texts of one key: what the release shipped, what the tenant made of it, what the release ships now; and their models."""

    style: Style
    documents: tuple[Document, Document, Document]
    base: str
    live: str
    new: str


def a_case(choices: Choices, style: Style) -> Case:
    """A base and two edits of it; the tenant's file may have a frame of its own."""
    base = a_document(choices, style, style.depth)
    live, new = edited(choices, style, base, style.depth), edited(choices, style, base, style.depth)
    shipped = a_frame(choices)
    own = a_frame(choices) if choices.one_in(3) else shipped
    texts = [style.render(document) for document in (base, live, new)]
    return Case(style, (base, live, new), shipped(texts[0]), own(texts[1]), shipped(texts[2]))


def cases(style: Style) -> st.SearchStrategy[Case]:
    """Cases of one format."""
    return CHOICES.map(lambda choices: a_case(choices, style))
