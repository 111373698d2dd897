"""diff3 over lines: what both sides changed, and where. It proposes; whoever can parse the text verifies.

Lines are matched first by lines that occur once on each side, then by difflib in the small gaps between them, so that long files cost
about n log n and a repeated line (a brace, a blank) does not pull hunks to the wrong place.
"""

from bisect import bisect_left
from collections import Counter, deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from difflib import SequenceMatcher
from itertools import pairwise

MAX_PAIRS = 200_000
"""Equal pairs of lines that difflib may look at in one gap; a more repetitive one counts as changed throughout."""

SAFE_DISTANCE = 3
"""Lines of the base that must lie between a change of the tenant and one of the release where nothing but text is known."""


@dataclass(frozen=True, slots=True)
class Hunk:
    """`base[start:end]` became `lines`."""

    start: int
    end: int
    lines: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Region:
    """A stretch of the base that one side changed, or both in the same way; `lines` is what stands there now."""

    start: int
    end: int
    lines: tuple[str, ...]
    by_live: bool
    by_new: bool


@dataclass(frozen=True, slots=True)
class Merge3:
    """A merge without overlap: the text, and the regions that changed, in order."""

    text: str
    regions: tuple[Region, ...]


def diff3(base: str, live: str, new: str) -> Merge3 | None:
    """Merge two changes of `base`; None where they overlap or touch and differ. Texts end with a newline or are empty.

    Cost: about n log n in the lines.
    """
    base_lines = lines_of(base)
    regions = _regions(base_lines, deque(hunks(base_lines, lines_of(live))), deque(hunks(base_lines, lines_of(new))))
    if regions is None:
        return None
    merged: list[str] = []
    at = 0
    for region in regions:
        merged += base_lines[at : region.start]
        merged += region.lines
        at = region.end
    return Merge3("".join(merged + base_lines[at:]), tuple(regions))


def is_safe_as_text(merge: Merge3) -> bool:
    """Tell whether a clean merge may be believed although nobody can parse the text.

    Changes of the two sides lie SAFE_DISTANCE lines apart, and no line that one of them added has the name (what comes before the first `=`
    or `:`) of a line that the other added: that would be one setting twice.
    """
    one_sided = [region for region in merge.regions if region.by_live != region.by_new]
    distances = (after.start - before.end for before, after in pairwise(one_sided) if before.by_live != after.by_live)
    if any(distance < SAFE_DISTANCE for distance in distances):
        return False
    of_live = {name for region in one_sided if region.by_live for name in _names(region.lines)}
    of_new = {name for region in one_sided if region.by_new for name in _names(region.lines)}
    return not of_live & of_new


def lines_of(text: str) -> list[str]:
    """Return the lines with their newlines; only `\\n` ends a line."""
    parts = text.split("\n")
    return [part + "\n" for part in parts[:-1]] + ([parts[-1]] if parts[-1] else [])


def hunks(base: Sequence[str], other: Sequence[str]) -> list[Hunk]:
    """Return what changed from `base` to `other`, in order."""
    found: list[Hunk] = []
    at = to = 0
    for i, j in (*matching_pairs(base, other), (len(base), len(other))):
        if i > at or j > to:
            found.append(Hunk(at, i, tuple(other[to:j])))
        at, to = i + 1, j + 1
    return found


def _names(lines: Sequence[str]) -> Iterator[str]:
    for line in lines:
        name = line.replace(":", "=").partition("=")[0].strip()
        if name:
            yield name


def _regions(base: Sequence[str], live: deque[Hunk], new: deque[Hunk]) -> list[Region] | None:
    """Put the hunks of both sides in order; those that touch each other must say the same."""
    regions: list[Region] = []
    while live or new:
        start = min(side[0].start for side in (live, new) if side)
        end = start
        taken: tuple[list[Hunk], list[Hunk]] = ([], [])
        grown = True
        while grown:
            grown = False
            for side, own in zip((live, new), taken, strict=True):
                while side and side[0].start <= end:
                    own.append(side.popleft())
                    end = max(end, own[-1].end)
                    grown = True
        texts = [_text_of(base, start, end, own) for own in taken]
        if taken[0] and taken[1] and texts[0] != texts[1]:
            return None
        regions.append(Region(start, end, tuple(texts[0] if taken[0] else texts[1]), bool(taken[0]), bool(taken[1])))
    return regions


