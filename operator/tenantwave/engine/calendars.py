"""The tenants' calendars, compiled once per policy and profile: two upgrades with different policies may want the same tenant."""

from __future__ import annotations

from dataclasses import dataclass, field

from tenantwave.api.policy import Maintenance
from tenantwave.core.calendar import Calendar, compile_calendar, unreadable_profile
from tenantwave.engine.tenant_views import ProfileView


@dataclass(frozen=True, slots=True)
class Hours:
    """The maintenance that counts in an upgrade, the name of the policy that it is from, and the run where it counts in that one alone."""

    policy: str
    maintenance: Maintenance
    run: str = ""


LIVE = ("when_no_window", "default_time_zone", "default_windows", "freezes", "staffed_hours")
"""What of a policy's maintenance counts at once in a run that is going on: when work is allowed. All else is as the run was planned."""


@dataclass(frozen=True, slots=True)
class _Compiled:
    maintenance: Maintenance
    generation: tuple[str, int]
    calendar: Calendar


@dataclass(slots=True)
class Calendars:
    """A calendar is compiled anew only when its policy's spec or its tenant's profile is another object than before."""

    _kept: dict[tuple[str, str], dict[str, _Compiled]] = field(default_factory=dict)
    """(policy, run) -> tenant -> calendar."""
    _merged: dict[tuple[str, str], tuple[Maintenance, Maintenance, Hours]] = field(default_factory=dict)
    """(policy, run) -> maintenance as it is, as the run has it, and the hours made of both: the same object as long as those two are."""

    def hours(self, policy: str, run: str, live: Maintenance, planned: Maintenance) -> Hours:
        """Return the hours of a run: windows, freezes and staffed hours as they are, all other rules as the run was planned."""
        known = self._merged.get((policy, run))
        if known is not None and known[0] is live and known[1] is planned:
            return known[2]
        merged = planned.model_copy(update={name: getattr(live, name) for name in LIVE})
        hours = Hours(policy, live) if merged == live else Hours(policy, merged, run)
        self._merged[policy, run] = live, planned, hours
        return hours

    def of(self, tenant: str, profile: ProfileView | None, hours: Hours) -> Calendar:
        """Return when the tenant may be started. Cost: a look into a table, else some 0.1 ms."""
        kept = self._kept.setdefault((hours.policy, hours.run), {})
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
        for known in (self._kept, self._merged):
            for key in [key for key in known if key[0] == policy]:
                del known[key]

    def forget_tenant(self, tenant: str) -> None:
        """Forget what was compiled for a tenant whose profile is another one now, or gone."""
        for kept in self._kept.values():
            kept.pop(tenant, None)
