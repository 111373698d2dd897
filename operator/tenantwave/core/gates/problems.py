"""What only the operator can find wrong with gates. Asked when a policy changes; every sentence says which gate, what, why, and the
mend."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from datetime import timedelta
from decimal import Decimal
from urllib.parse import urlsplit

from tenantwave.api import gating as written

from .raw_query import why_not_accepted
from .selector import Selector, SelectorError, parse_selector

HIGHEST_SHARE = Decimal("0.9")
LONGEST_INTERVAL = timedelta(hours=1)
_OURS = re.compile(r"authorization|cookie|host|content-.*", re.IGNORECASE)


def gate_problems(
    prometheus: written.Prometheus | None, gates: Sequence[written.Gate], evaluation: written.Evaluation, *, allow_no_gates: bool = False
) -> tuple[str, ...]:
    """Return everything that is wrong with the gates of a policy, as sentences; empty if they can be evaluated. Cost: milliseconds, all
    bounded."""
    return tuple(_problems(prometheus, gates, evaluation, allow_no_gates))


def _problems(
    prometheus: written.Prometheus | None, gates: Sequence[written.Gate], evaluation: written.Evaluation, allow_no_gates: bool
) -> Iterator[str]:
    if not gates and not allow_no_gates:
        yield "gates: there are none, so nothing would stop a bad release; add gates, or set allowNoGates: true"
    if gates and prometheus is None:
        yield "prometheus: it is missing, so no gate can be evaluated; add prometheus.url"
    names = [gate.name for gate in gates]
    yield from (
        f"gates: the name {name} is used twice; give each gate a name of its own" for name in sorted(set(names)) if names.count(name) > 1
    )
    if prometheus is not None:
        yield from (f"prometheus.{problem}" for problem in _source_problems(prometheus))
    label = prometheus.tenant_label if prometheus else "namespace"
    for gate in gates:
        yield from (f"gate {gate.name}: {problem}" for problem in _gate_problems(gate, gate.tenant_label or label))
    yield from (f"evaluation.{problem}" for problem in _evaluation_problems(evaluation))


def _source_problems(prometheus: written.Prometheus) -> Iterator[str]:
    try:
        url = urlsplit(prometheus.url)
        host, _ = url.hostname, url.port
    except ValueError:
        yield "url: it cannot be read as a URL; write for example https://prometheus.monitoring:9090"
        return
    if url.scheme not in ("http", "https") or not host:
        yield "url: it must begin with http:// or https:// and name a host; write for example https://prometheus.monitoring:9090"
    if url.username is not None or url.password is not None:
        yield "url: it contains credentials, which would be shown to everybody who reads the policy; move them to the Secret of secretRef"
    if url.query or url.fragment:
        yield "url: it ends with a query or fragment, which cannot be kept; remove everything from ? or # on"
    for name, value in prometheus.headers.items():
        if _OURS.fullmatch(name):
            yield f"headers: {name} is set by the operator; credentials belong into the Secret of secretRef, so remove it"
        if any(character in value for character in "\r\n\0") or not value.isascii():
            yield f"headers: the value of {name} must be plain ASCII without line breaks"


def _gate_problems(gate: written.Gate, label: str) -> Iterator[str]:
    kinds = [kind for kind in (gate.ratio, gate.latency, gate.increase, gate.query) if kind is not None]
    if len(kinds) != 1:
        yield "it must have exactly one of ratio, latency, increase and query; give each check a gate of its own"
        return
    if gate.query is None and (gate.max is None or gate.min is not None):
        yield "it must have max and no min; min goes with query alone"
    if gate.query is not None and (gate.max is None) == (gate.min is None):
        yield "it must have either max or min"
    if gate.ratio is not None:
        yield from _selector_problems("ratio.bad", gate.ratio.bad, label)
        yield from _selector_problems("ratio.total", gate.ratio.total, label)
    if gate.latency is not None:
        yield from _histogram_problems(gate.latency, label)
    if gate.increase is not None:
        yield from _selector_problems("increase", gate.increase, label)
    if gate.query is not None and (problem := why_not_accepted(gate.query, label)):
        yield f"query: {problem}"
    if (gate.ratio or gate.latency) and gate.max is not None and not 0 < gate.max <= HIGHEST_SHARE:
        yield f"max: {gate.max} is no share that can be judged; write one above 0% and at most 90%, such as 1%"


def _selector_problems(field: str, text: str, label: str) -> Iterator[str]:
    problem = _read(text, label)
    if isinstance(problem, str):
        yield f"{field}: {problem}"


def _histogram_problems(latency: written.Latency, label: str) -> Iterator[str]:
    selector = _read(latency.histogram, label)
    if isinstance(selector, str):
        yield f"latency.histogram: {selector}"
    else:
        suffix = next((suffix for suffix in ("_bucket", "_count", "_sum") if selector.name.endswith(suffix)), None)
        if suffix:
            yield f"latency.histogram: {selector.name} is one series of a histogram; write its name without {suffix}"
        if any(matcher.label == "le" for matcher in selector.matchers):
            yield "latency.histogram: it matches on le, which is chosen by above; remove that matcher"
    if not latency.bound > 0:
        yield "latency.above: it must be above 0, in the histogram's unit, such as 0.5"


def _read(text: str, label: str) -> Selector | str:
    try:
        return parse_selector(text, reserved=label)
    except SelectorError as error:
        return str(error)


def _evaluation_problems(evaluation: written.Evaluation) -> Iterator[str]:
    if not timedelta(seconds=1) <= evaluation.interval <= LONGEST_INTERVAL:
        yield "interval: it must be between 1s and 1h, and at least the scrape interval, such as 30s"
    if not evaluation.min_coverage.is_percent:
        yield 'minCoverage: it must be a percentage, such as "80%"'
