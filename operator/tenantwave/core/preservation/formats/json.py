"""JSON, also with comments and trailing commas, read by a strict parser that keeps the place of each node."""

import json
import re

from tenantwave.core.preservation.tree import MAX_DEPTH, Child, Container, Leaf, Node, UnparsableError, mapping, refuse_template_marks

GAP = re.compile(r"(?:[ \t\r\n]|//[^\n]*|/\*.*?\*/)*", re.DOTALL)
"""What may stand between two tokens."""

_STRING = re.compile(r'"(?:[^"\\\x00-\x1f]|\\(?:["\\/bfnrt]|u[0-9a-fA-F]{4}))*"')
_SIMPLE = re.compile(
    r"""(?P<key>"[^"\\\x00-\x1f]*")[ \t\r\n]*:[ \t\r\n]*(?:
        "(?P<string>[^"\\\x00-\x1f]*)" | (?P<plain>true|false|null|-?(?:0|[1-9][0-9]*)(?:\.[0-9]+)?)(?=[,}\s]))""",
    re.VERBOSE,
)
"""An entry as most entries are: no escapes, no comments, a scalar. All others are read token by token."""

_OTHER = re.compile(r"true|false|null|-?(?:0|[1-9][0-9]*)(?:\.[0-9]+)?(?:[eE][-+]?[0-9]+)?")


def parse_json(text: str) -> Node:
    """Return the tree of a JSON text, with `//` and `/* */` comments and trailing commas allowed.

    Raises: UnparsableError for anything else that RFC 8259 does not allow, for duplicate keys and for template marks.
    Cost: linear, about 1 s for 1 MiB of small values.
    """
    refuse_template_marks(text)
    reader = _Reader(text)
    root = reader.value(reader.gap(0), depth=0)
    if reader.gap(root.end) != len(text):
        raise UnparsableError(f"there is more text after the value, at character {root.end}")
    return root


class _Reader:
    """Reads values by recursive descent; positions are given and returned, nothing is remembered."""

    def __init__(self, text: str) -> None:
        self._text = text

    def gap(self, at: int) -> int:
        """Return the position of the next token at or after `at`."""
        found = GAP.match(self._text, at)
        return found.end() if found else at

    def value(self, at: int, depth: int) -> Node:
        if depth > MAX_DEPTH:
            raise UnparsableError(f"it is nested deeper than {MAX_DEPTH} levels")
        match self._text[at : at + 1]:
            case "{":
                return self._container(at, depth, is_mapping=True)
            case "[":
                return self._container(at, depth, is_mapping=False)
            case '"':
                return self._string(at)
            case _:
                found = _OTHER.match(self._text, at)
                if not found:
                    raise UnparsableError(f"there is no value at character {at}")
                return Leaf(at, found.end(), "plain", found.group())

    def _string(self, at: int) -> Leaf:
        found = _STRING.match(self._text, at)
        if not found:
            raise UnparsableError(f"there is no complete string at character {at}")
        return Leaf(at, found.end(), "string", json.loads(found.group()))

    def _container(self, start: int, depth: int, is_mapping: bool) -> Container:
        closing = "}" if is_mapping else "]"
        children: list[Child] = []
        at = self.gap(start + 1)
        while self._text[at : at + 1] != closing:
            children.append(self._entry(at, depth) if is_mapping else self._item(at, depth))
            at = self.gap(children[-1].node.end)
            if self._text[at : at + 1] == ",":
                at = self.gap(at + 1)
            elif self._text[at : at + 1] != closing:
                raise UnparsableError(f"there is no comma and no {closing} at character {at}")
        if is_mapping:
            return mapping(start, at + 1, True, children)
        return Container(start, at + 1, is_mapping=False, is_flow=True, children=tuple(children))

    def _entry(self, at: int, depth: int) -> Child:
        if simple := _SIMPLE.match(self._text, at):
            key, string = simple["key"], simple["string"]
            start, end = simple.span("plain") if string is None else (simple.start("string") - 1, simple.end("string") + 1)
            value = Leaf(start, end, "plain", simple["plain"]) if string is None else Leaf(start, end, "string", string)
            return Child(key[1:-1], at, at + len(key), value)
        key = self._string(at)
        colon = self.gap(key.end)
        if self._text[colon : colon + 1] != ":":
            raise UnparsableError(f"there is no colon at character {colon}")
        return Child(key.token, at, key.end, self.value(self.gap(colon + 1), depth + 1))

    def _item(self, at: int, depth: int) -> Child:
        return Child("", at, at, self.value(at, depth + 1))
