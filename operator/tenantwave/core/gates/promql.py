"""Writes the queries. Users say which series count; windows, new series, restarts and scoping to tenants are the operator's, because
people get them wrong.

The core of a count over a window is `m unless m offset W`: a series born inside the window counts in full, while `increase` alone loses
its start,
and each upgrade makes new series. Three guards belong to it; see `counts`.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from datetime import timedelta
from decimal import Decimal

from tenantwave.api.scalars import format_duration

from .constants import CHUNK_BYTES, CHUNK_NAMES, GROUP_ALL_NAMES, LOOK_BACK
from .rules import GateRule, Increase, Latency, Ratio, RawQuery
from .samples import Part
from .selector import Matcher, Selector, parse_selector

_TENANT_NAME = re.compile(r"[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?")
_PLACEHOLDER = re.compile(r"\{\{\s*(tenants|label)\s*\}\}")
EVERY_TENANT = ".+"


def duration(window: timedelta) -> str:
    """Return a duration as PromQL, in its shortest spelling; at least one second."""
    return format_duration(max(window, timedelta(seconds=1)))


def tenant_matcher(label: str, tenants: Sequence[str]) -> Matcher:
    """Return the condition that scopes a selector to these tenants; to all of them where the group is too large for an alternation of
    names.

    Raises: ValueError for none at all, or a name that is no Namespace's: such a text never enters a query.
    """
    if not tenants:
        raise ValueError("a query needs at least one tenant")
    for name in tenants:
        if not _TENANT_NAME.fullmatch(name):
            raise ValueError(f"{name!r} is no Namespace's name, so it enters no query")
    return every_tenant(label) if len(tenants) > GROUP_ALL_NAMES else Matcher(label, "=~", "|".join(tenants))


def every_tenant(label: str) -> Matcher:
    """Return the condition that a series names any tenant."""
    return Matcher(label, "=~", EVERY_TENANT)


def counts(selector: Selector, scope: Matcher, window: timedelta) -> str:
    """Return how many events each tenant had in the window before the query's time; `N(M)` of the design page.

    Guards: `last_over_time` over the window, not the last instant (the new pod died: its events count); `resets` (a container
    restarted: `increase`
    adds both lives, the core would count only the last); ten minutes of look-back before the window (a scrape gap at its start makes no
    series new).
    """
    series = str(selector.where(scope))
    wide, back = duration(window), duration(LOOK_BACK)
    return (
        f"sum by ({scope.label}) (((last_over_time({series}[{wide}]) unless last_over_time({series}[{back}] offset {wide}))"
        f" unless (resets({series}[{wide}]) > 0)) or increase({series}[{wide}]))"
    )


def bound_matcher(above: str) -> Matcher:
    """Return the matcher of a histogram's bucket in all its spellings: Prometheus 3 and OpenMetrics write `1.0` where others write `1`."""
    spellings = sorted(bound_spellings(above))
    return Matcher("le", "=~", "|".join(spelling.replace(".", "\\.").replace("+", "\\+") for spelling in spellings))


def bound_spellings(above: str) -> frozenset[str]:
    """Return how exporters may write a bound: as given, plain, with `.0` if whole, and with an exponent where Go's shortest form has
    one."""
    number = Decimal(above)
    plain = f"{number.normalize():f}"
    spellings = {above, plain} | ({f"{plain}.0"} if "." not in plain else set())
    exponent = number.adjusted()
    if number and (exponent < -4 or exponent >= 6):
        mantissa = f"{number.scaleb(-exponent).normalize():f}"
        spellings |= {f"{mantissa}e{'-' if exponent < 0 else '+'}{abs(exponent):02d}"}
    return frozenset(spellings)


def parts_of(rule: GateRule) -> tuple[Part, ...]:
    """Return what is asked for a gate: two numbers for shares, one for comparisons. The order is that of the queries."""
    match rule.kind:
        case Ratio():
            return (Part.TOTAL, Part.BAD)
        case Latency():
            return (Part.TOTAL, Part.FAST)
        case Increase() | RawQuery():
            return (Part.VALUE,)


def part_query(rule: GateRule, part: Part, scope: Matcher, window: timedelta) -> str:
    """Return the query for one number of a gate, for the tenants in scope."""
    label = rule.tenant_label
    match rule.kind, part:
        case Ratio(bad=bad), Part.BAD:
            return counts(parse_selector(bad, reserved=label), scope, window)
        case Ratio(total=total), Part.TOTAL:
            return counts(parse_selector(total, reserved=label), scope, window)
        case Latency(histogram=histogram), Part.TOTAL:
            return counts(parse_selector(histogram, reserved=label).with_suffix("_count"), scope, window)
        case Latency(histogram=histogram, above=above), Part.FAST:
            return counts(parse_selector(histogram, reserved=label).with_suffix("_bucket").where(bound_matcher(above)), scope, window)
        case Increase(selector=selector), Part.VALUE:
            return counts(parse_selector(selector, reserved=label), scope, window)
        case RawQuery(query=query), Part.VALUE:
            return fill_in(query, scope)
        case _:
            raise ValueError(f"gate {rule.name} has no part {part.value}")


