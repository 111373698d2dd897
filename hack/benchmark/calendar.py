"""`hack/bench calendar`: what it costs to know when ten thousand tenants start."""

from __future__ import annotations

import argparse
import gc
import json
import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from random import Random
from time import process_time
from typing import Any

from tenantwave.api.policy import Maintenance
from tenantwave.api.profile import TenantProfileSpec
from tenantwave.core.calendar import (
    Calendar,
    Guest,
    KeptStarts,
    Notice,
    Terms,
    WavePlan,
    availability,
    compile_calendar,
    forecast,
    planned_start,
)
from tenantwave.core.calendar.zones import accepted_names, zone_named

HELP = """\
calendar: N tenants, each with four windows of its own (two weekly ones, one of them every second week, a monthly one, a single one), three freezes,
in all zones of the database in turn, under a policy with two freezes, staffed hours in one variant, and a limit on what a tenant may close.
No two tenants have the same windows, so nothing but the policy's freezes is shared. The notice has been given.

Times are CPU seconds of one thread. "first" is cold: nothing has been expanded. "nothing to do" is one minute in which no answer runs out;
"an hour" is every minute of an hour, with whatever runs out in it.

The table goes to stderr, JSON to stdout. The aim is a second for the first decisions on a quiet machine; the exit code is 1 if they take over
twice that, or a minute with nothing to do over 1 % of a core.
"""

DAYS = ("Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun")
NOW = datetime(2026, 11, 16, 9, 30, tzinfo=UTC)
SKEW = timedelta(seconds=30)
MOST_SECONDS, MOST_SHARE = 2.0, 0.01
Manifest = dict[str, Any]


@dataclass(slots=True)
class CalendarFigures:
    """CPU seconds, by what was done; and how many answers ran out in the hour."""

    tenant_count: int
    seed: str
    seconds: dict[str, float] = field(default_factory=dict)
    renewed_count: int = 0
    open_count: int = 0

    @contextmanager
    def taking(self, what: str) -> Iterator[None]:
        """Measure what is done inside."""
        begun = process_time()
        yield
        self.seconds[what] = process_time() - begun

    @property
    def idle_share(self) -> float:
        """The share of a core that a minute with nothing to do takes."""
        return self.seconds["a minute with nothing to do"] / 60

    def complaints(self) -> list[str]:
        """What is slower than it may be, at 10,000 tenants."""
        scale = max(1.0, self.tenant_count / 10_000)
        found = []
        if self.seconds["decisions and next openings, first"] > MOST_SECONDS * scale:
            found.append(f"the first decisions took over {MOST_SECONDS * scale:.1f} s")
        if self.idle_share > MOST_SHARE * scale:
            found.append(f"a minute with nothing to do took over {MOST_SHARE * scale:.0%} of a core")
        return found


