"""What must be there before the operator can work: our kinds, and our rights. Asked at the start, and said in one line."""

from __future__ import annotations

import asyncio
from collections.abc import Collection, Iterable
from dataclasses import dataclass
from typing import Protocol

from tenantwave.api.kinds import (
    CONFIG_MAP,
    EVENT,
    GROUP,
    LEASE,
    NAMESPACE,
    OWN_KINDS,
    ROLLOUT_POLICY,
    SECRET,
    TENANT_DECISION,
    TENANT_PROFILE,
    TENANT_RUN,
    TENANT_UPGRADE,
    UPGRADE_ACTION,
    VERSION,
    Kind,
)

REVIEWS_AT_ONCE = 8


@dataclass(frozen=True, slots=True)
class Right:
    """One thing that we must be allowed to do. `namespace` empty: everywhere."""

    verb: str
    kind: Kind
    namespace: str = ""
    subresource: str = ""

    def __str__(self) -> str:
        resource = f"{self.kind.plural}/{self.subresource}" if self.subresource else self.kind.plural
        group = f".{self.kind.group}" if self.kind.group else ""
        place = f" in {self.namespace}" if self.namespace else ""
        return f"{self.verb} {resource}{group}{place}"


class Reviewer(Protocol):
    """Whom we ask: the client."""

    async def served(self, group: str, version: str) -> frozenset[str]:
        """Return the plurals that the API server serves in this group and version; none if it does not know the group."""

    async def may(self, verb: str, kind: Kind, namespace: str = "", *, subresource: str = "") -> bool:
        """Tell whether we have this right."""


def needed(namespace: str, watched: Iterable[tuple[Kind, str]]) -> tuple[Right, ...]:
    """Return every right without which nothing works: reading what we watch (kind, namespace), and writing our own objects.

    The rights inside a tenant are not among them: with `rbac.tenantAccess: RoleBindings` they differ from tenant to tenant, and a missing
    one is a problem of that tenant.
    """
    reads = [Right(verb, kind, place) for kind, place in watched for verb in ("list", "watch")]
    ours = [Right(verb, kind) for kind in OWN_KINDS if kind != TENANT_RUN for verb in ("list", "watch")]
    statuses = [
        *(Right("update", kind, subresource="status") for kind in (TENANT_UPGRADE, TENANT_PROFILE)),
        *(Right("patch", kind, subresource="status") for kind in (ROLLOUT_POLICY, TENANT_DECISION, UPGRADE_ACTION)),
        Right("update", TENANT_RUN, namespace, subresource="status"),
    ]
    stored = [
        Right(verb, kind, namespace)
        for kind, verbs in (
            (TENANT_RUN, ("get", "list", "watch", "create", "update", "patch", "delete")),
            (LEASE, ("get", "create", "update")),
            (CONFIG_MAP, ("get", "list", "watch", "create", "update", "patch", "delete")),
            (SECRET, ("get", "list", "create", "patch", "delete")),
        )
        for verb in verbs
    ]
    others = [Right("list", NAMESPACE), Right("watch", NAMESPACE), Right("patch", TENANT_UPGRADE), Right("create", TENANT_PROFILE)]
    return tuple(dict.fromkeys([*reads, *ours, *statuses, *stored, *others, Right("create", EVENT)]))


async def missing_rights(reviewer: Reviewer, rights: Collection[Right]) -> tuple[Right, ...]:
    """Return those that we do not have. Raises Unavailable."""
    gate = asyncio.Semaphore(REVIEWS_AT_ONCE)

    async def has(right: Right) -> bool:
        async with gate:
            return await reviewer.may(right.verb, right.kind, right.namespace, subresource=right.subresource)

    answers = await asyncio.gather(*(has(right) for right in rights))
    return tuple(right for right, is_there in zip(rights, answers, strict=True) if not is_there)


async def missing_kinds(reviewer: Reviewer) -> tuple[Kind, ...]:
    """Return those of our kinds that the API server does not serve. Raises Unavailable."""
    served = await reviewer.served(GROUP, VERSION)
    return tuple(kind for kind in OWN_KINDS if kind.plural not in served)
