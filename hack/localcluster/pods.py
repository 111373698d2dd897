"""The pod player: stands in for the kubelets of a few nodes that do not exist.

Pods that the scheduler binds to its nodes (and no others: a cluster may have real ones, too) get the status that a kubelet would report, by
these rules:

- They become Running and Ready at once, with a pod IP and an image ID, or `localcluster/ready-after` seconds later.
- A container whose image tag ends in `-bad` crashes: waiting in CrashLoopBackOff after 5 restarts, the pod never Ready. A bad init
  container keeps the others from starting.
- `localcluster/fail-after`: that many seconds after it became Ready the pod crashes in the same way.
- The pods of a Job end as Succeeded after `localcluster/ready-after` seconds (default 0), or as Failed if an image is bad.
- A pod that is being deleted goes away at once.

Both annotations belong on the pod (in a template: `spec.template.metadata.annotations`) and hold seconds as a decimal number.
"""

from __future__ import annotations

import argparse
import asyncio
import hashlib
import itertools
import logging
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from localcluster.aio import run_until_signal
from localcluster.client import MERGE_PATCH, TROUBLE, ApiError, Changed, Deleted, KubeClient, Listed, Object

READY_AFTER = "localcluster/ready-after"
FAIL_AFTER = "localcluster/fail-after"
RESTART_COUNT = 5
HEARTBEAT_SECONDS = 10.0
LEASE_SECONDS = 40
WORKER_COUNT = 16

log = logging.getLogger("pods")


@dataclass(frozen=True, slots=True)
class Pod:
    """What we need to know of a pod; the rest of the body is dropped as soon as it was read."""

    uid: str
    namespace: str
    name: str
    node: str
    is_leaving: bool
    is_job: bool
    images: tuple[tuple[str, str], ...]
    """(container, image) in the order of the spec."""
    init_images: tuple[tuple[str, str], ...]
    phase: str
    is_ready: bool
    ready_since: datetime | None
    scheduled: Object | None
    """The scheduler's condition, which our status has to keep."""
    created_time: datetime
    ready_after: float
    fail_after: float | None
    generation: int
    ip: str | None

    @property
    def path(self) -> str:
        return f"/api/v1/namespaces/{self.namespace}/pods/{self.name}"


def read_pod(body: Object) -> Pod:
    """Project a pod's body. An annotation that is no number counts as absent, with a line in the log."""
    metadata, spec, status = body["metadata"], body["spec"], body.get("status", {})
    conditions = {condition["type"]: condition for condition in status.get("conditions", ())}
    ready = conditions.get("Ready", {})
    annotations = metadata.get("annotations", {})
    return Pod(
        uid=metadata["uid"],
        namespace=metadata["namespace"],
        name=metadata["name"],
        node=spec.get("nodeName", ""),
        is_leaving="deletionTimestamp" in metadata,
        is_job=any(owner["kind"] == "Job" for owner in metadata.get("ownerReferences", ())),
        images=tuple((container["name"], container["image"]) for container in spec["containers"]),
        init_images=tuple((container["name"], container["image"]) for container in spec.get("initContainers", ())),
        phase=status.get("phase", "Pending"),
        is_ready=ready.get("status") == "True",
        ready_since=_instant(ready["lastTransitionTime"]) if ready.get("status") == "True" else None,
        scheduled=conditions.get("PodScheduled"),
        created_time=_instant(metadata["creationTimestamp"]),
        ready_after=_seconds(annotations, READY_AFTER) or 0.0,
        fail_after=_seconds(annotations, FAIL_AFTER),
        generation=metadata.get("generation", 1),
        ip=status.get("podIP"),
    )


@dataclass(frozen=True, slots=True)
class Step:
    """What to do about a pod now: remove it, write this status, look again later, or nothing at all."""

    remove: bool = False
    status: Object | None = None
    look_again_after: float | None = None


def is_bad(image: str) -> bool:
    """Tell whether the image's tag ends in `-bad`."""
    return image.partition("@")[0].endswith("-bad")


