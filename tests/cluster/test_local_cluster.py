"""The local control plane does what the other tests rely on."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from localcluster.access import Cluster
from localcluster.client import ApiError, KubeClient, eventually
from localcluster.cluster import LocalCluster
from localcluster.monitoring import Monitoring

from support.workloads import cron_job, is_rolled_out, job, namespace, workload

Unique = Callable[[str], str]


@pytest.fixture
async def tenant(kube: KubeClient, unique: Unique, played_cluster: Cluster) -> str:
    name = unique("tenant")
    await kube.create(namespace(name))
    return name


@pytest.mark.parametrize("kind", ["Deployment", "StatefulSet", "DaemonSet"])
async def test_a_workload_rolls_out_and_then_rolls_to_a_new_image(kube: KubeClient, tenant: str, kind: str) -> None:
    await kube.create(workload(kind, "web", tenant, image="shop/web:1"))
    await kube.wait_until(kind, "web", tenant, is_rolled_out)
    await kube.patch(kind, "web", tenant, {"spec": {"template": {"spec": {"containers": [{"name": "web", "image": "shop/web:2"}]}}}})
    await kube.wait_until(kind, "web", tenant, is_rolled_out)
    assert {pod["spec"]["containers"][0]["image"] for pod in await kube.list("Pod", tenant, labels="app=web")} == {"shop/web:2"}


async def test_a_bad_image_crashes_and_its_deployment_runs_out_of_time(kube: KubeClient, tenant: str) -> None:
    await kube.create(workload("Deployment", "web", tenant, image="shop/web:2-bad", spec={"progressDeadlineSeconds": 2}))
    await kube.wait_until("Deployment", "web", tenant, _has_run_out_of_time)
    (pod,) = await kube.list("Pod", tenant)
    (container,) = pod["status"]["containerStatuses"]
    assert (container["state"]["waiting"]["reason"], container["restartCount"], container["ready"]) == ("CrashLoopBackOff", 5, False)


async def test_a_pod_can_fail_some_time_after_it_became_ready(kube: KubeClient, tenant: str) -> None:
    await kube.create(workload("Deployment", "web", tenant, image="shop/web:1", annotations={"localcluster/fail-after": "4"}))
    await kube.wait_until("Deployment", "web", tenant, is_rolled_out)
    await kube.wait_until("Deployment", "web", tenant, lambda body: body["status"].get("readyReplicas", 0) == 0)


async def test_a_pod_can_take_its_time_to_become_ready(kube: KubeClient, tenant: str) -> None:
    await kube.create(workload("Deployment", "web", tenant, image="shop/web:1", annotations={"localcluster/ready-after": "5"}))

    async def pods() -> list[dict[str, Any]]:
        return await kube.list("Pod", tenant)

    (pod,) = await eventually(pods)
    assert pod["status"]["phase"] == "Pending"
    await kube.wait_until("Deployment", "web", tenant, is_rolled_out)


@pytest.mark.parametrize(("image", "condition"), [("shop/migrate:1", "Complete"), ("shop/migrate:1-bad", "Failed")])
async def test_a_job_ends_by_its_image(kube: KubeClient, tenant: str, image: str, condition: str) -> None:
    await kube.create(job("migrate", tenant, image=image))
    await kube.wait_until("Job", "migrate", tenant, lambda body: _holds(body, condition))


async def test_a_cron_job_starts_the_job_that_is_due(kube: KubeClient, tenant: str) -> None:
    """The schedule's last run is put two minutes back, so that the next one is due now."""
    await kube.create(
        {**(made := cron_job("often", tenant, image="shop/report:1", schedule="* * * * *")), "spec": {**made["spec"], "suspend": True}}
    )
    two_minutes_ago = (datetime.now(UTC) - timedelta(minutes=2)).strftime("%Y-%m-%dT%H:%M:%SZ")
    await kube.patch("CronJob", "often", tenant, {"status": {"lastScheduleTime": two_minutes_ago}}, subresource="status")
    await kube.patch("CronJob", "often", tenant, {"spec": {"suspend": False}})
    await kube.wait_until("CronJob", "often", tenant, lambda body: "lastSuccessfulTime" in body["status"])


