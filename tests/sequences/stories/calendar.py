"""Notice, choice, stragglers, and the end of an opening, told over days."""

from __future__ import annotations

from datetime import timedelta

from builders import NEW, NOON, Block, a_spec
from fleets.fleet import Fleet, a_fleet
from sequences.stories.telling import CANARIES, Ready, S, state_is, story, taken

DAY = timedelta(days=1)
NIGHTLY: Block = {
    "name": "nightly",
    "weekly": {"days": ["Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun"], "start": "01:00", "duration": "3h"},
}
SUNDAYS: Block = {"name": "sundays", "weekly": {"days": ["Sun"], "start": "01:00", "duration": "3h"}}
WORDS: Block = {"title": "Shop 2.4", "changes": "a new basket", "benefits": "faster", "risks": "none known"}


def with_doors(fleet: Fleet, **profiles: Block) -> Fleet:
    """State the windows of some tenants; all others follow the policy."""
    for name in fleet.members:
        fleet.set_door(name, **profiles.get(name, {}))
    return fleet


@story
def a_notice_of_seven_days_and_then_a_start(ready: Ready) -> Fleet:
    """Everybody is told at once; nobody starts before a week is over, and then each in its own opening."""
    fleet = ready(a_fleet(canaries=1, others=1, notice={"lead": "7d", "required": True}))
    fleet.spec = a_spec(NEW, notice=WORDS)
    with_doors(fleet, t1={"windows": [NIGHTLY]})
    fleet.go("NoticePeriod", limit=timedelta(0))
    assert [len(member.told) for member in fleet.members.values()] == [1, 1]
    fleet.go(state_is("c1", S.SOAKING), limit=8 * DAY)
    assert fleet.now == NOON + 7 * DAY
    fleet.go("Succeeded", limit=3 * DAY)
    assert fleet.run_of("t1").start_time == NOON + 7 * DAY + timedelta(hours=13, seconds=2)
    return fleet


@story
def other_words_are_another_notice(ready: Ready) -> Fleet:
    """The text is corrected on the third day: the week begins again for who has not started."""
    fleet = ready(a_fleet(canaries=1, others=0, waves=[{"name": "all"}], notice={"lead": "7d"}))
    fleet.spec = a_spec(NEW, notice=WORDS)
    with_doors(fleet)
    fleet.go("NoticePeriod", limit=timedelta(0))
    fleet.now += 3 * DAY
    fleet.edit(notice={**WORDS, "risks": "your own themes may break"})
    fleet.go("Succeeded", limit=9 * DAY)
    assert fleet.run_of("c1").start_time == NOON + 10 * DAY
    assert len(fleet.members["c1"].told) == 2
    return fleet


@story
def a_defer_lapses_at_the_deadline(ready: Ready) -> Fleet:
    """A tenant asks for a month; the deadline ends its deferral after five days, and its next opening is used."""
    fleet = ready(a_fleet(canaries=1, others=1, waves=[{"name": "all", "maxParallel": 2}]))
    fleet.spec = a_spec(NEW, deadlineTime=NOON + 5 * DAY)
    with_doors(fleet, t1={"windows": [NIGHTLY]})
    fleet.decide_as("t1", "Defer", NOON + 30 * DAY)
    fleet.go("WaitingForWindow", limit=timedelta(hours=1))
    assert fleet.run_of("t1").reason == "Deferred"
    fleet.decide_as("t1", "Defer", NOON + 40 * DAY)
    fleet.go("Succeeded", limit=9 * DAY)
    assert fleet.run_of("t1").start_time == NOON + 5 * DAY + timedelta(hours=13, seconds=2)
    return fleet


@story
def a_tenant_opts_out_and_comes_back_after_its_wave(ready: Ready) -> Fleet:
    """Passed by without a word against it; OptIn takes it along as long as the run lives."""
    fleet = ready(a_fleet(canaries=2, others=1, waves=[{"name": "canary", "selector": CANARIES, "maxParallel": 2}, {"name": "rest"}]))
    with_doors(fleet, t1={"windows": [NIGHTLY]})
    fleet.decide_as("c2", "OptOut")
    fleet.go("WaitingForWindow", limit=timedelta(hours=2))
    assert (fleet.state("c2"), fleet.run_of("c2").reason) == (S.SKIPPED, "OptedOut")
    assert not fleet.members["c2"].touched
    fleet.decide_as("c2", "OptIn")
    return fleet.go("Succeeded", limit=2 * DAY)


@story
def a_tenant_goes_early(ready: Ready) -> Fleet:
    """It moves one wave ahead, once, and waits for its own window there."""
    waves: list[Block] = [{"name": "canary", "selector": CANARIES}, {"name": "more", "size": 1}, {"name": "rest", "maxParallel": 2}]
    fleet = ready(a_fleet(canaries=1, others=3, waves=waves))
    with_doors(fleet)
    fleet.go(state_is("c1", S.SOAKING))
    assert fleet.journal is not None
    late = fleet.journal.run.waves[2].tenants[-1]
    fleet.set_door(late, windows=[NIGHTLY])
    digest = fleet.journal.run.plan_digest
    fleet.decide_as(late, "OptInEarly")
    fleet.go("WaitingForWindow", limit=2 * DAY)
    assert fleet.run_of(late).wave == "more"
    assert fleet.journal.run.plan_digest != digest
    return fleet.go("Succeeded", limit=2 * DAY)


