"""The workload driver against status sequences: what it says at each step of a rollout as the controllers report it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from tenantwave.adapters.drivers.workload import WorkloadDriver, selector_text, why_refused
from tenantwave.api.conditions import FailReason
from tenantwave.api.kinds import CRON_JOB, DAEMON_SET, DEPLOYMENT, STATEFUL_SET, WORKLOAD_KINDS
from tenantwave.api.upgrade import Component
from tenantwave.core.world import Progress

DRIVER = WorkloadDriver()
SEQUENCES = sorted(Path(__file__).parent.glob("sequences/*.json"))


def a_component(kind: str = "Deployment", **workload: Any) -> Component:
    """A component `api` of one kind."""
    named = {} if "selector" in workload else {"name": "api"}
    containers = {"containers": [{"name": "api", "image": "shop/api:2.4.0"}]}
    return Component.model_validate({"name": "api", "workload": {"kind": kind, **named, **containers, **workload}})


def an_object(kind: str = "Deployment", image: str = "shop/api:2.4.0", **more: Any) -> dict[str, Any]:
    """A live object of one kind, with one container `api`."""
    template = {"metadata": {"labels": {"app": "api"}}, "spec": {"containers": [{"name": "api", "image": image}]}}
    spec = {"replicas": 2, "selector": {"matchLabels": {"app": "api"}}, "template": template}
    if kind == "CronJob":
        spec = {"jobTemplate": {"spec": {"template": template}}}
    metadata = {"name": "api", "namespace": "acme", "uid": "u1", "resourceVersion": "7", "generation": 2}
    return {"apiVersion": WORKLOAD_KINDS[kind].api_version, "kind": kind, "metadata": metadata, "spec": spec | more.pop("spec", {}), **more}


@pytest.mark.parametrize("path", SEQUENCES, ids=lambda path: path.stem)
def test_a_rollout_is_read_right(path: Path) -> None:
    """Each step has the answer that `kubectl rollout status` and we agree on; projections say the same as live objects."""
    sequence = json.loads(path.read_text())
    base = an_object(sequence["kind"])
    for step in sequence["steps"]:
        live = base | {"spec": base["spec"] | step.get("spec", {}), "status": step["status"]}
        live["metadata"] = base["metadata"] | {"generation": step.get("generation", 2)}
        progress, message = DRIVER.progress(live)
        assert progress.value == step["is"], f"{step['what']}: {message}"
        assert DRIVER.progress(DRIVER.project(WORKLOAD_KINDS[sequence["kind"]], live)) == (progress, message)


REFUSALS = {
    "paused": ("Deployment", {"paused": True}, FailReason.NOT_DRIVABLE),
    "no replicas": ("Deployment", {"replicas": 0}, FailReason.UNVERIFIABLE),
    "no replicas of a StatefulSet": ("StatefulSet", {"replicas": 0}, FailReason.UNVERIFIABLE),
    "OnDelete": ("StatefulSet", {"updateStrategy": {"type": "OnDelete"}}, FailReason.UNVERIFIABLE),
    "partition": ("StatefulSet", {"updateStrategy": {"rollingUpdate": {"partition": 1}}}, FailReason.UNVERIFIABLE),
    "OnDelete of a DaemonSet": ("DaemonSet", {"updateStrategy": {"type": "OnDelete"}}, FailReason.UNVERIFIABLE),
}


@pytest.mark.parametrize(("kind", "spec", "reason"), REFUSALS.values(), ids=REFUSALS)
def test_what_cannot_be_driven_or_proven_is_refused(kind: str, spec: dict[str, Any], reason: FailReason) -> None:
    """The view says why, on live objects and on projections."""
    live = an_object(kind, spec=spec)
    for seen in (live, DRIVER.project(WORKLOAD_KINDS[kind], live)):
        refused = DRIVER.view(a_component(kind), "acme", "2.4.0", [seen]).refused
        assert refused is not None
        assert refused[0] is reason


def test_a_missing_container_is_refused_and_never_added() -> None:
    """A strategic merge patch would add an unknown container; so it is named instead."""
    component = a_component(containers=[{"name": "web", "image": "x"}])
    refused = why_refused(component, an_object())
    assert refused is not None
    assert (refused[0], "no container web" in refused[1]) == (FailReason.NOT_DRIVABLE, True)
    view = DRIVER.view(component, "acme", "2.4.0", [an_object()])
    assert (view.at_release, view.shown) == (False, "Deployment api lacks a container of the component")


def test_what_an_object_shows_instead_of_the_release_is_told() -> None:
    """Images alone, and nothing that changes with its pods: the sentence goes into a condition and an Event."""
    view = DRIVER.view(a_component(containers=[{"name": "api", "image": "shop/api:{version}"}]), "acme", "2.5.0", [an_object()])
    assert (view.at_release, view.shown) == (False, "Deployment api: shop/api:2.4.0 instead of shop/api:2.5.0")


def test_the_run_whose_marker_an_object_carries_is_told() -> None:
    """By its UID, from live objects and from projections."""
    live = an_object()
    assert DRIVER.view(a_component(), "acme", "2.4.0", [live]).marked_by == ""
    live["metadata"] = live["metadata"] | {"annotations": {"tenantwave.io/intent": "run-1/7"}}
    for seen in (live, DRIVER.project(DEPLOYMENT, live)):
        assert DRIVER.view(a_component(), "acme", "2.4.0", [seen]).marked_by == "run-1"


def test_a_daemon_set_on_no_node_is_refused() -> None:
    """Nothing would ever prove the release."""
    live = an_object("DaemonSet", status={"observedGeneration": 2, "desiredNumberScheduled": 0})
    assert why_refused(a_component("DaemonSet"), live) is not None


IDLE: dict[str, tuple[str, dict[str, Any], dict[str, Any], bool]] = {
    "a Deployment without replicas": ("Deployment", {"replicas": 0}, {}, True),
    "a StatefulSet without replicas": ("StatefulSet", {"replicas": 0}, {}, True),
    "a Deployment with replicas": ("Deployment", {}, {}, False),
    "a DaemonSet on no node": ("DaemonSet", {}, {"observedGeneration": 2, "desiredNumberScheduled": 0}, True),
    "a DaemonSet on a node": ("DaemonSet", {}, {"observedGeneration": 2, "desiredNumberScheduled": 1}, False),
    "a DaemonSet that its controller has not seen": ("DaemonSet", {}, {"observedGeneration": 1, "desiredNumberScheduled": 0}, False),
    "a CronJob": ("CronJob", {}, {}, True),
}


@pytest.mark.parametrize(("kind", "spec", "status", "is_idle"), IDLE.values(), ids=IDLE)
def test_what_is_meant_to_have_no_pods(kind: str, spec: dict[str, Any], status: dict[str, Any], is_idle: bool) -> None:
    """A rollback waits for no pod of it."""
    live = an_object(kind, spec=spec, status=status)
    assert DRIVER.is_idle(live) is is_idle
    assert DRIVER.is_idle(DRIVER.project(WORKLOAD_KINDS[kind], live)) is is_idle


def test_the_write_names_containers_and_nothing_else() -> None:
    """Images by container name, init containers too, and the annotation; '' removes one."""
    live = an_object()
    live["spec"]["template"]["spec"]["initContainers"] = [{"name": "migrate", "image": "shop/migrate:1"}]
    component = a_component(containers=[{"name": "api", "image": "shop/api:{version}"}, {"name": "migrate", "image": "{tenant}/migrate:2"}])
    values = dict(DRIVER.values(component, "acme", "2.4.0", live))
    assert values == {
        "/spec/template/spec/containers/api/image": "shop/api:2.4.0",
        "/spec/template/spec/initContainers/migrate/image": "acme/migrate:2",
    }
    change = DRIVER.change(live, values | {DRIVER.config_digest_field(live): ""})
    assert change.strategic
    assert change.patch == {
        "spec": {
            "template": {
                "metadata": {"annotations": {"tenantwave.io/config-digest": None}},
                "spec": {
                    "containers": [{"name": "api", "image": "shop/api:2.4.0"}],
                    "initContainers": [{"name": "migrate", "image": "acme/migrate:2"}],
                },
            }
        }
    }


def test_a_cron_job_is_written_in_its_job_template() -> None:
    """It is converged as soon as it is written, and has no pods to look at."""
    live = an_object("CronJob")
    component = a_component("CronJob")
    values = DRIVER.values(component, "acme", "2.4.0", live)
    assert list(values) == ["/spec/jobTemplate/spec/template/spec/containers/api/image"]
    assert DRIVER.change(live, values).patch["spec"]["jobTemplate"]["spec"]["template"]["spec"]["containers"][0]["name"] == "api"
    view = DRIVER.view(component, "acme", "2.4.0", [DRIVER.project(CRON_JOB, live)])
    assert (view.at_release, view.progress, DRIVER.pods_selector(live)) == (True, Progress.CONVERGED, "")


def test_a_selector_takes_every_workload_of_the_kind() -> None:
    """Ordered by name; the component is as far as its last object."""
    done = {"observedGeneration": 2, **dict.fromkeys(("replicas", "updatedReplicas", "readyReplicas", "availableReplicas"), 2)}
    objects = [an_object(status=done), an_object(), an_object("StatefulSet")]
    for body, name in zip(objects, ("b", "a", "c"), strict=True):
        body["metadata"] = body["metadata"] | {"name": name, "labels": {"app": "api"}}
    component = a_component(selector={"matchLabels": {"app": "api"}})
    assert [body["metadata"]["name"] for body in DRIVER.targets(component, "acme", "2.4.0", objects)] == ["a", "b"]
    assert DRIVER.view(component, "acme", "2.4.0", objects).progress is Progress.PROGRESSING
    assert DRIVER.selector(component) == "app=api"


def test_references_are_found_wherever_pods_name_config_maps() -> None:
    """Volumes, projected volumes, envFrom and env; of init containers, too. The projection keeps them."""
    live = an_object()
    live["spec"]["template"]["spec"] |= {
        "volumes": [{"name": "v", "configMap": {"name": "a"}}, {"name": "p", "projected": {"sources": [{"configMap": {"name": "b"}}]}}],
        "initContainers": [{"name": "i", "image": "i", "envFrom": [{"configMapRef": {"name": "c"}}]}],
        "containers": [{"name": "api", "image": "x", "env": [{"name": "E", "valueFrom": {"configMapKeyRef": {"name": "d", "key": "k"}}}]}],
    }
    assert DRIVER.references(live) == DRIVER.references(DRIVER.project(DEPLOYMENT, live)) == {"a", "b", "c", "d"}


def test_secrets_are_found_wherever_pods_name_them() -> None:
    """Also those of volumes that few know, and those that images are pulled with. The projection keeps them."""
    live = an_object()
    volumes = [
        {"name": "v", "secret": {"secretName": "a"}},
        {"name": "p", "projected": {"sources": [{"secret": {"name": "b"}}, {"configMap": {"name": "no-secret"}}]}},
        {"name": "c", "csi": {"driver": "d", "nodePublishSecretRef": {"name": "c"}}},
        {"name": "f", "cephfs": {"monitors": [], "secretRef": {"name": "d"}}},
        {"name": "z", "azureFile": {"secretName": "e", "shareName": "s"}},
        {"name": "m", "configMap": {"name": "no-secret"}},
    ]
    live["spec"]["template"]["spec"] |= {
        "volumes": volumes,
        "imagePullSecrets": [{"name": "f"}],
        "initContainers": [{"name": "i", "image": "i", "envFrom": [{"secretRef": {"name": "g"}}]}],
        "containers": [{"name": "api", "image": "x", "env": [{"name": "E", "valueFrom": {"secretKeyRef": {"name": "h", "key": "k"}}}]}],
    }
    assert DRIVER.secret_references(live) == DRIVER.secret_references(DRIVER.project(DEPLOYMENT, live)) == set("abcdefgh")


FIELD: dict[str, Any] = {"f:spec": {"f:template": {"f:spec": {"f:containers": {'k:{"name":"api"}': {"f:image": {}}}}}}}
OWNERS = {
    "server-side applied by Flux": ([{"manager": "kustomize-controller", "fieldsV1": FIELD}], {}, "Flux Kustomization"),
    "applied by kubectl": ([{"manager": "kubectl-client-side-apply", "fieldsV1": FIELD}], {}, ""),
    "other fields of Helm": ([{"manager": "helm", "fieldsV1": {"f:spec": {"f:replicas": {}}}}], {}, ""),
    "tracked by Argo CD": ([], {"annotations": {"argocd.argoproj.io/tracking-id": "shop:apps/Deployment:acme/api"}}, "Application shop"),
    "labelled by Argo CD": ([], {"labels": {"argocd.argoproj.io/instance": "shop"}}, "Argo CD Application shop"),
    "written by Argo CD, with its label of old": (
        [{"manager": "argocd-controller", "operation": "Apply", "fieldsV1": FIELD}],
        {"labels": {"app.kubernetes.io/instance": "shop"}},
        "Argo CD Application shop",
    ),
    "with a label that Helm charts set, too": ([], {"labels": {"app.kubernetes.io/instance": "shop"}}, ""),
    "written by an ApplicationSet": ([{"manager": "argocd-applicationset-controller", "fieldsV1": FIELD}], {}, "Argo CD ApplicationSet"),
    "labelled by Flux's Kustomization": (
        [],
        {"labels": {"kustomize.toolkit.fluxcd.io/name": "shop", "kustomize.toolkit.fluxcd.io/namespace": "flux-system"}},
        "Flux Kustomization flux-system/shop",
    ),
    "labelled by Flux's HelmRelease": (
        [],
        {
            "labels": {
                "helm.toolkit.fluxcd.io/name": "shop",
                "helm.toolkit.fluxcd.io/namespace": "acme",
                "app.kubernetes.io/managed-by": "Helm",
            }
        },
        "Flux HelmRelease acme/shop",
    ),
    "a release of Helm alone": (
        [],
        {"labels": {"app.kubernetes.io/managed-by": "Helm"}, "annotations": {"meta.helm.sh/release-name": "shop"}},
        "let Flux manage it as a HelmRelease",
    ),
    "made by a controller": (
        [],
        {"ownerReferences": [{"kind": "Database", "name": "main", "controller": True}]},
        "Database main, its controller",
    ),
    "belongs to something that does not control it": ([], {"ownerReferences": [{"kind": "Shop", "name": "acme"}]}, ""),
    "switched off for Flux": (
        [],
        {"labels": {"kustomize.toolkit.fluxcd.io/name": "shop"}, "annotations": {"kustomize.toolkit.fluxcd.io/reconcile": "disabled"}},
        "",
    ),
    "delegated by Flux": (
        [],
        {"labels": {"kustomize.toolkit.fluxcd.io/name": "shop"}, "annotations": {"kustomize.toolkit.fluxcd.io/ssa": "IfNotPresent"}},
        "",
    ),
}


@pytest.mark.parametrize(("managed", "marks", "owner"), OWNERS.values(), ids=OWNERS)
def test_the_owner_of_the_image_is_named(managed: list[Any], marks: dict[str, Any], owner: str) -> None:
    """By managedFields of the exact field, and by the marks of the tools; the same from the cache's projection."""
    live = an_object()
    live["metadata"] |= {"managedFields": managed, **marks}
    for seen in (live, DRIVER.project(DEPLOYMENT, live)):
        said = DRIVER.view(a_component(), "acme", "2.4.0", [seen]).owner
        assert owner in said if owner else said == ""


