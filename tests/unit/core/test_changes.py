"""The change record of a tenant: what stands in it, that it is told once, and that it is bounded."""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from builders import NEW, NOON, OLD, RUN, UPGRADE, a_record, a_status, after, an_action
from tenantwave.api.decision import DecisionType
from tenantwave.api.meta import ObjectRef
from tenantwave.api.profile import Change, PreservedConfig
from tenantwave.api.run_records import HookRecord, HookState, SecretRecord, SecretState
from tenantwave.api.tenant_run import (
    Direction,
    Intent,
    IntentState,
    MovedStart,
    PlannedObject,
    TakeBack,
    TenantPlan,
    TenantRunStatus,
    TenantState,
)
from tenantwave.api.upgrade import HookTime
from tenantwave.core.calendar import Decision
from tenantwave.core.changes import (
    CREATED,
    DELETED,
    LONGEST,
    MAX_CHANGES,
    RECORDED,
    RESCHEDULED,
    UPGRADED,
    Entry,
    Taken,
    change_id,
    changes_known,
    changes_to_tell,
    recent_changes,
)
from tenantwave.core.changes import TAKEN_BACK as TAKEN_BACK_ACTION
from tenantwave.core.world import Action, VersionRecord
from tenantwave.engine.news import event_of

S = TenantState
A, B, C = ("sha256:" + letter * 64 for letter in "abc")
WHERE = f"{RUN}, wave canary"


@dataclass(frozen=True)
class Here:
    """One upgrade's TenantRun of the tenant."""

    status: TenantRunStatus
    upgrade: str = UPGRADE
    product: str = "shop"


def a_write(seq: int, kind: str, name: str, before: str = A, after: str = B, **fields: Any) -> Intent:
    ref = ObjectRef(api_version="v1" if kind == "ConfigMap" else "apps/v1", kind=kind, namespace="acme", name=name)
    return Intent(seq=seq, target=ref, before=before, after=after, **{"state": IntentState.LANDED, **fields})


def planned(kind: str, name: str, summary: str) -> PlannedObject:
    return PlannedObject(api_version="v1", kind=kind, name=name, summary=summary)


PLAN = TenantPlan(
    digest=A,
    objects=(
        planned("ConfigMap", "app-config", "3 changes, 4 kept, 1 merged"),
        planned("Deployment", "api", "api: registry.test:5000/shop/api:2.3.1 -> registry.test:5000/shop/api:2.4.0"),
    ),
)
WRITES = (a_write(1, "ConfigMap", "app-config"), a_write(2, "Deployment", "api"))
KEPT = (PreservedConfig(config_map="app-config", digest=B, kept=4, merged=1),)


def a_run(state: TenantState = S.SOAKING, writes: tuple[Intent, ...] = WRITES, **fields: Any) -> Here:
    """Return a TenantRun that wrote a ConfigMap and a Deployment half an hour after noon."""
    given: dict[str, Any] = {"plan": PLAN, "preserved": KEPT, "intents": writes, "applied_time": after(minutes=30), "start_time": NOON}
    return Here(a_status(state, **(given | fields)))


def told(
    *runs: Here,
    records: dict[str, VersionRecord] | None = None,
    actions: tuple[Action, ...] = (),
    shown: tuple[Change, ...] = (),
    decisions: tuple[Taken, ...] = (),
) -> list[tuple[str, ...]]:
    """Return who did what, from what to what, and why; oldest first."""
    known = changes_known("acme", runs, records or {}, actions, shown, decisions)
    changes = [entry.change for entry in known]
    return [(change.actor, change.action, change.object, change.from_, change.to, change.why) for change in changes]


