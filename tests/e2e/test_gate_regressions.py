"""A release that is ill in one tenant of thirty, and one that is ill a little everywhere."""

from __future__ import annotations

import re

import pytest

from support.gated import CANARY, ERRORS, LAG, NEW, RESTARTS, SETTLED, SLOW, Gated, gate_of, metric_of, wave
from support.story import IMAGE, condition


async def test_one_ill_tenant_of_thirty_is_taken_back_alone(gated: Gated) -> None:
    """The other 29 succeed, the status names it, and a month later its TenantRun still says why."""
    story = gated.story
    first = await gated.tenants("first", 10, labels=CANARY)
    await gated.tenants("rest", 20)
    ill = first[7]
    gated.traffic(ill, images={NEW: {"error_share": 0.2}})
    await gated.ready()
    waves = (wave("first", "3s", selector=CANARY, failureBudget=1), wave("rest", "2s"))
    await gated.policy(*waves, gates=[LAG, RESTARTS, ERRORS, SLOW], prometheus=SETTLED)
    await story.operator()
    upgrade = await story.upgrade()
    done = await story.until(upgrade, "SucceededWithSkips", "RolledBack")
    assert condition(done, "Ready")["reason"] == "SucceededWithSkips"
    images = await story.images()
    assert images.pop(ill) == f"{IMAGE}:2.3.1"
    assert (len(images), set(images.values())) == (29, {f"{IMAGE}:2.4.0"})
    assert gate_of(done, "first")["failingTenants"] == [ill]
    assert [(one["tenant"], one["state"], one["reason"]) for one in done["status"]["exceptions"]] == [(ill, "RolledBack", "GateFailed")]

    run = await story.run(upgrade, ill)
    errors = metric_of(run["verdict"])
    assert (run["state"], run["reason"], run["takeBack"]["cause"], run["takeBack"]["scope"]) == (
        "RolledBack", "GateFailed", "GateFailed", "Tenant",
    )  # fmt: skip
    assert (run["verdict"]["verdict"], errors["verdict"], errors["reason"], errors["limit"]) == ("Failing", "Failing", "AboveLimit", "0.01")
    assert float(errors["value"]) == pytest.approx(0.2, rel=0.1)
    numbers = [float(errors["bad"]), float(errors["total"]), 100 * float(errors["value"])]
    for said in (run["message"], run["takeBack"]["message"], run["verdict"]["message"]):
        told = re.search(r"errors: (\d+) of (\d+) requests \((\d+(?:\.\d)?)%\) failed, allowed 1%.*; since \S+Z", said)
        assert told is not None, said
        assert [float(number) for number in told.groups()] == pytest.approx(numbers, abs=0.6), said
    assert gated.ask_again(run["verdict"], errors) == {ill: pytest.approx(float(errors["value"]), rel=0.01)}
    assert await story.leftovers() == []


async def test_thin_regression_that_no_single_tenant_shows_fails_the_wave(gated: Gated) -> None:
    """One request in ten fails in each of 20 quiet tenants: none of them has enough for a verdict, all of them together have."""
    story = gated.story
    first = await gated.tenants("quiet", 20, labels=CANARY, rate=2)
    rest = await gated.tenants("other", 3)
    for number, tenant in enumerate(first):  # at rates of their own, else all would count their bad ones in the same instants
        gated.traffic(tenant, rate=1.5 + number / 19, images={NEW: {"error_share": 0.1}})
    await gated.ready()
    await gated.policy(wave("quiet", "7s", selector=CANARY, failureBudget=3), wave("rest", "2s"))
    await story.operator()
    upgrade = await story.upgrade()
    await gated.until_gate(upgrade, "quiet", lambda gate: gate.get("judged") == 20, "judged")
    done = await story.until(upgrade, "RolledBack", "Succeeded", "SucceededWithSkips")
    gate = gate_of(done, "quiet")
    assert condition(done, "Ready")["reason"] == "RolledBack"
    assert (gate["verdict"], gate["reason"], gate["failing"]) == ("Failing", "PoolFailing", 0)
    assert set((await story.images()).values()) == {f"{IMAGE}:2.3.1"}
    assert {(await story.run(upgrade, tenant))["reason"] for tenant in rest} == {"RunEnded"}
    errors = metric_of(gate)
    for said in (gate["message"], condition(done, "Ready")["message"]):
        assert "the tenants with little traffic, judged together, are beyond the limit" in said
    assert float(errors["value"]) == pytest.approx(float(errors["bad"]) / float(errors["total"]), rel=0.05)
    assert float(errors["value"]) == pytest.approx(0.1, rel=0.3)
    run = await story.run(upgrade, first[0])
    # Its own verdict is what was stored of it last: too little traffic, or not looked at yet; Failing it never was.
    assert (run["state"], run["takeBack"]["cause"], run["verdict"]["verdict"]) == ("RolledBack", "WaveFailed", "Inconclusive")
    assert await story.leftovers() == []
