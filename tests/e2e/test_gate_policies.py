"""A policy whose gates cannot be used stops the upgrade before any tenant is touched, and says how to mend it."""

from __future__ import annotations

from typing import Any

from support.gated import ERRORS, Gated, wave
from support.story import IMAGE, condition

TOTAL = "http_requests_total"
WRONG: list[tuple[dict[str, Any], tuple[str, ...]]] = [
    ({"ratio": {"bad": 'http_requests_total{code=~"5.."', "total": TOTAL}, "max": "1%"}, ("ratio.bad: at character 32", '"}"')),
    ({"ratio": {"bad": 'http_requests_total{code=~"5.."}[5m]', "total": TOTAL}, "max": "1%"}, ("ratio.bad: at character 33", "ranges")),
    ({"ratio": {"bad": TOTAL, "total": "http_requests_total offset 1h"}, "max": "1%"}, ("ratio.total: at character 21", "offsets")),
    ({"ratio": {"bad": 'http_requests_total{namespace="acme"}', "total": TOTAL}, "max": "1%"}, ("ratio.bad: ", 'remove namespace="acme"')),
    ({"latency": {"histogram": "request_seconds_bucket", "above": "0.5"}, "max": "5%"}, ("latency.histogram: ", "without _bucket")),
    ({"query": "max(queue_lag_seconds)", "max": 60}, ("query: max loses the label namespace", "max by ({{ label }})")),
    ({"query": 'max by (namespace) (lag{namespace="acme"})', "max": 60}, ("query: ", "fixes the tenant", "put {{ tenants }}")),
    ({"query": "max by (namespace) (lag{ {{ tenants }} }) or vector(0)", "max": 60}, ("query: vector()", "write it without")),
    (
        {"query": 'label_replace(lag{ {{ tenants }} }, "namespace", "acme", "", "")', "max": 60},
        ("query: label_replace()", "write it without"),
    ),
    ({"query": "max by (namespace) (lag{ {{ tenants }} }) # good", "max": 60}, ("query: ", "comment; remove it")),
    ({"query": "max by (namespace) (lag{ {{ tenants }} }", "max": 60}, ("query: it cannot be read", "correct it")),
]
"""A gate that cannot be used, and what its problem says."""


async def test_wrong_gates_stop_the_upgrade_before_any_tenant_is_touched(gated: Gated) -> None:
    """Each is found within seconds, named and explained; the first policy that can be used lets the upgrade go on by itself."""
    story = gated.story
    tenants = await gated.tenants("shop", 2)
    await gated.ready()
    await (await story.operator()).ready()
    upgrade = ""
    for gate, words in WRONG:
        await gated.policy(wave("all", "2s"), gates=[{"name": "wrong", **gate}])
        upgrade = upgrade or await story.upgrade()

        def is_said(body: dict[str, Any], words: tuple[str, ...] = words) -> bool:
            said = condition(body, "Ready")
            return said.get("reason") == "InvalidSpec" and all(word in said["message"] for word in ("gate wrong: ", *words))

        stalled = await story.until_so(upgrade, is_said, f"{gate} is refused with {words}", timeout=10)
        assert condition(stalled, "Stalled")["status"] == "True"
    assert set((await story.states(upgrade)).values()) <= {"", "Queued"}
    assert await story.images() == dict.fromkeys(tenants, f"{IMAGE}:2.3.1")
    await gated.policy(wave("all", "2s"), gates=[ERRORS])
    await story.until(upgrade, "Succeeded")