def a_pod(image: str = "shop/api:2.4.0", *, ready: bool = True, image_id: str = "", **metadata: Any) -> dict[str, Any]:
    """A pod of the workload."""
    return {
        "metadata": {"name": "api-1"} | metadata,
        "spec": {"containers": [{"name": "api", "image": image}]},
        "status": {
            "conditions": [{"type": "Ready", "status": str(ready)}],
            "containerStatuses": [{"name": "api", "imageID": image_id}],
        },
    }


DIGEST = "sha256:" + "a" * 64
PROOFS: dict[str, tuple[str, list[dict[str, Any]], bool]] = {
    "a Ready pod of the new image": ("shop/api:2.4.0", [a_pod()], True),
    "no pod": ("shop/api:2.4.0", [], False),
    "a pod of the old image": ("shop/api:2.4.0", [a_pod("shop/api:2.3.1")], False),
    "a pod that is not Ready": ("shop/api:2.4.0", [a_pod(ready=False)], False),
    "a pod that is being deleted": ("shop/api:2.4.0", [a_pod(deletionTimestamp="2026-12-06T02:00:00Z")], False),
    "a pod with older configuration": ("shop/api:2.4.0", [a_pod(annotations={"tenantwave.io/config-digest": "sha256:old"})], False),
    "the stated digest": (f"shop/api@{DIGEST}", [a_pod(f"shop/api@{DIGEST}", image_id=f"registry/shop/api@{DIGEST}")], True),
    "another digest": (f"shop/api@{DIGEST}", [a_pod(f"shop/api@{DIGEST}", image_id="registry/shop/api@sha256:bbb")], False),
}


