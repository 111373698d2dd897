"""Stragglers: a wave goes on without those whose window is far away; each starts in its own, weeks later, under gates of its own."""

from __future__ import annotations

from datetime import timedelta

from support.days import NEW, OLD, SECOND, SURELY_OPEN, Days, counts, instant, once, utc
from support.gated import CANARY, Gated, metric_of, wave

MONDAY = utc("2027-01-04 09:00")
PATIENCE = timedelta(hours=72)
WEEK_LATER = utc("2027-01-12 02:00")
NEARLY = timedelta(seconds=30)
"""Time never stands still here: gates are asked each second, and Prometheus would have nothing new."""


async def test_stragglers_catch_up_under_their_own_gates(gated: Gated, days: Days) -> None:
    """Two of four succeed, after three days the wave passes, the next one begins; and a week later one straggler is well and one is ill."""
    story = gated.story
    prompt = await gated.tenants("prompt", 2, labels=CANARY)
    [well], [ill] = await gated.tenants("well", labels=CANARY), await gated.tenants("ill", labels=CANARY)
    [later] = await gated.tenants("later")
    gated.traffic(ill, images={":2.4.0": {"error_share": 0.3}})
    for tenant in (well, ill, later):
        await story.profile(tenant, windows=[once(WEEK_LATER, "2h")])
    await gated.ready()
    stragglers = {"minCompleted": "50%", "maxWait": "72h"}
    await gated.policy(
        wave("first", "3s", selector=CANARY, failureBudget=1),
        wave("rest", "1s"),
        maintenance={"whenNoWindow": "Open", "stragglers": stragglers},
    )
    await days.operator(MONDAY)
    upgrade = await story.upgrade()
    for tenant in prompt:
        await story.until_run(upgrade, tenant, lambda run: run.get("state") == "Succeeded", "has no window to wait for")
    entered = instant((await story.kube.get("tenantwave.io/v1alpha1/TenantUpgrade", upgrade))["status"]["waves"][0]["startTime"])

    await days.time.run_from(entered + PATIENCE - NEARLY)
    await days.waits(upgrade, well, "OutsideWindow")
    waiting = await story.until(upgrade, "WaitingForWindow")
    assert waiting["status"]["waves"][0]["state"] in ("Running", "Waiting")
    assert (await story.states(upgrade))[later] == "Queued"

    await days.time.run_from(entered + PATIENCE + SECOND)
    passed = await story.until_so(upgrade, lambda body: body["status"]["waves"][0]["state"] == "Passed", "the wave goes on without them")
    assert (passed["status"]["waves"][0]["stragglers"], passed["status"]["waves"][0]["succeeded"]) == (2, 2)
    await days.waits(upgrade, later, "OutsideWindow")  # no longer Queued: the next wave has begun
    waiting = await story.until(upgrade, "WaitingForWindow")
    assert instant(waiting["status"]["next"]["time"]) == WEEK_LATER

    await days.time.run_from(WEEK_LATER - NEARLY)
    for tenant in (well, ill, later):
        await days.waits(upgrade, tenant, "OutsideWindow")
    await days.time.run_from(WEEK_LATER + SURELY_OPEN)
    back = await story.until_run(upgrade, ill, lambda run: run.get("state") == "RolledBack", "is taken back by its own gate")
    done = await story.until_run(upgrade, well, lambda run: run.get("state") == "Succeeded", "is well by its own")
    for run in (back, done):
        assert WEEK_LATER <= instant(run["startTime"]) < instant(run["verdict"]["evaluationTime"])
        assert instant(run["openingEndTime"]) == WEEK_LATER + timedelta(hours=2)
        assert float(metric_of(run["verdict"])["total"]) > 0
    assert done["verdict"]["verdict"] == "Healthy"
    assert (back["reason"], back["verdict"]["verdict"]) == ("GateFailed", "Failing")
    ended = await story.until(upgrade, "SucceededWithSkips")
    assert (counts(ended)["succeeded"], counts(ended)["rolledBack"]) == (4, 1)
    assert {tenant: image for tenant, image in (await story.images()).items() if image != NEW} == {ill: OLD}
    assert await story.leftovers() == []
