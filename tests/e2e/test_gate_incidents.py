"""The whole fleet is ill for a while in the middle of a soak, upgraded tenants and others alike."""

from __future__ import annotations

import pytest

from support.gated import CANARY, Gated, gate_of, wave
from support.story import IMAGE, condition


async def test_fleet_incident_pauses_and_then_goes_on_by_itself(gated: Gated) -> None:
    """Nobody is rolled back, nobody starts and nothing is promoted while it lasts; afterwards the soak begins anew and passes."""
    story = gated.story
    canaries = await gated.tenants("canary", 3, labels=CANARY)
    others = await gated.tenants("other", 6)
    await gated.ready()
    await gated.policy(wave("canary", "6s", selector=CANARY), wave("rest", "2s"))
    await story.operator()
    upgrade = await story.upgrade()
    await gated.until_gate(upgrade, "canary", lambda gate: gate.get("verdict") == "Healthy", "healthy in its soak")
    for tenant in story.tenants:
        gated.traffic(tenant, error_share=0.3)
    ill = await story.until(upgrade, "FleetIncident")
    assert (condition(ill, "Reconciling")["status"], condition(ill, "GatesPassed")["status"]) == ("True", "Unknown")
    assert (gate_of(ill, "canary")["verdict"], gate_of(ill, "canary")["reason"]) == ("Inconclusive", "FleetIncident")
    with pytest.raises(TimeoutError):  # longer than the soak
        await story.until_so(upgrade, lambda body: condition(body, "Ready")["reason"] != "FleetIncident", "anything else", timeout=7)
    assert await story.states(upgrade) == dict.fromkeys(canaries, "Soaking") | dict.fromkeys(others, "Queued")
    for tenant in story.tenants:
        gated.traffic(tenant, error_share=0)
    done = await story.until(upgrade, "Succeeded", "SucceededWithSkips", "RolledBack")
    assert condition(done, "Ready")["reason"] == "Succeeded"
    assert set((await story.images()).values()) == {f"{IMAGE}:2.4.0"}
    assert story.recorder.reasons[upgrade].count("FleetIncident") == 1
    assert "RollingBack" not in story.recorder.reasons[upgrade]
