"""What the tenant decided: which TenantDecision counts, what it holds up and until when, and what each one is answered.

    lapse   = deadlineTime, else forceTime, else never
    holdEnd = Defer: min(untilTime, noticeEnd + maxDeferral, lapse); OptOut: min(untilTime, lapse); consent missing: lapse

Nothing here needs the time: a choice says until when it holds, and whoever asks compares.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta

from tenantwave.api.conditions import DecisionReason, WaitReason
from tenantwave.api.decision import DecisionType
from tenantwave.api.policy import Consent
from tenantwave.core.calendar.answers import Closed
from tenantwave.core.calendar.sentences import plain, sentence
from tenantwave.core.calendar.zones import utc_date_or_time, utc_text

D = DecisionType


@dataclass(frozen=True, slots=True)
class Decision:
    """A TenantDecision for this upgrade. Times are aware UTC; `until_time` None: none was given."""

    name: str
    type: DecisionType
    creation_time: datetime
    until_time: datetime | None = None


@dataclass(frozen=True, slots=True)
class Rights:
    """What bounds the decisions of one tenant in one upgrade.

    max_deferral: None is no limit. notice_end_time: from where it counts; None: the notice is not delivered. release_time: since when the
    upgrade has its `release.version`; consent that is older is none. start_time: when the tenant was started in this run; None: it was
    not. heard: decisions that were accepted before; another clock says when they were made, and none of them comes too late. early_wave:
    there is a wave not started to move to, or the decision has already moved the tenant.
    """

    consent: Consent = Consent.OPT_OUT
    max_deferral: timedelta | None = None
    notice_end_time: datetime | None = None
    deadline_time: datetime | None = None
    force_time: datetime | None = None
    release_time: datetime | None = None
    start_time: datetime | None = None
    heard: frozenset[str] = frozenset()
    early_wave: bool = True

    @property
    def lapse_time(self) -> datetime | None:
        """Return when decisions and missing consent no longer count; None: never."""
        return self.deadline_time or self.force_time

    @property
    def lapse_name(self) -> str:
        """Return which field says so."""
        return "deadlineTime" if self.deadline_time else "forceTime"


@dataclass(frozen=True, slots=True)
class Answer:
    """What a decision is answered in its condition `Accepted`. A refused one has no effect at all."""

    decision: str
    accepted: bool
    reason: DecisionReason
    message: str


@dataclass(frozen=True, slots=True)
class Choice:
    """What the tenant's decision, or the lack of one, does to its start.

    `hold` counts up to, not including, `until_time`; with `until_time` None it has no end, and if `skip` is set, too, the tenant is
    `Skipped`: it opted out and nothing will ever end that. `early`: it asked for the next wave not started.
    """

    hold: Closed | None = None
    until_time: datetime | None = None
    skip: bool = False
    early: bool = False

    def holds(self, now: datetime) -> bool:
        """Tell whether it keeps the tenant from starting now."""
        return self.hold is not None and (self.until_time is None or now < self.until_time)


FREE = Choice()
"""Nothing was decided, and nothing needs to be."""


@dataclass(frozen=True, slots=True)
class Ruling:
    """What follows from all decisions of a tenant about an upgrade: one choice, and an answer to each decision, newest first."""

    choice: Choice
    answers: tuple[Answer, ...] = ()


def rule_on(decisions: Iterable[Decision], rights: Rights) -> Ruling:
    """Return what counts. The newest decision that is not refused is the one; deleted ones are simply not among them.

    Of the same second OptOut comes before Defer, and Defer before the rest. A new decision changes the answer of the one that counted before it,
    and of no other: which one is newer is not said. Cost: one sort.
    """
    answers: list[Answer] = []
    counts: Decision | None = None
    for decision in sorted(decisions, key=age_of, reverse=True):
        refusal = next((answer for check in _REFUSALS if (answer := check(decision, rights)) is not None), None)
        if refusal is None and counts is not None:
            refusal = Answer(decision.name, False, DecisionReason.SUPERSEDED, NEWER_COUNTS)
        if refusal is None:
            counts = decision
            refusal = _taken(decision, rights)
        answers.append(refusal)
    return Ruling(_choice(counts, rights), tuple(answers))


NEWER_COUNTS = "a newer decision counts instead"
_RANK = {D.OPT_OUT: 3, D.DEFER: 2, D.OPT_IN_EARLY: 1, D.OPT_IN: 0}


def age_of(decision: Decision) -> tuple[datetime, int, str]:
    """Return what orders decisions by age: the newest, which is the one to count, has the greatest."""
    return decision.creation_time.replace(microsecond=0), _RANK[decision.type], decision.name


# Refusals, the first that fits is the answer.


def _refused(decision: Decision, reason: DecisionReason, message: str) -> Answer:
    return Answer(decision.name, False, reason, sentence(message))


def _after_the_start(decision: Decision, rights: Rights) -> Answer | None:
    """Of the second of the start nobody knows which came first, for the API server's times have no fractions: the tenant is believed."""
    if rights.start_time is None or decision.name in rights.heard:
        return None
    if decision.creation_time.replace(microsecond=0) <= rights.start_time.replace(microsecond=0):
        return None
    message = f"the tenant has started at {utc_text(rights.start_time)}; the decision has no effect on this run"
    return _refused(decision, DecisionReason.TOO_LATE, message)


