"""A workload whose old pods do not come up: what was written before it goes back all the same, once there is nothing more to wait for."""

from __future__ import annotations

from typing import Any

import pytest

from support.tenant_story import ACME, OLD, S, Story, a_deployment, a_spec
from tenantwave.api.action import Resolution
from tenantwave.api.conditions import FailReason
from tenantwave.api.kinds import DAEMON_SET, POD
from tenantwave.api.tenant_run import TenantState
from tenantwave.core import tenant_run
from tenantwave.core.plan import Deed


async def story_with_a_dead_worker() -> Story:
    """The worker, which was written last, is taken back first, and its old pods do not start."""
    story = await Story().begin()
    await story.run(S.SOAKING)
    story.broken = lambda image: image == "shop/worker:2.3.1"
    story.order_back()
    for _ in range(5):
        await story.step()
    return story


def shown(story: Story) -> tuple[str, str, bool]:
    """Return both images, and whether the configuration of the first component is as it was."""
    return story.image("api"), story.image("worker"), story.data("app-config") == OLD["app-config"]


async def test_before_the_deadline_each_waits_for_the_one_before() -> None:
    """The worker is back, and the api waits for it."""
    story = await story_with_a_dead_worker()
    assert (story.status.state, *shown(story)) == (S.ROLLING_BACK, "shop/api:2.4.0", "shop/worker:2.3.1", False)


async def test_past_the_deadline_the_others_go_back() -> None:
    """RollbackFailed stays, for the worker does not run; but nothing of the release stands any more. Once it runs, all ends well."""
    story = await story_with_a_dead_worker()
    late = "not taken back within rollback.deadline"
    story.set_status(tenant_run.failed(story.status, FailReason.GATE_FAILED, late, story.clock.now(), take_back=True))
    await story.step(Deed.TAKE_BACK)
    assert (story.status.state, *shown(story)) == (S.ROLLBACK_FAILED, "shop/api:2.3.1", "shop/worker:2.3.1", True)
    story.broken = lambda image: False
    for _ in range(3):
        await story.step(Deed.TAKE_BACK)
    assert (story.status.state, story.leftovers()) == (S.ROLLED_BACK, [])


@pytest.mark.parametrize("order", [Resolution.ROLLBACK, Resolution.FORCE_PRE_IMAGE])
async def test_an_order_takes_the_others_back(order: Resolution) -> None:
    """Who says Resolve has seen that the worker does not start."""
    story = await story_with_a_dead_worker()
    story.set_status(story.status.model_copy(update={"resolution": order}))
    await story.step(overwrite_later_edits=order is Resolution.FORCE_PRE_IMAGE)
    assert (story.status.state, *shown(story)) == (S.ROLLING_BACK, "shop/api:2.3.1", "shop/worker:2.3.1", True)


def play_daemon_set(story: Story, node_count: int) -> None:
    """Act the controller of the DaemonSet `agent`: a Ready pod on each node."""
    live = story.cluster.see(DAEMON_SET, ACME, "agent")
    template = live["spec"]["template"]
    counts = dict.fromkeys(("desiredNumberScheduled", "updatedNumberScheduled", "numberAvailable"), node_count)
    status: dict[str, Any] = {"observedGeneration": live["metadata"]["generation"], **counts}
    if live.get("status") != status:
        story.cluster.edit(DAEMON_SET, ACME, "agent", {"status": status})
    story.cluster.objects.pop((POD.plural, ACME, "agent-pod"), None)
    if node_count:
        ready = {"conditions": [{"type": "Ready", "status": "True"}]}
        metadata = {"name": "agent-pod", "namespace": ACME, **template["metadata"]}
        story.cluster.put(POD, {"metadata": metadata, "spec": template["spec"], "status": ready})


async def run(story: Story, until: TenantState, node_count: int) -> None:
    """Step on with the DaemonSet wanted on so many nodes."""
    for _ in range(10):
        play_daemon_set(story, node_count)
        if story.status.state is until:
            return
        await story.step()
    raise AssertionError(f"{story.status.state}: {story.status.message}")


async def test_a_daemon_set_that_is_wanted_nowhere_any_more_has_no_pod_to_wait_for() -> None:
    """Its nodes were drained during the upgrade."""
    containers = [{"name": "agent", "image": "shop/agent:2.4.0"}]
    agent = {"name": "agent", "workload": {"kind": "DaemonSet", "name": "agent", "containers": containers}}
    story = await Story(spec=a_spec(components=[agent])).begin()
    story.cluster.put(DAEMON_SET, a_deployment("agent", "app-config"))
    await run(story, S.SOAKING, node_count=1)
    story.order_back()
    await run(story, S.ROLLED_BACK, node_count=0)
    assert story.leftovers() == []