def add_to(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add `calendar` to the command line."""
    parser = commands.add_parser(
        "calendar", help="when ten thousand tenants start", description=HELP, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--tenants", type=int, default=10_000, metavar="N", help="how many (default: 10000)")
    parser.add_argument("--seed", default="1", help="another seed, other windows (default: 1)")


def run_calendar(found: argparse.Namespace) -> int:
    """Measure, print, and tell whether it is quick enough."""
    figures = measure(found.tenants, found.seed)
    print(table(figures), file=sys.stderr)
    document = {
        "tenants": figures.tenant_count,
        "seed": figures.seed,
        "seconds": {what: round(seconds, 4) for what, seconds in figures.seconds.items()},
        "idleShareOfACore": round(figures.idle_share, 6),
        "answersRenewedInAnHour": figures.renewed_count,
        "open": figures.open_count,
        "complaints": figures.complaints(),
    }
    print(json.dumps(document, indent=1))
    return 1 if document["complaints"] else 0


def measure(tenant_count: int, seed: str) -> CalendarFigures:
    """Do it all once, from nothing."""
    random, figures = Random(seed), CalendarFigures(tenant_count, seed)
    zones = sorted(accepted_names())
    for zone in zones:
        zone_named(zone)  # read from the disk once for each process, whoever asks
    manifests = [profile_of(random, zones[number % len(zones)]) for number in range(tenant_count)]
    policy = Maintenance.model_validate(POLICY)
    with figures.taking("reading the manifests (pydantic)"):
        specs = [TenantProfileSpec.model_validate(manifest) for manifest in manifests]
    with figures.taking("compiling the calendars"):
        calendars = [compile_calendar(policy, spec) for spec in specs]
    gc.collect()
    gc.freeze()  # as a process does once it has warmed up: the manifests are not looked through again and again
    terms = [Terms(Notice(NOW - timedelta(days=random.randrange(7, 14)), timedelta(days=7))) for _ in calendars]
    with figures.taking("decisions and next openings, first"):
        starts = [planned_start(calendar, one, NOW, SKEW) for calendar, one in zip(calendars, terms, strict=True)]
    figures.open_count = sum(start.hold is None for start in starts)
    instants = [NOW + timedelta(minutes=random.randrange(365 * 1440)) for _ in calendars]
    with figures.taking("the same at any minute of a year"):
        for calendar, one, instant in zip(calendars, terms, instants, strict=True):
            planned_start(calendar, one, instant, SKEW)
    with figures.taking("what status shows: five openings each"):
        for calendar in calendars:
            availability(calendar, NOW, SKEW)
    _with_limits(figures, specs)
    _minutes(figures, calendars, terms)
    with figures.taking("forecast of five waves"):
        forecast(_waves(calendars, terms), NOW, NOW + timedelta(days=90), skew=SKEW)
    return figures


def _with_limits(figures: CalendarFigures, specs: list[TenantProfileSpec]) -> None:
    limits = {"maxFreezeDaysPerYear": 120, "minOpenPer32Days": "8h"}
    bounded = Maintenance.model_validate({**POLICY, "tenantLimits": limits})
    staffed = Maintenance.model_validate({**POLICY, "staffedHours": STAFF})
    for what, policy in (("first decisions under tenantLimits (once a year)", bounded), ("first decisions with staffedHours", staffed)):
        calendars = [compile_calendar(policy, spec) for spec in specs]
        with figures.taking(what):
            for calendar in calendars:
                planned_start(calendar, Terms(), NOW, SKEW)


def _minutes(figures: CalendarFigures, calendars: list[Calendar], terms: list[Terms]) -> None:
    """A minute with nothing to do, and an hour."""
    kept = KeptStarts(SKEW)
    names = [f"t{number}" for number in range(len(calendars))]

    def look(now: datetime) -> list[Any]:
        return [kept.of("shop", *one, now) for one in zip(names, calendars, terms, strict=True)]

    before = look(NOW)
    with figures.taking("a minute with nothing to do"):
        after = look(NOW + timedelta(seconds=1))
    assert all(one is other for one, other in zip(before, after, strict=True)), "an answer ran out in this second"
    with figures.taking("an hour, minute by minute"):
        figures.renewed_count = _renewals(look, after)


def _renewals(look: Callable[[datetime], list[Any]], seen: list[Any]) -> int:
    count = 0
    for minute in range(1, 61):
        now = NOW + minute * timedelta(minutes=1)
        if all(now < one.wake_time for one in seen):
            continue
        fresh = look(now)
        count += sum(one is not other for one, other in zip(seen, fresh, strict=True))
        seen = fresh
    return count


def _waves(calendars: list[Calendar], terms: list[Terms]) -> list[WavePlan]:
    guests = [Guest(f"t{number}", *one) for number, one in enumerate(zip(calendars, terms, strict=True))]
    size = max(1, len(guests) // 5)
    minutes = timedelta(minutes=1)
    cuts = [guests[at : at + size] for at in range(0, len(guests), size)]
    return [
        WavePlan(f"w{number}", tuple(cut), max(1, len(cut) // 10), 10 * minutes, 5 * minutes, 5 * minutes)
        for number, cut in enumerate(cuts)
    ]


def table(figures: CalendarFigures) -> str:
    """Return the figures as a Markdown table."""
    each = 1e6 / figures.tenant_count
    lines = [f"| {figures.tenant_count:,} tenants, seed {figures.seed} | CPU | for each |", "|---|---|---|"]
    lines += [f"| {what} | {seconds:.3f} s | {seconds * each:.1f} µs |" for what, seconds in figures.seconds.items()]
    lines += [
        "",
        f"A minute with nothing to do takes {figures.idle_share:.3%} of a core. In the hour {figures.renewed_count:,} answers ran out.",
        f"Machine: {os.cpu_count()} cores; one is used.",
        *figures.complaints(),
    ]
    return "\n".join(lines)


POLICY: Manifest = {
    "defaultWindows": [{"name": "nightly", "weekly": {"days": ["Tue", "Wed", "Thu"], "start": "02:00", "duration": "3h"}}],
    "defaultTimeZone": "Europe/Berlin",
    "freezes": [
        {"name": "year-end", "yearly": {"from": "12-20", "to": "01-06"}},
        {"name": "launch", "dates": {"from": "2026-11-23", "to": "2026-11-30"}},
    ],
    "minRemaining": "15m",
}
STAFF: Manifest = {
    "timeZone": "Europe/Rome",
    "weekly": [{"days": ["Mon", "Tue", "Wed", "Thu", "Fri"], "start": "00:00", "duration": "20h"}],
}


def profile_of(random: Random, zone: str) -> Manifest:
    """Four windows and three freezes that nobody else has."""

    def start() -> str:
        return f"{random.randrange(24):02}:{random.randrange(60):02}"

    month, day = random.randint(1, 12), random.randint(1, 20)
    anchor = (NOW.date() + timedelta(days=random.randrange(14))).isoformat()
    return {
        "timeZone": zone,
        "windows": [
            {"name": "weekend", "weekly": {"days": random.sample(DAYS[4:], 2), "start": start(), "duration": "4h"}},
            {
                "name": "fortnight",
                "weekly": {"days": [random.choice(DAYS)], "start": start(), "duration": "5h", "everyWeeks": 2, "anchorDate": anchor},
            },
            {"name": "month-end", "monthly": {"week": "Last", "day": random.choice(DAYS), "start": start(), "duration": "4h"}},
            {"name": "special", "once": {"start": f"2026-12-{random.randint(1, 28):02}T03:00:00Z", "duration": "2h"}},
        ],
        "freezes": [
            {"name": "season", "yearly": {"from": f"{month:02}-{day:02}", "to": f"{month:02}-{day + 8:02}"}},
            {"name": "fair", "dates": {"from": f"2027-{month:02}-01", "to": f"2027-{month:02}-{day:02}"}},
            {"name": "audit", "yearly": {"from": "06-30", "to": f"07-{random.randint(1, 9):02}"}},
        ],
    }
