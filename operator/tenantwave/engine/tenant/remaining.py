"""What a rollback has still to take back, for people: where, what stands there, and what is to stand there."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from tenantwave.api.run_records import MAX_DIFFERENCES, Difference
from tenantwave.core import blobs
from tenantwave.core.preservation import field_values
from tenantwave.engine.tenant.documents import AnyDocument, ConfigDocument, WorkloadDocument
from tenantwave.engine.tenant.failure import Failed
from tenantwave.engine.tenant.merging import aside
from tenantwave.engine.tenant.work import Work
from tenantwave.faults import SnapshotCorrupt


async def remaining(work: Work) -> tuple[Difference, ...]:
    """Return the places of ConfigMaps and workloads that are not at their goal, later edits apart. Digests alone; of Secrets nothing."""
    found: list[Difference] = []
    for ref in work.ledger.touched():
        document = await work.written(ref)
        if isinstance(document, ConfigDocument | WorkloadDocument) and work.ledger.standing(ref):
            found += await _of(work, document)
    return tuple(found[:MAX_DIFFERENCES])


async def _of(work: Work, document: AnyDocument) -> list[Difference]:
    last, live = work.ledger.standing(document.ref)[-1], document.read(await work.ledger.get(document))
    try:
        after, goal = await work.ledger.part(document, last.after), await work.ledger.goal(document, last)
    except SnapshotCorrupt:
        return [Difference(kind=document.kind.name, name=document.ref.name)]
    try:
        aim = await aside(document.back, after, live, goal)
    except Failed:  # a person decides: what they see is all that is not as it was
        aim = goal
    stands, wanted = _values(live), _values(aim)
    return [
        Difference(
            kind=document.kind.name,
            name=document.ref.name,
            path=path[:512],
            live=_digest(stands.get(path)),
            goal=_digest(wanted.get(path)),
        )
        for path in document.fields(live, aim)
    ]


def _values(part: Any) -> Mapping[str, Any]:
    return part if isinstance(part, Mapping) else field_values(part)


def _digest(value: Any) -> str:
    return blobs.digest_of(blobs.canonical(value)) if value not in (None, "") else ""
