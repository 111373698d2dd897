"""The tables of docs/concepts/windows.md are computed again: a page that is wrong fails here."""

from datetime import UTC, datetime
from pathlib import Path

import pytest

from tenantwave.core.calendar import availability
from tenantwave.core.calendar.zones import DAY, zone_named
from unit.core.calendar.manifests import calendar_of, dates, maintenance, openings, times, weekly

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
