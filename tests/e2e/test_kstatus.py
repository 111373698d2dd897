"""What generic tools see: kstatus, `kubectl wait`, columns; from the first moment, even before the operator runs."""

from __future__ import annotations

import asyncio

from localcluster.binaries import resolve

from support.kstatus import CURRENT, FAILED, IN_PROGRESS, kstatus
from support.story import IMAGE, UPGRADE, Story, condition


async def kubectl(story: Story, *arguments: str) -> tuple[int, str]:
    """Run kubectl as the administrator. Returns its exit code and what it printed."""
    # A cache of its own: what kubectl remembers of an earlier cluster at the same port knows no kind of ours.
    command = [str(resolve("kubectl")), "--kubeconfig", str(story.cluster.kubeconfig), "--cache-dir", str(story.folder / "kubectl")]
    process = await asyncio.create_subprocess_exec(*command, *arguments, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT)
    printed, _ = await process.communicate()
    return process.returncode or 0, printed.decode()


async def test_fresh_object_is_in_progress_before_the_operator_runs(story: Story) -> None:
    """S13: the default `observedGeneration: -1` says so; the operator then takes it to its end."""
    await story.tenant("only", labels={"tenantwave.io/ring": "canary"}, config={})
    await story.ready()
    await story.policy()
    upgrade = await story.upgrade()
    fresh = await story.kube.get(UPGRADE, upgrade)
    assert fresh["status"]["observedGeneration"] == -1
    assert kstatus(fresh) == IN_PROGRESS
    await story.operator()
    assert kstatus(await story.until(upgrade, "Succeeded")) == CURRENT


async def test_kubectl_wait_ends_with_the_upgrade_and_never_early(story: Story) -> None:
    """S13: `kubectl wait` returns when the upgrade is done; after an edit it waits for the new generation, not for the old answer."""
    await story.tenant("only", labels={"tenantwave.io/ring": "canary"}, config={})
    await story.ready()
    await story.policy()
    upgrade = await story.upgrade()
    waiting = asyncio.create_task(kubectl(story, "wait", f"tenantupgrade/{upgrade}", "--for=condition=Ready", "--timeout=180s"))
    accepted = asyncio.create_task(kubectl(story, "wait", f"tenantupgrade/{upgrade}", "--for=condition=Accepted", "--timeout=90s"))
    operator = await story.operator()
    assert (await accepted)[0] == 0
    code, printed = await waiting
    assert (code, set((await story.images()).values())) == (0, {f"{IMAGE}:2.4.0"}), printed

    await operator.stop()
    await story.upgrade(version="2.5.0")
    code, printed = await kubectl(story, "wait", f"tenantupgrade/{upgrade}", "--for=condition=Ready", "--timeout=1s")
    assert code != 0, "the old generation's Ready must not count"
    assert kstatus(await story.kube.get(UPGRADE, upgrade)) == IN_PROGRESS
    await operator.start()
    code, printed = await kubectl(story, "wait", f"tenantupgrade/{upgrade}", "--for=condition=Ready", "--timeout=180s")
    assert (code, set((await story.images()).values())) == (0, {f"{IMAGE}:2.5.0"}), printed


async def test_one_look_tells_where_an_upgrade_stands_and_why(story: Story) -> None:
    """`kubectl get tenantwave` fits a terminal of 120 columns; `-o wide` has the sentence; a failed one is Failed for kstatus."""
    tenant = await story.tenant("only", labels={"tenantwave.io/ring": "canary"}, config={}, deadline=5)
    await story.ready()
    await story.policy()
    await story.operator()
    upgrade = await story.upgrade(image=f"{IMAGE}:2.4.0-bad")
    failed = await story.until(upgrade, "RolledBack")
    assert kstatus(failed) == FAILED
    assert "create an UpgradeAction Retry" in condition(failed, "Ready")["message"]
    _, printed = await kubectl(story, "get", "tenantwave")
    # Other tests' orders and policies with long names may be there, too: what is promised is about upgrades.
    row = next((line for line in printed.splitlines() if f"tenantupgrade.tenantwave.io/{upgrade}" in line), "")
    assert 0 < len(row) <= 120, printed
    assert {"2.4.0", "0/1", "False", "RolledBack"} <= set(row.split())
    _, printed = await kubectl(story, "get", "tenantupgrade", upgrade, "-o", "wide")
    assert f"{tenant}: NotConverged" in printed
