"""The plan of a run: who goes in which wave. It is made once, before anything starts, and fixed for the run."""

from __future__ import annotations

from tenantwave.api.conditions import ReadyReason, RunReason, SkipReason, WaitReason
from tenantwave.api.kinds import INTENT_ANNOTATION
from tenantwave.api.policy import Unmatched
from tenantwave.api.tenant_run import TenantRunStatus, TenantState
from tenantwave.core import blobs, tenant_run, versions, waves
from tenantwave.core.journal import CatalogueRef, PolicyRef, WaveProgress, WaveRecord
from tenantwave.core.passes import repeats
from tenantwave.core.passes.draft import Draft, is_at_release, planned_status, runs_version
from tenantwave.core.passes.plan_warnings import plan_warnings
from tenantwave.core.passes.problems import named
from tenantwave.core.passes.runs import content_of, is_earlier_attempt, spec_blob
from tenantwave.core.passes.starts import left_unproven
from tenantwave.core.plan import Deed, Hold
from tenantwave.core.world import Tenant


def plan_run(draft: Draft) -> None:
    """Divide the tenants into waves, unless that is done or something is wrong. The result goes into the journal."""
    repeats.remember_predecessor(draft)
    policy = draft.world.policy
    if (
        draft.planned
        or draft.began
        or draft.deleted
        or draft.problem is not None
        or draft.superseded
        or policy is None
        or policy.spec is None
    ):
        return
    selected = [tenant for tenant in draft.world.tenants.values() if _belongs(draft, tenant)]
    if not selected:
        draft.stall(
            ReadyReason.NO_TENANTS, "no namespace matches spec.tenantSelector; label the tenants' namespaces, or correct the selector"
        )
        return
    release = draft.spec.release
    division = waves.divide(
        policy.spec.waves,
        (waves.Candidate(tenant.name, tenant.labels, _is_upgraded(draft, tenant)) for tenant in selected),
        f"{release.product}/{release.version}",
    )
    records = _records(draft, division)
    placed = {name for record in records for name in record.tenants}
    left = [draft.world.tenants[name] for name in division.unmatched if name not in placed]
    started = tuple(tenant.name for tenant in left if not tenant.selected)
    unmatched = tuple(tenant.name for tenant in left if tenant.selected)
    if unmatched and policy.spec.unmatched is Unmatched.FAIL:
        draft.stall(
            ReadyReason.UNMATCHED_TENANTS,
            f"no wave takes {named(list(unmatched))}; add a last wave without selector, or set unmatched: LastWave or Skip in "
            f"RolloutPolicy {policy.name}",
        )
        return
    joining = (unmatched if policy.spec.unmatched is Unmatched.LAST_WAVE else ()) + started
    if joining:
        records[-1] = _joined(records[-1], joining)
    waiting = [name for record in records[1:] for name in record.tenants if not is_at_release(draft, draft.world.tenants[name])]
    if not records[0].tenants and waiting:
        draft.stall(
            ReadyReason.EMPTY_FIRST_WAVE,
            f"the first wave, {records[0].name}, takes nobody while {len(waiting)} tenants wait; label at least one canary tenant, or correct "
            f"the wave in RolloutPolicy {policy.name}",
        )
        return
    found = plan_warnings(draft, policy.spec, records)
    draft.set_run(
        planned_time=draft.now,
        waves=tuple(records),
        plan_digest=waves.plan_digest(draft.run.id, ((record.name, record.tenants) for record in records)),
        spec=blobs.digest_of(spec_blob(draft.spec)),
        content=content_of(draft.spec, draft.world.catalogue),
        warnings=found,
        policy=PolicyRef(name=policy.name, generation=policy.generation, digest=policy.digest),
        catalogue=tuple(
            CatalogueRef(version=entry.version, target=entry.target, digest=entry.digest, removed=entry.removed)
            for entry in draft.world.catalogue.entries
        ),
    )
    draft.save_plan = True
    draft.note(
        "UpgradePlanned",
        f"{sum(len(record.tenants) for record in records)} tenants in {len(records)} waves: "
        + ", ".join(f"{record.name} {len(record.tenants)}" for record in records),
    )
    for warning in found:
        draft.note("PlanWarning", warning, warning=True)


def _records(draft: Draft, division: waves.Division) -> list[WaveRecord]:
    """Return the waves of the division. Waves that passed in an earlier attempt stay passed; who would join one now joins the last wave."""
    passed = {wave.name: wave for wave in draft.run.waves if wave.progress is WaveProgress.PASSED}
    settled = {tenant for wave in passed.values() for tenant in wave.tenants}
    late = [tenant for name, taken in division.waves if name in passed for tenant in taken if tenant not in settled]
    records = [
        passed.get(name) or WaveRecord(name=name, tenants=tuple(tenant for tenant in taken if tenant not in settled))
        for name, taken in division.waves
    ]
    if late:
        records[-1] = _joined(records[-1], tuple(late))
    return records


