"""What a TenantProfile shows of its calendar."""

from tenantwave.api.conditions import DetailReason, WaitReason
from tenantwave.core.calendar import availability, window_status, windows_validity
from unit.core.calendar.manifests import calendar_of, maintenance, utc, weekly, yearly

NIGHTLY = calendar_of(timeZone="Europe/Berlin", windows=[weekly("Tue", "02:00", "3h", "nightly")])


def test_a_closed_window_shows_when_it_opens() -> None:
    """Reason, sentence, the next opening and the four after it, as the manifest has it."""
    shown = window_status(availability(NIGHTLY, utc("2026-06-01T12:00Z"))).document()
    assert shown["open"] is False
    assert shown["reason"] == "OutsideWindow"
    assert shown["message"] == 'window "nightly" opens 2026-06-02 02:00 Europe/Berlin (2026-06-02T00:00:00Z)'
    assert (shown["nextOpenTime"], shown["nextCloseTime"]) == ("2026-06-02T00:00:00Z", "2026-06-02T03:00:00Z")
    assert shown["upcoming"][0] == {"start": "2026-06-02T00:00:00Z", "end": "2026-06-02T03:00:00Z", "windows": ["nightly"]}
    assert len(shown["upcoming"]) == 5


def test_an_open_window_shows_when_it_closes() -> None:
    """No reason; the end of this opening and the start of the next."""
    shown = window_status(availability(NIGHTLY, utc("2026-06-02T01:00Z")))
    assert (shown.open, shown.reason, shown.message) == (True, "", "")
    assert shown.next_close_time == utc("2026-06-02T03:00Z")
    assert shown.next_open_time == utc("2026-06-09T00:00Z")


def test_a_tenant_that_is_always_open_shows_no_times() -> None:
    """Nothing opens and nothing closes."""
    shown = window_status(availability(calendar_of(), utc("2026-06-02T01:00Z")))
    assert shown.document() == {"open": True}


def test_status_does_not_change_between_transitions() -> None:
    """Asked an hour later nothing differs, so nothing is written."""
    early, late = (window_status(availability(NIGHTLY, utc(f"2026-06-01T{hour}:00Z"))) for hour in ("12", "13"))
    assert early == late


def test_the_condition_of_a_usable_and_of_an_unusable_profile() -> None:
    """Being closed for now is no fault; a bad zone or windows that never open are."""
    now = utc("2026-06-01T12:00Z")
    usable = windows_validity(availability(NIGHTLY, now))
    bad_zone = windows_validity(availability(calendar_of(timeZone="EST"), now))
    never = windows_validity(availability(calendar_of(maintenance(), freezes=[yearly("01-01", "12-31")]), now))
    assert (usable.valid, usable.reason) == (True, DetailReason.VALID)
    assert (bad_zone.valid, bad_zone.reason) == (False, WaitReason.UNKNOWN_TIME_ZONE)
    assert (never.valid, never.reason) == (False, WaitReason.INVALID_WINDOWS)
