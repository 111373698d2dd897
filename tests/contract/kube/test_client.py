"""What the port `Cluster` promises, on the fake API server and on a real one."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import aclosing
from typing import Any

import pytest

from support.kube_places import Place
from tenantwave import faults
from tenantwave.adapters.kube.client import Written
from tenantwave.api.kinds import CONFIG_MAP, DEPLOYMENT, GROUP, NAMESPACE, RESOURCE_QUOTA, SECRET, VERSION


def a_config_map(place: Place, name: str, **data: str) -> dict[str, Any]:
    return {"metadata": {"name": name, "namespace": place.namespace, "labels": {"test": "yes"}}, "data": data}


async def test_what_is_created_can_be_read_and_is_stored_once(place: Place) -> None:
    made = await place.client.create(CONFIG_MAP, a_config_map(place, "a", color="red"))
    assert (await place.client.get(CONFIG_MAP, place.namespace, "a"))["data"] == {"color": "red"}
    assert made["metadata"]["resourceVersion"]
    with pytest.raises(faults.AlreadyExists, match="create ConfigMap"):
        await place.client.create(CONFIG_MAP, a_config_map(place, "a", color="blue"))


async def test_what_is_not_there_is_an_ordinary_outcome(place: Place) -> None:
    with pytest.raises(faults.NotFound, match=f"get ConfigMap {place.namespace}/nobody"):
        await place.client.get(CONFIG_MAP, place.namespace, "nobody")
    with pytest.raises(faults.NotFound):
        await place.client.delete(CONFIG_MAP, place.namespace, "nobody")
    with pytest.raises(faults.NotFound):
        await place.client.merge_patch(CONFIG_MAP, place.namespace, "nobody", {"data": {"a": "b"}})


async def test_a_merge_patch_sets_and_removes_and_leaves_the_rest(place: Place) -> None:
    made = await place.client.create(CONFIG_MAP, a_config_map(place, "a", one="1", two="2"))
    version = made["metadata"]["resourceVersion"]
    patch = {"data": {"one": None, "three": "3"}}
    changed = await place.client.merge_patch(CONFIG_MAP, place.namespace, "a", patch, resource_version=version)
    assert changed["data"] == {"two": "2", "three": "3"}
    assert changed["metadata"]["labels"] == {"test": "yes"}


@pytest.mark.parametrize("write", ["merge_patch", "replace", "delete"])
async def test_a_write_on_an_old_picture_is_refused_and_changes_nothing(place: Place, write: str) -> None:
    made = await place.client.create(CONFIG_MAP, a_config_map(place, "a", one="1"))
    old = made["metadata"]["resourceVersion"]
    await place.client.merge_patch(CONFIG_MAP, place.namespace, "a", {"data": {"one": "theirs"}})
    client, namespace, ours = place.client, place.namespace, {"data": {"one": "ours"}}
    writes: dict[str, Callable[[], Awaitable[object]]] = {
        "merge_patch": lambda: client.merge_patch(CONFIG_MAP, namespace, "a", ours, resource_version=old),
        "replace": lambda: client.replace(CONFIG_MAP, made | ours),
        "delete": lambda: client.delete(CONFIG_MAP, namespace, "a", resource_version=old),
    }
    with pytest.raises(faults.Conflict):
        await writes[write]()
    assert (await place.client.get(CONFIG_MAP, place.namespace, "a"))["data"] == {"one": "theirs"}


async def test_an_object_of_the_same_name_is_not_the_same_object(place: Place) -> None:
    made = await place.client.create(CONFIG_MAP, a_config_map(place, "a"))
    await place.client.delete(CONFIG_MAP, place.namespace, "a", uid=made["metadata"]["uid"])
    await place.client.create(CONFIG_MAP, a_config_map(place, "a"))
    with pytest.raises(faults.Conflict):
        await place.client.delete(CONFIG_MAP, place.namespace, "a", uid=made["metadata"]["uid"])
    with pytest.raises(faults.Conflict):
        await place.client.merge_patch(CONFIG_MAP, place.namespace, "a", {"data": {"a": "b"}}, uid=made["metadata"]["uid"])


async def test_a_dry_run_changes_nothing_and_nobody_is_told(place: Place) -> None:
    told: list[Written] = []
    await place.client.create(CONFIG_MAP, a_config_map(place, "a", one="1"))
    place.client.on_written(told.append)
    await place.client.merge_patch(CONFIG_MAP, place.namespace, "a", {"data": {"one": "2"}}, dry_run=True)
    assert (await place.client.get(CONFIG_MAP, place.namespace, "a"))["data"] == {"one": "1"}
    assert not told


async def test_listeners_hear_of_each_write_with_its_precondition(place: Place) -> None:
    told: list[Written] = []
    place.client.on_written(told.append)
    made = await place.client.create(CONFIG_MAP, a_config_map(place, "a", one="1"))
    version = made["metadata"]["resourceVersion"]
    changed = await place.client.merge_patch(CONFIG_MAP, place.namespace, "a", {"data": {"one": "2"}}, resource_version=version)
    await place.client.delete(CONFIG_MAP, place.namespace, "a")
    assert [(one.name, one.base_version) for one in told] == [("a", ""), ("a", version), ("a", "")]
    assert told[1].body == changed
    assert told[2].body is None


async def test_a_list_comes_in_pages_and_is_whole(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tenantwave.adapters.kube.client.PAGE_SIZE", 3)
    for number in range(8):
        await place.client.create(CONFIG_MAP, a_config_map(place, f"map-{number}"))
    items, version = await place.client.list(CONFIG_MAP, place.namespace, labels="test=yes")
    assert [item["metadata"]["name"] for item in items] == [f"map-{number}" for number in range(8)]
    assert version


async def test_pages_of_metadata_carry_nothing_else(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    """Snapshots are counted without being read."""
    monkeypatch.setattr("tenantwave.adapters.kube.client.PAGE_SIZE", 2)
    for number in range(3):
        await place.client.create(CONFIG_MAP, a_config_map(place, f"map-{number}", key="value"))
    pages = [page async for page, _ in place.client.pages(CONFIG_MAP, place.namespace, "test=yes", metadata_only=True)]
    assert [len(page) for page in pages] == [2, 1]
    assert [(body["metadata"]["name"], "data" in body) for page in pages for body in page] == [
        (f"map-{number}", False) for number in range(3)
    ]


async def test_a_watch_shows_what_happens_after_a_list(place: Place) -> None:
    await place.client.create(CONFIG_MAP, a_config_map(place, "before"))
    _, version = await place.client.list(CONFIG_MAP, place.namespace, labels="test=yes")
    made = await place.client.create(CONFIG_MAP, a_config_map(place, "a"))
    await place.client.merge_patch(CONFIG_MAP, place.namespace, "a", {"data": {"one": "2"}})
    await place.client.delete(CONFIG_MAP, place.namespace, "a", uid=made["metadata"]["uid"])
    seen: list[tuple[str, str]] = []
    watch = place.client.watch(CONFIG_MAP, place.namespace, "test=yes", resource_version=version, timeout_seconds=30)
    async with asyncio.timeout(20), aclosing(watch) as events:
        async for event in events:
            if event.type != "BOOKMARK":
                seen.append((event.type, event.body["metadata"]["name"]))
            if event.type == "DELETED":
                break
    assert seen == [("ADDED", "a"), ("MODIFIED", "a"), ("DELETED", "a")]


async def test_a_watch_ends_when_its_time_is_over(place: Place) -> None:
    _, version = await place.client.list(CONFIG_MAP, place.namespace)
    watch = place.client.watch(CONFIG_MAP, place.namespace, resource_version=version, timeout_seconds=1)
    async with asyncio.timeout(20), aclosing(watch) as events:
        assert [
            event.type async for event in events if event.type != "BOOKMARK" and event.body["metadata"]["name"] != "kube-root-ca.crt"
        ] == []


async def test_an_unknown_group_serves_nothing(place: Place) -> None:
    assert await place.client.served("nobody.example", "v1") == frozenset()


async def test_the_real_server_tells_whose_field_it_is(real_place: Place) -> None:
    """An apply without force names field and manager, which is what the ownership preflight needs."""
    client, namespace = real_place.client, real_place.namespace
    await client.create(DEPLOYMENT, a_deployment(namespace, "web:1"))
    await client.merge_patch(DEPLOYMENT, namespace, "web", {"spec": {"replicas": 2}})
    other = {"metadata": {"name": "web", "namespace": namespace}, "spec": {"replicas": 0}}
    with pytest.raises(faults.ApplyConflict) as caught:
        await client.apply(DEPLOYMENT, other, dry_run=True)
    assert (".spec.replicas", "tenantwave") in caught.value.owners or ("spec.replicas", "tenantwave") in caught.value.owners


async def test_the_real_server_merges_containers_by_name(real_place: Place) -> None:
    client, namespace = real_place.client, real_place.namespace
    await client.create(DEPLOYMENT, a_deployment(namespace, "web:1"))
    patch = {"spec": {"template": {"spec": {"containers": [{"name": "web", "image": "web:2"}]}}}}
    # Without a precondition: the Deployment's controller writes at the same time.
    changed = await client.strategic_patch(DEPLOYMENT, namespace, "web", patch, dry_run=True)
    assert [container["image"] for container in changed["spec"]["template"]["spec"]["containers"]] == ["web:2", "side:1"]


async def test_the_real_server_refuses_nonsense_for_good(real_place: Place) -> None:
    with pytest.raises(faults.Invalid, match=r"metadata\.name"):
        await real_place.client.create(CONFIG_MAP, {"metadata": {"name": "No Name", "namespace": real_place.namespace}})
    with pytest.raises(faults.Invalid):
        await real_place.client.create(
            DEPLOYMENT, {"metadata": {"name": "web", "namespace": real_place.namespace}, "spec": {"replicas": -1}}
        )


async def test_the_real_server_speaks_of_a_used_up_quota(real_place: Place) -> None:

    client, namespace = real_place.client, real_place.namespace
    await client.create(RESOURCE_QUOTA, {"metadata": {"name": "none", "namespace": namespace}, "spec": {"hard": {"count/secrets": "0"}}})

    async with asyncio.timeout(30):
        while True:  # until the quota controller has counted
            quota = await client.get(RESOURCE_QUOTA, namespace, "none")
            if quota.get("status", {}).get("hard"):
                break
            await asyncio.sleep(0.1)
    with pytest.raises(faults.Forbidden) as caught:
        await client.create(SECRET, {"metadata": {"name": "a", "namespace": namespace}})
    assert caught.value.quota
    assert not caught.value.terminating


async def test_the_real_server_speaks_of_a_namespace_that_goes_away(real_place: Place) -> None:

    client, namespace = real_place.client, real_place.namespace
    held = {"metadata": {"name": "held", "namespace": namespace, "finalizers": ["tenantwave.io/test"]}}
    await client.create(CONFIG_MAP, held)
    await client.delete(NAMESPACE, "", namespace)
    with pytest.raises(faults.Forbidden) as caught:
        await client.create(CONFIG_MAP, {"metadata": {"name": "late", "namespace": namespace}})
    assert caught.value.terminating
    await client.merge_patch(CONFIG_MAP, namespace, "held", {"metadata": {"finalizers": None}})


async def test_a_failed_test_of_a_json_patch_changes_nothing(real_place: Place) -> None:
    client, namespace = real_place.client, real_place.namespace
    await client.create(CONFIG_MAP, {"metadata": {"name": "a", "namespace": namespace}, "data": {"one": "1"}})
    operations = [{"op": "test", "path": "/data/one", "value": "2"}, {"op": "replace", "path": "/data/one", "value": "3"}]
    with pytest.raises(faults.Invalid):
        await client.json_patch(CONFIG_MAP, namespace, "a", operations)


async def test_rights_can_be_asked_for(real_place: Place) -> None:
    assert await real_place.client.may("list", CONFIG_MAP)
    assert "tenantupgrades" in await real_place.client.served(GROUP, VERSION)


def a_deployment(namespace: str, image: str) -> dict[str, Any]:
    containers = [{"name": "web", "image": image}, {"name": "side", "image": "side:1"}]
    return {
        "metadata": {"name": "web", "namespace": namespace},
        "spec": {
            "replicas": 0,
            "selector": {"matchLabels": {"app": "web"}},
            "template": {"metadata": {"labels": {"app": "web"}}, "spec": {"containers": containers}},
        },
    }
