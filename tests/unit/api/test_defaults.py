"""What holds for a wave or a gate where nothing is written."""

from datetime import timedelta

import pytest

from tenantwave.api.defaults import consecutive_ticks, effective_wave, effective_waves, gate_mode, tenant_label
from tenantwave.api.gating import Gate, GateMode, Prometheus
from tenantwave.api.scalars import IntOrPercent
from tenantwave.api.waves import Approval, ApprovalTime, FreeSlotOn, Wave

BARE = Wave(name="some")


def test_the_first_wave_is_careful() -> None:
    """One tenant at a time, no failure, and each slot is kept until the first verdict."""
    first = effective_wave(BARE, 0)
    assert (first.max_parallel, first.failure_budget) == (IntOrPercent(1), IntOrPercent(0))
    assert first.free_slot_on is FreeSlotOn.FIRST_VERDICT


def test_later_waves_are_wider() -> None:
    """A tenth at a time, two in a hundred may fail."""
    later = effective_wave(BARE, 1)
    assert (later.max_parallel, later.failure_budget) == (IntOrPercent(10, is_percent=True), IntOrPercent(2, is_percent=True))
    assert later.free_slot_on is FreeSlotOn.CONVERGED
    assert (later.slots(9), later.slots(40), later.tolerated_failures(49), later.tolerated_failures(50)) == (1, 4, 0, 1)


@pytest.mark.parametrize("index", [0, 1])
def test_defaults_that_do_not_depend_on_the_place(index: int) -> None:
    """Ten minutes of soak, the order by hash, nobody asked, everyone left."""
    wave = effective_wave(BARE, index)
    assert (wave.soak, wave.order_by, wave.approval, wave.approval_minimum, wave.deadline) == (
        timedelta(minutes=10),
        ("Hash",),
        ApprovalTime.NONE,
        1,
        None,
    )
    assert wave.takes_rest


def test_what_is_written_wins() -> None:
    """Zero is something, too."""
    wave = Wave(
        name="own",
        soak=timedelta(),
        max_parallel=IntOrPercent(3),
        failure_budget=IntOrPercent(0),
        order_by=("Name",),
        free_slot_on=FreeSlotOn.CONVERGED,
        approval=Approval(when=ApprovalTime.AFTER, minimum=2),
    )
    effective = effective_waves((wave, wave))[1]
    assert (effective.soak, effective.max_parallel, effective.failure_budget) == (timedelta(), IntOrPercent(3), IntOrPercent(0))
    assert (effective.order_by, effective.free_slot_on) == (("Name",), FreeSlotOn.CONVERGED)
    assert (effective.approval, effective.approval_minimum) == (ApprovalTime.AFTER, 2)


def test_without_gates_there_is_no_first_verdict_to_wait_for() -> None:
    """A slot is then free once the tenant has converged."""
    assert effective_wave(BARE, 0, has_gates=False).free_slot_on is FreeSlotOn.CONVERGED


def test_a_gate_decides_after_three_ticks_by_the_label_of_the_source() -> None:
    """Unless it says otherwise."""
    prometheus = Prometheus(url="http://prometheus:9090", tenant_label="tenant")
    bare = Gate(name="lag", query="up", max="60")
    own = bare.model_copy(update={"mode": GateMode.OBSERVE, "consecutive": 5, "tenant_label": "ns"})
    assert (gate_mode(bare), consecutive_ticks(bare), tenant_label(bare, prometheus)) == (GateMode.ENFORCE, 3, "tenant")
    assert (gate_mode(own), consecutive_ticks(own), tenant_label(own, prometheus)) == (GateMode.OBSERVE, 5, "ns")
