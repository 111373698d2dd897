"""Before anything starts everybody can read what will happen when; and a date that slips is told."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

from support.story import IMAGE, PROFILE, Story, condition

Object = dict[str, Any]


def instant(text: str) -> datetime:
    """Read a time of the API server."""
    return datetime.fromisoformat(text)


def once(opens: datetime, hours: int = 2) -> Object:
    """Return a single window."""
    return {"name": "agreed", "once": {"start": f"{opens:%Y-%m-%dT%H:%M:%SZ}", "duration": f"{hours}h"}}


async def test_the_plan_of_a_suspended_upgrade_says_what_will_happen_when(story: Story) -> None:
    """Each tenant's planned start, each wave's earliest start and end, and that the deadline cannot be met, with the tenant that is to blame."""
    now = datetime.now(UTC).replace(microsecond=0)
    tuesday, much_later, deadline = now + timedelta(days=2), now + timedelta(days=20), now + timedelta(days=10)
    first = await story.tenant("first", labels={"tenantwave.io/ring": "canary"}, config={})
    soon, late = await story.tenant("soon", config={}), await story.tenant("late", config={})
    await story.profile(first, windows=[once(tuesday)])
    await story.profile(soon, windows=[once(now + timedelta(days=3))])
    await story.profile(late, windows=[once(much_later)])
    await story.ready()
    canary = {"name": "canary", "selector": {"matchLabels": {"tenantwave.io/ring": "canary"}}, "soak": "1h"}
    await story.policy(waves=[canary, {"name": "rest", "maxParallel": "100%", "soak": "2h"}])
    await story.operator()
    upgrade = await story.upgrade(suspend=True, deadlineTime=f"{deadline:%Y-%m-%dT%H:%M:%SZ}")

    def has_plan(body: Object) -> bool:
        waves = body["status"].get("waves") or [{}]
        return "plannedEndTime" in waves[-1] and "cannot be met" in condition(body, "Accepted").get("message", "")

    planned = await story.until_so(upgrade, has_plan, "shows the forecast")
    shown = {wave["name"]: wave for wave in planned["status"]["waves"]}
    assert instant(shown["canary"]["plannedEndTime"]) == tuesday + timedelta(hours=1)
    assert instant(shown["rest"]["plannedStartTime"]) == tuesday + timedelta(hours=1)
    assert instant(shown["rest"]["plannedEndTime"]) == much_later + timedelta(hours=2)
    warning = condition(planned, "Accepted")["message"]
    assert f"wave rest waits longest for {late}" in warning
    for tenant, start in ((first, tuesday), (soon, now + timedelta(days=3)), (late, much_later)):
        run = await story.until_run(upgrade, tenant, lambda run: "plannedStartTime" in run, "has a planned start")
        assert instant(run["plannedStartTime"]) == start
        body = await story.kube.wait_until(
            PROFILE, "tenant", tenant, lambda body: "plannedStartTime" in body.get("status", {}).get("upgrade", {}), saying="shows it"
        )
        assert instant(body["status"]["upgrade"]["plannedStartTime"]) == start
    assert set((await story.images()).values()) == {f"{IMAGE}:2.3.1"}

    # The tenant moves its window: the date slips, and the TenantRun says from when to when.
    slipped = now + timedelta(days=5)
    await story.profile(soon, windows=[once(slipped)])
    run = await story.until_run(upgrade, soon, lambda run: "rescheduled" in run, "tells that its start moved")
    assert (instant(run["rescheduled"]["from"]), instant(run["rescheduled"]["to"])) == (now + timedelta(days=3), slipped)
    assert instant(run["plannedStartTime"]) == slipped
    assert await story.leftovers() == []
