"""How stories of upgrades are told, and where they are collected.

A story gives the fleet that it is about, then what people do; it ends where it should, and leaves a transcript that people can read. It runs in
four ways: as it is (golden), with the tenants in any order, with a restart between any two steps, and with crashes in the middle of plans.
"""

from __future__ import annotations

from collections.abc import Callable

from fleets.fleet import Fleet, a_fleet
from tenantwave.api.tenant_run import TenantState

S = TenantState
Ready = Callable[[Fleet], Fleet]
Story = Callable[[Ready], Fleet]
STORIES: dict[str, Story] = {}
CANARIES = {"matchLabels": {"tenantwave.io/ring": "canary"}}


def story(tell: Story) -> Story:
    """Put a story into the collection."""
    STORIES[tell.__name__] = tell
    return tell


def state_is(tenant: str, state: TenantState) -> Callable[[Fleet], bool]:
    """Ask whether a tenant stands there."""
    return lambda fleet: fleet.state(tenant) is state


def answered(action: str) -> Callable[[Fleet], bool]:
    """Ask whether an action has its answer."""
    return lambda fleet: action in fleet.answers


def refused(fleet: Fleet, action: str) -> str:
    """Carry on until an action is answered, and return why it was refused."""
    fleet.go(answered(action))
    assert fleet.actions[action].accepted is False, fleet.answers[action]
    return str(fleet.answers[action].reason)


def taken(fleet: Fleet, action: str) -> None:
    """Carry on until an action is answered, and see that it was taken."""
    fleet.go(answered(action))
    assert fleet.actions[action].accepted is True, fleet.answers[action]


def held_after_a_write(ready: Ready) -> Fleet:
    """Carry a fleet to where its canary is held as it is."""
    fleet = ready(a_fleet(canaries=1, onFailure={"tenant": "Pause"}))
    fleet.members["c1"].bad.add("2.4.0")
    fleet.go("Paused")
    assert fleet.state("c1") is S.HELD
    assert fleet.members["c1"].live == "2.4.0"
    return fleet