def next_step(pod: Pod, now: datetime, ip: str) -> Step:
    """Say what a kubelet would do about the pod at `now`. Pure: the same pod and time give the same step."""
    if pod.is_leaving:
        return Step(remove=True)
    if pod.phase in ("Succeeded", "Failed"):
        return Step()
    wait = pod.ready_after - (now - pod.created_time).total_seconds()
    if wait > 0 and not pod.is_ready:
        return Step(look_again_after=wait)
    is_any_bad = any(is_bad(image) for _, image in (*pod.init_images, *pod.images))
    if pod.is_job:
        return Step(status=_ended_status(pod, now, ip, succeeded=not is_any_bad))
    if is_any_bad:
        return Step() if pod.ip else Step(status=_crashing_status(pod, now, ip))
    if pod.fail_after is not None and pod.ready_since is not None:
        left = pod.fail_after - (now - pod.ready_since).total_seconds()
        return Step(look_again_after=left) if left > 0 else Step(status=_crashing_status(pod, now, ip, all_crash=True))
    if pod.is_ready or (pod.fail_after is not None and pod.ip):  # Ready, or failed late already
        return Step()
    return Step(status=_running_status(pod, now, ip))


def image_id(image: str) -> str:
    """Return the digest form that a kubelet reports: the image's own digest if it names one, else one made from its name."""
    name, _, digest = image.partition("@")
    return f"{name}@{digest}" if digest else f"{_without_tag(name)}@sha256:{hashlib.sha256(image.encode()).hexdigest()}"


def _without_tag(image: str) -> str:
    head, slash, last = image.rpartition("/")
    return head + slash + last.partition(":")[0]


def _running_status(pod: Pod, now: datetime, ip: str) -> Object:
    running = {"running": {"startedAt": _text(now)}}
    return _status(pod, now, ip, "Running", [_container(name, image, running, ready=True) for name, image in pod.images], is_ready=True)


def _crashing_status(pod: Pod, now: datetime, ip: str, *, all_crash: bool = False) -> Object:
    if any(is_bad(image) for _, image in pod.init_images):
        waiting = {"waiting": {"reason": "PodInitializing"}}
        containers = [_container(name, image, waiting, ready=False) for name, image in pod.images]
        return _status(pod, now, ip, "Pending", containers, is_ready=False)
    containers = [
        _crashing(name, image, now)
        if all_crash or is_bad(image)
        else _container(name, image, {"running": {"startedAt": _text(now)}}, ready=True)
        for name, image in pod.images
    ]
    return _status(pod, now, ip, "Running", containers, is_ready=False)


def _ended_status(pod: Pod, now: datetime, ip: str, *, succeeded: bool) -> Object:
    containers = [_container(name, image, _terminated(now, failed=not succeeded), ready=False) for name, image in pod.images]
    status = _status(pod, now, ip, "Succeeded" if succeeded else "Failed", containers, is_ready=False)
    for condition in status["conditions"]:
        if condition["type"] in ("Ready", "ContainersReady"):
            condition["reason"] = "PodCompleted" if succeeded else "PodFailed"
    return status


def _status(pod: Pod, now: datetime, ip: str, phase: str, containers: list[Object], *, is_ready: bool) -> Object:
    is_initialized = not any(is_bad(image) for _, image in pod.init_images)
    conditions = [
        {"type": kind, "status": "True" if holds else "False", "lastTransitionTime": _text(now), "observedGeneration": pod.generation}
        for kind, holds in (
            ("PodReadyToStartContainers", True),
            ("Initialized", is_initialized),
            ("ContainersReady", is_ready),
            ("Ready", is_ready),
        )
    ]
    return {
        "observedGeneration": pod.generation,
        "phase": phase,
        "hostIP": "127.0.0.1",
        "podIP": pod.ip or ip,
        "podIPs": [{"ip": pod.ip or ip}],
        "startTime": _text(pod.created_time),
        "conditions": [*filter(None, [pod.scheduled]), *conditions],
        "containerStatuses": containers,
        "initContainerStatuses": [
            _crashing(name, image, now) if is_bad(image) else _container(name, image, _terminated(now, failed=False), ready=True)
            for name, image in pod.init_images
        ],
    }


def _container(name: str, image: str, state: Object, *, ready: bool) -> Object:
    return {
        "name": name, "image": image, "imageID": image_id(image), "ready": ready, "started": "running" in state, "restartCount": 0,
        "state": state,
    }  # fmt: skip