CONFIG = ("tenantwave", "Upgraded", "ConfigMap/app-config", A, B, f"{WHERE}, write 1: 4 kept, 1 merged")
IMAGE = ("tenantwave", "Upgraded", "Deployment/api", "2.3.1", "2.4.0", f"{WHERE}, write 2")
UP = ("tenantwave", "Upgraded", "product shop", OLD, NEW, WHERE)
REVERTED = tuple(write.model_copy(update={"state": IntentState.REVERTED}) for write in WRITES)
BACK = (
    *REVERTED,
    a_write(3, "Deployment", "api", B, A, direction=Direction.ROLLBACK, state=IntentState.REVERTED),
    a_write(4, "ConfigMap", "app-config", B, C, direction=Direction.ROLLBACK, state=IntentState.REVERTED),
)
TAKEN_BACK: dict[str, Any] = {
    "rolled_back_version": NEW,
    "completion_time": after(minutes=50),
    "take_back": TakeBack(cause="GateFailed", time=after(minutes=40)),
}


@pytest.mark.parametrize(
    ("run", "expected"),
    [
        pytest.param(a_run(S.QUEUED, ()), [], id="nothing written yet"),
        pytest.param(a_run(S.APPLYING, (a_write(1, "ConfigMap", "app-config", state=IntentState.ISSUED),)), [], id="may not have landed"),
        pytest.param(a_run(S.APPLYING, (a_write(1, "ConfigMap", "app-config", state=IntentState.SUPERSEDED),)), [], id="did not land"),
        pytest.param(a_run(), [CONFIG, IMAGE], id="written, not proven"),
        pytest.param(a_run(S.SUCCEEDED, completion_time=after(hours=2)), [CONFIG, IMAGE, UP], id="succeeded"),
        pytest.param(
            a_run(S.SUCCEEDED, run=RUN[:-1] + "2", completion_time=after(hours=2)), [CONFIG, IMAGE, UP], id="taken over by the next attempt"
        ),
        pytest.param(a_run(S.SUCCEEDED, (), reason="AlreadyAtRelease", completion_time=NOON), [], id="found there: its record tells"),
        pytest.param(
            a_run(S.ROLLED_BACK, BACK, **TAKEN_BACK),
            [
                CONFIG,
                IMAGE,
                ("tenantwave", "RolledBack", "Deployment/api", "2.4.0", "2.3.1", f"{WHERE}, write 3"),
                ("tenantwave", "RolledBack", "ConfigMap/app-config", B, C, f"{WHERE}, write 4"),
                ("tenantwave", "RolledBack", "product shop", NEW, OLD, WHERE),
            ],
            id="rolled back",
        ),
        pytest.param(
            a_run(S.SOAKING, (a_write(1, "ConfigMap", "new", ""), a_write(2, "ConfigMap", "gone", A, ""))),
            [
                ("tenantwave", "Created", "ConfigMap/new", "", B, f"{WHERE}, write 1"),
                ("tenantwave", "Deleted", "ConfigMap/gone", A, "", f"{WHERE}, write 2"),
            ],
            id="created and deleted",
        ),
        pytest.param(
            a_run(S.SOAKING, (a_write(1, "Deployment", "other"),)),
            [("tenantwave", "Upgraded", "Deployment/other", A, B, f"{WHERE}, write 1")],
            id="no image changes",
        ),
        pytest.param(
            a_run(S.SOAKING, (a_write(1, "Deployment", "api"), a_write(2, "Deployment", "api", B, C))),
            [
                ("tenantwave", "Upgraded", "Deployment/api", "2.3.1", "2.4.0", f"{WHERE}, write 1"),
                ("tenantwave", "Upgraded", "Deployment/api", B, C, f"{WHERE}, write 2"),
            ],
            id="written twice",
        ),
        pytest.param(a_run(S.HELD, (), reason="AlreadyRolledBack", rolled_back_version=NEW), [], id="held for an older rollback"),
    ],
)
def test_each_object_that_an_upgrade_wrote_has_its_line(run: Here, expected: list[tuple[str, ...]]) -> None:
    """What, from what to what, why and by which upgrade."""
    assert told(run) == expected


