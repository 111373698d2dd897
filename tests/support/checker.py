"""Looks at tenants and at what the operator has stored, with nothing of the operator's code, and says what is not as it should be.

`look` reads everything once; `faults` compares it with a model of each tenant, and is pure.
"""

from __future__ import annotations

import base64
import gzip
import hashlib
import json
import zlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from localcluster.client import KubeClient

Object = dict[str, Any]

MARKER = "tenantwave.io/intent"
ENDED = ("Succeeded", "RolledBack", "Skipped", "Queued")
"""States in which a run has let go of its tenant."""


@dataclass(frozen=True, slots=True)
class Expected:
    """What a tenant must be like.

    Args:
        data: the whole of the ConfigMap `app-config`: the release's configuration with all edits that the tenant ever made.
        version: what the operator must have recorded; empty: no record, for nothing was ever written there; None: either.
        states: TenantUpgrade -> state of its TenantRun, or several with a bar between them.
    """

    image: str
    data: Mapping[str, str]
    version: str | None
    states: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Seen:
    """Everything that the checker judges, as the API server has it."""

    deployments: Mapping[str, Object]
    config_maps: Mapping[str, Object]
    namespaces: Mapping[str, Object]
    runs: tuple[Object, ...]
    leases: tuple[Object, ...]
    records: tuple[Object, ...]
    saved: Mapping[str, Object]
    """Name -> Secret of a saved object."""


async def look(kube: KubeClient, operator_namespace: str, tenants: list[str]) -> Seen:
    """Read tenants, TenantRuns, Leases, records and saved objects."""
    secrets = await kube.list("Secret", operator_namespace, fields="type=tenantwave.io/snapshot.v1")
    records = await kube.list("ConfigMap", operator_namespace, labels="tenantwave.io/role=record")
    return Seen(
        {tenant: await kube.get("Deployment", "api", tenant) for tenant in tenants},
        {tenant: await kube.get("ConfigMap", "app-config", tenant) for tenant in tenants},
        {tenant: await kube.get("Namespace", tenant) for tenant in tenants},
        tuple(await kube.list("TenantRun", operator_namespace)),
        tuple(await kube.list("Lease", operator_namespace)),
        tuple(records),
        {secret["metadata"]["name"]: secret for secret in secrets},
    )


def faults(seen: Seen, expected: Mapping[str, Expected]) -> list[str]:
    """Return what is not as it should be, tenant by tenant, in sentences; an empty list is what a test wants."""
    return [f"{tenant}: {fault}" for tenant, model in expected.items() for fault in _of_tenant(seen, tenant, model)]


def _of_tenant(seen: Seen, tenant: str, model: Expected) -> Iterator[str]:
    image = seen.deployments[tenant]["spec"]["template"]["spec"]["containers"][0]["image"]
    if image != model.image:
        yield f"runs {image}, not {model.image}"
    yield from _of_data(seen.config_maps[tenant].get("data") or {}, model.data)
    for kind, body in (("Deployment", seen.deployments[tenant]), ("ConfigMap", seen.config_maps[tenant])):
        if marker := (body["metadata"].get("annotations") or {}).get(MARKER):
            yield f"the marker {marker} is left on its {kind}"
    uid = seen.namespaces[tenant]["metadata"]["uid"]
    for lease in seen.leases:
        if lease["metadata"]["name"] == f"tenant-{uid}":
            yield f"the lock is left, held by {(lease.get('spec') or {}).get('holderIdentity')}"
    version = next(
        (json.loads(one["data"]["record"])["now"]["version"] for one in seen.records if one["metadata"]["name"].endswith(uid)), ""
    )
    if model.version is not None and version != model.version:
        yield f"is recorded to run {version or 'nothing'}, not {model.version or 'nothing'}"
    runs = {run["spec"]["upgrade"]: run.get("status") or {} for run in seen.runs if run["spec"]["tenant"] == tenant}
    for upgrade, state in model.states.items():
        found = runs.get(upgrade, {}).get("state", "missing")
        if found not in state.split("|"):
            yield f"is {found} in {upgrade}, not {state}"
    for upgrade, status in runs.items():
        yield from (f"{upgrade}: {fault}" for fault in _of_journal(seen, status))


def _of_data(live: Mapping[str, str], wanted: Mapping[str, str]) -> Iterator[str]:
    for key in sorted(live.keys() | wanted.keys()):
        if live.get(key) != wanted.get(key):
            yield f"app-config/{key} is {live.get(key)!r}, not {wanted.get(key)!r}"


def _of_journal(seen: Seen, status: Object) -> Iterator[str]:
    """A run that has let go of its tenant knows of each of its writes what became of it, and can show what it saved."""
    intents = status.get("intents") or []
    numbers = [intent["seq"] for intent in intents]
    if numbers != sorted(set(numbers)) or (numbers and numbers[-1] > status.get("lastSeq", 0)):
        yield f"the numbers of its intents are {numbers}, the last one given was {status.get('lastSeq')}"
    states = [(intent["seq"], intent.get("state", "Issued"), intent.get("direction", "Forward")) for intent in intents]
    if status.get("state") in ENDED:
        yield from (f"nobody knows what became of intent {number}" for number, state, _ in states if state == "Issued")
    if status.get("state") in ("RolledBack", "Skipped"):
        yield from (f"intent {number} is not taken back" for number, state, way in states if (state, way) == ("Landed", "Forward"))
    blobs = {intent.get(part, "") for intent in intents if intent.get("state") != "Superseded" for part in ("before", "after", "goal")}
    blobs |= {saved["digest"] for saved in status.get("snapshots") or []}
    yield from (f"what was saved as {digest} is lost or damaged" for digest in sorted(blobs - {""}) if not _is_whole(seen, digest))


def _is_whole(seen: Seen, digest: str) -> bool:
    name = f"snapshot-{digest.removeprefix('sha256:')}"
    chunks: list[bytes] = []
    while (secret := seen.saved.get(f"{name}-{len(chunks)}")) is not None:
        chunks.append(base64.b64decode(secret["data"]["chunk"]))
    try:
        return hashlib.sha256(gzip.decompress(b"".join(chunks))).hexdigest() == digest.removeprefix("sha256:")
    except (OSError, EOFError, zlib.error):
        return False
