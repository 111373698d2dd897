"""Hooks on a real control plane: Jobs that the Job controller runs, with pods that the pod player lets end well or badly."""

from __future__ import annotations

import re
from datetime import datetime, timedelta
from typing import Any

import yaml
from localcluster.client import eventually

from support.clusters import ROOT
from support.story import IMAGE, Story
from support.workloads import cron_job

JOB = "batch/v1/Job"
LET_RUN = "tenantwave.io/let-run"
TOOLS = "registry.example.com/shop/tools"


def a_hook(name: str, at: str, *, image: str = f"{TOOLS}:{{version}}", takes: str = "0", **more: Any) -> dict[str, Any]:
    """A hook of one container that does not try again; `takes` seconds of the pod player."""
    pods = {"terminationGracePeriodSeconds": 0, "containers": [{"name": name, "image": image}]}
    template = {"metadata": {"annotations": {"localcluster/ready-after": takes}}, "spec": pods}
    hook = {"name": name, "at": at, "jobTemplate": {"spec": {"backoffLimit": 0, "template": template}}}
    return hook | ({"irreversible": False} if at == "PreApply" else {}) | more


BAD = f"{TOOLS}:1-bad"


def the_guide() -> dict[str, Any]:
    """Return the spec of the TenantUpgrade that docs/guides/hooks.md shows."""
    [block] = re.findall(r"^```yaml\n(.*?)^```$", (ROOT / "docs/guides/hooks.md").read_text(), re.DOTALL | re.MULTILINE)
    spec: dict[str, Any] = yaml.safe_load(block)["spec"]
    return spec


async def a_canary(story: Story) -> str:
    """One tenant, ready, and its policy."""
    tenant = await story.tenant("canary", labels={"tenantwave.io/ring": "canary"}, config={})
    await story.ready()
    await story.policy()
    return tenant


async def jobs_in(story: Story, tenant: str) -> dict[str, dict[str, Any]]:
    """Return hook -> Job, with its run before it where there are several of one hook."""
    return {body["metadata"]["name"]: body for body in await story.kube.list(JOB, tenant)}


def states(run: dict[str, Any]) -> dict[str, str]:
    """Return hook -> what became of it."""
    return {hook["name"]: hook["state"] for hook in run.get("hooks", ())}


async def test_the_hooks_of_the_guide_run_around_the_components_and_are_let_go(story: Story) -> None:
    """A migration before, a smoke test after, the nightly Job once; the Jobs clean themselves up later, nothing of ours is on them."""
    spec = the_guide()
    tenant = await a_canary(story)
    await story.kube.apply(cron_job("nightly", tenant, image=f"{IMAGE}:2.3.1"))
    await story.operator()
    upgrade = await story.upgrade(hooks=spec["hooks"], components=spec["components"])
    await story.until(upgrade, "Succeeded")
    run = await story.run(upgrade, tenant)
    assert states(run) == {"migrate": "Succeeded", "probe/nightly": "Succeeded", "smoke": "Succeeded"}
    assert list(states(run)) == ["migrate", "probe/nightly", "smoke"]
    jobs = await jobs_in(story, tenant)
    assert sorted(jobs) == sorted(hook["job"] for hook in run["hooks"])
    assert {body["spec"].get("ttlSecondsAfterFinished") for body in jobs.values()} == {86400}
    probe = next(body for name, body in jobs.items() if "probe-nightly" in name)
    assert probe["spec"]["template"]["spec"]["containers"][0]["image"] == f"{IMAGE}:2.4.0"
    assert await story.leftovers() == []


async def test_a_migration_that_fails_is_taken_back(story: Story) -> None:
    """Nothing was written but the Job: OnRollback hooks run, and the tenant ends as it was."""
    tenant = await a_canary(story)
    await story.operator()
    hooks = [a_hook("migrate", "PreApply", image=BAD), a_hook("undo", "OnRollback")]
    upgrade = await story.upgrade(hooks=hooks)
    await story.until(upgrade, "RolledBack")
    run = await story.run(upgrade, tenant)
    assert (run["state"], run["takeBack"]["cause"]) == ("RolledBack", "HookFailed")
    assert states(run) == {"migrate": "Failed", "undo": "Succeeded"}
    assert "BackoffLimitExceeded" in run["takeBack"]["message"]
    assert await story.image(tenant) == f"{IMAGE}:2.3.1"
    assert await story.leftovers() == []


async def test_past_the_point_of_no_return_people_decide(story: Story) -> None:
    """An irreversible migration, then a smoke test that fails: Held. Retry goes forward; what fails again goes back by Resolve."""
    tenant = await a_canary(story)
    await story.operator()
    hooks = [a_hook("migrate", "PreApply", irreversible=True), a_hook("smoke", "PostApply", image=BAD), a_hook("undo", "OnRollback")]
    upgrade = await story.upgrade(hooks=hooks)
    held = await story.until_run(upgrade, tenant, lambda run: run.get("state") == "Held", "Held")
    assert held["reason"] == "ForwardOnly"
    assert "hook smoke" in held["message"]
    assert "migrate" in held["forwardOnly"]
    assert await story.image(tenant) == f"{IMAGE}:2.4.0"
    assert (await story.answer(await story.act(upgrade, "Retry")))[0]
    again = await story.until_run(
        upgrade, tenant, lambda run: run.get("attempt") == 2 and run.get("state") == "Held", "Held in its second attempt"
    )
    assert {hook["job"].rpartition("-a2-")[1] for hook in again["hooks"]} == {"-a2-"}
    assert (await story.answer(await story.act(upgrade, "Resolve", tenants=[tenant], resolution="Rollback", reason="the data is empty")))[0]
    back = await story.until_run(upgrade, tenant, lambda run: run.get("state") == "RolledBack", "RolledBack")
    assert states(back)["undo"] == "Succeeded"
    assert await story.image(tenant) == f"{IMAGE}:2.3.1"
    assert await story.leftovers() == []


