"""The examples of the calendar's rules: each row a window or a freeze, and what comes out of it in UTC."""

from datetime import timedelta
from itertools import pairwise

import pytest

from tenantwave.core.calendar.intervals import FOREVER
from unit.core.calendar.manifests import Block, calendar_of, dates, maintenance, monthly, once, openings, times, utc, weekly, yearly

ROME = {"timeZone": "Europe/Rome", "weekly": [{"days": ["Mon", "Tue", "Wed", "Thu"], "start": "08:00", "duration": "9h"}]}
ANCHORED: Block = {"everyWeeks": 2, "anchorDate": "2026-01-03"}


@pytest.mark.parametrize(
    ("zone", "window", "search", "expected"),
    [
        pytest.param(
            "Europe/Berlin",
            weekly("Sun", "02:30", "2h"),
            "2026-03-29",
            ["2026-03-29T01:30Z/2026-03-29T03:30Z"],
            id="berlin-gap-opens-03:30",
        ),
        pytest.param(
            "Europe/Berlin", weekly("Sun", "02:30", "2h"), "2026-10-25", ["2026-10-25T00:30Z/2026-10-25T02:30Z"], id="berlin-overlap-once"
        ),
        pytest.param(
            "Europe/Berlin", weekly("Sun", "01:00", "4h"), "2026-03-29", ["2026-03-29T00:00Z/2026-03-29T04:00Z"], id="4h-elapsed-in-spring"
        ),
        pytest.param(
            "Europe/Berlin", weekly("Sun", "01:00", "4h"), "2026-10-25", ["2026-10-24T23:00Z/2026-10-25T03:00Z"], id="4h-elapsed-in-autumn"
        ),
        pytest.param(
            "America/New_York", weekly("Sun", "02:30", "2h"), "2026-03-08", ["2026-03-08T07:30Z/2026-03-08T09:30Z"], id="new-york-gap"
        ),
        pytest.param(
            "America/New_York", weekly("Sun", "01:30", "2h"), "2026-11-01", ["2026-11-01T05:30Z/2026-11-01T07:30Z"], id="new-york-overlap"
        ),
        pytest.param(
            "Australia/Lord_Howe", weekly("Sun", "02:15", "1h"), "2026-10-04", ["2026-10-03T15:45Z/2026-10-03T16:45Z"], id="half-hour-gap"
        ),
        pytest.param(
            "Australia/Lord_Howe",
            weekly("Sun", "01:45", "1h"),
            "2026-04-05",
            ["2026-04-04T14:45Z/2026-04-04T15:45Z"],
            id="half-hour-overlap",
        ),
        pytest.param(
            "Africa/Cairo", weekly("Fri", "00:00", "2h"), "2026-04-24", ["2026-04-23T22:00Z/2026-04-24T00:00Z"], id="midnight-is-skipped"
        ),
        pytest.param(
            "America/Santiago",
            weekly("Sat", "23:30", "2h"),
            "2026-04-04",
            ["2026-04-05T02:30Z/2026-04-05T04:30Z"],
            id="midnight-comes-twice",
        ),
        pytest.param(
            "Europe/Berlin", weekly("Sat", "23:00", "5h"), "2026-06-06", ["2026-06-06T21:00Z/2026-06-07T02:00Z"], id="runs-into-sunday"
        ),
    ],
)
def test_a_window_on_one_local_day(zone: str, window: Block, search: str, expected: list[str]) -> None:
    """Start is wall time, duration is elapsed time; a gap opens after it, an overlap opens once."""
    noon = utc(f"{search}T12:00Z")
    calendar = calendar_of(timeZone=zone, windows=[window])
    found = openings(calendar, (noon - timedelta(days=2)).isoformat(), (noon + timedelta(days=2)).isoformat())
    assert found == times(*expected)


@pytest.mark.parametrize(
    ("zone", "freeze", "expected"),
    [
        pytest.param(
            "Africa/Cairo", dates("2026-04-24", "2026-04-24"), "2026-04-23T21:00Z/2026-04-24T21:00Z", id="midnight-skipped-widened"
        ),
        pytest.param(
            "America/Havana", dates("2024-11-02", "2024-11-02"), "2024-11-02T04:00Z/2024-11-03T05:00Z", id="midnight-twice-widened"
        ),
        pytest.param("Europe/Berlin", dates("2026-12-01", "2027-02-28"), "2026-11-30T23:00Z/2027-02-28T23:00Z", id="dates-90-days"),
        pytest.param(
            "Pacific/Kiritimati", dates("2026-11-23", "2026-11-30"), "2026-11-22T10:00Z/2026-11-30T10:00Z", id="first-zone-to-freeze"
        ),
        pytest.param(
            "Pacific/Pago_Pago", dates("2026-11-23", "2026-11-30"), "2026-11-23T11:00Z/2026-12-01T11:00Z", id="last-zone-to-freeze"
        ),
    ],
)
def test_a_freeze_of_dates(zone: str, freeze: Block, expected: str) -> None:
    """A freeze takes its whole local days, both readings of midnight, in the tenant's zone, whoever wrote it."""
    start, end = times(expected)[0]
    for calendar in (calendar_of(timeZone=zone, freezes=[freeze]), calendar_of(maintenance(freezes=[freeze]), timeZone=zone)):
        found = openings(calendar, (start - timedelta(days=30)).isoformat(), (end + timedelta(days=30)).isoformat())
        (_, last_end), (next_start, _) = found
        assert (last_end, next_start) == (start, end)