@pytest.mark.parametrize(("image", "pods", "proven"), PROOFS.values(), ids=PROOFS)
def test_what_counts_as_proof(image: str, pods: list[dict[str, Any]], proven: bool) -> None:
    """One Ready pod of the present template with the expected image."""
    live = an_object(image=image)
    assert (DRIVER.exercised(live, pods, ["/spec/template/spec/containers/api/image"]) == "") is proven


def test_pods_stuck_on_a_bad_revision_are_named_for_deletion() -> None:
    """Only of a StatefulSet whose controller has seen the way back; Ready pods and those of the right revision stay."""
    live = an_object("StatefulSet", status={"observedGeneration": 2, "updateRevision": "api-1"})
    bad, good = {"controller-revision-hash": "api-2"}, {"controller-revision-hash": "api-1"}
    pods = [
        a_pod(name="api-0", labels=bad, ready=True),
        a_pod(name="api-1", labels=bad, ready=False),
        a_pod(name="api-2", labels=good, ready=False),
    ]
    for pod, name in zip(pods, ("api-0", "api-1", "api-2"), strict=True):
        pod["metadata"]["name"] = name
    assert DRIVER.stuck_pods(live, pods) == ("api-1",)
    assert DRIVER.stuck_pods(live | {"status": {"observedGeneration": 1}}, pods) == ()
    assert DRIVER.stuck_pods(an_object(), pods) == ()


