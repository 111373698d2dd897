"""The plan of a run: made once, before anything starts; and what keeps it from being made."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from builders import (
    CANARY,
    NEW,
    NOON,
    OLD,
    RUN,
    UID,
    Block,
    a_journal,
    a_policy,
    a_spec,
    a_status,
    a_tenant,
    a_view,
    a_world,
    after,
    an_upgrade,
)
from tenantwave.api.tenant_run import TenantState
from tenantwave.core.plan import Deed
from tenantwave.core.planner import decide
from tenantwave.core.world import Catalogue, CatalogueEntry, World

S = TenantState
RING: Block = {"name": "canary", "selector": {"matchLabels": CANARY}}
OTHER: Block = {"name": "friendly", "selector": {"matchLabels": {"friendly": "yes"}}}


def fresh(*waves: Block, names: tuple[str, ...] = ("acme",), labels: Block | None = None, **blocks: Any) -> World:
    """Return the world of an upgrade that has just been applied."""
    policy = a_policy(waves or (RING, {"name": "rest"}), **blocks)
    return a_world([a_tenant(name, labels=labels) for name in names], policy=policy)


@pytest.mark.parametrize(
    ("world", "reason", "words"),
    [
        pytest.param(fresh(names=()), "NoTenants", "spec.tenantSelector", id="nobody is selected"),
        pytest.param(fresh(OTHER), "UnmatchedTenants", "acme", id="a tenant that no wave takes"),
        pytest.param(fresh(OTHER, {"name": "rest"}), "EmptyFirstWave", "friendly", id="the first wave takes nobody"),
        pytest.param(replace(fresh(), policy=replace(a_policy(), problems=("bad zone",))), "InvalidSpec", "bad zone", id="a bad policy"),
        pytest.param(
            a_world([a_tenant()], upgrade=an_upgrade(a_spec(release={"fromVersions": ">=word"}))),
            "InvalidSpec",
            "fromVersions",
            id="a bad range",
        ),
        pytest.param(
            a_world([a_tenant()], upgrade=an_upgrade(a_spec(deadlineTime="2026-01-05T11:59:59Z"))),
            "InvalidSpec",
            "deadlineTime",
            id="a deadline that has passed",
        ),
        pytest.param(
            replace(fresh(), catalogue=Catalogue(duplicates=("two entries for app-config",))), "InvalidSpec", "two entries", id="twice"
        ),
    ],
)
def test_what_cannot_start_says_so_at_once(world: World, reason: str, words: str) -> None:
    """Stalled, with the mend, and nothing in any tenant has been touched."""
    plan = decide(world, NOON)
    assert str(plan.summary.reason) == reason
    assert words in plan.summary.message
    assert (plan.moves, plan.steps, plan.finalizer) == ((), (), None)


def test_unmatched_tenants_join_the_last_wave() -> None:
    """unmatched: LastWave."""
    world = fresh(RING, OTHER, unmatched="LastWave")
    lone = a_tenant("lone", labels={})
    plan = decide(replace(world, tenants={**world.tenants, "lone": lone}), NOON)
    assert plan.journal is not None
    assert [wave.tenants for wave in plan.journal.run.waves] == [("acme",), ("lone",)]


def test_unmatched_tenants_are_skipped() -> None:
    """unmatched: Skip."""
    world = fresh(RING, unmatched="Skip")
    plan = decide(replace(world, tenants={**world.tenants, "lone": a_tenant("lone", labels={})}), NOON)
    assert {move.tenant: move.status.reason for move in plan.moves} == {"acme": "WaveQueued", "lone": "Unmatched"}


def test_the_plan_is_stored_before_anything_starts() -> None:
    """Waves, digest and TenantRuns first."""
    plan = decide(fresh(), NOON)
    assert plan.journal is not None
    assert plan.save_policy
    assert plan.journal.run.id == RUN
    assert plan.journal.run.plan_digest.startswith("sha256:")
    assert [(move.status.state, move.status.wave, move.status.from_version) for move in plan.moves] == [(S.QUEUED, "canary", OLD)]
    assert plan.moves[0].status.explain


def test_a_missing_policy_is_forgiven_for_five_seconds() -> None:
    """Git applies in any order."""
    first = decide(a_world([a_tenant()], without_policy=True), NOON)
    assert (str(first.summary.reason), first.wake_time) == ("Planning", after(seconds=5))
    late = decide(a_world([a_tenant()], without_policy=True, journal=first.journal), after(seconds=5))
    assert str(late.summary.reason) == "PolicyNotFound"


@pytest.mark.parametrize(
    ("entries", "stalls"),
    [
        pytest.param((CatalogueEntry(OLD, "app", "d1"),), True, id="an entry for the version that runs alone"),
        pytest.param((CatalogueEntry(OLD, "app", "d1"), CatalogueEntry(NEW, "app", "d2")), False, id="an entry for both"),
        pytest.param((CatalogueEntry(OLD, "app", "d1"), CatalogueEntry(NEW, "app", "", removed=True)), False, id="the release drops it"),
        pytest.param((CatalogueEntry("2.2.0", "app", "d1"),), False, id="a version that nobody runs"),
        pytest.param((CatalogueEntry(NEW, "app", "d2"),), False, id="an entry for the release alone: onUnknownBase"),
    ],
)
def test_a_missing_entry_never_means_dropped(entries: tuple[CatalogueEntry, ...], stalls: bool) -> None:
    """CatalogueIncomplete, after five seconds."""
    world = replace(fresh(), catalogue=Catalogue(entries))
    first = decide(world, NOON)
    assert str(decide(replace(world, journal=first.journal), after(seconds=6)).summary.reason) == (
        "CatalogueIncomplete" if stalls else "WaveRunning"
    )


def test_what_shows_the_release_is_recorded_and_not_written() -> None:
    """AlreadyAtRelease: only the record moves."""
    policy = a_policy()
    tenant = a_tenant("acme", a_status(), components=(a_view(at_release=True),))
    plan = decide(a_world([tenant], policy=policy, journal=a_journal(policy, {"canary": ["acme"]}, running="canary")), NOON)
    (step,) = plan.steps
    assert (step.deed, step.outcome and step.outcome.reason) == (Deed.LET_GO, "AlreadyAtRelease")


def test_what_a_run_wrote_is_never_recorded_so() -> None:
    """Unproven is never AlreadyAtRelease: it is judged."""
    policy = a_policy()
    tenant = a_tenant("acme", a_status(written=True), components=(a_view(at_release=True),))
    plan = decide(a_world([tenant], policy=policy, journal=a_journal(policy, {"canary": ["acme"]}, running="canary")), NOON)
    assert plan.steps == ()
    assert [move.status.state for move in plan.moves] == [S.PREFLIGHT]


def test_a_run_id_is_made_of_name_uid_generation_and_attempt() -> None:
    """As the contract has it."""
    assert f"shop-2-4-0-{UID[:5]}-1-a1" == RUN
