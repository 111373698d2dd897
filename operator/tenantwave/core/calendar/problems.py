"""What is wrong with a policy's own calendar, before any tenant is looked at."""

from datetime import datetime

from tenantwave.api.policy import Maintenance, WhenNoWindow
from tenantwave.core.calendar.compiled import compile_calendar
from tenantwave.core.calendar.never import opens, why_it_never_opens


def policy_problems(maintenance: Maintenance, now: datetime) -> tuple[str, ...]:
    """Return what makes a policy's calendar unusable for everybody, as sentences with the mend; empty if nothing does.

    That is an unknown zone, an entry that cannot be read, and default windows, freezes and staffed hours that together leave no time to
    start within 400 days in `defaultTimeZone`. A policy without default windows that says Closed is fine: its tenants state windows of
    their own. It is judged as if they were always open.
    """
    calendar = compile_calendar(maintenance, None)
    if calendar.fault is not None:
        return (_for_the_platform(calendar.fault.message),)
    if calendar.windows == ():
        calendar = compile_calendar(maintenance.model_copy(update={"when_no_window": WhenNoWindow.OPEN}), None)
    if opens(calendar, now):
        return ()
    return (_for_the_platform(why_it_never_opens(calendar, now).message),)


def _for_the_platform(message: str) -> str:
    what, _, mend = message.removeprefix("closed: ").rpartition("; ")
    mend = mend.removeprefix("the platform team corrects ")
    return f"maintenance: {what}; correct {mend}" if what else message
