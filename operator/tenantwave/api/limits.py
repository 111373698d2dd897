"""What the contract has and this build does not do yet. Using it is refused with a sentence, never ignored.

A row goes when its feature comes. Only a use counts: a field with its default value asks for nothing.
"""

from collections.abc import Callable
from typing import NamedTuple

from tenantwave.api.upgrade import TenantUpgradeSpec


class NotYet(NamedTuple):
    """One part of the contract that this build does not do: where it stands, whether a spec uses it, and what to do instead."""

    field: str
    is_used: Callable[[TenantUpgradeSpec], bool]
    mend: str

    def sentence(self) -> str:
        """Return the whole sentence for people."""
        return f"{self.field} is not supported by this build; {self.mend}"


def _drives_with(driver: str) -> Callable[[TenantUpgradeSpec], bool]:
    return lambda spec: any(getattr(component, driver) is not None for component in spec.components)


_ONLY_WORKLOADS = "deliver the component with `workload`"

NOT_YET_IN_UPGRADES: tuple[NotYet, ...] = (
    NotYet("spec.components[].helmRelease", _drives_with("helm_release"), _ONLY_WORKLOADS),
    NotYet("spec.components[].fluxKustomization", _drives_with("flux_kustomization"), _ONLY_WORKLOADS),
    NotYet("spec.components[].argoApplication", _drives_with("argo_application"), _ONLY_WORKLOADS),
    NotYet("spec.components[].customResource", _drives_with("custom_resource"), _ONLY_WORKLOADS),
)


def unsupported_fields(spec: TenantUpgradeSpec) -> list[str]:
    """Return one sentence for each field that the upgrade uses and this build does not support."""
    return [row.sentence() for row in NOT_YET_IN_UPGRADES if row.is_used(spec)]
