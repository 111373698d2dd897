"""What a preflight or a preview of one tenant finds, on an API server in memory: whatever ends there has written nothing to the tenant."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from support.tenant_story import ACME, OLD, OWN, S, Story, a_spec
from tenantwave.api.conditions import FailReason
from tenantwave.api.kinds import CONFIG_MAP, CRON_JOB, DEPLOYMENT, INTENT_ANNOTATION, LEASE, TENANT_RUN, Kind
from tenantwave.core.plan import Deed
from tenantwave.faults import Forbidden


async def test_a_conflict_is_found_before_any_write() -> None:
    """The same key edited by tenant and release: Held, all conflicts listed, nothing written, no lock kept."""
    story = await Story(live=OLD | {"app-config": OLD["app-config"] | {"db.pool": "12", "old.flag": "false"}}).begin()
    await story.step()
    status = story.status
    assert (status.state, status.reason, status.written) == (S.HELD, FailReason.CONFIG_CONFLICT, False)
    assert [(one.kind, one.key) for one in status.conflicts] == [("Both", "db.pool"), ("EditedButDropped", "old.flag")]
    assert not [one for one in story.cluster.writes if one.namespace == ACME]
    assert story.leftovers() == []


async def test_a_tenant_held_by_a_conflict_queues_up_when_it_is_mended() -> None:
    """PREVIEW of a held tenant looks again, and writes only on change."""
    story = await Story(live=OLD | {"app-config": OLD["app-config"] | {"db.pool": "12"}}).begin()
    await story.step()
    writes = len(story.cluster.writes)
    await story.step(Deed.PREVIEW)
    assert len(story.cluster.writes) == writes
    story.cluster.edit(CONFIG_MAP, ACME, "app-config", {"data": {"db.pool": "20"}})
    await story.step(Deed.PREVIEW)
    assert (story.status.state, story.status.conflicts) == (S.QUEUED, ())


async def test_a_rule_settles_a_conflict() -> None:
    """`onConflict: TenantWins` on the key keeps the tenant's value."""
    rules = [{"configMap": "app-config", "key": "db.pool", "onConflict": "TenantWins"}]
    live = OLD | {"app-config": OLD["app-config"] | {"db.pool": "12"}}
    story = await Story(spec=a_spec(preservation={"rules": rules}), live=live).begin()
    await story.run(S.SUCCEEDED)
    assert story.data("app-config")["db.pool"] == "12"


@pytest.mark.parametrize(
    ("kind", "name", "reason"),
    [(CONFIG_MAP, "app-config", FailReason.PREFLIGHT_FAILED), (DEPLOYMENT, "worker", FailReason.NOT_DRIVABLE)],
)
async def test_what_is_being_deleted_is_not_written(kind: Kind, name: str, reason: FailReason) -> None:
    """A finalizer holds it; it would be gone a moment after the upgrade."""
    story = await Story().begin()
    story.cluster.edit(kind, ACME, name, {"metadata": {"deletionTimestamp": "2026-12-06T00:59:00Z", "finalizers": ["example.com/hold"]}})
    await story.step()
    assert (story.status.state, story.status.reason, story.status.written) == (S.HELD, reason, False)
    assert f"{kind.name} {name} is being deleted" in story.status.message


@pytest.mark.parametrize("name", ["app-config", "extra-config", "api"])
async def test_a_policy_about_annotations_is_met_before_any_write(name: str) -> None:
    """Each write carries our marker, so the dry-run does."""

    def refuse(body: dict[str, Any]) -> None:
        metadata = body["metadata"]
        if metadata["name"] == name and INTENT_ANNOTATION in metadata.get("annotations", {}):
            raise Forbidden(f"{name}: a policy knows no such annotation")

    story = await Story().begin()
    story.cluster.mutate = refuse
    await story.step()
    assert (story.status.state, story.status.reason, story.status.written) == (S.HELD, FailReason.PREFLIGHT_FAILED, False)
    assert "dry-run" in story.status.message
    assert not [one for one in story.cluster.writes if one.namespace == ACME]


async def test_who_writes_often_keeps_no_preflight_from_its_end() -> None:
    """A ConfigMap that changes while its tenant is looked at: what the write asks for is asked then."""
    story = await Story().begin()

    def edit(body: dict[str, Any]) -> None:
        story.cluster.mutate = lambda body: None
        story.cluster.edit(CONFIG_MAP, ACME, "app-config", {"data": {"hits": str(len(story.cluster.requests))}})
        story.cluster.mutate = edit

    story.cluster.mutate = edit
    await story.step()
    assert story.status.state is S.APPLYING


