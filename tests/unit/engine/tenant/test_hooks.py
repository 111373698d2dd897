"""Hooks inside one tenant's turn: where they run, what a failure leads to, what is left, and dying at every write of it."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest

from fakes import CrashNow, Request
from support.tenant_story import ACME, S, Story, a_spec
from tenantwave.api.action import Resolution
from tenantwave.api.conditions import FailReason
from tenantwave.api.kinds import INTENT_ANNOTATION, JOB, RUN_LABEL, TENANT_LABEL, UPGRADE_LABEL
from tenantwave.api.run_records import HookState
from tenantwave.core import tenant_run
from tenantwave.faults import Conflict, Forbidden, OutcomeUnknown, Unavailable

PRE, POST, BACK = "PreApply", "PostApply", "OnRollback"


def a_hook(name: str, at: str = PRE, image: str = "shop/tools:{version}", **more: Any) -> dict[str, Any]:
    """A hook of one container."""
    template = {"spec": {"template": {"spec": {"containers": [{"name": name, "image": image, "args": ["--tenant={tenant}"]}]}}}}
    return {"name": name, "at": at, "jobTemplate": template} | ({"irreversible": False} if at == PRE else {}) | more


async def begun(*hooks: dict[str, Any], **story: Any) -> Story:
    """A story with these hooks."""
    told = await Story(spec=a_spec(hooks=list(hooks)), **story).begin()
    told.broken = lambda image: image.endswith("-bad")
    return told


def jobs(story: Story) -> list[str]:
    """Return the hooks of the Jobs that were created, in order."""
    return [
        request.name.removeprefix("shop-x-1-a1-") for request in story.cluster.writes if (request.verb, request.kind) == ("create", "Job")
    ]


def writes(story: Story) -> list[str]:
    """Return what was written in the tenant, in order; of a Job only that it was made or deleted."""
    return [
        f"{request.verb} {request.name.removeprefix('shop-x-1-a1-')}"
        for request in story.cluster.writes
        if request.namespace == ACME
        and request.kind in ("Job", "Deployment", "ConfigMap")
        and (request.kind, request.verb) != ("Job", "merge")
    ]


async def test_hooks_run_at_their_places() -> None:
    """PreApply before its component (the first by default), PostApply after it converged (the last), in list order."""
    story = await begun(
        a_hook("smoke", POST),
        a_hook("second", PRE, component="worker"),
        a_hook("migrate"),
        a_hook("warm", POST, component="api"),
        a_hook("grant"),
    )
    await story.run(S.SOAKING)
    assert jobs(story) == ["migrate", "grant", "warm", "second", "smoke"]
    order = [what for what in writes(story) if "config" not in what]
    assert order == ["create migrate", "create grant", "strategic api", "create warm", "create second", "strategic worker", "create smoke"]
    assert [(one.name, one.state) for one in story.status.hooks] == [
        (name, HookState.SUCCEEDED) for name in ("migrate", "grant", "warm", "second", "smoke")
    ]
    await story.run(S.SUCCEEDED)
    assert story.leftovers() == []


async def test_the_plan_names_the_jobs() -> None:
    """Those of the way forward, and which of them nobody comes back from by itself."""
    story = await begun(a_hook("migrate", irreversible=True), a_hook("smoke", POST), a_hook("undo", BACK))
    await story.step()
    assert story.status.plan is not None
    planned = [(one.name, one.component, one.action, one.summary) for one in story.status.plan.objects if one.kind == "Job"]
    assert planned == [
        ("shop-x-1-a1-migrate", "api", "Create", "hook migrate (PreApply), past which it is not taken back"),
        ("shop-x-1-a1-smoke", "worker", "Create", "hook smoke (PostApply)"),
    ]
    assert story.status.message.endswith("are to be written, 3 hooks around them")


async def test_what_a_job_looks_like() -> None:
    """Labelled as ours, filled, with the hook's timeout as its deadline; it is let go only at the end."""
    story = await begun(a_hook("migrate", timeout="90s"))
    await story.step()
    await story.step()
    job = story.cluster.see(JOB, ACME, "shop-x-1-a1-migrate")
    assert job["metadata"]["labels"] == {UPGRADE_LABEL: "shop", RUN_LABEL: "shop-x-1-a1", TENANT_LABEL: ACME}
    assert job["spec"]["template"]["metadata"]["labels"] == job["metadata"]["labels"]
    container = job["spec"]["template"]["spec"]["containers"][0]
    assert (container["image"], container["args"]) == ("shop/tools:2.4.0", ["--tenant=acme"])
    assert (job["spec"]["activeDeadlineSeconds"], job["spec"]["backoffLimit"]) == (90, 2)
    assert job["spec"]["template"]["spec"]["restartPolicy"] == "Never"
    assert "ttlSecondsAfterFinished" not in job["spec"]
    await story.run(S.SUCCEEDED)
    job = story.cluster.see(JOB, ACME, "shop-x-1-a1-migrate")
    assert job["spec"]["ttlSecondsAfterFinished"] == 86400
    assert INTENT_ANNOTATION not in (job["metadata"].get("annotations") or {})


