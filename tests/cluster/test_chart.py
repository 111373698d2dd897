"""The chart on a real API server: what it installs runs, and its ServiceAccount may do what it must and nothing else."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Iterable
from pathlib import Path
from typing import Any

import pytest
from localcluster.access import Cluster
from localcluster.binaries import resolve
from localcluster.client import JSON_PATCH, ApiError, KubeClient, Object, eventually
from localcluster.cluster import LocalCluster

from support.chart import (
    CHART,
    RELEASE,
    SERVICE_ACCOUNT,
    apply_chart,
    helm_output,
    operator_kubeconfig,
    own_values,
    remove_chart,
    wait_for_refusal,
)

Unique = Callable[[str], str]
Install = Callable[..., Any]


@pytest.fixture(scope="session")
def helm() -> Path:
    return resolve("helm")


@pytest.fixture
async def install(kube: KubeClient, helm: Path, unique: Unique) -> AsyncIterator[Install]:
    """Install the chart with some values into a namespace of this test. Return the namespace; all is removed afterwards."""
    namespace, objects = unique("chart"), list[Object]()

    async def installing(**values: Any) -> str:
        objects.extend(await apply_chart(kube, helm, namespace, values))
        return namespace

    yield installing
    await remove_chart(kube, objects)
    await kube.delete("Namespace", namespace)


@pytest.fixture
async def tenant(kube: KubeClient, unique: Unique) -> AsyncIterator[str]:
    name = unique("acme")
    await kube.create({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}})
    yield name
    await kube.delete("Namespace", name)


# --- rights, one row each: verb, resource, where ---

TENANT_WRITES = (
    "create configmaps",
    "update configmaps",
    "patch configmaps",
    "delete configmaps",
    "patch apps/deployments",
    "update apps/deployments",
    "patch apps/statefulsets",
    "patch apps/daemonsets",
    "patch batch/cronjobs",
    "create batch/jobs",
    "delete batch/jobs",
    "delete pods",
)
TENANT_READS = ("get configmaps", "list pods", "list apps/replicasets", "list resourcequotas")
EVERYWHERE = (
    "watch namespaces",
    "watch apps/deployments",
    "watch apps/statefulsets",
    "watch apps/daemonsets",
    "watch batch/cronjobs",
    "watch tenantwave.io/tenantprofiles",
    "watch tenantwave.io/tenantdecisions",
    "create tenantwave.io/tenantprofiles",
    "patch tenantwave.io/tenantprofiles/status",
    "patch tenantwave.io/tenantdecisions/status",
    "create events.k8s.io/events",
)
CLUSTER = (
    "watch tenantwave.io/tenantupgrades",
    "watch tenantwave.io/rolloutpolicies",
    "watch tenantwave.io/upgradeactions",
    "patch tenantwave.io/tenantupgrades",
    "patch tenantwave.io/tenantupgrades/status",
    "patch tenantwave.io/rolloutpolicies/status",
    "patch tenantwave.io/upgradeactions/status",
)
OWN_NAMESPACE = (
    "create coordination.k8s.io/leases",
    "update coordination.k8s.io/leases",
    "delete coordination.k8s.io/leases",
    "watch tenantwave.io/tenantruns",
    "create tenantwave.io/tenantruns",
    "delete tenantwave.io/tenantruns",
    "patch tenantwave.io/tenantruns/status",
    "watch configmaps",
    "create configmaps",
    "patch configmaps",
    "delete configmaps",
    "create secrets",
    "patch secrets",
    "get secrets",
    "list secrets",
    "delete secrets",
)
NEVER = (
    "get secrets",
    "list secrets",
    "create secrets",
    "patch namespaces",
    "delete namespaces",
    "create namespaces",
    "create pods",
    "create pods/exec",
    "create serviceaccounts/token",
    "create apps/deployments",
    "delete apps/deployments",
    "create coordination.k8s.io/leases",
    "create tenantwave.io/tenantruns",
    "patch tenantwave.io/tenantprofiles",
    "delete tenantwave.io/tenantprofiles",
    "create tenantwave.io/tenantdecisions",
    "delete tenantwave.io/tenantdecisions",
    "create rbac.authorization.k8s.io/rolebindings",
    "impersonate users",
)
NEVER_IN_THE_CLUSTER = (
    "create tenantwave.io/upgradeactions",
    "delete tenantwave.io/upgradeactions",
    "update tenantwave.io/tenantupgrades",
    "delete tenantwave.io/tenantupgrades",
    "patch tenantwave.io/rolloutpolicies",
    "update apiextensions.k8s.io/customresourcedefinitions",
    "create admissionregistration.k8s.io/validatingadmissionpolicies",
    "bind rbac.authorization.k8s.io/clusterroles",
)


async def refused(kube: KubeClient, operator_namespace: str, rights: Iterable[str], namespace: str = "") -> set[str]:
    """Return those rights that the API server says the operator does not have in `namespace` (empty: in the whole cluster)."""

    async def is_allowed(right: str) -> bool:
        verb, _, target = right.partition(" ")
        group, _, resource = target.partition("/") if "." in target or target.startswith(("apps/", "batch/")) else ("", "", target)
        resource, _, subresource = resource.partition("/")
        review = {
            "apiVersion": "authorization.k8s.io/v1",
            "kind": "SubjectAccessReview",
            "spec": {
                "user": f"system:serviceaccount:{operator_namespace}:{SERVICE_ACCOUNT}",
                "groups": ["system:authenticated", "system:serviceaccounts", f"system:serviceaccounts:{operator_namespace}"],
                "resourceAttributes": {
                    "namespace": namespace,
                    "verb": verb,
                    "group": group,
                    "resource": resource,
                    "subresource": subresource,
                },
            },
        }
        answer = await kube.request("POST", "/apis/authorization.k8s.io/v1/subjectaccessreviews", review)
        return bool(answer["status"]["allowed"])

    asked = tuple(rights)
    answers = await asyncio.gather(*map(is_allowed, asked))
    return {right for right, is_right in zip(asked, answers, strict=True) if not is_right}


async def wait_for_rights(kube: KubeClient, namespace: str) -> None:
    """Wait until the API server's authorizer has seen the bindings; it watches them like everybody else."""

    async def are_seen() -> bool:
        in_cluster = await refused(kube, namespace, CLUSTER)
        return not in_cluster and not await refused(kube, namespace, OWN_NAMESPACE, namespace)

    await eventually(are_seen, saying="the operator has its rights")


