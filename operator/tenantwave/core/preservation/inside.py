"""The merge inside one text: shortcuts, then structure, diff3 and placed edits, and else nothing.

Every structured text that comes out of here has been parsed again and says exactly what the structural merge says. Plain text, which
nobody can parse, merges only where the changes lie far apart. Merging an outcome once more changes nothing.
"""

from dataclasses import dataclass, replace
from functools import cache, lru_cache

from tenantwave.core.preservation.diff3 import diff3, is_safe_as_text, lines_of
from tenantwave.core.preservation.formats import SYNTAXES, Syntax
from tenantwave.core.preservation.framing import Framed
from tenantwave.core.preservation.placing import UnplaceableError, place
from tenantwave.core.preservation.rules import Format, OnConflict
from tenantwave.core.preservation.sections import Clash
from tenantwave.core.preservation.structure import Merged, Policy, Texts, merge_structure
from tenantwave.core.preservation.tree import Node, UnparsableError

MAX_REMEMBERED_CHARS = 16_384
"""Texts of a release up to this length are not parsed again for the next tenant. A tree takes some ten times the memory of its text."""

_COMMENT_MARKS = ("#", "//", "/*", "!", ";")
_MAX_PASSES = 3


@dataclass(frozen=True, slots=True)
class MergedText:
    """The outcome. `text` None: the whole text is in conflict. With a clash that halts, `text` is the tenant's, unchanged."""

    text: str | None
    clashes: tuple[Clash, ...] = ()
    notes: tuple[str, ...] = ()


def merge_text(base: Framed, live: Framed, new: Framed, stated: Format, policy: Policy) -> MergedText:
    """Merge three texts of one format.

    If one of the three cannot be parsed, all are plain text, and a note says why.
    Cost: for a structured format at least four parses, however long the text is: one to three seconds for 1 MiB (all that a ConfigMap can
    hold), up to ten if it is thousands of tiny TOML tables; for plain text n log n in the lines that changed. Files of some kilobytes take
    a few milliseconds. Who serves others meanwhile calls this in a thread.
    """
    texts = Texts(base.body, live.body, new.body)
    if texts.new in (texts.base, texts.live):
        return MergedText(texts.live)
    if texts.live == texts.base:
        return MergedText(texts.new)
    if stated not in SYNTAXES:
        return _merge_plain(texts)
    parse = SYNTAXES[stated].parse
    as_live = cache(lambda body: parse(live.bare(body)))  # the outcome is asked about more than once
    try:
        trees = _Trees(_shipped(stated, base.bare(base.body)), as_live(live.body), _shipped(stated, new.bare(new.body)))
    except UnparsableError as error:
        return replace(_merge_plain(texts), notes=(f"merged as plain text: as {stated}, {error}",))
    return _merge_structured(texts, trees, replace(SYNTAXES[stated], parse=as_live), policy)


def _shipped(stated: Format, text: str) -> Node:
    """Parse what a release ships: the same text for each of its tenants."""
    return _remembered(stated, text) if len(text) <= MAX_REMEMBERED_CHARS else SYNTAXES[stated].parse(text)


@lru_cache(maxsize=64)
def _remembered(stated: Format, text: str) -> Node:
    return SYNTAXES[stated].parse(text)


@dataclass(frozen=True, slots=True)
class _Trees:
    base: Node
    live: Node
    new: Node


def _merge_plain(texts: Texts) -> MergedText:
    """Merge by lines. A change of the release in trailing newlines alone is none: renderers do that."""
    if texts.base.rstrip("\n") == texts.new.rstrip("\n"):
        return MergedText(texts.live)
    merged = diff3(texts.base, texts.live, texts.new)
    if merged is None or not is_safe_as_text(merged):
        return MergedText(None)
    again = diff3(texts.base, merged.text, texts.new)
    return MergedText(merged.text if again is not None and again.text == merged.text and is_safe_as_text(again) else None)


def _merge_structured(texts: Texts, trees: _Trees, syntax: Syntax, policy: Policy) -> MergedText:
    if trees.base.shape == trees.new.shape and _without_blank_lines(texts.base) == _without_blank_lines(texts.new):
        return MergedText(texts.live)
    structure = merge_structure(trees.base, trees.live, trees.new, texts, policy)
    if any(clash.settled_by is OnConflict.HALT for clash in structure.clashes):
        return MergedText(texts.live, structure.clashes)
    text = _settled(texts, trees, structure.merged, syntax)
    if text is None:
        return MergedText(None)
    return MergedText(text, structure.clashes, _notes(texts, text))


def _settled(texts: Texts, trees: _Trees, merged: Merged, syntax: Syntax) -> str | None:
    """Write the merge until writing it once more changes nothing; a second pass may bring a comment that the first could not."""
    live_text, live_root = texts.live, trees.live
    for _ in range(_MAX_PASSES):
        text = _written(Texts(texts.base, live_text, texts.new), live_root, merged, syntax)
        if text is None or text == live_text:
            return text
        live_text, live_root = text, syntax.parse(text)
        merged = live_root
    return None


def _written(texts: Texts, live_root: Node, merged: Merged, syntax: Syntax) -> str | None:
    """Return a text that says what `merged` says: diff3's if it does, else the tenant's with edits placed; None if neither does."""
    proposed = diff3(texts.base, texts.live, texts.new)
    if proposed is not None and _says(proposed.text, merged, syntax):
        return proposed.text
    try:
        placed = place(merged, live_root, texts.live, texts.new, syntax.gap)
    except UnplaceableError:
        return None
    return placed if _says(placed, merged, syntax) else None


def _says(text: str, merged: Merged, syntax: Syntax) -> bool:
    """Tell whether the text, parsed again, has the shape of the merge. A duplicate key does not parse."""
    try:
        return syntax.parse(text).shape == merged.shape
    except UnparsableError:
        return False


def _without_blank_lines(text: str) -> list[str]:
    return [line for line in lines_of(text) if line.strip()]


def _notes(texts: Texts, merged: str) -> tuple[str, ...]:
    """Say that comments of the release did not arrive, if so."""
    added = {line.strip() for line in lines_of(texts.new) if line.lstrip().startswith(_COMMENT_MARKS)}
    missing = added and added.difference(line.strip() for text in (texts.base, merged) for line in lines_of(text))
    return ("comments that are new in the release were not taken over",) if missing else ()
