"""The merge of one key that tenant and release both changed: what is around its text is set aside, then `inside` merges the text."""

from dataclasses import replace

from tenantwave.core.preservation.content import Value
from tenantwave.core.preservation.formats import format_of
from tenantwave.core.preservation.framing import framed
from tenantwave.core.preservation.inside import merge_text
from tenantwave.core.preservation.result import ConflictKind
from tenantwave.core.preservation.rules import Format, OnConflict, Rules
from tenantwave.core.preservation.sections import Clash, Inside
from tenantwave.core.preservation.structure import Policy


def merge_value(base: Value, live: Value, new: Value, config_map: str, key: str, rules: Rules) -> Inside[Value]:
    """Merge three different values of one key.

    A value of `binaryData` and an Opaque key merge as a whole. The tenant's byte order mark, line ends and last newline stay.
    Cost: that of `merge_text`.
    """
    stated = format_of(key, rules.format_for(config_map, key))
    whole = _whole(base, live, new, rules.on_conflict_for(config_map, key))
    texts = base.text(), live.text(), new.text()
    if stated is Format.OPAQUE or texts[0] is None or texts[1] is None or texts[2] is None:
        return whole
    frames = framed(texts[0]), framed(texts[1]), framed(texts[2])
    if frames[0] is None or frames[1] is None or frames[2] is None:
        return replace(whole, notes=("its line ends are mixed, so it merges as one value",))
    policy = Policy(
        on_conflict=lambda path: rules.on_conflict_for(config_map, key, path),
        list_rule=lambda path: rules.list_rule_for(config_map, key, path),
    )
    merged = merge_text(frames[0], frames[1], frames[2], stated, policy)
    if merged.text is None:
        return replace(whole, notes=merged.notes)
    if merged.text == frames[1].body:
        return Inside(live, merged.clashes, notes=merged.notes)
    return Inside(Value(frames[1].wrap(merged.text).encode()), merged.clashes, is_merged=True, notes=merged.notes)


def _whole(base: Value, live: Value, new: Value, decision: OnConflict) -> Inside[Value]:
    """Return the conflict of the key as one value."""
    clash = Clash(ConflictKind.BOTH, "", base.shown(), live.shown(), new.shown(), decision)
    return Inside(new if decision is OnConflict.RELEASE_WINS else live, (clash,))
