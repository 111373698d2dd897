"""What somebody has damaged by hand is never guessed about: it is shown with its mend, and it goes on where it stood once it is mended."""

from __future__ import annotations

import copy
import json
from datetime import timedelta
from typing import Any

import pytest

from support.engine_story import UPGRADE, EngineStory
from support.tenant_story import ACME, OWN
from tenantwave.api.conditions import ActionReason, ConditionStatus, ConditionType
from tenantwave.api.kinds import CONFIG_MAP, FINALIZER, NAMESPACE, TENANT_RUN, TENANT_UPGRADE, UPGRADE_ACTION
from tenantwave.core.gates import GateBook
from tenantwave.engine.journals import journal_name
from tenantwave.engine.worlds import observe

BETA = "beta"
JOURNAL = journal_name(UPGRADE)
NONSENSE = {"status": {"component": "the second one"}}
HOUR = timedelta(hours=1)
LOOKS = range(1, 8)
"""An upgrade of two tenants is planned at the first look and soaks after the fifth; something is damaged after each of them."""


async def after(count: int, tenants: tuple[str, ...] = (ACME, BETA), soak: str = "1h") -> EngineStory:
    """Return an upgrade that was looked at so often."""
    story = EngineStory(tenants, soak=soak)
    for _ in range(count):
        await story.look()
    return story


def damage_run(story: EngineStory, tenant: str = ACME) -> dict[str, Any]:
    """Damage a TenantRun so that it cannot be parsed, and return what it said before."""
    before = copy.deepcopy(story.run(tenant))
    story.cluster.edit(TENANT_RUN, OWN, before["metadata"]["name"], NONSENSE)
    story.cluster.writes.clear()
    return before


def mend_run(story: EngineStory, before: dict[str, Any]) -> None:
    """Restore its status from a backup."""
    name = before["metadata"]["name"]
    story.cluster.edit(TENANT_RUN, OWN, name, {"status": None})
    story.cluster.edit(TENANT_RUN, OWN, name, {"status": before["status"]})


def touched(story: EngineStory, tenant: str) -> list[str]:
    """Return what we have written that has to do with a tenant."""
    lock = f"tenant-{story.cluster.see(NAMESPACE, '', tenant)['metadata']['uid']}"
    names = (story.run(tenant)["metadata"]["name"], lock)
    return [f"{one.verb} {one.kind} {one.name}" for one in story.cluster.writes if one.namespace == tenant or one.name in names]


@pytest.mark.parametrize("count", LOOKS)
async def test_a_tenant_run_that_cannot_be_read_stops_its_tenant_alone(count: int) -> None:
    """Nothing is written about it, the other tenant goes on, and the upgrade says which TenantRun it is, why, and how to mend it."""
    story = await after(count)
    before = damage_run(story)
    if count % 2:
        story.restart()
    await story.looks()
    assert touched(story, ACME) == []
    (exception,) = story.status().exceptions
    assert (exception.tenant, exception.state, exception.reason) == (ACME, "Held", "Ambiguous")
    assert exception.message.startswith(f"TenantRun {UPGRADE}.{ACME} cannot be read (status.component: ")
    assert "restore it from a backup" in exception.message
    has_begun = before["status"]["state"] not in ("Queued", "Waiting")
    assert story.run(BETA)["status"]["state"] == ("Soaking" if has_begun else "Waiting"), "the first wave tolerates nobody who is held"

    mend_run(story, before)
    await story.looks()
    assert {tenant: story.run(tenant)["status"]["state"] for tenant in story.tenants} == {ACME: "Soaking", BETA: "Soaking"}
    assert story.status().exceptions == ()


async def test_nobody_is_taken_back_for_a_tenant_run_that_cannot_be_read_and_its_wave_does_not_pass() -> None:
    """The other tenant is proven; the wave waits for a person, and says so."""
    story = await after(15)
    before = damage_run(story)
    await story.looks()
    for _ in range(3):
        story.clock.forward(by=HOUR)
        await story.looks()
    assert story.run(BETA)["status"]["state"] == "Succeeded"
    ready = story.condition(ConditionType.READY)
    assert ready is not None
    assert (ready.status, ready.reason) == (ConditionStatus.FALSE, "Held")
    assert f"TenantRun {UPGRADE}.{ACME} cannot be read" in ready.message
    assert story.condition(ConditionType.STALLED) is not None
    assert any(reason == "TenantUpgradeHeld" for reason, _ in story.heard.notes)

    mend_run(story, before)
    for _ in range(3):
        story.clock.forward(by=HOUR)
        await story.looks()
    ready = story.condition(ConditionType.READY)
    assert ready is not None
    assert ready.reason == "Succeeded"


