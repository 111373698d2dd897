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


async def test_image_that_never_becomes_ready_is_taken_back(story: Story) -> None:
    """S2: the canary goes back, nobody else is touched, and it is not tried again by itself."""
    old, new = {"pool": "10"}, {"pool": "20"}
    await story.pristine("2.3.1", old)
    await story.pristine("2.4.0", new)
    canary = await story.tenant("canary", labels={"tenantwave.io/ring": "canary"}, config={**old, "own": "mine"})
    other = await story.tenant("other", config=old)
    await story.ready()
    untouched = (await story.kube.get("apps/v1/Deployment", "api", other))["metadata"]["generation"]
    await story.policy()
    await story.operator()
    upgrade = await story.upgrade(image=f"{IMAGE}:2.4.0-bad", health={"timeout": "30s"})
    done = await story.until(upgrade, "RolledBack", timeout=90)
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
