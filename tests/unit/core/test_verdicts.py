"""What gates do to tenants: let them succeed, take them back, or, while the whole fleet is ill, neither."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import pytest

from builders import MINUTE, NOON, RUN, a_journal, a_policy, a_status, a_tenant, a_world
from tenantwave.api.tenant_run import TenantState
from tenantwave.core.gates import GateBook, MetricVerdict, TenantGate, Verdict, WaveGate
from tenantwave.core.journal import Override
from tenantwave.core.plan import Deed
from tenantwave.core.planner import decide

S = TenantState
SOAK = timedelta(minutes=10)
WARM = NOON + MINUTE
WELL = (MetricVerdict("errors", Verdict.HEALTHY, "WithinLimit", value=0.001),)
SOAKED = TenantGate(
    "acme",
    "canary",
    Verdict.HEALTHY,
    "WithinLimit",
    "",
    WELL,
    WARM,
    WARM,
    WARM,
    clock=SOAK,
    is_judged=True,
    usable_ticks=20,
    total_ticks=20,
)
LATCHED = replace(SOAKED, verdict=Verdict.FAILING, reason="AboveLimit", message="errors: 36 of 903", latched="errors", clock=None)
THIN = replace(SOAKED, verdict=Verdict.INCONCLUSIVE, reason="LowTraffic", clock=timedelta(0))
HEALTHY = WaveGate("canary", Verdict.HEALTHY, "WithinLimit", clock=timedelta(0))
ILL = WaveGate("canary", Verdict.INCONCLUSIVE, "FleetIncident", "the fleet is ill")
BLIND = WaveGate("canary", Verdict.UNKNOWN, "Unreachable", "no answer")
BY_ANN = Override(person="ann", action="let-it-go", reason="metric was renamed", time=NOON, verdict="Inconclusive")


@pytest.mark.parametrize(
    ("tenant", "wave", "override", "minutes", "expected"),
    [
        pytest.param(SOAKED, HEALTHY, None, 11, "succeeds", id="it has soaked"),
        pytest.param(LATCHED, HEALTHY, None, 11, "goes back", id="it latched"),
        pytest.param(THIN, HEALTHY, None, 60, "waits", id="nobody knows"),
        pytest.param(replace(SOAKED, window_start_time=NOON), HEALTHY, None, 11, "waits", id="its evidence is from before it converged"),
        pytest.param(SOAKED, ILL, None, 11, "waits", id="the fleet is ill: nobody succeeds"),
        pytest.param(LATCHED, ILL, None, 11, "waits", id="the fleet is ill: nobody is taken back on metrics"),
        pytest.param(LATCHED, BLIND, None, 11, "goes back", id="blind: who latched before goes back all the same"),
        pytest.param(THIN, HEALTHY, BY_ANN, 9, "waits", id="overridden, before its soak"),
        pytest.param(THIN, HEALTHY, BY_ANN, 10, "succeeds", id="overridden, after its soak"),
        pytest.param(SOAKED, ILL, BY_ANN, 10, "succeeds", id="overridden in an incident"),
        pytest.param(LATCHED, HEALTHY, BY_ANN, 10, "goes back", id="overridden, and it latched"),
    ],
)
def test_what_becomes_of_a_tenant_that_soaks(
    tenant: TenantGate, wave: WaveGate, override: Override | None, minutes: int, expected: str
) -> None:
    """By its own gate, its wave's, and a person's word; `minutes` is how long it has been converged."""
    policy = a_policy(gated=True)
    journal = a_journal(policy, {"canary": ["acme"], "rest": []}, running="canary")
    record = journal.run.waves[0].model_copy(update={"override": override})
    journal = journal.model_copy(update={"run": journal.run.model_copy(update={"waves": (record, *journal.run.waves[1:])})})
    book, now = GateBook(RUN, {"acme": tenant}, {"canary": wave}), NOON + minutes * MINUTE
    status = a_status(S.SOAKING, converged_time=NOON, start_time=NOON)
    for _ in range(2):  # what the gates say is stored first, and acted on then
        plan = decide(a_world([a_tenant("acme", status)], policy=policy, journal=journal, gates=book), now)
        status = next((move.status for move in plan.moves if move.tenant == "acme"), status)
    succeeds = any(step.deed is Deed.FINALISE for step in plan.steps)
    assert ("succeeds" if succeeds else "goes back" if status.state is S.ROLLING_BACK else "waits") == expected
