"""An upgrade across the end of a year, with the sample policy of the contract: notice, two freezes, a tenant's own windows, and the platform's."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

from support.days import NEW, OLD, SURELY_OPEN, Days, instant, stamp, utc
from support.story import Story, condition

CANARY = {"tenantwave.io/ring": "canary"}
WAVES: list[dict[str, Any]] = [
    {
        "name": "canary",
        "selector": {"matchLabels": CANARY},
        "maxParallel": 1,
        "soak": "30m",
        "approval": {"when": "After", "minimum": 1},
        "deadline": "24h",
    },
    {"name": "friendly", "selector": {"matchLabels": {"tenantwave.io/relationship": "friendly"}}},
    {"name": "sample", "size": "10%", "orderBy": ["Hash"]},
    {"name": "combinations", "coverage": {"labelPrefix": "feature.example.com/"}},
    {"name": "rest"},
]
STAFF = {"timeZone": "Europe/Rome", "weekly": [{"days": ["Mon", "Tue", "Wed", "Thu"], "start": "00:00", "duration": "12h"}]}
MAINTENANCE: dict[str, Any] = {
    "whenNoWindow": "Open",
    "defaultTimeZone": "Europe/Berlin",
    "defaultWindows": [{"name": "nightly", "weekly": {"days": ["Tue", "Wed", "Thu"], "start": "02:00", "duration": "3h"}}],
    "freezes": [
        {"name": "year-end", "yearly": {"from": "12-01", "to": "02-29"}},
        {"name": "launch", "dates": {"from": "2026-11-23", "to": "2026-11-30"}},
    ],
    "minRemaining": "15m",
    "onWindowClose": "Finish",
    "maxOverrun": "1h",
    "stragglers": {"minCompleted": "80%", "maxWait": "72h"},
    "tenantLimits": {"maxDeferral": "30d", "maxFreezeDaysPerYear": 120, "minOpenPer32Days": "8h"},
}
ACME: dict[str, Any] = {
    "timeZone": "America/New_York",
    "windows": [
        {
            "name": "weekend",
            "weekly": {"days": ["Sat"], "start": "23:00", "duration": "5h", "everyWeeks": 2, "anchorDate": "2026-01-03"},
        },
        {"name": "month-end", "monthly": {"week": "Last", "day": "Sun", "start": "01:00", "duration": "4h"}},
        {"name": "special", "once": {"start": "2026-12-06T03:00:00Z", "duration": "2h"}},
    ],
    "freezes": [{"name": "tax-season", "yearly": {"from": "03-15", "to": "04-20"}, "reason": "tax filing"}],
    "businessHours": {"days": ["Mon", "Tue", "Wed", "Thu", "Fri"], "start": "09:00", "duration": "9h"},
    "contacts": [{"audience": "Customers", "route": "acme"}],
}
NOTICE = {"title": "Shop 2.4.0", "changes": "A new basket.", "benefits": "It is faster.", "risks": "None known."}
ACME_OPENS = utc("2027-03-14 04:00")
"""23:00 on the eve of the night in New York that has 23 hours."""
OTHERS_OPEN = utc("2027-03-16 01:00")
"""02:00 in Berlin on the Tuesday after."""


async def test_an_upgrade_across_the_end_of_the_year(story: Story, days: Days) -> None:
    """Announced in November, acme is started in March, in the first opening of its own after all that closes it; then the others."""
    acme = await story.tenant("acme", labels=CANARY)
    other = await story.tenant("other")
    await story.profile(acme, **ACME)
    await story.ready()
    spec: dict[str, Any] = {"waves": WAVES, "notice": {"lead": "7d", "required": True, "emergencyLead": "1h"}, "consent": "OptOut"}
    await story.policy(**spec, maintenance=MAINTENANCE | {"staffedHours": STAFF})
    await days.operator(utc("2026-11-16 00:00"))
    upgrade = await story.upgrade(notice=NOTICE, deadlineTime="2027-03-10T00:00:00Z", forceTime="2027-05-01T00:00:00Z")

    async def is_planned_for_march(reason: str, at: datetime, saying: str) -> None:
        """Check that acme is shut for this reason, and that run, profile and upgrade agree on when it starts."""
        run = await days.stays_shut(upgrade, acme, at, reason, saying)
        assert instant(run["plannedStartTime"]) == ACME_OPENS
        shown = await days.profile_shows(acme, lambda upgrade: upgrade.get("reason") == reason and saying in upgrade.get("message", ""))
        assert (shown["name"], shown["state"], shown["plannedStartTime"]) == (upgrade, "Waiting", stamp(ACME_OPENS))
        body = await story.kube.get("tenantwave.io/v1alpha1/TenantUpgrade", upgrade)
        assert body["status"]["next"]["time"] == stamp(ACME_OPENS)
        assert acme in condition(body, "Ready")["message"]
        assert set((await story.images()).values()) == {OLD}

    # Staff is there from Monday to Thursday, acme wants Saturday or Sunday: nobody would ever be there.
    closed = await days.waits(upgrade, acme, "InvalidWindows", "never meet")
    assert "staffedHours" in closed["message"]
    await story.policy(**spec, maintenance=MAINTENANCE)

    # What will happen when is told before anything has happened: how long the waves take, when the others start, and what that is too late for.
    soaked, over = ACME_OPENS + timedelta(minutes=30), OTHERS_OPEN + timedelta(minutes=10)

    def is_foreseen(body: dict[str, Any]) -> bool:
        """Tell whether the canary ends after its soak, and the wave of the others, which begins then, after theirs."""
        canary, _, sample, *_ = body["status"]["waves"]
        found = (canary.get("plannedEndTime"), sample.get("plannedStartTime"), sample.get("plannedEndTime"))
        return found == (stamp(soaked), stamp(soaked), stamp(over))

    told = await story.until_so(upgrade, is_foreseen, "the forecast")
    said = f"deadlineTime 2027-03-10T00:00:00Z cannot be met: the earliest end is {stamp(over)}; wave canary waits longest for {acme}"
    assert said in condition(told, "Accepted")["message"]
    shown = await days.profile_shows(other, lambda upgrade: upgrade.get("plannedStartTime") == stamp(OTHERS_OPEN))
    assert shown["state"] == "Queued"

    # A week's notice: acme's opening of that Saturday night passes by.
    await is_planned_for_march("NoticePeriod", utc("2026-11-22 04:30"), "nothing starts before 2026-11-23T00:0")
    await is_planned_for_march(
        "PlatformFreeze", utc("2026-11-29 06:30"), 'platform freeze "launch" until 2026-12-01 00:00 America/New_York'
    )
    # Its own special window, and the last Sunday of February, lie in the other freeze.
    await is_planned_for_march("PlatformFreeze", utc("2026-12-06 03:30"), 'platform freeze "year-end" until 2027-03-01 00:00')
    await is_planned_for_march("PlatformFreeze", utc("2027-02-28 06:30"), "(2027-03-01T05:00:00Z)")
    # A leap day that 2027 does not have is the last day of February: on the first of March only the window is missing.
    await is_planned_for_march("OutsideWindow", utc("2027-03-01 05:00") + SURELY_OPEN, 'window "weekend" opens 2027-03-13 23:00')
    # The others' default window was open meanwhile, but their wave had not begun.
    assert (await story.run(upgrade, other))["reason"] == "WaveQueued"

    await days.starts_at(upgrade, acme, ACME_OPENS, ends=utc("2027-03-14 09:00"), until="Soaking")
    await days.time.run_from(days.time.now() + timedelta(minutes=31))
    await story.until(upgrade, "AwaitingApproval")
    await story.act(upgrade, "Approve", wave="canary")

    await days.waits(upgrade, other, "OutsideWindow", 'window "nightly" opens 2027-03-16 02:00 Europe/Berlin')
    await days.starts_at(upgrade, other, OTHERS_OPEN, ends=utc("2027-03-16 04:00"), until="Soaking")
    await days.time.run_from(days.time.now() + timedelta(minutes=31))
    done = await story.until(upgrade, "Succeeded")
    assert [wave["state"] for wave in done["status"]["waves"]] == ["Passed"] * 5
    assert set((await story.images()).values()) == {NEW}
