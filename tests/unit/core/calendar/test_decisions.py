"""What a tenant's decisions do, which of them counts, and what each is answered."""

from datetime import datetime, timedelta
from typing import Any

import pytest

from tenantwave.api.conditions import DecisionReason, WaitReason
from tenantwave.api.decision import DecisionType
from tenantwave.api.policy import Consent
from tenantwave.core.calendar import Decision, Rights, rule_on
from unit.core.calendar.manifests import utc

D, R = DecisionType, DecisionReason
MADE = utc("2026-11-16T00:00Z")
NOTICE_END = utc("2026-11-23T00:00Z")
DEADLINE = utc("2026-12-20T00:00Z")
SECOND = timedelta(seconds=1)


def decision(kind: DecisionType, until: str | None = None, name: str = "choice-x7k", made: datetime = MADE) -> Decision:
    """A decision made when the notice came."""
    return Decision(name, kind, made, utc(until) if until else None)


def rights(**changes: Any) -> Rights:
    """The rights of a tenant that has been told."""
    return Rights(**{"notice_end_time": NOTICE_END, **changes})


@pytest.mark.parametrize(
    ("consent", "kind", "until", "bounds", "reason", "holds_until", "skip"),
    [
        pytest.param(Consent.OPT_OUT, None, None, {}, None, None, False, id="nothing-decided"),
        pytest.param(Consent.MANDATORY, None, None, {}, None, None, False, id="mandatory-nothing-decided"),
        pytest.param(Consent.OPT_IN, None, None, {}, WaitReason.AWAITING_CONSENT, None, False, id="undecided-for-ever"),
        pytest.param(
            Consent.OPT_IN, None, None, {"deadline_time": DEADLINE}, WaitReason.AWAITING_CONSENT, DEADLINE, False, id="undecided-to-deadline"
        ),
        pytest.param(
            Consent.OPT_IN, None, None, {"force_time": DEADLINE}, WaitReason.AWAITING_CONSENT, DEADLINE, False, id="undecided-to-force-time"
        ),
        pytest.param(Consent.OPT_IN, D.OPT_IN, None, {}, None, None, False, id="consent"),
        pytest.param(Consent.OPT_IN, D.OPT_IN_EARLY, None, {}, None, None, False, id="early-consent"),
        pytest.param(
            Consent.OPT_IN, D.OPT_IN, None, {"release_time": MADE + SECOND}, WaitReason.AWAITING_CONSENT, None, False,
            id="consent-to-another-version",
        ),
        pytest.param(
            Consent.MANDATORY, D.DEFER, "2026-12-01T00:00Z", {}, WaitReason.DEFERRED, utc("2026-12-01T00:00Z"), False, id="mandatory-defer"
        ),
        pytest.param(
            Consent.OPT_OUT, D.DEFER, "2027-02-01T00:00Z", {"max_deferral": timedelta(days=30)}, WaitReason.DEFERRED,
            utc("2026-12-23T00:00Z"), False, id="defer-cut-by-max-deferral",
        ),
        pytest.param(
            Consent.OPT_OUT, D.DEFER, "2027-02-01T00:00Z", {"max_deferral": timedelta(days=999_999)}, WaitReason.DEFERRED,
            utc("2027-02-01T00:00Z"), False, id="a-limit-beyond-all-sense",
        ),
        pytest.param(
            Consent.OPT_OUT, D.DEFER, "2027-02-01T00:00Z", {"max_deferral": timedelta(days=9), "notice_end_time": None},
            WaitReason.DEFERRED, utc("2027-02-01T00:00Z"), False, id="max-deferral-counts-from-the-end-of-the-notice",
        ),
        pytest.param(Consent.OPT_OUT, D.OPT_OUT, None, {}, WaitReason.OPTED_OUT, None, True, id="opted-out-for-good"),
        pytest.param(
            Consent.OPT_OUT, D.OPT_OUT, None, {"deadline_time": DEADLINE, "force_time": DEADLINE + SECOND}, WaitReason.OPTED_OUT, DEADLINE,
            False, id="opted-out-to-the-deadline",
        ),
        pytest.param(
            Consent.OPT_OUT, D.OPT_OUT, "2026-12-01T00:00Z", {"max_deferral": SECOND, "deadline_time": DEADLINE}, WaitReason.OPTED_OUT,
            utc("2026-12-01T00:00Z"), False, id="max-deferral-is-not-about-opting-out",
        ),
        pytest.param(Consent.MANDATORY, D.OPT_OUT, None, {}, None, None, False, id="a-refused-one-has-no-effect"),
    ],
)  # fmt: skip
def test_what_a_choice_does(
    consent: Consent,
    kind: DecisionType | None,
    until: str | None,
    bounds: dict[str, Any],
    reason: WaitReason | None,
    holds_until: datetime | None,
    skip: bool,
) -> None:
    """The reason, its end, and whether the tenant is out for good."""
    ruling = rule_on([decision(kind, until)] if kind else [], rights(consent=consent, **bounds))
    assert (ruling.choice.hold.reason if ruling.choice.hold else None) == reason
    assert ruling.choice.until_time == holds_until
    assert ruling.choice.skip is skip
    assert ruling.choice.early is (kind is D.OPT_IN_EARLY)


