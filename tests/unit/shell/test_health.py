"""The endpoints: each check has a line, one problem makes 503."""

from __future__ import annotations

from collections.abc import AsyncIterator

import aiohttp
import pytest

from tenantwave.shell.health import Health, HealthServer, LoopLag, limit


@pytest.fixture
async def served() -> AsyncIterator[tuple[Health, str]]:
    health = Health()
    server = HealthServer(health, lambda: (b"tenantwave_leader 1.0\n", "text/plain; version=0.0.4"))
    await server.start("127.0.0.1", 0)
    yield health, f"http://127.0.0.1:{server.port}"
    await server.close()


async def ask(url: str) -> tuple[int, str]:
    async with aiohttp.ClientSession() as session, session.get(url) as response:
        return response.status, await response.text()


async def test_a_problem_makes_it_unready_and_is_said(served: tuple[Health, str]) -> None:
    health, url = served
    problem = ""
    health.ready = {"rights": lambda: "", "caches": lambda: problem}
    assert await ask(f"{url}/readyz") == (200, "rights: ok\ncaches: ok\n")
    problem = "not listed yet: namespaces"
    assert await ask(f"{url}/readyz") == (503, "rights: ok\ncaches: not listed yet: namespaces\n")
    assert (await ask(f"{url}/healthz"))[0] == 200


async def test_metrics_are_served_as_they_are(served: tuple[Health, str]) -> None:
    assert await ask(f"{served[1]}/metrics") == (200, "tenantwave_leader 1.0\n")


async def test_nothing_else_is_served(served: tuple[Health, str]) -> None:
    assert (await ask(f"{served[1]}/"))[0] == 404


def test_an_age_has_a_limit() -> None:
    age = 59.0
    check = limit("the Lease was renewed", lambda: age, 60.0)
    assert check() == ""
    age = 61.0
    assert check() == "the Lease was renewed 61 s ago, longer than 60 s"


def test_a_blocked_loop_is_told() -> None:
    lag = LoopLag(lambda seconds: None)
    assert lag.check() == ""
    lag.last_seconds = 31.0
    assert lag.check() == "the event loop was blocked for 31 s"
