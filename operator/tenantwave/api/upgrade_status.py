"""What the operator answers on a TenantUpgrade: conditions, run, counts, waves, exceptions, versions, what comes next."""

from typing import Annotated

from tenantwave.api.conditions import Condition
from tenantwave.api.model import ApiModel, Choice, about
from tenantwave.api.scalars import Duration, Instant, Sentence

MAX_EXCEPTIONS = 20


class Verdict(Choice):
    """What a gate says."""

    HEALTHY = "Healthy", "enough evidence, within the limit"
    INCONCLUSIVE = "Inconclusive", "too little evidence: holds"
    UNKNOWN = "Unknown", "no usable answer: holds"
    FAILING = "Failing", "enough evidence, beyond the limit"


class WaveState(Choice):
    """Where a wave stands."""

    QUEUED = "Queued", "an earlier wave has not passed"
    WAITING = "Waiting", "its tenants wait for time"
    RUNNING = "Running", "tenants are in flight"
    SOAKING = "Soaking", "it must stay healthy"
    AWAITING_APPROVAL = "AwaitingApproval", "people must approve"
    PASSED = "Passed", "done"
    FAILED = "Failed", "over its budget or its gate says Failing"
    ROLLING_BACK = "RollingBack", "its tenants are being taken back"
    ROLLED_BACK = "RolledBack", "its tenants were taken back"


def _count(text: str) -> object:
    return about(text, example=2, ge=0)


class MetricStatus(ApiModel):
    """The last look of one gate. Numbers are decimal strings."""

    name: Annotated[str, about("The gate's name.", example="errors", max_length=63)]
    verdict: Annotated[Verdict, about("What the gate says.", example="Healthy")]
    reason: Annotated[str, about("Why, in one CamelCase word.", example="AboveLimit", absent="the verdict says it all", max_length=63)] = ""
    bad: Annotated[str | None, about("Bad events counted.", example="3", absent="not counted", max_length=40)] = None
    total: Annotated[str | None, about("All events counted.", example="1902", absent="not counted", max_length=40)] = None
    value: Annotated[str | None, about("The value that is compared.", example="0.0016", absent="no value", max_length=40)] = None
    limit: Annotated[str | None, about("The limit it is compared with.", example="0.01", absent="no limit", max_length=40)] = None
    log_e: Annotated[
        str | None, about("Natural logarithm of the evidence against health.", example="20.8", absent="not computed", max_length=40)
    ] = None
    p: Annotated[
        str | None,
        about(
            "Probability of so many more failing tenants than in the control, were the release without fault; 0 to 1.",
            example="0.00012",
            absent="not compared, or a tenant's own",
            max_length=40,
        ),
    ] = None
    dispersion: Annotated[
        str | None,
        about(
            "How many times more unevenly bad events come than by chance alone.", example="3.2", absent="not measured yet", max_length=40
        ),
    ] = None
    window: Annotated[Duration | None, about("The time that the numbers cover.", example="8m", absent="not known")] = None
    mode: Annotated[str | None, about("Observe, if the gate has no effect.", example="Observe", absent="Enforce", max_length=16)] = None
    query: Annotated[
        str | None,
        about("The PromQL, to ask again by hand.", example="sum by (namespace) (http_requests_total)", absent="not shown", max_length=2048),
    ] = None
    message: Annotated[
        str | None,
        about("The verdict in a sentence.", example="3 of 1902 requests failed, allowed 1%", absent="no sentence", max_length=1024),
    ] = None


class ControlStatus(ApiModel):
    """The tenants still on their old version that a wave is compared with. Their names are not shown."""

    tenants: Annotated[int, _count("How many are measured, 1,000 at most.")] = 0
    failing: Annotated[int, _count("How many of them fail the same gates now.")] = 0
    ill: Annotated[
        bool, about("Whether so many fail that the whole fleet is ill, whoever runs the release.", example=False, absent="they are well")
    ] = False


