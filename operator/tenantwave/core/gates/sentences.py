"""The sentences that people read about a verdict: what was counted, what is allowed, how sure that is, and since when. Absolute times
only."""

from __future__ import annotations

from datetime import datetime
from math import exp, log

from tenantwave.api.conditions import GateReason
from tenantwave.api.scalars import format_duration

from .book import MetricVerdict, Verdict
from .counts import Counts
from .rules import GateRule, Latency, Ratio, RawQuery


def metric_sentence(rule: GateRule, metric: MetricVerdict, time: datetime, baseline: Counts | None = None) -> str:
    """Return one metric's verdict as a sentence, for example `errors: 36 of 903 requests (4.0%) failed, allowed 1%; ...`."""
    if metric.verdict is Verdict.UNKNOWN:
        return metric.detail if metric.detail.startswith(rule.name) else f"{rule.name}: {metric.detail or metric.reason}"
    if metric.reason == GateReason.TRAFFIC_LOST.value and metric.counts is not None:
        seen = number(metric.counts.total)
        if metric.expected is None:  # of a wave: what is usual is known of each of its tenants only
            return (
                f"{rule.name}: {seen} requests over the whole wave, and some of its tenants have lost their traffic{_since(metric, time)}"
            )
        usual = number(metric.expected)
        usually = f"about {usual} are usual, by the hour before its upgrade and what others have now"
        return f"{rule.name}: {seen} requests where {usually}, so it lost its traffic{_since(metric, time)}"
    if metric.counts is not None:
        return _counts_sentence(rule, metric, metric.counts, time, baseline)
    if metric.value is not None:
        side = "at most" if rule.maximum is not None else "at least"
        value = number(metric.value) if isinstance(rule.kind, RawQuery) else f"about {round(metric.value)}"  # an increase is extrapolated
        return f"{rule.name}: {value}, allowed {side} {rule.limit}{_detail(metric)}{_since(metric, time)}"
    label = f"(does a series carry its name in the label {rule.tenant_label}?)"
    return f"{rule.name}: no data in Prometheus for it {label}{_detail(metric)}{_since(metric, time)}"


def _counts_sentence(rule: GateRule, metric: MetricVerdict, counts: Counts, time: datetime, baseline: Counts | None) -> str:
    verb = "failed" if isinstance(rule.kind, Ratio) else _slow(rule)
    share = f" ({percent(counts.bad / counts.total)})" if counts.total else ""
    own = f" (own baseline {percent(baseline.bad / baseline.total)})" if baseline and baseline.total else ""
    allowed = percent(float(metric.limit if metric.limit is not None else rule.limit))
    says = {
        GateReason.ABOVE_LIMIT.value: f"; certainty 1 in {_odds(metric.log_e)}",
        GateReason.LOW_TRAFFIC.value: "; too few requests to say more",
        GateReason.BASELINE_PENDING.value: "; how it was before its upgrade is not known yet, so it is not blamed",
    }.get(metric.reason, "")
    seen = f"{round(counts.bad)} of {round(counts.total)} requests{share} {verb}"
    return f"{rule.name}: {seen}, allowed {allowed}{own}{says}{_since(metric, time)}"


def _slow(rule: GateRule) -> str:
    return f"took longer than {rule.kind.above}" if isinstance(rule.kind, Latency) else "failed"


def number(value: float) -> str:
    """Return a number as people write it: whole where it is nearly whole or large, else with three digits. Never in the notation of
    floats."""
    if abs(value - round(value)) < 0.005 or abs(value) >= 1000:
        return str(round(value))
    return f"{value:.3g}" if abs(value) >= 0.001 else f"{value:.6f}".rstrip("0").rstrip(".") or "0"


def percent(share: float) -> str:
    """Return a share as a percentage: `4.0%`, `0.20%`, `1%`."""
    value = share * 100
    return f"{value:.0f}%" if abs(value - round(value)) < 1e-9 else f"{value:.1f}%" if value >= 1 else f"{value:.2g}%"


def clock_time(time: datetime) -> str:
    """Return an instant as `12:04:30Z`, for a message that stands beside a full time."""
    return time.strftime("%H:%M:%SZ")


def _odds(log_e: float | None) -> str:
    exponent = min(99, int((log_e or 0.0) / log(10)))
    return f"1e{exponent}" if exponent >= 4 else str(round(exp(log_e or 0.0)))


def _detail(metric: MetricVerdict) -> str:
    return f" ({metric.detail})" if metric.detail else ""


def _since(metric: MetricVerdict, time: datetime) -> str:
    return f"; since {clock_time(time - metric.window)} ({format_duration(metric.window)})" if metric.window else ""
