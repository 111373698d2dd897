"""Has the forecast of each upgrade computed beside the decisions, in a thread, when something has changed that it depends on."""

from __future__ import annotations

import asyncio
import logging
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any

from tenantwave.api.upgrade_status import TenantUpgradeStatus
from tenantwave.core.passes.forecasts import forecast_of
from tenantwave.core.world import Foreseen, World
from tenantwave.engine.queue import WorkQueue
from tenantwave.engine.store import Store
from tenantwave.ports import Clock

log = logging.getLogger(__name__)

OLDEST = timedelta(minutes=10)
"""Time alone moves a forecast: it is computed anew at the latest after this."""
REST = 20
"""After a forecast that took so long, this many times as long none of that upgrade is begun: 5 % of a core at most."""
SHORTEST_REST = 0.2


@dataclass(slots=True)
class _Known:
    """What the last forecast was made of, and until when (seconds, monotonic) no other is begun."""

    cause: tuple[Any, ...]
    begun: float
    rests_until: float = 0.0
    task: asyncio.Task[None] | None = None


@dataclass(slots=True)
class Forecasts:
    """Keeps `store.foreseen` up to date for every upgrade that is being carried out."""

    store: Store
    clock: Clock
    queue: WorkQueue[str]
    _known: dict[str, _Known] = field(default_factory=dict)

    def look(self, world: World, status: TenantUpgradeStatus) -> None:
        """Begin another forecast where the last one is out of date. Cost: O(waves); the forecast itself, in a thread, O(tenants)."""
        name, cause, now = world.upgrade.name, self._cause(world, status), self.clock.monotonic()
        known = self._known.get(name)
        if known is not None:
            if known.task is not None and not known.task.done():
                return  # it wakes us when it is there
            if known.cause == cause and now - known.begun < OLDEST.total_seconds():
                return
            if now < known.rests_until:
                self.queue.add_after(name, timedelta(seconds=known.rests_until - now))
                return
        known = self._known[name] = _Known(cause, now)
        known.task = asyncio.create_task(self._compute(world, known), name=f"forecast of {name}")

    def forget(self, upgrade: str) -> None:
        """Forget an upgrade that is gone."""
        self._known.pop(upgrade, None)
        self.store.foreseen.pop(upgrade, None)

    def _cause(self, world: World, status: TenantUpgradeStatus) -> tuple[Any, ...]:
        journal = world.journal
        waves = [(wave.name, wave.progress, wave.start_time, wave.tenants) for wave in journal.run.waves] if journal is not None else []
        lifts = frozenset(action.name for action in world.actions if action.accepted)
        return (
            journal.run.id if journal is not None else "",
            tuple(waves),
            world.upgrade.generation,
            status.counts,
            lifts,
            self.store.calendar_changes,
        )

    async def _compute(self, world: World, known: _Known) -> None:
        name, run = world.upgrade.name, world.journal.run.id if world.journal is not None else ""
        now = self.clock.now()
        try:
            found = await asyncio.to_thread(forecast_of, world, now)
        except Exception:
            # Nothing is decided by it: what is shown stays as it was, and the log says why.
            log.exception("%s: the forecast failed; dates in status may be old", name)
            return
        finally:
            took = self.clock.monotonic() - known.begun
            known.rests_until = self.clock.monotonic() + max(SHORTEST_REST, took * REST)
        before = self.store.foreseen.get(name)
        if found is None:
            self.store.foreseen.pop(name, None)
        elif before is None or (before.run, before.forecast) != (run, found):
            self.store.foreseen[name] = Foreseen(run, now, found)
            self.queue.add(name)
