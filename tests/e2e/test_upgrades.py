"""The main job: tenants are upgraded wave by wave, and taken back when it goes wrong."""

from __future__ import annotations

from support.story import IMAGE, Story, condition


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
    done = await story.until(upgrade, "Succeeded", timeout=30)
    assert set((await story.images()).values()) == {f"{IMAGE}:2.4.0"}
    assert await story.config(canary) == new
    assert await story.config(edited) == {**new, "mode": "careful", "own": "mine"}
    assert done["status"]["counts"]["succeeded"] == 8
    assert [wave["state"] for wave in done["status"]["waves"]] == ["Passed", "Passed"]
    assert condition(done, "Ready")["status"] == "True"
    assert await story.leftovers() == []
