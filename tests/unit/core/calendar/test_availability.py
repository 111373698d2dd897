"""What a calendar answers at one instant: open or why not, in words, what comes next, and until when that holds."""

from datetime import UTC, datetime, timedelta

import pytest

from tenantwave.api.conditions import WaitReason
from tenantwave.core.calendar import Calendar, availability, unreadable_profile
from tenantwave.core.calendar.intervals import FOREVER
from unit.core.calendar.manifests import MINUTE, Block, calendar_of, dates, maintenance, monthly, once, utc, weekly, yearly

ACME: tuple[Block, ...] = (
    weekly("Sat", "23:00", "5h", "weekend", everyWeeks=2, anchorDate="2026-01-03"),
    monthly("Last", "Sun", "01:00", "4h", "month-end"),
    once("2026-12-06T03:00:00Z", "2h", "special"),
)
QUARTER = {"minRemaining": "15m"}
YEAR_END = yearly("12-01", "02-29", "year-end")
TAX_SEASON = yearly("03-15", "04-20", "tax-season")
ROME_MORNINGS = {"timeZone": "Europe/Rome", "weekly": [{"days": ["Mon", "Tue", "Wed", "Thu"], "start": "08:00", "duration": "9h"}]}


def acme(freezes: tuple[Block, ...] = (), platform_freezes: tuple[Block, ...] = ()) -> Calendar:
    """The tenant of the examples, in New York, under a policy that wants 15 minutes left."""
    return calendar_of(maintenance(**QUARTER, freezes=platform_freezes), timeZone="America/New_York", windows=ACME, freezes=freezes)


@pytest.mark.parametrize(
    ("calendar", "now", "expected"),
    [
        pytest.param(acme(), "2026-11-23T00:00Z", ["2026-11-29T06:00Z"], id="month-end-comes-first"),
        pytest.param(acme(), "2026-12-20T00:00Z", ["2026-12-20T04:00Z"], id="every-other-saturday"),
        pytest.param(acme(), "2026-12-23T00:00Z", ["2026-12-27T06:00Z"], id="last-sunday-of-december"),
        pytest.param(acme((dates("2026-12-01", "2027-01-31"),)), "2026-12-01T05:00Z", ["2027-02-14T04:00Z"], id="own-freeze"),
        pytest.param(
            acme((TAX_SEASON,), (YEAR_END,)),
            "2026-12-01T05:00Z",
            ["2027-03-14T04:00Z", "2027-04-25T03:00Z"],
            id="platform-freeze-then-own-freeze",
        ),
    ],
)
def test_the_next_openings_of_acme(calendar: Calendar, now: str, expected: list[str]) -> None:
    """The tenant of the design's examples, with its three windows."""
    answer = availability(calendar, utc(now))
    assert not answer.open
    assert [opening.start_time for opening in answer.upcoming][: len(expected)] == [utc(text) for text in expected]
    assert answer.next_open_time == utc(expected[0])


def test_overlapping_windows_make_one_opening_that_names_both() -> None:
    """Sat 23:00 5h and Sun 01:00 4h, on 2027-04-25: six hours, of two windows."""
    answer = availability(acme((TAX_SEASON,), (YEAR_END,)), utc("2027-04-20T00:00Z"))
    opening = answer.upcoming[0]
    assert (opening.start_time, opening.end_time) == (utc("2027-04-25T03:00Z"), utc("2027-04-25T09:00Z"))
    assert opening.windows == ("month-end", "weekend")


NIGHT = weekly("Mon", "22:00", "6h", "night")
OUT_OF_STEP = calendar_of(maintenance(staffedHours=ROME_MORNINGS), timeZone="Europe/Rome", windows=[weekly("Sat", "00:00", "3d", "long")])


