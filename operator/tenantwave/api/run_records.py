"""What a TenantRun records besides its writes: conflicts, what gave way to a rule, hooks that ran, and Secrets that were compared."""

from typing import Annotated

from tenantwave.api.model import ApiModel, Choice, about
from tenantwave.api.scalars import Instant
from tenantwave.api.upgrade import HookTime

MAX_CONFLICTS = 20
MAX_SETTLED = 20
MAX_NOTES = 20
MAX_HOOK_RECORDS = 32
MAX_SECRET_RECORDS = 64
MAX_DIFFERENCES = 20
MAX_COMMANDS = 4


class Conflict(ApiModel):
    """One place that the tenant and the release both changed. Long values are shortened."""

    config_map: Annotated[str, about("The ConfigMap.", example="app-config", max_length=253)]
    key: Annotated[str, about("The key.", example="application.yaml", absent="the ConfigMap as a whole", max_length=253)] = ""
    path: Annotated[str, about("The place in the key.", example="/tls/minVersion", absent="the key as a whole", max_length=512)] = ""
    kind: Annotated[str, about("What kind of conflict.", example="Both", absent="not told", max_length=63)] = ""
    base: Annotated[str, about("The value that both started from.", example="1.1", absent="none", max_length=256)] = ""
    live: Annotated[str, about("The tenant's value.", example="1.3", absent="none", max_length=256)] = ""
    new: Annotated[str, about("The release's value.", example="1.2", absent="none", max_length=256)] = ""
    mend: Annotated[
        str,
        about(
            "What a person does about it.", example="add a preservation rule with onConflict: TenantWins", absent="none", max_length=1024
        ),
    ] = ""
    rule: Annotated[
        str,
        about(
            "The narrowest item of `spec.preservation.rules` that settles it for the tenant; write ReleaseWins for the release.",
            example="{configMap: app-config, key: application.yaml, path: /tls/minVersion, onConflict: TenantWins}",
            absent="no rule settles it",
            max_length=1024,
        ),
    ] = ""


class SettledBy(Choice):
    """Who has won a place that two sides changed, and so where what lost is kept."""

    RELEASE_WINS = "ReleaseWins", "a rule took the release's value; the tenant's is saved as it was before our write"
    TENANT_WINS = "TenantWins", "a rule kept the tenant's value; the release's is saved with the run's catalogue"
    LATER_EDIT = "LaterEdit", "a rollback kept what was edited after our write; what stood there before the upgrade is saved"
    FORCE_PRE_IMAGE = "ForcePreImage", "an ordered rollback put back what stood there before the upgrade; the later edit is saved"


class Settled(Conflict):
    """One place that two sides changed and that is settled on purpose, with both values. Long values are shortened."""

    base: Annotated[
        str,
        about("The value that both started from; in a rollback, what the upgrade wrote.", example="1.1", absent="none", max_length=256),
    ] = ""
    live: Annotated[str, about("The tenant's value; in a rollback, its later edit.", example="1.3", absent="none", max_length=256)] = ""
    new: Annotated[
        str, about("The release's value; in a rollback, what stood there before the upgrade.", example="1.2", absent="none", max_length=256)
    ] = ""
    mend: Annotated[
        str,
        about(
            "What happened, and how to have the value back that lost, in a sentence.",
            example="app-config/db.pool: changed by both tenant and 2.4.0, and 2.4.0 wins; to have the tenant's value back, set it again",
            absent="none",
            max_length=1024,
        ),
    ] = ""
    rule: Annotated[
        str,
        about(
            "The item of `spec.preservation.rules` by which the tenant wins here at the next upgrade.",
            example="{configMap: app-config, key: application.yaml, path: /tls/minVersion, onConflict: TenantWins}",
            absent="the release has not won here",
            max_length=1024,
        ),
    ] = ""
    settled_by: Annotated[SettledBy, about("Who has won, and where what lost is kept.", example="ReleaseWins")]
    snapshot: Annotated[
        str,
        about(
            "Digest of what holds the lost value whole; it names the Secrets `snapshot-<digest>-<number>`.",
            example="sha256:" + "0" * 64,
            absent="nothing was written, or the side that lost had dropped it",
            max_length=71,
        ),
    ] = ""


