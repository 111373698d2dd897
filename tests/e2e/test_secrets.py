"""The tenant's Secrets on a real control plane: recorded with the chart's rights, told of, put back by a rollback, and never shown."""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Iterable
from typing import Any

from localcluster.binaries import resolve
from localcluster.client import KubeClient

from support.chart import apply_chart
from support.clusters import OPERATOR_NAMESPACE
from support.story import ACTION, GROUP_VERSION, IMAGE, MARKER, POLICY, PROFILE, RUN, UPGRADE, Object, Story
from support.workloads import workload

PASSWORD, ROTATED, TOKEN = "correct-horse-battery", "staple-of-another-day", "token-that-nobody-keeps"
CANARY = {"tenantwave.io/ring": "canary"}


def a_secret(name: str, tenant: str, value: str, **metadata: Any) -> Object:
    return {
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": {"name": name, "namespace": tenant} | metadata,
        "type": "Opaque",
        "data": {"password": base64.b64encode(value.encode()).decode()},
    }


async def with_secrets(story: Story, *secrets: tuple[str, str], **metadata: Any) -> str:
    """Make a tenant whose Deployment reads these Secrets."""
    tenant = await story.tenant("canary", labels=CANARY)
    for name, value in secrets:
        await story.kube.apply(a_secret(name, tenant, value, **metadata))
    references = [{"secretRef": {"name": name}} for name, _ in secrets]
    pods = {"containers": [{"name": "api", "image": f"{IMAGE}:2.3.1", "envFrom": references}]}
    await story.kube.apply(workload("Deployment", "api", tenant, image=f"{IMAGE}:2.3.1", pod_spec=pods))
    return tenant


async def grant(kube: KubeClient, value: str) -> None:
    """Set `rbac.tenantSecrets` of the chart."""
    await apply_chart(kube, resolve("helm"), OPERATOR_NAMESPACE, {"rbac": {"tenantSecrets": value}})


def states(run: Object) -> dict[str, str]:
    return {one["name"]: one["state"] for one in run.get("secrets", ())}


async def test_digests_need_a_right_and_tell_of_a_change(story: Story) -> None:
    """Without it the tenant is held with the value to set; once it is set, the run goes on by itself, and tells of a Secret that changed."""
    tenant = await with_secrets(story, ("database", PASSWORD))
    await story.ready()
    await story.policy(waves=[{"name": "canary", "maxParallel": 1, "soak": "10s"}])
    await story.operator()
    upgrade = await story.upgrade(preservation={"secrets": "DigestOnly"})
    held = await story.until_run(upgrade, tenant, lambda run: run.get("state") == "Held", "held")
    assert (held["reason"], "rbac.tenantSecrets=Read," in held["message"]) == ("PreflightFailed", True), held["message"]
    assert await story.image(tenant) == f"{IMAGE}:2.3.1"
    await grant(story.kube, "Read")
    await story.until_run(upgrade, tenant, lambda run: run.get("state") == "Soaking", "soaks")
    await story.kube.patch("Secret", "database", tenant, {"stringData": {"password": ROTATED}})
    await story.until(upgrade, "Succeeded")
    run = await story.run(upgrade, tenant)
    [told] = run["secrets"]
    assert (told["state"], told["digest"].partition(":")[0], "snapshot" in told) == ("Changed", "hmac-sha256", False)

    def shows_it(profile: Object) -> bool:
        return any(change["action"] == "SecretChanged" for change in profile.get("status", {}).get("recentChanges", ()))

    await story.kube.wait_until(PROFILE, "tenant", tenant, shows_it, saying="the change is on record")
    await grant(story.kube, "None")


async def test_a_rollback_puts_back_what_was_deleted_and_no_value_shows(story: Story) -> None:
    """P20: nothing but Secrets has a value, its base64 or its plain digest, wherever anybody may look."""
    await grant(story.kube, "ReadWrite")
    tenant = await with_secrets(story, ("database", PASSWORD), ("rotated", TOKEN))
    await story.ready()
    await story.policy(rollback={"deadline": "2m"})
    operator = await story.operator("--log-level", "DEBUG")
    upgrade = await story.upgrade(image=f"{IMAGE}:2.4.0-bad", health={"timeout": "12s"}, preservation={"secrets": "Snapshot"})
    before = await story.kube.get("Secret", "database", tenant)
    await story.until_run(upgrade, tenant, lambda run: run.get("state") == "Converging", "is written")
    await story.kube.delete("Secret", "database", tenant)
    await story.kube.patch("Secret", "rotated", tenant, {"stringData": {"password": ROTATED}})
    await story.until(upgrade, "RolledBack")
    run = await story.run(upgrade, tenant)
    assert states(run) == {"database": "Restored", "rotated": "Changed"}
    restored = await story.kube.get("Secret", "database", tenant)
    assert (restored["data"], restored["type"]) == (before["data"], before["type"])
    assert restored["metadata"]["uid"] != before["metadata"]["uid"]
    assert MARKER not in (restored["metadata"].get("annotations") or {})
    rotated = await story.kube.get("Secret", "rotated", tenant)
    assert base64.b64decode(rotated["data"]["password"]).decode() == ROTATED
    assert await story.leftovers() == []
    shown = await everything_but_secrets(story.kube) + operator.log() + await operator.metrics()
    assert tenant in shown, "there is something to look at"
    secrets = str(await story.kube.list("Secret", tenant))
    assert [base64.b64encode(value.encode()).decode() in secrets for value in (PASSWORD, ROTATED)] == [True, True], "and to look for"
    saved = [before, restored, rotated]
    assert [text for text in given_away((PASSWORD, ROTATED, TOKEN), saved) if text in shown] == []
    await grant(story.kube, "None")


async def everything_but_secrets(kube: KubeClient) -> str:
    """Return all that anybody can read who may read no Secret; of Secrets their metadata."""
    kinds = (UPGRADE, RUN, PROFILE, POLICY, ACTION, f"{GROUP_VERSION}/TenantDecision")
    others = ("ConfigMap", "Event", "events.k8s.io/v1/Event", "coordination.k8s.io/v1/Lease", "apps/v1/Deployment", "Pod")
    found = [body for kind in (*kinds, *others) for body in await kube.list(kind)]
    return json.dumps([*found, *(secret["metadata"] for secret in await kube.list("Secret"))])


def given_away(values: Iterable[str], saved: list[Object]) -> list[str]:
    """Return what would tell a value, or let one be guessed: itself, base64, and plain SHA-256 of value, content and object."""
    told: list[str] = []
    for value in values:
        encoded = base64.b64encode(value.encode()).decode()
        content = {"type": "Opaque", "data": {"password": encoded}}
        told += [value, encoded, *(digest(one) for one in (value, encoded, content, content["data"], {"values": content}))]
    return told + [digest(body) for body in saved]


def digest(value: Any) -> str:
    text = value if isinstance(value, str) else json.dumps(value, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()
