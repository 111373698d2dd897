"""Tenants without metrics: those that never had any, and one that falls silent when it is upgraded."""

from __future__ import annotations

import pytest

from support.gated import CANARY, NEW, Gated, gate_of, metric_of, wave
from support.story import IMAGE, condition


async def test_lost_traffic_is_taken_back_and_the_pool_speaks_for_the_quiet(gated: Gated) -> None:
    """One tenant was busy and is silent on the new version: lost. One never had any series: excused with those that have few requests."""
    story = gated.story
    await gated.tenants("thin", 6, rate=12)
    [quiet] = await gated.tenants("quiet", serves=False)
    [lost] = await gated.tenants("lost")
    gated.traffic(lost, images={NEW: {"rate": 0}})
    await gated.ready()
    await gated.policy(wave("all", "6s", failureBudget=1))
    await story.operator()
    upgrade = await story.upgrade()
    done = await story.until(upgrade, "SucceededWithSkips", "Succeeded", "RolledBack")
    assert condition(done, "Ready")["reason"] == "SucceededWithSkips"
    run = await story.run(upgrade, lost)
    assert (run["state"], run["reason"], run["verdict"]["reason"]) == ("RolledBack", "GateFailed", "TrafficLost")
    assert metric_of(run["verdict"])["verdict"] == "Failing"
    spoken_for = await story.run(upgrade, quiet)
    assert (spoken_for["state"], spoken_for["verdict"]["verdict"], spoken_for["verdict"]["reason"]) == (
        "Succeeded",
        "Inconclusive",
        "NoData",
    )
    assert await story.images() == dict.fromkeys(story.tenants, f"{IMAGE}:2.4.0") | {lost: f"{IMAGE}:2.3.1"}


async def test_tenant_without_metrics_holds_its_wave_until_somebody_overrides(gated: Gated) -> None:
    """`onNoData: Hold` excuses nobody. OverrideGate lets the wave pass on its soak, and is refused where the gate is Healthy."""
    story = gated.story
    await gated.tenants("busy", 1, labels=CANARY)
    [quiet] = await gated.tenants("quiet", labels=CANARY, serves=False)
    await gated.tenants("rest", 1)
    await gated.ready()
    await gated.policy(
        wave("first", "3s", selector=CANARY), wave("rest", "2s", approval={"when": "After"}), evaluation={"onNoData": "Hold"}
    )
    await story.operator()
    upgrade = await story.upgrade()
    held = await story.until(upgrade, "GateInconclusive")
    assert (gate_of(held, "first")["verdict"], gate_of(held, "first")["reason"]) == ("Inconclusive", "NoData")
    assert quiet in condition(held, "Ready")["message"]
    with pytest.raises(TimeoutError):  # it holds for longer than its soak
        await story.until_so(upgrade, lambda body: condition(body, "Ready")["reason"] != "GateInconclusive", "anything else", timeout=4)
    override = await story.act(upgrade, "OverrideGate", wave="first", reason="nobody uses it at night")
    assert await story.answer(override) == (True, "Accepted")
    waiting = await story.until(upgrade, "AwaitingApproval")
    gate = gate_of(waiting, "first")
    assert (gate["verdict"], gate["override"]) == ("Inconclusive", override)
    assert (gate_of(waiting, "rest")["verdict"], "override" in gate_of(waiting, "rest")) == ("Healthy", False)
    refused = await story.act(upgrade, "OverrideGate", wave="rest", reason="not needed")
    assert await story.answer(refused) == (False, "NotApplicable")
    assert await story.answer(await story.act(upgrade, "Approve", wave="rest")) == (True, "Accepted")
    done = await story.until(upgrade, "Succeeded", "SucceededWithSkips")
    assert (gate_of(done, "first")["verdict"], gate_of(done, "first")["override"]) == ("Inconclusive", override)
