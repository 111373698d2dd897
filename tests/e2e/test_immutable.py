"""Immutable ConfigMaps on a real API server: a new object for each content, pod templates that follow, a way back, and names that must stay."""

from __future__ import annotations

from typing import Any

from support.story import IMAGE, Story
from support.workloads import config_map

CANARY = {"tenantwave.io/ring": "canary"}
DEPLOYMENT = "apps/v1/Deployment"
STRATEGIC = "application/strategic-merge-patch+json"


def job(tenant: str) -> dict[str, Any]:
    """A Job of the tenant's own that has still to run, and reads `app-config`."""
    reads = {"name": "report", "image": f"{IMAGE}:1", "envFrom": [{"configMapRef": {"name": "app-config"}}]}
    template = {"spec": {"containers": [reads], "restartPolicy": "Never"}}
    return {
        "apiVersion": "batch/v1",
        "kind": "Job",
        "metadata": {"name": "report", "namespace": tenant},
        "spec": {"suspend": True, "template": template},
    }


async def template(story: Story, tenant: str) -> dict[str, Any]:
    """Return the pod template's spec of the tenant's Deployment."""
    spec: dict[str, Any] = (await story.kube.get(DEPLOYMENT, "api", tenant))["spec"]["template"]["spec"]
    return spec


async def versions(story: Story, tenant: str) -> list[str]:
    """Return the ConfigMaps that we made of `app-config`, by name."""
    found = await story.kube.list("ConfigMap", tenant)
    return sorted(one["metadata"]["name"] for one in found if "tenantwave.io/target" in (one["metadata"].get("annotations") or {}))


async def test_an_immutable_config_map_is_made_anew_and_the_way_back_repoints(story: Story) -> None:
    """Held while a Job of the tenant needs the name; then upgraded, the old object untouched; the next version is bad and leaves nothing."""
    for version, pool in (("2.3.1", "10"), ("2.4.0", "20"), ("2.5.0", "30")):
        await story.pristine(version, {"pool": pool})
    tenant = await story.tenant("canary", labels=CANARY, config={"pool": "10", "mine": "1"})
    await story.kube.patch("ConfigMap", "app-config", tenant, {"immutable": True, "metadata": {"labels": {"team": "red"}}})
    volumes = [
        {"name": "file", "configMap": {"name": "app-config", "items": [{"key": "pool", "path": "pool"}]}},
        {"name": "all", "projected": {"sources": [{"configMap": {"name": "app-config"}}, {"downwardAPI": {"items": []}}]}},
    ]
    env = [
        {"name": "POOL", "valueFrom": {"configMapKeyRef": {"name": "app-config", "key": "pool"}}},
        {"name": "PLAIN", "value": "1"},
    ]
    mounts = [{"name": "file", "mountPath": "/etc/pool", "subPath": "pool"}, {"name": "all", "mountPath": "/etc/all"}]
    more = {"volumes": volumes, "containers": [{"name": "api", "env": env, "volumeMounts": mounts}]}
    await story.kube.patch(DEPLOYMENT, "api", tenant, {"spec": {"template": {"spec": more}}}, content_type=STRATEGIC)
    await story.kube.apply(job(tenant))
    await story.ready()
    before = await story.kube.get("ConfigMap", "app-config", tenant)
    old_template = await template(story, tenant)
    await story.policy()
    await story.operator()

    first = await story.upgrade("first", "2.4.0")
    held = await story.until_run(first, tenant, lambda run: run.get("state") == "Held", "is Held")
    assert held["reason"] == "ConfigConflict"
    assert "app-config is immutable, its content changes, and Job/report needs its name" in held["message"]
    assert await versions(story, tenant) == []
    await story.kube.delete("batch/v1/Job", "report", tenant)
    await story.until(first, "Succeeded")

    (made,) = await versions(story, tenant)
    body = await story.kube.get("ConfigMap", made, tenant)
    assert (body["data"], body["immutable"], body["metadata"]["labels"]) == ({"pool": "20", "mine": "1"}, True, {"team": "red"})
    assert body["metadata"]["annotations"] == {"tenantwave.io/target": "app-config"}
    assert await story.kube.get("ConfigMap", "app-config", tenant) == before
    assert str(await template(story, tenant)) == str(old_template).replace("'app-config'", f"'{made}'").replace(":2.3.1", ":2.4.0")

    second = await story.upgrade("second", "2.5.0", image=f"{IMAGE}:2.5.0-bad", health={"timeout": "4s"})
    await story.until(second, "RolledBack")
    assert await versions(story, tenant) == [made]
    assert str(await template(story, tenant)) == str(old_template).replace("'app-config'", f"'{made}'").replace(":2.3.1", ":2.4.0")
    assert await story.leftovers() == []


async def test_a_full_quota_holds_until_it_is_raised(story: Story) -> None:
    """Found by a dry-run, before any write; the tenant goes on by itself."""
    await story.pristine("2.3.1", {"pool": "10"})
    await story.pristine("2.4.0", {"pool": "20"})
    tenant = await story.tenant("canary", labels=CANARY, config={"pool": "10"})
    await story.kube.patch("ConfigMap", "app-config", tenant, {"immutable": True})
    await story.kube.apply(config_map("another", tenant, {}))
    await story.ready()
    count = len(await story.kube.list("ConfigMap", tenant))
    limit = {"hard": {"count/configmaps": str(count)}}
    await story.kube.apply({"apiVersion": "v1", "kind": "ResourceQuota", "metadata": {"name": "few", "namespace": tenant}, "spec": limit})
    await story.kube.wait_until(
        "ResourceQuota",
        "few",
        tenant,
        lambda body: (body.get("status") or {}).get("used", {}).get("count/configmaps") == str(count),
        saying="counted",
    )
    await story.policy()
    await story.operator()
    upgrade = await story.upgrade()
    await story.until(upgrade, "Held")
    held = await story.run(upgrade, tenant)
    assert (held["state"], held["reason"], held["written"]) == ("Held", "QuotaExceeded", False)
    assert "exceeded quota: few" in held["message"]
    assert "raise the quota" in held["message"]
    assert await versions(story, tenant) == []
    await story.kube.patch("ResourceQuota", "few", tenant, {"spec": {"hard": {"count/configmaps": str(count + 1)}}})
    await story.until(upgrade, "Succeeded")
    assert len(await versions(story, tenant)) == 1
    assert await story.leftovers() == []
