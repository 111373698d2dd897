"""The tenant's namespace is deleted in mid-run, or deleted and made again under the same name: nothing is written into what is not the tenant."""

from __future__ import annotations

from typing import Any

import pytest

from fakes import CrashNow, Request
from support.tenant_story import ACME, Story
from tenantwave.api.conditions import FailReason
from tenantwave.api.kinds import INTENT_ANNOTATION, NAMESPACE
from tenantwave.api.tenant_run import TenantState
from tenantwave.core import tenant_run
from tenantwave.core.plan import Deed
from tenantwave.faults import Fault

S = TenantState
WAYS = ("upgrade", "rollback")


def made_again(story: Story, marked: bool) -> dict[Any, Any]:
    """Delete the namespace with all that is in it, and let GitOps make it again as it was before. Return what is in it."""
    cluster = story.cluster
    old = {key: body for key, body in cluster.objects.items() if key[1] == ACME or key[0] == "namespaces"}
    for key in old:
        del cluster.objects[key]
    cluster.put(NAMESPACE, {"metadata": {"name": ACME}})
    for (plural, namespace, name), body in old.items():
        if plural in ("configmaps", "deployments"):
            clean = {key: value for key, value in body["metadata"].items() if key in ("name", "namespace", "labels")}
            annotations = body["metadata"].get("annotations") or {}
            clean["annotations"] = {key: value for key, value in annotations.items() if marked or key != INTENT_ANNOTATION}
            cluster.objects[(plural, namespace, name)] = body | {
                "metadata": clean | {"uid": f"new-{name}", "resourceVersion": "1", "generation": 1}
            }
    return in_acme(story)


def in_acme(story: Story) -> dict[Any, Any]:
    """Return what somebody has written there: all but what controllers do."""
    found = {key: body for key, body in story.cluster.objects.items() if key[1] == ACME and key[0] != "pods"}
    return {
        key: {field: value for field, value in body.items() if field not in ("status", "metadata")}
        | {"metadata": {field: value for field, value in body["metadata"].items() if value and field != "resourceVersion"}}
        for key, body in found.items()
    }


ENDED = (S.ORPHANED, S.SUCCEEDED, S.ROLLED_BACK)
SEEN_AT = 20
"""After so many turns the planner's cache shows the new namespace."""


async def go(story: Story, way: str, turns: int = 40) -> None:
    """Go on to an end, restarting whenever the process dies. What the planner sees of the namespace is late."""
    for turn in range(turns):
        status = story.status
        if status.state in ENDED:
            return
        if way == "rollback" and status.state is S.SOAKING:
            story.order_back()
        lives = story.cluster.objects.get(("namespaces", "", ACME), {"metadata": {"uid": ""}})["metadata"]["uid"]
        try:
            if turn >= SEEN_AT and lives != status.namespace_uid:
                outcome = tenant_run.to(status, S.ORPHANED, FailReason.RECREATED, "made again", story.clock.now())
                await story.step(Deed.LET_GO, outcome=outcome)
            else:
                await story.step()
        except CrashNow:
            story.restart()
        except Fault:
            continue


@pytest.mark.parametrize("marked", [False, True], ids=["from git", "from a backup, with our markers"])
@pytest.mark.parametrize("way", WAYS)
async def test_nothing_is_written_into_a_namespace_that_was_made_again(way: str, marked: bool) -> None:
    """Before every write of the whole run: at once, while the planner's cache still shows the old one."""
    undisturbed = await Story().begin()
    await go(undisturbed, way)
    count = len(undisturbed.cluster.writes)
    seen = set()
    for number in range(1, count + 1):
        story = await Story().begin()
        begun: list[dict[Any, Any]] = []

        def again(at: int, request: Request, number: int = number, begun: list[dict[Any, Any]] = begun, story: Story = story) -> None:
            if at == number and not (request.namespace == ACME and request.verb == "create"):
                begun.append(made_again(story, marked))

        story.cluster.before = again
        await go(story, way)
        if not begun:
            continue
        seen.add(story.status.state)
        assert in_acme(story) == begun[0], f"at write {number}: {story.status.state}"
        assert [key for key in story.cluster.objects if key[0] == "leases"] == [], f"at write {number}: {story.status.message}"
    assert S.ORPHANED in seen
    assert seen <= set(ENDED), "it had ended before, or is Orphaned"


@pytest.mark.parametrize("way", WAYS)
async def test_a_namespace_that_is_gone_orphans_its_tenant(way: str) -> None:
    """With the lock given back."""
    undisturbed = await Story().begin()
    await go(undisturbed, way)
    for number in range(1, len(undisturbed.cluster.writes), 2):
        story = await Story().begin()

        def gone(at: int, request: Request, number: int = number, story: Story = story) -> None:
            if at == number:
                for key in [key for key in story.cluster.objects if key[1] == ACME or key[0] == "namespaces"]:
                    del story.cluster.objects[key]

        story.cluster.after = gone
        await go(story, way)
        assert story.status.state in ENDED, f"after write {number}: {story.status.message}"
        assert [key for key in story.cluster.objects if key[0] == "leases"] == [], f"after write {number}"
