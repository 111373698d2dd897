"""Waves as people write them. What holds where nothing is written depends on the place: `defaults` computes it."""

from typing import Annotated

from tenantwave.api.meta import LabelSelector
from tenantwave.api.model import ApiModel, Choice, Rule, about
from tenantwave.api.scalars import Duration, IntOrPercent, PositiveDuration, ShortName, TenantCount, bounded_text


class FreeSlotOn(Choice):
    """When a tenant frees its slot of `maxParallel`."""

    CONVERGED = "Converged", "once all its components run the release"
    FIRST_VERDICT = (
        "FirstVerdict",
        "at the first judged tick that shows neither Unknown nor a sign of Failing; without gates like Converged",
    )


class ApprovalTime(Choice):
    """When people must approve a wave."""

    NONE = "None", "never"
    BEFORE = "Before", "before its first tenant starts"
    AFTER = "After", "before it passes"


class Approval(ApiModel):
    """Whether people must approve a wave, and how many."""

    when: Annotated[ApprovalTime, about("When people must approve.", example="After")]
    minimum: Annotated[int | None, about("How many distinct people.", example=2, absent="1", ge=1, le=10)] = None


class Coverage(ApiModel):
    """A small set of tenants that covers every combination of the labels with this prefix."""

    label_prefix: Annotated[
        str, about("The prefix of the label keys whose combinations count.", example="feature.example.com/", min_length=1, max_length=253)
    ]


class Wave(ApiModel):
    """Tenants that go together. What is left out has a default that depends on the wave's place; status shows what holds."""

    rules = (
        Rule(
            "[has(self.selector), has(self.size), has(self.coverage)].filter(x, x).size() <= 1",
            "must have at most one of `selector`, `size` and `coverage`; split it into two waves",
        ),
    )

    name: Annotated[ShortName, about("A unique name.", example="canary")]
    selector: Annotated[
        LabelSelector | None,
        about(
            "Takes the tenants whose Namespace has these labels.",
            example={"matchLabels": {"tenantwave.io/ring": "canary"}},
            absent="another way of choosing is given, or the wave takes everyone left",
        ),
    ] = None
    size: Annotated[
        TenantCount | None,
        about(
            "Takes so many tenants, or this share of those that no earlier wave took, rounded up.",
            example="10%",
            absent="another way of choosing is given, or the wave takes everyone left",
        ),
    ] = None
    coverage: Annotated[
        Coverage | None,
        about(
            "Takes a small set that covers every combination of labels.",
            example={"labelPrefix": "feature.example.com/"},
            absent="another way of choosing is given, or the wave takes everyone left",
        ),
    ] = None
    order_by: Annotated[
        tuple[
            Annotated[
                str,
                *bounded_text(
                    323, r"^(Hash|Name|label:[A-Za-z0-9./_-]+)$", "must be Hash, Name or label:<key>, such as label:tenantwave.io/tier"
                ),
                about(
                    "Hash (stable within a release, different between releases), Name, or label:<key>.", example="label:tenantwave.io/tier"
                ),
            ],
            ...,
        ],
        about(
            "In which order tenants are taken and started; the next entry breaks ties.",
            example=["label:tenantwave.io/tier", "Hash"],
            absent="Hash",
            max_length=4,
            extra={"x-kubernetes-list-type": "atomic"},
        ),
    ] = ()
    max_parallel: Annotated[
        TenantCount | None,
        about(
            "How many tenants are in flight at once; a share of the wave is rounded down, but at least 1.",
            example=1,
            absent="1 in the first wave, 10% in later ones",
        ),
    ] = None
    soak: Annotated[
        Duration | None, about("How long each tenant, and the wave as a whole, must stay healthy.", example="30m", absent="10m")
    ] = None
    free_slot_on: Annotated[
        FreeSlotOn | None,
        about("When a tenant frees its slot.", example="FirstVerdict", absent="FirstVerdict in the first wave, Converged in later ones"),
    ] = None
    failure_budget: Annotated[
        IntOrPercent | None,
        about(
            "How many failed tenants are tolerated; a share of the wave is rounded down.",
            example="2%",
            absent="0 in the first wave, 2% in later ones",
        ),
    ] = None
    approval: Annotated[
        Approval | None, about("Whether people must approve the wave.", example={"when": "After", "minimum": 1}, absent="nobody is asked")
    ] = None
    deadline: Annotated[
        PositiveDuration | None,
        about(
            "From the start of its first tenant; past it no more tenants start and the upgrade stalls.", example="24h", absent="no deadline"
        ),
    ] = None
