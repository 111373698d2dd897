"""The tenant's Secrets in a run: recorded before the first write, compared at each end, and put back where they were deleted since.

They are never merged, and never written forwards. No value, and no plain digest of one, leaves this module but into a snapshot: what the API
server says of a Secret may repeat its content, so its sentences are not passed on either.
"""

from __future__ import annotations

from collections.abc import Awaitable, Iterable
from dataclasses import dataclass
from typing import Any, TypeVar

from tenantwave.api.conditions import FailReason
from tenantwave.api.kinds import CONFIG_MAP, SECRET, WORKLOAD_KINDS
from tenantwave.api.meta import ObjectRef
from tenantwave.api.run_records import MAX_SECRET_RECORDS, SecretRecord, SecretState
from tenantwave.api.tenant_run import Direction, IntentState, TenantState
from tenantwave.api.upgrade import SecretHandling
from tenantwave.core.secrets import SecretContent, kept_by, restored_body, state_of
from tenantwave.engine.tenant.failure import Failed
from tenantwave.engine.tenant.intents import UNCHANGED, Unchanged
from tenantwave.engine.tenant.seals import Seal
from tenantwave.engine.tenant.secret_document import SecretDocument, sealed, unsealed
from tenantwave.engine.tenant.work import Work
from tenantwave.faults import AlreadyExists, Fault, Forbidden, Invalid, NotFound, SnapshotCorrupt
from tenantwave.ports import Body

T = TypeVar("T")

READ, READ_WRITE = "Read", "ReadWrite"
"""What the chart's `rbac.tenantSecrets` must say."""

KNOWN_OWNERS = {kind.name: kind for kind in (*WORKLOAD_KINDS.values(), CONFIG_MAP, SECRET)}
"""Owners whose UID we can look up. One of another kind is left out of what is put back: a dead one would take the Secret along at once."""


@dataclass(frozen=True, slots=True)
class _Found:
    """One Secret that the tenant's workloads refer to, as it is now."""

    name: str
    raw: dict[str, Any]


def is_asked(work: Work) -> bool:
    """Tell whether the upgrade asks for anything to be done with Secrets."""
    return work.spec.preservation.secrets is not SecretHandling.IGNORE


async def record(work: Work, referred: Iterable[str]) -> None:
    """Stage a record of each Secret that is there, and save it where that is asked for. What stands from before an earlier write stays.

    Raises: Failed (PreflightFailed) where a right is missing, or there are more than a TenantRun can record.
    Cost: a read for each Secret; with `Snapshot` two dry-runs besides, and a write for each content that is not stored yet.
    """
    if not is_asked(work):
        return
    seal, found = await work.seals.seal(), await _live(work, referred)
    kept = {one.name: one for one in work.status.secrets} if work.status.written else {}
    records = [kept[one.name] if one.name in kept else await _recorded(work, seal, one) for one in found]
    records += [one for name, one in kept.items() if name not in {known.name for known in found}]
    work.handle.stage(secrets=tuple(sorted(records, key=lambda one: one.name)[:MAX_SECRET_RECORDS]))


async def check_rights(work: Work, referred: Iterable[str]) -> None:
    """Ask the API server whether the Secrets may be read and, of a tenant that is held, put back. Raises Failed (PreflightFailed)."""
    if is_asked(work):
        for one in await _live(work, referred):
            if work.status.state is TenantState.HELD:
                await _ask_to_restore(work, one)


async def compare(work: Work) -> None:
    """Stage how each recorded Secret stands now. What cannot be read is Unknown: it holds nobody up, for nothing depends on it."""
    if not work.status.secrets:
        return
    try:
        seal = await work.seals.seal()
    except Failed as failure:
        _stage(work, [_moved(work, one, SecretState.UNKNOWN, failure.message) for one in work.status.secrets])
        return
    _stage(work, [await _compared(work, seal, one) for one in work.status.secrets])


