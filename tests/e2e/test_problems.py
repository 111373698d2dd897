"""What a bad manifest gets from the operator: a named reason within seconds, a sentence with the mend, and no tenant touched."""

from __future__ import annotations

from typing import Any

import pytest

from support.kstatus import FAILED, kstatus
from support.story import IMAGE, UPGRADE, Story, condition

CANARY = {"tenantwave.io/ring": "canary"}
SECONDS = 15
GATE = {"name": "lag", "max": "60", "query": "max by ({{ label }}) (queue_lag_seconds{ {{ tenants }} })"}


async def one_tenant(story: Story) -> str:
    """Given one tenant that runs 2.3.1, and an operator."""
    tenant = await story.tenant("only", labels=CANARY, config={"pool": "10"})
    await story.ready()
    await (await story.operator()).ready()
    return tenant


async def stalls(story: Story, upgrade: str, reason: str) -> str:
    """Then the upgrade stalls for that reason, and nothing in any tenant was touched. Returns the sentence."""
    body = await story.until(upgrade, reason, timeout=SECONDS)
    assert (condition(body, "Stalled")["status"], condition(body, "Stalled")["reason"], kstatus(body)) == ("True", reason, FAILED)
    assert set((await story.images()).values()) <= {f"{IMAGE}:2.3.1"}
    for tenant in story.tenants:
        assert await story.config(tenant) == {"pool": "10"}
        assert (await story.kube.get("apps/v1/Deployment", "api", tenant))["metadata"]["generation"] == 1
    assert await story.leftovers() == []
    return str(condition(body, "Ready")["message"])


@pytest.mark.parametrize(
    ("spec", "words"),
    [
        (
            {"components": [{"name": "chart", "helmRelease": {"name": "shop", "version": "2.4.0"}}]},
            "spec.components[].helmRelease is not supported by this build",
        ),
        (
            {"hooks": [{"name": "migrate", "at": "PostApply", "jobTemplate": {"spec": {}}}]},
            "spec.hooks[migrate].jobTemplate has no spec.template.spec.containers",
        ),
        ({"deadlineTime": "2020-01-01T00:00:00Z"}, "spec.deadlineTime 2020-01-01T00:00:00Z has passed"),
        ({"release": {"fromVersions": ">=2.x"}}, "fromVersions"),
    ],
    ids=["driver", "hooks", "deadlineTime", "fromVersions"],
)
async def test_field_that_cannot_be_obeyed_is_named(story: Story, spec: dict[str, Any], words: str) -> None:
    """S12: a field of the contract that this build does not support, or cannot understand, is never ignored."""
    await one_tenant(story)
    await story.policy()
    upgrade = await story.upgrade(**spec)
    assert words in await stalls(story, upgrade, "InvalidSpec")


@pytest.mark.parametrize(
    ("policy", "words"),
    [
        ({"maintenance": {"whenNoWindow": "Open", "defaultTimeZone": "Europa/Berlin"}}, "Europa/Berlin"),
        ({"gates": [GATE | {"query": "max(queue_lag_seconds"}], "prometheus": {"url": "http://127.0.0.1:9"}}, "lag"),
        ({"gates": [GATE | {"query": "queue_lag_seconds or vector(1)"}], "prometheus": {"url": "http://127.0.0.1:9"}}, "lag"),
    ],
    ids=["zone", "promql", "unscoped"],
)
async def test_bad_policy_shows_on_itself_and_on_the_upgrade(story: Story, policy: dict[str, Any], words: str) -> None:
    """S12: zones and PromQL are judged by the operator, on the policy before an upgrade uses it; a mended policy lets the upgrade go on."""
    await one_tenant(story)
    name = await story.policy(**policy)
    body = await story.kube.wait_until("RolloutPolicy", name, None, lambda body: bool(condition(body, "Stalled")), timeout=SECONDS)
    assert words in condition(body, "Stalled")["message"]
    upgrade = await story.upgrade()
    assert words in await stalls(story, upgrade, "InvalidSpec")
    await story.kube.delete("RolloutPolicy", name)
    await story.policy()
    await story.until(upgrade, "Succeeded")


