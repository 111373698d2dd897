"""What the pod player makes of a pod: each rule of its docstring."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from localcluster.pods import image_id, next_step, read_pod

CREATED = datetime(2026, 3, 1, 12, 0, 0, tzinfo=UTC)
Object = dict[str, Any]


def a_pod(
    image: str = "shop/web:1", *, init: str | None = None, owner: str = "ReplicaSet", annotations: Object | None = None, **more: Object
) -> Object:
    metadata = {
        "uid": "u1",
        "namespace": "acme",
        "name": "web-1",
        "creationTimestamp": "2026-03-01T12:00:00Z",
        "annotations": annotations or {},
        "ownerReferences": [{"kind": owner}],
        **more.get("metadata", {}),
    }
    spec = {"containers": [{"name": "web", "image": image}], "initContainers": [{"name": "init", "image": init}] if init else []}
    scheduled = {"type": "PodScheduled", "status": "True"}
    return {"metadata": metadata, "spec": spec, "status": {"phase": "Pending", "conditions": [scheduled], **more.get("status", {})}}


def played(body: Object, after: float = 0) -> Object:
    """Return the status that is written so long (seconds) after the pod's creation."""
    status = next_step(read_pod(body), CREATED + timedelta(seconds=after), "10.64.0.1").status
    assert status is not None
    return status


def conditions(status: Object) -> dict[str, str]:
    return {condition["type"]: condition["status"] for condition in status["conditions"]}


def test_a_good_pod_runs_and_keeps_what_the_scheduler_said() -> None:
    status = played(a_pod())
    assert (status["phase"], status["podIP"]) == ("Running", "10.64.0.1")
    assert conditions(status)["Ready"] == conditions(status)["PodScheduled"] == "True"


def test_a_pod_that_is_as_it_should_be_is_left_alone() -> None:
    body = a_pod()
    body["status"] = played(body)
    assert next_step(read_pod(body), CREATED, "10.64.0.2").status is None


def test_a_pod_that_somebody_else_called_unready_becomes_ready_again_at_its_own_address() -> None:
    body = a_pod()
    body["status"] = played(body)
    for condition in body["status"]["conditions"]:
        if condition["type"] == "Ready":
            condition["status"] = "False"
    status = next_step(read_pod(body), CREATED, "10.64.9.9").status
    assert status is not None
    assert (conditions(status)["Ready"], status["podIP"]) == ("True", "10.64.0.1")


@pytest.mark.parametrize("image", ["shop/web:2-bad", "registry.test:5000/shop/web:2-bad@sha256:" + "0" * 64])
def test_a_bad_image_crashes(image: str) -> None:
    status = played(a_pod(image))
    (container,) = status["containerStatuses"]
    assert (container["state"]["waiting"]["reason"], container["restartCount"]) == ("CrashLoopBackOff", 5)
    assert conditions(status)["Ready"] == "False"


def test_a_bad_init_container_keeps_the_others_from_starting() -> None:
    status = played(a_pod(init="shop/init:1-bad"))
    assert (status["phase"], conditions(status)["Initialized"]) == ("Pending", "False")
    assert status["containerStatuses"][0]["state"] == {"waiting": {"reason": "PodInitializing"}}
    assert status["initContainerStatuses"][0]["state"]["waiting"]["reason"] == "CrashLoopBackOff"


@pytest.mark.parametrize(("image", "phase", "code"), [("shop/job:1", "Succeeded", 0), ("shop/job:1-bad", "Failed", 1)])
def test_a_jobs_pod_ends(image: str, phase: str, code: int) -> None:
    status = played(a_pod(image, owner="Job"))
    assert (status["phase"], status["containerStatuses"][0]["state"]["terminated"]["exitCode"]) == (phase, code)


def test_a_pod_waits_to_become_ready_as_long_as_its_annotation_says() -> None:
    body = a_pod(annotations={"localcluster/ready-after": "4"})
    assert next_step(read_pod(body), CREATED + timedelta(seconds=1), "10.64.0.1").look_again_after == 3
    assert conditions(played(body, after=4))["Ready"] == "True"


def test_a_pod_fails_late_and_stays_so() -> None:
    body = a_pod(annotations={"localcluster/fail-after": "10"})
    body["status"] = played(body)
    assert next_step(read_pod(body), CREATED + timedelta(seconds=9), "10.64.0.1").look_again_after == 1
    body["status"] = played(body, after=10)
    assert conditions(body["status"])["Ready"] == "False"
    assert next_step(read_pod(body), CREATED + timedelta(seconds=60), "10.64.0.1").status is None


def test_a_pod_that_is_being_deleted_goes_at_once() -> None:
    assert next_step(read_pod(a_pod(metadata={"deletionTimestamp": "2026-03-01T12:00:01Z"})), CREATED, "10.64.0.1").remove


def test_an_annotation_that_is_no_number_counts_as_absent() -> None:
    assert conditions(played(a_pod(annotations={"localcluster/ready-after": "soon"})))["Ready"] == "True"


def test_the_image_id_is_the_digest_that_the_image_names_or_one_made_from_its_name() -> None:
    digest = "sha256:" + "a" * 64
    assert image_id(f"shop/web:1@{digest}") == f"shop/web:1@{digest}"
    assert image_id("registry.test:5000/shop/web:1").startswith("registry.test:5000/shop/web@sha256:")
    assert image_id("shop/web:1") != image_id("shop/web:2")