@story
def a_straggler_comes_a_week_later(ready: Ready) -> Fleet:
    """Its window is on Sundays: the wave goes on after an hour; it starts under the same gates and soak, and only then is the upgrade done."""
    rules = {"whenNoWindow": "Open", "stragglers": {"minCompleted": "50%", "maxWait": "1h"}}
    waves: list[Block] = [{"name": "canary", "selector": CANARIES, "maxParallel": 2, "soak": "5m"}, {"name": "rest", "soak": "5m"}]
    fleet = ready(a_fleet(canaries=2, others=1, waves=waves, gated=True, maintenance=rules))
    with_doors(fleet, c2={"windows": [SUNDAYS]})
    fleet.go(lambda fleet: fleet.state("t1") is S.SUCCEEDED and fleet.ready == "WaitingForWindow", limit=DAY)
    assert fleet.now > NOON + timedelta(hours=1)
    assert fleet.status is not None
    assert (fleet.run_of("c2").reason, fleet.status.waves[0].stragglers) == ("OutsideWindow", 1)
    fleet.now = NOON + 5 * DAY + timedelta(hours=12)  # a look every 30 seconds would change nothing
    return fleet.go("Succeeded", limit=DAY)


@story
def a_straggler_fails_after_its_wave(ready: Ready) -> Fleet:
    """It alone goes back; its failure is one of its wave, which has passed: people look, Resume, and it is done without it."""
    rules = {"whenNoWindow": "Open", "stragglers": {"minCompleted": "50%", "maxWait": "24h"}}
    waves: list[Block] = [{"name": "canary", "selector": CANARIES, "maxParallel": 2}, {"name": "rest"}]
    fleet = ready(a_fleet(canaries=2, others=1, waves=waves, maintenance=rules))
    with_doors(fleet, c2={"windows": [SUNDAYS]})
    fleet.members["c2"].bad.add(NEW)
    fleet.go("Paused", limit=9 * DAY)
    assert fleet.states() == {"c1": "Succeeded", "c2": "RolledBack", "t1": "Succeeded"}
    taken(fleet, fleet.order("Resume"))
    return fleet.go("SucceededWithSkips", limit=DAY)


def in_a_short_window(ready: Ready, choice: str, slow: str) -> Fleet:
    """Carry a fleet of one, with two components, of which the version does not become ready by itself, to the close of its opening."""
    rules = {"whenNoWindow": "Open", "minRemaining": "5m", "onWindowClose": choice, "maxOverrun": "2h"}
    fleet = ready(a_fleet(canaries=1, others=0, waves=[{"name": "all"}], maintenance=rules))
    api = a_spec().components[0].model_dump(mode="json", by_alias=True, exclude_none=True)
    fleet.spec = a_spec(NEW, components=[api, {"name": "web", "workload": {**api["workload"], "name": "web"}}], health={"timeout": "6h"})
    noon = {"name": "noon", "weekly": {"days": ["Mon", "Tue"], "start": "12:00", "duration": "1h"}}
    with_doors(fleet, c1={"windows": [noon]})
    fleet.members["c1"].bad.add(slow)
    fleet.go(lambda fleet: fleet.now >= NOON + timedelta(hours=1), limit=timedelta(hours=1))
    return fleet


@story
def a_window_closes_in_flight_and_the_tenant_finishes(ready: Ready) -> Fleet:
    """Finish: what has begun goes on, here for half an hour."""
    fleet = in_a_short_window(ready, "Finish", NEW)
    assert fleet.state("c1") is S.CONVERGING
    fleet.now += timedelta(minutes=30)
    fleet.members["c1"].bad.clear()
    return fleet.go("Succeeded", limit=timedelta(hours=2))


@story
def a_window_closes_in_flight_and_the_overrun_ends(ready: Ready) -> Fleet:
    """Finish, for two hours at most: then it is taken back, outside of any window."""
    fleet = in_a_short_window(ready, "Finish", NEW)
    fleet.go("RolledBack", limit=timedelta(hours=3))
    assert fleet.now == NOON + timedelta(hours=3)
    return fleet


@story
def a_window_closes_in_flight_and_a_retry_goes_on(ready: Ready) -> Fleet:
    """Pause: the component at work converges, the next is not begun; Retry goes on in the next opening."""
    fleet = in_a_short_window(ready, "Pause", NEW)
    assert fleet.state("c1") is S.CONVERGING
    fleet.now += timedelta(minutes=30)
    fleet.members["c1"].bad.clear()
    fleet.go("Held", limit=timedelta(hours=2))
    assert fleet.run_of("c1").reason == "WindowClosed"
    fleet.order("Retry", tenants=["c1"])
    fleet.go("WaitingForWindow", limit=timedelta(hours=1))
    return fleet.go("Succeeded", limit=2 * DAY)


@story
def a_window_closes_in_flight_and_the_tenant_goes_back(ready: Ready) -> Fleet:
    """Rollback: at once, though the window has closed."""
    fleet = in_a_short_window(ready, "Rollback", NEW)
    return fleet.go("RolledBack", limit=timedelta(minutes=1))


@story
def an_override_starts_one_tenant_at_once(ready: Ready) -> Fleet:
    """One lifted factor of one tenant for an hour, and nothing else: the other waits for its window, the first for its other factor."""
    fleet = ready(a_fleet(canaries=2, others=0, waves=[{"name": "all", "maxParallel": 2}]))
    with_doors(fleet, c1={"windows": [NIGHTLY]}, c2={"windows": [NIGHTLY]})
    fleet.go("WaitingForWindow", limit=timedelta(0))
    until = f"{NOON + timedelta(hours=1):%Y-%m-%dT%H:%M:%SZ}"
    taken(fleet, fleet.order("OverrideWindow", tenants=["c1"], lifts=["TenantWindows"], expireTime=until))
    fleet.go(state_is("c1", S.SUCCEEDED))
    assert fleet.run_of("c2").reason == "OutsideWindow"
    return fleet.go("Succeeded", limit=DAY)
