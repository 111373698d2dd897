"""What a plan shows before anything starts: who goes in which wave and why, who is passed over, and how many versions there are."""

from __future__ import annotations

from typing import Any

from support.story import GROUP_VERSION, IMAGE, Story, condition

Object = dict[str, Any]
FEATURE = "feature.example.com/"


async def test_a_suspended_plan_covers_orders_explains_and_counts_versions(story: Story) -> None:
    """One tenant for each combination of features, then by tier as a number; the condition names the versions beyond alertAboveVersions."""
    labels = {
        "plain": {f"{FEATURE}search": "off", "tier": "2"},
        "twin": {f"{FEATURE}search": "off", "tier": "10"},
        "rich": {f"{FEATURE}search": "on", "tier": "3"},
        "bare": {"tier": "1"},
    }
    names = {name: await story.tenant(name, labels=own, config={}) for name, own in labels.items()}
    await story.ready()
    waves = [
        {"name": "cover", "coverage": {"labelPrefix": FEATURE}, "orderBy": ["label:tier"], "soak": "1s"},
        {"name": "rest", "orderBy": ["label:tier"], "soak": "1s"},
    ]
    await story.policy(waves=waves, alertAboveVersions=1)
    await story.operator()
    await story.until(await story.upgrade("adopt", "2.3.1"), "Succeeded")
    upgrade = await story.upgrade(suspend=True)
    runs = {
        name: await story.until_run(upgrade, tenant, lambda run: bool(run.get("explain")), "is explained") for name, tenant in names.items()
    }
    assert {name: run["wave"] for name, run in runs.items()} == {"plain": "cover", "rich": "cover", "bare": "rest", "twin": "rest"}
    assert "search=off" in runs["plain"]["explain"]
    assert "tier" in runs["twin"]["explain"]
    planned = await story.until(upgrade, "Suspended")
    assert planned["status"]["versions"] == [{"tenants": 4, "version": "2.3.1"}]
    assert condition(planned, "VersionSkewExceeded")["status"] == "False"
    assert set((await story.images()).values()) == {f"{IMAGE}:2.3.1"}

    # One opts out for good, so that two versions are left: one more than the policy wants.
    decision = {"upgrade": upgrade, "type": "OptOut", "reason": "end of the contract"}
    metadata = {"name": "never", "namespace": names["bare"]}
    await story.kube.apply({"apiVersion": GROUP_VERSION, "kind": "TenantDecision", "metadata": metadata, "spec": decision})
    await story.until_run(upgrade, names["bare"], lambda run: run.get("reason") == "OptedOut", "is passed by")
    await story.upgrade(suspend=False)
    done = await story.until(upgrade, "SucceededWithSkips")
    assert done["status"]["versions"] == [{"tenants": 1, "version": "2.3.1"}, {"tenants": 3, "version": "2.4.0"}]
    skew = condition(await story.until_so(upgrade, too_many, "says that there are too many versions"), "VersionSkewExceeded")
    assert "2.3.1" in skew["message"]


def too_many(upgrade: Object) -> bool:
    """Tell whether the upgrade says that more versions run than its policy wants."""
    return bool(condition(upgrade, "VersionSkewExceeded").get("status") == "True")
