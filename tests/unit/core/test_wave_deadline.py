"""A wave's deadline counts from the wave's start, whatever its tenants wait for."""

from __future__ import annotations

from datetime import timedelta

from builders import a_status, a_tenant, after
from calendar_builders import SHUT_UNTIL_TUESDAY, a_calendar, a_policy_with, running, starts, why_held
from tenantwave.api.tenant_run import TenantState
from tenantwave.core.planner import decide

JUST = timedelta(seconds=1)


def test_a_wave_in_which_all_wait_for_their_windows_is_late_all_the_same() -> None:
    """The upgrade stalls and names them, and nobody starts when the window opens."""
    waiting = a_status(TenantState.WAITING, reason="OutsideWindow", message="why")
    shut = a_tenant("acme", waiting, calendar=a_calendar(windows=[SHUT_UNTIL_TUESDAY]))
    world = running(shut, policy=a_policy_with([{"name": "canary", "deadline": "1h"}]))
    before, late, opens = (decide(world, when) for when in (after(hours=1) - JUST, after(hours=1), after(days=1)))
    assert (before.summary.reason, why_held(before)) == ("WaitingForWindow", "OutsideWindow")
    assert late.summary.reason == "DeadlineExceeded"
    assert "acme" in late.summary.message
    assert starts(opens) == []
