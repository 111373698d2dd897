"""The plan of a run: who goes in which wave. It is made once, before anything starts, and fixed for the run."""

from __future__ import annotations

from tenantwave.api.conditions import ReadyReason, RunReason, SkipReason
from tenantwave.api.policy import Unmatched
from tenantwave.api.tenant_run import TenantRunStatus, TenantState
from tenantwave.core import blobs, tenant_run, versions, waves
from tenantwave.core.journal import CatalogueRef, PolicyRef, WaveProgress, WaveRecord
from tenantwave.core.passes.draft import Draft, planned_status, runs_version
from tenantwave.core.passes.problems import named
from tenantwave.core.passes.runs import spec_blob
from tenantwave.core.plan import Deed
from tenantwave.core.world import Tenant


def plan_run(draft: Draft) -> None:
    """Divide the tenants into waves, unless that is done or something is wrong. The result goes into the journal."""
    policy = draft.world.policy
    if draft.planned or draft.problem is not None or draft.superseded or policy is None or policy.spec is None:
        return
    selected = [tenant for tenant in draft.world.tenants.values() if tenant.selected and not tenant.terminating]
    if not selected:
        draft.stall(
            ReadyReason.NO_TENANTS, "no namespace matches spec.tenantSelector; label the tenants' namespaces, or correct the selector"
        )
        return
    release = draft.spec.release
    division = waves.divide(
        policy.spec.waves, (waves.Candidate(tenant.name, tenant.labels) for tenant in selected), f"{release.product}/{release.version}"
    )
    records = _records(draft, division)
    if division.unmatched and policy.spec.unmatched is Unmatched.FAIL:
        draft.stall(
            ReadyReason.UNMATCHED_TENANTS,
            f"no wave takes {named(list(division.unmatched))}; add a last wave without selector, or set unmatched: LastWave or Skip in "
            f"RolloutPolicy {policy.name}",
        )
        return
    if division.unmatched and policy.spec.unmatched is Unmatched.LAST_WAVE:
        records[-1] = records[-1].model_copy(update={"tenants": records[-1].tenants + division.unmatched})
    if not records[0].tenants and any(_needs_upgrade(draft, tenant) for tenant in selected):
        draft.stall(
            ReadyReason.EMPTY_FIRST_WAVE,
            f"the first wave, {records[0].name}, takes nobody while {len(selected)} tenants wait; label at least one canary tenant, or correct "
            f"the wave in RolloutPolicy {policy.name}",
        )
        return
    draft.set_run(
        planned_time=draft.now,
        waves=tuple(records),
        plan_digest=waves.plan_digest(draft.run.id, ((record.name, record.tenants) for record in records)),
        spec=blobs.digest_of(spec_blob(draft.spec)),
        policy=PolicyRef(name=policy.name, generation=policy.generation, digest=policy.digest),
        catalogue=tuple(
            CatalogueRef(version=entry.version, target=entry.target, digest=entry.digest, removed=entry.removed)
            for entry in draft.world.catalogue.entries
        ),
    )
    draft.save_plan = True
    draft.note(
        "UpgradePlanned",
        f"{len(selected)} tenants in {len(records)} waves: " + ", ".join(f"{record.name} {len(record.tenants)}" for record in records),
    )


def _records(draft: Draft, division: waves.Division) -> list[WaveRecord]:
    """Return the waves of the division. Waves that passed in an earlier attempt stay passed; who would join one now joins the last wave."""
    passed = {wave.name: wave for wave in draft.run.waves if wave.progress is WaveProgress.PASSED}
    settled = {tenant for wave in passed.values() for tenant in wave.tenants}
    late = [placement.tenant for name, taken in division.waves if name in passed for placement in taken if placement.tenant not in settled]
    records = [
        passed.get(name) or WaveRecord(name=name, tenants=tuple(placement.tenant for placement in taken if placement.tenant not in settled))
        for name, taken in division.waves
    ]
    if late:
        last = records[-1]
        records[-1] = last.model_copy(
            update={"tenants": last.tenants + tuple(late), "progress": WaveProgress.QUEUED, "completion_time": None}
        )
    return records


