"""Whatever the models can say, the API server stores, whole, and gives back as it was: the journal above all."""

from __future__ import annotations

import secrets
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from localcluster.access import Cluster
from localcluster.client import KubeClient

from support.samples import samples
from tenantwave.api.bounds import bounded_document
from tenantwave.api.conditions import Condition, ConditionStatus, FailReason
from tenantwave.api.meta import ObjectRef
from tenantwave.api.model import ApiModel
from tenantwave.api.profile import MAX_NOTICES, Change, PreservedConfig, ProductStatus, ProfileUpgrade, TenantProfileStatus, WindowStatus
from tenantwave.api.run_records import MAX_CONFLICTS, Conflict
from tenantwave.api.tenant_run import (
    MAX_INTENTS,
    MAX_OBJECTS,
    Intent,
    IntentState,
    PlannedObject,
    SnapshotRef,
    TakeBack,
    TenantPlan,
    TenantRunStatus,
    TenantState,
)
from tenantwave.api.upgrade import Notice
from tenantwave.api.upgrade_status import (
    Counts,
    GateStatus,
    MetricStatus,
    Next,
    PolicySeen,
    RunStatus,
    TenantException,
    TenantUpgradeStatus,
    Verdict,
    VersionCount,
    WaveState,
    WaveStatus,
)
from tenantwave.api.windows import Opening
from tenantwave.core.intents import shown_fields
from tenantwave.core.notices import DueNotice, notices_shown

NOON = datetime(2026, 12, 6, 12, tzinfo=UTC)
DIGEST = "sha256:" + "a" * 64
RUN = "shop-2-4-0-x7f2k-1-a1"
SAMPLES = {document["kind"]: document for sample in samples("valid") for document in sample.documents}
GATE = GateStatus(
    verdict=Verdict.FAILING,
    reason="BudgetExceeded",
    evaluation_time=NOON,
    failing_tenants=("acme",),
    metrics=(MetricStatus(name="errors", verdict=Verdict.FAILING, bad="36", total="903", limit="0.01", window=timedelta(minutes=8)),),
)


def condition(message: str) -> Condition:
    """Return a condition Ready."""
    return Condition(type="Ready", status=ConditionStatus.FALSE, last_transition_time=NOON, reason="WaveRunning", message=message)


def intent(seq: int) -> Intent:
    """Return a write that landed, of an object with a long name, and with as many long paths as an intent shows."""
    target = ObjectRef(api_version="v1", kind="ConfigMap", namespace="acme", name=f"{'c' * 240}-{seq % MAX_OBJECTS}")
    fields = shown_fields([f"/data/{'k' * 40}-{number}" for number in range(100)])
    digests = {"before": DIGEST, "after": DIGEST, "goal": DIGEST, "pristine": DIGEST}
    return Intent(seq=seq, target=target, component="c" * 63, uid="u" * 36, fields=fields, **digests, state=IntentState.LANDED)


def conflict(number: int) -> Conflict:
    """Return a conflict of long values."""
    values = {"base": "a" * 256, "live": "b" * 256, "new": "c" * 256}
    return Conflict(config_map="c" * 253, key="k" * 253, path=f"/{'p' * 500}/{number}", mend="m" * 1024, **values)


def planned(number: int) -> PlannedObject:
    """Return an object of the plan about which there is as much to say as there may be."""
    name = f"{'c' * 240}-{number}"
    return PlannedObject(api_version="v1", kind="ConfigMap", namespace="acme", name=name, before=DIGEST, after=DIGEST, summary="s" * 512)


def saved(number: int) -> SnapshotRef:
    """Return where an object is saved."""
    return SnapshotRef(api_version="v1", kind="ConfigMap", namespace="acme", name=f"{'c' * 240}-{number}", uid="u" * 36, digest=DIGEST)


