"""Who answers a TenantDecision: its upgrade, or, where it reaches none, the worker; and the right answer comes by itself."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import pytest

from fakes import Request
from support.engine_story import UPGRADE
from support.tenant_story import ACME, OWN
from support.tenants_story import TenantsStory
from tenantwave.api.conditions import DecisionReason
from tenantwave.api.kinds import NAMESPACE, TENANT_DECISION, TENANT_RUN, TENANT_UPGRADE
from tenantwave.api.meta import tenant_run_name
from tenantwave.api.tenant_run import TenantRunStatus, TenantState
from tenantwave.core.calendar import Answer
from tenantwave.engine.decisions import GRACE
from tenantwave.engine.tenant_views import decision_view
from tenantwave.faults import Conflict, Forbidden, NotFound, Unavailable

LABELS = {"tenantwave.io/product-shop": "true"}
NOBODY = "there is no TenantUpgrade shop-3; if the name is wrong, create a new decision with the right one"
NOT_SELECTED = "TenantUpgrade shop does not select namespace elsewhere; name the right one in a new decision"
COUNTS = Answer("opt-out-1", True, DecisionReason.ACCEPTED, "counts until 2026-12-20T00:00:00Z")


async def later(story: TenantsStory, key: tuple[str, str]) -> None:
    """Let the time of grace pass: the worker has set its timer, and it rings."""
    delay = story.decision_queue.delay_of(key)
    assert delay is not None, "a timer was set"
    assert timedelta() < delay <= GRACE
    story.decision_queue.forget(key)
    story.clock.forward(GRACE)
    story.awake["decision"].add(key)
    await story.settle()


async def test_an_upgrade_that_is_not_there_is_said_after_a_time_of_grace() -> None:
    story = TenantsStory()
    story.decide("opt-out-1", upgrade="shop-3")
    await story.settle()
    assert story.answer("opt-out-1") is None, "git applies in any order"
    await later(story, (ACME, "opt-out-1"))
    assert story.answer("opt-out-1") == ("False", "UnknownTarget", NOBODY)
    count = len(story.cluster.writes)
    story.restart()
    await story.settle()
    assert len(story.cluster.writes) == count, "said once"


async def test_a_namespace_that_the_upgrade_does_not_select_is_said_until_it_is_labelled() -> None:
    story = TenantsStory()
    story.cluster.put(NAMESPACE, {"metadata": {"name": "elsewhere"}})
    story.decide("opt-out-1", tenant="elsewhere")
    await story.settle()
    await later(story, ("elsewhere", "opt-out-1"))
    assert story.answer("opt-out-1", "elsewhere") == ("False", "UnknownTarget", NOT_SELECTED)

    story.cluster.edit(NAMESPACE, "", "elsewhere", {"metadata": {"labels": LABELS}})
    await story.settle()
    assert UPGRADE in story.awake["upgrade"], "now the upgrade is to answer"
    await later(story, ("elsewhere", "opt-out-1"))
    assert story.answer("opt-out-1", "elsewhere") is None, "it did not; what was said is true no more"

    story.cluster.edit(NAMESPACE, "", "elsewhere", {"metadata": {"labels": {"tenantwave.io/product-shop": None}}})
    await story.settle()
    assert story.answer("opt-out-1", "elsewhere") == ("False", "UnknownTarget", NOT_SELECTED), "it is not new any more: said at once"


async def test_an_upgrade_that_comes_later_takes_the_answer_over() -> None:
    story = TenantsStory()
    upgrade = story.cluster.see(TENANT_UPGRADE, "", UPGRADE)
    story.cluster.remove(TENANT_UPGRADE, "", UPGRADE)
    story.decide("opt-out-1")
    await story.settle()
    await later(story, (ACME, "opt-out-1"))
    answer = story.answer("opt-out-1")
    assert answer is not None
    assert answer[1] == "UnknownTarget"

    story.cluster.put(TENANT_UPGRADE, {"metadata": {"name": UPGRADE}, "spec": upgrade["spec"]})
    await story.settle()
    await story.answer_by_upgrade(COUNTS)
    assert story.answer("opt-out-1") == ("True", "Accepted", COUNTS.message)
    story.cluster.remove(TENANT_UPGRADE, "", UPGRADE)
    await story.settle()
    assert story.answer("opt-out-1") == ("True", "Accepted", COUNTS.message), "what it was answered stays on record"


async def test_an_edited_selector_counts_at_once() -> None:
    story = TenantsStory()
    story.decide("opt-out-1")
    await story.settle()
    await story.answer_by_upgrade(COUNTS)
    await story.settle()
    story.edit_upgrade({"tenantSelector": {"matchLabels": {"tenantwave.io/product-shop": None, "ring": "one"}}})
    await story.settle()
    answer = story.answer("opt-out-1")
    assert answer is not None
    assert answer[:2] == ("False", "UnknownTarget")


async def test_the_time_of_grace_counts_anew_each_time() -> None:
    """A label that comes, goes and comes again: the upgrade has the whole time from the last one on."""
    story = TenantsStory()
    story.cluster.put(NAMESPACE, {"metadata": {"name": "elsewhere"}})
    story.decide("opt-out-1", tenant="elsewhere")
    await story.settle()
    await later(story, ("elsewhere", "opt-out-1"))
    for labels in (LABELS, dict.fromkeys(LABELS), LABELS):
        story.cluster.edit(NAMESPACE, "", "elsewhere", {"metadata": {"labels": labels}})
        await story.settle()
        story.clock.forward(GRACE * 0.75)
    story.awake["decision"].add(("elsewhere", "opt-out-1"))
    await story.settle()
    assert story.answer("opt-out-1", "elsewhere") is not None, "0.75 of it have passed"


async def test_a_tenant_by_its_tenant_run_is_answered_by_the_upgrade() -> None:
    """Its label is gone, its TenantRun is not: the upgrade still knows it. Once that is gone, too, it does not."""
    story = TenantsStory()
    story.decide("opt-out-1")
    story.plan(TenantRunStatus(state=TenantState.SKIPPED, reason="Unselected"))
    await story.settle()
    await story.answer_by_upgrade(COUNTS)
    story.cluster.edit(NAMESPACE, "", ACME, {"metadata": {"labels": dict.fromkeys(LABELS)}})
    await story.settle()
    assert story.answer("opt-out-1") == ("True", "Accepted", COUNTS.message)
    story.cluster.remove(TENANT_RUN, OWN, tenant_run_name(UPGRADE, ACME))
    await story.settle()
    answer = story.answer("opt-out-1")
    assert answer is not None
    assert answer[:2] == ("False", "UnknownTarget")


async def test_a_namespace_that_is_never_a_tenant() -> None:
    story = TenantsStory()
    story.cluster.put(NAMESPACE, {"metadata": {"name": "kube-public", "labels": LABELS}})
    story.decide("opt-out-1", tenant="kube-public")
    story.clock.forward(GRACE)
    await story.settle()
    answer = story.answer("opt-out-1", "kube-public")
    assert answer is not None
    assert answer[:2] == ("False", "UnknownTarget")


async def test_nobody_knows_whom_an_unreadable_upgrade_selects() -> None:
    story = TenantsStory()
    story.cluster.put(NAMESPACE, {"metadata": {"name": "elsewhere"}})
    story.edit_upgrade({"tenantSelector": "all"})
    story.clock.forward(GRACE)
    story.decide("opt-out-1", tenant="elsewhere")
    story.clock.forward(GRACE)
    await story.settle()
    assert story.answer("opt-out-1", "elsewhere") is None


async def test_a_decision_that_cannot_be_read_says_so() -> None:
    story = TenantsStory()
    story.decide("defer-1", kind="Postpone")
    story.clock.forward(GRACE)
    await story.settle()
    answer = story.answer("defer-1")
    assert answer is not None
    assert answer[:2] == ("False", "Invalid")
    assert answer[2].startswith("spec.type: ")
    assert answer[2].endswith("correct the field in a new decision")


async def test_a_namespace_that_is_being_deleted_gets_no_answers() -> None:
    story = TenantsStory()
    story.decide("opt-out-1", upgrade="shop-3")
    story.clock.forward(GRACE)
    story.cluster.edit(NAMESPACE, "", ACME, {"metadata": {"deletionTimestamp": "2026-12-06T02:00:00Z"}})
    await story.settle()
    assert story.answer("opt-out-1") is None


# What the upgrade's worker writes.


async def test_answers_are_written_on_change_only() -> None:
    story = TenantsStory()
    story.decide("opt-out-1")
    await story.settle()
    await story.answer_by_upgrade(COUNTS)
    first = story.cluster.see(TENANT_DECISION, ACME, "opt-out-1")
    assert first["status"]["observedGeneration"] == 1
    story.clock.forward(timedelta(hours=1))
    await story.answer_by_upgrade(COUNTS)
    assert story.cluster.see(TENANT_DECISION, ACME, "opt-out-1") == first
    shorter = replace(COUNTS, reason=DecisionReason.SHORTENED, message="counts until 2026-12-10T00:00:00Z only")
    await story.answer_by_upgrade(shorter)
    second = story.cluster.see(TENANT_DECISION, ACME, "opt-out-1")["status"]["conditions"][0]
    assert (second["reason"], second["message"]) == ("Shortened", shorter.message)
    assert second["lastTransitionTime"] == first["status"]["conditions"][0]["lastTransitionTime"], "it still is True"


@pytest.mark.parametrize(
    ("fault", "is_tried_again"),
    [(Conflict("changed meanwhile"), True), (NotFound("gone"), False), (Unavailable("503"), True), (Forbidden("no rights"), True)],
    ids=lambda value: type(value).__name__ if isinstance(value, Exception) else "",
)
async def test_one_that_cannot_be_answered_stops_no_other(fault: Exception, is_tried_again: bool) -> None:
    story = TenantsStory()
    for name in ("one", "two", "three"):
        story.decide(name)
    await story.settle()
    failing = {"two"}

    def fail(_: int, request: Request) -> None:
        if request.kind == "TenantDecision" and request.name in failing:
            raise fault

    story.cluster.before = fail
    answers = [replace(COUNTS, decision=name) for name in ("one", "two", "three")]
    await story.answer_by_upgrade(*answers)
    assert [story.answer(name) is not None for name in ("one", "two", "three")] == [True, False, True]
    delay = story.reconciler.queue.delay_of(UPGRADE)
    assert delay is not None
    assert (delay < timedelta(seconds=2)) is is_tried_again

    failing.clear()
    story.clock.forward(timedelta(seconds=2))
    await story.answer_by_upgrade(*answers)
    assert story.answer("two") is not None


async def test_a_decision_about_another_upgrade_under_an_old_name_is_not_answered() -> None:
    story = TenantsStory()
    story.decide("opt-out-1", upgrade="shop-3")
    await story.settle()
    await story.answer_by_upgrade(COUNTS)
    assert story.answer("opt-out-1") is None


async def test_what_the_upgrade_sees() -> None:
    """Its decisions by name, with its own answers; those of others, unreadable and deleted ones are not among them."""
    story = TenantsStory()
    story.decide("b-opt-in", kind="OptIn")
    story.decide("a-defer", kind="Defer", untilTime="2026-12-20T00:00:00Z")
    story.decide("other", upgrade="shop-3")
    story.decide("unreadable", kind="Postpone")
    story.watch()
    await story.answer_by_upgrade(replace(COUNTS, decision="a-defer"))
    story.watch()
    seen = story.world().tenants[ACME].decisions
    assert [(one.decision.name, one.decision.type, one.decision.creation_time) for one in seen] == [
        ("a-defer", "Defer", story.clock.now()),
        ("b-opt-in", "OptIn", story.clock.now()),
    ]
    assert seen[0].decision.until_time is not None
    assert seen[0].decision.until_time.isoformat() == "2026-12-20T00:00:00+00:00"
    assert [one.answer for one in seen] == [replace(COUNTS, decision="a-defer"), None]

    story.awake["upgrade"].clear()
    story.cluster.remove(TENANT_DECISION, ACME, "a-defer")
    story.watch()
    assert story.awake["upgrade"] == {UPGRADE}
    assert [one.decision.name for one in story.world().tenants[ACME].decisions] == ["b-opt-in"]
    story.cluster.remove(TENANT_DECISION, ACME, "b-opt-in")
    story.decide("b-opt-in", kind="OptIn", upgrade="shop-3")
    story.awake["upgrade"].clear()
    story.watch()
    assert story.awake["upgrade"] == {UPGRADE, "shop-3"}, "one of the same name, about another upgrade: both look"


@pytest.mark.parametrize(
    ("condition", "is_answer"),
    [
        ({"status": "True", "reason": "Accepted", "observedGeneration": 2}, True),
        ({"status": "True", "reason": "Accepted", "observedGeneration": 1}, False),
        ({"status": "False", "reason": "UnknownTarget", "observedGeneration": 2}, False),
        ({"status": "False", "reason": "NotSupported", "observedGeneration": 2}, False),
    ],
    ids=["of this generation", "of an older one", "of no upgrade", "of an older build"],
)
def test_which_condition_is_an_answer(condition: dict[str, object], is_answer: bool) -> None:
    stored = condition | {"type": "Accepted", "message": "m", "lastTransitionTime": "2026-12-06T02:00:00Z"}
    metadata = {"name": "one", "namespace": ACME, "uid": "u", "generation": 2, "resourceVersion": "1"}
    view = decision_view({"metadata": metadata, "spec": {"upgrade": UPGRADE, "type": "OptOut"}, "status": {"conditions": [stored]}})
    assert view.seen is not None
    assert (view.seen.answer is not None) is is_answer


# Both together, with the planner itself.


async def test_a_decision_older_than_its_upgrade_is_obeyed_once_it_is_there() -> None:
    story = TenantsStory()
    upgrade = story.cluster.see(TENANT_UPGRADE, "", UPGRADE)
    story.cluster.remove(TENANT_UPGRADE, "", UPGRADE)
    story.decide("opt-out-1")
    await story.settle(upgrade=True)
    await later(story, (ACME, "opt-out-1"))
    metadata = {"name": UPGRADE, "creationTimestamp": f"{story.clock.now():%Y-%m-%dT%H:%M:%SZ}"}
    story.cluster.put(TENANT_UPGRADE, {"metadata": metadata, "spec": upgrade["spec"]})
    await story.settle(upgrade=True)
    answer = story.answer("opt-out-1")
    assert answer is not None
    assert answer[:2] == ("True", "Accepted")
    assert story.run()["status"]["state"] == "Skipped"
    assert story.image() == "shop/api:2.3.1", "nothing was written"
    count = len(story.cluster.writes)
    story.restart()
    story.awake["upgrade"].add(UPGRADE)
    await story.settle(upgrade=True)
    assert len(story.cluster.writes) == count, "at rest"


async def test_a_tenant_that_is_labelled_later_is_answered_by_the_upgrade() -> None:
    story = TenantsStory()
    story.cluster.put(NAMESPACE, {"metadata": {"name": "elsewhere"}})
    story.decide("opt-out-1", tenant="elsewhere")
    await story.settle(upgrade=True)
    await later(story, ("elsewhere", "opt-out-1"))
    story.cluster.edit(NAMESPACE, "", "elsewhere", {"metadata": {"labels": LABELS}})
    await story.settle(upgrade=True)
    answer = story.answer("opt-out-1", "elsewhere")
    assert answer is not None
    assert answer[:2] == ("True", "Accepted")
