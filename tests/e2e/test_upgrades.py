"""The main job: tenants are upgraded wave by wave, and taken back when it goes wrong."""

from __future__ import annotations

from typing import Any

from localcluster.client import eventually
from localcluster.cluster import LocalCluster

from support.audit import IN_FLIGHT, flights, in_tenants, template_writes, twice, writes
from support.story import IMAGE, PROFILE, Story, condition
from support.workloads import cron_job, is_rolled_out, workload

SIDECAR = "registry.example.com/shop/sidecar"


async def test_good_version_reaches_everybody_in_order(story: Story) -> None:
    """S1: eight tenants, two waves; edits kept, new keys added, untouched tenants get exactly the new configuration."""
    old = {"pool": "10", "mode": "fast"}
    new = {"pool": "20", "mode": "fast", "cache": "on"}
    await story.pristine("2.3.1", old)
    await story.pristine("2.4.0", new)
    canary = await story.tenant("canary", labels={"tenantwave.io/ring": "canary"}, config=old)
    edited = await story.tenant("edited", config={**old, "mode": "careful", "own": "mine"})
    for number in range(6):
        await story.tenant(f"plain-{number}", config=old)
    await story.ready()
    await story.policy()
    await story.operator()
    upgrade = await story.upgrade()
    done = await story.until(upgrade, "Succeeded")
    assert set((await story.images()).values()) == {f"{IMAGE}:2.4.0"}
    assert await story.config(canary) == new
    assert await story.config(edited) == {**new, "mode": "careful", "own": "mine"}
    assert done["status"]["counts"]["succeeded"] == 8
    assert [wave["state"] for wave in done["status"]["waves"]] == ["Passed", "Passed"]
    assert condition(done, "Ready")["status"] == "True"
    assert await story.leftovers() == []


async def test_image_that_never_becomes_ready_is_taken_back(story: Story) -> None:
    """S2: the canary goes back, nobody else is touched, and it is not tried again by itself."""
    old, new = {"pool": "10"}, {"pool": "20"}
    await story.pristine("2.3.1", old)
    await story.pristine("2.4.0", new)
    canary = await story.tenant("canary", labels={"tenantwave.io/ring": "canary"}, config={**old, "own": "mine"}, deadline=5)
    other = await story.tenant("other", config=old)
    await story.ready()
    untouched = (await story.kube.get("apps/v1/Deployment", "api", other))["metadata"]["generation"]
    await story.policy()
    await story.operator()
    upgrade = await story.upgrade(image=f"{IMAGE}:2.4.0-bad", health={"timeout": "30s"})
    done = await story.until(upgrade, "RolledBack")
    assert condition(done, "Stalled")["status"] == "True"
    assert set((await story.images()).values()) == {f"{IMAGE}:2.3.1"}
    assert await story.config(canary) == {**old, "own": "mine"}
    assert (await story.kube.get("apps/v1/Deployment", "api", other))["metadata"]["generation"] == untouched
    run = await story.run(upgrade, canary)
    assert (run["state"], run["takeBack"]["cause"]) == ("RolledBack", "NotConverged")
    assert (await story.run(upgrade, other))["reason"] == "RunEnded"
    assert await story.leftovers() == []


async def test_conflict_is_found_before_any_write(story: Story) -> None:
    """S7: the same key edited by tenant and release holds that tenant, with nothing written; settling it lets the tenant go on."""
    await story.pristine("2.3.1", {"pool": "10"})
    await story.pristine("2.4.0", {"pool": "20"})
    canary = await story.tenant("canary", labels={"tenantwave.io/ring": "canary"}, config={"pool": "15"})
    await story.ready()
    generation = (await story.kube.get("apps/v1/Deployment", "api", canary))["metadata"]["generation"]
    await story.policy()
    await story.operator()
    upgrade = await story.upgrade()
    held = await story.until(upgrade, "Held")
    run = await story.run(upgrade, canary)
    assert (run["state"], run["reason"]) == ("Held", "ConfigConflict")
    assert run["conflicts"][0]["key"] == "pool"
    assert {run["conflicts"][0][name] for name in ("base", "live", "new")} == {"10", "15", "20"}
    assert condition(held, "ConfigPreserved")["status"] == "False"
    assert (await story.kube.get("apps/v1/Deployment", "api", canary))["metadata"]["generation"] == generation
    assert await story.config(canary) == {"pool": "15"}
    await story.edit(canary, "pool", "20")
    await story.until(upgrade, "Succeeded")
    assert await story.leftovers() == []


