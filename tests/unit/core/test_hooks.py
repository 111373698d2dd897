"""Which hooks run where, what their Jobs are called and look like, and what a Job says of itself."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

import pytest

from builders import NOON, a_journal, a_policy, a_spec, a_status, a_tenant, a_world
from tenantwave.api.conditions import FailReason
from tenantwave.api.kinds import RUN_LABEL, TENANT_LABEL, UPGRADE_LABEL
from tenantwave.api.run_records import HookRecord, HookState
from tenantwave.api.tenant_run import TakeBack, TenantState
from tenantwave.api.upgrade import HookTime, TenantUpgradeSpec
from tenantwave.core import hooks
from tenantwave.core.hooks import LET_RUN_ANNOTATION, Place
from tenantwave.core.plan import Deed
from tenantwave.core.planner import decide
from tenantwave.core.world import HookJobView

ISO = "%Y-%m-%dT%H:%M:%SZ"
PLACE = Place("shop", "shop-x7f2k-1-a1", "acme", "2.4.0")
TEMPLATE: dict[str, Any] = {"spec": {"template": {"spec": {"containers": [{"name": "run", "image": "shop/tools:{version}"}]}}}}


def spec_with(*given: dict[str, Any]) -> TenantUpgradeSpec:
    """A release of two components with these hooks."""
    components = [
        {"name": name, "workload": {"kind": "Deployment", "name": name, "containers": [{"name": name, "image": f"{name}:2"}]}}
        for name in ("api", "worker")
    ]
    wanted = [{"jobTemplate": TEMPLATE} | ({"irreversible": False} if one["at"] == "PreApply" else {}) | one for one in given]
    return a_spec("2.4.0", components=components, hooks=wanted)


GIVEN = spec_with(
    {"name": "a", "at": "PreApply"},
    {"name": "b", "at": "PreApply", "component": "worker"},
    {"name": "c", "at": "PreApply", "component": "api"},
    {"name": "d", "at": "PostApply"},
    {"name": "e", "at": "PostApply", "component": "api"},
    {"name": "f", "at": "OnRollback", "component": "api"},
    {"name": "g", "at": "OnRollback"},
)


@pytest.mark.parametrize(
    ("at", "component", "is_there", "expected"),
    [
        pytest.param(HookTime.PRE_APPLY, 0, True, "ac", id="before the first: those that name it or none, in list order"),
        pytest.param(HookTime.PRE_APPLY, 1, True, "b", id="before the second: who names it"),
        pytest.param(HookTime.POST_APPLY, 0, True, "e", id="after the first: who names it"),
        pytest.param(HookTime.POST_APPLY, 1, True, "d", id="after the last: who names none"),
        pytest.param(HookTime.PRE_APPLY, 0, False, "a", id="a first component that is not there takes along who names it alone"),
        pytest.param(HookTime.POST_APPLY, 1, False, "d", id="a last one that is not there takes nobody along who names none"),
        pytest.param(HookTime.PRE_APPLY, 1, False, "", id="not there: not run"),
        pytest.param(HookTime.ON_ROLLBACK, None, True, "fg", id="on the way back: all"),
    ],
)
def test_which_hooks_run_where(at: HookTime, component: int | None, is_there: bool, expected: str) -> None:
    """Each hook runs at exactly one place."""
    about = GIVEN.components[component] if component is not None else None
    assert "".join(hook.name for hook in hooks.hooks_at(GIVEN, at, about, is_there=is_there)) == expected


def test_every_hook_runs_once_on_the_way_forward() -> None:
    """Over all components: each PreApply and PostApply hook once."""
    ran = [
        hook.name for one in GIVEN.components for at in (HookTime.PRE_APPLY, HookTime.POST_APPLY) for hook in hooks.hooks_at(GIVEN, at, one)
    ]
    assert sorted(ran) == ["a", "b", "c", "d", "e"]


@pytest.mark.parametrize(
    ("run", "hook", "again", "expected"),
    [
        pytest.param("shop-x7f2k-1-a1", "migrate", "", "shop-x7f2k-1-a1-migrate", id="plain"),
        pytest.param("shop-x7f2k-1-a2", "migrate", "", "shop-x7f2k-1-a2-migrate", id="another attempt"),
    ],
)
def test_a_name_that_fits_is_plain(run: str, hook: str, again: str, expected: str) -> None:
    """So people find the Job."""
    assert hooks.job_name(run, hook, again) == expected


def test_no_two_jobs_share_a_name() -> None:
    """Long names, dots, orders to go back, and a hook that is called like a probe: all differ, and all are names of Jobs."""
    asked = [
        ("s" * 40 + "-x7f2k-1-a1", "m" * 30, ""),
        ("s" * 40 + "-x7f2k-1-a1", "m" * 29 + "n", ""),
        ("s" * 40 + "-x7f2k-1-a2", "m" * 30, ""),
        ("shop-1.2-x-1-a1", "undo", ""),
        ("shop-1-2-x-1-a1", "undo", ""),
        ("shop-1-2-x-1-a1", "undo", "2026-12-06T01:00:00+00:00"),
        ("shop-1-2-x-1-a1", "undo", "2026-12-06T02:00:00+00:00"),
    ]
    names = [hooks.job_name(*one) for one in asked]
    assert len(set(names)) == len(asked)
    for name in names:
        assert len(name) <= 63
        assert name.replace("-", "").isalnum()
        assert name == name.lower().strip("-")


def test_a_probe_is_no_hook_of_that_name() -> None:
    """A hook may be called `probe-nightly`: the probe of CronJob nightly has a Job of its own."""
    spec = spec_with({"name": "probe-nightly", "at": "PostApply"})
    hook = hooks.hook_job(spec.hooks[0], spec, PLACE)
    probe = hooks.probe_job(spec.components[0], "nightly", TEMPLATE, timedelta(minutes=5), PLACE)
    assert (hook.job, hook.name) != (probe.job, probe.name)
    assert hook.job != probe.job
    assert (probe.reason, probe.at) == (FailReason.NOT_CONVERGED, HookTime.POST_APPLY)


@pytest.mark.parametrize(
    ("stated", "timeout", "expected"),
    [(None, "90s", 90), (30, "90s", 30), (900, "90s", 90), (None, None, 600), (0, "2s", 2), ("x", "90s", 90)],
)
def test_the_timeout_is_in_the_job(stated: Any, timeout: str | None, expected: int) -> None:
    """The smaller of the hook's and the template's; it holds without us."""
    template = {"spec": TEMPLATE["spec"] | ({"activeDeadlineSeconds": stated} if stated is not None else {})}
    spec = spec_with({"name": "a", "at": "PostApply", "jobTemplate": template} | ({"timeout": timeout} if timeout else {}))
    assert hooks.job_body(hooks.hook_job(spec.hooks[0], spec, PLACE), PLACE)["spec"]["activeDeadlineSeconds"] == expected


def test_a_job_is_the_template_and_ours() -> None:
    """What the template says stays, placeholders filled; labels, names and what would take the result away are ours."""
    template = {
        "metadata": {
            "name": "theirs",
            "namespace": "other",
            "labels": {"app": "tools", RUN_LABEL: "forged"},
            "annotations": {"note": "{tenant}", LET_RUN_ANNOTATION: "true"},
        },
        "spec": {
            "backoffLimit": 0,
            "suspend": False,
            "ttlSecondsAfterFinished": 0,
            "parallelism": 2,
            "template": {
                "metadata": {"labels": {"app": "tools"}},
                "spec": {
                    "restartPolicy": "OnFailure",
                    "containers": [{"name": "run", "image": "shop/tools:{version}", "args": ["{tenant}", 7, {"{tenant}": None}]}],
                },
            },
        },
    }
    spec = spec_with({"name": "a", "at": "PostApply", "jobTemplate": template})
    ours = {UPGRADE_LABEL: "shop", RUN_LABEL: "shop-x7f2k-1-a1", TENANT_LABEL: "acme"}
    assert hooks.job_body(hooks.hook_job(spec.hooks[0], spec, PLACE), PLACE) == {
        "apiVersion": "batch/v1",
        "kind": "Job",
        "metadata": {
            "name": "shop-x7f2k-1-a1-a",
            "namespace": "acme",
            "labels": {"app": "tools"} | ours,
            "annotations": {"note": "acme"},
        },
        "spec": {
            "backoffLimit": 0,
            "parallelism": 2,
            "suspend": True,
            "activeDeadlineSeconds": 600,
            "template": {
                "metadata": {"labels": {"app": "tools"} | ours},
                "spec": {
                    "restartPolicy": "OnFailure",
                    "containers": [{"name": "run", "image": "shop/tools:2.4.0", "args": ["acme", 7, {"{tenant}": None}]}],
                },
            },
        },
    }


@pytest.mark.parametrize(
    "template", [{}, {"spec": []}, {"spec": {"template": "x"}}, {"metadata": [], "spec": {"template": {"metadata": 1, "spec": 2}}}]
)
def test_a_template_of_any_shape_is_told_and_breaks_nothing(template: dict[str, Any]) -> None:
    """The schema lets anything through: it is InvalidSpec, with the hook's name."""
    spec = spec_with({"name": "odd", "at": "PostApply", "jobTemplate": template}, {"name": "fine", "at": "PostApply"})
    [problem] = hooks.template_problems(spec)
    assert "spec.hooks[odd].jobTemplate" in problem
    assert hooks.job_body(hooks.hook_job(spec.hooks[0], spec, PLACE), PLACE)["metadata"]["name"] == "shop-x7f2k-1-a1-odd"