def _joined(wave: WaveRecord, tenants: tuple[str, ...]) -> WaveRecord:
    """Return a wave with tenants who join it. One that had passed begins again for their sake."""
    fresh = WaveRecord(name=wave.name) if wave.progress is WaveProgress.PASSED else wave
    return fresh.model_copy(update={"tenants": wave.tenants + tenants})


def _belongs(draft: Draft, tenant: Tenant) -> bool:
    """Tell whether the run has to do with the tenant: it is selected, or an earlier run wrote it and nobody has proven that yet."""
    status = draft.status(tenant.name)
    return tenant.exists and not tenant.terminating and (tenant.selected or (status is not None and tenant_run.is_unproven(status)))


def ensure_runs(draft: Draft) -> None:
    """Give every planned tenant its TenantRun, and every tenant that is passed over the reason why.

    Repeated until all exist: a crash between journal and TenantRuns loses nobody, for the journal names them all.
    """
    if not draft.planned or draft.superseded or draft.deleted or draft.run.order is not None or draft.run.completion_time is not None:
        return
    for wave in draft.run.waves:
        for place, name in enumerate(wave.tenants, 1):
            _ensure(draft, name, wave, place)
    placed = {name for wave in draft.run.waves for name in wave.tenants}
    for tenant in draft.world.tenants.values():
        if tenant.name not in placed:
            _pass_over(draft, tenant)


def _ensure(draft: Draft, name: str, wave: WaveRecord, place: int) -> None:
    tenant = draft.world.tenants.get(name)
    if tenant is None:
        return
    previous = draft.status(name)
    if previous is not None and not _lacks_run(draft, name):
        _keep_up(draft, tenant, previous)
        return
    if not _is_to_be_planned(draft, tenant):
        return
    status = planned_status(draft, name, wave.name, _why(draft, tenant, wave, place), previous)
    if previous is not None and _has_soaked_on_this(draft, previous):
        status = status.model_copy(update={"converged_time": previous.converged_time})
    refused = _passed_over(draft, tenant, status)
    if refused is not None:
        status = tenant_run.to(status, TenantState.SKIPPED, refused[0], refused[1], draft.now, completion_time=draft.now)
    else:
        status = repeats.placed(draft, tenant, status)
    draft.set_status(name, status)


def _keep_up(draft: Draft, tenant: Tenant, status: TenantRunStatus) -> None:
    """See that a tenant that has not begun is planned by what it runs now: another upgrade may have moved it, or taken it back, since.

    Else the merge would start from the wrong base, and a tenant that is ahead by now would be downgraded unasked.
    """
    if not _can_be_skipped(status) or not tenant.exists:
        return
    if (version := runs_version(draft, tenant)) != status.from_version:
        status = status.model_copy(update={"from_version": version})
        refused = _passed_over(draft, tenant, status)
        if refused is not None:
            status = tenant_run.to(status, TenantState.SKIPPED, refused[0], refused[1], draft.now, completion_time=draft.now)
        draft.set_status(tenant.name, status)
    repeats.hold_if_rolled_back_since(draft, tenant, status)


def _is_to_be_planned(draft: Draft, tenant: Tenant) -> bool:
    """Tell whether the tenant is ready for the run: not going back, nor waiting for a person, nor still with an upgrade of this name that is gone."""
    stored = tenant.run
    if stored is not None and stored.upgrade_uid != draft.world.upgrade.uid and tenant_run.has_tenant(stored.status):
        message = (
            f"run {stored.status.run} of an earlier {stored.upgrade} still has it; check what it left there, delete its TenantRun "
            f"{stored.name}, then take its annotation {INTENT_ANNOTATION} off the tenant's objects"
        )
        draft.hold(tenant.name, Hold(WaitReason.TENANT_BUSY, message))
        return False
    status = draft.status(tenant.name)
    if status is None or not tenant_run.must_be_settled(status):
        return True
    goes_forward = tenant_run.is_past_return(status) and draft.spec.release.version != status.from_version
    return status.state is TenantState.HELD and (is_earlier_attempt(draft, status) or goes_forward)


def _has_soaked_on_this(draft: Draft, previous: TenantRunStatus) -> bool:
    """Tell whether the tenant soaked in the run before, and that run wrote the same as this one: `converged_time` then stays as the sign."""
    run = draft.run
    same = bool(run.content) and run.content == run.previous_content and previous.run == run.previous_run
    return same and previous.state is TenantState.SOAKING