async def test_nothing_else_is_done_while_a_hook_runs() -> None:
    """The step comes back without moving the tenant, and creates nothing twice."""
    story = await begun(a_hook("migrate", image="shop/tools:slow"))
    for _ in range(4):
        await story.step()
    assert story.status.state is S.APPLYING
    assert writes(story) == ["create migrate"]
    assert [one.state for one in story.status.hooks] == [HookState.RUNNING]


async def test_a_pre_apply_hook_that_fails_is_taken_back() -> None:
    """Nothing but the Job was written: OnRollback hooks run all the same, the tenant ends RolledBack, and is not tried again by itself."""
    story = await begun(a_hook("migrate", image="shop/tools:1-bad"), a_hook("undo", BACK))
    before = story.tenant_objects()
    await story.run(S.ROLLING_BACK)
    assert story.status.take_back is not None
    assert story.status.take_back.cause is FailReason.HOOK_FAILED
    assert "BackoffLimitExceeded" in story.status.message
    await story.run(S.ROLLED_BACK)
    assert [name.startswith(("migrate", "undo")) for name in jobs(story)] == [True, True]
    assert story.tenant_objects() == before
    assert (story.leftovers(), story.status.written) == ([], False)
    assert story.status.rolled_back_version == "2.4.0"


async def test_a_post_apply_hook_that_fails_is_taken_back() -> None:
    """After the component was written: everything goes back, the OnRollback hook before it."""
    story = await begun(a_hook("smoke", POST, image="shop/tools:1-bad"), a_hook("undo", BACK))
    before = story.tenant_objects()
    await story.run(S.ROLLED_BACK)
    order = [what for what in writes(story) if "config" not in what]
    assert order[3].startswith("create undo")
    assert order[:3] == ["strategic api", "strategic worker", "create smoke"]
    assert story.tenant_objects() == before
    assert story.leftovers() == []


@pytest.mark.parametrize("policy_pauses", [False, True])
async def test_past_the_point_of_no_return_a_failure_holds(policy_pauses: bool) -> None:
    """An irreversible hook that fails leaves the tenant Held, with the first cause; whoever has it keeps the lock."""
    story = await begun(a_hook("migrate", irreversible=True, image="shop/tools:1-bad"))
    await story.run(S.HELD)
    status = story.status
    assert (status.reason, status.written) == (FailReason.FORWARD_ONLY, True)
    assert "HookFailed" in status.message
    assert "irreversible hook migrate" in status.message
    assert status.take_back is not None
    assert story.leftovers()


async def test_a_later_failure_holds_too_and_resolve_takes_it_back() -> None:
    """The smoke test fails after an irreversible migration: Held; Resolve Rollback takes it back, OnRollback hooks first."""
    story = await begun(a_hook("migrate", irreversible=True), a_hook("smoke", POST, image="shop/tools:1-bad"), a_hook("undo", BACK))
    before = story.tenant_objects()
    await story.run(S.HELD)
    assert story.status.reason == FailReason.FORWARD_ONLY
    resolved(story)
    await story.run(S.ROLLED_BACK)
    assert jobs(story)[-1].startswith("undo")
    assert story.tenant_objects() == before
    assert (story.leftovers(), story.status.forward_only) == ([], "")


