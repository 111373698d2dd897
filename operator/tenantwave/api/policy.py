"""RolloutPolicy: how to roll out. Waves, gates, windows, notice, failure handling; one policy serves many upgrades."""

from typing import Annotated

from pydantic import Field

from tenantwave.api.conditions import Condition
from tenantwave.api.gating import (
    Evaluation,
    Gate,
    GateMode,
    Latency,
    OnNoData,
    OnUnknown,
    Prometheus,
    Ratio,
    SecretReference,
    UnknownAction,
)
from tenantwave.api.model import ApiModel, Choice, Rule, about
from tenantwave.api.scalars import Duration, IntOrPercent, PositiveDuration, TenantCount, ZoneName, parse_duration
from tenantwave.api.waves import Approval, ApprovalTime, Coverage, FreeSlotOn, Wave
from tenantwave.api.windows import (
    DAYS_EXAMPLE,
    MAX_FREEZES,
    MAX_WINDOWS,
    DateRange,
    Day,
    Freeze,
    Hours,
    Monthly,
    Once,
    StaffedHours,
    Weekly,
    WeekOfMonth,
    Window,
    Yearly,
)

__all__ = [
    "Approval",
    "ApprovalTime",
    "Consent",
    "Coverage",
    "DateRange",
    "Day",
    "Evaluation",
    "FreeSlotOn",
    "Freeze",
    "Gate",
    "GateMode",
    "Hours",
    "Latency",
    "Maintenance",
    "Monthly",
    "NoticePolicy",
    "OnFailure",
    "OnNoData",
    "OnUnknown",
    "OnWindowClose",
    "Once",
    "Prometheus",
    "Ratio",
    "Rollback",
    "RolloutPolicySpec",
    "RolloutPolicyStatus",
    "SecretReference",
    "StaffedHours",
    "Stragglers",
    "TenantFailure",
    "TenantLimits",
    "UnknownAction",
    "Unmatched",
    "Wave",
    "WaveFailure",
    "WeekOfMonth",
    "Weekly",
    "WhenNoWindow",
    "Window",
    "Yearly",
    "ZoneName",
]


class Unmatched(Choice):
    """What happens to tenants that no wave takes."""

    FAIL = "Fail", "the upgrade stalls and names them"
    LAST_WAVE = "LastWave", "they join the last wave"
    SKIP = "Skip", "they are skipped"


class WhenNoWindow(Choice):
    """What holds for tenants without any window."""

    OPEN = "Open", "they may start at any time"
    CLOSED = "Closed", "they never start"


class OnWindowClose(Choice):
    """What happens to a tenant in flight when its window closes."""

    FINISH = "Finish", "it goes on, for `maxOverrun` at most"
    PAUSE = "Pause", "it stays as it is and is Held"
    ROLLBACK = "Rollback", "it is taken back"


class Consent(Choice):
    """Whether tenants decide."""

    OPT_OUT = "OptOut", "tenants may opt out"
    OPT_IN = "OptIn", "tenants must agree first"
    MANDATORY = "Mandatory", "tenants cannot opt out"


class TenantFailure(Choice):
    """What follows when one tenant fails after a write."""

    ROLLBACK = "Rollback", "it alone is taken back"
    PAUSE = "Pause", "it becomes Held as it is, and the upgrade pauses"


class WaveFailure(Choice):
    """What follows when a wave is over its failureBudget, or its own gate says Failing. No more tenants start."""

    PAUSE = "Pause", "nobody is taken back; the upgrade pauses"
    ROLLBACK_UNPROVEN = "RollbackUnproven", "over budget: tenants in flight and soaking; gate of the wave Failing: all of the wave"
    ROLLBACK_WAVE = "RollbackWave", "always all of the wave"
    ROLLBACK_UPGRADE = "RollbackUpgrade", "all waves"


class Stragglers(ApiModel):
    """When a wave stops waiting for tenants whose window is far away."""

    min_completed: Annotated[IntOrPercent, about("So many of the wave must be through, or this share, rounded up.", example="80%")] = Field(
        default=IntOrPercent(80, is_percent=True)
    )
    max_wait: Annotated[PositiveDuration, about("How long the wave waits after that.", example="72h")] = parse_duration("72h")


