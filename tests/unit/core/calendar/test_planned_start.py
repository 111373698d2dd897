"""When a tenant starts, with its notice, its choice and what is lifted; and every reason with its sentence. All with tzdata 2026f."""

from datetime import datetime, timedelta
from typing import Any

import pytest

from tenantwave.api.action import Lift
from tenantwave.api.conditions import WaitReason
from tenantwave.api.decision import DecisionType
from tenantwave.api.policy import Consent
from tenantwave.core.calendar import Calendar, Decision, Notice, Override, Rights, Terms, planned_start, rule_on, unreadable_profile
from unit.core.calendar.manifests import Block, calendar_of, dates, maintenance, monthly, once, utc, weekly, yearly

ACME: tuple[Block, ...] = (
    weekly("Sat", "23:00", "5h", "weekend", everyWeeks=2, anchorDate="2026-01-03"),
    monthly("Last", "Sun", "01:00", "4h", "month-end"),
    once("2026-12-06T03:00:00Z", "2h", "special"),
)
YEAR_END = yearly("12-01", "02-29", "year-end")
TAX_SEASON = yearly("03-15", "04-20", "tax-season")
ROME = {"timeZone": "Europe/Rome", "weekly": [{"days": ["Mon", "Tue", "Wed", "Thu"], "start": "08:00", "duration": "9h"}]}
GIVEN = utc("2026-11-16T00:00Z")
WEEK, HOUR = timedelta(days=7), timedelta(hours=1)
ALL_LIFTS = frozenset(Lift)


def acme(*freezes: Block, platform: tuple[Block, ...] = (), **more: Any) -> Calendar:
    """The tenant of the examples."""
    policy = maintenance(minRemaining="15m", freezes=platform, **more)
    return calendar_of(policy, timeZone="America/New_York", windows=ACME, freezes=freezes)


def decided(kind: DecisionType, until: str | None, **rights: Any) -> Terms:
    """The notice has been given, and the tenant has decided."""
    asked = Decision("choice-x7k", kind, GIVEN, utc(until) if until else None)
    bounds = Rights(notice_end_time=GIVEN + WEEK, **rights)
    return Terms(Notice(GIVEN, WEEK), rule_on([asked], bounds).choice, bounds.force_time)


def override(*lifts: Lift, until: str = "2026-11-16T03:00Z") -> Terms:
    """An urgent notice that runs for an hour, and an override."""
    return Terms(Notice(GIVEN, HOUR), overrides=(Override("rush", "run", frozenset(lifts), utc(until)),))


TOLD = Terms(Notice(GIVEN, WEEK))
LONG = dates("2026-12-01", "2027-01-31", "sale")
FORCE = utc("2027-01-10T00:00Z")


