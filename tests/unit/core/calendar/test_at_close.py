"""The end of an opening, for a tenant in each state and each choice of the policy."""

from datetime import datetime, timedelta

import pytest

from tenantwave.api.policy import OnWindowClose
from tenantwave.api.tenant_run import TenantState
from tenantwave.core.calendar import AtClose, close_wake_time, what_at_close
from unit.core.calendar.manifests import utc

CLOSES = utc("2026-11-29T10:00Z")
HOUR, SECOND = timedelta(hours=1), timedelta(seconds=1)
FINISH, PAUSE, ROLLBACK = OnWindowClose.FINISH, OnWindowClose.PAUSE, OnWindowClose.ROLLBACK
IN_FLIGHT = (TenantState.APPLYING, TenantState.CONVERGING)


@pytest.mark.parametrize("state", IN_FLIGHT)
@pytest.mark.parametrize(
    ("choice", "after_close", "expected"),
    [
        pytest.param(FINISH, -SECOND, AtClose.CONTINUE, id="finish-before-the-close"),
        pytest.param(FINISH, timedelta(), AtClose.CONTINUE, id="finish-at-the-close"),
        pytest.param(FINISH, HOUR - SECOND, AtClose.CONTINUE, id="finish-overruns"),
        pytest.param(FINISH, HOUR, AtClose.TAKE_BACK, id="finish-overran"),
        pytest.param(PAUSE, -SECOND, AtClose.CONTINUE, id="pause-before-the-close"),
        pytest.param(PAUSE, timedelta(), AtClose.PAUSE_BEFORE_NEXT, id="pause-at-the-close"),
        pytest.param(PAUSE, HOUR - SECOND, AtClose.PAUSE_BEFORE_NEXT, id="pause-while-the-last-component-converges"),
        pytest.param(PAUSE, HOUR, AtClose.TAKE_BACK, id="pause-overran"),
        pytest.param(ROLLBACK, -SECOND, AtClose.CONTINUE, id="rollback-before-the-close"),
        pytest.param(ROLLBACK, timedelta(), AtClose.TAKE_BACK, id="rollback-at-the-close"),
    ],
)
def test_a_tenant_in_flight(state: TenantState, choice: OnWindowClose, after_close: timedelta, expected: AtClose) -> None:
    """Until the close nothing; from it on what the policy says; after `maxOverrun` back."""
    assert what_at_close(choice, CLOSES, HOUR, CLOSES + after_close, state) is expected


@pytest.mark.parametrize("choice", OnWindowClose)
@pytest.mark.parametrize("state", TenantState)
def test_nobody_else_is_gated(choice: OnWindowClose, state: TenantState) -> None:
    """Preflight has changed nothing and goes back to waiting; soak, rollback and all the rest go on."""
    found = what_at_close(choice, CLOSES, HOUR, CLOSES + 2 * HOUR, state)
    if state is TenantState.PREFLIGHT:
        assert found is AtClose.BACK_TO_WAITING
    elif state in IN_FLIGHT:
        assert found is AtClose.TAKE_BACK
    else:
        assert found is AtClose.CONTINUE


@pytest.mark.parametrize("state", TenantState)
def test_an_opening_without_an_end_stops_nobody(state: TenantState) -> None:
    """There is no close."""
    assert what_at_close(ROLLBACK, None, HOUR, CLOSES, state) is AtClose.CONTINUE
    assert close_wake_time(None, HOUR, CLOSES) is None


@pytest.mark.parametrize(
    ("after_close", "expected"),
    [(-SECOND, CLOSES), (timedelta(), CLOSES + HOUR), (HOUR - SECOND, CLOSES + HOUR), (HOUR, None)],
    ids=["before", "at", "in-the-overrun", "after-it"],
)
def test_when_to_look_again(after_close: timedelta, expected: datetime | None) -> None:
    """At the close, then at the end of the overrun."""
    assert close_wake_time(CLOSES, HOUR, CLOSES + after_close) == expected
