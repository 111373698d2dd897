"""Answers that are kept until they run out, so that a minute in which nothing happens costs next to nothing."""

from dataclasses import dataclass
from datetime import datetime, timedelta

from tenantwave.core.calendar.compiled import Calendar
from tenantwave.core.calendar.planned import PlannedStart, Terms, planned_start


@dataclass(frozen=True, slots=True)
class _Kept:
    """An answer, what it was about, and when it was asked for."""

    calendar: Calendar
    terms: Terms
    asked_time: datetime
    answer: PlannedStart

    def holds(self, now: datetime) -> bool:
        """Tell whether it still holds, word for word."""
        return self.asked_time <= now < self.answer.wake_time


MOST = 65536
"""So many tenants' answers are kept before all are forgotten; more than there are tenants in one cluster."""


MOST_SHARED = 4096
"""So many different answers are shared; those of an upgrade that has ended are not kept for ever."""


class KeptStarts:
    """The planned start of each tenant, as long as calendar and terms are the same. About 300 bytes for each tenant.

    Keep each tenant's calendar as one object: another object counts as another calendar. Tenants with equal calendars and terms share
    the answer when the last one has run out.
    """

    def __init__(self, skew: timedelta) -> None:
        self._skew = skew
        self._kept: dict[tuple[str, str], _Kept] = {}
        self._shared: dict[tuple[Calendar, Terms], _Kept] = {}

    def of(self, upgrade: str, tenant: str, calendar: Calendar, terms: Terms, now: datetime) -> PlannedStart:
        """Return the tenant's planned start. Cost: a look into a table, else that of `planned_start`."""
        kept = self._kept.get((upgrade, tenant))
        if kept is not None and kept.calendar is calendar and kept.holds(now) and kept.terms == terms:
            return kept.answer
        shared = self._shared.get((calendar, terms))
        if shared is None or not shared.holds(now):
            if len(self._shared) >= MOST_SHARED:
                self._shared.clear()
            shared = self._shared[calendar, terms] = _Kept(calendar, terms, now, planned_start(calendar, terms, now, self._skew))
        if len(self._kept) >= MOST:
            self._kept.clear()
        self._kept[upgrade, tenant] = _Kept(calendar, terms, shared.asked_time, shared.answer)
        return shared.answer

    def forget(self, upgrade: str) -> None:
        """Drop what is kept of an upgrade that has ended."""
        self._kept = {key: kept for key, kept in self._kept.items() if key[0] != upgrade}