def _opting_out_of_a_duty(decision: Decision, rights: Rights) -> Answer | None:
    if decision.type is not D.OPT_OUT or rights.consent is not Consent.MANDATORY:
        return None
    return _refused(decision, DecisionReason.NOT_ALLOWED, "the policy says consent: Mandatory; use Defer, or ask the platform team")


def _deferring_into_the_past(decision: Decision, rights: Rights) -> Answer | None:
    if decision.type is not D.DEFER or (decision.until_time is not None and decision.until_time > decision.creation_time):
        return None
    return _refused(decision, DecisionReason.NOT_ALLOWED, "untilTime must be ahead with type Defer; create a new decision with a later one")


def _after_the_lapse(decision: Decision, rights: Rights) -> Answer | None:
    if decision.type not in (D.DEFER, D.OPT_OUT) or rights.lapse_time is None or decision.creation_time < rights.lapse_time:
        return None
    message = f"decisions lapsed at {utc_text(rights.lapse_time)}; ask the platform team"
    return _refused(decision, DecisionReason.TOO_LATE, message)


def _consent_to_another_version(decision: Decision, rights: Rights) -> Answer | None:
    if decision.type not in (D.OPT_IN, D.OPT_IN_EARLY) or rights.release_time is None or decision.creation_time >= rights.release_time:
        return None
    message = f"the version has changed at {utc_text(rights.release_time)}, and consent was given to the one before; opt in again"
    return _refused(decision, DecisionReason.SUPERSEDED, message)


def _no_earlier_wave(decision: Decision, rights: Rights) -> Answer | None:
    if decision.type is not D.OPT_IN_EARLY or rights.early_wave:
        return None
    return _refused(decision, DecisionReason.NOT_ALLOWED, "no earlier wave is left to start; use OptIn to consent to the present one")


_REFUSALS: tuple[Callable[[Decision, Rights], Answer | None], ...] = (
    _after_the_start,
    _opting_out_of_a_duty,
    _deferring_into_the_past,
    _after_the_lapse,
    _consent_to_another_version,
    _no_earlier_wave,
)


# What the one that counts does.


@dataclass(frozen=True, slots=True)
class _Limit:
    """An end that a decision cannot pass, and what sets it."""

    time: datetime
    name: str


def _end_of(decision: Decision, rights: Rights) -> _Limit | None:
    """Return when a Defer or OptOut ends, and by what; None: never in sight."""
    asked = decision.until_time
    limits = [_Limit(asked, "")] if asked is not None else []
    if decision.type is D.DEFER and rights.max_deferral is not None and rights.notice_end_time is not None:
        limits.append(_Limit(rights.notice_end_time + rights.max_deferral, "maxDeferral"))
    if rights.lapse_time is not None:
        limits.append(_Limit(rights.lapse_time, rights.lapse_name))
    return min(limits, key=lambda limit: limit.time, default=None)


def _taken(decision: Decision, rights: Rights) -> Answer:
    """Answer the decision that counts; a Defer or OptOut that is cut says so, and by what."""
    if decision.type in (D.DEFER, D.OPT_OUT):
        end = _end_of(decision, rights)
        if end is not None and end.name:
            message = f"counts until {utc_text(end.time)} only: {end.name} ends it then"
            return Answer(decision.name, True, DecisionReason.SHORTENED, sentence(message))
        until = f"until {utc_text(end.time)}" if end is not None else "without end: the tenant is skipped"
        return Answer(decision.name, True, DecisionReason.ACCEPTED, f"counts {until}")
    return Answer(decision.name, True, DecisionReason.ACCEPTED, "the tenant starts in its next opening")


def _choice(decision: Decision | None, rights: Rights) -> Choice:
    if decision is None:
        return _undecided(rights) if rights.consent is Consent.OPT_IN else FREE
    if decision.type is D.OPT_IN_EARLY:
        return Choice(early=True)
    if decision.type is D.OPT_IN:
        return FREE
    end = _end_of(decision, rights)
    until = end.time if end is not None else None
    if decision.type is D.OPT_OUT:
        counts = f"counts until {utc_text(until)}" if until is not None else "this upgrade passes the tenant by"
        hold = Closed(WaitReason.OPTED_OUT, sentence(f"opted out by {plain(decision.name)}; {counts}"))
        return Choice(hold, until, skip=until is None)
    cut = ""
    if end is not None and end.name and decision.until_time is not None:
        cut = f" (asked: {utc_date_or_time(decision.until_time)}; limit: {end.name})"
    text = f"deferred by {plain(decision.name)} until {utc_text(until)}{cut}" if until is not None else ""
    return Choice(Closed(WaitReason.DEFERRED, sentence(text)), until)


def _undecided(rights: Rights) -> Choice:
    without = f"starts without it after {utc_text(rights.lapse_time)}" if rights.lapse_time is not None else "never starts without it"
    hold = Closed(WaitReason.AWAITING_CONSENT, f"waits for your consent (TenantDecision OptIn); {without}")
    return Choice(hold, rights.lapse_time)
