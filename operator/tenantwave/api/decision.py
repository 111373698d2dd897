"""TenantDecision: what a tenant wants for one upgrade. Immutable; a new one replaces it."""

from typing import Annotated

from pydantic import AfterValidator

from tenantwave.api.conditions import Condition
from tenantwave.api.model import ApiModel, Choice, Rule, about
from tenantwave.api.scalars import Instant, ShortName, one_line

REQUESTED_BY = about(
    "Who asks; an admission policy of the chart lets it only be the requesting user.",
    example="ann@example.com",
    absent="nobody is named: all such requests count as one person",
    max_length=253,
)


class DecisionType(Choice):
    """What a tenant may decide."""

    DEFER = "Defer", "not before `untilTime`"
    OPT_OUT = "OptOut", "not this upgrade"
    OPT_IN = "OptIn", "consent; ends Defer and OptOut"
    OPT_IN_EARLY = "OptInEarly", "consent, and a place in the next wave not started"


class TenantDecisionSpec(ApiModel):
    """What the tenant decides."""

    rules = (
        Rule("self == oldSelf", "must not be changed: a decision is immutable; create a new TenantDecision, the newest counts"),
        Rule("self.type != 'Defer' || has(self.untilTime)", "must have `untilTime` with `type: Defer`, for example 2026-12-20T00:00:00Z"),
    )

    upgrade: Annotated[ShortName, about("The TenantUpgrade that it is about.", example="shop-2-4-0")]
    type: Annotated[DecisionType, about("What is decided.", example="Defer")]
    until_time: Annotated[
        Instant | None, about("Until when; UTC. Required for Defer.", example="2026-12-20T00:00:00Z", absent="without end")
    ] = None
    reason: Annotated[
        str, about("Why.", example="Christmas sale", absent="no reason is shown", max_length=512), AfterValidator(one_line)
    ] = ""
    requested_by: Annotated[str, REQUESTED_BY] = ""


class TenantDecisionStatus(ApiModel):
    """Whether the decision counts."""

    observed_generation: Annotated[int, about("The generation that this status is about; -1 before the first look.", example=1, ge=-1)] = -1
    conditions: Annotated[
        tuple[Condition, ...],
        about(
            "Accepted.",
            example=[{"type": "Accepted", "status": "True", "reason": "Accepted"}],
            absent="not looked at yet",
            max_length=8,
            keys=("type",),
        ),
    ] = ()
