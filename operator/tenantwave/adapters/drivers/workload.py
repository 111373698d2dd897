"""Deployment, StatefulSet, DaemonSet and CronJob: images by container name, and the rules of `kubectl rollout status`.

All functions are pure and read live objects and their projections (`project`) alike.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Any

from tenantwave.adapters.drivers.references import CONTAINER_LISTS, needed_in, places_of, references_in, repointed
from tenantwave.api.conditions import FailReason
from tenantwave.api.kinds import CONFIG_DIGEST_ANNOTATION, CRON_JOB, INTENT_ANNOTATION, WORKLOAD_KINDS, Kind
from tenantwave.api.upgrade import Component, Workload
from tenantwave.core.config_versions import reference_path
from tenantwave.core.ownership import MARKS, escaped, managers_of, owner_of, unescaped
from tenantwave.core.world import ComponentView, Progress
from tenantwave.ports import Body, Change

_BEST_TO_WORST = (Progress.CONVERGED, Progress.PROGRESSING, Progress.FAILED)
_PROJECTION = "projection"


class WorkloadDriver:
    """Changes the images of the workload kinds that Kubernetes brings."""

    def kinds(self) -> tuple[Kind, ...]:
        """Return the kinds of objects that it writes."""
        return tuple(WORKLOAD_KINDS.values())

    def kind(self, component: Component) -> Kind:
        """Return which kind of object the component is."""
        return WORKLOAD_KINDS[_workload(component).kind]

    def selector(self, component: Component) -> str:
        """Return the label selector that finds its objects, or '' where they have a fixed name."""
        selector = _workload(component).selector
        return "" if selector is None else selector_text(selector.document())

    def names(self, component: Component, tenant: str, version: str) -> tuple[str, ...]:
        """Return the fixed names of its objects; none where a selector finds them."""
        name = _workload(component).name
        return () if name is None else (_filled(name, tenant, version),)

    def targets(self, component: Component, tenant: str, version: str, cached: Sequence[Body]) -> tuple[Body, ...]:
        """Return which of the tenant's objects the component means, ordered by name."""
        workload = _workload(component)
        of_kind = [body for body in cached if body.get("kind") == workload.kind]
        if workload.selector is not None:
            chosen = [body for body in of_kind if workload.selector.matches((body["metadata"].get("labels")) or {})]
        else:
            names = self.names(component, tenant, version)
            chosen = [body for body in of_kind if body["metadata"]["name"] in names]
        return tuple(sorted(chosen, key=lambda body: str(body["metadata"]["name"])))

    def view(self, component: Component, tenant: str, version: str, cached: Sequence[Body]) -> ComponentView:
        """Say how the component stands in this tenant. Cost: a few microseconds per object."""
        targets = self.targets(component, tenant, version, cached)
        if not targets:
            return ComponentView(
                name=component.name,
                present=False,
                message=f"component {component.name}: {self.described(component, tenant, version)} is not there",
            )
        seen = [progress_of(target) for target in targets]
        worst, message = max(seen, key=lambda one: _BEST_TO_WORST.index(one[0]))
        refusals = [refusal for target in targets if (refusal := why_refused(component, target))]
        owners = [f"{owner} owns the images of {_called(target)}" for target in targets if (owner := self._owner(component, target))]
        markers = [marker for target in targets if (marker := _marked_by(target))]
        strays = [stray for target in targets if (stray := self._stray(component, tenant, version, target))]
        return ComponentView(
            name=component.name,
            present=True,
            at_release=not strays,
            shown=strays[0] if strays else "",
            progress=worst,
            message=message,
            refused=refusals[0] if refusals else None,
            owner=owners[0] if owners else "",
            marked_by=markers[0] if markers else "",
        )

    def described(self, component: Component, tenant: str, version: str) -> str:
        """Return the component's objects in words: `Deployment api`."""
        names = self.names(component, tenant, version)
        return f"{_workload(component).kind} {names[0] if names else f'with labels {self.selector(component)}'}"

    def values(self, component: Component, tenant: str, version: str, live: Body) -> Mapping[str, str]:
        """Return field path -> image that the release asks for. Containers that the object lacks are left out: `why_refused` names them."""
        return {
            path: _filled(container.image, tenant, version)
            for container in _workload(component).containers
            if (path := _image_path(live, container.name))
        }

    def current(self, live: Body, fields: Iterable[str]) -> Mapping[str, str]:
        """Return field path -> value that stands there now ('' where there is none)."""
        return {path: _value_at(live, path) for path in fields}

    def reference_field(self, live: Body, target: str) -> str:
        """Return the path that stands for its references to a ConfigMap that may have several names (see `core.config_versions`)."""
        return reference_path((*_template_path(live), "spec"), target)

    def reference_places(self, live: Body, names: Collection[str]) -> tuple[str, ...]:
        """Return the fields of its pod template that have one of these names of ConfigMaps."""
        where = "/" + "/".join((*_template_path(live), "spec"))
        return tuple(where + place for place in places_of(_template(live).get("spec") or {}, names))

    def config_digest_field(self, live: Body) -> str:
        """Return the path of the pod template's annotation that forces a restart when the configuration changes."""
        return "/" + "/".join((*_template_path(live), "metadata", "annotations", escaped(CONFIG_DIGEST_ANNOTATION)))

    def change(self, live: Body, values: Mapping[str, str], names: Mapping[str, str] | None = None) -> Change:
        """Return the strategic merge patch that sets these paths to these values ('' removes one), and nothing else.

        Args: names: ConfigMaps that its pod template is to name otherwise, old -> new.
        """
        pod_spec = repointed(_template(live).get("spec") or {}, names or {})
        patch = _nested((*_template_path(live), "spec"), pod_spec) if pod_spec else {}
        for path, value in sorted(values.items()):
            _put(patch, path, value)
        return Change(patch=patch, strategic=True, fields=tuple(sorted(values)))

    def references(self, live: Body) -> frozenset[str]:
        """Return the names of the ConfigMaps that its pods mount or read."""
        if _PROJECTION in live:
            return frozenset(live[_PROJECTION]["references"])
        return frozenset(references_in(_template(live).get("spec") or {}))

    def needed_references(self, live: Body) -> frozenset[str]:
        """Return those without which its pods do not start: all but the optional ones. Of a live object, not of a projection."""
        return frozenset(needed_in(_template(live).get("spec") or {}))

    def secret_references(self, live: Body) -> frozenset[str]:
        """Return the names of the Secrets that its pods mount, read, or pull their images with."""
        if _PROJECTION in live:
            return frozenset(live[_PROJECTION]["secrets"])
        return frozenset(_secret_references(_template(live).get("spec") or {}))

    def probe(self, component: Component, live: Body) -> Body | None:
        """Return the template of the Job that proves a CronJob once it is written; None where `probe` does not ask for one."""
        asks = _workload(component).probe and live.get("kind") == CRON_JOB.name
        return (live.get("spec") or {}).get("jobTemplate") or {} if asks else None

    def managers(self, live: Body, fields: Iterable[str]) -> tuple[str, ...]:
        """Return the field managers of these fields, sorted."""
        if _PROJECTION in live:
            known = live[_PROJECTION]["managers"]
            return tuple(sorted({manager for path in fields for manager in known.get(path, ())}))
        return tuple(sorted({manager for path in fields for manager in managers_of(live, path)}))

    def progress(self, live: Body) -> tuple[Progress, str]:
        """Return how far the rollout of the present spec is, and a sentence."""
        return progress_of(live)

    def pods_selector(self, live: Body) -> str:
        """Return the label selector of its pods; empty for a CronJob, whose pods come later."""
        return "" if live.get("kind") == CRON_JOB.name else selector_text((live.get("spec") or {}).get("selector") or {})

    def is_idle(self, live: Body) -> bool:
        """Tell whether what has converged is meant to have no pods at all: scaled to zero, wanted on no node, or a CronJob."""
        if live.get("kind") == "DaemonSet":
            return _is_wanted_nowhere(live)
        return live.get("kind") == CRON_JOB.name or (live.get("spec") or {}).get("replicas", 1) == 0

    def exercised(self, live: Body, pods: Sequence[Body], fields: Iterable[str]) -> str:
        """Return '' if a Ready pod of the present template runs the images of these fields, else a sentence why not.

        An image with a digest must equal the container's `imageID`. A CronJob has nothing to look at.
        """
        if live.get("kind") == CRON_JOB.name:
            return ""
        images = {unescaped(path.split("/")[-2]): _value_at(live, path) for path in fields if path.endswith("/image")}
        digest = _value_at(live, self.config_digest_field(live))
        of_template = [pod for pod in pods if _is_of_template(live, pod, images, digest)]
        if not of_template:
            return f"no pod of {_called(live)} has the present template yet"
        ready = [pod for pod in of_template if _is_ready(pod)]
        if not ready:
            return f"no pod of {_called(live)} with the present template is Ready"
        if any(_runs_digests(pod, images) for pod in ready):
            return ""
        return f"no pod of {_called(live)} reports the image digest that is asked for"

    def stuck_pods(self, live: Body, pods: Sequence[Body]) -> tuple[str, ...]:
        """Return the pods that hold up a StatefulSet's way back: not Ready, and of another revision than the one asked for.

        The controller waits for them for ever (kubernetes#67250), so a rollback deletes them.
        """
        status = live.get("status") or {}
        if live.get("kind") != "StatefulSet" or not _is_observed(live):
            return ()
        revision = status.get("updateRevision")
        return tuple(
            sorted(
                str(pod["metadata"]["name"])
                for pod in pods
                if not _is_ready(pod)
                and "deletionTimestamp" not in pod["metadata"]
                and (pod["metadata"].get("labels") or {}).get("controller-revision-hash", revision) != revision
            )
        )

    def project(self, kind: Kind, raw: Body) -> dict[str, Any]:
        """Return what a cache keeps of an object: all that this driver reads, some hundred bytes."""
        metadata = raw["metadata"]
        typed = {**raw, "kind": kind.name}
        template = _template(typed)
        images = [path for name in _container_names(typed) if (path := _image_path(typed, name))]
        reduced: dict[str, Any] = {
            "metadata": {"annotations": _kept((template.get("metadata") or {}).get("annotations"))},
            "spec": {
                key: [{"name": one.get("name"), "image": one.get("image", "")} for one in containers]
                for key in CONTAINER_LISTS
                if (containers := (template.get("spec") or {}).get(key))
            },
        }
        spec = {
            key: value
            for key in ("replicas", "paused", "updateStrategy", "selector")
            if (value := (raw.get("spec") or {}).get(key)) is not None
        }
        kept = {
            key: metadata[key]
            for key in ("name", "namespace", "uid", "resourceVersion", "generation", "deletionTimestamp", "ownerReferences")
            if key in metadata
        }
        return {
            "apiVersion": kind.api_version,
            "kind": kind.name,
            "metadata": kept | {"labels": dict(metadata.get("labels") or {}), "annotations": _kept(metadata.get("annotations"))},
            "spec": spec | _nested(_template_path(typed)[1:], reduced),
            "status": {key: value for key, value in (raw.get("status") or {}).items() if key in _STATUS_KEPT},
            _PROJECTION: {
                "references": sorted(references_in(template.get("spec") or {})),
                "secrets": sorted(_secret_references(template.get("spec") or {})),
                "managers": {path: list(managers) for path in images if (managers := managers_of(raw, path))},
            },
        }

    def _owner(self, component: Component, live: Body) -> str:
        fields = [path for container in _workload(component).containers if (path := _image_path(live, container.name))]
        return owner_of(live, self.managers(live, fields))

    def _stray(self, component: Component, tenant: str, version: str, live: Body) -> str:
        """Return what an object shows instead of the release, '' where it shows the release."""
        values = self.values(component, tenant, version, live)
        if len(values) < len(_workload(component).containers):
            return f"{_called(live)} lacks a container of the component"
        shown = self.current(live, values)
        others = [f"{shown[path] or 'no image'} instead of {value}" for path, value in values.items() if shown[path] != value]
        return f"{_called(live)}: {', '.join(others)}" if others else ""


