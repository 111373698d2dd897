"""Whatever the status shows as evidence can be asked of Prometheus again, and gives the same number."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from support.gated import EVERY_KIND, LAG, NEW, SETTLED, Gated, Object, gate_of, metric_of, wave
from support.story import condition

ILL: dict[str, Object] = {
    "errors": {"error_share": 0.2},
    "slow": {"slow_share": 0.5},
    "restarts": {"restarts": 4},
    "lag": {"gauges": {"queue_lag_seconds": 90}},
}
"""Gate -> the traffic of a tenant that fails it."""


def asked_again(gated: Gated, gate: Object, of: Sequence[str]) -> list[str]:
    """Paste each query of a gate, and compare. Returns the metrics that had one.

    A wave's query may return its number, or where it names nobody that of each tenant, because their windows differ: then the members' mean (all
    have the same traffic), or the largest where one value is compared. A share over two windows of unlike length differs by the events at their
    edges: by at most two of each tenant.
    """
    asked = []
    for metric in gate["metrics"]:
        if "query" in metric:
            answers = gated.ask_again(gate, metric)
            values = [answers[""]] if "" in answers else [answers[tenant] for tenant in of]
            number = sum(values) / len(values) if "total" in metric else max(values)
            edges = 2 * len(of) / float(metric["total"]) if "total" in metric and "" not in answers and len(of) > 1 else 0
            assert number == pytest.approx(float(metric["value"]), rel=0.02, abs=max(edges, 1e-9)), (metric, answers)
            asked.append(metric["name"])
    return asked


async def test_each_number_in_status_is_what_its_query_returns(gated: Gated) -> None:
    """Four tenants, each ill in another kind of gate, and three well ones: their TenantRuns, once more after the rollback, and the wave."""
    story = gated.story
    well = await gated.tenants("well", 3)
    ill = {gate: (await gated.tenants(gate, 1))[0] for gate in ILL}
    for lag, tenant in enumerate(well, start=7):
        gated.traffic(tenant, error_share=0.005, gauges={"queue_lag_seconds": lag})
    await gated.ready()
    await gated.policy(wave("all", "8s", failureBudget=4), gates=[*EVERY_KIND[:3], LAG | {"consecutive": 1}], prometheus=SETTLED)
    await story.operator()
    upgrade = await story.upgrade()
    await gated.until_gate(upgrade, "all", lambda gate: gate.get("judged") == 7, "judged")
    for name, tenant in ill.items():
        gated.traffic(tenant, images={"": ILL[name]} if name == "slow" else {NEW: ILL[name]})  # one stays ill on its old version
    done = await story.until(upgrade, "SucceededWithSkips", "RolledBack")
    assert condition(done, "Ready")["reason"] == "SucceededWithSkips"
    for name, tenant in ill.items():
        run = await story.run(upgrade, tenant)
        metric = metric_of(run["verdict"], name)
        assert (run["state"], metric["verdict"], metric["reason"]) == ("RolledBack", "Failing", "AboveLimit")
        assert name in asked_again(gated, run["verdict"], [tenant])
        assert run["message"].startswith(f"taken back to 2.3.1; {name}: ")
        after = (await story.until_run(upgrade, tenant, lambda run: "afterRollback" in run, "looked at once more"))["afterRollback"]
        assert (after["verdict"], after["reason"]) == (("Failing", "WorseThanBefore") if name == "slow" else ("Healthy", "WithinLimit"))
        assert name in asked_again(gated, after, [tenant])
    for tenant in well:
        assert asked_again(gated, (await story.run(upgrade, tenant))["verdict"], [tenant])
    assert asked_again(gated, gate_of(done, "all"), well)
