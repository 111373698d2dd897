"""What a real API server does to everybody now and then: it refuses for a while, forgets its history, and keeps what somebody has damaged."""

from __future__ import annotations

import asyncio
import os
import re
import signal
import socket
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from typing import Any

from localcluster.client import KubeClient, eventually
from localcluster.cluster import LocalCluster

from support.audit import in_tenants, template_writes, twice, writes
from support.chart import operator_kubeconfig
from support.clusters import OPERATOR_NAMESPACE
from support.story import IMAGE, PROFILE, OperatorProcess, Story, condition
from support.workloads import config_map

CANARY = {"tenantwave.io/ring": "canary"}
SLOW, VERY_SLOW = {"localcluster/ready-after": "3"}, {"localcluster/ready-after": "12"}
OLD, NEW = {"pool": "10"}, {"pool": "20"}
Object = dict[str, Any]
FLOW = "flowcontrol.apiserver.k8s.io/v1"


async def two_tenants(story: Story, pods: Mapping[str, str] = SLOW) -> tuple[str, str]:
    """Given a canary and another tenant, with configuration. Returns both."""
    await story.pristine("2.3.1", OLD)
    await story.pristine("2.4.0", NEW)
    canary = await story.tenant("canary", labels=CANARY, config=OLD, annotations=pods)
    other = await story.tenant("other", config=OLD)
    await story.ready()
    await story.policy()
    return canary, other


async def count(operator: OperatorProcess, metric: str, *labels: str) -> float:
    """Return the sum of what a counter of the operator says for these labels."""
    lines = [line for line in (await operator.metrics()).splitlines() if line.startswith(f"tenantwave_{metric}_total{{")]
    return sum(float(line.rsplit(" ", 1)[1]) for line in lines if all(label in line for label in labels))


async def all_is_well(story: Story, upgrade: str, local_cluster: LocalCluster, mark: int, **own: str) -> None:
    """Then everybody runs the new version with its own edits, each object was written once, and nothing of ours is left."""
    await story.until(upgrade, "Succeeded")
    assert set((await story.images()).values()) == {f"{IMAGE}:2.4.0"}
    for tenant in story.tenants:
        assert await story.config(tenant) == NEW | own
    done = in_tenants(writes(local_cluster, mark), story.tenants)
    assert len(template_writes(done)) == len(story.tenants)
    assert twice(done) == []
    assert await story.leftovers() == []
    assert {"RollingBack", "Held", "Paused"}.isdisjoint(story.recorder.reasons[upgrade])


async def one_seat(story: Story) -> None:
    """Given an API server whose priority and fairness serves the operator one request at a time; the others are answered 429."""
    name = story.unique("one-seat")
    limited = {"nominalConcurrencyShares": 0, "lendablePercent": 0, "borrowingLimitPercent": 0, "limitResponse": {"type": "Reject"}}
    level = {"apiVersion": FLOW, "kind": "PriorityLevelConfiguration", "metadata": {"name": name}}
    await story.apply(level | {"spec": {"type": "Limited", "limited": limited}})
    everything = {"verbs": ["*"], "apiGroups": ["*"], "resources": ["*"], "namespaces": ["*"], "clusterScope": True}
    group = {"kind": "Group", "group": {"name": f"system:serviceaccounts:{OPERATOR_NAMESPACE}"}}
    rules = [{"subjects": [group], "resourceRules": [everything]}]
    spec = {"priorityLevelConfiguration": {"name": name}, "matchingPrecedence": 500, "rules": rules}
    await story.apply({"apiVersion": FLOW, "kind": "FlowSchema", "metadata": {"name": name}, "spec": spec})


@asynccontextmanager
async def never_answers(story: Story) -> AsyncIterator[Object]:
    """Given a webhook that is asked about some ConfigMaps, and never answers. Yields such a ConfigMap."""
    name = story.unique("never-answers")
    with socket.create_server(("127.0.0.1", 0)) as silent:
        webhook = {
            "name": "never-answers.example.com",
            "clientConfig": {"url": f"https://127.0.0.1:{silent.getsockname()[1]}/"},
            "rules": [{"apiGroups": [""], "apiVersions": ["v1"], "operations": ["CREATE"], "resources": ["configmaps"]}],
            "objectSelector": {"matchLabels": {"example.com/slow": name}},
            "failurePolicy": "Ignore",
            "sideEffects": "None",
            "timeoutSeconds": 20,
            "admissionReviewVersions": ["v1"],
        }
        kind = "admissionregistration.k8s.io/v1"
        await story.apply({"apiVersion": kind, "kind": "ValidatingWebhookConfiguration", "metadata": {"name": name}, "webhooks": [webhook]})
        slow = config_map(name, OPERATOR_NAMESPACE, {})
        slow["metadata"]["labels"] = {"example.com/slow": name}
        async with waits(story.kube, slow):  # it takes a moment to become active
            pass
        yield slow


