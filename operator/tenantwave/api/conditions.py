"""Conditions, and the one table of all reasons: each with its meaning and what a person does about it."""

from collections.abc import Iterable
from typing import Annotated, Self

from tenantwave.api.model import ApiModel, Choice, about
from tenantwave.api.scalars import Instant


class ConditionStatus(Choice):
    """What a condition says."""

    TRUE = "True", "the condition holds"
    FALSE = "False", "it does not"
    UNKNOWN = "Unknown", "it cannot be told"


class ConditionType(Choice):
    """The conditions that the operator writes."""

    READY = "Ready", "the object is where its spec asks for"
    RECONCILING = "Reconciling", "work goes on; exists only while True"
    STALLED = "Stalled", "nothing goes on until a person acts; exists only while True"
    ACCEPTED = "Accepted", "the plan is computed, or the order is taken"
    COMPLETED = "Completed", "the action has had its whole effect"
    GATES_PASSED = "GatesPassed", "what the gates say"
    CONFIG_PRESERVED = "ConfigPreserved", "whether every tenant's configuration is kept"
    VERSION_SKEW_EXCEEDED = "VersionSkewExceeded", "more versions are in the fleet than the policy wants"
    DRIFTED = "Drifted", "a finished tenant no longer shows the release; reported, never repaired"
    WINDOWS_VALID = "WindowsValid", "whether the tenant's windows and zone can be used"


class Condition(ApiModel):
    """A condition as the Kubernetes API conventions have it."""

    type: Annotated[
        str,
        about(
            "What the condition is about, in CamelCase.",
            example="Ready",
            min_length=1,
            max_length=316,
            pattern=r"^[A-Za-z]([A-Za-z0-9./-]*[A-Za-z0-9])?$",
        ),
    ]
    status: Annotated[ConditionStatus, about("Whether the condition holds.", example="True")]
    observed_generation: Annotated[
        int, about("The `metadata.generation` that this condition is about.", example=1, ge=0, absent="not known")
    ] = 0
    last_transition_time: Annotated[Instant, about("When `status` last changed; UTC.", example="2026-12-06T01:00:00Z")]
    reason: Annotated[
        str,
        about(
            "Why, in one CamelCase word.",
            example="WaveRunning",
            min_length=1,
            max_length=128,
            pattern=r"^[A-Za-z]([A-Za-z0-9_]*[A-Za-z0-9])?$",
        ),
    ]
    message: Annotated[
        str,
        about(
            "Why, in a sentence that says what it waits for and what to do.",
            example="wave canary: 1 of 3 tenants upgraded",
            absent="the reason says it all",
            max_length=2048,
        ),
    ] = ""


def condition_of(conditions: Iterable[Condition], kind: str) -> Condition | None:
    """Return the condition of that type, or None."""
    return next((condition for condition in conditions if condition.type == kind), None)


class Reason(Choice):
    """A reason: a CamelCase word with its meaning and, where a person can do something, the mend."""

    mend: str

    def __new__(cls, value: str, meaning: str = "", mend: str = "") -> Self:
        """Make a reason out of its word, its meaning, and what a person does about it."""
        member = str.__new__(cls, value)
        member._value_ = value
        member.meaning = meaning
        member.mend = mend
        return member


