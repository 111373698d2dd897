"""The tables of docs/concepts/windows.md are computed again: a page that is wrong fails here."""

import re
from datetime import UTC, datetime
from pathlib import Path

import pytest

from tenantwave.api.action import Lift
from tenantwave.api.conditions import DecisionReason, WaitReason
from tenantwave.api.decision import DecisionType
from tenantwave.core.calendar import (
    Calendar,
    Decision,
    Notice,
    Override,
    Rights,
    Terms,
    availability,
    planned_start,
    rule_on,
)
from tenantwave.core.calendar.zones import DAY, zone_named
from unit.core.calendar.manifests import calendar_of, dates, maintenance, openings, times, utc, weekly, yearly

PAGE = Path(__file__).parents[4] / "docs" / "concepts" / "windows.md"
BERLIN = zone_named("Europe/Berlin").info


def rows(heading: str) -> list[list[str]]:
    """The rows of the table whose first column has this heading."""
    _, _, table = PAGE.read_text(encoding="utf-8").partition(f"| {heading} |")
    lines = table.split("\n\n")[0].splitlines()[2:]
    return [[cell.strip() for cell in line.strip("|").split(" | ")] for line in lines]


@pytest.mark.parametrize("row", rows("Local time, 9 and 10 June 2026"), ids=lambda row: row[0])
def test_the_answers_at_different_times(row: list[str]) -> None:
    """The tenant of the page, asked at the times of the page."""
    calendar = calendar_of(
        maintenance(minRemaining="15m"),
        timeZone="Europe/Berlin",
        windows=[weekly("Tue", "22:00", "2h", "late"), weekly("Wed", "00:00", "3h", "early")],
        freezes=[dates("2026-06-10", "2026-06-10", "audit")],
    )
    answer = availability(calendar, datetime.fromisoformat(row[0]).replace(tzinfo=BERLIN).astimezone(UTC))
    assert (f"`{answer.hold.reason}`" if answer.hold else "open") == row[1]


@pytest.mark.parametrize("row", rows("What the tenant decided"), ids=lambda row: row[0])
def test_from_an_opening_to_the_planned_start(row: list[str]) -> None:
    """The tenant of the page, with each of its decisions."""
    given, deadline = utc("2026-11-16T00:00Z"), utc("2026-12-20T00:00Z")
    notice = Notice(given, 7 * DAY)
    kind, _, until = row[0].partition(" until ")
    decisions = [Decision("d", DecisionType(kind.strip("`")), given, utc(until) if until else None)] if kind != "nothing" else []
    ruling = rule_on(decisions, Rights(notice_end_time=notice.end_time, deadline_time=deadline))
    window = weekly("Sat", "23:00", "5h", everyWeeks=2, anchorDate="2026-01-03")
    calendar = calendar_of(maintenance(minRemaining="15m"), timeZone="America/New_York", windows=[window])
    assert max(notice.end_time or given, ruling.choice.until_time or given) == utc(row[1])
    assert planned_start(calendar, Terms(notice, ruling.choice), given).start_time == utc(row[2])
    assert ("`Shortened`" in row[3]) is (bool(until) and ruling.answers[0].reason is DecisionReason.SHORTENED)


@pytest.mark.parametrize("row", rows("Reason"), ids=lambda row: row[0])
def test_what_an_override_lifts(row: list[str]) -> None:
    """The names are those of the contract, and what is said to be lifted is lifted, alone and by `forceTime`."""
    lifts = frozenset(Lift(name) for name in re.findall(r"`(\w+)`", row[3]))
    now = utc("2026-06-10T12:00Z")
    closed: dict[str, Calendar] = {
        "PlatformFreeze": calendar_of(maintenance(freezes=[dates("2026-06-01", "2026-06-30")])),
        "TenantFreeze": calendar_of(freezes=[dates("2026-06-01", "2026-06-30")]),
        "OutsideWindow": calendar_of(windows=[weekly("Sun", "00:00", "1h")]),
        "NotStaffed": calendar_of(maintenance(staffedHours={"timeZone": "UTC", "weekly": [weekly("Sun", "00:00", "1h")["weekly"]]})),
        "UnknownTimeZone": calendar_of(timeZone="Mars/Phobos"),
        "InvalidWindows": calendar_of(maintenance(tenantLimits={"maxFreezeDaysPerYear": 9}), freezes=[yearly("06-01", "06-10")]),
    }
    for reason in re.findall(r"`(\w+)`", row[0]):
        if reason not in closed:
            continue
        hold = planned_start(closed[reason], Terms(), now).hold
        assert hold is not None
        assert str(hold.reason) == reason
        assert planned_start(closed[reason], Terms(overrides=(Override("o", "run", lifts, now + DAY),)), now).hold is None
        for fewer in (frozenset(Lift) - {lift} for lift in lifts):
            assert planned_start(closed[reason], Terms(overrides=(Override("o", "run", fewer, now + DAY),)), now).hold is not None
        assert (planned_start(closed[reason], Terms(force_time=now - DAY), now).hold is None) is row[2].startswith("yes")


def test_the_reasons_are_in_the_order_of_the_contract() -> None:
    """All reasons of the calendar and no other."""
    named = [reason for row in rows("Reason") for reason in re.findall(r"`(\w+)`", row[0])]
    assert {WaitReason(reason) for reason in named} == set(WaitReason) - {
        WaitReason.TENANT_BUSY, WaitReason.MAX_PARALLEL, WaitReason.WAVE_QUEUED, WaitReason.UPGRADE_ON_HOLD,
    }  # fmt: skip


@pytest.mark.parametrize("row", rows("Zone"), ids=lambda row: f"{row[0]}-{row[2]}-{row[1]}")
def test_the_days_on_which_the_clock_changes(row: list[str]) -> None:
    """Each window opens, and each freeze closes, at the times of the page."""
    zone, rule, day, expected, _ = row
    [(start, end)] = times(expected.replace(" to ", "/"))
    if rule == "freeze":
        calendar = calendar_of(timeZone=zone, freezes=[dates(day, day)])
        around = openings(calendar, (start - DAY).isoformat(), (end + DAY).isoformat())
        assert (around[0][1], around[1][0]) == (start, end)
    else:
        calendar = calendar_of(timeZone=zone, windows=[weekly(*rule.split())])
        assert openings(calendar, start.isoformat(), end.isoformat()) == [(start, end)]
