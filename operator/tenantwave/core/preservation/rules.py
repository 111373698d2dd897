"""The rules of a merge: who wins a conflict, how a key is read, how lists inside it are merged."""

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum


class OnConflict(StrEnum):
    """Who wins where tenant and release changed the same path."""

    HALT = "Halt"
    TENANT_WINS = "TenantWins"
    RELEASE_WINS = "ReleaseWins"


class OnUnknownBase(StrEnum):
    """What to do where nobody knows what the release had shipped before."""

    HALT = "Halt"
    ASSUME_LIVE_IS_BASE = "AssumeLiveIsBase"
    TENANT_WINS = "TenantWins"


class Format(StrEnum):
    """How a key is read. Toml and Ini have their place; until their editors exist the API refuses them by name."""

    AUTO = "Auto"
    YAML = "Yaml"
    JSON = "Json"
    TOML = "Toml"
    INI = "Ini"
    PROPERTIES = "Properties"
    TEXT = "Text"
    OPAQUE = "Opaque"


@dataclass(frozen=True, slots=True)
class ListRule:
    """How the list at `path` (a JSON Pointer; a segment `*` matches any name) merges: by the items' field `by`, or as a set."""

    path: str
    by: str | None = None
    as_set: bool = False


@dataclass(frozen=True, slots=True)
class Rule:
    """One rule. `key` None: the whole ConfigMap. `path` None: the whole key; else that place inside the key and all below it.

    Labels, annotations and `immutable` are no keys: only rules without `key` reach them.
    """

    config_map: str
    key: str | None = None
    path: str | None = None
    format: Format | None = None
    lists: tuple[ListRule, ...] = ()
    on_conflict: OnConflict | None = None


@dataclass(frozen=True, slots=True)
class Rules:
    """All rules of one upgrade. The narrowest rule that says something wins: path, key, ConfigMap, upgrade; of equals the later."""

    on_conflict: OnConflict = OnConflict.HALT
    on_unknown_base: OnUnknownBase = OnUnknownBase.HALT
    rules: tuple[Rule, ...] = ()

    def format_for(self, config_map: str, key: str) -> Format:
        """Return the format that a rule gives to this key, else Auto."""
        stated = (rule.format for rule in reversed(self._of(config_map, key)) if rule.key is not None and rule.format is not None)
        return next(stated, Format.AUTO)

    def list_rule_for(self, config_map: str, key: str, path: str) -> ListRule | None:
        """Return how the list at `path` inside this key merges; None: as one value."""
        stated = (lists for rule in reversed(self._of(config_map, key)) for lists in reversed(rule.lists) if _is_at(lists.path, path))
        return next(stated, None)

    def on_conflict_for(self, config_map: str, key: str | None = None, path: str = "") -> OnConflict:
        """Return who wins a conflict at this place; `key` None stands for labels, annotations, `immutable` or the whole object."""
        stated = [
            (_narrowness(rule), position, rule.on_conflict)
            for position, rule in enumerate(self._of(config_map, key))
            if rule.on_conflict is not None and (rule.path is None or _is_at_or_below(rule.path, path))
        ]
        return max(stated)[2] if stated else self.on_conflict

    def _of(self, config_map: str, key: str | None) -> Sequence[Rule]:
        return [rule for rule in self.rules if rule.config_map == config_map and rule.key in (None, key)]


def _narrowness(rule: Rule) -> int:
    """Rank a rule: a deeper path is narrower than a shallow one, any path narrower than a key, a key narrower than its ConfigMap."""
    if rule.key is None:
        return 0
    return 1 if rule.path is None else 2 + len(_segments(rule.path))


def _segments(path: str) -> tuple[str, ...]:
    return tuple(path.split("/")[1:]) if path else ()


def _is_at(pattern: str, path: str) -> bool:
    wanted, given = _segments(pattern), _segments(path)
    return len(wanted) == len(given) and all(want in ("*", name) for want, name in zip(wanted, given, strict=True))


def _is_at_or_below(pattern: str, path: str) -> bool:
    wanted, given = _segments(pattern), _segments(path)
    return len(wanted) <= len(given) and all(want in ("*", name) for want, name in zip(wanted, given, strict=False))