@pytest.mark.parametrize(
    ("calendar", "terms", "now", "expected"),
    [
        pytest.param(acme(), TOLD, "2026-11-16T00:00Z", "2026-11-29T06:00Z", id="the-opening-in-the-lead-is-not-used"),
        pytest.param(
            acme(), decided(DecisionType.DEFER, "2026-12-20T00:00Z"), "2026-11-16T00:00Z", "2026-12-20T04:00Z", id="deferred-to-december"
        ),
        pytest.param(
            acme(),
            decided(DecisionType.DEFER, "2027-02-01T00:00Z", deadline_time=utc("2026-12-20T00:00Z")),
            "2026-11-16T00:00Z",
            "2026-12-20T04:00Z",
            id="deferred-to-february-cut-by-the-deadline",
        ),
        pytest.param(
            acme(),
            decided(DecisionType.OPT_OUT, None, deadline_time=utc("2026-12-20T00:00Z")),
            "2026-11-16T00:00Z",
            "2026-12-20T04:00Z",
            id="opted-out-until-the-deadline",
        ),
        pytest.param(
            acme(),
            decided(DecisionType.DEFER, "2027-02-01T00:00Z", max_deferral=timedelta(days=30)),
            "2026-11-16T00:00Z",
            "2026-12-27T06:00Z",
            id="deferred-to-february-cut-to-23-december",
        ),
        pytest.param(acme(LONG), TOLD, "2026-12-01T05:00Z", "2027-02-14T04:00Z", id="own-freeze"),
        pytest.param(acme(LONG), Terms(force_time=FORCE), "2026-12-01T05:00Z", "2027-01-10T00:00Z", id="own-freeze-and-force"),
        pytest.param(
            acme(LONG, platform=(YEAR_END,)),
            Terms(force_time=FORCE),
            "2026-12-01T05:00Z",
            "2027-03-01T05:00Z",
            id="force-does-not-lift-the-platforms-freeze",
        ),
        pytest.param(acme(TAX_SEASON, platform=(YEAR_END,)), TOLD, "2026-12-01T05:00Z", "2027-03-14T04:00Z", id="between-two-freezes"),
        pytest.param(acme(TAX_SEASON, platform=(YEAR_END,)), TOLD, "2027-03-14T09:00Z", "2027-04-25T03:00Z", id="after-both-freezes"),
        pytest.param(acme(), Terms(Notice(GIVEN, HOUR)), "2026-11-16T00:00Z", "2026-11-22T04:00Z", id="security"),
        pytest.param(
            acme(), override(Lift.TENANT_WINDOWS), "2026-11-16T02:00Z", "2026-11-16T02:00Z", id="security-and-an-override-of-windows"
        ),
    ],
)
def test_when_acme_starts(calendar: Calendar, terms: Terms, now: str, expected: str) -> None:
    """The examples of the design, row by row."""
    assert planned_start(calendar, terms, utc(now)).start_time == utc(expected)


def test_two_windows_that_overlap_are_one_opening_to_its_end() -> None:
    """2027-04-25: 03:00Z to 09:00Z."""
    start = planned_start(acme(TAX_SEASON, platform=(YEAR_END,)), TOLD, utc("2027-03-14T09:00Z"))
    assert start.opening_end_time == utc("2027-04-25T09:00Z")


def test_blocked_past_its_force_time_by_the_platform() -> None:
    """The reason is the platform's."""
    start = planned_start(acme(LONG, platform=(YEAR_END,)), Terms(force_time=FORCE), utc("2027-01-11T00:00Z"))
    assert start.hold is not None
    assert start.hold.reason is WaitReason.PLATFORM_FREEZE
    assert start.hold.message == (
        'platform freeze "year-end" until 2027-03-01 00:00 America/New_York (2027-03-01T05:00:00Z); '
        "opens 2027-03-01 00:00 America/New_York (2027-03-01T05:00:00Z)"
    )


BERLIN_NIGHT = weekly("Mon", "22:00", "6h", "night")


