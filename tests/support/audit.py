"""What the operator did to the cluster, as the API server wrote it down: not what the operator says of itself."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from localcluster.cluster import LocalCluster

from support.clusters import OPERATOR_NAMESPACE

Object = dict[str, Any]
MARKER = "tenantwave.io/intent"
IN_FLIGHT = frozenset({"Preflight", "Applying", "Converging"})
WRITES = frozenset({"create", "update", "patch", "delete"})


@dataclass(frozen=True, slots=True)
class Write:
    """One write of the operator that the API server took. `version` orders all of them."""

    verb: str
    resource: str
    namespace: str
    name: str
    subresource: str
    body: Object
    """The object as it was after the write."""

    @property
    def version(self) -> int:
        """Return the resourceVersion that the write made."""
        return int(self.body.get("metadata", {}).get("resourceVersion") or 0)


def writes(cluster: LocalCluster, since: int) -> list[Write]:
    """Return the operator's writes from a mark on, in the order in which they were stored; dry runs and refusals are not among them."""
    return sorted(_writes(cluster, since), key=lambda write: write.version)


def _writes(cluster: LocalCluster, since: int) -> Iterator[Write]:
    for event in cluster.audit_events(since):
        if event["verb"] not in WRITES or "dryRun=All" in event["requestURI"] or event["responseStatus"]["code"] >= 300:
            continue
        if not event["user"]["username"].startswith(f"system:serviceaccount:{OPERATOR_NAMESPACE}:"):
            continue
        place = event["objectRef"]
        body = event.get("responseObject") or {}
        name = place.get("name") or body.get("metadata", {}).get("name", "")
        yield Write(event["verb"], place["resource"], place.get("namespace", ""), name, place.get("subresource", ""), body)


def in_tenants(found: list[Write], tenants: list[str]) -> list[Write]:
    """Return the writes to objects that belong to tenants: all in their namespaces but Events and the TenantProfile."""
    return [write for write in found if write.namespace in tenants and write.resource not in ("events", "tenantprofiles")]


def template_writes(found: list[Write]) -> list[Write]:
    """Return the writes that changed what a workload runs. (A Deployment's generation would not tell: its annotations move it, too.)"""
    seen: dict[tuple[str, str, str], Object] = {}
    changed = []
    for write in found:
        if write.resource not in ("deployments", "statefulsets", "daemonsets", "cronjobs"):
            continue
        key, spec = (write.resource, write.namespace, write.name), write.body["spec"]
        if seen.get(key) != spec:
            changed.append(write)
        seen[key] = spec
    return changed


def flights(found: list[Write], upgrade: str) -> Iterator[dict[str, str]]:
    """Yield tenant -> state of its TenantRun after each write to a TenantRun of the upgrade: every moment that there was."""
    states: dict[str, str] = {}
    for write in found:
        if write.resource == "tenantruns" and write.body.get("spec", {}).get("upgrade") == upgrade:
            states[write.body["spec"]["tenant"]] = (write.body.get("status") or {}).get("state", "")
            yield dict(states)


def twice(found: list[Write]) -> list[str]:
    """Return objects of tenants that were given the same content twice in a row: work that was done again."""
    last: dict[tuple[str, str, str], str] = {}
    repeated = []
    for write in found:
        key = (write.resource, write.namespace, write.name)
        content = json.dumps(
            [write.body.get(part) for part in ("data", "binaryData", "spec")] + [write.body.get("metadata", {}).get("annotations")],
            sort_keys=True,
        )
        if last.get(key) == content:
            repeated.append("/".join(key))
        last[key] = content
    return repeated


def landed(cluster: LocalCluster, since: int, tenants: Sequence[str]) -> list[tuple[str, str]]:
    """Return the operator's writes of content to objects of tenants since a mark: the object, as `tenant/plural/name`, and the marker."""
    found: list[tuple[str, str]] = []
    last: dict[str, str] = {}
    for write in in_tenants(writes(cluster, since), list(tenants)):
        place = f"{write.namespace}/{write.resource}/{write.name}"
        marker = (write.body.get("metadata", {}).get("annotations") or {}).get(MARKER, "")
        if marker and marker != last.get(place) and marker.rpartition("/")[2].isdecimal():
            found.append((place, marker))
        last[place] = marker
    return found
