"""OverrideGate on the real cluster: a person lets a wave pass whose metrics nobody can see. What the gate said stays on record."""

from __future__ import annotations

import asyncio
import socket
from typing import Any

from support.story import Story, condition

CANARY = {"tenantwave.io/ring": "canary"}
GATE = {"name": "errors", "ratio": {"bad": 'http_requests_total{code=~"5.."}', "total": "http_requests_total"}, "max": "1%"}
WHY = "metric was renamed"
ME = "localcluster-admin"


def nobody_listens() -> str:
    """Return an address at which there is no Prometheus."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return f"http://127.0.0.1:{free.getsockname()[1]}"


async def test_a_wave_passes_by_the_word_of_a_person(story: Story) -> None:
    """Blind, it starts nobody and passes nothing; overridden, it starts its others, soaks and passes; the next wave is not overridden."""
    for name in ("canary-a", "canary-b"):
        await story.tenant(name, labels=CANARY)
    other = await story.tenant("other")
    await story.ready()
    waves: list[dict[str, Any]] = [{"name": "canary", "selector": {"matchLabels": CANARY}, "soak": "3s"}, {"name": "rest", "soak": "3s"}]
    await story.policy(waves=waves, prometheus={"url": nobody_listens()}, gates=[GATE], evaluation={"interval": "1s", "warmUp": "0s"})
    await story.operator()
    upgrade = await story.upgrade()
    blind = await story.until(upgrade, "GateUnknown")
    assert condition(blind, "GatesPassed")["status"] == "Unknown"
    assert "cannot be told from a bad release" in condition(blind, "Accepted")["message"]
    await asyncio.sleep(5)  # longer than the soak: nothing passes by itself
    assert sorted((await story.states(upgrade)).values()) == ["Queued", "Soaking", "Waiting"]

    action = await story.act(upgrade, "OverrideGate", wave="canary", reason=WHY, requestedBy=ME)
    assert await story.answer(action) == (True, "Accepted")

    def has_passed(body: dict[str, Any]) -> bool:
        return bool(body["status"]["waves"][0]["state"] == "Passed")

    passed = await story.until_so(upgrade, has_passed, "the wave to pass")
    gate = passed["status"]["waves"][0]["gate"]
    assert (gate["verdict"], gate["reason"], gate["override"]) == ("Unknown", "Unreachable", action)
    assert gate["message"].startswith(f"passed by OverrideGate {action} of {ME}: {WHY}")
    assert await story.answer(await story.act(upgrade, "OverrideGate", wave="canary", reason=WHY)) == (False, "NotApplicable")
    held = await story.until(upgrade, "GateUnknown")
    assert "cannot be reached" in condition(held, "Ready")["message"]
    assert (await story.image(other)).endswith(":2.3.1")
