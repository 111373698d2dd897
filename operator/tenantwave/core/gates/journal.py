"""What of the gates survives a restart: the text that is stored with each TenantRun and wave, and when it is worth a write.

A text that cannot be read counts as none: then the soak of that tenant starts again. A restart may lose minutes of soak, and never
gains any.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any, TypeVar

from .book import Comparison, GateBook, MetricVerdict, TenantGate, Verdict, WaveGate
from .counts import Counts

STORE_AT_LEAST_EVERY = timedelta(minutes=5)
MAX_BYTES = 16 * 1024
_MESSAGE_CHARACTERS = 480
_DETAIL_CHARACTERS = 160

Json = dict[str, Any]  # Any: the shape is checked by reading it back
Gate = TypeVar("Gate", TenantGate, WaveGate)


def dump_tenant(gate: TenantGate, run_id: str) -> str:
    """Return a tenant's gate as compact JSON, at most 16 KiB. `run_id` goes with it, so that another attempt does not pass on this
    evidence."""
    return _bounded(
        {
            "run": run_id,
            "name": gate.name,
            "wave": gate.wave,
            **_common(gate.verdict, gate.reason, gate.message, gate.metrics),
            "windowStart": _instant(gate.window_start_time),
            "evaluated": _instant(gate.evaluation_time),
            "usable": _instant(gate.usable_time),
            "latched": gate.latched,
            "latchedAt": _instant(gate.latched_time),
            "clock": _seconds(gate.clock),
            "judged": gate.is_judged,
            "first": gate.has_first_verdict,
            "usableTicks": gate.usable_ticks,
            "totalTicks": gate.total_ticks,
            "baseline": {name: [counts.bad, counts.total] for name, counts in gate.baseline.items()},
            "before": dict(gate.failing_before),
            "baselineAt": _instant(gate.baseline_time),
            "baselineRun": gate.baseline_run,
            "baselineOf": sorted(gate.baseline_gates),
        }
    )


def load_tenant(text: str, run_id: str) -> TenantGate | None:
    """Return a tenant's gate as it was stored; of another run its baseline alone; None if nothing usable is stored."""
    data = _parsed(text)
    try:
        return _tenant(data, is_same_run=data["run"] == run_id) if data else None
    except (KeyError, TypeError, ValueError, ArithmeticError, AttributeError):
        return None


def dump_wave(gate: WaveGate, run_id: str) -> str:
    """Return a wave's gate as compact JSON, at most 16 KiB."""
    return _bounded(
        {
            "run": run_id,
            "name": gate.name,
            **_common(gate.verdict, gate.reason, gate.message, gate.metrics),
            "evaluated": _instant(gate.evaluation_time),
            "clock": _seconds(gate.clock),
            "healthySince": _instant(gate.healthy_since_time),
            "unknownSince": _instant(gate.unknown_since_time),
            "inRow": gate.usable_in_row,
            "usableTicks": gate.usable_ticks,
            "overBudget": gate.over_budget_ticks,
            "pool": gate.pool.value if gate.pool else None,
            "members": gate.members,
            "counts": [gate.judged_count, gate.healthy_count, gate.failing_count, gate.inconclusive_count, gate.no_data_count],
            "failing": list(gate.failing_tenants),
            "coverage": str(gate.coverage),
            "comparisons": [_comparison_json(each) for each in gate.comparisons],
            "dispersion": dict(gate.dispersion),
            "usualDispersion": dict(gate.usual_dispersion),
            "controlSince": _instant(gate.control_since_time),
            "controlLatched": dict(gate.control_latched),
            "freshSince": _instant(gate.fresh_since_time),
            "shift": [gate.shift_looks, gate.shift],
            "canFind": gate.can_find,
        }
    )


def load_wave(text: str, run_id: str) -> WaveGate | None:
    """Return a wave's gate as it was stored; None for another run's, or if nothing usable is stored."""
    data = _parsed(text)
    try:
        return _wave(data) if data and data["run"] == run_id else None
    except (KeyError, TypeError, ValueError, ArithmeticError, AttributeError):
        return None


