"""Bad weather between operators and the API server: lost answers, late requests, refusals, broken watches, and other people's hands in between."""

from __future__ import annotations

import asyncio
import random
from collections import Counter
from collections.abc import Awaitable, Callable, Mapping

from support.between import Answer, Call, Cut, Faithful, Forward, error_event, refusal

WRITE_FAULTS: Mapping[str, str] = {
    "lost": "the write lands, and its answer is lost",
    "dropped": "the write does not land, and looks like one whose answer is lost",
    "late": "the write lands a while later, perhaps after its sender's death",
    "409": "somebody was faster",
    "429": "too many requests, for a second",
    "500": "a webhook cannot be reached",
    "502": "a proxy's answer: nobody knows whether it landed",
    "503": "overloaded, for a second",
}
READ_FAULTS = ("dropped", "429", "500", "503")
WATCH_FAULTS = ("dropped", "429", "500", "503")
"""Instead of opening it; an open one is cut, or told 410, as the API server tells it: inside the stream."""

LATE_SECONDS = 2.5
WATCH_SECONDS = 20.0
"""A watch breaks off within so many seconds, in bad weather."""

Meddle = Callable[[Call], Awaitable[None]]
"""What somebody else does right before a write goes on."""


async def nobody_meddles(call: Call) -> None:
    """Do nothing."""


class Weather(Faithful):
    """A script with any fault at a share of the requests. The same seed gives the same choices for the same requests in the same order."""

    def __init__(self, seed: int, percent: float, meddle: Meddle = nobody_meddles) -> None:
        self._random = random.Random(seed)
        self._percent = percent
        self._meddle = meddle
        self.happened: Counter[str] = Counter()

    async def answer(self, call: Call, forward: Forward) -> Answer:
        if call.is_write:
            await self._meddle(call)
        elif call.method != "GET":
            return await forward()
        fault = self._chosen(tuple(WRITE_FAULTS) if call.is_write else READ_FAULTS)
        match fault:
            case "":
                return await forward()
            case "lost":
                await forward()
                raise Cut
            case "dropped":
                raise Cut
            case "late":
                await asyncio.sleep(self._random.uniform(0, LATE_SECONDS))
                return await forward()
            case "409" if call.method == "POST":
                return refusal(429)  # a create has no precondition
            case _:
                return refusal(int(fault))

    async def opened(self, call: Call) -> Answer | None:
        match self._chosen(WATCH_FAULTS):
            case "":
                return None
            case "dropped":
                raise Cut
            case fault:
                return refusal(int(fault))

    async def until_broken(self, call: Call) -> bytes:
        if not self._percent:
            return await super().until_broken(call)
        await asyncio.sleep(self._random.uniform(0, WATCH_SECONDS))
        is_told = self._random.random() < 0.5
        self.happened["watch 410" if is_told else "watch cut"] += 1
        return error_event(410) if is_told else b""

    def _chosen(self, faults: tuple[str, ...]) -> str:
        if self._random.uniform(0, 100) >= self._percent:
            return ""
        fault = self._random.choice(faults)
        self.happened[fault] += 1
        return fault
