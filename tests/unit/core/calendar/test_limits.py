"""`tenantLimits`: a tenant that closes too much is closed itself, with the figures, until `forceTime` or both of its factors are lifted."""

from datetime import date, timedelta
from typing import Any

import pytest

from tenantwave.api.action import Lift
from tenantwave.api.conditions import WaitReason
from tenantwave.core.calendar import Override, Terms, availability, compile_calendar, planned_start, policy_problems
from tenantwave.core.calendar.limits import freeze_day_count, least_open
from unit.core.calendar.manifests import Block, calendar_of, dates, maintenance, monthly, once, utc, weekly, yearly

NOW = "2026-06-01T00:00Z"
NIGHTLY = weekly("daily", "02:00", "1h", "nightly")
SATURDAYS = weekly("Sat", "23:00", "2h", "weekend")


def under(limits: Block, **profile: Any) -> str | None:
    """What closes a tenant under these limits; None: nothing does."""
    hold = availability(calendar_of(maintenance(tenantLimits=limits), **profile), utc(NOW)).hold
    return hold.message if hold is not None and hold.reason is WaitReason.INVALID_WINDOWS else None


@pytest.mark.parametrize(
    ("freezes", "year", "days"),
    [
        pytest.param([yearly("12-01", "02-29")], 2026, 90, id="across-new-year-31-and-59"),
        pytest.param([yearly("12-01", "02-29")], 2028, 91, id="across-new-year-in-a-leap-year"),
        pytest.param([yearly("03-15", "04-20")], 2026, 37, id="within-the-year"),
        pytest.param([dates("2025-12-30", "2026-01-02")], 2026, 2, id="the-part-in-the-year"),
        pytest.param([dates("2026-05-01", "2026-05-10", "a"), dates("2026-05-08", "2026-05-12", "b")], 2026, 12, id="distinct-days"),
        pytest.param([yearly("01-01", "12-31")], 2028, 366, id="all-of-a-leap-year"),
        pytest.param([dates("2020-01-01", "2020-12-31")], 2026, 0, id="long-ago"),
    ],
)
def test_how_many_days_of_a_year_are_frozen(freezes: list[Block], year: int, days: int) -> None:
    """Local dates, each once."""
    assert freeze_day_count(calendar_of(freezes=freezes).tenant_freezes, year) == days


@pytest.mark.parametrize(
    ("allowed", "freezes", "message"),
    [
        pytest.param(37, [yearly("03-15", "04-20")], None, id="just-allowed"),
        pytest.param(
            36,
            [yearly("03-15", "04-20")],
            "closed: your freezes cover 37 days of 2026, and 36 are allowed; shorten them or ask the platform team",
            id="a-day-too-many",
        ),
        pytest.param(
            9,
            [dates("2027-05-01", "2027-05-10")],
            "closed: your freezes cover 10 days of 2027, and 9 are allowed; shorten them or ask the platform team",
            id="next-year-counts-too",
        ),
        pytest.param(9, [dates("2028-05-01", "2028-05-10")], None, id="the-year-after-does-not-yet"),
        pytest.param(0, [], None, id="no-freezes"),
        pytest.param(
            0,
            [dates("2026-01-01", "2026-01-01")],
            "closed: your freezes cover 1 days of 2026, and 0 are allowed; shorten them or ask the platform team",
            id="none-allowed",
        ),
    ],
)
def test_too_many_frozen_days_close_the_tenant(allowed: int, freezes: list[Block], message: str | None) -> None:
    """In this calendar year or the next."""
    assert under({"maxFreezeDaysPerYear": allowed}, freezes=freezes) == message


@pytest.mark.parametrize(
    ("windows", "hours"),
    [
        pytest.param([NIGHTLY], 32, id="an-hour-a-night"),
        pytest.param([SATURDAYS], 8, id="four-saturdays-at-the-least"),
        pytest.param([weekly("Sat", "23:00", "5h", everyWeeks=2, anchorDate="2026-01-03")], 10, id="every-second-saturday-two-of-them"),
        pytest.param([weekly("Sat", "23:00", "5h", everyWeeks=5, anchorDate="2026-01-03")], 0, id="every-fifth-saturday"),
        pytest.param([monthly("Last", "Sun", "01:00", "4h")], 0, id="five-weeks-between-two-last-sundays"),
        pytest.param([NIGHTLY, weekly("daily", "02:30", "1h", "also")], 48, id="united-before-they-count"),
        pytest.param([weekly("Mon", "00:00", "7d")], 32 * 24, id="always"),
        pytest.param([weekly("Mon Tue", "23:00", "25h")], 4 * 49, id="touching-ones"),
    ],
)
def test_the_least_open_time_in_any_32_days(windows: list[Block], hours: float) -> None:
    """Worked out by hand."""
    listed = calendar_of(windows=windows).windows
    assert listed is not None
    least, _ = least_open(listed.windows, None, date(2026, 1, 1), timedelta())
    assert least == timedelta(hours=hours)


