"""What a wave says beyond its verdict, for the people who approve it: what its traffic allows to find, and whether it moved within its limits."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import timedelta
from math import log
from statistics import median

from .book import TenantGate
from .constants import ALPHA_FAILING, BASELINE_WINDOW
from .counts import Counts
from .exact import ALPHA_SHIFT, SHIFT_GROUP, SHIFT_LOOKS, rank_test, score
from .rules import GateContext, GateRule
from .sentences import number, percent
from .statistics import log_e_above
from .traffic import MIN_CONTROL
from .verdicts import Yardstick

FACTORS = (1.5, 2, 3, 5, 10, 20, 30, 50, 100)


def looks_due(done: int, clock: timedelta | None, soak: timedelta) -> bool:
    """Tell whether it is time to look for a shift: at half, three quarters and all of the soak, each once."""
    return done < len(SHIFT_LOOKS) and clock is not None and clock >= SHIFT_LOOKS[done] * soak


def shift(context: GateContext, wave: Sequence[TenantGate], control: Sequence[TenantGate]) -> str:
    """Return a sentence if the wave as a whole moved for the worse against its control, although each tenant is within its limit; else ''.

    It decides nothing: nobody is failed for getting worse within what is allowed. Cost: 5 microseconds a tenant and gate.
    """
    for rule in context.rules:
        if not (rule.enforced and rule.is_share):
            continue
        here, there = _scores(rule, wave), _scores(rule, control)
        if min(len(here), len(there)) < SHIFT_GROUP:
            continue
        p_value = rank_test(here, there)
        if p_value <= ALPHA_SHIFT / len(SHIFT_LOOKS):
            worse = sum(each > 0 for each in here)
            return (
                f"{rule.name}: {worse} of {len(here)} tenants have more bad events than before, more than the {len(there)} tenants of the "
                f"control let expect (p = {p_value:.1g}); all are within their limits, so it is recorded and decides nothing"
            )
    return ""


def _scores(rule: GateRule, gates: Sequence[TenantGate]) -> list[float]:
    pairs = ((_counts(rule, gate), gate.baseline.get(rule.name)) for gate in gates)
    return [score(after.bad, after.total, before.bad, before.total) for after, before in pairs if after is not None and before is not None]


def _counts(rule: GateRule, gate: TenantGate) -> Counts | None:
    return next((metric.counts for metric in gate.metrics if metric.gate == rule.name), None)


def can_find(
    context: GateContext, soak: timedelta, wave: Sequence[TenantGate], yardsticks: Mapping[str, Yardstick], control_count: int
) -> str:
    """Return a sentence that says what a wave with this traffic can find; '' as long as no baseline is known.

    Of the enforced shares the one that finds least, in a tenant of median traffic.
    """
    found = [
        each for rule in context.rules if rule.enforced and rule.is_share and (each := _reach(rule, soak, wave, yardsticks[rule.name]))
    ]
    if not found:
        return ""
    factor, requests, rule = max(found, key=lambda each: each[0])
    seen = f"a tenant with the wave's median traffic ({number(requests)} requests in a soak)"
    allowed = percent(float(rule.limit))
    if factor > FACTORS[-1]:
        sentence = f"{rule.name}: {seen} is too quiet to fail alone; only all quiet tenants together are judged, at the end of the soak"
    else:
        sentence = f"{rule.name}: finds {number(factor)} times the allowed {allowed} in {seen}"
    lonely = f"; with only {control_count} tenants left to compare with, an incident of the fleet is hardly told from a bad release"
    return sentence + (lonely if control_count < MIN_CONTROL else "")


def _reach(rule: GateRule, soak: timedelta, wave: Sequence[TenantGate], yardstick: Yardstick) -> tuple[float, float, GateRule] | None:
    totals = [gate.baseline[rule.name].total for gate in wave if rule.name in gate.baseline]
    if not totals:
        return None
    requests = median(totals) * (soak / BASELINE_WINDOW)
    allowed, needed = float(rule.limit), log(max(1, yardstick.metrics_count) / ALPHA_FAILING)
    total = requests / yardstick.dispersion
    factor = next(
        (each for each in FACTORS if each * allowed <= 1 and log_e_above(min(1.0, each * allowed) * total, total, allowed) >= needed),
        FACTORS[-1] + 1,
    )
    return factor, requests, rule
