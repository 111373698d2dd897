"""TenantRun: the journal of one tenant in one upgrade. Plan, write-ahead intents, verdict. Only the operator writes it.

`TenantRunStatus` is also the frozen value that the rules work with: `status.model_copy(update={...})` makes the next one.
"""

from typing import Annotated, Any

from tenantwave.api.action import Resolution
from tenantwave.api.conditions import Condition, FailReason
from tenantwave.api.meta import ObjectRef
from tenantwave.api.model import ApiModel, Choice, about
from tenantwave.api.profile import PreservedConfig
from tenantwave.api.run_records import (
    MAX_COMMANDS,
    MAX_CONFLICTS,
    MAX_DIFFERENCES,
    MAX_HOOK_RECORDS,
    MAX_NOTES,
    MAX_SECRET_RECORDS,
    MAX_SETTLED,
    Conflict,
    Difference,
    HookRecord,
    SecretRecord,
    Settled,
)
from tenantwave.api.scalars import Instant, LabelValue, Name, Sentence, ShortName
from tenantwave.api.upgrade_status import GateStatus

MAX_OBJECTS = 200
MAX_INTENTS = 2 * MAX_OBJECTS
"""So each object can be written, and taken back. The largest TenantRun is smaller than what etcd takes (1.5 MiB)."""
MAX_FIELDS = 200
GATE_MEMORY_LENGTH = 16384

_DIGEST_EXAMPLE = "sha256:" + "0" * 64
_ATOMIC = {"x-kubernetes-list-type": "atomic"}


class TenantState(Choice):
    """Where a tenant stands in an upgrade."""

    QUEUED = "Queued", "its wave's turn has not come"
    WAITING = "Waiting", "its turn has come, and it waits for time or another tenant"
    PREFLIGHT = "Preflight", "locked, checked and saved; nothing written yet"
    APPLYING = "Applying", "a component is being written"
    CONVERGING = "Converging", "a component is being watched until it runs the release"
    SOAKING = "Soaking", "it runs the release and must stay healthy"
    SUCCEEDED = "Succeeded", "done"
    ROLLING_BACK = "RollingBack", "being taken back"
    ROLLED_BACK = "RolledBack", "taken back, and verified"
    HELD = "Held", "a person must act"
    ROLLBACK_FAILED = "RollbackFailed", "not taken back completely: a person must act"
    SKIPPED = "Skipped", "not upgraded by this run, for a reason"
    ORPHANED = "Orphaned", "released when the upgrade was deleted, or its namespace is gone or another one"


class Direction(Choice):
    """Which way a write goes."""

    FORWARD = "Forward", "towards the release"
    ROLLBACK = "Rollback", "back to what was"


class IntentState(Choice):
    """What is known of a write."""

    ISSUED = "Issued", "recorded; the request may or may not have arrived"
    LANDED = "Landed", "the API server took it"
    SUPERSEDED = "Superseded", "it did not land; another one took its place"
    REVERTED = "Reverted", "it landed and has been taken back"


class Intent(ApiModel):
    """The record of one write, made before it."""

    seq: Annotated[int, about("Its number in this TenantRun, from 1; the marker on the object names it.", example=1, ge=1)]
    direction: Annotated[Direction, about("Which way it goes.", example="Forward")] = Direction.FORWARD
    target: Annotated[
        ObjectRef, about("The object.", example={"apiVersion": "apps/v1", "kind": "Deployment", "namespace": "acme", "name": "api"})
    ]
    component: Annotated[str, about("The component's name.", example="api", absent="no component: configuration", max_length=63)] = ""
    uid: Annotated[
        str,
        about(
            "The object's UID at the time.",
            example="5f0c6a58-6d1f-4f0e-9d55-2c8f5a7f3a11",
            absent="the object is to be created",
            max_length=64,
        ),
    ] = ""
    fields: Annotated[
        tuple[Annotated[str, about("A JSON pointer.", example="/spec/template/spec/containers/0/image", max_length=1024)], ...],
        about("The paths that we write.", example=["/data/log.level"], absent="none", max_length=MAX_FIELDS, extra=_ATOMIC),
    ] = ()
    before: Annotated[
        str, about("Digest of the object before.", example=_DIGEST_EXAMPLE, absent="the object was not there", max_length=71)
    ] = ""
    after: Annotated[
        str, about("Digest of the object as it is to be.", example=_DIGEST_EXAMPLE, absent="the object is to be deleted", max_length=71)
    ] = ""
    goal: Annotated[
        str,
        about(
            "Digest of what a rollback aims at, rebased over later edits.",
            example=_DIGEST_EXAMPLE,
            absent="the same as `before`",
            max_length=71,
        ),
    ] = ""
    pristine: Annotated[
        str,
        about(
            "Digest of the catalogue's content that was merged in: the base of the next merge.",
            example=_DIGEST_EXAMPLE,
            absent="no ConfigMap, or the release drops it",
            max_length=71,
        ),
    ] = ""
    resource_version: Annotated[
        str, about("The precondition of the request.", example="48213", absent="the object is to be created", max_length=64)
    ] = ""
    state: Annotated[IntentState, about("What is known of it.", example="Landed")] = IntentState.ISSUED


