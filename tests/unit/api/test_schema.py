"""The CRDs: structural, bounded, described; and what the converter refuses."""

from collections.abc import Iterator
from typing import Annotated, Any

import pytest

from tenantwave.api.definitions import AGE, DEFINITIONS, Definition
from tenantwave.api.model import ApiModel, about
from tenantwave.api.schema import Schema, SchemaError, structural_schema

EVERY = pytest.mark.parametrize("definition", DEFINITIONS, ids=lambda definition: definition.kind.name)


def fields(path: str, schema: Schema) -> Iterator[tuple[str, Schema]]:
    """Yield every property, at any depth, with its path."""
    for name, child in schema.get("properties", {}).items():
        yield f"{path}.{name}", child
        yield from fields(f"{path}.{name}", child)
    for key in ("items", "additionalProperties"):
        if isinstance(schema.get(key), dict):
            yield from fields(f"{path}[]", schema[key])


def nodes(path: str, schema: Schema) -> Iterator[tuple[str, Schema]]:
    """Yield every node of a schema."""
    yield path, schema
    for name, child in schema.get("properties", {}).items():
        yield from nodes(f"{path}.{name}", child)
    for key in ("items", "additionalProperties"):
        if isinstance(schema.get(key), dict):
            yield from nodes(f"{path}[]", schema[key])


def spec_and_status(definition: Definition) -> Iterator[tuple[str, Schema]]:
    """Yield the two halves of a kind."""
    schema = definition.schema()["properties"]
    yield "spec", schema["spec"]
    yield "status", schema["status"]


@EVERY
def test_every_field_says_what_it_is_what_absence_means_and_shows_an_example(definition: Definition) -> None:
    """So that `kubectl explain` is all that a newcomer needs."""
    for root, half in spec_and_status(definition):
        for path, schema in fields(root, half):
            text = schema["description"]
            assert "Example: " in text, path
            assert any(word in text for word in ("Required.", "Default: ", "If absent: ")), path
            assert text[0].isupper() or text[0] == "`", path


@EVERY
def test_every_list_string_and_map_is_bounded_and_every_list_says_how_it_is_merged(definition: Definition) -> None:
    """Otherwise the API server's cost estimate refuses the CRD, or two writers overwrite each other's entries."""
    for root, half in spec_and_status(definition):
        for path, schema in nodes(root, half):
            match schema.get("type"):
                case "array":
                    assert "maxItems" in schema, path
                    assert schema["x-kubernetes-list-type"] in ("map", "set", "atomic"), path
                case "string":
                    assert "maxLength" in schema or "enum" in schema, path
                case "object" if "additionalProperties" in schema:
                    assert "maxProperties" in schema, path


@EVERY
def test_no_default_stands_inside_a_list_item(definition: Definition) -> None:
    """The API server would write it into what git owns, and Argo CD would be out of sync for ever."""

    def check(schema: Schema, inside: bool, path: str) -> None:
        assert not (inside and "default" in schema), path
        for name, child in schema.get("properties", {}).items():
            check(child, inside, f"{path}.{name}")
        for key in ("items", "additionalProperties"):
            if isinstance(schema.get(key), dict):
                check(schema[key], True, f"{path}[]")

    check(definition.schema(), False, "")


@EVERY
def test_only_free_form_places_keep_unknown_fields(definition: Definition) -> None:
    """A misspelt field is refused everywhere else."""
    free = {
        path
        for root, half in spec_and_status(definition)
        for path, schema in nodes(root, half)
        if "x-kubernetes-preserve-unknown-fields" in schema
    }
    allowed = {"spec.components[].helmRelease.values", "spec.components[].customResource.value", "spec.hooks[].jobTemplate"}
    assert free <= allowed


@EVERY
def test_names_category_status_and_columns_are_as_the_contract_says(definition: Definition) -> None:
    """kubectl get tenantwave shows all kinds; a fresh object is not yet observed."""
    spec = definition.manifest()["spec"]
    version = spec["versions"][0]
    assert spec["names"]["categories"] == ["tenantwave"]
    assert version["subresources"] == {"status": {}}
    assert version["schema"]["openAPIV3Schema"]["properties"]["status"]["default"] == {"observedGeneration": -1}
    assert version["additionalPrinterColumns"][-1] == AGE.schema()
    assert all(column["description"] for column in version["additionalPrinterColumns"])


@EVERY
def test_every_rule_of_ours_tells_the_mend(definition: Definition) -> None:
    """A sentence that begins with must."""
    for path, schema in nodes("", definition.schema()):
        for rule in schema.get("x-kubernetes-validations", ()):
            assert rule["message"].startswith("must "), path


@EVERY
def test_every_pattern_in_a_spec_comes_with_a_sentence(definition: Definition) -> None:
    """A regular expression alone tells a person nothing."""
    for path, schema in nodes("spec", definition.schema()["properties"]["spec"]):
        assert "pattern" not in schema or "x-kubernetes-validations" in schema, path


class Unbounded(ApiModel):
    """A list that forgot its bound."""

    names: Annotated[tuple[str, ...], about("Names.", example=["a"], absent="none")] = ()


class Undescribed(ApiModel):
    """A field that forgot what it is."""

    name: str = "x"


class TwoTypes(ApiModel):
    """A field of two types."""

    name: Annotated[int | str, about("A name.", example="a")]


class Exotic(ApiModel):
    """A field with a keyword that structural schemas do not have."""

    number: Annotated[int, about("A number.", example=1, multiple_of=3)]


class Silent(ApiModel):
    """An optional field that does not say what its absence means."""

    name: Annotated[str | None, about("A name.", example="a", max_length=3)] = None


@pytest.mark.parametrize(
    ("model", "words"),
    [
        (Unbounded, "needs max_length"),
        (Undescribed, "needs a description and an example|needs max_length"),
        (TwoTypes, "a field has one type"),
        (Exotic, "unknown schema keyword multipleOf"),
        (Silent, "say what absence means"),
    ],
    ids=lambda value: value.__name__ if isinstance(value, type) else "",
)
def test_the_converter_stops_at_what_it_cannot_say(model: type[ApiModel], words: str) -> None:
    """And names the place and the mend."""
    with pytest.raises(SchemaError, match=words):
        structural_schema(model, "spec", takes_defaults=True)


def test_a_field_of_a_model_may_have_any_bound_that_pydantic_knows() -> None:
    """Bounds of the model and of the schema are the same."""

    class Bounded(ApiModel):
        """Has bounds."""

        number: Annotated[int, about("A number.", example=1, ge=1, le=3)] = 2

    schema: dict[str, Any] = structural_schema(Bounded, "spec", takes_defaults=True)["properties"]["number"]
    assert (schema["minimum"], schema["maximum"], schema["default"]) == (1, 3, 2)
    assert schema["description"] == "A number. From 1 to 3. Default: 2. Example: 1"