async def test_the_next_attempt_runs_hooks_again() -> None:
    """Jobs of another attempt have other names; what an earlier one has passed stays passed."""
    story = await begun(a_hook("migrate", irreversible=True, image="shop/tools:1-bad"))
    await story.run(S.HELD)
    story.spec = a_spec(hooks=[a_hook("migrate", irreversible=True)])
    retried(story)
    await story.run(S.SUCCEEDED)
    assert [request.name for request in story.cluster.writes if (request.verb, request.kind) == ("create", "Job")] == [
        "shop-x-1-a1-migrate",
        "shop-x-1-a2-migrate",
    ]
    assert story.leftovers() == []


async def test_two_attempts_never_run_at_once() -> None:
    """Held while the Job of an irreversible hook still runs: the next attempt waits for it, and says so."""
    story = await begun(a_hook("migrate", irreversible=True, image="shop/tools:slow"))
    for _ in range(3):
        await story.step()
    story.set_status(tenant_run.going_back(story.status, FailReason.ABORTED, "aborted", story.clock.now()))
    assert (story.status.state, story.status.reason) == (S.HELD, FailReason.FORWARD_ONLY)
    retried(story)
    for _ in range(4):
        await story.step()
    assert jobs(story) == ["migrate"]
    assert "waits for Job shop-x-1-a1-migrate" in story.status.message
    finish(story, "shop-x-1-a1-migrate")
    await story.step()
    assert len(jobs(story)) == 2


async def test_a_rollback_stops_what_runs() -> None:
    """A running Job of the way forward is deleted, and only then the OnRollback hook runs."""
    story = await begun(a_hook("smoke", POST, image="shop/tools:slow"), a_hook("undo", BACK))
    for _ in range(8):
        await story.step()
    assert [one.state for one in story.status.hooks] == [HookState.RUNNING]
    story.order_back()
    await story.run(S.ROLLED_BACK)
    order = [what for what in writes(story) if "smoke" in what or "undo" in what]
    assert order[:2] == ["create smoke", "delete smoke"]
    assert order[2].startswith("create undo")
    assert {one.name: one.state for one in story.status.hooks} == {"smoke": HookState.FAILED, "undo": HookState.SUCCEEDED}


async def test_an_on_rollback_hook_that_fails_leaves_it_to_a_person() -> None:
    """RollbackFailed (HookFailed), with nothing taken back; Resolve Rollback runs the hook again."""
    story = await begun(a_hook("undo", BACK, image="shop/tools:1-bad"))
    before = story.tenant_objects()
    await story.run(S.SOAKING)
    after = story.tenant_objects()
    story.order_back()
    await story.run(S.ROLLBACK_FAILED)
    assert story.status.reason == FailReason.HOOK_FAILED
    assert story.tenant_objects() == after
    story.broken = lambda image: False
    story.clock.forward(timedelta(minutes=3))
    resolved(story)
    await story.run(S.ROLLED_BACK)
    assert len(set(jobs(story))) == 2
    assert story.tenant_objects() == before
    assert story.leftovers() == []


async def test_a_job_that_vanishes_is_never_a_success() -> None:
    """Deleted by somebody before it had a result: the hook failed, and the message says why."""
    story = await begun(a_hook("migrate", image="shop/tools:slow"))
    for _ in range(2):
        await story.step()
    story.cluster.remove(JOB, ACME, "shop-x-1-a1-migrate")
    await story.run(S.ROLLING_BACK)
    assert [one.state for one in story.status.hooks] == [HookState.UNKNOWN]
    assert "vanished" in story.status.message


async def test_a_job_that_is_overdue_is_ended() -> None:
    """Suspended, or without a Job controller: a minute after its deadline it is deleted, and the hook has failed."""
    story = await begun(a_hook("migrate", image="shop/tools:slow", timeout="90s"))
    for _ in range(2):
        await story.step()
    story.clock.forward(timedelta(seconds=149))
    await story.step()
    assert [one.state for one in story.status.hooks] == [HookState.RUNNING]
    story.clock.forward(timedelta(seconds=2))
    await story.step()
    assert story.status.state is S.ROLLING_BACK
    assert "timeout" in story.status.message


