"""Ends: of a wave, of a run, of the upgrade itself."""

from __future__ import annotations

import textwrap

from tenantwave.api.conditions import RunReason
from tenantwave.api.policy import ApprovalTime
from tenantwave.api.tenant_run import TenantState
from tenantwave.core import tenant_run
from tenantwave.core.gates import wave_is_through
from tenantwave.core.journal import WaveProgress, WaveRecord
from tenantwave.core.passes import failures, starts
from tenantwave.core.passes.draft import Draft
from tenantwave.core.passes.evidence import deciding
from tenantwave.core.passes.problems import named, why_nobody_is_first
from tenantwave.core.passes.stragglers import wait_for_tenants
from tenantwave.core.plan import Deed

S = TenantState

SETTLED = frozenset({S.SUCCEEDED, S.SKIPPED, S.ROLLED_BACK, S.ROLLBACK_FAILED, S.HELD, S.ORPHANED})
"""States in which a wave need not wait for the tenant any longer (whether it is within the budget is another question)."""


ON_THE_WAY = tenant_run.IN_FLIGHT | {S.SOAKING, S.ROLLING_BACK}
"""States in which a tenant is still on its way, forwards or back."""

NAMES_IN_AN_EVENT = 900
"""Characters. An Event has 1,024; where more tenants are to be named there are several."""


def pass_wave(draft: Draft) -> None:
    """Let the running wave pass: its tenants are through, it was healthy as a whole for its soak, and people have approved.

    Passing starts nobody, so a pause does not hold it, unless it is for a failure in this very wave.
    """
    wave = starts.running_wave(draft)
    if wave is None or not _may_pass(draft) or (draft.journal.pause is not None and failures.has_paused(draft, wave)):
        return
    left = wait_for_tenants(draft, wave)
    if not is_through(draft, wave):
        if wave.soaked_since_time is not None:
            draft.set_wave(wave.name, soaked_since_time=None)
        return
    if wave.soaked_since_time is None:
        draft.set_wave(wave.name, soaked_since_time=draft.now)
        wave = next(record for record in draft.run.waves if record.name == wave.name)
        if starts.awaits_approval(draft, wave) is ApprovalTime.AFTER:
            draft.note(
                "ApprovalRequired",
                f"wave {wave.name} has soaked and needs {draft.effective_waves[wave.name].approval_minimum} approvals to pass",
            )
    if starts.awaits_approval(draft, wave) is not None:
        return
    draft.set_wave(wave.name, progress=WaveProgress.PASSED, completion_time=draft.now)
    done = sum(status.state is S.SUCCEEDED for _, status in draft.in_wave(wave))
    how = f"; {wave.override.sentence(is_past=True)}" if wave.override is not None else ""
    late = f"; not waited for any longer: {named(list(left.stragglers))}" if left.stragglers else ""
    draft.note("WavePassed", f"wave {wave.name}: {done} of {len(wave.tenants)} tenants upgraded{late}{how}")


def pass_waves_with_nobody(draft: Draft) -> None:
    """Let waves pass at once in which nobody is to be upgraded: they start nobody, so they need no approval and nothing holds them."""
    while _may_pass(draft) and (wave := starts.next_wave(draft)) is not None and _has_nobody(draft, wave):
        draft.set_wave(wave.name, progress=WaveProgress.PASSED, start_time=draft.now, completion_time=draft.now)


def _may_pass(draft: Draft) -> bool:
    """Tell whether waves may pass. What has just been decided about tenants of the first is asked here, and told at the next look."""
    return starts.may_open_waves(draft) and not why_nobody_is_first(draft)


def _has_nobody(draft: Draft, wave: WaveRecord) -> bool:
    members = [status for _, status in draft.in_wave(wave)]
    return len(members) == len(wave.tenants) and all(
        status.state in (S.SKIPPED, S.ORPHANED) or (status.state is S.SUCCEEDED and not status.written) for status in members
    )


