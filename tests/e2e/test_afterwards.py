"""After a rollback: the tenant is RolledBack at once, and minutes later its TenantRun says whether it is as well as before the upgrade."""

from __future__ import annotations

from typing import Any

from localcluster.monitoring import Monitoring

from support.story import IMAGE, Story

CANARY = {"tenantwave.io/ring": "canary"}
GATE = {"name": "errors", "ratio": {"bad": 'http_requests_total{code=~"5.."}', "total": "http_requests_total"}, "max": "1%"}


async def test_who_was_taken_back_is_judged_once_more(story: Story, monitoring: Monitoring) -> None:
    """The run ends without waiting for it; the verdict that took the tenant back stays beside the new one."""
    canary = await story.tenant("canary", labels=CANARY)
    await story.tenant("other")
    await story.ready()
    waves: list[dict[str, Any]] = [{"name": "canary", "selector": {"matchLabels": CANARY}, "soak": "10s"}, {"name": "rest"}]
    await story.policy(waves=waves, prometheus={"url": monitoring.url}, gates=[GATE], evaluation={"interval": "1s", "warmUp": "1s"})
    await story.operator()
    upgrade = await story.upgrade(image=f"{IMAGE}:2.4.0-err")
    await story.until(upgrade, "RolledBack")
    assert "afterRollback" not in await story.run(upgrade, canary), "the end waited for a metric"
    run = await story.until_run(upgrade, canary, lambda run: "afterRollback" in run, "the look after the rollback")
    assert run["afterRollback"]["verdict"] in ("Healthy", "Inconclusive")
    assert (run["verdict"]["verdict"], run["takeBack"]["cause"]) == ("Failing", "GateFailed")
    assert run["afterRollback"]["evaluationTime"] > run["verdict"]["evaluationTime"]
    assert run["afterRollback"]["metrics"][0]["query"]