async def test_a_foreign_job_of_that_name_is_not_ours() -> None:
    """It is found before anything is written."""
    story = await begun(a_hook("migrate"))
    story.cluster.put(JOB, {"metadata": {"name": "shop-x-1-a1-migrate", "namespace": ACME}, "spec": {}, "status": {}})
    await story.run(S.HELD)
    assert (story.status.reason, story.status.written) == (FailReason.PREFLIGHT_FAILED, False)
    assert "hook migrate" in story.status.message


async def test_what_the_server_refuses_is_found_in_preflight() -> None:
    """A policy that refuses the Job holds the tenant with nothing written, and names the hook."""
    story = await begun(a_hook("smoke", POST))

    def refuse(body: dict[str, Any]) -> None:
        if body["kind"] == "Job":
            raise Forbidden("policy no-jobs refused it")

    story.cluster.mutate = refuse
    await story.run(S.HELD)
    assert (story.status.reason, story.status.written) == (FailReason.PREFLIGHT_FAILED, False)
    assert "dry-run of hook smoke" in story.status.message


async def test_a_refused_job_is_no_point_of_no_return() -> None:
    """The server said no when it was to be created: nothing ran, so the tenant may go back."""
    story = await begun(a_hook("migrate", irreversible=True))
    await story.step()

    def refuse(body: dict[str, Any]) -> None:
        if body["kind"] == "Job":
            raise Forbidden("quota jobs 5/5", quota=True)

    story.cluster.mutate = refuse
    await story.step()
    assert (story.status.state, story.status.forward_only) == (S.HELD, "")


async def test_a_stripped_job_is_adopted_by_its_labels() -> None:
    """Its create was cut off, somebody took the marker off: it is ours all the same, and runs once."""
    story = await begun(a_hook("migrate"))
    await story.step()

    def die(number: int, request: Request) -> None:
        if request.kind == "Job":
            raise CrashNow

    story.cluster.after = die
    with pytest.raises(CrashNow):
        await story.step()
    story.cluster.after = lambda number, request: None
    story.cluster.edit(JOB, ACME, "shop-x-1-a1-migrate", {"metadata": {"annotations": None}})
    story.restart()
    await story.run(S.SUCCEEDED)
    assert jobs(story) == ["migrate"]


HOOKS = (
    a_hook("migrate"),
    a_hook("second", PRE, component="worker"),
    a_hook("smoke", POST),
    a_hook("undo", BACK),
)
BARE: dict[str, Any] = {"old": {}, "new": {}}
"""Without configuration: the writes of that are disturbed elsewhere."""


async def play(story: Story, way: str) -> None:
    """Play an upgrade to Succeeded, or to Soaking and then back."""
    if way == "upgrade":
        await story.run(S.SUCCEEDED, turns=60)
        return
    if story.status.state not in (S.ROLLING_BACK, S.ROLLED_BACK):
        await story.run(S.SOAKING, turns=60)
        story.order_back()
    await story.run(S.ROLLED_BACK, turns=60)


@pytest.mark.parametrize("fault", ["die before", "die after", "unavailable", "conflict", "lost"])
@pytest.mark.parametrize("way", ["upgrade", "rollback"])
async def test_mishaps_at_any_write_change_nothing_about_the_end(way: str, fault: str) -> None:
    """Every hook runs exactly once, and neither marker nor lock is left."""
    story = await begun(*HOOKS, **BARE)
    await play(story, way)
    count, end, ran = len(story.cluster.writes), story.tenant_objects(), jobs(story)
    for fatal in range(1, count + 1):
        story = await begun(*HOOKS, **BARE)
        disturb(story, fatal, fault)
        await play(story, way)
        assert story.tenant_objects() == end, f"{fault} at write {fatal}"
        assert story.leftovers() == [], f"{fault} at write {fatal}"
        landed = [name for name in jobs(story) if name in {key[2].removeprefix("shop-x-1-a1-") for key in story.cluster.objects}]
        assert sorted(set(landed)) == sorted(ran), f"{fault} at write {fatal}"
        assert {one.state for one in story.status.hooks} == {HookState.SUCCEEDED}, f"{fault} at write {fatal}"