class SnapshotRef(ApiModel):
    """Where one object of the tenant is saved."""

    api_version: Annotated[str, about("The object's apiVersion.", example="apps/v1", max_length=253)]
    kind: Annotated[str, about("The object's kind.", example="Deployment", max_length=63)]
    namespace: Annotated[str, about("The object's namespace.", example="acme", absent="none", max_length=63)] = ""
    name: Annotated[str, about("The object's name.", example="api", max_length=253)]
    uid: Annotated[str, about("The object's UID.", example="5f0c6a58-6d1f-4f0e-9d55-2c8f5a7f3a11", absent="not known", max_length=64)] = ""
    resource_version: Annotated[str, about("The object's resourceVersion.", example="48213", absent="not known", max_length=64)] = ""
    digest: Annotated[str, about("Digest of the saved bytes; it names the Secrets.", example=_DIGEST_EXAMPLE, max_length=71)]
    chunks: Annotated[int, about("How many Secrets hold it.", example=1, ge=1, le=64)] = 1


class PlannedObject(ApiModel):
    """One object that the run will write."""

    api_version: Annotated[str, about("The object's apiVersion.", example="apps/v1", max_length=253)]
    kind: Annotated[str, about("The object's kind.", example="Deployment", max_length=63)]
    namespace: Annotated[str, about("The object's namespace.", example="acme", absent="none", max_length=63)] = ""
    name: Annotated[str, about("The object's name.", example="api", max_length=253)]
    component: Annotated[str, about("The component's name.", example="api", absent="no component: configuration", max_length=63)] = ""
    action: Annotated[str, about("Create, Update, Delete or Keep.", example="Update", max_length=16)] = "Update"
    before: Annotated[
        str, about("Digest of the object as seen when planned.", example=_DIGEST_EXAMPLE, absent="the object is not there", max_length=71)
    ] = ""
    after: Annotated[
        str, about("Digest of the object as planned.", example=_DIGEST_EXAMPLE, absent="the object is to be deleted", max_length=71)
    ] = ""
    target: Annotated[
        str,
        about(
            "The name that the catalogue knows it by, where an immutable ConfigMap gets a new name for each content.",
            example="app-config",
            absent="its own name",
            max_length=253,
        ),
    ] = ""
    origin: Annotated[
        str,
        about(
            "The ConfigMap that it takes the place of, and that its content is made from.",
            example="app-config",
            absent="it takes the place of none",
            max_length=253,
        ),
    ] = ""
    summary: Annotated[
        str, about("What changes, in a few words.", example="api: 2.3.1 -> 2.4.0", absent="nothing to say", max_length=512)
    ] = ""


class TenantPlan(ApiModel):
    """What the run does in this tenant. Made again from live until the first write; then fixed by its digest."""

    digest: Annotated[str, about("Digest of the plan.", example=_DIGEST_EXAMPLE, max_length=71)]
    objects: Annotated[
        tuple[PlannedObject, ...],
        about(
            "The objects to write, in order.",
            example=[{"kind": "Deployment", "name": "api"}],
            absent="nothing is to be written",
            max_length=MAX_OBJECTS,
            extra=_ATOMIC,
        ),
    ] = ()


class TakeBackScope(Choice):
    """Who else is taken back for the same cause."""

    TENANT = "Tenant", "this tenant alone"
    WAVE = "Wave", "its wave"
    UPGRADE = "Upgrade", "all waves"


