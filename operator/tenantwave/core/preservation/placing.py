"""Writes a structural merge into the tenant's text: few small edits, tokens copied from the release's text, all else left byte for byte.

Nothing here is believed: the caller parses the outcome and compares it with what should be. So these rules may be simple, and what does
not fit them is an UnplaceableError, never a guess. Entries stand on lines (YAML blocks, properties, sections of INI and TOML) or in brackets (JSON,
YAML flow, TOML arrays).
"""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

from tenantwave.core.preservation.lines import begin_of_section, column, end_of_section, line_end
from tenantwave.core.preservation.structure import Entry, Merged, Mixed
from tenantwave.core.preservation.tree import Child, Container


class UnplaceableError(ValueError):
    """The change cannot be written by small edits."""


_OPENS_BLOCK = re.compile(r"(?:^|\s)[|>][-+0-9]*(?:\s+#.*)?$|:(?:\s+#.*)?$")
"""The rest of a first line behind a key after which the value begins on the next line: `: |`, `: >-`, `:`."""

_COLON = re.compile(r"[ \t]*:")


@dataclass(frozen=True, slots=True)
class Edit:
    """`text[start:end]` becomes `text`; start = end: an insertion."""

    start: int
    end: int
    text: str


def place(merged: Merged, live_root: Merged, live_text: str, new_text: str, gap: re.Pattern[str]) -> str:
    """Return the tenant's text with `merged` written into it.

    Args: live_root: the root of the tenant's tree; gap: what may stand between two entries in brackets. Both texts end with a newline.
    Raises: UnplaceableError.  Cost: linear in the text and the edits.
    """
    if merged is live_root:
        return live_text
    if not isinstance(merged, Mixed):
        return new_text  # the whole file is the release's
    placed = _applied(live_text, list(_Placer(live_text, new_text, gap).container(merged)))
    # A section that goes from the end of a file leaves the blank line above it behind.
    return placed.rstrip("\n") + "\n" if merged.live.is_section and not live_text.endswith("\n\n") else placed


def _applied(text: str, edits: list[Edit]) -> str:
    """Apply edits, none of which may overlap; insertions at one point stay in their order, before a removal that begins there."""
    pieces: list[str] = []
    at = 0
    for edit in sorted(edits, key=lambda edit: (edit.start, edit.end)):
        if edit.start < at:
            raise UnplaceableError("two edits touch the same text")
        pieces += text[at : edit.start], edit.text
        at = edit.end
    return "".join((*pieces, text[at:]))