@pytest.mark.parametrize(
    ("summary", "expected"),
    [
        ("api: shop/api:1 -> shop/api:2", ("1", "2")),
        ("api: host:5000/api -> host:5000/api:2", ("host:5000/api", "2")),
        (f"api: shop/api:1 -> shop/api@{B}", ("1", B)),
        ("api: a:1 -> a:2; sidecar: b:1 -> b:2", ("1", "2")),
        ("api: a:1 -> a:2; sidecar: b:7 -> b:8", ("1, 7", "2, 8")),
        ("api:  -> a:2", ("", "2")),
    ],
)
def test_the_versions_of_a_workload_are_those_of_its_images(summary: str, expected: tuple[str, str]) -> None:
    """Digest, else tag, else the whole image."""
    plan = TenantPlan(digest=A, objects=(planned("Deployment", "api", summary),))
    ((_, _, _, old, new, _),) = told(a_run(S.SOAKING, (a_write(1, "Deployment", "api"),), plan=plan))
    assert (old, new) == expected


ADOPTED = a_run(S.SUCCEEDED, (), reason="AlreadyAtRelease", completion_time=NOON)


@pytest.mark.parametrize(
    ("runs", "shown", "expected"),
    [
        pytest.param((), (), "version record", id="nobody knows how it came"),
        pytest.param((ADOPTED,), (), f"{WHERE}, found there", id="adopted"),
        pytest.param((a_run(S.SUCCEEDED, completion_time=NOON),), (), None, id="its upgrade tells"),
        pytest.param((a_run(),), (), None, id="its upgrade will tell"),
        pytest.param((), (Change(time=NOON, actor="x", object="product shop", action="Upgraded", to=NEW),), None, id="the profile tells"),
        pytest.param((), (Change(time=NOON, actor="x", object="product desk", action="Upgraded", to=NEW),), "version record", id="another"),
    ],
)
def test_a_version_on_record_that_nothing_explains_has_a_line(
    runs: tuple[Here, ...], shown: tuple[Change, ...], expected: str | None
) -> None:
    """Once."""
    record = replace(a_record(NEW), since=NOON)
    lines = [line for line in told(*runs, records={"shop": record}, shown=shown) if line[1] == "Recorded"]
    assert lines == ([("tenantwave", "Recorded", "product shop", "", NEW, expected)] if expected is not None else [])


@pytest.mark.parametrize(
    ("action", "expected"),
    [
        pytest.param(
            an_action("SkipTenant", name="skip-acme", tenants=["acme"]),
            ("ann", "SkipTenant", f"upgrade {UPGRADE}", "", "", "skip-acme: CHG-4411 ok"),
            id="skipped",
        ),
        pytest.param(
            an_action("Resolve", name="settle", tenants=["beta", "acme"], resolution="AcceptLive"),
            ("ann", "Resolve", f"upgrade {UPGRADE}", "", "AcceptLive", "settle: CHG-4411 ok"),
            id="resolved",
        ),
        pytest.param(
            an_action("SkipTenant", name="skip-acme", tenants=["acme"], requestedBy=""),
            ("platform (not named)", "SkipTenant", f"upgrade {UPGRADE}", "", "", "skip-acme: CHG-4411 ok"),
            id="nobody is named",
        ),
        pytest.param(an_action("SkipTenant", tenants=["beta"]), None, id="about another tenant"),
        pytest.param(an_action("Pause"), None, id="about no tenant"),
    ],
)
def test_what_a_person_ordered_for_the_tenant_has_a_line(action: Action, expected: tuple[str, ...] | None) -> None:
    """With whose name, as far as the order gives it; an order that was refused, or has no answer yet, changed nothing."""
    assert told(actions=(replace(action, accepted=True),)) == ([expected] if expected is not None else [])
    assert told(actions=(replace(action, accepted=False),)) == []
    assert told(actions=(action,)) == []


CHRISTMAS = datetime(2026, 12, 24, tzinfo=UTC)


