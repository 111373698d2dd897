"""Which tenants a wave leaves behind, and when it may."""

from datetime import timedelta

import pytest

from tenantwave.api.conditions import WaitReason
from tenantwave.api.policy import Stragglers
from tenantwave.core.calendar import Member, Stage, WaveWait, wave_wait
from unit.core.calendar.manifests import utc

BEGAN = utc("2026-11-16T00:00Z")
WAIT = timedelta(hours=72)
POLICY = Stragglers.model_validate({"minCompleted": "80%", "maxWait": "72h"})
LETTERS = {"s": Stage.SUCCEEDED, "k": Stage.SKIPPED, "f": Stage.FAILED, "b": Stage.BUSY}
REASONS = {
    "w": WaitReason.OUTSIDE_WINDOW, "n": WaitReason.NOTICE_PERIOD, "d": WaitReason.DEFERRED, "i": WaitReason.INVALID_WINDOWS,
    "o": WaitReason.OPTED_OUT, "c": WaitReason.AWAITING_CONSENT, "m": WaitReason.MAX_PARALLEL, "t": WaitReason.TENANT_BUSY,
    "h": WaitReason.UPGRADE_ON_HOLD,
}  # fmt: skip


def wave(letters: str) -> list[Member]:
    """One tenant for each letter: s(ucceeded), k (skipped), f(ailed), b(usy), or waiting for the reason of the letter."""
    return [Member(f"t{number}", LETTERS.get(letter, Stage.WAITING), BEGAN, REASONS.get(letter)) for number, letter in enumerate(letters)]


@pytest.mark.parametrize(
    ("letters", "hours", "stragglers"),
    [
        pytest.param("sssss", 0, "", id="all-succeeded"),
        pytest.param("sskkf", 0, "", id="all-through-one-way-or-another"),
        pytest.param("ssssw", 72, "t4", id="one-waits-for-a-far-window"),
        pytest.param("ssssw", 71, None, id="not-long-enough"),
        pytest.param("sssww", 99, None, id="too-few-succeeded"),
        pytest.param("ssssssssnd", 72, "t8 t9", id="notice-and-decision-count-too"),
        pytest.param("ssssi", 72, "t4", id="a-tenant-closed-by-its-own-fault"),
        pytest.param("ssssssssbw", 99, None, id="one-is-in-flight-or-held"),
        pytest.param("ssssm", 99, None, id="a-slot-is-not-the-tenants-matter"),
        pytest.param("sssst", 99, None, id="nor-is-another-upgrade"),
        pytest.param("ssssh", 99, None, id="nor-is-a-pause"),
        pytest.param("sssfw", 99, None, id="a-failed-one-counts-and-has-not-succeeded"),
        pytest.param("sssskw", 72, "t5", id="a-skipped-one-counts-nowhere"),
        pytest.param("so", 0, "t1", id="opted-out-need-no-patience"),
        pytest.param("scccc", 0, "t1 t2 t3 t4", id="undecided-do-not-count"),
        pytest.param("ooc", 999, None, id="nobody-succeeded-yet"),
        pytest.param("ssssow", 72, "t4 t5", id="both-sorts"),
        pytest.param("ssssow", 71, None, id="both-sorts-too-early"),
    ],
)
def test_when_a_wave_is_done(letters: str, hours: int, stragglers: str | None) -> None:
    """None: it still waits."""
    found = wave_wait(wave(letters), POLICY, BEGAN + timedelta(hours=hours))
    assert found.is_done is (stragglers is not None)
    assert " ".join(found.stragglers) == (stragglers or "")


@pytest.mark.parametrize("letters", ["ssssw", "sssso", "b"])
def test_without_a_policy_a_wave_waits_for_all(letters: str) -> None:
    """However long it takes."""
    assert wave_wait(wave(letters), None, BEGAN + 9 * WAIT) == WaveWait(False)


def test_patience_counts_from_the_entry_of_each_tenant() -> None:
    """One that came later, as by OptInEarly, has its own time."""
    late = Member("late", Stage.WAITING, BEGAN + timedelta(hours=5), WaitReason.OUTSIDE_WINDOW)
    found = wave_wait([*wave("sssssssw"), late], POLICY, BEGAN + WAIT)
    assert found == WaveWait(False)  # 7 of 9 are too few
    found = wave_wait([*wave("ssssssssw"), late], POLICY, BEGAN + WAIT)
    assert found == WaveWait(False, (), BEGAN + WAIT + timedelta(hours=5))
    assert wave_wait([*wave("ssssssssw"), late], POLICY, BEGAN + WAIT + timedelta(hours=5)).stragglers == ("late", "t8")


@pytest.mark.parametrize(
    ("min_completed", "letters", "is_done"),
    [
        pytest.param("80%", "sssw", False, id="three-of-four-are-under-80%"),
        pytest.param("75%", "sssw", True, id="three-of-four-are-75%"),
        pytest.param(3, "sssw", True, id="a-number"),
        pytest.param(50, "sssso", True, id="a-number-beyond-the-wave-means-all-that-count"),
        pytest.param(0, "wwww", False, id="none-needed-yet-somebody-has-to"),
    ],
)
def test_how_many_must_have_succeeded(min_completed: object, letters: str, is_done: bool) -> None:
    """A share is rounded up; one at least."""
    policy = Stragglers.model_validate({"minCompleted": min_completed, "maxWait": "72h"})
    assert wave_wait(wave(letters), policy, BEGAN + WAIT).is_done is is_done
