"""Looks at tenants and at what the operator has stored, with nothing of the operator's code, and says what is not as it should be.

`look` reads everything once; `faults` compares it with a model of each tenant, and is pure.
"""

from __future__ import annotations

import base64
import gzip
import hashlib
import json
import re
import zlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from localcluster.client import KubeClient

Object = dict[str, Any]

MARKER = "tenantwave.io/intent"
SAVED_TYPE = "tenantwave.io/snapshot.v1"
ENDED = ("Succeeded", "RolledBack", "Skipped", "Queued")
"""States in which a run has let go of its tenant."""

WORKLOADS = ("Deployment", "StatefulSet", "DaemonSet", "CronJob")
KINDS = (*WORKLOADS, "ConfigMap", "Secret", "Job")
"""Whose objects in a tenant are looked at."""
NOBODYS = ("kube-root-ca.crt",)
"""ConfigMaps that Kubernetes puts into every namespace."""


@dataclass(frozen=True, slots=True)
class Named:
    """A conflict that a TenantRun must name: where, and the values that nobody may lose."""

    config_map: str
    key: str
    live: str
    new: str


@dataclass(frozen=True, slots=True)
class Expected:
    """What a tenant must be like.

    Args:
        images: workload, as `Deployment/api` -> the image of its container of the same name.
        configs: ConfigMap -> the whole of its data: the release's configuration with all edits that the tenant ever made; instead of a text
            what its lines `name: value` say. There must be no other ConfigMap in the tenant.
        version: what the operator must have recorded; empty: no record, for nothing was ever written there; None: either.
        states: TenantUpgrade -> state of its TenantRun, or several with a bar between them.
        versions: immutable ConfigMap -> the whole of the data of the one other object that was made of it, `<name>-<digest>`.
        templates: workload -> its pod template, to the last field; given where a tenant must be as it was.
        secrets: Secret -> its data (base64).
        conflicts: TenantUpgrade -> what its TenantRun must name.
        annotations: object, as `Deployment/api` -> annotations that somebody else put there.
        jobs: hook, by the name of its Job's container -> how many of its Jobs must be there, all of them complete.
    """

    images: Mapping[str, str]
    configs: Mapping[str, Mapping[str, str | Mapping[str, str]]]
    version: str | None
    states: Mapping[str, str] = field(default_factory=dict)
    versions: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    templates: Mapping[str, Object] = field(default_factory=dict)
    secrets: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    conflicts: Mapping[str, Sequence[Named]] = field(default_factory=dict)
    annotations: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    jobs: Mapping[str, int] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Seen:
    """Everything that the checker judges, as the API server has it."""

    objects: Mapping[str, Mapping[str, Object]]
    """Tenant -> `Kind/name` -> object."""
    namespaces: Mapping[str, Object]
    runs: Sequence[Object]
    leases: Sequence[Object]
    records: Sequence[Object]
    saved: Mapping[str, Object]
    """Name -> Secret of a saved object."""
    referring: Sequence[Object] = ()
    """What else may name saved objects: TenantUpgrades, and the ConfigMaps of our namespace."""
    landed: frozenset[str] | None = None
    """The markers of all writes of content that the API server took, as its audit log has them; None where nobody kept one."""


async def look(kube: KubeClient, operator_namespace: str, tenants: Sequence[str], landed: frozenset[str] | None = None) -> Seen:
    """Read tenants, TenantRuns, Leases, records and saved objects."""
    objects: dict[str, dict[str, Object]] = {tenant: {} for tenant in tenants}
    for kind in KINDS:
        for body in await kube.list(kind):
            if (place := body["metadata"]["namespace"]) in objects:
                objects[place][f"{kind}/{body['metadata']['name']}"] = body
    own = await kube.list("ConfigMap", operator_namespace)
    return Seen(
        objects=objects,
        namespaces={one["metadata"]["name"]: one for one in await kube.list("Namespace") if one["metadata"]["name"] in objects},
        runs=await kube.list("TenantRun", operator_namespace),
        leases=await kube.list("Lease", operator_namespace),
        records=[one for one in own if (one["metadata"].get("labels") or {}).get("tenantwave.io/role") == "record"],
        saved={one["metadata"]["name"]: one for one in await kube.list("Secret", operator_namespace, fields=f"type={SAVED_TYPE}")},
        referring=[*own, *await kube.list("TenantUpgrade")],
        landed=landed,
    )


def faults(seen: Seen, expected: Mapping[str, Expected]) -> list[str]:
    """Return what is not as it should be, tenant by tenant, in sentences; an empty list is what a test wants."""
    return [f"{tenant}: {fault}" for tenant, model in expected.items() for fault in _of_tenant(seen, tenant, model)] + list(_of_saved(seen))


def orphans(seen: Seen) -> list[str]:
    """Return saved objects that nothing names. A crash between saving and naming leaves some, until they are collected; calm runs none."""
    texts = (json.dumps(one) for one in (*seen.runs, *seen.records, *seen.referring))
    named = {digest for text in texts for digest in re.findall(r"sha256:([0-9a-f]{64})", text)}
    return sorted(name for name in seen.saved if name.split("-")[1] not in named)


