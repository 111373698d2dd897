"""The tenants' calendars, compiled once per policy and profile: two upgrades with different policies may want the same tenant."""

from __future__ import annotations

from dataclasses import dataclass, field

from tenantwave.api.policy import Maintenance
from tenantwave.core.calendar import Calendar, compile_calendar, unreadable_profile
from tenantwave.engine.tenant_views import ProfileView


@dataclass(frozen=True, slots=True)
class Hours:
    """The maintenance that counts in an upgrade, and the name of the policy that it is from."""

    policy: str
    maintenance: Maintenance


@dataclass(frozen=True, slots=True)
class _Compiled:
    maintenance: Maintenance
    generation: tuple[str, int]
    calendar: Calendar


@dataclass(slots=True)
class Calendars:
    """A calendar is compiled anew only when its policy's spec or its tenant's profile is another object than before."""

    _kept: dict[str, dict[str, _Compiled]] = field(default_factory=dict)
    """Policy -> tenant -> calendar."""

    def of(self, tenant: str, profile: ProfileView | None, hours: Hours) -> Calendar:
        """Return when the tenant may be started. Cost: a look into a table, else some 0.1 ms."""
        kept = self._kept.setdefault(hours.policy, {})
        generation = (profile.uid, profile.generation) if profile is not None else ("", 0)
        known = kept.get(tenant)
        if known is not None and known.maintenance is hours.maintenance and known.generation == generation:
            return known.calendar
        if profile is not None and profile.spec is None:
            calendar = unreadable_profile(profile.problem, hours.maintenance)
        else:
            calendar = compile_calendar(hours.maintenance, profile.spec if profile is not None else None)
        kept[tenant] = _Compiled(hours.maintenance, generation, calendar)
        return calendar

    def forget_policy(self, policy: str) -> None:
        """Forget what was compiled for a policy that is another one now, or gone."""
        self._kept.pop(policy, None)

    def forget_tenant(self, tenant: str) -> None:
        """Forget what was compiled for a tenant whose profile is another one now, or gone."""
        for kept in self._kept.values():
            kept.pop(tenant, None)
