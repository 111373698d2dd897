"""A tenant whose own windows lock it is told so by an Event of its profile, once, and again once they can be used."""

from __future__ import annotations

from typing import Any

from support.tenant_story import ACME
from support.tenants_story import TenantsStory
from tenantwave.api.kinds import TENANT_PROFILE
from tenantwave.api.meta import PROFILE_NAME


async def with_profile(story: TenantsStory, **spec: Any) -> None:
    """Let the tenant edit its profile, and the workers look at it."""
    story.cluster.edit(TENANT_PROFILE, ACME, PROFILE_NAME, {"spec": spec})
    await story.settle()


def told(story: TenantsStory) -> list[str]:
    return [reason for reason, _ in story.heard.notes if reason.startswith("Windows")]


async def test_bad_windows_are_told_once_and_their_end() -> None:
    """Another fault is told anew; a restart tells nothing twice."""
    story = TenantsStory()
    await story.settle()
    assert told(story) == [], "good windows are no news"
    await with_profile(story, timeZone="Europe/Nowhere")
    assert told(story) == ["WindowsInvalid"]
    assert "UnknownTimeZone" in story.heard.notes[-1][1]
    assert "Europe/Nowhere" in story.heard.notes[-1][1]
    story.restart()
    await story.settle()
    assert told(story) == ["WindowsInvalid"]
    await with_profile(story, timeZone="Europe/Elsewhere")
    assert told(story) == ["WindowsInvalid", "WindowsInvalid"]
    await with_profile(story, timeZone="Europe/Berlin")
    assert told(story) == ["WindowsInvalid", "WindowsInvalid", "WindowsValid"]
