"""One tenant of a fleet in memory: what it runs, and what will go wrong in it."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime, timedelta

from builders import OLD
from tenantwave.api.conditions import FailReason
from tenantwave.api.profile import TenantProfileSpec
from tenantwave.core.calendar import Calendar, NoticeRecord
from tenantwave.core.world import Claim, SeenDecision, StoredRun, VersionRecord


@dataclass
class Member:
    """One tenant as it is: what it runs, and what will go wrong in it. `bad` are versions that never become ready there."""

    name: str
    labels: dict[str, str]
    live: str = OLD
    record: VersionRecord | None = None
    bad: set[str] = field(default_factory=set)
    ill: set[str] = field(default_factory=set)
    """Versions whose gates latch."""
    conflict: str = ""
    owner: str = ""
    stuck: bool = False
    """A rollback does not come to its end."""
    fails_back: FailReason | None = None
    hook_takes: timedelta | None = None
    """A PreApply hook runs here first, for so long."""
    hook_fails: bool = False
    hook_is_irreversible: bool = False
    exists: bool = True
    selected: bool = True
    uid: str = ""
    calendar: Calendar | None = None
    profile: TenantProfileSpec = field(default_factory=TenantProfileSpec)
    """What `calendar` was compiled from, where a test looks at doors."""
    decisions: dict[str, SeenDecision] = field(default_factory=dict)
    told: list[NoticeRecord] = field(default_factory=list)
    """The notices that its profile shows."""
    claims: tuple[Claim, ...] = ()
    run: StoredRun | None = None
    touched: bool = False


def hook_end_time(member: Member) -> datetime | None:
    """Return when the Job of the member's hook has ended, or will have; None where it has none."""
    records = member.run.status.hooks if member.run is not None else ()
    started = records[0].start_time if records else None
    return started + member.hook_takes if started is not None and member.hook_takes is not None else None


class Broken(AssertionError):  # noqa: N818 - an invariant, not an error of the program
    """An invariant does not hold."""
