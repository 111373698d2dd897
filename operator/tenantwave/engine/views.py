"""What the caches keep of each object: parsed once when it changes, read many times. What cannot be parsed says so."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

from pydantic import ValidationError

from tenantwave.api.action import UpgradeActionSpec
from tenantwave.api.conditions import Condition, ConditionStatus, ConditionType, FailReason, condition_of
from tenantwave.api.kinds import (
    FINALIZER,
    PRODUCT_LABEL,
    REMOVED_ANNOTATION,
    ROLE_LABEL,
    RUN_LABEL,
    TARGET_ANNOTATION,
    TENANT_LABEL,
    UPGRADE_LABEL,
    VERSION_LABEL,
    WAVE_LABEL,
)
from tenantwave.api.policy import RolloutPolicySpec
from tenantwave.api.tenant_run import TenantRunStatus, TenantState
from tenantwave.api.upgrade import TenantUpgradeSpec
from tenantwave.api.upgrade_status import TenantUpgradeStatus
from tenantwave.core import blobs
from tenantwave.core.journal import Journal
from tenantwave.core.preservation import ConfigMapContent, content_of
from tenantwave.core.world import Action, StoredRun, Upgrade, VersionRecord
from tenantwave.engine.parsing import Raw, conditions_of, creation_time_of, first_problem, instant, spec_of, status_of
from tenantwave.engine.tenant.records import version_record

JOURNAL_PREFIX = "journal-"
"""With an upgrade's name behind it, the name of the ConfigMap that holds its journal."""


@dataclass(frozen=True, slots=True)
class UpgradeView:
    """A TenantUpgrade with what we last wrote as its status."""

    upgrade: Upgrade
    resource_version: str
    status: TenantUpgradeStatus | None
    finalizers: tuple[str, ...]

    @property
    def policy(self) -> str:
        """Return the name of the policy, '' where the spec cannot be read."""
        return self.upgrade.spec.policy_ref.name if self.upgrade.spec is not None else ""

    @property
    def product(self) -> str:
        """Return the product, '' where the spec cannot be read."""
        return self.upgrade.spec.release.product if self.upgrade.spec is not None else ""

    def selects(self, labels: Mapping[str, str]) -> bool:
        """Tell whether a Namespace with these labels is a tenant of this upgrade."""
        return self.upgrade.spec is not None and self.upgrade.spec.tenant_selector.matches(labels)


def upgrade_view(raw: Raw) -> UpgradeView:
    """Read a TenantUpgrade."""
    metadata = raw["metadata"]
    spec, problem = spec_of(TenantUpgradeSpec, raw)
    finalizers = tuple(metadata.get("finalizers") or ())
    return UpgradeView(
        upgrade=Upgrade(
            name=metadata["name"],
            uid=metadata["uid"],
            generation=metadata["generation"],
            creation_time=creation_time_of(metadata),
            spec=spec,
            problem=problem,
            deletion_time=instant(metadata.get("deletionTimestamp")),
            has_finalizer=FINALIZER in finalizers,
        ),
        resource_version=metadata["resourceVersion"],
        status=status_of(TenantUpgradeStatus, raw),
        finalizers=finalizers,
    )


@dataclass(frozen=True, slots=True)
class PolicyView:
    """A RolloutPolicy. `digest` names its spec as JSON, which is what a run saves."""

    name: str
    generation: int
    resource_version: str
    spec: RolloutPolicySpec | None
    problem: str
    document: bytes
    digest: str
    conditions: tuple[Condition, ...]
    observed_generation: int


def policy_view(raw: Raw) -> PolicyView:
    """Read a RolloutPolicy."""
    metadata = raw["metadata"]
    spec, problem = spec_of(RolloutPolicySpec, raw)
    document = blobs.canonical(raw.get("spec") or {})
    status = raw.get("status") or {}
    return PolicyView(
        name=metadata["name"],
        generation=metadata["generation"],
        resource_version=metadata["resourceVersion"],
        spec=spec,
        problem=problem,
        document=document,
        digest=blobs.digest_of(document),
        conditions=conditions_of(status),
        observed_generation=status.get("observedGeneration", -1),
    )


