"""Gates on a real Prometheus: what is Ready may still be ill, and what cannot be seen is neither well nor ill."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from datetime import datetime
from typing import Any

import pytest
from localcluster.client import eventually
from localcluster.monitoring import Monitoring

from support.gated import SETTLED
from support.kstatus import conditions_of
from support.story import IMAGE, Story, condition

OLD, NEW = {"pool": "10"}, {"pool": "20"}
GATES: list[dict[str, Any]] = [
    {"name": "errors", "ratio": {"bad": 'http_requests_total{code=~"5.."}', "total": "http_requests_total"}, "max": "1%"},
    {"name": "slow", "latency": {"histogram": "http_request_duration_seconds", "above": "0.5"}, "max": "5%"},
]
ON_UNKNOWN = {"after": "30m", "action": "Pause"}

Given = Callable[..., Any]


@pytest.fixture
def given(story: Story, monitoring: Monitoring) -> Given:
    """Two tenants with traffic, a canary and another one, and a policy whose two gates ask the real Prometheus each second."""

    async def make(*, soak: str = "8s", on_unknown: dict[str, str] | None = None) -> tuple[str, str]:
        await story.pristine("2.3.1", OLD)
        await story.pristine("2.4.0", NEW)
        canary = await story.tenant("canary", labels={"tenantwave.io/ring": "canary"}, config={**OLD, "own": "mine"})
        other = await story.tenant("other", config=OLD)
        await story.ready()
        await story.policy(
            waves=[
                {"name": "canary", "selector": {"matchLabels": {"tenantwave.io/ring": "canary"}}, "soak": soak},
                {"name": "rest", "soak": "3s"},
            ],
            prometheus={"url": monitoring.url} | SETTLED,
            gates=GATES,
            evaluation={"interval": "1s", "warmUp": "1s", "onUnknown": on_unknown or ON_UNKNOWN},
        )
        return canary, other

    return make


def gate_of(upgrade: dict[str, Any], wave: str = "canary") -> dict[str, Any]:
    """Return what the status says of a wave's gate."""
    return next((dict(one.get("gate") or {}) for one in upgrade.get("status", {}).get("waves", ()) if one["name"] == wave), {})


async def test_good_version_passes_its_gates(story: Story, given: Given) -> None:
    """Both gates are asked, judged Healthy with their evidence, and the next wave begins."""
    await given()
    await story.operator()
    upgrade = await story.upgrade()
    done = await story.until(upgrade, "Succeeded")
    for wave in ("canary", "rest"):
        gate = gate_of(done, wave)
        assert (gate["verdict"], {metric["name"] for metric in gate["metrics"]}) == ("Healthy", {"errors", "slow"})
        assert all(float(metric["total"]) > 0 for metric in gate["metrics"])
    assert (condition(done, "GatesPassed")["status"], condition(done, "GatesPassed")["reason"]) == ("True", "Healthy")
    assert await story.leftovers() == []


async def test_ready_version_that_answers_errors_is_taken_back(story: Story, given: Given, monitoring: Monitoring) -> None:
    """S3: the wave is rolled back, nobody else is touched, and the evidence can be asked of Prometheus again."""
    canary, other = await given()
    await story.operator()
    upgrade = await story.upgrade(image=f"{IMAGE}:2.4.0-err")
    done = await story.until(upgrade, "RolledBack")
    assert set((await story.images()).values()) == {f"{IMAGE}:2.3.1"}
    assert await story.config(canary) == {**OLD, "own": "mine"}
    assert (await story.run(upgrade, other))["reason"] == "RunEnded"
    assert (condition(done, "GatesPassed")["status"], condition(done, "Stalled")["status"]) == ("False", "True")
    run = await story.run(upgrade, canary)
    assert (run["state"], run["takeBack"]["cause"]) == ("RolledBack", "GateFailed")
    for gate in (gate_of(done), run["verdict"]):
        errors = next(metric for metric in gate["metrics"] if metric["name"] == "errors")
        assert (gate["verdict"], errors["verdict"], errors["limit"]) == ("Failing", "Failing", "0.01")
        assert float(errors["value"]) > 0.01
        assert float(errors["value"]) == pytest.approx(float(errors["bad"]) / float(errors["total"]), rel=0.01)
    errors = next(metric for metric in run["verdict"]["metrics"] if metric["name"] == "errors")
    asked = monitoring.query(errors["query"], time=datetime.fromisoformat(run["verdict"]["evaluationTime"]).timestamp())
    assert [row["metric"]["namespace"] for row in asked] == [canary]
    assert float(asked[0]["value"][1]) == pytest.approx(float(errors["value"]), rel=0.01)
    assert await story.leftovers() == []


