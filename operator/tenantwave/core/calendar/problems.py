"""What is wrong with a policy's own calendar, before any tenant is looked at."""

from dataclasses import replace
from datetime import datetime

from tenantwave.api.policy import Maintenance
from tenantwave.core.calendar.compiled import compile_calendar
from tenantwave.core.calendar.never import conflict_in
from tenantwave.core.calendar.zones import utc_text


def policy_problems(maintenance: Maintenance, now: datetime) -> tuple[str, ...]:
    """Return what makes a policy's calendar unusable for everybody, as sentences with the mend; empty if nothing does.

    That is an unknown zone, an entry that cannot be read, and default windows, freezes and staffed hours that together leave no time to
    start within 400 days in `defaultTimeZone`. A policy without default windows that says Closed is fine: its tenants state windows of
    their own. It is judged as if they were always open.
    """
    calendar = compile_calendar(maintenance, None)
    if calendar.fault is not None:
        return (calendar.fault.message.removeprefix("closed: ").replace("the platform team corrects", "correct"),)
    if calendar.has_no_windows:
        calendar = replace(calendar, windows=None)
    conflict = conflict_in(calendar, now)
    return (f"{conflict.what}, in {calendar.zone.name}; correct maintenance",) if conflict else ()


def past_times(deadline_time: datetime | None, force_time: datetime | None, seen_time: datetime) -> str:
    """Return which of an upgrade's two times had passed when it was first seen, as a sentence with the mend; empty if none had.

    Args: seen_time: when this value was first seen, at creation or edit. It matters only while tenants are left to start.
    """
    for name, time in (("deadlineTime", deadline_time), ("forceTime", force_time)):
        if time is not None and time <= seen_time:
            return f"spec.{name} {utc_text(time)} has passed; set a later one, and in a hurry create an UpgradeAction OverrideWindow"
    return ""
