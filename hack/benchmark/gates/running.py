"""One simulated run: a wave is upgraded, and the product's own `due` and `advance` watch it until they pass or fail it."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from decimal import Decimal
from random import Random

from benchmark.gates.naive import NaiveRun, watch
from benchmark.gates.scenarios import SOAK_TICKS, Cell
from benchmark.gates.simulated import Restart, SimulatedPrometheus, time_of
from benchmark.gates.traffic import FIRST_WRITE_TICK, LIMIT, TICK, Tenant
from tenantwave.core.gates import (
    Evaluation,
    GateBook,
    GateContext,
    GateRule,
    Ratio,
    Source,
    TenantInContext,
    TickSample,
    Verdict,
    WaveInContext,
    advance,
    due,
    sample_control,
    tenant_is_through,
    wave_is_through,
)

RULE = GateRule("errors", Ratio('http_requests_total{code=~"5.."}', "http_requests_total"), "namespace", maximum=Decimal(str(LIMIT)))
WAVE = "wave"
SOAK = SOAK_TICKS * TICK


@dataclass(frozen=True, slots=True)
class Outcome:
    """How one run ended. Ticks are counted from the start of the evidence; None: it never came to that.

    `taken_back_count`: tenants that the gates failed one by one; `spared_taken_back_count`: of these, without a fault of their own.
    `incident_tick`: when a fleet incident was first declared. `has_shift`: whether a shift was recorded.
    """

    failed_tick: int | None
    passed_tick: int | None
    reason: str
    incident_tick: int | None
    has_shift: bool
    taken_back_count: int
    spared_taken_back_count: int
    naive: NaiveRun


def run(cell: Cell, seed: str) -> Outcome:
    """Simulate one wave of a cell. The same seed gives the same outcome."""
    random = Random(f"{seed}/story")
    story = cell.scenario.tell(random, cell.wave_size, cell.ticks)

    wave = [f"wave-{number:04d}" for number in range(cell.wave_size)]
    context = _context(cell, seed, wave)
    hurt = frozenset(wave[: story.hurt_count])
    tenants = {
        name: Tenant(name, seed, cell.population, story.hurt if name in hurt else story.others) for name in (*wave, *context.control)
    }
    restarts = {name: Restart.draw(random, cell.ticks) for name in tenants} if cell.scenario.restarts else {}
    prometheus = SimulatedPrometheus(tenants, story.away, restarts)
    book, incident_tick, end_tick = GateBook(), None, cell.ticks
    for tick in range(cell.ticks + 1):
        book = _look(book, context, prometheus, tick)
        gate = book.wave(WAVE)
        if incident_tick is None and gate is not None and gate.has_incident:
            incident_tick = tick
        if gate is not None and (gate.verdict is Verdict.FAILING or is_through(book, context)):
            end_tick = tick
            break
    gate = book.wave(WAVE)
    failed = gate is not None and gate.verdict is Verdict.FAILING
    latched = [name for name in wave if (known := book.tenant(name)) is not None and known.latched]
    return Outcome(
        failed_tick=end_tick if failed else None,
        passed_tick=end_tick if is_through(book, context) else None,
        reason=gate.reason if gate is not None else "",
        incident_tick=incident_tick,
        has_shift=gate is not None and bool(gate.shift),
        taken_back_count=len(latched),
        spared_taken_back_count=len(set(latched) - hurt),
        naive=watch([tenants[name] for name in wave], cell.budget, cell.ticks, story.away),
    )


def is_through(book: GateBook, context: GateContext) -> bool:
    """Tell whether the wave would be promoted: it is through, and so is each of its tenants that was not taken back."""
    gate = book.wave(WAVE)
    if not wave_is_through(gate, SOAK, context.evaluation):
        return False
    gates = (book.tenant(tenant.name) for tenant in context.tenants)
    return all(one is not None and (one.latched or tenant_is_through(one, gate, SOAK, context.evaluation)) for one in gates)


def _look(book: GateBook, context: GateContext, prometheus: SimulatedPrometheus, tick: int) -> GateBook:
    now = time_of(tick)
    request = due(book, context, now)
    if request is None:
        return book
    answers = tuple((ask, prometheus.answer(ask, tick)) for ask in request.asks)
    return advance(book, context, TickSample(request.run_id, request.time, request.interval, now, answers))


def _context(cell: Cell, seed: str, wave: list[str]) -> GateContext:
    """Return what the planner would hand over. The first write was three minutes before the evidence begins."""
    others = [f"other-{number:04d}" for number in range(cell.others_count)]
    start, first_write = time_of(0), time_of(FIRST_WRITE_TICK)
    return GateContext(
        run_id=seed,
        source=Source("http://prometheus.test:9090"),
        rules=(RULE,),
        evaluation=Evaluation(interval=TICK, warm_up=timedelta(0)),
        waves=(WaveInContext(WAVE, SOAK, cell.budget),),
        tenants=tuple(TenantInContext(name, WAVE, start, first_write) for name in wave),
        control=sample_control(seed, others),
    )
