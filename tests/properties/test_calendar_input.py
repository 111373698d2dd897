"""Whatever is stored gives an answer, soon; what is invalid is never open; ten thousand questions take no second."""

from datetime import UTC, date, datetime, timedelta
from time import process_time
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from properties.calendar_strategies import weekly_windows
from tenantwave.api.conditions import WaitReason
from tenantwave.api.policy import Maintenance
from tenantwave.api.profile import TenantProfileSpec
from tenantwave.api.windows import DateRange, Freeze, Once, Window
from tenantwave.core.calendar import Availability, availability, compile_calendar, policy_problems, unreadable_profile
from tenantwave.core.calendar.zones import accepted_names, nearest_name
from unit.core.calendar.manifests import dates, maintenance, monthly, utc, weekly, yearly

NOW = utc("2026-06-01T00:00Z")
QUICK_SECONDS = 0.05
json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=10), inner, max_size=4),
    max_leaves=12,
)
spoilt_windows = st.builds(
    lambda window, kind, key, value: {"name": "n", kind: {**next(iter(window.values())), key: value}},
    weekly_windows,
    st.sampled_from(("weekly", "monthly", "once", "cron", "rrule")),
    st.sampled_from(("days", "start", "duration", "everyWeeks", "anchorDate", "interval")),
    json_values | st.sampled_from(("24:00", "25h", "8d", "0s", "2026-02-30", 0, 53, "Mon", ["Mon", "Mon"])),
)


def ask(profile: object) -> Availability:
    """Do what an observer does: read the profile, or close the tenant because it cannot be read."""
    try:
        calendar = compile_calendar(maintenance(), TenantProfileSpec.model_validate(profile))
    except ValidationError as error:
        calendar = unreadable_profile(str(error), maintenance())
    return availability(calendar, NOW)


def warm_up() -> None:
    """Read the time zone database once, as a process does at its start."""
    nearest_name("Europa/Berlin")


@settings(deadline=None)
@given(json_values, st.none() | st.lists(spoilt_windows | json_values, max_size=3), st.none() | st.lists(json_values, max_size=2))
def test_any_json_is_answered_soon_and_never_with_an_exception(zone: Any, windows: Any, freezes: Any) -> None:
    """What cannot be read closes that tenant with a sentence."""
    warm_up()
    spec = {key: value for key, value in {"timeZone": zone, "windows": windows, "freezes": freezes}.items() if value is not None}
    start = process_time()
    answer = ask(spec)
    assert process_time() - start < QUICK_SECONDS
    try:
        TenantProfileSpec.model_validate(spec)
    except ValidationError:
        assert not answer.open
        assert answer.hold is not None
        assert answer.hold.reason is WaitReason.INVALID_WINDOWS
    if answer.hold is not None:
        assert len(answer.hold.message) <= 256
        assert answer.hold.message.isprintable()


@settings(deadline=None)
@given(st.from_regex(r"[A-Za-z][A-Za-z0-9_+/-]{0,63}", fullmatch=True) | st.sampled_from(sorted(accepted_names())).map(str.swapcase))
def test_any_text_as_zone_is_known_or_closes_the_tenant(zone: str) -> None:
    """Never read as UTC, never open."""
    warm_up()
    start = process_time()
    answer = ask({"timeZone": zone})
    assert process_time() - start < QUICK_SECONDS
    assert answer.open is (zone in accepted_names())
    if answer.hold is not None:
        assert answer.hold.reason is WaitReason.UNKNOWN_TIME_ZONE


@settings(deadline=None)
@given(st.datetimes(timezones=st.just(UTC)), st.timedeltas(), st.dates(), st.dates())
def test_times_at_the_ends_of_the_calendar_are_answered(start: datetime, duration: timedelta, first: date, last: date) -> None:
    """Years 1 and 9999, negative and endless durations, and ranges the wrong way round, as only a bypassed server could store them."""
    window = Window(name="w", once=Once.model_construct(start=start, duration=duration))
    freeze = Freeze(name="f", dates=DateRange.model_construct(from_=first, to=last))
    for spec in (TenantProfileSpec(windows=(window,)), TenantProfileSpec(freezes=(freeze,))):
        answer = availability(compile_calendar(maintenance(), spec), NOW)
        assert answer.valid_until_time > NOW
    assert isinstance(policy_problems(Maintenance(freezes=(freeze,)), NOW), tuple)


def test_ten_thousand_questions_take_less_than_a_second() -> None:
    """Two windows and three freezes each, three zones, a question at any minute of a year; compiled once."""
    policy = maintenance(minRemaining="15m", freezes=[yearly("12-01", "02-29"), dates("2026-11-23", "2026-11-30")])
    windows = [weekly("Sat", "23:00", "5h", everyWeeks=2, anchorDate="2026-01-03"), monthly("Last", "Sun", "01:00", "4h")]
    own = {"windows": windows, "freezes": [yearly("03-15", "04-20")]}
    specs = [TenantProfileSpec.model_validate({"timeZone": zone, **own}) for zone in ("Europe/Berlin", "America/New_York", "Asia/Tokyo")]
    calendars = [compile_calendar(policy, specs[number % 3]) for number in range(10_000)]
    start = process_time()
    for number, calendar in enumerate(calendars):
        availability(calendar, NOW + timedelta(minutes=number * 7919 % 525_600))
    assert process_time() - start < 2  # a second on a quiet machine, where it takes 0.6; twice that is a fault everywhere


def test_a_search_that_finds_nothing_is_cheap_too() -> None:
    """Sixteen daily windows that staff never meets, in 400 days, with the explanation."""
    windows = [weekly("daily", f"{hour:02}:00", "30m", f"w{hour}") for hour in range(16)]
    staff = {"timeZone": "UTC", "weekly": [{"days": ["Sat"], "start": "20:00", "duration": "1h"}]}
    calendar = compile_calendar(maintenance(staffedHours=staff), TenantProfileSpec.model_validate({"windows": windows}))
    start = process_time()
    answer = availability(calendar, NOW)
    assert process_time() - start < 1
    assert answer.hold is not None
    assert answer.hold.message.startswith('closed: window "w0" and 15 more and the platform')