class Difference(ApiModel):
    """One place that a rollback could not take back to where it was."""

    kind: Annotated[str, about("The object's kind.", example="ConfigMap", max_length=63)]
    name: Annotated[str, about("The object's name.", example="app-config", max_length=253)]
    path: Annotated[str, about("The place in the object.", example="/data/log.level", absent="the object as a whole", max_length=512)] = ""
    live: Annotated[
        str, about("Digest of what stands there.", example="sha256:" + "0" * 64, absent="nothing stands there", max_length=71)
    ] = ""
    goal: Annotated[
        str, about("Digest of what is to stand there.", example="sha256:" + "0" * 64, absent="nothing is to stand there", max_length=71)
    ] = ""


class HookState(Choice):
    """What became of a hook's Job."""

    RUNNING = "Running", "its Job was created, and has no result yet"
    SUCCEEDED = "Succeeded", "its Job is Complete"
    FAILED = "Failed", "its Job Failed, or ran into its timeout"
    UNKNOWN = "Unknown", "its Job vanished without a result; never taken for success"


class HookRecord(ApiModel):
    """One hook in this attempt."""

    name: Annotated[str, about("The hook's name in the TenantUpgrade.", example="migrate", max_length=253)]
    at: Annotated[HookTime, about("When it runs.", example="PreApply")]
    component: Annotated[
        str, about("The component that it runs before or after.", example="api", absent="the rollback as a whole", max_length=253)
    ] = ""
    job: Annotated[str, about("The Job in the tenant's namespace.", example="shop-2-4-0-x7f2k-1-a1-migrate", max_length=63)]
    irreversible: Annotated[bool, about("Whether its Job is a point of no return.", example=True)] = False
    state: Annotated[HookState, about("What became of it.", example="Succeeded")] = HookState.RUNNING
    message: Annotated[
        str, about("Why, in a sentence.", example="BackoffLimitExceeded: 7 pods failed", absent="nothing to say", max_length=512)
    ] = ""
    start_time: Annotated[Instant | None, about("When its Job was created; UTC.", example="2026-12-06T01:00:00Z", absent="not known")] = (
        None
    )
    completion_time: Annotated[
        Instant | None, about("When its result was recorded; UTC.", example="2026-12-06T01:02:00Z", absent="no result yet")
    ] = None


class SecretState(Choice):
    """How a Secret stands against what it was before the first write."""

    SAME = "Same", "as it was before the first write"
    CHANGED = "Changed", "somebody changed it since; a rollback leaves it as it is"
    DELETED = "Deleted", "somebody deleted it since"
    RESTORED = "Restored", "it was missing, or ForcePreImage was ordered: it was put back from the snapshot"
    UNKNOWN = "Unknown", "it could not be compared; `note` says why"


class SecretRecord(ApiModel):
    """One Secret that the tenant's workloads refer to. No value, and no plain digest of one."""

    name: Annotated[str, about("The Secret.", example="database", max_length=253)]
    digest: Annotated[
        str,
        about("Keyed digest (HMAC) of its type and values before the first write.", example="hmac-sha256:" + "0" * 64, max_length=76),
    ]
    key: Annotated[
        str, about("Which key made the digest; those of two keys do not compare.", example="3f9a0c51", absent="not known", max_length=16)
    ] = ""
    state: Annotated[SecretState, about("How it stood when last compared.", example="Same")] = SecretState.SAME
    time: Annotated[Instant | None, about("Since when it is seen so; UTC.", example="2026-12-06T01:20:00Z", absent="not known")] = None
    snapshot: Annotated[
        str,
        about(
            "Digest of the saved object, which is sealed with the same key.",
            example="sha256:" + "0" * 64,
            absent="not saved: `secrets: DigestOnly`, or a controller writes it",
            max_length=71,
        ),
    ] = ""
    note: Annotated[
        str,
        about(
            "What else is to be said of it, in a sentence.",
            example="Certificate database-tls writes it, so it is never restored",
            absent="nothing to say",
            max_length=256,
        ),
    ] = ""
