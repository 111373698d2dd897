"""Answers that are kept until they run out, so that a minute in which nothing happens costs next to nothing."""

from datetime import datetime, timedelta

from tenantwave.core.calendar.compiled import Calendar
from tenantwave.core.calendar.planned import PlannedStart, Terms, planned_start


class KeptStarts:
    """The planned start of each tenant, as long as calendar and terms are the same. About 300 bytes for each tenant.

    Keep each tenant's calendar as one object: another object counts as another calendar.
    """

    def __init__(self, skew: timedelta) -> None:
        self._skew = skew
        self._kept: dict[tuple[str, str], tuple[Calendar, Terms, datetime, PlannedStart]] = {}

    def of(self, upgrade: str, tenant: str, calendar: Calendar, terms: Terms, now: datetime) -> PlannedStart:
        """Return the tenant's planned start. Cost: a look into a table, else that of `planned_start`."""
        kept = self._kept.get((upgrade, tenant))
        if kept is not None and kept[0] is calendar and kept[2] <= now < kept[3].wake_time and kept[1] == terms:
            return kept[3]
        answer = planned_start(calendar, terms, now, self._skew)
        self._kept[upgrade, tenant] = (calendar, terms, now, answer)
        return answer

    def forget(self, upgrade: str) -> None:
        """Drop what is kept of an upgrade that has ended."""
        self._kept = {key: kept for key, kept in self._kept.items() if key[0] != upgrade}
