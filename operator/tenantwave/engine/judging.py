"""What is wrong with a policy that only the operator can tell."""

from __future__ import annotations

from datetime import date, datetime

from tenantwave.api.policy import RolloutPolicySpec
from tenantwave.core.calendar import policy_problems
from tenantwave.core.gates.problems import gate_problems

KEPT = 256


class PolicyJudge:
    """Judges a policy once a day: windows that never open may depend on the date, all else on the spec alone."""

    def __init__(self) -> None:
        self._known: dict[tuple[str, date], tuple[str, ...]] = {}

    def problems(self, digest: str, spec: RolloutPolicySpec, now: datetime) -> tuple[str, ...]:
        """Return sentences with their mends; none if the policy can be used. `digest` stands for the spec. Cost: milliseconds, once a day."""
        key = (digest, now.date())
        if key not in self._known:
            if len(self._known) >= KEPT:
                self._known.clear()
            windows = policy_problems(spec.maintenance, now) if spec.maintenance is not None else ()
            gates = gate_problems(spec.prometheus, spec.gates, spec.evaluation, allow_no_gates=spec.allow_no_gates)
            self._known[key] = (*windows, *gates)
        return self._known[key]