class TakeBack(ApiModel):
    """Why, since when and how far the tenant is to be taken back."""

    cause: Annotated[FailReason, about("Why.", example="GateFailed")]
    message: Annotated[
        str, about("Why, in a sentence.", example="errors: 36 of 903 requests failed, allowed 1%", absent="none", max_length=1024)
    ] = ""
    time: Annotated[Instant, about("When it was decided; UTC.", example="2026-12-06T01:20:00Z")]
    scope: Annotated[TakeBackScope, about("How far.", example="Tenant")] = TakeBackScope.TENANT


class MovedStart(ApiModel):
    """A planned start that was told and no longer holds."""

    time: Annotated[Instant, about("When it moved; UTC.", example="2026-11-20T00:00:00Z")]
    from_: Annotated[Instant, about("The start that was told; UTC.", example="2026-11-29T06:00:00Z", alias="from")]
    to: Annotated[Instant | None, about("The start now; UTC.", example="2026-12-20T04:00:00Z", absent="none is in sight")] = None
    why: Annotated[str, about("Why.", example="deferred by defer-9fk until 2026-12-20", absent="not known", max_length=256)] = ""


class TenantRunSpec(ApiModel):
    """Which tenant in which upgrade."""

    upgrade: Annotated[ShortName, about("The TenantUpgrade.", example="shop-2-4-0")]
    upgrade_uid: Annotated[str, about("Its UID.", example="x7f2k1aa-0000-4000-8000-000000000000", max_length=64, alias="upgradeUID")]
    tenant: Annotated[Name, about("The tenant: a Namespace.", example="acme")]
    product: Annotated[LabelValue, about("The product.", example="shop")]


def _when(text: str, absent: str) -> Any:
    return about(f"{text}; UTC.", example="2026-12-06T01:00:00Z", absent=absent)


