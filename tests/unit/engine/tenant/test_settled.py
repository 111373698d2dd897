"""What gives way on purpose is listed in the TenantRun, with both values and with where the one that lost is saved whole."""

from __future__ import annotations

from typing import Any

import pytest

from support.tenant_story import ACME, NEW, OLD, OWN, S, Story, a_spec
from tenantwave.adapters.snapshots import SecretSnapshots
from tenantwave.api.conditions import FailReason
from tenantwave.api.kinds import CONFIG_MAP, DEPLOYMENT, JOB
from tenantwave.api.run_records import MAX_NOTES, MAX_SETTLED, Settled, SettledBy
from tenantwave.api.tenant_run import TenantRunStatus
from tenantwave.core import blobs
from tenantwave.core.kept import config_preserved
from tenantwave.core.plan import Deed

EDITED = OLD | {"app-config": OLD["app-config"] | {"db.pool": "77", "old.flag": "edited"}}
RULE = {"configMap": "app-config", "key": "db.pool", "onConflict": "ReleaseWins"}


def listed(status: TenantRunStatus) -> list[tuple[str, str, str, str, str]]:
    """Return what gave way: place, the three values, who won."""
    return [(one.key + one.path, one.base, one.live, one.new, one.settled_by.value) for one in status.settled]


async def saved(story: Story, one: Settled) -> dict[str, str]:
    """Return the values in the snapshot that an item names, whether it holds a whole object or its content."""
    return dict(blobs.parsed(await SecretSnapshots(story.cluster, OWN).load(one.snapshot))["data"])


async def test_what_the_release_wins_is_listed_with_the_tenants_value() -> None:
    """Both values, where the tenant's is saved, a command that shows it, and the rule that keeps it next time; no conflict is open."""
    story = await Story(spec=a_spec(preservation={"onConflict": "ReleaseWins"}), live=EDITED).begin()
    await story.step()
    planned = listed(story.status)
    await story.run(S.SUCCEEDED)
    status = story.status
    assert listed(status) == [("db.pool", "10", "77", "20", "ReleaseWins"), ("old.flag", "true", "edited", "", "ReleaseWins")] == planned
    assert (status.settled_count, status.conflicts, story.data("app-config")["db.pool"]) == (2, (), "20")
    pool, flag = status.settled
    assert ((await saved(story, pool))["db.pool"], (await saved(story, flag))["old.flag"]) == ("77", "edited")
    assert pool.rule == "{configMap: app-config, key: db.pool, onConflict: TenantWins}"
    assert f"kubectl get secret -n {OWN} {blobs.secret_name(pool.snapshot, 0)} " in pool.mend
    assert "set it again" in pool.mend
    said = config_preserved({ACME: status})
    assert said is not None
    assert (said[0], "2 changes of 1 tenant gave way as the rules say (acme;" in said[2]) == (True, True)


@pytest.mark.parametrize(
    ("edits", "told"),
    [
        ({"db.pool": "10"}, "a value that 2.4.0 brought was set back since to what stood there before (db.pool)"),
        ({"db.pool": "30"}, ""),
        ({"own": "new"}, ""),
    ],
)
async def test_what_somebody_sets_back_while_it_soaks_is_noted(edits: dict[str, str], told: str) -> None:
    """A sync of old manifests, say. It is not fought, for the tenant may want it so; an edit to anything else is the tenant's own."""
    story = await Story().begin()
    await story.run(S.SOAKING)
    story.cluster.edit(CONFIG_MAP, ACME, "app-config", {"data": edits})
    await story.run(S.SUCCEEDED)
    assert story.data("app-config").items() >= edits.items()
    assert [note for note in story.status.notes if "set back" in note] == (
        [f"app-config: {told}; unless the tenant wants it so, apply the release's again"] if told else []
    )


async def test_what_the_tenant_wins_is_listed_and_orphaned_keys_are_noted() -> None:
    """The release's value is saved with its catalogue; a key that the release dropped and the tenant keeps is orphaned."""
    story = await Story(spec=a_spec(preservation={"onConflict": "TenantWins"}), live=EDITED).begin()
    await story.run(S.SUCCEEDED)
    status = story.status
    assert listed(status) == [("db.pool", "10", "77", "20", "TenantWins"), ("old.flag", "true", "edited", "", "TenantWins")]
    assert (await saved(story, status.settled[0]))["db.pool"] == "20"
    assert status.notes == ("app-config/old.flag: dropped in 2.4.0, kept for the tenant (orphaned); delete it once nothing reads it",)
    assert (story.data("app-config")["old.flag"], status.settled[1].snapshot) == ("edited", "")
    said = config_preserved({ACME: status})
    assert said is not None
    assert "gave way" not in said[2]