@pytest.mark.parametrize(
    ("first", "last", "year", "expected"),
    [
        pytest.param("12-01", "02-29", 2026, "2026-11-30T23:00Z/2027-02-28T23:00Z", id="to-the-28th-in-2027"),
        pytest.param("12-01", "02-29", 2027, "2027-11-30T23:00Z/2028-02-29T23:00Z", id="to-the-29th-in-2028"),
        pytest.param("02-29", "03-01", 2027, "2027-02-27T23:00Z/2027-03-01T23:00Z", id="from-the-28th-in-2027"),
        pytest.param("03-15", "04-20", 2026, "2026-03-14T23:00Z/2026-04-20T22:00Z", id="within-a-year-over-a-clock-change"),
        pytest.param("12-31", "12-31", 2026, "2026-12-30T23:00Z/2026-12-31T23:00Z", id="one-day"),
    ],
)
def test_a_yearly_freeze(first: str, last: str, year: int, expected: str) -> None:
    """Inclusive local dates; across New Year where `from` is later; 02-29 is the last day of February."""
    found = openings(
        calendar_of(timeZone="Europe/Berlin", freezes=[yearly(first, last)]), f"{year}-01-01T00:00Z", f"{year + 1}-12-01T00:00Z"
    )
    closed = [(before[1], after[0]) for before, after in pairwise(found)]
    assert times(expected)[0] in closed


def test_a_freeze_cuts_the_end_of_an_opening_and_the_start_of_another() -> None:
    """Mon 22:00 6h runs into 2026-12-01; a freeze to 11-30 leaves its end, one from 12-01 its beginning."""
    window = weekly("Mon", "22:00", "6h")
    until = calendar_of(timeZone="Europe/Berlin", windows=[window], freezes=[dates("2026-11-24", "2026-11-30")])
    after = calendar_of(timeZone="Europe/Berlin", windows=[window], freezes=[dates("2026-12-01", "2026-12-05")])
    assert openings(until, "2026-11-25T00:00Z", "2026-12-02T00:00Z") == times("2026-11-30T23:00Z/2026-12-01T03:00Z")
    assert openings(after, "2026-11-25T00:00Z", "2026-12-02T00:00Z") == times("2026-11-30T21:00Z/2026-11-30T23:00Z")


def test_a_freeze_inside_an_opening_makes_two_of_it() -> None:
    """A window of four days with a frozen day in it."""
    calendar = calendar_of(windows=[weekly("Mon", "00:00", "4d")], freezes=[dates("2026-06-09", "2026-06-09")])
    assert openings(calendar, "2026-06-08T00:00Z", "2026-06-14T00:00Z") == times(
        "2026-06-08T00:00Z/2026-06-09T00:00Z", "2026-06-10T00:00Z/2026-06-12T00:00Z"
    )


def test_touching_windows_are_one_opening() -> None:
    """Tue 22:00 2h and Wed 00:00 3h: nothing closes at midnight."""
    windows = [weekly("Tue", "22:00", "2h", "late"), weekly("Wed", "00:00", "3h", "early")]
    calendar = calendar_of(timeZone="Europe/Berlin", windows=windows)
    assert openings(calendar, "2026-06-09T00:00Z", "2026-06-10T12:00Z") == times("2026-06-09T20:00Z/2026-06-10T01:00Z")


def test_a_window_longer_than_its_period_never_closes() -> None:
    """Daily for 25 hours: one opening without an end."""
    ((_, end),) = openings(
        calendar_of(timeZone="Europe/Berlin", windows=[weekly("daily", "00:00", "25h")]), "2026-01-01T00:00Z", "2027-01-01T00:00Z"
    )
    assert end == FOREVER


