"""Rights that are taken away, and policies that begin, in the middle of a turn: the tenant is held and says so, and no lock is kept for it."""

from __future__ import annotations

import pytest

from fakes import Request
from support.tenant_story import ACME, S, Story
from tenantwave.api.conditions import FailReason
from tenantwave.api.kinds import Kind
from tenantwave.core.plan import Deed
from tenantwave.faults import Fault, Forbidden, Invalid

REFUSALS = {
    "a right that was taken away": Forbidden("patch ConfigMap acme/app-config: forbidden"),
    "a policy that has begun": Invalid("patch ConfigMap acme/app-config: denied by freeze"),
}


@pytest.mark.parametrize("fault", REFUSALS.values(), ids=REFUSALS)
async def test_a_refused_write_is_over(fault: Fault) -> None:
    """Nothing of it may still arrive: it is not fenced, its place in the journal is free, and its number is not used again."""
    story = await Story().begin()
    await story.run(S.APPLYING)

    def refuse(number: int, request: Request) -> None:
        if (request.kind, request.namespace) == ("ConfigMap", ACME):
            raise fault

    story.cluster.before = refuse
    await story.step()
    status = story.status
    assert (status.state, status.reason, status.written, status.intents) == (S.HELD, FailReason.PREFLIGHT_FAILED, False, ())
    assert fault.message in status.message
    assert status.last_seq == 1
    assert story.leftovers() == []


async def taken_back_and_begun_again() -> Story:
    """A tenant with a journal, in the preflight of a new attempt; nobody may read its Deployments any more."""
    story = await Story().begin()
    await story.run(S.SOAKING)
    story.order_back()
    await story.run(S.ROLLED_BACK)
    story.set_status(story.status.model_copy(update={"state": S.PREFLIGHT, "attempt": 2, "take_back": None, "completion_time": None}))
    read = story.cluster.get

    async def get(kind: Kind, namespace: str, name: str) -> dict[str, object]:
        if (kind.name, namespace) == ("Deployment", ACME):
            raise Forbidden(f"get Deployment {ACME}/{name}: forbidden")
        return await read(kind, namespace, name)

    story.cluster.get = get  # type: ignore[method-assign]
    return story


async def test_what_refuses_to_show_a_marker_does_not_keep_the_tenant_from_being_held() -> None:
    """Else the tenant would stay in preflight for ever, with its lock and its place among those in flight."""
    story = await taken_back_and_begun_again()
    assert story.status.intents
    await story.step()
    assert (story.status.state, story.status.reason) == (S.HELD, FailReason.PREFLIGHT_FAILED)
    assert "forbidden" in story.status.message
    assert story.leftovers() == []


async def test_the_epoch_never_goes_back() -> None:
    """The status that a failure leads to was made before the last fence."""
    story = await taken_back_and_begun_again()
    before = story.status.epoch
    await story.step()
    assert story.status.epoch > before


async def test_looks_at_a_held_tenant_write_nothing_while_nothing_changes() -> None:
    """Also where it is a read that is refused."""
    story = await taken_back_and_begun_again()
    await story.step()
    story.cluster.writes.clear()
    for _ in range(3):
        await story.preview()
    assert (story.status.state, story.cluster.writes) == (S.HELD, [])


async def test_a_preview_says_which_read_is_refused() -> None:
    """Before the start, where people look for what they have to settle."""
    story = await taken_back_and_begun_again()
    story.set_status(story.status.model_copy(update={"state": S.QUEUED, "intents": ()}))
    await story.step(Deed.PREVIEW)
    assert story.status.state is S.QUEUED
    assert story.status.preview_problem.startswith("PreflightFailed: get Deployment acme/api: forbidden")
