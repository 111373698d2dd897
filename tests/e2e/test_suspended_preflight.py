"""A preflight of the whole fleet before anything starts: what stands against it is on the screen, and settled by what is there.

And afterwards: a finished tenant that somebody changes by hand is reported as Drifted, and nothing is done about it.
"""

from __future__ import annotations

from typing import Any

from localcluster.cluster import LocalCluster

from support.audit import in_tenants, writes
from support.story import IMAGE, Story, condition

Object = dict[str, Any]
DEPLOYMENT = "apps/v1/Deployment"
STRATEGIC = "application/strategic-merge-patch+json"
OLD = {"log.level": "info", "db.pool": "10", "old.flag": "on"}
NEW = {"log.level": "warn", "db.pool": "20", "new.flag": "on"}
EDITS: dict[str, dict[str, str]] = {
    "both": {"db.pool": "12"},
    "dropped": {"old.flag": "mine"},
    "added": {"new.flag": "mine"},
    "kept": {"mine": "kept"},
}
CONFLICTS = {"both": "Both", "dropped": "EditedButDropped", "added": "AddAdd"}


async def pause(story: Story, tenant: str, paused: bool) -> None:
    """Pause a Deployment, or let it go on."""
    await story.kube.patch(DEPLOYMENT, "api", tenant, {"spec": {"paused": paused}})


async def set_image(story: Story, tenant: str, version: str) -> None:
    """Change the version by hand."""
    template = {"spec": {"containers": [{"name": "api", "image": f"{IMAGE}:{version}"}]}}
    await story.kube.patch(DEPLOYMENT, "api", tenant, {"spec": {"template": template}}, content_type=STRATEGIC)


async def test_the_whole_fleet_is_looked_at_and_settled_before_the_start(story: Story, local_cluster: LocalCluster) -> None:
    """12 tenants: three with different conflicts, one paused. Not a write but dry-runs; settled, and gone; drifted, and back."""
    names = [*EDITS, "paused", *(f"plain{number}" for number in range(7))]
    tenants = {name: await story.tenant(name, config=OLD | EDITS.get(name, {})) for name in names}
    await story.pristine("2.3.1", OLD)
    await story.pristine("2.4.0", NEW)
    await story.ready()
    await pause(story, tenants["paused"], True)
    await story.policy(waves=[{"name": "all", "soak": "1s", "maxParallel": 12}])
    await story.operator()
    mark = local_cluster.audit_mark()
    upgrade = await story.upgrade(suspend=True)
    runs = {
        name: await story.until_run(upgrade, tenant, lambda run: bool(run.get("preview") or run.get("previewProblem")), "is looked at")
        for name, tenant in tenants.items()
    }
    assert {name: run["previewProblem"].split(":")[0] for name, run in runs.items() if run.get("previewProblem")} == {
        **dict.fromkeys(CONFLICTS, "ConfigConflict"),
        "paused": "NotDrivable",
    }
    shown = {name: run["conflicts"] for name, run in runs.items() if run.get("conflicts")}
    assert {name: [one["kind"] for one in conflicts] for name, conflicts in shown.items()} == {
        name: [kind] for name, kind in CONFLICTS.items()
    }
    assert {name: run["conflictCount"] for name, run in runs.items() if run.get("conflictCount")} == dict.fromkeys(CONFLICTS, 1)
    planned = await story.until_so(upgrade, lambda body: "4 of them would be held" in condition(body, "Ready").get("message", ""), "counts")
    assert condition(planned, "ConfigPreserved")["status"] == "False"
    assert in_tenants(writes(local_cluster, mark), list(tenants.values())) == []

    for name in CONFLICTS:  # by what is on the screen
        conflict = shown[name][0]
        assert all(conflict.get(part) for part in ("configMap", "key", "mend")), conflict
    await story.edit(tenants["both"], "db.pool", "20")
    await story.edit(tenants["dropped"], "old.flag", "on")
    await story.edit(tenants["added"], "new.flag", "on")
    await pause(story, tenants["paused"], False)
    await story.until_so(upgrade, lambda body: "would be held" not in condition(body, "Ready").get("message", ""), "has nothing against it")
    await story.upgrade(suspend=False)
    await story.until(upgrade, "Succeeded")
    assert set((await story.images()).values()) == {f"{IMAGE}:2.4.0"}

    await set_image(story, tenants["kept"], "2.3.1")
    drifted = await story.until_so(upgrade, lambda body: condition(body, "Drifted").get("status") == "True", "has drifted")
    assert tenants["kept"] in condition(drifted, "Drifted")["message"]
    assert condition(drifted, "Ready")["reason"] == "Succeeded"
    assert await story.image(tenants["kept"]) == f"{IMAGE}:2.3.1", "reported, never repaired"
    await set_image(story, tenants["kept"], "2.4.0")
    await story.until_so(upgrade, lambda body: condition(body, "Drifted").get("status") == "False", "is back")