@pytest.mark.parametrize(
    ("calendar", "now", "reason", "message"),
    [
        pytest.param(
            calendar_of(timeZone="Europa/Berlin"),
            "2026-06-01T00:00Z",
            WaitReason.UNKNOWN_TIME_ZONE,
            'closed: "Europa/Berlin" is no IANA time zone; correct spec.timeZone, for example Europe/Berlin',
            id="unknown-zone",
        ),
        pytest.param(
            acme((), (YEAR_END,)),
            "2026-12-24T12:00Z",
            WaitReason.PLATFORM_FREEZE,
            'platform freeze "year-end" until 2027-03-01 00:00 America/New_York (2027-03-01T05:00:00Z); '
            "opens 2027-03-13 23:00 America/New_York (2027-03-14T04:00:00Z)",
            id="platform-freeze",
        ),
        pytest.param(
            acme((TAX_SEASON,)),
            "2027-04-01T00:00Z",
            WaitReason.TENANT_FREEZE,
            'your freeze "tax-season" until 2027-04-21 00:00 America/New_York (2027-04-21T04:00:00Z); '
            "opens 2027-04-24 23:00 America/New_York (2027-04-25T03:00:00Z)",
            id="tenant-freeze",
        ),
        pytest.param(
            acme((dates("2026-12-01", "2026-12-31", "ours"),), (YEAR_END,)),
            "2026-12-24T12:00Z",
            WaitReason.PLATFORM_FREEZE,
            'platform freeze "year-end" until 2027-03-01 00:00 America/New_York (2027-03-01T05:00:00Z); '
            "opens 2027-03-13 23:00 America/New_York (2027-03-14T04:00:00Z)",
            id="the-platforms-freeze-before-the-tenants",
        ),
        pytest.param(
            acme(),
            "2027-03-01T06:00Z",
            WaitReason.OUTSIDE_WINDOW,
            'window "weekend" opens 2027-03-13 23:00 America/New_York (2027-03-14T04:00:00Z)',
            id="outside-window",
        ),
        pytest.param(
            calendar_of(maintenance(defaultWindows=[NIGHT])),
            "2026-06-01T12:00Z",
            WaitReason.OUTSIDE_WINDOW,
            'default window "night" opens 2026-06-01 22:00 UTC (2026-06-01T22:00:00Z)',
            id="outside-the-platforms-default-window",
        ),
        pytest.param(
            calendar_of(maintenance(whenNoWindow="Closed")),
            "2026-06-01T12:00Z",
            WaitReason.OUTSIDE_WINDOW,
            "no windows, policy says Closed; add spec.windows to the TenantProfile, or ask the platform team",
            id="no-windows-and-closed",
        ),
        pytest.param(
            OUT_OF_STEP,
            "2026-06-07T12:00Z",
            WaitReason.NOT_STAFFED,
            "window open, no staff until Mon 2026-06-08 08:00 Europe/Rome (2026-06-08T06:00:00Z); "
            "opens 2026-06-08 08:00 Europe/Rome (2026-06-08T06:00:00Z)",
            id="not-staffed",
        ),
        pytest.param(
            calendar_of(maintenance(**QUARTER), timeZone="Europe/Berlin", windows=[NIGHT], freezes=[YEAR_END]),
            "2026-11-30T22:46Z",
            WaitReason.TOO_LITTLE_TIME_LEFT,
            'window "night" closes 2026-12-01 00:00 Europe/Berlin (2026-11-30T23:00:00Z), 15m are needed; '
            "opens 2027-03-01 22:00 Europe/Berlin (2027-03-01T21:00:00Z)",
            id="a-freeze-cuts-the-window-short",
        ),
        pytest.param(
            calendar_of(maintenance(**QUARTER), freezes=[dates("2026-06-02", "2026-06-02", "audit")]),
            "2026-06-01T23:50Z",
            WaitReason.TOO_LITTLE_TIME_LEFT,
            "the time without a freeze closes 2026-06-02 00:00 UTC (2026-06-02T00:00:00Z), 15m are needed; "
            "opens 2026-06-03 00:00 UTC (2026-06-03T00:00:00Z)",
            id="a-freeze-is-near",
        ),
        pytest.param(
            calendar_of(windows=[once("2026-05-01T00:00:00Z", "2h", "special")]),
            "2026-06-01T00:00Z",
            WaitReason.INVALID_WINDOWS,
            'closed: window "special" never opens in 400 days; correct it',
            id="the-only-window-is-past",
        ),
        pytest.param(
            calendar_of(maintenance(**QUARTER), windows=[weekly("Mon", "00:00", "10m", "short")]),
            "2026-06-01T00:00Z",
            WaitReason.INVALID_WINDOWS,
            'closed: window "short" never stays open for the 15m that a start needs; make it longer',
            id="a-window-shorter-than-needed",
        ),
        pytest.param(
            calendar_of(maintenance(staffedHours=ROME_MORNINGS), timeZone="Europe/Rome", windows=[weekly("Sun", "03:00", "2h", "weekend")]),
            "2026-06-01T00:00Z",
            WaitReason.INVALID_WINDOWS,
            'closed: window "weekend" and the platform\'s staffedHours never meet in 400 days; change the window or ask the platform team',
            id="window-and-staff-never-meet",
        ),
        pytest.param(
            calendar_of(windows=[weekly("Sun", "03:00", "2h", "weekend")], freezes=[yearly("01-01", "12-31")]),
            "2026-06-01T00:00Z",
            WaitReason.INVALID_WINDOWS,
            'closed: window "weekend" and your freezes leave no time to start in 400 days; shorten the freezes or add a window',
            id="frozen-for-ever-by-the-tenant",
        ),
        pytest.param(
            calendar_of(maintenance(freezes=[dates("2026-01-01", "9999-12-31")])),
            "2026-06-01T00:00Z",
            WaitReason.INVALID_WINDOWS,
            "closed: the policy's open time and the platform's freezes leave no time to start in 400 days; ask the platform team",
            id="frozen-for-ever-by-the-platform",
        ),
        pytest.param(
            unreadable_profile("spec.windows.0.weekly.days: Input should be 'Mon'\n", maintenance()),
            "2026-06-01T00:00Z",
            WaitReason.INVALID_WINDOWS,
            "closed: the TenantProfile cannot be read; correct its spec: spec.windows.0.weekly.days: Input should be 'Mon'?",
            id="a-profile-that-cannot-be-read",
        ),
    ],
)
def test_a_closed_calendar_says_why(calendar: Calendar, now: str, reason: WaitReason, message: str) -> None:
    """Reason, entry, owner, and the next opening, local time first."""
    answer = availability(calendar, utc(now))
    assert not answer.open
    assert answer.hold is not None
    assert answer.hold.message == message
    assert answer.hold.reason is reason
    assert len(message) <= 256
    assert answer.opening_end_time is None


