"""What a rollback that cannot be finished says: the order that helps, which is never Retry."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from fakes import Request
from support.tenant_story import ACME, NEW, OLD, S, Story
from tenantwave.api.action import Resolution
from tenantwave.api.conditions import FailReason
from tenantwave.api.kinds import CONFIG_MAP, DEPLOYMENT, SECRET
from tenantwave.core import tenant_run
from tenantwave.core.blobs import secret_name
from tenantwave.faults import Forbidden, Invalid


async def soaking() -> Story:
    """A tenant on the release."""
    story = await Story().begin()
    await story.run(S.SOAKING)
    return story


def make_immutable(story: Story) -> None:
    """The tenant fixes its ConfigMap."""
    story.cluster.edit(CONFIG_MAP, ACME, "app-config", {"immutable": True})


def refuse_with(fault: Exception) -> Callable[[Story], None]:
    """From now on no ConfigMap of the tenant may be written."""

    def refuse(number: int, request: Request) -> None:
        if (request.kind, request.namespace) == ("ConfigMap", ACME):
            raise fault

    return lambda story: setattr(story.cluster, "before", refuse)


def delete_worker(story: Story) -> None:
    """Somebody deletes a workload."""
    story.cluster.objects.pop((DEPLOYMENT.plural, ACME, "worker"))


def lose_snapshots(story: Story) -> None:
    """What was saved of the tenant's ConfigMap before the first write is gone, and no process remembers it."""
    digest = next(one.before for one in story.status.intents if one.target.name == "app-config")
    story.cluster.objects.pop((SECRET.plural, "tenantwave-system", secret_name(digest, 0)))
    story.restart()


ILLS = {
    "made immutable": (
        make_immutable,
        FailReason.CONFIG_CONFLICT,
        "without `immutable`, with the content that it has, then Resolve with Rollback",
    ),
    "a right is gone": (refuse_with(Forbidden("no")), FailReason.PREFLIGHT_FAILED, "mend the policy that refuses, then Resolve"),
    "a policy refuses": (
        refuse_with(Invalid("no")),
        FailReason.PREFLIGHT_FAILED,
        "mend the object or the policy that refuses, then Resolve",
    ),
    "a workload is gone": (delete_worker, FailReason.DELETED, "create it again, then Resolve"),
    "a snapshot is gone": (lose_snapshots, FailReason.SNAPSHOT_CORRUPT, "from a backup, or Resolve with AcceptLive, which writes nothing"),
}


@pytest.mark.parametrize(("harm", "reason", "words"), ILLS.values(), ids=ILLS)
async def test_it_says_what_helps(harm: Callable[[Story], None], reason: FailReason, words: str) -> None:
    """Retry is no order for a tenant that goes back."""
    story = await soaking()
    harm(story)
    story.order_back()
    await story.run(S.ROLLBACK_FAILED)
    assert story.status.reason == reason
    assert story.status.message.endswith(words)
    assert "Retry" not in story.status.message


async def test_what_it_says_of_an_immutable_one_helps() -> None:
    """Deleted and created again, with one edit more, it goes back, and the edit stays."""
    story = await soaking()
    make_immutable(story)
    story.order_back()
    await story.run(S.ROLLBACK_FAILED)
    story.cluster.objects.pop((CONFIG_MAP.plural, ACME, "app-config"))
    data = NEW["app-config"] | {"mine": "x"}
    story.cluster.put(CONFIG_MAP, {"metadata": {"name": "app-config", "namespace": ACME}, "data": data})
    resolved = tenant_run.to(story.status, S.ROLLING_BACK, "Resolved", "by ops", story.clock.now(), resolution=Resolution.ROLLBACK)
    story.set_status(resolved)
    await story.run(S.ROLLED_BACK)
    assert story.data("app-config") == OLD["app-config"] | {"mine": "x"}
    assert story.leftovers() == []
