"""Which names of time zones count, and what a wall clock means where it jumps."""

from datetime import date, time

import pytest

from tenantwave.api.conditions import WaitReason
from tenantwave.core.calendar import availability
from tenantwave.core.calendar.zones import (
    UnknownZoneError,
    accepted_names,
    earliest_midnight,
    instant_of,
    latest_midnight,
    local_text,
    nearest_name,
    zone_named,
)
from unit.core.calendar.manifests import calendar_of, utc


@pytest.mark.parametrize("name", ["UTC", "Etc/UTC", "Europe/Berlin", "US/Eastern", "America/Argentina/Buenos_Aires", "Pacific/Kiritimati"])
def test_names_of_the_database_are_accepted(name: str) -> None:
    """Links, too; a zone keeps the name it was asked by."""
    assert zone_named(name).name == name


@pytest.mark.parametrize(
    "name",
    ["", "EST", "PST", "PST8PDT", "UTC+1", "+01:00", "Factory", "localtime", "Etc/GMT+5", "Etc/GMT0", "europe/berlin",
     " Europe/Berlin", "Europe/Berlin ", "../../etc/passwd", "/etc/localtime", "Europe/", "posix/Europe/Berlin",
     "Europe/Berlin\n", "Europe/Ber\x00lin"],
)  # fmt: skip
def test_everything_else_is_refused(name: str) -> None:
    """Offsets, abbreviations, other cases, paths."""
    with pytest.raises(UnknownZoneError):
        zone_named(name)


@pytest.mark.parametrize("name", ["EST", "UTC+1", "Etc/GMT+5", "europe/berlin"])
def test_a_refused_zone_closes_the_tenant(name: str) -> None:
    """Never UTC instead, never open."""
    answer = availability(calendar_of(timeZone=name), utc("2026-06-01T00:00Z"))
    assert answer.hold is not None
    assert answer.hold.reason is WaitReason.UNKNOWN_TIME_ZONE


@pytest.mark.parametrize(
    ("name", "nearest"),
    [
        ("Europa/Berlin", "Europe/Berlin"),
        ("europe/berlin", "Europe/Berlin"),
        ("Berlin", "Europe/Berlin"),
        ("New York", "America/New_York"),
        ("UTC+1", "UTC"),
        ("日本", "Europe/Berlin"),
    ],
)
def test_the_mend_names_a_zone_that_is_near(name: str, nearest: str) -> None:
    """By its whole name or its city; else just an example."""
    assert nearest_name(name) == nearest


@pytest.mark.parametrize("name", ["Africa/Cairo", "America/Havana", "America/Santiago", "Europe/Berlin"])
def test_the_readings_of_midnight_enclose_it(name: str) -> None:
    """On all days of two years; more than one hour apart on none."""
    zone = zone_named(name)
    for ordinal in range(date(2026, 1, 1).toordinal(), date(2028, 1, 1).toordinal()):
        day = date.fromordinal(ordinal)
        assert earliest_midnight(day, zone) <= instant_of(day, time(), zone) <= latest_midnight(day, zone)
        assert (latest_midnight(day, zone) - earliest_midnight(day, zone)).total_seconds() in (0, 3600)


def test_a_time_that_comes_twice_means_its_first_reading_however_it_was_made() -> None:
    """A time of day may carry a mark for the second reading; it does not count."""
    berlin = zone_named("Europe/Berlin")
    assert instant_of(date(2026, 10, 25), time(2, 30, fold=1), berlin) == utc("2026-10-25T00:30Z")


def test_a_message_gives_local_time_then_utc() -> None:
    """With the zone's name, because an abbreviation is ambiguous."""
    shown = local_text(utc("2026-06-08T06:00Z"), zone_named("Europe/Rome"), weekday=True)
    assert shown == "Mon 2026-06-08 08:00 Europe/Rome (2026-06-08T06:00:00Z)"


def test_the_database_is_there() -> None:
    """The pinned package brings some 500 names."""
    assert len(accepted_names()) > 400