def test_an_open_window() -> None:
    """While open: its end, the start of the next, and nothing to wait for."""
    answer = availability(acme(), utc("2026-11-29T07:00Z"))
    assert answer.open
    assert answer.hold is None
    assert answer.opening_end_time == answer.next_close_time == utc("2026-11-29T10:00Z")
    assert answer.next_open_time == utc("2026-12-06T03:00Z")
    assert answer.upcoming[0].windows == ("special", "weekend")
    assert len(answer.upcoming) == 5


def test_a_tenant_without_windows_and_freezes_is_always_open() -> None:
    """There is no end and nothing to come."""
    answer = availability(calendar_of(), utc("2026-11-29T07:00Z"))
    assert answer.open
    assert (answer.opening_end_time, answer.next_open_time, answer.next_close_time, answer.upcoming) == (None, None, None, ())
    assert answer.valid_until_time == utc("2026-11-30T00:00Z")


MONDAY_NIGHT = calendar_of(maintenance(minRemaining="15m"), windows=[weekly("Mon", "22:00", "2h")])


@pytest.mark.parametrize(
    ("now", "skew_seconds", "is_open"),
    [
        pytest.param("2026-06-01T21:59:59Z", 0, False, id="a-second-before"),
        pytest.param("2026-06-01T22:00:00Z", 0, True, id="at-its-start"),
        pytest.param("2026-06-01T23:45:00Z", 0, True, id="just-enough-left"),
        pytest.param("2026-06-01T23:45:01Z", 0, False, id="a-second-too-little-left"),
        pytest.param("2026-06-01T22:00:29Z", 30, False, id="our-clock-may-be-ahead"),
        pytest.param("2026-06-01T22:00:30Z", 30, True, id="certainly-open"),
        pytest.param("2026-06-01T23:44:30Z", 30, True, id="certainly-enough-left"),
        pytest.param("2026-06-01T23:44:31Z", 30, False, id="our-clock-may-be-behind"),
    ],
)
def test_the_time_to_start(now: str, skew_seconds: int, is_open: bool) -> None:
    """Half-open at both ends, shortened by what must be left and by the skew; the times shown are not."""
    answer = availability(MONDAY_NIGHT, utc(now), timedelta(seconds=skew_seconds))
    assert answer.open is is_open
    assert answer.next_close_time is not None
    assert answer.next_close_time.hour == 0


def test_within_the_skew_after_its_start_a_window_still_counts_as_closed() -> None:
    """The reason is that of a moment before, not a lack of time."""
    answer = availability(MONDAY_NIGHT, utc("2026-06-01T22:00:10Z"), timedelta(seconds=30))
    assert answer.hold is not None
    assert answer.hold.reason is WaitReason.OUTSIDE_WINDOW
    assert answer.next_open_time == utc("2026-06-01T22:00Z")
    assert answer.valid_until_time == utc("2026-06-01T22:00:30Z")


def test_walking_from_change_to_change_meets_every_opening() -> None:
    """Asking only at `valid_until_time` sees each opening begin in time, and every step goes forward."""
    calendar = acme((TAX_SEASON,), (YEAR_END,))
    now, end = utc("2027-03-01T00:00Z"), utc("2027-06-01T00:00Z")
    begun: list[datetime] = []
    was_open = False
    for _ in range(200):
        answer = availability(calendar, now)
        if answer.open and not was_open:
            begun.append(now)
        was_open = answer.open
        assert answer.valid_until_time > now
        now = answer.valid_until_time
        if now > end:
            break
    assert now > end
    assert begun == [
        utc(text) for text in ("2027-03-14T04:00Z", "2027-04-25T03:00Z", "2027-05-09T03:00Z", "2027-05-23T03:00Z", "2027-05-30T05:00Z")
    ]


def test_a_naive_now_is_refused() -> None:
    """A local time without its zone would be wrong by hours."""
    with pytest.raises(ValueError, match="aware"):
        availability(calendar_of(), utc("2026-06-01T00:00Z").replace(tzinfo=None))


def test_any_zone_will_do_for_now() -> None:
    """Two names of one instant get one answer."""
    now = utc("2026-06-01T22:30Z")
    assert availability(MONDAY_NIGHT, now) == availability(MONDAY_NIGHT, now.astimezone())


def test_an_answer_never_shows_the_inner_mark_for_no_end() -> None:
    """No end is None."""
    answer = availability(calendar_of(windows=[weekly("daily", "00:00", "25h")]), utc("2026-06-01T22:30Z"))
    assert answer.open
    assert answer.next_close_time is None
    assert FOREVER.astimezone(UTC) - MINUTE > answer.valid_until_time