@pytest.mark.parametrize(
    ("calendar", "terms", "now", "reason", "message"),
    [
        pytest.param(
            calendar_of(maintenance(), timeZone="Europa/Berlin"), TOLD, "2026-06-01T00:00Z", WaitReason.UNKNOWN_TIME_ZONE,
            'closed: "Europa/Berlin" is no IANA time zone; correct spec.timeZone, for example Europe/Berlin',
            id="01-unknown-time-zone",
        ),
        pytest.param(
            calendar_of(maintenance(staffedHours=ROME), timeZone="Europe/Rome", windows=[weekly("Sun", "03:00", "2h", "weekend")]),
            decided(DecisionType.OPT_OUT, "2026-12-20T00:00Z"), "2026-11-17T00:00Z", WaitReason.INVALID_WINDOWS,
            'closed: window "weekend" and the platform\'s staffedHours never meet in 400 days; change the window or ask the platform team',
            id="02-invalid-windows-come-before-decisions",
        ),
        pytest.param(
            acme(), decided(DecisionType.OPT_OUT, "2026-12-20T00:00Z"), "2026-11-17T00:00Z", WaitReason.OPTED_OUT,
            "opted out by choice-x7k; counts until 2026-12-20T00:00:00Z", id="03-opted-out",
        ),
        pytest.param(
            acme(), Terms(Notice(GIVEN, WEEK), rule_on([], Rights(Consent.OPT_IN, deadline_time=utc("2026-12-20T00:00Z"))).choice),
            "2026-11-17T00:00Z", WaitReason.AWAITING_CONSENT,
            "waits for your consent (TenantDecision OptIn); starts without it after 2026-12-20T00:00:00Z", id="04-awaiting-consent",
        ),
        pytest.param(
            acme(), decided(DecisionType.DEFER, "2027-02-01T00:00Z", deadline_time=utc("2026-12-20T00:00Z")), "2026-11-17T00:00Z",
            WaitReason.DEFERRED, "deferred by choice-x7k until 2026-12-20T00:00:00Z (asked: 2027-02-01; limit: deadlineTime)",
            id="05-deferred-comes-before-the-notice",
        ),
        pytest.param(
            acme(platform=(dates("2026-11-10", "2026-11-20"),)), TOLD, "2026-11-17T00:00Z", WaitReason.NOTICE_PERIOD,
            "notice given 2026-11-16T00:00:00Z; nothing starts before 2026-11-23T00:00:00Z", id="06-notice-comes-before-freezes",
        ),
        pytest.param(
            acme(), Terms(Notice(None, WEEK, "acme")), "2026-11-17T00:00Z", WaitReason.NOTICE_PERIOD,
            "notice not delivered yet (route acme)", id="06-notice-not-delivered",
        ),
        pytest.param(
            acme(TAX_SEASON, dates("2027-01-01", "2027-04-01"), platform=(YEAR_END,)), TOLD, "2027-02-01T00:00Z", WaitReason.PLATFORM_FREEZE,
            'platform freeze "year-end" until 2027-03-01 00:00 America/New_York (2027-03-01T05:00:00Z); '
            "opens 2027-04-24 23:00 America/New_York (2027-04-25T03:00:00Z)",
            id="07-platform-freeze-comes-before-the-tenants",
        ),
        pytest.param(
            acme(TAX_SEASON), TOLD, "2027-03-20T00:00Z", WaitReason.TENANT_FREEZE,
            'your freeze "tax-season" until 2027-04-21 00:00 America/New_York (2027-04-21T04:00:00Z); '
            "opens 2027-04-24 23:00 America/New_York (2027-04-25T03:00:00Z)",
            id="08-tenant-freeze",
        ),
        pytest.param(
            acme(), TOLD, "2027-03-10T00:00Z", WaitReason.OUTSIDE_WINDOW,
            'window "weekend" opens 2027-03-13 23:00 America/New_York (2027-03-14T04:00:00Z)', id="09-outside-window",
        ),
        pytest.param(
            calendar_of(maintenance(whenNoWindow="Closed")), TOLD, "2027-03-10T00:00Z", WaitReason.OUTSIDE_WINDOW,
            "no windows, policy says Closed; add spec.windows to the TenantProfile, or ask the platform team", id="09-no-windows",
        ),
        pytest.param(
            acme(LONG), Terms(force_time=utc("2027-02-10T00:00Z")), "2027-02-05T00:00Z", WaitReason.OUTSIDE_WINDOW,
            "forceTime opens 2027-02-09 19:00 America/New_York (2027-02-10T00:00:00Z)", id="09-force-time-comes-next",
        ),
        pytest.param(
            calendar_of(maintenance(staffedHours=ROME), timeZone="Europe/Rome", windows=[weekly("Sat", "00:00", "3d", "long")]),
            Terms(), "2026-06-06T00:00Z", WaitReason.NOT_STAFFED,
            "window open, no staff until Mon 2026-06-08 08:00 Europe/Rome (2026-06-08T06:00:00Z); "
            "opens 2026-06-08 08:00 Europe/Rome (2026-06-08T06:00:00Z)",
            id="10-not-staffed",
        ),
        pytest.param(
            calendar_of(maintenance(minRemaining="15m"), timeZone="Europe/Berlin", windows=[BERLIN_NIGHT], freezes=[YEAR_END]),
            Terms(clock_is_right=False), "2026-11-30T22:46Z", WaitReason.TOO_LITTLE_TIME_LEFT,
            'window "night" closes 2026-12-01 00:00 Europe/Berlin (2026-11-30T23:00:00Z), 15m are needed; '
            "opens 2027-03-01 22:00 Europe/Berlin (2027-03-01T21:00:00Z)",
            id="11-too-little-time-left",
        ),
        pytest.param(
            acme(), Terms(clock_is_right=False), "2026-11-29T07:00Z", WaitReason.CLOCK_SKEW,
            "the operator's clock and the API server's are over 60 s apart; the platform team sets the node's clock right", id="12-clock-skew",
        ),
    ],
)  # fmt: skip
def test_the_first_reason_is_the_one_that_people_see(calendar: Calendar, terms: Terms, now: str, reason: WaitReason, message: str) -> None:
    """In the order of precedence, with its sentence."""
    start = planned_start(calendar, terms, utc(now))
    assert start.hold is not None
    assert start.hold.message == message
    assert start.hold.reason is reason
    assert len(message) <= 256
    assert start.wake_time > utc(now)