@pytest.mark.parametrize(
    ("taken", "expected"),
    [
        pytest.param(
            Taken(UPGRADE, Decision("defer-9fk", DecisionType.DEFER, NOON, CHRISTMAS), "ann@acme.example", "Christmas sale"),
            ("ann@acme.example", "Defer", f"upgrade {UPGRADE}", "", "2026-12-24T00:00:00Z", "defer-9fk: Christmas sale"),
            id="deferred",
        ),
        pytest.param(
            Taken(UPGRADE, Decision("out", DecisionType.OPT_OUT, NOON)),
            ("tenant (not named)", "OptOut", f"upgrade {UPGRADE}", "", "", "out"),
            id="opted out by nobody named, for no reason, without end",
        ),
        pytest.param(
            Taken(UPGRADE, Decision("in", DecisionType.OPT_IN_EARLY, NOON), "tenantwave", f"{RUN}, write 9"),
            ("tenantwave", "OptInEarly", f"upgrade {UPGRADE}", "", "", f"in: {RUN}, write 9"),
            id="by somebody who takes our name",
        ),
    ],
)
def test_what_the_tenant_decided_has_a_line(taken: Taken, expected: tuple[str, ...]) -> None:
    """With its own reason, and the name that it gave."""
    assert told(decisions=(taken,)) == [expected]
    (entry,) = changes_known("acme", (), {}, (), (), (taken,))
    assert (entry.upgrade, entry.change.time) == (UPGRADE, NOON)
    assert recent_changes((entry.change,), (entry,)) == (entry.change,), "once"


def a_move(minutes: int, old: datetime, new: datetime | None, why: str = "deferred by defer-9fk") -> Here:
    return a_run(S.WAITING, (), rescheduled=MovedStart(time=after(minutes=minutes), from_=old, to=new, why=why))


@pytest.mark.parametrize(
    ("run", "new", "why"),
    [
        pytest.param(a_move(1, NOON, CHRISTMAS), "2026-12-24T00:00:00Z", f"{UPGRADE}: deferred by defer-9fk", id="later"),
        pytest.param(a_move(1, NOON, None), "", f"{UPGRADE}: deferred by defer-9fk", id="none is in sight"),
        pytest.param(a_move(1, NOON, CHRISTMAS, why=""), "2026-12-24T00:00:00Z", UPGRADE, id="nobody knows why"),
    ],
)
def test_a_date_that_moved_has_a_line(run: Here, new: str, why: str) -> None:
    """From which to which, and why."""
    assert told(run) == [("tenantwave", "Rescheduled", "planned start", f"{NOON:%Y-%m-%dT%H:%M:%SZ}", new, why)]


def test_a_date_that_moves_to_and_fro_has_a_line_each_time() -> None:
    """Once for each, though the lines say the same; a TenantRun knows only the last one."""
    shown: tuple[Change, ...] = ()
    moves = [a_move(1, NOON, CHRISTMAS), a_move(2, CHRISTMAS, NOON), a_move(3, NOON, CHRISTMAS)]
    heard = 0
    for run in [*moves, moves[-1]]:
        shown, new = step(shown, run, after(minutes=4))
        heard += len(new)
    assert [change.to[:10] for change in shown] == ["2026-12-24", f"{NOON:%Y-%m-%d}", "2026-12-24"]
    assert (heard, len({change_id("acme", change) for change in shown})) == (3, 3)


# Once, bounded, and back again.


def step(shown: tuple[Change, ...], run: Here, now: datetime, **more: Any) -> tuple[tuple[Change, ...], list[str]]:
    """Return what the profile shows next, and which objects people are told of."""
    known = changes_known("acme", (run,), more.pop("records", {}), more.pop("actions", ()), shown)
    return recent_changes(shown, known), [entry.change.object for entry in changes_to_tell(shown, known, now)]


def test_a_life_is_told_once_however_often_it_is_looked_at() -> None:
    """Written, proven, taken back: newest first, and nothing twice although the times of a TenantRun move on."""
    shown: tuple[Change, ...] = ()
    heard: list[str] = []
    lives = [
        a_run(S.APPLYING, WRITES[:1], applied_time=None),
        a_run(S.APPLYING, WRITES, applied_time=after(minutes=10)),
        a_run(S.SOAKING, applied_time=after(minutes=30)),
        a_run(S.SUCCEEDED, completion_time=after(minutes=35)),
        a_run(S.ROLLING_BACK, BACK[:3], take_back=TakeBack(cause="WaveFailed", time=after(minutes=40))),
        a_run(S.ROLLED_BACK, BACK, **TAKEN_BACK),
    ]
    for minute, run in enumerate(lives):
        for _ in range(2):  # a restart in between knows nothing but what is stored
            shown, new = step(shown, run, after(minutes=10 * minute))
            heard += new
    assert heard == [
        "ConfigMap/app-config", "Deployment/api", "product shop", "Deployment/api", "ConfigMap/app-config", "product shop",
    ]  # fmt: skip
    assert sorted(heard) == sorted(change.object for change in shown)
    assert [change.time for change in shown] == sorted((change.time for change in shown), reverse=True)
    assert shown[-1].time == NOON  # when it was first seen, though the TenantRun says a later time by now


