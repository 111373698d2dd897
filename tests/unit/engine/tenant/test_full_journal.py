"""A journal has room for a bounded number of writes. What is of no use any more makes room, and no write is begun whose way back does not fit."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from fakes import Late, Request
from support.tenant_story import ACME, DEED_OF, OLD, S, Story, a_spec
from tenantwave.api.conditions import FailReason
from tenantwave.api.kinds import CONFIG_MAP, DEPLOYMENT
from tenantwave.api.meta import ObjectRef
from tenantwave.api.tenant_run import MAX_INTENTS, Direction, Intent, IntentState, TenantRunStatus
from tenantwave.core.intents import CREATES_OPEN, SPARE
from tenantwave.core.plan import Deed, Step
from tenantwave.faults import Conflict, Fault, Forbidden, Invalid, OutcomeUnknown, Unavailable

WRITES = 5
"""Objects that the story's upgrade writes: three ConfigMaps and two Deployments."""
JUST_ENOUGH = 2 * WRITES + SPARE
A_HOOK = {
    "name": "migrate",
    "at": "PreApply",
    "irreversible": False,
    "jobTemplate": {
        "spec": {"template": {"spec": {"restartPolicy": "Never", "containers": [{"name": "run", "image": "shop/migrate:2.4.0"}]}}}
    },
}
IN_THE_MIDDLE = "the journal of this tenant has no room for a write of ConfigMap app-config and its way back"


async def test_an_object_that_is_edited_all_the_time_never_fills_the_journal() -> None:
    """Each of our writes comes too late, more often than the journal has room. When the edits end the upgrade goes on, and can be taken back."""
    story = await Story().begin()
    before = story.tenant_objects()
    await story.run(S.APPLYING)
    edit_count, most = 0, 0

    def edit(number: int, request: Request) -> None:
        nonlocal edit_count, most
        most = max(most, len(story.status.intents))
        if (request.kind, request.name) == ("ConfigMap", "app-config"):
            edit_count += 1
            story.cluster.edit(CONFIG_MAP, ACME, "app-config", {"data": {"beat": str(edit_count)}})

    story.cluster.before = edit
    while edit_count <= MAX_INTENTS + 10:
        assert story.status.state is S.APPLYING, story.status.message
        try:
            await story.step()
        except Fault:
            continue
    assert most < 20, "what can never land is forgotten at the next write"
    story.cluster.before = lambda number, request: None
    await story.run(S.SOAKING)
    story.order_back()
    await story.run(S.ROLLED_BACK)
    before["configmaps/app-config"]["data"] = OLD["app-config"] | {"beat": str(edit_count)}
    assert (story.tenant_objects(), story.leftovers()) == (before, [])


def with_places(monkeypatch: pytest.MonkeyPatch, count: int) -> None:
    """Let journals have so many places."""
    monkeypatch.setattr("tenantwave.core.intents.MAX_INTENTS", count)


def sent_by(story: Story) -> list[tuple[str, str]]:
    """Return what was sent to the tenant's objects."""
    return [(one.kind, one.name) for one in story.cluster.writes if one.namespace == ACME]


async def test_where_the_way_there_and_back_just_fits_both_are_gone(monkeypatch: pytest.MonkeyPatch) -> None:
    """To the last place."""
    with_places(monkeypatch, JUST_ENOUGH)
    story = await Story().begin()
    before = story.tenant_objects()
    await story.run(S.SOAKING)
    story.order_back()
    await story.run(S.ROLLED_BACK)
    assert (story.tenant_objects(), story.leftovers()) == (before, [])


async def test_a_tenant_whose_way_back_does_not_fit_is_not_written(monkeypatch: pytest.MonkeyPatch) -> None:
    """Held by the preflight, with the mend; and when there is room for it, it is planned again."""
    with_places(monkeypatch, JUST_ENOUGH - 1)
    story = await Story().begin()
    await story.step()
    status = story.status
    assert (status.state, status.reason, status.written) == (S.HELD, FailReason.PREFLIGHT_FAILED, False)
    assert status.message == (
        f"5 objects and 0 Jobs are to be written; with the way back they take {JUST_ENOUGH} of the {JUST_ENOUGH - 1} places of the tenant's "
        "journal: upgrade fewer objects at once: narrow the selectors of the components, or split them among several TenantUpgrades"
    )
    assert (sent_by(story), story.leftovers()) == ([], [])
    seen = []
    for places in (JUST_ENOUGH - 1, JUST_ENOUGH):
        with_places(monkeypatch, places)
        await story.preview()
        seen.append(story.status.state)
    assert seen == [S.HELD, S.QUEUED]


