"""Maintenance windows: each tenant starts in its own, and everybody can read when that is."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from support.story import IMAGE, PROFILE, Story, condition

DAYS_AHEAD = timedelta(days=3)


async def test_each_tenant_starts_in_its_own_window(story: Story) -> None:
    """S5: one window opens in a few seconds and its tenant is upgraded then; the other one's opens in three days, and everybody can see it."""
    soon_opens = datetime.now(UTC).replace(microsecond=0) + timedelta(seconds=30)
    late_opens = datetime.now(UTC).replace(microsecond=0) + DAYS_AHEAD
    soon = await story.tenant("soon", config={})
    late = await story.tenant("late", config={})
    for tenant, opens in ((soon, soon_opens), (late, late_opens)):
        once = {"start": f"{opens:%Y-%m-%dT%H:%M:%SZ}", "duration": "2h"}
        await story.profile(tenant, timeZone="Europe/Rome", windows=[{"name": "agreed", "once": once}])
    await story.ready()
    await story.policy(waves=[{"name": "all", "maxParallel": 2, "soak": "1s"}])
    await story.operator()
    upgrade = await story.upgrade()

    waiting = await story.until(upgrade, "WaitingForWindow")
    assert set((await story.images()).values()) == {f"{IMAGE}:2.3.1"}
    assert instant(waiting["status"]["next"]["time"]) == soon_opens
    assert condition(waiting, "Reconciling")["status"] == "True"

    done = await story.until_run(upgrade, soon, lambda run: run.get("state") == "Succeeded", "upgraded in its window")
    assert instant(done["startTime"]) >= soon_opens
    assert await story.image(late) == f"{IMAGE}:2.3.1"

    waiting = await story.until(upgrade, "WaitingForWindow")
    assert instant(waiting["status"]["next"]["time"]) == late_opens
    assert late in condition(waiting, "Ready")["message"]
    assert "Europe/Rome" in condition(waiting, "Ready")["message"]
    run = await story.run(upgrade, late)
    assert (run["state"], run["reason"], instant(run["nextOpenTime"])) == ("Waiting", "OutsideWindow", late_opens)
    profile = await story.kube.wait_until(
        PROFILE, "tenant", late, lambda body: body.get("status", {}).get("upgrade", {}).get("name") == upgrade, saying="shows the upgrade"
    )
    window, shown = profile["status"]["window"], profile["status"]["upgrade"]
    assert (window["open"], window["reason"], instant(window["nextOpenTime"])) == (False, "OutsideWindow", late_opens)
    assert (shown["state"], shown["reason"], instant(shown["plannedStartTime"])) == ("Waiting", "OutsideWindow", late_opens)
    assert condition(profile, "WindowsValid")["status"] == "True"


async def test_bad_windows_close_that_tenant_only(story: Story) -> None:
    """A zone that does not exist closes its tenant with the mend; the others go on, and the tenant follows when it is corrected."""
    bad = await story.tenant("bad", config={})
    good = await story.tenant("good", config={})
    await story.profile(
        bad, timeZone="Europa/Berlin", windows=[{"name": "nightly", "weekly": {"days": ["Mon"], "start": "02:00", "duration": "3h"}}]
    )
    await story.ready()
    await story.policy(waves=[{"name": "all", "maxParallel": 2, "soak": "1s"}])
    await story.operator()
    upgrade = await story.upgrade()
    await story.until_run(upgrade, good, lambda run: run.get("state") == "Succeeded", "upgraded")
    run = await story.until_run(upgrade, bad, lambda run: run.get("reason") == "UnknownTimeZone", "closed")
    assert "Europa/Berlin" in run["message"]
    profile = await story.kube.wait_until(PROFILE, "tenant", bad, lambda body: bool(condition(body, "WindowsValid")), saying="judged")
    assert condition(profile, "WindowsValid")["status"] == "False"
    await story.profile(bad)
    await story.until(upgrade, "Succeeded")


async def test_freeze_of_the_platform_holds_everybody_until_it_is_lifted(story: Story) -> None:
    """Windows and freezes are read live: no new run begins, and what waited goes on."""
    today = datetime.now(UTC).date()
    freeze = {"name": "launch", "dates": {"from": f"{today - timedelta(days=1)}", "to": f"{today + timedelta(days=1)}"}}
    tenant = await story.tenant("frozen", config={})
    await story.ready()
    waves = [{"name": "all", "soak": "1s"}]
    await story.policy(waves=waves, maintenance={"whenNoWindow": "Open", "freezes": [freeze]})
    await story.operator()
    upgrade = await story.upgrade()
    waiting = await story.until(upgrade, "WaitingForWindow")
    assert (await story.run(upgrade, tenant))["reason"] == "PlatformFreeze"
    assert '"launch"' in condition(waiting, "Ready")["message"]
    await story.policy(waves=waves)
    done = await story.until(upgrade, "Succeeded")
    assert done["status"]["run"]["id"] == waiting["status"]["run"]["id"]


def instant(text: str) -> datetime:
    """Read a time as the status shows it."""
    return datetime.fromisoformat(text)
