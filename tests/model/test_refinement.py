"""The code's steps are the model's steps: what the engine does to an object and to its journal, the model can do, in the same order.

The engine runs as it is, on the API server in memory, through one mishap of ours and one write of somebody else at every pair of moments.
After each write the object and the journal are looked at. The model walks along: it may do anything in between that changes neither. Where it
cannot follow, the engine has made a step that the protocol does not know; where both arrive, they end alike.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from functools import cache
from itertools import islice, product
from typing import Any

import pytest

from fakes import CrashNow, Late, Request
from model.exploring import Explored, explore
from model.world import BEFORE, RELEASES, Budget, Content, Phase, World
from support.tenant_story import ACME, S, Story, a_spec
from tenantwave.api.kinds import CONFIG_MAP, INTENT_ANNOTATION
from tenantwave.api.tenant_run import Direction
from tenantwave.faults import Fault, OutcomeUnknown

NAME = "app-config"
KEYS = ("released", "own")


@dataclass(frozen=True)
class Look:
    """What can be seen, in the engine as in the model: the object, the writes in the journal, where the turn is, how often others wrote."""

    content: Content | None
    marker: int
    writes: tuple[tuple[int, bool, str], ...]
    phase: str
    foreign_count: int


FORWARD = {Phase.APPLY, Phase.SOAK, Phase.FINISH}
STATES = {
    S.ROLLING_BACK: "back",
    S.SUCCEEDED: "Succeeded",
    S.ROLLED_BACK: "RolledBack",
    S.HELD: "Held",
    S.ROLLBACK_FAILED: "RollbackFailed",
}


def look_at(world: World) -> Look:
    """Look at a state of the model."""
    found, journal = world.object, world.journal
    phase = "forward" if journal.phase in FORWARD else "back" if journal.phase is Phase.BACK else journal.phase.value
    writes = tuple((one.seq, one.is_back, one.known.value) for one in journal.intents)
    return Look(found and found.content, found.marker if found else 0, writes, phase, world.truth.foreign_count)


class Model:
    """All states, by what can be seen of them."""

    def __init__(self, found: Explored) -> None:
        self.followers = found.followers
        self.looks = [look_at(world) for world in found.states]

    def follow(self, seen: list[Look]) -> int:
        """Return how many of these looks the model can have in this order, doing anything unseen in between."""
        here = {0} if seen[0] == self.looks[0] else set()
        for number, look in enumerate(seen):
            reached = {state for state in here if self.looks[state] == look}
            if not reached:
                return number
            here, waiting = set(), list(reached)
            while waiting:
                for state in self.followers[waiting.pop()]:
                    if self.looks[state] != look:
                        here.add(state)
                    elif state not in reached:
                        reached.add(state)
                        waiting.append(state)
        return len(seen)


@cache
def model() -> Model:
    """Explore what one mishap, one lost answer and one write of somebody else can lead to."""
    return Model(explore(Budget(crash_count=1, lost_count=1, foreign_count=1)))


@dataclass
class Engine:
    """A tenant with one ConfigMap and one Deployment, and all that was seen of the ConfigMap and its journal."""

    story: Story
    seen: list[Look] = field(default_factory=list)
    foreign_count: int = 0
    _numbers: dict[int, int] = field(default_factory=dict)

    def look(self) -> None:
        """Note what can be seen, if it is new."""
        status = self.story.status
        writes = []
        for one in status.intents:
            if one.target.name == NAME:
                number = self._numbers.setdefault(one.seq, len(self._numbers) + 1)
                writes.append((number, one.direction is Direction.ROLLBACK, one.state.value))
        content, marker = None, 0
        if self.story.cluster.has(CONFIG_MAP, ACME, NAME):
            raw = self.story.cluster.see(CONFIG_MAP, ACME, NAME)
            content = tuple(str(raw["data"].get(key, "")) for key in KEYS)
            mark = (raw["metadata"].get("annotations") or {}).get(INTENT_ANNOTATION, "").rpartition("/")[2]
            marker = -1 if mark == "fence" else self._numbers[int(mark)] if mark else 0
        assert status.state is not None
        look = Look(content, marker, tuple(writes), STATES.get(status.state, "forward"), self.foreign_count)
        if not self.seen or self.seen[-1] != look:
            self.seen.append(look)

    def somebody_else(self, what: str) -> None:
        """Write as the model's somebody else does, where he could."""
        cluster, fresh = self.story.cluster, f"t{self.foreign_count + 1}"
        if not cluster.has(CONFIG_MAP, ACME, NAME) or self.story.status.state in ENDS:
            return
        raw = cluster.see(CONFIG_MAP, ACME, NAME)
        is_marked = INTENT_ANNOTATION in (raw["metadata"].get("annotations") or {})
        match what:
            case "strip" | "apply" if not is_marked:
                return
            case "adopt" if raw["data"]["released"] == "a1" or any(one.target.name == NAME for one in self.story.status.intents):
                return
            case "delete":
                cluster.remove(CONFIG_MAP, ACME, NAME)
            case _:
                cluster.edit(CONFIG_MAP, ACME, NAME, FOREIGN[what](fresh))
        self.foreign_count += 1
        self.look()


