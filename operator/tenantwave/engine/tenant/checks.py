"""What stands against a plan: owners, conflicts, sizes, and what the API server says when it is asked."""

from __future__ import annotations

from collections.abc import Sequence

from tenantwave.api.conditions import FailReason
from tenantwave.api.kinds import JOB
from tenantwave.api.run_records import MAX_HOOK_RECORDS
from tenantwave.api.tenant_run import Intent
from tenantwave.api.upgrade import SecretHandling
from tenantwave.core import blobs, preservation
from tenantwave.core.intents import why_no_room, why_too_many
from tenantwave.core.ownership import managers_of, owner_of
from tenantwave.core.preservation import ConflictKind, why_too_large
from tenantwave.engine.tenant.drafting import CREATE, KEEP, UPDATE, Draft, PlannedWorkload
from tenantwave.engine.tenant.failure import Failed, ImmutableChange, lasting
from tenantwave.engine.tenant.hooks import ask_for_hooks, forward_jobs, probes_of
from tenantwave.engine.tenant.listing import show_conflicts
from tenantwave.engine.tenant.work import Work
from tenantwave.faults import AlreadyExists, Fault
from tenantwave.ports import Body


def check(work: Work, draft: Draft) -> None:
    """Raise Failed for the first thing that stands against the plan; conflicts are staged for the status, all of them."""
    for one in draft.configs:
        metadata = (one.raw or {}).get("metadata") or {}
        if metadata.get("deletionTimestamp"):
            holders = ", ".join(metadata.get("finalizers") or ())
            text = f"ConfigMap {one.document.name} is being deleted ({holders}); let that end, and create it again if the tenant still needs it"
            raise Failed(FailReason.PREFLIGHT_FAILED, text)
    for one in draft.configs:
        if one.raw is None or one.action == KEEP or one.version is not None:
            continue
        fields = one.document.fields(one.document.read(one.raw), one.result.content)
        managers = {manager for field in fields for manager in managers_of(one.raw, field)}
        if owner := owner_of(one.raw, managers):
            text = f"{owner} overwrites ConfigMap {one.document.name}: delegate its keys, or move the edits to that tool's own object"
            raise Failed(FailReason.OWNERSHIP_CONFLICT, text)
    for planned in draft.workloads:
        if owner := owner_of(planned.raw, _managers(planned)):
            text = f"{owner} owns what is to change in {planned.document.kind.name} {planned.document.name}: use that tool's driver, or delegate it"
            raise Failed(FailReason.OWNERSHIP_CONFLICT, text)
    conflicts = [conflict for one in draft.configs for conflict in one.result.conflicts]
    problems = [ImmutableChange(one.target, one.problem) for one in draft.configs if one.problem]
    show_conflicts(work, conflicts, problems)
    if conflicts:
        unknown = all(conflict.kind is ConflictKind.UNKNOWN_BASE for conflict in conflicts)
        count = len(conflicts) + len(problems)
        more = f" (and {count - 1} more)" if count > 1 else ""
        reason = FailReason.UNKNOWN_BASE if unknown else FailReason.CONFIG_CONFLICT
        raise Failed(reason, f"{conflicts[0].message}{more}; {conflicts[0].mend}")
    if problems:
        raise problems[0]
    for one in draft.configs:
        if one.result.content is not None:
            annotations = ((one.raw or {}).get("metadata") or {}).get("annotations")
            if problem := why_too_large(one.written.name, one.result.content, annotations):
                raise Failed(FailReason.PREFLIGHT_FAILED, problem)


def _managers(planned: PlannedWorkload) -> set[str]:
    """Return who manages the fields of a workload that are to change."""
    driver, names = planned.document.driver, planned.document.names
    changed = planned.document.fields(planned.before, planned.after)
    referred = frozenset(name for path in changed for name in names.get(path, ()))
    return {*driver.managers(planned.raw, [*changed, *driver.reference_places(planned.raw, referred)])}


