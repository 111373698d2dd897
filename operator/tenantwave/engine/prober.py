"""Fetches the numbers that gates need, beside the loop: nothing ever waits for Prometheus inside a decision.

Each reconcile hands over what is to be judged; the prober answers at once with what it knows, starts a tick if one is due, and rings
the bell when the answers are in. Policies with one source share their answers; four questions at once, and three hundred a minute, are the
most that one source gets. Where that is not enough, ticks come less often; nothing is left out.
"""

from __future__ import annotations

import asyncio
import logging
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import replace
from datetime import datetime
from typing import TypeVar

from tenantwave.core.gates import (
    Answer,
    Ask,
    FailureKind,
    GateBook,
    GateContext,
    Purpose,
    QueryFailure,
    Source,
    TickRequest,
    TickSample,
    advance,
    due,
    halved,
    is_due,
)
from tenantwave.engine.pace import Pace
from tenantwave.ports import Clock, Metrics

PARALLEL_PER_SOURCE = 4
QUERIES_PER_MINUTE = 300
REMEMBERED_ANSWERS = 256
REMEMBERED_ROWS = 50_000  # some 20 MB

COMPUTE_IN_LOOP = 500  # tenants, with those of the control, times gates

_Result = TypeVar("_Result")
_log = logging.getLogger(__name__)
_Question = tuple[Source, str, datetime]
_Server = tuple[str, str | None, tuple[tuple[str, str], ...]]
"""Who is asked, and as whom: address, Secret and headers. Policies that differ in nothing else load the same server."""
LOGGED_FAILURES = 3