def _of_tenant(seen: Seen, tenant: str, model: Expected) -> Iterator[str]:
    objects = seen.objects[tenant]
    yield from _of_workloads(objects, model)
    made = {name: target for name in objects if (target := _target_of(name, model)) is not None}
    yield from _of_configs({name: body for name, body in objects.items() if name not in made}, model.configs)
    yield from _of_versions(objects, made, model)
    for name, wanted in model.secrets.items():
        found = objects.get(f"Secret/{name}")
        if found is None or found.get("data") != wanted:
            yield f"Secret {name} is {'gone' if found is None else 'changed'}"
    for name, notes in model.annotations.items():
        kept = (objects.get(name, {}).get("metadata") or {}).get("annotations") or {}
        yield from (
            f"annotation {key} of {name} is {kept.get(key)!r}, not {note!r}" for key, note in notes.items() if kept.get(key) != note
        )
    for name, body in objects.items():
        if marker := (body["metadata"].get("annotations") or {}).get(MARKER):
            yield f"the marker {marker} is left on {name}"
    yield from _of_lock_and_record(seen, tenant, model)
    runs = {run["spec"]["upgrade"]: run for run in seen.runs if run["spec"]["tenant"] == tenant}
    for upgrade, state in model.states.items():
        found_state = (runs.get(upgrade, {}).get("status") or {}).get("state", "missing")
        if found_state not in state.split("|"):
            yield f"is {found_state} in {upgrade}, not {state}"
    for upgrade, named in model.conflicts.items():
        yield from _of_conflicts(runs.get(upgrade, {}).get("status") or {}, named)
    for upgrade, run in runs.items():
        yield from (f"{upgrade}: {fault}" for fault in _of_journal(seen, run))
    yield from _of_jobs(objects, model.jobs)


def _of_workloads(objects: Mapping[str, Object], model: Expected) -> Iterator[str]:
    for name, image in model.images.items():
        body = objects.get(name)
        if body is None:
            yield f"{name} is gone"
            continue
        containers = {one["name"]: one["image"] for one in template_of(body)["spec"]["containers"]}
        if (found := containers.get(name.partition("/")[2])) != image:
            yield f"{name} runs {found}, not {image}"
    for name, template in model.templates.items():
        if name in objects and template_of(objects[name]) != template:
            yield f"the pod template of {name} is {json.dumps(template_of(objects[name]))}, not {json.dumps(template)}"


def template_of(body: Object) -> Object:
    """Return the pod template of a workload."""
    spec = body["spec"]
    found: Object = (spec["jobTemplate"]["spec"] if body.get("kind") == "CronJob" or "jobTemplate" in spec else spec)["template"]
    return found


def _of_configs(objects: Mapping[str, Object], configs: Mapping[str, Mapping[str, str | Mapping[str, str]]]) -> Iterator[str]:
    live = {name.partition("/")[2]: body for name, body in objects.items() if name.startswith("ConfigMap/")}
    for name in sorted(live.keys() - configs.keys() - set(NOBODYS)):
        yield f"ConfigMap {name} should not be there"
    for name, wanted in configs.items():
        if name not in live:
            yield f"ConfigMap {name} is gone"
            continue
        data = live[name].get("data") or {}
        for key in sorted(data.keys() | wanted.keys()):
            found, asked = data.get(key), wanted.get(key)
            if (found if found is None or asked is None or isinstance(asked, str) else _said(found)) != asked:
                yield f"{name}/{key} is {found!r}, not {asked!r}"


def _target_of(name: str, model: Expected) -> str | None:
    kind, _, plain = name.partition("/")
    found = re.fullmatch(r"(.+)-[0-9a-f]{10}", plain)
    return found[1] if kind == "ConfigMap" and found is not None and found[1] in model.versions else None


def _of_versions(objects: Mapping[str, Object], made: Mapping[str, str], model: Expected) -> Iterator[str]:
    """What was made of an immutable ConfigMap is there once, whole, immutable, and some pod template refers to it."""
    templates = json.dumps([template_of(body) for name, body in objects.items() if name.partition("/")[0] in WORKLOADS])
    for target, wanted in model.versions.items():
        names = [name for name, of in made.items() if of == target]
        if len(names) != 1:
            yield f"there are {len(names)} versions of {target}, not 1"
        for name in names:
            body = objects[name]
            if body.get("data") != wanted or not body.get("immutable"):
                yield f"{name} is {body.get('data')}, immutable: {body.get('immutable')}, not {wanted}"
            if f'"{name.partition("/")[2]}"' not in templates:
                yield f"no pod template refers to {name}"


def _said(text: str) -> dict[str, str]:
    return dict(line.split(": ", 1) for line in text.splitlines() if not line.startswith("#"))


