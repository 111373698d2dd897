"""From models to what the API server takes: structural OpenAPI v3 schemas, with CEL, and every field described.

A field's description is composed here, once for `kubectl explain`, the reference and the CRD: what it means, what its values
do, its bounds, `Required.` or its default or what absence means, and an example. A keyword that this converter does not know
stops it: nothing of a model may silently be lost on the way.
"""

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import timedelta
from typing import Any

from pydantic.json_schema import GenerateJsonSchema, JsonSchemaValue

from tenantwave.api.model import ApiModel
from tenantwave.api.scalars import DURATION_PATTERN, PERCENT_PATTERN, IntOrPercent, format_duration

Schema = dict[str, Any]

_COPIED = (
    "type",
    "format",
    "pattern",
    "enum",
    "minLength",
    "maxLength",
    "minimum",
    "maximum",
    "minItems",
    "maxItems",
    "minProperties",
    "maxProperties",
    "required",
    "x-kubernetes-int-or-string",
    "x-kubernetes-preserve-unknown-fields",
    "x-kubernetes-list-type",
    "x-kubernetes-list-map-keys",
    "x-kubernetes-map-type",
)
_READ = ("$ref", "$defs", "anyOf", "title", "description", "examples", "default", "properties", "additionalProperties", "items")
_OURS = ("x-absent", "x-meanings", "x-rules", "x-kubernetes-validations")
_EMPTY: tuple[object, ...] = (None, "", [], {})
_BARE = re.compile(r"^([A-Za-z][A-Za-z0-9_./:@-]*|[0-9]+[dhms][0-9dhms]*|[0-9]+%)$")
_NOT_BARE = {"true", "false", "yes", "no", "on", "off", "null", "none"}


class SchemaError(Exception):
    """A model says something that a structural schema cannot; the message names the place and the mend."""


@dataclass(frozen=True, slots=True)
class Place:
    """Where in a schema we are."""

    path: str
    definitions: Mapping[str, Schema]
    takes_defaults: bool
    """Whether a default may stand here: in a spec, and not inside a list item (argo-cd#28724)."""

    def at(self, name: str) -> "Place":
        """Return the place of a property."""
        return replace(self, path=f"{self.path}.{name}")

    def in_items(self) -> "Place":
        """Return the place of a list's entries."""
        return replace(self, path=f"{self.path}[]", takes_defaults=False)


class _WireSchema(GenerateJsonSchema):
    """Writes defaults as they stand on the wire (by itself pydantic forgets how our own scalars are written), and keeps our order."""

    def sort(self, value: JsonSchemaValue, parent_key: str | None = None) -> JsonSchemaValue:
        """Leave examples in the order in which they are written."""
        return value

    def encode_default(self, dft: Any) -> Any:
        """Return a default as JSON."""
        match dft:
            case timedelta():
                return format_duration(dft)
            case IntOrPercent():
                return dft.wire()
            case _:
                return super().encode_default(dft)


def structural_schema(model: type[ApiModel], path: str, takes_defaults: bool) -> Schema:
    """Return the structural schema of `model`, which stands at `path`. Raises SchemaError for what cannot be said structurally."""
    whole = model.model_json_schema(by_alias=True, mode="validation", schema_generator=_WireSchema)
    return _convert(whole, Place(path, whole.get("$defs", {}), takes_defaults))


def _convert(node: Schema, place: Place) -> Schema:
    flat = _flatten(node, place)
    unknown = [key for key in flat if key not in _COPIED and key not in _READ and key not in _OURS]
    if unknown:
        raise SchemaError(f"{place.path}: unknown schema keyword {', '.join(unknown)}; teach api/schema.py what it becomes")
    result: Schema = {"description": flat["description"]} if flat.get("description") else {}
    result |= {key: flat[key] for key in _COPIED if key in flat}
    default = _default(flat, place)
    if default is not None:
        result["default"] = default
    if "properties" in flat:
        required = flat.get("required", [])
        result["properties"] = {name: _property(child, name in required, place.at(name)) for name, child in flat["properties"].items()}
    if isinstance(flat.get("additionalProperties"), dict):
        result["additionalProperties"] = _convert(flat["additionalProperties"], place.in_items())
    if "items" in flat:
        result["items"] = _convert(flat["items"], place.in_items())
    if rules := [*flat.get("x-kubernetes-validations", ()), *flat.get("x-rules", ())]:
        result["x-kubernetes-validations"] = rules
    _insist_on_bounds(result, place)
    return result


