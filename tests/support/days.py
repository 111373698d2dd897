"""Stories that take days: a clock that the test moves, tenants that decide, and starts at exactly the opening."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from localcluster.client import eventually

from support.story import ACTION, GROUP_VERSION, IMAGE, PROFILE, UPGRADE, OperatorProcess, Story, condition
from support.told_time import VARIABLE, Move, Timeline

Object = dict[str, Any]

DECISION = f"{GROUP_VERSION}/TenantDecision"
OLD, NEW = f"{IMAGE}:2.3.1", f"{IMAGE}:2.4.0"
SECOND = timedelta(seconds=1)
SURELY_OPEN = timedelta(seconds=31)
"""So long after an opening a start is due: the operator's own clock may be up to 30 s ahead."""


def utc(text: str) -> datetime:
    """Read an instant: `2027-03-14 07:30`, with seconds or without."""
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


def stamp(time: datetime) -> str:
    """Write an instant as manifests do."""
    return f"{time.astimezone(UTC):%Y-%m-%dT%H:%M:%SZ}"


def weekly(*days: str, start: str, duration: str, name: str = "agreed", **fields: Any) -> Object:
    """Return a weekly window."""
    return {"name": name, "weekly": {"days": list(days), "start": start, "duration": duration} | fields}


def once(start: datetime, duration: str, name: str = "agreed") -> Object:
    """Return a window that opens once."""
    return {"name": name, "once": {"start": stamp(start), "duration": duration}}


def freeze(name: str, first: str, last: str) -> Object:
    """Return a freeze over these local dates, both inclusive."""
    return {"name": name, "dates": {"from": first, "to": last}}


class ToldTime:
    """The test's hand on the clock of an operator that runs with `environment`.

    Args: was_made_since: tells whether an object whose stamp counts was made at that second or later.
    """

    def __init__(self, path: Path, was_made_since: Callable[[datetime], Awaitable[bool]]) -> None:
        self._path = path
        self._was_made_since = was_made_since
        self._moves: list[Move] = []
        self.environment = {VARIABLE: str(path)}

    async def begin(self, at: datetime) -> None:
        """Say what time it is, running, before an operator starts."""
        await self._move(at, runs=True)

    async def stand_at(self, at: datetime) -> None:
        """Move on to an instant and stand still there; return when the operator has looked at its upgrades at that instant."""
        await self._move(at, runs=False)
        await self._acted()

    async def run_from(self, at: datetime) -> None:
        """Move on to an instant from which time runs; return when the operator has looked at its upgrades since."""
        await self._move(at, runs=True)
        await self._acted()

    def now(self) -> datetime:
        """Return what time it is told now."""
        return Timeline(tuple(self._moves)).told(datetime.now(UTC))

    async def passes_a_second(self) -> None:
        """Wait until what is made next has a later stamp than what was made so far: stamps have whole seconds."""
        await asyncio.sleep(1 - datetime.now(UTC).microsecond / 1e6)

    async def _move(self, at: datetime, *, runs: bool) -> None:
        """Move at a whole second, so that no stamp is ambiguous: at the present one if nothing was made in it so far, else at the next."""
        real = datetime.now(UTC).replace(microsecond=0)
        if (self._moves and self._moves[-1].real_time >= real) or await self._was_made_since(real):
            await self.passes_a_second()
            real = datetime.now(UTC).replace(microsecond=0)
        assert not self._moves or self.now() <= at, f"time does not go back to {at}"
        self._moves.append(move := Move(real, at, runs))
        with self._path.open("a", encoding="utf-8") as file:
            file.write(move.line())

    async def _acted(self) -> None:
        async def is_seen() -> bool:
            return self._seen_count() == len(self._moves)

        await eventually(
            is_seen, timeout=60, saying=f"the operator has looked at {self._moves[-1].told_time:%Y-%m-%dT%H:%M:%SZ}", pause=0.02
        )

    def _seen_count(self) -> int:
        seen = Path(f"{self._path}.seen")
        return int(seen.read_text() or 0) if seen.exists() else 0