class GateStatus(ApiModel):
    """What the gates say together."""

    verdict: Annotated[Verdict, about("The verdict of all gates together.", example="Healthy")]
    reason: Annotated[
        str, about("Why, in one CamelCase word.", example="BudgetExceeded", absent="the verdict says it all", max_length=63)
    ] = ""
    message: Annotated[
        Sentence, about("The verdict in a sentence.", example="errors: 36 of 903 requests failed, allowed 1%", absent="no sentence")
    ] = ""
    evaluation_time: Annotated[
        Instant | None, about("The `time` of the queries; UTC.", example="2026-12-06T01:10:00Z", absent="never evaluated")
    ] = None
    source: Annotated[
        str | None, about("Whether the source of metrics is Ok, Degraded or Down.", example="Ok", absent="not asked yet", max_length=16)
    ] = None
    source_message: Annotated[
        str | None,
        about(
            "What is wrong with the source, and what to do about it.",
            example="Prometheus cannot be reached",
            absent="nothing is",
            max_length=512,
        ),
    ] = None
    coverage: Annotated[str | None, about("The share of ticks with fresh data.", example="97%", absent="not known", max_length=8)] = None
    judged: Annotated[int | None, about("Tenants judged.", example=3, absent="not counted", ge=0)] = None
    healthy: Annotated[int | None, about("Tenants Healthy.", example=3, absent="not counted", ge=0)] = None
    failing: Annotated[int | None, about("Tenants Failing.", example=0, absent="not counted", ge=0)] = None
    inconclusive: Annotated[int | None, about("Tenants Inconclusive.", example=0, absent="not counted", ge=0)] = None
    without_data: Annotated[int | None, about("Tenants without data.", example=0, absent="not counted", ge=0)] = None
    failing_tenants: Annotated[
        tuple[Annotated[str, about("A tenant's name.", example="acme", max_length=63)], ...],
        about(
            "Names of tenants that fail; at most 10.",
            example=["acme"],
            absent="none",
            max_length=10,
            extra={"x-kubernetes-list-type": "set"},
        ),
    ] = ()
    control: Annotated[
        ControlStatus | None,
        about(
            "The tenants on their old version that the wave is compared with.",
            example={"tenants": 240, "failing": 0},
            absent="not compared yet, or a tenant's own",
        ),
    ] = None
    can_find: Annotated[
        str | None,
        about(
            "How gross a fault must be for the wave to find it, by its traffic before the upgrade.",
            example="errors: 20 times as many as before",
            absent="not known yet",
            max_length=512,
        ),
    ] = None
    shift: Annotated[
        str | None,
        about(
            "A drift of the whole wave against its control, within the limits. It decides nothing.",
            example="errors: the wave has more than its control",
            absent="none was seen",
            max_length=512,
        ),
    ] = None
    override: Annotated[
        str | None,
        about(
            "The UpgradeAction OverrideGate by which the wave passes in spite of its verdict.",
            example="shop-2-4-0-override-canary",
            absent="not overridden",
            max_length=253,
        ),
    ] = None
    metrics: Annotated[
        tuple[MetricStatus, ...],
        about(
            "The gates, one by one.", example=[{"name": "errors", "verdict": "Healthy"}], absent="no gates", max_length=16, keys=("name",)
        ),
    ] = ()


class PolicySeen(ApiModel):
    """The policy as it was when the run was planned."""

    name: Annotated[str, about("The policy's name.", example="standard", absent="not known", max_length=253)] = ""
    generation: Annotated[int, about("Its generation.", example=3, ge=0)]
    digest: Annotated[str, about("Digest of its spec.", example="sha256:" + "0" * 64, max_length=71)]


