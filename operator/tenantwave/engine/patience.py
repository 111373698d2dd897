"""How long to leave a tenant alone in which work failed: longer each time, and without holding up anybody else."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta

from tenantwave.engine.queue import backoff
from tenantwave.faults import Conflict, Fault

SOON = timedelta(milliseconds=200)
"""Somebody else was faster: the watch shows what they did in a moment."""
ORDINARY_CONFLICTS = 10
"""So many times in a row somebody may be faster. The same conflict once more is no race: something is there that looking again does not mend."""
LONGEST_AFTER_CONFLICT = timedelta(seconds=10)
TOLD_AT = 6
"""After so many failures in a row (about 30 s; of a conflict 20 s) people are told."""

Key = tuple[str, str]
"""Upgrade and tenant."""


@dataclass(frozen=True, slots=True)
class Setback:
    """What a failure means: how long to wait, whether it has lasted, and whether it has just now become news."""

    wait: timedelta
    lasts: bool = False
    is_news: bool = False


class Patience:
    """Which tenants are left alone, and until when (seconds on the monotonic clock)."""

    def __init__(self) -> None:
        self._until: dict[Key, float] = {}
        self._rows: dict[tuple[Key, bool], tuple[str, int]] = {}
        """Of conflicts and of all else: what failed last, and how often in a row."""

    def is_over(self, upgrade: str, tenant: str, now: float) -> bool:
        """Tell whether the tenant may be worked in."""
        return self._until.get((upgrade, tenant), 0.0) <= now

    def fail(self, upgrade: str, tenant: str, fault: Fault, now: float) -> Setback:
        """Note that work failed. The wait is 0.5 s, doubled up to 300 s; after a conflict 0.2 s, and where the same comes on and on up to 10 s.

        Another write that fails is no row: the one that failed before has gone well since, and a rollback that gets on, however
        bumpily, is not to be left alone for minutes.
        """
        key, is_conflict = (upgrade, tenant), isinstance(fault, Conflict)
        doing = fault.message if is_conflict else fault.message.partition(": ")[0]
        before, count = self._rows.get((key, is_conflict), ("", 0))
        count = count + 1 if before == doing else 1
        self._rows[key, is_conflict] = (doing, count)
        row = count - ORDINARY_CONFLICTS if is_conflict else count
        wait = SOON if row <= 0 else max(backoff(row, 0.5), fault.retry_after or timedelta())
        wait = min(wait, LONGEST_AFTER_CONFLICT) if is_conflict else wait
        self._until[key] = now + wait.total_seconds()
        return Setback(wait, row >= TOLD_AT, row == TOLD_AT)

    def forget(self, upgrade: str, tenant: str) -> None:
        """Note that work went well."""
        key = (upgrade, tenant)
        self._until.pop(key, None)
        for is_conflict in (True, False):
            self._rows.pop((key, is_conflict), None)

    def drop(self, upgrade: str) -> None:
        """Forget an upgrade that is gone."""
        for key in [key for key in self._until if key[0] == upgrade]:
            self.forget(*key)

    def next_end(self, upgrade: str, now: float) -> timedelta | None:
        """Return how long until the first of the upgrade's tenants may be worked in again; None where none waits."""
        left = [until - now for key, until in self._until.items() if key[0] == upgrade and until > now]
        return timedelta(seconds=min(left)) if left else None
