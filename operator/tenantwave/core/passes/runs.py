"""Which run are we in: begin one, supersede one, begin the next attempt."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime

from tenantwave.api.conditions import FailReason, RunReason
from tenantwave.api.meta import run_id
from tenantwave.api.tenant_run import TenantRunStatus, TenantState
from tenantwave.api.upgrade import TenantUpgradeSpec
from tenantwave.core import blobs, tenant_run
from tenantwave.core.journal import Journal, RunRecord, WaveProgress
from tenantwave.core.passes.draft import Draft
from tenantwave.core.world import Upgrade, World

BUSY = tenant_run.IN_FLIGHT | {TenantState.ROLLING_BACK}
"""A run with such a tenant is not replaced: what it has begun ends by its own spec."""


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
    return Journal(upgrade=upgrade.name, upgrade_uid=upgrade.uid, run=_new_run(upgrade, now))


def supersede(draft: Draft) -> None:
    """Begin a new run where the spec means something else than the run; while tenants are in flight, only let those finish."""
    upgrade = draft.world.upgrade
    if draft.deleted or upgrade.spec is None or meaning(upgrade.spec) == draft.run.spec_digest:
        return
    if draft.any_in(BUSY):
        draft.superseded = True
        draft.on_hold = f"the spec was edited (generation {upgrade.generation}); tenants in flight finish, then the next run begins"
        return
    draft.set_journal(run=_new_run(upgrade, draft.now), unavailable_since=None)
    draft.forget_plan()
    for tenant, status in list(draft.statuses().items()):
        if status.state is TenantState.SOAKING:
            _judge_anew(draft, tenant, status)


def _judge_anew(draft: Draft, tenant: str, status: TenantRunStatus) -> None:
    """Take back what soaks where the version now asked for is the one it came from; all else is planned again with the new run."""
    if status.from_version and status.from_version == draft.spec.release.version:
        message = f"the spec asks for {status.from_version} again, which this tenant came from"
        draft.set_status(tenant, tenant_run.going_back(status, FailReason.ABORTED, message, draft.now))


def next_attempt(draft: Draft, tenants: Iterable[str]) -> None:
    """Begin the next attempt of the run: those that succeeded stay, `tenants` begin again, passed waves stay passed."""
    run = draft.run
    attempt = run.attempt + 1
    identity = run_id(draft.world.upgrade.name, draft.world.upgrade.uid, run.generation, attempt)
    again = frozenset(tenants)
    passed = tuple(wave for wave in run.waves if wave.progress is WaveProgress.PASSED and not again.intersection(wave.tenants))
    draft.set_run(
        id=identity,
        attempt=attempt,
        start_time=draft.now,
        completion_time=None,
        spec="",
        policy=None,
        catalogue=(),
        planned_time=None,
        plan_digest="",
        waves=passed,
        order=None,
        paused_for=(),
        blind_since=None,
    )
    draft.forget_plan()
    for name, status in list(draft.statuses().items()):
        if name not in again and status.run == run.id:
            draft.set_status(name, status.model_copy(update={"run": identity, "attempt": attempt}))


def end_of_run(draft: Draft, message: str) -> None:
    """Note that the run has ended before it reached these tenants."""
    for tenant, status in list(draft.current()):
        if status.state in tenant_run.NOT_STARTED and status.reason != RunReason.RUN_ENDED:
            draft.move(tenant.name, TenantState.QUEUED, RunReason.RUN_ENDED, message)


def _new_run(upgrade: Upgrade, now: datetime) -> RunRecord:
    return RunRecord(
        id=run_id(upgrade.name, upgrade.uid, upgrade.generation, 1),
        generation=upgrade.generation,
        attempt=1,
        spec_digest=meaning(upgrade.spec) if upgrade.spec is not None else "",
        start_time=now,
    )
