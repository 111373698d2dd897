"""The gates of a policy as one upgrade was planned with them, and what the judge must know about its waves and tenants.

A `GateContext` is made by the planner and holds no state: the state is the `GateBook`. The same context and book always lead to the
same questions.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from decimal import Decimal
from enum import Enum

from .samples import Source


class OnNoData(Enum):
    """What becomes of tenants with too little traffic for a verdict of their own."""

    POOL = "Pool"  # judged together, as one tenant, at the end of the soak
    HOLD = "Hold"  # they wait for evidence of their own


@dataclass(frozen=True, slots=True)
class Ratio:
    """Bad events of all events, both plain selectors."""

    bad: str
    total: str


@dataclass(frozen=True, slots=True)
class Latency:
    """Requests slower than `above` (a bound of the histogram, in its unit, as text) of all requests. `histogram` is a plain selector."""

    histogram: str
    above: str


@dataclass(frozen=True, slots=True)
class Increase:
    """How much a counter grew, for each tenant. `selector` is plain."""

    selector: str


@dataclass(frozen=True, slots=True)
class RawQuery:
    """The value of the tenant's row of a query that somebody else wrote. `{{ tenants }}` is the matcher, `{{ label }}` the tenant label."""

    query: str
    consecutive: int = 3


GateKind = Ratio | Latency | Increase | RawQuery


@dataclass(frozen=True, slots=True)
class GateRule:
    """One gate. Exactly one of `maximum` and `minimum` is set; `minimum` only with a `RawQuery`. For ratio and latency the limit is a
    share."""

    name: str
    kind: GateKind
    tenant_label: str
    maximum: Decimal | None = None
    minimum: Decimal | None = None
    enforced: bool = True

    @property
    def limit(self) -> Decimal:
        """Return the limit, whichever side it bounds."""
        if self.maximum is not None:
            return self.maximum
        if self.minimum is not None:
            return self.minimum
        raise ValueError(f"gate {self.name} has neither max nor min")

    @property
    def is_share(self) -> bool:
        """Tell whether bad events are judged against all events (sequential statistics), or one number against the limit."""
        return isinstance(self.kind, Ratio | Latency)


@dataclass(frozen=True, slots=True)
class Evaluation:
    """How a policy's gates are evaluated; the defaults of the contract."""

    interval: timedelta = timedelta(seconds=30)
    warm_up: timedelta = timedelta(minutes=1)
    min_coverage: Decimal = Decimal("0.8")
    on_no_data: OnNoData = OnNoData.POOL
    unknown_after: timedelta = timedelta(minutes=30)


@dataclass(frozen=True, slots=True)
class WaveInContext:
    """A wave whose tenants are judged: the running one, and passed ones until the upgrade ends.

    `failed_otherwise_count`: tenants of the wave that failed for other reasons than metrics; they count in `failure_budget` (tenants
    tolerated).
    """

    name: str
    soak: timedelta
    failure_budget: int = 0
    failed_otherwise_count: int = 0
    has_passed: bool = False


class Role(Enum):
    """What a tenant that was written in this run is to the gates."""

    COUNTED = "Counted"  # in the wave's verdict and clock
    OUT = "Out"  # Held, being taken back, or a straggler: not asked for
    TAKEN_BACK = "TakenBack"  # on the old version again: judged once more, for the record


@dataclass(frozen=True, slots=True)
class TenantInContext:
    """A tenant that was written in this run, or is judged anew.

    `window_start_time`: all components converged + warm-up; None as long as they have not converged. A later value begins its evidence
    anew. Of a tenant that was taken back: when it had converged on the old version + warm-up.
    `first_write_time`: of the first attempt; the baseline is the hour before it. None: the limit alone counts.
    `is_proven`: it has come through its soak. A straggler that soaks in a wave that has passed is on trial itself, so it bears no witness.
    """

    name: str
    wave: str
    window_start_time: datetime | None
    first_write_time: datetime | None = None
    role: Role = Role.COUNTED
    is_proven: bool = True

    @property
    def is_counted(self) -> bool:
        """Tell whether the wave's verdict and clock depend on this tenant."""
        return self.role is Role.COUNTED


@dataclass(frozen=True, slots=True)
class GateContext:
    """Everything about one run that the judge must know. `run_id` names run and attempt: another id makes latches, clocks and evidence
    begin anew.

    `control`: tenants of this upgrade that still run their old version and are in nobody's hands, at most 1,000 (`sample_control`). They are
    asked and judged like the wave, as if they had been upgraded to what they run: what ails them, too, is no fault of the release.
    """

    run_id: str
    source: Source | None
    rules: tuple[GateRule, ...]
    evaluation: Evaluation
    waves: tuple[WaveInContext, ...] = ()
    tenants: tuple[TenantInContext, ...] = ()
    control: tuple[str, ...] = ()

    @property
    def enforces(self) -> bool:
        """Tell whether any gate has an effect. Without one the soak is time alone and no verdict is shown."""
        return any(rule.enforced for rule in self.rules)

    @property
    def enforced_count(self) -> int:
        """Return `m` of the statistics: how many metrics may each raise a false alarm."""
        return sum(rule.enforced for rule in self.rules)

    def wave(self, name: str) -> WaveInContext | None:
        """Return the wave of this name, if it is judged at all."""
        return next((wave for wave in self.waves if wave.name == name), None)

    def tenants_of(self, wave: str) -> tuple[TenantInContext, ...]:
        """Return the tenants of a wave, counted or not, in the planner's order."""
        return tuple(tenant for tenant in self.tenants if tenant.wave == wave)
