"""Scalars: what is read, what is written, how shares are rounded."""

from datetime import UTC, datetime, timedelta
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import TypeAdapter, ValidationError

from tenantwave.api.action import ActionType, UpgradeActionSpec
from tenantwave.api.decision import TenantDecisionSpec
from tenantwave.api.scalars import Instant, IntOrPercent, WindowDuration, format_decimal, format_duration, parse_duration, parse_share


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("0s", timedelta()),
        ("30s", timedelta(seconds=30)),
        ("1h30m", timedelta(minutes=90)),
        ("7d", timedelta(days=7)),
        ("1d2h3m4s", timedelta(days=1, hours=2, minutes=3, seconds=4)),
        ("90m", timedelta(minutes=90)),
    ],
)
def test_a_duration_is_read(text: str, value: timedelta) -> None:
    """Units d, h, m, s; more than one of them, in this order."""
    assert parse_duration(text) == value


@pytest.mark.parametrize("text", ["", "10", "m", "5 m", "1.5h", "-1h", "30m1h", "1h1h", "1w", "10ms", "1h\n", "１h"])
def test_what_is_no_duration_is_refused_with_the_mend(text: str) -> None:
    """The sentence shows how a duration is written."""
    with pytest.raises(ValueError, match="write it like 30s, 10m, 1h30m or 7d"):
        parse_duration(text)


@given(st.integers(min_value=0, max_value=10**9))
def test_a_duration_is_read_back_as_it_was_written(seconds: int) -> None:
    """Whatever number of seconds."""
    value = timedelta(seconds=seconds)
    assert parse_duration(format_duration(value)) == value


@pytest.mark.parametrize("text", ["0s", "7d1s", "169h", "8d"])
def test_a_window_is_open_for_more_than_nothing_and_at_most_a_week(text: str) -> None:
    """Longer times are several windows."""
    with pytest.raises(ValidationError, match="at most 7d"):
        TypeAdapter(WindowDuration).validate_python(text)


@pytest.mark.parametrize(
    ("share", "total", "up", "floor", "number"),
    [
        pytest.param("25%", 10, False, 0, 2, id="down: 2.5 of 10 is 2"),
        pytest.param("25%", 10, True, 0, 3, id="up: 2.5 of 10 is 3"),
        pytest.param("10%", 9, False, 1, 1, id="maxParallel is at least 1"),
        pytest.param("2%", 49, False, 0, 0, id="failureBudget may be 0"),
        pytest.param("2%", 50, False, 0, 1, id="2% of 50 is exactly 1"),
        pytest.param("100%", 7, True, 0, 7, id="all"),
        pytest.param("0%", 7, True, 0, 0, id="none"),
        pytest.param(5, 3, False, 0, 5, id="a number is taken as it is"),
        pytest.param(0, 3, False, 1, 1, id="a floor holds for a number, too"),
    ],
)
def test_a_share_of_tenants_is_rounded_as_the_contract_says(share: int | str, total: int, up: bool, floor: int, number: int) -> None:
    """Exact integers: no float decides about a tenant."""
    assert IntOrPercent.parse(share).of(total, up=up, floor=floor) == number


@given(percent=st.integers(0, 100), total=st.integers(0, 10**6))
def test_rounding_down_and_up_differ_by_at_most_one(percent: int, total: int) -> None:
    """And both stay within the whole."""
    share = IntOrPercent(percent, is_percent=True)
    assert 0 <= share.of(total) <= share.of(total, up=True) <= min(total, share.of(total) + 1)


@pytest.mark.parametrize("value", ["101%", "10", "-1%", "1.5%", "%", -1, 2.5, True, None, "10%\n"])
def test_what_is_no_number_of_tenants_is_refused_with_the_mend(value: object) -> None:
    """The sentence shows both forms."""
    with pytest.raises(ValueError, match='a whole number like 5, or a percentage from "0%" to "100%"'):
        IntOrPercent.parse(value)


@pytest.mark.parametrize(
    ("text", "value"),
    [(2, "2"), ("0.05", "0.05"), ("1%", "0.01"), ("0.5%", "0.005"), ("100%", "1"), ("60", "60"), ("99.9%", "0.999"), ("0", "0")],
)
def test_a_limit_is_exact(text: int | str, value: str) -> None:
    """A share of a gate is a decimal, never a float."""
    assert parse_share(text) == Decimal(value)
    assert format_decimal(parse_share(text)) == value


@pytest.mark.parametrize("value", [0.05, "1e-3", "five", "-1", "101%", True, None, "", "NaN", "1%\n"])
def test_what_is_no_limit_is_refused_with_the_mend(value: object) -> None:
    """A float above all: `max: 0.05` without quotes."""
    with pytest.raises(ValueError, match="a decimal as a string"):
        parse_share(value)


def test_an_instant_is_utc_and_needs_a_zone() -> None:
    """An offset is turned into UTC; without a zone nobody knows what was meant."""
    instants = TypeAdapter(Instant)
    assert instants.validate_python("2026-12-06T04:00:00+01:00") == datetime(2026, 12, 6, 3, tzinfo=UTC)
    assert instants.dump_python(datetime(2026, 12, 6, 3, tzinfo=UTC), mode="json") == "2026-12-06T03:00:00Z"
    with pytest.raises(ValidationError, match="must carry a zone"):
        instants.validate_python("2026-12-06T04:00:00")


@pytest.mark.parametrize(
    ("text", "means"),
    [
        ("9999-12-31T23:59:59Z", "2999-12-31T23:59:59Z"),
        ("9999-12-31T23:59:59-12:00", "2999-12-31T23:59:59Z"),
        ("0001-01-01T00:00:00Z", "1970-01-01T00:00:00Z"),
        ("0001-01-01T00:00:00+12:00", "1970-01-01T00:00:00Z"),
        ("2026-12-20T01:00:00+01:00", "2026-12-20T00:00:00Z"),
    ],
)
def test_an_instant_that_means_never_is_far_away_and_no_more(text: str, means: str) -> None:
    """The API server takes them all; a sum of one and a duration must stay in the calendar."""
    instants = TypeAdapter(Instant)
    assert instants.dump_python(instants.validate_python(text), mode="json") == means


def test_a_reason_is_one_line_without_what_a_terminal_obeys() -> None:
    """People, and tenants, write it; it goes into messages, Events and the log."""
    action = UpgradeActionSpec(upgrade="shop", type=ActionType.PAUSE, reason="a look\n2026-01-01 CRITICAL\x1b[2J\tall  is lost\n")
    assert action.reason == "a look 2026-01-01 CRITICAL [2J all is lost"
    assert TenantDecisionSpec.model_validate({"type": "OptOut", "upgrade": "shop", "reason": "no\r\n"}).reason == "no"
