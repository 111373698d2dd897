"""When a tenant, and when a wave, has shown enough to pass. Nothing passes without an evaluation."""

from __future__ import annotations

from datetime import datetime, timedelta
from decimal import Decimal

from .book import EXCUSED_BY_POOL, TenantGate, Verdict, WaveGate
from .rules import Evaluation, OnNoData

MIN_USABLE_TICKS = 5
"""To pass on fewer looks would be luck. A soak that has room for fewer ticks needs as many as it has room for, and at least one."""


def needed_ticks(soak: timedelta, evaluation: Evaluation) -> int:
    """Return how many usable ticks a soak needs: 5, or as many as fit into it where that is fewer (soak 2 s, interval 1 s: 2), at least
    1."""
    return max(1, min(MIN_USABLE_TICKS, soak // evaluation.interval))


def tenant_is_through(
    tenant: TenantGate | None, wave: WaveGate | None, soak: timedelta, evaluation: Evaluation, *, since: datetime | None = None
) -> bool:
    """Tell whether a soaking tenant may become Succeeded.

    It must have been Healthy on its own for `soak`, with enough fresh data, while the fleet as a whole is well. One with too little traffic is
    excused by `onNoData: Pool` at the end of the wave's soak, if the pool is Healthy. Args: since: when it converged; evidence from before that is
    evidence of something else.
    """
    if (
        tenant is None
        or tenant.latched
        or tenant.is_candidate
        or (wave is not None and wave.has_incident)
        or (since is not None and (tenant.window_start_time is None or tenant.window_start_time < since))
        or not _has_soaked(tenant.clock, tenant.usable_ticks, tenant.coverage, soak, evaluation)
    ):
        return False
    if tenant.verdict is Verdict.HEALTHY:
        return True
    return is_excused(tenant, wave, evaluation) and wave is not None and wave.clock is not None and wave.clock >= soak


def wave_is_through(wave: WaveGate | None, soak: timedelta, evaluation: Evaluation) -> bool:
    """Tell whether the wave as a whole has been Healthy for its soak. Its tenants must be through besides."""
    return (
        wave is not None and wave.verdict is Verdict.HEALTHY and _has_soaked(wave.clock, wave.usable_ticks, wave.coverage, soak, evaluation)
    )


def is_excused(tenant: TenantGate, wave: WaveGate | None, evaluation: Evaluation) -> bool:
    """Tell whether the pool speaks for this tenant: every enforced metric is Healthy, or has too little data and nothing worse."""
    if evaluation.on_no_data is not OnNoData.POOL or wave is None or wave.pool is not Verdict.HEALTHY or tenant.is_candidate:
        return False
    enforced = [metric for metric in tenant.metrics if metric.enforced]
    return bool(enforced) and all(
        metric.verdict is Verdict.HEALTHY or (metric.verdict is Verdict.INCONCLUSIVE and metric.reason in EXCUSED_BY_POOL)
        for metric in enforced
    )


def soak_left(clock: timedelta | None, soak: timedelta) -> timedelta:
    """Return how much of the soak is still to run."""
    return soak - min(soak, clock or timedelta(0))


def _has_soaked(clock: timedelta | None, usable_ticks: int, coverage: Decimal, soak: timedelta, evaluation: Evaluation) -> bool:
    return clock is not None and clock >= soak and usable_ticks >= needed_ticks(soak, evaluation) and coverage >= evaluation.min_coverage