async def test_a_rule_for_one_key_is_listed_by_what_is_live_at_the_write() -> None:
    """Edited once more after the plan was made: the value that the write displaced counts."""
    live = OLD | {"app-config": OLD["app-config"] | {"db.pool": "77"}}
    story = await Story(spec=a_spec(preservation={"rules": [RULE]}), live=live).begin()
    await story.step()
    story.cluster.edit(CONFIG_MAP, ACME, "app-config", {"data": {"db.pool": "78"}})
    await story.run(S.SUCCEEDED)
    (one,) = story.status.settled
    assert (one.live, (await saved(story, one))["db.pool"], story.status.settled_count) == ("78", "78", 1)


async def test_a_preview_lists_what_would_give_way() -> None:
    """Of a suspended upgrade; nothing has happened, so the condition does not count it."""
    story = await Story(spec=a_spec(preservation={"onConflict": "ReleaseWins"}), live=EDITED).begin()
    story.set_status(story.status.model_copy(update={"state": S.QUEUED}))
    await story.step(Deed.PREVIEW)
    status = story.status
    assert (status.settled_count, [one.snapshot for one in status.settled]) == (2, ["", ""])
    said = config_preserved({ACME: status})
    assert said is not None
    assert "gave way" not in said[2]


@pytest.mark.parametrize("state", [S.CONVERGING, S.SOAKING, S.SUCCEEDED])
async def test_a_rollback_lists_the_later_edits_on_our_paths(state: Any) -> None:
    """The edit stays, what stood there before the upgrade is named and saved; what had given way to the release is back and off the list."""
    story = await Story(
        spec=a_spec(preservation={"rules": [RULE]}), live=OLD | {"app-config": OLD["app-config"] | {"db.pool": "77"}}
    ).begin()
    await story.run(state)
    story.cluster.edit(CONFIG_MAP, ACME, "app-config", {"data": {"new.flag": "off", "app.yaml": "db:\n  pool: 30\n  host: a\n"}})
    story.order_back()
    await story.run(S.ROLLED_BACK)
    status = story.status
    assert listed(status) == [("app.yaml/db/pool", "20", "30", "10", "LaterEdit"), ("new.flag", "on", "off", "", "LaterEdit")]
    assert "pool: 10" in (await saved(story, status.settled[0]))["app.yaml"]
    assert (story.data("app-config")["db.pool"], story.data("app-config")["new.flag"]) == ("77", "off")
    assert status.settled_count == 2


async def test_a_forced_rollback_lists_the_edits_that_it_overwrote() -> None:
    """ForcePreImage puts back what was there; the later edits are named and saved, also those on paths that were none of ours."""
    story = await Story().begin()
    await story.run(S.SOAKING)
    story.cluster.edit(CONFIG_MAP, ACME, "app-config", {"data": {"db.pool": "30", "log.level": "debug"}})
    story.order_back()
    await story.run(S.ROLLED_BACK, overwrite_later_edits=True)
    status = story.status
    assert listed(status) == [("db.pool", "20", "30", "10", "ForcePreImage"), ("log.level", "info", "debug", "info", "ForcePreImage")]
    assert (story.data("app-config"), (await saved(story, status.settled[0]))["db.pool"]) == (OLD["app-config"], "30")


async def test_more_than_fit_are_counted() -> None:
    """The first are listed, the tenant's losses before all; the count is that of all. The same for notes, which are bounded alone."""
    keys = [f"k{number:02}" for number in range(30)]
    old, new, live = ({"app-config": dict.fromkeys(keys, value)} | {"worker-config": {"threads": "2"}} for value in ("a", "b", "c"))
    old["app-config"] |= dict.fromkeys((f"gone{number:02}" for number in range(30)), "a")
    live["app-config"] |= dict.fromkeys((f"gone{number:02}" for number in range(30)), "c")
    rules = [{"configMap": "app-config", "key": "k29", "onConflict": "ReleaseWins"}]
    spec = a_spec(preservation={"onConflict": "TenantWins", "rules": rules})
    story = await Story(spec=spec, old=old, new=new, live=live).begin()
    await story.run(S.SUCCEEDED)
    status = story.status
    assert (len(status.settled), status.settled_count, len(status.notes)) == (MAX_SETTLED, 60, MAX_NOTES)
    assert [one.key for one in status.settled if one.settled_by is SettledBy.RELEASE_WINS] == ["k29"]