async def put_back(work: Work, *, is_forced: bool, is_last: bool) -> None:
    """Put back what was saved and deleted since; with `is_forced` also over a change. Secrets that somebody writes again by himself never.

    Only a run that has written in the tenant takes anything back. Each write goes through the journal. What is not put back is named.
    Raises: faults after which another look helps; with `is_last` also Failed and Forbidden, where it cannot be done for good: the API server
        refuses, or the saved copy of a missing Secret is lost. Before that it stops nothing: the workloads must go back all the same.
    """
    wrote = any(one.state in (IntentState.LANDED, IntentState.REVERTED) for one in work.status.intents)
    if not wrote:
        return
    for one in [one for one in work.status.secrets if one.snapshot]:
        try:
            if await _stands(work, one, is_forced):
                continue
            after = await _put_back(work, await work.seals.seal(), one, is_forced)
        except (Failed, Forbidden):
            if is_last:
                raise
            continue
        except SnapshotCorrupt as fault:
            if not is_last:
                continue
            lost = f"Secret {one.name} is to be put back, and its saved copy is lost ({fault.message})"
            raise Failed(FailReason.SNAPSHOT_CORRUPT, f"{lost}; make the Secret as it should be, then Resolve with Rollback") from fault
        _stage(work, [after if known.name == one.name else known for known in work.status.secrets])


async def _live(work: Work, referred: Iterable[str]) -> list[_Found]:
    names = sorted(set(referred))
    if len(names) > MAX_SECRET_RECORDS:
        text = f"the workloads refer to {len(names)} Secrets, and at most {MAX_SECRET_RECORDS} can be recorded"
        raise Failed(FailReason.PREFLIGHT_FAILED, f"{text}; set spec.preservation.secrets to Ignore")
    found = []
    for name in names:
        try:
            found.append(_Found(name, await work.ports.cluster.get(SECRET, work.namespace, name)))
        except NotFound:
            continue
        except Forbidden as fault:
            raise _no_right(work, READ, fault) from None
    return found


async def _recorded(work: Work, seal: Seal, one: _Found) -> SecretRecord:
    """Return the record of a Secret as it is now, saved where that is asked for."""
    document = SecretDocument(work.namespace, one.name, seal)
    keeper, snapshot = kept_by(one.raw), ""
    if work.spec.preservation.secrets is SecretHandling.SNAPSHOT and not keeper:
        await _ask_to_restore(work, one)
        snapshot = (await work.ports.snapshots.save(sealed(seal, one.raw))).digest
    return SecretRecord(
        name=one.name,
        digest=document.digest(document.read(one.raw) or SecretContent("", {})),
        key=seal.name,
        time=work.now(),
        snapshot=snapshot,
        note=f"{keeper} writes it, so it is never restored" if keeper else "",
    )


async def _ask_to_restore(work: Work, one: _Found) -> None:
    """Have the API server judge that this Secret is created again, and marked. Raises Failed (PreflightFailed) with the mend."""
    if work.spec.preservation.secrets is not SecretHandling.SNAPSHOT or kept_by(one.raw):
        return
    cluster, what = work.ports.cluster, f"dry-run of putting Secret {one.name} back"
    try:
        await _discreetly(cluster.merge_patch(SECRET, work.namespace, one.name, work.ledger.as_sent({}), dry_run=True), what)
        await _discreetly(cluster.create(SECRET, restored_body(one.raw, frozenset()), dry_run=True), what)
    except AlreadyExists:
        return
    except Forbidden as fault:
        if not (fault.quota or fault.terminating):  # there is room for it once more when it is gone
            raise _no_right(work, READ_WRITE, fault) from None
    except Invalid:
        raise Failed(FailReason.PREFLIGHT_FAILED, f"{what}: the API server refuses it; mend the policy that refuses, then Retry") from None
    except NotFound:
        return


def _no_right(work: Work, value: str, fault: Forbidden) -> Failed:
    mode = work.spec.preservation.secrets
    doing = "reads" if value == READ else "puts back"
    text = f"spec.preservation.secrets: {mode} {doing} Secrets, which the operator may not do in {work.namespace}"
    mend = f"install the chart with rbac.tenantSecrets={_needed(mode)}, or set preservation.secrets to Ignore, then Retry"
    policy = "; if it is so, a policy of the cluster refuses" if value == READ_WRITE else ""
    return Failed(FailReason.PREFLIGHT_FAILED, f"{text}: {mend}{policy}")


def _needed(mode: SecretHandling) -> str:
    return READ_WRITE if mode is SecretHandling.SNAPSHOT else READ


async def _compared(work: Work, seal: Seal, one: SecretRecord) -> SecretRecord:
    document = SecretDocument(work.namespace, one.name, seal)
    try:
        raw = await work.ledger.get(document)
    except Forbidden:
        return _moved(work, one, SecretState.UNKNOWN, f"the operator may no longer read it: rbac.tenantSecrets={READ} of the chart")
    part = document.read(raw)
    state = state_of(one.digest, one.key, None if part is None else document.digest(part), seal.name, one.state)
    if state is SecretState.UNKNOWN:
        return _moved(work, one, state, "the key of the digests was replaced since it was recorded, so they do not compare")
    return _moved(work, one, state, "" if one.state is SecretState.UNKNOWN else one.note)


