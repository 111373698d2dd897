"""(previous status, what is known of a tenant) -> status of its TenantProfile: versions, its upgrade, windows, changes, notices."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from tenantwave.api.conditions import ConditionType
from tenantwave.api.profile import ProductStatus, ProfileUpgrade, TenantProfileStatus
from tenantwave.api.tenant_run import TenantRunStatus
from tenantwave.core import tenant_run
from tenantwave.core.calendar import Calendar, availability, window_status, windows_validity
from tenantwave.core.changes import Entry, recent_changes
from tenantwave.core.notices import DueNotice, notices_shown
from tenantwave.core.status import Said, settle
from tenantwave.core.world import VersionRecord


@dataclass(frozen=True, slots=True)
class TenantInUpgrade:
    """One upgrade's TenantRun of the tenant. `live`: the upgrade is still going on. `position`: "wave 2 of 5"."""

    upgrade: str
    product: str
    position: str
    live: bool
    creation_time: datetime
    status: TenantRunStatus


@dataclass(frozen=True, slots=True)
class TenantFacts:
    """All that a TenantProfile's status is made of."""

    generation: int
    records: Mapping[str, VersionRecord]
    upgrades: Sequence[TenantInUpgrade]
    calendar: Calendar | None
    notices: Sequence[DueNotice] = ()
    """What the live upgrades want it to be told."""
    changes: Sequence[Entry] = ()
    """What was changed in it, as far as what is stored still tells."""


def profile_status(previous: TenantProfileStatus | None, facts: TenantFacts, now: datetime) -> tuple[TenantProfileStatus, datetime | None]:
    """Return the status, and when it has to be looked at again because time alone changes it."""
    answer = availability(facts.calendar, now) if facts.calendar is not None else None
    said = []
    if answer is not None:
        validity = windows_validity(answer)
        said.append(Said(ConditionType.WINDOWS_VALID, validity.valid, validity.reason, validity.message))
    shown = _upgrade_shown(facts.upgrades)
    products = tuple(
        ProductStatus(name=product, version=record.version, last_stable_version=record.last_stable_version or None, since=record.since)
        for product, record in sorted(facts.records.items())
        if record.version
    )
    return TenantProfileStatus(
        observed_generation=facts.generation,
        conditions=settle(previous.conditions if previous is not None else (), said, facts.generation, now),
        versions=", ".join(f"{product.name} {product.version}" for product in products),
        products=products,
        upgrade=_upgrade(shown) if shown is not None else None,
        window=window_status(answer) if answer is not None else None,
        preserved=shown.status.preserved if shown is not None else (),
        recent_changes=recent_changes(previous.recent_changes if previous is not None else (), facts.changes),
        notices=notices_shown(previous.notices if previous is not None else (), facts.notices, now),
    ), answer.valid_until_time if answer is not None else None


def _upgrade_shown(upgrades: Sequence[TenantInUpgrade]) -> TenantInUpgrade | None:
    """Return the upgrade in flight, else the one that starts next, else the last one."""
    has_it = [upgrade for upgrade in upgrades if tenant_run.has_tenant(upgrade.status)]
    waiting = [upgrade for upgrade in upgrades if upgrade.live and upgrade.status.state in tenant_run.NOT_STARTED]
    ended = sorted(upgrades, key=lambda upgrade: upgrade.status.state_since_time or upgrade.creation_time)
    if has_it:
        return has_it[0]
    if waiting:
        return min(waiting, key=lambda upgrade: (upgrade.creation_time, upgrade.upgrade))
    return ended[-1] if ended else None


def _upgrade(shown: TenantInUpgrade) -> ProfileUpgrade:
    status = shown.status
    return ProfileUpgrade(
        name=shown.upgrade,
        run=status.run,
        wave=status.wave,
        position=shown.position,
        state=str(status.state or ""),
        reason=status.reason,
        message=status.message,
        planned_start_time=status.planned_start_time if status.state in tenant_run.NOT_STARTED else None,
    )
