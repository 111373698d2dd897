"""The calendar as people write it: windows (allowed time), freezes (forbidden time), staffed and business hours."""

import re
from datetime import date, time
from typing import Annotated

from pydantic import BeforeValidator, Field, PlainSerializer, WithJsonSchema

from tenantwave.api.model import ApiModel, Choice, Rule, about
from tenantwave.api.scalars import DATE_PATTERN, MONTH_DAY_PATTERN, TIME_OF_DAY_PATTERN, Instant, Name, WindowDuration, ZoneName

MAX_WINDOWS = 16
MAX_FREEZES = 32


class Day(Choice):
    """A day of the week, by the local calendar."""

    MON = "Mon", "Monday"
    TUE = "Tue", "Tuesday"
    WED = "Wed", "Wednesday"
    THU = "Thu", "Thursday"
    FRI = "Fri", "Friday"
    SAT = "Sat", "Saturday"
    SUN = "Sun", "Sunday"

    @property
    def weekday(self) -> int:
        """The number of the day as `date.weekday()` counts: Monday is 0."""
        return list(Day).index(self)


class WeekOfMonth(Choice):
    """Which of the month's weekdays."""

    FIRST = "First", "the first one"
    SECOND = "Second", "the second one"
    THIRD = "Third", "the third one"
    FOURTH = "Fourth", "the fourth one"
    FIFTH = "Fifth", "the fifth one; a month without it has no opening"
    LAST = "Last", "the last one"


_DATE = "must be a date of the calendar such as 2026-11-23"
_MONTH_DAY = 'must be a month and a day such as "12-01"; "02-29" means the last day of February'
_TIME_OF_DAY = 'must be a time of day from "00:00" to "23:59", in quotes, such as "02:00"'


def _text_schema(pattern: str, length: int, message: str, also: str = "") -> WithJsonSchema:
    rule = {"rule": f"self.matches(r'{pattern}')" + (f" && {also}" if also else ""), "message": message}
    return WithJsonSchema({"type": "string", "maxLength": length, "pattern": pattern, "x-kubernetes-validations": [rule]})


def _written_as(pattern: str, message: str) -> BeforeValidator:
    """Refuse what pydantic would kindly read: numbers, seconds, zones. YAML turns an unquoted 02:00 into the number 120."""

    def check(value: object) -> object:
        if isinstance(value, (date, time)) or (isinstance(value, str) and re.fullmatch(pattern, value)):
            return value
        raise ValueError(f"{message}, not {value!r}")

    return BeforeValidator(check)


LocalDate = Annotated[
    date,
    _written_as(DATE_PATTERN, _DATE),
    PlainSerializer(lambda value: value.isoformat(), return_type=str),
    _text_schema(DATE_PATTERN, 10, _DATE, "timestamp(self + 'T00:00:00Z').getDate() > 0"),
]
"""A local calendar date."""

TimeOfDay = Annotated[
    time,
    _written_as(TIME_OF_DAY_PATTERN, _TIME_OF_DAY),
    PlainSerializer(lambda value: value.strftime("%H:%M"), return_type=str),
    _text_schema(TIME_OF_DAY_PATTERN, 5, _TIME_OF_DAY),
]
"""A local wall-clock time, to the minute."""

MonthDay = Annotated[
    str,
    Field(pattern=MONTH_DAY_PATTERN),
    _text_schema(MONTH_DAY_PATTERN, 5, _MONTH_DAY),
]
"""A day of every year, `MM-DD`; `02-29` is the last day of February."""

DAYS_EXAMPLE = ["Tue", "Wed", "Thu"]
Days = Annotated[
    tuple[Day, ...],
    about(
        "The local days of the week on which it starts.",
        example=DAYS_EXAMPLE,
        min_length=1,
        max_length=7,
        extra={"x-kubernetes-list-type": "set"},
    ),
]


class Weekly(ApiModel):
    """Opens on named days of the week."""

    rules = (
        Rule(
            "!has(self.everyWeeks) || self.everyWeeks == 1 || has(self.anchorDate)",
            "must have `anchorDate` when `everyWeeks` is above 1: it fixes which weeks count",
        ),
    )

    days: Days
    start: Annotated[TimeOfDay, about("The local wall-clock time of the opening.", example="02:00")]
    duration: Annotated[WindowDuration, about("How long it stays open: elapsed time, above 0s, at most 7d.", example="3h")]
    every_weeks: Annotated[
        int | None, about("Every how many weeks; needs `anchorDate` above 1.", example=2, absent="every week", ge=1, le=52)
    ] = None
    anchor_date: Annotated[
        LocalDate | None,
        about(
            "Any date in a week that counts; it fixes the rhythm and is not a first date.", example="2026-01-03", absent="every week counts"
        ),
    ] = None


