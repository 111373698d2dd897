"""What the operator keeps in its own namespace, on a real control plane; and tenants whose namespace goes in mid-run."""

from __future__ import annotations

import re
from typing import Any

from localcluster.client import eventually

from support.clusters import OPERATOR_NAMESPACE
from support.story import IMAGE, MARKER, RUN, UPGRADE, Object, Story
from support.workloads import config_map, is_rolled_out, namespace, workload

SOON = {
    "TENANTWAVE_SWEEP_EVERY": "1",
    "TENANTWAVE_SNAPSHOT_GRACE": "12",
    "TENANTWAVE_RETENTION_COUNT": "1",
    "TENANTWAVE_RETENTION_AGE": "1",
}
CANARY = {"tenantwave.io/ring": "canary"}
SNAPSHOTS = "tenantwave.io/role=snapshot"


async def stored(story: Story) -> set[str]:
    """Return the digests of which a chunk is stored."""
    names = [body["metadata"]["name"] for body in await story.kube.list("Secret", OPERATOR_NAMESPACE, labels=SNAPSHOTS)]
    return {"sha256:" + name.removeprefix("snapshot-").rpartition("-")[0] for name in names}


async def forget_other_tests(story: Story) -> None:
    """Delete what upgrades of earlier tests have left, as nobody needs it: a sweep would take a tenth of a second for each."""
    for kind, labels in (("Secret", SNAPSHOTS), ("ConfigMap", "tenantwave.io/role in (journal, record)")):
        await story.kube.request("DELETE", await story.kube.path(kind, OPERATOR_NAMESPACE), query={"labelSelector": labels})


def needed_by(run: Object) -> set[str]:
    """Return the blobs that a TenantRun's way back needs."""
    status = run.get("status", {})
    found = [intent.get(field, "") for intent in status.get("intents", ()) for field in ("before", "after", "goal", "pristine")]
    return {digest for digest in (*found, *(one["digest"] for one in status.get("snapshots", ()))) if digest}


async def test_what_is_gone_is_collected_and_what_is_needed_stays(story: Story) -> None:
    """Two upgrades that are deleted: the last good one keeps all that leads back from it; of the other nothing is left."""
    await forget_other_tests(story)
    for version, data in (("2.3.1", {"pool": "10"}), ("2.4.0", {"pool": "20"}), ("2.5.0", {"pool": "30"})):
        await story.pristine(version, data)
    tenant = await story.tenant("canary", labels=CANARY, config={"pool": "10", "own": "mine"})
    await story.ready()
    await story.policy()
    operator = await story.operator(environment=SOON)
    runs = {}
    for name, version in (("first", "2.4.0"), ("second", "2.5.0")):
        upgrade = await story.upgrade(name, version)
        await story.until(upgrade, "Succeeded")
        runs[name] = await story.kube.get(RUN, f"{upgrade}.{tenant}", OPERATOR_NAMESPACE)
        assert needed_by(runs[name]) <= await stored(story), "an upgrade that exists keeps everything"
        await story.kube.delete(UPGRADE, upgrade)
        await story.kube.wait_gone(UPGRADE, upgrade)

    async def first_is_gone() -> bool:
        left = [body["metadata"]["name"] for kind in (RUN, "ConfigMap") for body in await story.kube.list(kind, OPERATOR_NAMESPACE)]
        first = story.unique("first")
        return not {f"{first}.{tenant}", f"journal-{first}"} & set(left)

    await eventually(first_is_gone, timeout=120, saying="run and journal of the first upgrade are gone")
    only_first = needed_by(runs["first"]) - needed_by(runs["second"])
    shared = set(re.findall(r"sha256:[0-9a-f]{64}", str(await story.kube.list("ConfigMap", OPERATOR_NAMESPACE))))

    async def nothing_is_left_of_it() -> bool:
        return not (only_first - shared) & await stored(story)

    assert only_first - shared, "there was something to collect"
    await eventually(nothing_is_left_of_it, timeout=120, saying="the snapshots of the first upgrade are gone")
    second = await story.kube.get(RUN, runs["second"]["metadata"]["name"], OPERATOR_NAMESPACE)
    assert needed_by(second) <= await stored(story)
    shown = await operator.metrics()
    assert 'tenantwave_retention_deletions_total{kind="Secret"}' in shown
    assert float(re.findall(r'tenantwave_snapshot_bytes\{state="Needed"\} (\S+)', shown)[0]) > 0
    assert "retention: " in operator.log()
    await story.kube.delete(RUN, second["metadata"]["name"], OPERATOR_NAMESPACE)


