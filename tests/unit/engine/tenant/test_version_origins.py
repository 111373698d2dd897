"""What a version of an immutable ConfigMap is made from: edits of it, other attempts and other releases over it, and its end."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest

from fakes import CrashNow, Request
from support.tenant_story import ACME, NEW, OLD, S, Story
from tenantwave.api.conditions import FailReason
from tenantwave.api.kinds import CONFIG_MAP, DEPLOYMENT
from tenantwave.core.config_versions import version_name
from tenantwave.core.preservation import content_of

APP = version_name("app-config", content_of({"data": NEW["app-config"]}))
DATA = {"app-config": NEW["app-config"], "worker-config": OLD["worker-config"]}


@pytest.mark.parametrize("kind", ["ConfigMap", "Deployment"])
@pytest.mark.parametrize("is_before", [True, False], ids=["before", "after"])
async def test_an_edit_of_what_a_version_is_made_from_is_taken_over(kind: str, is_before: bool) -> None:
    """The release makes a mutable ConfigMap immutable; the tenant edits it around our writes: nothing of that is lost."""
    story = await Story(new=DATA).begin()
    await story.release("2.4.0", DATA, immutable=True)
    met: list[Request] = []

    def edits(number: int, request: Request) -> None:
        if (request.kind, request.namespace) == (kind, ACME) and request.name.startswith(("app-config", "api")) and not met:
            met.append(request)
            story.cluster.edit(CONFIG_MAP, ACME, "app-config", {"data": {"tenant.key": "mine"}})

    if is_before:
        story.cluster.before = edits
    else:
        story.cluster.after = edits
    await story.run(S.SUCCEEDED)
    (in_force,) = [name for name in story.references("api") if name.startswith("app-config-")]
    assert story.data(in_force) == NEW["app-config"] | {"tenant.key": "mine"}
    assert story.leftovers() == []


async def made_immutable() -> Story:
    """A release that makes a mutable `app-config` immutable, to which both Deployments refer."""
    story = await Story(new=DATA).begin()
    worker = story.cluster.see(DEPLOYMENT, ACME, "worker")
    worker["spec"]["template"]["spec"]["volumes"].append({"name": "shared", "configMap": {"name": "app-config"}})
    story.cluster.play()
    await story.release("2.4.0", DATA, immutable=True)
    return story


def versions_in_force(story: Story) -> set[str]:
    """Return which versions of `app-config` the pods refer to, and its own name where they still do."""
    return {name for name in story.references("api") | story.references("worker") if name.startswith("app-config")}


@pytest.mark.parametrize("state", [S.APPLYING, S.CONVERGING])
async def test_an_edit_before_the_last_component_is_through_reaches_all_of_them(state: Any) -> None:
    """The first one runs on the version already: it is pointed at the new one, too, and all of it goes back."""
    story = await made_immutable()
    before = story.tenant_objects()
    for _ in range(10):
        if (story.status.state, story.status.component) == (state, 1):
            break
        await story.step()
    story.cluster.edit(CONFIG_MAP, ACME, "app-config", {"data": {"tenant.key": "mine"}})
    await story.run(S.SOAKING)
    (in_force,) = versions_in_force(story)
    assert story.data(in_force) == NEW["app-config"] | {"tenant.key": "mine"}
    assert (story.image("api"), story.image("worker")) == ("shop/api:2.4.0", "shop/worker:2.4.0")
    story.order_back()
    await story.run(S.ROLLED_BACK)
    before["configmaps/app-config"]["data"]["tenant.key"] = "mine"
    assert (story.tenant_objects(), story.leftovers()) == (before, [])


async def begin_again(story: Story, version: str, data: Mapping[str, Mapping[str, str]], *, immutable: bool) -> None:
    """Have the tenant prepared once more, with what stands in it on record, as after an edit of the release or a Retry."""
    kept = story.status.model_dump(include={"written", "last_seq", "from_version"}) | {
        "intents": story.status.intents,
        "snapshots": story.status.snapshots,
        "plan": story.status.plan,
    }
    await story.release(version, data, immutable=immutable)
    story.set_status(story.status.model_copy(update=kept))


@pytest.mark.parametrize("is_immutable", [True, False], ids=["a version", "a mutable one"])
async def test_a_release_over_an_unproven_one_makes_its_version_from_what_that_has_left(is_immutable: bool) -> None:
    """What the run itself has written is what the next version is made from; all goes back to before both."""
    story = await Story(new=DATA).begin()
    story.cluster.edit(CONFIG_MAP, ACME, "app-config", {"immutable": is_immutable or None})
    before = story.tenant_objects()
    await story.run(S.SOAKING)
    assert versions_in_force(story) == {APP if is_immutable else "app-config"}
    await begin_again(story, "2.4.1", DATA | {"app-config": NEW["app-config"] | {"db.pool": "99"}}, immutable=True)
    await story.run(S.SOAKING)
    (in_force,) = versions_in_force(story)
    assert in_force not in ("app-config", APP)
    assert (story.data(in_force)["db.pool"], story.image("api")) == ("99", "shop/api:2.4.1")
    story.order_back()
    await story.run(S.ROLLED_BACK)
    assert (story.tenant_objects(), story.leftovers()) == (before, [])


async def test_an_edit_under_a_version_that_an_attempt_before_has_made_is_taken_over() -> None:
    """It was made, and nothing pointed at it; the tenant edits the old one after the next attempt was planned."""
    story = await made_immutable()
    met: list[Request] = []

    def dies_once_it_is_made(number: int, request: Request) -> None:
        if (request.verb, request.name) == ("create", APP) and not met:
            met.append(request)
            raise CrashNow

    story.cluster.after = dies_once_it_is_made
    with pytest.raises(CrashNow):
        await story.run_until_death()
    story.restart()
    await begin_again(story, "2.4.0", DATA, immutable=True)
    await story.step()
    plan = story.status.plan
    assert plan is not None
    assert [(one.name, one.action) for one in plan.objects if one.target == "app-config"] == [(APP, "Keep")]
    story.cluster.edit(CONFIG_MAP, ACME, "app-config", {"data": {"tenant.key": "mine"}})
    await story.run(S.SUCCEEDED)
    (in_force,) = versions_in_force(story)
    assert story.data(in_force)["tenant.key"] == "mine"


async def test_an_edit_that_only_the_components_still_to_be_written_see_is_taken_over_by_a_retry() -> None:
    """The first one is on the version, and the run stops before the second: then the tenant edits what that one refers to."""
    story = await made_immutable()
    before = story.tenant_objects()
    for _ in range(10):
        if (story.status.state, story.status.component) == (S.APPLYING, 1):
            break
        await story.step()
    assert versions_in_force(story) == {APP, "app-config"}
    story.cluster.edit(CONFIG_MAP, ACME, "app-config", {"data": {"tenant.key": "mine"}})
    await begin_again(story, "2.4.0", DATA, immutable=True)
    await story.run(S.SOAKING)
    (in_force,) = versions_in_force(story)
    assert story.data(in_force) == NEW["app-config"] | {"tenant.key": "mine"}
    story.order_back()
    await story.run(S.ROLLED_BACK)
    before["configmaps/app-config"]["data"]["tenant.key"] = "mine"
    assert (story.tenant_objects(), story.leftovers()) == (before, [])


async def test_what_a_version_is_made_from_is_deleted_before_it_is_made() -> None:
    """There is nothing to merge: the tenant is held, and nothing is tried for ever."""
    story = await made_immutable()
    await story.step()
    await story.cluster.delete(CONFIG_MAP, ACME, "app-config")
    await story.run(S.HELD)
    assert (story.status.reason, story.status.written, story.leftovers()) == (FailReason.DELETED, False, [])
    assert "ConfigMap app-config is gone" in story.status.message