def _flatten(node: Schema, place: Place) -> Schema:
    """Return the node with its reference and its `X | None` written out; what stands nearer to the field wins."""
    flat = dict(node)
    if "$ref" in flat:
        name = str(flat.pop("$ref")).removeprefix("#/$defs/")
        flat = _joined(place.definitions[name], flat)
        return _flatten(flat, place)
    if "anyOf" in flat:
        options = [option for option in flat.pop("anyOf") if option.get("type") != "null"]
        if len(options) != 1:
            raise SchemaError(
                f"{place.path}: a field has one type, or one type and None; make {len(options)} types one, or fields of their own"
            )
        return _flatten(_joined(options[0], flat), place)
    return flat


def _joined(below: Schema, above: Schema) -> Schema:
    rules = [*below.get("x-rules", ()), *above.get("x-rules", ())]
    return {**below, **above} | ({"x-rules": rules} if rules else {})


def _default(flat: Schema, place: Place) -> Any:
    """Return the default that the API server may fill in, or None. An object's is `{}`: its fields bring their own."""
    default = flat.get("default")
    if not place.takes_defaults or default in _EMPTY:
        return None
    return {} if isinstance(default, dict) else default


def _property(node: Schema, is_required: bool, place: Place) -> Schema:
    schema = _convert(node, place)
    flat = _flatten(node, place)
    examples = flat.get("examples")
    if not flat.get("description") or not examples:
        raise SchemaError(f"{place.path}: a field needs a description and an example; declare it with about(...)")
    parts = [flat["description"], _meanings(flat, place), _bounds(flat), _presence(flat, schema, is_required, place)]
    schema["description"] = " ".join(part for part in [*parts, f"Example: {shown(examples[0])}"] if part)
    return {"description": schema.pop("description")} | schema


def _meanings(flat: Schema, place: Place) -> str:
    of_items = _flatten(flat["items"], place) if "items" in flat else {}
    meanings = flat.get("x-meanings") or of_items.get("x-meanings")
    return "; ".join(f"{value}: {meaning}" for value, meaning in meanings.items()) + "." if meanings else ""


def _bounds(flat: Schema) -> str:
    """Say a field's bounds in words, unless a format says them already."""
    if flat.get("x-kubernetes-int-or-string") and flat.get("pattern") == PERCENT_PATTERN:
        return 'A whole number or a percentage such as "10%".'
    low, high = flat.get("minimum"), flat.get("maximum")
    if flat.get("type") == "integer" and high is not None:
        return f"From {low or 0} to {high}."
    if flat.get("type") == "array":
        return f"At most {flat['maxItems']} entries." if not flat.get("minItems") else f"{flat['minItems']} to {flat['maxItems']} entries."
    if "maxProperties" in flat:
        return f"At most {flat['maxProperties']} entries."
    if flat.get("type") == "string" and not {"enum", "format"} & flat.keys() and not _is_duration(flat) and flat.get("maxLength", 0) > 10:
        return f"At most {flat['maxLength']} characters."
    return ""


def _is_duration(flat: Schema) -> bool:
    return bool(flat.get("pattern") == DURATION_PATTERN)


def _presence(flat: Schema, schema: Schema, is_required: bool, place: Place) -> str:
    if is_required:
        return "Required."
    if "default" in schema:
        default = schema["default"]
        return f"Default: {'what its fields say' if default == {} else shown(default)}."
    if absent := flat.get("x-absent"):
        return f"If absent: {absent}."
    default = flat.get("default")
    if default in _EMPTY:
        raise SchemaError(f"{place.path}: say what absence means: about(..., absent=...)")
    return f"If absent: {'what its fields say' if isinstance(default, dict) else shown(default)}."


def shown(value: object) -> str:
    """Write a value as it would stand in a manifest, on one line."""
    if isinstance(value, str):
        return value if _BARE.match(value) and value.lower() not in _NOT_BARE else json.dumps(value, ensure_ascii=False)
    if isinstance(value, Mapping):
        return "{" + ", ".join(f"{key}: {shown(each)}" for key, each in value.items()) + "}"
    if isinstance(value, (list, tuple)):
        return "[" + ", ".join(shown(each) for each in value) + "]"
    return json.dumps(value)


def _insist_on_bounds(schema: Schema, place: Place) -> None:
    """Stop at a list or string without bounds (CEL's cost estimate would refuse the CRD) and at a list without a list type."""
    kind = schema.get("type")
    if kind == "array" and ("maxItems" not in schema or "x-kubernetes-list-type" not in schema):
        raise SchemaError(f"{place.path}: a list needs max_length and a list type (keys=... or extra={{'x-kubernetes-list-type': ...}})")
    if kind == "string" and "enum" not in schema and "maxLength" not in schema:
        raise SchemaError(f"{place.path}: a string needs max_length")
    if kind == "object" and "additionalProperties" in schema and "maxProperties" not in schema:
        raise SchemaError(f"{place.path}: a map needs max_length")