async def test_another_release_goes_forward(story: Story) -> None:
    """Held past return: a repaired release is pushed, and takes the tenant on from there."""
    tenant = await a_canary(story)
    await story.operator()
    hooks = [a_hook("migrate", "PreApply", irreversible=True)]
    upgrade = await story.upgrade(hooks=hooks, image=f"{IMAGE}:2.4.0-bad", health={"timeout": "30s"})
    await story.until_run(upgrade, tenant, lambda run: run.get("reason") == "ForwardOnly", "held past return")
    await story.upgrade(version="2.4.1", hooks=hooks)
    await story.until(upgrade, "Succeeded")
    assert await story.image(tenant) == f"{IMAGE}:2.4.1"
    assert await story.leftovers() == []


async def test_a_hook_that_takes_too_long_has_failed(story: Story) -> None:
    """Its deadline is in the Job: it holds without us."""
    tenant = await a_canary(story)
    await story.operator()
    upgrade = await story.upgrade(hooks=[a_hook("migrate", "PreApply", takes="600", timeout="2s")])
    await story.until(upgrade, "RolledBack")
    run = await story.run(upgrade, tenant)
    assert "DeadlineExceeded" in run["hooks"][0]["message"]
    assert "never had a pod" not in run["hooks"][0]["message"]
    [job] = (await jobs_in(story, tenant)).values()
    let_run, started = (datetime.fromisoformat(text) for text in (job["metadata"]["annotations"][LET_RUN], job["status"]["startTime"]))
    assert timedelta(seconds=-1) < started - let_run < timedelta(seconds=30)
    assert await story.leftovers() == []


async def test_a_hook_whose_pods_are_refused_says_so(story: Story) -> None:
    """Pod Security refuses each of them, which a dry-run of the Job does not show: it is a timeout that says where to look."""
    tenant = await a_canary(story)
    await story.kube.patch("Namespace", tenant, None, {"metadata": {"labels": {"pod-security.kubernetes.io/enforce": "restricted"}}})
    await story.operator()
    upgrade = await story.upgrade(hooks=[a_hook("migrate", "PreApply", timeout="2s")])
    await story.until(upgrade, "RolledBack")
    run = await story.run(upgrade, tenant)
    assert "DeadlineExceeded" in run["hooks"][0]["message"]
    assert f"it never had a pod: `kubectl describe job -n {tenant} {run['hooks'][0]['job']}`" in run["hooks"][0]["message"]
    assert await story.leftovers() == []


async def test_an_operator_that_dies_while_a_hook_runs_finds_its_end(story: Story) -> None:
    """The Job goes on, the next operator sees its result, and nothing runs twice."""
    tenant = await a_canary(story)
    operator = await story.operator()
    upgrade = await story.upgrade(hooks=[a_hook("migrate", "PreApply", takes="3")])
    await story.until_run(upgrade, tenant, lambda run: states(run).get("migrate") == "Running", "the hook is on record")

    async def is_let_run() -> bool:  # what is on record only waits for an operator
        statuses = [body.get("status") or {} for body in (await jobs_in(story, tenant)).values()]
        return any(status.get("active") or "completionTime" in status for status in statuses)

    await eventually(is_let_run, saying="its Job runs")
    await operator.kill()

    async def has_ended() -> bool:
        return all("completionTime" in body.get("status", {}) for body in (await jobs_in(story, tenant)).values())

    await eventually(has_ended, saying="the Job has ended without us")
    await story.operator()
    await story.until(upgrade, "Succeeded")
    assert len(await jobs_in(story, tenant)) == 1
    assert await story.leftovers() == []


async def test_an_abort_stops_a_hook_that_runs_before_anything_goes_back(story: Story) -> None:
    """The Job goes with its pods, then the OnRollback hook runs, then the image goes back."""
    tenant = await a_canary(story)
    await story.operator()
    upgrade = await story.upgrade(hooks=[a_hook("smoke", "PostApply", takes="600"), a_hook("undo", "OnRollback")])
    await story.until_run(upgrade, tenant, lambda run: states(run).get("smoke") == "Running", "the smoke test runs")
    assert (await story.answer(await story.act(upgrade, "Abort", reason="the wrong release")))[0]
    run = await story.until_run(upgrade, tenant, lambda run: run.get("state") == "RolledBack", "RolledBack")
    assert states(run) == {"smoke": "Failed", "undo": "Succeeded"}
    assert [name for name in await jobs_in(story, tenant) if "smoke" in name] == []
    undone = next(hook for hook in run["hooks"] if hook["name"] == "undo")
    stopped = next(hook for hook in run["hooks"] if hook["name"] == "smoke")
    assert stopped["completionTime"] <= undone["startTime"]
    assert await story.image(tenant) == f"{IMAGE}:2.3.1"
    assert await story.leftovers() == []
