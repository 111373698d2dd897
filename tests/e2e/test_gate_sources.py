"""Prometheus is slow, or away when it is least welcome: that causes delay, and nothing else."""

from __future__ import annotations

import asyncio

import pytest

from support.gated import Gated, gate_of, wave
from support.slow_proxy import SlowProxy
from support.story import IMAGE, condition


async def test_slow_prometheus_only_delays(gated: Gated) -> None:
    """Bodies that take longer than `timeout` are no answers; when they come in time again, the upgrade goes on to its end."""
    story = gated.story
    await gated.tenants("shop", 2)
    await gated.ready()
    async with SlowProxy(gated.monitoring.url) as proxy:
        await gated.policy(wave("all", "5s"), url=proxy.url, prometheus={"timeout": "1s"})
        await story.operator()
        upgrade = await story.upgrade()
        await gated.until_gate(upgrade, "all", lambda gate: gate.get("verdict") == "Healthy", "healthy")
        proxy.delay = 2.5
        blind = await story.until(upgrade, "GateUnknown")
        assert (condition(blind, "Reconciling")["status"], condition(blind, "GatesPassed")["status"]) == ("True", "Unknown")
        assert (gate_of(blind, "all")["verdict"], gate_of(blind, "all")["reason"]) == ("Unknown", "Unreachable")
        for said in (gate_of(blind, "all")["message"], condition(blind, "Ready")["message"]):
            assert "did not answer within 1 s; check its load, or raise timeout" in said
        with pytest.raises(TimeoutError):  # longer than the soak
            await story.until_so(upgrade, lambda body: condition(body, "Ready")["reason"] != "GateUnknown", "anything else", timeout=6)
        assert set((await story.states(upgrade)).values()) == {"Soaking"}
        assert proxy.delayed_count > 0
        proxy.delay = 0.2
        done = await story.until(upgrade, "Succeeded", "RolledBack")
    assert condition(done, "Ready")["reason"] == "Succeeded"
    assert "RollingBack" not in story.recorder.reasons[upgrade]


async def test_rollback_ends_though_prometheus_is_gone(gated: Gated) -> None:
    """It goes away as soon as the wave has failed: the tenant is taken back and RolledBack all the same."""
    story = gated.story
    [tenant] = await gated.tenants("shop", annotations={"localcluster/ready-after": "2"})  # so that its way back takes a while, too
    await gated.ready()
    await gated.policy(wave("all", "20s"))
    await story.operator()
    upgrade = await story.upgrade(image=f"{IMAGE}:2.4.0-err")
    await gated.until_gate(upgrade, "all", lambda gate: gate.get("verdict") == "Failing", "failed")
    gated.monitoring.stop_prometheus()
    try:
        await story.until(upgrade, "RolledBack")
        run = await story.run(upgrade, tenant)
    finally:
        await asyncio.to_thread(gated.monitoring.start_prometheus)
    assert (run["state"], run["reason"], await story.image(tenant)) == ("RolledBack", "GateFailed", f"{IMAGE}:2.3.1")
    assert run.get("afterRollback", {}).get("verdict", "Unknown") == "Unknown"
