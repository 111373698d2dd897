"""Many tenants stand still, each at a write of its own at which nobody has died yet; then the operator dies, and they all go on to the next.

One death covers as many writes as there are tenants. What a write is tells `support.labels`, not its number: so writes that only a
recovery makes are met and died at, too.
"""

from __future__ import annotations

import asyncio
import random
from collections import Counter
from collections.abc import Callable, Mapping, Sequence

from support.between import Answer, Call, Cut, Faithful, Forward
from support.labels import case_of, label_of

BEFORE, AFTER, LATE = "before", "after", "late"
MOMENTS: Mapping[str, str] = {
    BEFORE: "the write never leaves the dying process",
    AFTER: "the write lands, and the process dies without its answer",
    LATE: "the write leaves the dying process, and arrives when its successor is at work",
}
LATE_SECONDS = 0.6
"""A late write arrives at a random moment of so many seconds after its sender's successor has warm caches."""

Wanted = Callable[[Call], Sequence[str]]
"""Says at which moments somebody shall die at a write."""


def after_all_and_late_in_tenants(call: Call) -> Sequence[str]:
    """Die after each write; what was written is then the same as before the next one. In tenants let it also arrive late."""
    return (AFTER, LATE) if "/namespaces/case-" in call.path and "/tenantprofiles" not in call.path else (AFTER,)


def all_moments(call: Call) -> Sequence[str]:
    """Die before, after and late, at each write."""
    return tuple(MOMENTS)


class Dying(Faithful):
    """A script that stops each case at the first write that is still to be died at. `covered`: write and moment -> the case that stood there."""

    def __init__(self, wanted: Wanted, uids: Mapping[str, str], seed: int) -> None:
        self._wanted = wanted
        self._uids = uids
        self._random = random.Random(seed)
        self._successor_works = asyncio.Event()
        self.phase = ""
        """Set before the labels, so that the same write may be died at again in another phase."""
        self.covered: dict[str, str] = {}
        self.met: Counter[str] = Counter()
        """Every write that a case made, and how often."""
        self.stood: dict[str, str] = {}
        """Case -> where it stands now."""
        self.nobodys: Counter[str] = Counter()
        """Writes that are for no case."""
        self.late_codes: Counter[int] = Counter()
        """How the API server answered what arrived late."""

    async def answer(self, call: Call, forward: Forward) -> Answer:
        if not call.is_write:
            return await forward()
        case = case_of(call, self._uids)
        if not case:
            self.nobodys[str(call)] += 1
            return await forward()
        label = f"{self.phase}{label_of(call, case)}"
        self.met[label] += 1
        point, moment = next(((f"{one} {label}", one) for one in self._wanted(call) if f"{one} {label}" not in self.covered), ("", ""))
        if not point or case in self.stood:
            return await forward()
        self.covered[point] = case
        self.stood[case] = point
        if moment == AFTER:
            await forward()
        successor_works = self._successor_works
        await successor_works.wait()
        if moment == LATE:
            await asyncio.sleep(self._random.uniform(0, LATE_SECONDS))
            self.late_codes[(await forward()).code] += 1
        raise Cut

    def bury(self) -> None:
        """The operator is dead: nobody stands any more."""
        self._buried, self._successor_works = self._successor_works, asyncio.Event()
        self.stood.clear()

    def succeed(self) -> None:
        """A successor works: what the dead one had sent may arrive."""
        self._buried.set()
