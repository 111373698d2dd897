"""Seeded traffic for the tests of the statistics: requests and errors of many tenants, tick by tick."""

from __future__ import annotations

import numpy as np

SEED = 20260101

Ticks = list[tuple[float, float]]
"""Bad and all events of each tick of one tenant."""


def bursty_traffic(tenants: int, *, requests: float, share: float, burst: int = 1, ticks: int = 20, seed: int = SEED) -> list[Ticks]:
    """Return tenants that are alike: `requests` expected a tick, of which a `share` fail, in geometric bursts of mean `burst`."""
    return _traffic(np.full(tenants, requests), np.full(tenants, share), burst, ticks, seed)


def a_fleet(
    tenants: int, *, burst: int, ticks: int, tick_seconds: float = 30, worse: float = 1.0, seed: int = SEED, hour: int = 0
) -> list[Ticks]:
    """Return tenants that differ: 0.01 to 10 requests a second, error rates around 0.1% and at most 20%, times `worse`.

    The same `seed` gives the same tenants; another `hour` gives them other traffic.
    """
    random = np.random.default_rng(seed)
    requests = tick_seconds * 10 ** random.uniform(-2, 1, tenants)
    shares = np.minimum(0.2, 0.001 * np.exp(random.normal(0, 1, tenants)))
    return _traffic(requests, np.minimum(1, shares * worse), burst, ticks, seed + 1_000 * (hour + 1))


def sessions(tenants: int, *, size: int, ticks: int, tick_seconds: float = 30, seed: int = SEED, hour: int = 0) -> list[list[float]]:
    """Return the requests by tick of tenants that differ (0.01 to 10 a second), in geometric sessions of mean `size`."""
    requests = tick_seconds * 10 ** np.random.default_rng(seed).uniform(-2, 1, tenants)
    return [[total for _, total in tenant] for tenant in _traffic(requests, np.ones(tenants), size, ticks, seed + 1_000 * (hour + 1))]


def _traffic(requests: np.ndarray, shares: np.ndarray, burst: int, ticks: int, seed: int) -> list[Ticks]:
    """Good events are Poisson; bad ones come as a Poisson number of bursts, each at least 1 and geometric."""
    random = np.random.default_rng(seed)
    size = (len(requests), ticks)
    bursts = random.poisson(np.broadcast_to((requests * shares / burst)[:, None], size))
    bad = bursts + np.where(bursts > 0, random.negative_binomial(np.maximum(bursts, 1), 1 / burst), 0) if burst > 1 else bursts
    total = bad + random.poisson(np.broadcast_to((requests * (1 - shares))[:, None], size))
    return [list(zip(bads, totals, strict=True)) for bads, totals in zip(bad.tolist(), total.tolist(), strict=True)]
