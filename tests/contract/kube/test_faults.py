"""What the client makes of an API server that misbehaves: the answer table, retries, and the guard of the Lease. Fake server only."""

from __future__ import annotations

import asyncio
from typing import Any

import orjson
import pytest

from support.fake_kube import FakeKube
from support.kube_places import Place, a_client
from tenantwave import faults
from tenantwave.adapters.kube import client as client_module
from tenantwave.adapters.kube.answers import fault_of
from tenantwave.adapters.kube.transport import Reply, Request
from tenantwave.api.kinds import CONFIG_MAP

MAPS = "/api/v1/configmaps"
SLOW_DOWN = (429, {"Retry-After": "0"}, {"message": "too many requests"})
AWAY = (503, {"Retry-After": "0"}, {"message": "shutting down"})


@pytest.fixture(autouse=True)
def _in_a_hurry(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(client_module, "FIRST_WAIT_SECONDS", 0.001)


@pytest.mark.parametrize("answer", [SLOW_DOWN, AWAY, (500, {}, {}), (502, {}, {}), (504, {}, {})], ids=lambda answer: str(answer[0]))
async def test_a_read_is_tried_again(fake: FakeKube, fake_place: Place, answer: Any) -> None:
    await fake.put(MAPS, "a", {"data": {"one": "1"}}, namespace="acme")
    fake.knobs.answers = [answer, answer]
    assert (await fake_place.client.get(CONFIG_MAP, "acme", "a"))["data"] == {"one": "1"}
    assert fake.requests["GET"] == 3


async def test_a_read_gives_up_in_the_end(fake: FakeKube, fake_place: Place) -> None:
    fake.knobs.answers = [AWAY] * 20
    with pytest.raises(faults.Unavailable, match="get ConfigMap acme/a: shutting down"):
        await fake_place.client.get(CONFIG_MAP, "acme", "a")
    assert fake.requests["GET"] == client_module.TRIES


async def test_a_write_that_was_refused_before_it_ran_is_tried_again(fake: FakeKube, fake_place: Place) -> None:
    webhook: Any = (500, {}, {"message": 'Internal error occurred: failed calling webhook "x": connection refused'})
    fake.knobs.answers = [SLOW_DOWN, webhook]
    await fake_place.client.create(CONFIG_MAP, {"metadata": {"name": "a", "namespace": "acme"}})
    assert fake.requests["POST"] == 3


async def test_a_write_with_a_precondition_may_be_repeated_when_the_server_is_away(fake: FakeKube, fake_place: Place) -> None:
    made = await fake.put(MAPS, "a", namespace="acme")
    fake.knobs.answers = [AWAY]
    version = made["metadata"]["resourceVersion"]
    await fake_place.client.merge_patch(CONFIG_MAP, "acme", "a", {"data": {"one": "1"}}, resource_version=version)
    assert fake.requests["PATCH"] == 2


@pytest.mark.parametrize("answer", [AWAY, (500, {}, {}), (502, {}, {}), (504, {}, {})], ids=lambda answer: str(answer[0]))
async def test_a_write_without_one_is_not(fake: FakeKube, fake_place: Place, answer: Any) -> None:
    fake.knobs.answers = [answer]
    with pytest.raises(faults.OutcomeUnknown, match="may have landed"):
        await fake_place.client.create(CONFIG_MAP, {"metadata": {"name": "a", "namespace": "acme"}})
    assert fake.requests["POST"] == 1


async def test_a_write_whose_reply_is_lost_has_an_unknown_outcome(fake: FakeKube, fake_place: Place) -> None:
    """It landed, and we cannot know: even with a precondition it is observed, not repeated."""
    made = await fake.put(MAPS, "a", namespace="acme")
    fake.knobs.lost_replies = 1
    version = made["metadata"]["resourceVersion"]
    with pytest.raises(faults.OutcomeUnknown):
        await fake_place.client.merge_patch(CONFIG_MAP, "acme", "a", {"data": {"one": "1"}}, resource_version=version)
    assert fake.objects[MAPS, "acme", "a"]["data"] == {"one": "1"}
    assert fake.requests["PATCH"] == 1


async def test_a_server_that_hangs_is_given_up(fake: FakeKube, fake_place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    plain = Request

    def hurried(*arguments: Any, **words: Any) -> Any:
        return plain(*arguments, **words | {"timeout_seconds": 0.1})

    monkeypatch.setattr(client_module, "Request", hurried)
    fake.knobs.delay = lambda request: 3600.0
    with pytest.raises(faults.OutcomeUnknown, match="no answer in time"):
        await fake_place.client.create(CONFIG_MAP, {"metadata": {"name": "a", "namespace": "acme"}})
    with pytest.raises(faults.Unavailable, match="no answer in time"):
        await fake_place.client.get(CONFIG_MAP, "acme", "a")


async def test_nobody_listens(fake_place: Place, fake: FakeKube) -> None:
    """A write that was never sent has a known outcome: none."""
    await fake.__aexit__(None, None, None)
    with pytest.raises(faults.Unavailable):
        await fake_place.client.create(CONFIG_MAP, {"metadata": {"name": "a", "namespace": "acme"}})


async def test_without_the_lease_nothing_is_written_but_everything_read(fake: FakeKube, fake_place: Place) -> None:
    await fake.put(MAPS, "a", namespace="acme")
    async with a_client(fake_place.kubeconfig, leading=lambda: False) as client:
        assert await client.get(CONFIG_MAP, "acme", "a")
        with pytest.raises(faults.NotLeading):
            await client.merge_patch(CONFIG_MAP, "acme", "a", {"data": {}})
    assert fake.requests["PATCH"] == 0


async def test_the_lease_is_asked_again_before_each_try(fake: FakeKube, fake_place: Place) -> None:
    answers = iter((True, False))
    fake.knobs.answers = [SLOW_DOWN]
    async with a_client(fake_place.kubeconfig, leading=lambda: next(answers)) as client:
        with pytest.raises(faults.NotLeading):
            await client.create(CONFIG_MAP, {"metadata": {"name": "a", "namespace": "acme"}})
    assert fake.requests["POST"] == 1


async def test_an_expired_token_is_read_again_and_the_call_goes_through(fake: FakeKube, tmp_path: Any) -> None:
    kubeconfig = fake.kubeconfig(tmp_path, token="old-token")
    fake.knobs.valid_tokens = {"new-token"}
    async with a_client(kubeconfig) as client:
        with pytest.raises(faults.Forbidden, match="credentials"):
            await client.create(CONFIG_MAP, {"metadata": {"name": "a", "namespace": "acme"}})
        fake.kubeconfig(tmp_path, token="new-token")
        await client.create(CONFIG_MAP, {"metadata": {"name": "a", "namespace": "acme"}})
    assert fake.requests["POST"] == 4


async def test_a_list_that_expires_half_way_starts_over(fake: FakeKube, fake_place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(client_module, "PAGE_SIZE", 2)
    for number in range(5):
        await fake.put(MAPS, f"map-{number}", namespace="acme")
    pages = 0

    def delay(request: Any) -> float:
        nonlocal pages
        pages += 1
        if pages == 2:
            fake.expire_pages()
        return 0.0

    fake.knobs.delay = delay
    items, _ = await fake_place.client.list(CONFIG_MAP, "acme")
    assert [item["metadata"]["name"] for item in items] == [f"map-{number}" for number in range(5)]


async def test_no_more_than_32_writes_are_in_flight(fake: FakeKube, fake_place: Place) -> None:
    waiting: set[int] = set()
    most = 0

    async def write(number: int) -> None:
        await fake_place.client.create(CONFIG_MAP, {"metadata": {"name": f"map-{number}", "namespace": "acme"}})

    def delay(request: Any) -> float:
        nonlocal most
        waiting.add(id(request))
        most = max(most, fake.requests["POST"] - len(fake.objects))
        return 0.02

    fake.knobs.delay = delay
    await asyncio.gather(*(write(number) for number in range(100)))
    assert len(fake.objects) == 100
    assert most <= 32


def reply(code: int, **status: Any) -> Reply:
    return Reply(code, orjson.dumps(status), {"Retry-After": "7"})


@pytest.mark.parametrize(
    ("answer", "kind"),
    [
        (reply(400), faults.Invalid),
        (reply(413), faults.Invalid),
        (reply(422), faults.Invalid),
        (reply(401), faults.Forbidden),
        (reply(403), faults.Forbidden),
        (reply(404), faults.NotFound),
        (reply(409, reason="AlreadyExists"), faults.AlreadyExists),
        (reply(409, reason="Conflict"), faults.Conflict),
        (
            reply(409, details={"causes": [{"reason": "FieldManagerConflict", "field": ".spec", "message": 'conflict with "helm"'}]}),
            faults.ApplyConflict,
        ),
        (reply(410), faults.Expired),
        (reply(429), faults.Unavailable),
        (reply(503), faults.Unavailable),
        (Reply(502, b"<html>Bad Gateway</html>", {}), faults.Unavailable),
        (Reply(500, b"[]", {}), faults.Unavailable),
    ],
    ids=lambda value: str(value.code) if isinstance(value, Reply) else value.__name__,
)
def test_each_answer_has_its_fault(answer: Reply, kind: type[faults.Fault]) -> None:
    fault = fault_of(answer, "patch Deployment acme/web")
    assert type(fault) is kind
    assert fault.message.startswith("patch Deployment acme/web: ")


def test_an_apply_conflict_names_field_and_manager() -> None:
    causes = [{"reason": "FieldManagerConflict", "field": ".spec.replicas", "message": 'conflict with "helm-controller" using apps/v1'}]
    fault = fault_of(reply(409, details={"causes": causes}), "apply")
    assert isinstance(fault, faults.ApplyConflict)
    assert fault.owners == ((".spec.replicas", "helm-controller"),)


@pytest.mark.parametrize(
    ("message", "causes", "quota", "terminating"),
    [
        ('pods "a" is forbidden: exceeded quota: small', [], True, False),
        (
            "unable to create new content in namespace acme because it is being terminated",
            [{"reason": "NamespaceTerminating"}],
            False,
            True,
        ),
        ('configmaps is forbidden: User "x" cannot create resource', [], False, False),
    ],
    ids=["quota", "terminating", "rights"],
)
def test_a_403_says_which_of_three_things_it_is(message: str, causes: list[Any], quota: bool, terminating: bool) -> None:
    fault = fault_of(reply(403, message=message, details={"causes": causes}), "create")
    assert isinstance(fault, faults.Forbidden)
    assert (fault.quota, fault.terminating) == (quota, terminating)