@asynccontextmanager
async def waits(client: KubeClient, slow: Object) -> AsyncIterator[None]:
    """While a request of this client waits for the webhook."""
    request: asyncio.Task[Object] | None = None

    async def is_waiting() -> bool:
        """One that is answered, or refused, at once is sent again."""
        nonlocal request
        if request is None or request.done():
            request = asyncio.create_task(client.create(slow, dry_run=True))
        await asyncio.wait([request], timeout=0.5)
        return not request.done()

    await eventually(is_waiting, saying="the webhook is asked")
    yield
    assert request is not None
    request.cancel()
    await asyncio.wait([request])


async def test_a_server_that_has_no_room_only_delays(story: Story, local_cluster: LocalCluster) -> None:
    """429 while a tenant is in flight, first to some requests and then to all: the same process goes on, and nothing is done twice or lost."""
    canary, other = await two_tenants(story, VERY_SLOW)
    mark = local_cluster.audit_mark()
    operator = await story.operator()
    await operator.ready()
    await one_seat(story)
    login = operator_kubeconfig(story.cluster, OPERATOR_NAMESPACE)
    async with never_answers(story) as slow, KubeClient.from_kubeconfig(login) as same_user:
        upgrade = await story.upgrade()
        await story.until_run(upgrade, canary, lambda run: run.get("state") == "Converging", "is in flight")
        async with waits(same_user, slow):
            refused = await count(operator, "api_requests", 'code="429"')

            async def is_refused() -> bool:
                return await count(operator, "api_requests", 'code="429"') >= refused + 4

            await story.edit(canary, "own", "mine")
            await story.edit(other, "own", "mine")
            await eventually(is_refused, saying="the operator was refused several times")
            assert (await story.run(upgrade, canary))["state"] == "Converging"
        await all_is_well(story, upgrade, local_cluster, mark, own="mine")
    assert operator.is_running


async def test_what_happened_while_history_was_lost_is_seen(story: Story, local_cluster: LocalCluster) -> None:
    """The operator sleeps; a tenant lifts its window by deleting its profile; history is compacted. The list tells it what no watch can."""
    canary, other = await two_tenants(story)
    start = datetime.now(UTC) + timedelta(days=20)
    window = {"name": "far", "once": {"start": f"{start:%Y-%m-%dT%H:%M:%SZ}", "duration": "2h"}}
    await story.profile(other, windows=[window])
    mark = local_cluster.audit_mark()
    operator = await story.operator()
    upgrade = await story.upgrade()
    await story.until(upgrade, "WaitingForWindow")
    assert await story.image(canary) == f"{IMAGE}:2.4.0"
    os.kill(operator.pid, signal.SIGSTOP)
    try:
        await story.kube.delete(PROFILE, "tenant", other)
        await story.edit(canary, "own", "mine")
        await story.edit(other, "own", "mine")
        local_cluster.compact()
        await asyncio.to_thread(local_cluster.stop_api_server)
        await asyncio.to_thread(local_cluster.start_api_server)
    finally:
        os.kill(operator.pid, signal.SIGCONT)
    await all_is_well(story, upgrade, local_cluster, mark, own="mine")
    assert await count(operator, "watch_relists", 'kind="TenantProfile"', 'reason="Expired"') >= 1
    assert operator.is_running


async def test_a_damaged_journal_stalls_its_upgrade_until_it_is_mended(story: Story, local_cluster: LocalCluster) -> None:
    """Somebody edits the journal by hand while the canary is in flight: nothing more is done, the status says what to mend, and then it goes on."""
    canary, _ = await two_tenants(story)
    mark = local_cluster.audit_mark()
    await story.operator()
    upgrade = await story.upgrade()
    await story.until_run(upgrade, canary, lambda run: run.get("state") == "Converging", "is in flight")
    journal = f"journal-{upgrade}"
    text = (await story.kube.get("ConfigMap", journal, OPERATOR_NAMESPACE))["data"]["journal"]
    await story.kube.patch("ConfigMap", journal, OPERATOR_NAMESPACE, {"data": {"journal": text[:-1]}})
    body = await story.until(upgrade, "Held")
    said = condition(body, "Stalled")["message"]
    assert re.match(rf"ConfigMap {OPERATOR_NAMESPACE}/{journal}, the journal of this upgrade, cannot be read \(data\.journal: ", said)
    assert body["status"]["run"]["id"], "what was known last is still shown"
    await story.kube.patch("ConfigMap", journal, OPERATOR_NAMESPACE, {"data": {"journal": text}})
    await story.until(upgrade, "Succeeded")
    done = in_tenants(writes(local_cluster, mark), story.tenants)
    assert (len(template_writes(done)), twice(done)) == (len(story.tenants), [])