async def test_by_default_every_tenant_may_be_upgraded_and_no_secret_of_it_read(kube: KubeClient, install: Install, tenant: str) -> None:
    own = await install()
    await wait_for_rights(kube, own)
    assert await refused(kube, own, (*TENANT_WRITES, *TENANT_READS, *EVERYWHERE), tenant) == set()
    assert await refused(kube, own, NEVER, tenant) == set(NEVER)
    assert await refused(kube, own, NEVER_IN_THE_CLUSTER) == set(NEVER_IN_THE_CLUSTER)


async def test_with_role_bindings_only_bound_tenants_can_be_written(kube: KubeClient, install: Install, tenant: str) -> None:
    own = await install(rbac={"tenantAccess": "RoleBindings", "tenantNamespaces": [tenant]})
    await wait_for_rights(kube, own)
    assert await refused(kube, own, (*TENANT_WRITES, *TENANT_READS, *EVERYWHERE), tenant) == set()
    unbound = "kube-public"
    assert await refused(kube, own, (*TENANT_WRITES, *TENANT_READS), unbound) == {*TENANT_WRITES, *TENANT_READS}
    assert await refused(kube, own, EVERYWHERE, unbound) == set(), "tenants are found by watching, and shown where they stand"


@pytest.mark.parametrize(("granted", "verbs"), [("Read", ("get",)), ("ReadWrite", ("get", "list", "create", "patch"))])
async def test_secrets_of_tenants_are_granted_only_on_request(
    kube: KubeClient, install: Install, tenant: str, granted: str, verbs: tuple[str, ...]
) -> None:
    own = await install(rbac={"tenantSecrets": granted})
    await wait_for_rights(kube, own)
    asked = {f"{verb} secrets" for verb in ("get", "list", "watch", "create", "update", "patch", "delete", "deletecollection")}
    assert await refused(kube, own, tuple(sorted(asked)), tenant) == asked - {f"{verb} secrets" for verb in verbs}