def _crashing(name: str, image: str, now: datetime) -> Object:
    message = f"back-off 2m40s restarting failed container={name}"
    return {
        **_container(name, image, {"waiting": {"reason": "CrashLoopBackOff", "message": message}}, ready=False),
        "restartCount": RESTART_COUNT,
        "lastState": _terminated(now, failed=True),
    }


def _terminated(now: datetime, *, failed: bool) -> Object:
    return {
        "terminated": {
            "exitCode": 1 if failed else 0, "reason": "Error" if failed else "Completed", "startedAt": _text(now), "finishedAt": _text(now),
        }
    }  # fmt: skip


def _instant(text: str) -> datetime:
    return datetime.fromisoformat(text)


def _text(instant: datetime) -> str:
    return instant.strftime("%Y-%m-%dT%H:%M:%SZ")


def _seconds(annotations: dict[str, str], name: str) -> float | None:
    if name not in annotations:
        return None
    try:
        return float(annotations[name])
    except ValueError:
        log.warning("annotation %s is no number of seconds: %r", name, annotations[name])
        return None


class PodPlayer:
    """Watches the pods of all nodes and writes the status that `next_step` asks for, several at a time."""

    def __init__(self, api: KubeClient, nodes: frozenset[str]) -> None:
        self._api = api
        self._nodes = nodes
        self._pods: dict[str, Pod] = {}
        self._queue: asyncio.Queue[str] = asyncio.Queue()
        self._queued: set[str] = set()
        self._busy: set[str] = set()
        self._changed_while_busy: set[str] = set()
        self._timers: dict[str, asyncio.TimerHandle] = {}
        self._ips = (f"10.{64 + n // 65536 % 64}.{n // 256 % 256}.{n % 256}" for n in itertools.count(1))

    async def run(self) -> None:
        """Play until cancelled. Watches start over after any trouble; the API server may be away for as long as it likes."""
        async with asyncio.TaskGroup() as tasks:
            for _ in range(WORKER_COUNT):
                tasks.create_task(self._work())
            tasks.create_task(self._follow())

    async def _follow(self) -> None:
        async for change in self._api.follow("/api/v1/pods", {"fieldSelector": "spec.nodeName!="}):
            match change:
                case Listed(bodies):
                    seen = [read_pod(body) for body in bodies]
                    for uid in self._pods.keys() - {pod.uid for pod in seen}:
                        self._forget(uid)
                    for pod in seen:
                        self._note(pod)
                case Changed(body):
                    self._note(read_pod(body))
                case Deleted(body):
                    self._forget(body["metadata"]["uid"])

    def _note(self, pod: Pod) -> None:
        if pod.node in self._nodes:
            self._pods[pod.uid] = pod
            self._enqueue(pod.uid)

    def _forget(self, uid: str) -> None:
        self._pods.pop(uid, None)
        if timer := self._timers.pop(uid, None):
            timer.cancel()

    def _enqueue(self, uid: str) -> None:
        if uid not in self._queued:
            self._queued.add(uid)
            self._queue.put_nowait(uid)

    async def _work(self) -> None:
        while True:
            uid = await self._queue.get()
            self._queued.discard(uid)
            if uid in self._busy:  # another worker writes this pod right now, and looks again when it is done
                self._changed_while_busy.add(uid)
                continue
            self._busy.add(uid)
            try:
                await self._play(uid)
            except ApiError as error:
                if error.status not in (404, 409):  # gone, or changed: an event tells
                    self._retry(uid, error)
            except TROUBLE as error:
                self._retry(uid, error)
            finally:
                self._busy.discard(uid)
                if uid in self._changed_while_busy:
                    self._changed_while_busy.discard(uid)
                    self._enqueue(uid)

    def _retry(self, uid: str, error: Exception) -> None:
        log.warning("pod %s: %s; trying again", uid, error)
        self._look_again(uid, 1.0)

    def _look_again(self, uid: str, seconds: float) -> None:
        if timer := self._timers.pop(uid, None):
            timer.cancel()
        self._timers[uid] = asyncio.get_running_loop().call_later(seconds, self._enqueue, uid)

    async def _play(self, uid: str) -> None:
        pod = self._pods.get(uid)
        if pod is None:
            return
        step = next_step(pod, datetime.now(UTC), pod.ip or next(self._ips))
        if step.remove:
            options = {"gracePeriodSeconds": 0, "preconditions": {"uid": pod.uid}}
            await self._api.request("DELETE", pod.path, {"apiVersion": "v1", "kind": "DeleteOptions", **options})
        elif step.status is not None:
            patch = {"metadata": {"uid": pod.uid}, "status": step.status}
            await self._api.request("PATCH", pod.path + "/status", patch, content_type=MERGE_PATCH)
        elif step.look_again_after is not None:
            self._look_again(uid, step.look_again_after)