async def _stands(work: Work, one: SecretRecord, is_forced: bool) -> bool:
    """Tell whether nothing is to be done with a Secret: it is there, nothing of ours is open on it, and no order goes over what it holds."""
    ref = ObjectRef(api_version=SECRET.api_version, kind=SECRET.name, namespace=work.namespace, name=one.name)
    if is_forced or work.ledger.of(ref):
        return False
    try:
        await work.ports.cluster.get(SECRET, work.namespace, one.name)
    except NotFound:
        return False
    return True


async def _put_back(work: Work, seal: Seal, one: SecretRecord, is_forced: bool) -> SecretRecord:
    """Return the record after the Secret was put back, or with the reason why it was not."""
    document = SecretDocument(work.namespace, one.name, seal)
    saved = unsealed(await work.ports.snapshots.load(one.snapshot))
    aim = document.read(saved)
    wrote, why_not = False, ""

    async def wanted(raw: dict[str, Any] | None, live: SecretContent | None) -> SecretContent | Unchanged | None:
        nonlocal wrote, why_not
        wrote, why_not = raw is None, ""
        if raw is None:
            return aim
        if live == aim or not is_forced:
            return UNCHANGED
        if why_not := _why_not_over(raw, saved):
            return UNCHANGED
        wrote = True
        return aim

    async def with_living_owners() -> Body:
        owners = await _living(work, saved)
        return saved | {"metadata": saved["metadata"] | {"ownerReferences": owners}}

    before = {intent.seq for intent in work.ledger.of(document.ref)}
    write = work.ledger.write(document, wanted, direction=Direction.ROLLBACK, saved=with_living_owners)
    await _discreetly(write, f"putting back Secret {one.name}")
    landed = any(intent.state is IntentState.REVERTED for intent in work.ledger.of(document.ref))
    if wrote or (landed and before):  # also what a process of before has put back
        return _moved(work, one, SecretState.RESTORED, "")
    return _moved(work, one, SecretState.CHANGED, why_not) if why_not else one


def _why_not_over(raw: Body, saved: Body) -> str:
    """Return why ForcePreImage leaves a changed Secret as it is, or ''."""
    if keeper := kept_by(raw):
        return f"{keeper} writes it now, so it was not put back"
    if raw.get("immutable"):
        return "it is immutable now, so it was not put back; delete it, then Resolve with ForcePreImage"
    if (raw.get("type") or "Opaque") != (saved.get("type") or "Opaque"):
        return "it has another type now, so it was not put back; delete it, then Resolve with ForcePreImage"
    return ""


async def _living(work: Work, saved: Body) -> list[dict[str, Any]]:
    """Return those ownerReferences of a saved object whose owner is still there."""
    owners = []
    for owner in saved["metadata"].get("ownerReferences") or ():
        kind = KNOWN_OWNERS.get(str(owner.get("kind")))
        if kind is None or kind.api_version != owner.get("apiVersion"):
            continue
        try:
            live = await work.ports.cluster.get(kind, work.namespace, str(owner.get("name")))
        except (NotFound, Forbidden):
            continue
        if live["metadata"].get("uid") == owner.get("uid"):
            owners.append(owner)
    return owners


async def _discreetly(write: Awaitable[T], what: str) -> T:
    """Carry out a write of a Secret. What the API server says of it may repeat its content, so nobody hears the words."""
    try:
        return await write
    except Failed as failure:
        if failure.__cause__ is None:
            raise  # a sentence of ours: it names keys at most
        raise Failed(failure.reason, f"{what} was refused; look at the Secret and at the policies of the cluster, then Resolve") from None
    except Fault as fault:
        said = type(fault).__name__
        fault.message = f"{what} did not come through ({said})"
        fault.args = (fault.message,)
        fault.__cause__ = None
        raise


def _moved(work: Work, one: SecretRecord, state: SecretState, note: str) -> SecretRecord:
    """Return the record with what it is now; its time moves only with the state."""
    time = one.time if state is one.state else work.now()
    return one.model_copy(update={"state": state, "note": note[:256], "time": time})


def _stage(work: Work, records: Iterable[SecretRecord]) -> None:
    work.handle.stage(secrets=tuple(records))