@dataclass(frozen=True, slots=True)
class _Placer:
    live: str
    new: str
    gap: re.Pattern[str]

    def container(self, mixed: Mixed) -> Iterator[Edit]:
        """Return the edits for one container."""
        if mixed.live.is_section:
            yield from self._on_lines(mixed, self._own_entries_first(mixed))
        elif not any(entry.live for entry in mixed.entries):
            if mixed.entries:
                raise UnplaceableError("nothing of the tenant is left in the list or mapping to put the release's entries beside")
            text = self.live[mixed.live.start : mixed.live.end].rstrip("\n")  # a block scalar at the end has its newline
            yield Edit(mixed.live.start, mixed.live.start + len(text), "{}" if mixed.live.is_mapping else "[]")
        elif mixed.live.is_flow:
            yield from self._in_brackets(mixed)
        else:
            yield from self._on_lines(mixed, mixed.entries)

    def _change(self, entry: Entry, live: Child) -> Iterator[Edit]:
        """Return the edits for an entry that the tenant's text has already."""
        if isinstance(entry.merged, Mixed):
            yield from self.container(entry.merged)
        elif entry.merged is not live.node:
            if entry.new is None:
                raise UnplaceableError(f'"{entry.name}" is in neither text')
            yield self._value(live, entry.new)

    def _value(self, live: Child, new: Child) -> Edit:
        """Replace the value alone if both stand on one line, else everything after the key or dash."""
        if _is_section(live):
            body = slice(line_end(self.live, live.head_end), line_end(self.live, live.node.end))
            return Edit(body.start, body.stop, self.new[line_end(self.new, new.head_end) : line_end(self.new, new.node.end)])
        old = self.live[live.node.start : live.node.end]
        value = self.new[new.node.start : new.node.end]
        if old and value and "\n" not in old and "\n" not in value and not _is_block(live) and not _is_block(new):
            return Edit(live.node.start, live.node.end, value)
        if live.head_end == live.start or new.head_end == new.start:  # an item in brackets has no head
            return Edit(live.node.start, live.node.end, self._moved(value, new, live))
        tail = self._moved(self.new[new.head_end : new.node.end].rstrip("\n"), new, live)
        end = max(live.head_end + len(self.live[live.head_end : live.node.end].rstrip("\n")), self._separator_end(live))
        head, newline, rest = tail.partition("\n")
        if _OPENS_BLOCK.search(head) and "\n" not in old:  # a comment behind the tenant's value stays on its line
            behind = end + len(self._rest_of_line(end).rstrip("\n"))
            return Edit(live.head_end, behind, f"{head}{self.live[end:behind]}{newline}{rest}")
        return Edit(live.head_end, end, tail)

    def _separator_end(self, live: Child) -> int:
        """Return the end of a colon after the key, for a value that is empty and has no place of its own."""
        found = _COLON.match(self.live, live.head_end)
        return found.end() if found and live.node.start == live.node.end else live.head_end

    def _moved(self, text: str, new: Child, live: Child) -> str:
        """Indent the following lines of the release's text as the tenant's entry is indented."""
        return self._indented(text, column(self.live, live.start) - column(self.new, new.start))

    @staticmethod
    def _indented(text: str, shift: int) -> str:
        first, *others = text.split("\n")
        if not others or not shift:
            return text
        if shift > 0:
            return "\n".join((first, *(" " * shift + line if line.strip() else line for line in others)))
        if any(line.strip() and line[:-shift].strip() for line in others):
            raise UnplaceableError("the release's lines cannot be moved to the left")
        return "\n".join((first, *(line[-shift:] for line in others)))

    # Entries on lines

    def _on_lines(self, mixed: Mixed, entries: Sequence[Entry]) -> Iterator[Edit]:
        yield from self._drop_lines(mixed, entries)
        first = next((entry.live for entry in entries if entry.live), None)
        previous: Child | None = None
        for entry in entries:
            if entry.live is not None:
                yield from self._change(entry, entry.live)
                previous = entry.live
            elif entry.new is not None:
                yield self._insert_on_lines(entry.new, previous, first, mixed)

    @staticmethod
    def _own_entries_first(mixed: Mixed) -> list[Entry]:
        """Return the entries of a section, sections among them last. What becomes a section, or stops being one, is dropped and inserted."""

        def settled(entry: Entry) -> Entry:
            is_replaced = entry.live and entry.new and entry.merged is entry.new.node
            return replace(entry, live=None) if is_replaced and _is_section(entry.live) != _is_section(entry.new) else entry

        return sorted(map(settled, mixed.entries), key=lambda entry: _is_section(entry.live or entry.new))

    def _insert_on_lines(self, new: Child, previous: Child | None, first: Child | None, mixed: Mixed) -> Edit:
        """Write the release's entry behind the one before it, else below the header, else before the first one."""
        like = previous or first
        text = self._entry_text(new, like, mixed)
        indent = " " * column(self.live, like.start) if like else ""
        start = mixed.live.start
        if previous is not None:
            at = line_end(self.live, previous.node.end)
            if _is_section(previous):
                at = end_of_section(self.live, at)
            is_apart = not _is_section(new) or self.live[max(at - 2, 0) : at] == "\n\n"
            return Edit(at, at, f"{indent}{text}\n" if is_apart else f"\n{indent}{text}\n")
        if first is None and not start:  # a file without entries
            return Edit(len(self.live), len(self.live), f"{text}\n")
        if mixed.live.is_section and start and not _is_section(new):
            if first is not None and start == first.start:
                raise UnplaceableError("a section without a header has no place for an entry")
            at = line_end(self.live, start)
            return Edit(at, at, f"{indent}{text}\n")
        if first is None:
            at = end_of_section(self.live, line_end(self.live, start))
            return Edit(at, at, f"\n{text}\n")
        if _is_section(first):
            at = begin_of_section(self.live, first.start)
            return Edit(at, at, f"{indent}{text}\n\n")
        return Edit(first.start, first.start, f"{text}\n{indent}")

    def _entry_text(self, new: Child, like: Child | None, mixed: Mixed) -> str:
        """Return the release's entry with the rest of its last line (a comment there belongs to it), indented like the tenant's."""
        if mixed.new.is_flow:
            text, dash = self.new[new.start : new.node.end], "" if mixed.new.is_mapping else "- "
        else:
            text, dash = self.new[new.start : line_end(self.new, new.node.end)].rstrip("\n"), ""
        return dash + (self._moved(text, new, like) if like else text)

    def _drop_lines(self, mixed: Mixed, entries: Sequence[Entry]) -> Iterator[Edit]:
        """Remove the lines of entries that are gone; comments between entries stay."""
        kept = {id(entry.live.node) for entry in entries if entry.live}
        children = mixed.live.children
        skip_until = -1
        for position, child in enumerate(children):
            if id(child.node) in kept or child.start < skip_until:
                continue
            line_start = child.start - column(self.live, child.start)
            if not self.live[line_start : child.start].strip():
                end = line_end(self.live, child.node.end)
                is_between_blanks = _is_section(child) and self.live.endswith("\n\n", 0, line_start) and self.live.startswith("\n", end)
                yield Edit(line_start, end + is_between_blanks, "")
                continue
            following = next((other for other in children[position:] if id(other.node) in kept), None)  # "- a: 1" loses its first key
            if following is None:
                raise UnplaceableError("the entry shares its line with its list")
            skip_until = following.start
            yield Edit(child.start, following.start, "")

    # Entries in brackets

    def _in_brackets(self, mixed: Mixed) -> Iterator[Edit]:
        """Keep, drop and insert entries, and put the commas right: one after each but the last, after the last if it had one."""
        kept = {id(entry.live.node) for entry in mixed.entries if entry.live}
        has_trailing_comma = self._comma_after(mixed.live.children[-1]) is not None
        is_first = True
        for child in mixed.live.children:
            if id(child.node) in kept:
                is_first = False
            else:
                yield self._drop_in_brackets(child, mixed.live, is_first)
        last = len(mixed.entries) - 1
        previous: Child | None = None
        first = next(entry.live for entry in mixed.entries if entry.live)
        for position, entry in enumerate(mixed.entries):
            needs_comma = position < last or has_trailing_comma
            if entry.live is not None:
                yield from self._change(entry, entry.live)
                yield from self._mend_comma(entry.live, needs_comma)
                previous = entry.live
            elif entry.new is not None:
                start = entry.new.start if mixed.new.is_mapping else entry.new.node.start
                text = self._moved(self.new[start : entry.new.node.end], entry.new, first) + ("," if needs_comma else "")
                yield self._insert_in_brackets(text, previous, first)

    def _comma_after(self, child: Child) -> int | None:
        found = self.gap.match(self.live, child.node.end)
        at = found.end() if found else child.node.end
        return at if self.live[at : at + 1] == "," else None

    def _mend_comma(self, child: Child, needs_comma: bool) -> Iterator[Edit]:
        comma = self._comma_after(child)
        if needs_comma and comma is None:
            yield Edit(child.node.end, child.node.end, ",")
        elif not needs_comma and comma is not None:
            yield Edit(comma, comma + 1, "")

    def _is_on_own_line(self, child: Child) -> bool:
        return not self.live[child.start - column(self.live, child.start) : child.start].strip()

    def _rest_of_line(self, at: int) -> str:
        return self.live[at : line_end(self.live, at)]

    def _drop_in_brackets(self, child: Child, container: Container, is_first: bool) -> Edit:
        """Remove an entry with its comma: its whole line if it is alone there, else with the space before it (of the first ones: after)."""
        comma = self._comma_after(child)
        end = child.node.end if comma is None else comma + 1
        rest = self._rest_of_line(end)
        if self._is_on_own_line(child) and _is_blank_or_comment(rest) and end + len(rest) <= container.end:
            return Edit(child.start - column(self.live, child.start), end + len(rest), "")
        if is_first:
            return Edit(child.start, end + len(rest) - len(rest.lstrip(" \t")), "")
        before = self.live[child.start - column(self.live, child.start) : child.start]
        return Edit(child.start - len(before) + len(before.rstrip(" \t")), end, "")

    def _insert_in_brackets(self, text: str, previous: Child | None, first: Child) -> Edit:
        indent = self.live[first.start - column(self.live, first.start) : first.start] if self._is_on_own_line(first) else None
        if previous is None:
            return Edit(first.start, first.start, f"{text}\n{indent}" if indent is not None else f"{text} ")
        comma = self._comma_after(previous)
        end = previous.node.end if comma is None else comma + 1
        rest = self._rest_of_line(end)
        if indent is not None and _is_blank_or_comment(rest):
            return Edit(end + len(rest), end + len(rest), f"{indent}{text}\n")
        return Edit(end, end, f" {text}")


def _is_block(child: Child) -> bool:
    return isinstance(child.node, Container) and not child.node.is_flow


def _is_blank_or_comment(rest: str) -> bool:
    return not rest.strip() or rest.strip().startswith(("//", "#"))


def _is_section(child: Child | None) -> bool:
    return child is not None and isinstance(child.node, Container) and child.node.is_section
