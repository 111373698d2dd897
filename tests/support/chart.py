"""The chart as tests use it: rendered by the real helm, applied to a real API server, and the login that it gives the operator."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from localcluster.access import Cluster
from localcluster.client import ApiError, KubeClient, Object, eventually
from ruamel.yaml import YAML

CHART = Path(__file__).resolve().parents[2] / "charts" / "tenantwave"
RELEASE = "tenantwave"
SERVICE_ACCOUNT = "tenantwave"
"""The operator's ServiceAccount in every namespace that `apply_chart` fills."""


class HelmError(RuntimeError):
    """Helm refused; the text is what it said."""


def helm_output(helm: Path, *arguments: str, values: Mapping[str, Any] | None = None) -> str:
    """Run helm and return what it printed. Raises HelmError if it fails.

    Args: values: what a user would put into a values file.
    """
    files = ("--values", "-") if values is not None else ()
    done = subprocess.run(
        [helm, *arguments, *files], input=json.dumps(values or {}), capture_output=True, text=True, timeout=60, check=False
    )
    if done.returncode != 0:
        raise HelmError(done.stdout + done.stderr)
    return done.stdout


def render_text(
    helm: Path, values: Mapping[str, Any] | None = None, *, namespace: str = "tenantwave-system", api_versions: Sequence[str] = ()
) -> str:
    """Return the manifests as helm prints them. Args: api_versions: what the cluster is said to serve besides Kubernetes' own."""
    flags = [flag for api_version in api_versions for flag in ("--api-versions", api_version)]
    return helm_output(helm, "template", RELEASE, str(CHART), "--namespace", namespace, *flags, values=values or {})


def render(
    helm: Path, values: Mapping[str, Any] | None = None, *, namespace: str = "tenantwave-system", api_versions: Sequence[str] = ()
) -> list[Object]:
    """Return the objects that the chart renders, in the order in which helm would install them."""
    text = render_text(helm, values, namespace=namespace, api_versions=api_versions)
    return [document for document in YAML(typ="safe", pure=True).load_all(text) if document]


def own_values(namespace: str) -> dict[str, Any]:
    """Return values that let installations share a cluster: named after the namespace, without CRDs and pods."""
    return {
        "fullnameOverride": namespace,
        "serviceAccount": {"name": SERVICE_ACCOUNT},
        "crds": {"install": False},  # the session's cluster has them
        "replicas": 0,
    }


async def apply_chart(kube: KubeClient, helm: Path, namespace: str, values: Mapping[str, Any] | None = None) -> list[Object]:
    """Install the chart into `namespace` (made if it is missing, with the restricted Pod Security Standard) and return its objects.

    Its pods do not run unless `values` asks for `replicas`: tests run the operator as a process of their own, with `operator_kubeconfig`.
    CRDs that are part of the release serve when this returns. Admission policies need another second or two; wait for what they refuse.
    """
    await kube.apply(
        {
            "apiVersion": "v1",
            "kind": "Namespace",
            "metadata": {"name": namespace, "labels": {"pod-security.kubernetes.io/enforce": "restricted"}},
        }
    )
    objects = render(helm, own_values(namespace) | dict(values or {}), namespace=namespace)
    for body in objects:
        await kube.apply(body)
    for body in objects:
        if body["kind"] == "CustomResourceDefinition":
            await kube.wait_until("CustomResourceDefinition", body["metadata"]["name"], None, _is_established, saying="Established")
    return objects


async def remove_chart(kube: KubeClient, objects: Sequence[Object]) -> None:
    """Delete what `apply_chart` returned, but for the CRDs: other installations on the same cluster need them, too."""
    for body in reversed(objects):
        if body["kind"] != "CustomResourceDefinition":
            metadata = body["metadata"]
            await kube.delete(f"{body['apiVersion']}/{body['kind']}", metadata["name"], metadata.get("namespace"))


def operator_kubeconfig(cluster: Cluster, namespace: str) -> Path:
    """Return a kubeconfig that logs in as the operator that `apply_chart` installed in `namespace`, with all its rights and no more."""
    return cluster.kubeconfig_for(namespace, SERVICE_ACCOUNT)


async def wait_for_refusal(kube: KubeClient, body: Object, words: str) -> None:
    """Try to create `body` (a dry run) until an admission policy, which takes a moment to become active, refuses it with `words`."""

    async def is_refused() -> bool:
        try:
            await kube.create(body, dry_run=True)
        except ApiError as error:
            return words in error.message
        return False

    await eventually(is_refused, saying=f"a refusal that says {words!r}")


def _is_established(crd: Object) -> bool:
    conditions = crd.get("status", {}).get("conditions", [])
    return any(condition["type"] == "Established" and condition["status"] == "True" for condition in conditions)


async def all_served(kube: KubeClient, kinds: Iterable[str]) -> None:
    """Wait until the API server serves these kinds: of a new one it first says that its storage is being initialised (429)."""
    for kind in kinds:
        await eventually(partial(_serves, kube, kind), saying=f"{kind} is served")


async def _serves(kube: KubeClient, kind: str) -> bool:
    try:
        await kube.list(kind)
    except ApiError as error:
        if error.status != 429:
            raise
        return False
    return True
