"""What all models of the contract share: frozen values, camelCase on the wire, a description on every field.

The CRDs and the field reference are generated from these models (`schema.py`). So a field says here, once, what it means,
in which unit, what its absence means, and shows one example: `about(...)` takes all of it.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from functools import cache
from typing import Any, ClassVar, Self

from pydantic import BaseModel, ConfigDict, Field, GetJsonSchemaHandler, SerializerFunctionWrapHandler, model_serializer
from pydantic.alias_generators import to_camel
from pydantic.json_schema import JsonSchemaValue
from pydantic_core import CoreSchema


@dataclass(frozen=True, slots=True)
class Rule:
    """One CEL rule of the API server: `expression` must hold, else `message` ("must ...", with the mend) is what the user reads.

    `field_path`, such as `.gates`, is the field below the rule's own place that the refusal points at.
    """

    expression: str
    message: str
    field_path: str = ""

    def schema(self) -> dict[str, str]:
        """Return the rule as an entry of `x-kubernetes-validations`."""
        path = {"fieldPath": self.field_path} if self.field_path else {}
        return {"rule": self.expression, "message": self.message} | path


class Choice(StrEnum):
    """An enum of the contract: CamelCase on the wire; each value says what it does, which `kubectl explain` shows."""

    _value_: str
    meaning: str

    def __new__(cls, value: str, meaning: str = "") -> Self:
        """Make a member out of its value and one clause that says what it does."""
        member = str.__new__(cls, value)
        member._value_ = value
        member.meaning = meaning
        return member

    @classmethod
    def __get_pydantic_json_schema__(cls, core_schema: CoreSchema, handler: GetJsonSchemaHandler) -> JsonSchemaValue:
        """Add what each value does."""
        schema = handler.resolve_ref_schema(handler(core_schema))
        schema["x-meanings"] = {member.value: member.meaning for member in cls if member.meaning}
        return schema


_EMPTY: tuple[object, ...] = (None, "", (), {})


class ApiModel(BaseModel):
    """A frozen part of the contract. Attributes are snake_case, the wire is camelCase, unknown fields are refused."""

    model_config = ConfigDict(frozen=True, extra="forbid", alias_generator=to_camel, populate_by_name=True, validate_default=False)
    rules: ClassVar[Sequence[Rule]] = ()

    @classmethod
    def __get_pydantic_json_schema__(cls, core_schema: CoreSchema, handler: GetJsonSchemaHandler) -> JsonSchemaValue:
        """Add the class's CEL rules to its schema."""
        schema = handler.resolve_ref_schema(handler(core_schema))
        if cls.rules:
            schema["x-kubernetes-validations"] = [rule.schema() for rule in cls.rules]
        return schema

    @model_serializer(mode="wrap")
    def _without_empties(self, handler: SerializerFunctionWrapHandler) -> dict[str, Any]:
        """Leave out what is empty and would be read back as empty: git and status show only what says something."""
        whole: dict[str, Any] = handler(self)
        for name, alias in _fields_that_may_be_left_out(type(self)):
            value = getattr(self, name)
            if not value and value in _EMPTY:  # what is truthy is not compared: that would be four comparisons of whole models
                whole.pop(name, None)
                whole.pop(alias, None)
        return whole

    def document(self) -> dict[str, Any]:
        """Return the value as plain JSON types with the wire's names, absent fields left out: what a manifest or a status holds."""
        return self.model_dump(mode="json", by_alias=True, exclude_none=True)


@cache
def _fields_that_may_be_left_out(model: type[BaseModel]) -> tuple[tuple[str, str], ...]:
    """Return (attribute, alias) of the fields whose absence is read as empty."""
    fields = model.model_fields.items()
    return tuple((name, field.alias or name) for name, field in fields if not field.is_required() and field.default in _EMPTY)


def about(
    text: str,
    *,
    example: object,
    absent: str = "",
    rules: Sequence[Rule] = (),
    keys: Sequence[str] = (),
    extra: dict[str, Any] | None = None,
    **constraints: Any,
) -> Any:
    """Describe one field, for use inside `Annotated`.

    Args:
        text: what it means and its unit; sentences. Enum values, bounds, "Required." and defaults are added by the generator.
        example: a value as it stands in a manifest.
        absent: what it means when an optional field without default is left out.
        rules: CEL rules of this field.
        keys: fields that name an entry: the list is a map by them. Without them a list of scalars given as a `set` says so in `extra`.
        constraints: pydantic's own bounds (`max_length`, `ge`, `le`, `pattern`).
    """
    schema: dict[str, Any] = dict(extra or {})
    if absent:
        schema["x-absent"] = absent
    if rules:
        schema["x-rules"] = [rule.schema() for rule in rules]
    if keys:
        schema |= {"x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": list(keys)}
    return Field(description=text, examples=[example], json_schema_extra=schema or None, **constraints)