def test_who_may_start_is_told_until_when() -> None:
    """Nothing holds, and the end of the opening is there to be stored."""
    now = utc("2026-11-29T07:00Z")
    start = planned_start(acme(), TOLD, now)
    assert start.hold is None
    assert start.start_time == now
    assert start.opening_end_time == utc("2026-11-29T10:00Z")
    assert start.wake_time == utc("2026-11-29T09:45:00.000001Z")  # 15 minutes are enough, a microsecond less is not


def test_within_the_skew_after_an_opening_nobody_starts() -> None:
    """The date that people see stays the opening's own."""
    skew = timedelta(seconds=30)
    start = planned_start(acme(), TOLD, utc("2026-11-29T06:00:10Z"), skew)
    assert start.hold is not None
    assert start.start_time == utc("2026-11-29T06:00Z")
    assert start.wake_time == utc("2026-11-29T06:00:30Z")
    assert planned_start(acme(), TOLD, start.wake_time, skew).hold is None


def test_opted_out_without_an_end_is_skipped() -> None:
    """There is nothing to wait for."""
    start = planned_start(acme(), decided(DecisionType.OPT_OUT, None), utc("2026-11-17T00:00Z"))
    assert start.skip
    assert start.start_time is None
    assert start.hold is not None
    assert start.hold.message == "opted out by choice-x7k; this upgrade passes the tenant by"
    broken = calendar_of(timeZone="Mars/Phobos")
    assert planned_start(broken, decided(DecisionType.OPT_OUT, None), utc("2026-11-17T00:00Z")).skip


@pytest.mark.parametrize("delivered", [True, False])
def test_an_override_lifts_the_waiting_but_never_the_notice(delivered: bool) -> None:
    """Everything is lifted; the message is sent first."""
    now = utc("2026-11-16T00:10Z")
    terms = Terms(
        Notice(GIVEN if delivered else None, WEEK),
        overrides=(Override("rush", "run", ALL_LIFTS, utc("2026-11-16T03:00Z")),),
    )
    start = planned_start(acme(LONG, platform=(YEAR_END,), staffedHours=ROME), terms, now)
    assert (start.hold is None) is delivered


def test_an_override_bounds_starts_and_is_no_window_end() -> None:
    """The opening goes on after it, and `minRemaining` is no matter of its end."""
    start = planned_start(acme(), override(Lift.TENANT_WINDOWS, until="2026-11-16T02:01Z"), utc("2026-11-16T02:00Z"))
    assert start.hold is None
    assert start.opening_end_time is None
    assert start.wake_time == utc("2026-11-16T02:01Z")


def test_after_an_override_the_calendar_is_what_it_was() -> None:
    """It ends, and nothing is left of it."""
    terms = override(Lift.TENANT_WINDOWS)
    now = utc("2026-11-16T03:00Z")
    assert planned_start(acme(), terms, now) == planned_start(acme(), Terms(Notice(GIVEN, HOUR)), now)


