"""How long to leave a tenant alone in which work failed: longer each time, and without holding up anybody else."""

from __future__ import annotations

from datetime import timedelta

from tenantwave.engine.queue import backoff
from tenantwave.faults import Conflict, Fault

SOON = timedelta(milliseconds=200)
"""Somebody else was faster: the watch shows what they did in a moment."""

Key = tuple[str, str]
"""Upgrade and tenant."""


class Patience:
    """Which tenants are left alone, and until when (seconds on the monotonic clock)."""

    def __init__(self) -> None:
        self._until: dict[Key, float] = {}
        self._counts: dict[Key, int] = {}
        self._doing: dict[Key, str] = {}

    def is_over(self, upgrade: str, tenant: str, now: float) -> bool:
        """Tell whether the tenant may be worked in."""
        return self._until.get((upgrade, tenant), 0.0) <= now

    def fail(self, upgrade: str, tenant: str, fault: Fault, now: float) -> tuple[int, timedelta]:
        """Note that work failed. Return how often in a row, and how long to wait: 0.2 s after a conflict, else 0.5 s doubled up to 300 s.

        Another write that fails is no row: the one that failed before has gone well since, and a rollback that gets on, however
        bumpily, is not to be left alone for minutes.
        """
        key = (upgrade, tenant)
        if isinstance(fault, Conflict):
            wait = SOON
        else:
            doing = fault.message.partition(": ")[0]
            self._counts[key] = self._counts.get(key, 0) + 1 if self._doing.get(key) == doing else 1
            self._doing[key] = doing
            wait = max(backoff(self._counts[key], 0.5), fault.retry_after or timedelta())
        self._until[key] = now + wait.total_seconds()
        return self._counts.get(key, 0), wait

    def forget(self, upgrade: str, tenant: str) -> None:
        """Note that work went well."""
        self._until.pop((upgrade, tenant), None)
        self._counts.pop((upgrade, tenant), None)
        self._doing.pop((upgrade, tenant), None)

    def drop(self, upgrade: str) -> None:
        """Forget an upgrade that is gone."""
        for key in [key for key in self._until if key[0] == upgrade]:
            self.forget(*key)

    def next_end(self, upgrade: str, now: float) -> timedelta | None:
        """Return how long until the first of the upgrade's tenants may be worked in again; None where none waits."""
        left = [until - now for key, until in self._until.items() if key[0] == upgrade and until > now]
        return timedelta(seconds=min(left)) if left else None
