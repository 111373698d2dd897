"""The merge inside one key that tenant and release both changed."""

from tenantwave.core.preservation.content import Value
from tenantwave.core.preservation.result import ConflictKind
from tenantwave.core.preservation.rules import OnConflict, Rules
from tenantwave.core.preservation.sections import Clash, Inside


def merge_value(base: Value, live: Value, new: Value, config_map: str, key: str, rules: Rules) -> Inside[Value]:
    """Merge three values of one key, all different."""
    decision = rules.on_conflict_for(config_map, key)
    clash = Clash(ConflictKind.BOTH, "", base.shown(), live.shown(), new.shown(), decision)
    return Inside(new if decision is OnConflict.RELEASE_WINS else live, (clash,))