@pytest.mark.parametrize(
    ("limits", "profile", "message"),
    [
        pytest.param({"minOpenPer32Days": "8h"}, {"windows": [SATURDAYS]}, None, id="just-enough"),
        pytest.param(
            {"minOpenPer32Days": "9h"},
            {"windows": [SATURDAYS]},
            "closed: your windows are open for 8h in the 32 days from 2026-01-04, and 9h are needed; "
            "add or lengthen a window, or ask the platform team",
            id="too-little",
        ),
        pytest.param({"minOpenPer32Days": "999h"}, {}, None, id="without-own-windows-nothing-is-closed"),
        pytest.param(
            {"minOpenPer32Days": "8h"}, {"windows": [SATURDAYS], "freezes": [yearly("01-01", "06-30")]}, None, id="freezes-are-left-out"
        ),
        pytest.param({"maxDeferral": "30d"}, {"windows": [SATURDAYS]}, None, id="max-deferral-is-about-decisions"),
        pytest.param(
            {"minOpenPer32Days": "1h"},
            {"windows": [once("2026-06-03T00:00:00Z", "4h")]},
            "closed: your windows are open for 0s in the 32 days from 2026-06-03, and 1h are needed; "
            "add or lengthen a window, or ask the platform team",
            id="a-single-opening-promises-nothing",
        ),
        pytest.param(
            {"minOpenPer32Days": "8h"},
            {"windows": [SATURDAYS, once("2026-06-03T00:00:00Z", "4h")]},
            None,
            id="one-more-opening-does-no-harm",
        ),
    ],
)
def test_windows_that_open_too_little_close_the_tenant(limits: Block, profile: Block, message: str | None) -> None:
    """The tenant's own windows alone are measured."""
    assert under(limits, **profile) == message


def test_openings_too_short_to_start_in_do_not_count() -> None:
    """An hour a night, where a start needs two."""
    policy = maintenance(minRemaining="2h", tenantLimits={"minOpenPer32Days": "8h"})
    hold = availability(calendar_of(policy, windows=[NIGHTLY, SATURDAYS]), utc(NOW)).hold
    assert hold is None or hold.reason is not WaitReason.INVALID_WINDOWS
    hold = availability(calendar_of(policy, windows=[NIGHTLY]), utc(NOW)).hold
    assert hold is not None
    assert "open for 0s" in hold.message


def test_the_platforms_freezes_never_count_against_a_tenant() -> None:
    """Nor do its default windows, and a policy with limits is no problem in itself."""
    policy = maintenance(
        freezes=[yearly("01-01", "05-30")], defaultWindows=[SATURDAYS], tenantLimits={"maxFreezeDaysPerYear": 0, "minOpenPer32Days": "9h"}
    )
    assert policy_problems(policy, utc(NOW)) == ()
    hold = availability(compile_calendar(policy, None), utc(NOW)).hold
    assert hold is not None
    assert hold.reason is WaitReason.OUTSIDE_WINDOW


def test_a_breach_ends_with_force_time_and_with_an_override_of_both_factors() -> None:
    """As every fault of a profile does."""
    calendar = calendar_of(maintenance(tenantLimits={"maxFreezeDaysPerYear": 1}), freezes=[yearly("06-01", "06-30")])
    force = utc("2026-06-10T00:00Z")
    start = planned_start(calendar, Terms(force_time=force), utc(NOW))
    assert start.hold is not None
    assert start.hold.reason is WaitReason.INVALID_WINDOWS
    assert start.start_time == force
    for lifts, is_open in (((Lift.TENANT_FREEZES,), False), ((Lift.TENANT_FREEZES, Lift.TENANT_WINDOWS), True)):
        override = Override("rush", "run", frozenset(lifts), utc("2026-06-02T00:00Z"))
        assert (planned_start(calendar, Terms(overrides=(override,)), utc(NOW)).hold is None) is is_open


def test_a_breach_begins_and_ends_with_a_year_and_the_answer_says_when() -> None:
    """In 2026 the freezes of 2028 are not looked at, in 2027 they are."""
    calendar = calendar_of(maintenance(tenantLimits={"maxFreezeDaysPerYear": 9}), freezes=[dates("2028-05-01", "2028-05-10")])
    new_year = utc("2027-01-01T00:00Z")
    before = planned_start(calendar, Terms(), new_year - timedelta(hours=1))
    assert before.hold is None
    assert before.wake_time == new_year
    assert availability(calendar, new_year - timedelta(hours=1)).valid_until_time == new_year
    after = planned_start(calendar, Terms(), new_year)
    assert after.hold is not None
    assert after.hold.reason is WaitReason.INVALID_WINDOWS
