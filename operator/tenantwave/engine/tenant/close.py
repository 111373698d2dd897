"""The end of a tenant's turn: markers off, record and base pointer moved, lock released, and only then the TenantRun says so."""

from __future__ import annotations

from tenantwave.api.conditions import FailReason, RunReason
from tenantwave.api.kinds import CONFIG_MAP
from tenantwave.api.tenant_run import TenantState
from tenantwave.core import blobs, tenant_run
from tenantwave.core.preservation import ConfigMapContent, field_values, touched_fields
from tenantwave.engine.tenant.configuration import Source, base_after, catalogue_of, merged, pristine_of_release
from tenantwave.engine.tenant.documents import ConfigDocument
from tenantwave.engine.tenant.failure import Failed
from tenantwave.engine.tenant.hooks import let_job_go
from tenantwave.engine.tenant.intents import UNCHANGED, Unchanged
from tenantwave.engine.tenant.jobs import JobDocument
from tenantwave.engine.tenant.listing import show_set_back, show_stayed, show_write
from tenantwave.engine.tenant.secrets import compare
from tenantwave.engine.tenant.versions import remove_old_versions, who_needs
from tenantwave.engine.tenant.work import Work
from tenantwave.faults import SnapshotCorrupt

VALUES = ("/data/", "/binaryData/")
_NAMESPACE_GONE = frozenset({FailReason.DELETED.value, FailReason.RECREATED.value})


async def finalise(work: Work) -> None:
    """End an upgrade that is proven: deferred deletions, markers off, record, lock, and Succeeded."""
    await work.check_namespace()
    if not await work.lock.is_ours():
        await work.lock.take(work.is_marked)
    await work.fence()
    await _delete_dropped(work)
    await _tell_what_was_set_back(work)
    await compare(work)
    await work.handle.save()
    await remove_old_versions(work)
    await _unmark(work)
    await _record(work, is_stable=True)
    await work.lock.release()
    text = f"runs {work.version} since {work.now():%Y-%m-%dT%H:%M:%SZ}"
    await work.end(work.step.outcome or tenant_run.succeeded(work.status, RunReason.UPGRADED, text, work.now()))


async def end_with_outcome(work: Work) -> None:
    """End without taking back: what stands, stands. The record moves if the outcome is Succeeded."""
    outcome = work.step.outcome
    if outcome is None:
        raise ValueError(f"LET_GO of {work.namespace} needs an outcome")
    has_tenant = work.status.state not in tenant_run.NOT_STARTED or work.status.written
    if has_tenant:
        await work.lock.look()
        await work.fence()
    if outcome.state is TenantState.SUCCEEDED:
        await _record(work, is_stable=False, adopting=outcome.reason == RunReason.ALREADY_AT_RELEASE)
    if outcome.reason == RunReason.ORPHANED and work.status.written:
        await _record_unproven(work)  # before the TenantRun says so: whoever selects the tenant next is to judge it
    waits_with_writes = work.status.written and outcome.state in tenant_run.NOT_STARTED
    if outcome.reason in _NAMESPACE_GONE and outcome.state is TenantState.ORPHANED:
        await work.lock.release()  # what is there now under that name is none of ours, whatever it carries
    elif has_tenant and not waits_with_writes:
        await let_go(work)  # what still has unproven writes of ours stays locked: no other run may build on them
    await work.end(outcome)


async def let_go(work: Work) -> None:
    """Take the markers off and give the lock back."""
    await _unmark(work)
    await work.lock.release()


async def _unmark(work: Work) -> None:
    for ref in work.ledger.touched():
        document = await work.named(ref)  # also where what was saved is lost: AcceptLive is the way out of that
        if isinstance(document, JobDocument):
            await let_job_go(work, document)
        else:
            await work.ledger.unmark(document)


async def _record(work: Work, *, is_stable: bool, adopting: bool = False) -> None:
    """Write down what the tenant runs, whether gates and soak have proven it, and the pristine content that the next merge starts from."""
    record, stored = await work.records.read(work.product, work.namespace_uid)
    if adopting and record.now.version == work.version:
        return  # nothing was looked at: what the last run left counts, also where it has passed a target over
    is_found = adopting or work.status.plan is None
    base = pristine_of_release(work) if is_found else base_after(work, record.now.version, record.now.base)
    moved = record.moved(work.version, base, work.handle.uid, work.now(), is_stable=is_stable)
    await work.records.write(work.product, work.namespace, work.namespace_uid, moved, stored)


async def _record_unproven(work: Work) -> None:
    """Write down that what this run brought has not been proven: the upgrade may be made again, or another one ask for the same version."""
    record, stored = await work.records.read(work.product, work.namespace_uid)
    left = record.left_unproven(work.status.to_version or work.version, work.status.run)
    await work.records.write(work.product, work.namespace, work.namespace_uid, left, stored)


async def _tell_what_was_set_back(work: Work) -> None:
    """List the values of ours that have become again what they were. Cost: a read of each ConfigMap that was written."""
    for ref in work.ledger.touched():
        standing = work.ledger.standing(ref) if ref.kind == CONFIG_MAP.name else ()
        if not standing:
            continue
        document = work.config(ref.name)
        try:
            before = await work.ledger.part(document, standing[0].before)
            after = await work.ledger.part(document, standing[-1].after)
        except SnapshotCorrupt:
            continue  # what is proven is proven; what cannot be compared is not told
        live = document.read(await work.ledger.get(document))
        was, found = field_values(before), field_values(live)
        ours = (field for field in touched_fields(before, after) if field.startswith(VALUES))
        fields = [field for field in ours if found.get(field) == was.get(field)]
        if fields:
            show_set_back(work, document.subject.config_map, fields)


async def _delete_dropped(work: Work) -> None:
    """Delete the ConfigMaps that the release dropped. One that the tenant has edited meanwhile stays, and one that a workload needs:

    its pods would not start again without, after the last gate has looked. A release changes no reference in a pod template.
    """
    if work.status.plan is None:
        return
    dropped = [one for one in work.status.plan.objects if one.kind == "ConfigMap" and one.action == "Delete"]
    if not dropped:
        return
    catalogue = catalogue_of(work)
    for planned in dropped:
        document, source = work.config(planned.name), catalogue[planned.target or planned.name]

        async def wanted(
            raw: object,
            live: ConfigMapContent | None,
            document: ConfigDocument = document,
            source: Source = source,
        ) -> ConfigMapContent | Unchanged | None:
            result = await merged(work, document, source, live)
            if live is not None and (user := await who_needs(work, document.name)):
                show_stayed(work, document.subject.config_map, f"{user} needs it")
                return UNCHANGED
            if result.content is None and not result.conflicts:
                saved = blobs.digest_of(document.pack(live)) if live is not None else ""
                show_write(work, document.subject.config_map, result, saved=saved, new=source.new)
                return None
            if live is not None:
                show_stayed(work, document.subject.config_map, "edited by the tenant since")
            return UNCHANGED

        try:
            await work.ledger.write(document, wanted, component=planned.component)
        except Failed:
            continue
