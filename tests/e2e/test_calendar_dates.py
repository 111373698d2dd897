"""Dates that are told, and slip; a clock that is wrong; and an operator that was away when a window was open."""

from __future__ import annotations

from localcluster.client import eventually

from support.days import SURELY_OPEN, Days, Object, freeze, instant, utc, weekly
from support.story import Story
from support.told_time import SKEW_VARIABLE

DAILY = ("Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun")
EVENTS = "events.k8s.io/v1/Event"


async def test_a_slipped_date_is_told_with_the_old_one_and_the_reason(story: Story, days: Days) -> None:
    """The tenant moves its window, then the platform freezes that week: each time run, profile and an Event say what moved, and why."""
    acme = await story.tenant("acme")
    await story.profile(acme, timeZone="Europe/Berlin", windows=[weekly("Sat", start="02:00", duration="4h")])
    await story.ready()
    waves = [{"name": "all", "soak": "1s"}]
    await story.policy(waves=waves)
    await days.operator(utc("2027-01-04 09:00"))
    upgrade = await story.upgrade()
    told = await days.waits(upgrade, acme, "OutsideWindow")
    assert (told["plannedStartTime"], "rescheduled" in told) == ("2027-01-09T01:00:00Z", False)

    async def is_moved(old: str, new: str, *words: str) -> None:
        """Check that everybody is told of the move, and why."""
        run = await story.until_run(upgrade, acme, lambda run: run.get("plannedStartTime") == new, f"starts {new}")
        moved = run["rescheduled"]
        assert (moved["from"], moved["to"]) == (old, new)
        shown = await days.profile_shows(acme, lambda upgrade: upgrade.get("plannedStartTime") == new)
        assert shown["state"] == "Waiting"
        body = await story.until_so(upgrade, lambda body: body["status"]["next"]["time"] == new, "the upgrade shows the new date")
        assert acme in body["status"]["next"]["what"]

        async def event() -> Object:
            events = await story.kube.list(EVENTS, acme)
            return next((one for one in events if one["reason"] == "Rescheduled" and f"from {old} to {new}" in one["note"]), {})

        found = await eventually(event, saying="the Event of the move")
        assert found["regarding"]["kind"] == "TenantProfile"
        for said in (moved["why"], found["note"]):
            assert all(word in said for word in words), said

    await story.profile(acme, timeZone="Europe/Berlin", windows=[weekly("Sun", start="03:00", duration="4h", name="late")])
    await is_moved("2027-01-09T01:00:00Z", "2027-01-10T02:00:00Z", 'window "late"')
    await story.policy(waves=waves, maintenance={"whenNoWindow": "Open", "freezes": [freeze("fair", "2027-01-04", "2027-01-12")]})
    await is_moved("2027-01-10T02:00:00Z", "2027-01-17T02:00:00Z", 'platform freeze "fair"')
    await days.starts_at(upgrade, acme, utc("2027-01-17 02:00"))


async def test_a_wrong_clock_starts_nobody_and_downtime_is_not_caught_up(story: Story, days: Days) -> None:
    """What is two minutes off the API server starts nobody; who comes late starts nobody after the close; one start survives a restart."""
    acme = await story.tenant("acme")
    await story.profile(acme, windows=[weekly(*DAILY, start="02:00", duration="1h")])
    await story.ready()
    await story.policy(waves=[{"name": "all", "soak": "12h"}])
    operator = await days.operator(utc("2027-01-11 12:00"), **{SKEW_VARIABLE: "120"})
    upgrade = await story.upgrade()
    await days.waits(upgrade, acme, "OutsideWindow")
    await days.time.run_from(utc("2027-01-12 02:00") + SURELY_OPEN)
    await days.waits(upgrade, acme, "ClockSkew", "over 60 s apart")
    await operator.kill()

    # Its window was open while nobody was there.
    operator = await days.operator(utc("2027-01-13 03:00"))
    missed = await days.waits(upgrade, acme, "OutsideWindow")
    assert instant(missed["nextOpenTime"]) == utc("2027-01-14 02:00")
    begun = await days.starts_at(upgrade, acme, utc("2027-01-14 02:00"), until="Soaking")
    await operator.kill()

    await days.operator(utc("2027-01-15 02:00") + SURELY_OPEN)
    done = await story.until_run(upgrade, acme, lambda run: run.get("state") == "Succeeded", "has soaked long enough")
    assert {name: done[name] for name in ("attempt", "startTime", "appliedTime", "convergedTime")} == {
        name: begun[name] for name in ("attempt", "startTime", "appliedTime", "convergedTime")
    }
    await story.until(upgrade, "Succeeded")
