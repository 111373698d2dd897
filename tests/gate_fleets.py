"""Fleets of gates: a wave beside its control, and what each side does. For rules about many tenants at once."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import timedelta

from gate_builders import ERRORS, NOON, UNREACHABLE, Fleet, Traffic, a_context
from tenantwave.core.gates import (
    Answer,
    Ask,
    Comparison,
    GateBook,
    GateContext,
    GateRule,
    QueryFailure,
    TenantGate,
    WaveGate,
    WaveInContext,
    dump_tenant,
    dump_wave,
    restore,
)

SOAK = timedelta(minutes=10)
FIRST_WRITE = NOON - timedelta(minutes=3)
WELL = Traffic()
ILL = Traffic(bad=0.3)


def names(prefix: str, count: int) -> tuple[str, ...]:
    """Return names that sort."""
    return tuple(f"{prefix}-{number:04d}" for number in range(count))


def a_fleet_context(
    wave: int, control: int, *, budget: int = 0, soak: timedelta = SOAK, rules: tuple[GateRule, ...] = (ERRORS,)
) -> GateContext:
    """Return a wave of `wave` tenants beside a control, that began to write three minutes before noon."""
    context = a_context(*names("wave", wave), wave=WaveInContext("canary", soak, budget), first_write=FIRST_WRITE, rules=rules)
    return replace(context, control=names("old", control))


def traffic(context: GateContext, *, wave: Traffic = WELL, control: Traffic = WELL) -> dict[str, Traffic]:
    """Return what each side does."""
    return {**{tenant.name: wave for tenant in context.tenants}, **dict.fromkeys(context.control, control)}


def wave_of(book: GateBook, name: str = "canary") -> WaveGate:
    """Return the wave's gate."""
    gate = book.wave(name)
    assert gate is not None
    return gate


def tenant_of(book: GateBook, name: str = "wave-0000") -> TenantGate:
    """Return the tenant's gate."""
    gate = book.tenant(name)
    assert gate is not None
    return gate


def latched(book: GateBook) -> set[str]:
    """Return who has failed."""
    return {name for name, gate in book.tenants.items() if gate.latched}


def errors(book: GateBook, wave: str = "canary") -> Comparison:
    """Return how the wave compares."""
    return wave_of(book, wave).comparison("errors")


def restarted(book: GateBook, run_id: str, *, as_run: str | None = None) -> GateBook:
    """Return what an operator that starts anew knows of a run, or of the run before it."""
    tenants = [dump_tenant(gate, run_id) for gate in book.tenants.values()]
    return restore(as_run or run_id, tenants, [dump_wave(gate, run_id) for gate in book.waves.values()])


def _as_usual(_name: str, _ask: Ask, usual: float | None) -> float | None:
    return usual


def _nothing(_ask: Ask) -> bool:
    return False


@dataclass
class ScriptedFleet(Fleet):
    """A fleet with a mind of its own: `say` may change each number, and what it `refuses` is answered by `refusal`."""

    say: Callable[[str, Ask, float | None], float | None] = _as_usual
    refuses: Callable[[Ask], bool] = _nothing
    refusal: QueryFailure = UNREACHABLE

    def answer(self, ask: Ask) -> Answer:
        """Return what a Prometheus would say."""
        answer = super().answer(ask)
        return self.refusal if self.refuses(ask) else answer

    def _value(self, name: str, ask: Ask) -> float | None:
        return self.say(name, ask, super()._value(name, ask))
