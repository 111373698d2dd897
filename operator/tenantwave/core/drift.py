"""Finished tenants that no longer show the release: reported, never repaired. Who wrote there meant it, or is found by its owner."""

from __future__ import annotations

from tenantwave.api.tenant_run import TenantState
from tenantwave.core.world import Tenant, World


def drifted(world: World) -> dict[str, str]:
    """Return tenant -> what it shows instead, in order of names.

    Only what this upgrade proved and nobody else has moved since by an upgrade: the record still names its version, and no run has the tenant.
    """
    spec = world.planned_spec or world.upgrade.spec
    if spec is None or world.journal is None:
        return {}
    optional = {component.name for component in spec.components if component.optional}
    found = {name: _shown(tenant, spec.release.version, optional) for name, tenant in sorted(world.tenants.items())}
    return {name: what for name, what in found.items() if what}


def _shown(tenant: Tenant, version: str, optional: set[str]) -> str:
    """Return what a tenant shows instead of the release, '' where it shows it or nobody has proven that it did."""
    is_ours = tenant.run is not None and tenant.run.status.state is TenantState.SUCCEEDED and tenant.run.status.to_version == version
    is_still = tenant.exists and not tenant.terminating and tenant.record is not None and tenant.record.version == version
    if not is_ours or not is_still or any(claim.holds for claim in tenant.claims):
        return ""
    for view in tenant.components:
        if not view.present and view.name not in optional:
            return f"{view.name} is gone"
        if view.present and not view.at_release:
            return view.shown or f"{view.name} no longer shows {version}"
    return ""