@pytest.mark.parametrize(
    ("zone", "window", "search", "starts"),
    [
        pytest.param(
            "America/New_York",
            weekly("Sat", "23:00", "5h", **ANCHORED),
            ("2026-02-23T00:00Z", "2026-04-05T00:00Z"),
            ["2026-03-01T04:00Z", "2026-03-15T03:00Z", "2026-03-29T03:00Z"],
            id="two-weeks-over-the-clock-change",
        ),
        pytest.param(
            "Europe/Berlin",
            weekly("Mon Sun", "03:00", "2h", **ANCHORED),
            ("2026-01-01T00:00Z", "2026-02-01T00:00Z"),
            ["2026-01-04T02:00Z", "2026-01-12T02:00Z", "2026-01-18T02:00Z", "2026-01-26T02:00Z"],
            id="weeks-run-monday-to-sunday",
        ),
        pytest.param(
            "UTC",
            weekly("Sat", "00:00", "1h", **ANCHORED),
            ("2025-11-30T00:00Z", "2026-01-10T00:00Z"),
            ["2025-12-06T00:00Z", "2025-12-20T00:00Z", "2026-01-03T00:00Z"],
            id="the-anchor-is-no-first-date",
        ),
        pytest.param(
            "UTC",
            weekly("Fri", "00:00", "1h", everyWeeks=52, anchorDate="2026-01-02"),
            ("2025-12-01T00:00Z", "2028-01-01T00:00Z"),
            ["2026-01-02T00:00Z", "2027-01-01T00:00Z", "2027-12-31T00:00Z"],
            id="every-52-weeks",
        ),
        pytest.param(
            "UTC",
            monthly("Last", "Sun", "01:00", "4h"),
            ("2026-01-26T00:00Z", "2026-05-01T00:00Z"),
            ["2026-02-22T01:00Z", "2026-03-29T01:00Z", "2026-04-26T01:00Z"],
            id="last-sunday",
        ),
        pytest.param(
            "UTC",
            monthly("Fifth", "Sun", "01:00", "4h"),
            ("2026-02-01T00:00Z", "2026-12-31T00:00Z"),
            ["2026-03-29T01:00Z", "2026-05-31T01:00Z", "2026-08-30T01:00Z", "2026-11-29T01:00Z"],
            id="fifth-sunday-where-there-is-one",
        ),
        pytest.param(
            "UTC",
            monthly("Last", "Tue", "01:00", "4h"),
            ("2028-02-01T00:00Z", "2028-03-01T00:00Z"),
            ["2028-02-29T01:00Z"],
            id="leap-day-tuesday",
        ),
        pytest.param(
            "UTC",
            once("2026-12-06T05:00:00+02:00", "2h"),
            ("2026-01-01T00:00Z", "2027-01-01T00:00Z"),
            ["2026-12-06T03:00Z"],
            id="once-with-offset",
        ),
    ],
)
def test_when_a_window_recurs(zone: str, window: Block, search: tuple[str, str], starts: list[str]) -> None:
    """Rhythms of weeks and months, by local dates."""
    found = openings(calendar_of(timeZone=zone, windows=[window]), *search)
    assert [start for start, _ in found] == [utc(start) for start in starts]


@pytest.mark.parametrize(
    ("day", "expected"),
    [
        pytest.param("2026-03-03", "2026-03-03T07:00Z/2026-03-03T10:00Z", id="both-in-winter"),
        pytest.param("2026-03-10", "2026-03-10T07:00Z/2026-03-10T09:00Z", id="new-york-changed-rome-not-yet"),
    ],
)
def test_staffed_hours_have_a_zone_of_their_own(day: str, expected: str) -> None:
    """Tue 02:00 3h in New York, staff in Rome Mon to Thu 08:00 to 17:00: clock-change dates differ."""
    calendar = calendar_of(maintenance(staffedHours=ROME), timeZone="America/New_York", windows=[weekly("Tue", "02:00", "3h")])
    assert openings(calendar, f"{day}T00:00Z", f"{day}T23:00Z") == times(expected)


def test_a_tenants_windows_replace_the_default_windows() -> None:
    """They are never merged; an empty list is no list."""
    policy = maintenance(defaultWindows=[weekly("Tue", "02:00", "3h")])
    own = calendar_of(policy, windows=[weekly("Sat", "02:00", "1h")])
    none = calendar_of(policy, windows=[])
    assert openings(own, "2026-06-08T00:00Z", "2026-06-14T23:00Z") == times("2026-06-13T02:00Z/2026-06-13T03:00Z")
    assert openings(none, "2026-06-08T00:00Z", "2026-06-14T23:00Z") == times("2026-06-09T02:00Z/2026-06-09T05:00Z")


def test_default_windows_are_read_in_the_tenants_zone() -> None:
    """The same default window opens at 02:00 wherever the tenant is; without a zone of its own, in the policy's."""
    policy = maintenance(defaultWindows=[weekly("Tue", "02:00", "3h")], defaultTimeZone="Europe/Berlin")
    assert openings(calendar_of(policy), "2026-01-06T00:00Z", "2026-01-07T00:00Z") == times("2026-01-06T01:00Z/2026-01-06T04:00Z")
    assert openings(calendar_of(policy, timeZone="Asia/Tokyo"), "2026-01-05T12:00Z", "2026-01-06T12:00Z") == times(
        "2026-01-05T17:00Z/2026-01-05T20:00Z"
    )


@pytest.mark.parametrize(("when_no_window", "count"), [("Open", 1), ("Closed", 0)])
def test_without_any_window_the_policy_decides(when_no_window: str, count: int) -> None:
    """`whenNoWindow` counts where neither tenant nor policy states a window."""
    assert len(openings(calendar_of(maintenance(whenNoWindow=when_no_window)), "2026-01-01T00:00Z", "2026-01-08T00:00Z")) == count