# --- with the operator's own token ---


@pytest.fixture
async def operator(cluster: Cluster, kube: KubeClient, install: Install) -> AsyncIterator[KubeClient]:
    """A client that logs in as the operator of a default installation, once its rights and limits are in force."""
    namespace = await install()
    await wait_for_rights(kube, namespace)
    async with KubeClient.from_kubeconfig(operator_kubeconfig(cluster, namespace), field_manager="tenantwave") as client:
        await wait_for_refusal(client, a_profile("default") | {"spec": {"timeZone": "Europe/Berlin"}}, "creates nothing of its users")
        await wait_for_refusal(client, a_config_map("kube-system"), "namespace kube-system is never one")
        yield client


@pytest.fixture
async def upgrade(kube: KubeClient, unique: Unique) -> AsyncIterator[str]:
    """A TenantUpgrade as a person made it, that selects nobody."""
    name = unique("shop")
    await kube.create(an_upgrade(name))
    yield name
    await kube.patch("TenantUpgrade", name, None, {"metadata": {"finalizers": None}})
    await kube.delete("TenantUpgrade", name)


def an_upgrade(name: str) -> Object:
    return {
        "apiVersion": "tenantwave.io/v1alpha1",
        "kind": "TenantUpgrade",
        "metadata": {"name": name, "labels": {"team": "shop"}, "annotations": {"example.com/ticket": "CHG-4411"}},
        "spec": {
            "policyRef": {"name": "standard"},
            "tenantSelector": {"matchLabels": {"example.com/nobody": name}},
            "release": {"product": "shop", "version": "2.4.0"},
            "components": [
                {
                    "name": "api",
                    "workload": {"kind": "Deployment", "name": "api", "containers": [{"name": "api", "image": "shop/api:2.4.0"}]},
                }
            ],
            "suspend": True,
        },
    }


def a_profile(namespace: str) -> Object:
    return {
        "apiVersion": "tenantwave.io/v1alpha1",
        "kind": "TenantProfile",
        "metadata": {"name": "tenant", "namespace": namespace},
        "spec": {},
    }


def a_config_map(namespace: str) -> Object:
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "app-config", "namespace": namespace}, "data": {"a": "1"}}


def put_finalizer(name: str) -> list[dict[str, Any]]:
    return [{"op": "add", "path": "/metadata/finalizers", "value": [name]}]


async def test_the_operator_may_set_its_finalizer_and_the_status_of_an_upgrade(operator: KubeClient, upgrade: str) -> None:
    patched = await operator.patch("TenantUpgrade", upgrade, None, put_finalizer("tenantwave.io/cleanup"), content_type=JSON_PATCH)
    assert patched["metadata"]["finalizers"] == ["tenantwave.io/cleanup"]
    status = {"status": {"observedGeneration": patched["metadata"]["generation"]}}
    await operator.patch("TenantUpgrade", upgrade, None, status, subresource="status")
    removed = [{"op": "remove", "path": "/metadata/finalizers/0"}]
    patched = await operator.patch("TenantUpgrade", upgrade, None, removed, content_type=JSON_PATCH)
    assert "finalizers" not in patched["metadata"]
    assert patched["status"]["observedGeneration"] == patched["metadata"]["generation"]


