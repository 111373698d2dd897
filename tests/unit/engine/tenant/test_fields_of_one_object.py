"""One object of which a run writes several fields one after the other: each of them goes back to what stood there before the first write."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from support.tenant_story import ACME, S, Story, a_spec
from tenantwave.api.conditions import FailReason
from tenantwave.api.kinds import DEPLOYMENT


def part(name: str, **images: str) -> dict[str, Any]:
    """A component that means some containers of the Deployment `api`."""
    containers = [{"name": container, "image": image} for container, image in images.items()]
    return {"name": name, "workload": {"kind": "Deployment", "name": "api", "containers": containers}}


def images(story: Story) -> dict[str, str]:
    """Return container -> image."""
    containers = story.cluster.see(DEPLOYMENT, ACME, "api")["spec"]["template"]["spec"]["containers"]
    return {one["name"]: one["image"] for one in containers}


async def goes_back(story: Story, before: dict[str, Any]) -> None:
    """Take the tenant back, and compare."""
    story.order_back()
    await story.run(S.ROLLED_BACK)
    assert (story.tenant_objects(), story.leftovers()) == (before, [])


def selected(name: str, **images: str) -> dict[str, Any]:
    """A component that finds the Deployment `api` by its label."""
    component = part(name, **images)
    del component["workload"]["name"]
    component["workload"]["selector"] = {"matchLabels": {"app": "api"}}
    return component


@pytest.mark.parametrize("other", [part, selected], ids=["by name", "by a selector"])
async def test_two_components_of_one_deployment_are_refused(other: Callable[..., dict[str, Any]]) -> None:
    """Each would be written, proven and taken back for itself. Nothing is written, not even of the ConfigMaps."""
    story = await Story(spec=a_spec(components=[part("api", api="shop/api:2.4.0"), other("proxy", sidecar="proxy:2")])).begin()
    before = story.tenant_objects()
    await story.step()
    assert (story.status.state, story.status.reason) == (S.HELD, FailReason.NOT_DRIVABLE)
    assert story.status.message.startswith("components api and proxy both mean Deployment api: put their containers into one component")
    assert (story.tenant_objects(), story.leftovers()) == (before, [])


async def test_a_release_over_an_unproven_one_that_means_another_container() -> None:
    """What the first one has written, and the second one does not know, is taken back with the rest."""
    story = await Story(spec=a_spec(components=[part("api", api="shop/api:2.4.0")])).begin()
    before = story.tenant_objects()
    await story.run(S.SOAKING)
    status = story.status
    again = {"state": S.PREFLIGHT, "run": "shop-x-2.4.1", "to_version": "2.4.1", "component": 0}
    await story.release("2.4.1", story.new)
    story.spec = a_spec(release={"product": "shop", "version": "2.4.1"}, components=[part("api", sidecar="proxy:2")])
    story.set_status(status.model_copy(update=again))
    await story.run(S.SOAKING)
    assert images(story) == {"api": "shop/api:2.4.0", "sidecar": "proxy:2"}
    await goes_back(story, before)