async def test_a_namespace_goes_away_with_all_that_is_in_it(kube: KubeClient, tenant: str) -> None:
    await kube.create(workload("Deployment", "web", tenant, image="shop/web:1"))
    await kube.wait_until("Deployment", "web", tenant, is_rolled_out)
    await kube.delete("Namespace", tenant)
    await kube.wait_gone("Namespace", tenant)


async def test_traffic_follows_the_image_that_runs(kube: KubeClient, tenant: str, monitoring: Monitoring) -> None:
    await kube.create(workload("Deployment", "web", tenant, image="shop/web:1"))
    await kube.wait_until("Deployment", "web", tenant, is_rolled_out)
    good = f'increase(http_requests_total{{namespace="{tenant}",code="200"}}[5s]) > 0'
    await eventually(_answer(monitoring, good), saying=good)
    await kube.patch(
        "Deployment", "web", tenant, {"spec": {"template": {"spec": {"containers": [{"name": "web", "image": "shop/web:2-err"}]}}}}
    )
    bad = f'increase(http_requests_total{{namespace="{tenant}",code="500"}}[5s]) > 0'
    await eventually(_answer(monitoring, bad), saying=bad)


async def test_traffic_can_be_told_to_fail_and_to_fall_silent(kube: KubeClient, tenant: str, monitoring: Monitoring) -> None:
    await kube.create(workload("Deployment", "web", tenant, image="shop/web:1"))
    monitoring.set_traffic(tenant, error_share=1.0)
    bad = f'increase(http_requests_total{{namespace="{tenant}",code="500"}}[5s]) > 0'
    await eventually(_answer(monitoring, bad), saying=bad)
    monitoring.set_traffic(tenant, silent=True)
    none = f'absent(http_requests_total{{namespace="{tenant}"}})'
    await eventually(_answer(monitoring, none), saying=none)


async def test_prometheus_goes_and_comes_back_with_its_data(kube: KubeClient, monitoring: Monitoring) -> None:
    await eventually(_answer(monitoring, "up == 1"), saying="the exporter is scraped")
    monitoring.stop_prometheus()
    with pytest.raises(OSError, match="refused"):
        monitoring.query("up")
    monitoring.start_prometheus()
    assert monitoring.query("count_over_time(up[1h]) > 0")


async def test_the_api_server_goes_and_comes_back_with_its_data(kube: KubeClient, tenant: str, local_cluster: LocalCluster) -> None:
    local_cluster.stop_api_server()
    local_cluster.start_api_server()
    assert (await kube.get("Namespace", tenant))["metadata"]["name"] == tenant
    await kube.create(workload("Deployment", "web", tenant, image="shop/web:1"))
    await kube.wait_until("Deployment", "web", tenant, is_rolled_out)


async def test_a_service_account_may_do_what_rbac_lets_it(kube: KubeClient, tenant: str, cluster: Cluster) -> None:
    await kube.wait_until("ServiceAccount", "default", tenant, lambda _: True)
    async with KubeClient.from_kubeconfig(cluster.kubeconfig_for(tenant, "default")) as bound:
        with pytest.raises(ApiError, match="forbidden"):
            await bound.list("Pod", tenant)


async def test_the_audit_log_tells_who_wrote_what_through_which_field_manager(
    kube: KubeClient, tenant: str, local_cluster: LocalCluster
) -> None:
    mark = local_cluster.audit_mark()
    await kube.create({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "app", "namespace": tenant}, "data": {"a": "1"}})
    (event,) = [event for event in local_cluster.audit_events(mark) if event["objectRef"].get("namespace") == tenant]
    assert (event["verb"], event["user"]["username"], event["objectRef"]["resource"]) == ("create", "localcluster-admin", "configmaps")
    assert "fieldManager=test-admin" in event["requestURI"]


def _has_run_out_of_time(body: dict[str, Any]) -> bool:
    return any(condition.get("reason") == "ProgressDeadlineExceeded" for condition in body.get("status", {}).get("conditions", ()))


def _holds(body: dict[str, Any], kind: str) -> bool:
    return any(one["type"] == kind and one["status"] == "True" for one in body.get("status", {}).get("conditions", ()))


def _answer(monitoring: Monitoring, promql: str) -> Callable[[], Any]:
    async def look() -> list[dict[str, Any]]:
        return monitoring.query(promql)

    return look