def is_through(draft: Draft, wave: WaveRecord) -> bool:
    """Tell whether the wave needs nothing more but, perhaps, people: its tenants are through, and its gate passes it or does not decide."""
    members = list(draft.in_wave(wave))
    if len(members) < len(wave.tenants) or not wait_for_tenants(draft, wave).is_done or not failures.may_start_more(draft, wave):
        return False
    context = deciding(draft, wave)
    judged = any(status.written and status.state is S.SUCCEEDED for _, status in members)
    if context is None or not judged or failures.is_forgiven(draft, wave):
        return True
    return wave_is_through(draft.book.wave(wave.name), draft.effective_waves[wave.name].soak, context.evaluation)


def end_run(draft: Draft) -> None:
    """Note when the run is over: all waves passed, or everybody who was ordered back has gone."""
    run = draft.run
    if run.completion_time is not None or not draft.planned or draft.has_moves():
        return  # what is to be stored of tenants goes first: nobody looks at them once the run is over
    if run.order is not None:
        going = failures.pending(draft) or draft.any_in(tenant_run.IN_FLIGHT | {S.ROLLING_BACK})
        if not going:
            draft.set_run(completion_time=draft.now)
            failed = [
                name for name, status in draft.statuses().items() if status.state is S.ROLLBACK_FAILED or tenant_run.is_past_return(status)
            ]
            if failed:
                draft.note(
                    "RollbackIncomplete", f"{named(failed)} could not be taken back; see their TenantRuns, then Resolve", warning=True
                )
            elif back := sum(status.state is S.ROLLED_BACK for _, status in draft.current()):
                draft.note("RollbackCompleted", f"{back} tenants were taken back")
    elif (
        run.waves
        and not draft.superseded
        and all(wave.progress is WaveProgress.PASSED for wave in run.waves)
        and not draft.any_in(ON_THE_WAY)
        and not any(status.state in tenant_run.NOT_STARTED for _, status in draft.current())
        and not _is_paused_for_failure(draft)
        and not any(_is_held_over_budget(draft, wave) for wave in run.waves)
    ):
        draft.set_run(completion_time=draft.now)
        draft.note("UpgradeSucceeded", f"{draft.spec.release.product} {draft.spec.release.version}: all {len(run.waves)} waves passed")


def _is_held_over_budget(draft: Draft, wave: WaveRecord) -> bool:
    """Tell whether more tenants of a wave are held than it tolerates: it had passed, and a Retry or a later opening began with them again.

    What holds them may be mended yet, or a person skips them; until then the run is not done, for its failures are not within the budget.
    """
    held = any(status.state is S.HELD and failures.counts(draft, tenant.name, status) for tenant, status in draft.in_wave(wave))
    return held and not failures.may_start_more(draft, wave)


def _is_paused_for_failure(draft: Draft) -> bool:
    """Tell whether people are to look at a failure before the run is called done; a straggler may be the last who fails."""
    pause = draft.journal.pause
    return pause is not None and not pause.action and any(failures.has_paused(draft, wave) for wave in draft.run.waves)


def settle_deletion(draft: Draft) -> None:
    """Deletion is not Abort: tenants in flight finish or roll back, soaking ones stay and are let go, unproven."""
    if not draft.deleted:
        return
    released = []
    ordered = frozenset(failures.pending(draft))
    for name, status in list(draft.statuses().items()):
        if (
            status.state is not S.PREFLIGHT
            and status.state not in tenant_run.IN_FLIGHT
            and tenant_run.is_unproven(status)
            and name not in ordered
        ):
            message = f"the upgrade was deleted before it was proven; it stays at {status.to_version}, unproven"
            draft.do(
                name, Deed.LET_GO, tenant_run.to(status, S.ORPHANED, RunReason.ORPHANED, message, draft.now, completion_time=draft.now)
            )
            released.append(name)
    for names in textwrap.wrap(", ".join(sorted(released)), NAMES_IN_AN_EVENT, break_on_hyphens=False):
        draft.note("TenantsLeftSoaking", f"released unproven, as they are: {names.rstrip(',')}", warning=True, about=names)


def keep_finalizer(draft: Draft) -> None:
    """Put the finalizer on before the first tenant starts, and take it off when nothing in any tenant is to be settled."""
    live = any(tenant_run.has_tenant(status) or status.state is S.PREFLIGHT for status in draft.statuses().values())
    if live and not draft.world.upgrade.has_finalizer and not draft.deleted:
        draft.finalizer = True
    elif not live and draft.world.upgrade.has_finalizer:
        draft.finalizer = False