class TenantLimits(ApiModel):
    """How much a tenant may close."""

    max_deferral: Annotated[PositiveDuration | None, about("How long a tenant may defer.", example="30d", absent="no limit")] = None
    max_freeze_days_per_year: Annotated[
        int | None, about("How many days a year a tenant may freeze.", example=120, absent="no limit", ge=0, le=366)
    ] = None
    min_open_per32_days: Annotated[
        PositiveDuration | None,
        about("How long a tenant's windows must be open in any 32 days.", example="8h", absent="no limit", alias="minOpenPer32Days"),
    ] = None


class Maintenance(ApiModel):
    """When tenants may start."""

    when_no_window: Annotated[
        WhenNoWindow | None, about("What holds for tenants without any window.", example="Open", absent="`defaultWindows` decides")
    ] = None
    default_time_zone: Annotated[
        ZoneName, about("The IANA zone for default windows, freezes and tenants that state none.", example="Europe/Berlin")
    ] = "UTC"
    default_windows: Annotated[
        tuple[Window, ...],
        about(
            "For tenants that state none; never merged with a tenant's own.",
            example=[{"name": "nightly", "weekly": {"days": DAYS_EXAMPLE, "start": "02:00", "duration": "3h"}}],
            absent="`whenNoWindow` decides",
            max_length=MAX_WINDOWS,
            keys=("name",),
        ),
    ] = ()
    freezes: Annotated[
        tuple[Freeze, ...],
        about(
            "Forbidden time for all tenants of upgrades by this policy; no tenant can lift it.",
            example=[{"name": "year-end", "yearly": {"from": "12-01", "to": "02-29"}}],
            absent="no freezes",
            max_length=MAX_FREEZES,
            keys=("name",),
        ),
    ] = ()
    staffed_hours: Annotated[
        StaffedHours | None,
        about(
            "When the platform has people at work; a start needs them.",
            example={"timeZone": "Europe/Rome", "weekly": [{"days": ["Mon"], "start": "00:00", "duration": "12h"}]},
            absent="a start needs no staff",
        ),
    ] = None
    min_remaining: Annotated[Duration, about("A tenant starts only if its opening lasts this much longer.", example="15m")] = (
        parse_duration("15m")
    )
    on_window_close: Annotated[OnWindowClose, about("What happens to the tenant in flight when its window closes.", example="Finish")] = (
        OnWindowClose.FINISH
    )
    max_overrun: Annotated[Duration, about("How long a tenant in flight may go on after its window closed.", example="1h")] = (
        parse_duration("1h")
    )
    stragglers: Annotated[
        Stragglers | None,
        about(
            "When a wave stops waiting for far windows.",
            example={"minCompleted": "80%", "maxWait": "72h"},
            absent="a wave waits for all its tenants",
        ),
    ] = None
    tenant_limits: Annotated[
        TenantLimits | None, about("How much a tenant may close.", example={"maxDeferral": "30d"}, absent="no limits")
    ] = None


class NoticePolicy(ApiModel):
    """How long before its start a tenant is told."""

    lead: Annotated[Duration, about("How long before.", example="7d")] = parse_duration("0s")
    required: Annotated[bool, about("Whether a tenant starts only after proof that it was told.", example=True)] = False
    emergency_lead: Annotated[Duration, about("The lead of an upgrade with `urgency: Security`, if shorter.", example="1h")] = (
        parse_duration("1h")
    )


class OnFailure(ApiModel):
    """What follows a failure."""

    tenant: Annotated[TenantFailure, about("When one tenant fails after a write.", example="Rollback")] = TenantFailure.ROLLBACK
    wave: Annotated[
        WaveFailure, about("When a wave is over its failureBudget or its own gate says Failing.", example="RollbackUnproven")
    ] = WaveFailure.ROLLBACK_UNPROVEN


class Rollback(ApiModel):
    """How tenants are taken back. Windows and freezes never hold a rollback."""

    deadline: Annotated[PositiveDuration, about("How long one tenant's rollback may take.", example="30m")] = parse_duration("30m")
    max_parallel: Annotated[
        TenantCount,
        about("How many are taken back at once; a share of those to take back is rounded down, but at least 1.", example="50%"),
    ] = Field(default=IntOrPercent(50, is_percent=True))


