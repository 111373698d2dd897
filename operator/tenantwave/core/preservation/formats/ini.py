"""INI: sections of keys with one value each, read with the place of each. Also `.env` files, which are the keys without sections.

INI has no standard, only readers. What they agree on is read here; where they differ, the file is refused and merges as text: repeated keys
and sections (last one, first one, or a list), names that differ by case alone, values that may go on on the next line (by indentation, a
backslash or an open quote). Comments behind a value are a comment to some and part of the value to others: they belong to the value here,
so whoever changes one of the two changes both, and no reader sees a value that neither side wrote.
"""

import re
from collections.abc import Iterable
from dataclasses import dataclass, field

from tenantwave.core.preservation.tree import Child, Container, Leaf, Node, UnparsableError, refuse_template_marks

GAP = re.compile(r"[ \t\n]*")

_LINE = re.compile(
    r"""(?P<indent>[ \t]*)(?:
          [\#;][^\n]*
        | \[(?P<section>[^\s\[\]](?:[^\[\]\n]*[^\s\[\]])?)\][ \t]*(?:[\#;][^\]\n]*)?
        | (?P<key>[^\s=:\[\#;][^=:\n]*?)[ \t]*(?:[=:][ \t]*(?P<value>[^\n]*?)[ \t]*)?
        )?(?:\n|\Z)""",
    re.VERBOSE,
)
_FLAG = re.compile(r"[\w.-]+")
_QUOTES = ('"', "'")


def parse_ini(text: str) -> Node:
    """Return the tree of an INI file with LF line ends: keys before the first section, then the sections with theirs.

    Raises: UnparsableError for what readers understand differently (see the module), and for template marks.
    Cost: linear.
    """
    refuse_template_marks(text)
    root = _Section("", 0, 0)
    sections = [root]
    at, key_indent = 0, None
    while at < len(text):
        line = _LINE.match(text, at)
        if not line:
            raise UnparsableError(f"there is no key and no section at character {at}")
        name = line["section"] or line["key"]
        if name and key_indent is not None and len(line["indent"]) > key_indent:
            raise UnparsableError(f'"{name}" is indented, so it may belong to the value above')
        if line["section"] is not None:
            sections.append(_Section(line["section"], line.end("indent"), line.end("section") + 1))
            key_indent = None
        elif line["key"] is not None:
            key_indent = len(line["indent"])
            sections[-1].entries.append(_entry(line))
        at = line.end()
    children = [*root.entries, *(section.child() for section in sections[1:])]
    _refuse_twins(children)
    return Container(0, children[-1].node.end if children else 0, is_mapping=True, is_flow=False, children=tuple(children), is_section=True)


@dataclass(slots=True)
class _Section:
    """A section that is still being read."""

    name: str
    start: int
    head_end: int
    entries: list[Child] = field(default_factory=list)

    def child(self) -> Child:
        _refuse_twins(self.entries)
        end = self.entries[-1].node.end if self.entries else self.head_end
        node = Container(self.head_end, end, is_mapping=True, is_flow=False, children=tuple(self.entries), is_section=True)
        return Child(self.name, self.start, self.head_end, node)


def _entry(line: re.Match[str]) -> Child:
    """Return one key with its value. A key alone on its line says something else than one with an empty value."""
    key, value = line["key"], line["value"]
    if value is None:
        if not _FLAG.fullmatch(key):
            raise UnparsableError(f'"{key[:40]}" has neither = nor :')
        return Child(key, line.start("key"), line.end("key"), Leaf(line.end("key"), line.end("key"), "plain", ""))
    if key.startswith("export "):
        raise UnparsableError(f'"{key[:40]}" is a line for a shell, which may set one variable twice')
    if value.endswith("\\") or value.startswith("`") or (value[:1] in _QUOTES and value.count(value[0]) % 2):
        raise UnparsableError(f'the value of "{key}" may go on on the next line')
    return Child(key, line.start("key"), line.end("key"), Leaf(line.start("value"), line.end("value"), "string", value))


def _refuse_twins(children: Iterable[Child]) -> None:
    """Raise UnparsableError for names that are there twice, as readers see it that do not tell upper and lower case apart."""
    seen: set[str] = set()
    for child in children:
        name = child.name.casefold()
        if name in seen:
            raise UnparsableError(f'"{child.name}" is there twice')
        seen.add(name)
