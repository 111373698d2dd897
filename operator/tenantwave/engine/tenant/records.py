"""The version record: which version of a product a tenant runs, and the pristine content that the next merge starts from.

One ConfigMap in our namespace for each product and tenant. The profile's status only shows it.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from typing import Any

from tenantwave.api.kinds import CONFIG_MAP, ROLE_LABEL, TENANT_LABEL
from tenantwave.core.world import VersionRecord
from tenantwave.faults import NotFound
from tenantwave.ports import Body, Cluster

RECORD_ROLE = "record"


@dataclass(frozen=True, slots=True)
class Proven:
    """What stood at one time: a version, and target ConfigMap -> digest of its pristine content."""

    version: str = ""
    last_stable_version: str = ""
    since: datetime | None = None
    base: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Record:
    """The stored record. `writer`: UID of the TenantRun that moved it last; `previous`: where that run takes it back to.

    unproven: version -> the run that brought it here and let go of the tenant before it was proven, for its upgrade was deleted. That ends
    when the version is proven, accepted by a person, or taken back.
    """

    now: Proven = Proven()
    previous: Proven = Proven()
    writer: str = ""
    rolled_back: Mapping[str, str] = field(default_factory=dict)
    unproven: Mapping[str, str] = field(default_factory=dict)

    def moved(self, version: str, base: Mapping[str, str], writer: str, since: datetime, *, is_stable: bool) -> Record:
        """Return the record of a tenant that runs `version`. Written again by the same run it stays as it is.

        Args: is_stable: gates and soak have passed. What was only found there (AlreadyAtRelease), or accepted by a person, is not stable:
            the last stable version stays.
        """
        if self.writer == writer and self.now.version == version and self.now.base == base and version not in self.unproven:
            return self
        previous = self.previous if (self.writer, self.now.version) == (writer, version) else self.now
        stable = version if is_stable else self.now.last_stable_version
        now = Proven(version, stable, since, base)
        return Record(now, previous, writer, _without(self.rolled_back, version), _without(self.unproven, version))

    def moved_back(self, version: str, to_version: str, run: str, writer: str, since: datetime) -> Record:
        """Return the record of a tenant that was taken back from `version`: what stood before, and that `run` took it back.

        A TenantRun outlives its upgrade's edits: what it moved for the version before is what stood before this one.
        Args: to_version: what the tenant was taken to run, also where no record said so. Written again by the same run it stays as it is.
        """
        has_moved = self.writer == writer and self.now.version != to_version
        now = self.previous if has_moved else self.now
        if not now.version:
            now = Proven(version=to_version, since=since)
        return Record(now, now, writer, dict(self.rolled_back) | {version: run}, _without(self.unproven, version))

    def left_unproven(self, version: str, run: str) -> Record:
        """Return the record of a tenant that `run` has let go while `version` was still unproven. What it ran before stays what is proven."""
        return replace(self, unproven=dict(self.unproven) | {version: run})


def record_name(product: str, tenant_uid: str) -> str:
    """Return the ConfigMap's name. A product is a label value and may hold what a name may not."""
    return f"record-{hashlib.sha256(product.encode()).hexdigest()[:10]}-{tenant_uid}"


def read_record(raw: Body) -> Record:
    """Return the record in a ConfigMap. Raises ValueError, KeyError or TypeError where somebody has damaged it."""
    data = json.loads((raw.get("data") or {}).get("record", ""))
    return Record(
        _proven(data["now"]), _proven(data["previous"]), str(data["writer"]), dict(data["rolledBack"]), dict(data.get("unproven", {}))
    )


def version_record(raw: Body) -> VersionRecord:
    """Return what the world shows of a record's ConfigMap. Raises ValueError where somebody has damaged it."""
    try:
        record = read_record(raw)
    except (KeyError, TypeError) as error:
        raise ValueError(
            f"the version record {raw['metadata']['name']} is damaged: {error!r}; delete it, and state assumedVersion"
        ) from error
    since = record.now.since or datetime.fromtimestamp(0, UTC)
    return VersionRecord(record.now.version, record.now.last_stable_version, since, record.now.base, record.rolled_back, record.unproven)


class Records:
    """Reads and writes version records."""

    def __init__(self, cluster: Cluster, namespace: str) -> None:
        self._cluster = cluster
        self._namespace = namespace

    async def read(self, product: str, tenant_uid: str) -> tuple[Record, Body | None]:
        """Return the record and its ConfigMap; an empty one and None where there is none.

        A damaged one counts as empty, and is written anew: what the tenant is proven to run does not depend on it.
        """
        try:
            raw = await self._cluster.get(CONFIG_MAP, self._namespace, record_name(product, tenant_uid))
        except NotFound:
            return Record(), None
        try:
            return read_record(raw), raw
        except (ValueError, KeyError, TypeError):
            return Record(), raw

    async def write(self, product: str, tenant: str, tenant_uid: str, record: Record, stored: Body | None) -> None:
        """Store the record over the one that was read. Raises Conflict or AlreadyExists if somebody was faster."""
        text = _text(record)
        labels = {ROLE_LABEL: RECORD_ROLE, TENANT_LABEL: tenant}
        metadata: dict[str, Any] = {"name": record_name(product, tenant_uid), "namespace": self._namespace, "labels": labels}
        body = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata, "data": {"product": product, "record": text}}
        if stored is None:
            await self._cluster.create(CONFIG_MAP, body)
        elif (stored.get("data") or {}).get("record") != text:
            metadata["resourceVersion"] = stored["metadata"]["resourceVersion"]
            await self._cluster.replace(CONFIG_MAP, body)


def _text(record: Record) -> str:
    document: dict[str, Any] = {
        "now": _document(record.now),
        "previous": _document(record.previous),
        "writer": record.writer,
        "rolledBack": dict(record.rolled_back),
    }
    if record.unproven:
        document["unproven"] = dict(record.unproven)
    return json.dumps(document, sort_keys=True, indent=1)


def _document(proven: Proven) -> dict[str, Any]:
    return {
        "version": proven.version,
        "lastStableVersion": proven.last_stable_version,
        "since": proven.since.isoformat() if proven.since is not None else None,
        "base": dict(proven.base),
    }


def _proven(document: Mapping[str, Any]) -> Proven:
    since = document["since"]
    return Proven(
        version=str(document["version"]),
        last_stable_version=str(document["lastStableVersion"]),
        since=datetime.fromisoformat(since) if since else None,
        base=dict(document["base"]),
    )


def _without(runs: Mapping[str, str], version: str) -> dict[str, str]:
    return {known: run for known, run in runs.items() if known != version}