class Monthly(ApiModel):
    """Opens on one weekday of each month."""

    week: Annotated[WeekOfMonth, about("Which of the month's days of that name.", example="Last")]
    day: Annotated[Day, about("The day of the week.", example="Sun")]
    start: Annotated[TimeOfDay, about("The local wall-clock time of the opening.", example="01:00")]
    duration: Annotated[WindowDuration, about("How long it stays open: elapsed time, above 0s, at most 7d.", example="4h")]


class Once(ApiModel):
    """Opens a single time."""

    start: Annotated[Instant, about("The instant of the opening, with `Z` or an offset.", example="2026-12-06T03:00:00Z")]
    duration: Annotated[WindowDuration, about("How long it stays open: elapsed time, above 0s, at most 7d.", example="2h")]


class Window(ApiModel):
    """A rule for allowed time: exactly one of weekly, monthly and once."""

    rules = (
        Rule(
            "[has(self.weekly), has(self.monthly), has(self.once)].filter(x, x).size() == 1",
            "must have exactly one of `weekly`, `monthly` and `once`; give each kind an entry of its own",
        ),
    )

    name: Annotated[Name, about("A unique name, shown wherever this window decides.", example="nightly")]
    weekly: Annotated[
        Weekly | None,
        about(
            "Opens on named days of the week.",
            example={"days": DAYS_EXAMPLE, "start": "02:00", "duration": "3h"},
            absent="another kind is given",
        ),
    ] = None
    monthly: Annotated[
        Monthly | None,
        about(
            "Opens on one weekday of each month.",
            example={"week": "Last", "day": "Sun", "start": "01:00", "duration": "4h"},
            absent="another kind is given",
        ),
    ] = None
    once: Annotated[
        Once | None,
        about("Opens a single time.", example={"start": "2026-12-06T03:00:00Z", "duration": "2h"}, absent="another kind is given"),
    ] = None


class Yearly(ApiModel):
    """The same local dates every year, both included; `from` after `to` crosses New Year."""

    from_: Annotated[MonthDay, about("The first day, `MM-DD`.", example="12-01", alias="from")]
    to: Annotated[MonthDay, about("The last day, `MM-DD`, included.", example="02-29")]


class DateRange(ApiModel):
    """Local dates, both included."""

    rules = (Rule("self.to >= self.from", "must have `to` on the day of `from` or later"),)

    from_: Annotated[LocalDate, about("The first day.", example="2026-11-23", alias="from")]
    to: Annotated[LocalDate, about("The last day, included.", example="2026-11-30")]


class Freeze(ApiModel):
    """A rule for forbidden time: exactly one of yearly and dates. It wins over every window."""

    rules = (
        Rule("has(self.yearly) != has(self.dates)", "must have exactly one of `yearly` and `dates`; give each kind an entry of its own"),
    )

    name: Annotated[Name, about("A unique name, shown wherever this freeze decides.", example="year-end")]
    yearly: Annotated[
        Yearly | None, about("The same dates every year.", example={"from": "12-01", "to": "02-29"}, absent="`dates` is given")
    ] = None
    dates: Annotated[
        DateRange | None, about("Dates of one year.", example={"from": "2026-11-23", "to": "2026-11-30"}, absent="`yearly` is given")
    ] = None
    reason: Annotated[
        str, about("Why, shown to everybody who waits for it.", example="tax filing", absent="no reason is shown", max_length=256)
    ] = ""


class Hours(ApiModel):
    """Hours of a week."""

    days: Days
    start: Annotated[TimeOfDay, about("The local wall-clock time at which they begin.", example="09:00")]
    duration: Annotated[WindowDuration, about("How long they last: elapsed time, above 0s, at most 7d.", example="9h")]


class StaffedHours(ApiModel):
    """When the platform has people at work: a tenant starts only then."""

    time_zone: Annotated[ZoneName, about("The IANA zone of these hours.", example="Europe/Rome")]
    weekly: Annotated[
        tuple[Hours, ...],
        about(
            "The hours with staff.",
            example=[{"days": ["Mon", "Tue"], "start": "00:00", "duration": "12h"}],
            min_length=1,
            max_length=MAX_WINDOWS,
            extra={"x-kubernetes-list-type": "atomic"},
        ),
    ]


class Opening(ApiModel):
    """One stretch of time in which the tenant may start, `[start, end)`."""

    start: Annotated[Instant, about("When it opens; UTC.", example="2026-12-06T01:00:00Z")]
    end: Annotated[Instant, about("When it closes; UTC.", example="2026-12-06T05:00:00Z")]
    windows: Annotated[
        tuple[Annotated[str, about("The name of a window.", example="nightly", max_length=63)], ...],
        about(
            "The windows that make it.",
            example=["nightly"],
            absent="no window is needed",
            max_length=MAX_WINDOWS,
            extra={"x-kubernetes-list-type": "set"},
        ),
    ] = ()
