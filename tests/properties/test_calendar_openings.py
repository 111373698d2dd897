"""Openings of any calendar in any zone: against a scan minute by minute, and by what must hold whatever the rules are."""

from datetime import UTC, date, datetime, timedelta
from itertools import pairwise
from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from properties.calendar_strategies import MINUTE, Case, cases, instants, minutes_open, named, weekly_windows, zones
from tenantwave.core.calendar import availability
from tenantwave.core.calendar.compiled import compile_calendar
from tenantwave.core.calendar.openings import TICK, open_stretches
from unit.core.calendar.manifests import calendar_of, maintenance

SPAN = 12 * 1440
SECONDS = {"0s": 0, "1m": 60, "15m": 900, "2h": 7200}


@settings(deadline=None)
@given(cases())
def test_openings_are_what_a_scan_minute_by_minute_finds(case: Case) -> None:
    """Sorted, disjoint, in UTC, not touching, and exactly the marked minutes."""
    marks = minutes_open(case, case.now, SPAN)
    found = list(open_stretches(case.calendar(), case.now, case.now + SPAN * MINUTE))
    seen = bytearray(SPAN)
    for one in found:
        assert one.start < one.end
        assert one.start.tzinfo is UTC
        low, high = (one.start - case.now) // MINUTE, min(SPAN, (one.end - case.now) // MINUTE)
        seen[low:high] = b"\x01" * (high - low)
    assert all(before.end < after.start for before, after in pairwise(found))
    assert seen == marks


