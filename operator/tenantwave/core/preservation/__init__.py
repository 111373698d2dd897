"""Preservation: what the tenant changed in its ConfigMaps survives every upgrade and every rollback.

Start with `merge` (forwards) and `merge_back` (rollback). `content` is what they see of a ConfigMap, `patches` what is sent for the
outcome; `sections` goes name by name along `table`, `keys` looks inside a value.
"""

from tenantwave.core.preservation.content import (
    ConfigMapContent,
    Value,
    body_of,
    content_of,
    digest,
    is_never_merged,
    same_configuration,
    values_digest,
    why_never_touched,
    why_too_large,
)
from tenantwave.core.preservation.mending import rule_for
from tenantwave.core.preservation.merge import merge, merge_back, rebase_goal
from tenantwave.core.preservation.patches import changes, field_values, matches, matching_fields, touched_fields
from tenantwave.core.preservation.result import Conflict, ConflictKind, MergeResult
from tenantwave.core.preservation.rules import Format, ListRule, OnConflict, OnUnknownBase, Rule, Rules
from tenantwave.core.preservation.sections import Subject

__all__ = [
    "ConfigMapContent",
    "Conflict",
    "ConflictKind",
    "Format",
    "ListRule",
    "MergeResult",
    "OnConflict",
    "OnUnknownBase",
    "Rule",
    "Rules",
    "Subject",
    "Value",
    "body_of",
    "changes",
    "content_of",
    "digest",
    "field_values",
    "is_never_merged",
    "matches",
    "matching_fields",
    "merge",
    "merge_back",
    "rebase_goal",
    "rule_for",
    "same_configuration",
    "touched_fields",
    "values_digest",
    "why_never_touched",
    "why_too_large",
]