def check_room(work: Work, draft: Draft, intents: Sequence[Intent]) -> None:
    """Raise Failed (PreflightFailed) if what the run saves of this tenant may not fit any more, or what it writes into the journal may not.

    An object is saved as it was, and of ConfigMaps what they held and are to hold; compressed it takes about as much as the plain object.
    Args: intents: what the journal holds already.
    """
    probes = [probe for one in draft.workloads for probe in probes_of(work, one.component, [one.raw])]
    jobs = {job.job for job in forward_jobs(work, probes)}
    new_jobs = jobs - {one.target.name for one in intents if one.target.kind == JOB.name}
    seen = {(kind.name, name) for kind, name, _, _ in draft.present()} | draft.to_write()
    secrets = draft.secrets if work.spec.preservation.secrets is SecretHandling.SNAPSHOT else ()
    problem = (
        work.ports.snapshots.why_no_room(sum(len(blobs.canonical(raw)) for _, _, raw, _ in draft.present()))
        or why_too_many(len(seen) + len(jobs))
        or _why_too_many_hooks(len(work.spec.hooks), len(probes))
        or why_no_room(intents, draft.to_write(), len(new_jobs), len(secrets))
    )
    if problem:
        raise Failed(FailReason.PREFLIGHT_FAILED, problem)


def _why_too_many_hooks(hook_count: int, probe_count: int) -> str | None:
    """Say why the TenantRun has no room for a record of each hook, those of the way back too, and of each probe; None where it has."""
    if hook_count + probe_count <= MAX_HOOK_RECORDS:
        return None
    return (
        f"{hook_count} hooks and {probe_count} CronJobs with `probe` in one tenant, at most {MAX_HOOK_RECORDS} together can be recorded; "
        "use fewer hooks, or `probe` for fewer CronJobs"
    )


def refuse_immutable(
    name: str, raw: Body | None, before: preservation.ConfigMapContent | None, after: preservation.ConfigMapContent | None
) -> None:
    """Raise Failed (ConfigConflict, an ImmutableChange) if the write would change an immutable ConfigMap under its own name.

    It is never deleted and made again: kubelets keep the old one cached.
    """
    if raw is None or before is None or after is None or not raw.get("immutable"):
        return
    if not preservation.same_configuration(before, after) or not after.immutable:
        text = (
            f"{name} is immutable and {'its values change' if after.immutable else 'the release makes it mutable'}; make it mutable by hand"
        )
        raise ImmutableChange(name, f"{text} (delete it and create it again without `immutable`)")


async def ask_the_server(draft: Draft, work: Work) -> None:
    """Have the API server judge every planned write, all Jobs of hooks, and the PUT of what is there: a newer policy might refuse the way back."""
    await _ask_for_writes(draft, work)
    await ask_for_hooks(work, [probe for one in draft.workloads for probe in probes_of(work, one.component, [one.raw])])


async def _ask_for_writes(draft: Draft, work: Work) -> None:
    """Ask about each write with its marker, for a policy may be about annotations; whatever else writes there meanwhile is no matter here."""
    cluster, namespace, as_sent = work.ports.cluster, work.namespace, work.ledger.as_sent
    try:
        for kind, _, raw, is_written in draft.present():
            if is_written:
                metadata = {key: value for key, value in raw["metadata"].items() if key != "resourceVersion"}
                await cluster.replace(kind, raw | {"metadata": metadata}, dry_run=True)
        for one in draft.configs:
            after = one.result.content
            if one.action == CREATE and after is not None:
                await cluster.create(one.written.kind, as_sent(one.written.body(after, None)), dry_run=True)
            elif one.action == UPDATE and one.raw is not None and after is not None and (before := one.document.read(one.raw)) is not None:
                patch, _ = one.document.patch(one.raw, before, after)
                await cluster.merge_patch(one.document.kind, namespace, one.document.name, as_sent(patch), dry_run=True)
        for planned in draft.workloads:
            patch, strategic = planned.document.patch(planned.raw, planned.before, planned.after)
            if patch:
                send = cluster.strategic_patch if strategic else cluster.merge_patch
                await send(planned.document.kind, namespace, planned.document.name, as_sent(patch), dry_run=True)
    except AlreadyExists:
        raise
    except Fault as fault:
        meaning = lasting(fault, namespace)
        if isinstance(meaning, Failed):
            raise Failed(meaning.reason, f"dry-run: {meaning.message}") from fault
        raise meaning from fault
