"""The change record from end to end in memory: what the profile shows, what people are told, and that a restart tells nothing twice."""

from __future__ import annotations

import json
import logging
from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import pytest

from support.engine_story import UPGRADE
from support.tenant_story import ACME, OWN
from support.tenants_story import TenantsStory
from tenantwave.api.conditions import DecisionReason
from tenantwave.api.kinds import CONFIG_MAP, TENANT_DECISION, TENANT_PROFILE, TENANT_RUN, UPGRADE_ACTION
from tenantwave.api.meta import PROFILE_NAME, tenant_run_name
from tenantwave.core.calendar import Answer
from tenantwave.shell import logs

CHANGED = "TenantObjectUpgraded"


@pytest.fixture(autouse=True)
def _as_it_was() -> Iterator[None]:
    root, changes = logging.getLogger(), logging.getLogger(logs.CHANGES)
    handlers, level = root.handlers[:], root.level
    yield
    root.handlers[:] = handlers
    root.setLevel(level)
    changes.handlers[:], changes.propagate = [], True


def heard_of(story: TenantsStory) -> list[tuple[str, str]]:
    """Return reason and sentence of the Events about changes in the tenant."""
    return [(reason, note) for reason, note in story.heard.notes if reason.startswith(("TenantObject", "TenantOrder", "TenantDecision"))]


async def upgraded() -> TenantsStory:
    """Return the story of a tenant that has been upgraded, with a profile of its own."""
    story = TenantsStory(soak="1m")
    await story.settle(upgrade=True)
    for _ in range(3):
        story.clock.forward(timedelta(minutes=2))
        story.awake["upgrade"].add(UPGRADE)
        await story.settle(upgrade=True)
    assert story.run()["status"]["state"] == "Succeeded"
    return story


def lines(story: TenantsStory) -> list[tuple[str, str, str, str]]:
    return [(change.action, change.object, change.from_, change.to) for change in story.profile().recent_changes]


UP = [("Upgraded", "product shop", "2.3.1", "2.4.0"), ("Upgraded", "Deployment/api", "2.3.1", "2.4.0")]


async def test_a_tenant_reads_what_was_changed_in_it(capsys: pytest.CaptureFixture[str]) -> None:
    """In its profile, as Events of it, and as lines on stdout for whatever keeps them."""
    logs.configure("text", "ERROR")
    story = await upgraded()
    assert lines(story) == UP
    assert [reason for reason, _ in heard_of(story)] == [CHANGED]
    written = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [(line["object"], line["action"], line["from"], line["to"]) for line in written] == [
        ("Deployment/api", "Upgraded", "2.3.1", "2.4.0"),
        ("product shop", "Upgraded", "2.3.1", "2.4.0"),
    ]
    for line in written:
        assert set(line) == {"time", "actor", "object", "action", "from", "to", "why", "tenant", "upgrade", "id"}
        assert (line["tenant"], line["upgrade"], line["actor"]) == (ACME, UPGRADE, "tenantwave")


async def test_a_restart_and_a_lost_status_tell_nothing_twice() -> None:
    """What was told is told by what is stored."""
    story = await upgraded()
    told, shown = list(story.heard.notes), story.profile().recent_changes
    story.restart()
    await story.settle(upgrade=True)
    assert (story.heard.notes, story.profile().recent_changes) == (told, shown)
    story.clock.forward(timedelta(hours=2))
    story.cluster.edit(TENANT_PROFILE, ACME, PROFILE_NAME, {"status": None})
    story.restart()
    await story.settle(upgrade=True)
    assert (heard_of(story), story.profile().recent_changes) == ([note for note in told if note in heard_of(story)], shown)


def an_order(kind: str, run: str, **spec: Any) -> dict[str, Any]:
    body = {"upgrade": UPGRADE, "run": run, "type": kind, "tenants": [ACME], "reason": "CHG-4411 agreed", "requestedBy": "ann@example.com"}
    return {"metadata": {"name": "order", "creationTimestamp": "2026-12-06T01:30:00Z"}, "spec": body | spec}


async def test_what_a_person_ordered_stands_beside_it() -> None:
    """By whom, and why."""
    story = TenantsStory()
    story.cluster.edit(CONFIG_MAP, ACME, "app-config", {"data": {"tenant": "edit"}})
    story.edit_upgrade({"suspend": True})
    await story.settle(upgrade=True)
    story.cluster.put(UPGRADE_ACTION, an_order("SkipTenant", story.run()["status"]["run"]))
    await story.settle(upgrade=True)
    (change,) = (change for change in story.profile().recent_changes if change.action == "SkipTenant")
    assert (change.actor, change.object, change.why) == ("ann@example.com", f"upgrade {UPGRADE}", "order: CHG-4411 agreed")
    assert ("TenantOrderTaken", f"SkipTenant upgrade {UPGRADE}, by ann@example.com: order: CHG-4411 agreed") in heard_of(story)


async def test_what_the_tenant_decided_stands_there_once_it_is_accepted() -> None:
    """By whom, until when, and why; it stays when the decision is deleted."""
    story = TenantsStory()
    story.edit_upgrade({"suspend": True})
    await story.settle(upgrade=True)
    story.decide("defer-1", "Defer", untilTime="2026-12-24T00:00:00Z", requestedBy="ann@acme.example", reason="Christmas sale")
    await story.settle()
    assert story.profile().recent_changes == (), "not answered yet"
    await story.answer_by_upgrade(Answer("defer-1", True, DecisionReason.ACCEPTED, "counts until 2026-12-24T00:00:00Z"))
    await story.settle()
    (change,) = story.profile().recent_changes
    assert (change.actor, change.action, change.object) == ("ann@acme.example", "Defer", f"upgrade {UPGRADE}")
    assert (change.to, change.why) == ("2026-12-24T00:00:00Z", "defer-1: Christmas sale")
    sentence = f"Defer upgrade {UPGRADE} (2026-12-24T00:00:00Z), by ann@acme.example: defer-1: Christmas sale"
    assert heard_of(story) == [("TenantDecisionTaken", sentence)]
    story.decide("opt-out-1", "OptOut")
    await story.answer_by_upgrade(Answer("opt-out-1", False, DecisionReason.NOT_ALLOWED, "the policy says consent: Mandatory"))
    story.cluster.remove(TENANT_DECISION, ACME, "defer-1")
    story.restart()
    await story.settle()
    assert story.profile().recent_changes == (change,), "nothing is told of what was refused"
    assert len(heard_of(story)) == 1


async def test_a_date_that_moved_is_a_line_and_no_second_event(capsys: pytest.CaptureFixture[str]) -> None:
    """The planner has told it, with the sentence for the tenant."""
    logs.configure("text", "ERROR")
    story = TenantsStory()
    story.edit_upgrade({"suspend": True})
    await story.settle(upgrade=True)
    moved = {"time": "2026-12-06T01:30:00Z", "from": "2026-12-07T00:00:00Z", "to": "2026-12-24T00:00:00Z", "why": "deferred by defer-1"}
    story.cluster.edit(TENANT_RUN, OWN, tenant_run_name(UPGRADE, ACME), {"status": {"rescheduled": moved}})
    told = list(story.heard.notes)
    await story.settle()
    (change,) = story.profile().recent_changes
    assert (change.action, change.object, change.why) == ("Rescheduled", "planned start", f"{UPGRADE}: deferred by defer-1")
    (line,) = (json.loads(line) for line in capsys.readouterr().out.splitlines())
    assert (line["from"], line["to"], line["upgrade"]) == ("2026-12-07T00:00:00Z", "2026-12-24T00:00:00Z", UPGRADE)
    assert story.heard.notes == told