async def test_lost_prometheus_only_delays(story: Story, given: Given, monitoring: Monitoring) -> None:
    """S4: in mid-soak nothing is promoted and nothing rolled back; when Prometheus returns the run goes on to its end."""
    canary, other = await given(soak="12s")
    await story.operator()
    upgrade = await story.upgrade()
    await story.until_so(upgrade, lambda body: gate_of(body).get("judged") == 1, "judged once")
    monitoring.stop_prometheus()
    try:
        blind = await story.until(upgrade, "GateUnknown")
        assert (condition(blind, "Reconciling")["status"], condition(blind, "GatesPassed")["status"]) == ("True", "Unknown")
        with pytest.raises(TimeoutError):  # longer than the soak
            await story.until_so(upgrade, lambda body: conditions_of(body)["Ready"]["reason"] != "GateUnknown", "anything else", timeout=13)
        assert await story.states(upgrade) == {canary: "Soaking", other: "Queued"}
        assert await story.image(canary) == f"{IMAGE}:2.4.0"
    finally:
        await asyncio.to_thread(monitoring.start_prometheus)
    await story.until(upgrade, "Succeeded")
    assert "RollingBack" not in story.recorder.reasons[upgrade]


async def test_blindness_that_lasts_pauses_until_somebody_looks(story: Story, given: Given, monitoring: Monitoring) -> None:
    """S4: after `onUnknown.after` the upgrade is Paused; Prometheus' return alone does not start it, Resume does."""
    await given(soak="4s", on_unknown={"after": "2s", "action": "Pause"})
    await story.operator()
    upgrade = await story.upgrade()
    await story.until_so(upgrade, lambda body: gate_of(body).get("judged") == 1, "judged once")
    monitoring.stop_prometheus()
    try:
        paused = await story.until(upgrade, "Paused")
        assert "MetricsUnavailable" in condition(paused, "Ready")["message"]
    finally:
        await asyncio.to_thread(monitoring.start_prometheus)
    await story.until_so(upgrade, lambda body: gate_of(body).get("verdict") == "Healthy", "judged again")
    assert condition(await story.until(upgrade, "Paused"), "Ready")["status"] == "False"
    assert await story.answer(await story.act(upgrade, "Resume")) == (True, "Accepted")
    await story.until(upgrade, "Succeeded")


async def test_edit_during_the_soak_survives_the_rollback(story: Story, given: Given, monitoring: Monitoring) -> None:
    """S6: the tenant edits its ConfigMap while its wave soaks, then the wave fails: the edit stays, the release's own changes are gone."""
    canary, _ = await given(soak="30s")
    await story.operator()
    upgrade = await story.upgrade()
    await story.until_run(upgrade, canary, lambda run: run.get("state") == "Soaking", "soaks")
    assert await story.config(canary) == {**NEW, "own": "mine"}
    await story.edit(canary, "mode", "careful")
    monitoring.set_traffic(canary, error_share=0.5)
    await story.until(upgrade, "RolledBack")
    assert await story.config(canary) == {**OLD, "own": "mine", "mode": "careful"}
    assert await story.image(canary) == f"{IMAGE}:2.3.1"

    async def is_recorded() -> bool:
        profile = await story.kube.find("TenantProfile", "tenant", canary)
        return any(one["version"] == "2.3.1" for one in (profile or {}).get("status", {}).get("products", ()))

    await eventually(is_recorded, saying="the profile shows what the tenant runs")
    assert await story.leftovers() == []
