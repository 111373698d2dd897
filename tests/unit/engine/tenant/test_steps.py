"""One tenant's upgrade and rollback, step by step, on an API server in memory."""

from __future__ import annotations

from typing import Any

import pytest

from fakes import CrashNow, Request
from support.tenant_story import ACME, NEW, OLD, S, Story, make_optional
from tenantwave.api.action import Resolution
from tenantwave.api.conditions import FailReason, RunReason
from tenantwave.api.kinds import CONFIG_MAP, DEPLOYMENT
from tenantwave.api.tenant_run import TenantState
from tenantwave.core import tenant_run
from tenantwave.core.plan import Deed, Step
from tenantwave.core.tenant_run import succeeded
from tenantwave.faults import Conflict, Forbidden

LAST_APPLIED = "kubectl.kubernetes.io/last-applied-configuration"


async def test_an_untouched_tenant_gets_exactly_the_new_configuration() -> None:
    """Upgrade to Succeeded: images and ConfigMaps are the release's, the record moved, nothing of ours is left on the objects."""
    story = await Story().begin()
    await story.run(S.SUCCEEDED)
    assert story.image("api") == "shop/api:2.4.0"
    assert story.image("worker") == "shop/worker:2.4.0"
    assert {name: story.data(name) for name in NEW} == NEW
    assert story.leftovers() == []
    record = story.record()
    assert record is not None
    assert (record.version, record.last_stable_version) == ("2.4.0", "2.4.0")
    assert set(record.base) == set(NEW)


async def test_each_deployment_is_written_once_and_the_journal_seldom() -> None:
    """One patch of each pod template; the TenantRun is written once per intent and once per move of the state."""
    story = await Story().begin()
    await story.run(S.SUCCEEDED)
    templates = [one for one in story.cluster.writes if one.kind == "Deployment" and "spec" in one.body]
    assert [one.name for one in templates] == ["api", "worker"]
    journal = [one for one in story.cluster.writes if one.kind == "TenantRun"]
    assert len(journal) == 12  # the plan, 5 intents, 2 x Converging, the next component, Soaking, the fence of the end, Succeeded


async def test_edits_of_the_tenant_survive_the_upgrade() -> None:
    """Keys of its own, edited keys, deleted keys and edits inside a structured key stay; the release's changes arrive around them."""
    edited = {"mine": "1", "log.level": "debug", "db.pool": "10", "app.yaml": "db:\n  pool: 10\n  host: mine  # ours\n"}
    story = await Story(live={"app-config": edited, "worker-config": OLD["worker-config"]}).begin()
    await story.run(S.SUCCEEDED)
    assert story.data("app-config") == {
        "mine": "1",
        "log.level": "debug",
        "db.pool": "20",
        "new.flag": "on",
        "app.yaml": "db:\n  pool: 20\n  host: mine  # ours\n",
    }
    kept = {one.config_map: (one.kept, one.merged) for one in story.status.preserved}
    assert kept == {"app-config": (2, 1), "extra-config": (0, 0), "worker-config": (0, 0)}


async def test_a_rollback_restores_the_tenant() -> None:
    """From Soaking back: images, configuration, template; what was created is gone; the record knows the version that was taken back."""
    story = await Story().begin()
    before = story.tenant_objects()
    await story.run(S.SOAKING)
    story.order_back()
    await story.run(S.ROLLED_BACK)
    assert story.tenant_objects() == before
    assert story.leftovers() == []
    assert (story.status.reason, story.status.written, story.status.rolled_back_version) == (FailReason.GATE_FAILED, False, "2.4.0")
    record = story.record()
    assert record is not None
    assert (record.version, record.rolled_back) == ("2.3.1", {"2.4.0": "shop-x-1-a1"})


async def test_an_edit_during_the_soak_survives_the_rollback() -> None:
    """The edit stays, also on a path that the release had changed; the release's own changes are gone."""
    story = await Story().begin()
    await story.run(S.SOAKING)
    story.cluster.edit(CONFIG_MAP, ACME, "app-config", {"data": {"mine": "1", "db.pool": "99", "app.yaml": "db:\n  pool: 20\n  host: b\n"}})
    story.order_back()
    await story.run(S.ROLLED_BACK)
    expected = OLD["app-config"] | {"mine": "1", "db.pool": "99", "app.yaml": "db:\n  pool: 10\n  host: b\n"}
    assert story.data("app-config") == expected
    assert story.image("api") == "shop/api:2.3.1"