def test_a_profile_that_lost_its_status_gets_back_what_is_known_and_tells_nobody_again() -> None:
    """The TenantRun remembers the whole of its last run."""
    run = a_run(S.SUCCEEDED, completion_time=after(hours=1))
    before, _ = step((), run, after(hours=1))
    again, heard = step((), run, after(days=3))
    assert again == before
    assert heard == []


def test_writes_that_the_next_run_takes_over_unproven_are_not_told_again() -> None:
    """The spec was edited in the soak: the next run brings the writes of the last one along."""
    shown, _ = step((), a_run(), NOON)
    edited = RUN.replace("-1-a1", "-2-a1")
    after_edit, heard = step(shown, a_run(S.QUEUED, run=edited, written=True), after(hours=1))
    assert (after_edit, heard) == (shown, [])


def test_the_next_attempt_that_writes_the_same_is_another_change() -> None:
    """Its writes have numbers of their own."""
    shown, _ = step((), a_run(S.ROLLED_BACK, BACK, **TAKEN_BACK), NOON)
    again = tuple(write.model_copy(update={"seq": write.seq + 4}) for write in WRITES)
    _, heard = step(shown, a_run(S.SOAKING, again, attempt=2, run=RUN[:-1] + "2"), after(hours=1))
    assert heard == ["ConfigMap/app-config", "Deployment/api"]


def many(count: int, minutes: int = 30) -> Here:
    writes = tuple(a_write(number, "ConfigMap", f"c{number}") for number in range(1, count + 1))
    return a_run(S.SOAKING, writes, applied_time=after(minutes=minutes))


def test_the_record_is_bounded_and_what_does_not_fit_is_still_told() -> None:
    """The newest 20 in the profile; every one as a line of the log, once."""
    shown, heard = step((), many(30), NOON)
    assert len(shown) == MAX_CHANGES
    assert len(heard) == 30
    assert step(shown, many(30), after(minutes=31)) == (shown, [])
    later, heard = step(shown, many(31, minutes=40), after(minutes=41))
    assert heard == ["ConfigMap/c31"]
    assert [change.object for change in later[:3]] == ["ConfigMap/c31", "ConfigMap/c30", "ConfigMap/c29"]


def test_an_id_is_the_same_for_the_same_change_in_the_same_tenant_only() -> None:
    """Whoever gets a line twice can tell."""
    (first, second) = (entry.change for entry in changes_known("acme", (a_run(),), {}, (), ()))
    assert change_id("acme", first) == change_id("acme", first.model_copy(update={"time": after(days=1)}))
    assert len({change_id("acme", first), change_id("acme", second), change_id("beta", first)}) == 3


TEXT = st.text(max_size=400)


@given(TEXT, TEXT, TEXT, TEXT)
def test_a_change_has_at_most_500_bytes(name: str, reason: str, person: str, summary: str) -> None:
    """Whatever people write, in whatever script."""
    action = an_action("SkipTenant", tenants=["acme"])
    spec = action.spec.model_copy(update={"reason": reason, "requested_by": person})
    order = replace(action, name=name, spec=spec, accepted=True)
    plan = TenantPlan.model_construct(
        digest=A, objects=(PlannedObject.model_construct(api_version="apps/v1", kind="Deployment", name="api", summary=summary),)
    )
    moved = MovedStart.model_construct(time=NOON, from_=NOON, to=None, why=summary)
    taken = Taken(name, Decision(name, DecisionType.DEFER, NOON, NOON), person, reason)
    known: tuple[Entry, ...] = changes_known("acme", (a_run(S.SOAKING, plan=plan, rescheduled=moved),), {}, (order,), (), (taken,))
    assert len(known) == 5
    for entry in known:
        assert len(entry.change.model_dump_json(by_alias=True).encode()) <= LONGEST
        Change.model_validate(entry.change.document())


