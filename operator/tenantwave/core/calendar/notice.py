"""The notice: when its clock begins, how long it runs, and what starts it anew.

    noticeEnd = proof of delivery + lead

Delivering is somebody else's work; here is only what the times mean.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta

from tenantwave.api.policy import NoticePolicy
from tenantwave.api.upgrade import Notice as NoticeText
from tenantwave.api.upgrade import Urgency


@dataclass(frozen=True, slots=True)
class Notice:
    """The notice of one upgrade to one tenant. `given_time`: its proof of delivery, None until there is one; `route`: where it goes."""

    given_time: datetime | None
    lead: timedelta
    route: str = ""

    @property
    def end_time(self) -> datetime | None:
        """Return from when on the tenant may start; None as long as nothing is delivered."""
        return self.given_time + self.lead if self.given_time is not None else None


@dataclass(frozen=True, slots=True)
class NoticeRecord:
    """What is stored of a notice that was given: which release, which words (a digest), and when it was proven."""

    version: str
    digest: str
    given_time: datetime


def lead_of(policy: NoticePolicy, urgency: Urgency) -> timedelta:
    """Return how long the notice runs. `Security` takes the shorter of the two leads, and does nothing else."""
    return min(policy.lead, policy.emergency_lead) if urgency is Urgency.SECURITY else policy.lead


def proof_time(recorded_time: datetime | None, accepted_times: Iterable[datetime | None]) -> datetime | None:
    """Return when delivery was proven: the record in the tenant's profile is confirmed, and one of its Customers routes accepted it.

    Args: recorded_time: when the API server confirmed the record; None: it has not. accepted_times: for each Customers route of the tenant
    when it accepted, None: not yet; no entries: the tenant has no route, and the record alone is proof.
    """
    times = list(accepted_times)
    accepted = [time for time in times if time is not None]
    if recorded_time is None or (times and not accepted):
        return None
    return max(recorded_time, min(accepted, default=recorded_time))


def current_notice(record: NoticeRecord | None, version: str, digest: str, lead: timedelta, route: str = "") -> Notice:
    """Return the notice that counts. Another version or other words need another notice; a moved date, another window or a Retry does not."""
    is_about_this = record is not None and (record.version, record.digest) == (version, digest)
    return Notice(record.given_time if record is not None and is_about_this else None, lead, route)


def missing_in(policy: NoticePolicy, text: NoticeText | None) -> str:
    """Return what a notice lacks that the policy requires, as a sentence with the mend; empty if it lacks nothing."""
    if not policy.required:
        return ""
    missing = [part for part in ("changes", "benefits", "risks") if not (text is not None and getattr(text, part))]
    if not missing:
        return ""
    return f"spec.notice has no {', '.join(missing)}, and the policy says notice.required; tell the tenants"