class TenantRunStatus(ApiModel):
    """The journal: where the tenant stands, and everything needed to go on or back from here."""

    observed_generation: Annotated[int, about("The generation that this status is about; -1 before the first look.", example=1, ge=-1)] = -1
    state: Annotated[TenantState | None, about("Where the tenant stands.", example="Soaking", absent="not planned yet")] = None
    reason: Annotated[str, about("Why, in one CamelCase word.", example="OutsideWindow", absent="none", max_length=63)] = ""
    message: Annotated[
        str,
        about("Why, in a sentence, with the mend.", example="opens Sat 23:00 America/New_York (04:00Z)", absent="none", max_length=2048),
    ] = ""
    run: Annotated[str, about("The run that this state belongs to.", example="shop-2-4-0-x7f2k-1-a1", absent="none", max_length=63)] = ""
    wave: Annotated[str, about("The tenant's wave.", example="canary", absent="none", max_length=40)] = ""
    attempt: Annotated[int, about("The run's attempt.", example=1, ge=0)] = 0
    explain: Annotated[
        str, about("Why the tenant is in this wave.", example="label tenantwave.io/ring=canary", absent="none", max_length=512)
    ] = ""
    from_version: Annotated[str, about("The version that the tenant ran before.", example="2.3.1", absent="not known", max_length=63)] = ""
    to_version: Annotated[str, about("The version that it goes to.", example="2.4.0", absent="none", max_length=63)] = ""
    rolled_back_version: Annotated[
        str,
        about(
            "A version that was taken back here: not tried again without Retry or a new run.", example="2.4.0", absent="none", max_length=63
        ),
    ] = ""
    retry_of: Annotated[
        str, about("The run that this attempt repeats.", example="shop-2-4-0-x7f2k-1-a1", absent="the first attempt", max_length=63)
    ] = ""

    state_since_time: Annotated[Instant | None, _when("Since when the tenant is in this state", "not planned yet")] = None
    notice_time: Annotated[Instant | None, _when("When the notice was given", "no notice, or not delivered yet")] = None
    notice_digest: Annotated[
        str,
        about("Digest of the words of the notice that is to be given.", example="sha256:" + "0" * 64, absent="no notice", max_length=71),
    ] = ""
    planned_start_time: Annotated[Instant | None, _when("When the tenant is expected to start", "not known, or already started")] = None
    rescheduled: Annotated[
        MovedStart | None,
        about("The last time that the planned start moved.", example={"time": "2026-11-20T00:00:00Z"}, absent="it never moved"),
    ] = None
    next_open_time: Annotated[Instant | None, _when("When the tenant's door opens next", "it is open, or never opens")] = None
    opening_end_time: Annotated[Instant | None, _when("When the opening ends in which the tenant started", "it does not end")] = None
    start_time: Annotated[Instant | None, _when("When the preflight began that led to the first change of this attempt", "not started")] = (
        None
    )
    preflight_time: Annotated[Instant | None, _when("When the last preflight ended", "not done")] = None
    applied_time: Annotated[Instant | None, _when("When the last component was written", "not written")] = None
    converged_time: Annotated[Instant | None, _when("When all components ran the release", "not converged")] = None
    window_start_time: Annotated[Instant | None, _when("From when on metrics count", "not converged")] = None
    healthy_since_time: Annotated[
        Instant | None, _when("Since when the tenant is healthy without a break; the soak counts from here", "not healthy yet")
    ] = None
    completion_time: Annotated[Instant | None, _when("When the tenant was through", "not through")] = None

    epoch: Annotated[int, about("The fence: raised by each take-over of the journal.", example=1, ge=0)] = 0
    namespace_uid: Annotated[
        str,
        about(
            "UID of the tenant's Namespace.",
            example="5f0c6a58-6d1f-4f0e-9d55-2c8f5a7f3a11",
            absent="not started",
            max_length=64,
            alias="namespaceUID",
        ),
    ] = ""
    component: Annotated[int, about("Index of the component at work, in apply order.", example=0, ge=0)] = 0
    plan: Annotated[
        TenantPlan | None, about("What is written in this tenant.", example={"digest": _DIGEST_EXAMPLE}, absent="not planned yet")
    ] = None
    preview: Annotated[
        TenantPlan | None,
        about("What would be written, of a suspended upgrade.", example={"digest": _DIGEST_EXAMPLE}, absent="the upgrade is not suspended"),
    ] = None
    preview_problem: Annotated[
        str,
        about(
            "Why a suspended upgrade would be held here if it went on now; nothing has been written.",
            example="NotDrivable: Deployment api is paused",
            absent="nothing stands against it, or the upgrade is not suspended",
            max_length=1024,
        ),
    ] = ""
    snapshots: Annotated[
        tuple[SnapshotRef, ...],
        about(
            "Where the objects are saved as they were.",
            example=[{"kind": "Deployment", "name": "api"}],
            absent="nothing saved yet",
            max_length=MAX_OBJECTS,
            extra=_ATOMIC,
        ),
    ] = ()
    intents: Annotated[
        tuple[Intent, ...],
        about(
            "The writes, in order.",
            example=[{"seq": 1, "state": "Landed"}],
            absent="nothing written yet",
            max_length=MAX_INTENTS,
            extra={"x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["seq"]},
        ),
    ] = ()
    last_seq: Annotated[
        int, about("The highest number that an intent of this TenantRun ever had, over all runs and attempts.", example=2, ge=0)
    ] = 0
    first_seq: Annotated[int, about("The number that the first write of this attempt has, or would have.", example=1, ge=1)] = 1
    held_count: Annotated[
        int, about("How often this attempt was held; the oftener, the more seldom it begins again by itself.", example=1, ge=0)
    ] = 0
    written: Annotated[bool, about("Whether a write landed, or may have.", example=True)] = False
    conflicts: Annotated[
        tuple[Conflict, ...],
        about(
            "Places that the tenant and the release both changed.",
            example=[{"configMap": "app-config", "key": "log.level"}],
            absent="none",
            max_length=MAX_CONFLICTS,
            extra=_ATOMIC,
        ),
    ] = ()
    conflict_count: Annotated[int, about("How many such places there are, also those that are not listed.", example=3, ge=0)] = 0
    settled: Annotated[
        tuple[Settled, ...],
        about(
            "Places that both changed and that a rule or a rollback has settled, with the value that lost: what the tenant lost comes first.",
            example=[{"configMap": "app-config", "key": "log.level", "settledBy": "ReleaseWins"}],
            absent="nothing gave way",
            max_length=MAX_SETTLED,
            extra=_ATOMIC,
        ),
    ] = ()
    settled_count: Annotated[int, about("How many such places there are, also those that are not listed.", example=2, ge=0)] = 0
    notes: Annotated[
        tuple[
            Annotated[str, about("A sentence.", example="app-config/old.flag: dropped in 2.4.0, kept for the tenant", max_length=512)], ...
        ],
        about(
            "What else there is to know of the merges: orphaned keys, comments that could not be taken over, keys merged as one value, and what "
            "somebody has set back to what stood there before.",
            example=["app-config/old.flag: dropped in 2.4.0, kept for the tenant (orphaned)"],
            absent="nothing",
            max_length=MAX_NOTES,
            extra=_ATOMIC,
        ),
    ] = ()
    preserved: Annotated[
        tuple[PreservedConfig, ...],
        about(
            "What became of the tenant's ConfigMaps.",
            example=[{"configMap": "app-config", "kept": 4}],
            absent="none",
            max_length=32,
            keys=("configMap",),
        ),
    ] = ()
    commands: Annotated[
        tuple[Sentence, ...],
        about(
            "The orders that would settle the tenant, the mildest first, each ready for a shell; the reason is yours to fill in.",
            example=["echo '{...}' | kubectl create -f -"],
            absent="nobody has to settle it",
            max_length=MAX_COMMANDS,
            extra=_ATOMIC,
        ),
    ] = ()
    differences: Annotated[
        tuple[Difference, ...],
        about(
            "What a rollback could not take back: where, what stands there, and what is to stand there.",
            example=[{"kind": "ConfigMap", "name": "app-config", "path": "/data/log.level"}],
            absent="nothing that is known",
            max_length=MAX_DIFFERENCES,
            extra=_ATOMIC,
        ),
    ] = ()
    hooks: Annotated[
        tuple[HookRecord, ...],
        about(
            "The hooks of this attempt, in the order of their start.",
            example=[{"name": "migrate", "state": "Succeeded"}],
            absent="none",
            max_length=MAX_HOOK_RECORDS,
            keys=("name",),
        ),
    ] = ()
    forward_only: Annotated[
        str,
        about(
            "What passed the point of no return, in a sentence: only Resolve takes the tenant back.",
            example="the Job of the irreversible hook migrate was created at 2026-12-06T01:00:00Z",
            absent="nothing did: it can be taken back",
            max_length=512,
        ),
    ] = ""
    secrets: Annotated[
        tuple[SecretRecord, ...],
        about(
            "The Secrets that were compared or saved; see `spec.preservation.secrets`.",
            example=[{"name": "database", "state": "Same"}],
            absent="none",
            max_length=MAX_SECRET_RECORDS,
            keys=("name",),
        ),
    ] = ()
    verdict: Annotated[
        GateStatus | None, about("What the gates say about the tenant.", example={"verdict": "Healthy"}, absent="not judged yet")
    ] = None
    after_rollback: Annotated[
        GateStatus | None,
        about(
            "What the gates say after the rollback, against the hour before the first write; judged once.",
            example={"verdict": "Healthy"},
            absent="not taken back, or not judged yet",
        ),
    ] = None
    gate: Annotated[
        str,
        about(
            "What the gates remember about the tenant, as JSON; not part of the contract.",
            example='{"v":1}',
            absent="nothing",
            max_length=GATE_MEMORY_LENGTH,
        ),
    ] = ""
    baseline: Annotated[
        str,
        about(
            "What the gates saw before the first write, as JSON; not part of the contract.",
            example='{"errors":{"n":"1200","k":"3"}}',
            absent="not asked yet",
            max_length=4096,
        ),
    ] = ""
    take_back: Annotated[
        TakeBack | None,
        about("Why the tenant is to be taken back.", example={"cause": "GateFailed", "time": "2026-12-06T01:20:00Z"}, absent="it is not"),
    ] = None
    resolution: Annotated[
        Resolution | None, about("How a person ordered to settle the tenant.", example="Rollback", absent="nothing was ordered")
    ] = None
    resolved_by: Annotated[
        str,
        about(
            "UID of the UpgradeAction that ordered it: an order is carried out once, however often it is read.",
            example="5f0c6a58-6d1f-4f0e-9d55-2c8f5a7f3a11",
            absent="nothing was ordered",
            max_length=64,
        ),
    ] = ""
    conditions: Annotated[
        tuple[Condition, ...],
        about(
            "Conditions, for tools that look at any object.",
            example=[{"type": "Ready", "status": "True", "reason": "Upgraded"}],
            absent="none",
            max_length=8,
            keys=("type",),
        ),
    ] = ()
