"""What status says of the gates: GatesPassed row by row, and a wave's gate with a person's word beside its verdict."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from builders import NOON, RUN, a_journal, a_policy, a_status, a_tenant, a_world
from tenantwave.api.conditions import Condition, GateReason, condition_of
from tenantwave.api.tenant_run import TenantState
from tenantwave.api.upgrade_status import GateStatus, TenantUpgradeStatus
from tenantwave.api.upgrade_status import Verdict as ShownVerdict
from tenantwave.core.gates import FailureKind, GateBook, SourceHealth, Verdict, WaveGate, dump_wave
from tenantwave.core.journal import EndReason, Override, TakeBackOrder, WaveProgress
from tenantwave.core.planner import decide
from tenantwave.core.status import upgrade_status

S = TenantState
BY_ANN = Override(
    person="ann", action="let-it-go", reason="metric was renamed", time=NOON, verdict="Unknown", said="QueryInvalid: no such metric"
)
LOST = TakeBackOrder(reason=EndReason.WAVE_FAILED, wave="canary", message="wave canary failed: 2 tenants", time=NOON)


def seen(
    gate: WaveGate | None, *, source: SourceHealth | None = None, run: dict[str, Any] | None = None, **wave: Any
) -> TenantUpgradeStatus:
    """Return the status while wave canary runs, or as its record says, with this gate."""
    policy = a_policy(gated=True)
    journal = a_journal(policy, {"canary": ["acme"]}, running="canary", **(run or {}))
    stored = {"gate": dump_wave(gate, RUN)} if gate is not None else {}
    record = journal.run.waves[0].model_copy(update={**stored, **wave})
    journal = journal.model_copy(update={"run": journal.run.model_copy(update={"waves": (record,)})})
    book = GateBook(RUN, waves={"canary": gate} if gate is not None else {}, source=source or SourceHealth())
    world = a_world(
        [a_tenant("acme", a_status(S.SOAKING, converged_time=NOON, start_time=NOON))], policy=policy, journal=journal, gates=book
    )
    return upgrade_status(None, world, replace(decide(world, NOON), journal=None), NOON)


def gates_passed(status: TenantUpgradeStatus) -> Condition:
    """Return the condition."""
    found = condition_of(status.conditions, "GatesPassed")
    assert found is not None
    return found


def a_gate(verdict: Verdict, reason: str) -> WaveGate:
    """Return what a wave's gate says."""
    return WaveGate("canary", verdict, reason, "errors: 36 of 903 requests failed", evaluation_time=NOON)


PASSED = {"progress": WaveProgress.PASSED}
GOES_BACK = {"progress": WaveProgress.FAILED, "run": {"order": LOST}}


@pytest.mark.parametrize(
    ("gate", "fields", "expected"),
    [
        pytest.param(None, {}, ("Unknown", "NotJudged"), id="not judged yet"),
        pytest.param(a_gate(Verdict.HEALTHY, "WithinLimit"), {}, ("Unknown", "Healthy"), id="healthy, not passed yet"),
        pytest.param(a_gate(Verdict.INCONCLUSIVE, "LowTraffic"), {}, ("Unknown", "Inconclusive"), id="too little evidence"),
        pytest.param(a_gate(Verdict.INCONCLUSIVE, "FleetIncident"), {}, ("Unknown", "FleetIncident"), id="the whole fleet is ill"),
        pytest.param(a_gate(Verdict.UNKNOWN, "Unreachable"), {}, ("Unknown", "Unknown"), id="blind"),
        pytest.param(a_gate(Verdict.FAILING, "Catastrophic"), {}, ("False", "Failing"), id="failing"),
        pytest.param(a_gate(Verdict.FAILING, "Catastrophic"), GOES_BACK, ("False", "Failing"), id="failed"),
        pytest.param(a_gate(Verdict.FAILING, "Catastrophic"), {"override": BY_ANN}, ("Unknown", "Overridden"), id="overridden"),
        pytest.param(a_gate(Verdict.HEALTHY, "WithinLimit"), PASSED, ("True", "Healthy"), id="all waves passed"),
        pytest.param(a_gate(Verdict.UNKNOWN, "QueryInvalid"), {**PASSED, "override": BY_ANN}, ("Unknown", "Overridden"), id="passed by a person"),
    ],
)  # fmt: skip
def test_gates_passed(gate: WaveGate | None, fields: dict[str, Any], expected: tuple[str, str]) -> None:
    """True only where the gates themselves passed every wave; never a number that ticks."""
    said = gates_passed(seen(gate, **fields))
    assert (str(said.status), said.reason) == expected
    assert "903" not in said.message