def node_manifest(name: str) -> Object:
    """Return a big healthy node, Ready from its first moment."""
    room = {"cpu": "1000", "memory": "4000Gi", "ephemeral-storage": "4000Gi", "pods": "20000"}
    labels = {
        "kubernetes.io/hostname": name,
        "kubernetes.io/os": "linux",
        "kubernetes.io/arch": "amd64",
        "topology.kubernetes.io/zone": "local",
    }
    return {
        "apiVersion": "v1",
        "kind": "Node",
        "metadata": {"name": name, "labels": labels},
        "status": {**node_status(datetime.now(UTC)), "capacity": room, "allocatable": room},
    }


def node_status(now: datetime) -> Object:
    """Return the heartbeat part of a node's status."""
    wanted = (("Ready", "True"), ("MemoryPressure", "False"), ("DiskPressure", "False"), ("PIDPressure", "False"))
    conditions = [
        {
            "type": kind,
            "status": status,
            "reason": "PodPlayer",
            "message": "played",
            "lastHeartbeatTime": _text(now),
            "lastTransitionTime": _text(now),
        }
        for kind, status in wanted
    ]
    return {"conditions": conditions, "addresses": [{"type": "InternalIP", "address": "127.0.0.1"}], "nodeInfo": _NODE_INFO}


_NODE_INFO = {
    **dict.fromkeys(
        ("machineID", "systemUUID", "bootID", "kernelVersion", "osImage", "containerRuntimeVersion", "kubeProxyVersion"), "played"
    ),
    "kubeletVersion": "v1.36.1",
    "operatingSystem": "linux",
    "architecture": "amd64",
}


async def keep_node(api: KubeClient, name: str) -> None:
    """Create the node if need be, then renew its Lease and its Ready condition until cancelled."""
    while True:
        try:
            await _beat(api, name)
        except (ApiError, *TROUBLE) as error:
            log.warning("heartbeat of node %s: %s; trying again", name, error)
            await asyncio.sleep(0.5)
        else:
            await asyncio.sleep(HEARTBEAT_SECONDS)


async def _beat(api: KubeClient, name: str) -> None:
    now = datetime.now(UTC)
    if await api.find("Node", name) is None:
        await api.create(node_manifest(name))
    else:
        await api.patch("Node", name, None, {"status": node_status(now)}, subresource="status")
    lease = {
        "apiVersion": "coordination.k8s.io/v1",
        "kind": "Lease",
        "metadata": {"name": name, "namespace": "kube-node-lease"},
        "spec": {"holderIdentity": name, "leaseDurationSeconds": LEASE_SECONDS, "renewTime": now.strftime("%Y-%m-%dT%H:%M:%S.%fZ")},
    }
    try:
        await api.apply(lease)
    except ApiError as error:
        if error.status != 404:  # the namespace kube-node-lease comes a moment after the API server
            raise


async def play(access_path: Path, nodes: frozenset[str]) -> None:
    """Play nodes and pods until cancelled. A bug of ours ends it, with its trace in the log."""
    async with (
        KubeClient.from_kubeconfig(access_path, connection_count=WORKER_COUNT + 4, field_manager="pod-player") as api,
        asyncio.TaskGroup() as tasks,
    ):
        tasks.create_task(PodPlayer(api, nodes).run())
        for name in nodes:
            tasks.create_task(keep_node(api, name))


def main() -> None:
    parser = argparse.ArgumentParser(prog="localcluster.pods", description="Plays nodes and pods.")
    parser.add_argument("--kubeconfig", type=Path, required=True)
    parser.add_argument("--nodes", type=int, default=3)
    arguments = parser.parse_args()
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(name)s %(levelname)s %(message)s")
    names = frozenset(f"played-{number}" for number in range(1, arguments.nodes + 1))
    run_until_signal(play(arguments.kubeconfig, names))


if __name__ == "__main__":
    main()
