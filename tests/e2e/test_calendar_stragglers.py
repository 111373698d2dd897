"""Stragglers: a wave goes on without those whose window is far away; each starts in its own, weeks later, under gates of its own."""

from __future__ import annotations

from datetime import datetime, timedelta

from support.days import NEW, OLD, SECOND, SURELY_OPEN, Days, Object, counts, instant, once, utc
from support.gated import CANARY, Gated, metric_of, wave

MONDAY = utc("2027-01-04 09:00")
PATIENCE = timedelta(hours=72)
WEEK_LATER = utc("2027-01-12 02:00")
NEARLY = timedelta(seconds=30)
"""Time never stands still here: gates are asked each second, and Prometheus would have nothing new."""


async def test_stragglers_catch_up_under_their_own_gates(gated: Gated, days: Days) -> None:
    """Two of four succeed, after three days the wave passes, the next one begins; of the stragglers one is well and one is ill a week later."""
    story = gated.story
    prompt = await gated.tenants("prompt", 2, labels=CANARY)
    [well], [ill] = await gated.tenants("well", labels=CANARY), await gated.tenants("ill", labels=CANARY)
    [later] = await gated.tenants("later")
    gated.traffic(ill, images={":2.4.0": {"error_share": 0.3}})
    for tenant, opens in ((well, WEEK_LATER), (ill, WEEK_LATER + timedelta(days=1))):
        await story.profile(tenant, windows=[once(opens, "2h")])
    await gated.ready()
    stragglers = {"minCompleted": "50%", "maxWait": "72h"}
    await gated.policy(
        wave("first", "3s", selector=CANARY, failureBudget=1),
        wave("rest", "3s"),
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
    await story.until_run(upgrade, later, lambda run: run.get("state") == "Succeeded", "is in the next wave")
    waiting = await story.until(upgrade, "WaitingForWindow")  # and is not over
    assert instant(waiting["status"]["next"]["time"]) == WEEK_LATER

    async def starts(tenant: str, opening: datetime, state: str) -> Object:
        """Check that a straggler starts in its opening, and return how it ends."""
        await days.time.run_from(opening - NEARLY)
        await days.waits(upgrade, tenant, "OutsideWindow")
        await days.time.run_from(opening + SURELY_OPEN)
        done = await story.until_run(upgrade, tenant, lambda run: run.get("state") == state, f"is {state}")
        assert instant(done["startTime"]) >= opening
        return done

    done = await starts(well, WEEK_LATER, "Succeeded")
    assert (done["verdict"]["verdict"], done["verdict"]["evaluationTime"] > done["startTime"]) == ("Healthy", True)
    assert float(metric_of(done["verdict"])["total"]) > 0

    back = await starts(ill, WEEK_LATER + timedelta(days=1), "RolledBack")
    assert (back["reason"], back["verdict"]["verdict"]) == ("GateFailed", "Failing")
    ended = await story.until(upgrade, "SucceededWithSkips")
    assert (counts(ended)["succeeded"], counts(ended)["rolledBack"]) == (4, 1)
    assert {tenant: image for tenant, image in (await story.images()).items() if image != NEW} == {ill: OLD}
    assert await story.leftovers() == []
