"""A ConfigMap that the release drops, and that a pod template still names: without it those pods would not start again."""

from __future__ import annotations

from typing import Any

import pytest

from support.tenant_story import ACME, NEW, OLD, S, Story, a_deployment, make_optional
from tenantwave.api.kinds import CONFIG_MAP, CRON_JOB, DEPLOYMENT, JOB, Kind
from tenantwave.core.plan import Deed

DROPPED = "worker-config"
POD = {"spec": {"containers": [{"name": "report", "image": "report:1", "envFrom": [{"configMapRef": {"name": DROPPED}}]}]}}


def of_the_tenant(kind: Kind, spec: dict[str, Any]) -> tuple[Kind, dict[str, Any]]:
    """An object of the tenant's own."""
    return kind, {"metadata": {"name": "own", "namespace": ACME}, "spec": spec}


USERS = {
    "a Deployment of the tenant's own": (DEPLOYMENT, a_deployment("own", DROPPED)),
    "a CronJob": of_the_tenant(CRON_JOB, {"jobTemplate": {"spec": {"template": POD}}}),
    "a Job that has not ended": of_the_tenant(JOB, {"template": POD, "suspend": True}),
}


async def dropping(*, is_optional: bool = True) -> Story:
    """A release that drops a ConfigMap of the component `worker`, whose pods start without it, or do not."""
    story = await Story(new={name: data for name, data in NEW.items() if name != DROPPED}, removed=(DROPPED,)).begin()
    if is_optional:
        make_optional(story, "worker")
    return story


@pytest.mark.parametrize(("kind", "body"), USERS.values(), ids=USERS)
async def test_what_a_workload_needs_stays(kind: Kind, body: dict[str, Any]) -> None:
    """The tenant succeeds, and is told that it stays, and for whom."""
    story = await dropping()
    story.cluster.put(kind, body)
    await story.run(S.SUCCEEDED)
    assert story.data(DROPPED) == OLD[DROPPED]
    assert story.leftovers() == []
    [note] = [note for note in story.status.notes if note.startswith(DROPPED)]
    assert note == f"{DROPPED}: dropped in 2.4.0, but {kind.name}/own needs it, so it stays; delete it once nothing reads it"


async def test_what_a_component_needs_stays() -> None:
    """A release changes no reference of its own components, either."""
    story = await dropping(is_optional=False)
    await story.run(S.SUCCEEDED)
    assert story.data(DROPPED) == OLD[DROPPED]
    assert [note for note in story.status.notes if "Deployment/worker needs it" in note]


async def test_the_preview_says_so() -> None:
    """Before anything starts."""
    story = await dropping()
    story.cluster.put(DEPLOYMENT, a_deployment("own", DROPPED))
    story.set_status(story.status.model_copy(update={"state": S.QUEUED}))
    await story.step(Deed.PREVIEW)
    assert story.status.preview is not None
    [planned] = [one for one in story.status.preview.objects if one.name == DROPPED]
    assert (planned.action, planned.summary) == ("Delete", "dropped, but stays as long as Deployment/own needs it")


async def test_what_is_optional_to_everybody_goes() -> None:
    """Those pods start without it."""
    story = await dropping()
    story.cluster.put(DEPLOYMENT, a_deployment("own", DROPPED))
    make_optional(story, "own")
    await story.run(S.SUCCEEDED)
    assert not story.cluster.has(CONFIG_MAP, ACME, DROPPED)