_STATUS_KEPT = frozenset(
    {
        *("observedGeneration", "replicas", "updatedReplicas", "readyReplicas", "availableReplicas", "conditions"),
        *("currentRevision", "updateRevision"),
        *("desiredNumberScheduled", "updatedNumberScheduled", "numberAvailable"),
    }
)


def why_refused(component: Component, live: Body) -> tuple[FailReason, str] | None:
    """Return why this object cannot be driven, with the mend, or None.

    What cannot be proven afterwards is refused before: no pod of a Deployment with 0 replicas will ever run the new version.
    """
    spec, called = live.get("spec") or {}, _called(live)
    missing = sorted(container.name for container in _workload(component).containers if not _image_path(live, container.name))
    strategy = spec.get("updateStrategy") or {}
    if missing:
        return FailReason.NOT_DRIVABLE, f"{called} has no container {missing[0]}: correct components[{component.name}].workload.containers"
    if live["metadata"].get("deletionTimestamp"):
        return FailReason.NOT_DRIVABLE, f"{called} is being deleted: wait, or create it again"
    match live.get("kind"):
        case "Deployment" if spec.get("paused"):
            return FailReason.NOT_DRIVABLE, f"{called} is paused: lift spec.paused, or SkipTenant"
        case "Deployment" | "StatefulSet" if spec.get("replicas", 1) == 0:
            return FailReason.UNVERIFIABLE, f"{called} has 0 replicas, so no pod can prove the release: scale it up, or SkipTenant"
        case "StatefulSet" | "DaemonSet" if strategy.get("type") == "OnDelete":
            return (
                FailReason.UNVERIFIABLE,
                f"{called} has updateStrategy OnDelete, so pods stay as they are: set RollingUpdate, or SkipTenant",
            )
        case "StatefulSet" if (strategy.get("rollingUpdate") or {}).get("partition", 0) > 0:
            return FailReason.UNVERIFIABLE, f"{called} has a rollingUpdate partition above 0: set it to 0, or SkipTenant"
        case "DaemonSet" if _is_wanted_nowhere(live):
            return (
                FailReason.UNVERIFIABLE,
                f"{called} is wanted on no node, so no pod can prove the release: correct its node selector, or SkipTenant",
            )
    return None