async def test_a_job_that_arrives_after_the_way_back_never_runs() -> None:
    """Its create was on the way when the operator died and the tenant went back: it is there, suspended, and nobody lets it run."""
    story = await begun(a_hook("migrate", irreversible=True))
    await story.step()
    await story.die_sending(lambda request: request.kind == "Job")
    assert not story.status.forward_only
    story.order_back()
    await story.run(S.ROLLED_BACK)
    story.cluster.deliver()
    story.cluster.play(story.broken)
    assert story.cluster.see(JOB, ACME, "shop-x-1-a1-migrate")["spec"]["suspend"] is True
    assert "status" not in story.cluster.see(JOB, ACME, "shop-x-1-a1-migrate")


async def test_a_job_that_is_gone_before_it_was_written_down_never_ran() -> None:
    """The operator dies right after the create, somebody cleans the Job away: made again, it runs for the first time."""
    story = await begun(a_hook("migrate", irreversible=True))
    await story.step()
    ran: list[str] = []

    def die(number: int, request: Request) -> None:
        if (request.verb, request.kind) == ("create", "Job"):
            raise CrashNow
        if (request.verb, request.kind) == ("merge", "Job") and request.body["spec"].get("suspend") is False:
            ran.append(request.name)

    story.cluster.after = die
    with pytest.raises(CrashNow):
        await story.step()
    story.cluster.remove(JOB, ACME, "shop-x-1-a1-migrate")
    story.restart()
    with pytest.raises(CrashNow):
        await story.step()
    story.restart()
    await story.run(S.SUCCEEDED)
    assert ran == ["shop-x-1-a1-migrate"]


async def test_a_job_that_somebody_suspends_is_left_to_them() -> None:
    """It was let run once; a queue of Jobs, or a person, may hold it. It has its timeout all the same."""
    story = await begun(a_hook("migrate", image="shop/tools:slow", timeout="90s"))
    for _ in range(2):
        await story.step()
    story.cluster.edit(JOB, ACME, "shop-x-1-a1-migrate", {"spec": {"suspend": True}})
    for _ in range(3):
        await story.step()
    assert story.cluster.see(JOB, ACME, "shop-x-1-a1-migrate")["spec"]["suspend"] is True
    story.clock.forward(timedelta(seconds=151))
    await story.run(S.ROLLING_BACK)


def disturb(story: Story, fatal: int, fault: str) -> None:
    """Let one thing go wrong at one write."""

    def before(number: int, request: Request) -> None:
        if number == fatal:
            match fault:
                case "die before":
                    raise CrashNow
                case "unavailable":
                    raise Unavailable("no")
                case "conflict":
                    raise Conflict("no")

    def after(number: int, request: Request) -> None:
        if number == fatal:
            match fault:
                case "die after":
                    raise CrashNow
                case "lost":
                    raise OutcomeUnknown("the answer was lost")

    story.cluster.before, story.cluster.after = before, after


def finish(story: Story, job: str) -> None:
    """Let a running Job end well."""
    story.cluster.edit(JOB, ACME, job, {"status": {"conditions": [{"type": "Complete", "status": "True"}]}})


def resolved(story: Story) -> None:
    """Have a person order it back, as the planner carries that out."""
    status = story.status
    assert status.take_back is not None
    order = status.take_back.model_copy(update={"time": story.clock.now()})
    status = status.model_copy(update={"resolution": Resolution.ROLLBACK})
    story.set_status(tenant_run.to(status, S.ROLLING_BACK, order.cause, "resolved", story.clock.now(), take_back=order))


def retried(story: Story) -> None:
    """Begin the next attempt, as the planner does."""
    kept = story.status.model_copy(update={"run": "shop-x-1-a2", "attempt": 2, "hooks": (), "take_back": None, "state": S.PREFLIGHT})
    story.set_status(kept)