async def test_order_and_budgets_hold_at_every_moment(story: Story, local_cluster: LocalCluster) -> None:
    """S1: by the API server's audit log: waves in order, never more in flight than `maxParallel`, each Deployment written once."""
    await story.pristine("2.3.1", {"pool": "10"})
    await story.pristine("2.4.0", {"pool": "20"})
    canaries = [
        await story.tenant(f"canary-{number}", labels={"tenantwave.io/ring": "canary"}, config={"pool": "10"}) for number in range(2)
    ]
    rest = [await story.tenant(f"rest-{number}", config={"pool": "10"}) for number in range(6)]
    await story.ready()
    mark = local_cluster.audit_mark()
    await story.policy()
    await story.operator()
    upgrade = await story.upgrade()
    await story.until(upgrade, "Succeeded")
    done = writes(local_cluster, mark)
    moments = list(flights(done, upgrade))
    for names, limit in ((canaries, 1), (rest, 2)):
        flying = [sum(state in IN_FLIGHT for tenant, state in moment.items() if tenant in names) for moment in moments]
        assert max(flying) == limit
    templates = [write.namespace for write in template_writes(in_tenants(done, story.tenants))]
    assert sorted(templates) == sorted(story.tenants)
    assert set(templates[: len(canaries)]) == set(canaries)
    started = [moment for moment in moments if any(moment.get(tenant, "Queued") in IN_FLIGHT for tenant in rest)]
    assert all(moment[tenant] == "Succeeded" for moment in started for tenant in canaries)
    assert twice(in_tenants(done, story.tenants)) == []


async def test_every_kind_of_workload_in_one_release(story: Story) -> None:
    """S1: StatefulSet, DaemonSet and CronJob, init containers and several containers, and a component that only some tenants have."""
    both, plain = await story.tenant("both", labels={"tenantwave.io/ring": "canary"}, config={}), await story.tenant("plain", config={})
    containers = [{"name": "one", "image": f"{IMAGE}:2.3.1"}, {"name": "two", "image": f"{SIDECAR}:7"}]
    pod_spec = {"containers": containers, "initContainers": [{"name": "prepare", "image": f"{IMAGE}-init:2.3.1"}]}
    for tenant in (both, plain):
        await story.kube.apply(workload("StatefulSet", "store", tenant, image="", pod_spec=pod_spec))
        await story.kube.apply(workload("DaemonSet", "agent", tenant, image=f"{IMAGE}:2.3.1"))
        await story.kube.apply(cron_job("nightly", tenant, image=f"{IMAGE}:2.3.1"))
    await story.kube.apply(workload("Deployment", "extra", both, image=f"{IMAGE}:2.3.1"))
    await story.ready()
    for kind, name in (("StatefulSet", "store"), ("DaemonSet", "agent")):
        await story.kube.wait_until(kind, name, plain, is_rolled_out, saying="rolled out")
    await story.policy()
    await story.operator()

    def component(name: str, kind: str, **images: str) -> dict[str, Any]:
        wanted = [{"name": container, "image": image} for container, image in images.items()]
        return {"name": name, "workload": {"kind": kind, "name": name, "containers": wanted}}

    new = f"{IMAGE}:{{version}}"
    upgrade = await story.upgrade(
        components=[
            component("store", "StatefulSet", prepare=f"{IMAGE}-init:{{version}}", one=new, two=f"{SIDECAR}:8"),
            component("agent", "DaemonSet", agent=new),
            component("nightly", "CronJob", nightly=new),
            component("api", "Deployment", api=new),
            component("extra", "Deployment", extra=new) | {"optional": True},
        ]
    )
    await story.until(upgrade, "Succeeded")
    for tenant in (both, plain):
        pods = (await story.kube.get("StatefulSet", "store", tenant))["spec"]["template"]["spec"]
        images = [container["image"] for container in (*pods["initContainers"], *pods["containers"])]
        assert images == [f"{IMAGE}-init:2.4.0", f"{IMAGE}:2.4.0", f"{SIDECAR}:8"]
        assert (await story.kube.get("DaemonSet", "agent", tenant))["spec"]["template"]["spec"]["containers"][0][
            "image"
        ] == f"{IMAGE}:2.4.0"
        job = (await story.kube.get("CronJob", "nightly", tenant))["spec"]["jobTemplate"]["spec"]["template"]["spec"]
        assert job["containers"][0]["image"] == f"{IMAGE}:2.4.0"
    assert (await story.kube.get("Deployment", "extra", both))["spec"]["template"]["spec"]["containers"][0]["image"] == f"{IMAGE}:2.4.0"
    assert await story.leftovers() == []