def ensure_runs(draft: Draft) -> None:
    """Give every planned tenant its TenantRun, and every tenant that is passed over the reason why.

    Repeated until all exist: a crash between journal and TenantRuns loses nobody, for the journal names them all.
    """
    if not draft.planned or draft.superseded or draft.deleted:
        return
    for wave in draft.run.waves:
        for name in wave.tenants:
            _ensure(draft, name, wave.name)
    placed = {name for wave in draft.run.waves for name in wave.tenants}
    for tenant in draft.world.tenants.values():
        if (
            tenant.selected
            and tenant.name not in placed
            and _lacks_run(draft, tenant.name)
            and _skips_unmatched(draft)
            and _was_planned(draft, tenant)
        ):
            status = planned_status(draft, tenant.name, "", "no wave takes it", None)
            draft.set_status(
                tenant.name, tenant_run.to(status, TenantState.SKIPPED, SkipReason.UNMATCHED, "no wave takes this tenant", draft.now)
            )
    _skip_unselected(draft)


def _ensure(draft: Draft, name: str, wave: str) -> None:
    tenant = draft.world.tenants.get(name)
    if tenant is None or not _lacks_run(draft, name):
        return
    previous = draft.status(name)
    if (
        previous is not None
        and previous.written
        and previous.state not in (TenantState.ROLLED_BACK, TenantState.SUCCEEDED, TenantState.ORPHANED)
    ):
        status = planned_status(draft, name, wave, _why(draft, tenant, wave), previous)
    else:
        status = planned_status(draft, name, wave, _why(draft, tenant, wave), None)
    refused = _passed_over(draft, tenant, status)
    if refused is not None:
        status = tenant_run.to(status, TenantState.SKIPPED, refused[0], refused[1], draft.now, completion_time=draft.now)
    draft.set_status(name, status)


def _why(draft: Draft, tenant: Tenant, wave: str) -> str:
    effective = draft.effective_waves.get(wave)
    if effective is None:
        return ""
    if effective.selector is not None:
        return f"its labels match wave {wave}" if effective.selector.matches(tenant.labels) else f"joins wave {wave} as the last one"
    if effective.size is not None:
        return f"wave {wave} takes {effective.size} of the tenants left"
    if effective.coverage is not None:
        return f"wave {wave} covers its combination of {effective.coverage.label_prefix} labels with it"
    return f"wave {wave} takes everybody who is left"


def _passed_over(draft: Draft, tenant: Tenant, status: TenantRunStatus) -> tuple[SkipReason, str] | None:
    release = draft.spec.release
    version = runs_version(draft, tenant)
    if status.written or is_at_release(draft, tenant):
        return None
    if not versions.may_upgrade_from(version, release.version, release.from_versions):
        asked = f"fromVersions {release.from_versions}" if release.from_versions else f"versions up to {release.version}"
        return (
            SkipReason.INCOMPATIBLE_VERSION,
            f"runs {release.product} {version}, which is not within {asked}; upgrade it in steps, or widen release.fromVersions",
        )
    return None


def _skip_unselected(draft: Draft) -> None:
    for tenant, status in list(draft.current()):
        if not tenant.selected and status.state in tenant_run.NOT_STARTED and not status.written:
            draft.move(
                tenant.name,
                TenantState.SKIPPED,
                SkipReason.UNSELECTED,
                "its namespace no longer matches spec.tenantSelector",
                completion_time=draft.now,
            )


def record_already_there(draft: Draft) -> None:
    """Record tenants whose components already have every value of the release. This needs no wave, window, notice, soak or gate."""
    if not draft.planned or draft.superseded or draft.deleted:
        return
    for tenant, status in list(draft.current()):
        if (
            status.state in tenant_run.NOT_STARTED
            and not status.written
            and not any(claim.holds for claim in tenant.claims)
            and is_at_release(draft, tenant)
        ):
            message = f"already runs {draft.spec.release.product} {draft.spec.release.version}; nothing was written"
            draft.do(tenant.name, Deed.LET_GO, tenant_run.succeeded(status, RunReason.ALREADY_AT_RELEASE, message, draft.now))


def is_at_release(draft: Draft, tenant: Tenant) -> bool:
    """Tell whether every component of the tenant has every value of the release; a component that is absent must be optional."""
    optional = {component.name for component in draft.spec.components if component.optional}
    present = [view for view in tenant.components if view.present]
    return bool(present) and all(view.at_release if view.present else view.name in optional for view in tenant.components)


def _needs_upgrade(draft: Draft, tenant: Tenant) -> bool:
    return not is_at_release(draft, tenant)


def _lacks_run(draft: Draft, name: str) -> bool:
    status = draft.status(name)
    return status is None or status.run != draft.run.id


def _skips_unmatched(draft: Draft) -> bool:
    return draft.policy is not None and draft.policy.unmatched is Unmatched.SKIP


def _was_planned(draft: Draft, tenant: Tenant) -> bool:
    """Tell whether the tenant was there when the run was planned: one that came later joins with the next run."""
    return tenant.run is not None or draft.run.planned_time == draft.now