@pytest.mark.parametrize(
    ("given", "bounds", "reason", "message"),
    [
        pytest.param(
            decision(D.DEFER, "2026-12-01T00:00Z"), {}, R.ACCEPTED, "counts until 2026-12-01T00:00:00Z", id="defer"
        ),
        pytest.param(
            decision(D.DEFER, "2027-02-01T00:00Z"), {"max_deferral": timedelta(days=30)}, R.SHORTENED,
            "counts until 2026-12-23T00:00:00Z only: maxDeferral ends it then", id="defer-too-long",
        ),
        pytest.param(
            decision(D.DEFER, "2027-02-01T00:00Z"), {"deadline_time": DEADLINE, "force_time": DEADLINE + SECOND}, R.SHORTENED,
            "counts until 2026-12-20T00:00:00Z only: deadlineTime ends it then", id="defer-beyond-the-deadline",
        ),
        pytest.param(
            decision(D.OPT_OUT), {"force_time": DEADLINE}, R.SHORTENED, "counts until 2026-12-20T00:00:00Z only: forceTime ends it then",
            id="opt-out-until-forced",
        ),
        pytest.param(decision(D.OPT_OUT), {}, R.ACCEPTED, "counts without end: the tenant is skipped", id="opt-out"),
        pytest.param(decision(D.OPT_IN), {}, R.ACCEPTED, "the tenant starts in its next opening", id="opt-in"),
        pytest.param(
            decision(D.OPT_OUT), {"consent": Consent.MANDATORY}, R.NOT_ALLOWED,
            "the policy says consent: Mandatory; use Defer, or ask the platform team", id="opt-out-of-a-duty",
        ),
        pytest.param(
            decision(D.DEFER), {}, R.NOT_ALLOWED,
            "untilTime must be ahead with type Defer; create a new decision with a later one", id="defer-without-a-time",
        ),
        pytest.param(
            decision(D.DEFER, "2026-11-16T00:00Z"), {}, R.NOT_ALLOWED,
            "untilTime must be ahead with type Defer; create a new decision with a later one", id="defer-to-now",
        ),
        pytest.param(
            decision(D.DEFER, "2026-12-01T00:00Z", made=MADE + SECOND), {"start_time": MADE}, R.TOO_LATE,
            "the tenant has started at 2026-11-16T00:00:00Z; the decision has no effect on this run", id="after-the-start",
        ),
        pytest.param(
            decision(D.DEFER, "2026-12-01T00:00Z", made=MADE + SECOND), {"start_time": MADE + SECOND * 0.999}, R.TOO_LATE,
            "the tenant has started at 2026-11-16T00:00:00Z; the decision has no effect on this run", id="a-moment-after-the-start",
        ),
        pytest.param(
            decision(D.DEFER, "2026-12-01T00:00Z"), {"start_time": MADE + SECOND * 0.4}, R.ACCEPTED, "counts until 2026-12-01T00:00:00Z",
            id="before-the-start-or-after-it-in-the-same-second",
        ),
        pytest.param(
            decision(D.DEFER, "2026-12-01T00:00Z"), {"start_time": MADE}, R.ACCEPTED, "counts until 2026-12-01T00:00:00Z",
            id="on-the-second-of-the-start",
        ),
        pytest.param(
            decision(D.OPT_OUT), {"deadline_time": MADE}, R.TOO_LATE, "decisions lapsed at 2026-11-16T00:00:00Z; ask the platform team",
            id="after-the-lapse",
        ),
        pytest.param(
            decision(D.OPT_IN_EARLY), {"early_wave": False}, R.NOT_ALLOWED,
            "no earlier wave is left to start; use OptIn to consent to the present one", id="no-earlier-wave",
        ),
        pytest.param(
            decision(D.OPT_IN), {"release_time": MADE + SECOND}, R.SUPERSEDED,
            "the version has changed at 2026-11-16T00:00:01Z, and consent was given to the one before; opt in again", id="another-version",
        ),
    ],
)  # fmt: skip
def test_what_a_decision_is_answered(given: Decision, bounds: dict[str, Any], reason: DecisionReason, message: str) -> None:
    """Accepted or refused, in a word and a sentence; a refused one has no effect."""
    ruling = rule_on([given], rights(**bounds))
    [answer] = ruling.answers
    assert (answer.reason, answer.message) == (reason, message)
    assert answer.accepted is (reason in (R.ACCEPTED, R.SHORTENED))
    assert answer.accepted or ruling.choice == rule_on([], rights(**bounds)).choice


