"""The floor sends what the operator sent, and nothing lighter: the same requests with other names of the same length."""

from __future__ import annotations

from io import BytesIO
from pathlib import Path
from typing import Any

import orjson
import pytest
from benchmark.floor import Identity, _addressed, copies
from benchmark.recording import RecordedWrite, RecordingTransport, recorded_writes

from tenantwave.adapters.kube.transport import Reply, Request

RUN = "/apis/tenantwave.io/v1alpha1/namespaces/fleet-system/tenantruns/fleet-upgrade.fleet-00042"
CONFIG = "/api/v1/namespaces/fleet-00042/configmaps/shop-config"
TWIN = Identity(b"9c1f0000-0000-0000-0000-000000000042", b"815")


def written(method: str, path: str, body: dict[str, Any], *, begun: float = 0.0, code: int = 200, **query: str) -> RecordedWrite:
    return RecordedWrite(begun, Request(method, path, query, orjson.dumps(body), "application/json"), code)


@pytest.mark.parametrize(
    ("method", "path", "address"),
    [
        pytest.param("PUT", f"{RUN}/status", RUN, id="a status belongs to its object"),
        pytest.param("POST", RUN.rpartition("/")[0], RUN, id="a creation is addressed by the name in its body"),
        pytest.param("DELETE", RUN, RUN, id="a deletion"),
    ],
)
def test_writes_to_one_object_have_one_address(method: str, path: str, address: str) -> None:
    [copy] = copies([written(method, path, {"metadata": {"name": "fleet-upgrade.fleet-00042"}})])
    assert copy.address == address.replace("fleet-", "floor-")


def test_what_needs_a_precondition_gets_that_of_the_twin() -> None:
    body = {"metadata": {"name": "fleet-upgrade.fleet-00042", "uid": "a" * 36, "resourceVersion": "123"}, "status": {"state": "Queued"}}
    [copy] = copies([written("PUT", f"{RUN}/status", body)])
    sent = _addressed(copy, TWIN)
    assert sent.body is not None
    assert orjson.loads(sent.body) == {
        "metadata": {"name": "floor-upgrade.floor-00042", "uid": TWIN.uid.decode(), "resourceVersion": "815"},
        "status": {"state": "Queued"},
    }
    assert len(sent.body) == len(orjson.dumps(body))


def test_what_controllers_write_too_goes_without_a_precondition() -> None:
    [copy] = copies([written("PATCH", CONFIG, {"metadata": {"resourceVersion": "123", "annotations": {"a": "b"}}}, dryRun="All")])
    assert copy.request.body == b'{"metadata":{"annotations":{"a":"b"}}}'
    assert copy.request.query == {"dryRun": "All"}


def test_the_order_is_that_in_which_the_operator_began() -> None:
    writes = [written("PATCH", CONFIG, {"data": {"n": str(begun)}}, begun=begun) for begun in (3.0, 1.0, 2.0)]
    assert [orjson.loads(copy.request.body or b"")["data"]["n"] for copy in copies(writes)] == ["1.0", "2.0", "3.0"]


def test_a_conflict_is_work_for_the_server_too_and_a_failure_is_not_repeated() -> None:
    writes = [written("PATCH", CONFIG, {}, code=code) for code in (200, 409, 403, 500)]
    assert [copy.expected_code for copy in copies(writes)] == [200, 409]


class Echo:
    """Answers everything with 200."""

    async def send(self, request: Request) -> Reply:
        return Reply(200, b"{}", {})

    def stream(self, request: Request) -> Any:
        raise AssertionError("nothing is watched here")


async def test_the_recorder_keeps_writes_and_no_reads(tmp_path: Path) -> None:
    file = BytesIO()
    transport = RecordingTransport(Echo(), file)
    review = "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews"
    for request in (Request("GET", CONFIG), Request("POST", review, {}, b"{}"), Request("PATCH", CONFIG, {"dryRun": "All"}, b'{"a":1}')):
        await transport.send(request)
    (tmp_path / "writes").write_bytes(file.getvalue())
    [write] = recorded_writes(tmp_path / "writes")
    assert (write.request.method, write.request.path, write.request.body, write.code) == ("PATCH", CONFIG, b'{"a":1}', 200)
    assert write.is_dry_run