@dataclass(frozen=True, slots=True)
class ActionView:
    """An UpgradeAction. `action` is None where the spec cannot be read (an older API server's doing)."""

    name: str
    upgrade: str
    action: Action | None
    generation: int
    resource_version: str
    conditions: tuple[Condition, ...]


def action_view(raw: Raw) -> ActionView:
    """Read an UpgradeAction."""
    metadata = raw["metadata"]
    spec, _ = spec_of(UpgradeActionSpec, raw)
    conditions = conditions_of(raw.get("status") or {})
    accepted = condition_of(conditions, ConditionType.ACCEPTED)
    completed = condition_of(conditions, ConditionType.COMPLETED)
    action = None
    if spec is not None:
        action = Action(
            name=metadata["name"],
            uid=metadata["uid"],
            creation_time=creation_time_of(metadata),
            generation=metadata.get("generation", 1),
            spec=spec,
            accepted=None if accepted is None else accepted.status is ConditionStatus.TRUE,
            completed=completed is not None and completed.status is ConditionStatus.TRUE,
        )
    return ActionView(
        name=metadata["name"],
        upgrade=spec.upgrade if spec is not None else "",
        action=action,
        generation=metadata.get("generation", 1),
        resource_version=metadata["resourceVersion"],
        conditions=conditions,
    )


@dataclass(frozen=True, slots=True)
class NamespaceView:
    """A Namespace."""

    name: str
    uid: str
    labels: Mapping[str, str]
    terminating: bool


def namespace_view(raw: Raw) -> NamespaceView:
    """Read a Namespace."""
    metadata = raw["metadata"]
    return NamespaceView(metadata["name"], metadata["uid"], metadata.get("labels") or {}, bool(metadata.get("deletionTimestamp")))


@dataclass(frozen=True, slots=True)
class RunView:
    """A TenantRun: our own journal of one tenant in one upgrade."""

    run: StoredRun
    tenant: str
    product: str
    labels: Mapping[str, str]


def run_view(raw: Raw) -> RunView:
    """Read a TenantRun. One that cannot be read is not absent: it has its tenant, and says why it cannot be read."""
    metadata, spec = raw["metadata"], raw.get("spec") or {}
    labels = metadata.get("labels") or {}
    upgrade, _, tenant = metadata["name"].rpartition(".")  # `meta.tenant_run_name`; nobody can edit a name
    said = (spec.get("upgrade"), spec.get("tenant"))
    problem = (
        "" if said == (upgrade, tenant) else f"spec: it speaks of {said[1] or 'no tenant'} in {said[0] or 'no upgrade'}, its name does not"
    )
    status = TenantRunStatus()
    try:
        status = TenantRunStatus.model_validate(raw.get("status") or {})
    except ValidationError as error:
        problem = problem or first_problem(error, "status")
    if problem:
        problem = unreadable_run(metadata["name"], problem)
        status = _stand_in(labels, problem)
    return RunView(
        run=StoredRun(
            name=metadata["name"],
            uid=metadata["uid"],
            resource_version=metadata["resourceVersion"],
            upgrade=upgrade,
            upgrade_uid=spec.get("upgradeUID", ""),
            status=status,
            problem=problem,
        ),
        tenant=tenant,
        product=spec.get("product", ""),
        labels=labels,
    )


def unreadable_run(name: str, what: str) -> str:
    """Return the sentence for a TenantRun that somebody has damaged."""
    return (
        f"TenantRun {name} cannot be read ({what}), so nothing is done in this tenant; restore it from a backup, or, once the "
        "tenant's objects are as they should be and none is annotated tenantwave.io/intent, delete it: the tenant is then planned anew"
    )


def _stand_in(labels: Mapping[str, str], problem: str) -> TenantRunStatus:
    """Return what to show of a tenant whose TenantRun cannot be read. Run and attempt are those of the label, which only we write."""
    run = labels.get(RUN_LABEL, "")
    attempt = run.rpartition("-a")[2]
    return TenantRunStatus(
        state=TenantState.HELD,
        reason=FailReason.AMBIGUOUS,
        message=problem,
        run=run,
        wave=labels.get(WAVE_LABEL, ""),
        attempt=int(attempt) if attempt.isdecimal() else 0,
        written=True,
    )


@dataclass(frozen=True, slots=True)
class JournalView:
    """The journal of one upgrade."""

    name: str
    journal: Journal
    resource_version: str


