"""Gates that say what the script wants. Their own rules are tested elsewhere; here is tested what follows from what they say."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta

from fleets.member import Member
from tenantwave.api.conditions import GateReason
from tenantwave.api.tenant_run import TenantRunStatus
from tenantwave.core.gates import (
    Comparison,
    GateBook,
    GateContext,
    Role,
    SourceHealth,
    TenantGate,
    TenantInContext,
    Verdict,
    WaveGate,
    restore,
)
from tenantwave.core.gates.book import MetricVerdict
from tenantwave.core.journal import Journal

TICK = timedelta(seconds=30)
FIRST_LOOK = 2 * TICK
WITHIN_LIMIT = MetricVerdict("errors", Verdict.HEALTHY, "WithinLimit", value=0.001)
BEYOND_LIMIT = MetricVerdict("errors", Verdict.FAILING, "AboveLimit", value=0.04, candidate_ticks=1)


@dataclass
class ScriptedGates:
    """What the gates of a fleet see: members whose version is `ill` latch, all others are Healthy, unless the script says otherwise."""

    book: GateBook = field(default_factory=GateBook)
    blind: bool = False
    """Prometheus cannot be reached."""
    incident: bool = False
    """The whole fleet is ill, whoever runs the release."""
    thin: bool = False
    """There is too little traffic to judge anybody."""
    wave_verdict: dict[str, tuple[Verdict, str]] = field(default_factory=dict)
    """Wave -> what its own gate says, whatever its tenants do."""
    shift: str = ""
    worse_after: set[str] = field(default_factory=set)
    """Tenants that are worse after their rollback than before the upgrade."""
    controls: list[tuple[str, ...]] = field(default_factory=list)
    """The control at each tick."""

    def tick(self, context: GateContext, members: Mapping[str, Member], now: datetime) -> None:
        """Let the gates look once, thirty seconds after the last look."""
        book = self.book.of_run(context.run_id)
        if book.evaluation_time is not None and now < book.evaluation_time + TICK:
            return
        self.controls.append(context.control)
        tenants, afterwards = dict(book.tenants), dict(book.afterwards)
        for one in context.tenants:
            if one.role is Role.COUNTED:
                tenants[one.name] = self._look(tenants.get(one.name), one, members[one.name], now)
            elif one.role is Role.TAKEN_BACK:
                afterwards[one.name] = self._look_after(one, now)
        waves = {wave.name: self._judge(book, wave.name, context, tenants, now) for wave in context.waves}
        source = SourceHealth(bad_ticks=3, kind="Unreachable", message="Prometheus cannot be reached") if self.blind else SourceHealth()
        self.book = GateBook(context.run_id, tenants, {**book.waves, **waves}, afterwards=afterwards, source=source, evaluation_time=now)

    def restart(self, journal: Journal | None, runs: Iterable[TenantRunStatus]) -> None:
        """Forget all that is only in memory."""
        if journal is None:
            self.book = GateBook()
            return
        run = journal.run
        stored = (status.gate for status in runs if status.run == run.id and status.gate)
        self.book = restore(run.id, stored, (wave.gate for wave in run.waves if wave.gate))

    def _look(self, before: TenantGate | None, one: TenantInContext, member: Member, now: datetime) -> TenantGate:
        start = one.window_start_time
        fresh = TenantGate(one.name, one.wave, window_start_time=start)
        gate = before if before is not None and before.window_start_time == start else fresh
        if gate.latched or start is None or now < start + FIRST_LOOK:
            return gate
        if self.blind:
            return replace(gate, verdict=Verdict.UNKNOWN, reason="Unreachable", message="no answer", evaluation_time=now)
        if self.incident:
            return replace(gate, verdict=Verdict.INCONCLUSIVE, reason="AboveLimit", message="beyond", evaluation_time=now, clock=None)
        if member.live in member.ill:
            told = f"errors: 36 of 903 requests failed in {one.name}"
            return replace(
                gate, verdict=Verdict.FAILING, reason="AboveLimit", message=told, latched="errors", metrics=(BEYOND_LIMIT,),
                latched_time=now, is_judged=True, clock=None, evaluation_time=now,
            )  # fmt: skip
        if self.thin:
            return replace(gate, verdict=Verdict.INCONCLUSIVE, reason="LowTraffic", message="too few", evaluation_time=now, is_judged=True)
        clock = timedelta(0) if gate.clock is None else gate.clock + TICK
        return replace(
            gate, verdict=Verdict.HEALTHY, reason="WithinLimit", message="within the limit", metrics=(WITHIN_LIMIT,), evaluation_time=now,
            usable_time=now, clock=clock, is_judged=True, has_first_verdict=True,
            usable_ticks=gate.usable_ticks + 1, total_ticks=gate.total_ticks + 1,
        )  # fmt: skip

    def _look_after(self, one: TenantInContext, now: datetime) -> TenantGate:
        """Judge a tenant that was taken back, once its window after the rollback is long enough."""
        gate = TenantGate(one.name, one.wave, window_start_time=one.window_start_time)
        if one.window_start_time is None or now < one.window_start_time + FIRST_LOOK:
            return gate
        if self.blind:
            return replace(gate, verdict=Verdict.UNKNOWN, reason="Unreachable", message="no answer", evaluation_time=now)
        if one.name in self.worse_after:
            told = f"worse than before the upgrade, after it was taken back: errors: 30 of 900 requests failed in {one.name}"
            return replace(gate, verdict=Verdict.FAILING, reason="AboveLimit", message=told, metrics=(BEYOND_LIMIT,), evaluation_time=now)
        return replace(
            gate, verdict=Verdict.HEALTHY, reason="WithinLimit", message="within the limit", metrics=(WITHIN_LIMIT,), evaluation_time=now,
            is_judged=True,
        )  # fmt: skip

    def _judge(self, book: GateBook, name: str, context: GateContext, tenants: Mapping[str, TenantGate], now: datetime) -> WaveGate:
        before = replace(book.wave(name) or WaveGate(name), shift=self.shift)
        if before.verdict is Verdict.FAILING:
            return before
        wave = context.wave(name)
        assert wave is not None
        of_wave = [tenants[one.name] for one in context.tenants_of(name) if one.is_counted]
        latched = sum(gate.latched is not None for gate in tenants.values() if gate.wave == name)
        if name in self.wave_verdict and of_wave:
            verdict, reason = self.wave_verdict[name]
            return replace(before, verdict=verdict, reason=reason, message=f"{name}: {reason}", evaluation_time=now)
        if self.incident and of_wave:
            return _in_incident(before, context, now)
        if latched + wave.failed_otherwise_count > wave.failure_budget:
            told = f"{latched} on metrics, {wave.failed_otherwise_count} for other reasons"
            return replace(before, verdict=Verdict.FAILING, reason="BudgetExceeded", message=told, evaluation_time=now)
        if self.blind:
            since = before.unknown_since_time or now
            return replace(
                before, verdict=Verdict.UNKNOWN, reason="Unreachable", message="no answer", unknown_since_time=since, evaluation_time=now
            )
        if self.thin and of_wave:
            thin = replace(before, verdict=Verdict.INCONCLUSIVE, reason="LowTraffic", message="too few requests", evaluation_time=now)
            return replace(thin, clock=(before.clock or timedelta(0)) + TICK, unknown_since_time=None)
        return _healthy(before, of_wave, now)


def _in_incident(before: WaveGate, context: GateContext, now: datetime) -> WaveGate:
    count = len(context.control)
    told = (
        f"the fleet is ill whoever runs the release: {count} of {count} tenants on the old version fail, too; it goes on when that is over"
    )
    compared = Comparison("errors", count, count, p_value=1.0, is_ill=True, is_incident=True)
    return replace(
        before, verdict=Verdict.INCONCLUSIVE, reason=GateReason.FLEET_INCIDENT.value, message=told, evaluation_time=now,
        clock=None, healthy_since_time=None, members="", comparisons=(compared,), unknown_since_time=None,
    )  # fmt: skip


def _healthy(before: WaveGate, of_wave: list[TenantGate], now: datetime) -> WaveGate:
    """Return a wave that is Healthy where all of its tenants are; its clock starts anew with every tenant that joins."""
    before = replace(before, comparisons=(), unknown_since_time=None, evaluation_time=now)
    if not of_wave or not all(gate.verdict is Verdict.HEALTHY or gate.latched for gate in of_wave):
        return replace(before, verdict=Verdict.INCONCLUSIVE, reason="FirstLookPending", message="waiting for the first look")
    members = ",".join(sorted(gate.name for gate in of_wave))
    same = before.members == members and before.clock is not None
    return replace(
        before, verdict=Verdict.HEALTHY, reason="WithinLimit", message="within the limits", members=members,
        clock=(before.clock or timedelta(0)) + TICK if same else timedelta(0), usable_ticks=before.usable_ticks + 1 if same else 1,
        healthy_since_time=before.healthy_since_time if same else now, coverage=min(gate.coverage for gate in of_wave),
    )  # fmt: skip