@pytest.mark.parametrize(
    ("progress", "begins"),
    [(WaveProgress.RUNNING, "passes on its soak alone, by OverrideGate"), (WaveProgress.PASSED, "passed by OverrideGate")],
)
def test_an_override_stands_beside_the_verdict(progress: WaveProgress, begins: str) -> None:
    """With the action, the person, the reason, and what the gate said then. The verdict stays what it is."""
    shown = seen(a_gate(Verdict.INCONCLUSIVE, "LowTraffic"), override=BY_ANN, progress=progress).waves[0].gate
    assert shown is not None
    assert (shown.verdict, shown.reason, shown.override) == ("Inconclusive", "LowTraffic", "let-it-go")
    assert shown.message.startswith(f"{begins} let-it-go of ann: metric was renamed")
    assert "said Unknown (QueryInvalid: no such metric)" in shown.message


def test_an_override_for_stragglers_says_so() -> None:
    """The wave has passed by its gate; who came later has not."""
    late = BY_ANN.model_copy(update={"for_stragglers": True})
    shown = seen(a_gate(Verdict.HEALTHY, "WithinLimit"), override=late, progress=WaveProgress.PASSED).waves[0].gate
    assert shown is not None
    assert (shown.verdict, shown.override) == ("Healthy", "let-it-go")
    assert shown.message.startswith("lets stragglers pass on their soak alone, by OverrideGate let-it-go of ann: metric was renamed")


def test_an_override_shows_where_nothing_was_ever_judged() -> None:
    """The verdict is then the one at the time of the order."""
    shown = seen(None, override=BY_ANN).waves[0].gate
    assert shown is not None
    assert (shown.verdict, shown.override) == ("Unknown", "let-it-go")


@pytest.mark.parametrize(
    ("source", "words"),
    [
        pytest.param(SourceHealth(), None, id="it answers in time"),
        pytest.param(
            SourceHealth(bad_ticks=1, kind="Unreachable", message="Prometheus cannot be reached"), "cannot be reached", id="it fails"
        ),
        pytest.param(SourceHealth(slow_since_time=NOON), "evaluation.interval (30 s)", id="it is too slow"),
    ],
)
def test_what_is_wrong_with_the_source_is_told_with_its_mend(source: SourceHealth, words: str | None) -> None:
    """Beside the gate that waits for it."""
    shown = seen(a_gate(Verdict.HEALTHY, "WithinLimit"), source=source).waves[0].gate
    assert shown is not None
    assert (shown.source_message is None) == (words is None)
    assert words is None or words in (shown.source_message or "")


def test_what_a_wave_can_find_stands_with_the_plan() -> None:
    """As soon as its traffic before the upgrade is known."""
    gate = replace(a_gate(Verdict.INCONCLUSIVE, "FirstLookPending"), can_find="errors: 20 times as many as before")
    accepted = condition_of(seen(gate).conditions, "Accepted")
    assert accepted is not None
    assert "wave canary: errors: 20 times as many as before" in accepted.message


def test_what_is_shown_stays_as_it_was_stored() -> None:
    """Whoever has left the wave since: a query that is pasted gives the number beside it. What another version wrote is worked out anew."""
    gate = a_gate(Verdict.HEALTHY, "WithinLimit")
    kept = GateStatus(verdict=ShownVerdict.HEALTHY, reason="WithinLimit", message="as stored").model_dump_json(
        by_alias=True, exclude_none=True
    )
    shown = seen(gate, shown=kept, progress=WaveProgress.PASSED).waves[0].gate
    assert shown is not None
    assert shown.message == "as stored"
    anew = seen(gate, shown='{"verdict":"Healthy","unheardOf":1}', progress=WaveProgress.PASSED).waves[0].gate
    assert anew is not None
    assert anew.message == gate.message


def test_it_says_since_when_nobody_can_see() -> None:
    """The first unusable tick, in `run.unknownSinceTime`."""
    blind = replace(a_gate(Verdict.UNKNOWN, "Unreachable"), unknown_since_time=NOON)
    for gate, expected in ((blind, NOON), (a_gate(Verdict.HEALTHY, "WithinLimit"), None)):
        run = seen(gate).run
        assert run is not None
        assert run.unknown_since_time == expected


def test_every_reason_of_a_gate_is_in_the_reference() -> None:
    """With its meaning: whatever a gate or a source says, a person finds what to do about it."""
    assert {kind.value for kind in FailureKind} <= {reason.value for reason in GateReason}
    assert all(reason.meaning for reason in GateReason)
    assert [reason for reason in GateReason if not reason.mend] == [GateReason.WITHIN_LIMIT]