async def test_a_suspended_upgrade_tells_before_its_start(monkeypatch: pytest.MonkeyPatch) -> None:
    """The preview finds it, too."""
    with_places(monkeypatch, JUST_ENOUGH - 1)
    story = await Story().begin()
    story.set_status(story.status.model_copy(update={"state": S.QUEUED}))
    await story.step(Deed.PREVIEW)
    assert story.status.preview is None
    assert story.status.preview_problem.startswith("PreflightFailed: 5 objects and 0 Jobs are to be written")


@pytest.mark.parametrize(
    ("changes", "more"),
    [
        pytest.param({"hooks": [A_HOOK]}, 1, id="a Job goes one way"),
        pytest.param({"preservation": {"secrets": "Snapshot"}}, 1, id="a Secret may have to be put back"),
        pytest.param({"preservation": {"secrets": "DigestOnly"}}, 0, id="a Secret that is only compared"),
    ],
)
async def test_what_else_takes_places(monkeypatch: pytest.MonkeyPatch, changes: dict[str, object], more: int) -> None:
    """Jobs of hooks on the way there, Secrets on the way back."""
    for places, state in ((JUST_ENOUGH + more, S.APPLYING), (JUST_ENOUGH + more - 1, S.HELD)):
        with_places(monkeypatch, places)
        story = await Story(spec=a_spec(**changes)).begin()
        volume = {"name": "keys", "secret": {"secretName": "database"}}
        story.cluster.edit(DEPLOYMENT, ACME, "api", {"spec": {"template": {"spec": {"volumes": [volume]}}}})
        await story.step()
        assert story.status.state is state, story.status.message


async def test_more_objects_than_a_tenant_run_can_name_are_not_begun(monkeypatch: pytest.MonkeyPatch) -> None:
    """Plan and snapshots would lose what does not fit."""
    monkeypatch.setattr("tenantwave.core.intents.MAX_OBJECTS", WRITES - 1)
    story = await Story().begin()
    await story.step()
    assert (story.status.state, story.status.reason) == (S.HELD, FailReason.PREFLIGHT_FAILED)
    assert story.status.message.startswith(
        "5 objects are to be looked after, and a TenantRun names 4 at most: upgrade fewer objects at once"
    )


