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
    a_record,
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


def a_component(name: str, container: str = "api") -> Block:
    """Return a component of the Deployment `api`."""
    return {"name": name, "workload": {"kind": "Deployment", "name": "api", "containers": [{"name": container, "image": "shop/api:2.4.0"}]}}


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
            a_world([a_tenant()], upgrade=an_upgrade(a_spec(components=[a_component("api"), a_component("proxy", container="sidecar")]))),
            "InvalidSpec",
            "components[api] and components[proxy] both mean Deployment api",
            id="two components of one object",
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


@pytest.mark.parametrize(
    ("state", "written", "record", "expected"),
    [
        pytest.param(S.QUEUED, False, OLD, (S.PREFLIGHT, OLD), id="it runs what it ran when the run was planned"),
        pytest.param(S.QUEUED, False, "2.3.9", (S.PREFLIGHT, "2.3.9"), id="another upgrade has moved it"),
        pytest.param(S.WAITING, False, "2.3.9", (S.PREFLIGHT, "2.3.9"), id="moved while it waited"),
        pytest.param(S.WAITING, False, "2.5.0", (S.SKIPPED, "2.5.0"), id="ahead by now: never downgraded unasked"),
        pytest.param(S.HELD, False, "2.5.0", (S.SKIPPED, "2.5.0"), id="ahead by now, held with nothing written"),
        pytest.param(S.QUEUED, True, "2.3.9", (S.PREFLIGHT, OLD), id="written by an earlier run: what that came from counts"),
    ],
)
def test_a_tenant_is_planned_by_what_it_runs_when_it_starts(
    state: TenantState, written: bool, record: str, expected: tuple[TenantState, str]
) -> None:
    """The base of the merge is the version that it runs, and `fromVersions` is about that one."""
    policy = a_policy()
    tenant = a_tenant("acme", a_status(state, written=written), record=a_record(record))
    plan = decide(a_world([tenant], policy=policy, journal=a_journal(policy, {"canary": ["acme"]}, running="canary")), NOON)
    assert [(move.status.state, move.status.from_version) for move in plan.moves] == [expected]


@pytest.mark.parametrize(
    ("record", "asked", "reason"),
    [
        pytest.param("2.2.0", ">=2.2,<2.4", "WaveQueued", id="within the range"),
        pytest.param("2.1.0", ">=2.2,<2.4", "IncompatibleVersion", id="below it"),
        pytest.param("2.5.0", None, "IncompatibleVersion", id="default: ahead"),
        pytest.param("2.5.0", "2.5.0", "WaveQueued", id="a downgrade, asked for by name"),
        pytest.param("", ">=2.2,<2.4", "WaveQueued", id="no record: assumedVersion, which is within"),
        pytest.param("", ">=2.4", "IncompatibleVersion", id="no record: assumedVersion, which is not"),
    ],
)
def test_who_is_upgraded_from_which_version(record: str, asked: str | None, reason: str) -> None:
    """`fromVersions`: others are skipped, and told how to get on."""
    upgrade = an_upgrade(a_spec(release={"fromVersions": asked}))
    plan = decide(a_world([a_tenant("acme", record=a_record(record) if record else None)], upgrade=upgrade), NOON)
    assert [move.status.reason for move in plan.moves] == [reason]
    if reason == "IncompatibleVersion":
        assert "upgrade it in steps, or widen release.fromVersions" in plan.moves[0].status.message


def test_a_tenant_that_is_passed_over_is_no_canary() -> None:
    """By name it would be drawn; it is ahead of the release, so the next one is."""
    policy = a_policy(({"name": "one", "size": 1, "orderBy": ["Name"]}, {"name": "rest", "orderBy": ["Name"]}))
    tenants = [a_tenant("acme", record=a_record("2.5.0")), a_tenant("beta"), a_tenant("coda")]
    plan = decide(a_world(tenants, policy=policy), NOON)
    assert plan.journal is not None
    assert [wave.tenants for wave in plan.journal.run.waves] == [("beta",), ("coda", "acme")]


def test_a_plan_says_of_each_tenant_why_it_is_where_it_is() -> None:
    """Also after a crash between journal and TenantRuns, word for word: it is told from the stored plan."""
    rest: Block = {"name": "rest", "orderBy": ["label:tier", "Hash"]}
    policy = a_policy((RING, rest))
    tenants = [a_tenant("acme"), a_tenant("beta", labels={"tier": "10"}), a_tenant("coda", labels={"tier": "2"})]
    world = a_world(tenants, policy=policy)
    plan = decide(world, NOON)
    said = {move.tenant: move.status.explain for move in plan.moves}
    assert said == {
        "acme": "wave canary selects label tenantwave.io/ring=canary; place 1 of 1 by Hash",
        "coda": "wave rest takes everybody who is left; place 1 of 2 by label tier=2, then Hash",
        "beta": "wave rest takes everybody who is left; place 2 of 2 by label tier=10, then Hash",
    }
    crashed = replace(world, journal=plan.journal, planned_policy=policy, planned_spec=world.upgrade.spec)
    assert {move.tenant: move.status.explain for move in decide(crashed, after(seconds=9)).moves} == said
