"""Manifests of workloads for tests, quick on the local control plane (no grace), and when they are rolled out."""

from __future__ import annotations

from typing import Any

Object = dict[str, Any]


def namespace(name: str, labels: dict[str, str] | None = None, annotations: dict[str, str] | None = None) -> Object:
    return {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name, "labels": labels or {}, "annotations": annotations or {}}}


def workload(
    kind: str,
    name: str,
    in_namespace: str,
    *,
    image: str,
    replicas: int = 1,
    labels: dict[str, str] | None = None,
    annotations: dict[str, str] | None = None,
    spec: Object | None = None,
    pod_spec: Object | None = None,
) -> Object:
    """Return a Deployment, StatefulSet or DaemonSet with one container, which has the workload's own name.

    Args:
        annotations: of the pods, such as `localcluster/ready-after`.
        spec, pod_spec: fields that add to or replace those of the workload or of its pods.
    """
    kind_fields: dict[str, Object] = {
        "Deployment": {"replicas": replicas, "progressDeadlineSeconds": 60},
        "StatefulSet": {"replicas": replicas, "serviceName": name, "podManagementPolicy": "Parallel"},
        "DaemonSet": {},
    }
    pods = {"terminationGracePeriodSeconds": 0, "containers": [{"name": name, "image": image}], **(pod_spec or {})}
    template = {"metadata": {"labels": {"app": name}, "annotations": annotations or {}}, "spec": pods}
    return {
        "apiVersion": "apps/v1",
        "kind": kind,
        "metadata": {"name": name, "namespace": in_namespace, "labels": labels or {}},
        "spec": {"selector": {"matchLabels": {"app": name}}, "template": template, **kind_fields[kind], **(spec or {})},
    }


def job(name: str, in_namespace: str, *, image: str) -> Object:
    """Return a Job that does not try again."""
    return {"apiVersion": "batch/v1", "kind": "Job", "metadata": {"name": name, "namespace": in_namespace}, "spec": _job_spec(name, image)}


def cron_job(name: str, in_namespace: str, *, image: str, schedule: str = "0 3 * * *") -> Object:
    spec = {"schedule": schedule, "jobTemplate": {"spec": _job_spec(name, image)}}
    return {"apiVersion": "batch/v1", "kind": "CronJob", "metadata": {"name": name, "namespace": in_namespace}, "spec": spec}


def config_map(name: str, in_namespace: str, data: dict[str, str], labels: dict[str, str] | None = None) -> Object:
    metadata = {"name": name, "namespace": in_namespace, "labels": labels or {}}
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata, "data": data}


def is_rolled_out(body: Object) -> bool:
    """Tell whether a Deployment, StatefulSet or DaemonSet runs its current template everywhere, and nothing else."""
    status, spec = body.get("status", {}), body["spec"]
    if status.get("observedGeneration", 0) < body["metadata"]["generation"]:
        return False
    if body["kind"] == "DaemonSet":
        wanted = status.get("desiredNumberScheduled", 0)
        return bool(wanted) and status.get("updatedNumberScheduled", 0) == status.get("numberReady", 0) == wanted
    counts = [status.get(name, 0) for name in ("replicas", "updatedReplicas", "readyReplicas", "availableReplicas")]
    is_current = body["kind"] == "Deployment" or status.get("currentRevision") == status.get("updateRevision")
    return bool(is_current) and counts == [spec["replicas"]] * 4


def _job_spec(name: str, image: str) -> Object:
    pods = {"restartPolicy": "Never", "terminationGracePeriodSeconds": 0, "containers": [{"name": name, "image": image}]}
    return {"backoffLimit": 0, "template": {"spec": pods}}
