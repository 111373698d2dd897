"""What a plan cannot do well, said before anything starts. It holds nothing: the author of the policy decides."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence

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
    """Return sentences about waves that do not do what they seem to. Tenants that run the release already do not count."""
    counts = {wave.name: sum(not is_at_release(draft, draft.world.tenants[name]) for name in wave.tenants) for wave in waves}
    total = sum(len(wave.tenants) for wave in waves)
    labels = {key for wave in waves for name in wave.tenants for key in draft.world.tenants[name].labels}
    return (*_all_at_once(counts, total), *_labels_that_nobody_has(policy, labels), *_gates_that_see_little(policy, waves, counts))


def _all_at_once(counts: Mapping[str, int], total: int) -> Iterator[str]:
    """One wave of everybody is an overnight switch: nobody has tried the release before."""
    filled = [name for name, count in counts.items() if count]
    if len(filled) == 1 and counts[filled[0]] == total > 1:
        yield (
            f"wave {filled[0]} takes all {total} tenants (100%), so nobody tries the release before the others; put a wave of a few tenants "
            "before it"
        )


def _labels_that_nobody_has(policy: RolloutPolicySpec, labels: Collection[str]) -> Iterator[str]:
    """A key that is misspelt, or not given to the namespaces yet, chooses and orders nothing."""
    for wave in policy.waves:
        for key in wave.order_by:
            label = key.removeprefix("label:")
            if label != key and label not in labels:
                yield f"wave {wave.name}: orderBy names label {label}, which no tenant has; label the namespaces, or correct the key"
        prefix = wave.coverage.label_prefix if wave.coverage is not None else ""
        if prefix and not any(label.startswith(prefix) for label in labels):
            yield f"wave {wave.name} covers labels under {prefix}, and no tenant has one, so it takes nobody; label the namespaces"


def _gates_that_see_little(policy: RolloutPolicySpec, waves: Sequence[WaveRecord], counts: Mapping[str, int]) -> Iterator[str]:
    """Gates that would often be wrong, or that could not tell an incident of the fleet from a bad release."""
    if all(gate_mode(gate) is not GateMode.ENFORCE for gate in policy.gates):
        return
    limits = {wave.name: wave for wave in effective_waves(policy.waves)}
    for wave in waves:
        if counts[wave.name] > MANY and limits[wave.name].tolerated_failures(len(wave.tenants)) == 0:
            yield _too_strict(wave.name, counts[wave.name])
    yield from _nobody_to_compare_with(counts)


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