def progress_of(live: Body) -> tuple[Progress, str]:
    """Return how far the rollout of the present spec is, and a sentence. A status older than the spec says nothing: Progressing."""
    if live.get("kind") == CRON_JOB.name:
        return Progress.CONVERGED, f"{_called(live)} is written; its next Job runs it"
    if not _is_observed(live):
        return Progress.PROGRESSING, f"{_called(live)}: the controller has not seen the change yet"
    match live.get("kind"):
        case "Deployment":
            return _deployment(live)
        case "StatefulSet":
            return _stateful_set(live)
        case "DaemonSet":
            return _daemon_set(live)
        case other:
            raise ValueError(f"{other} is no workload kind")


def selector_text(selector: Mapping[str, Any]) -> str:
    """Return a label selector as the API server's query wants it: `app=shop,tier in (a,b)`."""
    exact = [f"{key}={value}" for key, value in sorted((selector.get("matchLabels") or {}).items())]
    return ",".join(exact + [_expression(expression) for expression in selector.get("matchExpressions") or ()])


def _expression(expression: Mapping[str, Any]) -> str:
    key, values = expression["key"], ",".join(expression.get("values") or ())
    match str(expression["operator"]):
        case "In":
            return f"{key} in ({values})"
        case "NotIn":
            return f"{key} notin ({values})"
        case "Exists":
            return str(key)
        case _:
            return f"!{key}"


