"""What holds for waves and gates where nothing is written.

No default may stand inside a list item of the schema (the API server would write it into what git owns), and a wave's
defaults depend on its place. So they are computed here; status shows the outcome.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta

from tenantwave.api.gating import Gate, GateMode, Prometheus
from tenantwave.api.meta import LabelSelector
from tenantwave.api.scalars import IntOrPercent
from tenantwave.api.waves import ApprovalTime, Coverage, FreeSlotOn, Wave

DEFAULT_CONSECUTIVE = 3
DEFAULT_HOOK_TIMEOUT = timedelta(minutes=10)
DEFAULT_SOAK = timedelta(minutes=10)


@dataclass(frozen=True, slots=True)
class EffectiveWave:
    """A wave with every default filled in."""

    name: str
    selector: LabelSelector | None
    size: IntOrPercent | None
    coverage: Coverage | None
    order_by: tuple[str, ...]
    max_parallel: IntOrPercent
    soak: timedelta
    free_slot_on: FreeSlotOn
    failure_budget: IntOrPercent
    approval: ApprovalTime
    approval_minimum: int
    deadline: timedelta | None

    @property
    def takes_rest(self) -> bool:
        """Whether the wave takes everyone whom no earlier wave took."""
        return self.selector is None and self.size is None and self.coverage is None

    def slots(self, tenant_count: int) -> int:
        """Return how many of the wave's `tenant_count` tenants may be in flight at once; at least 1."""
        return self.max_parallel.of(tenant_count, floor=1)

    def tolerated_failures(self, tenant_count: int) -> int:
        """Return how many of the wave's `tenant_count` tenants may fail."""
        return self.failure_budget.of(tenant_count)


def effective_waves(waves: Sequence[Wave], has_gates: bool = True) -> tuple[EffectiveWave, ...]:
    """Fill in what each of a policy's `waves` leaves out; in order."""
    return tuple(effective_wave(wave, index, has_gates) for index, wave in enumerate(waves))


def effective_wave(wave: Wave, index: int, has_gates: bool = True) -> EffectiveWave:
    """Fill in what `wave`, at place `index` from 0, leaves out. Without gates there is no first verdict: a slot is free when converged."""
    first = index == 0
    default_slot = FreeSlotOn.FIRST_VERDICT if first else FreeSlotOn.CONVERGED
    approval = wave.approval
    return EffectiveWave(
        name=wave.name,
        selector=wave.selector,
        size=wave.size,
        coverage=wave.coverage,
        order_by=wave.order_by or ("Hash",),
        max_parallel=wave.max_parallel or (IntOrPercent(1) if first else IntOrPercent(10, is_percent=True)),
        soak=DEFAULT_SOAK if wave.soak is None else wave.soak,
        free_slot_on=(wave.free_slot_on or default_slot) if has_gates else FreeSlotOn.CONVERGED,
        failure_budget=wave.failure_budget or (IntOrPercent(0) if first else IntOrPercent(2, is_percent=True)),
        approval=approval.when if approval else ApprovalTime.NONE,
        approval_minimum=(approval.minimum if approval else None) or 1,
        deadline=wave.deadline,
    )


def gate_mode(gate: Gate) -> GateMode:
    """Return what the gate's verdict does: it decides, unless it says otherwise."""
    return gate.mode or GateMode.ENFORCE


def consecutive_ticks(gate: Gate) -> int:
    """Return how many usable ticks in a row decide for a gate with `query`."""
    return gate.consecutive or DEFAULT_CONSECUTIVE


def tenant_label(gate: Gate, prometheus: Prometheus) -> str:
    """Return which label of the gate's series names the tenant."""
    return gate.tenant_label or prometheus.tenant_label