class ReadyReason(Reason):
    """Where an upgrade stands: the reason of its condition Ready. api.md says which is shown when several hold."""

    PLANNING = "Planning", "the plan is being computed", "wait; it takes seconds"
    WAVE_RUNNING = "WaveRunning", "tenants of the current wave are being upgraded"
    SOAKING = "Soaking", "the current wave must stay healthy for its soak"
    ROLLING_BACK = "RollingBack", "tenants are being taken back"
    WAITING_FOR_WINDOW = "WaitingForWindow", "all tenants left wait for their window", "wait, or create an UpgradeAction OverrideWindow"
    NOTICE_PERIOD = "NoticePeriod", "tenants have been told and the notice has not run out", "wait for the time in the message"
    AWAITING_CONSENT = "AwaitingConsent", "tenants have not agreed yet", "have them create a TenantDecision OptIn"
    TENANT_BUSY = "TenantBusy", "another upgrade has the tenants left", "wait for the upgrade in the message, or abort it"
    AWAITING_APPROVAL = "AwaitingApproval", "a wave waits for people", "create an UpgradeAction Approve (or Reject) for that wave"
    PAUSED = "Paused", "somebody paused the upgrade, or the policy did", "create an UpgradeAction Resume when it may go on"
    SUSPENDED = "Suspended", "`spec.suspend` is set: only the plan is made", "remove `spec.suspend` to start"
    GATE_UNKNOWN = (
        "GateUnknown",
        "the metrics cannot be used, so nothing passes and nothing is taken back",
        "mend Prometheus as the message says",
    )
    GATE_INCONCLUSIVE = (
        "GateInconclusive",
        "the evidence is too thin to judge",
        "wait for traffic, set `evaluation.onNoData: Pool`, or override the gate",
    )
    FLEET_INCIDENT = "FleetIncident", "the whole fleet is ill, upgraded or not", "mend the incident; the upgrade goes on by itself"
    ROLLED_BACK = (
        "RolledBack",
        "the upgrade failed and its tenants were taken back",
        "push another version, or create an UpgradeAction Retry",
    )
    ABORTED = "Aborted", "somebody aborted the run", "push another version, or create an UpgradeAction Retry"
    ROLLBACK_FAILED = (
        "RollbackFailed",
        "a tenant could not be taken back completely",
        "look at the tenant and create an UpgradeAction Resolve",
    )
    HELD = (
        "Held",
        "nothing goes on until a person settles the tenants held",
        "mend what the message says, or create an UpgradeAction Resolve or Retry",
    )
    INVALID_SPEC = "InvalidSpec", "the spec or its policy cannot be used", "correct the field in the message"
    POLICY_NOT_FOUND = "PolicyNotFound", "the RolloutPolicy is not there", "apply the policy, or correct `spec.policyRef.name`"
    NO_TENANTS = "NoTenants", "no namespace matches `spec.tenantSelector`", "label the namespaces, or correct the selector"
    UNMATCHED_TENANTS = (
        "UnmatchedTenants",
        "no wave takes some tenants",
        "add a last wave without a selector, or set `unmatched` in the policy",
    )
    EMPTY_FIRST_WAVE = (
        "EmptyFirstWave",
        "the first wave takes nobody, while others wait",
        "label a canary tenant, or correct the first wave",
    )
    CATALOGUE_INCOMPLETE = (
        "CatalogueIncomplete",
        "the release has no entry for a ConfigMap that the tenants' version has",
        'add the catalogue ConfigMap, or one annotated `tenantwave.io/removed: "true"`',
    )
    OWNERSHIP_CONFLICT = (
        "OwnershipConflict",
        "another tool owns a field that the upgrade must write",
        "use that tool's driver, delegate the field, or deselect those tenants",
    )
    DEADLINE_EXCEEDED = (
        "DeadlineExceeded",
        "a wave did not end before its deadline",
        "settle the tenants in the message, then Resume or Retry",
    )
    SUCCEEDED = "Succeeded", "every tenant runs the release and is healthy"
    SUCCEEDED_WITH_SKIPS = (
        "SucceededWithSkips",
        "all waves passed; some tenants were skipped or failed within the budget",
        "see `status.exceptions`",
    )


class DetailReason(Reason):
    """Reasons of the conditions that give detail: of Accepted, GatesPassed, ConfigPreserved, WindowsValid, VersionSkewExceeded, Drifted, a policy."""

    PLANNED = "Planned", "the plan is computed and shown in status"
    VALID = "Valid", "the object can be used"
    INVALID = "Invalid", "the object cannot be used", "correct the field in the message"
    NO_GATES = "NoGates", "the policy has no gates: the soak is time alone"
    HEALTHY = "Healthy", "the gates say Healthy"
    FAILING = "Failing", "a gate says Failing"
    INCONCLUSIVE = "Inconclusive", "the evidence is too thin"
    UNKNOWN = "Unknown", "the metrics cannot be used"
    PRESERVED = "Preserved", "every tenant's configuration is as it should be"
    CONFLICTS = "Conflicts", "some tenants' edits meet the release's own changes", "settle the keys in the message"
    NOT_JUDGED = "NotJudged", "nothing has been judged yet"
    FLEET_INCIDENT = "FleetIncident", "the whole fleet is ill, upgraded or not", "mend the incident; the upgrade goes on by itself"
    OVERRIDDEN = "Overridden", "a person let a wave pass by OverrideGate, whatever its gate says"
    TOO_MANY_VERSIONS = (
        "TooManyVersions",
        "more versions of the product are in use in the fleet than the policy's `alertAboveVersions`",
        "upgrade the tenants of the oldest version, or raise the limit",
    )
    CHANGED_SINCE = (
        "ChangedSince",
        "some tenants were upgraded and no longer show the release; nothing is done about it",
        "find who wrote there, or roll out what is wanted as a release",
    )
    AS_RELEASED = "AsReleased", "every tenant that was upgraded shows the release again"
    FEW_VERSIONS = "FewVersions", "no more versions of the product are in use in the fleet than the policy's `alertAboveVersions`"


