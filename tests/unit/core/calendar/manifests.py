"""Calendars for tests, written as people write them: the blocks of a manifest, with short forms for the windows that many rows need."""

from datetime import UTC, datetime, timedelta
from typing import Any

from tenantwave.api.policy import Maintenance
from tenantwave.api.profile import TenantProfileSpec
from tenantwave.core.calendar import Calendar, compile_calendar
from tenantwave.core.calendar.openings import open_stretches

Block = dict[str, Any]


def utc(text: str) -> datetime:
    """Read `2026-03-29T01:30Z`."""
    return datetime.fromisoformat(text).astimezone(UTC)


def weekly(days: str, start: str, duration: str, name: str = "weekly", **more: Any) -> Block:
    """A weekly window; `days` as in `Tue Wed Thu`, or `daily`."""
    names = "Mon Tue Wed Thu Fri Sat Sun" if days == "daily" else days
    return {"name": name, "weekly": {"days": names.split(), "start": start, "duration": duration, **more}}


def monthly(week: str, day: str, start: str, duration: str, name: str = "monthly") -> Block:
    """A monthly window."""
    return {"name": name, "monthly": {"week": week, "day": day, "start": start, "duration": duration}}


def once(start: str, duration: str, name: str = "once") -> Block:
    """A window of a single time."""
    return {"name": name, "once": {"start": start, "duration": duration}}


def yearly(first: str, last: str, name: str = "yearly") -> Block:
    """A freeze of every year."""
    return {"name": name, "yearly": {"from": first, "to": last}}


def dates(first: str, last: str, name: str = "dates") -> Block:
    """A freeze of one year."""
    return {"name": name, "dates": {"from": first, "to": last}}


def maintenance(**blocks: Any) -> Maintenance:
    """A policy's maintenance block that asks for no time left, unless the row says otherwise."""
    return Maintenance.model_validate({"whenNoWindow": "Open", "minRemaining": "0s", **blocks})


def calendar_of(policy: Maintenance | None = None, **profile: Any) -> Calendar:
    """A tenant's calendar; keywords are the fields of its TenantProfile's spec."""
    return compile_calendar(policy or maintenance(), TenantProfileSpec.model_validate(profile))


def openings(calendar: Calendar, after: str, before: str) -> list[tuple[datetime, datetime]]:
    """All openings that touch a stretch of time."""
    return [(one.start, one.end) for one in open_stretches(calendar, utc(after), utc(before))]


def times(*texts: str) -> list[tuple[datetime, datetime]]:
    """Read `2026-03-29T01:30Z/2026-03-29T03:30Z`."""
    return [(utc(start), utc(end)) for start, end in (text.split("/") for text in texts)]


MINUTE = timedelta(minutes=1)