async def test_a_preview_writes_nothing_but_the_plan() -> None:
    """A suspended upgrade shows what would be written."""
    story = await Story().begin()
    story.set_status(story.status.model_copy(update={"state": S.QUEUED}))
    story.cluster.writes.clear()
    await story.step(Deed.PREVIEW)
    assert [one.kind for one in story.cluster.writes] == ["TenantRun"]
    preview = story.status.preview
    assert preview is not None
    assert [(one.name, one.action) for one in preview.objects] == [
        ("app-config", "Update"),
        ("extra-config", "Create"),
        ("worker-config", "Update"),
        ("api", "Update"),
        ("worker", "Update"),
    ]
    assert preview.objects[3].summary == "api: shop/api:2.3.1 -> shop/api:2.4.0"


async def test_a_tenant_that_another_run_has_is_waited_for() -> None:
    """The lock of a live run is never broken; that of one that is through is."""
    story = await Story().begin()
    other = story.cluster.put(TENANT_RUN, {"metadata": {"name": "other.acme", "namespace": OWN}, "status": {"state": "Soaking"}})
    lease = {
        "metadata": {
            "name": f"tenant-{story.status.namespace_uid}",
            "namespace": OWN,
            "annotations": {"tenantwave.io/holder": "other.acme"},
        },
        "spec": {"holderIdentity": other["metadata"]["uid"]},
    }
    story.cluster.put(LEASE, lease)
    await story.step()
    assert (story.status.state, story.status.reason) == (S.WAITING, "TenantBusy")
    assert "other.acme" in story.status.message
    story.cluster.edit(TENANT_RUN, OWN, "other.acme", {"status": {"state": "Succeeded"}})
    story.set_status(story.status.model_copy(update={"state": S.PREFLIGHT}))
    await story.run(S.SUCCEEDED)
    assert story.leftovers() == []


OWNERS = {
    "argo": ({"annotations": {"argocd.argoproj.io/tracking-id": "shop:apps/Deployment:acme/api"}}, "Argo CD Application shop"),
    "flux": ({"labels": {"kustomize.toolkit.fluxcd.io/name": "shop", "kustomize.toolkit.fluxcd.io/namespace": "flux"}}, "flux/shop"),
    "helm": (
        {"labels": {"app.kubernetes.io/managed-by": "Helm"}, "annotations": {"meta.helm.sh/release-name": "shop"}},
        "Helm release shop",
    ),
}


@pytest.mark.parametrize("owner", OWNERS)
@pytest.mark.parametrize(("kind", "name"), [(DEPLOYMENT, "api"), (CONFIG_MAP, "app-config")])
async def test_what_a_gitops_tool_owns_is_not_written(owner: str, kind: Kind, name: str) -> None:
    """OwnershipConflict names the owner, before any write."""
    marks, called = OWNERS[owner]
    story = await Story().begin()
    story.cluster.edit(kind, ACME, name, {"metadata": marks})
    await story.step()
    assert (story.status.state, story.status.reason, story.status.written) == (S.HELD, FailReason.OWNERSHIP_CONFLICT, False)
    assert called in story.status.message


async def test_a_missing_component_is_skipped_only_if_it_is_optional() -> None:
    """Else the tenant is held; `optional: true` goes on without it, forwards and back."""
    spec = a_spec()
    story = await Story(spec=spec, live={"app-config": OLD["app-config"]}).begin()
    story.cluster.remove(DEPLOYMENT, ACME, "worker")
    await story.step()
    assert (story.status.state, story.status.reason) == (S.HELD, FailReason.PREFLIGHT_FAILED)
    components = [one.model_copy(update={"optional": True}) for one in spec.components]
    story.spec = spec.model_copy(update={"components": tuple(components)})
    story.set_status(story.status.model_copy(update={"state": S.PREFLIGHT}))
    await story.run(S.SUCCEEDED)
    assert (story.image("api"), story.cluster.has(CONFIG_MAP, ACME, "worker-config")) == ("shop/api:2.4.0", False)


def refuse_a_large_pool(body: dict[str, Any]) -> None:
    """Do what a policy of the cluster would: the release sets 20."""
    if body.get("data", {}).get("db.pool") == "20":
        raise Forbidden("policy limits refuses db.pool above 15")


async def test_a_refusal_of_the_dry_run_holds_the_tenant() -> None:
    """A policy that refuses the write is found before anything is written."""
    story = await Story().begin()
    story.cluster.mutate = refuse_a_large_pool
    await story.step()
    assert (story.status.state, story.status.reason, story.status.written) == (S.HELD, FailReason.PREFLIGHT_FAILED, False)
    assert "policy limits" in story.status.message


