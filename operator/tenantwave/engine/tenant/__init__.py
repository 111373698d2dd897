"""Everything that happens inside one tenant: lock, snapshot, write-ahead intents, and the way back. The entry point is `TenantSteps`."""

from tenantwave.engine.tenant.steps import TenantSteps

__all__ = ["TenantSteps"]