class WaitReason(Reason):
    """Why a tenant waits. State `Waiting`: time or another tenant will free it."""

    NOTICE_PERIOD = "NoticePeriod", "the notice has not run out", "wait for the time in the message"
    OUTSIDE_WINDOW = "OutsideWindow", "none of the tenant's windows is open", "wait for the next opening, or OverrideWindow"
    PLATFORM_FREEZE = "PlatformFreeze", "the policy forbids starts now", "wait for the freeze to end, or OverrideWindow"
    TENANT_FREEZE = "TenantFreeze", "the tenant forbids starts now", "wait for the freeze to end, or OverrideWindow"
    NOT_STAFFED = "NotStaffed", "outside `maintenance.staffedHours`", "wait, or OverrideWindow"
    TOO_LITTLE_TIME_LEFT = "TooLittleTimeLeft", "the window closes sooner than `maintenance.minRemaining`", "wait for the next opening"
    DEFERRED = "Deferred", "the tenant asked to wait", "wait for the time in the message"
    OPTED_OUT = "OptedOut", "the tenant opted out for a time", "wait for the time in the message"
    AWAITING_CONSENT = "AwaitingConsent", "the tenant has not agreed yet", "have the tenant create a TenantDecision OptIn"
    INVALID_WINDOWS = "InvalidWindows", "the tenant's windows never open or break a limit", "correct the TenantProfile"
    UNKNOWN_TIME_ZONE = "UnknownTimeZone", "the tenant's zone is no IANA zone", "correct `spec.timeZone` of the TenantProfile"
    CLOCK_SKEW = "ClockSkew", "our clock and the API server's differ too much near an edge of the window", "mend the clocks"
    TENANT_BUSY = "TenantBusy", "another upgrade has this tenant", "wait for that upgrade, or abort it"
    MAX_PARALLEL = "MaxParallel", "all slots of the wave are taken", "wait, or raise the wave's `maxParallel`"
    WAVE_QUEUED = "WaveQueued", "an earlier wave has not passed", "wait"
    UPGRADE_ON_HOLD = "UpgradeOnHold", "the upgrade is suspended, paused or held by its gates", "see the upgrade's condition Ready"


class SkipReason(Reason):
    """Why a tenant is skipped by this run."""

    OPTED_OUT = "OptedOut", "the tenant opted out"
    INCOMPATIBLE_VERSION = (
        "IncompatibleVersion",
        "the tenant's version is outside `release.fromVersions`",
        "upgrade it in steps, or widen `fromVersions`",
    )
    UNMATCHED = "Unmatched", "no wave takes the tenant and `unmatched` is Skip"
    UNSELECTED = "Unselected", "the tenant no longer matches the selector"
    SUPERSEDED = "Superseded", "a younger upgrade to a higher version has the tenant"
    SKIPPED_BY_ACTION = "SkippedByAction", "an UpgradeAction SkipTenant named it"
    ABORTED = "Aborted", "the run was aborted before this tenant was written"
    RESOLVED = "Resolved", "an UpgradeAction Resolve accepted what the tenant runs"