async def test_a_configmap_that_may_not_change_is_listed_as_a_conflict() -> None:
    """It is immutable, and a Job needs its name: the condition is False, and the item says the mend; mended, it is gone."""
    story = await Story().begin()
    story.cluster.edit(CONFIG_MAP, ACME, "app-config", {"immutable": True})
    spec = {
        "template": {
            "spec": {"containers": [{"name": "r", "image": "r:slow"}], "volumes": [{"name": "v", "configMap": {"name": "app-config"}}]}
        }
    }
    story.cluster.put(JOB, {"metadata": {"name": "report", "namespace": ACME}, "spec": spec})
    await story.step()
    status = story.status
    assert (status.state, status.reason, status.conflict_count) == (S.HELD, FailReason.CONFIG_CONFLICT, 1)
    (one,) = status.conflicts
    assert (one.config_map, one.kind) == ("app-config", "ImmutableChange")
    assert "Job/report needs its name; move that user" in one.mend
    said = config_preserved({ACME: status})
    assert said is not None
    assert (said[0], "1 conflict in acme; the first, in acme: app-config: " in said[2]) == (False, True)
    story.cluster.remove(JOB, ACME, "report")
    await story.step(Deed.PREVIEW)
    assert (story.status.state, story.status.conflicts) == (S.QUEUED, ())


async def test_several_names_of_one_configmap_are_listed_as_a_conflict() -> None:
    """Found while the plan is made, before any merge."""
    story = await Story().begin()
    story.cluster.edit(CONFIG_MAP, ACME, "app-config", {"immutable": True})
    await story.run(S.SUCCEEDED)
    worker = story.cluster.see(DEPLOYMENT, ACME, "worker")
    worker["spec"]["template"]["spec"]["volumes"].append({"name": "old", "configMap": {"name": "app-config"}})
    await story.release("2.5.0", OLD | {"app-config": OLD["app-config"] | {"db.pool": "2.5.0"}})
    await story.step()
    (one,) = story.status.conflicts
    assert (story.status.state, one.config_map, one.kind) == (S.HELD, "app-config", "ImmutableChange")
    assert "have them all refer to one" in one.mend


async def test_a_plan_over_a_write_that_stands_keeps_what_gave_way_to_it() -> None:
    """Begun anew while it soaks: the release is the base by then, and no merge tells any more what it displaced."""
    story = await Story(spec=a_spec(preservation={"onConflict": "ReleaseWins"}), live=EDITED).begin()
    await story.run(S.SOAKING)
    before = story.status.settled
    story.set_status(story.status.model_copy(update={"state": S.PREFLIGHT}))
    await story.run(S.SUCCEEDED)
    assert (story.status.settled, len(before)) == (before, 2)


async def test_an_immutable_configmap_lists_what_gave_way_to_its_new_version() -> None:
    """The object before keeps the tenant's value, and so does its snapshot; a rollback takes the list back, too."""
    story = await Story(spec=a_spec(preservation={"onConflict": "ReleaseWins"}), live=EDITED).begin()
    story.cluster.edit(CONFIG_MAP, ACME, "app-config", {"immutable": True})
    await story.run(S.SOAKING)
    assert [one.live for one in story.status.settled] == ["77", "edited"]
    assert (await saved(story, story.status.settled[0]))["db.pool"] == "77"
    story.order_back()
    await story.run(S.ROLLED_BACK)
    assert (story.status.settled, story.status.settled_count, story.data("app-config")["db.pool"]) == ((), 0, "77")


async def test_an_edit_between_two_writes_is_listed_when_both_are_taken_back() -> None:
    """It has become part of what the rollback aims at; what it took the place of is named all the same."""
    story = await Story().begin()
    await story.run(S.SOAKING)
    first = story.status
    story.cluster.edit(CONFIG_MAP, ACME, "app-config", {"data": {"db.pool": "30"}})
    await story.release("2.5.0", NEW | {"app-config": NEW["app-config"] | {"log.level": "debug"}})
    story.set_status(story.status.model_copy(update={"intents": first.intents, "written": True, "from_version": "2.3.1"}))
    await story.run(S.SOAKING)
    assert (story.data("app-config")["db.pool"], story.data("app-config")["log.level"]) == ("30", "debug")
    story.order_back()
    await story.run(S.ROLLED_BACK)
    assert story.data("app-config") == OLD["app-config"] | {"db.pool": "30"}
    assert listed(story.status) == [("db.pool", "20", "30", "10", "LaterEdit")]
