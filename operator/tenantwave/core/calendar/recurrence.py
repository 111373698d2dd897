"""The recurrence kinds, and the stretches of time they stand for.

Every kind steps through local *dates* and turns each into an instant at the end. Adding 24 hours to an instant would drift by an hour on
clock-change days.
"""

import calendar as months
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date, datetime, time, timedelta

from tenantwave.core.calendar.intervals import Part
from tenantwave.core.calendar.zones import DAY, Zone, earliest_midnight, instant_of, latest_midnight

SHORTEST_MONTH = 28
LONGEST_WINDOW = timedelta(days=7)
LAST = -1
"""As `MonthlyRule.week`: the last one of the month, be it the fourth or the fifth."""


@dataclass(frozen=True, slots=True)
class WeeklyRule:
    """Opens on each of these weekdays (Monday is 0) in every n-th week. The anchor fixes which weeks count; it is no first date."""

    weekdays: tuple[int, ...]
    start: time
    duration: timedelta
    every_weeks: int = 1
    anchor_date: date = date(2026, 1, 5)

    def days(self, first: date, last: date) -> Iterator[date]:
        """The local dates from first to last on which it opens, ascending. Weeks run Monday to Sunday."""
        first_number, last_number, step = first.toordinal(), last.toordinal(), 7 * self.every_weeks
        monday = _monday(first_number)
        monday += -(monday - _monday(self.anchor_date.toordinal())) % step
        for week in range(monday, last_number + 1, step):
            for weekday in self.weekdays:
                if first_number <= week + weekday <= last_number:
                    yield date.fromordinal(week + weekday)


@dataclass(frozen=True, slots=True)
class MonthlyRule:
    """Opens on the first to fifth (1 to 5) or last such weekday (Monday is 0) of each month; a month without a fifth one has no opening."""

    week: int
    weekday: int
    start: time
    duration: timedelta

    def days(self, first: date, last: date) -> Iterator[date]:
        """The local dates from first to last on which it opens, ascending."""
        month = first.replace(day=1)
        while month <= last:
            day = self._day_in(month)
            if day is not None and first <= day <= last:
                yield day
            month = (month + timedelta(days=31)).replace(day=1)

    def _day_in(self, month: date) -> date | None:
        matching = range(1 + (self.weekday - month.weekday()) % 7, months.monthrange(month.year, month.month)[1] + 1, 7)
        if self.week > len(matching):
            return None
        return month.replace(day=matching[LAST if self.week == LAST else self.week - 1])


@dataclass(frozen=True, slots=True)
class OnceRule:
    """Opens once, at an instant. It needs no zone."""

    start_time: datetime
    end_time: datetime

    @property
    def duration(self) -> timedelta:
        """Return how long it is open."""
        return self.end_time - self.start_time


WindowRule = WeeklyRule | MonthlyRule | OnceRule


@dataclass(frozen=True, slots=True)
class YearlyRule:
    """Closes from one local date to another, both included, every year; `first > last` crosses New Year. (2, 29) is the last day of
    February.
    """

    first: tuple[int, int]
    last: tuple[int, int]

    def ranges(self, from_year: int, to_year: int) -> Iterator[tuple[date, date]]:
        """The date ranges, both ends included, that begin in these years."""
        for year in range(from_year, to_year + 1):
            yield _date_in(year, self.first), _date_in(year if self.first <= self.last else year + 1, self.last)


@dataclass(frozen=True, slots=True)
class DatesRule:
    """Closes from one local date to another, both included, once."""

    first: date
    last: date


FreezeRule = YearlyRule | DatesRule


def stretches(rule: WindowRule, name: str, zone: Zone, after: datetime, before: datetime) -> Iterator[Part]:
    """The stretches of a window that begin from `after` to before `before`, ascending; each at its whole length.

    The start is local wall time, the duration is elapsed time: a window is never longer or shorter on a clock-change day.
    """
    if isinstance(rule, OnceRule):
        if after <= rule.start_time < before:
            yield Part(rule.start_time, rule.end_time, name)
        return
    # A zone is at most 14 hours from UTC, so one day more on either side misses nothing.
    for day in rule.days(after.date() - DAY, before.date() + DAY):
        start = instant_of(day, rule.start, zone)
        if start >= before:
            return
        if start >= after:
            yield Part(start, start + rule.duration, name)


def frozen_stretches(rule: FreezeRule, name: str, zone: Zone, from_year: int, to_year: int) -> Iterator[Part]:
    """The stretches of a freeze that touch these local years, ascending; widened, so that no reading of a local date in it is left open."""
    if isinstance(rule, YearlyRule):
        ranges = rule.ranges(from_year if rule.first <= rule.last else from_year - 1, to_year)
    else:
        ranges = iter(((max(rule.first, date(from_year - 1, 1, 1)), min(rule.last, date(to_year + 1, 12, 31))),))
    for first, last in ranges:
        if first <= last:
            yield Part(earliest_midnight(first, zone), latest_midnight(last + DAY, zone), name)


def _monday(number: int) -> int:
    """The Monday of the week of a day; days are counted as `date.toordinal` does, and day 1 was a Monday."""
    return number - (number - 1) % 7


def _date_in(year: int, month_and_day: tuple[int, int]) -> date:
    month, day = month_and_day
    if day <= SHORTEST_MONTH:
        return date(year, month, day)
    return date(year, month, min(day, months.monthrange(year, month)[1]))