class RolloutPolicySpec(ApiModel):
    """How to roll out."""

    rules = (
        Rule(
            "self.waves.all(w, has(w.selector) || has(w.size) || has(w.coverage) || w.name == self.waves[self.waves.size() - 1].name)",
            "must have a wave without `selector`, `size` and `coverage` only as the last one of `waves`: it takes everyone left",
            ".waves",
        ),
        Rule(
            "(has(self.gates) && size(self.gates) > 0) || (has(self.allowNoGates) && self.allowNoGates)",
            "must have at least one entry in `gates`, or `allowNoGates: true` to roll out on time alone",
            ".gates",
        ),
        Rule(
            "!has(self.gates) || size(self.gates) == 0 || has(self.prometheus)",
            "must have `prometheus` when there are `gates`, for example `prometheus: {url: http://prometheus.monitoring:9090}`",
            ".prometheus",
        ),
        Rule(
            "has(self.maintenance) && (has(self.maintenance.whenNoWindow)"
            " || (has(self.maintenance.defaultWindows) && size(self.maintenance.defaultWindows) > 0))",
            "must have `maintenance.whenNoWindow` (Open or Closed) or `maintenance.defaultWindows`:"
            " say what holds for tenants without windows",
            ".maintenance",
        ),
    )

    waves: Annotated[
        tuple[Wave, ...],
        about(
            "The waves, in order. A wave without `selector`, `size` and `coverage` takes everyone left and must be the last.",
            example=[{"name": "canary", "selector": {"matchLabels": {"tenantwave.io/ring": "canary"}}}, {"name": "rest"}],
            min_length=1,
            max_length=20,
            keys=("name",),
        ),
    ]
    unmatched: Annotated[Unmatched, about("What happens to tenants that no wave takes.", example="Fail")] = Unmatched.FAIL
    prometheus: Annotated[
        Prometheus | None,
        about("Where the gates get their numbers.", example={"url": "https://prometheus.monitoring:9090"}, absent="there are no gates"),
    ] = None
    gates: Annotated[
        tuple[Gate, ...],
        about(
            "The checks on metrics that a tenant and a wave must pass.",
            example=[{"name": "restarts", "increase": "kube_pod_container_status_restarts_total", "max": 2}],
            absent="no gates; needs `allowNoGates: true`",
            max_length=16,
            keys=("name",),
        ),
    ] = ()
    allow_no_gates: Annotated[bool, about("Whether the policy may have no gates, so that the soak is time alone.", example=True)] = False
    evaluation: Annotated[Evaluation, about("How gates are evaluated.", example={"interval": "30s", "warmUp": "1m"})] = Evaluation()
    maintenance: Annotated[
        Maintenance, about("When tenants may start; needs `whenNoWindow` or `defaultWindows`.", example={"whenNoWindow": "Open"})
    ] = Maintenance()
    notice: Annotated[NoticePolicy, about("How long before its start a tenant is told.", example={"lead": "7d", "required": True})] = (
        NoticePolicy()
    )
    consent: Annotated[Consent, about("Whether tenants decide.", example="OptOut")] = Consent.OPT_OUT
    on_failure: Annotated[OnFailure, about("What follows a failure.", example={"tenant": "Rollback", "wave": "RollbackUnproven"})] = (
        OnFailure()
    )
    rollback: Annotated[Rollback, about("How tenants are taken back.", example={"deadline": "30m", "maxParallel": "50%"})] = Rollback()
    alert_above_versions: Annotated[
        int | None,
        about(
            "Alert when more distinct versions of one product are in the fleet; blocks nothing.",
            example=2,
            absent="no alert",
            ge=1,
            le=1000,
        ),
    ] = None


class RolloutPolicyStatus(ApiModel):
    """Whether the policy can be used."""

    observed_generation: Annotated[
        int, about("The generation that the conditions are about; -1 before the first look.", example=1, ge=-1)
    ] = -1
    conditions: Annotated[
        tuple[Condition, ...],
        about(
            "Ready and Stalled.",
            example=[{"type": "Ready", "status": "True", "reason": "Valid"}],
            absent="not looked at yet",
            max_length=8,
            keys=("type",),
        ),
    ] = ()