@settings(deadline=None)
@given(cases(), st.lists(st.integers(0, SPAN // 2), min_size=1, max_size=8))
def test_a_tenant_may_start_exactly_while_enough_open_minutes_follow(case: Case, minutes: list[int]) -> None:
    """At any minute: open means that all of `minRemaining` ahead is open, too; and the end that is shown is the end."""
    calendar = case.calendar()
    marks = minutes_open(case, case.now, SPAN)
    needed = max(1, SECONDS[case.min_remaining] // 60)
    for minute in minutes:
        answer = availability(calendar, case.now + minute * MINUTE)
        assert answer.open is all(marks[minute : minute + needed])
        assert (answer.hold is None) is answer.open
        if answer.open and answer.opening_end_time is not None and answer.opening_end_time < case.now + SPAN * MINUTE:
            end = (answer.opening_end_time - case.now) // MINUTE
            assert all(marks[minute:end])
            assert not marks[end]


@settings(deadline=None)
@given(cases(), st.integers(0, 59))
def test_nothing_opens_before_the_time_that_is_announced(case: Case, seconds: int) -> None:
    """The next opening is startable at its start, and until then every minute is closed."""
    now = case.now + timedelta(seconds=seconds)
    calendar = case.calendar()
    answer = availability(calendar, now)
    if answer.open:
        return
    if answer.next_open_time is None:
        assert not availability(calendar, now + timedelta(days=200)).open
        return
    assert answer.next_open_time > now
    assert availability(calendar, answer.next_open_time).open
    assert not availability(calendar, answer.next_open_time - TICK).open
    for minute in range(0, min(SPAN, (answer.next_open_time - now) // MINUTE), 97):
        assert not availability(calendar, now + minute * MINUTE).open


@settings(deadline=None)
@given(cases(), st.floats(0, 1), st.sampled_from((0, 30)))
def test_an_answer_holds_until_it_says(case: Case, share: float, skew_seconds: int) -> None:
    """Word for word, up to the last microsecond; so whoever keeps it is never wrong."""
    calendar, skew = case.calendar(), timedelta(seconds=skew_seconds)
    answer = availability(calendar, case.now, skew)
    assert answer.valid_until_time > case.now
    span = answer.valid_until_time - TICK - case.now
    for later in (case.now + span * share, case.now + span):
        assert availability(calendar, later, skew) == answer


@settings(deadline=None)
@given(cases(), st.integers(0, SPAN), st.integers(0, 120))
def test_skew_only_takes_away(case: Case, minute: int, skew_seconds: int) -> None:
    """What may start with a clock that may be wrong by `skew`, may start at each true time within it."""
    calendar, now, skew = case.calendar(), case.now + minute * MINUTE, timedelta(seconds=skew_seconds)
    if availability(calendar, now, skew).open:
        assert availability(calendar, now).open
        assert availability(calendar, now - skew).open
        assert availability(calendar, now + skew).open


@settings(deadline=None)
@given(cases(), st.integers(0, SPAN))
def test_less_time_needed_never_closes(case: Case, minute: int) -> None:
    """Monotone in `minRemaining`."""
    now = case.now + minute * MINUTE
    answers = [availability(case.calendar(min_remaining=needed), now).open for needed in ("2h", "15m", "1m", "0s")]
    assert answers == sorted(answers)


@settings(deadline=None)
@given(cases(), st.integers(0, SPAN), st.data())
def test_one_more_freeze_never_opens_and_one_more_window_never_closes(case: Case, minute: int, data: st.DataObject) -> None:
    """Deny always wins; windows are united. (The first own window replaces the defaults, so there is one before.)"""
    now = case.now + minute * MINUTE
    day = data.draw(st.dates(now.date() - timedelta(days=3), now.date() + timedelta(days=3))).isoformat()
    freeze = {"dates": {"from": day, "to": day}}
    is_open = availability(case.calendar(), now).open
    for changed in (case.calendar(freezes=(*case.freezes, freeze)), case.calendar(platform_freezes=(*case.platform_freezes, freeze))):
        assert is_open or not availability(changed, now).open
    if case.windows and is_open:
        more = case.calendar(windows=(*case.windows, data.draw(weekly_windows)))
        assert availability(more, now).open


@settings(deadline=None)
@given(cases(), st.randoms(use_true_random=False), st.integers(0, SPAN))
def test_order_repetition_and_names_of_entries_do_not_matter(case: Case, random: Random, minute: int) -> None:
    """The same entries in another order, or twice, give the same answer; other names change words only."""
    now = case.now + minute * MINUTE
    windows, freezes = named(case.windows), named(case.freezes)
    shuffled, again = [*windows, *windows[:1]], [*freezes, *freezes[:1]]
    random.shuffle(shuffled)
    random.shuffle(again)
    policy = maintenance(whenNoWindow=case.when_no_window)
    answer = availability(calendar_of(policy, timeZone=case.zone, windows=windows, freezes=freezes), now)
    assert availability(calendar_of(policy, timeZone=case.zone, windows=shuffled, freezes=again), now) == answer
    renamed = availability(calendar_of(policy, timeZone=case.zone, windows=named(case.windows, "w"), freezes=named(case.freezes, "f")), now)
    assert (renamed.open, renamed.next_open_time, renamed.next_close_time, renamed.valid_until_time) == (
        answer.open,
        answer.next_open_time,
        answer.next_close_time,
        answer.valid_until_time,
    )


@settings(deadline=None)
@given(cases(), instants, instants)
def test_where_a_search_begins_does_not_matter(case: Case, one: datetime, other: datetime) -> None:
    """After a restart the same openings come, in the same phase."""
    first, second = sorted((one, other))
    second = min(second, first + timedelta(days=300))
    end = second + timedelta(days=100)
    calendar = case.calendar()
    late = [(opening.start, opening.end) for opening in open_stretches(calendar, second, end)]
    early = [(opening.start, opening.end) for opening in open_stretches(calendar, first, end)]
    assert [opening for opening in late if opening[0] > second] == [opening for opening in early if opening[0] > second]


@settings(deadline=None)
@given(cases(), st.sampled_from((("UTC", "Etc/UTC"), ("US/Eastern", "America/New_York"), ("Asia/Calcutta", "Asia/Kolkata"))))
def test_a_link_is_its_target(case: Case, names: tuple[str, str]) -> None:
    """Two names of a zone open at the same instants."""
    after, before = case.now, case.now + timedelta(days=100)
    one, other = ([(opening.start, opening.end) for opening in open_stretches(case.calendar(zone=name), after, before)] for name in names)
    assert one == other


@settings(deadline=None)
@given(cases(), st.sampled_from(("UTC", "Asia/Tokyo", "Asia/Kolkata", "America/Phoenix")), st.integers(-20, 20))
def test_without_clock_changes_a_shift_by_weeks_shifts_the_openings(case: Case, zone: str, periods: int) -> None:
    """Weekly rhythms repeat after their least common number of weeks: 1, 2, 3 and 52 give 156."""
    windows = tuple(window for window in case.windows if "weekly" in window)
    calendar = case.calendar(zone=zone, windows=windows, freezes=(), platform_freezes=(), staff=None)
    shift = timedelta(weeks=156) * (periods % 3)
    after, before = case.now, case.now + timedelta(days=60)
    plain = [(one.start + shift, one.end + shift) for one in open_stretches(calendar, after, before) if one.end < before]
    moved = [(one.start, one.end) for one in open_stretches(calendar, after + shift, before + shift) if one.end < before + shift]
    assert plain == moved


@settings(deadline=None)
@given(zones, instants, st.integers(0, 40))
def test_a_freeze_covers_every_reading_of_its_local_dates(zone: str, now: datetime, days: int) -> None:
    """No instant whose local date is in range is open, and around it at most an hour is lost."""
    first = now.date() + timedelta(days=days)
    last = first + timedelta(days=1)
    calendar = calendar_of(timeZone=zone, freezes=[{"name": "f", "dates": {"from": first.isoformat(), "to": last.isoformat()}}])
    local = calendar.zone.info
    before, after = open_stretches(calendar, now - timedelta(days=3), now + timedelta(days=days + 9))
    assert timedelta(hours=46) <= after.start - before.end <= timedelta(hours=50)
    for minute in range(-120, 4 * 1440, 15):
        instant = datetime.combine(first, datetime.min.time(), tzinfo=UTC) - timedelta(hours=15) + minute * MINUTE
        if first <= instant.astimezone(local).date() <= last:
            assert before.end <= instant < after.start


@pytest.mark.parametrize("year", range(2024, 2034))
def test_a_year_end_freeze_ends_with_february(year: int) -> None:
    """Across New Year, in leap and other years."""
    calendar = calendar_of(freezes=[{"name": "f", "yearly": {"from": "12-01", "to": "02-29"}}])
    autumn = datetime(year, 10, 1, tzinfo=UTC)
    before, after = open_stretches(calendar, autumn, autumn + timedelta(days=200))
    assert before.end == datetime(year, 12, 1, tzinfo=UTC)
    assert after.start == datetime(year + 1, 3, 1, tzinfo=UTC)
    assert (after.start.date() - date(year, 12, 1)).days in (90, 91)


def test_compiling_twice_gives_equal_calendars() -> None:
    """A calendar is a value: what is shared behind it does not show."""
    policy = maintenance(freezes=[{"name": "f", "yearly": {"from": "12-01", "to": "02-29"}}])
    assert compile_calendar(policy, None) == compile_calendar(policy.model_copy(), None)