def _pass_over(draft: Draft, tenant: Tenant) -> None:
    """Say why a tenant that no wave has is passed over: it matches none, or belonged to an earlier run that never wrote it."""
    status = draft.status(tenant.name)
    if tenant.selected and _lacks_run(draft, tenant.name) and _skips_unmatched(draft) and _was_planned(draft, tenant):
        fresh = planned_status(draft, tenant.name, "", "no wave takes it", status)
        if _is_to_be_planned(draft, tenant):
            skipped = tenant_run.to(
                fresh, TenantState.SKIPPED, SkipReason.UNMATCHED, "no wave takes this tenant", draft.now, completion_time=draft.now
            )
            draft.set_status(tenant.name, skipped)
    elif not tenant.selected and status is not None and _can_be_skipped(status):
        _skip_unselected(draft, tenant)


def skip_unselected(draft: Draft) -> None:
    """Skip tenants that no longer match the selector, unless something has been written in them."""
    if not draft.planned or draft.superseded or draft.deleted or draft.run.completion_time is not None:
        return
    if draft.world.upgrade.spec is None:
        return  # a spec that cannot be read deselects nobody
    for tenant, status in list(draft.current()):
        if not tenant.selected and _can_be_skipped(status):
            _skip_unselected(draft, tenant)


def _can_be_skipped(status: TenantRunStatus) -> bool:
    return not status.written and (status.state in tenant_run.NOT_STARTED or status.state is TenantState.HELD)


def _skip_unselected(draft: Draft, tenant: Tenant) -> None:
    message = "its namespace no longer matches spec.tenantSelector" if tenant.exists else f"namespace {tenant.name} is gone"
    draft.move(tenant.name, TenantState.SKIPPED, SkipReason.UNSELECTED, message, completion_time=draft.now)


def _why(draft: Draft, tenant: Tenant, wave: WaveRecord, place: int) -> str:
    """Return why the tenant is in this wave. Told from the stored plan, so a crash between journal and TenantRuns changes no word of it."""
    asked = next((each for each in draft.policy.waves if each.name == wave.name), None) if draft.policy is not None else None
    if asked is None:
        return ""
    return waves.explain(asked, tenant.labels, place, len(wave.tenants), is_last=wave.name == draft.run.waves[-1].name)


def _is_upgraded(draft: Draft, tenant: Tenant) -> bool:
    """Tell whether the run will upgrade the tenant, as far as the plan can tell: its version is one that the release comes from."""
    status = draft.status(tenant.name)
    return (status is not None and tenant_run.is_unproven(status)) or _passed_over(draft, tenant, TenantRunStatus()) is None


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


def record_already_there(draft: Draft) -> None:
    """Record tenants whose components already have every value of the release. This needs no wave, window, notice, soak or gate.

    What a run of ours wrote and nobody has proven is never recorded so: it is judged.
    """
    if not draft.planned or draft.superseded or draft.deleted or draft.run.order is not None or draft.run.completion_time is not None:
        return
    for tenant, status in list(draft.current()):
        if (
            (status.state in tenant_run.NOT_STARTED or repeats.is_held_for_it(status))
            and not status.written
            and not any(claim.holds for claim in tenant.claims)
            and is_at_release(draft, tenant)
            and not left_unproven(draft, tenant)
            and not _is_open(tenant)
        ):
            message = f"already runs {draft.spec.release.product} {draft.spec.release.version}; nothing was written"
            draft.do(tenant.name, Deed.LET_GO, tenant_run.succeeded(status, RunReason.ALREADY_AT_RELEASE, message, draft.now))


def _is_open(tenant: Tenant) -> bool:
    """Tell whether another run's marker stands on a component: its TenantRun was deleted in mid-run, and what it wrote is unproven.

    A preflight then asks for the lock, and says who has the tenant and what helps.
    """
    own = tenant.run.uid if tenant.run is not None else ""
    return any(view.marked_by not in ("", own) for view in tenant.components)


def _lacks_run(draft: Draft, name: str) -> bool:
    status = draft.status(name)
    return status is None or status.run != draft.run.id


def _skips_unmatched(draft: Draft) -> bool:
    return draft.policy is not None and draft.policy.unmatched is Unmatched.SKIP


def _was_planned(draft: Draft, tenant: Tenant) -> bool:
    """Tell whether the tenant was there when the run was planned: one that came later joins with the next run."""
    return tenant.run is not None or draft.run.planned_time == draft.now