FOREIGN: dict[str, Callable[[str], dict[str, Any]]] = {
    "edit released": lambda fresh: {"data": {"released": fresh}},
    "edit own": lambda fresh: {"data": {"own": fresh}},
    "adopt": lambda fresh: {"data": {"released": "a1"}},
    "strip": lambda fresh: {"metadata": {"annotations": None}},
    "apply": lambda fresh: {"data": {"released": fresh}, "metadata": {"annotations": None}},
    "delete": lambda fresh: {},
}
ENDS = (S.SUCCEEDED, S.ROLLED_BACK, S.HELD, S.ROLLBACK_FAILED)
STRIDE = int(os.environ.get("TENANTWAVE_MODEL_STRIDE", "397"))
"""Of all schedules every so-many-th is played, some 300 of 120,000 at 25 ms; a prime, so that nothing is left out by rule. 1 plays them all."""

Schedule = tuple[tuple[str, int], tuple[str, int], int]


async def an_engine() -> Engine:
    """Return a tenant whose turn has come: the same as the model's."""
    (old, new), live = [dict(zip(KEYS, one, strict=True)) for one in RELEASES[:2]], dict(zip(KEYS, BEFORE, strict=True))
    workload = {"kind": "Deployment", "name": "api", "containers": [{"name": "api", "image": "shop/api:2.4.0"}]}
    spec = a_spec(components=[{"name": "api", "workload": workload}])
    story = Story(spec=spec, old={NAME: old}, new={NAME: new}, live={NAME: live})
    return Engine(await story.begin())


async def play(engine: Engine, mishap: tuple[str, int], foreign: tuple[str, int], arrival: int, order: str) -> None:
    """Play one schedule: what goes wrong at which write, what somebody else does before which write, when a late write arrives."""
    story, (what, at), (deed, moment) = engine.story, mishap, foreign

    def before(number: int, request: Request) -> None:
        engine.look()
        if number == arrival:
            story.cluster.deliver()
            engine.look()
        if number == moment:
            engine.somebody_else(deed)
        if number == at and what == "die before":
            raise CrashNow
        if number == at and what == "late":
            raise Late(CrashNow())
        if number == at and what == "lost":
            raise Late(OutcomeUnknown("the answer was lost"))

    def after(number: int, request: Request) -> None:
        engine.look()
        if number == at and what == "die after":
            raise CrashNow

    story.cluster.before, story.cluster.after = before, after
    engine.look()
    for _ in range(16):
        if story.status.state is S.SOAKING and order == "after the soak":
            story.order_back()
            engine.look()
        try:
            await story.step()
        except CrashNow:
            story.restart()
            if order == "after the mishap" and story.status.state not in (S.ROLLING_BACK, *ENDS):
                story.order_back()
        except Fault:
            pass
        engine.look()
        if story.status.state in ENDS:
            return
    raise AssertionError(f"no end: {story.status.state}: {story.status.message}")


def schedules(what: str, count: int) -> list[Schedule]:
    """Return a fair part of all: each moment of the mishap, each of the foreign write, each arrival of what is late."""
    arrivals = (1, 2, 3, 5) if what in ("late", "lost") else (0,)
    moments = range(1, count + 3)
    everything = product(range(1, count + 1), moments, FOREIGN, arrivals)
    return [((what, at), (deed, moment), at + later) for at, moment, deed, later in islice(everything, 0, None, STRIDE)]


@pytest.mark.parametrize("order", ["", "after the soak", "after the mishap"])
@pytest.mark.parametrize("what", ["die before", "die after", "late", "lost"])
async def test_the_model_can_follow_every_step_of_the_engine(what: str, order: str) -> None:
    """Moments of a mishap, each with moments of each foreign write: what is seen of the engine is a run of the model, and it ends."""
    undisturbed = await an_engine()
    await play(undisturbed, ("", 0), ("", 0), 0, order)
    chosen = schedules(what, len(undisturbed.story.cluster.writes))
    for mishap, foreign, arrival in chosen:
        engine = await an_engine()
        await play(engine, mishap, foreign, arrival, order)
        followed = model().follow(engine.seen)
        told = "\n".join(f"{'   ' if number < followed else '-> '}{look}" for number, look in enumerate(engine.seen))
        assert followed == len(engine.seen), f"{mishap}, {foreign}, arrival {arrival}: the model cannot follow\n{told}"
    assert chosen, "no schedule was played"


@pytest.mark.parametrize("what", ["a goal that nobody wanted", "a write without intent", "an edit that is lost"])
async def test_the_model_does_not_follow_what_the_protocol_forbids(what: str) -> None:
    """A check that follows everything would show nothing."""
    engine = await an_engine()
    await play(engine, ("", 0), ("", 0), 0, "after the soak")
    assert model().follow(engine.seen) == len(engine.seen)
    forged = {
        "a goal that nobody wanted": [*engine.seen[:-1], replace(engine.seen[-1], content=("a1", "mine"))],
        "a write without intent": [engine.seen[0], replace(engine.seen[0], content=("a1", "mine"), marker=1)],
        "an edit that is lost": [engine.seen[0], replace(engine.seen[0], content=("a0", "b0"))],
    }[what]
    assert model().follow(forged) == len(forged) - 1