async def test_a_succeeded_tenant_can_be_taken_back() -> None:
    """The lock was released and the record moved; the rollback takes the lock again and moves the record back."""
    story = await Story().begin()
    before = story.tenant_objects()
    await story.run(S.SUCCEEDED)
    story.order_back()
    await story.run(S.ROLLED_BACK)
    record = story.record()
    assert (story.tenant_objects(), story.leftovers()) == (before, [])
    assert record is not None
    assert record.version == "2.3.1"
    assert "app-config" not in record.base


async def test_a_rollback_waits_until_the_old_version_runs() -> None:
    """The newer component comes first; as long as it does not run again, the older one is not touched."""
    story = await Story().begin()
    await story.run(S.SOAKING)
    story.order_back()
    story.broken = lambda image: image == "shop/worker:2.3.1"
    for _ in range(3):
        await story.step()
    assert (story.image("worker"), story.image("api"), story.status.state) == ("shop/worker:2.3.1", "shop/api:2.4.0", S.ROLLING_BACK)
    story.broken = lambda image: False
    await story.run(S.ROLLED_BACK)
    assert story.image("api") == "shop/api:2.3.1"


async def test_a_webhook_that_changes_our_write_holds_the_tenant() -> None:
    """Mutated is never answered by another write: the write landed, and its intent is kept."""
    story = await Story().begin()
    await story.step()

    def webhook(body: dict[str, Any]) -> None:
        if body.get("data", {}).get("db.pool") == "20":
            body["data"] = body["data"] | {"db.pool": "15"}

    story.cluster.mutate = webhook
    await story.step()
    assert (story.status.state, story.status.reason, story.status.written) == (S.HELD, FailReason.MUTATED, True)
    assert "/data/db.pool" in story.status.message


@pytest.mark.parametrize(
    ("disturb", "reason"),
    [
        pytest.param(lambda story: story.cluster.remove(CONFIG_MAP, ACME, "app-config"), FailReason.DELETED, id="deleted"),
        pytest.param(lambda story: _recreated(story, "app-config"), FailReason.RECREATED, id="recreated"),
        pytest.param(lambda story: _stripped(story, "app-config"), FailReason.AMBIGUOUS, id="marker stripped, value still ours"),
    ],
)
async def test_what_cannot_be_told_is_never_guessed(disturb: Any, reason: FailReason) -> None:
    """We die right after our write, and somebody replaces the object: Held, with the reason of the table of restarts."""
    story = await Story().begin()
    await story.step()
    story.cluster.after = lambda number, request: _die_after(request, "ConfigMap")
    with pytest.raises(CrashNow):
        await story.step()
    story.cluster.after = lambda number, request: None
    story.restart()
    disturb(story)
    await story.step()
    assert (story.status.state, story.status.reason) == (S.HELD, reason)


async def test_a_foreign_version_is_seen_before_the_soak() -> None:
    """Somebody sets another image while it converges: Held, for nobody knows what should run."""
    story = await Story().begin()
    await story.run(S.CONVERGING)
    container = {"name": "api", "image": "shop/api:hotfix"}
    story.cluster.edit(DEPLOYMENT, ACME, "api", {"spec": {"template": {"spec": {"containers": [container]}}}})
    await story.step()
    assert (story.status.state, story.status.reason) == (S.HELD, FailReason.FOREIGN_VERSION_CHANGE)
    assert "hotfix" in story.status.message


async def test_the_soak_begins_only_when_a_pod_runs_the_new_template() -> None:
    """Converged by its status is not enough: the proof is a Ready pod with the expected image."""
    story = await Story().begin()
    await story.run(S.CONVERGING)
    story.broken = lambda image: image == "shop/api:2.4.0"
    before = len(story.cluster.writes)
    await story.step()
    assert (story.status.state, len(story.cluster.writes)) == (S.CONVERGING, before)


async def test_a_dropped_config_map_goes_when_the_upgrade_is_proven_and_comes_back_with_a_rollback() -> None:
    """The deletion waits for the end; taken back, the object has its content and its tool's marks again."""
    new = {name: data for name, data in NEW.items() if name != "worker-config"}
    story = await Story(new=new, removed=("worker-config",)).begin()
    make_optional(story, "worker")
    story.cluster.edit(CONFIG_MAP, ACME, "worker-config", {"metadata": {"annotations": {LAST_APPLIED: "{}"}}})
    before = story.tenant_objects()
    await story.run(S.SOAKING)
    assert story.cluster.has(CONFIG_MAP, ACME, "worker-config")
    await story.run(S.SUCCEEDED)
    assert not story.cluster.has(CONFIG_MAP, ACME, "worker-config")
    story.order_back()
    await story.run(S.ROLLED_BACK)
    assert story.tenant_objects() == before