class FailReason(Reason):
    """Why a tenant failed, is held or is taken back."""

    GATE_FAILED = "GateFailed", "a gate judged the tenant Failing", "look at the gate's query; push a repaired version"
    NOT_CONVERGED = "NotConverged", "a component did not become ready in time", "look at the tenant's pods; push a repaired version"
    HOOK_FAILED = "HookFailed", "a hook's Job failed", "look at the Job's log, mend it, then Retry"
    PREFLIGHT_FAILED = "PreflightFailed", "a check before the first write failed", "mend what the message says; the tenant then plans again"
    CONFIG_CONFLICT = (
        "ConfigConflict",
        "the tenant and the release changed the same key",
        "change one of the two, or add a preservation rule",
    )
    UNKNOWN_BASE = (
        "UnknownBase",
        "what the tenant started from is not known",
        "set `release.assumedVersion`, add the catalogue entry, or set `onUnknownBase`",
    )
    OWNERSHIP_CONFLICT = (
        "OwnershipConflict",
        "another tool owns a field that must be written",
        "use that tool's driver or delegate the field",
    )
    NOT_DRIVABLE = "NotDrivable", "the component is there in a form that the driver cannot change", "mend the object as the message says"
    UNVERIFIABLE = "Unverifiable", "the outcome cannot be told", "look at the tenant and Resolve"
    QUOTA_EXCEEDED = "QuotaExceeded", "a quota is too small", "raise the quota"
    SNAPSHOT_CORRUPT = "SnapshotCorrupt", "a saved object does not have its digest", "restore the tenant by hand, then Resolve"
    MUTATED = "Mutated", "a webhook changed what was written", "exempt the fields from the webhook, then Resolve"
    RECREATED = "Recreated", "an object was deleted and made again in mid-run", "look at the tenant and Resolve"
    DELETED = "Deleted", "an object was deleted in mid-run", "look at the tenant and Resolve"
    AMBIGUOUS = "Ambiguous", "it cannot be told whose write is in place", "look at the tenant and Resolve"
    FOREIGN_VERSION_CHANGE = "ForeignVersionChange", "somebody else changed the version in mid-run", "stop the other writer, then Resolve"
    FORWARD_ONLY = "ForwardOnly", "an irreversible step has run", "Retry, or push a repaired version; Resolve to go back or to stay"
    WINDOW_CLOSED = (
        "WindowClosed",
        "the window closed and `onWindowClose` or `maxOverrun` ended the tenant's turn",
        "Retry in the next window",
    )
    WAVE_FAILED = "WaveFailed", "the tenant's wave failed as a whole", "push a repaired version"
    ABORTED = "Aborted", "the run was aborted", "push another version or Retry"


class RunReason(Reason):
    """Other reasons of a TenantRun's state."""

    PLANNED = "Planned", "the tenant has its place in the plan"
    IN_PROGRESS = "InProgress", "the tenant is in this state since the last write"
    ALREADY_AT_RELEASE = "AlreadyAtRelease", "the tenant already ran the release; nothing was written"
    UPGRADED = "Upgraded", "the tenant runs the release and is healthy"
    RUN_ENDED = "RunEnded", "the run ended before it reached the tenant"
    RESOLVED = "Resolved", "an UpgradeAction Resolve settled the tenant"
    ORPHANED = "UpgradeDeleted", "the upgrade was deleted while the tenant soaked"
    ALREADY_ROLLED_BACK = (
        "AlreadyRolledBack",
        "this version was rolled back in the tenant, and nothing new has been asked for since",
        "create an UpgradeAction Retry, or push another version",
    )


