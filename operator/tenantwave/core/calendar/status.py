"""The calendar's answer as the tenant's TenantProfile shows it."""

from dataclasses import dataclass

from tenantwave.api.conditions import DetailReason, WaitReason
from tenantwave.api.profile import WindowStatus
from tenantwave.api.windows import Opening as ShownOpening
from tenantwave.core.calendar.answers import Availability

_FAULTS = (WaitReason.UNKNOWN_TIME_ZONE, WaitReason.INVALID_WINDOWS)


@dataclass(frozen=True, slots=True)
class WindowsValidity:
    """The content of the condition `WindowsValid`: what it says, why in one word, and why in a sentence."""

    valid: bool
    reason: DetailReason | WaitReason
    message: str


def windows_validity(answer: Availability) -> WindowsValidity:
    """Say whether the tenant's zone, windows and freezes can be used."""
    if answer.hold is not None and answer.hold.reason in _FAULTS:
        return WindowsValidity(False, answer.hold.reason, answer.hold.message)
    return WindowsValidity(True, DetailReason.VALID, "the zone, the windows and the freezes can be used")


def window_status(answer: Availability) -> WindowStatus:
    """Return what `status.window` of the TenantProfile says. An opening without an end in sight is not listed: it has no end to show."""
    upcoming = tuple(
        ShownOpening(start=opening.start_time, end=opening.end_time, windows=opening.windows)
        for opening in answer.upcoming
        if opening.end_time is not None
    )
    return WindowStatus(
        open=answer.open,
        reason=answer.hold.reason if answer.hold else "",
        message=answer.hold.message if answer.hold else "",
        next_open_time=answer.next_open_time,
        next_close_time=answer.next_close_time,
        upcoming=upcoming,
    )