def _of_lock_and_record(seen: Seen, tenant: str, model: Expected) -> Iterator[str]:
    uid = seen.namespaces[tenant]["metadata"]["uid"]
    for lease in seen.leases:
        if lease["metadata"]["name"] == f"tenant-{uid}":
            yield f"the lock is left, held by {(lease.get('spec') or {}).get('holderIdentity')}"
    records = [json.loads(one["data"]["record"]) for one in seen.records if one["metadata"]["name"].endswith(uid)]
    version = records[0]["now"]["version"] if records else ""
    if model.version is not None and version != model.version:
        yield f"is recorded to run {version or 'nothing'}, not {model.version or 'nothing'}"
    bases = {digest for one in records for digest in one["now"]["base"].values()}
    yield from (f"the base {digest} of its next merge is lost or damaged" for digest in sorted(bases) if not _is_whole(seen, digest))


def _of_conflicts(status: Object, named: Sequence[Named]) -> Iterator[str]:
    """A conflict names both values, so that a person can choose."""
    shown = {(one["configMap"], one.get("key", "")): one for one in status.get("conflicts") or []}
    for wanted in named:
        found = shown.get((wanted.config_map, wanted.key))
        if found is None:
            yield f"no conflict names {wanted.config_map}/{wanted.key}"
            continue
        for side, value in (("live", wanted.live), ("new", wanted.new)):
            if found.get(side, "") != value:
                yield f"the conflict at {wanted.config_map}/{wanted.key} has {found.get(side, '')!r} as its {side} value, not {value!r}"


def _of_jobs(objects: Mapping[str, Object], jobs: Mapping[str, int]) -> Iterator[str]:
    for hook, wanted_count in jobs.items():
        jobs_of_all = (body for name, body in objects.items() if name.startswith("Job/"))
        found = [body for body in jobs_of_all if template_of(body)["spec"]["containers"][0]["name"] == hook]
        done = [one for one in found if _is_complete(one)]
        if len(found) != wanted_count or len(done) != wanted_count:
            yield f"hook {hook} has {len(found)} Jobs, {len(done)} of them complete, not {wanted_count}"


def _is_complete(job: Object) -> bool:
    return any((one["type"], one["status"]) == ("Complete", "True") for one in (job.get("status") or {}).get("conditions") or ())


def _of_journal(seen: Seen, run: Object) -> Iterator[str]:
    """A run that has let go of its tenant knows of each of its writes what became of it, and can show what it saved."""
    status = run.get("status") or {}
    intents = status.get("intents") or []
    numbers = [intent["seq"] for intent in intents]
    if numbers != sorted(set(numbers)) or (numbers and numbers[-1] > status.get("lastSeq", 0)):
        yield f"the numbers of its intents are {numbers}, the last one given was {status.get('lastSeq')}"
    states = [(intent["seq"], intent.get("state", "Issued"), intent.get("direction", "Forward")) for intent in intents]
    if status.get("state") in ENDED:
        yield from (f"nobody knows what became of intent {number}" for number, state, _ in states if state == "Issued")
    if status.get("state") in ("RolledBack", "Skipped"):
        yield from (f"intent {number} is not taken back" for number, state, way in states if (state, way) == ("Landed", "Forward"))
    if seen.landed is not None:
        yield from _of_audit(seen.landed, run["metadata"]["uid"], intents)
    blobs = {
        intent.get(part, "")
        for intent in intents
        if intent.get("state") != "Superseded"
        for part in ("before", "after", "goal", "pristine")
    }
    blobs |= {saved["digest"] for saved in status.get("snapshots") or []}
    yield from (f"what was saved as {digest} is lost or damaged" for digest in sorted(blobs - {""}) if not _is_whole(seen, digest))


def _of_audit(landed: frozenset[str], uid: str, intents: Sequence[Object]) -> Iterator[str]:
    """What the journal says of each write is what the API server wrote down. A deletion carries no marker."""
    for intent in intents:
        number, state = intent["seq"], intent.get("state", "Issued")
        is_said, is_so = state in ("Landed", "Reverted"), f"{uid}/{number}" in landed
        if is_said and not is_so and intent.get("after"):
            yield f"intent {number} is called {state}, and never landed"
        if is_so and not is_said:
            yield f"intent {number} is called {state}, and landed"


def _of_saved(seen: Seen) -> Iterator[str]:
    """What is saved cannot be changed, and dies with nobody."""
    for name, secret in seen.saved.items():
        if not secret.get("immutable"):
            yield f"saved object {name} can be changed"
        if secret["metadata"].get("ownerReferences"):
            yield f"saved object {name} has an owner, and would be collected with it"


def _is_whole(seen: Seen, digest: str) -> bool:
    return saved_text(seen, digest) is not None


def saved_text(seen: Seen, digest: str) -> str | None:
    """Return what was saved under a digest, or None where it is lost or damaged."""
    name = f"snapshot-{digest.removeprefix('sha256:')}"
    chunks: list[bytes] = []
    while (secret := seen.saved.get(f"{name}-{len(chunks)}")) is not None:
        chunks.append(base64.b64decode(secret["data"]["chunk"]))
    try:
        blob = gzip.decompress(b"".join(chunks))
    except (OSError, EOFError, zlib.error):
        return None
    return blob.decode() if hashlib.sha256(blob).hexdigest() == digest.removeprefix("sha256:") else None
