"""What counts for the start of every tenant of an upgrade alike: notice, consent, the two times, what people lifted."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta

from tenantwave.api.action import ActionType
from tenantwave.api.policy import RolloutPolicySpec
from tenantwave.api.upgrade import TenantUpgradeSpec
from tenantwave.core.calendar import Override, Rights, Terms, lead_of
from tenantwave.core.journal import Journal
from tenantwave.core.notices import notice_digest
from tenantwave.core.world import Action


@dataclass(frozen=True, slots=True)
class Ground:
    """The part of `Terms` and `Rights` that does not depend on the tenant.

    digest: of the words to be told, '' where nobody has to be told anything. noticed_time: from when deferrals count in that case. early: who
    has gone to an earlier wave already.
    """

    digest: str
    lead: timedelta
    noticed_time: datetime | None
    rights: Rights
    overrides: tuple[Override, ...]
    early: frozenset[str]
    terms: Terms
    """Of a tenant without a notice, a decision or an override of its own."""


def ground_of(
    spec: TenantUpgradeSpec, policy: RolloutPolicySpec, journal: Journal, actions: Iterable[Action], clock_is_right: bool
) -> Ground:
    """Return what is the same for all tenants. The policy is the planned one, the rest of the spec is read live."""
    lead = lead_of(policy.notice, spec.urgency)
    tells = spec.notice is not None or bool(lead)
    since = journal.version.since if journal.version is not None else None
    limits = policy.maintenance.tenant_limits
    return Ground(
        digest=notice_digest(spec.notice, spec.release.product, spec.release.version) if tells else "",
        lead=lead,
        noticed_time=since,
        rights=Rights(
            consent=policy.consent,
            max_deferral=limits.max_deferral if limits is not None else None,
            deadline_time=spec.deadline_time,
            force_time=spec.force_time,
            release_time=since,
        ),
        overrides=tuple(overrides_in(actions, journal.run.id)),
        early=frozenset(journal.run.moved_early),
        terms=Terms(force_time=spec.force_time, clock_is_right=clock_is_right),
    )


def overrides_in(actions: Iterable[Action], run: str) -> Iterable[Override]:
    """Yield the OverrideWindow orders that were accepted for this run and still exist: deleting one ends it."""
    for action in actions:
        spec = action.spec
        if action.accepted and spec.type is ActionType.OVERRIDE_WINDOW and spec.run == run and spec.expire_time is not None:
            yield Override(action.name, run, frozenset(spec.lifts), spec.expire_time, frozenset(spec.tenants), spec.wave or None)
