"""Fetches the numbers that gates need, beside the loop: nothing ever waits for Prometheus inside a decision.

Each reconcile hands over what is to be judged; the prober answers at once with what it knows, starts a tick if one is due, and rings
the bell when the
answers are in. Policies with one source share their answers, and four questions at once are the most that one source gets.
"""

from __future__ import annotations

import asyncio
import logging
from collections import OrderedDict
from collections.abc import Callable
from datetime import datetime

from tenantwave.core.gates import Answer, Ask, GateBook, GateContext, QueryFailure, Source, TickRequest, TickSample, advance, due, halved
from tenantwave.ports import Clock, Metrics

PARALLEL_PER_SOURCE = 4
REMEMBERED_ANSWERS = 256
REMEMBERED_ROWS = 50_000  # some 20 MB

_log = logging.getLogger(__name__)
_Question = tuple[Source, str, datetime]


class Prober:
    """Knows the book of every upgrade that is judged. One tick of an upgrade runs at a time; a question that two of them ask is sent
    once."""

    def __init__(
        self, metrics: Metrics, clock: Clock, on_news: Callable[[str], None], *, parallel_per_source: int = PARALLEL_PER_SOURCE
    ) -> None:
        self._metrics = metrics
        self._clock = clock
        self._on_news = on_news
        self._parallel = parallel_per_source
        self._books: dict[str, GateBook] = {}
        self._contexts: dict[str, GateContext] = {}
        self._ticks: dict[str, asyncio.Task[None]] = {}
        self._answers: OrderedDict[_Question, asyncio.Task[Answer]] = OrderedDict()
        self._slots: dict[Source, asyncio.Semaphore] = {}

    def book(self, upgrade: str) -> GateBook | None:
        """Return what is known of an upgrade; None if it was never looked at in this process, so that what is stored counts."""
        return self._books.get(upgrade)

    def look(self, upgrade: str, context: GateContext, stored: GateBook | None = None) -> GateBook:
        """Return what is known now, and start a tick if one is due; `on_news` is called when it is done. Never waits.

        `stored` is used where this process knows nothing yet. Must be called inside the event loop.
        """
        book = self._books.setdefault(upgrade, stored if stored is not None else GateBook())
        self._contexts[upgrade] = context
        if upgrade not in self._ticks:
            request = due(book, context, self._clock.now())
            if request is not None:
                self._ticks[upgrade] = asyncio.create_task(self._tick(upgrade, request), name=f"gates of {upgrade}")
        return book

    def forget(self, upgrade: str) -> None:
        """Drop an upgrade that is no longer judged. A tick that runs is called off."""
        self._books.pop(upgrade, None)
        self._contexts.pop(upgrade, None)
        tick = self._ticks.pop(upgrade, None)
        if tick is not None:
            tick.cancel()

    async def close(self) -> None:
        """Call off everything that runs, and wait until it has ended."""
        running = [*self._ticks.values(), *self._answers.values()]
        self._ticks.clear()
        self._answers.clear()
        for task in running:
            task.cancel()
        await asyncio.gather(*running, return_exceptions=True)

    async def _tick(self, upgrade: str, request: TickRequest) -> None:
        try:
            parts = await asyncio.gather(*(self._answered(request, ask, upgrade) for ask in request.asks))
            answers = tuple(pair for part in parts for pair in part)
            sample = TickSample(request.run_id, request.time, request.interval, self._clock.now(), answers)
            if upgrade in self._books:
                self._books[upgrade] = advance(self._books[upgrade], self._contexts[upgrade], sample)
                self._report(upgrade, request, answers)
        except Exception:  # noqa: BLE001  whatever it was, the next tick must come
            _log.exception(
                "the gates of %s could not be evaluated at %s; they are looked at again at the next tick", upgrade, request.time.isoformat()
            )
        finally:
            if self._ticks.get(upgrade) is asyncio.current_task():
                del self._ticks[upgrade]
        self._on_news(upgrade)

    async def _answered(self, request: TickRequest, ask: Ask, upgrade: str) -> tuple[tuple[Ask, Answer], ...]:
        """Return the answer, or those of its halves where the question was too large: at most as many as there are tenants."""
        answer = await self._shared(request.source, ask)
        if not (isinstance(answer, QueryFailure) and answer.can_split):
            return ((ask, answer),)
        context = self._contexts.get(upgrade)
        halves = halved(ask, context) if context is not None else ()
        if not halves:
            return ((ask, answer),)
        parts = [await self._answered(request, half, upgrade) for half in halves]
        return tuple(pair for part in parts for pair in part)

    async def _shared(self, source: Source, ask: Ask) -> Answer:
        """Return the answer to a question, sent once however many ask for it."""
        question = (source, ask.promql, ask.time)
        flight = self._answers.get(question)
        if flight is None or flight.cancelled():
            flight = asyncio.create_task(self._ask(source, ask))
            self._answers[question] = flight
            self._forget_old_answers()
        return await asyncio.shield(flight)

    async def _ask(self, source: Source, ask: Ask) -> Answer:
        async with self._slots.setdefault(source, asyncio.Semaphore(self._parallel)):
            return await self._metrics.query(source, ask.promql, ask.time, source.timeout)

    def _forget_old_answers(self) -> None:
        """Drop the oldest answers that have come, until few enough are left: upgrades that share a source ask within one tick."""
        rows = {question: _row_count(flight) for question, flight in self._answers.items() if flight.done()}
        total = sum(rows.values())
        for question, count in rows.items():
            if len(self._answers) <= REMEMBERED_ANSWERS and total <= REMEMBERED_ROWS:
                return
            del self._answers[question]
            total -= count

    def _report(self, upgrade: str, request: TickRequest, answers: tuple[tuple[Ask, Answer], ...]) -> None:
        """Write one line per tick; a server's own words stand here and nowhere else."""
        failures = [(ask, answer) for ask, answer in answers if isinstance(answer, QueryFailure)]
        book = self._books[upgrade]
        verdicts = {name: wave.verdict.value for name, wave in book.waves.items()}
        _log.info(
            "gates of %s at %s: %s; %d questions, %d without an answer",
            upgrade,
            request.time.isoformat(),
            verdicts,
            len(answers),
            len(failures),
        )
        for ask, failure in failures[:3]:
            _log.warning("gate %s (%s): %s: %s %s", ask.gate, ask.part.value, failure.kind.value, failure.message, failure.detail)


def _row_count(flight: asyncio.Task[Answer]) -> int:
    if flight.cancelled() or flight.exception() is not None:
        return 0
    answer = flight.result()
    return 0 if isinstance(answer, QueryFailure) else len(answer.rows)