async def test_a_tenant_that_is_at_the_release_is_recorded_without_a_write() -> None:
    """AlreadyAtRelease: a record and the status, nothing else; no lock is asked for."""
    story = await Story().begin()
    story.set_status(story.status.model_copy(update={"state": S.QUEUED}))
    story.cluster.writes.clear()
    outcome = succeeded(story.status, RunReason.ALREADY_AT_RELEASE, "runs 2.4.0 already", story.clock.now())
    await story.step(Deed.LET_GO, outcome=outcome)
    assert [(one.verb, one.kind) for one in story.cluster.writes] == [("create", "ConfigMap"), ("replacestatus", "TenantRun")]
    record = story.record()
    assert record is not None
    assert (record.version, record.last_stable_version) == ("2.4.0", "")  # nothing has proven it


async def test_the_record_moves_only_after_the_soak() -> None:
    """While it soaks the tenant runs the release, and is on record with what was stable before."""
    story = await Story().begin()
    await story.run(S.SOAKING)
    assert story.image("api") == "shop/api:2.4.0"
    assert story.record() is None
    await story.run(S.SUCCEEDED)
    record = story.record()
    assert record is not None
    assert record.last_stable_version == "2.4.0"


async def test_force_pre_image_wins_over_later_edits() -> None:
    """Resolve with ForcePreImage: byte for byte what was there before the first write."""
    story = await Story().begin()
    await story.run(S.SOAKING)
    story.cluster.edit(CONFIG_MAP, ACME, "app-config", {"data": {"mine": "1", "db.pool": "99"}})
    story.order_back()
    await story.run(S.ROLLED_BACK, overwrite_later_edits=True)
    assert story.data("app-config") == OLD["app-config"]


async def test_a_namespace_that_goes_away_orphans_the_tenant() -> None:
    """Nothing more is written there, and the lock is given back."""
    story = await Story().begin()
    await story.step()
    for key in [key for key in story.cluster.objects if key[1] == ACME] + [("namespaces", "", ACME)]:
        del story.cluster.objects[key]
    await story.step()
    assert (story.status.state, story.leftovers()) == (S.ORPHANED, [])


async def test_a_stale_world_is_refused_by_the_fence() -> None:
    """A second leader that acts on an older TenantRun fails at its first write of it, before anything in the tenant."""
    story = await Story().begin()
    await story.step()
    old = story.world()
    await story.step()
    story.cluster.writes.clear()
    with pytest.raises(Conflict):
        await story.steps.execute(Step(ACME, Deed.APPLY), old)
    assert not [one for one in story.cluster.writes if one.namespace == ACME]


@pytest.mark.parametrize("end", [S.SUCCEEDED, S.ROLLED_BACK])
async def test_a_second_leader_that_comes_too_late_leaves_no_lock(end: TenantState) -> None:
    """The other one has ended the tenant's turn and given the lock back; ours was taken for nothing, and goes back, too."""
    story = await Story().begin()
    await story.run(S.SOAKING)
    deed = Deed.FINALISE
    if end is S.ROLLED_BACK:
        story.order_back()
        deed = Deed.TAKE_BACK
    old = story.world()
    await story.run(end)
    with pytest.raises(Conflict):
        await story.steps.execute(Step(ACME, deed), old)
    assert (story.status.state, story.leftovers()) == (end, [])


async def test_nothing_is_rolled_back_where_nothing_landed() -> None:
    """Ordered back before the first write: the lock goes, and the tenant is as it was."""
    story = await Story().begin()
    before = story.tenant_objects()
    await story.step()
    story.order_back()
    await story.run(S.ROLLED_BACK)
    assert (story.tenant_objects(), story.leftovers(), story.record()) == (before, [], None)


def _die_after(request: Request, kind: str) -> None:
    if (request.kind, request.namespace) == (kind, ACME):
        raise CrashNow


def _recreated(story: Story, name: str) -> None:
    body = story.cluster.see(CONFIG_MAP, ACME, name)
    story.cluster.remove(CONFIG_MAP, ACME, name)
    story.cluster.put(CONFIG_MAP, {"metadata": {"name": name, "namespace": ACME}, "data": body["data"]})


def _stripped(story: Story, name: str) -> None:
    story.cluster.edit(CONFIG_MAP, ACME, name, {"metadata": {"annotations": None}})