ORDERS: dict[str, dict[str, Any]] = {
    "Resolve": {"tenants": [ACME], "reason": "settle it please", "resolution": "Rollback"},
    "Retry": {"tenants": [ACME]},
    "SkipTenant": {"tenants": [ACME], "reason": "leave it out please"},
}


@pytest.mark.parametrize("kind", ORDERS)
async def test_an_order_about_it_is_refused_with_the_mend(kind: str) -> None:
    """Carrying it out would overwrite what a person may still restore."""
    story = await after(15)
    damage_run(story)
    damaged = copy.deepcopy(story.run())
    answer = await order(story, kind, ORDERS[kind])
    assert (answer["status"], answer["reason"]) == ("False", ActionReason.NOT_APPLICABLE)
    assert "cannot be read" in answer["message"]
    assert story.run() == damaged


async def test_no_order_edit_or_deletion_overwrites_it() -> None:
    """A Retry of all, an Abort, another release, the end of the upgrade or of the tenant: it stays as it is, and keeps the finalizer."""
    for change in ("retry", "abort", "edit", "delete", "namespace"):
        story = await after(15)
        damage_run(story)
        damaged = copy.deepcopy(story.run())
        match change:
            case "retry":
                await order(story, "Retry", {})
            case "abort":
                await order(story, "Abort", {"reason": "stop it please"})
            case "edit":
                story.cluster.edit(TENANT_UPGRADE, "", UPGRADE, {"spec": {"release": {"version": "2.5.0"}}})
            case "delete":
                story.cluster.edit(TENANT_UPGRADE, "", UPGRADE, {"metadata": {"deletionTimestamp": story.clock.now().isoformat()}})
            case _:
                story.cluster.edit(NAMESPACE, "", ACME, {"metadata": {"deletionTimestamp": story.clock.now().isoformat()}})
        await story.looks()
        assert story.run() == damaged, change
        assert touched(story, ACME) == [], change
        assert FINALIZER in story.cluster.see(TENANT_UPGRADE, "", UPGRADE)["metadata"]["finalizers"], change


@pytest.mark.parametrize("spec", [{"tenant": BETA}, {"upgrade": "other"}, {"tenant": None, "upgrade": None}], ids=str)
async def test_a_tenant_run_that_speaks_of_somebody_else_is_damaged(spec: dict[str, Any]) -> None:
    """It is known by its name: it neither hides another tenant's TenantRun nor is made a second time."""
    story = await after(15)
    name = story.run()["metadata"]["name"]
    before = copy.deepcopy(story.run())
    story.cluster.edit(TENANT_RUN, OWN, name, {"spec": spec})
    story.cluster.writes.clear()
    story.restart()
    await story.looks()
    assert touched(story, ACME) == []
    (exception,) = story.status().exceptions
    assert (exception.tenant, exception.state, exception.reason) == (ACME, "Held", "Ambiguous")
    assert "its name does not" in exception.message
    assert story.run(BETA)["status"]["state"] == "Soaking"
    story.cluster.edit(TENANT_RUN, OWN, name, {"spec": before["spec"]})
    await story.looks()
    assert story.status().exceptions == ()


async def test_no_other_upgrade_takes_its_tenant() -> None:
    """Nobody knows whether something of ours stands there."""
    story = await after(15)
    damage_run(story)
    other = copy.deepcopy(story.cluster.see(TENANT_UPGRADE, "", UPGRADE))
    other["metadata"] = {"name": "younger", "creationTimestamp": "2026-12-06T01:30:00Z"}
    story.cluster.put(TENANT_UPGRADE, {key: other[key] for key in ("metadata", "spec")})
    story.watch()
    world = observe(story.store, "younger", GateBook(), story.clock.now())
    assert world is not None
    assert {claim.upgrade: claim.holds for claim in world.tenants[ACME].claims} == {UPGRADE: True}


async def test_a_tenant_whose_damaged_tenant_run_is_deleted_is_planned_anew() -> None:
    """The mend where there is no backup; here nothing had been written yet."""
    story = await after(2)
    damage_run(story)
    story.cluster.remove(TENANT_RUN, OWN, f"{UPGRADE}.{ACME}")
    await story.looks()
    assert story.run()["status"]["state"] == "Soaking"
    assert story.image() == "shop/api:2.4.0"