@pytest.mark.parametrize(
    ("older", "newer", "counts"),
    [
        pytest.param(decision(D.OPT_OUT, name="a"), decision(D.OPT_IN, name="b", made=MADE + SECOND), "b", id="opt-in-ends-opt-out"),
        pytest.param(decision(D.OPT_IN, name="a"), decision(D.DEFER, "2026-12-01T00:00Z", "b", MADE + SECOND), "b", id="a-second-thought"),
        pytest.param(decision(D.OPT_OUT, name="a"), decision(D.OPT_IN, name="b"), "a", id="same-second-opt-out-first"),
        pytest.param(decision(D.DEFER, "2026-12-01T00:00Z", "a"), decision(D.OPT_IN_EARLY, name="b"), "a", id="same-second-defer-next"),
        pytest.param(decision(D.OPT_OUT, name="a"), decision(D.DEFER, "2026-12-01T00:00Z", "b"), "a", id="same-second-opt-out-over-defer"),
        pytest.param(
            decision(D.DEFER, "2026-12-01T00:00Z", "a"),
            decision(D.DEFER, name="b", made=MADE + SECOND),
            "a",
            id="a-refused-one-does-not-count",
        ),
    ],
)
def test_only_the_newest_counts(older: Decision, newer: Decision, counts: str) -> None:
    """In whatever order they are listed; the other one is told."""
    for listed in ([older, newer], [newer, older]):
        ruling = rule_on(listed, rights())
        assert [answer.decision for answer in ruling.answers if answer.accepted] == [counts]
        assert len(ruling.answers) == 2


def test_an_older_decision_is_told_that_a_newer_one_counts() -> None:
    ruling = rule_on([decision(D.OPT_IN, name="new", made=MADE + SECOND), decision(D.OPT_OUT, name="old")], rights())
    assert ruling.answers[1].reason is R.SUPERSEDED
    assert ruling.answers[1].message == "a newer decision counts instead"


def test_a_new_decision_changes_the_answer_of_the_one_that_counted_and_of_no_other() -> None:
    """Else a tenant's thousandth second thought would be a thousand writes."""
    older = [decision(D.DEFER, "2026-12-24T00:00Z", f"defer-{seconds}", MADE + seconds * SECOND) for seconds in range(9)]
    older.append(decision(D.DEFER, name="refused", made=MADE + SECOND * 3))
    before = {answer.decision: answer for answer in rule_on(older, rights()).answers}
    after = rule_on([*older, decision(D.OPT_IN, name="opt-in", made=MADE + SECOND * 20)], rights()).answers
    assert [answer.decision for answer in after if answer != before.get(answer.decision)] == ["opt-in", "defer-8"]


def test_a_choice_holds_up_to_its_end() -> None:
    """At its end it holds no more."""
    choice = rule_on([decision(D.DEFER, "2026-12-01T00:00Z")], rights()).choice
    assert choice.holds(utc("2026-12-01T00:00Z") - SECOND)
    assert not choice.holds(utc("2026-12-01T00:00Z"))


@pytest.mark.parametrize("made", [MADE + SECOND, MADE + 9 * SECOND], ids=["in the next second", "by a clock that is ahead"])
def test_what_was_heard_does_not_come_too_late(made: datetime) -> None:
    """The consent by which the tenant started counts on, and the OptOut before it does not count again."""
    given = [decision(D.OPT_OUT, name="out", made=MADE - SECOND), decision(D.OPT_IN, name="in", made=made)]
    ruling = rule_on(given, rights(start_time=MADE, heard=frozenset({"in"})))
    assert [str(answer.reason) for answer in ruling.answers] == ["Accepted", "Superseded"]
    assert (ruling.choice.hold, ruling.choice.skip) == (None, False)
    late = rule_on(given, rights(start_time=MADE))
    assert [str(answer.reason) for answer in late.answers] == ["TooLate", "Accepted"]
