"""What the status of a TenantUpgrade says of the gates: the condition GatesPassed, and `status.waves[].gate`."""

from __future__ import annotations

from datetime import datetime
from functools import lru_cache

from pydantic import ValidationError

from tenantwave.api.conditions import DetailReason, GateReason
from tenantwave.api.upgrade_status import GateStatus
from tenantwave.api.upgrade_status import Verdict as ShownVerdict
from tenantwave.core.gates import GateBook, GateContext, Verdict, WaveGate
from tenantwave.core.gates.evidence import gate_status
from tenantwave.core.gates.journal import load_wave
from tenantwave.core.journal import EndReason, RunRecord, WaveProgress, WaveRecord
from tenantwave.core.world import World

Said = tuple[bool | None, DetailReason, str]
"""Whether the gates have passed, why, and a sentence. Numbers stay out of it: they change with every tick, and stand in the wave's gate."""

MAX_MESSAGE = 512


def gates_passed(world: World, run: RunRecord) -> Said | None:
    """Return what GatesPassed says; None where the run has no policy yet."""
    policy = world.planned_policy
    if policy is None or policy.spec is None:
        return None
    if not policy.spec.gates:
        return None, DetailReason.NO_GATES, "the policy has no gates: the soak is time alone"
    if run.waves and all(wave.progress is WaveProgress.PASSED for wave in run.waves):
        return _all_passed(run)
    failed = any(wave.progress is WaveProgress.FAILED for wave in run.waves)
    if failed and run.order is not None and run.order.reason is EndReason.WAVE_FAILED:
        return False, DetailReason.FAILING, run.order.message
    running = next((wave for wave in run.waves if wave.progress is WaveProgress.RUNNING), None)
    gate = world.gates.wave(running.name) if running is not None and world.gates.run_id == run.id else None
    if running is not None and running.override is not None:
        return None, DetailReason.OVERRIDDEN, f"wave {running.name} {running.override.sentence()}; its gate said {running.override.verdict}"
    if gate is None:
        return None, DetailReason.NOT_JUDGED, "no wave has been judged yet"
    if gate.reason == GateReason.FLEET_INCIDENT.value:
        return None, DetailReason.FLEET_INCIDENT, f"wave {gate.name}: tenants on their old version are ill, too; it goes on by itself"
    holds = False if gate.verdict is Verdict.FAILING else None
    return holds, DetailReason(gate.verdict.value), f"wave {gate.name}: {_as_shown(running, gate)}"


def _as_shown(wave: WaveRecord | None, gate: WaveGate) -> str:
    """Return what the gate says as its status shows it: a sentence whose numbers tick would be a write for each tick. Else its reason."""
    shown = _read(wave.shown) if wave is not None else None
    is_same = shown is not None and shown.reason == gate.reason and bool(shown.message)
    return shown.message if shown is not None and is_same else gate.reason or gate.verdict.value


def _all_passed(run: RunRecord) -> Said:
    overridden = [wave for wave in run.waves if wave.override is not None]
    if not overridden:
        return True, DetailReason.HEALTHY, f"the gates of all {len(run.waves)} waves passed"
    first = overridden[0].override
    told = f"wave {overridden[0].name} {first.sentence(is_past=True)}" if first is not None else ""
    return None, DetailReason.OVERRIDDEN, f"{len(overridden)} of {len(run.waves)} waves passed by OverrideGate: {told}"


def wave_gate_status(wave: WaveRecord, run_id: str, context: GateContext | None, book: GateBook) -> GateStatus | None:
    """Return what is shown of a wave's gate: as stored, for the numbers of each tick would be a write for each tick."""
    shown = _read(wave.shown)
    if shown is None and context is not None and (gate := stored(wave, run_id)) is not None:
        shown = gate_status(gate, context, book)
    if shown is not None and context is not None and wave.progress is WaveProgress.RUNNING and book.run_id == run_id:
        told = _of_the_source(context, book)[:MAX_MESSAGE] or None
        shown = shown.model_copy(update={"source": book.source.state.value, "source_message": told})
    return shown if wave.override is None else _overridden(wave, shown)


@lru_cache(maxsize=256)
def _read(text: str) -> GateStatus | None:
    """Return what was shown, None where nothing is stored, or only what another version of the operator understands."""
    try:
        return GateStatus.model_validate_json(text) if text else None
    except ValidationError:
        return None


def stored(wave: WaveRecord, run_id: str) -> WaveGate | None:
    """Return what is stored of the wave's gate in this run."""
    return load_wave(wave.gate, run_id) if wave.gate else None


def unknown_since(run: RunRecord) -> datetime | None:
    """Return since when the running wave cannot be judged for want of usable metrics."""
    running = next((wave for wave in run.waves if wave.progress is WaveProgress.RUNNING), None)
    gate = stored(running, run.id) if running is not None else None
    return gate.unknown_since_time if gate is not None else None


def what_waves_can_find(run: RunRecord) -> list[str]:
    """Return, for the waves of which it is known, how gross a fault must be for them to find it."""
    known = ((wave.name, stored(wave, run.id)) for wave in run.waves)
    return [f"wave {name}: {gate.can_find}" for name, gate in known if gate is not None and gate.can_find]


def _of_the_source(context: GateContext, book: GateBook) -> str:
    """Return what is wrong with the source of metrics, with the mend; empty where it answers in time."""
    if book.source.message:
        return book.source.message
    return slow_evaluation(context) if book.source.slow_since_time is not None else ""


def slow_evaluation(context: GateContext) -> str:
    """Return what to do where the gates cannot be looked at as often as the policy says."""
    seconds = int(context.evaluation.interval.total_seconds())
    return (
        f"a tick takes longer than evaluation.interval ({seconds} s), or asks the source too much, so the gates are looked at less often; "
        "set a longer interval, use fewer gates, or have Prometheus record the ratios (recording rules)"
    )


def _overridden(wave: WaveRecord, shown: GateStatus | None) -> GateStatus:
    """Return the gate's status with the person's word. The verdict stays what it is."""
    override = wave.override
    assert override is not None  # noqa: S101  asked before
    shown = shown or GateStatus(verdict=ShownVerdict(override.verdict), reason=GateReason.NOT_JUDGED)
    has_passed = wave.progress is WaveProgress.PASSED
    message = f"{override.sentence(is_past=has_passed)}; its gate then said {override.verdict} ({override.said})"
    return shown.model_copy(update={"override": override.action, "message": message[:MAX_MESSAGE]})
