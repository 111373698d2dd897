"""People of a platform and of a tenant, each logged in with a real token and one role, who really try what they may and may not do."""

from __future__ import annotations

import copy
from collections.abc import Awaitable, Callable, Mapping
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self

from localcluster.access import Cluster
from localcluster.client import ApiError, KubeClient, Object, eventually

from support.chart import apply_chart, remove_chart, wait_for_refusal
from support.samples import samples

TENANT_ROLES = {"tenant-viewer", "tenant-admin"}
PLATFORM_ROLES = {"platform-viewer", "platform-operator", "approver"}
BUILT_IN_ROLES = {"view", "edit", "admin"}
STRANGER = "stranger"
"""Somebody of the tenant with a token and no role."""

CLUSTER_KINDS = {"RolloutPolicy", "TenantUpgrade", "UpgradeAction", "Namespace"}
HOME, NEXT_DOOR, PLATFORM, EVERYWHERE = "at home", "next door", "in the operator's namespace", "everywhere"
"""Where: the tenant's own namespace, another tenant's, ours, and all at once."""

_SAMPLES = {sample.name: sample.documents[0] for sample in samples("valid")}
_SAMPLE_OF = {
    "RolloutPolicy": "policy-standard",
    "TenantUpgrade": "upgrade-minimal",
    "TenantProfile": "profile-whole",
    "TenantDecision": "decision-opt-out",
    "UpgradeAction": "action-approve",
    "TenantRun": "run",
}
_NOTE: Object = {"metadata": {"annotations": {"example.com/note": "seen"}}}
_CHANGES: Mapping[str, Object] = {
    "RolloutPolicy": {"spec": {"maintenance": {"freezes": None}}},  # lifts the platform's freezes
    "TenantUpgrade": {"spec": {"suspend": True}},
    "TenantProfile": {"spec": {"timeZone": "Europe/Rome"}},
    "TenantDecision": _NOTE,  # its spec never changes, and neither does an action's
    "UpgradeAction": _NOTE,
    "TenantRun": _NOTE,
    "Namespace": {"metadata": {"labels": {"tenantwave.io/relationship": "friendly"}}},
}


# --- deeds: one request each, about one object ---


async def _get(client: KubeClient, body: Object) -> None:
    await client.get(body["kind"], body["metadata"]["name"], body["metadata"].get("namespace"))


async def _list(client: KubeClient, body: Object) -> None:
    await client.list(body["kind"], body["metadata"].get("namespace"))


async def _watch(client: KubeClient, body: Object) -> None:
    """Until the first event; the object that is there is one."""
    path = await client.path(body["kind"], body["metadata"].get("namespace"))
    async for _ in client.watch(path, resource_version="0"):
        return


async def _create(client: KubeClient, body: Object) -> None:
    await client.create(body)


async def _apply(client: KubeClient, body: Object) -> None:
    """What `kubectl apply --server-side`, Flux and Argo CD send to create."""
    await client.apply(body)


async def _patch(client: KubeClient, body: Object) -> None:
    await client.patch(body["kind"], body["metadata"]["name"], body["metadata"].get("namespace"), _CHANGES[body["kind"]])


async def _update(client: KubeClient, body: Object) -> None:
    changed = copy.deepcopy(body)
    changed["metadata"].setdefault("annotations", {})["example.com/note"] = "seen"
    await client.replace(changed)


async def _delete(client: KubeClient, body: Object) -> None:
    await client.delete(body["kind"], body["metadata"]["name"], body["metadata"].get("namespace"), missing_ok=False)


async def _write_status(client: KubeClient, body: Object) -> None:
    status = {"status": {"observedGeneration": 7}}
    await client.patch(body["kind"], body["metadata"]["name"], body["metadata"].get("namespace"), status, subresource="status")


DEEDS: Mapping[str, Callable[[KubeClient, Object], Awaitable[None]]] = {
    "get": _get,
    "list": _list,
    "watch": _watch,
    "create": _create,
    "apply": _apply,
    "patch": _patch,
    "update": _update,
    "delete": _delete,
    "write the status of": _write_status,
}


# --- people ---


@dataclass(frozen=True, slots=True)
class Person:
    """A ServiceAccount with a token of its own. `user`: what the API server calls it."""

    user: str
    client: KubeClient


