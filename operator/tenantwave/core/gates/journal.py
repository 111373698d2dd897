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

from .book import Counts, GateBook, MetricVerdict, TenantGate, Verdict, WaveGate

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
    """Return the book of a run out of what is stored. The time of the last tick is not restored: the next tick may be asked at once."""
    loaded_tenants = (load_tenant(text, run_id) for text in tenants)
    loaded_waves = (load_wave(text, run_id) for text in waves)
    return GateBook(
        run_id,
        {gate.name: gate for gate in loaded_tenants if gate is not None},
        {gate.name: gate for gate in loaded_waves if gate is not None},
    )


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
        return (*common, gate.latched, gate.window_start_time, gate.is_judged, gate.has_first_verdict, gate.baseline_time)
    return (*common, gate.healthy_since_time, gate.unknown_since_time, gate.members, gate.failing_tenants, gate.pool)


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
    )


def _tenant(data: Json, *, is_same_run: bool) -> TenantGate:
    known = TenantGate(
        data["name"],
        data["wave"],
        baseline={name: _counts(pair) for name, pair in data["baseline"].items()},
        failing_before={name: float(value) for name, value in data["before"].items()},
        baseline_time=_read_instant(data["baselineAt"]),
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
    )


def _bounded(data: Json) -> str:
    """Return compact JSON; without the metrics' numbers if they do not fit (16 gates fit easily)."""
    text = json.dumps(data, separators=(",", ":"))
    return text if len(text) <= MAX_BYTES else json.dumps({**data, "metrics": []}, separators=(",", ":"))


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