async def died_and_replaced(disturb: Any) -> Story:
    """Return a tenant that is held because nobody can tell whether our write landed."""
    story = await Story().begin()
    await story.step()
    story.cluster.after = lambda number, request: _die_after(request, "ConfigMap")
    with pytest.raises(CrashNow):
        await story.step()
    story.cluster.after = lambda number, request: None
    story.restart()
    disturb(story)
    await story.step()
    assert (story.status.state, story.status.written) == (S.HELD, True)
    return story


@pytest.mark.parametrize("disturb", [lambda story: _stripped(story, "app-config"), lambda story: _recreated(story, "app-config")])
async def test_a_retry_goes_on_from_what_is_there(disturb: Any) -> None:
    """Ambiguous or Recreated: a person has looked, and the tenant is upgraded from live."""
    story = await died_and_replaced(disturb)
    story.set_status(story.status.model_copy(update={"state": S.PREFLIGHT}))
    await story.run(S.SUCCEEDED)
    assert story.data("app-config") == NEW["app-config"]
    assert story.leftovers() == []


@pytest.mark.parametrize("disturb", [lambda story: _stripped(story, "app-config"), lambda story: _recreated(story, "app-config")])
async def test_a_resolve_goes_back_over_what_cannot_be_told(disturb: Any) -> None:
    """Resolve with Rollback: what equals our write counts as ours, and goes back."""
    story = await died_and_replaced(disturb)
    story.order_back()
    story.set_status(story.status.model_copy(update={"resolution": Resolution.ROLLBACK}))
    await story.run(S.ROLLED_BACK)
    assert story.data("app-config") == OLD["app-config"]
    assert story.leftovers() == []


async def test_an_outcome_keeps_the_writes_of_the_last_step() -> None:
    """The planner made the outcome before the deferred deletion: its intent is kept all the same, and the way back finds it."""
    new = {name: data for name, data in NEW.items() if name != "worker-config"}
    story = await Story(new=new, removed=("worker-config",)).begin()
    make_optional(story, "worker")
    before = story.tenant_objects()
    await story.run(S.SOAKING)
    outcome = succeeded(story.status, RunReason.UPGRADED, "proven", story.clock.now())
    await story.step(outcome=outcome)
    assert (story.status.state, story.status.message) == (S.SUCCEEDED, "proven")
    assert not story.cluster.has(CONFIG_MAP, ACME, "worker-config")
    story.order_back()
    await story.run(S.ROLLED_BACK)
    assert story.tenant_objects() == before


async def test_a_right_that_is_missing_at_the_end_holds_the_tenant_and_takes_nobody_back() -> None:
    """What is proven is not taken back because its marker cannot be taken off."""
    story = await Story().begin()
    await story.run(S.SOAKING)

    def refuse(number: int, request: Request) -> None:
        if (request.kind, request.namespace) == ("Deployment", ACME):
            raise Forbidden("deployments.apps is forbidden")

    story.cluster.before = refuse
    await story.step()
    assert (story.status.state, story.image("api")) == (S.HELD, "shop/api:2.4.0")


async def test_a_tenant_that_is_released_while_it_soaks_is_on_record_as_unproven() -> None:
    """The upgrade was deleted: the next one that asks for this version is to judge it. What it ran before stays what is proven."""
    story = await Story().begin()
    await story.run(S.SOAKING)
    before, run = story.record(), story.status.run
    outcome = story.status.model_copy(update={"state": S.ORPHANED, "reason": RunReason.ORPHANED.value})
    await story.step(Deed.LET_GO, outcome=outcome)
    record = story.record()
    assert record is not None
    assert record.unproven == {"2.4.0": run}
    assert (record.version, record.last_stable_version) == (
        (before.version, before.last_stable_version) if before is not None else ("", "")
    )
    assert (story.status.state, story.leftovers()) == (S.ORPHANED, [])


async def test_a_tenant_that_is_let_go_right_after_its_preflight_is_as_it_was() -> None:
    """An Abort came before the first write: the lock goes, and a write that another process is about to announce finds that it may not."""
    story = await Story().begin()
    before = story.tenant_objects()
    await story.run(S.APPLYING)
    late, outcome = story.world(), tenant_run.to(story.status, S.SKIPPED, "Aborted", "aborted by ann", story.clock.now())
    await story.step(Deed.LET_GO, outcome=outcome)
    with pytest.raises(Conflict):
        await story.steps.execute(Step(ACME, Deed.APPLY), late)
    assert (story.status.state, story.status.intents) == (S.SKIPPED, ())
    assert (story.tenant_objects(), story.leftovers()) == (before, [])
