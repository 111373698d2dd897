"""Somebody who sets the old version again: written once more, and then it is his. Never more than two writes against an owner."""

from __future__ import annotations

import pytest

from fakes import CrashNow, Request
from support.tenant_story import ACME, S, Story
from tenantwave.api.conditions import FailReason
from tenantwave.api.kinds import CONFIG_MAP, DEPLOYMENT
from tenantwave.core import tenant_run


def set_back(story: Story, image: str = "shop/api:2.3.1") -> None:
    """Let an owner set the image, as its interval comes round."""
    containers = [{"name": "api", "image": image}]
    story.cluster.edit(DEPLOYMENT, ACME, "api", {"spec": {"template": {"spec": {"containers": containers}}}})


def written(story: Story) -> list[Request]:
    """Return our writes to the pod template of `api`."""
    return [one for one in story.cluster.writes if (one.kind, one.name) == ("Deployment", "api") and "spec" in one.body]


async def test_set_back_once_it_is_written_once_more() -> None:
    """Its owner may not have known; then all goes on."""
    story = await Story().begin()
    await story.run(S.CONVERGING)
    set_back(story)
    await story.step()
    assert (story.status.state, story.image("api")) == (S.APPLYING, "shop/api:2.3.1")
    assert "was set back" in story.status.message
    await story.run(S.SUCCEEDED)
    assert (story.image("api"), len(written(story)), story.leftovers()) == ("shop/api:2.4.0", 2, [])


async def test_set_back_twice_it_is_taken_back() -> None:
    """With the owner's name; what stands already is not written again."""
    story = await Story().begin()
    before = story.tenant_objects()
    for _ in range(2):
        await story.run(S.CONVERGING)
        set_back(story)
        await story.step()
    assert (story.status.state, story.status.reason) == (S.ROLLING_BACK, FailReason.OWNERSHIP_CONFLICT)
    assert "api of Deployment api back to shop/api:2.3.1" in story.status.message
    await story.run(S.ROLLED_BACK)
    after = story.tenant_objects()
    assert {name: body["data"] for name, body in after.items()} == {name: body["data"] for name, body in before.items()}
    forwards = [one for one in written(story) if "2.4.0" in str(one.body)]
    assert (len(forwards), story.image("api"), story.leftovers()) == (2, "shop/api:2.3.1", [])


async def test_a_write_of_another_release_is_none_against_an_owner() -> None:
    """The run has written the image for two releases when its owner sets the old one again for the first time: it may not have known."""
    story = await Story().begin()
    await story.run(S.SOAKING)
    unproven = story.status
    await story.release("2.4.1", story.new)
    again = {"state": S.PREFLIGHT, "run": "shop-x-2.4.1", "to_version": "2.4.1", "component": 0}
    story.set_status(unproven.model_copy(update=again))
    for _ in range(2):
        await story.run(S.CONVERGING)
        assert story.image("api") == "shop/api:2.4.1"
        set_back(story)
        await story.step()
    assert (story.status.state, story.status.reason) == (S.ROLLING_BACK, FailReason.OWNERSHIP_CONFLICT)
    await story.run(S.ROLLED_BACK)
    assert (story.image("api"), story.leftovers()) == ("shop/api:2.3.1", [])


async def test_another_version_is_nobodys_to_overwrite() -> None:
    """Held, for nobody knows what should run."""
    story = await Story().begin()
    await story.run(S.CONVERGING)
    set_back(story, "shop/api:2.3.9")
    await story.step()
    assert (story.status.state, story.status.reason) == (S.HELD, FailReason.FOREIGN_VERSION_CHANGE)
    assert len(written(story)) == 1


async def test_set_back_while_we_were_dead_it_is_written_once_more() -> None:
    """Between our write and the note that it landed."""
    story = await Story().begin()
    await story.step()

    def dies(number: int, request: Request) -> None:
        if (request.kind, request.name) == ("Deployment", "api"):
            raise CrashNow

    story.cluster.after = dies
    with pytest.raises(CrashNow):
        await story.step()
    story.cluster.after = lambda number, request: None
    story.restart()
    set_back(story)
    await story.run(S.SUCCEEDED)
    assert (story.image("api"), len(written(story))) == ("shop/api:2.4.0", 2)


async def test_from_the_soak_it_converges_anew_and_is_written_once_more() -> None:
    """The planner sees another version, and has it looked at."""
    story = await Story().begin()
    await story.run(S.SOAKING)
    set_back(story)
    story.set_status(tenant_run.to(story.status, S.CONVERGING, "InProgress", "api no longer shows 2.4.0", story.clock.now(), component=0))
    await story.run(S.SUCCEEDED)
    assert (story.image("api"), story.image("worker")) == ("shop/api:2.4.0", "shop/worker:2.4.0")
    assert story.data("app-config") == story.new["app-config"]
    assert story.cluster.has(CONFIG_MAP, ACME, "extra-config")
