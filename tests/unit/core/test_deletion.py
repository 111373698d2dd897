"""An upgrade that is deleted while tenants soak: they stay, are released, and each of them is named."""

from __future__ import annotations

from dataclasses import replace

from builders import NOON, a_journal, a_policy, a_status, a_tenant, a_world, an_upgrade
from tenantwave.api.tenant_run import TenantState
from tenantwave.core.plan import Deed
from tenantwave.core.planner import decide

NAMES = tuple(f"customer-with-a-rather-long-name-{number:03}" for number in range(60))


def test_every_tenant_that_is_released_unproven_is_named() -> None:
    """The status goes with the upgrade, so its Events are the place to look; each has 1,024 characters."""
    policy = a_policy()
    tenants = [a_tenant(name, a_status(TenantState.SOAKING, written=True)) for name in NAMES]
    upgrade = replace(an_upgrade(), deletion_time=NOON, has_finalizer=True)
    plan = decide(a_world(tenants, upgrade=upgrade, policy=policy, journal=a_journal(policy, {"canary": NAMES}, running="canary")), NOON)
    assert {step.tenant for step in plan.steps if step.deed is Deed.LET_GO} == set(NAMES)
    notes = [note for note in plan.notes if note.reason == "TenantsLeftSoaking"]
    assert all(len(note.message) <= 1024 for note in notes)
    assert len({note.key for note in notes}) == len(notes) > 1, "Events with one key are counted as one"
    named = [name for note in notes for name in note.message.partition(": ")[2].split(", ")]
    assert named == list(NAMES)
