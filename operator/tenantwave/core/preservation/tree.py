"""A parsed file as a tree that remembers where everything stands in its text.

One tree for all formats: the structural merge reads shapes, the placement reads places. A *shape* is what counts as equal: for a scalar
its type and source token (`1` is not `true`, `1.0` or `"1"`; `0123` stays itself), for a mapping a dict, for a list a list.
"""

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import TypeAlias

MAX_DEPTH = 100
"""Deeper files are read as text: no configuration that people edit is nested like that."""

Shape: TypeAlias = "tuple[str, str] | dict[str, Shape] | list[Shape]"


class UnparsableError(ValueError):
    """The text cannot be read as this format without doubt; the message says why. The caller reads it as text instead."""


@dataclass(frozen=True, slots=True, eq=False)
class Leaf:
    """A scalar at `text[start:end]`. `kind` and `token` are its identity."""

    start: int
    end: int
    kind: str
    token: str

    @property
    def shape(self) -> Shape:
        """Return type and token."""
        return (self.kind, self.token)


@dataclass(frozen=True, slots=True, eq=False)
class Child:
    """An entry of a container: from `start`, its key (or dash) ends at `head_end`; a list in brackets has no heads."""

    name: str
    start: int
    head_end: int
    node: "Node"


@dataclass(frozen=True, slots=True, eq=False)
class Container:
    """A mapping or list at `text[start:end]`. `is_flow`: in brackets with commas; else one entry after the other on lines.

    `is_section`: on lines below a header (`[name]`), which ends what stands before it, so entries that are no sections come first. Its
    `start` is the end of that header; 0 for the root of a file; the start of its first entry where it has no header of its own.
    """

    start: int
    end: int
    is_mapping: bool
    is_flow: bool
    children: tuple[Child, ...]
    is_section: bool = False
    shape: Shape = field(init=False)

    def __post_init__(self) -> None:
        """Work out the shape once; children are complete before their parent."""
        shape: Shape = (
            {child.name: child.node.shape for child in self.children} if self.is_mapping else [c.node.shape for c in self.children]
        )
        object.__setattr__(self, "shape", shape)


Node: TypeAlias = Leaf | Container


def mapping(start: int, end: int, is_flow: bool, children: Iterable[Child], is_section: bool = False) -> Container:
    """Return a mapping. Raises: UnparsableError if two entries have one name, since readers differ in which of them counts."""
    entries = tuple(children)
    seen: set[str] = set()
    for child in entries:
        if child.name in seen:
            raise UnparsableError(f'the key "{child.name}" is there twice')
        seen.add(child.name)
    return Container(start, end, is_mapping=True, is_flow=is_flow, children=entries, is_section=is_section)


def refuse_template_marks(text: str) -> None:
    """Raise UnparsableError for `{{` or `${`: what a template makes of the file is not known here."""
    for mark in ("{{", "${"):
        if mark in text:
            raise UnparsableError(f"it holds the template mark {mark}")


def pointer(path: str, name: str) -> str:
    """Return the JSON Pointer of `name` below `path`."""
    return f"{path}/{name.replace('~', '~0').replace('/', '~1')}"