async def test_missing_policy_gets_five_seconds_and_clears_by_itself(story: Story) -> None:
    """S12: git applies in any order, so a missing policy is first waited for, then named; when it comes the upgrade goes on."""
    await one_tenant(story)
    upgrade = await story.upgrade()
    await story.until(upgrade, "Planning")
    assert "does not exist" in await stalls(story, upgrade, "PolicyNotFound")
    assert story.recorder.reasons[upgrade] == ["Planning", "PolicyNotFound"]
    await story.policy()
    await story.until(upgrade, "Succeeded")


async def test_nobody_selected(story: Story) -> None:
    """S12: NoTenants; a namespace that is labelled later is planned by itself."""
    await (await story.operator()).ready()
    await story.policy()
    upgrade = await story.upgrade()
    assert "no namespace matches" in await stalls(story, upgrade, "NoTenants")
    await story.tenant("late", labels=CANARY, config={})
    await story.until(upgrade, "Succeeded")


async def test_tenants_that_no_wave_takes(story: Story) -> None:
    """S12: UnmatchedTenants names them."""
    tenant = await one_tenant(story)
    other = await story.tenant("other", config={"pool": "10"})
    await story.policy(waves=[{"name": "canary", "selector": {"matchLabels": CANARY}}])
    upgrade = await story.upgrade()
    said = await stalls(story, upgrade, "UnmatchedTenants")
    assert (other in said, tenant in said) == (True, False)


async def test_canary_wave_without_canaries(story: Story) -> None:
    """S12: EmptyFirstWave, for a canary that guards nobody is no canary."""
    await one_tenant(story)
    await story.policy(waves=[{"name": "canary", "selector": {"matchLabels": {"ring": "none"}}}, {"name": "rest"}])
    upgrade = await story.upgrade()
    assert "takes nobody" in await stalls(story, upgrade, "EmptyFirstWave")


async def test_entry_missing_from_the_catalogue_never_means_dropped(story: Story) -> None:
    """S12: CatalogueIncomplete, until the entry comes, or one that says the release drops the ConfigMap."""
    tenant = await one_tenant(story)
    await story.pristine("2.3.1", {"pool": "10"})
    await story.policy()
    upgrade = await story.upgrade()
    assert "tenantwave.io/removed" in await stalls(story, upgrade, "CatalogueIncomplete")
    await story.pristine("2.4.0", {}, removed=True)
    await story.until(upgrade, "Succeeded")
    assert await story.kube.find("ConfigMap", "app-config", tenant) is None


async def test_edited_configuration_that_the_release_drops_stays(story: Story) -> None:
    """A ConfigMap that the release drops but the tenant has made its own is a conflict for the tenant to settle, never deleted."""
    tenant = await story.tenant("only", labels=CANARY, config={"pool": "15"})
    await story.ready()
    await story.operator()
    await story.pristine("2.3.1", {"pool": "10"})
    await story.pristine("2.4.0", {}, removed=True)
    await story.policy()
    upgrade = await story.upgrade()
    await story.until(upgrade, "Held")
    assert (await story.run(upgrade, tenant))["reason"] == "ConfigConflict"
    assert await story.config(tenant) == {"pool": "15"}


async def test_corrected_spec_starts_at_once(story: Story) -> None:
    """A stalled upgrade that is corrected in git needs nothing else."""
    await one_tenant(story)
    await story.policy()
    upgrade = await story.upgrade(hooks=[{"name": "migrate", "at": "PostApply", "jobTemplate": {"spec": {}}}])
    await stalls(story, upgrade, "InvalidSpec")
    body = await story.kube.get(UPGRADE, upgrade)
    await story.kube.patch(UPGRADE, body["metadata"]["name"], None, {"spec": {"hooks": None}})
    await story.until(upgrade, "Succeeded")