@pytest.mark.parametrize(
    ("conditions", "state", "said"),
    [
        pytest.param([], HookState.RUNNING, "", id="nothing yet"),
        pytest.param([{"type": "Complete", "status": "True"}], HookState.SUCCEEDED, "", id="Complete"),
        pytest.param([{"type": "Complete", "status": "False"}], HookState.RUNNING, "", id="Complete, but not so"),
        pytest.param([{"type": "FailureTarget", "status": "True"}], HookState.RUNNING, "", id="will fail, and pods run still"),
        pytest.param([{"type": "SuccessCriteriaMet", "status": "True"}], HookState.RUNNING, "", id="will succeed, and pods run still"),
        pytest.param([{"type": "Suspended", "status": "True"}], HookState.RUNNING, "", id="suspended"),
        pytest.param(
            [{"type": "Failed", "status": "True", "reason": "DeadlineExceeded", "message": "too long"}],
            HookState.FAILED,
            "DeadlineExceeded: too long",
            id="Failed",
        ),
        pytest.param([{"type": "Failed", "status": "True"}], HookState.FAILED, "Failed: no message", id="Failed without a word"),
    ],
)
def test_what_a_job_says_of_itself(conditions: list[dict[str, str]], state: HookState, said: str) -> None:
    """Only Complete and Failed are ends; a Job that runs is never a success."""
    status = {"conditions": conditions, "failed": 1}
    view = hooks.view_of({"metadata": {"name": "a", "namespace": "acme", "labels": {UPGRADE_LABEL: "shop"}}, "status": status})
    assert (view.state, view.message, view.upgrade, view.tenant) == (state, said, "shop", "acme")


