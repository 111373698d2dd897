"""Tenants of two components that take as long as the test wants: their windows close while they are in flight."""

from __future__ import annotations

from typing import Any

from localcluster.client import eventually

from support.days import NEW, OLD, Days
from support.story import Story
from support.workloads import namespace, workload

Object = dict[str, Any]

READY_AFTER = "localcluster/ready-after"
FIRST, NEXT = "api", "worker"


class Closing:
    """Makes such tenants, each with an upgrade and a policy of its own."""

    def __init__(self, story: Story, days: Days, maintenance: Object) -> None:
        self.story = story
        self.days = days
        self._maintenance = maintenance

    async def tenant(self, name: str) -> str:
        """Make a tenant whose first component becomes ready when it is let, and whose second at once."""
        story = self.story
        made = story.unique(name)
        await story.apply(namespace(made, {f"tenantwave.io/product-{story.product}": "true", "example.com/trial": made}))
        patient = {"progressDeadlineSeconds": 600}
        await story.kube.apply(workload("Deployment", FIRST, made, image=OLD, annotations={READY_AFTER: "3600"}, spec=patient))
        await story.kube.apply(workload("Deployment", NEXT, made, image=OLD))
        story.tenants.append(made)
        await self.let_run(made)
        return made

    async def let_run(self, tenant: str) -> None:
        """Let the pods of the first component that are there become ready."""
        kube = self.story.kube

        async def are_let() -> bool:
            waiting = [
                pod["metadata"]["name"]
                for pod in await kube.list("Pod", tenant, labels=f"app={FIRST}")
                if pod["metadata"]["annotations"].get(READY_AFTER) != "0"
            ]
            for pod in waiting:
                await kube.patch("Pod", pod, tenant, {"metadata": {"annotations": {READY_AFTER: "0"}}})
            return bool(waiting)

        await eventually(are_let, saying=f"{tenant}: new pods of {FIRST}")

    async def upgrade(self, tenant: str, **maintenance: Any) -> str:
        """Apply an upgrade of this tenant alone, by a policy with this on top of what all have."""
        policy = f"policy-{tenant}"
        await self.story.policy(policy, waves=[{"name": "all", "soak": "1s"}], maintenance=self._maintenance | maintenance)
        components = [
            {"name": name, "workload": {"kind": "Deployment", "name": name, "containers": [{"name": name, "image": NEW}]}}
            for name in (FIRST, NEXT)
        ]
        return await self.story.upgrade(
            f"up-{tenant}",
            policy=policy,
            tenantSelector={"matchLabels": {"example.com/trial": tenant}},
            components=components,
            health={"timeout": "5h"},
        )

    async def images(self, tenant: str) -> tuple[str, str]:
        """Return the images of both components."""
        first, second = [await self.story.kube.get("apps/v1/Deployment", name, tenant) for name in (FIRST, NEXT)]
        return _image(first), _image(second)


def _image(deployment: Object) -> str:
    return str(deployment["spec"]["template"]["spec"]["containers"][0]["image"])
