"""What a tenant is told, and what it is answered, on a real API server: in its own namespace, once, and right again by itself."""

from __future__ import annotations

from typing import Any

from localcluster.client import eventually

from support.days import Days
from support.story import PROFILE, UPGRADE, Story, condition
from support.workloads import namespace

CANARY = {"tenantwave.io/ring": "canary"}
NOTICE = {"title": "Shop 2.4", "changes": "A new basket.", "benefits": "It is faster.", "risks": "None known."}


async def test_a_notice_survives_its_profile_and_other_words_are_another_one(story: Story) -> None:
    acme = await story.tenant("acme", labels=CANARY)
    await story.ready()
    await story.policy(notice={"lead": "1h"})
    await story.operator()
    upgrade = await story.upgrade(notice=NOTICE)

    async def told(count: int, title: str) -> list[dict[str, Any]]:
        """Return what the profile shows once it has so many notices, the newest with this title."""

        async def look() -> list[dict[str, Any]]:
            status = ((await story.kube.find(PROFILE, "tenant", acme)) or {}).get("status", {})
            notices: list[dict[str, Any]] = status.get("notices") or []
            return notices if len(notices) == count and notices[0]["title"] == title else []

        return await eventually(look, saying=f"{acme} was told {count} times, of {title} last")

    (first,) = await told(1, "Shop 2.4")
    assert {part: first[part] for part in NOTICE} == NOTICE
    assert (first["upgrade"], first["version"]) == (upgrade, "2.4.0")
    run = await story.until_run(upgrade, acme, lambda run: bool(run.get("noticeTime")), "its clock runs")
    assert (run["noticeTime"], run["noticeDigest"], run["reason"]) == (first["time"], first["digest"], "NoticePeriod")

    await story.kube.delete(PROFILE, "tenant", acme)
    assert await told(1, "Shop 2.4") == [first], "a profile that is made again has it back, with its time"

    await story.kube.patch(UPGRADE, upgrade, None, {"spec": {"notice": {"title": "Shop 2.4, again"}}})
    second, _ = await told(2, "Shop 2.4, again")
    assert second["time"] > first["time"]
    await story.until_run(upgrade, acme, lambda run: run.get("noticeTime") == second["time"], "the lead counts anew")


async def test_a_decision_is_answered_by_whoever_can(story: Story, days: Days) -> None:
    """No upgrade of that name; one that does not select the namespace; then both are put right, and the upgrade answers."""
    acme = await story.tenant("acme")
    await story.tenant("canary", labels=CANARY)
    await story.ready()
    elsewhere = story.unique("elsewhere")
    await story.apply(namespace(elsewhere, {}))
    await story.operator()
    early, stray = [await days.decide(tenant, story.unique("up"), "OptOut") for tenant in (acme, elsewhere)]
    for tenant, decision in ((acme, early), (elsewhere, stray)):
        status, reason, message = await days.answer(tenant, decision)
        assert (status, reason) == ("False", "UnknownTarget")
        assert message.startswith(f"there is no TenantUpgrade {story.unique('up')}")

    async def is_answered(tenant: str, decision: str, reason: str, words: str = "") -> None:
        await story.kube.wait_until(
            "tenantwave.io/v1alpha1/TenantDecision",
            decision,
            tenant,
            lambda body: condition(body, "Accepted").get("reason") == reason and words in condition(body, "Accepted")["message"],
            saying=f"{decision} is answered {reason}",
            timeout=90,
        )

    waves = [
        {"name": "canary", "selector": {"matchLabels": CANARY}, "approval": {"when": "Before"}, "soak": "1s"},
        {"name": "rest", "soak": "1s"},
    ]
    await story.policy(waves=waves)
    upgrade = await story.upgrade()
    await is_answered(acme, early, "Accepted")
    await is_answered(elsewhere, stray, "UnknownTarget", f"does not select namespace {elsewhere}")
    await story.until_run(upgrade, acme, lambda run: run.get("reason") == "OptedOut", "is passed by")
    labels = {f"tenantwave.io/product-{story.product}": "true"}
    await story.kube.patch("Namespace", elsewhere, None, {"metadata": {"labels": labels}})
    await is_answered(elsewhere, stray, "Accepted")