def fill_in(query: str, scope: Matcher) -> str:
    """Return a raw query with its placeholders filled in. Nothing else of it changes."""
    return _PLACEHOLDER.sub(lambda found: str(scope) if found.group(1) == "tenants" else scope.label, query)


def fresh_series(rule: GateRule) -> Selector | None:
    """Return the series whose newest sample shows that the fleet is scraped; None for a raw query, which has no series of its own."""
    label = rule.tenant_label
    match rule.kind:
        case Ratio(total=total):
            return parse_selector(total, reserved=label)
        case Latency(histogram=histogram):
            return parse_selector(histogram, reserved=label).with_suffix("_count")
        case Increase(selector=selector):
            return parse_selector(selector, reserved=label)
        case RawQuery():
            return None


def freshness_query(series: Selector, label: str) -> str:
    """Return when the newest sample of the whole fleet was taken. Only series that name a tenant count, or a wrong `tenantLabel` would
    look healthy."""
    return f"max(timestamp({series.where(every_tenant(label))}))"


def coverage_query(series: Selector, label: str, span: timedelta, interval: timedelta, max_age: timedelta) -> str:
    """Return at how many ticks of the last `span` the fleet's newest sample was young enough: what an outage of the query path hid from
    us. The tick at its start is not among them.

    A range includes its first instant up to Prometheus 2 and leaves it out from 3 on; a second less gives the same ticks on both.
    """
    newest = freshness_query(series, label)
    reach = duration(span - timedelta(seconds=1))
    return f"sum_over_time((time() - {newest} <= bool {int(max_age.total_seconds())})[{reach}:{duration(interval)}])"


def evidence_query(rule: GateRule, scope: Matcher, window: timedelta) -> str:
    """Return one query that a person can paste and that returns the gate's value: the share of bad events, or the number that was
    compared.

    A tenant without bad events has the share 0. That takes any row of the tenant, so the shortest query for one stands there.
    """
    match rule.kind:
        case Ratio(total=total):
            bad, all_events = (part_query(rule, part, scope, window) for part in (Part.BAD, Part.TOTAL))
            anything = f"last_over_time({parse_selector(total, reserved=rule.tenant_label).where(scope)}[{duration(window)}])"
            return f"({bad} or sum by ({scope.label}) ({anything}) * 0) / {all_events}"
        case Latency():
            fast, total = (part_query(rule, part, scope, window) for part in (Part.FAST, Part.TOTAL))
            return f"1 - {fast} / {total}"
        case Increase() | RawQuery():
            return part_query(rule, Part.VALUE, scope, window)


def pooled_query(rule: GateRule, scope: Matcher, window: timedelta) -> str:
    """Return one query that a person can paste and that returns the gate's number of several tenants together: their share, or the worst."""
    match rule.kind:
        case Ratio():
            bad, total = (f"sum({part_query(rule, part, scope, window)})" for part in (Part.BAD, Part.TOTAL))
            return f"({bad} or vector(0)) / {total}"
        case Latency():
            fast, total = (f"sum({part_query(rule, part, scope, window)})" for part in (Part.FAST, Part.TOTAL))
            return f"1 - {fast} / {total}"
        case Increase() | RawQuery():
            return f"{'max' if rule.maximum is not None else 'min'}({part_query(rule, Part.VALUE, scope, window)})"


def chunks(rule: GateRule, part: Part, tenants: Sequence[str], window: timedelta) -> tuple[tuple[str, ...], ...]:
    """Return the tenants in groups of one query each: 500 names, fewer where the text would be too long, all at once above 1,000 names."""
    if len(tenants) > GROUP_ALL_NAMES:
        return (tuple(tenants),)
    groups = [tuple(tenants[start : start + CHUNK_NAMES]) for start in range(0, len(tenants), CHUNK_NAMES)]
    fitting: list[tuple[str, ...]] = []
    while groups:
        group = groups.pop(0)
        if len(group) > 1 and len(part_query(rule, part, tenant_matcher(rule.tenant_label, group), window)) > CHUNK_BYTES:
            middle = len(group) // 2
            groups[:0] = [group[:middle], group[middle:]]
        else:
            fitting.append(group)
    return tuple(fitting)
