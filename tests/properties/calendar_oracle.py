"""A second, slow reading of the calendar's rules: every minute of twelve days is looked at, with dateutil for zones and rhythms.

It shares nothing with the product but the manifests: no interval, no jump, no cache, another library for clock changes and recurrences.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, time, timedelta
from functools import lru_cache
from importlib.resources import files
from random import Random
from typing import Any
from zoneinfo import ZoneInfo

from dateutil import tz
from dateutil.relativedelta import relativedelta
from dateutil.rrule import MO, MONTHLY, WEEKLY, rrule
from dateutil.rrule import weekday as nth_weekday

from properties.calendar_strategies import CLOCK_CHANGES, DAYS, ODD_ZONES, named
from tenantwave.api.action import Lift
from tenantwave.core.calendar import Calendar
from tenantwave.core.calendar.zones import accepted_names
from unit.core.calendar.manifests import Block, calendar_of, maintenance

MINUTE, DAY = timedelta(minutes=1), timedelta(days=1)
SPAN = 12 * 1440
WEEKS = {"First": 1, "Second": 2, "Third": 3, "Fourth": 4, "Fifth": 5, "Last": -1}
ZONES = tuple(sorted(accepted_names()))
FACTORS = (Lift.PLATFORM_FREEZES, Lift.TENANT_FREEZES, Lift.TENANT_WINDOWS, Lift.STAFFED_HOURS)
"""In the order in which they are reported."""


@dataclass(frozen=True)
class Plan:
    """One tenant of one upgrade as manifests, and the times that count. All times are whole minutes."""

    now: datetime
    zone: str
    windows: list[Block]
    freezes: list[Block]
    platform_freezes: list[Block]
    staff: Block | None
    default_windows: list[Block]
    when_no_window: str
    min_remaining: int
    notice_end: datetime | None
    hold_end: datetime | None
    force_time: datetime | None
    overrides: list[tuple[datetime, frozenset[Lift]]] = field(default_factory=list)

    def calendar(self) -> Calendar:
        """Compile it."""
        policy = maintenance(
            whenNoWindow=self.when_no_window,
            minRemaining=f"{self.min_remaining}m",
            freezes=named(tuple(self.platform_freezes)),
            defaultWindows=named(tuple(self.default_windows)),
            **({"staffedHours": self.staff} if self.staff else {}),
        )
        return calendar_of(policy, timeZone=self.zone, windows=named(tuple(self.windows)), freezes=named(tuple(self.freezes)))


def any_plan(random: Random) -> Plan:
    """Draw a plan, often around a clock change, in the years 2020 to 2035."""
    start = datetime(2020, 1, 1, tzinfo=UTC) + random.randrange(15 * 365 * 1440) * MINUTE
    if random.random() < 0.4:
        start = datetime.fromisoformat(random.choice(CLOCK_CHANGES)).replace(tzinfo=UTC) + random.randrange(-4 * 1440, 1440) * MINUTE
    zone = random.choice(ODD_ZONES if random.random() < 0.5 else ZONES)

    def maybe(chance: float, most: timedelta) -> datetime | None:
        return start + random.randrange(-1440, int(most / MINUTE)) * MINUTE if random.random() < chance else None

    hours = [_hours(random) for _ in range(random.randint(1, 2))]
    return Plan(
        now=start,
        zone=zone,
        windows=[_window(random, start) for _ in range(random.choice((0, 1, 1, 2, 4)))],
        freezes=[_freeze(random, start) for _ in range(random.choice((0, 0, 1, 2)))],
        platform_freezes=[_freeze(random, start) for _ in range(random.choice((0, 0, 0, 1)))],
        staff={"timeZone": random.choice(ODD_ZONES), "weekly": hours} if random.random() < 0.3 else None,
        default_windows=[_window(random, start)] if random.random() < 0.3 else [],
        when_no_window=random.choice(("Open", "Open", "Closed")),
        min_remaining=random.choice((0, 1, 15, 120)),
        notice_end=maybe(0.3, 5 * DAY),
        hold_end=maybe(0.3, 5 * DAY),
        force_time=maybe(0.3, 9 * DAY),
        overrides=[
            (start + random.randrange(1, 72 * 60) * MINUTE, frozenset(random.sample(tuple(Lift), random.randint(1, 4))))
            for _ in range(random.choice((0, 0, 1, 2)))
        ],
    )


def _hours(random: Random) -> Block:
    start = f"{random.choice((0, 1, 2, 3, 23, random.randrange(24))):02}:{random.choice((0, 15, 30, 59)):02}"
    days = random.sample(DAYS, random.randint(1, 7))
    return {"days": days, "start": start, "duration": f"{random.choice((30, 60, 120, 180, 300, random.randint(1, 7 * 1440)))}m"}


def _window(random: Random, near: datetime) -> Block:
    hours = _hours(random)
    kind = random.random()
    if kind < 0.15:
        start = near + random.randrange(-1440, 8 * 1440) * MINUTE
        return {"once": {"start": start.isoformat(), "duration": hours["duration"]}}
    if kind < 0.4:
        day = hours.pop("days")[0]
        return {"monthly": {**hours, "week": random.choice(tuple(WEEKS)), "day": day}}
    weeks = random.choice((1, 1, 1, 2, 3, 52))
    if weeks > 1:
        anchor = near.date() + timedelta(days=random.randrange(-900, 900))
        hours |= {"everyWeeks": weeks, "anchorDate": anchor.isoformat()}
    return {"weekly": hours}


def _freeze(random: Random, near: datetime) -> Block:
    first = near.date() + timedelta(days=random.randrange(-5, 12))
    last = first + timedelta(days=random.randrange(0, 10))
    if random.random() < 0.3:
        return {"yearly": {"from": f"{first:%m-%d}", "to": f"{last:%m-%d}"}}
    return {"dates": {"from": first.isoformat(), "to": last.isoformat()}}


# Zones, as dateutil reads the same database.


@lru_cache(maxsize=1024)
def zone_of(name: str) -> tz.tzfile:
    """Read a zone of the pinned database with dateutil."""
    return tz.tzfile(str(files("tzdata").joinpath("zoneinfo", *name.split("/"))))


def reads_like(name: str, after: datetime) -> bool:
    """Tell whether dateutil can know this zone then: it does not read the rule for the years after the last stored change."""
    ours, theirs = ZoneInfo(name), zone_of(name)
    instants = (after + number * timedelta(hours=19) for number in range(-13, 30))
    return all(instant.astimezone(ours).utcoffset() == instant.astimezone(theirs).utcoffset() for instant in instants)


def readings(wall: datetime, zone: tz.tzfile) -> list[datetime]:
    """All instants that a wall-clock time may mean: two where it comes twice, and two, by the offsets on both sides, in a gap."""
    if tz.datetime_exists(wall, zone):
        folds = (tz.enfold(wall.replace(tzinfo=zone), fold) for fold in (0, 1))
        return sorted({instant.astimezone(UTC) for instant in folds})
    before, after = wall, wall
    while not tz.datetime_exists(before, zone):
        before -= MINUTE
    while not tz.datetime_exists(after, zone):
        after += MINUTE
    offsets = [edge.replace(tzinfo=zone).utcoffset() or timedelta() for edge in (before, after)]
    return sorted((wall - offset).replace(tzinfo=UTC) for offset in offsets)


def opens(wall: datetime, zone: tz.tzfile) -> datetime:
    """The instant at which a window opens: the first reading; in a gap as much after it as it lay in it."""
    return readings(wall, zone)[0 if tz.datetime_exists(wall, zone) else -1]


# One mark for each minute.


def occurrences(window: Block, zone: tz.tzfile, after: datetime) -> Iterator[tuple[datetime, datetime]]:
    """The openings of one window around the twelve days."""
    if once := window.get("once"):
        start = datetime.fromisoformat(once["start"])
        yield start, start + minutes_of(once["duration"])
        return
    rule = window.get("weekly") or window["monthly"]
    first, last = after.replace(tzinfo=None) - 9 * DAY, after.replace(tzinfo=None) + 15 * DAY
    clock = time.fromisoformat(rule["start"])
    if "weekly" in window:
        every = rule.get("everyWeeks", 1)
        anchor = date.fromisoformat(rule.get("anchorDate", "2026-01-05"))
        monday = anchor + relativedelta(weekday=MO(-1))
        while monday > first.date():
            monday -= timedelta(weeks=every * 10)
        begin, numbers = datetime.combine(monday, clock), [DAYS.index(day) for day in rule["days"]]
        found = rrule(WEEKLY, dtstart=begin, interval=every, wkst=MO, byweekday=numbers)
    else:
        weekday = nth_weekday(DAYS.index(rule["day"]))(WEEKS[rule["week"]])
        found = rrule(MONTHLY, dtstart=datetime.combine(first.date().replace(day=1), clock), byweekday=weekday)
    for wall in found.between(first, last, inc=True):
        start = opens(wall, zone)
        yield start, start + minutes_of(rule["duration"])


def minutes_of(text: str) -> timedelta:
    """Read `90m`."""
    return timedelta(minutes=int(text.removesuffix("m")))


def both(one: bytearray, other: bytearray) -> bytes:
    """The minutes that are marked in both."""
    return (int.from_bytes(one) & int.from_bytes(other)).to_bytes(len(one))


def marked(stretches: Iterator[tuple[datetime, datetime]], after: datetime, inside: int = 1) -> bytearray:
    """One byte for each minute of the twelve days: `inside` in one of the stretches, else the other."""
    marks = bytearray([1 - inside]) * SPAN
    for start, end in stretches:
        low, high = max(0, (start - after) // MINUTE), min(SPAN, (end - after) // MINUTE)
        if low < high:
            marks[low:high] = bytes([inside]) * (high - low)
    return marks


def frozen_days(freezes: list[Block], zone: tz.tzfile, after: datetime) -> Iterator[tuple[datetime, datetime]]:
    """Each local day that is frozen, at its widest."""
    for offset in range(-3, SPAN // 1440 + 3):
        day = after.date() + timedelta(days=offset)
        if any(is_frozen(day, freeze) for freeze in freezes):
            midnight = datetime.combine(day, time())
            yield readings(midnight, zone)[0], readings(midnight + DAY, zone)[-1]


def is_frozen(day: date, freeze: Block) -> bool:
    """Tell whether a local day is in a freeze."""
    if found := freeze.get("dates"):
        return bool(found["from"] <= day.isoformat() <= found["to"])
    last_of_february = (date(day.year, 3, 1) - DAY).strftime("%m-%d")
    asked = freeze["yearly"]
    first, last = (min(text, last_of_february) if text == "02-29" else text for text in (asked["from"], asked["to"]))
    today = day.strftime("%m-%d")
    return bool(first <= today <= last if asked["from"] <= asked["to"] else today >= first or today <= last)


@dataclass(frozen=True)
class Scan:
    """Each factor, minute by minute, and how long it stays open from each minute on under some lifts."""

    plan: Plan
    opened: dict[Lift, bytearray]

    def open_minutes(self, lifts: frozenset[Lift]) -> bytearray:
        """The minutes that nothing closes, with what is lifted for ever; `forceTime` lifts its two from its minute on."""
        force = (self.plan.force_time - self.plan.now) // MINUTE if self.plan.force_time else SPAN
        marks = bytearray(b"\x01" * SPAN)
        for factor in FACTORS:
            if factor in lifts:
                continue
            end = min(SPAN, max(0, force)) if factor in (Lift.TENANT_WINDOWS, Lift.TENANT_FREEZES) else SPAN
            marks[:end] = both(marks[:end], self.opened[factor][:end])
        return marks

    def lifts_at(self, minute: int) -> frozenset[Lift]:
        """What the overrides that live at a minute lift."""
        at = self.plan.now + minute * MINUTE
        return frozenset[Lift]().union(*(lifts for expires, lifts in self.plan.overrides if at < expires))

    def startable(self) -> bytearray:
        """The minutes in which the tenant may start, as far as the calendar, its notice, its choice and the overrides go."""
        needed = max(1, self.plan.min_remaining)
        marks, minute = bytearray(SPAN), 0
        for end in sorted({*((expires - self.plan.now) // MINUTE for expires, _ in self.plan.overrides), SPAN}):
            lifts = self.lifts_at(minute)
            marks[minute:end] = long_enough(self.open_minutes(lifts), needed)[minute:end]
            waits = [self.plan.hold_end, None if Lift.NOTICE in lifts else self.plan.notice_end]
            free = max((wait - self.plan.now) // MINUTE if wait else 0 for wait in waits)
            if free > minute:
                marks[minute : min(free, end)] = bytes(min(free, end) - minute)
            minute = min(end, SPAN)
        return marks

    def first_closed(self, minute: int) -> Lift | None:
        """The first factor, in the order of precedence, that closes a minute."""
        lifts = self.lifts_at(minute)
        forced = self.plan.force_time is not None and self.plan.now + minute * MINUTE >= self.plan.force_time
        gone = lifts | ({Lift.TENANT_WINDOWS, Lift.TENANT_FREEZES} if forced else frozenset())
        return next((factor for factor in FACTORS if factor not in gone and not self.opened[factor][minute]), None)


def long_enough(marks: bytearray, needed: int) -> bytearray:
    """The minutes from which at least so many open ones follow, itself included. What lies beyond the twelve days counts as closed."""
    found = bytearray(SPAN)
    at = marks.find(1)
    while at >= 0:
        end = marks.find(0, at)
        end = SPAN if end < 0 else end
        last = end - needed + 1
        if last > at:
            found[at:last] = b"\x01" * (last - at)
        at = marks.find(1, end)
    return found


def scan(plan: Plan) -> Scan:
    """Look at every minute."""
    zone, after = zone_of(plan.zone), plan.now
    windows = plan.windows or plan.default_windows
    always = not windows and plan.when_no_window == "Open"
    in_window = bytearray(b"\x01" * SPAN) if always else marked((one for each in windows for one in occurrences(each, zone, after)), after)
    staffed = bytearray(b"\x01" * SPAN)
    if plan.staff:
        shifts: list[Any] = plan.staff["weekly"]
        staff_zone = zone_of(plan.staff["timeZone"])
        staffed = marked((one for each in shifts for one in occurrences({"weekly": each}, staff_zone, after)), after)
    return Scan(
        plan,
        {
            Lift.PLATFORM_FREEZES: marked(frozen_days(plan.platform_freezes, zone, after), after, 0),
            Lift.TENANT_FREEZES: marked(frozen_days(plan.freezes, zone, after), after, 0),
            Lift.TENANT_WINDOWS: in_window,
            Lift.STAFFED_HOURS: staffed,
        },
    )