class RunStatus(ApiModel):
    """The current run, else the last one."""

    id: Annotated[str, about("The run's id: name it in an UpgradeAction.", example="shop-2-4-0-x7f2k-1-a1", max_length=63)]
    attempt: Annotated[int, about("Which attempt; Retry begins the next.", example=1, ge=1)] = 1
    begun_generation: Annotated[
        int | None, about("The generation of the spec that began the run.", example=1, absent="not known", ge=0)
    ] = None
    spec_digest: Annotated[
        str | None,
        about(
            "Digest of the fields whose change supersedes the run.", example="sha256:" + "0" * 64, absent="not planned yet", max_length=71
        ),
    ] = None
    start_time: Annotated[Instant | None, about("When it began; UTC.", example="2026-12-06T01:00:00Z", absent="not begun")] = None
    completion_time: Annotated[Instant | None, about("When it ended; UTC.", example="2026-12-06T05:00:00Z", absent="not ended")] = None
    current_wave: Annotated[str | None, about("The wave that is at work.", example="canary", absent="none", max_length=40)] = None
    progress: Annotated[str | None, about("Tenants done, of all.", example="24/40", absent="not planned yet", max_length=32)] = None
    plan_digest: Annotated[
        str | None,
        about("Digest of the plan: who is in which wave.", example="sha256:" + "0" * 64, absent="not planned yet", max_length=71),
    ] = None
    policy: Annotated[
        PolicySeen | None,
        about("The policy that the run works by.", example={"generation": 3, "digest": "sha256:" + "0" * 64}, absent="not planned yet"),
    ] = None
    paused_since_time: Annotated[
        Instant | None, about("Since when it is paused; UTC.", example="2026-12-06T02:00:00Z", absent="not paused")
    ] = None
    pause_reason: Annotated[
        Sentence | None, about("Who or what paused it, and why.", example="action hold-on by ann@example.com: CHG-1", absent="not paused")
    ] = None
    aborted_time: Annotated[Instant | None, about("When it was aborted; UTC.", example="2026-12-06T02:00:00Z", absent="not aborted")] = None
    unknown_since_time: Annotated[
        Instant | None, about("Since when the metrics cannot be used; UTC.", example="2026-12-06T02:00:00Z", absent="they can")
    ] = None


class Counts(ApiModel):
    """How many tenants are where. The states sum up to `total`; `optedOut` and `failed` are counted besides."""

    total: Annotated[int, _count("All tenants of the run.")] = 0
    queued: Annotated[int, _count("Not reached yet.")] = 0
    waiting: Annotated[int, _count("Their turn has come, and they wait.")] = 0
    in_flight: Annotated[int, _count("In Preflight, Applying or Converging.")] = 0
    soaking: Annotated[int, _count("They must stay healthy.")] = 0
    succeeded: Annotated[int, _count("Done.")] = 0
    rolling_back: Annotated[int, _count("Being taken back.")] = 0
    rolled_back: Annotated[int, _count("Taken back.")] = 0
    held: Annotated[int, _count("A person must act.")] = 0
    rollback_failed: Annotated[int, _count("Not taken back completely.")] = 0
    skipped: Annotated[int, _count("Not upgraded, for a reason.")] = 0
    orphaned: Annotated[int, _count("Released when the upgrade was deleted, or their namespaces are gone or others.")] = 0
    opted_out: Annotated[int, _count("Opted out, whatever their state.")] = 0
    failed: Annotated[int, _count("Failed, whatever their state.")] = 0


class WaveStatus(ApiModel):
    """Where one wave stands."""

    name: Annotated[str, about("The wave's name.", example="canary", max_length=40)]
    state: Annotated[WaveState, about("Where it stands.", example="Running")]
    reason: Annotated[str, about("Why, in one CamelCase word.", example="OutsideWindow", absent="the state says it all", max_length=63)] = (
        ""
    )
    message: Annotated[Sentence, about("Why, in a sentence.", example="wave canary needs 1 approval", absent="no sentence")] = ""
    total: Annotated[int, _count("Its tenants.")] = 0
    succeeded: Annotated[int, _count("Done.")] = 0
    failed: Annotated[int, _count("Failed.")] = 0
    rolled_back: Annotated[int, _count("Taken back.")] = 0
    skipped: Annotated[int, _count("Skipped.")] = 0
    stragglers: Annotated[int, _count("Not waited for any longer.")] = 0
    max_parallel: Annotated[
        int | None, about("How many may be in flight at once, as computed.", example=1, absent="not planned yet", ge=0)
    ] = None
    failure_budget: Annotated[
        int | None, about("How many failures are tolerated, as computed.", example=0, absent="not planned yet", ge=0)
    ] = None
    soak: Annotated[Duration | None, about("The soak that holds.", example="30m", absent="not planned yet")] = None
    free_slot_on: Annotated[
        str | None, about("When a tenant frees its slot, as computed.", example="FirstVerdict", absent="not planned yet", max_length=16)
    ] = None
    approvals: Annotated[int | None, about("Distinct people who approved.", example=1, absent="nobody is asked", ge=0)] = None
    start_time: Annotated[
        Instant | None,
        about(
            "When it began; UTC. Its deadline counts from the first start of a tenant.",
            example="2026-12-06T01:00:00Z",
            absent="not started",
        ),
    ] = None
    planned_start_time: Annotated[
        Instant | None,
        about("When it begins, at the earliest; UTC.", example="2026-12-06T01:00:00Z", absent="it has begun, or nobody can tell"),
    ] = None
    planned_end_time: Annotated[
        Instant | None,
        about("When it ends, at the earliest; UTC.", example="2026-12-08T02:00:00Z", absent="it has ended, or nobody can tell"),
    ] = None
    healthy_since: Annotated[
        Instant | None, about("Since when it is healthy as a whole; UTC.", example="2026-12-06T01:10:00Z", absent="not healthy as a whole")
    ] = None
    completion_time: Annotated[Instant | None, about("When it ended; UTC.", example="2026-12-06T02:00:00Z", absent="not ended")] = None
    gate: Annotated[
        GateStatus | None, about("What the gates say about the wave.", example={"verdict": "Healthy"}, absent="no gates, or not judged yet")
    ] = None


