"""Waves as people write them, and what holds for one where nothing is written.

Defaults depend on a wave's place, so they cannot stand in the schema: `effective_wave` computes them, status shows them.
"""

from dataclasses import dataclass
from datetime import timedelta
from typing import Annotated

from tenantwave.api.meta import LabelSelector
from tenantwave.api.model import ApiModel, Choice, Rule, about
from tenantwave.api.scalars import Duration, IntOrPercent, PositiveDuration, ShortName


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
        IntOrPercent | None,
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
                about(
                    "Hash (stable within a release, different between releases), Name, or label:<key>.",
                    example="label:tenantwave.io/tier",
                    min_length=4,
                    max_length=323,
                    pattern=r"^(Hash|Name|label:[A-Za-z0-9./_-]+)$",
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
        IntOrPercent | None,
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
        about("From the wave's start; past it no more tenants start and the upgrade stalls.", example="24h", absent="no deadline"),
    ] = None


@dataclass(frozen=True, slots=True)
class EffectiveWave:
    """A wave with every default filled in."""

    name: str
    selector: LabelSelector | None
    size: IntOrPercent | None
    coverage: Coverage | None
    order_by: tuple[str, ...]
    max_parallel: IntOrPercent
    soak: timedelta
    free_slot_on: FreeSlotOn
    failure_budget: IntOrPercent
    approval: ApprovalTime
    approval_minimum: int
    deadline: timedelta | None

    @property
    def takes_rest(self) -> bool:
        """Whether the wave takes everyone whom no earlier wave took."""
        return self.selector is None and self.size is None and self.coverage is None

    def slots(self, tenant_count: int) -> int:
        """Return how many of the wave's `tenant_count` tenants may be in flight at once; at least 1."""
        return self.max_parallel.of(tenant_count, floor=1)

    def tolerated_failures(self, tenant_count: int) -> int:
        """Return how many of the wave's `tenant_count` tenants may fail."""
        return self.failure_budget.of(tenant_count)


def effective_wave(wave: Wave, index: int, has_gates: bool = True) -> EffectiveWave:
    """Fill in what `wave`, at place `index` from 0, leaves out. Without gates there is no first verdict: a slot is free when converged."""
    first = index == 0
    default_slot = FreeSlotOn.FIRST_VERDICT if first else FreeSlotOn.CONVERGED
    approval = wave.approval
    return EffectiveWave(
        name=wave.name,
        selector=wave.selector,
        size=wave.size,
        coverage=wave.coverage,
        order_by=wave.order_by or ("Hash",),
        max_parallel=wave.max_parallel or (IntOrPercent(1) if first else IntOrPercent(10, is_percent=True)),
        soak=timedelta(minutes=10) if wave.soak is None else wave.soak,
        free_slot_on=(wave.free_slot_on or default_slot) if has_gates else FreeSlotOn.CONVERGED,
        failure_budget=wave.failure_budget or (IntOrPercent(0) if first else IntOrPercent(2, is_percent=True)),
        approval=approval.when if approval else ApprovalTime.NONE,
        approval_minimum=(approval.minimum if approval else None) or 1,
        deadline=wave.deadline,
    )
