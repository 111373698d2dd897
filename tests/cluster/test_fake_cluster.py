"""The fake API server against the real one: one suite, so that what the fast tests prove holds where it counts."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest
from localcluster.access import Cluster as RealCluster
from localcluster.client import KubeClient as AdminClient

from fakes import FakeCluster
from support.tenant_story import a_deployment
from support.workloads import namespace
from tenantwave.adapters.kube.access import Access
from tenantwave.adapters.kube.client import KubeClient
from tenantwave.adapters.kube.transport import HttpTransport
from tenantwave.api.kinds import CONFIG_MAP, DEPLOYMENT, LEASE
from tenantwave.faults import AlreadyExists, Conflict, Invalid, NotFound
from tenantwave.ports import Cluster
from tenantwave.telemetry import Silent


@pytest.fixture(params=["fake", "real"])
async def place(request: pytest.FixtureRequest, unique: Callable[[str], str]) -> AsyncIterator[tuple[Cluster, str]]:
    """A cluster and a namespace in it."""
    name = unique("contract")
    if request.param == "fake":
        yield FakeCluster(), name
        return
    cluster: RealCluster = await asyncio.to_thread(request.getfixturevalue, "cluster")
    async with AdminClient.from_kubeconfig(cluster.kubeconfig) as admin:
        await admin.create(namespace(name))
    async with HttpTransport(await Access.load(str(cluster.kubeconfig)), limit=4) as transport:
        yield KubeClient(transport, transport, leading=lambda: True, telemetry=Silent()), name


def a_config_map(where: str, **more: Any) -> dict[str, Any]:
    """A ConfigMap with one key."""
    return {"metadata": {"name": "app-config", "namespace": where}, "data": {"a": "1"}} | more


async def test_a_second_create_and_a_missing_object_are_told_apart(place: tuple[Cluster, str]) -> None:
    """AlreadyExists, NotFound."""
    cluster, where = place
    await cluster.create(CONFIG_MAP, a_config_map(where))
    with pytest.raises(AlreadyExists):
        await cluster.create(CONFIG_MAP, a_config_map(where))
    with pytest.raises(NotFound):
        await cluster.get(CONFIG_MAP, where, "other")
    with pytest.raises(NotFound):
        await cluster.merge_patch(CONFIG_MAP, where, "other", {"data": {}})


async def test_a_merge_patch_names_the_version_that_it_was_made_from(place: tuple[Cluster, str]) -> None:
    """Null removes; an old version is a Conflict; a patch that changes nothing makes no new version."""
    cluster, where = place
    made = await cluster.create(CONFIG_MAP, a_config_map(where))
    version = made["metadata"]["resourceVersion"]
    changed = await cluster.merge_patch(CONFIG_MAP, where, "app-config", {"data": {"a": None, "b": "2"}}, resource_version=version)
    assert changed["data"] == {"b": "2"}
    with pytest.raises(Conflict):
        await cluster.merge_patch(CONFIG_MAP, where, "app-config", {"data": {"b": "3"}}, resource_version=version)
    same = await cluster.merge_patch(CONFIG_MAP, where, "app-config", {"data": {"b": "2"}})
    assert same["metadata"]["resourceVersion"] == changed["metadata"]["resourceVersion"]


async def test_a_dry_run_answers_and_stores_nothing(place: tuple[Cluster, str]) -> None:
    """Of a patch, a PUT and a create."""
    cluster, where = place
    made = await cluster.create(CONFIG_MAP, a_config_map(where))
    asked = await cluster.merge_patch(CONFIG_MAP, where, "app-config", {"data": {"a": "9"}}, dry_run=True)
    assert asked["data"] == {"a": "9"}
    await cluster.replace(CONFIG_MAP, made, dry_run=True)
    await cluster.create(CONFIG_MAP, a_config_map(where) | {"metadata": {"name": "other", "namespace": where}}, dry_run=True)
    found, _ = await cluster.list(CONFIG_MAP, where)
    ours = {body["metadata"]["name"]: body["data"] for body in found if body["metadata"]["name"] != "kube-root-ca.crt"}
    assert ours == {"app-config": {"a": "1"}}
    assert (await cluster.get(CONFIG_MAP, where, "app-config"))["metadata"]["resourceVersion"] == made["metadata"]["resourceVersion"]


async def test_a_put_of_an_old_version_is_refused(place: tuple[Cluster, str]) -> None:
    """The precondition stands in the body."""
    cluster, where = place
    made = await cluster.create(CONFIG_MAP, a_config_map(where))
    await cluster.replace(CONFIG_MAP, made | {"data": {"a": "2"}})
    with pytest.raises(Conflict):
        await cluster.replace(CONFIG_MAP, made | {"data": {"a": "3"}})


async def test_an_immutable_config_map_keeps_its_data_but_not_its_annotations(place: tuple[Cluster, str]) -> None:
    """Invalid for data and for `immutable` itself; the marker can be set."""
    cluster, where = place
    await cluster.create(CONFIG_MAP, a_config_map(where, immutable=True))
    for patch in ({"data": {"a": "2"}}, {"immutable": None}):
        with pytest.raises(Invalid):
            await cluster.merge_patch(CONFIG_MAP, where, "app-config", patch)
    marked = await cluster.merge_patch(CONFIG_MAP, where, "app-config", {"metadata": {"annotations": {"tenantwave.io/intent": "u/1"}}})
    cleared = await cluster.merge_patch(CONFIG_MAP, where, "app-config", {"metadata": {"annotations": {"tenantwave.io/intent": None}}})
    assert (marked["metadata"]["annotations"], "annotations" in cleared["metadata"]) == ({"tenantwave.io/intent": "u/1"}, False)


async def test_a_strategic_patch_finds_containers_by_name(place: tuple[Cluster, str]) -> None:
    """Others stay, and so does their order; an annotation of the template comes and goes without a trace. Generations move as written."""
    cluster, where = place
    made = await cluster.create(DEPLOYMENT, a_deployment("api", "app-config", namespace=where))
    template = made["spec"]["template"]
    note = {"tenantwave.io/config-digest": "sha256:1"}
    forth = {"spec": {"template": {"metadata": {"annotations": note}, "spec": {"containers": [{"name": "sidecar", "image": "proxy:2"}]}}}}
    changed = await cluster.strategic_patch(DEPLOYMENT, where, "api", forth)
    assert [one["image"] for one in changed["spec"]["template"]["spec"]["containers"]] == ["shop/api:2.3.1", "proxy:2"]
    assert changed["metadata"]["generation"] == 2
    sidecar = {"containers": [{"name": "sidecar", "image": "proxy:1"}]}
    back = {"spec": {"template": {"metadata": {"annotations": dict.fromkeys(note)}, "spec": sidecar}}}
    restored = await cluster.strategic_patch(DEPLOYMENT, where, "api", back)
    assert restored["spec"]["template"] == template
    labelled = await cluster.merge_patch(DEPLOYMENT, where, "api", {"metadata": {"labels": {"x": "y"}}})
    assert labelled["metadata"]["generation"] == 3
    marked = await cluster.merge_patch(DEPLOYMENT, where, "api", {"metadata": {"annotations": {"tenantwave.io/intent": "u/1"}}})
    assert marked["metadata"]["generation"] == 4, "annotations of a Deployment count, unlike those of other kinds"


async def test_a_delete_means_one_object(place: tuple[Cluster, str]) -> None:
    """By uid and version; another one of the same name stays."""
    cluster, where = place
    lease = {"metadata": {"name": "lock", "namespace": where}, "spec": {"holderIdentity": "a"}}
    first = (await cluster.create(LEASE, lease))["metadata"]
    with pytest.raises(Conflict):
        await cluster.delete(LEASE, where, "lock", uid="another", resource_version=first["resourceVersion"])
    await cluster.delete(LEASE, where, "lock", uid=first["uid"], resource_version=first["resourceVersion"])
    second = (await cluster.create(LEASE, lease))["metadata"]
    with pytest.raises(Conflict):
        await cluster.delete(LEASE, where, "lock", uid=first["uid"])
    assert (await cluster.get(LEASE, where, "lock"))["metadata"]["uid"] == second["uid"]