@pytest.mark.parametrize(
    ("patch", "words"),
    [
        ({"spec": {"suspend": False}}, "changes no spec, label, annotation or owner"),
        ({"metadata": {"labels": {"team": "ours"}}}, "changes no spec, label, annotation or owner"),
        ({"metadata": {"annotations": {"example.com/ticket": None}}}, "changes no spec, label, annotation or owner"),
        ({"metadata": {"finalizers": ["example.com/theirs"]}}, "the finalizer `tenantwave.io/cleanup` alone"),
    ],
    ids=["spec", "labels", "annotations", "a finalizer of others"],
)
async def test_the_operator_may_change_nothing_else_of_an_upgrade(operator: KubeClient, upgrade: str, patch: Object, words: str) -> None:
    with pytest.raises(ApiError, match=words) as refusal:
        await operator.patch("TenantUpgrade", upgrade, None, patch)
    assert refusal.value.status == 403


async def test_the_operator_writes_to_tenants_and_to_nobody_else(operator: KubeClient, kube: KubeClient, tenant: str) -> None:
    await operator.create(a_config_map(tenant))
    await operator.create(a_profile(tenant))
    for path in (f"/api/v1/namespaces/{tenant}/secrets", "/api/v1/secrets"):
        with pytest.raises(ApiError, match='cannot list resource "secrets"'):
            await operator.request("GET", path)
    with pytest.raises(ApiError, match='cannot patch resource "namespaces"'):
        await operator.patch("Namespace", tenant, None, {"metadata": {"labels": {"a": "b"}}})
    for namespace in ("default", "kube-public"):
        with pytest.raises(ApiError, match=f"namespace {namespace} is never one"):
            await operator.create(a_config_map(namespace))
    assert (await kube.get("ConfigMap", "app-config", tenant))["data"] == {"a": "1"}


# --- the whole of it ---


async def test_two_replicas_run_under_the_restricted_pod_security_standard(
    local_cluster: LocalCluster, kube: KubeClient, install: Install
) -> None:
    """Admission of the pods is real, their running is played."""
    namespace = await install(replicas=2)
    await kube.wait_until(
        "Deployment", namespace, namespace, lambda body: body.get("status", {}).get("availableReplicas") == 2, saying="two replicas"
    )
    await kube.wait_until(
        "PodDisruptionBudget",
        namespace,
        namespace,
        lambda body: body.get("status", {}).get("disruptionsAllowed") == 1,
        saying="one may be disrupted",
    )


async def test_the_chart_brings_the_crds(kube: KubeClient, install: Install) -> None:
    await install(crds={"install": True})
    crds = [crd for crd in await kube.list("CustomResourceDefinition") if crd["spec"]["group"] == "tenantwave.io"]
    assert {crd["metadata"]["annotations"].get("helm.sh/resource-policy") for crd in crds} == {"keep"}
    assert len(crds) == 6


async def test_helm_installs_upgrades_and_uninstalls(cluster: Cluster, kube: KubeClient, helm: Path, unique: Unique) -> None:
    """What people type. The CRDs are there before and stay."""
    namespace = unique("helm")
    values = own_values(namespace)

    async def run_helm(command: str, *arguments: str, **changed: Any) -> None:
        flags = ("--namespace", namespace, "--kubeconfig", str(cluster.kubeconfig))
        with_values = values | changed if command != "uninstall" else None
        await asyncio.to_thread(helm_output, helm, command, RELEASE, *arguments, *flags, values=with_values)

    await run_helm("install", str(CHART), "--create-namespace")
    assert (await kube.get("Deployment", namespace, namespace))["spec"]["replicas"] == 0
    await run_helm("upgrade", str(CHART), replicas=1)
    assert (await kube.get("Deployment", namespace, namespace))["spec"]["replicas"] == 1
    await run_helm("uninstall", "--wait")
    assert await kube.find("Deployment", namespace, namespace) is None
    assert await kube.find("ClusterRole", namespace) is None
    assert await kube.find("CustomResourceDefinition", "tenantupgrades.tenantwave.io") is not None
    await kube.delete("Namespace", namespace)