@pytest.mark.parametrize(
    ("state", "count"),
    [(IntentState.LANDED, MAX_INTENTS // 2), (IntentState.REVERTED, MAX_INTENTS - SPARE - 1), (IntentState.REVERTED, MAX_INTENTS)],
    ids=["each stands and keeps a place", "one place for two", "none"],
)
async def test_a_write_whose_way_back_does_not_fit_is_not_sent(state: IntentState, count: int) -> None:
    """Nothing more is written in the tenant, no intent falls off, and the message says so."""
    story = await Story().begin()
    await story.run(S.APPLYING)
    full = with_intents(story.status, count, state)
    story.set_status(full)
    story.cluster.writes.clear()
    await story.step()
    assert sent_by(story) == []
    assert story.status.intents == full.intents
    assert (story.status.reason, story.status.message) == (
        FailReason.PREFLIGHT_FAILED,
        f"{IN_THE_MIDDLE} ({count} of {MAX_INTENTS} places are taken); upgrade fewer objects at once",
    )
    assert story.status.state is (S.ROLLING_BACK if state is IntentState.LANDED else S.HELD)


async def test_the_last_place_is_kept_for_the_way_back() -> None:
    """There is room for one write and for what takes it back: the write after it is not sent, and the first one goes back."""
    story = await Story().begin()
    before = story.tenant_objects()
    await story.run(S.APPLYING)
    earlier = MAX_INTENTS - SPARE - 2
    story.set_status(with_intents(story.status, earlier, IntentState.REVERTED))
    story.cluster.writes.clear()
    await story.step()
    assert sent_by(story) == [("ConfigMap", "app-config")]
    assert story.status.state is S.ROLLING_BACK
    await story.run(S.ROLLED_BACK)
    assert (story.tenant_objects(), story.leftovers()) == (before, [])
    assert len(story.status.intents) == earlier + 2


@pytest.mark.parametrize("state", [IntentState.REVERTED, IntentState.SUPERSEDED], ids=str)
async def test_a_new_attempt_drops_what_says_nothing_any_more(state: IntentState) -> None:
    """Pairs whose object is back, and writes that can never land: however many there were, the attempt is planned, and can be taken back."""
    story = await Story().begin()
    before = story.tenant_objects()
    story.set_status(with_intents(story.status, MAX_INTENTS, state))
    await story.run(S.SOAKING)
    assert [one.seq for one in story.status.intents] == [MAX_INTENTS + number for number in range(1, WRITES + 1)], "numbers go on"
    story.order_back()
    await story.run(S.ROLLED_BACK)
    assert (story.tenant_objects(), story.leftovers()) == (before, [])


async def test_attempts_upon_attempts_fit_and_all_of_them_go_back() -> None:
    """A tenant that stays unproven is mended forward by one release after the other: the first write and the last one are enough."""
    story = await Story().begin()
    before = story.tenant_objects()
    await story.run(S.SOAKING)
    for number in range(1, 5):
        held = story.status
        data = {"app-config": {**OLD["app-config"], "db.pool": f"{20 + number}"}, "worker-config": {"threads": f"{4 + number}"}}
        await story.release(f"2.4.{number}", data | {"extra-config": {"added": f"yes, {number}"}})
        kept = {"intents": held.intents, "snapshots": held.snapshots, "written": True, "from_version": "2.3.1"}
        story.set_status(story.status.model_copy(update=kept))
        await story.run(S.SOAKING)
        assert len(story.status.intents) <= 3 * WRITES
    assert story.image("api") == "shop/api:2.4.4"
    story.order_back()
    await story.run(S.ROLLED_BACK)
    assert (story.tenant_objects(), story.leftovers()) == (before, [])


@pytest.mark.parametrize("fault", [Unavailable, OutcomeUnknown])
@pytest.mark.parametrize("is_back", [False, True], ids=["forwards", "back"])
async def test_an_outage_does_not_fill_the_journal(fault: Callable[[str], Fault], is_back: bool) -> None:
    """A webhook is away longer than the journal has places: the same request goes out under its own number, and when it is back all goes on."""
    story = await Story().begin()
    before = story.tenant_objects()
    if is_back:
        await story.run(S.SOAKING)
        story.order_back()
    begun = len(story.status.intents)

    def away(number: int, request: Request) -> None:
        if request.namespace == ACME:
            raise fault("the webhook does not answer")

    story.cluster.before = away
    await look_often(story, MAX_INTENTS)
    assert story.status.state is (S.ROLLING_BACK if is_back else S.APPLYING), story.status.message
    assert len(story.status.intents) == begun + 1
    story.cluster.before = lambda number, request: None
    await story.run(S.ROLLED_BACK if is_back else S.SOAKING)
    if is_back:
        assert (story.tenant_objects(), story.leftovers()) == (before, [])


async def test_creates_that_nobody_has_heard_of_are_remembered_as_long_as_they_may_arrive() -> None:
    """A create has no precondition, so each of them has a number of its own; but not more of them than can be on their way."""
    story = await Story().begin()

    def away(number: int, request: Request) -> None:
        if request.verb == "create" and request.namespace == ACME:
            raise Unavailable("the webhook does not answer")

    story.cluster.before = away
    await look_often(story, 3 * CREATES_OPEN)
    creates = [one for one in story.status.intents if one.target.name == "extra-config"]
    assert [one.state for one in creates] == [IntentState.ISSUED] * CREATES_OPEN
    story.cluster.before = lambda number, request: None
    await story.run(S.SOAKING)


@pytest.mark.parametrize("is_stripped", [False, True], ids=["marked", "marker taken off"])
async def test_a_repeated_request_that_had_landed_is_not_taken_for_refused(is_stripped: bool) -> None:
    """The first one arrives just before the second, which is refused for that: it has landed, and where nobody can tell nothing is guessed."""
    story = await with_a_write_of_unknown_fate()

    def arrive(number: int, request: Request) -> None:
        if (request.kind, request.name) == ("ConfigMap", "app-config"):
            story.cluster.before = lambda number, request: None
            story.cluster.deliver()
            if is_stripped:
                story.cluster.edit(CONFIG_MAP, ACME, "app-config", {"metadata": {"annotations": None}})

    story.cluster.before = arrive
    await look_often(story, 1)
    [first] = [one for one in story.status.intents if one.target.name == "app-config"]
    if is_stripped:
        assert (story.status.state, story.status.reason) == (S.HELD, FailReason.AMBIGUOUS)
    else:
        assert first.state is IntentState.LANDED


async def test_a_repeated_request_that_is_refused_for_good_may_still_have_arrived() -> None:
    """The first one is still on its way: the tenant goes back, and whenever it arrives it is taken back, too."""
    for moment in range(1, 12):
        story = await with_a_write_of_unknown_fate()
        before = story.tenant_objects()

        def refuse(number: int, request: Request, story: Story = story) -> None:
            if request.namespace == ACME:
                story.cluster.before = lambda number, request: None
                raise Invalid("a policy refuses it by now")

        story.cluster.before = refuse
        await look_often(story, 1)
        assert story.status.state is S.ROLLING_BACK
        begin = len(story.cluster.writes)

        def arrive(number: int, request: Request, story: Story = story, at: int = begin + moment) -> None:
            if number == at:
                story.cluster.deliver()

        story.cluster.before = arrive
        await story.run(S.ROLLED_BACK)
        story.cluster.deliver()
        assert (story.tenant_objects(), story.leftovers()) == (before, []), f"arrived before write {moment} of the way back"


async def test_who_has_an_older_tenant_run_repeats_no_request() -> None:
    """The fence holds for a request that is announced already, too."""
    story = await with_a_write_of_unknown_fate()
    old = story.world()
    story.set_status(story.status.model_copy(update={"message": "another process has gone on"}))
    story.cluster.writes.clear()
    with pytest.raises(Conflict):
        await story.steps.execute(Step(ACME, Deed.APPLY), old)
    assert sent_by(story) == []


async def test_a_write_that_is_refused_for_good_holds_the_tenant_and_leaves_nothing() -> None:
    """A right is taken away after the preflight: the refused write needs no fence, which would be refused, too. Lock and places are free again."""
    story = await Story().begin()
    before = story.tenant_objects()
    await story.run(S.APPLYING)

    def refuse(number: int, request: Request) -> None:
        if (request.kind, request.name) == ("ConfigMap", "app-config"):
            raise Forbidden("User cannot patch configmaps")

    story.cluster.before = refuse
    await look_often(story, 1)
    assert (story.status.state, story.status.reason, story.status.written) == (S.HELD, FailReason.PREFLIGHT_FAILED, False)
    assert (story.status.intents, story.status.last_seq) == ((), 1)
    assert (story.tenant_objects(), story.leftovers()) == (before, [])


async def test_a_way_back_that_is_refused_again_and_again_keeps_its_place() -> None:
    """However often a person orders it: when the policy is gone, the tenant goes back."""
    story = await Story().begin()
    before = story.tenant_objects()
    await story.run(S.SOAKING)
    story.order_back()

    def refuse(number: int, request: Request) -> None:
        if (request.kind, request.name) == ("ConfigMap", "app-config"):
            raise Forbidden("a policy refuses the old value")

    story.cluster.before = refuse
    for _ in range(5):
        await look_often(story, 5)
        assert story.status.state is S.ROLLBACK_FAILED
        assert {one.direction for one in story.status.intents if one.target.name == "app-config"} == {Direction.FORWARD}
        story.order_back()
    story.cluster.before = lambda number, request: None
    await story.run(S.ROLLED_BACK)
    assert (story.tenant_objects(), story.leftovers()) == (before, [])


async def with_a_write_of_unknown_fate() -> Story:
    """Return a tenant whose first write is on its way, and nobody knows whether it has arrived."""
    story = await Story().begin()

    def hold(number: int, request: Request) -> None:
        if (request.kind, request.name) == ("ConfigMap", "app-config"):
            raise Late(OutcomeUnknown("the answer was lost"))

    story.cluster.before = hold
    await story.run(S.APPLYING)
    await look_often(story, 1)
    story.cluster.before = lambda number, request: None
    return story


async def look_often(story: Story, times: int) -> None:
    """Take a step so many times, whatever fails."""
    for _ in range(times):
        if story.status.state not in DEED_OF:
            return
        try:
            await story.step()
        except Fault:
            continue


def with_intents(status: TenantRunStatus, count: int, state: IntentState) -> TenantRunStatus:
    """Return the status with so many writes of other objects on record."""
    intents = tuple(
        Intent(
            seq=number,
            direction=Direction.FORWARD,
            target=ObjectRef(api_version="v1", kind="ConfigMap", namespace=ACME, name=f"earlier-{number}"),
            uid=f"uid-{number}",
            resource_version=str(number),
            state=state,
        )
        for number in range(1, count + 1)
    )
    return status.model_copy(update={"intents": intents, "last_seq": count, "written": state is IntentState.LANDED})
