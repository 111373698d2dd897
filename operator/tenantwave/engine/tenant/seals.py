"""Keyed digests of Secrets: they tell whether two contents are equal, and nothing else, to whoever lacks the key.

The key is a Secret of our own namespace, made once. Whoever deletes it makes all digests of before incomparable: each names its key.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import secrets
from dataclasses import dataclass, field
from typing import Any

from tenantwave.api.conditions import FailReason
from tenantwave.api.kinds import ROLE_LABEL, SECRET
from tenantwave.engine.tenant.failure import Failed
from tenantwave.faults import AlreadyExists, NotFound
from tenantwave.ports import Body, Cluster

KEY_NAME = "tenantwave-digest-key"
KEY_BYTES = 32


@dataclass(frozen=True, slots=True)
class Seal:
    """A key that makes digests. The key itself never shows in a text."""

    _key: bytes = field(repr=False)

    @property
    def name(self) -> str:
        """Return which key this is: digests of another one do not compare."""
        return self._digest(b"name")[:8]

    def digest(self, blob: bytes) -> str:
        """Return `hmac-sha256:<hex>`."""
        return f"hmac-sha256:{self._digest(b'content:' + blob)}"

    def _digest(self, message: bytes) -> str:
        return hmac.new(self._key, message, hashlib.sha256).hexdigest()


class Seals:
    """Reads the key, and makes it where there is none."""

    def __init__(self, cluster: Cluster, namespace: str) -> None:
        self._cluster = cluster
        self._namespace = namespace
        self._seal: Seal | None = None

    async def seal(self) -> Seal:
        """Return the key that all operators share. Cost: a read, once in the life of the process.

        Raises: Failed (PreflightFailed) where somebody has damaged it, and faults of the API.
        """
        if self._seal is None:
            self._seal = _seal_in(await self._stored())
        return self._seal

    async def _stored(self) -> Body:
        try:
            return await self._cluster.get(SECRET, self._namespace, KEY_NAME)
        except NotFound:
            pass
        try:
            return await self._cluster.create(SECRET, self._fresh())
        except AlreadyExists:  # another operator was faster: its key counts
            return await self._cluster.get(SECRET, self._namespace, KEY_NAME)

    def _fresh(self) -> dict[str, Any]:
        return {
            "apiVersion": "v1",
            "kind": "Secret",
            "metadata": {"name": KEY_NAME, "namespace": self._namespace, "labels": {ROLE_LABEL: "digest-key"}},
            "type": "Opaque",
            "immutable": True,
            "data": {"key": base64.b64encode(secrets.token_bytes(KEY_BYTES)).decode()},
        }


def _seal_in(raw: Body) -> Seal:
    try:
        key = base64.b64decode((raw.get("data") or {})["key"], validate=True)
    except (KeyError, ValueError, binascii.Error):
        key = b""
    if len(key) < KEY_BYTES:
        text = f"Secret {KEY_NAME} in the operator's namespace holds no key; delete it, and a new one is made (what was recorded no longer compares)"
        raise Failed(FailReason.PREFLIGHT_FAILED, text)
    return Seal(key)