class Prober:
    """Knows the book of every upgrade that is judged. One tick of an upgrade runs at a time; a question that two of them ask is sent
    once."""

    def __init__(
        self,
        metrics: Metrics,
        clock: Clock,
        on_news: Callable[[str], None],
        *,
        parallel_per_source: int = PARALLEL_PER_SOURCE,
        queries_per_minute: int = QUERIES_PER_MINUTE,
    ) -> None:
        self._metrics = metrics
        self._clock = clock
        self._on_news = on_news
        self._parallel = parallel_per_source
        self._per_minute = queries_per_minute
        self._books: dict[str, GateBook] = {}
        self._contexts: dict[str, GateContext] = {}
        self._ticks: dict[str, asyncio.Task[None]] = {}
        self._answers: OrderedDict[_Question, asyncio.Task[Answer]] = OrderedDict()
        self._slots: dict[_Server, asyncio.Semaphore] = {}
        self._paces: dict[_Server, Pace] = {}
        self._reported: dict[str, tuple[dict[str, str], frozenset[FailureKind]]] = {}
        """Upgrade -> what its last line in the log said: verdicts by wave, and why questions had no answer."""

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
            now = self._clock.now()
            if is_due(book, context, now):
                self._ticks[upgrade] = asyncio.create_task(self._tick(upgrade, context, now), name=f"gates of {upgrade}")
        return book

    def forget(self, upgrade: str) -> None:
        """Drop an upgrade that is no longer judged. A tick that runs is called off."""
        self._books.pop(upgrade, None)
        self._contexts.pop(upgrade, None)
        self._reported.pop(upgrade, None)
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

    async def _tick(self, upgrade: str, context: GateContext, now: datetime) -> None:
        """Ask all questions of a tick, and take in the answers. The two long computations leave the loop free where the fleet is large."""
        begun = asyncio.get_running_loop().time()
        try:
            request = await self._computed(context, due, self._books[upgrade], context, now)
            if request is not None:
                parts = await asyncio.gather(*(self._answered(request, ask, upgrade) for ask in request.asks))
                answers = tuple(pair for part in parts for pair in part)
                is_slow = (
                    asyncio.get_running_loop().time() - begun > request.interval.total_seconds()
                )  # also if it had to wait for its turn
                sample = TickSample(request.run_id, request.time, request.interval, self._clock.now(), answers, is_slow)
                latest = self._contexts[upgrade]
                self._books[upgrade] = await self._advanced(upgrade, latest, sample)
                self._report(upgrade, request, sample, asyncio.get_running_loop().time() - begun)
        except Exception:  # noqa: BLE001  whatever it was, the next tick must come; but no sooner, so the bell is not rung
            _log.exception("the gates of %s could not be evaluated at %s; they are looked at again later", upgrade, now.isoformat())
            return
        finally:
            if self._ticks.get(upgrade) is asyncio.current_task():
                del self._ticks[upgrade]
        self._on_news(upgrade)

    async def _advanced(self, upgrade: str, context: GateContext, sample: TickSample) -> GateBook:
        """Return the book after the tick. If that fails, the tick has told nothing: Unknown, not the last verdict for ever."""
        book = self._books[upgrade]
        try:
            return await self._computed(context, advance, book, context, sample)
        except Exception:  # noqa: BLE001  an answer that nobody foresaw must not leave the wave as it was
            _log.exception(
                "the answers about %s at %s could not be judged; nothing follows from this tick", upgrade, sample.time.isoformat()
            )
            failure = QueryFailure(FailureKind.QUERY_INVALID, "the answers could not be judged; the operator's log says why")
            blank = tuple((ask, failure) for ask, _ in sample.answers)
            return await self._computed(context, advance, book, context, replace(sample, answers=blank))

    async def _computed(self, context: GateContext, compute: Callable[..., _Result], *arguments: object) -> _Result:
        """Compute in a thread what would hold up the loop: some 0.1 ms per tenant and gate."""
        if (len(context.tenants) + len(context.control)) * len(context.rules) <= COMPUTE_IN_LOOP:
            return compute(*arguments)
        return await asyncio.to_thread(compute, *arguments)

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
        answer = await asyncio.shield(flight)
        if isinstance(answer, QueryFailure) and ask.purpose is not Purpose.LIVE:
            self._answers.pop(
                question, None
            )  # what is asked of the past is asked again with the same words: a failure is no answer to keep
        return answer

    async def _ask(self, source: Source, ask: Ask) -> Answer:
        server = (source.url, source.secret_name, source.headers)
        async with self._slots.setdefault(server, asyncio.Semaphore(self._parallel)):
            await self._paces.setdefault(server, Pace(self._per_minute)).turn()
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

    def _report(self, upgrade: str, request: TickRequest, sample: TickSample, seconds: float) -> None:
        """Write one line per tick; people see it only where it says something new. A server's own words stand here and nowhere else."""
        failures = [(ask, answer) for ask, answer in sample.answers if isinstance(answer, QueryFailure)]
        verdicts = {name: wave.verdict.value for name, wave in self._books[upgrade].waves.items()}
        kinds = frozenset(failure.kind for _, failure in failures)
        is_news = self._reported.get(upgrade) != (verdicts, kinds)
        self._reported[upgrade] = (verdicts, kinds)
        told = [
            f"{ask.gate} ({ask.part.value}): {failure.kind.value}: {failure.message} {failure.detail}".rstrip()
            for ask, failure in failures[:LOGGED_FAILURES]
        ]
        tick = {
            "upgrade": upgrade,
            "time": request.time.isoformat(),
            "verdicts": verdicts,
            "questions": len(sample.answers),
            "failures": len(failures),
            "durationSeconds": round(seconds, 3),
            "isSlow": sample.is_slow,
            "problems": told,
        }
        _log.log(
            logging.WARNING if is_news and failures else logging.INFO,
            "gates of %s at %s: %s; %d questions, %d without an answer%s",
            upgrade,
            tick["time"],
            ", ".join(f"{wave} {verdict}" for wave, verdict in verdicts.items()) or "nobody to judge yet",
            len(sample.answers),
            len(failures),
            "".join(f"; gate {each}" for each in told),
            extra={"fields": {"tick": tick}, "is_news": is_news},
        )


def _row_count(flight: asyncio.Task[Answer]) -> int:
    if flight.cancelled() or flight.exception() is not None:
        return 0
    answer = flight.result()
    return 0 if isinstance(answer, QueryFailure) else len(answer.rows)
