"""The notice: its proof, its lead, and what starts it anew."""

from datetime import datetime, timedelta

import pytest

from tenantwave.api.policy import NoticePolicy
from tenantwave.api.upgrade import Notice as NoticeText
from tenantwave.api.upgrade import Urgency
from tenantwave.core.calendar import Notice, NoticeRecord, current_notice, lead_of, missing_in, past_times, proof_time, why_no_override
from unit.core.calendar.manifests import utc

GIVEN, LATER = utc("2026-11-16T00:00Z"), utc("2026-11-16T05:00Z")
RECORD = NoticeRecord("2.4.0", "sha256:a", GIVEN)
WEEK = timedelta(days=7)


@pytest.mark.parametrize(
    ("lead", "emergency", "urgency", "expected"),
    [
        pytest.param("7d", "1h", Urgency.ROUTINE, timedelta(days=7), id="routine"),
        pytest.param("7d", "1h", Urgency.SECURITY, timedelta(hours=1), id="security"),
        pytest.param("30m", "1h", Urgency.SECURITY, timedelta(minutes=30), id="security-never-makes-it-longer"),
    ],
)
def test_the_lead(lead: str, emergency: str, urgency: Urgency, expected: timedelta) -> None:
    """Security takes the shorter one."""
    assert lead_of(NoticePolicy.model_validate({"lead": lead, "emergencyLead": emergency}), urgency) == expected


@pytest.mark.parametrize(
    ("recorded", "accepted", "proof"),
    [
        pytest.param(None, [], None, id="not-recorded"),
        pytest.param(GIVEN, [], GIVEN, id="no-route-the-record-is-enough"),
        pytest.param(GIVEN, [None], None, id="no-route-has-accepted"),
        pytest.param(GIVEN, [None, LATER], LATER, id="one-route-is-enough"),
        pytest.param(LATER, [GIVEN], LATER, id="the-record-comes-last"),
        pytest.param(None, [GIVEN], None, id="a-route-without-the-record"),
    ],
)
def test_the_proof_of_delivery(recorded: datetime | None, accepted: list[datetime | None], proof: datetime | None) -> None:
    """The record, and one route if there are any."""
    assert proof_time(recorded, accepted) == proof


@pytest.mark.parametrize(
    ("record", "version", "digest", "given"),
    [
        pytest.param(None, "2.4.0", "sha256:a", None, id="never-told"),
        pytest.param(RECORD, "2.4.0", "sha256:a", GIVEN, id="told"),
        pytest.param(RECORD, "2.4.1", "sha256:a", None, id="another-version"),
        pytest.param(RECORD, "2.4.0", "sha256:b", None, id="other-words"),
    ],
)
def test_what_starts_the_notice_anew(record: NoticeRecord | None, version: str, digest: str, given: datetime | None) -> None:
    """Version and words, and nothing else that could be passed."""
    notice = current_notice(record, version, digest, WEEK, "acme")
    assert notice == Notice(given, WEEK, "acme")
    assert notice.end_time == (given + WEEK if given else None)


@pytest.mark.parametrize(
    ("required", "text", "missing"),
    [
        pytest.param(False, None, "", id="not-required"),
        pytest.param(True, NoticeText(changes="c", benefits="b", risks="r"), "", id="complete"),
        pytest.param(
            True,
            NoticeText(changes="c", benefits="b"),
            "spec.notice has no risks, and the policy says notice.required; tell the tenants",
            id="no-risks",
        ),
        pytest.param(
            True,
            None,
            "spec.notice has no changes, benefits, risks, and the policy says notice.required; tell the tenants",
            id="nothing-at-all",
        ),
    ],
)
def test_what_a_required_notice_must_say(required: bool, text: NoticeText | None, missing: str) -> None:
    """Changes, benefits, risks."""
    assert missing_in(NoticePolicy(required=required), text) == missing


@pytest.mark.parametrize(
    ("deadline", "force", "problem"),
    [
        pytest.param(None, None, "", id="none"),
        pytest.param("2026-12-20T00:00Z", "2027-01-10T00:00Z", "", id="both-ahead"),
        pytest.param(
            "2026-11-16T00:00Z",
            "2027-01-10T00:00Z",
            "spec.deadlineTime 2026-11-16T00:00:00Z has passed; set a later one, and in a hurry create an UpgradeAction OverrideWindow",
            id="deadline-past",
        ),
        pytest.param(
            None,
            "2026-11-15T00:00Z",
            "spec.forceTime 2026-11-15T00:00:00Z has passed; set a later one, and in a hurry create an UpgradeAction OverrideWindow",
            id="force-past",
        ),
    ],
)
def test_times_that_had_passed_when_first_seen(deadline: str | None, force: str | None, problem: str) -> None:
    """Either is refused, with the way that is open in a hurry."""
    assert past_times(utc(deadline) if deadline else None, utc(force) if force else None, GIVEN) == problem


@pytest.mark.parametrize(
    ("expires", "refusal"),
    [
        pytest.param(GIVEN, "expireTime has passed; create a new action with a later time", id="past"),
        pytest.param(GIVEN + timedelta(hours=72), "", id="72-hours"),
        pytest.param(GIVEN + timedelta(hours=73), "expireTime is over 72h ahead; create a new action that ends sooner", id="too-long"),
    ],
)
def test_how_long_an_override_may_be(expires: datetime, refusal: str) -> None:
    """At most three days."""
    assert why_no_override(GIVEN, expires) == refusal