def test_selectors_are_written_as_the_server_reads_them() -> None:
    """All four operators."""
    expressions = [
        {"key": "tier", "operator": "In", "values": ["a", "b"]},
        {"key": "old", "operator": "NotIn", "values": ["yes"]},
        {"key": "x", "operator": "Exists"},
        {"key": "y", "operator": "DoesNotExist"},
    ]
    assert selector_text({"matchLabels": {"app": "api"}, "matchExpressions": expressions}) == "app=api,tier in (a,b),old notin (yes),x,!y"


@pytest.mark.parametrize("kind", [DEPLOYMENT, STATEFUL_SET, DAEMON_SET, CRON_JOB], ids=lambda kind: kind.name)
def test_a_projection_answers_as_the_object_does(kind: Any) -> None:
    """View and values are the same from the cache."""
    live = an_object(kind.name, status={"observedGeneration": 2, "updateRevision": "r", "currentRevision": "r"})
    projected = DRIVER.project(kind, live)
    component = a_component(kind.name)
    assert DRIVER.view(component, "acme", "2.4.0", [projected]) == DRIVER.view(component, "acme", "2.4.0", [live])
    assert DRIVER.values(component, "acme", "2.4.0", projected) == DRIVER.values(component, "acme", "2.4.0", live)
    assert DRIVER.pods_selector(projected) == DRIVER.pods_selector(live)
