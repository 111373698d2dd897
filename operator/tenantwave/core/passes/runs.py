"""Which run are we in: begin one, supersede one, begin the next attempt."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime

from tenantwave.api.conditions import FailReason
from tenantwave.api.meta import run_id
from tenantwave.api.tenant_run import TenantRunStatus, TenantState
from tenantwave.api.upgrade import TenantUpgradeSpec
from tenantwave.core import blobs, tenant_run
from tenantwave.core.journal import Journal, RunRecord, WaveProgress
from tenantwave.core.passes import asked, failures
from tenantwave.core.passes.draft import Draft
from tenantwave.core.world import Catalogue, Upgrade, World

BUSY = tenant_run.IN_FLIGHT | {TenantState.ROLLING_BACK}
"""A run with such a tenant, or with one that is ordered back, is not replaced: what it has begun ends by its own spec."""


def meaning(spec: TenantUpgradeSpec) -> str:
    """Return a digest of the fields that begin a run. `release.evidence` is recorded, not acted on, so it begins none."""
    fields = spec.model_dump(
        mode="json",
        by_alias=True,
        exclude_none=True,
        include={"tenant_selector", "policy_ref", "release", "components", "preservation", "hooks"},
    )
    fields["release"].pop("evidence", None)
    return blobs.digest_of(blobs.canonical(fields))


def spec_blob(spec: TenantUpgradeSpec) -> bytes:
    """Return a spec as canonical JSON: what is saved when a run is planned."""
    return blobs.canonical(spec.document())


def journal_of(world: World, now: datetime) -> Journal:
    """Return the journal to decide by: the stored one, or a new one where there is none of this very upgrade."""
    upgrade, stored = world.upgrade, world.journal
    if stored is not None and stored.upgrade_uid == upgrade.uid:
        return stored
    if (
        stored is not None
        and stored.version is not None
        and upgrade.spec is not None
        and stored.version.version == upgrade.spec.release.version
    ):
        # Pruned and made again as it was: consent given to this version still stands, and a time that was ahead when first seen was no mistake.
        return Journal(
            upgrade=upgrade.name, upgrade_uid=upgrade.uid, run=_new_run(upgrade, now), version=stored.version, times=stored.times
        )
    version = asked.first_version(upgrade)
    return Journal(upgrade=upgrade.name, upgrade_uid=upgrade.uid, run=_new_run(upgrade, now), version=version)


def supersede(draft: Draft) -> None:
    """Begin a new run where the spec means something else than the run; while tenants are in flight, only let those finish."""
    upgrade = draft.world.upgrade
    if draft.deleted or upgrade.spec is None or meaning(upgrade.spec) == draft.run.spec_digest:
        return
    if draft.any_in(BUSY) or failures.pending(draft):
        draft.superseded = True
        draft.on_hold = f"the spec was edited (generation {upgrade.generation}); tenants in flight finish, then the next run begins"
        return
    before = draft.run
    after = _new_run(upgrade, draft.now).model_copy(update={"previous_run": before.id, "previous_content": before.content})
    draft.set_journal(run=after, unavailable_since=None)
    draft.forget_plan()


def take_back_to_the_old(draft: Draft) -> None:
    """Take back what an earlier run left unproven where the version now asked for is the one it came from; all else is planned again."""
    if draft.superseded or draft.deleted or draft.world.upgrade.spec is None:
        return
    version = draft.spec.release.version
    for tenant, status in list(draft.statuses().items()):
        if tenant_run.is_unproven(status) and status.from_version == version and not is_of_run(draft, status):
            message = f"the spec asks for {version} again, which this tenant came from"
            draft.set_status(tenant, tenant_run.going_back(status, FailReason.ABORTED, message, draft.now))


def next_attempt(draft: Draft, tenants: Iterable[str]) -> None:
    """Begin the next attempt of the run: `tenants` begin again (none named: all that had not succeeded), passed waves stay passed.

    Only the journal changes: `keep_settled` and `planning.ensure_runs` read from it what becomes of the tenants, so a crash in between
    loses nothing.
    """
    run = draft.run
    attempt = run.attempt + 1
    draft.set_run(
        id=run_id(draft.world.upgrade.name, draft.world.upgrade.uid, run.generation, attempt),
        attempt=attempt,
        start_time=draft.now,
        completion_time=None,
        spec="",
        policy=None,
        catalogue=(),
        planned_time=None,
        plan_digest="",
        waves=tuple(wave for wave in run.waves if wave.progress is WaveProgress.PASSED),
        order=None,
        paused_for=(),
        blind_since=None,
        content="",
        previous_run=run.id,
        previous_content=run.content,
        retried=tuple(tenants),
    )
    draft.forget_plan()


def keep_settled(draft: Draft) -> None:
    """Take over into the next attempt who does not begin again: those that succeeded, and whom the Retry did not name.

    Their `attempt` stays: a failure of an earlier attempt no longer counts in the budget.
    """
    if draft.run.attempt == 1:
        return
    for name, status in list(draft.statuses().items()):
        if is_earlier_attempt(draft, status) and not begins_again(draft, name, status):
            draft.set_status(name, status.model_copy(update={"run": draft.run.id}))


def is_earlier_attempt(draft: Draft, status: TenantRunStatus) -> bool:
    """Tell whether the tenant stands where an earlier attempt of this very run left it."""
    return status.run != draft.run.id and status.run.rpartition("-a")[0] == draft.run.id.rpartition("-a")[0]


def is_of_run(draft: Draft, status: TenantRunStatus) -> bool:
    """Tell whether the tenant belongs to the run, in this attempt or an earlier one."""
    return status.run == draft.run.id or is_earlier_attempt(draft, status)


def begins_again(draft: Draft, name: str, status: TenantRunStatus) -> bool:
    """Tell whether the Retry is about this tenant. One that could not be taken back needs Resolve first."""
    if status.state is TenantState.SUCCEEDED:
        return False
    return not draft.run.retried or name in draft.run.retried or status.state in tenant_run.GOING_BACK


def content_of(spec: TenantUpgradeSpec, catalogue: Catalogue) -> str:
    """Return a digest of what a run writes into a tenant, whoever the tenants are and however they are rolled out."""
    release = spec.release
    fields = spec.model_dump(mode="json", by_alias=True, exclude_none=True, include={"components", "preservation", "hooks"})
    pristine = sorted((entry.target, entry.digest) for entry in catalogue.entries if entry.version == release.version)
    return blobs.digest_of(blobs.canonical({**fields, "release": [release.product, release.version], "pristine": pristine}))


def _new_run(upgrade: Upgrade, now: datetime) -> RunRecord:
    return RunRecord(
        id=run_id(upgrade.name, upgrade.uid, upgrade.generation, 1),
        generation=upgrade.generation,
        attempt=1,
        spec_digest=meaning(upgrade.spec) if upgrade.spec is not None else "",
        start_time=now,
    )
