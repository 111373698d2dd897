"""Nights on which clocks jump: every tenant starts by its own wall clock, on the one occasion that its window has."""

from __future__ import annotations

from typing import Any

from support.days import SECOND, SURELY_OPEN, Days, freeze, instant, utc, weekly
from support.story import Story

NEW_YORK, LORD_HOWE, CASABLANCA = "America/New_York", "Australia/Lord_Howe", "Africa/Casablanca"


async def test_nights_on_which_clocks_jump(story: Story, days: Days) -> None:
    """New York and Lord Howe, forward and back, and Casablanca, which gave up its summer time: started at the opening, not a second before."""

    async def tenant(name: str, zone: str, window: dict[str, Any], after: str) -> str:
        """Make a tenant whose freeze ends with a local date, so that the night after it is the first one in question."""
        made = await story.tenant(name)
        await story.profile(made, timeZone=zone, windows=[window], freezes=[freeze("busy", "2027-01-01", after)])
        return made

    morocco = await tenant("morocco", CASABLANCA, weekly("Fri", start="02:00", duration="2h"), "2027-01-14")
    spring = await tenant("spring", NEW_YORK, weekly("Sun", start="02:30", duration="2h"), "2027-03-13")
    autumn_isle = await tenant("autumn-isle", LORD_HOWE, weekly("Sun", start="01:45", duration="1h"), "2027-04-03")
    spring_isle = await tenant("spring-isle", LORD_HOWE, weekly("Sun", start="02:15", duration="1h"), "2027-10-02")
    autumn = await tenant("autumn", NEW_YORK, weekly("Sun", start="01:30", duration="2h"), "2027-11-06")
    late = await tenant("late", NEW_YORK, weekly("Wed", start="01:30", duration="2h"), "2027-11-06")
    await story.ready()
    await story.policy(waves=[{"name": "all", "maxParallel": "100%", "soak": "1s"}])
    await days.operator(utc("2027-01-14 12:00"))
    upgrade = await story.upgrade()
    await days.waits(upgrade, morocco, "TenantFreeze", 'your freeze "busy" until 2027-01-15 00:00 Africa/Casablanca')

    # Up to tzdata 2025b it is UTC+1 there in winter, from 2026f on UTC: an hour earlier nothing opens.
    await days.stays_shut(upgrade, morocco, utc("2027-01-15 01:00") + SURELY_OPEN, "OutsideWindow")
    await days.starts_at(upgrade, morocco, utc("2027-01-15 02:00"), ends=utc("2027-01-15 04:00"))

    # 02:30 does not exist: 03:30, which is 07:30 in UTC. Two hours are two hours.
    await days.starts_at(upgrade, spring, utc("2027-03-14 07:30"), ends=utc("2027-03-14 09:30"))

    # At 02:00 the clock goes back by half an hour, so 01:45 comes twice. It opens at the first.
    await days.starts_at(upgrade, autumn_isle, utc("2027-04-03 14:45"), ends=utc("2027-04-03 15:45"))

    # At 02:00 it goes forward by half an hour: 02:15 is 02:45.
    await days.starts_at(upgrade, spring_isle, utc("2027-10-02 15:45"), ends=utc("2027-10-02 16:45"))

    # 01:30 comes twice: it opens at the first, for two hours.
    await days.starts_at(upgrade, autumn, utc("2027-11-07 05:30"), ends=utc("2027-11-07 07:30"))

    # And never at the second: who asks for 01:30 between the two is served a week later.
    await days.time.run_from(utc("2027-11-07 06:15"))
    await story.profile(late, timeZone=NEW_YORK, windows=[weekly("Sun", start="01:30", duration="30m")])
    await story.until_run(upgrade, late, lambda run: run.get("nextOpenTime") == "2027-11-14T06:30:00Z", "opens a week later")
    waiting = await days.stays_shut(upgrade, late, utc("2027-11-07 06:30") + SURELY_OPEN, "OutsideWindow")
    assert instant(waiting["nextOpenTime"]) == utc("2027-11-14 06:30")
    profile = await days.window_shows(late, "2027-11-14T06:30:00Z")
    assert instant(profile["upcoming"][0]["end"]) == utc("2027-11-14 07:00")
    await days.starts_at(upgrade, late, utc("2027-11-14 06:30"))
    await story.until(upgrade, "Succeeded")


async def test_staff_and_tenant_change_their_clocks_on_different_days(story: Story, days: Days) -> None:
    """In the two weeks between the two changes New York's night begins an hour before anybody in Rome is at work."""
    acme = await story.tenant("acme")
    nights = weekly("Tue", start="02:00", duration="3h")
    await story.profile(acme, timeZone=NEW_YORK, windows=[nights], freezes=[freeze("busy", "2027-03-01", "2027-03-15")])
    await story.ready()
    staff = {"timeZone": "Europe/Rome", "weekly": [{"days": ["Mon", "Tue", "Wed", "Thu"], "start": "08:00", "duration": "9h"}]}
    await story.policy(waves=[{"name": "all", "soak": "1s"}], maintenance={"whenNoWindow": "Closed", "staffedHours": staff})
    await days.operator(utc("2027-03-08 12:00"))
    upgrade = await story.upgrade()
    waiting = await days.waits(upgrade, acme, "TenantFreeze")
    assert instant(waiting["plannedStartTime"]) == utc("2027-03-16 07:00")
    # In winter both begin at 07:00 in UTC; since Sunday the window begins at 06:00, and staff still comes at 07:00.
    await days.stays_shut(upgrade, acme, utc("2027-03-16 06:00") - SURELY_OPEN, "OutsideWindow")
    await days.stays_shut(upgrade, acme, utc("2027-03-16 06:00") + SURELY_OPEN, "NotStaffed", "Tue 2027-03-16 08:00 Europe/Rome")
    await days.stays_shut(upgrade, acme, utc("2027-03-16 07:00") - SECOND, "NotStaffed")
    await days.time.run_from(utc("2027-03-16 07:00") + SURELY_OPEN)
    done = await story.until_run(upgrade, acme, lambda run: run.get("state") == "Succeeded", "staff is there")
    assert (instant(done["startTime"]) >= utc("2027-03-16 07:00"), done["openingEndTime"]) == (True, "2027-03-16T09:00:00Z")