def _deployment(live: Body) -> tuple[Progress, str]:
    status, wanted, called = live.get("status") or {}, (live.get("spec") or {}).get("replicas", 1), _called(live)
    conditions = {condition["type"]: condition for condition in status.get("conditions") or ()}
    progressing, failure = conditions.get("Progressing", {}), conditions.get("ReplicaFailure", {})
    if progressing.get("reason") == "ProgressDeadlineExceeded":
        return Progress.FAILED, f"{called} exceeded its progress deadline: {progressing.get('message', '')}"
    if failure.get("status") == "True":
        return Progress.FAILED, f"{called} cannot create pods: {failure.get('message', '')}"
    updated, ready, available = (status.get(key, 0) for key in ("updatedReplicas", "readyReplicas", "availableReplicas"))
    if not updated == status.get("replicas", 0) == ready == available == wanted:
        return Progress.PROGRESSING, f"{called}: {min(updated, available)} of {wanted} pods run the present template and are available"
    if progressing and progressing.get("reason") != "NewReplicaSetAvailable":
        return Progress.PROGRESSING, f"{called}: the controller has not declared the new ReplicaSet available yet"
    return Progress.CONVERGED, f"{called}: all {wanted} pods run the present template"


def _stateful_set(live: Body) -> tuple[Progress, str]:
    status, wanted, called = live.get("status") or {}, (live.get("spec") or {}).get("replicas", 1), _called(live)
    updated, ready = status.get("updatedReplicas", 0), status.get("readyReplicas", 0)
    if status.get("updateRevision") != status.get("currentRevision") or updated < wanted or ready < wanted:
        return Progress.PROGRESSING, f"{called}: {min(updated, ready)} of {wanted} pods run the present revision and are ready"
    return Progress.CONVERGED, f"{called}: all {wanted} pods run the present revision"