def test_an_override_lifts_what_it_names_and_nothing_else() -> None:
    """Windows are lifted, the freeze is not; the start is after the override, by the tenant's own window."""
    calendar = acme(dates("2026-11-10", "2026-11-20", "audit"))
    start = planned_start(calendar, override(Lift.TENANT_WINDOWS, Lift.STAFFED_HOURS), utc("2026-11-16T02:00Z"))
    assert start.hold is not None
    assert start.hold.reason is WaitReason.TENANT_FREEZE
    assert start.start_time == utc("2026-11-22T04:00Z")


@pytest.mark.parametrize(
    "broken",
    [
        pytest.param(calendar_of(maintenance(defaultTimeZone="Europe/Berlin"), timeZone="Mars/Phobos"), id="unknown-zone"),
        pytest.param(calendar_of(windows=[weekly("Mon", "00:00", "1h")], freezes=[yearly("01-01", "12-31")]), id="never-opens"),
        pytest.param(unreadable_profile("spec.windows: nonsense", maintenance()), id="cannot-be-read"),
    ],
)
def test_force_time_ends_the_lock_of_an_invalid_profile(broken: Calendar) -> None:
    """Until then it is closed and says why; with one of its two factors lifted it still is."""
    force = utc("2026-12-01T00:00Z")
    start = planned_start(broken, Terms(force_time=force), utc("2026-11-16T00:00Z"))
    assert start.start_time == force
    assert start.hold is not None
    assert start.hold.reason in (WaitReason.UNKNOWN_TIME_ZONE, WaitReason.INVALID_WINDOWS)
    assert planned_start(broken, Terms(force_time=force), force).hold is None
    half = planned_start(broken, override(Lift.TENANT_WINDOWS), utc("2026-11-16T02:00Z"))
    assert half.hold is not None
    both = planned_start(broken, override(Lift.TENANT_WINDOWS, Lift.TENANT_FREEZES), utc("2026-11-16T02:00Z"))
    assert both.hold is None


def test_an_opening_that_is_on_at_force_time_goes_on() -> None:
    """One calendar serves before and after: 15 minutes before `forceTime` there is time enough."""
    calendar = calendar_of(maintenance(minRemaining="2h"), windows=[weekly("Mon", "22:00", "2h", "night")])
    force = utc("2026-06-02T00:00Z")
    assert planned_start(calendar, Terms(), utc("2026-06-01T23:45Z")).hold is not None
    start = planned_start(calendar, Terms(force_time=force), utc("2026-06-01T23:45Z"))
    assert start.hold is None
    assert start.opening_end_time is None


def test_walking_from_wake_to_wake_finds_the_same_plan() -> None:
    """Asked whenever it says, the planned start of acme never moves, and the last wake is the start."""
    terms = decided(DecisionType.DEFER, "2026-12-20T00:00Z")
    now, seen = GIVEN, set[datetime | None]()
    for _ in range(50):
        start = planned_start(acme(), terms, now)
        seen.add(start.start_time)
        if start.hold is None:
            break
        now = start.wake_time
    assert seen == {utc("2026-12-20T04:00Z")}
    assert now == utc("2026-12-20T04:00Z")


def test_a_last_chance_that_passes_unused_is_a_reason_to_ask_again() -> None:
    """Undecided while its only opening goes by, a tenant has windows that never open; the plan says when that is."""
    calendar = calendar_of(windows=[once("2026-11-16T00:00:00Z", "1m")])
    terms = Terms(choice=rule_on([], Rights(Consent.OPT_IN)).choice)
    before = planned_start(calendar, terms, GIVEN)
    assert before.hold is not None
    assert before.hold.reason is WaitReason.AWAITING_CONSENT
    assert before.wake_time == GIVEN + timedelta(minutes=1)
    after = planned_start(calendar, terms, before.wake_time)
    assert after.hold is not None
    assert after.hold.reason is WaitReason.INVALID_WINDOWS


def test_a_naive_now_is_refused() -> None:
    """A local time without its zone would be wrong by hours."""
    with pytest.raises(ValueError, match="aware"):
        planned_start(acme(), TOLD, GIVEN.replace(tzinfo=None))
