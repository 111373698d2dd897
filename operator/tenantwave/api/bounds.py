"""The last guard before a status is written: what is too long is cut, for the API server would refuse the whole of it.

Writers keep to the bounds by themselves. But a sentence may quote what a person or another program wrote, and one such
sentence must not keep a status from being written for ever.
"""

from functools import cache
from typing import Any

from tenantwave.api.model import ApiModel
from tenantwave.api.schema import Schema, structural_schema

ELLIPSIS = "…"


def bounded_document(status: ApiModel) -> dict[str, Any]:
    """Return `status.document()` with texts cut (they end in an ellipsis) and lists shortened to what the schema allows."""
    document: dict[str, Any] = _cut(status.document(), _schema_of(type(status)))
    return document


@cache
def _schema_of(model: type[ApiModel]) -> Schema:
    return structural_schema(model, "status", takes_defaults=False)


def _cut(value: Any, schema: Schema) -> Any:
    match value:
        case str() if len(value) > schema.get("maxLength", len(value)) and "enum" not in schema:
            return value[: schema["maxLength"] - len(ELLIPSIS)] + ELLIPSIS
        case list():
            return [_cut(each, schema.get("items", {})) for each in value[: schema.get("maxItems", len(value))]]
        case dict():
            fields, values = schema.get("properties", {}), schema.get("additionalProperties", {})
            return {name: _cut(each, fields.get(name, values)) for name, each in value.items()}
        case _:
            return value
