"""A Secret of the tenant as the write protocol sees it. It is written in a rollback alone, and only to put back what was saved."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from tenantwave.api.conditions import FailReason
from tenantwave.api.kinds import SECRET, Kind
from tenantwave.api.meta import ObjectRef
from tenantwave.core import blobs
from tenantwave.core.ownership import escaped
from tenantwave.core.secrets import SecretContent, restored_body, secret_content
from tenantwave.engine.tenant.failure import Failed
from tenantwave.engine.tenant.seals import Seal
from tenantwave.ports import Body


@dataclass(frozen=True, slots=True)
class SecretDocument:
    """Type and values of one Secret. All that is stored of it is sealed, so that its name, a plain digest, tells nobody the content."""

    tenant: str
    name: str
    seal: Seal

    @property
    def kind(self) -> Kind:
        """Which kind of object it is."""
        return SECRET

    @property
    def ref(self) -> ObjectRef:
        """Its name in the journal."""
        return ObjectRef(api_version="v1", kind="Secret", namespace=self.tenant, name=self.name)

    def digest(self, part: SecretContent) -> str:
        """Return the keyed digest of type and values, of this very Secret: equal passwords of two tenants do not show."""
        return self.seal.digest(blobs.canonical({"name": self.name, "namespace": self.tenant} | part.document()))

    def read(self, raw: Body | None) -> SecretContent | None:
        """Return type and values."""
        return None if raw is None else secret_content(raw)

    def pack(self, part: SecretContent | None) -> bytes:
        """Return the content as a blob, sealed."""
        return blobs.ABSENT if part is None else sealed(self.seal, part.document())

    def unpack(self, blob: bytes) -> SecretContent | None:
        """Return the content in a blob."""
        return None if blob == blobs.ABSENT else secret_content(unsealed(blob))

    def fields(self, before: SecretContent | None, after: SecretContent | None) -> tuple[str, ...]:
        """Return the keys whose value changes, as JSON Pointers. They name keys, never values."""
        old, new = (dict(part.data) if part is not None else {} for part in (before, after))
        return tuple(f"/data/{escaped(key)}" for key in sorted(old.keys() | new.keys()) if old.get(key) != new.get(key))

    def matching(self, part: SecretContent | None, after: SecretContent | None, fields: tuple[str, ...]) -> tuple[str, ...]:
        """Return those of `fields` in which both have the same value."""
        different = self.fields(part, after)
        return tuple(path for path in fields if path not in different)

    def patch(self, raw: Body, before: SecretContent, after: SecretContent) -> tuple[dict[str, Any], bool]:
        """Return a JSON merge patch of the changed keys alone."""
        keys = {key for key in {*before.data, *after.data} if before.data.get(key) != after.data.get(key)}
        return {"data": {key: after.data.get(key) for key in sorted(keys)}}, False

    def body(self, part: SecretContent, saved: Body | None) -> dict[str, Any]:
        """Return the Secret as it is created again; `saved` has been freed of owners that are gone."""
        if saved is None:
            raise Failed(FailReason.DELETED, f"Secret {self.name} is gone, and nothing of it was saved; create it again, then Resolve")
        owners = frozenset(str(owner.get("uid")) for owner in saved["metadata"].get("ownerReferences") or ())
        return restored_body(saved, owners) | part.document()

    def rebased(
        self, goal: SecretContent | None, previous_after: SecretContent | None, this_before: SecretContent | None
    ) -> SecretContent | None:
        """Return the goal: a Secret is never written forwards, so there is nothing to rebase."""
        return goal

    def back(self, after: SecretContent | None, live: SecretContent | None, goal: SecretContent | None) -> SecretContent | None:
        """Return what is there: what goes back is decided from the records, not from forward writes."""
        return live


def sealed(seal: Seal, value: Any) -> bytes:
    """Return a blob of what may not be guessed from the blob's digest: the seal in it depends on the content and on the key."""
    return blobs.canonical({"seal": seal.digest(blobs.canonical(value)), "value": value})


def unsealed(blob: bytes) -> dict[str, Any]:
    """Return what `sealed` was given."""
    value: dict[str, Any] = blobs.parsed(blob)["value"]
    return value