async def test_what_a_run_leaves_for_people_to_see(story: Story) -> None:
    """Events on the upgrade and in the tenant's namespace, the profile with its version, and the operator's metrics."""
    tenant = await story.tenant("only", labels={"tenantwave.io/ring": "canary"}, config={})
    for number in range(3):  # the figures name the 50 largest groups, and other stories have left many of one tenant
        await story.tenant(f"other-{number}", config={})
    await story.ready()
    await story.policy()
    operator = await story.operator()
    upgrade = await story.upgrade()
    await story.until(upgrade, "Succeeded")

    async def told(namespace: str, name: str, reasons: set[str]) -> bool:
        events = await story.kube.list("events.k8s.io/v1/Event", namespace)
        return reasons <= {event["reason"] for event in events if event["regarding"]["name"] == name}

    await eventually(
        lambda: told("default", upgrade, {"UpgradePlanned", "WaveStarted", "WavePassed", "UpgradeSucceeded"}),
        saying="Events on the upgrade",
    )
    await eventually(
        lambda: told(tenant, "tenant", {"TenantUpgradeStarted", "TenantUpgradeSucceeded"}), saying="Events in the tenant's namespace"
    )
    profile = await story.kube.wait_until(
        PROFILE,
        "tenant",
        tenant,
        lambda body: body.get("status", {}).get("versions") == f"{story.product} 2.4.0",
        saying="shows the version",
    )
    assert profile["status"]["upgrade"]["state"] == "Succeeded"
    assert profile["status"]["recentChanges"][0]["to"] == "2.4.0"

    async def metrics_with_the_fleet() -> str:  # which is counted every few seconds
        metrics = await operator.metrics()
        return metrics if f'tenantwave_product_tenants{{product="{story.product}",version="2.4.0"}} 4.0' in metrics else ""

    metrics = await eventually(metrics_with_the_fleet, saying="the fleet is counted")
    for line in (
        f'tenantwave_upgrade_status{{product="{story.product}",reason="Succeeded",upgrade="{upgrade}"}} 1.0',
        f'tenantwave_upgrade_tenants{{state="Succeeded",upgrade="{upgrade}"}} 4.0',
        f'tenantwave_wave_state{{state="Passed",upgrade="{upgrade}",wave="canary"}} 1.0',
        f'tenantwave_tenant_runs_total{{outcome="Succeeded",product="{story.product}"}} 4.0',
    ):
        assert line in metrics, metrics
    assert tenant not in metrics
    for name in (
        "leader",
        "reconcile_seconds",
        "queue_depth",
        "watch_age_seconds",
        "api_requests_total",
        "status_writes_total",
        "build_info",
    ):
        assert f"\ntenantwave_{name}" in metrics