class GateReason(Reason):
    """Why a gate says what it says: in `status.waves[].gate`, in its metrics, and in the verdicts of a TenantRun."""

    WITHIN_LIMIT = "WithinLimit", "enough evidence, within the limit"
    ABOVE_LIMIT = "AboveLimit", "enough evidence, beyond `max`", "look at the tenant with the query in status; push a repaired version"
    BELOW_LIMIT = (
        "BelowLimit",
        "below `min` in enough ticks in a row",
        "look at the tenant with the query in status; push a repaired version",
    )
    TRAFFIC_LOST = (
        "TrafficLost",
        "far fewer requests than usual, while other tenants have theirs",
        "look whether requests still reach the tenant",
    )
    LOW_TRAFFIC = "LowTraffic", "too few requests for either answer", "wait for traffic, or set `evaluation.onNoData: Pool`"
    NO_DATA = "NoData", "no series of the tenant, or NaN", "look whether the tenant is scraped, or set `evaluation.onNoData: Pool`"
    NOT_FINITE = "NotFinite", "the query gave infinity", "correct the query: something is divided by zero"
    BOUND_MISSING = "BoundMissing", "the histogram has no bucket of the bound `above`", "set `above` to one of the histogram's bounds"
    FAILING_BEFORE = (
        "FailingBefore",
        "over the limit already before the upgrade: left out for this tenant",
        "mend the tenant, or raise the limit",
    )
    BASELINE_PENDING = "BaselinePending", "beyond the limit, and not known yet whether it was before", "wait for the next tick"
    FIRST_LOOK_PENDING = "FirstLookPending", "the window is shorter than four intervals", "wait; it takes four intervals after the warm-up"
    NOTHING_TO_JUDGE = "NothingToJudge", "every gate that decides is left out for this tenant", "mend what the metrics' reasons say"
    NOT_JUDGED = "NotJudged", "no tick came in time", "see `sourceMessage`"
    BUDGET_EXCEEDED = "BudgetExceeded", "more tenants failed than `failureBudget` tolerates", "push a repaired version, or Retry"
    CATASTROPHIC = "Catastrophic", "the wave as a whole is far beyond any limit", "push a repaired version"
    POOL_FAILING = "PoolFailing", "the tenants with little traffic, judged as one, are beyond the limit", "push a repaired version"
    FLEET_INCIDENT = "FleetIncident", "tenants on their old version are ill, too", "mend the incident; the wave goes on by itself"
    WORSE_THAN_BEFORE = (
        "WorseThanBefore",
        "taken back, the tenant is worse than before the upgrade",
        "look at the tenant: it runs its old version again",
    )
    UNREACHABLE = "Unreachable", "Prometheus cannot be reached, or is too slow", "see the message: address, network policies, `timeout`"
    AUTH_FAILED = "AuthFailed", "Prometheus refuses the credentials", "correct the Secret in the message"
    NOT_PROMETHEUS = "NotPrometheus", "something else answers at this address", "correct `prometheus.url`, with its path prefix"
    REDIRECTED = "Redirected", "Prometheus answers with a redirect, which is never followed", "set `prometheus.url` to where it leads"
    TLS_FAILED = "TLSFailed", "no trusted TLS connection", "put `ca.crt`, or `tls.crt` and `tls.key`, into the Secret"
    QUERY_INVALID = "QueryInvalid", "the query is refused, or its answer cannot be judged", "correct the gate as the message says"
    THROTTLED = "Throttled", "Prometheus asks for fewer questions", "wait, set a longer `evaluation.interval`, or use fewer gates"
    TOO_LARGE = "TooLarge", "the answer is too large", "aggregate by the tenant label, or use a recording rule"
    PARTIAL = "Partial", "some stores did not answer", "mend the store in the message"
    BLIND = "Blind", "Prometheus answers, but has no series of any tenant", "correct the metric's name or `tenantLabel`"
    STALE = "Stale", "the newest sample is too old", "look whether the tenants are scraped, or set `queryDelay`"


class ActionReason(Reason):
    """Answers to an UpgradeAction, in its conditions Accepted and Completed."""

    ACCEPTED = "Accepted", "the order is taken"
    COMPLETED = "Completed", "the order has had its whole effect"
    IN_PROGRESS = "InProgress", "the order is being carried out"
    STALE_RUN = "StaleRun", "the order names another run than the current one", "take the id from `status.run.id` and create a new action"
    NOT_APPLICABLE = "NotApplicable", "the order does not fit the present state", "see the message for when it does"
    UNKNOWN_TARGET = "UnknownTarget", "the upgrade, wave or tenant is not there", "correct the name in a new action"
    EXPIRED = "Expired", "`expireTime` has passed", "create a new action with a later time"
    NOT_SUPPORTED = "NotSupported", "this build does not carry out this type", "use a newer build"


class DecisionReason(Reason):
    """Answers to a TenantDecision, in its condition Accepted."""

    ACCEPTED = "Accepted", "the decision counts"
    SUPERSEDED = "Superseded", "a newer decision of this tenant counts"
    SHORTENED = "Shortened", "the decision counts, but not as long as asked for", "see the limit in the message"
    NOT_ALLOWED = "NotAllowed", "the policy does not let tenants decide this", "ask the platform team"
    TOO_LATE = "TooLate", "the tenant has already started", "ask the platform team"
    UNKNOWN_TARGET = "UnknownTarget", "there is no such upgrade for this tenant", "correct `spec.upgrade` in a new decision"
    INVALID = "Invalid", "the decision cannot be read", "correct the field in the message, in a new decision"


ALL_REASONS: tuple[type[Reason], ...] = (
    ReadyReason,
    DetailReason,
    WaitReason,
    SkipReason,
    FailReason,
    RunReason,
    GateReason,
    ActionReason,
    DecisionReason,
)