@dataclass(slots=True)
class Cast:
    """The chart in a namespace of its own, two tenants, and one person for each role; all is removed on leaving.

    The tenant's people belong to the tenant at home. `people` is keyed by role.
    """

    cluster: Cluster
    kube: KubeClient
    helm: Path
    chart: str
    home: str
    next_door: str
    people: dict[str, Person] = field(default_factory=dict)
    _exits: AsyncExitStack = field(default_factory=AsyncExitStack)

    async def __aenter__(self) -> Self:
        try:
            objects = await apply_chart(self.kube, self.helm, self.chart)
            self._exits.push_async_callback(remove_chart, self.kube, objects)
            self._exits.push_async_callback(self.kube.delete, "Namespace", self.chart)
            for tenant in (self.home, self.next_door):
                await self.kube.create({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": tenant}})
                self._exits.push_async_callback(self.kube.delete, "Namespace", tenant)
            for kind in CLUSTER_KINDS - {"Namespace"}:
                self._exits.push_async_callback(self.kube.delete, kind, self.chart)
            await self.hire(STRANGER, self.home)
            for role in sorted(TENANT_ROLES):
                await self.hire(role, self.home, f"{self.chart}-{role}")
            for role in sorted(BUILT_IN_ROLES):
                await self.hire(role, self.home, role)
            for role in sorted(PLATFORM_ROLES):
                await self.hire(role, self.chart, f"{self.chart}-{role}", in_all=True)
            await eventually(self._is_served, saying="all kinds are served")
            await eventually(self._is_settled, saying="the roles are bound, and aggregated to the built-in ones")
            await self._wait_for_policies()
        except BaseException:
            await self._exits.aclose()
            raise
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._exits.aclose()

    async def hire(self, name: str, namespace: str, role: str = "", *, in_all: bool = False) -> Person:
        """Make a ServiceAccount, bind a ClusterRole to it, in its namespace or in all, and log in with a token of it."""
        account = {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": name, "namespace": namespace}}
        await self.kube.create(account)
        if role:
            bound = a_binding(f"{self.chart}-{name}", role, name, namespace, in_all=in_all)
            await self.kube.create(bound)
            self._exits.push_async_callback(self.kube.delete, bound["kind"], bound["metadata"]["name"], bound["metadata"].get("namespace"))
        client = KubeClient.from_kubeconfig(self.cluster.kubeconfig_for(namespace, name), field_manager=name)
        person = Person(f"system:serviceaccount:{namespace}:{name}", await self._exits.enter_async_context(client))
        self.people[name] = person
        return person

    def manifest(self, kind: str, where: str = HOME, sample: str = "") -> Object:
        """Return a valid object of ours for a place, named after the chart where its kind is cluster-scoped."""
        namespace = {HOME: self.home, NEXT_DOOR: self.next_door, PLATFORM: self.chart, EVERYWHERE: None}[where]
        if kind == "Namespace":
            return {"apiVersion": "v1", "kind": kind, "metadata": {"name": namespace}}
        body = copy.deepcopy(_SAMPLES[sample or _SAMPLE_OF[kind]])
        body["spec"].pop("requestedBy", None)
        name = self.chart if kind in CLUSTER_KINDS else body["metadata"]["name"]
        body["metadata"] = {"name": name} | ({"namespace": namespace} if kind not in CLUSTER_KINDS and namespace else {})
        return body

    async def who_may(self, verb: str, kind: str, where: str) -> set[str]:
        """Let everybody really do it, each time from the same state, and return the roles of those whom the API server let."""
        return {role for role in self.people if await self._is_allowed(role, verb, kind, where)}

    async def _is_allowed(self, role: str, verb: str, kind: str, where: str) -> bool:
        body = self.manifest(kind, where)
        if verb in ("create", "apply"):
            await self.kube.delete(kind, body["metadata"]["name"], body["metadata"].get("namespace"))
        elif where == EVERYWHERE:
            await self.kube.apply(self.manifest(kind))
        else:
            body = await self.kube.apply(body)
        try:
            await DEEDS[verb](self.people[role].client, body)
        except ApiError as error:
            if error.status != 403:
                raise
            return False
        return True

    async def _is_served(self) -> bool:
        """Tell whether the API server lists every kind of ours: of a new one it first says that its storage is being initialised."""
        for kind in _SAMPLE_OF:
            try:
                await self.kube.list(kind)
            except ApiError as error:
                if error.status != 429:
                    raise
                return False
        return True

    async def _is_settled(self) -> bool:
        """Tell whether the authorizer has seen every binding; it watches them like everybody else.

        Rights beyond these are for the tests to find.
        """
        return (
            await self.who_may("get", "TenantProfile", HOME) >= {*self.people} - {STRANGER}
            and await self.who_may("delete", "TenantDecision", HOME) >= {"tenant-admin", *BUILT_IN_ROLES - {"view"}}
            and await self.who_may("create", "UpgradeAction", HOME) >= {"platform-operator", "approver"}
        )

    async def _wait_for_policies(self) -> None:
        decision, action = self.manifest("TenantDecision"), self.manifest("UpgradeAction", sample="action-pause")
        for body in (decision, action):
            body["metadata"]["name"] = "for-the-policy"
        decision["spec"]["requestedBy"] = "bea@acme.example.com"
        await wait_for_refusal(self.people["tenant-admin"].client, decision, "must have `requestedBy` equal")
        await wait_for_refusal(self.people["approver"].client, action, "you need verb pause")


def a_binding(name: str, role: str, account: str, namespace: str, *, in_all: bool = False) -> dict[str, Any]:
    """Return a binding of a ClusterRole to a ServiceAccount, in the account's namespace or in all."""
    return {
        "apiVersion": "rbac.authorization.k8s.io/v1",
        "kind": "ClusterRoleBinding" if in_all else "RoleBinding",
        "metadata": {"name": name} | ({} if in_all else {"namespace": namespace}),
        "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": role},
        "subjects": [{"kind": "ServiceAccount", "name": account, "namespace": namespace}],
    }
