"""Names that are part of the contract (group, kinds, labels, annotations) and label selectors."""

from collections.abc import Iterable, Mapping
from datetime import datetime
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field
from pydantic.alias_generators import to_camel

from tenantwave.api.kinds import (
    AUTHORIZED_PRODUCT_ANNOTATION,
    CONFIG_DIGEST_ANNOTATION,
    FIELD_MANAGER,
    FINALIZER,
    GROUP,
    INTENT_ANNOTATION,
    PRODUCT_LABEL,
    REMOVED_ANNOTATION,
    RUN_LABEL,
    SNAPSHOT_TYPE,
    TARGET_ANNOTATION,
    TENANT_LABEL,
    UPGRADE_LABEL,
    VERSION,
    VERSION_LABEL,
    WAVE_LABEL,
)
from tenantwave.api.model import ApiModel, Choice, Rule, about
from tenantwave.api.scalars import Instant, ObjectName

__all__ = [  # the names of `kinds` are at home here, too
    "API_VERSION",
    "AUTHORIZED_PRODUCT_ANNOTATION",
    "CATEGORY",
    "CONFIG_DIGEST_ANNOTATION",
    "FIELD_MANAGER",
    "FINALIZER",
    "GROUP",
    "INTENT_ANNOTATION",
    "LEASE_NAME",
    "PRODUCT_LABEL",
    "PROFILE_NAME",
    "REMOVED_ANNOTATION",
    "RUN_LABEL",
    "SNAPSHOT_TYPE",
    "TARGET_ANNOTATION",
    "TENANT_LABEL",
    "UPGRADE_LABEL",
    "VERSION",
    "VERSION_LABEL",
    "WAVE_LABEL",
    "LabelRequirement",
    "LabelSelector",
    "ObjectMeta",
    "ObjectRef",
    "PolicyReference",
    "SelectorOperator",
    "run_id",
    "selected",
    "tenant_run_name",
]

API_VERSION = f"{GROUP}/{VERSION}"
CATEGORY = "tenantwave"
LEASE_NAME = "tenantwave"
PROFILE_NAME = "tenant"


def run_id(upgrade: str, uid: str, generation: int, attempt: int) -> str:
    """Return the id of a run: `<upgrade>-<first 5 characters of its UID>-<generation that began it>-a<attempt>`."""
    return f"{upgrade}-{uid[:5]}-{generation}-a{attempt}"


def tenant_run_name(upgrade: str, tenant: str) -> str:
    """Return the name of the TenantRun of one tenant in one upgrade; a dot cannot stand in a tenant's name, so names never collide."""
    return f"{upgrade}.{tenant}"


class ObjectMeta(BaseModel):
    """The part of an object's metadata that we read. What else the API server knows is left aside."""

    model_config = ConfigDict(frozen=True, extra="ignore", alias_generator=to_camel, populate_by_name=True)

    name: str
    namespace: str | None = None
    uid: str = ""
    generation: int = 0
    resource_version: str = ""
    creation_timestamp: Instant | None = None
    deletion_timestamp: Instant | None = None
    labels: dict[str, str] = {}
    annotations: dict[str, str] = {}
    finalizers: tuple[str, ...] = ()

    @property
    def created_time(self) -> datetime | None:
        """When the object was created, by the API server's clock."""
        return self.creation_timestamp


class SelectorOperator(Choice):
    """How a label expression compares."""

    IN = "In", "the label has one of `values`"
    NOT_IN = "NotIn", "the label is absent or has none of `values`"
    EXISTS = "Exists", "the label is there"
    DOES_NOT_EXIST = "DoesNotExist", "the label is absent"


class LabelRequirement(ApiModel):
    """One expression over one label."""

    rules = (
        Rule(
            "(self.operator in ['In', 'NotIn']) == (has(self.values) && size(self.values) > 0)",
            "must have `values` with the operators In and NotIn, and none with Exists and DoesNotExist",
        ),
    )

    key: Annotated[str, about("The key of the label.", example="tenantwave.io/ring", min_length=1, max_length=317)]
    operator: Annotated[SelectorOperator, about("How the label is compared.", example="In")]
    values: Annotated[
        tuple[Annotated[str, about("A value of the label; may be empty.", example="canary", max_length=63)], ...],
        about(
            "The values to compare with.",
            example=["canary"],
            absent="none, as Exists and DoesNotExist want it",
            max_length=50,
            extra={"x-kubernetes-list-type": "set"},
        ),
    ] = ()

    def holds(self, labels: Mapping[str, str]) -> bool:
        """Tell whether an object with `labels` satisfies the expression, as the API server would judge it."""
        match self.operator:
            case SelectorOperator.IN:
                return labels.get(self.key) in self.values
            case SelectorOperator.NOT_IN:
                return labels.get(self.key) not in self.values
            case SelectorOperator.EXISTS:
                return self.key in labels
            case SelectorOperator.DOES_NOT_EXIST:
                return self.key not in labels


class LabelSelector(ApiModel):
    """A selector over labels. All parts must hold; an empty selector takes everything."""

    match_labels: Annotated[
        dict[str, Annotated[str, about("The value that the label must have; may be empty.", example="canary", max_length=63)]],
        about(
            "Labels that must have exactly these values.",
            example={"tenantwave.io/ring": "canary"},
            absent="no exact values are asked for",
            max_length=16,
        ),
    ] = Field(default={})
    match_expressions: Annotated[
        tuple[LabelRequirement, ...],
        about(
            "Expressions over labels, all of which must hold.",
            example=[{"key": "tenantwave.io/ring", "operator": "Exists"}],
            absent="no expressions are asked for",
            max_length=16,
            extra={"x-kubernetes-list-type": "atomic"},
        ),
    ] = ()

    def matches(self, labels: Mapping[str, str]) -> bool:
        """Tell whether an object with `labels` is selected."""
        exact = all(labels.get(key) == value for key, value in self.match_labels.items())
        return exact and all(requirement.holds(labels) for requirement in self.match_expressions)

    @property
    def only_excludes(self) -> bool:
        """Whether nothing is asked for by name: such a selector would take every namespace that exists or is ever made."""
        wanted = (SelectorOperator.IN, SelectorOperator.EXISTS)
        return not self.match_labels and not any(requirement.operator in wanted for requirement in self.match_expressions)


def selected(selector: LabelSelector, objects: Iterable[tuple[str, Mapping[str, str]]]) -> tuple[str, ...]:
    """Return the names, out of (name, labels), that `selector` takes, in the order given."""
    return tuple(name for name, labels in objects if selector.matches(labels))


class PolicyReference(ApiModel):
    """A RolloutPolicy by name."""

    name: Annotated[ObjectName, about("The name of a RolloutPolicy.", example="standard")]


class ObjectRef(ApiModel):
    """One object of a tenant that a run reads or writes."""

    api_version: Annotated[str, about("The object's apiVersion.", example="apps/v1", min_length=1, max_length=253)]
    kind: Annotated[str, about("The object's kind.", example="Deployment", min_length=1, max_length=63)]
    namespace: Annotated[str, about("The object's namespace.", example="acme", max_length=63, absent="the object has no namespace")] = ""
    name: Annotated[str, about("The object's name.", example="api", min_length=1, max_length=253)]
