"""A journal has room for a bounded number of writes. What can never land makes room; what does not fit is not written at all."""

from __future__ import annotations

import pytest

from fakes import Request
from support.tenant_story import ACME, OLD, S, Story
from tenantwave.api.conditions import FailReason
from tenantwave.api.kinds import CONFIG_MAP
from tenantwave.api.meta import ObjectRef
from tenantwave.api.tenant_run import MAX_INTENTS, Direction, Intent, IntentState, TenantRunStatus
from tenantwave.faults import Fault


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


@pytest.mark.parametrize("state", [IntentState.LANDED, IntentState.REVERTED], ids=str)
async def test_a_write_whose_intent_does_not_fit_is_not_sent(state: IntentState) -> None:
    """The journal is full of what a rollback needs: nothing more is written in the tenant, no intent falls off, and the message says so."""
    story = await Story().begin()
    await story.run(S.APPLYING)
    full = with_intents(story.status, MAX_INTENTS, state)
    story.set_status(full)
    story.cluster.writes.clear()
    await story.step()
    assert [one for one in story.cluster.writes if one.namespace == ACME] == []
    assert story.status.intents == full.intents
    assert (story.status.reason, story.status.message) == (
        FailReason.PREFLIGHT_FAILED,
        "the journal of this tenant is full (200 writes); upgrade fewer objects at once",
    )
    assert story.status.state is (S.ROLLING_BACK if state is IntentState.LANDED else S.HELD)


async def test_the_last_place_is_used() -> None:
    """One place is left, and one write fits: the one after it does not."""
    story = await Story().begin()
    await story.run(S.APPLYING)
    story.set_status(with_intents(story.status, MAX_INTENTS - 1, IntentState.REVERTED))
    story.cluster.writes.clear()
    await story.step()
    sent = [(one.kind, one.name) for one in story.cluster.writes if one.namespace == ACME]
    assert sent == [("ConfigMap", "app-config")]
    assert len(story.status.intents) == MAX_INTENTS
    assert story.status.intents[-1].state is IntentState.LANDED


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