def restore(run_id: str, tenants: Iterable[str], waves: Iterable[str]) -> GateBook:
    """Return the book of a run out of what is stored. The time of the last tick is not restored: the ticks before now are asked again.

    Of the control only who failed is stored; its numbers and baselines come again from Prometheus.
    """
    loaded_tenants = tuple(filter(None, (load_tenant(text, run_id) for text in tenants)))
    loaded_waves = tuple(filter(None, (load_wave(text, run_id) for text in waves)))
    latest = max((wave for wave in loaded_waves if wave.control_since_time), key=_control_since, default=None)
    failed = latest.control_latched.items() if latest is not None else ()
    control = {
        name: TenantGate(name, "", latched=gate, window_start_time=latest.fresh_since_time, baseline_time=latest.control_since_time)
        for name, gate in failed
        if latest is not None
    }
    return GateBook(
        run_id,
        {gate.name: gate for gate in loaded_tenants},
        {gate.name: gate for gate in loaded_waves},
        control,
        is_restored=any(gate.evaluation_time is not None for gate in loaded_tenants),
    )


def _control_since(wave: WaveGate) -> datetime:
    return wave.control_since_time or datetime.min.replace(tzinfo=UTC)


def worth_storing(old: Gate | None, new: Gate) -> bool:
    """Tell whether a gate changed so much that it is written: its verdict, reason, a latch, a timer, a value in two digits; else every
    five minutes."""
    if old is None or _essence(old) != _essence(new):
        return True
    if old.evaluation_time is None or new.evaluation_time is None:
        return old.evaluation_time != new.evaluation_time
    return new.evaluation_time - old.evaluation_time >= STORE_AT_LEAST_EVERY


def _essence(gate: TenantGate | WaveGate) -> tuple[object, ...]:
    values = tuple((metric.gate, metric.verdict, metric.reason, _two_digits(metric.value)) for metric in gate.metrics)
    common = (gate.verdict, gate.reason, values, gate.clock is None)
    if isinstance(gate, TenantGate):
        return (*common, gate.latched, gate.window_start_time, gate.is_judged, gate.has_first_verdict, gate.baseline_gates)
    incidents = tuple(each.gate for each in gate.comparisons if each.is_incident)
    timers = (gate.healthy_since_time, gate.unknown_since_time, gate.fresh_since_time, gate.control_since_time)
    return (*common, *timers, gate.members, gate.failing_tenants, gate.pool, incidents, gate.shift, gate.can_find)


def _two_digits(value: float | None) -> str | None:
    return None if value is None else f"{value:.2g}"


def _common(verdict: Verdict, reason: str, message: str, metrics: tuple[MetricVerdict, ...]) -> Json:
    return {
        "verdict": verdict.value,
        "reason": reason,
        "message": message[:_MESSAGE_CHARACTERS],
        "metrics": [_metric_json(metric) for metric in metrics],
    }


def _metric_json(metric: MetricVerdict) -> Json:
    full = {
        "gate": metric.gate,
        "verdict": metric.verdict.value,
        "reason": metric.reason,
        "observe": not metric.enforced,
        "counts": _pair(metric.counts),
        "value": metric.value,
        "limit": str(metric.limit) if metric.limit is not None else None,
        "logE": metric.log_e,
        "window": _seconds(metric.window),
        "history": [_pair(counts) for counts in metric.history],
        "since": _instant(metric.since_time),
        "banked": _pair(metric.banked),
        "closing": _pair(metric.closing),
        "closed": _instant(metric.closing_time),
        "expected": metric.expected,
        "ticks": [metric.candidate_ticks, metric.beyond_ticks, metric.within_ticks],
        "detail": metric.detail[:_DETAIL_CHARACTERS],
    }
    return {key: value for key, value in full.items() if value is not None and value is not False and value not in ("", [])}


def _metric(data: Json) -> MetricVerdict:
    candidate, beyond, within = data.get("ticks", (0, 0, 0))
    return MetricVerdict(
        data["gate"],
        Verdict(data["verdict"]),
        data["reason"],
        not data.get("observe", False),
        counts=_counts(data["counts"]) if "counts" in data else None,
        value=float(data["value"]) if "value" in data else None,
        limit=Decimal(data["limit"]) if "limit" in data else None,
        log_e=float(data["logE"]) if "logE" in data else None,
        window=timedelta(seconds=data["window"]) if "window" in data else None,
        history=tuple(_counts(pair) for pair in data.get("history", ())),
        candidate_ticks=int(candidate),
        beyond_ticks=int(beyond),
        within_ticks=int(within),
        detail=data.get("detail", ""),
        since_time=_read_instant(data.get("since")),
        banked=_counts(data["banked"]) if "banked" in data else None,
        closing=_counts(data["closing"]) if "closing" in data else None,
        closing_time=_read_instant(data.get("closed")),
        expected=float(data["expected"]) if "expected" in data else None,
    )


