"""The memory of the gates of one upgrade: what has been seen, what is latched, and how far the soak clocks have come.

All of it is frozen. `advance` turns a book and the answers of a tick into the next book; nobody else changes one.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from decimal import Decimal
from enum import Enum

from tenantwave.api.conditions import GateReason

from .counts import Counts
from .dispersion import Spread


class Verdict(Enum):
    """What a look at the metrics says, mildest first."""

    HEALTHY = "Healthy"  # enough evidence, within the limit
    INCONCLUSIVE = "Inconclusive"  # Prometheus answered, but the evidence is too thin: holds, too
    UNKNOWN = "Unknown"  # no usable answer: holds; never a pass, never a rollback
    FAILING = "Failing"  # enough evidence, beyond the limit: the only verdict that may take a tenant back


def worst(verdicts: Iterable[Verdict]) -> Verdict:
    """Return the most serious verdict. None at all is Unknown, because silence is not health."""
    return max(verdicts, key=list(Verdict).index, default=Verdict.UNKNOWN)


EXCUSED_BY_POOL = frozenset({GateReason.LOW_TRAFFIC.value, GateReason.NO_DATA.value})


@dataclass(frozen=True, slots=True)
class MetricVerdict:
    """One gate's verdict at one tick, with the numbers that led to it.

    `counts` for ratio and latency, `value` for increase and query. `limit` is the effective one (own baseline included). `window` is W, and
    `since_time` where it begins. `expected`: requests that would have been usual, where they were lost.
    `history`: the counts of up to two ticks before, in the same window. `candidate_ticks`: ticks in a row with a sign of Failing.
    `beyond_ticks`, `within_ticks`: of single numbers.
    `banked`: what blocks counted that the window has left behind. `closing`: what the window had counted at `closing_time`, the end of its block.
    `spread`: how evenly bad events came; of a tenant of the control.
    """

    gate: str
    verdict: Verdict
    reason: str
    enforced: bool = True
    counts: Counts | None = None
    value: float | None = None
    limit: Decimal | None = None
    log_e: float | None = None
    window: timedelta | None = None
    history: tuple[Counts, ...] = ()
    candidate_ticks: int = 0
    beyond_ticks: int = 0
    within_ticks: int = 0
    detail: str = ""
    since_time: datetime | None = None
    banked: Counts | None = None
    closing: Counts | None = None
    closing_time: datetime | None = None
    spread: Spread | None = None
    expected: float | None = None

    @property
    def is_candidate(self) -> bool:
        """Tell whether this tick shows a sign of Failing that has not been confirmed yet, or has."""
        return self.candidate_ticks > 0


@dataclass(frozen=True, slots=True)
class TenantGate:
    """What the gates know about one tenant in one run.

    `latched`: the gate that failed it; it stays Failing for the rest of the attempt. `clock`: healthy soak so far. `is_judged`: it had
    its first look.
    `has_first_verdict`: a judged tick showed neither Unknown nor a sign of Failing, which frees its slot under `freeSlotOn: FirstVerdict`.
    `usable_ticks` of `total_ticks` since its window started had fresh data. `baseline`: counts of the hour before the first write, by gate;
    `baseline_gates`: for which that was answered; `baseline_run`: the run without its attempt.
    """

    name: str
    wave: str
    verdict: Verdict = Verdict.INCONCLUSIVE
    reason: str = GateReason.FIRST_LOOK_PENDING.value
    message: str = "waiting for the first look at its metrics"
    metrics: tuple[MetricVerdict, ...] = ()
    window_start_time: datetime | None = None
    evaluation_time: datetime | None = None
    usable_time: datetime | None = None
    latched: str | None = None
    latched_time: datetime | None = None
    clock: timedelta | None = None
    is_judged: bool = False
    has_first_verdict: bool = False
    usable_ticks: int = 0
    total_ticks: int = 0
    baseline: Mapping[str, Counts] = field(default_factory=dict)
    failing_before: Mapping[str, float] = field(default_factory=dict)
    baseline_time: datetime | None = None
    baseline_run: str = ""
    baseline_gates: frozenset[str] = frozenset()

    def without_evidence(self, start: datetime | None = None) -> TenantGate:
        """Return the gate with its baseline alone, and evidence that begins at `start`."""
        return TenantGate(
            self.name, self.wave, window_start_time=start,
            baseline=self.baseline, failing_before=self.failing_before, baseline_time=self.baseline_time,
            baseline_run=self.baseline_run, baseline_gates=self.baseline_gates,
        )  # fmt: skip

    @property
    def is_candidate(self) -> bool:
        """Tell whether an enforced metric shows a sign of Failing at the last tick."""
        return any(metric.is_candidate for metric in self.metrics if metric.enforced)

    @property
    def coverage(self) -> Decimal:
        """Return the share of ticks since the window start that had fresh data; 0 before the first."""
        return Decimal(min(self.usable_ticks, self.total_ticks)) / self.total_ticks if self.total_ticks else Decimal(0)


@dataclass(frozen=True, slots=True)
class Comparison:
    """One gate of a wave held against tenants that still run the old version, at one tick.

    `control_failing_count` of `control_count` show a sign of Failing, too, or did. `p_value`: how likely so many more in the wave are by
    chance; None without anybody to compare. `is_significant`: beyond doubt. `is_ill`: the reference fails by itself at this tick.
    `is_incident`: it does, or did until less than two ticks ago, and the wave is not clearly worse, so this gate fails nobody.
    `well_ticks`: ticks in a row without an ill reference; `significant_ticks`: with a wave that is worse beyond doubt.
    """

    gate: str
    control_count: int = 0
    control_failing_count: int = 0
    p_value: float | None = None
    is_ill: bool = False
    is_incident: bool = False
    is_significant: bool = False
    well_ticks: int = 0
    significant_ticks: int = 0


@dataclass(frozen=True, slots=True)
class WaveGate:
    """What the gates know about a wave as a whole.

    `clock`: healthy soak so far, None before `healthy_since_time`. `pool`: the verdict of the tenants with little traffic, as one; None
    where there are none. `members`: a digest of who is counted since when; another one starts the clock anew. `unknown_since_time`: the
    first unusable tick; cleared by three usable ones in a row. `failing_tenants`: the first ten names.
    `comparisons`: with the control, by gate. `dispersion`: by gate, in use; `usual_dispersion`: in the
    hour before. `control_since_time`: the wave's first write, where the control's
    baseline ends. `control_latched`: tenants of the control that failed like the wave's, and by which gate, at most 50.
    `fresh_since_time`: an incident of the fleet ended, so evidence begins there at the earliest.
    `shift`: a sentence, where the wave moved within its limits; `shift_looks`: how often that was looked for. `can_find`: what the wave's
    traffic allows to find, as a sentence.
    """

    name: str
    verdict: Verdict = Verdict.INCONCLUSIVE
    reason: str = GateReason.FIRST_LOOK_PENDING.value
    message: str = "waiting for the first look at its metrics"
    metrics: tuple[MetricVerdict, ...] = ()
    evaluation_time: datetime | None = None
    clock: timedelta | None = None
    healthy_since_time: datetime | None = None
    unknown_since_time: datetime | None = None
    usable_in_row: int = 0
    usable_ticks: int = 0
    over_budget_ticks: int = 0
    pool: Verdict | None = None
    members: str = ""
    judged_count: int = 0
    healthy_count: int = 0
    failing_count: int = 0
    inconclusive_count: int = 0
    no_data_count: int = 0
    failing_tenants: tuple[str, ...] = ()
    coverage: Decimal = Decimal(0)
    comparisons: tuple[Comparison, ...] = ()
    dispersion: Mapping[str, float] = field(default_factory=dict)
    usual_dispersion: Mapping[str, float] = field(default_factory=dict)
    control_since_time: datetime | None = None
    control_latched: Mapping[str, str] = field(default_factory=dict)
    fresh_since_time: datetime | None = None
    shift_looks: int = 0
    shift: str = ""
    can_find: str = ""

    def comparison(self, gate: str) -> Comparison:
        """Return how a gate of the wave compares with the reference."""
        return next((each for each in self.comparisons if each.gate == gate), Comparison(gate))

    @property
    def has_incident(self) -> bool:
        """Tell whether the whole fleet is ill by some gate, so that nothing is promoted and nobody is failed by it."""
        return any(each.is_incident for each in self.comparisons)


class SourceState(Enum):
    """How well the source answers."""

    OK = "Ok"
    DEGRADED = "Degraded"  # the last tick was bad
    DOWN = "Down"  # three bad ticks in a row


@dataclass(frozen=True, slots=True)
class SourceHealth:
    """How the source answered lately. `kind` and `message` tell of the last failure, with the mend; empty when all is well.

    `interval_factor` doubles while the source throttles us or a tick takes too long, and halves again when it no longer must.
    `quiet_until_time`: what `Retry-After` asked for. `slow_since_time`: since when we look less often than the policy says, because a tick
    takes longer than its interval or asks too much.
    """

    bad_ticks: int = 0
    usable_in_row: int = 0
    kind: str = ""
    message: str = ""
    interval_factor: int = 1
    quiet_until_time: datetime | None = None
    slow_since_time: datetime | None = None

    @property
    def state(self) -> SourceState:
        """Return the state by the number of bad ticks in a row."""
        return SourceState.DOWN if self.bad_ticks >= 3 else SourceState.DEGRADED if self.bad_ticks else SourceState.OK


@dataclass(frozen=True, slots=True)
class GateBook:
    """All that the gates remember of one upgrade. A book without a run is empty and fits any.

    `control`: the tenants that still run the old version, judged like upgraded ones. `afterwards`: tenants that were taken back, judged once
    after it. `evaluation_time`: T of the last tick. `is_restored`: out of a journal, so the ticks just before are to be asked again.
    """

    run_id: str = ""
    tenants: Mapping[str, TenantGate] = field(default_factory=dict)
    waves: Mapping[str, WaveGate] = field(default_factory=dict)
    control: Mapping[str, TenantGate] = field(default_factory=dict)
    afterwards: Mapping[str, TenantGate] = field(default_factory=dict)
    source: SourceHealth = SourceHealth()
    evaluation_time: datetime | None = None
    is_restored: bool = False

    def of_run(self, run_id: str) -> GateBook:
        """Return the book of this run: the same one, or for another run an empty one, without any latch, clock or evidence of the old.

        Only baselines are kept: an hour in which a tenant already ran the release is never a baseline.
        """
        if self.run_id == run_id:
            return self
        kept = {name: gate.without_evidence() for name, gate in self.tenants.items() if gate.baseline_time is not None}
        return GateBook(run_id=run_id, tenants=kept, source=self.source)

    def tenant(self, name: str) -> TenantGate | None:
        """Return what is known about a tenant; None before its first tick."""
        return self.tenants.get(name)

    def wave(self, name: str) -> WaveGate | None:
        """Return what is known about a wave; None before its first tick."""
        return self.waves.get(name)
