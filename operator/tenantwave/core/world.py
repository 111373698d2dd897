"""The world as `decide` sees it: frozen values, read from the caches in one pass.

Nothing here asks what changed. What is malformed in one tenant is a problem of that tenant (`Tenant.problem`), never an exception.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import Enum

from tenantwave.api.action import UpgradeActionSpec
from tenantwave.api.conditions import FailReason
from tenantwave.api.policy import RolloutPolicySpec
from tenantwave.api.run_records import HookState
from tenantwave.api.tenant_run import TenantRunStatus
from tenantwave.api.upgrade import TenantUpgradeSpec
from tenantwave.core.calendar import Answer, Calendar, Decision, Forecast, NoticeRecord
from tenantwave.core.gates import GateBook
from tenantwave.core.journal import Journal


@dataclass(frozen=True, slots=True)
class Upgrade:
    """The TenantUpgrade. `spec` is None where it cannot be read; `problem` then says why."""

    name: str
    uid: str
    generation: int
    creation_time: datetime
    spec: TenantUpgradeSpec | None
    problem: str = ""
    deletion_time: datetime | None = None
    has_finalizer: bool = False


@dataclass(frozen=True, slots=True)
class Policy:
    """A RolloutPolicy, live or as it was saved when the run was planned. `problems` are sentences with their mend."""

    name: str
    generation: int
    digest: str
    spec: RolloutPolicySpec | None
    problems: tuple[str, ...] = ()


class Progress(Enum):
    """What a driver sees of one component, whatever version it runs."""

    CONVERGED = "Converged"
    PROGRESSING = "Progressing"
    FAILED = "Failed"


@dataclass(frozen=True, slots=True)
class ComponentView:
    """One component of one tenant, read from the caches.

    at_release: every value of the release stands in the object, compared exactly; shown: what stands there instead, else ''. message: how its
    rollout stands. refused: why this object cannot be driven (paused, no replicas ...); owner: who would write the field back.
    marked_by: UID of the TenantRun whose marker the object carries: that run has it open, or has left it so.
    """

    name: str
    present: bool
    at_release: bool = False
    progress: Progress = Progress.PROGRESSING
    message: str = ""
    refused: tuple[FailReason, str] | None = None
    owner: str = ""
    shown: str = ""
    marked_by: str = ""


@dataclass(frozen=True, slots=True)
class HookJobView:
    """A hook's Job in a tenant, as the cache has it."""

    tenant: str
    name: str
    upgrade: str
    state: HookState
    message: str = ""
    is_let_run: bool = True
    """We have let it run: it is created suspended, and waits until the journal knows of it."""
    running_since: datetime | None = None
    """When its controller started it, else when we let it run; None where it does not say. The tenant may have set it to anything."""


@dataclass(frozen=True, slots=True)
class VersionRecord:
    """What the operator recorded of one product in one tenant (data of a ConfigMap in its own namespace).

    base: target ConfigMap -> digest of the pristine content that the last Succeeded run left there.
    rolled_back: versions taken back here, with the run: not tried again without Retry or a new run.
    unproven: versions that a run of ours brought here and nobody proved, with the run: its upgrade was deleted while the tenant soaked.
    """

    version: str
    last_stable_version: str
    since: datetime
    base: Mapping[str, str] = field(default_factory=dict)
    rolled_back: Mapping[str, str] = field(default_factory=dict)
    unproven: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class StoredRun:
    """A TenantRun as stored. `resource_version` is the fence: every effect is preceded by a write that names it.

    `problem` says why it cannot be read and how to mend it. `status` then only stands in for what is not known: Held, as after a write, so
    that nobody touches the tenant and no other upgrade takes it. It is never stored.
    """

    name: str
    uid: str
    resource_version: str
    upgrade: str
    upgrade_uid: str
    status: TenantRunStatus
    problem: str = ""