DAMAGES: dict[str, tuple[dict[str, Any], str]] = {
    "no JSON": ({"data": {"journal": "{'run': "}}, "data.journal: Invalid JSON"),
    "no text": ({"data": {"journal": ""}}, "data.journal: Invalid JSON"),
    "no data": ({"data": None}, "data.journal: Invalid JSON"),
    "no run": ({"data": {"journal": '{"upgrade": "shop", "upgrade_uid": "x"}'}}, "data.journal.run: Field required"),
    "another one's": ({"data": {"journal": None}}, "it is the journal of other"),
}


@pytest.mark.parametrize(("patch", "words"), DAMAGES.values(), ids=DAMAGES)
@pytest.mark.parametrize("count", LOOKS)
async def test_a_journal_that_cannot_be_read_stops_the_upgrade_and_says_so(count: int, patch: dict[str, Any], words: str) -> None:
    """Stalled, with the ConfigMap's name, why, and how to mend it. Nothing is started, taken back or written but the upgrade's status."""
    story = await after(count)
    before = copy.deepcopy(story.cluster.see(CONFIG_MAP, OWN, JOURNAL))
    shown = story.status() if "status" in story.cluster.see(TENANT_UPGRADE, "", UPGRADE) else None
    if words == "it is the journal of other":
        patch = {"data": {"journal": json.dumps(json.loads(before["data"]["journal"]) | {"upgrade": "other"})}}
    story.cluster.edit(CONFIG_MAP, OWN, JOURNAL, patch)
    story.cluster.writes.clear()
    if count % 2:
        story.restart()
    await story.looks()
    assert {one.kind for one in story.cluster.writes} == {"TenantUpgrade"}
    stalled = story.condition(ConditionType.STALLED)
    assert stalled is not None
    assert stalled.message.startswith(f"ConfigMap {OWN}/{JOURNAL}, the journal of this upgrade, cannot be read ({words}")
    assert "restore data.journal from a backup" in stalled.message
    if shown is not None and shown.run is not None:
        assert (story.status().run, story.status().counts) == (shown.run, shown.counts), "what was known last is still shown"
    assert any(reason == "UpgradeStalled" for reason, _ in story.heard.notes)

    story.cluster.edit(CONFIG_MAP, OWN, JOURNAL, {"data": before["data"]})
    await story.looks()
    assert {tenant: story.run(tenant)["status"]["state"] for tenant in story.tenants} == {ACME: "Soaking", BETA: "Soaking"}
    assert story.condition(ConditionType.STALLED) is None


async def test_a_journal_that_lost_its_labels_is_still_the_journal() -> None:
    """It is known by its name, and nothing begins anew."""
    story = await after(15)
    run = story.status().run
    story.cluster.edit(CONFIG_MAP, OWN, JOURNAL, {"metadata": {"labels": None}})
    story.restart()
    await story.looks()
    assert story.status().run == run
    assert story.condition(ConditionType.STALLED) is None


async def test_an_upgrade_whose_damaged_journal_is_deleted_is_planned_anew() -> None:
    """The mend where there is no backup: tenants that soak are judged anew, and nothing is written in them a second time."""
    story = await after(15)
    story.cluster.edit(CONFIG_MAP, OWN, JOURNAL, DAMAGES["no JSON"][0])
    await story.looks()
    story.cluster.remove(CONFIG_MAP, OWN, JOURNAL)
    story.cluster.writes.clear()
    await story.looks()
    for _ in range(4):
        story.clock.forward(by=HOUR)
        await story.looks()
    ready = story.condition(ConditionType.READY)
    assert ready is not None
    assert (ready.reason, story.status().exceptions) == ("Succeeded", ())
    assert [one.verb for one in story.cluster.writes if one.namespace in story.tenants and "spec" in (one.body or {})] == []


async def order(story: EngineStory, kind: str, spec: dict[str, Any]) -> dict[str, Any]:
    """Create an UpgradeAction for the current run, let it be obeyed, and return the condition Accepted."""
    run = story.status().run
    assert run is not None
    story.cluster.put(
        UPGRADE_ACTION,
        {
            "metadata": {"name": f"order-{kind.lower()}", "creationTimestamp": story.clock.now().isoformat()},
            "spec": {"upgrade": UPGRADE, "run": run.id, "type": kind, **spec},
        },
    )
    await story.looks()
    action = story.cluster.see(UPGRADE_ACTION, "", f"order-{kind.lower()}")
    return next(condition for condition in action["status"]["conditions"] if condition["type"] == "Accepted")
