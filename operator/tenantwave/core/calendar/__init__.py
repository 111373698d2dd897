"""When a tenant may be started, and why not now: windows, freezes, staffed hours, notice, the tenant's choice.

    calendar = compile_calendar(policy.maintenance, profile.spec)       # once per generation of the two
    answer = availability(calendar, now, skew)                          # the calendar alone; holds until answer.valid_until_time
    start = planned_start(calendar, terms, now, skew)                   # with all that counts for one upgrade; until start.wake_time

Beside them the other rules that depend on the calendar: what a tenant's decisions mean (`rule_on`), what becomes of a tenant in flight at
the end of its opening (`what_at_close`), when a wave leaves stragglers behind (`wave_wait`), and what will happen when (`forecast`).

Pure: the only thing read from outside is the time zone database, once. docs/concepts/windows.md explains how an opening is computed.
"""

from tenantwave.core.calendar.answers import Availability, Closed, Opening
from tenantwave.core.calendar.at_close import AtClose, close_wake_time, what_at_close
from tenantwave.core.calendar.compiled import Calendar, closed_calendar, compile_calendar, unreadable_profile
from tenantwave.core.calendar.decisions import Answer, Choice, Decision, Rights, Ruling, age_of, rule_on
from tenantwave.core.calendar.forecast import Forecast, Guest, Rescheduled, TenantForecast, WaveForecast, WavePlan, forecast, rescheduled
from tenantwave.core.calendar.kept import KeptStarts
from tenantwave.core.calendar.lifts import Override, forced_from, overrides_for, why_no_override
from tenantwave.core.calendar.lookup import availability
from tenantwave.core.calendar.notice import Notice, NoticeRecord, current_notice, lead_of, missing_in, proof_time
from tenantwave.core.calendar.planned import CLOCK_SKEW, PlannedStart, Start, Terms, first_start, planned_start
from tenantwave.core.calendar.problems import past_times, policy_problems
from tenantwave.core.calendar.status import WindowsValidity, window_status, windows_validity
from tenantwave.core.calendar.stragglers import Member, Stage, WaveWait, wave_wait

__all__ = [
    "CLOCK_SKEW",
    "Answer",
    "AtClose",
    "Availability",
    "Calendar",
    "Choice",
    "Closed",
    "Decision",
    "Forecast",
    "Guest",
    "KeptStarts",
    "Member",
    "Notice",
    "NoticeRecord",
    "Opening",
    "Override",
    "PlannedStart",
    "Rescheduled",
    "Rights",
    "Ruling",
    "Stage",
    "Start",
    "TenantForecast",
    "Terms",
    "WaveForecast",
    "WavePlan",
    "WaveWait",
    "WindowsValidity",
    "age_of",
    "availability",
    "close_wake_time",
    "closed_calendar",
    "compile_calendar",
    "current_notice",
    "first_start",
    "forced_from",
    "forecast",
    "lead_of",
    "missing_in",
    "overrides_for",
    "past_times",
    "planned_start",
    "policy_problems",
    "proof_time",
    "rescheduled",
    "rule_on",
    "unreadable_profile",
    "wave_wait",
    "what_at_close",
    "why_no_override",
    "window_status",
    "windows_validity",
]
