"""Whether a tenant may start, told naively: a second opinion on the planner, which shares no code with core/calendar. All zones are UTC.

It looks at one instant, minute by minute if need be, with the rules of windows.md read aloud: no compiled calendar, no search, no skew.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

from fleets.member import Member
from tenantwave.api.action import ActionType, Lift
from tenantwave.api.decision import DecisionType
from tenantwave.api.policy import Consent, Maintenance, WhenNoWindow
from tenantwave.api.profile import TenantProfileSpec
from tenantwave.api.upgrade import Urgency
from tenantwave.api.windows import Freeze, Hours, Weekly, Window
from tenantwave.core.notices import notice_digest

if TYPE_CHECKING:
    from fleets.fleet import Fleet

D = DecisionType
DAYS = ("Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun")
NEWEST = (D.OPT_IN, D.OPT_IN_EARLY, D.DEFER, D.OPT_OUT)
"""Of the same second the later one counts."""


def why_shut(fleet: Fleet, tenant: str) -> str:
    """Return what keeps a tenant from starting now, in a word; '' if nothing does."""
    member = fleet.members[tenant]
    lifts = lifted_for(fleet, tenant)
    assert fleet.policy is not None
    assert fleet.policy.spec is not None
    checks = (
        ("its choice", _chose_not_to(fleet, member)),
        ("its notice", not _was_told(fleet, member, lifts)),
        ("its door", not is_open(fleet.policy.spec.maintenance, member.profile, fleet.now, lifts, fleet.spec.force_time)),
    )
    return next((word for word, shut in checks if shut), "")


def lifted_for(fleet: Fleet, tenant: str) -> frozenset[Lift]:
    """Return which factors people have lifted for the tenant, in this run, until later than now."""
    assert fleet.journal is not None
    run = fleet.journal.run
    found: set[Lift] = set()
    for action in fleet.actions.values():
        spec = action.spec
        if spec.type is not ActionType.OVERRIDE_WINDOW or not action.accepted or spec.run != run.id:
            continue
        of_wave = any(wave.name == spec.wave and tenant in wave.tenants for wave in run.waves)
        if (tenant in spec.tenants or of_wave) and spec.expire_time is not None and fleet.now < spec.expire_time:
            found |= set(spec.lifts)
    return frozenset(found)


def is_open(
    policy: Maintenance, profile: TenantProfileSpec, now: datetime, lifts: frozenset[Lift] = frozenset(), force: datetime | None = None
) -> bool:
    """Tell whether all factors let a tenant start now, whatever time is left."""
    forced = force is not None and now >= force
    if Lift.TENANT_WINDOWS not in lifts and not forced and not _in_a_window(profile.windows or policy.default_windows, policy, now):
        return False
    if Lift.TENANT_FREEZES not in lifts and not forced and _is_frozen(profile.freezes, now):
        return False
    if Lift.PLATFORM_FREEZES not in lifts and _is_frozen(policy.freezes, now):
        return False
    staff = policy.staffed_hours
    return Lift.STAFFED_HOURS in lifts or staff is None or any(_is_on(shift, now) for shift in staff.weekly)


def _in_a_window(windows: Iterable[Window], policy: Maintenance, now: datetime) -> bool:
    listed = tuple(windows)
    if not listed:
        return policy.when_no_window is WhenNoWindow.OPEN
    return any(
        (one.weekly is not None and _is_on(one.weekly, now))
        or (one.once is not None and one.once.start <= now < one.once.start + one.once.duration)
        for one in listed
    )


def _is_on(weekly: Weekly | Hours, now: datetime) -> bool:
    for back in range(8):
        day = (now - timedelta(days=back)).date()
        begins = datetime.combine(day, weekly.start, UTC)
        if DAYS[day.weekday()] in [str(one) for one in weekly.days] and begins <= now < begins + weekly.duration:
            return True
    return False


def _is_frozen(freezes: Iterable[Freeze], now: datetime) -> bool:
    today = f"{now:%Y-%m-%d}"
    return any(str(one.dates.from_) <= today <= str(one.dates.to) for one in freezes if one.dates is not None)


def _lead(fleet: Fleet) -> timedelta:
    assert fleet.policy is not None
    assert fleet.policy.spec is not None
    notice = fleet.policy.spec.notice
    return min(notice.lead, notice.emergency_lead) if fleet.spec.urgency is Urgency.SECURITY else notice.lead


def _given_time(fleet: Fleet, member: Member) -> datetime | None:
    release = fleet.spec.release
    digest = notice_digest(fleet.spec.notice, release.product, release.version)
    return next((one.given_time for one in member.told if (one.version, one.digest) == (release.version, digest)), None)


def _was_told(fleet: Fleet, member: Member, lifts: frozenset[Lift]) -> bool:
    lead = _lead(fleet)
    if fleet.spec.notice is None and not lead:
        return True
    given = _given_time(fleet, member)
    return given is not None and (Lift.NOTICE in lifts or fleet.now >= given + lead)


def _chose_not_to(fleet: Fleet, member: Member) -> bool:
    """Tell whether its newest decision, or the lack of one, holds it; OptInEarly gets the benefit of the doubt."""
    assert fleet.policy is not None
    assert fleet.policy.spec is not None
    assert fleet.journal is not None
    consent, lapse = fleet.policy.spec.consent, fleet.spec.deadline_time or fleet.spec.force_time
    since = fleet.journal.version.since if fleet.journal.version is not None else None
    made = sorted(
        (seen.decision for seen in member.decisions.values()),
        key=lambda one: (one.creation_time.replace(microsecond=0), NEWEST.index(one.type), one.name),
        reverse=True,
    )
    for one in made:
        if one.type in (D.OPT_IN, D.OPT_IN_EARLY):
            if since is None or one.creation_time >= since:
                return False
            continue
        refused = one.type is D.OPT_OUT and consent is Consent.MANDATORY
        empty = one.type is D.DEFER and (one.until_time is None or one.until_time <= one.creation_time)
        late = lapse is not None and one.creation_time >= lapse
        if not refused and not empty and not late:
            return all(fleet.now < end for end in (one.until_time, lapse, _deferral_ends(fleet, member, one.type)) if end is not None)
    return consent is Consent.OPT_IN and (lapse is None or fleet.now < lapse)


def _deferral_ends(fleet: Fleet, member: Member, kind: DecisionType) -> datetime | None:
    assert fleet.policy is not None
    assert fleet.policy.spec is not None
    assert fleet.journal is not None
    limits = fleet.policy.spec.maintenance.tenant_limits
    if kind is not D.DEFER or limits is None or limits.max_deferral is None:
        return None
    given = _given_time(fleet, member)
    if fleet.spec.notice is None and not _lead(fleet):
        return fleet.journal.version.since + limits.max_deferral if fleet.journal.version is not None else None
    return given + _lead(fleet) + limits.max_deferral if given is not None else None
