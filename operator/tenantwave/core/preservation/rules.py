"""The rules of a merge: who wins a conflict, how a key is read, how lists inside it are merged."""

from collections.abc import Sequence
from dataclasses import dataclass

from tenantwave.api.upgrade import ConfigFormat as Format
from tenantwave.api.upgrade import ListRule, OnConflict, OnUnknownBase, Preservation
from tenantwave.api.upgrade import PreservationRule as Rule

__all__ = ["Format", "ListRule", "OnConflict", "OnUnknownBase", "Rule", "Rules"]


@dataclass(frozen=True, slots=True)
class Rules:
    """All rules of one upgrade. The narrowest rule that says something wins: path, key, ConfigMap, upgrade; of equals the later.

    Paths are JSON Pointers; a segment `*` matches any name. Labels, annotations and `immutable` are no keys: only rules without `key`
    reach them.
    """

    on_conflict: OnConflict = OnConflict.HALT
    on_unknown_base: OnUnknownBase = OnUnknownBase.HALT
    rules: tuple[Rule, ...] = ()

    @classmethod
    def of(cls, preservation: Preservation) -> "Rules":
        """Return the rules that an upgrade's `spec.preservation` states."""
        return cls(preservation.on_conflict, preservation.on_unknown_base, preservation.rules_)

    def format_for(self, config_map: str, key: str) -> Format:
        """Return the format that a rule gives to this key, else Auto."""
        return next((rule.format for rule in self._narrowest_first(config_map, key) if rule.format is not None), Format.AUTO)

    def list_rule_for(self, config_map: str, key: str, path: str) -> ListRule | None:
        """Return how the list at `path` inside this key merges; None: as one value."""
        rules = self._narrowest_first(config_map, key)
        return next((lists for rule in rules for lists in reversed(rule.lists) if _is_at(lists.path, path)), None)

    def on_conflict_for(self, config_map: str, key: str | None = None, path: str = "") -> OnConflict:
        """Return who wins a conflict at this place; `key` None stands for labels, annotations, `immutable` or the whole object."""
        deciding = (
            rule.on_conflict
            for rule in self._narrowest_first(config_map, key)
            if rule.on_conflict is not None and (rule.path is None or _is_at_or_below(rule.path, path))
        )
        return next(deciding, self.on_conflict)

    def _narrowest_first(self, config_map: str, key: str | None) -> Sequence[Rule]:
        rules = [rule for rule in reversed(self.rules) if rule.config_map == config_map and rule.key in (None, key)]
        return sorted(rules, key=_narrowness, reverse=True)


def _narrowness(rule: Rule) -> int:
    """Rank a rule: a deeper path is narrower than a shallow one, any path narrower than a key, a key narrower than its ConfigMap."""
    if rule.key is None:
        return 0
    return 1 if rule.path is None else 1 + len(_segments(rule.path))


def _segments(path: str) -> tuple[str, ...]:
    return tuple(path.split("/")[1:]) if path else ()


def _is_at(pattern: str, path: str) -> bool:
    return len(_segments(pattern)) == len(_segments(path)) and _is_at_or_below(pattern, path)


def _is_at_or_below(pattern: str, path: str) -> bool:
    wanted, given = _segments(pattern), _segments(path)
    return len(wanted) <= len(given) and all(want in ("*", name) for want, name in zip(wanted, given, strict=False))
