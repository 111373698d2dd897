"""When a tenant may be started, and why not now: windows, freezes, staffed hours.

    calendar = compile_calendar(policy.maintenance, profile.spec)       # once per generation of the two
    answer = availability(calendar, now, skew)                          # holds until answer.valid_until_time

Pure: the only thing read from outside is the time zone database, once.
"""

from tenantwave.core.calendar.answers import Availability, Closed, Opening
from tenantwave.core.calendar.compiled import Calendar, closed_calendar, compile_calendar, unreadable_profile
from tenantwave.core.calendar.lookup import availability
from tenantwave.core.calendar.problems import policy_problems
from tenantwave.core.calendar.status import WindowsValidity, window_status, windows_validity

__all__ = [
    "Availability",
    "Calendar",
    "Closed",
    "Opening",
    "WindowsValidity",
    "availability",
    "closed_calendar",
    "compile_calendar",
    "policy_problems",
    "unreadable_profile",
    "window_status",
    "windows_validity",
]
