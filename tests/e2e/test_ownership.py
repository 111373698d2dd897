"""Other tools that own the version field: found before anything is written, stalling the first wave, holding one tenant later."""

from __future__ import annotations

from typing import Any

from support.story import IMAGE, Story, condition

CANARY = {"tenantwave.io/ring": "canary"}
OWNER = "kustomize-controller"


async def owned(story: Story, tenant: str) -> None:
    """Let Flux own the image of the tenant's Deployment, as its managedFields would show."""
    deployment = await story.kube.get("apps/v1/Deployment", "api", tenant)
    containers: list[dict[str, Any]] = [{"name": "api", "image": deployment["spec"]["template"]["spec"]["containers"][0]["image"]}]
    body = {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": "api", "namespace": tenant},
        "spec": {
            "selector": deployment["spec"]["selector"],
            "template": {"metadata": {"labels": {"app": "api"}}, "spec": {"containers": containers}},
        },
    }
    await story.kube.apply(body, manager=OWNER)


async def test_owner_in_the_first_wave_stalls_the_upgrade(story: Story) -> None:
    """Nothing is written anywhere; the sentence names object, field, manager and the mends; SkipTenant is one of them."""
    canary = await story.tenant("canary", labels=CANARY, config={})
    free = await story.tenant("free", labels=CANARY, config={})
    await story.ready()
    await owned(story, canary)
    await story.policy()
    await (await story.operator()).ready()
    upgrade = await story.upgrade()
    stalled = await story.until(upgrade, "OwnershipConflict", timeout=10)
    said = condition(stalled, "Ready")["message"]
    assert condition(stalled, "Stalled")["status"] == "True"
    assert [word for word in (canary, "api", "image", OWNER) if word not in said] == []
    assert set((await story.images()).values()) == {f"{IMAGE}:2.3.1"}
    await story.act(upgrade, "SkipTenant", tenants=[canary], reason="Flux delivers this one")
    await story.until(upgrade, "SucceededWithSkips")
    assert await story.images() == {canary: f"{IMAGE}:2.3.1", free: f"{IMAGE}:2.4.0"}


async def test_owner_in_a_later_wave_holds_that_tenant_alone(story: Story) -> None:
    """The others go on; the tenant goes on by itself once its owner has let go of the field."""
    canary = await story.tenant("canary", labels=CANARY, config={})
    held = await story.tenant("held", config={})
    free = await story.tenant("free", config={})
    await story.ready()
    await owned(story, held)
    waves = [{"name": "canary", "selector": {"matchLabels": CANARY}, "soak": "1s"}, {"name": "rest", "failureBudget": 1, "soak": "1s"}]
    await story.policy(waves=waves)
    await story.operator()
    upgrade = await story.upgrade()
    run = await story.until_run(upgrade, held, lambda run: run.get("state") == "Held", "is held")
    assert (run["reason"], OWNER in run["message"]) == ("OwnershipConflict", True)
    for tenant in (canary, free):
        await story.until_run(upgrade, tenant, lambda run: run.get("state") == "Succeeded", "is upgraded")
    assert await story.image(held) == f"{IMAGE}:2.3.1"
    assert await story.leftovers() == []
