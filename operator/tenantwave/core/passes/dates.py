"""What people are told of when: each tenant's planned start, as its calendar or the forecast says, and each date that slips."""

from __future__ import annotations

from datetime import datetime, timedelta

from tenantwave.core import tenant_run
from tenantwave.core.calendar import Forecast, TenantForecast
from tenantwave.core.journal import WaveProgress
from tenantwave.core.passes.draft import Draft
from tenantwave.core.passes.rescheduling import moved_to
from tenantwave.core.passes.starts import awaits_approval
from tenantwave.core.plan import Next

OF_ITSELF = "its own calendar and the waves before it allow no earlier start"
ROUGH = timedelta(hours=1)
"""A date that hangs on the waves before is an estimate: only when it is off by more is it told anew, for each is a write for each tenant."""


def tell_dates(draft: Draft) -> None:
    """Give tenants that have not started the date that the forecast has for them, unless their own calendar has said it to the minute.

    While the upgrade waits for a person, an estimate would slide with the clock: it is told once, as if it went on at that moment.
    """
    seen = draft.foreseen
    if seen is None or draft.run.completion_time is not None or draft.run.order is not None:
        return
    stands_still = bool(draft.on_hold) or draft.suspended or any(awaits_approval(draft, wave) is not None for wave in draft.run.waves)
    for tenant, status in list(draft.current()):
        hold = draft.holds.get(tenant.name)
        if status.state not in tenant_run.NOT_STARTED or (hold is not None and hold.until is not None) or not draft.is_stored(tenant.name):
            continue
        expected = seen.tenants.get(tenant.name)
        if expected is None:
            continue
        if stands_still and not expected.is_fixed:
            if status.planned_start_time is None and expected.start_time is not None and expected.start_time > draft.now:
                draft.set_status(tenant.name, status.model_copy(update={"planned_start_time": expected.start_time}))
        elif _is_news(expected, status.planned_start_time, draft.now):
            changes = moved_to(draft, tenant.name, status, expected.start_time, OF_ITSELF) if expected.is_fixed else {}
            draft.set_status(tenant.name, status.model_copy(update={"planned_start_time": expected.start_time, **changes}))
    _warn(draft, seen)
    wave = next((wave for wave in draft.run.waves if wave.progress is WaveProgress.RUNNING), None)
    end = next((one.end_time for one in seen.waves if wave is not None and one.name == wave.name), None)
    if wave is not None and end is not None:
        draft.at_least = Next(end, f"wave {wave.name} ends, at the earliest")


def _is_news(expected: TenantForecast, told: datetime | None, now: datetime) -> bool:
    if expected.start_time is None or told is None:
        return expected.start_time is not told and (expected.start_time is None or expected.start_time > now)
    if expected.is_fixed:
        return expected.start_time != told
    return abs(expected.start_time - told) > max(ROUGH, (expected.start_time - now) / 4)


def _warn(draft: Draft, seen: Forecast) -> None:
    """Tell once that deadlineTime cannot be met, and for whom it is waited longest; again where that becomes another tenant."""
    culprit = seen.bottleneck if seen.warning else ""
    if culprit != draft.run.late_for:
        draft.set_run(late_for=culprit)
        if culprit:
            draft.note("DeadlineAtRisk", seen.warning, warning=True)