def _comparison_json(each: Comparison) -> list[object]:
    flags = [each.is_ill, each.is_incident, each.is_significant]
    return [each.gate, each.control_count, each.control_failing_count, each.p_value, *flags, each.well_ticks, each.significant_ticks]


def _comparison(row: list[Any]) -> Comparison:  # Any: the shape is checked by reading it back
    gate, count, failing, p_value, ill, incident, significant, well, sure = row
    shown = None if p_value is None else float(p_value)
    flags = (bool(ill), bool(incident), bool(significant))
    return Comparison(str(gate), int(count), int(failing), shown, *flags, well_ticks=int(well), significant_ticks=int(sure))


def _tenant(data: Json, *, is_same_run: bool) -> TenantGate:
    known = TenantGate(
        data["name"],
        data["wave"],
        baseline={name: _counts(pair) for name, pair in data["baseline"].items()},
        failing_before={name: float(value) for name, value in data["before"].items()},
        baseline_time=_read_instant(data["baselineAt"]),
        baseline_run=data["baselineRun"],
        baseline_gates=frozenset(map(str, data["baselineOf"])),
    )
    if not is_same_run:
        return known
    return replace(
        known,
        verdict=Verdict(data["verdict"]),
        reason=data["reason"],
        message=data["message"],
        metrics=tuple(_metric(metric) for metric in data["metrics"]),
        window_start_time=_read_instant(data["windowStart"]),
        evaluation_time=_read_instant(data["evaluated"]),
        usable_time=_read_instant(data["usable"]),
        latched=data["latched"],
        latched_time=_read_instant(data["latchedAt"]),
        clock=_read_seconds(data["clock"]),
        is_judged=bool(data["judged"]),
        has_first_verdict=bool(data["first"]),
        usable_ticks=int(data["usableTicks"]),
        total_ticks=int(data["totalTicks"]),
    )


def _wave(data: Json) -> WaveGate:
    judged, healthy, failing, inconclusive, no_data = (int(count) for count in data["counts"])
    return WaveGate(
        data["name"],
        Verdict(data["verdict"]),
        data["reason"],
        data["message"],
        tuple(_metric(metric) for metric in data["metrics"]),
        _read_instant(data["evaluated"]),
        _read_seconds(data["clock"]),
        _read_instant(data["healthySince"]),
        _read_instant(data["unknownSince"]),
        int(data["inRow"]),
        int(data["usableTicks"]),
        int(data["overBudget"]),
        Verdict(data["pool"]) if data["pool"] else None,
        data["members"],
        judged,
        healthy,
        failing,
        inconclusive,
        no_data,
        tuple(data["failing"]),
        Decimal(data["coverage"]),
        tuple(_comparison(each) for each in data["comparisons"]),
        {gate: float(value) for gate, value in data["dispersion"].items()},
        {gate: float(value) for gate, value in data["usualDispersion"].items()},
        _read_instant(data["controlSince"]),
        {str(tenant): str(gate) for tenant, gate in data["controlLatched"].items()},
        _read_instant(data["freshSince"]),
        int(data["shift"][0]),
        str(data["shift"][1]),
        data["canFind"],
    )


def _bounded(data: Json) -> str:
    """Return compact JSON; without the control's names, and at last without the metrics' numbers, if they do not fit (16 gates fit easily)."""
    slimmer = (data, {**data, "controlLatched": {}}, {**data, "controlLatched": {}, "metrics": []})
    texts = (json.dumps(each, separators=(",", ":")) for each in slimmer)
    return next((text for text in texts if len(text) <= MAX_BYTES), json.dumps(slimmer[-1], separators=(",", ":")))


def _parsed(text: str) -> Json | None:
    try:
        data = json.loads(text) if text else None
    except ValueError:
        return None
    return data if isinstance(data, dict) else None


def _pair(counts: Counts | None) -> list[float] | None:
    return [counts.bad, counts.total] if counts else None


def _counts(pair: list[float]) -> Counts:
    bad, total = pair
    return Counts(float(bad), float(total))


def _instant(time: datetime | None) -> str | None:
    return time.isoformat() if time else None


def _read_instant(text: str | None) -> datetime | None:
    return datetime.fromisoformat(text).astimezone(UTC) if text else None


def _seconds(length: timedelta | None) -> float | None:
    return length.total_seconds() if length is not None else None


def _read_seconds(value: float | None) -> timedelta | None:
    return timedelta(seconds=value) if value is not None else None
