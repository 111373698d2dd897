"""A window that closes while a tenant is in flight: it finishes, stops before its next component, or goes back; and nobody is stuck half done."""

from __future__ import annotations

from datetime import timedelta

from support.closing import Closing
from support.days import NEW, OLD, SECOND, SURELY_OPEN, Days, instant, utc, weekly
from support.story import Story, condition

NIGHTLY = weekly("Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun", start="02:00", duration="1h")
OPENS, CLOSES, NEXT = utc("2027-01-12 02:00"), utc("2027-01-12 03:00"), utc("2027-01-13 02:00")
MINUTE = timedelta(minutes=1)


async def test_a_window_closes_in_flight(story: Story, days: Days) -> None:
    """Finish goes on, Pause holds before the next component until Retry or Resolve, Rollback goes back at once, and so does an overrun."""
    closing = Closing(story, days, {"defaultWindows": [NIGHTLY], "maxOverrun": "2h"})
    finishes, pauses, settled, returns, overruns = [
        await closing.tenant(name) for name in ("finishes", "pauses", "settled", "returns", "overruns")
    ]
    everybody = (finishes, pauses, settled, returns, overruns)
    await story.ready()
    await days.operator(utc("2027-01-11 12:00"))
    up = {
        finishes: await closing.upgrade(finishes),  # Finish is the default
        pauses: await closing.upgrade(pauses, onWindowClose="Pause"),
        settled: await closing.upgrade(settled, onWindowClose="Pause"),
        returns: await closing.upgrade(returns, onWindowClose="Rollback"),
        overruns: await closing.upgrade(overruns, onWindowClose="Finish"),
    }
    for tenant in everybody:
        await days.waits(up[tenant], tenant, "OutsideWindow")
    await days.time.run_from(OPENS + SURELY_OPEN)
    for tenant in everybody:
        run = await story.until_run(up[tenant], tenant, lambda run: run.get("state") == "Converging", "is in flight")
        assert instant(run["openingEndTime"]) == CLOSES
        assert await closing.images(tenant) == (NEW, OLD)
    # What the tenant states now is for later: the end of the opening in which it was started stands.
    await story.profile(returns, windows=[NIGHTLY | {"weekly": NIGHTLY["weekly"] | {"duration": "20h"}}])
    # Up to the last second of the window nothing is different from a window without an end.
    await days.time.stand_at(CLOSES - SECOND)
    assert {(await story.run(up[tenant], tenant))["state"] for tenant in everybody} == {"Converging"}

    await days.time.run_from(CLOSES + SECOND)
    back = await story.until_run(up[returns], returns, lambda run: run.get("state") == "RolledBack", "goes back at once")
    assert (back["reason"], back["takeBack"]["cause"]) == ("WindowClosed", "WindowClosed")
    assert CLOSES <= instant(back["takeBack"]["time"]) <= CLOSES + MINUTE
    assert await closing.images(returns) == (OLD, OLD)
    for tenant in (finishes, pauses, settled, overruns):
        assert (await story.run(up[tenant], tenant))["state"] == "Converging", "what is begun may converge"

    for tenant in (finishes, pauses, settled):
        await closing.let_run(tenant)
    done = await story.until_run(up[finishes], finishes, lambda run: run.get("state") == "Succeeded", "finishes after the close")
    assert instant(done["completionTime"]) > CLOSES
    assert await closing.images(finishes) == (NEW, NEW)
    for tenant in (pauses, settled):
        held = await story.until_run(up[tenant], tenant, lambda run: run.get("state") == "Held", "stops before its next component")
        assert held["reason"] == "WindowClosed"
        assert all(word in held["message"] for word in ("worker", "Retry", "Resolve"))
        assert await closing.images(tenant) == (NEW, OLD)
    stopped = await story.until(up[pauses], "Held")
    assert condition(stopped, "Stalled")["status"] == "True"

    # A rollback needs no window; a Retry is a start, and needs one.
    order = await story.act(up[settled], "Resolve", tenants=[settled], resolution="Rollback", reason="CHG-4411, the tenant asked")
    assert await story.answer(order) == (True, "Accepted")
    assert await story.answer(await story.act(up[pauses], "Retry")) == (True, "Accepted")
    await closing.let_run(settled)
    resolved = await story.until_run(up[settled], settled, lambda run: run.get("state") == "RolledBack", "goes back as ordered")
    assert instant(resolved["completionTime"]) < CLOSES + timedelta(hours=1)
    assert await closing.images(settled) == (OLD, OLD)
    waiting = await story.until_run(up[pauses], pauses, lambda run: run.get("reason") == "OutsideWindow", "waits for its next window")
    assert (instant(waiting["nextOpenTime"]), await closing.images(pauses)) == (NEXT, (NEW, OLD))

    await days.time.stand_at(CLOSES + timedelta(hours=2) - SECOND)
    assert (await story.run(up[overruns], overruns))["state"] == "Converging", "it has until the end of maxOverrun"
    await days.time.run_from(CLOSES + timedelta(hours=2) + SECOND)
    late = await story.until_run(up[overruns], overruns, lambda run: run.get("state") == "RolledBack", "is overdue, and goes back")
    assert (late["reason"], await closing.images(overruns)) == ("WindowClosed", (OLD, OLD))

    await days.time.stand_at(NEXT - SECOND)
    assert ((await story.run(up[pauses], pauses))["state"], await closing.images(pauses)) == ("Waiting", (NEW, OLD))
    await days.time.run_from(NEXT + SURELY_OPEN)
    await story.until(up[pauses], "Succeeded")
    assert await closing.images(pauses) == (NEW, NEW)
    assert await story.leftovers() == []