def _text_of(base: Sequence[str], start: int, end: int, changes: Sequence[Hunk]) -> list[str]:
    """Return what `base[start:end]` looks like after these changes."""
    lines: list[str] = []
    at = start
    for hunk in changes:
        lines += base[at : hunk.start]
        lines += hunk.lines
        at = hunk.end
    return lines + list(base[at:end])


def matching_pairs(a: Sequence[str], b: Sequence[str]) -> list[tuple[int, int]]:
    """Return pairs of positions of equal lines (or other names), both rising. Cost: about n log n between the equal ends, linear in these."""
    head, tail = _equal_ends(a, b, 0, len(a), 0, len(b))
    pairs = [(k, k) for k in range(head)]
    at_a, end_a, at_b, end_b = head, len(a) - tail, head, len(b) - tail
    if at_a < end_a and at_b < end_b:
        anchors = [(head + i, head + j) for i, j in _anchors(a[at_a:end_a], b[at_b:end_b])]
        for i, j in (*anchors, (end_a, end_b)):
            pairs += _pairs_in_gap(a, b, at_a, i, at_b, j)
            if i < end_a:
                pairs.append((i, j))
            at_a, at_b = i + 1, j + 1
    return pairs + [(end_a + k, end_b + k) for k in range(tail)]


def _equal_ends(a: Sequence[str], b: Sequence[str], a0: int, a1: int, b0: int, b1: int) -> tuple[int, int]:
    """Return how many lines of `a[a0:a1]` and `b[b0:b1]` are equal from the beginning, and then from the end."""
    longest = min(a1 - a0, b1 - b0)
    head = 0
    while head < longest and a[a0 + head] == b[b0 + head]:
        head += 1
    tail = 0
    while tail < longest - head and a[a1 - 1 - tail] == b[b1 - 1 - tail]:
        tail += 1
    return head, tail


def _anchors(a: Sequence[str], b: Sequence[str]) -> list[tuple[int, int]]:
    """Return the longest rising chain of lines that occur exactly once on each side (patience)."""
    in_a, in_b = Counter(a), Counter(b)
    position = {line: j for j, line in enumerate(b) if in_b[line] == 1}
    candidates = [(i, position[line]) for i, line in enumerate(a) if in_a[line] == 1 and line in position]
    tails: list[int] = []
    tail_of: list[int] = []
    previous: list[int] = []
    for index, (_, j) in enumerate(candidates):
        length = bisect_left(tails, j)
        previous.append(tail_of[length - 1] if length else -1)
        tails[length : length + 1] = [j]
        tail_of[length : length + 1] = [index]
    chain: list[tuple[int, int]] = []
    index = tail_of[-1] if tail_of else -1
    while index >= 0:
        chain.append(candidates[index])
        index = previous[index]
    return chain[::-1]


def _pairs_in_gap(a: Sequence[str], b: Sequence[str], a0: int, a1: int, b0: int, b1: int) -> list[tuple[int, int]]:
    """Return the equal pairs between two anchors: what is equal at both ends, and difflib's answer for the middle."""
    if a0 >= a1 or b0 >= b1:
        return []
    head, tail = _equal_ends(a, b, a0, a1, b0, b1)
    pairs = [(a0 + k, b0 + k) for k in range(head)]
    middle_a, middle_b = a[a0 + head : a1 - tail], b[b0 + head : b1 - tail]
    in_b = Counter(middle_b)
    if 0 < sum(in_b[line] for line in middle_a) <= MAX_PAIRS:
        blocks = SequenceMatcher(None, middle_a, middle_b, autojunk=False).get_matching_blocks()
        pairs += [(a0 + head + block.a + k, b0 + head + block.b + k) for block in blocks for k in range(block.size)]
    return pairs + [(a1 - tail + k, b1 - tail + k) for k in range(tail)]
