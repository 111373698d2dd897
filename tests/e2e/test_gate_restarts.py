"""The operator dies in the middle of a soak: the verdict is the one that it would have reached, and nothing passes early."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from localcluster.client import eventually

from support.gated import Gated, gate_of, wave
from support.story import IMAGE, condition

SOAK = timedelta(seconds=7)
TICKS = timedelta(seconds=2)
"""What the clock of a soak may be ahead of ours: a tick carries the last full second, before the death and after it."""


def now() -> datetime:
    return datetime.now(UTC)


async def test_killed_in_mid_soak_of_a_good_and_of_a_bad_release(gated: Gated) -> None:
    """Two upgrades soak while it dies. One falls ill while nobody looks, and is taken back; the other still soaks as long as it must."""
    story = gated.story
    good = await gated.tenants("good", 2, labels={"side": "good"})
    bad = await gated.tenants("bad", 2, labels={"side": "bad"})
    await gated.ready()
    await gated.policy(wave("all", f"{SOAK.seconds}s"))
    operator = await story.operator()
    upgrades = {
        side: await story.upgrade(side, tenantSelector={"matchLabels": {"side": side}}, image=f"{IMAGE}:2.4.0") for side in ("good", "bad")
    }
    for upgrade in upgrades.values():
        soaking = await story.until_so(
            upgrade, lambda body: "healthySince" in (body.get("status", {}).get("waves") or [{}])[0], "its soak clock runs"
        )
        assert condition(soaking, "Ready")["reason"] == "Soaking"
    await operator.kill()
    died = now()
    since = datetime.fromisoformat((await story.until(upgrades["good"], "Soaking"))["status"]["waves"][0]["healthySince"])
    for tenant in bad:
        gated.traffic(tenant, error_share=0.3)

    async def soak_is_over() -> bool:
        return now() > since + SOAK

    await eventually(soak_is_over, saying="by the clock on the wall the soak is over")
    revived = now()
    await story.operator()
    failed = await story.until(upgrades["bad"], "RolledBack", "Succeeded")
    gate = gate_of(failed, "all")
    assert condition(failed, "Ready")["reason"] == "RolledBack"
    assert (gate["verdict"], gate["reason"], gate["failing"]) == ("Failing", "BudgetExceeded", 2)
    assert {(await story.run(upgrades["bad"], tenant))["takeBack"]["cause"] for tenant in bad} == {"GateFailed"}
    done = await story.until(upgrades["good"], "Succeeded", "RolledBack")
    assert condition(done, "Ready")["reason"] == "Succeeded"
    passed = datetime.fromisoformat(done["status"]["waves"][0]["completionTime"])
    assert (died - since) + (passed - revived) >= SOAK - TICKS, f"healthy since {since}, died {died}, revived {revived}, passed {passed}"
    assert await story.images() == dict.fromkeys(good, f"{IMAGE}:2.4.0") | dict.fromkeys(bad, f"{IMAGE}:2.3.1")
