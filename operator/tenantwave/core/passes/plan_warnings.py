"""What a plan cannot do well, said before anything starts. It holds nothing: the author of the policy decides."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from tenantwave.api.defaults import effective_waves, gate_mode
from tenantwave.api.gating import GateMode
from tenantwave.api.policy import RolloutPolicySpec
from tenantwave.core.journal import WaveRecord
from tenantwave.core.passes.draft import Draft, is_at_release

FALSE_ALARM = 0.001
"""How likely the gates of one healthy tenant, together, latch by chance during a soak."""
MANY = 20
"""From so many tenants on a budget of 0 is likely enough (2 %) to be used up by chance to be worth a word."""
CONTROL_NEEDED = 20
"""With fewer tenants to compare with, an incident of the fleet looks like a bad release."""


def plan_warnings(draft: Draft, policy: RolloutPolicySpec, waves: Sequence[WaveRecord]) -> tuple[str, ...]:
    """Return sentences about waves whose gates would often be wrong, or see little. Tenants that run the release already do not count."""
    if all(gate_mode(gate) is not GateMode.ENFORCE for gate in policy.gates):
        return ()
    limits = {wave.name: wave for wave in effective_waves(policy.waves)}
    counts = {wave.name: sum(not is_at_release(draft, draft.world.tenants[name]) for name in wave.tenants) for wave in waves}
    strict = [wave.name for wave in waves if counts[wave.name] > MANY and limits[wave.name].tolerated_failures(len(wave.tenants)) == 0]
    return (*(_too_strict(name, counts[name]) for name in strict), *_nobody_to_compare_with(counts))


def _too_strict(wave: str, count: int) -> str:
    return (
        f"wave {wave}: failureBudget is 0 for {count} tenants, so chance alone fails the wave in about {count * FALSE_ALARM:.1%} of upgrades; "
        "set failureBudget: 1"
    )


def _nobody_to_compare_with(counts: Mapping[str, int]) -> Iterator[str]:
    total = sum(counts.values())
    lonely = [f"{name} ({total - count})" for name, count in counts.items() if count and total - count < CONTROL_NEEDED]
    if lonely:
        yield (
            f"too few tenants are left to compare with ({CONTROL_NEEDED} are needed) for wave {', '.join(lonely)}: there an incident of the whole "
            "fleet cannot be told from a bad release"
        )