@pytest.mark.parametrize(
    ("reason", "counts", "is_told"),
    [
        pytest.param("DeadlineExceeded", {}, True, id="none was ever made"),
        pytest.param("DeadlineExceeded", {"active": 0, "failed": 0}, True, id="none is counted"),
        pytest.param("DeadlineExceeded", {"failed": 1}, False, id="one ran too long"),
        pytest.param("DeadlineExceeded", {"succeeded": 1}, False, id="one of several was through"),
        pytest.param("BackoffLimitExceeded", {}, False, id="another end"),
    ],
)
def test_a_job_whose_pods_were_refused_says_where_to_look(reason: str, counts: dict[str, int], is_told: bool) -> None:
    """A policy or a quota on pods shows as nothing but a timeout: its Events have the reason."""
    said = {"type": "Failed", "status": "True", "reason": reason, "message": "x" * 2000}
    view = hooks.view_of({"metadata": {"name": "a", "namespace": "acme"}, "status": {"conditions": [said]} | counts})
    assert view.message.endswith("it never had a pod: `kubectl describe job -n acme a` says why") is is_told
    assert view.message.startswith(f"{reason}: xxx")
    assert len(view.message) <= 512


LET_RUN, STARTED, SEEN = (NOON + timedelta(hours=hours) for hours in (1, 2, 3))
ITS_TIME = hooks.DEFAULT_TIMEOUT + hooks.LATE


