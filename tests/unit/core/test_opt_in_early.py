"""OptInEarly: consent, and a place in the next wave not started, once (windows.md section 7, tenants.md section 9)."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from builders import NOON, Block, a_journal, a_spec, a_status, a_tenant, a_world, after, an_action, an_upgrade
from calendar_builders import SHUT_UNTIL_TUESDAY, a_calendar, a_decision, a_policy_with, an_answer, ended, starts, stored, why_held
from tenantwave.api.tenant_run import TenantState
from tenantwave.core import waves
from tenantwave.core.journal import Journal, VersionSeen, WaveProgress
from tenantwave.core.plan import Plan
from tenantwave.core.planner import decide
from tenantwave.core.waves import plan_digest
from tenantwave.core.world import SeenDecision, World

S = TenantState
WAVES = [{"name": "canary", "maxParallel": 5}, {"name": "more", "maxParallel": 5}, {"name": "rest", "maxParallel": 5}]
EARLY = a_decision("OptInEarly")


def a_fleet_of_four(
    *decisions: SeenDecision, running: str = "canary", state: TenantState = S.QUEUED, journal: Block | None = None, **blocks: Any
) -> World:
    """Return a world with alba in wave canary, beta and bono in more, and acme in rest, who has decided; alba is in flight."""
    policy = a_policy_with(WAVES, **blocks)
    shut = a_calendar(windows=[SHUT_UNTIL_TUESDAY])
    flies = a_status(S.CONVERGING, applied_time=NOON, start_time=NOON)
    acme = a_status(state, wave="rest", reason="WaveQueued", message="wave rest has not begun", explain="everybody left")
    tenants = [
        a_tenant("alba", flies if running == "canary" else a_status(S.SUCCEEDED), calendar=a_calendar()),
        a_tenant("beta", a_status(wave="more"), labels={}, calendar=shut),
        a_tenant("bono", a_status(wave="more"), labels={}, calendar=shut),
        a_tenant("acme", acme, labels={}, calendar=a_calendar(), decisions=decisions),
    ]
    waves = {"canary": ["alba"], "more": ["beta", "bono"], "rest": ["acme"]}
    return a_world(tenants, policy=policy, journal=a_journal(policy, waves, running=running, **(journal or {})))


def waves_of(journal: Journal | None) -> dict[str, tuple[str, ...]]:
    """Return wave -> tenants."""
    assert journal is not None
    return {wave.name: wave.tenants for wave in journal.run.waves}


def after_all(world: World) -> tuple[World, Plan]:
    """Decide, store, and decide once more."""
    world = stored(world, decide(world, NOON))
    return world, decide(world, NOON)


def test_it_moves_to_the_next_wave_that_has_not_started() -> None:
    """Not to the running one; behind those who are in the wave by the plan; and it says why it is there."""
    world = a_fleet_of_four(EARLY)
    plan = decide(world, NOON)
    assert waves_of(plan.journal) == {"canary": ("alba",), "more": ("beta", "bono", "acme"), "rest": ()}
    status = ended(plan, world)
    assert (status.wave, status.explain) == ("more", "asked to go early: moved from wave rest to more")
    assert [(note.reason, note.tenant) for note in plan.notes if note.tenant] == [("TenantGoesEarly", "acme")]
    assert [(one.tenant, str(one.answer.reason)) for one in plan.decision_answers] == [("acme", "Accepted")]


def test_the_plan_digest_follows() -> None:
    """Another plan has another digest, the same as if it had been planned so."""
    plan = decide(a_fleet_of_four(EARLY), NOON)
    assert plan.journal is not None
    run = plan.journal.run
    assert run.plan_digest == plan_digest(run.id, ((wave.name, wave.tenants) for wave in run.waves))
    assert run.plan_digest != plan_digest(run.id, waves_of(a_fleet_of_four().journal).items())


def test_it_moves_once() -> None:
    """Stored, nothing more happens: it does not go on to the wave before."""
    world, again = after_all(a_fleet_of_four(EARLY))
    assert (again.journal, again.decision_answers, again.notes) == (None, (), ())
    assert world.journal is not None
    assert world.journal.run.moved_early == ("acme",)


def test_it_does_not_move_back() -> None:
    """A newer decision holds it where it is now."""
    world, _ = after_all(a_fleet_of_four(EARLY))
    later = a_decision("Defer", time=after(minutes=1), until=after(days=1))
    acme = replace(world.tenants["acme"], decisions=(*world.tenants["acme"].decisions, later))
    plan = decide(replace(world, tenants={**world.tenants, "acme": acme}), after(minutes=2))
    assert plan.journal is None


@pytest.mark.parametrize(
    "decisions",
    [
        pytest.param((EARLY,), id="as it was"),
        pytest.param((), id="the decision was deleted meanwhile"),
        pytest.param((EARLY, a_decision("OptIn", time=after(minutes=1))), id="another counts meanwhile"),
    ],
)
def test_a_crash_between_journal_and_tenant_run_loses_no_move(decisions: tuple[SeenDecision, ...]) -> None:
    """The journal has moved it; its TenantRun follows with the next decision, whatever the tenant decides meanwhile."""
    world = a_fleet_of_four(EARLY)
    crashed = replace(world, journal=decide(world, NOON).journal)
    now_decided = replace(crashed.tenants["acme"], decisions=decisions)
    crashed = replace(crashed, tenants={**crashed.tenants, "acme": now_decided})
    plan = decide(crashed, after(minutes=2))
    assert ended(plan, crashed).wave == "more"
    assert waves_of(plan.journal or crashed.journal)["more"] == ("beta", "bono", "acme")


REFUSED = [
    pytest.param({"running": "more"}, id="only its own wave has not started"),
    pytest.param({"running": "rest"}, id="its own wave runs"),
]


@pytest.mark.parametrize("world", REFUSED)
def test_it_is_refused_where_no_wave_is_left(world: Block) -> None:
    """And it has no effect: not even that of consent."""
    plan = decide(a_fleet_of_four(EARLY, consent="OptIn", **world), NOON)
    assert [str(one.answer.reason) for one in plan.decision_answers] == ["NotAllowed"]
    assert waves_of(plan.journal or a_fleet_of_four(EARLY, **world).journal)["rest"] == ("acme",)
    assert starts(plan) == []


def test_it_never_touches_a_running_wave() -> None:
    """Nobody joins the wave that runs."""
    plan = decide(a_fleet_of_four(EARLY), NOON)
    assert waves_of(plan.journal)["canary"] == ("alba",)
    assert starts(plan) == []


def test_before_anything_has_started_it_may_be_a_canary() -> None:
    """The next wave not started is the first one then."""
    world = a_fleet_of_four(EARLY, running="canary")
    journal = world.journal
    assert journal is not None
    unbegun = tuple(wave.model_copy(update={"progress": WaveProgress.QUEUED, "start_time": None}) for wave in journal.run.waves)
    fresh = replace(
        world,
        journal=journal.model_copy(update={"run": journal.run.model_copy(update={"waves": unbegun})}),
        tenants={**world.tenants, "alba": a_tenant("alba", a_status(), calendar=a_calendar())},
    )
    assert waves_of(decide(fresh, NOON).journal)["canary"] == ("alba", "acme")


def test_windows_and_slots_hold_in_the_new_wave() -> None:
    """It goes earlier, not at any time."""
    world, _ = after_all(a_fleet_of_four(EARLY, running="canary"))
    acme = replace(world.tenants["acme"], calendar=a_calendar(windows=[SHUT_UNTIL_TUESDAY]))
    done = a_tenant("alba", a_status(S.SUCCEEDED), calendar=a_calendar())
    plan = decide(replace(world, tenants={**world.tenants, "alba": done, "acme": acme}), after(hours=1))
    assert (starts(plan), why_held(plan)) == ([], "OutsideWindow")


def test_a_tenant_that_was_passed_by_comes_back_early() -> None:
    """OptInEarly ends an OptOut, too."""
    out = a_status(S.SKIPPED, wave="rest", reason="OptedOut", message="opted out", completion_time=NOON)
    world = a_fleet_of_four(a_decision("OptOut", time=after(minutes=-1)), EARLY)
    acme = a_tenant("acme", out, labels={}, calendar=a_calendar(), decisions=world.tenants["acme"].decisions)
    world = replace(world, tenants={**world.tenants, "acme": acme})
    for _ in range(3):
        world = stored(world, decide(world, NOON))
    assert waves_of(world.journal)["more"] == ("beta", "bono", "acme")
    known = world.tenants["acme"].run
    assert known is not None
    assert (known.status.state, known.status.wave) == (S.QUEUED, "more")


def test_in_the_breath_of_planning() -> None:
    """A decision that was there before the plan is heard with it; the digest is of the plan as it is carried out."""
    policy = a_policy_with(
        [{"name": "canary", "selector": {"matchLabels": {"tenantwave.io/ring": "canary"}}}, {"name": "more", "size": 1}, {"name": "rest"}]
    )
    tenants = [
        a_tenant("alba", calendar=a_calendar()),
        a_tenant("beta", labels={}, calendar=a_calendar()),
        a_tenant("bono", labels={}, calendar=a_calendar(), decisions=(a_decision("OptInEarly"),)),
    ]
    plan = decide(a_world(tenants, policy=policy), NOON)
    assert plan.journal is not None
    run = plan.journal.run
    assert run.plan_digest == plan_digest(run.id, ((wave.name, wave.tenants) for wave in run.waves))
    assert all(move.status.wave in [wave.name for wave in run.waves if move.tenant in wave.tenants] for move in plan.moves)
    assert starts(plan) == []


def test_who_asks_in_the_same_breath_queues_by_name() -> None:
    """Caches give tenants in any order: the plan, and its digest, are the same."""
    world = a_fleet_of_four(EARLY)
    acme = world.tenants["acme"]
    twin = a_tenant("aqua", acme.run.status if acme.run else None, labels={}, calendar=a_calendar(), decisions=(EARLY,))
    assert world.journal is not None
    waves = tuple(
        wave.model_copy(update={"tenants": ("aqua", "acme")}) if wave.name == "rest" else wave for wave in world.journal.run.waves
    )
    run = world.journal.run.model_copy(update={"waves": waves})
    tenants = {**world.tenants, "aqua": twin}
    for order in (tenants, dict(reversed(tenants.items()))):
        plan = decide(replace(world, journal=world.journal.model_copy(update={"run": run}), tenants=order), NOON)
        assert waves_of(plan.journal)["more"] == ("beta", "bono", "acme", "aqua")


def test_consent_to_the_version_before_moves_nobody() -> None:
    """OptInEarly counts until `release.version` changes."""
    stale = a_decision("OptInEarly", time=after(minutes=-5))
    world = a_fleet_of_four(stale, journal={"version": VersionSeen(version="2.4.0", since=NOON)})
    assert decide(world, NOON).journal is None


def test_a_suspended_upgrade_shows_the_move() -> None:
    """The plan is shown; nobody starts."""
    world = a_fleet_of_four(EARLY)
    spec = a_spec(suspend=True)
    plan = decide(replace(world, upgrade=an_upgrade(spec), planned_spec=spec), NOON)
    assert waves_of(plan.journal)["more"] == ("beta", "bono", "acme")


# Retry.


HEARD = a_decision("OptInEarly", answer=an_answer("optinearly", "the tenant starts in its next opening"))


def retried(world: World, *tenants: str) -> World:
    """Return the world after these tenants, or all that had not succeeded, were retried an hour later and the plan was stored."""
    assert world.journal is not None
    world = replace(world, actions=(an_action("Retry", time=NOON, run=world.journal.run.id, tenants=list(tenants)),))
    for _ in range(4):
        world = stored(world, decide(world, after(hours=1)))
        world = replace(world, actions=tuple(replace(action, accepted=True, completed=True) for action in world.actions))
    assert world.journal is not None
    assert world.journal.run.attempt == 2
    return replace(world, planned_policy=world.policy, planned_spec=world.upgrade.spec)


def with_failed(world: World, name: str, wave: str) -> World:
    """Return the world in which a tenant of this wave has gone back."""
    gone = a_status(S.ROLLED_BACK, wave=wave, start_time=NOON, completion_time=NOON, reason="NotConverged", message="late")
    return replace(world, tenants={**world.tenants, name: a_tenant(name, gone, labels={}, calendar=a_calendar(), decisions=(CONSENT,))})


CONSENT = a_decision("OptIn", answer=an_answer("optin", "the tenant starts in its next opening"))


def a_straggler_that_went_early(*decisions: SeenDecision) -> World:
    """Return a world in which acme went early to wave more, which has passed without it; bono has failed in wave rest. Consent is needed."""
    world = a_fleet_of_four(
        *decisions, running="rest", consent="OptIn", maintenance={"stragglers": {"minCompleted": "50%", "maxWait": "1h"}}
    )
    assert world.journal is not None
    first, more, rest = world.journal.run.waves
    more = more.model_copy(update={"tenants": ("beta", "acme"), "early_count": 1, "completion_time": NOON})
    run = world.journal.run.model_copy(update={"waves": (first, more, rest.model_copy(update={"tenants": ("bono",)}))})
    waits = a_status(S.WAITING, wave="more", reason="OutsideWindow", message="why")
    acme = a_tenant("acme", waits, labels={}, calendar=a_calendar(windows=[SHUT_UNTIL_TUESDAY]), decisions=decisions)
    done = a_tenant("beta", a_status(S.SUCCEEDED, wave="more", completion_time=NOON), labels={}, calendar=a_calendar())
    world = replace(world, tenants={**world.tenants, "acme": acme, "beta": done}, journal=world.journal.model_copy(update={"run": run}))
    return with_failed(world, "bono", "rest")


@pytest.mark.parametrize("again", [("bono",), ()], ids=["of another tenant", "of all"])
@pytest.mark.parametrize("decision", [EARLY, HEARD], ids=["never answered", "accepted"])
def test_a_retry_does_not_lose_the_consent(decision: SeenDecision, again: tuple[str, ...]) -> None:
    """OptInEarly ends when `release.version` changes, not with the attempt: the straggler starts in its next opening."""
    world = retried(a_straggler_that_went_early(decision), *again)
    assert (waves_of(world.journal)["more"], ended(decide(world, after(hours=2)), world).wave) == (("beta", "acme"), "more")
    assert why_held(decide(world, after(hours=2))) == "OutsideWindow"
    assert "acme" in starts(decide(world, after(days=1, minutes=1)))
    assert [one for one in decide(world, after(hours=2)).decision_answers if not one.answer.accepted] == []


@pytest.mark.parametrize("again", [("beta",), ()], ids=["of another tenant", "of all"])
@pytest.mark.parametrize("running", ["canary", "more"], ids=["its wave had not begun", "its wave ran"])
def test_a_retry_that_plans_anew_lets_it_go_early_again(running: str, again: tuple[str, ...]) -> None:
    """The wave in which it was is planned without it; no wave that has passed is touched, and the digest follows."""
    world = a_fleet_of_four(HEARD, running=running, journal={})
    assert world.journal is not None
    first, more, rest = world.journal.run.waves
    first = first.model_copy(update={"progress": WaveProgress.PASSED, "start_time": NOON})
    more = more.model_copy(update={"tenants": ("beta", "bono", "acme"), "early_count": 1})
    run = world.journal.run.model_copy(update={"waves": (first, more, rest.model_copy(update={"tenants": ("bell",)}))})
    waits = a_status(S.WAITING, wave="more", reason="OutsideWindow", message="why")
    acme = a_tenant("acme", waits, labels={}, calendar=a_calendar(windows=[SHUT_UNTIL_TUESDAY]), decisions=(HEARD,))
    alba = a_tenant("alba", a_status(S.SUCCEEDED, completion_time=NOON), calendar=a_calendar())
    bell = a_tenant("bell", a_status(wave="rest"), labels={}, calendar=a_calendar())
    tenants = {**world.tenants, "acme": acme, "alba": alba, "bell": bell}
    policy = a_policy_with([{**WAVES[0], "selector": {"matchLabels": {"x": "y"}}}, {**WAVES[1], "size": 2}, WAVES[2]])
    journal = world.journal.model_copy(update={"run": run})
    world = retried(with_failed(replace(world, tenants=tenants, journal=journal, policy=policy), "beta", "more"), *again)
    now = waves_of(world.journal)
    assert world.journal is not None
    assert now["canary"] == ("alba",)
    assert "acme" in now["more"]
    assert world.journal.run.plan_digest == plan_digest(world.journal.run.id, now.items())
    for name, tenant in world.tenants.items():
        assert tenant.run is not None
        assert name in now[tenant.run.status.wave]


@pytest.mark.parametrize(("decision", "reason"), [(HEARD, ""), (EARLY, "AwaitingConsent")], ids=["accepted", "never accepted"])
def test_where_no_earlier_wave_is_left_it_stays_consent_once_accepted(decision: SeenDecision, reason: str) -> None:
    """A repaired policy may have left it in the wave that runs."""
    world = a_fleet_of_four(decision, running="rest", consent="OptIn")
    plan = decide(world, after(minutes=1))
    assert (starts(plan), why_held(plan)) == (([], reason) if reason else (["acme"], ""))


# Cost.


def test_a_thousand_move_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """The plan is rebuilt, and its digest computed, once for a decision; once stored, never again. The journal names nobody twice."""
    names = [f"t{place:04}" for place in range(1000)]
    policy = a_policy_with(WAVES)
    queued = a_status(wave="rest", reason="WaveQueued", message="wave rest has not begun")
    flies = a_tenant("alba", a_status(S.CONVERGING, applied_time=NOON, start_time=NOON), calendar=a_calendar())
    tenants = [flies, *(a_tenant(name, queued, labels={}, calendar=flies.calendar, decisions=(EARLY,)) for name in names)]
    world = a_world(tenants, policy=policy, journal=a_journal(policy, {"canary": ["alba"], "more": [], "rest": names}, running="canary"))
    digests = []

    def counting(run: str, plan: Any) -> str:
        digests.append(run)
        return plan_digest(run, plan)

    monkeypatch.setattr(waves, "plan_digest", counting)
    before = len(world.journal.model_dump_json(exclude_defaults=True)) if world.journal is not None else 0
    world, again = after_all(world)
    assert waves_of(world.journal) == {"canary": ("alba",), "more": tuple(names), "rest": ()}
    assert (len(digests), again.journal, again.notes) == (1, None, ())
    assert world.journal is not None
    assert len(world.journal.model_dump_json(exclude_defaults=True)) < before + 200
