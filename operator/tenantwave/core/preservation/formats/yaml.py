"""YAML, read from the events of libyaml: strict, and each node with its place.

libyaml is the parser whose behaviour Go's YAML libraries share, so a file is cut here where most readers in a cluster cut it. Its resolver
is not used: a plain scalar is known by its source token, so YAML 1.1 and 1.2 need no decision (`yes` is `yes`).
"""

import re
from collections.abc import Callable
from typing import Protocol, cast

import yaml

from tenantwave.core.preservation.tree import MAX_DEPTH, Child, Container, Leaf, Node, UnparsableError, mapping, refuse_template_marks

GAP = re.compile(r"(?:\s|(?<=\s)#[^\n]*)*")
"""What may stand between two entries in brackets."""

_COLON = re.compile(r"[ \t]*:")
_LOADER = getattr(yaml, "CBaseLoader", yaml.BaseLoader)

_NO_STRING = re.compile(
    r"""(?ix) ~ | null | y | n | yes | no | on | off | true | false | <<? | =      # YAML 1.1 and 1.2 together
    | [-+]? [0-9.] [-+0-9a-f_.:xobT\ Z]* | [-+]? \.(inf|nan) """
)
"""Plain scalars that some reader takes for something other than a string; generous on purpose."""


def parse_yaml(text: str) -> Node:
    """Return the tree of one YAML document.

    Raises: UnparsableError for whatever makes an edit doubtful: syntax errors, several documents, directives, anchors, aliases, merge keys,
    tags, duplicate keys, keys that are no scalars, template marks, no content.
    Cost: linear, about 2 s for 1 MiB in 100,000 lines.
    """
    refuse_template_marks(text)
    try:
        return _Builder(text).document()
    except yaml.YAMLError as error:
        raise UnparsableError(" ".join(str(error).split())) from error
    except UnicodeError as error:
        raise UnparsableError(str(error)) from error


class _Builder:
    """Turns events into the tree."""

    def __init__(self, text: str) -> None:
        self._text = text
        self._next: Callable[[], yaml.Event] = _LOADER(text).get_event  # yaml.parse would ask twice for each event

    def document(self) -> Node:
        root: Node | None = None
        while True:
            match event := self._next():
                case yaml.DocumentStartEvent():
                    if event.version or event.tags:
                        raise UnparsableError("it has directives")
                    if root is not None:
                        raise UnparsableError("it holds several documents")
                    root = self._node(self._next(), depth=0)
                case yaml.StreamEndEvent():
                    break
        if root is None:
            raise UnparsableError("it holds no document")
        return root

    def _node(self, event: yaml.Event, depth: int) -> Node:
        if isinstance(event, yaml.ScalarEvent):  # first, because most events are
            _refuse_extras(event.anchor, event.tag)
            is_string = event.style or (event.value and not _NO_STRING.fullmatch(event.value))
            return Leaf(_begin(event).index, _finish(event).index, "string" if is_string else "plain", event.value)
        if depth > MAX_DEPTH:
            raise UnparsableError(f"it is nested deeper than {MAX_DEPTH} levels")
        match event:
            case yaml.MappingStartEvent():
                _refuse_extras(event.anchor, event.tag)
                return self._mapping(event, depth)
            case yaml.SequenceStartEvent():
                _refuse_extras(event.anchor, event.tag)
                return self._list(event, depth)
            case _:
                raise UnparsableError("it uses anchors or aliases")

    def _mapping(self, start: yaml.MappingStartEvent, depth: int) -> Container:
        children: list[Child] = []
        while not isinstance(event := self._next(), yaml.MappingEndEvent):
            key = self._node(event, depth + 1)
            if not isinstance(key, Leaf):
                raise UnparsableError("a key is a list or a mapping")
            if key.kind == "plain" and key.token == "<<":
                raise UnparsableError("it uses a merge key")
            value = self._node(self._next(), depth + 1)
            if self._text[key.start : key.start + 1] in "|>" or not _COLON.match(self._text, key.end):
                raise UnparsableError(f'the key "{key.token}" is written in an unusual way')
            children.append(Child(key.token, key.start, key.end, value))
        return mapping(_begin(start).index, self._end(event, start, children), bool(start.flow_style), children)

    def _list(self, start: yaml.SequenceStartEvent, depth: int) -> Container:
        children: list[Child] = []
        while not isinstance(event := self._next(), yaml.SequenceEndEvent):
            node = self._node(event, depth + 1)
            head = node.start if start.flow_style else self._dash(node, _begin(start).column)
            children.append(Child("", head, node.start if start.flow_style else head + 1, node))
        end = self._end(event, start, children)
        return Container(_begin(start).index, end, is_mapping=False, is_flow=bool(start.flow_style), children=tuple(children))

    def _dash(self, node: Node, column: int) -> int:
        """Return where the dash of a block item stands: in its column, on the item's line."""
        at = self._text.rfind("\n", 0, node.start) + 1 + column
        if self._text[at : at + 1] != "-":
            raise UnparsableError("an item of a list does not begin on the line of its dash")
        return at

    @staticmethod
    def _end(event: yaml.Event, start: yaml.CollectionStartEvent, children: list[Child]) -> int:
        """Return where the container's own text ends; for a block that is its last entry, not the comments after it."""
        return _finish(event).index if start.flow_style or not children else children[-1].node.end


def _refuse_extras(anchor: str | None, tag: str | None) -> None:
    if anchor is not None:
        raise UnparsableError("it uses anchors or aliases")
    if tag is not None:
        raise UnparsableError(f"it uses the tag {tag}")


class _Mark(Protocol):
    """A place in the text, in characters."""

    index: int
    column: int


def _begin(event: yaml.Event) -> _Mark:
    return cast(_Mark, event.start_mark)


def _finish(event: yaml.Event) -> _Mark:
    return cast(_Mark, event.end_mark)