@dataclass(frozen=True, slots=True)
class Claim:
    """Another upgrade's interest in the same tenant: what its own TenantRun and spec say."""

    upgrade: str
    run: str
    holds: bool
    """It has the tenant: Preflight to Soaking, RollingBack, RollbackFailed, or Held after a write."""
    waits: bool
    """It is live (neither ended, suspended nor deleted), has not finished with the tenant and might start it."""
    running: bool
    """Its run has begun to start tenants."""
    creation_time: datetime
    product: str
    version: str
    is_patient: bool = False
    """It waits for nothing but its own windows, its notice or the tenant's word."""
    next_open_time: datetime | None = None
    """When that ends; None: nobody knows."""

    def goes_first(self, now: datetime) -> bool:
        """Tell whether it could start the tenant, so that a younger one waits. Who is patient lets others go until its own door opens."""
        return self.waits and not (self.is_patient and (self.next_open_time is None or now < self.next_open_time))


@dataclass(frozen=True, slots=True)
class SeenDecision:
    """A TenantDecision about this upgrade. `answer`: what it was answered last; None: nothing yet."""

    decision: Decision
    answer: Answer | None = None


@dataclass(frozen=True, slots=True)
class Tenant:
    """One tenant: selected now, or with a TenantRun of this upgrade."""

    name: str
    uid: str
    labels: Mapping[str, str]
    selected: bool
    exists: bool = True
    terminating: bool = False
    record: VersionRecord | None = None
    run: StoredRun | None = None
    calendar: Calendar | None = None
    components: tuple[ComponentView, ...] = ()
    config_maps: frozenset[str] = frozenset()
    """The ConfigMaps that its workloads refer to, those that are no components too, as the cache has them."""
    hook_jobs: Mapping[str, HookJobView] = field(default_factory=dict)
    """Jobs of hooks in this tenant, by name, as far as the cache has them."""
    claims: tuple[Claim, ...] = ()
    decisions: tuple[SeenDecision, ...] = ()
    told: tuple[NoticeRecord, ...] = ()
    """The notices of this upgrade that the tenant's profile shows, as the API server has them."""
    problem: str = ""


@dataclass(frozen=True, slots=True)
class CatalogueEntry:
    """One pristine ConfigMap of the catalogue: content by digest. `removed`: the release drops the target."""

    version: str
    target: str
    digest: str
    removed: bool = False


@dataclass(frozen=True, slots=True)
class Catalogue:
    """The pristine configuration of one product, all versions, as the cache has it now."""

    entries: tuple[CatalogueEntry, ...] = ()
    duplicates: tuple[str, ...] = ()
    """Sentences: two entries for one target and version."""


@dataclass(frozen=True, slots=True)
class Action:
    """An UpgradeAction. `answered`: its `Accepted` condition is written."""

    name: str
    uid: str
    creation_time: datetime
    generation: int
    spec: UpgradeActionSpec
    accepted: bool | None = None
    completed: bool = False


@dataclass(frozen=True, slots=True)
class Foreseen:
    """A forecast, for which run it was made and when. It is computed beside the decisions, for it costs more than they may."""

    run: str
    time: datetime
    forecast: Forecast


@dataclass(frozen=True, slots=True)
class World:
    """Everything that one decision about one upgrade may depend on."""

    upgrade: Upgrade
    journal: Journal | None
    policy: Policy | None
    """The live policy that `spec.policyRef` names."""
    planned_policy: Policy | None
    """The policy as the run has it; None before it is planned."""
    planned_spec: TenantUpgradeSpec | None
    """The spec as the run has it, in the fields that begin a run; None before it is planned."""
    tenants: Mapping[str, Tenant]
    catalogue: Catalogue
    gates: GateBook
    actions: tuple[Action, ...] = ()
    clock_is_right: bool = True
    foreseen: Foreseen | None = None
    versions_elsewhere: Mapping[str, int] = field(default_factory=dict)
    """Version of the product -> how many tenants run it that this upgrade does not select; only where the policy asks for it."""
    seen_since: datetime | None = None
    """Since when we see the cluster without a break: the start of this process, or the end of the last outage of the API server."""
    shaken_until: datetime | None = None
    """After an outage of the API server: until when what Kubernetes says of workloads may be late."""