def test_what_is_older_than_an_hour_is_no_news_to_an_empty_profile() -> None:
    """It was told when it happened."""
    run = a_run()
    assert step((), run, after(minutes=30) + timedelta(minutes=59))[1] == ["ConfigMap/app-config", "Deployment/api"]
    assert step((), run, after(minutes=30) + timedelta(minutes=61))[1] == []


def test_the_page_for_people_names_every_action() -> None:
    """Beside the types of UpgradeActions, which have a page of their own."""
    page = (Path(__file__).parents[3] / "docs" / "guides" / "change-record.md").read_text()
    assert all(f"`{action}`" in page for action in (CREATED, UPGRADED, DELETED, TAKEN_BACK_ACTION, RECORDED, RESCHEDULED))
    assert all(f"`{kind}`" in page for kind in DecisionType)
    assert f"the newest {MAX_CHANGES}, of at most {LONGEST} bytes each" in page


@pytest.mark.parametrize(
    ("state", "action"),
    [(SecretState.CHANGED, "SecretChanged"), (SecretState.DELETED, "SecretDeleted"), (SecretState.SAME, ""), (SecretState.UNKNOWN, "")],
)
def test_what_somebody_did_to_a_secret_is_told_without_a_digest(state: SecretState, action: str) -> None:
    """Not by us: the record says so."""
    secret = SecretRecord(name="database", digest="hmac-sha256:" + "a" * 64, state=state, time=NOON)
    known = changes_known("acme", [Here(a_status(S.SOAKING, secrets=(secret,)))], {}, (), ())
    found = [entry.change for entry in known if entry.change.object == "Secret/database"]
    assert [(change.action, change.actor, change.from_, change.to) for change in found] == (
        [(action, "somebody (not known)", "", "")] if action else []
    )
    assert [event_of(change) for change in found] == ([f"Tenant{action}"] if action else [])


def test_a_hook_has_its_line_once_it_has_a_result_and_its_job_none_of_its_own() -> None:
    """The Job is no object that an upgrade leaves behind: what counts is what became of it."""
    job = a_write(9, "Job", "shop-x-1-a1-migrate", before="")
    hooks = (
        HookRecord(name="migrate", at=HookTime.PRE_APPLY, job=job.target.name, state=HookState.SUCCEEDED, completion_time=NOON),
        HookRecord(name="smoke", at=HookTime.POST_APPLY, job="j2", state=HookState.UNKNOWN, message="vanished", completion_time=NOON),
        HookRecord(name="later", at=HookTime.POST_APPLY, job="j3", state=HookState.RUNNING),
    )
    lines = [entry.change for entry in changes_known("acme", [a_run(writes=(job,), hooks=hooks)], {}, (), ())]
    assert [(line.object, line.action, line.why) for line in lines] == [
        ("Job/shop-x-1-a1-migrate", "HookSucceeded", f"{WHERE}, PreApply"),
        ("Job/j2", "HookFailed", f"{WHERE}, PostApply: vanished"),
    ]
    assert [event_of(line) for line in lines] == [None, None]


def test_a_secret_that_was_put_back_is_told_without_a_digest() -> None:
    """By us, and as part of the rollback."""
    put_back = a_write(3, "Secret", "database", before="", direction=Direction.ROLLBACK, state=IntentState.REVERTED)
    known = changes_known("acme", [Here(a_status(S.ROLLED_BACK, intents=(put_back,), completion_time=NOON))], {}, (), ())
    [change] = [entry.change for entry in known if entry.change.object == "Secret/database"]
    assert (change.action, change.actor, change.from_, change.to) == (TAKEN_BACK_ACTION, "tenantwave", "", "")