async def test_a_namespace_that_is_made_again_in_mid_run_is_another_tenant(story: Story) -> None:
    """Deleted while it soaks: Orphaned, lock given back, nothing written into the new one; the next run begins with it anew."""
    await story.pristine("2.3.1", {"pool": "10"})
    await story.pristine("2.4.0", {"pool": "20"})
    await story.pristine("2.5.0", {"pool": "30"})
    tenant = await story.tenant("canary", labels=CANARY, config={"pool": "10"})
    await story.ready()
    await story.policy(waves=[{"name": "canary", "maxParallel": 1, "soak": "1h"}])
    await story.operator()
    upgrade = await story.upgrade()
    soaking = await story.until_run(upgrade, tenant, lambda run: run.get("state") == "Soaking", "soaks")
    labels = (await story.kube.get("Namespace", tenant))["metadata"]["labels"]
    await story.kube.delete("Namespace", tenant)
    await story.kube.wait_gone("Namespace", tenant)
    await made_again(story, tenant, labels)
    orphaned = await story.until_run(upgrade, tenant, lambda run: run.get("state") == "Orphaned", "is let go")
    assert orphaned["reason"] in ("Deleted", "Recreated")
    written = [manager for kind in ("ConfigMap", "apps/v1/Deployment") for manager in await managers(story, kind, tenant)]
    assert "tenantwave" not in written
    lease = f"tenant-{soaking['namespaceUID']}"
    await story.kube.wait_gone("coordination.k8s.io/v1/Lease", lease, OPERATOR_NAMESPACE)
    await story.kube.patch(
        "tenantwave.io/v1alpha1/RolloutPolicy",
        story.unique("policy"),
        None,
        {"spec": {"waves": [{"name": "canary", "maxParallel": 1, "soak": "1s"}]}},
    )
    await story.upgrade(version="2.5.0")
    await story.until(upgrade, "Succeeded")
    run = await story.run(upgrade, tenant)
    assert (run["fromVersion"], run["toVersion"]) == ("2.3.1", "2.5.0"), "the new namespace inherits nothing"
    assert run["namespaceUID"] != soaking["namespaceUID"]
    assert await story.config(tenant) == {"pool": "30"}
    assert await story.leftovers() == []


async def made_again(story: Story, tenant: str, labels: dict[str, str]) -> None:
    """Make the tenant as git has it."""
    await story.kube.apply(namespace(tenant, {key: value for key, value in labels.items() if not key.startswith("kubernetes.io/")}))
    await story.kube.apply(config_map("app-config", tenant, {"pool": "10"}))
    pods = {"containers": [{"name": "api", "image": f"{IMAGE}:2.3.1", "envFrom": [{"configMapRef": {"name": "app-config"}}]}]}
    await story.kube.apply(workload("Deployment", "api", tenant, image=f"{IMAGE}:2.3.1", pod_spec=pods))
    await story.kube.wait_until("apps/v1/Deployment", "api", tenant, is_rolled_out, saying="rolled out")


async def managers(story: Story, kind: str, tenant: str) -> list[Any]:
    """Return who has written the objects of a kind; a marker counts as us."""
    path = await story.kube.path(kind, tenant)
    found = (await story.kube.request("GET", path))["items"]
    marked = ["tenantwave" for body in found if MARKER in (body["metadata"].get("annotations") or {})]
    return marked + [entry["manager"] for body in found for entry in body["metadata"].get("managedFields", ())]