@dataclass(frozen=True, slots=True)
class DamagedJournal:
    """The journal of one upgrade, which somebody has damaged: `problem` says how, and how to mend it."""

    name: str
    upgrade: str
    problem: str


@dataclass(frozen=True, slots=True)
class RecordView:
    """Which version of one product one tenant runs, as recorded."""

    name: str
    tenant: str
    namespace_uid: str
    product: str
    record: VersionRecord


@dataclass(frozen=True, slots=True)
class CatalogueView:
    """One pristine ConfigMap of the catalogue."""

    name: str
    product: str
    version: str
    target: str
    removed: bool
    content: ConfigMapContent
    blob: bytes
    digest: str


@dataclass(frozen=True, slots=True)
class OtherView:
    """A ConfigMap of our namespace that is none of our business."""

    name: str


OwnConfigMap = JournalView | DamagedJournal | RecordView | CatalogueView | OtherView


def own_config_map_view(raw: Raw) -> OwnConfigMap:
    """Read a ConfigMap of our own namespace: a journal, a version record, a catalogue entry, or nothing of ours."""
    metadata = raw["metadata"]
    labels = metadata.get("labels") or {}
    is_journal = metadata["name"].startswith(JOURNAL_PREFIX) and "journal" in (raw.get("data") or {})
    match labels.get(ROLE_LABEL) or ("journal" if is_journal else ""):  # a lost label makes nobody forget a journal
        case "journal":
            return _journal_view(raw)
        case "record":
            uid = metadata["name"].split("-", 2)[2]
            return RecordView(metadata["name"], labels[TENANT_LABEL], uid, raw["data"]["product"], version_record(raw))
    target = (metadata.get("annotations") or {}).get(TARGET_ANNOTATION, "")
    if not (target and labels.get(PRODUCT_LABEL) and labels.get(VERSION_LABEL)):
        return OtherView(metadata["name"])
    content = pristine(raw)
    blob = blobs.content_blob(content)
    return CatalogueView(
        name=metadata["name"],
        product=labels[PRODUCT_LABEL],
        version=labels[VERSION_LABEL],
        target=target,
        removed=(metadata.get("annotations") or {}).get(REMOVED_ANNOTATION) == "true",
        content=content,
        blob=blob,
        digest=blobs.digest_of(blob),
    )


def _journal_view(raw: Raw) -> JournalView | DamagedJournal:
    metadata = raw["metadata"]
    upgrade = (metadata.get("labels") or {}).get(UPGRADE_LABEL) or metadata["name"].removeprefix(JOURNAL_PREFIX)
    try:
        journal = Journal.model_validate_json((raw.get("data") or {}).get("journal", ""))
    except ValidationError as error:
        return DamagedJournal(metadata["name"], upgrade, _damaged(raw, first_problem(error, "data.journal")))
    if journal.upgrade != upgrade:
        return DamagedJournal(metadata["name"], upgrade, _damaged(raw, f"it is the journal of {journal.upgrade}"))
    return JournalView(metadata["name"], journal, metadata["resourceVersion"])


def _damaged(raw: Raw, what: str) -> str:
    metadata = raw["metadata"]
    return (
        f"ConfigMap {metadata['namespace']}/{metadata['name']}, the journal of this upgrade, cannot be read ({what}), so nothing is started or "
        "taken back; restore data.journal from a backup, or, once none of its tenants is in flight, delete the ConfigMap: the upgrade is "
        "then planned anew"
    )


_TELLS_ITS_TOOL = frozenset(
    {"app.kubernetes.io/instance", "applyset.kubernetes.io/part-of", "kapp.k14s.io/app", "objectset.rio.cattle.io/hash"}
)
"""Labels by which a tool finds again what it has applied: on an object of a tenant they would have it deleted as no longer in git."""


def pristine(raw: Raw) -> ConfigMapContent:
    """Return what a catalogue entry says about its target: data, binaryData, immutable, and the labels of an object that is new.

    Its annotations are about itself, and so are labels of the tool that brings the catalogue.
    """
    content = content_of(raw)
    return replace(content, annotations={}, labels={key: value for key, value in content.labels.items() if key not in _TELLS_ITS_TOOL})
