"""What a person can do about a conflict: exact choices in words, and the one rule that would settle it, ready to be pasted."""

import json
import re
from collections.abc import Mapping

from tenantwave.api.scalars import POINTER_PATTERN
from tenantwave.core.preservation.result import ConflictKind
from tenantwave.core.preservation.rules import OnConflict

MAX_PATH = 512
"""Characters that the path of a rule may have."""

MAX_RULE = 1024
"""Characters that a conflict has room for. Where a rule for a path is longer, or its path too long, the rule for its key is shown."""

MAX_INLINE = 200
"""Characters of a rule that a sentence quotes; a longer one stands in the conflict's own field alone."""

CHOICES = {
    ConflictKind.ADD_ADD: "give it one value in the tenant (live) and in {version} (new), or drop one of the two",
    ConflictKind.EDITED_BUT_DROPPED: "delete it in the tenant or set it back to its base value, or bring it back in {version}",
    ConflictKind.DELETED_BUT_CHANGED: "put it back in the tenant with its base value or that of {version} (new), or drop it from {version}",
    ConflictKind.BOTH: "give the tenant its base value or that of {version} (new), or give {version} the tenant's value (live)",
    ConflictKind.UNKNOWN_BASE: (
        "add that entry to the catalogue, or set spec.preservation.onUnknownBase: AssumeLiveIsBase takes what is live for unedited, "
        "TenantWins keeps all of it and adds new keys alone"
    ),
}

_PLAIN = re.compile(r"[A-Za-z/][A-Za-z0-9_./~-]*")
_NO_STRING = re.compile(r"(?i)y|n|yes|no|on|off|true|false|null")
_UNPRINTABLE = re.compile("[\x7f-\x9f\u2028\u2029\ud800-\udfff\ufeff\ufffe\uffff]")


def rule_for(kind: ConflictKind, config_map: str, key: str | None, path: str) -> str:
    """Return the narrowest item of `spec.preservation.rules` that settles a conflict for the tenant, in one line of YAML.

    Appended to the list it wins over every rule that is there: of equally narrow rules the last counts. `key` None stands for labels,
    annotations, `immutable` and the whole object, which only a rule for the whole ConfigMap reaches. '' where no rule settles it.
    """
    if kind is ConflictKind.UNKNOWN_BASE:
        return ""
    place = {"configMap": config_map} | ({"key": key} if key is not None else {})
    if path and len(path) <= MAX_PATH and re.fullmatch(POINTER_PATTERN, path):
        rule = _item(place | {"path": path})
        if len(rule) <= MAX_RULE:
            return rule
    return _item(place)


def mend_for(kind: ConflictKind, version: str, rule: str) -> str:
    """Return what a person can do, in a sentence that does not depend on values: they stand beside it."""
    choices = CHOICES[kind].format(version=version)
    if not rule:
        return choices
    shown = f"rule {rule}" if len(rule) <= MAX_INLINE else "rule shown with the conflict"
    return f"{choices}, or add the {shown} (ReleaseWins takes the release's side)"


def _item(place: Mapping[str, str]) -> str:
    fields = {**place, "onConflict": OnConflict.TENANT_WINS.value}
    return "{" + ", ".join(f"{name}: {_scalar(value)}" for name, value in fields.items()) + "}"


def _scalar(text: str) -> str:
    """Write a string as YAML reads it back, also within braces: plain where nobody could take it for anything else."""
    if _PLAIN.fullmatch(text) and not _NO_STRING.fullmatch(text):
        return text
    return _UNPRINTABLE.sub(lambda found: f"\\u{ord(found.group()):04x}", json.dumps(text, ensure_ascii=False))
