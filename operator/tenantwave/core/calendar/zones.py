"""Time zones by their IANA names, and what a local wall clock means on the two days of the year on which it jumps.

Only names of the database count, never offsets: "UTC+1" moves twice a year for the people who wrote it. Names without a slash (EST,
PST8PDT) and `Etc/GMT+5` (which means UTC-5) are refused because they say something else than they seem to.
"""

from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta, tzinfo
from difflib import get_close_matches
from functools import lru_cache
from zoneinfo import ZoneInfo, available_timezones

DAY = timedelta(days=1)
_NONE = timedelta()
_MIDNIGHT, _MIDNIGHT_AGAIN = time(fold=0), time(fold=1)


@dataclass(frozen=True, slots=True)
class Zone:
    """A time zone that was found in the database. `name` is as people wrote it (a link keeps its own name)."""

    name: str
    info: tzinfo


class UnknownZoneError(ValueError):
    """A text that is no acceptable zone name. The message says what is near it."""


@lru_cache(maxsize=1)
def accepted_names() -> frozenset[str]:
    """All names that may be used: UTC, and every Area/City name, links included. Read once per process from the time zone database."""
    return frozenset(name for name in available_timezones() if name == "UTC" or ("/" in name and not name.startswith("Etc/GMT")))


@lru_cache(maxsize=1024)
def zone_named(name: str) -> Zone:
    """Return the zone of that exact name.

    Raises: UnknownZoneError if the name is not in the database, is an offset or an abbreviation, or if the database is missing altogether.
    """
    if name not in accepted_names():
        raise UnknownZoneError(name)
    return Zone(name, ZoneInfo(name))


@lru_cache(maxsize=1024)
def nearest_name(name: str) -> str:
    """Return the accepted name that looks most like this text, as a whole or by its city, as an example. Some ten milliseconds."""
    names = sorted(accepted_names())
    by_lower = {accepted.rpartition("/")[2].lower(): accepted for accepted in names} | {accepted.lower(): accepted for accepted in names}
    near = get_close_matches(name.strip().lower()[:64], by_lower, n=1, cutoff=0.6)
    return by_lower[near[0]] if near else "Europe/Berlin"


def instant_of(day: date, clock_time: time, zone: Zone) -> datetime:
    """Return the UTC instant of a local date and time.

    A time that the clock skips means the same distance after the gap (02:30 becomes 03:30); one that comes twice means the first reading.
    Source: RFC 5545, section 3.3.5; it is what `fold=0` does.
    """
    asked = datetime.combine(day, clock_time if clock_time.fold == 0 else clock_time.replace(fold=0), tzinfo=UTC)
    return asked - (zone.info.utcoffset(asked) or _NONE)  # a zone reads the clock's digits, not whose they are: a third of `astimezone`


def earliest_midnight(day: date, zone: Zone) -> datetime:
    """Return the earlier reading of 00:00 on a day, in UTC. Midnight itself is skipped or repeated in Cairo, Havana and Santiago."""
    return datetime.combine(day, _MIDNIGHT, tzinfo=UTC) - max(_midnight_offsets(day, zone))


def latest_midnight(day: date, zone: Zone) -> datetime:
    """Return the later reading of 00:00 on a day, in UTC."""
    return datetime.combine(day, _MIDNIGHT, tzinfo=UTC) - min(_midnight_offsets(day, zone))


def _midnight_offsets(day: date, zone: Zone) -> tuple[timedelta, timedelta]:
    first = zone.info.utcoffset(datetime.combine(day, _MIDNIGHT, tzinfo=UTC))
    second = zone.info.utcoffset(datetime.combine(day, _MIDNIGHT_AGAIN, tzinfo=UTC))
    return first or _NONE, second or _NONE


def local_text(instant: datetime, zone: Zone, *, weekday: bool = False) -> str:
    """Write an instant for people: local time with its zone, then UTC, as in `2026-12-06 02:00 Europe/Berlin (2026-12-06T01:00:00Z)`."""
    local = instant.astimezone(zone.info)
    day = f"{local:%a} " if weekday else ""
    return f"{day}{local:%Y-%m-%d %H:%M} {zone.name} ({utc_text(instant)})"


def utc_text(instant: datetime) -> str:
    """Write an instant as the API does: UTC, whole seconds, `Z`."""
    return f"{instant.astimezone(UTC):%Y-%m-%dT%H:%M:%SZ}"


def utc_date_or_time(instant: datetime) -> str:
    """Write an instant of people's choice in short: the date alone where it is midnight, UTC."""
    text = utc_text(instant)
    return text.removesuffix("T00:00:00Z")