def _daemon_set(live: Body) -> tuple[Progress, str]:
    status, called = live.get("status") or {}, _called(live)
    wanted, updated, available = (status.get(key, 0) for key in ("desiredNumberScheduled", "updatedNumberScheduled", "numberAvailable"))
    if updated < wanted or available < wanted:
        return Progress.PROGRESSING, f"{called}: {min(updated, available)} of {wanted} pods run the present template and are available"
    return Progress.CONVERGED, f"{called}: all {wanted} pods run the present template"


def _is_observed(live: Body) -> bool:
    return int((live.get("status") or {}).get("observedGeneration", 0)) >= int(live["metadata"].get("generation", 0))


def _is_wanted_nowhere(live: Body) -> bool:
    """Tell whether no node is one for a DaemonSet."""
    return _is_observed(live) and (live.get("status") or {}).get("desiredNumberScheduled", 0) == 0


def _is_of_template(live: Body, pod: Body, images: Mapping[str, str], config_digest: str) -> bool:
    """Tell whether a pod was made from the present template, by what we write there: its images and the digest of its configuration."""
    metadata, spec = pod["metadata"], pod.get("spec") or {}
    has = {one["name"]: one.get("image", "") for key in CONTAINER_LISTS for one in spec.get(key) or ()}
    if metadata.get("deletionTimestamp") or any(has.get(name) != image for name, image in images.items()):
        return False
    if live.get("kind") == "StatefulSet" and (revision := (live.get("status") or {}).get("updateRevision")):
        return bool((metadata.get("labels") or {}).get("controller-revision-hash") == revision)
    return bool((metadata.get("annotations") or {}).get(CONFIG_DIGEST_ANNOTATION, "") == config_digest)


def _is_ready(pod: Body) -> bool:
    conditions = (pod.get("status") or {}).get("conditions") or ()
    return any(condition["type"] == "Ready" and condition["status"] == "True" for condition in conditions)


def _runs_digests(pod: Body, images: Mapping[str, str]) -> bool:
    status = pod.get("status") or {}
    running = {
        one["name"]: one.get("imageID", "") for key in ("containerStatuses", "initContainerStatuses") for one in status.get(key) or ()
    }
    stated = {name: image.partition("@")[2] for name, image in images.items() if "@" in image}
    return all(str(running.get(name, "")).endswith(digest) for name, digest in stated.items())


