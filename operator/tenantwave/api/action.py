"""UpgradeAction: one order of the platform to one run. Immutable; one object is one command and its audit record."""

from typing import Annotated

from pydantic import AfterValidator

from tenantwave.api.conditions import Condition
from tenantwave.api.decision import REQUESTED_BY
from tenantwave.api.model import ApiModel, Choice, Rule, about
from tenantwave.api.scalars import Instant, LabelValue, Name, ShortName, one_line


class ActionType(Choice):
    """What can be ordered."""

    APPROVE = "Approve", "a wave may start or pass; needs `wave`"
    REJECT = "Reject", "a wave must not start or pass; needs `wave`"
    PAUSE = "Pause", "no more starts until Resume"
    RESUME = "Resume", "ends Pause"
    ABORT = "Abort", "takes back tenants in flight and soaking; needs `reason`"
    RETRY = "Retry", "the next attempt; optional `tenants`"
    SKIP_TENANT = "SkipTenant", "these tenants are skipped; needs `tenants`, `reason`"
    RESOLVE = "Resolve", "settles tenants Held or RollbackFailed; needs `tenants`, `reason`, `resolution`"
    OVERRIDE_GATE = "OverrideGate", "the wave passes on its soak alone; needs `wave`, `reason`"
    OVERRIDE_WINDOW = (
        "OverrideWindow",
        "lifts named factors of starts for a time; needs `tenants` or `wave`, `lifts`, `expireTime`, `reason`",
    )


class Resolution(Choice):
    """How Resolve settles a tenant."""

    ROLLBACK = "Rollback", "it is taken back, later edits kept"
    ACCEPT_LIVE = "AcceptLive", "nothing is written; what runs counts"
    FORCE_PRE_IMAGE = "ForcePreImage", "it is put back as it was, also over later edits, which stay in the snapshot"


class Lift(Choice):
    """What OverrideWindow lifts."""

    TENANT_WINDOWS = "TenantWindows", "whichever windows decide"
    TENANT_FREEZES = "TenantFreezes", "the tenant's freezes"
    PLATFORM_FREEZES = "PlatformFreezes", "the policy's freezes"
    STAFFED_HOURS = "StaffedHours", "the policy's staffed hours"
    NOTICE = "Notice", "the waiting for the notice, never the notice itself"


def _needs(types: tuple[str, ...], field: str, condition: str, sentence: str) -> Rule:
    listed = ", ".join(f"'{each}'" for each in types)
    return Rule(
        f"!(self.type in [{listed}]) || ({condition})", f"must have `{field}` with type {' or '.join(types)}{sentence}", f".{field}"
    )


_HAS_TENANTS = "has(self.tenants) && size(self.tenants) > 0"


class UpgradeActionSpec(ApiModel):
    """One order."""

    rules = (
        Rule("self == oldSelf", "must not be changed: an action is immutable; create a new UpgradeAction"),
        Rule("has(self.run) || self.type in ['Pause', 'Resume']", "must have `run`: take it from `status.run.id` of the TenantUpgrade"),
        _needs(("Approve", "Reject", "OverrideGate"), "wave", "has(self.wave)", ": say which wave"),
        _needs(("SkipTenant", "Resolve"), "tenants", _HAS_TENANTS, ": name them"),
        _needs(
            ("Abort", "SkipTenant", "Resolve", "OverrideGate", "OverrideWindow"),
            "reason",
            "has(self.reason) && size(self.reason) >= 8",
            " (at least 8 characters): say why",
        ),
        _needs(("Resolve",), "resolution", "has(self.resolution)", ": Rollback, AcceptLive or ForcePreImage"),
        Rule("self.type == 'Resolve' || !has(self.resolution)", "must have `resolution` only with type Resolve"),
        Rule(
            f"self.type != 'OverrideWindow' || (has(self.wave) != ({_HAS_TENANTS}))",
            "must have exactly one of `tenants` and `wave` with type OverrideWindow",
        ),
        _needs(
            ("OverrideWindow",),
            "lifts",
            "has(self.lifts) && size(self.lifts) > 0",
            ": name what is lifted, for example `lifts: [TenantWindows]`",
        ),
        _needs(("OverrideWindow",), "expireTime", "has(self.expireTime)", " (at most 72h ahead): say when the override ends"),
        Rule(
            "self.type == 'OverrideWindow' || (!has(self.lifts) && !has(self.expireTime))",
            "must have `lifts` and `expireTime` only with type OverrideWindow",
        ),
    )

    upgrade: Annotated[ShortName, about("The TenantUpgrade that it is about.", example="shop-2-4-0")]
    run: Annotated[
        LabelValue | None,
        about(
            "The run that it is about: `status.run.id`. Optional for Pause and Resume.",
            example="shop-2-4-0-x7f2k-1-a1",
            absent="Pause and Resume count for the upgrade",
        ),
    ] = None
    type: Annotated[ActionType, about("What is ordered.", example="Approve")]
    wave: Annotated[ShortName | None, about("The wave.", example="canary", absent="the order is about no wave")] = None
    tenants: Annotated[
        tuple[Name, ...],
        about(
            "The tenants: names of Namespaces.",
            example=["acme"],
            absent="the order names no tenants (Retry: all)",
            max_length=100,
            extra={"x-kubernetes-list-type": "set"},
        ),
    ] = ()
    reason: Annotated[
        str,
        about("Why, for the record.", example="CHG-4411", absent="no reason is recorded", max_length=512),
        AfterValidator(one_line),
    ] = ""
    resolution: Annotated[
        Resolution | None, about("How Resolve settles the tenants.", example="Rollback", absent="the type is not Resolve")
    ] = None
    lifts: Annotated[
        tuple[Lift, ...],
        about(
            "What OverrideWindow lifts.",
            example=["TenantWindows"],
            absent="the type is not OverrideWindow",
            max_length=5,
            extra={"x-kubernetes-list-type": "set"},
        ),
    ] = ()
    expire_time: Annotated[
        Instant | None,
        about("When OverrideWindow ends; UTC; at most 72h ahead.", example="2026-12-06T05:00:00Z", absent="the type is not OverrideWindow"),
    ] = None
    requested_by: Annotated[str, REQUESTED_BY] = ""


class UpgradeActionStatus(ApiModel):
    """What became of the order."""

    observed_generation: Annotated[int, about("The generation that this status is about; -1 before the first look.", example=1, ge=-1)] = -1
    conditions: Annotated[
        tuple[Condition, ...],
        about(
            "Accepted and Completed.",
            example=[{"type": "Accepted", "status": "True", "reason": "Accepted"}],
            absent="not looked at yet",
            max_length=8,
            keys=("type",),
        ),
    ] = ()