async def test_a_tenant_that_the_server_refuses_stays_held_until_it_does_not() -> None:
    """The look at a held tenant asks the server again, so it does not leave and come back."""
    story = await Story().begin()
    story.cluster.mutate = refuse_a_large_pool
    await story.step()
    writes = len(story.cluster.writes)
    await story.step(Deed.PREVIEW)
    assert (story.status.state, len(story.cluster.writes)) == (S.HELD, writes)
    story.cluster.mutate = lambda body: None
    await story.step(Deed.PREVIEW)
    assert story.status.state is S.QUEUED


def pause_api(story: Story) -> None:
    story.cluster.edit(DEPLOYMENT, ACME, "api", {"spec": {"paused": True}})


def resume_api(story: Story) -> None:
    story.cluster.edit(DEPLOYMENT, ACME, "api", {"spec": {"paused": None}})


def edit_a_key_of_both(story: Story) -> None:
    story.cluster.edit(CONFIG_MAP, ACME, "app-config", {"data": {"db.pool": "12"}})


def undo_that_edit(story: Story) -> None:
    story.cluster.edit(CONFIG_MAP, ACME, "app-config", {"data": {"db.pool": "10"}})


@pytest.mark.parametrize(
    ("spoil", "mend", "told", "conflict_count"),
    [
        pytest.param(pause_api, resume_api, "NotDrivable: ", 0, id="a paused Deployment"),
        pytest.param(edit_a_key_of_both, undo_that_edit, "ConfigConflict: ", 1, id="a conflict"),
    ],
)
async def test_a_preview_tells_what_would_hold_the_tenant(
    spoil: Callable[[Story], None], mend: Callable[[Story], None], told: str, conflict_count: int
) -> None:
    """Of a suspended upgrade: the tenant stays queued, and nothing but dry-runs is sent to it; mended, the next look has a plan."""
    story = await Story().begin()
    story.set_status(story.status.model_copy(update={"state": S.QUEUED}))
    spoil(story)
    story.cluster.writes.clear()
    await story.step(Deed.PREVIEW)
    status = story.status
    assert (status.state, status.preview, status.conflict_count) == (S.QUEUED, None, conflict_count)
    assert status.preview_problem.startswith(told)
    mend(story)
    await story.step(Deed.PREVIEW)
    assert (story.status.preview_problem, story.status.conflict_count, story.status.preview is not None) == ("", 0, True)
    assert {one.kind for one in story.cluster.writes} <= {"TenantRun"}


async def test_a_preview_asks_the_server() -> None:
    """What an admission policy refuses shows before the start; a dry-run is no write."""
    story = await Story().begin()
    story.set_status(story.status.model_copy(update={"state": S.QUEUED}))
    story.cluster.writes.clear()
    await story.step(Deed.PREVIEW)
    assert any(request.endswith("(dry-run)") for request in story.cluster.requests)
    assert [one.kind for one in story.cluster.writes] == ["TenantRun"]


@pytest.mark.parametrize(("count", "state"), [(31, S.APPLYING), (32, S.HELD)])
async def test_every_hook_and_probe_finds_room_for_its_record(count: int, state: S) -> None:
    """Those of the way back, too: else they would keep the tenant from being taken back."""
    template = {"spec": {"template": {"spec": {"containers": [{"name": "run", "image": "shop/tools:1"}]}}}}
    workload = {"kind": "CronJob", "selector": {"matchLabels": {"part": "jobs"}}, "probe": True}
    components = [{"name": "jobs", "workload": workload | {"containers": [{"name": "run", "image": "shop/jobs:2.4.0"}]}}]
    story = await Story(spec=a_spec(components=components, hooks=[{"name": "undo", "at": "OnRollback", "jobTemplate": template}])).begin()
    for number in range(count):
        metadata = {"name": f"job-{number}", "namespace": ACME, "labels": {"part": "jobs"}}
        pod = {"spec": {"containers": [{"name": "run", "image": "shop/jobs:2.3.1"}]}}
        story.cluster.put(CRON_JOB, {"metadata": metadata, "spec": {"schedule": "@daily", "jobTemplate": {"spec": {"template": pod}}}})
    await story.step()
    assert (story.status.state, story.status.written) == (state, False)
    assert state is S.APPLYING or "1 hooks and 32 CronJobs with `probe` in one tenant, at most 32 together" in story.status.message
