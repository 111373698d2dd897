"""For whom a wave still waits, and whom it leaves behind: they start later, in their own next opening."""

from __future__ import annotations

from collections.abc import Iterator

from tenantwave.api.conditions import WaitReason
from tenantwave.api.tenant_run import TenantState
from tenantwave.core.calendar import Member, Stage, WaveWait, wave_wait
from tenantwave.core.journal import WaveRecord
from tenantwave.core.passes.draft import Draft

S = TenantState

WAIT_REASONS = frozenset(str(reason) for reason in WaitReason)

STAGES: dict[TenantState, Stage] = {
    S.SUCCEEDED: Stage.SUCCEEDED,
    S.SKIPPED: Stage.SKIPPED,
    S.ORPHANED: Stage.SKIPPED,
    S.ROLLED_BACK: Stage.FAILED,
    S.ROLLBACK_FAILED: Stage.FAILED,
    S.HELD: Stage.FAILED,
}
"""How a wave sees its tenants; whoever is not among them is on its way, or has not begun."""


def wait_for_tenants(draft: Draft, wave: WaveRecord) -> WaveWait:
    """Tell whether the wave still waits for tenants, and whom it leaves behind. The gates of the wave are another question."""
    if draft.policy is None:
        return WaveWait(False)
    waits = wave_wait(_members(draft, wave), draft.policy.maintenance.stragglers, draft.now)
    if waits.wake_time is not None:
        draft.wake(waits.wake_time)
    return waits


def _members(draft: Draft, wave: WaveRecord) -> Iterator[Member]:
    """Yield the tenants of a wave that has begun. What one waits for is what its TenantRun says."""
    entered = wave.start_time or draft.now
    for tenant, status in draft.in_wave(wave):
        if status.state is S.SUCCEEDED and not status.written:
            yield Member(tenant.name, Stage.SKIPPED, entered)  # it ran the release before: no success of this wave, and no evidence
        elif status.state in STAGES:
            yield Member(tenant.name, STAGES[status.state], entered)
        elif status.state is S.WAITING and not status.written and status.reason in WAIT_REASONS:
            yield Member(tenant.name, Stage.WAITING, entered, WaitReason(status.reason))
        else:
            yield Member(tenant.name, Stage.BUSY, entered)
