"""A wave's deadline counts from its first start: the notice, windows and freezes before that make no wave late."""

from __future__ import annotations

from datetime import timedelta

from builders import a_status, a_tenant, after
from calendar_builders import SHUT_UNTIL_TUESDAY, a_calendar, a_policy_with, running, starts, why_held
from tenantwave.api.tenant_run import TenantState
from tenantwave.core.planner import decide
from tenantwave.core.world import World

S = TenantState
JUST = timedelta(seconds=1)
OPEN = after(days=1, minutes=1)


def a_wave_with(*others: TenantState) -> World:
    """Return a wave with a deadline of an hour, in which acme waits for Tuesday; the others started at noon."""
    waiting = a_status(S.WAITING, reason="OutsideWindow", message="why")
    shut = a_tenant("acme", waiting, calendar=a_calendar(windows=[SHUT_UNTIL_TUESDAY]))
    begun = [a_tenant(f"t{number}", a_status(state, start_time=after())) for number, state in enumerate(others)]
    return running(shut, *begun, policy=a_policy_with([{"name": "canary", "deadline": "1h"}]))


def test_a_wave_in_which_all_wait_for_their_windows_is_not_late() -> None:
    """A deadline of a day goes with a notice of a week."""
    world = a_wave_with()
    assert (decide(world, after(hours=2)).summary.reason, why_held(decide(world, after(hours=2)))) == ("WaitingForWindow", "OutsideWindow")
    assert starts(decide(world, OPEN)) == ["acme"]


def test_who_waits_while_others_have_begun_makes_it_late() -> None:
    """The upgrade stalls and names who is not through; nobody starts when the window opens."""
    world = a_wave_with(S.SUCCEEDED)
    before, late, opens = (decide(world, when) for when in (after(hours=1) - JUST, after(hours=1), OPEN))
    assert before.summary.reason != "DeadlineExceeded"
    assert late.summary.reason == "DeadlineExceeded"
    assert "acme" in late.summary.message
    assert starts(opens) == []
