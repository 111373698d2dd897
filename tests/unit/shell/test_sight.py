"""Since when the cluster is seen: outages are told from hiccups, and their end is heard once."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from tenantwave.shell.sight import AFTERMATH, Sight
from tenantwave.telemetry import Silent

NOON = datetime(2026, 6, 1, 12, tzinfo=UTC)


@pytest.mark.parametrize(
    ("codes", "ends"),
    [((200, 200), 0), ((0, 200), 0), ((0, 0, 0, 0, 200, 200), 1), ((503, 503, 503, 503, 403), 1)],
    ids=["no outage", "hiccup", "outage", "any answer ends it"],
)
def test_an_outage_ends_with_the_first_answer(codes: tuple[int, ...], ends: int) -> None:
    """One exchange a second; an outage counts from 3 s on."""
    now, returns = NOON, []
    sight = Sight(Silent(), lambda: now)
    sight.on_return = lambda: returns.append(now)
    for code in codes:
        now += timedelta(seconds=1)
        sight.api_request("get", "Pod", code, 0.01)
    assert len(returns) == ends
    assert sight.since == (returns[0] if returns else NOON)
    assert sight.shaken_until == (returns[0] + AFTERMATH if returns else None)
