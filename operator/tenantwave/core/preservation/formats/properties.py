"""Java properties: keys and values on lines, read with the place of each. Source: java.util.Properties.load, its description of lines."""

import re

from tenantwave.core.preservation.tree import Child, Leaf, Node, UnparsableError, mapping, refuse_template_marks

GAP = re.compile(r"[ \t\f\n]*")

_LINE = re.compile(
    r"""[ \t\f]*(?:
          (?P<comment>[\#!][^\n]*)
        | (?P<key>(?:[^\\=:\s]|\\(?:\n[ \t\f]*|[^\n]))+) [ \t\f]*(?:[=:][ \t\f]*)? (?P<value>(?:[^\\\n]|\\(?:\n[ \t\f]*|[^\n]))*)
        )?(?:\n|\Z)""",
    re.VERBOSE,
)
_CONTINUATION = re.compile(r"\\\n[ \t\f]*")
_ESCAPE = re.compile(r"\\(u[0-9a-fA-F]{4}|.)", re.DOTALL)
_NAMED = {"t": "\t", "n": "\n", "r": "\r", "f": "\f"}


def parse_properties(text: str) -> Node:
    """Return the tree of a properties file: one flat mapping. The text has LF line ends.

    Raises: UnparsableError for duplicate keys, malformed `\\u` escapes, an empty key, a backslash at the very end, and template marks.
    Cost: linear.
    """
    refuse_template_marks(text)
    children: list[Child] = []
    at = 0
    while at < len(text):
        line = _LINE.match(text, at)
        if not line:
            raise UnparsableError(f"there is no key at character {at}")
        if line["key"] is not None:
            value = Leaf(line.start("value"), line.end("value"), "string", _decoded(line["value"]))
            children.append(Child(_decoded(line["key"]), line.start("key"), line.end("key"), value))
        at = line.end()
    end = children[-1].node.end if children else 0
    return mapping(0, end, False, children, is_section=True)


def _decoded(raw: str) -> str:
    def plain(escape: re.Match[str]) -> str:
        name = escape[1]
        if name[0] == "u":
            if len(name) == 1:
                raise UnparsableError("a \\u escape has no four hexadecimal digits")
            return chr(int(name[1:], 16))
        return _NAMED.get(name, name)

    return _ESCAPE.sub(plain, _CONTINUATION.sub("", raw))
