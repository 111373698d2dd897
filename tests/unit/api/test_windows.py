"""Times and dates of the calendar are read as they are written, never by guess."""

from datetime import date, time
from typing import Any

import pytest
from pydantic import TypeAdapter, ValidationError

from tenantwave.api.windows import Day, LocalDate, MonthDay, TimeOfDay


@pytest.mark.parametrize(("text", "value"), [("00:00", time(0, 0)), ("23:59", time(23, 59)), ("02:00", time(2, 0))])
def test_a_time_of_day_is_read_and_written(text: str, value: time) -> None:
    """Hours and minutes, two digits each."""
    times = TypeAdapter(TimeOfDay)
    assert times.validate_python(text) == value
    assert times.dump_python(value, mode="json") == text


@pytest.mark.parametrize("value", ["24:00", "2:00", "02:00:00", "02:00Z", "02:60", 120, "", None, "02:00\n"])
def test_what_is_no_time_of_day_is_refused_with_the_mend(value: object) -> None:
    """120 is what YAML makes of 02:00 without quotes."""
    with pytest.raises(ValidationError, match="in quotes"):
        TypeAdapter(TimeOfDay).validate_python(value)


@pytest.mark.parametrize("value", ["2026-02-30", "2027-02-29", "2026-1-3", "2026-11-23T00:00:00", 20261123, "23.11.2026"])
def test_what_is_no_date_is_refused(value: object) -> None:
    """Only days that the calendar has."""
    with pytest.raises(ValidationError):
        TypeAdapter(LocalDate).validate_python(value)


def test_a_date_is_read_and_written() -> None:
    """Year, month, day."""
    dates = TypeAdapter(LocalDate)
    assert dates.validate_python("2028-02-29") == date(2028, 2, 29)
    assert dates.dump_python(date(2028, 2, 29), mode="json") == "2028-02-29"


@pytest.mark.parametrize(
    ("text", "is_one"),
    [
        ("12-01", True),
        ("02-29", True),
        ("02-30", False),
        ("04-31", False),
        ("13-01", False),
        ("00-10", False),
        ("06-00", False),
        ("1-1", False),
    ],
)
def test_a_day_of_every_year_is_one_that_some_year_has(text: str, is_one: bool) -> None:
    """The last day of February is written 02-29."""

    def read() -> Any:
        return TypeAdapter(MonthDay).validate_python(text)

    if is_one:
        assert read() == text
    else:
        with pytest.raises(ValidationError):
            read()


def test_days_count_as_python_counts_them() -> None:
    """Monday is 0."""
    assert [day.weekday for day in Day] == list(range(7))