@pytest.mark.parametrize(
    ("let_run", "started", "seen_since", "begins"),
    [
        pytest.param(LET_RUN, None, None, LET_RUN, id="let run"),
        pytest.param(LET_RUN, STARTED, None, STARTED, id="started later by its controller"),
        pytest.param(LET_RUN, STARTED, SEEN, SEEN, id="nobody looked until now"),
        pytest.param(LET_RUN, STARTED, NOON, STARTED, id="we have looked for long"),
        pytest.param("true", None, None, NOON, id="it does not say when: when it was made"),
        pytest.param("2026-12-06T13:00:00", None, None, NOON, id="an instant of no zone"),
        pytest.param("9999-12-31T23:59:59-23:59", None, None, NOON, id="a time to come is not believed"),
        pytest.param("9999-12-31T23:59:59-23:59", STARTED, None, STARTED, id="its controller knows better"),
        pytest.param("0001-01-01T00:00:00+23:59", None, None, NOON, id="long ago"),
    ],
)
def test_when_a_job_is_overdue(let_run: Any, started: datetime | None, seen_since: datetime | None, begins: datetime) -> None:
    """Its clock begins when it may run, and stands while nobody looks; what the tenant writes into a Job breaks nothing."""
    value = let_run if isinstance(let_run, str) else hooks.let_run(let_run)["metadata"]["annotations"][LET_RUN_ANNOTATION]
    metadata = {"name": "a", "namespace": "acme", "annotations": {LET_RUN_ANNOTATION: value}, "creationTimestamp": f"{NOON:{ISO}}"}
    status = {"startTime": f"{started:{ISO}}"} if started is not None else {}
    deadline = int(hooks.DEFAULT_TIMEOUT.total_seconds())
    raw: dict[str, Any] = {"metadata": metadata, "spec": {"activeDeadlineSeconds": deadline}, "status": status}
    record = HookRecord(name="a", at=HookTime.PRE_APPLY, job="a", start_time=NOON)
    spec = spec_with({"name": "a", "at": "PreApply"})
    assert hooks.due_time(spec, record, hooks.view_of(raw), seen_since, NOON + timedelta(hours=4)) == begins + ITS_TIME
    assert hooks.is_overdue(raw, seen_since, begins + ITS_TIME)
    assert not hooks.is_overdue(raw, seen_since, begins + ITS_TIME - timedelta(seconds=1))


def test_the_journal_keeps_one_record_of_each_hook_in_the_order_of_starts() -> None:
    """A Job of another order takes the place of the one before, at the end."""
    first, second = (HookRecord(name=name, at=HookTime.PRE_APPLY, job=f"run-{name}") for name in ("a", "b"))
    kept = hooks.with_record(hooks.with_record((), first), second)
    ended = hooks.ended(first, HookState.SUCCEEDED, "", NOON)
    assert hooks.with_record(kept, ended) == (ended, second)
    again = first.model_copy(update={"job": "run-a-2"})
    assert hooks.with_record(kept, again) == (second, again)


def test_each_order_to_go_back_has_jobs_of_its_own() -> None:
    """So Resolve runs an OnRollback hook again that failed; hooks of the way forward keep their names."""
    spec = spec_with({"name": "undo", "at": "OnRollback"}, {"name": "smoke", "at": "PostApply"})
    names = []
    for minutes in (0, 1):
        order = TakeBack(cause=FailReason.GATE_FAILED, time=NOON + timedelta(minutes=minutes))
        place = hooks.place_of("shop", "acme", "2.4.0", a_status(TenantState.ROLLING_BACK, take_back=order, run="shop-x7f2k-1-a1"))
        names.append([hooks.hook_job(hook, spec, place).job for hook in spec.hooks])
    assert names[0][0] != names[1][0]
    assert names[0][1] == names[1][1] == "shop-x7f2k-1-a1-smoke"