class TenantException(ApiModel):
    """A tenant that is not on the straight way."""

    tenant: Annotated[str, about("The tenant: a Namespace.", example="acme", max_length=63)]
    state: Annotated[str, about("Its state, as in its TenantRun.", example="Held", max_length=32)]
    reason: Annotated[str, about("Why, in one CamelCase word.", example="ConfigConflict", absent="none", max_length=63)] = ""
    message: Annotated[
        str,
        about(
            "Why, in a sentence, with the mend.",
            example="app-config, key log.level: changed by the tenant and by 2.4.0",
            absent="none",
            max_length=1024,
        ),
    ] = ""


class VersionCount(ApiModel):
    """How many of the tenants run a version."""

    version: Annotated[str, about("The version; empty where it is not known.", example="2.4.0", max_length=63)]
    tenants: Annotated[int, _count("How many tenants run it.")]


class Next(ApiModel):
    """What happens next by itself."""

    time: Annotated[Instant | None, about("When; UTC.", example="2026-12-06T01:00:00Z", absent="the time is not known")] = None
    what: Annotated[str, about("What.", example="window of acme opens", max_length=512)]


class TenantUpgradeStatus(ApiModel):
    """Where the upgrade stands."""

    observed_generation: Annotated[int, about("The generation that this status is about; -1 before the first look.", example=1, ge=-1)] = -1
    conditions: Annotated[
        tuple[Condition, ...],
        about(
            "Ready, Reconciling, Stalled, Accepted, and detail.",
            example=[{"type": "Ready", "status": "False", "reason": "WaveRunning"}],
            absent="not looked at yet",
            max_length=16,
            keys=("type",),
        ),
    ] = ()
    run: Annotated[
        RunStatus | None,
        about("The current run, else the last one.", example={"id": "shop-2-4-0-x7f2k-1-a1", "attempt": 1}, absent="not looked at yet"),
    ] = None
    counts: Annotated[
        Counts | None, about("How many tenants are where.", example={"total": 40, "succeeded": 24}, absent="not planned yet")
    ] = None
    waves: Annotated[
        tuple[WaveStatus, ...],
        about(
            "One entry per wave of the policy, in order.",
            example=[{"name": "canary", "state": "Passed"}],
            absent="not planned yet",
            max_length=20,
            keys=("name",),
        ),
    ] = ()
    exceptions: Annotated[
        tuple[TenantException, ...],
        about(
            "Tenants that are not on the straight way, worst first.",
            example=[{"tenant": "acme", "state": "Held", "reason": "ConfigConflict"}],
            absent="none",
            max_length=MAX_EXCEPTIONS,
            keys=("tenant",),
        ),
    ] = ()
    exceptions_truncated: Annotated[
        bool | None, about("Whether there are more exceptions; the TenantRuns have them.", example=True, absent="all are shown")
    ] = None
    versions: Annotated[
        tuple[VersionCount, ...],
        about(
            "Which versions of the product its tenants run.",
            example=[{"version": "2.4.0", "tenants": 25}],
            absent="not counted yet",
            max_length=50,
            keys=("version",),
        ),
    ] = ()
    next: Annotated[
        Next | None,
        about(
            "What happens next by itself.",
            example={"time": "2026-12-06T01:00:00Z", "what": "window of acme opens"},
            absent="nothing is due",
        ),
    ] = None
