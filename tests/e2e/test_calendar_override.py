"""OverrideWindow: in an emergency a named factor of a named tenant is lifted for an hour, and nothing else."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from localcluster.client import eventually

from support.days import OLD, SECOND, SURELY_OPEN, Days, freeze, instant, stamp, utc, weekly
from support.story import ACTION, Story

HOUR = timedelta(hours=1)
WHY = "CVE-2027-0001, agreed with the customer"
CANARY = {"tenantwave.io/ring": "canary"}
SUNDAYS = weekly("Sun", start="02:00", duration="4h")
MONDAY = utc("2027-02-01 09:00")


async def test_one_factor_of_one_tenant_for_an_hour(story: Story, days: Days) -> None:
    """The tenant that is named starts. Another one with the same factor stays shut, another factor holds, and after the hour it is as before."""
    named, other, frozen, late, kept = [await story.tenant(name) for name in ("named", "other", "frozen", "late", "kept")]
    for tenant in (named, other, late, kept):
        await story.profile(tenant, windows=[SUNDAYS])
    await story.profile(frozen, windows=[SUNDAYS], freezes=[freeze("fair", "2027-02-01", "2027-02-03")])
    await story.ready()
    await story.policy(waves=[{"name": "all", "maxParallel": "100%", "soak": "1s"}])
    operator = await days.operator(MONDAY)
    upgrade = await story.upgrade()
    for tenant in (named, other, late, kept):
        await days.waits(upgrade, tenant, "OutsideWindow", "opens 2027-02-07 02:00")
    await days.waits(upgrade, frozen, "TenantFreeze")

    async def override(*tenants: str, ahead: timedelta = HOUR, **spec: Any) -> str:
        """Lift these tenants' windows."""
        fields: dict[str, Any] = {"tenants": [*tenants], "lifts": ["TenantWindows"], "reason": WHY} | spec
        return await story.act(upgrade, "OverrideWindow", expireTime=stamp(days.time.now() + ahead), **fields)

    assert await story.answer(await override(named, ahead=73 * HOUR)) == (False, "NotApplicable")
    assert await story.answer(await override(named, ahead=-HOUR)) == (False, "Expired")
    assert await story.answer(await override(named, run=f"{upgrade}-00000-1-a1")) == (False, "StaleRun")
    assert await story.answer(await override("nobody-of-that-name")) == (False, "UnknownTarget")
    await days.waits(upgrade, named, "OutsideWindow")

    begun = days.time.now()
    assert await story.answer(await override(named, frozen)) == (True, "Accepted")
    done = await story.until_run(upgrade, named, lambda run: run.get("state") == "Succeeded", "starts outside its window")
    assert begun - SECOND <= instant(done["startTime"]) <= begun + HOUR
    live = 'tenantwave_overrides_active{type="OverrideWindow"}'

    async def are_counted() -> bool:
        return f"{live} 1.0" in await operator.metrics()

    await eventually(are_counted, saying="the override is counted")
    # Another tenant, and another factor of a tenant that is named.
    await days.time.stand_at(begun + HOUR / 2)
    for tenant in (other, late, kept):
        await days.waits(upgrade, tenant, "OutsideWindow")
    await days.waits(upgrade, frozen, "TenantFreeze", 'your freeze "fair"')

    # Held for another reason until after the hour: the door was open, and is shut again.
    await days.time.run_from(begun + 2 * HOUR)
    await story.act(upgrade, "Pause")
    await story.until(upgrade, "Paused")
    expires = days.time.now() + HOUR
    assert await story.answer(await override(late)) == (True, "Accepted")
    deleted = await override(kept, ahead=48 * HOUR)
    assert await story.answer(deleted) == (True, "Accepted")
    for tenant in (late, kept):
        await days.waits(upgrade, tenant, "UpgradeOnHold", "paused")
    await story.kube.delete(ACTION, deleted)
    await days.waits(upgrade, kept, "OutsideWindow")
    await days.waits(upgrade, late, "UpgradeOnHold")
    await days.stays_shut(upgrade, late, expires + SECOND, "OutsideWindow")
    await story.act(upgrade, "Resume")
    await story.until(upgrade, "WaitingForWindow")
    for tenant in (other, late, kept):
        await days.waits(upgrade, tenant, "OutsideWindow", "opens 2027-02-07 02:00")
    # The freeze that held has ended, but with it the hour: its window is what it waits for.
    await days.stays_shut(upgrade, frozen, utc("2027-02-04 00:00") + SURELY_OPEN, "OutsideWindow")
    assert [tenant for tenant, image in (await story.images()).items() if image != OLD] == [named]

    for tenant in (other, late, kept, frozen):
        assert (await story.run(upgrade, tenant))["plannedStartTime"] == "2027-02-07T02:00:00Z"
    await days.time.run_from(utc("2027-02-07 02:00") + SURELY_OPEN)
    await story.until(upgrade, "Succeeded")


async def test_a_wave_in_spite_of_notice_and_freeze(story: Story, days: Days) -> None:
    """For a wave the platform lifts its own freeze and the waiting for the notice: it is sent first all the same, and windows hold."""
    free, own = await story.tenant("free", labels=CANARY), await story.tenant("own", labels=CANARY)
    later = await story.tenant("later")
    await story.profile(own, windows=[SUNDAYS])
    await story.ready()
    maintenance = {"whenNoWindow": "Open", "freezes": [freeze("fair", "2027-02-01", "2027-02-13")]}
    waves: list[dict[str, Any]] = [
        {"name": "canary", "selector": {"matchLabels": CANARY}, "maxParallel": 2, "soak": "1s"},
        {"name": "rest", "soak": "1s"},
    ]
    await story.policy(waves=waves, maintenance=maintenance, notice={"lead": "7d"})
    await days.operator(MONDAY)
    upgrade = await story.upgrade(notice={"title": "Shop 2.4.0", "changes": "A hole is closed."})
    for tenant in (free, own):
        told = await days.waits(upgrade, tenant, "NoticePeriod", "nothing starts before 2027-02-08T09:00:")
        assert instant(told["plannedStartTime"]) == utc("2027-02-14 00:00" if tenant == free else "2027-02-14 02:00")
    expires = stamp(days.time.now() + 72 * HOUR - 10 * SECOND)
    order = await story.act(upgrade, "OverrideWindow", wave="canary", lifts=["PlatformFreezes", "Notice"], expireTime=expires, reason=WHY)
    assert await story.answer(order) == (True, "Accepted")
    done = await story.until_run(upgrade, free, lambda run: run.get("state") == "Succeeded", "starts in spite of both")
    assert MONDAY < instant(done["noticeTime"]) <= instant(done["startTime"]) < MONDAY + HOUR
    # Its own window is on Sunday, when the override has ended: the first Sunday after the freeze.
    shut = await days.waits(upgrade, own, "OutsideWindow", "opens 2027-02-14 02:00")
    assert shut["plannedStartTime"] == "2027-02-14T02:00:00Z"
    assert (await story.states(upgrade))[later] == "Queued"
    await days.stays_shut(upgrade, own, utc("2027-02-07 02:00") + SURELY_OPEN, "NoticePeriod")
    await days.stays_shut(upgrade, own, utc("2027-02-09 02:00"), "PlatformFreeze", "fair")
    await days.starts_at(upgrade, own, utc("2027-02-14 02:00"))
    await story.until(upgrade, "Succeeded")