LONGEST = Notice(title="ü" * 200, changes="ü" * 4000, benefits="ü" * 4000, risks="ü" * 4000, url="u" * 1024)
"""All that a TenantUpgrade may say to its tenants."""
JOURNAL = TenantRunStatus(
    observed_generation=1,
    state=TenantState.ROLLING_BACK,
    reason="GateFailed",
    run=RUN,
    wave="canary",
    attempt=2,
    notice_time=NOON,
    notice_digest=DIGEST,
    start_time=NOON,
    healthy_since_time=NOON + timedelta(microseconds=123456),
    plan=TenantPlan(digest=DIGEST, objects=tuple(planned(number) for number in range(MAX_OBJECTS))),
    snapshots=tuple(saved(number) for number in range(MAX_OBJECTS)),
    intents=tuple(intent(seq) for seq in range(1, MAX_INTENTS + 1)),
    written=True,
    conflicts=tuple(conflict(number) for number in range(MAX_CONFLICTS)),
    preserved=(PreservedConfig(config_map="app-config", digest=DIGEST, kept=4, merged=1),),
    verdict=GATE,
    gate="x" * 16384,
    take_back=TakeBack(cause=FailReason.GATE_FAILED, time=NOON),
    conditions=(condition("on its way back"),),
)
UPGRADE = TenantUpgradeStatus(
    observed_generation=1,
    conditions=(condition("wave canary: 1 of 3 tenants upgraded"),),
    run=RunStatus(id=RUN, start_time=NOON, current_wave="canary", progress="24/40", policy=PolicySeen(generation=1, digest=DIGEST)),
    counts=Counts(total=40, succeeded=24),
    waves=(WaveStatus(name="canary", state=WaveState.RUNNING, total=3, healthy_since=NOON, gate=GATE, soak=timedelta(minutes=30)),),
    exceptions=(TenantException(tenant="acme", state="Held", reason="ConfigConflict"),),
    exceptions_truncated=True,
    versions=(VersionCount(version="2.3.1", tenants=16), VersionCount(version="", tenants=1)),
    next=Next(time=NOON, what="window of acme opens"),
)
PROFILE = TenantProfileStatus(
    observed_generation=1,
    versions="shop 2.3.1",
    products=(ProductStatus(name="shop", version="2.3.1", last_stable_version="2.3.1", since=NOON),),
    upgrade=ProfileUpgrade(name="shop-2-4-0", run=RUN, wave="canary", state="Waiting", reason="OutsideWindow"),
    window=WindowStatus(
        open=False, next_open_time=NOON, upcoming=(Opening(start=NOON, end=NOON + timedelta(hours=3), windows=("weekend",)),)
    ),
    preserved=(PreservedConfig(config_map="app-config", digest=DIGEST, kept=4, merged=1),),
    recent_changes=(Change(time=NOON, actor="tenantwave", object="Deployment/api", action="Upgrade", from_="2.3.1", to="2.4.0"),),
    notices=notices_shown((), [DueNotice(f"shop-2-4-{number}", "2.4.0", DIGEST, LONGEST) for number in range(MAX_NOTICES)], NOON),
)


@pytest.fixture(scope="module")
def tenant(cluster: Cluster) -> str:
    """A namespace for what is stored here."""
    name = f"statuses-{secrets.token_hex(3)}"
    cluster.apply_namespace(name)
    return name


async def stored(kube: KubeClient, kind: str, tenant: str, document: dict[str, Any]) -> dict[str, Any]:
    """Create an object of the kind, write its status and return the status as read again."""
    manifest = SAMPLES[kind]
    name = manifest["metadata"]["name"] if kind == "TenantProfile" else f"status-{secrets.token_hex(3)}"
    created = await kube.create(manifest | {"metadata": {"name": name, "namespace": tenant}})
    namespace = created["metadata"].get("namespace")
    try:
        await kube.replace(created | {"status": document}, subresource="status")
        status: dict[str, Any] = (await kube.get(kind, name, namespace))["status"]
        return status
    finally:
        await kube.delete(kind, name, namespace)


@pytest.mark.parametrize(
    ("kind", "status"),
    [("TenantRun", JOURNAL), ("TenantUpgrade", UPGRADE), ("TenantProfile", PROFILE)],
    ids=["TenantRun", "TenantUpgrade", "TenantProfile"],
)
async def test_a_whole_status_is_read_back_as_it_was_written(kube: KubeClient, tenant: str, kind: str, status: ApiModel) -> None:
    """With a journal of as many writes, objects and words as there may be: etcd takes it."""
    assert type(status).model_validate(await stored(kube, kind, tenant, status.document())) == status


async def test_a_status_with_too_long_a_sentence_is_stored_all_the_same(kube: KubeClient, tenant: str) -> None:
    """Cut, and marked as cut."""
    status = UPGRADE.model_copy(update={"conditions": (condition("x").model_copy(update={"message": "x" * 5000}),)})
    read = TenantUpgradeStatus.model_validate(await stored(kube, "TenantUpgrade", tenant, bounded_document(status)))
    assert read.conditions[0].message == "x" * 2047 + "…"
    assert read.model_copy(update={"conditions": status.conditions}) == status