def test_a_components_own_jobs_take_none_of_its_time() -> None:
    """health.timeout counts from the last write, or from the last start or end of a Job after it."""
    status = a_status(TenantState.CONVERGING, applied_time=NOON)
    assert hooks.converging_since(status) == NOON
    job = HookRecord(name="smoke", at=HookTime.POST_APPLY, job="j", start_time=NOON + timedelta(minutes=3))
    assert hooks.converging_since(status.model_copy(update={"hooks": (job,)})) == NOON + timedelta(minutes=3)
    before = job.model_copy(update={"at": HookTime.PRE_APPLY})
    assert hooks.converging_since(status.model_copy(update={"hooks": (before,)})) == NOON
    assert hooks.converging_since(a_status(TenantState.APPLYING, hooks=(job,))) is None


LATE_RUNNER = HookJobView("acme", "j", "shop-2-4-0", HookState.RUNNING, running_since=NOON + timedelta(minutes=5))


@pytest.mark.parametrize(
    ("seen", "later", "wanted"),
    [
        pytest.param(HookJobView("acme", "j", "shop-2-4-0", HookState.RUNNING), 1, False, id="it runs: its end wakes us"),
        pytest.param(HookJobView("acme", "j", "shop-2-4-0", HookState.SUCCEEDED), 1, True, id="it has ended"),
        pytest.param(HookJobView("acme", "j", "shop-2-4-0", HookState.RUNNING, is_let_run=False), 1, True, id="not let run yet"),
        pytest.param(HookJobView("acme", "j", "shop-2-4-0", HookState.RUNNING), 12, True, id="overdue"),
        pytest.param(LATE_RUNNER, 12, False, id="overdue, had it been let run at once"),
        pytest.param(LATE_RUNNER, 17, True, id="overdue since it was let run"),
        pytest.param(None, 1, True, id="the cache does not have it: it may be gone"),
    ],
)
@pytest.mark.parametrize(
    ("state", "at", "deed"),
    [
        (TenantState.APPLYING, HookTime.PRE_APPLY, Deed.APPLY),
        (TenantState.CONVERGING, HookTime.POST_APPLY, Deed.CONFIRM),
        (TenantState.ROLLING_BACK, HookTime.ON_ROLLBACK, Deed.TAKE_BACK),
    ],
)
def test_a_tenant_whose_hook_runs_is_left_alone(
    seen: HookJobView | None, later: int, wanted: bool, state: TenantState, at: HookTime, deed: Deed
) -> None:
    """No step is taken that would only find that the Job still runs; a look is due when it is overdue."""
    now = NOON + timedelta(minutes=later)
    record = HookRecord(name="h", at=at, job="j", start_time=NOON)
    order = TakeBack(cause=FailReason.GATE_FAILED, time=NOON) if state is TenantState.ROLLING_BACK else None
    status = a_status(state, hooks=(record,), take_back=order, applied_time=now)
    policy = a_policy()
    tenant = a_tenant("acme", status, hook_jobs={"j": seen} if seen is not None else {})
    world = a_world([tenant], policy=policy, journal=a_journal(policy, {"canary": ["acme"], "rest": []}, running="canary"))
    plan = decide(world, now)
    assert [step.deed for step in plan.steps] == ([deed] if wanted else [])
    if not wanted:
        assert plan.wake_time is not None
        begun = seen.running_since if seen is not None else None
        assert plan.wake_time <= (begun or NOON) + ITS_TIME


def test_a_running_hook_is_not_overdue_for_the_time_in_which_nobody_looked() -> None:
    """The operator comes back long after the hook's time: its end may not be known here yet."""
    back = NOON + timedelta(hours=1)
    record = HookRecord(name="h", at=HookTime.PRE_APPLY, job="j", start_time=NOON)
    tenant = a_tenant("acme", a_status(TenantState.APPLYING, hooks=(record,)), hook_jobs={"j": LATE_RUNNER})
    policy = a_policy()
    journal = a_journal(policy, {"canary": ["acme"], "rest": []}, running="canary")
    world = a_world([tenant], policy=policy, journal=journal, seen_since=back)
    assert decide(world, back + ITS_TIME - timedelta(seconds=1)).steps == ()
    assert [step.deed for step in decide(world, back + ITS_TIME).steps] == [Deed.APPLY]
