"""Tenants with one of everything, each with a product, a policy and an upgrade of its own: so every write of an operator tells whose it is."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from support.checker import Expected
from support.clusters import OPERATOR_NAMESPACE
from support.workloads import config_map, cron_job, namespace, workload

Object = dict[str, Any]

GROUP_VERSION = "tenantwave.io/v1alpha1"
OLD_VERSION, NEW_VERSION = "2.3.1", "2.4.0"
NODE = {"kubernetes.io/hostname": "played-1"}
"""One pod of a DaemonSet proves as much as three."""

COMPONENTS: Mapping[str, tuple[str, str]] = {
    "api": ("Deployment", "app-config"),
    "store": ("StatefulSet", "app-config"),
    "agent": ("DaemonSet", "agent-config"),
    "nightly": ("CronJob", "agent-config"),
}
"""Component -> kind of its workload, and the ConfigMap that its pods read."""

RELEASES: Mapping[str, Mapping[str, Mapping[str, str]]] = {
    "app-config": {
        OLD_VERSION: {"pool": "10", "mode": "fast", "gone": "soon"},
        NEW_VERSION: {"pool": "20", "mode": "fast", "cache": "on"},
    },
    "agent-config": {
        OLD_VERSION: {"agent.yaml": "# how often\nevery: 60\nlevel: info\n"},
        NEW_VERSION: {"agent.yaml": "# how often\nevery: 30\nlevel: info\n"},
    },
}
"""ConfigMap -> version -> pristine data."""

FIXED = "fixed-config"
FIXED_RELEASES: Mapping[str, Mapping[str, str]] = {OLD_VERSION: {"size": "1"}, NEW_VERSION: {"size": "2"}}
"""An immutable ConfigMap that `api` reads, too: the upgrade makes another one, and the way back takes that away."""

LATER: Mapping[str, str] = {"own": "changed", "late": "edit", "cache": "off"}
"""What a tenant edits in `app-config` after the upgrade has written it; one of them a key that the release has brought."""

HOOKS: Mapping[str, str] = {"migrate": "PreApply", "smoke": "PostApply", "undo": "OnRollback"}
"""Hook -> when it runs."""

SECRET = {"password": "aHVudGVyMg=="}


@dataclass(frozen=True, slots=True)
class Case:
    """One tenant. `name` is the namespace, and stands in the name or the content of everything that is written for it."""

    name: str
    soak: str = "0s"
    components: tuple[str, ...] = tuple(COMPONENTS)
    hooks: Mapping[str, str] = field(default_factory=lambda: dict(HOOKS))

    @property
    def upgrade(self) -> str:
        """Return its TenantUpgrade."""
        return f"up-{self.name}"

    @property
    def own(self) -> dict[str, dict[str, str]]:
        """Return what it had edited before the upgrade, by ConfigMap: a key of the release, one of its own, and a line in a file."""
        return {
            "app-config": {"mode": f"as {self.name} likes it", "own": self.name},
            "agent-config": {"agent.yaml": f"# how often\nevery: 60\nlevel: info\nname: {self.name}\n"},
        }

    def image(self, component: str, version: str) -> str:
        """Return an image that is this tenant's alone."""
        return f"registry.example.com/{self.name}/{component}:{version}"

    def objects(self) -> Iterator[Object]:
        """Yield what must be there before the upgrade."""
        yield namespace(self.name, {"example.com/case": self.name})
        yield {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "login", "namespace": self.name}, "data": SECRET}
        for target, releases in RELEASES.items():
            yield config_map(target, self.name, {**releases[OLD_VERSION], **self.own[target]})
            for version, data in releases.items():
                yield self._pristine(target, version, data)
        yield config_map(FIXED, self.name, {**FIXED_RELEASES[OLD_VERSION], "own": self.name}) | {"immutable": True}
        for version, data in FIXED_RELEASES.items():
            yield self._pristine(FIXED, version, data)
        yield from (self._workload(component) for component in self.components)
        yield {
            "apiVersion": GROUP_VERSION,
            "kind": "RolloutPolicy",
            "metadata": {"name": f"by-{self.name}"},
            "spec": {
                "waves": [{"name": f"wave-{self.name}", "soak": self.soak}],
                "maintenance": {"whenNoWindow": "Open"},
                "allowNoGates": True,
            },
        }

    def upgrade_object(self) -> Object:
        """Return its upgrade."""
        return {
            "apiVersion": GROUP_VERSION,
            "kind": "TenantUpgrade",
            "metadata": {"name": self.upgrade},
            "spec": {
                "policyRef": {"name": f"by-{self.name}"},
                "tenantSelector": {"matchLabels": {"example.com/case": self.name}},
                "release": {"product": self.name, "version": NEW_VERSION, "assumedVersion": OLD_VERSION},
                "components": [
                    {
                        "name": component,
                        "workload": {
                            "kind": COMPONENTS[component][0],
                            "name": component,
                            "containers": [{"name": component, "image": self.image(component, NEW_VERSION)}],
                            **({"probe": True} if COMPONENTS[component][0] == "CronJob" else {}),
                        },
                    }
                    for component in self.components
                ],
                "preservation": {"secrets": "Snapshot"},
                "hooks": [self._hook(name, at) for name, at in self.hooks.items()],
            },
        }

    # What must be true in the end.

    def upgraded(self) -> Expected:
        """Return what it is like after the upgrade."""
        versions = {FIXED: {**FIXED_RELEASES[NEW_VERSION], "own": self.name}}
        jobs = self._jobs("PreApply", "PostApply")
        return dataclasses.replace(self._expected(NEW_VERSION, {}, NEW_VERSION, "Succeeded"), jobs=jobs, versions=versions)

    def taken_back(self, later: Mapping[str, str] = LATER) -> Expected:
        """Return what it is like after the way back, with what it has edited meanwhile."""
        return dataclasses.replace(self._expected(OLD_VERSION, later, OLD_VERSION, "RolledBack"), jobs=self._jobs(*HOOKS.values()))

    def aborted(self, later: Mapping[str, str]) -> Expected:
        """Return what it is like if its upgrade was aborted early, when perhaps nothing of it had landed."""
        return self._expected(OLD_VERSION, later, None, "RolledBack|Skipped")

    def _expected(self, version: str, later: Mapping[str, str], recorded: str | None, state: str) -> Expected:
        configs = {target: {**releases[version], **self.own[target]} for target, releases in RELEASES.items()}
        configs["agent-config"]["agent.yaml"] = configs["agent-config"]["agent.yaml"].replace(
            "every: 60", "every: 30" if version == NEW_VERSION else "every: 60"
        )
        configs["app-config"] |= later
        configs[FIXED] = {**FIXED_RELEASES[OLD_VERSION], "own": self.name}
        return Expected(
            images={f"{COMPONENTS[one][0]}/{one}": self.image(one, version) for one in self.components},
            configs=configs,
            version=recorded,
            states={self.upgrade: state},
            secrets={"login": SECRET},
        )

    def _jobs(self, *times: str) -> dict[str, int]:
        """Return how many Jobs there are of each hook of these times, and of each CronJob that is tried out."""
        probes = [one for one in self.components if COMPONENTS[one][0] == "CronJob"]
        return dict.fromkeys((*(name for name, at in self.hooks.items() if at in times), *probes), 1)

    def _hook(self, name: str, at: str) -> Object:
        pods = {"terminationGracePeriodSeconds": 0, "containers": [{"name": name, "image": f"registry.example.com/{{tenant}}/{name}:1"}]}
        hook: Object = {"name": name, "at": at, "jobTemplate": {"spec": {"backoffLimit": 0, "template": {"spec": pods}}}}
        return hook | ({"irreversible": False} if at == "PreApply" else {})

    def _pristine(self, target: str, version: str, data: Mapping[str, str]) -> Object:
        body = config_map(f"{target}-{version.replace('.', '-')}-{self.name}", OPERATOR_NAMESPACE, {**data, "for": self.name})
        body["metadata"]["labels"] = {"tenantwave.io/product": self.name, "tenantwave.io/version": version}
        body["metadata"]["annotations"] = {"tenantwave.io/target": target}
        return body

    def _workload(self, component: str) -> Object:
        kind, config = COMPONENTS[component]
        image = self.image(component, OLD_VERSION)
        maps = [config, FIXED] if component == "api" else [config]
        sources: list[Object] = [*({"configMapRef": {"name": one}} for one in maps), {"secretRef": {"name": "login"}}]
        container: Object = {"name": component, "image": image, "envFrom": sources}
        if kind == "CronJob":
            body = cron_job(component, self.name, image=image)
            body["spec"]["jobTemplate"]["spec"]["template"]["spec"]["containers"] = [container]
            return body
        spread: Object = {"nodeSelector": NODE} if kind == "DaemonSet" else {}
        slow: Object = {"progressDeadlineSeconds": 300} if kind == "Deployment" else {}
        return workload(kind, component, self.name, image=image, spec=slow, pod_spec={"containers": [container], **spread})
