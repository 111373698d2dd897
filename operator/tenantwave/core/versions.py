"""Comparing versions of a product: semantic where both are, else only equal or not."""

from __future__ import annotations

import re
from functools import total_ordering

_SEMVER = re.compile(
    r"^v?(?P<core>(0|[1-9][0-9]*)(\.(0|[1-9][0-9]*)){0,2})(-(?P<pre>[0-9A-Za-z-]+(\.[0-9A-Za-z-]+)*))?(\+[0-9A-Za-z.-]+)?$"
)
_CLAUSE = re.compile(r"^(?P<op>>=|<=|!=|==|=|>|<)?\s*(?P<version>[0-9A-Za-z]\S*)$")


@total_ordering
class SemVer:
    """A semantic version (semver.org 2.0, section 11); a missing minor or patch counts as 0, a leading `v` is ignored."""

    __slots__ = ("_key",)

    def __init__(self, core: tuple[int, int, int], pre: str) -> None:
        # A release sorts after its pre-releases; numeric identifiers sort numerically and before words.
        identifiers = tuple((0, int(part), "") if part.isdigit() else (1, 0, part) for part in pre.split(".")) if pre else ()
        self._key = (core, 0 if pre else 1, identifiers)

    @classmethod
    def parse(cls, text: str) -> SemVer | None:
        """Return the version, or None where `text` is not a semantic one."""
        match = _SEMVER.match(text)
        if match is None:
            return None
        numbers = [int(part) for part in match["core"].split(".")]
        major, minor, patch = [*numbers, 0, 0][:3]
        return cls((major, minor, patch), match["pre"] or "")

    def __eq__(self, other: object) -> bool:
        return isinstance(other, SemVer) and self._key == other._key

    def __lt__(self, other: SemVer) -> bool:
        return self._key < other._key

    def __hash__(self) -> int:
        return hash(self._key)


def order(version: str) -> tuple[object, ...]:
    """Return a sort key: semantic versions from low to high, then all others as text; unknown ('') first."""
    parsed = SemVer.parse(version)
    return (1, parsed, version) if parsed is not None else (2 if version else 0, version)


def is_higher(version: str, than: str) -> bool:
    """Tell whether `version` is the higher of two semantic versions; False where they cannot be compared."""
    left, right = SemVer.parse(version), SemVer.parse(than)
    return left is not None and right is not None and left > right


def range_problem(expression: str) -> str:
    """Return '' if `fromVersions` can be read, else what is wrong with it and the mend."""
    for clause in expression.split(","):
        match = _CLAUSE.match(clause.strip())
        if match is None or (match["op"] not in (None, "=", "==", "!=") and SemVer.parse(match["version"]) is None):
            return (
                f'"{clause.strip()}" in release.fromVersions is no version range; '
                'write comparisons with semantic versions, joined by commas, for example ">=2.2,<2.4"'
            )
    return ""


def _clause_holds(clause: str, version: str) -> bool:
    match = _CLAUSE.match(clause.strip())
    if match is None:
        return False
    left, right = SemVer.parse(version), SemVer.parse(match["version"])
    same = left == right if left is not None and right is not None else version == match["version"]
    match match["op"]:
        case None | "=" | "==":
            return same
        case "!=":
            return not same
    if left is None or right is None:
        return False
    match match["op"]:
        case ">":
            return left > right
        case "<":
            return left < right
        case ">=":
            return left >= right
        case _:
            return left <= right


def may_upgrade_from(version: str, target: str, from_versions: str | None) -> bool:
    """Tell whether a tenant that runs `version` ('' = unknown) may be upgraded to `target`.

    Without `fromVersions`: every lower version and the same one where both are semantic, else every version; so a downgrade is always asked
    for by name. An unknown version is let through here: `onUnknownBase` decides, if a ConfigMap is concerned.
    """
    if not version:
        return True
    if from_versions:
        return all(_clause_holds(clause, version) for clause in from_versions.split(","))
    left, right = SemVer.parse(version), SemVer.parse(target)
    return left is None or right is None or left <= right
