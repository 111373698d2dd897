"""A Job of ours in the tenant, as the write protocol sees it: it is created once, never changed, and not taken back as an object."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from tenantwave.api.kinds import JOB, Kind
from tenantwave.api.meta import ObjectRef
from tenantwave.core import blobs
from tenantwave.ports import Body

AsCreated = Mapping[str, Any]
"""The whole Job as we ask for it. Of one that is there no part is ours to compare: defaults and controllers fill it in."""


@dataclass(frozen=True, slots=True)
class JobDocument:
    """One Job by name. It is there or it is not; what ran in it cannot be undone by a write to it."""

    tenant: str
    name: str

    @property
    def kind(self) -> Kind:
        """Which kind of object it is."""
        return JOB

    @property
    def ref(self) -> ObjectRef:
        """Its name in the journal."""
        return ObjectRef(api_version=JOB.api_version, kind=JOB.name, namespace=self.tenant, name=self.name)

    def read(self, raw: Body | None) -> AsCreated | None:
        """Return nothing but that it is there."""
        return None if raw is None else {}

    def pack(self, part: AsCreated | None) -> bytes:
        """Return the Job as a blob."""
        return blobs.ABSENT if part is None else blobs.canonical(part)

    def unpack(self, blob: bytes) -> AsCreated | None:
        """Return the Job in a blob."""
        return None if blob == blobs.ABSENT else blobs.parsed(blob)

    def fields(self, before: AsCreated | None, after: AsCreated | None) -> tuple[str, ...]:
        """Return no paths: nothing in a Job is set by a later write."""
        return ()

    def matching(self, part: AsCreated | None, after: AsCreated | None, fields: tuple[str, ...]) -> tuple[str, ...]:
        """Return no paths, as `fields` does."""
        return ()

    def patch(self, raw: Body, before: AsCreated, after: AsCreated) -> tuple[dict[str, Any], bool]:
        """Return no change: a Job that is there stays as it is."""
        return {}, False

    def body(self, part: AsCreated, saved: Body | None) -> dict[str, Any]:
        """Return the Job to create."""
        return dict(part)

    def rebased(self, goal: AsCreated | None, previous_after: AsCreated | None, this_before: AsCreated | None) -> AsCreated | None:
        """Return that it was not there before us."""
        return None

    def back(self, after: AsCreated | None, live: AsCreated | None, goal: AsCreated | None) -> AsCreated | None:
        """Return it as it is: it stays for its logs."""
        return live