def _workload(component: Component) -> Workload:
    if component.workload is None:
        raise ValueError(f"component {component.name} is no workload")
    return component.workload


def _called(live: Body) -> str:
    return f"{live.get('kind', 'object')} {live['metadata']['name']}"


def _filled(text: str, tenant: str, version: str) -> str:
    return text.replace("{tenant}", tenant).replace("{version}", version)


def _template_path(live: Body) -> tuple[str, ...]:
    return ("spec", "jobTemplate", "spec", "template") if live.get("kind") == CRON_JOB.name else ("spec", "template")


def _template(live: Body) -> Mapping[str, Any]:
    node: Mapping[str, Any] = live
    for name in _template_path(live):
        node = node.get(name) or {}
    return node


def _container_names(live: Body) -> list[str]:
    spec = _template(live).get("spec") or {}
    return [str(one["name"]) for key in CONTAINER_LISTS for one in spec.get(key) or ()]


def _image_path(live: Body, container: str) -> str:
    spec = _template(live).get("spec") or {}
    for key in CONTAINER_LISTS:
        if any(one["name"] == container for one in spec.get(key) or ()):
            return "/" + "/".join((*_template_path(live), "spec", key, escaped(container), "image"))
    return ""


def _value_at(live: Body, path: str) -> str:
    node: Any = live
    for name in map(unescaped, path.split("/")[1:]):
        node = next((one for one in node if one["name"] == name), None) if isinstance(node, list) else (node or {}).get(name)
        if node is None:
            return ""
    return str(node)


def _put(patch: dict[str, Any], path: str, value: str) -> None:
    """Write one value into a strategic merge patch: what stands below `containers` or `initContainers` is an item found by its name."""
    names = [unescaped(segment) for segment in path.split("/")[1:]]
    node: Any = patch
    for name, parent in zip(names[:-1], ("", *names), strict=False):
        if parent in CONTAINER_LISTS:
            item = next((one for one in node if one["name"] == name), None)
            if item is None:
                node.append(item := {"name": name})
            node = item
        else:
            node = node.setdefault(name, [] if name in CONTAINER_LISTS else {})
    node[names[-1]] = value or None


def _secret_references(spec: Mapping[str, Any]) -> set[str]:
    """Return the Secrets that a pod spec names: volumes of any type, projected volumes, envFrom, env and imagePullSecrets."""
    found = {str(one.get("name", "")) for one in spec.get("imagePullSecrets") or ()}
    for volume in spec.get("volumes") or ():
        projected = (volume.get("projected") or {}).get("sources") or ()
        found |= {str(source["secret"].get("name", "")) for source in projected if source.get("secret")}
        for source in (one for one in volume.values() if isinstance(one, Mapping)):
            named = [source.get(key) or {} for key in ("secretRef", "nodePublishSecretRef")]  # of csi, cephfs, iscsi and their like
            found |= {str(source.get("secretName") or ""), *(str(one.get("name", "")) for one in named)}
    for container in [one for key in CONTAINER_LISTS for one in spec.get(key) or ()]:
        found |= {str(one["secretRef"].get("name", "")) for one in container.get("envFrom") or () if one.get("secretRef")}
        references = [(one.get("valueFrom") or {}).get("secretKeyRef") for one in container.get("env") or ()]
        found |= {str(reference.get("name", "")) for reference in references if reference}
    return found - {""}


def _marked_by(live: Body) -> str:
    """Return the UID of the TenantRun whose marker the object carries, '' if it carries none."""
    return str((live["metadata"].get("annotations") or {}).get(INTENT_ANNOTATION, "")).partition("/")[0]


def _kept(annotations: Mapping[str, str] | None) -> dict[str, str]:
    return {key: value for key, value in (annotations or {}).items() if key in MARKS or key.startswith("tenantwave.io/")}


def _nested(path: Sequence[str], value: Any) -> dict[str, Any]:
    for name in reversed(path):
        value = {name: value}
    result: dict[str, Any] = value
    return result