class Days:
    """A story whose operator is told what time it is."""

    def __init__(self, story: Story, folder: Path) -> None:
        self.story = story
        self.time = ToldTime(folder / "moves", self._was_made_since)

    async def _was_made_since(self, time: datetime) -> bool:
        objects = [one for kind in (UPGRADE, ACTION, DECISION) for one in await self.story.kube.list(kind)]
        return any(instant(one["metadata"]["creationTimestamp"]) >= time for one in objects)

    # When.

    async def operator(self, at: datetime, **environment: str) -> OperatorProcess:
        """Start an operator for which it is that time; it may be another one after the first has ended."""
        await self.time.begin(at)
        # Zones come from the pinned package alone, as in the image.
        given = {"PYTHONTZPATH": ""} | self.time.environment | environment
        operator = await self.story.operator(environment=given, program="support.told_operator")
        await operator.ready()
        return operator

    async def decide(self, tenant: str, upgrade: str, type_: str, **spec: Any) -> str:
        """Decide as the tenant would, for an upgrade. Returns the decision's name."""
        body = {
            "apiVersion": GROUP_VERSION,
            "kind": "TenantDecision",
            "metadata": {"generateName": f"{type_.lower()}-", "namespace": tenant},
            "spec": {"upgrade": upgrade, "type": type_} | spec,
        }
        return str((await self.story.kube.create(body))["metadata"]["name"])

    # Then.

    async def answer(self, tenant: str, decision: str) -> tuple[str, str, str]:
        """Return what a decision was answered: status, reason, message."""
        body = await self.story.kube.wait_until(
            DECISION, decision, tenant, lambda body: bool(condition(body, "Accepted")), saying="answered", timeout=60
        )
        said = condition(body, "Accepted")
        return said["status"], said["reason"], said["message"]

    async def waits(self, upgrade: str, tenant: str, reason: str, saying: str = "") -> Object:
        """Wait until a tenant waits for this reason, check that it has not been touched, and return its run's status."""

        seen: list[Object] = []

        def is_so(run: Object) -> bool:
            seen[:] = [run]
            return (run.get("state"), run.get("reason")) == ("Waiting", reason) and saying in run.get("message", "")

        try:
            found = await self.story.until_run(upgrade, tenant, is_so, f"waits: {reason} {saying}", timeout=60)
        except TimeoutError as error:
            raise AssertionError(f"{error}; last seen: {seen}") from None
        assert await self.story.image(tenant) == OLD
        return found

    async def stays_shut(self, upgrade: str, tenant: str, at: datetime, reason: str, saying: str = "") -> Object:
        """Stand still at an instant: the operator has looked, and the tenant waits for this reason. Returns its run's status."""
        await self.time.stand_at(at)
        return await self.waits(upgrade, tenant, reason, saying)

    async def starts_at(
        self, upgrade: str, tenant: str, opening: datetime, *, ends: datetime | None = None, until: str = "Succeeded"
    ) -> Object:
        """Check that a tenant starts in this opening, not a second before, and gets as far as `until`. Returns its run's status."""
        before = await self.stays_shut(upgrade, tenant, opening - SECOND, "OutsideWindow", "opens")
        assert instant(before["nextOpenTime"]) == opening
        await self.time.run_from(opening + SURELY_OPEN)
        done = await self.story.until_run(upgrade, tenant, lambda run: run.get("state") == until, f"is {until}")
        assert opening <= instant(done["startTime"]) <= opening + timedelta(minutes=2)
        assert ends is None or instant(done["openingEndTime"]) == ends
        assert await self.story.image(tenant) == NEW
        return done

    async def window_shows(self, tenant: str, start: str) -> Object:
        """Wait until what a tenant's profile says of its window has this as the next opening, and return it."""

        def is_so(body: Object) -> bool:
            upcoming = body.get("status", {}).get("window", {}).get("upcoming") or [{}]
            return bool(upcoming[0].get("start") == start)

        body = await self.story.kube.wait_until(PROFILE, "tenant", tenant, is_so, saying=f"opens next at {start}")
        return dict(body["status"]["window"])

    async def profile_shows(self, tenant: str, is_so: Callable[[Object], bool]) -> Object:
        """Wait until what a tenant's profile says of its upgrade is so, and return it."""
        body = await self.story.kube.wait_until(
            PROFILE, "tenant", tenant, lambda body: is_so(body.get("status", {}).get("upgrade") or {}), saying="shows the upgrade so"
        )
        return dict(body["status"]["upgrade"])


def instant(text: str) -> datetime:
    """Read a time as a status shows it."""
    return datetime.fromisoformat(text)


def counts(upgrade: Mapping[str, Any]) -> Object:
    """Return the counts of an upgrade that are not 0."""
    return {name: number for name, number in upgrade["status"]["counts"].items() if number}
