"""The table of reasons is whole, and its words are those of the contract."""

import re

import pytest

from tenantwave.api.conditions import ALL_REASONS, FailReason, ReadyReason, Reason, SkipReason, WaitReason

WAITS = """
NoticePeriod OutsideWindow PlatformFreeze TenantFreeze NotStaffed TooLittleTimeLeft Deferred OptedOut AwaitingConsent
InvalidWindows UnknownTimeZone ClockSkew TenantBusy MaxParallel WaveQueued UpgradeOnHold
"""
SKIPS = "OptedOut IncompatibleVersion Unmatched Unselected Superseded SkippedByAction Aborted Resolved"
FAILURES = """
GateFailed NotConverged HookFailed PreflightFailed ConfigConflict UnknownBase OwnershipConflict NotDrivable Unverifiable
QuotaExceeded SnapshotCorrupt Mutated Recreated Deleted Ambiguous ForeignVersionChange ForwardOnly WindowClosed WaveFailed
Aborted
"""
READY = """
Planning WaveRunning Soaking RollingBack WaitingForWindow NoticePeriod AwaitingConsent TenantBusy AwaitingApproval Paused
Suspended GateUnknown GateInconclusive FleetIncident RolledBack Aborted RollbackFailed Held InvalidSpec PolicyNotFound
NoTenants UnmatchedTenants EmptyFirstWave CatalogueIncomplete OwnershipConflict DeadlineExceeded Succeeded SucceededWithSkips
"""


@pytest.mark.parametrize(
    ("family", "words"),
    [(WaitReason, WAITS), (SkipReason, SKIPS), (FailReason, FAILURES), (ReadyReason, READY)],
    ids=lambda value: value.__name__ if isinstance(value, type) else "",
)
def test_reasons_are_those_of_the_contract(family: type[Reason], words: str) -> None:
    """Not one more, not one less."""
    assert {reason.value for reason in family} == set(words.split())


@pytest.mark.parametrize("family", ALL_REASONS, ids=lambda family: family.__name__)
def test_every_reason_is_one_word_with_a_meaning(family: type[Reason]) -> None:
    """CamelCase, as the Kubernetes conventions want it."""
    for reason in family:
        assert re.fullmatch(r"([A-Z]+[a-z]+)+", reason.value), reason
        assert reason.meaning, reason
        assert str(reason) == reason.value


@pytest.mark.parametrize("reason", [*FailReason, *WaitReason], ids=str)
def test_where_something_is_wrong_a_person_is_told_what_to_do(reason: Reason) -> None:
    """A mend for each failure and each wait."""
    assert reason.mend
